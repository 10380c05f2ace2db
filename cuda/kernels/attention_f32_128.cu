// Float32 attention of heads of up to 128 elements; tiles as cuda/attention_plan.go has them.
#include "attention_backward_f32.h"
#include "attention_forward_f32.h"

FORWARD_F32(128, 64, 32)
BACKWARD_F32(128, 32, 32)
