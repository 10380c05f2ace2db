// The template of a tier's packing. The including file defines vec, VLEN, KP, UNIT, the v_ functions, TARGET and INLINE.
//
// A packed panel consists of slots of 32 bits: slot s of lane l holds KP elements of depth, a float (KP is 1) or a pair of bfloat16
// numbers (2), the earlier one in the lower half. Depth is filled up with zeros to whole UNITs.

#include <string.h> // memcpy

enum {
    NR = 2 * VLEN,
    DEPTH = VLEN * KP, // of a vector of slots
    GEMM_STRIP = 256,  // depth that is widened at a time: whole blocks of 4-bit weights
    GEMM_ROWS_AHEAD = 32, // rows of depth that are fetched before they are packed
};

// load_row widens VLEN elements of type from p on.
INLINE vec load_row(const void *p, int64_t i, int type) {
    if (type == LATHE_BF16)
        return v_load_bf16((const uint16_t *)p + i);
    if (type == LATHE_F16)
        return v_load_f16((const uint16_t *)p + i);
    return v_load((const float *)p + i);
}

// quant4_run dequantises n elements from element e on. The bulk goes QUANT4_STEP at a time within one block of scale.
TARGET static void quant4_run(float *dst, const lathe_matrix *m, int64_t e, int64_t n) {
    const uint8_t *data = m->data;
    const int shift = __builtin_ctz((unsigned)m->quant.block);
    const codebook book = v_codebook(m->quant.code);
    while (n > 0) {
        int64_t left = m->quant.block - (e & (m->quant.block - 1));
        if (left > n)
            left = n;
        const float scale = quant4_scale(&m->quant, e >> shift);
        const vec s = v_set1(scale);
        n -= left;
        if ((e & 1) == 0)
            for (; left >= QUANT4_STEP; left -= QUANT4_STEP, e += QUANT4_STEP, dst += QUANT4_STEP) {
                vec w[QUANT4_STEP / VLEN];
                v_quant4(data + (e >> 1), book, w);
                for (int i = 0; i < QUANT4_STEP / VLEN; i++)
                    w[i] = v_mul(w[i], s);
                v_store_quant4(dst, w);
            }
        for (; left > 0; left--, e++)
            *dst++ = m->quant.code[(e & 1) ? data[e >> 1] & 15 : data[e >> 1] >> 4] * scale;
    }
}

// half_run widens n 16-bit elements; the rest of a vector goes through a copy, so as not to read beyond the operand.
INLINE void half_run(float *dst, const uint16_t *src, int64_t n, int type) {
    for (; n >= VLEN; n -= VLEN, src += VLEN, dst += VLEN)
        v_store(dst, load_row(src, 0, type));
    if (n > 0) {
        uint16_t rest[VLEN] = {0};
        memcpy(rest, src, (size_t)n * sizeof *src);
        v_store_n(dst, load_row(rest, 0, type), n);
    }
}

// convert_run widens n elements, contiguous from element e on.
TARGET static void convert_run(float *dst, const lathe_matrix *m, int64_t e, int64_t n) {
    if (m->type == LATHE_QUANT4)
        quant4_run(dst, m, e, n);
    else if (m->type == LATHE_BF16)
        half_run(dst, (const uint16_t *)m->data + e, n, LATHE_BF16);
    else if (m->type == LATHE_F16)
        half_run(dst, (const uint16_t *)m->data + e, n, LATHE_F16);
    else
        memcpy(dst, (const float *)m->data + e, (size_t)n * sizeof *dst);
}

// slot_of packs KP vectors of floats: low is the earlier depth; `narrow` floats are rounded to bfloat16 numbers.
INLINE vec slot_of(vec low, vec high, vec scale, int narrow) {
#if LATHE_PAIRS
    (void)narrow;
    return v_pair(v_mul(low, scale), v_mul(high, scale));
#else
    (void)high;
    return narrow ? v_round_bf16(v_mul(low, scale)) : v_mul(low, scale);
#endif
}

// slots_along are VLEN slots of one lane whose depth is contiguous at p; of the last ones only `left` elements exist.
INLINE vec slots_along(const float *p, int64_t left, vec scale, int narrow) {
#if LATHE_PAIRS
    (void)narrow;
    if (left >= DEPTH)
        return v_pairs(v_mul(v_load(p), scale), v_mul(v_load(p + VLEN), scale));
    const vec low = v_load_n(p, left < VLEN ? left : VLEN), high = left > VLEN ? v_load_n(p + VLEN, left - VLEN) : v_zero();
    return v_pairs(v_mul(low, scale), v_mul(high, scale));
#else
    return slot_of(left >= DEPTH ? v_load(p) : v_load_n(p, left), v_zero(), scale, narrow);
#endif
}

// slot_across is one slot of up to VLEN lanes that are contiguous at p; rows of depth are ds apart and `left` of them exist.
INLINE vec slot_across(const float *p, int64_t ds, int64_t lanes, int64_t left, vec scale, int narrow) {
    const vec low = lanes >= VLEN ? v_load(p) : v_load_n(p, lanes);
    if (KP == 1 || left < 2)
        return slot_of(low, v_zero(), scale, narrow);
    return slot_of(low, lanes >= VLEN ? v_load(p + ds) : v_load_n(p + ds, lanes), scale, narrow);
}

// slots_in is the number of slots of that depth, whole units.
INLINE int64_t slots_in(int64_t depth) { return (depth + UNIT - 1) / UNIT * UNIT / KP; }

// pack_transposed packs up to VLEN lanes, each of which is contiguous in k: src[l·ls + k]. Missing lanes repeat the last one: their
// products are never stored. In `by_row` panels each lane's slots stay together, VLEN of them after VLEN of the lane before.
INLINE void pack_transposed(float *dst, int stride, const float *src, int64_t ls, int lanes, int64_t kc, vec scale, int narrow,
                            int by_row) {
    const float *lane[VLEN];
    for (int l = 0; l < VLEN; l++)
        lane[l] = src + (l < lanes ? l : lanes - 1) * ls;
    for (int64_t k = 0; k < kc; k += DEPTH) {
        const int64_t left = kc - k, slots = left < DEPTH ? slots_in(left) : VLEN;
        float *to = dst + k / KP * stride;
        vec r[VLEN];
        if (left >= DEPTH)
#pragma GCC unroll 16
            for (int l = 0; l < VLEN; l++)
                r[l] = slots_along(lane[l] + k, DEPTH, scale, narrow);
        else
            for (int l = 0; l < VLEN; l++)
                r[l] = slots_along(lane[l] + k, left, scale, narrow);
        if (!by_row)
            v_transpose(r);
        if (slots == VLEN)
#pragma GCC unroll 16
            for (int i = 0; i < VLEN; i++)
                v_store(to + i * (by_row ? VLEN : stride), r[i]);
        else
            for (int i = 0; i < slots; i++)
                v_store(to + i * stride, r[i]);
    }
}

// fetch_rows fetches a slot's depth. Rows of a large operand are too far apart for the processor to guess; beyond the end of a small one
// there may be no memory, which takes long to find out.
INLINE void fetch_rows(const float *p, int64_t ds) {
    __builtin_prefetch(p);
    if (KP > 1)
        __builtin_prefetch(p + ds);
}

// pack_contiguous packs lanes that are contiguous in memory: one short copy for each slot. Of a border of lanes whole vectors are read
// as long as what follows them is the operand's too.
INLINE void pack_contiguous(float *dst, int stride, const float *src, int64_t ds, int lanes, int64_t kc, vec scale, int narrow) {
    const int width = (lanes + VLEN - 1) / VLEN * VLEN;
    const int64_t ahead = ds > GEMM_PACK_LANES ? GEMM_ROWS_AHEAD * ds : 0;
    const int64_t whole = (lanes == width ? kc : ds + lanes >= width ? kc - 1 : 0) / KP * KP;
    int64_t k = 0;
    if (lanes > VLEN)
        for (; k < whole; k += KP, dst += stride) {
            fetch_rows(src + k * ds + ahead, ds);
            v_store(dst, slot_across(src + k * ds, ds, VLEN, KP, scale, narrow));
            v_store(dst + VLEN, slot_across(src + k * ds + VLEN, ds, VLEN, KP, scale, narrow));
        }
    else
        for (; k < whole; k += KP, dst += stride) {
            fetch_rows(src + k * ds + ahead, ds);
            v_store(dst, slot_across(src + k * ds, ds, VLEN, KP, scale, narrow));
        }
    for (; k < kc; k += KP, dst += stride)
        for (int l = 0; l < lanes; l += VLEN)
            v_store(dst + l, slot_across(src + k * ds + l, ds, lanes - l, kc - k, scale, narrow));
    for (; k / KP < slots_in(kc); k += KP, dst += stride)
        for (int l = 0; l < lanes; l += VLEN)
            v_store(dst + l, v_zero());
}

// pack_contiguous_by_row is pack_contiguous for panels whose lanes' slots stay together.
INLINE void pack_contiguous_by_row(float *dst, int stride, const float *src, int64_t ds, int lanes, int64_t kc, vec scale, int narrow) {
    for (int64_t k = 0; k < kc; k += DEPTH)
        for (int l = 0; l < lanes; l += VLEN) {
            vec r[VLEN];
            for (int s = 0; s < VLEN; s++) {
                const int64_t at = k + s * KP;
                r[s] = at < kc ? slot_across(src + at * ds + l, ds, lanes - l, kc - at, scale, narrow) : v_zero();
            }
            v_transpose(r);
            for (int i = 0; i < VLEN; i++)
                v_store(dst + k / KP * stride + (l + i) * VLEN, r[i]);
        }
}

// pack_rows_of packs rows of depth that are contiguous in their lanes.
INLINE void pack_rows_of(float *dst, int stride, const float *src, int64_t ds, int lanes, int64_t kc, vec scale, int narrow, int by_row) {
    if (by_row)
        pack_contiguous_by_row(dst, stride, src, ds, lanes, kc, scale, narrow);
    else
        pack_contiguous(dst, stride, src, ds, lanes, kc, scale, narrow);
}

// pack_widened packs lanes whose depth is contiguous and not float32 through a strip of them which stays in the first-level cache.
INLINE void pack_widened(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t lane0, int lanes,
                         int64_t k0, int64_t kc, vec scale, int narrow, int by_row) {
    float strip[VLEN * GEMM_STRIP + VLEN];
    for (int64_t k = 0; k < kc; k += GEMM_STRIP)
        for (int l = 0; l < lanes; l += VLEN) {
            const int some = lanes - l < VLEN ? lanes - l : VLEN;
            const int64_t depth = kc - k < GEMM_STRIP ? kc - k : GEMM_STRIP;
            for (int i = 0; i < some; i++)
                convert_run(strip + i * GEMM_STRIP, m, (lane0 + l + i) * ls + k0 + k, depth);
            pack_transposed(dst + k / KP * stride + (by_row ? l * VLEN : l), stride, strip, GEMM_STRIP, some, depth, scale, narrow, by_row);
        }
}

INLINE void pack_any(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t ds, int64_t lane0, int lanes, int64_t k0,
                     int64_t kc, float scale, int narrow, int by_row) {
    const vec s = v_set1(scale);
    if (m->type != LATHE_F32) {
        pack_widened(dst, stride, m, ls, lane0, lanes, k0, kc, s, narrow, by_row);
        return;
    }
    const float *src = (const float *)m->data + lane0 * ls + k0 * ds;
    if (ds != 1 || ls == 1) {
        pack_rows_of(dst, stride, src, ds, lanes, kc, s, narrow, by_row);
        return;
    }
    for (int l = 0; l < lanes; l += VLEN)
        pack_transposed(dst + (by_row ? l * VLEN : l), stride, src + l * ls, ls, lanes - l < VLEN ? lanes - l : VLEN, kc, s, narrow, by_row);
}

#define DEFINE_PACK(NAME, NARROW, BY_ROW)                                                                                    \
    TARGET static void NAME(float *dst, int stride, const lathe_matrix *m, int64_t ls, int64_t ds, int64_t lane0, int lanes, \
                            int64_t k0, int64_t kc, float scale) {                                                           \
        pack_any(dst, stride, m, ls, ds, lane0, lanes, k0, kc, scale, NARROW, BY_ROW);                                       \
    }

// store_columns finishes the sums of one tile, rows of NR, whose C is transposed.
static __attribute__((noinline)) TARGET void store_columns(const gemm_tile *tile, const float *sums) {
    const gemm_tile t = *tile;
    for (int i = 0; i < t.rows; i += VLEN)
        for (int j = 0; j < t.cols; j += VLEN) {
            const int rows = t.rows - i < VLEN ? t.rows - i : VLEN, cols = t.cols - j < VLEN ? t.cols - j : VLEN;
            vec r[VLEN];
#pragma GCC unroll 16
            for (int l = 0; l < VLEN; l++)
                r[l] = v_load(sums + (i + (l < rows ? l : 0)) * NR + j);
            v_transpose(r);
            const vec bias = t.bias ? v_load_n(t.bias + i, rows) : v_zero();
            for (int l = 0; l < cols; l++) {
                float *c = t.c + (j + l) * t.ldc + i;
                vec v = t.bias ? v_add(r[l], bias) : r[l];
                v_store_n(c, t.add ? v_add(v_load_n(c, rows), v) : v, rows);
            }
        }
}

// store_tile finishes the sums of one tile: bias, what C held, borders. The tile is copied: stores to C could change it, as far as
// the compiler knows.
INLINE void store_tile(const gemm_tile *tile, int rows, int vecs, vec acc[][2]) {
    const gemm_tile t = *tile;
#pragma GCC unroll 2
    for (int j = 0; j < vecs; j++) {
        const int64_t left = t.cols - j * VLEN;
        if (t.bias) {
            const vec bias = v_load_n(t.bias + j * VLEN, left);
#pragma GCC unroll 14
            for (int i = 0; i < rows; i++)
                acc[i][j] = v_add(acc[i][j], bias);
        }
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            float *c = t.c + i * t.ldc + j * VLEN;
            if (left >= VLEN)
                v_store(c, t.add ? v_add(v_load(c), acc[i][j]) : acc[i][j]);
            else
                v_store_n(c, t.add ? v_add(v_load_n(c, left), acc[i][j]) : acc[i][j], left);
        }
    }
}
