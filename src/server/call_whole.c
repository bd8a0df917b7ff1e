// Puts a call's events together for replies in one piece.
#include <math.h>
#include <string.h>

#include "server/call.h"

#define MAX_CHOICES ((size_t)1 << 20)
#define MAX_TOKENS ((size_t)1 << 26)

static hth_call_choice *choice_at(hth_call_whole *w, int32_t i) {
    const size_t need = (size_t)i + 1, had = w->n_choice;
    if (need <= had) return &w->choices[i];
    if (!hth_grow(HTH_MEM_SERVER, (void **)&w->choices, &w->cap_choice, need, sizeof *w->choices,
                  MAX_CHOICES))
        return NULL;
    for (size_t k = had; k < need; k++) {
        hth_call_choice *c = &w->choices[k];
        memset(c, 0, sizeof *c);
        hth_str_init(&c->content, HTH_MEM_SERVER, SIZE_MAX / 2);
        hth_str_init(&c->reasoning, HTH_MEM_SERVER, SIZE_MAX / 2);
        hth_str_init(&c->spellings, HTH_MEM_SERVER, UINT32_MAX / 2);
    }
    w->n_choice = need;
    return &w->choices[i];
}

static bool add_tool(hth_call_choice *c, const hth_call_event *e) {
    if (!hth_grow(HTH_MEM_SERVER, (void **)&c->tools, &c->cap_tool, c->n_tool + 1, sizeof *c->tools,
                  MAX_CHOICES))
        return false;
    hth_call_tool *t = &c->tools[c->n_tool++];
    hth_str_init(&t->id, HTH_MEM_SERVER, 65536);
    hth_str_init(&t->name, HTH_MEM_SERVER, 65536);
    hth_str_init(&t->arguments, HTH_MEM_SERVER, SIZE_MAX / 2);
    return hth_str_puts(&t->id, e->tool.id) && hth_str_puts(&t->name, e->tool.name);
}

static bool add_token(hth_call_choice *c, const hth_call_event *e) {
    const size_t n_top = (size_t)(e->token.n_top > 0 ? e->token.n_top : 0);
    if (!hth_grow(HTH_MEM_SERVER, (void **)&c->tokens, &c->cap_token, c->n_token + 1, sizeof *c->tokens,
                  MAX_TOKENS))
        return false;
    if (!hth_grow(HTH_MEM_SERVER, (void **)&c->tops, &c->cap_top, c->n_top + n_top, sizeof *c->tops,
                  MAX_TOKENS))
        return false;
    c->tokens[c->n_token++] = (hth_call_token){.id = e->token.id,
                                               .is_prompt = e->token.is_prompt,
                                               .has_logprob = e->token.has_logprob,
                                               .logprob = e->token.logprob,
                                               .text = (uint32_t)c->spellings.len,
                                               .n_text = (uint32_t)e->n_text,
                                               .top = (uint32_t)c->n_top,
                                               .n_top = (uint32_t)n_top};
    if (n_top > 0) memcpy(c->tops + c->n_top, e->token.top, n_top * sizeof *c->tops);
    c->n_top += n_top;
    return e->n_text == 0 || hth_str_append(&c->spellings, e->text, e->n_text);
}

static bool add_embedding(hth_call_choice *c, const hth_call_event *e) {
    const size_t n = (size_t)e->embedding.n;
    c->embedding = hth_alloc(HTH_MEM_SERVER, (n + 1) * sizeof *c->embedding);
    if (!c->embedding) return false;
    memcpy(c->embedding, e->embedding.values, n * sizeof *c->embedding);
    c->n_embedding = e->embedding.n;
    c->n_prompt = e->embedding.n_prompt;
    return true;
}

static bool add(hth_call_choice *c, const hth_call_event *e) {
    switch (e->kind) {
    case HTH_CALL_CONTENT: return hth_str_append(&c->content, e->text, e->n_text);
    case HTH_CALL_REASONING: return hth_str_append(&c->reasoning, e->text, e->n_text);
    case HTH_CALL_TOOL: return add_tool(c, e);
    case HTH_CALL_ARGUMENTS:
        return c->n_tool > 0 && hth_str_append(&c->tools[c->n_tool - 1].arguments, e->text, e->n_text);
    case HTH_CALL_TOKEN: return add_token(c, e);
    case HTH_CALL_EMBEDDING: return add_embedding(c, e);
    case HTH_CALL_SCORE:
        c->score = e->score.value;
        c->n_prompt = e->score.n_prompt;
        return true;
    case HTH_CALL_FINISH:
        c->has_finished = true;
        c->reason = e->finish.reason;
        c->stop = e->finish.stop;
        return true;
    default: return true;
    }
}

void hth_call_collect(void *whole, const hth_call_event *e) {
    hth_call_whole *w = whole;
    if (e->kind == HTH_CALL_STARTED) {
        w->model = e->started.model;
        w->created = e->started.created;
        w->tokenizer = e->started.tokenizer;
    } else if (e->kind == HTH_CALL_ERROR) {
        w->fault = *e->fault;
    } else if (e->kind == HTH_CALL_END) {
        w->usage = *e->usage;
    } else if (e->choice >= 0) {
        hth_call_choice *c = choice_at(w, e->choice);
        if (!c || !add(c, e)) w->failed = true;
    }
}

size_t hth_call_shorten(float *v, size_t n_all, int64_t n) {
    if (n <= 0 || (uint64_t)n >= n_all) return n_all;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    const float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (int64_t i = 0; i < n; i++) v[i] *= scale;
    return (size_t)n;
}

void hth_call_whole_free(hth_call_whole *w) {
    for (size_t i = 0; i < w->n_choice; i++) {
        hth_call_choice *c = &w->choices[i];
        for (size_t k = 0; k < c->n_tool; k++) {
            hth_str_free(&c->tools[k].id);
            hth_str_free(&c->tools[k].name);
            hth_str_free(&c->tools[k].arguments);
        }
        hth_str_free(&c->content);
        hth_str_free(&c->reasoning);
        hth_str_free(&c->spellings);
        hth_free(c->tools);
        hth_free(c->tokens);
        hth_free(c->tops);
        hth_free(c->embedding);
    }
    hth_free(w->choices);
    *w = (hth_call_whole){0};
}
