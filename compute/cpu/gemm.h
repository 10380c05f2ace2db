// Matrix products: float32 sums over float32, bfloat16, float16 or 4-bit operands.
#ifndef LATHE_GEMM_H
#define LATHE_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"

// lathe_quant4 holds the scales of a 4-bit matrix: element e of the flattened matrix belongs to block e/block. Either absmax is set,
// or the other four: absmax[b] = map[codes[b]]·nested[b/256] + *offset.
typedef struct {
    const float *code; // [16], the code book
    int block;         // a power of two from 32 on
    const float *absmax;
    const uint8_t *codes;
    const float *nested, *map, *offset;
} lathe_quant4;

// lathe_matrix is an operand: element (i,j) is data[i·rs + j·cs], counted in elements; one of the strides is 1 (for 4 bits the
// other one is the row length of the weight as it is stored, without gaps).
typedef struct {
    const void *data;
    int type; // LATHE_F32, LATHE_BF16, LATHE_F16 or LATHE_QUANT4
    int64_t rs, cs;
    lathe_quant4 quant; // for LATHE_QUANT4
} lathe_matrix;

// lathe_gemm_args is C = alpha·A·B + ext·U·V [+ bias] [+ C]. A narrow product rounds alpha·A, B, ext·U and V to bfloat16 (nearest even),
// multiplies exactly and sums in float32; one of at most 16 rows by contiguous rows of weights, which waits for memory rather than
// arithmetic, rounds nothing.
typedef struct {
    int64_t m, n, k;
    lathe_matrix a; // [m,k]
    lathe_matrix b; // [k,n]
    float alpha;
    int narrow;
    int64_t r;      // width of the K-extension (LoRA), or 0
    lathe_matrix u; // [m,r]
    lathe_matrix v; // [r,n]
    float ext;
    const float *bias; // [n], or NULL
    int accumulate;    // add to what C holds
    float *c;          // [m,n], row stride ldc; [n,m] where transpose_c is set, and then bias is [m]
    int64_t ldc;
    int transpose_c;
} lathe_gemm_args;

// lathe_gemm_scratch is the number of bytes of scratch that lathe_gemm needs with that number of threads. The memory
// is best aligned to pages.
size_t lathe_gemm_scratch(int threads);

// lathe_gemm computes one product on all threads. The bits of C do not depend on the number of threads: k is never split
// among them and its blocks are summed in one fixed order.
// Scratch of fewer bytes than lathe_gemm_scratch slows it down, below that of one thread it is an error of the caller's.
void lathe_gemm(const lathe_gemm_args *args, void *scratch, size_t bytes);

// lathe_column_sums adds to dst the sums of the columns of src, each in the order of the rows.
typedef struct {
    float *dst;       // [cols]
    const float *src; // [rows,cols]
    int64_t rows, cols;
} lathe_column_sums_args;
void lathe_column_sums(const lathe_column_sums_args *);

#endif
