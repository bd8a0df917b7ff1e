// Expressions to values.
#include "chat/jinja_impl.h"

jj_value *jj_slot(jj_frame *f, jj_ref ref) {
    for (unsigned i = 0; i < ref.hops; i++) f = f->up;
    return &f->slots[ref.slot];
}

static hth_code eval_list(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    HTH_TRY(jj_new_list(vm, n->type == JJ_TUPLE ? HTH_JINJA_TUPLE : HTH_JINJA_LIST, n->list.n, out));
    jj_value *items = out->u.list->items;
    for (uint32_t i = 0; i < n->list.n; i++) HTH_TRY(jj_eval(vm, f, n->list.p[i], &items[i]));
    return HTH_OK;
}

static hth_code eval_dict(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    HTH_TRY(jj_new_dict(vm, out));
    for (uint32_t i = 0; i + 1 < n->list.n; i += 2) {
        jj_value key, value;
        HTH_TRY(jj_eval(vm, f, n->list.p[i], &key));
        HTH_TRY(jj_eval(vm, f, n->list.p[i + 1], &value));
        HTH_TRY(jj_dict_set(vm, out->u.dict, key, value));
    }
    return HTH_OK;
}

static hth_code eval_cond(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    HTH_TRY(jj_eval(vm, f, n->a, out));
    if (jj_truth(*out)) return jj_eval(vm, f, n->b, out);
    if (n->c) return jj_eval(vm, f, n->c, out);
    return jj_undefined_hint(vm, "the inline if-expression evaluated to false and no else section was defined.", out);
}

static hth_code eval_binary(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value a, b;
    HTH_TRY(jj_eval(vm, f, n->a, &a));
    HTH_TRY(jj_eval(vm, f, n->b, &b));
    return jj_binary(vm, (jj_op)n->op, a, b, out);
}

static hth_code eval_concat(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value list;
    bool is_markup = false;
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(eval_list(vm, f, n, &list));
    for (uint32_t i = 0; i < n->list.n; i++) {
        jj_value v = list.u.list->items[i];
        is_markup = is_markup || (vm->autoescape && jj_is_str(v) && v.u.s->is_markup);
    }
    for (uint32_t i = 0; i < n->list.n; i++) {
        jj_value v = list.u.list->items[i];
        if (is_markup) HTH_TRY(jj_escape(vm, v, &v));
        HTH_TRY(jj_put_value(&b, v));
    }
    return jj_take_markup(&b, is_markup, out);
}

static hth_code eval_compare(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value left, right;
    bool holds = true;
    HTH_TRY(jj_eval(vm, f, n->a, &left));
    for (uint32_t i = 0; holds && i < n->list.n; i++) {
        const jj_node *operand = n->list.p[i];
        HTH_TRY(jj_eval(vm, f, operand->a, &right));
        HTH_TRY(jj_compare(vm, (jj_op)operand->op, left, right, &holds));
        left = right;
    }
    *out = jj_bool(holds);
    return HTH_OK;
}

static hth_code eval_slice_parts(jj_vm *vm, jj_frame *f, const jj_node *n, jj_slice *s) {
    const jj_node *parts[3] = {n->a, n->b, n->c};
    for (int i = 0; i < 3; i++) {
        s->part[i] = JJ_PY_NONE;
        if (parts[i]) HTH_TRY(jj_eval(vm, f, parts[i], &s->part[i]));
    }
    return HTH_OK;
}

static hth_code eval_getitem(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value v, key;
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    if (n->b->type == JJ_SLICE) {
        jj_slice s;
        HTH_TRY(eval_slice_parts(vm, f, n->b, &s));
        return jj_slice_value(vm, v, &s, out);
    }
    HTH_TRY(jj_eval(vm, f, n->b, &key));
    return jj_getitem(vm, v, key, out);
}

static hth_code eval_slice(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_slice *s = jj_alloc(vm, 1, sizeof *s);
    if (!s) return jj_nomem(vm);
    *out = jj_pointer(HTH_JINJA_SLICE, s);
    return eval_slice_parts(vm, f, n, s);
}

// ---- calls ----

static hth_code add_keyword(jj_vm *vm, jj_args *args, jj_value key, jj_value value) {
    for (uint32_t i = 0; i < args->n_kw; i++) {
        if (!jj_str_equal(args->kw[i].key.u.s, key.u.s)) continue;
        return jj_fail(vm, JJ_TYPE_ERROR, "got multiple values for keyword argument '%.*s'",
                       jj_shown(key.u.s), key.u.s->p);
    }
    args->kw[args->n_kw++] = (jj_entry){.key = key, .value = value};
    return HTH_OK;
}

// *args: appended to the positional ones.
static hth_code add_dynamic(jj_vm *vm, jj_frame *f, const jj_node *n, jj_args *args) {
    jj_value v, list;
    HTH_TRY(jj_eval(vm, f, n, &v));
    HTH_TRY(jj_collect(vm, v, &list));
    jj_value *pos = jj_alloc(vm, (size_t)args->n_pos + list.u.list->n + 1, sizeof *pos);
    if (!pos) return jj_nomem(vm);
    if (args->n_pos > 0) memcpy(pos, args->pos, args->n_pos * sizeof *pos);
    memcpy(pos + args->n_pos, list.u.list->items, list.u.list->n * sizeof *pos);
    args->pos = pos;
    args->n_pos += list.u.list->n;
    return HTH_OK;
}

// **kwargs.
static hth_code add_dynamic_keywords(jj_vm *vm, jj_frame *f, const jj_node *n, jj_args *args, uint32_t n_fixed) {
    jj_value v;
    HTH_TRY(jj_eval(vm, f, n, &v));
    if (v.kind != HTH_JINJA_DICT) {
        return jj_fail(vm, JJ_TYPE_ERROR, "argument after ** must be a mapping, not %s", jj_type_name(v));
    }
    jj_entry *kw = jj_alloc(vm, (size_t)n_fixed + v.u.dict->n + 1, sizeof *kw);
    if (!kw) return jj_nomem(vm);
    if (args->n_kw > 0) memcpy(kw, args->kw, args->n_kw * sizeof *kw);
    args->kw = kw;
    for (uint32_t i = 0; i < v.u.dict->n; i++) {
        const jj_entry *e = &v.u.dict->entries[i];
        if (!jj_is_str(e->key)) return jj_fail(vm, JJ_TYPE_ERROR, "keywords must be strings");
        HTH_TRY(add_keyword(vm, args, e->key, e->value));
    }
    return HTH_OK;
}

static hth_code eval_args(jj_vm *vm, jj_frame *f, const jj_node *n, const jj_value *caller, jj_args *args) {
    *args = (jj_args){0};
    uint32_t n_kw = n->list2.n + (caller != NULL);
    if (n->list.n > 0) args->pos = jj_alloc(vm, n->list.n, sizeof *args->pos);
    if (n_kw > 0) args->kw = jj_alloc(vm, n_kw, sizeof *args->kw);
    if ((n->list.n > 0 && !args->pos) || (n_kw > 0 && !args->kw)) return jj_nomem(vm);
    for (; args->n_pos < n->list.n; args->n_pos++) {
        HTH_TRY(jj_eval(vm, f, n->list.p[args->n_pos], &args->pos[args->n_pos]));
    }
    if (n->b) HTH_TRY(add_dynamic(vm, f, n->b, args));
    for (uint32_t i = 0; i < n->list2.n; i++) {
        jj_value key = {.kind = HTH_JINJA_STR, .u.s = n->list2.p[i]->name}, value;
        HTH_TRY(jj_eval(vm, f, n->list2.p[i]->a, &value));
        HTH_TRY(add_keyword(vm, args, key, value));
    }
    if (caller) {
        static const jj_str name = {.p = "caller", .n = 6, .n_char = 6};
        HTH_TRY(add_keyword(vm, args, (jj_value){.kind = HTH_JINJA_STR, .u.s = &name}, *caller));
    }
    return n->c ? add_dynamic_keywords(vm, f, n->c, args, n_kw) : HTH_OK;
}

static hth_code call_joiner(jj_vm *vm, jj_joiner *j, jj_value *out) {
    bool was_used = j->used;
    j->used = true;
    if (!was_used) return jj_text(vm, "", out);
    *out = j->sep;
    return HTH_OK;
}

hth_code jj_call(jj_vm *vm, jj_value callee, const jj_args *args, jj_value *out) {
    switch (callee.kind) {
    case HTH_JINJA_METHOD: {
        const jj_method *m = callee.u.p;
        return m->row->call(vm, m->self, args, out);
    }
    case HTH_JINJA_MACRO: return jj_call_macro(vm, callee.u.p, args, out);
    case HTH_JINJA_FUNCTION: return jj_call_function(vm, callee, args, out);
    case HTH_JINJA_JOINER: return call_joiner(vm, callee.u.p, out);
    case HTH_JINJA_UNDEFINED: return jj_fail_undefined(vm, callee);
    case HTH_JINJA_LOOP:
        if (args->n_pos != 1 || args->n_kw > 0) return jj_fail(vm, JJ_TYPE_ERROR, "loop() takes one argument");
        return jj_call_loop(vm, callee.u.p, args->pos[0], out);
    case HTH_JINJA_BLOCK:
        if (callee.u.p) return jj_call_block(vm, callee.u.p, out);
        break;
    default: break;
    }
    return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object is not callable", jj_type_name(callee));
}

hth_code jj_eval_call(jj_vm *vm, jj_frame *f, const jj_node *n, const jj_value *caller, jj_value *out) {
    jj_value callee;
    jj_args args;
    HTH_TRY(jj_eval(vm, f, n->a, &callee));
    HTH_TRY(eval_args(vm, f, n, caller, &args));
    return jj_call(vm, callee, &args, out);
}

static hth_code eval_filter(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value v = vm->block_input;
    jj_args args;
    if (n->is_unknown) {
        return jj_fail(vm, JJ_OTHER_ERROR, "No filter named '%.*s' found.", jj_shown(n->name),
                       n->name->p);
    }
    if (n->a) HTH_TRY(jj_eval(vm, f, n->a, &v));
    HTH_TRY(eval_args(vm, f, n, NULL, &args));
    return ((const jj_filter_row *)n->row)->call(vm, v, &args, out);
}

static hth_code eval_test(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value v;
    jj_args args;
    bool holds;
    if (n->is_unknown) {
        return jj_fail(vm, JJ_OTHER_ERROR, "No test named '%.*s' found.", jj_shown(n->name),
                       n->name->p);
    }
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    HTH_TRY(eval_args(vm, f, n, NULL, &args));
    HTH_TRY(((const jj_test_row *)n->row)->call(vm, v, &args, &holds));
    *out = jj_bool(holds);
    return HTH_OK;
}

static hth_code eval_name(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    *out = *jj_slot(f, n->ref);
    return out->kind == HTH_JINJA_MISSING ? jj_undefined_name(vm, n->name, out) : HTH_OK;
}

static hth_code eval_attribute(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_value v;
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    return jj_getattr(vm, v, n->name, out);
}

static hth_code eval_node(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    switch (n->type) {
    case JJ_DATA:
    case JJ_CONST: *out = n->value; return HTH_OK;
    case JJ_NAME: return eval_name(vm, f, n, out);
    case JJ_TUPLE:
    case JJ_LIST: return eval_list(vm, f, n, out);
    case JJ_DICT: return eval_dict(vm, f, n, out);
    case JJ_COND: return eval_cond(vm, f, n, out);
    case JJ_AND:
    case JJ_OR:
        HTH_TRY(jj_eval(vm, f, n->a, out));
        return jj_truth(*out) == (n->type == JJ_OR) ? HTH_OK : jj_eval(vm, f, n->b, out);
    case JJ_NOT:
        HTH_TRY(jj_eval(vm, f, n->a, out));
        *out = jj_bool(!jj_truth(*out));
        return HTH_OK;
    case JJ_NEG:
    case JJ_POS:
        HTH_TRY(jj_eval(vm, f, n->a, out));
        return jj_negate(vm, *out, n->type == JJ_NEG, out);
    case JJ_BINARY: return eval_binary(vm, f, n, out);
    case JJ_CONCAT: return eval_concat(vm, f, n, out);
    case JJ_COMPARE: return eval_compare(vm, f, n, out);
    case JJ_GETATTR: return eval_attribute(vm, f, n, out);
    case JJ_GETITEM: return eval_getitem(vm, f, n, out);
    case JJ_SLICE: return eval_slice(vm, f, n, out);
    case JJ_CALL: return jj_eval_call(vm, f, n, NULL, out);
    case JJ_FILTER: return eval_filter(vm, f, n, out);
    case JJ_TEST: return eval_test(vm, f, n, out);
    default: return jj_fail(vm, JJ_OTHER_ERROR, "a statement stands where an expression is due");
    }
}

hth_code jj_eval(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    HTH_TRY(jj_step(vm, 1));
    HTH_TRY(jj_enter(vm));
    hth_code code = eval_node(vm, f, n, out);
    if (HTH_UNLIKELY(code != HTH_OK) && !vm->failed) vm->failed = n;
    jj_leave(vm);
    return code;
}
