/**
 * The waterfall: how long EVA's answers take, and where the time goes. In: each turn's latency and the connection's
 * statistics. Out: elements in the page — the newest answer with its parts, the session's median and slow end, a plot
 * of all answers, the earlier turns on one scale, the network — and the turns as CSV. It knows no call and measures
 * nothing itself; what is not known is shown as a dash.
 *
 *     const waterfall = new Waterfall(document.querySelector("#figures"), figureTexts.en);
 *     call.addEventListener("latency", ({ detail }) => waterfall.turn(detail));
 *     setInterval(async () => waterfall.network(await call.stats()), 1000);
 *
 * Pointing at the plot or at a row shows that turn in place of the newest; so do the arrow keys on the plot.
 */

/** The parts of a turn, in order. */
export const PARTS = /** @type {const} */ (["pause", "words", "committed", "first_token", "first_piece", "first_sound", "wire"]);

/** Turns kept; older ones go. */
const MAX_TURNS = 200;
/** Fewer values than this have no slow end worth a number. */
const MIN_FOR_P95 = 5;
/** Answers beyond this many medians do not stretch the scale: they are cut and marked. */
const OUTLIER = 3;
/** With this many turns, neither does the slowest tenth, beyond some room over the others. */
const MANY = 10;
const ROOM = 1.25;
/** The plot: height, and room for its labels, in CSS pixels. */
const PLOT = { height: 104, left: 40, right: 8, top: 12, bottom: 8 };
/** Places a young session's plot has: its few points begin at the left and do not jump about. */
const MIN_PLACES = 12;

/**
 * @typedef {object} Turn
 * @property {number} number   counts the session's answers from 1
 * @property {Date} at         when it was noted
 * @property {number | string | null} turnId
 * @property {number | string | null} replyId
 * @property {number} total    milliseconds, as are the parts
 * @property {Partial<Record<typeof PARTS[number], number>>} parts
 *
 * @typedef {object} Latency  as the gateway says it in `eva.latency`
 * @property {number | string | null} [turn_id]
 * @property {number | string | null} [reply_id]
 * @property {Record<string, number>} [parts_ms]
 * @property {number} total_ms
 *
 * @typedef {object} NetworkStats  as `EvaCall.stats()` gives them; what is missing, null or no number is not known
 * @property {number | null} [packetsReceived]
 * @property {number | null} [lossPercent]
 * @property {number | null} [jitterMs]
 * @property {number | null} [roundTripMs]
 * @property {number | null} [concealedPercent]
 * @property {string | null} [codec]
 * @property {string | null} [transport]
 *
 * @typedef {{top: number, step: number}} Scale  both in milliseconds: where it ends, and between two of its lines
 */

/**
 * The value that so many of the values do not exceed, by nearest rank.
 * @param {number[]} values @param {number} share  0 to 1
 * @returns {number | null} null without values
 */
export function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(Math.ceil(share * sorted.length), 1) - 1];
}

/**
 * A scale that holds these times: two to five even steps from 0. Single very slow answers are left outside.
 * @param {number[]} totals
 * @returns {Scale}
 */
export function scaleOf(totals) {
  const slowest = Math.max(...totals, 1);
  const median = percentile(totals, 0.5) ?? slowest;
  const most = totals.length < MANY ? Infinity : (percentile(totals, 0.9) ?? slowest) * ROOM;
  const reach = totals.length < 3 ? slowest : Math.min(slowest, median * OUTLIER, most);
  const step = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000].find((size) => reach <= 4 * size) ?? 60_000;
  return { step, top: Math.max(Math.ceil(reach / step), 2) * step };
}

/**
 * Where a turn stands in the plot, in its pixels.
 * @param {number} index  from the oldest @param {number} count @param {number} total  ms @param {Scale} scale @param {number} width
 * @returns {{x: number, y: number, beyond: boolean}} `beyond`: off the scale, so marked at its end
 */
export function place(index, count, total, scale, width) {
  const room = Math.max(width - PLOT.left - PLOT.right, 1);
  const x = PLOT.left + (room * (index + 0.5)) / Math.max(count, MIN_PLACES);
  const share = Math.min(Math.max(total, 0) / scale.top, 1);
  return { x, y: PLOT.height - PLOT.bottom - share * (PLOT.height - PLOT.top - PLOT.bottom), beyond: total > scale.top };
}

/** @param {unknown} value @returns {value is number} */
const known = (value) => typeof value === "number" && Number.isFinite(value);

/** @template {keyof HTMLElementTagNameMap} T @param {T} tag @param {string} [name] @param {(Node | string)[]} children */
function make(tag, name = "", ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children);
  return node;
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function draw(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A name and its value; both can be pointed at for more. @param {string} name @param {string} title @param {string} [kind] */
function entry(name, title, kind = "") {
  const value = make("dd");
  const row = make("div", kind, make("dt", "", name), value);
  row.title = title;
  return { row, value };
}

/** The parts of a turn as segments side by side. @param {Turn["parts"]} parts @param {string} kind */
function bar(parts, kind) {
  const segments = PARTS.filter((part) => (parts[part] ?? 0) > 0).map((part) => {
    const segment = make("i", part);
    segment.style.flexGrow = String(parts[part]);
    return segment;
  });
  return make("span", kind, ...segments);
}

export class Waterfall {
  #texts;
  /** @type {Turn[]} */ #turns = [];
  #count = 0;
  /** The number of the turn that is pointed at. @type {number | null} */ #pointed = null;
  #scale = scaleOf([]);
  #width = 0;
  #none = make("p", "figures-none");
  #newest = make("section", "figures-newest");
  #title = make("h3");
  #total = make("p", "figures-total");
  #bar = make("div", "figures-bar");
  #parts = make("dl", "figures-parts");
  #session = make("section", "figures-session");
  #statistics;
  #plot = make("div", "figures-plot");
  #svg = draw("svg", { "aria-hidden": "true" });
  #list = make("section", "figures-turns");
  #axis = make("p", "figures-axis");
  #rows = make("ol");
  /** @type {Record<string, HTMLElement>} */ #network = {};

  /** @param {HTMLElement} root  emptied and filled @param {import("./figures-texts.js").FigureTexts} texts */
  constructor(root, texts) {
    this.#texts = texts;
    root.classList.add("figures");
    this.#none.textContent = texts.none;
    this.#bar.ariaHidden = "true";
    this.#total.title = texts.hintTitle;
    this.#newest.append(this.#title, this.#total, this.#bar, this.#parts);
    const p50 = entry(texts.p50, texts.p50Title, "figures-p50");
    const p95 = entry(texts.p95, texts.p95Title, "figures-p95");
    const count = entry(texts.count, texts.countTitle, "figures-count");
    this.#statistics = { p50: p50.value, p95: p95.value, count: count.value };
    this.#plot.append(this.#svg);
    this.#session.append(make("dl", "figures-numbers", p50.row, p95.row, count.row), this.#plot);
    this.#setUpPlot();
    this.#setUpRows();
    root.replaceChildren(make("div", "figures-body", this.#none, this.#newest, this.#session, this.#list, this.#networkRow()));
    new ResizeObserver(([{ contentRect }]) => {
      if (Math.abs(contentRect.width - this.#width) < 1) return;
      this.#width = contentRect.width;
      this.#drawPlot();
    }).observe(this.#plot);
    this.clear();
  }

  /** A new session: nothing is known. */
  clear() {
    this.#turns = [];
    this.#count = 0;
    this.#pointed = null;
    this.#scale = scaleOf([]);
    this.#rows.replaceChildren();
    this.#none.hidden = false;
    for (const part of [this.#newest, this.#session, this.#list]) part.hidden = true;
    this.network(null);
  }

  /**
   * An answer that has begun to sound. One without a total is left out.
   * @param {Latency} latency
   */
  turn({ turn_id = null, reply_id = null, parts_ms = {}, total_ms }) {
    if (!known(total_ms) || total_ms < 0) return;
    const parts = Object.fromEntries(PARTS.filter((part) => known(parts_ms?.[part])).map((part) => [part, Math.max(parts_ms[part], 0)]));
    if (this.#pointed === this.#count) this.#pointed = null; // the newest was, and is not any more
    this.#count += 1;
    const turn = { number: this.#count, at: new Date(), turnId: turn_id, replyId: reply_id, total: total_ms, parts };
    this.#turns.push(turn);
    this.#rows.prepend(this.#row(turn));
    while (this.#turns.length > MAX_TURNS) {
      this.#turns.shift();
      this.#rows.lastElementChild?.remove();
    }
    if (this.#pointed !== null && this.#pointed < this.#turns[0].number) this.#pointed = null;
    this.#none.hidden = true;
    for (const part of [this.#newest, this.#session, this.#list]) part.hidden = false;
    this.#summarise();
    this.#show();
  }

  /** @param {NetworkStats | null} stats  null: no connection */
  network(stats) {
    const { percent } = this.#texts;
    // Before the first packet there is nothing that could be lost, uneven or invented.
    const heard = stats && (stats.packetsReceived === undefined || (stats.packetsReceived ?? 0) > 0) ? stats : null;
    const share = (/** @type {number | null | undefined} */ value) => (known(value) ? percent(this.#digits(value, 1)) : null);
    const time = (/** @type {number | null | undefined} */ value) => (known(value) ? this.#time(value, value < 10 ? 1 : 0) : null);
    const values = {
      loss: share(heard?.lossPercent),
      jitter: time(heard?.jitterMs),
      roundTrip: time(stats?.roundTripMs),
      concealed: share(heard?.concealedPercent),
      codec: stats?.codec || null,
      transport: stats?.transport ? this.#texts.transports[stats.transport] ?? stats.transport : null,
    };
    for (const [name, value] of Object.entries(values)) this.#fill(this.#network[name], value);
  }

  /** The turns kept, one a line, for a spreadsheet. @returns {string} RFC 4180, times in milliseconds */
  toCsv() {
    const cell = (/** @type {unknown} */ value) => {
      const text = String(value ?? "");
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const head = ["turn", "at", "turn_id", "reply_id", "total_ms", ...PARTS.map((part) => `${part}_ms`)];
    const lines = this.#turns.map(({ number, at, turnId, replyId, total, parts }) =>
      [number, at.toISOString(), turnId, replyId, total, ...PARTS.map((part) => parts[part])]);
    return [head, ...lines].map((line) => `${line.map(cell).join(",")}\r\n`).join("");
  }

  #setUpPlot() {
    const plot = this.#plot;
    plot.tabIndex = 0;
    plot.role = "slider";
    plot.ariaLabel = this.#texts.plot;
    plot.ariaValueMin = "1";
    plot.title = this.#texts.plotHint;
    plot.addEventListener("pointermove", (event) => this.#pointAt(this.#nearest(event.offsetX)));
    plot.addEventListener("pointerdown", (event) => this.#pointAt(this.#nearest(event.offsetX)));
    // A finger that lifts leaves its choice; a mouse takes it along.
    plot.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && this.#pointAt(null));
    plot.addEventListener("blur", () => this.#pointAt(null));
    plot.addEventListener("keydown", (event) => {
      const first = this.#turns[0]?.number ?? 1;
      const at = this.#pointed ?? this.#count;
      const to = /** @type {Record<string, number>} */ ({
        ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
        PageDown: at - 10, PageUp: at + 10, Home: first, End: this.#count, Escape: this.#count,
      })[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.#pointAt(Math.min(Math.max(to, first), this.#count));
    });
  }

  #setUpRows() {
    const scroll = make("div", "figures-scroll", this.#axis, this.#rows);
    scroll.tabIndex = 0;
    scroll.role = "region";
    scroll.ariaLabel = this.#texts.turns;
    this.#axis.ariaHidden = "true";
    this.#list.append(scroll);
    this.#rows.addEventListener("pointerover", ({ target }) => {
      const row = target instanceof Element ? target.closest("li") : null;
      if (row) this.#pointAt(Number(row.dataset.number));
    });
    this.#rows.addEventListener("pointerleave", () => this.#pointAt(null));
  }

  #networkRow() {
    const entries = Object.entries(this.#texts.networkNames).map(([key, [name, title]]) => {
      const { row, value } = entry(name, title);
      this.#network[key] = value;
      return row;
    });
    return make("section", "figures-network", make("h3", "", this.#texts.network), make("dl", "", ...entries));
  }

  /** @param {Turn} turn */
  #row({ number, total, parts }) {
    const track = make("span", "figures-track", bar(parts, "figures-thin"));
    const name = make("span", "figures-number", String(number));
    const visible = make("span", "figures-row", name, track, make("span", "figures-ms", this.#digits(total, 0)));
    visible.ariaHidden = "true";
    const row = make("li", "", visible, make("span", "unseen", this.#spoken(number)));
    row.dataset.number = String(number);
    row.style.setProperty("--ms", String(total));
    return row;
  }

  /** What changes with every turn but the turn itself: numbers, scale, plot. */
  #summarise() {
    const totals = this.#turns.map(({ total }) => total);
    const p95 = totals.length < MIN_FOR_P95 ? null : percentile(totals, 0.95);
    this.#fill(this.#statistics.p50, this.#time(percentile(totals, 0.5) ?? 0));
    this.#fill(this.#statistics.p95, p95 === null ? null : this.#time(p95));
    this.#statistics.count.textContent = this.#digits(this.#count, 0);
    this.#scale = scaleOf(totals);
    const { top, step } = this.#scale;
    this.#list.style.setProperty("--top", String(top));
    this.#list.style.setProperty("--step", String(step));
    const ticks = Array.from({ length: Math.round(top / step) }, (_, i) => (i + 1) * step);
    this.#axis.replaceChildren(make("span", "", ...[0, ...ticks].map((ms) => {
      const tick = make("i", "", ms === 0 ? "0" : ms === top ? this.#time(ms) : this.#digits(ms, 0));
      tick.style.left = `${(ms / top) * 100}%`;
      return tick;
    })));
    for (const row of /** @type {Iterable<HTMLElement>} */ (this.#rows.children)) {
      row.classList.toggle("beyond", Number(row.style.getPropertyValue("--ms")) > top);
    }
    this.#plot.ariaValueMin = String(this.#turns[0].number);
    this.#plot.ariaValueMax = String(this.#count);
    this.#drawPlot();
  }

  /** @param {number | null} number */
  #pointAt(number) {
    if (number === this.#pointed) return;
    this.#pointed = number;
    this.#show();
  }

  /** The turn that stands nearest. @param {number} x  in the plot @returns {number | null} */
  #nearest(x) {
    const count = this.#turns.length;
    if (!count) return null;
    const room = Math.max(this.#width - PLOT.left - PLOT.right, 1);
    const index = Math.round(((x - PLOT.left) * Math.max(count, MIN_PLACES)) / room - 0.5);
    return this.#turns[Math.min(Math.max(index, 0), count - 1)].number;
  }

  /** The newest turn, or the one that is pointed at. */
  #show() {
    const turn = this.#turns.find(({ number }) => number === this.#pointed) ?? this.#turns.at(-1);
    if (!turn) return;
    const texts = this.#texts;
    const newest = turn.number === this.#count;
    this.#title.textContent = newest ? texts.last : texts.nth(turn.number);
    const [amount, unit] = this.#time(turn.total).split(/\s(?=\D+$)/);
    this.#total.replaceChildren(make("strong", "", amount), ` ${unit} `, make("small", "", texts.hint));
    this.#bar.replaceChildren(...bar(turn.parts, "").children);
    this.#parts.replaceChildren(...PARTS.map((part) => {
      const { row, value } = entry(texts.parts[part], texts.partTitles[part], part);
      this.#fill(value, known(turn.parts[part]) ? this.#digits(turn.parts[part], 0) : null);
      return row;
    }));
    this.#plot.ariaValueNow = String(turn.number);
    this.#plot.ariaValueText = this.#spoken(turn.number);
    this.#mark(turn);
    for (const row of /** @type {Iterable<HTMLElement>} */ (this.#rows.children)) {
      row.classList.toggle("shown", row.dataset.number === String(turn.number));
    }
  }

  #drawPlot() {
    if (!this.#turns.length || !this.#width) return;
    const { top, step } = this.#scale;
    const count = this.#turns.length;
    const width = this.#width;
    const at = (/** @type {number} */ ms) => place(0, 1, ms, this.#scale, width).y;
    const nodes = [];
    for (let ms = 0; ms <= top; ms += step) {
      nodes.push(draw("line", { class: "rule", x1: PLOT.left, x2: width, y1: at(ms), y2: at(ms) }));
      nodes.push(draw("text", { x: PLOT.left - 8, y: at(ms) + 3.5, "text-anchor": "end" }, this.#digits(ms, 0)));
    }
    const radius = count <= 40 ? 3.5 : count <= 100 ? 2.5 : 1.75;
    const lonely = this.#turns.filter(({ total }) => total > top).length <= 2;
    this.#turns.forEach(({ total, number }, index) => {
      const { x, y, beyond } = place(index, count, total, this.#scale, width);
      const kind = number === this.#count ? "point last" : "point";
      nodes.push(beyond
        ? draw("path", { class: `${kind} beyond`, d: `M${x - 4} ${y + 1}L${x} ${y - 5}L${x + 4} ${y + 1}z` })
        : draw("circle", { class: kind, cx: x, cy: y, r: number === this.#count ? radius + 1 : radius }));
      if (!beyond || !lonely) return;
      const left = x > width - 80;
      const label = { x: left ? x - 8 : x + 8, y: y + 2, "text-anchor": left ? "end" : "start" };
      nodes.push(draw("text", label, this.#time(total)));
    });
    const median = percentile(this.#turns.map(({ total }) => total), 0.5);
    if (median !== null && count > 1) {
      nodes.push(draw("line", { class: "median", x1: PLOT.left, x2: width, y1: at(median), y2: at(median) }));
    }
    nodes.push(draw("g", { class: "mark" }));
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${PLOT.height}`);
    this.#svg.replaceChildren(...nodes);
    this.#mark(this.#turns.find(({ number }) => number === this.#pointed) ?? this.#turns[count - 1]);
  }

  /** Where in the plot the turn shown stands. @param {Turn} turn */
  #mark(turn) {
    const mark = this.#svg.querySelector(".mark");
    if (!mark) return;
    const index = this.#turns.indexOf(turn);
    const { x, y } = place(index, this.#turns.length, turn.total, this.#scale, this.#width);
    mark.replaceChildren(...(this.#pointed === null ? [] : [
      draw("line", { x1: x, x2: x, y1: 2, y2: PLOT.height - PLOT.bottom }),
      draw("circle", { cx: x, cy: y, r: 5.5 }),
    ]));
  }

  /** A turn as a sentence. @param {number} number */
  #spoken(number) {
    const turn = this.#turns.find((one) => one.number === number);
    if (!turn) return "";
    const parts = PARTS.filter((part) => known(turn.parts[part]))
      .map((part) => `${this.#texts.parts[part]} ${this.#time(turn.parts[part] ?? 0)}`);
    return [`${this.#texts.nth(number)}: ${this.#time(turn.total)}`, ...parts].join(", ");
  }

  /** @param {HTMLElement} node @param {string | null} value  null: not known */
  #fill(node, value) {
    const shown = value ?? this.#texts.unknown;
    if (node.textContent === shown) return;
    node.textContent = shown;
    node.title = value === null ? this.#texts.unknownTitle : "";
  }

  /** @param {number} value @param {number} decimals  at most */
  #digits(value, decimals) {
    return value.toLocaleString(this.#texts.locale, { maximumFractionDigits: decimals });
  }

  /** A time with its unit, in seconds where milliseconds would be too many. @param {number} ms @param {number} [decimals] */
  #time(ms, decimals = 0) {
    if (ms >= 9999.5) return this.#texts.seconds(this.#digits(ms / 1000, 1));
    return this.#texts.milliseconds(this.#digits(ms, decimals));
  }
}
