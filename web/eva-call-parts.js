/**
 * What `<eva-call>` shows: the ring of both voices, and the captions. In: levels, the call's events, how much of EVA's
 * sound has played. Out: a picture, lines, and a log for screen readers. It knows no call and no element.
 */

/** Bars of each half of the ring; EVA's are above, the person's below. */
const BARS = 25;
/** Where a bar begins, and how far it reaches at most, in the ring's own units (its box is 200 wide). */
const INNER = 69;
const REACH = 29;
/** How long a level takes to run from the middle of its half to the ends. */
const SPREAD_MS = 620;
/** Redraws a second when motion is to be reduced. */
const CALM_MS = 250;
/** Lines of captions kept. */
const MAX_LINES = 60;

/**
 * The ring around the button. Levels run from the middle of each half to its ends: the past is at the sides.
 * @typedef {{line: SVGElement, half: number, age: number, at: number, x: number, y: number}} Bar
 */
export class Ring {
  /** The youngest first. @type {Bar[]} */ #bars = [];
  /** @type {{at: number, levels: number[]}[]} */ #past = [];
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #drawn = 0;

  /** @param {SVGElement} svg */
  constructor(svg) {
    ["eva", "you"].forEach((who, half) => {
      const group = drawn("g", { class: who });
      for (let i = 0; i < BARS; i += 1) {
        const share = (i + 0.5) / BARS - 0.5;
        // A little room is left between the halves, at either side.
        const angle = (half ? 0.5 : -0.5) * Math.PI + share * Math.PI * 0.94;
        const [x, y] = [Math.cos(angle), Math.sin(angle)];
        const line = drawn("line", { x1: x * INNER, y1: y * INNER });
        group.append(line);
        this.#bars.push({ line, half, age: Math.abs(share) * 2, at: -1, x, y });
      }
      svg.append(group);
    });
    this.#bars.sort((a, b) => a.age - b.age);
    this.rest();
  }

  /** Nothing is heard. */
  rest() {
    this.#past = [];
    this.#bars.forEach((bar) => reach(bar, 0));
  }

  /** @param {number} eva @param {number} you  levels, 0 to 1 */
  show(eva, you) {
    const now = performance.now();
    if (this.#calm.matches) return this.#stand(now, [eva, you]);
    this.#past.unshift({ at: now, levels: [eva, you] });
    while (this.#past.length > 1 && now - this.#past[this.#past.length - 1].at > SPREAD_MS) this.#past.pop();
    let index = 0;
    for (const bar of this.#bars) {
      const then = now - bar.age * SPREAD_MS;
      while (index < this.#past.length - 1 && this.#past[index].at > then) index += 1;
      // Speech lives in the upper half of the decibels: spread it out.
      reach(bar, this.#past[index].levels[bar.half] ** 1.7 * (1 - 0.55 * bar.age));
    }
  }

  /** Nothing runs: as many bars as it is loud, from the middle outwards. @param {number} now @param {number[]} levels */
  #stand(now, levels) {
    if (now - this.#drawn < CALM_MS) return;
    this.#drawn = now;
    this.#bars.forEach((bar) => reach(bar, bar.age < levels[bar.half] ? 0.5 : 0));
  }
}

/** @param {Bar} bar @param {number} share  of its reach */
function reach(bar, share) {
  const end = Math.round((INNER + 0.1 + share * REACH) * 10) / 10;
  if (bar.at === end) return;
  bar.at = end;
  bar.line.setAttribute("x2", String(bar.x * end));
  bar.line.setAttribute("y2", String(bar.y * end));
}

/**
 * The captions. EVA's words light up when they sound; words that an interruption kept from sounding are struck through.
 * Settled lines are also said once in a log for screen readers.
 * @typedef {{node: HTMLElement, start: number, end: number}} Lit
 * @typedef {{line: HTMLElement, body: HTMLElement, rtpStart: number, words: Lit[], lit: number}} Reply
 */
export class Words {
  #box;
  #list;
  #log;
  #texts;
  /** @type {Map<unknown, Reply>} */ #replies = new Map();
  /** @type {HTMLElement | null} */ #open = null;
  /** @type {{turn: unknown, line: HTMLElement} | null} */ #settled = null;

  /** @param {HTMLElement} box @param {HTMLElement} log @param {() => {you: string, interrupted: string}} texts */
  constructor(box, log, texts) {
    this.#box = box;
    this.#list = /** @type {HTMLElement} */ (box.querySelector("ol"));
    this.#log = log;
    this.#texts = texts;
  }

  get isEmpty() {
    return !this.#list.firstChild;
  }

  clear() {
    this.settle();
    this.#list.replaceChildren();
    this.#log.replaceChildren();
  }

  /** Of what is shown nothing sounds any more, and replies and turns to come are others. */
  settle() {
    this.#replies.forEach((reply) => reply.words.forEach(({ node }) => node.classList.remove("now")));
    this.#replies.clear();
    this.#settled = null;
    this.#drop();
  }

  /** @param {string} kind @param {any} detail */
  follow(kind, detail) {
    if (kind === "partial") this.#partial(String(detail.text ?? ""));
    if (kind === "final") this.#final(String(detail.text ?? ""), detail.turn_id ?? null);
    if (kind === "turn" && ["listening", "speaking"].includes(detail.state)) this.#drop();
    if (kind === "words") this.#sentence(detail);
    if (kind === "cut") this.#cut(detail);
  }

  /** @param {(rtpStart: number) => number | null} playout  samples of a reply that have sounded */
  light(playout) {
    for (const reply of this.#replies.values()) {
      if (reply.lit === reply.words.length && !reply.words[reply.lit - 1]?.node.classList.contains("now")) continue;
      const position = playout(reply.rtpStart) ?? -1;
      while (reply.words[reply.lit]?.start <= position) {
        reply.words[reply.lit - 1]?.node.classList.remove("now");
        reply.words[reply.lit].node.classList.add("heard", "now");
        reply.lit += 1;
      }
      const current = reply.words[reply.lit - 1];
      if (current?.end <= position) current.node.classList.remove("now");
    }
  }

  /** @param {string} text */
  #partial(text) {
    if (!text.trim()) return;
    this.#open ??= this.#line("you open");
    bodyOf(this.#open).textContent = text;
    this.#scroll();
  }

  /** @param {string} text @param {unknown} turn  a turn that went on comes again, longer */
  #final(text, turn) {
    if (!text.trim()) return this.#drop();
    const again = turn !== null && this.#settled?.turn === turn ? this.#settled?.line : null;
    if (again) this.#drop();
    const line = again ?? this.#open ?? this.#line("you");
    this.#open = null;
    this.#settled = { turn, line };
    line.className = "you";
    bodyOf(line).textContent = text;
    this.#say(`${this.#texts().you}: ${text}`);
    this.#scroll();
  }

  /** Words that came to nothing leave again. */
  #drop() {
    this.#open?.remove();
    this.#open = null;
  }

  /** @param {import("./eva-voice.js").Words} sentence */
  #sentence({ reply_id, text, words, rtp_start }) {
    let reply = this.#replies.get(reply_id);
    if (!reply) {
      const line = this.#line("eva");
      reply = { line, body: bodyOf(line), rtpStart: rtp_start, words: [], lit: 0 };
      this.#replies.set(reply_id, reply);
    }
    if (reply.words.length) reply.body.append(" ");
    let from = 0;
    for (const { text: word, start, end } of words ?? []) {
      const at = word.trim() ? text.indexOf(word.trim(), from) : -1;
      if (at < 0) continue; // a word the sentence does not show (a number read out): its neighbours carry the light
      // Punctuation belongs to the word before it.
      const shown = /^[^\s\p{L}\p{N}]*/u.exec(text.slice(at + word.trim().length))?.[0] ?? "";
      const node = document.createElement("span");
      node.className = "word";
      node.textContent = word.trim() + shown;
      reply.body.append(text.slice(from, at), node);
      reply.words.push({ node, start, end });
      from = at + node.textContent.length;
    }
    reply.body.append(text.slice(from));
    this.#say(`EVA: ${text}`);
    this.#scroll();
  }

  /** @param {{reply_id: unknown, heard_text: string}} cut */
  #cut({ reply_id, heard_text }) {
    const reply = this.#replies.get(reply_id);
    if (!reply) return;
    this.#replies.delete(reply_id);
    // Compared letter by letter: the two texts may differ in spaces and punctuation.
    let rest = letters(heard_text ?? "");
    let unheard = 0;
    for (const { node } of reply.words) {
      const length = letters(node.textContent ?? "");
      const heard = rest > 0 && rest >= length;
      rest -= length;
      node.className = heard ? "word heard" : "word unheard";
      if (!heard) unheard += 1;
    }
    if (!unheard) return;
    const tag = document.createElement("small");
    tag.textContent = this.#texts().interrupted;
    reply.line.querySelector("b")?.append(tag);
    this.#say(`EVA: ${this.#texts().interrupted}`);
  }

  /** @param {string} kind */
  #line(kind) {
    const line = document.createElement("li");
    line.className = kind;
    const name = document.createElement("b");
    name.textContent = kind === "eva" ? "EVA" : this.#texts().you;
    line.append(name, document.createElement("p"));
    this.#list.append(line);
    while (this.#list.childElementCount > MAX_LINES) this.#list.firstElementChild?.remove();
    return line;
  }

  /** @param {string} text */
  #say(text) {
    const entry = document.createElement("p");
    entry.textContent = text;
    this.#log.append(entry);
    while (this.#log.childElementCount > 20) this.#log.firstElementChild?.remove();
  }

  /** Keeps the newest line in view, unless the person has scrolled back. */
  #scroll() {
    const below = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight;
    if (below < 160) this.#box.scrollTop = this.#box.scrollHeight;
  }
}

/** @param {HTMLElement} line */
function bodyOf(line) {
  return /** @type {HTMLElement} */ (line.querySelector("p"));
}

/** @param {string} text @returns {number} letters and figures in it */
function letters(text) {
  return text.replace(/[^\p{L}\p{N}]/gu, "").length;
}

/** @param {string} tag @param {Record<string, string | number>} attributes @returns {SVGElement} */
export function drawn(tag, attributes) {
  const node = /** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}
