// Tokens as Python writes them: what RWKV's vocabularies hold, in files of their own and in GGUF.
#ifndef HTH_TEXT_WORLD_H
#define HTH_TEXT_WORLD_H

#include "text/vocab.h"

// The bytes that stand between the quotes of a Python string (is_bytes: of a bytes literal) with its escapes undone;
// `out` has room for n. False where the escapes are none.
bool hth_python_unescape(const char *text, size_t n, bool is_bytes, char *out, size_t *n_out);

// Makes the texts of a vocabulary from its spellings, which are insides of bytes literals; those of special tokens stay.
HTH_NODISCARD hth_code hth_world_set_text(hth_vocab *v, int32_t id, hth_err *err);

#endif
