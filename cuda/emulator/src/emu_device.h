// The host's side of device.h: CUDA's built-ins and the wrappers of PTX as C++ on the emulated device. Never included by itself.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__F16C__)
#include <immintrin.h>
#endif
#include "emu.h"

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define EMU_STR_(x) #x
#define EMU_STR(x) EMU_STR_(x)
#define EMU_CAT_(a, b) a##b
#define EMU_CAT(a, b) EMU_CAT_(a, b)
// A section of its own for each .cu file, so that a block can begin with poisoned shared memory.
#define EMU_SECTION EMU_CAT(emu_shared_, EMU_MODULE)
#define __shared__ static __attribute__((section(EMU_STR(EMU_SECTION))))
#define CONSTANT static const
#define DEV static inline
#define INLINE inline

extern "C" unsigned char EMU_CAT(__start_, EMU_SECTION)[] __attribute__((weak, visibility("hidden")));
extern "C" unsigned char EMU_CAT(__stop_, EMU_SECTION)[] __attribute__((weak, visibility("hidden")));

#define KERNEL_BOUNDS(name, threads, blocks, ...)                                                                                 \
    static void name(__VA_ARGS__);                                                                                                \
    static const bool registered_##name =                                                                                         \
        emu::add_kernel(#name, EMU_STR(EMU_MODULE), threads, EMU_CAT(__start_, EMU_SECTION), EMU_CAT(__stop_, EMU_SECTION), name); \
    static void name(__VA_ARGS__)
#define KERNEL(name, ...) KERNEL_BOUNDS(name, 1024, 1, __VA_ARGS__)
#define DYN_SHARED(T, name) T *name = (T *)emu::dynamic_shared

#define threadIdx (emu::current->index)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_dim)
#define gridDim (emu::grid_dim)
#define warpSize 32

#define EMU_VECTOR(T, name, align)                                                                  \
    struct __align__(2 * align) name##2 { T x, y; };                                                \
    struct name##3 { T x, y, z; };                                                                  \
    struct __align__(4 * align > 16 ? 16 : 4 * align) name##4 { T x, y, z, w; };                    \
    DEV name##2 make_##name##2(T x, T y) { return {x, y}; }                                         \
    DEV name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                 \
    DEV name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTOR(float, float, 4)
EMU_VECTOR(int, int, 4)
EMU_VECTOR(unsigned, uint, 4)
EMU_VECTOR(unsigned short, ushort, 2)
EMU_VECTOR(unsigned char, uchar, 1)
EMU_VECTOR(double, double, 8)

// Barriers. The place is compared: threads of one block that meet at different __syncthreads have diverged.
#define __syncthreads() emu::barrier(__FILE__, __LINE__)
#define __syncthreads_or(p) emu::barrier_count(__FILE__, __LINE__, (p) != 0).any
#define __syncthreads_and(p) emu::barrier_count(__FILE__, __LINE__, (p) != 0).all
#define __syncthreads_count(p) emu::barrier_count(__FILE__, __LINE__, (p) != 0).count
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)

DEV void __syncwarp(unsigned mask = 0xffffffffu) { emu::warp_sync(mask); }

namespace emu {
inline bool is_bf16(bf16_t) { return true; }
inline bool is_bf16(f16_t) { return false; }
template <class T> inline T shuffle(unsigned mask, T v, unsigned source, bool in_range) {
    static_assert(sizeof(T) <= 8, "shuffles move 4 or 8 bytes");
    Shuffle s{0, in_range ? source : current->lane, 0};
    memcpy(&s.in, &v, sizeof(T));
    warp_shuffle(mask, &s);
    memcpy(&v, &s.out, sizeof(T));
    return v;
}
} // namespace emu
template <class T> DEV T __shfl_sync(unsigned mask, T v, int lane, int width = 32) {
    unsigned base = emu::current->lane & ~(unsigned)(width - 1);
    return emu::shuffle(mask, v, base + ((unsigned)lane & (unsigned)(width - 1)), true);
}
template <class T> DEV T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32) {
    unsigned me = emu::current->lane, to = me ^ (unsigned)lanes;
    return emu::shuffle(mask, v, to, to <= (me | (unsigned)(width - 1)));
}
template <class T> DEV T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    unsigned me = emu::current->lane, to = me + delta;
    return emu::shuffle(mask, v, to, to <= (me | (unsigned)(width - 1)));
}
template <class T> DEV T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    unsigned me = emu::current->lane, base = me & ~(unsigned)(width - 1);
    return emu::shuffle(mask, v, me - delta, me >= base + delta);
}
DEV unsigned __ballot_sync(unsigned mask, int p) { return emu::warp_ballot(mask, p != 0); }
DEV int __any_sync(unsigned mask, int p) { return emu::warp_ballot(mask, p != 0) != 0; }
DEV int __all_sync(unsigned mask, int p) { return emu::warp_ballot(mask, p != 0) == mask; }

// Bits and integers.
template <class To, class From> DEV To emu_bits(From f) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To t;
    memcpy(&t, &f, sizeof(t));
    return t;
}
DEV float __uint_as_float(unsigned u) { return emu_bits<float>(u); }
DEV unsigned __float_as_uint(float f) { return emu_bits<unsigned>(f); }
DEV float __int_as_float(int i) { return emu_bits<float>(i); }
DEV int __float_as_int(float f) { return emu_bits<int>(f); }
DEV double __longlong_as_double(long long i) { return emu_bits<double>(i); }
DEV long long __double_as_longlong(double d) { return emu_bits<long long>(d); }
DEV int __popc(unsigned x) { return __builtin_popcount(x); }
DEV int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
DEV int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
DEV int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
DEV int __ffs(int x) { return __builtin_ffs(x); }
DEV unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        r |= (x >> i & 1) << (31 - i);
    return r;
}
DEV unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    unsigned long long both = (unsigned long long)y << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++)
        r |= (unsigned)(both >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return r;
}
DEV unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) { return (unsigned)(((unsigned long long)high << 32 | low) >> (n & 31)); }
DEV unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) { return (unsigned)(((unsigned long long)high << 32 | low) << (n & 31) >> 32); }
DEV unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
DEV unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
#define EMU_MIN_MAX(T)                              \
    DEV T min(T a, T b) { return b < a ? b : a; }   \
    DEV T max(T a, T b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
DEV float min(float a, float b) { return fminf(a, b); }
DEV float max(float a, float b) { return fmaxf(a, b); }
DEV double min(double a, double b) { return fmin(a, b); }
DEV double max(double a, double b) { return fmax(a, b); }

// Floats. The host is compiled without contraction: a·b+c is one rounding only where a kernel says fmaf.
DEV float rsqrtf(float x) { return (float)(1.0 / std::sqrt((double)x)); }
DEV float fast_exp2(float x) {
    float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
}
DEV float fast_reciprocal(float x) { return 1.0f / x; }
#define __expf(x) expf(x) // glibc declares functions of these names, which it does not have
#define __logf(x) logf(x)
DEV float __fdividef(float a, float b) { return a / b; }
DEV float __fmul_rn(float a, float b) { return a * b; }
DEV float __fadd_rn(float a, float b) { return a + b; }
DEV float __fsub_rn(float a, float b) { return a - b; }
DEV float __fdiv_rn(float a, float b) { return a / b; }
DEV float __fsqrt_rn(float a) { return sqrtf(a); }
DEV float __frcp_rn(float a) { return 1.0f / a; }
DEV float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
DEV double __dmul_rn(double a, double b) { return a * b; }
DEV double __dadd_rn(double a, double b) { return a + b; }
DEV float __int2float_rn(int a) { return (float)a; }
DEV int __float2int_rn(float a) { return (int)lrintf(a); }
DEV int __float2int_rz(float a) { return (int)a; }

// Loads. __ldg reads memory that nobody writes during the launch.
template <class T> DEV T __ldg(const T *p) { return *p; }
template <class T> DEV T __ldcg(const T *p) { return *p; }
template <class T> DEV T __ldcs(const T *p) { return *p; }
template <class T> DEV void __stcs(T *p, T v) { *p = v; }
template <class T> DEV void __stcg(T *p, T v) { *p = v; }

// Atomics: integers only. A sum of floats by atomics depends on the order of the threads.
#define EMU_ATOMICS(T)                                                               \
    DEV T atomicAdd(T *p, T v) { T o = *p; *p = o + v; return o; }                   \
    DEV T atomicMin(T *p, T v) { T o = *p; *p = v < o ? v : o; return o; }           \
    DEV T atomicMax(T *p, T v) { T o = *p; *p = v > o ? v : o; return o; }           \
    DEV T atomicOr(T *p, T v) { T o = *p; *p = o | v; return o; }                    \
    DEV T atomicAnd(T *p, T v) { T o = *p; *p = o & v; return o; }                   \
    DEV T atomicExch(T *p, T v) { T o = *p; *p = v; return o; }                      \
    DEV T atomicCAS(T *p, T was, T v) { T o = *p; *p = o == was ? v : o; return o; }
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(unsigned long long)

// 16-bit floats.
DEV unsigned short float_to_bf16(float x) {
    unsigned u = __float_as_uint(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return 0x7fff;
    return (unsigned short)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}
DEV unsigned short float_to_f16(float x) {
    if (x != x)
        return 0x7fff;
#if defined(__F16C__)
    return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
#else
    return emu::float_to_f16_plain(x);
#endif
}
DEV float f16_to_float(unsigned short x) {
    if ((x & 0x7fff) > 0x7c00)
        return __uint_as_float(0x7fffffffu);
#if defined(__F16C__)
    return _cvtsh_ss(x);
#else
    return emu::f16_to_float_plain(x);
#endif
}
DEV unsigned pack_bf16x2(float lo, float hi) { return (unsigned)float_to_bf16(hi) << 16 | float_to_bf16(lo); }
DEV unsigned pack_f16x2(float lo, float hi) { return (unsigned)float_to_f16(hi) << 16 | float_to_f16(lo); }

DEV float table_entry(const float *table, unsigned offsets, int i) {
    if ((uintptr_t)table % 256)
        emu::die("table_entry of a table at %p, which is not aligned to 256 bytes", table);
    return table[(offsets >> 8 * i & 0xff) / 4];
}

// Tensor cores, ldmatrix and asynchronous copies.
DEV void mma_bf16_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::warp_mma(emu::MMA_BF16, 1, 1, c, a, b); }
DEV void mma_f16_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emu::warp_mma(emu::MMA_F16, 1, 1, c, a, b); }
template <class T, int R, int C> DEV void mma_tile(float (&c)[R][C][4], const unsigned (&a)[R][4], const unsigned (&b)[C][2]) {
    emu::warp_mma(emu::is_bf16(T{}) ? emu::MMA_BF16 : emu::MMA_F16, R, C, c[0][0], a[0], b[0]);
}
DEV void ldmatrix_x4(unsigned (&r)[4], const void *row) { emu::warp_ldmatrix(4, false, r, row); }
DEV void ldmatrix_x4_trans(unsigned (&r)[4], const void *row) { emu::warp_ldmatrix(4, true, r, row); }
DEV void ldmatrix_x2(unsigned (&r)[2], const void *row) { emu::warp_ldmatrix(2, false, r, row); }
DEV void ldmatrix_x2_trans(unsigned (&r)[2], const void *row) { emu::warp_ldmatrix(2, true, r, row); }
DEV void cp_async_16(void *dst, const void *src, bool valid) { emu::cp_async(dst, src, 16, valid); }
DEV void cp_async_4(void *dst, const void *src, bool valid) { emu::cp_async(dst, src, 4, valid); }
DEV void cp_async_commit() { emu::cp_async_commit(); }
template <int N> DEV void cp_async_wait() { emu::cp_async_wait(N); }
