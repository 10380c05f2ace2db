// Elementwise helpers. Grid-stride loops that take any n with any launch shape.
#include "rows.h"

// y[n] = a[n] + scale·b[n]
KERNEL(add_f32, float *y, const float *a, const float *b, float scale, long long n) {
    map(y, a, b, n, [=](float u, float v) { return fmaf(scale, v, u); });
}

// y[n] = value
KERNEL(fill_f32, float *y, float value, long long n) {
    for (long long i = thread_index(); i < n; i += thread_count())
        y[i] = value;
}

// bytes[n] = 0
KERNEL(zero, unsigned char *bytes, long long n) {
    for (long long i = thread_index(); i < n; i += thread_count())
        bytes[i] = 0;
}

// philox is Philox-4x32-10 (Salmon et al. 2011) with counter (block, stream): the draws of elements 4·block … 4·block+3.
DEV uint4 philox(unsigned long long block, unsigned long long stream, unsigned long long seed) {
    unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32), c2 = (unsigned)stream, c3 = (unsigned)(stream >> 32);
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned high2 = __umulhi(0xCD9E8D57u, c2), low2 = 0xCD9E8D57u * c2;
        c0 = high2 ^ c1 ^ k0;
        c1 = low2;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}

// y[n] = draw ≥ threshold ? scale·x[n] : 0, plus the old y where accumulate; threshold is at most 2³². A thread takes four elements,
// those of one cipher block.
KERNEL(dropout, float *y, const float *x, long long n, unsigned long long threshold, float scale, unsigned long long seed,
       unsigned long long stream, int accumulate) {
    bool wide = aligned(y, x);
    for (long long i = thread_index(); 4 * i < n; i += thread_count()) {
        uint4 u = threshold ? philox((unsigned long long)i, stream, seed) : make_uint4(0, 0, 0, 0);
        bool keep[4] = {u.x >= threshold, u.y >= threshold, u.z >= threshold, u.w >= threshold};
        long long at = 4 * i;
        if (wide && at + 4 <= n) {
            float4 v = load4(x + at), old = accumulate ? load4(y + at) : splat4(0);
            v = make_float4(keep[0] ? scale * v.x : 0, keep[1] ? scale * v.y : 0, keep[2] ? scale * v.z : 0, keep[3] ? scale * v.w : 0);
            store4(y + at, make_float4(v.x + old.x, v.y + old.y, v.z + old.z, v.w + old.w));
            continue;
        }
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (at + j < n)
                y[at + j] = (keep[j] ? scale * x[at + j] : 0) + (accumulate ? y[at + j] : 0);
    }
}
