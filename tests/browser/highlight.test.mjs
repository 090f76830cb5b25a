// Words light up as they sound. EVA's sound is recorded in the page, from the same stream that is played, and beside
// it when each word lights up. After each pause, sound and light begin: how far are the two apart?

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrain } from "./brain.mjs";
import { call, launch, microphoneFile, open } from "./browser.mjs";
import { startGateway, untilFree } from "./gateway.mjs";

const ANSWER_MS = 60_000;
/** No word may be further from its sound, and half of them not so far. */
const FAR_MS = 100;
const MIDDLE_MS = 50;

/** Short sentences with a pause after each. They begin with vowels, whose sound begins with the word. */
const SENTENCES = [
  "Anna ate an apple.", "Otto is at home.", "Every owl is old.", "Ice is cold.", "Emma opened it.", "All is well.",
  "Ivan is early.", "Only ants came.", "Eggs are oval.", "Uncle Abe asked us.",
];

let brain, gateway, browser;
before(async () => {
  brain = await startBrain(() => ({ text: SENTENCES.join(" ") }));
  gateway = await startGateway("--llm-url", brain.url, "--llm-model", "rules", "--no-fillers", "--no-backchannels");
  browser = await launch({ microphone: microphoneFile("Hm", { lead: 90, tail: 30 }) }); // nobody speaks
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
  brain?.stop();
});

/** In the page, before its own scripts: records the loudness of what comes in, and when what of it leaves the browser. */
function recorder() {
  const WORKLET = `registerProcessor("loudness", class extends AudioWorkletProcessor {
    process([[channel]]) {
      // 128 samples, 2.7 ms, at a time; told in portions.
      (this.kept ??= []).push(currentTime, channel ? Math.hypot(...channel) / Math.sqrt(channel.length) : 0);
      if (this.kept.length >= 64) this.port.postMessage(this.kept.splice(0));
      return true;
    }
  });`;
  window.loudness = [];
  window.clocks = [];
  window.lit = [];
  window.record = async (track) => {
    const context = new AudioContext({ latencyHint: "interactive" });
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" })));
    const node = new AudioWorkletNode(context, "loudness");
    node.port.onmessage = ({ data }) => window.loudness.push(...data);
    context.createMediaStreamSource(new MediaStream([track])).connect(node);
    setInterval(() => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      window.clocks.push({ contextTime, performanceTime, now: performance.now(), currentTime: context.currentTime, delay: context.outputLatency });
    }, 50);
  };
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      this.addEventListener("track", ({ track }) => window.record(track));
    }
  };
  addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
    const at = performance.now();
    for (const { target } of changes) {
      if (!target.matches?.(".word.heard") || target.dataset.lit) continue;
      target.dataset.lit = "yes";
      window.lit.push({ at, text: target.textContent });
    }
  }).observe(document.getElementById("captions"), { subtree: true, attributes: true, attributeFilter: ["class"] }));
}

/** When sound begins after a pause of at least `pauseS`: seconds of the audio clock. */
function onsets(loudness, pauseS = 0.12) {
  const blocks = Array.from({ length: loudness.length / 2 }, (_, i) => ({ at: loudness[2 * i], level: loudness[2 * i + 1] }));
  const loud = Math.max(...blocks.map(({ level }) => level)) * 0.03; // 30 dB below the loudest
  const found = [];
  let loudUntil = 0;
  blocks.forEach(({ at, level }, i) => {
    const lasts = (blocks[i + 1]?.level ?? 0) >= loud; // one block alone is a click
    if (level < loud || !lasts) return;
    if (at - loudUntil >= pauseS) found.push(at);
    loudUntil = at;
  });
  return found;
}

test("after each pause the next word lights up within 100 ms of its sound", async (t) => {
  const page = await open(browser, "about:blank", { bypassCSP: true });
  await page.addInitScript(recorder);
  await page.goto(gateway.base);
  await call(page);
  await page.evaluate(() => window.eva.say("Tell me something."));
  const total = SENTENCES.join(" ").split(" ").length;
  await page.waitForFunction((total) => window.lit.length >= total, total, { timeout: ANSWER_MS });
  await page.waitForTimeout(300);
  const { loudness, clocks, lit } = await page.evaluate(() => ({ loudness: window.loudness, clocks: window.clocks, lit: window.lit }));

  // What is rendered at a time of the audio clock leaves the browser at a time of the page's clock.
  const shifts = clocks.filter(({ performanceTime }) => performanceTime > 0)
    .map(({ contextTime, performanceTime }) => performanceTime - contextTime * 1000).sort((a, b) => a - b);
  const shift = shifts[Math.floor(shifts.length / 2)];
  const sounds = onsets(loudness).map((at) => at * 1000 + shift);
  const first = lit.filter((_, i) => i === 0 || /[.!?]$/.test(lit[i - 1].text));
  const { delay } = clocks.at(-1);
  t.diagnostic(`the loudspeaker's delay is ${Math.round(delay * 1000)} ms; ${sounds.length} pauses in the sound, ${first.length} sentences`);

  const apart = first.map(({ at, text }) => {
    const nearest = sounds.reduce((best, sound) => (Math.abs(sound - at) < Math.abs(best - at) ? sound : best), Infinity);
    return { text, ms: Math.round(at - nearest) };
  });
  t.diagnostic(`light after sound, ms: ${apart.map(({ text, ms }) => `${text} ${ms}`).join(", ")}`);
  const sizes = apart.map(({ ms }) => Math.abs(ms)).sort((a, b) => a - b);
  const middle = sizes[Math.floor(sizes.length / 2)];
  t.diagnostic(`apart: median ${middle} ms, most ${sizes.at(-1)} ms`);
  assert.equal(first.length, SENTENCES.length);
  assert.ok(sounds.length >= SENTENCES.length, `${sounds.length} pauses were heard`);
  assert.ok(sizes.at(-1) <= FAR_MS, `a word is ${sizes.at(-1)} ms from its sound`);
  assert.ok(middle <= MIDDLE_MS, `half of the words are more than ${middle} ms from their sound`);
  await page.locator("#call").click();
  await untilFree(gateway.base, 2000);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});
