// Plots over time, drawn as SVG: lines or stacked columns; a reading under the pointer or the arrow keys; numbers below.
import { clock, el } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const HEIGHT = 100;

function shape(tag, given) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  return node;
}

// One plot. `draw` is given everything anew; what is open and where the reading stands stay.
export class Plot {
  constructor(id, title) {
    this.at = null; // the bucket being read
    this.legend = el("p", "legend");
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: 0 });
    this.ticks = el("div", "scale");
    this.tip = el("div", "tip");
    this.tip.setAttribute("role", "status");
    this.tip.hidden = true;
    this.none = el("p", "nothing");
    this.chart = el("div", "over", this.ticks, this.svg, this.none, this.tip);
    this.times = el("div", "times");
    this.table = el("table", "numbers");
    this.more = el("details", "", el("summary", "", "Numbers"), el("div", "scroll", this.table));
    this.card = el("section", "card trend", el("h2", "", title), this.legend, this.chart, this.times, this.more);
    this.card.id = id;
    this.title = title;
    this.more.addEventListener("toggle", () => this.rows());
    this.svg.addEventListener("pointermove", (event) => this.read(this.under(event)));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  // given: {from, step, count, lines: [{name, tone, values, told}], top, format, stacked, log, limits, empty, span}
  draw(given) {
    this.given = given;
    const bare = given.lines.length === 0 || given.lines.every((line) => line.values.every((value) => value === null));
    this.none.textContent = bare ? given.empty : "";
    this.none.hidden = !bare;
    this.card.classList.toggle("bare", bare);
    this.svg.toggleAttribute("hidden", bare);
    this.more.hidden = bare;
    this.svg.setAttribute("aria-label", `${this.title}, ${given.span}. ` + (bare ? given.empty : given.lines.map((line) => `${line.name}: ${line.told}`).join("; ")));
    this.legend.replaceChildren(...given.lines.map((line) => el("span", "", el("i", line.tone), el("b", "", line.name), " ", line.told)));
    const shapes = bare ? [] : given.stacked ? this.areas() : given.lines.flatMap((line) => this.line(line));
    const limits = bare ? [] : (given.limits || []).map((limit) => shape("line", { class: "limit", x1: 0, x2: WIDTH, y1: this.y(limit), y2: this.y(limit) }));
    this.cursor = shape("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg.replaceChildren(...this.grid(bare), ...limits, ...shapes, this.cursor);
    const end = given.from + given.count * given.step;
    this.times.replaceChildren(...[given.from, (given.from + end) / 2, end].map((time) => el("span", "", short(time))));
    this.read(this.at);
    this.rows();
  }

  x(at) {
    return ((at + 0.5) * WIDTH) / this.given.count;
  }

  y(value) {
    const { top, log } = this.given;
    const share = log ? Math.log(Math.max(value, log) / log) / Math.log(top / log) : value / top;
    return HEIGHT - Math.min(1, Math.max(0, share)) * HEIGHT;
  }

  grid(bare) {
    const { ticks, format } = this.given;
    this.ticks.replaceChildren(...(bare ? [] : ticks).map((value) => {
      const label = el("span", "", format(value));
      label.style.top = this.y(value) + "%";
      return label;
    }));
    return (bare ? [] : ticks).map((value) => shape("line", { class: "grid", x1: 0, x2: WIDTH, y1: this.y(value), y2: this.y(value) }));
  }

  // A line breaks where nothing is known; a value on its own is a dot.
  line({ tone, values }) {
    let path = "";
    let dots = "";
    values.forEach((value, at) => {
      if (value === null) return;
      const place = `${this.x(at).toFixed(1)} ${this.y(value).toFixed(2)}`;
      const first = at === 0 || values[at - 1] === null;
      if (first && (at === values.length - 1 || values[at + 1] === null)) dots += `M${place}h.01`;
      path += (first ? "M" : "L") + place;
    });
    return [shape("path", { class: `${tone} line`, d: path }), shape("path", { class: `${tone} line dot`, d: dots })];
  }

  // Stacked columns, one path a line: a bucket is as wide as its time.
  areas() {
    const { count, lines } = this.given;
    const floor = new Array(count).fill(0);
    const edge = (at) => ((at * WIDTH) / count).toFixed(1);
    return lines.map(({ tone, values }) => {
      let path = "";
      values.forEach((value, at) => {
        if (value) path += `M${edge(at)} ${this.y(floor[at]).toFixed(2)}V${this.y(floor[at] + value).toFixed(2)}H${edge(at + 1)}V${this.y(floor[at]).toFixed(2)}Z`;
        floor[at] += value;
      });
      return shape("path", { class: `${tone} area`, d: path });
    });
  }

  under(event) {
    const box = this.svg.getBoundingClientRect();
    return Math.min(this.given.count - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * this.given.count)));
  }

  key(event) {
    const last = this.given.count - 1;
    const now = this.at === null ? last + 1 : this.at;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.read(to === null ? null : Math.min(last, Math.max(0, to)));
  }

  read(at) {
    this.at = at;
    const shown = at !== null && this.none.hidden;
    this.tip.hidden = !shown;
    if (!this.cursor) return;
    this.cursor.setAttribute("visibility", shown ? "visible" : "hidden");
    if (!shown) return;
    this.cursor.setAttribute("x1", this.x(at));
    this.cursor.setAttribute("x2", this.x(at));
    const told = this.given.lines.map((line) => el("span", "", el("i", line.tone), `${line.name} ${this.value(line, at)}`));
    this.tip.replaceChildren(el("b", "", this.when(at)), ...told);
    const right = at > this.given.count / 2;
    this.tip.style.left = right ? "auto" : `calc(${this.x(at) / 10}% + 10px)`;
    this.tip.style.right = right ? `calc(${100 - this.x(at) / 10}% + 10px)` : "auto";
  }

  value(line, at) {
    return line.values[at] === null ? "none" : line.each ? line.each(at) : this.given.format(line.values[at]);
  }

  when(at) {
    return clock(this.given.from + at * this.given.step);
  }

  // The newest buckets in which anything is known.
  rows() {
    if (!this.more.open || !this.given) return;
    const { lines, count } = this.given;
    const head = el("tr", "", ...["From", ...lines.map((line) => line.name)].map((word) => scoped("th", word)));
    const body = el("tbody");
    for (let at = count - 1; at >= 0 && body.childElementCount < 10; at -= 1) {
      if (lines.every((line) => !line.values[at])) continue;
      body.append(el("tr", "", el("td", "", this.when(at)), ...lines.map((line) => el("td", "n", this.value(line, at)))));
    }
    this.table.replaceChildren(el("thead", "", head), body);
  }
}

function scoped(tag, word) {
  const head = el(tag, "", word);
  head.scope = "col";
  return head;
}

const short = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
