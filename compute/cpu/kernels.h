// All kernels of one tier; included by tier_*.c after LATHE_TIER and KERNELS are set.
#include "vec.h"

#include "gemm_tier.h"

#include "kernel_convert.h"     // cast, embedding
#include "kernel_norm.h"        // RMSNorm, LayerNorm
#include "kernel_rope.h"        // RoPE
#include "kernel_activation.h"  // activations, plain and gated
#include "kernel_dropout.h"     // Philox
#include "kernel_elementwise.h" // add, sums of squares, finiteness, AdamW
#include "kernel_product.h"     // tiles of matrices
#include "kernel_attention.h"   // flash attention
#include "kernel_attention_decode.h" // one query a sequence
#include "kernel_attention_backward.h"
#include "kernel_columns.h"  // columns copied and scaled
#include "kernel_row_norm.h" // lengths of adapted weights' rows
#include "kernel_quant4.h"   // 4-bit codes
#include "kernel_adamw8.h"   // AdamW with 8-bit moments
#include "kernel_cross_entropy.h"

const lathe_kernels KERNELS = {
#define LATHE_ENTRY(name) .name = name,
    LATHE_OPERATIONS(LATHE_ENTRY)
};
