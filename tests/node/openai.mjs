// Drives the official `openai` SDK under Node: chat completions and responses.

import OpenAI from "openai";
import { PERSON, drive } from "./driving.mjs";

function client(job) {
  return new OpenAI({
    baseURL: job.base,
    apiKey: job.key,
    maxRetries: job.retries,
    timeout: job.timeout * 1000,
  });
}

function asked(job) {
  const system = job.system ? [{ role: "system", content: job.system }] : [];
  let content = job.prompt;
  if (job.image) {
    const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${job.image}` } };
    content = [{ type: "text", text: content }, picture];
  }
  return [...system, { role: "user", content }];
}

function usageOf(usage, before, after, details) {
  return usage ? { input: usage[before], output: usage[after], cached: usage[details]?.cached_tokens } : null;
}

function told(made) {
  const [choice] = made.choices;
  const calls = (choice.message.tool_calls ?? []).map((call) => ({
    id: call.id,
    name: call.function.name,
    args: JSON.parse(call.function.arguments),
  }));
  const usage = usageOf(made.usage, "prompt_tokens", "completion_tokens", "prompt_tokens_details");
  const reasoning = choice.message.reasoning_content;
  return { text: choice.message.content, finish: choice.finish_reason, calls, usage, reasoning, model: made.model };
}

async function completion(job, messages, more = {}) {
  const tools = (job.tools ?? []).map((each) => ({ type: "function", function: each }));
  const given = { model: job.model, messages, ...(tools.length ? { tools } : {}), ...(job.extra ?? {}), ...more };
  const chat = client(job).chat.completions;
  if (!job.stream) return { made: await chat.create(given), pieces: 1 };
  const stream = chat.stream({ ...given, stream_options: { include_usage: true } });
  let pieces = 0;
  stream.on("content", () => pieces++);
  let thoughts = ""; // no field of OpenAI's own: the helper keeps the last piece only
  stream.on("chunk", (chunk) => (thoughts += chunk.choices[0]?.delta.reasoning_content ?? ""));
  const made = await stream.finalChatCompletion();
  made.choices[0].message.reasoning_content = thoughts;
  return { made, pieces };
}

async function chat(job) {
  const { made, pieces } = await completion(job, asked(job));
  return { ...told(made), pieces };
}

async function chatTurns(job) {
  const messages = asked(job);
  const { made } = await completion(job, messages);
  messages.push(made.choices[0].message, { role: "user", content: job.then });
  const { made: after, pieces } = await completion(job, messages);
  return { ...told(after), pieces, before: told(made).text };
}

async function chatTools(job) {
  const messages = asked(job);
  const { made } = await completion(job, messages);
  const saw = told(made);
  messages.push(made.choices[0].message);
  for (const call of saw.calls) messages.push({ role: "tool", tool_call_id: call.id, content: job.result });
  const { made: after } = await completion(job, messages);
  return { ...saw, after: told(after).text };
}

async function chatObject(job) {
  const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } };
  const { made } = await completion(job, asked(job), { response_format, max_tokens: 200 });
  return { value: JSON.parse(made.choices[0].message.content) };
}

async function embed(job) {
  const made = await client(job).embeddings.create({ model: job.model, input: job.inputs });
  return { count: made.data.length, dims: made.data[0].embedding.length };
}

async function models(job) {
  const ids = [];
  for await (const model of client(job).models.list()) ids.push(model.id);
  return { ids };
}

async function response(job, input, more = {}) {
  const tools = (job.tools ?? []).map((each) => ({ type: "function", strict: false, ...each }));
  const given = { model: job.model, input, ...(tools.length ? { tools } : {}), ...(job.extra ?? {}), ...more };
  if (job.system) given.instructions = job.system;
  const api = client(job).responses;
  if (!job.stream) return { made: await api.create(given), pieces: 1 };
  const stream = api.stream(given);
  let pieces = 0;
  stream.on("response.output_text.delta", () => pieces++);
  return { made: await stream.finalResponse(), pieces };
}

function responseTold(made) {
  const calls = made.output
    .filter((item) => item.type === "function_call")
    .map((item) => ({ id: item.call_id, name: item.name, args: JSON.parse(item.arguments) }));
  const finish = made.incomplete_details?.reason ?? made.status;
  const usage = usageOf(made.usage, "input_tokens", "output_tokens", "input_tokens_details");
  const thoughts = made.output.filter((item) => item.type === "reasoning").flatMap((item) => item.content ?? item.summary);
  const reasoning = thoughts.map((part) => part.text).join("");
  return { text: made.output_text, finish, calls, usage, reasoning, model: made.model };
}

async function respond(job) {
  let content = job.prompt;
  if (job.image) {
    const picture = { type: "input_image", detail: "auto", image_url: `data:image/png;base64,${job.image}` };
    content = [{ type: "input_text", text: content }, picture];
  }
  const { made, pieces } = await response(job, [{ role: "user", content }]);
  return { ...responseTold(made), pieces };
}

async function respondTurns(job) {
  const items = [{ role: "user", content: job.prompt }];
  const { made } = await response(job, items);
  const { made: after, pieces } = await response(job, [...items, ...made.output, { role: "user", content: job.then }]);
  return { ...responseTold(after), pieces, before: made.output_text };
}

async function respondTools(job) {
  const items = [{ role: "user", content: job.prompt }];
  const { made } = await response(job, items);
  const saw = responseTold(made);
  items.push(...made.output);
  for (const call of saw.calls) items.push({ type: "function_call_output", call_id: call.id, output: job.result });
  const { made: after } = await response(job, items);
  return { ...saw, after: responseTold(after).text };
}

async function respondObject(job) {
  const text = { format: { type: "json_schema", name: "person", strict: true, schema: PERSON } };
  const { made } = await response(job, job.prompt, { text, max_output_tokens: 200 });
  return { value: JSON.parse(made.output_text) };
}

await drive(
  {
    "openai-node": { chat, turns: chatTurns, tools: chatTools, object: chatObject, embed, models },
    "openai-node-responses": { chat: respond, turns: respondTurns, tools: respondTools, object: respondObject },
  },
  ["openai"],
);
