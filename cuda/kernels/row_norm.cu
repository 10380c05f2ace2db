// Lengths of the rows of an adapted weight (DoRA): y[out] = ‖W[o,:] + scale·(V·U)[o,:]‖ with V [out,rank] and U [rank,in]; the product in
// float, the squares summed in double. Neither a widened weight nor a product of its size ever exists.
//
// A block has NORM_ROWS rows, so that an element of U is read once for all of them; a thread has every 256th column. V's rows lie in
// shared memory, NORM_RANK of them at a time: a rank above that costs another pass over the same sums in registers.
#include "operand.h"

enum { NORM_ROWS = 8, NORM_RANK = 64, NORM_THREADS = 256 };

struct RowNorm {
    Operand w;
    const float *u, *v;
    int out, in, rank;
    float scale;
};

// row_norm_column is column j of each of the block's rows.
DEV void row_norm_column(float (&x)[NORM_ROWS], const float (*vs)[NORM_ROWS], const RowNorm &a, int row0, int j) {
    for (int i = 0; i < NORM_ROWS; i++)
        x[i] = row0 + i < a.out ? operand_element(a.w, (long long)(row0 + i) * a.in + j) : 0.0f;
    if (a.rank == 0)
        return;
    float sum[NORM_ROWS] = {};
    for (int k = 0; k < min(a.rank, (int)NORM_RANK); k++) {
        float u = a.u[(long long)k * a.in + j];
        for (int i = 0; i < NORM_ROWS; i++)
            sum[i] = fmaf(vs[k][i], u, sum[i]);
    }
    for (int k = NORM_RANK; k < a.rank; k++) {
        float u = a.u[(long long)k * a.in + j];
        for (int i = 0; i < NORM_ROWS; i++)
            sum[i] = fmaf(row0 + i < a.out ? a.v[(long long)(row0 + i) * a.rank + k] : 0.0f, u, sum[i]);
    }
    for (int i = 0; i < NORM_ROWS; i++)
        x[i] = fmaf(a.scale, sum[i], x[i]);
}

KERNEL_BOUNDS(row_norm, NORM_THREADS, 2, float *y, const void *w, int kind, QUANT4_ARGS, int out, int in, const float *u, const float *v, int rank, float scale) {
    __shared__ float book[16], vs[NORM_RANK][NORM_ROWS];
    __shared__ double part[32];
    int row0 = blockIdx.x * NORM_ROWS;
    RowNorm a{Operand{w, in, kind, 0, QUANT4(book)}, u, v, out, in, rank, scale};
    if (kind == KIND_QUANT4)
        load_code_book(book, type);
    for (int at = threadIdx.x; at < min(rank, (int)NORM_RANK) * NORM_ROWS; at += NORM_THREADS) {
        int k = at / NORM_ROWS, i = at % NORM_ROWS;
        vs[k][i] = row0 + i < out ? v[(long long)(row0 + i) * rank + k] : 0.0f;
    }
    __syncthreads();
    double square[NORM_ROWS] = {};
    for (int j = threadIdx.x; j < in; j += NORM_THREADS) {
        float x[NORM_ROWS];
        row_norm_column(x, vs, a, row0, j);
        for (int i = 0; i < NORM_ROWS; i++)
            square[i] += (double)x[i] * (double)x[i];
    }
    for (int i = 0; i < NORM_ROWS; i++) {
        double all = block_sum(square[i], part);
        if (threadIdx.x == 0 && row0 + i < out)
            y[row0 + i] = (float)sqrt(all);
    }
}
