"""Speed and ids of Hugging Face's tokenizers and of lathe, on one core.

    python3 tools/peers/tokenize.py --texts a.jsonl,b.jsonl MODEL_DIR…

A MODEL_DIR holds a tokenizer.json; the files are JSON lines {"text": …}. Both sides encode row by row with offsets, on one thread;
lathe's side is BenchmarkReal of model/tokenizer, so run it from the repository. The ids are compared with those of `lathe tokenize`.
"""

import argparse
import json
import os
import re
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer, __version__  # noqa: E402 (it reads the environment when it is imported)


def peer(folder, texts, seconds):
    """MB/s of encode, seconds to load, and the ids of each row."""
    start = time.perf_counter()
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    load = time.perf_counter() - start
    size, start = 0, time.perf_counter()
    for text in texts:
        tok.encode(text)
        size += len(text.encode())
        if time.perf_counter() - start > seconds:
            break
    speed = size / (time.perf_counter() - start) / 1e6
    return speed, load, (tok.encode(text).ids for text in texts)


def bench(folder, path):
    """MB/s of lathe's encode with spans and without, and seconds to load."""
    env = dict(os.environ, LATHE_BENCH_MODELS=os.path.abspath(folder), LATHE_BENCH_TEXTS=os.path.abspath(path))
    out = subprocess.run(
        ["go", "test", "-run", "^$", "-bench", "^Benchmark(Real|Load)$", "-cpu", "1", "-benchtime", "3x", "./model/tokenizer"],
        env=env, check=True, capture_output=True, text=True).stdout
    speed = dict(re.findall(r"/(ids|spans)\s.*?([\d.]+) MB/s", out))
    load = re.search(r"BenchmarkLoad/\S+\s+\d+\s+(\d+) ns/op", out)
    return float(speed["spans"]), float(speed["ids"]), int(load.group(1)) / 1e9


def differing(lathe, folder, path, want):
    """Numbers of the rows whose ids differ."""
    out = subprocess.run([lathe, "tokenize", "--model", folder, "--text", path], check=True, capture_output=True, text=True).stdout
    got = (json.loads(line)["ids"] for line in out.splitlines())
    return [i for i, (a, b) in enumerate(zip(got, want, strict=True)) if a != b]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--texts", required=True, help="JSON lines, comma separated")
    p.add_argument("--lathe", default="./lathe", help="the binary whose ids are compared")
    p.add_argument("--seconds", type=float, default=3, help="how long the peer encodes")
    args = p.parse_args()
    print(f"tokenizers {__version__}; MB/s with offsets (lathe also without), seconds to load")
    for folder in args.models:
        for path in args.texts.split(","):
            with open(path, encoding="utf-8") as f:
                texts = [json.loads(line)["text"] for line in f]
            theirs, their_load, ids = peer(folder, texts, args.seconds)
            spans, bare, load = bench(folder, path)
            wrong = differing(args.lathe, folder, path, ids)
            print(f"{os.path.basename(folder)} {os.path.basename(path)}: peer {theirs:.2f}, lathe {spans:.1f} ({bare:.1f}), "
                  f"{spans / theirs:.1f}×; load {their_load:.3f} and {load:.3f}; "
                  f"{len(texts)} rows, {len(wrong)} with other ids {wrong[:5]}", flush=True)


if __name__ == "__main__":
    main()
