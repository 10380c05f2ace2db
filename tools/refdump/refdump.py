"""Writes testdata/ref: tiny models and what PyTorch, transformers, PEFT and bitsandbytes compute with them.

    python refdump.py --out ../../testdata/ref

README.md has the set-up and documents every file. One thread, fixed seeds: a second run on the same machine writes
the same bytes.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import warnings
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "",
               "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import bitsandbytes as bnb  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from peft import prepare_model_for_kbit_training  # noqa: E402
from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: E402
from transformers.utils import logging  # noqa: E402

import adapters  # noqa: E402
import forward  # noqa: E402
import nf4  # noqa: E402
import nf4_flat  # noqa: E402,F401  dequantises as CUDA does
import tiny_tokenizer  # noqa: E402
import training  # noqa: E402
from adapters import ADAPTERS  # noqa: E402
from files import fresh, write_json, write_jsonl, write_tensors  # noqa: E402
from config_v4 import config_v4
from variants import VARIANTS, Variant, build  # noqa: E402

PACKAGES = ["torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors", "numpy"]
ADAPTED = ["llama-gqa", "llama-bias-tied"]  # models with adapters
LOOP_TOLERANCE = 2e-6  # relative, our loop against the Trainer
WIDE_TOLERANCE = 5e-6  # relative, our loop in float32 against itself in float64
JITTER_TOLERANCE = 2e-5  # relative, our loop with every weight moved by a rounding


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, required=True, help="the folder to write, testdata/ref")
    p.add_argument("--only", nargs="*", help="model folders to rewrite (default: all, and nf4)")
    args = p.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for v in VARIANTS:
        if not args.only or v.name in args.only:
            dump_model(v, args.out)
    if not args.only or "nf4" in args.only:
        nf4.dump(fresh(args.out / "nf4"))
        write_json(args.out / "schedules.json", training.schedules())
    manifest(args.out)


# Models ------------------------------------------------------------------------------------------------------------

def quantization(double: bool, kind: str) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double,
                              bnb_4bit_compute_dtype=torch.float32)


def load(folder: Path, double: bool | None = None, kind: str = "nf4"):
    """The model of a folder in float32; with double not None its linears (all but lm_head) in 4 bits of that kind.

    Without support_avx512bf16_for_cpu=False bitsandbytes multiplies in bfloat16 on CPUs that have it.
    """
    kw = {} if double is None else {"quantization_config": quantization(double, kind)}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kw).eval()
    for m in model.modules():
        if isinstance(m, bnb.nn.Linear4bit):
            m.support_avx512bf16_for_cpu = False
    return model


def save_weights(v: Variant, folder: Path) -> None:
    model = build(v)
    if v.bf16:
        model = model.to(torch.bfloat16)
    if v.quant:
        with tempfile.TemporaryDirectory() as tmp:
            model.save_pretrained(tmp)
            model = load(Path(tmp), double=v.quant[1], kind=v.quant[0])
    model.save_pretrained(folder, max_shard_size=v.shard_size)
    for f in folder.glob("*.safetensors"):
        f.chmod(0o644)


def dump_model(v: Variant, root: Path) -> None:
    folder = fresh(root / v.name)
    save_weights(v, folder)
    tiny_tokenizer.save(folder)
    config = json.loads((folder / "config.json").read_text())
    if v.config_v4:
        replaced = v.config_v4 == "replace"
        write_json(folder / "config.json" if replaced else folder / "dump" / "config.v4.json", config_v4(config))
    noise = forward.dump(load(folder), folder / "dump", v.lengths)
    print(f"{v.name}: {noise}", flush=True)
    same_as_parent(v, root)
    if v.config_v4 == "beside":
        same_with_config_v4(folder)
    if v.name in ADAPTED:
        dump_adapters(folder)
        for run in training.RUNS:
            if run.model == v.name:
                dump_training(run, folder)
    if v.name == VARIANTS[0].name:
        tiny_tokenizer.dump(folder, folder / "dump" / "tokenizer.json")


def same_as_parent(v: Variant, root: Path) -> None:
    """A folder that stores another's weights in another layout must give the same bits."""
    if v.weights_of and not v.bf16 and not v.quant:
        same = [(root / n / "dump" / "forward.safetensors").read_bytes() for n in (v.name, v.weights_of)]
        assert same[0] == same[1], f"{v.name} differs from {v.weights_of}"


def same_with_config_v4(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        shutil.copy(folder / "model.safetensors", tmp)
        shutil.copy(folder / "dump" / "config.v4.json", Path(tmp) / "config.json")
        ids, _ = forward.sequences(load(folder).config.vocab_size)
        a, b = (forward.logits_alone(load(Path(f)), ids) for f in (folder, tmp))
        assert torch.equal(a, b), f"{folder.name}: the transformers 4 config gives other logits"


# Adapters ----------------------------------------------------------------------------------------------------------

def dump_adapters(folder: Path) -> None:
    """adapters/, dump/scores.safetensors (log-probabilities by base and adapter) and dump/merged-*.safetensors."""
    ids, _ = forward.sequences(load(folder).config.vocab_size)
    score = lambda m: forward.next_logprobs(forward.logits_alone(m, ids), ids)  # noqa: E731
    scores = {"base": score(load(folder)), "nf4": score(load(folder, False)), "nf4_double": score(load(folder, True))}
    for a in ADAPTERS.values():
        adapters.create(load(folder), a, folder / "adapters", folder.name)
        path = folder / "adapters" / f"{a.name}-random"
        scores[a.name] = score(adapters.load(load(folder), path))
        scores[f"nf4_double+{a.name}"] = score(adapters.load(load(folder, True), path))
        model, changed = adapters.merged(adapters.load(load(folder), path), a)
        gap = float((score(model) - scores[a.name]).abs().max())
        assert gap < 2e-5, f"merged {a.name}: {gap}"
        write_tensors(folder / "dump" / f"merged-{a.name}.safetensors", changed)
    write_tensors(folder / "dump" / "scores.safetensors", scores)


# Training ----------------------------------------------------------------------------------------------------------

def trainable(run, folder: Path, adapter: str | None):
    """The model as a run starts it: every weight trainable, or an adapter over a frozen base."""
    model = load(folder, run.double_quant if run.method == "qlora" else None)
    if run.method == "full":
        return model
    if run.method == "qlora":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return adapters.load(model, folder / "adapters" / adapter, trainable=True)


def dequantized(run, folder: Path):
    """The float64 twin of a run: NF4 linears replaced by linears holding their dequantised weights."""
    model = load(folder)
    if run.method == "qlora":
        quantised = load(folder, run.double_quant)
        plain = dict(model.named_modules())
        for name, m in quantised.named_modules():
            if isinstance(m, bnb.nn.Linear4bit):
                w = bnb.functional.dequantize_4bit(m.weight.data, m.weight.quant_state)
                plain[name].weight.data.copy_(w)
    if run.method != "full":
        model = adapters.load(model, folder / "adapters" / f"{run.adapter}-init", trainable=True)
    return model.double()


def jittered(model, seed: int):
    """Every float weight times 1 + 1e-7·normal: about a rounding, as other kernels would make it."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.is_floating_point():
                p.mul_(1 + 1e-7 * torch.randn(p.shape, generator=g))
    return model


def gap(a: list[dict], b: list[dict]) -> dict[str, float]:
    """Largest relative difference of two logs, by key."""
    return {k: max(abs(x[k] - y[k]) / max(abs(y[k]), 1e-12) for x, y in zip(a, b, strict=True))
            for k in ("loss", "grad_norm", "learning_rate")}


def dump_training(run, folder: Path) -> None:
    out = fresh(folder / f"train-{run.name}")
    start = lambda: trainable(run, folder, f"{run.adapter}-init")  # noqa: E731
    data = training.rows(load(folder).config.vocab_size)
    write_jsonl(out / "rows.jsonl", data)
    (out / "run.yaml").write_text(yaml.safe_dump(training.run_yaml(run), sort_keys=False))

    model = start()
    log = training.loop(model, data, run)
    against = gap(log, training.trainer(start(), data, run))
    wide = gap(log, training.loop(dequantized(run, folder), data, run))
    moved = [gap(log, training.loop(jittered(dequantized(run, folder).float(), s), data, run)) for s in range(3)]
    jitter = {k: max(m[k] for m in moved) for k in wide}
    print(f"{folder.name}/{out.name}: Trainer {against}, float64 {wide}, jitter {jitter}; loss {log[0]['loss']:.4f} to "
          f"{log[-1]['loss']:.4f}, norms {min(x['grad_norm'] for x in log):.2f}..{max(x['grad_norm'] for x in log):.2f}",
          flush=True)
    assert max(against.values()) < LOOP_TOLERANCE, against
    assert max(wide.values()) < WIDE_TOLERANCE, wide
    assert max(jitter.values()) < JITTER_TOLERANCE, jitter
    write_json(out / "losses.json", {"run": {k: x for k, x in run.__dict__.items()}, "steps": log,
                                     "difference_to_trainer": against, "difference_to_float64": wide,
                                     "difference_when_jittered": jitter})
    if run.method == "full":
        write_tensors(out / "final.safetensors", weights(model))
        write_grads(out, trainable(run, folder, None), data, weights_grads)
    else:
        adapters.save(model, out / "final", folder.name)
        write_grads(out, trainable(run, folder, f"{run.adapter}-random"), data, adapters.gradients)


def weights(model) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.named_parameters()}


def weights_grads(model) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters()}


def write_grads(out: Path, model, data, of) -> None:
    loss, norm = training.gradient_batch(model, data)
    write_tensors(out / "grads.safetensors", of(model) | {"loss": loss, "grad_norm": norm})


# Manifest ----------------------------------------------------------------------------------------------------------

def manifest(root: Path) -> None:
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name != "MANIFEST.json")
    write_json(root / "MANIFEST.json", {
        "command": "python refdump.py --out ../../testdata/ref",
        "python": platform.python_version(), "versions": {p: importlib.metadata.version(p) for p in PACKAGES},
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(), "threads": 1,
        "sha256": {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}})
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
