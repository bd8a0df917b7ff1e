// Which texts a grammar holds, by language; what is refused, and with which words. (The test suite of JSON Schema and the
// samples against other validators are tests/parity/test_grammars.py's.)
#include "grammar/chart.h"
#include "unit/cmocka_all.h"

typedef hth_code (*from_text)(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err);

// 1: in the grammar, 0: the beginning of something in it, -1: neither.
static int belongs(const hth_grammar *g, const char *text, size_t n) {
    hth_chart c;
    hth_err err;
    if (chart_init(&c, g, 64u << 20, &err) != HTH_OK) fail_msg("%s", err.msg);
    uint32_t place = c.start;
    for (size_t i = 0; i < n && place != PLACE_NONE; i++) place = chart_step(&c, place, g->class_of[(uint8_t)text[i]]);
    assert_int_equal(c.code, HTH_OK);
    const int found = place == PLACE_NONE ? -1 : c.places[place].accepting ? 1 : 0;
    chart_free(&c);
    return found;
}

static hth_grammar *compile(from_text from, const char *text, const hth_grammar_options *o) {
    hth_grammar *g = NULL;
    hth_err err = {0};
    if (from(text, strlen(text), o, &g, &err) != HTH_OK) fail_msg("%s: %s", text, err.msg);
    return g;
}

// Texts before a NULL are in the grammar, those behind it up to another NULL are not.
static void expect(from_text from, const char *text, const char *const *texts) {
    hth_grammar *g = compile(from, text, NULL);
    int want = 1;
    for (int left = 2; left > 0; texts++) {
        if (!*texts) {
            left--;
            want = 0;
        } else if ((belongs(g, *texts, strlen(*texts)) == 1) != want) {
            fail_msg("%s: %s should%s be in it", text, *texts, want ? "" : " not");
        }
    }
    hth_grammar_free(g);
}
#define EXPECT(from, text, ...) expect(from, text, (const char *const[]){__VA_ARGS__, NULL})

static void refuse(from_text from, const char *text, const hth_grammar_options *o, hth_code code, const char *words) {
    hth_grammar *g = NULL;
    hth_err err = {0};
    const hth_code got = from(text, strlen(text), o, &g, &err);
    if (got != code || !strstr(err.msg, words)) fail_msg("%s: error %d, %s; wanted %d, %s", text, got, err.msg, code, words);
    assert_null(g);
}

static void regular_expressions_mean_what_they_mean_elsewhere(void **state) {
    (void)state;
    const from_text re = hth_grammar_from_regex;
    EXPECT(re, "a|b*c", "a", "c", "bbc", NULL, "", "ac", "b");
    EXPECT(re, "^ab?$", "a", "ab", NULL, "b", "abb");
    EXPECT(re, "[^a-c\\d]{2}", "xy", "\xc3\xa9z", NULL, "xa", "x1", "x");
    EXPECT(re, "(ab|c){2,3}", "abc", "ccc", "abab", NULL, "ab", "cccc");
    EXPECT(re, "\\u00e9\\x41\\.", "\xc3\xa9" "A.", NULL, "eA.");
    EXPECT(re, "(?i)straSSe", "STRASSE", "strasse", NULL, "strase");
    EXPECT(re, ".", "x", "\xf0\x9f\x98\x80", NULL, "\n", "\xf0\x9f\x98", "xy", "\xc0\x80");
    EXPECT(re, "(?=.*\\d)(?!.*x)[a-z0-9]+", "a1", "1", NULL, "ab", "1x");
    EXPECT(re, "\\p{Lu}\\P{L}", "\xc3\x89" "1", "A-", NULL, "\xc3\xa9" "1", "AA");
    EXPECT(re, "a{2,}b{0}", "aa", "aaaa", NULL, "a", "aab");
}

static void broken_expressions_are_refused_with_their_place(void **state) {
    (void)state;
    const from_text re = hth_grammar_from_regex;
    refuse(re, "a(b", NULL, HTH_ERR_FORMAT, "( without )");
    refuse(re, "ab)", NULL, HTH_ERR_FORMAT, "byte 2");
    refuse(re, "[b-a]", NULL, HTH_ERR_FORMAT, "ends before it begins");
    refuse(re, "*a", NULL, HTH_ERR_FORMAT, "nothing to repeat");
    refuse(re, "(a)\\1", NULL, HTH_ERR_UNSUPPORTED, "back-references");
    refuse(re, "(?<=a)b", NULL, HTH_ERR_UNSUPPORTED, "look-behind");
    refuse(re, "a\\bb", NULL, HTH_ERR_UNSUPPORTED, "word edges");
    refuse(re, "a{100000}", NULL, HTH_ERR_LIMIT, "repetition of 100000");
    refuse(re, "[^\\d\\D]", NULL, HTH_ERR_RANGE, "no text");
}

static void every_limit_says_which_it_is(void **state) {
    (void)state;
    const hth_grammar_options few_states = {.limits.states = 100}, few_bytes = {.limits.bytes = 2000};
    const hth_grammar_options flat = {.limits.nesting = 2}, few_choices = {.limits.alternatives = 3};
    refuse(hth_grammar_from_regex, "(a|b)*a(a|b){9}", &few_states, HTH_ERR_LIMIT, "states than allowed (100)");
    refuse(hth_grammar_from_regex, "(a|b)*a(a|b){9}", &few_bytes, HTH_ERR_LIMIT, "memory than allowed");
    refuse(hth_grammar_from_regex, "(((((((((((a)))))))))))", &flat, HTH_ERR_LIMIT, "inside each other");
    refuse(hth_grammar_from_regex, "a|b|c|d", &few_choices, HTH_ERR_LIMIT, "alternatives");
    refuse(hth_grammar_from_gbnf, "root ::= ((((((((((a))))))))))\na ::= \"a\"", &flat, HTH_ERR_LIMIT, "nested");
    refuse(hth_grammar_from_lark, "start: \"a\"~1..9999999", NULL, HTH_ERR_LIMIT, "repetitions");
    refuse(hth_grammar_from_lark, "start: ((((((((((\"a\"))))))))))", &flat, HTH_ERR_LIMIT, "nested");
    refuse(hth_grammar_from_gbnf, "root ::= \"a\"{1,9999999}", NULL, HTH_ERR_LIMIT, "repetitions");
    refuse(hth_grammar_from_regex, "a{1,9999999}", NULL, HTH_ERR_LIMIT, "a repetition of 9999999");
    refuse(hth_grammar_from_gbnf, "root ::= \"a\" | \"b\" | \"c\" | \"d\"", &few_choices, HTH_ERR_LIMIT, "alternatives");
    const from_text schema = hth_grammar_from_schema;
    refuse(schema, "{\"enum\":[1,2,3,4]}", &few_choices, HTH_ERR_LIMIT, "alternatives");
    refuse(schema, "{\"type\":\"array\",\"minItems\":99999999}", NULL, HTH_ERR_LIMIT, "more than 100000 counted items");
    refuse(schema, "{\"minProperties\":9999999,\"type\":\"object\"}", NULL, HTH_ERR_LIMIT, "9999999 are counted");
    refuse(schema, "{\"type\":\"string\",\"minLength\":999999999}", NULL, HTH_ERR_LIMIT, "a string of at least 999999999");
    refuse(schema, "{\"type\":\"string\",\"pattern\":\"^(a|b)*a(a|b){9}$\"}", &few_states, HTH_ERR_LIMIT, "states than allowed (100)");
    refuse(schema, "{}", &few_bytes, HTH_ERR_LIMIT, "memory than allowed");
}

static void gbnf_is_read_as_llama_cpp_reads_it(void **state) {
    (void)state;
    const from_text gbnf = hth_grammar_from_gbnf;
    EXPECT(gbnf, "root ::= \"a\" [0-9]+ ( \",\" [^x] )* # comment\n", "a1", "a12,z,1", NULL, "a", "a1,", "a1,x");
    EXPECT(gbnf, "root  ::= (expr \"=\" term \"\\n\")+\nexpr ::= term ([-+*/] term)*\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]+",
           "1+2=3\n", "(1*(2))=4\n", NULL, "1+=3\n", "(1=2\n");
    EXPECT(gbnf, "root ::= a |\n  b\na ::= \"x\"{2}\nb ::= \"y\"{1,}", "xx", "y", "yyy", NULL, "x", "xxx");
    EXPECT(gbnf, "root ::= \"(\" root \")\" | \"\"", "", "(())", NULL, "(()");
    EXPECT(gbnf, "root ::= root \"a\" | \"b\" root | \"c\"", "c", "bca", "bbcaa", NULL, "cb", "ab");
    EXPECT(gbnf, "root ::= x root y | \"-\"\nx ::= \"a\"?\ny ::= \"b\"?", "-", "a-b", "-b", "aa-", "a-bb", NULL, "b-", "-a");
    EXPECT(gbnf, "root ::= [\\u3041-\\u309f]+ .", "\xe3\x81\x82!", NULL, "a!", "\xe3\x81\x82");
    refuse(gbnf, "root ::= x", NULL, HTH_ERR_FORMAT, "x is not defined");
    refuse(gbnf, "a ::= \"x\"", NULL, HTH_ERR_FORMAT, "no rule `root`");
    refuse(gbnf, "root ::= \"a\nb ::= \"x\"", NULL, HTH_ERR_FORMAT, "line");
    refuse(gbnf, "root ::= root \"a\"", NULL, HTH_ERR_RANGE, "no text");
}

static void lark_is_read_as_lark_reads_it(void **state) {
    (void)state;
    const from_text lark = hth_grammar_from_lark;
    EXPECT(lark, "start: sum\n?sum: product | sum \"+\" product -> add\n?product: NUMBER | product \"*\" NUMBER\n"
                 "%import common.NUMBER\n%import common.WS\n%ignore WS\n",
           "1+2*3", " 1 + 2\n* 3.5 ", NULL, "1+", "1 2");
    EXPECT(lark, "start: \"yes\"i | \"a\"..\"c\" | D~2..3\nD: /[0-9]/\n", "YES", "b", "12", "123", NULL, "1", "d", "1234");
    EXPECT(lark, "start: [\"a\"] B?\nB: /x+/ & /.{2}/ | ~/[a-z]*/ & /[0-9a-z]{3}/", "", "a", "xx", "axx", "a1b", NULL, "x", "xxx", "abc");
    EXPECT(lark, "// a call\nstart: \"<call>\" %json {\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [\"}\", 1]}},"
                 " \"required\": [\"a\"], \"additionalProperties\": false} \"</call>\"",
           "<call>{\"a\": \"}\"}</call>", "<call>{\"a\":1}</call>", NULL, "<call>{}</call>", "<call>{\"a\":1}");
    refuse(lark, "start: A\nA: \"(\" A \")\" | \"x\"", NULL, HTH_ERR_FORMAT, "not regular");
    refuse(lark, "start: a{\"x\"}", NULL, HTH_ERR_UNSUPPORTED, "templates");
    refuse(lark, "start: x", NULL, HTH_ERR_FORMAT, "line 1: x is not defined");
    refuse(lark, "%import other.X\nstart: \"a\"", NULL, HTH_ERR_UNSUPPORTED, "only `common`");
    refuse(lark, "start: %json {\"not\": {\"items\": {}}}", NULL, HTH_ERR_UNSUPPORTED, "/not");
}

static void both_are_told_apart(void **state) {
    (void)state;
    EXPECT(hth_grammar_from_text, "# x: y\nroot ::= \"a\"", "a", NULL, "b");
    EXPECT(hth_grammar_from_text, "// x ::= y\nstart: \"a\"", "a", NULL, "b");
    refuse(hth_grammar_from_text, "hello", NULL, HTH_ERR_FORMAT, "neither");
}

static void schemas_hold_what_they_say(void **state) {
    (void)state;
    const from_text schema = hth_grammar_from_schema;
    EXPECT(schema, "{\"type\":\"integer\",\"minimum\":-12,\"exclusiveMaximum\":105}", "-12", "0", "99", "104", NULL, "-13", "105", "1.0", "07");
    EXPECT(schema, "{\"type\":\"number\",\"minimum\":0.25,\"maximum\":1e2}", "0.25", "100", "100.0", "7.5", NULL, "0.2", "0.249", "100.1", "1e1");
    EXPECT(schema, "{\"multipleOf\":0.05,\"type\":\"number\"}", "0.1", "-1.15", "3", NULL, "0.01", "0.051");
    EXPECT(schema, "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"ab\"", "\"\xc3\xa9\\n\\ud83d\\ude00\"", NULL, "\"a\"", "\"abcd\"",
           "\"a\\ud800\"");
    EXPECT(schema, "{\"type\":\"string\",\"pattern\":\"^a+$|b\"}", "\"aa\"", "\"xbx\"", "\"\\u0062\"", NULL, "\"ac\"", "\"\"");
    EXPECT(schema, "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"type\":\"null\"}},\"required\":[\"b\"]}", "{\"b\":null}",
           "{\"a\": [1], \"b\": null, \"c\": {}}", NULL, "{}", "{\"b\":1}", "{\"b\":null,\"a\":1}", "{\"b\":null,\"\\u0062\":1}");
    EXPECT(schema, "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"},\"maxItems\":2}}}", "[]",
           "[[], [[]]]", NULL, "[1]", "[[],[],[]]");
    EXPECT(schema, "{\"type\":\"array\",\"prefixItems\":[{\"const\":1}],\"items\":false,\"minItems\":1}", "[1]", NULL, "[]", "[2]", "[1,1]");
    EXPECT(schema, "{\"type\":\"array\",\"contains\":{\"const\":1},\"items\":{\"type\":\"integer\"}}", "[1]", "[2, 1, 3]", NULL, "[]", "[2]");
    EXPECT(schema, "{\"type\":\"string\",\"not\":{\"enum\":[\"foo\"]}}", "\"fo\"", "\"food\"", NULL, "\"foo\"", "\"\\u0066oo\"");
    EXPECT(schema, "{\"if\":{\"properties\":{\"k\":{\"const\":1}},\"required\":[\"k\"]},\"then\":{\"required\":[\"x\"]},\"type\":\"object\","
                   "\"properties\":{\"k\":{\"type\":\"integer\"},\"x\":{\"type\":\"null\"}},\"additionalProperties\":false}",
           "{\"k\":2}", "{\"k\":1,\"x\":null}", "{}", NULL, "{\"k\":1}");
    EXPECT(schema, "{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":1,\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false}",
           "{\"a\":1}", "{\"b\":1}", NULL, "{}", "{\"a\":1,\"b\":1}");
}

// What a reference or allOf leads to was added to the conjunction again for each branch, and split again without end.
static void branches_behind_references_and_all_of_are_taken_once(void **state) {
    (void)state;
    const from_text schema = hth_grammar_from_schema;
    EXPECT(schema, "{\"allOf\":[{\"anyOf\":[{\"type\":\"null\"},{\"const\":1}]}]}", "null", "1", NULL, "2");
    EXPECT(schema, "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"oneOf\":[{\"type\":\"null\"},{\"const\":1}]}}}", "null", "1", NULL, "2");
    EXPECT(schema, "{\"allOf\":[{\"not\":{\"enum\":[1,2]}}],\"type\":\"integer\"}", "3", "12", NULL, "1", "2");
    EXPECT(schema, "{\"type\":\"object\",\"allOf\":[{\"dependentRequired\":{\"a\":[\"b\"]},\"additionalProperties\":false,"
                   "\"properties\":{\"a\":{},\"b\":{}}}]}", "{}", "{\"b\":1}", "{\"a\":1,\"b\":1}", NULL, "{\"a\":1}");
    EXPECT(schema, "{\"allOf\":[{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]},{\"anyOf\":[{\"minimum\":5},{\"const\":2}]}]}",
           "2", "5", "null", NULL, "1", "4");
    // Of a schema that is its own branch only what the others say is held by it.
    EXPECT(schema, "{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#\"}]}", "null", NULL, "1");
    EXPECT(schema, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"a\":{},\"a\\u0000\":{},\"b\":{}},"
                   "\"dependentRequired\":{\"a\\u0000\":[\"b\"]}}",
           "{\"a\":1}", "{\"a\\u0000\":1,\"b\":1}", NULL, "{\"a\\u0000\":1}");
}

static void what_cannot_be_enforced_is_refused_or_listed(void **state) {
    (void)state;
    const hth_grammar_options lenient = {.lenient = true};
    static const char *const schemas[][2] = {
        {"{\"properties\":{\"a/b\":{\"unevaluatedItems\":false}}}", "/properties/a~1b/unevaluatedItems"},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", "/oneOf"},
        {"{\"items\":{\"$ref\":\"http://example.com/x.json\"}}", "/items/$ref"},
        {"{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}", "/uniqueItems"},
        {"{\"not\":{\"items\":{\"type\":\"integer\"}}}", "/not"},
        {"{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "/pattern"},
    };
    for (size_t i = 0; i < HTH_COUNT(schemas); i++) {
        refuse(hth_grammar_from_schema, schemas[i][0], NULL, HTH_ERR_UNSUPPORTED, schemas[i][1]);
        hth_grammar *g = compile(hth_grammar_from_schema, schemas[i][0], &lenient);
        assert_int_equal(hth_grammar_n_widened(g), 1);
        assert_string_equal(hth_grammar_widened(g, 0), schemas[i][1]);
        hth_grammar_free(g);
    }
    EXPECT(hth_grammar_from_schema, "{\"format\":\"colour\",\"x-order\":3,\"type\":\"string\",\"description\":1}", "\"a\"", NULL, "1");
    refuse(hth_grammar_from_schema, "{\"type\":\"strin\"}", &lenient, HTH_ERR_FORMAT, "/type");
    refuse(hth_grammar_from_schema, "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":false}}", NULL, HTH_ERR_RANGE, "no text");
}

static void white_space_is_as_asked_for(void **state) {
    (void)state;
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":[1,2]}},\"required\":[\"a\"],\"additionalProperties\":false}";
    static const char *const texts[] = {"{\n  \"a\": [\n    1,\n    2\n  ]\n}", "{\"a\": [1, 2]}", "{\"a\":[1,2]}"};
    static const bool want[3][3] = {{true, true, true}, {false, true, false}, {false, false, true}};
    for (int space = HTH_SPACE_FREE; space <= HTH_SPACE_COMPACT; space++) {
        hth_grammar *g = compile(hth_grammar_from_schema, schema, &(hth_grammar_options){.space = (hth_grammar_space)space});
        for (int i = 0; i < 3; i++) assert_int_equal(belongs(g, texts[i], strlen(texts[i])) == 1, want[space][i]);
        hth_grammar_free(g);
    }
}

static void choices_are_exactly_the_texts(void **state) {
    (void)state;
    hth_grammar *g;
    hth_err err;
    static const char *const texts[] = {"yes", "yes, but", "no"};
    static const size_t n[] = {3, 8, 2};
    assert_int_equal(hth_grammar_from_choices(texts, n, 3, NULL, &g, &err), HTH_OK);
    assert_int_equal(belongs(g, "yes", 3), 1);
    assert_int_equal(belongs(g, "yes, bu", 7), 0);
    assert_int_equal(belongs(g, "yes, but", 8), 1);
    assert_int_equal(belongs(g, "yesno", 5), -1);
    hth_grammar_free(g);
    assert_int_equal(hth_grammar_from_choices(NULL, NULL, 0, NULL, &g, &err), HTH_ERR_RANGE);
}

static void a_long_list_takes_no_memory(void **state) {
    (void)state;
    static const char *const lists[] = {"root ::= \"a\" root | \"b\"", "root ::= root \"a\" | \"a\"", "root ::= l \"b\"\nl ::= \"a\" l | \"a\"",
                                        "root ::= (x \"a\")* \"b\"?\nx ::= \"(\" x \")\" | \"\""};
    for (size_t k = 0; k < HTH_COUNT(lists); k++) {
        hth_grammar *g = compile(hth_grammar_from_gbnf, lists[k], NULL);
        hth_chart c;
        hth_err err;
        assert_int_equal(chart_init(&c, g, 1u << 20, &err), HTH_OK);
        uint32_t place = c.start;
        for (int i = 0; i < 100000 && place != PLACE_NONE; i++) place = chart_step(&c, place, g->class_of['a']);
        assert_int_not_equal(place, PLACE_NONE);
        assert_true(c.n_place < 40);
        chart_free(&c);
        hth_grammar_free(g);
    }
}

// ---- compiling

// Two ways of 2,000 letters that end alike: equal from behind their first letter on.
static void equal_states_become_one_however_long_it_takes(void **state) {
    (void)state;
    hth_grammar *g = compile(hth_grammar_from_regex, "(?:ax{2000}|bx{2000})y", NULL);
    assert_int_equal(g->n_dfa, 1);
    assert_int_equal(g->dfas[0].n_state, 2004); // dead, the start, 2,001 with x, the end
    hth_grammar_free(g);
    g = compile(hth_grammar_from_regex, "[ab]*abb", NULL);
    assert_int_equal(g->dfas[0].n_state, 5);
    hth_grammar_free(g);
}

static void a_format_is_one_terminal_wherever_it_stands(void **state) {
    (void)state;
    hth_grammar *one = compile(hth_grammar_from_schema, "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\",\"format\":\"ipv4\"}]}", NULL);
    hth_grammar *three = compile(hth_grammar_from_schema,
                                 "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\",\"format\":\"ipv4\"},{\"format\":\"ipv4\","
                                 "\"type\":\"string\",\"title\":\"x\"},{\"type\":\"string\",\"description\":\"y\",\"format\":\"ipv4\"}]}", NULL);
    assert_int_equal(three->n_term, one->n_term);
    hth_grammar_free(one);
    hth_grammar_free(three);
}

static void what_is_asked_for_again_is_compiled_once(void **state) {
    (void)state;
    hth_grammar_cache *c;
    hth_err err = {0};
    hth_grammar *g[4], *other;
    hth_mem_stats before, after;
    const hth_grammar_options lenient = {.lenient = true}, spaced = {.space = HTH_SPACE_SPACED}, limited = {.limits.nesting = 9};
    hth_mem_get_stats(&before);
    assert_int_equal(hth_grammar_cache_new(3, 1u << 20, &c, &err), HTH_OK);
    for (int i = 0; i < 4; i++) {
        static const char *const texts[] = {"{\"type\":\"null\"}", "{\"type\":\"null\"} "};
        const char *text = texts[i == 3];
        assert_int_equal(hth_grammar_cached(c, HTH_GRAMMAR_SCHEMA, text, strlen(text), i == 2 ? &lenient : NULL, &g[i], &err), HTH_OK);
    }
    assert_true(g[0] == g[1] && g[0] != g[2] && g[0] != g[3]);
    hth_grammar_cache_stats stats = hth_grammar_cache_get_stats(c);
    assert_int_equal(stats.n_hit, 1);
    assert_int_equal(stats.n_miss, 3);
    assert_int_equal(stats.n, 3);
    // The fourth takes the place of the longest unused; whoever holds that keeps it.
    assert_int_equal(hth_grammar_cached(c, HTH_GRAMMAR_SCHEMA, "{}", 2, &spaced, &other, &err), HTH_OK);
    hth_grammar_free(other);
    assert_int_equal(hth_grammar_cached(c, HTH_GRAMMAR_SCHEMA, "{\"type\":\"null\"}", 15, NULL, &other, &err), HTH_OK);
    assert_true(other != g[0] && belongs(g[0], "null", 4) == 1);
    hth_grammar_free(other);
    assert_int_equal(hth_grammar_cached(c, HTH_GRAMMAR_REGEX, "(", 1, NULL, &other, &err), HTH_ERR_FORMAT);
    assert_int_equal(hth_grammar_cached(c, HTH_GRAMMAR_SCHEMA, "{}", 2, &limited, &other, &err), HTH_OK); // not kept
    hth_grammar_free(other);
    assert_int_equal(hth_grammar_cached(NULL, HTH_GRAMMAR_JSON_OBJECT, NULL, 0, NULL, &other, &err), HTH_OK);
    hth_grammar_free(other);
    stats = hth_grammar_cache_get_stats(c);
    assert_int_equal(stats.n, 3);
    assert_true(stats.n_bytes > 0 && stats.n_bytes <= 1u << 20);
    for (int i = 0; i < 4; i++) hth_grammar_free(g[i]);
    hth_grammar_cache_free(c);
    hth_mem_get_stats(&after);
    assert_int_equal(after.n_blocks, before.n_blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regular_expressions_mean_what_they_mean_elsewhere),
        cmocka_unit_test(broken_expressions_are_refused_with_their_place),
        cmocka_unit_test(every_limit_says_which_it_is),
        cmocka_unit_test(gbnf_is_read_as_llama_cpp_reads_it),
        cmocka_unit_test(lark_is_read_as_lark_reads_it),
        cmocka_unit_test(both_are_told_apart),
        cmocka_unit_test(schemas_hold_what_they_say),
        cmocka_unit_test(branches_behind_references_and_all_of_are_taken_once),
        cmocka_unit_test(what_cannot_be_enforced_is_refused_or_listed),
        cmocka_unit_test(white_space_is_as_asked_for),
        cmocka_unit_test(choices_are_exactly_the_texts),
        cmocka_unit_test(a_long_list_takes_no_memory),
        cmocka_unit_test(equal_states_become_one_however_long_it_takes),
        cmocka_unit_test(a_format_is_one_terminal_wherever_it_stands),
        cmocka_unit_test(what_is_asked_for_again_is_compiled_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
