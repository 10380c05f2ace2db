// Products of 16-bit operands on the tensor cores: C[m,n] = alpha·(A·B + U·V), sums in float. A is stored [m,k] or, transposed, [k,m]; B is
// stored [n,k] or [k,n]; U and V lie as A and B do: the low-rank extension is more of the same sum.
//
// A block computes BM×BN of C, a warp 64×64 (32×32 of the small tile) of it, 32 deep at a time. Tiles come by cp.async into a ring of
// STAGES in shared memory and from there by ldmatrix. A warp tile of 64×64 reads 4 KiB of shared memory for 32 mma: the next larger ratio
// does not fit the registers, the next smaller (64×32) leaves an H100 waiting for shared memory.
//
// Operands have rows of a multiple of 8 elements at addresses of a multiple of 16 bytes. Where k runs along the rows, what is behind k in
// the last eight is 0; where it runs across, rows from k on are not read.
#pragma once
#include "product.h"

enum { DEPTH16 = 32 }; // k of a tile

// Piece16 is one of the two pairs of operands.
template <class T> struct Piece16 {
    const T *a, *b;
    long long lda, ldb;
    int k;
};

// tile_place is where 16 bytes lie in a tile of shared memory: bytes of row and chunk, exchanged so that neither the eight rows of an
// ldmatrix nor the eight chunks that neighbours copy share a bank. ROW is the number of chunks in a row: 4 (k along the row), or more.
template <int ROW> DEV int tile_place(int row, int chunk) {
    int flip = ROW == 4 ? row >> 1 & 3 : row & 7;
    return (row * ROW + (chunk ^ flip)) * 16;
}

// Tile16 copies and reads a tile of an operand that has EXTENT rows (of A) or columns (of B) and DEPTH16 of k.
template <class T, int EXTENT, int THREADS, bool ACROSS> struct Tile16 {
    enum { ROW = ACROSS ? EXTENT / 8 : DEPTH16 / 8, ROWS = ACROSS ? DEPTH16 : EXTENT, BYTES = EXTENT * DEPTH16 * 2, COPIES = ROWS * ROW / THREADS };

    // copy begins the copy of the tile at (from, k0) of an operand with so many rows or columns.
    DEV void copy(unsigned char *tile, const T *p, long long ld, int from, int extent, int k0, int k) {
        int first = threadIdx.x / ROW, chunk = threadIdx.x % ROW;
        for (int i = 0; i < COPIES; i++) {
            int row = first + i * (THREADS / ROW);
            int x = ACROSS ? from + chunk * 8 : from + row, y = ACROSS ? k0 + row : k0 + chunk * 8;
            bool valid = x < extent && y < k;
            const T *src = p + (ACROSS ? y * ld + x : x * ld + y);
            cp_async_16(tile + tile_place<ROW>(row, chunk), valid ? src : p, valid);
        }
    }

    // read gives registers of two 8×8 matrices along the extent times two along k, from (at, k) on. FIRST is which of the two comes first:
    // mma takes A's as (extent, k) = (0,0) (8,0) (0,8) (8,8), and B's as (0,0) (0,8) (8,0) (8,8).
    template <bool EXTENT_FIRST> DEV void read(unsigned (&r)[4], const unsigned char *tile, int at, int k) {
        int lane = threadIdx.x % WARP, one = lane >> 3 & 1, two = lane >> 4;
        int x = at + (EXTENT_FIRST ? one : two) * 8, y = k + (EXTENT_FIRST ? two : one) * 8;
        if (ACROSS)
            ldmatrix_x4_trans(r, tile + tile_place<ROW>(y + lane % 8, x / 8));
        else
            ldmatrix_x4(r, tile + tile_place<ROW>(x + lane % 8, y / 8));
    }
};

template <class T, int BM, int BN, int WM, int WN, int STAGES, bool A_ACROSS, bool B_ACROSS> struct Gemm16 {
    enum { WARPS_N = BN / WN, THREADS = BM / WM * WARPS_N * WARP, MI = WM / 16, NI = WN / 8 };
    typedef Tile16<T, BM, THREADS, A_ACROSS> A;
    typedef Tile16<T, BN, THREADS, B_ACROSS> B;
    enum { STAGE = A::BYTES + B::BYTES, SHARED = STAGES * STAGE };

    struct Fragments {
        unsigned a[MI][4], b[NI][2];
    };

    DEV void copy_stage(unsigned char *ring, int step, const Piece16<T> &main, const Piece16<T> &low, const Result &r, int row0, int col0) {
        int first = (main.k + DEPTH16 - 1) / DEPTH16;
        bool extension = step >= first;
        int k0 = (extension ? step - first : step) * DEPTH16, k = extension ? low.k : main.k;
        unsigned char *tile = ring + step % STAGES * STAGE;
        A::copy(tile, extension ? low.a : main.a, extension ? low.lda : main.lda, row0, r.m, k0, k);
        B::copy(tile + A::BYTES, extension ? low.b : main.b, extension ? low.ldb : main.ldb, col0, r.n, k0, k);
    }

    DEV void read(Fragments &f, const unsigned char *tile, int row, int col, int k) {
        for (int i = 0; i < MI; i++)
            A::template read<true>(f.a[i], tile, row + i * 16, k);
        for (int j = 0; j < NI; j += 2) {
            unsigned r[4];
            B::template read<false>(r, tile + A::BYTES, col + j * 8, k);
            f.b[j][0] = r[0], f.b[j][1] = r[1], f.b[j + 1][0] = r[2], f.b[j + 1][1] = r[3];
        }
    }

    // run computes the steps of part blockIdx.y: steps_each steps of DEPTH16 of main and then of low.
    DEV void run(unsigned char *ring, const Piece16<T> &main, const Piece16<T> &low, const Result &r, int steps_each) {
        int rows = (r.m + BM - 1) / BM, columns = (r.n + BN - 1) / BN;
        int2 tile = tile_of(blockIdx.x, rows, columns);
        int row0 = tile.x * BM, col0 = tile.y * BN, warp = threadIdx.x / WARP;
        int row = warp / WARPS_N * WM, col = warp % WARPS_N * WN;
        int all = (main.k + DEPTH16 - 1) / DEPTH16 + (low.k + DEPTH16 - 1) / DEPTH16;
        int step = blockIdx.y * steps_each, last = min(all, step + steps_each);
#pragma unroll 1
        for (int i = 0; i < STAGES - 1; i++) {
            if (step + i < last)
                copy_stage(ring, step + i, main, low, r, row0, col0);
            cp_async_commit();
        }
        float sum[MI][NI][4] = {};
        Fragments f[2];
        if (step < last) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            read(f[0], ring + step % STAGES * STAGE, row, col, 0);
        }
        for (; step < last; step++) {
            // the stage that is overwritten now is the one before, which all have read before the last barrier
            read(f[1], ring + step % STAGES * STAGE, row, col, 16);
            if (step + STAGES - 1 < last)
                copy_stage(ring, step + STAGES - 1, main, low, r, row0, col0);
            cp_async_commit();
            mma_tile<T>(sum, f[0].a, f[0].b);
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            if (step + 1 < last)
                read(f[0], ring + (step + 1) % STAGES * STAGE, row, col, 0);
            mma_tile<T>(sum, f[1].a, f[1].b);
        }
        write(ring, sum, r, row0 + row, col0 + col);
    }

    // write takes 16 rows at a time through the warp's own part of the ring, so that rows leave in whole lines. A lane has two neighbours of
    // row lane/4 and of the row eight below, of each 16×8; LD puts the four rows of a half warp into banks of their own.
    DEV void write(unsigned char *ring, const float (&sum)[MI][NI][4], const Result &r, int row, int col) {
        enum { LD = WN + 8, QUADS = WN / 4 };
        static_assert(BM / WM * WARPS_N * 16 * LD * 4 <= SHARED, "the ring holds 16 rows of each warp");
        int lane = threadIdx.x % WARP;
        float *own = (float *)ring + threadIdx.x / WARP * 16 * LD;
        cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int i = 0; i < MI; i++) {
            for (int j = 0; j < NI; j++)
                for (int h = 0; h < 2; h++)
                    *(float2 *)&own[(lane / 4 + h * 8) * LD + j * 8 + lane % 4 * 2] = make_float2(sum[i][j][2 * h], sum[i][j][2 * h + 1]);
            __syncwarp();
#pragma unroll 1
            for (int at = lane; at < 16 * QUADS; at += WARP) {
                float quad[4];
                load_vector(quad, &own[at / QUADS * LD + at % QUADS * 4]);
                result_write<4>(r, blockIdx.y, row + i * 16 + at / QUADS, col + at % QUADS * 4, quad);
            }
            __syncwarp();
        }
    }
};

#define GEMM16(name, T, BM, BN, WM, WN, STAGES, BLOCKS, A_ACROSS, B_ACROSS)                                                              \
    KERNEL_BOUNDS(name, BM / WM * (BN / WN) * 32, BLOCKS, RESULT_ARGS, const T *a, long long lda, const T *b, long long ldb, int k, const T *u, \
                  long long ldu, const T *v, long long ldv, int rank, int steps_each) {                                                 \
        DYN_SHARED(unsigned char, ring);                                                                                                \
        Gemm16<T, BM, BN, WM, WN, STAGES, A_ACROSS, B_ACROSS>::run(ring, Piece16<T>{a, b, lda, ldb, k}, Piece16<T>{u, v, ldu, ldv, rank}, \
                                                                   RESULT, steps_each);                                                 \
    }

// The three tiles: for large products; for those that would leave multiprocessors idle with it; for small ones.
#define GEMM16_TILES(name, T, A_ACROSS, B_ACROSS)                                \
    GEMM16(name##_128x256, T, 128, 256, 64, 64, 4, 1, A_ACROSS, B_ACROSS)        \
    GEMM16(name##_128x128, T, 128, 128, 64, 64, 3, 2, A_ACROSS, B_ACROSS)        \
    GEMM16(name##_64x64, T, 64, 64, 32, 32, 4, 4, A_ACROSS, B_ACROSS)
