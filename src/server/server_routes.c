// Rows that belong to no dialect: is it there, and is it ready.
#include "server/dialects.h"
#include "server/server.h"

static void get_health(hth_server *s, hth_exchange *x, const hth_match *m) {
    hth_fault fault = {.retry_ms = 1000};
    (void)m;
    if (!atomic_load(&s->is_loading)) {
        hth_reply_text(x, 200, "application/json; charset=utf-8", "{\"status\":\"ok\"}");
        return;
    }
    (void)hth_refuse(&fault, HTH_FAULT_UNAVAILABLE, NULL, "Loading model");
    hth_reply_fault(x, &fault);
}

const hth_route hth_server_routes[] = {
    {HTH_GET, "/health", &hth_openai, get_health, HTH_ROUTE_PUBLIC | HTH_ROUTE_QUICK, NULL},
    {HTH_GET, "/v1/health", &hth_openai, get_health, HTH_ROUTE_PUBLIC | HTH_ROUTE_QUICK, NULL},
    {0},
};
