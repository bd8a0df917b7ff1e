// Thoughts that are cut short: by a budget of tokens, or because somebody says so while they go on.
#include <string.h>

#include "server/call_impl.h"

// Calls that can be told by their id.
struct hth_calls {
    hth_mutex lock;
    hth_call *first;
};

struct hth_calls *hth_calls_new(void) {
    struct hth_calls *all = hth_calloc(HTH_MEM_SERVER, 1, sizeof *all);
    hth_err err;
    if (all && hth_mutex_init(&all->lock, &err) == HTH_OK) return all;
    hth_free(all);
    return NULL;
}

void hth_calls_free(struct hth_calls *all) {
    if (!all) return;
    hth_mutex_destroy(&all->lock);
    hth_free(all);
}

static void enlist(hth_call *c) {
    struct hth_calls *all = c->s->calls;
    if (!c->ask->control_id.p || c->is_listed || !all) return;
    hth_lock(&all->lock);
    c->is_listed = true;
    c->next_listed = all->first;
    all->first = c;
    hth_unlock(&all->lock);
}

void call_delist(hth_call *c) {
    struct hth_calls *all = c->s->calls;
    if (!c->is_listed) return;
    hth_lock(&all->lock);
    hth_call **at = &all->first;
    while (*at != c) at = &(*at)->next_listed;
    *at = c->next_listed;
    hth_unlock(&all->lock);
}

static bool stop_thinking(hth_call *c) {
    bool any = false;
    for (size_t i = 0; i < c->n_job; i++) {
        if (!c->jobs[i].budget) continue;
        hth_chat_budget_stop(c->jobs[i].budget);
        any = true;
    }
    return any;
}

bool hth_call_stop_thinking(hth_server *s, hth_chat_text id) {
    bool found = false;
    if (!s->calls) return false;
    hth_lock(&s->calls->lock);
    for (hth_call *c = s->calls->first; c && !found; c = c->next_listed) {
        const hth_chat_text own = c->ask->control_id;
        if (own.n == id.n && memcmp(own.p, id.p, id.n) == 0) found = stop_thinking(c);
    }
    hth_unlock(&s->calls->lock);
    return found;
}

static size_t force_tokens(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    const call_job *job = user;
    const size_t n_out = job->budget ? hth_chat_budget_force(job->budget, completion, tokens, n, out) : 0;
    return n_out > 0 || !job->forces ? n_out : hth_guides_force(job->guides, completion, tokens, n, out);
}

void call_force(hth_call *c, size_t i, hth_request_params *p) {
    const hth_config *config = c->s->config;
    c->jobs[i].forces = c->jobs[i].guides && (!config || config->forcing);
    if (c->jobs[i].budget || c->jobs[i].forces) p->force = force_tokens;
}

bool call_make_budget(hth_call *c, size_t i, hth_fault *fault) {
    const hth_ask *a = c->ask;
    const bool is_wanted = a->thinking_budget > 0 || a->control_id.p;
    if (!is_wanted || !c->format || !c->use->tokenizer || !hth_chat_format_ends_thought(c->format, c->use->chat)) return true;
    hth_chat_output_params answers = call_answers(c);
    answers.raw_reasoning = false; // where a thought is over is the same, wherever its text goes
    const hth_chat_budget_params how = {.answers = &answers, .chat = c->use->chat, .words = a->thinking_words,
                                        .most = a->thinking_budget > 0 ? a->thinking_budget : -1, .n_completion = c->n_completion};
    hth_err err;
    if (hth_chat_budget_new(&how, &c->jobs[i].budget, &err) != HTH_OK) return hth_refuse_err(fault, &err, NULL);
    enlist(c);
    return true;
}
