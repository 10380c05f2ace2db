// 4-bit quantisation (Dettmers et al. 2023) with the bytes of bitsandbytes 0.50 on the CPU: whole blocks are multiplied by
// 1/absmax, a last short one is divided by it; a code is found by the number of thresholds that lie strictly below.

enum { QUANT4_PIECE = 4096 }; // elements of one task

#if LATHE_TIER == 2
INLINE vf v_pick8(const float *table, vi k) { // k < 8
    return _mm512_permutexvar_ps(k, _mm512_castps256_ps512(_mm256_loadu_ps(table)));
}
INLINE vi v_twice_plus(vi k, vm bit) { return _mm512_mask_sub_epi32(_mm512_add_epi32(k, k), bit, _mm512_add_epi32(k, k), v_iset(-1)); }
#elif LATHE_TIER == 1
INLINE vi v_twice_plus(vi k, vm bit) { return _mm256_sub_epi32(_mm256_add_epi32(k, k), _mm256_castps_si256(bit)); }
#else
INLINE vf v_pick8(const float *table, vi k) { return (vf){table[k[0]], table[k[1]], table[k[2]], table[k[3]]}; }
INLINE vi v_twice_plus(vi k, vm bit) { return k + k - bit; }
#endif

#if LATHE_TIER == 1
INLINE float v_greatest(vf x) {
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}

// quant4_code is the number of thresholds below each element, by a binary search in four steps. Thresholds are looked up within halves of
// a vector, where a shuffle takes a cycle (across them it takes four on AMD's first cores with AVX2): the first comparison chooses between
// the two halves of a level.
INLINE vi quant4_code(vf v, const lathe_code_book *book) {
    const vf upper = v_lt(v_set(book->search[0][0]), v);
    const vf second = v_lt(v_select(upper, v_set(book->search[1][1]), v_set(book->search[1][0])), v);
    vi k = v_twice_plus(v_twice_plus(v_iset(0), upper), second);
    k = v_twice_plus(k, v_lt(_mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)book->search[2]), k), v));
    const vf low = _mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)book->search[3]), k);
    const vf high = _mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)(book->search[3] + 4)), k);
    return v_twice_plus(k, v_lt(v_select(upper, high, low), v));
}

// quant4_pack packs 64 codes into 32 bytes. Packing instructions work within halves, so that the halves of the result are interleaved.
INLINE void quant4_pack(uint8_t *data, const vi k[8]) {
    const __m256i pair = _mm256_set1_epi16(1 << 8 | 16); // of an even code and the odd one behind it
    const __m256i a = _mm256_packus_epi16(_mm256_packs_epi32(k[0], k[1]), _mm256_packs_epi32(k[2], k[3]));
    const __m256i b = _mm256_packus_epi16(_mm256_packs_epi32(k[4], k[5]), _mm256_packs_epi32(k[6], k[7]));
    const __m256i bytes = _mm256_packus_epi16(_mm256_maddubs_epi16(a, pair), _mm256_maddubs_epi16(b, pair));
    const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
    _mm_storeu_si128((void *)data, _mm_unpacklo_epi16(low, high));
    _mm_storeu_si128((void *)(data + 16), _mm_unpackhi_epi16(low, high));
}
#else
INLINE float v_greatest(vf x) { return v_highest(x); }
INLINE vi quant4_code(vf v, const lathe_code_book *book) {
    vi k = v_twice_plus(v_iset(0), v_lt(v_set(book->search[0][0]), v));
    for (int step = 1; step < 4; step++) k = v_twice_plus(k, v_lt(v_pick8(book->search[step], k), v));
    return k;
}

INLINE void quant4_pack(uint8_t *data, const vi k[64 / LANES]) {
    int32_t code[64];
    for (int i = 0; i < 64 / LANES; i++) memcpy(code + i * LANES, k + i, sizeof k[i]);
    for (int i = 0; i < 32; i++) data[i] = (uint8_t)(code[2 * i] << 4 | code[2 * i + 1]);
}
#endif

// data[32] = the codes of 64 elements times scale.
INLINE void quant4_codes(uint8_t *data, const float *x, float scale, const lathe_code_book *book) {
    vi k[64 / LANES];
#pragma GCC unroll 16
    for (int i = 0; i < 64 / LANES; i++) k[i] = quant4_code(v_load(x + i * LANES) * v_set(scale), book);
    quant4_pack(data, k);
    if (!book->sorted)
        for (int i = 0; i < 32; i++) data[i] = (uint8_t)(book->order[data[i] >> 4] << 4 | book->order[data[i] & 15]);
}

INLINE float quant4_absmax(const float *x, int64_t n) {
    vf top = v_zero();
    for (int64_t i = 0; i < n; i += LANES) top = v_max(v_abs(v_get(x + i, n - i)), top);
    return v_highest(top);
}

// quant4_scales writes the largest magnitude of each whole block, one block after the other before any is coded: a block's codes wait long
// for its scale.
INLINE void quant4_scales(float *absmax, const float *x, int64_t blocks, int64_t block) {
    for (int64_t b = 0; b < blocks; b++) {
        vf top[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int64_t i = 0; i < block; i += 64, x += 64) {
#pragma GCC unroll 16
            for (int j = 0; j < 64 / LANES; j++) top[j % 4] = v_max(v_abs(v_load(x + j * LANES)), top[j % 4]);
        }
        absmax[b] = v_greatest(v_max(v_max(top[0], top[1]), v_max(top[2], top[3])));
    }
}

static void quant4_blocks(const lathe_quantize4_args *a, const float *x, int64_t e, int64_t blocks) {
    float *absmax = a->absmax + e / a->block;
    quant4_scales(absmax, x, blocks, a->block);
    for (int64_t b = 0; b < blocks; b++) {
        const float scale = 1.0f / (absmax[b] > 1e-38f ? absmax[b] : 1e-38f); // the lower bound is bitsandbytes'
        for (int64_t i = 0; i < a->block; i += 64, x += 64, e += 64) quant4_codes(a->data + e / 2, x, scale, a->book);
    }
}

// quant4_tail codes a block of other than a multiple of 64 elements.
static void quant4_tail(const lathe_quantize4_args *a, const float *x, int64_t e, int64_t n) {
    const float absmax = quant4_absmax(x, n), least = absmax > 1e-38f ? absmax : 1e-38f;
    const int whole = n == a->block;
    a->absmax[e / a->block] = whole ? absmax : least;
    const vf inverse = v_set(1.0f / least), divisor = v_set(least);
    for (int64_t i = 0; i < n; i += 64) {
        const int64_t some = n - i < 64 ? n - i : 64;
        float scaled[64] = {0};
        uint8_t codes[32];
        for (int64_t j = 0; j < some; j += LANES) {
            const vf v = v_get(x + i + j, some - j);
            v_store(scaled + j, whole ? v * inverse : v / divisor);
        }
        quant4_codes(codes, scaled, 1, a->book);
        memcpy(a->data + (e + i) / 2, codes, (size_t)(some + 1) / 2);
    }
}

static void quantize4_task(void *arg, int index, int worker) {
    const lathe_quantize4_args *a = arg;
    float x[QUANT4_PIECE];
    int64_t e = (int64_t)index * QUANT4_PIECE, n = a->n - e < QUANT4_PIECE ? a->n - e : QUANT4_PIECE;
    (void)worker;
    gemm_kernels_in_use(0)->convert(x, &a->src, e, n);
    const int64_t blocks = a->block % 64 == 0 ? n / a->block : 0;
    quant4_blocks(a, x, e, blocks);
    for (int64_t b = blocks * a->block; b < n; b += a->block) quant4_tail(a, x + b, e + b, n - b < a->block ? n - b : a->block);
}

static void quantize4(const lathe_quantize4_args *a) {
    lathe_parallel((int)((a->n + QUANT4_PIECE - 1) / QUANT4_PIECE), quantize4_task, (void *)a);
}
