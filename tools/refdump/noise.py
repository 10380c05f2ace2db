"""How far a run's losses and norms move where nothing of substance changes, and the bounds that are asserted."""

import torch

LOOP_TOLERANCE = 2e-6  # relative, our loop against the Trainer
WIDE_TOLERANCE = 2e-5  # relative, our loop in float32 against itself in float64
JITTER_TOLERANCE = 2e-5  # relative, our loop with every weight moved by a rounding
EIGHT_BIT = 10  # times as much where a rounding may flip the code of an 8-bit moment
BEYOND: list[str] = []  # what was measured beyond its tolerance: refdump ends with these


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


def judge(run, noise: dict) -> None:
    """Notes in BEYOND what is beyond its tolerance."""
    for key, tolerance in [("difference_to_trainer", LOOP_TOLERANCE), ("difference_to_float64", WIDE_TOLERANCE),
                           ("difference_when_jittered", JITTER_TOLERANCE)]:
        worst = max(noise.get(key, {"": 0}).values())
        if not worst <= tolerance * (EIGHT_BIT if run.optim == "adamw_8bit" and "jitter" in key else 1):
            BEYOND.append(f"{run.model}/train-{run.name}: {key} {worst}")
