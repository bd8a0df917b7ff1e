// A small vocabulary for tests of grammars and their fuzz targets: all bytes, pieces of JSON, an end and a control token.
#ifndef HTH_TEST_GRAMMAR_TOY_H
#define HTH_TEST_GRAMMAR_TOY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "text/tok_impl.h"

enum { TOY_BYTES = 0, TOY_PIECES = 256 }; // token of byte b: b

static const char *const toy_pieces[] = {
    "\\\":", "\\\",", "{\\\"", "\\\"}", "\\u0120\\\"", "ab", "abc", "abcdef", "\\u0120the", "\\u0120quick", "true", "false",
    "null", "12", "345", "\\u010a\\u0120\\u0120", "\\u0120\\u0120\\u0120\\u0120", "\\u00c3\\u00a9", "]]", "}}", "\\\\\\\"", "\\\\u", "x\\\":",
    "\\\",\\u0120\\\"", "longer_than_the_groups_of_plain_text_are_made_for", "\\u00e2\\u0124", "{}", "[]", "0.", "1.5", "e+",
};

// Returns owned; ends the program where it cannot be made. The last two tokens are </s> (the end) and <|call|>.
static inline hth_tokenizer *toy_tokenizer(void) {
    hth_str s;
    hth_err err;
    hth_json_doc *doc = NULL;
    hth_tokenizer *t = NULL;
    const unsigned n = TOY_PIECES + (unsigned)HTH_COUNT(toy_pieces);
    hth_str_init(&s, HTH_MEM_TEXT, 1u << 20);
    (void)hth_str_printf(&s, "{\"added_tokens\":[{\"id\":%u,\"content\":\"</s>\",\"special\":true},{\"id\":%u,\"content\":"
                             "\"<|call|>\",\"special\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                             "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{",
                         n, n + 1);
    for (unsigned b = 0; b < 256; b++) (void)hth_str_printf(&s, "\"\\u%04x\":%u,", (unsigned)hth_byte_to_char[b], b);
    for (unsigned i = 0; i < HTH_COUNT(toy_pieces); i++) {
        (void)hth_str_printf(&s, "%s\"%s\":%u", i ? "," : "", toy_pieces[i], TOY_PIECES + i);
    }
    (void)hth_str_puts(&s, "}}}");
    if (hth_json_parse(s.p, s.len, 1u << 24, &doc, &err) != HTH_OK || hth_tok_load_json(hth_json_root(doc), &t, &err) != HTH_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    hth_json_free(doc);
    hth_str_free(&s);
    return t;
}

// The bytes that a token writes, found without the code under test; NULL for special ones.
static inline const char *toy_text(const hth_tokenizer *t, int32_t id, size_t *n) {
    return hth_tokenizer_bytes(t, id, n);
}

#endif
