// What the machine can do at most, as a measure for everything else.
#ifndef LATHE_PEAK_H
#define LATHE_PEAK_H

#include <stdint.h>

// lathe_fma_peak runs fused multiply-adds in registers on all threads, for about seconds, and returns the best rate in
// floating-point operations a second.
double lathe_fma_peak(double seconds);

// lathe_bf16_peak is that of products in bfloat16 with float32 sums, or 0 where the tier has no instruction for them.
double lathe_bf16_peak(double seconds);

// lathe_copy_rate copies n bytes on all threads, over and over for about seconds, and returns the best rate in bytes read
// and written a second; lathe_read_rate reads them (bytes read a second).
double lathe_copy_rate(void *dst, const void *src, int64_t n, double seconds);
double lathe_read_rate(const void *src, int64_t n, double seconds);

#endif
