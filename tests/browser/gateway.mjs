// A gateway for the tests: started, awaited until it answers, ended.

import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Loading and warming the models up may take this long. */
const READY_MS = 180_000;

/** Whether the tests start the gateway themselves and so may end it. */
export const ownGateway = !process.env.EVA_URL;

/** Starts a gateway, or takes the one named by EVA_URL. */
export async function startGateway(...options) {
  if (!ownGateway) return { base: new URL("/", process.env.EVA_URL).href, stop: async () => {}, kill: () => {} };
  const args = ["serve", ...(options.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"]), ...options];
  const child = spawn(process.env.EVA_BIN, args, {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  const said = [];
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)));
  let late;
  const base = await new Promise((resolve, reject) => {
    const give = (line) => {
      said.push(line);
      if (said.length > 200) said.shift();
      const found = /answers at (http\S+)/.exec(line);
      if (found) resolve(found[1]);
    };
    createInterface({ input: child.stdout }).on("line", give);
    createInterface({ input: child.stderr }).on("line", give);
    child.once("error", (error) => reject(new Error(`The gateway ${process.env.EVA_BIN} does not start: ${error.message}`)));
    late = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`The gateway was not ready after ${READY_MS / 1000} s. It said:\n${said.join("\n")}`));
    }, READY_MS);
    ended.then((how) => reject(new Error(`The gateway ended (${how}) before it was ready. It said:\n${said.join("\n")}`)));
  }).finally(() => clearTimeout(late));
  process.once("exit", () => child.kill("SIGKILL"));
  return {
    base,
    /** Ends it as a service manager would. */
    async stop() {
      child.kill("SIGTERM");
      const forced = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(forced);
    },
    /** Ends it without a goodbye. */
    kill: () => child.kill("SIGKILL"),
  };
}

/** A port that nothing listens on, for a gateway that is to be found there again. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** How many calls the gateway has now. */
export async function calls(base) {
  const health = await (await fetch(new URL("health", base))).json();
  return health.calls;
}

/** Waits until the gateway has no call; returns how long that took, ms. */
export async function untilFree(base, limitMs) {
  const from = performance.now();
  for (;;) {
    const now = await calls(base);
    const took = performance.now() - from;
    if (now === 0) return took;
    if (took > limitMs) throw new Error(`The gateway still has ${now} call(s) after ${Math.round(took)} ms.`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
