// The registry of models: names, cards, loading once for many, one budget, what happens when files go.
#include <sys/stat.h>

#include "os/file.h"
#include "os/sync.h"
#include "server/models_impl.h"
#include "unit/engine/byte_model.h"

typedef struct place {
    char folder[64], state[96], a[96], b[96];
} place;

static void make_folder(const char *path) {
    hth_err err;
    assert_int_equal(hth_folder_make(path, &err), HTH_OK);
}

// A folder with two byte models.
static place make_place(void) {
    place p;
    snprintf(p.folder, sizeof p.folder, "/tmp/hearth-models-XXXXXX");
    assert_non_null(mkdtemp(p.folder));
    snprintf(p.state, sizeof p.state, "%s/state", p.folder);
    snprintf(p.a, sizeof p.a, "%s/Alpha-1B-Q4_K_M.gguf", p.folder);
    snprintf(p.b, sizeof p.b, "%s/beta.gguf", p.folder);
    byte_model_write(p.a);
    byte_model_write(p.b);
    return p;
}

static void remove_place(const place *p) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    assert_int_equal(system(command), 0);
}

static hth_models *open_both(const place *p, hth_models_params params) {
    hth_offer offers[2] = {{.path = p->a, .alias = NULL}, {.path = p->b, .alias = NULL}};
    hth_models *m;
    hth_err err;
    params.offers = offers;
    params.n_offer = 2;
    params.n_thread = 1;
    if (hth_models_open(&params, &m, &err) != HTH_OK) fail_msg("%s", err.msg);
    return m;
}

static hth_use *acquire(hth_models *m, const char *name) {
    hth_use *use;
    hth_err err;
    if (hth_models_acquire(m, &(hth_acquire){.name = name}, &use, &err) != HTH_OK) fail_msg("%s", err.msg);
    return use;
}

static size_t count_loaded(hth_models *m, uint64_t *bytes) {
    hth_loaded_info *list;
    hth_err err;
    size_t n;
    assert_int_equal(hth_models_loaded(m, &list, &n, &err), HTH_OK);
    if (bytes && n > 0) *bytes = list[0].memory_bytes;
    hth_loaded_free(list, n);
    return n;
}

static void wait_for_loaded(hth_models *m, size_t want) {
    for (int i = 0; i < 60000 && count_loaded(m, NULL) != want; i++) usleep(1000);
    assert_int_equal(count_loaded(m, NULL), want);
}

// ---- names

static void a_path_gives_name_and_tag(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"/m/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct:Q4_1"},
        {"Qwen3-4B-Q4_K_M.gguf", "Qwen3-4B:Q4_K_M"},
        {"big-IQ2_XXS-00001-of-00003.gguf", "big:IQ2_XXS"},
        {"llama-F16.GGUF", "llama:F16"},
        {"gemma.gguf", "gemma:latest"},
        {"/m/mlx-community/Qwen3-4B-4bit/", "Qwen3-4B:4bit"},
        {"/c/hub/models--org--Repo-1B/snapshots/0123456789abcdef", "org/Repo-1B:latest"},
        {"my model (1).gguf", "my-model--1-:latest"},
        {"Phi-3.5-mini", "Phi-3.5-mini:latest"},
        {"q8_0.gguf", "q8_0:latest"},
        {"/m/x/model.safetensors", "model:latest"},
        {"a-Q4x.y.gguf", "a-Q4x.y:latest"},
    };
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        hth_str base, tag;
        char got[256];
        hth_str_init(&base, HTH_MEM_MISC, 256);
        hth_str_init(&tag, HTH_MEM_MISC, 256);
        model_name_of_path(rows[i][0], &base, &tag);
        snprintf(got, sizeof got, "%s:%s", hth_str_text(&base), hth_str_text(&tag));
        assert_string_equal(got, rows[i][1]);
        hth_str_free(&base);
        hth_str_free(&tag);
    }
}

static void a_name_is_valid_or_not(void **state) {
    (void)state;
    static const char *const good[] = {"a", "A-b_c.d:x", "org/name", "host.tld/org/name:tag-1", "_x"};
    static const char *const bad[] = {"", ":", "a:", ":b", "a b", "../x", "/a", "a//b", "a:b:c", "a/", "-a", "a:b/c", "a\n", "\xc3\xa9"};
    for (size_t i = 0; i < HTH_COUNT(good); i++) {
        if (!model_name_is_valid(good[i])) fail_msg("'%s' is refused", good[i]);
    }
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        if (model_name_is_valid(bad[i])) fail_msg("'%s' is taken", bad[i]);
    }
}

static void assert_finds(hth_models *m, const char *name, const char *want) {
    const hth_card *c = NULL;
    hth_err err;
    if (hth_models_find(m, name, &c, &err) != HTH_OK) fail_msg("%s: %s", name, err.msg);
    if (strcmp(c->name, want) != 0) fail_msg("%s is %s, not %s", name, c->name, want);
    hth_card_drop(c);
}

static void assert_no_model(hth_models *m, const char *name) {
    const hth_card *c = NULL;
    hth_err err;
    if (hth_models_find(m, name, &c, &err) == HTH_OK) fail_msg("%s is found", name);
    assert_int_equal(err.code, HTH_ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, "Alpha-1B:Q4_K_M"));
    assert_non_null(strstr(err.msg, "beta:latest"));
}

static void a_model_is_found_by_each_of_its_names(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    static const char *const names[] = {"Alpha-1B:Q4_K_M", "alpha-1b:q4_k_m", "alpha-1b", "ALPHA-1B:latest", "alpha-1b-q4_k_m",
                                        "Alpha-1B-Q4_K_M.gguf", "Alpha-1B.Q4_K_M", "hf.co/Alpha-1B:Q4_K_M", "library/alpha-1b"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) assert_finds(m, names[i], "Alpha-1B:Q4_K_M");
    assert_finds(m, p.a, "Alpha-1B:Q4_K_M");
    assert_finds(m, "beta", "beta:latest");
    assert_finds(m, "Beta:Latest", "beta:latest");
    assert_finds(m, "", "Alpha-1B:Q4_K_M");
    assert_finds(m, NULL, "Alpha-1B:Q4_K_M");
    static const char *const wrong[] = {"alpha", "alpha-1b:q8_0", "beta:7b", "gamma", "alpha-1b:q4_k_m:x", "beta/", ".."};
    for (size_t i = 0; i < HTH_COUNT(wrong); i++) assert_no_model(m, wrong[i]);
    hth_models_close(m);
    remove_place(&p);
}

static void an_alias_is_what_a_model_is_called(void **state) {
    (void)state;
    const place p = make_place();
    const hth_offer offers[] = {{.path = p.a, .alias = "gpt-4o,other/name:8b"}, {.path = p.b, .alias = NULL}};
    hth_models *m;
    hth_err err;
    assert_int_equal(hth_models_open(&(hth_models_params){.offers = offers, .n_offer = 2, .n_thread = 1}, &m, &err), HTH_OK);
    assert_finds(m, "GPT-4o", "gpt-4o:latest");
    assert_finds(m, "gpt-4o:latest", "gpt-4o:latest");
    assert_finds(m, "other/name:8b", "gpt-4o:latest");
    assert_finds(m, "alpha-1b-q4_k_m", "gpt-4o:latest");
    hth_models_close(m);
    remove_place(&p);
}

static void any_name_means_the_first_model_where_that_is_wanted(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.any_name = true});
    assert_finds(m, "gpt-5", "Alpha-1B:Q4_K_M");
    hth_use *use = acquire(m, "beta");
    assert_finds(m, "gpt-5", "Alpha-1B:Q4_K_M"); // whatever else is loaded
    hth_models_release(m, use);
    hth_models_close(m);
    remove_place(&p);
}

// ---- cards

static void a_card_says_what_the_file_says(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    const hth_card *c, *other;
    hth_err err;
    assert_int_equal(hth_models_find(m, "alpha-1b", &c, &err), HTH_OK);
    assert_string_equal(c->family, "llama");
    assert_string_equal(c->container, "gguf");
    assert_string_equal(c->quantization, "F32");
    assert_int_equal(c->n_ctx_train, 128);
    assert_int_equal(c->n_vocab, N_VOCAB);
    assert_int_equal(c->n_layer, N_LAYER);
    assert_int_equal(c->n_embed, D);
    assert_int_equal(c->abilities, HTH_CAN_COMPLETE | HTH_CAN_CHAT);
    assert_non_null(strstr(c->chat_template, "<|im_start|>"));
    const uint64_t layer = 2 * D + 2 * D * D + 2 * D * D / N_HEAD * N_KV + 3 * D * D_FF;
    assert_int_equal(c->n_param, (uint64_t)N_VOCAB * D + D + N_LAYER * layer);
    assert_string_equal(c->parameter_size, "24K");
    assert_int_equal(strlen(c->digest), 64);
    assert_int_equal(hth_models_find(m, "beta", &other, &err), HTH_OK);
    assert_string_equal(c->digest, other->digest); // the same content under another name
    hth_card_drop(other);
    hth_card_drop(c);
    hth_models_close(m);
    remove_place(&p);
}

static void a_folder_is_looked_through(void **state) {
    (void)state;
    const place p = make_place();
    char path[200], deep[160];
    snprintf(path, sizeof path, "%s/mmproj-alpha.gguf", p.folder);
    byte_model_write(path);
    snprintf(path, sizeof path, "%s/split-00002-of-00002.gguf", p.folder);
    byte_model_write(path);
    snprintf(path, sizeof path, "%s/broken.gguf", p.folder);
    FILE *f = fopen(path, "wb");
    fputs("GGUF", f);
    fclose(f);
    snprintf(deep, sizeof deep, "%s/org/repo", p.folder);
    make_folder(deep);
    snprintf(path, sizeof path, "%s/beta.gguf", deep);
    byte_model_write(path);
    snprintf(deep, sizeof deep, "%s/org/Tiny", p.folder);
    make_folder(deep);
    tiny t = {0};
    tiny_make(TINY_LLAMA, &t);
    tiny_write_config(&t, deep);
    tiny_write_weights(&t, deep);
    const char *folders[] = {p.folder};
    hth_models *m;
    hth_err err;
    assert_int_equal(hth_models_open(&(hth_models_params){.folders = folders, .n_folder = 1, .n_thread = 1}, &m, &err), HTH_OK);
    const hth_card **list;
    size_t n;
    assert_int_equal(hth_models_list(m, &list, &n, &err), HTH_OK);
    static const char *const want[] = {"Alpha-1B:Q4_K_M", "Tiny:latest", "beta:latest", "repo/beta:latest"};
    assert_int_equal(n, HTH_COUNT(want));
    for (size_t i = 0; i < n; i++) assert_string_equal(list[i]->name, want[i]);
    assert_int_equal(list[1]->abilities, HTH_CAN_COMPLETE);
    hth_cards_free(list, n);
    // What comes later is found, and what has gone is not.
    snprintf(path, sizeof path, "%s/late.gguf", p.folder);
    byte_model_write(path);
    assert_finds(m, "late", "late:latest");
    assert_int_equal(remove(path), 0);
    assert_no_model(m, "late");
    hth_models_close(m);
    remove_place(&p);
}

static void an_offer_that_is_no_model_is_an_error(void **state) {
    (void)state;
    const place p = make_place();
    char broken[128], empty[128];
    snprintf(broken, sizeof broken, "%s/broken.gguf", p.folder);
    snprintf(empty, sizeof empty, "%s/empty", p.folder);
    make_folder(empty);
    FILE *f = fopen(broken, "wb");
    fputs("not a model", f);
    fclose(f);
    const char *const paths[] = {"/nowhere/model.gguf", empty, broken};
    for (size_t i = 0; i < HTH_COUNT(paths); i++) {
        const hth_offer offer = {.path = paths[i]};
        hth_models *m = NULL;
        hth_err err = {0};
        const hth_code code = hth_models_open(&(hth_models_params){.offers = &offer, .n_offer = 1, .n_thread = 1}, &m, &err);
        assert_null(m);
        assert_int_not_equal(code, HTH_OK);
        assert_int_equal(code, err.code);
        if (!strstr(err.msg, paths[i])) fail_msg("'%s' does not name %s", err.msg, paths[i]);
    }
    remove_place(&p);
}

// ---- loading

enum { N_THREAD = 8 };

typedef struct asker {
    hth_models *m;
    const char *name;
    hth_use *use;
    hth_err err;
    hth_code code;
    hth_thread thread;
} asker;

static void *ask(void *user) {
    asker *a = user;
    a->code = hth_models_acquire(a->m, &(hth_acquire){.name = a->name}, &a->use, &a->err);
    return NULL;
}

static void start(asker *a, hth_models *m, const char *name) {
    hth_err err;
    *a = (asker){.m = m, .name = name};
    assert_int_equal(hth_thread_start(&a->thread, ask, a, &err), HTH_OK);
}

static void many_who_want_a_cold_model_share_one_load(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    asker askers[N_THREAD];
    for (int i = 0; i < N_THREAD; i++) start(&askers[i], m, i % 2 ? "alpha-1b" : "Alpha-1B:Q4_K_M");
    for (int i = 0; i < N_THREAD; i++) hth_thread_join(&askers[i].thread);
    for (int i = 0; i < N_THREAD; i++) {
        assert_int_equal(askers[i].code, HTH_OK);
        assert_ptr_equal(askers[i].use->engine, askers[0].use->engine);
        assert_ptr_equal(askers[i].use->chat, askers[0].use->chat);
        assert_non_null(askers[i].use->tokenizer);
    }
    assert_int_equal(count_loaded(m, NULL), 1);
    for (int i = 0; i < N_THREAD; i++) hth_models_release(m, askers[i].use);
    assert_int_equal(count_loaded(m, NULL), 1);
    hth_models_close(m);
    remove_place(&p);
}

static void a_loaded_model_is_there_at_once(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    hth_use *use, *again;
    hth_err err;
    assert_int_equal(hth_models_try_acquire(m, &(hth_acquire){.name = "beta"}, &use, &err), HTH_ERR_BUSY);
    assert_null(use);
    use = acquire(m, "beta");
    assert_true(use->load_ns > 0);
    assert_int_equal(hth_models_try_acquire(m, &(hth_acquire){.name = "beta"}, &again, &err), HTH_OK);
    assert_int_equal(again->load_ns, 0);
    assert_ptr_equal(again->engine, use->engine);
    hth_models_release(m, again);
    hth_models_release(m, use);
    hth_models_release(m, NULL);
    hth_models_close(m);
    remove_place(&p);
}

static void a_model_that_cannot_be_loaded_is_an_error_for_all_who_wait(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    assert_int_equal(truncate(p.b, 3000), 0); // behind the look that the card was made by
    asker askers[N_THREAD];
    for (int i = 0; i < N_THREAD; i++) start(&askers[i], m, "beta");
    for (int i = 0; i < N_THREAD; i++) {
        hth_thread_join(&askers[i].thread);
        assert_null(askers[i].use);
        assert_int_equal(askers[i].code, HTH_ERR_FORMAT);
        assert_non_null(strstr(askers[i].err.msg, "beta.gguf"));
    }
    assert_int_equal(count_loaded(m, NULL), 0);
    // The others are as they were, and so is this one once its file is whole again.
    hth_models_release(m, acquire(m, "alpha-1b"));
    byte_model_write(p.b);
    hth_models_release(m, acquire(m, "beta"));
    hth_models_close(m);
    remove_place(&p);
}

static void a_loaded_model_serves_on_when_its_file_is_deleted(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    hth_use *use = acquire(m, "beta"), *other;
    hth_err err;
    assert_int_equal(remove(p.b), 0);
    assert_int_equal(hth_models_acquire(m, &(hth_acquire){.name = "beta"}, &other, &err), HTH_ERR_NOTFOUND);
    const hth_segment segment = {.text = "hehe", .n_text = 4};
    const hth_request_params params = {.segments = &segment, .n_segment = 1, .max_tokens = 4};
    hth_request *r;
    assert_int_equal(hth_request_submit(use->engine, &params, &r, NULL, &err), HTH_OK);
    hth_event e = {0};
    while (e.kind != HTH_EVENT_END) assert_int_equal(hth_request_next(r, -1, &e, &err), HTH_OK);
    assert_int_equal(e.usage.n_prompt, 2); // "he" is a token
    hth_request_free(r);
    hth_models_release(m, use);
    hth_models_close(m);
    remove_place(&p);
}

static void a_budget_that_is_too_small_is_refused_with_numbers(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.memory_bytes = 50000});
    hth_use *use;
    hth_err err;
    assert_int_equal(hth_models_acquire(m, &(hth_acquire){.name = "beta"}, &use, &err), HTH_ERR_LIMIT);
    assert_true(strpbrk(err.msg, "0123456789") != NULL);
    assert_int_equal(count_loaded(m, NULL), 0);
    hth_models_close(m);
    remove_place(&p);
}

// A budget that holds one of the two models, but not both.
static uint64_t room_for_one(const place *p) {
    uint64_t bytes = 0;
    hth_models *m = open_both(p, (hth_models_params){.memory_bytes = (uint64_t)1 << 30});
    hth_models_release(m, acquire(m, "beta"));
    assert_int_equal(count_loaded(m, &bytes), 1);
    hth_models_close(m);
    assert_true(bytes > 0 && bytes < (uint64_t)1 << 29);
    return bytes + bytes / 2;
}

static void both_stay_loaded_where_both_fit(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.memory_bytes = (uint64_t)1 << 30});
    hth_models_release(m, acquire(m, "alpha-1b"));
    hth_models_release(m, acquire(m, "beta"));
    assert_int_equal(count_loaded(m, NULL), 2);
    hth_models_close(m);
    remove_place(&p);
}

static void an_idle_model_makes_room_for_the_next(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.memory_bytes = room_for_one(&p)});
    for (int i = 0; i < 4; i++) {
        const char *name = i % 2 ? "beta" : "alpha-1b";
        hth_use *use = acquire(m, name);
        hth_loaded_info *list;
        hth_err err;
        size_t n;
        assert_int_equal(hth_models_loaded(m, &list, &n, &err), HTH_OK);
        assert_int_equal(n, 1);
        assert_string_equal(list[0].card->base, i % 2 ? "beta" : "Alpha-1B");
        assert_int_equal(list[0].n_use, 1);
        assert_int_equal(list[0].n_ctx, 128);
        hth_loaded_free(list, n);
        hth_models_release(m, use);
    }
    hth_models_close(m);
    remove_place(&p);
}

static void a_busy_model_is_drained_before_the_next_is_loaded(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.memory_bytes = room_for_one(&p)});
    hth_use *busy = acquire(m, "alpha-1b");
    asker next, later;
    start(&next, m, "beta");
    // Once the registry has decided for the next, the busy one takes no more requests: who wants it waits.
    hth_load_phase phase = HTH_LOAD_READY;
    for (int i = 0; i < 60000 && phase != HTH_LOAD_DRAINING; i++) {
        hth_loaded_info *list;
        hth_err err;
        size_t n;
        assert_int_equal(hth_models_loaded(m, &list, &n, &err), HTH_OK);
        phase = list[0].phase;
        hth_loaded_free(list, n);
        usleep(1000);
    }
    assert_int_equal(phase, HTH_LOAD_DRAINING);
    start(&later, m, "alpha-1b");
    hth_err err;
    const hth_segment segment = {.text = "hehe", .n_text = 4};
    hth_request *r;
    assert_int_equal(hth_request_submit(busy->engine, &(hth_request_params){.segments = &segment, .n_segment = 1, .max_tokens = 2},
                                        &r, NULL, &err), HTH_OK);
    hth_event e = {0};
    while (e.kind != HTH_EVENT_END) assert_int_equal(hth_request_next(r, -1, &e, &err), HTH_OK);
    hth_request_free(r);
    hth_models_release(m, busy);
    hth_thread_join(&next.thread);
    assert_int_equal(next.code, HTH_OK);
    assert_string_equal(next.use->card->base, "beta");
    hth_models_release(m, next.use);
    hth_thread_join(&later.thread);
    assert_int_equal(later.code, HTH_OK);
    hth_models_release(m, later.use);
    hth_models_close(m);
    remove_place(&p);
}

static bool refuse_to_wait(void *user, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    return ++*(int *)user < 2;
}

static void who_waits_for_a_model_can_give_up(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.memory_bytes = room_for_one(&p)});
    hth_use *busy = acquire(m, "alpha-1b"), *use;
    int n = 0;
    hth_err err;
    assert_int_equal(hth_models_acquire(m, &(hth_acquire){.name = "beta", .on_wait = refuse_to_wait, .user = &n}, &use, &err),
                     HTH_ERR_CANCELLED);
    assert_int_equal(n, 2);
    assert_int_equal(hth_models_acquire(m, &(hth_acquire){.name = "beta", .deadline_ms = 1}, &use, &err), HTH_ERR_TIMEOUT);
    hth_models_release(m, busy);
    hth_models_release(m, acquire(m, "beta"));
    hth_models_close(m);
    remove_place(&p);
}

static void no_more_than_asked_for_are_loaded_at_once(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){.max_loaded = 1});
    hth_models_release(m, acquire(m, "alpha-1b"));
    hth_models_release(m, acquire(m, "beta"));
    assert_int_equal(count_loaded(m, NULL), 1);
    hth_models_close(m);
    remove_place(&p);
}

static void keep_alive_decides_how_long_a_model_stays(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    hth_use *use, *other;
    hth_err err;
    const hth_acquire gone = {.name = "beta", .has_keep_alive = true, .keep_alive_ms = 0};
    const hth_acquire stays = {.name = "alpha-1b", .has_keep_alive = true, .keep_alive_ms = -1};
    assert_int_equal(hth_models_acquire(m, &stays, &other, &err), HTH_OK);
    assert_int_equal(hth_models_acquire(m, &gone, &use, &err), HTH_OK);
    assert_int_equal(count_loaded(m, NULL), 2);
    hth_models_release(m, other);
    hth_models_release(m, use);
    wait_for_loaded(m, 1);
    hth_loaded_info *list;
    size_t n;
    assert_int_equal(hth_models_loaded(m, &list, &n, &err), HTH_OK);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].card->base, "Alpha-1B");
    assert_int_equal(list[0].expires_ms, -1);
    hth_loaded_free(list, n);
    hth_models_close(m);
    remove_place(&p);
}

static void an_unload_waits_for_who_uses_the_model(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    hth_err err;
    assert_int_equal(hth_models_unload(m, "beta", true, &err), HTH_ERR_NOTFOUND);
    hth_use *use = acquire(m, "beta");
    assert_int_equal(hth_models_unload(m, "beta", false, &err), HTH_OK);
    assert_int_equal(count_loaded(m, NULL), 1);
    hth_models_release(m, use);
    wait_for_loaded(m, 0);
    use = acquire(m, "beta");
    hth_models_release(m, use);
    assert_int_equal(hth_models_unload(m, "beta", true, &err), HTH_OK);
    assert_int_equal(count_loaded(m, NULL), 0);
    hth_models_close(m);
    remove_place(&p);
}

// ---- created models

static hth_models *open_with_state(const place *p) {
    return open_both(p, (hth_models_params){.state_folder = p->state});
}

static void a_created_model_is_there_after_a_restart(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_with_state(&p);
    const hth_card *c;
    hth_err err;
    const hth_create create = {.name = "Mario", .from = "alpha-1b",
                               .preset = {.system = "You are Mario.", .options_json = "{\"temperature\": 1}"}};
    assert_int_equal(hth_models_create(m, &create, &c, &err), HTH_OK);
    assert_string_equal(c->name, "Mario:latest");
    assert_string_equal(c->parent, "Alpha-1B:Q4_K_M");
    assert_string_equal(c->preset.system, "You are Mario.");
    char digest[65];
    snprintf(digest, sizeof digest, "%s", c->digest);
    hth_card_drop(c);
    assert_int_equal(hth_models_copy(m, "mario", "luigi:2", &err), HTH_OK);
    const hth_create of_it = {.name = "wario", .from = "mario", .preset = {.system = "You are Wario."}};
    assert_int_equal(hth_models_create(m, &of_it, NULL, &err), HTH_OK);
    hth_models_close(m);

    m = open_with_state(&p);
    assert_int_equal(hth_models_find(m, "mario:latest", &c, &err), HTH_OK);
    assert_string_equal(c->digest, digest);
    hth_card_drop(c);
    assert_int_equal(hth_models_find(m, "LUIGI:2", &c, &err), HTH_OK);
    assert_string_equal(c->preset.options_json, "{\"temperature\": 1}");
    hth_card_drop(c);
    assert_int_equal(hth_models_find(m, "wario", &c, &err), HTH_OK);
    assert_string_equal(c->preset.system, "You are Wario.");
    assert_string_equal(c->preset.options_json, "{\"temperature\": 1}");
    hth_card_drop(c);
    assert_int_equal(hth_models_remove(m, "mario", &err), HTH_OK);
    assert_no_model(m, "mario");
    hth_models_close(m);
    m = open_with_state(&p);
    assert_no_model(m, "mario");
    assert_finds(m, "wario", "wario:latest");
    hth_models_close(m);
    remove_place(&p);
}

static void created_models_share_the_loaded_weights_unless_the_template_differs(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_with_state(&p);
    hth_err err;
    const hth_create plain = {.name = "one", .from = "beta", .preset = {.system = "x"}};
    const hth_create other = {.name = "two", .from = "beta", .preset = {.chat_template = "{{ messages[0].content }}!"}};
    assert_int_equal(hth_models_create(m, &plain, NULL, &err), HTH_OK);
    assert_int_equal(hth_models_create(m, &other, NULL, &err), HTH_OK);
    hth_use *base = acquire(m, "beta"), *one = acquire(m, "one"), *two = acquire(m, "two");
    assert_ptr_equal(base->engine, one->engine);
    assert_string_equal(one->card->preset.system, "x");
    assert_ptr_not_equal(base->engine, two->engine);
    assert_int_equal(hth_chat_template_source(two->chat), HTH_CHAT_FROM_FILE);
    hth_models_release(m, base);
    hth_models_release(m, one);
    hth_models_release(m, two);
    hth_models_close(m);
    remove_place(&p);
}

static void a_bad_creation_changes_nothing(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_with_state(&p);
    hth_err err;
    const struct {
        hth_create create;
        hth_code code;
    } rows[] = {{{.name = "../up", .from = "beta"}, HTH_ERR_RANGE},      {{.name = "", .from = "beta"}, HTH_ERR_RANGE},
                {{.name = NULL, .from = "beta"}, HTH_ERR_RANGE},         {{.name = "x", .from = "gamma"}, HTH_ERR_NOTFOUND},
                {{.name = "beta", .from = "alpha-1b"}, HTH_ERR_RANGE},   {{.name = "x", .path = "/nowhere.gguf"}, HTH_ERR_NOTFOUND},
                {{.name = "x", .from = "beta", .preset = {.chat_template = "{{ .System }}"}}, HTH_ERR_FORMAT}};
    for (size_t i = 0; i < HTH_COUNT(rows); i++) assert_int_equal(hth_models_create(m, &rows[i].create, NULL, &err), rows[i].code);
    const hth_card **list;
    size_t n;
    assert_int_equal(hth_models_list(m, &list, &n, &err), HTH_OK);
    assert_int_equal(n, 2);
    hth_cards_free(list, n);
    hth_models_close(m);
    m = open_both(&p, (hth_models_params){0});
    assert_int_equal(hth_models_create(m, &(hth_create){.name = "x", .from = "beta"}, NULL, &err), HTH_ERR_UNSUPPORTED);
    hth_models_close(m);
    remove_place(&p);
}

static void a_damaged_entry_hides_nothing_but_itself(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_with_state(&p);
    hth_err err;
    assert_int_equal(hth_models_create(m, &(hth_create){.name = "good", .from = "beta"}, NULL, &err), HTH_OK);
    hth_models_close(m);
    static const char *const texts[] = {"", "{", "{\"version\": 1}", "[]", "{\"version\": 2, \"name\": \"a\", \"path\": \"b\"}",
                                        "{\"version\": 1, \"name\": \"../a\", \"path\": \"b\", \"adapters\": []}",
                                        "{\"version\": 1, \"name\": \"a\", \"path\": \"/gone\", \"adapters\": [1]}",
                                        "{\"version\": 1, \"name\": \"a\", \"path\": \"/gone\", \"adapters\": []}"};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/models/%zu.json", p.state, i);
        assert_int_equal(hth_file_write(path, texts[i], strlen(texts[i]), &err), HTH_OK);
    }
    m = open_with_state(&p);
    const hth_card **list;
    size_t n;
    assert_int_equal(hth_models_list(m, &list, &n, &err), HTH_OK);
    assert_int_equal(n, 3);
    assert_string_equal(list[2]->name, "good:latest");
    hth_cards_free(list, n);
    hth_models_close(m);
    remove_place(&p);
}

static void a_removed_file_is_offered_no_more_but_stays_on_disk(void **state) {
    (void)state;
    const place p = make_place();
    hth_models *m = open_both(&p, (hth_models_params){0});
    hth_err err;
    hth_models_release(m, acquire(m, "beta"));
    assert_int_equal(hth_models_remove(m, "beta", &err), HTH_OK);
    const hth_card *c;
    assert_int_equal(hth_models_find(m, "beta", &c, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_path_kind_of(p.b), HTH_PATH_FILE);
    hth_models_close(m);
    remove_place(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_gives_name_and_tag),
        cmocka_unit_test(a_name_is_valid_or_not),
        cmocka_unit_test(a_model_is_found_by_each_of_its_names),
        cmocka_unit_test(an_alias_is_what_a_model_is_called),
        cmocka_unit_test(any_name_means_the_first_model_where_that_is_wanted),
        cmocka_unit_test(a_card_says_what_the_file_says),
        cmocka_unit_test(a_folder_is_looked_through),
        cmocka_unit_test(an_offer_that_is_no_model_is_an_error),
        cmocka_unit_test(many_who_want_a_cold_model_share_one_load),
        cmocka_unit_test(a_loaded_model_is_there_at_once),
        cmocka_unit_test(a_model_that_cannot_be_loaded_is_an_error_for_all_who_wait),
        cmocka_unit_test(a_loaded_model_serves_on_when_its_file_is_deleted),
        cmocka_unit_test(a_budget_that_is_too_small_is_refused_with_numbers),
        cmocka_unit_test(both_stay_loaded_where_both_fit),
        cmocka_unit_test(an_idle_model_makes_room_for_the_next),
        cmocka_unit_test(a_busy_model_is_drained_before_the_next_is_loaded),
        cmocka_unit_test(who_waits_for_a_model_can_give_up),
        cmocka_unit_test(no_more_than_asked_for_are_loaded_at_once),
        cmocka_unit_test(keep_alive_decides_how_long_a_model_stays),
        cmocka_unit_test(an_unload_waits_for_who_uses_the_model),
        cmocka_unit_test(a_created_model_is_there_after_a_restart),
        cmocka_unit_test(created_models_share_the_loaded_weights_unless_the_template_differs),
        cmocka_unit_test(a_bad_creation_changes_nothing),
        cmocka_unit_test(a_damaged_entry_hides_nothing_but_itself),
        cmocka_unit_test(a_removed_file_is_offered_no_more_but_stays_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
