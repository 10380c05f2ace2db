# Sourced by run.sh here and in ../peercheck: the two pinned Python environments, made where they are missing (12 GB, some
# minutes). REFDUMP_VENV and ADAPTERS_VENV name their folders.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lathe
REFDUMP_VENV=${REFDUMP_VENV:-$cache/refdump-venv}
ADAPTERS_VENV=${ADAPTERS_VENV:-$cache/adapters-venv}

# environment FOLDER REQUIREMENTS: makes FOLDER where it does not hold the versions of REQUIREMENTS.
environment() {
	if ! "$1/bin/python" "$here/check_versions.py" "$here/$2" 2>/dev/null; then
		python3 -m venv "$1"
		"$1/bin/pip" install --quiet -r "$here/$2"
		"$1/bin/python" "$here/check_versions.py" "$here/$2"
	fi
}

environments() {
	environment "$REFDUMP_VENV" requirements.txt
	environment "$ADAPTERS_VENV" requirements-adapters.txt
}
