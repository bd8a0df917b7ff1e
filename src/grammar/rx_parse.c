// The syntax of regular expressions, as ECMAScript and Python have it: what both mean alike is meant so, and what no
// automaton can do (back-references, look-behind, word edges, look-ahead inside of groups) is refused by name.
//
// Look-ahead on the outermost level is an intersection: (?=A)B is what both A, with anything behind, and B match.
// The parser keeps its own stack: one frame per open group.
#include <string.h>

#include "grammar/build.h"
#include "text/regex_impl.h" // hth_re_add_property

typedef struct item {
    g_rx x;
    int8_t look; // 1: a look-ahead, -1: a negated one, 0: neither
} item;

typedef struct frame {
    size_t alts;  // where the finished alternatives of the group begin
    size_t items; // where the alternative at work begins
    int8_t look;
    bool fold;
} frame;

typedef struct parser {
    g_build *b;
    const g_regex_params *p;
    const char *text;
    size_t n, at;
    bool fold, dot_all;
    item *items; // owned
    size_t n_item, cap_item;
    g_rx *alts; // owned
    size_t n_alt, cap_alt;
    frame *frames; // owned
    size_t n_frame, cap_frame;
} parser;

static g_rx refuse(parser *r, const char *what) {
    g_fail(r->b, HTH_ERR_UNSUPPORTED, "regular expression, byte %zu: %s", r->at, what);
    return 0;
}

static g_rx bad(parser *r, const char *what) {
    g_fail(r->b, HTH_ERR_FORMAT, "regular expression, byte %zu: %s", r->at, what);
    return 0;
}

static bool more(const parser *r) {
    return r->b->code == HTH_OK && r->at < r->n;
}

static bool looking_at(const parser *r, const char *text) {
    const size_t n = strlen(text);
    return r->n - r->at >= n && memcmp(r->text + r->at, text, n) == 0;
}

static bool take(parser *r, const char *text) {
    if (!looking_at(r, text)) return false;
    r->at += strlen(text);
    return true;
}

static uint32_t take_char(parser *r) {
    unsigned len;
    uint32_t cp = hth_cp_at((const uint8_t *)r->text + r->at, r->n - r->at, &len);
    r->at += len;
    return cp;
}

// ---- classes

static bool is_word_char(uint32_t c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void add_space(const parser *r, hth_cpset *set) {
    hth_cpset_add_space(set);
    if (r->p->syntax == REGEX_ECMA) hth_cpset_add(set, 0xfeff, 0xfeff);
}

// \d, \w, \s and their opposites; false where c is none of them.
static bool add_class(parser *r, hth_cpset *set, char c) {
    const bool is_unicode = r->p->syntax == REGEX_PYTHON;
    hth_cpset one = {0};
    switch (c) {
    case 'd':
    case 'D':
        hth_cpset_add(&one, '0', '9');
        if (is_unicode && g_unicode(r->b)) hth_cpset_add_cats(&one, g_unicode(r->b), 1u << HTH_CAT_ND);
        break;
    case 'w':
    case 'W':
        for (uint32_t k = 0; k < 128; k++) {
            if (is_word_char(k)) hth_cpset_add(&one, k, k);
        }
        if (is_unicode && g_unicode(r->b)) hth_cpset_add_word(&one, g_unicode(r->b));
        break;
    case 's':
    case 'S': add_space(r, &one); break;
    default: return false;
    }
    if (c < 'a') hth_cpset_invert(&one);
    hth_cpset_sort(&one);
    hth_cpset_add_set(set, &one);
    hth_cpset_free(&one);
    return true;
}

static void add_property(parser *r, hth_cpset *set, bool is_negated) {
    size_t from = r->at, n = 1;
    if (take(r, "{")) {
        from = r->at;
        const char *close = memchr(r->text + from, '}', r->n - from);
        if (!close) {
            bad(r, "\\p{ without }");
            return;
        }
        n = (size_t)(close - (r->text + from));
        r->at = from + n + 1;
    } else if (more(r)) {
        r->at++;
    } else {
        bad(r, "\\p without a name");
        return;
    }
    const hth_unicode *u = g_unicode(r->b);
    hth_cpset one = {0};
    // General_Category=Lu and gc=Lu are what Lu is.
    const char *eq = memchr(r->text + from, '=', n);
    if (eq && (memcmp(r->text + from, "gc", 2) == 0 || memcmp(r->text + from, "General", n < 7 ? n : 7) == 0)) {
        n -= (size_t)(eq + 1 - (r->text + from));
        from = (size_t)(eq + 1 - r->text);
    }
    if (u && !hth_re_add_property(u, &one, r->text + from, n)) refuse(r, "a property of characters that is not known");
    if (is_negated) hth_cpset_invert(&one);
    hth_cpset_sort(&one);
    hth_cpset_add_set(set, &one);
    hth_cpset_free(&one);
}

static bool take_hex(parser *r, unsigned n, uint32_t *out) {
    uint32_t v = 0;
    if (r->n - r->at < n) return false;
    for (unsigned i = 0; i < n; i++) {
        const char c = r->text[r->at + i];
        const int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0) return false;
        v = v << 4 | (uint32_t)d;
    }
    r->at += n;
    *out = v;
    return true;
}

static uint32_t take_unicode_escape(parser *r) {
    uint32_t v = 0, low;
    if (take(r, "{")) {
        unsigned n = 0;
        while (more(r) && r->text[r->at] != '}' && n++ < 8) {
            uint32_t d;
            if (!take_hex(r, 1, &d)) break;
            v = v << 4 | d;
        }
        if (!take(r, "}") || v >= HTH_CP_END) bad(r, "a bad \\u{...}");
        return v;
    }
    if (!take_hex(r, 4, &v)) {
        bad(r, "\\u without four hexadecimal digits");
        return 0;
    }
    const size_t after = r->at;
    if (v >= 0xd800 && v < 0xdc00 && take(r, "\\u") && take_hex(r, 4, &low) && low >= 0xdc00 && low < 0xe000) {
        return 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
    }
    r->at = after;
    return v;
}

// One character written with a backslash, which is behind us.
static uint32_t take_escape(parser *r) {
    uint32_t v = 0;
    const uint32_t c = take_char(r);
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a':
        if (r->p->syntax == REGEX_PYTHON) return '\a';
        break;
    case '0':
        if (!more(r) || r->text[r->at] < '0' || r->text[r->at] > '9') return 0;
        break;
    case 'x':
        if (!take_hex(r, 2, &v)) bad(r, "\\x without two hexadecimal digits");
        return v;
    case 'u': return take_unicode_escape(r);
    case 'U':
        if (!take_hex(r, 8, &v) || v >= HTH_CP_END) bad(r, "\\U without eight hexadecimal digits");
        return v;
    case 'c':
        if (more(r)) return (uint32_t)take_char(r) & 31;
        break;
    case 'k': refuse(r, "back-references are not regular"); return 0;
    default: break;
    }
    if (c >= '1' && c <= '9') {
        refuse(r, "back-references are not regular");
    } else if (is_word_char(c) && c != '_') {
        bad(r, "an unknown escape");
    }
    return c;
}

// One end of a range in brackets, or a whole class: then *is_class.
static uint32_t take_class_atom(parser *r, hth_cpset *set, bool *is_class) {
    *is_class = false;
    uint32_t c = take_char(r);
    if (c != '\\') return c;
    if (!more(r)) return bad(r, "a \\ at the end");
    const char e = r->text[r->at];
    *is_class = true;
    if (add_class(r, set, e)) {
        r->at++;
        return 0;
    }
    if (e == 'p' || e == 'P') {
        r->at++;
        add_property(r, set, e == 'P');
        return 0;
    }
    *is_class = false;
    if (e == 'b') {
        r->at++;
        return '\b';
    }
    return take_escape(r);
}

static g_rx chars(parser *r, hth_cpset *set) {
    if (r->fold) hth_cpset_fold(set);
    return g_rx_chars(r->b, set, r->p->enc);
}

static void add_posix(parser *r, hth_cpset *set) {
    const char *close = r->n - r->at >= 2 ? memchr(r->text + r->at, ':', r->n - r->at) : NULL;
    if (!close || close + 1 >= r->text + r->n || close[1] != ']') {
        bad(r, "[: without :]");
        return;
    }
    const size_t n = (size_t)(close - (r->text + r->at));
    if (g_unicode(r->b) && !hth_re_add_property(g_unicode(r->b), set, r->text + r->at, n)) refuse(r, "an unknown [:class:]");
    r->at += n + 2;
}

static g_rx take_brackets(parser *r) {
    hth_cpset set = {0};
    const bool is_negated = take(r, "^");
    bool is_first = true;
    while (more(r) && (r->text[r->at] != ']' || (is_first && r->p->syntax == REGEX_PYTHON))) {
        is_first = false;
        bool is_class, is_class2;
        if (r->p->syntax == REGEX_PYTHON && take(r, "[:")) {
            add_posix(r, &set);
            continue;
        }
        uint32_t lo = take_class_atom(r, &set, &is_class), hi = lo;
        if (is_class) continue;
        if (looking_at(r, "-") && r->n - r->at >= 2 && r->text[r->at + 1] != ']') {
            const size_t dash = r->at++;
            hi = take_class_atom(r, &set, &is_class2);
            if (is_class2) {
                hi = lo;
                hth_cpset_add(&set, '-', '-');
            } else if (hi < lo) {
                r->at = dash;
                bad(r, "a range that ends before it begins");
            }
        }
        hth_cpset_add(&set, lo, hi);
    }
    if (!take(r, "]")) bad(r, "[ without ]");
    hth_cpset_sort(&set);
    if (r->fold) hth_cpset_fold(&set);
    if (is_negated) hth_cpset_invert(&set);
    g_rx x = g_rx_chars(r->b, &set, r->p->enc);
    hth_cpset_free(&set);
    return x;
}

// ---- atoms

static g_rx one_char(parser *r, uint32_t cp) {
    hth_cpset set = {0};
    hth_cpset_add(&set, cp, cp);
    g_rx x = chars(r, &set);
    hth_cpset_free(&set);
    return x;
}

static g_rx any_but_line_ends(parser *r) {
    hth_cpset set = {0};
    hth_cpset_add(&set, '\n', '\n');
    if (r->p->syntax == REGEX_ECMA) {
        hth_cpset_add(&set, '\r', '\r');
        hth_cpset_add(&set, 0x2028, 0x2029);
    }
    hth_cpset_invert(&set);
    g_rx x = g_rx_chars(r->b, &set, r->p->enc);
    hth_cpset_free(&set);
    return x;
}

static g_rx take_backslash(parser *r) {
    if (!more(r)) return bad(r, "a \\ at the end");
    const char c = r->text[r->at];
    hth_cpset set = {0};
    g_rx x = 0;
    if (add_class(r, &set, c)) {
        r->at++;
        x = g_rx_chars(r->b, &set, r->p->enc);
    } else if (c == 'p' || c == 'P') {
        r->at++;
        add_property(r, &set, c == 'P');
        x = chars(r, &set);
    } else if (c == 'b' || c == 'B') {
        x = refuse(r, "word edges (\\b) are not supported");
    } else if (c == 'A' || c == 'Z' || c == 'z') {
        r->at++;
        x = g_rx_anchor(r->b, c == 'A' ? RX_BEGIN : RX_END);
    } else {
        x = one_char(r, take_escape(r));
    }
    hth_cpset_free(&set);
    return x;
}

static void push(parser *r, g_rx x, int8_t look) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&r->items, &r->cap_item, r->n_item + 1, sizeof *r->items, 1u << 22)) {
        g_fail_nomem(r->b);
        return;
    }
    r->items[r->n_item++] = (item){x, look};
}

static void open_group(parser *r) {
    frame f = {.alts = r->n_alt, .items = r->n_item, .fold = r->fold};
    if (take(r, "?")) {
        if (take(r, "=")) {
            f.look = 1;
        } else if (take(r, "!")) {
            f.look = -1;
        } else if (looking_at(r, "<=") || looking_at(r, "<!")) {
            refuse(r, "look-behind is not supported");
        } else if (take(r, "P<") || take(r, "<")) {
            while (more(r) && r->text[r->at] != '>') r->at++;
            if (!take(r, ">")) bad(r, "a group's name without >");
        } else if (take(r, "i)")) { // for the rest of the group that is open
            r->fold = true;
            return;
        } else if (take(r, "s)")) {
            r->dot_all = true;
            return;
        } else if (take(r, "i:")) {
            r->fold = true;
        } else if (!take(r, ":")) {
            refuse(r, "a kind of group that is not known");
        }
    }
    if (f.look != 0 && r->n_frame > 1) refuse(r, "look-ahead is supported outside of groups only");
    if (r->n_frame > r->b->limits.nesting * 4) {
        g_fail(r->b, HTH_ERR_LIMIT, "regular expression, byte %zu: more than %u groups inside each other", r->at,
               r->b->limits.nesting * 4);
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&r->frames, &r->cap_frame, r->n_frame + 1, sizeof f, 1u << 20)) g_fail_nomem(r->b);
    if (r->b->code == HTH_OK) r->frames[r->n_frame++] = f;
}

static g_rx anything(parser *r) {
    return g_rx_star(r->b, g_rx_any_char(r->b, r->p->enc));
}

// The items of the alternative at work as one expression; `tail` follows them (0: nothing).
static g_rx join_items(parser *r, size_t from, g_rx tail) {
    g_build *b = r->b;
    size_t end = r->n_item;
    g_rx rest = tail;
    for (size_t i = r->n_item; b->code == HTH_OK && i-- > from;) {
        if (r->items[i].look == 0) continue;
        g_rx list = rest ? rest : g_rx_empty(b);
        for (size_t k = end; k-- > i + 1;) list = g_rx_cat2(b, r->items[k].x, list);
        g_rx ahead = g_rx_anchored(b, g_rx_cat2(b, r->items[i].x, anything(r)));
        if (r->items[i].look < 0) ahead = g_rx_not(b, ahead);
        rest = g_rx_and(b, g_rx_anchored(b, list), ahead);
        end = i;
    }
    const size_t n = end - from + (rest != 0);
    g_rx *list = hth_alloc(HTH_MEM_TEXT, (n + 1) * sizeof *list);
    if (!list) return g_fail_nomem(b);
    for (size_t i = from; i < end; i++) list[i - from] = r->items[i].x;
    if (rest) list[n - 1] = rest;
    g_rx x = g_rx_cat(b, list, n);
    hth_free(list);
    r->n_item = from;
    return x;
}

static void end_alternative(parser *r) {
    const bool is_outermost = r->n_frame == 1;
    g_rx x = join_items(r, r->frames[r->n_frame - 1].items, is_outermost && r->p->is_search ? anything(r) : 0);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&r->alts, &r->cap_alt, r->n_alt + 1, sizeof *r->alts, 1u << 22)) {
        g_fail_nomem(r->b);
        return;
    }
    r->alts[r->n_alt++] = x;
}

static void close_group(parser *r) {
    if (r->n_frame < 2) {
        bad(r, ") without (");
        return;
    }
    end_alternative(r);
    const frame f = r->frames[--r->n_frame];
    g_rx x = g_rx_alt(r->b, r->alts + f.alts, r->n_alt - f.alts);
    r->n_alt = f.alts;
    r->fold = f.fold;
    push(r, x, f.look);
}

// ---- quantifiers

static bool take_number(parser *r, uint32_t *out) {
    const size_t from = r->at;
    uint64_t v = 0;
    while (more(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        v = v * 10 + (uint64_t)(r->text[r->at++] - '0');
        if (v > UINT32_MAX - 1) v = UINT32_MAX - 1;
    }
    *out = (uint32_t)v;
    return r->at > from;
}

// {n}, {n,}, {n,m}, {,m}; anything else in braces is text.
static bool take_counts(parser *r, uint32_t *min, uint32_t *max) {
    const size_t from = r->at++;
    bool has_min = take_number(r, min), ok = has_min;
    if (!has_min) *min = 0;
    *max = *min;
    if (take(r, ",")) {
        bool has_max = take_number(r, max);
        if (!has_max) *max = G_INFINITE;
        ok |= has_max && r->p->syntax == REGEX_PYTHON;
    }
    if (ok && take(r, "}")) return true;
    r->at = from;
    return false;
}

static void take_quantifier(parser *r) {
    uint32_t min, max;
    switch (r->text[r->at]) {
    case '*': min = 0, max = G_INFINITE, r->at++; break;
    case '+': min = 1, max = G_INFINITE, r->at++; break;
    case '?': min = 0, max = 1, r->at++; break;
    case '{':
        if (take_counts(r, &min, &max)) break;
        push(r, one_char(r, (uint8_t)r->text[r->at++]), 0);
        return;
    default: return;
    }
    if (r->n_item == r->frames[r->n_frame - 1].items) {
        bad(r, "nothing to repeat");
        return;
    }
    if (max != G_INFINITE && min > max) bad(r, "a repetition of at least more than at most");
    if (looking_at(r, "+")) refuse(r, "possessive quantifiers are not supported");
    (void)take(r, "?"); // lazy or not, the language is the same
    item *last = &r->items[r->n_item - 1];
    if (last->look != 0) refuse(r, "a repeated look-ahead");
    last->x = g_rx_repeat(r->b, last->x, min, max);
}

static void take_one(parser *r) {
    const char c = r->text[r->at];
    switch (c) {
    case '*':
    case '+':
    case '?':
    case '{': take_quantifier(r); return;
    case '(':
        r->at++;
        open_group(r);
        return;
    case ')':
        close_group(r);
        r->at++;
        return;
    case '|':
        r->at++;
        end_alternative(r);
        return;
    case '[':
        r->at++;
        push(r, take_brackets(r), 0);
        return;
    case '.':
        r->at++;
        push(r, r->dot_all || r->p->dot_all ? g_rx_any_char(r->b, r->p->enc) : any_but_line_ends(r), 0);
        return;
    case '^':
    case '$':
        r->at++;
        push(r, g_rx_anchor(r->b, c == '^' ? RX_BEGIN : RX_END), 0);
        return;
    case '\\':
        r->at++;
        push(r, take_backslash(r), 0);
        return;
    default: push(r, one_char(r, take_char(r)), 0);
    }
}

g_rx g_regex_parse(g_build *b, const char *text, size_t n, const g_regex_params *p) {
    parser r = {.b = b, .p = p, .text = text, .n = n, .fold = p->fold};
    if (!hth_grow(HTH_MEM_TEXT, (void **)&r.frames, &r.cap_frame, 1, sizeof *r.frames, 1u << 20)) return g_fail_nomem(b);
    r.frames[r.n_frame++] = (frame){0};
    while (more(&r)) take_one(&r);
    if (b->code == HTH_OK && r.n_frame > 1) bad(&r, "( without )");
    g_rx x = 0;
    if (b->code == HTH_OK) {
        end_alternative(&r);
        x = g_rx_alt(b, r.alts, r.n_alt);
        if (p->is_search) x = g_rx_cat2(b, anything(&r), x);
        x = g_rx_anchored(b, x);
    }
    hth_free(r.items);
    hth_free(r.alts);
    hth_free(r.frames);
    return x;
}
