/**
 * The sound at the person's side. In: device names, streams, the mouth's shapes. Out: open microphones, levels, a
 * tone to try a loudspeaker with, the shape of the mouth now. It knows no gateway and no connection.
 */

import { EvaError } from "./eva-gateway.js";

/** Levels below this are shown as none, those above `LEVEL_CEILING_DB` as full. */
const LEVEL_FLOOR_DB = -56;
const LEVEL_CEILING_DB = -8;
/** Sentences whose mouth shapes are remembered. */
const MAX_TRACKS = 64;

/** Whether people can choose the loudspeaker here. */
export const canChooseSpeaker = typeof HTMLMediaElement !== "undefined" && "setSinkId" in HTMLMediaElement.prototype;

/** Level meters for both directions. */
export class Levels {
  #context = new AudioContext({ latencyHint: "interactive" });
  /** @type {Map<string, {source: MediaStreamAudioSourceNode, analyser: AnalyserNode, samples: Float32Array<ArrayBuffer>}>} */
  #taps = new Map();
  #peak = 0;

  /** @param {"microphone" | "eva"} name @param {MediaStream | null} stream */
  listen(name, stream) {
    this.#taps.get(name)?.source.disconnect();
    this.#taps.delete(name);
    if (!stream) return;
    const source = this.#context.createMediaStreamSource(stream);
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    source.connect(analyser);
    this.#taps.set(name, { source, analyser, samples: new Float32Array(analyser.fftSize) });
    this.resume();
  }

  /** Whether anything is measured: without a click, or a loudspeaker, browsers may not begin. */
  get isRunning() {
    return this.#context.state === "running";
  }

  resume() {
    if (this.#context.state === "suspended") this.#context.resume().catch(() => {});
  }

  /** Levels now, 0 to 1, even in decibels. */
  now() {
    return { microphone: shown(this.#rms("microphone")), eva: shown(this.eva()) };
  }

  /** EVA's level now: the root mean square of the last 20 ms. */
  eva() {
    const eva = this.#rms("eva");
    this.#peak = Math.max(this.#peak, eva);
    return eva;
  }

  /** The loudest that EVA has been. */
  peak() {
    this.eva();
    return this.#peak;
  }

  /** Seconds from the browser's mixer to the loudspeaker, as far as the browser knows. */
  outputDelay() {
    return Math.min(this.#context.outputLatency || 0, 0.5);
  }

  /** Measures the delay of this loudspeaker from now on. @param {string} id */
  speaker(id) {
    // Not in every browser; what it leads to plays nothing.
    /** @type {any} */ (this.#context).setSinkId?.(id).catch(() => {});
  }

  close() {
    this.#taps.forEach(({ source }) => source.disconnect());
    this.#taps.clear();
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

/** The mouth's shapes of the sentences that sound, or will. */
export class Mouth {
  /** @type {{reply_id: unknown, rtp_start: number, track: {id: string, start: number, end: number}[]}[]} */ #tracks = [];

  /** @param {any} detail  of an `eva.viseme` */
  add({ reply_id, rtp_start, track }) {
    if (!Array.isArray(track) || !track.length || typeof rtp_start !== "number") return;
    this.#tracks.push({ reply_id, rtp_start, track });
    if (this.#tracks.length > MAX_TRACKS) this.#tracks.shift();
  }

  /** Nothing more of this reply will sound; without one, of any. @param {unknown} [reply_id] */
  drop(reply_id) {
    this.#tracks = reply_id === undefined ? [] : this.#tracks.filter((entry) => entry.reply_id !== reply_id);
  }

  /** @param {(rtpStart: number) => number | null} playout  samples that have sounded @returns {string} a viseme */
  now(playout) {
    for (const { rtp_start, track } of this.#tracks) {
      const position = playout(rtp_start);
      if (position === null) return "sil";
      const shape = track.find(({ start, end }) => start <= position && position < end);
      if (shape) return shape.id;
    }
    return "sil";
  }
}

/** Microphones and loudspeakers by name. Before the person has allowed a microphone, browsers name none. */
export async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const named = (/** @type {string} */ kind) => all.filter((device) => device.kind === kind && device.deviceId && device.label);
  return { microphones: named("audioinput"), speakers: canChooseSpeaker ? named("audiooutput") : [] };
}

/**
 * @param {string} [microphoneId]  without one, or where that one is not plugged in any more: the default one
 * @returns {Promise<MediaStream>}
 */
export async function openMicrophone(microphoneId) {
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

/** Gives a microphone back. @param {MediaStream | null | undefined} stream */
export function stop(stream) {
  stream?.getTracks().forEach((track) => {
    track.onended = null;
    track.stop();
  });
}

/** Notes of the test tone, Hz and when they begin, s: a rising fourth, E5 and A5. */
const TONE = [[659.3, 0], [880, 0.22]];
const TONE_S = 1.1;
const TONE_START_MS = 3000;

/**
 * Sounds a short tone on a loudspeaker. Resolves when it has sounded.
 * @param {string} [speakerId]  the default one without it
 */
export async function testTone(speakerId) {
  const context = new AudioContext();
  const player = new Audio();
  try {
    const out = context.createMediaStreamDestination();
    player.srcObject = out.stream;
    if (speakerId && canChooseSpeaker) await player.setSinkId(speakerId);
    await inTime(Promise.all([context.resume(), player.play()]));
    for (const [pitch, after] of TONE) strike(context, out, pitch, context.currentTime + 0.08 + after);
    await new Promise((resolve) => setTimeout(resolve, (TONE_S + context.outputLatency + 0.1 || 1.3) * 1000));
  } catch (cause) {
    throw new EvaError("no-speaker", "The loudspeaker cannot be used.", { cause });
  } finally {
    player.srcObject = null;
    context.close().catch(() => {});
  }
}

/** Browsers may wait for ever for a loudspeaker that is not there. @param {Promise<unknown>} started */
function inTime(started) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("The sound does not start.")), TONE_START_MS);
    started.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** A soft bell. @param {AudioContext} context @param {AudioNode} out @param {number} pitch @param {number} at  s */
function strike(context, out, pitch, at) {
  for (const [harmonic, loudness] of [[1, 0.16], [2, 0.03]]) {
    const tone = context.createOscillator();
    const gain = context.createGain();
    tone.frequency.value = pitch * harmonic;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(loudness, at + 0.015);
    gain.gain.exponentialRampToValueAtTime(0.0005, at + 0.8 / harmonic);
    tone.connect(gain).connect(out);
    tone.start(at);
    tone.stop(at + 0.85);
  }
}

/** @param {number} rms @returns {number} 0 to 1, even in decibels */
function shown(rms) {
  const db = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(Math.max((db - LEVEL_FLOOR_DB) / (LEVEL_CEILING_DB - LEVEL_FLOOR_DB), 0), 1);
}
