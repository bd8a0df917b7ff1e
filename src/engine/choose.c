// Choosing tokens: every sequence that has new logits, spread over the thread team. A sequence's work is done by one
// thread, so callbacks of one completion never run twice at once.
#include <string.h>

#include "engine/impl.h"

// The bits of the tokens that may come next, or NULL where all may. Whatever goes wrong ends the completion.
static hth_code find_allowed(const hth_engine *e, sequence *s, const uint32_t **out, hth_err *err) {
    const hth_request *r = s->request;
    *out = s->mask;
    if (!s->mask) return HTH_OK;
    memset(s->mask, 0, ((size_t)e->model->desc.n_vocab + 31) / 32 * sizeof *s->mask);
    const size_t n = (size_t)s->n_output;
    if (r->p.mask(r->p.user, s->completion, s->tokens + s->n_token - n, n, s->mask)) return HTH_OK;
    return hth_fail(err, HTH_ERR_RANGE, "the mask of allowed tokens could not be made");
}

static hth_code pick(const hth_engine *e, choice *c, hth_err *err) {
    sequence *s = c->seq;
    const hth_request *r = s->request;
    hth_pick_params p = {.logits = c->logits, .pos = (int64_t)s->n_token, .want_logprobs = r->p.logprobs,
                         .after = r->p.logprobs_after, .top = s->top, .n_top = r->p.n_top};
    HTH_TRY(find_allowed(e, s, &p.allowed, err));
    hth_pick picked;
    HTH_TRY(hth_sampler_pick_from(s->sampler, &p, &picked, err));
    c->token = picked.token;
    c->logprob = picked.logprob;
    c->n_top = picked.n_top;
    return HTH_OK;
}

// The scripted model: the next token of the given text as if it had been sampled.
static hth_code recite(const hth_engine *e, choice *c, hth_sampler_work *work, hth_err *err) {
    sequence *s = c->seq;
    const hth_request *r = s->request;
    c->token = s->n_forced < r->n_forced ? r->forced[s->n_forced++] : -1;
    if (c->token < 0 || !r->p.logprobs) return HTH_OK;
    c->n_top = r->p.n_top < e->n_choice ? r->p.n_top : e->n_choice;
    return hth_logprobs(work, c->logits, c->token, &c->logprob, s->top, c->n_top, err);
}

// What the caller puts in the model's place.
static hth_code find_due(const hth_engine *e, sequence *s, hth_err *err) {
    const hth_request *r = s->request;
    const size_t n = (size_t)s->n_output;
    if (!r->p.force || s->n_due > 0 || s->asked_at == s->n_output + 1) return HTH_OK;
    s->asked_at = s->n_output + 1;
    s->n_due = r->p.force(r->p.user, s->completion, s->tokens + s->n_token - n, n, &s->due);
    for (size_t i = 0; i < s->n_due; i++) {
        if (s->due[i] < 0 || s->due[i] >= e->n_choice) return hth_fail(err, HTH_ERR_RANGE, "there is no token %d to be forced", s->due[i]);
    }
    return HTH_OK;
}

static hth_code take_due(const hth_engine *e, choice *c, hth_sampler_work *work, hth_err *err) {
    sequence *s = c->seq;
    const hth_request *r = s->request;
    c->token = *s->due++;
    s->n_due--;
    c->is_forced = true;
    if (!r->p.logprobs) return HTH_OK;
    c->n_top = r->p.n_top < e->n_choice ? r->p.n_top : e->n_choice;
    return hth_logprobs(work, c->logits, c->token, &c->logprob, s->top, c->n_top, err);
}

bool engine_choose_due(const hth_engine *e, sequence *s, choice *out) {
    if (!s->request->p.force || s->request->p.logprobs) return false;
    *out = (choice){.seq = s, .is_forced = true};
    out->code = find_due(e, s, &out->err);
    if (out->code != HTH_OK) return true;
    if (s->n_due == 0) return false;
    out->token = *s->due++;
    s->n_due--;
    out->code = hth_sampler_accept(s->sampler, out->token, &out->err);
    return true;
}

static void choose(const hth_engine *e, choice *c, int i_thread) {
    sequence *s = c->seq;
    c->code = find_due(e, s, &c->err);
    if (c->code != HTH_OK) return;
    c->code = s->n_due > 0         ? take_due(e, c, e->works[i_thread], &c->err)
            : s->request->forced ? recite(e, c, e->works[i_thread], &c->err)
                                 : pick(e, c, &c->err);
    if (c->code == HTH_OK && c->token >= 0) c->code = hth_sampler_accept(s->sampler, c->token, &c->err);
}

static void choose_mine(void *user, int i_thread, int n_thread) {
    hth_engine *e = user;
    for (int32_t i = 0; i < e->n_choices; i++) {
        if (e->choices[i].seq->slot % n_thread == i_thread) choose(e, &e->choices[i], i_thread);
    }
}

void engine_choose(hth_engine *e) {
    if (e->n_choices > 0) hth_team_run(e->host->team, choose_mine, e);
}
