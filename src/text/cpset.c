// Range algebra on sorted boundary lists, and the bitmap made of it.
#include "text/cpset.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_BOUNDS (1u << 20)
#define CASED_END 0x1e944u // the last letter with case is U+1E943

void hth_cpset_free(hth_cpset *s) {
    hth_free(s->r);
    *s = (hth_cpset){0};
}

void hth_cpset_add(hth_cpset *s, uint32_t first, uint32_t last) {
    if (first > last || s->failed) return;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&s->r, &s->cap, s->n + 2, sizeof *s->r, MAX_BOUNDS)) {
        s->failed = true;
        return;
    }
    s->r[s->n++] = first;
    s->r[s->n++] = last + 1;
    s->sorted = false;
}

void hth_cpset_add_cats(hth_cpset *s, const hth_unicode *u, unsigned cats) {
    for (size_t i = 0; i + 1 < u->n_run; i++) {
        if (cats >> u->runs[i].cat & 1) hth_cpset_add(s, u->runs[i].first, u->runs[i + 1].first - 1);
    }
}

void hth_cpset_add_space(hth_cpset *s) {
    for (uint32_t cp = 0; cp <= 0x3000; cp++) {
        if (hth_cp_is_space(cp)) hth_cpset_add(s, cp, cp);
    }
}

void hth_cpset_add_word(hth_cpset *s, const hth_unicode *u) {
    hth_cpset_add_cats(s, u,
                       HTH_CATS_L | HTH_CATS_M | 1u << HTH_CAT_ND | 1u << HTH_CAT_NL | 1u << HTH_CAT_PC);
    hth_cpset_add(s, 0x24b6, 0x24e9);
    hth_cpset_add(s, 0x1f130, 0x1f149);
    hth_cpset_add(s, 0x1f150, 0x1f169);
    hth_cpset_add(s, 0x1f170, 0x1f189);
}

void hth_cpset_add_set(hth_cpset *s, const hth_cpset *other) {
    if (other->failed) s->failed = true;
    for (size_t i = 0; i + 1 < other->n; i += 2) hth_cpset_add(s, other->r[i], other->r[i + 1] - 1);
}

static int compare_ranges(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void hth_cpset_sort(hth_cpset *s) {
    if (s->sorted || s->n == 0) {
        s->sorted = true;
        return;
    }
    qsort(s->r, s->n / 2, 2 * sizeof *s->r, compare_ranges);
    size_t n = 2;
    for (size_t i = 2; i < s->n; i += 2) {
        if (s->r[i] <= s->r[n - 1]) {
            if (s->r[i + 1] > s->r[n - 1]) s->r[n - 1] = s->r[i + 1];
        } else {
            s->r[n++] = s->r[i];
            s->r[n++] = s->r[i + 1];
        }
    }
    s->n = n;
    s->sorted = true;
}

void hth_cpset_invert(hth_cpset *s) {
    hth_cpset_sort(s);
    hth_cpset out = {.failed = s->failed};
    uint32_t from = 0;
    for (size_t i = 0; i < s->n; i += 2) {
        if (s->r[i] > from) hth_cpset_add(&out, from, s->r[i] - 1);
        from = s->r[i + 1];
    }
    if (from < HTH_CP_END) hth_cpset_add(&out, from, HTH_CP_END - 1);
    out.sorted = true;
    hth_cpset_free(s);
    *s = out;
}

void hth_cpset_intersect(hth_cpset *s, hth_cpset *other) {
    hth_cpset_sort(s);
    hth_cpset_sort(other);
    hth_cpset out = {.failed = s->failed || other->failed};
    for (size_t i = 0, j = 0; i < s->n && j < other->n;) {
        uint32_t lo = s->r[i] > other->r[j] ? s->r[i] : other->r[j];
        uint32_t hi = s->r[i + 1] < other->r[j + 1] ? s->r[i + 1] : other->r[j + 1];
        if (lo < hi) hth_cpset_add(&out, lo, hi - 1);
        if (s->r[i + 1] < other->r[j + 1]) {
            i += 2;
        } else {
            j += 2;
        }
    }
    out.sorted = true;
    hth_cpset_free(s);
    *s = out;
}

static bool contains(const hth_cpset *s, uint32_t cp) {
    size_t lo = 0, hi = s->n; // number of bounds <= cp is odd inside a range
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->r[mid] <= cp) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo & 1;
}

// Calls add for both directions of one pair of cases.
static void add_pair(const hth_cpset *have, hth_cpset *more, uint32_t a, uint32_t b) {
    if (a == b) return;
    bool has_a = contains(have, a), has_b = contains(have, b);
    if (has_a && !has_b) hth_cpset_add(more, b, b);
    if (has_b && !has_a) hth_cpset_add(more, a, a);
}

void hth_cpset_fold(hth_cpset *s) {
    // Twice: a letter's second relative (long s, Kelvin sign) may come in through its first.
    for (int round = 0; round < 2; round++) {
        hth_cpset_sort(s);
        hth_cpset more = {0};
        for (uint32_t cp = 'A'; cp < CASED_END; cp++) {
            add_pair(s, &more, cp, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
            add_pair(s, &more, cp, (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp));
        }
        hth_cpset_add_set(s, &more);
        hth_cpset_free(&more);
    }
    hth_cpset_sort(s);
}

bool hth_cpset_equal(const hth_cpset *a, const hth_cpset *b) {
    return a->n == b->n && (a->n == 0 || memcmp(a->r, b->r, a->n * sizeof *a->r) == 0);
}

// Sets bits [lo, hi) of one block; 0 <= lo < hi <= 256.
static void set_bits(uint64_t block[4], unsigned lo, unsigned hi) {
    for (unsigned w = lo >> 6; w <= (hi - 1) >> 6; w++) {
        uint64_t bits = ~(uint64_t)0;
        if (w == lo >> 6) bits &= ~(uint64_t)0 << (lo & 63);
        if (w == (hi - 1) >> 6) bits &= ~(uint64_t)0 >> (63 - ((hi - 1) & 63));
        block[w] |= bits;
    }
}

// Walks the parts that the ranges cut out of blocks. With c NULL it only counts the blocks needed.
static size_t fill_blocks(hth_charset *c, const hth_cpset *s) {
    size_t n = 2;
    uint32_t last = UINT32_MAX; // block that the latest partial range lies in
    for (size_t i = 0; i < s->n; i += 2) {
        for (uint32_t at = s->r[i]; at < s->r[i + 1];) {
            uint32_t block = at >> 8, end = (block + 1) << 8;
            if (end > s->r[i + 1]) end = s->r[i + 1];
            if (end - at == 256) {
                if (c) c->index[block] = 1;
            } else {
                if (block != last) n++;
                last = block;
                if (c) {
                    c->index[block] = (uint16_t)(n - 1);
                    set_bits(c->blocks[n - 1], at & 255, ((end - 1) & 255) + 1);
                }
            }
            at = end;
        }
    }
    return n;
}

hth_charset *hth_charset_make(const hth_cpset *s) {
    if (s->failed) return NULL;
    size_t n = fill_blocks(NULL, s);
    hth_charset *c = hth_calloc(HTH_MEM_TEXT, 1, sizeof *c + n * sizeof c->blocks[0]);
    if (!c) return NULL;
    memset(c->blocks[1], 0xff, sizeof c->blocks[1]);
    (void)fill_blocks(c, s);
    memcpy(c->ascii, c->blocks[c->index[0]], sizeof c->ascii);
    return c;
}
