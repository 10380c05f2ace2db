// Flash attention backward in float32: probabilities are computed again from Q, K and the forward pass' log-sum-exp. Two kernels, so
// that every sum has one owner and one order: attention_keys owns keys and walks over the rows that see them, attention_queries owns
// rows and walks over the keys they see. delta[row] = dout·out comes from attention_delta.
#pragma once
#include "attention_tile.h"

#define BACKWARD_ARGS const float *q, const float *k, const float *v, const float *dout, const float *lse, const float *delta
#define BACKWARD_VALUES q, k, v, dout, lse, delta

// gradient makes a score s its probability, and g = dout·v the gradient of the scaled product.
DEV void gradient(float &s, float &g, float lse, float delta, float inverse, bool seen) {
    float p = seen ? expf(s - lse) : 0.0f;
    g = p * (g - delta) * score_slope(s, inverse);
    s = p;
}

template <int R, int C> DEV void multiply(float (&x)[R][C], float factor) {
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++)
            x[i][j] *= factor;
}

// A block owns N keys and takes M rows at a time: s is transposed, [keys, rows].
template <int DP, int N, int M> DEV void backward_keys(ATTENTION_ARGS, BACKWARD_ARGS, float *dk, float *dv) {
    enum { R = N / 16, C = M / 8, COLUMNS = DP / 8, STRIDE = DP + 4 };
    DYN_SHARED(float, shared);
    float *sk = shared, *sv = sk + N * STRIDE, *sq = sv + N * STRIDE, *sd = sq + M * STRIDE;
    float *sp = sd + M * STRIDE, *ss = sp + N * (M + 8), *row_lse = ss + N * (M + 8), *row_delta = row_lse + M, *row_slope = row_delta + M;
    int *row_at = (int *)(row_slope + M);
    const Attention a = find_span(ATTENTION_VALUES, (int)blockIdx.x, (int)blockIdx.y); // the first tiles are seen by most rows
    int first = a.tile * N, last = min(a.span.k_len, first + N) - 1, from, to;
    seeing_rows(a, first, last, &from, &to);
    float gk[R][COLUMNS], gv[R][COLUMNS], inverse = softcap > 0.0f ? 1.0f / softcap : 0.0f;
    clear(gk);
    clear(gv);
    load_keys<DP, N>(sk, k, a, first, a.span.k_len);
    load_keys<DP, N>(sv, v, a, first, a.span.k_len);
    for (int row0 = from; row0 < to; row0 += M) {
        __syncthreads(); // nobody reads the last rows any more
        load_rows<DP, M>(sq, q, sd, dout, a, row0, to);
        if (threadIdx.x < M) {
            int r = row0 + threadIdx.x, valid = r < to;
            long long row = a.query(valid ? r : row0);
            row_lse[threadIdx.x] = lse[row];
            row_delta[threadIdx.x] = delta[row];
            row_slope[threadIdx.x] = a.slope(valid ? r : row0);
            row_at[threadIdx.x] = a.position(valid ? r : row0);
        }
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        float s[R][C], g[R][C];
        product_nt<DP>(s, sk, sq, d);
        product_nt<DP>(g, sv, sd, d);
        multiply(s, scale);
        if (!plain(a))
            each_element(s, sp, [&](float x, int key, int r) { return score(a, x, row_slope[r], first + key); });
        bool masked = row0 + M > to || last + 1 < first + N || !a.sees_all(a.position(row0), a.position(row0 + M - 1), first, first + N);
#pragma unroll
        for (int j = 0; j < C; j++) {
            int r = tile_tx() + 8 * j, at = row_at[r];
#pragma unroll
            for (int i = 0; i < R; i++) {
                int key = first + tile_ty() + 16 * i;
                bool seen = !masked || (row0 + r < to && key <= last && a.sees(at, key));
                gradient(s[i][j], g[i][j], row_lse[r], row_delta[r], inverse, seen);
            }
        }
        put_tile(sp, s);
        put_tile(ss, g);
        __syncwarp();
        product_nn<DP, M>(gv, sp, sd);
        product_nn<DP, M>(gk, ss, sq);
    }
    cp_async_wait<0>();
#pragma unroll
    for (int i = 0; i < R; i++) {
        int key = first + tile_ty() + 16 * i;
        if (key > last)
            continue;
        put_row(dk + a.key(key) * d, gk[i], scale, d, flags & ALIGNED);
        put_row(dv + a.key(key) * d, gv[i], 1.0f, d, flags & ALIGNED);
    }
}

// A block owns M rows and takes N keys at a time.
template <int DP, int M, int N> DEV void backward_queries(ATTENTION_ARGS, BACKWARD_ARGS, float *dq) {
    enum { R = M / 16, C = N / 8, COLUMNS = DP / 8, STRIDE = DP + 4 };
    DYN_SHARED(float, shared);
    float *sq = shared, *sd = sq + M * STRIDE, *sk = sd + M * STRIDE, *sv = sk + N * STRIDE, *ss = sv + N * STRIDE;
    const Attention a = find_span(ATTENTION_VALUES, (int)(gridDim.x - 1 - blockIdx.x), (int)blockIdx.y);
    int row0 = a.tile * M, rows = min(M, a.rows() - row0), lowest = a.position(row0), highest = a.position(row0 + rows - 1);
    float gq[R][COLUMNS], row_lse[R], row_delta[R], inverse = softcap > 0.0f ? 1.0f / softcap : 0.0f;
    int row_at[R];
    clear(gq);
    load_rows<DP, M>(sq, q, sd, dout, a, row0, a.rows());
#pragma unroll
    for (int i = 0; i < R; i++) {
        int r = min(row0 + tile_ty() + 16 * i, a.rows() - 1);
        row_lse[i] = lse[a.query(r)];
        row_delta[i] = delta[a.query(r)];
        row_at[i] = a.position(r);
    }
    KeyTiles t;
    for (t.open(a, lowest, highest, 0, a.span.k_len, N); t.more(); t.next(a, N)) {
        int first = t.first;
        __syncthreads(); // nobody reads the last keys any more
        load_keys<DP, N>(sk, k, a, first, a.span.k_len);
        load_keys<DP, N>(sv, v, a, first, a.span.k_len);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        float s[R][C], g[R][C];
        product_nt<DP>(s, sq, sk, d);
        product_nt<DP>(g, sd, sv, d);
        multiply(s, scale);
        if (!plain(a))
            each_element(s, ss, [&](float x, int r, int key) { return score(a, x, a.slope(row0 + min(r, rows - 1)), first + key); });
        bool masked = first + N > a.span.k_len || !a.sees_all(lowest, highest, first, first + N);
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
            for (int j = 0; j < C; j++) {
                int key = first + tile_tx() + 8 * j;
                bool seen = !masked || (key < a.span.k_len && a.sees(row_at[i], key));
                gradient(s[i][j], g[i][j], row_lse[i], row_delta[i], inverse, seen);
            }
        put_tile(ss, g);
        __syncwarp();
        product_nn<DP, N>(gq, ss, sk);
    }
    cp_async_wait<0>();
#pragma unroll
    for (int i = 0; i < R; i++)
        if (int r = tile_ty() + 16 * i; r < rows)
            put_row(dq + a.query(row0 + r) * d, gq[i], scale, d, flags & ALIGNED);
}

// OWN rows or keys are a block's own, OTHER are those it takes at a time.
#define BACKWARD_F32(DP, OWN, OTHER)                                                                                \
    KERNEL_BOUNDS(attention_keys_f32_##DP, TILE_THREADS, 2, ATTENTION_ARGS, BACKWARD_ARGS, float *dk, float *dv) { \
        backward_keys<DP, OWN, OTHER>(ATTENTION_VALUES, BACKWARD_VALUES, dk, dv);                                \
    }                                                                                                            \
    KERNEL_BOUNDS(attention_queries_f32_##DP, TILE_THREADS, 2, ATTENTION_ARGS, BACKWARD_ARGS, float *dq) {       \
        backward_queries<DP, OWN, OTHER>(ATTENTION_VALUES, BACKWARD_VALUES, dq);                                 \
    }
