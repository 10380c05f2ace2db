// Activations and their derivatives, plain and gated.

// The normal distribution function ½(1+erf(x/√2)): near zero an odd polynomial for erf, elsewhere erfc as the exponential of
// a polynomial (after N. Juffa's erff), which does not cancel in the lower tail: relative errors stay below 6e-6 down to
// x = -2.9 and 7e-5 down to -6 (measured over all floats), where ½(1+erf) in float32 has no digit left.
INLINE vf normal_cdf(vf x) {
    vf z = x * v_set(0.70710678118654752f), t = v_abs(z), s = z * z, half = v_set(0.5f);
    vf r = v_fma(v_set(-1.72853470e-5f), t, v_set(3.83197126e-4f));
    vf u = v_fma(v_set(-3.88396438e-3f), t, v_set(2.42546219e-2f));
    r = v_fma(r, s, u);
    r = v_fma(r, t, v_set(-1.06777877e-1f));
    r = v_fma(r, t, v_set(-6.34846687e-1f));
    r = v_fma(r, t, v_set(-1.28717512e-1f));
    r = v_fma(r, t, -t);
    vf tail = half * v_exp(r);
    vf far = v_select(v_lt(z, v_zero()), tail, v_set(1.0f) - tail);
    vf p = v_set(-5.96761703e-4f);
    p = v_fma(p, s, v_set(4.99119423e-3f));
    p = v_fma(p, s, v_set(-2.67681349e-2f));
    p = v_fma(p, s, v_set(1.12819925e-1f));
    p = v_fma(p, s, v_set(-3.76125336e-1f));
    p = v_fma(p, s, v_set(1.28379166e-1f));
    p = v_fma(p, z, z);
    return v_select(v_lt(v_set(0.927734375f), t), far, v_fma(half, p, half));
}

INLINE vf sigmoid(vf x) { return v_set(1.0f) / (v_set(1.0f) + v_exp(-x)); }

#define SQRT_2_OVER_PI 0.7978845608028654f

// The value of an activation and its derivative. act is a constant wherever this is called.
INLINE vf activate(int act, vf x, vf *derivative) {
    vf one = v_set(1.0f);
    if (act == LATHE_SILU) {
        vf s = sigmoid(x);
        *derivative = s * v_fma(x, one - s, one);
        return x * s;
    }
    if (act == LATHE_GELU) {
        vf cdf = normal_cdf(x);
        *derivative = v_fma(x, v_exp(x * x * v_set(-0.5f)) * v_set(0.3989422804014327f), cdf);
        return x * cdf;
    }
    if (act == LATHE_GELU_TANH) { // ½(1+tanh u) is the sigmoid of 2u, which cancels nowhere
        vf k = v_set(2 * SQRT_2_OVER_PI), square = x * x;
        vf e = v_exp(v_min(-(k * x * v_fma(square, v_set(0.044715f), one)), v_set(88.0f))); // finite: e·s is 1-s
        vf s = one / (one + e), inner = k * v_fma(square, v_set(3 * 0.044715f), one);
        *derivative = v_fma(x * s * (e * s), inner, s);
        return x * s;
    }
    if (act == LATHE_TANH) {
        vf e = v_exp(v_abs(x) * v_set(-2.0f)), sum = one + e; // 1 - tanh² cancels in the tails, this does not
        *derivative = v_set(4.0f) * e / (sum * sum);
        return v_tanh(x);
    }
    vm positive = v_lt(v_zero(), x);
    if (act == LATHE_LEAKY_RELU) {
        vf below = v_set(0.01f);
        *derivative = v_select(positive, one, below);
        return v_select(positive, x, x * below);
    }
    *derivative = v_select(positive, one, v_zero());
    return v_select(v_lt(x, v_zero()), v_zero(), x); // NaN stays
}

// Expands body once for each activation with A constant.
#define FOR_EACH_ACT(act, ...)                                                                                         \
    switch (act) {                                                                                                     \
    case LATHE_SILU: { enum { A = LATHE_SILU }; __VA_ARGS__ } break;                                                          \
    case LATHE_GELU: { enum { A = LATHE_GELU }; __VA_ARGS__ } break;                                                          \
    case LATHE_GELU_TANH: { enum { A = LATHE_GELU_TANH }; __VA_ARGS__ } break;                                                \
    case LATHE_RELU: { enum { A = LATHE_RELU }; __VA_ARGS__ } break;                                                          \
    case LATHE_TANH: { enum { A = LATHE_TANH }; __VA_ARGS__ } break;                                                          \
    case LATHE_LEAKY_RELU: { enum { A = LATHE_LEAKY_RELU }; __VA_ARGS__ } break;                                              \
    }

static void activation_task(void *arg, int index, int worker) {
    const lathe_activation_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    const float *x = a->x + at;
    float *y = a->y + at;
    (void)worker;
    FOR_EACH_ACT(a->act, for (int64_t i = 0; i < n; i += LANES) {
        vf slope;
        v_put(y + i, activate(A, v_get(x + i, n - i), &slope), n - i);
    })
}

static void activation(const lathe_activation_args *a) { lathe_parallel(chunks(a->n), activation_task, (void *)a); }

static void activation_backward_task(void *arg, int index, int worker) {
    const lathe_activation_backward_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    const float *x = a->x + at, *dy = a->dy + at;
    float *dx = a->dx + at;
    (void)worker;
    FOR_EACH_ACT(a->act, for (int64_t i = 0; i < n; i += LANES) {
        vf slope;
        activate(A, v_get(x + i, n - i), &slope);
        v_put(dx + i, v_get(dy + i, n - i) * slope, n - i);
    })
}

static void activation_backward(const lathe_activation_backward_args *a) {
    lathe_parallel(chunks(a->n), activation_backward_task, (void *)a);
}

static void gated_task(void *arg, int index, int worker) {
    const lathe_gated_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    const float *gate = a->gate + at, *up = a->up + at;
    float *y = a->y + at;
    (void)worker;
    FOR_EACH_ACT(a->act, for (int64_t i = 0; i < n; i += LANES) {
        vf slope;
        v_put(y + i, activate(A, v_get(gate + i, n - i), &slope) * v_get(up + i, n - i), n - i);
    })
}

static void gated(const lathe_gated_args *a) { lathe_parallel(chunks(a->n), gated_task, (void *)a); }

static void gated_backward_task(void *arg, int index, int worker) {
    const lathe_gated_backward_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    const float *gate = a->gate + at, *up = a->up + at, *dy = a->dy + at;
    float *dgate = a->dgate + at, *dup = a->dup + at;
    (void)worker;
    FOR_EACH_ACT(a->act, for (int64_t i = 0; i < n; i += LANES) {
        vf slope, g = v_get(dy + i, n - i), u = v_get(up + i, n - i);
        vf value = activate(A, v_get(gate + i, n - i), &slope);
        v_put(dgate + i, g * u * slope, n - i);
        v_put(dup + i, g * value, n - i);
    })
}

static void gated_backward(const lathe_gated_backward_args *a) {
    lathe_parallel(chunks(a->n), gated_backward_task, (void *)a);
}
