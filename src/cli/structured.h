// What an answer may be: a schema, a grammar or a regular expression from the command line, kept by masks.
#ifndef HTH_CLI_STRUCTURED_H
#define HTH_CLI_STRUCTURED_H

#include "engine/engine.h"
#include "grammar/grammar.h"

typedef struct cli_structured_params { // at most one is given
    const char *schema, *grammar;      // files, "-" is standard input
    const char *regex;
    bool no_forcing; // the model chooses every token, also where one alone may come
} cli_structured_params;

typedef struct cli_structured {
    hth_grammar_vocab *vocab; // owned
    hth_guides *guides;       // owned; NULL: anything may be written
    bool no_forcing;
} cli_structured;

static inline bool cli_structured_is_given(const cli_structured_params *p) {
    return p->schema || p->grammar || p->regex;
}
// Compiles what is given for the model's vocabulary.
HTH_NODISCARD hth_code cli_structured_open(const cli_structured_params *p, const hth_tokenizer *t, cli_structured *out, hth_err *err);
void cli_structured_close(cli_structured *s);
// After a request failed: says why there was no mask, where that was the reason.
hth_code cli_structured_explain(const cli_structured *s, hth_code code, hth_err *err);

#endif
