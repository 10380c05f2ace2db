#!/usr/bin/env bash
# run.sh: make the pinned Python environments where they are missing and rewrite testdata/ref. Arguments go to refdump.py.
set -euo pipefail
cd "$(dirname "$0")"
. ./environments.sh
environments
"$REFDUMP_VENV/bin/python" refdump.py --out ../../testdata/ref "$@"
"$ADAPTERS_VENV/bin/python" bottleneck.py --out ../../testdata/ref
