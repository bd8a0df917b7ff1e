// JSON reader for files that come with models (config.json, tokenizer.json, headers of
// safetensors). RFC 8259; a whole document becomes one read-only tree inside one arena.
// Strict: no comments, no trailing commas, one value, valid UTF-8, no lone surrogates, no number
// beyond a double's range. Integers that fit int64 are kept exactly beside the double. No recursion;
// nesting is limited to HTH_JSON_MAX_DEPTH, a document to 4 GiB.
// Deviation, stated: NaN, Infinity and -Infinity are accepted as Python's json module writes them.
#ifndef HTH_FORMATS_JSON_H
#define HTH_FORMATS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HTH_JSON_MAX_DEPTH 128

typedef enum hth_json_kind {
    HTH_JSON_NULL, HTH_JSON_BOOL, HTH_JSON_NUMBER, HTH_JSON_STRING, HTH_JSON_ARRAY, HTH_JSON_OBJECT
} hth_json_kind;

// One value. Children of arrays and objects lie contiguously; an object's member is (key, value).
typedef struct hth_json {
    hth_json_kind kind;
    bool is_int;     // NUMBER without fraction or exponent that fits int64
    uint32_t n;      // children of ARRAY, members of OBJECT, bytes of STRING
    uint64_t pos;    // byte offset in the document, for messages
    union {
        bool b;
        struct { double d; int64_t i; } num;
        const char *str; // unescaped, zero-terminated, may contain zeros; `n` bytes
        const struct hth_json *items;          // ARRAY: n values
        const struct hth_json_member *members; // OBJECT: n members in document order
    } u;
} hth_json;

typedef struct hth_json_member {
    const char *key; // zero-terminated
    uint32_t key_len;
    hth_json value;
} hth_json_member;

typedef struct hth_json_doc hth_json_doc;

// Parses n bytes. `max_bytes` bounds the memory of the tree, n bytes for strings included; the scratch
// of parsing may take as much again. Passing it is HTH_ERR_LIMIT. Returns owned; the text may be freed after.
// A duplicate key is an error. Errors carry the byte position.
HTH_NODISCARD hth_code hth_json_parse(const char *text, size_t n, uint64_t max_bytes, hth_json_doc **out,
                                      hth_err *err);
void hth_json_free(hth_json_doc *doc);
const hth_json *hth_json_root(const hth_json_doc *doc);

// Bytes of the document [n] that the value takes, from v->pos on. The document is the one that v was parsed from.
size_t hth_json_extent(const char *text, size_t n, const hth_json *v);

// Member of an object by key, or NULL (also when v is NULL or not an object), so that look-ups chain.
const hth_json *hth_json_get(const hth_json *v, const char *key);
// Typed reads with a default for absent or null. Whole numbers written as 4096.0 or 1e6 are integers
// too. A value of another kind gives the default too and,
// where `bad` is not NULL and still NULL, stores the offending value in *bad, so that validation can name it.
int64_t hth_json_int(const hth_json *v, const char *key, int64_t dflt, const hth_json **bad);
double hth_json_num(const hth_json *v, const char *key, double dflt, const hth_json **bad);
bool hth_json_bool(const hth_json *v, const char *key, bool dflt, const hth_json **bad);
const char *hth_json_str(const hth_json *v, const char *key, const char *dflt, const hth_json **bad);

#endif
