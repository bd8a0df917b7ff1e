// Inside the template engine: values, strings with provenance, the tree, the machine that walks it.
#ifndef HTH_CHAT_JINJA_IMPL_H
#define HTH_CHAT_JINJA_IMPL_H

#include <stdarg.h>
#include <string.h>

#include "chat/jinja.h"

typedef hth_jinja_value jj_value;

// Text. UTF-8; a lone surrogate, which Python's escapes can make, is its three bytes. Immutable.
typedef struct jj_run {
    uint32_t end; // in bytes
    bool is_client;
} jj_run;

typedef struct jj_str {
    const char *p; // [n]
    uint32_t n, n_char;
    uint32_t hash;      // 0: not yet known
    bool is_markup;     // markupsafe's Markup
    bool is_client;     // of all bytes, where there are no runs
    uint32_t n_run;     // 0, or >= 2 where template and client bytes are mixed
    const jj_run *runs; // ascending, the last ends at n
} jj_str;

typedef struct jj_list { // also a tuple
    jj_value *items;
    uint32_t n;
    bool is_group; // groupby's tuple, whose parts have names
} jj_list;

typedef struct jj_entry {
    jj_value key, value;
    uint32_t hash;
} jj_entry;

typedef struct jj_dict {
    jj_entry *entries; // in the order of insertion
    uint32_t n, cap;
    uint32_t *index; // [n_index], entry + 1, open addressing; NULL while small
    uint32_t n_index;
    const struct jj_str *spelling; // as JSON, NULL: by its entries
} jj_dict;

typedef struct jj_undefined {
    const char *hint;     // NULL: made from the rest
    jj_value object;      // MISSING: a variable
    jj_value name;
    bool is_unsafe;       // SecurityError when used
} jj_undefined;

typedef struct jj_range {
    int64_t start, stop, step, n;
} jj_range;

typedef enum jj_view_kind { JJ_KEYS, JJ_VALUES, JJ_ITEMS } jj_view_kind;
typedef struct jj_view {
    jj_dict *dict;
    jj_view_kind kind;
} jj_view;

typedef struct jj_node jj_node;
typedef struct jj_vm jj_vm;
typedef struct jj_frame jj_frame;

typedef struct jj_args {
    jj_value *pos;
    uint32_t n_pos;
    jj_entry *kw; // keys are strings
    uint32_t n_kw;
} jj_args;

typedef enum jj_iter_kind {
    JJ_ITER_LIST,
    JJ_ITER_STR,
    JJ_ITER_DICT,
    JJ_ITER_VIEW,
    JJ_ITER_ITEMS, // the filter `items`, which looks at its value only when it is asked
    JJ_ITER_RANGE,
    JJ_ITER_REVERSED,
    JJ_ITER_LOOP,   // what is left of a running loop
    JJ_ITER_TESTED, // of `for x in y if z`
    JJ_ITER_MAP,
    JJ_ITER_SELECT,
    JJ_ITER_UNIQUE,
    JJ_ITER_BATCH,
    JJ_ITER_SLICE,
    JJ_ITER_EMPTY,
} jj_iter_kind;

typedef struct jj_iter {
    jj_iter_kind kind;
    bool is_open;       // the source has been asked for its iterator
    bool negate, by_attribute;
    jj_value source;
    struct jj_iter *from;
    int64_t at;
    jj_args args;
    jj_value extra;     // batch and slice: what fills up; unique: the set of keys
    jj_value attribute, dflt;
    const jj_node *loop; // TESTED
    jj_frame *frame;
} jj_iter;

typedef struct jj_macro {
    const jj_node *node; // MACRO, CALL_BLOCK or GENERATION
    jj_frame *up;
} jj_macro;

typedef struct jj_loop {
    jj_iter *it;
    jj_value iterable;
    int64_t index0, depth0, length; // length -1: not yet asked
    jj_value before, current, after, last_changed;
    const jj_node *node; // set when recursive
    jj_frame *up;
} jj_loop;

typedef struct jj_method {
    jj_value self;
    const struct jj_method_row *row;
} jj_method;

typedef struct jj_cycler {
    const jj_args args;
    int64_t at;
} jj_cycler;

typedef struct jj_joiner {
    jj_value sep;
    bool used;
} jj_joiner;

typedef struct jj_slice {
    jj_value part[3];
} jj_slice;

// The tree.
typedef enum jj_type {
    JJ_CONST,
    JJ_NAME,
    JJ_NSREF,
    JJ_TUPLE,
    JJ_LIST,
    JJ_DICT,
    JJ_COND,
    JJ_AND,
    JJ_OR,
    JJ_NOT,
    JJ_NEG,
    JJ_POS,
    JJ_BINARY,
    JJ_CONCAT,
    JJ_COMPARE,
    JJ_OPERAND,
    JJ_GETATTR,
    JJ_GETITEM,
    JJ_SLICE,
    JJ_CALL,
    JJ_KEYWORD,
    JJ_FILTER,
    JJ_TEST,
    JJ_DATA,
    // statements
    JJ_OUTPUT,
    JJ_FOR,
    JJ_IF,
    JJ_MACRO,
    JJ_CALL_BLOCK,
    JJ_GENERATION,
    JJ_FILTER_BLOCK,
    JJ_SET,
    JJ_SET_BLOCK,
    JJ_WITH,
    JJ_BLOCK,
    JJ_AUTOESCAPE,
    JJ_LOADER, // extends, include, import: there is no loader
    JJ_BREAK,
    JJ_CONTINUE,
} jj_type;

typedef enum jj_op {
    JJ_ADD,
    JJ_SUB,
    JJ_MUL,
    JJ_DIV,
    JJ_FLOORDIV,
    JJ_MOD,
    JJ_POW,
    JJ_EQ,
    JJ_NE,
    JJ_LT,
    JJ_LE,
    JJ_GT,
    JJ_GE,
    JJ_IN,
    JJ_NOT_IN,
} jj_op;

// Where a name's value lies: `hops` frames up, then a slot.
typedef struct jj_ref {
    uint16_t hops, slot;
} jj_ref;

typedef enum jj_load_kind { JJ_LOAD_NONE, JJ_LOAD_PARAM, JJ_LOAD_RESOLVE, JJ_LOAD_ALIAS, JJ_LOAD_UNDEF } jj_load_kind;

// What happens to a slot when its scope is entered.
typedef struct jj_load {
    jj_load_kind kind;
    uint16_t slot;
    jj_ref from;        // ALIAS
    const jj_str *name; // RESOLVE
} jj_load;

typedef struct jj_scope {
    jj_load *loads;
    uint32_t n;
} jj_scope;

typedef struct jj_nodes {
    jj_node **p;
    uint32_t n;
} jj_nodes;

struct jj_node {
    uint8_t type, op;
    bool is_store;     // NAME as a target
    bool flag;         // FOR: recursive; BLOCK: scoped; CALL: of a call block
    bool is_top;       // SET, MACRO...: a variable of the template, which blocks see
    bool is_unknown;   // FILTER, TEST: no such name; fails when it is reached
    uint16_t depth;
    uint32_t line;
    uint32_t begin, end; // bytes of the source
    jj_node *a, *b, *c;
    jj_nodes list, list2, list3;
    const jj_str *name;
    jj_value value;
    jj_ref ref;
    const void *row;        // FILTER: jj_filter_row; TEST: jj_test_row
    struct jj_for *loop;    // FOR
    struct jj_func *func;   // MACRO, CALL_BLOCK, GENERATION, BLOCK
    jj_scope *scope;        // of the body
};

// A function of its own: frames of n_slot values.
typedef struct jj_func {
    uint16_t n_slot;
    bool takes_caller, takes_kwargs, takes_varargs, explicit_caller, ends_with_caller;
    jj_ref caller, kwargs, varargs, self, super;
    bool has_self, has_super;
    jj_ref *args; // [list.n of the node]
} jj_func;

typedef struct jj_for {
    jj_node *test_target; // the target once more, in the scope of the test
    jj_scope *test_scope, *else_scope;
    bool is_extended; // the variable `loop` is used
    jj_ref loop;
    jj_func *func; // recursive
} jj_for;

struct hth_jinja {
    hth_arena arena;
    const char *source; // with \n as the only line break
    size_t n_source;
    jj_nodes body;
    jj_func *root;
    jj_scope *scope;
    jj_node **blocks; // [n_block] by order
    uint32_t n_block;
};

// Exceptions, as far as templates can tell them apart.
typedef enum jj_exc {
    JJ_TYPE_ERROR,
    JJ_VALUE_ERROR,
    JJ_OVERFLOW_ERROR,
    JJ_ZERO_DIVISION_ERROR,
    JJ_LOOKUP_ERROR,
    JJ_UNDEFINED_ERROR,
    JJ_SECURITY_ERROR,
    JJ_TEMPLATE_ERROR,
    JJ_OTHER_ERROR,
    JJ_LIMIT,
} jj_exc;

// A growing text.
typedef struct jj_buf {
    jj_vm *vm;
    char *p;
    uint32_t n, cap, n_char;
    jj_run *runs;
    uint32_t n_run, cap_run;
} jj_buf;

struct jj_frame {
    jj_frame *up;
    jj_value slots[];
};

struct jj_vm {
    const hth_jinja *t;
    hth_arena arena;
    hth_jinja_limits limits;
    const hth_jinja_time *now;
    uint64_t steps;
    int depth;
    uint32_t line;
    bool autoescape;
    jj_buf *out;
    const jj_dict *given;  // the caller's variables
    jj_dict *globals;
    jj_dict *vars;         // what the template set at its top
    jj_value block_input;  // what a filter block's filters begin with
    const jj_node *failed; // innermost node that failed
    uint32_t failed_line;
    jj_exc exc;
    hth_err *err;
    uint64_t random;
};

// jinja_str.c
bool jj_is_space(uint32_t cp);
jj_buf jj_buf_make(jj_vm *vm);
HTH_NODISCARD hth_code jj_put(jj_buf *b, const char *p, size_t n, bool is_client);
HTH_NODISCARD hth_code jj_puts(jj_buf *b, const char *text);
HTH_NODISCARD hth_code jj_put_cp(jj_buf *b, uint32_t cp, bool is_client);
HTH_NODISCARD hth_code jj_put_part(jj_buf *b, const jj_str *s, uint32_t from, uint32_t to); // bytes
HTH_NODISCARD hth_code jj_put_str(jj_buf *b, const jj_str *s);
HTH_NODISCARD hth_code jj_pad(jj_buf *b, const char *fill, size_t n_fill, int64_t n);
HTH_NODISCARD hth_code jj_take(jj_buf *b, jj_value *out); // the text as a string value
HTH_NODISCARD hth_code jj_take_markup(jj_buf *b, bool is_markup, jj_value *out);
HTH_NODISCARD hth_code jj_text(jj_vm *vm, const char *text, jj_value *out); // a constant, borrowed
HTH_NODISCARD hth_code jj_part(jj_vm *vm, const jj_str *s, uint32_t from, uint32_t to, jj_value *out);
HTH_NODISCARD hth_code jj_as_markup(jj_vm *vm, const jj_str *s, bool is_markup, jj_value *out);
uint32_t jj_cp(const char *p, size_t left, unsigned *len); // knows surrogates
uint32_t jj_byte_of(const jj_str *s, int64_t at);           // byte where character `at` begins
uint32_t jj_count(const char *p, size_t n);                // characters
bool jj_client_at(const jj_str *s, uint32_t byte);
bool jj_str_is(const jj_str *s, const char *text);
bool jj_str_equal(const jj_str *a, const jj_str *b);
int jj_str_compare(const jj_str *a, const jj_str *b);
uint32_t jj_str_hash(const jj_str *s);
// First occurrence of b in bytes [from, to) of a, or -1.
int64_t jj_find(const jj_str *a, const jj_str *b, uint32_t from, uint32_t to);

// jinja_value.c
#define JJ_NIL ((jj_value){.kind = HTH_JINJA_MISSING})
#define JJ_PY_NONE ((jj_value){.kind = HTH_JINJA_NONE})
static inline jj_value jj_bool(bool b) {
    return (jj_value){.kind = HTH_JINJA_BOOL, .u.b = b};
}
static inline jj_value jj_int(int64_t i) {
    return (jj_value){.kind = HTH_JINJA_INT, .u.i = i};
}
static inline jj_value jj_float(double d) {
    return (jj_value){.kind = HTH_JINJA_FLOAT, .u.d = d};
}
static inline jj_value jj_pointer(hth_jinja_kind kind, void *p) {
    return (jj_value){.kind = kind, .u.p = p};
}
static inline bool jj_is_str(jj_value v) {
    return v.kind == HTH_JINJA_STR;
}
static inline bool jj_is_undefined(jj_value v) {
    return v.kind == HTH_JINJA_UNDEFINED;
}
static inline bool jj_is_seq(jj_value v) {
    return v.kind == HTH_JINJA_LIST || v.kind == HTH_JINJA_TUPLE;
}
static inline bool jj_is_int(jj_value v) {
    return v.kind == HTH_JINJA_INT || v.kind == HTH_JINJA_BOOL;
}
static inline int64_t jj_int_of(jj_value v) {
    return v.kind == HTH_JINJA_BOOL ? v.u.b : v.u.i;
}
static inline int jj_shown(const jj_str *s) { // of a name in a message, for %.*s
    return s->n < 60 ? (int)s->n : 60;
}
HTH_NODISCARD hth_code jj_fail(jj_vm *vm, jj_exc exc, const char *fmt, ...) HTH_PRINTF(3, 4);
HTH_NODISCARD hth_code jj_nomem(jj_vm *vm);
HTH_NODISCARD hth_code jj_step(jj_vm *vm, uint64_t n);
HTH_NODISCARD void *jj_alloc(jj_vm *vm, size_t count, size_t size); // NULL: jj_nomem has not been said yet
HTH_NODISCARD hth_code jj_enter(jj_vm *vm);                         // one level deeper; jj_leave undoes it
void jj_leave(jj_vm *vm);
HTH_NODISCARD hth_code jj_new_list(jj_vm *vm, hth_jinja_kind kind, size_t n, jj_value *out);
HTH_NODISCARD hth_code jj_new_dict(jj_vm *vm, jj_value *out);
HTH_NODISCARD hth_code jj_dict_set(jj_vm *vm, jj_dict *d, jj_value key, jj_value value);
// Fails for a key that cannot be hashed. *found NULL: absent.
HTH_NODISCARD hth_code jj_dict_find(jj_vm *vm, const jj_dict *d, jj_value key, jj_value **found);
jj_value *jj_dict_get(const jj_dict *d, const jj_str *key);
// A list that grows.
typedef struct jj_growing {
    jj_value *items;
    size_t n, cap;
} jj_growing;
HTH_NODISCARD hth_code jj_add(jj_vm *vm, jj_growing *g, jj_value v);
HTH_NODISCARD hth_code jj_grown(jj_vm *vm, const jj_growing *g, hth_jinja_kind kind, jj_value *out);
bool jj_truth(jj_value v);
const char *jj_type_name(jj_value v);
HTH_NODISCARD hth_code jj_undefined_hint(jj_vm *vm, const char *hint, jj_value *out);
HTH_NODISCARD hth_code jj_undefined_name(jj_vm *vm, const jj_str *name, jj_value *out);
HTH_NODISCARD hth_code jj_undefined_of(jj_vm *vm, jj_value object, jj_value name, bool is_unsafe, jj_value *out);
HTH_NODISCARD hth_code jj_fail_undefined(jj_vm *vm, jj_value v);
HTH_NODISCARD hth_code jj_equal(jj_vm *vm, jj_value a, jj_value b, bool *out);
HTH_NODISCARD hth_code jj_compare(jj_vm *vm, jj_op op, jj_value a, jj_value b, bool *out);
HTH_NODISCARD hth_code jj_contains(jj_vm *vm, jj_value item, jj_value in, bool *out);
HTH_NODISCARD hth_code jj_length(jj_vm *vm, jj_value v, int64_t *out); // TypeError where Python has no len()
// Collects an iterable.
HTH_NODISCARD hth_code jj_collect(jj_vm *vm, jj_value v, jj_value *out);
// Sorts items by keys, stably.
HTH_NODISCARD hth_code jj_sort(jj_vm *vm, jj_value *items, jj_value *keys, size_t n, bool reverse);

// jinja_iter.c
HTH_NODISCARD hth_code jj_iter_new(jj_vm *vm, jj_iter_kind kind, jj_value source, jj_iter **out);
HTH_NODISCARD hth_code jj_iter_of(jj_vm *vm, jj_value v, jj_iter **out); // iter(v)
HTH_NODISCARD hth_code jj_next(jj_vm *vm, jj_iter *it, jj_value *out, bool *more);
bool jj_is_iterable(jj_value v);

// jinja_repr.c
HTH_NODISCARD hth_code jj_put_value(jj_buf *b, jj_value v); // str(v)
HTH_NODISCARD hth_code jj_put_repr(jj_buf *b, jj_value v);  // repr(v)
HTH_NODISCARD hth_code jj_to_str(jj_vm *vm, jj_value v, jj_value *out);   // str(v)
HTH_NODISCARD hth_code jj_soft_str(jj_vm *vm, jj_value v, jj_value *out); // the same, Markup stays
#define JJ_FLOAT_CHARS 64 // more than the longest number has
void jj_print_float(double d, char out[JJ_FLOAT_CHARS]);                  // repr(d)
HTH_NODISCARD hth_code jj_put_escaped(jj_buf *b, const jj_str *s);        // html
HTH_NODISCARD hth_code jj_escape(jj_vm *vm, jj_value v, jj_value *out);
HTH_NODISCARD hth_code jj_tojson(jj_vm *vm, jj_value v, const jj_args *args, jj_value *out);
bool jj_is_printable(uint32_t cp);

// jinja_op.c
HTH_NODISCARD hth_code jj_binary(jj_vm *vm, jj_op op, jj_value a, jj_value b, jj_value *out);
HTH_NODISCARD hth_code jj_negate(jj_vm *vm, jj_value a, bool minus, jj_value *out);
HTH_NODISCARD hth_code jj_getattr(jj_vm *vm, jj_value v, const jj_str *name, jj_value *out);
HTH_NODISCARD hth_code jj_getitem(jj_vm *vm, jj_value v, jj_value key, jj_value *out);
HTH_NODISCARD hth_code jj_slice_value(jj_vm *vm, jj_value v, const jj_slice *s, jj_value *out);
HTH_NODISCARD hth_code jj_to_float(jj_vm *vm, jj_value v, double *out); // float(v)
HTH_NODISCARD hth_code jj_to_int(jj_vm *vm, jj_value v, int base, jj_value *out); // int(v)
double jj_float_of(jj_value v); // of a number
bool jj_is_number(jj_value v);

// jinja_format.c
HTH_NODISCARD hth_code jj_percent(jj_vm *vm, const jj_str *format, jj_value args, jj_value *out); // format % args
HTH_NODISCARD hth_code jj_format(jj_vm *vm, const jj_str *format, const jj_args *args, jj_value *out);
HTH_NODISCARD hth_code jj_put_fixed(jj_buf *b, double d, int precision); // '%.*f'

// jinja_method.c
typedef hth_code (*jj_method_call)(jj_vm *vm, jj_value self, const jj_args *args, jj_value *out);
typedef struct jj_method_row {
    const char *name;
    jj_method_call call; // NULL: changes its object, which the sandbox refuses
} jj_method_row;
const jj_method_row *jj_find_method(jj_value v, const jj_str *name);
HTH_NODISCARD hth_code jj_strip(jj_vm *vm, const jj_str *s, const jj_str *chars, int side, jj_value *out);
HTH_NODISCARD hth_code jj_replace(jj_vm *vm, const jj_str *s, const jj_str *old, const jj_str *new_, int64_t count,
                                  jj_value *out);
HTH_NODISCARD hth_code jj_join(jj_vm *vm, const jj_str *sep, jj_value iterable, bool coerce, jj_value *out);
HTH_NODISCARD hth_code jj_split(jj_vm *vm, const jj_str *s, const jj_str *sep, int64_t max, bool right, jj_value *out);
HTH_NODISCARD hth_code jj_splitlines(jj_vm *vm, const jj_str *s, bool keep, jj_value *out);
HTH_NODISCARD hth_code jj_case(jj_vm *vm, const jj_str *s, int how, jj_value *out); // 'u' 'l' 'c' 't' 's'
bool jj_is_case(const jj_str *s, bool upper);
// Binds arguments to the names in `names` (separated by spaces); those not given stay MISSING.
HTH_NODISCARD hth_code jj_bind(jj_vm *vm, const char *what, const jj_args *args, const char *names,
                               int n_required, jj_value *out);

// jinja_filter.c, jinja_filter_text.c, jinja_test.c
typedef hth_code (*jj_filter_call)(jj_vm *vm, jj_value v, const jj_args *args, jj_value *out);
typedef struct jj_filter_row {
    const char *name;
    jj_filter_call call;
} jj_filter_row;
// jinja_wrap.c: `a` holds width, break_long_words, wrapstring and break_on_hyphens as they were given.
HTH_NODISCARD hth_code jj_wordwrap(jj_vm *vm, jj_value v, const jj_value a[4], int64_t width, jj_value *out);
extern const jj_filter_row jj_text_filters[]; // ended by a row without a name
const jj_filter_row *jj_find_filter(const jj_str *name);
typedef hth_code (*jj_test_call)(jj_vm *vm, jj_value v, const jj_args *args, bool *out);
typedef struct jj_test_row {
    const char *name;
    jj_test_call call;
} jj_test_row;
const jj_test_row *jj_find_test(const jj_str *name);
HTH_NODISCARD hth_code jj_next_filtered(jj_vm *vm, jj_iter *it, jj_value *out, bool *more);
HTH_NODISCARD hth_code jj_attribute(jj_vm *vm, jj_value item, jj_value path, jj_value *out); // make_attrgetter

// jinja_global.c
HTH_NODISCARD hth_code jj_add_globals(jj_vm *vm, jj_dict *to);
HTH_NODISCARD hth_code jj_call_function(jj_vm *vm, jj_value f, const jj_args *args, jj_value *out);
bool jj_is_callable(jj_value v);

// jinja_exec.c, jinja_eval.c
HTH_NODISCARD hth_code jj_eval(jj_vm *vm, jj_frame *f, const jj_node *n, jj_value *out);
HTH_NODISCARD hth_code jj_call(jj_vm *vm, jj_value callee, const jj_args *args, jj_value *out);
HTH_NODISCARD hth_code jj_call_macro(jj_vm *vm, const jj_macro *m, const jj_args *args, jj_value *out);
HTH_NODISCARD hth_code jj_call_loop(jj_vm *vm, jj_loop *loop, jj_value iterable, jj_value *out);
HTH_NODISCARD hth_code jj_call_block(jj_vm *vm, const jj_node *block, jj_value *out);
const jj_node *jj_find_block(const hth_jinja *t, const jj_str *name);
HTH_NODISCARD hth_code jj_assign(jj_vm *vm, jj_frame *f, const jj_node *target, jj_value v);
HTH_NODISCARD hth_code jj_eval_call(jj_vm *vm, jj_frame *f, const jj_node *n, const jj_value *caller, jj_value *out);
HTH_NODISCARD hth_code jj_new_frame(jj_vm *vm, const jj_func *func, jj_frame *up, jj_frame **out);
jj_value *jj_slot(jj_frame *f, jj_ref ref);
HTH_NODISCARD hth_code jj_next_tested(jj_vm *vm, jj_iter *it, jj_value *out, bool *more);
HTH_NODISCARD hth_code jj_loop_step(jj_vm *vm, jj_loop *loop, jj_value *out, bool *more);
HTH_NODISCARD hth_code jj_run_root(jj_vm *vm);
void jj_load_scope(jj_vm *vm, jj_frame *f, const jj_scope *scope);
HTH_NODISCARD hth_code jj_get_loop(jj_vm *vm, jj_loop *loop, const jj_str *name, jj_value *out, bool *found);

// jinja_lex.c
typedef enum jj_token_type {
    JJ_T_EOF,
    JJ_T_ERROR,
    JJ_T_DATA,
    JJ_T_BLOCK_BEGIN,
    JJ_T_BLOCK_END,
    JJ_T_VARIABLE_BEGIN,
    JJ_T_VARIABLE_END,
    JJ_T_NAME,
    JJ_T_STRING,
    JJ_T_INTEGER,
    JJ_T_FLOAT,
    JJ_T_OP, // the operator's characters are in `op`
} jj_token_type;

typedef struct jj_token {
    jj_token_type type;
    uint32_t line, begin, end;
    const char *op;   // OP
    const jj_str *s;  // NAME, STRING, DATA
    jj_value value;   // INTEGER, FLOAT
    const char *text; // ERROR
} jj_token;

typedef struct jj_tokens {
    jj_token *p; // in the arena; the last is EOF or ERROR
    size_t n, cap;
} jj_tokens;

// t->source has its line breaks already.
HTH_NODISCARD hth_code jj_lex(hth_jinja *t, jj_tokens *out, hth_err *err);
const jj_str *jj_const_str(hth_arena *a, const char *p, size_t n); // borrows p; NULL: no memory

// jinja_parse.c, jinja_bind.c
HTH_NODISCARD hth_code jj_parse(hth_jinja *t, const jj_tokens *tokens, hth_err *err);
HTH_NODISCARD hth_code jj_bind_names(hth_jinja *t, hth_err *err);
// Says that an arena gave nothing: its limit was reached, or the system has no more.
HTH_NODISCARD hth_code jj_arena_full(const hth_arena *a, hth_err *err);
HTH_NODISCARD hth_code jj_syntax(hth_err *err, uint32_t line, const char *fmt, ...) HTH_PRINTF(3, 4);

#endif
