// A conversation over a WebSocket. Run: node examples/ws_chat.mjs [ws://127.0.0.1:8484/ws/chat]
// Node 22 or later (20 with --experimental-websocket). Type a message; Ctrl-D ends.
import readline from "node:readline";

const socket = new WebSocket(process.argv[2] ?? "ws://127.0.0.1:8484/ws/chat");
socket.onclose = () => process.exit();
socket.onerror = () => console.error("The gateway cannot be reached.");
await new Promise((opened) => (socket.onopen = opened));

const input = readline.createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
let unanswered = 0;
let ended = false;
socket.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (event.type === "token") process.stdout.write(event.text);
  if (event.type === "error") console.error(event.error.message);
  if (event.type === "end") console.log(`\n(${event.latency_ms} ms)`);
  if (event.type !== "end" && event.type !== "error") return;
  unanswered -= 1;
  if (ended && unanswered === 0) socket.close();
  else input.prompt();
};
input.on("line", (message) => {
  unanswered += 1;
  socket.send(JSON.stringify({ type: "message", message }));
});
input.on("close", () => {
  ended = true;
  if (unanswered === 0) socket.close();
});
input.prompt();
