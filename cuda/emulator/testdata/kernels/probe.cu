// Kernels that show what the emulated device does: right ones and wrong ones.
#include "device.h"

KERNEL(nothing, int n) { (void)n; }

KERNEL(barriers, int n, float *out) {
    float v = threadIdx.x;
    for (int i = 0; i < n; i++) {
        __syncthreads();
        v = v * 0.5f + 1.0f;
    }
    out[(size_t)blockIdx.x * blockDim.x + threadIdx.x] = v;
}
