// A row of the table of formats, for those who read answers by it and those who write grammars from it.
#ifndef HTH_CHAT_FORMAT_IMPL_H
#define HTH_CHAT_FORMAT_IMPL_H

#include "chat/format.h"

// How a call carries name and arguments.
typedef enum fmt_body {
    FMT_NONE,
    FMT_OBJECT, // {"name": "f", "arguments": {...}}
    FMT_KEYED,  // {"f": {...}}
    FMT_JSON,   // f, something, {...}
    FMT_PARAMS, // f, then keys and values between marks
    FMT_PYTHON, // f(key=value, ...)
    FMT_DICT,   // f{key:value, ...} with strings between marks
} fmt_body;

// One way to call. Lists of texts end with the first NULL; each of a list will do. Between all parts whitespace is passed
// over. A run of calls stands between `section` and `section_end`, each call between `open` and `close`, where a row has
// them:
//     section [ open name id_open id name_close arguments close , open ... close ] section_end
typedef struct fmt_calls {
    fmt_body body;
    const char *section[4], *section_end;
    const char *open[3], *close[3];
    bool own_section;        // each call has its own
    bool list;               // there are [ ] around the calls, and commas between them
    bool bare;               // an answer may begin with a call that nothing opens
    const char *name_end[4]; // what follows a name
    const char *name_stop[4]; // the same, but belongs to what comes next
    const char *id_open;     // between name and id
    bool id_first;           // the id, id_open, the name
    bool id_is_index;        // what stands there is a number, no id
    bool name_is_id;         // the name's place holds "functions.NAME:0", which is the id
    // OBJECT
    const char *key_id, *key_name, *key_args; // as templates write them; other usual spellings are read too
    bool id_last;            // the id comes after the arguments: nothing is told before it has come
    // PARAMS
    const char *key_open, *key_end, *value_open, *value_close;
    const char *string_mark; // among the attributes between key_end and value_open: the value is a string; others are JSON
    bool cdata;              // values may stand in <![CDATA[ ]]>
    bool newlines;           // one newline at either end of a value is not part of it
    // DICT
    const char *quote;
} fmt_calls;

typedef enum fmt_id { FMT_ID_CALL, FMT_ID_NINE, FMT_ID_KIMI } fmt_id;

#define FMT_MAX_CALLS 4

struct hth_chat_format {
    const char *name;
    const char *signs[3];                    // a template that holds all of them is of this format
    const char *think_open[4], *think_close[4];
    const char *ends_thought;                // what ends one that is cut short
    bool think_anywhere;                     // the tags are control tokens: they mean the same in the middle of a text
    bool calls_in_thought;                   // a call ends a thought
    bool channels;                           // messages with headers: <|channel|>analysis<|message|>
    const char *drop[8];                     // marks around content
    const char *before_calls, *after_calls;  // what models write there, where they do
    const char *start_drop;                  // a mark at the very beginning
    fmt_calls calls[FMT_MAX_CALLS];
    fmt_id id;
};

// What a family's authors have their models say where a thought is cut short, before its end.
typedef struct fmt_words {
    const char *format;   // the row, where a template holds all of
    const char *signs[4];
    const char *words;
} fmt_words;
const fmt_words *fmt_words_at(size_t i); // NULL past the end

#endif
