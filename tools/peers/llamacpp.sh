#!/usr/bin/env bash
# Times llama.cpp's generation and prompt processing in 4 bits (Q4_0) on a llama in Hugging Face layout, on 2 threads:
#
#     go run ./tools/randmodel --preset 60m --dtype bfloat16 --out /some/model
#     PYTHON=/some/venv/bin/python bash tools/peers/llamacpp.sh /some/model /some/folder
#
# Needs cmake, ninja, a C++ compiler and a Python with gguf and numpy. llama.cpp comes with llama-cpp-python's source from PyPI and is
# built for this processor in the folder, outside the repository; a second run reuses it.
set -euo pipefail
model=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
mkdir -p "$2"
cd "$2"
if [ ! -x llama.cpp/build/bin/llama-bench ]; then
    "${PYTHON:-python3}" -m pip download --no-binary llama-cpp-python --no-deps llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-0.3.36.tar.gz
    mv llama_cpp_python-0.3.36/vendor/llama.cpp llama.cpp
    cmake -G Ninja -S llama.cpp -B llama.cpp/build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF
    ninja -C llama.cpp/build llama-bench llama-quantize
fi
"${PYTHON:-python3}" "$here/llamacpp_gguf.py" "$model" f16.gguf
llama.cpp/build/bin/llama-quantize f16.gguf q4_0.gguf q4_0
llama.cpp/build/bin/llama-bench -m q4_0.gguf -t "${THREADS:-2}" -n 128 -p 0 -r 3
llama.cpp/build/bin/llama-bench -m q4_0.gguf -t "${THREADS:-2}" -n 0 -p 512 -r 2
