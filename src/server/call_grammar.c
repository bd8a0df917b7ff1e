// What may be written: a form that the answer must have, calls that must come.
#include "base/str.h"
#include "server/call_impl.h"

#define MAX_GRAMMAR_BYTES ((uint64_t)64 << 20)

static const char *format_name(const hth_call *c) {
    return c->ask->format_name ? c->ask->format_name : CALL_NAME(c, format);
}

// The kind and the text of what is asked for. False: anything may be written.
static bool find_form(const hth_ask *a, hth_grammar_kind *kind, hth_chat_text *text) {
    *text = a->grammar;
    switch (a->format) {
    case HTH_FORMAT_TEXT: return false;
    case HTH_FORMAT_JSON: *kind = HTH_GRAMMAR_JSON_OBJECT, *text = (hth_chat_text){0}; break;
    case HTH_FORMAT_SCHEMA:
        *kind = HTH_GRAMMAR_SCHEMA;
        *text = (hth_chat_text){a->document + a->schema->pos, hth_json_extent(a->document, a->n_document, a->schema)};
        break;
    case HTH_FORMAT_GRAMMAR: *kind = HTH_GRAMMAR_TEXT; break;
    case HTH_FORMAT_LARK: *kind = HTH_GRAMMAR_LARK; break;
    case HTH_FORMAT_REGEX: *kind = HTH_GRAMMAR_REGEX; break;
    }
    return true;
}

static bool make_format_grammar(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    const hth_grammar_options options = {.lenient = a->kind == HTH_ASK_CHAT && !a->strict_schema};
    hth_grammar_kind kind;
    hth_chat_text text;
    hth_err err;
    if (!find_form(a, &kind, &text)) return true;
    const hth_code code = hth_grammar_cached(c->s->grammars, kind, text.p, text.n, &options, &c->grammar, &err);
    if (code == HTH_OK) return true;
    if (code == HTH_ERR_NOMEM) return call_no_memory(fault);
    return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, format_name(c), "'%s': %s", format_name(c), err.msg);
}

// A call that must come: the whole answer is in the family's syntax of calls.
static bool make_tool_grammar(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    const bool is_one = a->n_tool_name == 1;
    hth_chat_grammar_params p = {.tools = &c->tools,
                                 .choice = is_one ? HTH_CHAT_TOOLS_NAMED : HTH_CHAT_TOOLS_REQUIRED,
                                 .parallel = !a->one_tool,
                                 .begins = c->begins,
                                 .tokenizer = c->use->tokenizer};
    if (!c->use->reasoning.thinks) p.begins = HTH_CHAT_BEGINS_CONTENT; // no thought before the call
    hth_str text;
    hth_err err;
    if (is_one) p.name = a->tool_names[0];
    hth_str_init(&text, HTH_MEM_SERVER, MAX_GRAMMAR_BYTES);
    hth_code code = hth_chat_format_grammar(c->format, &p, &text, &err);
    if (code == HTH_OK && text.failed) code = hth_fail_nomem(&err, text.len);
    if (code == HTH_OK)
        code = hth_grammar_cached(c->s->grammars, HTH_GRAMMAR_LARK, hth_str_text(&text), text.len,
                                  &(hth_grammar_options){.lenient = true}, &c->grammar, &err);
    hth_str_free(&text);
    if (code == HTH_OK) return true;
    return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, CALL_NAME(c, tool_choice),
                      "'%s' cannot be kept by this model: %s", CALL_NAME(c, tool_choice), err.msg);
}

bool call_make_grammar(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_err err;
    if (a->tool_choice == HTH_TOOLS_REQUIRED && a->n_tool > 0) {
        if (a->format != HTH_FORMAT_TEXT) {
            return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, format_name(c),
                              "'%s' and a call that must come exclude each other", format_name(c));
        }
        if (!make_tool_grammar(c, fault)) return false;
    } else if (!make_format_grammar(c, fault)) {
        return false;
    }
    if (!c->grammar) return true;
    if (!c->use->tokenizer)
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, format_name(c), "the model carries no tokenizer");
    const hth_code code = hth_models_vocab(c->s->models, c->use, &c->vocab, &err);
    return code == HTH_OK || hth_refuse_err(fault, &err, NULL);
}

static bool mask_tokens(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask) {
    return hth_guides_mask(((const call_job *)user)->guides, completion, tokens, n, mask);
}

bool call_make_guides(hth_call *c, size_t i, hth_request_params *p, hth_fault *fault) {
    const hth_guide_params how = {.grammar = c->grammar, .vocab = c->vocab};
    hth_err err;
    if (!c->grammar) return true;
    p->mask = mask_tokens;
    const hth_code code = hth_guides_new(&how, c->n_completion, &c->jobs[i].guides, &err);
    return code == HTH_OK || hth_refuse_err(fault, &err, NULL);
}

const hth_err *call_guide_error(const call_job *job, int32_t completion) {
    const hth_err *err = job->guides && completion >= 0 ? hth_guides_error(job->guides, completion) : NULL;
    return err && err->code != HTH_OK ? err : NULL;
}

void call_free_grammar(hth_call *c) {
    for (size_t i = 0; c->jobs && i < c->n_job; i++) hth_guides_free(c->jobs[i].guides);
    hth_grammar_free(c->grammar);
}
