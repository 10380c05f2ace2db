// Attention of heads of up to 96 elements by tensor cores with bf16 operands; tiles as cuda/attention_plan.go has them.
#include "attention_backward_mma.h"
#include "attention_forward_mma.h"

FORWARD_MMA(bf16, bf16_t, 96, 2, 32)
BACKWARD_MMA(bf16, bf16_t, 96, 1, 32, 32)
