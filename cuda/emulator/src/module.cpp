// Modules and launches. A module is PTX text, as it is shipped: the emulator runs the kernel of the same name that was compiled as
// C++, after it has compared its arguments with the PTX entry's.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver.h"

namespace emu {

static std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> k;
    return k;
}

bool add_kernel(const Kernel &k) {
    if (!kernels().emplace(k.name, k).second) {
        fprintf(stderr, "lathe emulator: two kernels are called %s (the second is in %s.cu)\n", k.name, k.module);
        abort();
    }
    return true;
}

struct Function {
    const Kernel *kernel;
    int shared_bytes;      // static
    int dynamic_bytes = 0; // allowed by cuFuncSetAttribute beyond 48 KiB
};

struct Module {
    std::string ptx;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

static std::mutex mutex;
static std::set<Module *> modules;
static std::set<Function *> functions;
int device_attribute(int a);

// entry_of returns the text of an entry of the PTX, or "".
static std::string entry_of(const std::string &ptx, const std::string &name) {
    size_t at = ptx.find(".entry " + name + "(");
    if (at == std::string::npos)
        at = ptx.find(".entry " + name + "\n"); // an entry without parameters
    if (at == std::string::npos)
        return "";
    size_t next = ptx.find(".entry ", at + 1);
    return ptx.substr(at, next == std::string::npos ? next : next - at);
}

// parameter_sizes reads ".param .u64 name_param_0" and the like from an entry's head.
static std::vector<int> parameter_sizes(const std::string &entry) {
    std::vector<int> sizes;
    std::string head = entry.substr(0, entry.find('{'));
    for (size_t at = 0; (at = head.find(".param .", at)) != std::string::npos; at++)
        sizes.push_back(atoi(head.c_str() + at + strlen(".param .") + 1) / 8);
    return sizes;
}

// static_shared adds up the shared memory that an entry declares: ".shared .align 16 .b8 name[1024];".
static int static_shared(const std::string &entry) {
    int bytes = 0;
    for (size_t at = 0; (at = entry.find(".shared .align ", at)) != std::string::npos; at++) {
        int align = 0, n = 0;
        if (sscanf(entry.c_str() + at, ".shared .align %d .b8 %*[^[][%d]", &align, &n) == 2 && align > 0)
            bytes = (bytes + align - 1) / align * align + n;
    }
    return bytes;
}

static CUresult check_ptx(const std::string &ptx) {
    int major = 0, minor = 0, target = 0;
    size_t version = ptx.find(".version "), sm = ptx.find(".target sm_");
    if (version == std::string::npos || sm == std::string::npos)
        return CUDA_ERROR_INVALID_IMAGE;
    sscanf(ptx.c_str() + version, ".version %d.%d", &major, &minor);
    sscanf(ptx.c_str() + sm, ".target sm_%d", &target);
    // PTX 7.8 came with CUDA 11.8, 8.0 with 12.0, and so on.
    int cuda = major >= 8 ? 12000 + minor * 10 : 11000 + minor * 10;
    if (cuda > settings().version)
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    return target > settings().capability ? CUDA_ERROR_NO_BINARY_FOR_GPU : CUDA_SUCCESS;
}

// Faults of the thread that runs a kernel.
static struct sigaction former[NSIG];
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static pid_t faulting_thread;

static void on_fault(int sig, siginfo_t *info, void *context) {
    if (faulting_thread != (pid_t)syscall(SYS_gettid)) {
        struct sigaction &f = former[sig];
        if (f.sa_flags & SA_SIGINFO)
            f.sa_sigaction(sig, info, context);
        else if (f.sa_handler != SIG_DFL && f.sa_handler != SIG_IGN)
            f.sa_handler(sig);
        else
            _exit(128 + sig);
        return;
    }
    faulting_thread = 0;
    if (sig == SIGILL)
        die("an index outside of its array, or an access that is not aligned to its type (at %p)", info->si_addr);
    if (sig == SIGFPE)
        die("an integer division by zero (at %p)", info->si_addr);
    if (below_stack(info->si_addr))
        die("the stack of a thread is too small: 64 KiB hold its arrays here, and a GPU would spill them");
    die("an access to address %p, which is in no memory (%s)", info->si_addr,
        inside_device((CUdeviceptr)info->si_addr - 4096, 0) ? "just behind an allocation" : "no allocation is just before it");
}

void catch_faults() {
    faulting_thread = (pid_t)syscall(SYS_gettid);
    struct sigaction a = {};
    a.sa_sigaction = on_fault;
    a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigfillset(&a.sa_mask);
    for (int s : faults)
        sigaction(s, &a, &former[s]);
}

void release_faults() {
    for (int s : faults)
        sigaction(s, &former[s], nullptr);
    faulting_thread = 0;
}

// Launch is a call of cuLaunchKernel with a copy of its arguments.
struct Launch {
    Function *function;
    Dim3 grid, block;
    unsigned shared;
    std::vector<uint64_t> values;
};

static CUresult run_launch(const Launch &l) {
    std::lock_guard<std::mutex> lock(launch_mutex);
    const Kernel &k = *l.function->kernel;
    void *arguments[128];
    for (int i = 0; i < k.arguments; i++) {
        arguments[i] = (void *)&l.values[(size_t)i];
        if (k.pointer[i] && l.values[(size_t)i] && !known_pointer(l.values[(size_t)i]))
            die("argument %d of kernel %s is %p, which is no memory of the device", i, k.name, (void *)l.values[(size_t)i]);
    }
    // Go sends signals to preempt threads; on a fiber's stack its handler would be lost.
    sigset_t all, before;
    sigfillset(&all);
    for (int s : faults)
        sigdelset(&all, s);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    stack_t own = {}, old;
    static char *handler_stack = new char[64 << 10];
    own.ss_sp = handler_stack;
    own.ss_size = 64 << 10;
    sigaltstack(&own, &old);
    catch_faults();
    run(k, l.grid, l.block, l.shared, arguments);
    release_faults();
    sigaltstack(&old, nullptr);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    check_red_zones(k.name);
    return CUDA_SUCCESS;
}

static bool is_function(Function *f) {
    std::lock_guard<std::mutex> lock(mutex);
    return functions.count(f) > 0;
}

} // namespace emu

using namespace emu;

// lathe_emu_kernels lists what was compiled: a line "module kernel" for each.
extern "C" __attribute__((visibility("default"))) const char *lathe_emu_kernels() {
    static std::string list;
    if (list.empty())
        for (const auto &k : kernels())
            list += std::string(k.second.module) + " " + k.first + "\n";
    return list.c_str();
}

API cuModuleLoadData(Module **m, const void *image) {
    BEGIN(CONTEXT);
    if (CUresult r = forbid_capture())
        return r;
    std::string ptx = (const char *)image;
    if (CUresult r = check_ptx(ptx))
        return r;
    std::lock_guard<std::mutex> lock(emu::mutex);
    *m = new Module{ptx, {}};
    modules.insert(*m);
    return CUDA_SUCCESS;
}

API cuModuleLoadDataEx(Module **m, const void *image, unsigned, int *, void **) {
    BEGIN(CONTEXT);
    return cuModuleLoadData(m, image);
}

API cuModuleUnload(Module *m) {
    BEGIN(CONTEXT);
    std::lock_guard<std::mutex> lock(emu::mutex);
    if (!modules.erase(m))
        return CUDA_ERROR_INVALID_HANDLE;
    for (auto &f : m->functions)
        functions.erase(f.second.get());
    delete m;
    return CUDA_SUCCESS;
}

API cuModuleGetFunction(Function **f, Module *m, const char *name) {
    BEGIN(CONTEXT);
    std::lock_guard<std::mutex> lock(emu::mutex);
    if (!modules.count(m))
        return CUDA_ERROR_INVALID_HANDLE;
    auto known = m->functions.find(name);
    if (known != m->functions.end()) {
        *f = known->second.get();
        return CUDA_SUCCESS;
    }
    std::string entry = entry_of(m->ptx, name);
    auto k = kernels().find(name);
    if (entry.empty())
        return CUDA_ERROR_NOT_FOUND;
    if (k == kernels().end())
        die("the PTX has an entry %s, but no kernel of that name was compiled for the emulator", name);
    std::vector<int> sizes = parameter_sizes(entry);
    bool same = (int)sizes.size() == k->second.arguments;
    for (size_t i = 0; same && i < sizes.size(); i++)
        same = sizes[i] == k->second.sizes[i];
    if (!same)
        die("the arguments of kernel %s in the PTX are not those of its source: run go run ./tools/kernels", name);
    auto made = std::make_unique<Function>();
    made->kernel = &k->second;
    made->shared_bytes = static_shared(entry);
    functions.insert(*f = made.get());
    m->functions[name] = std::move(made);
    return CUDA_SUCCESS;
}

API cuFuncGetAttribute(int *value, int attribute, Function *f) {
    BEGIN(CONTEXT);
    if (!is_function(f))
        return CUDA_ERROR_INVALID_HANDLE;
    switch (attribute) {
    case 0: // MAX_THREADS_PER_BLOCK
        *value = (int)f->kernel->max_threads;
        return CUDA_SUCCESS;
    case 1: // SHARED_SIZE_BYTES
        *value = f->shared_bytes;
        return CUDA_SUCCESS;
    case 4: // NUM_REGS: PTX does not tell
        *value = 64;
        return CUDA_SUCCESS;
    case 5: // PTX_VERSION
    case 6: // BINARY_VERSION
        *value = 80;
        return CUDA_SUCCESS;
    case 8: // MAX_DYNAMIC_SHARED_SIZE_BYTES
        *value = f->dynamic_bytes ? f->dynamic_bytes : 49152 - f->shared_bytes;
        return CUDA_SUCCESS;
    }
    *value = 0;
    return attribute >= 0 && attribute < 16 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API cuFuncSetAttribute(Function *f, int attribute, int value) {
    BEGIN(CONTEXT);
    if (!is_function(f))
        return CUDA_ERROR_INVALID_HANDLE;
    if (attribute == 9) // PREFERRED_SHARED_MEMORY_CARVEOUT
        return value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (attribute != 8 || value < 0 || value + f->shared_bytes > device_attribute(97))
        return CUDA_ERROR_INVALID_VALUE;
    f->dynamic_bytes = value;
    return CUDA_SUCCESS;
}

API cuFuncSetCacheConfig(Function *f, int) {
    BEGIN(CONTEXT);
    return is_function(f) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *f, int threads, size_t dynamic) {
    BEGIN(CONTEXT);
    if (!is_function(f))
        return CUDA_ERROR_INVALID_HANDLE;
    if (threads <= 0 || threads > 1024)
        return CUDA_ERROR_INVALID_VALUE;
    int shared = f->shared_bytes + (int)dynamic + device_attribute(111);
    *blocks = std::min({device_attribute(106), device_attribute(39) / threads, device_attribute(81) / shared, 65536 / (64 * threads)});
    return CUDA_SUCCESS;
}

API cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Stream *s, void **arguments, void **extra) {
    BEGIN(CONTEXT);
    if (!is_function(f))
        return CUDA_ERROR_INVALID_HANDLE;
    const Kernel &k = *f->kernel;
    if (extra || !gx || !gy || !gz || gx > 0x7fffffffu || gy > 65535 || gz > 65535 || !bx || !by || !bz || bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > k.max_threads)
        return CUDA_ERROR_INVALID_VALUE;
    unsigned most = f->dynamic_bytes ? (unsigned)f->dynamic_bytes : 49152u - (unsigned)f->shared_bytes;
    if (shared > most)
        return CUDA_ERROR_INVALID_VALUE;
    Launch l{f, {gx, gy, gz}, {bx, by, bz}, shared, std::vector<uint64_t>((size_t)k.arguments)};
    for (int i = 0; i < k.arguments; i++)
        memcpy(&l.values[(size_t)i], arguments[i], k.sizes[i]);
    return submit(s, [l] { return run_launch(l); });
}
