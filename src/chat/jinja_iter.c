// Iteration: what Python's iter() and next() do. Generators of filters are lazy here too; theirs is
// jj_next_filtered (jinja_filter.c), that of a loop's test is jj_next_tested (jinja_exec.c).
#include "chat/jinja_impl.h"

hth_code jj_iter_new(jj_vm *vm, jj_iter_kind kind, jj_value source, jj_iter **out) {
    jj_iter *it = jj_alloc(vm, 1, sizeof *it);
    if (!it) return jj_nomem(vm);
    it->kind = kind;
    it->source = source;
    *out = it;
    return HTH_OK;
}

bool jj_is_iterable(jj_value v) {
    switch (v.kind) {
    case HTH_JINJA_UNDEFINED:
    case HTH_JINJA_STR:
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE:
    case HTH_JINJA_DICT:
    case HTH_JINJA_RANGE:
    case HTH_JINJA_VIEW:
    case HTH_JINJA_LOOP:
    case HTH_JINJA_ITER: return true;
    default: return false;
    }
}

hth_code jj_iter_of(jj_vm *vm, jj_value v, jj_iter **out) {
    switch (v.kind) {
    case HTH_JINJA_UNDEFINED: // one that the sandbox made is like any other here
        return jj_iter_new(vm, JJ_ITER_EMPTY, v, out);
    case HTH_JINJA_STR: return jj_iter_new(vm, JJ_ITER_STR, v, out);
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE: return jj_iter_new(vm, JJ_ITER_LIST, v, out);
    case HTH_JINJA_DICT: return jj_iter_new(vm, JJ_ITER_DICT, v, out);
    case HTH_JINJA_RANGE: return jj_iter_new(vm, JJ_ITER_RANGE, v, out);
    case HTH_JINJA_VIEW: return jj_iter_new(vm, JJ_ITER_VIEW, v, out);
    case HTH_JINJA_LOOP: return jj_iter_new(vm, JJ_ITER_LOOP, v, out);
    case HTH_JINJA_ITER: *out = v.u.p; return HTH_OK;
    default: return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object is not iterable", jj_type_name(v));
    }
}

static hth_code pair(jj_vm *vm, jj_value a, jj_value b, jj_value *out) {
    HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, 2, out));
    out->u.list->items[0] = a;
    out->u.list->items[1] = b;
    return HTH_OK;
}

static hth_code next_char(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    const jj_str *s = it->source.u.s;
    *more = it->at < s->n;
    if (!*more) return HTH_OK;
    unsigned len;
    (void)jj_cp(s->p + it->at, s->n - (size_t)it->at, &len);
    uint32_t at = (uint32_t)it->at;
    it->at += len;
    HTH_TRY(jj_part(vm, s, at, at + len, out));
    return jj_as_markup(vm, out->u.s, false, out);
}

static hth_code next_entry(jj_vm *vm, const jj_dict *d, jj_view_kind kind, jj_iter *it, jj_value *out, bool *more) {
    *more = it->at < d->n;
    if (!*more) return HTH_OK;
    const jj_entry *e = &d->entries[it->at++];
    *out = kind == JJ_KEYS ? e->key : e->value;
    return kind == JJ_ITEMS ? pair(vm, e->key, e->value, out) : HTH_OK;
}

static hth_code next_loop(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    jj_value v;
    HTH_TRY(jj_loop_step(vm, it->source.u.p, &v, more));
    return *more ? pair(vm, v, it->source, out) : HTH_OK;
}

hth_code jj_next(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    HTH_TRY(jj_step(vm, 1));
    switch (it->kind) {
    case JJ_ITER_EMPTY: *more = false; return HTH_OK;
    case JJ_ITER_LIST:
        *more = it->at < it->source.u.list->n;
        if (*more) *out = it->source.u.list->items[it->at++];
        return HTH_OK;
    case JJ_ITER_REVERSED: // of a list; at counts from the end
        *more = it->at < it->source.u.list->n;
        if (*more) *out = it->source.u.list->items[it->source.u.list->n - 1 - it->at++];
        return HTH_OK;
    case JJ_ITER_RANGE: {
        const jj_range *r = it->source.u.p;
        *more = it->at < r->n;
        if (*more) *out = jj_int(r->start + it->at++ * r->step);
        return HTH_OK;
    }
    case JJ_ITER_STR: return next_char(vm, it, out, more);
    case JJ_ITER_DICT: return next_entry(vm, it->source.u.dict, JJ_KEYS, it, out, more);
    case JJ_ITER_ITEMS:
        *more = false;
        if (jj_is_undefined(it->source)) return HTH_OK;
        if (it->source.kind != HTH_JINJA_DICT) return jj_fail(vm, JJ_TYPE_ERROR, "Can only get item pairs from a mapping.");
        return next_entry(vm, it->source.u.dict, JJ_ITEMS, it, out, more);
    case JJ_ITER_VIEW: {
        const jj_view *view = it->source.u.p;
        return next_entry(vm, view->dict, view->kind, it, out, more);
    }
    case JJ_ITER_LOOP: return next_loop(vm, it, out, more);
    default: break;
    }
    // Generators call back into templates, so they count as nesting.
    HTH_TRY(jj_enter(vm));
    hth_code code = it->kind == JJ_ITER_TESTED ? jj_next_tested(vm, it, out, more)
                                               : jj_next_filtered(vm, it, out, more);
    jj_leave(vm);
    return code;
}
