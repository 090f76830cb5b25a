// Clients that others wrote, as one script for a page: whip-whep, and Pipecat's with its small WebRTC transport.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ENTRY = `
  import { WHIPClient } from "whip-whep/whip.js";
  import { WHEPClient } from "whip-whep/whep.js";
  import { PipecatClient } from "@pipecat-ai/client-js";
  import { SmallWebRTCTransport } from "@pipecat-ai/small-webrtc-transport";
  Object.assign(window, { WHIPClient, WHEPClient, PipecatClient, SmallWebRTCTransport });
`;

/** The script that makes them members of `window`. */
export async function otherPeoplesClients() {
  const resolveDir = fileURLToPath(new URL(".", import.meta.url));
  const built = await build({ stdin: { contents: ENTRY, resolveDir }, bundle: true, write: false, format: "iife", logLevel: "error" });
  return built.outputFiles[0].text;
}

/** What a page needs to look into a connection, as a script. */
export const LOOKING = `
  /** Plays what comes in on a connection: Chromium decodes only what is played. */
  window.play = (pc) => pc.addEventListener("track", ({ track }) => {
    if (track.kind !== "audio") return;
    const audio = new Audio();
    audio.srcObject = new MediaStream([track]);
    audio.play();
  });
  /** What a connection has heard and said, and where it goes. */
  window.look = async (pc) => {
    const report = [...(await pc.getStats()).values()];
    const find = (type, more = {}) => report.find((entry) => entry.type === type && Object.entries(more).every(([key, value]) => entry[key] === value));
    const heard = find("inbound-rtp", { kind: "audio" });
    const said = find("outbound-rtp", { kind: "audio" });
    const transport = find("transport");
    const pair = transport && report.find(({ id }) => id === transport.selectedCandidatePairId);
    const near = pair && report.find(({ id }) => id === pair.localCandidateId);
    return {
      state: pc.connectionState,
      energy: heard?.totalAudioEnergy ?? 0, packets: heard?.packetsReceived ?? 0, ssrc: heard?.ssrc,
      sent: said?.packetsSent ?? 0,
      name: transport?.iceLocalUsernameFragment, port: near?.port, dtls: transport?.dtlsState,
      rtt: pair?.currentRoundTripTime, answered: pair?.responsesReceived ?? 0,
    };
  };
  /** Waits until condition(look(pc)) holds. */
  window.until = async (pc, condition, what, limit = 30_000) => {
    const end = performance.now() + limit;
    for (;;) {
      const seen = await window.look(pc);
      if (condition(seen)) return seen;
      if (performance.now() > end) throw new Error("waited in vain for " + what + ": " + JSON.stringify(seen));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
`;
