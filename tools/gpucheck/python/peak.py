"""The speed of torch's bfloat16 matrix product on random numbers: the peak that our own products are held against."""

import json
import statistics
import sys

try:
    import torch
except ImportError:
    print(json.dumps({"missing": "torch is not installed"}))
    sys.exit(0)
if not torch.cuda.is_available():
    print(json.dumps({"missing": "this torch sees no GPU"}))
    sys.exit(0)


def tflops(dtype: torch.dtype, n: int, repeats: int) -> float:
    a, b = (torch.randn(n, n, device="cuda").to(dtype) for _ in range(2))
    times = []
    for i in range(repeats + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        a @ b
        end.record()
        torch.cuda.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end))
    return 2 * n**3 / statistics.median(times) / 1e9


torch.backends.cuda.matmul.allow_tf32 = False
print(json.dumps({
    "bf16": tflops(torch.bfloat16, 8192, 20), "float32": tflops(torch.float32, 4096, 10),
    "what": f"torch {torch.__version__}, 8192x8192x8192, median of 20",
}))
