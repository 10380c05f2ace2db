// What works on columns of a matrix: sums over rows (gradients of norms' weights, biases and scales), columns scaled, and groups of them
// copied.
#include "rows.h"

enum { SUM_ROWS = 8, SUM_COLUMNS = 4 * WARP }; // a block's warps, which take every eighth row, and the columns of each

// sum_tile adds v, four columns of each lane and warp, over the warps in their order, and writes row chunk of a partial [chunks,c].
DEV void sum_tile(float *partial, float4 v, long long chunk, int c, float *tile) {
    store4(tile + 4 * threadIdx.x, v); // [SUM_ROWS,SUM_COLUMNS]
    __syncthreads();
    int column = blockIdx.x * SUM_COLUMNS + threadIdx.x;
    if (threadIdx.x < SUM_COLUMNS && column < c) {
        float sum = tile[threadIdx.x];
        for (int i = 1; i < SUM_ROWS; i++)
            sum += tile[i * SUM_COLUMNS + threadIdx.x];
        partial[chunk * c + column] = sum;
    }
    __syncthreads();
}

// The first of two stages: block (tile, chunk) sums rows chunk·rows … of 128 columns, weights[chunk,c] = Σ dy·x̂ and biases[chunk,c] = Σ dy,
// with x̂ = (x-mean)·rstd, where no mean is 0 and no rstd is 1. Either result may be null, x too where weights is. The chunks' order in
// the second stage is fixed and they are the same on every GPU.
template <bool ALIGNED>
DEV void column_sums_tile(float *weights, float *biases, const float *dy, const float *x, const float *mean, const float *rstd, long long n,
                          int rows, int c, float *tile) {
    int i = blockIdx.x * SUM_COLUMNS + 4 * (threadIdx.x % WARP);
    long long from = (long long)blockIdx.y * rows, end = from + rows < n ? from + rows : n;
    float4 weight = splat4(0), bias = splat4(0);
#pragma unroll 4
    for (long long row = from + threadIdx.x / WARP; row < end; row += SUM_ROWS) {
        float4 d = get4<ALIGNED>(dy + row * c, i, c);
        bias = map4([](float u, float v) { return u + v; }, bias, d);
        if (weights) {
            float m = mean ? mean[row] : 0, r = rstd ? rstd[row] : 1;
            float4 v = get4<ALIGNED>(x + row * c, i, c);
            weight = map4([=](float s, float u, float v) { return fmaf(u, (v - m) * r, s); }, weight, d, v);
        }
    }
    if (weights)
        sum_tile(weights, weight, blockIdx.y, c, tile);
    if (biases)
        sum_tile(biases, bias, blockIdx.y, c, tile);
}

KERNEL_BOUNDS(column_sums, SUM_ROWS * WARP, 2, float *weights, float *biases, const float *dy, const float *x, const float *mean,
              const float *rstd, long long n, int rows, int c) {
    __shared__ __align__(16) float tile[SUM_ROWS * SUM_COLUMNS];
    if (c % 4 == 0 && aligned(dy, x))
        column_sums_tile<true>(weights, biases, dy, x, mean, rstd, n, rows, c, tile);
    else
        column_sums_tile<false>(weights, biases, dy, x, mean, rstd, n, rows, c, tile);
}

// The second stage: y[c] += Σ over chunks of partial[chunks,c]. A block has 32 columns; its warps take every eighth chunk and are added in
// their order.
KERNEL_BOUNDS(add_chunks, SUM_ROWS * WARP, 2, float *y, const float *partial, int chunks, int c) {
    __shared__ float tile[SUM_ROWS * WARP];
    int column = blockIdx.x * WARP + threadIdx.x % WARP;
    float sum = 0;
    if (column < c)
#pragma unroll 8
        for (int k = threadIdx.x / WARP; k < chunks; k += SUM_ROWS)
            sum += partial[(long long)k * c + column];
    tile[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= WARP || column >= c)
        return;
    sum = tile[threadIdx.x];
    for (int i = 1; i < SUM_ROWS; i++)
        sum += tile[i * WARP + threadIdx.x];
    y[column] += sum;
}

// y[n,c] = x[n,c]·s[c], plus the old y where accumulate; y may be x.
template <bool ALIGNED> DEV void scale_row(float *y, const float *x, const float *s, long long n, int c, int accumulate) {
    long long row = block_row();
    if (row >= n)
        return;
    x += row * c;
    y += row * c;
    for (int i = 4 * threadIdx.x; i < c; i += 4 * blockDim.x) {
        float4 old = accumulate ? get4<ALIGNED>(y, i, c) : splat4(0);
        auto scaled = [](float u, float v, float w) { return fmaf(u, v, w); };
        put4<ALIGNED>(y, i, c, map4(scaled, get4<ALIGNED>(x, i, c), get4<ALIGNED>(s, i, c), old));
    }
}

KERNEL(scale_columns, float *y, const float *x, const float *s, long long n, int c, int accumulate) {
    if (c % 4 == 0 && aligned(y, x, s))
        scale_row<true>(y, x, s, n, c, accumulate);
    else
        scale_row<false>(y, x, s, n, c, accumulate);
}

// dst[n,to_width] takes columns 0 … width-1 of src[n,from_width], both views from the first column on; n counts groups of all rows.
template <bool ALIGNED> DEV void copy_row(float *dst, const float *src, long long n, int width, int to_width, int from_width) {
    long long row = block_row();
    if (row >= n)
        return;
    dst += row * to_width;
    src += row * from_width;
    for (int i = 4 * threadIdx.x; i < width; i += 4 * blockDim.x)
        put4<ALIGNED>(dst, i, width, get4<ALIGNED>(src, i, width));
}

KERNEL(copy_columns, float *dst, const float *src, long long n, int width, int to_width, int from_width) {
    if (width % 4 == 0 && to_width % 4 == 0 && from_width % 4 == 0 && aligned(dst, src))
        copy_row<true>(dst, src, n, width, to_width, from_width);
    else
        copy_row<false>(dst, src, n, width, to_width, from_width);
}
