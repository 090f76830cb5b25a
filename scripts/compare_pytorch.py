#!/usr/bin/env python3
"""Our voice against PyTorch's `VitsModel`: the same weights, the same device, in turn.

    python -m venv .venv/torch && .venv/torch/bin/pip install torch transformers
    .venv/torch/bin/python scripts/compare_pytorch.py --device cuda --eva target/cuda/release/eva
    … --voice FOLDER      a Hugging Face VitsModel (facebook/mms-tts-eng, say); without it, random
                          weights of MMS-TTS's size, which take as long as trained ones
    … --dtype float16     for PyTorch's side; ours uses what suits the device
    … --skip-eva          only PyTorch, for trying the script out

Each round runs PyTorch over sentences of 1, 4, 10, 20 and 40 words, then `eva bench tts`. PyTorch
makes a sentence as a whole, so its first sound is its last. Prints JSON: medians over the rounds,
and ratios, where more than 1 means that ours is faster. Random weights speak at another length than
trained ones, and both sides draw their own noise: whole sentences are compared per second of sound.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import VitsConfig, VitsModel, VitsTokenizer

WORDS = [1, 4, 10, 20, 40]
SYLLABLES = "ba de fi go lu ma ne pi ro su ta ve wi zo ka le mi no ru sa".split()


def random_voice(folder):
    """A voice of MMS-TTS's size with random weights, as a Hugging Face folder."""
    torch.manual_seed(1)
    letters = "abcdefghijklmnopqrstuvwxyz'- "
    vocabulary = {"_": 0} | {letter: n for n, letter in enumerate(letters, 1)} | {"<unk>": len(letters) + 1}
    vocabulary_file = folder / "vocab.json"
    vocabulary_file.write_text(json.dumps(vocabulary))
    tokenizer = VitsTokenizer(
        str(vocabulary_file), pad_token="_", language="eng", add_blank=True, normalize=True, phonemize=False
    )
    model = VitsModel(VitsConfig(vocab_size=len(vocabulary)))
    # Lengths like speech: about two frames a symbol, blanks included.
    with torch.no_grad():
        model.duration_predictor.flows[0].translate.fill_(0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def sentence(words, dice):
    """Words that no run has seen before."""
    spoken = ["".join(dice.choices(SYLLABLES, k=dice.randint(1, 3))) for _ in range(words)]
    return " ".join(spoken)


def run_pytorch(model, tokenizer, device, words, dice):
    ids = tokenizer(sentence(words, dice), return_tensors="pt").to(device)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    began, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        sound = model(**ids).waveform.float().cpu()
    whole = (time.perf_counter() - began) * 1e3
    cpu = (time.process_time() - cpu) * 1e3
    seconds = sound.shape[-1] / model.config.sampling_rate
    return {"whole_ms": whole, "audio_s": seconds, "cpu_ms": cpu}


def run_eva(arguments, folder):
    command = [arguments.eva, "bench", "tts", "--device", arguments.device, "--json", "--voice", str(folder)]
    done = subprocess.run(command + arguments.eva_args, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def summary(words, theirs, ours):
    row = {
        "words": words,
        "pytorch": {
            "first_sound_ms": median(theirs, "whole_ms"),
            "whole_ms": median(theirs, "whole_ms"),
            "audio_s": median(theirs, "audio_s"),
            "ms_per_audio_s": statistics.median(r["whole_ms"] / r["audio_s"] for r in theirs),
            "cpu_ms_per_audio_s": statistics.median(r["cpu_ms"] / r["audio_s"] for r in theirs),
        },
    }
    if ours:
        keys = ["first_sound_ms", "whole_ms", "audio_s", "cpu_ms_per_audio_s"]
        row["ours"] = {key: median(ours, key) for key in keys}
        row["ours"]["ms_per_audio_s"] = statistics.median(r["whole_ms"] / r["audio_s"] for r in ours)
        row["ratio"] = {
            "first_sound": row["pytorch"]["first_sound_ms"] / row["ours"]["first_sound_ms"],
            "whole": row["pytorch"]["ms_per_audio_s"] / row["ours"]["ms_per_audio_s"],
        }
    return row


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, on the CPU")
    parser.add_argument("--voice", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eva", default="target/release/eva")
    parser.add_argument("--eva-args", nargs="*", default=[], help="more options for `eva bench tts`")
    parser.add_argument("--skip-eva", action="store_true")
    return parser.parse_args()


def main():
    arguments = options()
    torch.set_num_threads(arguments.threads)
    dice = random.Random(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.voice or Path(scratch)
        if not arguments.voice:
            random_voice(folder)
        dtype = getattr(torch, arguments.dtype)
        model = VitsModel.from_pretrained(folder).eval().to(arguments.device, dtype)
        tokenizer = VitsTokenizer.from_pretrained(folder)
        for words in WORDS:
            run_pytorch(model, tokenizer, arguments.device, words, dice)
        theirs, ours = {words: [] for words in WORDS}, {words: [] for words in WORDS}
        for _ in range(arguments.rounds):
            for words in WORDS:
                theirs[words].append(run_pytorch(model, tokenizer, arguments.device, words, dice))
            if not arguments.skip_eva:
                for row in run_eva(arguments, folder)["sentences"]:
                    ours.setdefault(row["words"], []).append(row)
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "CPU"
    result = {
        "device": arguments.device,
        "device_name": name,
        "torch": torch.__version__,
        "dtype": arguments.dtype,
        "threads": arguments.threads,
        "weights": str(arguments.voice.name) if arguments.voice else "random, of MMS-TTS's size",
        "sentences": [summary(words, theirs[words], ours[words]) for words in WORDS],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
