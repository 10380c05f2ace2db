// Memory of the emulated device: poisoned when it is given out, with a red zone on both sides, or between pages that cannot be touched.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

namespace emu {

constexpr uint64_t RED = 256, PAGE = 4096, CHUNK = 16 << 20, LARGE = 2 * CHUNK;
constexpr uint16_t RED_PATTERN = 0x7fd5; // a NaN in bf16, f16 and (twice) in float

struct Allocation {
    uint64_t bytes, slack; // slack: bytes behind the end, up to the guard page or of the red zone
    Context *owner;
    void *base;
    uint64_t mapped;
};
static std::mutex mutex;
static std::map<CUdeviceptr, Allocation> allocations;
static std::map<uintptr_t, uint64_t> pinned;

static bool inside(const std::map<CUdeviceptr, Allocation> &m, CUdeviceptr p, uint64_t bytes) {
    auto i = m.upper_bound(p);
    if (i == m.begin())
        return false;
    --i;
    return p - i->first <= i->second.bytes && bytes <= i->second.bytes - (p - i->first);
}

bool inside_device(CUdeviceptr p, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(mutex);
    return inside(allocations, p, bytes);
}

static bool inside_pinned_locked(uintptr_t p, uint64_t bytes) {
    auto i = pinned.upper_bound(p);
    if (i == pinned.begin())
        return false;
    --i;
    return p - i->first <= i->second && bytes <= i->second - (p - i->first);
}

bool inside_pinned(const void *p, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(mutex);
    return inside_pinned_locked((uintptr_t)p, bytes);
}

bool known_pointer(CUdeviceptr p) {
    std::lock_guard<std::mutex> lock(mutex);
    return inside(allocations, p, 0) || inside_pinned_locked(p, 0);
}

static void fill_red(void *p, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++)
        ((unsigned char *)p)[i] = (unsigned char)(RED_PATTERN >> ((uintptr_t)p + i) % 2 * 8);
}

// broken_at returns the offset of the first byte of a red zone that was written, or -1.
static int64_t broken_at(const void *p, uint64_t bytes) {
    static unsigned char pattern[2][PAGE];
    if (!pattern[0][0]) {
        fill_red(pattern[0], PAGE);
        memcpy(pattern[1], pattern[0] + 1, PAGE - 1);
    }
    const unsigned char *want = pattern[(uintptr_t)p % 2], *got = (const unsigned char *)p;
    if (!memcmp(got, want, bytes))
        return -1;
    for (uint64_t i = 0; i < bytes; i++)
        if (got[i] != want[i])
            return (int64_t)i;
    return -1;
}

static std::string last_kernel = "none yet";

static void check(CUdeviceptr p, const Allocation &a) {
    int64_t at = broken_at((void *)(p + a.bytes), a.slack);
    if (at >= 0) {
        fprintf(stderr, "lathe emulator: a kernel wrote %lld bytes behind an allocation of %llu bytes; last kernel: %s\n", (long long)at, (unsigned long long)a.bytes, last_kernel.c_str());
        abort();
    }
    if (settings().guard)
        return;
    at = broken_at(a.base, RED);
    if (at >= 0) {
        fprintf(stderr, "lathe emulator: a kernel wrote %lld bytes before an allocation of %llu bytes; last kernel: %s\n", (long long)((int64_t)RED - at), (unsigned long long)a.bytes, last_kernel.c_str());
        abort();
    }
}

void check_red_zones(const char *after) {
    std::lock_guard<std::mutex> lock(mutex);
    if (after)
        last_kernel = after;
    for (const auto &a : allocations)
        check(a.first, a.second);
}

// poison_lazily gives a large block 0xff without touching it: its pages are private copies of one file's, made when they are written.
static void poison_lazily(char *p, uint64_t bytes) {
    static int file = -1;
    if (file < 0) {
        file = memfd_create("lathe-emulator-poison", MFD_CLOEXEC);
        std::string chunk(CHUNK, (char)0xff);
        if (file >= 0 && write(file, chunk.data(), CHUNK) != (ssize_t)CHUNK) {
            close(file);
            file = -1;
        }
    }
    char *first = (char *)(((uintptr_t)p + PAGE - 1) / PAGE * PAGE), *last = (char *)(((uintptr_t)p + bytes) / PAGE * PAGE);
    memset(p, 0xff, (size_t)(first - p));
    memset(last, 0xff, (size_t)(p + bytes - last));
    for (char *at = first; at < last; at += CHUNK) {
        size_t n = std::min<size_t>(CHUNK, (size_t)(last - at));
        if (file < 0 || mmap(at, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) == MAP_FAILED)
            memset(at, 0xff, n);
    }
}

// place lays out an allocation. With guard pages its end lies at the end of a page (up to 15 bytes before: vectors need 16), so that
// the first byte behind it faults; otherwise it starts at a multiple of 256, as the driver's do.
static CUdeviceptr place(Allocation *a) {
    uint64_t bytes = a->bytes;
    uint64_t body = settings().guard ? (bytes + PAGE - 1) / PAGE * PAGE : bytes + RED;
    a->mapped = (body + 2 * PAGE + PAGE - 1) / PAGE * PAGE;
    char *p = (char *)mmap(nullptr, a->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return 0;
    CUdeviceptr at;
    if (settings().guard) {
        mprotect(p, PAGE, PROT_NONE);
        mprotect(p + PAGE + body, PAGE, PROT_NONE);
        at = ((uintptr_t)p + PAGE + body - bytes) & ~(uintptr_t)15;
        a->slack = (uintptr_t)p + PAGE + body - at - bytes;
        a->base = p;
    } else {
        at = (uintptr_t)p + PAGE;
        a->slack = RED;
        a->base = p + PAGE - RED;
        fill_red(a->base, RED);
    }
    if (bytes >= LARGE)
        poison_lazily((char *)at, bytes);
    else
        memset((void *)at, 0xff, bytes);
    fill_red((void *)(at + bytes), a->slack);
    return at;
}

static void unmap(CUdeviceptr p, const Allocation &a) {
    uintptr_t base = settings().guard ? (uintptr_t)a.base : (uintptr_t)p - PAGE;
    munmap((void *)base, a.mapped);
}

static CUresult allocate(CUdeviceptr *p, uint64_t bytes) {
    if (!p || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes > settings().memory - bound->used)
        return CUDA_ERROR_OUT_OF_MEMORY;
    Allocation a{bytes, 0, bound, nullptr, 0};
    CUdeviceptr at = place(&a);
    if (!at)
        return CUDA_ERROR_OUT_OF_MEMORY;
    bound->used += bytes;
    allocations[at] = a;
    *p = at;
    return CUDA_SUCCESS;
}

static CUresult release(CUdeviceptr p) {
    if (!p)
        return CUDA_SUCCESS;
    std::lock_guard<std::mutex> lock(mutex);
    auto i = allocations.find(p);
    if (i == allocations.end())
        return CUDA_ERROR_INVALID_VALUE;
    check(p, i->second);
    i->second.owner->used -= i->second.bytes;
    unmap(p, i->second);
    allocations.erase(i);
    return CUDA_SUCCESS;
}

} // namespace emu

using namespace emu;

API cuMemGetInfo_v2(size_t *free, size_t *total) {
    BEGIN(CONTEXT);
    *total = settings().memory;
    *free = settings().memory - bound->used;
    return CUDA_SUCCESS;
}

API cuMemAlloc_v2(CUdeviceptr *p, size_t bytes) {
    BEGIN(CONTEXT);
    if (CUresult r = forbid_capture())
        return r;
    return allocate(p, bytes);
}

API cuMemFree_v2(CUdeviceptr p) {
    BEGIN(CONTEXT);
    if (CUresult r = forbid_capture())
        return r;
    if (CUresult r = flush_all())
        return r;
    return release(p);
}

API cuMemAllocAsync(CUdeviceptr *p, size_t bytes, Stream *) {
    BEGIN(CONTEXT);
    if (CUresult r = forbid_capture())
        return r;
    return allocate(p, bytes);
}

API cuMemFreeAsync(CUdeviceptr p, Stream *s) {
    BEGIN(CONTEXT);
    if (!inside_device(p, 0))
        return CUDA_ERROR_INVALID_VALUE;
    return submit(s, [p] { return release(p); });
}

API cuDeviceGetDefaultMemPool(void **pool, CUdevice d) {
    BEGIN(INITIALIZED);
    if (d < 0 || d >= settings().devices)
        return CUDA_ERROR_INVALID_DEVICE;
    *pool = &contexts[d];
    return CUDA_SUCCESS;
}

static uint64_t release_threshold[8];

API cuMemPoolSetAttribute(Context *pool, int attribute, void *value) {
    BEGIN(INITIALIZED);
    if (attribute == 4) // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        release_threshold[pool->device] = *(uint64_t *)value;
    return CUDA_SUCCESS;
}

API cuMemPoolGetAttribute(Context *pool, int attribute, void *value) {
    BEGIN(INITIALIZED);
    switch (attribute) {
    case 4: // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        *(uint64_t *)value = release_threshold[pool->device];
        return CUDA_SUCCESS;
    case 5: // CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT
    case 7: // CU_MEMPOOL_ATTR_USED_MEM_CURRENT
        *(uint64_t *)value = pool->used;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

API cuMemPoolTrimTo(Context *, size_t) {
    BEGIN(INITIALIZED);
    return CUDA_SUCCESS;
}

API cuMemHostAlloc(void **p, size_t bytes, unsigned) {
    BEGIN(CONTEXT);
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (posix_memalign(p, PAGE, bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    memset(*p, 0xff, bytes);
    std::lock_guard<std::mutex> lock(mutex);
    pinned[(uintptr_t)*p] = bytes;
    return CUDA_SUCCESS;
}

API cuMemAllocHost_v2(void **p, size_t bytes) {
    BEGIN(CONTEXT);
    return cuMemHostAlloc(p, bytes, 0);
}

API cuMemFreeHost(void *p) {
    BEGIN(CONTEXT);
    if (CUresult r = flush_all())
        return r;
    std::lock_guard<std::mutex> lock(mutex);
    if (!pinned.erase((uintptr_t)p))
        return CUDA_ERROR_INVALID_VALUE;
    free(p);
    return CUDA_SUCCESS;
}

API cuMemHostRegister_v2(void *p, size_t bytes, unsigned) {
    BEGIN(CONTEXT);
    std::lock_guard<std::mutex> lock(mutex);
    if (!pinned.emplace((uintptr_t)p, bytes).second)
        return 712; // CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
    return CUDA_SUCCESS;
}

API cuMemHostUnregister(void *p) {
    BEGIN(CONTEXT);
    std::lock_guard<std::mutex> lock(mutex);
    return pinned.erase((uintptr_t)p) ? CUDA_SUCCESS : 713; // CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED
}

API cuMemHostGetDevicePointer_v2(CUdeviceptr *d, void *p, unsigned) {
    BEGIN(CONTEXT);
    if (!inside_pinned(p, 0))
        return CUDA_ERROR_INVALID_VALUE;
    *d = (CUdeviceptr)p;
    return CUDA_SUCCESS;
}
