// Every allocation of opening a model, rendering a chat and serving three requests at once fails once: each time what
// fails says so with a typed error, what does not fail is right, everything ends, and nothing leaks.
#include <stdlib.h>
#include <unistd.h>

#include "chat/template.h"
#include "os/sync.h"
#include "unit/engine/asked.h"
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

enum { N_REQUEST = 3, N_OUT = 6 };

typedef struct outcome {
    hth_code code; // of opening or submitting
    hth_code ends[N_REQUEST];
    hth_token tokens[N_REQUEST][2][N_OUT];
    int n[N_REQUEST][2];
} outcome;

// Counts the requests that have ended. Nothing is read before all have: a reader at work beside the host's thread would
// meet some of the failures that are meant for that.
typedef struct ended {
    hth_mutex lock;
    hth_cond more;
    int n;
} ended;

static void count_end(void *user, const hth_event *event) {
    ended *all = user;
    if (event->kind != HTH_EVENT_END) return;
    hth_lock(&all->lock);
    all->n++;
    hth_cond_wake_all(&all->more);
    hth_unlock(&all->lock);
}

static void wait_for(ended *all, int n) {
    hth_lock(&all->lock);
    while (all->n < n) hth_cond_wait(&all->more, &all->lock);
    hth_unlock(&all->lock);
}

static hth_code submit(hth_engine *e, const hth_token_list *chat, int i, ended *all, hth_request **out, hth_err *err) {
    static const char *const texts[N_REQUEST] = {"", "he", "what is it"};
    static const hth_bytes stop = {"never to come", 13};
    const hth_sampler_params sampling = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 5};
    hth_segment segment = {.text = texts[i], .n_text = strlen(texts[i])};
    if (i == 0) segment = (hth_segment){.tokens = chat->ids, .n_token = chat->n};
    const hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &sampling, .max_tokens = N_OUT, .ignore_end = true,
                                  .n = 2, .stop = &stop, .n_stop = 1, .logprobs = true, .n_top = 2, .echo = i == 0,
                                  .on_event = count_end, .user = all};
    return hth_request_submit(e, &p, out, NULL, err);
}

static hth_code render(hth_engine *e, hth_token_list *out, hth_err *err) {
    const hth_chat_part part = {HTH_CHAT_PART_TEXT, hth_chat_text_of("hello there")};
    const hth_chat_message message = {.role = hth_chat_text_of("user"), .parts = &part, .n_part = 1};
    const hth_chat_request request = {.messages = &message, .n_message = 1};
    hth_chat_template *format;
    hth_jinja_text text;
    HTH_TRY(hth_chat_template_open(hth_engine_model(e)->container, hth_engine_tokenizer(e), NULL, &format, err));
    hth_code code = hth_chat_render(format, &request, &text, err);
    if (code == HTH_OK) {
        code = hth_chat_text_ids(format, hth_engine_tokenizer(e), &text, out, err);
        hth_jinja_text_free(&text);
    }
    hth_chat_template_free(format);
    return code;
}

// Memory may be refused to the reader too: then it reads again.
static void read_all(hth_request *r, outcome *o, int i) {
    hth_event e = {.kind = HTH_EVENT_QUEUED};
    hth_err err;
    while (e.kind != HTH_EVENT_END) {
        const hth_code code = hth_request_next(r, 20000, &e, &err);
        if (code != HTH_OK) {
            assert_int_equal(code, HTH_ERR_NOMEM);
            hth_mem_fail_at(0, false);
            continue;
        }
        if (e.kind == HTH_EVENT_ERROR) o->ends[i] = e.error.err->code;
        if (e.kind != HTH_EVENT_TOKEN) continue;
        assert_true(o->n[i][e.completion] < N_OUT);
        o->tokens[i][e.completion][o->n[i][e.completion]++] = e.token.id;
    }
}

static void run(const char *path, outcome *o) {
    hth_engine *e = NULL;
    hth_request *r[N_REQUEST] = {NULL};
    hth_err err;
    ended all = {.n = 0};
    hth_token_list chat = {0};
    int n_submitted = 0;
    *o = (outcome){0};
    assert_int_equal(hth_mutex_init(&all.lock, &err), HTH_OK);
    assert_int_equal(hth_cond_init(&all.more, &err), HTH_OK);
    o->code = hth_engine_open(path, &(hth_engine_params){.n_thread = 2, .n_ctx = 96, .n_chunk = 8, .need_tokenizer = true, .memory_bytes = 1 << 26}, &e, &err);
    if (o->code == HTH_OK) o->code = render(e, &chat, &err);
    for (int i = 0; o->code == HTH_OK && i < N_REQUEST; i++) {
        o->code = submit(e, &chat, i, &all, &r[i], &err);
        n_submitted += o->code == HTH_OK;
    }
    wait_for(&all, n_submitted);
    for (int i = 0; i < N_REQUEST; i++) {
        if (r[i]) read_all(r[i], o, i);
        hth_request_free(r[i]);
    }
    hth_engine_close(e);
    hth_token_list_free(&chat);
    hth_cond_destroy(&all.more);
    hth_mutex_destroy(&all.lock);
}

static uint64_t live_blocks(void) {
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return stats.n_blocks;
}

// How many runs failed before, and requests behind, their submission: it depends on which thread comes first.
typedef struct failures {
    int early, late;
} failures;

static void survive_every_failed_allocation(const char *path, bool sticky, failures *failed) {
    outcome want, got;
    run(path, &want);
    assert_int_equal(want.code, HTH_OK);
    const uint64_t start = live_blocks();
    for (uint64_t n = 1;; n++) {
        hth_mem_fail_at(n, sticky);
        run(path, &got);
        const bool was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        assert_int_equal(live_blocks(), start);
        failed->early += got.code != HTH_OK;
        if (got.code != HTH_OK && got.code != HTH_ERR_NOMEM) fail_msg("allocation %d: %s", (int)n, hth_code_name(got.code));
        for (int i = 0; got.code == HTH_OK && i < N_REQUEST; i++) {
            if (got.ends[i] != HTH_OK && got.ends[i] != HTH_ERR_NOMEM) fail_msg("allocation %d: %s", (int)n, hth_code_name(got.ends[i]));
            failed->late += got.ends[i] != HTH_OK;
            for (int k = 0; k < 2; k++) {
                if (got.ends[i] == HTH_OK) assert_int_equal(got.n[i][k], N_OUT);
                assert_memory_equal(got.tokens[i][k], want.tokens[i][k], (size_t)got.n[i][k] * sizeof(hth_token));
            }
        }
        if (!was_hit) break;
        if (got.code == HTH_OK && sticky && n > 400) n += 2; // the many of the steps: a part of them
        if (getenv("HEARTH_TEST_QUICK")) n += 6;
    }
}

// One refusal alone may cost no request anything; some of those that go on do.
static void every_failed_allocation_is_survived(const char *path) {
    failures failed = {0};
    survive_every_failed_allocation(path, false, &failed);
    survive_every_failed_allocation(path, true, &failed);
    assert_true(failed.early > 0);
    assert_true(failed.late > 0);
}

static void a_gguf_survives_every_failed_allocation(void **state) {
    (void)state;
    char dir[128], path[160];
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    byte_model_write(path);
    every_failed_allocation_is_survived(path);
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
    every_failed_allocation_is_survived(dir);
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
