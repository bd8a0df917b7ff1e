// Sets of code points: built as sorted ranges, used as a two-stage bitmap.
#ifndef HTH_TEXT_CPSET_H
#define HTH_TEXT_CPSET_H

#include "text/unicode.h"

// Ranges [r[0], r[1]), [r[2], r[3]), ... ascending and apart once hth_cpset_sort has run; the set
// operations sort by themselves. `failed` is sticky: memory was refused, the set is then incomplete.
typedef struct hth_cpset {
    uint32_t *r; // owned
    size_t n, cap;
    bool sorted, failed;
} hth_cpset;

void hth_cpset_free(hth_cpset *s);
void hth_cpset_add(hth_cpset *s, uint32_t first, uint32_t last);
void hth_cpset_add_cats(hth_cpset *s, const hth_unicode *u, unsigned cats);
void hth_cpset_add_space(hth_cpset *s);
void hth_cpset_add_word(hth_cpset *s, const hth_unicode *u);
void hth_cpset_add_set(hth_cpset *s, const hth_cpset *other);
void hth_cpset_sort(hth_cpset *s);
void hth_cpset_invert(hth_cpset *s);
void hth_cpset_intersect(hth_cpset *s, hth_cpset *other);
// Adds the other case of every letter in the set (simple case folding).
void hth_cpset_fold(hth_cpset *s);
bool hth_cpset_equal(const hth_cpset *a, const hth_cpset *b); // both sorted

// The compiled form: membership in two loads.
typedef struct hth_charset {
    uint64_t ascii[2];
    uint16_t index[HTH_CP_END >> 8];
    uint64_t blocks[][4]; // block 0 is empty, block 1 is full
} hth_charset;

// Returns owned, NULL when memory is refused. `s` must be sorted.
HTH_NODISCARD hth_charset *hth_charset_make(const hth_cpset *s);

static inline bool hth_charset_has(const hth_charset *c, uint32_t cp) {
    if (cp < 128) return c->ascii[cp >> 6] >> (cp & 63) & 1;
    return c->blocks[c->index[cp >> 8]][cp >> 6 & 3] >> (cp & 63) & 1;
}

#endif
