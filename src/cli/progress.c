// The progress line: shown after a second, renewed ten times a second, removed at the end.
#include "cli/progress.h"

#include <stdio.h>

#include "os/clock.h"
#include "os/term.h"

#define SECOND_NS 1000000000u

cli_progress cli_progress_make(const char *what) {
    return (cli_progress){
        .what = what, .unit = "tokens", .scale = 1, .begin_ns = hth_clock_ns(), .first = -1, .is_tty = hth_term_is_stderr_tty()};
}

bool cli_progress_step(void *user, int64_t done, int64_t total) {
    cli_progress *p = user;
    if (hth_term_is_interrupted()) return false;
    if (p->first < 0) p->first = done;
    uint64_t now = hth_clock_ns();
    if (!p->is_tty || now - p->begin_ns < SECOND_NS || now - p->shown_ns < SECOND_NS / 10) return true;
    double speed = (double)(done - p->first) / ((double)(now - p->begin_ns) * 1e-9);
    fprintf(stderr, "\r\033[K%s: %.0f of %.0f %s, %.0f per second", p->what, (double)done / p->scale,
            (double)total / p->scale, p->unit, speed / p->scale);
    fflush(stderr);
    p->shown_ns = now;
    p->is_shown = true;
    return true;
}

void cli_progress_end(cli_progress *p) {
    if (p->is_shown) fputs("\r\033[K", stderr);
    p->is_shown = false;
}
