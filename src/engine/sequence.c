// One completion: its tokens, its state, the text that its tokens make, and the ways in which it ends.
#include <string.h>

#include "engine/impl.h"
#include "engine/random.h"

#define MAX_TEXT ((size_t)1 << 30)

// ---- life

// Completion 0 has the seed of the request, the others one made of it.
static uint64_t seed_of(uint64_t seed, int32_t completion) {
    const uint32_t counter[4] = {(uint32_t)completion, 0, 0, 1}, key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    if (completion == 0) return seed;
    hth_philox4x32(counter, key, out);
    return (uint64_t)out[0] << 32 | out[1];
}

hth_sampler_params sequence_sampling(const sequence *s) {
    hth_sampler_params p = s->request->sampling;
    p.seed = seed_of(p.seed, s->completion);
    return p;
}

static hth_code make_chooser(hth_engine *e, sequence *s, hth_err *err) {
    const hth_request *r = s->request;
    const hth_sampler_params p = sequence_sampling(s);
    const int n_thread = hth_team_size(e->host->team);
    HTH_TRY(hth_sampler_new_in(&p, e->works[s->slot % n_thread], &s->sampler, err));
    for (int64_t i = 0; i < r->n_prompt; i++) HTH_TRY(hth_sampler_accept(s->sampler, r->prompt[i], err));
    if (r->p.mask) {
        const size_t n_word = ((size_t)e->model->desc.n_vocab + 31) / 32;
        s->mask = hth_calloc(HTH_MEM_ENGINE, n_word, sizeof *s->mask);
        if (!s->mask) return hth_fail_nomem(err, n_word * sizeof *s->mask);
    }
    if (r->p.n_top > 0) {
        s->top = hth_calloc(HTH_MEM_ENGINE, (size_t)r->p.n_top, sizeof *s->top);
        if (!s->top) return hth_fail_nomem(err, (uint64_t)r->p.n_top * sizeof *s->top);
    }
    return HTH_OK;
}

static hth_code fill(hth_engine *e, sequence *s, hth_err *err) {
    const hth_request *r = s->request;
    const bool embeds = sequence_is_embedding(s);
    const size_t n = (size_t)r->n_prompt;
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&s->tokens, &s->cap, n + 1, sizeof *s->tokens, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (n + 1) * sizeof *s->tokens);
    }
    memcpy(s->tokens, r->prompt, n * sizeof *s->tokens);
    s->n_token = n;
    s->n_prompt_row = r->n_prompt;
    if (embeds) HTH_TRY(hth_pooled_init(&s->pooled, e->model, r->pooling, r->n_prompt, err));
    else HTH_TRY(make_chooser(e, s, err));
    if (!e->model->desc.causal || s->waits) return HTH_OK;
    HTH_TRY(reuse_find(e, s, err));
    reuse_wait(e, s);
    if (s->state) return HTH_OK;
    const hth_state_params p = plan_state(e, embeds ? r->n_prompt : e->n_ctx, embeds);
    return hth_state_new(e->host->executor, e->model, &p, &s->state, err);
}

hth_code sequence_new(hth_engine *e, hth_request *r, int32_t completion, int32_t slot, sequence **out, hth_err *err) {
    sequence *s = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *s);
    if (!s) return hth_fail_nomem(err, sizeof *s);
    s->request = r;
    s->completion = completion;
    s->slot = slot;
    s->waits = completion > 0;
    hth_gain_init(&s->gain);
    hth_str_init(&s->text, HTH_MEM_ENGINE, MAX_TEXT);
    hth_stop_filter_init(&s->stop, r->p.stop, r->p.n_stop);
    if (e->tokenizer) {
        s->detokenizer = hth_detokenizer_make(e->tokenizer, r->p.show_control);
        s->detokenizer.at_start = false; // it continues the prompt: its first space is its own
        s->echo = hth_detokenizer_make(e->tokenizer, r->p.show_control);
    }
    hth_code code = fill(e, s, err);
    if (code != HTH_OK) {
        sequence_free(s);
        return code;
    }
    *out = s;
    return HTH_OK;
}

void sequence_free(sequence *s) {
    if (!s) return;
    hth_state_free(s->state);
    hth_sampler_free(s->sampler);
    hth_drafter_free(s->lookup);
    hth_drafter_free(s->guesser);
    hth_pooled_free(&s->pooled);
    hth_stop_filter_free(&s->stop);
    hth_str_free(&s->text);
    hth_free(s->tokens);
    hth_free(s->mask);
    hth_free(s->top);
    hth_free(s);
}

hth_code sequence_follow(sequence *s, const sequence *first, hth_err *err) {
    HTH_TRY(hth_state_fork(first->state, first->n_computed, &s->state, err));
    s->n_computed = first->n_computed;
    s->waits = false;
    s->has_prompt = true;
    return HTH_OK;
}

// ---- what it is at

bool sequence_is_embedding(const sequence *s) {
    return s->request->p.task == HTH_TASK_EMBED;
}

int64_t sequence_pending(const sequence *s) {
    return s->is_ended || s->waits || s->leader || s->is_parked ? 0 : (int64_t)s->n_token - s->n_computed;
}

bool sequence_is_generating(const sequence *s) {
    return s->n_computed >= s->n_prompt_row && s->n_computed >= s->n_again;
}

// ---- ends

static void end(sequence *s) {
    s->is_ended = true;
}

void sequence_fail(sequence *s, const hth_err *err) {
    if (s->is_ended) return;
    request_fail(s->request, s->completion, err, NULL);
    s->is_broken = true;
    end(s);
}

// What the detokenizer and the stop filter still hold.
static hth_code flush(sequence *s, bool has_stopped, hth_err *err) {
    hth_str rest;
    int32_t which;
    hth_str_init(&rest, HTH_MEM_ENGINE, MAX_TEXT);
    hth_code code = HTH_OK;
    hth_str_clear(&s->text);
    if (!has_stopped && s->detokenizer.t) {
        code = hth_detokenizer_end(&s->detokenizer, &rest, err);
        if (code == HTH_OK && rest.len > 0) code = hth_stop_filter_push(&s->stop, rest.p, rest.len, &s->text, &which, err);
        if (code == HTH_OK) code = hth_stop_filter_end(&s->stop, &s->text, err);
    }
    hth_str_free(&rest);
    return code;
}

void sequence_stop(sequence *s, hth_stop_reason reason, int32_t token, int32_t i_stop) {
    if (s->is_ended) return;
    hth_err err;
    if (flush(s, reason == HTH_STOP_TEXT, &err) != HTH_OK) {
        sequence_fail(s, &err);
        return;
    }
    hth_event event = {.kind = HTH_EVENT_STOP, .completion = s->completion, .text = hth_str_text(&s->text),
                       .n_text = s->text.len};
    event.stop.reason = reason;
    event.stop.token = token;
    event.stop.i_stop = i_stop;
    request_tell_last(s->request, &event);
    end(s);
}

// ---- tokens

// Turns a token to text, as far as that is certain, in s->text.
static hth_code write_text(sequence *s, hth_token token, int32_t *i_stop, hth_err *err) {
    *i_stop = -1;
    hth_str_clear(&s->text);
    if (!s->detokenizer.t) return HTH_OK;
    if (s->stop.n == 0) return hth_detokenizer_push(&s->detokenizer, token, &s->text, err);
    hth_str piece;
    hth_str_init(&piece, HTH_MEM_ENGINE, MAX_TEXT);
    hth_code code = hth_detokenizer_push(&s->detokenizer, token, &piece, err);
    if (code == HTH_OK) code = hth_stop_filter_push(&s->stop, piece.p, piece.len, &s->text, i_stop, err);
    hth_str_free(&piece);
    return code;
}

static bool is_stop_token(const hth_request *r, hth_token token) {
    for (size_t i = 0; i < r->p.n_stop_token; i++) {
        if (r->p.stop_tokens[i] == token) return true;
    }
    return false;
}

static hth_code append(sequence *s, hth_token token, hth_err *err) {
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&s->tokens, &s->cap, s->n_token + 1, sizeof *s->tokens, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (s->n_token + 1) * sizeof *s->tokens);
    }
    s->tokens[s->n_token++] = token;
    s->n_output++;
    s->request->usage.n_output++;
    return HTH_OK;
}

static hth_code tell_token(sequence *s, const choice *c, hth_err *err) {
    hth_event event = {.kind = HTH_EVENT_TOKEN, .completion = s->completion, .text = hth_str_text(&s->text),
                       .n_text = s->text.len};
    event.token.id = c->token;
    event.token.index = s->n_output - 1;
    event.token.has_logprob = s->request->p.logprobs;
    event.token.logprob = c->logprob;
    event.token.top = s->top;
    event.token.n_top = c->n_top;
    return request_tell(s->request, &event, err);
}

// Rolling: half of what stands after the tokens to keep goes, and the rest is read again.
static hth_code roll(hth_engine *e, sequence *s, hth_err *err) {
    const hth_request *r = s->request;
    const int64_t n = (int64_t)s->n_token, keep = r->n_keep, drop = (n - keep) / 2;
    int64_t left = hth_state_reach(s->state, keep);
    s->is_rolled = true;
    HTH_TRY(hth_state_truncate(s->state, left, err));
    memmove(s->tokens + keep, s->tokens + keep + drop, (size_t)(n - keep - drop) * sizeof *s->tokens);
    s->n_token -= (size_t)drop;
    s->n_computed = left;
    s->n_prompt_row = (int64_t)s->n_token;
    s->n_again = 0;
    hth_event event = {.kind = HTH_EVENT_CUT, .completion = s->completion};
    event.cut.first = keep;
    event.cut.n = drop;
    (void)e;
    return request_tell(s->request, &event, err);
}

static hth_code take(hth_engine *e, sequence *s, const choice *c, hth_err *err) {
    const hth_request *r = s->request;
    int32_t i_stop;
    if (c->code != HTH_OK) return *err = c->err, c->code;
    if (c->token < 0) return sequence_stop(s, HTH_STOP_END, -1, -1), HTH_OK;
    HTH_TRY(append(s, c->token, err));
    s->request->usage.n_forced += c->is_forced;
    if (!r->p.ignore_end && !c->is_forced && e->tokenizer && hth_tokenizer_is_end(e->tokenizer, c->token)) {
        return sequence_stop(s, HTH_STOP_END, c->token, -1), HTH_OK;
    }
    if (!c->is_forced && is_stop_token(r, c->token)) return sequence_stop(s, HTH_STOP_TOKEN, c->token, -1), HTH_OK;
    HTH_TRY(write_text(s, c->token, &i_stop, err));
    HTH_TRY(tell_token(s, c, err));
    if (i_stop >= 0) return sequence_stop(s, HTH_STOP_TEXT, -1, i_stop), HTH_OK;
    if (r->p.max_tokens > 0 && s->n_output >= r->p.max_tokens) return sequence_stop(s, HTH_STOP_LENGTH, -1, -1), HTH_OK;
    if ((int64_t)s->n_token <= e->n_ctx) return HTH_OK;
    if (r->p.overflow == HTH_OVERFLOW_ROLLING && !r->p.mask && !r->p.force) return roll(e, s, err);
    return sequence_stop(s, HTH_STOP_CONTEXT, -1, -1), HTH_OK;
}

void sequence_take(hth_engine *e, sequence *s, const choice *c) {
    hth_err err;
    if (take(e, s, c, &err) != HTH_OK) sequence_fail(s, &err);
}

hth_code sequence_tell_prompt(hth_engine *e, sequence *s, int64_t first, int64_t last, const float *logits, hth_err *err) {
    const hth_request *r = s->request;
    const size_t n_vocab = (size_t)e->model->desc.n_vocab;
    for (int64_t i = first; i < last; i++) {
        const hth_token token = r->prompt[i];
        hth_event event = {.kind = HTH_EVENT_PROMPT};
        event.token.id = token;
        event.token.index = i;
        if (r->p.prompt_logprobs && i > 0) {
            event.token.has_logprob = true;
            event.token.top = s->top;
            event.token.n_top = r->p.n_top < e->n_choice ? r->p.n_top : e->n_choice;
            HTH_TRY(hth_logprobs(e->works[0], logits, token, &event.token.logprob, s->top, event.token.n_top, err));
            logits += n_vocab;
        }
        hth_str_clear(&s->text);
        if (s->echo.t) HTH_TRY(hth_detokenizer_push(&s->echo, token, &s->text, err));
        event.text = hth_str_text(&s->text);
        event.n_text = s->text.len;
        HTH_TRY(request_tell(s->request, &event, err));
    }
    return HTH_OK;
}
