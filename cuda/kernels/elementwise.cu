// Elementwise helpers, and the sample of how a kernel looks: a grid-stride loop that takes any n with any launch shape.
#include "device.h"

DEV long long thread_index() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
DEV long long thread_count() { return (long long)gridDim.x * blockDim.x; }

// y[n] = a[n] + scale·b[n]
KERNEL(add_f32, float *y, const float *a, const float *b, float scale, long long n) {
    for (long long i = thread_index(); i < n; i += thread_count())
        y[i] = fmaf(scale, b[i], a[i]);
}

// y[n] = value
KERNEL(fill_f32, float *y, float value, long long n) {
    for (long long i = thread_index(); i < n; i += thread_count())
        y[i] = value;
}

// bytes[n] = 0
KERNEL(zero, unsigned char *bytes, long long n) {
    for (long long i = thread_index(); i < n; i += thread_count())
        bytes[i] = 0;
}
