// A small tokenizer of every kind, for tests and fuzz targets that feed them any bytes.
#ifndef HTH_FUZZ_TOKENIZER_KINDS_H
#define HTH_FUZZ_TOKENIZER_KINDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tok_impl.h"

#define ADDED "\"added_tokens\":[" \
    "{\"id\":0,\"content\":\"<s>\",\"special\":true,\"normalized\":false}," \
    "{\"id\":1,\"content\":\"<|x|>\",\"special\":true,\"normalized\":true,\"lstrip\":true}," \
    "{\"id\":2,\"content\":\"ab\",\"special\":false,\"normalized\":true,\"single_word\":true," \
    "\"rstrip\":true}],"

static const char *const tokenizer_kinds[] = {
    // byte-level BPE
    "{" ADDED "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{@BYTES@,\"th\":300,"
    "\"the\":301,\"\\u0120the\":302,"
    "\"aa\":303,\"aaaa\":304},\"merges\":[\"t h\",\"th e\",\"\\u0120 the\",\"a a\",\"aa aa\"]}}",
    // characters with byte fallback
    "{" ADDED "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
    "\"prepend\":\"\\u2581\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},"
    "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,"
    "\"fuse_unk\":true,\"unk_token\":\"<s>\",\"vocab\":{@FALLBACK@,\"\\u2581\":300,\"a\":301,"
    "\"\\u2581a\":302,\"aa\":303,\"\\u00e9\":304},"
    "\"merges\":[[\"\\u2581\",\"a\"],[\"a\",\"a\"]]}}",
    // Unigram
    "{" ADDED "\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"Metaspace\","
    "\"replacement\":\"\\u2581\"},"
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<s>\",0],[\"<|x|>\",0],[\"ab\",-1.5],"
    "[\"\\u2581\",-2],[\"a\",-3],"
    "[\"b\",-3.5],[\"\\u2581a\",-4],[\"aa\",-4.5]]}}",
    // WordPiece
    "{" ADDED "\"normalizer\":{\"type\":\"BertNormalizer\"},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":3,\"a\":4,\"##a\":5,"
    "\"the\":6,\"##b\":7,\".\":8}}}",
};

// Writes the 256 tokens that stand for bytes, ids from 3 on: in the byte alphabet, or as <0x..>.
static void put_byte_tokens(hth_str *s, bool alphabet) {
    for (unsigned b = 0; b < 256; b++) {
        (void)hth_str_printf(s, alphabet ? "%s\"\\u%04x\":%u" : "%s\"<0x%02X>\":%u", b ? "," : "",
                             alphabet ? (unsigned)hth_byte_to_char[b] : b, b + 3);
    }
}

// Returns owned; aborts when it cannot be made.
static hth_tokenizer *make_tokenizer_kind(unsigned kind) {
    const char *text = tokenizer_kinds[kind];
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 1u << 20);
    for (const char *p = text; *p;) {
        bool alphabet = strncmp(p, "@BYTES@", 7) == 0, fallback = strncmp(p, "@FALLBACK@", 10) == 0;
        if (alphabet || fallback) {
            put_byte_tokens(&s, alphabet);
            p += alphabet ? 7 : 10;
        } else {
            (void)hth_str_putc(&s, *p++);
        }
    }
    hth_err err;
    hth_json_doc *doc = NULL;
    hth_tokenizer *t = NULL;
    if (hth_json_parse(s.p, s.len, 1u << 24, &doc, &err) != HTH_OK) abort();
    if (hth_tok_load_json(hth_json_root(doc), &t, &err) != HTH_OK) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    hth_json_free(doc);
    hth_str_free(&s);
    return t;
}

#endif
