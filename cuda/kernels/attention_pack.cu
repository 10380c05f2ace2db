// Operands of attention by tensor cores: rows of float32 become 16-bit rows of pad elements, zeros behind d, in the order in which blocks
// read them: [key head, row] of each span. A block makes 32 rows of one key head; a thread eight elements at a time.
#include "attention.h"

template <class T> DEV void pack_row(T *to, const float *row, int c, int d, bool aligned) {
    float x[8];
    if (aligned && c + 8 <= d) {
        float4 a = *(const float4 *)(row + c), b = *(const float4 *)(row + c + 4);
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else {
        for (int i = 0; i < 8; i++)
            x[i] = c + i < d ? row[c + i] : 0.0f;
    }
    *(uint4 *)(to + c) = make_uint4(pack2<T>(x[0], x[1]), pack2<T>(x[2], x[3]), pack2<T>(x[4], x[5]), pack2<T>(x[6], x[7]));
}

template <class T> DEV void pack_keys(ATTENTION_ARGS, T *k16, T *v16, const float *k, const float *v, int pad) {
    Attention a = find_span(ATTENTION_VALUES, (int)blockIdx.x, (int)blockIdx.y);
    for (int i = threadIdx.x; i < 32 * (pad / 8); i += blockDim.x) {
        int j = a.tile * 32 + i / (pad / 8), c = i % (pad / 8) * 8;
        if (j >= a.span.k_len)
            return;
        long long from = a.key(j) * d, to = a.packed_key(j) * pad;
        pack_row(k16 + to, k + from, c, d, flags & ALIGNED);
        pack_row(v16 + to, v + from, c, d, flags & ALIGNED);
    }
}

template <class T> DEV void pack_rows(ATTENTION_ARGS, T *q16, T *dout16, const float *q, const float *dout, int pad) {
    Attention a = find_span(ATTENTION_VALUES, (int)blockIdx.x, (int)blockIdx.y);
    for (int i = threadIdx.x; i < 32 * (pad / 8); i += blockDim.x) {
        int r = a.tile * 32 + i / (pad / 8), c = i % (pad / 8) * 8;
        if (r >= a.rows())
            return;
        long long from = a.query(r) * d, to = a.packed_row(r) * pad;
        pack_row(q16 + to, q + from, c, d, flags & ALIGNED);
        pack_row(dout16 + to, dout + from, c, d, flags & ALIGNED);
    }
}

#define PACK(NAME, T)                                                                                                                \
    KERNEL(attention_pack_keys_##NAME, ATTENTION_ARGS, T *k16, T *v16, const float *k, const float *v, int pad) {                    \
        pack_keys(ATTENTION_VALUES, k16, v16, k, v, pad);                                                                            \
    }                                                                                                                                \
    KERNEL(attention_pack_rows_##NAME, ATTENTION_ARGS, T *q16, T *dout16, const float *q, const float *dout, int pad) {              \
        pack_rows(ATTENTION_VALUES, q16, dout16, q, dout, pad);                                                                      \
    }
PACK(bf16, bf16_t)
PACK(f16, f16_t)
