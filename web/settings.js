/**
 * What the person chooses: who answers (persona, voice, language), what is listened and spoken with, push to talk,
 * the face. In: what the gateway has (`GET /info`), the browser's devices. Out: wishes for a call, and changes to one
 * under way. Choices are remembered on this device.
 */

import { keep, recall } from "./store.js";
import { lang, texts } from "./texts.js";

/** @typedef {import("./eva-voice.js").EvaCall} EvaCall */
/** @typedef {import("./eva-voice.js").GatewayInfo} GatewayInfo */

/** @template {HTMLElement} T @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));

export class Settings {
  /** @type {EvaCall} */ #call;
  /** @type {(error: unknown) => void} */ #explain;
  /** @type {HTMLDialogElement} */ #dialog = $("settings");
  /** @type {HTMLSelectElement} */ #microphone = $("microphone");
  /** @type {HTMLSelectElement} */ #speaker = $("speaker");
  /** @type {HTMLSelectElement} */ #voice = $("voice");
  /** @type {HTMLSelectElement} */ #language = $("language");
  /** @type {HTMLInputElement} */ #push = $("push");
  /** @type {HTMLInputElement} */ #face = $("show-face");
  /** @type {GatewayInfo | null} */ #info = null;
  #persona = "";

  /**
   * @param {EvaCall} call
   * @param {{explain: (error: unknown) => void, change: () => void}} page  `change`: something visible was switched
   */
  constructor(call, { explain, change }) {
    this.#call = call;
    this.#explain = explain;
    this.#push.checked = recall("push") === "yes";
    this.#face.checked = recall("face") !== "no";
    this.#wire(change);
    this.listDevices();
  }

  get showsFace() {
    return this.#face.checked;
  }

  get pushToTalk() {
    return this.#push.checked;
  }

  /** What a call is to be like. */
  wishes() {
    return {
      microphoneId: this.#microphone.value, speakerId: this.#speaker.value, pushToTalk: this.#push.checked,
      voice: this.#voice.value || undefined, language: this.#language.value || undefined, persona: this.#persona || undefined,
    };
  }

  /** What the gateway has to choose from. @param {GatewayInfo} info */
  describe(info) {
    this.#info = info;
    const voices = (info.voices ?? []).map(({ name, language }) => {
      const spoken = texts.languages[language] ?? language;
      return new Option(spoken ? `${name} · ${spoken}` : name, name);
    });
    this.#voice.replaceChildren(new Option(`${texts.ownVoice} · ${info.voice}`, ""), ...voices);
    choose(this.#voice, recall("voice"), "");
    const languages = info.languages ?? [info.language];
    this.#language.replaceChildren(...languages.map((code) => new Option(texts.languages[code] ?? code, code)));
    choose(this.#language, recall("language"), info.language);
    this.#personas(info);
    /** @type {HTMLFieldSetElement} */ ($("choices")).disabled = false;
  }

  /** What a call has now, as the gateway says. @param {{voice?: string, language?: string, persona?: string}} now */
  configured({ language, persona }) {
    if (language) choose(this.#language, language, this.#language.value);
    if (persona) this.#choosePersona(persona);
  }

  /** The choices stand on the page before a call, and in the settings during one. @param {boolean} inCall */
  place(inCall) {
    const home = $(inCall ? "choices-during" : "choices-before");
    if ($("choices").parentElement !== home) home.append($("choices"));
    $("choices-during").hidden = !inCall;
    /** @type {HTMLSelectElement} */ ($("page-language")).disabled = inCall;
    $("page-language").title = inCall ? texts.pageLanguageCall : "";
    $("level-hint").textContent = inCall ? texts.levelCall : texts.levelHint;
  }

  async listDevices() {
    const { microphones, speakers } = await this.#call.devices();
    fill(this.#microphone, microphones, texts.defaultMicrophone, recall("microphone"));
    fill(this.#speaker, speakers, texts.defaultSpeaker, recall("speaker"));
    this.#speaker.disabled = !this.#call.canChooseSpeaker;
    $("speaker-hint").hidden = this.#call.canChooseSpeaker;
  }

  open() {
    this.#dialog.showModal();
    if (this.#call.state === "idle") this.#preview();
    const meter = $("level");
    const follow = () => {
      if (!this.#dialog.open) return;
      meter.style.transform = `scaleX(${this.#call.levels().microphone})`;
      requestAnimationFrame(follow);
    };
    follow();
  }

  /** Listens to the microphone before a call, so that its level shows. */
  async #preview() {
    try {
      await this.#call.preview(this.#microphone.value);
      await this.listDevices();
      if (!this.#dialog.open) this.#call.stopPreview();
    } catch (error) {
      $("level-hint").textContent = texts.failure[/** @type {any} */ (error).code]?.join(" ") ?? texts.levelHint;
    }
  }

  /** @param {() => void} change */
  #wire(change) {
    $("open-settings").addEventListener("click", () => this.open());
    this.#dialog.addEventListener("close", () => this.#call.stopPreview());
    // A click beside the dialog closes it, as Escape does.
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    this.#microphone.addEventListener("change", () => {
      keep("microphone", this.#microphone.value);
      if (this.#call.state === "idle") this.#preview();
      else this.#call.setMicrophone(this.#microphone.value).catch(this.#explain);
    });
    this.#speaker.addEventListener("change", () => {
      keep("speaker", this.#speaker.value);
      this.#call.setSpeaker(this.#speaker.value).catch(this.#explain);
    });
    $("tone").addEventListener("click", () => this.#call.testTone(this.#speaker.value).catch(this.#explain));
    this.#push.addEventListener("change", () => {
      keep("push", this.#push.checked ? "yes" : "no");
      this.#call.pushToTalk = this.#push.checked;
      change();
    });
    this.#face.addEventListener("change", () => {
      keep("face", this.#face.checked ? "yes" : "no");
      change();
    });
    this.#voice.addEventListener("change", () => this.#wish("voice", this.#voice.value));
    this.#language.addEventListener("change", () => this.#wish("language", this.#language.value));
    /** @type {HTMLSelectElement} */ const page = $("page-language");
    page.value = lang;
    page.addEventListener("change", () => {
      keep("page-language", page.value);
      location.reload();
    });
  }

  /** @param {"voice" | "language" | "persona"} name @param {string} value */
  #wish(name, value) {
    keep(name, value);
    if (this.#call.state === "connected") this.#call.configure({ [name]: value });
  }

  /** @param {GatewayInfo} info */
  #personas({ personas = [], persona = "" }) {
    const group = $("personas");
    group.hidden = personas.length < 2;
    $("persona-text").hidden = group.hidden;
    group.replaceChildren(...personas.map(({ name, title }) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "persona", value: name });
      const words = document.createElement("span");
      words.textContent = title[lang] ?? title.en ?? name;
      input.addEventListener("change", () => {
        this.#choosePersona(name);
        this.#wish("persona", name);
      });
      label.append(input, words);
      return label;
    }));
    const before = recall("persona");
    this.#choosePersona(personas.some(({ name }) => name === before) ? before : persona);
  }

  /** @param {string} name */
  #choosePersona(name) {
    this.#persona = name;
    /** @type {NodeListOf<HTMLInputElement>} */ ($("personas").querySelectorAll("input")).forEach((input) => {
      input.checked = input.value === name;
    });
    const persona = this.#info?.personas?.find((known) => known.name === name);
    $("persona-text").textContent = persona?.description[lang] ?? persona?.description.en ?? "";
  }
}

/** @param {HTMLSelectElement} select @param {string} wanted @param {string} otherwise */
function choose(select, wanted, otherwise) {
  select.value = [...select.options].some(({ value }) => value === wanted) ? wanted : otherwise;
}

/** @param {HTMLSelectElement} select @param {MediaDeviceInfo[]} devices @param {string} unnamed @param {string} before */
function fill(select, devices, unnamed, before) {
  const chosen = select.value || before;
  const named = devices.filter(({ deviceId }) => deviceId !== "default");
  select.replaceChildren(new Option(unnamed, ""), ...named.map(({ label, deviceId }) => new Option(label, deviceId)));
  choose(select, chosen, "");
}
