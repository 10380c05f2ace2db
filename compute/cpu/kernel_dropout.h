// Dropout by Philox-4x32-10 (Salmon et al. 2011): the draws of four elements are one cipher block.

enum { PHILOX_LANES = 16 };

// Encrypts PHILOX_LANES counters (block + lane, stream); draw[w][lane] is word w of a block.
static void philox(uint64_t block, uint64_t stream, uint64_t key, uint32_t draw[4][PHILOX_LANES]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t *c0 = draw[0], *c1 = draw[1], *c2 = draw[2], *c3 = draw[3];
    for (int i = 0; i < PHILOX_LANES; i++) {
        uint64_t counter = block + (uint64_t)i;
        c0[i] = (uint32_t)counter;
        c1[i] = (uint32_t)(counter >> 32);
        c2[i] = (uint32_t)stream;
        c3[i] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < PHILOX_LANES; i++) {
            uint64_t p = (uint64_t)0xD2511F53u * c0[i], q = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(q >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)q;
            c3[i] = (uint32_t)p;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void dropout_task(void *arg, int index, int worker) {
    const lathe_dropout_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    uint32_t draw[4][PHILOX_LANES];
    (void)worker;
    for (int64_t i = 0; i < n; i += 4 * PHILOX_LANES) {
        int64_t m = n - i < 4 * PHILOX_LANES ? n - i : 4 * PHILOX_LANES;
        const float *x = a->x + at + i;
        float *y = a->y + at + i;
        if (a->threshold) philox((uint64_t)(at + i) / 4, a->stream, a->seed, draw);
        for (int64_t j = 0; j < m; j++) {
            float v = !a->threshold || draw[j % 4][j / 4] >= a->threshold ? a->scale * x[j] : 0.0f;
            y[j] = a->accumulate ? y[j] + v : v;
        }
    }
}

static void dropout(const lathe_dropout_args *a) { lathe_parallel(chunks(a->n), dropout_task, (void *)a); }
