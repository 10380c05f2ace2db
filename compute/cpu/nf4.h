// NF4 quantisation with bitsandbytes' bits.
#ifndef LATHE_NF4_H
#define LATHE_NF4_H

#include <stdint.h>

#include "gemm.h"

// lathe_nf4_quantize writes the codes (two a byte, the even element in the high nibble) and the absmax of each block of n
// elements of src, which is F32, BF16 or F16 without gaps. block is a power of two ≥ 32.
void lathe_nf4_quantize(uint8_t *data, float *absmax, const lathe_matrix *src, int64_t n, int block);

// lathe_nf4_nest quantises the scales a second time: offset is their mean, and each 256 of the differences to it share a
// scale in nested, and are codes into map (256 ascending values).
void lathe_nf4_nest(uint8_t *codes, float *nested, float *offset, const float *map, const float *absmax, int64_t blocks);

// lathe_widen writes n elements of a matrix without gaps as float32.
void lathe_widen(float *dst, const lathe_matrix *src, int64_t n);

#endif
