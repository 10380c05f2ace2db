// Attention of sequences with one new query each (generation): a key head's rows are read once, as they lie. Keys are divided into
// parts of LATHE_ATTENTION_PART whatever the number of threads and of sequences (flash-decoding, Dao et al. 2023), so that
// long contexts occupy all threads; the parts' sums are merged in the order of the keys.

// decode_scores writes the scores of n ≤ TILE keys from `first` on, -∞ where the query does not see the key.
static void decode_scores(const lathe_attention_args *a, const lathe_span *span, int64_t h, int64_t first, int64_t n, float *lanes,
                          float *scores) {
    const int64_t d = a->d, width = a->kv * d, last = span->k_len - 1;
    const float *q = a->q + (span->q_start * a->h + h) * d, *k = a->k + (span->k_start + first) * width + h / (a->h / a->kv) * d;
    for (int64_t j = 0; j < n; j++, k += width) {
        vf even = v_zero(), odd = v_zero();
        int64_t i = 0;
        for (; i + 2 * LANES <= d; i += 2 * LANES) {
            even = v_fma(v_load(q + i), v_load(k + i), even);
            odd = v_fma(v_load(q + i + LANES), v_load(k + i + LANES), odd);
        }
        for (; i < d; i += LANES) even = v_fma(v_get(q + i, d - i), v_get(k + i, d - i), even);
        v_store(lanes + j * LANES, even + odd);
    }
    float *turned = lanes + TILE * LANES;
    transpose(turned, TILE, lanes, LANES, TILE, LANES);
    const float slope = a->alibi ? a->alibi[h] : 0;
    for (int64_t j = 0; j < TILE; j += LANES) {
        vf sum = v_load(turned + j);
        for (int l = 1; l < LANES; l++) sum += v_load(turned + l * TILE + j);
        float bias[LANES] = {0};
        if (a->alibi)
            for (int l = 0; l < LANES; l++) bias[l] = alibi_of(a, slope, first + j + l);
        sum = score(a, sum * v_set(a->scale), v_load(bias));
        v_store(scores + j, sum);
    }
    for (int64_t j = 0; j < TILE; j++) {
        const int64_t key = first + j;
        if (j >= n || (!a->no_causal && a->window > 0 && key >= a->prefix && key <= last - a->window)) scores[j] = -INFINITY;
    }
}

// decode_weigh adds Σ_j p[j]·v[j] to out[d] times shrink.
static void decode_weigh(const lathe_attention_args *a, const float *v, const float *p, int64_t n, float shrink, float *out) {
    const int64_t d = a->d, width = a->kv * d;
    int64_t i = 0;
    for (; i + 4 * LANES <= d; i += 4 * LANES) {
        vf sum[4];
        for (int c = 0; c < 4; c++) sum[c] = v_load(out + i + c * LANES) * v_set(shrink);
        for (int64_t j = 0; j < n; j++)
#pragma GCC unroll 4
            for (int c = 0; c < 4; c++) sum[c] = v_fma(v_set(p[j]), v_load(v + j * width + i + c * LANES), sum[c]);
        for (int c = 0; c < 4; c++) v_store(out + i + c * LANES, sum[c]);
    }
    for (; i < d; i += LANES) {
        vf sum = v_get(out + i, d - i) * v_set(shrink);
        for (int64_t j = 0; j < n; j++) sum = v_fma(v_set(p[j]), v_get(v + j * width + i, d - i), sum);
        v_put(out + i, sum, d - i);
    }
}

// decode_part is the softmax-weighted sum of values over keys [from,to): part is its highest score, the sum of the exponentials
// and the sum of values [d], not divided.
static void decode_part(const lathe_attention_args *a, const lathe_span *span, int64_t h, int64_t from, int64_t to, float *scratch,
                        float *part) {
    const int64_t d = a->d, width = a->kv * d, last = span->k_len - 1;
    float *scores = scratch, *lanes = scratch + TILE, *out = part + 2;
    float highest = -INFINITY, total = 0;
    memset(out, 0, (size_t)d * sizeof *out);
    for (int64_t first = from; first < to; first += TILE) {
        const int64_t n = to - first < TILE ? to - first : TILE;
        if (!a->no_causal && a->window > 0 && first >= a->prefix && first + n - 1 <= last - a->window) continue;
        decode_scores(a, span, h, first, n, lanes, scores);
        vf top = v_set(highest), sum = v_zero();
        for (int64_t j = 0; j < TILE; j += LANES) top = v_max(v_load(scores + j), top);
        const float now = v_highest(top), base = now > -INFINITY ? now : 0;
        for (int64_t j = 0; j < TILE; j += LANES) {
            vf p = v_exp_bounded(v_load(scores + j) - v_set(base));
            v_store(scores + j, p);
            sum += p;
        }
        float shrink[LANES];
        v_store(shrink, v_exp_bounded(v_set(highest - base)));
        total = total * shrink[0] + v_sum(sum);
        highest = now;
        decode_weigh(a, a->v + (span->k_start + first) * width + h / (a->h / a->kv) * d, scores, n, shrink[0], out);
    }
    part[0] = highest;
    part[1] = total;
}

// decode_merge divides the sum of a head's parts: rescaled to the highest score of all.
static void decode_merge(const lathe_attention_args *a, const lathe_span *span, int64_t h, float *parts, int64_t n) {
    const int64_t d = a->d, size = LATHE_DECODE_PART_FLOATS(d), at = span->q_start * a->h + h;
    float highest = -INFINITY, total = 0, *out = a->out + at * d;
    for (int64_t i = 0; i < n; i++) highest = parts[i * size] > highest ? parts[i * size] : highest;
    for (int64_t i = 0; i < n; i++) {
        float *part = parts + i * size, factor[LANES];
        v_store(factor, v_exp_bounded(v_set(part[0] - (highest > -INFINITY ? highest : 0))));
        total += part[1] * factor[0];
        for (int64_t c = 0; c < d; c += LANES) {
            vf v = v_get(part + 2 + c, d - c) * v_set(factor[0]);
            if (i > 0) v = v_get(parts + 2 + c, d - c) + v;
            v_put(parts + 2 + c, v, d - c);
        }
    }
    const vf inverse = v_set(total > 0 ? 1.0f / total : total == 0 ? 0.0f : total); // NaN stays
    for (int64_t c = 0; c < d; c += LANES) v_put(out + c, v_get(parts + 2 + c, d - c) * inverse, d - c);
    if (a->lse) a->lse[at] = (float)((double)highest + log((double)total));
}

static int64_t decode_parts_of(const lathe_span *span) { return (span->k_len + LATHE_DECODE_PART - 1) / LATHE_DECODE_PART; }

// decode_task computes one part of the keys for the heads that share a key head, and finishes where that is all of them.
static void decode_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    const int64_t most = lathe_decode_parts(a), group = a->h / a->kv, size = LATHE_DECODE_PART_FLOATS(a->d);
    const int64_t part = index % most, kv = index / most % a->kv, s = index / most / a->kv;
    const lathe_span *span = a->spans + s;
    float *scratch = a->scratch + lathe_decode_floats(a) + worker * LATHE_FORWARD_FLOATS(a->d);
    if (part >= decode_parts_of(span)) return;
    const int64_t from = part * LATHE_DECODE_PART, to = from + LATHE_DECODE_PART;
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
        float *parts = a->scratch + (s * a->h + h) * most * size;
        decode_part(a, span, h, from, to < span->k_len ? to : span->k_len, scratch, parts + part * size);
        if (decode_parts_of(span) == 1) decode_merge(a, span, h, parts, 1);
    }
}

static void decode_merge_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    const lathe_span *span = a->spans + index;
    (void)worker;
    if (decode_parts_of(span) == 1) return;
    const int64_t most = lathe_decode_parts(a), size = LATHE_DECODE_PART_FLOATS(a->d);
    for (int64_t h = 0; h < a->h; h++)
        decode_merge(a, span, h, a->scratch + (index * a->h + h) * most * size, decode_parts_of(span));
}

static int decodes(const lathe_attention_args *a) {
    if (lathe_decode_floats(a) == 0) return 0;
    for (int64_t i = 0; i < a->nspans; i++)
        if (a->spans[i].q_len != 1 || a->spans[i].k_len < 1) return 0;
    return 1;
}

static void attention_decode(const lathe_attention_args *a) {
    lathe_parallel((int)(a->nspans * a->kv * lathe_decode_parts(a)), decode_task, (void *)a);
    if (lathe_decode_parts(a) > 1) lathe_parallel((int)a->nspans, decode_merge_task, (void *)a);
}

static void attention(const lathe_attention_args *a) {
    if (decodes(a)) {
        attention_decode(a);
        return;
    }
    int64_t tasks = 0;
    for (int64_t i = 0; i < a->nspans; i++) tasks += (a->spans[i].q_len * (a->h / a->kv) + TILE - 1) / TILE * a->kv;
    lathe_parallel((int)tasks, attention_task, (void *)a);
}
