// Conversions between float types, and the gather that an embedding is.

INLINE float widen_bf16(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// Shifting exponent and fraction into place leaves the number 2⁻¹¹² times too small, denormals included; infinities and NaN
// get their exponent set.
INLINE float widen_f16(uint16_t h) {
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13;
    float x;
    memcpy(&x, &bits, 4);
    x *= 0x1p112f;
    memcpy(&bits, &x, 4);
    bits |= ((h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0) | (uint32_t)(h & 0x8000) << 16;
    memcpy(&x, &bits, 4);
    return x;
}

// Round to nearest, ties to even; a NaN stays a (quiet) NaN.
INLINE uint16_t narrow_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INLINE uint16_t narrow_f16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;  // NaN
    if (bits >= 0x477ff000) return sign | 0x7c00; // rounds beyond 65504, or infinite
    if (bits < 0x38800000) {                      // a denormal: adding 0.5 leaves fraction·2⁻²⁴, rounded, in the low bits
        float small;
        memcpy(&small, &bits, 4);
        small += 0.5f;
        memcpy(&bits, &small, 4);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - 0x38000000) >> 13);
}

INLINE float widen(const void *p, int type, int64_t i) {
    if (type == LATHE_BF16) return widen_bf16(((const uint16_t *)p)[i]);
    if (type == LATHE_F16) return widen_f16(((const uint16_t *)p)[i]);
    return ((const float *)p)[i];
}

// Elements that one task of an element-wise operation handles.
enum { CHUNK = 16384 };

INLINE int chunks(int64_t n) { return (int)((n + CHUNK - 1) / CHUNK); }
INLINE int64_t chunk_length(int64_t n, int index) {
    int64_t left = n - (int64_t)index * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

// Rows of c elements that one task handles, about CHUNK elements.
INLINE int64_t rows_per_task(int64_t c) { return c >= CHUNK ? 1 : CHUNK / (c > 0 ? c : 1); }
INLINE int row_tasks(int64_t n, int64_t c) { return (int)((n + rows_per_task(c) - 1) / rows_per_task(c)); }

static void cast_task(void *arg, int index, int worker) {
    const lathe_cast_args *a = arg;
    int64_t from = (int64_t)index * CHUNK, to = from + chunk_length(a->n, index);
    (void)worker;
    switch (a->dst_type) {
    case LATHE_F32:
        for (int64_t i = from; i < to; i++) ((float *)a->dst)[i] = widen(a->src, a->src_type, i);
        break;
    case LATHE_BF16:
        for (int64_t i = from; i < to; i++) ((uint16_t *)a->dst)[i] = narrow_bf16(widen(a->src, a->src_type, i));
        break;
    case LATHE_F16:
        for (int64_t i = from; i < to; i++) ((uint16_t *)a->dst)[i] = narrow_f16(widen(a->src, a->src_type, i));
        break;
    }
}

static void cast(const lathe_cast_args *a) { lathe_parallel(chunks(a->n), cast_task, (void *)a); }

static void embedding_task(void *arg, int index, int worker) {
    const lathe_embedding_args *a = arg;
    int64_t from = index * rows_per_task(a->c), to = from + rows_per_task(a->c);
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        float *y = a->y + n * a->c;
        int64_t row = (int64_t)a->ids[n] * a->c;
        for (int64_t i = 0; i < a->c; i++) y[i] = a->scale * widen(a->table, a->type, row + i);
    }
}

static void embedding(const lathe_embedding_args *a) {
    lathe_parallel(row_tasks(a->n, a->c), embedding_task, (void *)a);
}

// Columns are divided among tasks, so that every row of the table receives its addends in the order of n.
enum { COLUMNS = 256 };

static void embedding_backward_task(void *arg, int index, int worker) {
    const lathe_embedding_backward_args *a = arg;
    int64_t from = (int64_t)index * COLUMNS, to = from + COLUMNS < a->c ? from + COLUMNS : a->c;
    (void)worker;
    for (int64_t n = 0; n < a->n; n++) {
        float *row = a->dtable + (int64_t)a->ids[n] * a->c;
        const float *dy = a->dy + n * a->c;
        for (int64_t i = from; i < to; i++) row[i] += a->scale * dy[i];
    }
}

static void embedding_backward(const lathe_embedding_backward_args *a) {
    lathe_parallel((int)((a->c + COLUMNS - 1) / COLUMNS), embedding_backward_task, (void *)a);
}
