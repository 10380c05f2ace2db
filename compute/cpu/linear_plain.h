#ifndef LATHE_LINEAR_PLAIN_H
#define LATHE_LINEAR_PLAIN_H
#include <stdint.h>

#include "gemm.h"

void lathe_plain_widen(float *dst, const lathe_matrix *m, int64_t n);
void lathe_plain_quantize(uint8_t *data, float *absmax, const float *src, int64_t n, int block);
// c[m,n] = (accumulate ? c : 0) + alpha · A·B with element strides
void lathe_plain_product(float *c, const float *a, int64_t ars, int64_t acs, const float *b, int64_t brs, int64_t bcs, int64_t m, int64_t n, int64_t k, float alpha, int accumulate);
void lathe_plain_bias(float *y, const float *bias, int64_t n, int64_t out);
void lathe_plain_dbias(float *db, const float *dy, int64_t n, int64_t out);
#endif
