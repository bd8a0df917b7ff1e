// The scheduler on tiny models: whatever else is going on, a request's tokens are its own.
#include <math.h>

#include "engine/impl.h"
#include "os/clock.h"
#include "os/sync.h"
#include "unit/engine/asked.h"

enum { N_REQUEST = 12, N_OUT = 24 };

static const hth_sampler_params hot = {.temperature = 1, .top_p = 0.95f, .min_p = 0.02f, .repeat_penalty = 1, .seed = 1};

// ---- many at once

typedef struct crowd {
    hth_token prompts[N_REQUEST][160];
    int n_prompt[N_REQUEST];
    hth_segment segments[N_REQUEST];
    hth_sampler_params sampling[N_REQUEST];
    hth_request_params params[N_REQUEST];
} crowd;

static crowd *make_crowd(void) {
    static const int lengths[N_REQUEST] = {1, 150, 7, 33, 90, 64, 3, 120, 2, 31, 100, 47};
    crowd *c = calloc(1, sizeof *c);
    for (int i = 0; i < N_REQUEST; i++) {
        c->n_prompt[i] = lengths[i];
        asked_random(c->prompts[i], lengths[i], (uint64_t)i + 1);
        c->segments[i] = asked_tokens(c->prompts[i], (size_t)lengths[i]);
        c->sampling[i] = hot;
        c->sampling[i].seed = (uint64_t)i;
        c->params[i] = (hth_request_params){.segments = &c->segments[i], .n_segment = 1, .sampling = &c->sampling[i],
                                            .max_tokens = N_OUT + i, .priority = (hth_priority)(i % 3 == 2)};
    }
    return c;
}

static void assert_same_tokens(const asked_one *got, const asked_one *want, const char *what, int i) {
    if (got->code != HTH_OK || got->n != want->n || memcmp(got->tokens, want->tokens, (size_t)want->n * sizeof *want->tokens) != 0) {
        fail_msg("%s: request %d has other tokens than alone (%d and %d)", what, i, got->n, want->n);
    }
    assert_int_equal(got->reason, want->reason);
}

static void each_of_many_requests_equals_its_solo_run(void **state) {
    (void)state;
    crowd *c = make_crowd();
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_GEMMA3, TINY_GEMMA4, TINY_PHI3};
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        asked *alone[N_REQUEST];
        hth_engine *e = asked_open(kinds[k], &(hth_engine_params){.n_thread = 1, .n_sequence = 1, .n_chunk = 16, .n_ctx = 256});
        for (int i = 0; i < N_REQUEST; i++) {
            alone[i] = asked_run(e, &c->params[i]);
            assert_int_equal(alone[i]->of[0].n, N_OUT + i);
            assert_int_equal(alone[i]->of[0].reason, HTH_STOP_LENGTH);
            assert_int_equal(alone[i]->usage.n_prompt, c->n_prompt[i]);
            assert_int_equal(alone[i]->usage.n_output, N_OUT + i);
        }
        hth_engine_close(e);
        static const hth_engine_params crowded[] = {{.n_thread = 2, .n_sequence = 5, .n_chunk = 32, .n_ctx = 256},
                                                    {.n_thread = 3, .n_ctx = 256}};
        for (size_t p = 0; p < HTH_COUNT(crowded); p++) {
            hth_request *r[N_REQUEST];
            e = asked_open(kinds[k], &crowded[p]);
            for (int i = 0; i < N_REQUEST; i++) r[i] = asked_submit(e, &c->params[i]);
            for (int i = 0; i < N_REQUEST; i++) {
                asked *a = asked_all(r[i]);
                assert_same_tokens(&a->of[0], &alone[i]->of[0], "crowded", i);
                free(a);
                hth_request_free(r[i]);
            }
            hth_engine_stats stats;
            hth_engine_get_stats(e, &stats);
            assert_int_equal(stats.n_done, N_REQUEST);
            assert_true(stats.n_mixed_step > 0);
            assert_int_equal(stats.reserved_bytes, 0);
            assert_int_equal(stats.kv_bytes, 0);
            hth_engine_close(e);
        }
        for (int i = 0; i < N_REQUEST; i++) free(alone[i]);
    }
    free(c);
}

static int32_t find_greatest(const float *logits) {
    int32_t best = 0;
    for (int32_t i = 1; i < TINY_VOCAB; i++) best = logits[i] > logits[best] ? i : best;
    return best;
}

// Greedy tokens by the executor alone.
static void generate_by_hand(const rig *r, const hth_token *prompt, int n, hth_token *out, int n_out) {
    hth_state *s = rig_state_of(r, 256, HTH_KV_F16);
    hth_row *rows = calloc((size_t)n, sizeof *rows);
    float *logits = rig_floats((int64_t)n * TINY_VOCAB);
    for (int i = 0; i < n; i++) rows[i] = rig_row(prompt[i], i);
    rig_rows(r, s, rows, n, logits);
    out[0] = find_greatest(logits + (n - 1) * TINY_VOCAB);
    for (int i = 1; i < n_out; i++) {
        hth_row row = rig_row(out[i - 1], n + i - 1);
        row.kind = HTH_ROW_GENERATED;
        rig_rows(r, s, &row, 1, logits);
        out[i] = find_greatest(logits);
    }
    hth_state_free(s);
    free(rows);
    free(logits);
}

static void greedy_tokens_are_those_of_the_executor(void **state) {
    (void)state;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 10});
    const hth_sampler_params greedy = {.top_p = 1};
    hth_token prompt[50], want[N_OUT];
    asked_random(prompt, 50, 3);
    generate_by_hand(&r, prompt, 50, want, N_OUT);
    const hth_segment segment = asked_tokens(prompt, 50);
    asked *a = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .sampling = &greedy, .max_tokens = N_OUT});
    assert_int_equal(a->of[0].n, N_OUT);
    assert_memory_equal(a->of[0].tokens, want, sizeof want);
    assert_int_equal(a->n_progress, 5);
    assert_int_equal(a->n_done, 50);
    free(a);
    hth_engine_close(e);
    rig_close(&r);
}

static void completions_share_a_prompt_and_draw_differently(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 32});
    hth_token prompt[80];
    asked_random(prompt, 80, 5);
    const hth_segment segment = asked_tokens(prompt, 80);
    hth_sampler_params hotter = hot;
    hotter.temperature = 5;
    hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &hotter, .max_tokens = N_OUT, .no_cache = true};
    asked *one = asked_run(e, &p);
    p.n = 4;
    asked *four = asked_run(e, &p), *again = asked_run(e, &p);
    assert_same_tokens(&four->of[0], &one->of[0], "completion 0", 0);
    for (int i = 1; i < 4; i++) {
        assert_same_tokens(&again->of[i], &four->of[i], "again", i);
        assert_int_equal(four->of[i].n, N_OUT);
        assert_memory_not_equal(four->of[i].tokens, one->of[0].tokens, N_OUT * sizeof(hth_token));
    }
    assert_int_equal(four->usage.n_output, 4 * N_OUT);
    assert_int_equal(four->n_progress, one->n_progress); // the prompt was read once
    free(one);
    free(four);
    free(again);
    hth_engine_close(e);
}

static void two_engines_share_a_host_and_both_get_on(void **state) {
    (void)state;
    hth_host *h = NULL;
    hth_err err;
    assert_int_equal(hth_host_new(&(hth_host_params){.n_thread = 2}, &h, &err), HTH_OK);
    hth_engine *e[2];
    static const tiny_kind kinds[2] = {TINY_LLAMA, TINY_GEMMA3};
    hth_token prompt[60];
    asked_random(prompt, 60, 9);
    const hth_segment segment = asked_tokens(prompt, 60);
    hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &hot, .max_tokens = 180};
    hth_request *r[2];
    asked *want[2];
    for (int i = 0; i < 2; i++) {
        e[i] = asked_open(kinds[i], &(hth_engine_params){.host = h, .n_ctx = 256});
        want[i] = asked_run(e[i], &p);
    }
    for (int i = 0; i < 2; i++) r[i] = asked_submit(e[i], &p);
    for (int i = 0; i < 2; i++) {
        asked *a = asked_all(r[i]);
        assert_same_tokens(&a->of[0], &want[i]->of[0], "beside another model", i);
        hth_request_free(r[i]);
        free(a);
        free(want[i]);
    }
    for (int i = 0; i < 2; i++) hth_engine_close(e[i]);
    hth_host_free(h);
}

typedef struct rival {
    hth_engine *own, *other;
    int n_turn, n_wrong; // steps while the other had work too; those that were the other's turn
} rival;

// By the host's thread, during a step: whoever has it must not have had more time than the other.
static void check_turn(void *user, const hth_event *event) {
    rival *r = user;
    if (event->kind != HTH_EVENT_TOKEN || r->other->n_seq == 0) return;
    r->n_turn++;
    r->n_wrong += r->own->vtime_ns > r->other->vtime_ns;
}

static void wait_for_the_gate(void *user, const hth_event *event) {
    if (event->kind == HTH_EVENT_TOKEN) hth_lock(user);
    if (event->kind == HTH_EVENT_TOKEN) hth_unlock(user);
}

// A third model keeps the host's thread until both have been asked, so that they have work at the same time.
static void two_engines_have_the_same_time(void **state) {
    (void)state;
    static const tiny_kind kinds[3] = {TINY_LLAMA, TINY_GEMMA3, TINY_LLAMA};
    hth_host *h = NULL;
    hth_mutex gate;
    hth_err err;
    hth_engine *e[3];
    hth_request *r[3];
    hth_token prompt[60];
    assert_int_equal(hth_host_new(&(hth_host_params){.n_thread = 2}, &h, &err), HTH_OK);
    assert_int_equal(hth_mutex_init(&gate, &err), HTH_OK);
    asked_random(prompt, 60, 9);
    const hth_segment segment = asked_tokens(prompt, 60);
    for (int i = 0; i < 3; i++) e[i] = asked_open(kinds[i], &(hth_engine_params){.host = h, .n_ctx = 256});
    rival rivals[2] = {{.own = e[0], .other = e[1]}, {.own = e[1], .other = e[0]}};
    hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &hot, .max_tokens = 1, .n_draft = -1, .ignore_end = true,
                            .on_event = wait_for_the_gate, .user = &gate};
    hth_lock(&gate);
    r[2] = asked_submit(e[2], &p);
    p.max_tokens = 180;
    p.on_event = check_turn;
    for (int i = 0; i < 2; i++) {
        p.user = &rivals[i];
        r[i] = asked_submit(e[i], &p);
    }
    hth_unlock(&gate);
    for (int i = 0; i < 3; i++) {
        free(asked_all(r[i]));
        hth_request_free(r[i]);
    }
    assert_int_equal(rivals[0].n_wrong + rivals[1].n_wrong, 0);
    assert_true(rivals[0].n_turn + rivals[1].n_turn > 170); // until the first one had said all
    for (int i = 0; i < 3; i++) hth_engine_close(e[i]);
    hth_host_free(h);
    hth_mutex_destroy(&gate);
}

// ---- logprobs, echo, logits

static double logprob_of(const float *logits, int32_t token) {
    double sum = 0;
    for (int i = 0; i < TINY_VOCAB; i++) sum += exp((double)logits[i]);
    return (double)logits[token] - log(sum);
}

static void prompt_logprobs_are_those_of_the_executors_logits(void **state) {
    (void)state;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 9, .k_type = "f32", .v_type = "f32"});
    hth_row *rows = rig_tokens(40, 0, 11);
    hth_token prompt[40];
    for (int i = 0; i < 40; i++) prompt[i] = rows[i].token;
    float *logits = rig_alone(&r, rows, 40);
    const hth_segment segment = asked_tokens(prompt, 40);
    asked *a = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .no_output = true, .prompt_logprobs = true, .n_top = 3});
    assert_int_equal(a->prompt.n, 40);
    assert_memory_equal(a->prompt.tokens, prompt, sizeof prompt);
    assert_true(a->prompt.logprobs[0] > 0); // none
    for (int i = 1; i < 40; i++) {
        const double want = logprob_of(logits + (i - 1) * TINY_VOCAB, prompt[i]);
        assert_true(fabs((double)a->prompt.logprobs[i] - want) < 1e-4);
    }
    assert_int_equal(a->of[0].n, 0);
    assert_int_equal(a->of[0].reason, HTH_STOP_LENGTH);
    free(a);
    free(logits);
    free(rows);
    hth_engine_close(e);
    rig_close(&r);
}

typedef struct tap {
    float *logits;
    int64_t next;
} tap;

static bool take_logits(void *user, int64_t first, int32_t n_row, int32_t n_vocab, const float *logits) {
    tap *t = user;
    assert_int_equal(first, t->next);
    assert_int_equal(n_vocab, TINY_VOCAB);
    memcpy(t->logits + first * TINY_VOCAB, logits, (size_t)n_row * TINY_VOCAB * sizeof *logits);
    t->next += n_row;
    return true;
}

static void logits_of_prompt_rows_are_handed_out_from_the_asked_row_on(void **state) {
    (void)state;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 9, .k_type = "f32", .v_type = "f32"});
    hth_row *rows = rig_tokens(40, 0, 12);
    hth_token prompt[40];
    for (int i = 0; i < 40; i++) prompt[i] = rows[i].token;
    float *logits = rig_alone(&r, rows, 40);
    const hth_segment segment = asked_tokens(prompt, 40);
    static const int64_t from[] = {0, 8, 13, 39};
    for (int i = 0; i < 4; i++) {
        tap t = {.logits = rig_floats(40 * TINY_VOCAB), .next = from[i]};
        asked *a = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .no_output = true,
                                                      .on_logits = take_logits, .logits_from = from[i], .user = &t});
        assert_int_equal(a->of[0].code, HTH_OK);
        assert_int_equal(t.next, 40);
        assert_true(rig_same(t.logits + from[i] * TINY_VOCAB, logits + from[i] * TINY_VOCAB, (40 - from[i]) * TINY_VOCAB));
        free(t.logits);
        free(a);
    }
    free(logits);
    free(rows);
    hth_engine_close(e);
    rig_close(&r);
}

// All of a prompt's logits in chunks of n rows. Owned by the caller (free).
static float *logits_in_chunks(tiny_kind kind, const hth_segment *prompt, int32_t n_chunk, int32_t n_thread) {
    const int64_t n = (int64_t)prompt->n_token;
    tap t = {.logits = rig_floats(n * TINY_VOCAB)};
    hth_engine *e = asked_open(kind, &(hth_engine_params){.n_thread = n_thread, .n_ctx = 256, .n_chunk = n_chunk});
    asked *a = asked_run(e, &(hth_request_params){.segments = prompt, .n_segment = 1, .no_output = true, .on_logits = take_logits,
                                                  .user = &t});
    assert_int_equal(t.next, n);
    free(a);
    hth_engine_close(e);
    return t.logits;
}

static void a_prompt_in_chunks_gives_the_logits_of_one_go(void **state) {
    (void)state;
    enum { LEN = 90 };
    hth_token tokens[LEN];
    asked_random(tokens, LEN, 1);
    const hth_segment prompt = asked_tokens(tokens, LEN);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        float *want = logits_in_chunks((tiny_kind)kind, &prompt, 0, 1);
        static const int32_t chunks[] = {1, 7, 89, 90};
        for (int i = 0; i < 4; i++) {
            float *got = logits_in_chunks((tiny_kind)kind, &prompt, chunks[i], 2);
            assert_true(rig_same(got, want, LEN * TINY_VOCAB));
            free(got);
        }
        free(want);
    }
}

static bool allow_two(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask) {
    (void)tokens;
    (void)completion;
    const int *mode = user;
    if (*mode == 1 && n == 5) return false;
    if (*mode == 2 && n == 5) return true; // nothing is allowed
    mask[0] |= n % 2 == 0 ? 1u << 7 : 1u << 8;
    return true;
}

static void a_mask_decides_and_fails_closed(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 256});
    const hth_token prompt[] = {1, 2, 3};
    const hth_segment segment = asked_tokens(prompt, 3);
    for (int mode = 0; mode < 3; mode++) {
        asked *a = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .sampling = &hot, .max_tokens = 10,
                                                      .mask = allow_two, .user = &mode});
        assert_int_equal(a->of[0].n, mode == 0 ? 10 : 5);
        for (int i = 0; i < a->of[0].n; i++) assert_int_equal(a->of[0].tokens[i], i % 2 == 0 ? 7 : 8);
        assert_int_equal(a->of[0].code, mode == 0 ? HTH_OK : HTH_ERR_RANGE);
        free(a);
    }
    hth_engine_close(e);
}

// ---- contexts that are too small

static void a_prompt_that_does_not_fit_is_refused_with_the_numbers(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 32});
    hth_token prompt[100];
    asked_random(prompt, 100, 1);
    const hth_segment segment = asked_tokens(prompt, 33);
    hth_request *r;
    hth_refusal why;
    hth_err err;
    assert_int_equal(hth_request_submit(e, &(hth_request_params){.segments = &segment, .n_segment = 1}, &r, &why, &err), HTH_ERR_LIMIT);
    assert_null(r);
    assert_int_equal(why.n_prompt, 33);
    assert_int_equal(why.n_ctx, 32);
    assert_non_null(strstr(err.msg, "33"));
    assert_non_null(strstr(err.msg, "32"));
    hth_engine_close(e);
}

static void a_full_context_ends_an_answer(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 32});
    hth_token prompt[32];
    asked_random(prompt, 32, 1);
    for (size_t n = 30; n <= 32; n++) {
        const hth_segment segment = asked_tokens(prompt, n);
        asked *a = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .sampling = &hot});
        assert_int_equal(a->of[0].n, 33 - n);
        assert_int_equal(a->of[0].reason, HTH_STOP_CONTEXT);
        free(a);
    }
    hth_engine_close(e);
}

static void truncation_leaves_out_the_middle_and_says_so(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 32});
    hth_token prompt[100], rest[24];
    asked_random(prompt, 100, 2);
    const hth_segment segment = asked_tokens(prompt, 100);
    hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &hot, .max_tokens = 8,
                            .overflow = HTH_OVERFLOW_TRUNCATE_MIDDLE, .n_keep = 5};
    asked *a = asked_run(e, &p);
    assert_int_equal(a->of[0].n_cut, 1);
    assert_int_equal(a->of[0].cut_first[0], 5);
    assert_int_equal(a->of[0].cut_n[0], 76);
    assert_int_equal(a->usage.n_prompt, 24);
    memcpy(rest, prompt, 5 * sizeof *rest);
    memcpy(rest + 5, prompt + 81, 19 * sizeof *rest);
    const hth_segment what_is_left = asked_tokens(rest, 24);
    p.segments = &what_is_left;
    asked *want = asked_run(e, &p);
    assert_int_equal(want->of[0].n_cut, 0);
    assert_same_tokens(&a->of[0], &want->of[0], "truncated", 0);
    free(a);
    free(want);
    hth_engine_close(e);
}

// After each cut the next token is the one that the remaining tokens would give as a prompt.
static void rolling_goes_on_with_the_tokens_that_remain(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_GEMMA3};
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *e = asked_open(kinds[k], &(hth_engine_params){.n_thread = 1, .n_ctx = 40});
        const hth_sampler_params greedy = {.top_p = 1};
        hth_token all[512];
        asked_random(all, 20, 2);
        hth_segment segment = asked_tokens(all, 20);
        asked *a = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .sampling = &greedy, .max_tokens = 100,
                                                      .overflow = HTH_OVERFLOW_ROLLING, .n_keep = 4});
        assert_int_equal(a->of[0].n, 100);
        assert_int_equal(a->of[0].reason, HTH_STOP_LENGTH);
        assert_true(a->of[0].n_cut >= 4);
        int n = 20, at = 0; // tokens that are held, tokens of the answer among them
        for (int c = 0; c < a->of[0].n_cut; c++) {
            while (n < 41) all[n++] = a->of[0].tokens[at++];
            const int64_t first = a->of[0].cut_first[c], drop = a->of[0].cut_n[c];
            assert_int_equal(first, 4);
            memmove(all + first, all + first + drop, (size_t)(n - first - drop) * sizeof *all);
            n -= (int)drop;
            segment = asked_tokens(all, (size_t)n);
            asked *next = asked_run(e, &(hth_request_params){.segments = &segment, .n_segment = 1, .sampling = &greedy, .max_tokens = 1});
            if (at < a->of[0].n) assert_int_equal(next->of[0].tokens[0], a->of[0].tokens[at]);
            free(next);
        }
        free(a);
        hth_engine_close(e);
    }
}

// ---- bad parameters

static void bad_parameters_are_refused_by_name(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 64, .n_sequence = 4});
    const hth_token good[] = {1, 2, 3}, bad_token[] = {1, TINY_VOCAB}, negative[] = {-1};
    const hth_segment fine = asked_tokens(good, 3), beyond = asked_tokens(bad_token, 2), below = asked_tokens(negative, 1),
                      text = {.text = "hello", .n_text = 5};
    const hth_bytes empty = {"", 0}, hello = {"hello", 5};
    hth_sampler_params nan_temperature = hot, minus_top_k = hot, bad_bias = hot;
    const hth_logit_bias bias = {TINY_VOCAB, 1};
    nan_temperature.temperature = NAN;
    minus_top_k.top_k = -1;
    bad_bias.bias = &bias;
    bad_bias.n_bias = 1;
#define OF .segments = &fine, .n_segment = 1
    const struct {
        hth_request_params p;
        const char *name, *word;
        hth_code code;
    } cases[] = {
        {{.segments = &beyond, .n_segment = 1}, "segments", "97", HTH_ERR_RANGE},
        {{.segments = &below, .n_segment = 1}, "segments", "-1", HTH_ERR_RANGE},
        {{.segments = &text, .n_segment = 1}, "segments", "tokenizer", HTH_ERR_RANGE},
        {{.n_segment = 0}, "segments", "empty", HTH_ERR_RANGE},
        {{OF, .sampling = &nan_temperature}, "sampling", "temperature", HTH_ERR_RANGE},
        {{OF, .sampling = &minus_top_k}, "sampling", "top_k", HTH_ERR_RANGE},
        {{OF, .sampling = &bad_bias}, "sampling", "bias", HTH_ERR_RANGE},
        {{OF, .max_tokens = -1}, "max_tokens", "max_tokens", HTH_ERR_RANGE},
        {{OF, .max_tokens = INT64_MAX}, "max_tokens", "max_tokens", HTH_ERR_RANGE},
        {{OF, .n = -1}, "n", "n is -1", HTH_ERR_RANGE},
        {{OF, .n = 5}, "n", "n is 5", HTH_ERR_RANGE},
        {{OF, .n = 1000000}, "n", "1000000", HTH_ERR_RANGE},
        {{OF, .n_top = -1}, "n_top", "n_top", HTH_ERR_RANGE},
        {{OF, .n_top = 101}, "n_top", "n_top", HTH_ERR_RANGE},
        {{OF, .deadline_ms = -5}, "deadline_ms", "deadline_ms", HTH_ERR_RANGE},
        {{OF, .n_keep = -1}, "n_keep", "n_keep", HTH_ERR_RANGE},
        {{OF, .n_keep = 64, .overflow = HTH_OVERFLOW_ROLLING}, "n_keep", "n_keep", HTH_ERR_RANGE},
        {{OF, .overflow = (hth_overflow)9}, "overflow", "overflow", HTH_ERR_RANGE},
        {{OF, .priority = (hth_priority)9}, "priority", "priority", HTH_ERR_RANGE},
        {{OF, .task = (hth_task)9}, "task", "task", HTH_ERR_RANGE},
        {{OF, .stop = &empty, .n_stop = 1}, "stop", "stop", HTH_ERR_RANGE},
        {{OF, .stop = &hello, .n_stop = 1}, "stop", "tokenizer", HTH_ERR_RANGE},
        {{OF, .stop_tokens = bad_token, .n_stop_token = 2}, "stop_tokens", "97", HTH_ERR_RANGE},
        {{OF, .logits_from = -1}, "logits_from", "logits_from", HTH_ERR_RANGE},
        {{OF, .n_log = SIZE_MAX}, "n_log", "n_log", HTH_ERR_RANGE},
        {{OF, .task = HTH_TASK_EMBED, .pooling = "median"}, "pooling", "median", HTH_ERR_RANGE},
        {{OF, .task = HTH_TASK_EMBED, .pooling = "rank"}, "pooling", "head", HTH_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_request *r;
        hth_refusal why;
        hth_err err = {0};
        const hth_code code = hth_request_submit(e, &cases[i].p, &r, &why, &err);
        if (code != cases[i].code || !why.parameter || strcmp(why.parameter, cases[i].name) != 0 || !strstr(err.msg, cases[i].word)) {
            fail_msg("case %d: %s, parameter %s: %s", (int)i, hth_code_name(code), why.parameter ? why.parameter : "none", err.msg);
        }
        assert_null(r);
    }
    // 10^12 tokens are as many as the context holds.
    asked *a = asked_run(e, &(hth_request_params){OF, .sampling = &hot, .max_tokens = 1000000000000});
    assert_int_equal(a->of[0].n, 62);
    free(a);
    hth_engine_close(e);
}

static void bad_engine_parameters_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        hth_engine_params p;
        const char *name;
    } cases[] = {{{.n_ctx = -1}, "n_ctx"},       {{.n_sequence = -1}, "n_sequence"}, {{.n_queue = -1}, "n_queue"},
                 {{.n_chunk = 1 << 30}, "n_chunk"}, {{.k_type = "f64"}, "k_type"},      {{.v_type = ""}, "v_type"},
                 {{.activations = "q2"}, "activations"}, {{.n_thread = -1}, "n_thread"}};
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_LLAMA, t);
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_model *m = NULL;
        hth_engine *e = NULL;
        hth_err err = {0};
        assert_int_equal(tiny_open(t, &m, &err), HTH_OK);
        assert_int_equal(hth_engine_over(m, NULL, &cases[i].p, &e, &err), HTH_ERR_RANGE);
        assert_non_null(strstr(err.msg, cases[i].name));
        assert_null(e);
    }
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_many_requests_equals_its_solo_run),
        cmocka_unit_test(greedy_tokens_are_those_of_the_executor),
        cmocka_unit_test(completions_share_a_prompt_and_draw_differently),
        cmocka_unit_test(two_engines_share_a_host_and_both_get_on),
        cmocka_unit_test(two_engines_have_the_same_time),
        cmocka_unit_test(prompt_logprobs_are_those_of_the_executors_logits),
        cmocka_unit_test(logits_of_prompt_rows_are_handed_out_from_the_asked_row_on),
        cmocka_unit_test(a_prompt_in_chunks_gives_the_logits_of_one_go),
        cmocka_unit_test(a_mask_decides_and_fails_closed),
        cmocka_unit_test(a_prompt_that_does_not_fit_is_refused_with_the_numbers),
        cmocka_unit_test(a_full_context_ends_an_answer),
        cmocka_unit_test(truncation_leaves_out_the_middle_and_says_so),
        cmocka_unit_test(rolling_goes_on_with_the_tokens_that_remain),
        cmocka_unit_test(bad_parameters_are_refused_by_name),
        cmocka_unit_test(bad_engine_parameters_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
