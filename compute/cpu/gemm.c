// Blocking and threads of the matrix product, after BLIS (Van Zee & van de Geijn 2015): panels of A and B are packed so that the
// micro-kernel of the tier reads both in order.
#include "gemm.h"

#include "gemm_job.h"

enum {
    GEMM_KS = 4096,            // depth of one pass over C; as GEMM_KC it decides bits
    GEMM_FEW_PANELS = 4,       // of B that a task of few rows of A packs: they stay in the second-level cache
    GEMM_LINE = 64,            // bytes of a cache line
    GEMM_AHEAD_PACKED = 8,     // rows of B that are fetched before their use, where they follow each other in memory
    GEMM_AHEAD_ROWS = 24,      // and where each is somewhere else
    GEMV_TASKS = 12,           // of each thread: what is left at the end of a product is a twelfth of it at most
    GEMM_TRANSPOSED = 350,     // up to so many rows transposing a product saves more by not packing W than stores to a transposed C cost
    GEMM_SHALLOW = 128,        // up to this depth stores to a transposed C, in pieces of a cache line, take longer than packing saves
    GEMM_NARROW = 16,          // up to so many columns (LoRA's r) are computed as rows, which fill the vectors
    GEMM_NB = 256,             // columns of B that a task keeps in the second-level cache
    GEMM_L1_FLOATS = 6144,     // a panel of B that stays in the first-level cache (24 KiB of 32) while those of A pass
    GEMM_SHARED = 2 << 20,     // floats of packed operand shared by all threads (8 MiB)
    GEMM_PRIVATE = GEMM_MC * (GEMM_KC + GEMM_PANEL_SLACK) + 1024, // floats of each worker
};

const gemm_kernels *gemm_kernels_in_use(int narrow) {
    const int tier = lathe_tier();
    (void)tier;
#if LATHE_HAS_BF16
    if (narrow && tier == LATHE_AMX)
        return &lathe_gemm_amx;
    if (narrow && tier == LATHE_AVX512BF16)
        return &lathe_gemm_avx512bf16;
#endif
#if defined(__x86_64__)
    if (tier >= LATHE_AVX512)
        return &lathe_gemm_avx512[narrow];
    if (tier == LATHE_AVX2)
        return &lathe_gemm_avx2[narrow];
#endif
    return &lathe_gemm_plain[narrow];
}

size_t lathe_gemm_scratch(int threads) { return sizeof(float) * (GEMM_SHARED + (size_t)threads * GEMM_PRIVATE); }

// A block_of_a is some panels of A over a block of depth, the first `lies` of which are in rows that are lda apart; the rest is packed.
typedef struct {
    const float *rows, *panels; // of the first panel
    int64_t lda, lies, stride;  // stride floats from one panel to the next
} block_of_a;

// A panel_of_b is a panel of B over a block of depth: packed, unless `rows` says where the first `lies` slots are, in rows ld apart, from
// which a tile packs them on its way.
typedef struct {
    const float *rows;
    float *panel;
    int64_t ld, lies;
} panel_of_b;

// Memory that is wanted soon: a tile fetches a cache line of it every GEMM_FETCH slots of depth, each `step` bytes after the one before.
typedef struct {
    const char *at; // or NULL
    int64_t step;
} wanted;

// multiply computes the tile of panel `i` of a block of A and panel pb of B over depth [k,k+kc) of the pass.
static void multiply(const gemm_job *j, int64_t pa, int64_t pb, int64_t k, int64_t kc, const block_of_a *a, int64_t i, panel_of_b b, wanted next) {
    const lathe_gemm_args *g = j->g;
    const int first = j->k0 + k == 0;
    const int64_t row = pa * j->mr, col = j->n0 + pb * j->kernels->nr;
    const float *from = a->panels + i * a->stride;
    int64_t depth = kc >> j->pairs;
    gemm_tile t = {.rows = a_rows(j, pa), .cols = b_cols(j, pb), .ldc = g->ldc, .transposed = g->transpose_c, .rest_kc = depth};
    t.c = g->c + (g->transpose_c ? col * g->ldc + row : row * g->ldc + col);
    t.bias = first && g->bias ? g->bias + (g->transpose_c ? row : col) : NULL;
    t.add = !first || g->accumulate;
    if (a->lies > 0) {
        t.lda = a->lda;
        t.rest = from;
        depth = a->lies;
        from = a->rows + i * j->mr * a->lda;
    }
    if (b.rows) {
        t.panel = b.panel;
        t.rest = from + b.lies * t.rows;
        depth = b.lies;
    }
    t.rest_kc -= depth;
    t.next = next.at ? next.at : (const char *)from; // which is there in any case
    t.next_step = next.step;
    if (b.rows)
        j->kernels->tile(&t, depth, from, b.rows, b.ld, GEMM_AHEAD_ROWS);
    else
        j->kernels->tile(&t, depth, from, b.panel, b_width(j, pb), GEMM_AHEAD_PACKED);
}

// begin and end enclose the tiles of a task.
static void begin(const gemm_job *j) {
    if (j->kernels->begin)
        j->kernels->begin();
}
static void end(const gemm_job *j) {
    if (j->kernels->end)
        j->kernels->end();
}

// own_depth is how much of depth [k,k+kc) of the pass is A's and B's own: U's and V's follows.
static int64_t own_depth(const gemm_job *j, int64_t k, int64_t kc) { return max64(0, min64(kc, j->g->k - (j->k0 + k))); }

// a_at is row `row` of a float32 A that lies in rows, from depth k of the pass on.
static const float *a_at(const gemm_job *j, int64_t row, int64_t k) { return (const float *)j->g->a.data + row * j->g->a.rs + j->k0 + k; }

// prepare_a makes panels [a0,a1) of A ready over depth [k,k+kc) of the pass: by reference where they are read as they lie, else in scratch.
static block_of_a prepare_a(const gemm_job *j, float *scratch, int64_t a0, int64_t a1, int64_t k, int64_t kc) {
    const lathe_matrix *a = &j->g->a;
    const int64_t row = a0 * j->mr, rows = min64(a1 * j->mr, j->g->m) - row;
    block_of_a block = {.panels = scratch, .lies = j->by_row ? own_depth(j, k, kc) : 0};
    if (block.lies > 0 && j->lies) {
        block.lda = a->rs;
        block.rows = a_at(j, row, k);
    } else if (block.lies > 0) {
        block.lda = block.lies + GEMM_PANEL_SLACK;
        block.rows = scratch;
        for (int64_t i = 0; i < rows; i++)
            j->kernels->convert(scratch + i * block.lda, a, (row + i) * a->rs + j->k0 + k, block.lies);
        scratch += rows * block.lda;
        block.panels = scratch;
    }
    block.stride = slots(j, kc - block.lies, j->mr) + GEMM_PANEL_SLACK;
    if (block.lies < kc)
        pack_panels(j, 1, scratch, block.stride, a0, a1, k + block.lies, kc - block.lies);
    return block;
}

// next_panel is what tile number `tile` of panel pa of A wants of the panel after it, where that lies somewhere and follows in memory.
static wanted next_panel(const gemm_job *j, const block_of_a *block, int64_t pa, int64_t k, int64_t tile) {
    const int64_t from = tile * (block->lies / GEMM_FETCH) * GEMM_LINE;
    if (!j->lies || block->lies == 0 || from >= j->mr * j->g->a.rs * (int64_t)sizeof(float))
        return (wanted){0};
    return (wanted){(const char *)a_at(j, (pa + 1) * j->mr, k) + from, GEMM_LINE};
}

// many_rows computes a block of C: B is packed already, A is packed for each depth, unless it is read in rows, and stays in
// the second-level cache. A panel of B stays in the first while all panels of A pass; where it is too large for that, a panel of A stays
// while a strip of B passes.
static void many_rows(void *arg, int index, int worker) {
    const gemm_job *j = arg;
    const int64_t ga = index / j->b_groups, gb = index % j->b_groups;
    const int64_t a0 = first_of_a(j, ga), a1 = first_of_a(j, ga + 1);
    const int64_t b0 = first_of(gb, j->b_groups, j->b_panels), b1 = first_of(gb + 1, j->b_groups, j->b_panels);
    const int64_t strip = slots(j, j->kc, j->kernels->nr) <= GEMM_L1_FLOATS ? 1 : GEMM_NB / j->kernels->nr;
    begin(j);
    for (int64_t k = 0; k < j->k; k += j->kc) {
        const int64_t kc = min64(j->kc, j->k - k);
        const block_of_a a = prepare_a(j, j->private_ + (int64_t)worker * GEMM_PRIVATE, a0, a1, k, kc);
        for (int64_t s = b0; s < b1; s += strip)
            for (int64_t pa = a0; pa < a1; pa++)
                for (int64_t pb = s; pb < min64(s + strip, b1); pb++)
                    multiply(j, pa, pb, k, kc, &a, pa - a0, (panel_of_b){.panel = shared_panel(j, pb) + slots(j, k, b_width(j, pb))},
                             pa + 1 < a1 ? next_panel(j, &a, pa, k, pb - s) : (wanted){0});
    }
    end(j);
}

// lies_in_lanes is how much of depth [k,k+kc) of panels up to b1 tiles can read of B as it lies: where it is float32, whole, and lanes are contiguous.
static int64_t lies_in_lanes(const gemm_job *j, int64_t b1, int64_t k, int64_t kc) {
    const lathe_matrix *b = &j->g->b;
    if (!j->kernels->reads_rows || b->type != LATHE_F32 || b->cs != 1 || b_cols(j, b1 - 1) < j->kernels->nr)
        return 0;
    return own_depth(j, k, kc);
}

// in_place is where panel pb of a float32 B lies whose lanes are contiguous, from depth k of the pass on.
static const float *in_place(const gemm_job *j, int64_t pb, int64_t k) {
    return (const float *)j->g->b.data + (j->k0 + k) * j->g->b.rs + j->n0 + pb * j->kernels->nr;
}

// next_block is what a tile of panel pa of A wants of the panel of B that its thread packs after this one, `panel` in its group: the same columns
// further down, or those of the task that it will take next if the threads take turns.
static wanted next_block(const gemm_job *j, int64_t group, int64_t panel, int64_t pa, int64_t k) {
    const lathe_matrix *b = &j->g->b;
    const int64_t line = pa * (j->kc / GEMM_FETCH);
    k += j->kc;
    if (k >= j->k) {
        k = 0;
        group += lathe_threads();
    }
    if (b->type != LATHE_F32 || b->cs != 1 || group >= j->b_groups || line >= j->kc || j->k0 + k + line >= j->g->k)
        return (wanted){0};
    const int64_t pb = first_of(group, j->b_groups, j->b_panels) + panel;
    return (wanted){(const char *)in_place(j, pb, k + line), b->rs * (int64_t)sizeof(float)};
}

// few_rows computes a group of columns of C: A is packed already, panels of B are packed just before their only use or by the first tile that
// reads them.
static void few_rows(void *arg, int index, int worker) {
    const gemm_job *j = arg;
    float *packed = j->private_ + (int64_t)worker * GEMM_PRIVATE;
    const int64_t stride = slots(j, j->kc, j->kernels->nr);
    const int64_t b0 = first_of(index, j->b_groups, j->b_panels), b1 = first_of(index + 1, j->b_groups, j->b_panels);
    begin(j);
    for (int64_t k = 0; k < j->k; k += j->kc) {
        const int64_t kc = min64(j->kc, j->k - k);
        const int64_t lies = lies_in_lanes(j, b1, k, kc);
        pack_panels(j, 0, packed + slots(j, lies, j->kernels->nr), stride, b0, b1, k + lies, kc - lies);
        for (int64_t pa = 0; pa < j->a_panels; pa++) {
            const block_of_a a = {.panels = shared_panel(j, pa) + slots(j, k, a_height(j, pa))};
            for (int64_t pb = b0; pb < b1; pb++) {
                panel_of_b b = {.panel = packed + (pb - b0) * stride};
                if (lies > 0 && pa == 0)
                    b = (panel_of_b){.rows = in_place(j, pb, k), .ld = j->g->b.rs, .lies = lies, .panel = b.panel};
                multiply(j, pa, pb, k, kc, &a, 0, b, next_block(j, index, pb - b0, pa, k));
            }
        }
    }
    end(j);
}

static void run_few_rows(gemm_job *j) {
    j->share_a = 1;
    pack_shared_operand(j);
    j->b_groups = min64(even_tasks(j->b_panels, GEMM_FEW_PANELS, 4), j->b_panels);
    lathe_parallel_on(j->workers, (int)j->b_groups, few_rows, j);
}

static void run_many_rows(gemm_job *j) {
    const int64_t nr = j->kernels->nr, all = div_up(j->g->n, nr), fit = GEMM_SHARED / slots(j, j->k, nr);
    const int64_t passes = div_up(all, fit < 1 ? 1 : fit), step = div_up(all, passes) * nr;
    for (j->n0 = 0; j->n0 < j->g->n; j->n0 += step) {
        j->n = min64(step, j->g->n - j->n0);
        j->b_panels = div_up(j->n, nr);
        pack_shared_operand(j);
        share_out(j);
        lathe_parallel_on(j->workers, (int)(j->a_groups * j->b_groups), many_rows, j);
    }
}

// no_depth is a product over nothing: bias, zeros, or C as it is.
static void no_depth(const lathe_gemm_args *g) {
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t n = 0; n < g->n; n++) {
            float *c = g->c + (g->transpose_c ? n * g->ldc + i : i * g->ldc + n);
            const float v = !g->bias ? 0 : g->bias[g->transpose_c ? i : n];
            *c = g->accumulate ? *c + v : v;
        }
}

typedef struct {
    const lathe_gemm_args *g;
    const gemm_kernels *kernels;
    const float *x, *u;
    int64_t rows;
} gemv_job;

static void gemv_task(void *arg, int index, int worker) {
    (void)worker;
    const gemv_job *j = arg;
    j->kernels->gemv(j->g, j->x, j->u, index * j->rows, min64((index + 1) * j->rows, j->g->n));
}

static int fits_gemv(const lathe_gemm_args *g) {
    return g->m <= GEMV_MAX_M && g->b.rs == 1 && (g->r == 0 || (g->v.rs == 1 && g->v.type == LATHE_F32)) &&
           g->m * (gemv_stride(g->k) + gemv_stride(g->r)) <= GEMM_SHARED;
}

static void run_gemv(const lathe_gemm_args *g, const gemm_kernels *kernels, float *scratch) {
    static const lathe_matrix plain = {.type = LATHE_F32};
    float *u = scratch + g->m * gemv_stride(g->k);
    kernels->gemv_x(scratch, &g->a, g->m, g->k, &g->b, g->alpha);
    if (g->r > 0)
        kernels->gemv_x(u, &g->u, g->m, g->r, &plain, g->ext);
    gemv_job j = {.g = g, .kernels = kernels, .x = scratch, .u = u};
    j.rows = round_up(div_up(g->n, GEMV_TASKS * lathe_threads()), 4);
    lathe_parallel((int)div_up(g->n, j.rows), gemv_task, &j);
}

static lathe_matrix transpose(lathe_matrix m) {
    const int64_t rs = m.rs;
    m.rs = m.cs;
    m.cs = rs;
    return m;
}

// reads_rows says whether the tiles can read an operand by rows whose elements are contiguous.
static int reads_rows(const gemm_kernels *kernels, const lathe_matrix *m, float scale) { return kernels->reads_rows && scale == 1 && m->cs == 1; }

// lies_in_rows says whether they can read A's where they are. Rows a multiple of a page apart would fight for the same few
// places in the first-level cache.
static int lies_in_rows(const lathe_matrix *a) { return a->type == LATHE_F32 && a->rs % 1024 != 0; }

// transpose_product turns C = A·B into Cᵀ = Bᵀ·Aᵀ.
static lathe_gemm_args transpose_product(const lathe_gemm_args *g) {
    lathe_gemm_args t = *g;
    t.m = g->n;
    t.n = g->m;
    t.a = transpose(g->b);
    t.b = transpose(g->a);
    t.u = transpose(g->v);
    t.v = transpose(g->u);
    t.transpose_c = !g->transpose_c;
    return t;
}

// better_transposed says whether Cᵀ costs less: where few rows of A are packed instead of B, which tiles then read as it lies; or where
// columns are too few to fill the vectors.
static int better_transposed(const gemm_kernels *kernels, const lathe_gemm_args *g) {
    const int64_t few = g->k <= GEMM_SHALLOW ? GEMM_MC : GEMM_TRANSPOSED;
    if (kernels->reads_rows && g->m < g->n && g->m <= few && g->b.rs == 1)
        return 1;
    const int fills = reads_rows(kernels, &g->a, g->alpha) && 2 * g->n > kernels->vlen;
    return g->n <= GEMM_NARROW && g->n < g->m && !fills;
}

void lathe_gemm(const lathe_gemm_args *g, void *scratch, size_t bytes) {
    const gemm_kernels *kernels = gemm_kernels_in_use(g->narrow);
    const int64_t depth = round_up(g->k, kernels->unit) + round_up(g->r, kernels->unit);
    lathe_gemm_args transposed;
    if (g->m <= 0 || g->n <= 0)
        return;
    if (depth <= 0) {
        no_depth(g);
        return;
    }
    const int vectors = fits_gemv(g);
    if (!vectors && better_transposed(kernels, g)) {
        transposed = transpose_product(g);
        g = &transposed;
    }
    if (vectors || (!g->narrow && fits_gemv(g))) {
        run_gemv(g, gemm_kernels_in_use(0), scratch);
        return;
    }
    gemm_job j = {.g = g, .kernels = kernels, .shared = scratch, .n = g->n, .pairs = kernels->per_slot == 2};
    j.by_row = reads_rows(kernels, &g->a, g->alpha);
    j.lies = lies_in_rows(&g->a);
    j.workers = (int)((bytes / sizeof(float) - GEMM_SHARED) / GEMM_PRIVATE);
    j.private_ = j.shared + GEMM_SHARED;
    j.a_panels = div_up(g->m, kernels->mr);
    j.mr = (int)round_up(div_up(g->m, j.a_panels), kernels->height); // equal heights: 16 rows are 8+8, not 14+2
    j.a_panels = div_up(g->m, j.mr);
    j.b_panels = div_up(g->n, kernels->nr);
    for (j.k0 = 0; j.k0 < depth; j.k0 += j.k) {
        j.k = min64(GEMM_KS, depth - j.k0);
        j.kc = round_up(div_up(j.k, div_up(j.k, GEMM_KC)), 32);
        if (g->m <= GEMM_MC && (g->m < g->n || !kernels->reads_rows))
            run_few_rows(&j);
        else
            run_many_rows(&j);
        j.n = g->n;
    }
}

enum { SUMS_COLS = 64 };

static void sums_task(void *arg, int index, int worker) {
    (void)worker;
    const lathe_column_sums_args *j = arg;
    const int64_t c0 = (int64_t)index * SUMS_COLS, n = min64(SUMS_COLS, j->cols - c0);
    float sum[SUMS_COLS] = {0};
    for (int64_t r = 0; r < j->rows; r++) {
        const float *row = j->src + r * j->cols + c0;
        for (int64_t c = 0; c < n; c++)
            sum[c] += row[c];
    }
    for (int64_t c = 0; c < n; c++)
        j->dst[c0 + c] += sum[c];
}

void lathe_column_sums(const lathe_column_sums_args *a) { lathe_parallel((int)div_up(a->cols, SUMS_COLS), sums_task, (void *)a); }
