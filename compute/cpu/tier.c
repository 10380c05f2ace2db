#define _GNU_SOURCE // syscall
// Which tier of kernels this machine can run, and which is in use.
#include <stdatomic.h>

#include "gemm_tier.h" // LATHE_HAS_BF16
#include "pool.h"

#if LATHE_HAS_BF16
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h> // arch_prctl
#include <unistd.h>
#endif
#endif

#if LATHE_HAS_BF16
// may_use_tiles asks Linux for the state of AMX's tiles, which a process has to want (arch/x86 arch_prctl: ARCH_REQ_XCOMP_PERM of
// XFEATURE_XTILEDATA); other systems are not asked.
static int may_use_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}

// has_amx looks for tiles and bfloat16 products on them (leaf 7, EDX 24 and 22), and for both parts of their state in what the system
// saves (XCR0 17 and 18).
static int has_amx(void) {
    unsigned a, b, c, d, xcr0, high;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d >> 22 & 5) != 5)
        return 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) // OSXSAVE
        return 0;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    return (xcr0 >> 17 & 3) == 3 && may_use_tiles();
}

// has_bf16 is AVX512_BF16: leaf 7.1, EAX 5.
static int has_bf16(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
#endif

static int find_best_tier(void) {
#if defined(__x86_64__)
    // These ask the operating system's support (xgetbv) as well as the processor's.
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return LATHE_PLAIN;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return LATHE_AVX2;
#if LATHE_HAS_BF16
    if (has_bf16())
        return has_amx() ? LATHE_AMX : LATHE_AVX512BF16;
#endif
    return LATHE_AVX512;
#else
    return LATHE_PLAIN;
#endif
}

int lathe_best_tier(void) {
    static atomic_int best = -1;
    int t = atomic_load_explicit(&best, memory_order_relaxed);
    if (t < 0)
        atomic_store(&best, t = find_best_tier());
    return t;
}

static atomic_int tier = -1;

int lathe_tier(void) {
    int t = atomic_load_explicit(&tier, memory_order_relaxed);
    if (t < 0)
        atomic_store(&tier, t = lathe_best_tier());
    return t;
}

int lathe_set_tier(int t) {
    if (t < LATHE_PLAIN || t > lathe_best_tier())
        return -1;
    atomic_store(&tier, t);
    return 0;
}
