// Products in float32: C[m,n] = alpha·(A·B + ext·U·V), with multiply-adds of float32 in the order of k. Layouts as in gemm16.h. The kernels
// called f32 take float32 operands whose rows (and C's) have a multiple of four elements at addresses of a multiple of 16 bytes. Those
// called any take the rest: rows of any length, and a B of any type, read as it is stored (4-bit codes too) and widened on the way to
// shared memory.
//
// A block computes BM×BN of C with BM·BN/(TM·TN) threads, each TM×TN in groups of four rows and four columns; tiles lie in shared memory
// with k across, so that a thread reads its rows and columns as float4. While one tile is multiplied the next one is on its way to
// registers. Tiles of 16 and 32 rows or columns are for the low-rank products of LoRA, which read a long operand once.
#include "operand.h"
#include "product.h"

// Tile32 brings a tile of EXTENT rows or columns and DEPTH of k to shared memory.
template <bool ANY, int EXTENT, int DEPTH, int THREADS, bool ACROSS> struct Tile32 {
    enum { LD = EXTENT + 4, QUADS = EXTENT * DEPTH / 4, EACH = (QUADS + THREADS - 1) / THREADS };

    // place says which four elements a quad is. Where k runs along the rows, two lanes read 32 bytes of a row, the next two the next row's:
    // that fills sectors of memory, and the transposed stores, four rows of shared memory apart, meet no bank twice.
    DEV void place(int quad, int &x, int &y) {
        if (ACROSS)
            x = quad % (EXTENT / 4) * 4, y = quad / (EXTENT / 4);
        else
            x = quad / 2 % EXTENT, y = (quad / (2 * EXTENT) * 2 + quad % 2) * 4;
    }

    DEV void fetch(float (&v)[EACH][4], const Operand &o, int from, int extent, int k0, int k) {
        for (int i = 0; i < EACH; i++) {
            int quad = threadIdx.x + i * THREADS, x, y;
            place(quad, x, y);
            int valid = ACROSS ? (k0 + y < k ? extent - from - x : 0) : (from + x < extent ? k - k0 - y : 0);
            long long at = ACROSS ? (k0 + y) * o.ld + from + x : (from + x) * o.ld + k0 + y;
            if (ANY)
                operand_read<4>(v[i], o, at, quad < QUADS ? valid : 0);
            else if ((QUADS % THREADS == 0 || quad < QUADS) && valid > 0)
                load_vector(v[i], (const float *)o.data + at);
            else
                v[i][0] = v[i][1] = v[i][2] = v[i][3] = 0.0f;
        }
    }

    DEV void store(float *tile, const float (&v)[EACH][4]) {
        for (int i = 0; i < EACH; i++) {
            int quad = threadIdx.x + i * THREADS, x, y;
            place(quad, x, y);
            if (QUADS % THREADS != 0 && quad >= QUADS)
                continue;
            if (ACROSS)
                store_vector(&tile[y * LD + x], v[i]);
            else
                for (int j = 0; j < 4; j++)
                    tile[(y + j) * LD + x] = v[i][j];
        }
    }
};

// Piece32 is one of the two pairs of operands; scale multiplies A's elements.
struct Piece32 {
    Operand a, b;
    int k;
    float scale;
};

template <bool ANY, int BM, int BN, int DEPTH, int TM, int TN, bool A_ACROSS, bool B_ACROSS> struct Gemm32 {
    enum { THREADS = BM / TM * (BN / TN), COLUMNS = BN / TN };
    typedef Tile32<ANY, BM, DEPTH, THREADS, A_ACROSS> A;
    typedef Tile32<ANY, BN, DEPTH, THREADS, B_ACROSS> B;
    enum { A_SIZE = A::LD * DEPTH, SIZE = A_SIZE + B::LD * DEPTH };

    // pick chooses field by field, which leaves them in registers.
    DEV Operand pick(bool first, const Operand &a, const Operand &b) {
        return Operand{first ? a.data : b.data, first ? a.ld : b.ld, first ? a.kind : b.kind, first ? a.vec : b.vec, b.quant};
    }

    DEV void fetch(float (&a)[A::EACH][4], float (&b)[B::EACH][4], int step, const Piece32 &main, const Piece32 &low, const Result &r, int row0, int col0) {
        int first = (main.k + DEPTH - 1) / DEPTH;
        bool extension = step >= first;
        int k0 = (extension ? step - first : step) * DEPTH, k = extension ? low.k : main.k;
        A::fetch(a, pick(extension, low.a, main.a), row0, r.m, k0, k);
        B::fetch(b, pick(extension, low.b, main.b), col0, r.n, k0, k);
        if (extension)
            for (int i = 0; i < A::EACH; i++)
                for (int j = 0; j < 4; j++)
                    a[i][j] = __fmul_rn(a[i][j], low.scale);
    }

    DEV void multiply(float (&sum)[TM][TN], const float *tile) {
        int row = threadIdx.x / COLUMNS * 4, col = threadIdx.x % COLUMNS * 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float a[TM / 4][4], b[TN / 4][4];
            for (int i = 0; i < TM / 4; i++)
                load_vector(a[i], &tile[k * A::LD + row + i * (BM / (TM / 4))]);
            for (int j = 0; j < TN / 4; j++)
                load_vector(b[j], &tile[A_SIZE + k * B::LD + col + j * (BN / (TN / 4))]);
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++)
                    sum[i][j] = fmaf(a[i / 4][i % 4], b[j / 4][j % 4], sum[i][j]);
        }
    }

    // run computes the steps of part blockIdx.y: steps_each steps of DEPTH of main and then of low.
    DEV void run(float (*tile)[SIZE], const Piece32 &main, const Piece32 &low, const Result &r, int steps_each) {
        int2 at = tile_of(blockIdx.x, (r.m + BM - 1) / BM, (r.n + BN - 1) / BN);
        int row0 = at.x * BM, col0 = at.y * BN;
        int all = (main.k + DEPTH - 1) / DEPTH + (low.k + DEPTH - 1) / DEPTH;
        int step = blockIdx.y * steps_each, last = min(all, step + steps_each), now = 0;
        float a[A::EACH][4], b[B::EACH][4], sum[TM][TN] = {};
        if (step < last) {
            fetch(a, b, step, main, low, r, row0, col0);
            A::store(tile[0], a);
            B::store(tile[0] + A_SIZE, b);
        }
        for (; step < last; step++, now ^= 1) {
            __syncthreads();
            if (step + 1 < last)
                fetch(a, b, step + 1, main, low, r, row0, col0);
            multiply(sum, tile[now]);
            if (step + 1 < last) {
                A::store(tile[now ^ 1], a);
                B::store(tile[now ^ 1] + A_SIZE, b);
            }
        }
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int j = 0; j < TN; j += 4) {
                float quad[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
                result_write<4>(r, blockIdx.y, row0 + threadIdx.x / COLUMNS * 4 + i / 4 * (BM / (TM / 4)) + i % 4,
                                col0 + threadIdx.x % COLUMNS * 4 + j / 4 * (BN / (TN / 4)), quad, ANY);
            }
    }
};

// The arguments: vec has a bit for each of A, B, U and V that can be read four elements at a time.
#define GEMM32(name, ANY, BM, BN, DEPTH, TM, TN, BLOCKS, A_ACROSS, B_ACROSS)                                                                    \
    KERNEL_BOUNDS(name, BM / TM * (BN / TN), BLOCKS, RESULT_ARGS, const float *a, long long lda, const void *b, long long ldb, int kind, int k, \
                  QUANT4_ARGS, const float *u, long long ldu, const float *v, long long ldv, float ext, int rank, int vec, int steps_each) {    \
        typedef Gemm32<ANY, BM, BN, DEPTH, TM, TN, A_ACROSS, B_ACROSS> G;                                                                       \
        __shared__ __align__(16) float tile[2][G::SIZE];                                                                                        \
        __shared__ float book[16];                                                                                                              \
        if (ANY && kind == KIND_QUANT4) {                                                                                                       \
            load_code_book(book, type);                                                                                                            \
            __syncthreads();                                                                                                                    \
        }                                                                                                                                       \
        Quant4 quant = QUANT4(book);                                                                          \
        Piece32 main{{a, lda, KIND_F32, vec & 1, {}}, {b, ldb, ANY ? kind : KIND_F32, vec & 2, quant}, k, 1.0f};                                \
        Piece32 low{{u, ldu, KIND_F32, vec & 4, {}}, {v, ldv, KIND_F32, vec & 8, {}}, rank, ext};                                               \
        G::run(tile, main, low, RESULT, steps_each);                                                                                            \
    }

#define GEMM32_TILES(name, A_ACROSS, B_ACROSS)                              \
    GEMM32(name##_128x128, false, 128, 128, 8, 8, 8, 2, A_ACROSS, B_ACROSS) \
    GEMM32(name##_64x64, false, 64, 64, 16, 4, 4, 3, A_ACROSS, B_ACROSS)    \
    GEMM32(name##_128x32, false, 128, 32, 16, 4, 4, 3, A_ACROSS, B_ACROSS)  \
    GEMM32(name##_128x16, false, 128, 16, 16, 4, 4, 4, A_ACROSS, B_ACROSS)

GEMM32_TILES(gemm_f32_nt, false, false)
GEMM32_TILES(gemm_f32_nn, false, true)
GEMM32_TILES(gemm_f32_tn, true, true)
GEMM32(gemm_f32_tn_32x128, false, 32, 128, 16, 4, 4, 3, true, true)
GEMM32(gemm_f32_tn_16x128, false, 16, 128, 16, 4, 4, 4, true, true)
GEMM32(gemm_any_nt_64x64, true, 64, 64, 16, 4, 4, 2, false, false)
GEMM32(gemm_any_nn_64x64, true, 64, 64, 16, 4, 4, 2, false, true)
GEMM32(gemm_any_tn_64x64, true, 64, 64, 16, 4, 4, 2, true, true)
