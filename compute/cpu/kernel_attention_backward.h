// Flash attention, backward: scores are computed again from Q, K and the log-sum-exp of the forward pass. One task is one
// span, one key head and one part of the query heads that share it; parts give wide machines enough tasks where there are
// few key heads, and their sums are added in a fixed order.

typedef struct {
    float *rows, *columns;           // queries times scale where that goes before the product [TILE, padded], [d, TILE]
    float *out_rows, *out_columns;   // gradient of the output, likewise
    float *keys, *values;            // [TILE, d]
    float *scores, *slopes, *result; // [TILE, TILE], [TILE, TILE], gradient of the queries [d, TILE]
    float *dk, *dv;                  // [k_len, padded]
} backward_scratch;

// Scores[n, TILE] become probabilities, slopes[n, TILE] (dOut·V) the scores' gradients, for LANES rows.
INLINE void softmax_backward(const query_tile *t, int64_t r, int64_t first, int64_t n, int masked,
                             const backward_scratch *s, const float *lse, const float *delta) {
    const lathe_attention_args *a = t->a;
    vf base = v_load(lse + r), mean = v_load(delta + r), one = v_set(1.0f), factor = v_set(after(t));
    vf inverse = v_set(a->softcap > 0 ? 1.0f / a->softcap : 0);
    for (int64_t j = 0; j < n; j++) {
        float *at = s->scores + j * TILE + r, *ds = s->slopes + j * TILE + r;
        vf x = score(a, v_load(at) * factor, a->alibi ? alibi(t, r, first + j) : v_zero());
        vf p = v_exp_normal(x - base), g; // x is at most what the forward pass summed
        if (masked) p = v_select(sees(t, r, first + j), p, v_zero());
        g = p * (v_load(ds) - mean);
        if (a->softcap > 0) g = g * (one - (x * inverse) * (x * inverse));
        v_store(at, p);
        v_store(ds, g);
    }
}

// Scores, their gradients and those of the queries: `width` rows from r on, n keys from `first` on.
static void attend_backward_chunk(const query_tile *t, const backward_scratch *s, int64_t r, int64_t width, int64_t first, int64_t n,
                                  int masked, const float *lse, const float *delta) {
    int64_t d = t->a->d;
    product(t->pairs, n, width, d, s->keys, d, s->columns + r, TILE, s->scores + r, TILE);
    product(t->pairs, n, width, d, s->values, d, s->out_columns + r, TILE, s->slopes + r, TILE);
    for (int64_t v = r; v < r + width; v += LANES) softmax_backward(t, v, first, n, masked, s, lse, delta);
    product_transposed_add(t->pairs, d, width, n, s->keys, d, s->slopes + r, TILE, s->result + r, TILE);
}

// The gradients of n keys and values from `first` on, which are keys i … i+n of the tile, by the rows from r on.
static void keys_backward(const query_tile *t, const backward_scratch *s, int64_t r, int64_t i, int64_t n, int64_t first) {
    int64_t padded = LATHE_PADDED(t->a->d), at = i * TILE + r;
    product_add(t->pairs, n, padded, t->rows - r, s->scores + at, TILE, s->out_rows + r * padded, padded, s->dv + first * padded, padded);
    product_add(t->pairs, n, padded, t->rows - r, s->slopes + at, TILE, s->rows + r * padded, padded, s->dk + first * padded, padded);
}

static void attend_backward(query_tile *t, const backward_scratch *s) {
    const lathe_attention_args *a = t->a;
    int64_t d = a->d, width = t->vectors * LANES, padded = LATHE_PADDED(d);
    float lse[TILE] = {0}, delta[TILE] = {0};
    tile_load(t, a->q, before(t), s->rows, padded, s->columns);
    tile_load(t, a->dout, 1, s->out_rows, padded, s->out_columns);
    memset(s->result, 0, (size_t)(d * TILE) * sizeof(float));
    for (int64_t r = 0; r < t->rows; r++) {
        const float *out = a->out + t->at[r] * d;
        vf dot = v_zero();
        for (int64_t i = 0; i < d; i += LANES) dot = v_fma(v_load(s->out_rows + r * padded + i), v_get(out + i, d - i), dot);
        delta[r] = v_sum(dot);
        lse[r] = a->lse[t->at[r]];
    }
    for (int64_t first = 0; first < t->span->k_len; first += TILE) {
        int64_t n = t->span->k_len - first < TILE ? t->span->k_len - first : TILE;
        if (!tile_sees(t, first, n)) continue;
        int masked = !tile_sees_all(t, first, n), step = chunk_rows(t, masked);
        int64_t seen[TILE / CHUNK_ROWS];
        keys_load(t, a->k, first, n, s->keys);
        keys_load(t, a->v, first, n, s->values);
        for (int64_t r = 0; r < width; r += step) {
            int64_t keys = seen[r / CHUNK_ROWS] = step < TILE ? keys_seen(t, r, first, n) : n;
            if (keys > 0) attend_backward_chunk(t, s, r, width - r < step ? width - r : step, first, keys, masked, lse, delta);
        }
        for (int64_t i = 0, r = 0; i < n; i += step) { // rows that do not see a key lie before those that do
            while (r < width && seen[r / CHUNK_ROWS] <= i) r += step;
            if (r < t->rows) keys_backward(t, s, r, i, n - i < step ? n - i : step, first + i);
        }
    }
    transpose(s->rows, padded, s->result, TILE, d, width); // the queries are done with: their place takes dq
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t i = 0; i < d; i += LANES)
            v_put(a->dq + t->at[r] * d + i, v_get(s->rows + r * padded + i, d - i) * v_set(a->scale), d - i);
}

static void attention_backward_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    int64_t d = a->d, padded = LATHE_PADDED(d), parts = lathe_attention_parts(a), group = a->h / a->kv;
    const lathe_span *span = a->spans + index / (a->kv * parts);
    int64_t kv = index / parts % a->kv, part = index % parts;
    int64_t from = group * part / parts, to = group * (part + 1) / parts;
    float *p = a->scratch + worker * lathe_attention_worker(a, 1);
    backward_scratch s = {.rows = p, .out_rows = p + TILE * padded, .columns = p + 2 * TILE * padded};
    s.out_columns = s.columns + TILE * d;
    s.keys = s.out_columns + TILE * d;
    s.values = s.keys + TILE * d;
    s.result = s.values + TILE * d;
    s.scores = s.result + TILE * d;
    s.slopes = s.scores + TILE * TILE;
    s.dk = s.slopes + TILE * TILE;
    s.dv = s.dk + span->k_len * padded;
    memset(s.dk, 0, (size_t)(2 * span->k_len * padded) * sizeof(float));
    const gemm_kernels *pairs = pairs_begin(a);
    for (int64_t row = 0; row < span->q_len * (to - from); row += TILE) {
        query_tile t;
        tile_open(&t, a, pairs, span, kv, kv * group + from, to - from, row);
        attend_backward(&t, &s);
    }
    if (pairs)
        for (int64_t i = 0; i < span->k_len * padded; i++) s.dk[i] *= a->scale; // as the queries were not
    pairs_end(pairs);
    float *dk = a->dk, *dv = a->dv;
    if (parts > 1) {
        dk = a->scratch + lathe_threads() * lathe_attention_worker(a, 1) + part * 2 * a->nk * a->kv * d;
        dv = dk + a->nk * a->kv * d;
    }
    for (int64_t j = 0; j < span->k_len; j++) {
        int64_t at = ((span->k_start + j) * a->kv + kv) * d;
        memcpy(dk + at, s.dk + j * padded, (size_t)d * sizeof(float));
        memcpy(dv + at, s.dv + j * padded, (size_t)d * sizeof(float));
    }
}

// Adds the parts of one row of keys.
static void attention_sum_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    const lathe_span *span = a->spans + index;
    int64_t row = a->kv * a->d, parts = lathe_attention_parts(a), all = a->nk * row;
    const float *from = a->scratch + lathe_threads() * lathe_attention_worker(a, 1);
    (void)worker;
    for (int64_t i = span->k_start * row; i < (span->k_start + span->k_len) * row; i++) {
        float dk = 0, dv = 0;
        for (int64_t part = 0; part < parts; part++) {
            dk += from[part * 2 * all + i];
            dv += from[part * 2 * all + all + i];
        }
        a->dk[i] = dk;
        a->dv[i] = dv;
    }
}

static void attention_backward(const lathe_attention_args *a) {
    int64_t parts = lathe_attention_parts(a);
    lathe_parallel((int)(a->nspans * a->kv * parts), attention_backward_task, (void *)a);
    if (parts > 1) lathe_parallel((int)a->nspans, attention_sum_task, (void *)a);
}
