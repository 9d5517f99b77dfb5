// The console: asks for new receipts once a second, and says how that goes.
import { pools } from "./pools.js";
import { refresh, spans } from "./trends.js";
import { add, clear, show, totals } from "./view.js";
import { ratings } from "./words.js";

const EVERY_MS = 1000;
const SLOWEST_MS = 10000;
const $ = (id) => document.getElementById(id);
const STORE = "tidegate-admin-key";
let key = sessionStorage.getItem(STORE) || "";
let instance = "";
let last = 0;
let paused = false;
let wait = EVERY_MS;
let timer = 0;
let turn = 0; // of the newest question; answers to older ones are not looked at

function say(tone, text) {
  $("state").className = "state " + tone;
  if ($("state").textContent !== text) $("state").textContent = text;
}

function door(open, wrong) {
  $("login").hidden = open;
  $("content").hidden = !open && last === 0;
  $("wrong").hidden = !wrong;
  $("out").hidden = !open || !key;
  if (!open && document.activeElement === document.body) $("key").focus();
}

function take(news) {
  if (news.instance !== instance) {
    const again = last > 0;
    instance = news.instance;
    last = 0;
    ratings.clear();
    clear();
    if (again) return 0; // numbers began anew: ask for all of them
  }
  last = news.last;
  totals(news.totals);
  for (const r of news.receipts) if (r.rating) ratings.set(r.id, r.rating);
  for (const [id, word] of Object.entries(news.ratings)) ratings.set(id, word);
  if (news.receipts.length) add(news.receipts);
  return EVERY_MS;
}

async function poll() {
  const asked = key;
  const mine = ++turn;
  try {
    const headers = asked ? { authorization: "Bearer " + asked } : {};
    const reply = await fetch(`/console/api/receipts?after=${last}`, { headers, cache: "no-store", signal: AbortSignal.timeout(8000) });
    const news = reply.ok ? await reply.json() : null;
    if (mine !== turn) return;
    if (reply.status === 401) {
      door(false, asked !== "");
      say("bad", "an admin key is needed");
      wait = SLOWEST_MS;
    } else if (news) {
      wait = take(news);
      door(true, false);
      refresh(headers, news.receipts.length > 0);
      pools(headers);
      $("trouble").hidden = true;
      if (!paused) say("ok", "live");
    } else {
      throw new Error(`the gateway answers with HTTP ${reply.status}`);
    }
  } catch (error) {
    if (mine !== turn) return;
    wait = Math.min(SLOWEST_MS, wait * 2 || EVERY_MS);
    const why = error.message.startsWith("the gateway") ? error.message : "the gateway does not answer";
    say("bad", why);
    $("trouble").hidden = false;
    $("trouble").textContent = `No news: ${why}. What is shown may be old; trying again.`;
  }
  next();
}

function now() {
  turn += 1;
  wait = 0;
  next();
}

function next() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  timer = setTimeout(poll, wait);
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) say("quiet", "paused");
  now();
});

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  sessionStorage.setItem(STORE, key);
  now();
});

$("out").addEventListener("click", () => {
  key = "";
  sessionStorage.removeItem(STORE);
  instance = "";
  last = 0;
  clear();
  now();
});

for (const button of document.querySelectorAll("#filters button")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("#filters button")) other.setAttribute("aria-pressed", String(other === button));
    show(button.dataset.show);
  });
}

document.addEventListener("visibilitychange", () => {
  now();
});

spans(() => {
  refresh(key ? { authorization: "Bearer " + key } : {}, true);
});

$("sample").textContent =
  `curl ${location.origin}/v1/chat/completions -H 'content-type: application/json' \\\n` +
  `  -d '{"model": "MODEL", "messages": [{"role": "user", "content": "Hello"}]}'`;
clear();
poll();
