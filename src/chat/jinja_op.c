// Operators and subscripts, with Python's rules and messages.
#include "chat/jinja_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/unicode.h"

static const char *const symbols[] = {[JJ_ADD] = "+", [JJ_SUB] = "-", [JJ_MUL] = "*", [JJ_DIV] = "/",
                                      [JJ_FLOORDIV] = "//", [JJ_MOD] = "%", [JJ_POW] = "** or pow()"};

bool jj_is_number(jj_value v) {
    return v.kind >= HTH_JINJA_BOOL && v.kind <= HTH_JINJA_FLOAT;
}

double jj_float_of(jj_value v) {
    if (v.kind == HTH_JINJA_FLOAT) return v.u.d;
    return v.kind == HTH_JINJA_BIG ? strtod(v.u.s->p, NULL) : (double)jj_int_of(v);
}

static hth_code too_big(jj_vm *vm) {
    return jj_fail(vm, JJ_OVERFLOW_ERROR, "an integer beyond 64 bits");
}

static hth_code power(jj_vm *vm, int64_t base, int64_t exponent, jj_value *out) {
    if (exponent < 0) {
        if (base == 0) return jj_fail(vm, JJ_ZERO_DIVISION_ERROR, "0.0 cannot be raised to a negative power");
        *out = jj_float(pow((double)base, (double)exponent));
        return HTH_OK;
    }
    int64_t result = 1;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) return too_big(vm);
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return too_big(vm);
    }
    *out = jj_int(result);
    return HTH_OK;
}

static hth_code int_op(jj_vm *vm, jj_op op, int64_t a, int64_t b, jj_value *out) {
    int64_t r = 0;
    bool overflow = false;
    if ((op == JJ_DIV || op == JJ_FLOORDIV || op == JJ_MOD) && b == 0) {
        return jj_fail(vm, JJ_ZERO_DIVISION_ERROR, op == JJ_DIV ? "division by zero"
                                                                : "integer division or modulo by zero");
    }
    switch (op) {
    case JJ_ADD: overflow = __builtin_add_overflow(a, b, &r); break;
    case JJ_SUB: overflow = __builtin_sub_overflow(a, b, &r); break;
    case JJ_MUL: overflow = __builtin_mul_overflow(a, b, &r); break;
    case JJ_DIV: *out = jj_float((double)a / (double)b); return HTH_OK;
    case JJ_POW: return power(vm, a, b, out);
    case JJ_FLOORDIV:
    case JJ_MOD:
        if (a == INT64_MIN && b == -1) {
            if (op == JJ_FLOORDIV) return too_big(vm);
            break;
        }
        r = op == JJ_MOD ? a % b : a / b;
        if (a % b != 0 && (a % b < 0) != (b < 0)) r += op == JJ_MOD ? b : -1;
        break;
    default: break;
    }
    if (overflow) return too_big(vm);
    *out = jj_int(r);
    return HTH_OK;
}

static double float_mod(double a, double b) {
    double r = fmod(a, b);
    if (r != 0 && (r < 0) != (b < 0)) r += b;
    return r == 0 ? copysign(0, b) : r;
}

static double float_floordiv(double a, double b) { // as CPython's float_divmod
    double mod = fmod(a, b), div = (a - mod) / b;
    if (mod != 0 && (b < 0) != (mod < 0)) div -= 1;
    if (div == 0) return copysign(0, a / b);
    double whole = floor(div);
    return div - whole > 0.5 ? whole + 1 : whole;
}

static hth_code float_op(jj_vm *vm, jj_op op, double a, double b, jj_value *out) {
    if ((op == JJ_DIV || op == JJ_FLOORDIV || op == JJ_MOD) && b == 0) {
        return jj_fail(vm, JJ_ZERO_DIVISION_ERROR, op == JJ_DIV        ? "float division by zero"
                                                   : op == JJ_FLOORDIV ? "float floor division by zero"
                                                                       : "float modulo");
    }
    double r = op == JJ_ADD ? a + b : op == JJ_SUB ? a - b : op == JJ_MUL ? a * b : op == JJ_DIV ? a / b
             : op == JJ_FLOORDIV ? float_floordiv(a, b) : op == JJ_MOD ? float_mod(a, b) : pow(a, b);
    if (op == JJ_POW) {
        if (a == 0 && b < 0) return jj_fail(vm, JJ_ZERO_DIVISION_ERROR, "0.0 cannot be raised to a negative power");
        if (isinf(r) && isfinite(a) && isfinite(b)) return jj_fail(vm, JJ_OVERFLOW_ERROR, "(34, 'Numerical result out of range')");
        if (isnan(r) && !isnan(a) && !isnan(b)) return jj_fail(vm, JJ_VALUE_ERROR, "complex numbers are not known here");
    }
    *out = jj_float(r);
    return HTH_OK;
}

static hth_code number_op(jj_vm *vm, jj_op op, jj_value a, jj_value b, jj_value *out) {
    if (jj_is_int(a) && jj_is_int(b)) return int_op(vm, op, jj_int_of(a), jj_int_of(b), out);
    if (a.kind != HTH_JINJA_FLOAT && b.kind != HTH_JINJA_FLOAT) return too_big(vm);
    return float_op(vm, op, jj_float_of(a), jj_float_of(b), out);
}

static hth_code concat(jj_vm *vm, jj_value a, jj_value b, jj_value *out) {
    jj_buf buf = jj_buf_make(vm);
    bool is_markup = a.u.s->is_markup || b.u.s->is_markup; // the plain side is escaped
    HTH_TRY(is_markup && !a.u.s->is_markup ? jj_put_escaped(&buf, a.u.s) : jj_put_str(&buf, a.u.s));
    HTH_TRY(is_markup && !b.u.s->is_markup ? jj_put_escaped(&buf, b.u.s) : jj_put_str(&buf, b.u.s));
    return jj_take_markup(&buf, is_markup, out);
}

static hth_code repeat(jj_vm *vm, jj_value v, int64_t times, jj_value *out) {
    if (times < 0) times = 0;
    if (jj_is_str(v)) {
        jj_buf b = jj_buf_make(vm);
        if (v.u.s->n == 0) times = 0;
        if (v.u.s->n > 0 && (uint64_t)times > vm->limits.max_out_bytes / v.u.s->n) {
            return jj_fail(vm, JJ_LIMIT, "a text beyond %llu bytes", (unsigned long long)vm->limits.max_out_bytes);
        }
        HTH_TRY(jj_step(vm, (uint64_t)times));
        for (int64_t i = 0; i < times; i++) HTH_TRY(jj_put_str(&b, v.u.s));
        return jj_take_markup(&b, v.u.s->is_markup, out);
    }
    const jj_list *list = v.u.list;
    if (list->n == 0) times = 0;
    if (list->n > 0 && (uint64_t)times > vm->limits.max_bytes / sizeof *list->items / list->n) {
        return jj_fail(vm, JJ_LIMIT, "more memory than %llu bytes", (unsigned long long)vm->limits.max_bytes);
    }
    HTH_TRY(jj_new_list(vm, v.kind, (size_t)times * list->n, out));
    for (int64_t i = 0; i < times; i++) {
        memcpy(out->u.list->items + (size_t)i * list->n, list->items, list->n * sizeof *list->items);
    }
    return HTH_OK;
}

static hth_code join_lists(jj_vm *vm, jj_value a, jj_value b, jj_value *out) {
    const jj_list *x = a.u.list, *y = b.u.list;
    HTH_TRY(jj_new_list(vm, a.kind, (size_t)x->n + y->n, out));
    memcpy(out->u.list->items, x->items, x->n * sizeof *x->items);
    memcpy(out->u.list->items + x->n, y->items, y->n * sizeof *y->items);
    return HTH_OK;
}

static hth_code type_error(jj_vm *vm, jj_op op, jj_value a, jj_value b) {
    const char *left = jj_type_name(a), *right = jj_type_name(b);
    if (op == JJ_ADD && jj_is_str(a)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "can only concatenate str (not \"%s\") to str", right);
    }
    if (op == JJ_ADD && jj_is_seq(a)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "can only concatenate %s (not \"%s\") to %s", left, right, left);
    }
    if (op == JJ_MUL && (jj_is_str(a) || jj_is_seq(a) || jj_is_str(b) || jj_is_seq(b))) {
        return jj_fail(vm, JJ_TYPE_ERROR, "can't multiply sequence by non-int of type '%s'",
                       jj_is_str(a) || jj_is_seq(a) ? right : left);
    }
    return jj_fail(vm, JJ_TYPE_ERROR, "unsupported operand type(s) for %s: '%s' and '%s'", symbols[op], left, right);
}

hth_code jj_binary(jj_vm *vm, jj_op op, jj_value a, jj_value b, jj_value *out) {
    if (jj_is_number(a) && jj_is_number(b)) return number_op(vm, op, a, b, out);
    if (op == JJ_MOD && jj_is_str(a)) {
        return jj_percent(vm, a.u.s, b, out);
    }
    if (jj_is_undefined(a)) return jj_fail_undefined(vm, a);
    if (op == JJ_ADD && jj_is_str(a) && jj_is_str(b)) return concat(vm, a, b, out);
    if (op == JJ_ADD && jj_is_seq(a) && a.kind == b.kind) return join_lists(vm, a, b, out);
    if (op == JJ_MUL && (jj_is_str(a) || jj_is_seq(a)) && jj_is_int(b)) return repeat(vm, a, jj_int_of(b), out);
    if (op == JJ_MUL && (jj_is_str(b) || jj_is_seq(b)) && jj_is_int(a)) return repeat(vm, b, jj_int_of(a), out);
    if (jj_is_undefined(b)) return jj_fail_undefined(vm, b);
    return type_error(vm, op, a, b);
}

hth_code jj_negate(jj_vm *vm, jj_value a, bool minus, jj_value *out) {
    if (jj_is_undefined(a)) return jj_fail_undefined(vm, a);
    if (a.kind == HTH_JINJA_FLOAT) {
        *out = minus ? jj_float(-a.u.d) : a;
        return HTH_OK;
    }
    if (a.kind == HTH_JINJA_BIG && !minus) {
        *out = a;
        return HTH_OK;
    }
    if (a.kind == HTH_JINJA_BIG || (minus && jj_is_int(a) && jj_int_of(a) == INT64_MIN)) return too_big(vm);
    if (!jj_is_int(a)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "bad operand type for unary %c: '%s'", minus ? '-' : '+', jj_type_name(a));
    }
    *out = jj_int(minus ? -jj_int_of(a) : jj_int_of(a));
    return HTH_OK;
}

// ---- conversions ----

// The text of a number without the spaces around it and the '_' between digits; false: not in ASCII, too long,
// or '_' elsewhere.
static bool number_text(const jj_str *s, char out[512]) {
    size_t n = 0;
    uint32_t from = 0, to = s->n;
    unsigned len;
    while (from < to && jj_is_space(jj_cp(s->p + from, to - from, &len))) from += len;
    while (to > from) {
        size_t before = hth_cp_before((const uint8_t *)s->p, to);
        if (!jj_is_space(jj_cp(s->p + before, to - before, &len))) break;
        to = (uint32_t)before;
    }
    if (to - from >= 500) return false;
    for (uint32_t i = from; i < to; i++) {
        char c = s->p[i];
        if ((uint8_t)c >= 0x80 || c == 0) return false;
        if (c == '_') {
            bool between = i > from && i + 1 < to && strchr("0123456789abcdefABCDEFoOxX", s->p[i - 1]) &&
                           strchr("0123456789abcdefABCDEF", s->p[i + 1]);
            if (!between) return false;
            continue;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return n > 0;
}

static bool is_float_text(const char *p) {
    static const char *const words[] = {"inf", "infinity", "nan", "+inf", "+infinity", "+nan", "-inf", "-infinity", "-nan"};
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        size_t k = 0;
        while (words[i][k] && (p[k] | 0x20) == (words[i][k] | 0x20)) k++;
        if (!words[i][k] && !p[k]) return true;
    }
    return p[strspn(p, "0123456789+-.eE")] == 0;
}

hth_code jj_to_float(jj_vm *vm, jj_value v, double *out) {
    if (jj_is_number(v)) {
        *out = jj_float_of(v);
        return HTH_OK;
    }
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (!jj_is_str(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "float() argument must be a string or a real number, not '%s'",
                       jj_type_name(v));
    }
    char text[512], *end;
    if (number_text(v.u.s, text) && is_float_text(text)) {
        *out = strtod(text, &end);
        if (*end == 0) return HTH_OK;
    }
    return jj_fail(vm, JJ_VALUE_ERROR, "could not convert string to float: '%.*s'",
                   v.u.s->n < 80 ? (int)v.u.s->n : 80, v.u.s->p);
}

static hth_code float_to_int(jj_vm *vm, double d, jj_value *out) {
    if (isnan(d)) return jj_fail(vm, JJ_VALUE_ERROR, "cannot convert float NaN to integer");
    if (isinf(d)) return jj_fail(vm, JJ_OVERFLOW_ERROR, "cannot convert float infinity to integer");
    if (!(d > -9.3e18 && d < 9.2e18)) return too_big(vm);
    *out = jj_int((int64_t)d);
    return HTH_OK;
}

static bool parse_int(const char *p, int base, int64_t *out) {
    bool minus = *p == '-';
    if (*p == '-' || *p == '+') p++;
    int prefix = p[0] != '0' ? 0 : (p[1] | 0x20) == 'x' ? 16 : (p[1] | 0x20) == 'o' ? 8 : (p[1] | 0x20) == 'b' ? 2 : 0;
    if (prefix && (base == prefix || base == 0)) p += 2;
    if (base == 0) base = prefix ? prefix : 10;
    int64_t v = 0;
    const char *first = p;
    for (; *p; p++) {
        int c = *p, digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10 : 99;
        if (digit >= base) return false;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_add_overflow(v, (int64_t)digit, &v)) return false;
    }
    *out = minus ? -v : v;
    return p > first;
}

hth_code jj_to_int(jj_vm *vm, jj_value v, int base, jj_value *out) {
    if (jj_is_int(v)) {
        *out = jj_int(jj_int_of(v));
        return HTH_OK;
    }
    if (v.kind == HTH_JINJA_BIG) {
        *out = v;
        return HTH_OK;
    }
    if (v.kind == HTH_JINJA_FLOAT) return float_to_int(vm, v.u.d, out);
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (!jj_is_str(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "int() argument must be a string, a bytes-like object or a real number, not"
                                          " '%s'", jj_type_name(v));
    }
    char text[512];
    int64_t i;
    if (number_text(v.u.s, text) && parse_int(text, base, &i)) {
        *out = jj_int(i);
        return HTH_OK;
    }
    return jj_fail(vm, JJ_VALUE_ERROR, "invalid literal for int() with base %d: '%.*s'", base,
                   v.u.s->n < 80 ? (int)v.u.s->n : 80, v.u.s->p);
}

// ---- attributes and subscripts ----

static hth_code get_method(jj_vm *vm, jj_value v, const jj_str *name, jj_value *out, bool *found) {
    const jj_method_row *row = jj_find_method(v, name);
    *found = row != NULL;
    if (!row) return HTH_OK;
    if (!row->call) return jj_undefined_of(vm, v, (jj_value){.kind = HTH_JINJA_STR, .u.s = name}, true, out);
    jj_method *m = jj_alloc(vm, 1, sizeof *m);
    if (!m) return jj_nomem(vm);
    *m = (jj_method){v, row};
    *out = jj_pointer(HTH_JINJA_METHOD, m);
    return HTH_OK;
}

static hth_code macro_attribute(jj_vm *vm, const jj_macro *m, const jj_str *name, jj_value *out, bool *found) {
    const jj_func *f = m->node->func;
    *found = true;
    if (jj_str_is(name, "catch_kwargs") || jj_str_is(name, "catch_varargs") || jj_str_is(name, "caller")) {
        *out = jj_bool(jj_str_is(name, "caller") ? f->takes_caller
                       : jj_str_is(name, "catch_kwargs") ? f->takes_kwargs : f->takes_varargs);
        return HTH_OK;
    }
    if (jj_str_is(name, "name")) {
        *out = m->node->name ? (jj_value){.kind = HTH_JINJA_STR, .u.s = m->node->name} : JJ_PY_NONE;
        return HTH_OK;
    }
    *found = jj_str_is(name, "arguments");
    if (!*found) return HTH_OK;
    HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, m->node->list.n, out));
    for (uint32_t i = 0; i < m->node->list.n; i++) {
        out->u.list->items[i] = (jj_value){.kind = HTH_JINJA_STR, .u.s = m->node->list.p[i]->name};
    }
    return HTH_OK;
}

// getattr(): what an object has besides its items.
static hth_code attribute(jj_vm *vm, jj_value v, const jj_str *name, jj_value *out, bool *found) {
    jj_value *value;
    *found = false;
    switch (v.kind) {
    case HTH_JINJA_NAMESPACE:
        value = jj_dict_get(v.u.dict, name);
        *found = value != NULL;
        if (value) *out = *value;
        return HTH_OK;
    case HTH_JINJA_LOOP:
        HTH_TRY(jj_get_loop(vm, v.u.p, name, out, found));
        if (*found) return HTH_OK;
        break;
    case HTH_JINJA_MACRO: return macro_attribute(vm, v.u.p, name, out, found);
    case HTH_JINJA_CYCLER:
        if (jj_str_is(name, "current")) {
            const jj_cycler *c = v.u.p;
            *found = true;
            *out = c->args.pos[c->at];
            return HTH_OK;
        }
        break;
    case HTH_JINJA_BLOCK: { // self.name
        const jj_node *block = v.u.p ? NULL : jj_find_block(vm->t, name);
        *found = block != NULL;
        union {
            const jj_node *node;
            void *p;
        } u = {.node = block};
        if (block) *out = jj_pointer(HTH_JINJA_BLOCK, u.p);
        return HTH_OK;
    }
    case HTH_JINJA_TUPLE:
        if (v.u.list->is_group && (jj_str_is(name, "grouper") || jj_str_is(name, "list"))) {
            *found = true;
            *out = v.u.list->items[jj_str_is(name, "list")];
            return HTH_OK;
        }
        break;
    case HTH_JINJA_RANGE:
        *found = jj_str_is(name, "start") || jj_str_is(name, "stop") || jj_str_is(name, "step");
        if (*found) {
            const jj_range *r = v.u.p;
            *out = jj_int(jj_str_is(name, "start") ? r->start : jj_str_is(name, "stop") ? r->stop : r->step);
            return HTH_OK;
        }
        break;
    case HTH_JINJA_BOOL:
    case HTH_JINJA_INT:
    case HTH_JINJA_FLOAT:
        *found = jj_str_is(name, "real") || jj_str_is(name, "imag");
        if (*found) {
            bool is_float = v.kind == HTH_JINJA_FLOAT;
            *out = jj_str_is(name, "imag") ? (is_float ? jj_float(0) : jj_int(0)) : is_float ? v : jj_int(jj_int_of(v));
            return HTH_OK;
        }
        break;
    default: break;
    }
    return get_method(vm, v, name, out, found);
}

static bool is_private(const jj_str *name) {
    return name->n > 0 && name->p[0] == '_';
}

// Dunder attributes exist on every Python object; the sandbox hands none of them out.
static bool is_dunder(const jj_str *name) {
    static const char *const names[] = {
        "__class__", "__init__", "__doc__", "__dict__", "__str__", "__repr__", "__eq__", "__ne__", "__hash__",
        "__getattribute__", "__setattr__", "__delattr__", "__new__", "__reduce__", "__reduce_ex__", "__sizeof__",
        "__format__", "__dir__", "__subclasshook__", "__init_subclass__", "__module__", "__globals__", "__code__"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        if (jj_str_is(name, names[i])) return true;
    }
    return false;
}

// obj[key] as far as it exists: *found false where Python raises TypeError or LookupError.
static hth_code subscript(jj_vm *vm, jj_value v, jj_value key, jj_value *out, bool *found) {
    jj_value *value = NULL;
    *found = false;
    switch (v.kind) {
    case HTH_JINJA_DICT: {
        hth_code code = jj_dict_find(vm, v.u.dict, key, &value);
        if (code != HTH_OK && vm->exc != JJ_TYPE_ERROR) return code;
        *found = code == HTH_OK && value;
        if (*found) *out = *value;
        return HTH_OK;
    }
    case HTH_JINJA_STR:
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE:
    case HTH_JINJA_RANGE: break;
    default: return HTH_OK;
    }
    if (!jj_is_int(key)) return HTH_OK;
    int64_t n, at = jj_int_of(key);
    HTH_TRY(jj_length(vm, v, &n));
    if (at < 0) at += n;
    if (at < 0 || at >= n) return HTH_OK;
    *found = true;
    if (jj_is_seq(v)) {
        *out = v.u.list->items[at];
    } else if (v.kind == HTH_JINJA_RANGE) {
        const jj_range *r = v.u.p;
        *out = jj_int(r->start + at * r->step);
    } else {
        const jj_str *s = v.u.s;
        if (s->n != s->n_char) HTH_TRY(jj_step(vm, s->n / 64));
        uint32_t from = jj_byte_of(s, at);
        unsigned len;
        (void)jj_cp(s->p + from, s->n - from, &len);
        return jj_part(vm, s, from, from + len, out);
    }
    return HTH_OK;
}

hth_code jj_getattr(jj_vm *vm, jj_value v, const jj_str *name, jj_value *out) {
    bool found;
    jj_value key = {.kind = HTH_JINJA_STR, .u.s = name};
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    HTH_TRY(attribute(vm, v, name, out, &found));
    if (found) {
        if (is_private(name) && v.kind != HTH_JINJA_UNDEFINED) return jj_undefined_of(vm, v, key, true, out);
        return HTH_OK;
    }
    if (is_dunder(name)) return jj_undefined_of(vm, v, key, true, out);
    HTH_TRY(subscript(vm, v, key, out, &found));
    return found ? HTH_OK : jj_undefined_of(vm, v, key, false, out);
}

hth_code jj_getitem(jj_vm *vm, jj_value v, jj_value key, jj_value *out) {
    bool found;
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (key.kind == HTH_JINJA_SLICE) return jj_slice_value(vm, v, key.u.p, out);
    HTH_TRY(subscript(vm, v, key, out, &found));
    if (found) return HTH_OK;
    if (jj_is_str(key)) {
        HTH_TRY(attribute(vm, v, key.u.s, out, &found));
        if (found) return is_private(key.u.s) ? jj_undefined_of(vm, v, key, true, out) : HTH_OK;
        if (is_dunder(key.u.s)) return jj_undefined_of(vm, v, key, true, out);
    }
    return jj_undefined_of(vm, v, key, false, out);
}

// ---- slices ----

// One of the three parts; false when it is None.
static hth_code slice_part(jj_vm *vm, jj_value v, int64_t *out, bool *given) {
    *given = v.kind != HTH_JINJA_NONE && v.kind != HTH_JINJA_MISSING;
    if (!*given) return HTH_OK;
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (v.kind == HTH_JINJA_BIG) {
        *out = v.u.s->p[0] == '-' ? INT64_MIN / 4 : INT64_MAX / 4;
        return HTH_OK;
    }
    if (!jj_is_int(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "slice indices must be integers or None or have an __index__ method");
    }
    int64_t i = jj_int_of(v);
    *out = i < INT64_MIN / 4 ? INT64_MIN / 4 : i > INT64_MAX / 4 ? INT64_MAX / 4 : i;
    return HTH_OK;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

// Python's slice.indices: *count items from *start by *step, ending before *stop.
static hth_code slice_range(jj_vm *vm, const jj_slice *s, int64_t n, int64_t *start, int64_t *stop_out, int64_t *step,
                            int64_t *count) {
    bool has_start, has_stop, has_step;
    int64_t stop;
    HTH_TRY(slice_part(vm, s->part[2], step, &has_step));
    if (!has_step) *step = 1;
    if (*step == 0) return jj_fail(vm, JJ_VALUE_ERROR, "slice step cannot be zero");
    if (*step == INT64_MIN) *step = -INT64_MAX;
    HTH_TRY(slice_part(vm, s->part[0], start, &has_start));
    HTH_TRY(slice_part(vm, s->part[1], &stop, &has_stop));
    int64_t lo = *step > 0 ? 0 : -1, hi = *step > 0 ? n : n - 1;
    *start = !has_start ? (*step > 0 ? lo : hi) : clamp(*start < 0 ? *start + n : *start, lo, hi);
    stop = !has_stop ? (*step > 0 ? hi : lo) : clamp(stop < 0 ? stop + n : stop, lo, hi);
    int64_t span = *step > 0 ? stop - *start : *start - stop, by = *step > 0 ? *step : -*step;
    *count = span > 0 ? (span - 1) / by + 1 : 0;
    *stop_out = stop;
    return HTH_OK;
}

// A range of a range: the same three numbers as Python's, though others would give the same items.
static hth_code slice_of_range(jj_vm *vm, const jj_range *r, int64_t start, int64_t stop, int64_t step, int64_t count,
                               jj_value *out) {
    jj_range *part = jj_alloc(vm, 1, sizeof *part);
    int64_t first, end;
    if (!part) return jj_nomem(vm);
    *part = (jj_range){.n = count};
    if (__builtin_mul_overflow(start, r->step, &first) || __builtin_add_overflow(first, r->start, &part->start) ||
        __builtin_mul_overflow(stop, r->step, &end) || __builtin_add_overflow(end, r->start, &part->stop) ||
        __builtin_mul_overflow(r->step, step, &part->step)) {
        return jj_fail(vm, JJ_OVERFLOW_ERROR, "an integer beyond 64 bits");
    }
    *out = jj_pointer(HTH_JINJA_RANGE, part);
    return HTH_OK;
}

static hth_code slice_str(jj_vm *vm, const jj_str *s, int64_t start, int64_t step, int64_t count, jj_value *out) {
    HTH_TRY(jj_step(vm, s->n / 64));
    if (step == 1) {
        return jj_part(vm, s, count ? jj_byte_of(s, start) : 0, count ? jj_byte_of(s, start + count) : 0, out);
    }
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_step(vm, (uint64_t)count));
    bool is_ascii = s->n == s->n_char;
    uint32_t at = count ? jj_byte_of(s, start) : 0;
    for (int64_t i = 0; i < count; i++) {
        unsigned len;
        (void)jj_cp(s->p + at, s->n - at, &len);
        HTH_TRY(jj_put_part(&b, s, at, at + len));
        if (i + 1 == count) break;
        if (is_ascii) {
            at = (uint32_t)((int64_t)at + step);
            continue;
        }
        for (int64_t k = step > 0 ? step : -step; k > 0; k--) { // one character
            do {
                at += step > 0 ? 1u : -1u;
            } while (at > 0 && at < s->n && ((uint8_t)s->p[at] & 0xc0) == 0x80);
        }
    }
    return jj_take_markup(&b, s->is_markup, out);
}

hth_code jj_slice_value(jj_vm *vm, jj_value v, const jj_slice *s, jj_value *out) {
    int64_t n, start, stop, step, count;
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (v.kind == HTH_JINJA_DICT) return jj_fail(vm, JJ_TYPE_ERROR, "unhashable type: 'slice'");
    if (!jj_is_str(v) && !jj_is_seq(v) && v.kind != HTH_JINJA_RANGE) {
        return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object is not subscriptable", jj_type_name(v));
    }
    HTH_TRY(jj_length(vm, v, &n));
    HTH_TRY(slice_range(vm, s, n, &start, &stop, &step, &count));
    if (jj_is_str(v)) return slice_str(vm, v.u.s, start, step, count, out);
    if (v.kind == HTH_JINJA_RANGE) return slice_of_range(vm, v.u.p, start, stop, step, count, out);
    HTH_TRY(jj_new_list(vm, v.kind, (size_t)count, out));
    for (int64_t i = 0; i < count; i++) out->u.list->items[i] = v.u.list->items[start + i * step];
    return HTH_OK;
}
