// Chat templates: the Jinja that the transformers library sets up (an immutable sandbox with loop controls,
// trim_blocks and lstrip_blocks), compiled once to a tree and rendered from an arena.
// A template comes from a model file and is hostile: nesting, steps, memory and output have limits, and the
// error says which one was passed. What a template writes is told apart from what a client wrote: every
// string carries the provenance of its bytes through all operations, and the result is a list of segments.
#ifndef HTH_CHAT_JINJA_H
#define HTH_CHAT_JINJA_H

#include "chat/jinja_value.h"
#include "os/clock.h"
#include "text/tokenizer.h"

#define HTH_JINJA_MAX_SOURCE ((size_t)1 << 20) // bytes of a template

typedef struct hth_jinja hth_jinja;

typedef struct hth_jinja_limits {
    uint64_t max_steps;       // nodes evaluated, and bytes moved / 64
    uint64_t max_bytes;       // memory of one rendering
    uint64_t max_out_bytes;   // of the result, and of any one string
    int max_depth;            // nested evaluation: expressions, blocks, macro calls
} hth_jinja_limits;

// What is used where no limits are given.
hth_jinja_limits hth_jinja_default_limits(void);

// Compiles n bytes of source, which must be UTF-8. Errors tell line and reason as jinja2 does. Returns owned;
// immutable, so that any number of threads may render it.
HTH_NODISCARD hth_code hth_jinja_compile(const char *source, size_t n, hth_jinja **out, hth_err *err);
void hth_jinja_free(hth_jinja *t);

// Whether the source's literals (text outside of tags, and string constants) hold `word`.
bool hth_jinja_has_literal(const hth_jinja *t, const char *word, size_t n);

// Broken-down local time, as strftime_now prints it.
typedef hth_local_time hth_jinja_time;

// The text of a rendering: consecutive segments of template bytes and client bytes (is_user).
typedef struct hth_jinja_text {
    hth_text_segment *segments; // [n], and the bytes they point to: one owned block
    size_t n;
    uint32_t line;              // after a failure: the template's line, 0 unknown
} hth_jinja_text;

// Renders with the variables of `vars` (a dict, see chat/jinja_value.h; they stay unchanged and are
// borrowed). `limits` and `now` may be NULL (the defaults; the clock). On failure *out holds only the line.
HTH_NODISCARD hth_code hth_jinja_render(const hth_jinja *t, const hth_jinja_value *vars,
                                        const hth_jinja_limits *limits, const hth_jinja_time *now,
                                        hth_jinja_text *out, hth_err *err);
void hth_jinja_text_free(hth_jinja_text *text);

#endif
