// One pass of a matrix product, how it is cut into tasks, and how the panels of its operands are packed.
#ifndef LATHE_GEMM_JOB_H
#define LATHE_GEMM_JOB_H

#include "gemm_tier.h"
#include "pool.h"

enum {
    GEMM_MC = 140,          // rows of A in one task: with GEMM_KC they fill a fifth of the second-level cache
    GEMM_SMALLEST = 6,      // the smallest task has a sixth of those rows
    GEMM_PACK_GROUP = 8,    // panels that are packed at a time
    GEMM_SIDE_BY_SIDE = 32, // depth at a time of panels that are packed side by side
};

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
    int64_t rounds_of;          // A's groups, one for each thread, which become smaller from round to round; or 0: all are equal
    int64_t pack_group;         // panels that one task packs
    float *shared, *private_;
    int workers; // that private_ has room for
    int share_a; // which operand is packed beforehand
    int pairs;   // whether a slot holds two elements of depth
    int by_row;  // whether tiles read A in rows instead of panels
    int lies;    // and those where they are
} gemm_job;

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return div_up(a, b) * b; }

// first_of is where group `index` of `groups` equal ones begins.
static int64_t first_of(int64_t index, int64_t groups, int64_t panels) { return index * panels / groups; }

// even_tasks is how many tasks panels make of `most` each at the most: `each` for a thread at least, and as many as divide among the threads.
static int64_t even_tasks(int64_t panels, int64_t most, int64_t each) {
    const int64_t threads = lathe_threads();
    return round_up(max64(div_up(panels, most), each * threads), threads);
}

// most_of_a is how many panels of A a task has at most, least_of_a how many it has at least where tasks become smaller.
static int64_t most_of_a(const gemm_job *j) { return max64(GEMM_MC / j->mr, 1); }
static int64_t least_of_a(const gemm_job *j) { return div_up(most_of_a(j), GEMM_SMALLEST); }

// in_round is how many panels of A each thread's task takes of those that are left: half of its share, so that tasks become smaller towards the
// end and one whose thread was held up leaves the others waiting for little (factoring, Hummel, Schonberg & Flynn 1992); at last all of it.
static int64_t in_round(const gemm_job *j, int64_t left) {
    if (left <= j->rounds_of * least_of_a(j))
        return div_up(left, j->rounds_of);
    return max64(min64(most_of_a(j), div_up(left, 2 * j->rounds_of)), least_of_a(j));
}

// first_of_a is the panel of A where group `index` begins.
static int64_t first_of_a(const gemm_job *j, int64_t index) {
    if (!j->rounds_of)
        return first_of(index, j->a_groups, j->a_panels);
    int64_t at = 0;
    for (; index >= j->rounds_of; index -= j->rounds_of)
        at = min64(at + j->rounds_of * in_round(j, j->a_panels - at), j->a_panels);
    return min64(at + index * in_round(j, j->a_panels - at), j->a_panels);
}

// share_equally cuts C into equal tasks: as few groups of rows as keep A in its place, but as many tasks as divide among the threads
// without a rest (one task of 15 too many on two threads is 6% of the time).
static void share_equally(gemm_job *j, int64_t threads) {
    int64_t groups = div_up(j->a_panels, most_of_a(j));
    while (groups % threads && (threads % groups))
        groups++;
    j->a_groups = min64(groups, j->a_panels);
    j->b_groups = min64(groups < threads ? threads / groups : 1, j->b_panels);
    if (j->a_groups * j->b_groups < threads)
        j->a_groups = min64(threads, j->a_panels);
}

// share_out cuts C into tasks: rounds of fewer and fewer rows, where the first have a third of the most at least; else equal ones.
static void share_out(gemm_job *j) {
    const int64_t threads = lathe_threads();
    j->rounds_of = threads > 1 && 3 * div_up(j->a_panels, 2 * threads) >= most_of_a(j) ? threads : 0;
    if (!j->rounds_of) {
        share_equally(j, threads);
        return;
    }
    j->a_groups = 0;
    j->b_groups = 1;
    for (int64_t left = j->a_panels, size; left > 0; left -= threads * size) {
        size = in_round(j, left);
        j->a_groups += min64(threads, div_up(left, size));
    }
}

// An operand_part is an operand from some lane and depth on, as it lies or widened.
typedef struct {
    lathe_matrix m;
    int64_t lane, depth;
} operand_part;

// pack_depth packs depth [k0,k0+kc) of an operand followed by its extension.
static void pack_depth(const gemm_job *j, float *dst, int stride, int is_a, const operand_part *part, int64_t lane0, int lanes, int64_t k0,
                       int64_t kc) {
    const lathe_gemm_args *g = j->g;
    const lathe_matrix *m = &part->m, *x = is_a ? &g->u : &g->v;
    // A transposed product's A and U are the caller's B and V, and which of two operands is scaled decides bits: of U and V always the
    // caller's U, so that a row's bits do not depend on how many there are; of A and B, where rounding follows, the caller's A.
    const int scaled = is_a != (g->narrow && g->transpose_c), extended = is_a != g->transpose_c;
    const int64_t main = round_up(g->k, j->kernels->unit), here = k0 < main ? min64(kc, main - k0) : 0;
    void (*const pack)(float *, int, const lathe_matrix *, int64_t, int64_t, int64_t, int, int64_t, int64_t, float) =
        is_a ? j->kernels->pack_a : j->kernels->pack_b;
    if (here > 0)
        pack(dst, stride, m, is_a ? m->rs : m->cs, is_a ? m->cs : m->rs, lane0 - part->lane, lanes, k0 - part->depth,
             min64(here, g->k - k0), scaled ? g->alpha : 1);
    if (here < kc)
        pack(dst + (here >> j->pairs) * stride, stride, x, is_a ? x->rs : x->cs, is_a ? x->cs : x->rs, lane0, lanes,
             k0 + here - main, min64(kc - here, g->r - (k0 + here - main)), extended ? g->ext : 1);
}

static int a_rows(const gemm_job *j, int64_t panel) { return (int)min64(j->mr, j->g->m - panel * j->mr); }
static int a_height(const gemm_job *j, int64_t panel) { return (int)round_up(a_rows(j, panel), j->kernels->height); }
static int b_cols(const gemm_job *j, int64_t panel) { return (int)min64(j->kernels->nr, j->n - panel * j->kernels->nr); }
static int b_width(const gemm_job *j, int64_t panel) {
    return b_cols(j, panel) <= j->kernels->vlen ? j->kernels->vlen : j->kernels->nr;
}

// slots is where depth k of a panel begins that has so many lanes, or how long it is.
static int64_t slots(const gemm_job *j, int64_t k, int64_t lanes) { return (k >> j->pairs) * lanes; }

static void pack_a(const gemm_job *j, const operand_part *part, float *dst, int64_t panel, int64_t k, int64_t kc) {
    pack_depth(j, dst, a_height(j, panel), 1, part, panel * j->mr, a_rows(j, panel), j->k0 + k, kc);
}

static void pack_b(const gemm_job *j, const operand_part *part, float *dst, int64_t panel, int64_t k, int64_t kc) {
    pack_depth(j, dst, b_width(j, panel), 0, part, j->n0 + panel * j->kernels->nr, b_cols(j, panel), j->k0 + k, kc);
}

// widen_part widens the lanes of panels [p0,p1), which are contiguous, over depth [k,k+kc) of the pass.
static void widen_part(const gemm_job *j, int is_a, operand_part *part, float *strip, int64_t p0, int64_t p1, int64_t k, int64_t kc) {
    const lathe_matrix *m = is_a ? &j->g->a : &j->g->b;
    const int64_t height = is_a ? j->mr : j->kernels->nr, end = is_a ? j->g->m : j->n, shift = is_a ? 0 : j->n0;
    const int64_t lanes = min64(p1 * height, end) - p0 * height, ds = is_a ? m->cs : m->rs;
    *part = (operand_part){.m = {.data = strip, .type = LATHE_F32, .rs = lanes, .cs = lanes}, .lane = shift + p0 * height, .depth = j->k0 + k};
    *(is_a ? &part->m.rs : &part->m.cs) = 1;
    for (int64_t i = 0; i < min64(kc, j->g->k - part->depth); i++)
        j->kernels->convert(strip + i * lanes, m, (part->depth + i) * ds + part->lane, lanes);
}

// pack_panels packs panels [p0,p1), at most GEMM_PACK_GROUP, `stride` floats apart. Where lanes are contiguous in memory, one row of the
// operand feeds all panels: they are packed side by side, or every cache line would be fetched and every code looked up for each of them.
static void pack_panels(const gemm_job *j, int is_a, float *dst, int64_t stride, int64_t p0, int64_t p1, int64_t k, int64_t kc) {
    const lathe_matrix *m = is_a ? &j->g->a : &j->g->b;
    const int contiguous = is_a ? m->rs == 1 : m->cs == 1, widens = contiguous && m->type != LATHE_F32;
    const int64_t step = contiguous ? GEMM_SIDE_BY_SIDE : kc;
    float strip[GEMM_SIDE_BY_SIDE * GEMM_PACK_LANES];
    operand_part part = {.m = *m};
    for (int64_t at = 0; at < kc; at += step) {
        const int64_t some = min64(step, kc - at);
        if (widens)
            widen_part(j, is_a, &part, strip, p0, p1, k + at, some);
        for (int64_t p = p0; p < p1; p++) {
            float *panel = dst + (p - p0) * stride;
            if (is_a)
                pack_a(j, &part, panel + slots(j, at, a_height(j, p)), p, k + at, some);
            else
                pack_b(j, &part, panel + slots(j, at, b_width(j, p)), p, k + at, some);
        }
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
    j->pack_group = div_up(panels, even_tasks(panels, GEMM_PACK_GROUP, 2));
    lathe_parallel((int)div_up(panels, j->pack_group), pack_shared, j);
}

#endif
