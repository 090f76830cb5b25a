// The page without a whole conversation: what it loads, what it says when something is wrong, how it looks at rest.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { call, launch, notice, open, shoot } from "./browser.mjs";
import { ownGateway, startGateway, untilFree } from "./gateway.mjs";

let gateway, browser;
before(async () => {
  gateway = await startGateway("--allow-origin", "http://eva.test");
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

const json = (status, body, headers = {}) => ({ status, headers, contentType: "application/json", body: JSON.stringify(body) });

/** A page on which `path` is answered by the test. */
async function intercepted(path, respond, options) {
  const page = await open(browser, "about:blank", options);
  await page.route(`**/${path}`, respond);
  await page.goto(gateway.base);
  return page;
}

test("the page loads from the gateway alone, and under its own policy", async () => {
  const page = await open(browser, "about:blank");
  const loaded = [];
  page.on("response", (response) => loaded.push([response.url(), response.status()]));
  const response = await page.goto(gateway.base, { waitUntil: "networkidle" });
  const policy = response.headers()["content-security-policy"] ?? "";
  assert.match(policy, /default-src '(self|none)'/);
  assert.doesNotMatch(policy, /unsafe/);
  for (const [url, status] of loaded) {
    assert.ok(url.startsWith(gateway.base), `loaded from elsewhere: ${url}`);
    assert.equal(status, 200, url);
  }
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("the page says what it will talk to, and lets one choose", async () => {
  const page = await open(browser, gateway.base);
  const info = await (await fetch(new URL("info", gateway.base))).json();
  await page.waitForSelector("#facts:not([hidden])");
  assert.equal(await page.locator("#fact-brain").innerText(), info.brain);
  assert.equal(await page.locator("#voice option").count(), info.voices.length + 1);
  assert.deepEqual(await page.locator("#language option").evaluateAll((all) => all.map(({ value }) => value)), info.languages);
  assert.equal(await page.locator("#personas input").count(), info.personas.length);
  assert.equal(await page.locator("#personas input:checked").getAttribute("value"), info.persona);
  await page.context().close();
});

test("what was chosen goes into the offer, is remembered, and is marked", async () => {
  const page = await open(browser, gateway.base);
  const info = await (await fetch(new URL("info", gateway.base))).json();
  const persona = info.personas.find(({ name }) => name !== info.persona);
  const offers = [];
  await page.route("**/offer", (route) => {
    offers.push(route.request().postDataJSON());
    return route.fulfill(json(400, { error: { code: "bad_offer", message: "No." } }));
  });
  await page.getByRole("radio", { name: persona.title.en }).check();
  assert.equal(await page.locator("#persona-text").innerText(), persona.description.en);
  await page.selectOption("#voice", info.voices[0].name);
  await page.click("#call");
  await notice(page, "refused");
  await page.reload();
  await page.waitForSelector("#facts:not([hidden])");
  await page.click("#call");
  await notice(page, "refused");
  for (const offer of offers) {
    assert.equal(offer.persona, persona.name);
    assert.equal(offer.voice, info.voices[0].name);
    assert.equal(offer.language, info.language);
  }
  assert.equal(offers.length, 2);
  await page.context().close();
});

test("a gateway that records says so before a call and during it", async () => {
  const info = await (await fetch(new URL("info", gateway.base))).json();
  const page = await intercepted("info", (route) => route.fulfill(json(200, { ...info, recording: true, keeps_days: 1 })));
  await page.waitForSelector("#told:not([hidden])");
  assert.match(await page.locator("#told").innerText(), /recorded by whoever runs this gateway.*for a day/);
  assert.equal(await page.locator("#recorded").isVisible(), false);
  await call(page);
  assert.equal(await page.locator("#recorded").isVisible(), true);
  await page.click("#call");
  await untilFree(gateway.base, 1000);
  await page.context().close();
});

test("at rest it fits a desktop and a phone, light and dark", async () => {
  for (const [size, viewport] of [["desktop", { width: 1280, height: 800 }], ["phone", { width: 390, height: 844 }], ["small", { width: 320, height: 568 }]]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(browser, gateway.base, { viewport, colorScheme });
      await page.waitForSelector("#facts:not([hidden])", { state: "attached" });
      const overflow = await page.evaluate(() => [document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]);
      assert.ok(overflow[0] <= 0 && overflow[1] <= 0, `${size}: the page overflows by ${overflow}`);
      const button = await page.locator("#call").boundingBox();
      assert.ok(button.y + button.height <= viewport.height, `${size}: the button is out of sight`);
      await shoot(page, `idle-${size}-${colorScheme}`);
      await page.context().close();
    }
  }
});

test("a French browser reads French, and the person's choice goes before", async () => {
  const page = await open(browser, gateway.base, { locale: "fr-FR" });
  assert.equal(await page.getByRole("button", { name: "Appeler" }).count(), 1);
  assert.equal(await page.locator("html").getAttribute("lang"), "fr");
  await page.waitForSelector("#facts:not([hidden])");
  await shoot(page, "idle-desktop-french");
  await page.getByRole("button", { name: "Réglages" }).click();
  await page.getByLabel("Langue de cette page").selectOption("en");
  await page.getByRole("button", { name: "Settings" }).waitFor();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await page.context().close();
});

test("every text is there in both languages", async () => {
  const page = await open(browser, gateway.base);
  const { english, french, missing } = await page.evaluate(async () => {
    const { all } = await import("/texts.js");
    const keys = (object, at = "") => Object.entries(object).flatMap(([name, value]) =>
      value && typeof value === "object" && !Array.isArray(value) ? keys(value, `${at}${name}.`) : [`${at}${name}`]);
    const named = [...document.querySelectorAll("[data-text], [data-label], [data-placeholder]")]
      .flatMap(({ dataset }) => [dataset.text, dataset.label, dataset.placeholder]).filter(Boolean);
    return { english: keys(all.en).sort(), french: keys(all.fr).sort(), missing: named.filter((name) => !(name in all.en)) };
  });
  assert.deepEqual(french, english);
  assert.deepEqual(missing, []);
  await page.context().close();
});

test("the settings open, show the microphone's level, play a tone, and close with Escape", async () => {
  const page = await open(browser, gateway.base);
  await page.waitForSelector("#facts:not([hidden])");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.waitForFunction(() => Number(/scaleX\(([\d.]+)\)/.exec(document.getElementById("level").style.transform)?.[1] ?? 0) > 0.05);
  assert.ok(await page.locator("#microphone option").count() > 1, "devices have names once the microphone is allowed");
  await page.getByRole("button", { name: "Play a tone" }).click();
  await shoot(page, "settings-desktop-light");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#settings").isVisible(), false);
  assert.equal(await page.evaluate(() => document.activeElement.id), "open-settings");
  await page.waitForFunction(() => window.eva.levels().microphone === 0, undefined, { timeout: 2000 }); // it is let go
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("the face can be switched off, and stays off", async () => {
  const page = await open(browser, gateway.base);
  await page.waitForSelector("#face svg");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("switch", { name: "Show EVA’s face" }).uncheck();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#face").isVisible(), false);
  await page.reload();
  await page.waitForSelector("#facts:not([hidden])");
  assert.equal(await page.locator("#face").isVisible(), false);
  await page.context().close();
});

test("a refused microphone is explained", async () => {
  const refusing = await launch({ allow: false });
  const page = await open(refusing, gateway.base);
  await page.click("#call");
  assert.match(await notice(page, "permission"), /refused.*Allow it/s);
  await shoot(page, "error-permission-desktop-light");
  // Whoever cannot speak here writes, and hears the answer.
  await page.getByRole("button", { name: "Call without a microphone" }).click();
  await page.waitForFunction(() => window.eva.state === "connected" && document.activeElement?.id === "say");
  assert.equal(await page.locator("#notice").isVisible(), false);
  assert.equal(await page.locator("#mute").isVisible(), false);
  await page.keyboard.type("What is the capital of France?");
  await page.keyboard.press("Enter");
  await page.locator("#captions li.eva .word.heard").first().waitFor({ timeout: 60_000 });
  await page.waitForFunction(() => window.eva.levels().eva > 0.2, undefined, { timeout: 10_000 });
  await page.click("#call");
  await untilFree(gateway.base, 1000);
  assert.deepEqual(page.trouble, []);
  await refusing.close();
});

test("a missing microphone is explained", async () => {
  const page = await open(browser, gateway.base);
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Requested device not found", "NotFoundError"));
  });
  await page.click("#call");
  assert.match(await notice(page, "no-microphone"), /No microphone was found/);
  assert.equal(await page.evaluate(() => window.eva.state), "idle");
  await page.context().close();
});

test("a page without a secure context says to use https, and one under a foreign name is none", async () => {
  const { port } = new URL(gateway.base);
  const elsewhere = await launch({ args: ["--host-resolver-rules=MAP *.test 127.0.0.1"] });
  if (ownGateway) {
    const foreign = await open(elsewhere, "about:blank");
    assert.equal((await foreign.goto(`http://evil.test:${port}/`)).status(), 403);
  }
  const page = await open(elsewhere, `http://eva.test:${port}/`);
  assert.match(await notice(page, "insecure"), /https/);
  await page.click("#call");
  assert.match(await notice(page, "insecure"), /https/);
  await elsewhere.close();
});

test("a busy gateway is explained with the time to wait", async () => {
  const busy = json(503, { error: { code: "busy", message: "All lines are taken." } }, { "Retry-After": "7" });
  for (const [name, options] of [["desktop-light", {}], ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }]]) {
    const page = await intercepted("offer", (route) => route.fulfill(busy), options);
    await page.click("#call");
    assert.match(await notice(page, "busyFor"), /busy.*7 s/s);
    assert.equal(await page.evaluate(() => window.eva.state), "idle");
    await shoot(page, `error-busy-${name}`);
    await page.context().close();
  }
});

test("a gateway out of reach is explained, at the start and at the call", async () => {
  const page = await intercepted("info", (route) => route.abort());
  assert.match(await notice(page, "unreachable"), /cannot be reached/);
  await page.unroute("**/info");
  await page.route("**/offer", (route) => route.abort());
  await page.click("#call");
  assert.match(await notice(page, "unreachable"), /cannot be reached/);
  await shoot(page, "error-unreachable-desktop-light");
  await page.context().close();
});

test("an answer that is none is explained", async () => {
  for (const answer of [{ hello: 1 }, { type: "answer", sdp: "nonsense", call_id: "x" }, { type: "answer", sdp: "v=0" }]) {
    const page = await intercepted("offer", (route) => route.fulfill(json(200, answer)));
    await page.click("#call");
    assert.match(await notice(page, "bad-answer"), /makes no sense/, JSON.stringify(answer));
    assert.equal(await page.evaluate(() => window.eva.state), "idle");
    await page.context().close();
  }
});

test("a gateway's own refusal is passed on in its words", async () => {
  const page = await intercepted("offer", (route) => route.fulfill(json(400, { error: { code: "bad_offer", message: "The offer has no audio." } })));
  await page.click("#call");
  assert.match(await notice(page, "refused"), /The offer has no audio\./);
  await page.context().close();
});

test("an access key is asked for, sent, and said to be wrong", async () => {
  const info = await (await fetch(new URL("info", gateway.base))).json();
  const page = await intercepted("info", (route) => route.fulfill(json(200, { ...info, needs_key: true })));
  const sent = [];
  await page.route("**/offer", (route) => {
    sent.push(route.request().headers().authorization);
    return route.fulfill(json(401, { error: { code: "key", message: "no" } }));
  });
  await page.click("#call");
  assert.match(await notice(page, "needsKey"), /wants an access key/);
  await page.getByLabel("Access key").fill("not-it");
  await page.keyboard.press("Enter");
  assert.match(await notice(page, "key"), /not right/);
  assert.deepEqual(sent, [undefined, "Bearer not-it"]);
  await page.context().close();
});

test("a call can be made and ended from the keyboard alone", async () => {
  const page = await open(browser, gateway.base);
  await page.waitForSelector("#facts:not([hidden])");
  for (let i = 0; i < 16 && !(await page.evaluate(() => document.activeElement?.id === "call")); i += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.eva.state === "connected");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.eva.state === "idle");
  await untilFree(gateway.base, 1000);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("a call that is cancelled while it connects leaves nothing behind", async () => {
  const page = await intercepted("offer", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await route.continue().catch(() => {});
  });
  await page.click("#call");
  await page.waitForSelector('[data-state="connecting"]');
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.evaluate(() => window.eva.state), "idle");
  assert.equal(await page.locator("#notice").isVisible(), false);
  await page.context().close();
});

test("muting and changing the microphone keep the call", async () => {
  const page = await open(browser, gateway.base);
  await call(page);
  const mute = page.getByRole("button", { name: "Mute" });
  await mute.click();
  assert.equal(await mute.getAttribute("aria-pressed"), "true");
  assert.match(await page.locator("#status").innerText(), /Muted/);
  await page.getByRole("button", { name: "Settings" }).click();
  const other = await page.locator("#microphone option").nth(1).getAttribute("value");
  assert.ok(other, "Chromium's fake devices have names once the microphone is allowed");
  const before = (await page.evaluate(() => window.eva.stats())).bytesSent;
  await page.selectOption("#microphone", other);
  await page.waitForFunction(async (than) => (await window.eva.stats()).bytesSent > than + 200, before);
  assert.equal(await page.evaluate(() => window.eva.state), "connected");
  await page.keyboard.press("Escape");
  await page.click("#call");
  await untilFree(gateway.base, 1000);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("push to talk: held by pointer, by the space bar, and locked by a tap", async () => {
  const page = await open(browser, gateway.base);
  await page.waitForSelector("#facts:not([hidden])");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("switch", { name: "Push to talk" }).check();
  await page.keyboard.press("Escape");
  await call(page);
  await page.evaluate(() => {
    window.told = [];
    for (const name of ["press", "release"]) {
      const own = window.eva[name].bind(window.eva);
      window.eva[name] = () => (window.told.push(name), own());
    }
  });
  const told = async () => (await page.evaluate(() => window.told.splice(0))).join(" ");
  const hold = page.locator("#hold");
  await hold.hover();
  await page.mouse.down();
  await page.waitForTimeout(400);
  assert.equal(await hold.getAttribute("aria-pressed"), "true");
  await shoot(page, "push-desktop-light");
  await page.mouse.up();
  assert.equal(await told(), "press release");
  await page.locator("body").press("Space", { delay: 400 });
  assert.equal(await told(), "press release");
  await hold.click();
  assert.equal(await told(), "press");
  assert.equal(await hold.innerText(), "Tap to send");
  await hold.click();
  assert.equal(await told(), "release");
  await page.getByLabel("Write to EVA").press("Space");
  assert.equal(await told(), "", "a space that is written is none that is held");
  await hold.click();
  await page.click("#call");
  assert.equal(await told(), "press release");
  await untilFree(gateway.base, 1000);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("the transcript is a file that holds what was heard", async () => {
  const page = await open(browser, gateway.base);
  await call(page);
  await page.evaluate(() => {
    const say = (message) => window.eva.handle(JSON.stringify(message));
    const words = ["Paris", "is", "big", "and", "old."].map((text, i) => ({ text, start: i * 9600, end: i * 9600 + 9000 }));
    say({ type: "eva.final", turn_id: null, text: "Tell me about Paris <now>.", typed: true });
    say({ type: "eva.latency", turn_id: 1, reply_id: 1, parts_ms: { pause: 0, first_token: 20 }, total_ms: 320.4 });
    say({ type: "eva.words", reply_id: 1, text: "Paris is big and old.", words, rtp_start: 0 });
    say({ type: "eva.cut", reply_id: 1, heard_text: "Paris is big", rtp_at: 28800 });
  });
  const file = async (kind) => {
    await page.getByRole("button", { name: "Transcript" }).click();
    const saving = page.waitForEvent("download");
    await page.getByRole("button", { name: kind }).click();
    const download = await saving;
    return [download.suggestedFilename(), readFileSync(await download.path(), "utf8")];
  };
  const [name, text] = await file("Text");
  assert.match(name, /^eva-\d{4}-\d\d-\d\d-\d\d-\d\d\.txt$/);
  assert.match(text, /You \(written\): Tell me about Paris <now>\.\n.*EVA: Paris is big \[not heard: and old\.\]/);
  const [, subtitles] = await file("Subtitles (WebVTT)");
  assert.match(subtitles, /^WEBVTT\n\n00:00:0\d\.\d{3} --> 00:00:0\d\.\d{3}\n<v You>Tell me about Paris &lt;now&gt;\./);
  assert.match(subtitles, /<v EVA>Paris <00:00:0\d\.\d{3}>is <00:00:0\d\.\d{3}>big\n/);
  const data = JSON.parse((await file("Data (JSON)"))[1]);
  assert.deepEqual(data.entries.map(({ who, typed, latency, unheard }) => ({ who, typed, latency, unheard })), [
    { who: "you", typed: true, latency: undefined, unheard: undefined },
    { who: "eva", typed: undefined, latency: 320, unheard: "and old." },
  ]);
  await page.click("#call");
  await untilFree(gateway.base, 1000);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("a hang-up of EVA's says why, and stays readable", async () => {
  const page = await open(browser, gateway.base);
  await call(page);
  await page.evaluate(() => window.eva.handle(JSON.stringify({ type: "eva.hangup", reason: "silence" })));
  await page.evaluate(() => window.eva.hangUp());
  assert.match(await notice(page, "silence"), /EVA has hung up.*Nobody had spoken/s);
  await untilFree(gateway.base, 1000);
  await page.context().close();
});

test("interrupted words are struck through, words that came to nothing leave, strange frames are left alone", async () => {
  const page = await open(browser, gateway.base);
  await call(page);
  const seen = await page.evaluate(() => {
    const say = (message) => window.eva.handle(JSON.stringify(message));
    const words = ["Yes,", "Paris", "is", "big."].map((text, i) => ({ text: text.replace(/\W/g, ""), start: i * 9600, end: i * 9600 + 9000 }));
    window.eva.handle("not json");
    window.eva.handle("[1]");
    say({ type: "eva.something_newer", text: "?" });
    say({ type: "eva.partial", text: "uh" });
    say({ type: "eva.turn", state: "listening" });
    const dropped = document.querySelectorAll("#captions li.you").length;
    say({ type: "eva.words", reply_id: "r", text: "Yes, Paris is big.", words, rtp_start: 0 });
    say({ type: "eva.cut", reply_id: "r", heard_text: "yes paris", rtp_at: 19200 });
    return {
      dropped,
      heard: [...document.querySelectorAll(".word.heard")].map((node) => node.textContent),
      unheard: [...document.querySelectorAll(".word.unheard")].map((node) => getComputedStyle(node).textDecorationLine + " " + node.textContent),
    };
  });
  assert.deepEqual(seen, { dropped: 0, heard: ["Yes,", "Paris"], unheard: ["line-through is", "line-through big."] });
  await page.context().close();
  await untilFree(gateway.base, 1000);
});

test("a turn that goes on after all stays one line, with all of its words", async () => {
  const page = await open(browser, gateway.base);
  await call(page);
  const lines = await page.evaluate(() => {
    const say = (message) => window.eva.handle(JSON.stringify(message));
    say({ type: "eva.final", turn_id: 7, text: "My name is" });
    say({ type: "eva.partial", text: "My name is Ada" });
    say({ type: "eva.final", turn_id: 7, text: "My name is Ada." });
    say({ type: "eva.final", turn_id: 8, text: "And yours?" });
    return [...document.querySelectorAll("#captions li.you")].map((line) => line.innerText.split("\n").pop());
  });
  assert.deepEqual(lines, ["My name is Ada.", "And yours?"]);
  await page.context().close();
  await untilFree(gateway.base, 1000);
});

test("what the mouth does, fillers and backchannels reach whoever listens, and change no caption", async () => {
  const page = await open(browser, gateway.base);
  await call(page);
  const seen = await page.evaluate(() => {
    const told = [];
    for (const kind of ["viseme", "filler", "backchannel", "hangup"]) window.eva.addEventListener(kind, ({ detail }) => told.push([kind, detail]));
    const before = document.querySelectorAll("#captions li").length;
    const say = (message) => window.eva.handle(JSON.stringify(message));
    say({ type: "eva.filler", reply_id: 3, text: "Let me see.", rtp_start: 0, rtp_end: 48000 });
    say({ type: "eva.viseme", reply_id: 3, track: [{ id: "aa", start: 0, end: 4800 }], rtp_start: 48000 });
    say({ type: "eva.backchannel", text: "Mhm.", rtp_start: 0, rtp_end: 14400 });
    say({ type: "eva.hangup", reason: "silence" });
    return { told, added: document.querySelectorAll("#captions li").length - before };
  });
  assert.deepEqual(seen.told, [
    ["filler", { reply_id: 3, text: "Let me see.", rtp_start: 0, rtp_end: 48000 }],
    ["viseme", { reply_id: 3, track: [{ id: "aa", start: 0, end: 4800 }], rtp_start: 48000 }],
    ["backchannel", { text: "Mhm.", rtp_start: 0, rtp_end: 14400 }],
    ["hangup", { reason: "silence" }],
  ]);
  assert.equal(seen.added, 0);
  await page.context().close();
  await untilFree(gateway.base, 1000);
});
