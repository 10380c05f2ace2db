// Attention of sequences with one new query each (generation): a key head's rows are read once, as they lie. Keys are divided into
// parts of LATHE_ATTENTION_PART whatever the number of threads and of sequences (flash-decoding, Dao et al. 2023), so that
// long contexts occupy all threads; the parts' sums are merged in the order of the keys.

// The place of a part of one head's keys: its highest score, the sum of the exponentials, what these shrink by as a tile begins, the sum
// of values [d], not divided, and the scores of a tile [TILE].
enum { PART_HIGHEST, PART_TOTAL, PART_SHRINK, PART_SUM };

static float *decode_place(const lathe_attention_args *a, int64_t span, int64_t h, int64_t part) {
    return a->scratch + ((span * a->h + h) * lathe_decode_parts(a) + part) * LATHE_DECODE_PART_FLOATS(a->d);
}

// fetch asks for a row of the next LANES keys.
INLINE void fetch(const float *row, int64_t d) {
    for (int64_t i = 0; i < d; i += 16) __builtin_prefetch(row + i);
}

// decode_scores writes the scores of n ≤ LANES keys from `first` on, -∞ where the query does not see the key.
static void decode_scores(const lathe_attention_args *a, const lathe_span *span, int64_t h, int64_t first, int64_t n, float *scores) {
    const int64_t d = a->d, width = a->kv * d, last = span->k_len - 1;
    const float *q = a->q + (span->q_start * a->h + h) * d, *k = a->k + (span->k_start + first) * width + h / (a->h / a->kv) * d;
    float lanes[LANES * LANES] = {0}, turned[LANES * LANES], bias[LANES] = {0};
    for (int64_t j = 0; j < n; j++, k += width) {
        vf even = v_zero(), odd = v_zero();
        int64_t i = 0;
        fetch(k + LANES * width, d);
        for (; i + 2 * LANES <= d; i += 2 * LANES) {
            even = v_fma(v_load(q + i), v_load(k + i), even);
            odd = v_fma(v_load(q + i + LANES), v_load(k + i + LANES), odd);
        }
        for (; i < d; i += LANES) even = v_fma(v_get(q + i, d - i), v_get(k + i, d - i), even);
        v_store(lanes + j * LANES, even + odd);
    }
    transpose(turned, LANES, lanes, LANES, LANES, LANES);
    vf sum = v_load(turned);
    for (int l = 1; l < LANES; l++) sum += v_load(turned + l * LANES);
    if (a->alibi)
        for (int l = 0; l < LANES; l++) bias[l] = alibi_of(a, a->alibi[h], first + l);
    v_store(scores, score(a, sum * v_set(a->scale), v_load(bias)));
    for (int64_t j = 0; j < LANES; j++) {
        const int64_t key = first + j;
        if (j >= n || (!a->no_causal && a->window > 0 && key >= a->prefix && key <= last - a->window)) scores[j] = -INFINITY;
    }
}

// decode_softmax makes exponentials of a part's n scores, whole vectors of them.
static void decode_softmax(float *part, float *scores, int64_t n) {
    vf top = v_set(part[PART_HIGHEST]), sum = v_zero();
    for (int64_t j = 0; j < n; j += LANES) top = v_max(v_load(scores + j), top);
    const float now = v_highest(top), base = now > -INFINITY ? now : 0;
    for (int64_t j = 0; j < n; j += LANES) {
        vf p = v_exp_bounded(v_load(scores + j) - v_set(base));
        v_store(scores + j, p);
        sum += p;
    }
    float shrink[LANES];
    v_store(shrink, v_exp_bounded(v_set(part[PART_HIGHEST] - base)));
    part[PART_TOTAL] = part[PART_TOTAL] * shrink[0] + v_sum(sum);
    part[PART_HIGHEST] = now;
    part[PART_SHRINK] = shrink[0];
}

// decode_weigh adds Σ_j p[j]·v[j] of n ≤ LANES keys to out[d] times shrink.
static void decode_weigh(const lathe_attention_args *a, const float *v, const float *p, int64_t n, float shrink, float *out) {
    const int64_t d = a->d, width = a->kv * d;
    int64_t i = 0;
    for (int64_t j = 0; j < n; j++) fetch(v + (LANES + j) * width, d);
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

// decode_part computes one part of the keys for heads h0 … h1: for a few keys head by head, so that their rows are read as they lie in
// memory, which the processor foresees.
static void decode_part(const lathe_attention_args *a, int64_t s, int64_t h0, int64_t h1, int64_t part) {
    const lathe_span *span = a->spans + s;
    const int64_t d = a->d, width = a->kv * d, last = span->k_len - 1, from = part * LATHE_DECODE_PART;
    const int64_t to = from + LATHE_DECODE_PART < span->k_len ? from + LATHE_DECODE_PART : span->k_len;
    for (int64_t h = h0; h < h1; h++) {
        float *place = decode_place(a, s, h, part);
        memset(place, 0, (size_t)(PART_SUM + d) * sizeof *place);
        place[PART_HIGHEST] = -INFINITY;
    }
    for (int64_t first = from; first < to; first += TILE) {
        const int64_t n = to - first < TILE ? to - first : TILE;
        if (!a->no_causal && a->window > 0 && first >= a->prefix && first + n - 1 <= last - a->window) continue;
        for (int64_t j = 0; j < n; j += LANES)
            for (int64_t h = h0; h < h1; h++)
                decode_scores(a, span, h, first + j, n - j < LANES ? n - j : LANES, decode_place(a, s, h, part) + PART_SUM + d + j);
        for (int64_t h = h0; h < h1; h++) {
            float *place = decode_place(a, s, h, part);
            decode_softmax(place, place + PART_SUM + d, n);
        }
        for (int64_t j = 0; j < n; j += LANES)
            for (int64_t h = h0; h < h1; h++) {
                float *place = decode_place(a, s, h, part);
                const float *v = a->v + (span->k_start + first + j) * width + h / (a->h / a->kv) * d;
                decode_weigh(a, v, place + PART_SUM + d + j, n - j < LANES ? n - j : LANES, j == 0 ? place[PART_SHRINK] : 1, place + PART_SUM);
            }
    }
}

// decode_merge divides the sum of a head's parts: rescaled to the highest score of all.
static void decode_merge(const lathe_attention_args *a, const lathe_span *span, int64_t h, float *parts, int64_t n) {
    const int64_t d = a->d, size = LATHE_DECODE_PART_FLOATS(d), at = span->q_start * a->h + h;
    float highest = -INFINITY, total = 0, *out = a->out + at * d;
    for (int64_t i = 0; i < n; i++) highest = parts[i * size] > highest ? parts[i * size] : highest;
    for (int64_t i = 0; i < n; i++) {
        float *part = parts + i * size, factor[LANES];
        v_store(factor, v_exp_bounded(v_set(part[PART_HIGHEST] - (highest > -INFINITY ? highest : 0))));
        total += part[PART_TOTAL] * factor[0];
        for (int64_t c = 0; c < d; c += LANES) {
            vf v = v_get(part + PART_SUM + c, d - c) * v_set(factor[0]);
            if (i > 0) v = v_get(parts + PART_SUM + c, d - c) + v;
            v_put(parts + PART_SUM + c, v, d - c);
        }
    }
    const vf inverse = v_set(total > 0 ? 1.0f / total : total == 0 ? 0.0f : total); // NaN stays
    for (int64_t c = 0; c < d; c += LANES) v_put(out + c, v_get(parts + PART_SUM + c, d - c) * inverse, d - c);
    if (a->lse) a->lse[at] = (float)((double)highest + log((double)total));
}

static int64_t decode_parts_of(const lathe_span *span) { return (span->k_len + LATHE_DECODE_PART - 1) / LATHE_DECODE_PART; }

// decode_runs is into how many runs key heads are divided: as few as keep all threads busy, as shorter runs are further apart in memory.
static int64_t decode_runs(const lathe_attention_args *a) {
    const int64_t tasks = a->nspans * lathe_decode_parts(a), threads = lathe_threads();
    int64_t runs = 1;
    while (runs < a->kv && tasks * runs < 4 * threads && tasks * runs % threads) runs++;
    return runs;
}

// decode_task computes one part of the keys for a run of key heads, and finishes where that is all of them.
static void decode_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    const int64_t most = lathe_decode_parts(a), group = a->h / a->kv, runs = decode_runs(a);
    const int64_t part = index % most, run = index / most % runs, s = index / most / runs;
    const int64_t h0 = run * a->kv / runs * group, h1 = (run + 1) * a->kv / runs * group;
    const lathe_span *span = a->spans + s;
    (void)worker;
    if (part >= decode_parts_of(span)) return;
    decode_part(a, s, h0, h1, part);
    for (int64_t h = h0; h < h1 && decode_parts_of(span) == 1; h++) decode_merge(a, span, h, decode_place(a, s, h, 0), 1);
}

static void decode_merge_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    const lathe_span *span = a->spans + index;
    (void)worker;
    if (decode_parts_of(span) == 1) return;
    for (int64_t h = 0; h < a->h; h++) decode_merge(a, span, h, decode_place(a, index, h, 0), decode_parts_of(span));
}

static int decodes(const lathe_attention_args *a) {
    if (lathe_decode_floats(a) == 0) return 0;
    for (int64_t i = 0; i < a->nspans; i++)
        if (a->spans[i].q_len != 1 || a->spans[i].k_len < 1) return 0;
    return 1;
}

static void attention_decode(const lathe_attention_args *a) {
    lathe_parallel((int)(a->nspans * decode_runs(a) * lathe_decode_parts(a)), decode_task, (void *)a);
    if (lathe_decode_parts(a) > 1) lathe_parallel((int)a->nspans, decode_merge_task, (void *)a);
}

static void attention(const lathe_attention_args *a) {
    if (decodes(a)) {
        attention_decode(a);
        return;
    }
    lathe_parallel((int)attention_tasks(a), attention_task, (void *)a);
}
