// Which rows a row sees: causal order, two-way spans, windows, positions with gaps and repetitions; against a
// plain forward pass in double precision.
#include "model/state.h"
#include "plain.h"

// f32 arithmetic against double over two layers.
#define MAX_NMSE 1e-10

enum { N_ROW = 40, MOST = 130 };

// Two llama layers, with a window of `window` tokens where that is not 0.
static rig open_llama(int window, int n_thread) {
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_LLAMA, t);
    tiny_set(t, "num_hidden_layers", "2");
    if (window > 0) {
        tiny_set(t, "model_type", "\"mistral\"");
        tiny_set_int(t, "sliding_window", window);
    }
    rig r = rig_of(t, n_thread);
    free(t);
    return r;
}

static void compare(const rig *r, const hth_row *rows, int n, const float *got) {
    int32_t token[MOST], span[MOST];
    int64_t pos[MOST];
    for (int i = 0; i < n; i++) {
        token[i] = rows[i].token;
        span[i] = rows[i].span;
        pos[i] = rows[i].pos[0];
    }
    const plain_rows plain = {.token = token, .span = span, .pos = pos, .n = n};
    double *want = plain_logits(r->m, &plain);
    for (int i = 0; i < n; i++) {
        const double e = rig_nmse(got + i * TINY_VOCAB, want + i * TINY_VOCAB, TINY_VOCAB);
        if (!(e <= MAX_NMSE))
            fail_msg("window %d: row %d is off by %g", (int)r->m->desc.layers[0].attn.window, i, e);
    }
    free(want);
}

static void causal_rows_equal_a_plain_forward_pass(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N_ROW, 0, 41);
    for (int window = 0; window <= 9; window += 3) {
        rig r = open_llama(window, 2);
        float *got = rig_alone(&r, rows, N_ROW);
        compare(&r, rows, N_ROW, got);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

// Spans 4-9, 13-16 and, right behind it, 17-19.
static void mark_spans(hth_row *rows) {
    for (int i = 0; i < N_ROW; i++) {
        rows[i].span = i >= 4 && i <= 9 ? 0 : i >= 13 && i <= 16 ? 1 : i >= 17 && i <= 19 ? 7 : -1;
    }
}

static void rows_of_a_span_see_each_other_both_ways(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N_ROW, 0, 42);
    for (int window = 0; window <= 9; window += 3) {
        rig r = open_llama(window, 3);
        float *causal = rig_alone(&r, rows, N_ROW);
        mark_spans(rows);
        float *got = rig_alone(&r, rows, N_ROW);
        compare(&r, rows, N_ROW, got);
        assert_true(rig_same(got, causal, 4 * TINY_VOCAB));
        assert_false(rig_same(got + 4 * TINY_VOCAB, causal + 4 * TINY_VOCAB, TINY_VOCAB));
        for (int i = 0; i < N_ROW; i++) rows[i].span = -1;
        free(causal);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

static void a_span_between_rows_of_another_sequence_stays_whole(void **unused) {
    (void)unused;
    rig r = open_llama(0, 2);
    hth_row *rows = rig_tokens(N_ROW, 0, 43), *other = rig_tokens(N_ROW, 0, 44), both[2 * N_ROW];
    mark_spans(rows);
    for (int i = 0; i < N_ROW; i++) other[i].span = rows[(i + 3) % N_ROW].span; // the same numbers, elsewhere
    float *want = rig_alone(&r, rows, N_ROW), *want_other = rig_alone(&r, other, N_ROW);
    float *got = rig_floats(2 * N_ROW * TINY_VOCAB);
    for (int i = 0; i < N_ROW; i++) {
        both[2 * i] = rows[i];
        both[2 * i + 1] = other[i];
        both[2 * i + 1].i_seq = 1;
    }
    hth_state *states[] = {rig_state(&r, 64), rig_state(&r, 64)};
    hth_step step = rig_step(&r, states, 2, both, 2 * N_ROW, got);
    rig_must(&r, &step);
    for (int i = 0; i < N_ROW; i++) {
        assert_true(rig_same(got + 2 * i * TINY_VOCAB, want + i * TINY_VOCAB, TINY_VOCAB));
        assert_true(rig_same(got + (2 * i + 1) * TINY_VOCAB, want_other + i * TINY_VOCAB, TINY_VOCAB));
    }
    for (int i = 0; i < 2; i++) hth_state_free(states[i]);
    free(want);
    free(want_other);
    free(got);
    free(rows);
    free(other);
    rig_close(&r);
}

static void steps_cut_at_the_borders_of_spans_give_the_same_bits(void **unused) {
    static const int cuts[] = {0, 4, 10, 13, 17, 20, 33, N_ROW};
    (void)unused;
    rig r = open_llama(6, 2);
    hth_row *rows = rig_tokens(N_ROW, 0, 45);
    mark_spans(rows);
    float *want = rig_alone(&r, rows, N_ROW), *got = rig_floats(N_ROW * TINY_VOCAB);
    hth_state *s = rig_state(&r, 64);
    for (size_t i = 0; i + 1 < HTH_COUNT(cuts); i++) {
        rig_rows(&r, s, rows + cuts[i], cuts[i + 1] - cuts[i], got + cuts[i] * TINY_VOCAB);
    }
    assert_true(rig_same(got, want, N_ROW * TINY_VOCAB));
    hth_state_free(s);
    free(want);
    free(got);
    free(rows);
    rig_close(&r);
}

static void positions_that_skip_or_repeat_hide_no_visible_key(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N_ROW, 0, 46);
    int64_t pos = 0;
    uint64_t seed = 5;
    for (int i = 0; i < N_ROW; i++) {
        rows[i].pos[0] = pos;
        const float u = tiny_random(&seed);
        pos += u < -0.2f ? 0 : u < 0.6f ? 1 : 4;
    }
    for (int window = 0; window <= 9; window += 3) {
        rig r = open_llama(window, 2);
        float *want = rig_alone(&r, rows, N_ROW), *got = rig_floats(N_ROW * TINY_VOCAB);
        compare(&r, rows, N_ROW, want);
        hth_state *s = rig_state(&r, 64);
        for (int i = 0; i < N_ROW; i++) rig_rows(&r, s, rows + i, 1, got + i * TINY_VOCAB);
        assert_true(rig_same(got, want, N_ROW * TINY_VOCAB));
        hth_state_free(s);
        free(want);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

// Rows that skip and repeat positions, so that chunks begin anywhere among the pages.
static void a_row_sees_its_own_chunk(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(MOST, 0, 47);
    int64_t pos = 0;
    uint64_t seed = 6;
    for (int i = 0; i < MOST; i++) {
        rows[i].pos[0] = pos;
        const float u = tiny_random(&seed);
        pos += u < -0.8f ? 0 : u < 0.8f ? 1 : 3;
    }
    for (int kind = 0; kind < 2; kind++) {
        rig r = open_llama(17, 2);
        for (int i = 0; i < r.m->desc.n_layer; i++) r.m->desc.layers[i].attn.chunked = true;
        for (int i = 0; i < MOST; i++) rows[i].kind = kind ? HTH_ROW_GENERATED : HTH_ROW_PROMPT;
        float *want = rig_alone(&r, rows, MOST), *got = rig_floats(MOST * TINY_VOCAB);
        compare(&r, rows, MOST, want);
        hth_state *s = rig_state(&r, 256);
        for (int i = 0; i < MOST; i++) rig_rows(&r, s, rows + i, 1, got + i * TINY_VOCAB);
        assert_true(rig_same(got, want, MOST * TINY_VOCAB));
        assert_true(s->layers[0].first_page > 0); // chunks long past have been given back
        hth_state_free(s);
        free(want);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal_rows_equal_a_plain_forward_pass),
        cmocka_unit_test(rows_of_a_span_see_each_other_both_ways),
        cmocka_unit_test(a_span_between_rows_of_another_sequence_stays_whole),
        cmocka_unit_test(steps_cut_at_the_borders_of_spans_give_the_same_bits),
        cmocka_unit_test(positions_that_skip_or_repeat_hide_no_visible_key),
        cmocka_unit_test(a_row_sees_its_own_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
