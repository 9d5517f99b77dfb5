// The endpoints of every pool: how each is, what it has to do, and a button that drains it. From /admin/v1/endpoints.
import { age, count, el, missing, ms } from "./words.js";

const EVERY_MS = 2000;
const MOST_ROWS = 64;
const $ = (id) => document.getElementById(id);
let asked = -EVERY_MS;
let turn = 0;
let headers = {};

// Asks when it is time to. Trouble is said by who asks for the receipts.
export async function pools(given) {
  headers = given;
  if (performance.now() - asked < EVERY_MS) return;
  asked = performance.now();
  const mine = ++turn;
  try {
    const reply = await fetch("/admin/v1/endpoints", { headers, cache: "no-store", signal: AbortSignal.timeout(8000) });
    const told = reply.ok ? await reply.json() : null;
    if (told && mine === turn) draw(told);
  } catch {
    asked = -EVERY_MS;
  }
}

// A rented provider is one endpoint, and nothing is known of it beside its calls: it is not shown.
function draw({ endpoints, degraded }) {
  const of = new Map();
  for (const row of endpoints) of.set(row.provider, (of.get(row.provider) || 0) + 1);
  const rows = endpoints.filter((row) => of.get(row.provider) > 1 || row.reading_age !== null || row.draining || !row.well);
  const wrong = Object.entries(degraded).map(([name, why]) => el("li", "", el("b", "", name.replace("pool:", "")), ": ", why));
  $("pools").hidden = !rows.length && !wrong.length;
  $("pool-trouble").replaceChildren(...wrong);
  $("pool-trouble").hidden = !wrong.length;
  const held = document.activeElement?.dataset?.drain;
  $("pool-rows").replaceChildren(...rows.slice(0, MOST_ROWS).map(line));
  if (held) [...$("pool-rows").querySelectorAll("button")].find((button) => button.dataset.drain === held)?.focus();
  $("pool-more").hidden = rows.length <= MOST_ROWS;
  $("pool-more").textContent = `${rows.length - MOST_ROWS} more are at /admin/v1/endpoints.`;
}

function line(row) {
  const cells = [
    [el("span", "one", row.endpoint), el("small", "", row.provider)],
    [el("span", "badges", ...state(row))],
    [count(row.in_flight), row.tokens_in_flight >= 1 ? el("small", "", ` ${count(Math.round(row.tokens_in_flight))} tokens`) : null],
    [`${said(row.running)} / ${said(row.waiting)}`],
    [share(row)],
    [row.expected_ttft ? ms(row.expected_ttft * 1000) : missing],
    [row.adapters.length ? row.adapters.slice(0, 3).join(", ") + (row.adapters.length > 3 ? ` +${row.adapters.length - 3}` : "") : missing],
    [button(row)],
  ];
  const kinds = ["", "", "n middle", "n wide", "n middle", "n wide", "wide", "n"];
  return el("tr", "", ...cells.map((content, at) => el("td", kinds[at], ...content)));
}

const said = (value) => (value === null ? missing : count(value));

function state(row) {
  const badges = [el("span", "badge " + (row.well ? "ok" : "bad"), row.well ? "well" : "ill")];
  if (!row.well) badges[0].title = row.why_ill;
  if (row.drained_by_operator) badges.push(el("span", "badge refused", "drained"));
  if (row.leaving) badges.push(el("span", "badge refused", "leaving"));
  if (row.breaker !== "closed") badges.push(el("span", "badge bad", `breaker ${row.breaker}`));
  if (row.stale) badges.push(el("span", "badge bad", row.reading_age === null ? "no metrics" : `metrics ${age(row.reading_age)} old`));
  if (row.missing.length) badges.push(el("span", "badge bad", `${row.missing.length} metric${row.missing.length > 1 ? "s" : ""} missing`));
  if (row.missing.length) badges.at(-1).title = row.missing.join(", ");
  return badges;
}

function share(row) {
  if (row.kv === null) return missing;
  const bar = el("progress", "");
  bar.value = row.kv;
  bar.setAttribute("aria-label", "Share of the cache in use");
  return el("span", "share", bar, ` ${Math.round(row.kv * 100)} %`);
}

function button(row) {
  const node = el("button", "", row.drained_by_operator ? "Take back" : "Drain");
  node.type = "button";
  node.dataset.drain = row.provider + " " + row.url;
  node.setAttribute("aria-label", `${node.textContent} ${row.endpoint} of ${row.provider}`);
  node.addEventListener("click", async () => {
    node.disabled = true;
    const body = JSON.stringify({ provider: row.provider, endpoint: row.url, drain: !row.drained_by_operator });
    try {
      await fetch("/admin/v1/endpoints/drain", { method: "POST", headers: { ...headers, "content-type": "application/json" }, body, signal: AbortSignal.timeout(8000) });
    } catch {
      node.disabled = false; // it is said elsewhere that the gateway does not answer
    }
    asked = -EVERY_MS;
    pools(headers);
  });
  return node;
}
