/**
 * EVA-Voice in any web page: one class, no dependency.
 *
 * In: a person's microphone. Out: EVA's sound (played by the call itself) and
 * events that say what was heard, what is said and how fast. The call owns its
 * microphone, its connection and its audio element and frees all three when it
 * ends. When the network changes or the gateway restarts it goes on by itself.
 * It draws nothing and holds no text for people: that is the page's part.
 *
 *     import { EvaCall } from "/eva-voice.js";
 *     const call = new EvaCall();
 *     call.addEventListener("final", (e) => console.log("you:", e.detail.text));
 *     call.addEventListener("words", (e) => console.log("EVA:", e.detail.text));
 *     button.onclick = () => (call.state === "idle" ? call.connect() : call.hangUp());
 */

import { EvaError, Gateway } from "./eva-gateway.js";
import { CLOCK_HZ, Link, pause } from "./eva-link.js";
import { canChooseSpeaker, devices, Levels, Mouth, openMicrophone, stop, testTone } from "./eva-sound.js";

export { CLOCK_HZ, EvaError };

/** A path that stumbles may find itself again; browsers have waited for seconds before they say so. */
const SHAKY_MS = 400;
/** A far side that closes the call may look like a failed path at first: its goodbye is given so long to be read. */
const FAILED_MS = 300;
/** How long a lost call is tried to be brought back. */
const GIVE_UP_MS = 60_000;
/** Pauses between the tries; the last one repeats. */
const PAUSES_MS = [300, 600, 1200, 2000, 3000, 4000];
/** After the button is released the microphone stays open so long: the last sound is on its way still. */
const TAIL_MS = 200;
/** EVA is heard above this level (root mean square), and is silent after so long below it. */
const HEARD = 0.003;
const SILENT_AFTER_MS = 300;
/** Texts that no gateway has taken yet. */
const MAX_UNSAID = 8;
/** Frames that reach whoever listens, by the same name. */
const GATEWAY_EVENTS = new Set([
  "ready", "partial", "final", "words", "viseme", "filler", "backchannel", "cut", "turn", "latency",
  "tool", "hangup", "error", "configured",
]);

/**
 * @typedef {"idle" | "connecting" | "connected" | "shaky" | "reconnecting"} CallState
 *   `shaky`: media stopped arriving; it may come back by itself. `reconnecting`: a new path is looked for.
 *
 * @typedef {import("./eva-gateway.js").FailureCode} FailureCode
 * @typedef {import("./eva-gateway.js").GatewayInfo} GatewayInfo
 * @typedef {import("./eva-link.js").CallStats} CallStats
 *
 * @typedef {object} Word
 * @property {string} text
 * @property {number} start  48 kHz samples after the reply's `rtp_start`
 * @property {number} end
 *
 * @typedef {object} Words        one sentence of a reply
 * @property {string} reply_id
 * @property {string} text
 * @property {Word[]} words
 * @property {number} rtp_start   RTP timestamp of the reply's first packet
 *
 * What a call should be like; what is left out is the gateway's choice.
 * @typedef {object} Wishes
 * @property {string} [language]      "en", "fr" or "auto"
 * @property {string} [voice]
 * @property {string} [persona]
 * @property {object} [conversation]  changes to the conversation's settings, `{backchannels: {on: false}}`
 *
 * @typedef {object} ConnectOptions
 * @property {string} [microphoneId]  a device id, or "" for the default one
 * @property {string} [speakerId]     a device id, or "" for the default one
 * @property {string} [key]           the gateway's access key
 * @property {string} [sessionId]     goes on with an earlier conversation
 * @property {boolean} [pushToTalk]
 * @property {boolean} [listenOnly]   without a microphone: EVA is written to, and heard
 *
 * What one call holds, over all of its connections; dropped as a whole when it ends.
 * @typedef {object} Live
 * @property {AbortController} abort       ends whatever is still under way
 * @property {Link | null} link
 * @property {MediaStream | null} microphone  null: there is none, or not yet
 * @property {boolean} listenOnly          no microphone is wanted
 * @property {Wishes} wishes               in force, for the next connection
 * @property {Wishes} asked                of `configure()`, not answered yet
 * @property {string[]} unsaid             texts that the gateway has not taken yet
 * @property {boolean} busy                it is being brought back, or what closed it is being found out
 * @property {boolean} farewell            EVA said that she hangs up
 * @property {ReturnType<typeof setTimeout> | undefined} shaky
 * @property {ReturnType<typeof setInterval>[]} timers
 */

/**
 * One line to a gateway. It can be called again after it ended.
 *
 * Events (`CustomEvent`, data in `detail`):
 * - `state` `{state}`: the connection, a {@link CallState}
 * - `ready` `{call_id, session_id, voice, brain, language, persona}`
 * - `partial` `{text}`: the person's words so far; `final` `{turn_id, text, typed}`: as understood, or typed
 * - `words` {@link Words}; line them up with {@link EvaCall#playout}
 * - `viseme` `{reply_id, track, rtp_start}`: the mouth's shapes for that sentence; {@link EvaCall#mouth} follows them
 * - `filler` `{reply_id, text, rtp_start, rtp_end}`: the reply is late, something short sounds in its place
 * - `backchannel` `{text, rtp_start, rtp_end}`: EVA says "mhm" while the person has the floor
 * - `tool` `{reply_id, name, ok}`: a tool runs for a reply; with `ok` it has ended
 * - `hangup` `{reason}`: the call is ended: after `silence`, because it is `too_long`, or by the `operator`
 * - `cut` `{reply_id, heard_text, rtp_at}`: EVA was interrupted; the rest was never heard
 * - `turn` `{state}`: `listening`, `hearing`, `thinking` or `speaking`
 * - `speaking` `{speaking}`: EVA's sound begins or ends to be heard, measured on the sound itself
 * - `latency` `{turn_id, parts_ms, total_ms}`
 * - `configured` `{voice, language, persona, push_to_talk}`: what is in force from the next reply on
 * - `microphone` `{deviceId, label, lost}`: another microphone is in use; `lost`: because the one before went away
 * - `reconnecting` `{why}`: the `network` changed, `media` stopped arriving, or the `gateway` went away
 * - `resumed` `{how, ms}`: after `reconnecting`. `ice`: the same call goes on over a new path. `session`: a new call
 *   goes on with the conversation; replies and turns are counted anew in it, and of old replies nothing sounds any more
 * - `error` `{code, message}`: trouble in a call that lives on (the gateway's, or the microphone's)
 * - `end` `{reason, error}`: `reason` is `hangup`, `gateway` or `lost`
 * - `blocked`: the browser wants a click before it plays sound; call {@link EvaCall#unlock} from one
 * - `devices`: microphones or loudspeakers came or went
 */
export class EvaCall extends EventTarget {
  /** @type {Gateway} */ #gateway;
  /** @type {CallState} */ #state = "idle";
  /** @type {Live | null} */ #live = null;
  /** @type {string | null} */ #sessionId = null;
  #muted = false;
  #pushToTalk = false;
  #pressed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #tail;
  #microphoneId = "";
  #speakerId = "";
  /** The newest wish for a microphone: an older one that opens late is given back. */
  #microphoneWish = 0;
  #sound = new Audio();
  /** @type {Levels | null} */ #levels = null;
  #mouth = new Mouth();
  /** @type {{id: string, stream: MediaStream} | null} */ #preview = null;
  #speaking = false;
  #heardAt = 0;

  /** @param {{base?: string}} [options]  `base`: the gateway's address; this page's own by default */
  constructor({ base = "/" } = {}) {
    super();
    this.#gateway = new Gateway(new URL(base, location.href).href);
    this.#sound.autoplay = true;
    this.#sound.setAttribute("playsinline", "");
    // Held weakly: a call that nobody holds any more is not kept by the page's events.
    const self = new WeakRef(this);
    navigator.mediaDevices?.addEventListener?.("devicechange", () => {
      const call = self.deref();
      if (call) call.#devicesChanged();
    });
    // A page that goes away takes its call with it, also into the back-forward cache.
    addEventListener("pagehide", () => {
      self.deref()?.hangUp();
      self.deref()?.stopPreview();
    });
  }

  /** Whether a microphone is open in the call. A call without one is written to, and heard. */
  get hasMicrophone() {
    return Boolean(this.#live?.microphone);
  }

  /** @returns {CallState} */
  get state() {
    return this.#state;
  }

  /** The gateway's name for the call, or null. */
  get id() {
    return this.#live?.link?.id ?? null;
  }

  /** The conversation's name, for a later `connect({sessionId})`; null before the first call or where none is kept. */
  get sessionId() {
    return this.#sessionId;
  }

  /** Muted: the microphone sends silence. Kept from call to call. */
  get muted() {
    return this.#muted;
  }

  set muted(value) {
    this.#muted = Boolean(value);
    this.#gate();
  }

  /** Push-to-talk: the microphone is open between `press()` and `release()` only. Kept from call to call. */
  get pushToTalk() {
    return this.#pushToTalk;
  }

  set pushToTalk(value) {
    if (this.#pushToTalk === Boolean(value)) return;
    this.#pushToTalk = Boolean(value);
    this.#letGo();
    this.#send({ type: "eva.push_to_talk", on: this.#pushToTalk });
  }

  /** Whether this browser lets people choose the loudspeaker. */
  get canChooseSpeaker() {
    return canChooseSpeaker;
  }

  /** What the gateway is and wants. @returns {Promise<GatewayInfo>} */
  info() {
    return this.#gateway.info();
  }

  /**
   * Microphones and loudspeakers by name. Before the person has allowed a microphone, browsers name none and the
   * lists are empty; so are the `speakers` where they cannot be chosen.
   * @returns {Promise<{microphones: MediaDeviceInfo[], speakers: MediaDeviceInfo[]}>}
   */
  devices() {
    return devices();
  }

  /** The microphones of {@link EvaCall#devices}. */
  async microphones() {
    return (await devices()).microphones;
  }

  /**
   * Calls. Resolves when sound can flow both ways. Call it from a click, so that the browser lets EVA be heard.
   * @param {ConnectOptions & Wishes} [options]
   * @throws {EvaError} with code `cancelled` if `hangUp()` came first
   */
  async connect({ microphoneId, speakerId, key, sessionId, pushToTalk, listenOnly = false, ...wishes } = {}) {
    if (this.#live) throw new EvaError("refused", "This call is already under way.");
    /** @type {Live} */
    const live = {
      abort: new AbortController(), link: null, microphone: null, listenOnly, wishes, asked: {}, unsaid: [],
      busy: false, farewell: false, shaky: undefined, timers: [],
    };
    this.#live = live;
    this.#gateway.key = key || undefined;
    this.#sessionId = sessionId || null;
    this.#microphoneId = microphoneId ?? this.#microphoneId;
    this.#speakerId = speakerId ?? this.#speakerId;
    this.#pushToTalk = pushToTalk ?? this.#pushToTalk;
    this.#letGo();
    this.#setState("connecting");
    try {
      this.#levels ??= new Levels(); // within the click: audio contexts start only from one
      this.#levels.resume();
      this.#applySpeaker();
      // Asked while the microphone opens: most calls wait for nothing.
      const servers = this.#gateway.iceServers(live.abort.signal);
      if (listenOnly) this.stopPreview();
      else await this.#open(live);
      await this.#dial(live, await servers, live.abort.signal);
      this.#follow(live);
      this.#setState("connected");
    } catch (error) {
      const failure = live.abort.signal.aborted
        ? new EvaError("cancelled", "The call was cancelled.")
        : error instanceof EvaError ? error
        : new EvaError("refused", `The call could not be made: ${error}`, { cause: error });
      this.#free(live);
      throw failure;
    }
  }

  /** Hangs up, or cancels a call that is still connecting or reconnecting. The gateway is told. */
  hangUp() {
    const live = this.#live;
    if (!live) return;
    const wasUp = this.#state !== "connecting";
    this.#free(live);
    if (wasUp) this.#tell("end", { reason: "hangup", error: null });
  }

  /**
   * Chooses the microphone, in mid-call and before it.
   * @param {string} microphoneId  a device id, or "" for the default one
   */
  async setMicrophone(microphoneId) {
    this.#microphoneId = microphoneId;
    if (this.#preview) return this.preview(microphoneId);
    if (this.#live) await this.#replaceMicrophone(this.#live, microphoneId, false);
  }

  /**
   * Chooses the loudspeaker, in mid-call and before it.
   * @param {string} speakerId  a device id, or "" for the default one
   * @throws {EvaError} `no-speaker` if it is not there; what sounded before goes on
   */
  async setSpeaker(speakerId) {
    if (!canChooseSpeaker) return;
    try {
      await this.#sound.setSinkId(speakerId);
    } catch (cause) {
      throw new EvaError("no-speaker", "The loudspeaker cannot be used.", { cause });
    }
    this.#speakerId = speakerId;
    this.#levels?.speaker(speakerId);
  }

  /**
   * Opens a microphone without a call: `levels().microphone` follows it. A call takes it over.
   * @param {string} [microphoneId]
   */
  async preview(microphoneId = this.#microphoneId) {
    if (this.#live) return;
    const wish = ++this.#microphoneWish;
    const stream = await openMicrophone(microphoneId);
    if (wish !== this.#microphoneWish || this.#live) return stop(stream);
    stop(this.#preview?.stream);
    this.#microphoneId = microphoneId;
    this.#preview = { id: microphoneId, stream };
    stream.getAudioTracks()[0].onended = () => this.stopPreview();
    this.#levels ??= new Levels();
    this.#levels.listen("microphone", stream);
    this.#tell("devices"); // permission is there now, so devices have names
  }

  /** Ends a preview. */
  stopPreview() {
    if (!this.#live) this.#microphoneWish += 1;
    if (!this.#preview) return;
    stop(this.#preview.stream);
    this.#preview = null;
    if (!this.#live) this.#closeLevels();
  }

  /**
   * A short tone, to try a loudspeaker. Resolves when it has sounded. Call it from a click.
   * @param {string} [speakerId]  the chosen one without it
   * @throws {EvaError} `no-speaker`
   */
  testTone(speakerId = this.#speakerId) {
    return testTone(speakerId);
  }

  /** Push-to-talk: the person begins to talk. EVA falls silent. */
  press() {
    if (!this.#pushToTalk || !this.#live || this.#pressed) return;
    clearTimeout(this.#tail);
    this.#tail = undefined;
    this.#pressed = true;
    this.#gate();
    this.#send({ type: "eva.press" });
  }

  /** Push-to-talk: the person has talked. The turn ends. */
  release() {
    if (!this.#pressed) return;
    this.#pressed = false;
    this.#send({ type: "eva.release" });
    this.#tail = setTimeout(() => this.#letGo(), TAIL_MS);
  }

  /**
   * Says something in writing; EVA answers aloud. What is said while the call is being brought back is said then.
   * @param {string} text
   * @returns {boolean} whether there is a call to say it in
   */
  say(text) {
    const live = this.#live;
    const said = text.trim();
    if (!said || !live || this.#state === "connecting") return false;
    live.unsaid = [...live.unsaid, said].slice(-MAX_UNSAID);
    this.#send({ type: "eva.say", text: said });
    return true;
  }

  /**
   * Changes how EVA talks, from her next reply on; "" asks for the gateway's own choice. `configured` or `error` answers.
   * @param {{voice?: string, language?: string, persona?: string}} changes
   */
  configure({ voice, language, persona }) {
    const live = this.#live;
    if (!live) return;
    const asked = Object.fromEntries(Object.entries({ voice, language, persona }).filter(([, value]) => value !== undefined));
    if (this.#send({ type: "eva.configure", ...asked })) Object.assign(live.asked, asked);
    else Object.assign(live.wishes, asked); // the next connection begins with it
  }

  /** Lets EVA be heard after `blocked`; call it from a click. */
  async unlock() {
    this.#levels?.resume();
    await this.#sound.play();
  }

  /** Levels now, 0 to 1: what is said and what is heard. */
  levels() {
    return this.#levels?.now() ?? { microphone: 0, eva: 0 };
  }

  /**
   * How many samples of a reply have sounded, by the media itself.
   * @param {number} rtpStart  the reply's `rtp_start`
   * @returns {number | null}  negative: not yet begun; null: nothing has been heard in this call
   */
  playout(rtpStart) {
    const rtp = this.#live?.link?.rtpNow() ?? null;
    // Timestamps wrap at 2^32: the difference as a signed number is right across the wrap.
    return rtp === null ? null : ((rtp - rtpStart) | 0) - (this.#levels?.outputDelay() ?? 0) * CLOCK_HZ;
  }

  /**
   * The shape of EVA's mouth now: one of the 15 visemes of Oculus lip sync, `sil` when she is silent.
   * @param {number} [aheadMs]  for a drawing that takes a while to get there: the shape it should have by then
   */
  mouth(aheadMs = 0) {
    if (this.#levels?.isRunning && !this.#speaking && this.#levels.eva() < HEARD) return "sil";
    return this.#mouth.now((rtpStart) => {
      const position = this.playout(rtpStart);
      return position === null ? null : position + (aheadMs * CLOCK_HZ) / 1000;
    });
  }

  /**
   * What the connection carries; null without one.
   * @returns {Promise<CallStats | null>}
   */
  async stats() {
    const link = this.#live?.link;
    const stats = await link?.stats().catch(() => null); // some browsers tell nothing of a closed connection
    return stats ? { ...stats, receivedPeak: this.#levels?.peak() ?? 0 } : null;
  }

  /**
   * One frame of the data channel. Frames of other kinds are left alone, so that a newer gateway can say more.
   * @param {string} frame  one JSON object
   */
  handle(frame) {
    let message;
    try {
      message = JSON.parse(frame);
    } catch {
      return;
    }
    if (typeof message?.type !== "string" || !message.type.startsWith("eva.")) return;
    const { type, ...detail } = message;
    const kind = type.slice("eva.".length);
    if (!GATEWAY_EVENTS.has(kind)) return;
    this.#note(kind, detail);
    this.#tell(kind, detail);
  }

  /** What a frame means for the call itself. @param {string} kind @param {any} detail */
  #note(kind, detail) {
    const live = this.#live;
    if (kind === "viseme") this.#mouth.add(detail);
    if (kind === "cut") this.#mouth.drop(detail.reply_id);
    if (!live) return;
    if (kind === "ready" && typeof detail.session_id === "string") this.#sessionId = detail.session_id;
    if (kind === "hangup") live.farewell = true;
    if (kind === "final" && detail.typed) {
      const index = Math.max(live.unsaid.indexOf(detail.text), 0);
      live.unsaid = live.unsaid.filter((_, i) => i !== index);
    }
    if (kind === "configured") {
      Object.assign(live.wishes, live.asked);
      live.asked = {};
    }
    if (kind === "error") delete live.asked[refusedWish(detail.code)];
  }

  /** Opens the microphone of a new call; a preview of the same one is taken over. @param {Live} live */
  async #open(live) {
    const preview = this.#preview;
    this.#preview = null;
    this.#microphoneWish += 1;
    const same = preview?.id === this.#microphoneId;
    if (preview && !same) stop(preview.stream);
    const microphone = preview && same ? preview.stream : await openMicrophone(this.#microphoneId);
    if (live.abort.signal.aborted) return stop(microphone), live.abort.signal.throwIfAborted();
    if (live.microphone) stop(microphone); // another one was chosen meanwhile
    else this.#adopt(live, microphone);
    this.#tell("devices"); // permission is there now, so devices have names
  }

  /**
   * Makes a connection, and a call in the same conversation.
   * @param {Live} live @param {RTCIceServer[]} servers @param {AbortSignal} signal
   */
  async #dial(live, servers, signal) {
    signal.throwIfAborted();
    /** @type {Link} */
    const link = new Link(this.#gateway, servers, live.microphone, {
      frame: (frame) => this.handle(frame),
      sound: (stream) => this.#hear(stream),
      media: (state) => live.link === link && this.#mediaIs(live, state),
      closed: () => live.link === link && this.#parted(live),
    });
    live.link = link;
    const track = live.microphone?.getAudioTracks()[0];
    try {
      await link.dial({
        ...Object.fromEntries(Object.entries(live.wishes).filter(([, wish]) => wish)),
        ...(this.#sessionId && { session_id: this.#sessionId }),
        ...(this.#pushToTalk && { push_to_talk: true }),
      }, signal);
    } catch (error) {
      link.close();
      throw error;
    }
    this.#sessionId = link.sessionId ?? this.#sessionId;
    // What was changed while it connected.
    if (live.microphone?.getAudioTracks()[0] !== track) await link.replaceTrack(live.microphone?.getAudioTracks()[0] ?? null);
    if (this.#pressed) this.#send({ type: "eva.press" });
  }

  /** Looks after a call that is up. @param {Live} live */
  #follow(live) {
    const { signal } = live.abort;
    addEventListener("online", () => this.#bringBack(live, "network"), { signal });
    // In Firefox and Safari there is none; on desktops it has no `type`, and changes with every estimate.
    const network = /** @type {any} */ (navigator).connection;
    let type = network?.type;
    network?.addEventListener?.("change", () => {
      if (network.type === type) return;
      type = network.type;
      if (type !== "none") this.#bringBack(live, "network");
    }, { signal });
    live.timers = [
      setInterval(() => live.link?.sample().catch(() => {}), 1000),
      setInterval(() => this.#listenForSpeech(), 50),
    ];
  }

  /** @param {Live} live @param {RTCPeerConnectionState | "silent"} state */
  #mediaIs(live, state) {
    if (live.busy || this.#live !== live) return;
    clearTimeout(live.shaky);
    if (state === "connected") return this.#setState("connected");
    if (state === "silent") return this.#bringBack(live, "media");
    if (state !== "disconnected" && state !== "failed") return;
    this.#setState("shaky");
    live.shaky = setTimeout(() => this.#bringBack(live, "media"), state === "failed" ? FAILED_MS : SHAKY_MS);
  }

  /** The far side closed the call: EVA hung up, somebody ended it, or the gateway went away. @param {Live} live */
  async #parted(live) {
    if (live.busy || this.#live !== live) return;
    live.busy = true;
    clearTimeout(live.shaky);
    const meant = live.farewell || (live.link?.isHeard &&
      await this.#gateway.goesOn(performance.now() - (live.link?.since ?? 0), live.abort.signal));
    if (this.#live !== live) return;
    live.busy = false;
    if (meant) {
      live.link?.close({ tell: false });
      this.#finish(live, "gateway", null);
    } else {
      this.#bringBack(live, "gateway");
    }
  }

  /**
   * Brings a call back: by a new path, or by a new call in the same conversation.
   * @param {Live} live @param {"network" | "media" | "gateway"} why
   */
  async #bringBack(live, why) {
    if (live.busy || this.#live !== live) return;
    if (live.farewell) return this.#finish(live, "gateway", null);
    live.busy = true;
    clearTimeout(live.shaky);
    const since = performance.now();
    this.#setState("reconnecting");
    this.#tell("reconnecting", { why });
    try {
      const how = await this.#again(live, since + GIVE_UP_MS);
      live.busy = false;
      this.#setState("connected");
      this.#tell("resumed", { how, ms: Math.round(performance.now() - since) });
      if (how === "session") live.unsaid.forEach((text) => this.#send({ type: "eva.say", text }));
    } catch (error) {
      if (this.#live !== live) return; // hung up meanwhile
      const final = error instanceof EvaError && isFinal(error);
      this.#finish(live, "lost", final ? error : new EvaError("lost", "The connection was lost.", { cause: error }));
    }
  }

  /** @param {Live} live @param {number} deadline @returns {Promise<"ice" | "session">} */
  async #again(live, deadline) {
    const hungUp = live.abort.signal;
    for (let attempt = 0; ; attempt += 1) {
      // A network that comes while something is tried on the one before ends the try, and begins the next.
      const online = new AbortController();
      addEventListener("online", () => online.abort(), { signal: online.signal });
      try {
        const signal = AbortSignal.any([hungUp, online.signal]);
        if (await this.#newPath(live, signal)) return "ice";
        await this.#newCall(live, signal);
        return "session";
      } catch (trouble) {
        hungUp.throwIfAborted();
        const error = trouble instanceof EvaError ? trouble : new EvaError("lost", String(trouble), { cause: trouble });
        if (this.#withdraw(live, error)) continue;
        const wait = Math.max(PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)], (error.retryAfter ?? 0) * 1000);
        if (isFinal(error) || performance.now() + wait > deadline) throw error;
        await pause(wait, hungUp, online.signal);
      } finally {
        online.abort();
      }
    }
  }

  /**
   * Restarts ICE, if the connection is worth it.
   * @param {Live} live @param {AbortSignal} signal
   * @returns {Promise<boolean>} false: only a new call helps
   * @throws {EvaError} if the gateway is out of reach, and nothing arrives from it either
   */
  async #newPath(live, signal) {
    const link = live.link;
    if (!link?.isOpen) return false;
    try {
      await link.restart(signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      const { code, status } = error instanceof EvaError ? error : { code: "", status: 0 };
      if (!["unreachable", "timeout", "busy"].includes(code) && (status ?? 0) < 500) return false;
      // Its pages are out of reach; the call itself may go on all the same.
      if (await link.lives(1500, signal)) return true;
      throw error;
    }
  }

  /** @param {Live} live @param {AbortSignal} signal */
  async #newCall(live, signal) {
    live.link?.close();
    this.#mouth.drop();
    live.asked = {};
    await this.#dial(live, await this.#gateway.iceServers(signal), signal);
  }

  /** Does without a wish that the gateway does not grant any more. @param {Live} live @param {EvaError} error */
  #withdraw(live, error) {
    const wish = refusedWish(error.reason);
    if (!(wish in live.wishes)) return false;
    delete live.wishes[wish];
    this.#tell("error", { code: error.reason, message: error.message });
    return true;
  }

  /** @param {Live} live @param {string} microphoneId @param {boolean} lost */
  async #replaceMicrophone(live, microphoneId, lost) {
    const wish = ++this.#microphoneWish;
    const microphone = await openMicrophone(microphoneId);
    if (this.#live !== live || wish !== this.#microphoneWish) return stop(microphone);
    const before = live.microphone;
    this.#adopt(live, microphone);
    const [track] = microphone.getAudioTracks();
    // While a call is made anew its connection may close under this; the next one takes what is in `live`.
    await live.link?.replaceTrack(track).catch(() => {});
    stop(before);
    this.#tell("microphone", { deviceId: track.getSettings().deviceId ?? "", label: track.label, lost });
  }

  /** Takes a microphone into the call. @param {Live} live @param {MediaStream} microphone */
  #adopt(live, microphone) {
    live.microphone = microphone;
    this.#gate();
    this.#levels?.listen("microphone", microphone);
    microphone.getAudioTracks()[0].onended = () => {
      if (this.#live !== live || live.microphone !== microphone) return;
      live.microphone = null;
      this.#levels?.listen("microphone", null);
      live.link?.replaceTrack(null).catch(() => {});
      // The device went away: the default one carries the call on, or the next one that is plugged in.
      this.#replaceMicrophone(live, "", true).catch((error) =>
        this.#live === live && this.#tell("error", { code: error.code ?? "no-microphone", message: error.message }));
    };
  }

  #devicesChanged() {
    this.#tell("devices");
    this.#applySpeaker();
    const live = this.#live;
    if (!live || live.microphone || live.listenOnly || this.#state === "connecting") return;
    this.#replaceMicrophone(live, "", true).catch(() => {}); // the next one may do
  }

  /** Plays on the chosen loudspeaker while it is there, else on the default one. */
  #applySpeaker() {
    if (!canChooseSpeaker) return;
    this.#sound.setSinkId(this.#speakerId).catch(() => this.#sound.setSinkId("").catch(() => {}));
    this.#levels?.speaker(this.#speakerId);
  }

  /** @param {MediaStream} stream */
  #hear(stream) {
    // Chromium decodes a remote stream only where an element plays it; the level meter alone would hear nothing.
    this.#sound.srcObject = stream;
    this.#levels?.listen("eva", stream);
    this.#sound.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#tell("blocked");
    });
  }

  #listenForSpeech() {
    const now = performance.now();
    // Where nothing is measured, what EVA says and what has sounded of it tell.
    const heard = this.#levels?.isRunning ? this.#levels.eva() >= HEARD : this.mouth() !== "sil";
    if (heard) this.#heardAt = now;
    const speaking = this.#heardAt > 0 && now - this.#heardAt < SILENT_AFTER_MS;
    if (speaking === this.#speaking) return;
    this.#speaking = speaking;
    this.#tell("speaking", { speaking });
  }

  /** Lets through what the microphone hears, or silence. */
  #gate() {
    const open = !this.#muted && (!this.#pushToTalk || this.#pressed || this.#tail !== undefined);
    this.#live?.microphone?.getAudioTracks().forEach((track) => (track.enabled = open));
  }

  /** The button is up, and what was said has been sent. */
  #letGo() {
    clearTimeout(this.#tail);
    this.#tail = undefined;
    this.#pressed = false;
    this.#gate();
  }

  /** @param {object} message @returns {boolean} whether a channel has taken it */
  #send(message) {
    return this.#live?.link?.send(message) ?? false;
  }

  /** @param {Live} live @param {"gateway" | "lost"} reason @param {EvaError | null} error */
  #finish(live, reason, error) {
    this.#free(live);
    this.#tell("end", { reason, error });
  }

  /** Gives back all that a call holds. @param {Live} live */
  #free(live) {
    if (this.#live !== live) return;
    this.#letGo();
    this.#live = null;
    clearTimeout(live.shaky);
    live.timers.forEach((timer) => clearInterval(timer));
    live.abort.abort();
    live.link?.close();
    stop(live.microphone);
    this.#sound.srcObject = null;
    this.#mouth.drop();
    this.#closeLevels();
    this.#heardAt = 0;
    if (this.#speaking) this.#tell("speaking", { speaking: (this.#speaking = false) });
    this.#setState("idle");
  }

  #closeLevels() {
    this.#levels?.close();
    this.#levels = null;
  }

  /** @param {CallState} state */
  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#tell("state", { state });
  }

  /** @param {string} kind @param {object} [detail] */
  #tell(kind, detail = {}) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/** The wish that a code of the gateway's refuses. @param {unknown} code */
function refusedWish(code) {
  const [, wish] = /^bad_(voice|language|persona|conversation)$/.exec(String(code)) ?? [];
  return /** @type {keyof Wishes} */ (wish ?? "");
}

/** Whether trying again is no use: the gateway has understood and said no. @param {EvaError} error */
function isFinal({ code, status = 0 }) {
  return code === "key" || (status >= 400 && status < 500 && ![404, 408, 409, 425, 429].includes(status));
}
