// The cache of computed beginnings: what is found, what goes, what files bring back. States are those of tiny models,
// so that "found" means: the sequence goes on with the bits of a fresh run.
#include "engine/prefix.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/thread.h"
#include "unit/model/rig.h"

enum { N = 150, PAGE = 3 * 32 * 2 * (16 + 16) * 4 }; // PAGE: of all layers of the tiny llama, f32

typedef struct setup {
    rig rig;
    hth_tokenizer *tokenizer;
    char dir[128]; // empty: no second tier
    hth_prefix *cache;
    hth_prefix_params params;
} setup;

static void open_cache(setup *s) {
    hth_err err = {0};
    if (hth_prefix_new(&s->params, &s->cache, &err) != HTH_OK) fail_msg("%s", err.msg);
}

static setup begin(tiny_kind kind, bool has_folder) {
    setup s = {.rig = rig_open(kind, 2)};
    s.params = (hth_prefix_params){.executor = s.rig.ex, .model = s.rig.m, .state = {.n_ctx = 512}, .limit_bytes = 1 << 30};
    if (has_folder) {
        tiny_make_dir(s.dir);
        s.params.folder_bytes = 1 << 30;
    }
    return s;
}

static void start(setup *s) {
    if (s->dir[0]) s->params.folder = s->dir;
    open_cache(s);
}

static void end(setup *s) {
    hth_prefix_free(s->cache);
    assert_int_equal(hth_executor_state_bytes(s->rig.ex), 0);
    rig_close(&s->rig);
    if (!s->dir[0]) return;
    char command[160];
    snprintf(command, sizeof command, "rm -r '%s'", s->dir);
    assert_int_equal(system(command), 0);
}

static hth_prefix_text text_of(const hth_token *tokens, int n) {
    return (hth_prefix_text){.tokens = tokens, .n = (size_t)n};
}

static void make_tokens(hth_token *tokens, uint64_t seed) {
    for (int i = 0; i < N; i++) tokens[i] = (hth_token)((tiny_random(&seed) + 1) / 2 * TINY_VOCAB);
}

static void run(setup *s, hth_state *state, const hth_token *tokens, int first, int n, float *logits) {
    hth_row rows[N];
    for (int i = first; i < n; i++) rows[i] = rig_row(tokens[i], i);
    for (int i = first; i < n; i += 16) {
        const int step = n - i < 16 ? n - i : 16;
        rig_rows(&s->rig, state, rows + i, step, logits + (int64_t)i * TINY_VOCAB);
    }
}

// Computes n tokens and puts them, from a state of its own or from what was found.
static void compute_and_put(setup *s, hth_state *state, const hth_token *tokens, int n) {
    float *logits = rig_floats(N * TINY_VOCAB);
    hth_err err = {0};
    if (!state) assert_int_equal(hth_state_new(s->rig.ex, s->rig.m, &s->params.state, &state, &err), HTH_OK);
    run(s, state, tokens, (int)hth_state_len(state), n, logits);
    const hth_prefix_text text = text_of(tokens, n);
    if (hth_prefix_put(s->cache, &text, state, &err) != HTH_OK) fail_msg("%s", err.msg);
    free(logits);
}

static hth_prefix_hit find(setup *s, const hth_token *tokens, int n) {
    hth_prefix_hit hit;
    hth_err err = {0};
    const hth_prefix_text text = text_of(tokens, n);
    if (hth_prefix_fetch(s->cache, &text, n - 1, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_prefix_find(s->cache, &text, n - 1, &hit, &err) != HTH_OK) fail_msg("%s", err.msg);
    return hit;
}

static void must_go_on(setup *s, hth_state *state, const hth_token *tokens) {
    float *got = rig_floats(N * TINY_VOCAB), *want = rig_floats(N * TINY_VOCAB);
    hth_err err;
    hth_state *fresh;
    const int first = (int)hth_state_len(state);
    assert_int_equal(hth_state_new(s->rig.ex, s->rig.m, &s->params.state, &fresh, &err), HTH_OK);
    run(s, fresh, tokens, 0, N, want);
    run(s, state, tokens, first, N, got);
    const int64_t at = (int64_t)first * TINY_VOCAB;
    if (!rig_same(got + at, want + at, (int64_t)N * TINY_VOCAB - at)) fail_msg("from row %d on it differs", first);
    hth_state_free(fresh);
    free(got);
    free(want);
}

static void must_find(setup *s, const hth_token *tokens, int n, int want, hth_prefix_end why, int n_same) {
    const hth_prefix_hit hit = find(s, tokens, n);
    if (hit.n != want || hit.why != why || hit.n_same != n_same) {
        fail_msg("%d rows, %d the same, reason %d; expected %d, %d, %d", (int)hit.n, (int)hit.n_same, (int)hit.why, want, n_same,
                 (int)why);
    }
    if (!hit.state) return;
    assert_int_equal(hth_state_len(hit.state), want);
    must_go_on(s, hit.state, tokens);
    hth_state_free(hit.state);
}

static hth_prefix_stats stats_of(setup *s) {
    hth_prefix_stats stats;
    hth_prefix_get_stats(s->cache, &stats);
    return stats;
}

static void the_longest_beginning_is_found_and_the_end_is_explained(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    hth_token a[N], b[N], c[N];
    start(&s);
    make_tokens(a, 1);
    make_tokens(c, 2);
    c[0] = (a[0] + 1) % TINY_VOCAB;
    memcpy(b, a, sizeof b);
    b[70] = (a[70] + 1) % TINY_VOCAB;
    must_find(&s, a, N, 0, HTH_PREFIX_COLD, 0);
    compute_and_put(&s, NULL, a, 100);
    must_find(&s, a, N, 100, HTH_PREFIX_ENDED, 100);
    must_find(&s, a, 100, 99, HTH_PREFIX_ALL, 100);
    must_find(&s, a, 50, 49, HTH_PREFIX_ALL, 50);
    must_find(&s, b, N, 70, HTH_PREFIX_DIFFERENT, 70);
    must_find(&s, c, N, 0, HTH_PREFIX_COLD, 0);
    compute_and_put(&s, NULL, b, 90);
    must_find(&s, b, N, 90, HTH_PREFIX_ENDED, 90);
    must_find(&s, a, N, 100, HTH_PREFIX_ENDED, 100);
    assert_int_equal(stats_of(&s).n_entry, 2);
    end(&s);
}

static void a_turn_that_goes_on_replaces_the_one_before(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    hth_token a[N];
    start(&s);
    make_tokens(a, 3);
    compute_and_put(&s, NULL, a, 64);
    for (int n = 96; n <= 128; n += 32) {
        hth_prefix_hit hit = find(&s, a, n);
        assert_int_equal(hit.n, n - 32);
        compute_and_put(&s, hit.state, a, n);
        assert_int_equal(stats_of(&s).n_entry, 1);
        assert_int_equal(stats_of(&s).n_bytes, n / 32 * PAGE);
    }
    compute_and_put(&s, NULL, a, 40); // what is there holds these rows too
    assert_int_equal(stats_of(&s).n_entry, 1);
    assert_int_equal(stats_of(&s).n_bytes, 4 * PAGE);
    end(&s);
}

static void domains_and_media_keep_texts_apart(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    hth_token a[N];
    uint64_t media[N] = {0}, other[N] = {0};
    hth_err err;
    hth_prefix_hit hit;
    start(&s);
    make_tokens(a, 4);
    float *logits = rig_floats(N * TINY_VOCAB);
    hth_state *state = rig_state(&s.rig, 512);
    run(&s, state, a, 0, 60, logits);
    for (int i = 20; i < 30; i++) { // as if these rows had been an image
        a[i] = -1;
        media[i] = (uint64_t)i * 77;
    }
    memcpy(other, media, sizeof other);
    other[25]++;
    hth_prefix_text text = {.domain = "ann", .n_domain = 3, .tokens = a, .media = media, .n = 60};
    assert_int_equal(hth_prefix_put(s.cache, &text, state, &err), HTH_OK);
    assert_int_equal(hth_prefix_find(s.cache, &text, 59, &hit, &err), HTH_OK);
    assert_int_equal(hit.n, 59);
    hth_state_free(hit.state);
    text.media = other;
    assert_int_equal(hth_prefix_find(s.cache, &text, 59, &hit, &err), HTH_OK);
    assert_int_equal(hit.n, 25);
    assert_int_equal(hit.why, HTH_PREFIX_DIFFERENT);
    hth_state_free(hit.state);
    text.media = media;
    static const struct {
        const char *bytes;
        size_t n;
    } domains[] = {{"bob", 3}, {"", 0}, {"an", 2}, {"anne", 4}, {"ann\xff", 4}, {"ann\xff\x03", 5}};
    for (size_t i = 0; i < HTH_COUNT(domains); i++) {
        text.domain = domains[i].bytes;
        text.n_domain = domains[i].n;
        assert_int_equal(hth_prefix_find(s.cache, &text, 59, &hit, &err), HTH_OK);
        assert_int_equal(hit.why, HTH_PREFIX_COLD);
        assert_null(hit.state);
    }
    free(logits);
    end(&s);
}

static void the_longest_unused_goes_first_and_what_is_in_use_stays(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    hth_token t[4][N];
    s.params.limit_bytes = 6 * PAGE;
    start(&s);
    for (int i = 0; i < 4; i++) {
        make_tokens(t[i], 10 + (uint64_t)i);
        t[i][0] = i;
    }
    for (int i = 0; i < 3; i++) compute_and_put(&s, NULL, t[i], 64);
    must_find(&s, t[0], N, 64, HTH_PREFIX_ENDED, 64); // used later than 1
    compute_and_put(&s, NULL, t[3], 64);
    must_find(&s, t[1], N, 0, HTH_PREFIX_COLD, 0);
    must_find(&s, t[0], N, 64, HTH_PREFIX_ENDED, 64);
    must_find(&s, t[2], N, 64, HTH_PREFIX_ENDED, 64);
    assert_int_equal(stats_of(&s).n_evicted, 1);
    assert_int_equal(stats_of(&s).n_bytes, 6 * PAGE);
    hth_prefix_hit hit = find(&s, t[3], N); // the oldest from now on, but at work
    must_find(&s, t[0], N, 64, HTH_PREFIX_ENDED, 64);
    must_find(&s, t[2], N, 64, HTH_PREFIX_ENDED, 64);
    assert_int_equal(hth_prefix_make_room(s.cache, 3 * PAGE), 4 * PAGE); // two whole entries
    assert_int_equal(hth_prefix_make_room(s.cache, 1), 0);               // the rest is in use
    must_find(&s, t[3], N, 64, HTH_PREFIX_ENDED, 64);
    hth_state_free(hit.state);
    assert_int_equal(hth_prefix_make_room(s.cache, 1), 2 * PAGE);
    assert_int_equal(stats_of(&s).n_bytes, 0);
    end(&s);
}

static void a_common_beginning_is_counted_once(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    hth_token t[N];
    start(&s);
    make_tokens(t, 20);
    compute_and_put(&s, NULL, t, 64);
    for (int i = 0; i < 5; i++) {
        t[64] = i;
        hth_prefix_hit hit = find(&s, t, 97);
        assert_int_equal(hit.n, 64);
        compute_and_put(&s, hit.state, t, 96);
    }
    const hth_prefix_stats stats = stats_of(&s);
    assert_int_equal(stats.n_entry, 5); // the first has become one of them
    assert_int_equal(stats.n_bytes, (2 + 5) * PAGE);
    assert_int_equal(hth_executor_state_bytes(s.rig.ex), stats.n_bytes);
    while (stats_of(&s).n_entry > 0) {
        assert_true(hth_prefix_make_room(s.cache, 1) > 0);
        assert_int_equal(hth_executor_state_bytes(s.rig.ex), stats_of(&s).n_bytes);
    }
    end(&s);
}

// Windows and recurrent layers: snapshots stand in for rows that cannot be gone back to.
static void snapshots_serve_layers_that_cannot_go_back(void **unused) {
    static const tiny_kind kinds[] = {TINY_GEMMA3, TINY_GEMMA4, TINY_LFM2};
    (void)unused;
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        setup s = begin(kinds[k], false);
        hth_token a[N], b[N];
        hth_err err;
        start(&s);
        make_tokens(a, 30);
        memcpy(b, a, sizeof b);
        b[40] = (a[40] + 1) % TINY_VOCAB;
        float *logits = rig_floats(N * TINY_VOCAB);
        hth_state *state = rig_state(&s.rig, 512), *snapshot;
        run(&s, state, a, 0, 33, logits); // a system prompt
        assert_int_equal(hth_state_fork(state, 33, &snapshot, &err), HTH_OK);
        hth_prefix_text text = text_of(a, 33);
        assert_int_equal(hth_prefix_put(s.cache, &text, snapshot, &err), HTH_OK);
        run(&s, state, a, 33, 130, logits);
        text.n = 130;
        assert_int_equal(hth_prefix_put(s.cache, &text, state, &err), HTH_OK);
        assert_int_equal(stats_of(&s).n_entry, 2);
        must_find(&s, b, N, 33, HTH_PREFIX_STATE, 40);
        must_find(&s, a, N, 130, HTH_PREFIX_ENDED, 130);
        free(logits);
        end(&s);
    }
}

// ---- tokens of the same bytes

// A byte-level vocabulary: all letters, some pairs, a control token.
static void open_tokenizer(setup *s) {
    static const char json[] =
        "{\"added_tokens\":[{\"id\":9,\"content\":\"<e>\",\"special\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":false,\"use_regex\":false},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
        "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"<\":3,\"e\":4,\">\":5,\"ab\":6,\"bc\":7,\"abc\":8},"
        "\"merges\":[\"a b\",\"ab c\",\"b c\"]}}";
    char path[160], dir[128];
    hth_err err = {0};
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(hth_file_write(path, json, strlen(json), &err), HTH_OK);
    if (hth_tokenizer_load_file(path, &s->tokenizer, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_file_remove(path, &err), HTH_OK);
    rmdir(dir);
    s->params.tokenizer = s->tokenizer;
}

static void tokenize(setup *s, const char *text, bool is_user, hth_token_list *out) {
    const hth_text_segment segment = {text, strlen(text), is_user};
    hth_err err = {0};
    if (hth_tokenize(s->tokenizer, &segment, 1, 0, out, &err) != HTH_OK) fail_msg("%s", err.msg);
}

static void must_become(setup *s, const char *text, bool is_user, const hth_token *want, size_t n) {
    hth_token_list list = {0};
    hth_err err;
    tokenize(s, text, is_user, &list);
    assert_int_equal(hth_prefix_reuse_tokens(s->cache, NULL, 0, &list, &err), HTH_OK);
    if (list.n != n || (n > 0 && memcmp(list.ids, want, n * sizeof *want) != 0)) fail_msg("'%s' has become other tokens", text);
    hth_token_list_free(&list);
}

static void cached_tokens_are_reused_where_the_bytes_are_the_same(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    open_tokenizer(&s);
    start(&s);
    must_become(&s, "abcabc", false, (hth_token[]){8, 8}, 2);
    compute_and_put(&s, NULL, (hth_token[]){6, 2, 0, 7, 9, 0, 1}, 7); // "abcabc<e>ab" as no tokenizer cuts it
    must_become(&s, "abcabc", false, (hth_token[]){6, 2, 0, 7}, 4);
    must_become(&s, "abcabc<e>", false, (hth_token[]){6, 2, 0, 7, 9}, 5);
    must_become(&s, "abcabc<e>abc", false, (hth_token[]){6, 2, 0, 7, 9, 8}, 6); // both meet after <e>, not amid abc
    must_become(&s, "abcabc<e>abb", false, (hth_token[]){6, 2, 0, 7, 9, 0, 1, 1}, 8);
    must_become(&s, "abcaa", false, (hth_token[]){6, 2, 0, 0}, 4); // "abc" and the "a" of "abc"
    must_become(&s, "abcabc<e>", true, (hth_token[]){6, 2, 0, 7, 3, 4, 5}, 7); // typed, so no token
    must_become(&s, "babc", false, (hth_token[]){1, 8}, 2);
    must_become(&s, "", false, NULL, 0);
    hth_tokenizer_free(s.tokenizer);
    end(&s);
}

static void a_typed_control_token_never_equals_the_real_one(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    open_tokenizer(&s);
    start(&s);
    compute_and_put(&s, NULL, (hth_token[]){8, 9, 8}, 3);
    const hth_prefix_hit typed = find(&s, (hth_token[]){8, 3, 4, 5, 8}, 5), real = find(&s, (hth_token[]){8, 9, 8, 0}, 4);
    assert_int_equal(typed.n, 1);
    assert_int_equal(typed.why, HTH_PREFIX_DIFFERENT);
    assert_int_equal(real.n, 3);
    hth_state_free(typed.state);
    hth_state_free(real.state);
    hth_tokenizer_free(s.tokenizer);
    end(&s);
}

// ---- the second tier

static void restart(setup *s) {
    hth_prefix_free(s->cache);
    assert_int_equal(hth_executor_state_bytes(s->rig.ex), 0);
    open_cache(s);
}

static void files_bring_back_what_was_there_before_the_restart(void **unused) {
    (void)unused;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        setup s = begin((tiny_kind)kind, true);
        hth_token a[N], b[N];
        start(&s);
        make_tokens(a, 40);
        make_tokens(b, 41);
        b[0] = (a[0] + 1) % TINY_VOCAB;
        compute_and_put(&s, NULL, a, 50);
        compute_and_put(&s, NULL, b, 70);
        restart(&s);
        assert_int_equal(stats_of(&s).n_file, 2);
        assert_int_equal(stats_of(&s).n_bytes, 0);
        must_find(&s, a, N, 50, HTH_PREFIX_ENDED, 50);
        must_find(&s, b, N, 70, HTH_PREFIX_ENDED, 70);
        assert_int_equal(stats_of(&s).n_loaded, 2);
        hth_prefix_hit hit = find(&s, a, 131); // the next turn goes on from the file and writes what is new
        compute_and_put(&s, hit.state, a, 130);
        restart(&s);
        assert_int_equal(stats_of(&s).n_file, 3);
        must_find(&s, a, N, 130, HTH_PREFIX_ENDED, 130);
        assert_int_equal(stats_of(&s).n_bad, 0);
        end(&s);
    }
}

static void a_long_conversation_has_files_of_bounded_number(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    s.params.state.n_ctx = 4096;
    hth_token *t = calloc(2048, sizeof *t);
    hth_err err;
    start(&s);
    for (int i = 0; i < 2048; i++) t[i] = i * 7 % TINY_VOCAB;
    float *logits = rig_floats(40 * TINY_VOCAB);
    for (int n = 40; n <= 40 * 40; n += 40) {
        const hth_prefix_text text = {.tokens = t, .n = (size_t)n};
        hth_prefix_hit hit;
        assert_int_equal(hth_prefix_fetch(s.cache, &text, n - 1, &err), HTH_OK);
        assert_int_equal(hth_prefix_find(s.cache, &text, n - 1, &hit, &err), HTH_OK);
        assert_int_equal(hit.n, n - 40);
        if (!hit.state) assert_int_equal(hth_state_new(s.rig.ex, s.rig.m, &s.params.state, &hit.state, &err), HTH_OK);
        hth_row rows[40];
        for (int i = 0; i < 40; i++) rows[i] = rig_row(t[n - 40 + i], n - 40 + i);
        rig_rows(&s.rig, hit.state, rows, 40, logits);
        assert_int_equal(hth_prefix_put(s.cache, &text, hit.state, &err), HTH_OK);
        restart(&s);
    }
    assert_in_range(stats_of(&s).n_file, 2, 16);
    assert_int_equal(stats_of(&s).n_bad, 0);
    free(t);
    free(logits);
    end(&s);
}

static void the_folder_keeps_its_limit(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    hth_token t[N];
    s.params.folder_bytes = 8 * PAGE;
    start(&s);
    for (int i = 0; i < 6; i++) {
        make_tokens(t, 50);
        t[0] = i;
        compute_and_put(&s, NULL, t, 64);
        restart(&s);
        assert_true(stats_of(&s).folder_bytes <= 8 * PAGE);
    }
    assert_int_equal(stats_of(&s).n_file, 3); // of two pages and a bit
    t[0] = 5;
    must_find(&s, t, N, 64, HTH_PREFIX_ENDED, 64);
    t[0] = 2;
    must_find(&s, t, N, 0, HTH_PREFIX_COLD, 0);
    char **names;
    size_t n;
    hth_err err;
    assert_int_equal(hth_folder_list(s.dir, "", HTH_MEM_MISC, 100, &names, &n, &err), HTH_OK);
    assert_int_equal(n, 3);
    hth_free(names);
    end(&s);
}

static void name_of_file(setup *s, char path[400]) {
    char **names;
    size_t n;
    hth_err err;
    assert_int_equal(hth_folder_list(s->dir, ".rows", HTH_MEM_MISC, 100, &names, &n, &err), HTH_OK);
    assert_true(n >= 1);
    snprintf(path, 400, "%s/%s", s->dir, names[0]);
    hth_free(names);
}

static void torn_and_damaged_files_are_passed_over(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    hth_token t[N];
    char path[400];
    char *bytes;
    size_t n;
    hth_err err;
    start(&s);
    make_tokens(t, 60);
    for (int round = 0; round < 40; round++) {
        compute_and_put(&s, NULL, t, 64);
        hth_prefix_free(s.cache);
        name_of_file(&s, path);
        assert_int_equal(hth_file_read(path, HTH_MEM_MISC, 1 << 24, &bytes, &n, &err), HTH_OK);
        if (round % 2 == 0) n = n * (size_t)round / 40;                  // torn
        else bytes[round < 20 ? (size_t)round * 9 : n - 1 - (size_t)round * 97] ^= 16; // damaged in head or rows
        FILE *f = fopen(path, "wb");
        fwrite(bytes, 1, n, f);
        fclose(f);
        hth_free(bytes);
        open_cache(&s);
        must_find(&s, t, N, 0, HTH_PREFIX_COLD, 0);
        assert_true(stats_of(&s).n_bad > 0);
        assert_int_equal(stats_of(&s).n_file, 0);
    }
    end(&s);
}

static void a_file_that_vanished_is_no_harm(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    hth_token t[N];
    char path[400];
    start(&s);
    make_tokens(t, 61);
    compute_and_put(&s, NULL, t, 64);
    restart(&s);
    name_of_file(&s, path);
    assert_int_equal(unlink(path), 0);
    must_find(&s, t, N, 0, HTH_PREFIX_COLD, 0);
    compute_and_put(&s, NULL, t, 64);
    restart(&s);
    must_find(&s, t, N, 64, HTH_PREFIX_ENDED, 64);
    end(&s);
}

static void wait_for_the_writer(setup *s) {
    for (int i = 0; i < 6000 && stats_of(s).n_written + stats_of(s).n_bad == 0; i++) {
        const uint64_t until = hth_clock_ns() + 10000000;
        while (hth_clock_ns() < until) usleep(1000);
    }
}

static void a_full_disk_or_a_bad_folder_hurts_nobody(void **unused) {
    (void)unused;
    hth_token t[N];
    make_tokens(t, 62);
    setup s = begin(TINY_LLAMA, true);
    start(&s);
    struct rlimit old, small = {4096, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); // as good as full
    compute_and_put(&s, NULL, t, 64);
    wait_for_the_writer(&s);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, before);
    assert_int_equal(stats_of(&s).n_written, 0);
    assert_int_equal(stats_of(&s).n_bad, 1);
    must_find(&s, t, N, 64, HTH_PREFIX_ENDED, 64);
    char **names;
    size_t n;
    hth_err err;
    assert_int_equal(hth_folder_list(s.dir, "", HTH_MEM_MISC, 100, &names, &n, &err), HTH_OK);
    assert_int_equal(n, 0); // nothing half written stays
    hth_free(names);
    end(&s);
    s = begin(TINY_LLAMA, false); // a folder that cannot be: a file has its name
    s.params.folder = "/dev/null/rows";
    s.params.folder_bytes = 1 << 30;
    start(&s);
    compute_and_put(&s, NULL, t, 64);
    wait_for_the_writer(&s);
    must_find(&s, t, N, 64, HTH_PREFIX_ENDED, 64);
    assert_true(stats_of(&s).n_bad > 0);
    end(&s);
}

static void other_models_and_identities_have_other_files(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    hth_token t[N];
    start(&s);
    make_tokens(t, 63);
    compute_and_put(&s, NULL, t, 64);
    s.params.identity = "another";
    restart(&s);
    must_find(&s, t, N, 0, HTH_PREFIX_COLD, 0);
    s.params.identity = NULL;
    s.params.state.k_type = HTH_KV_F16;
    restart(&s);
    must_find(&s, t, N, 0, HTH_PREFIX_COLD, 0);
    s.params.state.k_type = HTH_KV_F32;
    restart(&s);
    must_find(&s, t, N, 64, HTH_PREFIX_ENDED, 64);
    end(&s);
}

static void entries_are_written_while_others_are_at_work(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    hth_token t[N];
    start(&s);
    for (int i = 0; i < 12; i++) {
        make_tokens(t, 70);
        t[0] = i % 6;
        hth_prefix_hit hit = find(&s, t, N);
        compute_and_put(&s, hit.state, t, i < 6 ? 64 : N);
    }
    restart(&s);
    for (int i = 0; i < 6; i++) {
        t[0] = i;
        must_find(&s, t, N, N - 1, HTH_PREFIX_ALL, N);
    }
    end(&s);
}

// ---- faults and threads

static hth_code use_all(setup *s, const hth_token *t) {
    hth_err err;
    hth_prefix *cache = NULL;
    hth_state *state = NULL;
    hth_prefix_hit hit = {0};
    float *logits = rig_floats(N * TINY_VOCAB);
    hth_token_list list = {0};
    hth_code code = hth_prefix_new(&s->params, &cache, &err);
    if (code == HTH_OK) code = hth_state_new(s->rig.ex, s->rig.m, &s->params.state, &state, &err);
    hth_row row = rig_row(t[0], 0);
    hth_step step = rig_step(&s->rig, &state, 1, &row, 1, logits);
    if (code == HTH_OK) code = rig_submit(&s->rig, &step, &err);
    const hth_prefix_text text = text_of(t, 1), more = text_of(t, 3);
    if (code == HTH_OK) {
        code = hth_prefix_put(cache, &text, state, &err);
        state = NULL;
    }
    if (code == HTH_OK) code = hth_prefix_fetch(cache, &more, 2, &err);
    if (code == HTH_OK) code = hth_prefix_find(cache, &more, 2, &hit, &err);
    if (code == HTH_OK) assert_int_equal(hit.n, 1);
    if (code == HTH_OK && hth_grow(HTH_MEM_TEXT, (void **)&list.ids, &list.cap, 3, sizeof *list.ids, 100)) {
        memcpy(list.ids, t, 3 * sizeof *t);
        list.n = 3;
        code = hth_prefix_reuse_tokens(cache, "", 0, &list, &err);
    } else if (code == HTH_OK) {
        code = HTH_ERR_NOMEM;
    }
    hth_token_list_free(&list);
    hth_state_free(hit.state);
    hth_state_free(state);
    hth_prefix_free(cache);
    free(logits);
    return code;
}

static void every_allocation_may_fail(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, false);
    hth_token t[N];
    make_tokens(t, 80);
    hth_mem_stats before, after;
    (void)use_all(&s, t); // scratch of the executor
    hth_mem_get_stats(&before);
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        hth_mem_fail_at(n, false);
        const hth_code code = use_all(&s, t);
        was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        hth_mem_get_stats(&after);
        assert_int_equal(after.n_blocks, before.n_blocks);
        if (code != (was_hit ? HTH_ERR_NOMEM : HTH_OK)) fail_msg("allocation %d: code %d", (int)n, (int)code);
    }
    start(&s);
    end(&s);
}

static void files_survive_refused_memory(void **unused) {
    (void)unused;
    setup s = begin(TINY_GEMMA3, true);
    hth_token t[N];
    hth_err err;
    make_tokens(t, 81);
    start(&s);
    compute_and_put(&s, NULL, t, 64);
    hth_prefix_free(s.cache);
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        hth_mem_fail_at(n, false);
        hth_prefix_hit hit = {0};
        const hth_prefix_text text = text_of(t, N);
        hth_code code = hth_prefix_new(&s.params, &s.cache, &err);
        if (code == HTH_OK) code = hth_prefix_fetch(s.cache, &text, N - 1, &err);
        if (code == HTH_OK) code = hth_prefix_find(s.cache, &text, N - 1, &hit, &err);
        was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        if (!was_hit) assert_int_equal(hit.n, 64);
        assert_true(code == HTH_OK || code == HTH_ERR_NOMEM);
        hth_state_free(hit.state);
        hth_prefix_free(s.cache);
        assert_int_equal(hth_executor_state_bytes(s.rig.ex), 0);
    }
    open_cache(&s);
    end(&s);
}

typedef struct crowd {
    setup *s;
    atomic_int n_refused;
} crowd;

static void work(void *user, int i, int n) {
    crowd *c = user;
    hth_err err;
    (void)n;
    for (int k = 0; k < 60; k++) {
        hth_token t[N];
        make_tokens(t, 90);
        t[0] = (i + k) % 7;
        if (i > 0) {
            hth_token_list list = {0};
            if (!hth_grow(HTH_MEM_TEXT, (void **)&list.ids, &list.cap, N, sizeof *list.ids, N)) c->n_refused++;
            else memcpy(list.ids, t, sizeof t);
            list.n = N;
            if (hth_prefix_reuse_tokens(c->s->cache, NULL, 0, &list, &err) != HTH_OK || list.n != N) c->n_refused++;
            if (k % 10 == 0) (void)hth_prefix_make_room(c->s->cache, PAGE);
            const hth_prefix_text text = text_of(t, N);
            if (k % 3 == 0 && hth_prefix_fetch(c->s->cache, &text, N, &err) != HTH_OK) c->n_refused++;
            hth_token_list_free(&list);
        } else {
            hth_prefix_hit hit = find(c->s, t, 64 + k);
            compute_and_put(c->s, hit.state, t, 64 + k);
        }
    }
}

static void threads_meet_in_the_cache(void **unused) {
    (void)unused;
    setup s = begin(TINY_LLAMA, true);
    hth_team *team;
    hth_err err;
    s.params.limit_bytes = 12 * PAGE;
    s.params.folder_bytes = 20 * PAGE;
    start(&s);
    crowd c = {.s = &s};
    assert_int_equal(hth_team_new(3, &team, &err), HTH_OK);
    hth_team_run(team, work, &c);
    hth_team_free(team);
    assert_int_equal(c.n_refused, 0);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_beginning_is_found_and_the_end_is_explained),
        cmocka_unit_test(a_turn_that_goes_on_replaces_the_one_before),
        cmocka_unit_test(domains_and_media_keep_texts_apart),
        cmocka_unit_test(the_longest_unused_goes_first_and_what_is_in_use_stays),
        cmocka_unit_test(a_common_beginning_is_counted_once),
        cmocka_unit_test(snapshots_serve_layers_that_cannot_go_back),
        cmocka_unit_test(cached_tokens_are_reused_where_the_bytes_are_the_same),
        cmocka_unit_test(a_typed_control_token_never_equals_the_real_one),
        cmocka_unit_test(files_bring_back_what_was_there_before_the_restart),
        cmocka_unit_test(a_long_conversation_has_files_of_bounded_number),
        cmocka_unit_test(the_folder_keeps_its_limit),
        cmocka_unit_test(torn_and_damaged_files_are_passed_over),
        cmocka_unit_test(a_file_that_vanished_is_no_harm),
        cmocka_unit_test(a_full_disk_or_a_bad_folder_hurts_nobody),
        cmocka_unit_test(other_models_and_identities_have_other_files),
        cmocka_unit_test(entries_are_written_while_others_are_at_work),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(files_survive_refused_memory),
        cmocka_unit_test(threads_meet_in_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
