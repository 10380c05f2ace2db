// Float32 attention of heads of up to 32 elements; tiles as cuda/attention_plan.go has them.
#include "attention_backward_f32.h"
#include "attention_forward_f32.h"

FORWARD_F32(32, 64, 64)
BACKWARD_F32(32, 64, 32)
