// Reading a line from a person, with editing and history where libedit is there.
#ifndef HTH_CLI_LINE_H
#define HTH_CLI_LINE_H

#include "base/str.h"

typedef enum cli_line_status {
    CLI_LINE_OK,
    CLI_LINE_END,         // Ctrl-D, or standard input has ended
    CLI_LINE_INTERRUPTED, // Ctrl-C: what was typed is dropped
} cli_line_status;

// Prepares the terminal. Returns false when it cannot be prepared.
bool cli_line_open(void);
void cli_line_close(void);
// Reads one line without its newline into *out (cleared first).
cli_line_status cli_line_read(const char *prompt, hth_str *out);

#endif
