// Softmax cross entropy over rows of logits: log-probability of the label and, in place, its gradient. A row goes by blocks that stay in
// the first-level cache, whose exponentials are taken once, relative to the highest score so far (online softmax, Milakov & Gimelshein
// 2018), and kept; a second pass scales them to the highest of all.

enum { LOSS_BLOCKS = 512 }; // of a row at most

// loss_block is how many words a block has: 64 vectors are summed in float, blocks in double, so that 250,000 words cost no accuracy.
static int64_t loss_block(int64_t v) {
    const int64_t least = 64 * LANES, all = (v + LOSS_BLOCKS - 1) / LOSS_BLOCKS, whole = (all + LANES - 1) / LANES * LANES;
    return whole > least ? whole : least;
}

// v_head is the first n lanes of x, and rest in the others.
INLINE vf v_head(vf x, vf rest, int64_t n) {
    if (n >= LANES) return x;
    float lane[LANES];
    v_store(lane, rest);
    v_store_head(lane, x, n);
    return v_load(lane);
}

INLINE vf capped(const lathe_cross_entropy_args *a, vf s) { return v_set(a->softcap) * v_tanh(s * v_set(1.0f / a->softcap)); }

// loss_highest is the highest of n scores, which the softcap has gone over in place.
INLINE float loss_highest(const lathe_cross_entropy_args *a, float *x, int64_t n) {
    vf high = v_set(-INFINITY);
    for (int64_t i = 0; i < n; i += LANES) {
        vf s = v_get(x + i, n - i);
        if (a->softcap > 0) {
            s = capped(a, s);
            v_put(x + i, s, n - i);
        }
        high = v_max(v_head(s, v_set(-INFINITY), n - i), high);
    }
    return v_highest(high);
}

// loss_exponentials is Σ exp(x - base) over n scores; for a gradient they take the scores' place, times 1 - (s/cap)² through the softcap.
INLINE float loss_exponentials(const lathe_cross_entropy_args *a, float *x, int64_t n, float base) {
    vf sum = v_zero(), inverse = v_set(a->softcap > 0 ? 1.0f / a->softcap : 0);
    for (int64_t i = 0; i < n; i += LANES) {
        vf s = v_get(x + i, n - i), e = v_exp_normal(s - v_set(base)), t = s * inverse;
        sum += v_head(e, v_zero(), n - i);
        if (a->softcap > 0) e = e * (v_set(1.0f) - t * t);
        if (a->grad) v_put(x + i, e, n - i);
    }
    return v_sum(sum);
}

// label_score is a logit as the softmax sees it.
static float label_score(const lathe_cross_entropy_args *a, float x) {
    float lane[LANES];
    v_store(lane, a->softcap > 0 ? capped(a, v_set(x)) : v_set(x));
    return lane[0];
}

static void cross_entropy_task(void *arg, int index, int worker) {
    const lathe_cross_entropy_args *a = arg;
    const int64_t v = a->v, block = loss_block(v), label = a->labels[index];
    float *x = a->logits + index * v, highest = -INFINITY, bases[LOSS_BLOCKS];
    const float score = label_score(a, x[label]);
    double total = 0;
    (void)worker;
    for (int64_t i = 0; i < v; i += block) {
        const int64_t n = v - i < block ? v - i : block;
        const float top = loss_highest(a, x + i, n), old = highest;
        if (top > old) {
            highest = top;
            total *= exp((double)old - (double)top);
        }
        bases[i / block] = highest > -INFINITY ? highest : 0;
        total += (double)loss_exponentials(a, x + i, n, bases[i / block]);
    }
    a->logprobs[index] = (float)((double)score - (double)highest - log(total));
    if (!a->grad) return;
    // d(-ln p)/ds = softmax - onehot
    for (int64_t i = 0; i < v; i += block) {
        const int64_t end = v - i < block ? v : i + block;
        const vf scale = v_set((float)(a->grad_scale / total * exp((double)bases[i / block] - (double)highest)));
        for (int64_t j = i; j < end; j += LANES) v_put(x + j, v_get(x + j, end - j) * scale, end - j);
    }
    x[label] -= a->grad_scale * (1.0f - (a->softcap > 0 ? (score / a->softcap) * (score / a->softcap) : 0.0f));
}

static void cross_entropy(const lathe_cross_entropy_args *a) {
    lathe_parallel((int)a->n, cross_entropy_task, (void *)a);
}
