// The network goes away under a call, and comes back, or another one comes: for real, between two network namespaces.
//
// The browser has two ways to the gateway, each its own interface and its own addresses. What is measured is when
// EVA's sound flows again. Needs root and network namespaces; without them the tests are left out, by name.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { startBrain } from "./brain.mjs";
import { call, launch, microphoneFile, open, shoot } from "./browser.mjs";
import { ownGateway, startGateway } from "./gateway.mjs";

const ANSWER_MS = 60_000;
/** From the moment a way is there again until sound comes on it. */
const BACK_MS = 10_000;
const BROWSER_NET = `evan${process.pid}`;
/** Interfaces: the gateway's end, the browser's end. */
const CABLE = { here: `eva${process.pid}a`, there: "evan1", gateway: "10.213.5.1", browser: "10.213.5.2" };
const AIR = { here: `eva${process.pid}b`, there: "evan3", gateway: "10.213.6.1", browser: "10.213.6.2" };

const ip = (...args) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"] });
const inside = (...args) => ip("-n", BROWSER_NET, ...args);

/** Why the tests cannot run here, or false. */
function missing() {
  if (!ownGateway) return "the gateway must be its own";
  try {
    ip("netns", "add", BROWSER_NET);
    return false;
  } catch {
    return "no network namespaces (they need root)";
  }
}
const skip = missing();

/** The browser's end of a way comes up, and leads to the gateway. */
function up(way) {
  inside("link", "set", way.there, "up");
  inside("route", "replace", "default", "via", way.gateway, "dev", way.there);
}

const down = (way) => inside("link", "set", way.there, "down");

/** Nothing arrives any more, and no end is told: packets go to machines that do not exist. */
function swallow(way) {
  const nobody = "02:00:00:00:00:99";
  ip("neigh", "replace", way.browser, "lladdr", nobody, "dev", way.here, "nud", "permanent");
  inside("neigh", "replace", way.gateway, "lladdr", nobody, "dev", way.there, "nud", "permanent");
}

function release(way) {
  ip("neigh", "del", way.browser, "dev", way.here);
  inside("neigh", "del", way.gateway, "dev", way.there);
}

function lay() {
  for (const { here, there, gateway, browser } of [CABLE, AIR]) {
    ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", BROWSER_NET);
    ip("addr", "add", `${gateway}/24`, "dev", here);
    ip("link", "set", here, "up");
    inside("addr", "add", `${browser}/24`, "dev", there);
  }
  inside("link", "set", "lo", "up");
  up(CABLE);
}

const scratch = mkdtempSync(join(tmpdir(), "eva-network-"));
let brain, gateway, browser;

before(async () => {
  if (skip) return;
  lay();
  brain = await startBrain();
  const program = join(scratch, "chromium");
  writeFileSync(program, `#!/bin/sh\nexec ip netns exec ${BROWSER_NET} ${process.env.CHROMIUM || "/usr/bin/chromium"} "$@"\n`);
  chmodSync(program, 0o700);
  // The question comes when the network has been back for a while.
  const microphone = microphoneFile("What is the capital of France?", { lead: 14, tail: 5 });
  [gateway, browser] = await Promise.all([
    startGateway("--listen", `${CABLE.gateway}:0`, "--open", "--certs", join(scratch, "certs"),
      "--llm-url", brain.url, "--llm-model", "rules", "--no-fillers", "--no-backchannels"),
    launch({ program, microphone }),
  ]);
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  brain?.stop();
  for (const made of [["link", "del", CABLE.here], ["link", "del", AIR.here], ["netns", "del", BROWSER_NET]]) {
    try {
      ip(...made);
    } catch {
      // it was never made
    }
  }
  rmSync(scratch, { recursive: true, force: true });
});

// A page that a failed test has left would go on with its call.
afterEach(() => Promise.all(browser?.contexts().map((context) => context.close()) ?? []));

/** How many calls the gateway has. */
const calls = () => new Promise((resolve, reject) => {
  request(new URL("health", gateway.base), { rejectUnauthorized: false }, (response) => {
    let body = "";
    response.on("data", (part) => (body += part));
    response.on("end", () => resolve(JSON.parse(body).calls));
  }).on("error", reject).end();
});

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A call in which EVA tells a story. Keeps what the call tells, and how many packets of sound have come. */
async function storyCall() {
  const page = await open(browser, gateway.base, { ignoreHTTPSErrors: true });
  await page.evaluate(() => {
    window.told = [];
    for (const kind of ["state", "reconnecting", "resumed", "end", "error"]) {
      window.eva.addEventListener(kind, ({ detail }) => window.told.push({ at: performance.now(), kind, ...detail }));
    }
    window.flow = [];
    setInterval(async () => {
      const packets = (await window.eva.stats())?.packetsReceived ?? 0;
      if (packets !== (window.flow.at(-1)?.packets ?? 0)) window.flow.push({ at: performance.now(), packets });
    }, 20);
  });
  await call(page);
  await page.evaluate(() => window.eva.say("Tell me a story."));
  await page.locator("#captions li.eva .word.now").first().waitFor({ timeout: ANSWER_MS });
  await wait(1000);
  return page;
}

/** How long after `from` (the page's clock) the next sound came, ms. */
async function untilSound(page, from) {
  await page.waitForFunction((from) => window.flow.some(({ at }) => at > from), from, { timeout: 30_000 });
  return page.evaluate((from) => window.flow.find(({ at }) => at > from).at - from, from);
}

const clock = (page) => page.evaluate(() => performance.now());
const told = async (page, from) => (await page.evaluate(() => window.told))
  .filter(({ at }) => at > from)
  .map(({ at, kind, ...more }) => `${Math.round(at - from)} ms ${kind} ${Object.values(more).join(" ")}`).join(", ") || "nothing";

/** A line that the person writes, until EVA answers it. */
async function asksInWriting(page, text, answer) {
  const answers = page.locator("#captions li.eva p").filter({ hasText: answer });
  const before = await answers.count();
  await page.waitForFunction((text) => window.eva.state === "connected" && window.eva.say(text), text, { timeout: ANSWER_MS });
  await answers.nth(before).waitFor({ timeout: ANSWER_MS });
}

async function isTheSame(page, id) {
  assert.equal(await page.evaluate(() => window.eva.id), id, `it is the same call: ${await told(page, 0)}`);
  assert.equal(await page.evaluate(() => window.eva.state), "connected");
  assert.equal(await calls(), 1);
  assert.equal(await page.evaluate(() => window.told.some(({ kind }) => kind === "end")), false);
  assert.match(await page.locator("#captions").innerText(), /Once upon a time/, "the captions stay");
  assert.equal(await page.locator("#notice").isVisible(), false);
}

/** That the call lives, both ways: what is written arrives, and the person's spoken question is heard and answered. */
async function talksOn(page, id) {
  await asksInWriting(page, "How far did I walk?", /You know what I said/);
  const you = page.locator("#captions li.you.settled p").filter({ hasText: /capital/i });
  await you.first().waitFor({ timeout: ANSWER_MS });
  await page.locator("#captions li.eva p").filter({ hasText: /Paris/ }).first().waitFor({ timeout: ANSWER_MS });
  await isTheSame(page, id);
}

const ENDS = [
  ["is unplugged for 4 s", { away: () => down(CABLE), back: () => up(CABLE) }],
  ["swallows everything for 4 s, without a word", { away: () => swallow(CABLE), back: () => release(CABLE) }],
];
for (const [name, { away, back }] of ENDS) {
  test(`the network ${name}: the call goes on`, { skip }, async (t) => {
    const page = await storyCall();
    const id = await page.evaluate(() => window.eva.id);
    away();
    const cut = await clock(page);
    await wait(4000);
    await shoot(page, `network-away-${name.split(" ")[0]}-desktop-light`);
    const silent = await page.evaluate((cut) => window.flow.filter(({ at }) => at > cut + 500).length, cut);
    assert.equal(silent, 0, "no sound comes while there is no network");
    back();
    const from = await clock(page);
    const took = await untilSound(page, from);
    t.diagnostic(`sound flows again ${Math.round(took)} ms after the network is back; since it went: ${await told(page, cut)}`);
    assert.ok(took <= BACK_MS, `${took} ms`);
    await talksOn(page, id);
    await page.context().close();
  });
}

test("the browser's address changes in mid-call: ICE restarts, the call stays the same, sound flows", { skip }, async (t) => {
  const page = await storyCall();
  const id = await page.evaluate(() => window.eva.id);
  up(AIR);
  down(CABLE);
  const from = await clock(page);
  const took = 300 + await untilSound(page, from + 300); // what was under way still arrives
  await page.waitForFunction(() => window.told.some(({ kind }) => kind === "resumed"), undefined, { timeout: 30_000 });
  t.diagnostic(`sound flows again ${Math.round(took)} ms after the address has changed; since then: ${await told(page, from)}`);
  assert.ok(took <= BACK_MS, `${took} ms`);
  const resumed = await page.evaluate(() => window.told.filter(({ kind }) => kind === "resumed"));
  assert.deepEqual(resumed.map(({ how }) => how), ["ice"], await told(page, from));
  await talksOn(page, id);
  // And back again. The old way may do without a restart.
  up(CABLE);
  down(AIR);
  const again = await clock(page);
  await asksInWriting(page, "What is the capital of Peru?", /capital of France/);
  t.diagnostic(`and back: ${await told(page, again)}`);
  await isTheSame(page, id);
  await page.context().close();
});
