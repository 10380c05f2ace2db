// Between the files of the emulated driver: CUDA's names and numbers, contexts, memory, streams.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "scheduler.h"

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = uint64_t;

enum : CUresult {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_ILLEGAL_STATE = 401,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903,
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905,
};

#define API extern "C" __attribute__((visibility("default"))) CUresult

namespace emu {

struct Settings {
    int devices = 1;
    uint64_t memory = 8ull << 30;
    int version = 12040;
    int capability = 80; // 8.0
    bool guard = false;
    bool lazy = false;
};
Settings &settings();

struct Context {
    int device;
    int retained;
    unsigned flags;
    uint64_t used;
};
extern Context contexts[8];
extern thread_local Context *bound;

// guard_call is what each entry of the driver begins with: an error that LATHE_EMU_FAIL orders, or one of the state.
enum Needs { NOTHING, INITIALIZED, CONTEXT };
CUresult begin_call(const char *name, Needs needs);
#define BEGIN(needs)                                                 \
    do {                                                             \
        if (CUresult begun = emu::begin_call(__func__, emu::needs)) \
            return begun;                                            \
    } while (0)

extern std::mutex launch_mutex; // one kernel at a time

// Operation is what a stream does in its turn, and what a node of a graph is.
using Operation = std::function<CUresult()>;
struct Stream;
// submit runs an operation now, records it when the stream is captured, or queues it when streams are lazy.
CUresult submit(Stream *s, Operation op);
// forbid answers the error of a call that may not be made while a stream is captured.
CUresult forbid_capture();
// flush_all runs all that streams have queued.
CUresult flush_all();

// Memory.
bool inside_device(CUdeviceptr p, uint64_t bytes); // [p, p+bytes) lies in one allocation
bool known_pointer(CUdeviceptr p);                 // device memory, or pinned memory of the host
bool inside_pinned(const void *p, uint64_t bytes);
void check_red_zones(const char *after);

struct Function; // a kernel of a module

} // namespace emu
