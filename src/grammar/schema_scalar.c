// Numbers, strings and listed values.
#include <string.h>

#include "base/json_out.h"
#include "grammar/schema.h"

#define MAX_STATES_MULTIPLE 200000u

// ---- comparing digits with a number: an automaton over decimal texts without sign and needless zeros

enum { LESS, EQUAL, GREATER };
enum { CLASS_POINT = 10, CLASS_OTHER = 11, N_CLASSES = 12 };

static void digit_classes(g_dfa *d) {
    memset(d->class_of, CLASS_OTHER, sizeof d->class_of);
    for (unsigned i = 0; i < 10; i++) d->class_of['0' + i] = (uint8_t)i;
    d->class_of['.'] = CLASS_POINT;
}

static void set_next(g_dfa *d, uint32_t q, unsigned class, uint32_t to) {
    d->next[(size_t)q * d->n_class + class] = to;
}

// States: (digits read, comparison of them) while in the whole part, one for more digits than the limit has, then the
// fraction: decided either way, or equal so far.
typedef struct compare_states {
    uint32_t n_whole, n_frac;
} compare_states;

static uint32_t in_whole(uint32_t k, unsigned cmp) {
    return 1 + 3 * k + cmp;
}

static uint32_t in_frac(const compare_states *c, uint32_t j) { // equal so far after j digits; the two before: decided
    return 1 + 3 * (c->n_whole + 1) + 1 + 2 + j;
}

static void compare_whole(g_dfa *d, const compare_states *c, const s_decimal *v) {
    const uint32_t longer = 1 + 3 * (c->n_whole + 1), less = longer + 1, greater = longer + 2;
    for (uint32_t k = 0; k <= c->n_whole; k++) {
        for (unsigned cmp = LESS; cmp <= GREATER; cmp++) {
            const uint32_t q = in_whole(k, cmp);
            for (unsigned digit = 0; digit < 10; digit++) {
                const unsigned other = k < c->n_whole ? (unsigned)(v->digits[k] - '0') : 0;
                const unsigned now = cmp != EQUAL ? cmp : digit < other ? LESS : digit > other ? GREATER : EQUAL;
                set_next(d, q, digit, k < c->n_whole ? in_whole(k + 1, now) : longer);
            }
            const unsigned cmp_end = k < c->n_whole ? LESS : cmp; // fewer digits are less
            set_next(d, q, CLASS_POINT, cmp_end == LESS ? less : cmp_end == GREATER ? greater : in_frac(c, 0));
        }
    }
    for (unsigned digit = 0; digit < 10; digit++) {
        set_next(d, longer, digit, longer);
        set_next(d, less, digit, less);
        set_next(d, greater, digit, greater);
    }
    set_next(d, longer, CLASS_POINT, greater);
}

static void compare_frac(g_dfa *d, const compare_states *c, const s_decimal *v) {
    const uint32_t less = 1 + 3 * (c->n_whole + 1) + 1, greater = less + 1;
    for (uint32_t j = 0; j <= c->n_frac; j++) {
        for (unsigned digit = 0; digit < 10; digit++) {
            const unsigned other = j < c->n_frac ? (unsigned)(v->digits[c->n_whole + j] - '0') : 0;
            const uint32_t equal = in_frac(c, j < c->n_frac ? j + 1 : j);
            set_next(d, in_frac(c, j), digit, digit < other ? less : digit > other ? greater : equal);
        }
    }
}

// Texts whose number relates to v in one of the ways that `ways` has bits for.
static g_rx compare_rx(g_build *b, const s_decimal *v, unsigned ways) {
    const compare_states c = {v->n_whole, v->n_frac};
    const uint32_t longer = 1 + 3 * (c.n_whole + 1);
    g_dfa d;
    if (!g_dfa_alloc(b, in_frac(&c, c.n_frac) + 1, N_CLASSES, &d)) return 0;
    digit_classes(&d);
    d.start = in_whole(0, EQUAL);
    compare_whole(&d, &c, v);
    compare_frac(&d, &c, v);
    for (uint32_t k = 1; k <= c.n_whole; k++) {
        for (unsigned cmp = LESS; cmp <= GREATER; cmp++) {
            unsigned is = k < c.n_whole ? LESS : cmp;
            if (is == EQUAL && c.n_frac > 0) is = LESS;
            d.accept[in_whole(k, cmp)] = ways >> is & 1;
        }
    }
    d.accept[longer] = d.accept[longer + 2] = ways >> GREATER & 1;
    d.accept[longer + 1] = ways >> LESS & 1;
    for (uint32_t j = 0; j <= c.n_frac; j++) d.accept[in_frac(&c, j)] = ways >> (j < c.n_frac ? LESS : EQUAL) & 1;
    const uint32_t kept = g_dfa_keep(b, &d);
    g_dfa_release(&d);
    return kept == G_NONE ? 0 : g_rx_dfa(b, kept);
}

// ---- multiples: the rest of the division as state

typedef struct multiple {
    uint64_t m;      // the divisor in units of its last place
    uint32_t places; // digits after the point that a multiple can have
} multiple;

static bool is_whole_multiple(const multiple *x, uint64_t rest, uint32_t places) {
    for (uint32_t i = places; i < x->places; i++) rest = rest * 10 % x->m;
    return rest == 0;
}

// State 1 is the beginning; then places + 2 rows of m rests: whole part, point and places after it; then zeros only.
static g_rx multiple_rx(g_build *b, const multiple *x) {
    const uint32_t m = (uint32_t)x->m;
    g_dfa d;
    if (!g_dfa_alloc(b, 2 + (x->places + 2) * m, N_CLASSES, &d)) return 0;
    digit_classes(&d);
    d.start = 1;
    for (unsigned digit = 0; digit < 10; digit++) set_next(&d, 1, digit, 2 + digit % m);
    for (uint32_t row = 0; row < x->places + 2; row++) {
        for (uint32_t rest = 0; rest < m; rest++) {
            const uint32_t q = 2 + row * m + rest, n_frac = row == 0 ? 0 : row - 1;
            for (unsigned digit = 0; digit < 10; digit++) {
                const uint32_t next = (uint32_t)(((uint64_t)rest * 10 + digit) % m);
                if (row == 0) {
                    set_next(&d, q, digit, 2 + next);
                } else if (n_frac < x->places) {
                    set_next(&d, q, digit, 2 + (row + 1) * m + next);
                } else if (digit == 0) {
                    set_next(&d, q, digit, q);
                }
            }
            if (row == 0) set_next(&d, q, CLASS_POINT, 2 + m + rest);
            d.accept[q] = is_whole_multiple(x, rest, n_frac);
        }
    }
    const uint32_t kept = g_dfa_keep(b, &d);
    g_dfa_release(&d);
    return kept == G_NONE ? 0 : g_rx_dfa(b, kept);
}

// The intersection with all multipleOf of the conjunction. False where one was refused.
static bool and_multiples(s_schema *s, const s_facts *f, g_rx *x) {
    for (size_t i = 0; i < f->list.n && s->b->code == HTH_OK; i++) {
        const hth_json *node = f->list.e[i].node, *v = hth_json_get(node, "multipleOf");
        s_decimal d;
        if (!v) continue;
        if (v->kind != HTH_JSON_NUMBER || !s_decimal_of(v, &d)) return s_bad(s, node, "multipleOf", "not a number");
        multiple m = {.places = d.n_frac};
        for (uint32_t k = 0; k < d.n_whole + d.n_frac && m.m < MAX_STATES_MULTIPLE; k++) m.m = m.m * 10 + (uint64_t)(d.digits[k] - '0');
        if (m.m == 0 || d.is_negative) return s_bad(s, node, "multipleOf", "not above zero");
        if ((uint64_t)(m.places + 2) * m.m > MAX_STATES_MULTIPLE) {
            if (!s_refuse(s, node, "multipleOf", "too many digits")) return false;
            continue;
        }
        *x = g_rx_and(s->b, *x, multiple_rx(s->b, &m));
    }
    return true;
}

// ---- numbers

static g_rx and_bound(g_build *b, g_rx x, bool has, const s_decimal *v, unsigned ways) {
    return has ? g_rx_and(b, x, compare_rx(b, v, ways)) : x;
}

static unsigned above(bool excluded) {
    return excluded ? 1u << GREATER : 1u << GREATER | 1u << EQUAL;
}

static unsigned below(bool excluded) {
    return excluded ? 1u << LESS : 1u << LESS | 1u << EQUAL;
}

static g_rx digits_rx(g_build *b, bool has_fraction) {
    g_rx digit = g_rx_range(b, '0', '9');
    g_rx whole = g_rx_alt2(b, g_rx_text(b, "0"), g_rx_cat2(b, g_rx_range(b, '1', '9'), g_rx_star(b, digit)));
    if (!has_fraction) return whole;
    return g_rx_cat2(b, whole, g_rx_maybe(b, g_rx_cat2(b, g_rx_text(b, "."), g_rx_repeat(b, digit, 1, G_INFINITE))));
}

static g_rx plain_number(g_build *b, bool is_integer) {
    g_rx sign = g_rx_maybe(b, g_rx_text(b, "-")), digits = digits_rx(b, !is_integer);
    if (is_integer) return g_rx_cat2(b, sign, digits);
    g_byteset e = {{0, 1ull << ('E' & 63) | 1ull << ('e' & 63)}}, pm = {{1ull << '+' | 1ull << '-'}};
    g_rx exp = g_rx_cat3(b, g_rx_set(b, &e), g_rx_maybe(b, g_rx_set(b, &pm)),
                         g_rx_repeat(b, g_rx_range(b, '0', '9'), 1, 3));
    return g_rx_cat3(b, sign, digits, g_rx_maybe(b, exp));
}

// Numbers of one sign other than those that are excluded.
static g_rx and_others(g_build *b, const s_facts *f, g_rx x, bool is_negative) {
    for (size_t i = 0; i < f->list.n; i++) {
        const hth_json *no = hth_json_get(f->list.e[i].node, HTH_KEY_NOT_ENUM);
        for (uint32_t k = 0; no && no->kind == HTH_JSON_ARRAY && k < no->n; k++) {
            s_decimal d;
            if (no->u.items[k].kind != HTH_JSON_NUMBER || !s_decimal_of(&no->u.items[k], &d)) continue;
            if (d.is_negative == is_negative) x = and_bound(b, x, true, &d, 1u << LESS | 1u << GREATER);
        }
    }
    return x;
}

g_rx s_number_rx(s_schema *s, const s_facts *f) {
    g_build *b = s->b;
    const bool is_integer = !(f->types & T_NUMBER);
    if (!f->has_min && !f->has_max && f->n_multiple == 0 && f->n_not == 0) {
        g_rx *kept = is_integer ? &s->integer : &s->number;
        if (!*kept) *kept = plain_number(b, is_integer);
        return *kept;
    }
    g_rx digits = digits_rx(b, !is_integer);
    if (!and_multiples(s, f, &digits)) return 0;
    // At or above zero, and below as a minus with the magnitude between the bounds turned around.
    g_rx parts[2];
    size_t n = 0;
    const bool min_below_0 = !f->has_min || f->min.is_negative, max_below_0 = f->has_max && f->max.is_negative;
    if (!max_below_0) {
        g_rx x = and_bound(b, digits, !min_below_0, &f->min, above(f->min_excluded));
        x = and_bound(b, x, f->has_max, &f->max, below(f->max_excluded));
        parts[n++] = and_others(b, f, x, false);
    }
    if (min_below_0) {
        s_decimal zero = {.n_whole = 1, .digits = "0"}, min = f->min, max = f->max;
        min.is_negative = max.is_negative = false;
        g_rx x = and_bound(b, digits, f->has_min, &min, below(f->min_excluded));
        x = max_below_0 ? and_bound(b, x, true, &max, above(f->max_excluded)) : and_bound(b, x, true, &zero, above(true));
        parts[n++] = g_rx_cat2(b, g_rx_text(b, "-"), and_others(b, f, x, true));
    }
    return g_rx_alt(b, parts, n);
}

// ---- strings

static g_rx any_text(g_build *b) {
    return g_rx_star(b, g_rx_any_char(b, ENC_JSON));
}

// Of two texts that must both match, each is put in quotes: their product is then the whole.
static g_rx quoted(g_build *b, g_rx x) {
    if (b->code == HTH_OK && b->nodes[x].kind == RX_AND) {
        const g_rx first = b->kids[b->nodes[x].a], second = b->kids[b->nodes[x].a + 1];
        return g_rx_and(b, quoted(b, first), quoted(b, second));
    }
    g_rx quote = g_rx_text(b, "\"");
    return g_rx_cat3(b, quote, x, quote);
}

g_rx s_pattern_rx(s_schema *s, const hth_json *pattern, g_encoding enc) {
    const g_regex_params p = {.syntax = REGEX_ECMA, .enc = enc, .is_search = true};
    return g_regex_parse(s->b, pattern->u.str, pattern->n, &p);
}

bool s_pattern_matches(s_schema *s, const hth_json *pattern, const char *text, size_t n) {
    for (size_t i = 0; i < s->n_pattern; i++) {
        if (s->patterns[i].text == pattern->u.str) return g_dfa_matches(&s->b->dfas[s->patterns[i].dfa], text, n);
    }
    const uint32_t dfa = g_dfa_of(s->b, s_pattern_rx(s, pattern, ENC_UTF8));
    if (dfa == G_NONE) return false;
    if (hth_grow(HTH_MEM_TEXT, (void **)&s->patterns, &s->cap_pattern, s->n_pattern + 1, sizeof *s->patterns, 1u << 20)) {
        s->patterns[s->n_pattern++] = (struct s_pattern){pattern->u.str, dfa};
    }
    return g_dfa_matches(&s->b->dfas[dfa], text, n);
}

// Texts other than those that are excluded, by pattern or one by one.
static g_rx and_other_texts(s_schema *s, const hth_json *node, g_rx x) {
    g_build *b = s->b;
    const hth_json *pattern = hth_json_get(node, HTH_KEY_NOT_PATTERN), *no = hth_json_get(node, HTH_KEY_NOT_ENUM);
    if (pattern && pattern->kind == HTH_JSON_STRING) x = g_rx_except(b, x ? x : any_text(b), s_pattern_rx(s, pattern, ENC_JSON));
    for (uint32_t i = 0; no && no->kind == HTH_JSON_ARRAY && i < no->n && b->code == HTH_OK; i++) {
        const hth_json *v = &no->u.items[i];
        if (v->kind == HTH_JSON_STRING) x = g_rx_except(b, x ? x : any_text(b), g_rx_string(b, v->u.str, v->n, ENC_JSON));
    }
    return x;
}

static g_rx format_rx(s_schema *s, const char *name) {
    struct s_format *f = &s->formats[g_format_index(name)];
    if (!f->text) f->text = g_format_rx(s->b, name, ENC_JSON);
    return f->text;
}

// The same text has the same node, and so the same terminal.
static g_rx quoted_once(s_schema *s, g_rx x) {
    for (size_t i = 0; i < G_N_FORMATS; i++) {
        struct s_format *f = &s->formats[i];
        if (f->text != x) continue;
        if (!f->string) f->string = quoted(s->b, x);
        return f->string;
    }
    return quoted(s->b, x);
}

// Patterns and formats of the conjunction, as the text between the quotes; 0 for none. *ok tells of refusals.
static g_rx text_rx(s_schema *s, const s_facts *f, bool *ok) {
    g_build *b = s->b;
    g_rx x = 0;
    *ok = true;
    for (size_t i = 0; i < f->list.n && *ok; i++) {
        const hth_json *node = f->list.e[i].node, *pattern = hth_json_get(node, "pattern");
        const char *format = hth_json_str(node, "format", NULL, NULL);
        if (pattern && pattern->kind != HTH_JSON_STRING) *ok = s_bad(s, node, "pattern", "not a string");
        if (pattern && *ok) {
            g_rx one = s_pattern_rx(s, pattern, ENC_JSON);
            if (!one && b->code == HTH_ERR_UNSUPPORTED && b->lenient) {
                b->code = HTH_OK;
                *ok = s_refuse(s, node, "pattern", "");
            } else if (!one) {
                *ok = s_tell(s, node, "pattern");
            } else {
                x = x ? g_rx_and(b, x, one) : one;
            }
        }
        if (format && *ok && g_format_index(format) >= 0) {
            g_rx one = format_rx(s, format);
            x = x ? g_rx_and(b, x, one) : one;
        }
        if (*ok) x = and_other_texts(s, node, x);
    }
    return x;
}

static uint32_t count32(uint64_t n) { // no text is so long
    return n >= G_COUNT_MAX ? G_INFINITE : (uint32_t)n;
}

// Texts of the right length: nothing to say about short ones, else as a repetition.
static g_rx length_rx(s_schema *s, const s_facts *f, g_rx x) {
    if (f->min_length == 0 && f->max_length == UINT64_MAX) return x;
    g_rx any = g_rx_any_char(s->b, ENC_JSON);
    g_rx length = g_rx_repeat(s->b, any, count32(f->min_length), count32(f->max_length));
    return x ? g_rx_and(s->b, x, length) : length;
}

g_rx s_string_rx(s_schema *s, const s_facts *f) {
    bool ok;
    g_rx x = length_rx(s, f, text_rx(s, f, &ok));
    if (!ok) return 0;
    if (x) return quoted_once(s, x);
    if (!s->any_string) s->any_string = quoted(s->b, any_text(s->b));
    return s->any_string;
}

// A string between two states; where only its length matters, the characters are counted.
void s_string_edge(s_schema *s, const s_facts *f, uint32_t from, uint32_t to) {
    const bool has_length = f->min_length > 0 || f->max_length != UINT64_MAX;
    bool ok = true;
    if (!has_length || f->n_pattern > 0 || s->b->code != HTH_OK) {
        g_rx x = s_string_rx(s, f);
        if (x) g_edge_rx(s->b, from, x, to);
        return;
    }
    (void)text_rx(s, f, &ok); // tells of what was refused
    if (f->min_length >= G_COUNT_MAX) {
        g_fail(s->b, HTH_ERR_LIMIT, "a string of at least %llu characters is too long", (unsigned long long)f->min_length);
        return;
    }
    const uint32_t dfa = g_dfa_of(s->b, g_rx_any_char(s->b, ENC_JSON));
    if (dfa == G_NONE) return;
    const uint32_t t = g_term_counted(s->b, dfa, (uint32_t)f->min_length, count32(f->max_length));
    g_edge_add(s->b, from, EDGE_TERM, t, to);
}

// ---- listed values, as their writers print them

static g_rx number_text(g_build *b, const hth_json *v) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 64);
    hth_json_out j = hth_json_out_make(&text, false);
    v->is_int ? hth_json_out_int(&j, NULL, v->u.num.i) : hth_json_out_num(&j, NULL, v->u.num.d);
    g_rx x = g_rx_text(b, hth_str_text(&text));
    hth_str_free(&text);
    return x;
}

static g_rx nested(s_schema *s, const hth_json *v) {
    g_build *b = s->b;
    const bool is_array = v->kind == HTH_JSON_ARRAY;
    g_rx x = g_rx_cat2(b, g_rx_text(b, is_array ? "[" : "{"), s->ws);
    for (uint32_t i = 0; i < v->n && g_work(b, 1); i++) {
        if (i > 0) x = g_rx_cat2(b, x, s->comma);
        if (!is_array) {
            const hth_json_member *m = &v->u.members[i];
            x = g_rx_cat3(b, x, quoted(b, g_rx_string(b, m->key, m->key_len, ENC_JSON_PLAIN)), s->colon);
        }
        x = g_rx_cat2(b, x, s_value_rx(s, is_array ? &v->u.items[i] : &v->u.members[i].value));
    }
    return v->n == 0 ? g_rx_cat2(b, x, g_rx_text(b, is_array ? "]" : "}")) : g_rx_cat3(b, x, s->ws, g_rx_text(b, is_array ? "]" : "}"));
}

// The reader limits how deep values are nested.
g_rx s_value_rx(s_schema *s, const hth_json *v) {
    g_build *b = s->b;
    switch (v->kind) {
    case HTH_JSON_NULL: return g_rx_text(b, "null");
    case HTH_JSON_BOOL: return g_rx_text(b, v->u.b ? "true" : "false");
    case HTH_JSON_NUMBER: return number_text(b, v);
    case HTH_JSON_STRING: return quoted(b, g_rx_string(b, v->u.str, v->n, ENC_JSON_PLAIN));
    default: return nested(s, v);
    }
}

static g_rx values_of(s_schema *s, const s_facts *f, const hth_json *values, uint32_t n) {
    g_build *b = s->b;
    g_rx *list = hth_calloc(HTH_MEM_TEXT, (size_t)n + 1, sizeof *list);
    size_t n_list = 0;
    if (!list) return g_fail_nomem(b);
    for (uint32_t i = 0; i < n && b->code == HTH_OK; i++) {
        if (s_holds_all(s, &f->list, &values[i])) list[n_list++] = s_value_rx(s, &values[i]);
    }
    g_rx x = g_rx_alt(b, list, n_list);
    hth_free(list);
    return x;
}

g_rx s_values_rx(s_schema *s, const s_facts *f) {
    for (size_t i = 0; i < f->list.n; i++) {
        const hth_json *node = f->list.e[i].node, *values = hth_json_get(node, "enum"), *one = hth_json_get(node, "const");
        if (one) return values_of(s, f, one, 1);
        if (!values) continue;
        if (values->kind != HTH_JSON_ARRAY) {
            s_bad(s, node, "enum", "not a list");
            return 0;
        }
        return values_of(s, f, values->u.items, values->n);
    }
    return g_rx_never(s->b);
}
