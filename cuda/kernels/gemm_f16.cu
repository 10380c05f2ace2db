// Products of float16: forward A[m,k]·B[n,k]ᵀ, gradient of the input A[m,k]·B[k,n], gradient of the weight A[k,m]ᵀ·B[k,n].
#include "gemm16.h"

GEMM16_TILES(gemm_f16_nt, f16_t, false, false)
GEMM16_TILES(gemm_f16_nn, f16_t, false, true)
GEMM16_TILES(gemm_f16_tn, f16_t, true, true)
