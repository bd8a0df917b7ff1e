// The thread team. A run is a new value of `run`; a barrier is a new value of `phase`, set by the last thread
// to arrive. Waiters spin for a bounded time, then sleep on the word; with more threads than cores they
// hardly spin at all, because the one they wait for needs the core.
#include "os/thread.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "os/cpu.h"
#include "os/wait.h"

#define SPIN_FITTING 4000
#define SPIN_CROWDED 20
#define MAX_THREAD 1024

typedef struct team_worker {
    hth_team *team;
    int i;
    pthread_t thread;
} team_worker;

// Words written by different threads lie on lines of their own.
struct hth_team {
    int n, n_started; // threads, the caller included; workers that exist
    int n_spin;
    hth_team_fn fn;
    void *user;
    bool quit;
    team_worker *workers; // [n - 1] owned
    _Alignas(64) _Atomic uint32_t run;
    _Alignas(64) _Atomic uint32_t phase;
    _Alignas(64) _Atomic int arrived;
    _Alignas(64) _Atomic int sleeping;
};

// Returns when *word != seen.
static void await_change(hth_team *team, _Atomic uint32_t *word, uint32_t seen) {
    for (int i = 0; i < team->n_spin; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen) return;
        hth_os_relax();
    }
    // Sequentially consistent: either the waker sees us in `sleeping`, or we see its new value.
    atomic_fetch_add(&team->sleeping, 1);
    while (atomic_load(word) == seen) hth_os_wait(word, seen);
    atomic_fetch_sub(&team->sleeping, 1);
}

static void announce(hth_team *team, _Atomic uint32_t *word) {
    atomic_fetch_add(word, 1);
    if (atomic_load(&team->sleeping) > 0) hth_os_wake(word);
}

void hth_team_barrier(hth_team *team) {
    if (team->n == 1) return;
    uint32_t phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == team->n) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        announce(team, &team->phase);
    } else {
        await_change(team, &team->phase, phase);
    }
}

static void *run_worker(void *arg) {
    team_worker *w = arg;
    hth_team *team = w->team;
    for (uint32_t seen = 0;; seen++) {
        await_change(team, &team->run, seen);
        if (team->quit) return NULL;
        team->fn(team->user, w->i, team->n);
        hth_team_barrier(team);
    }
}

void hth_team_run(hth_team *team, hth_team_fn fn, void *user) {
    team->fn = fn;
    team->user = user;
    if (team->n > 1) announce(team, &team->run);
    fn(user, 0, team->n);
    hth_team_barrier(team);
}

void hth_team_free(hth_team *team) {
    if (!team) return;
    team->quit = true;
    announce(team, &team->run);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->workers[i].thread, NULL);
    hth_free(team->workers);
    hth_free(team);
}

hth_code hth_team_new(int n_thread, hth_team **out, hth_err *err) {
    *out = NULL;
    if (n_thread < 1 || n_thread > MAX_THREAD) {
        return hth_fail(err, HTH_ERR_RANGE, "%d threads; 1 to %d are possible", n_thread, MAX_THREAD);
    }
    hth_team *team = hth_alloc_aligned(HTH_MEM_MISC, sizeof *team);
    if (!team) return hth_fail_nomem(err, sizeof *team);
    hth_machine machine;
    hth_machine_get(&machine);
    *team = (hth_team){.n = n_thread, .n_spin = n_thread <= machine.n_logical ? SPIN_FITTING : SPIN_CROWDED};
    team->workers = hth_calloc(HTH_MEM_MISC, (size_t)n_thread, sizeof *team->workers);
    if (!team->workers) {
        hth_free(team);
        return hth_fail_nomem(err, (uint64_t)n_thread * sizeof *team->workers);
    }
    for (int i = 0; i < n_thread - 1; i++) {
        team->workers[i] = (team_worker){.team = team, .i = i + 1};
        if (pthread_create(&team->workers[i].thread, NULL, run_worker, &team->workers[i]) != 0) {
            hth_team_free(team);
            return hth_fail(err, HTH_ERR_NOMEM, "thread %d of %d could not be started", i + 2, n_thread);
        }
        team->n_started++;
    }
    *out = team;
    return HTH_OK;
}

int hth_team_size(const hth_team *team) {
    return team->n;
}
