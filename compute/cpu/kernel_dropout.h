// Dropout by Philox-4x32-10 (Salmon et al. 2011): the draws of four elements are one cipher block. Words of the blocks lie in
// 64-bit lanes, as the processor's multiplier wants them; only their lower halves count.

typedef uint64_t vu __attribute__((vector_size(LANES * 4)));
typedef uint32_t vw __attribute__((vector_size(LANES * 4)));
enum { BLOCKS = LANES / 2 }; // that one vector holds a word of

// The product of the lower halves.
INLINE vu u_multiply(vu a, uint32_t b) {
    vu c = (vu){0} + b;
#if LATHE_TIER == 2
    return (vu)_mm512_mul_epu32((__m512i)a, (__m512i)c);
#elif LATHE_TIER == 1
    return (vu)_mm256_mul_epu32((__m256i)a, (__m256i)c);
#elif defined(__x86_64__)
    return (vu)_mm_mul_epu32((__m128i)a, (__m128i)c);
#else
    return (a & 0xffffffff) * c;
#endif
}

// The draws of 4·BLOCKS elements from counter (block, stream) on.
INLINE void philox(uint64_t block, uint64_t stream, uint64_t key, uint64_t draw[2 * BLOCKS]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    vu c0 = {0};
    for (int i = 0; i < BLOCKS; i++) c0[i] = block + (uint64_t)i;
    vu c1 = c0 >> 32, c2 = (vu){0} + stream, c3 = (vu){0} + (stream >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        vu p = u_multiply(c0, 0xD2511F53u), q = u_multiply(c2, 0xCD9E8D57u);
        c0 = (q >> 32) ^ c1 ^ k0;
        c2 = (p >> 32) ^ c3 ^ k1;
        c1 = q;
        c3 = p;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    vu even = (c0 & 0xffffffff) | c1 << 32, odd = (c2 & 0xffffffff) | c3 << 32;
    uint64_t pair[2][BLOCKS];
    memcpy(pair[0], &even, sizeof even);
    memcpy(pair[1], &odd, sizeof odd);
    for (int i = 0; i < 2 * BLOCKS; i++) draw[i] = pair[i % 2][i / 2];
}

// y = draw > limit ? scale·x : 0, plus the old y if add.
INLINE void drop(float *y, const float *x, const uint32_t *draw, uint32_t limit, float scale, int64_t n, int add) {
    for (int64_t j = 0; j < n; j += LANES) {
        vw u;
        memcpy(&u, draw + j, sizeof u);
        vf v = v_get(x + j, n - j) * v_set(scale);
        v = (vf)((vw)v & (vw)(u > limit));
        if (add) v += v_get(y + j, n - j);
        v_put(y + j, v, n - j);
    }
}

static void dropout_task(void *arg, int index, int worker) {
    const lathe_dropout_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    enum { GROUP = 256 }; // draws made before they are used
    uint64_t draw[GROUP / 2];
    (void)worker;
    if (!a->threshold) { // nothing is dropped
        for (int64_t i = at; i < at + n; i++) a->y[i] = a->accumulate ? a->y[i] + a->scale * a->x[i] : a->scale * a->x[i];
        return;
    }
    for (int64_t i = at; i < at + n; i += GROUP) {
        int64_t m = at + n - i < GROUP ? at + n - i : GROUP;
        for (int64_t j = 0; j < GROUP / 4; j += BLOCKS)
            philox((uint64_t)(i / 4 + j), a->stream, a->seed, draw + 2 * j);
        uint32_t word[GROUP];
        memcpy(word, draw, sizeof word); // little-endian: the even element is the lower half
        if (a->accumulate)
            drop(a->y + i, a->x + i, word, (uint32_t)(a->threshold - 1), a->scale, m, 1);
        else
            drop(a->y + i, a->x + i, word, (uint32_t)(a->threshold - 1), a->scale, m, 0);
    }
}

static void dropout(const lathe_dropout_args *a) { lathe_parallel(chunks(a->n), dropout_task, (void *)a); }
