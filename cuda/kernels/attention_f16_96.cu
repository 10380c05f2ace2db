// Attention of heads of up to 96 elements by tensor cores with f16 operands; tiles as cuda/attention_plan.go has them.
#include "attention_backward_mma.h"
#include "attention_forward_mma.h"

FORWARD_MMA(f16, f16_t, 96, 2, 32)
BACKWARD_MMA(f16, f16_t, 96, 1, 32, 32)
