// Names to places. jinja2 turns a template into Python functions and decides at compile time which local
// variable a name means: what a scope stores is its own, copied from outside when the scope is entered; what it
// only reads is found outside, or looked up in the context at entry. This file follows those rules (the
// classes Symbols, FrameSymbolVisitor and RootVisitor of jinja2's idtracking), so that a name means the same
// here even where scopes shadow each other in odd ways. Each function has frames of numbered slots.
#include "chat/jinja_impl.h"

#define MAX_SLOTS 2048
#define MAX_SYMBOL_BYTES ((uint64_t)256 << 20)

typedef struct place { // a slot of a function at some depth
    int depth;
    uint16_t slot;
} place;

typedef struct sym {
    const jj_str *name;
    uint16_t slot;
    bool is_stored;
    jj_load_kind load; // NONE: only a slot was given, by a branch
    place from;
} sym;

typedef struct symbols {
    struct symbols *parent;
    jj_func *func;
    int depth;          // of the function
    sym *items;
    size_t n, cap;
    struct symbols *slots; // where slots of names are handed out: the scope itself, or what it was copied from
} symbols;

typedef struct binder {
    hth_jinja *t;
    hth_arena temp;
    hth_err *err;
    uint32_t line; // the last that jinja2 has noted in the code that it writes; 0: none
} binder;

// Where the code stands that is being bound.
typedef struct where {
    symbols *s;
    bool is_top;  // variables of the template
    bool is_soft; // inside if: an unknown filter fails only when it is reached
    bool in_loop; // break and continue have a loop
} where;

static hth_code no_memory(binder *b) {
    bool is_temp = b->temp.total_bytes > b->temp.max_bytes / 2;
    return jj_arena_full(is_temp ? &b->temp : &b->t->arena, b->err);
}

static sym *own(const symbols *s, const jj_str *name) {
    for (size_t i = 0; i < s->n; i++) {
        if (jj_str_equal(s->items[i].name, name)) return &s->items[i];
    }
    return NULL;
}

static sym *add_sym(binder *b, symbols *s, const jj_str *name) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 8;
        sym *items = hth_arena_alloc(&b->temp, cap, sizeof *items);
        if (!items) return NULL;
        if (s->n > 0) memcpy(items, s->items, s->n * sizeof *items);
        s->items = items;
        s->cap = cap;
    }
    s->items[s->n] = (sym){.name = name};
    return &s->items[s->n++];
}

// The scope that knows the name, from s outwards.
static const symbols *find_ref(const symbols *s, const jj_str *name, sym **out) {
    for (; s; s = s->parent) {
        *out = own(s, name);
        if (*out) return s;
    }
    return NULL;
}

static symbols *new_symbols(binder *b, symbols *parent, jj_func *func) {
    symbols *s = hth_arena_alloc(&b->temp, 1, sizeof *s);
    if (!s) return NULL;
    s->parent = parent;
    s->func = func ? func : parent->func;
    s->depth = !parent ? 0 : parent->depth + (func != NULL);
    s->slots = hth_arena_alloc(&b->temp, 1, sizeof *s->slots);
    return s->slots ? s : NULL;
}

// The slot of a name in this scope, the same in all copies of the scope.
static hth_code slot_of(binder *b, symbols *s, const jj_str *name, uint16_t *out) {
    sym *known = own(s->slots, name);
    if (!known) {
        if (s->func->n_slot == MAX_SLOTS) {
            return hth_fail(b->err, HTH_ERR_LIMIT, "the chat template has more than %d variables", MAX_SLOTS);
        }
        known = add_sym(b, s->slots, name);
        if (!known) return no_memory(b);
        known->slot = s->func->n_slot++;
    }
    *out = known->slot;
    return HTH_OK;
}

static hth_code define(binder *b, symbols *s, const jj_str *name, jj_load_kind load, place from) {
    sym *y = own(s, name);
    if (!y) {
        y = add_sym(b, s, name);
        if (!y) return no_memory(b);
    }
    y->load = load;
    y->from = from;
    return slot_of(b, s, name, &y->slot);
}

static hth_code store(binder *b, symbols *s, const jj_str *name) {
    sym *outer;
    if (!own(s, name)) {
        const symbols *home = s->parent ? find_ref(s->parent, name, &outer) : NULL;
        HTH_TRY(home ? define(b, s, name, JJ_LOAD_ALIAS, (place){home->depth, outer->slot})
                     : define(b, s, name, JJ_LOAD_UNDEF, (place){0, 0}));
    }
    own(s, name)->is_stored = true;
    return HTH_OK;
}

static hth_code declare(binder *b, symbols *s, const jj_str *name) {
    HTH_TRY(define(b, s, name, JJ_LOAD_PARAM, (place){0, 0}));
    own(s, name)->is_stored = true;
    return HTH_OK;
}

static hth_code load(binder *b, symbols *s, const jj_str *name) {
    sym *found;
    return find_ref(s, name, &found) ? HTH_OK : define(b, s, name, JJ_LOAD_RESOLVE, (place){0, 0});
}

static symbols *copy_symbols(binder *b, const symbols *s) {
    symbols *copy = hth_arena_alloc(&b->temp, 1, sizeof *copy);
    if (!copy) return NULL;
    *copy = *s;
    copy->items = hth_arena_alloc(&b->temp, s->n + 1, sizeof *copy->items);
    copy->cap = s->n + 1;
    if (!copy->items) return NULL;
    if (s->n > 0) memcpy(copy->items, s->items, s->n * sizeof *s->items);
    return copy;
}

// What branches of an `if` stored belongs to the scope; where not all did, it starts with what is outside.
static hth_code update_from_branches(binder *b, symbols *s, symbols *const *branches, size_t n) {
    symbols before = *s;
    symbols *old = copy_symbols(b, s);
    if (!old) return no_memory(b);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < branches[i]->n; k++) {
            const sym *from = &branches[i]->items[k];
            sym *to = own(s, from->name);
            if (!to) to = add_sym(b, s, from->name);
            if (!to) return no_memory(b);
            bool was_stored = to->is_stored || from->is_stored;
            *to = *from;
            to->is_stored = was_stored;
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        sym *y = &s->items[i], *earlier = own(old, y->name), *outer;
        if (!y->is_stored || (earlier && earlier->is_stored)) continue;
        const symbols *home = before.parent ? find_ref(before.parent, y->name, &outer) : NULL;
        y->load = home ? JJ_LOAD_ALIAS : JJ_LOAD_RESOLVE;
        y->from = home ? (place){home->depth, outer->slot} : (place){0, 0};
    }
    return HTH_OK;
}

// ---- which names a scope has ----

static hth_code visit(binder *b, symbols *s, const jj_node *n);

static hth_code visit_list(binder *b, symbols *s, jj_nodes list) {
    for (uint32_t i = 0; i < list.n; i++) HTH_TRY(visit(b, s, list.p[i]));
    return HTH_OK;
}

static hth_code visit_branch(binder *b, const symbols *s, jj_nodes list, symbols **out) {
    *out = copy_symbols(b, s);
    return *out ? visit_list(b, *out, list) : no_memory(b);
}

static hth_code visit_if(binder *b, symbols *s, const jj_node *n) {
    symbols *branches[3];
    HTH_TRY(visit(b, s, n->a));
    HTH_TRY(visit_branch(b, s, n->list, &branches[0]));
    HTH_TRY(visit_branch(b, s, n->list2, &branches[1]));
    HTH_TRY(visit_branch(b, s, n->list3, &branches[2]));
    return update_from_branches(b, s, branches, 3);
}

static hth_code visit_parameters(binder *b, symbols *s, const jj_node *target) {
    if (target->type == JJ_NAME) return declare(b, s, target->name);
    for (uint32_t i = 0; i < target->list.n; i++) HTH_TRY(visit_parameters(b, s, target->list.p[i]));
    return HTH_OK;
}

static hth_code visit(binder *b, symbols *s, const jj_node *n) {
    if (!n) return HTH_OK;
    switch (n->type) {
    case JJ_NAME: return n->is_store ? store(b, s, n->name) : load(b, s, n->name);
    case JJ_NSREF: return load(b, s, n->name);
    case JJ_IF: return visit_if(b, s, n);
    case JJ_MACRO: return store(b, s, n->name);
    case JJ_SET: HTH_TRY(visit(b, s, n->b)); return visit(b, s, n->a);
    case JJ_FOR: return visit(b, s, n->b);
    case JJ_CALL_BLOCK:
    case JJ_FILTER_BLOCK:
    case JJ_SET_BLOCK: return visit(b, s, n->a);
    case JJ_WITH: return visit_list(b, s, n->list2);
    case JJ_GENERATION:
    case JJ_AUTOESCAPE:
    case JJ_BLOCK: return HTH_OK;
    default: break;
    }
    HTH_TRY(visit(b, s, n->a));
    HTH_TRY(visit(b, s, n->b));
    HTH_TRY(visit(b, s, n->c));
    HTH_TRY(visit_list(b, s, n->list));
    return visit_list(b, s, n->list2);
}

typedef enum seen { SEEN_NOT, SEEN_READ, SEEN_STORED } seen;

static seen look_for(const jj_node *n, const char *name);

static seen look_in(jj_nodes list, const char *name) {
    for (uint32_t i = 0; i < list.n; i++) {
        seen found = look_for(list.p[i], name);
        if (found != SEEN_NOT) return found;
    }
    return SEEN_NOT;
}

// Whether a name is read before it is stored, in the order in which jinja2 visits a tree.
static seen look_for(const jj_node *n, const char *name) {
    if (!n || n->type == JJ_BLOCK) return SEEN_NOT;
    if (n->type == JJ_NAME) return !jj_str_is(n->name, name) ? SEEN_NOT : n->is_store ? SEEN_STORED : SEEN_READ;
    bool is_call = n->type == JJ_CALL || n->type == JJ_FILTER || n->type == JJ_TEST;
    seen found = n->type == JJ_MACRO ? SEEN_NOT : look_for(n->a, name);
    if (found == SEEN_NOT && !is_call) found = look_for(n->b, name);
    if (found == SEEN_NOT) found = look_in(n->list, name);
    if (found == SEEN_NOT) found = look_in(n->list2, name);
    if (found == SEEN_NOT) found = look_in(n->list3, name);
    if (found == SEEN_NOT && is_call) found = look_for(n->b, name);
    return found == SEEN_NOT ? look_for(n->c, name) : found;
}

// ---- binding ----

static hth_code bind_list(binder *b, where w, jj_nodes list);
static hth_code bind(binder *b, where w, jj_node *n);

static const jj_str *word(binder *b, const char *text) {
    return jj_const_str(&b->t->arena, text, strlen(text));
}

static hth_code bind_ref(binder *b, const symbols *s, const jj_str *name, jj_ref *out) {
    sym *found;
    const symbols *home = find_ref(s, name, &found);
    if (!home) return hth_fail(b->err, HTH_ERR_INTERNAL, "chat template: the name '%.*s' has no place", jj_shown(name), name->p);
    *out = (jj_ref){(uint16_t)(s->depth - home->depth), found->slot};
    return HTH_OK;
}

// What entering the scope does.
static hth_code make_scope(binder *b, const symbols *s, jj_scope **out) {
    jj_scope *scope = hth_arena_alloc(&b->t->arena, 1, sizeof *scope);
    if (!scope) return no_memory(b);
    scope->loads = hth_arena_alloc(&b->t->arena, s->n + 1, sizeof *scope->loads);
    if (!scope->loads) return no_memory(b);
    for (size_t i = 0; i < s->n; i++) {
        const sym *y = &s->items[i];
        if (y->load == JJ_LOAD_NONE || y->load == JJ_LOAD_PARAM) continue;
        scope->loads[scope->n++] = (jj_load){.kind = y->load, .slot = y->slot, .name = y->name,
                                             .from = {(uint16_t)(s->depth - y->from.depth), y->from.slot}};
    }
    *out = scope;
    return HTH_OK;
}

static hth_code bind_call_parts(binder *b, where w, jj_node *n) {
    HTH_TRY(bind_list(b, w, n->list));
    HTH_TRY(bind_list(b, w, n->list2));
    HTH_TRY(bind(b, w, n->b));
    return bind(b, w, n->c);
}

static hth_code bind_filter(binder *b, where w, jj_node *n) {
    bool is_filter = n->type == JJ_FILTER;
    n->row = is_filter ? (const void *)jj_find_filter(n->name) : (const void *)jj_find_test(n->name);
    n->is_unknown = !n->row;
    if (n->is_unknown && !w.is_soft) {
        return jj_syntax(b->err, n->line, "No %s named '%.*s'.", is_filter ? "filter" : "test",
                         jj_shown(n->name), n->name->p);
    }
    HTH_TRY(bind(b, w, n->a));
    return bind_call_parts(b, w, n);
}

static hth_code new_func(binder *b, jj_func **out) {
    *out = hth_arena_alloc(&b->t->arena, 1, sizeof **out);
    return *out ? HTH_OK : no_memory(b);
}

// A scope inside of w's, in the same function or in one of its own.
static hth_code inner(binder *b, where w, jj_func *func, where *out) {
    *out = (where){.s = new_symbols(b, w.s, func), .in_loop = !func && w.in_loop};
    return out->s ? HTH_OK : no_memory(b);
}

static hth_code declare_special(binder *b, where w, const char *name, jj_ref *out) {
    const jj_str *s = word(b, name);
    if (!s) return no_memory(b);
    HTH_TRY(declare(b, w.s, s));
    return bind_ref(b, w.s, s, out);
}

static hth_code visit_macro(binder *b, symbols *s, const jj_node *n) {
    for (uint32_t i = 0; i < n->list.n; i++) HTH_TRY(declare(b, s, n->list.p[i]->name));
    HTH_TRY(visit_list(b, s, n->list2));
    return visit_list(b, s, n->list3);
}

static bool has_parameter(const jj_node *n, const char *name, uint32_t *at) {
    for (*at = 0; *at < n->list.n; (*at)++) {
        if (jj_str_is(n->list.p[*at]->name, name)) return true;
    }
    return false;
}

// The names that a macro has without being given them.
static hth_code bind_special(binder *b, where w, jj_node *n) {
    jj_func *f = n->func;
    uint32_t at;
    f->explicit_caller = has_parameter(n, "caller", &at);
    if (look_in(n->list3, "caller") == SEEN_READ) {
        if (f->explicit_caller && at < n->list.n - n->list2.n) {
            return jj_syntax(b->err, n->line, "When defining macros or call blocks the special \"caller\" argument must"
                                              " be omitted or be given a default.");
        }
        f->takes_caller = true;
        f->ends_with_caller = !f->explicit_caller;
        if (!f->explicit_caller) HTH_TRY(declare_special(b, w, "caller", &f->caller));
    }
    f->takes_kwargs = !has_parameter(n, "kwargs", &at) && look_in(n->list3, "kwargs") == SEEN_READ;
    f->takes_varargs = !has_parameter(n, "varargs", &at) && look_in(n->list3, "varargs") == SEEN_READ;
    if (f->takes_kwargs) HTH_TRY(declare_special(b, w, "kwargs", &f->kwargs));
    if (f->takes_varargs) HTH_TRY(declare_special(b, w, "varargs", &f->varargs));
    return HTH_OK;
}

static hth_code bind_macro(binder *b, where w, jj_node *n) {
    where in;
    if (n->type == JJ_MACRO) {
        HTH_TRY(bind_ref(b, w.s, n->name, &n->ref));
        n->is_top = w.is_top;
    }
    if (n->type == JJ_CALL_BLOCK) HTH_TRY(bind(b, w, n->a));
    HTH_TRY(new_func(b, &n->func));
    HTH_TRY(inner(b, w, n->func, &in));
    HTH_TRY(visit_macro(b, in.s, n));
    HTH_TRY(bind_special(b, in, n));
    HTH_TRY(visit_macro(b, in.s, n));
    n->func->args = hth_arena_alloc(&b->t->arena, n->list.n + 1, sizeof *n->func->args);
    if (!n->func->args) return no_memory(b);
    for (uint32_t i = 0; i < n->list.n; i++) {
        HTH_TRY(bind_ref(b, in.s, n->list.p[i]->name, &n->func->args[i]));
    }
    HTH_TRY(bind_list(b, in, n->list2));
    HTH_TRY(bind_list(b, in, n->list3));
    return make_scope(b, in.s, &n->scope);
}

// A copy of a target, for the scope of a loop's test.
static jj_node *copy_target(binder *b, const jj_node *n) {
    jj_node *copy = hth_arena_alloc(&b->t->arena, 1, sizeof *copy);
    if (!copy) return NULL;
    *copy = *n;
    copy->list.p = hth_arena_alloc(&b->t->arena, n->list.n + 1, sizeof *copy->list.p);
    for (uint32_t i = 0; copy->list.p && i < n->list.n; i++) {
        copy->list.p[i] = copy_target(b, n->list.p[i]);
        if (!copy->list.p[i]) return NULL;
    }
    return copy->list.p ? copy : NULL;
}

static hth_code bind_loop_test(binder *b, where w, jj_node *n) {
    where in;
    HTH_TRY(inner(b, w, NULL, &in));
    in.in_loop = false;
    n->loop->test_target = copy_target(b, n->a);
    if (!n->loop->test_target) return no_memory(b);
    HTH_TRY(visit_parameters(b, in.s, n->a));
    HTH_TRY(visit(b, in.s, n->c));
    HTH_TRY(bind(b, in, n->loop->test_target));
    HTH_TRY(bind(b, in, n->c));
    return make_scope(b, in.s, &n->loop->test_scope);
}

static seen stores_loop(const jj_node *target) {
    return look_for(target, "loop");
}

static hth_code bind_for(binder *b, where w, jj_node *n) {
    where body, other;
    n->loop = hth_arena_alloc(&b->t->arena, 1, sizeof *n->loop);
    if (!n->loop) return no_memory(b);
    if (stores_loop(n->a) == SEEN_STORED) {
        return jj_syntax(b->err, n->a->line, "Can't assign to special loop variable in for-loop target");
    }
    HTH_TRY(bind(b, w, n->b));
    if (n->flag) HTH_TRY(new_func(b, &n->loop->func));
    HTH_TRY(inner(b, w, n->loop->func, &body));
    body.in_loop = true;
    n->loop->is_extended = n->flag || look_in(n->list, "loop") == SEEN_READ;
    if (n->loop->is_extended) HTH_TRY(declare_special(b, body, "loop", &n->loop->loop));
    HTH_TRY(visit_parameters(b, body.s, n->a));
    HTH_TRY(visit_list(b, body.s, n->list));
    if (n->c) HTH_TRY(bind_loop_test(b, w, n));
    HTH_TRY(bind(b, body, n->a));
    HTH_TRY(bind_list(b, body, n->list));
    HTH_TRY(make_scope(b, body.s, &n->scope));
    if (n->list2.n == 0) return HTH_OK;
    if (n->flag) { // the else branch runs in the loop's function
        other = (where){.s = new_symbols(b, w.s, n->loop->func)};
        if (!other.s) return no_memory(b);
    } else {
        HTH_TRY(inner(b, w, NULL, &other));
    }
    HTH_TRY(visit_list(b, other.s, n->list2));
    HTH_TRY(bind_list(b, other, n->list2));
    return make_scope(b, other.s, &n->loop->else_scope);
}

static hth_code bind_if(binder *b, where w, jj_node *n) {
    w.is_soft = true;
    HTH_TRY(bind(b, w, n->a));
    HTH_TRY(bind_list(b, w, n->list));
    HTH_TRY(bind_list(b, w, n->list2));
    return bind_list(b, w, n->list3);
}

// set and filter blocks, autoescape: a scope in the same function.
static hth_code bind_inner(binder *b, where w, jj_node *n) {
    where in;
    HTH_TRY(inner(b, w, NULL, &in));
    if (n->type == JJ_SET_BLOCK) HTH_TRY(bind(b, w, n->a));
    jj_node *head = n->type == JJ_SET_BLOCK ? n->b : n->a;
    n->is_top = w.is_top;
    HTH_TRY(visit(b, in.s, head));
    HTH_TRY(visit_list(b, in.s, n->list));
    HTH_TRY(bind(b, in, head));
    HTH_TRY(bind_list(b, in, n->list));
    return make_scope(b, in.s, &n->scope);
}

static hth_code bind_with(binder *b, where w, jj_node *n) {
    where in;
    n->line = b->line ? b->line : 1; // it has none of its own: errors in its values are told of what stands before
    HTH_TRY(bind_list(b, w, n->list2));
    HTH_TRY(inner(b, w, NULL, &in));
    for (uint32_t i = 0; i < n->list.n; i++) HTH_TRY(visit_parameters(b, in.s, n->list.p[i]));
    HTH_TRY(visit_list(b, in.s, n->list3));
    HTH_TRY(bind_list(b, in, n->list));
    HTH_TRY(bind_list(b, in, n->list3));
    return make_scope(b, in.s, &n->scope);
}

// A block is a function that sees the context only. Its frames have no outer frame.
static hth_code bind_block(binder *b, jj_node *n) {
    for (uint32_t i = 0; i < b->t->n_block; i++) {
        if (jj_str_equal(b->t->blocks[i]->name, n->name)) {
            return jj_syntax(b->err, n->line, "block '%.*s' defined twice", jj_shown(n->name), n->name->p);
        }
    }
    jj_node **blocks = hth_arena_alloc(&b->t->arena, b->t->n_block + 1, sizeof *blocks);
    if (!blocks) return no_memory(b);
    if (b->t->n_block > 0) memcpy(blocks, b->t->blocks, b->t->n_block * sizeof *blocks);
    blocks[b->t->n_block++] = n;
    b->t->blocks = blocks;
    HTH_TRY(new_func(b, &n->func));
    where w = {.s = new_symbols(b, NULL, n->func)};
    if (!w.s) return no_memory(b);
    n->func->has_self = look_in(n->list, "self") == SEEN_READ;
    if (n->func->has_self) HTH_TRY(declare_special(b, w, "self", &n->func->self));
    n->func->has_super = look_in(n->list, "super") == SEEN_READ;
    if (n->func->has_super) HTH_TRY(declare_special(b, w, "super", &n->func->super));
    HTH_TRY(visit_list(b, w.s, n->list));
    HTH_TRY(bind_list(b, w, n->list));
    return make_scope(b, w.s, &n->scope);
}

// Whether jinja2 has put its value into the text already.
static bool is_folded(const jj_node *n) {
    if (n->type == JJ_DATA || n->type == JJ_CONST) return true;
    if (n->type != JJ_TUPLE && n->type != JJ_LIST) return false;
    for (uint32_t i = 0; i < n->list.n; i++) {
        if (!is_folded(n->list.p[i])) return false;
    }
    return true;
}

static hth_code bind_output(binder *b, where w, const jj_node *n) {
    for (uint32_t i = 0; i < n->list.n; i++) {
        if (!is_folded(n->list.p[i])) b->line = n->list.p[i]->line;
        HTH_TRY(bind(b, w, n->list.p[i]));
    }
    return HTH_OK;
}

static hth_code bind_node(binder *b, where w, jj_node *n);

// Keeps b->line as jinja2 does while it writes code: some statements note their line before their parts, some behind.
static hth_code bind(binder *b, where w, jj_node *n) {
    if (!n) return HTH_OK;
    bool before = n->type == JJ_IF || n->type == JJ_FOR || n->type == JJ_SET || n->type == JJ_MACRO || n->type == JJ_CALL_BLOCK,
         behind = n->type == JJ_SET_BLOCK || n->type == JJ_FILTER_BLOCK || n->type == JJ_CALL_BLOCK ||
                  (n->type == JJ_FOR && n->flag);
    if (before) b->line = n->line;
    HTH_TRY(bind_node(b, w, n));
    if (behind) b->line = n->line;
    return HTH_OK;
}

static hth_code bind_node(binder *b, where w, jj_node *n) {
    switch (n->type) {
    case JJ_OUTPUT: return bind_output(b, w, n);
    case JJ_NAME: return bind_ref(b, w.s, n->name, &n->ref);
    case JJ_NSREF: return bind_ref(b, w.s, n->name, &n->ref);
    case JJ_FILTER:
    case JJ_TEST: return bind_filter(b, w, n);
    case JJ_CALL: HTH_TRY(bind(b, w, n->a)); return bind_call_parts(b, w, n);
    case JJ_COND: w.is_soft = true; break;
    case JJ_FOR: return bind_for(b, w, n);
    case JJ_IF: return bind_if(b, w, n);
    case JJ_MACRO:
    case JJ_CALL_BLOCK:
    case JJ_GENERATION: return bind_macro(b, w, n);
    case JJ_FILTER_BLOCK:
    case JJ_SET_BLOCK:
    case JJ_AUTOESCAPE: return bind_inner(b, w, n);
    case JJ_SET: n->is_top = w.is_top; break;
    case JJ_WITH: return bind_with(b, w, n);
    case JJ_BLOCK: return bind_block(b, n);
    case JJ_BREAK:
    case JJ_CONTINUE:
        if (w.in_loop) return HTH_OK;
        return jj_syntax(b->err, n->line, n->type == JJ_BREAK ? "'break' outside loop"
                                                              : "'continue' not properly in loop");
    default: break;
    }
    HTH_TRY(bind(b, w, n->a));
    HTH_TRY(bind(b, w, n->b));
    HTH_TRY(bind(b, w, n->c));
    HTH_TRY(bind_list(b, w, n->list));
    return bind_list(b, w, n->list2);
}

static hth_code bind_list(binder *b, where w, jj_nodes list) {
    for (uint32_t i = 0; i < list.n; i++) HTH_TRY(bind(b, w, list.p[i]));
    return HTH_OK;
}

static hth_code bind_root(binder *b) {
    HTH_TRY(new_func(b, &b->t->root));
    where w = {.s = new_symbols(b, NULL, b->t->root), .is_top = true};
    if (!w.s) return no_memory(b);
    b->t->root->has_self = look_in(b->t->body, "self") == SEEN_READ;
    if (b->t->root->has_self) HTH_TRY(declare_special(b, w, "self", &b->t->root->self));
    HTH_TRY(visit_list(b, w.s, b->t->body));
    HTH_TRY(bind_list(b, w, b->t->body));
    return make_scope(b, w.s, &b->t->scope);
}

hth_code jj_bind_names(hth_jinja *t, hth_err *err) {
    binder b = {.t = t, .err = err};
    hth_arena_init(&b.temp, HTH_MEM_TEXT, MAX_SYMBOL_BYTES);
    hth_code code = bind_root(&b);
    hth_arena_free(&b.temp);
    return code;
}
