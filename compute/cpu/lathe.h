// The C side of the CPU device: one argument struct and one entry point an operation. All pointers are C memory.
#ifndef LATHE_H
#define LATHE_H

#include <stdint.h>

#include "dtype.h"
#include "gemm.h"
#include "quant4.h"

// Activations, in the order of compute.Act.
enum { LATHE_SILU = 0, LATHE_GELU = 1, LATHE_GELU_TANH = 2, LATHE_RELU = 3, LATHE_TANH = 4, LATHE_LEAKY_RELU = 5 };

typedef struct {
    void *dst;
    const void *src;
    int dst_type, src_type;
    int64_t n;
} lathe_cast_args;

typedef struct {
    float *y;           // [n,c]
    const void *table;  // [v,c] of type
    const int32_t *ids; // [n], checked by the caller
    int64_t n, c;
    int type;
    float scale;
} lathe_embedding_args;

typedef struct {
    float *dtable;      // [v,c]
    const float *dy;    // [n,c]
    const int32_t *ids; // [n]
    int64_t n, c;
    float scale;
} lathe_embedding_backward_args;

typedef struct {
    float *y;       // [n,c]
    const float *x; // [n,c]
    float *rstd;    // [n] or null
    const float *w; // [c]
    int64_t n, c;
    float eps, offset;
} lathe_rms_norm_args;

typedef struct {
    float *dx;             // [n,c]
    const float *dy, *x;   // [n,c]
    const float *rstd, *w; // [n], [c]
    float *dw;             // [c] or null
    int64_t n, c;
    float offset;
    int accumulate;
} lathe_rms_norm_backward_args;

typedef struct {
    float *y;              // [n,c]
    const float *x;        // [n,c]
    float *mean, *rstd;    // [n] or null
    const float *w, *bias; // [c]; bias or null
    int64_t n, c;
    float eps;
} lathe_layer_norm_args;

typedef struct {
    float *dx;                     // [n,c]
    const float *dy, *x;           // [n,c]
    const float *mean, *rstd, *w;  // [n], [n], [c]
    float *dw, *dbias;             // [c] or null
    int64_t n, c;
    int accumulate;
} lathe_layer_norm_backward_args;

typedef struct {
    float *x;                 // [n,h,d]
    const float *cosine, *sine; // [p,rotary/2]
    const int32_t *positions; // [n], checked by the caller
    int64_t n, h, d, rotary;
    int interleaved, inverse;
} lathe_rope_args;

// A sequence's rows: queries from q_start, keys from k_start.
typedef struct {
    int64_t q_start, q_len, k_start, k_len;
} lathe_span;

typedef struct {
    const lathe_span *spans;
    int64_t nspans, longest, nq, nk, h, kv, d; // longest is the highest k_len of a span
    float scale, softcap;
    int64_t window, prefix;
    const float *alibi; // [h] or null
    int no_causal;
    int by_head;        // a task of the backward pass is a whole key head of a span
    int narrow;         // products of operands rounded to bfloat16, on tiers that multiply these
    float *out;         // [nq,h,d], written by the forward and read by the backward pass
    float *lse;         // [nq,h] or null, as out
    const float *q, *k, *v;
    const float *dout;  // [nq,h,d], from here on for the backward pass only
    float *dq, *dk, *dv;
    float *scratch;     // lathe_attention_scratch floats
} lathe_attention_args;

typedef struct {
    float *y;              // [n]
    const float *gate, *up; // [n]
    int64_t n;
    int act;
} lathe_gated_args;

typedef struct {
    float *dgate, *dup;          // [n]
    const float *dy, *gate, *up; // [n]
    int64_t n;
    int act;
} lathe_gated_backward_args;

typedef struct {
    float *y;       // [n]
    const float *x; // [n]
    int64_t n;
    int act;
} lathe_activation_args;

typedef struct {
    float *dx;           // [n]
    const float *dy, *x; // [n]
    int64_t n;
    int act;
} lathe_activation_backward_args;

typedef struct {
    float *y;       // [n]
    const float *x; // [n]
    int64_t n;
    uint64_t threshold; // kept when the draw is at least this
    float scale;        // of kept elements
    uint64_t seed, stream;
    int accumulate;
} lathe_dropout_args;

typedef struct {
    float *y;           // [n]
    const float *a, *b; // [n]
    int64_t n;
    float scale;
} lathe_add_args;

typedef struct {
    float *dst;       // [n,groups,dst_width]
    const float *src; // [n,groups,src_width]
    int64_t n, groups, width;
    int64_t dst_width, dst_at, src_width, src_at;
} lathe_copy_blocks_args;

typedef struct {
    float *y;           // [n,c]
    const float *x, *s; // [n,c], [c]
    int64_t n, c;
    int accumulate;
} lathe_scale_columns_args;

typedef struct {
    float *dx, *ds;      // [n,c], [c]; each or null
    const float *dy, *x; // [n,c]; x only for ds
    const float *s;      // [c]
    int64_t n, c;
} lathe_scale_columns_backward_args;

typedef struct {
    float *y;           // [out]
    lathe_matrix w;     // [out,in], rows without gaps
    const float *u, *v; // [r,in], [out,r]
    int64_t out, in, r; // r may be 0
    float scale;
} lathe_row_norm_args;

// Writes the codes (two a byte, the even element in the high nibble) and the absmax of each block of n elements of src.
typedef struct {
    uint8_t *data;    // [⌈n/2⌉]
    float *absmax;    // [⌈n/block⌉]
    lathe_matrix src; // F32, BF16 or F16 without gaps
    int64_t n;
    int block; // a power of two from 32 to 4096
    const lathe_code_book *book;
} lathe_quantize4_args;

// Turns rows of logits [n,v] into log-probabilities of the labels and, where grad is set, into gradients in place.
typedef struct {
    float *logits;         // [n,v]
    const int32_t *labels; // [n], each in [0,v)
    float *logprobs;       // [n]
    int64_t n, v;
    float softcap, grad_scale;
    int grad;
} lathe_cross_entropy_args;

typedef struct {
    float *param;
    const float *grad;
    float *m, *v;
    int64_t n;
    float decay; // 1 - lr·weight_decay
} lathe_adamw_tensor;

typedef struct {
    const lathe_adamw_tensor *tensors;
    int64_t ntensors;
    float one_minus_beta1, beta2, one_minus_beta2; // each rounded once, from double
    float step_size, sqrt_correction2, eps;        // lr/(1-β1ᵗ), √(1-β2ᵗ)
    float grad_scale;
} lathe_adamw_args;

// 8-bit moments: elements that share a scale, and entries of the table that finds a code.
enum { LATHE_ADAMW8_BLOCK = 256 };

typedef struct {
    float *param;
    const float *grad;
    uint8_t *m, *v;             // [n], codes into the two maps
    float *m_absmax, *v_absmax; // [⌈n/LATHE_ADAMW8_BLOCK⌉]
    int64_t n;
    float decay; // 1 - lr·weight_decay
} lathe_adamw8_tensor;

typedef struct {
    const lathe_adamw8_tensor *tensors;
    int64_t ntensors;
    const float *m_map, *v_map;   // [256], ascending
    uint8_t *m_table, *v_table;   // [LATHE_DYNAMIC_TABLE], scratch
    float beta1, one_minus_beta1; // each rounded once, from double
    float beta2, one_minus_beta2;
    float step_size, sqrt_correction2, eps; // lr/(1-β1ᵗ), √(1-β2ᵗ)
    float grad_scale;
} lathe_adamw8_args;

// Sums of squares of blocks of LATHE_NORM_BLOCK elements, in double.
enum { LATHE_NORM_BLOCK = 16384 };
typedef struct {
    const float *x;
    int64_t n;
    double *partial; // [⌈n/LATHE_NORM_BLOCK⌉]
} lathe_square_sum_args;

// For each block of LATHE_NORM_BLOCK elements the first index that is no finite number, or -1.
typedef struct {
    const float *x;
    int64_t n;
    int64_t *found; // [⌈n/LATHE_NORM_BLOCK⌉]
} lathe_non_finite_args;

// Every operation that is compiled once per tier, as X(name).
#define LATHE_OPERATIONS(X)                                                                                            \
    X(cast)                                                                                                            \
    X(embedding)                                                                                                       \
    X(embedding_backward)                                                                                              \
    X(rms_norm)                                                                                                        \
    X(rms_norm_backward)                                                                                               \
    X(layer_norm)                                                                                                      \
    X(layer_norm_backward)                                                                                             \
    X(rope)                                                                                                            \
    X(attention)                                                                                                       \
    X(attention_backward)                                                                                              \
    X(gated)                                                                                                           \
    X(gated_backward)                                                                                                  \
    X(activation)                                                                                                      \
    X(activation_backward)                                                                                             \
    X(dropout)                                                                                                         \
    X(add)                                                                                                             \
    X(copy_blocks)                                                                                                     \
    X(scale_columns)                                                                                                   \
    X(scale_columns_backward)                                                                                          \
    X(quantize4)                                                                                                       \
    X(adamw8)                                                                                                          \
    X(row_norm)                                                                                                        \
    X(cross_entropy)                                                                                                   \
    X(adamw)                                                                                                           \
    X(square_sum)                                                                                                      \
    X(non_finite)

typedef lathe_attention_args lathe_attention_backward_args;

// The same on the calling thread alone, which others may do at once.
void lathe_cast_alone(const lathe_cast_args *);
void lathe_quantize4_alone(const lathe_quantize4_args *);
void lathe_quantize4_nest_alone(const lathe_quantize4_nest_args *);

#define LATHE_DECLARE(name) void lathe_##name(const lathe_##name##_args *);
LATHE_OPERATIONS(LATHE_DECLARE)

// One tier's kernels.
typedef struct {
#define LATHE_FIELD(name) void (*name)(const lathe_##name##_args *);
    LATHE_OPERATIONS(LATHE_FIELD)
} lathe_kernels;

extern const lathe_kernels lathe_kernels_plain, lathe_kernels_avx2, lathe_kernels_avx512;

// Zeroed memory aligned to 64 bytes, or null; lathe_free wants the same size.
void *lathe_alloc(int64_t bytes);
void lathe_free(void *, int64_t bytes);

typedef struct {
    char *dst;
    const char *src; // or null, for zeros
    int64_t bytes;
} lathe_copy_args;
void lathe_copy(const lathe_copy_args *);

void lathe_touch(void *, int64_t bytes); // its pages get their memory now; the content stays

// Scratch of attention: rows and keys of a tile, a head's size padded to the widest vector, and floats that one worker wants;
// in a backward pass by heads dK and dV of the longest span come on top.
enum { LATHE_ATTENTION_TILE = 64 };
#define LATHE_PADDED(d) (((d) + 15) / 16 * 16)
#define LATHE_FORWARD_FLOATS(d) (LATHE_ATTENTION_TILE * (LATHE_PADDED(d) + 4 * (d) + LATHE_ATTENTION_TILE))
#define LATHE_BACKWARD_FLOATS(d) (LATHE_ATTENTION_TILE * (3 * LATHE_PADDED(d) + 5 * (d) + 2 * LATHE_ATTENTION_TILE))

// Attention of one query a sequence divides keys into parts; a part has a place of its own (kernel_attention_decode.h). Floats
// of all parts lie before the workers' scratch; none where some sequence has more queries.
enum { LATHE_DECODE_PART = 256 };
#define LATHE_DECODE_PART_FLOATS(d) (3 + (d) + LATHE_ATTENTION_TILE)
int64_t lathe_decode_parts(const lathe_attention_args *);
int64_t lathe_decode_floats(const lathe_attention_args *);

// A backward pass that does not go by heads has a count for each tile of queries before the workers' scratch: so many at most.
int64_t lathe_attention_counts(const lathe_attention_args *);
// Floats of scratch for one worker, and for all of an operation on that number of threads.
int64_t lathe_attention_worker(const lathe_attention_args *, int backward);
int64_t lathe_attention_scratch(const lathe_attention_args *, int backward, int threads);

#endif
