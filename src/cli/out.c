// Standard output with its failures remembered, and the one-line errors.
#include "cli/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "os/term.h"

static int write_error; // errno of the first failed write, 0: none

static void note_failure(void) {
    if (write_error == 0) write_error = errno ? errno : EIO;
}

void cli_print(const char *fmt, ...) {
    if (write_error) return;
    va_list args;
    va_start(args, fmt);
    if (vfprintf(stdout, fmt, args) < 0) note_failure();
    va_end(args);
}

void cli_write(const void *bytes, size_t n) {
    if (!write_error && n > 0 && fwrite(bytes, 1, n, stdout) != n) note_failure();
}

void cli_flush(void) {
    if (!write_error && fflush(stdout) != 0) note_failure();
}

bool cli_can_write(void) {
    return write_error == 0;
}

int cli_finish(int code) {
    cli_flush();
    if (write_error == 0 || write_error == EPIPE) return code;
    return cli_error("cannot write to standard output: %s", strerror(write_error));
}

void cli_write_text(const char *text, size_t n) {
    if (!hth_term_is_stdout_tty()) {
        cli_write(text, n);
        return;
    }
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t') continue;
        cli_write(text + from, i - from);
        cli_write("?", 1);
        from = i + 1;
    }
    cli_write(text + from, n - from);
}

int cli_error(const char *fmt, ...) {
    cli_flush();
    va_list args;
    va_start(args, fmt);
    fputs("hearth: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return CLI_FAILED;
}

int cli_fail(const hth_err *err) {
    return cli_error("%s", err->msg);
}

int cli_usage_error(const char *command, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "hearth%s%s: ", command ? " " : "", command ? command : "");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, " (see hearth%s%s --help)\n", command ? " " : "", command ? command : "");
    va_end(args);
    return CLI_USAGE;
}

int cli_print_json(hth_str *text) {
    if (text->failed) return cli_error("out of memory");
    cli_print("%s\n", hth_str_text(text));
    return CLI_OK;
}

const char *cli_bytes(uint64_t n, char text[16]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)n;
    size_t unit = 0;
    while (v >= 999.5 && unit + 1 < HTH_COUNT(units)) {
        v /= 1000;
        unit++;
    }
    snprintf(text, 16, unit > 0 && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return text;
}
