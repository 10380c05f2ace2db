// What the products share: where the result goes. C[m,n] = alpha·sum (+ bias[n]) (+ C), or, where the sum over k is cut into parts that
// other blocks compute, the bare sum to parts[part,m,n], which add_parts adds in their order.
#pragma once
#include "device.h"

struct Result {
    float *c; // [m,n], rows of ldc
    long long ldc;
    int m, n;
    float alpha;
    const float *bias; // [n], or null
    int accumulate;
    float *parts; // [parts,m,n], or null
};

#define RESULT_ARGS float *c, long long ldc, int m, int n, float alpha, const float *bias, int accumulate, float *parts
#define RESULT Result{c, ldc, m, n, alpha, bias, accumulate, parts}

// result_value is the finished element that a sum becomes.
DEV float result_value(const Result &r, float sum, int col, float old) {
    float v = __fmul_rn(r.alpha, sum);
    if (r.bias)
        v = __fadd_rn(v, r.bias[col]);
    return r.accumulate ? __fadd_rn(v, old) : v;
}

DEV void load_vector(float (&v)[2], const float *p) {
    float2 f = *(const float2 *)p;
    v[0] = f.x, v[1] = f.y;
}
DEV void load_vector(float (&v)[4], const float *p) {
    float4 f = *(const float4 *)p;
    v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
}
DEV void store_vector(float *p, const float (&v)[2]) { *(float2 *)p = make_float2(v[0], v[1]); }
DEV void store_vector(float *p, const float (&v)[4]) { *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]); }

// result_write stores N = 2 or 4 neighbours of a row, as one access where the row's address allows it; what lies outside of the matrix
// is left out. any is false where it is known that all rows allow it.
template <int N> DEV void result_write(const Result &r, int part, int row, int col, const float (&sum)[N], bool any = true) {
    if (row >= r.m || col >= r.n)
        return;
    float *p = r.parts ? r.parts + ((long long)part * r.m + row) * r.n + col : r.c + row * r.ldc + col;
    bool whole = !any || (col + N <= r.n && (unsigned long long)p % (4 * N) == 0);
    int valid = any ? min(N, r.n - col) : N;
    float v[N], old[N] = {};
    if (!r.parts && r.accumulate) {
        if (whole)
            load_vector(old, p);
        else
            for (int i = 0; i < N; i++)
                old[i] = i < valid ? p[i] : 0.0f;
    }
    for (int i = 0; i < N; i++)
        v[i] = r.parts || i >= valid ? sum[i] : result_value(r, sum[i], col + i, old[i]);
    if (whole)
        store_vector(p, v);
    else
        for (int i = 0; i < N; i++)
            if (i < valid)
                p[i] = v[i];
}

// tile_of is the tile of a block: GROUP rows of tiles are walked column by column, so that blocks that run at the same time share what
// they read in the second-level cache.
DEV int2 tile_of(int index, int rows, int columns) {
    const int GROUP = 8;
    int group = index / (GROUP * columns), first = group * GROUP, height = min(rows - first, GROUP);
    int in = index - group * GROUP * columns;
    return make_int2(first + in % height, in / height);
}
