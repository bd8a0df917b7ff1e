// Who may. Each request passes here before its body is read: the name that it calls the server by, the page that it
// comes from, its address, and its key. Deciding needs no lock but one counter; keys are known by their SHA-256 only.
//
//   listening on this machine alone    anybody here may do anything, unless keys are given
//   listening to others                a key is needed (one is made), but not from the addresses of --allow-from
#ifndef HTH_SERVER_ACCESS_H
#define HTH_SERVER_ACCESS_H

#include "server/config.h"
#include "server/fault.h"
#include "server/http.h"

typedef enum hth_scope { HTH_SCOPE_USE = 1, HTH_SCOPE_ADMIN = 2 } hth_scope; // bits

typedef struct hth_access hth_access;
struct hth_access_key;

// Whom a request comes from; kept by the exchange (hth_exchange_who).
typedef struct hth_who {
    const char *name;    // of the key, or "" where none was needed; for logs
    char address[48]; // of the client, behind trusted proxies too
    uint32_t scopes;
    struct hth_access_key *key; // NULL: none
    bool is_counted;     // among the requests at work with its key
} hth_who;

// What is looked at; what is not there is NULL.
typedef struct hth_access_ask {
    const char *peer;  // numeric address of the connection
    const char *host, *origin, *authorization, *api_key, *forwarded_for;
    bool is_tls;
    uint32_t flags;    // hth_route_flags
} hth_access_ask;

// Reads keys, makes one where one is needed. `notes` gets lines for the person who starts the server. Returns owned.
HTH_NODISCARD hth_code hth_access_new(const hth_config *c, hth_str *notes, hth_access **out, hth_err *err);
void hth_access_free(hth_access *a);

// For the head of every request, after its route is known: fills the exchange's who and its CORS headers. False:
// *fault says why not.
HTH_NODISCARD bool hth_access_check(hth_access *a, hth_exchange *x, uint32_t route_flags, hth_fault *fault);
// Answers a browser's question before the real request (OPTIONS); the fault where the page may not ask.
HTH_NODISCARD bool hth_access_preflight(hth_access *a, hth_exchange *x, hth_fault *fault);
// When the exchange has ended.
void hth_access_leave(hth_exchange *x);

// The decision alone. *who borrows from `a`.
HTH_NODISCARD bool hth_access_decide(hth_access *a, const hth_access_ask *ask, hth_who *who, hth_fault *fault);

// Adds a key "NAME[:use|admin[:N]]" to the state folder's keys; the key itself becomes `key` and is kept nowhere.
HTH_NODISCARD hth_code hth_access_new_key(const hth_config *c, const char *spec, hth_str *key, hth_err *err);

#endif
