// Adapters in one step with sequences that have others or none: every row has the bits of its own run.
#include "model/lora_impl.h"
#include "rig.h"

enum { N = 24, RANK = 3 };

// An adapter of two matrices of a tiny llama, and its embedding.
static hth_lora *make(const hth_model *m, uint64_t seed) {
    static const char *const names[] = {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight",
                                        "model.embed_tokens.weight"};
    hth_err err = {0};
    hth_lora *l = hth_calloc(HTH_MEM_MODEL, 1, sizeof *l);
    l->model = m;
    assert_true(hth_map_init(&l->by_name, HTH_MEM_MODEL, 16));
    for (int i = 0; i < 3; i++) {
        const hth_tensor *t = hth_container_find(m->container, names[i]);
        assert_non_null(t);
        const int64_t n_row = t->dim[0], n_col = t->dim[1];
        float *a = rig_floats(RANK * (i == 2 ? n_row : n_col)), *b = rig_floats(RANK * (i == 2 ? n_col : n_row));
        for (int64_t k = 0; k < RANK * (i == 2 ? n_row : n_col); k++) a[k] = (float)tiny_random(&seed) / 4;
        for (int64_t k = 0; k < RANK * (i == 2 ? n_col : n_row); k++) b[k] = (float)tiny_random(&seed);
        const hth_tensor ta = {.name = "a", .type = HTH_TYPE_F32, .n_dim = 2, .data = (const uint8_t *)a,
                               .dim = {i == 2 ? n_row : RANK, i == 2 ? RANK : n_col}};
        const hth_tensor tb = {.name = "b", .type = HTH_TYPE_F32, .n_dim = 2, .data = (const uint8_t *)b,
                               .dim = {i == 2 ? n_col : n_row, RANK}};
        const lora_pair pair = {.name = names[i], .a = &ta, .b = &tb, .alpha = 6};
        if (lora_add(l, &pair, &err) != HTH_OK) fail_msg("%s", err.msg);
        free(a);
        free(b);
    }
    l->embedding = &l->modules[2];
    return l;
}

static void run_with(const rig *r, hth_lora_runner *runner, const hth_lora_set *sets, hth_state **states, int32_t n_seq,
                     const hth_row *rows, int32_t n_row, float *logits) {
    hth_err err = {0};
    hth_step step = rig_step(r, states, n_seq, rows, n_row, logits);
    assert_int_equal(hth_lora_runner_begin(runner, sets, n_seq, n_row, hth_team_size(r->team), &step.hook, &err), HTH_OK);
    rig_must(r, &step);
}

static void sequences_with_and_without_adapters_share_a_step(void **state) {
    (void)state;
    rig r = rig_open(TINY_LLAMA, 3);
    hth_err err;
    hth_lora_runner *runner;
    assert_int_equal(hth_lora_runner_new(&runner, &err), HTH_OK);
    hth_lora *one = make(r.m, 5), *two = make(r.m, 6);
    const hth_lora_use first[] = {{one, 1}}, both[] = {{two, 0.5f}, {one, -2}}, off[] = {{two, 0}};
    const hth_lora_set sets[4] = {{first, 1}, {NULL, 0}, {both, 2}, {off, 1}};
    hth_row *own[4], all[4 * N];
    float *alone[4], *logits = rig_floats(4 * N * TINY_VOCAB);
    hth_state *states[4];
    for (int s = 0; s < 4; s++) {
        own[s] = rig_tokens(N, 0, s == 3 ? 41 : 40 + (uint64_t)s); // 1 and 3 say the same
        for (int i = 0; i < N; i++) own[s][i].kind = i % 5 == 0 ? HTH_ROW_GENERATED : HTH_ROW_PROMPT;
        alone[s] = rig_floats(N * TINY_VOCAB);
        hth_state *state_alone = rig_state(&r, 64);
        for (int i = 0; i < N; i += 6) run_with(&r, runner, &sets[s], &state_alone, 1, own[s] + i, 6, alone[s] + i * TINY_VOCAB);
        hth_state_free(state_alone);
        states[s] = rig_state(&r, 64);
        for (int i = 0; i < N; i++) {
            all[4 * i + s] = own[s][i]; // rows of all sequences in turn
            all[4 * i + s].i_seq = s;
        }
    }
    run_with(&r, runner, sets, states, 4, all, 4 * N, logits);
    for (int i = 0; i < 4 * N; i++) {
        assert_true(rig_same(logits + i * TINY_VOCAB, alone[i % 4] + i / 4 * TINY_VOCAB, TINY_VOCAB));
    }
    float *plain = rig_alone(&r, own[1], N);
    assert_true(rig_same(alone[1], plain, N * TINY_VOCAB)); // without, nothing is changed
    assert_true(rig_same(alone[3], plain, N * TINY_VOCAB)); // nor with scale 0
    assert_false(rig_same(alone[0], alone[2], TINY_VOCAB));
    const hth_linear_hook *hook = (const hth_linear_hook *)1;
    assert_int_equal(hth_lora_runner_begin(runner, sets + 1, 1, N, 3, &hook, &err), HTH_OK);
    assert_null(hook);
    for (int s = 0; s < 4; s++) {
        hth_state_free(states[s]);
        free(own[s]);
        free(alone[s]);
    }
    free(plain);
    free(logits);
    hth_lora_free(one);
    hth_lora_free(two);
    hth_lora_runner_free(runner);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sequences_with_and_without_adapters_share_a_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
