// An answer taken together: the sink that keeps everything.
#include "chat/output.h"

#define MAX_ANSWER ((size_t)1 << 30)
#define MAX_CALLS 4096

void hth_chat_answer_init(hth_chat_answer *a) {
    *a = (hth_chat_answer){.n_call = 0};
    hth_str_init(&a->content, HTH_MEM_TEXT, MAX_ANSWER);
    hth_str_init(&a->reasoning, HTH_MEM_TEXT, MAX_ANSWER);
}

void hth_chat_answer_free(hth_chat_answer *a) {
    for (size_t i = 0; i < a->n_call; i++) {
        hth_str_free(&a->calls[i].id);
        hth_str_free(&a->calls[i].name);
        hth_str_free(&a->calls[i].arguments);
    }
    hth_free(a->calls);
    hth_str_free(&a->content);
    hth_str_free(&a->reasoning);
    hth_chat_answer_init(a);
}

static hth_code append(hth_str *s, const char *p, size_t n, hth_err *err) {
    return hth_str_append(s, p, n) ? HTH_OK : hth_fail_nomem(err, s->len + n);
}

static hth_code add_call(hth_chat_answer *a, const hth_chat_delta *d, hth_err *err) {
    if (a->n_call == MAX_CALLS) return hth_fail(err, HTH_ERR_LIMIT, "the answer has more than %d calls", MAX_CALLS);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&a->calls, &a->cap, a->n_call + 1, sizeof *a->calls, MAX_CALLS)) {
        return hth_fail_nomem(err, (a->n_call + 1) * sizeof *a->calls);
    }
    hth_chat_answer_call *c = &a->calls[a->n_call++];
    c->is_cut = true;
    hth_str_init(&c->id, HTH_MEM_TEXT, MAX_ANSWER);
    hth_str_init(&c->name, HTH_MEM_TEXT, MAX_ANSWER);
    hth_str_init(&c->arguments, HTH_MEM_TEXT, MAX_ANSWER);
    HTH_TRY(append(&c->id, d->id.p, d->id.n, err));
    return append(&c->name, d->name.p, d->name.n, err);
}

hth_code hth_chat_answer_take(void *user, const hth_chat_delta *d, hth_err *err) {
    hth_chat_answer *a = user;
    switch (d->kind) {
    case HTH_CHAT_DELTA_REASONING: return append(&a->reasoning, d->text, d->n_text, err);
    case HTH_CHAT_DELTA_CONTENT: return append(&a->content, d->text, d->n_text, err);
    case HTH_CHAT_DELTA_CALL: return add_call(a, d, err);
    case HTH_CHAT_DELTA_ARGUMENTS: return append(&a->calls[a->n_call - 1].arguments, d->text, d->n_text, err);
    case HTH_CHAT_DELTA_CALL_END: a->calls[a->n_call - 1].is_cut = d->is_cut; return HTH_OK;
    }
    return HTH_OK;
}

hth_code hth_chat_answer_parse(const hth_chat_output_params *p, const char *text, size_t n, hth_chat_answer *out,
                               hth_err *err) {
    hth_chat_output_params mine = *p;
    hth_chat_output *o;
    hth_chat_answer_init(out);
    mine.sink = hth_chat_answer_take;
    mine.user = out;
    HTH_TRY(hth_chat_output_new(&mine, &o, err));
    hth_code code = hth_chat_output_feed(o, text, n, err);
    if (code == HTH_OK) code = hth_chat_output_end(o, err);
    hth_chat_output_free(o);
    if (code != HTH_OK) hth_chat_answer_free(out);
    return code;
}
