// What a page elsewhere does with OpenAI's browser SDK: only the base URL is ours.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from "./sdk/openai-realtime-agents.mjs";

/** Texts that came on the data channel, whatever the SDK makes of them. */
let raw = 0;
const create = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function channel(...args) {
  const made = create.apply(this, args);
  made.addEventListener("message", () => { raw += 1; });
  return made;
};

const events = [];
const errors = [];
const tools = [];

window.start = async (base, secret) => {
  const weather = tool({
    name: "get_weather",
    description: "The weather in a city",
    strict: false,
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: true },
    execute: async (input) => { tools.push(input); return "sunny and warm"; },
  });
  const agent = new RealtimeAgent({ name: "EVA", instructions: "You are EVA.", tools: [weather] });
  const transport = new OpenAIRealtimeWebRTC({ baseUrl: new URL("v1/realtime/calls", base).href });
  const session = new RealtimeSession(agent, { transport });
  transport.on("*", (event) => events.push({ at: performance.now(), event }));
  session.on("error", (error) => errors.push(JSON.stringify(error)));
  const from = performance.now();
  await session.connect({ apiKey: secret });
  window.session = session;
  return performance.now() - from;
};
window.seen = () => ({ raw, events, errors, tools, history: window.session.history, callId: window.session.transport.callId });
