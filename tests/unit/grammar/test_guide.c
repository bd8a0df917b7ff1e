// Masks against trying every token byte by byte; going back and forth; what is forced; failing allocations.
#include "grammar/chart.h"
#include "unit/cmocka_all.h"
#include "unit/grammar/toy.h"

typedef struct world {
    hth_tokenizer *t;
    hth_grammar_vocab *vocab;
    int32_t n, end, call;
} world;

static void open_world(world *w) {
    hth_err err;
    w->t = toy_tokenizer();
    w->n = hth_tokenizer_n_vocab(w->t);
    w->end = hth_tokenizer_find(w->t, "</s>", 4);
    w->call = hth_tokenizer_find(w->t, "<|call|>", 8);
    assert_int_equal(hth_grammar_vocab_new(w->t, &w->vocab, &err), HTH_OK);
}

static void close_world(world *w) {
    hth_grammar_vocab_free(w->vocab);
    hth_tokenizer_free(w->t);
}

static hth_guide *guide(const world *w, hth_grammar *g) {
    hth_guide *out;
    hth_err err;
    if (hth_guide_new(&(hth_guide_params){.grammar = g, .vocab = w->vocab, .end_tokens = &w->end, .n_end = 1}, &out, &err) != HTH_OK) {
        fail_msg("%s", err.msg);
    }
    hth_grammar_free(g); // the guide holds it
    return out;
}

static hth_grammar *schema(const char *text) {
    hth_grammar *g;
    hth_err err;
    if (hth_grammar_from_schema(text, strlen(text), NULL, &g, &err) != HTH_OK) fail_msg("%s", err.msg);
    return g;
}

static hth_grammar *lark(const char *text) {
    hth_grammar *g;
    hth_err err;
    if (hth_grammar_from_lark(text, strlen(text), NULL, &g, &err) != HTH_OK) fail_msg("%s", err.msg);
    return g;
}

static bool has(const uint32_t *mask, int32_t id) {
    return mask[id / 32] >> (id % 32) & 1;
}

// Compares the mask with a chart of its own that every token's bytes go through.
static void check_mask(const world *w, hth_guide *g, hth_chart *c, uint32_t place, const uint32_t *mask) {
    for (int32_t id = 0; id < w->n; id++) {
        size_t n = 0;
        const char *text = toy_text(w->t, id, &n);
        uint32_t to = text && n > 0 ? place : PLACE_NONE;
        for (size_t i = 0; i < n && to != PLACE_NONE; i++) to = chart_step(c, to, c->g->class_of[(uint8_t)text[i]]);
        const bool want = id == w->end ? hth_guide_is_accepting(g) : to != PLACE_NONE;
        if (has(mask, id) != want) fail_msg("token %d is %s", (int)id, want ? "missing" : "too much");
    }
}

static uint32_t next_random(uint32_t *x) {
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

// A random walk of tokens, the mask compared at every step.
static void walk(const world *w, hth_grammar *grammar, uint32_t seed, int most) {
    uint32_t mask[64];
    hth_err err = {0};
    hth_chart c;
    assert_int_equal(chart_init(&c, grammar, 64u << 20, &err), HTH_OK);
    hth_grammar_hold(grammar);
    hth_guide *g = guide(w, grammar);
    uint32_t place = c.start;
    for (int i = 0; i < most; i++) {
        if (hth_guide_mask(g, mask, &err) != HTH_OK) fail_msg("%s", err.msg);
        check_mask(w, g, &c, place, mask);
        int32_t token = (int32_t)(next_random(&seed) % (uint32_t)w->n);
        while (!has(mask, token)) token = (token + 1) % w->n;
        if (hth_guide_accept(g, token, &err) != HTH_OK) fail_msg("%s", err.msg);
        if (token == w->end) break;
        size_t n;
        const char *text = toy_text(w->t, token, &n);
        for (size_t k = 0; k < n; k++) place = chart_step(&c, place, grammar->class_of[(uint8_t)text[k]]);
    }
    hth_guide_free(g);
    chart_free(&c);
}

static void a_mask_has_the_tokens_whose_bytes_go_on(void **state) {
    (void)state;
    static const char *const schemas[] = {
        "{}",
        "{\"type\":\"string\",\"maxLength\":9}",
        "{\"type\":\"string\",\"pattern\":\"^[a-z ]{2,40}$\"}",
        "{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"},\"abc\":{\"enum\":[\"abc\",\"abcdef\",true]}}}",
        "{\"type\":\"array\",\"items\":{\"type\":\"number\",\"minimum\":0,\"maximum\":345}}",
        "{\"type\":\"string\",\"minLength\":5}",
    };
    world w;
    open_world(&w);
    for (size_t i = 0; i < HTH_COUNT(schemas); i++) {
        for (uint32_t seed = 0; seed < 8; seed++) {
            hth_grammar *g = schema(schemas[i]);
            walk(&w, g, seed, 60);
            hth_grammar_free(g);
        }
    }
    close_world(&w);
}

static void control_tokens_come_where_they_are_named_and_only_there(void **state) {
    (void)state;
    world w;
    uint32_t mask[64];
    hth_err err;
    open_world(&w);
    hth_guide *g = guide(&w, lark("start: \"ab\" <|call|> /.*/"));
    assert_int_equal(hth_guide_mask(g, mask, &err), HTH_OK);
    assert_false(has(mask, w.call));
    assert_int_equal(hth_guide_accept(g, w.call, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_guide_accept(g, 'a', &err), HTH_OK);
    assert_int_equal(hth_guide_accept(g, 'b', &err), HTH_OK);
    assert_int_equal(hth_guide_mask(g, mask, &err), HTH_OK);
    assert_true(has(mask, w.call));
    assert_false(has(mask, '<')); // its spelling is another text
    assert_int_equal(hth_guide_accept(g, w.call, &err), HTH_OK);
    assert_int_equal(hth_guide_mask(g, mask, &err), HTH_OK);
    assert_true(has(mask, '<') && has(mask, w.end));
    assert_false(has(mask, w.call));
    hth_guide_free(g);
    hth_guide *other;
    hth_grammar *unknown = lark("start: <|none|>");
    assert_int_equal(hth_guide_new(&(hth_guide_params){.grammar = unknown, .vocab = w.vocab}, &other, &err), HTH_ERR_NOTFOUND);
    hth_grammar_free(unknown);
    hth_grammar *outside = lark("start: \"a\" <[444444444444]>");
    assert_int_equal(hth_guide_new(&(hth_guide_params){.grammar = outside, .vocab = w.vocab}, &other, &err), HTH_ERR_NOTFOUND);
    hth_grammar_free(outside);
    close_world(&w);
}

static void a_guide_goes_back_as_far_as_it_went(void **state) {
    (void)state;
    world w;
    hth_err err;
    uint32_t masks[6][64], mask[64] = {0};
    static const int32_t tokens[] = {'{', '"', 'x', '"', ':'};
    open_world(&w);
    hth_guide *g = guide(&w, schema("{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}},\"additionalProperties\":false}"));
    memset(masks, 0, sizeof masks);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(hth_guide_mask(g, masks[i], &err), HTH_OK);
        if (i < 5) assert_int_equal(hth_guide_accept(g, tokens[i], &err), HTH_OK);
    }
    for (size_t n = 5; n-- > 0;) {
        assert_int_equal(hth_guide_sync(g, tokens, n, &err), HTH_OK);
        assert_int_equal(hth_guide_mask(g, mask, &err), HTH_OK);
        assert_memory_equal(mask, masks[n], sizeof mask);
    }
    static const int32_t other[] = {'{', '}'};
    assert_int_equal(hth_guide_sync(g, other, 2, &err), HTH_OK);
    assert_true(hth_guide_is_accepting(g) && hth_guide_is_done(g));
    assert_int_equal(hth_guide_accept(g, w.end, &err), HTH_OK);
    assert_int_equal(hth_guide_accept(g, 'x', &err), HTH_ERR_RANGE);
    assert_int_equal(hth_guide_rollback(g, 4, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_guide_rollback(g, 3, &err), HTH_OK);
    assert_int_equal(hth_guide_mask(g, mask, &err), HTH_OK);
    assert_memory_equal(mask, masks[0], sizeof mask);
    hth_guide_free(g);
    close_world(&w);
}

static void forced_tokens_stop_before_what_could_merge(void **state) {
    (void)state;
    world w;
    hth_err err;
    hth_token_list list = {0};
    open_world(&w);
    // After "ab" only c may come, but what follows c may be def, and abcdef is one token.
    hth_guide *g = guide(&w, lark("start: \"{x}abc\" (\"def\" | \"!\")"));
    assert_int_equal(hth_guide_forced(g, 100, &list, &err), HTH_OK);
    assert_int_equal(list.n, 3);
    assert_memory_equal(list.ids, ((int32_t[]){'{', 'x', '}'}), 3 * sizeof(int32_t));
    hth_token_list_free(&list);
    hth_guide_free(g);
    g = guide(&w, lark("start: \"x\" | \"y\""));
    assert_int_equal(hth_guide_forced(g, 100, &list, &err), HTH_OK);
    assert_int_equal(list.n, 0);
    hth_guide_free(g);
    close_world(&w);
}

static void little_memory_costs_time_only(void **state) {
    (void)state;
    world w;
    hth_err err;
    uint32_t mask[64];
    open_world(&w);
    hth_grammar *grammar = schema("{}");
    hth_guide *g;
    const hth_guide_params p = {.grammar = grammar, .vocab = w.vocab, .end_tokens = &w.end, .n_end = 1, .max_bytes = 400000};
    assert_int_equal(hth_guide_new(&p, &g, &err), HTH_OK);
    for (int i = 0; i < 2000; i++) {
        if (hth_guide_accept(g, '[', &err) != HTH_OK) { // it is deep, and says so
            assert_int_equal(err.code, HTH_ERR_LIMIT);
            break;
        }
        if (hth_guide_mask(g, mask, &err) != HTH_OK) {
            assert_int_equal(err.code, HTH_ERR_LIMIT);
            break;
        }
        assert_true(has(mask, '[') && has(mask, ']') && !has(mask, '}'));
    }
    hth_guide_free(g);
    hth_grammar_free(grammar);
    close_world(&w);
}

static void guides_serve_an_engine_that_drops_drafts(void **state) {
    (void)state;
    world w;
    hth_err err;
    hth_guides *gs;
    uint32_t mask[64] = {0};
    open_world(&w);
    hth_grammar *grammar = schema("{\"type\":\"integer\"}");
    assert_int_equal(hth_guides_new(&(hth_guide_params){.grammar = grammar, .vocab = w.vocab}, 2, &gs, &err), HTH_OK);
    assert_true(hth_guides_mask(gs, 1, (int32_t[]){'1', '2'}, 2, mask));
    assert_true(has(mask, '3') && has(mask, w.end));
    assert_true(hth_guides_mask(gs, 1, (int32_t[]){'0'}, 1, mask));
    assert_false(has(mask, '3'));
    assert_true(hth_guides_mask(gs, 0, NULL, 0, mask));
    assert_false(has(mask, w.end));
    assert_false(hth_guides_mask(gs, 0, (int32_t[]){'x'}, 1, mask));
    assert_non_null(strstr(hth_guides_error(gs, 0)->msg, "does not allow token"));
    assert_false(hth_guides_mask(gs, 2, NULL, 0, mask));
    hth_guides_free(gs);
    hth_grammar_free(grammar);
    close_world(&w);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char text[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^x\\\\p{Lu}\"},"
                               "\"b\":{\"type\":\"number\",\"minimum\":2,\"multipleOf\":3}},\"patternProperties\":{\"z\":{}},"
                               "\"oneOf\":[{\"required\":[\"a\"],\"properties\":{\"k\":{\"const\":1}}},{\"not\":{\"required\":[\"a\"]}}]}";
    world w;
    uint32_t mask[64];
    hth_mem_stats before, after;
    open_world(&w);
    hth_mem_get_stats(&before);
    bool done = false;
    for (uint64_t n = 1; !done; n += 1 + n / 16) {
        hth_grammar *grammar = NULL;
        hth_guide *g = NULL;
        hth_err err = {0};
        hth_mem_fail_at(n, false);
        hth_code code = hth_grammar_from_schema(text, sizeof text - 1, &(hth_grammar_options){.lenient = true}, &grammar, &err);
        if (code == HTH_OK) code = hth_guide_new(&(hth_guide_params){.grammar = grammar, .vocab = w.vocab}, &g, &err);
        if (code == HTH_OK) code = hth_guide_mask(g, mask, &err);
        if (code == HTH_OK) code = hth_guide_accept(g, '{', &err);
        done = !hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        if (done && code != HTH_OK) fail_msg("%s", err.msg);
        if (code != HTH_OK) assert_true(err.msg[0] != 0);
        hth_guide_free(g);
        hth_grammar_free(grammar);
        hth_mem_get_stats(&after);
        assert_int_equal(after.n_blocks, before.n_blocks);
    }
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_has_the_tokens_whose_bytes_go_on),
        cmocka_unit_test(control_tokens_come_where_they_are_named_and_only_there),
        cmocka_unit_test(a_guide_goes_back_as_far_as_it_went),
        cmocka_unit_test(forced_tokens_stop_before_what_could_merge),
        cmocka_unit_test(little_memory_costs_time_only),
        cmocka_unit_test(guides_serve_an_engine_that_drops_drafts),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
