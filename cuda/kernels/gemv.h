// Products with few rows of activations, as generation has them: Y[n,out] = X[n,in]·Wᵀ (+ bias + ext·U·Vᵀ) (+ Y), W of any type read once,
// as it is stored, at the speed of memory; activations, products and sums in float32.
//
// A block of 8 warps stages TOKENS rows of X in shared memory, a chunk at a time. A warp has ROWS rows of W and every split-th step of 32
// lanes × EACH elements of them; what the warps of a row have is added in their order. EACH elements are one access of 8 or 16 bytes.
#pragma once
#include "operand.h"

enum { GEMV_ROWS = 4, GEMV_WARPS = 8 };

// Raw is EACH elements of a row as they are stored, and get gives four of them; BITS is an element's size.
template <int KIND> struct Raw;
template <> struct Raw<KIND_F32> {
    enum { EACH = 4, BITS = 32 };
    float4 v;
    DEV void load(Raw &r, const unsigned char *p) { r.v = *(const float4 *)p; }
    DEV void get(float (&f)[4], const Raw &r, const float *, int) { f[0] = r.v.x, f[1] = r.v.y, f[2] = r.v.z, f[3] = r.v.w; }
};
template <class T> struct Raw16 {
    enum { EACH = 8, BITS = 16 };
    unsigned u[4];
    DEV void load(Raw16 &r, const unsigned char *p) {
        uint4 v = *(const uint4 *)p;
        r.u[0] = v.x, r.u[1] = v.y, r.u[2] = v.z, r.u[3] = v.w;
    }
    DEV void get(float (&f)[4], const Raw16 &r, const float *, int quad) {
        unpack_into<T>(f, r.u[2 * quad]);
        unpack_into<T>(f + 2, r.u[2 * quad + 1]);
    }
};
template <> struct Raw<KIND_BF16> : Raw16<bf16_t> {};
template <> struct Raw<KIND_F16> : Raw16<f16_t> {};
// A 4-bit code is looked up by its offset in the book, 4·code: a word's even and odd elements become four bytes of offsets each.
template <> struct Raw<KIND_QUANT4> {
    enum { EACH = 16, BITS = 4 };
    unsigned even[2], odd[2];
    DEV void load(Raw &r, const unsigned char *p) {
        uint2 v = *(const uint2 *)p;
        r.even[0] = v.x >> 2 & 0x3c3c3c3cu, r.odd[0] = v.x << 2 & 0x3c3c3c3cu;
        r.even[1] = v.y >> 2 & 0x3c3c3c3cu, r.odd[1] = v.y << 2 & 0x3c3c3c3cu;
    }
    DEV void get(float (&f)[4], const Raw &r, const float *book, int quad) {
        int word = quad / 2, byte = quad % 2 * 2;
        f[0] = table_entry(book, r.even[word], byte), f[1] = table_entry(book, r.odd[word], byte);
        f[2] = table_entry(book, r.even[word], byte + 1), f[3] = table_entry(book, r.odd[word], byte + 1);
    }
};

struct GemvArgs {
    float *y;
    const float *x;
    Operand w;
    int n, out, in;
    const float *bias;
    const float *u, *v; // [n,rank], [out,rank]
    float ext;
    int rank, accumulate, split;
};

template <int KIND, int TOKENS> struct Gemv {
    typedef Raw<KIND> R;
    enum { CHUNK = TOKENS >= 4 ? 8192 / TOKENS : 4096 / TOKENS, STEP = WARP * R::EACH, PITCH = CHUNK / 32 * 36 };

    // place is where element k of a staged row lies: four floats of a gap after each 32 keep lanes that read EACH elements apart in
    // different banks.
    DEV int place(int k) { return k / 32 * 36 + k % 32; }

    DEV void stage(float (*xs)[PITCH], const GemvArgs &a, int token0, int k0) {
#pragma unroll 1
        for (int t = 0; t < TOKENS; t++)
#pragma unroll 4
            for (int k = threadIdx.x; k < CHUNK; k += GEMV_WARPS * WARP)
                xs[t][place(k)] = token0 + t < a.n && k0 + k < a.in ? a.x[(long long)(token0 + t) * a.in + k0 + k] : 0.0f;
    }

    // Rows is where a warp's rows of W begin, in bytes and in blocks of 4-bit elements; rows that do not exist are the last one again.
    struct Rows {
        const unsigned char *data[GEMV_ROWS];
        unsigned block[GEMV_ROWS];
    };

    DEV void find(Rows &w, const GemvArgs &a, int row0, int rows) {
        for (int r = 0; r < GEMV_ROWS; r++) {
            long long at = (row0 + min(r, rows - 1)) * (long long)a.in;
            w.data[r] = (const unsigned char *)a.w.data + at * R::BITS / 8;
            w.block[r] = (unsigned)(at >> a.w.quant.shift);
        }
    }

    // scales are those of the rows' blocks at k: all their loads are on their way before the first is waited for.
    DEV void scales(float (&scale)[GEMV_ROWS], const Rows &w, const Quant4 &q, const float *map, int k) {
        unsigned block = (unsigned)k >> q.shift;
        if (q.scales.absmax) {
            for (int r = 0; r < GEMV_ROWS; r++)
                scale[r] = __ldg(q.scales.absmax + w.block[r] + block);
            return;
        }
        unsigned code[GEMV_ROWS];
        for (int r = 0; r < GEMV_ROWS; r++) {
            code[r] = __ldg(q.scales.codes + w.block[r] + block);
            scale[r] = __ldg(q.scales.nested + (w.block[r] + block) / NESTED_BLOCK);
        }
        float offset = __ldg(q.scales.offset);
        for (int r = 0; r < GEMV_ROWS; r++)
            scale[r] = __fadd_rn(__fmul_rn(map[code[r]], scale[r]), offset);
    }

    // step adds the products of EACH elements of each row from k on, which is at of the chunk. A block's scale multiplies the sum of its
    // products; with eight tokens, whose sums fill the registers, each element.
    DEV void step(float (&sum)[GEMV_ROWS][TOKENS], const float (*xs)[PITCH], const Rows &w, const Quant4 &q, const float *map, int k, int at) {
        R raw[GEMV_ROWS];
        const bool LATE = KIND == KIND_QUANT4 && TOKENS < 8, EARLY = KIND == KIND_QUANT4 && !LATE;
        float scale[GEMV_ROWS], part[GEMV_ROWS][TOKENS] = {};
        for (int r = 0; r < GEMV_ROWS; r++)
            R::load(raw[r], w.data[r] + (unsigned)k * R::BITS / 8);
        if (KIND == KIND_QUANT4)
            scales(scale, w, q, map, k);
#pragma unroll
        for (int quad = 0; quad < R::EACH / 4; quad++) {
            float x[TOKENS][4];
            for (int t = 0; t < TOKENS; t++) {
                float4 v = *(const float4 *)&xs[t][place(at) + quad * 4];
                x[t][0] = v.x, x[t][1] = v.y, x[t][2] = v.z, x[t][3] = v.w;
            }
            for (int r = 0; r < GEMV_ROWS; r++) {
                float f[4];
                R::get(f, raw[r], q.book, quad);
                if (EARLY)
                    for (int i = 0; i < 4; i++)
                        f[i] = __fmul_rn(f[i], scale[r]);
                for (int t = 0; t < TOKENS; t++)
                    for (int i = 0; i < 4; i++)
                        (LATE ? part : sum)[r][t] = fmaf(f[i], x[t][i], (LATE ? part : sum)[r][t]);
            }
        }
        for (int r = 0; LATE && r < GEMV_ROWS; r++)
            for (int t = 0; t < TOKENS; t++)
                sum[r][t] = fmaf(scale[r], part[r][t], sum[r][t]);
    }

    // plain is the same for weights that cannot be read EACH elements at a time.
    DEV void plain(float (&sum)[GEMV_ROWS][TOKENS], const float (*xs)[PITCH], const GemvArgs &a, long long at, int rows, int k) {
        for (int r = 0; r < GEMV_ROWS; r++)
            if (r < rows) {
                float w = operand_element(a.w, at + (long long)r * a.in);
                for (int t = 0; t < TOKENS; t++)
                    sum[r][t] = fmaf(w, xs[t][place(k)], sum[r][t]);
            }
    }

    DEV void low_rank(float (&sum)[GEMV_ROWS][TOKENS], const GemvArgs &a, int row0, int rows, int token0) {
        for (int k = threadIdx.x % WARP; k < a.rank; k += WARP)
            for (int t = 0; t < TOKENS; t++) {
                float u = token0 + t < a.n ? __fmul_rn(a.ext, a.u[(long long)(token0 + t) * a.rank + k]) : 0.0f;
                for (int r = 0; r < GEMV_ROWS; r++)
                    if (r < rows)
                        sum[r][t] = fmaf(u, a.v[(long long)(row0 + r) * a.rank + k], sum[r][t]);
            }
    }

    DEV void run(float (*xs)[PITCH], float (*part)[GEMV_ROWS][TOKENS], const float *map, const GemvArgs &a) {
        int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, slice = warp % a.split, token0 = blockIdx.y * TOKENS;
        int row0 = (blockIdx.x * (GEMV_WARPS / a.split) + warp / a.split) * GEMV_ROWS, rows = min((int)GEMV_ROWS, a.out - row0);
        float sum[GEMV_ROWS][TOKENS] = {};
        Rows w;
        find(w, a, row0, rows);
        for (int k0 = 0; k0 < a.in; k0 += CHUNK) {
            stage(xs, a, token0, k0);
            __syncthreads();
            int end = min((int)CHUNK, a.in - k0);
            if (rows > 0 && a.w.vec)
                for (int k = slice * STEP + lane * R::EACH; k < end; k += a.split * STEP)
                    step(sum, xs, w, a.w.quant, map, k0 + k, k);
            else if (rows > 0)
                for (int k = slice * WARP + lane; k < end; k += a.split * WARP)
                    plain(sum, xs, a, (long long)row0 * a.in + k0 + k, rows, k);
            __syncthreads();
        }
        if (slice == 0 && rows > 0)
            low_rank(sum, a, row0, rows, token0);
        for (int r = 0; r < GEMV_ROWS; r++)
            for (int t = 0; t < TOKENS; t++) {
                float all = warp_sum(sum[r][t]);
                if (lane == 0)
                    part[warp][r][t] = all;
            }
        __syncthreads();
        finish(part, a, token0);
    }

    // finish: a thread has one element of the block's.
    DEV void finish(const float (*part)[GEMV_ROWS][TOKENS], const GemvArgs &a, int token0) {
        int groups = GEMV_WARPS / a.split, at = threadIdx.x, group = at % groups, r = at / groups % GEMV_ROWS, t = at / groups / GEMV_ROWS;
        int row = (blockIdx.x * groups + group) * GEMV_ROWS + r;
        if (t >= TOKENS || token0 + t >= a.n || row >= a.out)
            return;
        float v = 0;
        for (int s = 0; s < a.split; s++)
            v = __fadd_rn(v, part[group * a.split + s][r][t]);
        if (a.bias)
            v = __fadd_rn(v, a.bias[row]);
        float *y = a.y + (long long)(token0 + t) * a.out + row;
        *y = a.accumulate ? __fadd_rn(v, *y) : v;
    }
};

#define GEMV(name, KIND, TOKENS)                                                                                                             \
    KERNEL_BOUNDS(name, GEMV_WARPS * 32, 2, float *y, const float *x, const void *w, QUANT4_ARGS, int n, int out, int in, const float *bias, \
                  const float *u, const float *v, float ext, int rank, int accumulate, int split, int vec) {                                 \
        typedef Gemv<KIND, TOKENS> G;                                                                                                        \
        __shared__ __align__(16) float xs[TOKENS][G::PITCH];                                                                                 \
        __shared__ __align__(256) float book[16];                                                                                            \
        __shared__ float part[GEMV_WARPS][GEMV_ROWS][TOKENS], table[256];                                                                    \
        if (KIND == KIND_QUANT4) { /* the barrier is the first chunk's */                                                                    \
            load_code_book(book, type);                                                                                                      \
            table[threadIdx.x] = absmax ? 0.0f : map[threadIdx.x];                                                                           \
        }                                                                                                                                    \
        Quant4 quant = QUANT4(book);                                                                                                         \
        GemvArgs a{y, x, Operand{w, in, KIND, vec, quant}, n, out, in, bias, u, v, ext, rank, accumulate, split};                            \
        G::run(xs, part, table, a);                                                                                                          \
    }

#define GEMV_TOKENS(name, KIND) \
    GEMV(name##_1, KIND, 1)     \
    GEMV(name##_2, KIND, 2)     \
    GEMV(name##_4, KIND, 4)     \
    GEMV(name##_8, KIND, 8)
