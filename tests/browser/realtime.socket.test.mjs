// OpenAI's own SDK over its WebSocket transport, from Node: sound as PCM at 24 kHz, and as G.711.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { startBrain } from "./brain.mjs";
import { speech } from "./browser.mjs";
import { startGateway, untilFree } from "./gateway.mjs";

const ANSWER_MS = 40_000;
const RATE = 24_000;
const KEY = "eva-test-key-0123456789abcdef";

let brain, gateway;
before(async () => {
  brain = await startBrain();
  gateway = await startGateway("--llm-url", brain.url, "--llm-model", "rules", "--no-fillers", "--api-key", KEY);
});
after(async () => {
  await gateway?.stop();
  brain?.stop();
});

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, holds, limit = ANSWER_MS) {
  const from = performance.now();
  while (!holds()) {
    if (performance.now() - from > limit) throw new Error(`${what} did not come about in ${limit} ms`);
    await sleep(50);
  }
}

/** A microphone: 20 ms at a time, silence where nothing is said. */
function microphone(session) {
  let samples = new Int16Array(0);
  const length = RATE / 50;
  const timer = setInterval(() => {
    const frame = new Int16Array(length);
    frame.set(samples.subarray(0, length));
    samples = samples.subarray(length);
    session.sendAudio(frame.buffer);
  }, 20);
  return { say: (text) => { samples = speech(text, RATE); }, stop: () => clearInterval(timer) };
}

const url = (query = "?model=rules") => `${gateway.base.replace("http", "ws")}v1/realtime${query}`;

async function connect(config = {}) {
  const tools = [];
  const weather = tool({
    name: "get_weather", description: "The weather in a city", strict: false,
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: true },
    execute: async (input) => { tools.push(input); return "sunny and warm"; },
  });
  const agent = new RealtimeAgent({ name: "EVA", instructions: "You are EVA.", tools: [weather] });
  const transport = new OpenAIRealtimeWebSocket({ url: url() });
  const session = new RealtimeSession(agent, { transport, config });
  const seen = { events: [], errors: [], tools, sound: [], interrupted: 0 };
  transport.on("*", (event) => seen.events.push(event));
  session.on("error", (error) => seen.errors.push(JSON.stringify(error)));
  session.on("audio", (event) => seen.sound.push(new Uint8Array(event.data)));
  session.on("audio_interrupted", () => { seen.interrupted += 1; });
  await session.connect({ apiKey: KEY, url: url() });
  return { session, seen };
}

const transcript = (session, role, pattern) => session.history.some((item) => item.type === "message" && item.role === role
  && item.status !== "in_progress" && item.content.some((part) => pattern.test(part.transcript ?? part.text ?? "")));

test("a conversation over a WebSocket: a tool, an interruption, a text, and a true history", async (t) => {
  const { session, seen } = await connect();
  const mic = microphone(session);
  await sleep(300);
  mic.say("How is the weather in Paris?");
  await until("the tool's answer", () => transcript(session, "assistant", /sunny and warm/));
  assert.deepEqual(seen.tools, [{ city: "Paris" }]);
  await sleep(500);
  const before = seen.interrupted;
  mic.say("Please tell me a story.");
  await until("the story", () => seen.events.some((event) => /Once upon/.test(event.delta ?? "")));
  await sleep(3500);
  mic.say("Stop it please, that is enough.");
  await until("the stop", () => seen.events.some((event) => event.response?.status === "cancelled"));
  await until("its answer", () => transcript(session, "assistant", /You said/));
  assert.ok(seen.interrupted > before, "playback was told to stop");
  mic.stop();

  session.sendMessage("How far did you get, what have I heard?");
  await until("the answer to text", () => transcript(session, "assistant", /You know/));
  const story = session.history.find((item) => item.role === "assistant" && /Once upon/.test(item.content[0]?.transcript ?? ""));
  const heard = story.content[0].transcript;
  t.diagnostic(`heard of the story: ${heard}`);
  assert.ok(heard.length > 10 && !/began to wonder/.test(heard));
  const told = brain.prompts.at(-1).messages.filter(({ role }) => role === "assistant").map(({ content }) => content);
  assert.ok(told.includes(heard), `the model is told the same: ${JSON.stringify(told)}`);
  assert.deepEqual(seen.errors, []);
  const bytes = seen.sound.reduce((sum, piece) => sum + piece.length, 0);
  assert.ok(bytes > 4 * 2 * RATE, `${bytes} bytes of sound`);
  session.close();
  await untilFree(gateway.base, 3000);
});

/** The bare protocol, for what the SDK does not do. */
async function raw() {
  const socket = new WebSocket(url(""), ["realtime", `openai-insecure-api-key.${KEY}`]);
  const events = [];
  socket.addEventListener("message", ({ data }) => events.push(JSON.parse(data)));
  await new Promise((resolve, reject) => { socket.addEventListener("open", resolve); socket.addEventListener("error", reject); });
  const send = (event) => socket.send(JSON.stringify(event));
  const find = (type) => events.find((event) => event.type === type);
  return { socket, events, send, find, wait: (type, limit) => until(type, () => find(type), limit).then(() => find(type)) };
}

/** µ-law, by the letter of G.711. */
function toMuLaw(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), 32635) + 0x84;
  const exponent = Math.floor(Math.log2(magnitude)) - 7;
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)) & 0xff;
}

test("a client ends its turns itself, in G.711, and is answered in G.711", async () => {
  const { socket, send, find, wait, events } = await raw();
  const format = { type: "audio/pcmu" };
  send({ type: "session.update", session: { type: "realtime", audio: { input: { format, turn_detection: null }, output: { format } } } });
  const updated = await wait("session.updated", 5000);
  assert.equal(updated.session.audio.input.turn_detection, null);
  send({ type: "input_audio_buffer.commit", event_id: "too-early" });
  assert.equal((await wait("error", 5000)).error.code, "input_audio_buffer_commit_empty");
  const sound = Uint8Array.from(speech("What is the capital of France?", 8000), toMuLaw);
  send({ type: "input_audio_buffer.append", audio: Buffer.from(sound).toString("base64") });
  await sleep(300);
  assert.equal(find("input_audio_buffer.speech_started"), undefined, "nobody listens for turns");
  send({ type: "input_audio_buffer.commit" });
  send({ type: "response.create" });
  const words = await wait("conversation.item.input_audio_transcription.completed");
  assert.match(words.transcript, /capital/i);
  const done = await wait("response.done");
  assert.equal(done.response.status, "completed");
  assert.match(done.response.output[0].content[0].transcript, /Paris/);
  const bytes = events.filter(({ type }) => type === "response.output_audio.delta")
    .reduce((sum, { delta }) => sum + Buffer.from(delta, "base64").length, 0);
  assert.ok(bytes > 8000, `${bytes} bytes at 8 kHz`);
  socket.close();
  await untilFree(gateway.base, 3000);
});

test("text in and text out, beside the conversation and in it; and what cannot be used is answered", async () => {
  const { socket, send, events, wait } = await raw();
  await wait("session.created", 5000);
  send({ type: "response.create", response: {
    conversation: "none", output_modalities: ["text"], metadata: { topic: "aside" },
    input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "What is the capital?" }] }],
  } });
  const aside = await wait("response.done");
  assert.equal(aside.response.metadata.topic, "aside");
  assert.match(aside.response.output[0].content[0].text, /Paris/);
  send({ type: "conversation.item.create", item: { type: "message", role: "user", content: [{ type: "input_text", text: "Tell me a story." }] } });
  send({ type: "response.create", response: { output_modalities: ["text"] } });
  await until("text", () => events.filter(({ type }) => type === "response.output_text.delta").length > 8);
  send({ type: "response.cancel" });
  await until("the end", () => events.filter(({ type }) => type === "response.done").length === 2);
  assert.equal(events.findLast(({ type }) => type === "response.done").response.status, "cancelled");
  assert.equal(brain.prompts.at(-1).messages.filter(({ role }) => role === "user").length, 1, "the aside left nothing");
  socket.send("{");
  send({ type: "response.nonsense", event_id: "mine" });
  await until("errors", () => events.filter(({ type }) => type === "error").length === 2);
  assert.equal(events.at(-1).error.event_id, "mine");
  socket.close();
  await untilFree(gateway.base, 3000);
});
