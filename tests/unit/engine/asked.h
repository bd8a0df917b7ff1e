// Engines over tiny models, and the shortest way to ask one for something and see all that comes.
#ifndef HTH_TEST_ASKED_H
#define HTH_TEST_ASKED_H

#include "engine/engine.h"
#include "unit/model/rig.h"

enum { ASKED_MAX = 1024 };

// All that a request said, completion by completion.
typedef struct asked_one {
    hth_token tokens[ASKED_MAX];
    float logprobs[ASKED_MAX];
    int n;
    char text[4 * ASKED_MAX];
    size_t n_text;
    bool is_stopped;
    hth_stop_reason reason;
    int32_t stop_token, i_stop;
    hth_code code; // of an error
    int64_t cut_first[16], cut_n[16];
    int n_cut;
} asked_one;

typedef struct asked {
    asked_one of[8];
    asked_one prompt; // echoed
    hth_usage usage;
    hth_refusal refusal;
    float values[ASKED_MAX];
    int n_value, n_progress;
    uint64_t n_event;
    int64_t n_done; // last progress
} asked;

static inline void asked_add_text(asked_one *a, const hth_event *e) {
    assert_true(a->n_text + e->n_text < sizeof a->text);
    if (e->n_text) memcpy(a->text + a->n_text, e->text, e->n_text);
    a->n_text += e->n_text;
    a->text[a->n_text] = 0;
}

static inline void asked_take(asked *a, const hth_event *e) {
    asked_one *one = &a->of[e->completion < 0 ? 0 : e->completion];
    assert_int_equal(e->number, ++a->n_event);
    switch (e->kind) {
    case HTH_EVENT_QUEUED: assert_int_equal(e->number, 1); break;
    case HTH_EVENT_CUT:
        one->cut_first[one->n_cut] = e->cut.first;
        one->cut_n[one->n_cut++] = e->cut.n;
        break;
    case HTH_EVENT_PREFILL:
        a->n_progress++;
        a->n_done = e->progress.n_done;
        assert_true(e->progress.n_done <= e->progress.n_total);
        break;
    case HTH_EVENT_PROMPT: one = &a->prompt; // fall through
    case HTH_EVENT_TOKEN:
        assert_false(one->is_stopped);
        assert_int_equal(e->token.index, one->n);
        one->logprobs[one->n] = e->token.has_logprob ? e->token.logprob : 1;
        one->tokens[one->n++] = e->token.id;
        asked_add_text(one, e);
        break;
    case HTH_EVENT_STOP:
        assert_false(one->is_stopped);
        one->is_stopped = true;
        one->reason = e->stop.reason;
        one->stop_token = e->stop.token;
        one->i_stop = e->stop.i_stop;
        asked_add_text(one, e);
        break;
    case HTH_EVENT_ERROR:
        assert_true(e->error.err->msg[0] != 0);
        one->code = e->error.err->code;
        a->refusal = e->error.refusal;
        break;
    case HTH_EVENT_EMBEDDING:
        a->n_value = e->embedding.n;
        memcpy(a->values, e->embedding.values, (size_t)e->embedding.n * sizeof *a->values);
        break;
    case HTH_EVENT_END: a->usage = e->usage; break;
    }
}

// Reads all events. Returned memory is the caller's (free).
static inline asked *asked_all(hth_request *r) {
    asked *a = calloc(1, sizeof *a);
    hth_event e;
    hth_err err;
    do {
        if (hth_request_next(r, 60000, &e, &err) != HTH_OK) fail_msg("%s", err.msg);
        asked_take(a, &e);
    } while (e.kind != HTH_EVENT_END);
    assert_int_equal(hth_request_next(r, 0, &e, &err), HTH_ERR_NOTFOUND);
    return a;
}

static inline hth_request *asked_submit(hth_engine *e, const hth_request_params *p) {
    hth_request *r = NULL;
    hth_err err = {0};
    if (hth_request_submit(e, p, &r, NULL, &err) != HTH_OK) fail_msg("%s", err.msg);
    return r;
}

static inline asked *asked_run(hth_engine *e, const hth_request_params *p) {
    hth_request *r = asked_submit(e, p);
    asked *a = asked_all(r);
    hth_request_free(r);
    return a;
}

static inline hth_engine *asked_over(const tiny *t, const hth_engine_params *p) {
    hth_model *m = NULL;
    hth_engine *e = NULL;
    hth_err err = {0};
    if (tiny_open(t, &m, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_engine_over(m, NULL, p, &e, &err) != HTH_OK) fail_msg("%s", err.msg);
    return e;
}

static inline hth_engine *asked_open(tiny_kind kind, const hth_engine_params *p) {
    tiny *t = malloc(sizeof *t);
    tiny_make(kind, t);
    hth_engine *e = asked_over(t, p);
    free(t);
    return e;
}

static inline hth_segment asked_tokens(const hth_token *tokens, size_t n) {
    return (hth_segment){.tokens = tokens, .n_token = n};
}

static inline void asked_random(hth_token *tokens, int n, uint64_t seed) {
    seed = seed * 7919 + 1;
    for (int i = 0; i < n; i++) tokens[i] = (hth_token)((tiny_random(&seed) + 1) / 2 * TINY_VOCAB);
}

#endif
