// Decoding is table-free and exact about maximal subparts; categories come from utf8proc.
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "text/script_ranges.h"

// Where utf8proc need not be asked: nothing but unassigned and private-use lies beyond these.
#define DENSE_END 0x40000u
#define TAGS_FIRST 0xE0000u
#define TAGS_END 0xE1000u
#define PRIVATE_FIRST 0xF0000u

uint32_t hth_cp_decode(const uint8_t *p, size_t left, unsigned *len) {
    uint8_t b = p[0];
    *len = 1;
    if (b < 0x80) return b;
    if (b < 0xc2 || b > 0xf4) return HTH_CP_BAD;
    unsigned need = b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
    // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
    uint8_t lo = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
    uint8_t hi = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    uint32_t cp = b & (0x3fu >> need);
    for (unsigned i = 1; i <= need; i++) {
        if (i >= left || p[i] < lo || p[i] > hi) {
            *len = i;
            return HTH_CP_BAD;
        }
        cp = cp << 6 | (p[i] & 0x3fu);
        lo = 0x80, hi = 0xbf;
    }
    *len = need + 1;
    return cp;
}

size_t hth_cp_before(const uint8_t *text, size_t pos) {
    size_t at = pos - 1;
    if (text[at] < 0x80) return at;
    size_t first = pos > 4 ? pos - 4 : 0;
    while (at > first && (text[at] & 0xc0) == 0x80) at--;
    if ((text[at] & 0xc0) == 0x80) return pos - 1;
    // A lead byte always begins a character; what it does not take are single stray bytes.
    unsigned len;
    (void)hth_cp_decode(text + at, pos - at, &len);
    return at + len == pos ? at : pos - 1;
}

unsigned hth_cp_encode(uint32_t cp, uint8_t out[4]) {
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--, cp >>= 6) out[i] = (uint8_t)(0x80 | (cp & 0x3f));
    out[0] = (uint8_t)((0xf00u >> n & 0xff) | cp);
    return n;
}

void hth_utf8_sanitize(hth_str *out, const uint8_t *text, size_t n) {
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (hth_cp_is_invalid(text + i, cp, len)) {
            (void)hth_str_append(out, text + from, i - from);
            (void)hth_str_puts(out, "\xef\xbf\xbd");
            from = i + len;
        }
        i += len;
    }
    (void)hth_str_append(out, text + from, n - from);
}

unsigned hth_cp_category(uint32_t cp) {
    return (unsigned)utf8proc_category((utf8proc_int32_t)cp);
}

bool hth_cp_is_space(uint32_t cp) {
    if (cp <= 0x20) return cp == 0x20 || (cp >= 9 && cp <= 13);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool hth_cp_is_word(uint32_t cp) {
    const unsigned word = HTH_CATS_L | HTH_CATS_M | 1u << HTH_CAT_ND | 1u << HTH_CAT_NL | 1u << HTH_CAT_PC;
    if (word >> hth_cp_category(cp) & 1) return true;
    return cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
           (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) ||
           (cp >= 0x1f170 && cp <= 0x1f189);
}

static bool add_run(hth_unicode *u, uint32_t first, unsigned cat) {
    if (u->n_run && u->runs[u->n_run - 1].cat == cat) return true;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&u->runs, &u->cap, u->n_run + 1, sizeof *u->runs, HTH_CP_END))
        return false;
    u->runs[u->n_run++] = (hth_cat_run){.first = first, .cat = cat};
    return true;
}

static bool add_runs(hth_unicode *u, uint32_t first, uint32_t end) {
    for (uint32_t cp = first; cp < end; cp++) {
        if (!add_run(u, cp, hth_cp_category(cp))) return false;
    }
    return true;
}

hth_code hth_unicode_init(hth_unicode *u, hth_err *err) {
    *u = (hth_unicode){0};
    bool ok = add_runs(u, 0, DENSE_END) && add_run(u, DENSE_END, HTH_CAT_CN) &&
              add_runs(u, TAGS_FIRST, TAGS_END) && add_run(u, TAGS_END, HTH_CAT_CN) &&
              add_run(u, PRIVATE_FIRST, HTH_CAT_CO) && add_run(u, 0xffffe, HTH_CAT_CN) &&
              add_run(u, 0x100000, HTH_CAT_CO) && add_run(u, 0x10fffe, HTH_CAT_CN) &&
              add_run(u, HTH_CP_END, HTH_CAT_COUNT);
    if (ok) return HTH_OK;
    hth_unicode_free(u);
    return hth_fail_nomem(err, sizeof *u->runs);
}

void hth_unicode_free(hth_unicode *u) {
    hth_free(u->runs);
    *u = (hth_unicode){0};
}

// Printable Latin-1 stands for itself; the other 68 bytes follow from U+0100 in byte order.
#define ROW16(b)                                                                                    \
    (b), (b) + 1, (b) + 2, (b) + 3, (b) + 4, (b) + 5, (b) + 6, (b) + 7, (b) + 8, (b) + 9, (b) + 10, \
        (b) + 11, (b) + 12, (b) + 13, (b) + 14, (b) + 15
const uint16_t hth_byte_to_char[256] = {
    ROW16(0x100), ROW16(0x110), 0x120,       0x21,         0x22,         0x23,        0x24,
    0x25,         0x26,         0x27,        0x28,         0x29,         0x2a,        0x2b,
    0x2c,         0x2d,         0x2e,        0x2f,         ROW16(0x30),  ROW16(0x40), ROW16(0x50),
    ROW16(0x60),  0x70,         0x71,        0x72,         0x73,         0x74,        0x75,
    0x76,         0x77,         0x78,        0x79,         0x7a,         0x7b,        0x7c,
    0x7d,         0x7e,         0x121,       ROW16(0x122), ROW16(0x132), 0x142,       0xa1,
    0xa2,         0xa3,         0xa4,        0xa5,         0xa6,         0xa7,        0xa8,
    0xa9,         0xaa,         0xab,        0xac,         0x143,        0xae,        0xaf,
    ROW16(0xb0),  ROW16(0xc0),  ROW16(0xd0), ROW16(0xe0),  ROW16(0xf0),
};

int hth_char_to_byte(uint32_t cp) {
    if (cp >= 0x100) {
        uint32_t i = cp - 0x100;
        if (i <= 0x20) return (int)i;
        if (i == 0x21) return 0x7f;
        if (i <= 0x42) return (int)(i - 0x22 + 0x80);
        return i == 0x43 ? 0xad : -1;
    }
    return hth_byte_to_char[cp] == cp ? (int)cp : -1;
}

const uint32_t *hth_script_ranges(const char *name, size_t n, size_t *n_range) {
    char key[32];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (name[i] == '_' || name[i] == '-' || name[i] == ' ') continue;
        if (len + 1 >= sizeof key) return NULL;
        key[len++] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
    key[len] = 0;
    for (size_t i = 0; i < hth_n_script; i++) {
        if (strcmp(hth_scripts[i].name, key) != 0) continue;
        *n_range = hth_scripts[i].n;
        return hth_script_range_table[hth_scripts[i].first];
    }
    return NULL;
}

int hth_bytes_decode(const char *text, size_t n, char *out, size_t room) {
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        unsigned len;
        int b = hth_char_to_byte(hth_cp_at((const uint8_t *)text + i, n - i, &len));
        if (b < 0 || k == room) return -1;
        out[k++] = (char)b;
        i += len;
    }
    return (int)k;
}
