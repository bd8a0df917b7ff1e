// The probe: that its loops run, end and count right, not how fast they are.
#include "check.h"

#include "base/mem.h"
#include "kernels/probe.h"
#include "os/clock.h"
#include "os/thread.h"

static const uint32_t masks[] = {
    0,
    HTH_CPU_AVX2,
    HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI,
    HTH_CPU_AVX2 | HTH_CPU_AVX512,
    HTH_CPU_NEON,
    HTH_CPU_NEON | HTH_CPU_DOTPROD,
    UINT32_MAX,
};

static void run_loop(const hth_probe_loop *l) {
    if (!l->name) return;
    assert_true(l->n_op > 0);
    for (int64_t n = -1; n <= 3; n++) l->run(n); // must end, whatever it is told
}

static void loops_of_every_level_run_and_end(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(masks); i++) {
        hth_probe p;
        hth_probe_fill(&p, masks[i] & hth_cpu_features());
        assert_non_null(p.read);
        assert_non_null(p.f32.name);
        assert_non_null(p.i8.name);
        run_loop(&p.f32);
        run_loop(&p.bf16);
        run_loop(&p.i8);
        run_loop(&p.tile);
    }
}

// A loop whose n had no effect, or that the compiler left out, would take the same time.
static void many_rounds_take_longer_than_few(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(masks); i++) {
        hth_probe p;
        hth_probe_fill(&p, masks[i] & hth_cpu_features());
        const hth_probe_loop *const loops[] = {&p.f32, &p.bf16, &p.i8, &p.tile};
        for (size_t l = 0; l < HTH_COUNT(loops); l++) {
            if (!loops[l]->name) continue;
            uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
            for (int run = 0; run < 5; run++) {
                for (int k = 0; k < 2; k++) {
                    const uint64_t begin = hth_clock_ns();
                    loops[l]->run(k ? 200000 : 1000);
                    const uint64_t ns = hth_clock_ns() - begin;
                    if (ns < best[k]) best[k] = ns;
                }
            }
            if (best[1] < 20 * best[0]) fail_msg("%s: 200 times the rounds take %.1f times as long", loops[l]->name,
                                                 (double)best[1] / (double)best[0]);
        }
    }
}

static void reading_stays_between_guard_pages(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(masks); i++) {
        hth_probe p;
        hth_probe_fill(&p, masks[i] & hth_cpu_features());
        for (int64_t n = 0; n <= 8 * HTH_PROBE_READ_BYTES; n += HTH_PROBE_READ_BYTES) {
            for (guard_side side = GUARD_BEFORE; side < GUARD_SIDES; side++) p.read(guarded(0, (size_t)n, side), n);
        }
    }
}

static void limits_are_numbers_above_zero(void **state) {
    (void)state;
    for (int n = 1; n <= 3; n += 2) {
        hth_team *team;
        hth_limits l;
        hth_err err;
        assert_int_equal(hth_team_new(n, &team, &err), HTH_OK);
        assert_int_equal(hth_limits_measure(team, 0, &l, &err), HTH_OK);
        hth_team_free(team);
        assert_int_equal(l.n_thread, n);
        assert_true(l.read > 0 && l.read_one > 0 && l.f32 > 0 && l.i8_vector > 0);
        assert_true(l.i8 >= l.i8_vector);
        assert_true((l.bf16 > 0) == (l.bf16_name != NULL));
    }
}

static void memory_that_is_refused_is_an_error(void **state) {
    (void)state;
    hth_team *team;
    hth_limits l;
    hth_err err;
    assert_int_equal(hth_team_new(1, &team, &err), HTH_OK);
    hth_mem_fail_at(1, false);
    assert_int_equal(hth_limits_measure(team, 0, &l, &err), HTH_ERR_NOMEM);
    hth_mem_fail_at(0, false);
    hth_team_free(team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_of_every_level_run_and_end), cmocka_unit_test(many_rounds_take_longer_than_few),
        cmocka_unit_test(reading_stays_between_guard_pages), cmocka_unit_test(limits_are_numbers_above_zero),
        cmocka_unit_test(memory_that_is_refused_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
