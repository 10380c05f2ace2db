// The kernels for processors with AVX2, FMA and F16C.
#if defined(__x86_64__)
#include "target.h"
LATHE_TARGET("avx2,fma,f16c")
#include "lathe.h"
#include "pool.h"

#define LATHE_TIER 1 // LATHE_AVX2
#define KERNELS lathe_kernels_avx2
#include "kernels.h"
LATHE_TARGET_END
#endif
