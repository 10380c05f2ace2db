// Tiles of float32 attention: exact products by FFMA. 128 threads, ty = thread/8 and tx = thread%8, hold a matrix of results
// [16·R, 8·C]: rows ty+16i, columns tx+8j. The eight lanes that share rows lie in one warp, so that softmax needs only shuffles and
// what a warp writes of its rows to shared memory, only that warp reads.
//
// Tiles in shared memory are [rows, DP+4]: a row is an odd number of 16-byte pieces, so eight rows at one column lie in eight different
// groups of banks, and reads of float4 have no conflicts.
#pragma once
#include "attention.h"

enum { TILE_THREADS = 128 };

DEV int tile_ty() { return threadIdx.x / 8; }
DEV int tile_tx() { return threadIdx.x % 8; }
template <int DP> DEV constexpr int tile_stride() { return DP + 4; }

// load_piece copies up to four floats of a row, from column c of d on, zeros behind the end.
DEV void load_piece(float *to, const float *row, int c, int d, bool aligned, bool valid) {
    if (aligned) {
        cp_async_16(to, row + (valid && c < d ? c : 0), valid && c < d);
        return;
    }
    for (int i = 0; i < 4; i++)
        cp_async_4(to + i, row + (valid && c + i < d ? c + i : 0), valid && c + i < d);
}

// load_keys copies keys first … first+N-1 of K or V [NK·KV,D], zeros from key end on.
template <int DP, int N> DEV void load_keys(float *tile, const float *x, const Attention &a, int first, int end) {
    for (int i = threadIdx.x; i < N * (DP / 4); i += TILE_THREADS) {
        int j = i / (DP / 4), c = i % (DP / 4) * 4;
        bool valid = first + j < end;
        load_piece(tile + j * tile_stride<DP>() + c, valid ? x + a.key(first + j) * a.d : x, c, a.d, a.flags & ALIGNED, valid);
    }
}

// load_rows copies rows first … first+N-1 of Q, and of a second matrix unless other is null, zeros from row end on.
template <int DP, int N>
DEV void load_rows(float *tile, const float *x, float *other, const float *y, const Attention &a, int first, int end) {
    for (int i = threadIdx.x; i < N * (DP / 4); i += TILE_THREADS) {
        int r = i / (DP / 4), c = i % (DP / 4) * 4, at = r * tile_stride<DP>() + c;
        bool valid = first + r < end;
        long long row = valid ? a.query(first + r) * a.d : 0;
        load_piece(tile + at, x + row, c, a.d, a.flags & ALIGNED, valid);
        if (other)
            load_piece(other + at, y + row, c, a.d, a.flags & ALIGNED, valid);
    }
}

template <int R, int C> DEV void clear(float (&acc)[R][C]) {
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++)
            acc[i][j] = 0.0f;
}

// product_nt: acc[i][j] = Σ_c A[ty+16i, c]·B[tx+8j, c]. Zeros pad the columns, so whole pieces are summed.
template <int DP, int R, int C> DEV void product_nt(float (&acc)[R][C], const float *a, const float *b, int d) {
    a += tile_ty() * tile_stride<DP>();
    b += tile_tx() * tile_stride<DP>();
    clear(acc);
#pragma unroll(R *C > 16 ? 1 : 2)
    for (int c = 0; c < d; c += 4) {
        float4 x[R], y[C];
#pragma unroll
        for (int i = 0; i < R; i++)
            x[i] = *(const float4 *)(a + 16 * i * tile_stride<DP>() + c);
#pragma unroll
        for (int j = 0; j < C; j++)
            y[j] = *(const float4 *)(b + 8 * j * tile_stride<DP>() + c);
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
            for (int j = 0; j < C; j++) {
                acc[i][j] = fmaf(x[i].x, y[j].x, acc[i][j]);
                acc[i][j] = fmaf(x[i].y, y[j].y, acc[i][j]);
                acc[i][j] = fmaf(x[i].z, y[j].z, acc[i][j]);
                acc[i][j] = fmaf(x[i].w, y[j].w, acc[i][j]);
            }
    }
}

template <int C> DEV void add_scaled(float (&acc)[C], float w, const float *row) {
#pragma unroll
    for (int c = 0; c < C; c += 4) {
        float4 v = *(const float4 *)(row + 8 * c);
        acc[c] = fmaf(w, v.x, acc[c]);
        acc[c + 1] = fmaf(w, v.y, acc[c + 1]);
        acc[c + 2] = fmaf(w, v.z, acc[c + 2]);
        acc[c + 3] = fmaf(w, v.w, acc[c + 3]);
    }
}

// product_nn: acc[i][c] += Σ_k W[ty+16i, k]·X[k, 4·tx + 32·(c/4) + c%4], W of row length N+8 in shared memory.
template <int DP, int N, int R> DEV void product_nn(float (&acc)[R][DP / 8], const float *w, const float *x) {
    w += tile_ty() * (N + 8);
    x += tile_tx() * 4;
#pragma unroll 1
    for (int k = 0; k < N; k += 4) {
        float4 f[R];
#pragma unroll
        for (int i = 0; i < R; i++)
            f[i] = *(const float4 *)(w + 16 * i * (N + 8) + k);
#pragma unroll
        for (int i = 0; i < R; i++) {
            add_scaled(acc[i], f[i].x, x + k * tile_stride<DP>());
            add_scaled(acc[i], f[i].y, x + (k + 1) * tile_stride<DP>());
            add_scaled(acc[i], f[i].z, x + (k + 2) * tile_stride<DP>());
            add_scaled(acc[i], f[i].w, x + (k + 3) * tile_stride<DP>());
        }
    }
}

// put_tile writes an operand of product_nn: this thread's elements of [16·R, 8·C].
template <int R, int C> DEV void put_tile(float *w, const float (&x)[R][C]) {
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++)
            w[(tile_ty() + 16 * i) * (8 * C + 8) + tile_tx() + 8 * j] = x[i][j];
}

// each_element replaces x[i][j] by f(x[i][j], row, column) for what is seldom wanted and long: the elements pass through shared memory
// (a tile for put_tile), so that the code stands here once and not once for each.
template <int R, int C, class F> DEV void each_element(float (&x)[R][C], float *w, F f) {
    put_tile(w, x);
#pragma unroll 1
    for (int i = 0; i < R * C; i++) {
        int row = tile_ty() + i / C * 16, column = tile_tx() + i % C * 8;
        float *at = w + row * (8 * C + 8) + column;
        *at = f(*at, row, column);
    }
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++)
            x[i][j] = w[(tile_ty() + 16 * i) * (8 * C + 8) + tile_tx() + 8 * j];
}

// put_row writes this thread's columns of a row of results, times factor.
template <int C> DEV void put_row(float *row, const float (&acc)[C], float factor, int d, bool aligned) {
#pragma unroll
    for (int c = 0; c < C; c += 4) {
        int at = tile_tx() * 4 + 8 * c;
        if (aligned && at < d)
            *(float4 *)(row + at) = make_float4(acc[c] * factor, acc[c + 1] * factor, acc[c + 2] * factor, acc[c + 3] * factor);
        else
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (at + i < d)
                    row[at + i] = acc[c + i] * factor;
    }
}
