// Source to tokens, as jinja2's lexer does it with trim_blocks and lstrip_blocks: a tag may strip white space
// on either side, a block takes the newline behind it and the spaces before it where it stands alone.
// An error becomes the last token, because what stands before it may be wrong in a way that is told first.
#include <stdio.h>
#include <stdlib.h>

#include "chat/jinja_impl.h"
#include "text/unicode.h"

#define MAX_TOKENS ((size_t)1 << 20)
#define MAX_BALANCE 1024

typedef enum tag { TAG_NONE, TAG_BLOCK, TAG_VARIABLE, TAG_COMMENT, TAG_RAW } tag;

typedef struct lexer {
    hth_jinja *t;
    jj_tokens *out;
    const char *p; // the source
    size_t n, at;
    uint32_t line;
    bool line_starting;
    bool stopped; // an error token was made
    char balance[MAX_BALANCE];
    size_t n_balance;
    hth_err *err;
} lexer;

hth_code jj_syntax(hth_err *err, uint32_t line, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hth_fail(err, HTH_ERR_FORMAT, "chat template, line %u: %s", line, text);
}

hth_code jj_arena_full(const hth_arena *a, hth_err *err) {
    if (a->total_bytes < a->max_bytes / 2) return hth_fail_nomem(err, 0);
    return hth_fail(err, HTH_ERR_LIMIT, "the chat template takes more than %llu bytes to compile",
                    (unsigned long long)a->max_bytes);
}

const jj_str *jj_const_str(hth_arena *a, const char *p, size_t n) {
    jj_str *s = hth_arena_alloc(a, 1, sizeof *s);
    if (s) *s = (jj_str){.p = p, .n = (uint32_t)n, .n_char = jj_count(p, n)};
    return s;
}

static hth_code add_token(lexer *x, jj_token token) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&x->out->p, &x->out->cap, x->out->n + 1, sizeof token, MAX_TOKENS)) {
        if (x->out->n < MAX_TOKENS) return hth_fail_nomem(x->err, x->out->n * sizeof token);
        return hth_fail(x->err, HTH_ERR_LIMIT, "the chat template has more than %zu tokens", MAX_TOKENS);
    }
    x->out->p[x->out->n++] = token;
    return HTH_OK;
}

static hth_code add_plain(lexer *x, jj_token_type type, size_t begin, size_t end) {
    return add_token(x, (jj_token){.type = type, .line = x->line, .begin = (uint32_t)begin, .end = (uint32_t)end});
}

static hth_code add_text(lexer *x, jj_token_type type, const char *p, size_t n, size_t begin, size_t end) {
    const jj_str *s = jj_const_str(&x->t->arena, p, n);
    if (!s) return jj_arena_full(&x->t->arena, x->err);
    return add_token(x, (jj_token){.type = type, .line = x->line, .begin = (uint32_t)begin,
                                   .end = (uint32_t)end, .s = s});
}

static hth_code stop(lexer *x, const char *fmt, ...) HTH_PRINTF(2, 3);
static hth_code stop(lexer *x, const char *fmt, ...) {
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *copy = hth_arena_strndup(&x->t->arena, text, strlen(text));
    if (!copy) return jj_arena_full(&x->t->arena, x->err);
    x->stopped = true;
    return add_token(x, (jj_token){.type = JJ_T_ERROR, .line = x->line, .begin = (uint32_t)x->at,
                                   .end = (uint32_t)x->at, .text = copy});
}

static uint32_t n_newline(const char *p, size_t n) {
    uint32_t count = 0;
    for (const char *at = p; (at = memchr(at, '\n', n - (size_t)(at - p))) != NULL; at++) count++;
    return count;
}

// Moves on and counts lines.
static void advance(lexer *x, size_t to) {
    x->line += n_newline(x->p + x->at, to - x->at);
    x->line_starting = to > x->at ? x->p[to - 1] == '\n' : x->line_starting;
    x->at = to;
}

static size_t skip_space(const lexer *x, size_t at) {
    while (at < x->n) {
        unsigned len;
        if (!jj_is_space(jj_cp(x->p + at, x->n - at, &len))) break;
        at += len;
    }
    return at;
}

static bool starts(const lexer *x, size_t at, const char *word) {
    size_t n = strlen(word);
    return n <= x->n - at && memcmp(x->p + at, word, n) == 0;
}

// End of white space behind a closing tag: all of it after '-', one newline where blocks are trimmed.
static size_t after_close(const lexer *x, size_t at, bool strips, bool trims) {
    if (strips) return skip_space(x, at);
    return trims && at < x->n && x->p[at] == '\n' ? at + 1 : at;
}

// Where `{% raw %}` that begins at `at` ends; 0: it is none.
static size_t raw_begin(const lexer *x, size_t at) {
    at += 2;
    if (at < x->n && (x->p[at] == '-' || x->p[at] == '+')) at++;
    at = skip_space(x, at);
    if (!starts(x, at, "raw")) return 0;
    at = skip_space(x, at + 3);
    if (starts(x, at, "-%}")) return skip_space(x, at + 3);
    return starts(x, at, "%}") ? at + 2 : 0;
}

// Where `{% endraw %}` that begins at `at` ends; 0: it is none.
static size_t raw_end(const lexer *x, size_t at) {
    at += 2;
    if (at < x->n && (x->p[at] == '-' || x->p[at] == '+')) at++;
    at = skip_space(x, at);
    if (!starts(x, at, "endraw")) return 0;
    at = skip_space(x, at + 6);
    if (starts(x, at, "+%}")) return at + 3;
    if (starts(x, at, "-%}")) return after_close(x, at + 3, true, true);
    return starts(x, at, "%}") ? after_close(x, at + 2, false, true) : 0;
}

// The text before a tag, stripped as the tag says, as a token. Ends at the tag.
static hth_code add_data(lexer *x, size_t end, char sign, bool is_variable) {
    const char *p = x->p + x->at;
    size_t n = end - x->at;
    if (sign == '-') {
        while (n > 0) {
            size_t before = hth_cp_before((const uint8_t *)p, n);
            unsigned len;
            if (!jj_is_space(jj_cp(p + before, n - before, &len))) break;
            n = before;
        }
    } else if (sign != '+' && !is_variable) {
        size_t from = n;
        while (from > 0 && p[from - 1] != '\n') from--;
        size_t left = from;
        while (left < n) {
            unsigned len;
            if (!jj_is_space(jj_cp(p + left, n - left, &len))) break;
            left += len;
        }
        if ((from > 0 || x->line_starting) && left == n) n = from;
    }
    if (n > 0) HTH_TRY(add_text(x, JJ_T_DATA, p, n, x->at, x->at + n));
    advance(x, end);
    return HTH_OK;
}

static char sign_at(const lexer *x, size_t at) {
    return at < x->n && (x->p[at] == '-' || x->p[at] == '+') ? x->p[at] : 0;
}

static hth_code lex_raw(lexer *x) {
    for (size_t at = x->at; at < x->n; at++) {
        size_t end = x->p[at] == '{' && starts(x, at, "{%") ? raw_end(x, at) : 0;
        if (end == 0) continue;
        HTH_TRY(add_data(x, at, sign_at(x, at + 2), false));
        advance(x, end);
        return HTH_OK;
    }
    if (x->at == x->n) return HTH_OK;
    return stop(x, "Missing end of raw directive");
}

static hth_code lex_comment(lexer *x) {
    for (size_t at = x->at; at < x->n; at++) {
        if (x->p[at] != '#' && x->p[at] != '+' && x->p[at] != '-') continue;
        size_t end = 0;
        if (starts(x, at, "+#}")) end = at + 3;
        if (starts(x, at, "-#}")) end = after_close(x, at + 3, true, true);
        if (starts(x, at, "#}")) end = after_close(x, at + 2, false, true);
        if (end == 0) continue;
        advance(x, end);
        return HTH_OK;
    }
    if (x->at == x->n) return HTH_OK;
    return stop(x, "Missing end of comment tag");
}

// Text up to the next tag, and the tag's opening. *what is NONE at the end of the source.
static hth_code lex_text(lexer *x, tag *what) {
    size_t at = x->at;
    *what = TAG_NONE;
    for (;; at++) {
        const char *brace = at < x->n ? memchr(x->p + at, '{', x->n - at) : NULL;
        if (!brace) {
            if (x->n > x->at) HTH_TRY(add_text(x, JJ_T_DATA, x->p + x->at, x->n - x->at, x->at, x->n));
            advance(x, x->n);
            return HTH_OK;
        }
        at = (size_t)(brace - x->p);
        char next = at + 1 < x->n ? x->p[at + 1] : 0;
        if (next == '%' || next == '{' || next == '#') break;
    }
    size_t raw = x->p[at + 1] == '%' ? raw_begin(x, at) : 0;
    *what = raw ? TAG_RAW : x->p[at + 1] == '%' ? TAG_BLOCK : x->p[at + 1] == '{' ? TAG_VARIABLE : TAG_COMMENT;
    char sign = sign_at(x, at + 2);
    HTH_TRY(add_data(x, at, sign, *what == TAG_VARIABLE));
    size_t end = raw ? raw : at + 2 + (sign != 0);
    if (*what == TAG_BLOCK) HTH_TRY(add_plain(x, JJ_T_BLOCK_BEGIN, at, end));
    if (*what == TAG_VARIABLE) HTH_TRY(add_plain(x, JJ_T_VARIABLE_BEGIN, at, end));
    advance(x, end);
    return HTH_OK;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// End of (\d+_)*\d+ from `at`; `at` itself where there is none.
static size_t digits(const lexer *x, size_t at) {
    size_t end = at;
    while (at < x->n && is_digit(x->p[at])) {
        end = ++at;
        if (at + 1 < x->n && x->p[at] == '_' && is_digit(x->p[at + 1])) at++;
    }
    return end;
}

static size_t float_end(const lexer *x, size_t at) {
    if (at > 0 && x->p[at - 1] == '.') return 0;
    size_t whole = digits(x, at);
    if (whole == at) return 0;
    size_t end = whole, found = 0;
    if (end < x->n && x->p[end] == '.') {
        size_t fraction = digits(x, end + 1);
        if (fraction > end + 1) found = end = fraction;
    }
    if (end < x->n && (x->p[end] == 'e' || x->p[end] == 'E')) {
        size_t from = end + 1;
        if (from < x->n && (x->p[from] == '+' || x->p[from] == '-')) from++;
        size_t exponent = digits(x, from);
        if (exponent > from) found = exponent;
    }
    return found;
}

static int digit_value(char c) {
    if (is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

// End of (_?DIGIT)+ in a base.
static size_t based_end(const lexer *x, size_t at, int base) {
    size_t end = at;
    for (;;) {
        size_t d = at < x->n && x->p[at] == '_' ? at + 1 : at;
        if (d >= x->n || digit_value(x->p[d]) >= base) return end;
        end = at = d + 1;
    }
}

static size_t integer_end(const lexer *x, size_t at, int *base) {
    *base = 10;
    if (!is_digit(x->p[at])) return 0;
    if (x->p[at] != '0') return based_end(x, at, 10);
    char kind = at + 1 < x->n ? x->p[at + 1] | 0x20 : 0;
    int other = kind == 'b' ? 2 : kind == 'o' ? 8 : kind == 'x' ? 16 : 0;
    size_t end = other ? based_end(x, at + 2, other) : 0;
    if (end > at + 2) {
        *base = other;
        return end;
    }
    end = at + 1;
    for (;;) {
        size_t d = end < x->n && x->p[end] == '_' ? end + 1 : end;
        if (d >= x->n || x->p[d] != '0') return end;
        end = d + 1;
    }
}

static hth_code add_integer(lexer *x, size_t end, int base) {
    int64_t v = 0;
    for (size_t at = x->at + (base == 10 ? 0 : 2); at < end; at++) {
        if (x->p[at] == '_') continue;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) ||
            __builtin_add_overflow(v, (int64_t)digit_value(x->p[at]), &v)) {
            return stop(x, "an integer beyond 64 bits");
        }
    }
    HTH_TRY(add_plain(x, JJ_T_INTEGER, x->at, end));
    x->out->p[x->out->n - 1].value = jj_int(v);
    advance(x, end);
    return HTH_OK;
}

static hth_code add_float(lexer *x, size_t end) {
    char text[512];
    size_t n = 0;
    for (size_t at = x->at; at < end; at++) {
        if (x->p[at] == '_') continue;
        if (n + 1 == sizeof text) return stop(x, "a number with too many digits");
        text[n++] = x->p[at];
    }
    text[n] = 0;
    HTH_TRY(add_plain(x, JJ_T_FLOAT, x->at, end));
    x->out->p[x->out->n - 1].value = jj_float(strtod(text, NULL));
    advance(x, end);
    return HTH_OK;
}

// One escape of Python's unicode-escape at p (a backslash); appends to *to. Returns the bytes read, 0: broken.
static size_t unescape(const char *p, size_t left, char **to, const char **reason) {
    char c = p[1];
    static const char from[] = "\\'\"abfnrtv", into[] = "\\'\"\a\b\f\n\r\t\v";
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        *(*to)++ = into[simple - from];
        return 2;
    }
    if (c == '\n') return 2;
    unsigned n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t cp = 0;
    size_t n = 2;
    if (c >= '0' && c <= '7') {
        for (n = 1; n < 4 && n < left && p[n] >= '0' && p[n] <= '7'; n++) cp = cp * 8 + (uint32_t)(p[n] - '0');
    } else if (n_hex) {
        for (; n < 2 + n_hex; n++) {
            if (n >= left || digit_value(p[n]) > 15) {
                *reason = n_hex == 2 ? "truncated \\xXX escape" : n_hex == 4 ? "truncated \\uXXXX escape"
                                                                             : "truncated \\UXXXXXXXX escape";
                return 0;
            }
            cp = cp * 16 + (uint32_t)digit_value(p[n]);
        }
    } else if (c == 'N') {
        *reason = "escapes by a character's name are not known here";
        return 0;
    } else if ((uint8_t)c >= 0x80) { // Python sees the escape that it has made of the character itself
        unsigned len;
        cp = jj_cp(p + 1, left - 1, &len);
        *to += snprintf(*to, 12, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
        return 1 + len;
    } else {
        *(*to)++ = '\\';
        *(*to)++ = c;
        return 2;
    }
    if (cp >= HTH_CP_END) {
        *reason = "illegal Unicode character";
        return 0;
    }
    *to += hth_cp_encode(cp, (uint8_t *)*to);
    return n;
}

static hth_code lex_string(lexer *x) {
    char quote = x->p[x->at];
    size_t begin = x->at + 1, end = begin;
    bool has_escape = false;
    while (end < x->n && x->p[end] != quote) {
        if (x->p[end] == '\\') {
            has_escape = true;
            end++;
        }
        end++;
    }
    if (end >= x->n) return stop(x, "unexpected char '%s%c' at %zu", quote == '\'' ? "\\" : "", quote, x->at);
    const char *p = x->p + begin;
    size_t n = end - begin;
    if (has_escape) {
        char *copy = hth_arena_alloc(&x->t->arena, 2 * n + 16, 1), *to = copy; // an escape at most doubles
        if (!copy) return jj_arena_full(&x->t->arena, x->err);
        for (size_t at = begin; at < end;) {
            const char *reason = NULL;
            size_t used = 1;
            if (x->p[at] == '\\') {
                used = unescape(x->p + at, end - at, &to, &reason);
                if (used == 0) return stop(x, "%s", reason);
            } else {
                *to++ = x->p[at];
            }
            at += used;
        }
        p = copy;
        n = (size_t)(to - copy);
    }
    HTH_TRY(add_text(x, JJ_T_STRING, p, n, x->at, end + 1));
    advance(x, end + 1);
    return HTH_OK;
}

static size_t name_end(const lexer *x, size_t at) {
    while (at < x->n) {
        unsigned len;
        uint32_t cp = jj_cp(x->p + at, x->n - at, &len);
        if (!(cp < 0x80 ? cp == '_' || is_digit((char)cp) || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z')
                        : hth_cp_is_word(cp))) {
            break;
        }
        at += len;
    }
    return at;
}

static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

// Keeps brackets in balance; a closing tag ends nothing inside of them.
static hth_code check_balance(lexer *x, char op) {
    if (!strchr("{}()[]", op)) return HTH_OK;
    if (op == '{' || op == '(' || op == '[') {
        if (x->n_balance == MAX_BALANCE) return stop(x, "brackets are nested deeper than %d", MAX_BALANCE);
        x->balance[x->n_balance++] = op == '{' ? '}' : op == '(' ? ')' : ']';
        return HTH_OK;
    }
    if (x->n_balance == 0) return stop(x, "unexpected '%c'", op);
    char expected = x->balance[--x->n_balance];
    return expected == op ? HTH_OK : stop(x, "unexpected '%c', expected '%c'", op, expected);
}

static hth_code lex_operator(lexer *x) {
    for (size_t i = 0; i < HTH_COUNT(operators); i++) {
        if (!starts(x, x->at, operators[i])) continue;
        size_t end = x->at + strlen(operators[i]);
        if (!operators[i][1]) HTH_TRY(check_balance(x, operators[i][0]));
        if (x->stopped) return HTH_OK;
        HTH_TRY(add_plain(x, JJ_T_OP, x->at, end));
        x->out->p[x->out->n - 1].op = operators[i];
        advance(x, end);
        return HTH_OK;
    }
    unsigned len;
    (void)jj_cp(x->p + x->at, x->n - x->at, &len);
    return stop(x, "unexpected char '%.*s' at %zu", (int)len, x->p + x->at, x->at);
}

// True, and the tag is closed, where it ends here.
static hth_code lex_close(lexer *x, tag what, bool *closed) {
    *closed = false;
    if (x->n_balance > 0) return HTH_OK;
    const char *close = what == TAG_BLOCK ? "%}" : "}}";
    bool strips = x->p[x->at] == '-' && starts(x, x->at + 1, close);
    bool keeps = what == TAG_BLOCK && x->p[x->at] == '+' && starts(x, x->at + 1, close);
    if (!strips && !keeps && !starts(x, x->at, close)) return HTH_OK;
    size_t end = x->at + 2 + (strips || keeps);
    size_t after = keeps ? end : after_close(x, end, strips, what == TAG_BLOCK);
    HTH_TRY(add_plain(x, what == TAG_BLOCK ? JJ_T_BLOCK_END : JJ_T_VARIABLE_END, x->at, end));
    advance(x, after);
    *closed = true;
    return HTH_OK;
}

static hth_code lex_one(lexer *x) {
    char c = x->p[x->at];
    int base;
    size_t end = float_end(x, x->at);
    if (end) return add_float(x, end);
    end = integer_end(x, x->at, &base);
    if (end) return add_integer(x, end, base);
    end = name_end(x, x->at);
    if (end > x->at) {
        HTH_TRY(add_text(x, JJ_T_NAME, x->p + x->at, end - x->at, x->at, end));
        advance(x, end);
        return HTH_OK;
    }
    return c == '\'' || c == '"' ? lex_string(x) : lex_operator(x);
}

// What stands inside of a block or a variable tag.
static hth_code lex_inside(lexer *x, tag what) {
    while (!x->stopped && x->at < x->n) {
        bool closed;
        HTH_TRY(lex_close(x, what, &closed));
        if (closed) return HTH_OK;
        size_t end = skip_space(x, x->at);
        if (end > x->at) {
            advance(x, end);
        } else {
            HTH_TRY(lex_one(x));
        }
    }
    return HTH_OK;
}

hth_code jj_lex(hth_jinja *t, jj_tokens *out, hth_err *err) {
    lexer x = {.t = t, .out = out, .p = t->source, .n = t->n_source, .line = 1, .line_starting = true, .err = err};
    tag what = TAG_BLOCK;
    while (!x.stopped && x.at < x.n && what != TAG_NONE) {
        HTH_TRY(lex_text(&x, &what));
        if (what == TAG_RAW) HTH_TRY(lex_raw(&x));
        if (what == TAG_COMMENT) HTH_TRY(lex_comment(&x));
        if (what == TAG_BLOCK || what == TAG_VARIABLE) HTH_TRY(lex_inside(&x, what));
    }
    if (x.stopped) return HTH_OK;
    // The end stands in the line of the last token, as jinja2 has it.
    uint32_t line = out->n > 0 ? out->p[out->n - 1].line : 1;
    return add_token(&x, (jj_token){.type = JJ_T_EOF, .line = line, .begin = (uint32_t)x.n, .end = (uint32_t)x.n});
}
