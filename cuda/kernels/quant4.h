// 4-bit weights as bitsandbytes keeps them: codes of two elements in a byte, the even one in the high nibble, and a scale for every
// block of elements of the row-major matrix, plain or itself in 8 bits.
#pragma once
#include "device.h"

// The code books: compute.NF4Code and compute.FP4Code.
CONSTANT float NF4_CODE[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};
CONSTANT float FP4_CODE[16] = {
    0.0f, 0.0625f / 12.0f, 8.0f / 12.0f, 1.0f, 4.0f / 12.0f, 6.0f / 12.0f, 2.0f / 12.0f, 3.0f / 12.0f,
    0.0f, -0.0625f / 12.0f, -8.0f / 12.0f, -1.0f, -4.0f / 12.0f, -6.0f / 12.0f, -2.0f / 12.0f, -3.0f / 12.0f};

enum { CODE_NF4, CODE_FP4 }; // compute.QuantType
enum { NESTED_BLOCK = 256 }; // scales that share one of the second level

// Scales of a 4-bit weight: absmax[block], or, where that is null, map[codes[block]]·nested[block/256] + offset.
struct Scales {
    const float *absmax;
    const unsigned char *codes;
    const float *nested, *map, *offset;
};

// scale_of is the scale of a block: a product and a sum that each round, as in bitsandbytes.
DEV float scale_of(const Scales &s, long long block) {
    if (s.absmax)
        return __ldg(s.absmax + block);
    return __fadd_rn(__fmul_rn(__ldg(s.map + __ldg(s.codes + block)), __ldg(s.nested + block / NESTED_BLOCK)), __ldg(s.offset));
}

// load_code_book copies a code book to shared memory of 16 floats, whose lanes then read 16 banks without conflict; the caller
// synchronises.
DEV void load_code_book(float *book, int type) {
    if (threadIdx.x < 16)
        book[threadIdx.x] = type == CODE_FP4 ? FP4_CODE[threadIdx.x] : NF4_CODE[threadIdx.x];
}
