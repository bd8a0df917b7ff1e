// What a model's predicting layer makes of a sequence, for the tests.
//
//   probe_predict MODEL IDS OUT
//
// IDS: token ids separated by commas. Writes float32 [n - 1, n_vocab] to OUT: row i has read what the model made of token
// i and token i + 1. All in f32, in two steps of different lengths. With "-" for OUT the engine goes on from the ids,
// with guesses and without, and two lines of ids are printed; then how many were guessed and how many were right.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "model/executor.h"

enum { MAX_TOKENS = 4096 };

typedef struct probe {
    hth_model *model;
    hth_team *team;
    hth_executor *executor;
    int32_t tokens[MAX_TOKENS];
    int32_t n;
    float *hidden; // [n, d_model]
    float *logits; // [n - 1, n_vocab]
} probe;

static hth_code run(probe *p, const hth_model *m, int32_t first_token, int32_t n, hth_err *err) {
    const bool predicts = m != p->model;
    hth_row *rows = hth_calloc(HTH_MEM_MISC, (size_t)n, sizeof *rows);
    hth_state *state = NULL;
    const hth_state_params params = {.n_ctx = n, .k_type = HTH_KV_F32, .v_type = HTH_KV_F32};
    hth_code code = rows ? hth_state_new(p->executor, m, &params, &state, err) : hth_fail_nomem(err, 0);
    for (int32_t i = 0; code == HTH_OK && i < n; i++) {
        rows[i] = (hth_row){.token = p->tokens[first_token + i], .pos = {i, i, i, i}, .parent = HTH_PARENT_PREVIOUS, .span = -1,
                            .i_embd = i, .want = predicts ? HTH_WANT_LOGITS : HTH_WANT_HIDDEN};
    }
    for (int32_t at = 0, end = n / 3; code == HTH_OK && at < n; at = end, end = n) {
        for (int32_t i = at; i < end; i++) rows[i].i_embd = i - at;
        const hth_step step = {.model = m,
                               .batch = {.rows = rows + at, .n_row = end - at, .states = &state, .n_seq = 1,
                                         .embd = predicts ? p->hidden + (size_t)at * (size_t)m->desc.d_model : NULL,
                                         .n_embd = end - at},
                               .layer_last = m->desc.n_layer, .hidden_layer = -1, .activations = HTH_ACTIVATIONS_F32,
                               .logits = predicts ? p->logits + (size_t)at * (size_t)m->desc.n_vocab : NULL,
                               .hidden_want = predicts ? NULL : p->hidden + (size_t)at * (size_t)m->desc.d_model};
        hth_ticket ticket;
        code = hth_executor_submit(p->executor, &step, &ticket, err);
        if (code == HTH_OK) code = hth_executor_wait(p->executor, ticket, err);
    }
    hth_state_free(state);
    hth_free(rows);
    return code;
}

static hth_code predict(probe *p, const char *model, hth_err *err) {
    HTH_TRY(hth_model_open(model, &p->model, err));
    if (!p->model->predictor) return hth_fail(err, HTH_ERR_NOTFOUND, "there is no predicting layer");
    HTH_TRY(hth_team_new(2, &p->team, err));
    HTH_TRY(hth_executor_cpu_new(p->team, &p->executor, err));
    const hth_desc *d = &p->model->desc;
    p->hidden = hth_calloc(HTH_MEM_MISC, (size_t)p->n * (size_t)d->d_model, sizeof *p->hidden);
    p->logits = hth_calloc(HTH_MEM_MISC, (size_t)p->n * (size_t)d->n_vocab, sizeof *p->logits);
    if (!p->hidden || !p->logits) return hth_fail_nomem(err, 0);
    HTH_TRY(run(p, p->model, 0, p->n, err));
    return run(p, p->model->predictor, 1, p->n - 1, err);
}

// Prints what the engine generates; adds up its guesses.
static hth_code generate(hth_engine *e, const probe *p, int32_t n_draft, int64_t n[2], hth_err *err) {
    const hth_segment segment = {.tokens = p->tokens, .n_token = (size_t)p->n};
    hth_sampler_params sampling = hth_sampler_neutral();
    sampling.temperature = 0;
    const hth_request_params params = {.segments = &segment, .n_segment = 1, .sampling = &sampling, .max_tokens = 100,
                                       .n_draft = n_draft, .ignore_end = true};
    hth_request *r = NULL;
    hth_event event = {.kind = HTH_EVENT_QUEUED};
    HTH_TRY(hth_request_submit(e, &params, &r, NULL, err));
    hth_code code = HTH_OK;
    while (code == HTH_OK && event.kind != HTH_EVENT_END) {
        code = hth_request_next(r, 60000, &event, err);
        if (code == HTH_OK && event.kind == HTH_EVENT_TOKEN) printf("%d ", (int)event.token.id);
        if (code == HTH_OK && event.kind == HTH_EVENT_ERROR) *err = *event.error.err, code = err->code;
    }
    printf("\n");
    n[0] += event.usage.n_drafted;
    n[1] += event.usage.n_accepted;
    hth_request_free(r);
    return code;
}

static hth_code generate_both(const probe *p, const char *model, hth_err *err) {
    hth_engine *e;
    int64_t n[2] = {0, 0};
    const hth_engine_params params = {.n_thread = 2, .n_ctx = p->n + 128};
    HTH_TRY(hth_engine_open(model, &params, &e, err));
    hth_code code = generate(e, p, -1, n, err);
    if (code == HTH_OK) code = generate(e, p, 3, n, err);
    printf("%lld %lld\n", (long long)n[0], (long long)n[1]);
    hth_engine_close(e);
    return code;
}

int main(int argc, char **argv) {
    probe *p = hth_calloc(HTH_MEM_MISC, 1, sizeof *p);
    hth_err err = {0};
    if (argc != 4 || !p) return fprintf(stderr, "usage: probe_predict MODEL IDS OUT\n"), 2;
    for (char *at = argv[2]; *at && p->n < MAX_TOKENS; at += *at == ',') p->tokens[p->n++] = (int32_t)strtol(at, &at, 10);
    const bool is_engine = strcmp(argv[3], "-") == 0;
    const hth_code code = is_engine ? generate_both(p, argv[1], &err) : predict(p, argv[1], &err);
    if (code == HTH_OK && !is_engine) {
        FILE *f = fopen(argv[3], "wb");
        const size_t n = (size_t)(p->n - 1) * (size_t)p->model->desc.n_vocab;
        if (!f || fwrite(p->logits, sizeof *p->logits, n, f) != n || fclose(f) != 0) return fprintf(stderr, "cannot write\n"), 1;
    }
    if (code != HTH_OK) fprintf(stderr, "%s\n", err.msg);
    if (p->executor) hth_executor_free(p->executor);
    if (p->team) hth_team_free(p->team);
    hth_model_free(p->model);
    hth_free(p->hidden);
    hth_free(p->logits);
    hth_free(p);
    return code != HTH_OK;
}
