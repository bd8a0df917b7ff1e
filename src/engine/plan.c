// What sequences will take, before they take it: asked from the code that allocates (model/state.h, model/executor.h),
// added up here.
#include <stdio.h>

#include "base/checked.h"
#include "engine/impl.h"
#include "model/state_plan.h"
#include "os/cpu.h"

// Work space of sampling per token of the vocabulary and thread.
#define SAMPLER_BYTES 16
#define MOST_KEPT 16 // rows that recurrent layers can take back

hth_state_params plan_state(const hth_engine *e, int64_t n_ctx, bool is_embedding) {
    return (hth_state_params){.n_ctx = n_ctx,
                              .k_type = is_embedding ? HTH_KV_F32 : e->k_type,
                              .v_type = is_embedding ? HTH_KV_F32 : e->v_type,
                              .n_keep = is_embedding ? 0 : e->n_keep};
}

// Beside each sequence of a request stands that of the draft model, or of the predicting layer.
static hth_code add_draft(const hth_engine *e, int64_t n_room, int32_t n, uint64_t *sum, hth_err *err) {
    uint64_t one, all;
    const hth_model *guesser = e->draft ? e->draft : e->predictor;
    if (!guesser) return HTH_OK;
    const hth_state_params p = hth_drafter_state(n_room);
    HTH_TRY(hth_state_plan(e->host->executor, guesser, &p, n_room, e->n_chunk, &one, err));
    if (hth_mul_u64(one, (uint64_t)n, &all) && hth_add_u64(*sum, all, sum)) return HTH_OK;
    return hth_fail(err, HTH_ERR_LIMIT, "%d sequences of %lld tokens are too much", n, (long long)n_room);
}

hth_code plan_request(const hth_engine *e, int64_t n_prompt, int64_t n_room, int32_t n, bool is_embedding, uint64_t *out,
                      hth_err *err) {
    const hth_state_params p = plan_state(e, n_room, is_embedding);
    uint64_t whole, shared = 0;
    HTH_TRY(hth_state_plan(e->host->executor, e->model, &p, n_room, e->n_chunk, &whole, err));
    // Completions share the prompt's full pages.
    if (n > 1) HTH_TRY(hth_state_plan_shared(e->host->executor, e->model, &p, n_prompt, &shared, err));
    if (shared > whole) shared = whole;
    uint64_t others;
    if (!hth_mul_u64(whole - shared, (uint64_t)(n - 1), &others) || !hth_add_u64(whole, others, out)) {
        return hth_fail(err, HTH_ERR_LIMIT, "%d sequences of %lld tokens are too much", n, (long long)n_room);
    }
    return is_embedding ? HTH_OK : add_draft(e, n_room, n, out, err);
}

static hth_code plan_scratch(const hth_engine *e, int32_t n_sequence, uint64_t *out, hth_err *err) {
    const hth_desc *d = &e->model->desc;
    uint64_t n_vocab = (uint64_t)d->n_vocab, bytes, draft_bytes = 0;
    HTH_TRY(hth_executor_scratch(e->host->executor, e->model, e->n_chunk + n_sequence, e->activations, &bytes, err));
    if (e->draft) {
        HTH_TRY(hth_executor_scratch(e->host->executor, e->draft, HTH_DRAFTER_CHUNK, HTH_ACTIVATIONS_AUTO, &draft_bytes, err));
        if (bytes < draft_bytes) bytes = draft_bytes; // one after the other, in the same place
        bytes += (uint64_t)n_sequence * (uint64_t)e->draft->desc.n_vocab * (sizeof(float) + SAMPLER_BYTES);
    } else if (e->predictor) {
        const uint64_t n_row = (uint64_t)(e->n_chunk + n_sequence) + (uint64_t)n_sequence * (HTH_DRAFTER_CHUNK + 1);
        bytes += n_row * (uint64_t)d->d_model * sizeof(float);
        bytes += (uint64_t)n_sequence * n_vocab * (sizeof(float) + SAMPLER_BYTES);
    }
    bytes += (uint64_t)(n_sequence + HTH_DRAFT_ROWS) * n_vocab * sizeof(float);
    bytes += (uint64_t)hth_team_size(e->host->team) * n_vocab * SAMPLER_BYTES;
    *out = bytes;
    return HTH_OK;
}

hth_code hth_engine_plan(const hth_engine *e, int64_t n_ctx, int32_t n_sequence, hth_plan *out, hth_err *err) {
    if (n_ctx < 0) return hth_fail(err, HTH_ERR_RANGE, "n_ctx is %lld", (long long)n_ctx);
    if (n_sequence < 0) return hth_fail(err, HTH_ERR_RANGE, "n_sequence is %d", n_sequence);
    hth_plan p = {.n_ctx = n_ctx ? n_ctx : e->n_ctx,
                  .n_sequence = n_sequence ? n_sequence : e->n_sequence,
                  .weight_bytes = e->model->weight_bytes + (e->draft ? e->draft->weight_bytes : 0),
                  .own_bytes = e->model->own_bytes,
                  .limit_bytes = e->memory_bytes};
    HTH_TRY(plan_request(e, 0, p.n_ctx, p.n_sequence, false, &p.kv_bytes, err));
    HTH_TRY(plan_scratch(e, p.n_sequence, &p.scratch_bytes, err));
    *out = p;
    return HTH_OK;
}

static uint64_t default_memory(void) {
    hth_machine machine;
    hth_machine_get(&machine);
    const uint64_t free_bytes = machine.available_bytes ? machine.available_bytes : machine.memory_bytes;
    return free_bytes ? free_bytes / 4 * 3 : (uint64_t)1 << 32;
}

static const char *megabytes(uint64_t n_bytes, char text[32]) {
    snprintf(text, 32, "%.1f MB", (double)n_bytes / 1e6);
    return text;
}

// The largest context of one sequence that fits, at most `most`.
static hth_code largest_context(const hth_engine *e, int64_t most, int64_t *out, hth_err *err) {
    int64_t lo = 0, hi = most;
    while (lo < hi) {
        const int64_t mid = hi - (hi - lo) / 2;
        uint64_t bytes;
        HTH_TRY(plan_request(e, 0, mid, 1, false, &bytes, err));
        if (bytes <= e->kv_limit_bytes) lo = mid;
        else hi = mid - 1;
    }
    *out = lo;
    return HTH_OK;
}

// What the model was made for. Longrope has two sets of divisors and the context decides between them: authors use
// the long ones only where the text is long.
static int64_t natural_context(const hth_desc *d) {
    int64_t n = d->n_ctx_train > 0 ? d->n_ctx_train : 8192;
    for (int32_t i = 0; i < d->n_rope; i++) {
        const hth_rope *r = &d->rope[i];
        if (r->scaling == HTH_SCALING_LONGROPE && r->n_ctx_orig > 0 && r->n_ctx_orig < n) n = r->n_ctx_orig;
    }
    return n;
}

// Recurrent layers keep their blocks after each of the latest rows, as many as an eighth of the memory holds for all
// sequences (each takes twice the place: what a step writes, and what was before it).
static int32_t rows_to_keep(const hth_engine *e) {
    uint64_t one = 0;
    for (int32_t i = 0; i < e->model->desc.n_layer; i++) {
        one += (uint64_t)hth_recurrent_len(&e->model->desc.layers[i].recurrent) * sizeof(float);
    }
    if (one == 0 || !e->model->desc.causal) return 0;
    const uint64_t n = e->memory_bytes / 8 / (uint64_t)e->n_sequence / (2 * one);
    return n > MOST_KEPT ? MOST_KEPT : n > 0 ? (int32_t)n - 1 : 0;
}

hth_code plan_engine(hth_engine *e, const hth_engine_params *p, hth_err *err) {
    char a[32], b[32], c[32];
    e->memory_bytes = p->memory_bytes ? p->memory_bytes : default_memory();
    e->n_keep = rows_to_keep(e);
    HTH_TRY(plan_scratch(e, e->n_sequence, &e->scratch_bytes, err));
    if (e->scratch_bytes >= e->memory_bytes) {
        return hth_fail(err, HTH_ERR_LIMIT, "work space for steps of %d rows takes %s, the limit is %s",
                        e->n_chunk + e->n_sequence, megabytes(e->scratch_bytes, a), megabytes(e->memory_bytes, b));
    }
    e->kv_limit_bytes = e->memory_bytes - e->scratch_bytes;
    if (!e->model->desc.causal) {
        e->n_ctx = natural_context(&e->model->desc);
        return HTH_OK;
    }
    int64_t fits;
    const int64_t most = p->n_ctx ? p->n_ctx : natural_context(&e->model->desc);
    HTH_TRY(largest_context(e, most, &fits, err));
    if (fits == most || (p->n_ctx == 0 && fits >= 64)) {
        e->n_ctx = fits;
        return HTH_OK;
    }
    uint64_t need;
    HTH_TRY(plan_request(e, 0, most, 1, false, &need, err));
    return hth_fail(err, HTH_ERR_LIMIT,
                    "a context of %lld tokens takes %s besides %s of work space, the limit is %s: %lld tokens would fit",
                    (long long)most, megabytes(need, a), megabytes(e->scratch_bytes, b), megabytes(e->memory_bytes, c),
                    (long long)fits);
}

hth_code hth_engine_limit_memory(hth_engine *e, uint64_t n_bytes, hth_err *err) {
    char a[32], b[32];
    uint64_t need = 0;
    if (n_bytes >= e->memory_bytes) return HTH_OK;
    if (e->model->desc.causal) HTH_TRY(plan_request(e, 0, e->n_ctx, 1, false, &need, err));
    if (n_bytes < e->scratch_bytes || n_bytes - e->scratch_bytes < need) {
        return hth_fail(err, HTH_ERR_LIMIT, "a context of %lld tokens and its work space take %s, the limit is %s",
                        (long long)e->n_ctx, megabytes(need + e->scratch_bytes, a), megabytes(n_bytes, b));
    }
    e->memory_bytes = n_bytes;
    e->kv_limit_bytes = n_bytes - e->scratch_bytes;
    return HTH_OK;
}
