// The thread team. Everything waits on events: a word that changes, watched first in a bounded spin
// and then in the kernel. Who changes the word wakes only if somebody said that it sleeps:
//
//   waiter                         signaller
//     n_sleeper += 1   (seq_cst)     value += 1        (seq_cst)
//     sleep if value is still old    if n_sleeper > 0: wake all
//
// One of the two always sees the other. A run is: publish the function, change `start`; each worker
// counts down `n_running` when done and the last changes `finish`. With more threads than CPUs spinning
// would take the CPU from the very thread that is waited for, so that such a team sleeps at once.
//
// The barrier is by dissemination (Hensgen, Finkel, Manber 1988): in round r thread i says that it came to thread
// i + 2^r and waits for thread i - 2^r, so that after log2(n) rounds all know of all. Every event has one writer and
// one reader, and two threads that come together pay for one passage of a cache line each way.
#include "os/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "os/cpu.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define MAX_THREAD 1024
#define CACHE_LINE 64
// Some 50 to 150 microseconds of pauses: longer than the gaps inside a step, shorter than a time slice.
#define N_SPIN 3000
// 3000 >> 6 is some 2 microseconds: still longer than a barrier of threads that all run.
#define MAX_IMPATIENCE 6
// The same on every system (macOS gives threads 512 KiB, musl 128 KiB).
#define STACK_BYTES ((size_t)2 << 20)

typedef struct event {
    alignas(CACHE_LINE) _Atomic uint32_t value;
    _Atomic uint32_t n_sleeper;
#if !defined(__linux__)
    pthread_mutex_t mutex;
    pthread_cond_t changed;
#endif
} event;

typedef struct worker {
    hth_team *team;
    pthread_t thread;
    int i_thread;
} worker;

struct hth_team {
    event start, finish;
    alignas(CACHE_LINE) _Atomic int n_running; // workers inside fn
    alignas(CACHE_LINE) hth_team_fn fn;        // written by the caller before `start` changes
    void *user;
    bool is_stopping; // as fn
    int n_thread, n_spin, n_round; // of a barrier: 2^n_round >= n_thread
    event *arrivals; // [n_thread, n_round]; value: barriers that the thread came to
    worker workers[]; // [n_thread - 1]
};

// This thread's number in the team whose function it runs.
static _Thread_local int my_number;

static void pause_cpu(void) {
#if defined(__x86_64__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("isb"); // `yield` takes no time at all on most cores
#endif
}

// --- events ---

#if defined(__linux__)

static bool event_init(event *e) {
    atomic_init(&e->value, 0);
    atomic_init(&e->n_sleeper, 0);
    return true;
}

static void event_destroy(event *e) {
    (void)e;
}

static void event_sleep(event *e, uint32_t old) {
    while (atomic_load_explicit(&e->value, memory_order_acquire) == old) {
        syscall(SYS_futex, &e->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    }
}

static void event_wake(event *e) {
    syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, MAX_THREAD, NULL, NULL, 0);
}

#else

static bool event_init(event *e) {
    atomic_init(&e->value, 0);
    atomic_init(&e->n_sleeper, 0);
    if (pthread_mutex_init(&e->mutex, NULL) != 0) return false;
    if (pthread_cond_init(&e->changed, NULL) == 0) return true;
    pthread_mutex_destroy(&e->mutex);
    return false;
}

static void event_destroy(event *e) {
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->mutex);
}

static void event_sleep(event *e, uint32_t old) {
    pthread_mutex_lock(&e->mutex);
    while (atomic_load_explicit(&e->value, memory_order_acquire) == old) {
        pthread_cond_wait(&e->changed, &e->mutex);
    }
    pthread_mutex_unlock(&e->mutex);
}

static void event_wake(event *e) {
    pthread_mutex_lock(&e->mutex); // a sleeper is now before its check or inside the wait
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

#endif

// How far below n_spin this thread's patience is, in powers of two. A spin in vain halves it and one that
// is answered doubles it: on a busy machine, where the one that is waited for may not run, waiting soon
// means sleeping.
static _Thread_local int impatience;

static void event_wait(event *e, uint32_t old, int n_spin) {
    int n = n_spin >> impatience;
    for (int i = 0; i < n; i++) {
        if (atomic_load_explicit(&e->value, memory_order_acquire) != old) {
            if (i > 0 && impatience > 0) impatience--;
            return;
        }
        pause_cpu();
    }
    if (impatience < MAX_IMPATIENCE) impatience++;
    atomic_fetch_add(&e->n_sleeper, 1);
    event_sleep(e, old);
    atomic_fetch_sub(&e->n_sleeper, 1);
}

static void event_signal(event *e) {
    atomic_fetch_add(&e->value, 1);
    if (atomic_load(&e->n_sleeper) > 0) event_wake(e);
}

// --- the team ---

static void *work(void *arg) {
    const worker *w = arg;
    hth_team *team = w->team;
    my_number = w->i_thread;
    for (uint32_t n_run = 0;; n_run++) {
        event_wait(&team->start, n_run, team->n_spin);
        if (team->is_stopping) return NULL;
        team->fn(team->user, w->i_thread, team->n_thread);
        if (atomic_fetch_sub_explicit(&team->n_running, 1, memory_order_acq_rel) == 1) {
            event_signal(&team->finish);
        }
    }
}

// Starts worker i with all signals blocked: Ctrl-C belongs to the program's own threads.
static int start_worker(worker *w, const pthread_attr_t *attr) {
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); // of a map whose file was cut off (file_guard.c): it comes to who reads
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int bad = pthread_create(&w->thread, attr, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return bad;
}

static void join_workers(hth_team *team, int n) {
    team->is_stopping = true;
    event_signal(&team->start);
    for (int i = 0; i < n; i++) pthread_join(team->workers[i].thread, NULL);
}

// Starts all workers or none.
static hth_code start_workers(hth_team *team, hth_err *err) {
    int n_worker = team->n_thread - 1, n_started = 0;
    pthread_attr_t attr;
    if (n_worker == 0) return HTH_OK;
    if (pthread_attr_init(&attr) != 0) return hth_fail(err, HTH_ERR_NOMEM, "cannot start threads");
    int bad = pthread_attr_setstacksize(&attr, STACK_BYTES);
    while (bad == 0 && n_started < n_worker) {
        worker *w = &team->workers[n_started];
        *w = (worker){.team = team, .i_thread = n_started + 1};
        bad = start_worker(w, &attr);
        if (bad == 0) n_started++;
    }
    pthread_attr_destroy(&attr);
    if (bad == 0) return HTH_OK;
    join_workers(team, n_started);
    return hth_fail(err, HTH_ERR_LIMIT, "the system refused to start thread %d of %d (error %d)",
                    n_started + 2, team->n_thread, bad);
}

// All events of the team, one by one.
static event *event_at(hth_team *team, int i) {
    return i == 0 ? &team->start : i == 1 ? &team->finish : &team->arrivals[i - 2];
}

static void destroy_events(hth_team *team, int n) {
    for (int i = 0; i < n; i++) event_destroy(event_at(team, i));
}

static bool init_events(hth_team *team) {
    for (int i = 0; i < 2 + team->n_thread * team->n_round; i++) {
        if (event_init(event_at(team, i))) continue;
        destroy_events(team, i);
        return false;
    }
    return true;
}

static void free_memory(hth_team *team) {
    hth_free(team->arrivals);
    hth_free(team);
}

static void release(hth_team *team) {
    destroy_events(team, 2 + team->n_thread * team->n_round);
    free_memory(team);
}

hth_code hth_team_new(int n_thread, hth_team **out, hth_err *err) {
    *out = NULL;
    if (n_thread < 1 || n_thread > MAX_THREAD) {
        return hth_fail(err, HTH_ERR_RANGE, "a team of %d threads is not possible: 1 to %d are", n_thread,
                        MAX_THREAD);
    }
    size_t n_bytes = sizeof(hth_team) + (size_t)(n_thread - 1) * sizeof(worker);
    hth_team *team = hth_alloc_aligned(HTH_MEM_MISC, n_bytes);
    if (!team) return hth_fail_nomem(err, n_bytes);
    memset(team, 0, n_bytes);
    team->n_thread = n_thread;
    team->n_spin = n_thread <= hth_cpu_count() ? N_SPIN : 0;
    while (1 << team->n_round < n_thread) team->n_round++;
    atomic_init(&team->n_running, 0);
    n_bytes = (size_t)n_thread * (size_t)team->n_round * sizeof(event);
    team->arrivals = hth_alloc_aligned(HTH_MEM_MISC, n_bytes > 0 ? n_bytes : sizeof(event));
    if (!team->arrivals) {
        hth_free(team);
        return hth_fail_nomem(err, n_bytes);
    }
    if (!init_events(team)) {
        free_memory(team);
        return hth_fail(err, HTH_ERR_NOMEM, "cannot start threads");
    }
    hth_code code = start_workers(team, err);
    if (code != HTH_OK) {
        release(team);
        return code;
    }
    *out = team;
    return HTH_OK;
}

void hth_team_free(hth_team *team) {
    if (!team) return;
    join_workers(team, team->n_thread - 1);
    release(team);
}

int hth_team_size(const hth_team *team) {
    return team->n_thread;
}

void hth_team_run(hth_team *team, hth_team_fn fn, void *user) {
    const int number = my_number; // the caller may itself be somebody's worker
    my_number = 0;
    if (team->n_thread == 1) {
        fn(user, 0, 1);
    } else {
        uint32_t finished = atomic_load_explicit(&team->finish.value, memory_order_relaxed);
        team->fn = fn;
        team->user = user;
        atomic_store_explicit(&team->n_running, team->n_thread - 1, memory_order_relaxed);
        event_signal(&team->start);
        fn(user, 0, team->n_thread);
        event_wait(&team->finish, finished, team->n_spin);
    }
    my_number = number;
}

void hth_team_barrier(hth_team *team) {
    for (int r = 0; r < team->n_round; r++) {
        event *mine = &team->arrivals[my_number * team->n_round + r];
        const int from = (my_number - (1 << r) + team->n_thread) % team->n_thread;
        // The other may already have come to the next barrier, but not to the one after it.
        const uint32_t before = atomic_load_explicit(&mine->value, memory_order_relaxed);
        event_signal(mine);
        event_wait(&team->arrivals[from * team->n_round + r], before, team->n_spin);
    }
}
