// What works on columns of a matrix: groups of them copied (fused projections), and each times its own number (DoRA).

static void copy_blocks_task(void *arg, int index, int worker) {
    const lathe_copy_blocks_args *a = arg;
    int64_t row = a->groups * a->width, from = index * rows_per_task(row), to = from + rows_per_task(row);
    (void)worker;
    if (to > a->n) to = a->n;
    for (int64_t g = from * a->groups; g < to * a->groups; g++)
        memcpy(a->dst + g * a->dst_width + a->dst_at, a->src + g * a->src_width + a->src_at, (size_t)a->width * sizeof(float));
}

static void copy_blocks(const lathe_copy_blocks_args *a) {
    lathe_parallel(row_tasks(a->n, a->groups * a->width), copy_blocks_task, (void *)a);
}

static void scale_columns_task(void *arg, int index, int worker) {
    const lathe_scale_columns_args *a = arg;
    int64_t from = index * rows_per_task(a->c), to = from + rows_per_task(a->c), c = a->c;
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        const float *x = a->x + n * c;
        float *y = a->y + n * c;
        for (int64_t i = 0; i < c; i += LANES) {
            vf v = v_get(x + i, c - i) * v_get(a->s + i, c - i);
            if (a->accumulate) v += v_get(y + i, c - i);
            v_put(y + i, v, c - i);
        }
    }
}

static void scale_columns(const lathe_scale_columns_args *a) {
    lathe_parallel(row_tasks(a->n, a->c), scale_columns_task, (void *)a);
}

// As the norms' weights: columns are divided among tasks, blocks of rows are summed by themselves.
static void scale_columns_backward_task(void *arg, int index, int worker) {
    const lathe_scale_columns_backward_args *a = arg;
    int64_t from = (int64_t)index * WEIGHT_COLUMNS, to = from + WEIGHT_COLUMNS, c = a->c;
    (void)worker;
    for (int64_t i = from; i < to && i < c; i += LANES) {
        vf total = v_zero();
        for (int64_t block = 0; block < a->n; block += ROW_BLOCK) {
            vf sum = v_zero();
            for (int64_t n = block; n < block + ROW_BLOCK && n < a->n; n++)
                sum = v_fma(v_get(a->dy + n * c + i, c - i), v_get(a->x + n * c + i, c - i), sum);
            total += sum;
        }
        v_put(a->ds + i, v_get(a->ds + i, c - i) + total, c - i);
    }
}

static void scale_columns_backward(const lathe_scale_columns_backward_args *a) {
    if (a->ds) // first: dx may overwrite dy
        lathe_parallel((int)((a->c + WEIGHT_COLUMNS - 1) / WEIGHT_COLUMNS), scale_columns_backward_task, (void *)a);
    if (a->dx) scale_columns(&(lathe_scale_columns_args){.y = a->dx, .x = a->dy, .s = a->s, .n = a->n, .c = a->c});
}
