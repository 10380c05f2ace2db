#!/usr/bin/env bash
# All measurements of docs/PERFORMANCE.md, part after part, each of a few minutes at most:
#
#   tools/peers/run.sh docs/performance/DATE-MACHINE.json [PART…]
#
# LATHE is the binary (built where it is missing), PYTHON has tools/refdump/requirements.txt, DATA a folder with tokenizers/ and gsm8k/
# (parts that need it are left out without it), LLAMACPP llama.cpp's folder. ALONE is put before each part, for machines on which
# measurements queue. A part that fails is named, and the others go on.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$1
shift
lathe=${LATHE:-./lathe} python=${PYTHON:-python3} data=${DATA:-} llama=${LLAMACPP:-} alone=${ALONE:-}
lines=$(mktemp -d)
trap 'rm -rf "$lines"' EXIT
[ -x "$lathe" ] || go build -o "$lathe" . || exit 1
go build -o "$lines/peers" ./tools/peers && go build -o "$lines/performance" ./tools/performance || exit 1
commit=$(git rev-parse --short HEAD)

bench() { # what lathe alone does
    $alone "$lathe" bench "$@" --json >"$lines/lines" 2>"$lines/errors" || { tail -3 "$lines/errors"; return 1; }
    "$lines/performance" -add "$out" -commit "$commit" <"$lines/lines"
}

peer() { # one goal beside its peer
    $alone "$lines/peers" -goal "$1" -lathe "$lathe" -python "$python" -out "$out" "${@:2}" 2>&1 | grep "^$1\|^peers"
}

part() {
    case $1 in
    train-*) local method=${1#train-} && bench train --method "${method%%-*}" --dtype "${method##*-}" --steps 3 ;;
    ragged-train-*) local method=${1#ragged-train-} && bench train --method "${method%%-*}" --dtype "${method##*-}" --rows ragged --steps 8 ;;
    generate) bench generate ;;
    score) bench score ;;
    lint) bench lint ${data:+--data "$data/gsm8k/train.jsonl"} ;;
    tokenize) for name in gpt2 phi3; do [ -z "$data" ] || bench tokenize --model "$data/tokenizers/$name.json" --data "$data/gsm8k/train.jsonl"; done ;;
    start) bench start --method qlora && bench start --method lora ;;
    workbench) bench workbench --pairs 60 ;;
    sweep-tokens) bench train --sweep tokens --size 30m --steps 2 ;;
    sweep-parameters) bench train --sweep parameters ;;
    peer-*) peer "${1#peer-}" -tokenizers "$data/tokenizers" -corpus "$data/gsm8k/train.jsonl" -llamacpp "$llama" ;;
    *) echo "no part $1"; return 1 ;;
    esac
}

all="train-lora-float32 train-qlora-float32 train-full-float32 ragged-train-lora-float32 ragged-train-qlora-float32 generate score lint tokenize start workbench
sweep-tokens sweep-parameters peer-lora-float32 peer-qlora-float32 peer-full-float32 peer-ragged-lora-float32 peer-ragged-qlora-float32
peer-start-lora-float32 peer-start-qlora-float32 peer-tokenize-gpt2 peer-tokenize-phi3 peer-generate"
if grep -q 'avx512_bf16\|amx_bf16' /proc/cpuinfo; then
    all+=" train-lora-bfloat16 train-qlora-bfloat16 train-full-bfloat16 ragged-train-lora-bfloat16"
    all+=" peer-lora-bfloat16 peer-qlora-bfloat16 peer-full-bfloat16 peer-ragged-lora-bfloat16"
fi
failed=
for p in ${@:-$all}; do
    echo "== $p"
    part "$p" || failed+=" $p"
done
"$lines/performance"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
