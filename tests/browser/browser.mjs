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

/** A file in which espeak-ng says `text`, 48 kHz mono, with silence around it. */
export function microphoneFile(text, { lead = LEAD_S, tail = TAIL_S } = {}) {
  const spoken = execFileSync("espeak-ng", ["-v", "en-us", "-s", "150", "--stdout", text], { maxBuffer: 1 << 26 });
  const rate = spoken.readUInt32LE(24);
  const start = spoken.indexOf("data") + 8;
  const count = Math.floor((spoken.length - start) / 2);
  const at = (index) => spoken.readInt16LE(start + 2 * Math.min(index, count - 1));
  const length = Math.floor((count * RATE) / rate);
  const total = Math.round(lead * RATE) + length + Math.round(tail * RATE);
  const wav = Buffer.alloc(44 + 2 * total);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 2 * total, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(2 * RATE, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(2 * total, 40);
  for (let i = 0; i < length; i += 1) {
    const exact = (i * rate) / RATE;
    const below = Math.floor(exact);
    const value = at(below) + (exact - below) * (at(below + 1) - at(below));
    wav.writeInt16LE(Math.round(value), 44 + 2 * (Math.round(lead * RATE) + i));
  }
  const file = join(scratch, `${text.replace(/\W+/g, "-").slice(0, 40)}.wav`);
  writeFileSync(file, wav);
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
