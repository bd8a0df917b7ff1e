// A request's own word, then a created model's, then the server's.
#include "server/defaults.h"

#include <string.h>

static void lay_thinking(const hth_config *c, hth_ask *a) {
    if (a->thinking == HTH_THINK_DEFAULT && !a->effort.p && a->thinking_budget == 0) {
        if (c->reasoning == HTH_SWITCH_ON) a->thinking = HTH_THINK_ON;
        if (c->reasoning == HTH_SWITCH_OFF) a->thinking = HTH_THINK_OFF;
    }
    if (a->thinking_budget == 0 && a->thinking != HTH_THINK_OFF) {
        if (c->reasoning_budget == 0) a->thinking = HTH_THINK_OFF;
        if (c->reasoning_budget > 0) a->thinking_budget = c->reasoning_budget;
    }
    if (!a->thinking_words.p && c->reasoning_budget_message) a->thinking_words = hth_chat_text_of(c->reasoning_budget_message);
    if (c->reasoning_format == HTH_REASONING_NONE) a->thinking_in_content = true;
}

// The server's variables for the template, where the request has none of that name.
static bool lay_kwargs(const hth_config *c, hth_arena *arena, hth_ask *a, hth_fault *fault) {
    hth_json_doc *doc;
    hth_err err;
    const char *text = c->chat_template_kwargs;
    if (!text || a->kind != HTH_ASK_CHAT) return true;
    if (hth_json_parse(text, strlen(text), (uint64_t)1 << 22, &doc, &err) != HTH_OK)
        return hth_refuse_err(fault, &err, NULL);
    const hth_json *root = hth_json_root(doc);
    hth_code code = HTH_OK;
    if (a->kwargs.kind == HTH_JINJA_MISSING) code = hth_jinja_make_dict(arena, &a->kwargs, &err);
    for (uint32_t i = 0; code == HTH_OK && root->kind == HTH_JSON_OBJECT && i < root->n; i++) {
        const hth_json_member *m = &root->u.members[i];
        hth_jinja_value value;
        if (hth_jinja_get(&a->kwargs, m->key)) continue;
        code = hth_jinja_from_json(arena, &m->value, text, strlen(text), HTH_JINJA_OF_TEMPLATE, &value, &err);
        if (code == HTH_OK)
            code = hth_jinja_set(arena, &a->kwargs, m->key, m->key_len, HTH_JINJA_OF_TEMPLATE, value, &err);
    }
    hth_json_free(doc);
    return code == HTH_OK || hth_refuse_err(fault, &err, NULL);
}

bool hth_defaults_lay(const hth_config *c, hth_arena *arena, hth_ask *a, hth_fault *fault) {
    if (a->deadline_ms == 0 && c->request_timeout_ms > 0) a->deadline_ms = c->request_timeout_ms;
    if (a->n_keep == 0 && c->n_keep > 0) a->n_keep = c->n_keep;
    if (a->overflow == HTH_OVERFLOW_ERROR && c->context_shift) a->overflow = HTH_OVERFLOW_ROLLING;
    const bool is_text = a->kind == HTH_ASK_CHAT || a->kind == HTH_ASK_TEXT;
    if (is_text && a->max_tokens == 0 && !a->no_output && c->n_predict > 0) a->max_tokens = c->n_predict;
    if (is_text && a->n_draft == 0 && c->n_draft >= 0) a->n_draft = c->n_draft == 0 ? -1 : c->n_draft;
    if (!a->pooling.p && c->pooling) a->pooling = hth_chat_text_of(c->pooling);
    if (!c->prefill_assistant) a->no_continue = true;
    lay_thinking(c, a);
    return lay_kwargs(c, arena, a, fault);
}
