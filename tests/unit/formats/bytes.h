// A little-endian byte builder, to write small files by hand.
#ifndef HTH_TEST_BYTES_H
#define HTH_TEST_BYTES_H

#include <stdint.h>
#include <string.h>

typedef struct bytes {
    uint8_t p[8192];
    size_t n;
} bytes;

static inline void put(bytes *b, uint64_t v, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) b->p[b->n++] = (uint8_t)(v >> (8 * i));
}

static inline void put_text(bytes *b, const char *text) {
    put(b, strlen(text), 8);
    memcpy(b->p + b->n, text, strlen(text));
    b->n += strlen(text);
}

static inline void put_pair(bytes *b, const char *key, uint32_t kind) {
    put_text(b, key);
    put(b, kind, 4);
}

// A tensor record of one or two dimensions (dim1 0: one).
static inline void put_tensor(bytes *b, const char *name, uint64_t dim0, uint64_t dim1, uint32_t type,
                              uint64_t off) {
    put_text(b, name);
    put(b, dim1 ? 2 : 1, 4);
    put(b, dim0, 8);
    if (dim1) put(b, dim1, 8);
    put(b, type, 4);
    put(b, off, 8);
}

static inline void put_gguf(bytes *b, uint32_t version, uint64_t n_tensor, uint64_t n_kv) {
    b->n = 0;
    put(b, 0x46554747, 4);
    put(b, version, 4);
    put(b, n_tensor, 8);
    put(b, n_kv, 8);
}

static inline void pad_to(bytes *b, size_t align) {
    while (b->n % align != 0) b->p[b->n++] = 0;
}

#endif
