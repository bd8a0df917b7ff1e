// Opening and closing an engine.
#include <string.h>

#include "engine/breakers.h"
#include "engine/impl.h"
#include "engine/sampler_defaults.h"
#include "model/residency.h"
#include "os/node.h"

#define DEFAULT_SEQUENCES 16
#define DEFAULT_QUEUE 256
#define DEFAULT_CHUNK 512
#define STREAM_CHUNK 1024 // where experts come from disk: a step of a prompt reads most of them, however many rows it has
#define MAX_SEQUENCES 4096
#define MAX_QUEUE (1 << 20)
#define MAX_CHUNK 32768

// ---- parameters

static const char *const kv_names[HTH_KV_TYPE_COUNT] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q5_0"};
static const char *const activation_names[] = {"auto", "q8", "q16", "f32"};

const char *hth_kv_type_name(hth_kv_type type) {
    return kv_names[type];
}

const char *hth_activations_name(hth_activations activations) {
    return activation_names[activations];
}

static hth_code find_name(const char *parameter, const char *name, const char *const *names, int n, int *out,
                          hth_err *err) {
    if (!name) return HTH_OK;
    for (int i = 0; i < n; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = i;
        return HTH_OK;
    }
    return hth_fail(err, HTH_ERR_RANGE, "%s is '%.40s', which is none", parameter, name);
}

static hth_code check_number(const char *parameter, int64_t value, int64_t most, hth_err *err) {
    if (value >= 0 && value <= most) return HTH_OK;
    return hth_fail(err, HTH_ERR_RANGE, "%s is %lld; 0 (by itself) to %lld are possible", parameter, (long long)value,
                    (long long)most);
}

static hth_code take_params(hth_engine *e, const hth_engine_params *p, hth_err *err) {
    int k = HTH_KV_F16, v = HTH_KV_F16, activations = HTH_ACTIVATIONS_AUTO;
    HTH_TRY(find_name("k_type", p->k_type, kv_names, HTH_KV_TYPE_COUNT, &k, err));
    HTH_TRY(find_name("v_type", p->v_type, kv_names, HTH_KV_TYPE_COUNT, &v, err));
    HTH_TRY(find_name("activations", p->activations, activation_names, (int)HTH_COUNT(activation_names), &activations, err));
    HTH_TRY(check_number("n_ctx", p->n_ctx, INT64_MAX / 64, err));
    HTH_TRY(check_number("n_sequence", p->n_sequence, MAX_SEQUENCES, err));
    HTH_TRY(check_number("n_queue", p->n_queue, MAX_QUEUE, err));
    HTH_TRY(check_number("n_chunk", p->n_chunk, MAX_CHUNK, err));
    e->k_type = (hth_kv_type)k;
    e->v_type = (hth_kv_type)v;
    e->activations = (hth_activations)activations;
    e->n_sequence = p->n_sequence ? p->n_sequence : DEFAULT_SEQUENCES;
    e->n_queue = p->n_queue ? p->n_queue : DEFAULT_QUEUE;
    e->n_chunk = p->n_chunk ? p->n_chunk : e->model->stream ? STREAM_CHUNK : DEFAULT_CHUNK;
    return HTH_OK;
}

// ---- parts

static hth_code allocate(hth_engine *e, hth_err *err) {
    const size_t n = (size_t)e->n_sequence;
    const int n_thread = hth_team_size(e->host->team);
    e->seqs = hth_calloc(HTH_MEM_ENGINE, n, sizeof *e->seqs);
    e->stepping = hth_calloc(HTH_MEM_ENGINE, n, sizeof *e->stepping);
    e->states = hth_calloc(HTH_MEM_ENGINE, n, sizeof *e->states);
    e->sets = hth_calloc(HTH_MEM_ENGINE, n, sizeof *e->sets);
    e->choices = hth_calloc(HTH_MEM_ENGINE, n, sizeof *e->choices);
    e->works = hth_calloc(HTH_MEM_ENGINE, (size_t)n_thread, sizeof *e->works);
    if (!e->seqs || !e->stepping || !e->states || !e->sets || !e->choices || !e->works) {
        return hth_fail_nomem(err, n * sizeof *e->choices);
    }
    HTH_TRY(hth_lora_runner_new(&e->lora_runner, err));
    for (int i = 0; e->model->desc.causal && i < n_thread; i++) {
        HTH_TRY(hth_sampler_work_new(e->n_choice, &e->works[i], err));
    }
    return HTH_OK;
}

static void release(hth_engine *e) {
    const int n_thread = e->host ? hth_team_size(e->host->team) : 0;
    for (int i = 0; e->works && i < n_thread; i++) hth_sampler_work_free(e->works[i]);
    hth_prefix_free(e->prefix);
    hth_free(e->works);
    hth_free(e->seqs);
    hth_free(e->stepping);
    hth_free(e->states);
    hth_free(e->sets);
    hth_lora_runner_free(e->lora_runner);
    hth_free(e->choices);
    hth_free(e->rows);
    hth_free(e->logits);
    hth_free(e->hidden);
    hth_draft_work_free(&e->draft_work);
    hth_tokenizer_free(e->tokenizer);
    hth_model_free(e->draft);
    hth_model_free(e->model);
    if (e->owns_host) hth_host_free(e->host);
    hth_free(e);
}

// Logits beyond the tokenizer's ids are padding of the matrix: they are not chosen from.
static int32_t count_choices(const hth_engine *e) {
    const int32_t n_model = e->model->desc.n_vocab, n_text = e->tokenizer ? hth_tokenizer_n_vocab(e->tokenizer) : n_model;
    return n_text < n_model ? n_text : n_model;
}

static hth_code set_up(hth_engine *e, const hth_engine_params *p, hth_err *err) {
    HTH_TRY(take_params(e, p, err));
    if (!p->host) {
        const hth_host_params host = {.n_thread = p->n_thread, .numa = p->numa};
        HTH_TRY(hth_host_new(&host, &e->host, err));
        e->owns_host = true;
    } else {
        e->host = p->host;
    }
    e->n_choice = count_choices(e);
    HTH_TRY(speculate_open(e, p->draft, err));
    HTH_TRY(hth_sampler_defaults_of(e->model->container, &e->sampling, err));
    HTH_TRY(plan_engine(e, p, err));
    HTH_TRY(allocate(e, err));
    HTH_TRY(reuse_open(e, p, err));
    host_add(e->host, e);
    return HTH_OK;
}

// Of a model that does not fit in memory, the experts stay on disk; over memory nodes weights are spread; where that is
// asked for they are read.
static hth_code settle_weights(hth_model *m, const hth_engine_params *p, hth_err *err) {
    const int64_t n_ctx = m->desc.n_ctx_train > 0 && m->desc.n_ctx_train < 8192 ? m->desc.n_ctx_train : 8192;
    const hth_residency_wish wish = {.limit_bytes = p->weight_bytes, .n_ctx = p->n_ctx > 0 ? p->n_ctx : n_ctx,
                                     .n_chunk = p->n_chunk > STREAM_CHUNK ? p->n_chunk : STREAM_CHUNK,
                                     .n_node = p->host ? p->host->n_node : p->numa ? hth_node_count() : 1,
                                     .no_map = p->no_map};
    hth_residency plan;
    HTH_TRY(hth_residency_plan(m, &wish, &plan, err));
    return hth_residency_apply(m, &plan, p->on_load, p->load_user, err);
}

// ---- the interface

hth_code hth_engine_over(hth_model *model, hth_tokenizer *tokenizer, const hth_engine_params *p, hth_engine **out,
                         hth_err *err) {
    const hth_engine_params nothing = {0};
    *out = NULL;
    hth_engine *e = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *e);
    if (!e) {
        hth_tokenizer_free(tokenizer);
        hth_model_free(model);
        return hth_fail_nomem(err, sizeof *e);
    }
    e->model = model;
    e->tokenizer = tokenizer;
    hth_code code = set_up(e, p ? p : &nothing, err);
    if (code != HTH_OK) {
        release(e);
        return code;
    }
    *out = e;
    return HTH_OK;
}

hth_code hth_engine_open(const char *path, const hth_engine_params *p, hth_engine **out, hth_err *err) {
    const hth_engine_params nothing = {0};
    hth_model *model;
    hth_tokenizer *tokenizer = NULL;
    *out = NULL;
    HTH_TRY(hth_model_open(path, &model, err));
    hth_code code = hth_tokenizer_load(model->container, &tokenizer, err);
    if (code != HTH_OK) {
        tokenizer = NULL;
        // Absent, or not ours to read: the caller works with token ids.
        if (!(p && p->need_tokenizer) && code != HTH_ERR_NOMEM) code = HTH_OK;
    }
    if (code == HTH_OK) code = settle_weights(model, p ? p : &nothing, err);
    if (code != HTH_OK) {
        hth_tokenizer_free(tokenizer);
        hth_model_free(model);
        return code;
    }
    return hth_engine_over(model, tokenizer, p, out, err);
}

void hth_engine_close(hth_engine *e) {
    if (!e) return;
    host_remove(e->host, e);
    release(e);
}

void hth_engine_get_stats(hth_engine *e, hth_engine_stats *out) {
    hth_lock(&e->host->lock);
    *out = e->stats;
    out->n_waiting = e->n_waiting;
    out->n_running = e->n_running;
    hth_unlock(&e->host->lock);
}

int64_t hth_engine_n_ctx(const hth_engine *e) {
    return e->n_ctx;
}

int32_t hth_engine_n_vocab(const hth_engine *e) {
    return e->model->desc.n_vocab;
}

void hth_engine_sampling(const hth_engine *e, hth_sampler_params *out) {
    *out = e->sampling;
}

hth_code hth_engine_breakers(const hth_engine *e, const char *const *texts, size_t n, hth_breakers **out, hth_err *err) {
    const char *usual[HTH_MAX_BREAKERS];
    *out = NULL;
    if (!e->tokenizer) return hth_fail(err, HTH_ERR_UNSUPPORTED, "the model carries no tokenizer: it knows no texts");
    if (!texts) {
        for (n = 0; hth_breakers_default_at((int)n); n++) usual[n] = hth_breakers_default_at((int)n);
    }
    return hth_breakers_new(e->tokenizer, texts ? texts : usual, n, out, err);
}

hth_code hth_engine_lora(const hth_engine *e, const char *path, hth_lora **out, hth_err *err) {
    return hth_lora_open(path, e->model, out, err);
}

const hth_model *hth_engine_model(const hth_engine *e) {
    return e->model;
}

int hth_engine_n_thread(const hth_engine *e) {
    return hth_team_size(e->host->team);
}

hth_code hth_engine_profile(hth_engine *e, hth_profile *p, hth_err *err) {
    return hth_profile_set(e->host->executor, p, err);
}

void hth_engine_watch(hth_engine *e, const hth_linear_hook *hook) {
    e->watcher = hook;
}

hth_tokenizer *hth_engine_tokenizer(const hth_engine *e) {
    return e->tokenizer;
}

int32_t hth_engine_n_embed(const hth_engine *e, hth_pooling pooling) {
    return hth_pooling_width(e->model, hth_pooling_of(e->model, pooling));
}
