// A headless Firefox, driven over WebDriver BiDi, with a microphone that says what the test wants.

import puppeteer from "puppeteer-core";
import { speech } from "./browser.mjs";

/** What is said into the microphone, samples a second. */
const RATE = 24_000;

/** Firefox without questions to a person, and with sound that nobody hears. */
const PREFS = {
  "media.navigator.streams.fake": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  // A sound card that is none: where there is no real one, Firefox's audio contexts would stand still.
  "media.cubeb.force_mock_context": true,
};

/** @param {{allow?: boolean, locale?: string, prefs?: object}} [options]  `allow`: the person lets the page have the microphone */
export function launchFirefox({ allow = true, locale = "en-US", prefs = {} } = {}) {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX || "/usr/bin/firefox-esr",
    headless: true,
    extraPrefsFirefox: {
      ...PREFS,
      "intl.accept_languages": locale,
      "media.navigator.permission.disabled": allow,
      ...(allow ? {} : { "permissions.default.microphone": 2 }),
      ...prefs,
    },
  });
}

/**
 * In the page, before its own scripts: the microphone is a sound of the test's, `lead` seconds after it was opened.
 * Firefox's fake one knows a tone only.
 */
function speakingMicrophone({ samples, rate, lead }) {
  const devices = navigator.mediaDevices;
  const real = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    const [track] = (await real(constraints)).getAudioTracks(); // whether it is allowed, and its name, are Firefox's
    const context = new AudioContext();
    const bytes = Uint8Array.from(atob(samples), (letter) => letter.charCodeAt(0));
    const words = new Int16Array(bytes.buffer);
    const buffer = context.createBuffer(1, words.length, rate);
    buffer.getChannelData(0).set(Float32Array.from(words, (value) => value / 32768));
    const source = new AudioBufferSourceNode(context, { buffer });
    const out = context.createMediaStreamDestination();
    source.connect(out);
    source.start(context.currentTime + lead);
    const [spoken] = out.stream.getAudioTracks();
    const stop = spoken.stop.bind(spoken);
    spoken.stop = () => {
      stop();
      track.stop();
      context.close();
    };
    return out.stream;
  };
}

/**
 * A page at `base`. Whatever goes wrong in it is collected in `page.trouble`.
 * @param {import("puppeteer-core").Browser} browser
 * @param {string} base
 * @param {{says?: string, lead?: number, viewport?: {width: number, height: number}}} [options]
 *   `says`: into the microphone, `lead` seconds after it was opened
 */
export async function openFirefox(browser, base, { says, lead = 2.5, viewport = { width: 1280, height: 800 } } = {}) {
  const page = await browser.newPage();
  page.trouble = [];
  page.on("pageerror", (error) => page.trouble.push(String(error?.message ?? error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.trouble.push(message.text());
  });
  page.setDefaultTimeout(15_000);
  await page.setViewport(viewport);
  if (says) {
    const words = speech(says, RATE);
    const samples = Buffer.from(words.buffer, words.byteOffset, words.byteLength).toString("base64");
    await page.evaluateOnNewDocument(speakingMicrophone, { samples, rate: RATE, lead });
  }
  await page.goto(base);
  await page.bringToFront(); // a page in the background is not given the microphone
  return page;
}
