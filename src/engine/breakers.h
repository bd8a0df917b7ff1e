// Texts at which DRY stops looking for repetitions, as sequences of tokens: a token that contains the text, or one
// that ends with its beginning and is followed by the tokens of the rest.
#ifndef HTH_ENGINE_BREAKERS_H
#define HTH_ENGINE_BREAKERS_H

#include "hearth_sampling.h"
#include "text/tokenizer.h"

#define HTH_MAX_BREAKERS 64
#define HTH_MAX_BREAKER_BYTES 40

// Goes through the whole vocabulary: keep the result for further requests. Texts [n]; HTH_ERR_RANGE for too many, an
// empty one, or one that is too long. Returns owned.
HTH_NODISCARD hth_code hth_breakers_new(const hth_tokenizer *t, const char *const *texts, size_t n, hth_breakers **out,
                                        hth_err *err);

// llama.cpp's choice: newline, colon, quotation mark, asterisk; NULL past the end.
const char *hth_breakers_default_at(int i);

// Length of the longest breaker that tokens [n] begin with; 0: none.
int64_t hth_breakers_match(const hth_breakers *b, const int32_t *tokens, size_t n);

#endif
