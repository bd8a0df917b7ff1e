// The classic chat formats by name, as templates: for models that carry none, and for those whose own is to be
// set aside.
#ifndef HTH_CHAT_CLASSIC_H
#define HTH_CHAT_CLASSIC_H

#include "text/tokenizer.h"

typedef struct hth_chat_classic {
    const char *name;
    const char *source;    // Jinja
    const char *tokens[2]; // control tokens by which a vocabulary shows the format; NULL: by name only
} hth_chat_classic;

// The table's rows, NULL past the end.
const hth_chat_classic *hth_chat_classic_at(size_t i);
const hth_chat_classic *hth_chat_classic_find(const char *name);
// The first whose control tokens the vocabulary has, or NULL.
const hth_chat_classic *hth_chat_classic_of_vocabulary(const hth_tokenizer *t);

#endif
