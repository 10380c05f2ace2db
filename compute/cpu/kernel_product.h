// Small products on tiles that lie in the cache, for attention: C[m,n] (+)= A[m,k]·B[k,n] with n a multiple of LANES.
// Element (i,j) of A is a[i·ld + j], or a[i + j·ld] where transposed; its elements are broadcast, rows of B are vectors.
// Where `pairs` are given, the kernels of a tier that multiplies pairs of bfloat16 numbers, operands are rounded to these and packed.

#if LATHE_TIER == 2
enum { PRODUCT_ROWS = 6, PRODUCT_VECTORS = 4 };
#elif LATHE_TIER == 1
enum { PRODUCT_ROWS = 6, PRODUCT_VECTORS = 2 }; // 12 of 16 registers hold sums
#else
enum { PRODUCT_ROWS = 4, PRODUCT_VECTORS = 2 };
#endif

// rows, vectors, transposed and add are constants wherever this is called.
INLINE void product_block(int rows, int vectors, int transposed, int add, int64_t k, const float *a, int64_t lda,
                          const float *b, int64_t ldb, float *c, int64_t ldc) {
    vf sum[PRODUCT_ROWS][PRODUCT_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) sum[i][v] = v_zero();
    for (int64_t j = 0; j < k; j++) {
        vf row[PRODUCT_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) row[v] = v_load(b + j * ldb + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            vf x = v_set(transposed ? a[j * lda + i] : a[i * lda + j]);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) sum[i][v] = v_fma(x, row[v], sum[i][v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            float *p = c + i * ldc + v * LANES;
            if (add) sum[i][v] += v_load(p);
            v_store(p, sum[i][v]);
        }
}

INLINE void product_rows(int vectors, int transposed, int add, int64_t m, int64_t k, const float *a, int64_t lda,
                         const float *b, int64_t ldb, float *c, int64_t ldc) {
    int64_t i = 0, step = transposed ? 1 : lda;
    for (; i + PRODUCT_ROWS <= m; i += PRODUCT_ROWS)
        product_block(PRODUCT_ROWS, vectors, transposed, add, k, a + i * step, lda, b, ldb, c + i * ldc, ldc);
    if (PRODUCT_ROWS > 4 && i + 4 <= m) {
        product_block(4, vectors, transposed, add, k, a + i * step, lda, b, ldb, c + i * ldc, ldc);
        i += 4;
    }
    if (i + 2 <= m) {
        product_block(2, vectors, transposed, add, k, a + i * step, lda, b, ldb, c + i * ldc, ldc);
        i += 2;
    }
    for (; i < m; i++)
        product_block(1, vectors, transposed, add, k, a + i * step, lda, b, ldb, c + i * ldc, ldc);
}

enum { PAIRS_DEPTH = 128, PAIRS_PANELS = 2 }; // what is packed at a time: 8 KiB of A, 16 of B

// product_pairs goes by blocks of depth; from the second on they are added.
static __attribute__((noinline)) void product_pairs(const gemm_kernels *pairs, int transposed, int add, int64_t m, int64_t n, int64_t k,
                                                    const float *a, int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc) {
    enum { SLOTS = PAIRS_DEPTH / 2 };
    _Alignas(64) float rows[SLOTS * GEMM_MAX_MR + GEMM_PANEL_SLACK], columns[PAIRS_PANELS][SLOTS * GEMM_MAX_NR + GEMM_PANEL_SLACK];
    const lathe_matrix left = {.data = a, .type = LATHE_F32}, right = {.data = b, .type = LATHE_F32};
    const int64_t lane = transposed ? 1 : lda, depth = transposed ? lda : 1;
    for (int64_t j0 = 0; j0 < n; j0 += PAIRS_PANELS * pairs->nr)
        for (int64_t k0 = 0; k0 < k; k0 += PAIRS_DEPTH) {
            const int64_t kc = k - k0 < PAIRS_DEPTH ? k - k0 : PAIRS_DEPTH, slots = (kc + pairs->unit - 1) / pairs->unit * pairs->unit / 2;
            int cols[PAIRS_PANELS] = {0}, width[PAIRS_PANELS] = {0};
            for (int p = 0; p < PAIRS_PANELS && j0 + p * pairs->nr < n; p++) {
                cols[p] = (int)(n - j0 - p * pairs->nr < pairs->nr ? n - j0 - p * pairs->nr : pairs->nr);
                width[p] = cols[p] <= pairs->vlen ? pairs->vlen : pairs->nr;
                pairs->pack_b(columns[p], width[p], &right, 1, ldb, j0 + p * pairs->nr, cols[p], k0, kc, 1);
            }
            for (int64_t i0 = 0; i0 < m; i0 += pairs->mr) {
                const int height = (int)(m - i0 < pairs->mr ? m - i0 : pairs->mr);
                pairs->pack_a(rows, (height + pairs->height - 1) / pairs->height * pairs->height, &left, lane, depth, i0, height, k0, kc, 1);
                for (int p = 0; p < PAIRS_PANELS && cols[p] > 0; p++) {
                    gemm_tile t = {.c = c + i0 * ldc + j0 + p * pairs->nr, .ldc = ldc, .rows = height, .cols = cols[p], .add = add || k0 > 0};
                    t.next = (const char *)columns[p]; // nothing else is wanted soon
                    pairs->tile(&t, slots, rows, columns[p], width[p], 0);
                }
            }
        }
}

#define DEFINE_PRODUCT(name, transposed, add)                                                                          \
    static __attribute__((noinline)) void name(const gemm_kernels *pairs, int64_t m, int64_t n, int64_t k,             \
                                               const float *a, int64_t lda, const float *b, int64_t ldb, float *c,     \
                                               int64_t ldc) {                                                          \
        int64_t j = 0;                                                                                                 \
        if (pairs) {                                                                                                   \
            product_pairs(pairs, transposed, add, m, n, k, a, lda, b, ldb, c, ldc);                                    \
            return;                                                                                                    \
        }                                                                                                              \
        for (; j + PRODUCT_VECTORS * LANES <= n; j += PRODUCT_VECTORS * LANES)                                         \
            product_rows(PRODUCT_VECTORS, transposed, add, m, k, a, lda, b + j, ldb, c + j, ldc);                      \
        for (; PRODUCT_VECTORS > 2 && j + 2 * LANES <= n; j += 2 * LANES)                                              \
            product_rows(2, transposed, add, m, k, a, lda, b + j, ldb, c + j, ldc);                                    \
        for (; j + LANES <= n; j += LANES)                                                                             \
            product_rows(1, transposed, add, m, k, a, lda, b + j, ldb, c + j, ldc);                                    \
    }

DEFINE_PRODUCT(product, 0, 0)                // C = A·B
DEFINE_PRODUCT(product_transposed_add, 1, 1) // C += Aᵀ·B, A stored [k,m]

// dst[j][i] = src[i][j] for i < rows, j < columns.
static __attribute__((noinline)) void transpose(float *dst, int64_t ld_dst, const float *src, int64_t ld_src, int64_t rows,
                                                int64_t columns) {
    int64_t whole = 0; // rows that go by fours
#if defined(__x86_64__)
    whole = rows / 4 * 4;
    for (int64_t i = 0; i < whole; i += 4) {
        int64_t j = 0;
        for (; j + 4 <= columns; j += 4) {
            __m128 a = _mm_loadu_ps(src + i * ld_src + j), b = _mm_loadu_ps(src + (i + 1) * ld_src + j);
            __m128 c = _mm_loadu_ps(src + (i + 2) * ld_src + j), d = _mm_loadu_ps(src + (i + 3) * ld_src + j);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(dst + j * ld_dst + i, a);
            _mm_storeu_ps(dst + (j + 1) * ld_dst + i, b);
            _mm_storeu_ps(dst + (j + 2) * ld_dst + i, c);
            _mm_storeu_ps(dst + (j + 3) * ld_dst + i, d);
        }
        for (; j < columns; j++)
            for (int64_t k = i; k < i + 4; k++) dst[j * ld_dst + k] = src[k * ld_src + j];
    }
#endif
    for (int64_t i = whole; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) dst[j * ld_dst + i] = src[i * ld_src + j];
}
