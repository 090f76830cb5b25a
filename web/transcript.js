/**
 * What was said in a call, to be taken away. In: the call's events and the time since it began. Out: text, subtitles,
 * data. It holds what was heard: words that an interruption kept from sounding are marked as such. It draws nothing.
 */

import { texts } from "./texts.js";

/** Entries kept; the oldest go. */
const MAX_ENTRIES = 2000;
const CLOCK_HZ = 48000;

/**
 * @typedef {object} Entry
 * @property {"you" | "eva"} who
 * @property {number} from        seconds since the call began
 * @property {number} to
 * @property {string} text        what was heard of it
 * @property {string} [unheard]   what was about to be said when EVA was interrupted
 * @property {boolean} [typed]    written, not spoken
 * @property {number | string | null} [id]  the turn's, or the reply's
 * @property {number} [latency]   milliseconds from the person's last sound to EVA's first
 * @property {{text: string, from: number, to: number}[]} [words]
 */

export class Transcript {
  /** @type {Entry[]} */ #entries = [];
  #began = new Date();
  /** @type {number | null} */ #latency = null;

  /** A new call begins. */
  clear() {
    this.#entries = [];
    this.#began = new Date();
    this.#latency = null;
  }

  /** The conversation goes on in another call, which counts turns and replies anew. */
  rejoin() {
    for (const entry of this.#entries) entry.id = null;
  }

  get isEmpty() {
    return this.#entries.length === 0;
  }

  /** @param {number} now  seconds @param {{turn_id?: number | null, text: string, typed?: boolean}} final */
  final(now, { turn_id = null, text, typed }) {
    const last = this.#entries.findLast((entry) => entry.who === "you");
    if (last && turn_id !== null && last.id === turn_id) {
      Object.assign(last, { text, to: now });
      return;
    }
    // The words arrive when the person has spoken; how long that took is not known here.
    const from = typed ? now : Math.max(this.#entries.at(-1)?.to ?? 0, now - spokenSeconds(text));
    this.#add({ who: "you", from, to: now, text, id: turn_id, ...(typed ? { typed } : {}) });
  }

  /**
   * @param {number} now  seconds
   * @param {import("./eva-voice.js").Words} sentence
   * @param {number | null} position  samples of the reply that have sounded
   */
  words(now, { reply_id, text, words }, position) {
    const origin = now - (position ?? words?.[0]?.start ?? 0) / CLOCK_HZ;
    const timed = (words ?? []).map((word) => ({
      text: word.text, from: origin + word.start / CLOCK_HZ, to: origin + word.end / CLOCK_HZ,
    }));
    const end = timed.at(-1)?.to ?? now + spokenSeconds(text);
    const last = this.#entries.at(-1);
    if (last?.who === "eva" && last.id === reply_id) {
      last.text += ` ${text}`;
      last.to = end;
      last.words?.push(...timed);
      return;
    }
    const latency = this.#latency === null ? {} : { latency: this.#latency };
    this.#latency = null;
    this.#add({ who: "eva", from: timed[0]?.from ?? now, to: end, text, id: reply_id, words: timed, ...latency });
  }

  /** @param {{reply_id: string, heard_text: string}} cut */
  cut({ reply_id, heard_text }) {
    const entry = this.#entries.findLast((known) => known.who === "eva" && known.id === reply_id);
    if (!entry || entry.unheard !== undefined) return;
    const heard = splitAfter(entry.text, heard_text ?? "");
    entry.unheard = entry.text.slice(heard).trim();
    entry.text = entry.text.slice(0, heard).trim();
    let rest = letters(heard_text ?? "").length;
    entry.words = entry.words?.filter((word) => (rest -= letters(word.text).length) >= 0);
    entry.to = entry.words?.at(-1)?.to ?? entry.from;
  }

  /** @param {number} ms  for the reply that begins now */
  latency(ms) {
    const last = this.#entries.at(-1);
    if (last?.who === "eva" && last.latency === undefined) last.latency = Math.round(ms);
    else this.#latency = Math.round(ms);
  }

  /**
   * @param {"txt" | "vtt" | "json"} kind
   * @returns {{name: string, type: string, content: string}} a file
   */
  file(kind) {
    const name = `eva-${this.#began.toISOString().slice(0, 16).replace(/[:T]/g, "-")}.${kind}`;
    if (kind === "vtt") return { name, type: "text/vtt", content: this.#subtitles() };
    if (kind === "json") return { name, type: "application/json", content: this.#data() };
    return { name, type: "text/plain;charset=utf-8", content: this.#text() };
  }

  #text() {
    const lines = this.#entries.filter(shown).map((entry) => {
      const typed = entry.typed ? ` (${texts.typed})` : "";
      const unheard = entry.unheard ? ` [${texts.notHeard}: ${entry.unheard}]` : "";
      return `${clock(entry.from, 0)}  ${name(entry)}${typed}: ${entry.text}${unheard}`;
    });
    return `${texts.transcriptTitle(this.#began.toLocaleString(document.documentElement.lang))}\n\n${lines.join("\n")}\n`;
  }

  /** WebVTT (W3C), with EVA's words timed one by one. */
  #subtitles() {
    const cues = this.#entries.filter(({ text }) => text).map((entry) => {
      const words = entry.words?.length
        ? entry.words.map((word, i) => (i ? `<${clock(word.from)}>` : "") + escaped(word.text)).join(" ")
        : escaped(entry.text);
      return `${clock(entry.from)} --> ${clock(Math.max(entry.to, entry.from + 0.5))}\n<v ${name(entry)}>${words}`;
    });
    return `WEBVTT\n\n${cues.join("\n\n")}\n`;
  }

  #data() {
    const content = { began: this.#began.toISOString(), entries: this.#entries };
    return `${JSON.stringify(content, (key, value) => {
      if (key === "id") return undefined; // counted within a call, so it means nothing outside
      return typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
    }, 2)}\n`;
  }

  /** @param {Entry} entry */
  #add(entry) {
    this.#entries.push(entry);
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift();
  }
}

/** Offers a file to be saved. @param {{name: string, type: string, content: string}} file */
export function save({ name: download, type, content }) {
  const href = URL.createObjectURL(new Blob([content], { type }));
  Object.assign(document.createElement("a"), { href, download }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** @param {Entry} entry */
function shown({ text, unheard }) {
  return Boolean(text || unheard);
}

/** @param {Entry} entry */
function name({ who }) {
  return who === "eva" ? "EVA" : texts.you;
}

/** A time as WebVTT wants it, or short. @param {number} seconds @param {number} [digits] */
function clock(seconds, digits = 3) {
  const two = (/** @type {number} */ n) => String(Math.floor(n)).padStart(2, "0");
  const whole = Math.round(seconds * 1000) / 1000;
  const [h, m, s] = [whole / 3600, (whole / 60) % 60, whole % 60];
  if (!digits) return `${seconds >= 3600 ? `${two(h)}:` : ""}${two(m)}:${two(s)}`;
  return `${two(h)}:${two(m)}:${s.toFixed(3).padStart(6, "0")}`;
}

/** How long somebody takes to say this, about. @param {string} text */
function spokenSeconds(text) {
  return text.split(/\s+/).length / 2.6;
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** @param {string} text */
function letters(text) {
  return text.replace(/[^\p{L}\p{N}]/gu, "");
}

/**
 * Where `text` goes on behind its beginning `heard`; the two may differ in spaces and punctuation.
 * @param {string} text @param {string} heard
 */
function splitAfter(text, heard) {
  let rest = letters(heard).length;
  if (!rest) return 0;
  for (let at = 0; at < text.length; at += 1) {
    if (/[\p{L}\p{N}]/u.test(text[at])) rest -= 1;
    if (rest === 0) {
      const after = text.slice(at + 1).match(/^[^\s\p{L}\p{N}]*/u)?.[0].length ?? 0;
      return at + 1 + after;
    }
  }
  return text.length;
}
