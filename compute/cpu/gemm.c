// Blocking and threads of the matrix product, after BLIS (Van Zee & van de Geijn 2015): panels of A and B are packed so that the
// micro-kernel of the tier reads both in order.
#include "gemm.h"

#include "gemm_tier.h"
#include "pool.h"

enum {
    GEMM_KS = 4096,            // depth of one pass over C; as GEMM_KC it decides bits
    GEMM_MC = 140,             // rows of A in one task: with GEMM_KC they fill a fifth of the second-level cache
    GEMM_NB = 256,             // columns of B that a task keeps in the second-level cache
    GEMM_SHARED = 2 << 20,     // floats of packed operand shared by all threads (8 MiB)
    GEMM_PRIVATE = GEMM_MC * (GEMM_KC + GEMM_PANEL_SLACK) + 1024, // floats of each worker
};

const gemm_kernels *gemm_kernels_in_use(void) {
#if defined(__x86_64__)
    if (lathe_tier() == LATHE_AVX512)
        return &lathe_gemm_avx512;
    if (lathe_tier() == LATHE_AVX2)
        return &lathe_gemm_avx2;
#endif
    return &lathe_gemm_plain;
}

size_t lathe_gemm_scratch(void) { return sizeof(float) * (GEMM_SHARED + (size_t)lathe_threads() * GEMM_PRIVATE); }

// A job is one pass: all of m, columns [n0,n0+n), depth [k0,k0+k) of the product extended by U·V.
typedef struct {
    const lathe_gemm_args *g;
    const gemm_kernels *kernels;
    int64_t n0, n, k0, k;
    int64_t kc;          // depth of a block
    int mr;              // height of the panels of A, the last one may be lower
    int64_t a_panels, b_panels;
    int64_t a_group, b_group; // panels of A and B in one task
    int64_t b_groups;
    float *shared, *private_;
    int share_a; // which operand is packed beforehand
} gemm_job;

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// pack_depth packs depth [k0,k0+kc) of an operand followed by its extension.
static void pack_depth(const gemm_job *j, float *dst, int stride, int is_a, int64_t lane0, int lanes, int64_t k0, int64_t kc) {
    const lathe_gemm_args *g = j->g;
    const lathe_matrix *m = is_a ? &g->a : &g->b, *x = is_a ? &g->u : &g->v;
    const int64_t here = k0 < g->k ? min64(kc, g->k - k0) : 0;
    if (here > 0)
        j->kernels->pack(dst, stride, m, is_a ? m->rs : m->cs, is_a ? m->cs : m->rs, lane0, lanes, k0, here,
                         is_a ? g->alpha : 1);
    if (here < kc)
        j->kernels->pack(dst + here * stride, stride, x, is_a ? x->rs : x->cs, is_a ? x->cs : x->rs, lane0, lanes,
                         k0 + here - g->k, kc - here, is_a ? g->ext : 1);
}

static int a_rows(const gemm_job *j, int64_t panel) { return (int)min64(j->mr, j->g->m - panel * j->mr); }
static int b_cols(const gemm_job *j, int64_t panel) { return (int)min64(j->kernels->nr, j->n - panel * j->kernels->nr); }
static int b_width(const gemm_job *j, int64_t panel) {
    return b_cols(j, panel) <= j->kernels->vlen ? j->kernels->vlen : j->kernels->nr;
}

static void pack_a(const gemm_job *j, float *dst, int64_t panel, int64_t k, int64_t kc) {
    int rows = a_rows(j, panel);
    pack_depth(j, dst, rows, 1, panel * j->mr, rows, j->k0 + k, kc);
}

static void pack_b(const gemm_job *j, float *dst, int64_t panel, int64_t k, int64_t kc) {
    pack_depth(j, dst, b_width(j, panel), 0, j->n0 + panel * j->kernels->nr, b_cols(j, panel), j->k0 + k, kc);
}

// The shared operand lies panel after panel, each over the whole depth of the pass.
static float *shared_panel(const gemm_job *j, int64_t panel) {
    return j->shared + panel * (j->share_a ? j->mr * j->k + GEMM_PANEL_SLACK : j->kernels->nr * j->k);
}

static void pack_shared(void *arg, int index, int worker) {
    (void)worker;
    const gemm_job *j = arg;
    (j->share_a ? pack_a : pack_b)(j, shared_panel(j, index), index, 0, j->k);
}

static void multiply(const gemm_job *j, int64_t pa, int64_t pb, int64_t k, int64_t kc, const float *a, const float *b) {
    const lathe_gemm_args *g = j->g;
    const int first = j->k0 + k == 0;
    const int64_t col = j->n0 + pb * j->kernels->nr;
    const gemm_tile t = {
        .c = g->c + pa * j->mr * g->ldc + col,
        .ldc = g->ldc,
        .rows = a_rows(j, pa),
        .cols = b_cols(j, pb),
        .bias = first && g->bias ? g->bias + col : NULL,
        .add = !first || g->accumulate,
    };
    j->kernels->tile(&t, kc, a, b);
}

// many_rows computes a block of C: B is packed already, A is packed as the block goes along, in strips of B that stay in the
// second-level cache while each panel of A stays in the first.
static void many_rows(void *arg, int index, int worker) {
    const gemm_job *j = arg;
    float *mine = j->private_ + (int64_t)worker * GEMM_PRIVATE;
    const int64_t a0 = index / j->b_groups * j->a_group, a1 = min64(a0 + j->a_group, j->a_panels);
    const int64_t b0 = index % j->b_groups * j->b_group, b1 = min64(b0 + j->b_group, j->b_panels);
    const int64_t strip = GEMM_NB / j->kernels->nr;
    for (int64_t k = 0; k < j->k; k += j->kc) {
        const int64_t kc = min64(j->kc, j->k - k);
        for (int64_t s = b0; s < b1; s += strip)
            for (int64_t pa = a0; pa < a1; pa++) {
                float *a = mine + (pa - a0) * (j->mr * j->kc + GEMM_PANEL_SLACK);
                if (s == b0)
                    pack_a(j, a, pa, k, kc);
                for (int64_t pb = s; pb < min64(s + strip, b1); pb++)
                    multiply(j, pa, pb, k, kc, a, shared_panel(j, pb) + k * b_width(j, pb));
            }
    }
}

// few_rows computes a group of columns of C: A is packed already, each panel of B is packed just before its only use.
static void few_rows(void *arg, int index, int worker) {
    const gemm_job *j = arg;
    float *b = j->private_ + (int64_t)worker * GEMM_PRIVATE;
    const int64_t b0 = index * j->b_group, b1 = min64(b0 + j->b_group, j->b_panels);
    for (int64_t pb = b0; pb < b1; pb++)
        for (int64_t k = 0; k < j->k; k += j->kc) {
            const int64_t kc = min64(j->kc, j->k - k);
            pack_b(j, b, pb, k, kc);
            for (int64_t pa = 0; pa < j->a_panels; pa++)
                multiply(j, pa, pb, k, kc, shared_panel(j, pa) + k * a_rows(j, pa), b);
        }
}

// groups cuts panels into about `wanted` groups of at most `most`.
static int64_t group_size(int64_t panels, int64_t wanted, int64_t most) {
    int64_t size = div_up(panels, wanted < 1 ? 1 : wanted);
    return size > most ? most : size;
}

static void run_few_rows(gemm_job *j) {
    j->share_a = 1;
    lathe_parallel((int)j->a_panels, pack_shared, j);
    j->b_group = group_size(j->b_panels, 4 * lathe_threads(), j->b_panels);
    lathe_parallel((int)div_up(j->b_panels, j->b_group), few_rows, j);
}

static void run_many_rows(gemm_job *j) {
    const int64_t tasks = 4 * lathe_threads(), nr = j->kernels->nr;
    const int64_t all = div_up(j->g->n, nr), fit = GEMM_SHARED / (j->k * nr);
    const int64_t passes = div_up(all, fit < 1 ? 1 : fit), step = div_up(all, passes) * nr;
    for (j->n0 = 0; j->n0 < j->g->n; j->n0 += step) {
        j->n = min64(step, j->g->n - j->n0);
        j->b_panels = div_up(j->n, nr);
        lathe_parallel((int)j->b_panels, pack_shared, j);
        const int64_t a_groups = div_up(j->a_panels, GEMM_MC / j->mr);
        j->a_group = div_up(j->a_panels, a_groups);
        j->b_group = group_size(j->b_panels, div_up(tasks, a_groups), j->b_panels);
        j->b_groups = div_up(j->b_panels, j->b_group);
        lathe_parallel((int)(div_up(j->a_panels, j->a_group) * j->b_groups), many_rows, j);
    }
}

// no_depth is a product over nothing: bias, zeros, or C as it is.
static void no_depth(const lathe_gemm_args *g) {
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t n = 0; n < g->n; n++) {
            float v = g->bias ? g->bias[n] : 0;
            g->c[i * g->ldc + n] = g->accumulate ? g->c[i * g->ldc + n] + v : v;
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
    const int64_t n0 = index * j->rows;
    j->kernels->gemv(j->g, j->x, j->u, n0, min64(n0 + j->rows, j->g->n));
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
    j.rows = div_up(div_up(g->n, 4 * lathe_threads()), 4) * 4;
    lathe_parallel((int)div_up(g->n, j.rows), gemv_task, &j);
}

void lathe_gemm(const lathe_gemm_args *g, void *scratch) {
    const gemm_kernels *kernels = gemm_kernels_in_use();
    const int64_t depth = g->k + g->r;
    if (g->m <= 0 || g->n <= 0)
        return;
    if (depth <= 0) {
        no_depth(g);
        return;
    }
    if (fits_gemv(g)) {
        run_gemv(g, kernels, scratch);
        return;
    }
    gemm_job j = {.g = g, .kernels = kernels, .shared = scratch, .n = g->n};
    j.private_ = j.shared + GEMM_SHARED;
    j.a_panels = div_up(g->m, kernels->mr);
    j.mr = (int)div_up(g->m, j.a_panels); // equal heights: 16 rows are 8+8, not 14+2
    j.a_panels = div_up(g->m, j.mr);
    j.b_panels = div_up(g->n, kernels->nr);
    for (j.k0 = 0; j.k0 < depth; j.k0 += j.k) {
        j.k = min64(GEMM_KS, depth - j.k0);
        j.kc = div_up(div_up(j.k, div_up(j.k, GEMM_KC)), 16) * 16;
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
