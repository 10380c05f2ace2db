// Conversions between float types, and the gather and scatter of rows that an embedding is.
#include "rows.h"

// CAST: y[n] = x[n], to nearest even. Four elements a thread: 16 bytes of float, 8 of a 16-bit type.
#define CAST(name, T, U) \
    KERNEL(name, T *y, const U *x, long long n) { map(y, x, n, [](float v) { return v; }); }

CAST(cast_f32_bf16, bf16_t, float)
CAST(cast_f32_f16, f16_t, float)
CAST(cast_bf16_f32, float, bf16_t)
CAST(cast_f16_f32, float, f16_t)
CAST(cast_bf16_f16, f16_t, bf16_t)
CAST(cast_f16_bf16, bf16_t, f16_t)

// y[n,c] = scale·table[ids[n],c]: blockDim.x threads a row.
template <bool ALIGNED, class T> DEV void gather(float *y, const T *table, const int *ids, long long n, int c, float scale) {
    long long row = block_row();
    if (row >= n)
        return;
    y += row * c;
    table += (long long)ids[row] * c;
    for (int i = 4 * threadIdx.x; i < c; i += 4 * blockDim.x)
        put4<ALIGNED>(y, i, c, map4([=](float v) { return scale * v; }, get4<ALIGNED>(table, i, c)));
}

#define EMBEDDING(name, T)                                                                           \
    KERNEL(name, float *y, const T *table, const int *ids, long long n, int c, float scale) {        \
        if (c % 4 == 0 && aligned(y, table))                                                         \
            gather<true>(y, table, ids, n, c, scale);                                                \
        else                                                                                         \
            gather<false>(y, table, ids, n, c, scale);                                               \
    }

EMBEDDING(embedding_f32, float)
EMBEDDING(embedding_bf16, bf16_t)
EMBEDDING(embedding_f16, f16_t)

// The scatter adds rows of one id in the order of n, without atomics: ids are sorted first, stably, so that each id's rows form a run,
// which one block per tile of columns then adds up.

enum { SORT = 256 }; // threads of a block of sort_ids

// sort_ids sorts by counting who comes before: order[p] is the row at place p, sorted[p] its id. n² comparisons out of shared memory are
// 0.1 ms for 32k ids on an H100 by instruction count, and need neither a table of the vocabulary's size nor several launches.
KERNEL_BOUNDS(sort_ids, SORT, 4, int *order, int *sorted, const int *ids, int n) {
    __shared__ __align__(16) int tile[SORT];
    int me = blockIdx.x * SORT + threadIdx.x, id = me < n ? ids[me] : 0, place = 0;
    for (int at = 0; at < n; at += SORT) {
        __syncthreads();
        tile[threadIdx.x] = at + threadIdx.x < n ? ids[at + threadIdx.x] : 0x7fffffff; // beyond every id
        __syncthreads();
        // Rows of tiles before this block's go first among equals, rows of later tiles do not.
        int equal = at < (int)(blockIdx.x * SORT) ? id + 1 : id;
        if (at == (int)(blockIdx.x * SORT)) {
            for (int i = 0; i < SORT; i++)
                place += tile[i] < id || (tile[i] == id && i < threadIdx.x);
            continue;
        }
#pragma unroll 4
        for (int i = 0; i < SORT; i += 4) {
            int4 t = *(const int4 *)(tile + i);
            place += (t.x < equal) + (t.y < equal) + (t.z < equal) + (t.w < equal);
        }
    }
    if (me < n) {
        order[place] = me;
        sorted[place] = id;
    }
}

enum { SCATTER_ROWS = 8 }; // whose loads are on their way together

// dtable[sorted[p],:] += scale·dy[order[p],:], one rounding for the product and one for the sum as on the CPU. Block (p, tile) does
// nothing unless a run begins at p; otherwise it adds the run's rows in columns tile·4·blockDim.x … .
template <bool ALIGNED> DEV void scatter(float *dtable, const float *dy, const int *order, const int *sorted, int n, int c, float scale) {
    int p = blockIdx.x, id = sorted[p], i = 4 * (blockIdx.y * blockDim.x + threadIdx.x);
    if ((p > 0 && sorted[p - 1] == id) || i >= c)
        return;
    dtable += (long long)id * c;
    float4 sum = get4<ALIGNED>(dtable, i, c);
    auto add = [=](float s, float v) { return __fadd_rn(s, __fmul_rn(scale, v)); };
    sum = map4(add, sum, get4<ALIGNED>(dy + (long long)order[p] * c, i, c));
    for (int q = p + 1; q < n && sorted[q] == id; q += SCATTER_ROWS) {
        float4 v[SCATTER_ROWS];
        bool mine[SCATTER_ROWS];
#pragma unroll
        for (int k = 0; k < SCATTER_ROWS; k++) {
            mine[k] = q + k < n && sorted[q + k] == id;
            v[k] = mine[k] ? get4<ALIGNED>(dy + (long long)order[q + k] * c, i, c) : splat4(0);
        }
#pragma unroll
        for (int k = 0; k < SCATTER_ROWS; k++)
            if (mine[k])
                sum = map4(add, sum, v[k]);
    }
    put4<ALIGNED>(dtable, i, c, sum);
}

KERNEL_BOUNDS(embedding_backward, 128, 8, float *dtable, const float *dy, const int *order, const int *sorted, int n, int c, float scale) {
    if (c % 4 == 0 && aligned(dtable, dy))
        scatter<true>(dtable, dy, order, sorted, n, c, scale);
    else
        scatter<false>(dtable, dy, order, sorted, n, c, scale);
}
