// Sets of characters as bytes: in UTF-8, and inside JSON strings with their escapes. A range of numbers with the same
// count of digits (UTF-8's bytes, hexadecimal digits) becomes a few sequences of ranges of digits.
#include <string.h>

#include "grammar/build.h"

#define MAX_DIGITS 8
#define MEMO_MAX 512
#define DFA_WEIGHT 24 // heavier sets become an automaton of their own, which is small

typedef struct digit_range {
    unsigned n;
    uint16_t lo[MAX_DIGITS], hi[MAX_DIGITS];   // the range's ends
    uint16_t min[MAX_DIGITS], max[MAX_DIGITS]; // of each digit
    bool is_hex; // digits are hexadecimal characters; else bytes
} digit_range;

static g_rx digit(g_build *b, const digit_range *r, unsigned lo, unsigned hi) {
    g_byteset set = {0};
    for (unsigned v = lo; v <= hi; v++) {
        unsigned c = v;
        if (r->is_hex) {
            c = v < 10 ? '0' + v : 'a' + v - 10;
            if (v >= 10) set.bits['A' >> 6] |= 1ull << (('A' + v - 10) & 63);
        }
        set.bits[c >> 6] |= 1ull << (c & 63);
    }
    return g_rx_set(b, &set);
}

// Digits from `at` on, bounded below and above where the ones before were at the range's ends.
static g_rx digits(g_build *b, const digit_range *r, unsigned at, bool at_lo, bool at_hi) {
    if (at == r->n || b->code != HTH_OK) return g_rx_empty(b);
    unsigned lo = at_lo ? r->lo[at] : r->min[at], hi = at_hi ? r->hi[at] : r->max[at];
    if (!at_lo && !at_hi) return g_rx_cat2(b, digit(b, r, lo, hi), digits(b, r, at + 1, false, false));
    if (lo == hi) return g_rx_cat2(b, digit(b, r, lo, hi), digits(b, r, at + 1, at_lo, at_hi));
    g_rx parts[3];
    size_t n = 0;
    if (at_lo) {
        parts[n++] = g_rx_cat2(b, digit(b, r, lo, lo), digits(b, r, at + 1, true, false));
        lo++;
    }
    if (at_hi) {
        parts[n++] = g_rx_cat2(b, digit(b, r, hi, hi), digits(b, r, at + 1, false, true));
        hi--;
    }
    if (lo <= hi) parts[n++] = g_rx_cat2(b, digit(b, r, lo, hi), digits(b, r, at + 1, false, false));
    return g_rx_alt(b, parts, n);
}

// A growing list of alternatives.
typedef struct choices {
    g_rx *list; // owned
    size_t n, cap;
} choices;

static void choices_add(g_build *b, choices *c, g_rx x) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&c->list, &c->cap, c->n + 1, sizeof *c->list, 1u << 20)) {
        g_fail_nomem(b);
        return;
    }
    c->list[c->n++] = x;
}

static void add_utf8(g_build *b, choices *c, uint32_t first, uint32_t last) {
    static const uint32_t ends[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
    for (unsigned k = 0; k < 4 && first <= last; k++) {
        if (first > ends[k]) continue;
        uint32_t to = last < ends[k] ? last : ends[k];
        digit_range r = {.n = k + 1};
        uint8_t lo[4], hi[4];
        hth_cp_encode(first, lo);
        hth_cp_encode(to, hi);
        for (unsigned i = 0; i <= k; i++) {
            r.lo[i] = lo[i];
            r.hi[i] = hi[i];
            r.min[i] = 0x80;
            r.max[i] = 0xbf;
        }
        choices_add(b, c, digits(b, &r, 0, true, true));
        first = to + 1;
    }
}

static g_rx hex4(g_build *b, uint32_t first, uint32_t last) {
    digit_range r = {.n = 4, .is_hex = true};
    for (unsigned i = 0; i < 4; i++) {
        r.lo[i] = first >> (12 - 4 * i) & 15;
        r.hi[i] = last >> (12 - 4 * i) & 15;
        r.max[i] = 15;
    }
    return g_rx_cat2(b, g_rx_text(b, "\\u"), digits(b, &r, 0, true, true));
}

static void add_pair(g_build *b, choices *c, uint32_t hi0, uint32_t hi1, uint32_t lo0, uint32_t lo1) {
    if (hi0 > hi1) return;
    choices_add(b, c, g_rx_cat2(b, hex4(b, 0xd800 + hi0, 0xd800 + hi1), hex4(b, 0xdc00 + lo0, 0xdc00 + lo1)));
}

// Characters beyond the first plane as pairs of surrogates.
static void add_pairs(g_build *b, choices *c, uint32_t first, uint32_t last) {
    uint32_t h0 = (first - 0x10000) >> 10, l0 = first & 1023, h1 = (last - 0x10000) >> 10, l1 = last & 1023;
    if (h0 == h1) {
        add_pair(b, c, h0, h0, l0, l1);
        return;
    }
    add_pair(b, c, h0, h0, l0, 1023);
    add_pair(b, c, h1, h1, 0, l1);
    add_pair(b, c, h0 + 1, h1 - 1, 0, 1023);
}

static void add_escapes(g_build *b, choices *c, uint32_t first, uint32_t last) {
    static const char from[] = "\"\\/\b\f\n\r\t", to[] = "\"\\/bfnrt";
    for (size_t i = 0; i < sizeof from - 1; i++) {
        if ((uint8_t)from[i] >= first && (uint8_t)from[i] <= last) {
            choices_add(b, c, g_rx_literal(b, (char[]){'\\', to[i]}, 2));
        }
    }
    if (first <= 0xffff) choices_add(b, c, hex4(b, first, last < 0xffff ? last : 0xffff));
    if (last > 0xffff) add_pairs(b, c, first > 0x10000 ? first : 0x10000, last);
}

static bool has_raw_json(uint32_t cp) {
    return cp >= 0x20 && cp != '"' && cp != '\\';
}

// One range without surrogates.
static void add_range(g_build *b, choices *c, uint32_t first, uint32_t last, g_encoding enc) {
    if (enc == ENC_UTF8) {
        add_utf8(b, c, first, last);
        return;
    }
    for (uint32_t cp = first; cp <= last && cp <= '\\'; cp++) { // one by one where some must be escaped
        if (has_raw_json(cp)) add_utf8(b, c, cp, cp);
    }
    if (last > '\\') add_utf8(b, c, first > '\\' ? first : '\\' + 1, last);
    if (enc == ENC_JSON) {
        add_escapes(b, c, first, last);
        return;
    }
    for (uint32_t cp = first; cp <= last && cp <= '\\'; cp++) {
        if (!has_raw_json(cp)) add_escapes(b, c, cp, cp);
        if (cp == '/') choices_add(b, c, g_rx_text(b, "\\/"));
    }
    if (first == last && first >= 0x7f) add_escapes(b, c, first, last);
}

static g_rx make_chars(g_build *b, const hth_cpset *set, g_encoding enc) {
    choices c = {0};
    for (size_t i = 0; i < set->n && b->code == HTH_OK; i += 2) {
        const uint32_t first = set->r[i], last = set->r[i + 1] - 1;
        const uint32_t below = last < 0xd7ff ? last : 0xd7ff, above = first > 0xe000 ? first : 0xe000;
        if (first <= below) add_range(b, &c, first, below, enc);
        if (above <= last) add_range(b, &c, above, last, enc);
    }
    g_rx x = g_rx_alt(b, c.list, c.n);
    hth_free(c.list);
    if (g_rx_weight(b, x) <= DFA_WEIGHT) return x;
    uint32_t dfa = g_dfa_of(b, x);
    return dfa == G_NONE ? 0 : g_rx_dfa(b, dfa);
}

static void remember(g_build *b, const hth_cpset *set, g_encoding enc, g_rx x) {
    if (b->n_charset >= MEMO_MAX || b->code != HTH_OK) return;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->charsets, &b->cap_charset, b->n_charset + 1, sizeof *b->charsets, MEMO_MAX)) {
        return; // it is made again next time
    }
    hth_cpset copy = {0};
    hth_cpset_add_set(&copy, set);
    if (copy.failed) {
        hth_cpset_free(&copy);
        return;
    }
    hth_cpset_sort(&copy);
    b->charsets[b->n_charset++] = (struct g_charset_memo){.set = copy, .enc = enc, .rx = x};
}

g_rx g_rx_chars(g_build *b, hth_cpset *set, g_encoding enc) {
    if (b->code != HTH_OK) return 0;
    hth_cpset_sort(set);
    if (set->failed) return g_fail_nomem(b);
    for (size_t i = 0; i < b->n_charset; i++) {
        if (b->charsets[i].enc == enc && hth_cpset_equal(&b->charsets[i].set, set)) return b->charsets[i].rx;
    }
    g_rx x = make_chars(b, set, enc);
    remember(b, set, enc, x);
    return x;
}
