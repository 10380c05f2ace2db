// CUDA's execution model on one OS thread. A block's threads are fibers: a thread runs until it waits for others, and then another
// one goes on. Blocks run one after the other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace emu {

struct Dim3 {
    unsigned x, y, z;
};

struct Warp;

// Copy is a cp.async on its way: the bytes arrive when the thread waits for its group.
struct Copy {
    void *dst;
    const void *src; // null: zeros
    unsigned bytes, group;
};
constexpr unsigned MAX_COPIES = 256; // of one thread; more arrive early, as they may

struct alignas(64) Fiber {
    void *stack_pointer;
    Dim3 index;
    unsigned number, lane;
    int line;
    Warp *warp;
    const char *waits_at; // what the thread waits for; null while it runs
    const char *file;     // and where, with line
    bool exited;
    unsigned copy_first, copy_next, copy_group; // of cp.async
};

extern Fiber *current;
extern Dim3 block_index, block_dim, grid_dim;
extern unsigned char *dynamic_shared;

// die writes where the running kernel stands and aborts.
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct Vote {
    int any, all, count;
};
void barrier(const char *file, int line);
Vote barrier_count(const char *file, int line, bool vote);

struct Shuffle {
    uint64_t in;
    unsigned source;
    uint64_t out;
};
void warp_sync(unsigned mask);
void warp_shuffle(unsigned mask, Shuffle *s);
unsigned warp_ballot(unsigned mask, bool vote);

enum MmaType { MMA_BF16, MMA_F16 };
void warp_mma(MmaType type, int rows, int columns, float *c, const unsigned *a, const unsigned *b);
void warp_ldmatrix(int matrices, bool trans, unsigned *r, const void *row);

void cp_async(void *dst, const void *src, unsigned bytes, bool valid);
void cp_async_commit();
void cp_async_wait(unsigned groups);

unsigned short float_to_f16_plain(float x);
float f16_to_float_plain(unsigned short x);

// Kernel is what KERNEL registers: how to call the function with an array of pointers to arguments, as cuLaunchKernel has them.
struct Kernel {
    const char *name, *module;
    unsigned max_threads;
    unsigned char *shared_begin, *shared_end;
    void (*function)();
    void (*invoke)(void (*function)(), void **arguments);
    int arguments;
    const unsigned char *sizes;   // of each argument
    const unsigned char *pointer; // whether it is one
};
bool add_kernel(const Kernel &k);

template <class... A> struct Invoke {
    template <size_t... I> static void go(void (*f)(A...), void **p, std::index_sequence<I...>) { f(*(A *)p[I]...); }
    static void call(void (*f)(), void **p) { go((void (*)(A...))f, p, std::index_sequence_for<A...>()); }
};

template <class... A>
bool add_kernel(const char *name, const char *module, unsigned threads, unsigned char *begin, unsigned char *end, void (*f)(A...)) {
    static_assert(((sizeof(A) <= 8 && std::is_scalar<A>::value) && ...), "kernel arguments are pointers and numbers of at most 8 bytes");
    static const unsigned char sizes[] = {(unsigned char)sizeof(A)..., 0}, pointer[] = {(unsigned char)std::is_pointer<A>::value..., 0};
    return add_kernel(Kernel{name, module, threads, begin, end, (void (*)())f, &Invoke<A...>::call, (int)sizeof...(A), sizes, pointer});
}

} // namespace emu
