// Keys of clients: known by the SHA-256 of what was made from 256 random bits, so a copy of the list opens nothing.
#ifndef HTH_SERVER_KEYS_H
#define HTH_SERVER_KEYS_H

#include <stdatomic.h>

#include "server/access.h"

#define HTH_MAX_KEYS 1024

typedef struct hth_access_key {
    uint8_t sha256[32];
    char name[64];
    uint32_t scopes;
    uint32_t limit; // requests at once; 0: any
    _Atomic uint32_t n_active;
} hth_access_key;

typedef struct hth_keys {
    hth_access_key *items; // [n] owned; their addresses stay once all are added
    size_t n, cap;
} hth_keys;

void hth_keys_free(hth_keys *k);
// A key as clients send it. `spec` is "NAME[:use|admin[:N]]"; NULL: everything is allowed.
HTH_NODISCARD hth_code hth_keys_add(hth_keys *k, const char *key, size_t n, const char *spec, hth_err *err);
// Lines "KEY [NAME[:use|admin[:N]]]"; # begins a comment.
HTH_NODISCARD hth_code hth_keys_read_lines(hth_keys *k, const char *path, hth_err *err);
// The list of hashes that --new-key keeps; one that is not there is empty.
HTH_NODISCARD hth_code hth_keys_read_hashes(hth_keys *k, const char *path, hth_err *err);
HTH_NODISCARD hth_code hth_keys_write_hashes(const hth_keys *k, const char *path, hth_err *err);
// Appends a new key: "hth-" and 256 random bits.
HTH_NODISCARD hth_code hth_keys_make(hth_str *to, hth_err *err);
// The key that was sent, or NULL. Takes as long for each.
hth_access_key *hth_keys_find(hth_keys *k, const char *key, size_t n);

#endif
