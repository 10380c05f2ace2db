// Flash attention forward in float32 (Dao 2022, 2023): a block owns M rows of one key head and walks over tiles of N keys with an
// online softmax. V's copy runs while scores are computed, the next keys' copy while P·V is.
#pragma once
#include "attention_tile.h"

// M is 64, or 32 for heads of 256, for shared memory; of a span with few rows and many keys (decoding) it is 16, and its keys are
// split into chunks, which attention_combine puts together.
template <int DP, int M, int N> struct Forward {
    enum { R = M / 16, C = N / 8, COLUMNS = DP / 8 };
    Attention a;
    int row0, rows; // of the span; rows in use
    float *q, *k, *v, *p;
    float acc[R][COLUMNS], top[R], total[R];

    INLINE bool in_use() const { return (int)(threadIdx.x / WARP * 4) < rows; } // some row of this warp

    INLINE void open(float *shared) {
        q = shared;
        k = q + M * tile_stride<DP>();
        v = k + N * tile_stride<DP>();
        p = v + N * tile_stride<DP>();
        clear(acc);
#pragma unroll
        for (int i = 0; i < R; i++)
            top[i] = NO_SCORE, total[i] = 0.0f;
    }

    // scores makes products with keys from first on scores; no key is seen from end on.
    INLINE void scores(float (&s)[R][C], int first, int end) {
        int lowest = a.position(row0), highest = a.position(row0 + rows - 1);
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
            for (int j = 0; j < C; j++)
                s[i][j] *= a.scale;
        if (!plain(a))
            each_element(s, p, [&](float x, int r, int j) { return score(a, x, a.slope(row0 + min(r, rows - 1)), first + j); });
        if (first + N <= end && a.sees_all(lowest, highest, first, first + N))
            return;
#pragma unroll
        for (int i = 0; i < R; i++) {
            int at = a.position(row0 + tile_ty() + 16 * i);
#pragma unroll
            for (int j = 0; j < C; j++) {
                int key = first + tile_tx() + 8 * j;
                if (key >= end || !a.sees(at, key))
                    s[i][j] = NO_SCORE;
            }
        }
    }

    // softmax turns scores into exponentials, and shrinks what was summed before.
    INLINE void softmax(float (&s)[R][C]) {
#pragma unroll
        for (int i = 0; i < R; i++) {
            float most = top[i];
#pragma unroll
            for (int j = 0; j < C; j++)
                most = fmaxf(most, s[i][j]);
            for (int o = 1; o < 8; o *= 2)
                most = fmaxf(most, __shfl_xor_sync(FULL_MASK, most, o));
            float base = most == NO_SCORE ? 0.0f : most, shrink = expf(top[i] - base), sum = 0.0f;
#pragma unroll
            for (int j = 0; j < C; j++) {
                s[i][j] = expf(s[i][j] - base);
                sum += s[i][j];
            }
            top[i] = most;
            total[i] = fmaf(total[i], shrink, sum); // of this lane's keys
#pragma unroll
            for (int c = 0; c < COLUMNS; c++)
                acc[i][c] *= shrink;
        }
    }

    INLINE void run(const float *Q, const float *K, const float *V, int from, int to) {
        KeyTiles t;
        t.open(a, a.position(row0), a.position(row0 + rows - 1), from, to, N);
        if (t.more()) {
            load_rows<DP, M>(q, Q, nullptr, nullptr, a, row0, a.rows());
            load_keys<DP, N>(k, K, a, t.first, to);
        }
        cp_async_commit();
        while (t.more()) {
            int first = t.first;
            cp_async_wait<0>();
            __syncthreads(); // the keys are there, and nobody reads the last values any more
            load_keys<DP, N>(v, V, a, first, to);
            cp_async_commit();
            float s[R][C];
            if (in_use()) {
                product_nt<DP>(s, q, k, a.d);
                scores(s, first, to);
                softmax(s);
                put_tile(p, s);
            }
            cp_async_wait<0>();
            __syncthreads(); // the values are there, and nobody reads the keys any more
            t.next(a, N);
            if (t.more())
                load_keys<DP, N>(k, K, a, t.first, to);
            cp_async_commit();
            if (in_use())
                product_nn<DP, N>(acc, p, v);
        }
        cp_async_wait<0>();
    }

    // close writes the rows to out + at(r)·d and their log-sum-exp.
    template <class At> INLINE void close(float *out, float *lse, At at) {
#pragma unroll
        for (int i = 0; i < R; i++) {
            for (int o = 1; o < 8; o *= 2)
                total[i] += __shfl_xor_sync(FULL_MASK, total[i], o);
            int r = tile_ty() + 16 * i;
            if (r >= rows)
                continue;
            long long row = at(row0 + r);
            put_row(out + row * a.d, acc[i], total[i] == 0.0f ? 0.0f : 1.0f / total[i], a.d, a.flags & ALIGNED); // a NaN stays
            if (lse && tile_tx() == 0)
                lse[row] = top[i] + logf(total[i]);
        }
    }
};

template <int DP, int M, int N>
DEV void forward(ATTENTION_ARGS, const float *q, const float *k, const float *v, float *out, float *lse) {
    DYN_SHARED(float, shared);
    Forward<DP, M, N> f;
    f.a = find_span(ATTENTION_VALUES, (int)(gridDim.x - 1 - blockIdx.x), (int)blockIdx.y); // the last tiles see most keys
    f.row0 = f.a.tile * M;
    f.rows = min(M, f.a.rows() - f.row0);
    f.open(shared);
    f.run(q, k, v, 0, f.a.span.k_len);
    const Attention &a = f.a;
    f.close(out, lse, [&](int r) { return a.query(r); });
}

// Few rows, many keys: tile t of a span is chunk t/tiles, rows from t%tiles·16 on. Of a span of several chunks the results are
// [chunk, row, key head] from the span's place in part on.
template <int DP, int N>
DEV void forward_split(ATTENTION_ARGS, const float *q, const float *k, const float *v, float *out, float *lse, float *part, float *part_lse) {
    DYN_SHARED(float, shared);
    Forward<DP, 16, N> f;
    f.a = find_span(ATTENTION_VALUES, (int)blockIdx.x, (int)blockIdx.y);
    int tiles = (f.a.rows() + 15) / 16, chunk = f.a.tile / tiles, keys = key_chunk(f.a.span.k_len);
    f.row0 = f.a.tile % tiles * 16;
    f.rows = min(16, f.a.rows() - f.row0);
    f.open(shared);
    f.run(q, k, v, chunk * keys, min(f.a.span.k_len, (chunk + 1) * keys));
    const Attention &a = f.a;
    if (a.span.k_len <= keys)
        f.close(out, lse, [&](int r) { return a.query(r); });
    else
        f.close(part, part_lse, [&](int r) { return a.span.keys + ((long long)chunk * a.rows() + r) * a.kv_heads + a.kv; });
}

#define FORWARD_F32(DP, M, N)                                                                                                            \
    KERNEL_BOUNDS(attention_forward_f32_##DP, TILE_THREADS, 2, ATTENTION_ARGS, const float *q, const float *k, const float *v,        \
                  float *out, float *lse) {                                                                                           \
        forward<DP, M, N>(ATTENTION_VALUES, q, k, v, out, lse);                                                                       \
    }                                                                                                                                 \
    KERNEL_BOUNDS(attention_split_f32_##DP, TILE_THREADS, 4, ATTENTION_ARGS, const float *q, const float *k, const float *v,          \
                  float *out, float *lse, float *part, float *part_lse) {                                                             \
        forward_split<DP, N>(ATTENTION_VALUES, q, k, v, out, lse, part, part_lse);                                                    \
    }
