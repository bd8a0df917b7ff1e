// From rules to the network.
#include "grammar/ebnf.h"

#include <stdio.h>
#include <string.h>

#define MAX_NODES (1u << 22)
#define MAX_WEIGHT 4000u // states, roughly, that a terminal made of several pieces may take

enum { E_FAILED, E_RX, E_REF, E_NET, E_TERM, E_CAT, E_ALT, E_AND, E_NOT, E_REPEAT };

bool e_init(ebnf *e, g_build *b, const char *text, size_t n) {
    *e = (ebnf){.b = b, .text = text, .n = n};
    return hth_map_init(&e->by_name, HTH_MEM_TEXT, 64) || g_fail_nomem(b);
}

void e_free(ebnf *e) {
    hth_free(e->nodes);
    hth_free(e->kids);
    hth_free(e->rules);
    hth_free(e->stack);
    hth_map_free(&e->by_name);
}

static unsigned line_at(const ebnf *e, size_t at) {
    unsigned line = 1;
    for (size_t i = 0; i < at && i < e->n; i++) line += e->text[i] == '\n';
    return line;
}

uint32_t e_bad(ebnf *e, hth_code code, const char *what) {
    g_fail(e->b, code, "grammar, line %u: %s", line_at(e, e->at), what);
    return 0;
}

uint32_t e_rule_of(ebnf *e, const char *name, size_t n) {
    uint32_t i;
    bool was_there;
    if (e->b->code != HTH_OK) return 0;
    if (!hth_map_insert(&e->by_name, name, n, (uint32_t)e->n_rule, &i, &was_there)) return g_fail_nomem(e->b);
    if (was_there) return i;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&e->rules, &e->cap_rule, e->n_rule + 1, sizeof *e->rules, MAX_NODES)) return g_fail_nomem(e->b);
    e->rules[e->n_rule] = (e_rule){.name = name, .n_name = (uint32_t)n, .pos = e->at, .rule = G_NONE};
    return (uint32_t)e->n_rule++;
}

// ---- expressions

static e_node add(ebnf *e, e_expr x) {
    if (e->b->code != HTH_OK) return 0;
    if (e->n_node == 0) e->n_node = 1;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&e->nodes, &e->cap_node, e->n_node + 1, sizeof x, MAX_NODES)) return g_fail_nomem(e->b);
    e->nodes[e->n_node] = x;
    return (e_node)e->n_node++;
}

e_node e_rx(ebnf *e, g_rx x) {
    return add(e, (e_expr){.kind = E_RX, .a = x});
}

e_node e_ref(ebnf *e, uint32_t rule) {
    return add(e, (e_expr){.kind = E_REF, .a = rule});
}

e_node e_net(ebnf *e, uint32_t net_rule) {
    return add(e, (e_expr){.kind = E_NET, .a = net_rule});
}

e_node e_tokens(ebnf *e, const g_token_set *set) {
    return add(e, (e_expr){.kind = E_TERM, .a = g_term_tokens(e->b, set)});
}

static e_node add_list(ebnf *e, int kind, const e_node *list, size_t n) {
    if (e->b->code != HTH_OK) return 0;
    if (n == 1) return list[0];
    if (kind == E_ALT && n > e->b->limits.alternatives) return e_bad(e, HTH_ERR_LIMIT, "more alternatives than allowed");
    if (!hth_grow(HTH_MEM_TEXT, (void **)&e->kids, &e->cap_kid, e->n_kid + n, sizeof *list, MAX_NODES)) return g_fail_nomem(e->b);
    if (n > 0) memcpy(e->kids + e->n_kid, list, n * sizeof *list);
    e->n_kid += n;
    return add(e, (e_expr){.kind = (uint8_t)kind, .a = (uint32_t)(e->n_kid - n), .b = (uint32_t)n});
}

e_node e_cat(ebnf *e, const e_node *list, size_t n) {
    return add_list(e, E_CAT, list, n);
}

e_node e_alt(ebnf *e, const e_node *list, size_t n) {
    return add_list(e, E_ALT, list, n);
}

e_node e_and(ebnf *e, e_node x, e_node y) {
    return add_list(e, E_AND, (e_node[]){x, y}, 2);
}

e_node e_not(ebnf *e, e_node x) {
    return add(e, (e_expr){.kind = E_NOT, .a = x});
}

e_node e_repeat(ebnf *e, e_node x, uint32_t min, uint32_t max) {
    if ((max == G_INFINITE ? min : max) > e->b->limits.repetition) return e_bad(e, HTH_ERR_LIMIT, "more repetitions than allowed");
    if (max != G_INFINITE && min > max) return e_bad(e, HTH_ERR_FORMAT, "a repetition of at least more than at most");
    return add(e, (e_expr){.kind = E_REPEAT, .a = x, .min = min, .max = max});
}

void e_push(ebnf *e, e_node x) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&e->stack, &e->cap_stack, e->n_stack + 1, sizeof x, MAX_NODES)) {
        g_fail_nomem(e->b);
        return;
    }
    e->stack[e->n_stack++] = x;
}

static e_node list_from(ebnf *e, int kind, size_t base) {
    const size_t n = e->n_stack - base;
    e->n_stack = base;
    return add_list(e, kind, n > 0 ? e->stack + base : NULL, n);
}

e_node e_cat_from(ebnf *e, size_t base) {
    return list_from(e, E_CAT, base);
}

e_node e_alt_from(ebnf *e, size_t base) {
    return list_from(e, E_ALT, base);
}

// ---- what is regular. Expressions are nested as deep as their brackets, which is limited.

// States that a node takes as one terminal; UINT32_MAX where it is not regular.
static uint32_t weigh(ebnf *e, e_node x) {
    const e_expr node = e->nodes[x];
    uint64_t sum = 1;
    switch (node.kind) {
    case E_RX: return g_rx_weight(e->b, node.a) + 1;
    case E_REF: return e->rules[node.a].is_regular ? g_rx_weight(e->b, e->rules[node.a].rx) + 1 : UINT32_MAX;
    case E_NOT:
        sum = weigh(e, node.a);
        return sum == UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
    case E_CAT:
    case E_ALT:
    case E_AND:
        for (uint32_t i = 0; i < node.b; i++) {
            const uint32_t w = weigh(e, e->kids[node.a + i]);
            if (w == UINT32_MAX) return w;
            sum += w;
        }
        break;
    case E_REPEAT:
        sum = weigh(e, node.a);
        if (sum == UINT32_MAX) return UINT32_MAX;
        sum *= (node.max == G_INFINITE ? node.min : node.max) + 1ull;
        break;
    default: return UINT32_MAX;
    }
    return sum < UINT32_MAX - 1 ? (uint32_t)sum : UINT32_MAX - 1;
}

static g_rx e_rx_of(ebnf *e, e_node x) {
    g_build *b = e->b;
    const e_expr node = e->nodes[x];
    if (b->code != HTH_OK || !g_work(b, 1)) return 0;
    if (node.kind == E_RX) return node.a;
    if (node.kind == E_REF) return e->rules[node.a].rx;
    if (node.kind == E_REPEAT) return g_rx_repeat(b, e_rx_of(e, node.a), node.min, node.max);
    if (node.kind == E_AND) return g_rx_and(b, e_rx_of(e, e->kids[node.a]), e_rx_of(e, e->kids[node.a + 1]));
    if (node.kind == E_NOT) return g_rx_except(b, g_rx_star(b, g_rx_any_char(b, e->enc)), e_rx_of(e, node.a));
    g_rx *list = hth_calloc(HTH_MEM_TEXT, (size_t)node.b + 1, sizeof *list);
    if (!list) return g_fail_nomem(b);
    for (uint32_t i = 0; i < node.b; i++) list[i] = e_rx_of(e, e->kids[node.a + i]);
    g_rx all = node.kind == E_CAT ? g_rx_cat(b, list, node.b) : g_rx_alt(b, list, node.b);
    hth_free(list);
    return all;
}

// In rounds: a rule is regular when all rules that it names are, and it is not too large to be written out everywhere.
static bool find_regular(ebnf *e) {
    for (bool changed = true; changed && e->b->code == HTH_OK;) {
        changed = false;
        for (size_t i = 0; i < e->n_rule && g_work(e->b, 16); i++) {
            e_rule *r = &e->rules[i];
            if (r->is_regular || !r->body) continue;
            const uint32_t w = weigh(e, r->body);
            if (w == UINT32_MAX || (w > MAX_WEIGHT && !r->is_terminal)) continue;
            r->rx = e_rx_of(e, r->body);
            if (r->is_terminal && w > MAX_WEIGHT / 8) { // written out once
                const uint32_t dfa = g_dfa_of(e->b, r->rx);
                if (dfa != G_NONE) r->rx = g_rx_dfa(e->b, dfa);
            }
            r->is_regular = true;
            changed = true;
        }
    }
    return e->b->code == HTH_OK;
}

// ---- edges

static void emit(ebnf *e, e_node x, uint32_t from, uint32_t to);

// Children of a sequence or choice from `from` on that make one terminal together: how many, and their expression.
static uint32_t take_run(ebnf *e, const e_expr *node, uint32_t from, g_rx *out) {
    uint32_t n = 0;
    uint64_t weight = 0;
    while (from + n < node->b) {
        const uint32_t w = weigh(e, e->kids[node->a + from + n]);
        if (w == UINT32_MAX || (n > 0 && weight + w > MAX_WEIGHT)) break;
        weight += w;
        n++;
    }
    if (n == 0) return 0;
    const e_expr part = {.kind = node->kind, .a = node->a + from, .b = n};
    const e_node made = add(e, part);
    *out = made ? e_rx_of(e, made) : 0;
    return n;
}

static void emit_list(ebnf *e, const e_expr *node, uint32_t from, uint32_t to) {
    g_build *b = e->b;
    uint32_t at = from;
    for (uint32_t i = 0; i < node->b && b->code == HTH_OK;) {
        g_rx x;
        const uint32_t n = take_run(e, node, i, &x), taken = n > 0 ? n : 1;
        uint32_t next = to;
        if (node->kind == E_CAT && i + taken < node->b) next = g_state(b);
        const uint32_t start = node->kind == E_CAT ? at : from;
        if (n > 0) {
            g_edge_rx(b, start, x, next);
        } else {
            emit(e, e->kids[node->a + i], start, next);
        }
        at = next;
        i += taken;
    }
    if (node->b == 0 && node->kind == E_CAT) g_edge_empty(b, from, to);
}

static void emit_repeat(ebnf *e, const e_expr *node, uint32_t from, uint32_t to) {
    g_build *b = e->b;
    for (uint32_t i = 0; i < node->min && b->code == HTH_OK; i++) {
        const uint32_t next = g_state(b);
        emit(e, node->a, from, next);
        from = next;
    }
    if (node->max == G_INFINITE) {
        const uint32_t loop = g_state(b), back = g_state(b);
        if (b->code != HTH_OK) return;
        g_edge_empty(b, from, loop);
        emit(e, node->a, loop, back);
        g_edge_empty(b, back, loop);
        g_edge_empty(b, loop, to);
        return;
    }
    for (uint32_t i = node->min; i < node->max && b->code == HTH_OK; i++) {
        const uint32_t next = g_state(b);
        g_edge_empty(b, from, to);
        emit(e, node->a, from, next);
        from = next;
    }
    if (b->code == HTH_OK) g_edge_empty(b, from, to);
}

static void emit(ebnf *e, e_node x, uint32_t from, uint32_t to) {
    g_build *b = e->b;
    if (b->code != HTH_OK || !g_work(b, 1)) return;
    const e_expr node = e->nodes[x];
    const uint32_t w = weigh(e, x);
    if (w != UINT32_MAX && (w <= MAX_WEIGHT || (node.kind != E_CAT && node.kind != E_ALT && node.kind != E_REPEAT))) {
        g_edge_rx(b, from, e_rx_of(e, x), to);
        return;
    }
    switch (node.kind) {
    case E_REF: g_edge_add(b, from, EDGE_RULE, e->rules[node.a].rule, to); break;
    case E_NET: g_edge_add(b, from, EDGE_RULE, node.a, to); break;
    case E_TERM: g_edge_add(b, from, EDGE_TERM, node.a, to); break;
    case E_REPEAT: emit_repeat(e, &node, from, to); break;
    default: emit_list(e, &node, from, to);
    }
}

static bool check_rules(ebnf *e) {
    for (size_t i = 0; i < e->n_rule; i++) {
        const e_rule *r = &e->rules[i];
        char what[160];
        e->at = (size_t)r->pos;
        if (!r->body) {
            snprintf(what, sizeof what, "%.*s is not defined", (int)(r->n_name < 100 ? r->n_name : 100), r->name);
            return e_bad(e, HTH_ERR_FORMAT, what);
        }
        if (r->is_terminal && !r->is_regular) {
            snprintf(what, sizeof what, "the terminal %.*s is not regular: it leads to itself or to a rule",
                     (int)(r->n_name < 100 ? r->n_name : 100), r->name);
            return e_bad(e, HTH_ERR_FORMAT, what);
        }
    }
    return true;
}

bool e_finish(ebnf *e, uint32_t start) {
    g_build *b = e->b;
    if (b->code != HTH_OK || !find_regular(e) || !check_rules(e)) return false;
    for (size_t i = 0; i < e->n_rule; i++) {
        if (!e->rules[i].is_regular || i == start) e->rules[i].rule = g_rule_new(b);
    }
    for (size_t i = 0; i < e->n_rule && b->code == HTH_OK; i++) {
        const e_rule r = e->rules[i];
        if (r.rule != G_NONE) emit(e, r.body, b->rules[r.rule].start, b->rules[r.rule].end);
    }
    b->start_rule = e->rules[start].rule;
    return b->code == HTH_OK;
}

// ---- tokens

bool e_take_number(ebnf *e, uint32_t *out) {
    const size_t from = e->at;
    uint64_t v = 0;
    while (e->at < e->n && e->text[e->at] >= '0' && e->text[e->at] <= '9') {
        v = v * 10 + (uint64_t)(e->text[e->at++] - '0');
        if (v >= INT32_MAX) v = INT32_MAX;
    }
    *out = (uint32_t)v;
    return e->at > from;
}

static e_node take_ids(ebnf *e, bool negated) {
    e_node list[64];
    size_t n = 0;
    do {
        uint32_t first, last;
        e->at++; // [ or ,
        if (!e_take_number(e, &first)) return e_bad(e, HTH_ERR_FORMAT, "<[ without a token's number");
        last = first;
        if (e->at < e->n && e->text[e->at] == '-') {
            e->at++;
            if (!e_take_number(e, &last) || last < first) return e_bad(e, HTH_ERR_FORMAT, "a bad range of tokens");
        }
        if (n == HTH_COUNT(list)) return e_bad(e, HTH_ERR_LIMIT, "more than 64 ranges of tokens");
        list[n++] = e_tokens(e, &(g_token_set){.first = (int32_t)first, .last = (int32_t)last, .is_other = negated});
    } while (e->at < e->n && e->text[e->at] == ',');
    if (negated && n > 1) return e_bad(e, HTH_ERR_UNSUPPORTED, "the opposite of several ranges of tokens");
    if (e->n - e->at < 2 || memcmp(e->text + e->at, "]>", 2) != 0) return e_bad(e, HTH_ERR_FORMAT, "<[ without ]>");
    e->at += 2;
    return e_alt(e, list, n);
}

e_node e_take_token(ebnf *e, bool negated) {
    const size_t from = e->at++; // at <
    if (e->at < e->n && e->text[e->at] == '[') return take_ids(e, negated);
    while (e->at < e->n && e->text[e->at] != '>' && e->text[e->at] != '\n') e->at++;
    if (e->at >= e->n || e->text[e->at] != '>') return e_bad(e, HTH_ERR_FORMAT, "< without >");
    const size_t n = ++e->at - from;
    char *name = g_alloc(e->b, n + 1, 1);
    if (!name) return 0;
    memcpy(name, e->text + from, n);
    return e_tokens(e, &(g_token_set){.name = name, .n_name = (uint32_t)n, .is_other = negated});
}
