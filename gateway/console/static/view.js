// The rows, the totals and the plot. Rows are added, never drawn again: focus and what is open stay where they are.
import { detail } from "./detail.js";
import { cache, checks, clock, count, el, kind, missing, ms, outcome, usd } from "./words.js";

const MOST_ROWS = 200;
const MOST_BARS = 120;
const COLUMNS = 9;
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const rows = []; // newest first: {r, row, pane}
let shown = "all";

export function clear() {
  rows.length = 0;
  $("rows").replaceChildren();
  settle();
}

export function add(receipts) {
  const fresh = receipts.map(entry).reverse();
  rows.unshift(...fresh);
  $("rows").prepend(...fresh.map((made) => made.row));
  for (const old of rows.splice(MOST_ROWS)) {
    old.row.remove();
    if (old.pane) old.pane.remove();
  }
  settle();
}

export function show(which) {
  shown = which;
  for (const made of rows) filter(made);
  settle();
}

export function totals(t) {
  const share = t.lookups ? Math.round((100 * t.hits) / t.lookups) + " %" : missing;
  const cards = [
    ["Requests", count(t.requests), ""],
    ["Refused", count(t.refused), t.refused ? "refused" : ""],
    ["Failed", count(t.failed), t.failed ? "bad" : ""],
    ["Cache hits", share, "", t.lookups ? `${count(t.hits)} of ${count(t.lookups)}` : ""],
    ["Values masked", count(t.masked), ""],
    ["Tokens upstream", count(t.tokens), ""],
    ["Cost", usd(t.cost_usd), "", t.saved_usd ? `${usd(t.saved_usd)} saved` : ""],
    ...(t.baseline_usd ? [["Against the baseline", usd(t.baseline_spent_usd), "", `${usd(t.baseline_usd)} of its own`]] : []),
    ["Own time, median", ms(t.overhead_p50_ms), ""],
  ];
  $("totals").replaceChildren(...cards.map(([name, value, tone, more]) => {
    const card = el("div", "total " + tone, el("dt", "", name), el("dd", "", value));
    if (more) card.append(el("small", "", more));
    return card;
  }));
}

function settle() {
  const visible = rows.filter((made) => !made.row.hidden).length;
  $("empty").hidden = rows.length > 0;
  $("list").hidden = rows.length === 0;
  $("none").hidden = rows.length === 0 || visible > 0;
  $("table").hidden = visible === 0;
  plot();
}

function matches(r) {
  const k = kind(r);
  return shown === "all" || shown === k || (shown === "ok" && k === "canned");
}

function filter(made) {
  made.row.hidden = !matches(made.r);
  if (made.pane) made.pane.hidden = made.row.hidden;
}

function entry(r) {
  const row = el("tr", "row");
  const toggle = el("button", "toggle", clock(r.opened_ms));
  const made = { r, row, pane: null };
  toggle.type = "button";
  toggle.setAttribute("aria-expanded", "false");
  toggle.setAttribute("aria-label", `${clock(r.opened_ms)}, ${outcome(r)}: details`);
  const name = r.served_model && r.served_model !== r.model ? `${r.model} → ${r.served_model}` : r.model || missing;
  const model = el("td", "", el("span", "one", name));
  model.firstChild.title = name;
  if (r.route) model.append(el("small", "one", r.route));
  const tokens = r.usage ? `${count(r.usage.input)} / ${count(r.usage.output)}` : missing;
  row.append(
    el("td", "", toggle),
    el("td", "", el("span", "badge " + kind(r), outcome(r))),
    model,
    el("td", "wide", cache(r)),
    el("td", "wide", el("div", "badges", ...checks(r.guardrails))),
    el("td", "n wide", tokens),
    el("td", "n middle", r.saved_usd ? el("span", "saved", `${usd(r.saved_usd)} saved`) : usd(r.cost_usd)),
    el("td", "n middle", ms(r.ttft_ms)),
    el("td", "n", ms(r.ms)),
  );
  roles(row);
  row.addEventListener("click", () => open(made, toggle));
  filter(made);
  return made;
}

// Narrow screens lay the table out as blocks, which would take its meaning away from who hears it.
function roles(row) {
  row.setAttribute("role", "row");
  for (const cell of row.children) cell.setAttribute("role", "cell");
}

function open(made, toggle) {
  if (String(window.getSelection())) return; // somebody is copying text
  if (made.pane) {
    made.pane.remove();
    made.pane = null;
  } else {
    const cell = el("td", "", detail(made.r));
    cell.colSpan = COLUMNS;
    made.pane = el("tr", "detail", cell);
    roles(made.pane);
    made.row.after(made.pane);
  }
  toggle.setAttribute("aria-expanded", String(made.pane !== null));
}

function plot() {
  const bars = rows.slice(0, MOST_BARS).reverse().map((made) => made.r);
  const known = bars.map((r) => r.overhead_ms ?? 0);
  const top = Math.max(1, ...known);
  const width = 1000 / MOST_BARS;
  const offset = MOST_BARS - bars.length;
  $("top").textContent = bars.length ? ms(top) : "";
  $("plot").replaceChildren(...bars.map((r, at) => {
    const height = 4 + (96 * (r.overhead_ms ?? 0)) / top;
    const bar = document.createElementNS(SVG, "rect");
    const place = { x: (at + offset) * width, y: 100 - height, width: width - 2, height, rx: 1, class: kind(r) };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value);
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${clock(r.opened_ms)}: ${outcome(r)}, the gateway's own time ${ms(r.overhead_ms)}`;
    bar.append(title);
    return bar;
  }));
}
