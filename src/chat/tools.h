// The tools a request offers, as OpenAI's API lists them.
#ifndef HTH_CHAT_TOOLS_H
#define HTH_CHAT_TOOLS_H

#include "base/arena.h"
#include "chat/message.h"
#include "formats/json.h"

typedef struct hth_chat_tool {
    hth_chat_text name;
    const hth_json *schema;    // its parameters, NULL: none given
    hth_chat_text schema_text; // the same as JSON
    bool strict;
    hth_chat_text grammar;     // Lark's, of its member `input`; p NULL: none
} hth_chat_tool;

typedef struct hth_chat_tools {
    const hth_chat_tool *items; // [n]
    size_t n;
} hth_chat_tools;

// From [{"type": "function", "function": {"name": ..., "parameters": {...}}}]; members without "type" and "function"
// around them are taken too. `text` [n] is the document that `v` was parsed from. Lives in `a`, borrows v and text.
// Errors name the tool.
HTH_NODISCARD hth_code hth_chat_tools_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                                                hth_chat_tools *out, hth_err *err);
// NULL where there is none of that name.
const hth_chat_tool *hth_chat_tools_find(const hth_chat_tools *t, const char *name, size_t n);

// The JSON of a part of its schema.
hth_chat_text hth_chat_tool_schema_text(const hth_chat_tool *t, const hth_json *part);

// Which kinds of values a schema allows for a member of the arguments; all of them where it does not say.
typedef enum hth_chat_kinds {
    HTH_CHAT_KIND_NULL = 1,
    HTH_CHAT_KIND_BOOL = 2,
    HTH_CHAT_KIND_NUMBER = 4,
    HTH_CHAT_KIND_STRING = 8,
    HTH_CHAT_KIND_ARRAY = 16,
    HTH_CHAT_KIND_OBJECT = 32,
    HTH_CHAT_KIND_ALL = 63,
} hth_chat_kinds;
unsigned hth_chat_tool_kinds(const hth_chat_tool *t, const char *key, size_t n);

#endif
