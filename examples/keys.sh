#!/usr/bin/env bash
# A key, what it opens and what it does not, and the TURN servers that a caller is told of.
#   eva serve --keys keys.toml --ice-server stun:stun.example:3478 &
#   examples/keys.sh [http://127.0.0.1:8484]
# Run it where keys.toml lies; EVA names the program.
set -euo pipefail
base="${1:-http://127.0.0.1:8484}"
eva="${EVA:-target/release/eva}"
name="example-$$"

key="$("$eva" keys new "$name" --scopes call --days 1)"
trap '"$eva" keys remove "$name"' EXIT
sleep 6 # the gateway looks at the file every five seconds

ask() { curl --silent --output /dev/stderr --write-out '%{http_code}\n' -H "Authorization: Bearer $key" "$base$1"; }
echo "ice servers: $(ask /ice)"    # 200: it is for calls
echo "metrics:     $(ask /metrics)" # 403: it is for nothing else
