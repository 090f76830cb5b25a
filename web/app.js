/**
 * The call page: joins the call (`eva-voice.js`), its captions, the line and the controls. It keeps no call state of
 * its own: what the page shows follows the call's events.
 */

import { EvaCall, EvaError } from "./eva-voice.js";
import { Captions } from "./captions.js";
import { Line } from "./line.js";
import { lang, texts } from "./texts.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));

const call = new EvaCall();
const captions = new Captions($("captions"), $("log"));
const line = new Line(/** @type {HTMLCanvasElement} */ (document.querySelector("#line canvas")));
const key = /** @type {HTMLInputElement} */ ($("key"));
const microphone = /** @type {HTMLSelectElement} */ ($("microphone"));

/** What the conversation is doing, as the gateway last said. */
let turn = "listening";
/** When the call was connected, `performance.now()`; 0 without a call. */
let since = 0;
/** Whether the gateway was reached when the page last asked. */
let reachable = true;

/** How long something lasted, as 1:05. */
const elapsed = () => {
  const seconds = Math.floor((performance.now() - since) / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
};

/** Words of the page in the person's language. */
function translate() {
  document.documentElement.lang = lang;
  /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]")).forEach((node) => {
    node.textContent = /** @type {any} */ (texts)[node.dataset.text ?? ""];
  });
  /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]")).forEach((node) => {
    node.setAttribute("aria-label", /** @type {any} */ (texts)[node.dataset.label ?? ""]);
  });
}

/** Everything that follows from the call's state. */
function show() {
  const { state } = call;
  const quiet = state === "idle" ? (reachable ? "idle" : "unreachable") : state === "connected" ? turn : state;
  document.body.dataset.state = state;
  document.body.dataset.turn = state === "connected" ? turn : "none";
  $("status").textContent = call.muted && state === "connected" ? `${texts.status[quiet]} · ${texts.muted}` : texts.status[quiet];
  $("timer").hidden = !since;
  $("call-label").textContent = state === "idle" ? texts.call : state === "connecting" ? texts.cancel : texts.hangUp;
  const mute = $("mute");
  mute.textContent = call.muted ? texts.unmute : texts.mute;
  mute.setAttribute("aria-pressed", String(call.muted));
  document.title = state === "idle" ? "EVA-Voice" : `${texts.status[state]} – EVA-Voice`;
}

/** @param {string} code  a key of `texts.failure` @param {string} [more]  said by the gateway, or a time to wait */
function notice(code, more = "") {
  const [title, text] = texts.failure[code] ?? texts.failure.gateway;
  $("notice-title").textContent = title;
  $("notice-text").textContent = [text, more].filter(Boolean).join(" ");
  $("notice").dataset.code = code;
  $("notice").hidden = false;
}

function clearNotice() {
  $("notice").hidden = true;
}

/** @param {unknown} error */
function explain(error) {
  const failure = error instanceof EvaError ? error : new EvaError("refused", String(error));
  if (failure.code === "cancelled") return;
  if (failure.code === "busy" && failure.retryAfter) return notice("busyFor", texts.busyFor(failure.retryAfter));
  if (failure.code === "key") {
    $("key-field").hidden = false;
    notice(key.value ? "key" : "needsKey");
    return key.focus();
  }
  notice(failure.code, failure.code === "refused" ? failure.message : "");
}

async function listMicrophones() {
  const found = await call.microphones();
  const chosen = microphone.value || localStorage.getItem("microphone") || "";
  const options = found.filter((device) => device.deviceId !== "default").map((device) => new Option(device.label, device.deviceId));
  microphone.replaceChildren(new Option(texts.defaultMicrophone, ""), ...options);
  microphone.value = options.some((option) => option.value === chosen) ? chosen : "";
}

async function meet() {
  try {
    const info = await call.info();
    reachable = true;
    $("fact-voice").textContent = info.voice;
    $("fact-brain").textContent = info.brain;
    $("fact-language").textContent = texts.languages[info.language] ?? info.language;
    $("fact-version").textContent = info.version;
    $("facts").hidden = false;
    $("key-field").hidden = !info.needs_key;
    if (!window.isSecureContext) notice("insecure");
  } catch (error) {
    reachable = !(error instanceof EvaError && ["unreachable", "timeout"].includes(error.code));
    explain(error);
  }
  show();
}

async function begin() {
  clearNotice();
  try {
    await call.connect({ microphoneId: microphone.value, key: key.value.trim() });
    sessionStorage.setItem("key", key.value.trim());
  } catch (error) {
    since = 0;
    explain(error);
    show();
  }
}

/** The first sign of life of a call. What the one before has left on the page goes only now. */
function begun() {
  if (since) return;
  since = performance.now();
  turn = "listening";
  captions.clear();
  line.clear();
  $("intro").hidden = true;
  $("captions").hidden = false;
  captions.hint(texts.began);
  $("announce").textContent = texts.began;
  requestAnimationFrame(frame);
}

/** @param {{reason: string, error: EvaError | null}} detail */
function over({ reason, error }) {
  captions.end(reason === "gateway" ? texts.endedByGateway(elapsed()) : texts.ended(elapsed()));
  since = 0;
  line.draw(null);
  $("unlock").hidden = true;
  $("announce").textContent = "";
  clearNotice();
  if (error) explain(error);
  show();
}

/** One frame of a call: levels, lit words, the line, the time. */
function frame() {
  if (!since) return;
  const { microphone: you, eva } = call.levels();
  const ahead = captions.light((rtpStart) => call.playout(rtpStart));
  line.draw({ you: call.muted ? 0 : you, eva, ahead });
  const time = elapsed();
  if ($("timer").textContent !== time) $("timer").textContent = time;
  requestAnimationFrame(frame);
}

/** @param {{parts_ms: Record<string, number>, total_ms: number}} latency */
function latency({ parts_ms, total_ms }) {
  captions.latency(total_ms);
  line.gap(total_ms, texts.milliseconds(total_ms));
  $("latency-none").hidden = true;
  $("latency-figures").hidden = false;
  const total = $("latency-total");
  total.textContent = texts.milliseconds(total_ms);
  const hint = document.createElement("small");
  hint.textContent = texts.latencyHint;
  total.append(" ", hint);
  const bars = [];
  const parts = [];
  for (const [name, label] of Object.entries(texts.parts)) {
    const ms = parts_ms?.[name];
    if (typeof ms !== "number") continue;
    const bar = document.createElement("i");
    bar.className = name;
    bar.style.flexGrow = String(Math.max(ms, 0));
    bars.push(bar);
    const part = document.createElement("div");
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    part.className = name;
    term.textContent = label;
    value.textContent = String(Math.round(ms));
    part.append(term, value);
    parts.push(part);
  }
  $("latency-bar").replaceChildren(...bars);
  $("latency-parts").replaceChildren(...parts);
}

/** @template T @param {string} kind @param {(detail: T) => void} then */
const on = (kind, then) => call.addEventListener(kind, (event) => then(/** @type {CustomEvent} */ (event).detail));

on("ready", begun);
on("state", ({ state }) => {
  if (state === "connected") begun();
  if (state === "shaky") notice("shaky");
  else if ($("notice").dataset.code === "shaky") clearNotice();
  show();
});
on("turn", ({ state }) => {
  if (!["listening", "hearing", "thinking", "speaking"].includes(state)) return;
  turn = state;
  if (state === "listening" || state === "speaking") captions.dropPartial();
  show();
});
on("partial", ({ text }) => captions.partial(String(text ?? "")));
on("final", ({ text, turn_id }) => captions.final(String(text ?? ""), turn_id ?? null));
on("words", (sentence) => captions.words(sentence));
on("cut", (cut) => captions.cut(cut));
on("latency", latency);
on("error", ({ code, message }) => (texts.failure[code] ? notice(code) : notice("gateway", message)));
on("end", over);
on("devices", listMicrophones);
on("blocked", () => ($("unlock").hidden = false));

$("dock").addEventListener("submit", (event) => {
  event.preventDefault();
  if (call.state === "idle") begin();
  else call.hangUp();
});
$("mute").addEventListener("click", () => {
  call.muted = !call.muted;
  show();
});
$("unlock").addEventListener("click", () => {
  $("unlock").hidden = true;
  call.unlock().catch(() => ($("unlock").hidden = false));
});
microphone.addEventListener("change", () => {
  localStorage.setItem("microphone", microphone.value);
  call.setMicrophone(microphone.value).catch(explain);
});

translate();
key.value = sessionStorage.getItem("key") ?? "";
$("status").textContent = texts.status.checking;
listMicrophones();
meet();

// For the console and for tests.
Object.assign(window, { eva: call });
