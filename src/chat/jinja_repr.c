// Values as text: str(), repr(), HTML escapes, and JSON as transformers' tojson prints it.
#include "chat/jinja_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/unicode.h"

// ---- numbers ----

// The shortest digits that read back as d (> 0, finite), as "d.ddde+XX". The nearest decimal of each length is
// tried, and the one above it: below a power of two the nearest may lie outside while that one does not.
static void shortest(double d, char out[JJ_FLOAT_CHARS]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, JJ_FLOAT_CHARS, "%.*e", digits - 1, d);
        if (strtod(out, NULL) == d) return;
        char up[JJ_FLOAT_CHARS];
        memcpy(up, out, sizeof up);
        char *last = strchr(up, 'e') - 1;
        if (*last == '9' || *last == '.') continue;
        (*last)++;
        if (strtod(up, NULL) == d) {
            memcpy(out, up, sizeof up);
            return;
        }
    }
}

void jj_print_float(double d, char out[JJ_FLOAT_CHARS]) {
    if (isnan(d) || isinf(d)) {
        snprintf(out, JJ_FLOAT_CHARS, "%s", isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
        return;
    }
    const char *sign = signbit(d) ? "-" : "";
    if (d == 0) {
        snprintf(out, JJ_FLOAT_CHARS, "%s0.0", sign);
        return;
    }
    char text[JJ_FLOAT_CHARS], digits[24];
    shortest(fabs(d), text);
    size_t n = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.') digits[n++] = *at;
    }
    while (n > 1 && digits[n - 1] == '0') n--;
    digits[n] = 0;
    int exponent = (int)strtol(at + 1, NULL, 10), n_digit = (int)n;
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, JJ_FLOAT_CHARS, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+',
                 abs(exponent));
    } else if (exponent < 0) {
        snprintf(out, JJ_FLOAT_CHARS, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    } else if (n_digit <= exponent + 1) {
        snprintf(out, JJ_FLOAT_CHARS, "%s%.17s%.*s.0", sign, digits, exponent + 1 - n_digit, "0000000000000000");
    } else {
        snprintf(out, JJ_FLOAT_CHARS, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
    }
}

static hth_code put_int(jj_buf *b, int64_t v) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)v);
    return jj_puts(b, text);
}

static hth_code put_float(jj_buf *b, double d) {
    char text[JJ_FLOAT_CHARS];
    jj_print_float(d, text);
    return jj_puts(b, text);
}

// ---- repr ----

bool jj_is_printable(uint32_t cp) { // str.isprintable
    if (cp < 0x7f) return cp >= 0x20;
    unsigned cat = hth_cp_category(cp);
    return !(HTH_CATS_C & 1u << cat) && (!(HTH_CATS_Z & 1u << cat) || cp == ' ');
}

static hth_code put_hex(jj_buf *b, uint32_t cp, bool is_client) {
    char text[12];
    snprintf(text, sizeof text, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
    return jj_put(b, text, strlen(text), is_client);
}

static hth_code put_str_repr(jj_buf *b, const jj_str *s) {
    bool has_single = memchr(s->p, '\'', s->n) != NULL, has_double = memchr(s->p, '"', s->n) != NULL;
    char quote = has_single && !has_double ? '"' : '\'';
    if (s->is_markup) HTH_TRY(jj_puts(b, "Markup("));
    HTH_TRY(jj_put(b, &quote, 1, false));
    uint32_t plain = 0;
    for (uint32_t i = 0; i < s->n;) {
        unsigned len;
        uint32_t cp = jj_cp(s->p + i, s->n - i, &len);
        bool is_special = cp == (uint8_t)quote || cp == '\\' || !jj_is_printable(cp);
        if (is_special) {
            bool is_client = jj_client_at(s, i);
            HTH_TRY(jj_put_part(b, s, plain, i));
            char text[3] = {'\\', cp == '\n' ? 'n' : cp == '\r' ? 'r' : cp == '\t' ? 't' : (char)cp};
            bool is_short = cp == '\\' || cp == (uint8_t)quote || cp == '\n' || cp == '\r' || cp == '\t';
            HTH_TRY(is_short ? jj_put(b, text, 2, is_client) : put_hex(b, cp, is_client));
            plain = i + len;
        }
        i += len;
    }
    HTH_TRY(jj_put_part(b, s, plain, s->n));
    HTH_TRY(jj_put(b, &quote, 1, false));
    return s->is_markup ? jj_puts(b, ")") : HTH_OK;
}

static hth_code put_items(jj_buf *b, const jj_list *list, char open, char close) {
    HTH_TRY(jj_put(b, &open, 1, false));
    for (uint32_t i = 0; i < list->n; i++) {
        if (i > 0) HTH_TRY(jj_puts(b, ", "));
        HTH_TRY(jj_put_repr(b, list->items[i]));
    }
    if (close == ')' && list->n == 1) HTH_TRY(jj_puts(b, ","));
    return jj_put(b, &close, 1, false);
}

static hth_code put_dict(jj_buf *b, const jj_dict *d) {
    HTH_TRY(jj_puts(b, "{"));
    for (uint32_t i = 0; i < d->n; i++) {
        if (i > 0) HTH_TRY(jj_puts(b, ", "));
        HTH_TRY(jj_put_repr(b, d->entries[i].key));
        HTH_TRY(jj_puts(b, ": "));
        HTH_TRY(jj_put_repr(b, d->entries[i].value));
    }
    return jj_puts(b, "}");
}

static hth_code put_view(jj_buf *b, jj_value v) {
    jj_value list;
    HTH_TRY(jj_collect(b->vm, v, &list));
    HTH_TRY(jj_puts(b, jj_type_name(v)));
    HTH_TRY(jj_puts(b, "("));
    HTH_TRY(put_items(b, list.u.list, '[', ']'));
    return jj_puts(b, ")");
}

static hth_code put_object(jj_buf *b, jj_value v) { // what Python prints has an address in it
    if (v.kind == HTH_JINJA_MACRO) {
        const jj_macro *m = v.u.p;
        if (!m->node->name) return jj_puts(b, "<Macro anonymous>");
        HTH_TRY(jj_puts(b, "<Macro '"));
        HTH_TRY(jj_put_str(b, m->node->name));
        return jj_puts(b, "'>");
    }
    HTH_TRY(jj_puts(b, "<"));
    HTH_TRY(jj_puts(b, jj_type_name(v)));
    return jj_puts(b, " object>");
}

static hth_code put_compound(jj_buf *b, jj_value v) {
    switch (v.kind) {
    case HTH_JINJA_LIST: return put_items(b, v.u.list, '[', ']');
    case HTH_JINJA_TUPLE: return put_items(b, v.u.list, '(', ')');
    case HTH_JINJA_DICT: return put_dict(b, v.u.dict);
    case HTH_JINJA_VIEW: return put_view(b, v);
    case HTH_JINJA_NAMESPACE:
        HTH_TRY(jj_puts(b, "<Namespace "));
        HTH_TRY(put_dict(b, v.u.dict));
        return jj_puts(b, ">");
    case HTH_JINJA_RANGE: {
        const jj_range *r = v.u.p;
        char text[80];
        int n = snprintf(text, sizeof text, "range(%lld, %lld", (long long)r->start, (long long)r->stop);
        if (r->step != 1) snprintf(text + n, sizeof text - (size_t)n, ", %lld", (long long)r->step);
        HTH_TRY(jj_puts(b, text));
        return jj_puts(b, ")");
    }
    case HTH_JINJA_LOOP: {
        int64_t n;
        char text[64];
        HTH_TRY(jj_length(b->vm, v, &n));
        snprintf(text, sizeof text, "<LoopContext %lld/%lld>", (long long)((const jj_loop *)v.u.p)->index0 + 1,
                 (long long)n);
        return jj_puts(b, text);
    }
    default: return put_object(b, v);
    }
}

hth_code jj_put_repr(jj_buf *b, jj_value v) {
    switch (v.kind) {
    case HTH_JINJA_UNDEFINED: return jj_puts(b, "Undefined");
    case HTH_JINJA_NONE: return jj_puts(b, "None");
    case HTH_JINJA_BOOL: return jj_puts(b, v.u.b ? "True" : "False");
    case HTH_JINJA_INT: return put_int(b, v.u.i);
    case HTH_JINJA_BIG: return jj_put_str(b, v.u.s);
    case HTH_JINJA_FLOAT: return put_float(b, v.u.d);
    case HTH_JINJA_STR: return put_str_repr(b, v.u.s);
    default: break;
    }
    HTH_TRY(jj_enter(b->vm));
    HTH_TRY(jj_step(b->vm, 1));
    hth_code code = put_compound(b, v);
    jj_leave(b->vm);
    return code;
}

hth_code jj_put_value(jj_buf *b, jj_value v) {
    if (v.kind == HTH_JINJA_STR) return jj_put_str(b, v.u.s);
    if (v.kind == HTH_JINJA_UNDEFINED) return HTH_OK;
    return jj_put_repr(b, v);
}

hth_code jj_to_str(jj_vm *vm, jj_value v, jj_value *out) {
    if (jj_is_str(v)) return jj_as_markup(vm, v.u.s, false, out);
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_put_value(&b, v));
    return jj_take(&b, out);
}

hth_code jj_soft_str(jj_vm *vm, jj_value v, jj_value *out) {
    if (!jj_is_str(v)) return jj_to_str(vm, v, out);
    *out = v;
    return HTH_OK;
}

// ---- HTML ----

hth_code jj_put_escaped(jj_buf *b, const jj_str *s) {
    uint32_t plain = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        char c = s->p[i];
        const char *with = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&#34;"
                         : c == '\'' ? "&#39;" : NULL;
        if (!with) continue;
        HTH_TRY(jj_put_part(b, s, plain, i));
        HTH_TRY(jj_put(b, with, strlen(with), jj_client_at(s, i)));
        plain = i + 1;
    }
    return jj_put_part(b, s, plain, s->n);
}

hth_code jj_escape(jj_vm *vm, jj_value v, jj_value *out) {
    if (jj_is_str(v) && v.u.s->is_markup) {
        *out = v;
        return HTH_OK;
    }
    jj_value s;
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_to_str(vm, v, &s));
    HTH_TRY(jj_put_escaped(&b, s.u.s));
    return jj_take_markup(&b, true, out);
}

// ---- JSON ----

typedef struct json {
    jj_buf *b;
    bool ascii, sorted;
    bool is_plain; // no arguments: dicts that have a spelling keep it
    const jj_str *indent; // NULL: all in one line
    const jj_str *item_sep, *key_sep;
    int depth;
} json;

static hth_code put_json(json *j, jj_value v);

static hth_code put_json_escape(jj_buf *b, uint32_t cp, bool is_client) {
    char text[16];
    const char *simple = cp == '"' ? "\\\"" : cp == '\\' ? "\\\\" : cp == '\n' ? "\\n" : cp == '\r' ? "\\r"
                       : cp == '\t' ? "\\t" : cp == '\b' ? "\\b" : cp == '\f' ? "\\f" : NULL;
    if (simple) return jj_put(b, simple, 2, is_client);
    if (cp < 0x10000) {
        snprintf(text, sizeof text, "\\u%04x", cp);
    } else {
        cp -= 0x10000;
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 | cp >> 10, 0xdc00 | (cp & 0x3ff));
    }
    return jj_put(b, text, strlen(text), is_client);
}

static hth_code put_json_str(const json *j, const jj_str *s) {
    jj_buf *b = j->b;
    uint32_t plain = 0;
    HTH_TRY(jj_puts(b, "\""));
    for (uint32_t i = 0; i < s->n;) {
        unsigned len = 1;
        uint32_t cp = (uint8_t)s->p[i];
        if (cp >= 0x80) cp = jj_cp(s->p + i, s->n - i, &len);
        if (cp == '"' || cp == '\\' || cp < 0x20 || (j->ascii && cp > 0x7e)) {
            HTH_TRY(jj_put_part(b, s, plain, i));
            HTH_TRY(put_json_escape(b, cp, jj_client_at(s, i)));
            plain = i + len;
        }
        i += len;
    }
    HTH_TRY(jj_put_part(b, s, plain, s->n));
    return jj_puts(b, "\"");
}

static hth_code put_json_float(jj_buf *b, double d) {
    if (isnan(d)) return jj_puts(b, "NaN");
    if (isinf(d)) return jj_puts(b, d < 0 ? "-Infinity" : "Infinity");
    return put_float(b, d);
}

static hth_code break_line(const json *j) {
    if (!j->indent) return HTH_OK;
    HTH_TRY(jj_puts(j->b, "\n"));
    for (int i = 0; i < j->depth; i++) HTH_TRY(jj_put_str(j->b, j->indent));
    return HTH_OK;
}

static hth_code put_json_list(json *j, const jj_list *list) {
    if (list->n == 0) return jj_puts(j->b, "[]");
    HTH_TRY(jj_puts(j->b, "["));
    j->depth++;
    for (uint32_t i = 0; i < list->n; i++) {
        if (i > 0) HTH_TRY(jj_put_str(j->b, j->item_sep));
        HTH_TRY(break_line(j));
        HTH_TRY(put_json(j, list->items[i]));
    }
    j->depth--;
    HTH_TRY(break_line(j));
    return jj_puts(j->b, "]");
}

// A key is a string, or what JSON writes as one.
static hth_code put_json_key(json *j, jj_value key) {
    if (jj_is_str(key)) return put_json_str(j, key.u.s);
    if (!jj_is_number(key) && key.kind != HTH_JINJA_NONE) {
        return jj_fail(j->b->vm, JJ_TYPE_ERROR, "keys must be str, int, float, bool or None, not %s",
                       jj_type_name(key));
    }
    HTH_TRY(jj_puts(j->b, "\""));
    HTH_TRY(put_json(j, key));
    return jj_puts(j->b, "\"");
}

static hth_code sorted_entries(json *j, const jj_dict *d, jj_entry **out) {
    jj_vm *vm = j->b->vm;
    jj_value *order = jj_alloc(vm, 2 * (size_t)d->n + 1, sizeof *order);
    *out = jj_alloc(vm, (size_t)d->n + 1, sizeof **out);
    if (!order || !*out) return jj_nomem(vm);
    for (uint32_t i = 0; i < d->n; i++) {
        order[i] = jj_int(i);
        order[d->n + i] = d->entries[i].key;
    }
    HTH_TRY(jj_sort(vm, order, order + d->n, d->n, false));
    for (uint32_t i = 0; i < d->n; i++) (*out)[i] = d->entries[order[i].u.i];
    return HTH_OK;
}

static hth_code put_json_dict(json *j, const jj_dict *d) {
    if (d->spelling && j->is_plain) return jj_put_str(j->b, d->spelling);
    if (d->n == 0) return jj_puts(j->b, "{}");
    jj_entry *entries = d->entries;
    if (j->sorted) HTH_TRY(sorted_entries(j, d, &entries));
    HTH_TRY(jj_puts(j->b, "{"));
    j->depth++;
    for (uint32_t i = 0; i < d->n; i++) {
        if (i > 0) HTH_TRY(jj_put_str(j->b, j->item_sep));
        HTH_TRY(break_line(j));
        HTH_TRY(put_json_key(j, entries[i].key));
        HTH_TRY(jj_put_str(j->b, j->key_sep));
        HTH_TRY(put_json(j, entries[i].value));
    }
    j->depth--;
    HTH_TRY(break_line(j));
    return jj_puts(j->b, "}");
}

static hth_code put_json(json *j, jj_value v) {
    jj_buf *b = j->b;
    switch (v.kind) {
    case HTH_JINJA_NONE: return jj_puts(b, "null");
    case HTH_JINJA_BOOL: return jj_puts(b, v.u.b ? "true" : "false");
    case HTH_JINJA_INT: return put_int(b, v.u.i);
    case HTH_JINJA_BIG: return jj_put_str(b, v.u.s);
    case HTH_JINJA_FLOAT: return put_json_float(b, v.u.d);
    case HTH_JINJA_STR: return put_json_str(j, v.u.s);
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE:
    case HTH_JINJA_DICT: break;
    default:
        return jj_fail(b->vm, JJ_TYPE_ERROR, "Object of type %s is not JSON serializable", jj_type_name(v));
    }
    HTH_TRY(jj_enter(b->vm));
    HTH_TRY(jj_step(b->vm, 1));
    hth_code code = v.kind == HTH_JINJA_DICT ? put_json_dict(j, v.u.dict) : put_json_list(j, v.u.list);
    jj_leave(b->vm);
    return code;
}

static hth_code read_indent(jj_vm *vm, jj_value v, json *j) {
    if (v.kind == HTH_JINJA_MISSING || v.kind == HTH_JINJA_NONE) return HTH_OK;
    if (jj_is_str(v)) {
        j->indent = v.u.s;
        return HTH_OK;
    }
    if (!jj_is_int(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "can't multiply sequence by non-int of type '%s'", jj_type_name(v));
    }
    jj_buf b = jj_buf_make(vm);
    jj_value text;
    HTH_TRY(jj_pad(&b, " ", 1, jj_int_of(v)));
    HTH_TRY(jj_take(&b, &text));
    j->indent = text.u.s;
    return HTH_OK;
}

static hth_code read_separators(jj_vm *vm, jj_value v, json *j) {
    static const jj_str comma = {.p = ",", .n = 1, .n_char = 1}, comma_space = {.p = ", ", .n = 2, .n_char = 2},
                        colon = {.p = ": ", .n = 2, .n_char = 2};
    j->item_sep = j->indent ? &comma : &comma_space;
    j->key_sep = &colon;
    if (v.kind == HTH_JINJA_MISSING || v.kind == HTH_JINJA_NONE) return HTH_OK;
    if (jj_is_seq(v) && v.u.list->n == 2 && jj_is_str(v.u.list->items[0]) && jj_is_str(v.u.list->items[1])) {
        j->item_sep = v.u.list->items[0].u.s;
        j->key_sep = v.u.list->items[1].u.s;
        return HTH_OK;
    }
    return jj_fail(vm, JJ_TYPE_ERROR, "separators must be two strings");
}

hth_code jj_tojson(jj_vm *vm, jj_value v, const jj_args *args, jj_value *out) {
    jj_value a[4];
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_bind(vm, "tojson", args, "ensure_ascii indent separators sort_keys", 0, a));
    json j = {.b = &b, .ascii = jj_truth(a[0]), .sorted = jj_truth(a[3])};
    HTH_TRY(read_indent(vm, a[1], &j));
    HTH_TRY(read_separators(vm, a[2], &j));
    j.is_plain = !j.ascii && !j.sorted && !j.indent && a[2].kind == HTH_JINJA_MISSING;
    HTH_TRY(put_json(&j, v));
    return jj_take(&b, out);
}
