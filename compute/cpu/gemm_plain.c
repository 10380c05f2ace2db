// Plain C for any processor: 4×8 tiles in GCC's portable vectors of four floats (SSE2, NEON, or scalars).
#include <string.h> // memcpy

#include "gemm_tier.h"

#define TARGET
#define INLINE static inline __attribute__((always_inline))
#define KERNELS lathe_gemm_plain
typedef float vec __attribute__((vector_size(16)));
enum { MR = 4, VLEN = 4, GEMV_MS = 2 };

INLINE vec v_zero(void) { return (vec){0}; }
INLINE vec v_set1(float x) { return (vec){x, x, x, x}; }
INLINE vec v_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void v_store(float *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec v_add(vec a, vec b) { return a + b; }
INLINE vec v_mul(vec a, vec b) { return a * b; }
INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
INLINE float v_sum(vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }

INLINE vec v_load_n(const float *p, int64_t n) {
    vec v = {0};
    for (int i = 0; i < VLEN && i < n; i++)
        v[i] = p[i];
    return v;
}
INLINE void v_store_n(float *p, vec v, int64_t n) {
    for (int i = 0; i < VLEN && i < n; i++)
        p[i] = v[i];
}

INLINE float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// half_to_float widens IEEE binary16; a subnormal is its mantissa times 2⁻²⁴.
INLINE float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0)
        return (sign ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

#define EACH(f) ((vec){f(0), f(1), f(2), f(3)})
INLINE vec v_load_bf16(const uint16_t *p) {
#define WIDEN(i) from_bits((uint32_t)p[i] << 16)
    return EACH(WIDEN);
}
INLINE vec v_load_f16(const uint16_t *p) {
#define HALF(i) half_to_float(p[i])
    return EACH(HALF);
}

// v_round_bf16 rounds to the nearest bfloat16 number, ties to even; a NaN stays one.
INLINE float round_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x != x ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    return from_bits(bits & 0xffff0000);
}
INLINE vec v_round_bf16(vec v) {
#define ROUND(i) round_bf16(v[i])
    return EACH(ROUND);
}

// v_quant4 looks 16 bytes up in the code book: the even elements (high nibbles), then the odd ones.
typedef const float *codebook;
INLINE codebook v_codebook(const float code[16]) { return code; }
INLINE void v_quant4(const uint8_t *p, codebook code, vec w[QUANT4_STEP / VLEN]) {
#define HIGH(i) code[p[4 * v + i] >> 4]
#define LOW(i) code[p[4 * v + i] & 15]
    for (int v = 0; v < QUANT4_STEP / VLEN / 2; v++) {
        w[v] = EACH(HIGH);
        w[v + QUANT4_STEP / VLEN / 2] = EACH(LOW);
    }
}

// v_store_quant4 stores what v_quant4 gave in the order of the elements.
INLINE void v_store_quant4(float *dst, const vec w[QUANT4_STEP / VLEN]) {
    for (int i = 0; i < QUANT4_STEP / 2; i++) {
        dst[2 * i] = w[i / VLEN][i % VLEN];
        dst[2 * i + 1] = w[(i + QUANT4_STEP / 2) / VLEN][i % VLEN];
    }
}

INLINE void v_transpose(vec r[VLEN]) {
    vec t[VLEN];
    for (int i = 0; i < VLEN; i++)
        t[i] = (vec){r[0][i], r[1][i], r[2][i], r[3][i]};
    for (int i = 0; i < VLEN; i++)
        r[i] = t[i];
}

#define TILES(X, V) X(1, V), X(2, V), X(3, V), X(4, V)
#define DEFINE_TILES(X, V) X(1, V) X(2, V) X(3, V) X(4, V)

#include "gemm_float.h"
