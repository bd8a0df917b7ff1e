// Values: memory, dicts, truth, equality, order, length; and how callers build them.
#include "chat/jinja_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

#define SMALL_DICT 8
#define MAX_ENTRIES ((uint32_t)1 << 24)

// ---- the machine's limits and errors ----

static hth_code code_of(jj_exc exc) {
    return exc == JJ_LIMIT ? HTH_ERR_LIMIT : HTH_ERR_FORMAT;
}

hth_code jj_fail(jj_vm *vm, jj_exc exc, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    vm->exc = exc;
    vm->failed = NULL;
    vm->failed_line = vm->line;
    return hth_fail(vm->err, code_of(exc), "%s", text);
}

hth_code jj_nomem(jj_vm *vm) {
    if (vm->arena.total_bytes + (1u << 16) < vm->limits.max_bytes / 2) {
        vm->exc = JJ_LIMIT;
        vm->failed_line = vm->line;
        return hth_fail_nomem(vm->err, 0);
    }
    return jj_fail(vm, JJ_LIMIT, "more memory than %llu bytes", (unsigned long long)vm->limits.max_bytes);
}

hth_code jj_step(jj_vm *vm, uint64_t n) {
    if (vm->steps > n) {
        vm->steps -= n;
        return HTH_OK;
    }
    vm->steps = 0;
    return jj_fail(vm, JJ_LIMIT, "more than %llu steps", (unsigned long long)vm->limits.max_steps);
}

void *jj_alloc(jj_vm *vm, size_t count, size_t size) {
    return hth_arena_alloc(&vm->arena, count, size);
}

hth_code jj_enter(jj_vm *vm) {
    if (vm->depth < vm->limits.max_depth) {
        vm->depth++;
        return HTH_OK;
    }
    return jj_fail(vm, JJ_LIMIT, "nesting deeper than %d", vm->limits.max_depth);
}

void jj_leave(jj_vm *vm) {
    vm->depth--;
}

// ---- lists ----

hth_code jj_new_list(jj_vm *vm, hth_jinja_kind kind, size_t n, jj_value *out) {
    HTH_TRY(jj_step(vm, n / 4));
    jj_list *list = jj_alloc(vm, 1, sizeof *list);
    if (list) list->items = jj_alloc(vm, n + 1, sizeof *list->items);
    if (!list || !list->items) return jj_nomem(vm);
    list->n = (uint32_t)n;
    *out = (jj_value){.kind = kind, .u.list = list};
    return HTH_OK;
}

hth_code jj_add(jj_vm *vm, jj_growing *g, jj_value v) {
    HTH_TRY(jj_step(vm, 1));
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 8;
        if (cap > MAX_ENTRIES) return jj_fail(vm, JJ_LIMIT, "a list of more than %u items", MAX_ENTRIES);
        jj_value *items = jj_alloc(vm, cap, sizeof *items);
        if (!items) return jj_nomem(vm);
        if (g->n > 0) memcpy(items, g->items, g->n * sizeof *items);
        g->items = items;
        g->cap = cap;
    }
    g->items[g->n++] = v;
    return HTH_OK;
}

hth_code jj_grown(jj_vm *vm, const jj_growing *g, hth_jinja_kind kind, jj_value *out) {
    jj_list *list = jj_alloc(vm, 1, sizeof *list);
    if (!list) return jj_nomem(vm);
    static jj_value none; // never written: an empty list has a place too
    *list = (jj_list){.items = g->items ? g->items : &none, .n = (uint32_t)g->n};
    *out = (jj_value){.kind = kind, .u.list = list};
    return HTH_OK;
}

// ---- dicts ----

static uint32_t hash_bits(uint64_t v) {
    v ^= v >> 32;
    v *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(v >> 32) | 1u;
}

static uint32_t hash_float(double d) { // a whole number hashes as the integer does
    if (d >= -9e18 && d <= 9e18 && d == floor(d)) return hash_bits((uint64_t)(int64_t)d);
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return hash_bits(bits);
}

// False for what Python cannot hash.
static bool hash_of(jj_value v, int depth, uint32_t *out) {
    switch (v.kind) {
    case HTH_JINJA_STR:
    case HTH_JINJA_BIG: *out = jj_str_hash(v.u.s); return true;
    case HTH_JINJA_BOOL:
    case HTH_JINJA_INT: *out = hash_bits((uint64_t)jj_int_of(v)); return true;
    case HTH_JINJA_FLOAT: *out = hash_float(v.u.d); return true;
    case HTH_JINJA_NONE: *out = 3; return true;
    case HTH_JINJA_UNDEFINED: *out = 5; return true;
    case HTH_JINJA_LIST:
    case HTH_JINJA_DICT:
    case HTH_JINJA_SLICE:
    case HTH_JINJA_VIEW: return false;
    case HTH_JINJA_TUPLE: {
        uint64_t h = 7;
        for (uint32_t i = 0; i < v.u.list->n; i++) {
            uint32_t part;
            if (depth > 32 || !hash_of(v.u.list->items[i], depth + 1, &part)) return false;
            h = h * 1000003u + part;
        }
        *out = hash_bits(h);
        return true;
    }
    default: *out = hash_bits((uint64_t)(uintptr_t)v.u.p); return true;
    }
}

hth_code jj_new_dict(jj_vm *vm, jj_value *out) {
    jj_dict *d = jj_alloc(vm, 1, sizeof *d);
    if (!d) return jj_nomem(vm);
    *out = (jj_value){.kind = HTH_JINJA_DICT, .u.dict = d};
    return HTH_OK;
}

static void index_entry(jj_dict *d, uint32_t entry) {
    uint32_t mask = d->n_index - 1, at = d->entries[entry].hash & mask;
    while (d->index[at]) at = (at + 1) & mask;
    d->index[at] = entry + 1;
}

// The entry of a key by its hash; vm NULL: string keys only. Fails only where comparing keys fails.
static hth_code find_entry(jj_vm *vm, const jj_dict *d, jj_value key, uint32_t hash, jj_entry **out) {
    uint32_t mask = d->n_index - 1, at = hash & (d->index ? mask : 0), i = 0;
    for (*out = NULL;; i++) {
        uint32_t k = i;
        if (d->index) {
            if (!d->index[at]) return HTH_OK;
            k = d->index[at] - 1;
            at = (at + 1) & mask;
        } else if (i == d->n) {
            return HTH_OK;
        }
        jj_entry *e = &d->entries[k];
        if (e->hash != hash) continue;
        bool same = jj_is_str(key) && jj_is_str(e->key) && jj_str_equal(key.u.s, e->key.u.s);
        if (!same && vm && !(jj_is_str(key) && jj_is_str(e->key))) HTH_TRY(jj_equal(vm, key, e->key, &same));
        if (!same) continue;
        *out = e;
        return HTH_OK;
    }
}

static bool grow_dict(hth_arena *a, jj_dict *d) {
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? 2 * d->cap : 4;
        jj_entry *entries = cap > MAX_ENTRIES ? NULL : hth_arena_alloc(a, cap, sizeof *entries);
        if (!entries) return false;
        if (d->n > 0) memcpy(entries, d->entries, d->n * sizeof *entries);
        d->entries = entries;
        d->cap = cap;
    }
    if (d->n < SMALL_DICT || 2 * (d->n + 1) <= d->n_index) return true;
    uint32_t n_index = d->n_index ? 2 * d->n_index : 4 * SMALL_DICT;
    uint32_t *index = hth_arena_alloc(a, n_index, sizeof *index);
    if (!index) return false;
    d->index = index;
    d->n_index = n_index;
    for (uint32_t i = 0; i < d->n; i++) index_entry(d, i);
    return true;
}

static bool add_entry(hth_arena *a, jj_dict *d, jj_value key, jj_value value, uint32_t hash) {
    if (!grow_dict(a, d)) return false;
    d->entries[d->n++] = (jj_entry){key, value, hash};
    if (d->index) index_entry(d, d->n - 1);
    return true;
}

hth_code jj_dict_find(jj_vm *vm, const jj_dict *d, jj_value key, jj_value **found) {
    uint32_t hash;
    jj_entry *e;
    *found = NULL;
    if (!hash_of(key, 0, &hash)) return jj_fail(vm, JJ_TYPE_ERROR, "unhashable type: '%s'", jj_type_name(key));
    HTH_TRY(find_entry(vm, d, key, hash, &e));
    if (e) *found = &e->value;
    return HTH_OK;
}

hth_code jj_dict_set(jj_vm *vm, jj_dict *d, jj_value key, jj_value value) {
    uint32_t hash;
    jj_entry *e;
    HTH_TRY(jj_step(vm, 1));
    if (!hash_of(key, 0, &hash)) return jj_fail(vm, JJ_TYPE_ERROR, "unhashable type: '%s'", jj_type_name(key));
    HTH_TRY(find_entry(vm, d, key, hash, &e));
    if (e) {
        e->value = value;
        return HTH_OK;
    }
    return add_entry(&vm->arena, d, key, value, hash) ? HTH_OK : jj_nomem(vm);
}

jj_value *jj_dict_get(const jj_dict *d, const jj_str *key) {
    jj_entry *e;
    jj_value k = {.kind = HTH_JINJA_STR, .u.s = key};
    return find_entry(NULL, d, k, jj_str_hash(key), &e) == HTH_OK && e ? &e->value : NULL;
}

// ---- what values are ----

bool jj_truth(jj_value v) {
    switch (v.kind) {
    case HTH_JINJA_MISSING:
    case HTH_JINJA_UNDEFINED:
    case HTH_JINJA_NONE: return false;
    case HTH_JINJA_BOOL: return v.u.b;
    case HTH_JINJA_INT: return v.u.i != 0;
    case HTH_JINJA_FLOAT: return v.u.d != 0;
    case HTH_JINJA_STR: return v.u.s->n > 0;
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE: return v.u.list->n > 0;
    case HTH_JINJA_DICT: return v.u.dict->n > 0;
    case HTH_JINJA_RANGE: return ((const jj_range *)v.u.p)->n > 0;
    case HTH_JINJA_VIEW: return ((const jj_view *)v.u.p)->dict->n > 0;
    default: return true;
    }
}

const char *jj_type_name(jj_value v) {
    static const char *const names[] = {
        [HTH_JINJA_MISSING] = "missing",     [HTH_JINJA_UNDEFINED] = "Undefined", [HTH_JINJA_NONE] = "NoneType",
        [HTH_JINJA_BOOL] = "bool",           [HTH_JINJA_INT] = "int",             [HTH_JINJA_BIG] = "int",
        [HTH_JINJA_FLOAT] = "float",         [HTH_JINJA_STR] = "str",             [HTH_JINJA_LIST] = "list",
        [HTH_JINJA_TUPLE] = "tuple",         [HTH_JINJA_DICT] = "dict",           [HTH_JINJA_RANGE] = "range",
        [HTH_JINJA_VIEW] = "dict_items",     [HTH_JINJA_ITER] = "generator",      [HTH_JINJA_NAMESPACE] = "Namespace",
        [HTH_JINJA_MACRO] = "Macro",         [HTH_JINJA_LOOP] = "LoopContext",    [HTH_JINJA_FUNCTION] = "function",
        [HTH_JINJA_METHOD] = "builtin_function_or_method", [HTH_JINJA_CYCLER] = "Cycler",
        [HTH_JINJA_JOINER] = "Joiner",       [HTH_JINJA_BLOCK] = "BlockReference", [HTH_JINJA_SLICE] = "slice",
    };
    if (v.kind == HTH_JINJA_STR && v.u.s->is_markup) return "Markup";
    if (v.kind == HTH_JINJA_VIEW) {
        jj_view_kind kind = ((const jj_view *)v.u.p)->kind;
        return kind == JJ_KEYS ? "dict_keys" : kind == JJ_VALUES ? "dict_values" : "dict_items";
    }
    return names[v.kind];
}

static hth_code new_undefined(jj_vm *vm, jj_undefined u, jj_value *out) {
    jj_undefined *copy = jj_alloc(vm, 1, sizeof *copy);
    if (!copy) return jj_nomem(vm);
    *copy = u;
    *out = jj_pointer(HTH_JINJA_UNDEFINED, copy);
    return HTH_OK;
}

hth_code jj_undefined_hint(jj_vm *vm, const char *hint, jj_value *out) {
    return new_undefined(vm, (jj_undefined){.hint = hint}, out);
}

hth_code jj_undefined_name(jj_vm *vm, const jj_str *name, jj_value *out) {
    return new_undefined(vm, (jj_undefined){.name = {.kind = HTH_JINJA_STR, .u.s = name}}, out);
}

hth_code jj_undefined_of(jj_vm *vm, jj_value object, jj_value name, bool is_unsafe, jj_value *out) {
    return new_undefined(vm, (jj_undefined){.object = object, .name = name, .is_unsafe = is_unsafe}, out);
}

static const char *object_name(jj_value v, char out[64]) {
    if (v.kind == HTH_JINJA_NONE) return "None";
    bool is_own = v.kind == HTH_JINJA_LOOP || v.kind == HTH_JINJA_MACRO || v.kind == HTH_JINJA_BLOCK;
    snprintf(out, 64, "%s%s object", is_own ? "jinja2.runtime." : v.kind == HTH_JINJA_NAMESPACE ? "jinja2.utils." : "",
             jj_type_name(v));
    return out;
}

hth_code jj_fail_undefined(jj_vm *vm, jj_value v) {
    const jj_undefined *u = v.u.p;
    char object[64];
    int n = jj_is_str(u->name) && u->name.u.s->n < 100 ? (int)u->name.u.s->n : 100;
    if (u->is_unsafe) {
        return jj_fail(vm, JJ_SECURITY_ERROR, "access to attribute '%.*s' of '%s' object is unsafe.", n,
                       u->name.u.s->p, jj_type_name(u->object));
    }
    if (u->hint) return jj_fail(vm, JJ_UNDEFINED_ERROR, "%s", u->hint);
    if (u->object.kind == HTH_JINJA_MISSING) {
        return jj_fail(vm, JJ_UNDEFINED_ERROR, "'%.*s' is undefined", n, u->name.u.s->p);
    }
    if (jj_is_str(u->name)) {
        return jj_fail(vm, JJ_UNDEFINED_ERROR, "'%s' has no attribute '%.*s'", object_name(u->object, object), n,
                       u->name.u.s->p);
    }
    jj_buf b = jj_buf_make(vm);
    jj_value key;
    HTH_TRY(jj_put_repr(&b, u->name));
    HTH_TRY(jj_take(&b, &key));
    return jj_fail(vm, JJ_UNDEFINED_ERROR, "%s has no element %.*s", object_name(u->object, object),
                   key.u.s->n < 100 ? (int)key.u.s->n : 100, key.u.s->p);
}

static hth_code equal_lists(jj_vm *vm, const jj_list *a, const jj_list *b, bool *out) {
    *out = a->n == b->n;
    for (uint32_t i = 0; *out && i < a->n; i++) HTH_TRY(jj_equal(vm, a->items[i], b->items[i], out));
    return HTH_OK;
}

static hth_code equal_dicts(jj_vm *vm, const jj_dict *a, const jj_dict *b, bool *out) {
    *out = a->n == b->n;
    for (uint32_t i = 0; *out && i < a->n; i++) {
        jj_value *other;
        HTH_TRY(jj_dict_find(vm, b, a->entries[i].key, &other));
        *out = other != NULL;
        if (other) HTH_TRY(jj_equal(vm, a->entries[i].value, *other, out));
    }
    return HTH_OK;
}

static int compare_numbers(jj_value a, jj_value b) { // -1, 0, 1; 2: not ordered
    if (a.kind == HTH_JINJA_BIG && b.kind == HTH_JINJA_BIG) {
        bool a_minus = a.u.s->p[0] == '-', b_minus = b.u.s->p[0] == '-';
        if (a_minus != b_minus) return a_minus ? -1 : 1;
        int order = a.u.s->n != b.u.s->n ? (a.u.s->n < b.u.s->n ? -1 : 1) : jj_str_compare(a.u.s, b.u.s);
        order = (order > 0) - (order < 0);
        return a_minus ? -order : order;
    }
    if (jj_is_int(a) && jj_is_int(b)) {
        return (jj_int_of(a) > jj_int_of(b)) - (jj_int_of(a) < jj_int_of(b));
    }
    if (a.kind != HTH_JINJA_FLOAT && b.kind != HTH_JINJA_FLOAT) { // one is big
        bool is_less = a.kind == HTH_JINJA_BIG ? a.u.s->p[0] == '-' : b.u.s->p[0] != '-';
        return is_less ? -1 : 1;
    }
    long double x = a.kind == HTH_JINJA_INT ? (long double)a.u.i : (long double)jj_float_of(a);
    long double y = b.kind == HTH_JINJA_INT ? (long double)b.u.i : (long double)jj_float_of(b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

hth_code jj_equal(jj_vm *vm, jj_value a, jj_value b, bool *out) {
    HTH_TRY(jj_step(vm, 1));
    if (jj_is_number(a) && jj_is_number(b)) {
        *out = compare_numbers(a, b) == 0;
        return HTH_OK;
    }
    *out = a.kind == b.kind;
    if (!*out) return HTH_OK;
    hth_code code = HTH_OK;
    switch (a.kind) {
    case HTH_JINJA_UNDEFINED:
    case HTH_JINJA_NONE: break;
    case HTH_JINJA_STR: *out = jj_str_equal(a.u.s, b.u.s); break;
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE:
        HTH_TRY(jj_enter(vm));
        code = equal_lists(vm, a.u.list, b.u.list, out);
        jj_leave(vm);
        break;
    case HTH_JINJA_DICT:
        HTH_TRY(jj_enter(vm));
        code = equal_dicts(vm, a.u.dict, b.u.dict, out);
        jj_leave(vm);
        break;
    case HTH_JINJA_RANGE: {
        const jj_range *x = a.u.p, *y = b.u.p;
        *out = x->n == y->n && (x->n == 0 || (x->start == y->start && (x->n == 1 || x->step == y->step)));
        break;
    }
    default: *out = a.u.p == b.u.p;
    }
    return code;
}

static const char *op_text(jj_op op) {
    return op == JJ_LT ? "<" : op == JJ_LE ? "<=" : op == JJ_GT ? ">" : ">=";
}

static bool holds(jj_op op, int order) {
    return op == JJ_LT ? order < 0 : op == JJ_LE ? order <= 0 : op == JJ_GT ? order > 0 : order >= 0;
}

static hth_code compare_lists(jj_vm *vm, jj_op op, const jj_list *a, const jj_list *b, bool *out) {
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        HTH_TRY(jj_equal(vm, a->items[i], b->items[i], &same));
        if (!same) return jj_compare(vm, op, a->items[i], b->items[i], out);
    }
    *out = holds(op, (a->n > b->n) - (a->n < b->n));
    return HTH_OK;
}

hth_code jj_compare(jj_vm *vm, jj_op op, jj_value a, jj_value b, bool *out) {
    if (op == JJ_EQ || op == JJ_NE) {
        HTH_TRY(jj_equal(vm, a, b, out));
        *out = *out == (op == JJ_EQ);
        return HTH_OK;
    }
    if (op == JJ_IN || op == JJ_NOT_IN) {
        HTH_TRY(jj_contains(vm, a, b, out));
        *out = *out == (op == JJ_IN);
        return HTH_OK;
    }
    HTH_TRY(jj_step(vm, 1));
    if (jj_is_number(a) && jj_is_number(b)) {
        int order = compare_numbers(a, b);
        *out = order != 2 && holds(op, order);
        return HTH_OK;
    }
    if (jj_is_str(a) && jj_is_str(b)) {
        *out = holds(op, jj_str_compare(a.u.s, b.u.s));
        return HTH_OK;
    }
    if (jj_is_undefined(a)) return jj_fail_undefined(vm, a);
    if (jj_is_undefined(b)) return jj_fail_undefined(vm, b);
    if (jj_is_seq(a) && a.kind == b.kind) {
        HTH_TRY(jj_enter(vm));
        hth_code code = compare_lists(vm, op, a.u.list, b.u.list, out);
        jj_leave(vm);
        return code;
    }
    return jj_fail(vm, JJ_TYPE_ERROR, "'%s' not supported between instances of '%s' and '%s'", op_text(op),
                   jj_type_name(a), jj_type_name(b));
}

hth_code jj_contains(jj_vm *vm, jj_value item, jj_value in, bool *out) {
    *out = false;
    switch (in.kind) {
    case HTH_JINJA_STR:
        if (!jj_is_str(item)) {
            return jj_fail(vm, JJ_TYPE_ERROR, "'in <string>' requires string as left operand, not %s",
                           jj_type_name(item));
        }
        HTH_TRY(jj_step(vm, in.u.s->n / 64));
        *out = jj_find(in.u.s, item.u.s, 0, in.u.s->n) >= 0;
        return HTH_OK;
    case HTH_JINJA_DICT: {
        jj_value *found;
        HTH_TRY(jj_dict_find(vm, in.u.dict, item, &found));
        *out = found != NULL;
        return HTH_OK;
    }
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE:
        for (uint32_t i = 0; !*out && i < in.u.list->n; i++) HTH_TRY(jj_equal(vm, in.u.list->items[i], item, out));
        return HTH_OK;
    default: break;
    }
    if (!jj_is_iterable(in)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "argument of type '%s' is not iterable", jj_type_name(in));
    }
    jj_iter *it;
    bool more;
    HTH_TRY(jj_iter_of(vm, in, &it));
    while (!*out) {
        jj_value v;
        HTH_TRY(jj_next(vm, it, &v, &more));
        if (!more) break;
        HTH_TRY(jj_equal(vm, v, item, out));
    }
    return HTH_OK;
}

hth_code jj_length(jj_vm *vm, jj_value v, int64_t *out) {
    switch (v.kind) {
    case HTH_JINJA_UNDEFINED: *out = 0; return HTH_OK;
    case HTH_JINJA_STR: *out = v.u.s->n_char; return HTH_OK;
    case HTH_JINJA_LIST:
    case HTH_JINJA_TUPLE: *out = v.u.list->n; return HTH_OK;
    case HTH_JINJA_DICT: *out = v.u.dict->n; return HTH_OK;
    case HTH_JINJA_RANGE: *out = ((const jj_range *)v.u.p)->n; return HTH_OK;
    case HTH_JINJA_VIEW: *out = ((const jj_view *)v.u.p)->dict->n; return HTH_OK;
    case HTH_JINJA_LOOP: {
        jj_value n;
        bool found;
        static const jj_str name = {.p = "length", .n = 6, .n_char = 6};
        HTH_TRY(jj_get_loop(vm, v.u.p, &name, &n, &found));
        *out = n.u.i;
        return HTH_OK;
    }
    default: return jj_fail(vm, JJ_TYPE_ERROR, "object of type '%s' has no len()", jj_type_name(v));
    }
}

hth_code jj_collect(jj_vm *vm, jj_value v, jj_value *out) {
    jj_growing g = {0};
    jj_iter *it;
    HTH_TRY(jj_iter_of(vm, v, &it));
    for (;;) {
        jj_value item;
        bool more;
        HTH_TRY(jj_next(vm, it, &item, &more));
        if (!more) return jj_grown(vm, &g, HTH_JINJA_LIST, out);
        HTH_TRY(jj_add(vm, &g, item));
    }
}

// Merge sort of positions: stable, and an order that contradicts itself does no harm.
hth_code jj_sort(jj_vm *vm, jj_value *items, jj_value *keys, size_t n, bool reverse) {
    jj_value *other = jj_alloc(vm, 2 * n + 1, sizeof *other);
    if (!other) return jj_nomem(vm);
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t i = at, mid = at + width < n ? at + width : n, k = mid, end = at + 2 * width < n ? at + 2 * width : n;
            for (size_t to = at; to < end; to++) {
                bool right = i == mid;
                if (i < mid && k < end) {
                    HTH_TRY(reverse ? jj_compare(vm, JJ_LT, keys[i], keys[k], &right)
                                    : jj_compare(vm, JJ_LT, keys[k], keys[i], &right));
                }
                size_t from = right ? k++ : i++;
                other[to] = items[from];
                other[n + to] = keys[from];
            }
        }
        memcpy(items, other, n * sizeof *items);
        memcpy(keys, other + n, n * sizeof *keys);
    }
    return HTH_OK;
}

// ---- building from outside ----

hth_code hth_jinja_make_str(hth_arena *a, const char *text, size_t n, hth_jinja_origin origin,
                            hth_jinja_value *out, hth_err *err) {
    if (n > UINT32_MAX / 4) return hth_fail(err, HTH_ERR_LIMIT, "a text of %zu bytes is too long for a template", n);
    jj_str *s = hth_arena_alloc(a, 1, sizeof *s);
    char *copy = hth_arena_strndup(a, text, n);
    if (!s || !copy) return hth_fail_nomem(err, n);
    *s = (jj_str){.p = copy, .n = (uint32_t)n, .n_char = jj_count(copy, n), .is_client = origin == HTH_JINJA_OF_CLIENT};
    *out = (jj_value){.kind = HTH_JINJA_STR, .u.s = s};
    return HTH_OK;
}

hth_code hth_jinja_make_list(hth_arena *a, size_t n, hth_jinja_value *out, hth_jinja_value **items, hth_err *err) {
    jj_list *list = hth_arena_alloc(a, 1, sizeof *list);
    if (n > MAX_ENTRIES) return hth_fail(err, HTH_ERR_LIMIT, "a list of %zu items is too long for a template", n);
    if (list) list->items = hth_arena_alloc(a, n + 1, sizeof *list->items);
    if (!list || !list->items) return hth_fail_nomem(err, n * sizeof *list->items);
    list->n = (uint32_t)n;
    *items = list->items;
    *out = (jj_value){.kind = HTH_JINJA_LIST, .u.list = list};
    return HTH_OK;
}

hth_code hth_jinja_make_dict(hth_arena *a, hth_jinja_value *out, hth_err *err) {
    jj_dict *d = hth_arena_alloc(a, 1, sizeof *d);
    if (!d) return hth_fail_nomem(err, sizeof *d);
    *out = (jj_value){.kind = HTH_JINJA_DICT, .u.dict = d};
    return HTH_OK;
}

hth_code hth_jinja_set(hth_arena *a, const hth_jinja_value *dict, const char *key, size_t n_key,
                       hth_jinja_origin origin, hth_jinja_value value, hth_err *err) {
    jj_value k;
    jj_entry *e;
    HTH_TRY(hth_jinja_make_str(a, key, n_key, origin, &k, err));
    uint32_t hash = jj_str_hash(k.u.s);
    HTH_TRY(find_entry(NULL, dict->u.dict, k, hash, &e));
    if (e) {
        e->value = value;
        return HTH_OK;
    }
    return add_entry(a, dict->u.dict, k, value, hash) ? HTH_OK : hth_fail_nomem(err, sizeof *e);
}

hth_code hth_jinja_set_spelling(hth_arena *a, hth_jinja_value *dict, const char *text, size_t n, hth_jinja_origin origin,
                                hth_err *err) {
    hth_jinja_value v;
    if (dict->kind != HTH_JINJA_DICT) return HTH_OK;
    HTH_TRY(hth_jinja_make_str(a, text, n, origin, &v, err));
    dict->u.dict->spelling = v.u.s;
    return HTH_OK;
}

const hth_jinja_value *hth_jinja_get(const hth_jinja_value *v, const char *key) {
    jj_str s = {.p = key, .n = (uint32_t)strlen(key)};
    return v && v->kind == HTH_JINJA_DICT ? jj_dict_get(v->u.dict, &s) : NULL;
}

// A number as it stands in the document.
static hth_code number_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n, hth_jinja_value *out,
                                 hth_err *err) {
    size_t at = v->pos, end = at;
    bool is_whole = true;
    if (v->is_int) {
        is_whole = true;
        while (end < n && strchr("+-.eE0123456789", text[end]) && text[end]) {
            is_whole = is_whole && text[end] != '.' && text[end] != 'e' && text[end] != 'E';
            end++;
        }
        *out = is_whole ? jj_int(v->u.num.i) : jj_float(v->u.num.d);
        return HTH_OK;
    }
    *out = jj_float(v->u.num.d);
    while (end < n && ((text[end] >= '0' && text[end] <= '9') || (end == at && text[end] == '-'))) end++;
    is_whole = end > at && !(end < n && (text[end] == '.' || text[end] == 'e' || text[end] == 'E'));
    if (!is_whole || end - at < 10) return HTH_OK; // NaN and the infinities are no digits
    HTH_TRY(hth_jinja_make_str(a, text + at, end - at, HTH_JINJA_OF_TEMPLATE, out, err));
    out->kind = HTH_JINJA_BIG;
    return HTH_OK;
}

hth_code hth_jinja_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                             hth_jinja_origin origin, hth_jinja_value *out, hth_err *err) {
    hth_jinja_value *items, item;
    switch (v->kind) { // as deep as HTH_JSON_MAX_DEPTH
    case HTH_JSON_NULL: *out = JJ_PY_NONE; return HTH_OK;
    case HTH_JSON_BOOL: *out = jj_bool(v->u.b); return HTH_OK;
    case HTH_JSON_NUMBER: return number_from_json(a, v, text, n, out, err);
    case HTH_JSON_STRING: return hth_jinja_make_str(a, v->u.str, v->n, origin, out, err);
    case HTH_JSON_ARRAY:
        HTH_TRY(hth_jinja_make_list(a, v->n, out, &items, err));
        for (uint32_t i = 0; i < v->n; i++) {
            HTH_TRY(hth_jinja_from_json(a, &v->u.items[i], text, n, origin, &items[i], err));
        }
        return HTH_OK;
    case HTH_JSON_OBJECT: break;
    }
    HTH_TRY(hth_jinja_make_dict(a, out, err));
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json_member *m = &v->u.members[i];
        HTH_TRY(hth_jinja_from_json(a, &m->value, text, n, origin, &item, err));
        HTH_TRY(hth_jinja_set(a, out, m->key, m->key_len, origin, item, err));
    }
    return HTH_OK;
}
