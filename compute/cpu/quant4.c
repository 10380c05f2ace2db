// The code books of 4-bit weights, and the second quantisation of their scales as bitsandbytes 0.50 computes it on the CPU.
#include "quant4.h"

#include <math.h>   // fabsf
#include <string.h> // memcpy

#include "gemm_tier.h"
#include "pool.h"

// Thresholds are the middles between neighbours of the sorted code book, rounded to float32.
#define MIDDLE(a, b) (((a) + (b)) / 2.0f)
#define SEARCH(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                                               \
    {{MIDDLE(h, i)},                                                                                                         \
     {MIDDLE(d, e), MIDDLE(l, m)},                                                                                           \
     {MIDDLE(b, c), MIDDLE(f, g), MIDDLE(j, k), MIDDLE(n, o)},                                                               \
     {MIDDLE(a, b), MIDDLE(c, d), MIDDLE(e, f), MIDDLE(g, h), MIDDLE(i, j), MIDDLE(k, l), MIDDLE(m, n), MIDDLE(o, p)}}
#define NF4                                                                                                                  \
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,  \
        -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, \
        0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f
#define SEARCH_OF(...) SEARCH(__VA_ARGS__)

// FP4 are twelfths: sign, then 0, 1/16, 8, 12, 4, 6, 2, 3. Of its two zeros the second one (code 8) stands above the first, as
// argsort leaves them; CUDA's tree writes the other one of the two for what rounds to zero.
#define T(x) ((x) / 12.0f)
#define FP4_SORTED                                                                                                           \
    -1.0f, T(-8.0f), T(-6.0f), T(-4.0f), T(-3.0f), T(-2.0f), T(-0.0625f), 0.0f, 0.0f, T(0.0625f), T(2.0f), T(3.0f), T(4.0f), \
        T(6.0f), T(8.0f), 1.0f

static const lathe_code_book books[2] = {
    {.code = {NF4}, .search = SEARCH_OF(NF4), .sorted = 1},
    {.code = {0.0f, T(0.0625f), T(8.0f), 1.0f, T(4.0f), T(6.0f), T(2.0f), T(3.0f), 0.0f, T(-0.0625f), T(-8.0f), -1.0f, T(-4.0f),
              T(-6.0f), T(-2.0f), T(-3.0f)},
     .search = SEARCH_OF(FP4_SORTED),
     .order = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3}},
};

const lathe_code_book *lathe_code_book_of(int type) { return &books[type]; }

enum {
    PIECE = 4096, // elements of one task
    GROUP = 256,  // scales that share a nested one
};

enum { LANES = 8, ROWS = 4, LEVELS = 4 };

// cascade sums size rows of 32 columns as ATen's multi_row_sum does: partial sums are handed up from level to level, so that
// small terms meet small sums.
static void cascade(float sum[ROWS * LANES], const float *x, int64_t size) {
    float acc[LEVELS][ROWS * LANES] = {{0}};
    int bits = 0;
    while ((1ll << bits) < size)
        bits++;
    const int power = bits / LEVELS > 4 ? bits / LEVELS : 4;
    const int64_t step = 1ll << power;
    int64_t i = 0;
    while (i + step <= size) {
        for (int64_t end = i + step; i < end; i++)
            for (int l = 0; l < ROWS * LANES; l++)
                acc[0][l] += x[i * ROWS * LANES + l];
        for (int level = 1; level < LEVELS; level++) {
            for (int l = 0; l < ROWS * LANES; l++) {
                acc[level][l] += acc[level - 1][l];
                acc[level - 1][l] = 0;
            }
            if (i & ((step - 1) << (level * power)))
                break;
        }
    }
    for (; i < size; i++)
        for (int l = 0; l < ROWS * LANES; l++)
            acc[0][l] += x[i * ROWS * LANES + l];
    for (int level = 1; level < LEVELS; level++)
        for (int l = 0; l < ROWS * LANES; l++)
            acc[0][l] += acc[level][l];
    memcpy(sum, acc[0], sizeof acc[0]);
}

// torch_sum is torch.sum of a contiguous float32 tensor on one thread with vectors of eight (aten/src/ATen/native/cpu/
// SumKernel.cpp), bit for bit: bitsandbytes' offset is torch's mean, and everything after hangs on its last bit.
static float torch_sum(const float *x, int64_t n) {
    float part[ROWS * LANES];
    const int64_t vectors = n / LANES, rows = vectors / ROWS;
    cascade(part, x, rows);
    for (int64_t v = rows * ROWS; v < vectors; v++)
        for (int l = 0; l < LANES; l++)
            part[l] += x[v * LANES + l];
    for (int r = 1; r < ROWS; r++)
        for (int l = 0; l < LANES; l++)
            part[l] += part[r * LANES + l];
    float sum = 0;
    for (int64_t i = vectors * LANES; i < n; i++)
        sum += x[i];
    for (int l = 0; l < LANES; l++)
        sum += part[l];
    return sum;
}

// lathe_dynamic_table fills table[k] with the code nearest to k/32767.5 - 1, where bitsandbytes looks it up: the number of middles of the
// map below.
void lathe_dynamic_table(uint8_t table[LATHE_DYNAMIC_TABLE], const float map[256]) {
    int from = 0;
    for (int code = 0; code < 255; code++) {
        const float middle = (map[code + 1] + map[code]) / 2;
        int low = from, high = LATHE_DYNAMIC_TABLE; // the first one above the middle lies between
        while (low < high) {
            const int k = (low + high) / 2;
            if (middle < (float)k / 32767.5f - 1.0f)
                high = k;
            else
                low = k + 1;
        }
        memset(table + from, code, (size_t)(low - from));
        from = low;
    }
    memset(table + from, 255, (size_t)(LATHE_DYNAMIC_TABLE - from));
}

typedef struct {
    const lathe_quantize4_nest_args *args;
    uint8_t table[LATHE_DYNAMIC_TABLE];
} nest_job;

// nest_task codes one group. bitsandbytes' CPU library finds a code in a table of 65536 equidistant points rather than by the
// nearest value, and gives a group of zeros code 0.
static void nest_task(void *arg, int index, int worker) {
    (void)worker;
    const nest_job *j = arg;
    const lathe_quantize4_nest_args *a = j->args;
    const float offset = *a->offset;
    const int64_t b0 = (int64_t)index * GROUP, b1 = b0 + GROUP < a->blocks ? b0 + GROUP : a->blocks;
    float top = 0;
    for (int64_t b = b0; b < b1; b++) {
        const float d = fabsf(a->absmax[b] - offset);
        top = d > top ? d : top;
    }
    a->nested[index] = top;
    const float inverse = top > 0 ? 1.0f / top : 0;
    for (int64_t b = b0; b < b1; b++) {
        float x = (a->absmax[b] - offset) * inverse;
        x = x > 1 ? 1 : x >= -1 ? x : -1; // a NaN (which the weight held) must not index
        a->codes[b] = top > 0 ? j->table[(int)((x + 1.0f) * 32767.5f + 0.5f)] : 0;
    }
}

void lathe_quantize4_nest(const lathe_quantize4_nest_args *a) {
    if (a->blocks <= 0)
        return;
    nest_job j = {.args = a};
    *a->offset = torch_sum(a->absmax, a->blocks) / (float)a->blocks;
    lathe_dynamic_table(j.table, a->map);
    lathe_parallel((int)((a->blocks + GROUP - 1) / GROUP), nest_task, &j);
}

static void widen_task(void *arg, int index, int worker) {
    (void)worker;
    const lathe_widen_args *j = arg;
    const int64_t e = (int64_t)index * PIECE;
    gemm_kernels_in_use(0)->convert(j->dst + e, &j->src, e, j->n - e < PIECE ? j->n - e : PIECE);
}

void lathe_widen(const lathe_widen_args *a) { lathe_parallel((int)((a->n + PIECE - 1) / PIECE), widen_task, (void *)a); }
