// Running the tests of `hearth bench`: requests to an engine, as everybody makes them. Tokens are pseudo-random and always
// the same; those that are generated are given (the scripted model), so that nothing is sampled.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/generate.h"
#include "cli/out.h"
#include "model/residency.h"
#include "os/clock.h"
#include "os/sync.h"
#include "os/term.h"

// ---- the model

static uint64_t count(const hth_weight *w) {
    return hth_weight_exists(w) ? (uint64_t)w->n_row * (uint64_t)w->n_col * (uint64_t)w->n_expert : 0;
}

// The name of the type that holds most of the bytes, or of the scheme where it is no block type.
static const char *name_type(const hth_model *m, hth_type *type) {
    static const char *const schemes[] = {
        [HTH_SCHEME_AFFINE] = "affine", [HTH_SCHEME_MXFP4] = "mxfp4", [HTH_SCHEME_MXFP8] = "mxfp8",
        [HTH_SCHEME_NVFP4] = "nvfp4",   [HTH_SCHEME_FP8] = "fp8",
    };
    uint64_t bytes[HTH_TYPE_GGML_COUNT] = {0};
    const int64_t n = hth_container_n_tensor(m->container);
    int best = 0;
    for (int64_t i = 0; i < n; i++) {
        const hth_tensor *t = hth_container_tensor_at(m->container, i);
        if ((uint32_t)t->type < HTH_TYPE_GGML_COUNT) bytes[t->type] += t->n_bytes;
    }
    for (int i = 1; i < HTH_TYPE_GGML_COUNT; i++) best = bytes[i] > bytes[best] ? i : best;
    *type = (hth_type)best;
    const hth_weight *w = m->desc.n_layer > 0 ? &m->layers[0].up : &m->output;
    if (w->scheme != HTH_SCHEME_BLOCK && hth_weight_exists(w)) {
        *type = w->scheme == HTH_SCHEME_FP8 || w->scheme == HTH_SCHEME_MXFP8 ? HTH_TYPE_F32 : HTH_TYPE_Q8_0;
        return schemes[w->scheme];
    }
    return hth_type_get((uint32_t)best)->name;
}

static void count_experts(const hth_model *m, bench_model *out) {
    double used = 0;
    out->expert_bytes = 0;
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        const hth_layer *l = &m->layers[i];
        const hth_weight *const all[] = {&l->expert_gate, &l->expert_up, &l->expert_down};
        for (size_t k = 0; k < HTH_COUNT(all); k++) {
            if (!hth_weight_exists(all[k])) continue;
            const uint64_t n = hth_weight_bytes(all[k]);
            out->expert_bytes += n;
            used += (double)n * m->desc.layers[i].moe.n_used / m->desc.layers[i].moe.n_expert;
        }
    }
    out->expert_share = out->expert_bytes > 0 ? used / (double)out->expert_bytes : 0;
}

// Bytes of weights that a step reads: of routed experts those that n tokens use together, if each chooses by itself.
static double bytes_of_step(const bench_model *m, int64_t n) {
    return (double)m->step_bytes - (double)m->expert_bytes * pow(1 - m->expert_share, (double)n);
}

void bench_describe(const hth_engine *e, hth_activations wish, bench_model *out) {
    const hth_model *m = hth_engine_model(e);
    // Tables of which a token reads one row, and heads that write no text. Tied embeddings are the output.
    const hth_weight *const tables[] = {&m->per_layer_embd, &m->pos_embd, &m->type_embd, &m->cls, &m->cls_out};
    hth_type type;
    const char *name = name_type(m, &type);
    snprintf(out->type, sizeof out->type, "%.24s %.1f M %.16s", m->desc.family, (double)m->n_param * 1e-6, name);
    out->n_bytes = m->weight_bytes;
    out->n_param = m->n_param;
    out->step_bytes = m->weight_bytes;
    out->n_prompt_param = m->n_param - count(&m->token_embd);
    out->n_output_param = count(&m->output);
    for (size_t i = 0; i < HTH_COUNT(tables); i++) {
        out->step_bytes -= hth_weight_exists(tables[i]) ? hth_weight_bytes(tables[i]) : 0;
        out->n_prompt_param -= count(tables[i]);
    }
    if (!m->desc.tied_output) {
        out->step_bytes -= hth_weight_bytes(&m->token_embd);
        out->n_prompt_param -= count(&m->output);
    }
    out->n_prompt_param -= m->n_param - m->n_param_active;
    count_experts(m, out);
    out->n_thread = hth_engine_n_thread(e);
    out->activations = hth_activations_for(m, wish);
    out->peak = out->activations == HTH_ACTIVATIONS_F32 || type == HTH_TYPE_F32 || type == HTH_TYPE_F16 ? BENCH_F32
                : type == HTH_TYPE_BF16                                         ? BENCH_BF16
                                                                                : BENCH_I8;
}

// ---- tokens and time

static hth_token token_at(uint64_t i, uint64_t n_vocab) {
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 32) * 0xd6e8feb86659fd93u;
    return (hth_token)((i ^ i >> 32) % n_vocab);
}

const char *bench_test_name(const bench_test *t, char text[64]) {
    int n = snprintf(text, 64, "%s%lld", t->n_prompt ? "pp" : "tg", (long long)(t->n_prompt ? t->n_prompt : t->n_gen));
    if (t->n_depth) n += snprintf(text + n, 64 - (size_t)n, " @ %lld", (long long)t->n_depth);
    if (t->n_user > 1) snprintf(text + n, 64 - (size_t)n, " x %lld", (long long)t->n_user);
    return text;
}

// One test at work. Everything below `lock` is changed by callbacks on the host's thread, too.
typedef struct runner {
    hth_engine *engine;
    const bench_model *model;
    const bench_test *test;
    hth_token *tokens;    // [n_depth + max(n_prompt, 1 + n_gen)] of the user whose request is being made
    hth_profile *profile; // NULL: none
    bool is_measuring;    // false while warming up
    hth_tier_stats disk;  // of what was measured; between start and stop: what was before, negated
    hth_mutex lock;
    hth_cond open;
    bool is_open;        // all users have been submitted
    int64_t n_ended;
    uint64_t begin_ns, end_ns;
    hth_err err;         // of the profile
    hth_code code;
} runner;

// ---- the clock, and with it the profile

static void count_disk(runner *r, int64_t sign) {
    const hth_model *m = hth_engine_model(r->engine);
    if (!r->is_measuring || !m->stream) return;
    const hth_tier_stats now = hth_tier_get_stats(m->stream->tier);
    r->disk.n_used += (uint64_t)sign * now.n_used;
    r->disk.n_read += (uint64_t)sign * now.n_read;
    r->disk.read_bytes += (uint64_t)sign * now.read_bytes;
}

static void start_clock(runner *r) {
    if (r->profile && r->is_measuring) r->code = hth_engine_profile(r->engine, r->profile, &r->err);
    count_disk(r, -1);
    r->begin_ns = hth_clock_ns();
}

static void stop_clock(runner *r) {
    r->end_ns = hth_clock_ns();
    count_disk(r, 1);
    if (r->profile && r->code == HTH_OK) r->code = hth_engine_profile(r->engine, NULL, &r->err);
}

// ---- requests

// User u's tokens: n that differ from those of other users.
static void make_tokens(runner *r, int64_t user, int64_t n) {
    const uint64_t n_vocab = (uint64_t)hth_engine_n_vocab(r->engine);
    for (int64_t i = 0; i < n; i++) r->tokens[i] = token_at((uint64_t)(user << 32 | i), n_vocab);
}

static hth_request_params params_of(const hth_segment *prompt, const hth_bytes *depth) {
    static const hth_sampler_params greedy = {.top_p = 1};
    return (hth_request_params){.segments = prompt, .n_segment = 1, .sampling = &greedy, .ignore_end = true, .n_draft = -1,
                                .salt = *depth};
}

// What stands before is computed once for each user, and found by the requests that are measured: those run in the
// background, which uses what is cached and leaves nothing.
static hth_code prepare_depth(runner *r, const hth_bytes *salt, hth_err *err) {
    const bench_test *t = r->test;
    const hth_segment before = {.tokens = r->tokens, .n_token = (size_t)t->n_depth};
    hth_request_params p = params_of(&before, salt);
    p.no_output = true;
    for (int64_t u = 0; t->n_depth > 0 && u < t->n_user; u++) {
        make_tokens(r, u, t->n_depth);
        HTH_TRY(cli_request(r->engine, &p, NULL, NULL, err));
    }
    return HTH_OK;
}

static hth_code take_end(void *user, const hth_event *e, hth_err *err) {
    const runner *r = user;
    if (e->kind != HTH_EVENT_END || hth_term_is_interrupted() || e->usage.n_cached == r->test->n_depth) return HTH_OK;
    return hth_fail(err, HTH_ERR_LIMIT, "there is no memory to keep %lld tokens of %lld users", (long long)r->test->n_depth,
                    (long long)r->test->n_user);
}

static void clock_prompt(void *user, const hth_event *e) {
    if (e->kind == HTH_EVENT_END) stop_clock(user);
}

static hth_code run_prompt(runner *r, const hth_bytes *salt, hth_err *err) {
    const bench_test *t = r->test;
    const hth_segment prompt = {.tokens = r->tokens, .n_token = (size_t)(t->n_depth + t->n_prompt)};
    hth_request_params p = params_of(&prompt, salt);
    p.priority = HTH_PRIORITY_BACKGROUND;
    p.max_tokens = 1;
    p.on_event = clock_prompt;
    p.user = r;
    make_tokens(r, 0, t->n_depth + t->n_prompt);
    start_clock(r);
    return cli_request(r->engine, &p, take_end, r, err);
}

// Until all users are submitted, the host's thread waits here for the first of all requests: so they begin together.
static void wait_for_all(void *user, const hth_event *e) {
    runner *r = user;
    if (e->kind != HTH_EVENT_PREFILL) return;
    hth_lock(&r->lock);
    while (!r->is_open) hth_cond_wait(&r->open, &r->lock);
    hth_unlock(&r->lock);
}

static void let_go(runner *r) {
    hth_lock(&r->lock);
    r->is_open = true;
    hth_cond_wake_all(&r->open);
    hth_unlock(&r->lock);
}

// The clock runs from the first token, which comes with the prompt and with everybody's, to the last one's end.
static void clock_generation(void *user, const hth_event *e) {
    runner *r = user;
    if (e->kind == HTH_EVENT_TOKEN && e->token.index == 0 && r->begin_ns == 0) start_clock(r);
    if (e->kind == HTH_EVENT_END && ++r->n_ended == r->test->n_user) stop_clock(r);
}

// Sequences that recite n_gen tokens, behind n_depth others and one that is read.
static hth_code submit_users(runner *r, const hth_bytes *salt, int64_t n_gen, hth_request **requests, hth_err *err) {
    const bench_test *t = r->test;
    const hth_segment prompt = {.tokens = r->tokens, .n_token = (size_t)t->n_depth + 1};
    const hth_segment answer = {.tokens = r->tokens + t->n_depth + 1, .n_token = (size_t)n_gen};
    hth_request_params p = params_of(&prompt, salt);
    p.priority = HTH_PRIORITY_BACKGROUND;
    p.forced = &answer;
    p.n_forced = 1;
    p.on_event = clock_generation;
    p.user = r;
    for (int64_t u = 0; u < t->n_user; u++) {
        make_tokens(r, u, t->n_depth + 1 + n_gen);
        HTH_TRY(hth_request_submit(r->engine, &p, &requests[u], NULL, err));
    }
    return HTH_OK;
}

static hth_code run_users(runner *r, const hth_bytes *salt, int64_t n_gen, hth_request **requests, hth_err *err) {
    static const hth_token one = 0;
    const hth_segment prompt = {.tokens = &one, .n_token = 1};
    hth_request_params p = params_of(&prompt, salt);
    hth_request *gate;
    p.max_tokens = 1;
    p.no_cache = true;
    p.on_event = wait_for_all;
    p.user = r;
    r->is_open = false;
    r->n_ended = 0;
    r->begin_ns = 0;
    HTH_TRY(hth_request_submit(r->engine, &p, &gate, NULL, err));
    hth_code code = submit_users(r, salt, n_gen, requests, err);
    let_go(r);
    hth_err later;
    for (int64_t u = 0; u < r->test->n_user; u++) {
        if (!requests[u]) break;
        const hth_code one_code = cli_read_events(requests[u], take_end, r, code == HTH_OK ? err : &later);
        if (code == HTH_OK) code = one_code;
    }
    (void)!cli_read_events(gate, NULL, NULL, &later); // it may not have begun
    hth_request_free(gate);
    return code;
}

static hth_code run_generation(runner *r, const hth_bytes *salt, int64_t n_gen, hth_err *err) {
    const size_t n = (size_t)r->test->n_user;
    hth_request **requests = hth_calloc(HTH_MEM_ENGINE, n, sizeof *requests);
    if (!requests) return hth_fail_nomem(err, n * sizeof *requests);
    hth_code code = run_users(r, salt, n_gen, requests, err);
    for (size_t u = 0; u < n; u++) hth_request_free(requests[u]);
    hth_free(requests);
    if (code == HTH_OK && hth_term_is_interrupted()) code = hth_fail(err, HTH_ERR_CANCELLED, "interrupted");
    return code;
}

// ---- a test

static hth_code prepare(runner *r, hth_err *err) {
    const bench_test *t = r->test;
    const size_t n = (size_t)(t->n_depth + (t->n_prompt > t->n_gen ? t->n_prompt : t->n_gen) + 1);
    r->tokens = hth_calloc(HTH_MEM_ENGINE, n, sizeof *r->tokens);
    if (!r->tokens) return hth_fail_nomem(err, n * sizeof *r->tokens);
    if (!r->model->is_profiled) return HTH_OK;
    r->profile = hth_calloc(HTH_MEM_MISC, 1, sizeof *r->profile);
    return r->profile ? HTH_OK : hth_fail_nomem(err, sizeof *r->profile);
}

static void average(const double *v, int n, double *mean, double *deviation) {
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    *mean = sum / n;
    for (int i = 0; i < n; i++) square += (v[i] - *mean) * (v[i] - *mean);
    *deviation = n > 1 ? sqrt(square / (n - 1)) : 0;
}

static void finish(const bench_model *m, bench_result *r) {
    const bench_test *t = &r->test;
    const hth_limits *l = m->limits;
    const double n_token = (double)(t->n_prompt + t->n_gen * t->n_user);
    for (int i = 0; i < r->n; i++) r->ts[i] = n_token / r->ns[i] * 1e9;
    average(r->ns, r->n, &r->avg_ns, &r->stddev_ns);
    average(r->ts, r->n, &r->avg_ts, &r->stddev_ts);
    r->bytes_per_token = t->n_gen ? bytes_of_step(m, t->n_user) / (double)t->n_user : NAN;
    r->op_per_token = 2.0 * (double)(m->n_prompt_param + (t->n_gen ? m->n_output_param : 0));
    r->share_bandwidth = r->share_peak = NAN;
    if (!l) return;
    const double peak = m->peak == BENCH_I8                           ? l->i8
                        : m->peak == BENCH_BF16 && l->bf16 > l->f32 ? l->bf16
                                                                    : l->f32;
    if (t->n_gen) r->share_bandwidth = r->bytes_per_token * r->avg_ts / l->read;
    else r->share_peak = r->op_per_token * r->avg_ts / peak;
}

// What came from disk in the measured repetitions.
static void finish_disk(const runner *r, bench_result *out) {
    out->share_hit = out->read_rate = out->share_disk = NAN;
    const hth_stream *s = hth_engine_model(r->engine)->stream;
    if (!s) return;
    double ns = 0;
    for (int i = 0; i < out->n; i++) ns += out->ns[i];
    out->share_hit = 1 - (double)r->disk.n_read / (double)r->disk.n_used;
    out->read_rate = (double)r->disk.read_bytes / ns * 1e9;
    if (s->residency.read_rate > 0) out->share_disk = out->read_rate / s->residency.read_rate;
}

static void finish_profile(const runner *r, bench_result *out) {
    double total = 0;
    if (!r->profile) return;
    for (int i = 0; i < out->n; i++) total += out->ns[i] * r->model->n_thread;
    for (int op = 0; op < HTH_OP_COUNT; op++) out->op_share[op] = (double)hth_profile_ns(r->profile, (hth_op)op) / total;
    out->has_profile = true;
}

static void show_progress(const bench_test *t, int done, int n) {
    char name[64];
    if (!hth_term_is_stderr_tty()) return;
    fprintf(stderr, "\r\033[K%s: ", bench_test_name(t, name));
    if (done < 0) fputs("warming up", stderr);
    else fprintf(stderr, "%d of %d", done + 1, n);
    fflush(stderr);
}

// The salt keeps tests of another depth from finding more than they should.
static hth_code repeat(runner *r, int n, bench_result *out, hth_err *err) {
    const bench_test *t = r->test;
    const hth_bytes salt = {(const char *)&t->n_depth, sizeof t->n_depth};
    show_progress(t, -1, n);
    HTH_TRY(prepare_depth(r, &salt, err));
    for (int i = -1; i < n; i++) {
        r->is_measuring = i >= 0;
        show_progress(t, i, n);
        if (hth_term_is_interrupted()) return hth_fail(err, HTH_ERR_CANCELLED, "interrupted");
        if (t->n_prompt) HTH_TRY(run_prompt(r, &salt, err));
        else HTH_TRY(run_generation(r, &salt, i < 0 ? 1 : t->n_gen, err));
        if (r->code != HTH_OK) return *err = r->err, r->code;
        if (i >= 0) out->ns[i] = (double)(r->end_ns - r->begin_ns);
    }
    finish_disk(r, out);
    return HTH_OK;
}

static hth_code run_test(runner *r, int n_repeat, bench_result *out, hth_err *err) {
    HTH_TRY(hth_mutex_init(&r->lock, err));
    hth_code code = hth_cond_init(&r->open, err);
    if (code == HTH_OK) {
        code = prepare(r, err);
        if (code == HTH_OK) code = repeat(r, n_repeat, out, err);
        hth_cond_destroy(&r->open);
    }
    hth_mutex_destroy(&r->lock);
    return code;
}

hth_code bench_run(hth_engine *e, const bench_model *m, const bench_test *test, int n_repeat, bench_result *out,
                   hth_err *err) {
    runner r = {.engine = e, .model = m, .test = test};
    *out = (bench_result){.test = *test, .n = n_repeat};
    const hth_code code = run_test(&r, n_repeat, out, err);
    if (hth_term_is_stderr_tty()) fputs("\r\033[K", stderr);
    if (code == HTH_OK) finish_profile(&r, out);
    hth_free(r.tokens);
    hth_free(r.profile);
    if (code == HTH_OK) finish(m, out);
    return code;
}
