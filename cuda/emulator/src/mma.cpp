// mma.sync m16n8k16 for a whole warp, and for tiles of such products that share their operands.
#include <cstring>

#include "scheduler.h"

namespace emu {

typedef float Float4 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));
typedef unsigned Bits4 __attribute__((vector_size(16)));
typedef unsigned Bits8 __attribute__((vector_size(32)));

typedef double Pair2 __attribute__((vector_size(16))); // two floats each
typedef double Pair4 __attribute__((vector_size(32)));

constexpr int MAX_TILES = 8; // of 16 rows or of 8 columns

struct Mma {
    float *c;          // [rows, columns, 4]
    const unsigned *a; // [rows, 4]
    const unsigned *b; // [columns, 2]
    int rows, columns; // of tiles
};

// widen turns one half of each pair of 16-bit floats into a float.
template <MmaType type, class F, class B> static inline F widen(B pairs, bool high) {
    if (type == MMA_BF16)
        return (F)(high ? pairs & 0xffff0000u : pairs << 16);
    B half = high ? pairs >> 16 : pairs & 0xffffu, magnitude = (half & 0x7fffu) << 13;
    B bits = (B)((F)magnitude * 0x1p112f);                     // subnormals too
    bits |= (B)(magnitude >= 0x7c00u << 13) & 0x7f800000u;     // infinity and NaN
    return (F)(bits | (half & 0x8000u) << 16);
}

// Where a lane's registers are, with g = lane/4 and t = lane%4: a = {[g,2t..], [g+8,2t..], [g,2t+8..], [g+8,2t+8..]}, b = {[2t..,g],
// [2t+8..,g]}, c = {[g,2t..], [g+8,2t..]}, two elements each. k is taken in the order 0 2 4 6 1 3 5 7 8 10 12 14 9 11 13 15, as the
// halves of four lanes give it; a[i] has 16 floats in that order.
template <MmaType type> static void load_a(void **lanes, int tile, float (*a)[16]) {
    for (int g = 0; g < 8; g++) {
        Bits4 r[4];
        for (int t = 0; t < 4; t++)
            memcpy(&r[t], ((const Mma *)lanes[4 * g + t])->a + 4 * tile, 16);
        Bits4 x = __builtin_shuffle(r[0], r[1], Bits4{0, 4, 1, 5}), y = __builtin_shuffle(r[2], r[3], Bits4{0, 4, 1, 5});
        Bits4 z = __builtin_shuffle(r[0], r[1], Bits4{2, 6, 3, 7}), w = __builtin_shuffle(r[2], r[3], Bits4{2, 6, 3, 7});
        Bits4 registers[4] = {
            __builtin_shuffle(x, y, Bits4{0, 1, 4, 5}), __builtin_shuffle(x, y, Bits4{2, 3, 6, 7}),
            __builtin_shuffle(z, w, Bits4{0, 1, 4, 5}), __builtin_shuffle(z, w, Bits4{2, 3, 6, 7}),
        };
        for (int i = 0; i < 4; i++) {
            float *to = a[g + i % 2 * 8] + i / 2 * 8;
            Float4 low = widen<type, Float4>(registers[i], false), high = widen<type, Float4>(registers[i], true);
            memcpy(to, &low, 16);
            memcpy(to + 4, &high, 16);
        }
    }
}

// load_b gives the rows of b in the same order.
template <MmaType type> static void load_b(void **lanes, int tile, Float8 *b) {
    Bits8 registers[2][4];
    for (int lane = 0; lane < 32; lane++) {
        const unsigned *from = ((const Mma *)lanes[lane])->b + 2 * tile;
        ((unsigned *)&registers[0][lane % 4])[lane / 4] = from[0];
        ((unsigned *)&registers[1][lane % 4])[lane / 4] = from[1];
    }
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < 4; i++)
            b[4 * i + t] = widen<type, Float8>(registers[i / 2][t], i % 2);
}

static void load_c(void **lanes, int at, Float8 *c) {
    for (int g = 0; g < 8; g++) {
        Pair2 r[4];
        for (int t = 0; t < 4; t++)
            memcpy(&r[t], ((const Mma *)lanes[4 * g + t])->c + at, 16);
        c[g] = (Float8)__builtin_shufflevector(__builtin_shufflevector(r[0], r[1], 0, 2), __builtin_shufflevector(r[2], r[3], 0, 2), 0, 1, 2, 3);
        c[g + 8] = (Float8)__builtin_shufflevector(__builtin_shufflevector(r[0], r[1], 1, 3), __builtin_shufflevector(r[2], r[3], 1, 3), 0, 1, 2, 3);
    }
}

static void store_c(void **lanes, int at, const Float8 *c) {
    for (int g = 0; g < 8; g++) {
        Pair4 low = (Pair4)c[g], high = (Pair4)c[g + 8];
        Pair2 r[4] = {
            __builtin_shufflevector(low, high, 0, 4), __builtin_shufflevector(low, high, 1, 5),
            __builtin_shufflevector(low, high, 2, 6), __builtin_shufflevector(low, high, 3, 7),
        };
        for (int t = 0; t < 4; t++)
            memcpy(((const Mma *)lanes[4 * g + t])->c + at, &r[t], 16);
    }
}

// Products of 16-bit floats are exact in a float: only the order of the sums is a choice.
static void multiply(const float (*a)[16], const Float8 *b, Float8 *c) {
    for (int i = 0; i < 16; i += 4) {
        Float8 c0 = c[i], c1 = c[i + 1], c2 = c[i + 2], c3 = c[i + 3];
        for (int k = 0; k < 16; k++) {
            c0 += a[i][k] * b[k];
            c1 += a[i + 1][k] * b[k];
            c2 += a[i + 2][k] * b[k];
            c3 += a[i + 3][k] * b[k];
        }
        c[i] = c0, c[i + 1] = c1, c[i + 2] = c2, c[i + 3] = c3;
    }
}

template <MmaType type> static void mma(void **lanes, unsigned) {
    const Mma &any = *(const Mma *)lanes[0];
    float a[16][16];
    Float8 b[MAX_TILES][16], c[16];
    for (int j = 0; j < any.columns; j++)
        load_b<type>(lanes, j, b[j]);
    for (int i = 0; i < any.rows; i++) {
        load_a<type>(lanes, i, a);
        for (int j = 0; j < any.columns; j++) {
            int at = 4 * (i * any.columns + j);
            load_c(lanes, at, c);
            multiply(a, b[j], c);
            store_c(lanes, at, c);
        }
    }
    counters.mma += (uint64_t)(any.rows * any.columns);
}

void warp_mma(MmaType type, int rows, int columns, float *c, const unsigned *a, const unsigned *b) {
    Mma m{c, a, b, rows, columns};
    if (columns > MAX_TILES)
        die("a tile of %d mma.sync in a row; the emulator takes %d", columns, MAX_TILES);
    meet(0xffffffffu, type == MMA_BF16 ? mma<MMA_BF16> : mma<MMA_F16>, &m, "mma.sync");
}

} // namespace emu
