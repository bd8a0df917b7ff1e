// A row's numbers are the same bits however the rows are cut into steps, whoever shares a step, and whatever
// the number of threads.
#include "rig.h"

enum { N_ROW = 110 };

// Runs the rows of one sequence in pieces; piece(i) says how many rows the i-th step takes.
static float *run_pieces(const rig *r, hth_row *rows, int32_t n_row, const int *pieces, int n_piece) {
    float *logits = rig_floats((int64_t)n_row * TINY_VOCAB);
    hth_state *s = rig_state(r, 512);
    for (int32_t at = 0, i = 0; at < n_row; i++) {
        int32_t n = pieces[i % n_piece];
        if (n > n_row - at) n = n_row - at;
        rig_rows(r, s, rows + at, n, logits + (int64_t)at * TINY_VOCAB);
        at += n;
    }
    assert_int_equal(hth_state_len(s), n_row);
    hth_state_free(s);
    return logits;
}

static void check_pieces(const rig *r, hth_row *rows, int32_t n_row, const float *want, const int *pieces,
                         int n_piece) {
    float *got = run_pieces(r, rows, n_row, pieces, n_piece);
    for (int32_t i = 0; i < n_row; i++) {
        if (rig_same(got + (int64_t)i * TINY_VOCAB, want + (int64_t)i * TINY_VOCAB, TINY_VOCAB)) continue;
        fail_msg("family %s, %d threads, pieces of %d...: row %d differs", r->m->desc.family,
                 hth_team_size(r->team), pieces[0], (int)i);
    }
    free(got);
}

static void any_cut_into_chunks_and_any_number_of_threads_gives_the_same_bits(void **unused) {
    static const int cuts[][4] = {{1, 1, 1, 1},     {2, 2, 2, 2},  {7, 7, 7, 7},  {31, 1, 33, 2},
                                  {32, 32, 32, 32}, {64, 5, 1, 3}, {100, 9, 1, 1}};
    (void)unused;
    hth_row *rows = rig_tokens(N_ROW, 0, 11);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig one = rig_open((tiny_kind)kind, 1);
        float *want = rig_alone(&one, rows, N_ROW);
        for (int i = 0; i < N_ROW * TINY_VOCAB; i++) assert_true(isfinite(want[i]));
        for (size_t c = 0; c < HTH_COUNT(cuts); c++) check_pieces(&one, rows, N_ROW, want, cuts[c], 4);
        rig_close(&one);
        for (int n_thread = 2; n_thread <= 5; n_thread++) {
            rig many = rig_open((tiny_kind)kind, n_thread);
            const int whole[] = {N_ROW}, some[] = {13, 1, 40};
            check_pieces(&many, rows, N_ROW, want, whole, 1);
            check_pieces(&many, rows, N_ROW, want, some, 3);
            rig_close(&many);
        }
        free(want);
    }
    free(rows);
}

static void a_sequence_longer_than_one_attention_block_gives_the_same_bits_in_any_chunks(void **unused) {
    enum { LONG = 300 };
    (void)unused;
    hth_row *rows = rig_tokens(LONG, 0, 12);
    rig r = rig_open(TINY_LLAMA, 2);
    float *want = rig_alone(&r, rows, LONG);
    const int pieces[] = {255, 1, 1, 2, 41};
    check_pieces(&r, rows, LONG, want, pieces, 5);
    free(want);
    rig_close(&r);
    free(rows);
}

static void generated_rows_give_the_same_bits_alone_and_together(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(40, 0, 13);
    for (int i = 20; i < 40; i++) rows[i].kind = HTH_ROW_GENERATED;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 3);
        float *want = rig_alone(&r, rows, 40);
        const int generate[] = {20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                  verify[] = {20, 4};
        check_pieces(&r, rows, 40, want, generate, 21);
        check_pieces(&r, rows, 40, want, verify, 2);
        free(want);
        rig_close(&r);
    }
    free(rows);
}

enum { N_SEQ = 4 };

// Sends rows of all sequences through steps of random size in random order.
static void run_mixed(const rig *r, hth_row *const *rows, const int32_t *lens, float *const *logits,
                      uint64_t seed) {
    hth_state *states[N_SEQ];
    int32_t at[N_SEQ] = {0}, left = 0;
    float *out = rig_floats(64 * TINY_VOCAB);
    for (int s = 0; s < N_SEQ; s++) {
        states[s] = rig_state(r, 512);
        left += lens[s];
    }
    while (left > 0) {
        hth_row batch[64];
        float *dst[64];
        int32_t n = 0, most = 1 + (int32_t)((tiny_random(&seed) + 1) * 31);
        for (; n < most && left > 0; n++, left--) {
            int s = (int)((tiny_random(&seed) + 1) / 2 * N_SEQ);
            while (at[s] == lens[s]) s = (s + 1) % N_SEQ;
            batch[n] = rows[s][at[s]];
            batch[n].i_seq = s;
            dst[n] = logits[s] + (int64_t)at[s]++ * TINY_VOCAB;
        }
        hth_step step = rig_step(r, states, N_SEQ, batch, n, out);
        rig_must(r, &step);
        for (int32_t i = 0; i < n; i++)
            memcpy(dst[i], out + (int64_t)i * TINY_VOCAB, TINY_VOCAB * sizeof(float));
    }
    for (int s = 0; s < N_SEQ; s++) hth_state_free(states[s]);
    free(out);
}

static void sequences_that_share_steps_get_the_bits_that_each_has_alone(void **unused) {
    static const int32_t lens[N_SEQ] = {70, 1, 41, 55};
    (void)unused;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        hth_row *rows[N_SEQ];
        float *want[N_SEQ], *got[N_SEQ];
        for (int s = 0; s < N_SEQ; s++) {
            rows[s] = rig_tokens(lens[s], 3 * s, 20 + (uint64_t)s);
            want[s] = rig_alone(&r, rows[s], lens[s]);
            got[s] = rig_floats((int64_t)lens[s] * TINY_VOCAB);
        }
        for (uint64_t seed = 1; seed <= 4; seed++) {
            run_mixed(&r, rows, lens, got, seed * 977);
            for (int s = 0; s < N_SEQ; s++) {
                if (!rig_same(got[s], want[s], (int64_t)lens[s] * TINY_VOCAB)) {
                    fail_msg("family %s: sequence %d differs", r.m->desc.family, s);
                }
            }
        }
        for (int s = 0; s < N_SEQ; s++) {
            free(rows[s]);
            free(want[s]);
            free(got[s]);
        }
        rig_close(&r);
    }
}

// Hidden rows of an encoder's batch.
static void encode(const rig *r, const hth_row *rows, int32_t n_row, int32_t n_seq, float *out) {
    hth_step step = rig_step(r, NULL, n_seq, rows, n_row, NULL);
    step.hidden_want = out;
    rig_must(r, &step);
}

static void texts_that_an_encoder_reads_together_get_the_bits_that_each_has_alone(void **unused) {
    enum { A = 23, B = 9 };
    (void)unused;
    hth_row *a = rig_tokens(A, 0, 31), *b = rig_tokens(B, 0, 32), both[A + B];
    for (int i = 0; i < A; i++) a[i].want = HTH_WANT_HIDDEN;
    for (int i = 0; i < B; i++) b[i].want = HTH_WANT_HIDDEN;
    for (int i = 0; i < B; i++) b[i].type = i > 4;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        rig r = rig_open(TINY_BERT, n_thread);
        const int64_t d = r.m->desc.d_model;
        float *alone_a = rig_floats(A * d), *alone_b = rig_floats(B * d), *together = rig_floats((A + B) * d);
        encode(&r, a, A, 1, alone_a);
        encode(&r, b, B, 1, alone_b);
        int32_t n = 0, ia = 0, ib = 0;
        while (ia < A || ib < B) { // two of the one, one of the other
            bool take_b = ib < B && (n % 3 == 2 || ia == A);
            both[n] = take_b ? b[ib++] : a[ia++];
            both[n++].i_seq = take_b;
        }
        encode(&r, both, n, 2, together);
        ia = ib = 0;
        for (int32_t i = 0; i < n; i++) {
            const float *want = both[i].i_seq ? alone_b + d * ib++ : alone_a + d * ia++;
            assert_true(rig_same(together + i * d, want, d));
        }
        // What comes last is seen by what comes first.
        a[A - 1].token = (a[A - 1].token + 1) % TINY_VOCAB;
        encode(&r, a, A, 1, together);
        assert_false(rig_same(together, alone_a, d));
        free(alone_a);
        free(alone_b);
        free(together);
        rig_close(&r);
    }
    free(a);
    free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_into_chunks_and_any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_sequence_longer_than_one_attention_block_gives_the_same_bits_in_any_chunks),
        cmocka_unit_test(generated_rows_give_the_same_bits_alone_and_together),
        cmocka_unit_test(sequences_that_share_steps_get_the_bits_that_each_has_alone),
        cmocka_unit_test(texts_that_an_encoder_reads_together_get_the_bits_that_each_has_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
