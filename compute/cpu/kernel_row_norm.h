// Lengths of the rows of a weight with its low-rank product added, a tile at a time: neither a widened weight nor a product
// of its size ever exists.

enum { NORM_ROWS = 16, NORM_COLUMNS = 256 };

// tile[rows, NORM_COLUMNS] = W + scale·V·U for columns from … from+n.
static void row_norm_tile(const lathe_row_norm_args *a, int64_t row, int64_t rows, int64_t from, int64_t n, float *tile) {
    float added[NORM_ROWS * NORM_COLUMNS];
    int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < rows; i++)
        gemm_kernels_in_use(0)->convert(tile + i * NORM_COLUMNS, &a->w, (row + i) * a->in + from, n);
    if (a->r == 0) return;
    product(0, rows, whole, a->r, a->v + row * a->r, a->r, a->u + from, a->in, added, NORM_COLUMNS);
    for (int64_t i = 0; i < rows; i++) {
        const float *v = a->v + (row + i) * a->r;
        float *sum = added + i * NORM_COLUMNS;
        for (int64_t j = whole; j < n; j++) {
            sum[j] = 0;
            for (int64_t k = 0; k < a->r; k++) sum[j] += v[k] * a->u[k * a->in + from + j];
        }
        for (int64_t j = 0; j < n; j++) tile[i * NORM_COLUMNS + j] += a->scale * sum[j];
    }
}

static void row_norm_task(void *arg, int index, int worker) {
    const lathe_row_norm_args *a = arg;
    int64_t row = (int64_t)index * NORM_ROWS, rows = a->out - row < NORM_ROWS ? a->out - row : NORM_ROWS;
    float tile[NORM_ROWS * NORM_COLUMNS];
    double lane[NORM_ROWS][8] = {{0}}; // squares in double, in a fixed order that a compiler can vectorise
    (void)worker;
    for (int64_t from = 0; from < a->in; from += NORM_COLUMNS) {
        int64_t n = a->in - from < NORM_COLUMNS ? a->in - from : NORM_COLUMNS;
        row_norm_tile(a, row, rows, from, n, tile);
        for (int64_t i = 0; i < rows; i++) {
            const float *x = tile + i * NORM_COLUMNS;
            int64_t j = 0;
            for (; j + 8 <= n; j += 8)
                for (int l = 0; l < 8; l++) lane[i][l] += (double)x[j + l] * (double)x[j + l];
            for (; j < n; j++) lane[i][0] += (double)x[j] * (double)x[j];
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        const double *s = lane[i];
        a->y[row + i] = (float)sqrt(((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])));
    }
}

static void row_norm(const lathe_row_norm_args *a) {
    lathe_parallel((int)((a->out + NORM_ROWS - 1) / NORM_ROWS), row_norm_task, (void *)a);
}
