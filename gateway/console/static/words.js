// Values as people read them, and elements whose text is only ever text.

// Ratings by exchange: they come after their rows.
export const ratings = new Map();

export function el(tag, className, ...content) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...content.filter((part) => part !== null && part !== undefined));
  return node;
}

export const missing = "–";
const known = (value) => value !== null && value !== undefined;

export function ms(value) {
  if (!known(value)) return missing;
  if (value < 0.0995) return Math.round(value * 1000) + " µs";
  if (value < 0.995) return value.toFixed(2) + " ms";
  if (value < 99.5) return value.toFixed(1) + " ms";
  if (value < 9995) return Math.round(value) + " ms";
  return (value / 1000).toFixed(1) + " s";
}

export function usd(value) {
  if (!known(value)) return missing;
  if (value === 0) return "$0";
  if (value < 0.0000005) return "< $0.000001";
  return "$" + (value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : value.toFixed(6).replace(/0+$/, ""));
}

const GROUPED = new Intl.NumberFormat("en");
export const count = (value) => (known(value) ? (value < 1e6 ? GROUPED.format(value) : (value / 1e6).toFixed(1) + " M") : missing);
export const clock = (unixMs) => new Date(unixMs).toLocaleTimeString([], { hour12: false });
export const plain = (word) => word.replaceAll("_", " ");

export function age(seconds) {
  if (!known(seconds)) return missing;
  return seconds < 90 ? Math.round(seconds) + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
}

const GOOD = new Set(["ok", "cached", "semantic", "canned", "clarify", "handoff", "refused", "blocked", "cancelled"]);
export const failed = (outcome) => !GOOD.has(outcome);

// One of five kinds: the colour of a request everywhere on the page.
export function kind(r) {
  if (r.outcome === "refused") return "refused";
  if (r.outcome === "client_error" || r.outcome === "client_gone") return "quiet";
  if (r.outcome !== "ok") return "bad";
  if (r.cache === "hit" || r.cache === "semantic") return "hit";
  return r.answer === "generated" ? "ok" : "canned";
}

export function outcome(r) {
  if (r.outcome === "ok") return r.answer === "generated" ? (r.stream ? "streamed" : "answered") : plain(r.answer || "ok");
  return plain(r.error || r.outcome);
}

const TONES = { mask: "mask", block: "refused", flag: "refused", repair: "mask", not_scanned: "bad", log: "quiet", allow: "quiet" };

export function check(verdict) {
  const times = verdict.count ? ` ×${verdict.count}` : "";
  return el("span", "badge " + (TONES[verdict.action] || "quiet"), `${verdict.check} ${plain(verdict.action)}${times}`);
}

// The loud ones by name; those that found nothing as a number.
export function checks(verdicts) {
  const loud = verdicts.filter((verdict) => verdict.action !== "allow");
  const calm = verdicts.length - loud.length;
  const rest = calm ? el("span", "badge quiet", loud.length ? `${calm} allow` : `all ${calm} allow`) : null;
  return verdicts.length ? [...loud.map(check), rest] : [missing];
}

export function cache(r) {
  const similarity = known(r.cache_similarity) ? " " + r.cache_similarity.toFixed(3) : "";
  const hit = r.cache === "hit" || r.cache === "semantic";
  return el("span", "badge " + (hit ? "hit" : "quiet"), r.cache + (hit ? similarity : ""));
}
