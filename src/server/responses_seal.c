// Thoughts that a client gets to send back: AES-256-GCM with a key of this server, so that nobody in between
// reads or changes them. "hth1." and base64 of nonce, text and tag.
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "server/responses_impl.h"

#define NONCE 12
#define TAG 16
#define MAX_SEALED ((size_t)64 << 20)
static const char head[] = "hth1.";
#define HEAD (sizeof head - 1)

static gnutls_aead_cipher_hd_t open_cipher(const hth_responses *all) {
    gnutls_aead_cipher_hd_t h;
    const gnutls_datum_t key = {(unsigned char *)(uintptr_t)all->seal_key, sizeof all->seal_key};
    return gnutls_aead_cipher_init(&h, GNUTLS_CIPHER_AES_256_GCM, &key) < 0 ? NULL : h;
}

bool responses_seal(const hth_responses *all, const char *text, size_t n, hth_str *out) {
    gnutls_datum_t coded = {0};
    size_t room = n + TAG;
    if (n > MAX_SEALED) return false;
    unsigned char *bytes = hth_alloc(HTH_MEM_SERVER, NONCE + room);
    gnutls_aead_cipher_hd_t h = bytes ? open_cipher(all) : NULL;
    bool ok =
        h && gnutls_rnd(GNUTLS_RND_NONCE, bytes, NONCE) >= 0 &&
        gnutls_aead_cipher_encrypt(h, bytes, NONCE, head, HEAD, TAG, text, n, bytes + NONCE, &room) >= 0;
    const gnutls_datum_t plain = {bytes, (unsigned)(NONCE + room)};
    ok = ok && gnutls_base64_encode2(&plain, &coded) >= 0;
    if (ok) {
        hth_str_puts(out, head);
        (void)hth_str_append(out, coded.data, coded.size);
    }
    gnutls_free(coded.data);
    if (h) gnutls_aead_cipher_deinit(h);
    hth_free(bytes);
    return ok;
}

bool responses_unseal(const hth_responses *all, const char *sealed, size_t n, char *text, size_t *n_text) {
    gnutls_datum_t bytes = {0};
    if (n <= HEAD || n > 2 * MAX_SEALED || memcmp(sealed, head, HEAD) != 0) return false;
    const gnutls_datum_t coded = {(unsigned char *)(uintptr_t)(sealed + HEAD), (unsigned)(n - HEAD)};
    if (gnutls_base64_decode2(&coded, &bytes) < 0) return false;
    gnutls_aead_cipher_hd_t h = bytes.size >= NONCE + TAG ? open_cipher(all) : NULL;
    *n_text = n;
    const bool ok = h && gnutls_aead_cipher_decrypt(h, bytes.data, NONCE, head, HEAD, TAG, bytes.data + NONCE,
                                                    bytes.size - NONCE, text, n_text) >= 0;
    if (h) gnutls_aead_cipher_deinit(h);
    gnutls_free(bytes.data);
    return ok;
}
