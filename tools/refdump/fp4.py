"""FP4 bytes of bitsandbytes for chosen tensors, with and without double quantisation; the same keys as nf4.py's."""

from pathlib import Path

import bitsandbytes.functional as F
import torch
from bitsandbytes.backends.default.ops import _get_4bit_quantize_bounds

from files import write_json, write_tensors
from nf4 import second_level, unpack


def ties(thresholds: torch.Tensor) -> torch.Tensor:
    """Each threshold and its neighbours below and above, in blocks of absmax 1, 2, 0.5 and 1 (negated)."""
    t = thresholds
    row = torch.cat([t, torch.nextafter(t, t - 1), torch.nextafter(t, t + 1), torch.zeros(18), torch.ones(1)])
    return torch.cat([row, 2 * row, 0.5 * row, -row])  # [4·64]


def cases(thresholds: torch.Tensor) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(12)
    n = lambda *s: torch.randn(s, generator=g)  # noqa: E731
    zero = 0.1 * n(8, 64)
    zero[3] = 0
    scales = 10.0 ** torch.linspace(-3, 1, 300)[:, None]  # 300 blocks: two groups of 256 in the second level
    partial_zero = 0.1 * n(10, 10)
    partial_zero.view(-1)[64:] = 0
    return {
        "normal": 0.02 * n(16, 128), "narrow_rows": 0.15 * n(20, 48), "zero_block": zero, "tiny": 1e-30 * n(4, 64),
        "ties": ties(thresholds)[None], "many_blocks": scales * n(300, 64), "all_zero": torch.zeros(2, 64),
        "partial_block": 0.1 * n(10, 10), "partial_zero": partial_zero, "bf16": (0.1 * n(16, 64)).bfloat16(),
    }


def dump(out: Path) -> dict:
    thresholds, order = _get_4bit_quantize_bounds("fp4", torch.device("cpu"))
    book = F.get_4bit_type("fp4", device="cpu")
    tensors = {"code_book": book, "thresholds": thresholds, "order": order.to(torch.uint8)}
    notes = {}
    for name, w in cases(thresholds).items():
        packed, s = F.quantize_4bit(w, blocksize=64, quant_type="fp4")
        packed2, d = F.quantize_4bit(w, blocksize=64, quant_type="fp4", compress_statistics=True)
        assert torch.equal(packed, packed2)
        s.dtype = d.dtype = torch.float32  # dequantise to float32 whatever the weight's dtype was
        codes = unpack(packed, w.numel())
        scale = s.absmax.repeat_interleave(64)[:w.numel()]
        assert torch.equal(F.dequantize_4bit(packed, s).flatten(), book[codes.long()] * scale), name
        exact = s.absmax.double().mean().float()  # torch's sum has a CPU-dependent order: see nf4.py
        assert torch.equal(second_level(s.absmax, exact, d.state2.code)[0], d.absmax), name
        notes[name] = {"shape": list(w.shape), "dtype": str(w.dtype).removeprefix("torch.")}
        tensors |= {
            f"{name}.weight": w, f"{name}.packed": packed.flatten(), f"{name}.absmax": s.absmax,
            f"{name}.dequantized": F.dequantize_4bit(packed, s), f"{name}.double.absmax": d.absmax,
            f"{name}.double.nested_absmax": d.state2.absmax, f"{name}.double.nested_offset": d.offset.reshape(1),
            f"{name}.double.absmax_dequantized": F.dequantize_blockwise(d.absmax, d.state2) + d.offset,
        }
    write_tensors(out / "fp4.safetensors", tensors)
    write_json(out / "fp4.json", {"blocksize": 64, "nested_blocksize": 256, "cases": notes})
    return notes
