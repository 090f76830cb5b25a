// The page in Debian's Firefox: the journey of a call, as far as a browser without a screen can go.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startBrain } from "./brain.mjs";
import { screenshots } from "./browser.mjs";
import { launchFirefox, openFirefox } from "./firefox.mjs";
import { calls, startGateway, untilFree } from "./gateway.mjs";

const ANSWER_MS = 60_000;

// Sound is taken at every address: Firefox reaches none at 127.0.0.1, since it has no candidate there itself.
const OPTIONS = ["--media-address", "0.0.0.0", "--no-fillers", "--llm-model", "rules"];

let brain, gateway, firefox;
before(async () => {
  brain = await startBrain();
  [gateway, firefox] = await Promise.all([startGateway(...OPTIONS, "--llm-url", brain.url), launchFirefox()]);
});
after(async () => {
  await firefox?.close();
  await gateway?.stop();
  brain?.stop();
});

const texts = (page, selector) => page.$$eval(selector, (nodes) => nodes.map((node) => node.textContent));
const until = (page, condition, ...more) => page.waitForFunction(condition, { timeout: ANSWER_MS, polling: 50 }, ...more);
const inCall = (page) => until(page, () => window.eva.state === "connected");

test("a spoken question is captioned and answered aloud, words light up, muting works, hanging up frees the call", async (t) => {
  t.diagnostic(await firefox.version());
  const page = await openFirefox(firefox, gateway.base, { says: "What is the capital of France?" });
  assert.match(await page.title(), /EVA-Voice/);
  await page.click("#call");
  await inCall(page);
  assert.equal(await calls(gateway.base), 1);
  await page.evaluate(() => {
    window.lit = [];
    setInterval(() => window.lit.push(document.querySelectorAll(".word.heard").length), 20);
  });

  await until(page, () => /capital/i.test(document.querySelector("#captions li.you.settled")?.textContent ?? ""));
  await until(page, () => /Paris/.test(document.querySelector("#captions li.eva")?.textContent ?? ""));
  await until(page, () => document.querySelector("#captions .word.now") !== null);
  await page.screenshot({ path: join(screenshots, "firefox-call-desktop-light.png") });
  await until(page, () => {
    const words = [...document.querySelectorAll("#captions li.eva .word")];
    return words.length > 0 && words.every((word) => word.classList.contains("heard"));
  });
  t.diagnostic(`said and heard: ${(await texts(page, "#captions li")).join(" | ")}`);
  const steps = await page.evaluate(() => new Set(window.lit).size);
  assert.ok(steps >= 4, `words light up one after another, not at once: ${steps} steps`);
  const stats = await page.evaluate(() => window.eva.stats());
  t.diagnostic(`received ${JSON.stringify(stats)}`);
  assert.ok(stats.bytesReceived > 2000, "sound arrived");
  assert.ok(stats.receivedPeak > 0.01, `the sound is not silence: peak ${stats.receivedPeak}`);
  assert.ok(stats.receivedEnergy > 1e-4, `the sound is not silence: energy ${stats.receivedEnergy}`);

  await page.click("#mute");
  assert.equal(await page.$eval("#mute", (button) => button.getAttribute("aria-pressed")), "true");
  assert.equal(await page.evaluate(() => window.eva.muted), true);
  await page.click("#mute");
  assert.equal(await page.evaluate(() => window.eva.muted), false);

  await page.click("#call");
  t.diagnostic(`free after ${Math.round(await untilFree(gateway.base, 1000))} ms`);
  assert.equal(await page.evaluate(() => window.eva.state), "idle");
  assert.deepEqual(page.trouble, []);
  await page.close();
});

test("leaving the page frees the call, and a phone's width holds all", async () => {
  const page = await openFirefox(firefox, gateway.base, { viewport: { width: 390, height: 844 } });
  await page.click("#call");
  await inCall(page);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `the page is ${wide} px wider than the window`);
  await page.screenshot({ path: join(screenshots, "firefox-call-phone-light.png") });
  await page.goto("about:blank");
  await untilFree(gateway.base, 2000);
  assert.deepEqual(page.trouble, []);
  await page.close();
});

test("a refused microphone is explained, in French where the browser is French", async () => {
  const refusing = await launchFirefox({ allow: false, locale: "fr-FR, fr" });
  try {
    const page = await openFirefox(refusing, gateway.base);
    assert.equal(await page.$eval("html", (html) => html.lang), "fr");
    await page.click("#call");
    await page.waitForSelector('#notice[data-code="permission"]:not([hidden])');
    assert.match(await page.$eval("#notice", (node) => node.textContent), /microphone a été refusé/);
    assert.equal(await page.evaluate(() => window.eva.state), "idle");
    assert.deepEqual(page.trouble, []);
  } finally {
    await refusing.close();
  }
});
