// The page in Debian's Firefox: the journey of a call, as far as a browser without a screen can go.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { startBrain } from "./brain.mjs";
import { screenshots } from "./browser.mjs";
import { launchFirefox, openFirefox } from "./firefox.mjs";
import { calls, freePort, ownGateway, startGateway, untilFree } from "./gateway.mjs";

const ANSWER_MS = 60_000;

let brain, gateway, firefox, port;
/** The same gateway, again and again. */
const start = () => startGateway("--listen", `127.0.0.1:${port}`, "--llm-url", brain.url, "--llm-model", "rules", "--no-fillers", "--no-backchannels");

before(async () => {
  brain = await startBrain();
  port = await freePort();
  [gateway, firefox] = await Promise.all([start(), launchFirefox()]);
});
after(async () => {
  await firefox?.close();
  await gateway?.stop();
  brain?.stop();
});

// A page that a failed test has left would go on with its call.
afterEach(async () => {
  for (const page of (await firefox?.pages())?.slice(1) ?? []) await page.close();
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

test("what is written is answered aloud, and a button can be held to talk", async () => {
  const page = await openFirefox(firefox, gateway.base);
  await page.click("#call");
  await inCall(page);
  await page.type("#say", "Tell me a story.");
  await page.keyboard.press("Enter");
  await until(page, () => /Tell me a story/.test(document.querySelector("#captions li.you.settled")?.textContent ?? ""));
  await until(page, () => document.querySelector("#captions li.eva .word.now") !== null);
  await page.click("#open-settings");
  await page.click("#push");
  await page.keyboard.press("Escape");
  await page.waitForSelector("#hold:not([hidden])");
  // A press stops EVA, who is in the middle of her story.
  await page.focus("#captions");
  await page.keyboard.down(" ");
  await page.waitForSelector('#hold[aria-pressed="true"]');
  await until(page, () => document.querySelector("#captions .word.unheard") !== null);
  await new Promise((resolve) => setTimeout(resolve, 400)); // longer than a tap
  await page.keyboard.up(" ");
  await page.waitForSelector('#hold[aria-pressed="false"]');
  await page.click("#call");
  await untilFree(gateway.base, 2000);
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

// Last: it ends the gateway.
test("a gateway that is started anew in mid-call: the conversation goes on", { skip: !ownGateway && "EVA_URL is not ours to end" }, async (t) => {
  const page = await openFirefox(firefox, gateway.base);
  await page.evaluate(() => {
    window.resumed = [];
    window.eva.addEventListener("resumed", ({ detail }) => window.resumed.push(detail));
  });
  await page.click("#call");
  await inCall(page);
  const asks = async (text, answer) => {
    await until(page, (text) => window.eva.state === "connected" && window.eva.say(text), text);
    await until(page, (answer) => [...document.querySelectorAll("#captions li.eva")].some((line) => line.textContent.includes(answer)), answer);
  };
  await asks("What is the capital of France?", "Paris");
  await gateway.stop();
  await page.waitForSelector('[data-state="reconnecting"]', { timeout: 20_000 });
  gateway = await start();
  await until(page, () => window.resumed.length > 0);
  const [{ how, ms }] = await page.evaluate(() => window.resumed);
  t.diagnostic(`resumed by ${how} after ${ms} ms, the start of the gateway included`);
  assert.equal(how, "session");
  await asks("How far?", "You know what I said");
  assert.match((await texts(page, "#captions li.eva")).join(" "), /Paris/, "the captions stay");
  await page.click("#call");
  await untilFree(gateway.base, 2000);
  await page.close();
});
