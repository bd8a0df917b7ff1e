// The small model's sequence follows the large one's: what both begin with stays computed, the rest is dropped, and
// what is missing is read as a prompt. It then writes on by itself; those tokens are dropped at the next call unless
// they turned out right. Several sequences do this in the same steps.
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
    hth_draft_work alone;  // of hth_drafter_propose
} model_drafter;

void hth_draft_work_free(hth_draft_work *w) {
    hth_free(w->rows);
    hth_free(w->states);
    hth_free(w->logits);
    *w = (hth_draft_work){0};
}

static model_drafter *drafter_of(const hth_draft_ask *a) {
    return (model_drafter *)a->drafter;
}

// ---- a step of the small model

static bool grow(void **p, size_t *cap, size_t need, size_t size) {
    return hth_grow(HTH_MEM_ENGINE, p, cap, need, size, SIZE_MAX / 64);
}

static hth_code make_room(const hth_draft_ask *asks, int32_t n, hth_draft_work *w, hth_err *err) {
    const size_t n_vocab = (size_t)drafter_of(asks)->p.model->desc.n_vocab;
    size_t n_row = 0;
    for (int32_t i = 0; i < n; i++) {
        model_drafter *d = drafter_of(&asks[i]);
        n_row += (size_t)asks[i].n_next;
        if (!grow((void **)&d->tokens, &d->cap, d->n + (size_t)asks[i].n_next, sizeof *d->tokens)) {
            return hth_fail_nomem(err, (d->n + (size_t)asks[i].n_next) * sizeof *d->tokens);
        }
    }
    if (grow((void **)&w->rows, &w->row_cap, n_row, sizeof *w->rows) &&
        grow((void **)&w->states, &w->state_cap, (size_t)n, sizeof(hth_state *)) &&
        grow((void **)&w->logits, &w->logits_cap, (size_t)n * n_vocab, sizeof *w->logits)) {
        return HTH_OK;
    }
    return hth_fail_nomem(err, (uint64_t)n * n_vocab * sizeof *w->logits);
}

// Rows of what a sequence runs next; the last one's logits are wanted where it has read all.
static void write_rows(const hth_draft_ask *a, int32_t i_seq, hth_row_kind kind, hth_row *rows) {
    for (int32_t k = 0; k < a->n_next; k++) {
        const int64_t pos = (int64_t)drafter_of(a)->n + k;
        rows[k] = (hth_row){.token = a->next[k], .i_seq = i_seq, .pos = {pos, pos, pos, pos}, .parent = HTH_PARENT_PREVIOUS, .span = -1,
                            .kind = (uint8_t)kind, .want = a->is_read && k == a->n_next - 1 ? HTH_WANT_LOGITS : 0};
    }
}

// The rows of all: they become part of their sequences.
static hth_code run(hth_draft_ask *asks, int32_t n, hth_row_kind kind, hth_draft_work *w, hth_err *err) {
    const model_drafter *first = drafter_of(asks);
    int32_t n_row = 0, n_seq = 0, n_logits = 0;
    HTH_TRY(make_room(asks, n, w, err));
    for (int32_t i = 0; i < n; i++) {
        hth_draft_ask *a = &asks[i];
        a->logits = NULL;
        if (a->n_next == 0) continue;
        if (a->is_read) a->logits = w->logits + (size_t)n_logits++ * (size_t)first->p.model->desc.n_vocab;
        write_rows(a, n_seq, kind, w->rows + n_row);
        w->states[n_seq++] = drafter_of(a)->state;
        n_row += a->n_next;
    }
    if (n_row == 0) return HTH_OK;
    const hth_step step = {.model = first->p.model,
                           .batch = {.rows = w->rows, .n_row = n_row, .states = w->states, .n_seq = n_seq},
                           .layer_last = first->p.model->desc.n_layer,
                           .logits = w->logits,
                           .hidden_layer = -1};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(first->p.executor, &step, &ticket, err));
    HTH_TRY(hth_executor_wait(first->p.executor, ticket, err));
    for (int32_t i = 0; i < n; i++) {
        model_drafter *d = drafter_of(&asks[i]);
        if (asks[i].n_next > 0) memcpy(d->tokens + d->n, asks[i].next, (size_t)asks[i].n_next * sizeof *d->tokens);
        d->n += (size_t)asks[i].n_next;
    }
    return HTH_OK;
}

// ---- what to run

static bool can_guess(const hth_draft_ask *a) {
    const model_drafter *d = drafter_of(a);
    if (a->n == 0 || (int64_t)a->n + a->most > d->p.n_ctx) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->tokens[i] >= d->p.model->desc.n_vocab) return false; // the small model has no such token
    }
    return true;
}

// Goes back to where both sequences part. Returns whether it could: else no guess is made.
static bool go_back(model_drafter *d, const hth_draft_ask *a) {
    size_t same = 0;
    hth_err err;
    while (same < d->n && same + 1 < a->n && d->tokens[same] == a->tokens[same]) same++;
    hth_code code = hth_state_truncate(d->state, (int64_t)same, &err);
    if (code == HTH_ERR_UNSUPPORTED) { // a window has slid past: from the beginning
        same = 0;
        code = hth_state_truncate(d->state, 0, &err);
    }
    if (code == HTH_OK) d->n = same;
    return code == HTH_OK;
}

// What is missing is to be read, as far as the chunk has room. The last token is always run: its logits are wanted.
static void begin(hth_draft_ask *a, int32_t *room) {
    model_drafter *d = drafter_of(a);
    a->out->n = 0;
    a->out->source = HTH_DRAFT_BY_MODEL;
    a->n_next = 0;
    if (!can_guess(a) || !go_back(d, a)) return;
    const size_t left = a->n - d->n;
    a->next = a->tokens + d->n;
    a->n_next = left < (size_t)*room ? (int32_t)left : *room;
    a->is_read = (size_t)a->n_next == left; // the rest another time
    *room -= a->n_next;
}

// A token more, where the last run gave logits that are sure of one; it is to be run unless it is the last.
static void choose(hth_draft_ask *a) {
    const model_drafter *d = drafter_of(a);
    hth_err err;
    hth_pick pick;
    const hth_pick_params how = {.logits = a->logits, .pos = (int64_t)d->n, .want_logprobs = true, .after = true};
    a->n_next = 0;
    if (!a->logits || hth_sampler_pick_from(d->sampler, &how, &pick, &err) != HTH_OK) return;
    if (pick.token >= d->p.n_vocab || expf(pick.logprob) < d->p.least_share) return;
    a->next = &a->out->tokens[a->out->n];
    a->out->tokens[a->out->n] = pick.token;
    a->out->parent[a->out->n] = a->out->n - 1;
    a->n_next = ++a->out->n < a->most;
}

static hth_code propose_all(hth_draft_ask *asks, int32_t n, hth_draft_work *w, hth_err *err) {
    int32_t room = CHUNK;
    bool goes_on = n > 0;
    for (int32_t i = 0; i < n; i++) begin(&asks[i], &room);
    for (hth_row_kind kind = HTH_ROW_PROMPT; goes_on; kind = HTH_ROW_GENERATED) {
        HTH_TRY(run(asks, n, kind, w, err));
        goes_on = false;
        for (int32_t i = 0; i < n; i++) {
            choose(&asks[i]);
            goes_on |= asks[i].n_next > 0;
        }
    }
    return HTH_OK;
}

hth_code hth_drafter_model_propose(hth_draft_ask *asks, int32_t n, hth_draft_work *w, hth_err *err) {
    const hth_code code = propose_all(asks, n, w, err);
    for (int32_t i = 0; code != HTH_OK && i < n; i++) asks[i].out->n = 0;
    return code;
}

static hth_code propose(hth_drafter *base, const int32_t *tokens, size_t n, int32_t most, hth_draft *out, hth_err *err) {
    hth_draft_ask ask = {.drafter = base, .tokens = tokens, .n = n, .most = most, .out = out};
    return hth_drafter_model_propose(&ask, 1, &((model_drafter *)base)->alone, err);
}

// ---- making

static void free_model(hth_drafter *base) {
    model_drafter *d = (model_drafter *)base;
    hth_state_free(d->state);
    hth_sampler_free(d->sampler);
    hth_free(d->tokens);
    hth_draft_work_free(&d->alone);
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
