"""Reads the tiny models: plain, or with their linears in 4 bits."""

from pathlib import Path

import bitsandbytes as bnb
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import nf4_flat  # noqa: F401  dequantises as CUDA does


def quantization(double: bool, kind: str) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double,
                              bnb_4bit_compute_dtype=torch.float32)


def load(folder: Path, double: bool | None = None, kind: str = "nf4", bf16=False):
    """The model of a folder in float32; with double not None its linears (all but lm_head) in 4 bits of that kind, which
    multiply in bfloat16 where bf16 says so.

    Without support_avx512bf16_for_cpu=False bitsandbytes multiplies in bfloat16 on CPUs that have it.
    """
    kw = {} if double is None else {"quantization_config": quantization(double, kind)}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kw).eval()
    if double is not None:
        quantise_falcon(model, double, kind)
    for m in model.modules():
        if isinstance(m, bnb.nn.Linear4bit):
            m.support_avx512bf16_for_cpu = False
            if bf16:
                m.compute_dtype = torch.bfloat16
    return model


def quantise_falcon(model, double: bool, kind: str) -> None:
    """Puts a Linear4bit in the place of every FalconLinear, as transformers 4.57 does; 5.23 quantises none of them."""
    for parent in list(model.modules()):
        for name, m in list(parent.named_children()):
            if type(m).__name__ != "FalconLinear":
                continue
            q = bnb.nn.Linear4bit(m.in_features, m.out_features, bias=m.bias is not None, compute_dtype=torch.float32,
                                  compress_statistics=double, quant_type=kind)
            q.weight = bnb.nn.Params4bit(m.weight.data, requires_grad=False, compress_statistics=double, quant_type=kind,
                                         module=q)
            if m.bias is not None:
                q.bias = m.bias
            setattr(parent, name, q.to("cpu"))
            model.is_loaded_in_4bit = True


def dequantized(folder: Path, double: bool, kind: str):
    """The model of a folder with every 4-bit linear's weight replaced by what it dequantises to."""
    model = load(folder)
    plain = dict(model.named_modules())
    for name, m in load(folder, double, kind).named_modules():
        if isinstance(m, bnb.nn.Linear4bit):
            plain[name].weight.data.copy_(bnb.functional.dequantize_4bit(m.weight.data, m.weight.quant_state))
    return model
