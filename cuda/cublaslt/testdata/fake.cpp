// A cuBLASLt whose device memory is the host's, for the emulated device: what the package calls, column-major, one number after the other.
// With BROKEN one element is wrong. It refuses what a real one would: a leading dimension below the rows, an operand that is not aligned as was promised.
#include <cstdint>
#include <cstring>

struct Desc { int compute, scale, trans_a, trans_b, epilogue; const float *bias; };
struct Layout { int type; uint64_t rows, cols; int64_t ld; };
struct Pref { uint32_t reductions, align[4]; };
struct Result { uint64_t algo[8], workspace; int state; float waves; int reserved[4]; };

#define API extern "C" __attribute__((visibility("default")))

API int cublasLtCreate(void **h) { *h = new int(7); return 0; }
API int cublasLtDestroy(void *h) { delete (int *)h; return 0; }
API size_t cublasLtGetVersion() { return 130000; }
API int cublasLtMatmulDescCreate(Desc **d, int compute, int scale) { *d = new Desc{compute, scale, 0, 0, 1, nullptr}; return compute == 68 && scale == 0 ? 0 : 7; }
API int cublasLtMatmulDescDestroy(Desc *d) { delete d; return 0; }
API int cublasLtMatmulDescSetAttribute(Desc *d, int attribute, const void *value, size_t size) {
    if (attribute == 8) {
        memcpy(&d->bias, value, sizeof d->bias);
        return size == 8 ? 0 : 7;
    }
    int *at = attribute == 3 ? &d->trans_a : attribute == 4 ? &d->trans_b : attribute == 7 ? &d->epilogue : nullptr;
    if (!at || size != 4)
        return 7;
    memcpy(at, value, 4);
    return 0;
}
API int cublasLtMatrixLayoutCreate(Layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    *l = new Layout{type, rows, cols, ld};
    return (uint64_t)ld >= rows ? 0 : 7;
}
API int cublasLtMatrixLayoutDestroy(Layout *l) { delete l; return 0; }
API int cublasLtMatmulPreferenceCreate(Pref **p) { *p = new Pref{7, {256, 256, 256, 256}}; return 0; }
API int cublasLtMatmulPreferenceDestroy(Pref *p) { delete p; return 0; }
API int cublasLtMatmulPreferenceSetAttribute(Pref *p, int attribute, const void *value, size_t size) {
    uint32_t *at = attribute == 3 ? &p->reductions : attribute >= 5 && attribute < 9 ? &p->align[attribute - 5] : nullptr;
    if (!at || size != 4)
        return 7;
    memcpy(at, value, 4);
    return 0;
}
API int cublasLtMatmulAlgoGetHeuristic(void *, Desc *, Layout *, Layout *, Layout *, Layout *, Pref *p, int wanted, Result *r, int *found) {
    if (wanted < 1 || p->reductions)
        return 7;
    memset(r, 0, sizeof *r);
    for (int i = 0; i < 4; i++)
        r->algo[i] = p->align[i];
    *found = 1;
    return 0;
}

static float element(const void *p, const Layout *l, bool transposed, uint64_t row, uint64_t col) {
    uint64_t at = transposed ? col + row * l->ld : row + col * l->ld;
    if (l->type == 14) {
        uint32_t u = (uint32_t)((const uint16_t *)p)[at] << 16;
        float f;
        memcpy(&f, &u, 4);
        return f;
    }
    return (float)((const _Float16 *)p)[at];
}

API int cublasLtMatmul(void *handle, Desc *d, const float *alpha, const void *a, Layout *la, const void *b, Layout *lb, const float *beta,
                       const float *c, Layout *lc, float *out, Layout *ld, const uint64_t *algo, void *, size_t workspace, void *) {
    const void *p[] = {a, b, c, out};
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)p[i] % algo[i])
            return 7;
    uint64_t m = d->trans_a ? la->cols : la->rows, k = d->trans_a ? la->rows : la->cols, n = d->trans_b ? lb->rows : lb->cols;
    if (*(int *)handle != 7 || workspace || m != ld->rows || n != ld->cols || k != (d->trans_b ? lb->cols : lb->rows))
        return 7;
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t i = 0; i < m; i++) {
            float sum = 0;
            for (uint64_t l = 0; l < k; l++)
                sum += element(a, la, d->trans_a, i, l) * element(b, lb, d->trans_b, l, j);
#ifdef BROKEN
            sum += i == 3 && j == 5;
#endif
            float v = *alpha * sum + (d->epilogue == 4 ? d->bias[i] : 0.0f);
            out[i + j * ld->ld] = *beta == 0 ? v : v + *beta * c[i + j * lc->ld];
        }
    return 0;
}
