// What the two files that read tokenizer.json share.
#ifndef HTH_TEXT_LOAD_JSON_H
#define HTH_TEXT_LOAD_JSON_H

#include "text/tok_impl.h"

typedef struct json_loader {
    const hth_json *root, *model; // borrowed
    hth_tokenizer *t;
    hth_err *err;
    hth_str buf;      // scratch
    const char *cont; // of WordPiece
} json_loader;

// Fails as FORMAT with the position of `at` (may be NULL).
HTH_NODISCARD hth_code hth_json_fail(json_loader *l, const hth_json *at, const char *what);
// True when the member `key` is the string `text`.
bool hth_json_is(const hth_json *v, const char *key, const char *text);
// The steps of v: v itself, or the members of a (nested) Sequence under `key`. list has TOK_MAX_STEPS places.
HTH_NODISCARD hth_code hth_json_flatten(json_loader *l, const hth_json *v, const char *key,
                                        const hth_json **list, size_t *n);

HTH_NODISCARD hth_code hth_json_read_normalizer(json_loader *l);
// Also decides whether the model is byte-level.
HTH_NODISCARD hth_code hth_json_read_pre_tokenizer(json_loader *l);

#endif
