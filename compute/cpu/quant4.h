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

// A code of a dynamic 8-bit map (256 ascending values) is found in a table of equidistant points of [-1, 1].
enum { LATHE_DYNAMIC_TABLE = 65536 };
void lathe_dynamic_table(uint8_t table[LATHE_DYNAMIC_TABLE], const float map[256]);

// lathe_quantize4_nest quantises the scales of a weight a second time: offset is their mean, and each 256 of the differences to it share a
// scale in nested, and are codes into map.
typedef struct {
    uint8_t *codes; // [blocks]
    float *nested;  // [⌈blocks/256⌉]
    float *offset;  // [1]
    const float *map, *absmax; // [256] ascending, [blocks]
    int64_t blocks;
} lathe_quantize4_nest_args;
void lathe_quantize4_nest(const lathe_quantize4_nest_args *);

// lathe_widen writes n elements of a matrix without gaps as float32.
typedef struct {
    float *dst; // [n]
    lathe_matrix src;
    int64_t n;
} lathe_widen_args;
void lathe_widen(const lathe_widen_args *);

#endif
