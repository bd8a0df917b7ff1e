// The chain: a pool of tokens goes through the steps, then one is drawn.
#include "engine/sampler.h"

#include <math.h>
#include <string.h>

#include "engine/random.h"
#include "engine/sampler_impl.h"

static void forget(hth_sampler *s) {
    s->mu = 2 * s->params.mirostat_tau;
    s->last_token = -1;
}

static bool has_step(const hth_sampler_params *p, hth_sampler_step step) {
    return !p->has_order || memchr(p->order, (int)step, (size_t)p->n_order) != NULL;
}

// Whether the best token wins whatever filters are on. XTC and typical-p are the ones that may drop it, and penalties in
// an unusual place see only what filters have left.
static bool is_greedy(const hth_sampler_params *p) {
    if (p->has_order && (hth_penalties_on(p) || hth_dry_on(p))) return false;
    return p->temperature == 0 && p->dynatemp_range == 0 && has_step(p, HTH_STEP_TEMPERATURE) && p->mirostat == 0 &&
           p->xtc_probability == 0 && (p->typical_p == 0 || p->typical_p == 1);
}

static hth_code copy_bias(hth_sampler *s, hth_err *err) {
    const hth_sampler_params *p = &s->params;
    for (size_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].token >= 0 && p->bias[i].token < s->work->n_vocab) continue;
        return hth_fail(err, HTH_ERR_RANGE, "logit_bias names token %d; the vocabulary has %d", p->bias[i].token,
                        s->work->n_vocab);
    }
    s->bias = hth_calloc(HTH_MEM_ENGINE, p->n_bias, sizeof *s->bias);
    if (!s->bias) return hth_fail_nomem(err, p->n_bias * sizeof *s->bias);
    if (p->n_bias > 0) memcpy(s->bias, p->bias, p->n_bias * sizeof *s->bias);
    s->params.bias = s->bias;
    return HTH_OK;
}

hth_code hth_sampler_new_in(const hth_sampler_params *p, hth_sampler_work *work, hth_sampler **out, hth_err *err) {
    HTH_TRY(hth_sampler_check(p, err));
    hth_sampler *s = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *s);
    if (!s) return hth_fail_nomem(err, sizeof *s);
    s->params = *p;
    s->work = work;
    s->is_greedy = is_greedy(p);
    hth_history_init(&s->history, p);
    forget(s);
    const hth_code code = copy_bias(s, err);
    if (code != HTH_OK) {
        hth_sampler_free(s);
        return code;
    }
    *out = s;
    return HTH_OK;
}

hth_code hth_sampler_new(const hth_sampler_params *p, int32_t n_vocab, hth_sampler **out, hth_err *err) {
    HTH_TRY(hth_sampler_check(p, err));
    hth_sampler_work *work;
    HTH_TRY(hth_sampler_work_new(n_vocab, &work, err));
    const hth_code code = hth_sampler_new_in(p, work, out, err);
    if (code == HTH_OK) (*out)->owns_work = true;
    else hth_sampler_work_free(work);
    return code;
}

void hth_sampler_free(hth_sampler *s) {
    if (!s) return;
    if (s->owns_work) hth_sampler_work_free(s->work);
    hth_history_free(&s->history);
    hth_free(s->bias);
    hth_free(s);
}

hth_code hth_sampler_accept(hth_sampler *s, int32_t token, hth_err *err) {
    if (token < 0 || token >= s->work->n_vocab) {
        // A model's own vocabulary may end with tokens that nobody can choose; they repeat nothing.
        return token < 0 ? hth_fail(err, HTH_ERR_RANGE, "token %d is none", token) : HTH_OK;
    }
    HTH_TRY(hth_history_accept(&s->history, &s->params, token, err));
    if (token == s->last_token) s->mu -= s->params.mirostat_eta * (s->last_surprise - s->params.mirostat_tau);
    s->last_token = -1;
    return HTH_OK;
}

void hth_sampler_reset(hth_sampler *s) {
    hth_history_reset(&s->history);
    forget(s);
}

// ---- picking

static void add_bias(const hth_sampler *s, hth_pool *p) {
    for (size_t i = 0; i < s->params.n_bias; i++) {
        const hth_logit_bias *b = &s->bias[i];
        if (p->logits[b->token] > HTH_LEAST_LOGIT) hth_pool_change(p, b->token, p->logits[b->token] + b->bias);
    }
}

static void run_step(hth_sampler *s, hth_sampler_step step, hth_pool *p, int64_t pos) {
    const hth_sampler_params *params = &s->params;
    switch (step) {
    case HTH_STEP_PENALTIES: hth_step_penalties(s, p); return;
    case HTH_STEP_DRY: hth_step_dry(s, p); return;
    case HTH_STEP_TEMPERATURE: hth_step_temperature(params, p); return;
    default: break;
    }
    if (params->mirostat != 0) return;
    switch (step) {
    case HTH_STEP_TOP_N_SIGMA: hth_step_top_n_sigma(params, p); return;
    case HTH_STEP_TOP_K: hth_step_top_k(params, p); return;
    case HTH_STEP_TYPICAL_P: hth_step_typical_p(params, p); return;
    case HTH_STEP_TOP_P: hth_step_top_p(params, p); return;
    case HTH_STEP_MIN_P: hth_step_min_p(params, p); return;
    case HTH_STEP_XTC: hth_step_xtc(params, p, pos); return;
    default: return;
    }
}

// All steps; with is_greedy only those that change logits, after which the best is alone.
static void run_steps(hth_sampler *s, hth_pool *p, int64_t pos) {
    const hth_sampler_params *params = &s->params;
    const int32_t n = params->has_order ? params->n_order : HTH_STEP_COUNT;
    for (int32_t i = 0; i < n; i++) {
        const hth_sampler_step step = params->has_order ? (hth_sampler_step)params->order[i] : (hth_sampler_step)i;
        if (!s->is_greedy || step == HTH_STEP_PENALTIES || step == HTH_STEP_DRY) run_step(s, step, p, pos);
    }
    if (params->mirostat != 0) hth_step_mirostat(s, p);
}

// The best of a list with shares, or of the whole vocabulary.
static int32_t list_best(hth_pool *p, hth_logprob *top, int32_t n_top) {
    double log_sum;
    if (p->list) {
        log_sum = hth_pool_softmax(p);
    } else {
        log_sum = (double)hth_pool_max(p) / (double)p->temperature + log(hth_pool_sum(p));
    }
    hth_pool_select(p, (size_t)n_top);
    const int32_t n = p->n < (size_t)n_top ? (int32_t)p->n : n_top;
    for (int32_t i = 0; i < n; i++) {
        top[i] = (hth_logprob){.token = p->list[i].id, .logprob = (float)((double)p->list[i].logit - log_sum)};
    }
    return n;
}

hth_code hth_logprobs(hth_sampler_work *w, const float *logits, int32_t token, float *logprob, hth_logprob *top,
                      int32_t n_top, hth_err *err) {
    hth_pool p;
    HTH_TRY(hth_pool_begin(&p, w, logits, NULL, err));
    if (token >= 0) *logprob = (float)((double)logits[token] - (double)hth_pool_max(&p) - log(hth_pool_sum(&p)));
    if (n_top > 0) (void)list_best(&p, top, n_top < w->n_vocab ? n_top : w->n_vocab);
    return HTH_OK;
}

static int32_t choose(hth_sampler *s, hth_pool *p, int64_t pos, double *logprob) {
    *logprob = 0;
    if (!s->is_greedy) return hth_pool_draw(p, hth_random_at(s->params.seed, pos), logprob);
    if (!p->list) return hth_pool_best(p);
    hth_pool_select(p, 1);
    return p->list[0].id;
}

hth_code hth_sampler_pick_from(hth_sampler *s, const hth_pick_params *ask, hth_pick *out, hth_err *err) {
    hth_pool p;
    double logprob;
    *out = (hth_pick){0};
    HTH_TRY(hth_pool_begin(&p, s->work, ask->logits, ask->allowed, err));
    add_bias(s, &p);
    if (hth_pool_max(&p) <= HTH_LEAST_LOGIT) return hth_fail(err, HTH_ERR_RANGE, "logit_bias leaves no token that is allowed");
    run_steps(s, &p, ask->pos);
    out->token = choose(s, &p, ask->pos, &logprob);
    s->last_token = out->token;
    s->last_surprise = (float)(-logprob * 1.4426950408889634);
    if (!ask->want_logprobs) return HTH_OK;
    out->n_top = ask->n_top < s->work->n_vocab ? ask->n_top : s->work->n_vocab;
    if (!ask->after) return hth_logprobs(s->work, ask->logits, out->token, &out->logprob, ask->top, out->n_top, err);
    out->logprob = (float)logprob;
    if (out->n_top <= 0) return HTH_OK;
    if (s->is_greedy) ask->top[0] = (hth_logprob){.token = out->token};
    out->n_top = s->is_greedy ? 1 : list_best(&p, ask->top, out->n_top);
    return HTH_OK;
}

hth_code hth_sampler_pick(hth_sampler *s, const float *logits, int64_t pos, int32_t *token, hth_err *err) {
    hth_pick pick;
    HTH_TRY(hth_sampler_pick_from(s, &(hth_pick_params){.logits = logits, .pos = pos}, &pick, err));
    *token = pick.token;
    return HTH_OK;
}
