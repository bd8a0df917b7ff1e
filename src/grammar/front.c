// Grammars of one expression: regular expressions and lists of choices; and which language a text is in.
#include <string.h>

#include "grammar/build.h"

static hth_code finish(g_build *b, hth_grammar **out) {
    *out = g_build_finish(b);
    const hth_code code = b->code;
    g_build_free(b);
    return code;
}

// A grammar whose only rule is x.
static hth_code finish_rx(g_build *b, g_rx x, hth_grammar **out) {
    b->start_rule = g_rule_new(b);
    if (b->code == HTH_OK) g_edge_rx(b, b->rules[b->start_rule].start, x, b->rules[b->start_rule].end);
    return finish(b, out);
}

hth_code hth_grammar_from_regex(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err) {
    g_build b;
    g_build_init(&b, o, err);
    const g_regex_params p = {.syntax = REGEX_ECMA, .enc = ENC_UTF8};
    return finish_rx(&b, g_regex_parse(&b, text, n, &p), out);
}

hth_code hth_grammar_from_choices(const char *const *texts, const size_t *n, size_t n_text, const hth_grammar_options *o,
                                  hth_grammar **out, hth_err *err) {
    g_build b;
    g_build_init(&b, o, err);
    g_rx *list = hth_calloc(HTH_MEM_TEXT, n_text + 1, sizeof *list);
    if (!list) g_fail_nomem(&b);
    for (size_t i = 0; i < n_text && b.code == HTH_OK; i++) list[i] = g_rx_literal(&b, texts[i], n[i]);
    g_rx x = list ? g_rx_alt(&b, list, n_text) : 0;
    hth_free(list);
    return finish_rx(&b, x, out);
}
