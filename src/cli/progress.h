// A line on standard error for work that takes longer than a second, when a person is watching. Also
// where Ctrl-C stops long work: the callback returns false.
#ifndef HTH_CLI_PROGRESS_H
#define HTH_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cli_progress {
    const char *what; // "reading the prompt"
    const char *unit; // "tokens"
    double scale;     // of the unit, in what is counted
    uint64_t begin_ns, shown_ns;
    int64_t first; // `done` of the first call
    bool is_tty, is_shown;
} cli_progress;

cli_progress cli_progress_make(const char *what);
// A hth_progress_fn; `user` is a cli_progress.
bool cli_progress_step(void *user, int64_t done, int64_t total);
// Clears the line.
void cli_progress_end(cli_progress *p);

#endif
