// Inside the reader of answers. It looks at the text that is not yet used up (`in` from `at` on) and either uses some
// of it or says that it needs more; a decision, once there is enough to make it, never depends on what comes later, so
// cutting the text differently changes nothing.
#ifndef HTH_CHAT_OUTPUT_IMPL_H
#define HTH_CHAT_OUTPUT_IMPL_H

#include <string.h>

#include "chat/format_impl.h"
#include "chat/output.h"

#define OUT_MAX_NAME 256    // bytes of a tool's name, a key's or an id's place
#define OUT_MAX_HEADER 1024 // bytes of a message's header
#define OUT_MAX_LEVELS 64   // nesting of a Python literal

typedef enum out_state {
    OUT_TEXT,
    OUT_THOUGHT,
    OUT_HEADER,  // of a message in a channel
    OUT_BETWEEN, // calls, in a run of them
    OUT_ARGS,
    OUT_REST,    // of an object, behind the arguments
    OUT_CLOSE,   // of a call
} out_state;

typedef enum out_role { OUT_OPENS_THOUGHT, OUT_CLOSES_THOUGHT, OUT_OPENS_CALL, OUT_DROPPED, OUT_ENDS_MESSAGE } out_role;

typedef struct out_mark {
    const char *p;
    size_t n;
    out_role role;
} out_mark;

#define OUT_MAX_MARKS 64

// Arguments that are JSON.
typedef struct out_json {
    enum { OUT_JSON_START, OUT_JSON_RAW, OUT_JSON_QUOTED, OUT_JSON_SCALAR } mode;
    int64_t depth;
    bool in_string, is_escaped;
} out_json;

// Arguments between marks.
typedef struct out_params {
    enum { OUT_PARAM_KEY, OUT_PARAM_STRING, OUT_PARAM_VALUE } mode;
    bool has_any, at_start, in_cdata;
    unsigned kinds;
} out_params;

// Arguments in Python's spelling, or Gemma's.
typedef struct out_literal {
    uint64_t is_dict; // a bit for each open bracket
    int depth;
    bool begun, comma, want_key, after_key, want_value, after_value, is_raw;
    uint8_t quote;    // of the open string: 0 none, 1 ", 2 ', 3 """, 4 ''', 5 the format's
    size_t n_position; // of arguments without a name
} out_literal;

struct hth_chat_output {
    hth_chat_output_params p;
    const hth_chat_format *f;
    hth_str in;
    size_t at, retry_at;
    hth_str held;   // whitespace that is told when text follows
    hth_str run;    // what is told at the end of a feed
    hth_chat_delta_kind run_kind;
    hth_str value;  // a value that is told when its type is known
    hth_str *instead; // where arguments go while they are tried; else NULL
    hth_str name, id;
    hth_code code;  // of the first failure
    hth_err err;
    out_state state;
    bool skip_space, said, thought_seen, bare_run, in_section, in_list, is_over;
    bool in_call, has_args;
    const fmt_calls *calls; // of the call at work
    const hth_chat_tool *tool;
    int n_open;             // brackets around the arguments
    int32_t n_call;
    union {
        out_json json;
        out_params params;
        out_literal literal;
    };
    out_mark marks[OUT_MAX_MARKS];
    size_t n_mark;
    const char **controls;  // [n_control] sorted; owned
    size_t *control_len;
    size_t n_control;
    uint8_t is_first[256];  // bytes that a mark may begin with
};

static inline bool out_is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

typedef enum out_found { OUT_NO, OUT_MORE, OUT_YES } out_found;

// Which of `list` the text begins with: the longest; OUT_MORE while a longer one may still come.
out_found out_match(const char *const *list, size_t n_list, const char *p, size_t n, bool at_end, size_t *len);

void out_emit(hth_chat_output *o, hth_chat_delta_kind kind, const char *p, size_t n);
void out_args(hth_chat_output *o, const char *p, size_t n);
void out_args_text(hth_chat_output *o, const char *text);
void out_args_escaped(hth_chat_output *o, const char *p, size_t n); // as the inside of a JSON string
void out_args_char(hth_chat_output *o, uint32_t c);                 // the same for one character
void out_fail(hth_chat_output *o, hth_code code);
void out_hold(hth_chat_output *o, hth_str *s, const char *p, size_t n);

void out_begin_call(hth_chat_output *o, const fmt_calls *c, const hth_chat_tool *tool);
void out_end_call(hth_chat_output *o, bool is_cut);

// Steps: how many bytes were used. *more: nothing further can be said before more text has come.
// *done: the arguments are complete.
size_t out_step_json(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done);
size_t out_step_params(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done);
size_t out_step_literal(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done);
size_t out_step_header(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more);
// Whether a mark that closes the call, or the run of calls, stands here.
out_found out_match_close(const hth_chat_output *o, const char *p, size_t n, bool at_end);
// Behind arguments: the rest of an object, until `n_open` brackets are closed.
size_t out_step_rest(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more);
// The answer ends within a value.
void out_finish_params(hth_chat_output *o);

// The beginning of a call, up to its arguments.
typedef struct out_head {
    const fmt_calls *calls;
    const hth_chat_tool *tool;
    size_t n_used;
    size_t args, n_args; // where the arguments lie when they come first; n_args 0: they follow
    bool is_whole;       // the call is over: there are no more arguments to come
    bool in_section, in_list;
    int n_open;
} out_head;

typedef enum out_place { OUT_AT_MARK, OUT_IN_RUN, OUT_BARE } out_place;

// Looks for a call in the format's ways to call (`only`, or all where it is NULL). Name and id are then in o->name and o->id.
out_found out_find_head(hth_chat_output *o, const fmt_calls *only, out_place place, const char *p, size_t n, bool at_end,
                        out_head *h);
// Whether the name's tool may be called; *tool may be NULL for OUT_YES with any_tool.
bool out_find_tool(const hth_chat_output *o, const char *name, size_t n, const hth_chat_tool **tool);

#endif
