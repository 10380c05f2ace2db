// The device's side of device.h: each primitive as the instruction it is. Never included by itself.
#pragma once

#define DEV static __device__ __forceinline__
#define INLINE __device__ __forceinline__
#define CONSTANT static __constant__ const
#define INFINITY __int_as_float(0x7f800000) // NVRTC has no math.h

// KERNEL(name, arguments…) { body }: arguments are pointers and numbers of at most 8 bytes. KERNEL_BOUNDS adds the most threads of a
// block and the blocks that a multiprocessor should hold, which is how registers are given out.
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define KERNEL_BOUNDS(name, threads, blocks, ...) extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)
// DYN_SHARED(type, name): the dynamic shared memory of the launch, 128-byte aligned.
#define DYN_SHARED(T, name)                                    \
    extern __shared__ __align__(128) unsigned char dynamic_shared[]; \
    T *name = (T *)dynamic_shared

DEV unsigned short float_to_bf16(float x) {
    unsigned short r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
    return r;
}
DEV unsigned short float_to_f16(float x) {
    unsigned short r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
    return r;
}
DEV float f16_to_float(unsigned short x) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
    return r;
}
DEV unsigned pack_bf16x2(float lo, float hi) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
DEV unsigned pack_f16x2(float lo, float hi) {
    unsigned r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

// fast_exp2 is 2^x by the special function unit, within 2 units in the last place; results below 2^-126 are 0.
DEV float fast_exp2(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

// fast_reciprocal is 1/x by the special function unit, within a unit in the last place: what a compiler makes of 1.0f / x that was told to
// be fast (nvcc --use_fast_math).
DEV float fast_reciprocal(float x) {
    float r;
    asm("rcp.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

DEV unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// table_entry is the float at byte i of offsets in a table of up to 256 bytes in shared memory, aligned to 256 bytes: one instruction puts
// the offset into the address.
DEV float table_entry(const float *table, unsigned offsets, int i) {
    unsigned address;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(address) : "r"(offsets), "r"(shared_address(table)), "r"(0x7650 + i));
    return *(const float *)__cvta_shared_to_generic(address);
}

DEV void mma_bf16_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEV void mma_f16_16816(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ldmatrix: 8×8 matrices of 16-bit elements from shared memory. Lane i gives the address of row i%8 of matrix i/8, 16-byte aligned
// (x2 reads the addresses of lanes 0-15). Lane i gets elements 2(i%4), 2(i%4)+1 of row i/4 of each matrix; trans gives columns.
DEV void ldmatrix_x4(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
DEV void ldmatrix_x4_trans(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
DEV void ldmatrix_x2(unsigned (&r)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
DEV void ldmatrix_x2_trans(unsigned (&r)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}

// cp_async: global to shared memory without registers, 16 or 4 bytes, both sides aligned to that; zeros where not valid (src is then
// not read, but has to be a pointer all the same). What was copied is there after cp_async_wait, for other threads after __syncthreads too.
DEV void cp_async_16(void *dst, const void *src, bool valid) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(valid ? 16 : 0) : "memory");
}
DEV void cp_async_4(void *dst, const void *src, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(valid ? 4 : 0) : "memory");
}
DEV void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// cp_async_wait<N> waits until at most N of this thread's committed groups are on their way.
template <int N> DEV void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
