#!/usr/bin/env bash
# A conversation of two messages. Run: examples/chat.sh [http://127.0.0.1:8484]
# With a key: EVA_API_KEY=… examples/chat.sh
set -euo pipefail
url="${1:-http://127.0.0.1:8484}"
ask() {
  curl --silent --show-error --fail-with-body "$url/chat" \
    ${EVA_API_KEY:+--header "Authorization: Bearer $EVA_API_KEY"} \
    --json "$(python3 -c 'import json, sys; print(json.dumps({"message": sys.argv[1], "session_id": sys.argv[2]}))' "$1" "$session")"
  echo
}
session="example-$$"
ask "My name is Ada. What is the capital of France?"
ask "What is my name?"
