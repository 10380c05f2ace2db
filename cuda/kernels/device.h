// One source for two sides: NVRTC compiles a kernel to PTX (device_ptx.h has the primitives), g++ compiles the same file for the emulated
// device of cuda/emulator (emu_device.h has them). PTX stands only in wrapper functions, each with an emulated body. See README.md.
#pragma once

// Bit types of 16-bit floats: no arithmetic, so that every rounding is written down.
struct bf16_t {
    unsigned short bits;
};
struct f16_t {
    unsigned short bits;
};

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)
#include "device_ptx.h"
#else
#include "emu_device.h"
#endif

enum : unsigned { FULL_MASK = 0xffffffffu };
enum { WARP = 32 };

// to_float and from_float convert between a storage type and float: to nearest even; a NaN becomes 0x7fff as cvt gives it.
DEV float to_float(float x) { return x; }
DEV float to_float(bf16_t x) { return __uint_as_float((unsigned)x.bits << 16); }
DEV float to_float(f16_t x) { return f16_to_float(x.bits); }

template <class T> DEV T from_float(float x);
template <> INLINE float from_float<float>(float x) { return x; }
template <> INLINE bf16_t from_float<bf16_t>(float x) { return bf16_t{float_to_bf16(x)}; }
template <> INLINE f16_t from_float<f16_t>(float x) { return f16_t{float_to_f16(x)}; }

// Pairs as mma and ldmatrix hold them: the first element in the low half.
template <class T> DEV unsigned pack2(float lo, float hi);
template <> INLINE unsigned pack2<bf16_t>(float lo, float hi) { return pack_bf16x2(lo, hi); }
template <> INLINE unsigned pack2<f16_t>(float lo, float hi) { return pack_f16x2(lo, hi); }

template <class T> DEV float2 unpack2(unsigned u);
template <> INLINE float2 unpack2<bf16_t>(unsigned u) { return make_float2(__uint_as_float(u << 16), __uint_as_float(u & 0xffff0000u)); }
template <> INLINE float2 unpack2<f16_t>(unsigned u) {
    return make_float2(f16_to_float((unsigned short)(u & 0xffffu)), f16_to_float((unsigned short)(u >> 16)));
}

// mma_16816: c[16,8] += a[16,16]·b[16,8] over a warp, products exact, sums in float. Registers as in PTX's m16n8k16.
template <class T> DEV void mma_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
template <> INLINE void mma_16816<bf16_t>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_bf16_16816(c, a, b); }
template <> INLINE void mma_16816<f16_t>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { mma_f16_16816(c, a, b); }

// mma_tile: a warp's tile of R·16 rows and C·8 columns, each product as mma_16816. The emulated device is several times faster with
// it than with single products.
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
template <class T, int R, int C> DEV void mma_tile(float (&c)[R][C][4], const unsigned (&a)[R][4], const unsigned (&b)[C][2]) {
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++)
            mma_16816<T>(c[i][j], a[i], b[j]);
}
#endif

// Reductions of a warp: a butterfly, so every lane holds the same bits, and the order never changes. All 32 lanes take part.
template <class T> DEV T warp_sum(T v) {
    for (int o = WARP / 2; o; o >>= 1)
        v += __shfl_xor_sync(FULL_MASK, v, o);
    return v;
}
template <class T> DEV T warp_max(T v) {
    for (int o = WARP / 2; o; o >>= 1) {
        T u = __shfl_xor_sync(FULL_MASK, v, o);
        v = u > v ? u : v;
    }
    return v;
}

// block_sum and block_max: the same for a block whose size is a multiple of 32. part is shared memory of 32 elements that is
// free again on return. Every thread gets the result; the warps are taken in their order.
template <class T> DEV T block_sum(T v, T *part) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    v = warp_sum(v);
    if (lane == 0)
        part[warp] = v;
    __syncthreads();
    T sum = part[0];
    for (int i = 1; i < warps; i++)
        sum += part[i];
    __syncthreads();
    return sum;
}
template <class T> DEV T block_max(T v, T *part) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    v = warp_max(v);
    if (lane == 0)
        part[warp] = v;
    __syncthreads();
    T most = part[0];
    for (int i = 1; i < warps; i++)
        most = part[i] > most ? part[i] : most;
    __syncthreads();
    return most;
}

// DeviceError is where kernels report what only they can see: an id outside the vocabulary, a NaN. All bits set means no error, so
// memset 0xff clears it. Both words are minima, so the lowest index wins whatever the order of the threads, and its value with it.
struct DeviceError {
    unsigned long long place; // index << 32 | code << 16 | where
    unsigned long long value; // index << 32 | value
};

// report_error notes a fault: what kind (code), which operand or argument (where), at which element, and the value found there (an
// int, or the bits of a float). For one index a kernel reports one fault. Indices from 2^32-2 on are all called that.
DEV void report_error(DeviceError *e, unsigned code, unsigned where, unsigned long long index, unsigned value) {
    unsigned long long at = (index < 0xfffffffeull ? index : 0xfffffffeull) << 32;
    atomicMin(&e->place, at | (unsigned long long)(code & 0xffffu) << 16 | (where & 0xffffu));
    atomicMin(&e->value, at | value);
}
