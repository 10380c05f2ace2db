// Flash attention backward by tensor cores, as attention_backward_f32.h: one kernel owns keys, one owns rows, so that no sum has two
// owners. What a block walks over is copied one tile ahead.
#pragma once
#include "attention_mma.h"

#define MMA_BACKWARD_ARGS(T) const T *q, const T *k, const T *v, const T *dout, const float *lse, const float *delta
#define MMA_BACKWARD_VALUES q, k, v, dout, lse, delta

// mma_gradient makes a score s its probability, and g = dout·v the gradient of the scaled product.
DEV void mma_gradient(float &s, float &g, float lse, float delta, float inverse) {
    float p = fast_exp2((s - lse) * LOG2E);
    g = p * (g - delta) * score_slope(s, inverse);
    s = p;
}

// each_element calls f(s, g, row, column) for this lane's elements of a warp's results, both counted from the warp's first.
template <int NT, class F> DEV void each_element(float (&s)[1][NT][4], float (&g)[1][NT][4], F f) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            f(s[0][n][e], g[0][n][e], lane_index() / 4 + e / 2 * 8, 8 * n + lane_index() % 4 * 2 + e % 2);
}

// RowNumbers are what the kernel that owns keys needs of each of M rows.
template <int M> struct RowNumbers {
    float lse[M], delta[M], slope[M];
    int at[M];

    INLINE void load(const Attention &a, const float *Lse, const float *Delta, int row0, int to) {
        if (threadIdx.x >= M)
            return;
        int i = threadIdx.x, r = row0 + i;
        bool valid = r < to;
        long long row = a.query(valid ? r : row0);
        cp_async_4(&lse[i], Lse + row, valid);
        cp_async_4(&delta[i], Delta + row, valid);
        slope[i] = a.slope(valid ? r : row0);
        at[i] = a.position(valid ? r : row0);
    }
};

// A block owns 64/PARTS keys and takes M rows at a time: scores are transposed, a warp has 16 keys and DP/PARTS of the columns of dk and
// dv. With heads of 256 two warps share keys, for both sums would not fit a thread's registers; each computes the scores.
template <class T, int DP, int PARTS, int M> DEV void mma_backward_keys(ATTENTION_ARGS, MMA_BACKWARD_ARGS(T), float *dk, float *dv) {
    enum { N = 64 / PARTS, MT = M / 8, DT = DP / 8 / PARTS, WIDTH = DP % 64 ? DP + 8 : DP };
    DYN_SHARED(T, sk);
    T *sv = sk + N * WIDTH, *sq = sv + N * WIDTH, *sd = sq + 2 * M * WIDTH;
    RowNumbers<M> *numbers = (RowNumbers<M> *)(sd + 2 * M * WIDTH);
    const Attention a = find_span(ATTENTION_VALUES, (int)blockIdx.x, (int)blockIdx.y); // the first tiles are seen by most rows
    int first = a.tile * N, last = min(a.span.k_len, first + N) - 1, from, to;
    seeing_rows(a, first, last, &from, &to);
    int warp_key = warp_index() / PARTS * 16, column = warp_index() % PARTS * DT;
    float gk[1][DT][4], gv[1][DT][4], inverse = softcap > 0.0f ? 1.0f / softcap : 0.0f;
    clear(gk);
    clear(gv);
    load_packed<DP, N>(sk, k + a.packed_key(first) * DP, last + 1 - first);
    load_packed<DP, N>(sv, v + a.packed_key(first) * DP, last + 1 - first);
    auto load = [&](int row0, int stage) {
        if (row0 < to) {
            load_packed<DP, M>(sq + stage * M * WIDTH, q + a.packed_row(row0) * DP, to - row0);
            load_packed<DP, M>(sd + stage * M * WIDTH, dout + a.packed_row(row0) * DP, to - row0);
            numbers[stage].load(a, lse, delta, row0, to);
        }
        cp_async_commit();
    };
    load(from, 0);
    for (int row0 = from, stage = 0; row0 < to; row0 += M, stage ^= 1) {
        load(row0 + M, stage ^ 1);
        cp_async_wait<1>();
        __syncthreads();
        T *rows_q = sq + stage * M * WIDTH, *rows_d = sd + stage * M * WIDTH;
        const RowNumbers<M> &row = numbers[stage];
        float s[1][MT][4], g[1][MT][4];
        product_nt<T, DP>(s, sk, warp_key, rows_q);
        product_nt<T, DP>(g, sv, warp_key, rows_d);
        bool masked = row0 + M > to || last + 1 < first + N || !a.sees_all(a.position(row0), a.position(row0 + M - 1), first, first + N);
        each_element(s, g, [&](float &x, float &, int, int) { x *= scale; });
        if (!plain(a))
            each_element(s, g, [&](float &x, float &, int j, int r) { x = short_score(a, x, row.slope[r], first + warp_key + j); });
        each_element(s, g, [&](float &x, float &y, int, int r) { mma_gradient(x, y, row.lse[r], row.delta[r], inverse); });
        if (masked)
            each_element(s, g, [&](float &x, float &y, int j, int r) {
                int key = first + warp_key + j;
                if (row0 + r >= to || key > last || !a.sees(row.at[r], key))
                    x = y = 0.0f;
            });
        product_nn<T, DP>(gv, s, rows_d, column);
        product_nn<T, DP>(gk, g, rows_q, column);
        __syncthreads(); // nobody reads these rows any more
    }
    cp_async_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int key = first + warp_key + lane_index() / 4 + 8 * h;
        if (key > last)
            continue;
#pragma unroll
        for (int n = 0; n < DT; n++) {
            int c = 8 * (column + n) + lane_index() % 4 * 2;
            put_pair(dk + a.key(key) * d, c, d, flags & ALIGNED, gk[0][n][2 * h] * scale, gk[0][n][2 * h + 1] * scale);
            put_pair(dv + a.key(key) * d, c, d, flags & ALIGNED, gv[0][n][2 * h], gv[0][n][2 * h + 1]);
        }
    }
}

// A block owns 64 rows, a warp 16, and takes N keys at a time.
template <class T, int DP, int N> DEV void mma_backward_queries(ATTENTION_ARGS, MMA_BACKWARD_ARGS(T), float *dq) {
    enum { M = 64, NT = N / 8, DT = DP / 8, WIDTH = DP % 64 ? DP + 8 : DP };
    DYN_SHARED(T, sq);
    T *sd = sq + M * WIDTH, *sk = sd + M * WIDTH, *sv = sk + 2 * N * WIDTH;
    const Attention a = find_span(ATTENTION_VALUES, (int)(gridDim.x - 1 - blockIdx.x), (int)blockIdx.y);
    int row0 = a.tile * M, rows = min((int)M, a.rows() - row0), end = a.span.k_len, warp_row = warp_index() * 16;
    int lowest = a.position(row0), highest = a.position(row0 + rows - 1);
    float gq[1][DT][4], row_lse[2], row_delta[2], row_slope[2], inverse = softcap > 0.0f ? 1.0f / softcap : 0.0f;
    int row_at[2];
    clear(gq);
    load_packed<DP, M>(sq, q + a.packed_row(row0) * DP, rows);
    load_packed<DP, M>(sd, dout + a.packed_row(row0) * DP, rows);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = row0 + min(warp_row + lane_index() / 4 + 8 * h, rows - 1);
        row_lse[h] = lse[a.query(r)];
        row_delta[h] = delta[a.query(r)];
        row_slope[h] = a.slope(r);
        row_at[h] = a.position(r);
    }
    KeyTiles t;
    t.open(a, lowest, highest, 0, end, N);
    auto load = [&](int stage) {
        if (t.more()) {
            load_packed<DP, N>(sk + stage * N * WIDTH, k + a.packed_key(t.first) * DP, end - t.first);
            load_packed<DP, N>(sv + stage * N * WIDTH, v + a.packed_key(t.first) * DP, end - t.first);
        }
        cp_async_commit();
    };
    load(0);
    for (int stage = 0; t.more(); stage ^= 1) {
        int first = t.first;
        t.next(a, N);
        load(stage ^ 1);
        cp_async_wait<1>();
        __syncthreads();
        float s[1][NT][4], g[1][NT][4];
        product_nt<T, DP>(s, sq, warp_row, sk + stage * N * WIDTH);
        product_nt<T, DP>(g, sd, warp_row, sv + stage * N * WIDTH);
        bool masked = first + N > end || !a.sees_all(lowest, highest, first, first + N);
        each_element(s, g, [&](float &x, float &, int, int) { x *= scale; });
        if (!plain(a))
            each_element(s, g, [&](float &x, float &, int r, int j) { x = short_score(a, x, row_slope[r / 8], first + j); });
        each_element(s, g, [&](float &x, float &y, int r, int) { mma_gradient(x, y, row_lse[r / 8], row_delta[r / 8], inverse); });
        if (masked)
            each_element(s, g, [&](float &x, float &y, int r, int j) {
                if (first + j >= end || !a.sees(row_at[r / 8], first + j))
                    x = y = 0.0f;
            });
        product_nn<T, DP>(gq, g, sk + stage * N * WIDTH, 0);
        __syncthreads(); // nobody reads these keys any more
    }
    cp_async_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = warp_row + lane_index() / 4 + 8 * h;
        if (r >= rows)
            continue;
#pragma unroll
        for (int n = 0; n < DT; n++)
            put_pair(dq + a.query(row0 + r) * d, 8 * n + lane_index() % 4 * 2, d, flags & ALIGNED,
                     gq[0][n][2 * h] * scale, gq[0][n][2 * h + 1] * scale);
    }
}

// ROWS and KEYS are what the kernels that own keys and rows take at a time.
#define BACKWARD_MMA(NAME, T, DP, PARTS, ROWS, KEYS)                                                                                    \
    KERNEL_BOUNDS(attention_keys_##NAME##_##DP, MMA_THREADS, 2, ATTENTION_ARGS, MMA_BACKWARD_ARGS(T), float *dk, float *dv) {          \
        mma_backward_keys<T, DP, PARTS, ROWS>(ATTENTION_VALUES, MMA_BACKWARD_VALUES, dk, dv);                                          \
    }                                                                                                                                  \
    KERNEL_BOUNDS(attention_queries_##NAME##_##DP, MMA_THREADS, 2, ATTENTION_ARGS, MMA_BACKWARD_ARGS(T), float *dq) {                  \
        mma_backward_queries<T, DP, KEYS>(ATTENTION_VALUES, MMA_BACKWARD_VALUES, dq);                                                  \
    }
