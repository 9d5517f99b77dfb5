// What opens below a row: the facts, the waterfall, the checks.
import { age, cache, check, count, el, failed, missing, ms, plain, ratings, usd } from "./words.js";

export function detail(r) {
  const pane = el("div", "pane");
  pane.append(facts(r), waterfall(r));
  if (r.guardrails.length) pane.append(checks(r.guardrails));
  return pane;
}

function facts(r) {
  const list = el("dl", "facts");
  const add = (name, value, className = "") => {
    if (value !== missing && value !== "" && value !== null && value !== undefined) list.append(el("div", className, el("dt", "", name), el("dd", "", value)));
  };
  add("Gateway's own time", ms(r.overhead_ms));
  add("Status", r.status ? String(r.status) : "");
  add("Asked", `${plain(r.operation)}, ${r.dialect} dialect`);
  add("Rated by the asker", ratings.get(r.id));
  if (r.intent) add("Intent", r.intent + (r.intent_score === null ? "" : ` (${r.intent_score.toFixed(2)})`));
  if (r.action) add("Next action", r.action);
  add("Cache", [plain(r.cache), plain(r.cache_reason), r.cache_age === null ? "" : `${age(r.cache_age)} old`].filter(Boolean).join(", "));
  if (r.usage && r.usage.cached) add("Prompt tokens cached", count(r.usage.cached));
  if (r.usage && r.usage.reasoning) add("Reasoning tokens", count(r.usage.reasoning));
  if (r.tier) add("Tier", r.tier + (r.tier_score === null ? "" : ` (${r.tier_score.toFixed(2)})`));
  if (r.left_out.length) add("Left out", r.left_out.join(", "));
  if (r.baseline_usd !== null) add("Cost of the baseline", usd(r.baseline_usd));
  if (r.saved_usd) add("Saved by the cache", usd(r.saved_usd));
  if (r.held_chars) add("Held back at most", `${count(r.held_chars)} characters, ${ms(r.held_ms)}`);
  if (r.degraded.length) add("Served without", r.degraded.join(", "));
  if (r.warnings.length) add("Warnings", r.warnings.join(", "));
  add("Key", r.tenant && r.tenant !== "default" ? `${r.key} (${r.tenant})` : r.key);
  add("Request", el("code", "", r.id), "long");
  add("Trace", el("code", "", r.trace_id), "long");
  return list;
}

function waterfall(r) {
  const box = el("section", "waterfall");
  const before = r.attempts.length ? r.attempts[0].start_ms : r.ms;
  const scales = [["whole request", r.ms]];
  if (before < r.ms / 4) scales.push(["before the model", before]);
  const fall = el("div", "fall");
  const draw = (scale) => fall.replaceChildren(...axis(scale), ...r.stages.flatMap((s) => stage(s, scale)), ...r.attempts.flatMap((a) => attempt(a, scale)));
  draw(scales[0][1]);
  const legend = el("p", "legend", ...[["stage", "stage"], ["wait", "waiting for a model"], ["ok", "receiving"]].map(([tone, name]) => el("span", "", el("i", tone), name)));
  const heading = el("div", "heading", el("h3", "", "Stages and upstream calls"), legend);
  if (scales.length > 1) heading.append(choice(scales, draw));
  box.append(heading, fall);
  return box;
}

function choice(scales, draw) {
  const group = el("div", "choice");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Time shown");
  const buttons = scales.map(([name, scale]) => {
    const button = el("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      draw(scale);
    });
    return button;
  });
  buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === 0)));
  group.append(...buttons);
  return group;
}

function axis(scale) {
  const ticks = el("div", "ticks");
  for (const part of [0, 0.25, 0.5, 0.75, 1]) ticks.append(el("span", "", ms(scale * part)));
  ticks.firstChild.textContent = "0";
  return [el("span", "name"), ticks, el("span", "ms")];
}

function lane(scale, ...bars) {
  const node = el("div", "lane");
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", bars.map(([, , , title]) => title).join("; "));
  for (const [from, to, tone, title] of bars) {
    if (from >= scale && to > scale) continue;
    const bar = el("div", "bar " + tone);
    bar.style.left = `min(${(100 * from) / scale}%, calc(100% - 3px))`;
    bar.style.width = (100 * Math.max(0, Math.min(to, scale) - from)) / scale + "%";
    bar.title = title;
    node.append(bar);
  }
  return node;
}

function stage(s, scale) {
  const tone = failed(s.outcome) ? "bad" : s.outcome === "refused" ? "refused" : s.outcome === "ok" || s.outcome === "cancelled" ? "stage" : "hit";
  const name = el("span", "name", plain(s.name));
  if (s.outcome !== "ok") name.append(" ", el("span", "badge " + (tone === "stage" ? "quiet" : tone), plain(s.outcome)));
  return [name, lane(scale, [s.start_ms, s.end_ms, tone, `${plain(s.outcome)}: from ${ms(s.start_ms)} to ${ms(s.end_ms)}`]), el("span", "ms", ms(s.end_ms - s.start_ms))];
}

function attempt(a, scale) {
  const name = el("span", "name", el("b", "", a.model), ` at ${a.provider}`);
  name.title = `${a.model} at ${a.provider} (${a.endpoint || "no address"})`;
  if (a.revealed) name.append(" ", el("span", "badge quiet", "originals sent"));
  if (a.why !== "first") name.append(" ", el("span", "badge quiet", plain(a.why)));
  if (a.outcome !== "ok") name.append(" ", el("span", "badge " + (failed(a.outcome) ? "bad" : "quiet"), plain(a.outcome) + (a.status && a.status !== 200 ? ` ${a.status}` : "")));
  const [from, first, to] = [a.start_ms, a.first_ms, a.end_ms];
  const bars = failed(a.outcome) || first === null
    ? [[from, to, failed(a.outcome) ? "bad" : "wait", `${plain(a.outcome)}: from ${ms(from)} to ${ms(to)}`]]
    : [[from, first, "wait", `waiting for the first token: ${ms(first - from)}`], [first, to, "ok", `receiving: ${ms(to - first)}`]];
  return [name, lane(scale, ...bars), el("span", "ms", ms(to - from))];
}

function checks(verdicts) {
  const table = el("table", "checks");
  table.append(el("thead", "", el("tr", "", ...["Check", "Side", "Time", "Score", "Category"].map((word) => {
    const head = el("th", "", word);
    head.scope = "col";
    return head;
  }))));
  const body = el("tbody");
  for (const v of verdicts) {
    const why = [plain(v.category), plain(v.reason)].filter(Boolean).join(": ") || missing;
    body.append(el("tr", "", el("td", "", check(v)), el("td", "", v.side), el("td", "n", ms(v.ms)), el("td", "n", v.score === null ? missing : v.score.toFixed(2)), el("td", "", why)));
  }
  table.append(body);
  return el("section", "", el("h3", "", "Checks"), el("div", "scroll", table));
}
