// What kernels over elements and over rows share: how threads count themselves, and four neighbouring floats at a time, which are one
// access of 16 bytes where the memory is aligned to that. Views may begin at any element, so each kernel has both paths and looks itself.
#pragma once
#include "device.h"

DEV long long thread_index() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
DEV long long thread_count() { return (long long)gridDim.x * blockDim.x; }

// block_row is the row of a thread in a grid of blocks [lanes, rows]: threadIdx.x counts along the row.
DEV long long block_row() { return (long long)blockIdx.x * blockDim.y + threadIdx.y; }

// aligned tells whether all addresses are multiples of 16; null is.
DEV bool aligned(const void *p) { return ((unsigned long long)p & 15) == 0; }
template <class... P> DEV bool aligned(const void *p, P... more) { return aligned(p) && aligned(more...); }

DEV float4 splat4(float v) { return make_float4(v, v, v, v); }

DEV float4 load4(const float *p) { return *(const float4 *)p; }
template <class T> DEV float4 load4(const T *p) {
    uint2 u = *(const uint2 *)p;
    float2 a = unpack2<T>(u.x), b = unpack2<T>(u.y);
    return make_float4(a.x, a.y, b.x, b.y);
}
DEV void store4(float *p, float4 v) { *(float4 *)p = v; }
template <class T> DEV void store4(T *p, float4 v) { *(uint2 *)p = make_uint2(pack2<T>(v.x, v.y), pack2<T>(v.z, v.w)); }

// get4 reads elements i … i+3 of a row of n, zeros beyond its end; put4 writes them. ALIGNED says that p is, and that n and i are
// multiples of four.
template <bool ALIGNED, class T> DEV float4 get4(const T *p, int i, int n) {
    if (ALIGNED)
        return i < n ? load4(p + i) : splat4(0);
    return make_float4(i < n ? to_float(p[i]) : 0, i + 1 < n ? to_float(p[i + 1]) : 0, i + 2 < n ? to_float(p[i + 2]) : 0,
                       i + 3 < n ? to_float(p[i + 3]) : 0);
}
template <bool ALIGNED, class T> DEV void put4(T *p, int i, int n, float4 v) {
    if (ALIGNED) {
        if (i < n)
            store4(p + i, v);
        return;
    }
    if (i < n)
        p[i] = from_float<T>(v.x);
    if (i + 1 < n)
        p[i + 1] = from_float<T>(v.y);
    if (i + 2 < n)
        p[i + 2] = from_float<T>(v.z);
    if (i + 3 < n)
        p[i + 3] = from_float<T>(v.w);
}

// map4 applies a function to each of four elements.
template <class F> DEV float4 map4(F f, float4 a) { return make_float4(f(a.x), f(a.y), f(a.z), f(a.w)); }
template <class F> DEV float4 map4(F f, float4 a, float4 b) { return make_float4(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)); }
template <class F> DEV float4 map4(F f, float4 a, float4 b, float4 c) {
    return make_float4(f(a.x, b.x, c.x), f(a.y, b.y, c.y), f(a.z, b.z, c.z), f(a.w, b.w, c.w));
}

// dot4 is sum + a·b.
DEV float dot4(float4 a, float4 b, float sum) { return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum)))); }

// map is y[n] = f(a[n]), or f(a[n], b[n]), by all threads of the grid. y may be a or b.
template <class T, class U, class F> DEV void map(T *y, const U *a, long long n, F f) {
    long long quads = aligned(y, a) ? n / 4 : 0;
#pragma unroll 1
    for (long long i = thread_index(); i < quads; i += thread_count())
        store4(y + 4 * i, map4(f, load4(a + 4 * i)));
#pragma unroll 1
    for (long long i = 4 * quads + thread_index(); i < n; i += thread_count())
        y[i] = from_float<T>(f(to_float(a[i])));
}
template <class F> DEV void map(float *y, const float *a, const float *b, long long n, F f) {
    long long quads = aligned(y, a, b) ? n / 4 : 0;
#pragma unroll 1
    for (long long i = thread_index(); i < quads; i += thread_count())
        store4(y + 4 * i, map4(f, load4(a + 4 * i), load4(b + 4 * i)));
#pragma unroll 1
    for (long long i = 4 * quads + thread_index(); i < n; i += thread_count())
        y[i] = f(a[i], b[i]);
}
