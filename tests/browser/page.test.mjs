// The page without a whole conversation: what it loads, what it says when something is wrong, how it looks at rest.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
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

test("the page says what it will talk to", async () => {
  const page = await open(browser, gateway.base);
  const info = await (await fetch(new URL("info", gateway.base))).json();
  await page.waitForSelector("#facts:not([hidden])");
  assert.equal(await page.locator("#fact-voice").innerText(), info.voice);
  assert.equal(await page.locator("#fact-brain").innerText(), info.brain);
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

test("a French browser reads French", async () => {
  const page = await open(browser, gateway.base, { locale: "fr-FR" });
  assert.equal(await page.getByRole("button", { name: "Appeler" }).count(), 1);
  assert.equal(await page.locator("html").getAttribute("lang"), "fr");
  await page.context().close();
});

test("a refused microphone is explained", async () => {
  const refusing = await launch({ allow: false });
  const page = await open(refusing, gateway.base);
  await page.click("#call");
  assert.match(await notice(page, "permission"), /refused.*Allow it/s);
  await shoot(page, "error-permission-desktop-light");
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
  for (let i = 0; i < 8 && !(await page.evaluate(() => document.activeElement?.id === "call")); i += 1) await page.keyboard.press("Tab");
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
  await page.getByRole("button", { name: "Mute" }).click();
  assert.equal(await page.getByRole("button", { name: "Unmute" }).getAttribute("aria-pressed"), "true");
  assert.match(await page.locator("#status").innerText(), /Muted/);
  const other = await page.locator("#microphone option").nth(1).getAttribute("value");
  assert.ok(other, "Chromium's fake devices have names once the microphone is allowed");
  const before = (await page.evaluate(() => window.eva.stats())).bytesSent;
  await page.selectOption("#microphone", other);
  await page.waitForFunction(async (than) => (await window.eva.stats()).bytesSent > than + 200, before);
  assert.equal(await page.evaluate(() => window.eva.state), "connected");
  await page.click("#call");
  await untilFree(gateway.base, 1000);
  assert.deepEqual(page.trouble, []);
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
