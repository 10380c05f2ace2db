// NCCL's functions, found at run time: nccl.h's, as far as they are used here.
#pragma once
#include <stddef.h>

#define LATHE_NCCL_ID_BYTES 128 // NCCL_UNIQUE_ID_BYTES

// lathe_nccl_open loads the library once. It returns NULL, or why it could not: the dynamic linker's words, or the name of a
// function that is missing.
const char *lathe_nccl_open(const char *path);
int lathe_nccl_version(int *version);
const char *lathe_nccl_error(int result);
const char *lathe_nccl_last_error(void *comm); // "" where NCCL does not tell
int lathe_nccl_unique_id(char *id);
int lathe_nccl_init(void **comm, int ranks, const char *id, int rank);
int lathe_nccl_group_start(void);
int lathe_nccl_group_end(void);
int lathe_nccl_sum_float32(void *data, size_t count, void *comm, void *stream);
int lathe_nccl_broadcast_bytes(void *data, size_t count, int root, void *comm, void *stream);
int lathe_nccl_async_error(void *comm, int *error);
int lathe_nccl_destroy(void *comm);
int lathe_nccl_abort(void *comm);
