// Kernels that show what the emulated device does.
#include "device.h"

KERNEL(nothing, int n) { (void)n; }

KERNEL(barriers, int n, float *out) {
    float v = threadIdx.x;
    for (int i = 0; i < n; i++) {
        __syncthreads();
        v = v * 0.5f + 1.0f;
    }
    out[(size_t)blockIdx.x * blockDim.x + threadIdx.x] = v;
}

// out[threads·blocks] = when each thread ran
KERNEL(order, unsigned *counter, unsigned *out) {
    __syncthreads();
    out[(size_t)blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(counter, 1u);
}

// out[blocks, 64] = what shared memory holds at the start of a block
KERNEL(shared_poison, unsigned *out) {
    DYN_SHARED(unsigned, dynamic);
    __shared__ unsigned fixed[32];
    unsigned i = threadIdx.x;
    out[blockIdx.x * 64 + i] = fixed[i];
    out[blockIdx.x * 64 + 32 + i] = dynamic[i];
    fixed[i] = dynamic[i] = i;
}

// Conversions of n bit patterns.
KERNEL(narrow, const unsigned *in, unsigned short *bf16, unsigned short *f16, unsigned *pairs, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float x = __uint_as_float(in[i]);
    bf16[i] = from_float<bf16_t>(x).bits;
    f16[i] = from_float<f16_t>(x).bits;
    pairs[2 * i] = pack2<bf16_t>(x, 1.0f);
    pairs[2 * i + 1] = pack2<f16_t>(1.0f, x);
}
KERNEL(widen, const unsigned short *in, unsigned *bf16, unsigned *f16, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    bf16[i] = __float_as_uint(to_float(bf16_t{in[i]}));
    f16[i] = __float_as_uint(to_float(f16_t{in[i]}));
}

// c[16,8] += a[16,16]·b[16,8], through shared memory and ldmatrix; b comes as b[k,n], so it is read transposed.
template <class T> DEV void tile(const T *a, const T *b, float *c) {
    __shared__ __align__(16) T sa[16 * 16], sb[16 * 8];
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += WARP)
        sa[i] = a[i];
    for (int i = lane; i < 128; i += WARP)
        sb[i] = b[i];
    __syncwarp();
    unsigned ra[4], rb[2];
    ldmatrix_x4(ra, &sa[(lane % 16) * 16 + lane / 16 * 8]);
    ldmatrix_x2_trans(rb, &sb[(lane % 16) * 8]);
    int g = lane / 4, t = lane % 4 * 2;
    float acc[4] = {c[g * 8 + t], c[g * 8 + t + 1], c[(g + 8) * 8 + t], c[(g + 8) * 8 + t + 1]};
    mma_16816<T>(acc, ra, rb);
    c[g * 8 + t] = acc[0];
    c[g * 8 + t + 1] = acc[1];
    c[(g + 8) * 8 + t] = acc[2];
    c[(g + 8) * 8 + t + 1] = acc[3];
}
KERNEL(tile_bf16, const bf16_t *a, const bf16_t *b, float *c) { tile(a, b, c); }
KERNEL(tile_f16, const f16_t *a, const f16_t *b, float *c) { tile(a, b, c); }

// out[4, 32, 4]: what ldmatrix x4, x4.trans, x2 and x2.trans give each lane of matrices whose element at [m, r, c] is m·64 + r·8 + c.
KERNEL(matrices, unsigned *out) {
    __shared__ __align__(16) unsigned short m[4 * 64];
    unsigned lane = threadIdx.x, r[4], h[2];
    for (int i = (int)lane; i < 256; i += WARP)
        m[i] = (unsigned short)i;
    __syncwarp();
    ldmatrix_x4(r, &m[lane * 8]);
    for (int i = 0; i < 4; i++)
        out[lane * 4 + i] = r[i];
    ldmatrix_x4_trans(r, &m[lane * 8]);
    for (int i = 0; i < 4; i++)
        out[128 + lane * 4 + i] = r[i];
    ldmatrix_x2(h, &m[lane % 16 * 8]);
    for (int i = 0; i < 2; i++)
        out[256 + lane * 4 + i] = h[i];
    ldmatrix_x2_trans(h, &m[lane % 16 * 8]);
    for (int i = 0; i < 2; i++)
        out[384 + lane * 4 + i] = h[i];
}

// Two groups of copies: seen[0] before any wait, seen[1] and seen[2] the first and the second group after wait<1>, seen[3] the second
// after wait<0>, seen[4] where not valid.
KERNEL(copies, const unsigned *src, unsigned *seen) {
    __shared__ __align__(16) unsigned s[12];
    for (int i = 0; i < 12; i++)
        s[i] = 7;
    cp_async_16(&s[0], src, true);
    cp_async_commit();
    cp_async_16(&s[4], src + 4, true);
    cp_async_16(&s[8], src, false);
    cp_async_commit();
    seen[0] = s[0];
    cp_async_wait<1>();
    seen[1] = s[0];
    seen[2] = s[4];
    cp_async_wait<0>();
    seen[3] = s[4];
    seen[4] = s[8];
}

// out[12, 32]: shuffles and votes
KERNEL(lanes, unsigned *out) {
    unsigned lane = threadIdx.x;
    unsigned long long wide = (unsigned long long)lane << 32 | (lane + 1);
    out[0 * 32 + lane] = __shfl_xor_sync(FULL_MASK, lane, 5);
    out[1 * 32 + lane] = __shfl_down_sync(FULL_MASK, lane, 3u);
    out[2 * 32 + lane] = __shfl_up_sync(FULL_MASK, lane, 3u);
    out[3 * 32 + lane] = __shfl_sync(FULL_MASK, lane, 40);
    out[4 * 32 + lane] = __shfl_sync(FULL_MASK, lane, 1, 8);
    out[5 * 32 + lane] = __shfl_down_sync(FULL_MASK, lane, 3u, 8);
    out[6 * 32 + lane] = (unsigned)(__shfl_xor_sync(FULL_MASK, wide, 1) >> 32);
    out[7 * 32 + lane] = __ballot_sync(FULL_MASK, lane % 3 == 0);
    unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
    out[8 * 32 + lane] = __ballot_sync(half, lane % 2);
    out[9 * 32 + lane] = (unsigned)(__any_sync(FULL_MASK, lane == 9) * 2 + __all_sync(FULL_MASK, lane < 31));
    out[10 * 32 + lane] = __float_as_uint(warp_sum((float)lane));
    out[11 * 32 + lane] = (unsigned)warp_max((int)(lane * 7 % 32));
}

// out[6]: reductions and votes of a block of v[threads]
KERNEL(reductions, const float *v, double *out) {
    __shared__ float part[32];
    __shared__ double wide[32];
    float x = v[threadIdx.x];
    double r[6] = {block_sum(x, part), block_sum((double)x, wide), block_max(x, part), (double)__syncthreads_count(x > 0),
                   (double)__syncthreads_or(x > 1e9f), (double)__syncthreads_and(x > -1e9f)};
    if (threadIdx.x == blockDim.x - 1)
        for (int i = 0; i < 6; i++)
            out[i] = r[i];
}

// Every thread i whose flag is set reports itself, with the flag as value.
KERNEL(errors, DeviceError *e, const unsigned *flags) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (flags[i])
        report_error(e, 7, 3, i, flags[i]);
}

KERNEL(products, int n, float *out) {
    float c[4] = {0, 0, 0, 0};
    unsigned a[4] = {threadIdx.x, 1, 2, 3}, b[2] = {4, threadIdx.x};
    for (int i = 0; i < n; i++)
        mma_16816<bf16_t>(c, a, b);
    out[blockIdx.x * blockDim.x + threadIdx.x] = c[0] + c[1] + c[2] + c[3];
}

// out[32, 2, 3, 4] = the sums of a tile of 2·3 products, and of the same products one by one
KERNEL(tiles, const unsigned *in, float *out) {
    int lane = threadIdx.x;
    unsigned a[2][4], b[3][2];
    float tile[2][3][4], single[2][3][4];
    for (int i = 0; i < 8; i++)
        a[i / 4][i % 4] = in[lane * 14 + i];
    for (int i = 0; i < 6; i++)
        b[i / 2][i % 2] = in[lane * 14 + 8 + i];
    for (int i = 0; i < 24; i++)
        tile[i / 12][i / 4 % 3][i % 4] = single[i / 12][i / 4 % 3][i % 4] = i + lane;
    mma_tile<bf16_t>(tile, a, b);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            mma_16816<bf16_t>(single[i][j], a[i], b[j]);
    for (int i = 0; i < 24; i++) {
        out[lane * 48 + i] = tile[i / 12][i / 4 % 3][i % 4];
        out[lane * 48 + 24 + i] = single[i / 12][i / 4 % 3][i % 4];
    }
}

// out[8]: words turned about
KERNEL(words, unsigned x, unsigned y, unsigned *out) {
    out[0] = __byte_perm(x, y, 0x5140);
    out[1] = __funnelshift_r(x, y, 8);
    out[2] = __funnelshift_l(x, y, 8);
    out[3] = __brev(x);
    out[4] = (unsigned)__popc(x);
    out[5] = (unsigned)__clz((int)x);
    out[6] = (unsigned)__ffs((int)x);
    out[7] = __umulhi(x, y);
}

KERNEL(tile_products, int n, float *out) {
    float c[2][4][4] = {}, sum = 0;
    unsigned a[2][4] = {{threadIdx.x, 1, 2, 3}, {threadIdx.x, 3, 4, 5}}, b[4][2] = {{4, threadIdx.x}, {5, 6}, {7, 8}, {9, 10}};
    for (int i = 0; i < n; i++)
        mma_tile<bf16_t>(c, a, b);
    for (int i = 0; i < 32; i++)
        sum += c[i / 16][i / 4 % 4][i % 4];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
