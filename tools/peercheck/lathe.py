"""lathe's side: the binary, called as a user calls it."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import yaml
from safetensors import safe_open


class Lathe:
    def __init__(self, binary: Path, ids: list[list[int]], tmp: Path):
        self.binary, self.tmp = binary, tmp
        self.ids = tmp / "ids.jsonl"
        self.ids.write_text("".join(json.dumps({"ids": x}) + "\n" for x in ids))

    def run(self, *args) -> str:
        done = subprocess.run([str(self.binary), *map(str, args)], capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["(nothing on stderr)"])[-1]
            raise RuntimeError(f"lathe {args[0]} ended with {done.returncode}: {last}")
        return done.stdout

    def score(self, model: Path, adapter: Path | None = None, quant=None) -> list[list[float]]:
        args = ["score", "--model", model, "--ids", self.ids, "--json", "--device", "cpu"]
        args += ["--adapter", adapter] if adapter else []
        args += four_bit(quant)
        return [json.loads(line)["logprobs"] for line in self.run(*args).splitlines()]

    def train(self, run: dict, out: Path) -> Path:
        """Trains a run whose paths are absolute but for output_dir."""
        config = out.with_suffix(".yaml")
        config.write_text(yaml.safe_dump(run | {"output_dir": str(out)}))
        self.run("train", "-c", config, "--json", "--device", "cpu")
        return out

    def merge(self, adapter: Path, out: Path, quant=None) -> Path:
        self.run("export", "merged", "--adapter", adapter, "--out", out, "--json", "--device", "cpu", *four_bit(quant))
        return out


def four_bit(quant: tuple[str, bool] | None) -> list[str]:
    if quant is None:
        return []
    return ["--load-in-4bit", "--bnb-4bit-quant-type", quant[0], f"--double-quant={str(quant[1]).lower()}"]


def layout(folder: Path) -> dict[str, str]:
    """What of an adapter folder must not change: SHA-256 of the sorted keys of adapter_config.json, and of the sorted lines
    `name dtype [shape]` of its tensors, each line ended by a newline."""
    digest = lambda lines: hashlib.sha256("".join(x + "\n" for x in sorted(lines)).encode()).hexdigest()  # noqa: E731
    return {"adapter_config_keys": digest(json.loads((folder / "adapter_config.json").read_text())), "tensors": digest(tensors(folder))}


def tensors(folder: Path) -> list[str]:
    """A line `name dtype [shape]` for each tensor of an adapter."""
    weights = next(p for p in (folder / "adapter_model.safetensors", folder / "adapter.safetensors") if p.exists())
    with safe_open(weights, "pt") as f:
        views = {k: f.get_slice(k) for k in f.keys()}
        return [f"{k} {v.get_dtype()} [{','.join(map(str, v.get_shape()))}]" for k, v in views.items()]


def same_tensors(ours: Path, theirs: Path) -> str:
    """What an adapter of lathe's has otherwise than the library's of the same configuration, names of adapters apart; "" for nothing."""
    ours, theirs = ({re.sub(r"\.adapters\.\w+\.", ".adapters.NAME.", x) for x in tensors(p)} for p in (ours, theirs))
    odd = [f"lathe has {x}" for x in sorted(ours - theirs)] + [f"the library has {x}" for x in sorted(theirs - ours)]
    return f"{odd[0]}; {len(odd)} such differences" if odd else ""
