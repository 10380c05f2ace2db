// AVX2 with FMA: 6×16 tiles, 12 of 16 registers hold sums.
#if defined(__x86_64__)

#include <immintrin.h>

#include "gemm_tier.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define KERNELS lathe_gemm_avx2
typedef __m256 vec;
enum { MR = 6, VLEN = 8 };

INLINE vec v_zero(void) { return _mm256_setzero_ps(); }
INLINE vec v_set1(float x) { return _mm256_set1_ps(x); }
INLINE vec v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

INLINE float v_sum(vec v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE __m256i first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vec v_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
INLINE void v_store_n(float *p, vec v, int64_t n) { _mm256_maskstore_ps(p, first(n), v); }

INLINE vec v_load_bf16(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
INLINE vec v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }

// v_round_bf16 rounds to the nearest bfloat16 number, ties to even; a NaN stays one.
INLINE vec v_round_bf16(vec v) {
    const __m256i bits = _mm256_castps_si256(v), high = _mm256_set1_epi32((int)0xffff0000);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i near = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const vec rounded = _mm256_blendv_ps(_mm256_castsi256_ps(near), _mm256_castsi256_ps(nan), _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_and_ps(rounded, _mm256_castsi256_ps(high));
}

// quant4_lookup picks by bits 0-2 from both halves of the code book and by bit 3 between the two.
typedef struct {
    vec low, high;
} codebook;
INLINE codebook v_codebook(const float code[16]) { return (codebook){_mm256_loadu_ps(code), _mm256_loadu_ps(code + 8)}; }
INLINE vec quant4_lookup(codebook code, __m256i index) {
    vec low = _mm256_permutevar8x32_ps(code.low, index), high = _mm256_permutevar8x32_ps(code.high, index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

// v_quant4 looks VLEN bytes up in the code book: the even elements (high nibbles) and the odd ones.
INLINE void v_quant4(const uint8_t *p, codebook code, vec *even, vec *odd) {
    __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    *odd = quant4_lookup(code, pairs);
    *even = quant4_lookup(code, _mm256_srli_epi32(pairs, 4));
}

// v_interleave returns a0 b0 a1 b1 … in two vectors.
INLINE void v_interleave(vec a, vec b, vec *lo, vec *hi) {
    vec l = _mm256_unpacklo_ps(a, b), h = _mm256_unpackhi_ps(a, b);
    *lo = _mm256_permute2f128_ps(l, h, 0x20);
    *hi = _mm256_permute2f128_ps(l, h, 0x31);
}

// v_transpose transposes 8×8: 2×2 within 4×4 within 128-bit lanes, then the lanes.
INLINE void v_transpose(vec r[VLEN]) {
    vec t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
        vec a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        vec c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#define TILES(X, V) X(1, V), X(2, V), X(3, V), X(4, V), X(5, V), X(6, V)
#define DEFINE_TILES(X, V) X(1, V) X(2, V) X(3, V) X(4, V) X(5, V) X(6, V)

#include "gemm_float.h"

#endif
