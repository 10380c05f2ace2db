// Tiles of attention by tensor cores: operands of 16 bits, sums and softmax in float32. 128 threads are four warps; a warp holds results
// [16, 8·n] as mma.m16n8k16 has them: of each 8 columns rows lane/4 and lane/4+8, columns 2·(lane%4) and the next. Such results, rounded
// and packed, are at once the left operand of the next product (FlashAttention-2, Dao 2023): probabilities never leave registers.
//
// Tiles in shared memory are rows of DP elements in pieces of 16 bytes, as ldmatrix reads them. Eight rows at one column have to lie in
// eight different groups of banks: where a row is a multiple of 128 bytes, piece c of row r lies at c^(r%8), else a row is padded to an
// odd number of pieces.
#pragma once
#include "attention.h"

enum { MMA_THREADS = 128, MMA_WARPS = 4 };
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f

template <int DP> DEV constexpr int tile_width() { return DP % 64 ? DP + 8 : DP; }
template <int DP, class T> DEV T *piece(T *tile, int row, int c) {
    return tile + row * tile_width<DP>() + (DP % 64 ? c : c ^ (row & 7)) * 8;
}

DEV int warp_index() { return threadIdx.x / WARP; }
DEV int lane_index() { return threadIdx.x % WARP; }

// load_packed starts the copy of N rows of DP elements, which follow each other in memory, zeros from row n on.
template <int DP, int N, class T> DEV void load_packed(T *tile, const T *x, int n) {
#pragma unroll
    for (int i = threadIdx.x; i < N * (DP / 8); i += MMA_THREADS) {
        int r = i / (DP / 8), c = i % (DP / 8);
        cp_async_16(piece<DP>(tile, r, c), r < n ? x + (long long)r * DP + c * 8 : x, r < n);
    }
}

// The left operand [16, 16]: rows from row on, columns from 16·k on.
template <int DP, class T> DEV void left(unsigned (&r)[4], T *tile, int row, int k) {
    int lane = lane_index();
    ldmatrix_x4(r, piece<DP>(tile, row + lane % 16, 2 * k + lane / 16));
}

// Two right operands [16, 8] whose columns are rows of the tile from row on: of X·Yᵀ, Y as it lies.
template <int DP, class T> DEV void right_rows(unsigned (&b0)[2], unsigned (&b1)[2], T *tile, int row, int k) {
    int lane = lane_index();
    unsigned r[4];
    ldmatrix_x4(r, piece<DP>(tile, row + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
    b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
}

// Two right operands [16, 8] whose rows are rows of the tile from row on, columns from 8·c on: of X·Y.
template <int DP, class T> DEV void right_columns(unsigned (&b0)[2], unsigned (&b1)[2], T *tile, int row, int c) {
    int lane = lane_index();
    unsigned r[4];
    ldmatrix_x4_trans(r, piece<DP>(tile, row + lane % 16, c + lane / 16));
    b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
}

template <int M, int N> DEV void clear(float (&acc)[M][N][4]) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
            acc[m][n][0] = acc[m][n][1] = acc[m][n][2] = acc[m][n][3] = 0.0f;
}

// product_nt: acc[m] = rows row+16m… of a · (rows of b)ᵀ over DP columns.
template <class T, int DP, int M, int N> DEV void product_nt(float (&acc)[M][N][4], T *a, int row, T *b) {
    clear(acc);
#pragma unroll 2
    for (int k = 0; k < DP / 16; k++) {
        unsigned x[M][4];
#pragma unroll
        for (int m = 0; m < M; m++)
            left<DP>(x[m], a, row + 16 * m, k);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            unsigned b0[2], b1[2];
            right_rows<DP>(b0, b1, b, 8 * n, k);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_16816<T>(acc[m][n], x[m], b0);
                mma_16816<T>(acc[m][n + 1], x[m], b1);
            }
        }
    }
}

// product_nn: acc[m] += w[m]·(rows of b), columns from 8·column on; w are results, rounded to T.
template <class T, int DP, int M, int K, int N>
DEV void product_nn(float (&acc)[M][N][4], const float (&w)[M][K][4], T *b, int column) {
#pragma unroll
    for (int k = 0; k < K; k += 2) {
        unsigned x[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            x[m][0] = pack2<T>(w[m][k][0], w[m][k][1]), x[m][1] = pack2<T>(w[m][k][2], w[m][k][3]);
            x[m][2] = pack2<T>(w[m][k + 1][0], w[m][k + 1][1]), x[m][3] = pack2<T>(w[m][k + 1][2], w[m][k + 1][3]);
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            unsigned b0[2], b1[2];
            right_columns<DP>(b0, b1, b, 8 * k, column + n);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_16816<T>(acc[m][n], x[m], b0);
                mma_16816<T>(acc[m][n + 1], x[m], b1);
            }
        }
    }
}

// short_score is score with a short tanh, whose error of a few 1e-7 of softcap is far below what 16-bit operands leave.
DEV float short_score(const Attention &a, float s, float slope, int j) {
    if (a.alibi)
        s = fmaf(bf16_round(slope * bf16_round((float)j)), a.scale, s);
    if (a.softcap > 0.0f)
        s = a.softcap - 2.0f * a.softcap / (1.0f + fast_exp2(s / a.softcap * (2.0f * LOG2E)));
    return s;
}

// put_pair writes columns c and c+1 of a row of d floats.
DEV void put_pair(float *row, int c, int d, bool aligned, float x, float y) {
    if (aligned) {
        if (c < d)
            *(float2 *)(row + c) = make_float2(x, y);
        return;
    }
    if (c < d)
        row[c] = x;
    if (c + 1 < d)
        row[c + 1] = y;
}
