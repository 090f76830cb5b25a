/**
 * One connection to the gateway: sound both ways and the channel of events. In: a microphone's track and what the
 * call should be like. Out: EVA's sound, frames, and the news that media stopped or the channel closed. It can find
 * a new path (ICE restart) as long as the gateway knows its call; it never makes a second call.
 */

import { EvaError } from "./eva-gateway.js";

/** Samples a second of the media clock: RTP timestamps of Opus count at 48 kHz (RFC 7587, section 4.1). */
export const CLOCK_HZ = 48000;

/** How long the media may take to connect once the answer is there. */
const MEDIA_TIMEOUT_MS = 12000;
/** The same for a new path of a call that is there already, and for the answer about it: then a new call is better. */
const RESTART_TIMEOUT_MS = 5000;
/** Nothing at all arrived for so many samples, a second apart: the path is dead. Browsers ask each other more often. */
const DEAD_AFTER_SAMPLES = 4;
/** Shares are told over so many samples. */
const WINDOW_SAMPLES = 6;
/** The media clock is carried forward at most this far past the last frame that sounded. */
const CARRY_MS = 120;

/**
 * @typedef {object} CallStats
 * @property {number} bytesReceived
 * @property {number} packetsReceived
 * @property {number} packetsLost
 * @property {number} lossPercent       over the last seconds
 * @property {number} concealedPercent  of the sound of the last seconds, made up in place of what was lost
 * @property {number} jitterMs
 * @property {number | null} roundTripMs
 * @property {string} codec             "Opus 48 kHz"; empty until it is known
 * @property {"udp" | "tcp" | "relay" | ""} transport  empty until it is known
 * @property {number} receivedKbps      over the last seconds
 * @property {number} sentKbps          over the last seconds
 * @property {number} receivedEnergy    sum of squared levels × seconds since the call began (`totalAudioEnergy`)
 * @property {number} receivedSeconds   seconds of sound received (`totalSamplesDuration`)
 * @property {number} receivedPeak      loudest level heard so far, 0 to 1, measured on the sound itself
 * @property {number} bytesSent
 *
 * What a link tells. `media` says how the path does; `silent`, that nothing arrives though the browser sees no harm.
 * @typedef {object} Listener
 * @property {(frame: string) => void} frame
 * @property {(stream: MediaStream) => void} sound
 * @property {(state: RTCPeerConnectionState | "silent") => void} media
 * @property {() => void} closed  the far side closed the channel
 *
 * @typedef {{at: number, life: number, received: number, lost: number, late: number, concealed: number, samples: number,
 *   bytesReceived: number, bytesSent: number}} Sample
 */

export class Link {
  /** The gateway's name for the call. @type {string | null} */
  id = null;
  /** The conversation's name, where the gateway keeps conversations. @type {string | null} */
  sessionId = null;
  /** When media and events could flow, `performance.now()`; 0 before. */
  since = 0;
  #closed = false;
  /** @type {(reason: unknown) => void} */ #end = () => {};
  /** Rejected when the connection is closed from here. @type {Promise<never>} */ #over;
  #gateway;
  #pc;
  #channel;
  #sender;
  #clock = new MediaClock();
  /** @type {Sample[]} */ #samples = [];
  #unheard = 0;
  /** @type {() => void} */ #silent;

  /**
   * @param {import("./eva-gateway.js").Gateway} gateway
   * @param {RTCIceServer[]} iceServers
   * @param {MediaStream | null} microphone
   * @param {Listener} tell
   */
  constructor(gateway, iceServers, microphone, tell) {
    this.#gateway = gateway;
    this.#over = new Promise((_, reject) => (this.#end = reject));
    this.#over.catch(() => {});
    this.#pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers });
    this.#sender = this.#pc.addTransceiver(microphone?.getAudioTracks()[0] ?? "audio", {
      direction: "sendrecv", streams: microphone ? [microphone] : [],
    }).sender;
    this.#pc.ontrack = ({ track, streams }) => tell.sound(streams[0] ?? new MediaStream([track]));
    this.#pc.onconnectionstatechange = () => this.#closed || !this.since || tell.media(this.#pc.connectionState);
    this.#channel = this.#pc.createDataChannel("oai-events");
    this.#channel.onmessage = (event) => this.#closed || tell.frame(String(event.data));
    this.#channel.onclose = () => this.#closed || !this.since || tell.closed();
    this.#silent = () => tell.media("silent");
  }

  /**
   * Calls. Resolves when media and events can flow.
   * @param {object} wishes
   * @param {AbortSignal} signal
   */
  async dial(wishes, signal) {
    const pc = this.#pc;
    await this.#whileOpen(this.#describe());
    const answer = await this.#gateway.offer({ sdp: pc.localDescription?.sdp, ...wishes }, signal);
    if (typeof answer?.call_id === "string") this.id = answer.call_id;
    if (typeof answer?.session_id === "string") this.sessionId = answer.session_id;
    signal.throwIfAborted();
    await this.#accept(answer);
    const up = () => pc.connectionState === "connected" && this.#channel.readyState === "open";
    await until(up, () => pc.connectionState === "failed" || this.#closed, [
      [pc, "connectionstatechange"], [this.#channel, "open"],
    ], MEDIA_TIMEOUT_MS, signal);
    this.since = performance.now();
  }

  /** Whether a new path may be worth a try: the far side has not closed this connection. */
  get isOpen() {
    return !this.#closed && this.id !== null && this.#channel.readyState === "open" && this.#pc.connectionState !== "closed";
  }

  /** Whether something has arrived in the last seconds. */
  get isHeard() {
    return this.#unheard < DEAD_AFTER_SAMPLES - 1;
  }

  /**
   * Finds a new path for the same call. Resolves when something arrived on it.
   * @param {AbortSignal} signal
   * @throws {EvaError} with status 404 if the gateway does not know the call any more
   */
  async restart(signal) {
    const pc = this.#pc;
    const servers = await this.#gateway.iceServers(signal); // their passwords may be old by now
    signal.throwIfAborted();
    if (servers.length) pc.setConfiguration({ ...pc.getConfiguration(), iceServers: servers });
    await this.#whileOpen(this.#describe({ iceRestart: true }));
    const answer = await this.#gateway.offer({ sdp: pc.localDescription?.sdp, pc_id: this.id }, signal, RESTART_TIMEOUT_MS);
    signal.throwIfAborted();
    await this.#accept(answer);
    if (!(await this.lives(RESTART_TIMEOUT_MS, signal))) throw noMedia();
    this.#unheard = 0;
  }

  /**
   * Whether something arrives within the time.
   * @param {number} limitMs
   * @param {AbortSignal} signal
   */
  async lives(limitMs, signal) {
    const before = lifeOf(await this.#pc.getStats());
    for (const end = performance.now() + limitMs; performance.now() < end;) {
      await pause(100, signal);
      if (!this.isOpen) return false;
      if (this.#pc.connectionState === "connected" && lifeOf(await this.#pc.getStats()) > before) return true;
    }
    return false;
  }

  /** Sends a frame; false if the channel is not open. @param {object} message */
  send(message) {
    if (this.#closed || this.#channel.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** @param {MediaStreamTrack | null} track  null: nothing is sent */
  async replaceTrack(track) {
    if (!this.#closed) await this.#sender.replaceTrack(track);
  }

  /** The RTP timestamp that sounds now; null before anything has. */
  rtpNow() {
    return this.#clock.now(this.#pc.getReceivers().find(({ track }) => track.kind === "audio"));
  }

  /** To be called once a second: remembers the counters, and notices when nothing arrives. */
  async sample() {
    if (this.#closed || !this.since) return;
    const report = await this.#pc.getStats();
    if (this.#closed) return;
    const before = this.#samples.at(-1);
    const now = sampleOf(report);
    this.#samples.push(now);
    if (this.#samples.length > WINDOW_SAMPLES) this.#samples.shift();
    this.#unheard = before && now.life <= before.life ? this.#unheard + 1 : 0;
    if (this.#unheard === DEAD_AFTER_SAMPLES) this.#silent();
  }

  /** @returns {Promise<Omit<CallStats, "receivedPeak">>} */
  async stats() {
    const report = await this.#pc.getStats();
    const now = sampleOf(report);
    return { ...countersOf(report), ...pathOf(report), ...ratesOf(this.#samples[0] ?? now, now) };
  }

  /** Ends the connection; the gateway is told unless it has ended the call itself. */
  close({ tell = true } = {}) {
    if (this.#closed) return;
    this.#closed = true;
    this.#end(new EvaError("cancelled", "The connection was closed."));
    this.#channel.close();
    this.#pc.close();
    if (tell && this.id !== null) this.#gateway.hangUp(this.id);
  }

  /** @param {RTCOfferOptions} [options] */
  async #describe(options) {
    await this.#pc.setLocalDescription(await this.#pc.createOffer(options));
  }

  /**
   * A closed connection leaves what it was asked for open for ever (WebRTC, section 4.3.3): that is waited for as
   * long as it is open.
   * @template T
   * @param {Promise<T>} asked
   * @returns {Promise<T>}
   */
  #whileOpen(asked) {
    return Promise.race([asked, this.#over]);
  }

  /** @param {any} answer */
  async #accept(answer) {
    if (answer?.type !== "answer" || typeof answer.sdp !== "string" || this.id === null) {
      throw new EvaError("bad-answer", "The gateway's answer is not a call.");
    }
    try {
      await this.#whileOpen(this.#pc.setRemoteDescription({ type: "answer", sdp: answer.sdp }));
    } catch (cause) {
      throw new EvaError("bad-answer", "The gateway's answer cannot be used.", { cause });
    }
  }
}

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

/**
 * Resolves once `done()` holds, asked now and at each of these events.
 * @param {() => boolean} done
 * @param {() => boolean} hopeless
 * @param {[EventTarget, string][]} events
 * @param {number} limitMs
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function until(done, hopeless, events, limitMs, signal) {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    const end = (/** @type {() => void} */ then) => {
      clearTimeout(timer);
      over.abort();
      then();
    };
    const timer = setTimeout(() => end(() => reject(noMedia())), limitMs);
    const look = () => {
      if (signal.aborted) end(() => reject(signal.reason));
      else if (done()) end(resolve);
      else if (hopeless()) end(() => reject(noMedia()));
    };
    signal.addEventListener("abort", look, { signal: over.signal });
    for (const [target, name] of events) target.addEventListener(name, look, { signal: over.signal });
    look();
  });
}

/**
 * Waits, unless the signal ends it.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @param {AbortSignal} [early]  ends the waiting without an error
 * @returns {Promise<void>}
 */
export function pause(ms, signal, early) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      early?.removeEventListener("abort", done);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    early?.addEventListener("abort", done);
    if (signal.aborted || early?.aborted) done();
  });
}

function noMedia() {
  return new EvaError("no-media", "No path for the sound could be found.");
}

/** A number that grows with whatever arrives: sound, answers and questions. @param {RTCStatsReport} report */
function lifeOf(report) {
  let life = 0;
  report.forEach((item) => {
    if (item.type === "candidate-pair") {
      life += (item.bytesReceived ?? 0) + (item.responsesReceived ?? 0) + (item.requestsReceived ?? 0);
    }
  });
  return life;
}

/** @param {RTCStatsReport} report @param {string} type @returns {any} */
function audio(report, type) {
  return [...report.values()].find((item) => item.type === type && item.kind === "audio") ?? {};
}

/** @param {RTCStatsReport} report @returns {any} the pair of addresses in use */
function pairOf(report) {
  const all = [...report.values()];
  const transport = all.find((item) => item.type === "transport" && item.selectedCandidatePairId);
  return report.get(transport?.selectedCandidatePairId) ??
    all.find((item) => item.type === "candidate-pair" && (item.selected ?? (item.nominated && item.state === "succeeded"))) ?? {};
}

/** @param {RTCStatsReport} report @returns {Sample} */
function sampleOf(report) {
  const heard = audio(report, "inbound-rtp");
  return {
    at: performance.now(), life: lifeOf(report),
    received: heard.packetsReceived ?? 0, lost: heard.packetsLost ?? 0, late: heard.packetsDiscarded ?? 0,
    concealed: (heard.concealedSamples ?? 0) - (heard.silentConcealedSamples ?? 0), samples: heard.totalSamplesReceived ?? 0,
    bytesReceived: heard.bytesReceived ?? 0, bytesSent: audio(report, "outbound-rtp").bytesSent ?? 0,
  };
}

/** @param {Sample} from @param {Sample} to */
function ratesOf(from, to) {
  /** @param {number} part @param {number} whole */
  const percent = (part, whole) => (whole > 0 ? Math.min(Math.max((100 * part) / whole, 0), 100) : 0);
  const lost = Math.max(to.lost - from.lost, 0);
  const ms = to.at - from.at;
  /** @param {number} bytes */
  const kbps = (bytes) => (ms > 0 ? Math.max((bytes * 8) / ms, 0) : 0);
  return {
    lossPercent: percent(lost, lost + to.received - from.received),
    // Where every packet has come in time, what the browser made up is the silence between EVA's sentences.
    concealedPercent: lost || to.late > from.late ? percent(to.concealed - from.concealed, to.samples - from.samples) : 0,
    receivedKbps: kbps(to.bytesReceived - from.bytesReceived),
    sentKbps: kbps(to.bytesSent - from.bytesSent),
  };
}

/** @param {RTCStatsReport} report */
function countersOf(report) {
  const heard = audio(report, "inbound-rtp");
  return {
    bytesReceived: heard.bytesReceived ?? 0,
    packetsReceived: heard.packetsReceived ?? 0,
    packetsLost: heard.packetsLost ?? 0,
    jitterMs: (heard.jitter ?? 0) * 1000,
    receivedEnergy: heard.totalAudioEnergy ?? 0,
    receivedSeconds: heard.totalSamplesDuration ?? 0,
    bytesSent: audio(report, "outbound-rtp").bytesSent ?? 0,
  };
}

/**
 * @param {RTCStatsReport} report
 * @returns {{roundTripMs: number | null, codec: string, transport: CallStats["transport"]}}
 */
function pathOf(report) {
  const pair = pairOf(report);
  const near = report.get(pair.localCandidateId) ?? {};
  const spoken = audio(report, "remote-inbound-rtp").roundTripTime;
  const seconds = pair.currentRoundTripTime ?? spoken;
  const codec = report.get(audio(report, "inbound-rtp").codecId ?? audio(report, "outbound-rtp").codecId);
  const name = codec?.mimeType?.split("/")[1] ?? "";
  return {
    roundTripMs: seconds === undefined ? null : seconds * 1000,
    codec: name && `${name[0].toUpperCase()}${name.slice(1).toLowerCase()} ${codec.clockRate / 1000} kHz`,
    transport: near.candidateType === "relay" ? "relay" : near.protocol === "tcp" ? "tcp" : near.protocol ? "udp" : "",
  };
}
