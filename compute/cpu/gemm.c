// Blocking and threads of the matrix product, after BLIS (Van Zee & van de Geijn 2015): panels of A and B are packed so that the
// micro-kernel of the tier reads both in order.
#include "gemm.h"

#include "gemm_tier.h"
#include "pool.h"

enum {
    GEMM_KS = 4096,            // depth of one pass over C; as GEMM_KC it decides bits
    GEMM_MC = 140,             // rows of A in one task: with GEMM_KC they fill a fifth of the second-level cache
    GEMM_PACK_GROUP = 8,       // panels that are packed at a time
    GEMM_SIDE_BY_SIDE = 32,    // depth at a time of panels that are packed side by side
    GEMM_AHEAD_PACKED = 8,     // rows of B that are fetched before their use, where they follow each other in memory
    GEMM_AHEAD_ROWS = 24,      // and where each is somewhere else
    GEMV_TASKS = 12,           // of each thread: what is left at the end of a product is a twelfth of it at most
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

// A job is one pass: all of m, columns [n0,n0+n), depth [k0,k0+k) of the product extended by U·V. Depth counts both parts, each filled
// up to whole units of the kernels.
typedef struct {
    const lathe_gemm_args *g;
    const gemm_kernels *kernels;
    int64_t n0, n, k0, k;
    int64_t kc;          // depth of a block
    int mr;              // height of the panels of A, the last one may be lower
    int64_t a_panels, b_panels;
    int64_t a_groups, b_groups; // of panels: each pair of groups is one task
    int64_t pack_group;         // panels that one task packs
    float *shared, *private_;
    int workers; // that private_ has room for
    int share_a; // which operand is packed beforehand
    int pairs;   // whether a slot holds two elements of depth
    int by_row;  // whether rows of A are read as they lie, where there are many
} gemm_job;

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return div_up(a, b) * b; }

// first_of is where group `index` of `groups` equal ones begins.
static int64_t first_of(int64_t index, int64_t groups, int64_t panels) { return index * panels / groups; }

// pack_depth packs depth [k0,k0+kc) of an operand followed by its extension.
static void pack_depth(const gemm_job *j, float *dst, int stride, int is_a, int64_t lane0, int lanes, int64_t k0, int64_t kc) {
    const lathe_gemm_args *g = j->g;
    const lathe_matrix *m = is_a ? &g->a : &g->b, *x = is_a ? &g->u : &g->v;
    // A transposed product's A and U are the caller's B and V: it matters which of two operands is scaled where they are rounded.
    const int scaled = is_a != (g->narrow && g->transpose_c);
    const int64_t main = round_up(g->k, j->kernels->unit), here = k0 < main ? min64(kc, main - k0) : 0;
    void (*const pack)(float *, int, const lathe_matrix *, int64_t, int64_t, int64_t, int, int64_t, int64_t, float) =
        is_a ? j->kernels->pack_a : j->kernels->pack_b;
    if (here > 0)
        pack(dst, stride, m, is_a ? m->rs : m->cs, is_a ? m->cs : m->rs, lane0, lanes, k0, min64(here, g->k - k0),
             scaled ? g->alpha : 1);
    if (here < kc)
        pack(dst + (here >> j->pairs) * stride, stride, x, is_a ? x->rs : x->cs, is_a ? x->cs : x->rs, lane0, lanes,
             k0 + here - main, min64(kc - here, g->r - (k0 + here - main)), scaled ? g->ext : 1);
}

static int a_rows(const gemm_job *j, int64_t panel) { return (int)min64(j->mr, j->g->m - panel * j->mr); }
static int a_height(const gemm_job *j, int64_t panel) { return (int)round_up(a_rows(j, panel), j->kernels->height); }
static int b_cols(const gemm_job *j, int64_t panel) { return (int)min64(j->kernels->nr, j->n - panel * j->kernels->nr); }
static int b_width(const gemm_job *j, int64_t panel) {
    return b_cols(j, panel) <= j->kernels->vlen ? j->kernels->vlen : j->kernels->nr;
}

// slots is where depth k of a panel begins that has so many lanes, or how long it is.
static int64_t slots(const gemm_job *j, int64_t k, int64_t lanes) { return (k >> j->pairs) * lanes; }

static void pack_a(const gemm_job *j, float *dst, int64_t panel, int64_t k, int64_t kc) {
    pack_depth(j, dst, a_height(j, panel), 1, panel * j->mr, a_rows(j, panel), j->k0 + k, kc);
}

static void pack_b(const gemm_job *j, float *dst, int64_t panel, int64_t k, int64_t kc) {
    pack_depth(j, dst, b_width(j, panel), 0, j->n0 + panel * j->kernels->nr, b_cols(j, panel), j->k0 + k, kc);
}

// pack_panels packs panels [p0,p1), `stride` floats apart. Where lanes are contiguous in memory, one row of the operand feeds
// all panels: they are packed side by side, or every cache line would be fetched for each of them.
static void pack_panels(const gemm_job *j, int is_a, float *dst, int64_t stride, int64_t p0, int64_t p1, int64_t k, int64_t kc) {
    const int contiguous = is_a ? j->g->a.rs == 1 : j->g->b.cs == 1;
    const int64_t step = contiguous && p1 - p0 > 1 ? GEMM_SIDE_BY_SIDE : kc;
    for (int64_t at = 0; at < kc; at += step)
        for (int64_t p = p0; p < p1; p++) {
            float *panel = dst + (p - p0) * stride;
            if (is_a)
                pack_a(j, panel + slots(j, at, a_height(j, p)), p, k + at, min64(step, kc - at));
            else
                pack_b(j, panel + slots(j, at, b_width(j, p)), p, k + at, min64(step, kc - at));
        }
}

// The shared operand lies panel after panel, each over the whole depth of the pass.
static int64_t shared_stride(const gemm_job *j) {
    return j->share_a ? slots(j, j->k, j->mr) + GEMM_PANEL_SLACK : slots(j, j->k, j->kernels->nr);
}
static float *shared_panel(const gemm_job *j, int64_t panel) { return j->shared + panel * shared_stride(j); }

static void pack_shared(void *arg, int index, int worker) {
    (void)worker;
    const gemm_job *j = arg;
    const int64_t panels = j->share_a ? j->a_panels : j->b_panels, p0 = index * j->pack_group;
    pack_panels(j, j->share_a, shared_panel(j, p0), shared_stride(j), p0, min64(p0 + j->pack_group, panels), 0, j->k);
}

static void pack_shared_operand(gemm_job *j) {
    const int64_t panels = j->share_a ? j->a_panels : j->b_panels;
    j->pack_group = min64(div_up(panels, 2 * lathe_threads()), GEMM_PACK_GROUP);
    lathe_parallel((int)div_up(panels, j->pack_group), pack_shared, j);
}

// store_transposed adds a tile of sums to a C that is stored [n,m].
static void store_transposed(const lathe_gemm_args *g, const float *sums, int64_t row, int64_t col, int rows, int cols, int first) {
    for (int j = 0; j < cols; j++) {
        float *c = g->c + (col + j) * g->ldc + row;
        for (int i = 0; i < rows; i++) {
            float v = sums[i * GEMM_MAX_NR + j];
            if (first && g->bias)
                v += g->bias[row + i];
            c[i] = !first || g->accumulate ? c[i] + v : v;
        }
    }
}

// multiply computes one tile; ldb is 0 where b is a packed panel. Of A's depth the first `lies` is read as it lies, a is the packed rest.
static void multiply(const gemm_job *j, int64_t pa, int64_t pb, int64_t k, int64_t kc, int64_t lies, const float *a, const float *b,
                     int64_t ldb) {
    const lathe_gemm_args *g = j->g;
    const int first = j->k0 + k == 0;
    const int64_t row = pa * j->mr, col = j->n0 + pb * j->kernels->nr;
    const int ahead = ldb ? GEMM_AHEAD_ROWS : GEMM_AHEAD_PACKED;
    int64_t depth = kc >> j->pairs;
    gemm_tile t = {.rows = a_rows(j, pa), .cols = b_cols(j, pb)};
    if (lies > 0) {
        t.lda = g->a.rs;
        t.rest = a;
        t.rest_kc = depth - lies;
        depth = lies;
        a = (const float *)g->a.data + row * g->a.rs + j->k0 + k;
    }
    if (!ldb)
        ldb = b_width(j, pb);
    if (g->transpose_c) {
        float sums[GEMM_MAX_MR * GEMM_MAX_NR];
        t.c = sums;
        t.ldc = GEMM_MAX_NR;
        j->kernels->tile(&t, depth, a, b, ldb, ahead);
        store_transposed(g, sums, row, col, t.rows, t.cols, first);
        return;
    }
    t.c = g->c + row * g->ldc + col;
    t.ldc = g->ldc;
    t.bias = first && g->bias ? g->bias + col : NULL;
    t.add = !first || g->accumulate;
    j->kernels->tile(&t, depth, a, b, ldb, ahead);
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

// many_rows computes a block of C: B is packed already, A is packed for each depth, unless its rows are read as they lie, and stays in
// the second-level cache. A panel of B stays in the first while all panels of A pass; where it is too large for that, a panel of A stays
// while a strip of B passes.
static void many_rows(void *arg, int index, int worker) {
    const gemm_job *j = arg;
    float *a = j->private_ + (int64_t)worker * GEMM_PRIVATE;
    const int64_t ga = index / j->b_groups, gb = index % j->b_groups, stride = slots(j, j->kc, j->mr) + GEMM_PANEL_SLACK;
    const int64_t a0 = first_of(ga, j->a_groups, j->a_panels), a1 = first_of(ga + 1, j->a_groups, j->a_panels);
    const int64_t b0 = first_of(gb, j->b_groups, j->b_panels), b1 = first_of(gb + 1, j->b_groups, j->b_panels);
    const int64_t strip = slots(j, j->kc, j->kernels->nr) <= GEMM_L1_FLOATS ? 1 : GEMM_NB / j->kernels->nr;
    begin(j);
    for (int64_t k = 0; k < j->k; k += j->kc) {
        const int64_t kc = min64(j->kc, j->k - k), left = j->g->k - (j->k0 + k);
        const int64_t lies = !j->by_row || left < 0 ? 0 : min64(kc, left);
        if (lies < kc)
            pack_panels(j, 1, a, stride, a0, a1, k + lies, kc - lies);
        for (int64_t s = b0; s < b1; s += strip)
            for (int64_t pa = a0; pa < a1; pa++)
                for (int64_t pb = s; pb < min64(s + strip, b1); pb++)
                    multiply(j, pa, pb, k, kc, lies, a + (pa - a0) * stride, shared_panel(j, pb) + slots(j, k, b_width(j, pb)), 0);
    }
    end(j);
}

// reads_in_place says whether panels of B up to b1 can be read as they lie: whole, float32, lanes contiguous, and hardly used again.
static int reads_in_place(const gemm_job *j, int64_t b1, int64_t k, int64_t kc) {
    const lathe_matrix *b = &j->g->b;
    return b->type == LATHE_F32 && !j->g->narrow && b->cs == 1 && j->a_panels <= 2 && j->k0 + k + kc <= j->g->k && b_cols(j, b1 - 1) == b_width(j, b1 - 1);
}

static const float *in_place(const gemm_job *j, int64_t pb, int64_t k) {
    return (const float *)j->g->b.data + (j->k0 + k) * j->g->b.rs + j->n0 + pb * j->kernels->nr;
}

// few_rows computes a group of columns of C: A is packed already, panels of B are packed just before their only use.
static void few_rows(void *arg, int index, int worker) {
    const gemm_job *j = arg;
    float *packed = j->private_ + (int64_t)worker * GEMM_PRIVATE;
    const int64_t stride = slots(j, j->kc, j->kernels->nr), some = min64(GEMM_PRIVATE / stride, GEMM_PACK_GROUP);
    const int64_t last = first_of(index + 1, j->b_groups, j->b_panels);
    begin(j);
    for (int64_t b0 = first_of(index, j->b_groups, j->b_panels); b0 < last; b0 += some)
        for (int64_t k = 0; k < j->k; k += j->kc) {
            const int64_t kc = min64(j->kc, j->k - k), b1 = min64(b0 + some, last);
            const int lies = reads_in_place(j, b1, k, kc);
            if (!lies)
                pack_panels(j, 0, packed, stride, b0, b1, k, kc);
            for (int64_t pb = b0; pb < b1; pb++)
                for (int64_t pa = 0; pa < j->a_panels; pa++)
                    multiply(j, pa, pb, k, kc, 0, shared_panel(j, pa) + slots(j, k, a_height(j, pa)),
                             lies ? in_place(j, pb, k) : packed + (pb - b0) * stride, lies ? j->g->b.rs : 0);
        }
    end(j);
}

static void run_few_rows(gemm_job *j) {
    j->share_a = 1;
    pack_shared_operand(j);
    j->b_groups = min64(4 * lathe_threads(), j->b_panels);
    lathe_parallel_on(j->workers, (int)j->b_groups, few_rows, j);
}

// share_out cuts C into tasks: as few groups of rows as keep A in its place, but as many tasks as divide among the threads
// without a rest (one task of 15 too many on two threads is 6% of the time).
static void share_out(gemm_job *j) {
    const int64_t threads = lathe_threads();
    int64_t groups = div_up(j->a_panels, GEMM_MC / j->mr);
    while (groups % threads && (threads % groups))
        groups++;
    j->a_groups = min64(groups, j->a_panels);
    j->b_groups = min64(groups < threads ? threads / groups : 1, j->b_panels);
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

// lies_in_rows says whether the tiles can read A's rows where they are. Rows a multiple of a page apart would fight for the same few
// places in the first-level cache.
static int lies_in_rows(const gemm_kernels *kernels, const lathe_gemm_args *g) {
    return kernels->reads_rows && g->m > GEMM_MC && g->a.type == LATHE_F32 && g->a.cs == 1 && g->alpha == 1 && g->a.rs % 1024 != 0;
}

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
    const int few = g->narrow && fits_gemv(g); // which a transposed product is not: it has many rows
    const int by_row = lies_in_rows(kernels, g);
    if (!few && g->n <= GEMM_NARROW && g->n < g->m && !(by_row && 2 * g->n > kernels->vlen)) {
        transposed = transpose_product(g);
        g = &transposed;
    }
    if (few || (!g->narrow && fits_gemv(g))) {
        run_gemv(g, gemm_kernels_in_use(0), scratch);
        return;
    }
    gemm_job j = {.g = g, .kernels = kernels, .shared = scratch, .n = g->n, .pairs = kernels->per_slot == 2};
    j.by_row = by_row && !g->transpose_c;
    j.workers = (int)((bytes / sizeof(float) - GEMM_SHARED) / GEMM_PRIVATE);
    j.private_ = j.shared + GEMM_SHARED;
    j.a_panels = div_up(g->m, kernels->mr);
    j.mr = (int)round_up(div_up(g->m, j.a_panels), kernels->height); // equal heights: 16 rows are 8+8, not 14+2
    j.a_panels = div_up(g->m, j.mr);
    j.b_panels = div_up(g->n, kernels->nr);
    for (j.k0 = 0; j.k0 < depth; j.k0 += j.k) {
        j.k = min64(GEMM_KS, depth - j.k0);
        j.kc = round_up(div_up(j.k, div_up(j.k, GEMM_KC)), 32);
        if (g->m <= GEMM_MC)
            run_few_rows(&j);
        else
            run_many_rows(&j);
        j.n = g->n;
    }
}

typedef struct {
    float *dst;
    const float *src;
    int64_t rows, cols;
} sums_job;

enum { SUMS_COLS = 64 };

static void sums_task(void *arg, int index, int worker) {
    (void)worker;
    const sums_job *j = arg;
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

void lathe_column_sums(float *dst, const float *src, int64_t rows, int64_t cols) {
    sums_job j = {.dst = dst, .src = src, .rows = rows, .cols = cols};
    lathe_parallel((int)div_up(cols, SUMS_COLS), sums_task, &j);
}
