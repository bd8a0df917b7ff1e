// Arguments in Python's spelling, f(a=1, b=['x', None]), or in Gemma's, f{a:1,b:[<|"|>x<|"|>]}, rewritten as JSON as they
// come. Brackets are closed as they were opened, whatever the text says; a word that is no literal becomes a string.
#include "chat/output_impl.h"

#include "formats/json_impl.h"

enum { QUOTE_NONE, QUOTE_DOUBLE, QUOTE_SINGLE, QUOTE_DOUBLE3, QUOTE_SINGLE3, QUOTE_MARK };

static const char *quote_text(const hth_chat_output *o, int quote) {
    static const char *const texts[] = {"", "\"", "'", "\"\"\"", "'''"};
    return quote == QUOTE_MARK ? o->calls->quote : texts[quote];
}

static bool in_dict(const out_literal *l) {
    return l->depth > 0 && l->depth <= OUT_MAX_LEVELS && (l->is_dict >> (l->depth - 1) & 1);
}

// What has to stand before a value or key.
static void separate(hth_chat_output *o) {
    out_literal *l = &o->literal;
    if (l->comma || l->after_value) out_args_text(o, ", ");
    l->comma = l->after_value = false;
}

static void open_bracket(hth_chat_output *o, bool is_dict) {
    out_literal *l = &o->literal;
    separate(o);
    l->want_value = false;
    l->depth++;
    if (l->depth <= OUT_MAX_LEVELS) {
        const uint64_t bit = (uint64_t)1 << (l->depth - 1);
        l->is_dict = is_dict ? l->is_dict | bit : l->is_dict & ~bit;
        out_args_text(o, is_dict ? "{" : "[");
    }
    l->want_key = is_dict && l->depth <= OUT_MAX_LEVELS;
    l->after_key = false;
}

static void end_value(out_literal *l) {
    l->after_value = true;
    l->want_key = l->after_key = l->want_value = false;
}

// A key without a value.
static void end_key(hth_chat_output *o) {
    out_literal *l = &o->literal;
    if (!l->after_key && !l->want_value) return;
    out_args_text(o, l->want_value ? "null" : ": null");
    l->want_value = l->after_key = false;
    l->after_value = true;
}

// True: the outermost was closed.
static bool close_bracket(hth_chat_output *o) {
    out_literal *l = &o->literal;
    end_key(o);
    if (l->depth > 0 && l->depth <= OUT_MAX_LEVELS) out_args_text(o, in_dict(l) ? "}" : "]");
    if (l->depth > 0) l->depth--;
    l->comma = false;
    end_value(l);
    return l->depth == 0;
}

// ---- strings ----

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

// Python's escapes. Returns the bytes used, 0: more are needed.
static size_t use_escape(hth_chat_output *o, const char *p, size_t n, bool at_end) {
    static const char letter[] = "abfnrtv\\'\"", plain[] = "\a\b\f\n\r\t\v\\'\"";
    if (n < 2) {
        if (at_end) out_args_escaped(o, p, n);
        return at_end ? n : 0;
    }
    const char *at = p[1] ? strchr(letter, p[1]) : NULL;
    if (at) {
        out_args_escaped(o, &plain[at - letter], 1);
        return 2;
    }
    if (p[1] == '\n') return 2;
    const size_t n_digit = p[1] == 'x' ? 2 : p[1] == 'u' ? 4 : p[1] == 'U' ? 8 : 0;
    uint32_t c = 0;
    size_t i = 2;
    for (; i < n && i < 2 + n_digit && digit(p[i]) >= 0; i++) c = c * 16 + (uint32_t)digit(p[i]);
    if (i == n && i < 2 + n_digit && !at_end) return 0;
    if (n_digit == 0 || i < 2 + n_digit) { // none: Python keeps the backslash
        out_args_escaped(o, p, 2);
        return 2;
    }
    if (c >= 0xd800 && c < 0xdc00 && n_digit == 4) { // JSON's pairs, which models write here too
        if (n < 12 && !at_end) return 0;
        uint32_t low = 0;
        bool is_pair = n >= 12 && p[6] == '\\' && p[7] == 'u';
        for (size_t k = 8; is_pair && k < 12; k++) {
            is_pair = digit(p[k]) >= 0;
            low = low * 16 + (uint32_t)(is_pair ? digit(p[k]) : 0);
        }
        if (is_pair && low >= 0xdc00 && low < 0xe000) {
            out_args_char(o, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
            return 12;
        }
    }
    out_args_char(o, c);
    return i;
}

static void end_string(hth_chat_output *o) {
    out_literal *l = &o->literal;
    out_args_text(o, "\"");
    l->quote = QUOTE_NONE;
    l->is_raw = false;
    if (l->want_key) {
        l->want_key = false;
        l->after_key = true;
    } else {
        end_value(l);
    }
}

static size_t step_string(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    out_literal *l = &o->literal;
    const char *quote = quote_text(o, l->quote);
    const bool escapes = l->quote != QUOTE_MARK && !l->is_raw;
    size_t i = 0, from = 0, len;
    for (; i < n; i++) {
        if (p[i] == '\\' && escapes) {
            out_args_escaped(o, p + from, i - from);
            const size_t used = use_escape(o, p + i, n - i, at_end);
            *more = used == 0;
            return i + used;
        }
        if (p[i] != quote[0]) continue;
        const out_found found = out_match(&quote, 1, p + i, n - i, at_end, &len);
        if (found == OUT_NO) continue;
        out_args_escaped(o, p + from, i - from);
        *more = found == OUT_MORE;
        if (*more) return i;
        end_string(o);
        return i + len;
    }
    out_args_escaped(o, p + from, n - from);
    return n;
}

static size_t begin_string(hth_chat_output *o, int quote) {
    out_literal *l = &o->literal;
    if (!l->after_key) separate(o);
    l->quote = (uint8_t)quote;
    out_args_text(o, "\"");
    return strlen(quote_text(o, quote));
}

// ---- words ----

static bool ends_word(char c) {
    return out_is_space(c) || strchr(",:=()[]{}\"'<", c) != NULL;
}

static void tell_word(hth_chat_output *o, const char *p, size_t n) {
    static const char *const words[][2] = {{"True", "true"}, {"true", "true"},   {"False", "false"}, {"false", "false"},
                                           {"None", "null"}, {"null", "null"}};
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        if (strlen(words[i][0]) == n && memcmp(words[i][0], p, n) == 0) {
            out_args_text(o, words[i][1]);
            return;
        }
    }
    if (hth_json_read_number((const uint8_t *)p, n).len == n) {
        out_args(o, p, n);
        return;
    }
    out_args_text(o, "\"");
    out_args_escaped(o, p, n);
    out_args_text(o, "\"");
}

// A value without a name, f("x"): it belongs to the parameter of its place.
static void name_position(hth_chat_output *o) {
    out_literal *l = &o->literal;
    const hth_json *properties = o->tool && o->tool->schema ? hth_json_get(o->tool->schema, "properties") : NULL;
    const size_t i = l->n_position++;
    separate(o);
    out_args_text(o, "\"");
    if (properties && properties->kind == HTH_JSON_OBJECT && i < properties->n) {
        out_args_escaped(o, properties->u.members[i].key, properties->u.members[i].key_len);
    } else {
        hth_str number;
        hth_str_init(&number, HTH_MEM_TEXT, 32);
        hth_str_printf(&number, "arg%zu", i);
        out_args(o, hth_str_text(&number), number.len);
        hth_str_free(&number);
    }
    out_args_text(o, "\": ");
    l->want_key = false;
}

static size_t use_word(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    out_literal *l = &o->literal;
    size_t i = 0, k;
    while (i < n && !ends_word(p[i])) i++;
    if (i == 0) return 1; // a stray '<' or '='
    for (k = i; k < n && out_is_space(p[k]); k++) {}
    const bool is_open = i == n || (l->want_key && k == n);
    *more = is_open && !at_end;
    if (*more) return 0;
    if (i < n && (p[i] == '"' || p[i] == '\'') && i <= 2 && !l->want_key) { // r"..."
        l->is_raw = memchr(p, 'r', i) || memchr(p, 'R', i);
        return i;
    }
    const bool is_key = l->want_key && k < n && (p[k] == ':' || p[k] == '=');
    if (l->want_key && !is_key && l->depth == 1 && o->calls->body == FMT_PYTHON) name_position(o);
    if (!l->want_key) {
        if (!l->after_key) separate(o);
        tell_word(o, p, i);
        end_value(l);
        return i;
    }
    separate(o);
    out_args_text(o, "\"");
    out_args_escaped(o, p, i);
    out_args_text(o, "\"");
    l->want_key = false;
    l->after_key = true;
    return i;
}

// ---- between values ----

static bool use_comma(hth_chat_output *o) {
    out_literal *l = &o->literal;
    end_key(o);
    l->comma = l->after_value || l->comma;
    l->after_value = l->after_key = false;
    l->want_key = in_dict(l);
    return true;
}

// Which string begins here.
static out_found match_quote(const hth_chat_output *o, const char *p, size_t n, bool at_end, int *quote) {
    size_t len;
    if (p[0] == '<') {
        *quote = QUOTE_MARK;
        return o->calls->quote ? out_match(&o->calls->quote, 1, p, n, at_end, &len) : OUT_NO;
    }
    *quote = p[0] == '"' ? QUOTE_DOUBLE : p[0] == '\'' ? QUOTE_SINGLE : QUOTE_NONE;
    if (*quote == QUOTE_NONE) return OUT_NO;
    if (n < 3 && !at_end && (n < 2 || p[1] == p[0])) return OUT_MORE;
    if (n >= 3 && p[1] == p[0] && p[2] == p[0]) *quote += QUOTE_DOUBLE3 - QUOTE_DOUBLE;
    return OUT_YES;
}

static size_t begin(hth_chat_output *o) {
    o->literal.begun = true;
    if (o->calls->body == FMT_PYTHON) open_bracket(o, true); // its bracket belongs to the name
    return 0;
}

size_t out_step_literal(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    out_literal *l = &o->literal;
    int quote;
    if (!l->begun) return begin(o);
    if (l->quote != QUOTE_NONE) return step_string(o, p, n, at_end, more);
    const out_found closes = p[0] == '<' ? out_match_close(o, p, n, at_end) : OUT_NO;
    if (closes == OUT_YES) { // the call is over, whatever is open
        while (l->depth > 0) close_bracket(o);
        *done = true;
        return 0;
    }
    const out_found found = match_quote(o, p, n, at_end, &quote);
    *more = closes == OUT_MORE || found == OUT_MORE;
    if (*more) return 0;
    if (found == OUT_YES) {
        if (l->want_key && l->depth == 1 && o->calls->body == FMT_PYTHON) name_position(o);
        return begin_string(o, quote);
    }
    switch (p[0]) {
    case ' ': case '\n': case '\t': case '\r': return 1;
    case ',': return use_comma(o);
    case ':': case '=':
        if (l->after_key) {
            out_args_text(o, ": ");
            l->after_key = l->want_key = false;
            l->want_value = true;
        }
        return 1;
    case '{': case '[': case '(':
        if (l->want_key && l->depth == 1 && o->calls->body == FMT_PYTHON) name_position(o);
        open_bracket(o, p[0] == '{');
        return 1;
    case '}': case ']': case ')': *done = close_bracket(o); return 1;
    default: return use_word(o, p, n, at_end, more);
    }
}
