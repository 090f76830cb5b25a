/**
 * The operator's view: joins the line to the gateway (`admin-link.js`), the figures (`admin-figures.js`) and the page.
 * In: the calls' state as it changes, `/metrics`, errors and recordings now and then. It keeps nothing but what is shown;
 * a row is changed in place, so that nothing flickers and the focus stays where it is.
 */

import { Link, LinkError } from "./admin-link.js";
import { drawBars, drawTrend, histogram, parseMetrics, quantile, shape, value } from "./admin-figures.js";
import { lang, texts } from "./admin-texts.js";

/** @typedef {import("./admin-link.js").CallStatus} CallStatus */
/** @typedef {import("./admin-link.js").GatewayState} GatewayState */
/** @typedef {{level: string, at_ms: number, count: number, code: string, message: string, fields: Record<string, string>}} Fault */
/** @typedef {{name: string, began_ms: number, seconds: number, bytes: number, call: string}} Recording */

/** How often is asked, ms. */
const METRICS_MS = 2000, ERRORS_MS = 6000, RECORDINGS_MS = 12_000;
/** How many looks at the CPU its line shows: a minute. */
const TREND = 30;
/** How long a sentence at the foot of the page stays, ms. */
const SAID_MS = 5000;
const PARTS = ["pause", "words", "committed", "first_token", "first_piece", "first_sound", "wire"];

/** @param {string} id @returns {HTMLElement} */
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} selector @param {ParentNode} [within] @returns {HTMLElement} */
const find = (selector, within = document) => /** @type {HTMLElement} */ (within.querySelector(selector));

const link = new Link();
/** @type {GatewayState | null} */
let state = null;
/** When the state came, `Date.now()`, for the times that run on. */
let stateAt = 0;

/** An element of a class with children. @param {string} name @param {string} [kind] @param {...(Node | string)} children */
function el(name, kind = "", ...children) {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.append(...children);
  return element;
}

/** Changes a text only if it is another one. @param {Element} element @param {string} text */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat(lang, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(lang, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
/** @param {number | null | undefined} ms */
const inMs = (ms) => (ms == null ? "–" : ms >= 10_000 ? `${tenth.format(ms / 1000)} s` : `${whole.format(ms)} ms`);
/** @param {number} share  0 to 1 */
const percent = (share) => `${whole.format(share * 100)} %`;
/** @param {number} bytes */
const size = (bytes) => {
  const [unit, by] = bytes >= 1e9 ? ["GB", 1e9] : bytes >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  return `${(by === 1e3 ? whole : tenth).format(bytes / by)} ${unit}`;
};
/** How long, as 1:05 or 2:01:05. @param {number} seconds */
function long(seconds) {
  const [s, m, h] = [seconds % 60, Math.floor(seconds / 60) % 60, Math.floor(seconds / 3600)].map((part) => Math.floor(Math.max(0, part)));
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
/** The beginning of a call's id: enough to tell calls apart. @param {string} id */
const short = (id) => id.replaceAll("-", "").slice(0, 8);

/** @type {ReturnType<typeof setTimeout> | undefined} */
let quiet;
/** Says what has been done, to eyes and screen readers. @param {string} text */
function say(text) {
  $("said").textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { $("said").textContent = ""; }, SAID_MS);
}

/** The question that was asked last: a dialog says that it is closed some time after it is. @type {Promise<boolean>} */
let asked = Promise.resolve(false);

/** Asks before something that cannot be undone. @param {string} title @param {string} text @param {string} yes */
function sure(title, text, yes) {
  asked = asked.then(() => answer(title, text, yes));
  return asked;
}

/** @param {string} title @param {string} text @param {string} yes @returns {Promise<boolean>} */
function answer(title, text, yes) {
  const dialog = /** @type {HTMLDialogElement} */ ($("sure"));
  $("sure-title").textContent = title;
  $("sure-text").textContent = text;
  $("sure-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/**
 * Makes the list's rows those of `items`: rows of the same id stay and are changed in place.
 * @template T
 * @param {HTMLElement} list @param {T[]} items @param {(item: T) => string} idOf
 * @param {(item: T) => HTMLElement} make @param {(row: HTMLElement, item: T) => void} fill
 */
function rows(list, items, idOf, make, fill) {
  const old = new Map([...list.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.id, /** @type {HTMLElement} */ (row)]));
  items.forEach((item, place) => {
    const id = idOf(item);
    let row = old.get(id);
    old.delete(id);
    if (!row) {
      row = make(item);
      row.dataset.id = id;
    }
    fill(row, item);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  for (const row of old.values()) row.remove();
}

/* The calls */

/** A term with its value and a line beneath. @param {string} term @param {string} name */
function fact(term, name) {
  const dd = el("dd", name, el("span"), el("span", "small"));
  return el("div", "", el("dt", "", term), dd);
}

/** @param {CallStatus} call */
function callRow({ id }) {
  const end = el("button", "quiet ends", texts.end);
  end.setAttribute("type", "button");
  end.setAttribute("aria-label", texts.endOf(short(id)));
  end.addEventListener("click", () => endCall(id));
  return el("li", "call",
    el("div", "who", el("p", "state", dot(), el("span")), el("p", "since"), el("p", "tags")),
    el("dl", "", fact(texts.kind, "kind"), fact(texts.voice, "voice"), fact(texts.turns, "turns"), fact(texts.answer, "answer"), fact(texts.network, "network")),
    end);
}

function dot() {
  const mark = el("i", "dot");
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

/** @param {HTMLElement} row @param {string} name @param {string} text @param {string} [small] */
function tell(row, name, text, small = "") {
  const [main, beneath] = find(`dd.${name}`, row).children;
  put(main, text);
  put(beneath, small);
}

/** @param {HTMLElement} row @param {CallStatus} call */
function fillCall(row, call) {
  const now = call.connected ? call.state : "connecting";
  row.dataset.state = now;
  row.dataset.began = String(call.began_ms);
  put(find(".state span", row), texts.states[now] ?? now);
  tell(row, "kind", `${texts.carriers[call.carrier] ?? call.carrier} · ${texts.protocols[call.protocol] ?? call.protocol}`,
    [short(call.id), call.wire.transport?.toUpperCase()].filter(Boolean).join(" · "));
  tell(row, "voice", call.voice, [texts.languages[call.language], call.persona].filter(Boolean).join(" · "));
  tell(row, "turns", whole.format(call.turns), call.interruptions ? texts.interruptions(call.interruptions) : "");
  tell(row, "answer", inMs(call.last_ms), call.turns > 1 ? texts.median(inMs(call.median_ms)) : "");
  const { lost_percent: lost, lost_by_caller_percent: lostThere, rtt_ms: trip } = call.wire;
  const most = Math.max(lost ?? -1, lostThere ?? -1);
  tell(row, "network", most < 0 ? "–" : texts.lost(`${tenth.format(most)} %`), trip ? texts.roundTrip(inMs(trip)) : "");
  const tags = [["recorded", call.recorded], ["reconnected", call.reconnected], ["continued", call.continued]].filter(([, is]) => is);
  const shown = tags.map(([tag]) => String(tag)), place = find(".tags", row);
  if (place.dataset.tags !== shown.join()) {
    place.dataset.tags = shown.join();
    place.replaceChildren(...shown.map((tag) => el("span", tag, /** @type {any} */ (texts)[tag])));
  }
}

/** @param {string} id */
async function endCall(id) {
  if (!await sure(texts.endTitle, texts.endText, texts.endYes)) return;
  await carefully(async () => {
    await link.ask(`/admin/calls/${id}`, { method: "DELETE" });
    say(texts.ended);
  }, texts.over);
  $("calls").focus();
}

/** Does something at the gateway and says if it failed. @param {() => Promise<void>} work @param {string} gone */
async function carefully(work, gone) {
  try {
    await work();
  } catch (error) {
    say(error instanceof LinkError && error.status === 404 ? gone : texts.failed);
  }
}

/** @param {GatewayState} now */
function showCalls(now) {
  const before = state?.calls.length ?? 0;
  [state, stateAt] = [now, Date.now()];
  document.body.dataset.link = "live";
  put($("link"), `${texts.link.live} · ${texts.version(now.version)}`);
  $("door").hidden = true;
  $("view").hidden = false;
  put($("count"), texts.callsNow(now.calls.length));
  put($("most"), texts.ofMost(now.max_calls));
  rows(find("#calls .rows"), now.calls, ({ id }) => id, callRow, fillCall);
  find("#calls .none").hidden = now.calls.length > 0;
  runOn();
  if (now.calls.length < before) void look.recordings();
}

/** What runs on between two states. */
function runOn() {
  if (!state || document.body.dataset.link !== "live") return;
  for (const row of document.querySelectorAll(".call")) {
    const began = Number(/** @type {HTMLElement} */ (row).dataset.began);
    put(find(".since", row), long((Date.now() - began) / 1000));
  }
  const up = document.querySelector("#strip .up");
  if (up) put(up, long(state.uptime_s + (Date.now() - stateAt) / 1000));
}

/* The figures */

/** What the CPU had done at the look before. @type {{at: number, own: number, busy: number, idle: number} | null} */
let before = null;
/** @type {number[]} */
const trend = [];

/** @param {Map<string, import("./admin-figures.js").Sample[]>} metrics @returns {[string, string, string, boolean?][]} */
function strip(metrics) {
  /** @type {[string, string, string, boolean?][]} */
  const figures = [];
  const get = (/** @type {string} */ name, labels = {}) => value(metrics, name, labels) ?? 0;
  const cpu = (/** @type {string} */ mode) => get("eva_machine_cpu_seconds_total", { mode });
  const now = { at: performance.now(), own: get("process_cpu_seconds_total"), busy: cpu("busy"), idle: cpu("idle") };
  if (before && now.at > before.at && now.own >= before.own) {
    const own = (now.own - before.own) * 1000 / (now.at - before.at) / (get("eva_machine_cpus") || 1);
    const all = now.busy - before.busy, every = all + now.idle - before.idle;
    trend.push(own);
    trend.splice(0, trend.length - TREND);
    figures.push([texts.cpu, percent(own), every > 0 ? texts.ofMachine(percent(all / every)) : "", true]);
  } else {
    figures.push([texts.cpu, "–", "", true]);
  }
  before = now;
  const total = get("eva_machine_memory_bytes", { state: "total" });
  figures.push([texts.memory, size(get("process_resident_memory_bytes")),
    total ? texts.ofMemory(size(total - get("eva_machine_memory_bytes", { state: "available" })), size(total)) : ""]);
  for (const { labels, value: used } of metrics.get("eva_gpu_used_ratio") ?? []) {
    const memory = (/** @type {string} */ which) => size(get("eva_gpu_memory_bytes", { gpu: labels.gpu, state: which }));
    figures.push([`${texts.gpu} ${labels.gpu}`, percent(used), `${labels.name} · ${memory("used")} / ${memory("total")}`]);
  }
  const waiting = (metrics.get("eva_engine_waiting") ?? []).filter((engine) => engine.value > 0);
  const jobs = waiting.reduce((sum, engine) => sum + engine.value, 0);
  figures.push([texts.waiting, texts.jobs(jobs), waiting.map((engine) => `${engine.labels.engine} ${engine.value}`).join(", ") || texts.idle]);
  figures.push([texts.uptime, "", texts.threads(get("process_threads"), get("process_open_fds"))]);
  return figures;
}

/** @param {string} text  of `/metrics` */
function showMetrics(text) {
  const metrics = parseMetrics(text);
  rows($("strip"), strip(metrics), ([term]) => term, ([term, , , line]) => {
    const place = el("div", "", el("dt", "", term), el("dd", "", el("span", term === texts.uptime ? "up" : ""), el("div", "small")));
    if (line) find("dd", place).append(shape("svg", { "aria-hidden": "true", preserveAspectRatio: "none" }));
    return place;
  }, (row, [term, main, small, line]) => {
    if (term !== texts.uptime) put(find("dd > span", row), main);
    put(find(".small", row), small);
    if (line) drawTrend(/** @type {any} */ (row.querySelector("svg")), trend, TREND);
  });
  showSpeed(metrics);
  runOn();
}

/** @param {string} name @param {string} part */
function bars(name, part) {
  const svg = shape("svg", { role: "img", ...(part ? { preserveAspectRatio: "none" } : {}) });
  const figure = el("figure", part || "whole", el("figcaption", "", el("strong", "", name), el("span", part ? "small" : ""), el("span", "small")), svg);
  return figure;
}

/** @param {HTMLElement} figure @param {import("./admin-figures.js").Histogram} of @param {string} name @param {boolean} large */
function fillBars(figure, of, name, large) {
  const marks = [50, 95].map((share) => ({ share, at: quantile(of, share / 100) }));
  const [p50, p95] = marks.map(({ at }) => inMs(at * 1000));
  const [, main, beneath] = find("figcaption", figure).children;
  if (large && main.childElementCount === 0) main.append("p50 ", el("b"), "  p95 ", el("b"));
  if (large) [...main.children].forEach((mark, i) => put(mark, [p50, p95][i]));
  else put(main, `p50 ${p50} · p95 ${p95}`);
  put(beneath, large ? texts.ofTurns(of.total) : "");
  const svg = /** @type {SVGElement} */ (figure.querySelector("svg"));
  const spoken = texts.bars(name, p50, p95, texts.ofTurns(of.total));
  const width = large ? figure.clientWidth : 240;
  if (svg.getAttribute("aria-label") === spoken && svg.dataset.width === String(width)) return;
  svg.setAttribute("aria-label", spoken);
  svg.dataset.width = String(width);
  drawBars(svg, of, large ? { width, height: 200, ticks: true, marks } : { width: 240, height: 34, ticks: false, marks: [] });
}

/** @param {Map<string, import("./admin-figures.js").Sample[]>} metrics */
function showSpeed(metrics) {
  const all = histogram(metrics, "eva_turn_seconds");
  const place = find("#speed .figures");
  find("#speed .none").hidden = all !== null;
  place.hidden = all === null;
  if (!all) return;
  if (!place.childElementCount) place.append(bars(texts.whole, ""), el("div", "parts", ...PARTS.map((part) => bars(texts.parts[part], part))));
  fillBars(find(".whole", place), all, texts.whole, true);
  for (const part of PARTS) {
    const of = histogram(metrics, "eva_turn_part_seconds", { part });
    if (of) fillBars(find(`figure.${part}`, place), of, texts.parts[part], false);
  }
}

/* Errors and recordings */

/** How many rows are shown until somebody wants all of them. */
const FIRST = 12;
/** Lists that are shown whole. @type {Set<string>} */
const opened = new Set();

/**
 * The part of a list that is shown, with a button for the rest.
 * @template T
 * @param {string} id  of the section @param {T[]} data @param {() => Promise<void>} again
 */
function shown(id, data, again) {
  const rest = data.length > FIRST && !opened.has(id);
  let more = document.querySelector(`#${id} .more`);
  if (!rest) more?.remove();
  if (rest && !more) {
    more = el("button", "quiet more");
    more.setAttribute("type", "button");
    more.addEventListener("click", () => {
      opened.add(id);
      void again();
    });
    $(id).append(more);
  }
  if (rest && more) put(more, texts.showAll(data.length));
  return rest ? data.slice(0, FIRST) : data;
}

/** @param {{counts: {error: number, warn: number}, data: Fault[]}} told */
function showErrors({ counts, data }) {
  put(find("#errors .lead"), data.length ? texts.errorsCount(counts.error, counts.warn) : texts.errorsNone);
  const idOf = (/** @type {Fault} */ fault) => JSON.stringify([fault.level, fault.code, fault.message, fault.fields]);
  rows(find("#errors .rows"), shown("errors", data, look.errors), idOf, (fault) => el("li", `fault ${fault.level}`,
    el("div", "", el("p", "level", texts.levels[fault.level] ?? fault.level), el("p", "small when")),
    el("div", "", el("p", "", fault.message),
      el("p", "small", [fault.code, ...Object.entries(fault.fields).map(([name, said]) => `${name} ${said}`)].join(" · ")))),
  (row, fault) => {
    put(find(".when", row), [clock.format(fault.at_ms), fault.count > 1 ? texts.times(fault.count) : ""].filter(Boolean).join(" · "));
  });
}

/** @param {{recording: boolean, data: Recording[]}} told */
function showRecordings({ recording, data }) {
  put(find("#recordings .lead"), !recording ? texts.recordingsOff : data.length ? texts.recordingsText : texts.recordingsNone);
  rows(find("#recordings .rows"), shown("recordings", data, look.recordings), ({ name }) => name, recordingRow, (row, { seconds, bytes }) => {
    put(find("strong", row), long(Math.round(seconds)));
    put(find(".bytes", row), size(bytes));
  });
}

/** @param {Recording} recording */
function recordingRow({ name, began_ms: began, call }) {
  const when = day.format(began);
  const listen = el("button", "quiet", texts.listen), remove = el("button", "quiet ends", texts.remove);
  for (const [button, label] of /** @type {[HTMLElement, string][]} */ ([[listen, texts.listenTo(when)], [remove, texts.removeOf(when)]])) {
    button.setAttribute("type", "button");
    button.setAttribute("aria-label", label);
  }
  const row = el("li", "kept",
    el("div", "", el("strong"), " ", el("span", "small bytes")),
    el("div", "", el("p", "", when), el("p", "small", `${texts.call} ${short(call)}`)),
    el("span", "row", listen, remove));
  listen.addEventListener("click", () => play(row, name, /** @type {HTMLButtonElement} */ (listen)));
  remove.addEventListener("click", () => removeRecording(row, name));
  return row;
}

/** Fetches the sound with the key, and plays it. @param {HTMLElement} row @param {string} name @param {HTMLButtonElement} listen */
async function play(row, name, listen) {
  listen.disabled = true;
  listen.textContent = texts.loading;
  await carefully(async () => {
    const sound = await (await link.ask(`/admin/recordings/${name}`)).blob();
    const old = row.querySelector("audio");
    if (old) URL.revokeObjectURL(old.src);
    const audio = /** @type {HTMLAudioElement} */ (old ?? el("audio"));
    audio.controls = true;
    audio.src = URL.createObjectURL(sound);
    if (!old) row.append(audio);
    audio.focus();
    await audio.play().catch(() => { /* The browser wants the person to press its own button. */ });
  }, texts.failed);
  listen.disabled = false;
  listen.textContent = texts.listen;
}

/** @param {HTMLElement} row @param {string} name */
async function removeRecording(row, name) {
  if (!await sure(texts.removeTitle, texts.removeText, texts.removeYes)) return;
  await carefully(async () => {
    const audio = row.querySelector("audio");
    if (audio) URL.revokeObjectURL(audio.src);
    await link.ask(`/admin/recordings/${name}`, { method: "DELETE" });
    say(texts.removed);
  }, texts.removed);
  await look.recordings();
}

/* The line */

const look = {
  metrics: () => quietly(async () => showMetrics(await (await link.ask("/metrics")).text())),
  errors: () => quietly(async () => showErrors(await link.json("/admin/errors"))),
  recordings: () => quietly(async () => showRecordings(await link.json("/admin/recordings"))),
};

/** What fails now comes again soon; whether the gateway answers at all, the stream says. @param {() => Promise<void>} work */
async function quietly(work) {
  if (document.hidden || document.body.dataset.link !== "live") return;
  await work().catch((error) => {
    if (!(error instanceof LinkError)) throw error;
  });
}

function follow() {
  document.body.dataset.link = "connecting";
  put($("link"), texts.link.connecting);
  $("forget").hidden = !link.key;
  let known = false;
  void link.follow({
    state: (now) => {
      const back = document.body.dataset.link !== "live";
      showCalls(now);
      if (back || !known) for (const ask of Object.values(look)) void ask();
      known = true;
    },
    away: () => {
      document.body.dataset.link = "away";
      put($("link"), texts.link.away);
    },
    refused: askForKey,
  });
}

/** @param {LinkError | null} error  what was wrong with the key before */
function askForKey(error) {
  const wrong = error && (link.key || error.code === "needs_key") ? texts.wrongKey[error.code] ?? texts.wrongKey.unauthorized : "";
  link.stop();
  link.key = "";
  document.body.dataset.link = "key";
  put($("link"), texts.link.key);
  $("key-wrong").textContent = wrong;
  $("key-wrong").hidden = !wrong;
  $("forget").hidden = $("view").hidden = true;
  $("door").hidden = false;
  const field = /** @type {HTMLInputElement} */ ($("key"));
  field.value = "";
  field.focus();
}

function start() {
  document.documentElement.lang = lang;
  document.title = `${texts.title} – EVA-Voice`;
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) {
    node.textContent = /** @type {any} */ (texts)[node.dataset.text ?? ""];
  }
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]"))) {
    node.setAttribute("aria-label", /** @type {any} */ (texts)[node.dataset.label ?? ""]);
  }
  $("door").addEventListener("submit", (event) => {
    event.preventDefault();
    link.key = /** @type {HTMLInputElement} */ ($("key")).value.trim();
    follow();
  });
  $("forget").addEventListener("click", () => askForKey(null));
  setInterval(runOn, 1000);
  setInterval(look.metrics, METRICS_MS);
  setInterval(look.errors, ERRORS_MS);
  setInterval(look.recordings, RECORDINGS_MS);
  document.addEventListener("visibilitychange", () => Object.values(look).forEach((ask) => void ask()));
  follow();
}

start();
