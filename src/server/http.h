// HTTP/1.1 over libmicrohttpd: what a request is and how it is answered, without knowing any dialect.
//
// An *exchange* is one request with its reply. Its life:
//
//   head read     on_head, on an HTTP thread, before a byte of the body is taken: who may, and how large a body
//   body read     whole, unpacked where it came packed, within the limit
//   handled       on_request, on a worker thread, which may take its time: it replies at once, or binds an *answer*
//   answered      the answer's poll or fill, on an HTTP thread, each time somebody woke the exchange
//   ended         the answer's close, once
//
// An HTTP thread serves many exchanges: what runs on one must be quick and never wait. While an exchange waits for its
// answer its connection is suspended, and its socket is watched by us: a client that leaves is told to the answer
// (gone) within milliseconds, in the queue and in prefill too. Nothing is printed for who does not read: fill is
// called when the bytes before it have left.
#ifndef HTH_SERVER_HTTP_H
#define HTH_SERVER_HTTP_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/str.h"
#include "server/fault.h"

typedef struct hth_http hth_http;
typedef struct hth_exchange hth_exchange;

typedef enum hth_method { // bits
    HTH_GET = 1, // HEAD too: the library leaves the body out
    HTH_POST = 2,
    HTH_PUT = 4,
    HTH_PATCH = 8,
    HTH_DELETE = 16,
    HTH_HEAD = 32,
    HTH_OPTIONS = 64,
    HTH_OTHER_METHOD = 128,
} hth_method;

typedef struct hth_http_limits { // 0: what stands behind it
    uint32_t n_connection; // 4096
    uint32_t n_exchange;   // requests with their body read and their reply not sent; more get 503. 2048
    uint64_t body_bytes;   // 64 MiB, unpacked
    uint32_t head_s;       // for the head of a connection's first request: 10
    uint32_t body_s;       // without a byte of the body: 30
    uint32_t idle_s;       // between requests of a connection: 120
    uint32_t unread_s;     // a reply of which the client takes nothing: 30
} hth_http_limits;

typedef struct hth_http_params {
    const char *address; // numeric, v4 or v6; NULL: 127.0.0.1
    uint16_t port;       // 0: any free one, see hth_http_port
    const char *tls_certificate, *tls_key; // PEM texts; NULL: plain HTTP
    hth_http_limits limits;
    int n_thread;        // HTTP threads; 0: 1, which serves thousands of connections
    int n_worker;        // most threads that handle requests; they are started as needed. 0: 32

    // The head is there. Returns the most bytes that the body may have (hth_http_limits.body_bytes at most), after
    // nothing or after a refusal (hth_reply_fault or any reply), which ends the exchange without reading the body.
    uint64_t (*on_head)(void *user, hth_exchange *x);
    // The request is whole. Replies, or binds an answer.
    void (*on_request)(void *user, hth_exchange *x);
    // Prints a fault in the words of who asked, where the path is known; used for what this file refuses itself.
    void (*on_fault)(void *user, hth_exchange *x, const hth_fault *fault);
    // The exchange is over; `status` is what was sent, 0: nothing. For the access log and counters.
    void (*on_end)(void *user, hth_exchange *x, int status);
    void *user;
} hth_http_params;

// Listens. HTH_ERR_BUSY where the port is taken. Returns owned.
HTH_NODISCARD hth_code hth_http_start(const hth_http_params *p, hth_http **out, hth_err *err);
uint16_t hth_http_port(const hth_http *h);
// Stops taking connections and requests: new ones get 503. Exchanges at work go on.
void hth_http_refuse_new(hth_http *h);
size_t hth_http_n_exchange(hth_http *h); // at work now
// Ends all that is left, joins the threads, frees. NULL is valid.
void hth_http_stop(hth_http *h);

// ---- what was asked. Valid while the exchange is; texts are UTF-8 only where they were sent so.

hth_method hth_exchange_method(const hth_exchange *x);
const char *hth_exchange_path(const hth_exchange *x); // as sent, without the query: still escaped
// A parameter of the query, unescaped; "" where it has no value, NULL where it is not there.
const char *hth_exchange_query(hth_exchange *x, const char *name);
const char *hth_exchange_header(const hth_exchange *x, const char *name); // NULL: not there
const char *hth_exchange_body(const hth_exchange *x, size_t *n);          // zero-terminated, "" where there is none
const char *hth_exchange_peer(const hth_exchange *x);                     // numeric address of the other end
bool hth_exchange_is_local(const hth_exchange *x);                        // the other end is a loopback address
bool hth_exchange_is_tls(const hth_exchange *x);
hth_arena *hth_exchange_arena(hth_exchange *x); // for the handler; freed with the exchange
// Set when the client has left; for handlers that take long.
const atomic_bool *hth_exchange_gone(const hth_exchange *x);
// What access.c found out about who asks; kept here for the handlers. Borrowed.
void hth_exchange_set_who(hth_exchange *x, const void *who);
const void *hth_exchange_who(const hth_exchange *x);
// The row that answers it, and what it captured; kept here for on_request, on_fault and on_end. Borrowed.
struct hth_route;
void hth_exchange_set_route(hth_exchange *x, const struct hth_route *route);
const struct hth_route *hth_exchange_route(const hth_exchange *x); // NULL: none
// What on_head wants to find again.
void hth_exchange_set_visit(hth_exchange *x, void *visit);
void *hth_exchange_visit(const hth_exchange *x);
// Frees `object` with the exchange. False: no memory, and it stays the caller's.
HTH_NODISCARD bool hth_exchange_keep(hth_exchange *x, void *object, void (*free_fn)(void *object));
// on_request will run on the HTTP thread: for what takes microseconds and never waits. Said by on_head.
void hth_exchange_be_quick(hth_exchange *x);
// Undoes %XX in [p, p + n) into the exchange's arena. NULL: a broken escape, %00, or no memory.
const char *hth_exchange_unescape(hth_exchange *x, const char *p, size_t n);

// ---- the reply

// One more header of the reply, before it is sent. A value with a line break is left out.
void hth_reply_header(hth_exchange *x, const char *name, const char *value);
// Takes the body's bytes. A second reply is not sent.
void hth_reply(hth_exchange *x, int status, const char *type, hth_str *body);
void hth_reply_text(hth_exchange *x, int status, const char *type, const char *text);
// Through hth_http_params.on_fault, with Retry-After and x-should-retry as the fault says.
void hth_reply_fault(hth_exchange *x, const hth_fault *fault);

// ---- answers that come later

typedef enum hth_fill {
    HTH_FILL_MORE,  // something was appended and there may be more at once
    HTH_FILL_WAIT,  // nothing more until the exchange is woken
    HTH_FILL_END,
    HTH_FILL_BREAK, // the connection is cut, so that the client sees that the reply is not whole
} hth_fill;

typedef struct hth_answer {
    // After each waking, until it replies (hth_reply, hth_reply_fault, hth_reply_stream). NULL where the handler
    // itself calls hth_reply_stream.
    void (*poll)(void *user, hth_exchange *x);
    // Bytes of a stream. `out` is empty and holds at least 1 MiB; append some tens of KiB at a time.
    hth_fill (*fill)(void *user, hth_str *out);
    // The client has left, or the server stops. Any thread, at most once, perhaps while poll or fill runs, never
    // after close. Cancel what is at work; close comes by itself.
    void (*gone)(void *user);
    void (*close)(void *user); // the last call
    // poll and fill are also called when nothing woke the exchange for so long, for keep-alives; 0: never
    uint32_t quiet_ms;
} hth_answer;

// Binds an answer, which the exchange closes; once, by the handler.
void hth_exchange_bind(hth_exchange *x, const hth_answer *answer, void *user);
// The reply's head goes out at once, then what fill appends.
void hth_reply_stream(hth_exchange *x, int status, const char *type);
// Any thread, any number of times, also from the engine's callbacks. The caller sees to it that the exchange is
// still there: hold it.
void hth_exchange_wake(hth_exchange *x);
void hth_exchange_hold(hth_exchange *x); // the memory stays, and waking does nothing once it is over
void hth_exchange_drop(hth_exchange *x);

#endif
