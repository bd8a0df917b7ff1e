// The table itself: which entries there are and how they are described.
#include "check.h"

#include "os/thread.h"

enum { THREADS = 4 };
static const hth_kernels *seen[THREADS];
static bool filled[THREADS];

static void get_one(void *user, int i_thread, int n_thread) {
    (void)user;
    (void)n_thread;
    seen[i_thread] = hth_kernels_get();
    filled[i_thread] = seen[i_thread]->tanh_cap != NULL; // the last entry, when the table was handed out
}

// Runs first: nobody has asked for the table before.
static void threads_that_ask_at_once_get_one_filled_table(void **state) {
    (void)state;
    hth_team *team;
    hth_kernels want;
    assert_int_equal(hth_team_new(THREADS, &team, NULL), HTH_OK);
    hth_team_run(team, get_one, NULL);
    hth_team_free(team);
    hth_kernels_fill(&want, hth_cpu_features());
    for (int i = 0; i < THREADS; i++) {
        assert_true(filled[i] && seen[i] == hth_kernels_get());
        assert_true(seen[i]->gemm_f32 == want.gemm_f32);
    }
}

static void every_entry_is_filled_at_every_level(void **state) {
    (void)state;
    hth_kernels k;
    const char *name, *level;
    char op[48];
    FOR_EACH_LEVEL(k, name) {
        int n = 0;
        for (; hth_kernels_describe(&k, n, op, &level); n++)
            if (strcmp(level, "none") == 0) fail_msg("%s: no %s", name, op);
        assert_true(n > 40 + 30);
    }
}

static void numbers_that_are_no_type_have_no_dequantize(void **state) {
    (void)state;
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++)
        assert_int_equal(hth_type_get(t) != NULL, hth_kernels_get()->dequantize[t] != NULL);
}

static void level_of(const hth_kernels *k, const char *what, char out[16]) {
    char op[48];
    const char *level;
    for (int i = 0; hth_kernels_describe(k, i, op, &level); i++)
        if (strcmp(op, what) == 0) {
            snprintf(out, 16, "%s", level);
            return;
        }
    fail_msg("%s is not described", what);
}

static void describe_names_the_level_of_each_entry(void **state) {
    (void)state;
    hth_kernels k;
    const char *name;
    char level[16];
    FOR_EACH_LEVEL(k, name) {
        level_of(&k, "gemm_f32", level);
        assert_string_equal(level, name);
        level_of(&k, "dequantize q4_K", level);
        assert_string_equal(level, name);
        level_of(&k, "dequantize f64", level);
        assert_string_equal(level, "ref");
    }
}

static void describe_ends(void **state) {
    (void)state;
    char op[48];
    const char *level;
    assert_false(hth_kernels_describe(hth_kernels_get(), -1, op, &level));
    assert_false(hth_kernels_describe(hth_kernels_get(), 1000, op, &level));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_ask_at_once_get_one_filled_table),
        cmocka_unit_test(every_entry_is_filled_at_every_level),
        cmocka_unit_test(numbers_that_are_no_type_have_no_dequantize),
        cmocka_unit_test(describe_names_the_level_of_each_entry),
        cmocka_unit_test(describe_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
