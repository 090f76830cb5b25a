#!/usr/bin/env bash
# Holds a gateway against its own OpenAPI document: run.sh URL [options of `schemathesis run`].
# EVA_API_KEY is a key with all scopes.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here"
export NO_PROXY=127.0.0.1 PYTHONDONTWRITEBYTECODE=1
exec ../../../.venv/bin/schemathesis --config-file schemathesis.toml run ../../../web/openapi.json \
  --url "$1" --no-color "${@:2}"
