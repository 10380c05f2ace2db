// The table of a tier that multiplies floats, and the one of its products in bfloat16: the same but for the rounding in packing.

#define v_multiply_add v_fma
#define LATHE_PAIRS 0
enum { KP = 1, UNIT = 1 };

#include "gemm_gemv.h"
#include "gemm_kernel.h"

DEFINE_PACK(pack, 0, 0)
DEFINE_PACK(pack_bf16, 1, 0)

#define KERNELS_WITH(PACK, ROWS)                                                                                             \
    {                                                                                                                        \
        .mr = MR, .nr = NR, .vlen = VLEN, .height = 1, .per_slot = KP, .unit = UNIT, .reads_rows = ROWS, .tile = tile,        \
        .pack_a = PACK, .pack_b = PACK, .gemv = gemv, .gemv_x = gemv_x, .convert = convert_run,                              \
    }
const gemm_kernels KERNELS[2] = {KERNELS_WITH(pack, 1), KERNELS_WITH(pack_bf16, 0)};
