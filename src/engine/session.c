// One sequence and its logits. What always holds: `tokens[0..len)` are the rows of `state`, one for one,
// and `has_logits` says whether `logits` belong to the last of them. A step either adds its rows to both
// or, when it fails, to neither.
#include "engine/session.h"

#include <string.h>

#define DEFAULT_CHUNK 256
// Most memory that the logits of one chunk take when the caller names no chunk size.
#define SCORE_BYTES (64 << 20)

struct hth_session {
    hth_solo *engine; // borrowed
    hth_state *state;   // owned
    hth_token *tokens;  // [cap] owned; grows up to n_ctx
    size_t cap;
    int64_t len, n_ctx;
    hth_row *rows; // [n_chunk] owned
    int32_t n_chunk;
    bool is_chunk_given, score_generated;
    hth_activations activations;
    float *logits; // [n_vocab] owned
    bool has_logits;
    hth_lora_set loras;
    hth_lora_runner *lora_runner; // owned
    const atomic_bool *cancel; // borrowed
};

static hth_code check_params(const hth_desc *d, const hth_session_params *p, hth_err *err) {
    if (!d->causal) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "%s is an encoder: it makes embeddings, it cannot write text", d->family);
    }
    if (p->n_ctx < 0 || p->n_ctx > INT64_MAX / 64) {
        return hth_fail(err, HTH_ERR_RANGE, "a context of %lld tokens is out of range", (long long)p->n_ctx);
    }
    if (p->n_chunk < 0) return hth_fail(err, HTH_ERR_RANGE, "a chunk of %d rows is out of range", p->n_chunk);
    if ((unsigned)p->k_type >= HTH_KV_TYPE_COUNT || (unsigned)p->v_type >= HTH_KV_TYPE_COUNT) {
        return hth_fail(err, HTH_ERR_RANGE, "unknown K/V type");
    }
    return HTH_OK;
}

static hth_code allocate(hth_session *s, const hth_session_params *p, hth_err *err) {
    const hth_model *m = s->engine->model;
    s->rows = hth_calloc(HTH_MEM_ENGINE, (size_t)s->n_chunk, sizeof *s->rows);
    if (!s->rows) return hth_fail_nomem(err, (uint64_t)s->n_chunk * sizeof *s->rows);
    s->logits = hth_calloc(HTH_MEM_ENGINE, (size_t)m->desc.n_vocab, sizeof *s->logits);
    if (!s->logits) return hth_fail_nomem(err, (uint64_t)m->desc.n_vocab * sizeof *s->logits);
    HTH_TRY(hth_lora_runner_new(&s->lora_runner, err));
    hth_state_params params = {.n_ctx = s->n_ctx, .k_type = p->k_type, .v_type = p->v_type};
    return hth_state_new(s->engine->executor, m, &params, &s->state, err);
}

hth_code hth_session_new(hth_solo *e, const hth_session_params *p, hth_session **out, hth_err *err) {
    const hth_desc *d = &e->model->desc;
    HTH_TRY(check_params(d, p, err));
    hth_session *s = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *s);
    if (!s) return hth_fail_nomem(err, sizeof *s);
    int64_t n_ctx = d->n_ctx_train > 0 && d->n_ctx_train < HTH_SESSION_CTX ? d->n_ctx_train : HTH_SESSION_CTX;
    *s = (hth_session){.engine = e,
                       .n_ctx = p->n_ctx ? p->n_ctx : n_ctx,
                       .n_chunk = p->n_chunk ? p->n_chunk : e->model->stream ? HTH_SESSION_STREAM_CHUNK : DEFAULT_CHUNK,
                       .is_chunk_given = p->n_chunk != 0,
                       .activations = p->activations,
                       .score_generated = p->score_generated,
                       .loras = p->loras,
                       .cancel = p->cancel};
    hth_code code = allocate(s, p, err);
    if (code != HTH_OK) {
        hth_session_free(s);
        return code;
    }
    *out = s;
    return HTH_OK;
}

void hth_session_free(hth_session *s) {
    if (!s) return;
    hth_state_free(s->state);
    hth_lora_runner_free(s->lora_runner);
    hth_free(s->tokens);
    hth_free(s->rows);
    hth_free(s->logits);
    hth_free(s);
}

static hth_code check_tokens(const hth_session *s, const hth_token *tokens, size_t n, hth_err *err) {
    int32_t n_vocab = s->engine->model->desc.n_vocab;
    if (n > (uint64_t)s->n_ctx) {
        return hth_fail(err, HTH_ERR_LIMIT, "%zu tokens do not fit in a context of %lld", n,
                        (long long)s->n_ctx);
    }
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] >= 0 && tokens[i] < n_vocab) continue;
        return hth_fail(err, HTH_ERR_RANGE, "token %zu is %d; the model's vocabulary has %d", i, tokens[i],
                        n_vocab);
    }
    return HTH_OK;
}

static bool make_room(hth_session *s, int64_t n) {
    return hth_grow(HTH_MEM_ENGINE, (void **)&s->tokens, &s->cap, (size_t)n, sizeof *s->tokens,
                    (size_t)s->n_ctx);
}

// Runs n <= n_chunk tokens after those already there. Rows from `first_wanted` on write logits.
static hth_code run_rows(hth_session *s, const hth_token *tokens, int32_t n, hth_row_kind kind,
                         int32_t first_wanted, float *logits, const atomic_bool *cancel, hth_err *err) {
    if (!make_room(s, s->len + n)) return hth_fail_nomem(err, (uint64_t)(s->len + n) * sizeof *s->tokens);
    for (int32_t i = 0; i < n; i++) {
        int64_t pos = s->len + i;
        s->rows[i] = (hth_row){.token = tokens[i],
                               .pos = {pos, pos, pos, pos},
                               .parent = HTH_PARENT_PREVIOUS,
                               .span = -1,
                               .kind = (uint8_t)kind,
                               .want = i >= first_wanted ? HTH_WANT_LOGITS : 0};
    }
    const hth_model *m = s->engine->model;
    const hth_linear_hook *hook;
    HTH_TRY(hth_lora_runner_begin(s->lora_runner, &s->loras, 1, n, hth_team_size(s->engine->team), &hook, err));
    hth_step step = {.model = m,
                     .batch = {.rows = s->rows, .n_row = n, .states = &s->state, .n_seq = 1},
                     .layer_last = m->desc.n_layer,
                     .logits = logits,
                     .hidden_layer = -1,
                     .activations = s->activations,
                     .hook = hook,
                     .cancel = cancel};
    hth_ticket ticket;
    s->has_logits = false;
    HTH_TRY(hth_executor_submit(s->engine->executor, &step, &ticket, err));
    HTH_TRY(hth_executor_wait(s->engine->executor, ticket, err));
    memcpy(s->tokens + s->len, tokens, (size_t)n * sizeof *tokens);
    s->len += n;
    return HTH_OK;
}

// Goes back to `n` tokens, or to none where the state cannot stop there (a window has slid past).
static hth_code go_back(hth_session *s, int64_t n, hth_err *err) {
    if (n == s->len) return HTH_OK;
    hth_code code = hth_state_truncate(s->state, n, err);
    if (code == HTH_ERR_UNSUPPORTED) {
        n = 0;
        code = hth_state_truncate(s->state, 0, err);
    }
    if (code != HTH_OK) return code;
    s->len = n;
    s->has_logits = false;
    return HTH_OK;
}

hth_code hth_session_sync(hth_session *s, const hth_token *tokens, size_t n, hth_progress_fn progress,
                          void *user, hth_err *err) {
    HTH_TRY(check_tokens(s, tokens, n, err));
    int64_t total = (int64_t)n, same = 0;
    while (same < total && same < s->len && s->tokens[same] == tokens[same]) same++;
    if (same == total && same == s->len && (s->has_logits || total == 0)) return HTH_OK;
    if (same == total && total > 0) same--; // the last row runs again for its logits
    HTH_TRY(go_back(s, same, err));
    while (s->len < total) {
        if (progress && !progress(user, s->len, total)) return hth_fail(err, HTH_ERR_CANCELLED, "cancelled");
        int64_t left = total - s->len;
        int32_t rows = left < s->n_chunk ? (int32_t)left : s->n_chunk;
        int32_t wanted = rows == left ? rows - 1 : rows;
        HTH_TRY(run_rows(s, tokens + s->len, rows, HTH_ROW_PROMPT, wanted, s->logits, s->cancel, err));
        s->has_logits = rows == left;
    }
    if (progress && total > 0) (void)progress(user, total, total);
    return HTH_OK;
}

hth_code hth_session_push(hth_session *s, hth_token token, const atomic_bool *cancel, hth_err *err) {
    HTH_TRY(check_tokens(s, &token, 1, err));
    if (s->len >= s->n_ctx) {
        return hth_fail(err, HTH_ERR_LIMIT, "the context of %lld tokens is full", (long long)s->n_ctx);
    }
    HTH_TRY(run_rows(s, &token, 1, HTH_ROW_GENERATED, 0, s->logits, cancel, err));
    s->has_logits = true;
    return HTH_OK;
}

const float *hth_session_logits(const hth_session *s) {
    return s->has_logits ? s->logits : NULL;
}

int64_t hth_session_len(const hth_session *s) {
    return s->len;
}

int64_t hth_session_n_ctx(const hth_session *s) {
    return s->n_ctx;
}

const hth_token *hth_session_tokens(const hth_session *s) {
    return s->tokens;
}

static hth_code score_chunks(hth_session *s, const hth_token *tokens, int64_t n, int64_t first, int32_t chunk,
                             float *logits, hth_solo_logits_fn fn, void *user, hth_err *err) {
    const hth_row_kind kind = s->score_generated ? HTH_ROW_GENERATED : HTH_ROW_PROMPT;
    for (int64_t row = 0; row < n; row += chunk) {
        int32_t rows = n - row < chunk ? (int32_t)(n - row) : chunk;
        int32_t wanted = first <= row ? 0 : first - row < rows ? (int32_t)(first - row) : rows;
        HTH_TRY(run_rows(s, tokens + row, rows, kind, wanted, logits, s->cancel, err));
        if (wanted < rows) HTH_TRY(fn(user, row + wanted, rows - wanted, logits, err));
    }
    return HTH_OK;
}

hth_code hth_session_score(hth_session *s, const hth_token *tokens, size_t n, int64_t first, hth_solo_logits_fn fn,
                           void *user, hth_err *err) {
    HTH_TRY(check_tokens(s, tokens, n, err));
    HTH_TRY(go_back(s, 0, err));
    size_t n_vocab = (size_t)s->engine->model->desc.n_vocab;
    int32_t chunk = s->n_chunk;
    if (!s->is_chunk_given) {
        size_t fit = SCORE_BYTES / sizeof(float) / n_vocab;
        if (fit < (size_t)chunk) chunk = fit > 0 ? (int32_t)fit : 1;
    }
    if ((size_t)chunk > n) chunk = n > 0 ? (int32_t)n : 1;
    float *logits = hth_calloc(HTH_MEM_SCRATCH, (size_t)chunk * n_vocab, sizeof *logits);
    if (!logits) return hth_fail_nomem(err, (uint64_t)chunk * n_vocab * sizeof *logits);
    hth_code code = score_chunks(s, tokens, (int64_t)n, first, chunk, logits, fn, user, err);
    hth_free(logits);
    if (code != HTH_OK) return code;
    return go_back(s, 0, err);
}
