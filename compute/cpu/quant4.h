// 4-bit quantisation with bitsandbytes' bits.
#ifndef LATHE_QUANT4_H
#define LATHE_QUANT4_H

#include <stdint.h>

#include "gemm.h"

// A 4-bit code book and how its codes are found: search holds the thresholds in the order of a binary search, level by level;
// the number of thresholds below is the code itself where the book is sorted, else order[that number].
typedef struct {
    float code[16];
    float search[4][8];
    int sorted;
    uint8_t order[16];
} lathe_code_book;

// The code books, by compute.QuantType.
const lathe_code_book *lathe_code_book_of(int type);

// lathe_quantize4_nest quantises the scales a second time: offset is their mean, and each 256 of the differences to it share a
// scale in nested, and are codes into map (256 ascending values).
void lathe_quantize4_nest(uint8_t *codes, float *nested, float *offset, const float *map, const float *absmax, int64_t blocks);

// lathe_widen writes n elements of a matrix without gaps as float32.
void lathe_widen(float *dst, const lathe_matrix *src, int64_t n);

#endif
