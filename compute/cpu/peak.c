#define _POSIX_C_SOURCE 199309L // clock_gettime
#include "peak.h"

#include <string.h> // memcpy
#include <time.h>   // clock_gettime

#include "gemm_tier.h" // LATHE_HAS_BF16, the tiles' configuration
#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    CHAINS = 12,     // independent sums: latency times throughput of any processor with these instructions
    ROUNDS = 100000, // about 0.3 ms a call
    TILE_ROUNDS = 10000,
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The empty asm keeps the compiler from folding the rounds: it claims to change each sum.
#define FMA_LOOP(NAME, TARGET, VEC, SET1, FMA)                                                                               \
    TARGET static void NAME(void *arg, int index, int worker) {                                                              \
        (void)arg, (void)index, (void)worker;                                                                                \
        VEC sum[CHAINS];                                                                                                     \
        const VEC a = SET1(0.999f), b = SET1(0.001f);                                                                        \
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) sum[i] = SET1((float)i);                                   \
        for (int r = 0; r < ROUNDS; r++) {                                                                                   \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) {                                                      \
                sum[i] = FMA(sum[i], a, b);                                                                                  \
                __asm__ volatile("" : "+" REGISTER(sum[i]));                                                                 \
            }                                                                                                                \
        }                                                                                                                    \
    }

#if defined(__x86_64__)
#define REGISTER(x) "v"(x)
FMA_LOOP(fma_avx512, __attribute__((target("avx512f"))), __m512, _mm512_set1_ps, _mm512_fmadd_ps)
#if LATHE_HAS_BF16
#define DOT(sum, a, b) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
FMA_LOOP(dot_avx512bf16, __attribute__((target("avx512f,avx512bf16"))), __m512, _mm512_set1_ps, DOT)

// dot_amx multiplies whatever the four operand registers hold (zeros, after their configuration) into four sums.
static void dot_amx(void *arg, int index, int worker) {
    (void)arg, (void)index, (void)worker;
    lathe_gemm_amx.begin();
    for (int r = 0; r < TILE_ROUNDS; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    lathe_gemm_amx.end();
}
#endif
#undef REGISTER
#define REGISTER(x) "x"(x)
FMA_LOOP(fma_avx2, __attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps, _mm256_fmadd_ps)
#define PLAIN_MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
FMA_LOOP(fma_plain, , __m128, _mm_set1_ps, PLAIN_MULTIPLY_ADD)
#else
#if defined(__aarch64__)
#define REGISTER(x) "w"(x)
#else
#define REGISTER(x) "m"(x)
#endif
typedef float vec4 __attribute__((vector_size(16)));
#define PLAIN_SET1(x) ((vec4){x, x, x, x})
#define PLAIN_MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
FMA_LOOP(fma_plain, , vec4, PLAIN_SET1, PLAIN_MULTIPLY_ADD)
#endif

// best_flops is the best rate of a task that does `flops` operations on each thread.
static double best_flops(lathe_task task, double flops, double seconds) {
    const int threads = lathe_threads();
    const double end = now() + seconds;
    double best = 0;
    do {
        const double start = now();
        lathe_parallel(threads, task, NULL);
        const double rate = flops * threads / (now() - start);
        best = rate > best ? rate : best;
    } while (now() < end);
    return best;
}

double lathe_fma_peak(double seconds) {
    lathe_task task = fma_plain;
    int width = 4;
#if defined(__x86_64__)
    if (lathe_tier() >= LATHE_AVX512)
        task = fma_avx512, width = 16;
    else if (lathe_tier() == LATHE_AVX2)
        task = fma_avx2, width = 8;
#endif
    return best_flops(task, 2.0 * width * CHAINS * ROUNDS, seconds);
}

double lathe_bf16_peak(double seconds) {
#if LATHE_HAS_BF16
    if (lathe_tier() == LATHE_AMX) // 16 × 16 sums of 32 products
        return best_flops(dot_amx, 2.0 * 16 * 16 * 32 * 4 * TILE_ROUNDS, seconds);
    if (lathe_tier() == LATHE_AVX512BF16) // pairs
        return best_flops(dot_avx512bf16, 2.0 * 2 * 16 * CHAINS * ROUNDS, seconds);
#endif
    (void)seconds;
    return 0;
}

typedef struct {
    char *dst;
    const char *src;
    int64_t n;
} copy_job;

enum { PIECE = 1 << 20 };

static void copy_task(void *arg, int index, int worker) {
    (void)worker;
    const copy_job *j = arg;
    const int64_t at = (int64_t)index * PIECE, n = j->n - at < PIECE ? j->n - at : PIECE;
    memcpy(j->dst + at, j->src + at, (size_t)n);
}

static void read_task(void *arg, int index, int worker) {
    (void)worker;
    const copy_job *j = arg;
    const int64_t at = (int64_t)index * PIECE, n = j->n - at < PIECE ? j->n - at : PIECE;
    uint64_t sum[8] = {0};
    for (int64_t i = 0; i + 64 <= n; i += 64) {
        uint64_t line[8];
        memcpy(line, j->src + at + i, sizeof line);
        for (int l = 0; l < 8; l++)
            sum[l] += line[l];
    }
    for (int l = 0; l < 8; l++)
        __asm__ volatile("" : : "r"(sum[l]));
}

static double best_rate(copy_job *j, lathe_task task, double bytes, double seconds) {
    const double end = now() + seconds;
    double best = 0;
    do {
        const double start = now();
        lathe_parallel((int)((j->n + PIECE - 1) / PIECE), task, j);
        const double rate = bytes / (now() - start);
        best = rate > best ? rate : best;
    } while (now() < end);
    return best;
}

double lathe_copy_rate(void *dst, const void *src, int64_t n, double seconds) {
    copy_job j = {.dst = dst, .src = src, .n = n};
    return best_rate(&j, copy_task, 2.0 * (double)n, seconds);
}

double lathe_read_rate(const void *src, int64_t n, double seconds) {
    copy_job j = {.src = src, .n = n};
    return best_rate(&j, read_task, (double)n, seconds);
}
