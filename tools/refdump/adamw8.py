"""Twenty steps of bitsandbytes' AdamW8bit over one tensor of 6000 elements: 23 blocks of 256 and one of 112.

Parameters and gradients are made of integers, which a test in any language makes again: mix(i, t) below.
"""

from pathlib import Path

import torch
from bitsandbytes.optim import AdamW8bit, GlobalOptimManager

from files import write_json, write_tensors

N, STEPS, KEPT = 6000, 20, (1, 2, 20)
LR, BETAS, EPS, DECAY = 1e-3, (0.9, 0.999), 1e-8, 0.1


def mix(t: int) -> torch.Tensor:
    """N numbers in [-½, ½) times 2^-(i mod 13), all exact in float32, from 32-bit integers; t is 0 for the parameters."""
    mask = 0xFFFFFFFF
    h = (torch.arange(N) * 2654435761 + t * 2246822519) & mask
    h ^= h >> 15
    h = ((h & 0xFFFF) * 2654435761 + (((h >> 16) * 2654435761 & 0xFFFF) << 16)) & mask  # h·2654435761 without overflow
    h ^= h >> 13
    return ((h >> 8).double() / 2**24 - 0.5).mul(2.0 ** -(torch.arange(N) % 13)).float()


def gradient(t: int) -> torch.Tensor:
    g = mix(t)
    g[512:768] = 0  # a block without a gradient
    return g


def dump(out: Path) -> None:
    GlobalOptimManager.get_instance().initialize()  # it knows parameters by id, which one of a training run may have had
    p = torch.nn.Parameter(mix(0))
    opt = AdamW8bit([p], lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    tensors = {}
    for t in range(1, STEPS + 1):
        opt.param_groups[0]["lr"] = LR * (1 + t % 3)
        p.grad = gradient(t)
        opt.step()
        if t in KEPT:
            s = opt.state[p]
            tensors |= {f"{t}.{k}": s[k].clone() for k in ("state1", "state2", "absmax1", "absmax2")} | {f"{t}.param": p.detach().clone()}
    tensors |= {"dynamic": s["qmap1"], "udynamic": s["qmap2"], "gradient": gradient(1)[:64].clone()}
    write_tensors(out / "adamw8.safetensors", tensors)
    write_json(out / "adamw8.json", {"n": N, "steps": STEPS, "kept": list(KEPT), "lr": "0.001·(1 + t mod 3)", "betas": list(BETAS),
                                     "eps": EPS, "weight_decay": DECAY})
