#include "linear_plain.h"

#include <math.h>
#include <string.h>

#include "pool.h"

static const float book[16] = {-1, -.6961928009986877f, -.5250730514526367f, -.39491748809814453f, -.28444138169288635f,
    -.18477343022823334f, -.09105003625154495f, 0, .07958029955625534f, .16093020141124725f, .24611230194568634f,
    .33791524171829224f, .44070982933044434f, .5626170039176941f, .7229568362236023f, 1};

static float half(uint16_t h) {
    uint32_t e = h >> 10 & 31, f = h & 0x3ff, bits;
    float x;
    if (e == 0)
        x = (float)f * 0x1p-24f;
    else {
        bits = (e == 31 ? 255 : e + 112) << 23 | f << 13;
        memcpy(&x, &bits, 4);
    }
    return h & 0x8000 ? -x : x;
}

void lathe_plain_widen(float *dst, const lathe_matrix *m, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (m->type == LATHE_F32)
            dst[i] = ((const float *)m->data)[i];
        else if (m->type == LATHE_BF16) {
            uint32_t bits = (uint32_t)((const uint16_t *)m->data)[i] << 16;
            memcpy(dst + i, &bits, 4);
        } else if (m->type == LATHE_F16)
            dst[i] = half(((const uint16_t *)m->data)[i]);
        else {
            uint8_t byte = ((const uint8_t *)m->data)[i / 2];
            int64_t b = i / m->nf4.block;
            float absmax = m->nf4.absmax ? m->nf4.absmax[b] : m->nf4.map[m->nf4.codes[b]] * m->nf4.nested[b / 256] + *m->nf4.offset;
            dst[i] = book[i % 2 ? byte & 15 : byte >> 4] * absmax;
        }
    }
}

static int code(float x) {
    int lo = 0;
    for (int i = 0; i < 15; i++)
        if (x > (book[i] + book[i + 1]) * 0.5f) lo = i + 1;
    return lo;
}

void lathe_plain_quantize(uint8_t *data, float *absmax, const float *src, int64_t n, int block) {
    memset(data, 0, (size_t)((n + 1) / 2));
    for (int64_t at = 0; at < n; at += block) {
        int64_t end = at + block < n ? at + block : n;
        float top = 0;
        for (int64_t i = at; i < end; i++) top = fabsf(src[i]) > top ? fabsf(src[i]) : top;
        absmax[at / block] = top;
        float inverse = top > 0 ? 1.0f / top : 0;
        for (int64_t i = at; i < end; i++) data[i / 2] |= (uint8_t)(code(src[i] * inverse) << (i % 2 ? 0 : 4));
    }
}

void lathe_plain_product(float *c, const float *a, int64_t ars, int64_t acs, const float *b, int64_t brs, int64_t bcs, int64_t m, int64_t n, int64_t k, float alpha, int accumulate) {
    enum { W = 64 };
    for (int64_t j = 0; j < n; j += W)
        for (int64_t i = 0; i < m; i++) {
            float sum[W] = {0};
            int64_t w = n - j < W ? n - j : W;
            for (int64_t l = 0; l < k; l++) {
                float x = a[i * ars + l * acs];
                const float *row = b + l * brs + j * bcs;
                for (int64_t t = 0; t < w; t++) sum[t] += x * row[t * bcs];
            }
            for (int64_t t = 0; t < w; t++) c[i * n + j + t] = (accumulate ? c[i * n + j + t] : 0) + alpha * sum[t];
        }
}

void lathe_plain_bias(float *y, const float *bias, int64_t n, int64_t out) {
    for (int64_t i = 0; i < n * out; i++) y[i] += bias[i % out];
}

void lathe_plain_dbias(float *db, const float *dy, int64_t n, int64_t out) {
    for (int64_t i = 0; i < n * out; i++) db[i % out] += dy[i];
}
