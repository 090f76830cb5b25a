// A call through a TURN server, where nothing else reaches the gateway.
//
// Three networks: the browser's, the relay's in the middle, the gateway's. The middle one forwards no
// packets, so the browser's UDP (and TCP) never arrives; it reaches coturn over TCP, and coturn the
// gateway over UDP. Only the page and the offer come another way, through a socket in a file. Needs
// root and network namespaces; without them the test is left out, by name.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { call, launch, microphoneFile, open } from "./browser.mjs";
import { ownGateway, startGateway } from "./gateway.mjs";

const ANSWER_MS = 60_000;
const SECRET = "north-of-the-wall";
/** Names and addresses that nothing else here uses. */
const BROWSER_NET = `evab${process.pid}`;
const RELAY_NET = `evar${process.pid}`;
const HERE = "10.213.2.1";
const RELAY_OUT = "10.213.2.2";
const RELAY_IN = "10.213.1.1";
const BROWSER = "10.213.1.2";
const PAGE_PORT = 18484;

const ip = (...args) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"] });

/** Why the test cannot run here, or false. */
function missing() {
  if (!ownGateway) return "the gateway must be its own";
  try {
    execFileSync("turnserver", ["--version"], { stdio: "ignore" });
  } catch (error) {
    if (error.code === "ENOENT") return "coturn is not installed";
  }
  try {
    ip("netns", "add", BROWSER_NET);
    return false;
  } catch {
    return "no network namespaces (they need root)";
  }
}
const skip = missing();

const scratch = mkdtempSync(join(tmpdir(), "eva-relay-"));
const socket = join(scratch, "page.sock");
const children = [];
let gateway, browser, ways, relayLog = "";

function lay() {
  ip("netns", "add", RELAY_NET);
  ip("link", "add", "evah", "type", "veth", "peer", "name", "evai", "netns", RELAY_NET);
  ip("addr", "add", `${HERE}/24`, "dev", "evah");
  ip("link", "set", "evah", "up");
  ip("-n", RELAY_NET, "addr", "add", `${RELAY_OUT}/24`, "dev", "evai");
  ip("-n", RELAY_NET, "link", "add", "evaj", "type", "veth", "peer", "name", "evak", "netns", BROWSER_NET);
  ip("-n", RELAY_NET, "addr", "add", `${RELAY_IN}/24`, "dev", "evaj");
  ip("-n", BROWSER_NET, "addr", "add", `${BROWSER}/24`, "dev", "evak");
  for (const [net, device] of [[RELAY_NET, "evai"], [RELAY_NET, "evaj"], [RELAY_NET, "lo"], [BROWSER_NET, "evak"], [BROWSER_NET, "lo"]]) {
    ip("-n", net, "link", "set", device, "up");
  }
  // The browser does try: its packets to the gateway end in the middle.
  ip("-n", BROWSER_NET, "route", "add", "default", "via", RELAY_IN);
  execFileSync("ip", ["netns", "exec", RELAY_NET, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"], { stdio: "ignore" });
}

function startRelay() {
  const relay = spawn("ip", [
    "netns", "exec", RELAY_NET, "turnserver", "-n", "--log-file=stdout", `--pidfile=${join(scratch, "pid")}`,
    `--listening-ip=${RELAY_IN}`, `--relay-ip=${RELAY_OUT}`, "--listening-port=3478", "--no-tls", "--no-dtls", "--no-cli",
    "--realm=eva.example", "--use-auth-secret", `--static-auth-secret=${SECRET}`,
    // As docs/api/safety.md advises: the relay leads to the gateway and nowhere else.
    "--denied-peer-ip=0.0.0.0-255.255.255.255", `--allowed-peer-ip=${HERE}`, "--verbose",
  ], { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [relay.stdout, relay.stderr]) stream.on("data", (text) => (relayLog += text));
  children.push(relay);
}

/** Carries bytes between the page's port in the browser's network and the gateway. */
function startWays(target) {
  ways = createServer((near) => {
    const far = connect(target.port, target.hostname);
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  }).listen(socket);
  const inside = `
    const { createServer, connect } = require("node:net");
    createServer((near) => {
      const far = connect(${JSON.stringify(socket)});
      near.pipe(far).pipe(near);
      near.on("error", () => far.destroy());
      far.on("error", () => near.destroy());
    }).listen(${PAGE_PORT}, "127.0.0.1");`;
  children.push(spawn("ip", ["netns", "exec", BROWSER_NET, process.execPath, "-e", inside], { stdio: "ignore" }));
}

before(async () => {
  if (skip) return;
  lay();
  startRelay();
  gateway = await startGateway(
    "--listen", `${HERE}:0`, "--open", "--certs", join(scratch, "certs"),
    "--ice-server", `turn:${RELAY_IN}:3478?transport=tcp`, "--turn-secret", SECRET,
  );
  startWays(new URL(gateway.base));
  const program = join(scratch, "chromium");
  writeFileSync(program, `#!/bin/sh\nexec ip netns exec ${BROWSER_NET} ${process.env.CHROMIUM || "/usr/bin/chromium"} "$@"\n`);
  chmodSync(program, 0o700);
  browser = await launch({ program, microphone: microphoneFile("What is the capital of France?") });
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  ways?.close();
  children.forEach((child) => child.kill());
  for (const net of [BROWSER_NET, RELAY_NET]) {
    try {
      ip("netns", "del", net);
    } catch {
      // it was never made
    }
  }
  rmSync(scratch, { recursive: true, force: true });
});

test("where UDP to the gateway is cut off, a call goes through the relay and is answered", { skip }, async (t) => {
  assert.throws(
    () => execFileSync("ip", ["netns", "exec", BROWSER_NET, process.execPath, "-e", `
      const { connect } = require("node:net");
      connect({ host: ${JSON.stringify(HERE)}, port: ${new URL(gateway.base).port}, timeout: 1500 })
        .on("connect", () => process.exit(0)).on("timeout", () => process.exit(1)).on("error", () => process.exit(1));`]),
    undefined, "nothing but the relay leads to the gateway");
  const page = await open(browser, "about:blank", { ignoreHTTPSErrors: true });
  await page.addInitScript(() => {
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        window.connections.push(this);
      }
    };
  });
  await page.goto(`https://localhost:${PAGE_PORT}/`);
  await call(page).catch((error) => {
    throw new Error(`${error.message}\nThe relay said:\n${relayLog.slice(-3000)}`);
  });
  const path = await page.evaluate(async () => {
    const stats = [...(await window.connections.at(-1).getStats()).values()];
    const pair = stats.find((item) => item.type === "candidate-pair" && item.nominated && item.state === "succeeded");
    const { candidateType, relayProtocol } = stats.find((item) => item.id === pair.localCandidateId);
    return { candidateType, relayProtocol };
  });
  t.diagnostic(`path ${JSON.stringify(path)}`);
  assert.deepEqual(path, { candidateType: "relay", relayProtocol: "tcp" });
  const eva = page.locator("#captions li.eva p").filter({ hasText: /Paris/ });
  await eva.first().waitFor({ timeout: ANSWER_MS });
  const stats = await page.evaluate(() => window.eva.stats());
  assert.ok(stats.receivedPeak > 0.01, `the answer is heard: ${JSON.stringify(stats)}`);
  assert.match(relayLog, /user <\d+:anybody>/, "the relay let it in by a name of its own time");
});
