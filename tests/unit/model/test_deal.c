// Dealing out the items of an operation: every item goes to one thread, once, however fast the threads are.
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/cpu_deal.h"
#include "os/clock.h"
#include "os/thread.h"

enum { OPS = 300, MAX_ITEM = 3000, MAX_THREAD = 12 };

typedef struct job {
    hth_team *team;
    cpu_lane *lanes;
    atomic_int (*taken)[MAX_ITEM]; // [OPS] how often each item was dealt
    atomic_int own[MAX_THREAD];    // items that the thread was dealt
    atomic_int dealt[OPS];
    int slow; // the thread that after its first piece waits until all others are dealt; -1: none
} job;

static int64_t items_of(int op) {
    return (int64_t)op * 7919 % MAX_ITEM; // 0 among them
}

static void work(void *user, int i, int n) {
    job *j = user;
    for (int op = 0; op < OPS; op++) {
        const int64_t n_item = items_of(op), unit = 1 + op % 16;
        cpu_deal deal = cpu_deal_begin(j->lanes, i, n, n_item, unit, 1 + op % 40);
        for (int64_t first, last; cpu_deal_next(&deal, &first, &last);) {
            if (first < 0 || first >= last || last > n_item || first % unit != 0 || (last % unit != 0 && last != n_item)) abort();
            for (int64_t k = first; k < last; k++) atomic_fetch_add(&j->taken[op][k], 1);
            atomic_fetch_add(&j->own[i], (int)(last - first));
            atomic_fetch_add(&j->dealt[op], (int)(last - first));
            const uint64_t until = hth_clock_ns() + 10000000000u;
            while (i == j->slow && j->dealt[op] < n_item && hth_clock_ns() < until) sched_yield();
        }
        hth_team_barrier(j->team);
    }
}

static int run(int n_thread, int slow) {
    job j = {.slow = slow};
    j.taken = calloc(OPS, sizeof *j.taken);
    const size_t n_byte = (size_t)n_thread * sizeof *j.lanes;
    j.lanes = hth_alloc_aligned(HTH_MEM_SCRATCH, n_byte);
    assert_non_null(j.taken);
    assert_non_null(j.lanes);
    memset(j.lanes, 0, n_byte);
    assert_int_equal(hth_team_new(n_thread, &j.team, NULL), HTH_OK);
    hth_team_run(j.team, work, &j);
    hth_team_free(j.team);
    int64_t total = 0;
    for (int op = 0; op < OPS; op++) {
        for (int64_t k = 0; k < MAX_ITEM; k++) {
            const int want = k < items_of(op);
            if (j.taken[op][k] != want) fail_msg("operation %d, item %d: dealt %d times", op, (int)k, (int)j.taken[op][k]);
        }
        total += items_of(op);
    }
    int64_t dealt = 0;
    for (int i = 0; i < n_thread; i++) dealt += j.own[i];
    assert_true(dealt == total);
    hth_free(j.lanes);
    free(j.taken);
    return j.own[slow < 0 ? 0 : slow];
}

static void every_item_is_dealt_once(void **unused) {
    (void)unused;
    for (int n = 1; n <= MAX_THREAD; n += n < 4 ? 1 : 4) (void)run(n, -1);
}

static void a_slow_thread_is_relieved(void **unused) {
    (void)unused;
    const int64_t most_of_a_piece = 48;
    assert_true(run(2, 1) <= OPS * most_of_a_piece);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_dealt_once),
        cmocka_unit_test(a_slow_thread_is_relieved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
