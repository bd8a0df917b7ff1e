// Tests: what may stand behind `is`.
#include "chat/jinja_impl.h"

#define ARGS jj_vm *vm, jj_value v, const jj_args *args, bool *out

static hth_code no_arguments(jj_vm *vm, const jj_args *args) {
    if (args->n_pos + args->n_kw == 0) return HTH_OK;
    return jj_fail(vm, JJ_TYPE_ERROR, "the test takes no arguments (%u given)", args->n_pos + args->n_kw);
}

static hth_code modulo_is(jj_vm *vm, jj_value v, jj_value by, int64_t rest, bool *out) {
    jj_value r;
    HTH_TRY(jj_binary(vm, JJ_MOD, v, by, &r));
    return jj_equal(vm, r, jj_int(rest), out);
}

static hth_code is_odd(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return modulo_is(vm, v, jj_int(2), 1, out);
}

static hth_code is_even(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return modulo_is(vm, v, jj_int(2), 0, out);
}

static hth_code is_divisibleby(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "divisibleby", args, "num", 1, a));
    return modulo_is(vm, v, a[0], 0, out);
}

#define KIND_TEST(name, condition)               \
    static hth_code name(ARGS) {                 \
        HTH_TRY(no_arguments(vm, args));         \
        *out = (condition);                      \
        return HTH_OK;                           \
    }

KIND_TEST(is_defined, !jj_is_undefined(v))
KIND_TEST(is_undefined, jj_is_undefined(v))
KIND_TEST(is_none, v.kind == HTH_JINJA_NONE)
KIND_TEST(is_boolean, v.kind == HTH_JINJA_BOOL)
KIND_TEST(is_false, v.kind == HTH_JINJA_BOOL && !v.u.b)
KIND_TEST(is_true, v.kind == HTH_JINJA_BOOL && v.u.b)
KIND_TEST(is_integer, v.kind == HTH_JINJA_INT || v.kind == HTH_JINJA_BIG)
KIND_TEST(is_float, v.kind == HTH_JINJA_FLOAT)
KIND_TEST(is_number, jj_is_number(v))
KIND_TEST(is_string, jj_is_str(v))
KIND_TEST(is_mapping, v.kind == HTH_JINJA_DICT)
KIND_TEST(is_sequence, jj_is_str(v) || jj_is_seq(v) || v.kind == HTH_JINJA_DICT || v.kind == HTH_JINJA_RANGE ||
                           v.kind == HTH_JINJA_UNDEFINED)
KIND_TEST(is_iterable, jj_is_iterable(v))
KIND_TEST(is_callable, jj_is_callable(v))
KIND_TEST(is_escaped, jj_is_str(v) && v.u.s->is_markup)

static hth_code is_lower(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    HTH_TRY(jj_to_str(vm, v, &v));
    *out = jj_is_case(v.u.s, false);
    return HTH_OK;
}

static hth_code is_upper(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    HTH_TRY(jj_to_str(vm, v, &v));
    *out = jj_is_case(v.u.s, true);
    return HTH_OK;
}

static hth_code is_filter(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = jj_is_str(v) && jj_find_filter(v.u.s);
    return HTH_OK;
}

static hth_code is_test(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = jj_is_str(v) && jj_find_test(v.u.s);
    return HTH_OK;
}

// Python's `is`: one object. Small integers and short constants are shared there; here equal ones are.
static hth_code is_sameas(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "sameas", args, "other", 1, a));
    *out = v.kind == a[0].kind;
    if (!*out || v.kind == HTH_JINJA_NONE) return HTH_OK;
    if (v.kind <= HTH_JINJA_STR) return jj_equal(vm, v, a[0], out);
    *out = v.u.p == a[0].u.p;
    return HTH_OK;
}

static hth_code compared(ARGS, jj_op op) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "test", args, "other", 1, a));
    return jj_compare(vm, op, v, a[0], out);
}

static hth_code is_eq(ARGS) {
    return compared(vm, v, args, out, JJ_EQ);
}

static hth_code is_ne(ARGS) {
    return compared(vm, v, args, out, JJ_NE);
}

static hth_code is_lt(ARGS) {
    return compared(vm, v, args, out, JJ_LT);
}

static hth_code is_le(ARGS) {
    return compared(vm, v, args, out, JJ_LE);
}

static hth_code is_gt(ARGS) {
    return compared(vm, v, args, out, JJ_GT);
}

static hth_code is_ge(ARGS) {
    return compared(vm, v, args, out, JJ_GE);
}

static hth_code is_in(ARGS) {
    return compared(vm, v, args, out, JJ_IN);
}

static const jj_test_row rows[] = {
    {"odd", is_odd}, {"even", is_even}, {"divisibleby", is_divisibleby}, {"defined", is_defined},
    {"undefined", is_undefined}, {"filter", is_filter}, {"test", is_test}, {"none", is_none},
    {"boolean", is_boolean}, {"false", is_false}, {"true", is_true}, {"integer", is_integer}, {"float", is_float},
    {"lower", is_lower}, {"upper", is_upper}, {"string", is_string}, {"mapping", is_mapping}, {"number", is_number},
    {"sequence", is_sequence}, {"iterable", is_iterable}, {"callable", is_callable}, {"sameas", is_sameas},
    {"escaped", is_escaped}, {"in", is_in}, {"==", is_eq}, {"eq", is_eq}, {"equalto", is_eq}, {"!=", is_ne},
    {"ne", is_ne}, {">", is_gt}, {"gt", is_gt}, {"greaterthan", is_gt}, {">=", is_ge}, {"ge", is_ge}, {"<", is_lt},
    {"lt", is_lt}, {"lessthan", is_lt}, {"<=", is_le}, {"le", is_le}, {0},
};

const jj_test_row *jj_find_test(const jj_str *name) {
    for (const jj_test_row *row = rows; row->name; row++) {
        if (jj_str_is(name, row->name)) return row;
    }
    return NULL;
}
