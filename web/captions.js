/**
 * Live captions. In: the call's events and, every frame, how much of EVA's sound has played. Out: lines in the
 * page, and each settled line once in a log for screen readers. It knows no network.
 *
 * The person's words are loose until they are final. EVA's words are shown as soon as they are known and light up
 * when they sound; words that an interruption kept from sounding are struck through.
 */

import { texts } from "./texts.js";

/** Lines kept on the page; older ones go. */
const MAX_LINES = 200;

/**
 * @typedef {object} Reply
 * @property {HTMLElement} line
 * @property {HTMLElement} body
 * @property {number} rtpStart
 * @property {{node: HTMLElement, text: string, start: number, end: number}[]} words
 * @property {number} lit      words that have begun to sound
 * @property {boolean} over    nothing more will light up
 */

export class Captions {
  /** @type {HTMLElement} */ #box;
  /** @type {HTMLElement} */ #list;
  /** @type {HTMLElement} */ #log;
  /** @type {HTMLElement | null} */ #open = null;
  /** @type {{turn: number | null, line: HTMLElement} | null} */ #settled = null;
  /** @type {Map<string, Reply>} */ #replies = new Map();
  /** @type {number | null} */ #latency = null;
  /** @type {Map<string, HTMLElement[]>} */ #tools = new Map();

  /** @param {HTMLElement} box  holds the list of lines and scrolls @param {HTMLElement} log  live region */
  constructor(box, log) {
    this.#box = box;
    this.#list = /** @type {HTMLElement} */ (box.querySelector("ol"));
    this.#log = log;
  }

  /** A new call: an empty page. */
  clear() {
    this.#list.replaceChildren();
    this.#log.replaceChildren();
    this.#open = null;
    this.#settled = null;
    this.#replies.clear();
    this.#latency = null;
    this.#tools.clear();
  }

  /** The conversation goes on in another call: nothing more of what was shown will sound, and ids begin anew. */
  rejoin() {
    this.dropPartial();
    this.#finish();
    this.#replies.clear();
    this.#settled = null;
    this.#latency = null;
    this.#tools.clear();
  }

  /** Something that happened to the call. @param {string} text */
  note(text) {
    this.#bodyOf(this.#line("note")).textContent = text;
    this.#follow();
  }

  /** A tool of EVA's begins to work, or has ended. @param {string} name @param {boolean | undefined} ok */
  tool(name, ok) {
    if (ok === undefined) {
      const line = this.#line("note");
      line.classList.add("tool-note");
      this.#bodyOf(line).textContent = texts.tool(name);
      this.#tools.set(name, [...(this.#tools.get(name) ?? []), line]);
      return this.#follow();
    }
    const line = this.#tools.get(name)?.shift();
    if (line) this.#bodyOf(line).textContent = ok ? texts.toolDone(name) : texts.toolFailed(name);
  }

  /** What to do while nothing has been said. @param {string} text */
  hint(text) {
    const line = this.#line("note");
    line.classList.add("hint");
    this.#bodyOf(line).textContent = text;
  }

  /** @param {string} text  the person's words so far */
  partial(text) {
    if (!text.trim()) return this.dropPartial();
    this.#open ??= this.#line("you");
    const body = this.#bodyOf(this.#open);
    // Words that were there stay as they are; new ones come up softly.
    const words = text.trim().split(/\s+/);
    const nodes = [...body.querySelectorAll("span")];
    nodes.forEach((node, i) => (words[i] === undefined ? node.remove() : node.textContent !== words[i] && (node.textContent = words[i])));
    for (const word of words.slice(nodes.length)) {
      const node = document.createElement("span");
      node.textContent = word;
      body.append(body.childNodes.length ? " " : "", node);
    }
    this.#follow();
  }

  /**
   * @param {string} text  the person's words as understood
   * @param {number | null} turn  whose words; a turn that went on comes again, longer
   * @param {boolean} typed  written, not spoken
   */
  final(text, turn = null, typed = false) {
    if (!text.trim()) return this.dropPartial();
    const again = turn !== null && this.#settled?.turn === turn ? this.#settled.line : null;
    if (again) this.dropPartial();
    const line = again ?? this.#open ?? this.#line("you");
    this.#open = null;
    this.#settled = { turn, line };
    this.#bodyOf(line).textContent = text;
    line.classList.add("settled");
    if (typed) this.#tag(line, texts.typed);
    this.#say(`${texts.you}: ${text}`);
    this.#follow();
  }

  /** Words that came to nothing (a cough, a "mhm") leave again. */
  dropPartial() {
    this.#open?.remove();
    this.#open = null;
  }

  /** @param {import("./eva-voice.js").Words} sentence  the next sentence of a reply */
  words({ reply_id, text, words, rtp_start }) {
    let reply = this.#replies.get(reply_id);
    if (!reply) {
      const line = this.#line("eva");
      reply = { line, body: this.#bodyOf(line), rtpStart: rtp_start, words: [], lit: 0, over: false };
      this.#replies.set(reply_id, reply);
      if (this.#latency !== null) this.latency(this.#latency);
    }
    if (reply.words.length) reply.body.append(" ");
    reply.body.append(...spans(text, words ?? [], reply));
    this.#say(`EVA: ${text}`);
    this.#follow();
  }

  /**
   * Lights up what has sounded.
   * @param {(rtpStart: number) => number | null} playout  samples of a reply that have sounded
   * @returns {{start: number, end: number}[]} words still to come, in seconds from now
   */
  light(playout) {
    const ahead = [];
    for (const reply of this.#replies.values()) {
      if (reply.over) continue;
      const position = playout(reply.rtpStart);
      if (position === null) continue;
      while (reply.lit < reply.words.length && reply.words[reply.lit].start <= position) {
        reply.words[reply.lit - 1]?.node.classList.remove("now");
        reply.words[reply.lit].node.classList.add("heard", "now");
        reply.lit += 1;
      }
      const current = reply.words[reply.lit - 1];
      if (current && current.end <= position) current.node.classList.remove("now");
      for (const word of reply.words.slice(Math.max(reply.lit - 1, 0))) {
        if (word.end > position) ahead.push({ start: (word.start - position) / 48000, end: (word.end - position) / 48000 });
      }
    }
    return ahead;
  }

  /** @param {{reply_id: string, heard_text: string}} cut  EVA was interrupted */
  cut({ reply_id, heard_text }) {
    const reply = this.#replies.get(reply_id);
    if (!reply || reply.over) return;
    reply.over = true;
    // Compared letter by letter: the two texts may differ in spaces and punctuation.
    let rest = letters(heard_text ?? "").length;
    let unheard = 0;
    for (const word of reply.words) {
      const length = letters(word.text).length;
      const heard = rest >= length && rest > 0;
      rest -= length;
      word.node.classList.remove("now");
      word.node.classList.toggle("heard", heard);
      word.node.classList.toggle("unheard", !heard);
      if (!heard) unheard += 1;
    }
    if (!unheard) return;
    this.#tag(reply.line, texts.cut);
    this.#say(`EVA: ${texts.cut}`);
  }

  /** @param {number} ms  voice to voice, for the reply that begins now */
  latency(ms) {
    const reply = [...this.#replies.values()].at(-1);
    const line = reply?.line;
    if (!line || line.dataset.timed) {
      this.#latency = ms;
      return;
    }
    this.#latency = null;
    line.dataset.timed = "yes";
    this.#tag(line, texts.milliseconds(ms));
  }

  /** The call is over: nothing more will sound. @param {string} text */
  end(text) {
    this.dropPartial();
    this.#finish();
    this.note(text);
  }

  #finish() {
    for (const reply of this.#replies.values()) {
      if (reply.over) continue;
      reply.over = true;
      reply.words.forEach(({ node }) => {
        node.classList.remove("now");
        if (!node.classList.contains("heard")) node.classList.add("unheard");
      });
    }
  }

  /** @param {"you" | "eva" | "note"} who */
  #line(who) {
    this.#list.querySelector(".hint")?.remove();
    const line = document.createElement("li");
    line.className = who;
    const body = document.createElement("p");
    if (who !== "note") {
      const name = document.createElement("span");
      name.className = "who";
      name.textContent = who === "eva" ? "EVA" : texts.you;
      line.append(name);
    }
    line.append(body);
    this.#list.append(line);
    while (this.#list.childElementCount > MAX_LINES) this.#list.firstElementChild?.remove();
    if (this.#replies.size > MAX_LINES) this.#replies.delete(/** @type {string} */ (this.#replies.keys().next().value));
    return line;
  }

  /** @param {HTMLElement} line */
  #bodyOf(line) {
    return /** @type {HTMLElement} */ (line.querySelector("p"));
  }

  /** @param {HTMLElement} line @param {string} text */
  #tag(line, text) {
    const tag = document.createElement("small");
    tag.textContent = text;
    line.querySelector(".who")?.append(tag);
  }

  /** @param {string} text */
  #say(text) {
    const entry = document.createElement("p");
    entry.textContent = text;
    this.#log.append(entry);
    while (this.#log.childElementCount > 20) this.#log.firstElementChild?.remove();
  }

  /** Keeps the newest line in view, unless the person has scrolled back. */
  #follow() {
    const below = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight;
    if (below < 160) this.#box.scrollTop = this.#box.scrollHeight;
  }
}

/**
 * A sentence as nodes: each word a span with the punctuation that follows it.
 * @param {string} text @param {import("./eva-voice.js").Word[]} words @param {Reply} reply  takes the words
 */
function spans(text, words, reply) {
  /** @type {(string | HTMLElement)[]} */
  const nodes = [];
  let from = 0;
  for (const word of words) {
    const core = word.text.trim();
    const at = core ? text.indexOf(core, from) : -1;
    if (at < 0) continue; // a word the sentence does not show (a number read out): its neighbours carry the light
    let end = at + core.length;
    while (end < text.length && !/[\s\p{L}\p{N}]/u.test(text[end])) end += 1;
    if (at > from) nodes.push(text.slice(from, at));
    const node = document.createElement("span");
    node.className = "word";
    node.textContent = text.slice(at, end);
    nodes.push(node);
    reply.words.push({ node, text: node.textContent, start: word.start, end: word.end });
    from = end;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

/** @param {string} text */
function letters(text) {
  return text.replace(/[^\p{L}\p{N}]/gu, "");
}
