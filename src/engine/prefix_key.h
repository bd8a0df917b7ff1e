// What a sequence holds, as one string of bytes: two sequences begin alike exactly as far as their keys do.
//
//   key = domain, then for each token the bytes that it stands for in a text; a token that stands for itself (control
//   tokens, rows of an image) is a mark with its number or hash instead
//
// So a typed "<|im_end|>" never equals the token, and the same text has the same key however it was cut into tokens.
// Marks begin with a byte 0xff, and a 0xff of a text is followed by a zero.
#ifndef HTH_ENGINE_PREFIX_KEY_H
#define HTH_ENGINE_PREFIX_KEY_H

#include "text/tokenizer.h"

typedef struct hth_prefix_text {
    const void *domain; // [n_domain] what must be equal before tokens are compared: adapters, a tenant's salt
    size_t n_domain;
    const hth_token *tokens; // [n] -1: a row that is no token
    const uint64_t *media;   // [n] hashes of the rows that are no tokens; NULL where there are none
    size_t n;
} hth_prefix_text;

typedef struct prefix_key {
    uint8_t *bytes; // [n_bytes] owned
    uint32_t *ends; // [n] owned: bytes up to the end of each token
    size_t n_bytes, n_head, n; // n_head: of the domain
} prefix_key;

// `t` may be NULL: then each token stands for itself.
HTH_NODISCARD hth_code prefix_key_make(const hth_tokenizer *t, const hth_prefix_text *text, prefix_key *out,
                                       hth_err *err);
void prefix_key_free(prefix_key *k);
// Bytes in which both are equal from the beginning on.
size_t prefix_key_common(const prefix_key *a, const prefix_key *b);
// Tokens of k that end within its first n_bytes.
size_t prefix_key_tokens(const prefix_key *k, size_t n_bytes);

#endif
