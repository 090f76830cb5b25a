#!/usr/bin/env bash
# The call page in headless Chromium and Firefox against a running gateway with real models.
#   EVA_BIN      the gateway to start (default: the release build)
#   EVA_URL      test this gateway instead; what needs one of its own is then left out, by name
#   SCREENSHOTS  folder for pictures of the page's states (default: a temporary one)
#   CHROMIUM     the browser (default: /usr/bin/chromium)
#   FIREFOX      the other one (default: /usr/bin/firefox-esr)
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
target="$(realpath -m "${CARGO_TARGET_DIR:-$here/../../target}")"
export EVA_BIN="${EVA_BIN:-$target/release/eva}"
cd "$here"

export CHROMIUM="${CHROMIUM:-/usr/bin/chromium}" FIREFOX="${FIREFOX:-/usr/bin/firefox-esr}"
for need in node npm espeak-ng "$CHROMIUM" "$FIREFOX"; do
  command -v "$need" >/dev/null || { echo "The browser tests need $need. On Debian: apt-get install nodejs npm chromium firefox-esr espeak-ng" >&2; exit 1; }
done

if [[ -z "${EVA_URL:-}" && ! -x "$EVA_BIN" ]]; then
  echo "There is no gateway at $EVA_BIN. Build it first: cargo build --release" >&2
  exit 1
fi

./install.sh
exec node --test --test-reporter=spec --test-concurrency=1 "$@" ./*.test.mjs
