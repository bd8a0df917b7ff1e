// What the files of http*.c share. An exchange's fields belong to its connection's HTTP thread, but for those under its
// lock, and for body and reply while a worker has it: from `queued` until the worker's wake.
#ifndef HTH_SERVER_HTTP_IMPL_H
#define HTH_SERVER_HTTP_IMPL_H

#include <microhttpd.h>

#include "os/socket.h"
#include "os/sync.h"
#include "os/watch.h"
#include "server/http.h"

#define HTTP_MAX_HEADERS 24

typedef enum http_phase {
    HTTP_HEAD,    // nothing seen but the first line
    HTTP_BODY,    // the body is being read
    HTTP_HANDLED, // a worker has it, or has had it
    HTTP_REPLIED, // the reply was given to the library
} http_phase;

typedef struct http_connection { // one TCP connection; under http.lock
    int fd;
    uint64_t until_ns; // the next request must have begun by then; 0: one is at work
    struct http_connection *next, *prev;
} http_connection;

typedef struct http_kept { // freed with the exchange
    void *object;
    void (*free_fn)(void *object);
    struct http_kept *next;
} http_kept;

typedef struct http_header {
    const char *name, *value; // in the exchange's arena
} http_header;

struct hth_exchange {
    atomic_int n_hold;
    hth_http *http;
    struct MHD_Connection *c;
    uint64_t id;
    int fd;
    http_phase phase; // the watcher reads it: written under http.lock
    uint64_t since_ns; // when the phase began
    hth_exchange *next, *prev; // of http.exchanges
    hth_exchange *next_work;

    // the request
    hth_arena arena;
    const char *path, *query; // as sent; query NULL: none
    hth_method method;
    char peer[HTH_ADDRESS_TEXT];
    bool is_quick;
    const void *who;
    const struct hth_route *route;
    void *visit;
    http_kept *kept;
    hth_str body;
    uint64_t max_body;
    atomic_size_t n_received;
    bool is_too_large, was_stopped;

    // the reply
    http_header headers[HTTP_MAX_HEADERS]; // [n_header]
    size_t n_header;
    bool has_reply, is_stream, is_sent;
    int status;
    const char *type;
    hth_str reply; // the body, or of a stream what fill appended
    size_t n_taken; // bytes of `reply` that a stream has sent
    bool is_last;  // fill has said END

    hth_mutex gone_lock; // held while `gone` runs: close comes after it. Taken before `lock`
    hth_mutex lock;
    // under it:
    const hth_answer *answer; // NULL: none, or closed
    void *user;
    bool is_working;  // a worker has it
    bool is_suspended, is_woken, is_over, was_told;
    uint64_t quiet_ns; // woken at this time at the latest; 0: never
    atomic_bool gone;
};

struct hth_http {
    hth_http_params p;
    struct MHD_Daemon *daemon;
    int fd; // listening
    uint16_t port;
    hth_mutex lock;
    hth_cond work, idle;
    // under it:
    hth_exchange *exchanges;
    http_connection *connections;
    size_t n_exchange;
    uint64_t last_id;
    hth_exchange *first_work, *last_work;
    hth_thread workers[128]; // [n_started]
    int n_started, n_free;
    bool is_stopping;
    atomic_bool refuses;
    hth_watch *watch;
    hth_thread watcher;
    bool has_watcher;
    atomic_bool stops_watching;
};

// http.c
void http_set_phase(hth_exchange *x, http_phase phase);
// Suspends the connection unless somebody has woken it meanwhile; false: look again. On its HTTP thread.
bool http_suspend(hth_exchange *x);
void http_tell_gone(hth_exchange *x);

// http_reply.c
enum MHD_Result http_send_reply(hth_exchange *x);

// http_worker.c
void http_work_push(hth_exchange *x);
void http_workers_stop(hth_http *h);
// Unpacks the body where it came packed; false: a reply says why not.
bool http_unpack_body(hth_exchange *x);

// http_watch.c
hth_code http_watcher_start(hth_http *h, hth_err *err);
void http_watcher_stop(hth_http *h);

#endif
