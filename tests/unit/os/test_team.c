// The thread team under load: every count is exact, and barriers let nobody through early.
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "unit/cmocka_all.h"

static const int sizes[] = {1, 2, 3, 8, 17};

enum { N_ROUND = 300, MAX_TEAM = 32 };

typedef struct barrier_job {
    hth_team *team;
    int slot[MAX_TEAM * 16]; // one cache line per thread; plain: the barrier must order it
    atomic_int n_wrong;
} barrier_job;

// In each round every thread writes its slot, meets the others, and must see all slots of this round.
static void meet(void *user, int i_thread, int n_thread) {
    barrier_job *job = user;
    for (int round = 1; round <= N_ROUND; round++) {
        job->slot[i_thread * 16] = round;
        hth_team_barrier(job->team);
        for (int i = 0; i < n_thread; i++) {
            if (job->slot[i * 16] != round) atomic_fetch_add(&job->n_wrong, 1);
        }
        hth_team_barrier(job->team); // nobody writes the next round while another reads
    }
}

static void a_barrier_shows_everything_written_before_it(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(sizes); i++) {
        barrier_job job = {0};
        hth_err err;
        assert_int_equal(hth_team_new(sizes[i], &job.team, &err), HTH_OK);
        hth_team_run(job.team, meet, &job);
        assert_int_equal(atomic_load(&job.n_wrong), 0);
        for (int t = 0; t < sizes[i]; t++) assert_int_equal(job.slot[t * 16], N_ROUND);
        hth_team_free(job.team);
    }
}

static void count_one(void *user, int i_thread, int n_thread) {
    int *counts = user; // plain memory: start and end of a run must order it
    (void)n_thread;
    counts[i_thread * 16]++;
}

static void ten_thousand_runs_call_every_thread_each_time(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(sizes); i++) {
        static int counts[MAX_TEAM * 16];
        memset(counts, 0, sizeof counts);
        hth_team *team;
        hth_err err;
        assert_int_equal(hth_team_new(sizes[i], &team, &err), HTH_OK);
        assert_int_equal(hth_team_size(team), sizes[i]);
        for (int run = 1; run <= 10000; run++) {
            hth_team_run(team, count_one, counts);
            if (counts[(sizes[i] - 1) * 16] != run) fail_msg("a run returned before thread %d", sizes[i] - 1);
        }
        for (int t = 0; t < sizes[i]; t++) assert_int_equal(counts[t * 16], 10000);
        hth_team_free(team);
    }
}

typedef struct sleepy_job {
    hth_team *team;
    int late;
    atomic_int n_wrong;
    int flag;
} sleepy_job;

// One thread comes so late that the others are asleep in the kernel.
static void come_late(void *user, int i_thread, int n_thread) {
    sleepy_job *job = user;
    if (i_thread == job->late % n_thread) {
        uint64_t until = hth_clock_ns() + 3000000;
        while (hth_clock_ns() < until) {
        }
        job->flag = 1;
    }
    hth_team_barrier(job->team);
    if (job->flag != 1) atomic_fetch_add(&job->n_wrong, 1);
}

static void threads_that_fell_asleep_are_woken(void **state) {
    (void)state;
    sleepy_job job = {0};
    hth_err err;
    assert_int_equal(hth_team_new(3, &job.team, &err), HTH_OK);
    for (int i = 0; i < 12; i++) {
        job.flag = 0;
        job.late = i;
        hth_team_run(job.team, come_late, &job);
        assert_int_equal(atomic_load(&job.n_wrong), 0);
        uint64_t until = hth_clock_ns() + 2000000; // and a team that slept between runs
        while (hth_clock_ns() < until) {
        }
    }
    hth_team_free(job.team);
}

static void an_impossible_team_is_refused(void **state) {
    (void)state;
    const int bad[] = {0, -1, 1025, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        hth_team *team = (hth_team *)&state;
        hth_err err;
        assert_int_equal(hth_team_new(bad[i], &team, &err), HTH_ERR_RANGE);
        assert_null(team);
    }
    hth_team_free(NULL);
}

static void a_team_without_memory_is_refused(void **state) {
    (void)state;
    hth_team *team;
    hth_err err;
    hth_mem_fail_at(1, false);
    assert_int_equal(hth_team_new(4, &team, &err), HTH_ERR_NOMEM);
    assert_null(team);
    hth_mem_fail_at(0, false);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

// The address space is limited so that only some of the threads get a stack.
static void threads_that_the_system_refuses_leave_nothing_behind(void **state) {
    (void)state;
#ifdef IS_SANITIZED
    skip(); // sanitizers reserve terabytes of address space
#else
    struct rlimit before, small = {0};
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    small.rlim_cur = 600u << 20;
    small.rlim_max = before.rlim_max;
    if (setrlimit(RLIMIT_AS, &small) != 0) skip();
    hth_team *team = NULL;
    hth_err err = {0};
    hth_mem_stats stats;
    hth_code code = hth_team_new(1024, &team, &err);
    setrlimit(RLIMIT_AS, &before);
    if (code == HTH_OK) { // the system does not enforce the limit (emulation, macOS)
        hth_team_free(team);
        skip();
    }
    assert_int_equal(code, HTH_ERR_LIMIT);
    assert_null(team);
    assert_non_null(strstr(err.msg, "of 1024"));
    hth_mem_get_stats(&stats);
    assert_int_equal(stats.n_blocks, 0);
#endif
}

static void parts_cover_everything_once_at_unit_borders(void **state) {
    (void)state;
    for (int64_t n = 0; n < 70; n++) {
        for (int64_t unit = 1; unit <= 16; unit *= 4) {
            for (int n_thread = 1; n_thread < 9; n_thread++) {
                int64_t next = 0;
                for (int i = 0; i < n_thread; i++) {
                    int64_t first, last;
                    hth_team_part(n, unit, i, n_thread, &first, &last);
                    assert_int_equal(first, next);
                    assert_true(last >= first && (last == n || last % unit == 0));
                    next = last;
                }
                assert_int_equal(next, n);
            }
        }
    }
}

static void the_clock_never_goes_back(void **state) {
    (void)state;
    uint64_t last = hth_clock_ns();
    assert_true(last > 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = hth_clock_ns();
        assert_true(now >= last);
        last = now;
    }
}

static void the_machine_has_cores_memory_and_a_name(void **state) {
    (void)state;
    hth_machine m;
    hth_machine_get(&m);
    assert_true(m.n_logical >= 1 && m.n_logical == hth_cpu_count());
    assert_true(m.n_physical >= 1 && m.n_physical <= m.n_logical);
    assert_true(m.memory_bytes >= 64u << 20);
    assert_true(m.available_bytes > 0 && m.available_bytes <= m.memory_bytes);
    assert_true(m.page_bytes >= 4096 && (m.page_bytes & (m.page_bytes - 1)) == 0);
    assert_true(strlen(m.cpu_name) > 0);
    assert_string_not_equal(m.os, "unknown");
    assert_string_not_equal(m.arch, "unknown");
}

static void features_are_masked_by_the_environment(void **state) {
    (void)state;
    // main set HEARTH_CPU=ref before the first question; the answer never changes after it.
    assert_int_equal(hth_cpu_features(), 0);
    assert_string_equal(hth_cpu_feature_name(HTH_CPU_AVX2), "avx2");
    assert_string_equal(hth_cpu_feature_name(HTH_CPU_SVE2), "sve2");
}

int main(void) {
    setenv("HEARTH_CPU", "ref", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_barrier_shows_everything_written_before_it),
        cmocka_unit_test(ten_thousand_runs_call_every_thread_each_time),
        cmocka_unit_test(threads_that_fell_asleep_are_woken),
        cmocka_unit_test(an_impossible_team_is_refused),
        cmocka_unit_test(a_team_without_memory_is_refused),
        cmocka_unit_test(threads_that_the_system_refuses_leave_nothing_behind),
        cmocka_unit_test(parts_cover_everything_once_at_unit_borders),
        cmocka_unit_test(the_clock_never_goes_back),
        cmocka_unit_test(the_machine_has_cores_memory_and_a_name),
        cmocka_unit_test(features_are_masked_by_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
