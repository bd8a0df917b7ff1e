// --schema, --grammar and --regex.
#include "cli/structured.h"

#include <string.h>

#include "cli/input.h"

static hth_code compile_file(const char *path, bool is_schema, hth_grammar **out, hth_err *err) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code = cli_read_text(path, &text, err);
    if (code == HTH_OK) {
        code = is_schema ? hth_grammar_from_schema(hth_str_text(&text), text.len, NULL, out, err)
                         : hth_grammar_from_text(hth_str_text(&text), text.len, NULL, out, err);
        if (code != HTH_OK) code = hth_fail_in(err, code, path);
    }
    hth_str_free(&text);
    return code;
}

static hth_code compile(const cli_structured_params *p, hth_grammar **out, hth_err *err) {
    if (p->regex) return hth_grammar_from_regex(p->regex, strlen(p->regex), NULL, out, err);
    return compile_file(p->schema ? p->schema : p->grammar, p->schema != NULL, out, err);
}

hth_code cli_structured_open(const cli_structured_params *p, const hth_tokenizer *t, cli_structured *out, hth_err *err) {
    hth_grammar *g;
    *out = (cli_structured){.no_forcing = p->no_forcing};
    if (!cli_structured_is_given(p)) return HTH_OK;
    HTH_TRY(compile(p, &g, err));
    hth_code code = hth_grammar_vocab_new(t, &out->vocab, err);
    if (code == HTH_OK) code = hth_guides_new(&(hth_guide_params){.grammar = g, .vocab = out->vocab}, 1, &out->guides, err);
    hth_grammar_free(g);
    return code;
}

void cli_structured_close(cli_structured *s) {
    hth_guides_free(s->guides);
    hth_grammar_vocab_free(s->vocab);
    *s = (cli_structured){0};
}

hth_code cli_structured_explain(const cli_structured *s, hth_code code, hth_err *err) {
    const hth_err *why = s->guides ? hth_guides_error(s->guides, 0) : NULL;
    if (code == HTH_OK || !why || why->code == HTH_OK) return code;
    *err = *why;
    return why->code;
}
