// Operations that were asked for and wait to be run together.
#ifndef LATHE_QUEUE_H
#define LATHE_QUEUE_H

#include "lathe.h"

// lathe_product_args are those of lathe_gemm with its scratch of so many bytes.
typedef struct {
    lathe_gemm_args g;
    void *scratch;
    int64_t bytes;
} lathe_product_args;

#define LATHE_QUEUED(X) LATHE_OPERATIONS(X) X(quantize4_nest) X(product) X(column_sums) X(widen) X(copy)

// What an entry of a queue is: LATHE_QUEUED_name, with its arguments behind it, or what arguments point to.
#define LATHE_QUEUED_KIND(name) LATHE_QUEUED_##name,
enum { LATHE_QUEUED(LATHE_QUEUED_KIND) LATHE_QUEUED_DATA };

// lathe_entry comes before each one's arguments; bytes are its own and theirs, a multiple of 8.
typedef struct {
    int32_t kind, bytes;
} lathe_entry;

// lathe_run runs the entries of a queue of so many bytes, one after the other, each on all threads.
void lathe_run(const void *queue, int64_t bytes);

#endif
