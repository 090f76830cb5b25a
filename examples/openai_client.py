#!/usr/bin/env python3
"""OpenAI's own client: speaks a text, writes the recording down, and asks about it.

Run: pip install openai; examples/openai_client.py [http://127.0.0.1:8484/v1]
With a key: set OPENAI_API_KEY to the gateway's.
"""

import os
import sys

import openai

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8484/v1"
client = openai.OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none"))

speech = client.audio.speech.create(
    model="tts-1",
    voice="alloy",
    input="The evening train leaves the old station at a quarter past nine.",
    response_format="wav",
)
speech.write_to_file("speech.wav")

with open("speech.wav", "rb") as file:
    heard = client.audio.transcriptions.create(model="whisper-1", file=file)
print("heard:", heard.text)

messages = [{"role": "user", "content": f"When does the train leave? {heard.text}"}]
for chunk in client.chat.completions.create(model="eva", messages=messages, stream=True):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
