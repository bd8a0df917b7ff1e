// Terminal questions and the Ctrl-C flag. The handler touches nothing but two lock-free atomics.
#include "os/term.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static atomic_bool interrupted;

bool hth_term_is_stdin_tty(void) {
    return isatty(STDIN_FILENO) == 1;
}

bool hth_term_is_stdout_tty(void) {
    return isatty(STDOUT_FILENO) == 1;
}

bool hth_term_is_stderr_tty(void) {
    return isatty(STDERR_FILENO) == 1;
}

// The second signal before the first was taken restores the default action and sends itself again, so
// that the parent sees a process ended by SIGINT.
static void on_interrupt(int signal_number) {
    if (!atomic_exchange(&interrupted, true)) return;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void catch_signal(int signal_number) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt; // no SA_RESTART: a blocked read of the prompt returns
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

void hth_term_catch_interrupt(void) {
    catch_signal(SIGINT);
}

void hth_term_catch_stop(void) {
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
}

bool hth_term_take_interrupt(void) {
    return atomic_exchange(&interrupted, false);
}

bool hth_term_is_interrupted(void) {
    return atomic_load_explicit(&interrupted, memory_order_relaxed);
}

const atomic_bool *hth_term_interrupt_flag(void) {
    return &interrupted;
}
