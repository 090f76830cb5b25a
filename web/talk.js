/**
 * The ways to reach EVA other than an open microphone: a button to hold (push to talk) and a line to write on.
 * In: presses, keys, text. Out: `call.press()`, `call.release()`, `call.say()`.
 */

import { texts } from "./texts.js";

/** A press shorter than this is a tap: the button stays down until the next one. */
const TAP_MS = 280;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));

/** The button that is held while one speaks. Whoever cannot hold it taps: once to begin, once to end. */
export class PushToTalk {
  /** @type {import("./eva-voice.js").EvaCall} */ #call;
  #button = $("hold");
  /** @type {"up" | "down" | "locked"} */ #held = "up";
  #since = 0;

  /** @param {import("./eva-voice.js").EvaCall} call */
  constructor(call) {
    this.#call = call;
    const button = this.#button;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.#down();
    });
    for (const kind of ["pointerup", "pointercancel"]) button.addEventListener(kind, () => this.#up());
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch is a press here
    // Screen readers and voice control click without a press before.
    button.addEventListener("click", (event) => event.detail === 0 && this.#tap());
    for (const kind of /** @type {const} */ (["keydown", "keyup"])) {
      document.addEventListener(kind, (event) => this.#key(kind, event));
    }
    addEventListener("blur", () => this.#held === "down" && this.letGo());
    call.addEventListener("state", () => call.state === "connected" || this.letGo());
  }

  /** Ends a press, whatever held it. */
  letGo() {
    if (this.#held === "up") return;
    this.#set("up");
    this.#call.release();
  }

  /** @param {"keydown" | "keyup"} kind @param {KeyboardEvent} event */
  #key(kind, event) {
    if (event.code !== "Space" || event.altKey || event.ctrlKey || event.metaKey || this.#button.hidden) return;
    const at = /** @type {Element} */ (event.target);
    const elsewhere = at !== this.#button && at.closest("input, select, textarea, button, a, dialog, [popover]");
    if (elsewhere) return;
    event.preventDefault(); // no click, no scrolling
    if (event.repeat) return;
    if (kind === "keydown") this.#down();
    else this.#up();
  }

  #tap() {
    if (this.#held === "up") {
      this.#press();
      this.#set("locked");
    } else this.letGo();
  }

  #down() {
    if (this.#held === "locked") return this.letGo();
    if (this.#held === "up") this.#press();
  }

  #up() {
    if (this.#held !== "down") return;
    if (performance.now() - this.#since < TAP_MS) this.#set("locked");
    else this.letGo();
  }

  #press() {
    if (this.#call.state !== "connected") return;
    this.#since = performance.now();
    this.#set("down");
    this.#call.press();
  }

  /** @param {"up" | "down" | "locked"} held */
  #set(held) {
    this.#held = held;
    this.#button.setAttribute("aria-pressed", String(held !== "up"));
    $("hold-label").textContent = held === "up" ? texts.hold : held === "down" ? texts.holding : texts.held;
  }
}

/** The line to write on. @param {import("./eva-voice.js").EvaCall} call */
export function composer(call) {
  /** @type {HTMLInputElement} */ const line = $("say");
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = line.value.trim();
    if (!text || call.state !== "connected") return;
    call.say(text);
    line.value = "";
  });
}
