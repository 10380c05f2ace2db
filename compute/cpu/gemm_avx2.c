// AVX2 with FMA: 6×16 tiles, 12 of 16 registers hold sums.
#if defined(__x86_64__)

#include <immintrin.h>

#include "gemm_tier.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define KERNELS lathe_gemm_avx2
typedef __m256 vec;
enum { MR = 6, VLEN = 8, GEMV_MS = 3 };

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
// A border goes by fours, twos and ones: stores under a mask are microcode on AMD's processors.
INLINE void v_store_n(float *p, vec v, int64_t n) {
    if (n >= VLEN) {
        v_store(p, v);
        return;
    }
    __m128 part = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, part);
}

// Zeros below each number by interleaving: widening and shifting take twice as long on AMD's first cores with AVX2.
INLINE vec v_load_bf16(const uint16_t *p) {
    const __m128i bits = _mm_loadu_si128((const __m128i *)p), zero = _mm_setzero_si128();
    return _mm256_castsi256_ps(_mm256_set_m128i(_mm_unpackhi_epi16(zero, bits), _mm_unpacklo_epi16(zero, bits)));
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

// codebook is the code book's floats by the significance of their bytes: one byte shuffle looks 32 codes up in a plane. (The
// permutation of floats by bits 0-2, twice, and a blend by bit 3 take 4 and 2 cycles each on AMD's first cores with AVX2.)
typedef struct {
    __m256i plane[4];
} codebook;
INLINE codebook v_codebook(const float code[16]) {
    const __m128i by_byte = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m128 r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        r[i] = _mm_castsi128_ps(_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(code + 4 * i)), by_byte));
    _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
    codebook book;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        book.plane[i] = _mm256_broadcastsi128_si256(_mm_castps_si128(r[i]));
    return book;
}

// v_quant4 looks 16 bytes up in the code book. Even elements (high nibbles) are in the lower halves, odd ones in the upper, so that
// nothing has to cross: vector v holds elements 8v … 8v+7 in quant4_order.
INLINE void v_quant4(const uint8_t *p, codebook code, vec w[QUANT4_STEP / VLEN]) {
    const __m128i pairs = _mm_loadu_si128((const __m128i *)p);
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_srli_epi16(pairs, 4)), pairs, 1);
    const __m256i index = _mm256_and_si256(both, _mm256_set1_epi8(15));
    const __m256i b0 = _mm256_shuffle_epi8(code.plane[0], index), b1 = _mm256_shuffle_epi8(code.plane[1], index);
    const __m256i b2 = _mm256_shuffle_epi8(code.plane[2], index), b3 = _mm256_shuffle_epi8(code.plane[3], index);
    const __m256i low = _mm256_unpacklo_epi8(b0, b1), high = _mm256_unpacklo_epi8(b2, b3); // halves of 8 floats of each lane
    const __m256i next_low = _mm256_unpackhi_epi8(b0, b1), next_high = _mm256_unpackhi_epi8(b2, b3);
    w[0] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low, high));
    w[1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low, high));
    w[2] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(next_low, next_high));
    w[3] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(next_low, next_high));
}
#define QUANT4_ORDER                                                                                                         \
    0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15, 16, 18, 20, 22, 17, 19, 21, 23, 24, 26, 28, 30, 25, 27, 29, 31

// low_halves and high_halves join 128 bits of each (a permutation of both vectors takes eight operations on AMD's first cores with AVX2).
INLINE vec low_halves(vec a, vec b) { return _mm256_insertf128_ps(a, _mm256_castps256_ps128(b), 1); }
INLINE vec high_halves(vec a, vec b) {
    return _mm256_blend_ps(b, _mm256_castps128_ps256(_mm256_extractf128_ps(a, 1)), 15);
}

// v_store_quant4 stores what v_quant4 gave in the order of the elements.
INLINE void v_store_quant4(float *dst, const vec w[QUANT4_STEP / VLEN]) {
#pragma GCC unroll 4
    for (int v = 0; v < QUANT4_STEP / VLEN; v++) {
        const __m128 even = _mm256_castps256_ps128(w[v]), odd = _mm256_extractf128_ps(w[v], 1);
        _mm_storeu_ps(dst + v * VLEN, _mm_unpacklo_ps(even, odd));
        _mm_storeu_ps(dst + v * VLEN + 4, _mm_unpackhi_ps(even, odd));
    }
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
        r[i] = low_halves(t[i], t[i + 4]);
        r[i + 4] = high_halves(t[i], t[i + 4]);
    }
}

#define TILES(X, V) X(1, V), X(2, V), X(3, V), X(4, V), X(5, V), X(6, V)
#define DEFINE_TILES(X, V) X(1, V) X(2, V) X(3, V) X(4, V) X(5, V) X(6, V)

#include "gemm_float.h"

#endif
