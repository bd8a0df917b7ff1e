// Filters over values and sequences. Filters that make texts are in jinja_filter_text.c.
#include "chat/jinja_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ARGS jj_vm *vm, jj_value v, const jj_args *args, jj_value *out

static bool is_given(jj_value v) {
    return v.kind != HTH_JINJA_MISSING && v.kind != HTH_JINJA_NONE;
}

static hth_code no_arguments(jj_vm *vm, const char *what, const jj_args *args) {
    if (args->n_pos + args->n_kw == 0) return HTH_OK;
    return jj_fail(vm, JJ_TYPE_ERROR, "%s() takes no arguments (%u given)", what, args->n_pos + args->n_kw);
}

// ---- attributes by path ----

static bool is_number_text(const jj_str *s, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        if (s->p[i] < '0' || s->p[i] > '9') return false;
    }
    return to > from && to - from < 10;
}

static hth_code follow(jj_vm *vm, jj_value item, const jj_str *path, jj_value dflt, jj_value *out) {
    *out = item;
    for (uint32_t at = 0; at <= path->n;) {
        uint32_t end = at;
        while (end < path->n && path->p[end] != '.') end++;
        jj_value key;
        HTH_TRY(jj_part(vm, path, at, end, &key));
        if (is_number_text(path, at, end)) key = jj_int(strtol(path->p + at, NULL, 10));
        HTH_TRY(jj_getitem(vm, *out, key, out));
        if (is_given(dflt) && jj_is_undefined(*out)) *out = dflt;
        at = end + 1;
    }
    return HTH_OK;
}

static hth_code attribute_or(jj_vm *vm, jj_value item, jj_value path, jj_value dflt, jj_value *out) {
    *out = item;
    if (!is_given(path)) return HTH_OK;
    if (jj_is_str(path)) return follow(vm, item, path.u.s, dflt, out);
    HTH_TRY(jj_getitem(vm, item, path, out));
    if (is_given(dflt) && jj_is_undefined(*out)) *out = dflt;
    return HTH_OK;
}

hth_code jj_attribute(jj_vm *vm, jj_value item, jj_value path, jj_value *out) {
    return attribute_or(vm, item, path, JJ_NIL, out);
}

static hth_code ignore_case(jj_vm *vm, jj_value v, jj_value *out) {
    *out = v;
    return jj_is_str(v) ? jj_case(vm, v.u.s, 'l', out) : HTH_OK;
}

static hth_code key_of(jj_vm *vm, jj_value item, jj_value path, bool case_sensitive, jj_value *out) {
    HTH_TRY(jj_attribute(vm, item, path, out));
    return case_sensitive ? HTH_OK : ignore_case(vm, *out, out);
}

// sort's attribute may be several, separated by commas: the key is a list then, always.
static hth_code sort_key(jj_vm *vm, jj_value item, jj_value path, bool case_sensitive, jj_value *out) {
    jj_growing parts = {0};
    jj_value key;
    if (!jj_is_str(path)) {
        HTH_TRY(key_of(vm, item, path, case_sensitive, &key));
        HTH_TRY(jj_add(vm, &parts, key));
        return jj_grown(vm, &parts, HTH_JINJA_LIST, out);
    }
    for (uint32_t at = 0; at <= path.u.s->n;) {
        uint32_t end = at;
        while (end < path.u.s->n && path.u.s->p[end] != ',') end++;
        jj_value one;
        HTH_TRY(jj_part(vm, path.u.s, at, end, &one));
        HTH_TRY(key_of(vm, item, one, case_sensitive, &key));
        HTH_TRY(jj_add(vm, &parts, key));
        at = end + 1;
    }
    return jj_grown(vm, &parts, HTH_JINJA_LIST, out);
}

// ---- lazy filters ----

static hth_code lazy(jj_vm *vm, jj_iter_kind kind, jj_value v, const jj_args *args, jj_iter **it, jj_value *out) {
    HTH_TRY(jj_iter_new(vm, kind, v, it));
    (*it)->args = *args;
    *out = jj_pointer(HTH_JINJA_ITER, *it);
    return HTH_OK;
}

static hth_code do_map(ARGS) {
    jj_iter *it;
    HTH_TRY(lazy(vm, JJ_ITER_MAP, v, args, &it, out));
    return HTH_OK;
}

static hth_code select_by(ARGS, bool negate, bool by_attribute) {
    jj_iter *it;
    HTH_TRY(lazy(vm, JJ_ITER_SELECT, v, args, &it, out));
    it->negate = negate;
    it->by_attribute = by_attribute;
    return HTH_OK;
}

static hth_code do_select(ARGS) {
    return select_by(vm, v, args, out, false, false);
}

static hth_code do_reject(ARGS) {
    return select_by(vm, v, args, out, true, false);
}

static hth_code do_selectattr(ARGS) {
    return select_by(vm, v, args, out, false, true);
}

static hth_code do_rejectattr(ARGS) {
    return select_by(vm, v, args, out, true, true);
}

static hth_code do_unique(ARGS) {
    jj_iter *it;
    jj_value a[2];
    HTH_TRY(jj_bind(vm, "unique", args, "case_sensitive attribute", 0, a));
    HTH_TRY(lazy(vm, JJ_ITER_UNIQUE, v, args, &it, out));
    it->by_attribute = jj_truth(a[0]); // case sensitive
    it->attribute = a[1];
    return jj_new_dict(vm, &it->extra);
}

static hth_code lazy_count(ARGS, jj_iter_kind kind, const char *what) {
    jj_iter *it;
    jj_value a[2];
    HTH_TRY(jj_bind(vm, what, args, "count fill_with", 1, a));
    HTH_TRY(lazy(vm, kind, v, args, &it, out));
    it->attribute = a[0];
    it->extra = a[1];
    return HTH_OK;
}

static hth_code do_batch(ARGS) {
    return lazy_count(vm, v, args, out, JJ_ITER_BATCH, "batch");
}

static hth_code do_slice(ARGS) {
    return lazy_count(vm, v, args, out, JJ_ITER_SLICE, "slice");
}

// What a generator does when it is first asked: arguments are checked, the source is opened.
static hth_code open_map(jj_vm *vm, jj_iter *it) {
    if (it->args.n_pos > 0) return HTH_OK;
    for (uint32_t i = 0; i < it->args.n_kw; i++) {
        const jj_str *key = it->args.kw[i].key.u.s;
        if (jj_str_is(key, "attribute")) it->attribute = it->args.kw[i].value;
    }
    if (it->attribute.kind == HTH_JINJA_MISSING) return jj_fail(vm, JJ_TEMPLATE_ERROR, "map requires a filter argument");
    for (uint32_t i = 0; i < it->args.n_kw; i++) {
        const jj_str *key = it->args.kw[i].key.u.s;
        if (jj_str_is(key, "default")) {
            it->dflt = it->args.kw[i].value;
        } else if (!jj_str_is(key, "attribute")) {
            return jj_fail(vm, JJ_TEMPLATE_ERROR, "Unexpected keyword argument '%.*s'", jj_shown(key), key->p);
        }
    }
    return HTH_OK;
}

static hth_code open_select(jj_vm *vm, jj_iter *it) {
    if (!it->by_attribute) return HTH_OK;
    if (it->args.n_pos == 0) return jj_fail(vm, JJ_TEMPLATE_ERROR, "Missing parameter for attribute name");
    it->attribute = it->args.pos[0];
    it->args.pos++;
    it->args.n_pos--;
    return HTH_OK;
}

static hth_code open_slice(jj_vm *vm, jj_iter *it) {
    HTH_TRY(jj_collect(vm, it->source, &it->source));
    if (!jj_is_int(it->attribute)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "unsupported operand type(s) for //: 'int' and '%s'", jj_type_name(it->attribute));
    }
    if (jj_int_of(it->attribute) == 0) return jj_fail(vm, JJ_ZERO_DIVISION_ERROR, "integer division or modulo by zero");
    return HTH_OK;
}

static hth_code open_filtered(jj_vm *vm, jj_iter *it, bool *is_empty) {
    it->is_open = true;
    *is_empty = false;
    if (it->kind == JJ_ITER_MAP || it->kind == JJ_ITER_SELECT) {
        if (!jj_truth(it->source)) { // `if value:` comes first
            it->kind = JJ_ITER_EMPTY;
            *is_empty = true;
            return HTH_OK;
        }
        HTH_TRY(it->kind == JJ_ITER_MAP ? open_map(vm, it) : open_select(vm, it));
    }
    if (it->kind == JJ_ITER_SLICE) HTH_TRY(open_slice(vm, it));
    return jj_iter_of(vm, it->source, &it->from);
}

static jj_args rest_of(const jj_args *args) {
    jj_args rest = *args;
    rest.pos++;
    rest.n_pos--;
    return rest;
}

static hth_code next_mapped(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    jj_value item;
    HTH_TRY(jj_next(vm, it->from, &item, more));
    if (!*more) return HTH_OK;
    if (it->args.n_pos == 0) return attribute_or(vm, item, it->attribute, it->dflt, out);
    jj_value name = it->args.pos[0];
    const jj_filter_row *row = jj_is_str(name) ? jj_find_filter(name.u.s) : NULL;
    if (!row) {
        int n = jj_is_str(name) ? (jj_shown(name.u.s)) : 0;
        return jj_fail(vm, JJ_TEMPLATE_ERROR, "No filter named '%.*s'.", n, n ? name.u.s->p : "");
    }
    jj_args rest = rest_of(&it->args);
    return row->call(vm, item, &rest, out);
}

static hth_code passes(jj_vm *vm, jj_iter *it, jj_value item, bool *out) {
    if (it->by_attribute) HTH_TRY(jj_attribute(vm, item, it->attribute, &item));
    if (it->args.n_pos == 0) {
        *out = jj_truth(item) != it->negate;
        return HTH_OK;
    }
    jj_value name = it->args.pos[0];
    const jj_test_row *row = jj_is_str(name) ? jj_find_test(name.u.s) : NULL;
    if (!row) {
        int n = jj_is_str(name) ? (jj_shown(name.u.s)) : 0;
        return jj_fail(vm, JJ_TEMPLATE_ERROR, "No test named '%.*s'.", n, n ? name.u.s->p : "");
    }
    jj_args rest = rest_of(&it->args);
    HTH_TRY(row->call(vm, item, &rest, out));
    *out = *out != it->negate;
    return HTH_OK;
}

static hth_code next_selected(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    for (bool ok = false; !ok;) {
        HTH_TRY(jj_next(vm, it->from, out, more));
        if (!*more) return HTH_OK;
        HTH_TRY(passes(vm, it, *out, &ok));
    }
    return HTH_OK;
}

static hth_code next_unique(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    for (;;) {
        jj_value key, *seen;
        HTH_TRY(jj_next(vm, it->from, out, more));
        if (!*more) return HTH_OK;
        HTH_TRY(key_of(vm, *out, it->attribute, it->by_attribute, &key));
        HTH_TRY(jj_dict_find(vm, it->extra.u.dict, key, &seen));
        if (seen) continue;
        return jj_dict_set(vm, it->extra.u.dict, key, JJ_PY_NONE);
    }
}

static hth_code next_batch(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    jj_growing g = {0};
    if (!jj_is_int(it->attribute)) return jj_fail(vm, JJ_TYPE_ERROR, "batch wants a whole number");
    int64_t n = jj_int_of(it->attribute);
    jj_value item;
    bool got = true;
    // A batch is passed on when the next item shows that it is full; counts below 1 never are.
    while (n < 1 || (int64_t)g.n < n) {
        HTH_TRY(jj_next(vm, it->from, &item, &got));
        if (!got) break;
        HTH_TRY(jj_add(vm, &g, item));
    }
    *more = g.n > 0;
    if (!*more) return HTH_OK;
    while (!got && is_given(it->extra) && (int64_t)g.n < n) HTH_TRY(jj_add(vm, &g, it->extra));
    return jj_grown(vm, &g, HTH_JINJA_LIST, out);
}

static hth_code next_slice(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    const jj_list *all = it->source.u.list;
    int64_t slices = jj_int_of(it->attribute), i = it->at++;
    *more = i < slices;
    if (!*more) return HTH_OK;
    int64_t per = all->n / slices, extra = all->n % slices;
    int64_t start = i * per + (i < extra ? i : extra), end = (i + 1) * per + (i + 1 < extra ? i + 1 : extra);
    jj_growing g = {0};
    for (int64_t k = start; k < end; k++) HTH_TRY(jj_add(vm, &g, all->items[k]));
    if (is_given(it->extra) && i >= extra) HTH_TRY(jj_add(vm, &g, it->extra));
    return jj_grown(vm, &g, HTH_JINJA_LIST, out);
}

hth_code jj_next_filtered(jj_vm *vm, jj_iter *it, jj_value *out, bool *more) {
    bool is_empty = false;
    if (!it->is_open) HTH_TRY(open_filtered(vm, it, &is_empty));
    if (is_empty) {
        *more = false;
        return HTH_OK;
    }
    switch (it->kind) {
    case JJ_ITER_MAP: return next_mapped(vm, it, out, more);
    case JJ_ITER_SELECT: return next_selected(vm, it, out, more);
    case JJ_ITER_UNIQUE: return next_unique(vm, it, out, more);
    case JJ_ITER_BATCH: return next_batch(vm, it, out, more);
    default: return next_slice(vm, it, out, more);
    }
}

// ---- sequences ----

static hth_code do_length(ARGS) {
    int64_t n;
    HTH_TRY(no_arguments(vm, "length", args));
    HTH_TRY(jj_length(vm, v, &n));
    *out = jj_int(n);
    return HTH_OK;
}

static hth_code do_list(ARGS) {
    HTH_TRY(no_arguments(vm, "list", args));
    return jj_collect(vm, v, out);
}

static hth_code do_items(ARGS) {
    jj_iter *it;
    HTH_TRY(no_arguments(vm, "items", args));
    HTH_TRY(jj_iter_new(vm, JJ_ITER_ITEMS, v, &it));
    *out = jj_pointer(HTH_JINJA_ITER, it);
    return HTH_OK;
}

static hth_code do_first(ARGS) {
    jj_iter *it;
    bool more;
    HTH_TRY(no_arguments(vm, "first", args));
    HTH_TRY(jj_iter_of(vm, v, &it));
    HTH_TRY(jj_next(vm, it, out, &more));
    return more ? HTH_OK : jj_undefined_hint(vm, "No first item, sequence was empty.", out);
}

// The items in reverse, for what Python can reverse.
static hth_code reversible(jj_vm *vm, jj_value v, jj_value *out) {
    if (v.kind == HTH_JINJA_ITER || !jj_is_iterable(v) || v.kind == HTH_JINJA_LOOP) {
        return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object is not reversible", jj_type_name(v));
    }
    *out = v;
    return jj_is_seq(v) ? HTH_OK : jj_collect(vm, v, out);
}

static hth_code do_last(ARGS) {
    jj_value list;
    HTH_TRY(no_arguments(vm, "last", args));
    HTH_TRY(reversible(vm, v, &list));
    if (list.u.list->n == 0) return jj_undefined_hint(vm, "No last item, sequence was empty.", out);
    *out = list.u.list->items[list.u.list->n - 1];
    return HTH_OK;
}

static hth_code do_reverse(ARGS) {
    jj_iter *it;
    HTH_TRY(no_arguments(vm, "reverse", args));
    if (jj_is_str(v)) {
        jj_slice back = {{JJ_PY_NONE, JJ_PY_NONE, jj_int(-1)}};
        return jj_slice_value(vm, v, &back, out);
    }
    if (v.kind == HTH_JINJA_ITER) { // no __reversed__: a list is made
        jj_value list;
        HTH_TRY(jj_collect(vm, v, &list));
        for (uint32_t i = 0, n = list.u.list->n; i < n / 2; i++) {
            jj_value other = list.u.list->items[i];
            list.u.list->items[i] = list.u.list->items[n - 1 - i];
            list.u.list->items[n - 1 - i] = other;
        }
        *out = list;
        return HTH_OK;
    }
    if (!jj_is_iterable(v)) return jj_fail(vm, JJ_TEMPLATE_ERROR, "argument must be iterable");
    HTH_TRY(reversible(vm, v, &v));
    HTH_TRY(jj_iter_new(vm, JJ_ITER_REVERSED, v, &it));
    *out = jj_pointer(HTH_JINJA_ITER, it);
    return HTH_OK;
}

static hth_code do_random(ARGS) {
    int64_t n;
    HTH_TRY(no_arguments(vm, "random", args));
    HTH_TRY(jj_length(vm, v, &n));
    if (n == 0) return jj_undefined_hint(vm, "No random item, sequence was empty.", out);
    vm->random = vm->random * 6364136223846793005u + 1442695040888963407u;
    return jj_getitem(vm, v, jj_int((int64_t)(vm->random >> 33) % n), out);
}

static hth_code keys_for(jj_vm *vm, const jj_list *items, jj_value **out) {
    *out = jj_alloc(vm, (size_t)items->n + 1, sizeof **out);
    return *out ? HTH_OK : jj_nomem(vm);
}

static hth_code do_sort(ARGS) {
    jj_value a[3], *keys;
    HTH_TRY(jj_bind(vm, "sort", args, "reverse case_sensitive attribute", 0, a));
    HTH_TRY(jj_collect(vm, v, out));
    HTH_TRY(keys_for(vm, out->u.list, &keys));
    for (uint32_t i = 0; i < out->u.list->n; i++) {
        HTH_TRY(sort_key(vm, out->u.list->items[i], a[2], jj_truth(a[1]), &keys[i]));
    }
    return jj_sort(vm, out->u.list->items, keys, out->u.list->n, jj_truth(a[0]));
}

static hth_code do_dictsort(ARGS) {
    jj_value a[3], *keys;
    HTH_TRY(jj_bind(vm, "dictsort", args, "case_sensitive by reverse", 0, a));
    bool by_value = jj_is_str(a[1]) && jj_str_is(a[1].u.s, "value");
    if (a[1].kind != HTH_JINJA_MISSING && !by_value && !(jj_is_str(a[1]) && jj_str_is(a[1].u.s, "key"))) {
        return jj_fail(vm, JJ_TEMPLATE_ERROR, "You can only sort by either \"key\" or \"value\"");
    }
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (v.kind != HTH_JINJA_DICT) return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object has no attribute 'items'", jj_type_name(v));
    jj_view view = {v.u.dict, JJ_ITEMS};
    HTH_TRY(jj_collect(vm, jj_pointer(HTH_JINJA_VIEW, &view), out));
    HTH_TRY(keys_for(vm, out->u.list, &keys));
    for (uint32_t i = 0; i < out->u.list->n; i++) {
        keys[i] = out->u.list->items[i].u.list->items[by_value];
        if (!jj_truth(a[0])) HTH_TRY(ignore_case(vm, keys[i], &keys[i]));
    }
    return jj_sort(vm, out->u.list->items, keys, out->u.list->n, jj_truth(a[2]));
}

static hth_code group_pair(jj_vm *vm, jj_value key, jj_growing *members, jj_growing *groups) {
    jj_value pair, list;
    HTH_TRY(jj_grown(vm, members, HTH_JINJA_LIST, &list));
    HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, 2, &pair));
    pair.u.list->items[0] = key;
    pair.u.list->items[1] = list;
    jj_list *tuple = jj_alloc(vm, 1, sizeof *tuple);
    if (!tuple) return jj_nomem(vm);
    *tuple = *pair.u.list;
    tuple->is_group = true;
    pair.u.list = tuple;
    *members = (jj_growing){0};
    return jj_add(vm, groups, pair);
}

static hth_code do_groupby(ARGS) {
    jj_value a[3], all, *keys;
    HTH_TRY(jj_bind(vm, "groupby", args, "attribute default case_sensitive", 1, a));
    HTH_TRY(jj_collect(vm, v, &all));
    HTH_TRY(keys_for(vm, all.u.list, &keys));
    uint32_t n = all.u.list->n;
    bool folds = !jj_truth(a[2]);
    for (uint32_t i = 0; i < n; i++) {
        HTH_TRY(attribute_or(vm, all.u.list->items[i], a[0], a[1], &keys[i]));
        if (folds) HTH_TRY(ignore_case(vm, keys[i], &keys[i]));
    }
    HTH_TRY(jj_sort(vm, all.u.list->items, keys, n, false));
    jj_growing groups = {0}, members = {0};
    for (uint32_t i = 0; i < n; i++) {
        bool same = false;
        HTH_TRY(jj_add(vm, &members, all.u.list->items[i]));
        if (i + 1 < n) HTH_TRY(jj_equal(vm, keys[i], keys[i + 1], &same));
        if (same) continue;
        jj_value key = keys[i];
        if (folds) HTH_TRY(attribute_or(vm, members.items[0], a[0], a[1], &key));
        HTH_TRY(group_pair(vm, key, &members, &groups));
    }
    return jj_grown(vm, &groups, HTH_JINJA_LIST, out);
}

static hth_code min_or_max(ARGS, jj_op op) {
    jj_value a[2], item, key, best;
    jj_iter *it;
    bool more;
    HTH_TRY(jj_bind(vm, "min", args, "case_sensitive attribute", 0, a));
    HTH_TRY(jj_iter_of(vm, v, &it));
    HTH_TRY(jj_next(vm, it, out, &more));
    if (!more) return jj_undefined_hint(vm, "No aggregated item, sequence was empty.", out);
    HTH_TRY(key_of(vm, *out, a[1], jj_truth(a[0]), &best));
    for (;;) {
        bool better;
        HTH_TRY(jj_next(vm, it, &item, &more));
        if (!more) return HTH_OK;
        HTH_TRY(key_of(vm, item, a[1], jj_truth(a[0]), &key));
        HTH_TRY(jj_compare(vm, op, key, best, &better));
        if (!better) continue;
        *out = item;
        best = key;
    }
}

static hth_code do_min(ARGS) {
    return min_or_max(vm, v, args, out, JJ_LT);
}

static hth_code do_max(ARGS) {
    return min_or_max(vm, v, args, out, JJ_GT);
}

static hth_code do_sum(ARGS) {
    jj_value a[2], item;
    jj_iter *it;
    bool more;
    HTH_TRY(jj_bind(vm, "sum", args, "attribute start", 0, a));
    *out = a[1].kind == HTH_JINJA_MISSING ? jj_int(0) : a[1];
    if (jj_is_str(*out)) return jj_fail(vm, JJ_TYPE_ERROR, "sum() can't sum strings [use ''.join(seq) instead]");
    HTH_TRY(jj_iter_of(vm, v, &it));
    for (;;) {
        HTH_TRY(jj_next(vm, it, &item, &more));
        if (!more) return HTH_OK;
        HTH_TRY(jj_attribute(vm, item, a[0], &item));
        HTH_TRY(jj_binary(vm, JJ_ADD, *out, item, out));
    }
}

// ---- single values ----

static hth_code do_default(ARGS) {
    jj_value a[2];
    HTH_TRY(jj_bind(vm, "default", args, "default_value boolean", 0, a));
    *out = v;
    if (!jj_is_undefined(v) && !(jj_truth(a[1]) && !jj_truth(v))) return HTH_OK;
    if (a[0].kind == HTH_JINJA_MISSING) return jj_text(vm, "", out);
    *out = a[0];
    return HTH_OK;
}

static hth_code do_attr(ARGS) {
    jj_value a[1];
    bool found;
    HTH_TRY(jj_bind(vm, "attr", args, "name", 1, a));
    if (!jj_is_str(a[0])) return jj_fail(vm, JJ_TYPE_ERROR, "attribute name must be string, not '%s'", jj_type_name(a[0]));
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    // An attribute, never an item: of a dict only its methods.
    found = v.kind == HTH_JINJA_DICT ? jj_find_method(v, a[0].u.s) != NULL : true;
    return found ? jj_getattr(vm, v, a[0].u.s, out) : jj_undefined_of(vm, v, a[0], false, out);
}

static hth_code do_abs(ARGS) {
    HTH_TRY(no_arguments(vm, "abs", args));
    if (!jj_is_number(v)) {
        if (jj_is_undefined(v)) return jj_fail(vm, JJ_TYPE_ERROR, "bad operand type for abs(): 'Undefined'");
        return jj_fail(vm, JJ_TYPE_ERROR, "bad operand type for abs(): '%s'", jj_type_name(v));
    }
    bool minus = v.kind == HTH_JINJA_FLOAT ? signbit(v.u.d) : v.kind == HTH_JINJA_BIG ? v.u.s->p[0] == '-' : jj_int_of(v) < 0;
    return jj_negate(vm, v, minus, out);
}

// The error that Python's except clause swallowed.
static bool is_conversion_error(const jj_vm *vm) {
    return vm->exc == JJ_TYPE_ERROR || vm->exc == JJ_VALUE_ERROR;
}

static hth_code do_int(ARGS) {
    jj_value a[2];
    double d;
    HTH_TRY(jj_bind(vm, "int", args, "default base", 0, a));
    int base = jj_is_int(a[1]) && jj_int_of(a[1]) >= 0 && jj_int_of(a[1]) <= 36 ? (int)jj_int_of(a[1]) : 10;
    hth_code code = jj_to_int(vm, v, base, out);
    if (code == HTH_OK || !is_conversion_error(vm)) return code;
    *out = a[0].kind == HTH_JINJA_MISSING ? jj_int(0) : a[0];
    code = jj_to_float(vm, v, &d);
    jj_value whole;
    if (code == HTH_OK) code = jj_to_int(vm, jj_float(d), 10, &whole);
    if (code == HTH_OK) *out = whole;
    return code == HTH_OK || is_conversion_error(vm) || vm->exc == JJ_OVERFLOW_ERROR ? HTH_OK : code;
}

static hth_code do_float(ARGS) {
    jj_value a[1];
    double d;
    HTH_TRY(jj_bind(vm, "float", args, "default", 0, a));
    hth_code code = jj_to_float(vm, v, &d);
    if (code != HTH_OK && !is_conversion_error(vm)) return code;
    *out = code == HTH_OK ? jj_float(d) : a[0].kind == HTH_JINJA_MISSING ? jj_float(0) : a[0];
    return HTH_OK;
}

// round(d, n): the nearest decimal, as CPython finds it, by printing.
static double round_to(double d, int64_t n) {
    char text[512];
    if (!isfinite(d) || n > 300) return d;
    if (n >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)n, d);
        return strtod(text, NULL);
    }
    double by = n < -308 ? INFINITY : pow(10, (double)-n);
    return isinf(by) ? copysign(0, d) : rint(d / by) * by;
}

static hth_code do_round(ARGS) {
    jj_value a[2];
    HTH_TRY(jj_bind(vm, "round", args, "precision method", 0, a));
    const jj_str *method = jj_is_str(a[1]) ? a[1].u.s : NULL;
    bool ceils = method && jj_str_is(method, "ceil"), floors = method && jj_str_is(method, "floor");
    bool common = a[1].kind == HTH_JINJA_MISSING || (method && jj_str_is(method, "common"));
    if (!ceils && !floors && !common) return jj_fail(vm, JJ_TEMPLATE_ERROR, "method must be common, ceil or floor");
    int64_t n = jj_is_int(a[0]) ? jj_int_of(a[0]) : 0;
    if (is_given(a[0]) && !jj_is_int(a[0])) {
        return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object cannot be interpreted as an integer", jj_type_name(a[0]));
    }
    if (!jj_is_number(v)) {
        if (jj_is_undefined(v) && !common) return jj_fail_undefined(vm, v);
        return jj_fail(vm, JJ_TYPE_ERROR, "type %s doesn't define __round__ method", jj_type_name(v));
    }
    if (common && v.kind != HTH_JINJA_FLOAT) {
        *out = v.kind == HTH_JINJA_BOOL ? jj_int(v.u.b) : v;
        if (n >= 0 || v.kind == HTH_JINJA_BIG) return HTH_OK;
        *out = jj_int((int64_t)round_to((double)jj_int_of(v), n));
        return HTH_OK;
    }
    double d = jj_float_of(v), by = pow(10, (double)n);
    if (common) {
        *out = jj_float(round_to(d, n));
        return HTH_OK;
    }
    double whole = ceils ? ceil(d * by) : floor(d * by);
    *out = jj_float(whole / by);
    return HTH_OK;
}

// ---- the table ----

static const jj_filter_row rows[] = {
    {"abs", do_abs}, {"attr", do_attr}, {"batch", do_batch}, {"count", do_length}, {"d", do_default},
    {"default", do_default}, {"dictsort", do_dictsort}, {"first", do_first}, {"float", do_float},
    {"groupby", do_groupby}, {"int", do_int}, {"items", do_items}, {"last", do_last}, {"length", do_length},
    {"list", do_list}, {"map", do_map}, {"max", do_max}, {"min", do_min}, {"random", do_random},
    {"reject", do_reject}, {"rejectattr", do_rejectattr}, {"reverse", do_reverse}, {"round", do_round},
    {"select", do_select}, {"selectattr", do_selectattr}, {"slice", do_slice}, {"sort", do_sort}, {"sum", do_sum},
    {"tojson", jj_tojson}, {"unique", do_unique}, {0},
};

const jj_filter_row *jj_find_filter(const jj_str *name) {
    for (const jj_filter_row *row = rows; row->name; row++) {
        if (jj_str_is(name, row->name)) return row;
    }
    for (const jj_filter_row *row = jj_text_filters; row->name; row++) {
        if (jj_str_is(name, row->name)) return row;
    }
    return NULL;
}
