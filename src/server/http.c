// The daemon and its callbacks: how an exchange goes from phase to phase. See http.h for its life.
//
// What always holds: a connection is suspended only by its own HTTP thread, under the exchange's lock, and
// only where nothing woke it since it last looked; so a waking is never lost. An exchange that a worker has
// is never over: its connection stays suspended until the worker wakes it.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "os/clock.h"
#include "server/http_impl.h"

#define MAX_URL 8192
#define CONNECTION_BYTES \
    ((size_t)40 << 10) // the library's memory of a connection: heads and what is being sent
#define MAX_ARENA ((uint64_t)256 << 20)

static void or_default(uint32_t *value, uint32_t otherwise) {
    if (*value == 0) *value = otherwise;
}

static void fill_limits(hth_http_limits *l) {
    or_default(&l->n_connection, 4096);
    or_default(&l->n_exchange, 2048);
    or_default(&l->head_s, 10);
    or_default(&l->body_s, 30);
    or_default(&l->idle_s, 120);
    or_default(&l->unread_s, 30);
    if (l->body_bytes == 0) l->body_bytes = (uint64_t)64 << 20;
}

// ---- life of an exchange

void http_set_phase(hth_exchange *x, http_phase phase) {
    hth_lock(&x->http->lock);
    x->phase = phase;
    x->since_ns = hth_clock_ns();
    hth_unlock(&x->http->lock);
}

void hth_exchange_hold(hth_exchange *x) {
    atomic_fetch_add(&x->n_hold, 1);
}

void hth_exchange_drop(hth_exchange *x) {
    if (atomic_fetch_sub(&x->n_hold, 1) != 1) return;
    for (const http_kept *k = x->kept; k; k = k->next) k->free_fn(k->object);
    hth_str_free(&x->body);
    hth_str_free(&x->reply);
    hth_arena_free(&x->arena);
    hth_mutex_destroy(&x->gone_lock);
    hth_mutex_destroy(&x->lock);
    hth_free(x);
}

static hth_exchange *new_exchange(hth_http *h, struct MHD_Connection *c, const char *url) {
    hth_err err;
    hth_exchange *x = hth_calloc(HTH_MEM_SERVER, 1, sizeof *x);
    if (!x) return NULL;
    if (hth_mutex_init(&x->lock, &err) != HTH_OK) {
        hth_free(x);
        return NULL;
    }
    if (hth_mutex_init(&x->gone_lock, &err) != HTH_OK) {
        hth_mutex_destroy(&x->lock);
        hth_free(x);
        return NULL;
    }
    atomic_init(&x->n_hold, 1);
    x->http = h;
    x->c = c;
    hth_arena_init(&x->arena, HTH_MEM_SERVER, MAX_ARENA);
    hth_str_init(&x->body, HTH_MEM_SERVER, h->p.limits.body_bytes);
    hth_str_init(&x->reply, HTH_MEM_SERVER, SIZE_MAX / 2);
    const size_t n = strlen(url), n_path = strcspn(url, "?");
    x->path = n <= MAX_URL ? hth_arena_strndup(&x->arena, url, n_path) : NULL;
    x->query = x->path && n > n_path ? hth_arena_strndup(&x->arena, url + n_path + 1, n - n_path - 1) : NULL;
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *peer = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    x->fd = fd ? (int)fd->connect_fd : -1;
    hth_socket_address(peer ? peer->client_addr : NULL, x->peer);
    return x;
}

static uint64_t seconds_from_now(uint32_t s) {
    return hth_clock_ns() + s * 1000000000ull;
}

static http_connection *connection_of(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

// The first line of a request was read.
static void *on_url(void *user, const char *url, struct MHD_Connection *c) {
    hth_http *h = user;
    hth_exchange *x = new_exchange(h, c, url);
    if (!x) return NULL;
    http_connection *connection = connection_of(c);
    hth_lock(&h->lock);
    if (connection) connection->until_ns = 0;
    x->id = ++h->last_id;
    x->since_ns = hth_clock_ns();
    x->next = h->exchanges;
    if (x->next) x->next->prev = x;
    h->exchanges = x;
    h->n_exchange++;
    hth_unlock(&h->lock);
    return x;
}

static void leave_list(hth_exchange *x) {
    hth_http *h = x->http;
    http_connection *connection = connection_of(x->c);
    hth_lock(&h->lock);
    if (connection) connection->until_ns = seconds_from_now(h->p.limits.idle_s);
    if (x->prev)
        x->prev->next = x->next;
    else
        h->exchanges = x->next;
    if (x->next) x->next->prev = x->prev;
    h->n_exchange--;
    if (h->n_exchange == 0) hth_cond_wake_all(&h->idle);
    hth_unlock(&h->lock);
}

void http_tell_gone(hth_exchange *x) {
    hth_lock(&x->gone_lock);
    hth_lock(&x->lock);
    const bool tells = !x->was_told && !x->is_over && x->answer && x->answer->gone;
    void (*gone)(void *user) = tells ? x->answer->gone : NULL;
    void *user = x->user;
    x->was_told |= tells;
    hth_unlock(&x->lock);
    atomic_store(&x->gone, true);
    if (gone) gone(user);
    hth_unlock(&x->gone_lock);
}

// The library has finished with a request, well or not.
static void on_completed(void *server, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why) {
    hth_http *h = server;
    hth_exchange *x = *state;
    *state = NULL;
    if (!x) return;
    if (x->phase == HTTP_HANDLED || x->phase == HTTP_REPLIED) hth_watch_remove(h->watch, x->fd);
    if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK) http_tell_gone(x);
    hth_lock(&x->gone_lock);
    hth_lock(&x->lock);
    const hth_answer *answer = x->answer;
    void *user = x->user;
    x->answer = NULL;
    x->is_over = true;
    hth_unlock(&x->lock);
    hth_unlock(&x->gone_lock);
    if (answer && answer->close) answer->close(user);
    if (h->p.on_end) h->p.on_end(h->p.user, x, x->is_sent ? x->status : 0);
    MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, h->p.limits.idle_s);
    leave_list(x);
    hth_exchange_drop(x);
}

// ---- waiting and waking

bool http_suspend(hth_exchange *x) {
    hth_lock(&x->lock);
    const bool waits = !x->is_woken;
    x->is_woken = false;
    if (waits) {
        const uint32_t quiet_ms = x->answer ? x->answer->quiet_ms : 0;
        x->quiet_ns = quiet_ms ? hth_clock_ns() + (uint64_t)quiet_ms * 1000000 : 0;
        x->is_suspended = true;
        MHD_suspend_connection(x->c);
    }
    hth_unlock(&x->lock);
    return waits;
}

void hth_exchange_wake(hth_exchange *x) {
    hth_lock(&x->lock);
    x->is_woken = true;
    if (x->is_suspended && !x->is_over) {
        x->is_suspended = false;
        MHD_resume_connection(x->c);
    }
    hth_unlock(&x->lock);
}

// ---- the head

static hth_method method_of(const char *name) {
    static const struct {
        const char *name;
        hth_method method;
    } known[] = {{"GET", HTH_GET},       {"POST", HTH_POST}, {"PUT", HTH_PUT},        {"PATCH", HTH_PATCH},
                 {"DELETE", HTH_DELETE}, {"HEAD", HTH_HEAD}, {"OPTIONS", HTH_OPTIONS}};
    for (size_t i = 0; i < HTH_COUNT(known); i++) {
        if (strcmp(known[i].name, name) == 0) return known[i].method;
    }
    return HTH_OTHER_METHOD;
}

typedef struct framing {
    int n_length, n_encoding, n_host;
    bool is_chunked;
    uint64_t length;
    bool is_broken;
} framing;

static enum MHD_Result look_at_header(void *user, enum MHD_ValueKind kind, const char *name,
                                      const char *value) {
    framing *f = user;
    (void)kind;
    if (!value) value = "";
    if (strcasecmp(name, "Content-Length") == 0) {
        f->n_length++;
        f->length = 0;
        f->is_broken |= *value == 0;
        for (const char *p = value; *p; p++) {
            if (*p < '0' || *p > '9' || f->length > UINT64_MAX / 10 - 9)
                f->is_broken = true;
            else
                f->length = f->length * 10 + (uint64_t)(*p - '0');
        }
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->n_encoding++;
        f->is_chunked = strcasecmp(value, "chunked") == 0;
    } else if (strcasecmp(name, "Host") == 0) {
        f->n_host++;
    }
    return MHD_YES;
}

// What could be understood in two ways by two programs in a row is refused.
static bool check_framing(hth_exchange *x, framing *f, hth_fault *fault) {
    MHD_get_connection_values(x->c, MHD_HEADER_KIND, look_at_header, f);
    if (f->is_broken || f->n_length > 1 || f->n_encoding > 1 || f->n_host > 1 ||
        (f->n_length && f->n_encoding) || (f->n_encoding && !f->is_chunked)) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL,
                          "the request's headers say more than one thing about its length or host");
    }
    return true;
}

static bool check_head(hth_exchange *x, hth_fault *fault) {
    hth_http *h = x->http;
    framing f = {0};
    if (!x->path)
        return hth_refuse(fault, HTH_FAULT_URI, NULL, "the address is longer than %d bytes", MAX_URL);
    if (!check_framing(x, &f, fault)) return false;
    hth_lock(&h->lock);
    const bool is_full = h->n_exchange > h->p.limits.n_exchange;
    hth_unlock(&h->lock);
    if (is_full || atomic_load(&h->refuses)) {
        fault->retry_ms = 2000;
        return hth_refuse(fault, HTH_FAULT_UNAVAILABLE, NULL,
                          is_full ? "too many requests are at work; try again in a moment"
                                  : "the server is shutting down");
    }
    x->max_body = h->p.on_head(h->p.user, x);
    if (x->max_body > h->p.limits.body_bytes) x->max_body = h->p.limits.body_bytes;
    if (x->has_reply || f.length <= x->max_body) return true;
    return hth_refuse(fault, HTH_FAULT_TOO_LARGE, NULL,
                      "the body has %llu bytes; at most %llu are taken here", (unsigned long long)f.length,
                      (unsigned long long)x->max_body);
}

static enum MHD_Result read_head(hth_exchange *x, const char *method) {
    hth_http *h = x->http;
    hth_fault fault = {0};
    x->method = method_of(method);
    MHD_set_connection_option(x->c, MHD_CONNECTION_OPTION_TIMEOUT, h->p.limits.body_s);
    if (!check_head(x, &fault)) hth_reply_fault(x, &fault);
    if (x->has_reply) return http_send_reply(x);
    x->body.max = x->max_body;
    http_set_phase(x, HTTP_BODY);
    return MHD_YES;
}

// ---- the body

static enum MHD_Result read_body(hth_exchange *x, const char *bytes, size_t n) {
    atomic_fetch_add(&x->n_received, n);
    if (!x->is_too_large) x->is_too_large = !hth_str_append(&x->body, bytes, n);
    // The refusal can only be sent when the body has ended; who sends on and on is cut off.
    return atomic_load(&x->n_received) / 2 > x->max_body + 65536 ? MHD_NO : MHD_YES;
}

// The request is whole, or what was waited for may be there.
static enum MHD_Result go_on(hth_exchange *x) {
    for (;;) {
        hth_lock(&x->lock);
        x->is_woken = false;
        const bool is_working = x->is_working;
        const hth_answer *answer = x->answer;
        hth_unlock(&x->lock);
        if (!is_working) {
            if (atomic_load(&x->gone)) return MHD_NO;
            if (!x->has_reply && answer && answer->poll) answer->poll(x->user, x);
            if (!x->has_reply && !answer) {
                hth_fault fault = {0};
                (void)hth_refuse(&fault, HTH_FAULT_INTERNAL, NULL, "the request was not answered");
                hth_reply_fault(x, &fault);
            }
            if (x->has_reply) return http_send_reply(x);
        }
        if (http_suspend(x)) return MHD_YES;
    }
}

static enum MHD_Result finish_body(hth_exchange *x) {
    hth_http *h = x->http;
    hth_err err;
    http_set_phase(x, HTTP_HANDLED);
    MHD_set_connection_option(x->c, MHD_CONNECTION_OPTION_TIMEOUT, h->p.limits.unread_s);
    if (x->is_too_large) {
        hth_fault fault = {0};
        (void)hth_refuse(&fault, HTH_FAULT_TOO_LARGE, NULL, "the body has more than %llu bytes",
                         (unsigned long long)x->max_body);
        hth_reply_fault(x, &fault);
    } else if (x->is_quick) {
        h->p.on_request(h->p.user, x);
    } else {
        x->is_working = true;
    }
    if (x->has_reply) return http_send_reply(x);
    if (hth_watch_add(h->watch, x->fd, x->id, &err) != HTH_OK) hth_log(HTH_LOG_WARN, "%s", err.msg);
    if (!x->is_working) return go_on(x);
    (void)http_suspend(x); // nobody knows of it yet who could have woken it
    http_work_push(x);
    return MHD_YES;
}

static enum MHD_Result on_access(void *user, struct MHD_Connection *c, const char *url, const char *method,
                                 const char *version, const char *bytes, size_t *n, void **state) {
    hth_exchange *x = *state;
    (void)user, (void)c, (void)url, (void)version;
    if (!x) return MHD_NO;
    if (x->phase == HTTP_HEAD) return read_head(x, method);
    if (x->phase == HTTP_HANDLED) return go_on(x);
    if (x->phase == HTTP_REPLIED) return MHD_YES;
    if (*n == 0) return finish_body(x);
    const enum MHD_Result result = read_body(x, bytes, *n);
    *n = 0;
    return result;
}

// ---- connections

static void on_connection(void *user, struct MHD_Connection *c, void **state,
                          enum MHD_ConnectionNotificationCode what) {
    hth_http *h = user;
    http_connection *connection = *state;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        connection = hth_calloc(HTH_MEM_SERVER, 1, sizeof *connection);
        if (!connection) return; // it lives without a limit on its first head
        *connection = (http_connection){.fd = fd ? (int)fd->connect_fd : -1,
                                        .until_ns = seconds_from_now(h->p.limits.head_s)};
        hth_lock(&h->lock);
        connection->next = h->connections;
        if (connection->next) connection->next->prev = connection;
        h->connections = connection;
        hth_unlock(&h->lock);
        *state = connection;
    } else if (connection) {
        hth_lock(&h->lock);
        if (connection->prev)
            connection->prev->next = connection->next;
        else
            h->connections = connection->next;
        if (connection->next) connection->next->prev = connection->prev;
        hth_unlock(&h->lock);
        hth_free(connection);
        *state = NULL;
    }
}

// The library unescapes what it cuts; we cut first.
static size_t leave_escaped(void *user, struct MHD_Connection *c, char *text) {
    (void)user, (void)c;
    return strlen(text);
}

static void on_library_log(void *user, const char *format, va_list args) HTH_PRINTF(2, 0);
static void on_library_log(void *user, const char *format, va_list args) {
    char line[512];
    (void)user;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\r\n")] = 0;
    hth_log(HTH_LOG_DEBUG, "http: %s", line);
}

// ---- life of the server

static hth_code start_daemon(hth_http *h, hth_err *err) {
    const unsigned poll =
        MHD_is_feature_supported(MHD_FEATURE_EPOLL) == MHD_YES ? MHD_USE_EPOLL : MHD_USE_POLL;
    unsigned flags =
        poll | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_TURBO;
    struct MHD_OptionItem more[4];
    int n = 0;
    if (h->p.tls_certificate) {
        flags |= MHD_USE_TLS;
        more[n++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)h->p.tls_certificate};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)h->p.tls_key};
    }
    if (h->p.n_thread > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, h->p.n_thread, NULL};
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)h->fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)h->p.limits.n_connection, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)h->p.limits.idle_s, MHD_OPTION_URI_LOG_CALLBACK, on_url, h,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, h, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY,
        more, MHD_OPTION_END);
    if (h->daemon) return HTH_OK;
    return hth_fail(err, HTH_ERR_IO, "the HTTP library did not start%s",
                    h->p.tls_certificate ? ": are certificate and key whole and made for each other?" : "");
}

hth_code hth_http_start(const hth_http_params *p, hth_http **out, hth_err *err) {
    hth_http *h = hth_calloc(HTH_MEM_SERVER, 1, sizeof *h);
    if (!h) return hth_fail_nomem(err, sizeof *h);
    h->p = *p;
    h->port = p->port;
    h->fd = -1;
    fill_limits(&h->p.limits);
    if (h->p.n_worker <= 0) h->p.n_worker = 32;
    if (h->p.n_worker > (int)HTH_COUNT(h->workers)) h->p.n_worker = (int)HTH_COUNT(h->workers);
    hth_code code = hth_mutex_init(&h->lock, err);
    if (code != HTH_OK) {
        hth_free(h);
        return code;
    }
    code = hth_cond_init(&h->work, err);
    if (code == HTH_OK) code = hth_cond_init(&h->idle, err);
    if (code == HTH_OK) code = hth_watch_new(&h->watch, err);
    if (code == HTH_OK)
        code = hth_socket_listen(p->address ? p->address : "127.0.0.1", &h->port, &h->fd, err);
    if (code == HTH_OK) code = http_watcher_start(h, err);
    if (code == HTH_OK) code = start_daemon(h, err);
    if (code != HTH_OK)
        hth_http_stop(h);
    else
        *out = h;
    return code;
}

uint16_t hth_http_port(const hth_http *h) {
    return h->port;
}

void hth_http_refuse_new(hth_http *h) {
    if (atomic_exchange(&h->refuses, true)) return;
    MHD_quiesce_daemon(h->daemon);
}

size_t hth_http_n_exchange(hth_http *h) {
    hth_lock(&h->lock);
    const size_t n = h->n_exchange;
    hth_unlock(&h->lock);
    return n;
}

// Every exchange is told that its client has left, and so ends.
static void end_exchanges(hth_http *h) {
    atomic_store(&h->refuses, true);
    hth_lock(&h->lock);
    while (h->n_exchange > 0) {
        for (hth_exchange *x = h->exchanges; x; x = x->next) {
            atomic_store(&x->gone, true);
            if (x->phase < HTTP_HANDLED) hth_socket_shut(x->fd);
        }
        hth_exchange *next = h->exchanges; // the list may change while one is told: as often as it takes
        for (; next && next->was_stopped; next = next->next) {
        }
        if (next) {
            next->was_stopped = true;
            hth_exchange_hold(next);
            hth_unlock(&h->lock);
            http_tell_gone(next);
            hth_exchange_wake(next);
            hth_exchange_drop(next);
            hth_lock(&h->lock);
        } else {
            hth_cond_wait_until(&h->idle, &h->lock, hth_clock_ns() + 100000000);
        }
    }
    hth_unlock(&h->lock);
}

void hth_http_stop(hth_http *h) {
    if (!h) return;
    if (h->daemon) {
        MHD_quiesce_daemon(h->daemon);
        end_exchanges(h);
        http_workers_stop(h);
        MHD_stop_daemon(h->daemon);
    }
    http_watcher_stop(h);
    hth_socket_close(h->fd);
    hth_watch_free(h->watch);
    hth_cond_destroy(&h->idle);
    hth_cond_destroy(&h->work);
    hth_mutex_destroy(&h->lock);
    hth_free(h);
}
