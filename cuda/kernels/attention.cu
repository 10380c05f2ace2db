// What attention needs beside its products: the rows' dot products with the gradient, the sum over chunks of keys.
#include "attention.h"

// delta[row] = Σ_c dout[row,c]·out[row,c] for all rows of [NQ·H,D]: a thread a row, in the order in which attention_backward_f32.h sums
// dout·v. So a query that sees one key, whose out is v, gets a gradient of exactly zero.
KERNEL(attention_delta, float *delta, const float *dout, const float *out, long long rows, int d, int aligned) {
    long long row = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows)
        return;
    dout += row * d, out += row * d;
    float sum = 0.0f;
    int c = 0;
    for (; aligned && c + 4 <= d; c += 4) {
        float4 x = *(const float4 *)(dout + c), y = *(const float4 *)(out + c);
        sum = fmaf(x.w, y.w, fmaf(x.z, y.z, fmaf(x.y, y.y, fmaf(x.x, y.x, sum))));
    }
    for (; c < d; c++)
        sum = fmaf(dout[c], out[c], sum);
    delta[row] = sum;
}

// attention_combine puts together the chunks of split spans, in their order: out = Σ w·part, w = exp(lse_chunk - lse). A warp takes one
// row; blockIdx.y is the key head. Spans' tiles are rows here.
KERNEL(attention_combine, ATTENTION_ARGS, const float *part, const float *part_lse, float *out, float *lse, int rows) {
    int t = (int)(blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP), lane = threadIdx.x % WARP;
    if (t >= rows)
        return;
    Attention a = find_span(ATTENTION_VALUES, t, (int)blockIdx.y);
    int keys = key_chunk(a.span.k_len), chunks = (a.span.k_len + keys - 1) / keys;
    long long first = a.span.keys + (long long)a.tile * a.kv_heads + a.kv, step = (long long)a.rows() * a.kv_heads;
    float top = NO_SCORE;
    for (int i = lane; i < chunks; i += WARP) // a NaN shows in the sum
        top = fmaxf(top, part_lse[first + i * step]);
    top = warp_max(top);
    float base = top == NO_SCORE ? 0.0f : top, total = 0.0f;
    for (int i = 0; i < chunks; i++)
        total += expf(part_lse[first + i * step] - base);
    float inverse = total == 0.0f ? 0.0f : 1.0f / total;
    long long row = a.query(a.tile);
    for (int c = lane; c < d; c += WARP) {
        float sum = 0.0f;
        for (int i = 0; i < chunks; i++)
            sum = fmaf(expf(part_lse[first + i * step] - base), part[(first + i * step) * d + c], sum);
        out[row * d + c] = sum * inverse;
    }
    if (lse && lane == 0)
        lse[row] = base + logf(total);
}
