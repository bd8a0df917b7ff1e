// What the program prints: answers on standard output, everything else on standard error.
#ifndef HTH_CLI_OUT_H
#define HTH_CLI_OUT_H

#include "base/err.h"
#include "base/json_out.h"
#include "base/str.h"

// Exit codes.
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

// Standard output. Failures are remembered and judged once, by cli_finish.
void cli_print(const char *fmt, ...) HTH_PRINTF(1, 2);
void cli_write(const void *bytes, size_t n);
void cli_flush(void);
// Whether writing still makes sense: false when the reader has gone or the disk is full.
bool cli_can_write(void);
// Ends standard output: a reader that went away early is no error, a full disk is. Returns the exit code.
int cli_finish(int code);

// Text from a model for a terminal or a line: control characters but newline and tab are shown as '?' where
// standard output is a terminal, so that a model cannot move the cursor or retitle the window.
void cli_write_text(const char *text, size_t n);

// One line "hearth: ..." on standard error. Returns CLI_FAILED.
int cli_error(const char *fmt, ...) HTH_PRINTF(1, 2);
int cli_fail(const hth_err *err);
// One line "hearth COMMAND: ..." with a pointer to its help. Returns CLI_USAGE. `command` may be NULL.
int cli_usage_error(const char *command, const char *fmt, ...) HTH_PRINTF(2, 3);

// Prints a finished JSON text and a newline; an allocation failure while it was written is an error.
int cli_print_json(hth_str *text);

// "1.2 GB" with decimal units; `text` has room for 16.
const char *cli_bytes(uint64_t n, char text[16]);

#endif
