"""Piper's own engine (piper-tts on onnxruntime, 1 thread) as the peer of `eva bench tts`.

python3 piper_peer.py VOICE.onnx

Reads one JSON object a line, {"text": ..., "wav": path or null}; answers each with one line:
{"first_sound_ms", "whole_ms", "audio_s", "cpu_ms", "peak_mib"}. Times are measured in here, so that
no pipe counts. "wav" asks for the sound as a 16-bit WAV file, which is written after the clock stopped.
"""

import json
import resource
import sys
import time
import wave

import onnxruntime
from piper import PiperVoice


default_options = onnxruntime.SessionOptions


def one_thread():
    options = default_options()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def main() -> None:
    # PiperVoice.load makes its session with the default options.
    onnxruntime.SessionOptions = one_thread
    voice = PiperVoice.load(sys.argv[1])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        chunks = []
        first = None
        cpu = time.process_time()
        began = time.perf_counter()
        for chunk in voice.synthesize(request["text"]):
            if first is None:
                first = time.perf_counter() - began
            chunks.append(chunk)
        whole = time.perf_counter() - began
        cpu = time.process_time() - cpu
        samples = sum(len(chunk.audio_float_array) for chunk in chunks)
        if request.get("wav"):
            with wave.open(request["wav"], "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(voice.config.sample_rate)
                for chunk in chunks:
                    out.writeframes(chunk.audio_int16_bytes)
        answer = {
            "first_sound_ms": 1e3 * (first or whole),
            "whole_ms": 1e3 * whole,
            "audio_s": samples / voice.config.sample_rate,
            "cpu_ms": 1e3 * cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), flush=True)


main()
