// A bounded reader with a sticky error: past the end it returns zeros and remembers where. Loops
// check hth_cursor_ok once. All numbers are little-endian.
#ifndef HTH_BASE_CURSOR_H
#define HTH_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct hth_cursor {
    const uint8_t *data; // borrowed
    uint64_t len, pos;
    bool failed;
    uint64_t fail_pos; // where the first failed read began
} hth_cursor;

static inline hth_cursor hth_cursor_make(const void *data, uint64_t len) {
    return (hth_cursor){.data = data, .len = len};
}

static inline bool hth_cursor_ok(const hth_cursor *c) {
    return !c->failed;
}

static inline uint64_t hth_cursor_left(const hth_cursor *c) {
    return c->len - c->pos;
}

// Returns a pointer to the next n bytes and steps over them, or NULL (and the sticky error).
static inline const uint8_t *hth_cursor_bytes(hth_cursor *c, uint64_t n) {
    if (c->failed || n > c->len - c->pos) {
        if (!c->failed) c->fail_pos = c->pos;
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->data + c->pos;
    c->pos += n;
    return p;
}

static inline uint64_t hth_cursor_uint(hth_cursor *c, unsigned n_bytes) {
    const uint8_t *p = hth_cursor_bytes(c, n_bytes);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < n_bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline uint8_t hth_cursor_u8(hth_cursor *c) {
    return (uint8_t)hth_cursor_uint(c, 1);
}
static inline uint32_t hth_cursor_u32(hth_cursor *c) {
    return (uint32_t)hth_cursor_uint(c, 4);
}
static inline uint64_t hth_cursor_u64(hth_cursor *c) {
    return hth_cursor_uint(c, 8);
}

#endif
