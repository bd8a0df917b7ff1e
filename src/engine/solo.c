// Opening a model with everything that it needs to run: weights, tokenizer, threads, executor.
#include "engine/session.h"
#include "os/cpu.h"

static hth_code load_tokenizer(hth_solo *e, bool is_needed, hth_err *err) {
    hth_code code = hth_tokenizer_load(e->model->container, &e->tokenizer, err);
    if (code == HTH_OK || is_needed || code == HTH_ERR_NOMEM) return code;
    e->tokenizer = NULL; // absent, or not ours to read: the caller works with token ids
    return HTH_OK;
}

// Of a model that does not fit, the experts stay on disk.
static hth_code settle(hth_solo *e, const hth_solo_params *p, hth_err *err) {
    const hth_desc *d = &e->model->desc;
    const int64_t n_ctx = d->n_ctx_train > 0 && d->n_ctx_train < HTH_SESSION_CTX ? d->n_ctx_train : HTH_SESSION_CTX;
    const hth_residency_wish wish = {.limit_bytes = p->memory_bytes, .n_ctx = p->n_ctx > 0 ? p->n_ctx : n_ctx,
                                     .n_chunk = HTH_SESSION_STREAM_CHUNK};
    hth_residency plan;
    HTH_TRY(hth_residency_plan(e->model, &wish, &plan, err));
    return hth_residency_apply(e->model, &plan, p->progress, p->progress_user, err);
}

hth_code hth_solo_open(const char *path, const hth_solo_params *p, hth_solo **out, hth_err *err) {
    hth_solo *e = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *e);
    if (!e) return hth_fail_nomem(err, sizeof *e);
    hth_code code;
    HTH_TRY_GOTO(code, hth_model_open(path, &e->model, err), fail);
    HTH_TRY_GOTO(code, load_tokenizer(e, p->need_tokenizer, err), fail);
    HTH_TRY_GOTO(code, settle(e, p, err), fail);
    HTH_TRY_GOTO(code, hth_team_new(p->n_thread > 0 ? p->n_thread : hth_cpu_default_threads(), &e->team, err), fail);
    HTH_TRY_GOTO(code, hth_executor_cpu_new(e->team, &e->executor, err), fail);
    *out = e;
    return HTH_OK;
fail:
    hth_solo_close(e);
    return code;
}

void hth_solo_close(hth_solo *e) {
    if (!e) return;
    if (e->executor) hth_executor_free(e->executor);
    if (e->team) hth_team_free(e->team);
    if (e->tokenizer) hth_tokenizer_free(e->tokenizer);
    if (e->model) hth_model_free(e->model);
    hth_free(e);
}
