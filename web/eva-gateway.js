/**
 * The gateway's HTTP side. In: offers and questions. Out: answers, or an `EvaError` that says what went wrong. Every
 * request ends by itself, and with the signal it was given. It knows no media.
 */

/** How long the gateway may take to answer. */
const ANSWER_TIMEOUT_MS = 15000;
/** The same for questions that somebody waits for in mid-call. */
const QUICK_TIMEOUT_MS = 3000;
/** By then a gateway that closes has fewer calls. */
const CLOSING_MS = 700;

/**
 * @typedef {"insecure" | "unsupported" | "permission" | "no-microphone" | "microphone-busy" | "no-speaker"
 *   | "unreachable" | "timeout" | "key" | "busy" | "refused" | "bad-answer" | "no-media"
 *   | "lost" | "cancelled"} FailureCode
 *
 * @typedef {{ok: boolean, status: number, headers: Headers, body: any}} Answer
 *
 * @typedef {object} GatewayInfo
 * @property {string} name
 * @property {string} version
 * @property {boolean} needs_key  calls need an access key
 * @property {boolean} [ice]      `/ice` names STUN or TURN servers for calls
 * @property {string} voice
 * @property {string} brain
 * @property {string} language    "en", "fr" or "auto"
 * @property {{name: string, language: string, speakers: number}[]} [voices]  to choose from
 * @property {string[]} [languages]  those spoken here, of "en", "fr" and "auto"
 * @property {{name: string, title: Record<string, string>, description: Record<string, string>}[]} [personas]
 * @property {string} [persona]      the default one's name
 * @property {number} [keeps_days]   how long conversations are kept; 0: not at all
 * @property {boolean} [recording]   calls are recorded: people must be told
 */

/** Why a call could not be made or did not last. `message` is English; pages show their own words by `code`. */
export class EvaError extends Error {
  /**
   * @param {FailureCode} code
   * @param {string} message
   * @param {{retryAfter?: number, status?: number, reason?: string, cause?: unknown}} [more]
   *   `retryAfter`: seconds the gateway asks to wait; `status`, `reason`: the HTTP status and the gateway's own code
   */
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = "EvaError";
    this.code = code;
    this.retryAfter = more.retryAfter;
    this.status = more.status;
    this.reason = more.reason;
  }
}

export class Gateway {
  /** Whether it names STUN or TURN servers; unknown until `info()` was asked. @type {boolean | undefined} */
  #hasIce;

  /** @param {string} base  the gateway's address */
  constructor(base) {
    this.base = base;
    /** @type {string | undefined} */
    this.key = undefined;
  }

  /** What the gateway is and wants. @returns {Promise<GatewayInfo>} */
  async info() {
    const answer = await this.#fetch("info");
    if (!answer.ok) throw failureOf(answer);
    const info = answer.body;
    if (!info || typeof info.version !== "string") {
      throw new EvaError("bad-answer", "The address does not answer like an EVA-Voice gateway.");
    }
    this.#hasIce = info.ice === true;
    return info;
  }

  /**
   * STUN and TURN servers; none if the gateway cannot say. Asked only where there may be some.
   * @param {AbortSignal} signal
   * @returns {Promise<RTCIceServer[]>}
   */
  async iceServers(signal) {
    if (this.#hasIce === false) return [];
    try {
      const { ok, body } = await this.#fetch("ice", { headers: this.#authorization(), signal });
      return ok && Array.isArray(body?.iceServers) ? body.iceServers : [];
    } catch {
      return []; // the offer will say what is wrong
    }
  }

  /**
   * Sends an offer. What comes back may be anything.
   * @param {object} offer
   * @param {AbortSignal} signal
   * @param {number} [limitMs]
   * @returns {Promise<any>}
   */
  async offer(offer, signal, limitMs = ANSWER_TIMEOUT_MS) {
    const answer = await this.#fetch("offer", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...this.#authorization() },
      body: JSON.stringify({ type: "offer", ...offer }),
      signal,
    }, limitMs);
    if (!answer.ok) throw failureOf(answer);
    return answer.body;
  }

  /** Ends a call, also from a page that is being left. @param {string} id */
  hangUp(id) {
    fetch(new URL(`calls/${encodeURIComponent(id)}`, this.base), {
      method: "DELETE", headers: this.#authorization(), keepalive: true,
    }).catch(() => {}); // the closed channel has told the gateway already
  }

  /**
   * Whether the gateway that a call was made with so long ago is still there and takes calls: then who closed the
   * call meant it. A gateway that shuts down, or another that has taken its place, does not count.
   * @param {number} ageMs  the call's
   * @param {AbortSignal} signal
   */
  async goesOn(ageMs, signal) {
    try {
      for (let look = 1; ; look += 1) {
        const [ready, health] = await Promise.all(["ready", "health"].map((path) =>
          this.#fetch(path, { signal }, QUICK_TIMEOUT_MS)));
        if (!health.ok) return false;
        const { calls, max_calls, uptime_s } = health.body;
        if (uptime_s + 2 < ageMs / 1000) return false;
        if (ready.ok) return true;
        // It takes no calls: because all lines are taken, or because it closes and they are about to end.
        if (calls < max_calls) return false;
        if (look === 2) return true;
        await new Promise((resolve) => setTimeout(resolve, CLOSING_MS));
      }
    } catch {
      return false;
    }
  }

  /** @param {string} path @param {RequestInit} [init] @returns {Promise<Answer>} */
  async #fetch(path, init = {}, limitMs = ANSWER_TIMEOUT_MS) {
    const own = new AbortController();
    const forward = () => own.abort();
    if (init.signal?.aborted) forward();
    init.signal?.addEventListener("abort", forward);
    let late = false;
    const timer = setTimeout(() => ((late = true), own.abort()), limitMs);
    try {
      const response = await fetch(new URL(path, this.base), { cache: "no-store", ...init, signal: own.signal });
      const text = await response.text();
      return { ok: response.ok, status: response.status, headers: response.headers, body: parsed(text) };
    } catch (cause) {
      throw late
        ? new EvaError("timeout", "The gateway takes too long to answer.", { cause })
        : new EvaError("unreachable", "The gateway cannot be reached.", { cause });
    } finally {
      clearTimeout(timer);
      init.signal?.removeEventListener("abort", forward);
    }
  }

  /** @returns {Record<string, string>} */
  #authorization() {
    return this.key ? { Authorization: `Bearer ${this.key}` } : {};
  }
}

/** @param {string} text @returns {any} null where it is no JSON */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {Answer} answer @returns {EvaError} */
function failureOf({ status, headers, body }) {
  const message = typeof body?.error?.message === "string" ? body.error.message : `The gateway said ${status}.`;
  const reason = typeof body?.error?.code === "string" ? body.error.code : undefined;
  if (status === 401 || status === 403) return new EvaError("key", message, { status, reason });
  if (status === 503 || status === 429) {
    const wait = Number.parseInt(headers.get("Retry-After") ?? "", 10);
    return new EvaError("busy", message, { status, reason, retryAfter: Number.isFinite(wait) ? wait : undefined });
  }
  return new EvaError("refused", message, { status, reason });
}
