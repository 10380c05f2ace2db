// Threads and processor tiers. One pool serves the whole process.
#ifndef LATHE_POOL_H
#define LATHE_POOL_H

// lathe_task runs the task of that index; worker is in [0, lathe_threads()) and no two tasks that run at the same time on
// behalf of one lathe_parallel call have the same worker, so it may index scratch memory.
typedef void (*lathe_task)(void *arg, int index, int worker);

// lathe_parallel runs fn for every index in [0, tasks) and returns when all are done. The calling thread takes part as
// worker 0. Which worker runs which index is not fixed: a task's result must not depend on it. A nested call, or one made while
// another thread uses the pool, runs its tasks one after the other on the calling thread.
void lathe_parallel(int tasks, lathe_task fn, void *arg);

// lathe_parallel_on lets only workers below `workers` take part: for scratch memory that was sized for that many, while another
// device of the process may set the number of threads anew.
void lathe_parallel_on(int workers, int tasks, lathe_task fn, void *arg);

// lathe_await returns once *count is above n, and sees what was written before lathe_announce set it. A task may wait so for one of a
// lower index: that one is done or runs, because tasks are claimed in their order.
void lathe_await(const int *count, int n);
void lathe_announce(int *count, int n);

// lathe_alone makes lathe_parallel run its tasks one after the other on this thread (alone) or as ever (0). It returns what was before.
int lathe_alone(int alone);

// lathe_threads is the number of threads, the caller's included; at first lathe_cores.
int lathe_threads(void);

// lathe_cores is the number of physical cores that the process may run on (its affinity; quotas are not looked at).
int lathe_cores(void);

// lathe_set_threads changes that number; n ≤ 0 restores the default. It waits for a running lathe_parallel.
void lathe_set_threads(int n);

// LATHE_MAX_THREADS bounds lathe_threads.
#define LATHE_MAX_THREADS 256

// Tiers of kernels: AVX2 stands for AVX2+FMA+F16C, AVX512 for F+BW+DQ+VL on top of that, AVX512BF16 and AMX (tiles of bfloat16) for
// products in bfloat16 beside AVX512's kernels.
enum { LATHE_PLAIN = 0, LATHE_AVX2 = 1, LATHE_AVX512 = 2, LATHE_AVX512BF16 = 3, LATHE_AMX = 4 };

// lathe_tier is the tier in use: the best that processor and operating system support, unless forced lower.
int lathe_tier(void);

// lathe_best_tier is the best tier of this machine.
int lathe_best_tier(void);

// lathe_set_tier forces a tier; it returns 0, or -1 (and changes nothing) where this machine does not have it.
int lathe_set_tier(int tier);

#endif
