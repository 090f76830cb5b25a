// The client library alone, in a page that draws nothing: reconnecting, devices, push-to-talk, the mouth. And the
// element made of it, in a page of somebody else's.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { axe } from "./accessibility.mjs";
import { startBrain } from "./brain.mjs";
import { launch, microphoneFile, open, shoot } from "./browser.mjs";
import { calls, ownGateway, startGateway, untilFree } from "./gateway.mjs";

/** A question may take this long to be heard, understood and answered on a slow machine. */
const ANSWER_MS = 40_000;

const scratch = mkdtempSync(join(tmpdir(), "eva-library-"));
let brain, gateway, browser, port, site, sitePort;

/** A port with a free one above it, for the sound. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The same gateway, again and again. */
const start = () => startGateway(
  "--listen", `127.0.0.1:${port}`, "--database", join(scratch, "eva.db"), "--llm-url", brain.url, "--llm-model", "rules",
  "--no-fillers", "--no-backchannels", "--allow-origin", `http://site.test:${sitePort}`,
);


before(async () => {
  brain = await startBrain();
  port = await freePort();
  site = createServer((request, response) => {
    const body = sitePages[request.url];
    if (!body) return response.writeHead(404).end();
    response.writeHead(200, {
      "content-type": request.url.endsWith(".css") ? "text/css" : "text/html; charset=utf-8",
      // Somebody else's strict page: nothing inline, scripts and connections from the gateway alone.
      "content-security-policy": `default-src 'none'; script-src 'self' http://127.0.0.1:${port}; connect-src http://127.0.0.1:${port}; style-src 'self'; img-src 'self'`,
    });
    response.end(body.replace("PORT", port));
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  sitePort = site.address().port;
  gateway = await start();
  browser = await launch({
    microphone: microphoneFile("What is the capital of France?", { tail: 8 }),
    args: ["--host-resolver-rules=MAP *.test 127.0.0.1", `--unsafely-treat-insecure-origin-as-secure=http://site.test:${sitePort},http://other.test:${sitePort}`],
  });
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
  site?.close();
  brain?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

// A page that a failed test has left would go on with its call.
afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));

/** Ten lines of somebody else's page. */
const sitePages = {
  "/": `<!doctype html>
<html lang="en">
  <head><title>A site</title><link rel="stylesheet" href="site.css"></head>
  <body>
    <main>
      <h1>Our shop</h1>
      <eva-call captions></eva-call>
    </main>
    <script type="module" src="http://127.0.0.1:PORT/eva-call.js"></script>
  </body>
</html>`,
  "/site.css": ":root { color-scheme: light dark; } body { font: 100%/1.5 sans-serif; margin: 2rem; background: light-dark(#fff, #111); color: light-dark(#111, #eee); } p { color: red; }",
};

/** A page of the gateway's that has a call and does nothing else; what the call tells is in `told`. */
async function bench(options) {
  const page = await open(browser, "about:blank");
  // What the library opens and sends can be looked at.
  await page.addInitScript(() => {
    window.own = { connections: [], streams: [], contexts: [], sent: [] };
    const RTC = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends RTC {
      constructor(...args) {
        super(...args);
        window.own.connections.push(this);
      }
    };
    const Context = window.AudioContext;
    window.AudioContext = class extends Context {
      constructor(...args) {
        super(...args);
        window.own.contexts.push(this);
      }
    };
    const send = RTCDataChannel.prototype.send;
    RTCDataChannel.prototype.send = function (text) {
      window.own.sent.push(JSON.parse(text));
      return send.call(this, text);
    };
    const { mediaDevices } = navigator;
    const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
    window.own.missing = false;
    mediaDevices.getUserMedia = async (wish) => {
      if (window.own.missing) throw new DOMException("Requested device not found", "NotFoundError");
      const stream = await getUserMedia(wish);
      window.own.streams.push(stream);
      return stream;
    };
  });
  await page.goto(new URL("api", gateway.base).href);
  await page.evaluate(async () => {
    const { EvaCall } = await import("/eva-voice.js");
    window.told = [];
    const call = (window.eva = new EvaCall());
    for (const kind of ["state", "ready", "final", "words", "speaking", "reconnecting", "resumed", "microphone", "error", "end", "configured"]) {
      call.addEventListener(kind, ({ detail }) => window.told.push({ kind, at: performance.now(), ...detail, error: detail.error?.code }));
    }
    /** The first event of this kind that has these fields. */
    window.first = (kind, fields = {}, after = 0) => window.told.slice(after).find((event) => event.kind === kind && Object.entries(fields).every(([key, value]) => event[key] === value));
    /** What is still open once a call is over. */
    window.left = () => ({
      connections: window.own.connections.filter(({ signalingState }) => signalingState !== "closed").length,
      tracks: window.own.streams.flatMap((stream) => stream.getTracks()).filter(({ readyState }) => readyState === "live").length,
      contexts: window.own.contexts.filter(({ state }) => state !== "closed").length,
    });
  });
  if (options) await page.evaluate((options) => window.eva.connect(options), options);
  return page;
}

const NOTHING = { connections: 0, tracks: 0, contexts: 0 };
const told = (page, kind, fields, timeout = 15_000) => page.waitForFunction(([kind, fields]) => window.first(kind, fields), [kind, fields], { timeout });
/** How many bytes of sound the page has received, and sent. */
const bytes = (page) => page.evaluate(async () => {
  const { bytesReceived, bytesSent } = await window.eva.stats();
  return { bytesReceived, bytesSent };
});
/** The call is over, the page holds nothing of it and the gateway neither. */
async function over(page) {
  await page.evaluate(() => window.eva.hangUp());
  await page.waitForTimeout(100);
  assert.deepEqual(await page.evaluate(() => window.left()), NOTHING);
  assert.equal(await page.evaluate(() => window.eva.state), "idle");
  assert.deepEqual(page.trouble, []);
  await untilFree(gateway.base, 2000);
  await page.context().close();
}

test("when the network changes the same call goes on over a new path, and EVA is heard on it", async (t) => {
  const page = await bench({});
  const before = await page.evaluate(async () => {
    const ids = [...(await window.own.connections[0].getStats()).values()].filter(({ type }) => type === "transport").map(({ selectedCandidatePairId }) => selectedCandidatePairId);
    return { id: window.eva.id, session: window.eva.sessionId, pair: ids[0], name: /ice-ufrag:(\S+)/.exec(window.own.connections[0].localDescription.sdp)[1] };
  });
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await told(page, "reconnecting", { why: "network" });
  await told(page, "resumed", { how: "ice" });
  const after = await page.evaluate(() => ({
    id: window.eva.id, state: window.eva.state, connections: window.own.connections.length, ms: window.first("resumed").ms,
    name: /ice-ufrag:(\S+)/.exec(window.own.connections[0].localDescription.sdp)[1],
  }));
  t.diagnostic(`a new path after ${after.ms} ms`);
  assert.equal(after.id, before.id);
  assert.equal(after.state, "connected");
  assert.equal(after.connections, 1);
  assert.notEqual(after.name, before.name, "ICE was restarted");
  assert.equal(await calls(gateway.base), 1);
  // A question asked after it is heard, and its answer.
  await page.waitForFunction(() => window.first("words", {}, window.told.findIndex(({ kind }) => kind === "resumed")), undefined, { timeout: ANSWER_MS });
  await told(page, "speaking", { speaking: true });
  await told(page, "speaking", { speaking: false });
  const stats = await page.evaluate(() => window.eva.stats());
  t.diagnostic(JSON.stringify(stats));
  assert.ok(stats.receivedPeak > 0.01);
  assert.equal(stats.codec, "Opus 48 kHz");
  assert.equal(stats.transport, "udp");
  assert.ok(stats.lossPercent < 5 && stats.roundTripMs !== null);
  await over(page);
});

test("a path on which nothing arrives any more is left before the browser gives it up", async (t) => {
  const page = await bench({});
  const id = await page.evaluate(() => window.eva.id);
  await page.evaluate(async () => {
    const [pc] = window.own.connections;
    const look = pc.getStats.bind(pc);
    const still = await look();
    pc.getStats = () => Promise.resolve(still);
    window.from = performance.now();
    window.eva.addEventListener("reconnecting", () => (pc.getStats = look));
  });
  await told(page, "resumed", { how: "ice" });
  const noticed = await page.evaluate(() => window.first("reconnecting", { why: "media" }).at - window.from);
  t.diagnostic(`noticed after ${Math.round(noticed)} ms`);
  assert.ok(noticed < 7000);
  assert.equal(await page.evaluate(() => window.eva.id), id);
  await over(page);
});

test("the mouth follows EVA's voice, and is closed when she is silent", async (t) => {
  const page = await bench({});
  assert.equal(await page.evaluate(() => window.eva.mouth()), "sil");
  await page.evaluate(() => {
    window.shapes = [];
    setInterval(() => window.shapes.push([window.eva.mouth(), window.eva.levels().eva]), 10);
  });
  await told(page, "speaking", { speaking: true }, ANSWER_MS);
  await told(page, "speaking", { speaking: false });
  await page.waitForTimeout(300);
  const shapes = await page.evaluate(() => window.shapes);
  const open = shapes.filter(([shape]) => shape !== "sil");
  const loud = open.filter(([, level]) => level > 0.2).length;
  t.diagnostic(`${new Set(open.map(([shape]) => shape)).size} shapes, ${Math.round((100 * loud) / open.length)} % of them where EVA is heard`);
  assert.ok(new Set(open.map(([shape]) => shape)).size >= 5);
  assert.ok(loud / open.length > 0.6);
  assert.equal(shapes.at(-1)[0], "sil");
  await over(page);
});

test("push-to-talk opens the microphone while the button is held, and a little longer", async () => {
  const page = await bench({ pushToTalk: true });
  // The question is asked with the button down, and answered when it is up.
  await page.evaluate(() => window.eva.press());
  await page.waitForFunction(() => window.eva.levels().microphone > 0.3);
  await page.waitForTimeout(2000);
  assert.equal(await page.evaluate(() => window.first("final")), undefined);
  await page.evaluate(() => window.eva.release());
  await page.waitForFunction(() => /capital/i.test(window.first("final")?.text));
  await page.waitForTimeout(300);
  await page.evaluate(() => (window.own.sent.length = 0));
  const open = () => page.evaluate(() => window.own.streams.at(-1).getAudioTracks()[0].enabled);
  assert.equal(await open(), false);
  await page.evaluate(() => window.eva.press());
  assert.equal(await open(), true);
  const closed = await page.evaluate(async () => {
    const track = window.own.streams.at(-1).getAudioTracks()[0];
    window.eva.release();
    const from = performance.now();
    const atOnce = track.enabled;
    while (track.enabled && performance.now() - from < 1000) await new Promise((resolve) => setTimeout(resolve, 5));
    return { atOnce, after: performance.now() - from };
  });
  assert.equal(closed.atOnce, true);
  assert.ok(closed.after > 150 && closed.after < 400, `closed after ${closed.after} ms`);
  await page.evaluate(() => {
    window.eva.pushToTalk = false;
    window.eva.press();
    window.eva.say(" Tell me. ");
    window.eva.configure({ language: "en" });
  });
  assert.equal(await open(), true);
  assert.deepEqual(await page.evaluate(() => window.own.sent), [
    { type: "eva.press" }, { type: "eva.release" }, { type: "eva.push_to_talk", on: false },
    { type: "eva.say", text: "Tell me." }, { type: "eva.configure", language: "en" },
  ]);
  await page.evaluate(() => (window.eva.muted = true));
  assert.equal(await open(), false);
  await over(page);
});

test("what is typed is answered, also over a new path; what the gateway refuses changes nothing", async () => {
  const page = await bench({ pushToTalk: true });
  assert.equal(await page.evaluate(() => window.eva.say("  ")), false);
  await page.evaluate(() => window.eva.say(" What is the capital of France? "));
  await told(page, "final", { text: "What is the capital of France?", typed: true });
  await told(page, "words", { text: "The capital of France is Paris." });
  await page.evaluate(() => window.eva.configure({ voice: "nobody", language: "en" }));
  await told(page, "error", { code: "bad_voice" });
  await page.evaluate(() => window.eva.configure({ language: "en" }));
  await told(page, "configured", { language: "en", push_to_talk: true });

  // The gateway has lost the call: what is typed meanwhile is said in the next one.
  await page.route("**/offer", async (route) => {
    const { pc_id } = route.request().postDataJSON();
    if (pc_id) await fetch(new URL(`calls/${pc_id}`, gateway.base), { method: "DELETE" });
    else await page.evaluate(() => window.eva.say("Tell me a story."));
    await route.continue();
  });
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await told(page, "resumed", { how: "session" });
  await told(page, "final", { text: "Tell me a story.", typed: true });
  await page.waitForFunction(() => window.told.some(({ kind, text }) => kind === "words" && /^Once upon/.test(text)));
  // The button silences her, and typing too.
  await told(page, "speaking", { speaking: true });
  await page.evaluate(() => window.eva.press());
  await page.waitForFunction(() => window.eva.levels().eva === 0);
  await page.evaluate(() => window.eva.release());
  await over(page);
});

test("a microphone that goes away in mid-call is replaced, and where there is none the next one is taken", async () => {
  const page = await bench({});
  const unplug = () => page.evaluate(() => {
    const track = window.own.streams.at(-1).getAudioTracks()[0];
    track.stop();
    track.dispatchEvent(new Event("ended"));
  });
  await unplug();
  await told(page, "microphone", { lost: true });
  assert.equal(await page.evaluate(() => window.own.streams.length), 2);
  let from = await bytes(page);
  await page.waitForFunction(async (than) => (await window.eva.stats()).bytesSent > than + 500, from.bytesSent);

  await page.evaluate(() => (window.own.missing = true));
  await unplug();
  await told(page, "error", { code: "no-microphone" });
  assert.equal(await page.evaluate(() => window.eva.state), "connected");
  await page.evaluate(() => {
    window.own.missing = false;
    window.told.length = 0;
    navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
  });
  await told(page, "microphone", { lost: true });
  from = await bytes(page);
  await page.waitForFunction(async (than) => (await window.eva.stats()).bytesSent > than + 500, from.bytesSent);
  await over(page);
});

test("devices are chosen before a call and in it; a preview shows the level and is taken over", async () => {
  const page = await bench();
  assert.deepEqual(await page.evaluate(() => window.eva.levels()), { microphone: 0, eva: 0 });
  await page.evaluate(() => window.eva.preview());
  await page.waitForFunction(() => window.eva.levels().microphone > 0.3);
  const { microphones, speakers } = await page.evaluate(async () => {
    const { microphones, speakers } = await window.eva.devices();
    return { microphones: microphones.map(({ deviceId }) => deviceId), speakers: speakers.map(({ deviceId }) => deviceId) };
  });
  assert.ok(microphones.length > 1 && speakers.length > 1, "Chromium's fake devices have names once the microphone is allowed");
  assert.equal(await page.evaluate(() => window.eva.canChooseSpeaker), true);
  const [microphone, speaker] = [microphones.at(-1), speakers.at(-1)];
  await page.evaluate((id) => window.eva.preview(id), microphone);
  assert.deepEqual(await page.evaluate(() => window.left()), { connections: 0, tracks: 1, contexts: 1 });
  await page.evaluate(([microphoneId, speakerId]) => window.eva.connect({ microphoneId, speakerId }), [microphone, speaker]);
  assert.equal(await page.evaluate(() => window.own.streams.length), 2, "the preview became the call's microphone");
  await page.evaluate((id) => window.eva.setSpeaker(id), speakers[1]);
  await assert.rejects(page.evaluate(() => window.eva.setSpeaker("nowhere")), /loudspeaker/);
  await page.evaluate((id) => window.eva.setMicrophone(id), microphones[0]);
  await told(page, "microphone", { lost: false });
  assert.deepEqual(await page.evaluate(() => window.left()), { connections: 1, tracks: 1, contexts: 1 });
  const took = await page.evaluate(async (id) => {
    const from = performance.now();
    await window.eva.testTone(id);
    return performance.now() - from;
  }, speaker);
  assert.ok(took > 800 && took < 4000, `the tone took ${took} ms`);
  await over(page);
});

test("a call that is ended at the gateway is over, and no call is made in its place", async () => {
  const page = await bench({});
  await fetch(new URL(`calls/${await page.evaluate(() => window.eva.id)}`, gateway.base), { method: "DELETE" });
  await told(page, "end", { reason: "gateway" });
  assert.equal(await page.evaluate(() => window.first("reconnecting")), undefined);
  await over(page);
});

test("two calls at once are refused, and a call that is cancelled at any moment leaves nothing", async () => {
  const page = await bench();
  const codes = await page.evaluate(async () => {
    const first = window.eva.connect();
    const second = await window.eva.connect().catch(({ code }) => code);
    await first;
    window.eva.hangUp();
    const cancelled = [];
    for (const after of [0, 5, 20, 60, 120, 250]) {
      const call = window.eva.connect().then(() => "connected", ({ code }) => code);
      await new Promise((resolve) => setTimeout(resolve, after));
      window.eva.hangUp();
      cancelled.push(await call);
    }
    return { second, cancelled };
  });
  assert.equal(codes.second, "refused");
  assert.ok(codes.cancelled.slice(0, 2).every((code) => code === "cancelled"), codes.cancelled.join());
  await page.waitForTimeout(300);
  assert.deepEqual(await page.evaluate(() => window.left()), NOTHING);
  await untilFree(gateway.base, 16_000);
  await page.context().close();
});

for (const [how, end] of [["killed", (gateway) => gateway.kill()], ["shut down", (gateway) => gateway.stop()]]) {
  test(`a gateway that is ${how} and started again in mid-call: the conversation goes on`, { skip: !ownGateway && "EVA_URL is not ours to end" }, async (t) => {
    const page = await bench({});
    await told(page, "words", {}, ANSWER_MS);
    await told(page, "speaking", { speaking: false });
    await page.waitForTimeout(700); // the turn is written down when it has been heard out
    const before = await page.evaluate(() => ({ id: window.eva.id, session: window.eva.sessionId, told: window.told.length }));
    await end(gateway);
    await told(page, "reconnecting", {}, 20_000);
    assert.equal(await page.evaluate(() => window.first("end")), undefined);
    gateway = await start();
    const asked = brain.prompts.length;
    await told(page, "resumed", { how: "session" }, 20_000);
    const after = await page.evaluate(() => ({ id: window.eva.id, session: window.eva.sessionId, state: window.eva.state, ms: window.first("resumed").ms, why: window.first("reconnecting").why }));
    t.diagnostic(`${after.why}; back after ${after.ms} ms`);
    assert.notEqual(after.id, before.id);
    assert.equal(after.session, before.session);
    assert.equal(after.state, "connected");
    await page.waitForFunction(() => window.first("words", {}, window.told.findIndex(({ kind }) => kind === "resumed")), undefined, { timeout: ANSWER_MS });
    const history = brain.prompts.slice(asked).at(-1).messages.map(({ role, content }) => `${role}: ${content}`);
    assert.ok(history.filter((line) => /^user: .*capital/i.test(line)).length >= 2, history.join("\n"));
    assert.ok(history.some((line) => /^assistant: .*Paris/.test(line)), history.join("\n"));
    await told(page, "speaking", { speaking: true });
    await over(page);
  });
}

test("hanging up while the call is brought back ends it", { skip: !ownGateway && "EVA_URL is not ours to end" }, async () => {
  const page = await bench({});
  // Out of reach in every way but the sound's: first the pages go, then the path.
  await page.route("**/offer", (route) => route.abort());
  await page.evaluate(() => {
    window.own.connections[0].dispatchEvent(new Event("connectionstatechange"));
    window.own.connections[0].getStats = async () => new Map(); // nothing arrives
    window.dispatchEvent(new Event("online"));
  });
  await told(page, "reconnecting", { why: "network" });
  await page.waitForTimeout(2500);
  assert.equal(await page.evaluate(() => window.eva.state), "reconnecting");
  await over(page);
});

test("the element answers in a page of somebody else's, under its strict policy", async (t) => {
  const page = await open(browser, `http://site.test:${sitePort}/`);
  const eva = page.locator("eva-call");
  const button = eva.getByRole("button", { name: "Call EVA" });
  await button.waitFor();
  await shoot(page, "element-idle-light");
  await axe(page, "the element at rest");
  await page.evaluate(() => {
    window.told = [];
    const element = document.querySelector("eva-call");
    for (const kind of ["state", "ready", "final", "words", "speaking", "end"]) element.addEventListener(kind, ({ detail }) => window.told.push([kind, detail]));
  });
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await eva.getByRole("button", { name: "Hang up" }).waitFor();
  assert.equal(await calls(gateway.base), 1);
  await eva.locator(".you:not(.open) p").filter({ hasText: /capital/i }).waitFor({ timeout: ANSWER_MS });
  await eva.locator(".eva p").filter({ hasText: /Paris/ }).waitFor({ timeout: ANSWER_MS });
  await eva.locator(".word.now").first().waitFor({ timeout: ANSWER_MS });
  await page.waitForTimeout(500);
  assert.equal(await eva.getByRole("status").innerText(), "Speaking");
  await shoot(page, "element-call-light");
  await axe(page, "the element in a call");
  await page.waitForFunction(() => [...document.querySelector("eva-call").shadowRoot.querySelectorAll(".word")].every((word) => word.classList.contains("heard")));
  assert.match(await eva.getByRole("log").textContent(), /You: .*capital.*EVA: .*Paris/is);
  assert.deepEqual(await page.evaluate(() => [...new Set(window.told.map(([kind]) => kind))].sort()), ["final", "ready", "speaking", "state", "words"]);
  const mute = eva.getByRole("button", { name: "Mute" });
  await mute.click();
  assert.equal(await eva.getByRole("status").innerText(), "Muted");
  await page.evaluate(() => (document.querySelector("eva-call").lang = "fr"));
  await eva.getByRole("button", { name: "Rétablir le micro" }).click();
  // Out of the page is out of the call.
  await page.evaluate(() => document.querySelector("eva-call").remove());
  t.diagnostic(`free after ${Math.round(await untilFree(gateway.base, 2000))} ms`);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("the element in the dark, in French, and what it says when something is wrong", async () => {
  const page = await open(browser, `http://site.test:${sitePort}/`, { colorScheme: "dark", viewport: { width: 390, height: 844 } });
  await page.evaluate(() => (document.documentElement.lang = "fr", document.querySelector("eva-call").lang = "fr"));
  const eva = page.locator("eva-call");
  await eva.getByRole("button", { name: "Appeler EVA" }).waitFor();
  await page.route("**/offer", (route) => route.fulfill({ status: 503, headers: { "retry-after": "7", "access-control-allow-origin": "*", "access-control-expose-headers": "retry-after" }, json: { error: { code: "busy", message: "Busy." } } }));
  await eva.getByRole("button", { name: "Appeler EVA" }).click();
  assert.match(await eva.getByRole("alert").innerText(), /Réessayez dans 7 s/);
  await shoot(page, "element-busy-dark");
  await axe(page, "the element when EVA is busy");
  await page.unroute("**/offer");
  await eva.getByRole("button", { name: "Appeler EVA" }).click();
  await eva.getByRole("button", { name: "Raccrocher" }).waitFor();
  await eva.locator(".word.now").first().waitFor({ timeout: ANSWER_MS });
  await page.waitForTimeout(500);
  await shoot(page, "element-call-dark");
  await eva.getByRole("button", { name: "Raccrocher" }).click();
  await untilFree(gateway.base, 2000);
  await page.context().close();
});

test("a page that the gateway does not know cannot have the element", async () => {
  const page = await open(browser, `http://other.test:${sitePort}/`);
  await page.waitForTimeout(500);
  assert.equal(await page.evaluate(() => customElements.get("eva-call")), undefined);
  await page.context().close();
});
