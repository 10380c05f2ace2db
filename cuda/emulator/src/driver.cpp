// Start of the driver, devices, contexts and the names of errors.
#include "driver.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace emu {

Context contexts[8];
thread_local Context *bound;
std::mutex launch_mutex;
static std::atomic<bool> initialized;

// Failure is an entry of LATHE_EMU_FAIL: name=result, or name=result@n for the n-th call alone.
struct Failure {
    CUresult result;
    int call, calls;
};
static std::mutex failures_mutex;

// all_failures is a function's, for the environment is read before this file's own objects are made.
static std::map<std::string, Failure> &all_failures() {
    static std::map<std::string, Failure> all;
    return all;
}

static void read_failures(const char *list) {
    std::lock_guard<std::mutex> lock(failures_mutex);
    std::map<std::string, Failure> &failures = all_failures();
    failures.clear();
    std::string rest = list ? list : "";
    while (!rest.empty()) {
        size_t comma = rest.find(',');
        std::string one = rest.substr(0, comma);
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
        size_t equals = one.find('='), at = one.find('@');
        if (equals == std::string::npos)
            continue;
        failures[one.substr(0, equals)] = Failure{atoi(one.c_str() + equals + 1), at == std::string::npos ? 0 : atoi(one.c_str() + at + 1), 0};
    }
}

static void set(const std::string &name, const char *value) {
    Settings &s = settings();
    if (name == "LATHE_EMU_DEVICES")
        s.devices = value ? std::min(8, std::max(0, atoi(value))) : 1;
    else if (name == "LATHE_EMU_MEMORY")
        s.memory = value ? strtoull(value, nullptr, 10) : 8ull << 30;
    else if (name == "LATHE_EMU_VERSION")
        s.version = value ? atoi(value) : 12040;
    else if (name == "LATHE_EMU_CAPABILITY")
        s.capability = value ? (int)(atof(value) * 10 + 0.5) : 80;
    else if (name == "LATHE_EMU_GUARD")
        s.guard = value && strcmp(value, "0");
    else if (name == "LATHE_EMU_LAZY")
        s.lazy = value && strcmp(value, "0");
    else if (name == "LATHE_EMU_SHUFFLE")
        shuffle_seed = value ? strtoull(value, nullptr, 10) : 0;
    else if (name == "LATHE_EMU_FAIL")
        read_failures(value);
}

Settings &settings() {
    static Settings s;
    return s;
}

__attribute__((constructor)) static void read_environment() {
    for (const char *name : {"DEVICES", "MEMORY", "VERSION", "CAPABILITY", "GUARD", "LAZY", "SHUFFLE", "FAIL"}) {
        std::string full = std::string("LATHE_EMU_") + name;
        if (const char *value = getenv(full.c_str()))
            set(full, value);
    }
}

static CUresult ordered_failure(const char *name) {
    std::lock_guard<std::mutex> lock(failures_mutex);
    std::map<std::string, Failure> &failures = all_failures();
    if (failures.empty())
        return CUDA_SUCCESS;
    auto i = failures.find(name);
    if (i == failures.end()) {
        std::string plain = name;
        size_t v = plain.rfind("_v");
        i = v == std::string::npos ? failures.end() : failures.find(plain.substr(0, v));
    }
    if (i == failures.end())
        return CUDA_SUCCESS;
    Failure &f = i->second;
    return f.call == 0 || ++f.calls == f.call ? f.result : CUDA_SUCCESS;
}

CUresult begin_call(const char *name, Needs needs) {
    if (CUresult r = ordered_failure(name))
        return r;
    if (needs >= INITIALIZED && !initialized)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (needs >= CONTEXT && (!bound || !bound->retained))
        return CUDA_ERROR_INVALID_CONTEXT;
    return CUDA_SUCCESS;
}

static bool is_device(CUdevice d) { return d >= 0 && d < settings().devices; }

// limits of a multiprocessor: shared memory that a block can ask for, of all blocks, threads, blocks.
struct Limits {
    int block_shared, shared, threads, blocks;
};
static Limits limits() {
    switch (settings().capability) {
    case 90:
        return {232448, 233472, 2048, 32};
    case 86:
    case 89:
        return {101376, 102400, 1536, 24};
    }
    return {101376, 102400, 2048, 32}; // 8.0 with the smaller shared memory of 8.6, so that what runs here runs on both
}

static int attribute(int a, bool *known) {
    static const std::map<int, int> fixed = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152}, {9, 65536}, {10, 32},
        {11, 2147483647}, {12, 65536}, {13, 1410000}, {14, 512}, {15, 1}, {16, 4}, {17, 0}, {18, 0}, {19, 1}, {20, 0}, {31, 1}, {32, 0},
        {33, 0}, {34, 0}, {35, 0}, {36, 1215000}, {37, 5120}, {38, 41943040}, {40, 2}, {41, 1}, {50, 0}, {78, 1}, {82, 65536}, {83, 1},
        {89, 1}, {90, 1}, {91, 1}, {95, 1}, {98, 0}, {99, 1}, {108, 20971520}, {115, 1},
    };
    Limits l = limits();
    *known = true;
    switch (a) {
    case 39:
        return l.threads;
    case 75:
        return settings().capability / 10;
    case 76:
        return settings().capability % 10;
    case 81:
        return l.shared;
    case 97:
        return l.block_shared;
    case 106:
        return l.blocks;
    case 111:
        return 1024; // shared memory that the system takes of each block
    }
    auto i = fixed.find(a);
    *known = i != fixed.end();
    return *known ? i->second : 0;
}

int device_attribute(int a) {
    bool known;
    return attribute(a, &known);
}

} // namespace emu

using namespace emu;

// lathe_emu_set changes a setting of the environment in a process that runs: a Go program's own Setenv need not reach C.
extern "C" __attribute__((visibility("default"))) void lathe_emu_set(const char *name, const char *value) { set(name, value && *value ? value : nullptr); }

extern "C" __attribute__((visibility("default"))) void lathe_emu_counters(Counters *c) { *c = counters; }

API cuInit(unsigned flags) {
    BEGIN(NOTHING);
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (settings().devices == 0)
        return CUDA_ERROR_NO_DEVICE;
    for (int i = 0; i < 8; i++)
        contexts[i].device = i;
    initialized = true;
    return CUDA_SUCCESS;
}

API cuDriverGetVersion(int *version) {
    BEGIN(NOTHING);
    *version = settings().version;
    return CUDA_SUCCESS;
}

API cuDeviceGetCount(int *n) {
    BEGIN(INITIALIZED);
    *n = settings().devices;
    return CUDA_SUCCESS;
}

API cuDeviceGet(CUdevice *d, int ordinal) {
    BEGIN(INITIALIZED);
    if (!is_device(ordinal))
        return CUDA_ERROR_INVALID_DEVICE;
    *d = ordinal;
    return CUDA_SUCCESS;
}

API cuDeviceGetName(char *name, int bytes, CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, (size_t)bytes, "lathe emulated CUDA device");
    return CUDA_SUCCESS;
}

API cuDeviceTotalMem_v2(size_t *bytes, CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    *bytes = settings().memory;
    return CUDA_SUCCESS;
}

API cuDeviceGetAttribute(int *value, int a, CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    bool known;
    *value = attribute(a, &known);
    if (a == 33) // the bus, so that two devices differ
        *value = d + 1;
    return a > 0 && a < 200 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API cuDeviceGetUuid_v2(char *uuid, CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    memcpy(uuid, "lathe-emulated-\0", 16);
    uuid[15] = (char)d;
    return CUDA_SUCCESS;
}

API cuDeviceGetUuid(char *uuid, CUdevice d) {
    BEGIN(INITIALIZED);
    return cuDeviceGetUuid_v2(uuid, d);
}

API cuDeviceGetPCIBusId(char *id, int bytes, CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    snprintf(id, (size_t)bytes, "0000:%02x:00.0", d + 1);
    return CUDA_SUCCESS;
}

API cuDeviceCanAccessPeer(int *can, CUdevice a, CUdevice b) {
    BEGIN(INITIALIZED);
    if (!is_device(a) || !is_device(b))
        return CUDA_ERROR_INVALID_DEVICE;
    *can = a != b;
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRetain(Context **c, CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    contexts[d].retained++;
    *c = &contexts[d];
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease_v2(CUdevice d) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    if (!contexts[d].retained)
        return CUDA_ERROR_INVALID_CONTEXT;
    contexts[d].retained--;
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxGetState(CUdevice d, unsigned *flags, int *active) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    *flags = contexts[d].flags;
    *active = contexts[d].retained > 0;
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxSetFlags_v2(CUdevice d, unsigned flags) {
    BEGIN(INITIALIZED);
    if (!is_device(d))
        return CUDA_ERROR_INVALID_DEVICE;
    contexts[d].flags = flags;
    return CUDA_SUCCESS;
}

API cuCtxSetCurrent(Context *c) {
    BEGIN(INITIALIZED);
    if (c && !c->retained)
        return CUDA_ERROR_INVALID_CONTEXT;
    bound = c;
    return CUDA_SUCCESS;
}

API cuCtxGetCurrent(Context **c) {
    BEGIN(INITIALIZED);
    *c = bound;
    return CUDA_SUCCESS;
}

API cuCtxGetDevice(CUdevice *d) {
    BEGIN(CONTEXT);
    *d = bound->device;
    return CUDA_SUCCESS;
}

API cuCtxSynchronize() {
    BEGIN(CONTEXT);
    if (CUresult r = forbid_capture())
        return r;
    if (CUresult r = flush_all())
        return r;
    check_red_zones(nullptr);
    return CUDA_SUCCESS;
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    BEGIN(CONTEXT);
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}

API cuCtxEnablePeerAccess(Context *, unsigned) {
    BEGIN(CONTEXT);
    return CUDA_SUCCESS;
}

struct ErrorText {
    CUresult code;
    const char *name, *text;
};
static const ErrorText error_texts[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {102, "CUDA_ERROR_DEVICE_NOT_LICENSED", "device doesn't have valid Grid license"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {712, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the requested memory range is already mapped"},
    {713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the capture was not initiated in this stream"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static CUresult error_text(CUresult code, const char **s, bool name) {
    for (const ErrorText &e : error_texts)
        if (e.code == code) {
            *s = name ? e.name : e.text;
            return CUDA_SUCCESS;
        }
    *s = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API cuGetErrorName(CUresult code, const char **s) { return error_text(code, s, true); }
API cuGetErrorString(CUresult code, const char **s) { return error_text(code, s, false); }
