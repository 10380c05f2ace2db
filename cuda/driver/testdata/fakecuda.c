// fakecuda.c: a libcuda for the tests of cuda/driver, without a device. Work is queued as on a device and runs when somebody
// waits for it, so a caller that reuses memory too early is seen; a call on an OS thread without a current context fails,
// so a goroutine that has moved is seen; fake_fail makes one call fail.
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int CUresult;
typedef uint64_t CUdeviceptr;
typedef void (*kernel_t)(void** args);
typedef struct { int kind; void *dst, *src; size_t n; unsigned char value; kernel_t k; uint64_t values[16]; int nargs; void* event; } Op;
typedef struct { Op* op; int n, cap; } Queue;
typedef struct { Queue q; int capturing; } Stream;
typedef struct { struct timespec at; int recorded; } Event;

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static Queue queue; // one for all streams: a legal order of every stream's work
static __thread void* current;
static int retained, version = 12040, devices = 1, slow;
static long launches;
static struct { char name[64]; int code; } fails[16];
static char log_text[256];
static size_t total = 1 << 30, used;
static struct { CUdeviceptr at; size_t n; } blocks[4096];

void fake_fail(const char* name, int code) {
  for (int i = 0; i < 16; i++)
    if (!fails[i].name[0] || !strcmp(fails[i].name, name)) { snprintf(fails[i].name, sizeof fails[i].name, "%s", name); fails[i].code = code; return; }
}
void fake_reset(void) { memset(fails, 0, sizeof fails); version = 12040; devices = 1; slow = 0; log_text[0] = 0; }
void fake_slow(int microseconds) { slow = microseconds; }
void fake_version(int v) { version = v; }
void fake_devices(int n) { devices = n; }
void fake_log(const char* s) { snprintf(log_text, sizeof log_text, "%s", s); }
long fake_launches(void) { return __atomic_load_n(&launches, __ATOMIC_RELAXED); }

static int failing(const char* name) {
  for (int i = 0; i < 16 && fails[i].name[0]; i++) if (!strcmp(fails[i].name, name)) return fails[i].code;
  return 0;
}
#define FAIL do { int r = failing(__func__); if (r) return r; } while (0)
#define CONTEXT do { FAIL; if (!current) return 201; } while (0)

static void push(Queue* q, const Op* o) {
  if (q->n == q->cap) { q->cap = q->cap ? 2 * q->cap : 16; q->op = realloc(q->op, q->cap * sizeof(Op)); }
  q->op[q->n++] = *o;
}
static void run(Op* o) {
  void* args[16];
  switch (o->kind) {
  case 0: memmove(o->dst, o->src, o->n); break;
  case 1: memset(o->dst, o->value, o->n); break;
  case 2: for (int i = 0; i < o->nargs; i++) args[i] = &o->values[i]; o->k(args); break;
  case 3: clock_gettime(CLOCK_MONOTONIC, &((Event*)o->event)->at); ((Event*)o->event)->recorded = 1; break;
  }
}
static void drain(void) { for (int i = 0; i < queue.n; i++) run(&queue.op[i]); queue.n = 0; }
static CUresult enqueue(Stream* s, const Op* o) {
  pthread_mutex_lock(&mu);
  push(s && s->capturing ? &s->q : &queue, o);
  if (queue.n > 4096) drain();
  pthread_mutex_unlock(&mu);
  return 0;
}
static CUresult wait_all(Stream* s) {
  if (s && s->capturing) return 900;
  pthread_mutex_lock(&mu); drain(); pthread_mutex_unlock(&mu);
  return 0;
}

// The kernels. sum checks that arguments of every type arrive; slow rereads its arguments after a while.
static void k_sum(void** a) { *(double*)*(CUdeviceptr*)a[0] = *(int*)a[1] + *(long long*)a[2] + (double)*(unsigned long long*)a[3] + *(float*)a[4] + *(double*)a[5]; }
static void k_add(void** a) { *(long long*)*(CUdeviceptr*)a[0] += *(int*)a[1]; }
static void k_none(void** a) { (void)a; }
static const struct { const char* name; kernel_t k; int nargs; } kernels[] = {{"sum", k_sum, 6}, {"add", k_add, 2}, {"none", k_none, 0}, {"nine", k_none, 9}};

CUresult cuInit(unsigned f) { FAIL; return f ? 1 : 0; }
CUresult cuDriverGetVersion(int* v) { FAIL; *v = version; return 0; }
CUresult cuGetErrorName(CUresult r, const char** s) { *s = r == 4242 ? "CUDA_ERROR_OF_TOMORROW" : NULL; return *s ? 0 : 1; }
CUresult cuDeviceGetCount(int* n) { FAIL; *n = devices; return 0; }
CUresult cuDeviceGet(int* d, int o) { FAIL; *d = o; return o < devices ? 0 : 101; }
CUresult cuDeviceGetName(char* s, int n, int d) { FAIL; snprintf(s, n, d ? "NVIDIA H100 80GB HBM3 MIG 1g.10gb" : "Fake GPU"); return 0; }
CUresult cuDeviceGetUuid_v2(char* u, int d) { FAIL; for (int i = 0; i < 16; i++) u[i] = i + 16 * d; return 0; }
CUresult cuDeviceTotalMem_v2(size_t* n, int d) { FAIL; *n = total; return 0; }
CUresult cuDeviceGetAttribute(int* v, int a, int d) {
  FAIL;
  switch (a) {
  case 1: *v = 1024; break; case 13: *v = 1980000; break; case 16: *v = 132; break; case 32: *v = 1; break; case 33: *v = 0x3b; break;
  case 36: *v = 2619000; break; case 37: *v = 5120; break; case 38: *v = 50 << 20; break; case 39: *v = 2048; break;
  case 75: *v = 9; break; case 81: *v = 233472; break; case 82: *v = 65536; break; case 97: *v = 232448; break; default: *v = 0;
  }
  return 0;
}
CUresult cuDevicePrimaryCtxRetain(void** c, int d) { FAIL; __atomic_add_fetch(&retained, 1, __ATOMIC_RELAXED); *c = (void*)(uintptr_t)(0x100 + d); return 0; }
CUresult cuDevicePrimaryCtxRelease_v2(int d) { FAIL; return __atomic_sub_fetch(&retained, 1, __ATOMIC_RELAXED) < 0 ? 201 : 0; }
CUresult cuCtxSetCurrent(void* c) { FAIL; current = c; if (slow) usleep(slow); return 0; }
CUresult cuCtxSynchronize(void) { CONTEXT; return wait_all(NULL); }
CUresult cuMemGetInfo_v2(size_t* f, size_t* t) { CONTEXT; pthread_mutex_lock(&mu); *t = total + ((uintptr_t)current & 0xff); *f = total - used; pthread_mutex_unlock(&mu); return 0; }
CUresult cuMemAlloc_v2(CUdeviceptr* p, size_t n) {
  CONTEXT;
  if (!n) return 1;
  pthread_mutex_lock(&mu);
  void* q = NULL;
  int i = 0, r = used + n > total || posix_memalign(&q, 256, n) ? 2 : 0;
  while (!r && blocks[i].at) i++;
  if (!r) { blocks[i].at = *p = (CUdeviceptr)q; blocks[i].n = n; used += n; memset(q, 0xff, n); }
  pthread_mutex_unlock(&mu);
  return r;
}
CUresult cuMemFree_v2(CUdeviceptr p) {
  CONTEXT;
  pthread_mutex_lock(&mu);
  drain();
  int r = 1;
  for (int i = 0; i < 4096 && r; i++) if (blocks[i].at == p) { used -= blocks[i].n; blocks[i].at = 0; free((void*)p); r = 0; }
  pthread_mutex_unlock(&mu);
  return r;
}
CUresult cuMemHostAlloc(void** p, size_t n, unsigned f) { CONTEXT; return posix_memalign(p, 4096, n) ? 2 : 0; }
CUresult cuMemFreeHost(void* p) { CONTEXT; free(p); return 0; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void* s, size_t n, Stream* st) { CONTEXT; return enqueue(st, &(Op){.kind = 0, .dst = (void*)d, .src = (void*)s, .n = n}); }
CUresult cuMemcpyDtoHAsync_v2(void* d, CUdeviceptr s, size_t n, Stream* st) { CONTEXT; return enqueue(st, &(Op){.kind = 0, .dst = d, .src = (void*)s, .n = n}); }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, Stream* st) { CONTEXT; return enqueue(st, &(Op){.kind = 0, .dst = (void*)d, .src = (void*)s, .n = n}); }
CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, Stream* st) { CONTEXT; return enqueue(st, &(Op){.kind = 1, .dst = (void*)d, .value = v, .n = n}); }
CUresult cuModuleLoadData(void** m, const void* image) { CONTEXT; if (!strstr(image, ".version")) return 218; *m = strdup(image); return 0; }
CUresult cuModuleLoadDataEx(void** m, const void* image, unsigned n, int* o, void** v) {
  for (unsigned i = 0; i + 1 < n; i++)
    if (o[i] == 5 && o[i + 1] == 6) snprintf(v[i], (size_t)v[i + 1], "%s", log_text);
  CONTEXT;
  return cuModuleLoadData(m, image);
}
CUresult cuModuleUnload(void* m) { CONTEXT; free(m); return 0; }
CUresult cuModuleGetFunction(void** f, void* m, const char* name) {
  CONTEXT;
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) if (!strcmp(kernels[i].name, name)) { *f = (void*)&kernels[i]; return 0; }
  return 500;
}
CUresult cuFuncGetAttribute(int* v, int a, void* f) { CONTEXT; *v = a == 0 ? 1024 : a == 4 ? 40 : a == 6 ? 90 : 0; return 0; }
CUresult cuFuncSetAttribute(void* f, int a, int v) { CONTEXT; return a != 8 || v > 232448; }
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, void* f, int block, size_t shared) { CONTEXT; *n = 2048 / block; return 0; }
CUresult cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned sh, Stream* s, void** args, void** extra) {
  CONTEXT;
  if (!f || extra || !gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || sh > 232448) return 1;
  int i = (int)(((char*)f - (char*)kernels) / (ptrdiff_t)sizeof *kernels);
  Op o = {.kind = 2, .k = kernels[i].k, .nargs = kernels[i].nargs};
  for (int k = 0; k < o.nargs; k++) o.values[k] = *(uint64_t*)args[k];
  __atomic_add_fetch(&launches, 1, __ATOMIC_RELAXED);
  if (o.k == k_none && !(s && s->capturing)) return 0; // the benchmark's: nothing but the call
  return enqueue(s, &o);
}
CUresult cuStreamCreate(Stream** s, unsigned f) { CONTEXT; *s = calloc(1, sizeof **s); return f != 1; }
CUresult cuStreamDestroy_v2(Stream* s) { CONTEXT; free(s->q.op); free(s); return 0; }
CUresult cuStreamSynchronize(Stream* s) { CONTEXT; return wait_all(s); }
CUresult cuStreamWaitEvent(Stream* s, Event* e, unsigned f) { CONTEXT; return !e; }
CUresult cuEventCreate(Event** e, unsigned f) { CONTEXT; *e = calloc(1, sizeof **e); return 0; }
CUresult cuEventDestroy_v2(Event* e) { CONTEXT; free(e); return 0; }
CUresult cuEventRecord(Event* e, Stream* s) { CONTEXT; return enqueue(s, &(Op){.kind = 3, .event = e}); }
CUresult cuEventSynchronize(Event* e) { CONTEXT; return wait_all(NULL); }
CUresult cuEventElapsedTime(float* ms, Event* a, Event* b) {
  CONTEXT;
  if (!a->recorded || !b->recorded) return 600;
  *ms = (b->at.tv_sec - a->at.tv_sec) * 1e3f + (b->at.tv_nsec - a->at.tv_nsec) * 1e-6f;
  return 0;
}
CUresult cuStreamBeginCapture_v2(Stream* s, int mode) { CONTEXT; if (!s) return 900; if (mode != 2) return 908; s->capturing = 1; return 0; }
CUresult cuStreamEndCapture(Stream* s, Queue** g) {
  CONTEXT;
  if (!s->capturing) return 401;
  s->capturing = 0;
  *g = malloc(sizeof **g); **g = s->q; memset(&s->q, 0, sizeof s->q);
  return 0;
}
CUresult cuGraphInstantiateWithFlags(Queue** x, Queue* g, unsigned long long f) {
  CONTEXT;
  Queue* q = calloc(1, sizeof *q);
  for (int i = 0; i < g->n; i++) push(q, &g->op[i]);
  *x = q;
  return 0;
}
CUresult cuGraphLaunch(Queue* g, Stream* s) { CONTEXT; for (int i = 0; i < g->n; i++) enqueue(s, &g->op[i]); return 0; }
CUresult cuGraphExecDestroy(Queue* g) { CONTEXT; free(g->op); free(g); return 0; }
CUresult cuGraphDestroy(Queue* g) { CONTEXT; free(g->op); free(g); return 0; }
