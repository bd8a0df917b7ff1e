// Lark's grammars, as far as they describe languages: rules and terminals, %ignore, %import common.NAME, %json.
//
// Names in capitals are terminals: texts without a gap. Between terminals what %ignore names may stand.
#include <string.h>

#include "formats/json.h"
#include "grammar/ebnf.h"

#define MAX_JSON (16u << 20)

typedef struct lark {
    ebnf e;
    uint32_t ignore; // the rule of what is ignored, G_NONE
    bool in_terminal;
} lark;

// Lark's common.lark, in the syntax of this file.
static const struct {
    const char *name, *body;
} common[] = {
    {"DIGIT", "/[0-9]/"},
    {"HEXDIGIT", "/[0-9a-fA-F]/"},
    {"INT", "/[0-9]+/"},
    {"SIGNED_INT", "/[+-]?[0-9]+/"},
    {"DECIMAL", "/[0-9]+\\.[0-9]*|\\.[0-9]+/"},
    {"FLOAT", "/[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?/"},
    {"SIGNED_FLOAT", "/[+-]?([0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?)/"},
    {"NUMBER", "/[0-9]+|[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?/"},
    {"SIGNED_NUMBER", "/[+-]?([0-9]+|[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?)/"},
    {"ESCAPED_STRING", "/\"([^\"\\\\\\n]|\\\\.)*\"/"},
    {"LCASE_LETTER", "/[a-z]/"},
    {"UCASE_LETTER", "/[A-Z]/"},
    {"LETTER", "/[A-Za-z]/"},
    {"WORD", "/[A-Za-z]+/"},
    {"CNAME", "/[_A-Za-z][_A-Za-z0-9]*/"},
    {"WS_INLINE", "/[ \\t]+/"},
    {"WS", "/[ \\t\\f\\r\\n]+/"},
    {"CR", "/\\r/"},
    {"LF", "/\\n/"},
    {"NEWLINE", "/(\\r?\\n)+/"},
    {"SH_COMMENT", "/#[^\\n]*/"},
    {"CPP_COMMENT", "/\\/\\/[^\\n]*/"},
    {"C_COMMENT", "/\\/\\*([^*]|\\*+[^*\\/])*\\*+\\//"},
    {"SQL_COMMENT", "/--[^\\n]*/"},
};

static bool more(const lark *l) {
    return l->e.b->code == HTH_OK && l->e.at < l->e.n;
}

static char peek(const lark *l) {
    return l->e.at < l->e.n ? l->e.text[l->e.at] : 0;
}

static bool looking_at(const lark *l, const char *text) {
    const size_t n = strlen(text);
    return l->e.n - l->e.at >= n && memcmp(l->e.text + l->e.at, text, n) == 0;
}

static bool take(lark *l, const char *text) {
    if (!looking_at(l, text)) return false;
    l->e.at += strlen(text);
    return true;
}

static uint32_t bad(lark *l, const char *what) {
    return e_bad(&l->e, HTH_ERR_FORMAT, what);
}

static uint32_t refuse(lark *l, const char *what) {
    return e_bad(&l->e, HTH_ERR_UNSUPPORTED, what);
}

static void skip_space(lark *l, bool lines) {
    while (l->e.at < l->e.n) {
        const char c = peek(l);
        if (looking_at(l, "//") || c == '#') {
            while (l->e.at < l->e.n && peek(l) != '\n') l->e.at++;
        } else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n')) {
            l->e.at++;
        } else {
            return;
        }
    }
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static size_t name_length(const lark *l) {
    size_t n = 0;
    while (l->e.at + n < l->e.n && is_name_char(l->e.text[l->e.at + n])) n++;
    return n;
}

static bool is_terminal_name(const char *name, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z') return false;
        if (name[i] >= 'A' && name[i] <= 'Z') return true;
    }
    return false;
}

// ---- terminals

// A terminal inside of a rule may be followed by what is ignored.
static e_node terminal(lark *l, e_node x) {
    if (l->in_terminal || l->ignore == G_NONE) return x;
    const e_node gap = e_repeat(&l->e, e_ref(&l->e, l->ignore), 0, G_INFINITE);
    return e_cat(&l->e, (e_node[]){x, gap}, 2);
}

// The bytes of a quoted text; the escapes are those of Python.
static bool take_string(lark *l, hth_str *out) {
    hth_str_init(out, HTH_MEM_TEXT, 1u << 24);
    l->e.at++;
    while (more(l) && peek(l) != '"' && peek(l) != '\n') {
        char c = peek(l);
        l->e.at++;
        if (c != '\\') {
            (void)hth_str_putc(out, c);
            continue;
        }
        static const char from[] = "nrtfvab0", to[] = "\n\r\t\f\v\a\b";
        c = peek(l);
        l->e.at++;
        const char *simple = c ? strchr(from, c) : NULL;
        const unsigned n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        uint32_t v = 0;
        for (unsigned i = 0; i < n_hex; i++) {
            const char h = peek(l);
            const int d = h >= '0' && h <= '9' ? h - '0' : (h | 32) >= 'a' && (h | 32) <= 'f' ? (h | 32) - 'a' + 10 : -1;
            if (d < 0) return bad(l, "an escape with too few hexadecimal digits");
            v = v << 4 | (uint32_t)d;
            l->e.at++;
        }
        if (n_hex > 0) {
            uint8_t utf8[4];
            if (v >= HTH_CP_END) return bad(l, "an escape beyond the last character");
            const unsigned n = hth_cp_encode(v, utf8);
            (void)hth_str_append(out, utf8, n);
        } else if (simple) {
            (void)hth_str_putc(out, to[simple - from]);
        } else {
            if (c != '"' && c != '\\' && c != '/' && c != '\'') (void)hth_str_putc(out, '\\');
            (void)hth_str_putc(out, c);
        }
    }
    return take(l, "\"") || bad(l, "a text without its closing \"");
}

// The text's characters one after the other, in either case or as they are written in the encoding.
static g_rx spelled(lark *l, const hth_str *text, bool fold) {
    g_build *b = l->e.b;
    g_rx x = g_rx_empty(b);
    if (!fold && l->e.enc == ENC_UTF8) return g_rx_literal(b, hth_str_text(text), text->len);
    for (size_t i = 0; i < text->len && b->code == HTH_OK;) {
        unsigned len;
        hth_cpset set = {0};
        const uint32_t cp = hth_cp_at((const uint8_t *)text->p + i, text->len - i, &len);
        hth_cpset_add(&set, cp, cp);
        if (fold) hth_cpset_fold(&set);
        x = g_rx_cat2(b, x, g_rx_chars(b, &set, l->e.enc));
        hth_cpset_free(&set);
        i += len;
    }
    return x;
}

static e_node take_range(lark *l, const hth_str *first) {
    hth_str last;
    l->e.at += 2;
    skip_space(l, false);
    e_node x = 0;
    if (peek(l) != '"') return bad(l, ".. without the range's end");
    if (take_string(l, &last)) {
        unsigned n1 = 0, n2 = 0;
        const uint32_t lo = first->len ? hth_cp_at((const uint8_t *)first->p, first->len, &n1) : 0;
        const uint32_t hi = last.len ? hth_cp_at((const uint8_t *)last.p, last.len, &n2) : 0;
        hth_cpset set = {0};
        if (n1 != first->len || n2 != last.len || n1 == 0 || n2 == 0 || hi < lo) bad(l, "a range is made of two characters in order");
        hth_cpset_add(&set, lo, hi);
        x = e_rx(&l->e, g_rx_chars(l->e.b, &set, l->e.enc));
        hth_cpset_free(&set);
    }
    hth_str_free(&last);
    return x;
}

static e_node take_quoted(lark *l) {
    hth_str text;
    e_node x = 0;
    if (take_string(l, &text)) {
        const size_t at = l->e.at;
        skip_space(l, false);
        if (looking_at(l, "..") && !looking_at(l, "...")) {
            x = take_range(l, &text);
        } else {
            l->e.at = at;
            const bool fold = peek(l) == 'i' && !(l->e.at + 1 < l->e.n && is_name_char(l->e.text[l->e.at + 1]));
            if (fold) l->e.at++;
            x = e_rx(&l->e, spelled(l, &text, fold));
        }
    }
    hth_str_free(&text);
    return x;
}

static e_node take_regex(lark *l) {
    const size_t from = ++l->e.at;
    bool in_class = false;
    while (more(l) && (peek(l) != '/' || in_class) && peek(l) != '\n') {
        if (peek(l) == '\\') l->e.at++;
        else if (peek(l) == '[') in_class = true;
        else if (peek(l) == ']') in_class = false;
        l->e.at++;
    }
    if (!more(l) || peek(l) != '/') return bad(l, "a regular expression without its closing /");
    g_regex_params p = {.syntax = REGEX_PYTHON, .enc = l->e.enc};
    const size_t n = l->e.at++ - from;
    for (; more(l) && strchr("imslux", peek(l)); l->e.at++) {
        if (peek(l) == 'i') p.fold = true;
        if (peek(l) == 's') p.dot_all = true;
        if (peek(l) == 'm' || peek(l) == 'x' || peek(l) == 'l') return refuse(l, "a flag of regular expressions other than i, s and u");
    }
    g_rx x = g_regex_parse(l->e.b, l->e.text + from, n, &p);
    const uint32_t dfa = g_dfa_of(l->e.b, x);
    return dfa == G_NONE ? 0 : e_rx(&l->e, g_rx_dfa(l->e.b, dfa));
}

// %json { ... }: the braces are followed to their end by counting, the rest is the reader's.
static e_node take_json(lark *l) {
    hth_json_doc *doc;
    skip_space(l, true);
    const size_t from = l->e.at;
    unsigned depth = 0;
    bool in_string = false;
    while (l->e.at < l->e.n) {
        const char c = l->e.text[l->e.at++];
        if (in_string) {
            if (c == '\\') l->e.at++;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            break;
        }
        if (depth == 0 && !in_string) return bad(l, "%json is followed by a schema in braces");
    }
    if (l->e.at > l->e.n) l->e.at = l->e.n;
    g_build *b = l->e.b;
    b->code = hth_json_parse(l->e.text + from, l->e.at - from, MAX_JSON, &doc, b->err);
    if (b->code != HTH_OK) {
        b->code = hth_fail_in(b->err, b->code, "%json");
        return 0;
    }
    const uint32_t rule = g_schema_rule(b, hth_json_root(doc));
    hth_json_free(doc);
    return e_net(&l->e, rule);
}

// ---- expressions

static e_node take_choice(lark *l, bool is_nested);
static uint32_t nested_rule(g_build *b, const char *text, size_t n, g_encoding enc);

// %lark "...": a whole grammar as a text, with names of its own.
static e_node take_grammar(lark *l, g_encoding enc) {
    hth_str text;
    e_node x = 0;
    skip_space(l, false);
    if (l->e.enc != ENC_UTF8 || peek(l) != '"') return bad(l, "%lark is followed by a grammar as a text");
    if (take_string(l, &text)) {
        const uint32_t rule = nested_rule(l->e.b, hth_str_text(&text), text.len, enc);
        x = l->e.b->code == HTH_OK ? e_net(&l->e, rule) : 0;
    }
    hth_str_free(&text);
    return x;
}

static e_node take_group(lark *l, const char *close) {
    if (++l->e.depth > l->e.b->limits.nesting * 4) return e_bad(&l->e, HTH_ERR_LIMIT, "brackets are nested deeper than allowed");
    l->e.at++;
    e_node x = take_choice(l, true);
    if (!take(l, close)) bad(l, *close == ')' ? "( without )" : "[ without ]");
    l->e.depth--;
    return x;
}

static e_node take_name(lark *l) {
    const char *name = l->e.text + l->e.at;
    const size_t n = name_length(l);
    const bool is_terminal = is_terminal_name(name, n);
    if (n == 0) return bad(l, "a name, a text, a regular expression or a bracket is missing");
    const uint32_t i = e_rule_of(&l->e, name, n);
    l->e.at += n;
    if (peek(l) == '{') return refuse(l, "templates are not supported");
    if (l->in_terminal && !is_terminal) return bad(l, "a terminal cannot name a rule");
    e_node x = e_ref(&l->e, i);
    return is_terminal ? terminal(l, x) : x;
}

static e_node take_atom(lark *l) {
    const char c = peek(l);
    if (l->e.enc != ENC_UTF8 && (c == '<' || c == '%')) return refuse(l, "tokens and %json in a text that is quoted");
    if (c == '"') return terminal(l, take_quoted(l));
    if (c == '/') return terminal(l, take_regex(l));
    if (c == '(') return take_group(l, ")");
    if (c == '[') return e_repeat(&l->e, take_group(l, "]"), 0, 1);
    if (c == '<') return l->in_terminal ? bad(l, "a terminal cannot name a token") : terminal(l, e_take_token(&l->e, false));
    if (take(l, "%lark_json")) return l->in_terminal ? bad(l, "%lark stands in rules only") : terminal(l, take_grammar(l, ENC_JSON));
    if (take(l, "%lark")) return l->in_terminal ? bad(l, "%lark stands in rules only") : terminal(l, take_grammar(l, ENC_UTF8));
    if (take(l, "%json")) return l->in_terminal ? bad(l, "%json stands in rules only") : terminal(l, take_json(l));
    if (c == '%') return refuse(l, "only %json may stand in a rule");
    if (take(l, "~")) { // everything else
        if (!l->in_terminal) return bad(l, "~ stands in terminals only");
        return e_not(&l->e, take_atom(l));
    }
    return take_name(l);
}

static e_node take_counts(lark *l, e_node x) {
    uint32_t min, max;
    skip_space(l, false);
    if (!e_take_number(&l->e, &min)) return bad(l, "a repetition without a number");
    max = min;
    skip_space(l, false);
    if (take(l, "..")) {
        skip_space(l, false);
        if (!e_take_number(&l->e, &max)) max = G_INFINITE;
    }
    return e_repeat(&l->e, x, min, max);
}

// x{2}, x{2,}, x{2,5}, x{,5}
static e_node take_braces(lark *l, e_node x) {
    uint32_t min = 0, max;
    skip_space(l, false);
    const bool has_min = e_take_number(&l->e, &min);
    max = min;
    skip_space(l, false);
    if (take(l, ",")) {
        skip_space(l, false);
        if (!e_take_number(&l->e, &max)) max = G_INFINITE;
        skip_space(l, false);
    } else if (!has_min) {
        return bad(l, "{ without a number");
    }
    return take(l, "}") ? e_repeat(&l->e, x, min, max) : bad(l, "{ without }");
}

static e_node take_item(lark *l) {
    e_node x = take_atom(l);
    for (;;) {
        skip_space(l, false);
        if (l->e.b->code != HTH_OK) return 0;
        if (take(l, "*")) {
            x = e_repeat(&l->e, x, 0, G_INFINITE);
        } else if (take(l, "+")) {
            x = e_repeat(&l->e, x, 1, G_INFINITE);
        } else if (take(l, "?")) {
            x = e_repeat(&l->e, x, 0, 1);
        } else if (take(l, "~")) {
            x = take_counts(l, x);
        } else if (take(l, "{")) {
            x = take_braces(l, x);
        } else {
            return x;
        }
    }
}

static bool at_end(lark *l, bool is_nested) {
    skip_space(l, is_nested);
    const char c = peek(l);
    return !more(l) || c == '|' || c == ')' || c == ']' || c == '&' || (!is_nested && c == '\n') || looking_at(l, "->");
}

static e_node take_sequence(lark *l, bool is_nested) {
    const size_t base = l->e.n_stack;
    while (!at_end(l, is_nested)) e_push(&l->e, take_item(l));
    e_node x = e_cat_from(&l->e, base);
    if (take(l, "->")) { // an alias names nothing that we need
        skip_space(l, false);
        l->e.at += name_length(l);
        (void)at_end(l, is_nested);
    }
    return x;
}

// Sequences with & between them: what all of them match. In terminals only.
static e_node take_both(lark *l, bool is_nested) {
    e_node x = take_sequence(l, is_nested);
    while (more(l) && peek(l) == '&') {
        if (!l->in_terminal) return bad(l, "& stands in terminals only");
        l->e.at++;
        const e_node y = take_sequence(l, is_nested);
        x = e_and(&l->e, x, y);
    }
    return x;
}

static e_node take_choice(lark *l, bool is_nested) {
    const size_t base = l->e.n_stack;
    skip_space(l, is_nested);
    do {
        e_push(&l->e, take_both(l, is_nested));
        const size_t end = l->e.at;
        skip_space(l, true);
        if (peek(l) != '|') {
            if (!is_nested) l->e.at = end;
            break;
        }
    } while (l->e.b->code == HTH_OK && take(l, "|"));
    e_node x = e_alt_from(&l->e, base);
    return x;
}

// ---- statements

static void define(lark *l, uint32_t rule, e_node body, bool is_terminal) {
    if (l->e.b->code != HTH_OK) return;
    if (l->e.rules[rule].body) {
        bad(l, "a name that is defined already");
        return;
    }
    l->e.rules[rule].body = body;
    l->e.rules[rule].is_terminal = is_terminal;
}

static void define_common(lark *l, const char *name, size_t n, uint32_t rule) {
    size_t i = 0;
    while (i < HTH_COUNT(common) && (strlen(common[i].name) != n || memcmp(common[i].name, name, n) != 0)) i++;
    if (i == HTH_COUNT(common)) {
        bad(l, "common has no terminal of this name");
        return;
    }
    const char *text = l->e.text; // the reader looks elsewhere for a moment
    const size_t n_text = l->e.n, at = l->e.at;
    l->e.text = common[i].body;
    l->e.n = strlen(common[i].body);
    l->e.at = 0;
    const e_node body = take_regex(l);
    l->e.text = text;
    l->e.n = n_text;
    l->e.at = at;
    define(l, rule, body, true);
}

// %import common.NAME, %import common.NAME -> OTHER, %import common (A, B)
static void take_import(lark *l) {
    skip_space(l, false);
    if (!take(l, "common")) {
        refuse(l, "only `common` can be imported");
        return;
    }
    const bool is_list = !take(l, ".");
    skip_space(l, false);
    if (is_list && !take(l, "(")) {
        bad(l, "%import without names");
        return;
    }
    do {
        skip_space(l, is_list);
        const char *name = l->e.text + l->e.at, *as = name;
        size_t n = name_length(l), n_as = n;
        l->e.at += n;
        skip_space(l, is_list);
        if (!is_list && take(l, "->")) {
            skip_space(l, false);
            as = l->e.text + l->e.at;
            n_as = name_length(l);
            l->e.at += n_as;
        }
        if (n == 0 || n_as == 0) {
            bad(l, "%import without a name");
            return;
        }
        define_common(l, name, n, e_rule_of(&l->e, as, n_as));
    } while (is_list && l->e.b->code == HTH_OK && take(l, ","));
    if (is_list && !take(l, ")")) bad(l, "( without )");
}

static void take_ignore(lark *l) {
    l->in_terminal = true;
    const e_node x = take_choice(l, false);
    l->in_terminal = false;
    if (l->e.b->code != HTH_OK) return;
    e_rule *r = &l->e.rules[l->ignore];
    const e_node both = r->body ? e_alt(&l->e, (e_node[]){r->body, x}, 2) : x;
    l->e.rules[l->ignore].body = both;
    l->e.rules[l->ignore].is_terminal = true;
}

static void take_definition(lark *l) {
    (void)(take(l, "?") || take(l, "!"));
    const char *name = l->e.text + l->e.at;
    const size_t n = name_length(l);
    if (n == 0) {
        bad(l, "a rule (name: ...) is missing");
        return;
    }
    const uint32_t i = e_rule_of(&l->e, name, n);
    l->e.at += n;
    if (take(l, ".")) { // a priority decides between derivations, not about the language
        (void)take(l, "-");
        uint32_t priority;
        (void)e_take_number(&l->e, &priority);
    }
    if (peek(l) == '{') refuse(l, "templates are not supported");
    if (peek(l) == '[') refuse(l, "attributes of rules are not supported");
    skip_space(l, false);
    if (!take(l, ":")) bad(l, "a rule (name: ...) is missing");
    l->in_terminal = is_terminal_name(name, n);
    skip_space(l, false);
    const e_node body = take_choice(l, false);
    define(l, i, body, l->in_terminal);
    l->in_terminal = false;
}

static void take_statement(lark *l) {
    if (take(l, "%import")) {
        take_import(l);
    } else if (take(l, "%ignore")) {
        take_ignore(l);
    } else if (take(l, "%llguidance")) { // settings of another engine
        while (more(l) && peek(l) != '\n') l->e.at++;
    } else if (peek(l) == '%') {
        refuse(l, "a directive other than %import, %ignore and %json");
    } else {
        take_definition(l);
    }
    skip_space(l, false);
    if (more(l) && peek(l) != '\n') bad(l, "more on this line than expected");
    skip_space(l, true);
}

// What is ignored may also stand before the first terminal.
static uint32_t start_with_gap(lark *l, uint32_t start) {
    if (l->ignore == G_NONE) return start;
    const e_node gap = e_repeat(&l->e, e_ref(&l->e, l->ignore), 0, G_INFINITE);
    const uint32_t i = e_rule_of(&l->e, "start with what is ignored", 26); // no name has spaces
    if (l->e.b->code == HTH_OK) l->e.rules[i].body = e_cat(&l->e, (e_node[]){gap, e_ref(&l->e, start)}, 2);
    return i;
}

static bool has_ignore(const char *text, size_t n) {
    for (size_t i = 0; i + 7 <= n; i++) {
        if (memcmp(text + i, "%ignore", 7) == 0 && (i == 0 || text[i - 1] == '\n')) return true;
    }
    return false;
}

// Reads a grammar into the network; its start is the rule, and b->start_rule.
static uint32_t nested_rule(g_build *b, const char *text, size_t n, g_encoding enc) {
    lark l = {.ignore = G_NONE};
    uint32_t start;
    if (e_init(&l.e, b, text, n)) {
        l.e.enc = enc;
        if (has_ignore(text, n)) l.ignore = e_rule_of(&l.e, "what is ignored", 15);
        skip_space(&l, true);
        while (more(&l)) take_statement(&l);
        if (b->code == HTH_OK && !hth_map_find(&l.e.by_name, "start", 5, &start)) {
            bad(&l, "there is no rule `start`");
        } else if (b->code == HTH_OK) {
            (void)e_finish(&l.e, start_with_gap(&l, start));
        }
    }
    e_free(&l.e);
    return b->start_rule;
}

hth_code hth_grammar_from_lark(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err) {
    g_build b;
    g_build_init(&b, o, err);
    (void)nested_rule(&b, text, n, ENC_UTF8);
    *out = g_build_finish(&b);
    const hth_code code = b.code;
    g_build_free(&b);
    return code;
}

// ---- which of the two

hth_code hth_grammar_from_text(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err) {
    for (size_t i = 0; i < n; i++) { // the first definition decides; comments and texts may hold anything
        if (text[i] == '#' || (text[i] == '/' && i + 1 < n && text[i + 1] == '/')) {
            while (i < n && text[i] != '\n') i++;
        } else if (text[i] == ':') {
            const bool is_gbnf = n - i >= 3 && memcmp(text + i, "::=", 3) == 0;
            return is_gbnf ? hth_grammar_from_gbnf(text, n, o, out, err) : hth_grammar_from_lark(text, n, o, out, err);
        }
    }
    return hth_fail(err, HTH_ERR_FORMAT, "neither a GBNF grammar (name ::= ...) nor a Lark grammar (name: ...)");
}
