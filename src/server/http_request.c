// What was asked: accessors, unescaping, compressed bodies.
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "server/http_impl.h"

#define MAX_RATIO \
    200 // bytes unpacked per byte packed; JSON packs to a tenth, long repetitions to a hundredth
#define PIECE 65536

hth_method hth_exchange_method(const hth_exchange *x) {
    return x->method;
}

const char *hth_exchange_path(const hth_exchange *x) {
    return x->path ? x->path : "";
}

const char *hth_exchange_header(const hth_exchange *x, const char *name) {
    return MHD_lookup_connection_value(x->c, MHD_HEADER_KIND, name);
}

const char *hth_exchange_body(const hth_exchange *x, size_t *n) {
    *n = x->body.len;
    return hth_str_text(&x->body);
}

const char *hth_exchange_peer(const hth_exchange *x) {
    return x->peer;
}

bool hth_exchange_is_local(const hth_exchange *x) {
    return hth_socket_is_loopback(x->peer);
}

bool hth_exchange_is_tls(const hth_exchange *x) {
    return x->http->p.tls_certificate != NULL;
}

hth_arena *hth_exchange_arena(hth_exchange *x) {
    return &x->arena;
}

const atomic_bool *hth_exchange_gone(const hth_exchange *x) {
    return &x->gone;
}

void hth_exchange_set_who(hth_exchange *x, const void *who) {
    x->who = who;
}

const void *hth_exchange_who(const hth_exchange *x) {
    return x->who;
}

void hth_exchange_set_route(hth_exchange *x, const struct hth_route *route) {
    x->route = route;
}

const struct hth_route *hth_exchange_route(const hth_exchange *x) {
    return x->route;
}

void hth_exchange_set_visit(hth_exchange *x, void *visit) {
    x->visit = visit;
}

void *hth_exchange_visit(const hth_exchange *x) {
    return x->visit;
}

bool hth_exchange_keep(hth_exchange *x, void *object, void (*free_fn)(void *object)) {
    http_kept *k = hth_arena_alloc(&x->arena, 1, sizeof *k);
    if (!k) return false;
    *k = (http_kept){object, free_fn, x->kept};
    x->kept = k;
    return true;
}

void hth_exchange_be_quick(hth_exchange *x) {
    x->is_quick = true;
}

// ---- escapes

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static const char *unescape(hth_exchange *x, const char *p, size_t n, bool plus_is_space) {
    char *out = hth_arena_strndup(&x->arena, p, n);
    size_t len = 0;
    for (size_t i = 0; out && i < n; i++) {
        char c = p[i];
        if (c == '%') {
            const int high = i + 2 < n ? hex_digit(p[i + 1]) : -1;
            const int low = high < 0 ? -1 : hex_digit(p[i + 2]);
            if (low < 0 || high * 16 + low == 0) return NULL;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[len++] = c;
    }
    if (out) out[len] = 0;
    return out;
}

const char *hth_exchange_unescape(hth_exchange *x, const char *p, size_t n) {
    return unescape(x, p, n, false);
}

const char *hth_exchange_query(hth_exchange *x, const char *name) {
    for (const char *at = x->query; at && *at;) {
        const size_t n = strcspn(at, "&"), n_name = strcspn(at, "=&");
        const char *found = unescape(x, at, n_name, true);
        if (found && strcmp(found, name) == 0)
            return n_name == n ? "" : unescape(x, at + n_name + 1, n - n_name - 1, true);
        at += n + (at[n] == '&');
    }
    return NULL;
}

// ---- compressed bodies

static bool inflate_all(hth_exchange *x, z_stream *z, hth_str *out, hth_fault *fault) {
    unsigned char piece[PIECE];
    int code = Z_OK;
    z->next_in = (unsigned char *)x->body.p;
    z->avail_in = (unsigned)x->body.len;
    while (code != Z_STREAM_END) {
        z->next_out = piece;
        z->avail_out = sizeof piece;
        code = inflate(z, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END) {
            return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL,
                              "the compressed body is damaged or cut off");
        }
        if (!hth_str_append(out, piece, sizeof piece - z->avail_out)) {
            return hth_refuse(fault, HTH_FAULT_TOO_LARGE, NULL,
                              "the body has more than %llu bytes when it is unpacked",
                              (unsigned long long)x->max_body);
        }
        if (out->len / MAX_RATIO > x->body.len) {
            return hth_refuse(fault, HTH_FAULT_TOO_LARGE, NULL,
                              "the body grows more than %d times when it is unpacked", MAX_RATIO);
        }
    }
    return true;
}

bool http_unpack_body(hth_exchange *x) {
    const char *encoding = hth_exchange_header(x, "Content-Encoding");
    if (!encoding || strcasecmp(encoding, "identity") == 0 || x->body.len == 0) return true;
    hth_fault fault = {0};
    z_stream z = {0};
    hth_str out;
    hth_str_init(&out, HTH_MEM_SERVER, x->max_body);
    const bool is_known = strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "x-gzip") == 0 ||
                          strcasecmp(encoding, "deflate") == 0;
    bool ok = false;
    if (!is_known) {
        (void)hth_refuse(&fault, HTH_FAULT_MEDIA_TYPE, NULL,
                         "Content-Encoding '%.40s' is not known here; gzip and deflate are", encoding);
    } else if (inflateInit2(&z, 15 + 32) != Z_OK) { // finds out by itself whether it is gzip or zlib
        (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory to unpack the body");
    } else {
        ok = inflate_all(x, &z, &out, &fault);
        inflateEnd(&z);
    }
    if (!ok) {
        hth_str_free(&out);
        hth_reply_fault(x, &fault);
        return false;
    }
    hth_str_free(&x->body);
    x->body = out;
    return true;
}
