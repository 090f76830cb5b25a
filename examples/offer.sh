#!/usr/bin/env bash
# The plain offer by hand: a call is begun, continued with the same offer, told a candidate, and ended.
# Nothing is heard, since curl has no WebRTC; the call page and web/eva-voice.js do it in full.
#   eva serve &
#   examples/offer.sh [http://127.0.0.1:8484]     # KEY=… where the gateway wants one
set -euo pipefail
base="${1:-http://127.0.0.1:8484}"

python3 - "$base" "${KEY:-}" <<'PYTHON'
import json, os, sys, urllib.request

base, key = sys.argv[1:]
fingerprint = ":".join(f"{byte:02X}" for byte in os.urandom(32))
offer = "\r\n".join([
    "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=sendrecv", "a=rtcp-mux", "a=setup:actpass",
    "a=rtpmap:111 opus/48000/2", f"a=ice-ufrag:{os.urandom(4).hex()}", f"a=ice-pwd:{os.urandom(16).hex()}",
    f"a=fingerprint:sha-256 {fingerprint}", "",
])


def ask(method, path, body=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers, method=method)) as answer:
        text = answer.read().decode()
        print(method, path, answer.status)
        return json.loads(text) if text else None


call = ask("POST", "/offer", {"type": "offer", "sdp": offer})
print(call["sdp"])
ask("POST", "/offer", {"type": "offer", "sdp": offer, "pc_id": call["pc_id"]})
candidate = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdp_mid": "0", "sdp_mline_index": 0}
print(ask("PATCH", "/offer", {"pc_id": call["pc_id"], "candidates": [candidate]}))
ask("DELETE", f"/calls/{call['call_id']}")
PYTHON
