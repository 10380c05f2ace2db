// RMSNorm and LayerNorm over rows. Statistics are vectors of float sums: 16 lanes over a few thousand elements keep the
// error of a mean below that of its own rounding.

static void rms_norm_task(void *arg, int index, int worker) {
    const lathe_rms_norm_args *a = arg;
    int64_t from = index * rows_per_task(a->c), to = from + rows_per_task(a->c), c = a->c;
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        const float *x = a->x + n * c;
        float *y = a->y + n * c;
        vf sum = v_zero();
        for (int64_t i = 0; i < c; i += LANES) {
            vf v = v_get(x + i, c - i);
            sum = v_fma(v, v, sum);
        }
        float rstd = 1.0f / sqrtf(v_sum(sum) / (float)c + a->eps);
        vf r = v_set(rstd), offset = v_set(a->offset);
        for (int64_t i = 0; i < c; i += LANES)
            v_put(y + i, v_get(x + i, c - i) * r * (v_get(a->w + i, c - i) + offset), c - i);
        if (a->rstd) a->rstd[n] = rstd;
    }
}

static void rms_norm(const lathe_rms_norm_args *a) { lathe_parallel(row_tasks(a->n, a->c), rms_norm_task, (void *)a); }

// Gradients of weights are sums over rows: each task owns some columns and adds blocks of rows, each block summed by
// itself first, which keeps the error of long sums small.
enum { ROW_BLOCK = 128, WEIGHT_COLUMNS = 8 * LANES };

static void rms_norm_weight_task(void *arg, int index, int worker) {
    const lathe_rms_norm_backward_args *a = arg;
    int64_t from = (int64_t)index * WEIGHT_COLUMNS, to = from + WEIGHT_COLUMNS, c = a->c;
    (void)worker;
    for (int64_t i = from; i < to && i < c; i += LANES) {
        vf total = v_zero();
        for (int64_t block = 0; block < a->n; block += ROW_BLOCK) {
            vf sum = v_zero();
            for (int64_t n = block; n < block + ROW_BLOCK && n < a->n; n++) {
                vf xhat = v_get(a->x + n * c + i, c - i) * v_set(a->rstd[n]);
                sum = v_fma(v_get(a->dy + n * c + i, c - i), xhat, sum);
            }
            total += sum;
        }
        v_put(a->dw + i, v_get(a->dw + i, c - i) + total, c - i);
    }
}

// dx = rstd·(dy·w) - x·rstd³/c·Σ(dy·w·x)
static void rms_norm_backward_task(void *arg, int index, int worker) {
    const lathe_rms_norm_backward_args *a = arg;
    int64_t from = index * rows_per_task(a->c), to = from + rows_per_task(a->c), c = a->c;
    vf offset = v_set(a->offset);
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        const float *x = a->x + n * c, *dy = a->dy + n * c;
        float *dx = a->dx + n * c, rstd = a->rstd[n];
        vf sum = v_zero();
        for (int64_t i = 0; i < c; i += LANES) {
            vf g = v_get(dy + i, c - i) * (v_get(a->w + i, c - i) + offset);
            sum = v_fma(g, v_get(x + i, c - i), sum);
        }
        vf k = v_set(-(v_sum(sum) * rstd * rstd * rstd / (float)c)), r = v_set(rstd);
        for (int64_t i = 0; i < c; i += LANES) {
            vf g = v_get(dy + i, c - i) * (v_get(a->w + i, c - i) + offset);
            vf d = v_fma(v_get(x + i, c - i), k, g * r);
            if (a->accumulate) d += v_get(dx + i, c - i);
            v_put(dx + i, d, c - i);
        }
    }
}

static void rms_norm_backward(const lathe_rms_norm_backward_args *a) {
    // The weight first: dx may overwrite dy.
    if (a->dw) lathe_parallel((int)((a->c + WEIGHT_COLUMNS - 1) / WEIGHT_COLUMNS), rms_norm_weight_task, (void *)a);
    lathe_parallel(row_tasks(a->n, a->c), rms_norm_backward_task, (void *)a);
}

static void layer_norm_task(void *arg, int index, int worker) {
    const lathe_layer_norm_args *a = arg;
    int64_t from = index * rows_per_task(a->c), to = from + rows_per_task(a->c), c = a->c;
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        const float *x = a->x + n * c;
        float *y = a->y + n * c;
        vf sum = v_zero(), square = v_zero();
        for (int64_t i = 0; i < c; i += LANES) sum += v_get(x + i, c - i);
        float mean = v_sum(sum) / (float)c;
        vf m = v_set(mean);
        for (int64_t i = 0; i < c; i += LANES) {
            vf d = v_get(x + i, c - i) - m;
            if (c - i < LANES) { // lanes beyond the row hold -mean
                float lane[LANES] = {0};
                v_store_head(lane, d, c - i);
                d = v_load(lane);
            }
            square = v_fma(d, d, square);
        }
        float rstd = 1.0f / sqrtf(v_sum(square) / (float)c + a->eps);
        vf r = v_set(rstd);
        for (int64_t i = 0; i < c; i += LANES) {
            vf v = (v_get(x + i, c - i) - m) * r * v_get(a->w + i, c - i);
            if (a->bias) v += v_get(a->bias + i, c - i);
            v_put(y + i, v, c - i);
        }
        if (a->mean) a->mean[n] = mean;
        if (a->rstd) a->rstd[n] = rstd;
    }
}

static void layer_norm(const lathe_layer_norm_args *a) {
    lathe_parallel(row_tasks(a->n, a->c), layer_norm_task, (void *)a);
}

static void layer_norm_weight_task(void *arg, int index, int worker) {
    const lathe_layer_norm_backward_args *a = arg;
    int64_t from = (int64_t)index * WEIGHT_COLUMNS, to = from + WEIGHT_COLUMNS, c = a->c;
    (void)worker;
    for (int64_t i = from; i < to && i < c; i += LANES) {
        vf weight = v_zero(), bias = v_zero();
        for (int64_t block = 0; block < a->n; block += ROW_BLOCK) {
            vf dw = v_zero(), db = v_zero();
            for (int64_t n = block; n < block + ROW_BLOCK && n < a->n; n++) {
                vf dy = v_get(a->dy + n * c + i, c - i);
                vf xhat = (v_get(a->x + n * c + i, c - i) - v_set(a->mean[n])) * v_set(a->rstd[n]);
                dw = v_fma(dy, xhat, dw);
                db += dy;
            }
            weight += dw;
            bias += db;
        }
        if (a->dw) v_put(a->dw + i, v_get(a->dw + i, c - i) + weight, c - i);
        if (a->dbias) v_put(a->dbias + i, v_get(a->dbias + i, c - i) + bias, c - i);
    }
}

// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·w
static void layer_norm_backward_task(void *arg, int index, int worker) {
    const lathe_layer_norm_backward_args *a = arg;
    int64_t from = index * rows_per_task(a->c), to = from + rows_per_task(a->c), c = a->c;
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        const float *x = a->x + n * c, *dy = a->dy + n * c;
        float *dx = a->dx + n * c;
        vf sum = v_zero(), dot = v_zero(), mean = v_set(a->mean[n]), rstd = v_set(a->rstd[n]);
        for (int64_t i = 0; i < c; i += LANES) { // g is zero in lanes beyond the row
            vf g = v_get(dy + i, c - i) * v_get(a->w + i, c - i);
            sum += g;
            dot = v_fma(g, (v_get(x + i, c - i) - mean) * rstd, dot);
        }
        vf s = v_set(v_sum(sum) / (float)c), t = v_set(v_sum(dot) / (float)c);
        for (int64_t i = 0; i < c; i += LANES) {
            vf g = v_get(dy + i, c - i) * v_get(a->w + i, c - i);
            vf d = (g - s - (v_get(x + i, c - i) - mean) * rstd * t) * rstd;
            if (a->accumulate) d += v_get(dx + i, c - i);
            v_put(dx + i, d, c - i);
        }
    }
}

static void layer_norm_backward(const lathe_layer_norm_backward_args *a) {
    if (a->dw || a->dbias) // first: dx may overwrite dy
        lathe_parallel((int)((a->c + WEIGHT_COLUMNS - 1) / WEIGHT_COLUMNS), layer_norm_weight_task, (void *)a);
    lathe_parallel(row_tasks(a->n, a->c), layer_norm_backward_task, (void *)a);
}
