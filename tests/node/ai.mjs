// Drives the Vercel AI SDK with its providers for OpenAI (responses and chat), for what is like OpenAI, Anthropic and Google.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateObject, generateText, jsonSchema, streamObject, streamText, tool } from "ai";
import { PERSON, drive } from "./driving.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const openai = (job) => createOpenAI({ baseURL: job.base, apiKey: job.key });
const compatible = (job) =>
  createOpenAICompatible({
    name: "tidegate",
    baseURL: job.base,
    apiKey: job.key,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const anthropic = (job) => createAnthropic({ baseURL: job.base, apiKey: job.key });
const google = (job) => createGoogleGenerativeAI({ baseURL: job.base, apiKey: job.key });

function toolsOf(job) {
  if (!job.tools) return {};
  const made = job.tools.map((each) => [
    each.name,
    tool({ description: each.description, inputSchema: jsonSchema(each.parameters) }),
  ]);
  return { tools: Object.fromEntries(made) };
}

// A streamed answer, read to its end. An error part is what an application gets to see of a failure.
async function streamed(given) {
  const result = streamText({ ...given, onError: () => {} });
  let pieces = 0;
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") pieces++;
  }
  const names = ["text", "finishReason", "toolCalls", "usage", "response", "reasoningText"];
  if (given.output) names.push("output");
  const values = await Promise.all(names.map((name) => result[name]));
  return { made: Object.fromEntries(names.map((name, at) => [name, values[at]])), pieces };
}

async function answered(model, job, messages, more = {}) {
  const given = {
    model: model(job),
    messages,
    maxRetries: job.retries,
    abortSignal: AbortSignal.timeout(job.timeout * 1000),
    ...(job.system ? { instructions: job.system } : {}),
    ...toolsOf(job),
    ...(job.extra ? { providerOptions: job.extra } : {}),
    ...more,
  };
  return job.stream ? streamed(given) : { made: await generateText(given), pieces: 1 };
}

function asked(job) {
  const content = [{ type: "text", text: job.prompt }];
  if (job.image) content.push({ type: "file", mediaType: "image/png", data: job.image });
  return [{ role: "user", content }];
}

function told(made) {
  const calls = made.toolCalls.map((call) => ({ id: call.toolCallId, name: call.toolName, args: call.input }));
  const { inputTokens: input, outputTokens: output, inputTokenDetails: detail } = made.usage;
  const usage = { input, output, cached: detail?.cacheReadTokens };
  const { text, finishReason: finish, reasoningText: reasoning } = made;
  return { text, finish, calls, usage, reasoning, model: made.response.modelId };
}

// The older way to an object.
async function generated(model, job) {
  const given = {
    model: model(job),
    schema: jsonSchema(PERSON),
    messages: asked(job),
    maxRetries: 0,
    maxOutputTokens: 200,
  };
  if (!job.stream) return (await generateObject(given)).object;
  const result = streamObject(given);
  let last;
  for await (const part of result.partialObjectStream) last = part; // the object is made as the stream is read
  return last;
}

function kit(model) {
  return {
    async chat(job) {
      const { made, pieces } = await answered(model, job, asked(job));
      return { ...told(made), pieces };
    },
    async turns(job) {
      const { made } = await answered(model, job, asked(job));
      const then = { role: "user", content: [{ type: "text", text: job.then }] };
      const { made: after, pieces } = await answered(model, job, [...asked(job), ...made.response.messages, then]);
      return { ...told(after), pieces, before: made.text };
    },
    async tools(job) {
      const { made } = await answered(model, job, asked(job));
      const saw = told(made);
      const content = made.toolCalls.map((call) => ({
        type: "tool-result",
        toolCallId: call.toolCallId,
        toolName: call.toolName,
        output: { type: "text", value: job.result },
      }));
      const messages = [...asked(job), ...made.response.messages, { role: "tool", content }];
      const { made: after } = await answered(model, job, messages);
      return { ...saw, after: told(after).text };
    },
    async object(job) {
      const output = Output.object({ schema: jsonSchema(PERSON) });
      const { made } = await answered(model, job, asked(job), { output, maxOutputTokens: 200 });
      return { value: made.output, again: await generated(model, job) };
    },
  };
}

async function embed(model, job) {
  const made = await embedMany({ model, values: job.inputs, maxRetries: 0 });
  return { count: made.embeddings.length, dims: made.embeddings[0].length };
}

await drive(
  {
    "ai-openai": kit((job) => openai(job).responses(job.model)),
    "ai-openai-chat": {
      ...kit((job) => openai(job).chat(job.model)),
      embed: (job) => embed(openai(job).textEmbeddingModel(job.model), job),
    },
    "ai-compatible": {
      ...kit((job) => compatible(job).chatModel(job.model)),
      embed: (job) => embed(compatible(job).textEmbeddingModel(job.model), job),
    },
    "ai-anthropic": kit((job) => anthropic(job)(job.model)),
    "ai-google": {
      ...kit((job) => google(job)(job.model)),
      embed: (job) => embed(google(job).textEmbeddingModel(job.model), job),
    },
  },
  ["ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "@ai-sdk/google"],
);
