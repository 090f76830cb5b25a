"""The official OpenAI client for Python against a gateway: speech, recordings, chat, models.

OPENAI_BASE_URL names the gateway. Prints "all is well" at the end; run by tests/talk.rs.
"""

import io
import wave

import openai

client = openai.OpenAI(timeout=120, max_retries=0)

# Speech: a WAV of a length that is not known at its beginning, streamed.
TEXT = "The quick brown fox jumps over the lazy dog."
with client.audio.speech.with_streaming_response.create(
    model="tts-1", voice="alloy", input=TEXT, response_format="wav"
) as response:
    sound = b"".join(response.iter_bytes())
with wave.open(io.BytesIO(sound)) as file:
    assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
seconds = (len(sound) - 44) / 48000
assert 1.5 < seconds < 6, seconds

# Nothing but the defaults works too.
assert client.audio.speech.create(model="tts-1", voice="nova", input="Hello.").read()[:4] == b"RIFF"
opus = client.audio.speech.create(
    model="gpt-4o-mini-tts", voice="ash", input=TEXT, response_format="opus", speed=1.2
).read()
assert opus[:4] == b"OggS"

# What was spoken is written down again, from both files.
for name, data in [("speech.wav", sound), ("speech.ogg", opus)]:
    heard = client.audio.transcriptions.create(model="whisper-1", file=(name, data), language="en")
    words = heard.text.lower()
    assert "quick brown fox" in words and "lazy dog" in words, (name, words)
verbose = client.audio.transcriptions.create(
    model="whisper-1",
    file=("speech.wav", sound),
    response_format="verbose_json",
    timestamp_granularities=["segment"],
)
assert abs(verbose.duration - seconds) < 0.1, verbose.duration
assert verbose.segments and 0 <= verbose.segments[0].start < verbose.segments[-1].end <= seconds + 0.02, verbose
subtitles = client.audio.transcriptions.create(
    model="whisper-1", file=("speech.wav", sound), response_format="vtt"
)
assert subtitles.startswith("WEBVTT"), subtitles
deltas = list(
    client.audio.transcriptions.create(
        model="gpt-4o-mini-transcribe", file=("speech.wav", sound), stream=True
    )
)
assert [deltas[0].type, deltas[-1].type] == ["transcript.text.delta", "transcript.text.done"]

# Models.
models = [model.id for model in client.models.list()]
assert "whisper-1" in models and "tts-1" in models, models
brain = models[0]
assert client.models.retrieve(brain).id == brain
try:
    client.models.retrieve("no-such-model")
    raise SystemExit("a model that is not there was found")
except openai.NotFoundError as error:
    assert error.code == "model_not_found"

# Chat, whole and streamed.
messages = [
    {"role": "system", "content": "Answer in one short sentence."},
    {"role": "user", "content": "What is the capital of France?"},
]
whole = client.chat.completions.create(model=brain, messages=messages, temperature=0, max_tokens=40)
assert "Paris" in whole.choices[0].message.content, whole
assert whole.choices[0].finish_reason == "stop"
assert whole.usage.completion_tokens > 0 and whole.usage.prompt_tokens > 10
chunks = list(
    client.chat.completions.create(
        model=brain,
        messages=messages,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
)
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert "Paris" in text, text
assert chunks[-1].usage.completion_tokens > 0

# Errors are exceptions with their codes.
try:
    client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="mp3")
    raise SystemExit("MP3 was made")
except openai.BadRequestError as error:
    assert (error.code, error.param) == ("unknown_format", "response_format"), error
try:
    client.audio.transcriptions.create(model="whisper-1", file=("x.wav", b"no sound at all"))
    raise SystemExit("noise was heard")
except openai.BadRequestError as error:
    assert error.code == "bad_file", error

print("all is well")
