#!/usr/bin/env python3
"""Writes a reply as it comes, and its sound into reply.wav. Run: examples/expressive.py "How are you?" [URL]

With a key: set EVA_API_KEY. Needs nothing but Python.
"""

import base64
import io
import json
import os
import sys
import urllib.request
import wave

message = sys.argv[1] if len(sys.argv) > 1 else "How are you today?"
url = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8484"
headers = {"Content-Type": "application/json"}
if key := os.environ.get("EVA_API_KEY"):
    headers["Authorization"] = f"Bearer {key}"
body = json.dumps({"message": message, "format": "wav"}).encode()
request = urllib.request.Request(f"{url}/chat/expressive", body, headers)
with urllib.request.urlopen(request) as events, wave.open("reply.wav", "wb") as reply:
    reply.setparams((1, 2, 24000, 0, "NONE", ""))
    for line in events:
        if not line.startswith(b"data: "):
            continue
        event = json.loads(line[6:])
        text = event.get("text") or event.get("error", {}).get("message", "")
        print(f"{event.get('at_ms', 0):8.1f} ms  {event['type']:<8} {text}")
        if "audio" in event:
            with wave.open(io.BytesIO(base64.b64decode(event["audio"]))) as sound:
                reply.writeframes(sound.readframes(sound.getnframes()))
