// Quantising to 4 bits and back, with the bytes that bitsandbytes writes on CUDA (Dettmers et al. 2023; kernels.cu of
// bitsandbytes: dQuantizeNF4, dQuantizeFP4, dQuantize): its thresholds, reciprocals instead of quotients, the special function unit's, for
// bitsandbytes is compiled with --use_fast_math, and for a block of zeros, whose reciprocal is infinite, the code that NaN falls through to.
#include "quant4.h"

CONSTANT float NF4_THRESHOLDS[15] = {
    -0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f, 0.2035212516784668f,
    0.2920137718319893f, 0.3893125355243683f, 0.5016634166240692f, 0.6427869200706482f, 0.8614784178118011f};
CONSTANT float FP4_THRESHOLDS[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f};

// FP4's codes of ascending magnitude: 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1.
CONSTANT unsigned char FP4_ORDER[8] = {0, 1, 6, 7, 4, 5, 2, 3};

// encode is the code of a number scaled to [-1,1]: how many thresholds lie strictly below it. A NaN is above none.
DEV unsigned encode(float x, int type) {
    unsigned above = 0;
    if (type == CODE_FP4) {
        for (int i = 0; i < 7; i++)
            above += fabsf(x) > FP4_THRESHOLDS[i];
        return FP4_ORDER[above] | (x < 0.0f ? 8u : 0u);
    }
    for (int i = 0; i < 15; i++)
        above += x > NF4_THRESHOLDS[i];
    return above;
}

// quantize4: data[⌈n/2⌉] and absmax[⌈n/block⌉] of src[n]. A warp takes a block of elements; each lane writes whole bytes, for
// which block is even.
template <class T> DEV void quantize(unsigned char *data, float *absmax, const T *src, long long n, int block, int type) {
    long long warps = (long long)gridDim.x * (blockDim.x / WARP), blocks = (n + block - 1) / block;
    int lane = threadIdx.x % WARP;
    for (long long b = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; b < blocks; b += warps) {
        long long begin = b * block, end = min(begin + block, n);
        float most = 0.0f;
        for (long long i = begin + lane; i < end; i += WARP)
            most = fmaxf(most, fabsf(to_float(src[i])));
        most = warp_max(most);
        if (lane == 0)
            absmax[b] = most;
        float scale = fast_reciprocal(most);
        for (long long i = begin + 2 * lane; i < end; i += 2 * WARP) {
            unsigned high = encode(__fmul_rn(to_float(src[i]), scale), type);
            unsigned low = i + 1 < end ? encode(__fmul_rn(to_float(src[i + 1]), scale), type) : 0;
            data[i / 2] = (unsigned char)(high << 4 | low);
        }
    }
}

KERNEL(quantize4_f32, unsigned char *data, float *absmax, const float *src, long long n, int block, int type) {
    quantize(data, absmax, src, n, block, type);
}
KERNEL(quantize4_bf16, unsigned char *data, float *absmax, const bf16_t *src, long long n, int block, int type) {
    quantize(data, absmax, src, n, block, type);
}
KERNEL(quantize4_f16, unsigned char *data, float *absmax, const f16_t *src, long long n, int block, int type) {
    quantize(data, absmax, src, n, block, type);
}

// mean_f32: *mean = Σx/n, summed in double by one block in a fixed order: float32's rounding of the exact mean, within an ulp of any
// order that torch sums in.
KERNEL_BOUNDS(mean_f32, 1024, 1, float *mean, const float *x, long long n) {
    __shared__ double part[WARP];
    double sum = 0.0;
    for (long long i = threadIdx.x; i < n; i += blockDim.x)
        sum += (double)x[i];
    sum = block_sum(sum, part);
    if (threadIdx.x == 0)
        *mean = (float)(sum / (double)n);
}

// nearest is the index of the map's value that is nearest to x, found as dQuantize does: a walk down a tree of steps 64, 32 … 1 from
// the middle, then a choice between the last pivot and its neighbour on x's side, where a tie stays with the pivot.
DEV unsigned nearest(const float *map, float x) {
    int pivot = 127, below = 0, above = 255;
    for (int step = 64; step > 0; step >>= 1) {
        if (x > map[pivot]) {
            below = pivot;
            pivot += step;
        } else {
            above = pivot;
            pivot -= step;
        }
    }
    float value = map[pivot];
    if (x > value)
        return x > (map[above] + value) * 0.5f ? above : pivot;
    return x < (map[below] + value) * 0.5f ? below : pivot;
}

// nest4: scales in 8 bits. A block of 256 threads takes 256 of them, less the offset: their largest is the second-level scale.
KERNEL_BOUNDS(nest4, 256, 1, unsigned char *codes, float *nested, const float *offset, const float *map, const float *absmax, long long n) {
    __shared__ float values[256];
    __shared__ float part[WARP];
    values[threadIdx.x] = map[threadIdx.x];
    long long i = (long long)blockIdx.x * NESTED_BLOCK + threadIdx.x;
    float x = i < n ? __fsub_rn(absmax[i], *offset) : 0.0f;
    float most = block_max(fabsf(x), part); // its barriers are the map's too
    if (threadIdx.x == 0)
        nested[blockIdx.x] = most;
    if (i < n)
        codes[i] = (unsigned char)nearest(values, __fmul_rn(x, fast_reciprocal(most)));
}

// dequantize4_f32: dst[n] = code book · scale, one rounding. A thread takes 8 elements of one block: 4 bytes in, 32 out.
KERNEL_BOUNDS(dequantize4_f32, 256, 1, float *dst, const unsigned char *data, const float *absmax, const unsigned char *codes,
              const float *nested, const float *map, const float *offset, long long n, int block, int type) {
    __shared__ float book[16];
    load_code_book(book, type);
    __syncthreads();
    Scales scales{absmax, codes, nested, map, offset};
    bool aligned = ((unsigned long long)dst & 15) == 0 && ((unsigned long long)data & 3) == 0;
    long long stride = 8ll * gridDim.x * blockDim.x;
    for (long long i = 8 * ((long long)blockIdx.x * blockDim.x + threadIdx.x); i < n; i += stride) {
        float scale = scale_of(scales, i / block);
        if (i + 8 <= n && aligned) {
            unsigned word = *(const unsigned *)(data + i / 2);
            float x[8];
#pragma unroll
            for (int j = 0; j < 8; j++) // byte j/2 of the word, its high nibble first
                x[j] = __fmul_rn(book[word >> (8 * (j / 2) + (j % 2 ? 0 : 4)) & 15], scale);
            *(float4 *)(dst + i) = make_float4(x[0], x[1], x[2], x[3]);
            *(float4 *)(dst + i + 4) = make_float4(x[4], x[5], x[6], x[7]);
            continue;
        }
        for (int j = 0; j < 8 && i + j < n; j++) {
            unsigned byte = data[(i + j) / 2];
            dst[i + j] = __fmul_rn(book[j % 2 ? byte & 15 : byte >> 4], scale);
        }
    }
}
