// The terminal side of a process: is it a person, was Ctrl-C pressed, standard streams.
#ifndef HTH_OS_TERM_H
#define HTH_OS_TERM_H

#include <stdatomic.h>
#include <stdbool.h>

bool hth_term_is_stdin_tty(void);
bool hth_term_is_stdout_tty(void);
bool hth_term_is_stderr_tty(void);

// Turns Ctrl-C (SIGINT) into a flag. The second Ctrl-C before the flag is taken ends the process.
void hth_term_catch_interrupt(void);
// The same for SIGTERM and SIGHUP too: for a job that has something to put away before it ends.
void hth_term_catch_stop(void);
// Returns whether Ctrl-C came since the last call, and clears the flag.
bool hth_term_take_interrupt(void);
// The flag itself, for cancellation checks that must not clear it.
bool hth_term_is_interrupted(void);

// The same for code that takes a pointer to a flag (hth_step.cancel).
const atomic_bool *hth_term_interrupt_flag(void);

#endif
