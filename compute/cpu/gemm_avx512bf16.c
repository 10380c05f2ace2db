// AVX512_BF16: 14×32 tiles of pairs, vdpbf16ps. It adds both products of a pair to a float32 sum, each addition rounded to nearest even,
// and takes denormal operands and sums for zeros.
#include "gemm_tier.h"

#if LATHE_HAS_BF16

#define TARGET __attribute__((target("avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
enum { MR = 14, KP = 2, UNIT = KP };

#include "gemm_vec512.h"

#include "gemm_pairs.h"

INLINE vec v_multiply_add(vec a, vec b, vec sum) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }

#include "gemm_kernel.h"

DEFINE_PACK(pack, 1, 0)

const gemm_kernels lathe_gemm_avx512bf16 = {
    .mr = MR, .nr = NR, .vlen = VLEN, .height = 1, .per_slot = KP, .unit = UNIT, .tile = tile, .pack_a = pack, .pack_b = pack, .convert = convert_run,
};

#endif
