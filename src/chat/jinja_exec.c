// Statements: scopes, loops, macros, blocks. Where a statement fails, vm->line says which line of the template
// jinja2 would blame: that of the statement, or of the expression being printed.
#include "chat/jinja_impl.h"

typedef enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;

static hth_code run(jj_vm *vm, jj_frame *f, jj_nodes list, flow *out);

hth_code jj_new_frame(jj_vm *vm, const jj_func *func, jj_frame *up, jj_frame **out) {
    jj_frame *f = jj_alloc(vm, 1, sizeof *f + func->n_slot * sizeof f->slots[0]);
    if (!f) return jj_nomem(vm);
    f->up = up;
    *out = f;
    return HTH_OK;
}

static jj_value resolve(const jj_vm *vm, const jj_str *name) {
    jj_value *v = jj_dict_get(vm->vars, name);
    if (!v) v = jj_dict_get(vm->given, name);
    if (!v) v = jj_dict_get(vm->globals, name);
    return v ? *v : JJ_NIL;
}

void jj_load_scope(jj_vm *vm, jj_frame *f, const jj_scope *scope) {
    for (uint32_t i = 0; i < scope->n; i++) {
        const jj_load *load = &scope->loads[i];
        f->slots[load->slot] = load->kind == JJ_LOAD_RESOLVE ? resolve(vm, load->name)
                               : load->kind == JJ_LOAD_ALIAS ? *jj_slot(f, load->from)
                                                             : JJ_NIL;
    }
}

// ---- assignment ----

static hth_code unpack(jj_vm *vm, jj_frame *f, const jj_node *target, jj_value v) {
    uint32_t n = target->list.n;
    if (!jj_is_iterable(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "cannot unpack non-iterable %s object", jj_type_name(v));
    }
    jj_iter *it;
    HTH_TRY(jj_iter_of(vm, v, &it));
    jj_value *items = jj_alloc(vm, (size_t)n + 1, sizeof *items);
    if (!items) return jj_nomem(vm);
    bool more = true;
    uint32_t got = 0;
    for (; more && got <= n; got++) HTH_TRY(jj_next(vm, it, &items[got], &more));
    if (more) return jj_fail(vm, JJ_VALUE_ERROR, "too many values to unpack (expected %u)", n);
    if (got - 1 < n) return jj_fail(vm, JJ_VALUE_ERROR, "not enough values to unpack (expected %u, got %u)", n, got - 1);
    for (uint32_t i = 0; i < n; i++) HTH_TRY(jj_assign(vm, f, target->list.p[i], items[i]));
    return HTH_OK;
}

static hth_code assign_attribute(jj_vm *vm, jj_frame *f, const jj_node *target, jj_value v) {
    jj_value ns = *jj_slot(f, target->ref);
    const jj_str *name = target->value.u.s;
    if (ns.kind != HTH_JINJA_NAMESPACE) {
        return jj_fail(vm, JJ_OTHER_ERROR, "cannot assign attribute on non-namespace object");
    }
    if (name->n > 0 && name->p[0] == '_') {
        return jj_fail(vm, JJ_SECURITY_ERROR, "Chat templates cannot store underscore-prefixed attributes on a namespace, but"
                                              " got '%.*s'. Please rename the attribute.",
                       jj_shown(name), name->p);
    }
    return jj_dict_set(vm, ns.u.dict, target->value, v);
}

hth_code jj_assign(jj_vm *vm, jj_frame *f, const jj_node *target, jj_value v) {
    if (target->type == JJ_NSREF) return assign_attribute(vm, f, target, v);
    if (target->type == JJ_TUPLE) return unpack(vm, f, target, v);
    *jj_slot(f, target->ref) = v;
    return HTH_OK;
}

// What is set at the top of a template is seen by its blocks.
static hth_code publish(jj_vm *vm, jj_frame *f, const jj_node *target) {
    if (vm->t->n_block == 0 || target->type == JJ_NSREF) return HTH_OK;
    if (target->type == JJ_NAME) {
        return jj_dict_set(vm, vm->vars, (jj_value){.kind = HTH_JINJA_STR, .u.s = target->name}, *jj_slot(f, target->ref));
    }
    for (uint32_t i = 0; i < target->list.n; i++) HTH_TRY(publish(vm, f, target->list.p[i]));
    return HTH_OK;
}

static hth_code check_namespaces(jj_vm *vm, jj_frame *f, const jj_node *target) {
    if (target->type == JJ_NSREF && jj_slot(f, target->ref)->kind != HTH_JINJA_NAMESPACE) {
        return jj_fail(vm, JJ_OTHER_ERROR, "cannot assign attribute on non-namespace object");
    }
    for (uint32_t i = 0; target->type == JJ_TUPLE && i < target->list.n; i++) {
        HTH_TRY(check_namespaces(vm, f, target->list.p[i]));
    }
    return HTH_OK;
}

static hth_code run_set(jj_vm *vm, jj_frame *f, const jj_node *n) {
    jj_value v;
    HTH_TRY(check_namespaces(vm, f, n->a));
    vm->line = n->line;
    HTH_TRY(jj_eval(vm, f, n->b, &v));
    HTH_TRY(jj_assign(vm, f, n->a, v));
    return n->is_top ? publish(vm, f, n->a) : HTH_OK;
}

// ---- text ----

static hth_code put_printed(jj_vm *vm, jj_value v) {
    if (vm->autoescape) HTH_TRY(jj_escape(vm, v, &v));
    return jj_put_value(vm->out, v);
}

static hth_code run_output(jj_vm *vm, jj_frame *f, const jj_node *n) {
    for (uint32_t i = 0; i < n->list.n; i++) {
        const jj_node *part = n->list.p[i];
        if (part->type == JJ_DATA) {
            HTH_TRY(jj_step(vm, 1));
            HTH_TRY(jj_put_str(vm->out, part->value.u.s));
            continue;
        }
        jj_value v;
        vm->line = part->line;
        HTH_TRY(jj_eval(vm, f, part, &v));
        HTH_TRY(put_printed(vm, v));
    }
    return HTH_OK;
}

// Runs a body with its text kept aside.
static hth_code capture(jj_vm *vm, jj_frame *f, jj_nodes body, bool is_markup, flow *how, jj_value *out) {
    jj_buf b = jj_buf_make(vm), *outer = vm->out;
    vm->out = &b;
    hth_code code = run(vm, f, body, how);
    vm->out = outer;
    return code == HTH_OK ? jj_take_markup(&b, is_markup, out) : code;
}

static hth_code run_set_block(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    jj_value v;
    jj_load_scope(vm, f, n->scope);
    HTH_TRY(capture(vm, f, n->list, vm->autoescape, how, &v));
    if (*how != FLOW_ON) return HTH_OK;
    vm->line = n->line;
    vm->block_input = v;
    if (n->b) HTH_TRY(jj_eval(vm, f, n->b, &v));
    HTH_TRY(jj_assign(vm, f, n->a, v));
    return n->is_top ? publish(vm, f, n->a) : HTH_OK;
}

static hth_code run_filter_block(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    jj_value v;
    jj_load_scope(vm, f, n->scope);
    HTH_TRY(capture(vm, f, n->list, vm->autoescape, how, &v));
    if (*how != FLOW_ON) return HTH_OK;
    vm->line = n->line;
    vm->block_input = v;
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    return jj_put_value(vm->out, v);
}

static hth_code run_autoescape(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    jj_value v;
    jj_load_scope(vm, f, n->scope);
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    bool before = vm->autoescape;
    vm->autoescape = jj_truth(v);
    hth_code code = run(vm, f, n->list, how);
    vm->autoescape = before;
    return code;
}

static hth_code run_with(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    jj_load_scope(vm, f, n->scope);
    vm->line = n->line;
    for (uint32_t i = 0; i < n->list.n; i++) {
        jj_value v;
        HTH_TRY(jj_eval(vm, f, n->list2.p[i], &v));
        HTH_TRY(jj_assign(vm, f, n->list.p[i], v));
    }
    return run(vm, f, n->list3, how);
}

static hth_code run_if(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    jj_value v;
    vm->line = n->line;
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    if (jj_truth(v)) return run(vm, f, n->list, how);
    for (uint32_t i = 0; i < n->list2.n; i++) {
        const jj_node *branch = n->list2.p[i];
        vm->line = branch->line;
        HTH_TRY(jj_eval(vm, f, branch->a, &v));
        if (jj_truth(v)) return run(vm, f, branch->list, how);
    }
    return run(vm, f, n->list3, how);
}

// ---- loops ----

// The next item of `for x in y if z`.
hth_code jj_next_tested(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    if (!it->is_open) {
        it->is_open = true;
        HTH_TRY(jj_iter_of(vm, it->source, &it->from));
    }
    const jj_for *loop = it->loop->loop;
    uint32_t line = vm->line;
    for (;;) {
        jj_value v;
        HTH_TRY(jj_next(vm, it->from, out, more));
        if (!*more) break;
        vm->line = it->loop->c->line;
        jj_load_scope(vm, it->frame, loop->test_scope);
        HTH_TRY(jj_assign(vm, it->frame, loop->test_target, *out));
        HTH_TRY(jj_eval(vm, it->frame, it->loop->c, &v));
        if (jj_truth(v)) break;
    }
    vm->line = line;
    return HTH_OK;
}

hth_code jj_loop_step(jj_vm *vm, jj_loop *loop, jj_value *out, bool *more) {
    *more = true;
    if (loop->after.kind != HTH_JINJA_MISSING) {
        *out = loop->after;
        loop->after = JJ_NIL;
    } else {
        HTH_TRY(jj_next(vm, loop->it, out, more));
        if (!*more) return HTH_OK;
    }
    loop->index0++;
    loop->before = loop->current;
    loop->current = *out;
    return HTH_OK;
}

// Looks one item ahead; *out is MISSING at the end.
static hth_code peek(jj_vm *vm, jj_loop *loop, jj_value *out) {
    bool more = true;
    if (loop->after.kind == HTH_JINJA_MISSING) {
        jj_value v;
        HTH_TRY(jj_next(vm, loop->it, &v, &more));
        if (more) loop->after = v;
    }
    *out = loop->after;
    return HTH_OK;
}

static hth_code loop_length(jj_vm *vm, jj_loop *loop, int64_t *out) {
    if (loop->length < 0 && loop->iterable.kind != HTH_JINJA_ITER && loop->iterable.kind != HTH_JINJA_LOOP) {
        HTH_TRY(jj_length(vm, loop->iterable, &loop->length));
    } else if (loop->length < 0) { // of a generator: the rest is counted, and kept
        jj_value rest;
        HTH_TRY(jj_collect(vm, jj_pointer(HTH_JINJA_ITER, loop->it), &rest));
        HTH_TRY(jj_iter_of(vm, rest, &loop->it));
        loop->length = rest.u.list->n + loop->index0 + 1 + (loop->after.kind != HTH_JINJA_MISSING);
    }
    *out = loop->length;
    return HTH_OK;
}

hth_code jj_get_loop(jj_vm *vm, jj_loop *loop, const jj_str *name, jj_value *out, bool *found) {
    int64_t length = 0;
    jj_value next;
    *found = true;
    if (jj_str_is(name, "first")) {
        *out = jj_bool(loop->index0 == 0);
    } else if (jj_str_is(name, "last")) {
        HTH_TRY(peek(vm, loop, &next));
        *out = jj_bool(next.kind == HTH_JINJA_MISSING);
    } else if (jj_str_is(name, "index") || jj_str_is(name, "index0")) {
        *out = jj_int(loop->index0 + (name->n == 5));
    } else if (jj_str_is(name, "length") || jj_str_is(name, "revindex") || jj_str_is(name, "revindex0")) {
        HTH_TRY(loop_length(vm, loop, &length));
        *out = jj_int(name->n == 6 ? length : length - loop->index0 - (name->n == 9));
    } else if (jj_str_is(name, "depth") || jj_str_is(name, "depth0")) {
        *out = jj_int(loop->depth0 + (name->n == 5));
    } else if (jj_str_is(name, "previtem")) {
        if (loop->index0 == 0) return jj_undefined_hint(vm, "there is no previous item", out);
        *out = loop->before;
    } else if (jj_str_is(name, "nextitem")) {
        HTH_TRY(peek(vm, loop, out));
        if (out->kind == HTH_JINJA_MISSING) return jj_undefined_hint(vm, "there is no next item", out);
    } else {
        *found = false;
    }
    return HTH_OK;
}

static hth_code open_loop(jj_vm *vm, jj_frame *f, jj_frame *test_frame, const jj_node *n, jj_value iterable,
                          int64_t depth0, jj_frame *up, jj_loop **out) {
    jj_loop *loop = jj_alloc(vm, 1, sizeof *loop);
    if (!loop) return jj_nomem(vm);
    if (n->c) {
        jj_iter *tested;
        HTH_TRY(jj_iter_new(vm, JJ_ITER_TESTED, iterable, &tested));
        tested->loop = n;
        tested->frame = test_frame;
        iterable = jj_pointer(HTH_JINJA_ITER, tested);
    }
    *loop = (jj_loop){.iterable = iterable, .index0 = -1, .depth0 = depth0, .length = -1, .node = n->flag ? n : NULL,
                      .up = up};
    HTH_TRY(jj_iter_of(vm, iterable, &loop->it));
    if (n->loop->is_extended) *jj_slot(f, n->loop->loop) = jj_pointer(HTH_JINJA_LOOP, loop);
    *out = loop;
    return HTH_OK;
}

// The iterations, in frame f.
static hth_code run_loop(jj_vm *vm, jj_frame *f, const jj_node *n, jj_loop *loop, flow *how) {
    bool ran = false;
    for (;;) {
        jj_value item;
        bool more;
        flow inner = FLOW_ON;
        vm->line = n->line;
        HTH_TRY(jj_step(vm, 1));
        HTH_TRY(jj_loop_step(vm, loop, &item, &more));
        if (!more) break;
        HTH_TRY(jj_assign(vm, f, n->a, item));
        jj_load_scope(vm, f, n->scope);
        HTH_TRY(run(vm, f, n->list, &inner));
        ran = ran || inner == FLOW_ON; // the mark stands at the end of the body
        if (inner == FLOW_BREAK) break;
    }
    if (ran || n->list2.n == 0) return HTH_OK;
    jj_load_scope(vm, f, n->loop->else_scope);
    return run(vm, f, n->list2, how);
}

static hth_code run_recursive(jj_vm *vm, const jj_node *n, jj_frame *up, jj_value iterable, int64_t depth0,
                              jj_value *out) {
    jj_frame *f;
    jj_loop *loop;
    flow how = FLOW_ON;
    jj_buf b = jj_buf_make(vm), *outer = vm->out;
    HTH_TRY(jj_new_frame(vm, n->loop->func, up, &f));
    vm->line = n->line;
    HTH_TRY(open_loop(vm, f, up, n, iterable, depth0, up, &loop));
    vm->out = &b;
    hth_code code = run_loop(vm, f, n, loop, &how);
    vm->out = outer;
    return code == HTH_OK ? jj_take_markup(&b, vm->autoescape, out) : code;
}

hth_code jj_call_loop(jj_vm *vm, jj_loop *loop, jj_value iterable, jj_value *out) {
    if (!loop->node) {
        return jj_fail(vm, JJ_TYPE_ERROR, "The loop must have the 'recursive' marker to be called recursively.");
    }
    uint32_t line = vm->line;
    HTH_TRY(jj_enter(vm));
    hth_code code = run_recursive(vm, loop->node, loop->up, iterable, loop->depth0 + 1, out);
    jj_leave(vm);
    if (code == HTH_OK) vm->line = line;
    return code;
}

static hth_code run_for(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    jj_value iterable, text;
    jj_loop *loop;
    vm->line = n->line;
    HTH_TRY(jj_eval(vm, f, n->b, &iterable));
    if (n->flag) {
        HTH_TRY(run_recursive(vm, n, f, iterable, 0, &text));
        return jj_put_value(vm->out, text);
    }
    HTH_TRY(open_loop(vm, f, f, n, iterable, 0, NULL, &loop));
    return run_loop(vm, f, n, loop, how);
}

// ---- macros ----

static hth_code make_macro(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out) {
    jj_macro *m = jj_alloc(vm, 1, sizeof *m);
    if (!m) return jj_nomem(vm);
    *m = (jj_macro){n, f};
    *out = jj_pointer(HTH_JINJA_MACRO, m);
    return HTH_OK;
}

static hth_code run_macro(jj_vm *vm, jj_frame *f, const jj_node *n) {
    HTH_TRY(make_macro(vm, f, n, jj_slot(f, n->ref)));
    return n->is_top ? publish(vm, f, n->a) : HTH_OK;
}

static hth_code run_call_block(jj_vm *vm, jj_frame *f, const jj_node *n) {
    jj_value caller, v;
    HTH_TRY(make_macro(vm, f, n, &caller));
    vm->line = n->line;
    HTH_TRY(jj_eval_call(vm, f, n->a, &caller, &v));
    return put_printed(vm, v);
}

static hth_code run_generation(jj_vm *vm, jj_frame *f, const jj_node *n) {
    jj_macro m = {n, f};
    jj_args none = {0};
    jj_value v;
    vm->line = n->line;
    HTH_TRY(jj_call_macro(vm, &m, &none, &v));
    return put_printed(vm, v);
}

// Takes the keyword `name` out of args; false: it is not there.
static bool pop_keyword(jj_args *args, const jj_str *name, jj_value *out) {
    for (uint32_t i = 0; i < args->n_kw; i++) {
        if (!jj_str_equal(args->kw[i].key.u.s, name)) continue;
        *out = args->kw[i].value;
        memmove(&args->kw[i], &args->kw[i + 1], (--args->n_kw - i) * sizeof *args->kw);
        return true;
    }
    return false;
}

// What is left over after the parameters: caller, kwargs, varargs, or a mistake.
static hth_code bind_rest(jj_vm *vm, jj_frame *f, const jj_node *n, jj_args *args) {
    const jj_func *func = n->func;
    static const jj_str caller = {.p = "caller", .n = 6, .n_char = 6};
    int n_name = n->name && n->name->n < 60 ? (int)n->name->n : n->name ? 60 : 4;
    const char *name = n->name ? n->name->p : "None";
    jj_value v;
    if (func->ends_with_caller) {
        if (!pop_keyword(args, &caller, &v) || v.kind == HTH_JINJA_NONE) {
            HTH_TRY(jj_undefined_hint(vm, "No caller defined", &v));
        }
        *jj_slot(f, func->caller) = v;
    }
    if (func->takes_kwargs) {
        HTH_TRY(jj_new_dict(vm, &v));
        for (uint32_t i = 0; i < args->n_kw; i++) HTH_TRY(jj_dict_set(vm, v.u.dict, args->kw[i].key, args->kw[i].value));
        *jj_slot(f, func->kwargs) = v;
    } else if (args->n_kw > 0) {
        const jj_str *key = args->kw[0].key.u.s;
        if (pop_keyword(args, &caller, &v)) {
            return jj_fail(vm, JJ_TYPE_ERROR, "macro '%.*s' was invoked with two values for the special caller argument."
                                              " This is most likely a bug.", n_name, name);
        }
        return jj_fail(vm, JJ_TYPE_ERROR, "macro '%.*s' takes no keyword argument '%.*s'", n_name, name,
                       jj_shown(key), key->p);
    }
    uint32_t left = args->n_pos > n->list.n ? args->n_pos - n->list.n : 0;
    if (func->takes_varargs) {
        HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, left, &v));
        for (uint32_t i = 0; i < left; i++) v.u.list->items[i] = args->pos[n->list.n + i];
        *jj_slot(f, func->varargs) = v;
    } else if (left > 0) {
        return jj_fail(vm, JJ_TYPE_ERROR, "macro '%.*s' takes not more than %u argument(s)", n_name, name, n->list.n);
    }
    return HTH_OK;
}

static hth_code fill_defaults(jj_vm *vm, jj_frame *f, const jj_node *n) {
    uint32_t n_plain = n->list.n - n->list2.n;
    for (uint32_t i = 0; i < n->list.n; i++) {
        jj_value *slot = jj_slot(f, n->func->args[i]);
        if (slot->kind != HTH_JINJA_MISSING) continue;
        if (i >= n_plain) {
            HTH_TRY(jj_eval(vm, f, n->list2.p[i - n_plain], slot));
            continue;
        }
        jj_buf b = jj_buf_make(vm);
        HTH_TRY(jj_puts(&b, "parameter '"));
        HTH_TRY(jj_put_str(&b, n->list.p[i]->name));
        HTH_TRY(jj_put(&b, "' was not provided", 19, false)); // with the zero
        HTH_TRY(jj_undefined_hint(vm, b.p, slot));
    }
    return HTH_OK;
}

static hth_code run_macro_body(jj_vm *vm, const jj_macro *m, const jj_args *given, jj_value *out) {
    const jj_node *n = m->node;
    jj_frame *f;
    jj_args args = *given;
    flow how = FLOW_ON;
    HTH_TRY(jj_new_frame(vm, n->func, m->up, &f));
    if (args.n_kw > 0) { // keywords are taken out one by one
        args.kw = jj_alloc(vm, args.n_kw, sizeof *args.kw);
        if (!args.kw) return jj_nomem(vm);
        memcpy(args.kw, given->kw, args.n_kw * sizeof *args.kw);
    }
    for (uint32_t i = 0; i < n->list.n; i++) {
        jj_value *slot = jj_slot(f, n->func->args[i]);
        if (i < args.n_pos) {
            *slot = args.pos[i];
        } else {
            (void)pop_keyword(&args, n->list.p[i]->name, slot);
        }
    }
    HTH_TRY(bind_rest(vm, f, n, &args));
    vm->line = n->line;
    jj_load_scope(vm, f, n->scope);
    HTH_TRY(fill_defaults(vm, f, n));
    return capture(vm, f, n->list3, vm->autoescape, &how, out);
}

hth_code jj_call_macro(jj_vm *vm, const jj_macro *m, const jj_args *args, jj_value *out) {
    uint32_t line = vm->line;
    HTH_TRY(jj_enter(vm));
    hth_code code = run_macro_body(vm, m, args, out);
    jj_leave(vm);
    if (code == HTH_OK) vm->line = line;
    return code;
}

// ---- blocks ----

const jj_node *jj_find_block(const hth_jinja *t, const jj_str *name) {
    for (uint32_t i = 0; i < t->n_block; i++) {
        if (jj_str_equal(t->blocks[i]->name, name)) return t->blocks[i];
    }
    return NULL;
}

static hth_code run_block(jj_vm *vm, const jj_node *n) {
    jj_frame *f;
    flow how = FLOW_ON;
    if (n->flag) return jj_fail(vm, JJ_OTHER_ERROR, "scoped blocks are not known here");
    if (n->op) return jj_fail(vm, JJ_OTHER_ERROR, "Required block '%.*s' not found", jj_shown(n->name), n->name->p);
    HTH_TRY(jj_new_frame(vm, n->func, NULL, &f));
    if (n->func->has_self) *jj_slot(f, n->func->self) = jj_pointer(HTH_JINJA_BLOCK, NULL);
    if (n->func->has_super) HTH_TRY(jj_undefined_hint(vm, "there is no parent block", jj_slot(f, n->func->super)));
    jj_load_scope(vm, f, n->scope);
    return run(vm, f, n->list, &how);
}

hth_code jj_call_block(jj_vm *vm, const jj_node *n, jj_value *out) {
    jj_buf b = jj_buf_make(vm), *outer = vm->out;
    uint32_t line = vm->line;
    HTH_TRY(jj_enter(vm));
    vm->out = &b;
    hth_code code = run_block(vm, n);
    vm->out = outer;
    jj_leave(vm);
    if (code != HTH_OK) return code;
    vm->line = line;
    return jj_take_markup(&b, vm->autoescape, out);
}

static hth_code run_loader(jj_vm *vm, jj_frame *f, const jj_node *n) {
    jj_value v;
    vm->line = n->line;
    HTH_TRY(jj_eval(vm, f, n->a, &v));
    return jj_fail(vm, JJ_TYPE_ERROR, "no loader for this environment specified");
}

static hth_code run_one(jj_vm *vm, jj_frame *f, const jj_node *n, flow *how) {
    switch (n->type) {
    case JJ_OUTPUT: return run_output(vm, f, n);
    case JJ_SET: return run_set(vm, f, n);
    case JJ_IF: return run_if(vm, f, n, how);
    case JJ_FOR: return run_for(vm, f, n, how);
    case JJ_MACRO: return run_macro(vm, f, n);
    case JJ_CALL_BLOCK: return run_call_block(vm, f, n);
    case JJ_GENERATION: return run_generation(vm, f, n);
    case JJ_SET_BLOCK: return run_set_block(vm, f, n, how);
    case JJ_FILTER_BLOCK: return run_filter_block(vm, f, n, how);
    case JJ_WITH: return run_with(vm, f, n, how);
    case JJ_AUTOESCAPE: return run_autoescape(vm, f, n, how);
    case JJ_BLOCK: vm->line = n->line; return run_block(vm, n);
    case JJ_LOADER: return run_loader(vm, f, n);
    case JJ_BREAK: *how = FLOW_BREAK; return HTH_OK;
    case JJ_CONTINUE: *how = FLOW_CONTINUE; return HTH_OK;
    default: return jj_fail(vm, JJ_OTHER_ERROR, "an expression stands where a statement is due");
    }
}

static hth_code run(jj_vm *vm, jj_frame *f, jj_nodes list, flow *how) {
    HTH_TRY(jj_enter(vm));
    hth_code code = HTH_OK;
    for (uint32_t i = 0; i < list.n && *how == FLOW_ON && code == HTH_OK; i++) {
        code = jj_step(vm, 1);
        if (code == HTH_OK) code = run_one(vm, f, list.p[i], how);
    }
    jj_leave(vm);
    return code;
}

// ---- the whole ----

hth_code jj_run_root(jj_vm *vm) {
    jj_frame *f;
    flow how = FLOW_ON;
    HTH_TRY(jj_new_frame(vm, vm->t->root, NULL, &f));
    if (vm->t->root->has_self) *jj_slot(f, vm->t->root->self) = jj_pointer(HTH_JINJA_BLOCK, NULL);
    jj_load_scope(vm, f, vm->t->scope);
    return run(vm, f, vm->t->body, &how);
}
