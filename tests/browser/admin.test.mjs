// The operator's view on a real gateway with real models: the key, a call in another page seen live and ended, figures,
// errors, a recording that plays.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { axe, nothingLost } from "./accessibility.mjs";
import { startBrain } from "./brain.mjs";
import { launch, microphoneFile, open, shoot } from "./browser.mjs";
import { ownGateway, startGateway } from "./gateway.mjs";

const KEY = "operators-key";
/** A question may take this long to be heard and answered on a slow machine. */
const ANSWER_MS = 60_000;
const skip = !ownGateway && "the gateway named by EVA_URL has other keys and no recordings";

let brain, gateway, browser, folder, base;
before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "eva-recordings-"));
  brain = await startBrain();
  gateway = await startGateway("--api-key", KEY, "--recordings", folder, "--database", join(folder, "eva.db"), "--llm-url", brain.url);
  base = new URL("admin", gateway.base).href;
  browser = await launch({ microphone: microphoneFile("What is the capital of France?") });
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
  brain?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Opens the view with the key in the tab. */
async function enter(context = {}) {
  const page = await open(browser, base, context);
  await page.fill("#key", KEY);
  await page.press("#key", "Enter");
  await page.waitForSelector("#view:not([hidden])");
  return page;
}

/** Begins a call in a page of its own, through the library, as the call page does. */
async function caller() {
  const page = await open(browser, gateway.base);
  await page.evaluate(async (key) => {
    const { EvaCall } = await import("/eva-voice.js");
    const call = window.caller = new EvaCall();
    window.hangups = [];
    call.addEventListener("hangup", (event) => window.hangups.push(event.detail.reason));
    await call.connect({ key });
  }, KEY);
  return page;
}

test("nobody sees anything without an operator's key", { skip }, async () => {
  const page = await open(browser, base);
  await page.waitForSelector("#door:not([hidden])");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "key");
  await page.fill("#key", "wrong");
  await page.press("#key", "Enter");
  await page.waitForSelector("#key-wrong:not([hidden])");
  assert.match(await page.locator("#key-wrong").innerText(), /not right/);
  assert.equal(await page.locator("#view").isVisible(), false);
  await shoot(page, "admin-key-desktop-light");
  await page.fill("#key", KEY);
  await page.press("#key", "Enter");
  await page.waitForSelector("#view:not([hidden])");
  assert.match(await page.locator("h1 >> visible=true").innerText(), /^0 calls now/);
  await page.reload();
  await page.waitForSelector("#view:not([hidden])");
  await page.getByRole("button", { name: "Forget the key" }).click();
  await page.waitForSelector("#door:not([hidden])");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("a call is followed live, ended by keyboard, and its recording plays", { skip }, async (t) => {
  const page = await enter();
  await page.evaluate(() => {
    window.seen = [];
    new MutationObserver(() => {
      const now = document.querySelector(".call")?.dataset.state;
      if (now && window.seen.at(-1) !== now) window.seen.push(now);
    }).observe(document.querySelector("#calls"), { subtree: true, childList: true, attributes: true });
  });
  const other = await caller();
  await page.waitForSelector(".call");
  assert.match(await page.locator("#count").innerText(), /^1 call now/);
  await page.waitForFunction(() => window.seen.includes("speaking"), undefined, { timeout: ANSWER_MS });
  const seen = await page.evaluate(() => window.seen);
  t.diagnostic(`states ${seen.join(" → ")}`);
  for (const state of ["listening", "hearing", "thinking", "speaking"]) assert.ok(seen.includes(state), state);
  await page.waitForFunction(() => /\d+ ms/.test(document.querySelector(".call .answer")?.textContent ?? ""));
  await page.waitForSelector("#speed .figures:not([hidden])");
  assert.match(await page.locator("#speed .whole figcaption").innerText(), /p50.*ms.*p95.*ms.*1 turn/s);
  assert.equal(await page.locator("#speed .parts figure").count(), 7);
  await page.waitForFunction(() => /%/.test(document.querySelector("#strip dd")?.textContent ?? ""));
  await page.waitForFunction(() => /udp/i.test(document.querySelector(".call .kind")?.textContent ?? ""));
  await shoot(page, "admin-desktop-light");

  // A row is changed in place: the focus stays on its button while the state goes on.
  const end = page.locator(".call button");
  await end.focus();
  await page.waitForTimeout(1500);
  assert.equal(await end.evaluate((button) => button === document.activeElement), true);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#sure[open]");
  await shoot(page, "admin-end-desktop-light");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".call").count(), 1, "escape ends nothing");
  await end.press("Enter");
  await page.waitForSelector("#sure[open]");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".call", { state: "detached" });
  assert.match(await page.locator("#said").innerText(), /has been ended/);
  await other.waitForFunction(() => window.hangups.includes("operator"));
  await other.waitForFunction(() => window.caller.state === "idle");
  await other.waitForTimeout(1500);
  assert.equal(await other.evaluate(() => window.caller.state), "idle", "the page does not call again");
  await other.context().close();

  const listen = page.getByRole("button", { name: /^Listen to the call of/ });
  await listen.click();
  await page.waitForFunction(() => document.querySelector("audio")?.currentTime > 0.3);
  const sound = await page.evaluate(async (key) => {
    const headers = { Authorization: `Bearer ${key}` };
    const { data: [{ name }] } = await (await fetch("/admin/recordings", { headers })).json();
    const bytes = await (await fetch(`/admin/recordings/${name}`, { headers })).arrayBuffer();
    const buffer = await new OfflineAudioContext(2, 1, 48_000).decodeAudioData(bytes);
    const first = [0, 1].map((channel) => buffer.getChannelData(channel).findIndex((sample) => Math.abs(sample) > 0.05) / buffer.sampleRate);
    return { duration: buffer.duration, numberOfChannels: buffer.numberOfChannels, first };
  }, KEY);
  t.diagnostic(`recording ${JSON.stringify(sound)}`);
  assert.equal(sound.numberOfChannels, 2);
  assert.ok(sound.duration > 4 && sound.first[0] > 0 && sound.first[1] > sound.first[0], "the person, then EVA");
  await page.locator("#recordings").scrollIntoViewIfNeeded();
  await shoot(page, "admin-recordings-desktop-light");
  await page.getByRole("button", { name: /^Delete the recording of/ }).press("Enter");
  await page.locator("#sure-yes").press("Enter");
  await page.waitForSelector(".kept", { state: "detached" });
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

// Last: it ends the gateway.
test("it fits a phone, speaks French, and says when the gateway is away", { skip }, async () => {
  const phone = await enter({ viewport: { width: 390, height: 844 }, colorScheme: "dark", bypassCSP: true });
  const desk = await enter({ colorScheme: "dark" });
  const narrow = await enter({ viewport: { width: 320, height: 700 }, locale: "fr-FR", bypassCSP: true });
  const other = await caller();
  for (const page of [phone, desk, narrow]) {
    await page.waitForSelector(".call");
    await page.waitForSelector("#speed .figures:not([hidden])");
    await page.waitForFunction(() => /udp/i.test(document.querySelector(".call .kind")?.textContent ?? ""));
  }
  await shoot(phone, "admin-phone-dark");
  await shoot(desk, "admin-desktop-dark");
  await shoot(narrow, "admin-narrow-light-french");
  assert.match(await narrow.locator("#count").innerText(), /^1 appel en cours/);
  for (const [page, name] of [[phone, "phone, dark"], [narrow, "320 px, French"]]) {
    await axe(page, name);
    await nothingLost(page, name);
  }
  gateway.kill();
  await desk.waitForFunction(() => /does not answer; trying again/.test(document.querySelector("#link").textContent));
  await shoot(desk, "admin-away-desktop-dark");
  assert.deepEqual([...phone.trouble, ...desk.trouble, ...narrow.trouble], []);
  for (const page of [phone, desk, narrow, other]) await page.context().close();
});
