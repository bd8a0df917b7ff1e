// Statements, by the grammar of jinja2's parser and with its messages.
#include "chat/jinja_parse_impl.h"

#include <stdio.h>

#define MAX_NODES ((size_t)1 << 20)

// ---- tokens ----

bool jj_is_op(const jj_token *t, const char *op) {
    return t->type == JJ_T_OP && strcmp(t->op, op) == 0;
}

bool jj_is_name(const jj_token *t, const char *name) {
    return t->type == JJ_T_NAME && jj_str_is(t->s, name);
}

bool jj_at_op(const jj_parser *p, const char *op) {
    return jj_is_op(p->at, op);
}

bool jj_at_name(const jj_parser *p, const char *name) {
    return jj_is_name(p->at, name);
}

// An error of the lexer shows when its token is reached.
static hth_code check_token(jj_parser *p, const jj_token *t) {
    return t->type == JJ_T_ERROR ? jj_syntax(p->err, t->line, "%s", t->text) : HTH_OK;
}

hth_code jj_advance(jj_parser *p) {
    p->last_end = p->at->end;
    if (p->at->type != JJ_T_EOF) p->at++;
    return check_token(p, p->at);
}

hth_code jj_look(jj_parser *p, const jj_token **out) {
    *out = p->at->type == JJ_T_EOF ? p->at : p->at + 1;
    return check_token(p, *out);
}

hth_code jj_skip_op(jj_parser *p, const char *op, bool *was_there) {
    *was_there = jj_at_op(p, op);
    return *was_there ? jj_advance(p) : HTH_OK;
}

hth_code jj_skip_name(jj_parser *p, const char *name, bool *was_there) {
    *was_there = jj_at_name(p, name);
    return *was_there ? jj_advance(p) : HTH_OK;
}

const char *jj_describe(const jj_parser *p, const jj_token *t) {
    (void)p;
    switch (t->type) {
    case JJ_T_EOF: return "end of template";
    case JJ_T_DATA: return "template data / text";
    case JJ_T_BLOCK_BEGIN: return "begin of statement block";
    case JJ_T_BLOCK_END: return "end of statement block";
    case JJ_T_VARIABLE_BEGIN: return "begin of print statement";
    case JJ_T_VARIABLE_END: return "end of print statement";
    case JJ_T_STRING: return "string";
    case JJ_T_INTEGER: return "integer";
    case JJ_T_FLOAT: return "float";
    case JJ_T_OP: return t->op;
    case JJ_T_ERROR: return "error";
    case JJ_T_NAME: break;
    }
    char *copy = hth_arena_strndup(&p->t->arena, t->s->p, t->s->n < 60 ? t->s->n : 60);
    return copy ? copy : "name";
}

static hth_code unexpected(jj_parser *p, const char *what) {
    if (p->at->type == JJ_T_EOF) {
        return jj_syntax(p->err, p->at->line, "unexpected end of template, expected '%s'.", what);
    }
    return jj_syntax(p->err, p->at->line, "expected token '%s', got '%s'", what, jj_describe(p, p->at));
}

hth_code jj_expect_op(jj_parser *p, const char *op) {
    return jj_at_op(p, op) ? jj_advance(p) : unexpected(p, op);
}

hth_code jj_expect_type(jj_parser *p, jj_token_type type, const char *what) {
    return p->at->type == type ? jj_advance(p) : unexpected(p, what);
}

hth_code jj_expect_name(jj_parser *p, const char *name) {
    return jj_at_name(p, name) ? jj_advance(p) : unexpected(p, name);
}

// ---- nodes ----

hth_code jj_new_node(jj_parser *p, jj_type type, uint32_t line, uint32_t begin, jj_node **out) {
    jj_node *n = hth_arena_alloc(&p->t->arena, 1, sizeof *n);
    if (!n) return jj_arena_full(&p->t->arena, p->err);
    n->type = (uint8_t)type;
    n->line = line;
    n->begin = begin;
    n->end = p->last_end;
    n->depth = 1;
    *out = n;
    return HTH_OK;
}

static void take_depth(jj_node *n, const jj_node *child) {
    if (child && child->depth >= n->depth) n->depth = (uint16_t)(child->depth + 1);
}

hth_code jj_finish(jj_parser *p, jj_node *n) {
    const jj_nodes lists[] = {n->list, n->list2, n->list3};
    take_depth(n, n->a);
    take_depth(n, n->b);
    take_depth(n, n->c);
    for (size_t i = 0; i < HTH_COUNT(lists); i++) {
        for (uint32_t k = 0; k < lists[i].n; k++) take_depth(n, lists[i].p[k]);
    }
    n->end = p->last_end;
    if (n->depth <= JJ_MAX_DEPTH) return HTH_OK;
    return hth_fail(p->err, HTH_ERR_LIMIT, "chat template, line %u: a tree deeper than %d", n->line, JJ_MAX_DEPTH);
}

hth_code jj_push(jj_parser *p, jj_node_list *list, jj_node *n) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&list->p, &list->cap, list->n + 1, sizeof *list->p, MAX_NODES)) {
        return hth_fail_nomem(p->err, (list->n + 1) * sizeof *list->p);
    }
    list->p[list->n++] = n;
    return HTH_OK;
}

hth_code jj_keep(jj_parser *p, jj_node_list *list, jj_nodes *out) {
    jj_node **copy = hth_arena_alloc(&p->t->arena, list->n + 1, sizeof *copy);
    if (!copy) return jj_arena_full(&p->t->arena, p->err);
    if (list->n > 0) memcpy(copy, list->p, list->n * sizeof *copy);
    *out = (jj_nodes){copy, (uint32_t)list->n};
    hth_free(list->p);
    *list = (jj_node_list){0};
    return HTH_OK;
}

// ---- statements ----

static hth_code subparse(jj_parser *p, const char *const *ends, jj_nodes *out);

static bool at_any(const jj_parser *p, const char *const *names) {
    for (; *names; names++) {
        if (jj_at_name(p, *names)) return true;
    }
    return false;
}

// What is said about a tag that fits nowhere (name given) or about the end of the source.
static hth_code fail_tag(jj_parser *p, const jj_token *tag, const char *const *ends, uint32_t line) {
    char looking[200] = "", text[380];
    size_t n = 0;
    if (!ends && p->n_end > 0) ends = p->ends[p->n_end - 1];
    for (size_t i = 0; ends && ends[i] && n < sizeof looking; i++) {
        n += (size_t)snprintf(looking + n, sizeof looking - n, "%s'%s'", i ? " or " : "", ends[i]);
    }
    bool is_nesting = false;
    for (size_t i = 0; tag && i < p->n_end; i++) is_nesting = is_nesting || at_any(p, p->ends[i]);
    n = (size_t)snprintf(text, sizeof text, tag ? "Encountered unknown tag '%s'." : "Unexpected end of template.",
                         tag ? jj_describe(p, tag) : "");
    if (*looking && n < sizeof text) {
        n += (size_t)snprintf(text + n, sizeof text - n,
                              is_nesting ? " You probably made a nesting mistake. Jinja is expecting this tag, but"
                                           " currently looking for %s."
                                         : " Jinja was looking for the following tags: %s.",
                              looking);
    }
    if (p->n_tag > 0 && n < sizeof text) {
        snprintf(text + n, sizeof text - n, " The innermost block that needs to be closed is '%s'.",
                 p->tags[p->n_tag - 1]);
    }
    return jj_syntax(p->err, line, "%s", text);
}

// The body of a tag: closes it, then statements up to one of `ends`, which becomes the current token.
static hth_code parse_body(jj_parser *p, const char *const *ends, bool drop, jj_nodes *out) {
    bool was_there;
    HTH_TRY(jj_skip_op(p, ":", &was_there));
    HTH_TRY(jj_expect_type(p, JJ_T_BLOCK_END, "end of statement block"));
    HTH_TRY(subparse(p, ends, out));
    if (p->at->type == JJ_T_EOF) return fail_tag(p, NULL, ends, p->at->line);
    return drop ? jj_advance(p) : HTH_OK;
}

static hth_code mark_stored(jj_parser *p, jj_node *n) {
    if (n->type == JJ_NAME) {
        n->is_store = true;
        return HTH_OK;
    }
    if (n->type == JJ_NSREF) return HTH_OK;
    static const char *const kinds[] = {[JJ_CONST] = "const", [JJ_LIST] = "list", [JJ_DICT] = "dict"};
    if (n->type != JJ_TUPLE) {
        const char *kind = n->type < HTH_COUNT(kinds) && kinds[n->type] ? kinds[n->type] : "expression";
        return jj_syntax(p->err, n->line, "can't assign to '%s'", kind);
    }
    for (uint32_t i = 0; i < n->list.n; i++) {
        if (n->list.p[i]->type != JJ_NAME && n->list.p[i]->type != JJ_NSREF && n->list.p[i]->type != JJ_TUPLE) {
            return jj_syntax(p->err, n->line, "can't assign to 'tuple'");
        }
        HTH_TRY(mark_stored(p, n->list.p[i]));
    }
    return HTH_OK;
}

static hth_code parse_target(jj_parser *p, const char *end_name, bool with_namespace, jj_node **out) {
    HTH_TRY(jj_parse_tuple(p, (jj_tuple_rules){.simplified = true, .with_namespace = with_namespace,
                                               .end_name = end_name}, out));
    return mark_stored(p, *out);
}

static hth_code parse_target_name(jj_parser *p, jj_node **out) {
    const jj_token *token = p->at;
    HTH_TRY(jj_expect_type(p, JJ_T_NAME, "name"));
    HTH_TRY(jj_new_node(p, JJ_NAME, token->line, token->begin, out));
    (*out)->name = token->s;
    (*out)->is_store = true;
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < HTH_COUNT(reserved); i++) {
        if (jj_is_name(token, reserved[i])) return jj_syntax(p->err, token->line, "can't assign to 'name'");
    }
    return HTH_OK;
}

static hth_code parse_set(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endset", NULL};
    bool is_expression;
    n->type = JJ_SET;
    HTH_TRY(jj_advance(p));
    HTH_TRY(parse_target(p, NULL, true, &n->a));
    HTH_TRY(jj_skip_op(p, "=", &is_expression));
    if (is_expression) return jj_parse_tuple(p, (jj_tuple_rules){0}, &n->b);
    n->type = JJ_SET_BLOCK;
    HTH_TRY(jj_parse_filter(p, NULL, false, &n->b));
    return parse_body(p, ends, true, &n->list);
}

static hth_code parse_for(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endfor", "else", NULL};
    bool has_test, is_end;
    n->type = JJ_FOR;
    HTH_TRY(jj_advance(p));
    HTH_TRY(parse_target(p, "in", false, &n->a));
    HTH_TRY(jj_expect_name(p, "in"));
    HTH_TRY(jj_parse_tuple(p, (jj_tuple_rules){.no_cond = true, .end_name = "recursive"}, &n->b));
    HTH_TRY(jj_skip_name(p, "if", &has_test));
    if (has_test) HTH_TRY(jj_parse_expression(p, true, &n->c));
    HTH_TRY(jj_skip_name(p, "recursive", &n->flag));
    HTH_TRY(parse_body(p, ends, false, &n->list));
    is_end = jj_at_name(p, "endfor");
    HTH_TRY(jj_advance(p));
    static const char *const last[] = {"endfor", NULL};
    return is_end ? HTH_OK : parse_body(p, last, true, &n->list2);
}

// list = body, list2 = elif branches (IF nodes with a test and a body), list3 = else.
static hth_code parse_if(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
    jj_node_list branches = {0};
    jj_node *branch = n;
    hth_code code;
    n->type = JJ_IF;
    HTH_TRY(jj_advance(p));
    for (;;) {
        HTH_TRY_GOTO(code, jj_parse_tuple(p, (jj_tuple_rules){.no_cond = true}, &branch->a), done);
        HTH_TRY_GOTO(code, parse_body(p, ends, false, &branch->list), done);
        if (branch != n) HTH_TRY_GOTO(code, jj_finish(p, branch), done);
        bool is_elif = jj_at_name(p, "elif"), is_else = jj_at_name(p, "else");
        HTH_TRY_GOTO(code, jj_advance(p), done);
        if (is_else) HTH_TRY_GOTO(code, parse_body(p, last, true, &n->list3), done);
        if (!is_elif) break;
        HTH_TRY_GOTO(code, jj_new_node(p, JJ_IF, p->at->line, p->at->begin, &branch), done);
        HTH_TRY_GOTO(code, jj_push(p, &branches, branch), done);
    }
    code = jj_keep(p, &branches, &n->list2);
done:
    hth_free(branches.p);
    return code;
}

// The parameters of a macro or call block: list = names, list2 = defaults of the last of them.
static hth_code parse_signature(jj_parser *p, jj_node *n) {
    jj_node_list args = {0}, defaults = {0};
    jj_node *item;
    hth_code code;
    HTH_TRY_GOTO(code, jj_expect_op(p, "("), done);
    while (!jj_at_op(p, ")")) {
        if (args.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        HTH_TRY_GOTO(code, parse_target_name(p, &item), done);
        for (size_t i = 0; i < args.n; i++) {
            if (!jj_str_equal(args.p[i]->name, item->name)) continue;
            code = jj_syntax(p->err, item->line, "duplicate argument '%.*s' in function definition",
                             jj_shown(item->name), item->name->p);
            goto done;
        }
        HTH_TRY_GOTO(code, jj_push(p, &args, item), done);
        bool has_default;
        HTH_TRY_GOTO(code, jj_skip_op(p, "=", &has_default), done);
        if (has_default) {
            HTH_TRY_GOTO(code, jj_parse_expression(p, true, &item), done);
            HTH_TRY_GOTO(code, jj_push(p, &defaults, item), done);
        } else if (defaults.n > 0) {
            code = jj_syntax(p->err, p->at->line, "non-default argument follows default argument");
            goto done;
        }
    }
    HTH_TRY_GOTO(code, jj_expect_op(p, ")"), done);
    HTH_TRY_GOTO(code, jj_keep(p, &args, &n->list), done);
    code = jj_keep(p, &defaults, &n->list2);
done:
    hth_free(args.p);
    hth_free(defaults.p);
    return code;
}

static hth_code parse_macro(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endmacro", NULL};
    n->type = JJ_MACRO;
    HTH_TRY(jj_advance(p));
    HTH_TRY(parse_target_name(p, &n->a));
    n->name = n->a->name;
    HTH_TRY(parse_signature(p, n));
    return parse_body(p, ends, true, &n->list3);
}

static hth_code parse_call_block(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endcall", NULL};
    n->type = JJ_CALL_BLOCK;
    HTH_TRY(jj_advance(p));
    if (jj_at_op(p, "(")) HTH_TRY(parse_signature(p, n));
    HTH_TRY(jj_parse_expression(p, true, &n->a));
    if (n->a->type != JJ_CALL) return jj_syntax(p->err, n->line, "expected call");
    n->a->flag = true;
    return parse_body(p, ends, true, &n->list3);
}

static hth_code parse_generation(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endgeneration", NULL};
    n->type = JJ_GENERATION;
    HTH_TRY(jj_advance(p));
    return parse_body(p, ends, true, &n->list3);
}

static hth_code parse_filter_block(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endfilter", NULL};
    n->type = JJ_FILTER_BLOCK;
    HTH_TRY(jj_advance(p));
    HTH_TRY(jj_parse_filter(p, NULL, true, &n->a));
    return parse_body(p, ends, true, &n->list);
}

static hth_code parse_with(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endwith", NULL};
    jj_node_list targets = {0}, values = {0};
    jj_node *item;
    hth_code code;
    n->type = JJ_WITH;
    HTH_TRY_GOTO(code, jj_advance(p), done);
    while (p->at->type != JJ_T_BLOCK_END) {
        if (targets.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        HTH_TRY_GOTO(code, parse_target(p, NULL, false, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &targets, item), done);
        HTH_TRY_GOTO(code, jj_expect_op(p, "="), done);
        HTH_TRY_GOTO(code, jj_parse_expression(p, true, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &values, item), done);
    }
    HTH_TRY_GOTO(code, jj_keep(p, &targets, &n->list), done);
    HTH_TRY_GOTO(code, jj_keep(p, &values, &n->list2), done);
    code = parse_body(p, ends, true, &n->list3);
done:
    hth_free(targets.p);
    hth_free(values.p);
    return code;
}

static hth_code parse_block(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endblock", NULL};
    bool was_there;
    n->type = JJ_BLOCK;
    HTH_TRY(jj_advance(p));
    n->name = p->at->s;
    HTH_TRY(jj_expect_type(p, JJ_T_NAME, "name"));
    HTH_TRY(jj_skip_name(p, "scoped", &n->flag));
    HTH_TRY(jj_skip_name(p, "required", &was_there));
    if (was_there) n->op = 1;
    if (jj_at_op(p, "-")) {
        return jj_syntax(p->err, p->at->line, "Block names in Jinja have to be valid Python identifiers and may not"
                                              " contain hyphens, use an underscore instead.");
    }
    HTH_TRY(parse_body(p, ends, true, &n->list));
    return p->at->type == JJ_T_NAME && jj_str_equal(p->at->s, n->name) ? jj_advance(p) : HTH_OK;
}

static hth_code parse_autoescape(jj_parser *p, jj_node *n) {
    static const char *const ends[] = {"endautoescape", NULL};
    n->type = JJ_AUTOESCAPE;
    HTH_TRY(jj_advance(p));
    HTH_TRY(jj_parse_expression(p, true, &n->a));
    return parse_body(p, ends, true, &n->list);
}

static hth_code parse_print(jj_parser *p, jj_node *n) {
    jj_node_list list = {0};
    jj_node *item;
    hth_code code;
    n->type = JJ_OUTPUT;
    HTH_TRY_GOTO(code, jj_advance(p), done);
    while (p->at->type != JJ_T_BLOCK_END) {
        if (list.n > 0) HTH_TRY_GOTO(code, jj_expect_op(p, ","), done);
        HTH_TRY_GOTO(code, jj_parse_expression(p, true, &item), done);
        HTH_TRY_GOTO(code, jj_push(p, &list, item), done);
    }
    code = jj_keep(p, &list, &n->list);
done:
    hth_free(list.p);
    return code;
}

// extends, include, import, from: parsed as far as a mistake could show; there is nothing to load from.
static hth_code parse_loader(jj_parser *p, jj_node *n) {
    bool was_there, is_from = jj_at_name(p, "from"), is_import = jj_at_name(p, "import");
    n->type = JJ_LOADER;
    HTH_TRY(jj_advance(p));
    HTH_TRY(jj_parse_expression(p, true, &n->a));
    if (is_import) HTH_TRY(jj_expect_name(p, "as"));
    if (is_from) HTH_TRY(jj_expect_name(p, "import"));
    if (is_import || is_from) {
        for (was_there = true; was_there;) {
            jj_node *target;
            HTH_TRY(parse_target_name(p, &target));
            HTH_TRY(jj_skip_name(p, "as", &was_there));
            if (was_there) HTH_TRY(parse_target_name(p, &target));
            HTH_TRY(jj_skip_op(p, ",", &was_there));
        }
    }
    HTH_TRY(jj_skip_name(p, "ignore", &was_there));
    if (was_there) HTH_TRY(jj_expect_name(p, "missing"));
    HTH_TRY(jj_skip_name(p, "with", &was_there));
    if (!was_there) HTH_TRY(jj_skip_name(p, "without", &was_there));
    return was_there ? jj_expect_name(p, "context") : HTH_OK;
}

static hth_code parse_jump(jj_parser *p, jj_node *n) {
    n->type = jj_at_name(p, "break") ? JJ_BREAK : JJ_CONTINUE;
    return jj_advance(p);
}

static hth_code parse_statement(jj_parser *p, jj_node **out) {
    static const struct {
        const char *tag;
        hth_code (*parse)(jj_parser *p, jj_node *n);
    } rows[] = {{"for", parse_for},           {"if", parse_if},
                {"set", parse_set},           {"macro", parse_macro},
                {"call", parse_call_block},   {"filter", parse_filter_block},
                {"with", parse_with},         {"block", parse_block},
                {"print", parse_print},       {"generation", parse_generation},
                {"break", parse_jump},        {"continue", parse_jump},
                {"autoescape", parse_autoescape}, {"extends", parse_loader},
                {"include", parse_loader},    {"import", parse_loader},
                {"from", parse_loader}};
    const jj_token *token = p->at;
    if (token->type != JJ_T_NAME) return jj_syntax(p->err, token->line, "tag name expected");
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (!jj_is_name(token, rows[i].tag)) continue;
        if (p->n_tag == JJ_MAX_NESTING) {
            return hth_fail(p->err, HTH_ERR_LIMIT, "chat template, line %u: tags are nested deeper than %d",
                            token->line, JJ_MAX_NESTING);
        }
        p->tags[p->n_tag++] = rows[i].tag;
        HTH_TRY(jj_new_node(p, JJ_OUTPUT, token->line, token->begin, out));
        HTH_TRY(rows[i].parse(p, *out));
        p->n_tag--;
        return jj_finish(p, *out);
    }
    return fail_tag(p, token, NULL, token->line);
}

// Text and printed expressions that follow each other are one OUTPUT.
static hth_code flush(jj_parser *p, jj_node_list *data, jj_node_list *body) {
    if (data->n == 0) return HTH_OK;
    jj_node *n;
    HTH_TRY(jj_new_node(p, JJ_OUTPUT, data->p[0]->line, data->p[0]->begin, &n));
    HTH_TRY(jj_keep(p, data, &n->list));
    HTH_TRY(jj_finish(p, n));
    return jj_push(p, body, n);
}

static hth_code parse_output(jj_parser *p, jj_node_list *data) {
    const jj_token *token = p->at;
    jj_node *n;
    HTH_TRY(jj_advance(p));
    if (token->type == JJ_T_DATA) {
        HTH_TRY(jj_new_node(p, JJ_DATA, token->line, token->begin, &n));
        n->value = (jj_value){.kind = HTH_JINJA_STR, .u.s = token->s};
        return jj_push(p, data, n);
    }
    HTH_TRY(jj_parse_tuple(p, (jj_tuple_rules){0}, &n));
    HTH_TRY(jj_push(p, data, n));
    return jj_expect_type(p, JJ_T_VARIABLE_END, "end of print statement");
}

static hth_code subparse(jj_parser *p, const char *const *ends, jj_nodes *out) {
    jj_node_list body = {0}, data = {0};
    hth_code code = HTH_OK;
    if (ends) p->ends[p->n_end++] = ends;
    while (p->at->type != JJ_T_EOF) {
        if (p->at->type != JJ_T_BLOCK_BEGIN) {
            HTH_TRY_GOTO(code, parse_output(p, &data), done);
            continue;
        }
        jj_node *n;
        HTH_TRY_GOTO(code, flush(p, &data, &body), done);
        HTH_TRY_GOTO(code, jj_advance(p), done);
        if (ends && at_any(p, ends)) break;
        HTH_TRY_GOTO(code, parse_statement(p, &n), done);
        HTH_TRY_GOTO(code, jj_push(p, &body, n), done);
        HTH_TRY_GOTO(code, jj_expect_type(p, JJ_T_BLOCK_END, "end of statement block"), done);
    }
    HTH_TRY_GOTO(code, flush(p, &data, &body), done);
    if (ends) p->n_end--;
    code = jj_keep(p, &body, out);
done:
    hth_free(body.p);
    hth_free(data.p);
    return code;
}

hth_code jj_parse(hth_jinja *t, const jj_tokens *tokens, hth_err *err) {
    jj_parser p = {.t = t, .at = tokens->p, .err = err};
    HTH_TRY(check_token(&p, p.at));
    return subparse(&p, NULL, &t->body);
}
