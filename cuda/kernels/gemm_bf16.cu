// Products of bfloat16: forward A[m,k]·B[n,k]ᵀ, gradient of the input A[m,k]·B[k,n], gradient of the weight A[k,m]ᵀ·B[k,n].
#include "gemm16.h"

GEMM16_TILES(gemm_bf16_nt, bf16_t, false, false)
GEMM16_TILES(gemm_bf16_nn, bf16_t, false, true)
GEMM16_TILES(gemm_bf16_tn, bf16_t, true, true)
