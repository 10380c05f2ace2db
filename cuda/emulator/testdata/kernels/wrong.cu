// Kernels with faults that the emulated device has to name.
#include "device.h"

KERNEL(two_barriers, float *out) {
    if (threadIdx.x < 40)
        __syncthreads();
    else
        __syncthreads();
    out[0] = 0;
}
KERNEL(early_exit, float *out) {
    if (threadIdx.x == 5)
        return;
    __syncthreads();
    out[0] = 0;
}
KERNEL(lane_exit, float *out) {
    if (threadIdx.x == 35)
        return;
    out[threadIdx.x] = warp_sum(1.0f);
}
KERNEL(two_operations, float *out) {
    if (threadIdx.x % 2)
        out[0] = warp_sum(1.0f);
    else
        __syncwarp();
}
KERNEL(write_at, float *p, long long index) { p[index] = 1; }
KERNEL(read_at, float *p, long long index) { p[0] = p[index]; }
KERNEL(array_index, float *out, int i) {
    __shared__ float a[32];
    a[i] = 1;
    out[0] = a[0];
}
KERNEL(dynamic_index, float *out, int i) {
    DYN_SHARED(float, a);
    a[i] = 1;
    out[0] = a[i];
}
KERNEL(unaligned, float *p) { *(float4 *)(p + 1) = float4{1, 2, 3, 4}; }
KERNEL(unaligned_copy, float *p) {
    __shared__ __align__(16) float s[8];
    cp_async_16(s, p + 1, true);
    cp_async_wait<0>();
    p[0] = s[0];
}
KERNEL(big_frame, float *out, int n) {
    volatile float big[40000];
    for (int i = 0; i < n; i++)
        big[i] = i;
    out[0] = big[n - 1];
}
