#!/usr/bin/env bash
# Speaks a text into a file. Run: examples/tts.sh "Good morning." speech.opus [http://127.0.0.1:8484]
# The file's ending is its format: wav, pcm or opus. With a key: EVA_API_KEY=…
set -euo pipefail
text="${1:-Good morning. The train leaves at nine.}"
file="${2:-speech.wav}"
url="${3:-http://127.0.0.1:8484}"
curl --silent --show-error --fail-with-body "$url/tts" --output "$file" \
  ${EVA_API_KEY:+--header "Authorization: Bearer $EVA_API_KEY"} \
  --write-out '%{time_starttransfer} s to the first byte, %{size_download} bytes\n' \
  --json "$(python3 -c 'import json, sys; print(json.dumps({"text": sys.argv[1], "format": sys.argv[2]}))' "$text" "${file##*.}")"
