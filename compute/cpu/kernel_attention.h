// Flash attention (Dao 2022, 2023). The lanes of a vector are rows of queries: the query positions, and the heads that
// share a key head, of one tile. Scores are kept transposed [keys, rows], so that a softmax is element-wise over vectors, K
// and V are broadcast as they lie in memory, and only the tile's queries are ever transposed. Tiles of keys that no row of
// the tile sees are skipped, and where the diagonal crosses a tile, its chunks of rows stop at the last keys that they see. In bfloat16,
// on tiers that multiply it, scores are scaled after the product, which rounds Q as it is.

enum {
    TILE = LATHE_ATTENTION_TILE, // rows and keys of a tile
    CHUNK_ROWS = 2 * LANES,      // rows, or keys, that are left out together
};

// The rows of one tile: row r is query first + r/heads of the span and head h0 + r%heads.
typedef struct {
    const lathe_attention_args *a;
    const gemm_kernels *pairs; // for products in bfloat16, or null
    const lathe_span *span;
    int64_t kv, rows, vectors; // the key head; rows in use, and vectors of them
    int64_t lowest, highest;   // positions among the keys
    int64_t at[TILE];          // row of Q viewed as [nq·h, d]
    int32_t position[TILE], oldest[TILE];
    float slope[TILE]; // alibi
} query_tile;

// pairs_begin are the kernels for an attention's products in bfloat16, or null where none are asked for or the tier has none, and sets the
// thread up for them; pairs_end undoes that.
static const gemm_kernels *pairs_begin(const lathe_attention_args *a) {
    const gemm_kernels *pairs = a->narrow ? gemm_kernels_in_use(1) : 0;
    if (!pairs || pairs->per_slot != 2) return 0;
    if (pairs->begin) pairs->begin();
    return pairs;
}

static void pairs_end(const gemm_kernels *pairs) {
    if (pairs && pairs->end) pairs->end();
}

// The factors of Q before and of scores after their product.
static float before(const query_tile *t) { return t->pairs ? 1 : t->a->scale; }
static float after(const query_tile *t) { return t->pairs ? t->a->scale : 1; }

static void tile_open(query_tile *t, const lathe_attention_args *a, const gemm_kernels *pairs, const lathe_span *span, int64_t kv,
                      int64_t row0) {
    int64_t heads = a->h / a->kv, h0 = kv * heads, rows = span->q_len * heads - row0;
    t->a = a;
    t->pairs = pairs;
    t->span = span;
    t->kv = kv;
    t->rows = rows < TILE ? rows : TILE;
    t->vectors = (t->rows + LANES - 1) / LANES;
    for (int64_t r = 0; r < TILE; r++) {
        int64_t i = (row0 + r) / heads, h = h0 + (row0 + r) % heads, p = span->k_len - span->q_len + i;
        t->at[r] = r < t->rows ? (span->q_start + i) * a->h + h : 0;
        t->position[r] = r < t->rows ? (int32_t)p : -1;
        t->oldest[r] = a->window > 0 ? (int32_t)(p - a->window + 1) : INT32_MIN;
        t->slope[r] = r < t->rows && a->alibi ? a->alibi[h] : 0;
    }
    t->lowest = t->position[0];
    t->highest = t->position[t->rows - 1];
}

// Whether some row sees some of the keys from … from+n, and whether all rows see all of them.
static int tile_sees(const query_tile *t, int64_t from, int64_t n) {
    const lathe_attention_args *a = t->a;
    if (a->no_causal || from < a->prefix) return 1;
    return from <= t->highest && (a->window <= 0 || from + n > t->lowest - a->window + 1);
}

static int tile_sees_all(const query_tile *t, int64_t from, int64_t n) {
    const lathe_attention_args *a = t->a;
    if (a->no_causal || from + n <= a->prefix) return 1;
    return from + n - 1 <= t->lowest && (a->window <= 0 || from >= t->highest - a->window + 1);
}

// The rows of a tile that stop together at the diagonal; pairs are multiplied in whole tiles, which are packed anew for each product.
static int chunk_rows(const query_tile *t, int masked) { return masked && !t->pairs ? CHUNK_ROWS : TILE; }

// How many of the keys from … from+n the rows r … r+CHUNK_ROWS have to do with: up to the last one that they see, in whole chunks.
static int64_t keys_seen(const query_tile *t, int64_t r, int64_t from, int64_t n) {
    int64_t last = (r + CHUNK_ROWS < t->rows ? r + CHUNK_ROWS : t->rows) - 1;
    int64_t seen = (t->position[last] - from + CHUNK_ROWS) / CHUNK_ROWS * CHUNK_ROWS;
    if (t->a->no_causal || from < t->a->prefix || seen > n) return n;
    return t->position[last] < from ? 0 : seen;
}

// Copies the rows of Q (or the like), times scale, to rows[TILE, padded] and transposed to columns[d, TILE]; zeros pad both.
static void tile_load(const query_tile *t, const float *from, float scale, float *rows, int64_t padded, float *columns) {
    int64_t d = t->a->d, width = t->vectors * LANES;
    for (int64_t r = 0; r < width; r++) {
        float *row = rows + r * padded;
        if (r >= t->rows) {
            memset(row, 0, (size_t)padded * sizeof *row);
            continue;
        }
        const float *x = from + t->at[r] * d;
        for (int64_t i = 0; i < padded; i += LANES) v_store(row + i, v_get(x + i, d - i) * v_set(scale));
    }
    transpose(columns, TILE, rows, padded, width, d);
}

// Copies n rows of K or V of one key head to keys[n, d]: there they are neighbours, which spares the cache's sets.
static void keys_load(const query_tile *t, const float *from, int64_t first, int64_t n, float *keys) {
    const lathe_attention_args *a = t->a;
    for (int64_t j = 0; j < n; j++)
        memcpy(keys + j * a->d, from + ((t->span->k_start + first + j) * a->kv + t->kv) * a->d, (size_t)a->d * sizeof *keys);
}

// Alibi's part of the score of key j: slope·j, both factors and the product rounded to bfloat16 as in transformers'
// build_alibi_tensor, and scaled. The softmax does not see that slope·query is left out.
INLINE float alibi_of(const lathe_attention_args *a, float slope, int64_t j) {
    return widen_bf16(narrow_bf16(slope * widen_bf16(narrow_bf16((float)j)))) * a->scale;
}

// The same of LANES rows.
INLINE vf alibi(const query_tile *t, int64_t r, int64_t j) {
    float lane[LANES];
    for (int i = 0; i < LANES; i++) lane[i] = alibi_of(t->a, t->slope[r + i], j);
    return v_load(lane);
}

// A product's score made final: alibi's part, then softcap.
INLINE vf score(const lathe_attention_args *a, vf s, vf bias) {
    s = s + bias;
    if (a->softcap > 0) s = v_set(a->softcap) * v_tanh(s * v_set(1.0f / a->softcap));
    return s;
}

// Which lanes see key j.
INLINE vm sees(const query_tile *t, int64_t r, int64_t j) {
    vi key = v_iset((int32_t)j), last = v_iload(t->position + r);
    if (j < t->a->prefix) last = v_iset(INT32_MAX);
    vm seen = v_ile(key, last);
    if (t->a->window > 0 && j >= t->a->prefix) seen = m_and(seen, v_ile(v_iload(t->oldest + r), key));
    return seen;
}

// Whether a product's scores are final but for their factor.
static int plain_scores(const lathe_attention_args *a) { return !a->alibi && a->softcap <= 0; }

// How many of the keys first … first+n all of LANES rows see, for certain: up to the first row's position, for later rows see more. (Lanes
// beyond the tile's rows come to nothing.)
static int64_t keys_all_see(const query_tile *t, int64_t r, int64_t first, int64_t n, int masked) {
    int64_t whole = t->position[r] - first + 1;
    if (!masked) return n;
    if (t->a->window > 0 || whole < 0) return 0;
    return whole < n ? whole : n;
}

// Scores of keys from … to become exponentials relative to base; returns their sum added to `sum`.
INLINE vf exponentials(float *scores, int64_t r, int64_t from, int64_t to, vf factor, vf base, vf sum) {
    for (int64_t j = from; j < to; j++) {
        vf p = v_exp_normal(v_fma(v_load(scores + j * TILE + r), factor, -base));
        v_store(scores + j * TILE + r, p);
        sum += p;
    }
    return sum;
}

// One step of the online softmax for LANES rows: scores[n, TILE] become exponentials; returns the factor that older sums
// shrink by.
INLINE vf softmax_step(const query_tile *t, int64_t r, int64_t first, int64_t n, int masked, float *scores, float *highest,
                       float *total) {
    vf old = v_load(highest + r), top = old, sum = v_zero(), factor = v_set(after(t));
    int64_t j = 0, raw = plain_scores(t->a) ? keys_all_see(t, r, first, n, masked) : 0; // of so many keys the product's scores are final
    for (; j < raw; j++) top = v_max(v_load(scores + j * TILE + r) * factor, top);
    for (; j < n; j++) {
        vf s = v_load(scores + j * TILE + r) * factor;
        s = score(t->a, s, t->a->alibi ? alibi(t, r, first + j) : v_zero());
        if (masked) s = v_select(sees(t, r, first + j), s, v_set(-INFINITY));
        v_store(scores + j * TILE + r, s);
        top = v_max(s, top);
    }
    vf base = v_select(v_lt(v_set(-INFINITY), top), top, v_zero()); // rows that saw no key yet
    sum = exponentials(scores, r, 0, raw, factor, base, sum);
    sum = exponentials(scores, r, raw, n, v_set(1), base, sum);
    vf shrink = v_exp_normal(old - base);
    v_store(highest + r, top);
    v_store(total + r, v_fma(v_load(total + r), shrink, sum));
    return shrink;
}

typedef struct {
    float *rows, *columns;  // queries [TILE, padded], [d, TILE]
    float *keys, *values;   // [TILE, d]
    float *scores, *result; // [TILE, TILE], [d, TILE]
} forward_scratch;

// The online softmax of `width` rows from r on, over n keys from `first` on, and what their values add.
static void attend_chunk(const query_tile *t, const forward_scratch *s, int64_t r, int64_t width, int64_t first, int64_t n, int masked,
                         float *highest, float *total) {
    int64_t d = t->a->d;
    product(t->pairs, n, width, d, s->keys, d, s->columns + r, TILE, s->scores + r, TILE);
    for (int64_t v = r; v < r + width; v += LANES) {
        vf shrink = softmax_step(t, v, first, n, masked, s->scores, highest, total);
        for (int64_t i = 0; i < d; i++) v_store(s->result + i * TILE + v, v_load(s->result + i * TILE + v) * shrink);
    }
    product_transposed_add(t->pairs, d, width, n, s->values, d, s->scores + r, TILE, s->result + r, TILE);
}

static void attend(query_tile *t, const forward_scratch *s) {
    const lathe_attention_args *a = t->a;
    int64_t d = a->d, width = t->vectors * LANES, padded = LATHE_PADDED(d);
    float highest[TILE], total[TILE];
    for (int r = 0; r < TILE; r++) highest[r] = -INFINITY, total[r] = 0;
    tile_load(t, a->q, before(t), s->rows, padded, s->columns);
    memset(s->result, 0, (size_t)(d * TILE) * sizeof(float));
    for (int64_t first = 0; first < t->span->k_len; first += TILE) {
        int64_t n = t->span->k_len - first < TILE ? t->span->k_len - first : TILE;
        if (!tile_sees(t, first, n)) continue;
        int masked = !tile_sees_all(t, first, n), step = chunk_rows(t, masked);
        keys_load(t, a->k, first, n, s->keys);
        keys_load(t, a->v, first, n, s->values);
        for (int64_t r = 0; r < width; r += step) {
            int64_t seen = step < TILE ? keys_seen(t, r, first, n) : n;
            if (seen > 0) attend_chunk(t, s, r, width - r < step ? width - r : step, first, seen, masked, highest, total);
        }
    }
    transpose(s->rows, padded, s->result, TILE, d, width);
    for (int64_t r = 0; r < t->rows; r++) {
        vf inverse = v_set(total[r] > 0 ? 1.0f / total[r] : total[r] == 0 ? 0.0f : total[r]); // NaN stays
        for (int64_t i = 0; i < d; i += LANES)
            v_put(a->out + t->at[r] * d + i, v_get(s->rows + r * padded + i, d - i) * inverse, d - i);
        if (a->lse) a->lse[t->at[r]] = (float)((double)highest[r] + log((double)total[r]));
    }
}

// How many tiles of queries a key head of a span has, and all together.
static int64_t query_tiles(const lathe_attention_args *a, const lathe_span *span) {
    return (span->q_len * (a->h / a->kv) + TILE - 1) / TILE;
}

static int64_t attention_tasks(const lathe_attention_args *a) {
    int64_t tasks = 0;
    for (int64_t i = 0; i < a->nspans; i++) tasks += query_tiles(a, a->spans + i) * a->kv;
    return tasks;
}

// Opens the tile of a task and says whether it is the first of its key head. These tiles follow each other, for the keys are in the cache;
// the last come first, as they see most keys.
static int tile_of_task(query_tile *t, const lathe_attention_args *a, const gemm_kernels *pairs, int64_t task) {
    const lathe_span *span = a->spans;
    for (; task >= query_tiles(a, span) * a->kv; span++) task -= query_tiles(a, span) * a->kv;
    int64_t tiles = query_tiles(a, span), before = task % tiles;
    tile_open(t, a, pairs, span, task / tiles, (tiles - 1 - before) * TILE);
    return before == 0;
}

static void attention_task(void *arg, int index, int worker) {
    const lathe_attention_args *a = arg;
    int64_t d = a->d, padded = LATHE_PADDED(d);
    float *p = a->scratch + worker * LATHE_FORWARD_FLOATS(d);
    forward_scratch s = {.rows = p, .columns = p + TILE * padded};
    s.keys = s.columns + TILE * d;
    s.values = s.keys + TILE * d;
    s.result = s.values + TILE * d;
    s.scores = s.result + TILE * d;
    const gemm_kernels *pairs = pairs_begin(a);
    query_tile t;
    tile_of_task(&t, a, pairs, index);
    attend(&t, &s);
    pairs_end(pairs);
}
