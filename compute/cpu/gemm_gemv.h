// The template of a tier's products of few rows (generation): y[m,n] = x[m,·]·b[n,·], where rows of b are contiguous and each
// is read, and widened, once for all m. Included before gemm_kernel.h, which says what the including file defines.

#include <string.h> // memcpy

TARGET static void convert_run(float *dst, const lathe_matrix *m, int64_t e, int64_t n);
INLINE vec load_row(const void *p, int64_t i, int type);

enum {
    GEMV_ROWS = 4,     // columns of C at a time
    GEMV_DEPTH = 1024, // that are widened at a time, where x has several rows
    GEMV_BLOCKS = 256, // whose scales are computed at a time
};

// The order in which v_quant4 gives 32 elements.
#ifndef QUANT4_ORDER
#define QUANT4_ORDER /* the even ones before the odd ones */                                                                 \
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#endif
static const uint8_t quant4_order[QUANT4_STEP] = {QUANT4_ORDER};

// quant4_aligned says whether every row of a 4-bit operand starts a block and a byte. Others are widened a piece at a time.
static inline int quant4_aligned(const lathe_matrix *b, int64_t k) {
    return b->type == LATHE_QUANT4 && k % b->quant.block == 0 && b->cs == k;
}

// gemv_x lays x out as rows of b are read: zeros up to whole vectors; for 4 bits in the order of v_quant4.
TARGET static void gemv_x(float *dst, const lathe_matrix *a, int64_t m, int64_t k, const lathe_matrix *b, float scale) {
    const int64_t stride = gemv_stride(k);
    for (int64_t i = 0; i < m; i++, dst += stride) {
        if (a->cs == 1)
            convert_run(dst, a, i * a->rs, k);
        else
            for (int64_t j = 0; j < k; j++)
                convert_run(dst + j, a, i * a->rs + j * a->cs, 1);
        if (scale != 1)
            for (int64_t j = 0; j < k; j++)
                dst[j] *= scale;
        memset(dst + k, 0, (size_t)(stride - k) * sizeof *dst);
        if (!quant4_aligned(b, k))
            continue;
        for (int64_t j = 0; j < k; j += QUANT4_STEP) {
            float as_is[QUANT4_STEP];
            memcpy(as_is, dst + j, sizeof as_is);
#pragma GCC unroll 32
            for (int l = 0; l < QUANT4_STEP; l++)
                dst[j + l] = as_is[quant4_order[l]];
        }
    }
}

// quant4_scales writes the scales of n blocks, as quant4_scale has them: by themselves, because the products' loop is full.
TARGET static void quant4_scales(float *to, const lathe_quant4 *q, int64_t block, int64_t n) {
    if (q->absmax) {
        memcpy(to, q->absmax + block, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i] = q->map[q->codes[block + i]];
    for (int64_t i = 0; i < n;) {
        const float nested = q->nested[(block + i) >> 8], offset = *q->offset;
        const int64_t end = i + 256 - ((block + i) & 255);
        for (; i < end && i < n; i++)
            to[i] = to[i] * nested + offset;
    }
}

// dot_quant4 adds rows n … n+rows of an aligned 4-bit operand times one row of x. A block's scale is applied to the sum of its products.
INLINE void dot_quant4(vec acc[], int rows, const lathe_matrix *b, int64_t n, const float *x, int64_t k) {
    const int64_t block = b->quant.block, blocks = k / block, bytes = k / 2;
    const codebook book = v_codebook(b->quant.code);
    const uint8_t *w = (const uint8_t *)b->data + n * bytes;
    for (int64_t first = 0; first < blocks; first += GEMV_BLOCKS) {
        const int64_t some = blocks - first < GEMV_BLOCKS ? blocks - first : GEMV_BLOCKS;
        float scales[GEMV_ROWS * GEMV_BLOCKS];
        if (some == blocks)
            quant4_scales(scales, &b->quant, n * blocks, rows * blocks);
        else
            for (int i = 0; i < rows; i++)
                quant4_scales(scales + i * some, &b->quant, (n + i) * blocks + first, some);
        for (int64_t j = 0; j < some; j++) {
            vec sum[GEMV_ROWS];
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) {
                sum[i] = v_zero();
                __builtin_prefetch(w + (rows + i) * bytes, 0, 2); // the same place of the next rows
            }
            for (int64_t l = 0; l < block; l += QUANT4_STEP, w += QUANT4_STEP / 2, x += QUANT4_STEP)
#pragma GCC unroll 4
                for (int i = 0; i < rows; i++) {
                    vec wide[QUANT4_STEP / VLEN];
                    v_quant4(w + i * bytes, book, wide);
#pragma GCC unroll 8
                    for (int v = 0; v < QUANT4_STEP / VLEN; v++)
                        sum[i] = v_fma(wide[v], v_load(x + v * VLEN), sum[i]);
                }
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++)
                acc[i] = v_fma(sum[i], v_set1(scales[i * some + j]), acc[i]);
        }
    }
}

// dot_run adds rows of k elements, ws apart, times ms rows of x, xs apart: acc[i·as+m] is row i by row m of x.
INLINE void dot_run(vec *acc, int as, int rows, int ms, const void *w, int64_t ws, const float *x, int64_t xs, int64_t k, int type) {
    vec sum[GEMV_ROWS][GEMV_MS];
    int64_t j = 0;
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int m = 0; m < ms; m++)
            sum[i][m] = acc[i * as + m];
    for (; j + VLEN <= k; j += VLEN) {
        vec xv[GEMV_MS];
#pragma GCC unroll 8
        for (int m = 0; m < ms; m++)
            xv[m] = v_load(x + m * xs + j);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const vec wv = load_row(w, i * ws + j, type);
#pragma GCC unroll 8
            for (int m = 0; m < ms; m++)
                sum[i][m] = v_fma(wv, xv[m], sum[i][m]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        vec wv = v_zero();
        if (j < k && type == LATHE_F32)
            wv = v_load_n((const float *)w + i * ws + j, k - j);
        else if (j < k) {
            uint16_t rest[VLEN] = {0};
            memcpy(rest, (const uint16_t *)w + i * ws + j, (size_t)(k - j) * sizeof *rest);
            wv = load_row(rest, 0, type);
        }
#pragma GCC unroll 8
        for (int m = 0; m < ms; m++)
            acc[i * as + m] = j < k ? v_fma(wv, v_load(x + m * xs + j), sum[i][m]) : sum[i][m];
    }
}

// dot_tiles is dot_run of float32 rows for any number of rows of x: as many at a time as there are registers for their sums.
INLINE void dot_tiles(vec *acc, int rows, int ms, const float *w, int64_t ws, const float *x, int64_t xs, int64_t k) {
    int m = 0;
    for (; m + GEMV_MS <= ms; m += GEMV_MS)
        dot_run(acc + m, GEMV_MAX_M, rows, GEMV_MS, w, ws, x + m * xs, xs, k, LATHE_F32);
    for (; m < ms; m++)
        dot_run(acc + m, GEMV_MAX_M, rows, 1, w, ws, x + m * xs, xs, k, LATHE_F32);
}

// widen_row writes n elements from depth j on of a row of b, in the order of gemv_x.
TARGET static void widen_row(float *dst, const lathe_matrix *b, int64_t row, int64_t j, int64_t n, int64_t k) {
    if (!quant4_aligned(b, k)) {
        convert_run(dst, b, row * b->cs + j, n);
        return;
    }
    const int64_t block = b->quant.block, blocks = (n + block - 1) / block, first = (row * k + j) / block;
    const codebook book = v_codebook(b->quant.code);
    const uint8_t *w = (const uint8_t *)b->data + (row * k + j) / 2;
    float scales[GEMV_DEPTH / 32];
    quant4_scales(scales, &b->quant, first, blocks);
    for (int64_t l = 0; l < n; l += QUANT4_STEP, w += QUANT4_STEP / 2, dst += QUANT4_STEP) {
        const vec scale = v_set1(scales[l / block]);
        vec wide[QUANT4_STEP / VLEN];
        v_quant4(w, book, wide);
#pragma GCC unroll 8
        for (int v = 0; v < QUANT4_STEP / VLEN; v++)
            v_store(dst + v * VLEN, v_mul(wide[v], scale));
    }
}

// dot_widened multiplies rows of any type by several rows of x.
INLINE void dot_widened(vec *acc, int rows, int ms, const lathe_matrix *b, int64_t n, const float *x, int64_t k) {
    float wide[GEMV_ROWS][GEMV_DEPTH];
    for (int64_t j = 0; j < k; j += GEMV_DEPTH) {
        const int64_t some = k - j < GEMV_DEPTH ? k - j : GEMV_DEPTH;
        for (int i = 0; i < rows; i++)
            widen_row(wide[i], b, n + i, j, some, k);
        dot_tiles(acc, rows, ms, wide[0], GEMV_DEPTH, x + j, gemv_stride(k), some);
    }
}

// gemv_rows computes rows ≤ GEMV_ROWS columns of C for all rows of x; `one` says that it is one.
INLINE void gemv_rows(const lathe_gemm_args *g, const float *x, const float *u, int64_t n, int rows, int one, int type) {
    const int ms = one ? 1 : (int)g->m;
    const void *row = (const char *)g->b.data + n * g->b.cs * (type == LATHE_F32 ? 4 : 2);
    vec acc[GEMV_ROWS * GEMV_MAX_M];
    for (int i = 0; i < GEMV_ROWS * GEMV_MAX_M; i += one ? GEMV_MAX_M : 1)
        acc[i] = v_zero();
    if (one && type == LATHE_QUANT4 && quant4_aligned(&g->b, g->k)) {
        vec sums[GEMV_ROWS] = {v_zero(), v_zero(), v_zero(), v_zero()};
        dot_quant4(sums, rows, &g->b, n, x, g->k);
        for (int i = 0; i < rows; i++)
            acc[i * GEMV_MAX_M] = sums[i];
    } else if (type == LATHE_F32)
        dot_tiles(acc, rows, ms, row, g->b.cs, x, gemv_stride(g->k), g->k);
    else if (one && type != LATHE_QUANT4)
        dot_run(acc, GEMV_MAX_M, rows, 1, row, g->b.cs, x, 0, g->k, type);
    else
        dot_widened(acc, rows, ms, &g->b, n, x, g->k);
    if (g->r > 0)
        dot_tiles(acc, rows, ms, (const float *)g->v.data + n * g->v.cs, g->v.cs, u, gemv_stride(g->r), g->r);
    for (int i = 0; i < rows; i++)
        for (int m = 0; m < ms; m++) {
            float *c = g->c + (g->transpose_c ? (n + i) * g->ldc + m : m * g->ldc + n + i), sum = v_sum(acc[i * GEMV_MAX_M + m]);
            if (g->bias)
                sum += g->bias[g->transpose_c ? m : n + i];
            *c = g->accumulate ? *c + sum : sum;
        }
}

// One instance for each type of b, for one row of x and for several. The number of rows at a time does not change any sum.
#define DEFINE_GEMV(NAME, TYPE, ONE)                                                                                         \
    TARGET static void gemv_##NAME##_##ONE(const lathe_gemm_args *g, const float *x, const float *u, int64_t n0, int64_t n1) { \
        for (; n0 + GEMV_ROWS <= n1; n0 += GEMV_ROWS)                                                                        \
            gemv_rows(g, x, u, n0, GEMV_ROWS, ONE, TYPE);                                                                    \
        for (; n0 < n1; n0++)                                                                                                \
            gemv_rows(g, x, u, n0, 1, ONE, TYPE);                                                                            \
    }
#define DEFINE_GEMVS(NAME, TYPE) DEFINE_GEMV(NAME, TYPE, 0) DEFINE_GEMV(NAME, TYPE, 1)
DEFINE_GEMVS(f32, LATHE_F32)
DEFINE_GEMVS(bf16, LATHE_BF16)
DEFINE_GEMVS(f16, LATHE_F16)
DEFINE_GEMVS(quant4, LATHE_QUANT4)

static void gemv(const lathe_gemm_args *g, const float *x, const float *u, int64_t n0, int64_t n1) {
    static void (*const gemvs[][2])(const lathe_gemm_args *, const float *, const float *, int64_t, int64_t) = {
        [LATHE_F32] = {gemv_f32_0, gemv_f32_1},
        [LATHE_BF16] = {gemv_bf16_0, gemv_bf16_1},
        [LATHE_F16] = {gemv_f16_0, gemv_f16_1},
        [LATHE_QUANT4] = {gemv_quant4_0, gemv_quant4_1},
    };
    gemvs[g->b.type][g->m == 1](g, x, u, n0, n1);
}
