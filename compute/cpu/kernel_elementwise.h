// Addition, sums of squares, finiteness and the optimiser's step.

static void add_task(void *arg, int index, int worker) {
    const lathe_add_args *a = arg;
    int64_t at = (int64_t)index * CHUNK, n = chunk_length(a->n, index);
    vf scale = v_set(a->scale);
    (void)worker;
    for (int64_t i = 0; i < n; i += LANES)
        v_put(a->y + at + i, v_fma(scale, v_get(a->b + at + i, n - i), v_get(a->a + at + i, n - i)), n - i);
}

static void add(const lathe_add_args *a) { lathe_parallel(chunks(a->n), add_task, (void *)a); }

static void square_sum_task(void *arg, int index, int worker) {
    const lathe_square_sum_args *a = arg;
    int64_t at = (int64_t)index * LATHE_NORM_BLOCK, n = a->n - at;
    double lane[8] = {0}; // a fixed order that a compiler can vectorise
    (void)worker;
    if (n > LATHE_NORM_BLOCK) n = LATHE_NORM_BLOCK;
    const float *x = a->x + at;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++) lane[0] += (double)x[i] * (double)x[i];
    a->partial[index] = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static void square_sum(const lathe_square_sum_args *a) {
    lathe_parallel((int)((a->n + LATHE_NORM_BLOCK - 1) / LATHE_NORM_BLOCK), square_sum_task, (void *)a);
}

static void non_finite_task(void *arg, int index, int worker) {
    const lathe_non_finite_args *a = arg;
    int64_t at = (int64_t)index * LATHE_NORM_BLOCK, n = a->n - at;
    uint32_t bad = 0;
    (void)worker;
    if (n > LATHE_NORM_BLOCK) n = LATHE_NORM_BLOCK;
    const float *x = a->x + at;
    for (int64_t i = 0; i < n; i++) bad |= !(fabsf(x[i]) <= 0x1.fffffep127f);
    a->found[index] = -1;
    for (int64_t i = 0; bad && i < n; i++)
        if (!(fabsf(x[i]) <= 0x1.fffffep127f)) {
            a->found[index] = at + i;
            return;
        }
}

static void non_finite(const lathe_non_finite_args *a) {
    lathe_parallel((int)((a->n + LATHE_NORM_BLOCK - 1) / LATHE_NORM_BLOCK), non_finite_task, (void *)a);
}

static void adamw_chunk(const lathe_adamw_args *a, const lathe_adamw_tensor *t, int64_t at, int64_t n) {
    vf b1 = v_set(a->one_minus_beta1), b2 = v_set(a->beta2), c2 = v_set(a->one_minus_beta2);
    vf step = v_set(a->step_size), correction = v_set(a->sqrt_correction2), eps = v_set(a->eps);
    vf decay = v_set(t->decay), scale = v_set(a->grad_scale);
    for (int64_t i = at; i < at + n; i += LANES) {
        int64_t left = at + n - i;
        vf g = v_get(t->grad + i, left) * scale, m = v_get(t->m + i, left), v = v_get(t->v + i, left);
        vf p = v_get(t->param + i, left) * decay;
        m = m + b1 * (g - m);
        v = v * b2 + c2 * g * g;
        vf denominator = v_sqrt(v) / correction + eps;
        p = p - step * m / denominator;
        v_put(t->m + i, m, left);
        v_put(t->v + i, v, left);
        v_put(t->param + i, p, left);
    }
}

// Chunks are numbered through all tensors, so that many small ones share the threads as well as one big one does.
static void adamw_task(void *arg, int index, int worker) {
    const lathe_adamw_args *a = arg;
    (void)worker;
    for (int64_t i = 0; i < a->ntensors; i++) {
        const lathe_adamw_tensor *t = a->tensors + i;
        if (index < chunks(t->n)) {
            adamw_chunk(a, t, (int64_t)index * CHUNK, chunk_length(t->n, index));
            return;
        }
        index -= chunks(t->n);
    }
}

static void adamw(const lathe_adamw_args *a) {
    int tasks = 0;
    for (int64_t i = 0; i < a->ntensors; i++) tasks += chunks(a->tensors[i].n);
    lathe_parallel(tasks, adamw_task, (void *)a);
}
