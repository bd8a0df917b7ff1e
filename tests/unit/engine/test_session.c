// Sessions on tiny models: what is computed, what is kept, and what remains after a failure.
#include "engine/session.h"
#include "unit/model/rig.h"

typedef struct setup {
    rig rig;
    hth_solo engine;
} setup;

static setup open_model(tiny_kind kind, int n_thread) {
    setup s = {.rig = rig_open(kind, n_thread)};
    s.engine = (hth_solo){.model = s.rig.m, .team = s.rig.team, .executor = s.rig.ex};
    return s;
}

static void close_model(setup *s) {
    rig_close(&s->rig);
}

static hth_session *open_session(setup *s, int64_t n_ctx, int32_t n_chunk) {
    hth_session *session = NULL;
    hth_err err = {0};
    const hth_session_params p = {.n_ctx = n_ctx, .n_chunk = n_chunk};
    if (hth_session_new(&s->engine, &p, &session, &err) != HTH_OK) fail_msg("%s", err.msg);
    return session;
}

static void sync_all(hth_session *s, const hth_token *tokens, size_t n) {
    hth_err err = {0};
    if (hth_session_sync(s, tokens, n, NULL, NULL, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_session_len(s), n);
    if (n > 0) assert_memory_equal(hth_session_tokens(s), tokens, n * sizeof *tokens);
}

enum { N = 90 };

static void make_tokens(hth_token *tokens, uint64_t seed) {
    for (int i = 0; i < N; i++) tokens[i] = (hth_token)((tiny_random(&seed) + 1) / 2 * TINY_VOCAB);
}

// Logits after `n` tokens in a session of its own.
static void compute_alone(setup *s, const hth_token *tokens, size_t n, float *logits) {
    hth_session *session = open_session(s, 256, 0);
    sync_all(session, tokens, n);
    memcpy(logits, hth_session_logits(session), TINY_VOCAB * sizeof *logits);
    hth_session_free(session);
}

static void assert_same_logits(const hth_session *s, const float *logits) {
    assert_non_null(hth_session_logits(s));
    assert_memory_equal(hth_session_logits(s), logits, TINY_VOCAB * sizeof *logits);
}

static void a_prompt_in_chunks_gives_the_logits_of_one_go(void **state) {
    (void)state;
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    make_tokens(tokens, 1);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        setup s = open_model((tiny_kind)kind, 2);
        compute_alone(&s, tokens, N, logits);
        static const int32_t chunks[] = {1, 7, 89, 90, 500};
        for (int i = 0; i < 5; i++) {
            hth_session *session = open_session(&s, 256, chunks[i]); // as alone: longrope goes by it
            sync_all(session, tokens, N);
            assert_same_logits(session, logits);
            hth_session_free(session);
        }
        close_model(&s);
    }
}

typedef struct watch {
    int64_t first, last, total, stop_at; // stop_at < 0: never
    int n_call;
} watch;

static bool watch_progress(void *user, int64_t done, int64_t total) {
    watch *w = user;
    if (w->n_call++ == 0) w->first = done;
    assert_true(done >= w->last);
    w->last = done;
    w->total = total;
    return w->stop_at < 0 || done < w->stop_at;
}

static void sync_keeps_the_common_prefix_and_recomputes_the_rest(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 1);
    hth_token tokens[N], other[N];
    float logits[TINY_VOCAB];
    hth_err err;
    make_tokens(tokens, 1);
    make_tokens(other, 2);
    memcpy(other, tokens, 40 * sizeof *tokens);
    other[40] = (tokens[40] + 1) % TINY_VOCAB;
    hth_session *session = open_session(&s, N, 10);
    sync_all(session, tokens, N);

    watch w = {.stop_at = -1};
    assert_int_equal(hth_session_sync(session, other, 70, watch_progress, &w, &err), HTH_OK);
    assert_int_equal(w.first, 40);
    assert_int_equal(w.last, 70);
    assert_int_equal(w.total, 70);
    compute_alone(&s, other, 70, logits);
    assert_same_logits(session, logits);

    // A prefix of what is there: only its last row runs again.
    w = (watch){.stop_at = -1};
    assert_int_equal(hth_session_sync(session, other, 50, watch_progress, &w, &err), HTH_OK);
    assert_int_equal(w.first, 49);
    assert_int_equal(hth_session_len(session), 50);
    compute_alone(&s, other, 50, logits);
    assert_same_logits(session, logits);

    // The same again: nothing runs.
    w = (watch){.stop_at = -1};
    assert_int_equal(hth_session_sync(session, other, 50, watch_progress, &w, &err), HTH_OK);
    assert_int_equal(w.n_call, 0);
    assert_same_logits(session, logits);

    sync_all(session, other, 0);
    assert_null(hth_session_logits(session));
    hth_session_free(session);
    close_model(&s);
}

static void pushed_tokens_continue_the_sequence(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 1);
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    hth_err err;
    make_tokens(tokens, 3);
    hth_session *session = open_session(&s, N, 0);
    sync_all(session, tokens, 20);
    for (int i = 20; i < 30; i++) assert_int_equal(hth_session_push(session, tokens[i], NULL, &err), HTH_OK);
    assert_int_equal(hth_session_len(session), 30);
    assert_memory_equal(hth_session_tokens(session), tokens, 30 * sizeof *tokens);
    compute_alone(&s, tokens, 30, logits);
    double want[TINY_VOCAB]; // generated rows may round otherwise than prompt rows
    for (int i = 0; i < TINY_VOCAB; i++) want[i] = (double)logits[i];
    assert_true(rig_nmse(hth_session_logits(session), want, TINY_VOCAB) < 1e-9);
    hth_session_free(session);
    close_model(&s);
}

static void a_full_context_is_an_error_with_counts_and_changes_nothing(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 1);
    hth_token tokens[N];
    hth_err err;
    make_tokens(tokens, 4);
    hth_session *session = open_session(&s, 32, 8);
    sync_all(session, tokens, 20);
    assert_int_equal(hth_session_sync(session, tokens, 33, NULL, NULL, &err), HTH_ERR_LIMIT);
    assert_non_null(strstr(err.msg, "33"));
    assert_non_null(strstr(err.msg, "32"));
    assert_int_equal(hth_session_len(session), 20);
    assert_non_null(hth_session_logits(session));
    sync_all(session, tokens, 32);
    assert_int_equal(hth_session_push(session, 1, NULL, &err), HTH_ERR_LIMIT);
    assert_int_equal(hth_session_len(session), 32);
    hth_session_free(session);
    close_model(&s);
}

static void tokens_outside_the_vocabulary_are_refused_before_anything_runs(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 1);
    hth_token tokens[N];
    hth_err err;
    make_tokens(tokens, 5);
    hth_session *session = open_session(&s, N, 8);
    sync_all(session, tokens, 10);
    static const hth_token bad[] = {-1, TINY_VOCAB, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        tokens[15] = bad[i];
        assert_int_equal(hth_session_sync(session, tokens, 20, NULL, NULL, &err), HTH_ERR_RANGE);
        assert_int_equal(hth_session_push(session, bad[i], NULL, &err), HTH_ERR_RANGE);
        assert_int_equal(hth_session_len(session), 10);
        assert_non_null(hth_session_logits(session));
    }
    hth_session_free(session);
    close_model(&s);
}

static void a_cancelled_prompt_keeps_its_finished_chunks_and_can_go_on(void **state) {
    (void)state;
    setup s = open_model(TINY_GEMMA3, 2);
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    hth_err err;
    make_tokens(tokens, 6);
    hth_session *session = open_session(&s, N, 10);
    watch w = {.stop_at = 30};
    assert_int_equal(hth_session_sync(session, tokens, N, watch_progress, &w, &err), HTH_ERR_CANCELLED);
    assert_int_equal(hth_session_len(session), 30);
    assert_null(hth_session_logits(session));
    w = (watch){.stop_at = -1};
    assert_int_equal(hth_session_sync(session, tokens, N, watch_progress, &w, &err), HTH_OK);
    assert_int_equal(w.first, 30);
    compute_alone(&s, tokens, N, logits);
    assert_same_logits(session, logits);
    hth_session_free(session);
    close_model(&s);
}

static void a_raised_flag_cancels_a_step_and_leaves_no_trace(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 2);
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    hth_err err;
    make_tokens(tokens, 7);
    atomic_bool flag = false;
    const hth_session_params p = {.n_ctx = N, .n_chunk = 16, .cancel = &flag};
    hth_session *session = NULL;
    assert_int_equal(hth_session_new(&s.engine, &p, &session, &err), HTH_OK);
    sync_all(session, tokens, 20);
    flag = true;
    assert_int_equal(hth_session_sync(session, tokens, N, NULL, NULL, &err), HTH_ERR_CANCELLED);
    assert_int_equal(hth_session_len(session), 20);
    assert_int_equal(hth_session_push(session, 1, &flag, &err), HTH_ERR_CANCELLED);
    assert_int_equal(hth_session_len(session), 20);
    flag = false;
    sync_all(session, tokens, N);
    compute_alone(&s, tokens, N, logits);
    assert_same_logits(session, logits);
    hth_session_free(session);
    close_model(&s);
}

static void going_back_past_a_window_starts_over(void **state) {
    (void)state;
    setup s = open_model(TINY_GEMMA3, 1);
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    make_tokens(tokens, 8);
    hth_session *session = open_session(&s, N, 16);
    for (size_t n = N; n > 0; n -= 15) {
        sync_all(session, tokens, N);
        sync_all(session, tokens, n);
        compute_alone(&s, tokens, n, logits);
        assert_same_logits(session, logits);
    }
    hth_session_free(session);
    close_model(&s);
}

static void refused_memory_leaves_the_session_usable(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 1);
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    hth_err err;
    make_tokens(tokens, 9);
    compute_alone(&s, tokens, N, logits);
    bool was_hit = true;
    int n_failed = 0;
    for (uint64_t n = 1; was_hit && n < 2000; n++) {
        hth_session *session = open_session(&s, N, 8);
        hth_mem_fail_at(n, false);
        hth_code code = hth_session_sync(session, tokens, N, NULL, NULL, &err);
        was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        if (code != HTH_OK) {
            assert_int_equal(code, HTH_ERR_NOMEM);
            assert_true(was_hit);
            assert_true(hth_session_len(session) < N && hth_session_len(session) % 8 == 0);
            n_failed++;
        }
        sync_all(session, tokens, N);
        assert_same_logits(session, logits);
        hth_session_free(session);
    }
    assert_true(n_failed > 5);
    close_model(&s);
}

typedef struct rows {
    float logits[N][TINY_VOCAB];
    int64_t next;
} rows;

static hth_code take_rows(void *user, int64_t first, int32_t n, const float *logits, hth_err *err) {
    (void)err;
    rows *r = user;
    assert_int_equal(first, r->next);
    memcpy(r->logits[first], logits, (size_t)n * sizeof r->logits[0]);
    r->next += n;
    return HTH_OK;
}

static hth_code refuse_rows(void *user, int64_t first, int32_t n, const float *logits, hth_err *err) {
    (void)user;
    (void)n;
    (void)logits;
    return first < 20 ? HTH_OK : hth_fail(err, HTH_ERR_IO, "full");
}

static void score_hands_out_every_row_whatever_the_chunk(void **state) {
    (void)state;
    setup s = open_model(TINY_LLAMA, 2);
    hth_token tokens[N];
    float logits[TINY_VOCAB];
    hth_err err;
    make_tokens(tokens, 10);
    rows *all = calloc(2, sizeof *all), *some = all + 1;
    assert_non_null(all);
    hth_session *session = open_session(&s, N, 0);
    sync_all(session, tokens, 12); // what was there before does not matter
    assert_int_equal(hth_session_score(session, tokens, N, 0, take_rows, all, &err), HTH_OK);
    assert_int_equal(all->next, N);
    assert_int_equal(hth_session_len(session), 0);
    for (size_t n = 1; n <= N; n += 11) {
        compute_alone(&s, tokens, n, logits);
        assert_memory_equal(all->logits[n - 1], logits, sizeof logits);
    }
    hth_session_free(session);

    session = open_session(&s, N, 7);
    some->next = 33;
    assert_int_equal(hth_session_score(session, tokens, N, 33, take_rows, some, &err), HTH_OK);
    assert_int_equal(some->next, N);
    assert_memory_equal(some->logits[33], all->logits[33], (N - 33) * sizeof all->logits[0]);
    assert_int_equal(hth_session_score(session, tokens, N, 0, refuse_rows, NULL, &err), HTH_ERR_IO);
    sync_all(session, tokens, N);
    assert_same_logits(session, all->logits[N - 1]);
    hth_session_free(session);
    free(all);
    close_model(&s);
}

static void an_encoder_is_refused_as_a_session(void **state) {
    (void)state;
    setup s = open_model(TINY_BERT, 1);
    hth_session *session = NULL;
    hth_err err;
    const hth_session_params p = {.n_ctx = 16};
    assert_int_equal(hth_session_new(&s.engine, &p, &session, &err), HTH_ERR_UNSUPPORTED);
    close_model(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_in_chunks_gives_the_logits_of_one_go),
        cmocka_unit_test(sync_keeps_the_common_prefix_and_recomputes_the_rest),
        cmocka_unit_test(pushed_tokens_continue_the_sequence),
        cmocka_unit_test(a_full_context_is_an_error_with_counts_and_changes_nothing),
        cmocka_unit_test(tokens_outside_the_vocabulary_are_refused_before_anything_runs),
        cmocka_unit_test(a_cancelled_prompt_keeps_its_finished_chunks_and_can_go_on),
        cmocka_unit_test(a_raised_flag_cancels_a_step_and_leaves_no_trace),
        cmocka_unit_test(going_back_past_a_window_starts_over),
        cmocka_unit_test(refused_memory_leaves_the_session_usable),
        cmocka_unit_test(score_hands_out_every_row_whatever_the_chunk),
        cmocka_unit_test(an_encoder_is_refused_as_a_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
