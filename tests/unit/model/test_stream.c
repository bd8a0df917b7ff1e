// A model whose experts come from disk gives the bits of the resident one, and a disk that fails costs a step.
#include "model/residency.h"
#include "rig.h"
#include "tiny_moe.h"

enum { N_LAYER = MOE_LAYERS, N_EXPERT = MOE_EXPERTS, N_ROW = 40, D = MOE_D, D_FF = MOE_D_FF };

static char folder[128], weights[160];

static int write_model(void **state) {
    (void)state;
    tiny *t = malloc(sizeof *t);
    tiny_moe(t);
    tiny_make_dir(folder);
    tiny_write_config(t, folder);
    tiny_write_weights(t, folder);
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    free(t);
    return 0;
}

static int remove_model(void **state) {
    (void)state;
    tiny_remove_dir(folder);
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return stats.n_blocks == 0 ? 0 : -1;
}

// The cache holds n_slot experts; 0: everything is resident.
static rig open_rig(int n_thread, int64_t n_slot) {
    rig r;
    hth_err err = {0};
    if (hth_model_open(folder, &r.m, &err) != HTH_OK) fail_msg("%s", err.msg);
    // A part of an expert, wherever it begins, lies in so many blocks.
    const uint64_t part = (D * D_FF * sizeof(float) + HTH_DIRECT_ALIGN - 1 + HTH_DIRECT_ALIGN - 1) / HTH_DIRECT_ALIGN;
    hth_residency plan = {.is_streamed = n_slot > 0, .cache_bytes = (uint64_t)n_slot * 3 * part * HTH_DIRECT_ALIGN};
    if (hth_residency_apply(r.m, &plan, NULL, NULL, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(plan.n_slot, n_slot);
    assert_int_equal(hth_team_new(n_thread, &r.team, &err), HTH_OK);
    assert_int_equal(hth_executor_cpu_new(r.team, &r.ex, &err), HTH_OK);
    return r;
}

// Rows in steps of n_chunk; from n_prompt on they are generated ones.
static float *run_rows(const rig *r, hth_row *rows, int32_t n_prompt, int32_t n_chunk, hth_activations activations) {
    float *logits = rig_floats((int64_t)N_ROW * TINY_VOCAB);
    hth_state *s = rig_state(r, 512);
    for (int32_t i = n_prompt; i < N_ROW; i++) rows[i].kind = HTH_ROW_GENERATED;
    for (int32_t at = 0, n; at < N_ROW; at += n) {
        n = at >= n_prompt ? 1 : n_prompt - at < n_chunk ? n_prompt - at : n_chunk;
        hth_step step = rig_step(r, &s, 1, rows + at, n, logits + (int64_t)at * TINY_VOCAB);
        step.activations = activations;
        rig_must(r, &step);
    }
    hth_state_free(s);
    return logits;
}

static void streamed_experts_give_the_bits_of_resident_ones(void **state) {
    static const int64_t rooms[] = {3, 4, 7, 20, N_LAYER * N_EXPERT};
    static const int32_t chunks[] = {1, 2, 5, 25};
    (void)state;
    hth_row *rows = rig_tokens(N_ROW, 0, 31);
    rig resident = open_rig(1, 0);
    for (int a = HTH_ACTIVATIONS_Q8; a <= HTH_ACTIVATIONS_F32; a++) {
        float *want = run_rows(&resident, rows, 25, 25, (hth_activations)a);
        for (int i = 0; i < N_ROW * TINY_VOCAB; i++) assert_true(isfinite(want[i]));
        for (size_t k = 0; k < HTH_COUNT(rooms); k++) {
            rig r = open_rig(1 + (int)k % 3, rooms[k]);
            for (size_t c = 0; c < HTH_COUNT(chunks); c++) {
                float *got = run_rows(&r, rows, 25, chunks[c], (hth_activations)a);
                if (!rig_same(got, want, N_ROW * TINY_VOCAB)) {
                    fail_msg("room for %d experts, chunks of %d: other bits", (int)rooms[k], (int)chunks[c]);
                }
                free(got);
            }
            const hth_tier_stats stats = hth_tier_get_stats(r.m->stream->tier);
            assert_true(rooms[k] == N_LAYER * N_EXPERT ? stats.n_read == N_LAYER * N_EXPERT : stats.n_read > stats.n_used / 8);
            rig_close(&r);
        }
        free(want);
    }
    rig_close(&resident);
    free(rows);
}

// Whichever read fails: an error that names file and expert, a state as before, and the next step is right.
static void a_failed_read_costs_the_step_and_nothing_else(void **state) {
    (void)state;
    hth_row *rows = rig_tokens(N_ROW, 0, 32);
    rig resident = open_rig(1, 0);
    float *want = run_rows(&resident, rows, N_ROW, N_ROW, HTH_ACTIVATIONS_F32);
    rig_close(&resident);
    rig r = open_rig(2, 5);
    float *logits = rig_floats((int64_t)N_ROW * TINY_VOCAB);
    int n_failed = 0;
    for (uint64_t at = 1; at <= 60; at += 7) {
        hth_state *s = rig_state(&r, 512);
        rig_rows(&r, s, rows, 10, logits);
        hth_step step = rig_step(&r, &s, 1, rows + 10, 20, logits + 10 * TINY_VOCAB);
        hth_err err = {0};
        hth_direct_fail_at(at);
        const hth_code code = rig_submit(&r, &step, &err);
        hth_direct_fail_at(0);
        if (code != HTH_OK) {
            n_failed++;
            assert_int_equal(code, HTH_ERR_IO);
            assert_non_null(strstr(err.msg, weights));
            assert_non_null(strstr(err.msg, "layer "));
            assert_non_null(strstr(err.msg, "expert "));
            assert_int_equal(hth_state_len(s), 10);
            rig_must(&r, &step);
        }
        rig_rows(&r, s, rows + 30, N_ROW - 30, logits + 30 * TINY_VOCAB);
        assert_true(rig_same(logits, want, N_ROW * TINY_VOCAB));
        hth_state_free(s);
    }
    assert_true(n_failed >= 6);
    free(logits);
    rig_close(&r);
    free(want);
    free(rows);
}

static void a_file_that_is_cut_off_while_in_use_is_an_error_of_the_step(void **state) {
    (void)state;
    hth_row *rows = rig_tokens(N_ROW, 0, 33);
    float *logits = rig_floats((int64_t)N_ROW * TINY_VOCAB);
    rig r = open_rig(2, 4);
    hth_state *s = rig_state(&r, 512);
    rig_rows(&r, s, rows, 10, logits);
    assert_int_equal(truncate(weights, 5000), 0); // dense weights are behind this, too: they are ours
    hth_step step = rig_step(&r, &s, 1, rows + 10, 20, logits);
    hth_err err = {0};
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_IO);
    assert_non_null(strstr(err.msg, "shorter"));
    assert_int_equal(hth_state_len(s), 10);
    hth_state_free(s);
    rig_close(&r);
    free(logits);
    free(rows);
    tiny_remove_dir(folder);
    write_model(NULL);
}

static void a_model_that_fits_is_left_alone_and_a_limit_that_is_too_small_is_refused(void **state) {
    (void)state;
    hth_model *m;
    hth_err err;
    hth_residency plan;
    assert_int_equal(hth_model_open(folder, &m, &err), HTH_OK);
    hth_residency_wish wish = {.n_ctx = 64, .n_chunk = 8};
    assert_int_equal(hth_residency_plan(m, &wish, &plan, &err), HTH_OK);
    assert_false(plan.is_streamed);
    const uint64_t one = 3 * D * D_FF * sizeof(float), all = N_LAYER * N_EXPERT * one, rest = plan.dense_bytes + plan.work_bytes;
    assert_int_equal(plan.routed_bytes, all);
    assert_int_equal(plan.token_bytes, N_LAYER * 3 * one);
    assert_true(plan.dense_bytes > 0 && plan.dense_bytes < m->weight_bytes - all + 65536);
    wish.limit_bytes = rest + all;
    assert_int_equal(hth_residency_plan(m, &wish, &plan, &err), HTH_OK);
    assert_false(plan.is_streamed);
    wish.limit_bytes = rest + all - 1;
    assert_int_equal(hth_residency_plan(m, &wish, &plan, &err), HTH_OK);
    assert_true(plan.is_streamed && plan.cache_bytes == all - 1);
    wish.limit_bytes = rest + one;
    assert_int_equal(hth_residency_plan(m, &wish, &plan, &err), HTH_ERR_LIMIT);
    assert_non_null(strstr(err.msg, "too little memory"));
    hth_model_free(m);
}

static bool stop_reading(void *user, int64_t done, int64_t total) {
    assert_true(done > 0 && done <= total);
    (*(int *)user)++;
    return false;
}

static void reading_the_dense_part_can_be_stopped_and_can_fail(void **state) {
    (void)state;
    for (int fail = 0; fail < 2; fail++) {
        hth_model *m;
        hth_err err;
        int n_call = 0;
        hth_residency plan = {.is_streamed = true, .cache_bytes = 1 << 20};
        assert_int_equal(hth_model_open(folder, &m, &err), HTH_OK);
        if (fail) hth_direct_fail_at(1);
        const hth_code code = hth_residency_apply(m, &plan, fail ? NULL : stop_reading, &n_call, &err);
        assert_int_equal(code, fail ? HTH_ERR_IO : HTH_ERR_CANCELLED);
        hth_direct_fail_at(0);
        assert_true(fail || n_call > 0);
        hth_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streamed_experts_give_the_bits_of_resident_ones),
        cmocka_unit_test(a_failed_read_costs_the_step_and_nothing_else),
        cmocka_unit_test(a_file_that_is_cut_off_while_in_use_is_an_error_of_the_step),
        cmocka_unit_test(a_model_that_fits_is_left_alone_and_a_limit_that_is_too_small_is_refused),
        cmocka_unit_test(reading_the_dense_part_can_be_stopped_and_can_fail),
    };
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
