// Softmax cross entropy over rows of logits: log-probability of the label and, in place, its gradient.

// Σ exp(x - highest): 64 vectors at a time in float, those sums in double, so that 250,000 words cost no accuracy.
INLINE double exp_sum(const float *x, int64_t n, float highest) {
    double total = 0;
    vf top = v_set(highest);
    for (int64_t block = 0; block < n; block += 64 * LANES) {
        vf sum = v_zero();
        int64_t end = block + 64 * LANES < n ? block + 64 * LANES : n;
        for (int64_t i = block; i < end; i += LANES) {
            vf e = v_exp_bounded(v_get(x + i, end - i) - top);
            if (end - i < LANES) {
                float lane[LANES] = {0};
                v_store_head(lane, e, end - i);
                e = v_load(lane);
            }
            sum += e;
        }
        total += (double)v_sum(sum);
    }
    return total;
}

static void cross_entropy_task(void *arg, int index, int worker) {
    const lathe_cross_entropy_args *a = arg;
    float *x = a->logits + index * a->v;
    int64_t v = a->v, label = a->labels[index];
    vf cap = v_set(a->softcap), inverse = v_set(a->softcap > 0 ? 1.0f / a->softcap : 0), high = v_set(-INFINITY);
    (void)worker;
    for (int64_t i = 0; i < v; i += LANES) {
        vf s = v_get(x + i, v - i);
        if (a->softcap > 0) {
            s = cap * v_tanh(s * inverse);
            v_put(x + i, s, v - i);
        }
        if (v - i < LANES) {
            float lane[LANES];
            v_store(lane, v_set(-INFINITY));
            v_store_head(lane, s, v - i);
            s = v_load(lane);
        }
        high = v_max(s, high);
    }
    float highest = v_highest(high);
    double total = exp_sum(x, v, highest);
    a->logprobs[index] = (float)((double)x[label] - (double)highest - log(total));
    if (!a->grad) return;
    // d(-ln p)/ds = softmax - onehot, times 1 - (s/cap)² through the softcap
    float onehot = 1.0f - (a->softcap > 0 ? (x[label] / a->softcap) * (x[label] / a->softcap) : 0.0f);
    vf top = v_set(highest), scale = v_set((float)(a->grad_scale / total));
    for (int64_t i = 0; i < v; i += LANES) {
        vf s = v_get(x + i, v - i), d = v_exp_bounded(s - top) * scale;
        if (a->softcap > 0) {
            vf t = s * inverse;
            d = d * (v_set(1.0f) - t * t);
        }
        v_put(x + i, d, v - i);
    }
    x[label] -= a->grad_scale * onehot;
}

static void cross_entropy(const lathe_cross_entropy_args *a) {
    lathe_parallel((int)a->n, cross_entropy_task, (void *)a);
}
