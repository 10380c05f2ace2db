#define _GNU_SOURCE // pthread_setaffinity_np, sched_getcpu
#include "pool.h"

#include <pthread.h>   // threads, mutex, condition
#include <sched.h>     // sched_getaffinity, sched_yield
#include <signal.h>    // workers take no signals: they belong to Go's threads
#include <stdatomic.h> // tickets
#include <stdint.h>
#include <stdio.h>  // /sys/devices/system/cpu
#include <unistd.h> // sysconf

#if defined(__x86_64__)
#include <immintrin.h>
#define relax() _mm_pause()
#elif defined(__aarch64__)
#define relax() __asm__ volatile("yield")
#else
#define relax() ((void)0)
#endif

// A ticket packs the next index to claim (28 bits), the number of tasks (28) and the highest worker that may take part (8).
// Claiming is one compare-and-swap on the whole, so a worker that wakes late either claims a task of the job that runs now
// or finds none; a claimed task keeps its job alive, because the caller waits for every task (not for every worker: one
// that the system has not scheduled holds nobody up).
enum { MAX_TASKS = (1 << 28) - 1 };
static uint64_t ticket(uint64_t next, uint64_t tasks, uint64_t last) { return next << 36 | tasks << 8 | last; }
static uint64_t next_of(uint64_t t) { return t >> 36; }
static uint64_t tasks_of(uint64_t t) { return t >> 8 & MAX_TASKS; }
static int last_of(uint64_t t) { return (int)(t & 255); }

enum { SPIN = 4000 }; // pauses before parking: about 50-100 µs

static struct {
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_int done;
    _Alignas(64) atomic_int busy;     // a caller owns the pool
    atomic_int sleepers;              // parked workers
    atomic_int caller_parked;         // the caller waits in `finished`
    _Atomic(lathe_task) fn;
    _Atomic(void *) arg;
    pthread_mutex_t mutex;
    pthread_cond_t work, finished;
    atomic_int threads;               // wanted, caller included; 0 before the first use
    atomic_int spin;                  // pauses before parking: none unless every thread has a CPU of its own
    atomic_int quit;
    int started;                      // workers running; ids 1 … started
    pthread_t thread[LATHE_MAX_THREADS];
    int cpus[LATHE_MAX_THREADS], ncpus, cores; // allowed CPUs, the first `cores` of them on different cores
    int home[LATHE_MAX_THREADS];      // the CPU that each worker is pinned to; home[0] is the caller's
    int pinned;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER};

static _Thread_local int nested; // this thread is inside a task, or inside lathe_parallel
static _Thread_local int self;   // this thread's worker number

// run_claimed claims and runs tasks until none is left.
static void run_claimed(void) {
    uint64_t t = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    for (;;) {
        const uint64_t next = next_of(t), tasks = tasks_of(t);
        if (next >= tasks || self > last_of(t))
            return;
        if (!atomic_compare_exchange_weak_explicit(&pool.ticket, &t, ticket(next + 1, tasks, (uint64_t)last_of(t)),
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        lathe_task fn = atomic_load_explicit(&pool.fn, memory_order_relaxed);
        fn(atomic_load_explicit(&pool.arg, memory_order_relaxed), (int)next, self);
        if (atomic_fetch_add(&pool.done, 1) + 1 == (int)tasks && atomic_load(&pool.caller_parked)) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_signal(&pool.finished);
            pthread_mutex_unlock(&pool.mutex);
        }
        t = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    }
}

static int has_work(void) {
    const uint64_t t = atomic_load(&pool.ticket);
    return next_of(t) < tasks_of(t) && self <= last_of(t);
}

static int spins(void) { return atomic_load_explicit(&pool.spin, memory_order_relaxed); }

static void *worker_main(void *arg) {
    self = (int)(intptr_t)arg;
    nested = 1;
    while (!atomic_load(&pool.quit)) {
        int left = spins();
        while (left-- > 0 && !has_work() && !atomic_load_explicit(&pool.quit, memory_order_relaxed))
            relax();
        if (!has_work()) {
            pthread_mutex_lock(&pool.mutex);
            atomic_fetch_add(&pool.sleepers, 1);
            while (!has_work() && !atomic_load(&pool.quit))
                pthread_cond_wait(&pool.work, &pool.mutex);
            atomic_fetch_sub(&pool.sleepers, 1);
            pthread_mutex_unlock(&pool.mutex);
        }
        run_claimed();
    }
    return NULL;
}

#if defined(__linux__)
// first_of_core says whether no allowed CPU with a smaller number shares the core of this one.
static int first_of_core(int cpu, const cpu_set_t *set) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "r");
    if (!f)
        return 1;
    int first = 1, a, b;
    char sep = ',';
    while (sep == ',' && fscanf(f, "%d", &a) == 1) {
        b = a;
        if (fscanf(f, "%c", &sep) == 1 && sep == '-' && fscanf(f, "%d%c", &b, &sep) < 1)
            b = a;
        for (int i = a; i <= b && i < cpu; i++)
            if (CPU_ISSET(i, set))
                first = 0;
    }
    fclose(f);
    return first;
}

static void find_cpus(void) {
    cpu_set_t set;
    pool.ncpus = pool.cores = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int pass = 1; pass >= 0; pass--) {
            for (int c = 0; c < CPU_SETSIZE && pool.ncpus < LATHE_MAX_THREADS; c++)
                if (CPU_ISSET(c, &set) && first_of_core(c, &set) == pass)
                    pool.cpus[pool.ncpus++] = c;
            if (pass == 1)
                pool.cores = pool.ncpus;
        }
    }
    if (pool.ncpus == 0) { // more CPUs than cpu_set_t holds
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        pool.ncpus = pool.cores = n < 1 ? 1 : n > LATHE_MAX_THREADS ? LATHE_MAX_THREADS : (int)n;
        for (int i = 0; i < pool.ncpus; i++)
            pool.cpus[i] = i;
    }
}

static void pin(int worker, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pool.home[worker] = cpu;
    pthread_setaffinity_np(pool.thread[worker], sizeof set, &set);
}

// make_room keeps workers off the caller's CPU. The caller is one of Go's threads and is not ours to pin: where it has moved
// to a worker's CPU, that worker takes the free one.
static void make_room(void) {
    int cpu = sched_getcpu();
    if (!pool.pinned || cpu < 0 || cpu == pool.home[0])
        return;
    for (int w = 1; w <= pool.started; w++)
        if (pool.home[w] == cpu) {
            pin(w, pool.home[0]);
            pool.home[0] = cpu;
            return;
        }
}

static void pin_workers(void) {
    // With few CPUs the system's own balancing does better, above all beside other processes; and with fewer threads than cores
    // two processes would sit on the same ones.
    pool.pinned = pool.cores >= 4 && pool.started + 1 == pool.cores;
    if (!pool.pinned)
        return;
    pool.home[0] = pool.cpus[0];
    for (int w = 1; w <= pool.started; w++)
        pin(w, pool.cpus[w]);
}
#else
static void find_cpus(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    pool.ncpus = pool.cores = n < 1 ? 1 : n > LATHE_MAX_THREADS ? LATHE_MAX_THREADS : (int)n;
}
static void make_room(void) {}
static void pin_workers(void) {}
#endif

// start brings the number of workers to the wanted one, or as near as the system allows. The pool must be owned (busy).
static void start(int threads) {
    if (pool.started + 1 > threads) {
        atomic_store(&pool.quit, 1);
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_broadcast(&pool.work);
        pthread_mutex_unlock(&pool.mutex);
        for (int w = 1; w <= pool.started; w++)
            pthread_join(pool.thread[w], NULL);
        pool.started = 0;
        atomic_store(&pool.quit, 0);
    }
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.started + 1 < threads) {
        int w = pool.started + 1;
        if (pthread_create(&pool.thread[w], NULL, worker_main, (void *)(intptr_t)w) != 0)
            break;
        pool.started = w;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    atomic_store(&pool.threads, pool.started + 1);
    atomic_store(&pool.spin, pool.started + 1 <= pool.ncpus ? SPIN : 0);
    pin_workers();
}

static int own(void) {
    int idle = 0;
    return atomic_compare_exchange_strong(&pool.busy, &idle, 1);
}

static void disown(void) { atomic_store(&pool.busy, 0); }

void lathe_set_threads(int n) {
    while (!own())
        sched_yield();
    find_cpus();
    if (n <= 0)
        n = pool.cores;
    start(n > LATHE_MAX_THREADS ? LATHE_MAX_THREADS : n);
    disown();
}

int lathe_cores(void) {
    while (!own())
        sched_yield();
    find_cpus();
    const int cores = pool.cores;
    disown();
    return cores;
}

int lathe_threads(void) {
    if (atomic_load(&pool.threads) == 0)
        lathe_set_threads(0);
    return atomic_load(&pool.threads);
}

static void wait_done(int tasks) {
    for (int left = spins(); left > 0; left--) {
        if (atomic_load_explicit(&pool.done, memory_order_acquire) == tasks)
            return;
        relax();
    }
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.caller_parked, 1);
    while (atomic_load(&pool.done) != tasks)
        pthread_cond_wait(&pool.finished, &pool.mutex);
    atomic_store(&pool.caller_parked, 0);
    pthread_mutex_unlock(&pool.mutex);
}

void lathe_await(const int *count, int n) {
    for (int left = spins(); __atomic_load_n(count, __ATOMIC_ACQUIRE) <= n; left--) {
        if (left > 0)
            relax();
        else
            sched_yield();
    }
}

void lathe_announce(int *count, int n) { __atomic_store_n(count, n, __ATOMIC_RELEASE); }

int lathe_alone(int alone) {
    const int was = nested;
    nested = alone;
    return was;
}

void lathe_parallel(int tasks, lathe_task fn, void *arg) { lathe_parallel_on(LATHE_MAX_THREADS, tasks, fn, arg); }

void lathe_parallel_on(int workers, int tasks, lathe_task fn, void *arg) {
    if (tasks <= 0)
        return;
    if (tasks == 1 || workers <= 1 || tasks > MAX_TASKS || nested || lathe_threads() == 1 || !own()) {
        int was = nested;
        nested = 1;
        for (int i = 0; i < tasks; i++)
            fn(arg, i, self < workers ? self : 0);
        nested = was;
        return;
    }
    nested = 1;
    make_room();
    atomic_store_explicit(&pool.fn, fn, memory_order_relaxed);
    atomic_store_explicit(&pool.arg, arg, memory_order_relaxed);
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    const int last = workers < LATHE_MAX_THREADS ? workers - 1 : LATHE_MAX_THREADS - 1;
    atomic_store(&pool.ticket, ticket(0, (uint64_t)tasks, (uint64_t)last));
    if (atomic_load(&pool.sleepers) > 0) {
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_broadcast(&pool.work);
        pthread_mutex_unlock(&pool.mutex);
    }
    run_claimed();
    wait_done(tasks);
    nested = 0;
    disown();
}
