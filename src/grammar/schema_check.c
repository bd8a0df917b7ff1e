// Whether a value satisfies a schema: for the values that enum and const list, which then need no automata.
#include <string.h>

#include "base/json_out.h"
#include "grammar/schema.h"

#define MAX_DEPTH 64

size_t s_n_chars(const char *text, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((uint8_t)text[i] & 0xc0) != 0x80;
    return count;
}

// ---- numbers

bool s_decimal_of(const hth_json *v, s_decimal *out) {
    char text[64];
    hth_str str;
    hth_str_init(&str, HTH_MEM_TEXT, sizeof text);
    hth_json_out j = hth_json_out_make(&str, false);
    if (v->is_int) {
        hth_json_out_int(&j, NULL, v->u.num.i);
    } else {
        hth_json_out_num(&j, NULL, v->u.num.d);
    }
    const size_t n = str.len < sizeof text - 1 ? str.len : sizeof text - 1;
    memcpy(text, hth_str_text(&str), n);
    text[n] = 0;
    hth_str_free(&str);
    return s_decimal_parse(text, out);
}

bool s_decimal_parse(const char *p, s_decimal *out) {
    char digits[64];
    int n = 0, point = -1, exp = 0;
    *out = (s_decimal){.is_negative = *p == '-'};
    if (*p == '-') p++;
    for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
        if (*p == '.') {
            point = n;
        } else if (n < (int)sizeof digits) {
            digits[n++] = *p;
        }
    }
    if (n == 0) return false; // null: no number
    if (point < 0) point = n;
    if (*p == 'e' || *p == 'E') {
        const bool minus = p[1] == '-';
        for (p += 1 + (p[1] == '-' || p[1] == '+'); *p >= '0' && *p <= '9'; p++) exp = exp < 10000 ? exp * 10 + (*p - '0') : exp;
        point += minus ? -exp : exp;
    }
    int first = 0, last = n; // digits that count
    while (first < last && digits[first] == '0') first++;
    while (last > first && digits[last - 1] == '0') last--;
    if (point - first > DEC_MAX / 2 || last - point > DEC_MAX / 2) return false;
    char *to = out->digits;
    if (first == last) out->is_negative = false;
    for (int i = first; i < point && first < last; i++) to[out->n_whole++] = i < last ? digits[i] : '0';
    if (out->n_whole == 0) to[out->n_whole++] = '0';
    for (int i = point; i < last && first < last; i++) to[out->n_whole + out->n_frac++] = i >= first ? digits[i] : '0';
    return true;
}

static int compare_magnitude(const s_decimal *a, const s_decimal *b) {
    if (a->n_whole != b->n_whole) return a->n_whole < b->n_whole ? -1 : 1;
    int d = memcmp(a->digits, b->digits, a->n_whole);
    if (d != 0) return d;
    const uint32_t n = a->n_frac < b->n_frac ? a->n_frac : b->n_frac;
    d = memcmp(a->digits + a->n_whole, b->digits + b->n_whole, n);
    return d != 0 ? d : (a->n_frac > b->n_frac) - (a->n_frac < b->n_frac);
}

int s_decimal_compare(const s_decimal *a, const s_decimal *b) {
    if (a->is_negative != b->is_negative) return a->is_negative ? -1 : 1;
    return a->is_negative ? compare_magnitude(b, a) : compare_magnitude(a, b);
}

bool s_equal(const hth_json *a, const hth_json *b) {
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case HTH_JSON_NULL: return true;
    case HTH_JSON_BOOL: return a->u.b == b->u.b;
    case HTH_JSON_NUMBER:
        if (a->is_int && b->is_int) return a->u.num.i == b->u.num.i;
        return !(a->u.num.d < b->u.num.d) && !(a->u.num.d > b->u.num.d);
    case HTH_JSON_STRING: return a->n == b->n && memcmp(a->u.str, b->u.str, a->n) == 0;
    case HTH_JSON_ARRAY:
        for (uint32_t i = 0; a->n == b->n && i < a->n; i++) {
            if (!s_equal(&a->u.items[i], &b->u.items[i])) return false;
        }
        return a->n == b->n;
    case HTH_JSON_OBJECT:
        for (uint32_t i = 0; a->n == b->n && i < a->n; i++) {
            const hth_json *v = hth_json_get(b, a->u.members[i].key);
            if (!v || !s_equal(&a->u.members[i].value, v)) return false;
        }
        return a->n == b->n;
    }
    return false;
}

// Whether v is a multiple of m, exactly: both as whole numbers of the smallest place that either has.
static bool is_multiple(const hth_json *v, const hth_json *m) {
    s_decimal a, b;
    if (!s_decimal_of(v, &a) || !s_decimal_of(m, &b)) return false;
    const uint32_t places = a.n_frac > b.n_frac ? a.n_frac : b.n_frac;
    if (b.n_whole + places > 18) return false; // not proved
    uint64_t divisor = 0, rest = 0;
    for (uint32_t i = 0; i < b.n_whole + places; i++) {
        divisor = divisor * 10 + (i < b.n_whole + b.n_frac ? (uint64_t)(b.digits[i] - '0') : 0);
    }
    if (divisor == 0) return false;
    for (uint32_t i = 0; i < a.n_whole + places; i++) {
        const uint64_t digit = i < a.n_whole + a.n_frac ? (uint64_t)(a.digits[i] - '0') : 0;
        rest = (rest * 10 + digit) % divisor; // below 10^19, which fits
    }
    return rest == 0;
}

// ---- keywords by type of value

static bool type_holds(const hth_json *type, const hth_json *v) {
    if (type->kind == HTH_JSON_ARRAY) {
        for (uint32_t i = 0; i < type->n; i++) {
            if (type_holds(&type->u.items[i], v)) return true;
        }
        return false;
    }
    if (type->kind != HTH_JSON_STRING) return false;
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    if (strcmp(type->u.str, names[v->kind]) == 0) return true;
    if (strcmp(type->u.str, "integer") != 0 || v->kind != HTH_JSON_NUMBER) return false;
    s_decimal d;
    return v->is_int || (s_decimal_of(v, &d) && d.n_frac == 0);
}

static bool bound_holds(const hth_json *schema, const hth_json *v, const char *keyword, const char *exclusive, int sign) {
    const hth_json *limit = hth_json_get(schema, keyword), *x = hth_json_get(schema, exclusive);
    s_decimal a, b;
    if (!s_decimal_of(v, &a)) return false;
    if (limit && limit->kind == HTH_JSON_NUMBER && s_decimal_of(limit, &b)) {
        const int d = s_decimal_compare(&a, &b) * sign;
        if (d < 0 || (d == 0 && x && x->kind == HTH_JSON_BOOL && x->u.b)) return false;
    }
    return !(x && x->kind == HTH_JSON_NUMBER && s_decimal_of(x, &b) && s_decimal_compare(&a, &b) * sign <= 0);
}

static bool number_holds(const hth_json *schema, const hth_json *v) {
    const hth_json *m = hth_json_get(schema, "multipleOf");
    return bound_holds(schema, v, "minimum", "exclusiveMinimum", 1) && bound_holds(schema, v, "maximum", "exclusiveMaximum", -1) &&
           (!m || m->kind != HTH_JSON_NUMBER || is_multiple(v, m));
}

static bool count_holds(const hth_json *schema, const char *min, const char *max, uint64_t n) {
    return n >= (uint64_t)hth_json_int(schema, min, 0, NULL) && n <= (uint64_t)hth_json_int(schema, max, INT64_MAX, NULL);
}

static bool string_holds(s_schema *s, const hth_json *schema, const hth_json *v) {
    const hth_json *pattern = hth_json_get(schema, "pattern");
    const hth_json *no = hth_json_get(schema, HTH_KEY_NOT_PATTERN);
    const char *format = hth_json_str(schema, "format", NULL, NULL);
    if (no && no->kind == HTH_JSON_STRING && s_pattern_matches(s, no, v->u.str, v->n)) return false;
    if (!count_holds(schema, "minLength", "maxLength", s_n_chars(v->u.str, v->n))) return false;
    if (pattern && pattern->kind == HTH_JSON_STRING && !s_pattern_matches(s, pattern, v->u.str, v->n)) return false;
    if (!format || g_format_index(format) < 0) return true;
    const uint32_t dfa = g_dfa_of(s->b, g_format_rx(s->b, format, ENC_UTF8));
    return dfa != G_NONE && g_dfa_matches(&s->b->dfas[dfa], v->u.str, v->n);
}

static bool array_holds(s_schema *s, const hth_json *schema, const hth_json *v) {
    if (!count_holds(schema, "minItems", "maxItems", v->n)) return false;
    const hth_json *prefix = hth_json_get(schema, "prefixItems"), *items = hth_json_get(schema, "items");
    const hth_json *contains = hth_json_get(schema, "contains");
    if (items && items->kind == HTH_JSON_ARRAY) {
        prefix = items;
        items = hth_json_get(schema, "additionalItems");
    }
    const uint32_t n_prefix = prefix && prefix->kind == HTH_JSON_ARRAY ? prefix->n : 0;
    uint64_t n_contained = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *one = i < n_prefix ? &prefix->u.items[i] : items;
        if (one && !s_holds(s, one, &v->u.items[i])) return false;
        if (contains) n_contained += s_holds(s, contains, &v->u.items[i]);
    }
    if (contains && !(n_contained >= (uint64_t)hth_json_int(schema, "minContains", 1, NULL) &&
                      n_contained <= (uint64_t)hth_json_int(schema, "maxContains", INT64_MAX, NULL))) {
        return false;
    }
    if (!hth_json_bool(schema, "uniqueItems", false, NULL)) return true;
    for (uint32_t i = 0; i < v->n; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (s_equal(&v->u.items[i], &v->u.items[k])) return false;
        }
    }
    return true;
}

static bool member_holds(s_schema *s, const hth_json *schema, const hth_json_member *m) {
    const hth_json *named = hth_json_get(hth_json_get(schema, "properties"), m->key);
    const hth_json *patterns = hth_json_get(schema, "patternProperties"), *rest = hth_json_get(schema, "additionalProperties");
    const hth_json *names = hth_json_get(schema, "propertyNames");
    bool is_known = named != NULL;
    if (named && !s_holds(s, named, &m->value)) return false;
    for (uint32_t i = 0; patterns && patterns->kind == HTH_JSON_OBJECT && i < patterns->n; i++) {
        const hth_json pattern = {.kind = HTH_JSON_STRING, .n = patterns->u.members[i].key_len, .u.str = patterns->u.members[i].key};
        if (!s_pattern_matches(s, &pattern, m->key, m->key_len)) continue;
        is_known = true;
        if (!s_holds(s, &patterns->u.members[i].value, &m->value)) return false;
    }
    if (!is_known && rest && !s_holds(s, rest, &m->value)) return false;
    const hth_json key = {.kind = HTH_JSON_STRING, .n = m->key_len, .u.str = m->key};
    return !names || s_holds(s, names, &key);
}

static bool object_holds(s_schema *s, const hth_json *schema, const hth_json *v) {
    const hth_json *required = hth_json_get(schema, "required");
    if (!count_holds(schema, "minProperties", "maxProperties", v->n)) return false;
    for (uint32_t i = 0; required && required->kind == HTH_JSON_ARRAY && i < required->n; i++) {
        const hth_json *name = &required->u.items[i];
        if (name->kind == HTH_JSON_STRING && !hth_json_get(v, name->u.str)) return false;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (!member_holds(s, schema, &v->u.members[i])) return false;
    }
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    for (int k = 0; k < 3; k++) {
        const hth_json *d = hth_json_get(schema, dependent[k]);
        for (uint32_t i = 0; d && d->kind == HTH_JSON_OBJECT && i < d->n; i++) {
            const hth_json *then = &d->u.members[i].value;
            if (!hth_json_get(v, d->u.members[i].key)) continue;
            if (then->kind != HTH_JSON_ARRAY && !s_holds(s, then, v)) return false;
            for (uint32_t n = 0; then->kind == HTH_JSON_ARRAY && n < then->n; n++) {
                if (then->u.items[n].kind == HTH_JSON_STRING && !hth_json_get(v, then->u.items[n].u.str)) return false;
            }
        }
    }
    return true;
}

// ---- keywords of every value

static uint32_t n_branches(s_schema *s, const hth_json *branches, const hth_json *v) {
    uint32_t n = 0;
    for (uint32_t i = 0; branches->kind == HTH_JSON_ARRAY && i < branches->n; i++) n += s_holds(s, &branches->u.items[i], v);
    return n;
}

static bool values_hold(const hth_json *schema, const hth_json *v) {
    const hth_json *values = hth_json_get(schema, "enum"), *one = hth_json_get(schema, "const");
    const hth_json *no = hth_json_get(schema, HTH_KEY_NOT_ENUM);
    for (uint32_t i = 0; no && no->kind == HTH_JSON_ARRAY && i < no->n; i++) {
        if (s_equal(&no->u.items[i], v)) return false;
    }
    if (one && !s_equal(one, v)) return false;
    if (!values || values->kind != HTH_JSON_ARRAY) return true;
    for (uint32_t i = 0; i < values->n; i++) {
        if (s_equal(&values->u.items[i], v)) return true;
    }
    return false;
}

static bool branches_hold(s_schema *s, const hth_json *schema, const hth_json *v) {
    const hth_json *all = hth_json_get(schema, "allOf"), *any = hth_json_get(schema, "anyOf"), *one = hth_json_get(schema, "oneOf");
    const hth_json *no = hth_json_get(schema, "not"), *cond = hth_json_get(schema, "if");
    if (all && n_branches(s, all, v) != all->n) return false;
    if (any && n_branches(s, any, v) == 0) return false;
    if (one && n_branches(s, one, v) != 1) return false;
    if (no && s_holds(s, no, v)) return false;
    if (!cond) return true;
    const hth_json *then = hth_json_get(schema, s_holds(s, cond, v) ? "then" : "else");
    return !then || s_holds(s, then, v);
}

static bool holds(s_schema *s, const hth_json *schema, const hth_json *v) {
    if (schema->kind == HTH_JSON_BOOL) return schema->u.b;
    if (schema->kind != HTH_JSON_OBJECT) return false;
    const hth_json *ref = hth_json_get(schema, "$ref"), *type = hth_json_get(schema, "type");
    if (ref && ref->kind == HTH_JSON_STRING) {
        const hth_json *to = s_resolve(s, schema, ref->u.str, ref->n);
        if (!to || !s_holds(s, to, v)) return false;
        if (s->is_old) return true;
    }
    if ((type && !type_holds(type, v)) || !values_hold(schema, v) || !branches_hold(s, schema, v)) return false;
    switch (v->kind) {
    case HTH_JSON_NUMBER: return number_holds(schema, v);
    case HTH_JSON_STRING: return string_holds(s, schema, v);
    case HTH_JSON_ARRAY: return array_holds(s, schema, v);
    case HTH_JSON_OBJECT: return object_holds(s, schema, v);
    default: return true;
    }
}

bool s_holds(s_schema *s, const hth_json *schema, const hth_json *v) {
    if (!g_work(s->b, 16)) return false;
    if (s->depth >= MAX_DEPTH) {
        return g_fail(s->b, HTH_ERR_LIMIT, "a listed value leads through more than %d schemas inside each other", MAX_DEPTH);
    }
    s->depth++;
    const bool ok = holds(s, schema, v);
    s->depth--;
    return ok;
}

bool s_holds_all(s_schema *s, const s_list *list, const hth_json *v) {
    for (size_t i = 0; i < list->n; i++) {
        if (!s_holds(s, list->e[i].node, v)) return false;
    }
    return true;
}
