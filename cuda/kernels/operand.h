// Operands of products: matrices of any type in global memory, read as float a few elements at a time.
#pragma once
#include "quant4.h"

// The types of an operand: compute.DType's numbers of floats, and 4 bits.
enum { KIND_F32 = 0, KIND_BF16 = 1, KIND_F16 = 2, KIND_QUANT4 = 3 };

// Quant4 is what a 4-bit matrix is read with; element e belongs to block e >> shift.
struct Quant4 {
    const float *book; // in shared memory, each entry in a bank of its own: lanes with different codes do not wait for each other
    Scales scales;
    int shift;
};

// QUANT4_ARGS are a 4-bit matrix's arguments of a kernel, and QUANT4 what they make.
#define QUANT4_ARGS const float *absmax, const unsigned char *codes, const float *nested, const float *map, const float *offset, int shift, int type
#define QUANT4(book) Quant4{book, {absmax, codes, nested, map, offset}, shift}

DEV float quant4_scale(const Quant4 &q, long long element) { return scale_of(q.scales, element >> q.shift); }

// Operand is a row-major matrix; vec says that the address and the length of its rows allow reads of four (or eight) elements at once.
struct Operand {
    const void *data;
    long long ld; // elements from one row to the next
    int kind, vec;
    Quant4 quant;
};

DEV float operand_element(const Operand &o, long long at) {
    switch (o.kind) {
    case KIND_F32:
        return ((const float *)o.data)[at];
    case KIND_BF16:
        return to_float(((const bf16_t *)o.data)[at]);
    case KIND_F16:
        return to_float(((const f16_t *)o.data)[at]);
    }
    unsigned pair = ((const unsigned char *)o.data)[at >> 1];
    return __fmul_rn(o.quant.book[at & 1 ? pair & 15 : pair >> 4], quant4_scale(o.quant, at));
}

template <class T> DEV void unpack_into(float *v, unsigned u) {
    float2 f = unpack2<T>(u);
    v[0] = f.x, v[1] = f.y;
}

// operand_vector reads N = 4 or 8 elements of one row, aligned to N. A block of 4-bit elements is a multiple of that.
template <int N> DEV void operand_vector(float (&v)[N], const Operand &o, long long at) {
    if (o.kind == KIND_F32) {
        for (int i = 0; i < N; i += 4) {
            float4 f = *(const float4 *)((const float *)o.data + at + i);
            v[i] = f.x, v[i + 1] = f.y, v[i + 2] = f.z, v[i + 3] = f.w;
        }
    } else if (o.kind == KIND_QUANT4) {
        const unsigned char *p = (const unsigned char *)o.data + (at >> 1);
        unsigned codes = N == 8 ? *(const unsigned *)p : *(const unsigned short *)p;
        float scale = quant4_scale(o.quant, at);
        for (int i = 0; i < N; i++)
            v[i] = __fmul_rn(o.quant.book[codes >> (4 * (i ^ 1)) & 15], scale);
    } else {
        unsigned u[N / 2];
        if (N == 8) {
            uint4 w = *(const uint4 *)((const unsigned short *)o.data + at);
            u[0] = w.x, u[1] = w.y, u[N / 2 - 2] = w.z, u[N / 2 - 1] = w.w;
        } else {
            uint2 w = *(const uint2 *)((const unsigned short *)o.data + at);
            u[0] = w.x, u[1] = w.y;
        }
        for (int i = 0; i < N / 2; i++)
            if (o.kind == KIND_BF16)
                unpack_into<bf16_t>(v + 2 * i, u[i]);
            else
                unpack_into<f16_t>(v + 2 * i, u[i]);
    }
}

// operand_read reads N elements from at on, of which the first valid (0 to N) exist; the others are 0.
template <int N> DEV void operand_read(float (&v)[N], const Operand &o, long long at, int valid) {
    if (valid >= N && o.vec) {
        operand_vector<N>(v, o, at);
        return;
    }
    for (int i = 0; i < N; i++)
        v[i] = i < valid ? operand_element(o, at + i) : 0.0f;
}
