// Guessing ahead: tokens, log-probabilities and ends are those of a run without, for one request and for many.
#include "engine/draft.h"
#include "engine/random.h"
#include <unistd.h>

#include "unit/engine/asked.h"
#include "unit/engine/byte_model.h"

enum { N_REQUEST = 6, N_OUT = 200 };

static const tiny_kind KINDS[] = {TINY_LLAMA, TINY_GEMMA3, TINY_GEMMA4, TINY_LATENT, TINY_LFM2, TINY_QWEN35, TINY_FALCON_H1, TINY_NEMOTRON_H, TINY_RWKV7};

// A prompt that repeats itself, so that there is something to find.
static void make_prompt(hth_token *tokens, int n, uint64_t seed) {
    asked_random(tokens, 12, seed);
    for (int i = 12; i < n; i++) tokens[i] = tokens[i - 12 + (i % 25 == 0)];
}

static void compare(const asked *got, const asked *want, bool has_logprobs) {
    assert_int_equal(got->of[0].code, HTH_OK);
    assert_int_equal(got->of[0].n, want->of[0].n);
    assert_memory_equal(got->of[0].tokens, want->of[0].tokens, (size_t)want->of[0].n * sizeof(hth_token));
    if (has_logprobs) assert_memory_equal(got->of[0].logprobs, want->of[0].logprobs, (size_t)want->of[0].n * sizeof(float));
    assert_int_equal(got->of[0].reason, want->of[0].reason);
    assert_int_equal(got->of[0].n_cut, want->of[0].n_cut);
}

static void guesses_change_no_token(void **state) {
    (void)state;
    int64_t n_accepted = 0, n_wrong = 0;
    for (size_t k = 0; k < HTH_COUNT(KINDS); k++) {
        hth_engine *e = asked_open(KINDS[k], &(hth_engine_params){.n_thread = 2, .n_ctx = 300, .n_sequence = N_REQUEST});
        const int64_t n_before = n_accepted + n_wrong;
        for (int t = 0; t < 3; t++) {
            hth_token prompt[60];
            make_prompt(prompt, 60, (uint64_t)t + 3);
            const hth_segment segment = asked_tokens(prompt, 60);
            hth_sampler_params sampling = hth_sampler_neutral();
            sampling.temperature = t == 0 ? 0 : 0.3f * (float)t;
            sampling.frequency_penalty = t == 2 ? 0.1f : 0;
            sampling.seed = (uint64_t)t;
            hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &sampling, .max_tokens = N_OUT, .logprobs = true,
                                    .n_draft = -1};
            asked *plain = asked_run(e, &p);
            assert_int_equal(plain->usage.n_drafted, 0);
            p.n_draft = t < 2 ? 4 : 0; // where 0, how many depends on how long steps take
            asked *guessed = asked_run(e, &p);
            compare(guessed, plain, true);
            n_accepted += t < 2 ? guessed->usage.n_accepted : 0;
            n_wrong += t < 2 ? guessed->usage.n_drafted - guessed->usage.n_accepted : 0;
            free(plain);
            free(guessed);
        }
        hth_engine_close(e);
        if (n_accepted + n_wrong == n_before) fail_msg("kind %d has not guessed", (int)KINDS[k]); // nothing was seen
    }
    assert_true(n_accepted > 50);
    if (n_wrong < 3) fail_msg("only %d guesses were wrong", (int)n_wrong);
}

static void many_who_guess_do_not_mix(void **state) {
    (void)state;
    hth_token prompts[N_REQUEST][40];
    hth_segment segments[N_REQUEST];
    hth_sampler_params sampling[N_REQUEST];
    hth_request_params p[N_REQUEST];
    asked *alone[N_REQUEST];
    hth_request *r[N_REQUEST];
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 128, .n_sequence = N_REQUEST, .n_chunk = 8});
    for (int i = 0; i < N_REQUEST; i++) {
        make_prompt(prompts[i], 40, (uint64_t)i + 20);
        segments[i] = asked_tokens(prompts[i], 40);
        sampling[i] = hth_sampler_neutral();
        sampling[i].temperature = i % 2 ? 0 : 0.4f;
        sampling[i].seed = (uint64_t)i;
        // Odd ones roll: what they have guessed goes with what is cut.
        p[i] = (hth_request_params){.segments = &segments[i], .n_segment = 1, .sampling = &sampling[i], .max_tokens = N_OUT,
                                    .overflow = i % 2 ? HTH_OVERFLOW_ROLLING : HTH_OVERFLOW_ERROR, .n_draft = -1};
        alone[i] = asked_run(e, &p[i]);
        assert_int_equal(alone[i]->of[0].reason, i % 2 ? HTH_STOP_LENGTH : HTH_STOP_CONTEXT);
        p[i].n_draft = 3 + i;
    }
    int64_t n_accepted = 0;
    for (int i = 0; i < N_REQUEST; i++) r[i] = asked_submit(e, &p[i]);
    for (int i = 0; i < N_REQUEST; i++) {
        asked *a = asked_all(r[i]);
        compare(a, alone[i], false);
        n_accepted += a->usage.n_accepted;
        free(a);
        free(alone[i]);
        hth_request_free(r[i]);
    }
    if (n_accepted < 10) fail_msg("only %lld guesses were right", (long long)n_accepted);
    hth_engine_close(e);
}

// ---- a draft model

typedef struct files {
    char dir[128], model[160], like[160];
} files;

static files write_models(float noise) {
    files f;
    tiny_make_dir(f.dir);
    snprintf(f.model, sizeof f.model, "%s/model.gguf", f.dir);
    snprintf(f.like, sizeof f.like, "%s/like.gguf", f.dir);
    byte_model_write(f.model);
    byte_model_write_like(f.like, noise);
    return f;
}

static void remove_models(const files *f) {
    unlink(f->model);
    unlink(f->like);
    rmdir(f->dir);
}

static hth_engine *open_with(const files *f, const char *draft) {
    const hth_engine_params p = {.n_thread = 2, .n_ctx = 320, .need_tokenizer = true, .draft = draft};
    hth_engine *e = NULL;
    hth_err err = {0};
    if (hth_engine_open(f->model, &p, &e, &err) != HTH_OK) fail_msg("%s", err.msg);
    return e;
}

// Prompts longer than what a drafter reads at once, and of tokens that do not repeat, so that nothing is looked up.
static void a_draft_model_changes_no_token(void **state) {
    (void)state;
    int64_t n_right[2] = {0}, n_drafted[2] = {0};
    for (int k = 0; k < 2; k++) {
        const files f = write_models(k == 0 ? 0 : 0.1f);
        hth_engine *plain = open_with(&f, NULL), *helped = open_with(&f, f.like);
        for (int t = 0; t < 4; t++) {
            hth_token prompt[270];
            for (int i = 0; i < 270; i++) prompt[i] = (hth_token)(i * 7 + t) % 256;
            const hth_segment segment = asked_tokens(prompt, t == 3 ? 270 : 20);
            hth_sampler_params sampling = hth_sampler_neutral();
            sampling.temperature = t == 0 ? 0 : 0.5f * (float)t;
            sampling.seed = (uint64_t)t;
            hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &sampling, .max_tokens = 40, .ignore_end = true,
                                    .logprobs = true, .n_draft = -1};
            asked *want = asked_run(plain, &p), *same = asked_run(helped, &p);
            compare(same, want, true);
            p.n_draft = 4;
            asked *got = asked_run(helped, &p);
            compare(got, want, true);
            n_right[k] += got->usage.n_accepted;
            n_drafted[k] += got->usage.n_drafted;
            free(want);
            free(same);
            free(got);
        }
        hth_engine_close(plain);
        hth_engine_close(helped);
        remove_models(&f);
    }
    if (n_right[0] < 40 || n_drafted[0] - n_right[0] > 8) fail_msg("%d of %d by itself", (int)n_right[0], (int)n_drafted[0]);
    if (n_right[1] < 10 || n_drafted[1] - n_right[1] < 10) fail_msg("%d of %d by one like it", (int)n_right[1], (int)n_drafted[1]);
}

static void a_draft_model_guesses_for_many_and_changes_no_token(void **state) {
    enum { N = 6 };
    (void)state;
    const files f = write_models(0.05f);
    hth_engine *plain = open_with(&f, NULL), *helped = open_with(&f, f.like);
    hth_token prompts[N][90];
    hth_segment segments[N];
    hth_sampler_params sampling[N];
    hth_request_params p[N];
    hth_request *r[N];
    asked *want[N];
    int64_t n_accepted = 0;
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 90; k++) prompts[i][k] = (hth_token)(k * 7 + 31 * i) % 256;
        segments[i] = asked_tokens(prompts[i], (size_t)(15 * (i + 1)));
        sampling[i] = hth_sampler_neutral();
        sampling[i].temperature = i % 2 ? 0.7f : 0;
        sampling[i].seed = (uint64_t)i;
        p[i] = (hth_request_params){.segments = &segments[i], .n_segment = 1, .sampling = &sampling[i], .max_tokens = 40,
                                    .ignore_end = true, .n_draft = -1};
        want[i] = asked_run(plain, &p[i]);
        p[i].n_draft = 3 + i;
    }
    for (int i = 0; i < N; i++) r[i] = asked_submit(helped, &p[i]);
    for (int i = 0; i < N; i++) {
        asked *got = asked_all(r[i]);
        compare(got, want[i], false);
        n_accepted += got->usage.n_accepted;
        hth_request_free(r[i]);
        free(want[i]);
        free(got);
    }
    if (n_accepted < 10) fail_msg("only %lld guesses were right", (long long)n_accepted);
    hth_engine_close(plain);
    hth_engine_close(helped);
    remove_models(&f);
}

// Three sequences share the chunk that is read at once, so the later ones need a second call; then all guess what each
// guesses alone.
static void what_a_small_model_guesses_for_several_it_guesses_for_each(void **state) {
    enum { N = 3, MOST = 6 };
    static const int lengths[N] = {200, 90, 20}, first[N] = {200, 56, 0};
    (void)state;
    const files f = write_models(0);
    hth_model *m;
    hth_team *team;
    hth_executor *ex;
    hth_err err;
    assert_int_equal(hth_model_open(f.like, &m, &err), HTH_OK);
    assert_int_equal(hth_team_new(2, &team, &err), HTH_OK);
    assert_int_equal(hth_executor_cpu_new(team, &ex, &err), HTH_OK);
    const hth_sampler_params sampling = hth_sampler_neutral();
    const hth_drafter_model_params p = {.model = m, .executor = ex, .n_vocab = m->desc.n_vocab, .n_ctx = 320, .sampling = &sampling};
    hth_drafter *alone[N], *together[N];
    hth_token tokens[N][200];
    hth_draft want[N], got[N];
    hth_draft_ask asks[N];
    hth_draft_work work = {0};
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 200; k++) tokens[i][k] = (hth_token)(k * 7 + 31 * i) % 256;
        assert_int_equal(hth_drafter_model_new(&p, &alone[i], &err), HTH_OK);
        assert_int_equal(hth_drafter_model_new(&p, &together[i], &err), HTH_OK);
        assert_int_equal(hth_drafter_propose(alone[i], tokens[i], (size_t)lengths[i], MOST, &want[i], &err), HTH_OK);
        assert_int_equal(want[i].n, MOST);
        asks[i] = (hth_draft_ask){.drafter = together[i], .tokens = tokens[i], .n = (size_t)lengths[i], .most = MOST, .out = &got[i]};
    }
    assert_int_equal(hth_drafter_model_propose(asks, N, &work, &err), HTH_OK);
    for (int i = 0; i < N; i++) assert_int_equal(got[i].n, first[i] == lengths[i] ? MOST : 0);
    assert_int_equal(hth_drafter_model_propose(asks, N, &work, &err), HTH_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(got[i].n, MOST);
        assert_memory_equal(got[i].tokens, want[i].tokens, MOST * sizeof(int32_t));
        hth_drafter_free(alone[i]);
        hth_drafter_free(together[i]);
    }
    hth_draft_work_free(&work);
    hth_executor_free(ex);
    hth_team_free(team);
    hth_model_free(m);
    remove_models(&f);
}

static void a_draft_model_of_another_vocabulary_is_refused(void **state) {
    (void)state;
    const files f = write_models(0);
    char bytes[65536];
    hth_engine *e = NULL;
    hth_err err;
    FILE *file = fopen(f.like, "r+b");
    assert_non_null(file);
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    char *at = bytes;
    while (memcmp(at, "<|im_end|>", 10) != 0 || at[-8] != 10) assert_true((size_t)(++at - bytes) < n - 10);
    assert_int_equal(fseek(file, at - bytes, SEEK_SET), 0);
    put(file, "<|im_and|>", 10);
    assert_int_equal(fclose(file), 0);
    const hth_engine_params p = {.n_thread = 1, .draft = f.like};
    assert_int_equal(hth_engine_open(f.model, &p, &e, &err), HTH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "im_and"));
    const hth_engine_params none = {.n_thread = 1, .draft = f.dir};
    assert_int_not_equal(hth_engine_open(f.model, &none, &e, &err), HTH_OK);
    remove_models(&f);
}

// ---- the model's own predicting layer

// Prompts in which nothing repeats; sampled so hot that guesses are right now and then.
static void a_predicting_layer_changes_no_token(void **state) {
    (void)state;
    enum { N_USER = 4, LEN = 70, OUT = 60 };
    hth_engine *e = asked_open(TINY_QWEN35, &(hth_engine_params){.n_thread = 2, .n_ctx = 200, .n_sequence = N_USER, .n_chunk = 24});
    assert_non_null(hth_engine_model(e)->predictor);
    hth_token prompts[N_USER][LEN];
    hth_segment segments[N_USER];
    hth_sampler_params sampling[N_USER];
    hth_request_params p[N_USER];
    hth_request *r[N_USER];
    asked *want[N_USER];
    int64_t n_drafted = 0, n_accepted = 0;
    for (int i = 0; i < N_USER; i++) {
        for (int k = 0; k < LEN; k++) prompts[i][k] = (hth_token)((i * 31 + k * 5) % TINY_VOCAB);
        segments[i] = asked_tokens(prompts[i], LEN);
        sampling[i] = hth_sampler_neutral();
        sampling[i].temperature = i == 0 ? 0 : 0.7f;
        sampling[i].seed = (uint64_t)i;
        // The last one rolls: what its layer has read goes with what is cut.
        p[i] = (hth_request_params){.segments = &segments[i], .n_segment = 1, .sampling = &sampling[i], .logprobs = true, .n_draft = -1,
                                    .overflow = i == 3 ? HTH_OVERFLOW_ROLLING : HTH_OVERFLOW_ERROR, .max_tokens = i == 3 ? 200 : OUT};
        want[i] = asked_run(e, &p[i]);
        p[i].n_draft = i == 1 ? 1 : 3;
    }
    for (int i = 0; i < N_USER; i++) r[i] = asked_submit(e, &p[i]);
    for (int i = 0; i < N_USER; i++) {
        asked *got = asked_all(r[i]);
        compare(got, want[i], true);
        n_drafted += got->usage.n_drafted;
        n_accepted += got->usage.n_accepted;
        hth_request_free(r[i]);
        free(got);
        free(want[i]);
    }
    hth_engine_close(e);
    if (n_drafted < 50 || n_accepted < 1) fail_msg("%d guesses, %d of them right", (int)n_drafted, (int)n_accepted);
}

static void an_absurd_number_of_guesses_is_named(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 64});
    const hth_token one = 1;
    const hth_segment segment = asked_tokens(&one, 1);
    for (int32_t n = -2; n < 99; n += 100) { // -2, 98
        hth_request *r;
        hth_refusal why;
        hth_err err;
        const hth_request_params p = {.segments = &segment, .n_segment = 1, .n_draft = n};
        assert_int_equal(hth_request_submit(e, &p, &r, &why, &err), HTH_ERR_RANGE);
        assert_string_equal(why.parameter, "n_draft");
    }
    hth_engine_close(e);
}

// ---- what must come

// The first three tokens, and up to 37 behind every one that 3 divides, are given. Returns how many of them come now.
static int32_t n_given(const int32_t *tokens, size_t n) {
    size_t i = 3;
    while (i < n) i += tokens[i] % 3 == 0 ? (size_t)tokens[i] % 37 + 2 : 1;
    return (int32_t)(i - n);
}

static hth_token given_at(size_t i) {
    return (hth_token)(i * 7 % TINY_VOCAB);
}

static bool allow_given(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask) {
    (void)user;
    (void)completion;
    if (n_given(tokens, n) > 0) mask[given_at(n) / 32] |= 1u << (given_at(n) % 32);
    else memset(mask, 0xff, (TINY_VOCAB + 31) / 32 * sizeof *mask);
    return true;
}

static size_t give(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    hth_token(*given)[40] = user; // a row for each completion
    const int32_t n_out = n_given(tokens, n);
    for (int32_t i = 0; i < n_out; i++) given[completion][i] = given_at(n + (size_t)i);
    *out = given[completion];
    return (size_t)n_out;
}

static size_t give_nonsense(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    static const int32_t nonsense[] = {TINY_VOCAB};
    (void)user;
    (void)completion;
    (void)tokens;
    *out = nonsense;
    return n == 4;
}

// With a mask that leaves nothing else, the same tokens are chosen one by one.
static void what_must_come_is_what_a_mask_would_leave(void **state) {
    (void)state;
    for (size_t k = 0; k < HTH_COUNT(KINDS); k++) {
        hth_engine *e = asked_open(KINDS[k], &(hth_engine_params){.n_thread = 2, .n_ctx = 300, .n_sequence = 3, .n_chunk = 16});
        hth_token prompt[60];
        make_prompt(prompt, 60, k);
        const hth_segment segment = asked_tokens(prompt, 60);
        hth_sampler_params sampling = hth_sampler_neutral();
        sampling.temperature = 0.5f;
        sampling.frequency_penalty = 0.1f;
        hth_token given[3][40];
        hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &sampling, .n = 3, .max_tokens = 150, .n_draft = -1,
                                .ignore_end = true, .mask = allow_given, .user = given};
        asked *want = asked_run(e, &p);
        assert_int_equal(want->usage.n_forced, 0);
        p.force = give;
        for (int t = 0; t < 4; t++) {
            if (t == 3) p.mask = NULL;
            p.n_draft = (int32_t[]){-1, 5, 0, 5}[t];
            asked *got = asked_run(e, &p);
            for (int i = 0; i < 3; i++) {
                assert_int_equal(got->of[i].n, want->of[i].n);
                assert_memory_equal(got->of[i].tokens, want->of[i].tokens, (size_t)want->of[i].n * sizeof(hth_token));
                assert_int_equal(got->of[i].reason, HTH_STOP_LENGTH);
            }
            if (got->usage.n_forced < 60) fail_msg("only %d tokens were given", (int)got->usage.n_forced);
            free(got);
        }
        free(want);
        hth_engine_close(e);
    }
}

static void what_must_come_fails_closed_has_probabilities_and_does_not_roll(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 64});
    const hth_token prompt[] = {1, 2, 3};
    const hth_segment segment = asked_tokens(prompt, 3);
    hth_token given[1][40];
    hth_request_params p = {.segments = &segment, .n_segment = 1, .force = give_nonsense, .max_tokens = 20, .ignore_end = true};
    asked *a = asked_run(e, &p);
    assert_int_equal(a->of[0].code, HTH_ERR_RANGE);
    assert_int_equal(a->of[0].n, 4);
    free(a);
    p = (hth_request_params){.segments = &segment, .n_segment = 1, .force = give, .user = given, .max_tokens = 20, .ignore_end = true};
    asked *plain = asked_run(e, &p);
    p.logprobs = true;
    a = asked_run(e, &p);
    assert_int_equal(a->usage.n_forced, plain->usage.n_forced);
    assert_memory_equal(a->of[0].tokens, plain->of[0].tokens, 20 * sizeof(hth_token));
    for (int i = 0; i < 20; i++) assert_true(a->of[0].logprobs[i] < 0);
    free(a);
    free(plain);
    p = (hth_request_params){.segments = &segment, .n_segment = 1, .force = give, .user = given, .overflow = HTH_OVERFLOW_ROLLING,
                             .ignore_end = true};
    a = asked_run(e, &p);
    assert_int_equal(a->of[0].reason, HTH_STOP_CONTEXT); // what was said is needed to know what comes
    free(a);
    hth_engine_close(e);
}

// ---- the parts

static void lookup_continues_what_stood_there_before(void **state) {
    (void)state;
    hth_drafter *d;
    hth_draft draft;
    hth_err err;
    assert_int_equal(hth_drafter_ngram_new(&d, &err), HTH_OK);
    const int32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 9, 2, 3, 4};
    assert_int_equal(hth_drafter_propose(d, tokens, 8, 4, &draft, &err), HTH_OK);
    assert_int_equal(draft.n, 0); // nothing is there twice
    assert_int_equal(hth_drafter_propose(d, tokens, 11, 3, &draft, &err), HTH_OK);
    assert_int_equal(draft.n, 3);
    const int32_t want[] = {5, 6, 7};
    assert_memory_equal(draft.tokens, want, sizeof want);
    assert_true(hth_draft_is_line(&draft));
    assert_int_equal(hth_draft_child(&draft, -1, 5), 0);
    assert_int_equal(hth_draft_child(&draft, 0, 6), 1);
    assert_int_equal(hth_draft_child(&draft, -1, 6), -1);
    const int32_t other[] = {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 3, 4}; // another sequence
    assert_int_equal(hth_drafter_propose(d, other, 14, 4, &draft, &err), HTH_OK);
    assert_int_equal(draft.n, 0);
    hth_drafter_free(d);
}

// What is guessed always stands behind an equal stretch of at least two tokens; the longest is preferred.
static void lookup_agrees_with_searching(void **state) {
    (void)state;
    enum { N = 3000 };
    static int32_t tokens[N];
    hth_drafter *d;
    hth_draft draft;
    hth_err err;
    int n_found = 0, n_missed = 0;
    assert_int_equal(hth_drafter_ngram_new(&d, &err), HTH_OK);
    for (int i = 0; i < N; i++) tokens[i] = (int32_t)(12 * hth_random_at(5, i)) * (i % 3 != 0);
    for (int n = 5; n <= N; n++) {
        assert_int_equal(hth_drafter_propose(d, tokens, (size_t)n, 5, &draft, &err), HTH_OK);
        bool is_there = false, is_right = draft.n == 0;
        for (int at = 1; at < n - 1; at++) {
            const bool two = tokens[at] == tokens[n - 1] && tokens[at - 1] == tokens[n - 2];
            is_there |= at >= 3 && two && tokens[at - 2] == tokens[n - 3] && tokens[at - 3] == tokens[n - 4];
            is_right |= tokens[at] == tokens[n - 1] && memcmp(tokens + at + 1, draft.tokens, (size_t)draft.n * sizeof *tokens) == 0;
        }
        assert_true(is_right);
        n_found += is_there && draft.n > 0;
        n_missed += is_there && draft.n == 0;
    }
    if (n_found < 100 || n_missed > n_found / 50) fail_msg("%d found, %d missed", n_found, n_missed); // chains are cut
    hth_drafter_free(d);
}

static hth_row_cost cost_of(double row_share) {
    hth_row_cost c = {{0}};
    for (int32_t n = 1; n <= HTH_MAX_COST_ROWS; n++) hth_row_cost_add(&c, n, 1e6 * (1 + row_share * (n - 1)));
    return c;
}

static void guessing_stops_when_it_does_not_pay_and_loses_little(void **state) {
    (void)state;
    static const double rates[] = {0, 0.2, 0.5, 0.9, 0.99};
    for (int shares = 0; shares < 3; shares++) {
        const hth_row_cost cost = cost_of(shares == 0 ? 0.05 : shares == 1 ? 0.3 : 0.9);
        for (size_t k = 0; k < HTH_COUNT(rates); k++) {
            const hth_gain_step alone = {1, 1, 0};
            hth_gain g;
            double time = 0;
            int64_t n_token = 0;
            hth_gain_init(&g);
            for (int step = 0; step < 3000; step++) {
                const int32_t n = hth_gain_length(&g, &cost, 2, &alone, 15);
                int32_t accepted = 0;
                while (accepted < n && hth_random_draw(7, step, (uint32_t)accepted) < rates[k]) accepted++;
                hth_gain_add(&g, &cost, 2, &alone, n, accepted);
                time += hth_row_cost_ns(&cost, 1 + n);
                n_token += 1 + accepted;
            }
            const double speed = (double)n_token * 1e6 / time;
            assert_true(speed > 0.985);
            if (rates[k] > 0.8 && shares < 2) assert_true(speed > (shares == 0 ? 3 : 1.6));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_change_no_token),
        cmocka_unit_test(many_who_guess_do_not_mix),
        cmocka_unit_test(a_draft_model_changes_no_token),
        cmocka_unit_test(a_draft_model_guesses_for_many_and_changes_no_token),
        cmocka_unit_test(what_a_small_model_guesses_for_several_it_guesses_for_each),
        cmocka_unit_test(a_draft_model_of_another_vocabulary_is_refused),
        cmocka_unit_test(a_predicting_layer_changes_no_token),
        cmocka_unit_test(what_must_come_is_what_a_mask_would_leave),
        cmocka_unit_test(what_must_come_fails_closed_has_probabilities_and_does_not_roll),
        cmocka_unit_test(an_absurd_number_of_guesses_is_named),
        cmocka_unit_test(lookup_continues_what_stood_there_before),
        cmocka_unit_test(lookup_agrees_with_searching),
        cmocka_unit_test(guessing_stops_when_it_does_not_pay_and_loses_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
