// Requests as commands make them: submitted, read to the end, stopped by Ctrl-C. And the one that writes an answer:
// prompt tokens in, text out as it comes.
#ifndef HTH_CLI_GENERATE_H
#define HTH_CLI_GENERATE_H

#include "chat/output.h"
#include "engine/engine.h"

// Told of each event; what fails here, or in the request, ends it.
typedef hth_code (*cli_event_fn)(void *user, const hth_event *e, hth_err *err);

// Hands the events of a request to `fn` (may be NULL) until the end, also after a failure. Ctrl-C cancels it.
HTH_NODISCARD hth_code cli_read_events(hth_request *r, cli_event_fn fn, void *user, hth_err *err);
// Submits one and does the same; afterwards nothing that it borrows is in use. Ctrl-C is HTH_ERR_CANCELLED.
HTH_NODISCARD hth_code cli_request(hth_engine *e, const hth_request_params *params, cli_event_fn fn, void *user, hth_err *err);

typedef enum cli_stop {
    CLI_STOP_END,         // the model ended its answer
    CLI_STOP_LIMIT,       // as many tokens as were asked for
    CLI_STOP_CONTEXT,     // the context is full
    CLI_STOP_INTERRUPTED, // Ctrl-C
} cli_stop;

typedef struct cli_answer {
    hth_str text;         // all of it; owned
    hth_chat_answer read; // the same as thoughts, content and calls, where a chat was asked; owned
    cli_stop stop;
    int64_t n_prompt, n_cached, n_generated; // tokens; cached: of the prompt, computed before
    int64_t n_step;                          // tokens that decode_ns went into: the first one comes with the prompt
    uint64_t prefill_ns, decode_ns;
    int64_t n_drafted, n_accepted; // tokens that were guessed, and guessed right
    int64_t n_forced;                 // tokens that nothing was chosen for
} cli_answer;

// Submits one completion and waits for its end, or until Ctrl-C is pressed. Text goes to `sink` (may be NULL) in whole
// characters and is kept in out->text; a sink that returns false stops as Ctrl-C does. On error *out holds nothing.
typedef bool (*cli_text_sink)(void *user, const char *text, size_t n);
// `stop` (may be NULL) is told of each Ctrl-C first: true where it has found something less to end than the answer.
typedef bool (*cli_stop_fn)(void *user);
HTH_NODISCARD hth_code cli_generate(hth_engine *e, const hth_request_params *params, cli_text_sink sink, cli_stop_fn stop,
                                    void *user, cli_answer *out, hth_err *err);
void cli_answer_free(cli_answer *a);

const char *cli_stop_name(cli_stop stop); // "stop", "length" (limit and context), "interrupted"

#endif
