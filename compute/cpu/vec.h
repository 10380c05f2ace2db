// A vector of floats for the tier being compiled: the few operations that the kernels need, each one instruction or a
// handful. Included once by each tier_*.c, which sets LATHE_TIER and the compiler's target first. Arithmetic uses the
// compiler's vector operators; the plain tier is four lanes that any processor's compiler can map.
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))

#if LATHE_TIER == 2
#include <immintrin.h>
#define LANES 16
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

#define tail_mask(n) ((__mmask16)((1u << (n)) - 1))
INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
INLINE vi v_iset(int32_t x) { return _mm512_set1_epi32(x); }
INLINE vi v_iota(void) { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE vi v_iload(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE vf v_load_head(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(tail_mask(n), p); }
INLINE void v_store_head(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, tail_mask(n), x); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE vm v_ile(vi a, vi b) { return _mm512_cmple_epi32_mask(a, b); }
INLINE vm m_and(vm a, vm b) { return a & b; }
INLINE vm m_or(vm a, vm b) { return a | b; }
INLINE vm m_not(vm a) { return (__mmask16)~a; }
INLINE vf v_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
INLINE vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }

#elif LATHE_TIER == 1
#include <immintrin.h>
#define LANES 8
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

INLINE __m256i tail_mask(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
INLINE vi v_iset(int32_t x) { return _mm256_set1_epi32(x); }
INLINE vi v_iota(void) { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
INLINE vi v_iload(const int32_t *p) { return _mm256_loadu_si256((const void *)p); }
INLINE vf v_load_head(const float *p, int64_t n) { return _mm256_maskload_ps(p, tail_mask(n)); }
INLINE void v_store_head(float *p, vf x, int64_t n) { _mm256_maskstore_ps(p, tail_mask(n), x); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE vm v_ile(vi a, vi b) {
    return _mm256_castsi256_ps(_mm256_xor_si256(_mm256_cmpgt_epi32(a, b), _mm256_set1_epi32(-1)));
}
INLINE vm m_and(vm a, vm b) { return _mm256_and_ps(a, b); }
INLINE vm m_or(vm a, vm b) { return _mm256_or_ps(a, b); }
INLINE vm m_not(vm a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
INLINE vf v_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
// a·2ⁿ in two steps, so that n down to -252 passes through the denormals.
INLINE vf v_scale2(vf a, vf n) {
    __m256i e = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(e, 1), bias = _mm256_set1_epi32(127);
    __m256i p = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i q = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(e, half), bias), 23);
    return a * _mm256_castsi256_ps(p) * _mm256_castsi256_ps(q);
}
// The lowest bits of the float's own as exponent.
INLINE vf v_shift_to_exponent(vf a) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23)); }

#else
#define LANES 4
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef vi vm;

INLINE vf v_set(float x) { return (vf){x, x, x, x}; }
INLINE vi v_iset(int32_t x) { return (vi){x, x, x, x}; }
INLINE vi v_iota(void) { return (vi){0, 1, 2, 3}; }
INLINE vf v_load(const float *p) {
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}
INLINE void v_store(float *p, vf x) { memcpy(p, &x, sizeof x); }
INLINE vi v_iload(const int32_t *p) {
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}
INLINE vf v_load_head(const float *p, int64_t n) {
    vf x = v_set(0);
    for (int i = 0; i < n && i < LANES; i++) x[i] = p[i];
    return x;
}
INLINE void v_store_head(float *p, vf x, int64_t n) {
    for (int i = 0; i < n && i < LANES; i++) p[i] = x[i];
}
INLINE vm v_lt(vf a, vf b) { return a < b; }
INLINE vm v_ile(vi a, vi b) { return a <= b; }
INLINE vm m_and(vm a, vm b) { return a & b; }
INLINE vm m_or(vm a, vm b) { return a | b; }
INLINE vm m_not(vm a) { return ~a; }
INLINE vf v_select(vm m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
INLINE vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
INLINE vf v_abs(vf a) { return (vf)((vi)a & v_iset(0x7fffffff)); }
INLINE vf v_sqrt(vf a) {
    for (int i = 0; i < LANES; i++) a[i] = sqrtf(a[i]);
    return a;
}
// Adding 1.5·2²³ rounds to the nearest integer for |a| < 2²².
INLINE vf v_round(vf a) {
    vf magic = v_set(12582912.0f);
    return (a + magic) - magic;
}
INLINE vf v_scale2(vf a, vf n) {
    vi e = __builtin_convertvector(n, vi), half = e >> 1;
    return a * (vf)((half + 127) << 23) * (vf)((e - half + 127) << 23);
}
INLINE vf v_shift_to_exponent(vf a) { return (vf)((vi)a << 23); }
#endif

INLINE vf v_zero(void) { return v_set(0); }

// The first min(n, LANES) floats, zeros after them.
INLINE vf v_get(const float *p, int64_t n) { return n >= LANES ? v_load(p) : v_load_head(p, n); }
INLINE void v_put(float *p, vf x, int64_t n) {
    if (n >= LANES)
        v_store(p, x);
    else
        v_store_head(p, x, n);
}

// The sum of the lanes, as a tree.
INLINE float v_sum(vf x) {
    float lane[LANES];
    v_store(lane, x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

INLINE float v_highest(vf x) {
    float lane[LANES];
    v_store(lane, x);
    for (int i = 1; i < LANES; i++) lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
    return lane[0];
}

// eʳ for |r| ≤ ½ ln 2, by the polynomial of Cephes' expf.
INLINE vf v_exp_polynomial(vf r) {
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    return v_fma(p, r * r, r) + v_set(1.0f);
}

// eˣ within 1 ulp (measured over all floats; Cody-Waite reduction) for x ≤ 88.7; 0 below -103.98; NaN stays. (v_max and
// v_min give their second operand where one is NaN.)
INLINE vf v_exp_bounded(vf x) {
    vf y = v_max(v_set(-104.5f), x);
    vf n = v_round(y * v_set(1.44269504088896341f));
    vf r = v_fma(n, v_set(-0.693359375f), y);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    return v_scale2(v_exp_polynomial(r), n);
}

// The same for every x; infinity above 88.73.
INLINE vf v_exp(vf x) { return v_exp_bounded(v_min(v_set(89.0f), x)); }

// eˣ for x ≤ 88 as above where it is a normal number, 0 below that (x < -87.3), for a denormal result costs an Intel processor more than a
// hundred cycles; NaN stays. The integer nearest to x/ln 2, and float32's bias, are the lowest bits of a sum with 1.5·2²³. (AVX-512 scales
// by an instruction, for the same.)
INLINE vf v_exp_normal(vf x) {
#if LATHE_TIER == 2
    return v_select(v_lt(x, v_set(-87.3f)), v_zero(), v_exp_bounded(v_max(v_set(-87.3f), x)));
#else
    const vf bias = v_set(12582912.0f + 127.0f);
    vf t = v_fma(x, v_set(1.44269504088896341f), bias), n = t - bias;
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf y = v_exp_polynomial(r) * v_shift_to_exponent(t);
    return v_select(v_lt(x, v_set(-87.3f)), v_zero(), y);
#endif
}

// tanh within 3 ulp: Cephes' polynomial near zero, 1 - 2/(e²ˣ+1) elsewhere.
INLINE vf v_tanh(vf x) {
    vf z = x * x;
    vf p = v_set(-5.70498872745e-3f);
    p = v_fma(p, z, v_set(2.06390887954e-2f));
    p = v_fma(p, z, v_set(-5.37397155531e-2f));
    p = v_fma(p, z, v_set(1.33314422036e-1f));
    p = v_fma(p, z, v_set(-3.33332819422e-1f));
    p = v_fma(p * z, x, x);
    vf far = v_set(1.0f) - v_set(2.0f) / (v_exp(x + x) + v_set(1.0f));
    return v_select(v_lt(v_abs(x), v_set(0.625f)), p, far);
}
