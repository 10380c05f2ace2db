"""Houlsby and Pfeiffer adapters: what the `adapters` library computes with the tiny models.

    python bottleneck.py --out ../../testdata/ref

Its environment is its own (requirements-adapters.txt): the library wants transformers 4.57. Runs after refdump.py, which
makes the models, and adds to their folders adapters/NAME-init, adapters/NAME-random, dump/scores-bottleneck.safetensors and
train-NAME. README.md has the layout.
"""

import argparse
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import adapters  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from adapters import DoubleSeqBnConfig, SeqBnConfig  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from transformers.utils import logging  # noqa: E402

import forward  # noqa: E402
import training  # noqa: E402
from files import fresh, manifest, versions, write_json, write_jsonl, write_tensors  # noqa: E402
from noise import BEYOND, gap, judge, jittered  # noqa: E402

CONFIGS = {"houlsby": DoubleSeqBnConfig, "pfeiffer": SeqBnConfig}


@dataclass(frozen=True)
class Row:
    """One adapter and its training run."""

    model: str
    name: str  # houlsby or pfeiffer: of the configuration, the adapter and the folders
    seed: int
    reduction_factor: int = 4
    learning_rate: float = 2e-2


ROWS = [Row("llama-gqa", "houlsby", 41), Row("llama-gqa", "pfeiffer", 42), Row("gemma2", "houlsby", 43),
        Row("qwen3", "pfeiffer", 44)]


def load(folder: Path):
    """The model as transformers 4.57 reads it, with the library's hooks."""
    model = plain(folder)
    adapters.init(model)
    return model.eval()


def plain(folder: Path):
    """The model as transformers 4.57 reads it: by the old config where there is one. Gemma 2 eagerly, for its softcap."""
    with tempfile.TemporaryDirectory() as tmp:
        save_file(load_file(folder / "model.safetensors"), Path(tmp) / "model.safetensors", metadata={"format": "pt"})
        old = folder / "dump" / "config.v4.json"
        shutil.copy(old if old.exists() else folder / "config.json", Path(tmp) / "config.json")
        gemma2 = json.loads((Path(tmp) / "config.json").read_text())["model_type"] == "gemma2"
        eager = {"attn_implementation": "eager"} if gemma2 else {}
        return AutoModelForCausalLM.from_pretrained(tmp, torch_dtype=torch.float32, **eager).eval()


def create(row: Row, folder: Path) -> None:
    """NAME-init, as the library initialises, and NAME-random: everything moved, so that an adapter that is ignored shows."""
    torch.manual_seed(row.seed)
    model = load(folder)
    model.add_adapter(row.name, config=CONFIGS[row.name](reduction_factor=row.reduction_factor))
    save(model, row.name, folder / "adapters" / f"{row.name}-init")
    with torch.no_grad():
        for n, p in model.named_parameters():
            if f".{row.name}." in n:
                p.add_(0.2 * torch.randn(p.shape))
    save(model, row.name, folder / "adapters" / f"{row.name}-random")


def save(model, name: str, folder: Path) -> None:
    """adapter_config.json and adapter.safetensors as the library writes them."""
    with tempfile.TemporaryDirectory() as tmp:
        model.save_adapter(tmp, name, with_head=False, use_safetensors=True)
        config = json.loads((Path(tmp) / "adapter_config.json").read_text())
        weights = load_file(Path(tmp) / "adapter.safetensors")
    config["model_name"] = folder.parents[0].name if folder.name == "final" else folder.parents[1].name
    fresh(folder)
    write_json(folder / "adapter_config.json", config)
    write_tensors(folder / "adapter.safetensors", weights)


def active(folder: Path, name: str, adapter: Path):
    """The model with the adapter of a folder, its weights the only ones that train."""
    model = load(folder)
    loaded = model.load_adapter(str(adapter), load_as=name, with_head=False, use_safetensors=True)
    model.train_adapter(loaded)
    return model.eval()


def dump(row: Row, folder: Path, scores: dict) -> None:
    create(row, folder)
    where = lambda kind: folder / "adapters" / f"{row.name}-{kind}"  # noqa: E731
    want = load_file(folder / "dump" / "forward.safetensors")
    ids = list(want["input_ids"].split(want["lengths"].tolist()))
    score = lambda m: forward.next_logprobs(forward.logits_alone(m, ids), ids)  # noqa: E731
    base = score(load(folder))
    assert float((base - want["logprobs"]).abs().max()) < 2e-5, f"{folder.name}: transformers 4.57 reads another model"
    scores[row.name] = score(active(folder, row.name, where("random")))
    assert float((scores[row.name] - base).abs().max()) > 1e-2, f"{row.name} changes nothing"

    run = training.Run(row.name, row.model, "adapter", row.learning_rate, row.name)
    out = fresh(folder / f"train-{row.name}")
    data = training.rows(272)
    write_jsonl(out / "rows.jsonl", data)
    options = {"config": row.name, "reduction_factor": row.reduction_factor,
               "non_linearity": CONFIGS[row.name]().non_linearity}
    (out / "run.yaml").write_text(yaml.safe_dump(training.run_yaml(run, {"adapter": options}), sort_keys=False))
    start = lambda: active(folder, row.name, where("init"))  # noqa: E731
    model = start()
    log = training.loop(model, data, run)
    noise = {"difference_when_jittered": gap(log, training.loop(jittered(start(), 0), data, run))}
    if model.config._attn_implementation != "eager":
        noise["difference_to_float64"] = gap(log, training.loop(start().double(), data, run))
    judge(run, noise)
    print(f"{folder.name}/{out.name}: {noise}; loss {log[0]['loss']:.4f} to {log[-1]['loss']:.4f}", flush=True)
    write_json(out / "losses.json", {"run": dict(run.__dict__), "steps": log} | noise)
    save(model, row.name, out / "final")

    model = active(folder, row.name, where("random"))
    loss, norm = training.gradient_batch(model, data)
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    saved = load_file(where("random") / "adapter.safetensors")
    assert grads.keys() == saved.keys(), sorted(grads.keys() ^ saved.keys())
    write_tensors(out / "grads.safetensors", grads | {"loss": loss, "grad_norm": norm})


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, required=True, help="the folder that refdump.py wrote, testdata/ref")
    args = p.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    for model in dict.fromkeys(r.model for r in ROWS):
        scores: dict[str, torch.Tensor] = {}
        for row in ROWS:
            if row.model == model:
                dump(row, args.out / model, scores)
        write_tensors(args.out / model / "dump" / "scores-bottleneck.safetensors", scores)
    manifest(args.out, {"versions_adapters": versions("adapters", "transformers", "torch", "safetensors")})
    if BEYOND:
        raise SystemExit("beyond tolerance:\n" + "\n".join(BEYOND))


if __name__ == "__main__":
    main()
