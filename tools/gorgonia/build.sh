#!/usr/bin/env bash
# Builds and tests with -tags gorgonia, which puts gorgonia.org/cu under cuda/driver. It needs cuda.h of CUDA 12 to compile (13 has
# dropped calls that it wraps), which a wheel of PyPI brings; neither it nor the program needs a toolkit or a driver.
# -h prints the folder of cuda.h alone: CGO_CFLAGS=-I$(tools/gorgonia/build.sh -h) go build -tags gorgonia .
set -euo pipefail
cd "$(dirname "$0")/../.."

wheel=nvidia_cuda_runtime_cu12-12.4.127-py3-none-manylinux2014_x86_64.whl
sha256=64403288fa2136ee8e467cdc9c9427e0434110899d07c779f25b5c068934faa5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lathe/cuda-12.4.127
include=$cache/nvidia/cuda_runtime/include

if [ ! -e "$include/cuda.h" ]; then
  if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "skipped: no python3 with pip here to fetch cuda.h from PyPI" >&2
    exit 0
  fi
  part=$(mktemp -d)
  trap 'rm -rf "$part"' EXIT
  python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux2014_x86_64 \
    nvidia-cuda-runtime-cu12==12.4.127 -d "$part" >&2
  echo "$sha256  $part/$wheel" | sha256sum --check --quiet >&2
  python3 -m zipfile -e "$part/$wheel" "$part/unpacked"
  mkdir -p "$(dirname "$cache")"
  rm -rf "$cache"
  mv "$part/unpacked" "$cache"
fi
if [ "${1:-}" = -h ]; then
  echo "$include"
  exit 0
fi

export CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} -I$include"
# The empty libcuda.a before any real one of the host: the program must not be linked to a driver. It lies beside the header, because
# Go compiles every package with C again where these flags are others, and a checkout's folder in them would make them others.
cp cuda/driver/internal/forward/libcuda.a "$cache/"
export CGO_LDFLAGS="-L$cache ${CGO_LDFLAGS:-}"
bin=$(mktemp -d)
trap 'rm -rf "$bin" ${part:+"$part"}' EXIT
go build -tags gorgonia ./...
go vet -tags gorgonia ./cuda/driver/...
go test -tags gorgonia ./cuda/driver
go build -tags gorgonia -o "$bin/lathe" .
go test -tags gorgonia -c -o "$bin/driver.test" ./cuda/driver
for b in lathe driver.test; do
  if readelf -d "$bin/$b" | grep libcuda; then
    echo "$b, built with -tags gorgonia, needs a libcuda to start" >&2
    exit 1
  fi
done
"$bin/lathe" --version
if go list -deps ./... | grep gorgonia; then
  echo "gorgonia.org/cu is in the default build" >&2
  exit 1
fi
