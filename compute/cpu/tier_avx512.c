// The kernels for processors with AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#include "target.h"
LATHE_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#include "lathe.h"
#include "pool.h"

#define LATHE_TIER 2 // LATHE_AVX512
#define KERNELS lathe_kernels_avx512
#include "kernels.h"
LATHE_TARGET_END
#endif
