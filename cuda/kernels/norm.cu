// RMSNorm and LayerNorm, forward and the gradient of their input; the gradients of weights are sums over rows, columns.cu.
//
// A row of c elements belongs to blockDim.x threads, a whole number of warps that is a power of two; blockDim.y rows share a block. A
// thread keeps up to 4·QUADS elements of its row in registers, so that each operand is read once; only rows beyond 8192 elements
// (512 threads) are read again for the rest. Sums are a thread's own, then its warp's butterfly, then the warps in order: the order
// hangs on c alone.
#include "rows.h"

enum { QUADS = 4, NORM_THREADS = 512 };

// row_sum is the sum over the threads of a row. part is shared memory of 32 elements.
DEV float row_sum(float v, float *part) {
    int warps = blockDim.x / WARP, first = threadIdx.y * warps;
    v = warp_sum(v);
    if (warps == 1)
        return v;
    if (threadIdx.x % WARP == 0)
        part[first + threadIdx.x / WARP] = v;
    __syncthreads();
    float sum = part[first];
    for (int i = 1; i < warps; i++)
        sum += part[first + i];
    __syncthreads();
    return sum;
}

// kept is how many of a thread's quads stay in registers: in the path that is not aligned, where each takes four loads, one.
template <bool ALIGNED> constexpr int kept() { return ALIGNED ? QUADS : 1; }

// place is the first element of a thread's k-th quad.
DEV int place(int k) { return 4 * (threadIdx.x + k * blockDim.x); }

// y = x·rstd·(w+offset) with rstd = 1/√(mean(x²)+eps)
template <bool ALIGNED>
DEV void rms_norm_row(float *y, const float *x, float *rstd, const float *w, long long n, int c, float eps, float offset, float *part) {
    enum { KEPT = kept<ALIGNED>() };
    long long row = block_row();
    int end = row < n ? c : 0; // rows beyond the last one take part in the barriers only
    x += row * c;
    y += row * c;
    float4 v[KEPT];
    float square = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        v[k] = get4<ALIGNED>(x, place(k), end);
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        square = dot4(v[k], v[k], square);
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 u = get4<ALIGNED>(x, place(k), end);
        square = dot4(u, u, square);
    }
    float r = 1.0f / sqrtf(row_sum(square, part) / (float)c + eps);
    auto scaled = [=](float u, float m) { return u * r * (m + offset); };
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        put4<ALIGNED>(y, place(k), end, map4(scaled, v[k], get4<ALIGNED>(w, place(k), end)));
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++)
        put4<ALIGNED>(y, place(k), end, map4(scaled, get4<ALIGNED>(x, place(k), end), get4<ALIGNED>(w, place(k), end)));
    if (rstd && end && threadIdx.x == 0)
        rstd[row] = r;
}

KERNEL_BOUNDS(rms_norm, NORM_THREADS, 1, float *y, const float *x, float *rstd, const float *w, long long n, int c, float eps, float offset) {
    __shared__ float part[WARP];
    if (c % 4 == 0 && aligned(y, x, w))
        rms_norm_row<true>(y, x, rstd, w, n, c, eps, offset, part);
    else
        rms_norm_row<false>(y, x, rstd, w, n, c, eps, offset, part);
}

// dx = rstd·g - x·rstd³/c·Σ(g·x) with g = dy·(w+offset), plus the old dx where accumulate; dx may be dy.
template <bool ALIGNED>
DEV void rms_norm_backward_row(float *dx, const float *dy, const float *x, const float *rstd, const float *w, long long n, int c, float offset,
                               int accumulate, float *part) {
    enum { KEPT = kept<ALIGNED>() };
    long long row = block_row();
    int end = row < n ? c : 0;
    float r = end ? rstd[row] : 0;
    x += row * c;
    dy += row * c;
    dx += row * c;
    auto times = [=](float d, float m) { return d * (m + offset); };
    float4 v[KEPT], g[KEPT];
    float dot = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        v[k] = get4<ALIGNED>(x, place(k), end);
        g[k] = get4<ALIGNED>(dy, place(k), end);
    }
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        g[k] = map4(times, g[k], get4<ALIGNED>(w, place(k), end));
        dot = dot4(g[k], v[k], dot);
    }
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 d = map4(times, get4<ALIGNED>(dy, place(k), end), get4<ALIGNED>(w, place(k), end));
        dot = dot4(d, get4<ALIGNED>(x, place(k), end), dot);
    }
    float t = -(row_sum(dot, part) * r * r * r / (float)c);
    auto slope = [=](float u, float d, float old) { return fmaf(u, t, d * r) + old; };
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        float4 old = accumulate ? get4<ALIGNED>(dx, place(k), end) : splat4(0);
        put4<ALIGNED>(dx, place(k), end, map4(slope, v[k], g[k], old));
    }
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 d = map4(times, get4<ALIGNED>(dy, place(k), end), get4<ALIGNED>(w, place(k), end));
        float4 old = accumulate ? get4<ALIGNED>(dx, place(k), end) : splat4(0);
        put4<ALIGNED>(dx, place(k), end, map4(slope, get4<ALIGNED>(x, place(k), end), d, old));
    }
}

KERNEL_BOUNDS(rms_norm_backward, NORM_THREADS, 1, float *dx, const float *dy, const float *x, const float *rstd, const float *w, long long n,
              int c, float offset, int accumulate) {
    __shared__ float part[WARP];
    if (c % 4 == 0 && aligned(dx, dy, x, w))
        rms_norm_backward_row<true>(dx, dy, x, rstd, w, n, c, offset, accumulate, part);
    else
        rms_norm_backward_row<false>(dx, dy, x, rstd, w, n, c, offset, accumulate, part);
}

// centred is x - mean within the row, zeros beyond it.
template <bool ALIGNED> DEV float4 centred(float4 v, float mean, int i, int end) {
    if (ALIGNED)
        return i < end ? map4([=](float u) { return u - mean; }, v) : splat4(0);
    return make_float4(i < end ? v.x - mean : 0, i + 1 < end ? v.y - mean : 0, i + 2 < end ? v.z - mean : 0, i + 3 < end ? v.w - mean : 0);
}

DEV float sum4(float4 v) { return (v.x + v.y) + (v.z + v.w); }

// y = (x-mean)·rstd·w + bias with rstd = 1/√(mean((x-mean)²)+eps); bias may be null.
template <bool ALIGNED>
DEV void layer_norm_row(float *y, const float *x, float *means, float *rstd, const float *w, const float *bias, long long n, int c, float eps,
                        float *part) {
    enum { KEPT = kept<ALIGNED>() };
    long long row = block_row();
    int end = row < n ? c : 0;
    x += row * c;
    y += row * c;
    float4 v[KEPT];
    float sum = 0, square = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        v[k] = get4<ALIGNED>(x, place(k), end);
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        sum += sum4(v[k]);
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++)
        sum += sum4(get4<ALIGNED>(x, place(k), end));
    float mean = row_sum(sum, part) / (float)c;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        v[k] = centred<ALIGNED>(v[k], mean, place(k), end);
        square = dot4(v[k], v[k], square);
    }
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 u = centred<ALIGNED>(get4<ALIGNED>(x, place(k), end), mean, place(k), end);
        square = dot4(u, u, square);
    }
    float r = 1.0f / sqrtf(row_sum(square, part) / (float)c + eps);
    auto scaled = [=](float u, float m, float b) { return u * r * m + b; };
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        float4 b = bias ? get4<ALIGNED>(bias, place(k), end) : splat4(0);
        put4<ALIGNED>(y, place(k), end, map4(scaled, v[k], get4<ALIGNED>(w, place(k), end), b));
    }
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 b = bias ? get4<ALIGNED>(bias, place(k), end) : splat4(0);
        float4 u = centred<ALIGNED>(get4<ALIGNED>(x, place(k), end), mean, place(k), end);
        put4<ALIGNED>(y, place(k), end, map4(scaled, u, get4<ALIGNED>(w, place(k), end), b));
    }
    if (!end || threadIdx.x > 0)
        return;
    if (means)
        means[row] = mean;
    if (rstd)
        rstd[row] = r;
}

KERNEL_BOUNDS(layer_norm, NORM_THREADS, 1, float *y, const float *x, float *mean, float *rstd, const float *w, const float *bias, long long n,
              int c, float eps) {
    __shared__ float part[WARP];
    if (c % 4 == 0 && aligned(y, x, w, bias))
        layer_norm_row<true>(y, x, mean, rstd, w, bias, n, c, eps, part);
    else
        layer_norm_row<false>(y, x, mean, rstd, w, bias, n, c, eps, part);
}

// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·w and x̂ = (x-mean)·rstd, plus the old dx where accumulate; dx may be dy. g is zero
// beyond the row.
template <bool ALIGNED>
DEV void layer_norm_backward_row(float *dx, const float *dy, const float *x, const float *means, const float *rstd, const float *w, long long n,
                                 int c, int accumulate, float *part) {
    enum { KEPT = kept<ALIGNED>() };
    long long row = block_row();
    int end = row < n ? c : 0;
    float r = end ? rstd[row] : 0, mean = end ? means[row] : 0;
    x += row * c;
    dy += row * c;
    dx += row * c;
    auto normal = [=](float u) { return (u - mean) * r; };
    auto times = [](float d, float m) { return d * m; };
    float4 v[KEPT], g[KEPT];
    float sum = 0, dot = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        v[k] = get4<ALIGNED>(x, place(k), end);
        g[k] = get4<ALIGNED>(dy, place(k), end);
    }
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        v[k] = map4(normal, v[k]);
        g[k] = map4(times, g[k], get4<ALIGNED>(w, place(k), end));
        sum += sum4(g[k]);
        dot = dot4(g[k], v[k], dot);
    }
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 d = map4(times, get4<ALIGNED>(dy, place(k), end), get4<ALIGNED>(w, place(k), end));
        sum += sum4(d);
        dot = dot4(d, map4(normal, get4<ALIGNED>(x, place(k), end)), dot);
    }
    float s = row_sum(sum, part) / (float)c, t = row_sum(dot, part) / (float)c;
    auto slope = [=](float u, float d, float old) { return (d - s - u * t) * r + old; };
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        float4 old = accumulate ? get4<ALIGNED>(dx, place(k), end) : splat4(0);
        put4<ALIGNED>(dx, place(k), end, map4(slope, v[k], g[k], old));
    }
#pragma unroll 1
    for (int k = KEPT; place(k) < end; k++) {
        float4 d = map4(times, get4<ALIGNED>(dy, place(k), end), get4<ALIGNED>(w, place(k), end));
        float4 old = accumulate ? get4<ALIGNED>(dx, place(k), end) : splat4(0);
        put4<ALIGNED>(dx, place(k), end, map4(slope, map4(normal, get4<ALIGNED>(x, place(k), end)), d, old));
    }
}

KERNEL_BOUNDS(layer_norm_backward, NORM_THREADS, 1, float *dx, const float *dy, const float *x, const float *mean, const float *rstd,
              const float *w, long long n, int c, int accumulate) {
    __shared__ float part[WARP];
    if (c % 4 == 0 && aligned(dx, dy, x, w))
        layer_norm_backward_row<true>(dx, dy, x, mean, rstd, w, n, c, accumulate, part);
    else
        layer_norm_backward_row<false>(dx, dy, x, mean, rstd, w, n, c, accumulate, part);
}
