// A headless Chromium with a microphone that says what the test wants.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const RATE = 48_000;
/** Silence before the speech: the call connects meanwhile. */
const LEAD_S = 2.5;
/** Silence after it: Chromium plays the file again and again, and the answer wants to be heard out. */
const TAIL_S = 30;

const scratch = mkdtempSync(join(tmpdir(), "eva-browser-"));

/** Where screenshots go. */
export const screenshots = process.env.SCREENSHOTS || join(scratch, "screenshots");
mkdirSync(screenshots, { recursive: true });

/** What espeak-ng makes of `text`: its rate and 16-bit samples. */
function spoken(text) {
  const wav = execFileSync("espeak-ng", ["-v", "en-us", "-s", "150", "--stdout", text], { maxBuffer: 1 << 26 });
  const start = wav.indexOf("data") + 8;
  const count = Math.floor((wav.length - start) / 2);
  return { rate: wav.readUInt32LE(24), samples: Int16Array.from({ length: count }, (_, i) => wav.readInt16LE(start + 2 * i)) };
}

/** Speech at another rate, 16-bit samples. */
export function speech(text, rate = RATE) {
  const { rate: from, samples } = spoken(text);
  return Int16Array.from({ length: Math.floor((samples.length * rate) / from) }, (_, i) => {
    const exact = (i * from) / rate;
    const below = Math.min(Math.floor(exact), samples.length - 1);
    const above = Math.min(below + 1, samples.length - 1);
    return Math.round(samples[below] + (exact - below) * (samples[above] - samples[below]));
  });
}

/** A file in which espeak-ng says `text`, 48 kHz mono, with silence around it. */
export function microphoneFile(text, { lead = LEAD_S, tail = TAIL_S } = {}) {
  return conversationFile([{ after: lead, text }], tail);
}

/** A file in which espeak-ng says each text so many seconds after the one before has ended. */
export function conversationFile(parts, tail = TAIL_S) {
  const sounds = parts.flatMap(({ after, text }) => [new Int16Array(Math.round(after * RATE)), speech(text)]);
  sounds.push(new Int16Array(Math.round(tail * RATE)));
  const data = Buffer.concat(sounds.map((sound) => Buffer.from(sound.buffer, sound.byteOffset, sound.byteLength)));
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(RATE, 24);
  header.writeUInt32LE(2 * RATE, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  const name = parts.map(({ text }) => text).join(" ").replace(/\W+/g, "-").slice(0, 60);
  const file = join(scratch, `${name}.wav`);
  writeFileSync(file, Buffer.concat([header, data]));
  return file;
}

/**
 * @param {{microphone?: string, allow?: boolean, args?: string[], program?: string}} options
 *   `microphone`: a file to play into it; `allow`: whether the person lets the page have it;
 *   `program`: what to start in place of Chromium itself
 */
export function launch({ microphone, allow = true, args = [], program } = {}) {
  return chromium.launch({
    executablePath: program ?? process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
      "--use-fake-device-for-media-stream",
      allow ? "--use-fake-ui-for-media-stream" : "--use-fake-ui-for-media-stream=deny",
      ...(microphone ? [`--use-file-for-fake-audio-capture=${microphone}`] : []),
      ...args,
    ],
  });
}

/** A page at `base` in a browser of its own settings. Whatever goes wrong in it is collected in `page.trouble`. */
export async function open(browser, base, context = {}) {
  const own = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-US", ...context });
  const page = await own.newPage();
  page.trouble = [];
  page.on("pageerror", (error) => page.trouble.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.trouble.push(message.text());
  });
  page.setDefaultTimeout(15_000);
  await page.goto(base);
  return page;
}

/** Presses Call and waits until the call is there. */
export async function call(page) {
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.waitForFunction(() => window.eva.state === "connected");
}

/** The sentence the page shows for what went wrong. */
export async function notice(page, code) {
  await page.waitForSelector(`#notice[data-code="${code}"]:not([hidden])`);
  return page.locator("#notice p").innerText();
}

export function shoot(page, name) {
  return page.screenshot({ animations: "disabled", path: join(screenshots, `${name}.png`) });
}
