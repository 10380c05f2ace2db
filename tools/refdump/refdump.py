"""Writes testdata/ref: tiny models and what PyTorch, transformers, PEFT and bitsandbytes compute with them.

    python refdump.py --out ../../testdata/ref

README.md has the set-up and documents every file. One thread, fixed seeds: a second run on the same machine writes
the same bytes.
"""

import argparse
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "",
               "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}

import torch  # noqa: E402
import yaml  # noqa: E402
from peft import prepare_model_for_kbit_training  # noqa: E402
from transformers.utils import logging  # noqa: E402

import adamw8  # noqa: E402
import forward  # noqa: E402
import fp4  # noqa: E402
import nf4  # noqa: E402
import peft_adapters  # noqa: E402
import tiny_tokenizer  # noqa: E402
import training  # noqa: E402
from config_v4 import config_v4  # noqa: E402
from files import fresh, manifest, versions, write_json, write_jsonl, write_tensors  # noqa: E402
from models import dequantized, load  # noqa: E402
from noise import BEYOND, gap, jittered, judge  # noqa: E402
from variants import VARIANTS, Variant, build  # noqa: E402

PACKAGES = ["torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors", "numpy"]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, required=True, help="the folder to write, testdata/ref")
    p.add_argument("--only", nargs="*", help="model folders to rewrite (default: all, and nf4, fp4, adamw8)")
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
    if not args.only or "fp4" in args.only:
        fp4.dump(fresh(args.out / "fp4"))
    if not args.only or "adamw8" in args.only:
        adamw8.dump(fresh(args.out / "adamw8"))
    manifest(args.out, {"versions": versions(*PACKAGES)})
    if BEYOND:
        raise SystemExit("beyond tolerance:\n" + "\n".join(BEYOND))


# Models ------------------------------------------------------------------------------------------------------------

def save_weights(v: Variant, folder: Path) -> None:
    model = build(v)
    if v.half:
        model = model.to(getattr(torch, v.half))
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
    if rows := peft_adapters.of_model(v.name, training.TRAINED):
        dump_adapters(folder, rows, v)
    for run in training.RUNS:
        if run.model == v.name:
            dump_training(run, folder, next((a for a in rows if a.name == run.adapter), None))
    if v.name == VARIANTS[0].name:
        tiny_tokenizer.dump(folder, folder / "dump" / "tokenizer.json")


def same_as_parent(v: Variant, root: Path) -> None:
    """A folder that stores another's weights in another layout must give the same bits."""
    if v.weights_of and not v.half and not v.quant:
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

def dump_adapters(folder: Path, rows, v: Variant) -> None:
    """adapters/, dump/scores.safetensors (log-probabilities by base and adapter) and dump/merged-*.safetensors."""
    ids, _ = forward.sequences(load(folder).config.vocab_size, v.lengths)
    score = lambda m: forward.next_logprobs(forward.logits_alone(m, ids), ids)  # noqa: E731
    scores = {"base": score(load(folder)), "nf4": score(load(folder, False)), "nf4_double": score(load(folder, True))}
    if v.name == "llama-gqa":
        scores |= {"fp4": score(load(folder, False, "fp4")), "fp4_double": score(load(folder, True, "fp4"))}
    for a in rows:
        peft_adapters.create(load(folder), a, folder / "adapters", folder.name)
        if not a.random:
            continue
        path = folder / "adapters" / f"{a.name}-random"
        scores[a.name] = score(peft_adapters.load(load(folder), path))
        scores[f"nf4_double+{a.name}"] = score(peft_adapters.load(load(folder, True), path))
        assert float((scores[a.name] - scores["base"]).abs().max()) > 1e-2, f"{a.name} changes nothing"
        if a.merge:
            model, changed = peft_adapters.merged(peft_adapters.load(load(folder), path), load(folder))
            gap = float((score(model) - scores[a.name]).abs().max())
            assert gap < 2e-5, f"merged {a.name}: {gap}"
            if v.name in training.TRAINED or a.name == "dora":  # one layer says it: the folder stays small
                last = f".{model.config.num_hidden_layers - 1}."
                changed = {n: p for n, p in changed.items() if last in n}
            write_tensors(folder / "dump" / f"merged-{a.name}.safetensors", changed)
    write_tensors(folder / "dump" / "scores.safetensors", scores)


# Training ----------------------------------------------------------------------------------------------------------

def trainable(run, folder: Path, adapter: str | None, bf16=False):
    """The model as a run starts it: every weight trainable, or an adapter over a frozen base; 4-bit weights multiply in
    bfloat16 where bf16 says so."""
    model = load(folder, run.double_quant if run.method == "qlora" else None, run.quant_type, bf16)
    if run.method == "full":
        return model
    if run.method == "qlora":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return peft_adapters.load(model, folder / "adapters" / adapter, trainable=True)


def wide(run, folder: Path):
    """The float64 twin of a run: 4-bit linears replaced by linears holding their dequantised weights."""
    model = dequantized(folder, run.double_quant, run.quant_type) if run.method == "qlora" else load(folder)
    if run.method != "full":
        model = peft_adapters.load(model, folder / "adapters" / f"{run.adapter}-init", trainable=True)
    return model.double()


def dump_training(run, folder: Path, adapter) -> None:
    out = fresh(folder / f"train-{run.name}")
    start = lambda: trainable(run, folder, f"{run.adapter}-init")  # noqa: E731
    data = training.rows(load(folder).config.vocab_size)
    write_jsonl(out / "rows.jsonl", data)
    (out / "run.yaml").write_text(yaml.safe_dump(training.run_yaml(run, method_key(adapter, folder)), sort_keys=False))

    model = start()
    log = training.loop(model, data, run)
    noise = measure(run, folder, log, data)
    print(f"{folder.name}/{out.name}: {noise}; loss {log[0]['loss']:.4f} to {log[-1]['loss']:.4f}, norms "
          f"{min(x['grad_norm'] for x in log):.2f}..{max(x['grad_norm'] for x in log):.2f}", flush=True)
    write_json(out / "losses.json", {"run": dict(run.__dict__), "steps": log} | noise)
    if run.optim == "adamw":  # a rounding flips codes of 8-bit moments
        dump_bf16(run, folder, log, data, out / "losses-bf16.json")
    full = run.method == "full"
    if run.final and full:
        write_tensors(out / "final" / "model.safetensors", weights(model))
    elif run.final:
        peft_adapters.save(model, out / "final", folder.name)
    if run.gradients:
        model = trainable(run, folder, None if full else f"{run.adapter}-random")
        write_grads(out, model, data, weights_grads if full else peft_adapters.gradients)


def dump_bf16(run, folder: Path, exact, data, path: Path) -> None:
    """The same run with `bf16: true` and, in 4 bits, `bnb_4bit_compute_dtype: bfloat16`."""
    start = lambda: trainable(run, folder, f"{run.adapter}-init", bf16=True)  # noqa: E731
    log = training.loop(start(), data, run, bf16=True)
    noise = {"difference_to_trainer": gap(log, training.trainer(start(), data, run, bf16=True))}
    judge(run, noise)
    noise["difference_to_float32"] = gap(log, exact)
    print(f"{folder.name}/{path.parent.name} in bfloat16: {noise}", flush=True)
    write_json(path, {"steps": log} | noise)


def method_key(adapter, folder: Path) -> dict:
    """The key of run.yaml that names the method's options."""
    if adapter is None:
        return {}
    if adapter.prefix:
        return {"prefix": dict(adapter.config)}
    saved = json.loads((folder / "adapters" / f"{adapter.name}-init" / "adapter_config.json").read_text())
    targets = adapter.config["target_modules"] or saved["target_modules"]
    return {"lora": {"lora_dropout": 0.0, "bias": "none"} | adapter.config | {"target_modules": targets}}


def measure(run, folder: Path, log, data) -> dict:
    """Largest relative differences of the run's log to the Trainer's, to float64's, and to runs whose weights moved by a
    rounding: asserted here, and what a comparison's tolerance must exceed."""
    start = lambda: trainable(run, folder, f"{run.adapter}-init")  # noqa: E731
    noise = {"difference_to_trainer": gap(log, training.trainer(start(), data, run))}
    if run.optim == "adamw" and (model := wide(run, folder)).config._attn_implementation != "eager":
        noise["difference_to_float64"] = gap(log, training.loop(model, data, run))  # eager: softmax is in float32 anyway
    moved = [gap(log, training.loop(jittered(wide(run, folder).float(), s), data, run))
             for s in range(3 if run.model.startswith("llama") else 1)]
    noise["difference_when_jittered"] = {k: max(m[k] for m in moved) for k in moved[0]}
    judge(run, noise)
    return noise


def weights(model) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.named_parameters()}


def weights_grads(model) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters()}


def write_grads(out: Path, model, data, of) -> None:
    loss, norm = training.gradient_batch(model, data)
    write_tensors(out / "grads.safetensors", of(model) | {"loss": loss, "grad_norm": norm})


if __name__ == "__main__":
    main()
