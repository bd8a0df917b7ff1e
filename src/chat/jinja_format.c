// Python's two ways to fill a text with values: the % operator and str.format.
#include "chat/jinja_impl.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#define MAX_WIDTH 1000000
#define MAX_PRECISION 300
#define MAX_FIELDS 4 // of nested replacement fields

// How a number or a text is to be laid out.
typedef struct spec {
    const char *fill; // one character
    unsigned n_fill;
    char align, sign, type, grouping;
    bool alternate, zero;
    int64_t width, precision; // precision -1: none
} spec;

static hth_code put_aligned(jj_buf *b, const spec *s, const char *prefix, const char *digits, size_t n_digit,
                            char align) {
    int64_t missing = s->width - (int64_t)strlen(prefix) - (int64_t)n_digit;
    int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    if (missing < 0) missing = left = 0;
    if (align != '=') HTH_TRY(jj_pad(b, s->fill, s->n_fill, left));
    HTH_TRY(jj_puts(b, prefix));
    if (align == '=') HTH_TRY(jj_pad(b, s->fill, s->n_fill, missing));
    HTH_TRY(jj_put(b, digits, n_digit, false));
    return align == '=' ? HTH_OK : jj_pad(b, s->fill, s->n_fill, missing - left);
}

static hth_code put_text(jj_buf *b, const spec *s, const jj_str *text) {
    uint32_t end = s->precision >= 0 && s->precision < text->n_char ? jj_byte_of(text, s->precision) : text->n;
    int64_t n_char = end == text->n ? text->n_char : s->precision;
    int64_t missing = s->width > n_char ? s->width - n_char : 0;
    int64_t left = s->align == '>' ? missing : s->align == '^' ? missing / 2 : 0;
    HTH_TRY(jj_pad(b, s->fill, s->n_fill, left));
    HTH_TRY(jj_put_part(b, text, 0, end));
    return jj_pad(b, s->fill, s->n_fill, missing - left);
}

// Digits of v in a base, with '_' or ',' between groups; returns where they begin in out[80].
static const char *print_digits(uint64_t v, unsigned base, bool upper, char grouping, char out[160]) {
    const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char *p = out + 159;
    unsigned per_group = base == 10 ? 3 : 4;
    *p = 0;
    for (unsigned n = 0; v > 0 || n == 0; n++, v /= base) {
        if (grouping && n > 0 && n % per_group == 0) *--p = grouping;
        *--p = set[v % base];
    }
    return p;
}

static hth_code put_integer(jj_buf *b, const spec *s, int64_t v) {
    char out[160], prefix[4] = "", type = s->type ? s->type : 'd';
    unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    const char *digits = print_digits(u, base, type == 'X', s->grouping, out);
    size_t n = 0;
    if (v < 0 || s->sign == '+' || s->sign == ' ') prefix[n++] = v < 0 ? '-' : s->sign;
    if (s->alternate && base != 10) {
        prefix[n++] = '0';
        prefix[n++] = type;
    }
    return put_aligned(b, s, prefix, digits, strlen(digits), s->align ? s->align : '>');
}

// Puts commas into the whole part of a printed number.
static void group(char *text, size_t room, char grouping) {
    size_t whole = strspn(text, "0123456789"), n = strlen(text);
    for (size_t at = whole; at > 3 && n + 2 < room; n++) {
        at -= 3;
        memmove(text + at + 1, text + at, n - at + 1);
        text[at] = grouping;
    }
}

static hth_code put_real(jj_buf *b, const spec *s, double d) {
    char text[1024], prefix[2] = "", type = s->type;
    bool is_upper = type == 'E' || type == 'F' || type == 'G';
    int precision = s->precision < 0 ? 6 : s->precision > MAX_PRECISION ? MAX_PRECISION : (int)s->precision;
    double a = fabs(type == '%' ? d * 100 : d);
    if (!isfinite(d)) {
        snprintf(text, sizeof text, "%s", isnan(d) ? (is_upper ? "NAN" : "nan") : is_upper ? "INF" : "inf");
    } else if (type == 0 && s->precision < 0) {
        char repr[JJ_FLOAT_CHARS];
        jj_print_float(a, repr);
        snprintf(text, sizeof text, "%s", repr);
    } else if (tolower((unsigned char)type) == 'e') {
        snprintf(text, sizeof text, is_upper ? "%.*E" : "%.*e", precision, a);
    } else if (tolower((unsigned char)type) == 'f' || type == '%') {
        snprintf(text, sizeof text, "%.*f", precision, a);
    } else {
        if (precision == 0) precision = 1;
        snprintf(text, sizeof text, is_upper ? "%.*G" : s->alternate ? "%#.*g" : "%.*g", precision, a);
        if (type == 0 && !strpbrk(text, ".e")) snprintf(text + strlen(text), 4, ".0"); // a float shows a point
    }
    if (s->grouping) group(text, sizeof text, s->grouping);
    if (type == '%') snprintf(text + strlen(text), 4, "%%");
    if ((signbit(d) && !isnan(d)) || s->sign == '+' || s->sign == ' ') prefix[0] = signbit(d) && !isnan(d) ? '-' : s->sign;
    return put_aligned(b, s, prefix, text, strlen(text), s->align ? s->align : '>');
}

hth_code jj_put_fixed(jj_buf *b, double d, int precision) {
    spec s = {.fill = " ", .n_fill = 1, .type = 'f', .precision = precision};
    return put_real(b, &s, d);
}

// ---- format % args ----

typedef struct percent {
    jj_vm *vm;
    jj_buf b;
    const jj_str *format;
    uint32_t at;
    jj_value args; // a tuple, a dict for %(name)s, or one value
    uint32_t n_used;
} percent;

static hth_code next_argument(percent *p, jj_value *out) {
    bool is_tuple = p->args.kind == HTH_JINJA_TUPLE;
    if (p->n_used >= (is_tuple ? p->args.u.list->n : 1)) {
        return jj_fail(p->vm, JJ_TYPE_ERROR, "not enough arguments for format string");
    }
    *out = is_tuple ? p->args.u.list->items[p->n_used] : p->args;
    p->n_used++;
    return HTH_OK;
}

static char peek(const percent *p) {
    return p->at < p->format->n ? p->format->p[p->at] : 0;
}

// A number, or '*' for the next argument.
static hth_code read_count(percent *p, int64_t *out) {
    if (peek(p) == '*') {
        jj_value v;
        p->at++;
        HTH_TRY(next_argument(p, &v));
        if (!jj_is_int(v)) return jj_fail(p->vm, JJ_TYPE_ERROR, "* wants int");
        *out = jj_int_of(v);
    } else {
        for (*out = 0; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
            *out = *out * 10 + (peek(p) - '0');
            if (*out > MAX_WIDTH) return jj_fail(p->vm, JJ_VALUE_ERROR, "width too big");
        }
    }
    if (*out > MAX_WIDTH || *out < -MAX_WIDTH) return jj_fail(p->vm, JJ_LIMIT, "a width beyond %d", MAX_WIDTH);
    return HTH_OK;
}

static hth_code read_key(percent *p, jj_value *out) {
    uint32_t from = ++p->at;
    for (int depth = 1; depth > 0; p->at++) {
        if (p->at >= p->format->n) return jj_fail(p->vm, JJ_VALUE_ERROR, "incomplete format key");
        depth += (peek(p) == '(') - (peek(p) == ')');
    }
    jj_value key, *found;
    if (p->args.kind != HTH_JINJA_DICT) return jj_fail(p->vm, JJ_TYPE_ERROR, "format requires a mapping");
    HTH_TRY(jj_part(p->vm, p->format, from, p->at - 1, &key));
    HTH_TRY(jj_dict_find(p->vm, p->args.u.dict, key, &found));
    if (!found) return jj_fail(p->vm, JJ_LOOKUP_ERROR, "KeyError: '%.*s'", (int)(p->at - 1 - from), p->format->p + from);
    *out = *found;
    return HTH_OK;
}

static hth_code put_conversion_text(percent *p, const spec *s, jj_value v) {
    jj_buf text = jj_buf_make(p->vm);
    jj_value str;
    HTH_TRY(s->type == 's' ? jj_put_value(&text, v) : jj_put_repr(&text, v));
    HTH_TRY(jj_take(&text, &str));
    if (p->format->is_markup && !(jj_is_str(v) && v.u.s->is_markup)) HTH_TRY(jj_escape(p->vm, str, &str));
    return put_text(&p->b, s, str.u.s);
}

static hth_code put_conversion_char(percent *p, const spec *s, jj_value v) {
    jj_buf text = jj_buf_make(p->vm);
    jj_value str = v;
    if (jj_is_int(v)) {
        if (jj_int_of(v) < 0 || jj_int_of(v) > 0x10ffff) return jj_fail(p->vm, JJ_OVERFLOW_ERROR, "%%c arg not in range(0x110000)");
        HTH_TRY(jj_put_cp(&text, (uint32_t)jj_int_of(v), false));
        HTH_TRY(jj_take(&text, &str));
    }
    if (!jj_is_str(str) || str.u.s->n_char != 1) return jj_fail(p->vm, JJ_TYPE_ERROR, "%%c requires int or char");
    return put_text(&p->b, s, str.u.s);
}

// %d and its kin: precision is the least number of digits.
static hth_code put_conversion_int(percent *p, spec *s, jj_value v) {
    char out[160], digits[MAX_PRECISION + 160], prefix[4] = "";
    if (v.kind == HTH_JINJA_FLOAT && s->type == 'd') HTH_TRY(jj_to_int(p->vm, v, 10, &v));
    if (!jj_is_int(v)) {
        return jj_fail(p->vm, JJ_TYPE_ERROR, "%%%c format: %s is required, not %s", s->type,
                       s->type == 'd' ? "a real number" : "an integer", jj_type_name(v));
    }
    int64_t i = jj_int_of(v);
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    unsigned base = s->type == 'o' ? 8 : s->type == 'd' ? 10 : 16;
    const char *plain = print_digits(u, base, s->type == 'X', 0, out);
    size_t n = strlen(plain), n_zero = s->precision > (int64_t)n ? (size_t)s->precision - n : 0, k = 0;
    if (n_zero > MAX_PRECISION) return jj_fail(p->vm, JJ_LIMIT, "a precision beyond %d", MAX_PRECISION);
    memset(digits, '0', n_zero);
    memcpy(digits + n_zero, plain, n + 1);
    if (i < 0 || s->sign) prefix[k++] = i < 0 ? '-' : s->sign;
    if (s->alternate && base != 10) {
        prefix[k++] = '0';
        prefix[k++] = s->type;
    }
    char align = s->align == '<' ? '<' : s->zero ? '=' : '>';
    if (align == '=') s->fill = "0";
    return put_aligned(&p->b, s, prefix, digits, strlen(digits), align);
}

static hth_code put_conversion_float(percent *p, spec *s, jj_value v) {
    double d;
    if (!jj_is_number(v)) return jj_fail(p->vm, JJ_TYPE_ERROR, "must be real number, not %s", jj_type_name(v));
    HTH_TRY(jj_to_float(p->vm, v, &d));
    if (s->align != '<') s->align = s->zero ? '=' : '>';
    if (s->align == '=') s->fill = "0";
    return put_real(&p->b, s, d);
}

static hth_code put_conversion(percent *p) {
    spec s = {.fill = " ", .n_fill = 1, .precision = -1, .align = '>'};
    jj_value v = JJ_NIL;
    if (peek(p) == '(') HTH_TRY(read_key(p, &v));
    for (; peek(p) && strchr("-+ #0", peek(p)); p->at++) {
        char c = peek(p);
        if (c == '-') s.align = '<';
        if (c == '+' || (c == ' ' && s.sign != '+')) s.sign = c;
        s.alternate = s.alternate || c == '#';
        s.zero = s.zero || c == '0';
    }
    HTH_TRY(read_count(p, &s.width));
    if (s.width < 0) {
        s.align = '<';
        s.width = -s.width;
    }
    if (peek(p) == '.') {
        p->at++;
        HTH_TRY(read_count(p, &s.precision));
        if (s.precision < 0) s.precision = 0;
    }
    if (peek(p) == 'l' || peek(p) == 'h' || peek(p) == 'L') p->at++;
    s.type = peek(p);
    if (!s.type) return jj_fail(p->vm, JJ_VALUE_ERROR, "incomplete format");
    p->at++;
    if (s.type == '%') return jj_puts(&p->b, "%");
    if (!strchr("srdiuoxXeEfFgGca", s.type)) {
        return jj_fail(p->vm, JJ_VALUE_ERROR, "unsupported format character '%c' (0x%x) at index %u", s.type,
                       (unsigned)(uint8_t)s.type, p->at - 1);
    }
    if (v.kind == HTH_JINJA_MISSING) HTH_TRY(next_argument(p, &v));
    if (s.type == 'i' || s.type == 'u') s.type = 'd';
    if (s.type == 's' || s.type == 'r' || s.type == 'a') return put_conversion_text(p, &s, v);
    if (s.type == 'c') return put_conversion_char(p, &s, v);
    if (strchr("doxX", s.type)) return put_conversion_int(p, &s, v);
    return put_conversion_float(p, &s, v);
}

hth_code jj_percent(jj_vm *vm, const jj_str *format, jj_value args, jj_value *out) {
    percent p = {.vm = vm, .b = jj_buf_make(vm), .format = format, .args = args};
    while (p.at < format->n) {
        const char *sign = memchr(format->p + p.at, '%', format->n - p.at);
        uint32_t end = sign ? (uint32_t)(sign - format->p) : format->n;
        HTH_TRY(jj_put_part(&p.b, format, p.at, end));
        p.at = end + 1;
        if (sign) HTH_TRY(put_conversion(&p));
    }
    bool is_tuple = args.kind == HTH_JINJA_TUPLE;
    bool may_be_left = args.kind == HTH_JINJA_DICT || args.kind == HTH_JINJA_LIST || args.kind == HTH_JINJA_RANGE ||
                       jj_is_undefined(args);
    if (p.n_used < (is_tuple ? args.u.list->n : 1) && !may_be_left) {
        return jj_fail(vm, JJ_TYPE_ERROR, "not all arguments converted during string formatting");
    }
    return jj_take_markup(&p.b, format->is_markup, out);
}

// ---- str.format ----

typedef struct formatter {
    jj_vm *vm;
    const jj_args *args;
    int64_t next; // of "{}"; -1 after a number was given
} formatter;

static hth_code format_into(formatter *f, jj_buf *b, const jj_str *s, uint32_t from, uint32_t to, int depth);

static hth_code parse_spec(jj_vm *vm, const jj_str *text, spec *s) {
    const char *p = text->p, *end = p + text->n;
    *s = (spec){.fill = " ", .n_fill = 1, .precision = -1};
    unsigned len = 1;
    if (p < end) (void)jj_cp(p, (size_t)(end - p), &len);
    if (p + len < end && memchr("<>=^", p[len], 4)) {
        s->fill = p;
        s->n_fill = len;
        s->align = p[len];
        p += len + 1;
    } else if (p < end && memchr("<>=^", *p, 4)) {
        s->align = *p++;
    }
    if (p < end && memchr("+- ", *p, 3)) s->sign = *p == '-' ? (p++, 0) : *p++;
    if (p < end && *p == 'z') p++;
    if (p < end && *p == '#') s->alternate = *p++ != 0;
    if (p < end && *p == '0') {
        p++;
        if (!s->align) {
            s->align = '=';
            s->fill = "0";
            s->zero = true;
        }
    }
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        s->width = s->width * 10 + (*p - '0');
        if (s->width > MAX_WIDTH) return jj_fail(vm, JJ_LIMIT, "a width beyond %d", MAX_WIDTH);
    }
    if (p < end && (*p == ',' || *p == '_')) s->grouping = *p++;
    if (p < end && *p == '.') {
        p++;
        if (p == end || *p < '0' || *p > '9') return jj_fail(vm, JJ_VALUE_ERROR, "Format specifier missing precision");
        for (s->precision = 0; p < end && *p >= '0' && *p <= '9'; p++) {
            s->precision = s->precision * 10 + (*p - '0');
            if (s->precision > MAX_WIDTH) return jj_fail(vm, JJ_LIMIT, "a precision beyond %d", MAX_WIDTH);
        }
    }
    if (p < end) s->type = *p++;
    return p == end ? HTH_OK : jj_fail(vm, JJ_VALUE_ERROR, "Invalid format specifier");
}

static hth_code format_number(jj_buf *b, spec *s, jj_value v) {
    bool is_real = v.kind == HTH_JINJA_FLOAT || (s->type && strchr("eEfFgG%", s->type));
    if (v.kind == HTH_JINJA_BOOL && !s->type) { // printed as a text, laid out as a number
        jj_value text;
        HTH_TRY(jj_to_str(b->vm, v, &text));
        s->align = s->align && s->align != '=' ? s->align : '>';
        return put_text(b, s, text.u.s);
    }
    if (is_real && (!s->type || strchr("eEfFgGn%", s->type))) return put_real(b, s, jj_float_of(v));
    if (v.kind == HTH_JINJA_BIG && (!s->type || s->type == 'd') && !s->width && !s->grouping) return jj_put_str(b, v.u.s);
    if (is_real || v.kind == HTH_JINJA_BIG || (s->type && !strchr("bdoxXnc", s->type))) {
        return jj_fail(b->vm, JJ_VALUE_ERROR, "Unknown format code '%c' for object of type '%s'", s->type, jj_type_name(v));
    }
    if (s->precision >= 0) return jj_fail(b->vm, JJ_VALUE_ERROR, "Precision not allowed in integer format specifier");
    if (s->type == 'n') s->type = 'd';
    if (s->type != 'c') return put_integer(b, s, jj_int_of(v));
    if (jj_int_of(v) < 0 || jj_int_of(v) > 0x10ffff) return jj_fail(b->vm, JJ_OVERFLOW_ERROR, "%%c arg not in range(0x110000)");
    return jj_put_cp(b, (uint32_t)jj_int_of(v), false);
}

static hth_code format_value(jj_buf *b, jj_value v, const jj_str *spec_text) {
    spec s;
    if (spec_text->n == 0) return jj_put_value(b, v);
    HTH_TRY(parse_spec(b->vm, spec_text, &s));
    if (jj_is_number(v)) return format_number(b, &s, v);
    if (!jj_is_str(v)) {
        return jj_fail(b->vm, JJ_TYPE_ERROR, "unsupported format string passed to %s.__format__", jj_type_name(v));
    }
    if (s.type && s.type != 's') {
        return jj_fail(b->vm, JJ_VALUE_ERROR, "Unknown format code '%c' for object of type 'str'", s.type);
    }
    if (s.align == '=' && !s.zero) return jj_fail(b->vm, JJ_VALUE_ERROR, "'=' alignment not allowed in string format specifier");
    return put_text(b, &s, v.u.s);
}

static bool all_digits(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
    }
    return n > 0;
}

static int64_t read_number(const char *p, size_t n) {
    int64_t v = 0;
    for (size_t i = 0; i < n && v < INT32_MAX; i++) v = v * 10 + (p[i] - '0');
    return v;
}

// The argument that a field's name begins with.
static hth_code first_value(formatter *f, const char *p, size_t n, jj_value *out) {
    if (n == 0 || all_digits(p, n)) {
        if ((n == 0) != (f->next >= 0) && f->next != 0) {
            return jj_fail(f->vm, JJ_VALUE_ERROR, "cannot switch between manual field specification and automatic"
                                                  " field numbering");
        }
        int64_t at = n == 0 ? f->next++ : read_number(p, n);
        if (n > 0) f->next = -1;
        if (at >= f->args->n_pos) {
            return jj_fail(f->vm, JJ_LOOKUP_ERROR, "Replacement index %lld out of range for positional args tuple",
                           (long long)at);
        }
        *out = f->args->pos[at];
        return HTH_OK;
    }
    for (uint32_t i = 0; i < f->args->n_kw; i++) {
        const jj_str *key = f->args->kw[i].key.u.s;
        if (key->n != n || memcmp(key->p, p, n) != 0) continue;
        *out = f->args->kw[i].value;
        return HTH_OK;
    }
    return jj_fail(f->vm, JJ_LOOKUP_ERROR, "KeyError: '%.*s'", n < 80 ? (int)n : 80, p);
}

// A field's name with its attributes and subscripts.
static hth_code field_value(formatter *f, const jj_str *s, uint32_t from, uint32_t to, jj_value *out) {
    const char *p = s->p + from, *end = s->p + to, *at = p;
    while (at < end && *at != '.' && *at != '[') at++;
    HTH_TRY(first_value(f, p, (size_t)(at - p), out));
    while (at < end) {
        bool is_item = *at++ == '[';
        p = at;
        while (at < end && (is_item ? *at != ']' : *at != '.' && *at != '[')) at++;
        size_t n = (size_t)(at - p);
        if (n == 0) return jj_fail(f->vm, JJ_VALUE_ERROR, "Empty attribute in format string");
        if (is_item && at++ == end) return jj_fail(f->vm, JJ_VALUE_ERROR, "expected '}' before end of string");
        jj_value key;
        HTH_TRY(jj_part(f->vm, s, (uint32_t)(p - s->p), (uint32_t)(p - s->p + (ptrdiff_t)n), &key));
        if (is_item && all_digits(p, n)) key = jj_int(read_number(p, n));
        HTH_TRY(is_item ? jj_getitem(f->vm, *out, key, out) : jj_getattr(f->vm, *out, key.u.s, out));
    }
    return HTH_OK;
}

// {name!r:spec} between its braces.
static hth_code put_field(formatter *f, jj_buf *b, const jj_str *s, uint32_t from, uint32_t to, int depth) {
    uint32_t name_end = from;
    for (int nest = 0; name_end < to; name_end++) {
        char c = s->p[name_end];
        nest += (c == '[') - (c == ']');
        if (nest <= 0 && (c == '!' || c == ':')) break;
    }
    jj_value v, spec_text;
    HTH_TRY(field_value(f, s, from, name_end, &v));
    uint32_t at = name_end;
    if (at < to && s->p[at] == '!') {
        char how = at + 1 < to ? s->p[at + 1] : 0;
        jj_buf text = jj_buf_make(f->vm);
        if (how != 'r' && how != 's' && how != 'a') return jj_fail(f->vm, JJ_VALUE_ERROR, "Unknown conversion specifier");
        HTH_TRY(how == 's' ? jj_put_value(&text, v) : jj_put_repr(&text, v));
        HTH_TRY(jj_take(&text, &v));
        at += 2;
        if (at < to && s->p[at] != ':') return jj_fail(f->vm, JJ_VALUE_ERROR, "expected ':' after conversion specifier");
    }
    jj_buf text = jj_buf_make(f->vm);
    if (at < to) HTH_TRY(format_into(f, &text, s, at + 1, to, depth + 1));
    HTH_TRY(jj_take(&text, &spec_text));
    if (!s->is_markup) return format_value(b, v, spec_text.u.s);
    jj_buf inner = jj_buf_make(f->vm);
    jj_value part;
    HTH_TRY(format_value(&inner, v, spec_text.u.s));
    HTH_TRY(jj_take_markup(&inner, jj_is_str(v) && v.u.s->is_markup, &part));
    HTH_TRY(jj_escape(f->vm, part, &part));
    return jj_put_str(b, part.u.s);
}

static hth_code format_into(formatter *f, jj_buf *b, const jj_str *s, uint32_t from, uint32_t to, int depth) {
    if (depth >= MAX_FIELDS) return jj_fail(f->vm, JJ_VALUE_ERROR, "Max string recursion exceeded");
    for (uint32_t at = from; at < to;) {
        uint32_t plain = at;
        while (at < to && s->p[at] != '{' && s->p[at] != '}') at++;
        HTH_TRY(jj_put_part(b, s, plain, at));
        if (at == to) break;
        char c = s->p[at];
        if (at + 1 < to && s->p[at + 1] == c) {
            HTH_TRY(jj_put_part(b, s, at, at + 1));
            at += 2;
            continue;
        }
        if (c == '}') return jj_fail(f->vm, JJ_VALUE_ERROR, "Single '}' encountered in format string");
        uint32_t end = ++at;
        for (int nest = 1; end < to; end++) {
            nest += (s->p[end] == '{') - (s->p[end] == '}');
            if (nest == 0) break;
        }
        if (end == to) return jj_fail(f->vm, JJ_VALUE_ERROR, at == to ? "Single '{' encountered in format string"
                                                                      : "expected '}' before end of string");
        HTH_TRY(put_field(f, b, s, at, end, depth));
        at = end + 1;
    }
    return HTH_OK;
}

hth_code jj_format(jj_vm *vm, const jj_str *format, const jj_args *args, jj_value *out) {
    formatter f = {.vm = vm, .args = args};
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(format_into(&f, &b, format, 0, format->n, 0));
    return jj_take_markup(&b, format->is_markup, out);
}
