/**
 * The OpenAPI document as a page. In: `/openapi.json`. Out: what can be asked, and a form to ask it. It knows no
 * operation by name, and keeps the key nowhere but in its field.
 */

/**
 * A schema, an operation or any other part of the document, as it was read.
 * @typedef {Record<string, any>} Part
 * @typedef {Node | string | null | undefined} Child
 * @typedef {HTMLDetailsElement & {words: string}} Door  `words`: what the filter looks through
 */

const METHODS = ["get", "post", "put", "patch", "delete"];
/** Longer answers are cut where they are shown. */
const SHOWN = 20_000;
/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));
const search = /** @type {HTMLInputElement} */ (byId("filter"));

/**
 * An element with attributes and children; texts are texts, never markup.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name @param {Record<string, any>} [attributes]  `onclick` and its like are listeners
 * @param {(Child | Child[])[]} children
 */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== undefined && child !== null) element.append(child);
  return element;
}

/** A description: `code` and **bold** are all the markup there is. @param {string} [text] */
function prose(text = "") {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) =>
    part.startsWith("`") ? el("code", {}, part.slice(1, -1))
    : part.startsWith("**") ? el("strong", {}, part.slice(2, -2)) : part);
}

/** @type {Part} */
let doc;
/** What stands behind a reference, or the thing itself. @param {Part | undefined} thing @returns {Part} */
function at(thing) {
  while (thing?.$ref) {
    const { $ref, ...beside } = thing;
    let place = doc;
    for (const step of String($ref).slice(2).split("/")) place = place[step];
    thing = { ...place, ...beside };
  }
  return thing ?? {};
}

/** A schema with its parts joined. @param {Part | undefined} schema @returns {Part} */
function whole(schema) {
  const { allOf, ...own } = at(schema);
  if (!allOf) return own;
  return [...allOf.map(whole), own].reduce((all, part) => ({
    ...all, ...part,
    properties: { ...all.properties, ...part.properties },
    required: [...(all.required ?? []), ...(part.required ?? [])],
  }), {});
}

/** @param {string} name */
const named = (name) => el("span", { class: "name" }, name);
/** @param {string} type */
const typed = (type) => el("span", { class: "type" }, type);
/** @param {Part} schema @returns {Part[] | undefined} */
const choices = (schema) => schema.anyOf ?? schema.oneOf;
/** @param {Part} schema */
const isNull = (schema) => at(schema).type === "null";

/** A schema in a few words. @param {Part} schema @returns {string} */
function kind(schema) {
  const s = whole(schema);
  if (s.const !== undefined) return JSON.stringify(s.const);
  if (s.enum) return s.enum.flatMap((/** @type {unknown} */ value) => (value === null ? [] : [JSON.stringify(value)])).join(" | ");
  const several = choices(s);
  if (several) return [...new Set(several.filter((one) => !isNull(one)).map(kind))].join(" | ");
  const type = [s.type ?? "any"].flat().filter((one) => one !== "null").join(" | ");
  if (type === "array") return s.items ? `${kind(s.items)}[]` : "array";
  const least = s.minimum ?? s.minLength, most = s.maximum ?? s.maxLength;
  const bounds = most !== undefined ? ` ${least ?? 0}…${most}` : least ? ` ≥ ${least}` : "";
  return type + (s.format ? ` (${s.format})` : "") + bounds;
}

/**
 * The fields of an object, of the elements of a list, or of each of several choices.
 * @param {Part} schema @param {number} [depth] @returns {HTMLElement | undefined}
 */
function tree(schema, depth = 0) {
  const s = whole(schema);
  if (depth > 5) return undefined;
  if (s.properties) {
    return el("ul", { class: "tree" }, Object.entries(s.properties).map(([name, value]) => {
      const v = whole(value);
      const below = v.properties || v.type === "array" || choices(v) ? tree(v, depth + 1) : undefined;
      return el("li", {}, named(name), " ", typed(kind(v)), " ",
        s.required?.includes(name) ? el("span", { class: "must" }, "required ") : undefined,
        v.description ? el("span", { class: "note" }, prose(v.description)) : undefined,
        v.default !== undefined ? el("span", { class: "note" }, ` Default ${JSON.stringify(v.default)}.`) : undefined,
        below);
    }));
  }
  if (s.type === "array" && s.items) return tree(s.items, depth);
  const parts = (choices(s) ?? []).map((one) => tree(one, depth + 1)).filter(Boolean);
  if (parts.length > 1) return el("ul", { class: "tree" }, parts.map((part) => el("li", {}, part)));
  return parts[0];
}

/** A value that fits a schema, for the first try. @param {Part} schema @param {number} [depth] @returns {any} */
function sample(schema, depth = 0) {
  const s = whole(schema);
  const first = s.example ?? s.examples?.[0] ?? s.const ?? s.default ?? s.enum?.[0];
  if (first !== undefined) return first;
  const [one] = choices(s) ?? [];
  if (one) return sample(one, depth + 1);
  const type = String([s.type].flat()[0]);
  if (type === "object") {
    const required = Object.entries(s.properties ?? {}).filter(([name]) => s.required?.includes(name));
    return Object.fromEntries(required.map(([name, value]) => [name, depth > 4 ? null : sample(value, depth + 1)]));
  }
  /** @type {Part} */
  const plain = { array: [], string: "", integer: s.minimum ?? 0, number: s.minimum ?? 0, boolean: false };
  return plain[type] ?? null;
}

/** @param {Part} media @returns {string} */
function exampleOf(media) {
  const example = media.example ?? Object.values(media.examples ?? {})[0]?.value ?? sample(media.schema);
  return typeof example === "string" ? example : JSON.stringify(example, null, 2);
}

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * The request as a line for a shell.
 * @param {string} method @param {string} path @param {Part} operation @param {string} [type] @param {Part} [media]
 */
function curl(method, path, operation, type, media) {
  const streams = at(operation.responses["200"]).content?.["text/event-stream"];
  const parts = [`curl${streams ? " -N" : ""}${method === "get" ? "" : ` -X ${method.toUpperCase()}`}`];
  if (operation.security?.length) parts.push('-H "Authorization: Bearer $EVA_KEY"');
  if (media && type === "multipart/form-data") {
    const { properties, required } = whole(media.schema);
    const fields = Object.keys(properties).filter((name) => required.includes(name));
    parts.push(...fields.map((name) => `-F ${name}=@${name === "file" ? "recording.wav" : "offer.sdp"}`));
  } else if (media && type) {
    parts.push(`-H 'Content-Type: ${type}'`);
    const json = () => quoted(JSON.stringify(JSON.parse(exampleOf(media))).slice(0, 400));
    parts.push(type === "application/json" ? `-d ${json()}` : "--data-binary @offer.sdp");
  }
  parts.push(quoted(location.origin + path));
  return parts.join(" \\\n  ");
}

/** @param {string} text */
function copied(text) {
  const button = el("button", { type: "button", onclick: async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return el("div", { class: "copy" }, el("pre", { tabindex: "0" }, text), button);
}

/** @param {string} place  as the document names it */
const placeOf = (place) => (place === "query" ? "the address" : place === "path" ? "the path" : "the headers");

/** @param {Part} operation @returns {Part[]} */
const parameterList = (operation) => (operation.parameters ?? []).map(at);

/** @param {Part} operation */
function parametersOf(operation) {
  const parameters = parameterList(operation);
  if (!parameters.length) return undefined;
  return el("section", {}, el("h3", {}, "Parameters"), el("ul", { class: "rows" }, parameters.map((parameter) =>
    el("li", {}, named(parameter.name), " ", typed(kind(parameter.schema)), " ",
      el("span", { class: "note" }, `in ${placeOf(parameter.in)}. `),
      parameter.required ? el("span", { class: "must" }, "required ") : undefined,
      el("span", { class: "note" }, prose(parameter.description ?? whole(parameter.schema).description))))));
}

/** @param {Part} operation */
function bodiesOf(operation) {
  return Object.entries(operation.requestBody?.content ?? {}).map(([type, media]) =>
    el("section", {}, el("h3", {}, "Body ", el("code", {}, type)),
      tree(media.schema) ?? el("p", { class: "note" }, prose(whole(media.schema).description ?? kind(media.schema)))));
}

/** @param {Part} operation */
function responsesOf(operation) {
  const rows = Object.entries(operation.responses).map(([status, given]) => {
    const response = at(given);
    const headers = Object.keys(response.headers ?? {});
    const shapes = Object.entries(response.content ?? {}).filter(() => status < "4").map(([type, media]) => {
      const s = whole(media.schema);
      const event = s.properties?.data?.contentSchema;
      const shown = tree(event ?? media.schema);
      return shown
        ? el("details", { class: "more" }, el("summary", {}, event ? `events of ${type}` : type), shown)
        : el("div", { class: "type" }, type);
    });
    const names = headers.flatMap((name) => [el("code", {}, name), " "]);
    return el("li", {}, el("span", { class: `status s${status[0]}` }, status), prose(response.description),
      names.length ? el("span", { class: "note" }, " Headers: ", names) : undefined, shapes);
  });
  return el("section", { class: "answers" }, el("h3", {}, "Answers"), el("ul", { class: "rows" }, rows));
}

/** What a person may send instead of the document's form fields. @typedef {HTMLInputElement | HTMLSelectElement} Field */

/**
 * What there is to fill in for an operation.
 * @typedef {object} Blanks
 * @property {[Part, HTMLInputElement][]} parameters
 * @property {[string, Field][] | undefined} form  the fields of a multipart body
 * @property {HTMLTextAreaElement | undefined} text  any other body
 * @property {string | undefined} type  the body's media type
 */

/** @param {Part} operation @returns {Blanks} */
function blanksOf(operation) {
  const contents = operation.requestBody?.content ?? {};
  const [type] = Object.keys(contents).filter((one) => one !== "multipart/form-data" || !contents["application/sdp"]);
  /** @type {[Part, HTMLInputElement][]} */
  const parameters = parameterList(operation).map((parameter) => [parameter, el("input", {
    value: parameter.example ?? (parameter.required ? sample(parameter.schema) : undefined),
    spellcheck: "false", autocomplete: "off", required: parameter.required,
  })]);
  if (!type) return { parameters, form: undefined, text: undefined, type };
  if (type === "multipart/form-data") {
    const fields = Object.entries(whole(contents[type].schema).properties);
    return { parameters, form: fields.map(([name, schema]) => [name, fieldFor(name, whole(schema))]), text: undefined, type };
  }
  const text = el("textarea", { spellcheck: "false" });
  text.value = exampleOf(contents[type]);
  return { parameters, form: undefined, text, type };
}

/** @param {string} name @param {Part} schema @returns {Field} */
function fieldFor(name, schema) {
  if (name === "file") return el("input", { type: "file", accept: "audio/*" });
  if (!schema.enum) return el("input");
  return el("select", {}, el("option", { value: "" }, "–"), schema.enum.map((/** @type {string} */ value) => el("option", {}, value)));
}

/**
 * The request as the person filled it in.
 * @param {string} path @param {Part} operation @param {Blanks} blanks
 * @returns {[string, {headers: Record<string, string>, body: BodyInit | undefined}]}
 */
function filledIn(path, operation, { parameters, form, text, type }) {
  let address = path;
  const query = new URLSearchParams();
  /** @type {Record<string, string>} */
  const headers = {};
  for (const [parameter, input] of parameters) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
    else if (input.value) headers[parameter.name] = input.value;
  }
  const key = /** @type {HTMLInputElement} */ (byId("key")).value.trim();
  if (key && operation.security?.length) headers.Authorization = `Bearer ${key}`;
  if (query.size) address += `?${query}`;
  if (!form) {
    if (type) headers["Content-Type"] = type;
    return [address, { headers, body: text?.value }];
  }
  const body = new FormData();
  for (const [name, input] of form) {
    const file = input instanceof HTMLInputElement ? input.files?.[0] : undefined;
    if (file) body.append(name, file);
    else if (name !== "file" && input.value) body.append(name, input.value);
  }
  return [address, { headers, body }];
}

/**
 * Shows an answer, while it comes where it is text.
 * @param {Response} response @param {HTMLElement} result
 */
async function showAnswer(response, result) {
  const type = response.headers.get("content-type") ?? "";
  if (type.startsWith("audio/")) {
    const sound = await response.blob();
    const player = /^audio\/(wav|ogg)/.test(type) ? el("audio", { controls: true, src: URL.createObjectURL(sound) }) : undefined;
    return result.replaceChildren(player ?? "", el("p", { class: "note" }, `${type}, ${sound.size} bytes`));
  }
  const shown = el("pre", { tabindex: "0" });
  result.replaceChildren(shown);
  let all = "";
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    all += decoder.decode(part.value, { stream: true });
    shown.textContent = all.slice(0, SHOWN);
  }
  if (type.startsWith("application/json")) all = JSON.stringify(JSON.parse(all), null, 2);
  shown.textContent = all.length > SHOWN ? `${all.slice(0, SHOWN)}\n… ${all.length - SHOWN} characters more` : all || "(empty)";
}

/**
 * The form that sends a request and shows what comes back.
 * @param {string} method @param {string} path @param {Part} operation
 */
function tryIt(method, path, operation) {
  if (operation.responses["101"]) return el("p", { class: "note" }, "A WebSocket: try it with the examples of the project.");
  const blanks = blanksOf(operation);
  const send = el("button", { class: "send", type: "submit" }, "Send");
  const stop = el("button", { type: "button", hidden: true, onclick: () => stopping?.abort() }, "Stop");
  const state = el("output");
  const result = el("div");
  /** @type {AbortController | undefined} */
  let stopping;

  async function ask() {
    const [address, request] = filledIn(path, operation, blanks);
    stopping = new AbortController();
    const began = performance.now();
    const since = () => `${Math.round(performance.now() - began)} ms`;
    const response = await fetch(address, { method: method.toUpperCase(), ...request, signal: stopping.signal, redirect: "manual" });
    const status = String(response.status || "3xx");
    state.replaceChildren(el("span", { class: `status s${status[0]}` }, status), `first byte after ${since()}`);
    await showAnswer(response, result);
    state.append(`, all after ${since()}`);
  }

  const onsubmit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    send.disabled = true;
    stop.hidden = false;
    state.textContent = "asked …";
    result.replaceChildren();
    try {
      await ask();
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      state.append(name === "AbortError" ? " stopped." : ` The gateway did not answer: ${message}`);
    }
    send.disabled = false;
    stop.hidden = true;
  };

  const field = (/** @type {string} */ name, /** @type {HTMLElement} */ input, wide = false) => {
    input.id = `${operation.operationId}-${name}`;
    return el("div", { class: wide ? "field wide" : "field" }, el("label", { for: input.id }, name), input);
  };
  const fields = [...blanks.parameters.map(([parameter, input]) => field(parameter.name, input)),
    ...(blanks.form ?? []).map(([name, input]) => field(name, input))];
  return el("form", { class: "try", autocomplete: "off", onsubmit },
    el("h3", {}, "Try it"), fields.length || blanks.form ? el("div", { class: "fields" }, fields) : undefined,
    blanks.text ? field(String(blanks.type), blanks.text, true) : undefined,
    el("div", { class: "row" }, send, stop, state), result);
}

/** What is behind an operation's door. @param {string} method @param {string} path @param {Part} operation */
function insideOf(method, path, operation) {
  /** @type {[string, Part][]} */
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  const [type, media] = bodies[0] ?? [];
  const shell = el("section", {}, el("h3", {}, "In a shell"), copied(curl(method, path, operation, type, media)));
  const sides = el("div", { class: "sides" },
    el("div", {}, parametersOf(operation), bodiesOf(operation), responsesOf(operation)),
    el("div", {}, shell, tryIt(method, path, operation)));
  return operation.description ? [el("p", {}, prose(operation.description)), sides] : [sides];
}

/**
 * An operation; what is inside is made when it is opened.
 * @param {string} method @param {string} path @param {Part} operation
 */
function shown(method, path, operation) {
  const scope = operation.security?.[0]?.bearer?.[0];
  const parts = path.split(/(\{[^}]+\})/).map((part) => part.startsWith("{") ? el("i", {}, part) : part);
  const inside = el("div", { class: "inside" });
  const door = el("details", { id: operation.operationId, ontoggle: () => {
    if (!door.open) return;
    history.replaceState(null, "", `#${operation.operationId}`);
    if (!inside.childElementCount) inside.append(...insideOf(method, path, operation));
  } },
  el("summary", {}, el("span", { class: `method ${method}` }, method.toUpperCase()),
    el("span", { class: "path" }, parts), el("span", { class: "what" }, operation.summary),
    el("span", { class: "scope", title: scope ? `The key needs the scope ${scope}` : "No key is wanted" }, scope ?? "open")), inside);
  const told = [method, path, operation.summary, operation.description, scope, ...Object.keys(operation.responses)];
  return Object.assign(door, { words: told.join(" ").toLowerCase() });
}

/** @param {string} selector @param {ParentNode} [under] @returns {HTMLElement[]} */
const all = (selector, under = document) => [...under.querySelectorAll(selector)].filter((one) => one instanceof HTMLElement);

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of all(".group")) {
    const doors = /** @type {Door[]} */ (all(".list > details", group));
    for (const door of doors) door.hidden = !words.every((word) => door.words.includes(word) || group.dataset.name?.includes(word));
    group.hidden = doors.every((door) => door.hidden);
    for (const entry of all("#tags li")) if (entry.querySelector(`a[href="#${group.id}"]`)) entry.hidden = group.hidden;
  }
  byId("none").hidden = all(".group").some((group) => !group.hidden);
}

/** Opens the door that the address names. */
function follow() {
  const sought = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1)));
  if (!sought) return;
  if (sought instanceof HTMLDetailsElement) sought.open = true;
  sought.scrollIntoView();
}

function lay() {
  byId("about").replaceChildren(...prose(doc.info.description), ` Version ${doc.info.version}.`);
  for (const tag of doc.tags) {
    const doors = Object.entries(doc.paths).flatMap(([path, item]) => METHODS
      .filter((method) => item[method]?.tags.includes(tag.name)).map((method) => shown(method, path, item[method])));
    const id = tag.name.toLowerCase().replace(/\W+/g, "-");
    byId("tags").append(el("li", {}, el("a", { href: `#${id}` }, tag.name, el("small", {}, String(doors.length)))));
    byId("operations").append(el("section", { class: "group", id, "data-name": tag.name.toLowerCase() },
      el("h2", {}, tag.name), el("p", {}, prose(tag.description)), el("div", { class: "list" }, doors)));
  }
}

/** @param {string} path */
const read = async (path) => (await fetch(path)).json();

async function begin() {
  try {
    const [document_, info] = await Promise.all([read("/openapi.json"), read("/info")]);
    doc = document_;
    byId("key-box").hidden = !info.needs_key;
    lay();
    follow();
  } catch (error) {
    byId("trouble").textContent = `The document cannot be read: ${/** @type {Error} */ (error).message}. Load the page again.`;
    byId("trouble").hidden = false;
  }
}

search.addEventListener("input", filter);
byId("clear").addEventListener("click", () => {
  search.value = "";
  filter();
  search.focus();
});
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  const writing = event.target instanceof Element && event.target.closest("input, textarea, select");
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !writing) {
    event.preventDefault();
    search.focus();
  }
});
begin();
