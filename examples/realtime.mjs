// Asks EVA a question over OpenAI's Realtime protocol with OpenAI's own SDK, and saves her answer.
//
//   npm install @openai/agents-realtime zod
//   node realtime.mjs http://127.0.0.1:8484 question.wav answer.wav     (EVA_API_KEY, if the gateway wants one)
//
// question.wav: 16-bit mono at 24 kHz (sox any.wav -r 24000 -c 1 -b 16 question.wav).

import { readFile, writeFile } from "node:fs/promises";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

const [base = "http://127.0.0.1:8484", question = "question.wav", answer = "answer.wav"] = process.argv.slice(2);
const RATE = 24000;
const url = `${base.replace(/^http/, "ws")}/v1/realtime`;

const agent = new RealtimeAgent({ name: "EVA", instructions: "Answer in one short sentence." });
const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebSocket({ url }) });
const sound = [];
session.on("audio", ({ data }) => sound.push(Buffer.from(data)));
session.on("error", ({ error }) => console.error("EVA says:", error));
await session.connect({ apiKey: process.env.EVA_API_KEY ?? "none", url });

// A microphone gives 20 ms at a time, and silence when the question is over.
const wav = await readFile(question);
let samples = wav.subarray(wav.indexOf("data") + 8);
const frame = (RATE / 50) * 2;
const microphone = setInterval(() => {
  const piece = Buffer.alloc(frame);
  samples.copy(piece, 0, 0, frame);
  samples = samples.subarray(frame);
  session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + frame));
}, 20);

session.transport.on("*", async (event) => {
  if (event.type === "conversation.item.input_audio_transcription.completed") console.log("You:", event.transcript);
  if (event.type !== "response.done") return;
  console.log("EVA:", event.response.output.flatMap((item) => item.content ?? []).map((part) => part.transcript).join(" "));
  clearInterval(microphone);
  const pcm = Buffer.concat(sound);
  const header = Buffer.alloc(44);
  header.write("RIFF", 0); header.writeUInt32LE(36 + pcm.length, 4); header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16); header.writeUInt16LE(1, 20); header.writeUInt16LE(1, 22);
  header.writeUInt32LE(RATE, 24); header.writeUInt32LE(2 * RATE, 28); header.writeUInt16LE(2, 32); header.writeUInt16LE(16, 34);
  header.write("data", 36); header.writeUInt32LE(pcm.length, 40);
  await writeFile(answer, Buffer.concat([header, pcm]));
  session.close();
});
