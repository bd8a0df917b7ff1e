// The types that mixes choose. That they are llama-quantize's is the business of tests/parity/test_quantizers.py;
// here are examples of each kind of rule.
#include "model/mix.h"
#include "unit/cmocka_all.h"

static hth_tensor matrix(const char *name, int64_t n_col) {
    return (hth_tensor){.name = name, .type = HTH_TYPE_F32, .n_dim = 2, .dim = {8, n_col}};
}

static hth_type choose(const char *mix, const hth_mix_model *model, const char *name, int64_t i_before) {
    hth_mix_walk walk = {.mix = hth_mix_by_name(mix), .model = model, .i_attn_v = i_before, .i_ffn_down = i_before};
    const hth_tensor t = matrix(name, 256);
    return hth_mix_choose(&walk, &t);
}

static void names_are_found_in_any_case_and_by_their_short_forms(void **state) {
    (void)state;
    assert_string_equal(hth_mix_by_name("q4_k_m")->name, "Q4_K_M");
    assert_string_equal(hth_mix_by_name("Q4_K")->name, "Q4_K_M");
    assert_string_equal(hth_mix_by_name("iq4_xs")->name, "IQ4_XS");
    assert_null(hth_mix_by_name("Q4"));
    assert_null(hth_mix_by_name("Q4_K_MM"));
    assert_null(hth_mix_by_name(""));
    for (int i = 0; hth_mix_at(i); i++) {
        assert_ptr_equal(hth_mix_by_name(hth_mix_at(i)->name), hth_mix_at(i));
        assert_non_null(hth_type_get(hth_mix_at(i)->type)->quantize);
    }
}

static void sensitive_tensors_get_more_bits_by_their_layer(void **state) {
    (void)state;
    const hth_mix_model m = {.n_layer = 32, .n_gqa = 4, .n_attn_v = 32};
    assert_int_equal(choose("Q4_K_M", &m, "blk.0.attn_v.weight", 0), HTH_TYPE_Q6_K);
    assert_int_equal(choose("Q4_K_M", &m, "blk.4.attn_v.weight", 4), HTH_TYPE_Q4_K);
    assert_int_equal(choose("Q4_K_M", &m, "blk.6.attn_v.weight", 6), HTH_TYPE_Q6_K);
    assert_int_equal(choose("Q4_K_M", &m, "blk.31.ffn_down.weight", 31), HTH_TYPE_Q6_K);
    assert_int_equal(choose("Q4_K_M", &m, "blk.0.ffn_up.weight", 0), HTH_TYPE_Q4_K);
    assert_int_equal(choose("Q4_K_M", &m, "output.weight", 0), HTH_TYPE_Q6_K);
    assert_int_equal(choose("Q4_K_M", &m, "token_embd.weight", 0), HTH_TYPE_Q4_K);
    assert_int_equal(choose("Q2_K", &m, "blk.9.attn_v.weight", 9), HTH_TYPE_Q4_K);
    assert_int_equal(choose("Q3_K_L", &m, "blk.9.attn_output.weight", 9), HTH_TYPE_Q5_K);
    assert_int_equal(choose("Q8_0", &m, "output.weight", 0), HTH_TYPE_Q8_0);
    assert_int_equal(choose("F16", &m, "output.weight", 0), HTH_TYPE_F16);
    const hth_mix_model tied = {.is_tied = true, .n_layer = 32, .n_gqa = 1, .n_attn_v = 32};
    assert_int_equal(choose("Q4_0", &tied, "token_embd.weight", 0), HTH_TYPE_Q6_K);
    assert_int_equal(choose("Q2_K", &tied, "blk.9.attn_v.weight", 9), HTH_TYPE_Q3_K);
}

static void only_matrices_that_are_multiplied_are_quantized(void **state) {
    (void)state;
    static const char *const yes[] = {"blk.0.attn_q.weight", "output.weight", "token_embd.weight", "blk.3.ffn_up_exps.weight"};
    static const char *const no[] = {"blk.0.attn_norm.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight",
                                     "position_embd.weight", "rope_freqs", "blk.0.altup_router.weight"};
    for (size_t i = 0; i < HTH_COUNT(yes); i++) {
        const hth_tensor t = matrix(yes[i], 256);
        assert_true(hth_mix_is_quantizable(&t));
    }
    for (size_t i = 0; i < HTH_COUNT(no); i++) {
        const hth_tensor t = matrix(no[i], 256);
        assert_false(hth_mix_is_quantizable(&t));
    }
    const hth_tensor row = {.name = "blk.0.x.weight", .n_dim = 3, .dim = {1, 1, 256}};
    assert_false(hth_mix_is_quantizable(&row));
    assert_int_equal(hth_mix_layer("blk.12.x"), 12);
    assert_int_equal(hth_mix_layer("blk.x"), -1);
    assert_int_equal(hth_mix_layer("blk.99999999999999999999.x"), -1);
    assert_int_equal(hth_mix_layer("a"), -1);
}

static void rows_that_hold_no_whole_blocks_get_the_usual_type(void **state) {
    (void)state;
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q4_K, 512), HTH_TYPE_Q4_K);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q4_K, 576), HTH_TYPE_Q5_0);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q5_K, 576), HTH_TYPE_Q5_1);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q6_K, 576), HTH_TYPE_Q8_0);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q2_K, 576), HTH_TYPE_Q4_0);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_IQ4_XS, 576), HTH_TYPE_IQ4_NL);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q4_K, 33), HTH_TYPE_F16);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_Q8_0, 33), HTH_TYPE_F16);
    assert_int_equal(hth_mix_fallback(HTH_TYPE_F32, 33), HTH_TYPE_F32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_in_any_case_and_by_their_short_forms),
        cmocka_unit_test(sensitive_tensors_get_more_bits_by_their_layer),
        cmocka_unit_test(only_matrices_that_are_multiplied_are_quantized),
        cmocka_unit_test(rows_that_hold_no_whole_blocks_get_the_usual_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
