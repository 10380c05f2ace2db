// Activations and their derivatives, plain and gated. Each kernel has one loop for each activation and chooses among them once, so
// that the function is a constant within the loop.
#include "rows.h"

enum { SILU, GELU, GELU_TANH, RELU, TANH, LEAKY_RELU }; // compute.Act's values

// activate is the value of an activation, and its derivative.
template <int ACT> DEV float activate(float x, float *derivative) {
    if (ACT == SILU) {
        float s = 1.0f / (1.0f + expf(-x));
        *derivative = s * fmaf(x, 1.0f - s, 1.0f);
        return x * s;
    }
    if (ACT == GELU) { // erfc does not cancel in the lower tail
        float cdf = 0.5f * erfcf(-0.70710678118654752f * x);
        *derivative = fmaf(x, 0.3989422804014327f * expf(-0.5f * x * x), cdf);
        return x * cdf;
    }
    if (ACT == GELU_TANH) { // ½(1+tanh u) is the sigmoid of 2u, which cancels nowhere
        const float k = 2 * 0.7978845608028654f;
        float square = x * x, e = expf(fminf(-(k * x * fmaf(square, 0.044715f, 1.0f)), 88.0f)); // finite: e·s is 1-s
        float s = 1.0f / (1.0f + e), inner = k * fmaf(square, 3 * 0.044715f, 1.0f);
        *derivative = fmaf(x * s * (e * s), inner, s);
        return x * s;
    }
    if (ACT == TANH) { // 1 - tanh² cancels in the tails, this does not
        float e = expf(-2.0f * fabsf(x)), sum = 1.0f + e;
        *derivative = 4.0f * e / (sum * sum);
        return tanhf(x);
    }
    float below = ACT == LEAKY_RELU ? 0.01f : 0.0f;
    *derivative = x > 0 ? 1.0f : below;
    if (ACT == LEAKY_RELU)
        return x > 0 ? x : x * below;
    return x < 0 ? 0.0f : x; // NaN stays
}

template <int ACT> DEV float value_of(float x) {
    float derivative;
    return activate<ACT>(x, &derivative);
}
template <int ACT> DEV float slope_of(float x) {
    float derivative;
    activate<ACT>(x, &derivative);
    return derivative;
}

// FOR_ACT runs body with the activation as the constant ACT.
#define FOR_ACT(act, ...)                                           \
    switch (act) {                                                  \
    case SILU: { enum { ACT = SILU }; __VA_ARGS__; } break;             \
    case GELU: { enum { ACT = GELU }; __VA_ARGS__; } break;             \
    case GELU_TANH: { enum { ACT = GELU_TANH }; __VA_ARGS__; } break;   \
    case RELU: { enum { ACT = RELU }; __VA_ARGS__; } break;             \
    case TANH: { enum { ACT = TANH }; __VA_ARGS__; } break;             \
    case LEAKY_RELU: { enum { ACT = LEAKY_RELU }; __VA_ARGS__; } break; \
    }

// y[n] = act(x[n]); y may be x.
KERNEL(activation, float *y, const float *x, long long n, int act) {
    FOR_ACT(act, map(y, x, n, [](float v) { return value_of<ACT>(v); }))
}

// dx[n] = dy[n]·act'(x[n]); dx may be dy.
KERNEL(activation_backward, float *dx, const float *dy, const float *x, long long n, int act) {
    FOR_ACT(act, map(dx, dy, x, n, [](float d, float v) { return d * slope_of<ACT>(v); }))
}

// y[n] = act(gate[n])·up[n]; y may be gate or up.
KERNEL(gated, float *y, const float *gate, const float *up, long long n, int act) {
    FOR_ACT(act, map(y, gate, up, n, [](float g, float u) { return value_of<ACT>(g) * u; }))
}

// dgate[n] = dy·up·act'(gate), dup[n] = dy·act(gate); either may be dy.
template <int ACT>
DEV void gated_slopes(float *dgate, float *dup, const float *dy, const float *gate, const float *up, long long n) {
    auto of_gate = [](float d, float g, float u) { return d * u * slope_of<ACT>(g); };
    auto of_up = [](float d, float g) { return d * value_of<ACT>(g); };
    long long quads = aligned(dgate, dup, dy, gate, up) ? n / 4 : 0;
#pragma unroll 1
    for (long long i = thread_index(); i < quads; i += thread_count()) {
        float4 d = load4(dy + 4 * i), g = load4(gate + 4 * i), u = load4(up + 4 * i);
        store4(dgate + 4 * i, map4(of_gate, d, g, u));
        store4(dup + 4 * i, map4(of_up, d, g));
    }
#pragma unroll 1
    for (long long i = 4 * quads + thread_index(); i < n; i += thread_count()) {
        float d = dy[i], g = gate[i], u = up[i];
        dgate[i] = of_gate(d, g, u);
        dup[i] = of_up(d, g);
    }
}

KERNEL(gated_backward, float *dgate, float *dup, const float *dy, const float *gate, const float *up, long long n, int act) {
    FOR_ACT(act, gated_slopes<ACT>(dgate, dup, dy, gate, up, n))
}
