// A language model for the tests: an OpenAI-compatible server that answers by rule, token by token.

import { createServer } from "node:http";

const TOKEN_MS = 20;

const STORY = "Once upon a time there was a little town by the sea, where nobody ever locked a door. "
  + "Every morning the baker sang while the boats came home. "
  + "One day a stranger arrived with a heavy suitcase and a silver dog. "
  + "He asked for a room, a map and a cup of tea, and the whole town began to wonder.";

/** What the model says to the newest message. */
function answer(messages, tools) {
  const last = messages.at(-1) ?? {};
  const text = typeof last.content === "string" ? last.content : "";
  if (last.role === "tool") return { text: `I looked it up. It is ${text}.` };
  if (/weather/i.test(text) && tools.some((tool) => tool.function.name === "get_weather")) {
    return { call: { name: "get_weather", arguments: JSON.stringify({ city: "Paris" }) } };
  }
  if (/story/i.test(text)) return { text: STORY };
  if (/said|heard|far/i.test(text)) return { text: "You know what I said." };
  if (/capital/i.test(text)) return { text: "The capital of France is Paris." };
  return { text: `You said: ${text.slice(0, 60)}` };
}

/** Starts the server, with rules of its own if wanted. `prompts` are the requests it got, newest last. */
export async function startBrain(rules = answer) {
  const prompts = [];
  const server = createServer(async (request, response) => {
    if (request.url.endsWith("/models")) {
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify({ object: "list", data: [{ id: "rules", object: "model" }] }));
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    const asked = JSON.parse(body || "{}");
    prompts.push(asked);
    const { text, call } = rules(asked.messages ?? [], asked.tools ?? []);
    response.setHeader("content-type", "text/event-stream");
    const send = (choice, usage) => response.write(`data: ${JSON.stringify({
      id: "c", object: "chat.completion.chunk", created: 1, model: "rules", choices: choice ? [choice] : [], ...(usage ? { usage } : {}),
    })}\n\n`);
    if (call) {
      send({ index: 0, delta: { role: "assistant", tool_calls: [{ index: 0, id: `call_${prompts.length}`, type: "function", function: call }] }, finish_reason: null });
      send({ index: 0, delta: {}, finish_reason: "tool_calls" });
    } else {
      for (const token of text.match(/\S+\s*/g) ?? []) {
        if (response.destroyed) return;
        send({ index: 0, delta: { content: token }, finish_reason: null });
        await new Promise((resolve) => setTimeout(resolve, TOKEN_MS));
      }
      send({ index: 0, delta: {}, finish_reason: "stop" });
    }
    send(null, { prompt_tokens: 42, completion_tokens: 7, total_tokens: 49 });
    response.end("data: [DONE]\n\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  return { url: `http://127.0.0.1:${port}/v1`, prompts, stop: () => { server.closeAllConnections(); server.close(); } };
}
