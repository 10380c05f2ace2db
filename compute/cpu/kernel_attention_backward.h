// Flash attention, backward: scores are computed again from Q, K and the log-sum-exp of the forward pass. One task is one tile of
// queries, so that one row of one head occupies several threads too. The tiles of a span and a key head, which all add to the same dK and
// dV, are tasks that follow each other, the last queries first, and each adds to a tile of keys after the one before it has: sums have
// one order on any number of threads, and the tasks run one behind the other along the keys without waiting for more than a beginning.

typedef struct {
    float *rows, *columns;           // queries times scale where that goes before the product [TILE, padded], [d, TILE]
    float *out_rows, *out_columns;   // gradient of the output, likewise
    float *keys, *values;            // [TILE, d]
    float *scores, *slopes, *result; // [TILE, TILE], [TILE, TILE], gradient of the queries [d, TILE]
    float *dk, *dv;                  // what the tile adds to them [TILE, padded]
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

// What the rows from r on add to the gradients of n keys and values, which are i … i+n of the tile of keys.
static void keys_backward(const query_tile *t, const backward_scratch *s, int64_t r, int64_t i, int64_t n) {
    int64_t padded = LATHE_PADDED(t->a->d), at = i * TILE + r;
    product(t->pairs, n, padded, t->rows - r, s->scores + at, TILE, s->out_rows + r * padded, padded, s->dv + i * padded, padded);
    product(t->pairs, n, padded, t->rows - r, s->slopes + at, TILE, s->rows + r * padded, padded, s->dk + i * padded, padded);
}

// Adds rows[n, padded] times scale to the rows of n keys from `first` on of dK or dV; the first tile of queries writes them.
static void keys_add(const query_tile *t, float *to, const float *rows, float scale, int64_t first, int64_t n, int writes) {
    int64_t d = t->a->d, padded = LATHE_PADDED(d);
    vf factor = v_set(scale);
    for (int64_t j = 0; j < n; j++) {
        float *row = to + ((t->span->k_start + first + j) * t->a->kv + t->kv) * d;
        for (int64_t i = 0; i < d; i += LANES) {
            vf sum = writes ? v_zero() : v_get(row + i, d - i);
            v_put(row + i, v_fma(v_load(rows + j * padded + i), factor, sum), d - i);
        }
    }
}

// One tile of keys: n from `first` on.
static void keys_attend_backward(const query_tile *t, const backward_scratch *s, int64_t first, int64_t n, const float *lse,
                                 const float *delta) {
    const lathe_attention_args *a = t->a;
    int64_t width = t->vectors * LANES, padded = LATHE_PADDED(a->d), seen[TILE / CHUNK_ROWS];
    int masked = !tile_sees_all(t, first, n), step = chunk_rows(t, masked);
    keys_load(t, a->k, first, n, s->keys);
    keys_load(t, a->v, first, n, s->values);
    for (int64_t r = 0; r < width; r += step) {
        int64_t keys = seen[r / CHUNK_ROWS] = step < TILE ? keys_seen(t, r, first, n) : n;
        if (keys > 0) attend_backward_chunk(t, s, r, width - r < step ? width - r : step, first, keys, masked, lse, delta);
    }
    for (int64_t i = 0, r = 0; i < n; i += step) { // rows that do not see a key lie before those that do
        int64_t some = n - i < step ? n - i : step;
        while (r < width && seen[r / CHUNK_ROWS] <= i) r += step;
        if (r < t->rows) {
            keys_backward(t, s, r, i, some);
            continue;
        }
        memset(s->dk + i * padded, 0, (size_t)(some * padded) * sizeof(float));
        memset(s->dv + i * padded, 0, (size_t)(some * padded) * sizeof(float));
    }
}

// One tile of queries. `passed` counts the tiles of keys that it is done with, `previous` is the count of the one before it, or null for the
// first of its key head.
static void attend_backward(query_tile *t, const backward_scratch *s, const int *previous, int *passed) {
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
        if (tile_sees(t, first, n))
            keys_attend_backward(t, s, first, n, lse, delta);
        else if (!previous)
            memset(s->dk, 0, (size_t)(2 * TILE * padded) * sizeof(float));
        else
            continue; // no later task sees a key beyond those that this one sees, so that waiting for those is enough
        if (previous) lathe_await(previous, (int)(first / TILE));
        keys_add(t, a->dk, s->dk, t->pairs ? a->scale : 1, first, n, !previous); // products in bfloat16 have taken queries as they are
        keys_add(t, a->dv, s->dv, 1, first, n, !previous);
        lathe_announce(passed, (int)(first / TILE) + 1);
    }
    lathe_announce(passed, INT32_MAX);
    transpose(s->rows, padded, s->result, TILE, d, width); // the queries are done with: their place takes dq
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t i = 0; i < d; i += LANES)
            v_put(a->dq + t->at[r] * d + i, v_get(s->rows + r * padded + i, d - i) * v_set(a->scale), d - i);
}

static void attention_backward_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    int64_t d = a->d, padded = LATHE_PADDED(d), group = a->h / a->kv, tile;
    int *passed = (int *)a->scratch + index;
    float *p = a->scratch + lathe_attention_counts(a) + worker * LATHE_BACKWARD_FLOATS(d);
    backward_scratch s = {.rows = p, .out_rows = p + TILE * padded, .columns = p + 2 * TILE * padded};
    s.out_columns = s.columns + TILE * d;
    s.keys = s.out_columns + TILE * d;
    s.values = s.keys + TILE * d;
    s.result = s.values + TILE * d;
    s.scores = s.result + TILE * d;
    s.slopes = s.scores + TILE * TILE;
    s.dk = s.slopes + TILE * TILE;
    s.dv = s.dk + TILE * padded;
    const gemm_kernels *pairs = pairs_begin(a);
    query_tile t;
    tile = tile_of_task(&t, a, pairs, index);
    attend_backward(&t, &s, (tile + 1) * TILE < t.span->q_len * group ? passed - 1 : 0, passed);
    pairs_end(pairs);
}

static void attention_backward(const lathe_attention_args *a) {
    const size_t row = (size_t)(a->kv * a->d);
    for (const lathe_span *s = a->spans; s < a->spans + a->nspans; s++)
        if (s->q_len == 0 && s->k_len > 0) { // no task of its own
            memset(a->dk + (size_t)s->k_start * row, 0, (size_t)s->k_len * row * sizeof(float));
            memset(a->dv + (size_t)s->k_start * row, 0, (size_t)s->k_len * row * sizeof(float));
        }
    const int64_t tasks = attention_tasks(a);
    memset(a->scratch, 0, (size_t)tasks * sizeof(int));
    lathe_parallel((int)tasks, attention_backward_task, (void *)a);
}
