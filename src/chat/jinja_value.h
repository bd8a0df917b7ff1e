// Values that a template sees, as a caller builds them: from JSON, or piece by piece.
#ifndef HTH_CHAT_JINJA_VALUE_H
#define HTH_CHAT_JINJA_VALUE_H

#include "base/arena.h"
#include "base/err.h"
#include "formats/json.h"

typedef enum hth_jinja_kind {
    HTH_JINJA_MISSING, // no value at all; never seen by a template
    HTH_JINJA_UNDEFINED,
    HTH_JINJA_NONE,
    HTH_JINJA_BOOL,
    HTH_JINJA_INT,
    HTH_JINJA_BIG, // an integer beyond 64 bits, kept as its digits
    HTH_JINJA_FLOAT,
    HTH_JINJA_STR,
    HTH_JINJA_LIST,
    HTH_JINJA_TUPLE,
    HTH_JINJA_DICT,
    // what only templates make:
    HTH_JINJA_RANGE,
    HTH_JINJA_VIEW, // dict.keys(), values(), items()
    HTH_JINJA_ITER, // a generator
    HTH_JINJA_NAMESPACE,
    HTH_JINJA_MACRO,
    HTH_JINJA_LOOP,
    HTH_JINJA_FUNCTION,
    HTH_JINJA_METHOD,
    HTH_JINJA_CYCLER,
    HTH_JINJA_JOINER,
    HTH_JINJA_BLOCK, // self, and self.name
    HTH_JINJA_SLICE,
} hth_jinja_kind;

typedef struct hth_jinja_value {
    hth_jinja_kind kind;
    union {
        bool b;
        int64_t i;
        double d;
        const struct jj_str *s;
        const struct jj_list *list;
        struct jj_dict *dict;
        void *p;
    } u;
} hth_jinja_value;

// Whose bytes a string holds.
typedef enum hth_jinja_origin { HTH_JINJA_OF_TEMPLATE, HTH_JINJA_OF_CLIENT } hth_jinja_origin;

// Builders: everything lives in `a`. Text is copied and must be UTF-8. HTH_ERR_NOMEM when the arena is full.
HTH_NODISCARD hth_code hth_jinja_make_str(hth_arena *a, const char *text, size_t n, hth_jinja_origin origin,
                                          hth_jinja_value *out, hth_err *err);
// A list of n items, to be filled through *items before it is used.
HTH_NODISCARD hth_code hth_jinja_make_list(hth_arena *a, size_t n, hth_jinja_value *out,
                                           hth_jinja_value **items, hth_err *err);
HTH_NODISCARD hth_code hth_jinja_make_dict(hth_arena *a, hth_jinja_value *out, hth_err *err);
// Sets dict[key]; a key that is there keeps its place.
HTH_NODISCARD hth_code hth_jinja_set(hth_arena *a, const hth_jinja_value *dict, const char *key, size_t n_key,
                                     hth_jinja_origin origin, hth_jinja_value value, hth_err *err);
// How tojson prints the dict where it has no arguments of its own: text that is JSON of the same value. Nothing for others.
HTH_NODISCARD hth_code hth_jinja_set_spelling(hth_arena *a, hth_jinja_value *dict, const char *text, size_t n,
                                              hth_jinja_origin origin, hth_err *err);
// dict[key], or NULL; also NULL where `v` is no dict.
const hth_jinja_value *hth_jinja_get(const hth_jinja_value *v, const char *key);

// The value of JSON as Python's json module reads it. `text` is the document that `v` was parsed from: numbers
// are read from there, so that 1.0 stays a float and 2^70 keeps its digits.
HTH_NODISCARD hth_code hth_jinja_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                                           hth_jinja_origin origin, hth_jinja_value *out, hth_err *err);

#endif
