// The template of a tier's packing and micro-kernels. The including file defines vec, VLEN, MR, the v_ functions, TARGET,
// INLINE and KERNELS.

#include <string.h> // memcpy

enum {
    NR = 2 * VLEN,
    GEMM_STRIP = 256, // depth that is widened at a time: whole blocks of 4-bit weights
};

// load_row widens VLEN elements of type from p on.
INLINE vec load_row(const void *p, int64_t i, int type) {
    if (type == LATHE_BF16)
        return v_load_bf16((const uint16_t *)p + i);
    if (type == LATHE_F16)
        return v_load_f16((const uint16_t *)p + i);
    return v_load((const float *)p + i);
}

// quant4_run dequantises n elements from element e on. The bulk goes 2·VLEN at a time within one block of scale.
TARGET static void quant4_run(float *dst, const lathe_matrix *m, int64_t e, int64_t n) {
    const uint8_t *data = m->data;
    const int shift = __builtin_ctz((unsigned)m->quant.block);
    const codebook book = v_codebook(m->quant.code);
    while (n > 0) {
        int64_t left = m->quant.block - (e & (m->quant.block - 1));
        if (left > n)
            left = n;
        const float scale = quant4_scale(&m->quant, e >> shift);
        const vec s = v_set1(scale);
        n -= left;
        if ((e & 1) == 0)
            for (; left >= 2 * VLEN; left -= 2 * VLEN, e += 2 * VLEN, dst += 2 * VLEN) {
                vec even, odd, lo, hi;
                v_quant4(data + (e >> 1), book, &even, &odd);
                v_interleave(even, odd, &lo, &hi);
                v_store(dst, v_mul(lo, s));
                v_store(dst + VLEN, v_mul(hi, s));
            }
        for (; left > 0; left--, e++)
            *dst++ = m->quant.code[(e & 1) ? data[e >> 1] & 15 : data[e >> 1] >> 4] * scale;
    }
}

// half_run widens n 16-bit elements; the rest of a vector goes through a copy, so as not to read beyond the operand.
INLINE void half_run(float *dst, const uint16_t *src, int64_t n, int type) {
    for (; n >= VLEN; n -= VLEN, src += VLEN, dst += VLEN)
        v_store(dst, load_row(src, 0, type));
    if (n > 0) {
        uint16_t rest[VLEN] = {0};
        memcpy(rest, src, (size_t)n * sizeof *src);
        v_store_n(dst, load_row(rest, 0, type), n);
    }
}

// convert_run widens n elements, contiguous from element e on.
TARGET static void convert_run(float *dst, const lathe_matrix *m, int64_t e, int64_t n) {
    if (m->type == LATHE_QUANT4)
        quant4_run(dst, m, e, n);
    else if (m->type == LATHE_BF16)
        half_run(dst, (const uint16_t *)m->data + e, n, LATHE_BF16);
    else if (m->type == LATHE_F16)
        half_run(dst, (const uint16_t *)m->data + e, n, LATHE_F16);
    else
        memcpy(dst, (const float *)m->data + e, (size_t)n * sizeof *dst);
}

// pack_transposed packs up to VLEN lanes, each of which is contiguous in k: src[l·ls + k] → dst[k·stride + l]. Missing lanes
// repeat the last one: their products are never stored.
INLINE void pack_transposed(float *dst, int stride, const float *src, int64_t ls, int lanes, int64_t kc, vec scale) {
    const float *lane[VLEN];
    for (int l = 0; l < VLEN; l++)
        lane[l] = src + (l < lanes ? l : lanes - 1) * ls;
    int64_t k = 0;
    for (; k + VLEN <= kc; k += VLEN) {
        vec r[VLEN];
#pragma GCC unroll 16
        for (int l = 0; l < VLEN; l++)
            r[l] = v_load(lane[l] + k);
        v_transpose(r);
#pragma GCC unroll 16
        for (int i = 0; i < VLEN; i++)
            v_store(dst + (k + i) * stride, v_mul(r[i], scale));
    }
    if (k < kc) {
        vec r[VLEN];
        for (int l = 0; l < VLEN; l++)
            r[l] = v_load_n(lane[l] + k, kc - k);
        v_transpose(r);
        for (int i = 0; i < kc - k; i++)
            v_store(dst + (k + i) * stride, v_mul(r[i], scale));
    }
}

// pack_contiguous packs lanes that are contiguous in memory: one short copy for each k. Of a border of lanes whole vectors are read
// as long as what follows them is the operand's too.
INLINE void pack_contiguous(float *dst, int stride, const float *src, int64_t ds, int lanes, int64_t kc, vec scale) {
    const int64_t whole = lanes == NR ? kc : ds + lanes >= (lanes + VLEN - 1) / VLEN * VLEN ? kc - 1 : 0;
    int64_t k = 0;
    if (lanes > VLEN)
        for (; k < whole; k++) {
            v_store(dst + k * stride, v_mul(v_load(src + k * ds), scale));
            v_store(dst + k * stride + VLEN, v_mul(v_load(src + k * ds + VLEN), scale));
        }
    else
        for (; k < whole; k++)
            v_store(dst + k * stride, v_mul(v_load(src + k * ds), scale));
    for (; k < kc; k++)
        for (int l = 0; l < lanes; l += VLEN)
            v_store(dst + k * stride + l, v_mul(v_load_n(src + k * ds + l, lanes - l), scale));
}

// pack_widened packs an operand that is not float32 through a strip of it which stays in the first-level cache.
INLINE void pack_widened(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t ds, int64_t lane0, int lanes,
                         int64_t k0, int64_t kc, vec scale) {
    float strip[VLEN * GEMM_STRIP + VLEN];
    if (ds != 1) {
        for (int64_t k = 0; k < kc; k++) {
            convert_run(strip, m, lane0 * ls + (k0 + k) * ds, lanes);
            pack_contiguous(dst + k * stride, stride, strip, 0, lanes, 1, scale);
        }
        return;
    }
    for (int64_t k = 0; k < kc; k += GEMM_STRIP)
        for (int l = 0; l < lanes; l += VLEN) {
            const int some = lanes - l < VLEN ? lanes - l : VLEN;
            const int64_t depth = kc - k < GEMM_STRIP ? kc - k : GEMM_STRIP;
            for (int i = 0; i < some; i++)
                convert_run(strip + i * GEMM_STRIP, m, (lane0 + l + i) * ls + k0 + k, depth);
            pack_transposed(dst + k * stride + l, stride, strip, GEMM_STRIP, some, depth, scale);
        }
}

TARGET static void pack(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t ds, int64_t lane0, int lanes,
                        int64_t k0, int64_t kc, float scale) {
    const vec s = v_set1(scale);
    if (m->type != LATHE_F32) {
        pack_widened(dst, stride, m, ls, ds, lane0, lanes, k0, kc, s);
        return;
    }
    const float *src = (const float *)m->data + lane0 * ls + k0 * ds;
    if (ds == 1 && ls != 1)
        for (int l = 0; l < lanes; l += VLEN)
            pack_transposed(dst + l, stride, src + l * ls, ls, lanes - l < VLEN ? lanes - l : VLEN, kc, s);
    else
        pack_contiguous(dst, stride, src, ds, lanes, kc, s);
}

// store_tile finishes the sums of one tile: bias, what C held, borders. The tile is copied: stores to C could change it, as far as
// the compiler knows.
INLINE void store_tile(const gemm_tile *tile, int rows, int vecs, vec acc[][2]) {
    const gemm_tile t = *tile;
#pragma GCC unroll 2
    for (int j = 0; j < vecs; j++) {
        const int64_t left = t.cols - j * VLEN;
        if (t.bias) {
            const vec bias = v_load_n(t.bias + j * VLEN, left);
#pragma GCC unroll 14
            for (int i = 0; i < rows; i++)
                acc[i][j] = v_add(acc[i][j], bias);
        }
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            float *c = t.c + i * t.ldc + j * VLEN;
            if (left >= VLEN)
                v_store(c, t.add ? v_add(v_load(c), acc[i][j]) : acc[i][j]);
            else
                v_store_n(c, t.add ? v_add(v_load_n(c, left), acc[i][j]) : acc[i][j], left);
        }
    }
}

// multiply_tile is the micro-kernel: an outer product of a column of A and a row of B for each k, sums in registers.
INLINE void multiply_tile(const gemm_tile *t, int rows, int vecs, int64_t kc, const float *a, const float *b, int64_t ldb,
                          int ahead) {
    vec acc[MR][2];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        __builtin_prefetch(t->c + i * t->ldc, 1);
        __builtin_prefetch(t->c + i * t->ldc + t->cols - 1, 1);
        for (int j = 0; j < vecs; j++)
            acc[i][j] = v_zero();
    }
    const int64_t fetch = ahead * ldb;
    for (int64_t k = 0; k < kc; k++) {
        vec bv[2];
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++)
            bv[j] = v_load(b + j * VLEN);
        __builtin_prefetch(b + fetch);
        if (vecs * VLEN > 16)
            __builtin_prefetch(b + fetch + 16);
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            vec av = v_set1(a[i]);
#pragma GCC unroll 2
            for (int j = 0; j < vecs; j++)
                acc[i][j] = v_fma(av, bv[j], acc[i][j]);
        }
        a += rows;
        b += ldb;
    }
    store_tile(t, rows, vecs, acc);
}

// One instance for each height, one and two vectors wide.
#define DEFINE_TILE(ROWS, VECS)                                                                                              \
    TARGET static void tile_##ROWS##_##VECS(const gemm_tile *t, int64_t kc, const float *a, const float *b, int64_t ldb,     \
                                            int ahead) {                                                                     \
        multiply_tile(t, ROWS, VECS, kc, a, b, ldb, ahead);                                                                  \
    }
#define NAME_TILE(ROWS, VECS) tile_##ROWS##_##VECS
DEFINE_TILES(DEFINE_TILE, 1)
DEFINE_TILES(DEFINE_TILE, 2)

static void tile(const gemm_tile *t, int64_t kc, const float *a, const float *b, int64_t ldb, int ahead) {
    static void (*const tiles[2][MR])(const gemm_tile *, int64_t, const float *, const float *, int64_t, int) = {
        {TILES(NAME_TILE, 1)},
        {TILES(NAME_TILE, 2)},
    };
    tiles[t->cols > VLEN][t->rows - 1](t, kc, a, b, ldb, ahead);
}

const gemm_kernels KERNELS = {
    .mr = MR,
    .nr = NR,
    .vlen = VLEN,
    .tile = tile,
    .pack = pack,
    .gemv = gemv,
    .gemv_x = gemv_x,
    .convert = convert_run,
};
