#!/usr/bin/env bash
# What to run once on a machine with an NVIDIA GPU, to see whether the voice is right and how fast.
#   scripts/gpu_session.sh EVA VOICE [OUT]
# EVA is the program built by scripts/cuda.sh, VOICE a Piper voice's .onnx (its .json beside it) or
# a Hugging Face folder; OUT gets what was measured (default: gpu-session). Needs the driver and
# CUDA's libraries only (docs/gpu.md), and no network. Where python3 has torch and transformers, it
# compares with PyTorch too.
# To carry: the program (`strip` makes it smaller), the voice (63 MB; zipped 58), this folder
# `scripts`, and CUDA's libraries (700 MB) unless a PyTorch or a toolkit there has them.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
eva="${1:?which program?}" voice="${2:?which voice?}" out="${3:-gpu-session}"
mkdir -p "$out"

step() { echo "== $*" | tee -a "$out/log.txt" >&2; }

step "the GPU"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/gpu.csv"
ldd "$eva" | grep -E 'not found|libcu' | tee "$out/libraries.txt" || true
! grep -q 'not found' "$out/libraries.txt" ||
  { step "libraries are missing: put them beside $eva, or name their folder in LD_LIBRARY_PATH"; exit 1; }

# Each device twice: a difference smaller than that between two runs means nothing.
for run in 1 2; do
  for device in cuda cpu; do
    step "eva bench tts on $device, run $run"
    "$eva" bench tts --device "$device" --json --voice "$voice" >"$out/$device-$run.json" 2>>"$out/log.txt"
  done
done

if python3 -c 'import torch, transformers; assert torch.cuda.is_available()' 2>/dev/null; then
  for dtype in float32 float16; do
    step "PyTorch's VitsModel in $dtype"
    folder=()
    [[ ! -d $voice ]] || folder=(--voice "$voice")
    python3 "$here/compare_pytorch.py" --device cuda --dtype "$dtype" --eva "$eva" "${folder[@]}" \
      >"$out/pytorch-$dtype.json" 2>>"$out/log.txt" || step "that failed; see $out/log.txt"
  done
else
  step "no PyTorch with CUDA here: nothing to compare with"
fi

step "done: $out"
python3 - "$out" <<'PYTHON' || true
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])
for file in sorted(out.glob("c*-*.json")):
    for row in json.loads(file.read_text())["sentences"]:
        print(f"{file.stem:8} {row['words']:3} words: first sound {row['first_sound_ms']:7.1f} ms, "
              f"whole {row['whole_ms']:8.1f} ms of {row['audio_s']:5.1f} s")
for file in sorted(out.glob("pytorch-*.json")):
    if file.stat().st_size:
        for row in json.loads(file.read_text())["sentences"]:
            print(f"{file.stem}: {row['words']} words, times faster: {row.get('ratio')}")
PYTHON
