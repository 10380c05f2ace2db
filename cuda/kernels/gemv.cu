// Products with one to eight rows at a time, for each type of weight.
#include "gemv.h"

GEMV_TOKENS(gemv_f32, KIND_F32)
GEMV_TOKENS(gemv_bf16, KIND_BF16)
GEMV_TOKENS(gemv_f16, KIND_F16)
GEMV_TOKENS(gemv_quant4, KIND_QUANT4)
