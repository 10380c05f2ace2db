// AVX-512: 14×32 tiles.
#if defined(__x86_64__)

#include "gemm_tier.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define KERNELS lathe_gemm_avx512
enum { MR = 14, GEMV_MS = 5 };

#include "gemm_vec512.h"

#include "gemm_float.h"

#endif
