// The kernels for any processor.
#include "lathe.h"
#include "pool.h"

#define LATHE_TIER 0 // LATHE_PLAIN
#define KERNELS lathe_kernels_plain
#include "kernels.h"
