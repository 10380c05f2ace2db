// Rotary position embedding, in place.

static void rope_task(void *arg, int index, int worker) {
    const lathe_rope_args *a = arg;
    int64_t row = a->h * a->d, half = a->rotary / 2;
    int64_t from = index * rows_per_task(row), to = from + rows_per_task(row);
    float sign = a->inverse ? -1.0f : 1.0f;
    (void)worker;
    for (int64_t n = from; n < to && n < a->n; n++) {
        const float *cosine = a->cosine + a->positions[n] * half, *sine = a->sine + a->positions[n] * half;
        for (int64_t h = 0; h < a->h; h++) {
            float *x = a->x + n * row + h * a->d;
            if (a->interleaved) {
                for (int64_t i = 0; i < half; i++) {
                    float u = x[2 * i], v = x[2 * i + 1], s = sign * sine[i];
                    x[2 * i] = u * cosine[i] - v * s;
                    x[2 * i + 1] = v * cosine[i] + u * s;
                }
                continue;
            }
            for (int64_t i = 0; i < half; i += LANES) {
                vf u = v_get(x + i, half - i), v = v_get(x + half + i, half - i);
                vf c = v_get(cosine + i, half - i), s = v_get(sine + i, half - i) * v_set(sign);
                v_put(x + i, u * c - v * s, half - i);
                v_put(x + half + i, v * c + u * s, half - i);
            }
        }
    }
}

static void rope(const lathe_rope_args *a) { lathe_parallel(row_tasks(a->n, a->h * a->d), rope_task, (void *)a); }
