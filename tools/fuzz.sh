#!/usr/bin/env bash
# Runs fuzz targets, one after another with one worker each, and prints how far each came:
#   tools/fuzz.sh                              every target of the readers of other people's files, 1,000,000 executions each
#   tools/fuzz.sh 60s                          a minute each (any -fuzztime)
#   tools/fuzz.sh 1000000x model/tokenizer     only targets whose "package Target" matches an expression; . is all of the repository
# Go spends up to a minute on making an input shorter that reached new code, and counts no executions meanwhile: here it has a second.
# A failing input stays under testdata/fuzz/TARGET of its package: mend the program, keep the file, it is a test from then on.
set -uo pipefail
cd "$(dirname "$0")/.."
amount=${1:-1000000x}
wanted=${2:-'^(model|datasets|trainer)'}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
while read -r package target; do
	if nice go test -run '^$' -fuzz "^$target\$" -fuzztime "$amount" -fuzzminimizetime 1s -parallel 1 "./$package" >"$log" 2>&1; then
		verdict=ok
	else
		verdict=FAILED failed=1
	fi
	echo "$verdict $package $target: $(grep -oE 'elapsed: [^,]+, execs: [0-9]+' "$log" | tail -1)"
	[ "$verdict" = ok ] || cat "$log"
done < <(grep -rE --include='*_test.go' '^func Fuzz' . | sed -E 's#^\./(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*).*#\1 \2#' | sort | grep -E "$wanted")
exit "$failed"
