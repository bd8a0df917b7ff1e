// IP addresses and ranges.
#include "server/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool hth_address_parse(const char *text, size_t n, hth_address *out) {
    char copy[INET6_ADDRSTRLEN + 1];
    struct in_addr v4;
    struct in6_addr v6;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') text++, n -= 2;
    const char *zone = memchr(text, '%', n);
    if (zone) n = (size_t)(zone - text);
    if (n == 0 || n >= sizeof copy) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        memcpy(out->bytes, v4_prefix, 12);
        memcpy(out->bytes + 12, &v4, 4);
        return true;
    }
    if (inet_pton(AF_INET6, copy, &v6) != 1) return false;
    memcpy(out->bytes, &v6, 16);
    return true;
}

bool hth_cidr_parse(const char *text, hth_cidr *out) {
    const size_t n = strcspn(text, "/");
    if (!hth_address_parse(text, n, &out->first)) return false;
    const bool is_v4 = !memchr(text, ':', n);
    const long most = is_v4 ? 32 : 128;
    long bits = most;
    if (text[n]) {
        char *end;
        bits = strtol(text + n + 1, &end, 10);
        if (text[n + 1] < '0' || text[n + 1] > '9' || *end || bits > most) return false;
    }
    out->n_bit = (int)(is_v4 ? 96 + bits : bits);
    return true;
}

bool hth_cidr_has(const hth_cidr *c, const hth_address *a) {
    const int whole = c->n_bit / 8, rest = c->n_bit % 8;
    if (memcmp(c->first.bytes, a->bytes, (size_t)whole) != 0) return false;
    return rest == 0 || (c->first.bytes[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}

bool hth_address_is_loopback(const hth_address *a) {
    static const hth_address v6 = {.bytes = {[15] = 1}};
    return (memcmp(a->bytes, v4_prefix, 12) == 0 && a->bytes[12] == 127) ||
           memcmp(a->bytes, v6.bytes, 16) == 0;
}

hth_code hth_address_of_host(const char *host, char out[64], hth_err *err) {
    hth_address numeric;
    struct addrinfo *list = NULL;
    const struct addrinfo how = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1"; // whichever of its two the system would choose
    const size_t n = strlen(host);
    if (hth_address_parse(host, n, &numeric) && n < 64 && host[0] != '[') {
        memcpy(out, host, n + 1);
        return HTH_OK;
    }
    const bool found = getaddrinfo(host, NULL, &how, &list) == 0 && list;
    const bool fits = found && getnameinfo(list->ai_addr, list->ai_addrlen, out, 64, NULL, 0, NI_NUMERICHOST) == 0;
    if (list) freeaddrinfo(list);
    return fits ? HTH_OK : hth_fail(err, HTH_ERR_NOTFOUND, "--host: '%.200s' is no address and no name of one", host);
}
