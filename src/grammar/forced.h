// A text that must come, as the tokens that a tokenizer makes of it whatever follows.
#ifndef HTH_GRAMMAR_FORCED_H
#define HTH_GRAMMAR_FORCED_H

#include "grammar/vocab.h"

// Sets *out to the tokens of `text` behind `before`, up to the first that could be cut differently together with what
// follows. None where the tokenizer makes no cut between the two.
HTH_NODISCARD hth_code g_cut_forced(const hth_grammar_vocab *v, const uint8_t *before, size_t n_before, const hth_str *text,
                                    hth_token_list *out, hth_err *err);

#endif
