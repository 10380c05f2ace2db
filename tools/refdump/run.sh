#!/usr/bin/env bash
# run.sh: make the pinned Python environment (once, 6 GB, two minutes) and rewrite testdata/ref. Arguments go to refdump.py.
# REFDUMP_VENV names the environment's folder; a fit one is used as it is.
set -euo pipefail
cd "$(dirname "$0")"
venv=${REFDUMP_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/lathe/refdump-venv}
if ! "$venv/bin/python" check_versions.py 2>/dev/null; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet -r requirements.txt
	"$venv/bin/python" check_versions.py
fi
exec "$venv/bin/python" refdump.py --out ../../testdata/ref "$@"
