// Cost of meeting: one barrier and one run of the thread team, by number of threads.
#include <stdio.h>

#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"

enum { N_BARRIER = 20000, N_RUN = 20000 };

static void meet(void *user, int i_thread, int n_thread) {
    (void)i_thread;
    (void)n_thread;
    for (int i = 0; i < N_BARRIER; i++) hth_team_barrier(user);
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
        uint64_t start = hth_clock_ns();
        hth_team_run(team, meet, team);
        uint64_t middle = hth_clock_ns();
        for (int i = 0; i < N_RUN; i++) hth_team_run(team, do_nothing, NULL);
        uint64_t end = hth_clock_ns();
        printf("%7d  %10.0f  %6.0f\n", n, (double)(middle - start) / N_BARRIER, (double)(end - middle) / N_RUN);
        hth_team_free(team);
    }
    return 0;
}
