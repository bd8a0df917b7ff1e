// How the models of a family write: what opens and closes thoughts, and how calls of tools look. A row of a table
// for each; chat/output.h reads answers by it, chat/reasoning.h and hth_chat_format_grammar use it the other way.
#ifndef HTH_CHAT_FORMAT_H
#define HTH_CHAT_FORMAT_H

#include "base/str.h"
#include "chat/template.h"
#include "chat/tools.h"

typedef struct hth_chat_format hth_chat_format;

// The rows, NULL past the end, and one by name, NULL where there is none.
const hth_chat_format *hth_chat_format_at(size_t i);
const hth_chat_format *hth_chat_format_find(const char *name);
const char *hth_chat_format_name(const hth_chat_format *f);

// The row that a template's literals, or else a vocabulary, show; never NULL. Either may be NULL.
const hth_chat_format *hth_chat_format_of(const hth_chat_template *t, const hth_tokenizer *tokenizer);

// Whether the template, or else the format, knows thoughts at all: many models share a format's calls alone.
bool hth_chat_format_has_thoughts(const hth_chat_format *f, const hth_chat_template *t);

// What the end of a prompt leaves open.
typedef enum hth_chat_begins {
    HTH_CHAT_BEGINS_ANSWER,  // nothing: the answer may begin with a thought
    HTH_CHAT_BEGINS_THOUGHT, // a thought
    HTH_CHAT_BEGINS_CONTENT, // content: thinking is over or was put off
} hth_chat_begins;

// Looks at the end of a rendered prompt; tags count only where the template wrote them.
hth_chat_begins hth_chat_format_begins(const hth_chat_format *f, const hth_jinja_text *prompt);

// What ends a thought, with the line breaks that the template (NULL: unknown) writes around it. NULL where the family has
// no thoughts.
const char *hth_chat_format_ends_thought(const hth_chat_format *f, const hth_chat_template *t);
// What cuts a thought short (a budget, "stop thinking now"): text to be fed to the model, and to the parser, as if it had
// been generated. `words` come before the end; p NULL: those that the family's authors published, where they did. Appends to
// *out; nothing where the family has no thoughts.
void hth_chat_format_cut_thought(const hth_chat_format *f, const hth_chat_template *t, hth_chat_text words, hth_str *out);
// What makes an answer begin without a thought where the template cannot be told: text behind the prompt, by what its end
// leaves open. Appends to *out; nothing where the family has no thoughts.
void hth_chat_format_skip_thought(const hth_chat_format *f, const hth_chat_template *t, hth_chat_begins begins, hth_str *out);

typedef enum hth_chat_tool_choice {
    HTH_CHAT_TOOLS_AUTO,     // the model decides
    HTH_CHAT_TOOLS_NONE,     // no calls: the template is given no tools
    HTH_CHAT_TOOLS_REQUIRED, // at least one call
    HTH_CHAT_TOOLS_NAMED,    // a call of the one that is named
} hth_chat_tool_choice;

typedef struct hth_chat_grammar_params {
    const hth_chat_tools *tools;
    hth_chat_tool_choice choice;
    hth_chat_text name;     // of NAMED
    bool parallel;          // more than one call
    hth_chat_begins begins; // REQUIRED and NAMED: where a thought is open or may come, the grammar lets it end first
    const hth_tokenizer *tokenizer; // marks that are tokens of it are named as such; NULL: all are text
} hth_chat_grammar_params;

// A grammar (hth_grammar_from_lark) of calls in the family's own syntax, arguments by the tools' schemas. Templates write
// JSON with tojson, so HTH_SPACE_SPACED is its spelling.
// REQUIRED and NAMED: of the whole answer. AUTO: of what follows once the answer's text has come to one of
// hth_chat_format_trigger's, which the grammar begins with. Appends to *out. HTH_ERR_UNSUPPORTED where the format has
// no calls.
HTH_NODISCARD hth_code hth_chat_format_grammar(const hth_chat_format *f, const hth_chat_grammar_params *p, hth_str *out,
                                               hth_err *err);
// The i-th text that begins calls, NULL past the end. Some formats have none: calls are then told by what they hold.
const char *hth_chat_format_trigger(const hth_chat_format *f, size_t i);

#endif
