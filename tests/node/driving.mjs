// What the Node drivers share: jobs come in on standard input, what the SDK gave goes out as one JSON line each.
// What was seen is told in one form for all SDKs, in Node and in Python, so that one law can be held against all of them.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

function version(name) {
  return JSON.parse(readFileSync(join(here, "../node_modules", name, "package.json"), "utf8")).version;
}

// Does every job in order; those that mostly wait, all at once after the others, so that nothing but waiting is measured.
// What an SDK throws is what was seen; nothing ends the run early.
export async function drive(kits, packages) {
  const { jobs } = JSON.parse(readFileSync(0, "utf8"));
  say({ versions: Object.fromEntries(packages.map((name) => [`${name} (Node)`, version(name)])) });
  for (const job of jobs) if (!job.waits) say(await done(kits, job));
  const waiting = jobs.filter((job) => job.waits);
  for (const saw of await Promise.all(waiting.map((job) => done(kits, job)))) say(saw);
}

async function done(kits, job) {
  const began = performance.now();
  const { kit, feature, stream } = job;
  let saw;
  try {
    saw = await kits[kit][job.do](job);
  } catch (error) {
    saw = { error: errorOf(error) };
  }
  return { kit, feature, stream, ...saw, seconds: (performance.now() - began) / 1000 };
}

function say(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

// The exception as an application would look at it.
function errorOf(error) {
  const classes = [error.name];
  for (let kind = Object.getPrototypeOf(error); kind?.constructor?.name; kind = Object.getPrototypeOf(kind)) {
    if (kind.constructor === Object) break;
    classes.push(kind.constructor.name);
  }
  const status = error.status ?? error.statusCode;
  const body = error.data?.error ?? error.error?.error ?? error.error ?? {};
  const headers = error.headers ?? error.responseHeaders ?? {};
  return {
    classes,
    status: typeof status === "number" ? status : null,
    code: error.code ?? body.code ?? null,
    param: error.param ?? body.param ?? null,
    type: body.type ?? null,
    message: String(error.message),
    retry_after: (headers.get ? headers.get("retry-after") : headers["retry-after"]) ?? null,
  };
}

// The plain JSON schema of the structured answer that is asked for.
export const PERSON = {
  type: "object",
  properties: { adult: { type: "boolean" } },
  required: ["adult"],
  additionalProperties: false,
};
