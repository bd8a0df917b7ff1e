// A conversation: a model and the messages so far.
#ifndef HTH_CLI_CHAT_H
#define HTH_CLI_CHAT_H

#include "cli/adapters.h"
#include "cli/args.h"
#include "cli/dialect.h"
#include "cli/generate.h"
#include "cli/sampling.h"
#include "cli/structured.h"
#include "chat/budget.h"
#include "chat/infill.h"
#include "chat/template.h"

typedef struct cli_chat_params {
    int64_t n_predict, n_ctx, n_thread; // 0: the default
    uint64_t memory;                    // bytes, 0: the default
    cli_sampling sampling;              // what is not given is as the model's authors say, else the engine's default
    int activations;                    // hth_activations
    cli_kv kv;
    cli_list loras;
    const char *draft;                  // a model that guesses, NULL: none
    int64_t n_draft;                    // as hth_request_params
    const char *system;                 // NULL: none
    const char *format;                 // chat format by name, NULL: the model's template
    const char *template_file;          // a template that overrides, NULL: none
    const char *think, *tools;          // as cli_dialect_open
    int64_t think_budget;               // likewise
    bool numa, no_mmap;                 // hth_engine_params
    bool raw;                           // prompts go to the model as they are
    cli_structured_params structured;   // what an answer may be
    const char *suffix;                 // raw: what follows the gap that the answer fills, NULL: there is no gap
} cli_chat_params;

typedef struct cli_chat_entry {
    const char *role; // "system", "user", "assistant"
    char *text; // owned
    size_t n;
    hth_chat_answer answer; // of the assistant's; owned
} cli_chat_entry;

typedef struct cli_chat {
    hth_engine *engine;
    int64_t n_held; // tokens of the context that the last question and answer took
    hth_chat_template *format; // NULL: raw
    cli_dialect dialect;       // where there is a format
    const char *suffix;        // borrowed from the parameters
    hth_infill_format infill;  // where there is a suffix
    cli_sampler sampler;
    cli_adapters *adapters; // owned
    cli_structured structured; // owned
    int64_t n_predict, think_budget;
    int32_t n_draft;
    cli_chat_entry *entries; // [n] owned
    size_t n, cap;
    uint64_t load_ns;
} cli_chat;

HTH_NODISCARD hth_code cli_chat_open(const char *path, const cli_chat_params *p, cli_chat *out, hth_err *err);
void cli_chat_close(cli_chat *c);

// Asks and keeps question and answer; when it fails, neither. Raw: continues the text, keeps nothing. `sink` may be NULL.
HTH_NODISCARD hth_code cli_chat_ask(cli_chat *c, const char *text, size_t n, hth_chat_sink sink, void *user,
                                    cli_answer *out, hth_err *err);
// Forgets the conversation but its system text.
void cli_chat_clear(cli_chat *c);
// Sets or, with an empty text, removes the system text; the conversation starts over.
HTH_NODISCARD hth_code cli_chat_set_system(cli_chat *c, const char *text, hth_err *err);

#endif
