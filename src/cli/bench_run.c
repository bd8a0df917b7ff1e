// Running the tests of `hearth bench`. Prompts go through a session, as they do in a conversation; generated tokens
// through the executor, one step for all users. Tokens are pseudo-random and always the same.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/out.h"
#include "os/clock.h"
#include "os/term.h"

#define CHUNK 256 // rows of a step that brings users to their depth

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

void bench_describe(const hth_solo *e, hth_activations wish, bench_model *out) {
    const hth_model *m = e->model;
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
    out->n_thread = hth_team_size(e->team);
    out->activations = hth_activations_for(m, wish);
    out->peak = out->activations == HTH_ACTIVATIONS_F32 || type == HTH_TYPE_F32 || type == HTH_TYPE_F16 ? BENCH_F32
                : type == HTH_TYPE_BF16                                         ? BENCH_BF16
                                                                                : BENCH_I8;
}

// ---- tokens and time

static hth_token token_at(const hth_model *m, uint64_t i) {
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 32) * 0xd6e8feb86659fd93u;
    return (hth_token)((i ^ i >> 32) % (uint64_t)m->desc.n_vocab);
}

const char *bench_test_name(const bench_test *t, char text[64]) {
    int n = snprintf(text, 64, "%s%lld", t->n_prompt ? "pp" : "tg", (long long)(t->n_prompt ? t->n_prompt : t->n_gen));
    if (t->n_depth) n += snprintf(text + n, 64 - (size_t)n, " @ %lld", (long long)t->n_depth);
    if (t->n_user > 1) snprintf(text + n, 64 - (size_t)n, " x %lld", (long long)t->n_user);
    return text;
}

// One repetition is done by either of these; the clock runs for the measured part only.
typedef struct runner {
    hth_solo *engine;
    const bench_model *model;
    const bench_test *test;
    hth_session *session; // prompts
    hth_token *tokens;    // [n_depth + n_prompt]
    hth_state **states;   // [n_user] generation
    hth_row *rows;        // [max(n_user, CHUNK)]
    float *logits;        // [n_user, n_vocab]
    hth_profile *profile; // NULL: none
    bool is_measuring;    // false while warming up
    hth_tier_stats disk;  // of what was measured; between start and stop: what was before, negated
} runner;

static void count_disk(runner *r, int64_t sign) {
    if (!r->is_measuring || !r->engine->model->stream) return;
    const hth_tier_stats now = hth_tier_get_stats(r->engine->model->stream->tier);
    r->disk.n_used += (uint64_t)sign * now.n_used;
    r->disk.n_read += (uint64_t)sign * now.n_read;
    r->disk.read_bytes += (uint64_t)sign * now.read_bytes;
}

// The clock, and with it the profile, if there is one.
static hth_code start_clock(runner *r, uint64_t *begin, hth_err *err) {
    if (r->profile && r->is_measuring) HTH_TRY(hth_profile_set(r->engine->executor, r->profile, err));
    count_disk(r, -1);
    *begin = hth_clock_ns();
    return HTH_OK;
}

static hth_code stop_clock(runner *r, uint64_t begin, double *ns, hth_err *err) {
    *ns = (double)(hth_clock_ns() - begin);
    count_disk(r, 1);
    return r->profile ? hth_profile_set(r->engine->executor, NULL, err) : HTH_OK;
}

static hth_code run_prompt(runner *r, double *ns, hth_err *err) {
    const size_t depth = (size_t)r->test->n_depth, all = depth + (size_t)r->test->n_prompt;
    uint64_t begin;
    HTH_TRY(hth_session_sync(r->session, r->tokens, depth, NULL, NULL, err));
    HTH_TRY(start_clock(r, &begin, err));
    HTH_TRY(hth_session_sync(r->session, r->tokens, all, NULL, NULL, err));
    return stop_clock(r, begin, ns, err);
}

static hth_code step(runner *r, hth_state *const *states, int64_t n_seq, int64_t n_row, hth_err *err) {
    const hth_step s = {.model = r->engine->model,
                        .batch = {.rows = r->rows, .n_row = (int32_t)n_row, .states = states, .n_seq = (int32_t)n_seq},
                        .layer_last = r->engine->model->desc.n_layer,
                        .logits = r->logits,
                        .hidden_layer = -1,
                        .activations = r->model->activations,
                        .cancel = hth_term_interrupt_flag()};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(r->engine->executor, &s, &ticket, err));
    return hth_executor_wait(r->engine->executor, ticket, err);
}

static hth_row row_of(const runner *r, int64_t user, int64_t pos, hth_row_kind kind) {
    const hth_token token = token_at(r->engine->model, (uint64_t)(user << 32 | pos));
    return (hth_row){.token = token,
                     .i_seq = kind == HTH_ROW_GENERATED ? (int32_t)user : 0,
                     .pos = {pos, pos, pos, pos},
                     .parent = HTH_PARENT_PREVIOUS,
                     .span = -1,
                     .kind = (uint8_t)kind,
                     .want = kind == HTH_ROW_GENERATED ? HTH_WANT_LOGITS : 0};
}

// Brings one user's sequence to n_depth rows.
static hth_code go_to_depth(runner *r, int64_t user, hth_err *err) {
    hth_state *state = r->states[user];
    const int64_t depth = r->test->n_depth;
    if (hth_state_len(state) > depth) {
        hth_code code = hth_state_truncate(state, depth, err);
        if (code == HTH_ERR_UNSUPPORTED) code = hth_state_truncate(state, 0, err); // a window has slid
        HTH_TRY(code);
    }
    while (hth_state_len(state) < depth) {
        const int64_t len = hth_state_len(state), n = depth - len < CHUNK ? depth - len : CHUNK;
        for (int64_t i = 0; i < n; i++) r->rows[i] = row_of(r, user, len + i, HTH_ROW_PROMPT);
        HTH_TRY(step(r, &state, 1, n, err));
    }
    return HTH_OK;
}

static hth_code run_generation(runner *r, int64_t n_gen, double *ns, hth_err *err) {
    const bench_test *t = r->test;
    for (int64_t u = 0; u < t->n_user; u++) HTH_TRY(go_to_depth(r, u, err));
    uint64_t begin;
    HTH_TRY(start_clock(r, &begin, err));
    for (int64_t i = 0; i < n_gen; i++) {
        for (int64_t u = 0; u < t->n_user; u++) r->rows[u] = row_of(r, u, t->n_depth + i, HTH_ROW_GENERATED);
        HTH_TRY(step(r, r->states, t->n_user, t->n_user, err));
    }
    return stop_clock(r, begin, ns, err);
}

// ---- a test

static hth_code prepare_profile(runner *r, hth_err *err) {
    if (!r->model->is_profiled) return HTH_OK;
    r->profile = hth_calloc(HTH_MEM_MISC, 1, sizeof *r->profile);
    return r->profile ? HTH_OK : hth_fail_nomem(err, sizeof *r->profile);
}

static hth_code prepare_prompt(runner *r, hth_err *err) {
    const bench_test *t = r->test;
    const size_t n = (size_t)(t->n_depth + t->n_prompt);
    r->tokens = hth_calloc(HTH_MEM_ENGINE, n, sizeof *r->tokens);
    if (!r->tokens) return hth_fail_nomem(err, n * sizeof *r->tokens);
    for (size_t i = 0; i < n; i++) r->tokens[i] = token_at(r->engine->model, i);
    const hth_session_params params = {.n_ctx = (int64_t)n,
                                       .k_type = r->model->k_type,
                                       .v_type = r->model->v_type,
                                       .activations = r->model->activations,
                                       .cancel = hth_term_interrupt_flag()};
    return hth_session_new(r->engine, &params, &r->session, err);
}

static hth_code prepare_generation(runner *r, hth_err *err) {
    const bench_test *t = r->test;
    const size_t n_user = (size_t)t->n_user, n_row = n_user > CHUNK ? n_user : CHUNK;
    const size_t n_logit = n_user * (size_t)r->engine->model->desc.n_vocab;
    r->rows = hth_calloc(HTH_MEM_ENGINE, n_row, sizeof *r->rows);
    if (!r->rows) return hth_fail_nomem(err, n_row * sizeof *r->rows);
    r->logits = hth_calloc(HTH_MEM_ENGINE, n_logit, sizeof *r->logits);
    if (!r->logits) return hth_fail_nomem(err, n_logit * sizeof *r->logits);
    r->states = hth_calloc(HTH_MEM_ENGINE, n_user, sizeof *r->states);
    if (!r->states) return hth_fail_nomem(err, n_user * sizeof *r->states);
    const hth_state_params params = {
        .n_ctx = t->n_depth + t->n_gen, .k_type = r->model->k_type, .v_type = r->model->v_type};
    for (size_t u = 0; u < n_user; u++)
        HTH_TRY(hth_state_new(r->engine->executor, r->engine->model, &params, &r->states[u], err));
    return HTH_OK;
}

static void release(runner *r) {
    for (int64_t u = 0; r->states && u < r->test->n_user; u++) hth_state_free(r->states[u]);
    hth_session_free(r->session);
    hth_free(r->states);
    hth_free(r->tokens);
    hth_free(r->rows);
    hth_free(r->logits);
    hth_free(r->profile);
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
    r->bytes_per_token = t->n_gen ? (double)m->step_bytes / (double)t->n_user : NAN;
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
    const hth_stream *s = r->engine->model->stream;
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

static hth_code repeat(runner *r, int n, bench_result *out, hth_err *err) {
    for (int i = -1; i < n; i++) {
        double ns = 0;
        r->is_measuring = i >= 0;
        show_progress(r->test, i, n);
        if (hth_term_is_interrupted()) return hth_fail(err, HTH_ERR_CANCELLED, "interrupted");
        if (r->test->n_prompt) HTH_TRY(run_prompt(r, &ns, err));
        else HTH_TRY(run_generation(r, i < 0 ? 1 : r->test->n_gen, &ns, err));
        if (i >= 0) out->ns[i] = ns;
    }
    finish_disk(r, out);
    return HTH_OK;
}

hth_code bench_run(hth_solo *e, const bench_model *m, const bench_test *test, int n_repeat, bench_result *out,
                   hth_err *err) {
    runner r = {.engine = e, .model = m, .test = test};
    *out = (bench_result){.test = *test, .n = n_repeat};
    hth_code code = test->n_prompt ? prepare_prompt(&r, err) : prepare_generation(&r, err);
    if (code == HTH_OK) code = prepare_profile(&r, err);
    if (code == HTH_OK) code = repeat(&r, n_repeat, out, err);
    if (hth_term_is_stderr_tty()) fputs("\r\033[K", stderr);
    if (code == HTH_OK) finish_profile(&r, out);
    release(&r);
    if (code == HTH_OK) finish(m, out);
    return code;
}
