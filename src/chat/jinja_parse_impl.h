// Shared by the two halves of the parser: statements (jinja_parse.c) and expressions (jinja_parse_expr.c).
#ifndef HTH_CHAT_JINJA_PARSE_IMPL_H
#define HTH_CHAT_JINJA_PARSE_IMPL_H

#include "chat/jinja_impl.h"

#define JJ_MAX_NESTING 100  // of brackets, and of tags
#define JJ_MAX_DEPTH 600    // of the tree

typedef struct jj_parser {
    hth_jinja *t;
    const jj_token *at; // the current token
    uint32_t last_end;  // where the token before it ended
    int nesting;
    hth_err *err;
    // For messages: the tags that are open, and what each subparse waits for.
    const char *tags[JJ_MAX_NESTING + 8];
    size_t n_tag;
    const char *const *ends[JJ_MAX_NESTING + 8];
    size_t n_end;
} jj_parser;

// A list of nodes that grows; its nodes go to the arena when it is complete.
typedef struct jj_node_list {
    jj_node **p;
    size_t n, cap;
} jj_node_list;

HTH_NODISCARD hth_code jj_advance(jj_parser *p);
bool jj_at_op(const jj_parser *p, const char *op);
bool jj_at_name(const jj_parser *p, const char *name);
bool jj_is_op(const jj_token *t, const char *op);
bool jj_is_name(const jj_token *t, const char *name);
HTH_NODISCARD hth_code jj_look(jj_parser *p, const jj_token **out); // the token after the current
HTH_NODISCARD hth_code jj_skip_op(jj_parser *p, const char *op, bool *was_there);
HTH_NODISCARD hth_code jj_skip_name(jj_parser *p, const char *name, bool *was_there);
HTH_NODISCARD hth_code jj_expect_op(jj_parser *p, const char *op);
HTH_NODISCARD hth_code jj_expect_type(jj_parser *p, jj_token_type type, const char *what);
HTH_NODISCARD hth_code jj_expect_name(jj_parser *p, const char *name); // a certain one
const char *jj_describe(const jj_parser *p, const jj_token *t);
HTH_NODISCARD hth_code jj_new_node(jj_parser *p, jj_type type, uint32_t line, uint32_t begin, jj_node **out);
// Computes depth and end once the children are known.
HTH_NODISCARD hth_code jj_finish(jj_parser *p, jj_node *n);
HTH_NODISCARD hth_code jj_push(jj_parser *p, jj_node_list *list, jj_node *n);
HTH_NODISCARD hth_code jj_keep(jj_parser *p, jj_node_list *list, jj_nodes *out); // frees the list

HTH_NODISCARD hth_code jj_parse_expression(jj_parser *p, bool with_cond, jj_node **out);
typedef struct jj_tuple_rules {
    bool simplified, no_cond, parentheses, with_namespace;
    const char *end_name; // a name that ends the tuple too
} jj_tuple_rules;
HTH_NODISCARD hth_code jj_parse_tuple(jj_parser *p, jj_tuple_rules rules, jj_node **out);
HTH_NODISCARD hth_code jj_parse_filter(jj_parser *p, jj_node *input, bool start_inline, jj_node **out);

#endif
