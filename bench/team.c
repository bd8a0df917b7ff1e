// Cost of meeting: one barrier and one run of the thread team, by number of threads. The figures are those of the
// best batch, because other programs may be running.
#include <math.h>
#include <stdio.h>

#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"

enum { N_BATCH = 2000, N_BARRIER = 50, N_RUN = 20 };

// Thread 0 writes down the best batch of barriers.
typedef struct meeting {
    hth_team *team;
    double best;
} meeting;

static void meet(void *user, int i_thread, int n_thread) {
    (void)n_thread;
    meeting *m = user;
    for (int batch = 0; batch < N_BATCH; batch++) {
        uint64_t start = hth_clock_ns();
        for (int i = 0; i < N_BARRIER; i++) hth_team_barrier(m->team);
        if (i_thread == 0) m->best = fmin(m->best, (double)(hth_clock_ns() - start) / N_BARRIER);
    }
}

static void do_nothing(void *user, int i_thread, int n_thread) {
    (void)user;
    (void)i_thread;
    (void)n_thread;
}

int main(void) {
    int n_cpu = hth_cpu_count();
    printf("threads  barrier ns  run ns   (%d CPUs)\n", n_cpu);
    for (int n = 1; n <= n_cpu * 2; n *= 2) {
        hth_team *team;
        hth_err err;
        if (hth_team_new(n, &team, &err) != HTH_OK) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        meeting m = {.team = team, .best = 1e9};
        hth_team_run(team, meet, &m);
        double run = 1e9;
        for (int batch = 0; batch < N_BATCH; batch++) {
            uint64_t start = hth_clock_ns();
            for (int i = 0; i < N_RUN; i++) hth_team_run(team, do_nothing, NULL);
            run = fmin(run, (double)(hth_clock_ns() - start) / N_RUN);
        }
        printf("%7d  %10.0f  %6.0f\n", n, m.best, run);
        hth_team_free(team);
    }
    return 0;
}
