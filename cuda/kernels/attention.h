// What all kernels of attention share: spans, who sees whom, and scores. Operations and shapes as in compute/operations.go.
//
// The rows of a tile are query positions and the heads that share a key head, as in compute/cpu: row r of a span is query r/group,
// head h0 + r%group. So a tile of keys is loaded once for all of the group's heads, which decoding with few queries needs most.
#pragma once
#include "device.h"

// AttentionSpan is one span and where its share of the launch begins (cuda/attention_plan.go): the first of its tiles, and how many
// queries and keys the spans before it have, for operands that are packed; of split spans, keys is the place of their parts.
struct AttentionSpan {
    int q_start, q_len, k_start, k_len;
    int tile, queries, keys, spare;
};

enum { NO_CAUSAL = 1, ALIGNED = 2 }; // flags; ALIGNED: rows begin at 16 bytes

// The arguments that every kernel takes first.
#define ATTENTION_ARGS                                                                                                         \
    const AttentionSpan *spans, int nspans, int heads, int kv_heads, int d, float scale, float softcap, int window, int prefix, \
        int flags, const float *alibi
#define ATTENTION_VALUES spans, nspans, heads, kv_heads, d, scale, softcap, window, prefix, flags, alibi

// Attention is one key head of one span.
struct Attention {
    AttentionSpan span;
    int heads, kv_heads, kv, group, d;
    float scale, softcap;
    int window, prefix, flags;
    const float *alibi;
    int tile; // of the span

    INLINE int rows() const { return span.q_len * group; }
    // Of row r: its position among the keys, its head, and its row of Q seen as [NQ·H,D].
    INLINE int position(int r) const { return span.k_len - span.q_len + r / group; }
    INLINE int head(int r) const { return kv * group + r % group; }
    INLINE long long query(int r) const {
        int i = r / group;
        return (long long)(span.q_start + i) * heads + kv * group + (r - i * group);
    }
    // Key j's row of K seen as [NK·KV,D].
    INLINE long long key(int j) const { return (long long)(span.k_start + j) * kv_heads + kv; }
    // The same of operands that attention_pack made: [key head, row] and [key head, key] of one span after the other.
    INLINE long long packed_row(int r) const { return (long long)span.queries * heads + (long long)kv * rows() + r; }
    INLINE long long packed_key(int j) const { return (long long)span.keys * kv_heads + (long long)kv * span.k_len + j; }
    INLINE float slope(int r) const { return alibi ? alibi[head(r)] : 0.0f; }

    // Whether the query at position p sees key j.
    INLINE bool sees(int p, int j) const {
        return (flags & NO_CAUSAL) || j < prefix || (j <= p && (window == 0 || j > p - window));
    }
    // Whether positions lowest … highest all see keys from … to-1.
    INLINE bool sees_all(int lowest, int highest, int from, int to) const {
        return (flags & NO_CAUSAL) || to <= prefix || (to - 1 <= lowest && (window == 0 || from > highest - window));
    }
};

// find_span finds the span that tile t belongs to: the last that begins at or before it.
DEV Attention find_span(ATTENTION_ARGS, int t, int kv) {
    int low = 0, high = nspans - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (spans[middle].tile <= t)
            low = middle;
        else
            high = middle - 1;
    }
    Attention a;
    a.span = spans[low];
    a.heads = heads, a.kv_heads = kv_heads, a.kv = kv, a.group = heads / kv_heads, a.d = d;
    a.scale = scale, a.softcap = softcap, a.window = window, a.prefix = prefix, a.flags = flags, a.alibi = alibi;
    a.tile = t - a.span.tile;
    return a;
}

// KeyTiles walks over the tiles of N keys that some of the positions lowest … highest see, of keys from … to-1: those of the prefix,
// then those of the window. from is a multiple of N.
struct KeyTiles {
    int first, again, end; // the next tile's first key; where the window begins; where all ends

    INLINE void open(const Attention &a, int lowest, int highest, int from, int to, int n) {
        end = a.flags & NO_CAUSAL ? to : min(to, max(highest + 1, a.prefix));
        again = a.flags & NO_CAUSAL || a.window == 0 ? from : max(from, (lowest - a.window + 1) / n * n);
        first = from < a.prefix ? from : again;
    }
    INLINE bool more() const { return first < end; }
    INLINE void next(const Attention &a, int n) {
        first += n;
        if (first >= a.prefix)
            first = max(first, again);
    }
};

// RowTiles are the rows that see some of keys first … last, as one run.
DEV void seeing_rows(const Attention &a, int first, int last, int *from, int *to) {
    *from = 0, *to = a.rows();
    if ((a.flags & NO_CAUSAL) || first < a.prefix)
        return;
    int before = a.span.k_len - a.span.q_len;
    *from = max(first - before, 0) * a.group;
    if (a.window > 0)
        *to = min(*to, max(last + a.window - before, 0) * a.group);
}

// The score of a key that a query does not see: minus infinity.
#define NO_SCORE __uint_as_float(0xff800000u)

// bf16_round is the nearest bfloat16.
DEV float bf16_round(float x) { return to_float(from_float<bf16_t>(x)); }

// plain says that scores are the products times the scale and nothing else.
DEV bool plain(const Attention &a) { return !a.alibi && a.softcap <= 0.0f; }

// score makes a scaled product the score of key j: alibi's part (slope·j, both factors and the product rounded to bfloat16 as
// transformers' build_alibi_tensor has them, times the scale), then softcap.
DEV float score(const Attention &a, float s, float slope, int j) {
    if (a.alibi)
        s = fmaf(bf16_round(slope * bf16_round((float)j)), a.scale, s);
    if (a.softcap > 0.0f)
        s = a.softcap * tanhf(s / a.softcap);
    return s;
}

// score_slope is the derivative of score by the scaled product, given the score; inverse is 1/softcap, 0 for none.
DEV float score_slope(float s, float inverse) {
    float t = s * inverse;
    return fmaf(-t, t, 1.0f);
}

// key_chunk is how many keys of a span one block takes where the keys are split (decoding): from the number of keys alone, so that a
// sequence has the same bits in any batch. At most 64 chunks; cuda/attention_plan.go has the same rule.
DEV int key_chunk(int k_len) { return max(128, (k_len + 64 * 64 - 1) / (64 * 64) * 64); }
