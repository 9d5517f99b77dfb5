// Drives the official `@anthropic-ai/sdk`.

import Anthropic from "@anthropic-ai/sdk";
import { PERSON, drive } from "./driving.mjs";

function client(job) {
  return new Anthropic({
    baseURL: job.base,
    apiKey: job.key,
    maxRetries: job.retries,
    timeout: job.timeout * 1000,
  });
}

function asked(job) {
  const content = [{ type: "text", text: job.prompt }];
  if (job.image) {
    content.push({ type: "image", source: { type: "base64", media_type: "image/png", data: job.image } });
  }
  return [{ role: "user", content }];
}

async function message(job, messages, more = {}) {
  const tools = (job.tools ?? []).map((each) => ({
    name: each.name,
    description: each.description,
    input_schema: each.parameters,
  }));
  const given = { model: job.model, max_tokens: 512, messages, ...(job.extra ?? {}), ...more };
  if (tools.length) given.tools = tools;
  if (job.system) given.system = job.system;
  const api = client(job).messages;
  if (!job.stream) return { made: await api.create(given), pieces: 1 };
  const stream = api.stream(given);
  let pieces = 0;
  stream.on("text", () => pieces++);
  return { made: await stream.finalMessage(), pieces };
}

function told(made) {
  const calls = made.content
    .filter((block) => block.type === "tool_use")
    .map((block) => ({ id: block.id, name: block.name, args: block.input }));
  const text = made.content.map((block) => block.text ?? "").join("");
  const { input_tokens: input, output_tokens: output, cache_read_input_tokens: cached } = made.usage;
  const reasoning = made.content.map((block) => block.thinking ?? "").join("");
  return { text, finish: made.stop_reason, calls, usage: { input, output, cached }, reasoning, model: made.model };
}

async function chat(job) {
  const { made, pieces } = await message(job, asked(job));
  return { ...told(made), pieces };
}

async function turns(job) {
  const messages = asked(job);
  const { made } = await message(job, messages);
  messages.push({ role: "assistant", content: made.content }, { role: "user", content: job.then });
  const { made: after, pieces } = await message(job, messages);
  return { ...told(after), pieces, before: told(made).text };
}

async function tools(job) {
  const messages = asked(job);
  const { made } = await message(job, messages);
  const saw = told(made);
  const content = saw.calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: job.result }));
  messages.push({ role: "assistant", content: made.content }, { role: "user", content });
  const { made: after } = await message(job, messages);
  return { ...saw, after: told(after).text };
}

async function object(job) {
  const output_config = { format: { type: "json_schema", schema: PERSON } };
  const { made } = await message(job, asked(job), { output_config });
  return { value: JSON.parse(told(made).text) };
}

async function models(job) {
  const ids = [];
  for await (const model of client(job).models.list()) ids.push(model.id);
  return { ids };
}

async function count(job) {
  const made = await client(job).messages.countTokens({ model: job.model, messages: asked(job) });
  return { usage: { input: made.input_tokens } };
}

await drive({ "anthropic-node": { chat, turns, tools, object, models, count } }, ["@anthropic-ai/sdk"]);
