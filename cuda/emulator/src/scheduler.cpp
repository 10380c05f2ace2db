// Fibers, barriers and the order in which threads and blocks run.
#include "scheduler.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

namespace emu {

Fiber *current;
Dim3 block_index, block_dim, grid_dim;
unsigned char *dynamic_shared;
uint64_t shuffle_seed;
const Kernel *running;
Counters counters;

constexpr size_t STACK_BYTES = 64 << 10, PAGE = 4096;
constexpr unsigned MAX_THREADS = 1024, MAX_DYNAMIC = 256 << 10;

static Fiber fibers[MAX_THREADS];
static Warp warps[MAX_THREADS / 32];
static void *stacks[MAX_THREADS]; // tops of the stacks that nobody uses
static char *stack_pages[MAX_THREADS]; // of all stacks that were made
static void *fresh_stack;         // the one that start_threads begins on
static unsigned free_stacks, made_stacks;
static unsigned threads, next_thread, exited;
static unsigned order[MAX_THREADS]; // in which threads start
static Fiber *ready[2 * MAX_THREADS];
static unsigned ready_first, ready_next;
static unsigned at_barrier, votes;
static const char *barrier_file;
static int barrier_line;
static Vote barrier_result;
static void *scheduler_stack;
static void **launch_arguments;
static uint64_t random_state;

// Functions that switch stacks, or are inlined into such, use no vector registers: a switch leaves those as they are.
#define SWITCHES __attribute__((target("general-regs-only")))

// switch_stack saves where the caller is and goes on at another stack, where the same was saved. It is inline: the processor then
// predicts the returns of the other fiber, which has come the same way. Needs -mno-red-zone.
SWITCHES static inline __attribute__((always_inline)) void switch_stack(void **save, void *to) {
    asm volatile("push %%rbp\n"
                 "lea 1f(%%rip), %%rax\n"
                 "push %%rax\n"
                 "mov %%rsp, (%0)\n"
                 "mov %1, %%rsp\n"
                 "pop %%rax\n"
                 "jmp *%%rax\n"
                 "1: pop %%rbp\n"
                 : "+D"(save), "+S"(to)
                 :
                 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

// random_below is xorshift64*.
SWITCHES static unsigned random_below(unsigned n) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)((random_state * 0x2545f4914f6cdd1dull >> 32) * n >> 32);
}

SWITCHES static inline __attribute__((always_inline)) void make_ready(Fiber *f) {
    unsigned at = ready_next++ % (2 * MAX_THREADS);
    ready[at] = f;
    if (shuffle_seed)
        std::swap(ready[at], ready[(ready_first + random_below(ready_next - ready_first)) % (2 * MAX_THREADS)]);
}

// take_stack returns the top of a free stack. The tops are spread over the cache's sets; 64 KiB apart they would all share one.
static void *take_stack() {
    if (free_stacks)
        return stacks[--free_stacks];
    void *p = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE)) {
        perror("lathe emulator: no memory for the stack of a thread");
        abort();
    }
    stack_pages[made_stacks] = (char *)p;
    return (char *)p + STACK_BYTES - made_stacks++ % 31 * 320;
}

bool below_stack(const void *p) {
    for (unsigned i = 0; i < made_stacks; i++)
        if (p >= stack_pages[i] && p < stack_pages[i] + PAGE)
            return true;
    return false;
}

static const char *base_name(const char *file) {
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

// describe_waiting names a few of the threads that wait, one for each place, and one that has exited.
static void describe_waiting() {
    for (unsigned i = ready_first; i != ready_next; i++)
        ready[i % (2 * MAX_THREADS)]->waits_at = nullptr; // they can go on
    const Fiber *shown[4];
    int n = 0;
    bool gone = false;
    for (unsigned i = 0; i < next_thread; i++) {
        const Fiber &f = fibers[order[i]];
        if (f.exited && !gone) {
            fprintf(stderr, "lathe emulator:   thread (%u,%u,%u) has exited\n", f.index.x, f.index.y, f.index.z);
            gone = true;
        }
        bool known = !f.waits_at || n == 4;
        for (int j = 0; j < n; j++)
            known |= shown[j]->waits_at == f.waits_at && shown[j]->line == f.line;
        if (known)
            continue;
        shown[n++] = &f;
        fprintf(stderr, "lathe emulator:   thread (%u,%u,%u) waits at %s", f.index.x, f.index.y, f.index.z, f.waits_at);
        if (f.file)
            fprintf(stderr, ", %s:%d", base_name(f.file), f.line);
        fputc('\n', stderr);
    }
}

void die(const char *format, ...) {
    if (running)
        fprintf(stderr, "lathe emulator: kernel %s of %s.cu, block (%u,%u,%u), ", running->name, running->module, block_index.x, block_index.y, block_index.z);
    else
        fprintf(stderr, "lathe emulator: ");
    if (running && current)
        fprintf(stderr, "thread (%u,%u,%u): ", current->index.x, current->index.y, current->index.z);
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    if (running)
        describe_waiting();
    fflush(stderr);
    abort();
}

static void start_threads();

// start_rather decides where both a started and a new thread could go on: the started one, or by lot when the order is shuffled.
SWITCHES static inline __attribute__((always_inline)) bool start_rather() {
    return next_thread < threads && (ready_first == ready_next || (shuffle_seed && random_below(2)));
}

// next_stack is where to go on when the current thread cannot: at a thread that is ready, or on a fresh stack with a new one.
SWITCHES static inline __attribute__((always_inline)) void *next_stack() {
    if (__builtin_expect(start_rather(), 0)) {
        fresh_stack = take_stack();
        void **top = (void **)((uintptr_t)fresh_stack & ~(uintptr_t)15) - 2;
        *top = (void *)start_threads; // which begins as if it were called: at 8 bytes beside a multiple of 16
        return top;
    }
    if (ready_first == ready_next)
        die("barrier divergence: of %u threads %u wait at __syncthreads, %u have exited, the others wait for lanes of their warp", threads, at_barrier, exited);
    current = ready[ready_first++ % (2 * MAX_THREADS)];
    if (ready_next - ready_first > 2) { // the next ones are known: their memory can be on its way
        __builtin_prefetch(ready[(ready_first + 2) % (2 * MAX_THREADS)]);
        __builtin_prefetch(ready[ready_first % (2 * MAX_THREADS)]->stack_pointer);
    }
    return current->stack_pointer;
}

// wait gives the processor away until the current thread has been made ready and its turn comes.
SWITCHES static inline __attribute__((always_inline)) void wait(const char *what, const char *file, int line) {
    Fiber *me = current;
    me->waits_at = what;
    me->file = file;
    me->line = line;
    switch_stack(&me->stack_pointer, next_stack());
    current->waits_at = nullptr;
}

// start_threads is what runs on a fresh stack: one thread after the other as long as none of them waits, so that a kernel without
// barriers never switches.
SWITCHES static void start_threads() {
    void *stack = fresh_stack, *nobody;
    while (exited < threads) {
        if (!start_rather()) {
            stacks[free_stacks++] = stack;
            switch_stack(&nobody, next_stack());
        }
        Fiber &f = fibers[order[next_thread++]];
        unsigned i = f.number, x = block_dim.x, y = block_dim.y;
        f.index = i < x ? Dim3{i, 0, 0} : Dim3{i % x, i / x % y, i / x / y};
        f.exited = false;
        f.waits_at = nullptr;
        f.copy_first = f.copy_next = f.copy_group = 0;
        current = &f;
        running->invoke(running->function, launch_arguments);
        current->exited = true;
        current->warp->live &= ~(1u << current->lane);
        exited++;
    }
    stacks[free_stacks++] = stack;
    switch_stack(&nobody, scheduler_stack);
}

SWITCHES static void arrive(const char *what, const char *file, int line) {
    if (at_barrier == 0) {
        barrier_file = file;
        barrier_line = line;
    } else if (line != barrier_line || (file != barrier_file && strcmp(file, barrier_file))) {
        die("barrier divergence: this thread is at %s, %s:%d, and others wait at %s:%d", what, base_name(file), line, base_name(barrier_file), barrier_line);
    }
    if (++at_barrier < threads)
        return wait(what, file, line);
    at_barrier = 0;
    barrier_result = Vote{votes > 0, votes == threads, (int)votes};
    votes = 0;
    counters.barriers++;
    for (unsigned i = 0; i < threads; i++)
        if (&fibers[i] != current)
            make_ready(&fibers[i]);
}

void barrier(const char *file, int line) { arrive("__syncthreads", file, line); }

Vote barrier_count(const char *file, int line, bool vote) {
    votes += vote;
    arrive("__syncthreads_count", file, line);
    return barrier_result;
}

static Meeting &meeting_of(Warp *w, unsigned mask) {
    if (mask == ~0u)
        return w->full;
    Meeting *free = nullptr;
    for (Meeting &m : w->partial) {
        if (m.arrived && m.mask == mask)
            return m;
        if (!m.arrived && !free)
            free = &m;
    }
    return *free; // every lane waits at one meeting at most, so one of 32 is free
}

SWITCHES void meet(unsigned mask, Work work, void *argument, const char *what) {
    Fiber *me = current;
    Warp *w = me->warp;
    Meeting &m = meeting_of(w, mask);
    if (m.arrived == 0) {
        m.mask = mask;
        m.work = work;
        m.what = what;
        if (mask & ~w->live)
            die("%s with mask %08x names lanes that have exited or do not exist (live: %08x)", what, mask, w->live);
        if (!(mask >> me->lane & 1))
            die("%s with mask %08x, which lacks the thread's own lane %u", what, mask, me->lane);
    } else if (m.work != work) {
        die("lanes of a warp are at different operations: this one at %s, others at %s", what, m.what);
    }
    m.lanes[me->lane] = argument;
    m.arrived |= 1u << me->lane;
    if (m.arrived != mask)
        return wait(what, nullptr, 0);
    m.arrived = 0;
    if (work)
        work(m.lanes, mask);
    for (unsigned left = mask & ~(1u << me->lane); left; left &= left - 1)
        make_ready(w->fibers[__builtin_ctz(left)]);
}

// dynamic_memory is where dynamic shared memory ends: the page behind it cannot be touched.
static unsigned char *dynamic_memory() {
    static unsigned char *end;
    if (!end) {
        void *p = mmap(nullptr, MAX_DYNAMIC + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect((char *)p + MAX_DYNAMIC, PAGE, PROT_NONE)) {
            perror("lathe emulator: no memory for shared memory");
            abort();
        }
        end = (unsigned char *)p + MAX_DYNAMIC;
    }
    return end;
}

static void prepare_threads(Dim3 block) {
    threads = block.x * block.y * block.z;
    for (unsigned i = 0; i < threads; i++) {
        Fiber &f = fibers[i];
        f.number = i;
        f.lane = i % 32;
        f.warp = &warps[i / 32];
        f.warp->fibers[f.lane] = &f;
        order[i] = i;
    }
}

// run_block runs the block of block_index. Shared memory is poisoned: a float read before it was written is a NaN.
SWITCHES static void run_block(unsigned shared_bytes) {
    if (running->shared_begin)
        memset(running->shared_begin, 0xff, running->shared_end - running->shared_begin);
    unsigned rounded = (shared_bytes + 127) / 128 * 128;
    unsigned char *end = dynamic_memory();
    dynamic_shared = end - rounded;
    memset(dynamic_shared, 0xff, rounded);
    for (unsigned i = 0; i < threads; i += 32)
        warps[i / 32].live = threads - i >= 32 ? ~0u : (1u << (threads - i)) - 1;
    if (shuffle_seed)
        for (unsigned i = threads - 1; i; i--)
            std::swap(order[i], order[random_below(i + 1)]);
    next_thread = exited = at_barrier = votes = ready_first = ready_next = 0;
    switch_stack(&scheduler_stack, next_stack());
    for (unsigned char *p = dynamic_shared + shared_bytes; p < end; p++)
        if (*p != 0xff)
            die("wrote %d bytes behind its %u bytes of dynamic shared memory", (int)(p - dynamic_shared - shared_bytes) + 1, shared_bytes);
}

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

void run(const Kernel &k, Dim3 grid, Dim3 block, unsigned shared_bytes, void **arguments) {
    running = &k;
    grid_dim = grid;
    block_dim = block;
    launch_arguments = arguments;
    prepare_threads(block);
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z, step = 1, first = 0;
    if (shuffle_seed) {
        random_state = shuffle_seed * 0x9e3779b97f4a7c15ull + counters.launches + 1;
        first = random_below((unsigned)(blocks < ~0u ? blocks : ~0u));
        do
            step = 1 + random_below((unsigned)(blocks < ~0u ? blocks : ~0u));
        while (common_divisor(step, blocks) != 1);
    }
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t id = shuffle_seed ? (uint64_t)(((unsigned __int128)i * step + first) % blocks) : i;
        block_index = Dim3{(unsigned)(id % grid.x), (unsigned)(id / grid.x % grid.y), (unsigned)(id / grid.x / grid.y)};
        run_block(shared_bytes);
    }
    counters.launches++;
    counters.threads += blocks * threads;
    running = nullptr;
    current = nullptr;
}

} // namespace emu
