// The template of a tier's micro-kernels: tiles of up to MR rows, one and two vectors wide. The including file defines MR, TILES,
// DEFINE_TILES, v_multiply_add and what gemm_pack.h wants.

#include "gemm_pack.h"

// multiply_tile is the micro-kernel: an outer product of a column of A and a row of B for each k (in slots), sums in registers.
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
                acc[i][j] = v_multiply_add(av, bv[j], acc[i][j]);
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
