// Replies: what a handler says is kept until the exchange is on its HTTP thread, then given to the library.
#include <stdio.h>
#include <string.h>

#include "server/http_impl.h"

#define BLOCK_BYTES 8192 // of a stream to a client of HTTP/1.0
#define STREAM_BYTES ((size_t)1 << 24)

void hth_reply_header(hth_exchange *x, const char *name, const char *value) {
    if (x->n_header == HTTP_MAX_HEADERS || x->is_sent) return;
    if (strpbrk(value, "\r\n") || strpbrk(name, "\r\n: ")) return;
    const char *own_name = hth_arena_strndup(&x->arena, name, strlen(name));
    const char *own_value = hth_arena_strndup(&x->arena, value, strlen(value));
    if (own_name && own_value) x->headers[x->n_header++] = (http_header){own_name, own_value};
}

void hth_reply(hth_exchange *x, int status, const char *type, hth_str *body) {
    hth_str taken = *body;
    hth_str_init(body, taken.tag, taken.max);
    if (x->has_reply) {
        hth_str_free(&taken);
        return;
    }
    if (taken.failed) { // half a body is worse than none
        hth_str_clear(&taken);
        hth_str_puts(&taken, "{\"error\":{\"message\":\"out of "
                             "memory\",\"type\":\"server_error\",\"code\":null,\"param\":null}}");
        status = 500;
        type = "application/json";
    }
    x->reply = taken;
    x->status = status;
    x->type = type;
    x->has_reply = true;
}

void hth_reply_text(hth_exchange *x, int status, const char *type, const char *text) {
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, SIZE_MAX / 2);
    hth_str_puts(&body, text);
    hth_reply(x, status, type, &body);
}

static bool may_be_tried_again(const hth_fault *f) {
    return f->kind == HTH_FAULT_BUSY || f->kind == HTH_FAULT_UNAVAILABLE || f->kind == HTH_FAULT_NO_MEMORY ||
           f->kind == HTH_FAULT_TIMEOUT || f->kind == HTH_FAULT_SLOW;
}

void hth_reply_fault(hth_exchange *x, const hth_fault *fault) {
    if (x->has_reply) return;
    char seconds[32];
    if (!may_be_tried_again(fault)) {
        hth_reply_header(x, "x-should-retry", "false");
    } else {
        const int64_t ms = fault->retry_ms > 0 ? fault->retry_ms : 1000;
        snprintf(seconds, sizeof seconds, "%lld", (long long)((ms + 999) / 1000));
        hth_reply_header(x, "Retry-After", seconds);
    }
    x->http->p.on_fault(x->http->p.user, x, fault);
    if (!x->has_reply)
        hth_reply_text(x, hth_fault_status(fault->kind), "text/plain; charset=utf-8", fault->message);
}

void hth_exchange_bind(hth_exchange *x, const hth_answer *answer, void *user) {
    hth_lock(&x->lock);
    x->answer = answer;
    x->user = user;
    hth_unlock(&x->lock);
}

void hth_reply_stream(hth_exchange *x, int status, const char *type) {
    if (x->has_reply) return;
    x->reply.max = STREAM_BYTES;
    x->status = status;
    x->type = type;
    x->has_reply = x->is_stream = true;
}

// ---- streams

static size_t give(hth_exchange *x, char *to, size_t max) {
    size_t n = x->reply.len - x->n_taken;
    if (n > max) n = max;
    memcpy(to, x->reply.p + x->n_taken, n);
    x->n_taken += n;
    return n;
}

// One round of the answer's fill.
static hth_fill fill(hth_exchange *x) {
    hth_lock(&x->lock);
    const hth_answer *answer = x->answer;
    x->is_woken = false;
    hth_unlock(&x->lock);
    hth_str_clear(&x->reply);
    x->n_taken = 0;
    if (atomic_load(&x->gone) || !answer) return HTH_FILL_BREAK;
    const hth_fill result = answer->fill(x->user, &x->reply);
    return x->reply.failed ? HTH_FILL_BREAK : result;
}

static ssize_t on_read(void *user, uint64_t pos, char *to, size_t max) {
    hth_exchange *x = user;
    (void)pos;
    for (;;) {
        if (x->n_taken < x->reply.len) return (ssize_t)give(x, to, max);
        if (x->is_last) return MHD_CONTENT_READER_END_OF_STREAM;
        const hth_fill result = fill(x);
        if (result == HTH_FILL_BREAK) return MHD_CONTENT_READER_END_WITH_ERROR;
        x->is_last = result == HTH_FILL_END;
        if (result != HTH_FILL_WAIT || x->reply.len > 0) continue;
        if (http_suspend(x)) return 0;
    }
}

// ---- to the library

static struct MHD_Response *make_response(hth_exchange *x) {
    if (x->is_stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, x, NULL);
    return MHD_create_response_from_buffer(x->reply.len, x->reply.p, MHD_RESPMEM_PERSISTENT);
}

enum MHD_Result http_send_reply(hth_exchange *x) {
    struct MHD_Response *r = make_response(x);
    if (!r) return MHD_NO;
    enum MHD_Result ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, x->type);
    if (x->is_stream) {
        MHD_add_response_header(r, "X-Accel-Buffering", "no");
        MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    }
    for (size_t i = 0; i < x->n_header; i++)
        MHD_add_response_header(r, x->headers[i].name, x->headers[i].value);
    if (atomic_load(&x->http->refuses)) MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    http_set_phase(x, HTTP_REPLIED);
    if (ok == MHD_YES) ok = MHD_queue_response(x->c, (unsigned)x->status, r);
    x->is_sent = ok == MHD_YES;
    MHD_destroy_response(r);
    return ok;
}
