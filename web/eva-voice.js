/**
 * EVA-Voice in any web page: one class, no dependency.
 *
 * In: a person's microphone. Out: EVA's sound (played by the call itself) and
 * events that say what was heard, what is said and how fast. The call owns its
 * microphone, its peer connection and its audio element and frees all three
 * when it ends. It draws nothing: that is the page's part.
 *
 *     import { EvaCall } from "/eva-voice.js";
 *     const call = new EvaCall();
 *     call.addEventListener("final", (e) => console.log("you:", e.detail.text));
 *     call.addEventListener("words", (e) => console.log("EVA:", e.detail.text));
 *     button.onclick = () => (call.state === "idle" ? call.connect() : call.hangUp());
 */

/** Samples a second of the media clock: RTP timestamps of Opus count at 48 kHz (RFC 7587, section 4.1). */
export const CLOCK_HZ = 48000;

/** How long the gateway may take to answer the offer. */
const ANSWER_TIMEOUT_MS = 15000;
/** How long the media may take to connect once the answer is there. */
const MEDIA_TIMEOUT_MS = 12000;
/** How long a broken connection may stay broken before the call counts as lost. */
const LOST_AFTER_MS = 8000;
/** The media clock is carried forward at most this far past the last frame that sounded. */
const CARRY_MS = 120;
/** Levels below this are shown as none, those above `LEVEL_CEILING_DB` as full. */
const LEVEL_FLOOR_DB = -56;
const LEVEL_CEILING_DB = -8;

/**
 * @typedef {"idle" | "connecting" | "connected" | "shaky"} CallState
 *   `shaky`: media stopped arriving; the call is lost if that lasts.
 *
 * @typedef {"insecure" | "unsupported" | "permission" | "no-microphone" | "microphone-busy"
 *   | "unreachable" | "timeout" | "key" | "busy" | "refused" | "bad-answer" | "no-media"
 *   | "lost" | "cancelled"} FailureCode
 *
 * @typedef {object} GatewayInfo
 * @property {string} name
 * @property {string} version
 * @property {boolean} needs_key  calls need an access key
 * @property {boolean} [ice]      `/ice` names STUN or TURN servers for calls
 * @property {string} voice
 * @property {string} brain
 * @property {string} language    "en", "fr" or "auto"
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
 * @typedef {object} CallStats
 * @property {number} bytesReceived
 * @property {number} packetsReceived
 * @property {number} packetsLost
 * @property {number} jitterMs
 * @property {number | null} roundTripMs
 * @property {number} receivedEnergy    sum of squared levels × seconds since the call began (`totalAudioEnergy`)
 * @property {number} receivedSeconds   seconds of sound received (`totalSamplesDuration`)
 * @property {number} receivedPeak      loudest level heard so far, 0 to 1, measured on the sound itself
 * @property {number} bytesSent
 */

/** Why a call could not be made or did not last. `message` is English; pages show their own words by `code`. */
export class EvaError extends Error {
  /**
   * @param {FailureCode} code
   * @param {string} message
   * @param {{retryAfter?: number, cause?: unknown}} [more]  `retryAfter`: seconds the gateway asks to wait
   */
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = "EvaError";
    this.code = code;
    this.retryAfter = more.retryAfter;
  }
}

/**
 * What one live call holds; dropped as a whole when it ends.
 * @typedef {object} Live
 * @property {AbortController} abort       ends whatever is still under way
 * @property {RTCPeerConnection | null} pc
 * @property {RTCDataChannel | null} channel
 * @property {RTCRtpSender | null} sender
 * @property {MediaStream | null} microphone
 * @property {string | null} id            the gateway's name for the call
 * @property {string | undefined} key
 * @property {number | undefined} lostTimer
 */

/**
 * What a call may ask for; what is left out is the gateway's choice.
 * @typedef {{language?: string, conversation?: object}} Wishes
 */

/**
 * One line to a gateway. It can be called again after it ended.
 *
 * Events (`CustomEvent`, data in `detail`):
 * - `state` `{state}`: the connection, a {@link CallState}
 * - `ready` `{call_id, voice, brain, language}`
 * - `partial` `{text}`: the person's words so far; `final` `{turn_id, text}`: as understood
 * - `words` {@link Words}; line them up with {@link EvaCall#playout}
 * - `viseme` `{reply_id, track, rtp_start}`: the mouth's shapes for that sentence, `{id, start, end}` like words
 * - `filler` `{reply_id, text, rtp_start, rtp_end}`: the reply is late, something short sounds in its place
 * - `backchannel` `{text, rtp_start, rtp_end}`: EVA says "mhm" while the person has the floor
 * - `tool` `{reply_id, name, ok}`: a tool runs for a reply; with `ok` it has ended
 * - `hangup` `{reason}`: EVA ends the call, after `silence` or because it is `too_long`
 * - `cut` `{reply_id, heard_text, rtp_at}`: EVA was interrupted; the rest was never heard
 * - `turn` `{state}`: `listening`, `hearing`, `thinking` or `speaking`
 * - `latency` `{turn_id, parts_ms, total_ms}`
 * - `error` `{code, message}`: trouble in a call that lives on (the gateway's, or the microphone's)
 * - `end` `{reason, error}`: `reason` is `hangup`, `gateway` or `lost`
 * - `blocked`: the browser wants a click before it plays sound; call {@link EvaCall#unlock} from one
 * - `devices`: microphones came or went
 */
export class EvaCall extends EventTarget {
  /** @type {string} */ #base;
  /** @type {CallState} */ #state = "idle";
  /** @type {Live | null} */ #live = null;
  #muted = false;
  #sound = new Audio();
  /** @type {Levels | null} */ #levels = null;
  #clock = new MediaClock();
  /** Whether the gateway names STUN or TURN servers; unknown until `info()` was asked. @type {boolean | undefined} */
  #hasIce;

  /** @param {{base?: string}} [options]  `base`: the gateway's address; this page's own by default */
  constructor({ base = "/" } = {}) {
    super();
    this.#base = new URL(base, location.href).href;
    this.#sound.autoplay = true;
    this.#sound.setAttribute("playsinline", "");
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.#tell("devices"));
    // A page that goes away takes its call with it, also into the back-forward cache.
    addEventListener("pagehide", () => this.hangUp());
  }

  /** @returns {CallState} */
  get state() {
    return this.#state;
  }

  /** The gateway's name for the call, or null. */
  get id() {
    return this.#live?.id ?? null;
  }

  /** Muted: the microphone sends silence. Kept from call to call. */
  get muted() {
    return this.#muted;
  }

  set muted(value) {
    this.#muted = Boolean(value);
    this.#live?.microphone?.getAudioTracks().forEach((track) => (track.enabled = !this.#muted));
  }

  /**
   * What the gateway is and wants.
   * @returns {Promise<GatewayInfo>}
   */
  async info() {
    const response = await this.#fetch("info", {}, new AbortController());
    if (!response.ok) throw await failureOf(response);
    const info = await response.json().catch(() => null);
    if (!info || typeof info.version !== "string") {
      throw new EvaError("bad-answer", "The address does not answer like an EVA-Voice gateway.");
    }
    this.#hasIce = info.ice === true;
    return info;
  }

  /**
   * Microphones by name. Before the person has allowed one, browsers name none and the list is empty.
   * @returns {Promise<MediaDeviceInfo[]>}
   */
  async microphones() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    return all.filter((device) => device.kind === "audioinput" && device.deviceId && device.label);
  }

  /**
   * Calls. Resolves when sound can flow both ways. Call it from a click, so that the browser lets EVA be heard.
   * @param {{microphoneId?: string, key?: string, language?: string, conversation?: object}} [options]
   *   `language`: "en", "fr" or "auto"; the gateway's own without it.
   *   `conversation`: changes to the conversation's settings, `{backchannels: {on: false}}`
   * @throws {EvaError} with code `cancelled` if `hangUp()` came first
   */
  async connect({ microphoneId, key, language, conversation } = {}) {
    if (this.#live) throw new EvaError("refused", "This call is already under way.");
    /** @type {Live} */
    const live = {
      abort: new AbortController(), pc: null, channel: null, sender: null,
      microphone: null, id: null, key: key || undefined, lostTimer: undefined,
    };
    this.#live = live;
    this.#clock = new MediaClock();
    this.#setState("connecting");
    try {
      this.#levels = new Levels(); // within the click: audio contexts start only from one
      await this.#establish(live, microphoneId, { language, conversation });
    } catch (error) {
      const failure = live.abort.signal.aborted
        ? new EvaError("cancelled", "The call was cancelled.")
        : error instanceof EvaError ? error
        : new EvaError("refused", `The call could not be made: ${error}`, { cause: error });
      this.#free(live);
      throw failure;
    }
  }

  /** Hangs up, or cancels a call that is still connecting. The gateway is told. */
  hangUp() {
    const live = this.#live;
    if (!live) return;
    const wasUp = this.#state !== "connecting";
    this.#free(live);
    if (wasUp) this.#tell("end", { reason: "hangup", error: null });
  }

  /**
   * Changes the microphone, in mid-call too.
   * @param {string} microphoneId  a device id, or "" for the default one
   */
  async setMicrophone(microphoneId) {
    const live = this.#live;
    if (!live?.sender) return;
    const microphone = await openMicrophone(microphoneId);
    if (this.#live !== live) return stop(microphone);
    const before = live.microphone;
    this.#adopt(live, microphone);
    await live.sender.replaceTrack(microphone.getAudioTracks()[0]);
    stop(before);
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
    const receiver = this.#live?.pc?.getReceivers().find((r) => r.track.kind === "audio");
    const rtp = this.#clock.now(receiver);
    // Timestamps wrap at 2^32: the difference as a signed number is right across the wrap.
    return rtp === null ? null : ((rtp - rtpStart) | 0) - (this.#levels?.outputDelay() ?? 0) * CLOCK_HZ;
  }

  /**
   * What the connection has carried so far; null without one.
   * @returns {Promise<CallStats | null>}
   */
  async stats() {
    const pc = this.#live?.pc;
    if (!pc) return null;
    /** @type {CallStats} */
    const out = {
      bytesReceived: 0, packetsReceived: 0, packetsLost: 0, jitterMs: 0, roundTripMs: null,
      receivedEnergy: 0, receivedSeconds: 0, receivedPeak: this.#levels?.peak() ?? 0, bytesSent: 0,
    };
    for (const item of (await pc.getStats()).values()) {
      if (item.type === "inbound-rtp" && item.kind === "audio") {
        out.bytesReceived = item.bytesReceived ?? 0;
        out.packetsReceived = item.packetsReceived ?? 0;
        out.packetsLost = item.packetsLost ?? 0;
        out.jitterMs = (item.jitter ?? 0) * 1000;
        out.receivedEnergy = item.totalAudioEnergy ?? 0;
        out.receivedSeconds = item.totalSamplesDuration ?? 0;
      } else if (item.type === "outbound-rtp" && item.kind === "audio") {
        out.bytesSent = item.bytesSent ?? 0;
      } else if (item.type === "candidate-pair" && item.nominated && item.currentRoundTripTime !== undefined) {
        out.roundTripMs = item.currentRoundTripTime * 1000;
      }
    }
    return out;
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
    if (GATEWAY_EVENTS.has(kind)) this.#tell(kind, detail);
  }

  /** @param {Live} live @param {string | undefined} microphoneId @param {Wishes} wishes */
  async #establish(live, microphoneId, wishes) {
    // Asked while the microphone opens, and only where there are some: most calls wait for nothing.
    const servers = this.#hasIce === false ? [] : this.#iceServers(live);
    const microphone = await openMicrophone(microphoneId);
    if (live.abort.signal.aborted) return stop(microphone), live.abort.signal.throwIfAborted();
    const pc = (live.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: await servers }));
    live.sender = pc.addTransceiver(microphone.getAudioTracks()[0], {
      direction: "sendrecv", streams: [microphone],
    }).sender;
    this.#adopt(live, microphone);
    this.#tell("devices"); // permission is there now, so microphones have names
    pc.ontrack = ({ track, streams }) => this.#hear(streams[0] ?? new MediaStream([track]));
    live.channel = pc.createDataChannel("oai-events");
    live.channel.onmessage = (event) => this.handle(String(event.data));
    const connected = this.#watch(live, pc, live.channel);
    connected.catch(() => {}); // awaited below; a failure before that is the earlier one's

    await pc.setLocalDescription(await pc.createOffer());
    const answer = await this.#offer(live, pc, wishes);
    live.abort.signal.throwIfAborted();
    try {
      await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch (cause) {
      throw new EvaError("bad-answer", "The gateway's answer cannot be used.", { cause });
    }
    await connected;
  }

  /** @param {Live} live @param {RTCPeerConnection} pc @param {Wishes} wishes */
  async #offer(live, pc, wishes) {
    const sdp = pc.localDescription?.sdp;
    const response = await this.#fetch("offer", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...authorization(live.key) },
      body: JSON.stringify({ type: "offer", sdp, ...wishes }),
    }, live.abort);
    if (!response.ok) throw await failureOf(response);
    const answer = await response.json().catch(() => null);
    if (typeof answer?.call_id === "string") live.id = answer.call_id;
    if (answer?.type !== "answer" || typeof answer.sdp !== "string" || live.id === null) {
      throw new EvaError("bad-answer", "The gateway's answer is not a call.");
    }
    return answer;
  }

  /**
   * A request that ends by itself, and with the call.
   * @param {string} path @param {RequestInit} init @param {AbortController} abort
   */
  async #fetch(path, init, abort) {
    const own = new AbortController();
    const forward = () => own.abort();
    abort.signal.addEventListener("abort", forward);
    let late = false;
    const timer = setTimeout(() => ((late = true), own.abort()), ANSWER_TIMEOUT_MS);
    try {
      return await fetch(new URL(path, this.#base), { cache: "no-store", ...init, signal: own.signal });
    } catch (cause) {
      throw late
        ? new EvaError("timeout", "The gateway takes too long to answer.", { cause })
        : new EvaError("unreachable", "The gateway cannot be reached.", { cause });
    } finally {
      clearTimeout(timer);
      abort.signal.removeEventListener("abort", forward);
    }
  }

  /**
   * Follows the connection for as long as the call lives.
   * @param {Live} live @param {RTCPeerConnection} pc @param {RTCDataChannel} channel
   * @returns {Promise<void>} resolved when media and events can flow
   */
  #watch(live, pc, channel) {
    return new Promise((resolve, reject) => {
      const noMedia = () => reject(new EvaError("no-media", "No path for the sound could be found."));
      live.abort.signal.addEventListener("abort", () => reject(live.abort.signal.reason));
      let timer = 0;
      pc.addEventListener("signalingstatechange", () => {
        if (pc.signalingState === "stable" && !timer) timer = window.setTimeout(noMedia, MEDIA_TIMEOUT_MS);
      });
      const up = () => {
        if (pc.connectionState !== "connected" || channel.readyState !== "open" || this.#live !== live) return;
        clearTimeout(timer);
        clearTimeout(live.lostTimer);
        this.#setState("connected");
        resolve();
      };
      channel.addEventListener("open", up);
      channel.addEventListener("close", () => this.#ended(live, "gateway"));
      pc.addEventListener("connectionstatechange", () => {
        if (pc.connectionState === "connected") return up();
        if (this.#state === "connecting") return pc.connectionState === "failed" && noMedia();
        if (pc.connectionState === "failed") return this.#ended(live, "lost");
        if (pc.connectionState === "disconnected" && this.#live === live) {
          this.#setState("shaky");
          live.lostTimer = window.setTimeout(() => this.#ended(live, "lost"), LOST_AFTER_MS);
        }
      });
    });
  }

  /**
   * The gateway's STUN and TURN servers; none if it cannot say.
   * @param {Live} live
   * @returns {Promise<RTCIceServer[]>}
   */
  async #iceServers(live) {
    try {
      const response = await this.#fetch("ice", { headers: authorization(live.key) }, live.abort);
      const body = response.ok ? await response.json() : null;
      return Array.isArray(body?.iceServers) ? body.iceServers : [];
    } catch {
      return []; // the offer will say what is wrong
    }
  }

  /** Takes a microphone into the call. @param {Live} live @param {MediaStream} microphone */
  #adopt(live, microphone) {
    live.microphone = microphone;
    const [track] = microphone.getAudioTracks();
    track.enabled = !this.#muted;
    this.#levels?.listen("microphone", microphone);
    track.onended = async () => {
      if (this.#live !== live || live.microphone !== microphone) return;
      // The device went away: another one carries the call on.
      await this.setMicrophone("").catch((error) =>
        this.#tell("error", { code: error.code ?? "no-microphone", message: error.message }));
    };
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

  /** @param {Live} live @param {"gateway" | "lost"} reason */
  #ended(live, reason) {
    if (this.#live !== live) return;
    if (this.#state === "connecting") return; // connect() reports it
    this.#free(live);
    const error = reason === "lost" ? new EvaError("lost", "The connection was lost.") : null;
    this.#tell("end", { reason, error });
  }

  /** @param {Live} live */
  #free(live) {
    if (this.#live !== live) return;
    this.#live = null;
    clearTimeout(live.lostTimer);
    live.abort.abort();
    live.channel?.close();
    live.pc?.close();
    stop(live.microphone);
    this.#sound.srcObject = null;
    this.#levels?.close();
    this.#levels = null;
    if (live.id !== null) {
      // keepalive: the request outlives a page that is being left.
      fetch(new URL(`calls/${encodeURIComponent(live.id)}`, this.#base), {
        method: "DELETE", headers: authorization(live.key), keepalive: true,
      }).catch(() => {}); // the closed channel has told the gateway already
    }
    this.#setState("idle");
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

const GATEWAY_EVENTS = new Set([
  "ready", "partial", "final", "words", "viseme", "filler", "backchannel", "cut", "turn", "latency",
  "tool", "hangup", "error",
]);

/** Where in the gateway's sound the person's ear is, in RTP time. */
class MediaClock {
  /** @type {number | null} */ #last = null;

  /** @param {RTCRtpReceiver | undefined} receiver */
  now(receiver) {
    const source = receiver?.getSynchronizationSources?.()[0];
    if (source?.rtpTimestamp === undefined) return this.#last;
    // Browsers disagree on the zero of `timestamp`: the page's time origin, or 1970.
    const now = performance.now() + (source.timestamp > 1e11 ? performance.timeOrigin : 0);
    const age = Math.min(Math.max(now - source.timestamp, 0), CARRY_MS);
    this.#last = (source.rtpTimestamp + Math.round((age * CLOCK_HZ) / 1000)) >>> 0;
    return this.#last;
  }
}

/** Level meters for both directions. */
class Levels {
  #context = new AudioContext({ latencyHint: "interactive" });
  /** @type {Map<string, {source: MediaStreamAudioSourceNode, analyser: AnalyserNode, samples: Float32Array<ArrayBuffer>}>} */
  #taps = new Map();
  #peak = 0;

  /** @param {"microphone" | "eva"} name @param {MediaStream} stream */
  listen(name, stream) {
    this.#taps.get(name)?.source.disconnect();
    const source = this.#context.createMediaStreamSource(stream);
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    source.connect(analyser);
    this.#taps.set(name, { source, analyser, samples: new Float32Array(analyser.fftSize) });
    this.resume();
  }

  resume() {
    if (this.#context.state === "suspended") this.#context.resume().catch(() => {});
  }

  now() {
    const eva = this.#rms("eva");
    this.#peak = Math.max(this.#peak, eva);
    return { microphone: shown(this.#rms("microphone")), eva: shown(eva) };
  }

  peak() {
    this.now();
    return this.#peak;
  }

  /** Seconds from the browser's mixer to the loudspeaker, as far as the browser knows. */
  outputDelay() {
    return Math.min(this.#context.outputLatency || 0, 0.5);
  }

  close() {
    this.#taps.forEach(({ source }) => source.disconnect());
    this.#context.close().catch(() => {});
  }

  /** @param {string} name @returns {number} */
  #rms(name) {
    const tap = this.#taps.get(name);
    if (!tap) return 0;
    tap.analyser.getFloatTimeDomainData(tap.samples);
    return Math.sqrt(tap.samples.reduce((sum, x) => sum + x * x, 0) / tap.samples.length);
  }
}

/** @param {number} rms @returns {number} 0 to 1, even in decibels */
function shown(rms) {
  const db = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(Math.max((db - LEVEL_FLOOR_DB) / (LEVEL_CEILING_DB - LEVEL_FLOOR_DB), 0), 1);
}

/**
 * @param {string | undefined} microphoneId
 * @returns {Promise<MediaStream>}
 */
async function openMicrophone(microphoneId) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw window.isSecureContext
      ? new EvaError("unsupported", "This browser cannot make calls.")
      : new EvaError("insecure", "Browsers give the microphone only to pages opened over https.");
  }
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  try {
    if (microphoneId) {
      try {
        return await navigator.mediaDevices.getUserMedia({ audio: { ...audio, deviceId: { exact: microphoneId } } });
      } catch (error) {
        // The chosen one is not plugged in any more: the default one will do.
        if (!["OverconstrainedError", "NotFoundError"].includes(/** @type {Error} */ (error).name)) throw error;
      }
    }
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (cause) {
    const { name } = /** @type {Error} */ (cause);
    if (name === "NotAllowedError" || name === "SecurityError") {
      throw new EvaError("permission", "The microphone was not allowed.", { cause });
    }
    if (name === "NotFoundError" || name === "OverconstrainedError") {
      throw new EvaError("no-microphone", "There is no microphone.", { cause });
    }
    throw new EvaError("microphone-busy", "The microphone cannot be opened.", { cause });
  }
}

/** @param {MediaStream | null} stream */
function stop(stream) {
  stream?.getTracks().forEach((track) => {
    track.onended = null;
    track.stop();
  });
}

/** @param {string | undefined} key @returns {Record<string, string>} */
function authorization(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** @param {Response} response @returns {Promise<EvaError>} */
async function failureOf(response) {
  const body = await response.json().catch(() => null);
  const message = typeof body?.error?.message === "string" ? body.error.message : `The gateway said ${response.status}.`;
  if (response.status === 401 || response.status === 403) return new EvaError("key", message);
  if (response.status === 503 || response.status === 429) {
    const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    return new EvaError("busy", message, { retryAfter: Number.isFinite(wait) ? wait : undefined });
  }
  return new EvaError("refused", message);
}
