// The optimiser's step (Loshchilov & Hutter 2019) over many tensors, with moments of 32 or of 8 bits. Scalars come from the host, each
// computed in double and rounded once.
#include "tensors.h"

enum { STEP_CHUNK = 4096, STEP_THREADS = 256, CODE_BLOCK = 256 }; // elements of a thread block; elements that share a scale

struct AdamWTensor {
    float *param;
    const float *grad;
    float *m, *v;
    long long n;
    int first;
    float decay;
};

struct StepSizes {
    float one_minus_beta1, beta2, one_minus_beta2, step, correction, eps, grad_scale;
};

// One element, in the order of operations of torch.optim.AdamW.
DEV void adamw_element(float &p, float g, float &m, float &v, float decay, const StepSizes &s) {
    g *= s.grad_scale;
    m = fmaf(s.one_minus_beta1, g - m, m);
    v = fmaf(s.one_minus_beta2 * g, g, v * s.beta2);
    p = p * decay - s.step * m / (sqrtf(v) / s.correction + s.eps);
}

// 28 bytes an element. A thread takes four neighbours, 1024 elements further each time.
KERNEL_BOUNDS(adamw, STEP_THREADS, 4, const AdamWTensor *tensors, int count, float one_minus_beta1, float beta2, float one_minus_beta2,
              float step, float correction, float eps, float grad_scale) {
    StepSizes s = {one_minus_beta1, beta2, one_minus_beta2, step, correction, eps, grad_scale};
    AdamWTensor t = tensors[find_tensor(tensors, count, blockIdx.x)];
    long long at = (long long)(blockIdx.x - t.first) * STEP_CHUNK;
    int n = t.n - at < STEP_CHUNK ? (int)(t.n - at) : STEP_CHUNK;
    float *param = t.param + at, *m = t.m + at, *v = t.v + at;
    const float *grad = t.grad + at;
    int wide = aligned(param, grad, m, v) ? n / 4 * 4 : 0;
    for (int i = 4 * threadIdx.x; i < wide; i += 4 * STEP_THREADS) {
        float4 p = load4(param + i), g = load4(grad + i), a = load4(m + i), b = load4(v + i);
        adamw_element(p.x, g.x, a.x, b.x, t.decay, s);
        adamw_element(p.y, g.y, a.y, b.y, t.decay, s);
        adamw_element(p.z, g.z, a.z, b.z, t.decay, s);
        adamw_element(p.w, g.w, a.w, b.w, t.decay, s);
        store4(param + i, p);
        store4(m + i, a);
        store4(v + i, b);
    }
    for (int i = wide + threadIdx.x; i < n; i += STEP_THREADS)
        adamw_element(param[i], grad[i], m[i], v[i], t.decay, s);
}

// bitsandbytes' 8-bit AdamW (Dettmers et al. 2022) in the arithmetic of its CPU backend, bit by bit: roundings are written down, nothing
// is fused that is not there.

enum { CODE_TABLE = 65536 };

// nearest_code is the number of middles of the map's neighbours below x: the code nearest to x.
DEV unsigned char nearest_code(const float *map, float x) {
    int low = 0, high = 255;
    while (low < high) {
        int middle = (low + high) / 2;
        if (__fadd_rn(map[middle + 1], map[middle]) / 2 < x)
            low = middle + 1;
        else
            high = middle;
    }
    return (unsigned char)low;
}

// table[k] is the code nearest to k/32767.5 - 1, of the first moments' map and of the second's.
KERNEL_BOUNDS(adamw8_tables, 256, 8, unsigned char *tables, const float *m_map, const float *v_map) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, k = i % CODE_TABLE;
    tables[i] = nearest_code(i < CODE_TABLE ? m_map : v_map, __fsub_rn(__fdiv_rn((float)k, 32767.5f), 1.0f));
}

struct AdamW8Tensor {
    float *param;
    const float *grad;
    unsigned char *m, *v;
    float *m_absmax, *v_absmax;
    long long n;
    int first;
    float decay;
};

// Four neighbouring bytes, one access where wide; zeros beyond n.
DEV uchar4 get_codes(const unsigned char *p, int i, int n, bool wide) {
    if (wide && i + 4 <= n)
        return *(const uchar4 *)(p + i);
    return make_uchar4(i < n ? p[i] : 0, i + 1 < n ? p[i + 1] : 0, i + 2 < n ? p[i + 2] : 0, i + 3 < n ? p[i + 3] : 0);
}
DEV void put_codes(unsigned char *p, int i, int n, bool wide, uchar4 v) {
    if (wide && i + 4 <= n) {
        *(uchar4 *)(p + i) = v;
        return;
    }
    if (i < n)
        p[i] = v.x;
    if (i + 1 < n)
        p[i + 1] = v.y;
    if (i + 2 < n)
        p[i + 2] = v.z;
    if (i + 3 < n)
        p[i + 3] = v.w;
}
DEV float4 get_floats(const float *p, int i, int n, bool wide) {
    return wide && i + 4 <= n ? load4(p + i) : get4<false>(p, i, n);
}

DEV float highest4(float4 v, float top) {
    float x[4] = {fabsf(v.x), fabsf(v.y), fabsf(v.z), fabsf(v.w)};
#pragma unroll
    for (int i = 0; i < 4; i++)
        top = x[i] > top ? x[i] : top; // a NaN is not
    return top;
}

// code is an element's place in the table; a block of zeros has code 0, whatever that stands for: its scale is 0.
DEV unsigned char code(const unsigned char *table, float x, float top, float inverse) {
    float s = __fmul_rn(x, inverse);
    s = s > 1 ? 1 : s >= -1 ? s : -1; // a NaN must not index
    return top > 0 ? table[(int)__fadd_rn(__fmul_rn(__fadd_rn(s, 1.0f), 32767.5f), 0.5f)] : 0;
}

enum { HALVES = 2 }; // of a block of codes: 128 elements, four a lane

// encode writes the codes and the scale of a block that a warp holds.
DEV void encode(unsigned char *codes, float *absmax, const unsigned char *table, const float4 (&x)[HALVES], int n, bool wide) {
    float top = 0;
#pragma unroll
    for (int h = 0; h < HALVES; h++)
        top = highest4(x[h], top);
    top = warp_max(top);
    float inverse = top > 0 ? __fdiv_rn(1.0f, top) : 0;
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int h = 0; h < HALVES; h++)
        put_codes(codes, 4 * (lane + h * WARP), n, wide,
                  make_uchar4(code(table, x[h].x, top, inverse), code(table, x[h].y, top, inverse), code(table, x[h].z, top, inverse),
                              code(table, x[h].w, top, inverse)));
    if (lane == 0)
        *absmax = top;
}

// decode is map[codes]·absmax, zeros beyond n.
DEV float4 decode(uchar4 codes, const float *map, float absmax, int i, int n) {
    return make_float4(i < n ? __fmul_rn(map[codes.x], absmax) : 0, i + 1 < n ? __fmul_rn(map[codes.y], absmax) : 0,
                       i + 2 < n ? __fmul_rn(map[codes.z], absmax) : 0, i + 3 < n ? __fmul_rn(map[codes.w], absmax) : 0);
}

struct Step8Sizes {
    float beta1, one_minus_beta1, beta2, one_minus_beta2, step, correction, eps, grad_scale;
};

DEV void adamw8_element(float &p, float g, float &m, float &v, float decay, const Step8Sizes &s) {
    g = __fmul_rn(g, s.grad_scale);
    m = fmaf(s.one_minus_beta1, g, __fmul_rn(m, s.beta1));
    v = fmaf(__fmul_rn(s.one_minus_beta2, g), g, __fmul_rn(v, s.beta2));
    float divisor = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), s.correction), s.eps);
    p = __fsub_rn(__fmul_rn(p, decay), __fdiv_rn(__fmul_rn(s.step, m), divisor));
}

// 16 bytes and two table look-ups an element. A warp has a block of codes, eight elements a lane; maps are in shared memory, the tables of
// 64 KiB each in the cache.
KERNEL_BOUNDS(adamw8, STEP_THREADS, 3, const AdamW8Tensor *tensors, int count, const float *m_map, const float *v_map,
              const unsigned char *tables, float beta1, float one_minus_beta1, float beta2, float one_minus_beta2, float step,
              float correction, float eps, float grad_scale) {
    __shared__ float maps[2][256];
    Step8Sizes s = {beta1, one_minus_beta1, beta2, one_minus_beta2, step, correction, eps, grad_scale};
    maps[0][threadIdx.x] = m_map[threadIdx.x];
    maps[1][threadIdx.x] = v_map[threadIdx.x];
    __syncthreads();
    AdamW8Tensor t = tensors[find_tensor(tensors, count, blockIdx.x)];
    long long chunk = (long long)(blockIdx.x - t.first) * STEP_CHUNK;
    bool wide = aligned(t.param, t.grad) && (((unsigned long long)t.m | (unsigned long long)t.v) & 3) == 0;
    for (int b = threadIdx.x / WARP; b < STEP_CHUNK / CODE_BLOCK; b += STEP_THREADS / WARP) {
        long long at = chunk + b * CODE_BLOCK, block = at / CODE_BLOCK;
        if (at >= t.n)
            return; // the whole warp, which meets no other any more
        int n = t.n - at < CODE_BLOCK ? (int)(t.n - at) : CODE_BLOCK;
        float m_scale = t.m_absmax[block], v_scale = t.v_absmax[block];
        float4 m[HALVES], v[HALVES];
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            int i = 4 * (threadIdx.x % WARP + h * WARP);
            m[h] = decode(get_codes(t.m + at, i, n, wide), maps[0], m_scale, i, n);
            v[h] = decode(get_codes(t.v + at, i, n, wide), maps[1], v_scale, i, n);
            float4 p = get_floats(t.param + at, i, n, wide), g = get_floats(t.grad + at, i, n, wide);
            adamw8_element(p.x, g.x, m[h].x, v[h].x, t.decay, s);
            adamw8_element(p.y, g.y, m[h].y, v[h].y, t.decay, s);
            adamw8_element(p.z, g.z, m[h].z, v[h].z, t.decay, s);
            adamw8_element(p.w, g.w, m[h].w, v[h].w, t.decay, s);
            if (wide && i + 4 <= n)
                store4(t.param + at + i, p);
            else
                put4<false>(t.param + at, i, n, p);
        }
        encode(t.m + at, t.m_absmax + block, tables, m, n, wide);
        encode(t.v + at, t.v_absmax + block, tables + CODE_TABLE, v, n, wide);
    }
}
