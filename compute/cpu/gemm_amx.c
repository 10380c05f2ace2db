// AMX: tiles of 32×32 sums in four tile registers, tdpbf16ps. Rows of A keep their depth together, B is packed in pairs as for
// AVX512_BF16, and sums round as there.
#include "gemm_tier.h"

#if LATHE_HAS_BF16

#define TARGET __attribute__((target("amx-tile,amx-bf16,avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
enum {
    KP = 2,
    UNIT = 32, // depth of a tile register
    TILE = 16, // its rows, and its 32-bit columns
    MR = 2 * TILE,
};

#include "gemm_vec512.h"

#include "gemm_pairs.h"

#include "gemm_pack.h"

DEFINE_PACK(pack_a, 1, 1)
DEFINE_PACK(pack_b, 1, 0)

// All eight tile registers are whole ones. A constant of the file: gcc's _tile_loadconfig tells the optimiser of its first bytes only.
#define EIGHT(x) {x, x, x, x, x, x, x, x}
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16]; // of a row
    uint8_t rows[16];
} whole_tiles = {.palette = 1, .bytes = EIGHT(4 * TILE), .rows = EIGHT(TILE)};

// begin configures the tiles of this thread; end gives them up, so that the system has less to save.
TARGET static void begin(void) { _tile_loadconfig(&whole_tiles); }
TARGET static void end(void) { _tile_release(); }

// multiply_tile sums 16 rows, or 32 where `tall`, by 16 columns, or 32 where `wide`: tmm0-3 hold sums, 4 and 5 rows of A, 6 and 7
// columns of B.
INLINE void multiply_tile(float sums[MR * NR], int tall, int wide, int64_t kc, const float *a, const float *b) {
    const int height = tall ? 2 * TILE : TILE, width = wide ? NR : VLEN;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < kc; k += TILE, a += height * TILE, b += TILE * width) {
        _tile_loadd(4, a, 4 * TILE);
        _tile_loadd(6, b, 4 * width);
        _tile_dpbf16ps(0, 4, 6);
        if (wide) {
            _tile_loadd(7, b + VLEN, 4 * width);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (tall) {
            _tile_loadd(5, a + TILE * TILE, 4 * TILE);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (tall && wide)
            _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 4 * NR);
    if (wide)
        _tile_stored(1, sums + VLEN, 4 * NR);
    if (tall)
        _tile_stored(2, sums + TILE * NR, 4 * NR);
    if (tall && wide)
        _tile_stored(3, sums + TILE * NR + VLEN, 4 * NR);
}

TARGET static void tile(const gemm_tile *t, int64_t kc, const float *a, const float *b, int64_t ldb, int ahead) {
    _Alignas(64) float sums[MR * NR];
    const int tall = t->rows > TILE, wide = t->cols > VLEN;
    (void)ldb, (void)ahead; // panels are always packed here, and the processor fetches them itself
    for (int i = 0; i < t->rows && !t->transposed; i++) {
        __builtin_prefetch(t->c + i * t->ldc, 1);
        __builtin_prefetch(t->c + i * t->ldc + t->cols - 1, 1);
    }
    if (tall && wide)
        multiply_tile(sums, 1, 1, kc, a, b);
    else if (tall)
        multiply_tile(sums, 1, 0, kc, a, b);
    else if (wide)
        multiply_tile(sums, 0, 1, kc, a, b);
    else
        multiply_tile(sums, 0, 0, kc, a, b);
    if (t->transposed) {
        store_columns(t, sums);
        return;
    }
    gemm_tile row = *t;
    for (int i = 0; i < t->rows; i++, row.c += t->ldc) {
        vec acc[1][2] = {{v_load(sums + i * NR), v_load(sums + i * NR + VLEN)}};
        store_tile(&row, 1, wide ? 2 : 1, acc);
    }
}

const gemm_kernels lathe_gemm_amx = {
    .mr = MR, .nr = NR, .vlen = VLEN, .height = TILE, .per_slot = KP, .unit = UNIT, .tile = tile, .pack_a = pack_a, .pack_b = pack_b,
    .begin = begin, .end = end, .convert = convert_run,
};

#endif
