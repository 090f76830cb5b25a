/**
 * The operator's line to the gateway. In: a key. Out: answers of `/admin/…` and `/metrics`, and the state of the calls
 * as a stream that comes back by itself. Keeps the key in the tab's session storage; knows nothing of the page.
 */

const KEPT = "eva-operator-key";
/** The gateway repeats the state at least every 10 s; after so long a silence the line is dead, ms. */
const SILENCE_MS = 25_000;
/** The pause before a new try, ms, at first and at most. */
const FIRST_MS = 500, MOST_MS = 8_000;

/** What the gateway refused, or `away` if it did not answer. */
export class LinkError extends Error {
  /** @param {string} code  the gateway's, or `away` @param {number} status  HTTP's, or 0 */
  constructor(code, status) {
    super(code);
    this.code = code;
    this.status = status;
  }

  /** Whether another key may help. */
  get isKeys() {
    return this.status === 401 || this.status === 403;
  }
}

/**
 * One call, as `GET /admin/calls` tells of it (openapi.json).
 * @typedef {{id: string, began_ms: number, carrier: string, protocol: string, language: string, voice: string,
 *   persona: string | null, continued: boolean, recorded: boolean, connected: boolean, state: string, turns: number,
 *   interruptions: number, last_ms: number | null, median_ms: number | null, reconnected: boolean,
 *   wire: {transport: string | null, lost_percent: number | null, lost_by_caller_percent: number | null,
 *     jitter_ms: number | null, rtt_ms: number | null}}} CallStatus
 * @typedef {{calls: CallStatus[], max_calls: number, uptime_s: number, version: string, recording: boolean}} GatewayState
 */

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export class Link {
  /** @type {AbortController | null} */
  #following = null;

  get key() {
    return sessionStorage.getItem(KEPT) ?? "";
  }

  set key(key) {
    if (key) sessionStorage.setItem(KEPT, key);
    else sessionStorage.removeItem(KEPT);
  }

  /**
   * Asks the gateway. Throws a `LinkError`.
   * @param {string} path @param {RequestInit} [how]
   */
  async ask(path, how = {}) {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : undefined;
    const response = await fetch(path, { cache: "no-store", headers, ...how }).catch(() => null);
    if (!response) throw new LinkError("away", 0);
    if (response.ok) return response;
    const body = await response.json().catch(() => null);
    throw new LinkError(body?.error?.code ?? "away", response.status);
  }

  /** @param {string} path */
  async json(path) {
    return (await this.ask(path)).json();
  }

  /**
   * Follows the calls until `stop()`, or until the gateway wants another key.
   * @param {{state: (state: GatewayState) => void, away: () => void, refused: (error: LinkError) => void}} told
   */
  async follow(told) {
    this.stop();
    const following = this.#following = new AbortController();
    const { signal } = following;
    let wait = FIRST_MS;
    while (!signal.aborted) {
      try {
        await this.#listen(signal, (state) => {
          wait = FIRST_MS;
          if (!signal.aborted) told.state(state);
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LinkError && error.isKeys) return told.refused(error);
      }
      // A stream that ends without a word is a gateway that goes down, or a key that has.
      if (!signal.aborted) told.away();
      await pause(wait);
      wait = Math.min(2 * wait, MOST_MS);
    }
  }

  /** @param {AbortSignal} signal @param {(state: GatewayState) => void} give */
  async #listen(signal, give) {
    const silent = new AbortController();
    let patience = setTimeout(() => silent.abort(), SILENCE_MS);
    try {
      const { body } = await this.ask("/admin/events", { signal: AbortSignal.any([signal, silent.signal]) });
      if (!body) return;
      let text = "";
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(patience);
        patience = setTimeout(() => silent.abort(), SILENCE_MS);
        text += value;
        const events = text.split("\n\n");
        text = events.pop() ?? "";
        for (const event of events) {
          const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
          if (data) give(JSON.parse(data));
        }
      }
    } finally {
      clearTimeout(patience);
    }
  }

  stop() {
    this.#following?.abort();
    this.#following = null;
  }
}
