#!/usr/bin/env python3
"""Prints a reply token by token. Run: examples/chat_stream.py "Tell me about bees." [URL]

With a key: set EVA_API_KEY. Needs nothing but Python.
"""

import json
import os
import sys
import urllib.request

message = sys.argv[1] if len(sys.argv) > 1 else "Tell me about honey bees."
url = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8484"
headers = {"Content-Type": "application/json"}
if key := os.environ.get("EVA_API_KEY"):
    headers["Authorization"] = f"Bearer {key}"
body = json.dumps({"message": message}).encode()
request = urllib.request.Request(f"{url}/chat/stream", body, headers)
with urllib.request.urlopen(request) as events:
    for line in events:
        if not line.startswith(b"data: "):
            continue
        event = json.loads(line[6:])
        if event["type"] == "token":
            print(event["text"], end="", flush=True)
        elif event["type"] == "error":
            sys.exit(event["error"]["message"])
        elif event["type"] == "done":
            print(f"\n({event['first_token_ms']} ms to the first token, {event['latency_ms']} ms in all)")
