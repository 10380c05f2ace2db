"""4-bit bytes of bitsandbytes on this GPU for a matrix of float32 numbers: quant4.py IN ROWS COLUMNS OUTDIR."""

import json
import sys

try:
    import numpy
    import torch
except ImportError as e:
    print(json.dumps({"missing": f"{e.name} is not installed"}))
    sys.exit(0)
try:
    import bitsandbytes
    import bitsandbytes.functional as F
except ImportError as e:
    print(json.dumps({"missing": f"bitsandbytes: {e}"}))
    sys.exit(0)
if not torch.cuda.is_available():
    print(json.dumps({"missing": "this torch sees no GPU"}))
    sys.exit(0)

path, rows, columns, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
x = torch.from_numpy(numpy.fromfile(path, dtype=numpy.float32)).view(rows, columns).cuda()


def save(name: str, t: torch.Tensor) -> None:
    t.contiguous().cpu().numpy().tofile(f"{out}/{name}")


cases = []
for kind in ["nf4", "fp4"]:
    for dtype in ["float32", "bfloat16"]:
        for double in [False, True]:
            name = f"{kind}-{dtype}-{'double' if double else 'single'}"
            codes, state = F.quantize_4bit(x.to(getattr(torch, dtype)), blocksize=64, compress_statistics=double, quant_type=kind)
            save(name + ".codes", codes.view(torch.uint8))
            save(name + ".absmax", state.absmax)  # float32, or uint8 codes
            if double:
                save(name + ".nested", state.state2.absmax)
                save(name + ".offset", state.offset.float().reshape(1))
            cases.append({"name": name, "type": kind, "dtype": dtype, "double": double})
print(json.dumps({"version": bitsandbytes.__version__, "cases": cases}))
