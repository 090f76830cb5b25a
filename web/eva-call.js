/**
 * `<eva-call>`: EVA-Voice as an element of any page. It joins a call (`eva-voice.js`) with a round button, a ring of
 * both voices, a line of state and, if wanted, captions. In: attributes. Out: the call, its events again on the
 * element, and sentences for people in English or French. Nothing of the page around it reaches in but the custom
 * properties and parts named in docs/embed.md; it needs no inline style or script.
 *
 *     <script type="module" src="https://eva.example/eva-call.js"></script>
 *     <eva-call src="https://eva.example" captions></eva-call>
 */

import { drawn, Ring, Words } from "./eva-call-parts.js";
import { EvaCall, EvaError } from "./eva-voice.js";

/** Events of the call that the element gives out again. */
const EVENTS = [
  "state", "ready", "partial", "final", "words", "viseme", "filler", "backchannel", "tool", "hangup", "cut", "turn",
  "speaking", "latency", "configured", "microphone", "reconnecting", "resumed", "error", "end", "blocked", "devices",
];

const english = {
  call: "Call EVA",
  cancel: "Cancel",
  hangUp: "Hang up",
  mute: "Mute",
  unmute: "Unmute",
  unlock: "Let EVA be heard",
  captions: "Captions",
  you: "You",
  interrupted: "interrupted",
  recorded: "Calls are recorded.",
  states: /** @type {Record<string, string>} */ ({
    idle: "Talk with EVA", connecting: "Connecting", shaky: "Connection interrupted", reconnecting: "Reconnecting",
    listening: "Listening", hearing: "Hearing you", thinking: "Thinking", speaking: "Speaking", muted: "Muted",
  }),
  wait: (/** @type {number} */ seconds) => `EVA is busy with other calls. Try again in ${seconds} s.`,
  ended: "The call has ended.",
  failures: /** @type {Record<string, string>} */ ({
    insecure: "Browsers give the microphone only to pages opened over https. Open this page’s https address.",
    unsupported: "This browser cannot make calls. Use a recent Chromium, Firefox or Safari.",
    permission: "The microphone was refused. Allow it for this page in the browser’s address bar, then call again.",
    "no-microphone": "No microphone was found. Plug one in or switch it on.",
    "microphone-busy": "The microphone cannot be opened. Close the program that uses it, then call again.",
    unreachable: "EVA cannot be reached. See that your network is up, then call again.",
    timeout: "EVA takes too long to answer. Call again in a moment.",
    key: "This page has no right to call EVA. Tell the people who run it.",
    busy: "EVA is busy with other calls. Try again in a moment.",
    refused: "EVA did not take the call. Try again in a moment.",
    "bad-answer": "EVA’s answer makes no sense. Reload the page, then call again.",
    "no-media": "No path for the sound was found. A firewall may block it; try another network.",
    lost: "The connection was lost. See that your network is up, then call again.",
    gateway: "Something went wrong at EVA’s side; the call goes on.",
  }),
};

/** @type {typeof english} */
const french = {
  call: "Appeler EVA",
  cancel: "Annuler",
  hangUp: "Raccrocher",
  mute: "Couper le micro",
  unmute: "Rétablir le micro",
  unlock: "Faire entendre EVA",
  captions: "Sous-titres",
  you: "Vous",
  interrupted: "interrompue",
  recorded: "Les appels sont enregistrés.",
  states: {
    idle: "Parlez avec EVA", connecting: "Connexion", shaky: "Connexion interrompue", reconnecting: "Reconnexion",
    listening: "EVA écoute", hearing: "EVA vous entend", thinking: "EVA réfléchit", speaking: "EVA parle", muted: "Micro coupé",
  },
  wait: (seconds) => `EVA est prise par d’autres appels. Réessayez dans ${seconds} s.`,
  ended: "L’appel est terminé.",
  failures: {
    insecure: "Les navigateurs ne donnent le microphone qu’aux pages ouvertes en https. Ouvrez l’adresse https de cette page.",
    unsupported: "Ce navigateur ne peut pas appeler. Prenez un Chromium, Firefox ou Safari récent.",
    permission: "Le microphone a été refusé. Autorisez-le pour cette page dans la barre d’adresse, puis rappelez.",
    "no-microphone": "Aucun microphone trouvé. Branchez-en un ou allumez-le.",
    "microphone-busy": "Le microphone ne s’ouvre pas. Fermez le programme qui s’en sert, puis rappelez.",
    unreachable: "EVA est injoignable. Vérifiez votre réseau, puis rappelez.",
    timeout: "EVA tarde trop à répondre. Rappelez dans un instant.",
    key: "Cette page n’a pas le droit d’appeler EVA. Prévenez ceux qui s’en occupent.",
    busy: "EVA est prise par d’autres appels. Réessayez dans un instant.",
    refused: "EVA n’a pas pris l’appel. Réessayez dans un instant.",
    "bad-answer": "La réponse d’EVA est incompréhensible. Rechargez la page, puis rappelez.",
    "no-media": "Le son n’a trouvé aucun chemin. Un pare-feu le bloque peut-être ; essayez un autre réseau.",
    lost: "La connexion est perdue. Vérifiez votre réseau, puis rappelez.",
    gateway: "Un problème est survenu chez EVA ; l’appel continue.",
  },
};

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host {
  --_eva: var(--eva-call-eva, light-dark(#0b6a72, #63cdd2));
  --_you: var(--eva-call-you, light-dark(#a84f12, #f0a562));
  --_end: var(--eva-call-end, light-dark(#b3261e, #c2423a));
  --_ink: var(--eva-call-ink, light-dark(#12201f, #e6efed));
  --_soft: var(--eva-call-soft, light-dark(#51605e, #9aaeac));
  --_coming: light-dark(#616e6c, #829694);
  --_rule: var(--eva-call-rule, light-dark(#c4cfcc, #334445));
  --_on: var(--eva-call-on, light-dark(#ffffff, #0a1314));
  --_paper: var(--eva-call-paper, transparent);
  --_glow: light-dark(#d5e9e8, #163a3d);
  display: inline-block; inline-size: 20rem; max-inline-size: 100%; box-sizing: border-box;
  font: 100%/1.45 var(--eva-call-font, inherit); color: var(--_ink); background: var(--_paper); text-align: center;
}
:host([hidden]) { display: none; }
[hidden] { display: none !important; }
* { box-sizing: border-box; margin: 0; }
.dial { position: relative; inline-size: var(--eva-call-size, 11rem); max-inline-size: 100%; aspect-ratio: 1; margin-inline: auto; }
.ring { display: block; inline-size: 100%; block-size: 100%; overflow: visible; }
.ring line { stroke-width: 3.4; stroke-linecap: round; transition: stroke .3s; }
.ring .eva line { stroke: var(--_eva); }
.ring .you line { stroke: var(--_you); }
.rest .ring line { stroke: var(--_rule); }
button { font: inherit; cursor: pointer; }
:focus-visible { outline: 3px solid var(--_eva); outline-offset: 3px; }
.call {
  position: absolute; inset: 19%; border: 0; border-radius: 50%; padding: 0; display: grid; place-items: center;
  color: var(--_on); background: var(--_eva); transition: background .2s, transform .12s;
}
.call:hover { background: color-mix(in srgb, var(--_eva) 88%, var(--_ink)); }
.call:active { transform: scale(.97); }
.call:focus-visible { outline-color: currentColor; outline-offset: -.5rem; }
.call svg { inline-size: 38%; block-size: 38%; fill: currentColor; transition: transform .25s; }
.up .call { color: #fff; background: var(--_end); }
.up .call:hover { background: color-mix(in srgb, var(--_end) 88%, #000); }
.up .call svg { transform: rotate(135deg); }
.state { margin-block-start: .25rem; font-weight: 600; min-block-size: 1.45em; }
.note { font-size: .8125rem; color: var(--_soft); }
.error { margin: .5rem auto 0; font-size: .9375rem; text-wrap: pretty; max-inline-size: 30ch; }
.more { display: flex; justify-content: center; flex-wrap: wrap; gap: .5rem; margin-block-start: .6rem; }
.more:not(:has(> :not([hidden]))) { display: none; }
.more button {
  min-block-size: 2.75rem; padding-inline: 1rem; font-size: .9375rem; font-weight: 500; color: var(--_ink); background: transparent;
  border: 1px solid var(--_rule); border-radius: .6rem;
}
.more button:hover { border-color: var(--_soft); }
.more button[aria-pressed="true"] { background: var(--_you); border-color: var(--_you); color: var(--_on); }
.captions {
  margin-block-start: .9rem; max-block-size: var(--eva-call-captions, 13rem); overflow-y: auto; text-align: start; border-radius: .4rem;
  scrollbar-width: thin; scrollbar-color: var(--_rule) transparent;
}
.captions ol { list-style: none; padding: 0; display: grid; gap: .7rem; }
.captions li { display: grid; }
.captions b { font-size: .8125rem; font-weight: 600; }
.captions small { font-weight: 400; color: var(--_soft); margin-inline-start: .5em; }
.captions .eva b { color: var(--_eva); }
.captions .you b { color: var(--_you); }
.captions p { text-wrap: pretty; overflow-wrap: break-word; }
.you.open p, .word { color: var(--_coming); }
.you.open p::after { content: " …"; }
.word { border-radius: .25em; transition: color .12s, background-color .3s; }
.word.heard { color: var(--_ink); }
.word.now { color: var(--_ink); background: var(--_glow); box-shadow: 0 0 0 .12em var(--_glow); }
.word.unheard { color: var(--_coming); text-decoration: line-through; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) {
  * { transition: none !important; }
}
@media (forced-colors: active) {
  .call { border: 2px solid; }
  .word.now { outline: 2px solid; }
}
`);

const PHONE = "M6.6 3.2 9 3c.5 0 1 .3 1.2.8l1.3 3.3c.2.5 0 1-.3 1.4L9.5 10a12 12 0 0 0 4.5 4.5l1.5-1.7c.4-.4.9-.5 1.4-.3l3.3 1.3"
  + "c.5.2.8.7.8 1.2l-.2 2.4c-.1 1.6-1.4 2.8-3 2.7C10.3 19.6 4.4 13.7 3.9 6.2 3.8 4.6 5 3.3 6.6 3.2z";

/** Where this script came from: the gateway, unless `src` names another. */
const HOME = new URL(".", import.meta.url).href;

export class EvaCallElement extends HTMLElement {
  static observedAttributes = ["src", "language", "voice", "persona", "key", "session", "captions", "lang"];

  #root = this.attachShadow({ mode: "open" });
  /** @type {EvaCall} */ #call;
  /** @type {string | undefined} */ #key;
  /** What the conversation is doing, as the gateway last said. */
  #turn = "listening";
  #recorded = false;
  #texts = english;
  #words;
  #ring;
  #frame = 0;
  /** @type {ReturnType<typeof make>} */ #parts;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
    this.#parts = make();
    this.#root.append(this.#parts.box);
    this.#ring = new Ring(this.#parts.ring);
    this.#words = new Words(this.#parts.captions, this.#parts.log, () => this.#texts);
    this.#call = this.#newCall();
    const { call, mute, unlock } = this.#parts;
    call.onclick = () => (this.#call.state === "idle" ? this.connect().catch(() => {}) : this.hangUp());
    mute.onclick = () => (this.muted = !this.muted);
    unlock.onclick = () => {
      unlock.hidden = true;
      this.#call.unlock().catch(() => (unlock.hidden = false));
    };
  }

  /** The call itself: levels, statistics, devices, push-to-talk. Another one after `src` has changed. */
  get call() {
    return this.#call;
  }

  /** The gateway's access key, where it wants one; an ephemeral secret is best. Never shown in the page. */
  get key() {
    return this.#key ?? this.getAttribute("key") ?? undefined;
  }

  set key(value) {
    this.#key = value;
  }

  get muted() {
    return this.#call.muted;
  }

  set muted(value) {
    this.#call.muted = value;
    this.#show();
  }

  /** Calls. Call it from a click. @throws {EvaError} */
  async connect() {
    this.#explain("");
    const wish = (/** @type {string} */ name) => this.getAttribute(name) || undefined;
    try {
      await this.#call.connect({
        key: this.key, language: wish("language"), voice: wish("voice"), persona: wish("persona"), sessionId: wish("session"),
      });
    } catch (error) {
      if (error instanceof EvaError && error.code !== "cancelled") this.#fail(error);
      this.#show();
      throw error;
    }
  }

  /** Hangs up, or cancels a call that is still connecting. */
  hangUp() {
    this.#call.hangUp();
  }

  connectedCallback() {
    this.#translate();
    this.#meet();
  }

  disconnectedCallback() {
    // An element that is only moved is connected again by then.
    queueMicrotask(() => this.isConnected || this.hangUp());
  }

  /** @param {string} name @param {string | null} before @param {string | null} value */
  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (name === "src") {
      this.hangUp();
      this.#call = this.#newCall();
      if (this.isConnected) this.#meet();
    }
    if (["language", "voice", "persona"].includes(name) && value) this.#call.configure({ [name]: value });
    if (name === "lang") this.#translate();
    this.#show();
  }

  #newCall() {
    let base = HOME;
    try {
      base = new URL(this.getAttribute("src") || HOME, location.href).href;
    } catch {
      // No address: the one that this script came from will do.
    }
    // Its files lie beside its pages, whatever the address is written like.
    const call = new EvaCall({ base: base.endsWith("/") ? base : `${base}/` });
    for (const kind of EVENTS) {
      call.addEventListener(kind, (event) => {
        if (call !== this.#call) return;
        const { detail } = /** @type {CustomEvent} */ (event);
        this.#follow(kind, detail);
        this.dispatchEvent(new CustomEvent(kind, { detail }));
      });
    }
    return call;
  }

  /** What people must know before they call. */
  async #meet() {
    const info = await this.#call.info().catch(() => null);
    this.#recorded = Boolean(info?.recording);
    this.#show();
  }

  /** @param {string} kind @param {any} detail */
  #follow(kind, detail) {
    if (kind === "state") this.#begun();
    if (kind === "turn") this.#turn = String(detail.state);
    if (kind === "blocked") this.#parts.unlock.hidden = false;
    if (kind === "error") this.#explain(this.#texts.failures[detail.code] ?? this.#texts.failures.gateway);
    if (kind === "microphone") this.#explain("");
    if (kind === "resumed" && detail.how === "session") this.#words.settle();
    if (kind === "end") {
      this.#words.settle();
      this.#parts.unlock.hidden = true;
      if (detail.error) this.#fail(detail.error);
      else if (detail.reason === "gateway") this.#explain(this.#texts.ended);
    }
    this.#words.follow(kind, detail);
    this.#show();
  }

  /** What a change of the connection's state begins. */
  #begun() {
    const { state } = this.#call;
    if (state === "connecting") {
      this.#words.clear();
      this.#turn = "listening";
    }
    if (state !== "idle" && !this.#frame) this.#draw();
  }

  /** One frame of a call: the ring, and the words that sound. */
  #draw() {
    if (this.#call.state === "idle") {
      this.#frame = 0;
      this.#ring.rest();
      return;
    }
    const { microphone, eva } = this.#call.levels();
    this.#ring.show(eva, this.#call.muted ? 0 : microphone);
    this.#words.light((rtpStart) => this.#call.playout(rtpStart));
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** @param {EvaError} error */
  #fail(error) {
    const { failures, wait } = this.#texts;
    if (error.code === "busy" && error.retryAfter) return this.#explain(wait(error.retryAfter));
    this.#explain(failures[error.code] ?? failures.refused);
  }

  /** @param {string} text */
  #explain(text) {
    this.#parts.error.hidden = !text;
    this.#parts.error.textContent = text;
  }

  #translate() {
    const lang = this.closest("[lang]")?.getAttribute("lang") || document.documentElement.lang || navigator.language;
    this.#texts = /^fr\b/i.test(lang) ? french : english;
    const { box, unlock, note, captions } = this.#parts;
    box.lang = this.#texts === french ? "fr" : "en";
    unlock.textContent = this.#texts.unlock;
    note.textContent = this.#texts.recorded;
    captions.setAttribute("aria-label", this.#texts.captions);
    this.#show();
  }

  /** Everything that follows from the call's state. */
  #show() {
    const { state, muted } = this.#call;
    const { states, call, cancel, hangUp, mute, unmute } = this.#texts;
    const parts = this.#parts;
    const up = state !== "idle";
    parts.box.className = up ? (state === "connected" ? "up" : "up rest") : "rest";
    const label = !up ? call : state === "connecting" ? cancel : hangUp;
    if (parts.call.getAttribute("aria-label") !== label) parts.call.setAttribute("aria-label", label);
    const quiet = state !== "connected" ? state : muted ? "muted" : this.#turn;
    const text = states[quiet] ?? states.listening;
    if (parts.state.textContent !== text) parts.state.textContent = text;
    parts.mute.hidden = !up || state === "connecting";
    parts.mute.textContent = muted ? unmute : mute;
    parts.mute.setAttribute("aria-pressed", String(muted));
    parts.note.hidden = !this.#recorded;
    parts.captions.hidden = !this.hasAttribute("captions") || this.#words.isEmpty;
  }
}

/** What the element is made of. */
function make() {
  const box = document.createElement("div");
  box.setAttribute("part", "box");
  /** @param {string} tag @param {string} part @param {HTMLElement} parent @returns {HTMLElement} */
  const add = (tag, part, parent) => {
    const node = document.createElement(tag);
    node.setAttribute("part", part);
    node.className = part;
    parent.append(node);
    return node;
  };
  /** @param {string} part @param {HTMLElement} parent */
  const button = (part, parent) => {
    const node = /** @type {HTMLButtonElement} */ (add("button", part, parent));
    node.type = "button";
    return node;
  };
  const dial = add("div", "dial", box);
  const ring = drawn("svg", { class: "ring", part: "ring", viewBox: "-100 -100 200 200", "aria-hidden": "true" });
  const call = button("call", dial);
  const icon = drawn("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  icon.append(drawn("path", { d: PHONE }));
  call.append(icon);
  dial.prepend(ring);
  const state = add("p", "state", box);
  state.setAttribute("role", "status");
  const note = add("p", "note", box);
  const error = add("p", "error", box);
  error.setAttribute("role", "alert");
  const more = add("div", "more", box);
  const [mute, unlock] = [button("mute", more), button("unlock", more)];
  const captions = add("div", "captions", box);
  captions.setAttribute("role", "region");
  captions.tabIndex = 0;
  captions.append(document.createElement("ol"));
  const log = add("div", "unseen", box);
  log.removeAttribute("part");
  log.setAttribute("role", "log");
  for (const node of [note, error, mute, unlock, captions]) node.hidden = true;
  return { box, ring, call, state, note, error, mute, unlock, captions, log };
}

if (!customElements.get("eva-call")) customElements.define("eva-call", EvaCallElement);
