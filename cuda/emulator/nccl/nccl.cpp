// NCCL for emulated devices, whose memory is the host's: ranks are processes of this host, rank 0 adds in the order of the ranks
// and sends the sums back, over Unix sockets whose name is the unique id. A rank that dies is noticed as by NCCL: an
// asynchronous error, and operations that hang until the communicator is aborted.
#include <dlfcn.h>      // dlsym
#include <poll.h>       // poll
#include <sys/socket.h> // socket
#include <sys/un.h>     // sockaddr_un
#include <unistd.h>     // close, getpid

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace {

enum Result { SUCCESS = 0, CUDA = 1, SYSTEM = 2, INTERNAL = 3, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE = 6 };
enum { UINT8 = 1, FLOAT32 = 7, SUM = 0 };

struct UniqueId {
    char bytes[128]; // the name of rank 0's socket
};

struct Comm {
    int ranks, rank;
    std::vector<int> sockets; // rank 0: to each rank from 1 on; others: one, to rank 0
    std::atomic<bool> aborted{false};
    std::atomic<int> error{SUCCESS};
};

std::mutex listening_mutex;
std::map<std::string, int> listening; // sockets of unique ids that this process has given out

struct Call {
    Comm *comm;
    void *data;
    size_t count;
    bool sum;
    void *stream;
};
thread_local int group_depth = 0;
thread_local std::vector<Call> queued;

sockaddr_un address(const char *name, socklen_t *length) {
    sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    size_t n = strnlen(name, sizeof a.sun_path - 1);
    memcpy(a.sun_path + 1, name, n); // abstract: no file is left behind
    *length = (socklen_t)(offsetof(sockaddr_un, sun_path) + 1 + n);
    return a;
}

// transfer reads or writes all bytes; false when the other side is gone.
bool transfer(int socket, void *data, size_t bytes, bool write) {
    char *p = (char *)data;
    while (bytes > 0) {
        ssize_t n = write ? send(socket, p, bytes, MSG_NOSIGNAL) : recv(socket, p, bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n, bytes -= (size_t)n;
    }
    return true;
}

bool sum_on_leader(Comm *c, float *x, size_t n) {
    std::vector<float> theirs(n);
    for (int s : c->sockets) {
        if (!transfer(s, theirs.data(), 4 * n, false))
            return false;
        for (size_t i = 0; i < n; i++)
            x[i] += theirs[i];
    }
    for (int s : c->sockets)
        if (!transfer(s, x, 4 * n, true))
            return false;
    return true;
}

bool copy_from_leader(Comm *c, void *x, size_t n) {
    for (int s : c->sockets)
        if (!transfer(s, x, n, c->rank == 0))
            return false;
    return true;
}

Result run(const Call &call) {
    Comm *c = call.comm;
    // The kernels before it in the stream, which may be lazy.
    auto wait = (int (*)(void *))dlsym(RTLD_DEFAULT, "cuStreamSynchronize");
    if (wait && wait(call.stream))
        return CUDA;
    bool ok;
    if (!call.sum)
        ok = copy_from_leader(c, call.data, call.count);
    else if (c->rank == 0)
        ok = sum_on_leader(c, (float *)call.data, call.count);
    else
        ok = transfer(c->sockets[0], call.data, 4 * call.count, true) && transfer(c->sockets[0], call.data, 4 * call.count, false);
    if (!ok) {
        c->error = REMOTE;
        while (!c->aborted) // a kernel that waits for a rank which is gone
            usleep(1000);
    }
    return SUCCESS;
}

Result submit(Call call) {
    if (!call.comm)
        return INVALID_ARGUMENT;
    queued.push_back(call);
    if (group_depth > 0)
        return SUCCESS;
    std::vector<Call> calls;
    calls.swap(queued);
    for (const Call &c : calls)
        if (Result r = run(c))
            return r;
    return SUCCESS;
}

// accept_ranks waits for the others, a minute at most.
bool accept_ranks(Comm *c, int listener) {
    c->sockets.assign((size_t)c->ranks - 1, -1);
    for (int i = 1; i < c->ranks; i++) {
        pollfd p = {listener, POLLIN, 0};
        int s = poll(&p, 1, 60000) == 1 ? accept(listener, nullptr, nullptr) : -1;
        int32_t rank = 0;
        if (s < 0 || !transfer(s, &rank, sizeof rank, false) || rank < 1 || rank >= c->ranks || c->sockets[(size_t)rank - 1] >= 0)
            return false;
        c->sockets[(size_t)rank - 1] = s;
    }
    return true;
}

void drop(Comm *c) {
    for (int s : c->sockets)
        close(s);
    delete c;
}

} // namespace

#define API extern "C" __attribute__((visibility("default"))) Result

API ncclGetVersion(int *version) {
    *version = 21805;
    return SUCCESS;
}

extern "C" __attribute__((visibility("default"))) const char *ncclGetErrorString(int r) {
    static const char *const texts[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error",
                                        "invalid argument", "invalid usage", "remote process exited or there was a network error"};
    return r >= 0 && r < 7 ? texts[r] : "unknown result code";
}

extern "C" __attribute__((visibility("default"))) const char *ncclGetLastError(Comm *) { return ""; }

API ncclGetUniqueId(UniqueId *id) {
    std::random_device random;
    memset(id, 0, sizeof *id);
    snprintf(id->bytes, 100, "lathe-nccl-%d-%08x%08x", getpid(), random(), random());
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t n;
    sockaddr_un a = address(id->bytes, &n);
    if (s < 0 || bind(s, (sockaddr *)&a, n) || listen(s, 64))
        return SYSTEM;
    std::lock_guard<std::mutex> lock(listening_mutex);
    listening[id->bytes] = s;
    return SUCCESS;
}

API ncclCommInitRank(Comm **out, int ranks, UniqueId id, int rank) {
    if (ranks < 1 || rank < 0 || rank >= ranks)
        return INVALID_ARGUMENT;
    id.bytes[sizeof id.bytes - 1] = 0;
    Comm *c = new Comm{ranks, rank};
    bool ok;
    if (rank == 0) {
        int listener;
        {
            std::lock_guard<std::mutex> lock(listening_mutex);
            auto i = listening.find(id.bytes);
            if (i == listening.end())
                return INVALID_ARGUMENT;
            listener = i->second;
            listening.erase(i);
        }
        ok = accept_ranks(c, listener);
        close(listener);
    } else {
        int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t n;
        sockaddr_un a = address(id.bytes, &n);
        int32_t mine = rank;
        ok = s >= 0 && !connect(s, (sockaddr *)&a, n) && transfer(s, &mine, sizeof mine, true);
        c->sockets.push_back(s);
    }
    if (!ok) {
        drop(c);
        return SYSTEM;
    }
    *out = c;
    return SUCCESS;
}

API ncclGroupStart() {
    group_depth++;
    return SUCCESS;
}

API ncclGroupEnd() {
    if (group_depth == 0)
        return INVALID_USAGE;
    if (--group_depth > 0)
        return SUCCESS;
    std::vector<Call> calls;
    calls.swap(queued);
    for (const Call &c : calls)
        if (Result r = run(c))
            return r;
    return SUCCESS;
}

API ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, Comm *c, void *stream) {
    if (from != to || type != FLOAT32 || operation != SUM) // all that is used
        return INVALID_ARGUMENT;
    return submit({c, to, count, true, stream});
}

API ncclBroadcast(const void *from, void *to, size_t count, int type, int root, Comm *c, void *stream) {
    if (from != to || type != UINT8 || root != 0)
        return INVALID_ARGUMENT;
    return submit({c, to, count, false, stream});
}

API ncclCommGetAsyncError(Comm *c, int *error) {
    *error = c->error;
    return SUCCESS;
}

API ncclCommDestroy(Comm *c) {
    drop(c);
    return SUCCESS;
}

// An aborted communicator stays in memory: an operation may just be finding out.
API ncclCommAbort(Comm *c) {
    c->aborted = true;
    for (int s : c->sockets)
        shutdown(s, SHUT_RDWR);
    return SUCCESS;
}
