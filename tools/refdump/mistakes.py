"""Would the tolerances catch a mistake? Trains every run of the dumps with one mistake each and prints what moves.

    python mistakes.py --ref ../../testdata/ref
"""

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import refdump
import torch
import training
from transformers.utils import logging

ADAMW = torch.optim.AdamW
LOSS_OF, RATE = training.loss_of, training.rate


def one_group(model, weight_decay):
    return [{"params": [p for p in model.parameters() if p.requires_grad], "weight_decay": weight_decay}]


def adamw(**changed):
    return mock.patch.object(torch.optim, "AdamW", lambda *a, **k: ADAMW(*a, **(k | changed)))


def patch(name, function):
    return mock.patch.object(training, name, function)


# name: (a patch of the loop, a change of the run)
MISTAKES = {
    "no decay": (None, dict(weight_decay=0.0)),
    "coupled decay": (lambda: mock.patch.object(torch.optim, "AdamW", torch.optim.Adam), {}),
    "decay for norms and biases": (lambda: patch("groups", one_group), {}),
    "label 0 counted": (lambda: patch("trained", lambda b: int((b["labels"] != -100).sum())), {}),
    "mean of micro-batches": (lambda: patch("loss_of", lambda m, b, c: LOSS_OF(m, b, training.trained(b)) / 2), {}),
    "rate one step late": (lambda: patch("rate", lambda run, step: RATE(run, step + 1)), {}),
    "epsilon 1e-6": (lambda: adamw(eps=1e-6), {}),
    "beta2 0.99": (lambda: adamw(betas=(0.9, 0.99)), {}),
    "clip 1% off": (None, dict(max_grad_norm=1.01)),
    "no clip": (None, dict(max_grad_norm=1e9)),
    "other double quantisation": (None, dict(double_quant=True)),
}


def mistaken(run, change: dict):
    """The run with its mistake, or None where it would change nothing."""
    if "double_quant" in change:
        return replace(run, double_quant=not run.double_quant) if run.method == "qlora" else None
    if change.get("max_grad_norm") == 1.01:
        return replace(run, max_grad_norm=1.01 * run.max_grad_norm)
    return replace(run, **change)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--ref", type=Path, required=True, help="testdata/ref")
    args = p.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for run in training.RUNS:
        folder = args.ref / run.model
        data = training.rows(refdump.load(folder).config.vocab_size)
        right = training.loop(refdump.trainable(run, folder, f"{run.adapter}-init"), data, run)
        for name, (patched, change) in MISTAKES.items():
            wrong_run = mistaken(run, change)
            if wrong_run is None or (name == "decay for norms and biases" and run.method != "full"):
                continue
            with patched() if patched else contextlib.nullcontext():
                wrong = training.loop(refdump.trainable(wrong_run, folder, f"{run.adapter}-init"), data, wrong_run)
            gap = refdump.gap(wrong, right)
            print(f"{f'{run.model}/train-{run.name}':<30} {name:<26} loss {gap['loss']:.1e}  norm {gap['grad_norm']:.1e}", flush=True)


if __name__ == "__main__":
    main()
