// The conversation at the terminal.
#ifndef HTH_CLI_REPL_H
#define HTH_CLI_REPL_H

#include "cli/chat.h"

// Talks until the person leaves. `after` is called with each answer (timings). Returns the exit code.
typedef void (*cli_after_fn)(const cli_chat *c, const cli_answer *a);
int cli_repl(cli_chat *c, cli_after_fn after);

// Prints why an answer ended when that is not the model's own decision.
void cli_print_stop(const cli_chat *c, const cli_answer *a);

#endif
