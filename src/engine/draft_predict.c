// The model's own predicting layer (hth_model.predictor) as a drafter. It reads pairs: what the model made of the token
// at a position, and the token after it. So it follows the model a step behind, with keys and values of its own, and
// the latest pair waits until a guess is wanted: only then its logits are computed. Further tokens of a guess are
// predicted from what the layer itself made of the one before.
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/draft.h"

enum { CHUNK = HTH_DRAFTER_CHUNK };

typedef struct predict_drafter {
    hth_drafter base;
    hth_drafter_predict_params p; // sampling is not used after making
    hth_state *state;     // owned: pairs of the positions [first, first + its length)
    hth_sampler *sampler; // owned
    int64_t first;
    bool has_waiting;     // the pair of the position behind those waits for its token or its logits
    hth_row *rows;        // [CHUNK + 1] owned
    float *pairs;         // [CHUNK + 1, d] owned: hidden rows of the step, the first one that of the waiting pair
    float *hidden;        // [d] owned
    float *logits;        // [n_vocab] owned
} predict_drafter;

static int64_t next_position(const predict_drafter *d) {
    return d->first + hth_state_len(d->state) + d->has_waiting;
}

// Runs n pairs, whose hidden rows stand in d->pairs; `next` are their tokens. Of the last one logits and hidden row may
// be wanted.
static hth_code run(predict_drafter *d, int64_t first, const int32_t *next, int32_t n, bool wants, hth_err *err) {
    for (int32_t i = 0; i < n; i++) {
        const int64_t pos = first + i;
        d->rows[i] = (hth_row){.token = next[i], .pos = {pos, pos, pos, pos}, .parent = HTH_PARENT_PREVIOUS, .span = -1, .i_embd = i,
                               .kind = n > 8 ? HTH_ROW_PROMPT : HTH_ROW_GENERATED,
                               .want = wants && i == n - 1 ? HTH_WANT_LOGITS | HTH_WANT_HIDDEN : 0};
    }
    const hth_step step = {.model = d->p.model,
                           .batch = {.rows = d->rows, .n_row = n, .states = &d->state, .n_seq = 1, .embd = d->pairs, .n_embd = n},
                           .layer_last = 1,
                           .logits = d->logits,
                           .hidden_want = d->hidden,
                           .hidden_layer = 0,
                           .activations = d->p.activations};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(d->p.executor, &step, &ticket, err));
    return hth_executor_wait(d->p.executor, ticket, err);
}

static hth_code forget(predict_drafter *d, int64_t first, hth_err *err) {
    d->has_waiting = false;
    d->first = first;
    return hth_state_truncate(d->state, 0, err);
}

hth_code hth_drafter_predict_learn(hth_drafter *base, const float *hidden, int64_t first, int64_t n, const int32_t *tokens,
                                   hth_err *err) {
    predict_drafter *d = (predict_drafter *)base;
    const size_t width = (size_t)d->p.model->desc.d_model;
    if (first != next_position(d)) HTH_TRY(forget(d, first, err));
    if (first + n > d->p.n_ctx) return HTH_OK;
    while (n > 0) {
        const int32_t n_old = d->has_waiting, n_new = n < CHUNK ? (int32_t)n : CHUNK, n_row = n_old + n_new - 1;
        memcpy(d->pairs + (size_t)n_old * width, hidden, (size_t)n_new * width * sizeof *hidden);
        if (n_row > 0) HTH_TRY(run(d, first - n_old, tokens + first - n_old + 1, n_row, false, err));
        memmove(d->pairs, d->pairs + (size_t)n_row * width, width * sizeof *d->pairs);
        d->has_waiting = true;
        hidden += (size_t)n_new * width;
        first += n_new;
        n -= n_new;
    }
    return HTH_OK;
}

static hth_code pick(predict_drafter *d, int64_t pos, hth_draft *out, bool *goes_on, hth_err *err) {
    hth_pick pick;
    const hth_pick_params how = {.logits = d->logits, .pos = pos, .want_logprobs = true, .after = true};
    HTH_TRY(hth_sampler_pick_from(d->sampler, &how, &pick, err));
    *goes_on = pick.token < d->p.n_vocab && expf(pick.logprob) >= d->p.least_share;
    if (!*goes_on) return HTH_OK;
    out->tokens[out->n] = pick.token;
    out->parent[out->n] = out->n - 1;
    out->n++;
    return HTH_OK;
}

static hth_code propose(hth_drafter *base, const int32_t *tokens, size_t n, int32_t most, hth_draft *out, hth_err *err) {
    predict_drafter *d = (predict_drafter *)base;
    const int64_t last = (int64_t)n - 2; // the position whose pair ends with the last token
    if (!d->has_waiting || next_position(d) != last + 1 || last + most >= d->p.n_ctx) return HTH_OK;
    out->source = HTH_DRAFT_BY_LAYER;
    bool goes_on;
    HTH_TRY(run(d, last, tokens + last + 1, 1, true, err));
    d->has_waiting = false;
    const int64_t n_true = hth_state_len(d->state);
    HTH_TRY(pick(d, (int64_t)n, out, &goes_on, err));
    while (goes_on && out->n < most) {
        memcpy(d->pairs, d->hidden, (size_t)d->p.model->desc.d_model * sizeof *d->pairs);
        HTH_TRY(run(d, last + out->n, &out->tokens[out->n - 1], 1, true, err));
        HTH_TRY(pick(d, (int64_t)n + out->n, out, &goes_on, err));
    }
    return hth_state_truncate(d->state, n_true, err);
}

static void free_predict(hth_drafter *base) {
    predict_drafter *d = (predict_drafter *)base;
    hth_state_free(d->state);
    hth_sampler_free(d->sampler);
    hth_free(d->rows);
    hth_free(d->pairs);
    hth_free(d->hidden);
    hth_free(d->logits);
    hth_free(d);
}

static const hth_drafter_ops predict_ops = {.propose = propose, .free = free_predict};

static hth_code make(predict_drafter *d, hth_err *err) {
    const hth_desc *desc = &d->p.model->desc;
    const hth_sampler_params sampling = hth_drafter_sampling(d->p.sampling);
    d->p.sampling = NULL;
    HTH_TRY(hth_sampler_new(&sampling, desc->n_vocab, &d->sampler, err));
    const size_t width = (size_t)desc->d_model;
    d->rows = hth_calloc(HTH_MEM_ENGINE, CHUNK + 1, sizeof *d->rows);
    d->pairs = hth_calloc(HTH_MEM_ENGINE, (CHUNK + 1) * width, sizeof *d->pairs);
    d->hidden = hth_calloc(HTH_MEM_ENGINE, width, sizeof *d->hidden);
    d->logits = hth_calloc(HTH_MEM_ENGINE, (size_t)desc->n_vocab, sizeof *d->logits);
    if (!d->rows || !d->pairs || !d->hidden || !d->logits) return hth_fail_nomem(err, CHUNK * width * sizeof *d->pairs);
    const hth_state_params params = hth_drafter_state(d->p.n_ctx);
    return hth_state_new(d->p.executor, d->p.model, &params, &d->state, err);
}

hth_code hth_drafter_predict_new(const hth_drafter_predict_params *p, hth_drafter **out, hth_err *err) {
    predict_drafter *d = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *d);
    if (!d) return hth_fail_nomem(err, sizeof *d);
    d->base.ops = &predict_ops;
    d->p = *p;
    const hth_code code = make(d, err);
    if (code != HTH_OK) {
        free_predict(&d->base);
        return code;
    }
    *out = &d->base;
    return HTH_OK;
}
