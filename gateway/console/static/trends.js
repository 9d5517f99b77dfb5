// The four plots over time: hits, the bound on wrong hits, routes, intents. Their numbers come from /console/api/series.
import { Plot } from "./plots.js";
import { count, plain } from "./words.js";

const EVERY_MS = 5000;
const SPANS = { "15m": "last 15 minutes", "3h": "last 3 hours" };
const $ = (id) => document.getElementById(id);
const plots = {
  hits: new Plot("trend-hits", "Cache hit rate"),
  bounds: new Plot("trend-bounds", "Wrong semantic hits, upper bound"),
  routes: new Plot("trend-routes", "Requests by route"),
  intents: new Plot("trend-intents", "Intents"),
};
let span = "15m";
let asked = 0;
let turn = 0;

$("trends").append(...Object.values(plots).map((plot) => plot.card));

// Asks when there is news, or when the plots should move on. Trouble is said by who asks for the receipts.
export async function refresh(headers, news) {
  if (!news && performance.now() - asked < EVERY_MS) return;
  asked = performance.now();
  const mine = ++turn;
  try {
    const reply = await fetch(`/console/api/series?span=${span}`, { headers, cache: "no-store", signal: AbortSignal.timeout(8000) });
    const told = reply.ok ? await reply.json() : null;
    if (told && mine === turn) draw(told);
  } catch {
    asked = 0;
  }
}

export function spans(now) {
  for (const button of document.querySelectorAll("#spans button")) {
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll("#spans button")) other.setAttribute("aria-pressed", String(other === button));
      span = button.dataset.span;
      now();
    });
  }
}

function draw(told) {
  const frame = { from: told.from_ms, step: told.step_s * 1000, count: told.requests.length, span: SPANS[told.span] };
  plots.hits.draw({ ...frame, ...hits(told) });
  plots.bounds.draw({ ...frame, ...bounds(told) });
  plots.routes.draw({ ...frame, ...counts(told.routes, false, "No requests in this time.") });
  plots.intents.draw({ ...frame, ...counts(told.intents, true, "No intent was told in this time.") });
}

const sum = (values) => values.reduce((all, value) => all + value, 0);

function hits({ cache }) {
  const asked = cache.miss.map((misses, at) => misses + cache.exact[at] + cache.semantic[at]);
  const all = sum(asked);
  const lines = (all ? ["exact", "semantic"] : []).map((name, at) => ({
    name,
    tone: "s" + at,
    values: asked.map((lookups, at) => (lookups ? cache[name][at] / lookups : null)),
    told: `${percent(sum(cache[name]) / all)} (${count(sum(cache[name]))} of ${count(all)})`,
    each: (at) => `${percent(cache[name][at] / asked[at])} (${cache[name][at]} of ${asked[at]})`,
  }));
  return { lines, top: 1, ticks: [0, 0.5, 1], format: percent, empty: "No cache was asked in this time." };
}

// The scale is logarithmic: what is allowed is often 1 %, and what is known begins at 100 %.
function bounds({ evidence }) {
  const lines = evidence.filter((route) => route.wrong_bound.some((value) => value !== null)).map((route, at) => {
    const last = (key) => route[key].at(-1);
    const state = (at) => (route.assumed[at] ? "serving on your word" : route.serving[at] ? "serving" : "in shadow");
    // On somebody's word, and nothing compared yet: that is no bound of 100 %.
    const assumed = (at) => route.assumed[at] && route.wrong_bound[at] >= 1;
    const bound = (at) => (assumed(at) ? "assumed" : percent(route.wrong_bound[at]));
    const end = route.wrong_bound.length - 1;
    return {
      name: route.name,
      tone: "s" + at,
      values: route.wrong_bound.map((value, at) => (assumed(at) ? null : value)),
      told: `${bound(end)}, limit ${percent(route.limit)}, ${state(end)}; ${count(last("agreements"))} right, ${count(last("disagreements"))} wrong, ${count(last("unclear"))} unclear`,
      each: (at) => `${bound(at)}, ${state(at)}; ${route.agreements[at]} right, ${route.disagreements[at]} wrong`,
    };
  });
  const limits = [...new Set(evidence.map((route) => route.limit))];
  return { lines, limits, top: 1, log: 0.001, ticks: [0.001, 0.01, 0.1, 1], format: percent, empty: lines.length ? "Assumed: nothing was compared yet." : "No route has a semantic cache." };
}

function counts(series, stacked, empty) {
  const lines = series.map(({ name, values }, at) => ({ name: plain(name), tone: name === "other" ? "quiet" : "s" + at, values, told: count(sum(values)) }));
  const heights = stacked && series.length ? series[0].values.map((_, at) => sum(series.map(({ values }) => values[at]))) : series.flatMap(({ values }) => values);
  const top = nice(Math.max(1, ...heights));
  return { lines, stacked, top, ticks: [0, top / 2, top], format: (value) => (Number.isInteger(value) ? count(value) : value.toFixed(1)), empty };
}

// The next of 2, 4, 10, 20, 40, 100, ...: its half is a whole number.
function nice(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [2, 4, 10].map((step) => Math.max(2, step * ten)).find((step) => step >= value);
}

function percent(share) {
  const value = 100 * share;
  return (value === 0 || value >= 99.95 ? value.toFixed(0) : value >= 10 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(2).replace(/\.?0+$/, "")) + " %";
}
