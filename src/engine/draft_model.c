// The small model's sequence follows the large one's: what both begin with stays computed, the rest is dropped, and
// what is missing is read as a prompt. It then writes on by itself; those tokens are dropped at the next call unless
// they turned out right.
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/draft.h"

enum { CHUNK = HTH_DRAFTER_CHUNK };

typedef struct model_drafter {
    hth_drafter base;
    hth_drafter_model_params p; // sampling is not used after making
    hth_state *state;      // owned
    hth_sampler *sampler;  // owned
    int32_t *tokens;       // [n] owned: those of the state
    size_t n, cap;
    hth_row *rows;         // [CHUNK] owned
    float *logits;         // [n_vocab of the small model] owned
} model_drafter;

// Runs tokens [n <= CHUNK] after those that are there; the last one's logits are kept.
static hth_code run(model_drafter *d, const int32_t *tokens, int32_t n, hth_row_kind kind, hth_err *err) {
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&d->tokens, &d->cap, d->n + (size_t)n, sizeof *d->tokens, SIZE_MAX / 64))
        return hth_fail_nomem(err, (d->n + (size_t)n) * sizeof *d->tokens);
    for (int32_t i = 0; i < n; i++) {
        const int64_t pos = (int64_t)d->n + i;
        d->rows[i] = (hth_row){.token = tokens[i], .pos = {pos, pos, pos, pos}, .parent = HTH_PARENT_PREVIOUS, .span = -1,
                               .kind = (uint8_t)kind, .want = i == n - 1 ? HTH_WANT_LOGITS : 0};
    }
    const hth_step step = {.model = d->p.model,
                           .batch = {.rows = d->rows, .n_row = n, .states = &d->state, .n_seq = 1},
                           .layer_last = d->p.model->desc.n_layer,
                           .logits = d->logits,
                           .hidden_layer = -1};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(d->p.executor, &step, &ticket, err));
    HTH_TRY(hth_executor_wait(d->p.executor, ticket, err));
    memcpy(d->tokens + d->n, tokens, (size_t)n * sizeof *tokens);
    d->n += (size_t)n;
    return HTH_OK;
}

// Goes back to where both sequences part, and reads on from there, at most a chunk. The last token is always run: its
// logits are wanted.
static hth_code follow(model_drafter *d, const int32_t *tokens, size_t n, hth_err *err) {
    size_t same = 0;
    while (same < d->n && same + 1 < n && d->tokens[same] == tokens[same]) same++;
    hth_code code = hth_state_truncate(d->state, (int64_t)same, err);
    if (code == HTH_ERR_UNSUPPORTED) { // a window has slid past: from the beginning
        same = 0;
        code = hth_state_truncate(d->state, 0, err);
    }
    if (code != HTH_OK) return code;
    d->n = same;
    const size_t left = n - same;
    return run(d, tokens + same, left < CHUNK ? (int32_t)left : CHUNK, HTH_ROW_PROMPT, err);
}

static hth_code propose(hth_drafter *base, const int32_t *tokens, size_t n, int32_t most, hth_draft *out, hth_err *err) {
    model_drafter *d = (model_drafter *)base;
    if (n == 0 || (int64_t)n + most > d->p.n_ctx) return HTH_OK;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] >= d->p.model->desc.n_vocab) return HTH_OK; // the small model has no such token
    }
    out->source = HTH_DRAFT_BY_MODEL;
    HTH_TRY(follow(d, tokens, n, err));
    if (d->n < n) return HTH_OK; // the rest another time
    while (out->n < most) {
        hth_pick pick;
        const hth_pick_params how = {.logits = d->logits, .pos = (int64_t)d->n, .want_logprobs = true, .after = true};
        HTH_TRY(hth_sampler_pick_from(d->sampler, &how, &pick, err));
        if (pick.token >= d->p.n_vocab || expf(pick.logprob) < d->p.least_share) break;
        out->tokens[out->n] = pick.token;
        out->parent[out->n] = out->n - 1;
        if (++out->n < most) HTH_TRY(run(d, &pick.token, 1, HTH_ROW_GENERATED, err));
    }
    return HTH_OK;
}

static void free_model(hth_drafter *base) {
    model_drafter *d = (model_drafter *)base;
    hth_state_free(d->state);
    hth_sampler_free(d->sampler);
    hth_free(d->tokens);
    hth_free(d->rows);
    hth_free(d->logits);
    hth_free(d);
}

static const hth_drafter_ops model_ops = {.propose = propose, .free = free_model};

hth_sampler_params hth_drafter_sampling(const hth_sampler_params *request) {
    hth_sampler_params sampling = *request;
    sampling.penalty_last_n = 0;
    sampling.dry_multiplier = 0;
    sampling.dry_breakers = NULL;
    sampling.mirostat = 0;
    sampling.n_bias = 0;
    return sampling;
}

// Wrong guesses are taken back, also from recurrent layers.
hth_state_params hth_drafter_state(int64_t n_ctx) {
    return (hth_state_params){.n_ctx = n_ctx, .k_type = HTH_KV_F16, .v_type = HTH_KV_F16, .n_keep = HTH_MAX_DRAFT};
}

static hth_code make(model_drafter *d, hth_err *err) {
    const hth_model *m = d->p.model;
    const hth_sampler_params sampling = hth_drafter_sampling(d->p.sampling);
    d->p.sampling = NULL;
    HTH_TRY(hth_sampler_new(&sampling, m->desc.n_vocab, &d->sampler, err));
    d->rows = hth_calloc(HTH_MEM_ENGINE, CHUNK, sizeof *d->rows);
    d->logits = hth_calloc(HTH_MEM_ENGINE, (size_t)m->desc.n_vocab, sizeof *d->logits);
    if (!d->rows || !d->logits) return hth_fail_nomem(err, (uint64_t)m->desc.n_vocab * sizeof *d->logits);
    const hth_state_params params = hth_drafter_state(d->p.n_ctx);
    return hth_state_new(d->p.executor, m, &params, &d->state, err);
}

hth_code hth_drafter_model_new(const hth_drafter_model_params *p, hth_drafter **out, hth_err *err) {
    if (!p->model->desc.causal)
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s is an encoder: it cannot draft", p->model->desc.family);
    model_drafter *d = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *d);
    if (!d) return hth_fail_nomem(err, sizeof *d);
    d->base.ops = &model_ops;
    d->p = *p;
    const hth_code code = make(d, err);
    if (code != HTH_OK) {
        free_model(&d->base);
        return code;
    }
    *out = &d->base;
    return HTH_OK;
}

// Vocabularies may end with different numbers of unused tokens; up to there they must be spelled alike.
hth_code hth_draft_check_vocab(const hth_tokenizer *large, const hth_tokenizer *small, hth_err *err) {
    enum { MOST_UNUSED = 1024 };
    const int32_t a = hth_tokenizer_n_vocab(large), b = hth_tokenizer_n_vocab(small), n = a < b ? a : b;
    if (a - b > MOST_UNUSED || b - a > MOST_UNUSED)
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "the draft model has %d tokens, the model %d: they cannot work together", b, a);
    for (int32_t i = 0; i < n; i++) {
        size_t n_a, n_b;
        const char *text_a = hth_tokenizer_spelling(large, i, &n_a), *text_b = hth_tokenizer_spelling(small, i, &n_b);
        if (text_a && text_b && n_a == n_b && memcmp(text_a, text_b, n_a) == 0) continue;
        return hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "the draft model's vocabulary is another one: token %d is '%.*s' there and '%.*s' in the model", i,
                        text_b ? (int)(n_b < 40 ? n_b : 40) : 0, text_b ? text_b : "",
                        text_a ? (int)(n_a < 40 ? n_a : 40) : 0, text_a ? text_a : "");
    }
    return HTH_OK;
}
