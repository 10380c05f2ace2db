// Streams, events and graphs. An operation runs when it is submitted, unless the stream is captured, or streams are lazy
// (LATHE_EMU_LAZY): then it runs at the latest moment that the program's synchronisations allow, so that a missing one shows.
#include <cstdlib>
#include <ctime>
#include <deque>
#include <set>
#include <thread>

#include "driver.h"

namespace emu {

struct Graph {
    std::vector<Operation> nodes;
};

// Capture is a graph that grows; all streams that joined it by events share it.
struct Capture {
    Graph *graph;
    Stream *origin;
    int mode; // 0 global, 1 thread local, 2 relaxed
    std::thread::id thread;
    bool invalid;
};

struct Stream {
    std::deque<Operation> queue;
    Capture *capture = nullptr;
    unsigned flags = 0;
    int priority = 0;
};

struct Event {
    timespec time{};
    Stream *stream = nullptr; // where it was recorded last
    uint64_t wanted = 0, done = 0;
    Capture *capture = nullptr;
};

static std::recursive_mutex mutex;
static std::set<Stream *> streams;
static std::set<Event *> events;
static std::set<Graph *> graphs, executables;
static std::set<Capture *> captures;

using Lock = std::lock_guard<std::recursive_mutex>;

static bool is_default(Stream *s) { return s == nullptr || s == (Stream *)1 || s == (Stream *)2; }

static CUresult flush(Stream *s) {
    while (!s->queue.empty()) {
        Operation op = std::move(s->queue.front());
        s->queue.pop_front();
        if (CUresult r = op())
            return r;
    }
    return CUDA_SUCCESS;
}

CUresult flush_all() {
    Lock lock(mutex);
    for (Stream *s : streams)
        if (CUresult r = flush(s))
            return r;
    return CUDA_SUCCESS;
}

CUresult forbid_capture() {
    Lock lock(mutex);
    for (Capture *c : captures)
        if (c->mode == 0 || (c->mode == 1 && c->thread == std::this_thread::get_id())) {
            c->invalid = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    return CUDA_SUCCESS;
}

CUresult submit(Stream *s, Operation op) {
    Lock lock(mutex);
    if (is_default(s)) {
        if (CUresult r = forbid_capture())
            return r;
        if (CUresult r = flush_all())
            return r;
        return op();
    }
    if (!streams.count(s))
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture) {
        if (s->capture->invalid)
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        s->capture->graph->nodes.push_back(std::move(op));
        return CUDA_SUCCESS;
    }
    if (!settings().lazy)
        return op();
    s->queue.push_back(std::move(op));
    return CUDA_SUCCESS;
}

// settle lets the stream of an event run until the event is recorded.
static CUresult settle(Event *e, uint64_t wanted) {
    while (e->done < wanted && e->stream && streams.count(e->stream) && !e->stream->queue.empty()) {
        Operation op = std::move(e->stream->queue.front());
        e->stream->queue.pop_front();
        if (CUresult r = op())
            return r;
    }
    return CUDA_SUCCESS;
}

} // namespace emu

using namespace emu;

API cuStreamCreateWithPriority(Stream **s, unsigned flags, int priority) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    *s = new Stream;
    (*s)->flags = flags;
    (*s)->priority = priority;
    streams.insert(*s);
    return CUDA_SUCCESS;
}

API cuStreamCreate(Stream **s, unsigned flags) {
    BEGIN(CONTEXT);
    return cuStreamCreateWithPriority(s, flags, 0);
}

API cuStreamDestroy_v2(Stream *s) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!streams.count(s))
        return CUDA_ERROR_INVALID_HANDLE;
    CUresult r = flush(s);
    streams.erase(s);
    delete s;
    return r;
}

static CUresult synchronize(Stream *s) {
    Lock lock(emu::mutex);
    if (is_default(s))
        return flush_all();
    if (!streams.count(s))
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture) {
        s->capture->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return flush(s);
}

API cuStreamSynchronize(Stream *s) {
    BEGIN(CONTEXT);
    if (CUresult r = synchronize(s))
        return r;
    check_red_zones(nullptr);
    return CUDA_SUCCESS;
}

API cuStreamQuery(Stream *s) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (is_default(s))
        return CUDA_SUCCESS;
    if (!streams.count(s))
        return CUDA_ERROR_INVALID_HANDLE;
    return s->queue.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

API cuStreamWaitEvent(Stream *s, Event *e, unsigned) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!events.count(e) || (!is_default(s) && !streams.count(s)))
        return CUDA_ERROR_INVALID_HANDLE;
    if (e->capture) {
        if (is_default(s))
            return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
        s->capture = e->capture; // the stream joins the graph; nodes run in the order of their calls, which no dependency contradicts
        return CUDA_SUCCESS;
    }
    if (!is_default(s) && s->capture) {
        s->capture->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    uint64_t wanted = e->wanted;
    return submit(s, [=] { return settle(e, wanted); });
}

API cuEventCreate(Event **e, unsigned) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    *e = new Event;
    events.insert(*e);
    return CUDA_SUCCESS;
}

API cuEventDestroy_v2(Event *e) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!events.count(e))
        return CUDA_ERROR_INVALID_HANDLE;
    CUresult r = settle(e, e->wanted);
    events.erase(e);
    delete e;
    return r;
}

API cuEventRecord(Event *e, Stream *s) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!events.count(e) || (!is_default(s) && !streams.count(s)))
        return CUDA_ERROR_INVALID_HANDLE;
    e->stream = is_default(s) ? nullptr : s;
    e->capture = e->stream ? s->capture : nullptr;
    if (e->capture)
        return e->capture->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
    uint64_t number = ++e->wanted;
    return submit(s, [=] {
        clock_gettime(CLOCK_MONOTONIC, &e->time);
        e->done = number;
        return CUDA_SUCCESS;
    });
}

API cuEventSynchronize(Event *e) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!events.count(e))
        return CUDA_ERROR_INVALID_HANDLE;
    return settle(e, e->wanted);
}

API cuEventQuery(Event *e) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!events.count(e))
        return CUDA_ERROR_INVALID_HANDLE;
    return e->done == e->wanted ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

API cuEventElapsedTime(float *ms, Event *a, Event *b) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!events.count(a) || !events.count(b) || !a->wanted || !b->wanted)
        return CUDA_ERROR_INVALID_HANDLE;
    if (a->done != a->wanted || b->done != b->wanted)
        return CUDA_ERROR_NOT_READY;
    *ms = (float)((double)(b->time.tv_sec - a->time.tv_sec) * 1e3 + (double)(b->time.tv_nsec - a->time.tv_nsec) * 1e-6);
    return CUDA_SUCCESS;
}

API cuStreamBeginCapture_v2(Stream *s, int mode) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (is_default(s))
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (!streams.count(s))
        return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    s->capture = new Capture{new Graph, s, mode, std::this_thread::get_id(), false};
    captures.insert(s->capture);
    return CUDA_SUCCESS;
}

API cuStreamIsCapturing(Stream *s, int *status) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    *status = is_default(s) || !s->capture ? 0 : s->capture->invalid ? 2 : 1;
    return CUDA_SUCCESS;
}

API cuStreamEndCapture(Stream *s, Graph **g) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    *g = nullptr;
    if (is_default(s) || !streams.count(s))
        return CUDA_ERROR_INVALID_HANDLE;
    Capture *c = s->capture;
    if (!c)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (c->origin != s)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    for (Stream *joined : streams)
        if (joined->capture == c)
            joined->capture = nullptr;
    for (Event *e : events)
        if (e->capture == c)
            e->capture = nullptr;
    captures.erase(c);
    bool invalid = c->invalid;
    if (invalid)
        delete c->graph;
    else
        graphs.insert(*g = c->graph);
    delete c;
    return invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
}

API cuGraphGetNodes(Graph *g, void **nodes, size_t *n) {
    BEGIN(INITIALIZED);
    Lock lock(emu::mutex);
    if (!graphs.count(g) || nodes)
        return CUDA_ERROR_INVALID_VALUE;
    *n = g->nodes.size();
    return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(Graph **executable, Graph *g, unsigned long long) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!graphs.count(g))
        return CUDA_ERROR_INVALID_VALUE;
    executables.insert(*executable = new Graph(*g));
    return CUDA_SUCCESS;
}

API cuGraphLaunch(Graph *executable, Stream *s) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    if (!executables.count(executable))
        return CUDA_ERROR_INVALID_VALUE;
    for (const Operation &op : executable->nodes)
        if (CUresult r = submit(s, op))
            return r;
    return CUDA_SUCCESS;
}

API cuGraphUpload(Graph *executable, Stream *) {
    BEGIN(CONTEXT);
    Lock lock(emu::mutex);
    return executables.count(executable) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API cuGraphDestroy(Graph *g) {
    BEGIN(INITIALIZED);
    Lock lock(emu::mutex);
    if (!graphs.erase(g))
        return CUDA_ERROR_INVALID_VALUE;
    delete g;
    return CUDA_SUCCESS;
}

API cuGraphExecDestroy(Graph *executable) {
    BEGIN(INITIALIZED);
    Lock lock(emu::mutex);
    if (!executables.erase(executable))
        return CUDA_ERROR_INVALID_VALUE;
    delete executable;
    return CUDA_SUCCESS;
}
