// Certificates: those of the owner, or one of our own made with GnuTLS.
#include "server/tls.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "os/file.h"
#include "server/address.h"

#define MAX_PEM_BYTES ((uint64_t)1 << 20)
#define N_DAY 397 // what browsers take at most

static hth_code fail_tls(hth_err *err, const char *what, int code) {
    return hth_fail(err, HTH_ERR_IO, "%s: %s", what, gnutls_strerror(code));
}

static hth_code read_pem(const char *path, char **out, hth_err *err) {
    size_t n;
    return hth_file_read(path, HTH_MEM_MISC, MAX_PEM_BYTES, out, &n, err);
}

static gnutls_datum_t datum(const char *text) {
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)};
}

// Names that the server may be called by.
static int set_names(gnutls_x509_crt_t crt, const char *host) {
    static const unsigned char v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
    char machine[128] = "";
    hth_address a;
    int bad = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET);
    if (bad >= 0)
        bad = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v4, 4, GNUTLS_FSAN_APPEND);
    if (bad >= 0)
        bad = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v6, 16, GNUTLS_FSAN_APPEND);
    if (bad >= 0 && gethostname(machine, sizeof machine - 1) == 0 && *machine) {
        bad = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, machine,
                                                   (unsigned)strlen(machine), GNUTLS_FSAN_APPEND);
    }
    if (bad < 0 || strcmp(host, "localhost") == 0) return bad;
    if (!hth_address_parse(host, strlen(host), &a)) {
        return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, host, (unsigned)strlen(host),
                                                    GNUTLS_FSAN_APPEND);
    }
    const bool is_v4 = !strchr(host, ':');
    return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, a.bytes + (is_v4 ? 12 : 0),
                                                is_v4 ? 4 : 16, GNUTLS_FSAN_APPEND);
}

static int fill_certificate(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *host) {
    unsigned char serial[16];
    const time_t now = time(NULL);
    const unsigned usage = GNUTLS_KEY_DIGITAL_SIGNATURE;
    int bad = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] &= 0x7f; // positive
    if (bad >= 0) bad = gnutls_x509_crt_set_version(crt, 3);
    if (bad >= 0) bad = gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
    if (bad >= 0) bad = gnutls_x509_crt_set_activation_time(crt, now - 3600);
    if (bad >= 0) bad = gnutls_x509_crt_set_expiration_time(crt, now + (time_t)N_DAY * 86400);
    if (bad >= 0) bad = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "hearth", 6);
    if (bad >= 0) bad = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
    if (bad >= 0) bad = gnutls_x509_crt_set_key_usage(crt, usage);
    if (bad >= 0) bad = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (bad >= 0) bad = set_names(crt, host);
    if (bad >= 0) bad = gnutls_x509_crt_set_key(crt, key);
    if (bad >= 0) bad = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
    return bad;
}

static hth_code write_datum(const char *path, gnutls_datum_t *text, bool is_private, hth_err *err) {
    hth_code code = is_private ? hth_file_write_private(path, text->data, text->size, err)
                               : hth_file_write(path, text->data, text->size, err);
    gnutls_memset(text->data, 0, text->size);
    gnutls_free(text->data);
    *text = (gnutls_datum_t){0};
    return code;
}

static hth_code make_certificate(const char *host, const char *cert_path, const char *key_path,
                                 hth_err *err) {
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t key_text = {0}, crt_text = {0};
    int bad = gnutls_x509_privkey_init(&key);
    if (bad >= 0)
        bad = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                           GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (bad >= 0) bad = gnutls_x509_crt_init(&crt);
    if (bad >= 0) bad = fill_certificate(crt, key, host);
    if (bad >= 0) bad = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_text);
    if (bad >= 0) bad = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crt_text);
    hth_code code = bad >= 0 ? HTH_OK : fail_tls(err, "cannot make a certificate", bad);
    if (key_text.data && code == HTH_OK) code = write_datum(key_path, &key_text, true, err);
    if (crt_text.data && code == HTH_OK) code = write_datum(cert_path, &crt_text, false, err);
    gnutls_free(key_text.data);
    gnutls_free(crt_text.data);
    if (crt) gnutls_x509_crt_deinit(crt);
    if (key) gnutls_x509_privkey_deinit(key);
    return code;
}

// Checks a certificate's text: *expires, and its fingerprint as hexadecimal digits.
static hth_code look_at(const char *path, const char *text, time_t *expires, char hex[96], hth_err *err) {
    gnutls_x509_crt_t crt;
    unsigned char sha256[32];
    size_t n = sizeof sha256;
    const gnutls_datum_t pem = datum(text);
    int bad = gnutls_x509_crt_init(&crt);
    if (bad < 0) return fail_tls(err, path, bad);
    bad = gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM);
    if (bad >= 0) bad = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, sha256, &n);
    *expires = bad >= 0 ? gnutls_x509_crt_get_expiration_time(crt) : 0;
    gnutls_x509_crt_deinit(crt);
    if (bad < 0) return fail_tls(err, path, bad);
    for (int i = 0; i < 32; i++) (void)snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
    return HTH_OK;
}

// That the key is the certificate's.
static hth_code check_pair(const char *path, const hth_tls *t, hth_err *err) {
    gnutls_certificate_credentials_t both;
    const gnutls_datum_t cert = datum(t->certificate), key = datum(t->key);
    int bad = gnutls_certificate_allocate_credentials(&both);
    if (bad < 0) return fail_tls(err, path, bad);
    bad = gnutls_certificate_set_x509_key_mem(both, &cert, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(both);
    return bad < 0 ? fail_tls(err, path, bad) : HTH_OK;
}

static hth_code load_pair(const char *cert_path, const char *key_path, time_t *expires, char hex[96],
                          hth_tls *out, hth_err *err) {
    HTH_TRY(read_pem(cert_path, &out->certificate, err));
    HTH_TRY(read_pem(key_path, &out->key, err));
    HTH_TRY(look_at(cert_path, out->certificate, expires, hex, err));
    return check_pair(cert_path, out, err);
}

static hth_code load_own(const hth_config *c, const char *cert_path, const char *key_path, hth_str *notes,
                         hth_tls *out, hth_err *err) {
    char hex[96];
    time_t expires = 0;
    const bool is_there =
        hth_path_kind_of(cert_path) == HTH_PATH_FILE && hth_path_kind_of(key_path) == HTH_PATH_FILE;
    if (is_there) HTH_TRY(load_pair(cert_path, key_path, &expires, hex, out, err));
    if (!is_there || expires < time(NULL) + 86400) {
        hth_tls_free(out);
        HTH_TRY(make_certificate(c->host, cert_path, key_path, err));
        HTH_TRY(load_pair(cert_path, key_path, &expires, hex, out, err));
    }
    hth_str_printf(notes, "self-signed certificate %s, SHA-256 %s\n", cert_path, hex);
    return HTH_OK;
}

hth_code hth_tls_load(const hth_config *c, hth_str *notes, hth_tls *out, hth_err *err) {
    *out = (hth_tls){0};
    if (!c->tls) return HTH_OK;
    char hex[96];
    time_t expires;
    if (c->tls_cert && c->tls_key) return load_pair(c->tls_cert, c->tls_key, &expires, hex, out, err);
    if (c->tls_cert || c->tls_key)
        return hth_fail(err, HTH_ERR_RANGE, "--tls-cert and --tls-key are given together");
    hth_str cert, key;
    hth_str_init(&cert, HTH_MEM_MISC, 4096);
    hth_str_init(&key, HTH_MEM_MISC, 4096);
    hth_code code = hth_config_state_path(c, "tls-certificate.pem", &cert, err);
    if (code == HTH_OK) code = hth_config_state_path(c, "tls-key.pem", &key, err);
    if (code == HTH_OK) code = load_own(c, hth_str_text(&cert), hth_str_text(&key), notes, out, err);
    hth_str_free(&cert);
    hth_str_free(&key);
    return code;
}

void hth_tls_free(hth_tls *t) {
    if (t->key) gnutls_memset(t->key, 0, strlen(t->key));
    hth_free(t->key);
    hth_free(t->certificate);
    *t = (hth_tls){0};
}
