// Terminal and Ctrl-C.
#include "os/term.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

bool hth_term_is_stdin_tty(void) {
    return isatty(STDIN_FILENO) == 1;
}

bool hth_term_is_stdout_tty(void) {
    return isatty(STDOUT_FILENO) == 1;
}

static void on_interrupt(int signal_number) {
    if (interrupted) { // asked twice and nobody looked: end as if we had never caught it
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    interrupted = 1;
}

void hth_term_catch_interrupt(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool hth_term_take_interrupt(void) {
    bool was = interrupted != 0;
    interrupted = 0;
    return was;
}

bool hth_term_is_interrupted(void) {
    return interrupted != 0;
}
