// llama.cpp's grammar files: `name ::= expression`, one rule `root`.
#include <string.h>

#include "grammar/ebnf.h"

static bool more(const ebnf *e) {
    return e->b->code == HTH_OK && e->at < e->n;
}

static char peek(const ebnf *e) {
    return e->at < e->n ? e->text[e->at] : 0;
}

static bool take(ebnf *e, const char *text) {
    const size_t n = strlen(text);
    if (e->n - e->at < n || memcmp(e->text + e->at, text, n) != 0) return false;
    e->at += n;
    return true;
}

static void skip_space(ebnf *e, bool lines) {
    while (e->at < e->n) {
        const char c = e->text[e->at];
        if (c == '#') {
            while (e->at < e->n && e->text[e->at] != '\n' && e->text[e->at] != '\r') e->at++;
        } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
            e->at++;
        } else {
            return;
        }
    }
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t name_length(const ebnf *e) {
    size_t n = 0;
    while (e->at + n < e->n && is_name_char(e->text[e->at + n])) n++;
    return n;
}

// Whether a rule begins here.
static bool at_rule(ebnf *e) {
    const size_t from = e->at, n = name_length(e);
    e->at += n;
    skip_space(e, false);
    const bool found = n > 0 && take(e, "::=");
    e->at = from;
    return found;
}

// ---- characters

static uint32_t take_hex(ebnf *e, unsigned n) {
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        const char c = peek(e);
        const int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0) return e_bad(e, HTH_ERR_FORMAT, "an escape with too few hexadecimal digits");
        v = v << 4 | (uint32_t)d;
        e->at++;
    }
    if (v >= HTH_CP_END) return e_bad(e, HTH_ERR_FORMAT, "an escape beyond the last character");
    return v;
}

static uint32_t take_char(ebnf *e) {
    unsigned len;
    if (!take(e, "\\")) {
        const uint32_t cp = hth_cp_at((const uint8_t *)e->text + e->at, e->n - e->at, &len);
        e->at += len;
        return cp;
    }
    const char c = peek(e);
    if (e->at < e->n) e->at++;
    switch (c) {
    case 'x': return take_hex(e, 2);
    case 'u': return take_hex(e, 4);
    case 'U': return take_hex(e, 8);
    case 't': return '\t';
    case 'r': return '\r';
    case 'n': return '\n';
    case '\\':
    case '"':
    case '[':
    case ']': return (uint8_t)c;
    default: return e_bad(e, HTH_ERR_FORMAT, "an unknown escape");
    }
}

static e_node take_literal(ebnf *e) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 1u << 24);
    while (more(e) && peek(e) != '"') {
        uint8_t utf8[4];
        const unsigned n = hth_cp_encode(take_char(e), utf8);
        (void)hth_str_append(&text, utf8, n);
    }
    if (!take(e, "\"")) e_bad(e, HTH_ERR_FORMAT, "a text without its closing \"");
    e_node x = e_rx(e, g_rx_literal(e->b, hth_str_text(&text), text.len));
    hth_str_free(&text);
    return x;
}

static e_node take_class(ebnf *e) {
    hth_cpset set = {0};
    const bool is_negated = take(e, "^");
    while (more(e) && peek(e) != ']') {
        const uint32_t first = take_char(e);
        uint32_t last = first;
        if (peek(e) == '-' && e->at + 1 < e->n && e->text[e->at + 1] != ']') {
            e->at++;
            last = take_char(e);
        }
        if (last < first && e->b->code == HTH_OK) e_bad(e, HTH_ERR_FORMAT, "a range that ends before it begins");
        hth_cpset_add(&set, first, last);
    }
    if (!take(e, "]")) e_bad(e, HTH_ERR_FORMAT, "[ without ]");
    if (is_negated) hth_cpset_invert(&set);
    e_node x = e_rx(e, g_rx_chars(e->b, &set, ENC_UTF8));
    hth_cpset_free(&set);
    return x;
}

// ---- expressions

static e_node take_choice(ebnf *e, bool is_nested);

static e_node take_group(ebnf *e) {
    if (++e->depth > e->b->limits.nesting * 4) return e_bad(e, HTH_ERR_LIMIT, "brackets are nested deeper than allowed");
    skip_space(e, true);
    e_node x = take_choice(e, true);
    if (!take(e, ")")) e_bad(e, HTH_ERR_FORMAT, "( without )");
    e->depth--;
    return x;
}

static e_node take_atom(ebnf *e) {
    if (take(e, "\"")) return take_literal(e);
    if (take(e, "[")) return take_class(e);
    if (take(e, "(")) return take_group(e);
    if (take(e, ".")) return e_rx(e, g_rx_any_char(e->b, ENC_UTF8));
    if (peek(e) == '<') return e_take_token(e, false);
    if (take(e, "!")) return peek(e) == '<' ? e_take_token(e, true) : e_bad(e, HTH_ERR_FORMAT, "! without a token");
    const size_t n = name_length(e);
    if (n == 0) return e_bad(e, HTH_ERR_FORMAT, "a text, a class, a name or ( is missing");
    const char *name = e->text + e->at;
    e_node x = e_ref(e, e_rule_of(e, name, n));
    e->at += n;
    return x;
}

static e_node take_counts(ebnf *e, e_node x) {
    uint32_t min = 0, max;
    skip_space(e, true);
    const bool has_min = e_take_number(e, &min);
    max = min;
    skip_space(e, true);
    if (take(e, ",")) {
        skip_space(e, true);
        if (!e_take_number(e, &max)) max = G_INFINITE;
        skip_space(e, true);
    } else if (!has_min) {
        return e_bad(e, HTH_ERR_FORMAT, "{ without a number");
    }
    if (!take(e, "}")) return e_bad(e, HTH_ERR_FORMAT, "{ without }");
    return e_repeat(e, x, min, max);
}

static e_node take_item(ebnf *e, bool is_nested) {
    e_node x = take_atom(e);
    for (;;) {
        skip_space(e, is_nested);
        if (e->b->code != HTH_OK) return 0;
        if (take(e, "*")) {
            x = e_repeat(e, x, 0, G_INFINITE);
        } else if (take(e, "+")) {
            x = e_repeat(e, x, 1, G_INFINITE);
        } else if (take(e, "?")) {
            x = e_repeat(e, x, 0, 1);
        } else if (take(e, "{")) {
            x = take_counts(e, x);
        } else {
            return x;
        }
    }
}

// Whether the sequence ends here: at a bracket, a bar, or the end of the rule.
static bool at_end(ebnf *e, bool is_nested) {
    if (!more(e) || peek(e) == '|' || peek(e) == ')') return true;
    if (is_nested) return false;
    return peek(e) == '\n' || peek(e) == '\r';
}

static e_node take_sequence(ebnf *e, bool is_nested) {
    const size_t base = e->n_stack;
    skip_space(e, is_nested);
    while (!at_end(e, is_nested)) e_push(e, take_item(e, is_nested));
    e_node x = e_cat_from(e, base);
    return x;
}

// Brackets inside each other are as deep as this recursion goes; their number is limited.
static e_node take_choice(ebnf *e, bool is_nested) {
    const size_t base = e->n_stack;
    do {
        skip_space(e, true);
        if (!is_nested && at_rule(e)) { // an alternative without anything
            e_push(e, e_cat(e, NULL, 0));
            break;
        }
        e_push(e, take_sequence(e, is_nested));
        const size_t end = e->at;
        skip_space(e, true);
        if (peek(e) != '|' && !is_nested) e->at = end; // a bar on the next line goes on with the rule
    } while (e->b->code == HTH_OK && take(e, "|"));
    e_node x = e_alt_from(e, base);
    return x;
}

static void take_rule(ebnf *e) {
    const size_t n = name_length(e);
    if (!at_rule(e)) {
        e_bad(e, HTH_ERR_FORMAT, "a rule (name ::= ...) is missing");
        return;
    }
    const uint32_t i = e_rule_of(e, e->text + e->at, n);
    e->at += n;
    skip_space(e, false);
    (void)take(e, "::=");
    skip_space(e, true);
    const e_node body = take_choice(e, false);
    skip_space(e, false);
    if (more(e) && peek(e) != '\n' && peek(e) != '\r') e_bad(e, HTH_ERR_FORMAT, "a rule ends with its line");
    if (e->b->code != HTH_OK) return;
    e->rules[i].body = body; // the last definition counts
    skip_space(e, true);
}

hth_code hth_grammar_from_gbnf(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err) {
    g_build b;
    ebnf e;
    uint32_t root;
    g_build_init(&b, o, err);
    if (e_init(&e, &b, text, n)) {
        skip_space(&e, true);
        while (more(&e)) take_rule(&e);
        if (b.code == HTH_OK && !hth_map_find(&e.by_name, "root", 4, &root)) {
            e_bad(&e, HTH_ERR_FORMAT, "there is no rule `root`");
        } else if (b.code == HTH_OK) {
            (void)e_finish(&e, root);
        }
    }
    *out = g_build_finish(&b);
    const hth_code code = b.code;
    e_free(&e);
    g_build_free(&b);
    return code;
}
