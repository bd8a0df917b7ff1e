// Base64 (RFC 4648, with or without padding), as rank tables and precompiled maps are written.
#ifndef HTH_TEXT_BASE64_H
#define HTH_TEXT_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Decodes n characters into out, which has room for n / 4 * 3 + 3 bytes. False for a foreign character.
bool hth_base64_decode(const char *text, size_t n, uint8_t *out, size_t *n_out);

#endif
