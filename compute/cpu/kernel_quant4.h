// 4-bit quantisation (Dettmers et al. 2023) with the bytes of bitsandbytes 0.50 on the CPU: whole blocks are multiplied by
// 1/absmax, a last short one is divided by it; a code is found by the number of thresholds that lie strictly below.

enum { QUANT4_PIECE = 4096 }; // elements of one task

#if LATHE_TIER == 2
INLINE vf v_pick8(const float *table, vi k) { // k < 8
    return _mm512_permutexvar_ps(k, _mm512_castps256_ps512(_mm256_loadu_ps(table)));
}
INLINE vi v_twice_plus(vi k, vm bit) { return _mm512_mask_sub_epi32(_mm512_add_epi32(k, k), bit, _mm512_add_epi32(k, k), v_iset(-1)); }
INLINE void v_istore(int32_t *p, vi x) { _mm512_storeu_si512(p, x); }
#elif LATHE_TIER == 1
INLINE vf v_pick8(const float *table, vi k) { return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), k); }
INLINE vi v_twice_plus(vi k, vm bit) { return _mm256_sub_epi32(_mm256_add_epi32(k, k), _mm256_castps_si256(bit)); }
INLINE void v_istore(int32_t *p, vi x) { _mm256_storeu_si256((void *)p, x); }
#else
INLINE vf v_pick8(const float *table, vi k) { return (vf){table[k[0]], table[k[1]], table[k[2]], table[k[3]]}; }
INLINE vi v_twice_plus(vi k, vm bit) { return k + k - bit; }
INLINE void v_istore(int32_t *p, vi x) { memcpy(p, &x, sizeof x); }
#endif

// data[32] = the codes of 64 scaled elements, by a binary search in four steps.
static void quant4_codes(uint8_t *data, const float *x, const lathe_code_book *book) {
    int32_t code[64];
    for (int i = 0; i < 64; i += LANES) {
        vf v = v_load(x + i);
        vi k = v_twice_plus(v_iset(0), v_lt(v_set(book->search[0][0]), v));
        for (int step = 1; step < 4; step++) k = v_twice_plus(k, v_lt(v_pick8(book->search[step], k), v));
        v_istore(code + i, k);
    }
    for (int i = 0; i < 32; i++) data[i] = (uint8_t)(code[2 * i] << 4 | code[2 * i + 1]);
    if (!book->sorted)
        for (int i = 0; i < 32; i++) data[i] = (uint8_t)(book->order[data[i] >> 4] << 4 | book->order[data[i] & 15]);
}

static void quant4_block(const lathe_quantize4_args *a, const float *x, int64_t e, int64_t n) {
    vf top = v_zero();
    for (int64_t i = 0; i < n; i += LANES) top = v_max(v_abs(v_get(x + i, n - i)), top);
    float absmax = v_highest(top), least = absmax > 1e-38f ? absmax : 1e-38f; // the lower bound is bitsandbytes'
    int whole = n == a->block;
    a->absmax[e / a->block] = whole ? absmax : least;
    vf inverse = v_set(1.0f / least), divisor = v_set(least);
    for (int64_t i = 0; i < n; i += 64) {
        int64_t some = n - i < 64 ? n - i : 64;
        float scaled[64] = {0};
        uint8_t codes[32];
        for (int64_t j = 0; j < some; j += LANES) {
            vf v = v_get(x + i + j, some - j);
            v_store(scaled + j, whole ? v * inverse : v / divisor);
        }
        quant4_codes(codes, scaled, a->book);
        memcpy(a->data + (e + i) / 2, codes, (size_t)(some + 1) / 2);
    }
}

static void quantize4_task(void *arg, int index, int worker) {
    const lathe_quantize4_args *a = arg;
    float x[QUANT4_PIECE];
    int64_t e = (int64_t)index * QUANT4_PIECE, n = a->n - e < QUANT4_PIECE ? a->n - e : QUANT4_PIECE;
    (void)worker;
    gemm_kernels_in_use(0)->convert(x, &a->src, e, n);
    for (int64_t b = 0; b < n; b += a->block) quant4_block(a, x + b, e + b, n - b < a->block ? n - b : a->block);
}

static void quantize4(const lathe_quantize4_args *a) {
    lathe_parallel((int)((a->n + QUANT4_PIECE - 1) / QUANT4_PIECE), quantize4_task, (void *)a);
}
