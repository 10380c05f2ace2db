#define _GNU_SOURCE
#include "lathe.h"

#include <stdlib.h>   // posix_memalign
#include <string.h>   // memcpy, memset
#include <sys/mman.h> // mmap
#include <unistd.h>   // sysconf

#include "pool.h"

static const lathe_kernels *kernels(void) {
#if defined(__x86_64__)
    if (lathe_tier() >= LATHE_AVX512) return &lathe_kernels_avx512;
    if (lathe_tier() == LATHE_AVX2) return &lathe_kernels_avx2;
#endif
    return &lathe_kernels_plain;
}

#define LATHE_DEFINE(name)                                                                                             \
    void lathe_##name(const lathe_##name##_args *a) { kernels()->name(a); }
LATHE_OPERATIONS(LATHE_DEFINE)

#define LATHE_DEFINE_ALONE(name)                                                                                       \
    void lathe_##name##_alone(const lathe_##name##_args *a) {                                                          \
        const int was = lathe_alone(1);                                                                                \
        lathe_##name(a);                                                                                               \
        lathe_alone(was);                                                                                              \
    }
LATHE_DEFINE_ALONE(cast)
LATHE_DEFINE_ALONE(quantize4)
LATHE_DEFINE_ALONE(quantize4_nest)

// Big allocations are pages of their own, which go back to the system when freed, and huge ones where it gives them: mappings
// made one after the other lie side by side, so that weights in 4 bits share them. 128 KiB is where malloc begins to map, too.
// Under the address sanitizer everything comes from malloc, which it can watch.
#if defined(__SANITIZE_ADDRESS__)
static int mapped(int64_t bytes) { return (void)bytes, 0; }
#else
static int mapped(int64_t bytes) { return bytes >= 128 << 10; }
#endif

void *lathe_alloc(int64_t bytes) {
    if (mapped(bytes)) {
        void *p = mmap(0, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return 0;
#ifdef MADV_HUGEPAGE
        madvise(p, (size_t)bytes, MADV_HUGEPAGE);
#endif
        return p;
    }
    void *p = 0;
    if (posix_memalign(&p, 64, bytes > 0 ? (size_t)bytes : 1)) return 0;
    memset(p, 0, (size_t)bytes);
    return p;
}

void lathe_free(void *p, int64_t bytes) {
    if (mapped(bytes))
        munmap(p, (size_t)bytes);
    else
        free(p);
}

enum { BLOCK = 1 << 20 }; // bytes of a copy that one task moves

static void copy_task(void *arg, int index, int worker) {
    const lathe_copy_args *a = arg;
    int64_t at = (int64_t)index * BLOCK, n = a->bytes - at < BLOCK ? a->bytes - at : BLOCK;
    (void)worker;
    if (a->src)
        memmove(a->dst + at, a->src + at, (size_t)n);
    else
        memset(a->dst + at, 0, (size_t)n);
}

void lathe_copy(const lathe_copy_args *a) { lathe_parallel((int)((a->bytes + BLOCK - 1) / BLOCK), copy_task, (void *)a); }

int64_t lathe_decode_parts(const lathe_attention_args *a) { return (a->longest + LATHE_DECODE_PART - 1) / LATHE_DECODE_PART; }

int64_t lathe_decode_floats(const lathe_attention_args *a) {
    return a->nq == a->nspans ? a->nspans * a->h * lathe_decode_parts(a) * LATHE_DECODE_PART_FLOATS(a->d) : 0;
}

int64_t lathe_attention_counts(const lathe_attention_args *a) {
    if (a->by_head) return 0;
    return ((a->nq * (a->h / a->kv) / LATHE_ATTENTION_TILE + a->nspans) * a->kv + 15) / 16 * 16;
}

int64_t lathe_attention_worker(const lathe_attention_args *a, int backward) {
    if (!backward) return LATHE_FORWARD_FLOATS(a->d);
    return LATHE_BACKWARD_FLOATS(a->d) + (a->by_head ? 2 * a->longest * LATHE_PADDED(a->d) : 0);
}

// A backward pass gets what either way takes, so that no batch needs more than a larger one: key heads share out (by_head) where
// 4·threads·longest ≤ nk·kv at the most.
int64_t lathe_attention_scratch(const lathe_attention_args *a, int backward, int threads) {
    if (!backward) return threads * lathe_attention_worker(a, 0) + lathe_decode_floats(a);
    lathe_attention_args tiles = *a, heads = *a;
    tiles.by_head = 0, heads.by_head = 1;
    const int64_t most = a->nk * a->kv / (4 * threads);
    if (heads.longest > most) heads.longest = most;
    const int64_t by_tile = threads * lathe_attention_worker(&tiles, 1) + lathe_attention_counts(&tiles);
    const int64_t by_head = threads * lathe_attention_worker(&heads, 1);
    return by_tile > by_head ? by_tile : by_head;
}

#if defined(__linux__)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14; an older one refuses, and gives memory at the first write
#endif

enum { HUGE_PAGE = 2 << 20 };

typedef struct {
    uintptr_t from, to; // whole pages
} touch_args;

// touch_task takes one huge page: where two threads write first into the same one, the system clears one for each and drops one.
static void touch_task(void *arg, int index, int worker) {
    const touch_args *a = arg;
    uintptr_t from = a->from / HUGE_PAGE * HUGE_PAGE + (uintptr_t)index * HUGE_PAGE, to = from + HUGE_PAGE;
    (void)worker;
    if (from < a->from) from = a->from;
    if (to > a->to) to = a->to;
    madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

void lathe_touch(void *p, int64_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p / page * page;
    const uintptr_t to = ((uintptr_t)p + (uintptr_t)bytes + page - 1) / page * page;
    touch_args a = {from, to};
    if (bytes > 0) lathe_parallel((int)((to - 1) / HUGE_PAGE - from / HUGE_PAGE) + 1, touch_task, &a);
}
#else
void lathe_touch(void *p, int64_t bytes) { (void)p, (void)bytes; }
#endif
