// Flash attention forward by tensor cores: a warp owns 16·MT rows of one key head, a block 64·MT, and walks over tiles of N keys. V's copy
// runs while scores are computed, the next keys' copy while P·V is; queries are read as float32 and rounded on the way, for a block reads
// them once. Two tiles of 16 rows halve what a warp reads of K and V from shared memory for each product, which else is the limit.
#pragma once
#include "attention_mma.h"

template <class T, int DP, int MT, int N> struct MmaForward {
    enum { M = 64 * MT, NT = N / 8, DT = DP / 8 };
    Attention a;
    int row0, rows;
    float acc[MT][DT][4], top[MT][2], total[MT][2];

    // The first of this warp's rows, within the tile, and this lane's row of half h of m.
    INLINE int warp_row() const { return warp_index() * 16 * MT; }
    INLINE int row(int m, int h) const { return warp_row() + 16 * m + lane_index() / 4 + 8 * h; }

    INLINE void load_queries(T *q, const float *x) {
        for (int i = threadIdx.x; i < M * (DP / 8); i += MMA_THREADS) {
            int r = i / (DP / 8), c = i % (DP / 8) * 8;
            float v[8];
            const float *from = x + (r < rows ? a.query(row0 + r) * a.d : 0);
            if ((a.flags & ALIGNED) && r < rows && c + 8 <= a.d) {
                float4 lo = *(const float4 *)(from + c), hi = *(const float4 *)(from + c + 4);
                v[0] = lo.x, v[1] = lo.y, v[2] = lo.z, v[3] = lo.w, v[4] = hi.x, v[5] = hi.y, v[6] = hi.z, v[7] = hi.w;
            } else {
#pragma unroll
                for (int e = 0; e < 8; e++)
                    v[e] = r < rows && c + e < a.d ? from[c + e] : 0.0f;
            }
            *(uint4 *)piece<DP>(q, r, c / 8) = make_uint4(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]), pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
        }
    }

    // scores makes products scores in units of log2.
    INLINE void scores(float (&s)[MT][NT][4], int first) {
        if (plain(a)) {
            float factor = a.scale * LOG2E;
            each(s, first, [&](float &x, int, int) { x *= factor; });
        } else {
            float slopes[MT][2];
#pragma unroll
            for (int i = 0; i < 2 * MT; i++)
                slopes[i / 2][i % 2] = a.slope(row0 + min(row(i / 2, i % 2), rows - 1));
            each(s, first, [&](float &x, int i, int key) { x = short_score(a, x * a.scale, slopes[i / 2][i % 2], key) * LOG2E; });
        }
        if (first + N <= a.span.k_len && a.sees_all(a.position(row0), a.position(row0 + rows - 1), first, first + N))
            return;
        int at[MT][2];
#pragma unroll
        for (int i = 0; i < 2 * MT; i++)
            at[i / 2][i % 2] = a.position(row0 + row(i / 2, i % 2));
        each(s, first, [&](float &x, int i, int key) {
            if (key >= a.span.k_len || !a.sees(at[i / 2][i % 2], key))
                x = NO_SCORE;
        });
    }

    // each calls f(s, 2·m + half, key) for this lane's elements.
    template <class F> INLINE void each(float (&s)[MT][NT][4], int first, F f) {
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    f(s[m][n][e], 2 * m + e / 2, first + 8 * n + lane_index() % 4 * 2 + e % 2);
    }

    // softmax turns scores into exponentials, and shrinks what was summed before. A row's columns lie in four lanes.
    INLINE void softmax(float (&s)[MT][NT][4]) {
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float most = top[m][h];
#pragma unroll
                for (int n = 0; n < NT; n++)
                    most = fmaxf(most, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
                most = fmaxf(most, __shfl_xor_sync(FULL_MASK, most, 1));
                most = fmaxf(most, __shfl_xor_sync(FULL_MASK, most, 2));
                float base = most == NO_SCORE ? 0.0f : most, shrink = fast_exp2(top[m][h] - base), sum = 0.0f;
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int e = 2 * h; e < 2 * h + 2; e++) {
                        s[m][n][e] = fast_exp2(s[m][n][e] - base);
                        sum += s[m][n][e];
                    }
                top[m][h] = most;
                total[m][h] = fmaf(total[m][h], shrink, sum); // of this lane's keys
#pragma unroll
                for (int n = 0; n < DT; n++)
                    acc[m][n][2 * h] *= shrink, acc[m][n][2 * h + 1] *= shrink;
            }
    }

    INLINE void run(T *shared, const float *Q, const T *K, const T *V) {
        T *q = shared, *k = q + M * tile_width<DP>(), *v = k + N * tile_width<DP>();
        K += a.packed_key(0) * DP, V += a.packed_key(0) * DP;
        int end = a.span.k_len;
        KeyTiles t;
        t.open(a, a.position(row0), a.position(row0 + rows - 1), 0, end, N);
        if (t.more())
            load_packed<DP, N>(k, K + (long long)t.first * DP, end - t.first);
        cp_async_commit();
        load_queries(q, Q);
        while (t.more()) {
            int first = t.first;
            cp_async_wait<0>();
            __syncthreads(); // the keys are there, and nobody reads the last values any more
            load_packed<DP, N>(v, V + (long long)first * DP, end - first);
            cp_async_commit();
            float s[MT][NT][4];
            product_nt<T, DP>(s, q, warp_row(), k);
            scores(s, first);
            softmax(s);
            cp_async_wait<0>();
            __syncthreads(); // the values are there, and nobody reads the keys any more
            t.next(a, N);
            if (t.more())
                load_packed<DP, N>(k, K + (long long)t.first * DP, end - t.first);
            cp_async_commit();
            product_nn<T, DP>(acc, s, v, 0);
        }
        cp_async_wait<0>();
    }

    INLINE void close(float *out, float *lse) {
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float sum = total[m][h];
                sum += __shfl_xor_sync(FULL_MASK, sum, 1);
                sum += __shfl_xor_sync(FULL_MASK, sum, 2);
                if (row(m, h) >= rows)
                    continue;
                long long at = a.query(row0 + row(m, h));
                float inverse = sum == 0.0f ? 0.0f : 1.0f / sum; // a NaN stays
#pragma unroll
                for (int n = 0; n < DT; n++)
                    put_pair(out + at * a.d, 8 * n + lane_index() % 4 * 2, a.d, a.flags & ALIGNED,
                             acc[m][n][2 * h] * inverse, acc[m][n][2 * h + 1] * inverse);
                if (lse && lane_index() % 4 == 0)
                    lse[at] = fmaf(top[m][h], LN2, logf(sum));
            }
    }
};

template <class T, int DP, int MT, int N>
DEV void mma_forward(ATTENTION_ARGS, const float *q, const T *k, const T *v, float *out, float *lse) {
    DYN_SHARED(T, shared);
    MmaForward<T, DP, MT, N> f;
    f.a = find_span(ATTENTION_VALUES, (int)(gridDim.x - 1 - blockIdx.x), (int)blockIdx.y); // the last tiles see most keys
    f.row0 = f.a.tile * f.M;
    f.rows = min((int)f.M, f.a.rows() - f.row0);
    clear(f.acc);
#pragma unroll
    for (int m = 0; m < MT; m++)
        f.top[m][0] = f.top[m][1] = NO_SCORE, f.total[m][0] = f.total[m][1] = 0.0f;
    f.run(shared, q, k, v);
    f.close(out, lse);
}

#define FORWARD_MMA(NAME, T, DP, MT, N)                                                                                             \
    KERNEL_BOUNDS(attention_forward_##NAME##_##DP, MMA_THREADS, 2, ATTENTION_ARGS, const float *q, const T *k, const T *v,          \
                  float *out, float *lse) {                                                                                         \
        mma_forward<T, DP, MT, N>(ATTENTION_VALUES, q, k, v, out, lse);                                                             \
    }
