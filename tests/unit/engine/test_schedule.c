// What the scheduler does with requests that end early, cannot start, go wrong or come too many.
#include <math.h>

#include "os/clock.h"
#include "os/sync.h"
#include "unit/engine/asked.h"

static const hth_sampler_params hot = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 4};
static hth_token numbers[512];
static hth_segment long_prompt, short_prompt;

static int make_prompts(void **state) {
    (void)state;
    asked_random(numbers, 512, 77);
    long_prompt = asked_tokens(numbers, 400);
    short_prompt = asked_tokens(numbers, 5);
    return 0;
}

static hth_request_params endless(const hth_segment *prompt) {
    return (hth_request_params){.segments = prompt, .n_segment = 1, .sampling = &hot, .overflow = HTH_OVERFLOW_ROLLING, .n_log = 1 << 20,
                                .max_tokens = 1000000000};
}

static void assert_all_is_free(hth_engine *e) {
    hth_engine_stats s;
    const uint64_t until = hth_clock_ns() + 10000000000u;
    do { // a freed request ends by itself
        hth_engine_get_stats(e, &s);
    } while (s.n_running > 0 && hth_clock_ns() < until);
    assert_int_equal(s.n_waiting, 0);
    assert_int_equal(s.n_running, 0);
    assert_int_equal(s.n_sequence, 0);
    assert_int_equal(s.kv_bytes, 0);
    assert_int_equal(s.reserved_bytes, 0);
}

// Reads until an event of a kind comes; the log may drop some meanwhile.
static void wait_for(hth_request *r, hth_event_kind kind) {
    hth_event e = {.kind = HTH_EVENT_QUEUED};
    hth_err err;
    while (e.kind != kind) {
        if (hth_request_next(r, 20000, &e, &err) != HTH_OK) fail_msg("waiting for event %d: %s", (int)kind, err.msg);
    }
}

// What ends a request, read from its last two events.
static hth_event last_but_one(hth_request *r) {
    hth_event e = {0}, before = {0};
    hth_err err;
    static hth_err kept;
    while (e.kind != HTH_EVENT_END) {
        before = e;
        if (before.kind == HTH_EVENT_ERROR) {
            kept = *before.error.err;
            before.error.err = &kept;
        }
        if (hth_request_next(r, 20000, &e, &err) != HTH_OK) fail_msg("%s", err.msg);
    }
    return before;
}

static void cancelling_frees_everything_wherever_the_request_is(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 450, .n_sequence = 1, .n_chunk = 4});
    const hth_request_params reading = endless(&long_prompt), writing = endless(&short_prompt);
    for (int round = 0; round < 3; round++) {
        hth_request *a = asked_submit(e, &reading), *b = asked_submit(e, &writing);
        wait_for(a, HTH_EVENT_PREFILL);
        hth_request_cancel(b); // in the queue
        assert_int_equal(last_but_one(b).stop.reason, HTH_STOP_CANCELLED);
        hth_request_cancel(a); // at its prompt, which takes 100 steps
        const hth_event end = last_but_one(a);
        assert_int_equal(end.kind, HTH_EVENT_STOP);
        assert_int_equal(end.stop.reason, HTH_STOP_CANCELLED);
        hth_request *c = asked_submit(e, &writing);
        wait_for(c, HTH_EVENT_TOKEN);
        hth_request_cancel(c); // at its answer
        hth_request_cancel(c); // once more does nothing
        assert_int_equal(last_but_one(c).stop.reason, HTH_STOP_CANCELLED);
        hth_request_free(a);
        hth_request_free(b);
        hth_request_free(c);
        assert_all_is_free(e);
    }
    hth_request *d = asked_submit(e, &writing); // freeing is cancelling
    wait_for(d, HTH_EVENT_TOKEN);
    hth_request_free(d);
    asked *after = asked_run(e, &(hth_request_params){.segments = &short_prompt, .n_segment = 1, .sampling = &hot, .max_tokens = 3});
    assert_int_equal(after->of[0].n, 3);
    free(after);
    assert_all_is_free(e);
    hth_engine_close(e);
}

static void closing_an_engine_ends_its_requests(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_GEMMA3, &(hth_engine_params){.n_thread = 2, .n_ctx = 450, .n_sequence = 2});
    const hth_request_params p = endless(&short_prompt);
    hth_request *r[5];
    for (int i = 0; i < 5; i++) r[i] = asked_submit(e, &p);
    wait_for(r[0], HTH_EVENT_TOKEN);
    hth_engine_close(e);
    for (int i = 0; i < 5; i++) {
        hth_request_cancel(r[i]); // its engine is gone: nothing happens
        hth_event event = {0};
        hth_err err;
        hth_replay *reader;
        assert_int_equal(hth_replay_new(r[i], 0, &reader, &err), HTH_OK);
        hth_request_free(r[i]); // a reader outlives its request
        while (hth_replay_next(reader, 0, &event, &err) == HTH_ERR_LIMIT) {
            hth_replay_free(reader);
            reader = NULL;
            break;
        }
        hth_replay_free(reader);
    }
}

// Whether a token comes before the end.
static bool has_written(hth_request *r) {
    hth_event e = {.kind = HTH_EVENT_QUEUED};
    hth_err err;
    while (e.kind != HTH_EVENT_TOKEN && e.kind != HTH_EVENT_END) {
        if (hth_request_next(r, 60000, &e, &err) != HTH_OK) fail_msg("%s", err.msg);
    }
    return e.kind == HTH_EVENT_TOKEN;
}

static void deadlines_end_requests_that_wait_and_that_run(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 450, .n_sequence = 1});
    hth_request_params p = endless(&short_prompt);
    hth_request *running = asked_submit(e, &p);
    p.deadline_ms = 30;
    hth_request *waiting = asked_submit(e, &p);
    hth_event end = last_but_one(waiting);
    assert_int_equal(end.kind, HTH_EVENT_ERROR);
    assert_int_equal(end.error.err->code, HTH_ERR_TIMEOUT);
    assert_int_equal(end.completion, -1);
    hth_request_free(running);
    hth_request_free(waiting);
    bool has_begun = false; // a busy machine may take longer than any time for the first token
    for (p.deadline_ms = 100; !has_begun; p.deadline_ms *= 3) {
        if (p.deadline_ms > 100) hth_request_free(running);
        running = asked_submit(e, &p);
        has_begun = has_written(running);
    }
    end = last_but_one(running);
    assert_int_equal(end.kind, HTH_EVENT_ERROR);
    assert_int_equal(end.error.err->code, HTH_ERR_TIMEOUT);
    assert_int_equal(end.completion, 0);
    hth_request_free(running);
    assert_all_is_free(e);
    hth_engine_close(e);
}

static void a_full_queue_says_when_to_come_again(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 450, .n_sequence = 1, .n_queue = 2});
    const hth_request_params p = endless(&short_prompt);
    hth_request *r[3], *refused;
    hth_refusal why;
    hth_err err;
    r[0] = asked_submit(e, &p);
    wait_for(r[0], HTH_EVENT_TOKEN); // it has left the queue
    for (int i = 1; i < 3; i++) r[i] = asked_submit(e, &p);
    assert_int_equal(hth_request_submit(e, &p, &refused, &why, &err), HTH_ERR_BUSY);
    assert_null(refused);
    assert_true(why.retry_ms >= 100 && why.retry_ms <= 60000);
    hth_request_cancel(r[1]); // at once there is room
    assert_int_equal(hth_request_submit(e, &p, &refused, &why, &err), HTH_OK);
    hth_request_free(refused);
    for (int i = 0; i < 3; i++) hth_request_free(r[i]);
    assert_all_is_free(e);
    hth_engine_close(e);
}

static void the_interactive_queue_goes_first(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 450, .n_sequence = 1});
    hth_request_params p = endless(&short_prompt);
    hth_request *first = asked_submit(e, &p);
    wait_for(first, HTH_EVENT_TOKEN);
    p = (hth_request_params){.segments = &long_prompt, .n_segment = 1, .sampling = &hot, .max_tokens = 2, .priority = HTH_PRIORITY_BACKGROUND};
    hth_request *background = asked_submit(e, &p);
    p.priority = HTH_PRIORITY_INTERACTIVE;
    hth_request *interactive = asked_submit(e, &p);
    hth_request_free(first);
    asked *a = asked_all(background), *b = asked_all(interactive);
    assert_true(a->usage.queued_ns >= b->usage.queued_ns + b->usage.prefill_ns);
    free(a);
    free(b);
    hth_request_free(background);
    hth_request_free(interactive);
    hth_engine_close(e);
}

// ---- numbers that are none

// Overwrites one token's embedding in the file with NaN.
static void spoil_token(const char *dir, const tiny *t, int token) {
    char path[160];
    uint64_t head = 0, off = 0;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    for (int i = 0; i < 8; i++) head |= (uint64_t)fgetc(f) << (8 * i);
    for (int i = 0; i < t->n_tensor && strcmp(t->tensors[i].name, "model.embed_tokens.weight") != 0; i++) {
        off += (uint64_t)tiny_count(&t->tensors[i]) * 4;
    }
    const float nan_value = NAN;
    fseek(f, (long)(8 + head + off + (uint64_t)token * 48 * 4), SEEK_SET);
    for (int i = 0; i < 48; i++) fwrite(&nan_value, 4, 1, f);
    assert_int_equal(fclose(f), 0);
}

static void a_sequence_of_no_numbers_ends_and_its_neighbours_go_on(void **state) {
    (void)state;
    char dir[128];
    hth_model *m = NULL;
    hth_engine *e = NULL;
    hth_err err;
    tiny *t = calloc(1, sizeof *t);
    tiny_make(TINY_LLAMA, t);
    tiny_make_dir(dir);
    tiny_write_config(t, dir);
    tiny_write_weights(t, dir);
    spoil_token(dir, t, 96);
    assert_int_equal(hth_model_open(dir, &m, &err), HTH_OK);
    tiny_remove_dir(dir);
    free(t);
    assert_int_equal(hth_engine_over(m, NULL, &(hth_engine_params){.n_thread = 2, .n_ctx = 256}, &e, &err), HTH_OK);
    hth_token good[30], bad[30];
    for (int i = 0; i < 30; i++) bad[i] = good[i] = i;
    bad[20] = 96;
    const hth_logit_bias never = {96, -INFINITY};
    hth_sampler_params sampling = hot;
    sampling.bias = &never;
    sampling.n_bias = 1;
    const hth_segment good_segment = asked_tokens(good, 30), bad_segment = asked_tokens(bad, 30);
    hth_request_params p = {.segments = &good_segment, .n_segment = 1, .sampling = &sampling, .max_tokens = 60};
    asked *want = asked_run(e, &p);
    assert_int_equal(want->of[0].n, 60);
    hth_request *r[6];
    for (int i = 0; i < 6; i++) {
        p.segments = i % 2 ? &bad_segment : &good_segment;
        r[i] = asked_submit(e, &p);
    }
    for (int i = 0; i < 6; i++) {
        asked *a = asked_all(r[i]);
        if (i % 2) {
            assert_int_equal(a->of[0].code, HTH_ERR_NUMBERS);
            assert_int_equal(a->of[0].n, 0);
        } else {
            assert_int_equal(a->of[0].code, HTH_OK);
            assert_memory_equal(a->of[0].tokens, want->of[0].tokens, 60 * sizeof(hth_token));
        }
        free(a);
        hth_request_free(r[i]);
    }
    free(want);
    assert_all_is_free(e);
    hth_engine_close(e);
}

// ---- memory

static void what_cannot_fit_is_refused_and_what_must_wait_waits(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256});
    hth_plan one, two;
    hth_err err;
    assert_int_equal(hth_engine_plan(e, 256, 1, &one, &err), HTH_OK);
    assert_int_equal(hth_engine_plan(e, 256, 2, &two, &err), HTH_OK);
    // 8 pages of 3 layers of 2 heads: keys and values of 16 numbers in 2 bytes, a pointer each; 256 positions.
    assert_int_equal(one.kv_bytes, 8 * 3 * (32 * 2 * 2 * 16 * 2 + sizeof(void *)) + 256 * sizeof(int64_t));
    assert_true(two.kv_bytes == 2 * one.kv_bytes);
    hth_engine_close(e);
    e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256, .memory_bytes = one.scratch_bytes * 2 + one.kv_bytes});
    hth_plan plan;
    assert_int_equal(hth_engine_plan(e, 0, 0, &plan, &err), HTH_OK);
    const uint64_t memory = plan.scratch_bytes + one.kv_bytes + one.kv_bytes / 2; // of one long request and no more
    hth_engine_close(e);
    e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256, .memory_bytes = memory});
    hth_request_params p = {.segments = &short_prompt, .n_segment = 1, .sampling = &hot, .n = 4};
    hth_request *r[3];
    hth_refusal why;
    assert_int_equal(hth_request_submit(e, &p, &r[0], &why, &err), HTH_ERR_LIMIT);
    assert_true(why.need_bytes > why.have_bytes && why.have_bytes > 0);
    p.n = 1;
    for (int i = 0; i < 3; i++) r[i] = asked_submit(e, &p);
    for (int i = 0; i < 3; i++) { // one after the other
        asked *a = asked_all(r[i]);
        assert_int_equal(a->of[0].reason, HTH_STOP_CONTEXT);
        free(a);
        hth_engine_stats s;
        hth_engine_get_stats(e, &s);
        assert_true(s.n_sequence <= 1 && s.reserved_bytes <= memory - plan.scratch_bytes);
        hth_request_free(r[i]);
    }
    assert_all_is_free(e);
    hth_engine_close(e);
    // A context that was asked for and does not fit is refused with the numbers; one that was not is made to fit.
    tiny *t = calloc(1, sizeof *t);
    hth_model *m;
    tiny_make(TINY_LLAMA, t);
    assert_int_equal(tiny_open(t, &m, &err), HTH_OK);
    assert_int_equal(hth_engine_over(m, NULL, &(hth_engine_params){.n_thread = 1, .n_ctx = 4096, .memory_bytes = memory}, &e, &err), HTH_ERR_LIMIT);
    assert_non_null(strstr(err.msg, "4096"));
    e = asked_over(t, &(hth_engine_params){.n_thread = 1, .memory_bytes = memory});
    assert_true(hth_engine_n_ctx(e) >= 256 && hth_engine_n_ctx(e) < 512);
    hth_engine_close(e);
    free(t);
}

// ---- the log

static void events_can_be_read_again_from_any_number(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256});
    hth_request_params p = {.segments = &short_prompt, .n_segment = 1, .sampling = &hot, .max_tokens = 100};
    hth_request *r = asked_submit(e, &p);
    asked *all = asked_all(r);
    for (uint64_t after = 0; after <= all->n_event; after += 7) {
        hth_replay *reader;
        hth_event event;
        hth_err err;
        assert_int_equal(hth_replay_new(r, after, &reader, &err), HTH_OK);
        for (uint64_t number = after + 1; number <= all->n_event; number++) {
            assert_int_equal(hth_replay_next(reader, 0, &event, &err), HTH_OK);
            assert_int_equal(event.number, number);
            if (event.kind == HTH_EVENT_TOKEN) assert_int_equal(event.token.id, all->of[0].tokens[event.token.index]);
        }
        assert_int_equal(hth_replay_next(reader, 0, &event, &err), HTH_ERR_NOTFOUND);
        hth_replay_free(reader);
    }
    hth_request_free(r);
    // A log of 10: who comes late is told that the rest is gone.
    p.n_log = 10;
    r = asked_submit(e, &p);
    hth_event event;
    hth_err err;
    hth_code code = HTH_ERR_TIMEOUT;
    while (code != HTH_ERR_LIMIT) {
        hth_replay *late;
        assert_int_equal(hth_replay_new(r, 0, &late, &err), HTH_OK);
        code = hth_replay_next(late, 20, &event, &err);
        hth_replay_free(late);
    }
    hth_replay *end;
    assert_int_equal(hth_replay_new(r, all->n_event - 1, &end, &err), HTH_OK);
    assert_int_equal(hth_replay_next(end, 20000, &event, &err), HTH_OK);
    assert_int_equal(event.kind, HTH_EVENT_END);
    hth_replay_free(end);
    hth_request_free(r);
    free(all);
    hth_engine_close(e);
}

// ---- embeddings beside chats

static void embeddings_go_through_the_same_scheduler(void **state) {
    (void)state;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 7});
    hth_row *rows = rig_tokens(30, 0, 5);
    hth_token tokens[30];
    float want[48];
    for (int i = 0; i < 30; i++) {
        rows[i].want = i == 29 ? HTH_WANT_HIDDEN : 0;
        tokens[i] = rows[i].token;
    }
    hth_state *s = rig_state(&r, 30);
    hth_step step = rig_step(&r, &s, 1, rows, 30, NULL);
    step.hidden_want = want;
    step.activations = HTH_ACTIVATIONS_F32;
    rig_must(&r, &step);
    hth_state_free(s);
    const hth_segment segment = asked_tokens(tokens, 30);
    const hth_request_params chat = endless(&short_prompt);
    const hth_request_params embed = {.task = HTH_TASK_EMBED, .segments = &segment, .n_segment = 1, .pooling = "last"};
    hth_request *beside = asked_submit(e, &chat);
    wait_for(beside, HTH_EVENT_TOKEN);
    for (int i = 0; i < 4; i++) {
        asked *a = asked_run(e, &embed);
        assert_int_equal(a->n_value, 48);
        assert_memory_equal(a->values, want, sizeof want);
        free(a);
    }
    hth_request_free(beside);
    hth_engine_close(e);
    rig_close(&r);
    free(rows);
}

static void pool(const float *hidden, int32_t n, int32_t d, const char *pooling, double *out) {
    for (int32_t j = 0; j < d; j++) {
        out[j] = !strcmp(pooling, "cls") ? (double)hidden[j] : (double)hidden[(n - 1) * d + j];
        if (strcmp(pooling, "mean") != 0) continue;
        out[j] = 0;
        for (int32_t i = 0; i < n; i++) out[j] += (double)hidden[i * d + j] / n;
    }
}

static void embeddings_are_pooled_and_normalised_as_asked(void **state) {
    (void)state;
    enum { LEN = 50, WIDTH = 48 };
    static const tiny_kind kinds[] = {TINY_BERT, TINY_LLAMA, TINY_GEMMA3};
    static const char *const poolings[] = {"mean", "cls", "last"};
    for (int k = 0; k < 3; k++) {
        rig r = rig_open(kinds[k], 2);
        hth_engine *e = asked_open(kinds[k], &(hth_engine_params){.n_thread = 2, .k_type = "f32", .v_type = "f32"});
        assert_int_equal(r.m->desc.d_model, WIDTH);
        hth_row *rows = rig_tokens(LEN, 0, 11);
        hth_token tokens[LEN];
        for (int i = 0; i < LEN; i++) {
            rows[i].want = HTH_WANT_HIDDEN;
            tokens[i] = rows[i].token;
        }
        float *hidden = rig_floats(LEN * WIDTH);
        hth_state *s = r.m->desc.causal ? rig_state(&r, LEN) : NULL;
        hth_step step = rig_step(&r, &s, 1, rows, LEN, NULL);
        step.hidden_want = hidden;
        step.activations = HTH_ACTIVATIONS_F32;
        rig_must(&r, &step);
        const hth_segment segment = asked_tokens(tokens, LEN);
        for (int p = 0; p < 6; p++) {
            double want[WIDTH], norm = 0;
            pool(hidden, LEN, WIDTH, poolings[p / 2], want);
            for (int j = 0; j < WIDTH; j++) norm += want[j] * want[j];
            const hth_request_params params = {.task = HTH_TASK_EMBED, .segments = &segment, .n_segment = 1,
                                               .pooling = poolings[p / 2], .normalize = p % 2};
            asked *a = asked_run(e, &params);
            const double length = p % 2 ? sqrt(norm) : 1;
            for (int j = 0; j < WIDTH; j++) assert_true(fabs((double)a->values[j] - want[j] / length) < 1e-5 * sqrt(norm) / length);
            free(a);
        }
        hth_state_free(s);
        hth_engine_close(e);
        rig_close(&r);
        free(rows);
        free(hidden);
    }
}

static void many_texts_of_an_encoder_are_computed_together(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_BERT, &(hth_engine_params){.n_thread = 2});
    hth_token tokens[8][64];
    asked *alone[8];
    hth_request *r[8];
    hth_segment segments[8];
    hth_request_params p = {.task = HTH_TASK_EMBED, .n_segment = 1, .normalize = true};
    for (int i = 0; i < 8; i++) {
        asked_random(tokens[i], 64, (uint64_t)i);
        segments[i] = asked_tokens(tokens[i], (size_t)(i * 8 + 8));
        p.segments = &segments[i];
        alone[i] = asked_run(e, &p);
        double norm = 0;
        for (int j = 0; j < 48; j++) norm += (double)alone[i]->values[j] * (double)alone[i]->values[j];
        assert_true(fabs(norm - 1) < 1e-5);
    }
    for (int i = 0; i < 8; i++) {
        p.segments = &segments[i];
        r[i] = asked_submit(e, &p);
    }
    for (int i = 0; i < 8; i++) {
        asked *a = asked_all(r[i]);
        assert_memory_equal(a->values, alone[i]->values, 48 * sizeof(float));
        free(a);
        free(alone[i]);
        hth_request_free(r[i]);
    }
    // A text beyond the model's positions, and text from an encoder, are refused.
    hth_token many[65] = {0};
    const hth_segment beyond = asked_tokens(many, 65);
    hth_request *none;
    hth_err err;
    p.segments = &beyond;
    assert_int_equal(hth_request_submit(e, &p, &none, NULL, &err), HTH_ERR_LIMIT);
    p.segments = &segments[0];
    p.task = HTH_TASK_GENERATE;
    assert_int_equal(hth_request_submit(e, &p, &none, NULL, &err), HTH_ERR_UNSUPPORTED);
    hth_engine_close(e);
}

// ---- everything at once

typedef struct user {
    hth_engine *engine;
    int number, n_round;
    hth_thread thread;
} user;

static void count_event(void *p, const hth_event *event) {
    atomic_fetch_add((atomic_int *)p, event->kind == HTH_EVENT_END);
}

static atomic_int n_end;

static void *behave_badly(void *p) {
    user *u = p;
    uint64_t seed = (uint64_t)u->number + 1;
    for (int i = 0; i < u->n_round; i++) {
        const float dice = tiny_random(&seed);
        hth_request_params q = endless(dice > 0 ? &long_prompt : &short_prompt);
        hth_request *r;
        hth_err err;
        hth_event event;
        q.max_tokens = 1 + i % 9;
        q.n = 1 + i % 3;
        q.deadline_ms = i % 7 == 3 ? 5 : 0;
        q.priority = (hth_priority)(i % 2);
        q.on_event = count_event;
        q.user = &n_end;
        if (hth_request_submit(u->engine, &q, &r, NULL, &err) != HTH_OK) {
            atomic_fetch_add(&n_end, 1); // it never began
            continue;
        }
        for (int k = 0; k < i % 11; k++) {
            if (hth_request_next(r, 1, &event, &err) == HTH_ERR_NOTFOUND) break;
        }
        if (i % 5 == 0) {
            while (hth_request_next(r, 20000, &event, &err) == HTH_OK && event.kind != HTH_EVENT_END) continue;
        } else if (i % 5 < 3) {
            hth_request_cancel(r);
        }
        hth_request_free(r);
    }
    return NULL;
}

static void users_that_come_and_go_as_they_like_leave_nothing_behind(void **state) {
    (void)state;
    enum { N_USER = 6, N_ROUND = 40 };
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 450, .n_sequence = 4, .n_queue = 8, .n_chunk = 64});
    user users[N_USER];
    hth_err err;
    atomic_store(&n_end, 0);
    for (int i = 0; i < N_USER; i++) {
        users[i] = (user){.engine = e, .number = i, .n_round = N_ROUND};
        assert_int_equal(hth_thread_start(&users[i].thread, behave_badly, &users[i], &err), HTH_OK);
    }
    for (int i = 0; i < N_USER; i++) hth_thread_join(&users[i].thread);
    hth_engine_close(e);
    assert_int_equal(atomic_load(&n_end), N_USER * N_ROUND); // every request ended once
    hth_mem_get_stats(&after);
    assert_int_equal(after.n_blocks, before.n_blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelling_frees_everything_wherever_the_request_is),
        cmocka_unit_test(closing_an_engine_ends_its_requests),
        cmocka_unit_test(deadlines_end_requests_that_wait_and_that_run),
        cmocka_unit_test(a_full_queue_says_when_to_come_again),
        cmocka_unit_test(the_interactive_queue_goes_first),
        cmocka_unit_test(a_sequence_of_no_numbers_ends_and_its_neighbours_go_on),
        cmocka_unit_test(what_cannot_fit_is_refused_and_what_must_wait_waits),
        cmocka_unit_test(events_can_be_read_again_from_any_number),
        cmocka_unit_test(embeddings_go_through_the_same_scheduler),
        cmocka_unit_test(embeddings_are_pooled_and_normalised_as_asked),
        cmocka_unit_test(many_texts_of_an_encoder_are_computed_together),
        cmocka_unit_test(users_that_come_and_go_as_they_like_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, make_prompts, NULL);
}
