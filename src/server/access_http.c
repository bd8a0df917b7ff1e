// Access for exchanges: what to look at, the headers that browsers want, and requests at work counted by key.
#include "server/access_impl.h"
#include "server/route.h"

static hth_access_ask look_at(hth_exchange *x, uint32_t flags) {
    return (hth_access_ask){
        .peer = hth_exchange_peer(x),
        .host = hth_exchange_header(x, "Host"),
        .origin = hth_exchange_header(x, "Origin"),
        .authorization = hth_exchange_header(x, "Authorization"),
        .api_key = hth_exchange_header(x, "x-api-key"),
        .forwarded_for = hth_exchange_header(x, "X-Forwarded-For"),
        .is_tls = hth_exchange_is_tls(x),
        .flags = flags,
    };
}

static void say_cors(const hth_access *a, hth_exchange *x, const char *origin) {
    hth_reply_header(x, "Access-Control-Allow-Origin", origin);
    hth_reply_header(x, "Vary", "Origin");
    if (a->config->cors_credentials) hth_reply_header(x, "Access-Control-Allow-Credentials", "true");
}

// A request that works with a key counts until its exchange ends.
static bool count(hth_who *who, hth_fault *fault) {
    hth_access_key *key = who->key;
    if (!key || key->limit == 0) return true;
    const uint32_t before = atomic_fetch_add_explicit(&key->n_active, 1, memory_order_relaxed);
    if (before >= key->limit) {
        atomic_fetch_sub_explicit(&key->n_active, 1, memory_order_relaxed);
        (void)hth_refuse(fault, HTH_FAULT_BUSY, NULL, "key '%s' may have %u requests at once", key->name,
                         key->limit);
        fault->retry_ms = 1000;
        return false;
    }
    who->is_counted = true;
    return true;
}

bool hth_access_check(hth_access *a, hth_exchange *x, uint32_t route_flags, hth_fault *fault) {
    const hth_access_ask ask = look_at(x, route_flags);
    hth_who *who = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *who);
    if (!who) return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "out of memory");
    const bool may = hth_access_decide(a, &ask, who, fault);
    if (ask.origin && *ask.origin && hth_access_may_page(a, &ask)) {
        say_cors(a, x, ask.origin); // with refusals too, so that the page can read why
        hth_reply_header(x, "Access-Control-Expose-Headers", "*");
    }
    hth_exchange_set_who(x, who);
    return may && count(who, fault);
}

bool hth_access_preflight(hth_access *a, hth_exchange *x, hth_fault *fault) {
    hth_access_ask ask = look_at(x, HTH_ROUTE_PUBLIC); // browsers send no key with it
    hth_who who;
    if (!hth_access_decide(a, &ask, &who, fault)) return false;
    const char *methods = a->config->cors_methods, *headers = a->config->cors_headers;
    if (!headers) headers = hth_exchange_header(x, "Access-Control-Request-Headers");
    if (ask.origin && *ask.origin) {
        say_cors(a, x, ask.origin);
        hth_reply_header(x, "Access-Control-Allow-Methods",
                         methods ? methods : "GET, POST, PUT, PATCH, DELETE, OPTIONS");
        if (headers) hth_reply_header(x, "Access-Control-Allow-Headers", headers);
        hth_reply_header(x, "Access-Control-Max-Age", "600");
    }
    hth_reply_text(x, 200, "text/plain", "");
    return true;
}

void hth_access_leave(hth_exchange *x) {
    const hth_who *who = hth_exchange_who(x);
    if (who && who->is_counted) atomic_fetch_sub_explicit(&who->key->n_active, 1, memory_order_relaxed);
}
