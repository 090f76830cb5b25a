#!/usr/bin/env bash
# A conversation that goes on after a restart. Run it after `make build models`:
#   examples/memory.sh HELLO.wav QUESTION.wav
# Both are speech, mono or stereo WAV; say something in the first ("My name is Ann.") that the second
# asks for ("What is my name?").
set -euo pipefail
hello="${1:?a WAV file to begin with}" question="${2:?a WAV file that asks for what the first one said}"
eva="${EVA_BIN:-target/release/eva}" page=http://127.0.0.1:8499
session="example-$(date +%s)"
folder="$(mktemp -d)"

start() {
  "$eva" serve --listen 127.0.0.1:8499 --database "$folder/eva.db" >"$folder/log" 2>&1 &
  gateway=$!
  until curl -sf "$page/ready" >/dev/null; do kill -0 "$gateway" && sleep 0.3; done
}
trap 'kill "$gateway" 2>/dev/null; rm -rf "$folder"' EXIT

start
"$eva" call "$page" --session "$session" --wav "$hello"
kill "$gateway" && wait "$gateway"
echo "-- the gateway was stopped; it starts again --"
start
"$eva" call "$page" --session "$session" --wav "$question"

echo "-- what is kept --"
curl -s "$page/sessions/$session"
echo
curl -s -o /dev/null -w 'deleted: %{http_code}\n' -X DELETE "$page/sessions/$session"
curl -s -w '\n' "$page/sessions/$session"
