#include "nccl_linux.h"

#include <dlfcn.h>  // dlopen, dlsym
#include <string.h> // memcpy

// ncclUniqueId, which NCCL takes by value: no call without a C compiler gets that right on every processor.
typedef struct {
  char bytes[LATHE_NCCL_ID_BYTES];
} unique_id;

enum { NCCL_UINT8 = 1, NCCL_FLOAT32 = 7, NCCL_SUM = 0 }; // ncclDataType_t, ncclRedOp_t

static struct {
  int (*version)(int *);
  const char *(*error_string)(int);
  int (*get_unique_id)(unique_id *);
  int (*comm_init_rank)(void **, int, unique_id, int);
  int (*group_start)(void);
  int (*group_end)(void);
  int (*all_reduce)(const void *, void *, size_t, int, int, void *, void *);
  int (*broadcast)(const void *, void *, size_t, int, int, void *, void *);
  int (*async_error)(void *, int *);
  int (*destroy)(void *);
  int (*abort)(void *);
  const char *(*last_error)(void *); // from NCCL 2.13 on
} nccl;

const char *lathe_nccl_open(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return dlerror();
  const struct {
    const char *name;
    void *slot;
  } table[] = {
      {"ncclGetVersion", &nccl.version},       {"ncclGetErrorString", &nccl.error_string},
      {"ncclGetUniqueId", &nccl.get_unique_id}, {"ncclCommInitRank", &nccl.comm_init_rank},
      {"ncclGroupStart", &nccl.group_start},   {"ncclGroupEnd", &nccl.group_end},
      {"ncclAllReduce", &nccl.all_reduce},     {"ncclBroadcast", &nccl.broadcast},
      {"ncclCommGetAsyncError", &nccl.async_error}, {"ncclCommDestroy", &nccl.destroy},
      {"ncclCommAbort", &nccl.abort},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    void *function = dlsym(library, table[i].name);
    if (!function) {
      dlclose(library);
      return table[i].name;
    }
    memcpy(table[i].slot, &function, sizeof function); // a function's address in an object pointer: POSIX's way
  }
  void *function = dlsym(library, "ncclGetLastError");
  memcpy(&nccl.last_error, &function, sizeof function);
  return NULL;
}

int lathe_nccl_version(int *version) { return nccl.version(version); }
const char *lathe_nccl_error(int result) { return nccl.error_string(result); }

const char *lathe_nccl_last_error(void *comm) {
  const char *text = nccl.last_error ? nccl.last_error(comm) : NULL;
  return text ? text : "";
}

int lathe_nccl_unique_id(char *id) {
  unique_id u;
  int r = nccl.get_unique_id(&u);
  memcpy(id, u.bytes, sizeof u.bytes);
  return r;
}

int lathe_nccl_init(void **comm, int ranks, const char *id, int rank) {
  unique_id u;
  memcpy(u.bytes, id, sizeof u.bytes);
  return nccl.comm_init_rank(comm, ranks, u, rank);
}

int lathe_nccl_group_start(void) { return nccl.group_start(); }
int lathe_nccl_group_end(void) { return nccl.group_end(); }

int lathe_nccl_sum_float32(void *data, size_t count, void *comm, void *stream) {
  return nccl.all_reduce(data, data, count, NCCL_FLOAT32, NCCL_SUM, comm, stream);
}

int lathe_nccl_broadcast_bytes(void *data, size_t count, int root, void *comm, void *stream) {
  return nccl.broadcast(data, data, count, NCCL_UINT8, root, comm, stream);
}

int lathe_nccl_async_error(void *comm, int *error) { return nccl.async_error(comm, error); }
int lathe_nccl_destroy(void *comm) { return nccl.destroy(comm); }
int lathe_nccl_abort(void *comm) { return nccl.abort(comm); }
