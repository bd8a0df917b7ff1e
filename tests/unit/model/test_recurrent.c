// The recurrent part of a sequence's state. (That rows taken back, branches kept, forks and batches give the bits of a
// fresh run is held by test_state, test_tree, test_fork and test_repeat for every tiny model.)
#include "base/mem.h"
#include "rig.h"

enum { N = 40 };

static hth_state *state_keeping(const rig *r, int32_t n_keep) {
    hth_state *s;
    hth_err err = {0};
    const hth_state_params params = {.n_ctx = 256, .n_keep = n_keep};
    if (hth_state_new(r->ex, r->m, &params, &s, &err) != HTH_OK) fail_msg("%s", err.msg);
    return s;
}

// Steps of 1, 2, 3, ... rows.
static void run_growing(const rig *r, hth_state *s, const hth_row *rows, int n, float *logits) {
    for (int i = 0, step = 1; i < n; i += step, step++) {
        const int m = n - i < step ? n - i : step;
        rig_rows(r, s, rows + i, m, logits + (int64_t)i * TINY_VOCAB);
    }
}

static void exactly_the_rows_that_are_kept_can_be_taken_back(void **unused) {
    static const int keeps[] = {0, 1, 3, 7, 50};
    (void)unused;
    rig r = rig_open(TINY_LFM2, 2);
    hth_row *rows = rig_tokens(N, 0, 91);
    float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
    for (size_t k = 0; k < HTH_COUNT(keeps); k++) {
        const int keep = keeps[k], back = keep < N - 1 ? keep : N - 1;
        hth_err err = {0};
        hth_state *s = state_keeping(&r, keep);
        run_growing(&r, s, rows, N, got);
        if (back + 1 < N) {
            assert_int_equal(hth_state_truncate(s, N - back - 1, &err), HTH_ERR_UNSUPPORTED);
            assert_non_null(strstr(err.msg, "recurrent"));
            assert_int_equal(hth_state_reach(s, N - back - 1), 0);
        }
        assert_int_equal(hth_state_len(s), N);
        assert_int_equal(hth_state_reach(s, N - back), N - back);
        for (int j = 1; j <= back; j++) assert_int_equal(hth_state_truncate(s, N - j, &err), HTH_OK); // one by one
        if (back > 0) rig_rows(&r, s, rows + N - back, back, got);
        if (back > 0) assert_true(rig_same(got, want + (int64_t)(N - back) * TINY_VOCAB, (int64_t)back * TINY_VOCAB));
        assert_int_equal(hth_state_truncate(s, 0, &err), HTH_OK); // always
        assert_int_equal(hth_state_bytes(s), 0);
        run_growing(&r, s, rows, N, got);
        assert_true(rig_same(got, want, N * TINY_VOCAB));
        hth_state_free(s);
    }
    free(rows);
    free(want);
    free(got);
    rig_close(&r);
}

// A step that is cancelled, or too large for the context, leaves the kept rows as they were.
static void a_failed_step_changes_nothing(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LFM2, 2);
    hth_row *rows = rig_tokens(N, 0, 92), *wrong = rig_tokens(N, 20, 93);
    float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
    hth_state *s = state_keeping(&r, 4);
    hth_err err;
    atomic_bool cancel = true;
    run_growing(&r, s, rows, 20, got);
    const uint64_t n_bytes = hth_state_bytes(s);
    for (int i = 0; i < 3; i++) {
        hth_step step = rig_step(&r, &s, 1, wrong, 6, got);
        step.cancel = &cancel;
        assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_CANCELLED);
    }
    assert_int_equal(hth_state_len(s), 20);
    assert_in_range(hth_state_bytes(s), n_bytes, 2 * n_bytes);
    assert_int_equal(hth_state_truncate(s, 16, &err), HTH_OK);
    rig_rows(&r, s, rows + 16, N - 16, got);
    assert_true(rig_same(got, want + 16 * TINY_VOCAB, (N - 16) * TINY_VOCAB));
    hth_state_free(s);
    free(rows);
    free(wrong);
    free(want);
    free(got);
    rig_close(&r);
}

static void a_tree_larger_than_what_is_kept_is_refused(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LFM2, 1);
    hth_row *rows = rig_tokens(8, 0, 94);
    float *got = rig_floats(8 * TINY_VOCAB);
    hth_state *s = state_keeping(&r, 3);
    hth_err err;
    rig_rows(&r, s, rows, 4, got);
    for (int i = 4; i < 8; i++) {
        rows[i].pos[0] = 4;
        rows[i].parent = HTH_PARENT_NONE;
    }
    hth_step step = rig_step(&r, &s, 1, rows + 4, 4, got);
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "draft tree of 4 rows"));
    rig_rows(&r, s, rows + 4, 3, got);
    const int64_t second = 5, both[] = {4, 5};
    assert_int_equal(hth_state_keep(s, 4, both, 2, &err), HTH_ERR_RANGE); // siblings
    assert_non_null(strstr(err.msg, "does not follow"));
    assert_int_equal(hth_state_keep(s, 4, &second, 1, &err), HTH_OK);
    assert_int_equal(hth_state_truncate(s, 4, &err), HTH_OK); // what was before the tree is still there
    hth_state_free(s);
    free(rows);
    free(got);
    rig_close(&r);
}

static void a_fork_shares_blocks_and_begins_where_they_are_kept(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LFM2, 2);
    hth_row *rows = rig_tokens(N, 0, 95);
    float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
    hth_state *s = state_keeping(&r, 4), *fork;
    hth_err err;
    run_growing(&r, s, rows, 30, got);
    assert_int_equal(hth_state_fork(s, 25, &fork, &err), HTH_ERR_UNSUPPORTED);
    assert_null(fork);
    const uint64_t alone = hth_state_own_bytes(s), all = hth_executor_state_bytes(r.ex);
    assert_int_equal(hth_state_fork(s, 27, &fork, &err), HTH_OK);
    assert_int_equal(hth_executor_state_bytes(r.ex), all);
    assert_true(hth_state_own_bytes(s) < alone);
    assert_int_equal(hth_state_own_bytes(fork), 0);
    run_growing(&r, s, rows + 30, 10, got + 30 * TINY_VOCAB); // the origin comes around its slots
    rig_rows(&r, fork, rows + 27, N - 27, got);
    assert_true(rig_same(got, want + 27 * TINY_VOCAB, (N - 27) * TINY_VOCAB));
    hth_state_free(s);
    hth_state_free(fork);
    assert_int_equal(hth_executor_state_bytes(r.ex), 0);
    free(rows);
    free(want);
    free(got);
    rig_close(&r);
}

// Layers 0 and 1, and 2 and 3, as two machines would run them.
static void two_ranges_of_layers_have_states_of_their_own(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LFM2, 2);
    hth_row *rows = rig_tokens(N, 0, 96);
    float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB), *hidden = rig_floats(N * 48);
    hth_state *s[2] = {state_keeping(&r, 2), state_keeping(&r, 2)};
    for (int i = 0; i < N; i += 8) {
        for (int half = 0; half < 2; half++) {
            hth_step step = rig_step(&r, &s[half], 1, rows + i, 8, got + (int64_t)i * TINY_VOCAB);
            step.layer_first = 2 * half;
            step.layer_last = 2 + 2 * half;
            step.hidden_in = half == 1 ? hidden : NULL;
            step.hidden_out = half == 0 ? hidden : NULL;
            rig_must(&r, &step);
        }
    }
    assert_true(rig_same(got, want, N * TINY_VOCAB));
    assert_int_equal(hth_state_bytes(s[0]), hth_state_bytes(s[1]));
    hth_err err;
    // An empty sequence may turn to another range.
    assert_int_equal(hth_state_truncate(s[0], 0, &err), HTH_OK);
    rig_rows(&r, s[0], rows, N, got);
    assert_true(rig_same(got, want, N * TINY_VOCAB));
    hth_state_free(s[0]);
    hth_state_free(s[1]);
    free(rows);
    free(want);
    free(got);
    free(hidden);
    rig_close(&r);
}

// Later layers of RWKV-7 take over values of the first.
static void a_range_of_layers_without_what_it_reads_is_refused(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_RWKV7, 1);
    hth_row *rows = rig_tokens(4, 0, 97);
    float *hidden = rig_floats(4 * 48), *got = rig_floats(4 * TINY_VOCAB);
    hth_state *s = state_keeping(&r, 2);
    hth_err err;
    hth_step step = rig_step(&r, &s, 1, rows, 4, got);
    step.layer_first = 1;
    step.hidden_in = hidden;
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "the values of layer 0"));
    hth_state_free(s);
    free(rows);
    free(hidden);
    free(got);
    rig_close(&r);
}

static void numbers_of_rows_to_keep_are_checked(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LFM2, 1);
    for (int i = 0; i < 2; i++) {
        const hth_state_params params = {.n_ctx = 8, .n_keep = i == 0 ? -1 : HTH_MAX_KEEP + 1};
        hth_state *s;
        hth_err err;
        assert_int_equal(hth_state_new(r.ex, r.m, &params, &s, &err), HTH_ERR_RANGE);
        assert_null(s);
    }
    rig_close(&r);
}

// One change to a tiny model and what the error must say.
typedef struct wrong {
    tiny_kind kind;
    const char *key, *value, *words;
} wrong;

static void malformed_recurrent_layers_give_one_clear_error(void **unused) {
    static const wrong all[] = {
        {TINY_LFM2, "conv_L_cache", "0", "conv_L_cache"},
        {TINY_LFM2, "conv_L_cache", "1", "conv_L_cache"},
        {TINY_LFM2, "conv_L_cache", "1000000", "conv_L_cache"},
        {TINY_LFM2, "conv_L_cache", "3", "numbers are needed"},
        {TINY_LFM2, "conv_bias", "false", "conv.in_proj.bias"},
        {TINY_LFM2, "layer_types", "[\"conv\",\"full_attention\",\"conv\"]", "does not cover layer 3"},
        {TINY_LFM2, "layer_types", "[\"conv\",\"full_attention\",\"conv\",\"mamba\"]", "\"mamba\" is not known"},
        {TINY_LFM2, "layer_types", "[\"conv\",\"conv\",\"conv\",\"full_attention\"]", "conv.in_proj"},
        {TINY_LFM2, "num_key_value_heads", "0", "no key heads"},
        {TINY_LFM2, "block_auto_adjust_ff_dim", "true", "is needed"},
        {TINY_QWEN35, "linear_conv_kernel_dim", "0", "linear_conv_kernel_dim"},
        {TINY_QWEN35, "linear_conv_kernel_dim", "5", "numbers are needed"},
        {TINY_QWEN35, "linear_num_value_heads", "5", "5 value heads cannot share 2 key heads"},
        {TINY_QWEN35, "linear_num_key_heads", "0", "linear_num_key_heads"},
        {TINY_QWEN35, "linear_num_key_heads", "3", "is needed"},
        {TINY_QWEN35, "linear_key_head_dim", "-1", "linear_key_head_dim"},
        {TINY_QWEN35, "linear_key_head_dim", "65536", "is needed"},
        {TINY_QWEN35, "linear_value_head_dim", "16777216", "too wide"},
        {TINY_QWEN35, "linear_value_head_dim", NULL, "linear_value_head_dim is missing"},
        {TINY_QWEN35, "full_attention_interval", "0", "full_attention_interval"},
        {TINY_QWEN35, "full_attention_interval", "4", "linear_attn.in_proj_qkv"},
        {TINY_QWEN35, "attn_output_gate", "false", "is needed"},
        {TINY_FALCON_H1, "mamba_d_conv", "1", "1 taps"},
        {TINY_FALCON_H1, "mamba_d_conv", "1000", "mamba_d_conv"},
        {TINY_FALCON_H1, "mamba_d_conv", NULL, "mamba_d_conv is missing"},
        {TINY_FALCON_H1, "mamba_d_conv", "3", "numbers are needed"},
        {TINY_FALCON_H1, "mamba_n_heads", "0", "mamba_n_heads"},
        {TINY_FALCON_H1, "mamba_n_heads", "5", "5 heads of 6 in 2 groups"},
        {TINY_FALCON_H1, "mamba_n_heads", "6", "is needed"},
        {TINY_FALCON_H1, "mamba_n_groups", "3", "in 3 groups"},
        {TINY_FALCON_H1, "mamba_d_head", "2000", "heads of 2000"},
        {TINY_FALCON_H1, "mamba_d_state", "65536", "is needed"},
        {TINY_FALCON_H1, "mamba_d_state", "-1", "mamba_d_state"},
        {TINY_FALCON_H1, "time_step_limit", "[1, 0.5]", "two ascending numbers"},
        {TINY_FALCON_H1, "time_step_limit", "[0, NaN]", "two ascending numbers"},
        {TINY_FALCON_H1, "time_step_limit", "[0]", "two ascending numbers"},
        {TINY_FALCON_H1, "ssm_multipliers", "[1, 1, 1, 1]", "ssm_multipliers"},
        {TINY_FALCON_H1, "mlp_multipliers", "[1, 0]", "not positive"},
        {TINY_FALCON_H1, "mamba_rms_norm", "false", "mamba.norm.weight has no place"},
        {TINY_FALCON_H1, "projectors_bias", "true", "projectors_bias is not supported"},
        {TINY_NEMOTRON_H, "hybrid_override_pattern", "\"M-*\"", "gives layer 3 no kind"},
        {TINY_NEMOTRON_H, "hybrid_override_pattern", "\"M-*?\"", "gives layer 3 no kind"},
        {TINY_NEMOTRON_H, "hybrid_override_pattern", "\"M-*-\"", "mixer.up_proj"},
        {TINY_NEMOTRON_H, "hybrid_override_pattern", "\"M-*E\"", "the number of experts"},
        {TINY_NEMOTRON_H, "hybrid_override_pattern", NULL, "gives layer 0 no kind"},
        {TINY_NEMOTRON_H, "mlp_hidden_act", "\"silu\"", "silu"},
        {TINY_NEMOTRON_H, "use_conv_bias", "false", "mixer.conv1d.bias"},
        {TINY_JAMBA, "mamba_d_state", "0", "mamba_d_state"},
        {TINY_JAMBA, "mamba_d_state", "11", "is needed"},
        {TINY_JAMBA, "mamba_d_state", NULL, "mamba_d_state (the size of a state) is missing"},
        {TINY_JAMBA, "mamba_d_conv", "1", "1 taps"},
        {TINY_JAMBA, "mamba_d_conv", "1000", "mamba_d_conv"},
        {TINY_JAMBA, "mamba_dt_rank", "7", "is needed"},
        {TINY_JAMBA, "mamba_dt_rank", "\"many\"", "mamba_dt_rank"},
        {TINY_JAMBA, "mamba_expand", "0", "mamba_expand"},
        {TINY_JAMBA, "mamba_expand", "64", "is needed"},
        {TINY_JAMBA, "mamba_conv_bias", "false", "mamba.conv1d.bias"},
        {TINY_JAMBA, "attn_layer_period", "0", "attn_layer_period"},
        {TINY_JAMBA, "attn_layer_offset", "2", "input projection of the recurrent mixer of layer 1"},
        {TINY_JAMBA, "layers_block_type", "[\"mamba\", \"conv\", \"mamba\"]", "\"conv\" is not known"},
        {TINY_JAMBA, "num_experts", "4", "num_experts_per_tok"},
        {TINY_RWKV7, "head_dim", "0", "head_dim"},
        {TINY_RWKV7, "head_dim", NULL, "head_dim (the width of a head) is missing"},
        {TINY_RWKV7, "head_dim", "13", "not divisible by heads of 13"},
        {TINY_RWKV7, "head_dim", "1048577", "head_dim"},
        {TINY_RWKV7, "a_low_rank_dim", "5", "is needed"},
        {TINY_RWKV7, "v_low_rank_dim", "0", "v_low_rank_dim"},
        {TINY_RWKV7, "gate_low_rank_dim", NULL, "gate_low_rank_dim"},
        {TINY_RWKV7, "decay_low_rank_dim", "-6", "decay_low_rank_dim"},
        {TINY_RWKV7, "num_heads", "3", "than 4 heads of 12"},
        {TINY_RWKV7, "value_dim", "[48, 48, 24]", "value_dim says something else"},
        {TINY_RWKV7, "hidden_act", "\"silu\"", "silu"},
        {TINY_RWKV7, "attn", "{\"layers\": [1]}", "layers with attention"},
        {TINY_RWKV7, "hidden_size", "36", "is needed"},
        {TINY_RWKV7, "intermediate_size", "0", "intermediate_size"},
        {TINY_QWEN35, "layer_types", "[\"conv\",\"conv\",\"conv\",\"conv\"]", "\"conv\" is not known"},
    };
    (void)unused;
    for (size_t i = 0; i < HTH_COUNT(all); i++) {
        tiny *t = malloc(sizeof *t);
        hth_model *m = NULL;
        hth_err err = {0};
        tiny_make(all[i].kind, t);
        tiny_set(t, all[i].key, all[i].value);
        if (tiny_open(t, &m, &err) == HTH_OK) fail_msg("%s = %s was taken", all[i].key, all[i].value);
        if (!strstr(err.msg, all[i].words)) fail_msg("%s = %s: %s", all[i].key, all[i].value, err.msg);
        free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_rows_that_are_kept_can_be_taken_back),
        cmocka_unit_test(a_failed_step_changes_nothing),
        cmocka_unit_test(a_tree_larger_than_what_is_kept_is_refused),
        cmocka_unit_test(a_fork_shares_blocks_and_begins_where_they_are_kept),
        cmocka_unit_test(two_ranges_of_layers_have_states_of_their_own),
        cmocka_unit_test(a_range_of_layers_without_what_it_reads_is_refused),
        cmocka_unit_test(numbers_of_rows_to_keep_are_checked),
        cmocka_unit_test(malformed_recurrent_layers_give_one_clear_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
