// Every allocation of loading a model and writing three tokens fails once: each time there is a typed
// error, nothing leaks, and the next try succeeds.
#include <unistd.h>

#include "chat/template.h"
#include "engine/session.h"
#include "unit/engine/byte_model.h"

// ---- a folder as hubs publish it, with a byte-level BPE over the letters of the prompt

static void write_text_file(const char *dir, const char *name, const char *text) {
    char path[192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    put(f, text, strlen(text));
    assert_int_equal(fclose(f), 0);
}

#define FILLER "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"

static void write_tokenizer(const char *dir) {
    char text[8192];
    size_t n = (size_t)snprintf(
        text, sizeof text,
        "{\"added_tokens\": [{\"id\": 95, \"content\": \"<|im_start|>\", \"special\": true}, "
        "{\"id\": 96, \"content\": \"<|im_end|>\", \"special\": true}], \"pre_tokenizer\": "
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}, "
        "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", "
        "\"merges\": [\"h e\"], \"vocab\": {\"\\u0120\": 0, \"\\u010a\": 1, \"he\": 2");
    for (int i = 3; i < TINY_VOCAB - 2; i++) {
        // Letters, then tokens that nothing makes.
        bool is_letter = i < 29;
        n += (size_t)snprintf(text + n, sizeof text - n, ", \"%c%.*s\": %d", is_letter ? 'a' + i - 3 : '@',
                              is_letter ? 0 : i - 28, FILLER, i);
    }
    snprintf(text + n, sizeof text - n, "}}}");
    write_text_file(dir, "tokenizer.json", text);
    write_text_file(
        dir, "tokenizer_config.json",
        "{\"eos_token\": \"<|im_end|>\", \"chat_template\": \"{% for m in messages %}{{'<|im_start|>' + "
        "m.role + '\\\\n' + m.content + '<|im_end|>' + '\\\\n'}}{% endfor %}{{ '<|im_start|>assistant\\\\n' "
        "}}\"}");
}

// ---- the scenario

typedef struct world {
    hth_solo *engine;
    hth_chat_template *format;
    hth_session *session;
    hth_sampler *sampler;
    hth_token_list prompt;
} world;

static hth_code load(world *w, const char *path, hth_err *err) {
    const hth_solo_params params = {.n_thread = 2, .need_tokenizer = true};
    const hth_session_params session = {.n_ctx = 96, .n_chunk = 8};
    const hth_sampler_params sampling = hth_sampler_default();
    HTH_TRY(hth_solo_open(path, &params, &w->engine, err));
    HTH_TRY(hth_chat_template_open(w->engine->model->container, w->engine->tokenizer, NULL, &w->format, err));
    HTH_TRY(hth_session_new(w->engine, &session, &w->session, err));
    return hth_sampler_new(&sampling, w->engine->model->desc.n_vocab, &w->sampler, err);
}

static hth_code write_three(world *w, hth_token *tokens, hth_str *text, hth_err *err) {
    const hth_chat_part part = {HTH_CHAT_PART_TEXT, hth_chat_text_of("hello there")};
    const hth_chat_message message = {.role = hth_chat_text_of("user"), .parts = &part, .n_part = 1};
    const hth_chat_request request = {.messages = &message, .n_message = 1};
    hth_jinja_text chat;
    hth_detokenizer d = hth_detokenizer_make(w->engine->tokenizer, true);
    HTH_TRY(hth_chat_render(w->format, &request, &chat, err));
    hth_code code = hth_chat_text_ids(w->format, w->engine->tokenizer, &chat, &w->prompt, err);
    hth_jinja_text_free(&chat);
    HTH_TRY(code);
    HTH_TRY(hth_session_sync(w->session, w->prompt.ids, w->prompt.n, NULL, NULL, err));
    for (int i = 0; i < 3; i++) {
        int64_t pos = hth_session_len(w->session);
        HTH_TRY(hth_sampler_pick(w->sampler, hth_session_logits(w->session), pos, &tokens[i], err));
        HTH_TRY(hth_detokenizer_push(&d, tokens[i], text, err));
        HTH_TRY(hth_session_push(w->session, tokens[i], NULL, err));
    }
    return hth_detokenizer_end(&d, text, err);
}

static hth_code run(const char *path, hth_token *tokens, hth_err *err) {
    world w = {0};
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 1 << 16);
    hth_code code = load(&w, path, err);
    if (code == HTH_OK) code = write_three(&w, tokens, &text, err);
    hth_str_free(&text);
    hth_token_list_free(&w.prompt);
    hth_sampler_free(w.sampler);
    hth_session_free(w.session);
    hth_chat_template_free(w.format);
    hth_solo_close(w.engine);
    return code;
}

static uint64_t live_blocks(void) {
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return stats.n_blocks;
}

// Fails allocation 1, 2, 3, ... (with `sticky` all after it too) until the scenario has no more.
static int fail_each(const char *path, bool sticky, const hth_token *want) {
    uint64_t start = live_blocks();
    int n_failed = 0;
    for (uint64_t n = 1;; n++) {
        hth_token tokens[3] = {0};
        hth_err err = {0};
        hth_mem_fail_at(n, sticky);
        hth_code code = run(path, tokens, &err);
        bool was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        assert_int_equal(live_blocks(), start);
        if (!was_hit) {
            assert_int_equal(code, HTH_OK);
            assert_memory_equal(tokens, want, sizeof tokens);
            return n_failed;
        }
        if (code != HTH_ERR_NOMEM)
            fail_msg("allocation %d: code %s: %s", (int)n, hth_code_name(code), err.msg);
        assert_true(err.msg[0] != 0);
        n_failed++;
        if (n % 16 == 0) { // the next try succeeds
            hth_token again[3];
            assert_int_equal(run(path, again, &err), HTH_OK);
            assert_memory_equal(again, want, sizeof again);
        }
    }
}

static void every_failed_allocation_is_survived(const char *path, bool sticky) {
    hth_token want[3];
    hth_err err = {0};
    if (run(path, want, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_true(fail_each(path, sticky, want) > 40);
}

static void a_gguf_survives_every_failed_allocation(void **state) {
    (void)state;
    char dir[128], path[160];
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    byte_model_write(path);
    every_failed_allocation_is_survived(path, false);
    every_failed_allocation_is_survived(path, true);
    unlink(path);
    rmdir(dir);
}

static void a_folder_survives_every_failed_allocation(void **state) {
    (void)state;
    char dir[128], path[160];
    tiny *t = test_malloc(sizeof *t);
    memset(t, 0, sizeof *t);
    tiny_make(TINY_LLAMA, t);
    tiny_make_dir(dir);
    tiny_write_config(t, dir);
    tiny_write_weights(t, dir);
    write_tokenizer(dir);
    every_failed_allocation_is_survived(dir, false);
    every_failed_allocation_is_survived(dir, true);
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    tiny_remove_dir(dir);
    test_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gguf_survives_every_failed_allocation),
        cmocka_unit_test(a_folder_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
