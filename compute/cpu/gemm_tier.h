// What a tier of kernels gives to the blocking in gemm.c. Every tier fills this table from the one template in
// gemm_kernel.h and gemm_gemv.h.
#ifndef LATHE_GEMM_TIER_H
#define LATHE_GEMM_TIER_H

#include "gemm.h"

// LATHE_HAS_BF16 says whether the compiler knows AVX512_BF16 and AMX.
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define LATHE_HAS_BF16 1
#else
#define LATHE_HAS_BF16 0
#endif

// GEMM_KC bounds the depth of one micro-kernel call: 640 columns and LoRA's 64 at most in one go. Each element of C is a sum over blocks of k, one rounding to memory a
// block, so this constant decides bits: it is the same in all tiers and for any number of threads.
enum {
    GEMM_KC = 704,
    GEMM_FETCH = 4, // slots of depth from one fetch of gemm_tile.next to the next one
    GEMM_MAX_MR = 32,
    GEMM_MAX_NR = 32,
    GEMM_PACK_LANES = 256, // lanes that are packed side by side at most
    GEMM_PANEL_SLACK = 16, // floats that packing may write beyond a panel
    GEMV_MAX_M = 16,  // rows of a product that are computed as vectors
    QUANT4_STEP = 32, // elements that v_quant4 looks up: 16 bytes
};

// gemm_tile says what to do with the sums of a tile of C.
typedef struct {
    float *c; // [rows,cols], row stride ldc; [cols,rows] where transposed
    int64_t ldc;
    int rows, cols;
    int transposed;
    const float *bias; // [cols] added, [rows] where transposed, or NULL
    int add;           // add to what C holds
    // Where lda is not 0, A lies in rows that far apart, and `rest` is a packed panel of the rest_kc slots that follow in depth. Where panel is
    // not NULL, B lies in rows, which are packed into it on the way; it holds the rest_kc slots that follow already, and A's are at `rest`.
    int64_t lda, rest_kc;
    const float *rest;
    float *panel;
    // A cache line that is wanted later is fetched every GEMM_FETCH slots, each next_step bytes after the one before.
    const char *next;
    int64_t next_step;
} gemm_tile;

typedef struct {
    int mr, nr, vlen; // the largest tile; floats in a vector
    int height;       // packed rows of A come in multiples of it
    int per_slot;     // elements of depth in a slot of 32 bits of a packed panel: a float, or two bfloat16 numbers
    int unit;         // depth is packed in multiples of it
    // begin and end enclose the tiles of a task on its thread; or NULL.
    void (*begin)(void), (*end)(void);
    int reads_rows;   // whether tile takes rows of A
    // tile computes Σ_k a[k·rows+i]·b[k·ldb+j], or a[i·lda+k]·b[k·ldb+j], for j < width, which is vlen where cols ≤ vlen, else nr, over kc slots; it fetches b
    // `ahead` rows before their use.
    void (*tile)(const gemm_tile *t, int64_t kc, const float *a, const float *b, int64_t ldb, int ahead);
    // pack_a and pack_b write slot k/per_slot of lane l = scale·m[lane0+l, k0+k] for l < lanes, k < kc, where m's lane stride is ls
    // and its depth stride is ds; slots are `stride` apart, and end with zeros for a whole unit. Up to the next whole vector of
    // lanes the content is undefined. Lanes that are contiguous are float32.
    void (*pack_a)(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t ds, int64_t lane0, int lanes, int64_t k0,
                   int64_t kc, float scale);
    void (*pack_b)(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t ds, int64_t lane0, int lanes, int64_t k0,
                   int64_t kc, float scale);
    // gemv computes rows [n0,n1) of C[m, n] = x·Bᵀ for few m, reading each row of B once. x and u are [m,k] and [m,r] as
    // gemv_x laid them out.
    void (*gemv)(const lathe_gemm_args *g, const float *x, const float *u, int64_t n0, int64_t n1);
    // gemv_x copies a [m,k] operand times scale to dst, rows of gemv_stride(k), in the order in which gemv reads b.
    void (*gemv_x)(float *dst, const lathe_matrix *a, int64_t m, int64_t k, const lathe_matrix *b, float scale);
    // convert widens n elements from element e on of an operand stored without gaps.
    void (*convert)(float *dst, const lathe_matrix *m, int64_t e, int64_t n);
} gemm_kernels;

// Tiers with floats in their panels, exact and rounded to bfloat16; and those with pairs, which have no gemv.
extern const gemm_kernels lathe_gemm_plain[2], lathe_gemm_avx2[2], lathe_gemm_avx512[2];
extern const gemm_kernels lathe_gemm_avx512bf16, lathe_gemm_amx;

// gemm_kernels_in_use is the table of the tier in use, for products of float32 or of `narrow` operands.
const gemm_kernels *gemm_kernels_in_use(int narrow);

// gemv_stride is the row stride of vectors of k elements, whole vectors of any tier.
static inline int64_t gemv_stride(int64_t k) { return (k + 63) / 64 * 64; }

// quant4_scale is the scale of a block.
static inline float quant4_scale(const lathe_quant4 *q, int64_t block) {
    if (q->absmax)
        return q->absmax[block];
    // bitsandbytes rounds the product before it adds the offset: no fused multiply-add here (-ffp-contract=off).
    float scale = q->map[q->codes[block]] * q->nested[block >> 8];
    return scale + *q->offset;
}

#endif
