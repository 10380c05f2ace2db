#!/usr/bin/env bash
# run.sh: build lathe, make the pinned Python environments where they are missing, and check every family and method both
# ways. Arguments go to peercheck.py: --results writes testdata/peer/results.json, --only FAMILY… and --methods METHOD… narrow it.
# REFDUMP_VENV and ADAPTERS_VENV name the environments' folders; fit ones are used as they are.
set -euo pipefail
cd "$(dirname "$0")"
. ../refdump/environments.sh
environments
binary=$(mktemp -d)
trap 'rm -rf "$binary"' EXIT
(cd ../.. && go build -o "$binary/lathe" .)
"$REFDUMP_VENV/bin/python" peercheck.py --lathe "$binary/lathe" --adapters-python "$ADAPTERS_VENV/bin/python" "$@"
