// What is asked of all gradients together: their length, and whether all are numbers.
#include "tensors.h"

enum { REDUCE_THREADS = 256 };

struct Numbers {
    const float *x;
    long long n, place; // place is the number of the first element when all tensors' are counted
    int first, unused;
};

// partial[b] = Σ x² of block b's chunk, in double: a thread's own sum, then the warp's, then the warps in order.
KERNEL_BOUNDS(square_sums, REDUCE_THREADS, 4, double *partial, const Numbers *tensors, int count, long long chunk) {
    __shared__ double part[WARP];
    Numbers t = tensors[find_tensor(tensors, count, blockIdx.x)];
    long long from = (blockIdx.x - t.first) * chunk, end = from + chunk < t.n ? from + chunk : t.n;
    long long wide = aligned(t.x) ? from + (end - from) / 4 * 4 : from; // chunks are multiples of four
    double sum = 0;
#pragma unroll 4
    for (long long i = from + 4 * threadIdx.x; i < wide; i += 4 * REDUCE_THREADS) {
        float4 v = load4(t.x + i);
        sum = fma((double)v.x, (double)v.x, sum);
        sum = fma((double)v.y, (double)v.y, sum);
        sum = fma((double)v.z, (double)v.z, sum);
        sum = fma((double)v.w, (double)v.w, sum);
    }
    for (long long i = wide + threadIdx.x; i < end; i += REDUCE_THREADS)
        sum = fma((double)t.x[i], (double)t.x[i], sum);
    sum = block_sum(sum, part);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

DEV bool finite(float x) { return fabsf(x) <= 3.402823466e38f; }
DEV bool finite(float4 v) { return finite(v.x) && finite(v.y) && finite(v.z) && finite(v.w); }

// *lowest becomes the place of the first element that is infinite or NaN, if there is one below it.
KERNEL_BOUNDS(first_non_finite, REDUCE_THREADS, 4, unsigned long long *lowest, const Numbers *tensors, int count, long long chunk) {
    Numbers t = tensors[find_tensor(tensors, count, blockIdx.x)];
    long long from = (blockIdx.x - t.first) * chunk, end = from + chunk < t.n ? from + chunk : t.n;
    long long wide = aligned(t.x) ? from + (end - from) / 4 * 4 : from, found = -1;
#pragma unroll 4
    for (long long i = from + 4 * threadIdx.x; i < wide; i += 4 * REDUCE_THREADS)
        if (!finite(load4(t.x + i)) && found < 0)
            found = i;
    for (int j = 0; found >= 0 && j < 4; j++) // which of the four
        if (!finite(t.x[found + j])) {
            found += j;
            break;
        }
    for (long long i = wide + threadIdx.x; i < end; i += REDUCE_THREADS)
        if (!finite(t.x[i]) && found < 0)
            found = i;
    if (found >= 0)
        atomicMin(lowest, (unsigned long long)(t.place + found));
}
