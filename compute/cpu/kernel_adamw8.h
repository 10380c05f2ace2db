// AdamW with 8-bit moments (Dettmers et al. 2022), in the order of operations of bitsandbytes 0.50 on the CPU, which is that of
// torch's kernels: m = fma(1-β1, g, β1·m), v = fma((1-β2)·g, g, β2·v), p = decay·p - step·m/(√v/correction + eps). Parameters
// take the moments before they are rounded to codes again.

// One rounding, in every tier: the last bit decides codes and scales.
INLINE vf v_fused(vf a, vf b, vf c) {
#if LATHE_TIER > 0
    return v_fma(a, b, c);
#else
    for (int i = 0; i < LANES; i++) c[i] = (float)((double)a[i] * (double)b[i] + (double)c[i]); // the product is exact
    return c;
#endif
}

static void adamw8_decode(float *x, const uint8_t *codes, const float *map, float absmax, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = map[codes[i]] * absmax;
}

// A block of zeros has code 0, whatever that stands for: its scale is 0.
static void adamw8_encode(uint8_t *codes, float *absmax, const uint8_t *table, const float *x, int64_t n) {
    vf highest = v_zero();
    for (int64_t i = 0; i < n; i += LANES) highest = v_max(v_abs(v_get(x + i, n - i)), highest);
    float top = v_highest(highest), inverse = top > 0 ? 1.0f / top : 0;
    *absmax = top;
    for (int64_t i = 0; i < n; i++) {
        float s = x[i] * inverse;
        s = s > 1 ? 1 : s >= -1 ? s : -1; // a NaN must not index
        codes[i] = top > 0 ? table[(int)((s + 1.0f) * 32767.5f + 0.5f)] : 0;
    }
}

static void adamw8_block(const lathe_adamw8_args *a, const lathe_adamw8_tensor *t, int64_t block) {
    float m[LATHE_ADAMW8_BLOCK], v[LATHE_ADAMW8_BLOCK];
    int64_t at = block * LATHE_ADAMW8_BLOCK, n = t->n - at < LATHE_ADAMW8_BLOCK ? t->n - at : LATHE_ADAMW8_BLOCK;
    vf beta1 = v_set(a->beta1), beta2 = v_set(a->beta2), one1 = v_set(a->one_minus_beta1), one2 = v_set(a->one_minus_beta2);
    vf step = v_set(a->step_size), correction = v_set(a->sqrt_correction2), eps = v_set(a->eps);
    vf decay = v_set(t->decay), scale = v_set(a->grad_scale);
    adamw8_decode(m, t->m + at, a->m_map, t->m_absmax[block], n);
    adamw8_decode(v, t->v + at, a->v_map, t->v_absmax[block], n);
    for (int64_t i = 0; i < n; i += LANES) {
        vf g = v_get(t->grad + at + i, n - i) * scale;
        vf first = v_fused(one1, g, v_get(m + i, n - i) * beta1), second = v_fused(one2 * g, g, v_get(v + i, n - i) * beta2);
        vf p = v_get(t->param + at + i, n - i) * decay;
        p = p - step * first / (v_sqrt(second) / correction + eps);
        v_put(t->param + at + i, p, n - i);
        v_put(m + i, first, n - i);
        v_put(v + i, second, n - i);
    }
    adamw8_encode(t->m + at, t->m_absmax + block, a->m_table, m, n);
    adamw8_encode(t->v + at, t->v_absmax + block, a->v_table, v, n);
}

// Chunks are numbered through all tensors, as adamw's.
static void adamw8_task(void *arg, int index, int worker) {
    const lathe_adamw8_args *a = arg;
    (void)worker;
    for (int64_t i = 0; i < a->ntensors; i++) {
        const lathe_adamw8_tensor *t = a->tensors + i;
        if (index < chunks(t->n)) {
            int64_t from = (int64_t)index * (CHUNK / LATHE_ADAMW8_BLOCK), to = from + CHUNK / LATHE_ADAMW8_BLOCK;
            for (int64_t b = from; b < to && b * LATHE_ADAMW8_BLOCK < t->n; b++) adamw8_block(a, t, b);
            return;
        }
        index -= chunks(t->n);
    }
}

static void adamw8(const lathe_adamw8_args *a) {
    int tasks = 0;
    lathe_dynamic_table(a->m_table, a->m_map);
    lathe_dynamic_table(a->v_table, a->v_map);
    for (int64_t i = 0; i < a->ntensors; i++) tasks += chunks(a->tensors[i].n);
    lathe_parallel(tasks, adamw8_task, (void *)a);
}
