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

// Tile16 copies and reads tiles of an operand: EXTENT rows (of A) or columns (of B), DEPTH16 of k. It holds where a thread's copies are at:
// COPIES of 16 bytes a tile, DOWN rows of the tile apart.
template <class T, int EXTENT, int THREADS, bool ACROSS> struct Tile16 {
    enum { ROW = ACROSS ? EXTENT / 8 : DEPTH16 / 8, ROWS = ACROSS ? DEPTH16 : EXTENT, BYTES = EXTENT * DEPTH16 * 2, COPIES = ROWS * ROW / THREADS, DOWN = THREADS / ROW };
    static_assert(THREADS % ROW == 0 && DOWN % 8 == 0, "a thread's copies have one column and one place in the exchange of chunks");

    const T *at;
    long long ld;
    int k, rows; // what is left of k, and of rows where k runs along them

    // start goes to the tile at (from, k0) of an operand with so many rows or columns.
    DEV void start(Tile16 &c, const T *p, long long ld, int from, int extent, int k0, int k) {
        int row = threadIdx.x / ROW, chunk = threadIdx.x % ROW * 8;
        c.ld = ld;
        if (ACROSS) {
            c.at = p + (k0 + row) * ld + from + chunk;
            c.k = from + chunk < extent ? k - k0 - row : 0;
        } else {
            c.at = p + (from + row) * ld + k0 + chunk;
            c.k = k - k0 - chunk, c.rows = extent - from - row;
        }
    }

    // copy begins a tile's copies and goes to the next tile.
    DEV void copy(Tile16 &c, unsigned char *tile) {
        int place = tile_place<ROW>(threadIdx.x / ROW, threadIdx.x % ROW);
#pragma unroll
        for (int i = 0; i < COPIES; i++)
            cp_async_16(tile + place + i * DOWN * ROW * 16, c.at + i * DOWN * c.ld, ACROSS ? c.k > i * DOWN : c.k > 0 && c.rows > i * DOWN);
        c.at += ACROSS ? DEPTH16 * c.ld : DEPTH16;
        c.k -= DEPTH16;
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

    // Copies is where both operands' copies are at: the number of the next step, and of the first one of low.
    struct Copies {
        A a;
        B b;
        int step, low;
    };

    DEV void start(Copies &c, const Piece16<T> &p, const Result &r, int row0, int col0, int step) {
        A::start(c.a, p.a, p.lda, row0, r.m, step * DEPTH16, p.k);
        B::start(c.b, p.b, p.ldb, col0, r.n, step * DEPTH16, p.k);
    }

    DEV void copy(Copies &c, unsigned char *stage, const Piece16<T> &low, const Result &r, int row0, int col0) {
        if (c.step == c.low)
            start(c, low, r, row0, col0, 0);
        A::copy(c.a, stage);
        B::copy(c.b, stage + A::BYTES);
        c.step++;
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
        int first = (main.k + DEPTH16 - 1) / DEPTH16, step = blockIdx.y * steps_each;
        int left = min(first + (low.k + DEPTH16 - 1) / DEPTH16 - step, steps_each), to_copy = left, now = 0;
        Copies c;
        c.step = step, c.low = first;
        start(c, step < first ? main : low, r, row0, col0, step < first ? step : step - first);
#pragma unroll 1
        for (int i = 0; i < STAGES - 1; i++) {
            if (to_copy-- > 0)
                copy(c, ring + i * STAGE, low, r, row0, col0);
            cp_async_commit();
        }
        float sum[MI][NI][4] = {};
        Fragments f[2];
        if (left > 0) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            read(f[0], ring, row, col, 0);
        }
        for (; left > 0; left--) {
            int next = now + 1 == STAGES ? 0 : now + 1, before = now == 0 ? STAGES - 1 : now - 1;
            // the stage that is overwritten now is the one before, which all have read before the last barrier
            read(f[1], ring + now * STAGE, row, col, 16);
            if (to_copy-- > 0)
                copy(c, ring + before * STAGE, low, r, row0, col0);
            cp_async_commit();
            mma_tile<T>(sum, f[0].a, f[0].b);
            cp_async_wait<STAGES - 2>();
            __syncthreads();
            if (left > 1)
                read(f[0], ring + next * STAGE, row, col, 0);
            mma_tile<T>(sum, f[1].a, f[1].b);
            now = next;
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
