// Latent attention: the compressed rows that a sequence keeps, and the two forms in which they are attended to.
#include "rig.h"

enum { LONG = 640 };

// The expansion of keys apart and turned around, as newer files have it.
static rig open_turned(int n_thread) {
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_LATENT, t);
    for (int i = 0; i < 3; i++) {
        char p[64], joined[96];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        snprintf(joined, sizeof joined, "%sself_attn.kv_b_proj.weight", p);
        tiny_remove(t, joined);
        tiny_matrix(t, p, "self_attn.embed_q", 6 * 32, 16, 1.5f);
        tiny_matrix(t, p, "self_attn.unembed_out", 6 * 12, 32, 1.5f);
    }
    rig r = rig_of(t, n_thread);
    free(t);
    return r;
}

static rig open_either(bool turned, int n_thread) {
    return turned ? open_turned(n_thread) : rig_open(TINY_LATENT, n_thread);
}

// Logits of the last row of each step, rows of one kind in steps of n.
static void run_steps(const rig *r, hth_row *rows, int32_t n_row, int32_t n, hth_row_kind kind, hth_kv_type type, float *logits) {
    hth_state *s = rig_state_of(r, n_row, type);
    for (int32_t i = 0; i < n_row; i++) rows[i].kind = (uint8_t)kind;
    for (int32_t i = 0; i < n_row; i += n) {
        rig_rows(r, s, rows + i, n_row - i < n ? n_row - i : n, logits + (int64_t)i * TINY_VOCAB);
    }
    hth_state_free(s);
}

static double distance(const float *got, const float *want, int64_t n) {
    double *exact = malloc((size_t)n * sizeof *exact);
    for (int64_t i = 0; i < n; i++) exact[i] = (double)want[i];
    const double d = rig_nmse(got, exact, n);
    free(exact);
    return d;
}

static void generated_rows_find_what_prompt_rows_find(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(LONG, 0, 81);
    float *prompt = rig_floats(LONG * TINY_VOCAB), *generated = rig_floats(LONG * TINY_VOCAB);
    for (int turned = 0; turned < 2; turned++) {
        rig r = open_either(turned, 2);
        run_steps(&r, rows, LONG, LONG, HTH_ROW_PROMPT, HTH_KV_F32, prompt);
        run_steps(&r, rows, LONG, LONG, HTH_ROW_GENERATED, HTH_KV_F32, generated);
        assert_true(distance(generated, prompt, LONG * TINY_VOCAB) < 1e-8);
        rig_close(&r);
    }
    free(prompt);
    free(generated);
    free(rows);
}

static void keys_may_be_wider_than_everything_else(void **unused) {
    enum { N = 40, NOPE = 2000 };
    (void)unused;
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_LATENT, t);
    tiny_set_int(t, "qk_nope_head_dim", NOPE);
    for (int i = 0; i < 3; i++) {
        char p[64], name[96];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        snprintf(name, sizeof name, "%sself_attn.kv_b_proj.weight", p);
        tiny_remove(t, name);
        tiny_matrix(t, p, "self_attn.embed_q", 6 * 32, NOPE, 1.5f);
        tiny_matrix(t, p, "self_attn.unembed_out", 6 * 12, 32, 1.5f);
        snprintf(name, sizeof name, "%sself_attn.q_b_proj.weight", p);
        tiny_find(t, name)->n_row = 6 * (NOPE + 32);
    }
    rig r = rig_of(t, 2);
    hth_row *rows = rig_tokens(N, 0, 87);
    float *prompt = rig_floats(N * TINY_VOCAB), *generated = rig_floats(N * TINY_VOCAB);
    run_steps(&r, rows, N, N, HTH_ROW_PROMPT, HTH_KV_F32, prompt);
    run_steps(&r, rows, N, 1, HTH_ROW_GENERATED, HTH_KV_F32, generated);
    assert_true(distance(generated, prompt, N * TINY_VOCAB) < 1e-8);
    free(prompt);
    free(generated);
    free(rows);
    free(t);
    rig_close(&r);
}

static void long_lines_give_the_same_bits_in_any_chunks_and_with_any_threads(void **unused) {
    static const int32_t chunks[] = {LONG, 600, 129, 37};
    (void)unused;
    hth_row *rows = rig_tokens(LONG, 0, 82);
    float *want = rig_floats(LONG * TINY_VOCAB), *got = rig_floats(LONG * TINY_VOCAB);
    for (int turned = 0; turned < 2; turned++) {
        for (hth_row_kind kind = HTH_ROW_PROMPT; kind <= HTH_ROW_GENERATED; kind++) {
            rig one = open_either(turned, 1), many = open_either(turned, 5);
            run_steps(&one, rows, LONG, LONG, kind, HTH_KV_F16, want);
            for (size_t i = 0; i < HTH_COUNT(chunks); i++) {
                run_steps(&many, rows, LONG, chunks[i], kind, HTH_KV_F16, got);
                assert_true(rig_same(got, want, LONG * TINY_VOCAB));
            }
            rig_close(&one);
            rig_close(&many);
        }
    }
    free(want);
    free(got);
    free(rows);
}

static void rows_of_both_kinds_mixed_in_a_batch_give_the_bits_that_each_has_alone(void **unused) {
    enum { N = 30 };
    (void)unused;
    for (int turned = 0; turned < 2; turned++) {
        rig r = open_either(turned, 3);
        hth_row *prompt = rig_tokens(N, 0, 83), *generated = rig_tokens(N, 0, 84);
        hth_row *both = calloc(2 * N, sizeof *both);
        for (int i = 0; i < N; i++) generated[i].kind = HTH_ROW_GENERATED;
        for (int i = 0, a = 0, b = 0; i < 2 * N; i++) { // one, two, one, two, ... in turn
            const bool is_prompt = b == N || (a < N && i % 3 == 0);
            both[i] = is_prompt ? prompt[a++] : generated[b++];
            both[i].i_seq = !is_prompt;
        }
        float *want[2] = {rig_alone(&r, prompt, N), rig_alone(&r, generated, N)}, *got = rig_floats(2 * N * TINY_VOCAB);
        hth_state *states[2] = {rig_state(&r, N), rig_state(&r, N)};
        hth_step step = rig_step(&r, states, 2, both, 2 * N, got);
        rig_must(&r, &step);
        for (int i = 0, at[2] = {0, 0}; i < 2 * N; i++) {
            const int s = both[i].i_seq;
            assert_true(rig_same(got + i * TINY_VOCAB, want[s] + at[s]++ * TINY_VOCAB, TINY_VOCAB));
        }
        for (int s = 0; s < 2; s++) {
            hth_state_free(states[s]);
            free(want[s]);
        }
        free(got);
        free(both);
        free(prompt);
        free(generated);
        rig_close(&r);
    }
}

static void one_compressed_row_per_token_and_layer_is_kept(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LATENT, 2);
    hth_row *rows = rig_tokens(65, 0, 85);
    float *logits = rig_floats(65 * TINY_VOCAB);
    hth_state *s = rig_state_of(&r, 65, HTH_KV_F16);
    rig_rows(&r, s, rows, 65, logits);
    assert_int_equal(hth_state_bytes(s), 3 * 3 * 32 * (32 + 32) * 2); // pages, layers, rows, numbers, bytes
    hth_state_free(s);
    free(logits);
    free(rows);
    rig_close(&r);
}

// Both forms, against the f32 rows of the same model.
static void check_types(const rig *r, const double bound[HTH_KV_TYPE_COUNT]) {
    enum { N = 300 };
    hth_row *rows = rig_tokens(N, 0, 86);
    float *want = rig_floats(N * TINY_VOCAB), *got = rig_floats(N * TINY_VOCAB);
    run_steps(r, rows, N, N, HTH_ROW_PROMPT, HTH_KV_F32, want);
    for (hth_kv_type type = HTH_KV_F16; type < HTH_KV_TYPE_COUNT; type++) {
        for (hth_row_kind kind = HTH_ROW_PROMPT; kind <= HTH_ROW_GENERATED; kind++) {
            run_steps(r, rows, N, 40, kind, type, got);
            const double d = distance(got, want, N * TINY_VOCAB);
            if (!(d > 1e-12 && d < bound[type])) fail_msg("type %d, rows of kind %d are off by %g", (int)type, (int)kind, d);
        }
    }
    free(want);
    free(got);
    free(rows);
}

static void compressed_rows_of_every_type_come_close(void **unused) {
    static const double bound[HTH_KV_TYPE_COUNT] = {
        [HTH_KV_F16] = 1e-4, [HTH_KV_BF16] = 1e-2, [HTH_KV_Q8_0] = 1e-2, [HTH_KV_Q4_0] = 0.3, [HTH_KV_Q5_0] = 0.1};
    static const int sizes[][2] = {{32, 32}, {32, 16}, {48, 16}}; // of the latent part and the turned one
    (void)unused;
    for (size_t i = 0; i < HTH_COUNT(sizes); i++) {
        const int rank = sizes[i][0], rope = sizes[i][1];
        tiny *t = malloc(sizeof *t);
        tiny_make(TINY_LATENT, t);
        tiny_set_int(t, "kv_lora_rank", rank);
        tiny_set_int(t, "qk_rope_head_dim", rope);
        for (int l = 0; l < 3; l++) {
            char name[128];
            snprintf(name, sizeof name, "model.layers.%d.self_attn.kv_a_proj_with_mqa.weight", l);
            tiny_find(t, name)->n_row = rank + rope;
            snprintf(name, sizeof name, "model.layers.%d.self_attn.kv_a_layernorm.weight", l);
            tiny_find(t, name)->n_row = rank;
            snprintf(name, sizeof name, "model.layers.%d.self_attn.kv_b_proj.weight", l);
            tiny_find(t, name)->n_col = rank;
            snprintf(name, sizeof name, "model.layers.%d.self_attn.q_b_proj.weight", l);
            tiny_find(t, name)->n_row = 6 * (16 + rope);
        }
        rig r = rig_of(t, 2);
        check_types(&r, bound);
        rig_close(&r);
        free(t);
    }
}

// Types of few bits store compressed rows mixed, so that one large number does not take the others' bits.
static void a_large_number_costs_the_others_of_its_row_little(void **unused) {
    static const double bound[HTH_KV_TYPE_COUNT] = {
        [HTH_KV_F16] = 1e-4, [HTH_KV_BF16] = 1e-2, [HTH_KV_Q8_0] = 1e-2, [HTH_KV_Q4_0] = 0.03, [HTH_KV_Q5_0] = 0.025};
    (void)unused;
    rig r = rig_open(TINY_LATENT, 2);
    for (int l = 0; l < 3; l++) ((float *)(uintptr_t)r.m->layers[l].latent.kv_norm)[5] = 40;
    check_types(&r, bound);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_rows_find_what_prompt_rows_find),
        cmocka_unit_test(keys_may_be_wider_than_everything_else),
        cmocka_unit_test(long_lines_give_the_same_bits_in_any_chunks_and_with_any_threads),
        cmocka_unit_test(rows_of_both_kinds_mixed_in_a_batch_give_the_bits_that_each_has_alone),
        cmocka_unit_test(one_compressed_row_per_token_and_layer_is_kept),
        cmocka_unit_test(compressed_rows_of_every_type_come_close),
        cmocka_unit_test(a_large_number_costs_the_others_of_its_row_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
