// Flash attention, backward: scores are computed again from Q, K and the log-sum-exp of the forward pass. All tiles of queries of a span and
// a key head add to the same dK and dV, the last queries first. Where key heads share out among the threads, each is one task, whose sums
// lie beside each other in the cache. Where they are few, a tile is a task, and adds to a tile of keys after the tile before it has: the
// tasks run one behind the other along the keys, so that one row of one head occupies several threads. The bits are the same.

typedef struct {
    float *rows, *columns;           // queries times scale where that goes before the product [TILE, padded], [d, TILE]
    float *out_rows, *out_columns;   // gradient of the output, likewise
    float *keys, *values;            // [TILE, d]
    float *scores, *slopes, *result; // [TILE, TILE], [TILE, TILE], gradient of the queries [d, TILE]
    float *sum;                      // what the tile adds to dK or dV [TILE, padded]
    float *dk, *dv;                  // where these are summed: rows of the span's keys, `stride` apart
    int64_t stride;
} backward_scratch;

// A tile of keys: n from `first` on, and how many of these each `step` rows of the queries see.
typedef struct {
    int64_t first, n;
    int step;
    int64_t seen[TILE / CHUNK_ROWS];
} key_tile;

// Scores of keys from … to become probabilities, slopes (dOut·V) the scores' gradients, for LANES rows. plain and masked are constants
// wherever this is called.
INLINE void softmax_backward_keys(const query_tile *t, int64_t r, int64_t first, int64_t from, int64_t to, int plain, int masked,
                                  const backward_scratch *s, const float *lse, const float *delta) {
    const lathe_attention_args *a = t->a;
    vf base = v_load(lse + r), mean = v_load(delta + r), one = v_set(1.0f), factor = v_set(after(t));
    vf inverse = v_set(a->softcap > 0 ? 1.0f / a->softcap : 0);
    float *scores = s->scores + r, *slopes = s->slopes + r;
    for (int64_t j = from; j < to; j++) {
        vf x = v_load(scores + j * TILE) * factor;
        if (!plain) x = score(a, x, a->alibi ? alibi(t, r, first + j) : v_zero());
        vf p = v_exp_normal(x - base), g; // x is at most what the forward pass summed
        if (masked) p = v_select(sees(t, r, first + j), p, v_zero());
        g = p * (v_load(slopes + j * TILE) - mean);
        if (!plain && a->softcap > 0) g = g * (one - (x * inverse) * (x * inverse));
        v_store(scores + j * TILE, p);
        v_store(slopes + j * TILE, g);
    }
}

// The same of n keys, of which some may be masked.
INLINE void softmax_backward(const query_tile *t, int64_t r, int64_t first, int64_t n, int masked,
                             const backward_scratch *s, const float *lse, const float *delta) {
    int64_t whole = plain_scores(t->a) ? keys_all_see(t, r, first, n, masked) : 0;
    softmax_backward_keys(t, r, first, 0, whole, 1, 0, s, lse, delta);
    if (whole == n) return;
    if (masked)
        softmax_backward_keys(t, r, first, whole, n, 0, 1, s, lse, delta);
    else
        softmax_backward_keys(t, r, first, whole, n, 0, 0, s, lse, delta);
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

// What the tile of queries adds to the gradients of keys or values: factors[n, TILE]·rows[TILE, padded], zeros for keys that no row sees.
static void keys_sum(const query_tile *t, const key_tile *k, const float *factors, const float *rows, float *sum) {
    int64_t padded = LATHE_PADDED(t->a->d), width = t->vectors * LANES;
    for (int64_t i = 0, r = 0; i < k->n; i += k->step) { // rows that do not see a key lie before those that do
        int64_t n = k->n - i < k->step ? k->n - i : k->step;
        while (r < width && k->seen[r / CHUNK_ROWS] <= i) r += k->step;
        if (r < t->rows)
            product(t->pairs, n, padded, t->rows - r, factors + i * TILE + r, TILE, rows + r * padded, padded, sum + i * padded, padded);
        else
            memset(sum + i * padded, 0, (size_t)(n * padded) * sizeof(float));
    }
}

// Adds sum[n, padded] times scale to dK or dV; the first tile of queries writes.
static void keys_add(const key_tile *k, int64_t d, const float *sum, float scale, float *to, int64_t stride, int writes) {
    vf factor = v_set(scale);
    for (int64_t j = 0; j < k->n; j++) {
        const float *from = sum + j * LATHE_PADDED(d);
        float *row = to + (k->first + j) * stride;
        for (int64_t i = 0; i < d; i += LANES)
            v_put(row + i, v_fma(v_load(from + i), factor, writes ? v_zero() : v_get(row + i, d - i)), d - i);
    }
}

// Probabilities and slopes of one tile of keys, and what the slopes add to the gradients of the queries.
static void keys_attend_backward(const query_tile *t, const backward_scratch *s, key_tile *k, const float *lse, const float *delta) {
    const lathe_attention_args *a = t->a;
    int64_t width = t->vectors * LANES;
    int masked = !tile_sees_all(t, k->first, k->n), step = k->step = chunk_rows(t, masked);
    keys_load(t, a->k, k->first, k->n, s->keys);
    keys_load(t, a->v, k->first, k->n, s->values);
    for (int64_t r = 0; r < width; r += step) {
        int64_t seen = k->seen[r / CHUNK_ROWS] = step < TILE ? keys_seen(t, r, k->first, k->n) : k->n;
        if (seen > 0) attend_backward_chunk(t, s, r, width - r < step ? width - r : step, k->first, seen, masked, lse, delta);
    }
}

// One tile of queries, the first of its key head or a later one. `passed` counts what it has added, two sums for each tile of keys;
// `previous`, or null where there is nothing to wait for, is the count of the tile before it.
static void attend_backward(query_tile *t, const backward_scratch *s, int first_of_head, const int *previous, int *passed) {
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
        int turn = (int)(2 * (first / TILE));
        key_tile k = {.first = first, .n = t->span->k_len - first < TILE ? t->span->k_len - first : TILE, .step = TILE};
        if (tile_sees(t, first, k.n))
            keys_attend_backward(t, s, &k, lse, delta);
        else if (!first_of_head)
            continue; // no later task sees a key beyond those that this one sees, so that waiting for those is enough
        keys_sum(t, &k, s->scores, s->out_rows, s->sum);
        if (previous) lathe_await(previous, turn);
        keys_add(&k, d, s->sum, 1, s->dv, s->stride, first_of_head);
        lathe_announce(passed, turn + 1);
        keys_sum(t, &k, s->slopes, s->rows, s->sum);
        if (previous) lathe_await(previous, turn + 1);
        keys_add(&k, d, s->sum, t->pairs ? a->scale : 1, s->dk, s->stride, first_of_head); // pairs have taken the queries as they are
        lathe_announce(passed, turn + 2);
    }
    lathe_announce(passed, INT32_MAX);
    transpose(s->rows, padded, s->result, TILE, d, width); // the queries are done with: their place takes dq
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t i = 0; i < d; i += LANES)
            v_put(a->dq + t->at[r] * d + i, v_get(s->rows + r * padded + i, d - i) * v_set(a->scale), d - i);
}

static backward_scratch backward_scratch_of(const lathe_attention_args *a, int worker) {
    int64_t d = a->d, padded = LATHE_PADDED(d);
    float *p = a->scratch + lathe_attention_counts(a) + worker * lathe_attention_worker(a, 1);
    backward_scratch s = {.rows = p, .out_rows = p + TILE * padded, .columns = p + 2 * TILE * padded};
    s.out_columns = s.columns + TILE * d;
    s.keys = s.out_columns + TILE * d;
    s.values = s.keys + TILE * d;
    s.result = s.values + TILE * d;
    s.scores = s.result + TILE * d;
    s.slopes = s.scores + TILE * TILE;
    s.sum = s.slopes + TILE * TILE;
    return s;
}

// One tile of queries.
static void attention_backward_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    backward_scratch s = backward_scratch_of(a, worker);
    int *passed = (int *)a->scratch + index;
    const gemm_kernels *pairs = pairs_begin(a);
    query_tile t;
    int first_of_head = tile_of_task(&t, a, pairs, index);
    int64_t keys = (t.span->k_start * a->kv + t.kv) * a->d;
    s.dk = a->dk + keys;
    s.dv = a->dv + keys;
    s.stride = a->kv * a->d;
    attend_backward(&t, &s, first_of_head, first_of_head ? 0 : passed - 1, passed);
    pairs_end(pairs);
}

// All tiles of one span and key head.
static void attention_backward_head_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    const lathe_span *span = a->spans + index / a->kv;
    int64_t d = a->d, padded = LATHE_PADDED(d), kv = index % a->kv, tiles = query_tiles(a, span);
    if (tiles == 0) return;
    backward_scratch s = backward_scratch_of(a, worker);
    s.dk = s.sum + TILE * padded;
    s.dv = s.dk + span->k_len * padded;
    s.stride = padded;
    const gemm_kernels *pairs = pairs_begin(a);
    for (int64_t tile = tiles - 1; tile >= 0; tile--) {
        query_tile t;
        int passed;
        tile_open(&t, a, pairs, span, kv, tile * TILE);
        attend_backward(&t, &s, tile == tiles - 1, 0, &passed);
    }
    pairs_end(pairs);
    for (int64_t j = 0; j < span->k_len; j++) {
        int64_t at = ((span->k_start + j) * a->kv + kv) * d;
        memcpy(a->dk + at, s.dk + j * padded, (size_t)d * sizeof(float));
        memcpy(a->dv + at, s.dv + j * padded, (size_t)d * sizeof(float));
    }
}

static void attention_backward(const lathe_attention_args *a) {
    const int64_t row = a->kv * a->d, tiles = attention_tasks(a);
    for (const lathe_span *s = a->spans; s < a->spans + a->nspans; s++)
        if (s->q_len == 0 && s->k_len > 0) { // in no task
            memset(a->dk + s->k_start * row, 0, (size_t)(s->k_len * row) * sizeof(float));
            memset(a->dv + s->k_start * row, 0, (size_t)(s->k_len * row) * sizeof(float));
        }
    if (a->by_head) {
        lathe_parallel((int)(a->nspans * a->kv), attention_backward_head_task, (void *)a);
        return;
    }
    memset(a->scratch, 0, (size_t)tiles * sizeof(int));
    lathe_parallel((int)tiles, attention_backward_task, (void *)a);
}
