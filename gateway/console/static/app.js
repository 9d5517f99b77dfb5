// The console: polls the receipts, draws totals, a plot, a table, and a waterfall for each row on demand.
// Everything a receipt says is set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const MOST_ROWS = 200;
const EVERY_MS = 1000;
const rows = [];
const open = new Set();
let last = 0;
let key = sessionStorage.getItem("tidegate-admin-key") || "";

function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function kind(r) {
  if (r.outcome === "refused") return "refused";
  if (r.outcome !== "ok") return "bad";
  if (r.cache === "hit" || r.cache === "semantic") return "hit";
  return r.answer === "generated" ? "ok" : "canned";
}

const ms = (value) => (value === null || value === undefined ? "–" : value < 10 ? value.toFixed(2) + " ms" : value < 10000 ? value.toFixed(0) + " ms" : (value / 1000).toFixed(1) + " s");
const usd = (value) => (value === null || value === undefined ? "–" : value === 0 ? "$0" : "$" + value.toPrecision(3));

function totals(t) {
  const share = t.lookups ? Math.round((100 * t.hits) / t.lookups) + " %" : "–";
  const cards = [[t.requests, "requests"], [share, "cache hits"], [t.masked, "values masked"], [t.refused, "refused"], [t.failed, "failed"],
    [t.tokens, "tokens upstream"], [usd(t.cost_usd), "cost"], [ms(t.overhead_p50_ms), "overhead, median"]];
  $("totals").replaceChildren(...cards.map(([value, label]) => {
    const card = el("div", "total");
    card.append(el("b", "", String(value)), el("span", "", label));
    return card;
  }));
}

function plot() {
  const shown = rows.slice(0, 120).reverse();
  const top = Math.max(5, ...shown.map((r) => r.overhead_ms || 0));
  const bars = shown.map((r, i) => {
    const height = 8 + (104 * (r.overhead_ms || 0)) / top;
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const width = 1000 / 120;
    for (const [name, value] of Object.entries({ x: i * width, y: 120 - height, width: width - 2, height, class: kind(r) + "-fill" })) bar.setAttribute(name, value);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${r.outcome}, overhead ${ms(r.overhead_ms)}`;
    bar.append(title);
    return bar;
  });
  $("plot").replaceChildren(...bars);
}

function guards(r) {
  const cell = el("td");
  for (const g of r.guardrails) {
    const loud = { mask: "hit", block: "refused", flag: "refused", repair: "canned", not_scanned: "bad" }[g.action] || "plain";
    cell.append(el("span", "badge " + loud, `${g.check} ${g.action.replace("_", " ")}${g.count ? " " + g.count : ""}`));
  }
  return cell;
}

function waterfall(r) {
  const row = el("tr", "detail");
  const cell = el("td");
  cell.colSpan = 10;
  const facts = [`id ${r.id}`, `trace ${r.trace_id}`, `gateway's own time ${ms(r.overhead_ms)}`];
  if (r.intent) facts.push(`intent ${r.intent}`);
  if (r.cache_reason) facts.push(`cache ${r.cache}: ${r.cache_reason}`);
  if (r.degraded.length) facts.push(`degraded: ${r.degraded.join(", ")}`);
  cell.append(el("p", "", facts.join("  ·  ")));
  const fall = el("div", "fall");
  const scale = Math.max(r.ms, 0.001);
  for (const b of r.bars) {
    fall.append(el("span", "name", b.kind === "attempt" ? `${b.name} (${b.why})` : b.name));
    const lane = el("div", "lane");
    const place = (from, to, className) => {
      const bar = el("div", "bar " + className);
      bar.style.left = (100 * from) / scale + "%";
      bar.style.width = (100 * Math.max(0, to - from)) / scale + "%";
      bar.title = `${b.outcome}: ${ms(from)} to ${ms(to)}`;
      lane.append(bar);
    };
    const failed = !["ok", "cached", "semantic", "canned", "clarify", "handoff", "refused", "blocked"].includes(b.outcome);
    if (b.kind === "attempt" && b.first_ms !== null && !failed) {
      place(b.start_ms, b.first_ms, "wait");
      place(b.first_ms, b.end_ms, "attempt");
    } else {
      const tone = failed ? "bad" : b.outcome === "refused" || b.outcome === "blocked" ? "refused" : b.outcome !== "ok" ? "hit" : b.kind;
      place(b.start_ms, b.end_ms, tone);
    }
    fall.append(lane, el("span", "ms", ms(b.end_ms - b.start_ms)));
  }
  cell.append(fall);
  row.append(cell);
  return row;
}

function line(r) {
  const row = el("tr", "row");
  row.tabIndex = 0;
  row.dataset.id = r.id;
  const outcome = el("td");
  const word = r.outcome !== "ok" ? r.error || r.outcome : r.answer === "generated" ? (r.stream ? "streamed" : "answered") : r.answer;
  outcome.append(el("span", "badge " + kind(r), word.replaceAll("_", " ")));
  const cache = el("td");
  const similarity = r.cache_similarity !== null ? " " + r.cache_similarity.toFixed(3) : "";
  cache.append(el("span", "badge " + (r.cache === "hit" || r.cache === "semantic" ? "hit" : "plain"), r.cache + similarity));
  const model = r.served_model && r.served_model !== r.model ? `${r.model} → ${r.served_model}` : r.model || "–";
  const tokens = r.tokens_in === null ? "–" : `${r.tokens_in} / ${r.tokens_out}`;
  row.append(el("td", "", new Date(r.opened_ms).toLocaleTimeString()), outcome, el("td", "", r.route || "–"), el("td", "", model), cache, guards(r),
    el("td", "n", tokens), el("td", "n", usd(r.cost_usd)), el("td", "n", ms(r.ttft_ms)), el("td", "n", ms(r.ms)));
  const toggle = () => {
    if (open.has(r.id)) open.delete(r.id);
    else open.add(r.id);
    table();
  };
  row.addEventListener("click", toggle);
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(); });
  return row;
}

function table() {
  $("empty").hidden = rows.length > 0;
  $("table").hidden = rows.length === 0;
  $("rows").replaceChildren(...rows.flatMap((r) => (open.has(r.id) ? [line(r), waterfall(r)] : [line(r)])));
}

async function poll() {
  try {
    const headers = key ? { authorization: "Bearer " + key } : {};
    const reply = await fetch(`/console/api/receipts?after=${last}`, { headers });
    $("login").hidden = reply.status !== 401;
    if (reply.status === 401) {
      $("state").textContent = "an admin key is needed";
    } else if (reply.ok) {
      const news = await reply.json();
      if (news.last < last) rows.length = 0; // the gateway was started again
      last = news.last;
      $("state").textContent = "live";
      totals(news.totals);
      if (news.receipts.length) {
        rows.unshift(...news.receipts.reverse());
        rows.length = Math.min(rows.length, MOST_ROWS);
        plot();
        table();
      }
    } else {
      $("state").textContent = "the gateway answers " + reply.status;
    }
  } catch {
    $("state").textContent = "the gateway does not answer";
  }
  setTimeout(poll, EVERY_MS);
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  sessionStorage.setItem("tidegate-admin-key", key);
});

poll();
