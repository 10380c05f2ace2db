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
    half: str = ""  # stored in bfloat16 or float16, computed in float32
    shard_size: str = "50MB"
    config_v4: str | None = None  # None, "replace" config.json, or "beside" it as dump/config.v4.json
    quant: tuple[str, bool] | None = None  # stored as a bitsandbytes checkpoint: (nf4 or fp4, double quantisation)
    lengths: tuple[int, ...] = (7, 33, 48)  # of the three sequences of forward.safetensors
    norm_mean: float = 1.0  # of norm weights; Gemma stores them less one
    final_norm: float = 0.0  # added to the last norm's: tied heads have small weights


BASE = dict(
    vocab_size=VOCAB, hidden_size=64, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1,
    eos_token_id=2,
)
SMALL = BASE | dict(hidden_size=32, intermediate_size=56)


def rope(**kw):
    return dict(rope_parameters=dict(rope_theta=10000.0) | kw)


def neox_rope(theta: float, share: float) -> dict:
    return dict(rope_theta=theta, rope_type="default", partial_rotary_factor=share)


def without(d: dict, *keys: str) -> dict:
    return {k: x for k, x in d.items() if k not in keys}


LLAMA3_ROPE = rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32)

GEMMA = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=16)
GEMMA_SCALES = dict(std=0.3, embed_std=0.12, norm_mean=0.0, final_norm=2.0, config_v4="beside")
NEOX = without(BASE, "num_key_value_heads", "rms_norm_eps") | dict(
    hidden_size=48, num_attention_heads=3, intermediate_size=96, layer_norm_eps=1e-5)
FALCON = without(SMALL, "num_key_value_heads", "rms_norm_eps", "intermediate_size") | dict(layer_norm_epsilon=1e-5)

VARIANTS = [
    Variant("llama-gqa", "llama", BASE | rope(rope_type="default"), seed=1),
    Variant("llama-gqa-v4", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa",
            config_v4="replace"),
    Variant("llama-gqa-sharded", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa",
            shard_size="150KB"),
    Variant("llama-gqa-bf16", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa", half="bfloat16"),
    Variant("llama-gqa-fp16", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa", half="float16"),
    Variant("llama-gqa-nf4", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa",
            quant=("nf4", True)),
    Variant("llama3-rope", "llama", SMALL | dict(head_dim=16) | LLAMA3_ROPE, seed=2, std=0.25, embed_std=0.7,
            head_std=0.4, config_v4="beside"),
    Variant("llama-linear-rope", "llama", SMALL | rope(rope_type="linear", factor=4.0), seed=3, std=0.25,
            head_std=0.4, config_v4="beside"),
    Variant("llama-bias-tied", "llama", BASE | dict(hidden_size=48, intermediate_size=72, attention_bias=True,
            mlp_bias=True, tie_word_embeddings=True) | rope(rope_type="default"), seed=4, std=0.18, embed_std=0.4),
    *(Variant(f"llama-gqa-{name}", "llama", BASE | rope(rope_type="default"), seed=1, weights_of="llama-gqa", quant=quant)
      for name, quant in [("nf4-single", ("nf4", False)), ("fp4", ("fp4", False))]),
    # Scaling bites in the third sequence, 120 ids over 80; the greedy ids and the training rows stay within 80.
    Variant("llama-dynamic-rope", "llama", SMALL | dict(max_position_embeddings=80) | rope(rope_type="dynamic", factor=4.0),
            seed=5, std=0.25, head_std=0.4, config_v4="beside", lengths=(7, 33, 120)),
    Variant("llama-yarn-rope", "llama", SMALL | dict(head_dim=16) | rope(
            rope_type="yarn", factor=4.0, original_max_position_embeddings=32), seed=6, std=0.25, head_std=0.4,
            config_v4="beside", lengths=(7, 33, 120)),
    Variant("mistral-window", "mistral", SMALL | dict(head_dim=12, sliding_window=6) | rope(rope_theta=1e6, rope_type="default"),
            seed=7, std=0.25, head_std=0.4, config_v4="beside"),
    Variant("gemma", "gemma", SMALL | GEMMA | dict(num_key_value_heads=1) | rope(rope_type="default"), seed=8, **GEMMA_SCALES),
    Variant("gemma2", "gemma2", SMALL | GEMMA | dict(
            num_hidden_layers=4, query_pre_attn_scalar=24, sliding_window=6, attn_logit_softcapping=3.0,
            final_logit_softcapping=5.0) | rope(rope_type="default"), seed=9, **GEMMA_SCALES),
    Variant("gemma3", "gemma3_text", SMALL | GEMMA | dict(
            num_hidden_layers=4, query_pre_attn_scalar=24, sliding_window=6, sliding_window_pattern=3,
            rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                                 sliding_attention=dict(rope_type="default", rope_theta=1e4))), seed=10, **GEMMA_SCALES),
    Variant("gpt-neox", "gpt_neox", NEOX | dict(
            use_parallel_residual=True, hidden_act="gelu", rope_parameters=neox_rope(10000.0, 0.25)),
            seed=11, std=0.2, config_v4="beside"),
    Variant("gpt-neox-seq", "gpt_neox", NEOX | dict(
            use_parallel_residual=False, hidden_act="gelu_fast", rope_parameters=neox_rope(500.0, 0.5)), seed=12, std=0.2,
            config_v4="beside"),
    Variant("falcon-7b", "falcon", FALCON | dict(multi_query=True, parallel_attn=True, bias=False) |
            rope(rope_type="default"), seed=13, std=0.25, embed_std=0.3, config_v4="beside"),
    Variant("falcon-40b", "falcon", FALCON | dict(
            new_decoder_architecture=True, num_kv_heads=2, parallel_attn=True, bias=False) | rope(rope_type="default"),
            seed=14, std=0.25, embed_std=0.3, config_v4="beside"),
    # Twelve heads: no power of two, and slopes that bfloat16 rounds (a power of 2^-1/2), as Falcon-RW's 32 heads have them.
    Variant("falcon-rw", "falcon", FALCON | dict(
            hidden_size=48, num_attention_heads=12, alibi=True, multi_query=False, parallel_attn=False, bias=True), seed=15,
            std=0.2, embed_std=0.25, config_v4="beside"),
    Variant("qwen2", "qwen2", SMALL | dict(tie_word_embeddings=True) | rope(rope_theta=1e6, rope_type="default"), seed=16,
            std=0.25, embed_std=0.4, config_v4="beside"),
    Variant("qwen3", "qwen3", SMALL | dict(head_dim=16, use_sliding_window=True, sliding_window=6, max_window_layers=1) |
            rope(rope_theta=1e6, rope_type="default"), seed=17, std=0.25, head_std=0.4, config_v4="beside"),
    Variant("phi3", "phi3", SMALL | dict(
            sliding_window=6, original_max_position_embeddings=128,
            rope_parameters=dict(rope_theta=10000.0, rope_type="default", partial_rotary_factor=0.75)),
            seed=18, std=0.25, head_std=0.4, config_v4="beside"),
    # As Phi-3's 128k models: other divisors of the angles beyond the original context, and an attention factor throughout.
    Variant("phi3-longrope", "phi3", SMALL | dict(
            max_position_embeddings=320, original_max_position_embeddings=80,
            rope_parameters=dict(rope_theta=10000.0, rope_type="longrope", partial_rotary_factor=0.75,
                                 original_max_position_embeddings=80, short_factor=[1.0, 1.1, 1.3], long_factor=[1.5, 2.5, 4.0])),
            seed=20, std=0.25, head_std=0.4, config_v4="beside", lengths=(7, 33, 120)),
    Variant("starcoder2", "starcoder2", without(SMALL, "rms_norm_eps") | dict(
            norm_epsilon=1e-5, sliding_window=6, use_bias=True, hidden_act="gelu_pytorch_tanh") |
            rope(rope_theta=1e5, rope_type="default"), seed=19, std=0.25, embed_std=0.4, config_v4="beside"),
]


def is_norm(name: str) -> bool:
    return "norm" in name or ".ln_" in name  # Falcon: ln_attn, ln_mlp, ln_f


def is_last(name: str) -> bool:
    return name.split(".")[-2] in ("norm", "final_layer_norm", "ln_f")


def build(v: Variant):
    """A float32 model of this row with its random weights, on the CPU, in eval mode."""
    config = AutoConfig.for_model(v.model_type, **v.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    g = torch.Generator().manual_seed(v.seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=g)
            if is_norm(name) and name.endswith("weight"):
                p.copy_(v.norm_mean + v.final_norm * is_last(name) + 0.1 * noise)
            elif name.endswith("bias"):
                p.copy_(0.1 * noise)
            else:
                std = v.head_std if "lm_head" in name else v.embed_std if "embed" in name else v.std
                p.copy_(std * noise)
    return model.eval()
