#!/usr/bin/env bash
# Builds the program for NVIDIA GPUs; the machine that builds needs none. Safe to run again.
#   scripts/cuda.sh [OPTIONS FOR cargo build]
# Uses the CUDA toolkit that is there (CUDA_HOME, or nvcc on PATH); otherwise fetches NVIDIA's
# Python wheels of it into .venv/cuda (1.2 GB). Builds in target/cuda, apart from the program without
# CUDA.
#   CUDA_COMPUTE_CAP  the oldest generation it runs on: 80 (A100, default), 86, 89, 90 (H100), …
#                     The driver translates for newer ones when they first run it, except from 90,
#                     which runs on that generation alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/cuda"

# One version of all parts: candle's kernels and cudarc know it.
TOOLKIT='cuda-toolkit[nvcc,crt,nvvm,cccl,cudart,cublas,curand,nvrtc]==13.0.2'

say() { echo "cuda: $*" >&2; }
give_up() { say "$*"; exit 1; }

# Makes .venv/cuda a toolkit out of wheels: programs that may run, names that the linker looks for.
fetch_toolkit() {
  CUDA_HOME="$PWD/.venv/cuda/nvidia/cu13"
  if [[ ! -e .venv/cuda/complete ]]; then
    say "fetching CUDA 13.0 (wheels) into .venv/cuda"
    rm -rf .venv/cuda
    [[ -x .venv/bin/python3 ]] || python3 -m venv .venv ||
      give_up "python3 with its module venv is missing: install python3-venv, or a CUDA toolkit"
    .venv/bin/python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
      --target .venv/cuda "$TOOLKIT" || give_up "the wheels cannot be had; install a CUDA toolkit"
    chmod +x "$CUDA_HOME"/bin/* "$CUDA_HOME"/nvvm/bin/*
    ln -sfn lib "$CUDA_HOME/lib64"
    local library
    for library in "$CUDA_HOME"/lib/lib*.so.*; do
      [[ -e ${library%%.so*}.so ]] || ln -s "${library##*/}" "${library%%.so*}.so"
    done
    touch .venv/cuda/complete
  fi
  export CUDA_HOME
}

# The driver's library is on machines with a GPU only. To link without it takes its names alone:
# they are those of cudarc's bindings.
make_driver_stub() {
  local stubs="$CARGO_TARGET_DIR/stubs" cudarc
  STUBS="$stubs"
  [[ -e $stubs/libcuda.so ]] && return
  cudarc="$(cargo metadata --format-version 1 --features cuda "${FETCH[@]}" | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(*[os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "cudarc"], sep="\n")
' | head -n 1)"
  [[ -d $cudarc/src/driver/sys ]] || give_up "the crate cudarc is not where cargo says"
  mkdir -p "$stubs"
  grep -rohE '\bfn cu[A-Z][A-Za-z0-9_]*' "$cudarc/src/driver/sys/" | sort -u |
    awk '{ print "void " $2 "(void) {}" }' >"$stubs/libcuda.c"
  gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$stubs/libcuda.so" "$stubs/libcuda.c"
}

FETCH=()
for option in "$@"; do
  case "$option" in --offline | --locked | --frozen) FETCH+=("$option") ;; esac
done

if [[ -n ${CUDA_HOME:-} && -x $CUDA_HOME/bin/nvcc ]]; then
  export CUDA_HOME
elif command -v nvcc >/dev/null; then
  CUDA_HOME="$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")"
  export CUDA_HOME
else
  fetch_toolkit
fi
# Where build scripts look for nvcc.
export PATH="$CUDA_HOME/bin:$PATH"
say "$(nvcc --version | grep -o 'release [0-9.]*'), from $CUDA_HOME; for generation $CUDA_COMPUTE_CAP and newer"

flags=(-L "native=$CUDA_HOME/lib64")
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so$'; then
  make_driver_stub
  flags+=(-L "native=$STUBS")
fi
# Where the program looks for CUDA's libraries: beside itself, then where it was built.
flags+=(-C "link-arg=-Wl,-rpath,\$ORIGIN:$CUDA_HOME/lib64")
export RUSTFLAGS="${RUSTFLAGS:-} ${flags[*]}"

cargo build --release --features cuda "$@"

eva="$CARGO_TARGET_DIR/release/eva"
[[ -x $eva ]] || exit 0
say "built $eva"
say "to run, it needs NVIDIA's driver (libcuda.so.1; for CUDA 13.0 version 580 or later) and:"
readelf -d "$eva" | grep -oE '\[libcu[^]]*\]' | tr -d '[]' | grep -v '^libcuda\.so' |
  while read -r library; do
    say "  $library    ($CUDA_HOME/lib64/$library)"
  done || true
say "which it finds beside itself, in $CUDA_HOME/lib64, or through LD_LIBRARY_PATH;"
say "libcublas needs libcublasLt beside it. NVIDIA's wheels nvidia-cublas, nvidia-curand and"
say "nvidia-cuda-runtime have them, and so does any PyTorch for CUDA 13."
