/**
 * The call page: joins the call (`eva-voice.js`), its captions, the face, the line, the figures and the controls. It
 * keeps no call state of its own: what the page shows follows the call's events.
 */

import { EvaCall, EvaError } from "./eva-voice.js";
import { Captions } from "./captions.js";
import { Face } from "./face.js";
import { Line } from "./line.js";
import { Settings } from "./settings.js";
import { keep, key as keptKey, recall } from "./store.js";
import { figureTexts } from "./figures-texts.js";
import { PushToTalk, composer } from "./talk.js";
import { lang, texts, translate } from "./texts.js";
import { Transcript, save } from "./transcript.js";
import { Waterfall } from "./waterfall.js";

/** How often the network's figures are read. */
const STATS_MS = 1000;
/** How long the drawn mouth takes to a new shape, about. */
const MOUTH_MS = 40;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));

translate();
const call = new EvaCall();
const captions = new Captions($("captions"), $("log"));
const face = new Face($("face"));
const line = new Line(/** @type {HTMLCanvasElement} */ (document.querySelector("#line canvas")));
const settings = new Settings(call, { explain, change: show });
const push = new PushToTalk(call);
const transcript = new Transcript();
const waterfall = new Waterfall($("figures"), figureTexts[lang]);
/** @type {HTMLInputElement} */ const key = $("key");
const insights = $("insights");

/** What the conversation is doing, as the gateway last said. */
let turn = "listening";
/** When the call was connected, `performance.now()`; 0 without a call. */
let since = 0;
/** Whether the gateway was reached when the page last asked. */
let reachable = true;

/** Seconds since the call began. */
const seconds = () => (performance.now() - since) / 1000;

/** How long the call lasts, as 1:05. */
const elapsed = () => `${Math.floor(seconds() / 60)}:${String(Math.floor(seconds()) % 60).padStart(2, "0")}`;

/** Everything that follows from the call's state and the settings. */
function show() {
  const { state } = call;
  const quiet = state === "idle" ? (reachable ? "idle" : "unreachable") : state === "connected" ? turn : state;
  const { dataset } = document.body;
  dataset.state = state;
  dataset.turn = state === "connected" ? turn : "none";
  dataset.push = String(settings.pushToTalk && call.hasMicrophone);
  $("status").textContent = call.muted && state === "connected" ? `${texts.status[quiet]} · ${texts.muted}` : texts.status[quiet];
  $("timer").hidden = !since;
  $("call-label").textContent = state === "idle" ? texts.call : state === "connecting" ? texts.cancel : texts.hangUp;
  $("mute").setAttribute("aria-pressed", String(call.muted));
  const speaks = call.hasMicrophone;
  $("mute").hidden = settings.pushToTalk || !speaks;
  $("hold").hidden = !settings.pushToTalk || !speaks || state === "connecting";
  face.on = settings.showsFace;
  $("face").hidden = !settings.showsFace;
  document.body.classList.toggle("faceless", !settings.showsFace);
  $("left").hidden = state === "idle" ? $("key-field").hidden : $("mute").hidden;
  settings.place(state !== "idle");
  if (!since) face.rest();
  document.title = state === "idle" ? "EVA-Voice" : `${texts.status[state]} – EVA-Voice`;
}

/** @param {string} code  a key of `texts.failure` @param {string} [more]  said by the gateway, or a time to wait */
function notice(code, more = "") {
  const [title, text] = texts.failure[code] ?? texts.failure.gateway;
  $("notice-title").textContent = title;
  $("notice-text").textContent = [text, more].filter(Boolean).join(" ");
  $("notice").dataset.code = code;
  $("without").hidden = call.state !== "idle" || !["permission", "no-microphone", "microphone-busy", "insecure"].includes(code);
  delete $("notice").dataset.farewell;
  $("notice").hidden = false;
}

/** @param {string} [code]  this one alone, if it is the one that shows */
function clearNotice(code) {
  if (!code || $("notice").dataset.code === code) $("notice").hidden = true;
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

async function meet() {
  try {
    const info = await call.info();
    reachable = true;
    settings.describe(info);
    $("fact-brain").textContent = info.brain;
    $("fact-version").textContent = info.version;
    $("facts").hidden = false;
    const told = [info.recording && texts.toldRecorded, info.keeps_days && texts.toldKept(info.keeps_days)].filter(Boolean);
    $("told").textContent = told.join(" ");
    $("told").hidden = !told.length;
    $("recorded").hidden = !info.recording;
    $("key-field").hidden = !info.needs_key;
    if (!window.isSecureContext) notice("insecure");
  } catch (error) {
    reachable = !(error instanceof EvaError && ["unreachable", "timeout"].includes(error.code));
    explain(error);
  }
  show();
}

/** @param {{listenOnly?: boolean}} [how] */
async function begin(how = {}) {
  clearNotice();
  try {
    await call.connect({ ...settings.wishes(), key: key.value.trim(), ...how });
    keptKey.set(key.value.trim());
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
  transcript.clear();
  waterfall.clear();
  $("transcript-menu").hidden = true;
  document.body.classList.remove("fresh");
  $("intro").hidden = true;
  $("captions").hidden = false;
  $("open-insights").hidden = false;
  showInsights(wantsInsights());
  const hint = !call.hasMicrophone ? texts.beganToWrite : settings.pushToTalk ? texts.beganToHold : texts.began;
  captions.hint(hint);
  $("announce").textContent = hint;
  requestAnimationFrame(frame);
  follow();
}

/** @param {{reason: string, error: EvaError | null}} detail */
function over({ reason, error }) {
  if (since) captions.end(reason === "gateway" ? texts.endedByGateway(elapsed()) : texts.ended(elapsed()));
  since = 0;
  line.draw(null);
  push.letGo();
  $("unlock").hidden = true;
  $("announce").textContent = "";
  const farewell = $("notice").dataset.farewell && !$("notice").hidden;
  if (!farewell) clearNotice();
  if (error) explain(error);
  show();
}

/** The network's figures, for as long as the call lasts. */
async function follow() {
  if (!since) return;
  const stats = await call.stats();
  if (stats && since) waterfall.network(stats);
  setTimeout(follow, STATS_MS);
}

/** One frame of a call: levels, lit words, the mouth, the line, the time. */
function frame() {
  if (!since) return;
  const { microphone: you, eva } = call.levels();
  const ahead = captions.light((rtpStart) => call.playout(rtpStart));
  line.draw({ you: call.muted ? 0 : you, eva, ahead });
  const away = call.state !== "connected";
  face.frame({ viseme: call.mouth(MOUTH_MS), level: eva, heard: you, turn: away ? "away" : turn });
  const time = elapsed();
  if ($("timer").textContent !== time) $("timer").textContent = time;
  requestAnimationFrame(frame);
}

/** Whether the figures stand beside the conversation: the person's choice, else where there is room. */
function wantsInsights() {
  const said = recall("insights");
  return said ? said === "yes" : innerWidth >= 75 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/** @param {boolean} open */
function showInsights(open) {
  insights.hidden = !open;
  document.body.classList.toggle("insights", open);
  $("open-insights").setAttribute("aria-expanded", String(open));
}

/** @template T @param {string} kind @param {(detail: T) => void} then */
const on = (kind, then) => call.addEventListener(kind, (event) => then(/** @type {CustomEvent} */ (event).detail));

on("ready", (ready) => {
  begun();
  settings.configured(ready);
});
on("configured", (now) => settings.configured(now));
on("state", ({ state }) => {
  if (state === "connected") begun();
  if (state === "shaky" || state === "reconnecting") notice(state);
  else ["shaky", "reconnecting"].forEach(clearNotice);
  show();
});
on("resumed", ({ how, ms }) => {
  const took = (ms / 1000).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });
  if (how === "session") {
    captions.rejoin();
    transcript.rejoin();
    turn = "listening";
  }
  captions.note(how === "session" ? texts.backInSession(took) : texts.back(took));
  show();
});
on("turn", ({ state }) => {
  if (!["listening", "hearing", "thinking", "speaking"].includes(state)) return;
  turn = state;
  if (state === "listening" || state === "speaking") captions.dropPartial();
  show();
});
on("partial", ({ text }) => captions.partial(String(text ?? "")));
on("final", (final) => {
  const text = String(final.text ?? "");
  captions.final(text, final.turn_id ?? null, final.typed === true);
  if (text.trim()) transcript.final(seconds(), { ...final, text });
  $("transcript-menu").hidden = transcript.isEmpty;
});
on("words", (sentence) => {
  captions.words(sentence);
  transcript.words(seconds(), sentence, call.playout(sentence.rtp_start));
  $("transcript-menu").hidden = transcript.isEmpty;
});
on("cut", (cut) => {
  captions.cut(cut);
  transcript.cut(cut);
});
on("tool", ({ name, ok }) => captions.tool(String(name ?? ""), ok));
on("latency", (latency) => {
  captions.latency(latency.total_ms);
  transcript.latency(latency.total_ms);
  line.gap(latency.total_ms, texts.milliseconds(latency.total_ms));
  waterfall.turn(latency);
});
on("microphone", ({ label, lost }) => {
  settings.listDevices();
  show();
  if (lost && label) captions.note(texts.changedMicrophone(label));
});
on("hangup", ({ reason }) => {
  notice(texts.failure[reason] ? reason : "gateway");
  $("notice").dataset.farewell = "yes";
});
on("error", ({ code, message }) => {
  if (code === "bad_voice") notice("voice", message);
  else if (texts.failure[code]) notice(code);
  else notice("gateway", message);
});
on("end", over);
on("devices", () => settings.listDevices());
on("blocked", () => ($("unlock").hidden = false));

$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  if (call.state === "idle") begin();
  else call.hangUp();
});
$("without").addEventListener("click", async () => {
  await begin({ listenOnly: true });
  if (call.state === "connected") $("say").focus();
});
$("mute").addEventListener("click", () => {
  call.muted = !call.muted;
  show();
});
$("unlock").addEventListener("click", () => {
  $("unlock").hidden = true;
  call.unlock().catch(() => ($("unlock").hidden = false));
});
$("open-insights").addEventListener("click", () => {
  const open = Boolean(insights.hidden);
  keep("insights", open ? "yes" : "no");
  showInsights(open);
});
$("transcript-kinds").addEventListener("click", (event) => {
  const kind = /** @type {HTMLElement} */ (event.target).dataset.kind;
  if (!kind) return;
  save(transcript.file(/** @type {"txt" | "vtt" | "json"} */ (kind)));
  $("transcript-kinds").hidePopover();
});

composer(call);
key.value = keptKey.get();
show();
$("status").textContent = texts.status.checking;
meet();

// For the console and for tests.
Object.assign(window, { eva: call });
