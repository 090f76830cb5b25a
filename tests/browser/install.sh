#!/usr/bin/env bash
# Installs the npm packages that package-lock.json names, unless just those are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
installed=node_modules/.installed-lock.json
cmp -s package-lock.json "$installed" && exit 0
npm ci --no-audit --no-fund --silent
cp package-lock.json "$installed"
