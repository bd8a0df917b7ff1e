// SHA-256 (FIPS 180-4), for names of content. Bytes come in any number of pieces.
#ifndef HTH_BASE_SHA256_H
#define HTH_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct hth_sha256 {
    uint32_t h[8];
    uint64_t n_bytes;
    uint8_t block[64];
} hth_sha256;

void hth_sha256_init(hth_sha256 *s);
void hth_sha256_add(hth_sha256 *s, const void *bytes, size_t n);
void hth_sha256_end(hth_sha256 *s, uint8_t out[32]);
// The same as lower-case hexadecimal with a terminating zero.
void hth_sha256_end_hex(hth_sha256 *s, char out[65]);

#endif
