// Which function answers a path. One table (route.c) lists the tables of all dialects in order; the first row whose
// pattern, method and condition fit is taken, so collisions between dialects are settled by looking at it.
//
// Patterns: "/v1/models/{id...}" - {name} is one segment, {name...} the rest of the path with its slashes, at least one
// segment. Captures are unescaped after they are cut, so %2F is no separator. Queries do not matter. A path that fits
// no row is tried again without a prefix that clients double (/v1/v1, /api/api, /ollama). HEAD finds GET's rows.
#ifndef HTH_SERVER_ROUTE_H
#define HTH_SERVER_ROUTE_H

#include "server/http.h"

struct hth_server; // server/server.h

#define HTH_MAX_CAPTURES 3

typedef struct hth_match {
    const char *captures[HTH_MAX_CAPTURES]; // unescaped, in order
} hth_match;

// How a dialect says no. One per dialect, referred to by its routes.
typedef struct hth_dialect {
    const char *name; // "openai": in logs and counters
    // Appends the body of an error reply. `status` is what is sent with it.
    void (*write_fault)(const hth_fault *fault, int status, hth_str *out);
} hth_dialect;

typedef enum hth_route_flags {
    HTH_ROUTE_PUBLIC = 1, // needs no key
    HTH_ROUTE_ADMIN = 2,  // needs a key that may change what the server has
    HTH_ROUTE_QUICK = 4,  // handled on the HTTP thread: never waits, takes microseconds
    HTH_ROUTE_BLOB = 8,   // not JSON: the body may be as large as the limit, whatever its type
} hth_route_flags;

typedef struct hth_route {
    uint32_t methods; // hth_method bits
    const char *pattern;
    const hth_dialect *dialect;
    void (*handle)(struct hth_server *s, hth_exchange *x, const hth_match *m);
    uint32_t flags;
    bool (*when)(const hth_exchange *x); // NULL: always
} hth_route;

// The tables of all dialects in the order in which they are asked, each ended by a row without pattern; NULL at the end.
// Every row is tested for its need of a key.
extern const hth_route *const hth_route_tables[];

// NULL where none fits; *fault then says so (404, or 405 with the methods there are). `m` may be NULL.
// `path` is the exchange's, without the server's prefix.
const hth_route *hth_route_find(hth_exchange *x, const char *path, hth_match *m, hth_fault *fault);
// The dialect in whose words a path that leads nowhere is refused.
const hth_dialect *hth_route_dialect(const char *path);

#endif
