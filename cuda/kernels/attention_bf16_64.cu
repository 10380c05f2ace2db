// Attention of heads of up to 64 elements by tensor cores with bf16 operands; tiles as cuda/attention_plan.go has them.
#include "attention_backward_mma.h"
#include "attention_forward_mma.h"

FORWARD_MMA(bf16, bf16_t, 64, 2, 64)
BACKWARD_MMA(bf16, bf16_t, 64, 1, 64, 64)
