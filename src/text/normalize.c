// Each step reads one buffer and writes the other. Text that a step would leave alone is passed on
// without a copy where that is cheap to see.
#include "text/normalize.h"

#include <string.h>
#include <utf8proc.h>

#include "base/checked.h"

#define MAX_TEXT ((size_t)1 << 31)

void hth_norm_free(norm_step *s) {
    hth_free(s->pattern);
    hth_free(s->content);
    hth_regex_free(s->re);
    hth_charsmap_free(&s->map);
    hth_free(s->steady);
    hth_free(s->accents);
    hth_free(s->drop);
    hth_free(s->spaces);
    hth_free(s->apart);
    *s = (norm_step){0};
}

void hth_norm_work_free(norm_work *w) {
    hth_str_free(&w->buf[0]);
    hth_str_free(&w->buf[1]);
    hth_free(w->cps);
    hth_matcher_free(&w->matcher);
    *w = (norm_work){0};
}

// ---- normal forms ----

#define MAX_EXPANSION 64 // code points that one may decompose to; the longest today is 18

static unsigned form_options(norm_kind kind) {
    unsigned o = UTF8PROC_STABLE;
    if (kind == NORM_NFKC || kind == NORM_NFKD) o |= UTF8PROC_COMPAT;
    return o | (kind == NORM_NFC || kind == NORM_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
}

static unsigned combining_class(uint32_t cp) {
    return cp < 0x300 ? 0 : (unsigned)utf8proc_get_property((utf8proc_int32_t)cp)->combining_class;
}

// The full decomposition of cp; at least one code point.
static size_t decompose(uint32_t cp, unsigned options, uint32_t *out, size_t room) {
    utf8proc_int32_t buf[MAX_EXPANSION];
    int last = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)cp, buf, MAX_EXPANSION,
        (utf8proc_option_t)((options & ~(unsigned)UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE), &last);
    if (n <= 0 || n > MAX_EXPANSION || (size_t)n > room) {
        out[0] = cp;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)buf[i];
    return (size_t)n;
}

// Characters that stay as they are and do not interact: class 0, their own normal form, and never the
// second half of a composition.
static hth_code make_steady(norm_step *s, const hth_unicode *u, hth_err *err) {
    hth_cpset set = {0}, seconds = {0};
    unsigned options = form_options(s->kind);
    bool compose = options & UTF8PROC_COMPOSE;
    for (size_t r = 0; r + 1 < u->n_run; r++) {
        uint32_t end = u->runs[r + 1].first;
        if (u->runs[r].cat == HTH_CAT_CN || u->runs[r].cat == HTH_CAT_CO || u->runs[r].cat == HTH_CAT_CS) {
            if (u->runs[r].cat != HTH_CAT_CS) hth_cpset_add(&set, u->runs[r].first, end - 1);
            continue;
        }
        for (uint32_t cp = u->runs[r].first; cp < end; cp++) {
            uint32_t parts[MAX_EXPANSION];
            if (cp >= 0xac00 && cp <= 0xd7a3) { // Hangul syllables
                if (compose) hth_cpset_add(&set, cp, cp);
                continue;
            }
            size_t n = decompose(cp, options, parts, MAX_EXPANSION);
            bool same = n == 1 && parts[0] == cp;
            if (!same && compose && n > 0) {
                for (size_t i = 1; i < n; i++) hth_cpset_add(&seconds, parts[i], parts[i]);
                n = (size_t)utf8proc_normalize_utf32((utf8proc_int32_t *)parts, (utf8proc_ssize_t)n,
                                                     (utf8proc_option_t)options);
                same = n == 1 && parts[0] == cp;
            }
            if (same && combining_class(cp) == 0) hth_cpset_add(&set, cp, cp);
        }
    }
    if (compose) {
        hth_cpset_add(&seconds, 0x1161, 0x1175); // vowels and finals of Hangul
        hth_cpset_add(&seconds, 0x11a7, 0x11c2);
        hth_cpset_sort(&seconds);
        hth_cpset_invert(&seconds);
        hth_cpset_intersect(&set, &seconds);
    }
    hth_cpset_sort(&set);
    s->steady = hth_charset_make(&set);
    hth_cpset_free(&set);
    hth_cpset_free(&seconds);
    return s->steady ? HTH_OK : hth_fail_nomem(err, sizeof *s->steady);
}

// Sorts each run of combining marks by class, stably: by insertion when short, else by counting.
static hth_code order_marks(norm_work *w, size_t n, hth_err *err) {
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && combining_class(w->cps[end]) != 0) end++;
        size_t len = end - i;
        if (len > 32) {
            uint32_t *copy = hth_alloc(HTH_MEM_TEXT, len * sizeof *copy);
            if (!copy) return hth_fail_nomem(err, len * sizeof *copy);
            memcpy(copy, w->cps + i, len * sizeof *copy);
            size_t at[257] = {0};
            for (size_t k = 0; k < len; k++) at[combining_class(copy[k]) + 1]++;
            for (size_t k = 1; k < 257; k++) at[k] += at[k - 1];
            for (size_t k = 0; k < len; k++) w->cps[i + at[combining_class(copy[k])]++] = copy[k];
            hth_free(copy);
        } else {
            for (size_t k = i + 1; k < end; k++) {
                uint32_t cp = w->cps[k];
                size_t j = k;
                for (; j > i && combining_class(w->cps[j - 1]) > combining_class(cp); j--)
                    w->cps[j] = w->cps[j - 1];
                w->cps[j] = cp;
            }
        }
        i = end + 1;
    }
    return HTH_OK;
}

// Normalizes one stretch that begins and ends at safe places.
static hth_code form_stretch(const norm_step *s, norm_work *w, hth_str *out, const uint8_t *text, size_t n,
                             hth_err *err) {
    unsigned options = form_options(s->kind);
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (!hth_grow(HTH_MEM_TEXT, (void **)&w->cps, &w->cap_cps, k + MAX_EXPANSION, sizeof *w->cps,
                      MAX_TEXT)) {
            return hth_fail_nomem(err, k * sizeof *w->cps);
        }
        k += decompose(cp, options, w->cps + k, MAX_EXPANSION);
        i += len;
    }
    HTH_TRY(order_marks(w, k, err));
    if (options & UTF8PROC_COMPOSE && k > 0) {
        utf8proc_ssize_t m = utf8proc_normalize_utf32((utf8proc_int32_t *)w->cps, (utf8proc_ssize_t)k,
                                                      (utf8proc_option_t)options);
        if (m >= 0) k = (size_t)m;
    }
    for (size_t i = 0; i < k; i++) {
        uint8_t buf[4];
        (void)hth_str_append(out, buf, hth_cp_encode(w->cps[i], buf));
    }
    return HTH_OK;
}

// Copies steady text; around every other character takes the stretch from the steady character before it
// up to the next steady one. Invalid bytes end a stretch and are copied.
static hth_code apply_form(const norm_step *s, norm_work *w, hth_str *out, const uint8_t *text, size_t n,
                           hth_err *err) {
    size_t copied = 0, before = 0; // before: start of the latest character, if steady
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (hth_charset_has(s->steady, cp) || hth_cp_is_invalid(text + i, cp, len)) {
            before = cp == HTH_CP_BAD ? i + len : i;
            i += len;
            continue;
        }
        size_t end = i + len;
        while (end < n) {
            cp = hth_cp_at(text + end, n - end, &len);
            if (hth_charset_has(s->steady, cp) || cp == HTH_CP_BAD) break;
            end += len;
        }
        (void)hth_str_append(out, text + copied, before - copied);
        HTH_TRY(form_stretch(s, w, out, text + before, end - before, err));
        i = copied = before = end;
    }
    (void)hth_str_append(out, text + copied, n - copied);
    return HTH_OK;
}

// ---- the others ----

static void put_cp(hth_str *out, uint32_t cp) {
    uint8_t buf[4];
    (void)hth_str_append(out, buf, hth_cp_encode(cp, buf));
}

static void put_lower(hth_str *out, uint32_t cp) {
    if (cp == 0x130) { // the one letter whose lower case is two characters
        put_cp(out, 'i');
        put_cp(out, 0x307);
        return;
    }
    put_cp(out, cp < 128 ? (cp >= 'A' && cp <= 'Z' ? cp + 32 : cp)
                         : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

// Calls for each character: lower case, or dropping of nonspacing marks. Invalid bytes are copied.
static void map_chars(hth_str *out, const uint8_t *text, size_t n, const hth_charset *drop, bool lower) {
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (drop && hth_charset_has(drop, cp)) {
            // left out
        } else if (lower && cp != HTH_CP_BAD) {
            put_lower(out, cp);
        } else {
            (void)hth_str_append(out, text + i, len);
        }
        i += len;
    }
}

static void strip_ends(const norm_step *s, const uint8_t **text, size_t *n) {
    unsigned len;
    while (s->left && *n > 0 && hth_cp_is_space(hth_cp_at(*text, *n, &len))) {
        *text += len;
        *n -= len;
    }
    while (s->right && *n > 0) {
        size_t at = hth_cp_before(*text, *n);
        if (!hth_cp_is_space(hth_cp_at(*text + at, *n - at, &len))) break;
        *n = at;
    }
}

static void replace_text(const norm_step *s, hth_str *out, const uint8_t *text, size_t n) {
    size_t copied = 0;
    for (size_t i = 0; s->n_pattern > 0 && i + s->n_pattern <= n;) {
        const uint8_t *hit = memchr(text + i, s->pattern[0], n - s->n_pattern - i + 1);
        if (!hit) break;
        i = (size_t)(hit - text);
        if (memcmp(hit, s->pattern, s->n_pattern) != 0) {
            i++;
            continue;
        }
        (void)hth_str_append(out, text + copied, i - copied);
        (void)hth_str_append(out, s->content, s->n_content);
        i += s->n_pattern;
        copied = i;
    }
    (void)hth_str_append(out, text + copied, n - copied);
}

static hth_code replace_matches(const norm_step *s, norm_work *w, hth_str *out, const uint8_t *text, size_t n,
                                hth_err *err) {
    HTH_TRY(hth_matcher_begin(&w->matcher, s->re, text, n, err));
    size_t copied = 0, from = 0;
    while (from <= n) {
        bool found;
        size_t start, end;
        HTH_TRY(hth_matcher_find(&w->matcher, from, &found, &start, &end, err));
        if (!found) break;
        (void)hth_str_append(out, text + copied, start - copied);
        (void)hth_str_append(out, s->content, s->n_content);
        copied = end;
        from = end;
        if (start == end) {
            if (end >= n) break;
            unsigned len;
            (void)hth_cp_at(text + end, n - end, &len);
            from += len;
        }
    }
    (void)hth_str_append(out, text + copied, n - copied);
    return HTH_OK;
}

// BertNormalizer without accents and case, which are steps of their own: control characters out, spaces
// plain, ideographs apart.
static void apply_bert(const norm_step *s, hth_str *out, const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (s->clean && hth_charset_has(s->drop, cp)) {
            // left out
        } else if (s->clean && hth_charset_has(s->spaces, cp)) {
            (void)hth_str_putc(out, ' ');
        } else if (s->spaced && hth_charset_has(s->apart, cp)) {
            (void)hth_str_putc(out, ' ');
            (void)hth_str_append(out, text + i, len);
            (void)hth_str_putc(out, ' ');
        } else {
            (void)hth_str_append(out, text + i, len);
        }
        i += len;
    }
}

static void map_prefix(const hth_charsmap *map, hth_str *out, const uint8_t *text, size_t n) {
    const char *to;
    size_t n_to;
    if (hth_charsmap_find(map, text, n, false, &to, &n_to) > 0) {
        (void)hth_str_append(out, to, n_to);
    } else {
        (void)hth_str_append(out, text, n);
    }
}

// The `tokenizers` package maps a grapheme below six bytes as a whole when a prefix of it has an entry,
// and otherwise character by character; in both cases it takes the shortest prefix.
static void apply_charsmap(const norm_step *s, hth_str *out, const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        size_t end = i + len;
        utf8proc_int32_t state = 0;
        while (end < n) {
            uint32_t next = hth_cp_at(text + end, n - end, &len);
            if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)cp, (utf8proc_int32_t)next, &state)) break;
            cp = next;
            end += len;
        }
        const char *to;
        size_t n_to;
        if (end - i < 6 && hth_charsmap_find(&s->map, text + i, end - i, false, &to, &n_to) > 0) {
            (void)hth_str_append(out, to, n_to);
        } else {
            for (size_t k = i; k < end; k += len) {
                (void)hth_cp_at(text + k, end - k, &len);
                map_prefix(&s->map, out, text + k, len);
            }
        }
        i = end;
    }
}

typedef struct sp_state {
    hth_str *out;
    const char *space;
    size_t n_waiting; // spaces that are only written if something follows
    bool any;         // something was written
} sp_state;

static void sp_put(const norm_step *s, sp_state *st, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            if (!s->merge_spaces) {
                (void)hth_str_puts(st->out, st->space);
                st->any = true;
            } else if (st->any) {
                st->n_waiting = 1;
            }
            continue;
        }
        if (st->n_waiting) (void)hth_str_puts(st->out, st->space);
        st->n_waiting = 0;
        st->any = true;
        (void)hth_str_putc(st->out, text[i]);
    }
}

// SentencePiece's normalizer.cc: the map by longest prefix, runs of spaces to one, ends stripped, a
// space in front (or behind), spaces written as U+2581.
static void apply_sentencepiece(const norm_step *s, hth_str *out, const uint8_t *text, size_t n) {
    sp_state st = {.out = out, .space = s->escape ? "\xe2\x96\x81" : " "};
    size_t before = out->len;
    if (s->add_prefix && !s->as_suffix) (void)hth_str_puts(out, st.space);
    size_t prefixed = out->len;
    for (size_t i = 0; i < n;) {
        const char *to = (const char *)text + i;
        size_t n_to;
        size_t taken = hth_charsmap_find(&s->map, text + i, n - i, true, &to, &n_to);
        if (taken == 0) {
            unsigned len;
            (void)hth_cp_at(text + i, n - i, &len);
            taken = n_to = len;
        }
        sp_put(s, &st, to, n_to);
        i += taken;
    }
    if (out->len == prefixed) {
        if (out->p) out->len = before;
    } else if (s->add_prefix && s->as_suffix) {
        (void)hth_str_puts(out, st.space);
    }
}

static void apply_nmt(hth_str *out, const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t c = hth_cp_at(text + i, n - i, &len);
        bool drop =
            (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
        bool space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
                     (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xfeff || c == 0xfffd;
        if (space) {
            (void)hth_str_putc(out, ' ');
        } else if (!drop) {
            (void)hth_str_append(out, text + i, len);
        }
        i += len;
    }
}

static void apply_byte_alphabet(hth_str *out, const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n; i++) put_cp(out, hth_byte_to_char[text[i]]);
}

// ---- running ----

// One step from (*text, *n) into out; a step that needs no copy changes them and leaves out empty.
static hth_code apply_step(const norm_step *s, norm_work *w, hth_str *out, const uint8_t *text, size_t n,
                           hth_err *err) {
    switch (s->kind) {
    case NORM_NFC:
    case NORM_NFD:
    case NORM_NFKC:
    case NORM_NFKD: return apply_form(s, w, out, text, n, err);
    case NORM_LOWERCASE: map_chars(out, text, n, NULL, true); break;
    case NORM_STRIP_ACCENTS: map_chars(out, text, n, s->accents, false); break;
    case NORM_STRIP: break;
    case NORM_REPLACE: replace_text(s, out, text, n); break;
    case NORM_REPLACE_RE: return replace_matches(s, w, out, text, n, err);
    case NORM_PREPEND:
        (void)hth_str_append(out, s->content, s->n_content);
        (void)hth_str_append(out, text, n);
        break;
    case NORM_BERT: apply_bert(s, out, text, n); break;
    case NORM_CHARSMAP: apply_charsmap(s, out, text, n); break;
    case NORM_SENTENCEPIECE: apply_sentencepiece(s, out, text, n); break;
    case NORM_NMT: apply_nmt(out, text, n); break;
    case NORM_BYTE_ALPHABET: apply_byte_alphabet(out, text, n); break;
    }
    return HTH_OK;
}

static bool is_all_valid(const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (hth_cp_is_invalid(text + i, cp, len)) return false;
        i += len;
    }
    return true;
}

static hth_str *empty_buffer(norm_work *w, const hth_str *not_this) {
    hth_str *b = &w->buf[not_this == &w->buf[0]];
    if (b->max == 0) hth_str_init(b, HTH_MEM_TEXT, MAX_TEXT);
    hth_str_clear(b);
    return b;
}

hth_code hth_normalize(const norm_step *steps, size_t n_step, bool keep_invalid, norm_work *w,
                       const uint8_t *text, size_t n, const uint8_t **out, size_t *n_out, hth_err *err) {
    bool sanitize = !keep_invalid && !is_all_valid(text, n);
    hth_str *held = NULL; // the buffer that text lies in
    if (sanitize) {
        held = empty_buffer(w, NULL);
        hth_utf8_sanitize(held, text, n);
        if (held->failed) return hth_fail_nomem(err, n);
        text = (const uint8_t *)hth_str_text(held);
        n = held->len;
    }
    for (size_t i = 0; i < n_step && n > 0; i++) {
        if (steps[i].kind == NORM_STRIP) {
            strip_ends(&steps[i], &text, &n);
            continue;
        }
        hth_str *to = empty_buffer(w, held);
        HTH_TRY(apply_step(&steps[i], w, to, text, n, err));
        if (to->failed) return hth_fail_nomem(err, n);
        held = to;
        text = (const uint8_t *)hth_str_text(to);
        n = to->len;
    }
    *out = text;
    *n_out = n;
    return HTH_OK;
}

// ---- preparing ----

static hth_charset *make_set(hth_cpset *set) {
    hth_cpset_sort(set);
    hth_charset *made = hth_charset_make(set);
    hth_cpset_free(set);
    return made;
}

static hth_code finish_bert(norm_step *s, const hth_unicode *u, hth_err *err) {
    hth_cpset drop = {0}, spaces = {0}, apart = {0};
    hth_cpset_add_cats(&drop, u, 1u << HTH_CAT_CC | 1u << HTH_CAT_CF | 1u << HTH_CAT_CO);
    hth_cpset_add(&drop, HTH_CP_BAD, HTH_CP_BAD);
    hth_cpset plain = {0};
    hth_cpset_add(&plain, '\t', '\n');
    hth_cpset_add(&plain, '\r', '\r');
    hth_cpset_sort(&plain);
    hth_cpset_invert(&plain);
    hth_cpset_intersect(&drop, &plain);
    hth_cpset_free(&plain);
    hth_cpset_add_space(&spaces);
    // The ideographs of BERT's tokenization.py, with the ranges that the `tokenizers` package has.
    static const uint32_t ideographs[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
                                             {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
                                             {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < HTH_COUNT(ideographs); i++)
        hth_cpset_add(&apart, ideographs[i][0], ideographs[i][1]);
    s->drop = make_set(&drop);
    s->spaces = make_set(&spaces);
    s->apart = make_set(&apart);
    return s->drop && s->spaces && s->apart ? HTH_OK : hth_fail_nomem(err, sizeof(hth_charset));
}

hth_code hth_norm_finish(norm_step *s, const hth_unicode *u, hth_err *err) {
    hth_cpset set = {0};
    switch (s->kind) {
    case NORM_NFC:
    case NORM_NFD:
    case NORM_NFKC:
    case NORM_NFKD: return make_steady(s, u, err);
    case NORM_BERT: return finish_bert(s, u, err);
    case NORM_STRIP_ACCENTS:
        hth_cpset_add_cats(&set, u, s->nonspacing ? 1u << HTH_CAT_MN : HTH_CATS_M);
        s->accents = make_set(&set);
        return s->accents ? HTH_OK : hth_fail_nomem(err, sizeof(hth_charset));
    default: return HTH_OK;
    }
}
