// Expressions, by the grammar of jinja2's parser. Each node keeps the line that jinja2 gives it, because the
// line of an error is the line of the outermost expression that was being printed.
#include "chat/jinja_parse_impl.h"

static hth_code parse_unary(jj_parser *p, bool with_filter, jj_node **out);

static hth_code enter(jj_parser *p) {
    if (++p->nesting <= JJ_MAX_NESTING) return HTH_OK;
    return hth_fail(p->err, HTH_ERR_LIMIT, "chat template, line %u: expressions are nested deeper than %d",
                    p->at->line, JJ_MAX_NESTING);
}

static hth_code binary(jj_parser *p, jj_type type, jj_op op, uint32_t line, jj_node *a, jj_node *b, jj_node **out) {
    HTH_TRY(jj_new_node(p, type, line, a->begin, out));
    (*out)->op = (uint8_t)op;
    (*out)->a = a;
    (*out)->b = b;
    return jj_finish(p, *out);
}

static hth_code parse_primary_name(jj_parser *p, bool with_namespace, jj_node **out) {
    const jj_token *token = p->at;
    HTH_TRY(jj_advance(p));
    bool is_true = jj_is_name(token, "true") || jj_is_name(token, "True");
    bool is_false = jj_is_name(token, "false") || jj_is_name(token, "False");
    if (is_true || is_false) {
        HTH_TRY(jj_new_node(p, JJ_CONST, token->line, token->begin, out));
        (*out)->value = jj_bool(is_true);
    } else if (jj_is_name(token, "none") || jj_is_name(token, "None")) {
        HTH_TRY(jj_new_node(p, JJ_CONST, token->line, token->begin, out));
        (*out)->value = JJ_PY_NONE;
    } else if (with_namespace && jj_at_op(p, ".")) {
        HTH_TRY(jj_advance(p));
        const jj_token *attr = p->at;
        HTH_TRY(jj_expect_type(p, JJ_T_NAME, "name"));
        HTH_TRY(jj_new_node(p, JJ_NSREF, token->line, token->begin, out));
        (*out)->name = token->s;
        (*out)->value = (jj_value){.kind = HTH_JINJA_STR, .u.s = attr->s};
    } else {
        HTH_TRY(jj_new_node(p, JJ_NAME, token->line, token->begin, out));
        (*out)->name = token->s;
    }
    return HTH_OK;
}

static hth_code parse_strings(jj_parser *p, jj_node **out) {
    const jj_token *first = p->at;
    size_t n = 0;
    for (const jj_token *t = first; t->type == JJ_T_STRING; t++) n += t->s->n;
    const jj_str *s = first->s;
    HTH_TRY(jj_advance(p));
    if (p->at->type == JJ_T_STRING) { // neighbours are joined
        char *text = hth_arena_alloc(&p->t->arena, n + 1, 1);
        if (!text) return jj_arena_full(&p->t->arena, p->err);
        memcpy(text, s->p, s->n);
        size_t at = s->n;
        while (p->at->type == JJ_T_STRING) {
            memcpy(text + at, p->at->s->p, p->at->s->n);
            at += p->at->s->n;
            HTH_TRY(jj_advance(p));
        }
        s = jj_const_str(&p->t->arena, text, n);
        if (!s) return jj_arena_full(&p->t->arena, p->err);
    }
    HTH_TRY(jj_new_node(p, JJ_CONST, first->line, first->begin, out));
    (*out)->value = (jj_value){.kind = HTH_JINJA_STR, .u.s = s};
    return HTH_OK;
}

static hth_code parse_list(jj_parser *p, jj_node **out) {
    const jj_token *token = p->at;
    jj_node_list list = {0};
    hth_code code = jj_expect_op(p, "[");
    while (code == HTH_OK && !jj_at_op(p, "]")) {
        jj_node *item;
        if (list.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        if (jj_at_op(p, "]")) break;
        HTH_TRY_GOTO(code, jj_parse_expression(p, true, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
    }
    if (code == HTH_OK) HTH_TRY_GOTO(code, jj_expect_op(p, "]"), done);
    if (code == HTH_OK) HTH_TRY_GOTO(code, jj_new_node(p, JJ_LIST, token->line, token->begin, out), done);
    if (code == HTH_OK) code = jj_keep(p, &list, &(*out)->list);
done:
    hth_free(list.p);
    return code == HTH_OK ? jj_finish(p, *out) : code;
}

static hth_code parse_dict(jj_parser *p, jj_node **out) {
    const jj_token *token = p->at;
    jj_node_list list = {0};
    jj_node *item;
    hth_code code;
    HTH_TRY_GOTO(code, jj_expect_op(p, "{"), done);
    while (!jj_at_op(p, "}")) {
        if (list.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        if (jj_at_op(p, "}")) break;
        HTH_TRY_GOTO(code, jj_parse_expression(p, true, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
        HTH_TRY_GOTO(code, jj_expect_op(p, ":"), done);
        HTH_TRY_GOTO(code, jj_parse_expression(p, true, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
    }
    HTH_TRY_GOTO(code, jj_expect_op(p, "}"), done);
    HTH_TRY_GOTO(code, jj_new_node(p, JJ_DICT, token->line, token->begin, out), done);
    HTH_TRY_GOTO(code, jj_keep(p, &list, &(*out)->list), done);
    code = jj_finish(p, *out);
done:
    hth_free(list.p);
    return code;
}

static hth_code parse_primary(jj_parser *p, bool with_namespace, jj_node **out) {
    const jj_token *token = p->at;
    switch (token->type) {
    case JJ_T_NAME: return parse_primary_name(p, with_namespace, out);
    case JJ_T_STRING: return parse_strings(p, out);
    case JJ_T_INTEGER:
    case JJ_T_FLOAT:
        HTH_TRY(jj_advance(p));
        HTH_TRY(jj_new_node(p, JJ_CONST, token->line, token->begin, out));
        (*out)->value = token->value;
        return HTH_OK;
    default: break;
    }
    if (jj_is_op(token, "(")) {
        HTH_TRY(enter(p));
        HTH_TRY(jj_advance(p));
        HTH_TRY(jj_parse_tuple(p, (jj_tuple_rules){.parentheses = true}, out));
        HTH_TRY(jj_expect_op(p, ")"));
        p->nesting--;
        return HTH_OK;
    }
    if (jj_is_op(token, "[") || jj_is_op(token, "{")) {
        HTH_TRY(enter(p));
        HTH_TRY(jj_is_op(token, "[") ? parse_list(p, out) : parse_dict(p, out));
        p->nesting--;
        return HTH_OK;
    }
    return jj_syntax(p->err, token->line, "unexpected '%s'", jj_describe(p, token));
}

// One subscript between brackets: an expression or a slice.
static hth_code parse_subscribed(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line, begin = p->at->begin;
    jj_node *part[3] = {NULL, NULL, NULL};
    if (!jj_at_op(p, ":")) {
        HTH_TRY(jj_parse_expression(p, true, &part[0]));
        *out = part[0];
        if (!jj_at_op(p, ":")) return HTH_OK;
    }
    HTH_TRY(jj_advance(p));
    if (!jj_at_op(p, ":") && !jj_at_op(p, "]") && !jj_at_op(p, ",")) {
        HTH_TRY(jj_parse_expression(p, true, &part[1]));
    }
    if (jj_at_op(p, ":")) {
        HTH_TRY(jj_advance(p));
        if (!jj_at_op(p, "]") && !jj_at_op(p, ",")) HTH_TRY(jj_parse_expression(p, true, &part[2]));
    }
    HTH_TRY(jj_new_node(p, JJ_SLICE, line, begin, out));
    (*out)->a = part[0];
    (*out)->b = part[1];
    (*out)->c = part[2];
    return jj_finish(p, *out);
}

static hth_code parse_subscripts(jj_parser *p, uint32_t line, jj_node **out) {
    jj_node_list list = {0};
    jj_node *item;
    uint32_t begin = p->at->begin;
    hth_code code = HTH_OK;
    while (!jj_at_op(p, "]")) {
        if (list.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        HTH_TRY_GOTO(code, parse_subscribed(p, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
    }
    HTH_TRY_GOTO(code, jj_expect_op(p, "]"), done);
    if (list.n == 1) {
        *out = list.p[0];
        goto done;
    }
    HTH_TRY_GOTO(code, jj_new_node(p, JJ_TUPLE, line, begin, out), done);
    HTH_TRY_GOTO(code, jj_keep(p, &list, &(*out)->list), done);
    code = jj_finish(p, *out);
done:
    hth_free(list.p);
    return code;
}

static hth_code parse_subscript(jj_parser *p, jj_node **node) {
    const jj_token *token = p->at;
    jj_node *n, *arg;
    HTH_TRY(jj_advance(p));
    if (token->op[0] == '.') {
        const jj_token *attr = p->at;
        HTH_TRY(jj_advance(p));
        if (attr->type == JJ_T_NAME) {
            HTH_TRY(jj_new_node(p, JJ_GETATTR, token->line, (*node)->begin, &n));
            n->a = *node;
            n->name = attr->s;
            *node = n;
            return jj_finish(p, n);
        }
        if (attr->type != JJ_T_INTEGER) return jj_syntax(p->err, attr->line, "expected name or number");
        HTH_TRY(jj_new_node(p, JJ_CONST, attr->line, attr->begin, &arg));
        arg->value = attr->value;
    } else {
        HTH_TRY(enter(p));
        HTH_TRY(parse_subscripts(p, token->line, &arg));
        p->nesting--;
    }
    HTH_TRY(jj_new_node(p, JJ_GETITEM, token->line, (*node)->begin, &n));
    n->a = *node;
    n->b = arg;
    *node = n;
    return jj_finish(p, n);
}

// One argument of a call, into n (dynamic ones) or the lists.
static hth_code parse_argument(jj_parser *p, uint32_t line, jj_node *n, jj_node_list *args, jj_node_list *kwargs) {
    static const char broken[] = "invalid syntax for function call expression";
    jj_node *value;
    if (jj_at_op(p, "*")) {
        if (n->b || n->c) return jj_syntax(p->err, line, broken);
        HTH_TRY(jj_advance(p));
        return jj_parse_expression(p, true, &n->b);
    }
    if (jj_at_op(p, "**")) {
        if (n->c) return jj_syntax(p->err, line, broken);
        HTH_TRY(jj_advance(p));
        return jj_parse_expression(p, true, &n->c);
    }
    const jj_token *key = p->at, *next = NULL;
    if (key->type == JJ_T_NAME) HTH_TRY(jj_look(p, &next));
    if (next && jj_is_op(next, "=")) {
        if (n->c) return jj_syntax(p->err, line, broken);
        HTH_TRY(jj_advance(p));
        HTH_TRY(jj_advance(p));
        HTH_TRY(jj_parse_expression(p, true, &value));
        jj_node *keyword;
        HTH_TRY(jj_new_node(p, JJ_KEYWORD, value->line, key->begin, &keyword));
        keyword->name = key->s;
        keyword->a = value;
        HTH_TRY(jj_finish(p, keyword));
        return jj_push(p, kwargs, keyword);
    }
    if (n->b || n->c || kwargs->n > 0) return jj_syntax(p->err, line, broken);
    HTH_TRY(jj_parse_expression(p, true, &value));
    return jj_push(p, args, value);
}

// The parenthesis of a call: list = positional, list2 = keywords, b = *args, c = **kwargs.
static hth_code parse_call_args(jj_parser *p, jj_node *n) {
    jj_node_list args = {0}, kwargs = {0};
    uint32_t line = p->at->line;
    bool need_comma = false;
    hth_code code;
    HTH_TRY_GOTO(code, enter(p), done);
    HTH_TRY_GOTO(code, jj_expect_op(p, "("), done);
    while (!jj_at_op(p, ")")) {
        if (need_comma) {
            HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
            if (jj_at_op(p, ")")) break;
        }
        HTH_TRY_GOTO(code, parse_argument(p, line, n, &args, &kwargs), done);
        need_comma = true;
    }
    HTH_TRY_GOTO(code, jj_expect_op(p, ")"), done);
    HTH_TRY_GOTO(code, jj_keep(p, &args, &n->list), done);
    HTH_TRY_GOTO(code, jj_keep(p, &kwargs, &n->list2), done);
    p->nesting--;
done:
    hth_free(args.p);
    hth_free(kwargs.p);
    return code;
}

static hth_code parse_call(jj_parser *p, jj_node **node) {
    jj_node *n;
    HTH_TRY(jj_new_node(p, JJ_CALL, p->at->line, (*node)->begin, &n));
    n->a = *node;
    HTH_TRY(parse_call_args(p, n));
    *node = n;
    return jj_finish(p, n);
}

static hth_code parse_postfix(jj_parser *p, jj_node **node) {
    for (;;) {
        if (jj_at_op(p, ".") || jj_at_op(p, "[")) {
            HTH_TRY(parse_subscript(p, node));
        } else if (jj_at_op(p, "(")) {
            HTH_TRY(parse_call(p, node));
        } else {
            return HTH_OK;
        }
    }
}

// A filter's or test's name may have dots.
static hth_code parse_dotted(jj_parser *p, const jj_str **out) {
    const jj_token *first = p->at, *last = first;
    HTH_TRY(jj_expect_type(p, JJ_T_NAME, "name"));
    while (jj_at_op(p, ".")) {
        HTH_TRY(jj_advance(p));
        last = p->at;
        HTH_TRY(jj_expect_type(p, JJ_T_NAME, "name"));
    }
    *out = first->s;
    if (last != first) { // no such filter exists; the spelling is for the message
        *out = jj_const_str(&p->t->arena, p->t->source + first->begin, last->end - first->begin);
        if (!*out) return jj_arena_full(&p->t->arena, p->err);
    }
    return HTH_OK;
}

hth_code jj_parse_filter(jj_parser *p, jj_node *input, bool start_inline, jj_node **out) {
    *out = input;
    while (jj_at_op(p, "|") || start_inline) {
        if (!start_inline) HTH_TRY(jj_advance(p));
        start_inline = false;
        jj_node *n;
        uint32_t line = p->at->line;
        HTH_TRY(jj_new_node(p, JJ_FILTER, line, *out ? (*out)->begin : p->at->begin, &n));
        HTH_TRY(parse_dotted(p, &n->name));
        n->a = *out;
        if (jj_at_op(p, "(")) HTH_TRY(parse_call_args(p, n));
        HTH_TRY(jj_finish(p, n));
        *out = n;
    }
    return HTH_OK;
}

static bool begins_test_argument(const jj_parser *p) {
    const jj_token *t = p->at;
    bool begins = t->type == JJ_T_NAME || t->type == JJ_T_STRING || t->type == JJ_T_INTEGER ||
                  t->type == JJ_T_FLOAT || jj_is_op(t, "[") || jj_is_op(t, "{");
    return begins && !jj_is_name(t, "else") && !jj_is_name(t, "or") && !jj_is_name(t, "and");
}

static hth_code parse_test(jj_parser *p, jj_node **node) {
    const jj_token *token = p->at;
    jj_node *n, *arg;
    bool negated;
    HTH_TRY(jj_advance(p));
    HTH_TRY(jj_skip_name(p, "not", &negated));
    HTH_TRY(jj_new_node(p, JJ_TEST, token->line, (*node)->begin, &n));
    n->a = *node;
    HTH_TRY(parse_dotted(p, &n->name));
    if (jj_at_op(p, "(")) {
        HTH_TRY(parse_call_args(p, n));
    } else if (begins_test_argument(p)) {
        if (jj_at_name(p, "is")) return jj_syntax(p->err, p->at->line, "You cannot chain multiple tests with is");
        HTH_TRY(parse_primary(p, false, &arg));
        HTH_TRY(parse_postfix(p, &arg));
        jj_node_list args = {0};
        HTH_TRY(jj_push(p, &args, arg));
        HTH_TRY(jj_keep(p, &args, &n->list));
    }
    HTH_TRY(jj_finish(p, n));
    *node = n;
    if (!negated) return HTH_OK;
    HTH_TRY(jj_new_node(p, JJ_NOT, token->line, n->begin, node));
    (*node)->a = n;
    return jj_finish(p, *node);
}

static hth_code parse_filter_expr(jj_parser *p, jj_node **node) {
    for (;;) {
        if (jj_at_op(p, "|")) {
            HTH_TRY(jj_parse_filter(p, *node, false, node));
        } else if (jj_at_name(p, "is")) {
            HTH_TRY(parse_test(p, node));
        } else if (jj_at_op(p, "(")) {
            HTH_TRY(parse_call(p, node));
        } else {
            return HTH_OK;
        }
    }
}

static hth_code parse_unary(jj_parser *p, bool with_filter, jj_node **out) {
    const jj_token *token = p->at;
    if (jj_is_op(token, "-") || jj_is_op(token, "+")) {
        jj_node *a;
        HTH_TRY(enter(p));
        HTH_TRY(jj_advance(p));
        HTH_TRY(parse_unary(p, false, &a));
        p->nesting--;
        HTH_TRY(jj_new_node(p, token->op[0] == '-' ? JJ_NEG : JJ_POS, token->line, token->begin, out));
        (*out)->a = a;
        HTH_TRY(jj_finish(p, *out));
    } else {
        HTH_TRY(parse_primary(p, false, out));
    }
    HTH_TRY(parse_postfix(p, out));
    return with_filter ? parse_filter_expr(p, out) : HTH_OK;
}

static hth_code parse_pow(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line;
    HTH_TRY(parse_unary(p, true, out));
    while (jj_at_op(p, "**")) {
        jj_node *right;
        HTH_TRY(jj_advance(p));
        HTH_TRY(parse_unary(p, true, &right));
        HTH_TRY(binary(p, JJ_BINARY, JJ_POW, line, *out, right, out));
        line = p->at->line;
    }
    return HTH_OK;
}

static hth_code parse_math2(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line;
    HTH_TRY(parse_pow(p, out));
    for (;;) {
        jj_node *right;
        jj_op op = jj_at_op(p, "*") ? JJ_MUL : jj_at_op(p, "/") ? JJ_DIV : jj_at_op(p, "//") ? JJ_FLOORDIV : JJ_MOD;
        if (op == JJ_MOD && !jj_at_op(p, "%")) return HTH_OK;
        HTH_TRY(jj_advance(p));
        HTH_TRY(parse_pow(p, &right));
        HTH_TRY(binary(p, JJ_BINARY, op, line, *out, right, out));
        line = p->at->line;
    }
}

static hth_code parse_concat(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line;
    HTH_TRY(parse_math2(p, out));
    if (!jj_at_op(p, "~")) return HTH_OK;
    jj_node_list list = {0};
    jj_node *item = *out;
    uint32_t begin = item->begin;
    hth_code code;
    HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
    while (jj_at_op(p, "~")) {
        HTH_TRY_GOTO(code, jj_advance(p), done);
        HTH_TRY_GOTO(code, parse_math2(p, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
    }
    HTH_TRY_GOTO(code, jj_new_node(p, JJ_CONCAT, line, begin, out), done);
    HTH_TRY_GOTO(code, jj_keep(p, &list, &(*out)->list), done);
    code = jj_finish(p, *out);
done:
    hth_free(list.p);
    return code;
}

static hth_code parse_math1(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line;
    HTH_TRY(parse_concat(p, out));
    while (jj_at_op(p, "+") || jj_at_op(p, "-")) {
        jj_node *right;
        jj_op op = jj_at_op(p, "+") ? JJ_ADD : JJ_SUB;
        HTH_TRY(jj_advance(p));
        HTH_TRY(parse_concat(p, &right));
        HTH_TRY(binary(p, JJ_BINARY, op, line, *out, right, out));
        line = p->at->line;
    }
    return HTH_OK;
}

// The comparison that stands at the current token; false: none.
static hth_code parse_comparator(jj_parser *p, jj_op *op, bool *found) {
    static const struct {
        const char *text;
        jj_op op;
    } rows[] = {{"==", JJ_EQ}, {"!=", JJ_NE}, {"<", JJ_LT}, {"<=", JJ_LE}, {">", JJ_GT}, {">=", JJ_GE}};
    *found = true;
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (!jj_at_op(p, rows[i].text)) continue;
        *op = rows[i].op;
        return jj_advance(p);
    }
    *op = JJ_IN;
    if (jj_at_name(p, "in")) return jj_advance(p);
    const jj_token *next = NULL;
    if (jj_at_name(p, "not")) HTH_TRY(jj_look(p, &next));
    *found = next && jj_is_name(next, "in");
    if (!*found) return HTH_OK;
    *op = JJ_NOT_IN;
    HTH_TRY(jj_advance(p));
    return jj_advance(p);
}

static hth_code parse_compare(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line;
    jj_node_list list = {0};
    jj_node *first, *right, *operand;
    HTH_TRY(parse_math1(p, &first));
    *out = first;
    hth_code code;
    for (;;) {
        jj_op op;
        bool found;
        HTH_TRY_GOTO(code, parse_comparator(p, &op, &found), done);
        if (!found) break;
        HTH_TRY_GOTO(code, parse_math1(p, &right), done);
        HTH_TRY_GOTO(code, jj_new_node(p, JJ_OPERAND, line, right->begin, &operand), done);
        operand->op = (uint8_t)op;
        operand->a = right;
        HTH_TRY_GOTO(code, jj_finish(p, operand), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, operand), done);
        line = p->at->line;
    }
    if (list.n == 0) return HTH_OK;
    HTH_TRY_GOTO(code, jj_new_node(p, JJ_COMPARE, line, first->begin, out), done);
    (*out)->a = first;
    HTH_TRY_GOTO(code, jj_keep(p, &list, &(*out)->list), done);
    code = jj_finish(p, *out);
done:
    hth_free(list.p);
    return code;
}

static hth_code parse_not(jj_parser *p, jj_node **out) {
    const jj_token *token = p->at;
    if (!jj_at_name(p, "not")) return parse_compare(p, out);
    jj_node *a;
    HTH_TRY(enter(p));
    HTH_TRY(jj_advance(p));
    HTH_TRY(parse_not(p, &a));
    p->nesting--;
    HTH_TRY(jj_new_node(p, JJ_NOT, token->line, token->begin, out));
    (*out)->a = a;
    return jj_finish(p, *out);
}

typedef hth_code (*parse_fn)(jj_parser *p, jj_node **out);

// Parts with a word between them, from the left.
static hth_code parse_chain(jj_parser *p, const char *word, jj_type type, parse_fn part, jj_node **out) {
    uint32_t line = p->at->line;
    bool more;
    HTH_TRY(part(p, out));
    for (;;) {
        jj_node *right;
        HTH_TRY(jj_skip_name(p, word, &more));
        if (!more) return HTH_OK;
        HTH_TRY(part(p, &right));
        HTH_TRY(binary(p, type, JJ_ADD, line, *out, right, out));
        line = p->at->line;
    }
}

static hth_code parse_and(jj_parser *p, jj_node **out) {
    return parse_chain(p, "and", JJ_AND, parse_not, out);
}

static hth_code parse_or(jj_parser *p, jj_node **out) {
    return parse_chain(p, "or", JJ_OR, parse_and, out);
}

static hth_code parse_cond(jj_parser *p, jj_node **out) {
    uint32_t line = p->at->line;
    bool more, has_else;
    HTH_TRY(enter(p));
    HTH_TRY(parse_or(p, out));
    for (;;) {
        jj_node *test, *other = NULL, *n;
        HTH_TRY(jj_skip_name(p, "if", &more));
        if (!more) break;
        HTH_TRY(parse_or(p, &test));
        HTH_TRY(jj_skip_name(p, "else", &has_else));
        if (has_else) HTH_TRY(parse_cond(p, &other));
        HTH_TRY(jj_new_node(p, JJ_COND, line, (*out)->begin, &n));
        n->a = test;
        n->b = *out;
        n->c = other;
        HTH_TRY(jj_finish(p, n));
        *out = n;
        line = p->at->line;
    }
    p->nesting--;
    return HTH_OK;
}

hth_code jj_parse_expression(jj_parser *p, bool with_cond, jj_node **out) {
    return with_cond ? parse_cond(p, out) : parse_or(p, out);
}

static bool ends_tuple(const jj_parser *p, jj_tuple_rules rules) {
    return p->at->type == JJ_T_VARIABLE_END || p->at->type == JJ_T_BLOCK_END || jj_at_op(p, ")") ||
           (rules.end_name && jj_at_name(p, rules.end_name));
}

hth_code jj_parse_tuple(jj_parser *p, jj_tuple_rules rules, jj_node **out) {
    uint32_t line = p->at->line, begin = p->at->begin;
    jj_node_list list = {0};
    bool is_tuple = false;
    hth_code code = HTH_OK;
    for (;;) {
        jj_node *item;
        if (list.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        if (ends_tuple(p, rules)) break;
        HTH_TRY_GOTO(code, rules.simplified ? parse_primary(p, rules.with_namespace, &item)
                                            : jj_parse_expression(p, !rules.no_cond, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
        if (!jj_at_op(p, ",")) break;
        is_tuple = true;
        line = p->at->line;
    }
    if (!is_tuple && list.n > 0) {
        *out = list.p[0];
        goto done;
    }
    if (!is_tuple && !rules.parentheses) {
        code = jj_syntax(p->err, p->at->line, "Expected an expression, got '%s'", jj_describe(p, p->at));
        goto done;
    }
    HTH_TRY_GOTO(code, jj_new_node(p, JJ_TUPLE, line, begin, out), done);
    HTH_TRY_GOTO(code, jj_keep(p, &list, &(*out)->list), done);
    code = jj_finish(p, *out);
done:
    hth_free(list.p);
    return code;
}
