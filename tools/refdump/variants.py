"""The table of tiny models: one row a folder of testdata/ref.

A new family is a row with its `model_type` and the fields of its config; nothing else in refdump names a family.
Weights come from one generator seeded by the row, in sorted order of parameter names, so a row's bytes never depend
on the other rows. The scales keep logits spread (standard deviation about 2) and attention far from uniform, so that
a wrong mask, angle or norm shows in the fourth digit, not in the seventh.
"""

from dataclasses import dataclass, field

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB = 272  # what tiny_tokenizer builds


@dataclass(frozen=True)
class Variant:
    name: str
    model_type: str
    config: dict
    seed: int
    std: float = 0.15  # projections
    embed_std: float = 0.5
    head_std: float = 0.3
    weights_of: str | None = None  # same weights as this row
    bf16: bool = False  # stored in bfloat16, computed in float32
    shard_size: str = "50MB"
    config_v4: str | None = None  # None, "replace" config.json, or "beside" it as dump/config.v4.json
    nf4: bool = False  # stored as transformers stores a bitsandbytes checkpoint


BASE = dict(
    vocab_size=VOCAB, hidden_size=64, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1,
    eos_token_id=2,
)
SMALL = BASE | dict(hidden_size=32, intermediate_size=56)


def rope(**kw):
    return dict(rope_parameters=dict(rope_theta=10000.0) | kw)


LLAMA3_ROPE = rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32)

VARIANTS = [
    Variant("llama-gqa", "llama", BASE | rope(rope_type="default"), seed=1),
    Variant("llama-gqa-v4", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa",
            config_v4="replace"),
    Variant("llama-gqa-sharded", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa",
            shard_size="150KB"),
    Variant("llama-gqa-bf16", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa", bf16=True),
    Variant("llama-gqa-nf4", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa", nf4=True),
    Variant("llama3-rope", "llama", SMALL | dict(head_dim=16) | LLAMA3_ROPE, seed=2, std=0.25, embed_std=0.7,
            head_std=0.4, config_v4="beside"),
    Variant("llama-linear-rope", "llama", SMALL | rope(rope_type="linear", factor=4.0), seed=3, std=0.25,
            head_std=0.4, config_v4="beside"),
    Variant("llama-bias-tied", "llama", BASE | dict(hidden_size=48, intermediate_size=72, attention_bias=True,
            mlp_bias=True, tie_word_embeddings=True) | rope(rope_type="default"), seed=4, std=0.18, embed_std=0.4),
]


def build(v: Variant):
    """A float32 model of this row with its random weights, on the CPU, in eval mode."""
    config = AutoConfig.for_model(v.model_type, **v.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    g = torch.Generator().manual_seed(v.seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=g)
            if "norm" in name and name.endswith("weight"):
                p.copy_(1 + 0.1 * noise)
            elif name.endswith("bias"):
                p.copy_(0.1 * noise)
            else:
                std = v.embed_std if "embed" in name else v.head_std if "lm_head" in name else v.std
                p.copy_(std * noise)
    return model.eval()


def config_v4(config: dict) -> dict:
    """config.json as transformers 4 wrote it: torch_dtype, rope_theta and rope_scaling at the top, no head_dim."""
    old = {k: x for k, x in config.items() if k not in ("dtype", "rope_parameters", "head_dim")}
    params = dict(config["rope_parameters"])
    old["rope_theta"] = params.pop("rope_theta")
    kind = params.pop("rope_type")
    # Early files say `type`, later ones `rope_type`: linear gets the first spelling, llama3 the second.
    old["rope_scaling"] = None if kind == "default" else {"type" if kind == "linear" else "rope_type": kind} | params
    if config["head_dim"] * config["num_attention_heads"] != config["hidden_size"]:
        old["head_dim"] = config["head_dim"]
    return old | {"torch_dtype": config["dtype"], "transformers_version": "4.40.0"}
