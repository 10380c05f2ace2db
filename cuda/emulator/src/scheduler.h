// Between the files of the emulator: blocks of fibers, what a warp meets at, and how the emulator gives up.
#pragma once
#include "emu.h"

namespace emu {

// Meeting is where the lanes of a mask come together; the last one does the work for all, as the hardware does it in one instruction.
using Work = void (*)(void **lanes, unsigned mask);
struct Meeting {
    unsigned mask, arrived;
    Work work;
    const char *what;
    void *lanes[32];
};
constexpr int MAX_PARTIAL = 32;
struct Warp {
    unsigned live; // lanes that exist and have not exited
    Fiber *fibers[32];
    Meeting full;
    Meeting partial[MAX_PARTIAL]; // by mask
};

// meet waits for the other lanes of the mask and does work with all their arguments once.
void meet(unsigned mask, Work work, void *argument, const char *what);

// run executes a grid. arguments are pointers as in cuLaunchKernel and have to stay.
void run(const Kernel &k, Dim3 grid, Dim3 block, unsigned shared_bytes, void **arguments);


// shuffle_seed is what LATHE_EMU_SHUFFLE gives; 0 runs threads and blocks in their order.
extern uint64_t shuffle_seed;
extern const Kernel *running;

// below_stack tells whether an address is in the page under a thread's stack.
bool below_stack(const void *p);

// Counters of what the kernels did since the library was loaded, for a roofline without a GPU.
struct Counters {
    uint64_t launches, threads, barriers, mma, ldmatrix, ldmatrix_conflicts, async_bytes;
};
extern Counters counters;

// catch_faults makes a fault of this thread name the kernel, the block and the thread; release puts the former handlers back.
void catch_faults();
void release_faults();

} // namespace emu
