// What deciding and the exchanges share.
#ifndef HTH_SERVER_ACCESS_IMPL_H
#define HTH_SERVER_ACCESS_IMPL_H

#include "server/access.h"
#include "server/address.h"
#include "server/keys.h"

typedef struct hth_cidr_list {
    hth_cidr items[HTH_CONFIG_MAX_LIST];
    size_t n;
} hth_cidr_list;

struct hth_access {
    const hth_config *config; // borrowed
    hth_keys keys;
    hth_cidr_list allow, proxies;
    bool needs_key;   // from addresses that are not allowed without
    bool is_open;     // listening here alone, without keys: everybody may do anything
    char machine[128]; // this machine's name
};

// Whether a browser may hand our replies to the page that asks. `ask` has an origin.
bool hth_access_may_page(const hth_access *a, const hth_access_ask *ask);

#endif
