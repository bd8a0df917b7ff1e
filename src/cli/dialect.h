// How a conversation's model answers and what it is asked for: the format of its answers, thinking, tools.
#ifndef HTH_CLI_DIALECT_H
#define HTH_CLI_DIALECT_H

#include "chat/output.h"
#include "chat/reasoning.h"

typedef struct cli_dialect {
    const hth_chat_format *format;
    hth_chat_reasoning reasoning;
    hth_chat_reasoning_plan plan;
    hth_arena arena;          // of what follows
    hth_jinja_value kwargs;   // for the template
    hth_str text;             // of the tools' file
    hth_json_doc *doc;        // its tree
    hth_chat_tools tools;     // items NULL: none
    hth_jinja_value tool_list;
} cli_dialect;

// `think` is a word of hth_chat_reasoning_parse, `tools` the path of a JSON file; both may be NULL.
// `think_budget`: most tokens of thoughts, 0: no limit; the chat keeps to it, here templates are told that want to know. What the model's
// family cannot be asked for is an error. *out is to be freed also after one.
HTH_NODISCARD hth_code cli_dialect_open(cli_dialect *out, const hth_chat_template *t, const hth_tokenizer *tokenizer,
                                        const char *think, int64_t think_budget, const char *tools, hth_err *err);
void cli_dialect_free(cli_dialect *d);

// Prints an answer as it comes: thoughts fold into one grey line of a terminal, and appear nowhere else.
typedef struct cli_printer {
    bool is_thinking;
    uint64_t begin_ns; // of the thought
    int64_t n_word;
    bool in_word;
    char line[64]; // the thought's latest bytes, without line breaks
    size_t n_line;
} cli_printer;

hth_code cli_printer_take(void *user, const hth_chat_delta *d, hth_err *err); // a hth_chat_sink; `user` is the printer
void cli_printer_end(cli_printer *p);

#endif
