// The OpenAPI document as a page: what can be asked, and a form to ask it. The key is in the field only.

const METHODS = ["get", "post", "put", "patch", "delete"];
/** Longer answers are cut where they are shown. */
const SHOWN = 20_000;
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts are texts, never markup. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return element;
}

/** A description: `code` and **bold** are all the markup there is. */
function prose(text = "") {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) =>
    part.startsWith("`") ? el("code", {}, part.slice(1, -1)) : part.startsWith("**") ? el("strong", {}, part.slice(2, -2)) : part);
}

let doc;
/** What stands behind a reference, or the thing itself. */
function at(thing) {
  while (thing?.$ref) {
    const { $ref, ...beside } = thing;
    thing = { ...$ref.slice(2).split("/").reduce((place, step) => place[step], doc), ...beside };
  }
  return thing ?? {};
}

/** A schema with its parts joined. */
function whole(schema) {
  const { allOf, ...own } = at(schema);
  if (!allOf) return own;
  return [...allOf.map(whole), own].reduce((all, part) => ({
    ...all, ...part,
    properties: { ...all.properties, ...part.properties },
    required: [...(all.required ?? []), ...(part.required ?? [])],
  }), {});
}

const choices = (schema) => schema.anyOf ?? schema.oneOf;
const isNull = (schema) => at(schema).type === "null";

/** A schema in a few words. */
function kind(schema) {
  const s = whole(schema);
  if (s.const !== undefined) return JSON.stringify(s.const);
  if (s.enum) return s.enum.filter((value) => value !== null).map((value) => JSON.stringify(value)).join(" | ");
  if (choices(s)) return [...new Set(choices(s).filter((one) => !isNull(one)).map(kind))].join(" | ");
  const type = [s.type ?? "any"].flat().filter((one) => one !== "null").join(" | ");
  if (type === "array") return s.items ? `${kind(s.items)}[]` : "array";
  const least = s.minimum ?? s.minLength, most = s.maximum ?? s.maxLength;
  const bounds = most !== undefined ? ` ${least ?? 0}…${most}` : least ? ` ≥ ${least}` : "";
  return type + (s.format ? ` (${s.format})` : "") + bounds;
}

/** The fields of an object, of the elements of a list, or of each of several choices. */
function tree(schema, depth = 0) {
  const s = whole(schema);
  if (depth > 5) return undefined;
  if (s.properties) {
    return el("ul", { class: "tree" }, Object.entries(s.properties).map(([name, value]) => {
      const v = whole(value);
      const below = v.properties || v.type === "array" || choices(v) ? tree(v, depth + 1) : undefined;
      return el("li", {}, el("span", { class: "name" }, name), " ", el("span", { class: "type" }, kind(v)), " ",
        s.required?.includes(name) ? el("span", { class: "must" }, "required ") : undefined,
        v.description ? el("span", { class: "note" }, prose(v.description)) : undefined,
        v.default !== undefined ? el("span", { class: "note" }, ` Default ${JSON.stringify(v.default)}.`) : undefined, below);
    }));
  }
  if (s.type === "array" && s.items) return tree(s.items, depth);
  const parts = (choices(s) ?? []).map((one) => tree(one, depth + 1)).filter(Boolean);
  if (parts.length > 1) return el("ul", { class: "tree" }, parts.map((part) => el("li", {}, part)));
  return parts[0];
}

/** A value that fits a schema, for the first try. */
function sample(schema, depth = 0) {
  const s = whole(schema);
  const first = s.example ?? s.examples?.[0] ?? s.const ?? s.default ?? s.enum?.[0];
  if (first !== undefined) return first;
  if (choices(s)) return sample(choices(s)[0], depth + 1);
  const type = [s.type].flat()[0];
  if (type === "object") {
    return Object.fromEntries(Object.entries(s.properties ?? {})
      .filter(([name]) => s.required?.includes(name)).map(([name, value]) => [name, depth > 4 ? null : sample(value, depth + 1)]));
  }
  return { array: [], string: "", integer: s.minimum ?? 0, number: s.minimum ?? 0, boolean: false }[type] ?? null;
}

function exampleOf(media) {
  const example = media.example ?? Object.values(media.examples ?? {})[0]?.value ?? sample(media.schema);
  return typeof example === "string" ? example : JSON.stringify(example, null, 2);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The request as a line for a shell. */
function curl(method, path, operation, type, media) {
  const streams = at(operation.responses["200"]).content?.["text/event-stream"];
  const parts = [`curl${streams ? " -N" : ""}${method === "get" ? "" : ` -X ${method.toUpperCase()}`}`];
  if (operation.security?.length) parts.push('-H "Authorization: Bearer $EVA_KEY"');
  if (type === "multipart/form-data") {
    const fields = Object.entries(whole(media.schema).properties);
    parts.push(...fields.filter(([name]) => whole(media.schema).required.includes(name)).map(([name]) => `-F ${name}=@${name === "file" ? "recording.wav" : "offer.sdp"}`));
  } else if (type) {
    parts.push(`-H 'Content-Type: ${type}'`);
    parts.push(type === "application/json" ? `-d ${quoted(JSON.stringify(JSON.parse(exampleOf(media))).slice(0, 400))}` : "--data-binary @offer.sdp");
  }
  parts.push(quoted(location.origin + path));
  return parts.join(" \\\n  ");
}

function copied(text) {
  const button = el("button", { type: "button", onclick: async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return el("div", { class: "copy" }, el("pre", { tabindex: "0" }, text), button);
}

function parametersOf(operation) {
  const parameters = (operation.parameters ?? []).map(at);
  if (!parameters.length) return undefined;
  return el("section", {}, el("h4", {}, "Parameters"), el("ul", { class: "rows" }, parameters.map((parameter) =>
    el("li", {}, el("span", { class: "name" }, parameter.name), " ", el("span", { class: "type" }, kind(parameter.schema)), " ",
      el("span", { class: "note" }, `in ${parameter.in === "query" ? "the address" : parameter.in === "path" ? "the path" : "the headers"}. `),
      parameter.required ? el("span", { class: "must" }, "required ") : undefined,
      el("span", { class: "note" }, prose(parameter.description ?? whole(parameter.schema).description))))));
}

function bodiesOf(operation) {
  return Object.entries(operation.requestBody?.content ?? {}).map(([type, media]) =>
    el("section", {}, el("h4", {}, "Body ", el("code", {}, type)),
      tree(media.schema) ?? el("p", { class: "note" }, prose(whole(media.schema).description ?? kind(media.schema)))));
}

function responsesOf(operation) {
  return el("section", { class: "answers" }, el("h4", {}, "Answers"), el("ul", { class: "rows" }, Object.entries(operation.responses).map(([status, given]) => {
    const response = at(given);
    const headers = Object.keys(response.headers ?? {});
    const shapes = Object.entries(response.content ?? {}).filter(() => status < "4").map(([type, media]) => {
      const s = whole(media.schema);
      const event = s.properties?.data?.contentSchema;
      const shown = tree(event ?? media.schema);
      return shown ? el("details", { class: "more" }, el("summary", {}, event ? `events of ${type}` : type), shown) : el("div", { class: "type" }, type);
    });
    return el("li", {}, el("span", { class: `status s${status[0]}` }, status), prose(response.description),
      headers.length ? el("span", { class: "note" }, " Headers: ", headers.flatMap((name) => [el("code", {}, name), " "])) : undefined, shapes);
  })));
}

/** The form that sends a request and shows what comes back. */
function tryIt(method, path, operation) {
  if (operation.responses["101"]) return el("p", { class: "note" }, "A WebSocket: try it with the examples of the project.");
  const parameters = (operation.parameters ?? []).map(at);
  const contents = operation.requestBody?.content ?? {};
  const types = Object.keys(contents).filter((type) => type !== "multipart/form-data" || !contents["application/sdp"]);
  const type = types[0];
  const field = (name, input, wide) => {
    input.id = `${operation.operationId}-${name}`;
    return el("div", { class: wide ? "field wide" : "field" }, el("label", { for: input.id }, name), input);
  };
  const inputs = parameters.map((parameter) => [parameter, el("input", {
    value: parameter.example ?? (parameter.required ? sample(parameter.schema) : undefined), spellcheck: "false", autocomplete: "off", required: parameter.required })]);
  const form = type === "multipart/form-data" && Object.entries(whole(contents[type].schema).properties).map(([name, schema]) => {
    const s = whole(schema);
    const options = () => el("select", {}, el("option", { value: "" }, "–"), s.enum.map((value) => el("option", {}, value)));
    return [name, name === "file" ? el("input", { type: "file", accept: "audio/*" }) : s.enum ? options() : el("input", {})];
  });
  const text = type && !form ? el("textarea", { spellcheck: "false" }) : undefined;
  if (text) text.value = exampleOf(contents[type]);
  const send = el("button", { class: "send", type: "submit" }, "Send");
  const stop = el("button", { type: "button", hidden: true, onclick: () => stopping?.abort() }, "Stop");
  const state = el("output", {});
  const result = el("div", {});
  let stopping;

  async function ask() {
    let address = path;
    const query = new URLSearchParams(), headers = {};
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    const key = byId("key").value.trim();
    if (key && operation.security?.length) headers.Authorization = `Bearer ${key}`;
    let body = text?.value;
    if (form) {
      body = new FormData();
      for (const [name, input] of form) {
        if (input.files?.[0]) body.append(name, input.files[0]);
        else if (!input.files && input.value) body.append(name, input.value);
      }
    } else if (type) headers["Content-Type"] = type;
    stopping = new AbortController();
    const began = performance.now();
    const since = () => `${Math.round(performance.now() - began)} ms`;
    const response = await fetch(address + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers, body, signal: stopping.signal, redirect: "manual" });
    const status = response.status || "3xx";
    state.replaceChildren(el("span", { class: `status s${String(status)[0]}` }, String(status)), `first byte after ${since()}`);
    const kindOf = response.headers.get("content-type") ?? "";
    if (/^audio\/(wav|ogg)/.test(kindOf)) {
      const sound = await response.blob();
      result.replaceChildren(el("audio", { controls: true, src: URL.createObjectURL(sound) }), el("p", { class: "note" }, `${kindOf}, ${sound.size} bytes`));
    } else if (kindOf.startsWith("audio/")) {
      result.replaceChildren(el("p", { class: "note" }, `${kindOf}, ${(await response.blob()).size} bytes`));
    } else {
      const shown = el("pre", { tabindex: "0" });
      result.replaceChildren(shown);
      let all = "";
      const decoder = new TextDecoder();
      for (const reader = response.body?.getReader(); reader;) {
        const { done, value } = await reader.read();
        if (done) break;
        all += decoder.decode(value, { stream: true });
        shown.textContent = all.slice(0, SHOWN);
      }
      if (kindOf.startsWith("application/json")) all = JSON.stringify(JSON.parse(all), null, 2);
      shown.textContent = all.length > SHOWN ? `${all.slice(0, SHOWN)}\n… ${all.length - SHOWN} characters more` : all || "(empty)";
    }
    state.append(`, all after ${since()}`);
  }

  return el("form", { class: "try", autocomplete: "off", onsubmit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    stop.hidden = false;
    state.textContent = "asked …";
    result.replaceChildren();
    try {
      await ask();
    } catch (error) {
      state.append(error.name === "AbortError" ? " stopped." : ` The gateway did not answer: ${error.message}`);
    }
    send.disabled = false;
    stop.hidden = true;
  } }, el("h4", {}, "Try it"),
  inputs.length || form ? el("div", { class: "fields" }, inputs.map(([parameter, input]) => field(parameter.name, input)), form ? form.map(([name, input]) => field(name, input)) : []) : undefined,
  text ? field(type, text, true) : undefined, el("div", { class: "row" }, send, stop, state), result);
}

/** An operation; what is inside is made when it is opened. */
function shown(method, path, operation) {
  const scope = operation.security?.[0]?.bearer?.[0];
  const parts = path.split(/(\{[^}]+\})/).map((part) => part.startsWith("{") ? el("i", {}, part) : part);
  const inside = el("div", { class: "inside" });
  const door = el("details", { id: operation.operationId, ontoggle: () => {
    if (!door.open) return;
    history.replaceState(null, "", `#${operation.operationId}`);
    if (inside.childElementCount) return;
    const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    inside.append(...[
      operation.description && el("p", {}, prose(operation.description)),
      el("div", { class: "sides" },
        el("div", {}, parametersOf(operation), bodiesOf(operation), responsesOf(operation)),
        el("div", {}, el("section", {}, el("h4", {}, "In a shell"), copied(curl(method, path, operation, type, media))), tryIt(method, path, operation))),
    ].filter(Boolean));
  } },
  el("summary", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), el("span", { class: "path" }, parts), el("span", { class: "what" }, operation.summary),
    scope ? el("span", { class: "scope", title: `The key needs the scope ${scope}` }, scope) : el("span", { class: "scope", title: "No key is wanted" }, "open")), inside);
  door.words = [method, path, operation.summary, operation.description, scope, ...Object.keys(operation.responses)].join(" ").toLowerCase();
  return door;
}

function filter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll(".group")) {
    let any = false;
    for (const door of group.querySelectorAll(".list > details")) {
      door.hidden = !words.every((word) => door.words.includes(word) || group.dataset.name.includes(word));
      any ||= !door.hidden;
    }
    group.hidden = !any;
    document.querySelector(`a[href="#${group.id}"]`).parentElement.hidden = !any;
  }
  byId("none").hidden = Boolean(document.querySelector(".group:not([hidden])"));
}

/** Opens the door that the address names. */
function follow() {
  const named = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  if (named.matches(".list > details")) named.open = true;
  named.scrollIntoView();
}

function lay() {
  byId("about").replaceChildren(...prose(doc.info.description), ` Version ${doc.info.version}.`);
  for (const tag of doc.tags) {
    const doors = Object.entries(doc.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]?.tags.includes(tag.name)).map((method) => shown(method, path, item[method])));
    const id = tag.name.toLowerCase().replace(/\W+/g, "-");
    byId("tags").append(el("li", {}, el("a", { href: `#${id}` }, tag.name, el("small", {}, String(doors.length)))));
    byId("operations").append(el("section", { class: "group", id, "data-name": tag.name.toLowerCase() }, el("h2", {}, tag.name), el("p", {}, prose(tag.description)), el("div", { class: "list" }, doors)));
  }
}

byId("filter").addEventListener("input", filter);
byId("clear").addEventListener("click", () => { byId("filter").value = ""; filter(); byId("filter").focus(); });
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    byId("filter").focus();
  }
});
try {
  const [document_, info] = await Promise.all(["/openapi.json", "/info"].map((path) => fetch(path).then((response) => response.json())));
  doc = document_;
  byId("key-box").hidden = !info.needs_key;
  lay();
  follow();
} catch (error) {
  byId("trouble").textContent = `The document cannot be read: ${error.message}. Load the page again.`;
  byId("trouble").hidden = false;
}
