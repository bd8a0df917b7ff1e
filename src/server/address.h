// IP addresses and ranges of them. IPv4 is IPv6's ::ffff:a.b.c.d, so that one comparison serves both.
#ifndef HTH_SERVER_ADDRESS_H
#define HTH_SERVER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct hth_address {
    uint8_t bytes[16];
} hth_address;

typedef struct hth_cidr {
    hth_address first;
    int n_bit; // leading bits that count, of 128
} hth_cidr;

// "127.0.0.1", "::1", "[::1]", with a %zone, which is left out.
bool hth_address_parse(const char *text, size_t n, hth_address *out);
// "10.0.0.0/8", "fd00::/8", or a single address.
bool hth_cidr_parse(const char *text, hth_cidr *out);
bool hth_cidr_has(const hth_cidr *c, const hth_address *a);
bool hth_address_is_loopback(const hth_address *a);
// The numeric address of a host, which may be one already. Asks the system's resolver. HTH_ERR_NOTFOUND.
HTH_NODISCARD hth_code hth_address_of_host(const char *host, char out[64], hth_err *err);

#endif
