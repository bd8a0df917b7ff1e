// A JSON schema on its way to a grammar.
//
// What a value must satisfy is a conjunction: a list of schemas that hold at once. $ref and allOf add to the list; anyOf,
// oneOf and conditions split it into one list per branch. Every list that occurs becomes one rule, so recursion in the
// schema is recursion in the grammar, and two places that ask for the same share their rule.
#ifndef HTH_GRAMMAR_SCHEMA_H
#define HTH_GRAMMAR_SCHEMA_H

#include "formats/json.h"
#include "grammar/build.h"

enum { // types of values
    T_NULL = 1,
    T_BOOL = 2,
    T_INTEGER = 4,
    T_NUMBER = 8, // with integers
    T_STRING = 16,
    T_ARRAY = 32,
    T_OBJECT = 64,
    T_ALL = 127,
};

enum { // what of a schema is not looked at any more; the first (skip >> 8) entries of what depends on properties neither
    SKIP_ANY_OF = 1,
    SKIP_ONE_OF = 2,
    SKIP_IF = 4,
    SKIP_NOT = 8,
    SKIP_INNER = 16, // $ref and allOf: the list has them already. Never set in the list of facts
};

typedef struct s_elem {
    const hth_json *node;
    uint32_t skip;
} s_elem;

typedef struct s_list { // a conjunction
    s_elem *e;          // owned
    size_t n, cap;
} s_list;

// A decimal number: whole and fraction without needless zeros ("0" and "" for zero).
#define DEC_MAX 700
typedef struct s_decimal {
    bool is_negative;
    uint32_t n_whole, n_frac;
    char digits[DEC_MAX]; // whole, then fraction
} s_decimal;

typedef struct s_facts { // of a conjunction, whose schemas are in `list`
    bool never;
    uint32_t types;
    s_list list;         // owned; without $ref and allOf
    uint32_t n_enum;     // schemas with enum or const
    bool has_min, has_max, min_excluded, max_excluded;
    s_decimal min, max;
    uint32_t n_multiple;
    uint64_t min_length, max_length;
    uint32_t n_pattern;  // schemas with pattern or a format that is enforced, or texts that are excluded
    uint32_t n_not;      // schemas with values that are excluded
    uint64_t min_items, max_items;
    bool is_unique;
    bool has_items;      // keywords of arrays
    uint64_t min_properties, max_properties;
    bool has_properties; // keywords of objects
    s_elem split;        // a schema with branches; node NULL: none
    const char *split_by;
} s_facts;

typedef struct s_rule { // a conjunction that has a rule
    s_list list;        // owned
    uint32_t rule;
} s_rule;

#define G_N_FORMATS 13 // that are enforced

typedef struct s_schema {
    g_build *b;
    const hth_json *root;
    bool is_old;         // drafts 4 to 7: nothing counts beside $ref
    uint32_t *slots;     // owned: hash table of rules
    size_t n_slot;
    s_rule *rules;       // owned; those from n_made on are not made yet
    size_t n_rule, cap_rule, n_made;
    hth_json_doc **made; // owned: schemas that were derived from others
    size_t n_doc, cap_doc;
    struct s_pattern {
        const char *text;
        uint32_t dfa; // over UTF-8
    } *patterns; // owned
    size_t n_pattern, cap_pattern;
    g_rx ws, comma, colon;
    g_rx any_string, integer, number;
    struct s_format {
        g_rx text, string; // without and with its quotes; 0: not asked for yet
    } formats[G_N_FORMATS];
    unsigned depth;      // of questions inside questions
} s_schema;

// schema.c
uint32_t s_rule_of(s_schema *s, const s_list *list); // the rule of a conjunction, made now or later
bool s_add(s_schema *s, s_list *l, s_elem e);
void s_list_free(s_list *l);
// The keyword cannot be enforced: an error, or with lenient a note. True where it may go on without.
bool s_refuse(s_schema *s, const hth_json *node, const char *keyword, const char *why);
bool s_bad(s_schema *s, const hth_json *node, const char *keyword, const char *why);
bool s_tell(s_schema *s, const hth_json *node, const char *keyword); // says where the build failed. Always false
void s_path(const s_schema *s, const hth_json *node, hth_str *out);
const hth_json *s_derive(s_schema *s, const hth_str *text); // a schema written here

// schema_facts.c
bool s_gather(s_schema *s, const s_list *list, s_facts *f);
void s_facts_free(s_facts *f);
const hth_json *s_resolve(s_schema *s, const hth_json *node, const char *ref, uint32_t n);
bool s_is_never(s_schema *s, const s_list *list); // provably nothing satisfies all of them

// schema_check.c: whether a value satisfies a schema
bool s_holds(s_schema *s, const hth_json *schema, const hth_json *value);
bool s_holds_all(s_schema *s, const s_list *list, const hth_json *value);
bool s_equal(const hth_json *a, const hth_json *b);
bool s_decimal_of(const hth_json *v, s_decimal *out);
bool s_decimal_parse(const char *text, s_decimal *out);
int s_decimal_compare(const s_decimal *a, const s_decimal *b);
size_t s_n_chars(const char *text, size_t n);

// schema_scalar.c
g_rx s_number_rx(s_schema *s, const s_facts *f);
void s_string_edge(s_schema *s, const s_facts *f, uint32_t from, uint32_t to);
g_rx s_string_rx(s_schema *s, const s_facts *f); // with its quotes
g_rx s_value_rx(s_schema *s, const hth_json *v);
g_rx s_values_rx(s_schema *s, const s_facts *f); // those of enum and const that satisfy all
g_rx s_pattern_rx(s_schema *s, const hth_json *pattern, g_encoding enc);
bool s_pattern_matches(s_schema *s, const hth_json *pattern, const char *text, size_t n);

// formats.c
int g_format_index(const char *name); // -1: none that is enforced
g_rx g_format_rx(g_build *b, const char *name, g_encoding enc);

// schema_negate.c
#define HTH_NOT_ENUM "\\u0001enum" // as they are written in JSON
#define HTH_NOT_PATTERN "\\u0001pattern"
#define HTH_KEY_NOT_ENUM "\001enum" // as they are read from it
#define HTH_KEY_NOT_PATTERN "\001pattern"
const hth_json *s_negate(s_schema *s, const hth_json *v); // NULL where the opposite cannot be described

// schema_split.c: the branches of f->split as rules of their own
void s_split(s_schema *s, const s_facts *f, uint32_t rule);

// schema_object.c, schema_array.c
void s_object(s_schema *s, const s_facts *f, uint32_t rule);
void s_array(s_schema *s, const s_facts *f, uint32_t rule);

#endif
