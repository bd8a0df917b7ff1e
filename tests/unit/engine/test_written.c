// Text that comes out of requests: scripted answers, stop texts, characters of several tokens, control tokens.
#include <unistd.h>

#include "unit/engine/asked.h"
#include "unit/engine/byte_model.h"

enum { IM_START = 257, IM_END = 258 };

static hth_engine *engine;

static int open_engine(void **state) {
    (void)state;
    char dir[128], path[160];
    hth_err err;
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    byte_model_write(path);
    if (hth_engine_open(path, &(hth_engine_params){.n_thread = 2, .need_tokenizer = true}, &engine, &err) != HTH_OK) fail_msg("%s", err.msg);
    unlink(path);
    rmdir(dir);
    return 0;
}

static int close_engine(void **state) {
    (void)state;
    hth_engine_close(engine);
    return 0;
}

static hth_segment text_of(const char *text) {
    return (hth_segment){.text = text, .n_text = strlen(text)};
}

// A request that says `script`.
static hth_request_params saying(const hth_segment *prompt, const hth_segment *script) {
    return (hth_request_params){.segments = prompt, .n_segment = 1, .forced = script, .n_forced = 1};
}

static void a_script_is_said_as_if_it_had_been_sampled(void **state) {
    (void)state;
    const hth_segment prompt = text_of("hi"), script = text_of("hello <|im_start|> w\xc3\xb6rld");
    hth_request_params p = saying(&prompt, &script);
    p.logprobs = true;
    p.n_top = 2;
    asked *a = asked_run(engine, &p);
    assert_string_equal(a->of[0].text, "hello  w\xc3\xb6rld");
    assert_int_equal(a->of[0].reason, HTH_STOP_END);
    assert_int_equal(a->of[0].stop_token, -1);
    for (int i = 0; i < a->of[0].n; i++) assert_true(a->of[0].logprobs[i] <= 0);
    free(a);
    p.show_control = true;
    a = asked_run(engine, &p);
    assert_string_equal(a->of[0].text, "hello <|im_start|> w\xc3\xb6rld");
    free(a);
    p.max_tokens = 3;
    a = asked_run(engine, &p);
    assert_int_equal(a->of[0].n, 3);
    assert_int_equal(a->of[0].reason, HTH_STOP_LENGTH);
    free(a);
}

static void an_end_token_in_a_script_ends_it(void **state) {
    (void)state;
    const hth_segment prompt = text_of("hi"), script = text_of("bye<|im_end|> and more");
    hth_request_params p = saying(&prompt, &script);
    asked *a = asked_run(engine, &p);
    assert_string_equal(a->of[0].text, "bye");
    assert_int_equal(a->of[0].reason, HTH_STOP_END);
    assert_int_equal(a->of[0].stop_token, IM_END);
    assert_int_equal(a->usage.n_output, 4);
    free(a);
    p.ignore_end = true;
    a = asked_run(engine, &p);
    assert_string_equal(a->of[0].text, "bye and more");
    free(a);
    const hth_token spelled = hth_tokenizer_find(hth_engine_tokenizer(engine), "y", 1);
    p.stop_tokens = &spelled;
    p.n_stop_token = 1;
    a = asked_run(engine, &p);
    assert_string_equal(a->of[0].text, "b");
    assert_int_equal(a->of[0].reason, HTH_STOP_TOKEN);
    assert_int_equal(a->of[0].stop_token, spelled);
    free(a);
}

// Reads events and checks that every piece of text is whole characters and holds nothing of a stop text.
static void stop_texts_are_found_across_tokens_and_never_seen(void **state) {
    (void)state;
    const hth_segment prompt = text_of("hi"), script = text_of("a STO b \xe2\x82\xac STOP c");
    const hth_bytes stops[] = {{"nothing", 7}, {" STOP", 5}};
    hth_request_params p = saying(&prompt, &script);
    p.stop = stops;
    p.n_stop = 2;
    hth_request *r = asked_submit(engine, &p);
    hth_event e = {0};
    hth_err err;
    char all[64] = "";
    while (e.kind != HTH_EVENT_END) {
        assert_int_equal(hth_request_next(r, 20000, &e, &err), HTH_OK);
        if (e.n_text == 0) continue;
        for (size_t i = 0; i < e.n_text;) {
            const uint8_t lead = (uint8_t)e.text[i];
            const size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
            assert_true(lead < 0x80 || lead >= 0xc2); // no piece begins inside a character
            assert_true(i + n <= e.n_text);           // or ends there
            i += n;
        }
        strncat(all, e.text, e.n_text);
        if (e.kind == HTH_EVENT_STOP) assert_int_equal(e.stop.i_stop, 1);
    }
    assert_string_equal(all, "a STO b \xe2\x82\xac");
    hth_request_free(r);
}

static void a_broken_character_at_the_end_becomes_the_replacement(void **state) {
    (void)state;
    const hth_tokenizer *t = hth_engine_tokenizer(engine);
    hth_token_list list = {0};
    hth_err err;
    const hth_text_segment whole = {"\xe2\x82\xac", 3, false};
    assert_int_equal(hth_tokenize(t, &whole, 1, 0, &list, &err), HTH_OK);
    assert_int_equal(list.n, 3);
    const hth_segment prompt = text_of("hi"), half = asked_tokens(list.ids, 2);
    hth_request_params p = saying(&prompt, &half);
    asked *a = asked_run(engine, &p);
    assert_string_equal(a->of[0].text, "\xef\xbf\xbd");
    free(a);
    hth_token_list_free(&list);
}

static void a_prompt_of_texts_and_tokens_is_one_prompt(void **state) {
    (void)state;
    const hth_token start = IM_START;
    const hth_segment parts[] = {asked_tokens(&start, 1), text_of("us"), text_of("er"), {.text = "<|im_end|>", .n_text = 10, .is_user = true}};
    hth_request_params p = {.segments = parts, .n_segment = 4, .no_output = true, .echo = true, .show_control = true};
    asked *a = asked_run(engine, &p);
    assert_string_equal(a->prompt.text, "<|im_start|>user<|im_end|>");
    assert_int_equal(a->prompt.tokens[0], IM_START);
    for (int i = 1; i < a->prompt.n; i++) assert_true(a->prompt.tokens[i] < IM_START); // a user's bytes stay text
    assert_int_equal(a->usage.n_output, 0);
    free(a);
}

static void random_bytes_come_out_as_whole_characters(void **state) {
    (void)state;
    const hth_sampler_params hot = {.temperature = 2, .top_p = 1, .repeat_penalty = 1, .seed = 3};
    const hth_segment prompt = text_of("h");
    hth_request_params p = {.segments = &prompt, .n_segment = 1, .sampling = &hot, .ignore_end = true, .max_tokens = 100, .n = 4};
    asked *a = asked_run(engine, &p);
    for (int i = 0; i < 4; i++) {
        // What a fresh detokenizer makes of the tokens.
        hth_detokenizer d = hth_detokenizer_make(hth_engine_tokenizer(engine), false);
        hth_str want;
        hth_err err;
        d.at_start = false;
        hth_str_init(&want, HTH_MEM_MISC, 1 << 16);
        for (int j = 0; j < a->of[i].n; j++) assert_int_equal(hth_detokenizer_push(&d, a->of[i].tokens[j], &want, &err), HTH_OK);
        assert_int_equal(hth_detokenizer_end(&d, &want, &err), HTH_OK);
        assert_int_equal(a->of[i].n, 100);
        assert_int_equal(a->of[i].n_text, want.len);
        assert_memory_equal(a->of[i].text, hth_str_text(&want), want.len);
        hth_str_free(&want);
    }
    free(a);
}

// Puts a text in the model's place after so many tokens.
typedef struct forcing {
    size_t at;
    hth_token tokens[8];
    size_t n;
    int n_asked;
} forcing;

static size_t force(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    forcing *f = user;
    (void)completion, (void)tokens;
    f->n_asked++;
    *out = f->tokens;
    return n == f->at ? f->n : 0;
}

static void what_is_forced_is_said_and_the_model_goes_on_from_it(void **state) {
    (void)state;
    const hth_segment prompt = text_of("user");
    const hth_sampler_params greedy = {.top_p = 1, .repeat_penalty = 1};
    // The third one is an end token, which ends nothing here.
    forcing f = {.at = 4, .tokens = {65, 66, IM_END, 67}, .n = 4};
    hth_request_params p = {.segments = &prompt, .n_segment = 1, .sampling = &greedy, .max_tokens = 24, .force = force, .user = &f,
                            .no_cache = true, .n_draft = -1, .stop_tokens = (hth_token[]){66}, .n_stop_token = 1};
    asked *a = asked_run(engine, &p);
    assert_int_equal(a->of[0].n, 24);
    assert_int_equal(a->usage.n_output, 24);
    assert_memory_equal(a->of[0].tokens + 4, f.tokens, 4 * sizeof(hth_token));
    assert_int_equal(f.n_asked, 24 - 3); // once for all that is forced
    // The rest is what the model says where all of that is its prompt.
    const hth_segment parts[] = {text_of("user"), asked_tokens(a->of[0].tokens, 8)};
    const hth_request_params q = {.segments = parts, .n_segment = 2, .sampling = &greedy, .max_tokens = 16, .prompt_as_generated = true,
                                  .no_cache = true, .n_draft = -1};
    asked *b = asked_run(engine, &q);
    assert_memory_equal(a->of[0].tokens + 8, b->of[0].tokens, 16 * sizeof(hth_token));
    free(b);
    p.logprobs = true;
    p.n_draft = 4;
    b = asked_run(engine, &p); // one by one, and with guesses
    assert_memory_equal(a->of[0].tokens, b->of[0].tokens, 24 * sizeof(hth_token));
    for (int i = 0; i < 24; i++) assert_true(b->of[0].logprobs[i] <= 0);
    free(b);
    p.max_tokens = 6; // forced tokens count
    b = asked_run(engine, &p);
    assert_int_equal(b->of[0].n, 6);
    assert_int_equal(b->of[0].reason, HTH_STOP_LENGTH);
    free(b);
    free(a);
    f.tokens[1] = 1 << 20;
    a = asked_run(engine, &p);
    assert_int_equal(a->of[0].code, HTH_ERR_RANGE);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_script_is_said_as_if_it_had_been_sampled),
        cmocka_unit_test(an_end_token_in_a_script_ends_it),
        cmocka_unit_test(stop_texts_are_found_across_tokens_and_never_seen),
        cmocka_unit_test(a_broken_character_at_the_end_becomes_the_replacement),
        cmocka_unit_test(a_prompt_of_texts_and_tokens_is_one_prompt),
        cmocka_unit_test(random_bytes_come_out_as_whole_characters),
        cmocka_unit_test(what_is_forced_is_said_and_the_model_goes_on_from_it),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
