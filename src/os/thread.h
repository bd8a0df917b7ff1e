// The thread team: N persistent threads (the caller is thread 0) that run one function together
// and meet at barriers. Waiting spins for a bounded time, then sleeps in the kernel.
#ifndef HTH_OS_THREAD_H
#define HTH_OS_THREAD_H

#include "base/err.h"

typedef struct hth_team hth_team;

// Starts n_thread - 1 threads. 1 <= n_thread <= 1024. Returns owned; hth_team_free joins them.
HTH_NODISCARD hth_code hth_team_new(int n_thread, hth_team **out, hth_err *err);
void hth_team_free(hth_team *team);
int hth_team_size(const hth_team *team);

// Runs fn(user, i_thread, n_thread) on every thread of the team and returns when all have finished.
// One caller at a time; not from inside fn.
typedef void (*hth_team_fn)(void *user, int i_thread, int n_thread);
void hth_team_run(hth_team *team, hth_team_fn fn, void *user);

// Inside fn only: waits until every thread of the team has arrived. What a thread wrote before is
// visible to all after.
void hth_team_barrier(hth_team *team);

// Splits [0, n) into n_thread contiguous parts whose borders are multiples of `unit` (except n).
static inline void hth_team_part(int64_t n, int64_t unit, int i_thread, int n_thread, int64_t *first,
                                 int64_t *last) {
    int64_t n_unit = (n + unit - 1) / unit;
    *first = n_unit * i_thread / n_thread * unit;
    *last = n_unit * (i_thread + 1) / n_thread * unit;
    if (*first > n) *first = n;
    if (*last > n) *last = n;
}

#endif
