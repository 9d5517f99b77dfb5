// Drives the official `@google/genai`.

import { GoogleGenAI } from "@google/genai";
import { PERSON, drive } from "./driving.mjs";

function client(job) {
  const retryOptions = { attempts: 1 + job.retries };
  return new GoogleGenAI({
    apiKey: job.key,
    httpOptions: { baseUrl: job.base, timeout: job.timeout * 1000, ...(job.retries ? { retryOptions } : {}) },
  });
}

function asked(job) {
  const parts = [{ text: job.prompt }];
  if (job.image) parts.push({ inlineData: { mimeType: "image/png", data: job.image } });
  return [{ role: "user", parts }];
}

// No candidates, or one without content: blocked, or the usage alone.
const partsOf = (chunk) => chunk.candidates?.[0]?.content?.parts ?? [];
const textOf = (chunk, thought) =>
  partsOf(chunk)
    .filter((part) => Boolean(part.thought) === thought)
    .map((part) => part.text ?? "")
    .join("");

// The response, or a stream's chunks, and how many pieces of text it came in.
async function generated(job, contents, more = {}) {
  const config = { thinkingConfig: { includeThoughts: true }, ...(job.extra ?? {}), ...more };
  if (job.system) config.systemInstruction = job.system;
  if (job.tools) {
    const functionDeclarations = job.tools.map((each) => ({
      name: each.name,
      description: each.description,
      parametersJsonSchema: each.parameters,
    }));
    config.tools = [{ functionDeclarations }];
  }
  const given = { model: job.model, contents, config };
  const { models } = client(job);
  if (!job.stream) return { chunks: [await models.generateContent(given)], pieces: 1 };
  const chunks = [];
  for await (const chunk of await models.generateContentStream(given)) chunks.push(chunk);
  return { chunks, pieces: chunks.filter((chunk) => textOf(chunk, false)).length };
}

function told(chunks) {
  const calls = chunks
    .flatMap(partsOf)
    .filter((part) => part.functionCall)
    .map(({ functionCall: call }) => ({ id: call.id ?? null, name: call.name, args: call.args }));
  const finish = chunks.map((chunk) => chunk.candidates?.[0]?.finishReason).findLast(Boolean);
  const usage = chunks.at(-1).usageMetadata;
  return {
    text: chunks.map((chunk) => textOf(chunk, false)).join(""),
    finish: finish ?? null,
    calls,
    usage: usage && {
      input: usage.promptTokenCount,
      output: usage.candidatesTokenCount,
      cached: usage.cachedContentTokenCount,
    },
    reasoning: chunks.map((chunk) => textOf(chunk, true)).join(""),
    model: chunks.at(-1).modelVersion,
  };
}

async function chat(job) {
  const { chunks, pieces } = await generated(job, asked(job));
  return { ...told(chunks), pieces };
}

async function turns(job) {
  const contents = asked(job);
  const { chunks } = await generated(job, contents);
  contents.push({ role: "model", parts: chunks.flatMap(partsOf) }, { role: "user", parts: [{ text: job.then }] });
  const { chunks: after, pieces } = await generated(job, contents);
  return { ...told(after), pieces, before: told(chunks).text };
}

async function tools(job) {
  const contents = asked(job);
  const { chunks } = await generated(job, contents);
  const saw = told(chunks);
  const results = saw.calls.map(({ id, name }) => ({
    functionResponse: { ...(id ? { id } : {}), name, response: { result: job.result } },
  }));
  contents.push({ role: "model", parts: chunks.flatMap(partsOf) }, { role: "user", parts: results });
  const { chunks: after } = await generated(job, contents);
  return { ...saw, after: told(after).text };
}

async function object(job) {
  const more = { responseMimeType: "application/json", responseJsonSchema: PERSON, maxOutputTokens: 200 };
  const { chunks } = await generated(job, asked(job), more);
  return { value: JSON.parse(told(chunks).text) };
}

async function embed(job) {
  const { embeddings } = await client(job).models.embedContent({ model: job.model, contents: job.inputs });
  return { count: embeddings.length, dims: embeddings[0].values.length };
}

async function models(job) {
  const ids = [];
  for await (const model of await client(job).models.list()) ids.push(model.name);
  return { ids };
}

async function count(job) {
  const made = await client(job).models.countTokens({ model: job.model, contents: asked(job) });
  return { usage: { input: made.totalTokens } };
}

await drive({ "genai-node": { chat, turns, tools, object, embed, models, count } }, ["@google/genai"]);
