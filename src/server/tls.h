// The certificate that the server shows.
#ifndef HTH_SERVER_TLS_H
#define HTH_SERVER_TLS_H

#include "server/config.h"

typedef struct hth_tls {
    char *certificate, *key; // owned, PEM; NULL: plain HTTP
} hth_tls;

// Reads --tls-cert and --tls-key; with --tls alone a self-signed certificate of the state folder, which is made where
// it is missing or over. `notes` gets a line with its fingerprint. hth_tls_free in either case.
HTH_NODISCARD hth_code hth_tls_load(const hth_config *c, hth_str *notes, hth_tls *out, hth_err *err);
void hth_tls_free(hth_tls *t);

#endif
