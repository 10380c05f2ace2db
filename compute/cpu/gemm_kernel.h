// The template of a tier's micro-kernels: tiles of up to MR rows, one and two vectors wide. The including file defines MR, TILES,
// DEFINE_TILES, v_multiply_add and what gemm_pack.h wants.

#include "gemm_pack.h"

// What a tile reads as it lies.
enum { PANELS, ROWS_OF_A, ROWS_OF_B };

// sum_slots adds the outer products of a column of A and a row of B for each k (in slots) to sums in registers, and returns where B goes
// on. Element i of the column is row[i/3][i%3·lda], where lda is not 0: addresses of three rows cost one register and no arithmetic.
// Rows of B are written to `panel` too, unless it is NULL.
INLINE const float *sum_slots(vec acc[MR][2], int rows, int vecs, int by_row, int64_t kc, const float *a, int64_t lda, const float *b,
                              int64_t ldb, int64_t fetch, const char *next, int64_t step, float *panel) {
    const float *row[(MR + 2) / 3];
#pragma GCC unroll 5
    for (int i = 0; i < (rows + 2) / 3; i++)
        row[i] = a + 3 * i * lda;
    for (int64_t k = 0; k < kc; k++) {
        vec bv[2];
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++)
            bv[j] = v_load(b + j * VLEN);
        if (panel) {
#pragma GCC unroll 2
            for (int j = 0; j < vecs; j++)
                v_store(panel + j * VLEN, bv[j]);
            panel += vecs * VLEN;
        }
        if (k % GEMM_FETCH == 0) {
            __builtin_prefetch(next, 0, 2);
            next += step;
        }
        __builtin_prefetch(b + fetch);
        if (vecs * VLEN > 16)
            __builtin_prefetch(b + fetch + 16);
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            vec av = v_set1(by_row ? row[i / 3][i % 3 * lda] : a[i]);
#pragma GCC unroll 2
            for (int j = 0; j < vecs; j++)
                acc[i][j] = v_multiply_add(av, bv[j], acc[i][j]);
        }
        a += rows;
#pragma GCC unroll 5
        for (int i = 0; i < (rows + 2) / 3; i++)
            row[i]++;
        b += ldb;
    }
    return b;
}

// multiply_tile is the micro-kernel: sums of one tile, kept in registers. `reads` says which operand is read as it lies.
INLINE void multiply_tile(const gemm_tile *t, int rows, int vecs, int reads, int64_t kc, const float *a, const float *b, int64_t ldb,
                          int ahead) {
    const int by_row = reads == ROWS_OF_A, packs = reads == ROWS_OF_B;
    vec acc[MR][2];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        if (!t->transposed) {
            __builtin_prefetch(t->c + i * t->ldc, 1);
            __builtin_prefetch(t->c + i * t->ldc + t->cols - 1, 1);
        }
        for (int j = 0; j < vecs; j++)
            acc[i][j] = v_zero();
    }
    b = sum_slots(acc, rows, vecs, by_row, kc, a, t->lda, b, ldb, ahead * ldb, t->next, t->next_step, packs ? t->panel : NULL);
    if (packs) {
        ldb = vecs * VLEN;
        b = t->panel + kc * ldb;
    }
    if ((by_row || packs) && t->rest_kc > 0)
        sum_slots(acc, rows, vecs, 0, t->rest_kc, t->rest, 0, b, ldb, ahead * ldb, (const char *)b, 0, NULL);
    if (!t->transposed) {
        store_tile(t, rows, vecs, acc);
        return;
    }
    float sums[MR * NR];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++)
            v_store(sums + i * NR + j * VLEN, acc[i][j]);
    store_columns(t, sums);
}

// Instances for each height, one and two vectors wide: A and B in packed panels, A in rows, B in rows that become a panel.
#define DEFINE_TILE_OF(NAME, ROWS, VECS, READS)                                                                              \
    TARGET static void NAME##_##ROWS##_##VECS(const gemm_tile *t, int64_t kc, const float *a, const float *b, int64_t ldb,   \
                                              int ahead) {                                                                   \
        multiply_tile(t, ROWS, VECS, READS, kc, a, b, ldb, ahead);                                                           \
    }
#define DEFINE_TILE(ROWS, VECS) DEFINE_TILE_OF(tile, ROWS, VECS, PANELS)
#define NAME_TILE(ROWS, VECS) tile_##ROWS##_##VECS
DEFINE_TILES(DEFINE_TILE, 1)
DEFINE_TILES(DEFINE_TILE, 2)
#if LATHE_PAIRS
#define NAME_ROWS_TILE NAME_TILE
#define NAME_PACKING_TILE NAME_TILE
#else
#define DEFINE_ROWS_TILE(ROWS, VECS) DEFINE_TILE_OF(rows_tile, ROWS, VECS, ROWS_OF_A)
#define NAME_ROWS_TILE(ROWS, VECS) rows_tile_##ROWS##_##VECS
#define DEFINE_PACKING_TILE(ROWS, VECS) DEFINE_TILE_OF(packing_tile, ROWS, VECS, ROWS_OF_B)
#define NAME_PACKING_TILE(ROWS, VECS) packing_tile_##ROWS##_##VECS
DEFINE_TILES(DEFINE_ROWS_TILE, 1)
DEFINE_TILES(DEFINE_ROWS_TILE, 2)
DEFINE_TILES(DEFINE_PACKING_TILE, 1)
DEFINE_TILES(DEFINE_PACKING_TILE, 2)
#endif

static void tile(const gemm_tile *t, int64_t kc, const float *a, const float *b, int64_t ldb, int ahead) {
    static void (*const tiles[3][2][MR])(const gemm_tile *, int64_t, const float *, const float *, int64_t, int) = {
        [PANELS] = {{TILES(NAME_TILE, 1)}, {TILES(NAME_TILE, 2)}},
        [ROWS_OF_A] = {{TILES(NAME_ROWS_TILE, 1)}, {TILES(NAME_ROWS_TILE, 2)}},
        [ROWS_OF_B] = {{TILES(NAME_PACKING_TILE, 1)}, {TILES(NAME_PACKING_TILE, 2)}},
    };
    const int reads = t->panel ? ROWS_OF_B : t->lda ? ROWS_OF_A : PANELS;
    tiles[reads][t->cols > VLEN][t->rows - 1](t, kc, a, b, ldb, ahead);
}
