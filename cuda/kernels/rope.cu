// Rotary position embedding (Su et al. 2021), in place.
#include "rows.h"

// x[n,h,d]: blockDim.x threads turn one head of one token, row = n·h. A thread takes four pairs, (i, i+half) or (2i, 2i+1), so that eight
// elements, four cosines and four sines move in 16 bytes each; the tables' rows of a position stay in the cache for the other heads.
// sign is -1 to turn back.
template <bool ALIGNED, bool INTERLEAVED>
DEV void turn(float *x, const float *cosine, const float *sine, const int *positions, long long rows, int h, int d, int half, float sign) {
    long long row = block_row();
    if (row >= rows)
        return;
    long long at = (long long)positions[row / h] * half;
    cosine += at;
    sine += at;
    x += row * d;
    for (int i = 4 * threadIdx.x; i < half; i += 4 * blockDim.x) {
        float4 c = get4<ALIGNED>(cosine, i, half), s = get4<ALIGNED>(sine, i, half), u, v;
        s = make_float4(sign * s.x, sign * s.y, sign * s.z, sign * s.w);
        if (INTERLEAVED) {
            float4 a = get4<ALIGNED>(x, 2 * i, 2 * half), b = get4<ALIGNED>(x, 2 * i + 4, 2 * half);
            u = make_float4(a.x, a.z, b.x, b.z);
            v = make_float4(a.y, a.w, b.y, b.w);
        } else {
            u = get4<ALIGNED>(x, i, half);
            v = get4<ALIGNED>(x + half, i, half);
        }
        auto product = [](float a, float b) { return a * b; };
        auto plus = [](float a, float b, float sum) { return fmaf(a, b, sum); };
        auto minus = [](float a, float b, float sum) { return fmaf(-a, b, sum); };
        float4 p = map4(minus, v, s, map4(product, u, c)), q = map4(plus, u, s, map4(product, v, c));
        if (INTERLEAVED) {
            put4<ALIGNED>(x, 2 * i, 2 * half, make_float4(p.x, q.x, p.y, q.y));
            put4<ALIGNED>(x, 2 * i + 4, 2 * half, make_float4(p.z, q.z, p.w, q.w));
        } else {
            put4<ALIGNED>(x, i, half, p);
            put4<ALIGNED>(x + half, i, half, q);
        }
    }
}

KERNEL(rope, float *x, const float *cosine, const float *sine, const int *positions, long long rows, int h, int d, int half, float sign) {
    if (d % 4 == 0 && half % 4 == 0 && aligned(x, cosine, sine))
        turn<true, false>(x, cosine, sine, positions, rows, h, d, half, sign);
    else
        turn<false, false>(x, cosine, sine, positions, rows, h, d, half, sign);
}

KERNEL(rope_interleaved, float *x, const float *cosine, const float *sine, const int *positions, long long rows, int h, int d, int half,
       float sign) {
    if (d % 4 == 0 && half % 4 == 0 && aligned(x, cosine, sine))
        turn<true, true>(x, cosine, sine, positions, rows, h, d, half, sign);
    else
        turn<false, true>(x, cosine, sine, positions, rows, h, d, half, sign);
}
