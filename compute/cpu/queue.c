#include "queue.h"

static void lathe_product(const lathe_product_args *a) { lathe_gemm(&a->g, a->scratch, (size_t)a->bytes); }

#define LATHE_CASE(name)                                                                                               \
    case LATHE_QUEUED_##name: lathe_##name(args); break;

void lathe_run(const void *queue, int64_t bytes) {
    for (const char *at = queue, *end = at + bytes; at < end; at += ((const lathe_entry *)at)->bytes) {
        const void *args = at + sizeof(lathe_entry);
        switch (((const lathe_entry *)at)->kind) { LATHE_QUEUED(LATHE_CASE) }
    }
}
