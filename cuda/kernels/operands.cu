// What stands before and after a product: operands made 16 bits wide, parts of sums added up.
#include "operand.h"
#include "product.h"

// widths as in gemm16.h: dst[rows, width] = scale·src[rows, columns], zeros from columns to width, which is a multiple of 8. A thread
// writes 16 bytes. One rounding: of the float that the source is, or that scale times it is.
template <class T> DEV void pack(T *dst, long long ld, const Operand &src, long long rows, int columns, int width, float scale) {
    long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int chunks = width / 8;
    long long row = at / chunks;
    int col = (int)(at - row * chunks) * 8;
    if (row >= rows)
        return;
    float v[8];
    operand_read<8>(v, src, row * src.ld + col, columns - col);
    uint4 out;
    out.x = pack2<T>(__fmul_rn(scale, v[0]), __fmul_rn(scale, v[1]));
    out.y = pack2<T>(__fmul_rn(scale, v[2]), __fmul_rn(scale, v[3]));
    out.z = pack2<T>(__fmul_rn(scale, v[4]), __fmul_rn(scale, v[5]));
    out.w = pack2<T>(__fmul_rn(scale, v[6]), __fmul_rn(scale, v[7]));
    *(uint4 *)(dst + row * ld + col) = out;
}

#define PACK(name, T)                                                                                                                  \
    KERNEL(name, T *dst, long long ld, const void *src, long long ld_src, int kind, int vec, QUANT4_ARGS, long long rows, int columns,  \
           int width, float scale) {                                                                                                   \
        __shared__ float book[16];                                                                                                     \
        if (kind == KIND_QUANT4) {                                                                                                     \
            load_code_book(book, type);                                                                                                   \
            __syncthreads();                                                                                                           \
        }                                                                                                                              \
        Quant4 quant = QUANT4(book);                                                                  \
        pack<T>(dst, ld, Operand{src, ld_src, kind, vec, quant}, rows, columns, width, scale);                                          \
    }
PACK(pack_bf16, bf16_t)
PACK(pack_f16, f16_t)

// C[m,n] = alpha·Σ parts (+ bias) (+ C), the parts added in their order. A thread has four neighbours.
KERNEL(add_parts, RESULT_ARGS, int count) {
    Result r = RESULT;
    int quads = (n + 3) / 4;
    long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x, size = (long long)m * n;
    int row = (int)(at / quads), col = (int)(at % quads) * 4;
    if (at / quads >= m)
        return;
    const float *p = parts + (long long)row * n + col;
    bool whole = n % 4 == 0;
    float sum[4] = {};
    for (int i = 0; i < count; i++, p += size) {
        float v[4] = {};
        if (whole)
            load_vector(v, p);
        else
            for (int j = 0; j < 4; j++)
                v[j] = col + j < n ? p[j] : 0.0f;
        for (int j = 0; j < 4; j++)
            sum[j] = __fadd_rn(sum[j], v[j]);
    }
    r.parts = nullptr;
    result_write<4>(r, 0, row, col, sum);
}
