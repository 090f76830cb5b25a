// OpenAI's own browser SDK against the gateway: only the base URL is changed.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { startBrain } from "./brain.mjs";
import { conversationFile, launch } from "./browser.mjs";
import { startGateway, untilFree } from "./gateway.mjs";

const ANSWER_MS = 40_000;
const here = new URL(".", import.meta.url);
const BUNDLE = "node_modules/@openai/agents-realtime/dist/bundle";
const FILES = {
  "/": ["realtime.html", "text/html"],
  "/page.js": ["realtime.page.js", "text/javascript"],
};
/** All that a client of OpenAI's may be told. */
const KNOWN = [
  "session.created", "session.updated", "error", "conversation.item.added", "conversation.item.done",
  "conversation.item.deleted", "conversation.item.retrieved", "conversation.item.truncated",
  "conversation.item.input_audio_transcription.delta", "conversation.item.input_audio_transcription.completed",
  "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
  "output_audio_buffer.started", "output_audio_buffer.stopped", "output_audio_buffer.cleared",
  "response.created", "response.done", "response.output_item.added", "response.output_item.done",
  "response.content_part.added", "response.content_part.done", "response.output_audio.done",
  "response.output_audio_transcript.delta", "response.output_audio_transcript.done",
  "response.function_call_arguments.delta", "response.function_call_arguments.done",
];

let brain, gateway, pages, browser;
before(async () => {
  brain = await startBrain();
  gateway = await startGateway("--llm-url", brain.url, "--llm-model", "rules", "--no-fillers");
  pages = createServer(async (request, response) => {
    const sdk = /^\/sdk\/([\w.-]+\.mjs)$/.exec(request.url);
    const [file, kind] = FILES[request.url] ?? (sdk ? [`${BUNDLE}/${sdk[1]}`, "text/javascript"] : []);
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": kind });
    response.end(await readFile(new URL(file, here)));
  });
  await new Promise((resolve) => pages.listen(0, "localhost", resolve));
  browser = await launch({
    microphone: conversationFile([
      { after: 4, text: "How is the weather in Paris?" },
      { after: 8, text: "Please tell me a story." },
      { after: 6, text: "Stop it please, that is enough." },
    ], 60),
  });
});
after(async () => {
  await browser?.close();
  pages?.close();
  await gateway?.stop();
  brain?.stop();
});

const post = (path, body) => fetch(new URL(path, gateway.base), {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

test("the stock SDK connects from a page elsewhere, calls a tool, is interrupted, and keeps a true history", async (t) => {
  const issued = await (await post("v1/realtime/client_secrets", { session: { type: "realtime" } })).json();
  assert.match(issued.value, /^ek_/);
  const page = await (await browser.newContext()).newPage();
  const console_ = [];
  page.on("console", (message) => ["warning", "error"].includes(message.type()) && console_.push(message.text()));
  page.on("pageerror", (error) => console_.push(error.message));
  await page.goto(`http://localhost:${pages.address().port}/`);
  await page.waitForFunction(() => window.start);
  const joined = await page.evaluate(([base, secret]) => window.start(base, secret), [gateway.base, issued.value]);
  t.diagnostic(`connected in ${Math.round(joined)} ms`);
  assert.ok(joined < 4000, "the session's settings are acknowledged");

  const said = (role, pattern) => page.waitForFunction(([role, pattern]) => window.session.history.some((item) =>
    item.type === "message" && item.role === role && item.status !== "in_progress"
    && item.content.some((part) => new RegExp(pattern, "i").test(part.transcript ?? ""))), [role, pattern], { timeout: ANSWER_MS });
  await said("user", "weather");
  await said("assistant", "sunny and warm");
  await said("user", "story");
  await said("user", "stop|enough");
  await said("assistant", "You said");

  const { raw, events, errors, tools, history, callId } = await page.evaluate(() => window.seen());
  assert.deepEqual(tools, [{ city: "Paris" }]);
  assert.deepEqual(errors, []);
  assert.deepEqual(console_, [], "no warnings");
  assert.equal(events.length, raw, "the SDK reads every event");
  const unknown = events.map(({ event }) => event.type).filter((type) => !KNOWN.includes(type));
  assert.deepEqual(unknown, []);

  const story = history.find((item) => item.role === "assistant" && /Once upon/.test(item.content[0]?.transcript ?? ""));
  assert.equal(story.status, "incomplete");
  const heard = story.content[0].transcript;
  t.diagnostic(`heard of the story: ${heard}`);
  assert.ok(heard.length > 10 && !/began to wonder/.test(heard), "the history holds what was heard");
  const told = brain.prompts.at(-1).messages.filter((message) => message.role === "assistant").map((message) => message.content);
  assert.ok(told.includes(heard), `the model is told the same: ${JSON.stringify(told)}`);
  const types = events.map(({ event }) => event.type);
  for (const type of ["output_audio_buffer.cleared", "conversation.item.truncated", "output_audio_buffer.stopped"]) {
    assert.ok(types.includes(type), `${type} was told`);
  }
  const cancelled = events.map(({ event }) => event).filter((event) => event.type === "response.done" && event.response.status === "cancelled");
  assert.equal(cancelled.length, 1, "one response was cancelled");
  assert.ok(events.every(({ event }) => event.type !== "response.done" || event.response.usage.output_tokens > 0));

  const hungUp = await post(`v1/realtime/calls/${callId}/hangup`, {});
  assert.equal(hungUp.status, 200);
  await untilFree(gateway.base, 2000);
  await page.context().close();
});
