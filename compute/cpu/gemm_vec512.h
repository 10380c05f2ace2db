// The vector of the tiers with AVX-512. The including file defines TARGET and INLINE.

#include <immintrin.h>

typedef __m512 vec;
enum { VLEN = 16 };

INLINE vec v_zero(void) { return _mm512_setzero_ps(); }
INLINE vec v_set1(float x) { return _mm512_set1_ps(x); }
INLINE vec v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE float v_sum(vec v) { return _mm512_reduce_add_ps(v); }

INLINE __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }
INLINE vec v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
INLINE void v_store_n(float *p, vec v, int64_t n) { _mm512_mask_storeu_ps(p, first(n), v); }

INLINE vec v_load_bf16(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
INLINE vec v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }

// v_round_bf16 rounds to the nearest bfloat16 number, ties to even; a NaN stays one.
INLINE vec v_round_bf16(vec v) {
    const __m512i bits = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_or_epi32(near, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32((int)0xffff0000)));
}

// v_quant4 looks 16 bytes up in the code book: the even elements (high nibbles), then the odd ones. The permutation uses only the
// low four bits of an index.
typedef vec codebook;
INLINE codebook v_codebook(const float code[16]) { return _mm512_loadu_ps(code); }
INLINE void v_quant4(const uint8_t *p, codebook code, vec w[QUANT4_STEP / VLEN]) {
    __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    w[0] = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), code);
    w[1] = _mm512_permutexvar_ps(pairs, code);
}

// v_store_quant4 stores what v_quant4 gave in the order of the elements.
INLINE void v_store_quant4(float *dst, const vec w[QUANT4_STEP / VLEN]) {
    const __m512i l = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    _mm512_storeu_ps(dst, _mm512_permutex2var_ps(w[0], l, w[1]));
    _mm512_storeu_ps(dst + VLEN, _mm512_permutex2var_ps(w[0], _mm512_add_epi32(l, _mm512_set1_epi32(8)), w[1]));
}

// v_transpose transposes 16×16: 2×2 within 4×4 within 128-bit lanes, then the lanes.
INLINE void v_transpose(vec r[VLEN]) {
    vec t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
        vec a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        vec c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; i++) {
        vec a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        vec c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

// 14 rows of two vectors: 28 of 32 registers hold sums.
#define TILES(X, V) X(1, V), X(2, V), X(3, V), X(4, V), X(5, V), X(6, V), X(7, V), X(8, V), X(9, V), X(10, V), X(11, V), X(12, V), X(13, V), X(14, V)
#define DEFINE_TILES(X, V) X(1, V) X(2, V) X(3, V) X(4, V) X(5, V) X(6, V) X(7, V) X(8, V) X(9, V) X(10, V) X(11, V) X(12, V) X(13, V) X(14, V)
