// The log's sink and its lines.
#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json_out.h"

#define MAX_LINE ((size_t)64 << 10)
#define MAX_BODY_LINE ((size_t)256 << 20)

struct hth_logger {
    int fd, body_fd; // -1: none
    bool owns_fd, is_json, access;
    int min_level;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void hth_time_text(char out[32]) {
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    const size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out + n, 32 - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

// One call where the system takes it, so that lines of several threads do not mix. A log that cannot be
// written must not stop the server.
static void write_line(int fd, hth_str *line) {
    hth_str_putc(line, '\n');
    if (line->failed) return;
    for (size_t at = 0; at < line->len;) {
        const ssize_t n = write(fd, line->p + at, line->len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        at += (size_t)n;
    }
}

static hth_json_out begin_json(hth_str *line, const char *level, const char *event) {
    char now[32];
    hth_time_text(now);
    hth_json_out j = hth_json_out_make(line, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "time", now);
    hth_json_out_text(&j, "level", level);
    if (event) hth_json_out_text(&j, "event", event);
    return j;
}

static void sink(hth_log_level level, const char *text, void *user) {
    const hth_logger *l = user;
    hth_str line;
    char now[32];
    if ((int)level < l->min_level) return;
    hth_str_init(&line, HTH_MEM_MISC, MAX_LINE);
    if (l->is_json) {
        hth_json_out j = begin_json(&line, level_names[level], NULL);
        hth_json_out_text(&j, "message", text);
        hth_json_out_end(&j, '}');
    } else {
        hth_time_text(now);
        hth_str_printf(&line, "%s %-5s %s", now, level_names[level], text);
    }
    write_line(l->fd, &line);
    hth_str_free(&line);
}

static hth_code open_file(const char *path, int mode, int *fd, hth_err *err) {
    *fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, mode);
    return *fd < 0 ? hth_fail(err, HTH_ERR_IO, "%s: the log cannot be opened for writing", path) : HTH_OK;
}

hth_code hth_logger_new(const hth_config *c, int fd, hth_logger **out, hth_err *err) {
    *out = NULL;
    hth_logger *l = hth_calloc(HTH_MEM_MISC, 1, sizeof *l);
    if (!l) return hth_fail_nomem(err, sizeof *l);
    *l = (hth_logger){.fd = fd,
                      .body_fd = -1,
                      .is_json = c->log_format == HTH_LOG_JSON,
                      .access = c->access_log,
                      .min_level = c->log_level};
    hth_code code = HTH_OK;
    if (c->log_file) {
        code = open_file(c->log_file, 0666, &l->fd, err);
        l->owns_fd = code == HTH_OK;
    }
    if (code == HTH_OK && c->request_log) code = open_file(c->request_log, 0600, &l->body_fd, err);
    if (code != HTH_OK) {
        hth_logger_free(l);
        return code;
    }
    hth_log_set_sink(sink, l, HTH_LOG_DEBUG);
    *out = l;
    return HTH_OK;
}

void hth_logger_free(hth_logger *l) {
    if (!l) return;
    hth_log_set_sink(NULL, NULL, HTH_LOG_ERROR);
    if (l->owns_fd) close(l->fd);
    if (l->body_fd >= 0) close(l->body_fd);
    hth_free(l);
}

static double ms(uint64_t ns) {
    return (double)(ns / 1000) * 1e-3;
}

static void access_json(const hth_access_line *a, hth_str *line) {
    hth_json_out j = begin_json(line, "info", "request");
    hth_json_out_text(&j, "method", a->method);
    hth_json_out_text(&j, "path", a->path);
    hth_json_out_int(&j, "status", a->status);
    hth_json_out_num(&j, "ms", ms(a->elapsed_ns));
    hth_json_out_text(&j, "address", a->address);
    if (a->key && *a->key) hth_json_out_text(&j, "key", a->key);
    if (a->model) hth_json_out_text(&j, "model", a->model);
    if (a->first_ns) hth_json_out_num(&j, "first_ms", ms(a->first_ns));
    if (a->usage) {
        hth_json_out_int(&j, "n_prompt", a->usage->n_prompt);
        hth_json_out_int(&j, "n_cached", a->usage->n_cached);
        hth_json_out_int(&j, "n_output", a->usage->n_output);
        hth_json_out_num(&j, "queued_ms", ms(a->usage->queued_ns));
        hth_json_out_num(&j, "prefill_ms", ms(a->usage->prefill_ns));
        hth_json_out_num(&j, "generate_ms", ms(a->usage->generate_ns));
    }
    hth_json_out_end(&j, '}');
}

// Paths come from outside: what could break a line or a terminal is shown by its number.
static void put_safe(hth_str *to, const char *text) {
    for (; text && *text; text++) {
        if ((unsigned char)*text > ' ' && *text != 0x7f)
            hth_str_putc(to, *text);
        else
            hth_str_printf(to, "\\x%02x", (unsigned)(unsigned char)*text);
    }
}

static void access_text(const hth_access_line *a, hth_str *line) {
    char now[32];
    hth_time_text(now);
    hth_str_printf(line, "%s info  %s %s ", now, a->address ? a->address : "-", a->method ? a->method : "-");
    put_safe(line, a->path);
    if (a->status)
        hth_str_printf(line, " %d", a->status);
    else
        hth_str_puts(line, " left");
    hth_str_printf(line, " %.1f ms", ms(a->elapsed_ns));
    if (a->model) {
        hth_str_putc(line, ' ');
        put_safe(line, a->model);
    }
    if (!a->usage) return;
    hth_str_printf(line, " %lld+%lld tokens, %lld cached", (long long)a->usage->n_prompt,
                   (long long)a->usage->n_output, (long long)a->usage->n_cached);
    if (a->first_ns) hth_str_printf(line, ", first after %.1f ms", ms(a->first_ns));
}

void hth_logger_access(hth_logger *l, const hth_access_line *a) {
    hth_str line;
    if (!l->access || l->min_level > HTH_LOG_INFO) return;
    hth_str_init(&line, HTH_MEM_MISC, MAX_LINE);
    if (l->is_json)
        access_json(a, &line);
    else
        access_text(a, &line);
    write_line(l->fd, &line);
    hth_str_free(&line);
}

bool hth_logger_wants_bodies(const hth_logger *l) {
    return l->body_fd >= 0;
}

void hth_logger_body(hth_logger *l, const char *method, const char *path, const char *body, size_t n) {
    hth_str line;
    if (l->body_fd < 0) return;
    hth_str_init(&line, HTH_MEM_MISC, MAX_BODY_LINE);
    hth_json_out j = begin_json(&line, "info", "body");
    hth_json_out_text(&j, "method", method);
    hth_json_out_text(&j, "path", path);
    hth_json_out_str(&j, "body", body, n);
    hth_json_out_end(&j, '}');
    write_line(l->body_fd, &line);
    hth_str_free(&line);
}
