// A sequence's state: going back, windows that slide, K/V types, and allocations that fail.
#include "base/mem.h"
#include "rig.h"

static void a_sequence_that_went_back_continues_like_a_fresh_one(void **unused) {
    enum { N = 60 };
    static const int backs[] = {59, 33, 32, 31, 1, 0};
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 71), *wrong = rig_tokens(N, 0, 72);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
        for (size_t i = 0; i < HTH_COUNT(backs); i++) {
            const int keep = backs[i];
            hth_err err;
            hth_state *s = rig_state(&r, 512);
            memcpy(wrong, rows, (size_t)keep * sizeof *rows);
            for (int k = keep; k < N; k++) wrong[k].token = (rows[k].token + 1) % TINY_VOCAB;
            rig_rows(&r, s, wrong, N, got);
            if (hth_state_truncate(s, keep, &err) ==
                HTH_ERR_UNSUPPORTED) { // a window has slid: try with less
                assert_true(r.m->desc.layers[0].attn.window > 0);
                assert_int_equal(hth_state_len(s), N);
                hth_state_free(s);
                continue;
            }
            assert_int_equal(hth_state_len(s), keep);
            rig_rows(&r, s, rows + keep, N - keep, got);
            if (!rig_same(got, want + (int64_t)keep * TINY_VOCAB, (int64_t)(N - keep) * TINY_VOCAB)) {
                fail_msg("family %s: back to %d differs", r.m->desc.family, keep);
            }
            hth_state_free(s);
        }
        free(want);
        free(got);
        rig_close(&r);
    }
    free(rows);
    free(wrong);
}

static void going_back_beyond_the_ends_is_refused(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_row *rows = rig_tokens(5, 0, 73);
    float *got = rig_floats(5 * TINY_VOCAB);
    hth_state *s = rig_state(&r, 8);
    hth_err err;
    rig_rows(&r, s, rows, 5, got);
    assert_int_equal(hth_state_truncate(s, 6, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_truncate(s, -1, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_len(s), 5);
    assert_int_equal(hth_state_n_ctx(s), 8);
    const hth_state_params none = {.n_ctx = 0}, odd = {.n_ctx = 8, .k_type = HTH_KV_TYPE_COUNT};
    hth_state *bad;
    assert_int_equal(hth_state_new(r.ex, r.m, &none, &bad, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_new(r.ex, r.m, &odd, &bad, &err), HTH_ERR_RANGE);
    hth_state_free(s);
    free(rows);
    free(got);
    rig_close(&r);
}

// Gemma 3 with every layer windowed.
static rig open_windowed(void) {
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_GEMMA3, t);
    tiny_set(t, "layer_types",
             "[\"sliding_attention\",\"sliding_attention\",\"sliding_attention\",\"sliding_attention\"]");
    rig r = rig_of(t, 2);
    free(t);
    return r;
}

enum { LONG = 400 };

static void windowed_layers_give_pages_back_and_results_stay_the_same(void **unused) {
    (void)unused;
    rig r = open_windowed();
    hth_row *rows = rig_tokens(LONG, 0, 74);
    float *want = rig_alone(&r, rows, LONG),
          *got = rig_floats(LONG * TINY_VOCAB); // one step slides nothing while it runs
    hth_state *s = rig_state(&r, 512);
    const uint64_t page_bytes = 32u * 2 * (12 + 12) * 4; // rows, key heads, K and V of 12 floats
    uint64_t most = 0;
    for (int i = 0; i < LONG; i += 5) {
        rig_rows(&r, s, rows + i, 5, got + i * TINY_VOCAB);
        if (hth_state_bytes(s) > most) most = hth_state_bytes(s);
    }
    assert_true(rig_same(got, want, LONG * TINY_VOCAB));
    assert_int_equal(hth_state_bytes(s) % page_bytes, 0);
    // Two windows (24 rows) and a step of 5 touch at most two pages of 32 rows in each of 4 layers.
    assert_in_range(most / page_bytes, 4, 8);
    hth_state_free(s);
    free(rows);
    free(want);
    free(got);
    rig_close(&r);
}

static void going_back_behind_a_window_is_refused_and_loses_nothing(void **unused) {
    (void)unused;
    rig r = open_windowed();
    hth_row *rows = rig_tokens(LONG, 0, 75);
    float *want = rig_alone(&r, rows, LONG), *got = rig_floats(LONG * TINY_VOCAB);
    hth_state *s = rig_state(&r, 512);
    hth_err err;
    const int64_t row = 100;
    for (int i = 0; i < 300; i += 10) rig_rows(&r, s, rows + i, 10, got);
    assert_int_equal(hth_state_truncate(s, 100, &err), HTH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "layer 0"));
    assert_int_equal(hth_state_keep(s, 40, &row, 1, &err), HTH_ERR_UNSUPPORTED);
    assert_int_equal(hth_state_keep(s, 0, &row, 1, &err), HTH_ERR_UNSUPPORTED);
    assert_int_equal(hth_state_len(s), 300);
    assert_int_equal(hth_state_truncate(s, 300 - TINY_WINDOW, &err),
                     HTH_OK); // one window of slack is promised
    rig_rows(&r, s, rows + 300 - TINY_WINDOW, 100 + TINY_WINDOW, got);
    assert_true(rig_same(got, want + (300 - TINY_WINDOW) * TINY_VOCAB, (100 + TINY_WINDOW) * TINY_VOCAB));
    assert_int_equal(hth_state_truncate(s, 0, &err), HTH_OK); // to the beginning it always can
    assert_int_equal(hth_state_bytes(s), 0);
    for (int i = 0; i < LONG; i += 20) rig_rows(&r, s, rows + i, 20, got + i * TINY_VOCAB);
    assert_true(rig_same(got, want, LONG * TINY_VOCAB));
    hth_state_free(s);
    free(rows);
    free(want);
    free(got);
    rig_close(&r);
}

static void from_the_last_row_that_can_be_gone_back_to_everything_needed_is_there(void **unused) {
    (void)unused;
    rig r = open_windowed();
    hth_row *rows = rig_tokens(LONG, 0, 79);
    float *got = rig_floats(LONG * TINY_VOCAB);
    for (int end = 290; end < 322; end += 3) { // the pages' borders at all distances
        hth_state *s = rig_state(&r, 512);
        hth_err err;
        for (int i = 0; i < end; i++) rig_rows(&r, s, rows + i, 1, got);
        int n = end;
        while (hth_state_truncate(s, n - 1, &err) == HTH_OK) n--;
        assert_true(n <= end - TINY_WINDOW);
        hth_row again = rows[n];
        again.pos[0] = n - 1; // may repeat the last position, and then sees one key more
        rig_rows(&r, s, &again, 1, got);
        hth_row *fresh = rig_tokens(LONG, 0, 79);
        fresh[n] = again;
        float *want = rig_alone(&r, fresh, n + 1);
        assert_true(rig_same(got, want + (int64_t)n * TINY_VOCAB, TINY_VOCAB));
        hth_state_free(s);
        free(fresh);
        free(want);
    }
    free(rows);
    free(got);
    rig_close(&r);
}

static void a_window_over_repeated_positions_slides_by_position(void **unused) {
    (void)unused;
    rig r = open_windowed();
    hth_row *rows = rig_tokens(LONG, 0, 76);
    for (int i = 0; i < LONG; i++)
        rows[i].pos[0] = i / 7 + (i > 200 ? 30 : 0); // seven rows at each, one jump
    float *want = rig_alone(&r, rows, LONG), *got = rig_floats(LONG * TINY_VOCAB);
    hth_state *s = rig_state(&r, 512);
    hth_err err;
    for (int i = 0; i < LONG; i += 8) {
        rig_rows(&r, s, rows + i, 8, got + i * TINY_VOCAB);
        if (i % 24 != 0) continue;
        assert_int_equal(hth_state_truncate(s, i + 3, &err),
                         HTH_OK); // the next row repeats the last position or not
        rig_rows(&r, s, rows + i + 3, 5, got + (i + 3) * TINY_VOCAB);
    }
    assert_true(rig_same(got, want, LONG * TINY_VOCAB));
    hth_state_free(s);
    free(rows);
    free(want);
    free(got);
    rig_close(&r);
}

static void half_precision_keys_and_values_differ_little(void **unused) {
    enum { N = 50 };
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 77);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        float *full = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB),
              *again = rig_floats(N * TINY_VOCAB);
        double *want = calloc(N * TINY_VOCAB, sizeof *want);
        for (int i = 0; i < N * TINY_VOCAB; i++) want[i] = full[i];
        hth_state *f32 = rig_state(&r, 512);
        rig_rows(&r, f32, rows, N, got);
        for (hth_kv_type type = HTH_KV_F16; type <= HTH_KV_BF16; type++) {
            hth_state *s = rig_state_of(&r, 512, type), *steps = rig_state_of(&r, 512, type);
            rig_rows(&r, s, rows, N, got);
            for (int i = 0; i < N; i += 10) rig_rows(&r, steps, rows + i, 10, again + i * TINY_VOCAB);
            assert_true(rig_same(got, again, N * TINY_VOCAB));
            const bool has_blocks = r.m->desc.layers[0].recurrent.kind != HTH_RECURRENT_NONE; // which are f32
            if (!has_blocks) assert_int_equal(hth_state_bytes(s) * 2, hth_state_bytes(f32));
            const double e = rig_nmse(got, want, N * TINY_VOCAB);
            const double most =
                type == HTH_KV_F16 ? 1e-4 : 1e-2; // 11 and 8 bits of precision, amplified by peaked attention
            const bool has_keys = kind != TINY_RWKV7; // its states are f32
            if (!((e > 0) == has_keys && e < most)) fail_msg("family %s, type %d: NMSE %g", r.m->desc.family, (int)type, e);
            hth_state_free(s);
            hth_state_free(steps);
        }
        hth_state_free(f32);
        free(full);
        free(got);
        free(again);
        free(want);
        rig_close(&r);
    }
    free(rows);
}

// The last block of 16 numbers is half a block and zeros.
static void heads_that_fill_no_block_are_stored_in_one(void **unused) {
    static const double most[HTH_KV_TYPE_COUNT] = {[HTH_KV_Q8_0] = 1e-2, [HTH_KV_Q4_0] = 0.3, [HTH_KV_Q5_0] = 0.1};
    enum { N = 70 };
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_row *rows = rig_tokens(N, 0, 78);
    float *full = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB), *again = rig_floats(N * TINY_VOCAB);
    double *want = calloc(N * TINY_VOCAB, sizeof *want);
    for (int i = 0; i < N * TINY_VOCAB; i++) want[i] = full[i];
    assert_int_equal(r.m->desc.layers[0].attn.head_dim, 16);
    for (hth_kv_type type = HTH_KV_Q8_0; type <= HTH_KV_Q5_0; type++) {
        hth_state *s = rig_state_of(&r, N, type), *steps = rig_state_of(&r, N, type);
        rig_rows(&r, s, rows, N, got);
        for (int i = 0; i < N; i += 10) rig_rows(&r, steps, rows + i, 10, again + i * TINY_VOCAB);
        assert_true(rig_same(got, again, N * TINY_VOCAB));
        const double e = rig_nmse(got, want, N * TINY_VOCAB);
        if (!(e > 1e-12 && e < most[type])) fail_msg("type %d: NMSE %g", (int)type, e);
        hth_state_free(s);
        hth_state_free(steps);
    }
    free(full);
    free(got);
    free(again);
    free(want);
    free(rows);
    rig_close(&r);
}

// Opens a model, makes a state, runs two steps. Returns the first error; frees everything.
static hth_code run_all(const char *dir, hth_team *team, const hth_row *rows, float *logits) {
    hth_model *m = NULL;
    hth_executor *ex = NULL;
    hth_state *s = NULL;
    hth_err err;
    hth_ticket ticket;
    const hth_state_params params = {.n_ctx = 64};
    hth_code code = hth_model_open(dir, &m, &err);
    if (code == HTH_OK) code = hth_executor_cpu_new(team, &ex, &err);
    if (code == HTH_OK && m->desc.causal) code = hth_state_new(ex, m, &params, &s, &err);
    for (int i = 0; i < 2 && code == HTH_OK; i++) {
        hth_step step = {.model = m,
                         .batch = {.rows = rows + 33 * i, .n_row = 33 - 30 * i, .states = &s, .n_seq = 1},
                         .layer_last = m->desc.n_layer,
                         .logits = logits,
                         .hidden_want = logits,
                         .hidden_layer = -1};
        code = hth_executor_submit(ex, &step, &ticket, &err);
        // A step that failed can be tried again when there is memory.
        if (code == HTH_ERR_NOMEM && hth_executor_submit(ex, &step, &ticket, &err) == HTH_OK)
            assert_true(ticket > 0);
    }
    hth_state_free(s);
    hth_executor_free(ex);
    hth_model_free(m);
    return code;
}

static void every_allocation_of_opening_and_stepping_may_fail(void **unused) {
    (void)unused;
    hth_err err;
    hth_team *team;
    hth_mem_stats before, after;
    assert_int_equal(hth_team_new(2, &team, &err), HTH_OK);
    float *logits = rig_floats(64 * TINY_VOCAB);
    for (int kind = 0; kind < TINY_COUNT; kind++) {
        tiny *t = malloc(sizeof *t);
        char dir[128];
        hth_row *rows = rig_tokens(36, 0, 78);
        for (int i = 0; kind == TINY_BERT && i < 36; i++) rows[i].want = HTH_WANT_HIDDEN;
        tiny_make((tiny_kind)kind, t);
        tiny_make_dir(dir);
        tiny_write_config(t, dir);
        tiny_write_weights(t, dir);
        hth_mem_get_stats(&before);
        for (int sticky = 0; sticky < 2; sticky++) {
            for (uint64_t n = 1;; n++) {
                hth_mem_fail_at(n, sticky);
                const hth_code code = run_all(dir, team, rows, logits);
                const bool hit = hth_mem_fail_hit();
                hth_mem_fail_at(0, false);
                hth_mem_get_stats(&after);
                assert_int_equal(after.n_blocks, before.n_blocks);
                if (code != (hit ? HTH_ERR_NOMEM : HTH_OK))
                    fail_msg("kind %d, allocation %d: code %d", kind, (int)n, (int)code);
                if (!hit) break;
                assert_true(n < 20000);
            }
        }
        tiny_remove_dir(dir);
        free(rows);
        free(t);
    }
    free(logits);
    hth_team_free(team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_that_went_back_continues_like_a_fresh_one),
        cmocka_unit_test(going_back_beyond_the_ends_is_refused),
        cmocka_unit_test(windowed_layers_give_pages_back_and_results_stay_the_same),
        cmocka_unit_test(going_back_behind_a_window_is_refused_and_loses_nothing),
        cmocka_unit_test(from_the_last_row_that_can_be_gone_back_to_everything_needed_is_there),
        cmocka_unit_test(a_window_over_repeated_positions_slides_by_position),
        cmocka_unit_test(half_precision_keys_and_values_differ_little),
        cmocka_unit_test(heads_that_fill_no_block_are_stored_in_one),
        cmocka_unit_test(every_allocation_of_opening_and_stepping_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
