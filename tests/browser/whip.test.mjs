// The other doors for WebRTC, with clients that others wrote: WHIP and WHEP, Pipecat's offer, ICE restarts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LOOKING, otherPeoplesClients } from "./clients.mjs";
import { launch, microphoneFile, open } from "./browser.mjs";
import { calls, startGateway, untilFree } from "./gateway.mjs";

/** A question may take this long to be heard, understood and answered on a slow machine. */
const ANSWER_MS = 40_000;
/** What EVA's sound adds up to at least, in totalAudioEnergy, once she has said a word or two. */
const AUDIBLE = 1e-4;

let gateway, browser, clients;
before(async () => {
  clients = await otherPeoplesClients();
  // The question comes again and again, so that there is one more after whatever a test does.
  const microphone = microphoneFile("What is the capital of France?", { lead: 1.5, tail: 6 });
  [gateway, browser] = await Promise.all([startGateway(), launch({ microphone })]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** A page with the clients in it, on the gateway's own origin. */
async function page() {
  const opened = await open(browser, gateway.base, { bypassCSP: true, permissions: ["microphone", "camera"] });
  await opened.addScriptTag({ content: clients });
  await opened.addScriptTag({ content: LOOKING });
  opened.setDefaultTimeout(ANSWER_MS + 20_000);
  return opened;
}

/** The address that plays a call, from the Link headers of the answer to its WHIP offer. */
const plays = (headers) => /<([^>]+)>; rel="[^"]*#whep"/.exec(headers.link)[1];

test("a WHIP client speaks, WHEP players hear the answer, and the call ends with its caller", async (t) => {
  const [speaker, listener] = [await page(), await page()];
  const posted = speaker.waitForResponse((response) => response.request().method() === "POST");
  const spoken = speaker.evaluate(async () => {
    // With a camera, as WHIP clients have one: it is refused, and the voice taken.
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    const pc = new RTCPeerConnection();
    for (const track of media.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
    window.client = new window.WHIPClient();
    window.pc = pc;
    await window.client.publish(pc, new URL("whip", location.href).href);
    const seen = await window.until(pc, ({ state, sent }) => state === "connected" && sent > 20, "the speaker's connection");
    return { ...seen, etag: window.client.etag, answer: pc.remoteDescription.sdp };
  });
  const headers = await (await posted).allHeaders();
  const speaking = await spoken;
  assert.match(speaking.answer, /a=recvonly/);
  assert.match(speaking.answer, /m=video 0 /);
  assert.equal(speaking.etag, headers.etag);

  const listen = (url) => listener.evaluate(async (url) => {
    const pc = new RTCPeerConnection();
    pc.addTransceiver("audio", { direction: "recvonly" });
    window.play(pc);
    const client = new window.WHEPClient();
    (window.players ??= []).push({ client, pc });
    await client.view(pc, new URL(url, location.href).href);
    const seen = await window.until(pc, ({ state }) => state === "connected", "the player's connection");
    return { ...seen, answer: pc.remoteDescription.sdp };
  }, url);
  const listening = await listen(plays(headers));
  await listen(plays(headers));
  assert.match(listening.answer, /a=sendonly/);
  const heard = await listener.evaluate(async ([limit, audible]) => {
    const { players } = window;
    return Promise.all(players.map(({ pc }) => window.until(pc, ({ energy }) => energy > audible, "EVA's voice", limit)));
  }, [ANSWER_MS, AUDIBLE]);
  t.diagnostic(`two players heard ${heard.map(({ energy, packets }) => `${energy.toFixed(4)} in ${packets} packets`).join(", ")}`);
  assert.notEqual(heard[0].ssrc, heard[1].ssrc);

  await listener.evaluate(() => window.players[0].client.stop());
  assert.equal(await calls(gateway.base), 1, "the call does without its player");
  await speaker.evaluate(() => window.client.stop());
  await untilFree(gateway.base, 2000);
  await listener.evaluate(() => window.until(window.players[1].pc, ({ state, dtls }) => state !== "connected" || dtls === "closed", "the player's end", 12_000));
  assert.deepEqual([...speaker.trouble, ...listener.trouble], []);
  await Promise.all([speaker.context().close(), listener.context().close()]);
});

test("WHIP with duplex=1 talks both ways, and goes on after an ICE restart by PATCH", async (t) => {
  const both = await page();
  const seen = await both.evaluate(async ([limit, audible]) => {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    const pc = new RTCPeerConnection();
    pc.addTransceiver(media.getTracks()[0], { direction: "sendrecv", streams: [media] });
    window.play(pc);
    const client = new window.WHIPClient();
    const patched = [];
    const { fetch } = window;
    window.fetch = async (url, options) => {
      const response = await fetch(url, options);
      if (options?.method === "PATCH") patched.push(response.status);
      return response;
    };
    await client.publish(pc, new URL("whip?duplex=1", location.href).href);
    const before = await window.until(pc, ({ energy }) => energy > audible, "EVA's voice", limit);
    const direction = pc.getTransceivers()[0].currentDirection;
    // The restart is ours, since whip-whep 1.2.0 joins several candidates of the answer with commas; its
    // trickling waits meanwhile, and goes on under the new tag.
    client.restartIce = new Date();
    pc.restartIce();
    const offer = await pc.createOffer();
    await pc.setLocalDescription(offer);
    const section = offer.sdp.slice(offer.sdp.indexOf("m="));
    const kept = section.split("\r\n").filter((line) => /^(m=|a=mid|a=ice-ufrag|a=ice-pwd)/.test(line));
    const response = await window.fetch(client.resourceURL, {
      method: "PATCH", body: kept.join("\r\n") + "\r\n",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
    });
    const fragment = await response.text();
    const value = (name) => new RegExp(`a=${name}:(.*)\r\n`).exec(fragment)[1];
    const answer = pc.remoteDescription.sdp
      .replace(/a=ice-ufrag:.*/g, `a=ice-ufrag:${value("ice-ufrag")}`)
      .replace(/a=ice-pwd:.*/g, `a=ice-pwd:${value("ice-pwd")}`);
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    const etags = [client.etag, response.headers.get("etag")];
    const own = (name) => new RegExp(`a=${name}:(.*)\r\n`).exec(offer.sdp)[1];
    Object.assign(client, { etag: etags[1], iceUsername: own("ice-ufrag"), icePassword: own("ice-pwd"), restartIce: null });
    await client.patch();
    const restarted = await window.until(pc, ({ name, port, answered }) => name !== before.name && port !== before.port && answered > 0, "the new path");
    const after = await window.until(pc, ({ energy }) => energy > before.energy + audible, "EVA's voice after the restart", limit);
    await client.stop();
    return { direction, before, restarted, after, patched, etags };
  }, [ANSWER_MS, AUDIBLE]);
  t.diagnostic(JSON.stringify(seen));
  assert.equal(seen.direction, "sendrecv");
  assert.ok(seen.patched.indexOf(200) > 0 && seen.patched.at(-1) === 204, `${seen.patched}`);
  assert.ok(seen.patched.every((status) => status === 204 || status === 200), `${seen.patched}`);
  assert.notEqual(...seen.etags);
  assert.equal(seen.after.state, "connected");
  assert.equal(seen.after.ssrc, seen.before.ssrc, "the same connection");
  await untilFree(gateway.base, 2000);
  assert.deepEqual(both.trouble, []);
  await both.context().close();
});

test("the plain offer restarts ICE in mid-call, and nothing of the call is lost", async (t) => {
  const caller = await page();
  const seen = await caller.evaluate(async ([limit, audible]) => {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    const pc = new RTCPeerConnection();
    pc.addTrack(media.getTracks()[0], media);
    window.play(pc);
    const channel = pc.createDataChannel("oai-events");
    const told = [];
    channel.onmessage = ({ data }) => told.push(JSON.parse(data));
    let pc_id;
    const negotiate = async () => {
      await pc.setLocalDescription();
      const response = await fetch("offer", {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ type: "offer", sdp: pc.localDescription.sdp, pc_id }),
      });
      const answer = await response.json();
      await pc.setRemoteDescription(answer);
      pc_id = answer.pc_id;
      return [response.status, answer.call_id];
    };
    const negotiated = [await negotiate()];
    const before = await window.until(pc, ({ energy }) => energy > audible, "EVA's voice", limit);
    const from = performance.now();
    pc.restartIce();
    negotiated.push(await negotiate());
    const restarted = await window.until(pc, ({ name, port, answered }) => name !== before.name && port !== before.port && answered > 0, "the new path");
    const tookMs = performance.now() - from;
    pc.restartIce();
    negotiated.push(await negotiate());
    await window.until(pc, ({ name, port, answered }) => name !== restarted.name && port !== restarted.port && answered > 0, "the next path");
    const words = told.filter(({ type }) => type === "eva.final").length;
    const after = await window.until(pc, ({ energy }) => energy > before.energy + audible && told.filter(({ type }) => type === "eva.final").length > words, "the next answer", limit);
    // Hold: the direction alone changes.
    pc.getTransceivers()[0].direction = "inactive";
    negotiated.push(await negotiate());
    const held = pc.getTransceivers()[0].currentDirection;
    pc.close();
    return { negotiated, before, restarted, after, held, tookMs, hungUp: told.some(({ type }) => type === "eva.hangup") };
  }, [ANSWER_MS, AUDIBLE]);
  t.diagnostic(`restarted within ${Math.round(seen.tookMs)} ms, from port ${seen.before.port} over ${seen.restarted.port} to ${seen.after.port}`);
  assert.deepEqual(seen.negotiated.map(([status]) => status), [201, 200, 200, 200]);
  assert.equal(new Set(seen.negotiated.map(([, id]) => id)).size, 1, "one call");
  assert.deepEqual([seen.after.state, seen.after.ssrc, seen.hungUp], ["connected", seen.before.ssrc, false]);
  assert.equal(seen.held, "inactive");
  await untilFree(gateway.base, 2000);
  assert.deepEqual(caller.trouble, []);
  await caller.context().close();
});

test("Pipecat's client with its small WebRTC transport talks through /api/offer", async (t) => {
  const pipecat = await page();
  const patches = [];
  pipecat.on("response", (response) => response.request().method() === "PATCH" && patches.push(response.status()));
  const seen = await pipecat.evaluate(async ([limit, audible]) => {
    // Its own way to the microphone loads a program from elsewhere; it takes another's.
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    const idle = async () => {};
    const mediaManager = {
      initialize: idle, connect: idle, disconnect: idle, setClientOptions() {}, enableMic() {}, enableCam() {},
      tracks: () => ({ local: { audio: media.getAudioTracks()[0] } }),
      isMicEnabled: true, isCamEnabled: false, supportsScreenShare: false,
    };
    const transport = new window.SmallWebRTCTransport({ mediaManager });
    const states = [];
    const client = new window.PipecatClient({
      transport, enableMic: true, enableCam: false,
      callbacks: {
        onTransportStateChanged: (state) => states.push(state),
        onTrackStarted: (track) => {
          const audio = new Audio();
          audio.srcObject = new MediaStream([track]);
          audio.play();
        },
      },
    });
    // It resolves with the bot's greeting on the data channel (RTVI), which EVA does not speak.
    client.connect({ webrtcRequestParams: { endpoint: new URL("api/offer", location.href).href, requestData: { voice: "" } } }).catch(() => {});
    const end = performance.now() + 15_000;
    while (!states.includes("connected") && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    const heard = await window.until(transport.pc, ({ energy }) => energy > audible, "EVA's voice", limit);
    const channel = transport.dc.readyState;
    const pcId = transport.pc_id;
    await transport.negotiate();
    const again = transport.pc_id;
    const after = await window.until(transport.pc, ({ state }) => state === "connected", "the same connection");
    await client.disconnect();
    return { states, heard, channel, pcId, again, after };
  }, [ANSWER_MS, AUDIBLE]);
  t.diagnostic(`${seen.states.join(" → ")}; heard ${seen.heard.energy.toFixed(4)}; candidates ${patches}`);
  assert.equal(seen.channel, "open");
  assert.equal(seen.pcId, seen.again, "a renegotiation keeps the call");
  assert.ok(patches.length > 0 && patches.every((status) => status === 200), `${patches}`);
  await untilFree(gateway.base, 2000);
  await pipecat.context().close();
});
