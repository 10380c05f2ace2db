"""Would the tolerances catch a family's mistake? Makes each mistake in transformers and prints how far it moves a forward pass.

    python family_mistakes.py --ref ../../testdata/ref

For each: the largest difference of a log-probability in forward.safetensors (tolerance 2e-4), and whether the greedy ids
differ. Exits 1 where a mistake would pass both.
"""

import argparse
import importlib
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Callable
from unittest import mock

import torch
from safetensors.torch import load_file
from torch import nn
from transformers.activations import ACT2FN
from transformers.utils import logging

import forward
from models import load

TOLERANCE = 2e-4


@dataclass(frozen=True)
class Mistake:
    name: str
    families: tuple[str, ...]
    change: Callable = lambda model: None  # of the loaded model
    patch: Callable = lambda model: nullcontext()  # around its forward pass


def modeling(model):
    return importlib.import_module(type(model).__module__)


def interleaved(model):
    """Angles on neighbouring pairs, as GPT-J turns them, in place of the two halves."""
    def pairs(cos):
        return cos[..., :cos.shape[-1] // 2].repeat_interleave(2, -1)

    def turn(x, cos, sin):
        n = cos.shape[-1]
        head, rest = x[..., :n], x[..., n:]
        other = torch.stack([-head[..., 1::2], head[..., ::2]], -1).flatten(-2)
        return torch.cat([head * cos + other * sin, rest], -1)

    def apply(q, k, cos, sin, unsqueeze_dim=1, **_):
        cos, sin = pairs(cos).unsqueeze(unsqueeze_dim), pairs(sin).unsqueeze(unsqueeze_dim)
        return turn(q, cos, sin), turn(k, cos, sin)
    return mock.patch.object(modeling(model), "apply_rotary_pos_emb", apply)


def rows(part: str, order: Callable):
    """Reorders the rows of every weight and bias whose module is called part."""
    def change(model):
        for name, p in model.named_parameters():
            if name.split(".")[-2] == part:
                p.copy_(order(p, model.config))
    return change


def heads(p, c):  # per head [q, k, v], read as [all q | all k | all v]
    d = c.hidden_size // c.num_attention_heads
    return p.view(c.num_attention_heads, 3, d, -1).transpose(0, 1).reshape(p.shape)


def groups(p, c):  # per group [q…, k, v], read as [all q | all k | all v]
    d, n = c.hidden_size // c.num_attention_heads, c.num_kv_heads
    x = p.view(n, c.num_attention_heads // n + 2, d, -1)
    return torch.cat([x[:, :-2].flatten(0, 1), x[:, -2], x[:, -1]]).reshape(p.shape)


def swap_last(n: int):
    """The last two blocks of n rows change places."""
    return lambda p, c: torch.cat([p[:-2 * n], p[-n:], p[-2 * n:-n]])


def halves(p, c):
    return torch.cat(p.chunk(2)[::-1])


def norms(offset: float):
    def change(model):
        for name, p in model.named_parameters():
            if "norm" in name:
                p.add_(offset)
    return change


def settings(**values):
    """Sets attributes on the config and on every module that has them."""
    def change(model):
        for owner in [model.config, *model.modules()]:
            for key, value in values.items():
                if getattr(owner, key, None) is not None:
                    setattr(owner, key, value)
    return change


def buffers(name: str, value: Callable):
    def change(model):
        for key, b in model.named_buffers():
            if key.split(".")[-1] == name:
                b.copy_(value(b))
    return change


def activation(name: str):
    def change(model):
        for m in model.modules():
            for key in ("act", "act_fn"):
                if isinstance(getattr(m, key, None), nn.Module):
                    setattr(m, key, ACT2FN[name])
    return change


def identity(part: str):
    def change(model):
        for name, m in model.named_modules():
            if name.split(".")[-1] == part:
                m.forward = lambda x: x
    return change


def float_alibi(model):
    right = modeling(model).build_alibi_tensor

    def build(mask, heads, dtype):
        with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.float):
            return right(mask, heads, dtype)
    return mock.patch.object(modeling(model), "build_alibi_tensor", build)


def same_norm(model):
    for layer in model.transformer.h:
        layer.ln_mlp.load_state_dict(layer.ln_attn.state_dict())


def swap_types(model):
    for layer in model.model.layers:
        for m in (layer, layer.self_attn):
            if hasattr(m, "attention_type"):
                m.attention_type = "full_attention" if m.attention_type == "sliding_attention" else "sliding_attention"
    kinds = {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}
    model.config.layer_types = [kinds[x] for x in model.config.layer_types]


def epsilon(model):
    for m in model.modules():
        for key in ("eps", "variance_epsilon"):
            if hasattr(m, key):
                setattr(m, key, 1e-4)


def local_base(model):
    r = model.model.rotary_emb
    r.full_attention_inv_freq.copy_(r.sliding_attention_inv_freq)


def unscaled(model):
    r = model.model.rotary_emb
    return mock.patch.object(r, "rope_type", "default")


ROTARY = ("llama-gqa", "mistral-window", "gemma", "gemma2", "gemma3", "gpt-neox", "gpt-neox-seq", "falcon-7b", "falcon-40b", "qwen2",
          "qwen3", "phi3", "starcoder2")
WINDOWED = ("mistral-window", "gemma2", "gemma3", "phi3", "starcoder2", "qwen3")
GEMMAS = ("gemma", "gemma2", "gemma3")
MISTAKES = [
    Mistake("interleaved rotary", ROTARY, patch=interleaved),
    Mistake("window one longer", WINDOWED, settings(sliding_window=7)),
    Mistake("window one shorter", WINDOWED, settings(sliding_window=5)),
    Mistake("no window", WINDOWED, settings(sliding_window=4096)),
    Mistake("layer types the other way round", ("gemma2", "gemma3", "qwen3"), swap_types),
    Mistake("norm without the offset of 1", GEMMAS, norms(-1.0)),
    Mistake("embeddings not scaled", GEMMAS, buffers("embed_scale", torch.ones_like)),
    Mistake("embedding scale rounded to bfloat16", GEMMAS, buffers("embed_scale", lambda b: b.bfloat16().float())),
    Mistake("GELU by erf", (*GEMMAS, "starcoder2", "gpt-neox-seq"), activation("gelu")),
    Mistake("GELU by tanh", ("gpt-neox", "falcon-7b", "falcon-40b", "falcon-rw"), activation("gelu_pytorch_tanh")),
    Mistake("scores without softcap", ("gemma2",), settings(attn_logit_softcapping=1e9)),
    Mistake("logits without softcap", ("gemma2",), settings(final_logit_softcapping=1e9)),
    Mistake("scale of head_dim", ("gemma2", "gemma3"), settings(scaling=16**-0.5)),
    Mistake("local base in global layers", ("gemma3",), local_base),
    Mistake("scaling of global layers left out", ("gemma3",), buffers("full_attention_inv_freq", lambda b: b * 8)),
    Mistake("no q norm", ("gemma3", "qwen3"), identity("q_norm")),
    Mistake("qkv as three blocks", ("gpt-neox", "gpt-neox-seq", "falcon-rw"), rows("query_key_value", heads)),
    Mistake("qkv groups as three blocks", ("falcon-40b",), rows("query_key_value", groups)),
    Mistake("k and v the other way round", ("falcon-7b",), rows("query_key_value", swap_last(8))),
    Mistake("k and v the other way round", ("phi3",), rows("qkv_proj", swap_last(16))),
    Mistake("gate and up the other way round", ("phi3",), rows("gate_up_proj", halves)),
    Mistake("parallel for sequential residual", ("gpt-neox-seq",), settings(use_parallel_residual=True)),
    Mistake("one norm for attention and MLP", ("falcon-40b",), same_norm),
    Mistake("alibi in float32", ("falcon-rw",), patch=float_alibi),
    Mistake("epsilon 1e-4", ("llama-gqa", "gemma", "gpt-neox", "falcon-7b"), epsilon),
    Mistake("base not scaled beyond the context", ("llama-dynamic-rope",), patch=unscaled),
    Mistake("attention factor left out", ("llama-yarn-rope",), settings(attention_scaling=1.0)),
]


@torch.no_grad()
def moved(folder: Path, m: Mistake) -> tuple[float, bool]:
    """(largest difference of a log-probability, greedy ids differ)."""
    want = load_file(folder / "dump" / "forward.safetensors")
    ids = list(want["input_ids"].split(want["lengths"].tolist()))
    model = load(folder)
    m.change(model)
    with m.patch(model):
        gap = float((forward.next_logprobs(forward.logits_alone(model, ids), ids) - want["logprobs"]).abs().max())
        text = torch.cat([want["prompt"], want["generated"]])
        best = model(text[None]).logits[0, len(want["prompt"]) - 1:-1].argmax(-1)
    return gap, not torch.equal(best, want["generated"])


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--ref", type=Path, required=True, help="testdata/ref")
    args = p.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    missed = 0
    for m in MISTAKES:
        for family in m.families:
            gap, differ = moved(args.ref / family, m)
            passed = gap <= TOLERANCE and not differ
            missed += passed
            print(f"{m.name:<38}{family:<20}{gap:.1e}{'  greedy ids differ' if differ else ''}{'  MISSED' if passed else ''}",
                  flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
