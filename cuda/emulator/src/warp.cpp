// What the lanes of a warp do together: shuffles, votes, ldmatrix (mma.sync is in mma.cpp); and cp.async, which a thread does alone.
#include <cmath>
#include <cstring>

#include "scheduler.h"

namespace emu {

constexpr unsigned ALL = 0xffffffffu;

void warp_sync(unsigned mask) { meet(mask, nullptr, nullptr, "__syncwarp"); }

static void shuffle(void **lanes, unsigned mask) {
    for (unsigned left = mask; left; left &= left - 1) {
        Shuffle *s = (Shuffle *)lanes[__builtin_ctz(left)];
        unsigned from = s->source & 31;
        s->out = mask >> from & 1 ? ((Shuffle *)lanes[from])->in : ~(uint64_t)0; // a lane that is not there gives nothing to rely on
    }
}

void warp_shuffle(unsigned mask, Shuffle *s) { meet(mask, shuffle, s, "a shuffle"); }

struct Ballot {
    bool vote;
    unsigned result;
};

static void ballot(void **lanes, unsigned mask) {
    unsigned result = 0;
    for (unsigned left = mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        result |= (unsigned)((Ballot *)lanes[lane])->vote << lane;
    }
    for (unsigned left = mask; left; left &= left - 1)
        ((Ballot *)lanes[__builtin_ctz(left)])->result = result;
}

unsigned warp_ballot(unsigned mask, bool vote) {
    Ballot b{vote, 0};
    meet(mask, ballot, &b, "a vote");
    return b.result;
}

// 16-bit floats without F16C.
unsigned short float_to_f16_plain(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    unsigned short sign = (unsigned short)(u >> 16 & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return 0x7fff;
    if (u >= 0x477ff000u)
        return sign | 0x7c00;
    if (u < 0x38800000u) { // subnormal: the float's own addition rounds to a multiple of 2^-24
        float a, b = 0.5f;
        memcpy(&a, &u, 4);
        a += b;
        uint32_t v;
        memcpy(&v, &a, 4);
        return sign | (unsigned short)(v - 0x3f000000u);
    }
    u += 0xfffu + (u >> 13 & 1);
    return sign | (unsigned short)((u - 0x38000000u) >> 13);
}

float f16_to_float_plain(unsigned short x) {
    uint32_t magnitude = x & 0x7fffu, u = magnitude << 13;
    if (magnitude >= 0x7c00) {
        u |= 0x7f800000u;
    } else {
        float f;
        memcpy(&f, &u, 4);
        f *= 0x1p112f;
        memcpy(&u, &f, 4);
    }
    u |= (uint32_t)(x & 0x8000) << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

struct Ldmatrix {
    const unsigned char *row;
    unsigned *r;
    int matrices;
};

// count_conflicts adds the extra passes that 8 rows of 16 bytes take: each falls into one of 8 groups of four banks.
static void count_conflicts(void **lanes, int matrix) {
    unsigned group[8] = {}, most = 1;
    for (int i = 0; i < 8; i++) {
        unsigned n = ++group[(uintptr_t)((Ldmatrix *)lanes[matrix * 8 + i])->row / 16 % 8];
        most = n > most ? n : most;
    }
    counters.ldmatrix_conflicts += most - 1;
    counters.ldmatrix++;
}

template <bool trans> static void ldmatrix(void **lanes, unsigned) {
    int matrices = ((Ldmatrix *)lanes[0])->matrices;
    for (int m = 0; m < matrices; m++) {
        count_conflicts(lanes, m);
        for (int lane = 0; lane < 32; lane++) {
            unsigned short e[2];
            for (int k = 0; k < 2; k++) {
                int row = trans ? lane % 4 * 2 + k : lane / 4, column = trans ? lane / 4 : lane % 4 * 2 + k;
                memcpy(&e[k], ((Ldmatrix *)lanes[m * 8 + row])->row + 2 * column, 2);
            }
            ((Ldmatrix *)lanes[lane])->r[m] = (unsigned)e[1] << 16 | e[0];
        }
    }
}

void warp_ldmatrix(int matrices, bool trans, unsigned *r, const void *row) {
    if (current->lane < (unsigned)matrices * 8 && (uintptr_t)row % 16)
        die("ldmatrix from %p, which is not 16-byte aligned", row);
    Ldmatrix l{(const unsigned char *)row, r, matrices};
    meet(ALL, trans ? ldmatrix<true> : ldmatrix<false>, &l, matrices == 4 ? "ldmatrix.x4" : "ldmatrix.x2");
}

// The copies of a thread, which move when it waits for them: until then the destination is poison, and what becomes of the source
// shows.
static Copy copies[1024][MAX_COPIES];

static void finish_copy(Fiber *f) {
    const Copy &c = copies[f->number][f->copy_first++ % MAX_COPIES];
    if (c.src)
        memcpy(c.dst, c.src, c.bytes);
    else
        memset(c.dst, 0, c.bytes);
}

void cp_async(void *dst, const void *src, unsigned bytes, bool valid) {
    Fiber *f = current;
    if ((uintptr_t)dst % bytes || (uintptr_t)src % bytes)
        die("cp.async of %u bytes from %p to %p: both have to be aligned to that", bytes, src, dst);
    if (f->copy_next - f->copy_first == MAX_COPIES)
        finish_copy(f);
    memset(dst, 0xff, bytes);
    copies[f->number][f->copy_next++ % MAX_COPIES] = Copy{dst, valid ? src : nullptr, bytes, f->copy_group};
    counters.async_bytes += valid ? bytes : 0;
}

void cp_async_commit() { current->copy_group++; }

void cp_async_wait(unsigned groups) {
    Fiber *f = current;
    while (f->copy_first != f->copy_next && copies[f->number][f->copy_first % MAX_COPIES].group + groups < f->copy_group)
        finish_copy(f);
}

} // namespace emu
