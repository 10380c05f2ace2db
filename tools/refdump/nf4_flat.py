"""Makes bitsandbytes on the CPU dequantise 4-bit weights as its CUDA and default kernels do.

The CPU kernel of 0.50.2 scales each piece of 64 columns by the block in which the piece begins. Where the row length is not
a multiple of 64, blocks cross rows and some weights get a neighbour's scale: against bitsandbytes' own quantiser, its
default backend and its CUDA kernel, which all count blocks over the flat matrix. Importing this module puts the default
backend's arithmetic in the CPU kernel's place.
"""

import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.backends.utils import _get_4bit_code


def dequantize(A, absmax, blocksize, quant_type, shape, dtype):
    code = _get_4bit_code(quant_type, A.device)
    return _dequantize_4bit_compute(A.view(torch.uint8).reshape(-1), absmax.float(), code, blocksize, shape, dtype)


library = torch.library.Library("bitsandbytes", "IMPL")  # the override lives as long as this object
library.impl("dequantize_4bit", dequantize, "CPU", allow_override=True)
