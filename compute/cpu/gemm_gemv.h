// The template of a tier's products of few rows (generation): y[m,n] = x[m,·]·b[n,·], where rows of b are contiguous and each
// is read once for all m. Included before gemm_kernel.h, which says what the including file defines.

#include <string.h> // memcpy

TARGET static void convert_run(float *dst, const lathe_matrix *m, int64_t e, int64_t n);
INLINE vec load_row(const void *p, int64_t i, int type);

// quant4_aligned says whether every row of a 4-bit operand starts a block and a byte. Others are widened a piece at a time.
static inline int quant4_aligned(const lathe_matrix *b, int64_t k) {
    return b->type == LATHE_QUANT4 && k % b->quant.block == 0 && b->cs == k;
}

// gemv_x lays x out for dot_rows: zeros up to whole vectors; for 4 bits the even elements of each 2·VLEN before the odd ones,
// because that is how they come out of the code book.
TARGET static void gemv_x(float *dst, const lathe_matrix *a, int64_t m, int64_t k, const lathe_matrix *b, float scale) {
    const int64_t stride = gemv_stride(k);
    for (int64_t i = 0; i < m; i++, dst += stride) {
        if (a->cs == 1)
            convert_run(dst, a, i * a->rs, k);
        else
            for (int64_t j = 0; j < k; j++)
                convert_run(dst + j, a, i * a->rs + j * a->cs, 1);
        for (int64_t j = 0; j < k; j++)
            dst[j] *= scale;
        memset(dst + k, 0, (size_t)(stride - k) * sizeof *dst);
        if (!quant4_aligned(b, k))
            continue;
        for (int64_t j = 0; j < k; j += 2 * VLEN) {
            float pairs[2 * VLEN];
            memcpy(pairs, dst + j, sizeof pairs);
            for (int l = 0; l < VLEN; l++) {
                dst[j + l] = pairs[2 * l];
                dst[j + VLEN + l] = pairs[2 * l + 1];
            }
        }
    }
}

// dot_quant4 adds rows n … n+rows of an aligned 4-bit operand times x. For one row of x the block's scale is applied to the sum of
// its products, for more to the weights.
INLINE void dot_quant4(vec acc[][GEMV_MAX_M], int rows, int ms, const lathe_matrix *b, int64_t n, const float *x, int64_t k) {
    const int64_t stride = gemv_stride(k), block = b->quant.block;
    const int shift = __builtin_ctzll((unsigned long long)block);
    const codebook book = v_codebook(b->quant.code);
    for (int64_t j = 0; j < k; j += block) {
        const uint8_t *w[4];
        vec scale[4], sum[4];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const int64_t e = (n + i) * k + j;
            w[i] = (const uint8_t *)b->data + e / 2;
            scale[i] = v_set1(quant4_scale(&b->quant, e >> shift));
            sum[i] = v_zero();
            __builtin_prefetch(w[i] + rows * k / 2, 0, 2); // the same place of the next rows
        }
        for (int64_t l = 0; l < block; l += 2 * VLEN) {
            vec even[4], odd[4];
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) {
                v_quant4(w[i] + l / 2, book, &even[i], &odd[i]);
                if (ms > 1) {
                    even[i] = v_mul(even[i], scale[i]);
                    odd[i] = v_mul(odd[i], scale[i]);
                }
            }
#pragma GCC unroll 8
            for (int m = 0; m < ms; m++) {
                const vec xe = v_load(x + m * stride + j + l), xo = v_load(x + m * stride + j + l + VLEN);
#pragma GCC unroll 4
                for (int i = 0; i < rows; i++) {
                    vec *to = ms > 1 ? &acc[i][m] : &sum[i];
                    *to = v_fma(even[i], xe, *to);
                    *to = v_fma(odd[i], xo, *to);
                }
            }
        }
        if (ms == 1)
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++)
                acc[i][0] = v_fma(sum[i], scale[i], acc[i][0]);
    }
}

// dot_run adds rows of k elements, ws apart, times rows of x, xs apart.
INLINE void dot_run(vec acc[][GEMV_MAX_M], int rows, int ms, const void *w, int64_t ws, const float *x, int64_t xs, int64_t k,
                    int type) {
    int64_t j = 0;
    for (; j + VLEN <= k; j += VLEN)
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            vec wv = load_row(w, i * ws + j, type);
#pragma GCC unroll 8
            for (int m = 0; m < ms; m++)
                acc[i][m] = v_fma(wv, v_load(x + m * xs + j), acc[i][m]);
        }
    if (j == k)
        return;
    for (int i = 0; i < rows; i++) {
        vec wv;
        if (type == LATHE_F32)
            wv = v_load_n((const float *)w + i * ws + j, k - j);
        else {
            uint16_t rest[VLEN] = {0};
            memcpy(rest, (const uint16_t *)w + i * ws + j, (size_t)(k - j) * sizeof *rest);
            wv = load_row(rest, 0, type);
        }
#pragma GCC unroll 8
        for (int m = 0; m < ms; m++)
            acc[i][m] = v_fma(wv, v_load(x + m * xs + j), acc[i][m]);
    }
}

// dot_widened is for 4-bit rows that start within a block or a byte.
INLINE void dot_widened(vec acc[][GEMV_MAX_M], int ms, const lathe_matrix *b, int64_t n, const float *x, int64_t k) {
    float piece[1024];
    for (int64_t j = 0; j < k; j += 1024) {
        const int64_t some = k - j < 1024 ? k - j : 1024;
        convert_run(piece, b, n * b->cs + j, some);
        dot_run(acc, 1, ms, piece, 0, x + j, gemv_stride(k), some, LATHE_F32);
    }
}

// gemv_rows computes rows ≤ 4 columns of C for ms rows of x.
INLINE void gemv_rows(const lathe_gemm_args *g, const float *x, const float *u, int64_t n, int rows, int ms, int type) {
    vec acc[4][GEMV_MAX_M];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int m = 0; m < ms; m++)
            acc[i][m] = v_zero();
    if (type != LATHE_QUANT4)
        dot_run(acc, rows, ms, (const char *)g->b.data + n * g->b.cs * (type == LATHE_F32 ? 4 : 2), g->b.cs, x,
                gemv_stride(g->k), g->k, type);
    else if (quant4_aligned(&g->b, g->k))
        dot_quant4(acc, rows, ms, &g->b, n, x, g->k);
    else
        for (int i = 0; i < rows; i++)
            dot_widened(acc + i, ms, &g->b, n + i, x, g->k);
    if (g->r > 0)
        dot_run(acc, rows, ms, (const float *)g->v.data + n * g->v.cs, g->v.cs, u, gemv_stride(g->r), g->r, LATHE_F32);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int m = 0; m < ms; m++) {
            float *c = g->c + (g->transpose_c ? (n + i) * g->ldc + m : m * g->ldc + n + i), sum = v_sum(acc[i][m]);
            if (g->bias)
                sum += g->bias[g->transpose_c ? m : n + i];
            *c = g->accumulate ? *c + sum : sum;
        }
}

// gemv_type runs over the columns of C, as many at a time as there are registers for; the number does not change any sum.
#define DEFINE_GEMV(NAME, TYPE, M, ROWS)                                                                                     \
    TARGET static void gemv_##NAME##_##M(const lathe_gemm_args *g, const float *x, const float *u, int64_t n0, int64_t n1) { \
        for (; n0 + ROWS <= n1; n0 += ROWS)                                                                                  \
            gemv_rows(g, x, u, n0, ROWS, M, TYPE);                                                                           \
        for (; n0 < n1; n0++)                                                                                                \
            gemv_rows(g, x, u, n0, 1, M, TYPE);                                                                              \
    }
// With 32 registers 16 sums, with 16 registers 8.
#define GEMV_ROWS(M) (VLEN == 16 ? (M <= 4 ? 4 : 2) : (M <= 2 ? 4 : M <= 4 ? 2 : 1))
#define DEFINE_GEMVS(NAME, TYPE)                                                                                             \
    DEFINE_GEMV(NAME, TYPE, 1, GEMV_ROWS(1))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 2, GEMV_ROWS(2))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 3, GEMV_ROWS(3))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 4, GEMV_ROWS(4))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 5, GEMV_ROWS(5))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 6, GEMV_ROWS(6))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 7, GEMV_ROWS(7))                                                                                 \
    DEFINE_GEMV(NAME, TYPE, 8, GEMV_ROWS(8))
DEFINE_GEMVS(f32, LATHE_F32)
DEFINE_GEMVS(bf16, LATHE_BF16)
DEFINE_GEMVS(f16, LATHE_F16)
DEFINE_GEMVS(quant4, LATHE_QUANT4)

#define NAME_GEMVS(NAME)                                                                                                     \
    { gemv_##NAME##_1, gemv_##NAME##_2, gemv_##NAME##_3, gemv_##NAME##_4, gemv_##NAME##_5, gemv_##NAME##_6, gemv_##NAME##_7, gemv_##NAME##_8 }

static void gemv(const lathe_gemm_args *g, const float *x, const float *u, int64_t n0, int64_t n1) {
    static void (*const gemvs[][GEMV_MAX_M])(const lathe_gemm_args *, const float *, const float *, int64_t, int64_t) = {
        [LATHE_F32] = NAME_GEMVS(f32),
        [LATHE_BF16] = NAME_GEMVS(bf16),
        [LATHE_F16] = NAME_GEMVS(f16),
        [LATHE_QUANT4] = NAME_GEMVS(quant4),
    };
    gemvs[g->b.type][g->m - 1](g, x, u, n0, n1);
}
