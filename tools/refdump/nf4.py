"""NF4 bytes of bitsandbytes for chosen tensors, with and without double quantisation."""

from pathlib import Path

import bitsandbytes.functional as F
import torch
from bitsandbytes.backends.default.ops import _get_4bit_quantize_bounds

from files import write_json, write_tensors

# The constants of dQuantizeNF4 in bitsandbytes' csrc/kernels.cu: code i where x > THRESHOLDS[i-1].
THRESHOLDS = [
    -0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984,
    -0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668,
    0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011,
]


def ties() -> torch.Tensor:
    """Each threshold, its neighbours below and above, and its halves and doubles in blocks of absmax 1, 2 and 0.5."""
    t = torch.tensor(THRESHOLDS)
    row = torch.cat([t, torch.nextafter(t, t - 1), torch.nextafter(t, t + 1), torch.zeros(18), torch.ones(1)])
    return torch.cat([row, 2 * row, 0.5 * row, -row])  # [4·64]


def cases() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(11)
    n = lambda *s: torch.randn(s, generator=g)  # noqa: E731
    zero = 0.1 * n(8, 64)
    zero[3] = 0
    outlier = 0.02 * n(16, 128)
    outlier[2, 5], outlier[9, 77] = 40.0, -63.5
    scales = 10.0 ** torch.linspace(-3, 1, 300)[:, None]  # 300 blocks: two groups of 256 in the second level
    similar = 0.1 * n(128, 64).clamp(-5, 5)  # absmax 1 + a little, two far away: second level close to 0
    similar[:, 0] = 1 + 1e-6 * torch.arange(128)
    similar[7, 0], similar[9, 0] = 1.5, 0.5
    return {
        "normal": 0.02 * n(48, 128), "narrow_rows": 0.15 * n(40, 48), "zero_block": zero, "tiny": 1e-30 * n(4, 64),
        "outliers": outlier, "ties": ties()[None], "many_blocks": scales * n(300, 64), "similar_absmax": similar,
        "all_zero": torch.zeros(2, 64), "one_value": torch.full((2, 64), 0.125),
        "partial_block": 0.1 * n(10, 10), "bf16": (0.1 * n(16, 64)).bfloat16(),
    }


def unpack(packed: torch.Tensor, n: int) -> torch.Tensor:
    b = packed.flatten()
    return torch.stack([b >> 4, b & 15], 1).flatten()[:n]


def tree(w: torch.Tensor) -> torch.Tensor:
    """The CUDA kernel's codes: multiply by 1/absmax in float32, then the strict > tree. Zero blocks are 7 here."""
    flat = w.float().flatten()
    pad = torch.nn.functional.pad(flat, (0, -len(flat) % 64)).view(-1, 64)
    inv = 1.0 / pad.abs().amax(1).clamp(min=1e-38)
    return torch.bucketize((pad * inv[:, None]).flatten()[:len(flat)], torch.tensor(THRESHOLDS)).to(torch.uint8)


def second_level(absmax: torch.Tensor, offset: torch.Tensor, code: torch.Tensor):
    """The 8-bit absmax by two rules, both in float32: (as the CPU library, nearest code, nested_absmax).

    bitsandbytes 0.50 on the CPU looks x in [-1, 1] up in a table of 65536 entries: entry trunc((x+1)·32767.5 + 0.5),
    holding the code nearest to entry/32767.5 - 1; a group whose absmax is 0 gets code 0. Its CUDA kernel searches
    for the nearest code itself. They differ for about one code in 600, most of them near zero.
    """
    d = torch.nn.functional.pad(absmax - offset, (0, -len(absmax) % 256)).view(-1, 256)
    top = d.abs().amax(1)
    x = d * torch.where(top > 0, 1.0 / top, 0)[:, None]
    mid = (code[1:] + code[:-1]) / 2
    table = torch.bucketize(torch.arange(65536).float() / 32767.5 - 1, mid).to(torch.uint8)
    by_table = table[((x + 1) * 32767.5 + 0.5).int()]
    by_table[top == 0] = 0
    nearest = torch.bucketize(x, mid).to(torch.uint8)
    n = len(absmax)
    return by_table.flatten()[:n], nearest.flatten()[:n], top


def dump(out: Path) -> dict:
    bounds, _ = _get_4bit_quantize_bounds("nf4", torch.device("cpu"))
    assert torch.equal(bounds, torch.tensor(THRESHOLDS)), "thresholds differ from the CUDA kernel's"
    tensors = {"code_book": F.get_4bit_type("nf4", device="cpu"), "thresholds": bounds}
    notes = {}
    for name, w in cases().items():
        packed, s = F.quantize_4bit(w, blocksize=64, quant_type="nf4")
        packed2, d = F.quantize_4bit(w, blocksize=64, quant_type="nf4", compress_statistics=True)
        assert torch.equal(packed, packed2)
        s.dtype = d.dtype = torch.float32  # dequantise to float32 whatever the weight's dtype was
        table, nearest, top = second_level(s.absmax, d.offset, d.state2.code)
        assert torch.equal(table, d.absmax) and torch.equal(top, d.state2.absmax), name
        assert torch.equal(unpack(packed, w.numel()), tree(w)), name
        # torch's sum has a CPU-dependent order: the offset may be an ulp off, and no code of these cases hangs on it.
        exact = s.absmax.double().mean().float()
        assert torch.equal(second_level(s.absmax, exact, d.state2.code)[0], d.absmax), name
        assert abs(float(exact) - float(d.offset)) <= 2.5e-7 * float(exact), name
        notes[name] = {
            "shape": list(w.shape), "dtype": str(w.dtype).removeprefix("torch."),
            "absmax_codes_not_nearest": int((nearest != d.absmax).sum()),
            "offset_is_rounded_float64_mean": float(d.offset) == float(exact),
        }
        tensors["nested_code"] = d.state2.code
        tensors |= {
            f"{name}.weight": w, f"{name}.packed": packed.flatten(), f"{name}.absmax": s.absmax,
            f"{name}.dequantized": F.dequantize_4bit(packed, s), f"{name}.double.absmax": d.absmax,
            f"{name}.double.absmax_nearest": nearest, f"{name}.double.nested_absmax": d.state2.absmax,
            f"{name}.double.nested_offset": d.offset.reshape(1),
            f"{name}.double.absmax_dequantized": F.dequantize_blockwise(d.absmax, d.state2) + d.offset,
        }
    write_tensors(out / "nf4.safetensors", tensors)
    write_json(out / "nf4.json", {"blocksize": 64, "nested_blocksize": 256, "cases": notes})
    return notes
