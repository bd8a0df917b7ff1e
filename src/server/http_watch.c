// One thread that looks after connections while nobody reads from them: who has left, who takes too long to
// say what they want, and whose answer has been quiet for so long that it is asked again.
#include "os/clock.h"
#include "server/http_impl.h"

#define TICK_MS 200
#define NS_PER_S 1000000000ull
#define SLOW_AFTER_S 10 // a body has so long before its pace counts,
#define SLOW_BYTES 1024 // and then this is the least per second on average

// The exchange with this id, held, or NULL.
static hth_exchange *find(hth_http *h, uint64_t id) {
    hth_lock(&h->lock);
    hth_exchange *x = h->exchanges;
    while (x && x->id != id) x = x->next;
    if (x) hth_exchange_hold(x);
    hth_unlock(&h->lock);
    return x;
}

static void tell_left(hth_http *h, uint64_t id) {
    hth_exchange *x = find(h, id);
    if (!x) return;
    http_tell_gone(x);
    hth_exchange_wake(x);
    hth_exchange_drop(x);
}

static bool is_too_slow(const hth_exchange *x, uint64_t now) {
    const uint64_t ns = now - x->since_ns;
    if (x->phase != HTTP_BODY || ns < SLOW_AFTER_S * NS_PER_S) return false;
    return atomic_load(&x->n_received) < (ns / NS_PER_S - SLOW_AFTER_S) * SLOW_BYTES;
}

static bool is_quiet(hth_exchange *x, uint64_t now) {
    hth_lock(&x->lock);
    const bool is = x->is_suspended && x->quiet_ns != 0 && now >= x->quiet_ns;
    hth_unlock(&x->lock);
    return is;
}

static void tick(hth_http *h) {
    const uint64_t now = hth_clock_ns();
    hth_lock(&h->lock);
    for (http_connection *c = h->connections; c; c = c->next) {
        if (c->until_ns != 0 && now > c->until_ns) hth_socket_shut(c->fd);
    }
    for (hth_exchange *x = h->exchanges; x; x = x->next) {
        if (x->phase == HTTP_HEAD && now - x->since_ns > h->p.limits.head_s * NS_PER_S)
            hth_socket_shut(x->fd);
        else if (is_too_slow(x, now))
            hth_socket_shut(x->fd);
        else if (is_quiet(x, now))
            hth_exchange_wake(x);
    }
    hth_unlock(&h->lock);
}

static void *watch(void *user) {
    hth_http *h = user;
    uint64_t keys[64];
    uint64_t next_ns = hth_clock_ns();
    while (!atomic_load(&h->stops_watching)) {
        const int n = hth_watch_wait(h->watch, keys, 64, TICK_MS);
        for (int i = 0; i < n; i++) tell_left(h, keys[i]);
        if (hth_clock_ns() < next_ns) continue;
        tick(h);
        next_ns = hth_clock_ns() + TICK_MS * 1000000ull;
    }
    return NULL;
}

hth_code http_watcher_start(hth_http *h, hth_err *err) {
    const hth_code code = hth_thread_start(&h->watcher, watch, h, err);
    h->has_watcher = code == HTH_OK;
    return code;
}

void http_watcher_stop(hth_http *h) {
    if (!h->has_watcher) return;
    atomic_store(&h->stops_watching, true);
    hth_watch_wake(h->watch);
    hth_thread_join(&h->watcher);
    h->has_watcher = false;
}
