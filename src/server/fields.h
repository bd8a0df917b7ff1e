// Objects in requests, read by tables: a row names a field, says what it may be, what becomes of it, and what it means.
// The tables drive parsing, the messages of refusals with the field's path, docs/api.md and the generated tests.
//
//   honoured     stored at its place
//   ignored      understood, without effect here: named in the reply's header X-Hearth-Ignored
//   refused      any value but null and those that ask for nothing (false, 0, "", [], {}) is a 400 that says why
//   unknown      no row: tolerated as real servers do, and named in X-Hearth-Ignored
#ifndef HTH_SERVER_FIELDS_H
#define HTH_SERVER_FIELDS_H

#include "base/arena.h"
#include "chat/message.h"
#include "formats/json.h"
#include "server/fault.h"

// Reading one request: the document, where we are in it, and what could not be honoured.
typedef struct hth_fields {
    hth_arena *arena;   // borrowed: what is read lives there
    const char *text;   // [n_text] the document
    size_t n_text;
    hth_fault *fault;   // the first refusal
    const struct hth_field *row; // of the value being read by a CUSTOM reader
    char path[160];     // of the value being read, "" at the top
    char ignored[512];  // names for X-Hearth-Ignored, separated by ", "
} hth_fields;

typedef enum hth_field_kind {
    HTH_FIELD_BOOL,    // bool; its opposite where the row is `negated`
    HTH_FIELD_INT,     // int64_t in [lo, hi]; 4096.0 is a whole number too
    HTH_FIELD_NUM,     // double in [lo, hi]
    HTH_FIELD_TEXT,    // hth_chat_text
    HTH_FIELD_WORD,    // int: index in `words`
    HTH_FIELD_CUSTOM,  // `read` does it
    HTH_FIELD_IGNORED,
    HTH_FIELD_REFUSED,
} hth_field_kind;

typedef struct hth_field {
    const char *name;
    hth_field_kind kind;
    size_t offset;     // of the value in the struct that is filled
    double lo, hi;     // INT, NUM; both 0: any
    const char *words; // WORD: "low|medium|high"; else the kinds that CUSTOM takes, for docs: "string|array"
    // CUSTOM: reads *v into `to` (the whole struct). Returns false after a refusal.
    bool (*read)(hth_fields *f, const hth_json *v, void *to);
    size_t given;      // offset + 1 of a bool that is set where the field is there and not null; 0: none
    const char *help;  // what it means, or why it is refused or ignored: a line of docs/api.md
    bool required;
    bool negated;      // BOOL
} hth_field;

// Reads object *v by the table into `to`. null counts as absent. False after a refusal in f->fault.
HTH_NODISCARD bool hth_fields_read(hth_fields *f, const hth_field *table, size_t n, const hth_json *v, void *to);

// For CUSTOM readers: going into a member or an item changes the path; leaving restores it.
size_t hth_fields_enter(hth_fields *f, const char *key); // returns the mark for leave
size_t hth_fields_enter_item(hth_fields *f, size_t i);
void hth_fields_leave(hth_fields *f, size_t mark);
// Refuses the value at the path; returns false. `fmt` goes on after the path: "must be a string".
bool hth_fields_refuse(hth_fields *f, const char *fmt, ...) HTH_PRINTF(2, 3);
bool hth_fields_refuse_kind(hth_fields *f, const hth_json *v, const char *expected); // "must be X, not a number"
// Arrays of whole numbers in [lo, hi], and of texts; a single one counts as an array of one. In f->arena.
HTH_NODISCARD bool hth_fields_read_ids(hth_fields *f, const hth_json *v, int64_t lo, int64_t hi, const int32_t **out, size_t *n);
HTH_NODISCARD bool hth_fields_read_texts(hth_fields *f, const hth_json *v, const hth_chat_text **out, size_t *n);
// A member of object *v that must be there and be a string.
HTH_NODISCARD bool hth_fields_need_text(hth_fields *f, const hth_json *v, const char *key, hth_chat_text *out);
static inline hth_chat_text hth_json_text(const hth_json *v) { // of a string
    return (hth_chat_text){v->u.str, v->n};
}
// The value as it stands in the document.
hth_chat_text hth_fields_source(const hth_fields *f, const hth_json *v);
bool hth_fields_no_memory(hth_fields *f); // refuses; returns false
void hth_fields_ignore(hth_fields *f, const char *name); // adds a name to f->ignored
const char *hth_json_kind_word(const hth_json *v);       // "a string", "null", ...

#endif
