// llama-server's API: its routes, its errors, and what is answered without computing.
#include "server/llama.h"

#include <stdio.h>
#include <string.h>

#include "engine/sampler.h"
#include "os/clock.h"
#include "server/body.h"
#include "server/config.h"
#include "server/dialects.h"
#include "server/metrics.h"

// ---- words

static const char *type_word(hth_fault_kind kind) {
    switch (kind) {
    case HTH_FAULT_UNAUTHORIZED: return "authentication_error";
    case HTH_FAULT_FORBIDDEN: return "permission_error";
    case HTH_FAULT_NOT_FOUND:
    case HTH_FAULT_NO_MODEL: return "not_found_error";
    case HTH_FAULT_CONTEXT: return "exceed_context_size_error";
    case HTH_FAULT_NOT_OFFERED: return "not_supported_error";
    case HTH_FAULT_BUSY:
    case HTH_FAULT_UNAVAILABLE:
    case HTH_FAULT_NO_MEMORY: return "unavailable_error";
    case HTH_FAULT_INTERNAL:
    case HTH_FAULT_TIMEOUT: return "server_error";
    default: return "invalid_request_error";
    }
}

static void write_fault(const hth_fault *fault, int status, hth_str *out) {
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_begin(&j, "error", '{');
    hth_json_out_int(&j, "code", status);
    hth_json_out_text(&j, "message", fault->message);
    hth_json_out_text(&j, "type", type_word(fault->kind));
    if (fault->kind == HTH_FAULT_CONTEXT) {
        hth_json_out_int(&j, "n_prompt_tokens", fault->n_prompt);
        hth_json_out_int(&j, "n_ctx", fault->n_ctx);
    }
    hth_json_out_end(&j, '}');
    hth_json_out_end(&j, '}');
}

const hth_dialect hth_llama = {.name = "llama", .write_fault = write_fault};

void llama_reply_json(hth_exchange *x, hth_str *body) {
    hth_reply(x, 200, LLAMA_JSON, body);
}

static void refuse(hth_exchange *x, hth_fault_kind kind, const char *text) {
    hth_fault fault = {0};
    (void)hth_refuse(&fault, kind, NULL, "%s", text);
    hth_reply_fault(x, &fault);
}

// ---- models

static bool is_waited_for(void *user, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    return !atomic_load(hth_exchange_gone(user));
}

bool llama_acquire(hth_server *s, hth_exchange *x, const char *name, hth_use **out, hth_fault *fault) {
    hth_err err;
    const hth_acquire p = {.name = name, .on_wait = is_waited_for, .user = x};
    if (hth_models_acquire(s->models, &p, out, &err) == HTH_OK) return true;
    (void)hth_refuse_err(fault, &err, NULL);
    if (err.code == HTH_ERR_LIMIT) fault->kind = HTH_FAULT_NO_MEMORY;
    return false;
}

// The card that a request without body means, and its engine's numbers where it is loaded. Loads nothing.
static bool find(hth_server *s, hth_exchange *x, const hth_card **card, hth_loaded_info *loaded) {
    hth_loaded_info *list;
    size_t n;
    hth_err err;
    hth_fault fault = {0};
    *loaded = (hth_loaded_info){0};
    if (hth_models_find(s->models, hth_exchange_query(x, "model"), card, &err) != HTH_OK) {
        (void)hth_refuse_err(&fault, &err, NULL);
        hth_reply_fault(x, &fault);
        return false;
    }
    if (hth_models_loaded(s->models, &list, &n, &err) != HTH_OK) return true;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].card->path, (*card)->path) == 0 && list[i].n_ctx > 0) *loaded = list[i];
    }
    loaded->card = NULL; // not held
    hth_loaded_free(list, n);
    return true;
}

// ---- props

void llama_put_sampling(hth_json_out *j, const hth_sampler_params *p) {
    hth_json_out_int(j, "seed", (int64_t)(uint32_t)p->seed);
    hth_json_out_float(j, "temperature", p->temperature);
    hth_json_out_float(j, "dynatemp_range", p->dynatemp_range);
    hth_json_out_float(j, "dynatemp_exponent", p->dynatemp_exponent);
    hth_json_out_int(j, "top_k", p->top_k);
    hth_json_out_float(j, "top_p", p->top_p);
    hth_json_out_float(j, "min_p", p->min_p);
    hth_json_out_float(j, "top_n_sigma", p->top_n_sigma > 0 ? p->top_n_sigma : -1);
    hth_json_out_float(j, "xtc_probability", p->xtc_probability);
    hth_json_out_float(j, "xtc_threshold", p->xtc_threshold);
    hth_json_out_float(j, "typical_p", p->typical_p > 0 ? p->typical_p : 1);
    hth_json_out_int(j, "repeat_last_n", p->penalty_last_n);
    hth_json_out_float(j, "repeat_penalty", p->repeat_penalty);
    hth_json_out_float(j, "presence_penalty", p->presence_penalty);
    hth_json_out_float(j, "frequency_penalty", p->frequency_penalty);
    hth_json_out_float(j, "dry_multiplier", p->dry_multiplier);
    hth_json_out_float(j, "dry_base", p->dry_base);
    hth_json_out_int(j, "dry_allowed_length", p->dry_allowed_length);
    hth_json_out_int(j, "dry_penalty_last_n", p->dry_last_n);
    hth_json_out_int(j, "mirostat", p->mirostat);
    hth_json_out_float(j, "mirostat_tau", p->mirostat_tau);
    hth_json_out_float(j, "mirostat_eta", p->mirostat_eta);
    hth_json_out_int(j, "min_keep", p->min_keep);
    hth_json_out_begin(j, "samplers", '[');
    const int32_t n = p->has_order ? p->n_order : HTH_STEP_COUNT;
    for (int32_t i = 0; i < n; i++) {
        hth_json_out_text(
            j, NULL,
            hth_sampler_step_name(p->has_order ? (hth_sampler_step)p->order[i] : (hth_sampler_step)i));
    }
    hth_json_out_end(j, ']');
}

static int64_t context_of(const hth_server *s, const hth_card *card, const hth_loaded_info *loaded) {
    if (loaded->n_ctx > 0) return loaded->n_ctx;
    return s->config->n_ctx > 0 ? s->config->n_ctx : card->n_ctx_train;
}

static int64_t n_slot(const hth_server *s) {
    return s->config->n_parallel > 0 ? s->config->n_parallel : 16;
}

static void put_settings(hth_json_out *j, const hth_server *s, int64_t n_ctx) {
    hth_sampler_params p = hth_sampler_default();
    hth_err none; // checked when the server was started
    (void)!hth_config_sample(&s->config->sampling, &p, &none);
    hth_json_out_begin(j, "default_generation_settings", '{');
    hth_json_out_int(j, "n_ctx", n_ctx);
    hth_json_out_begin(j, "params", '{');
    llama_put_sampling(j, &p);
    hth_json_out_int(j, "n_predict", s->config->n_predict);
    hth_json_out_int(j, "max_tokens", s->config->n_predict);
    hth_json_out_int(j, "n_keep", s->config->n_keep);
    hth_json_out_bool(j, "ignore_eos", false);
    hth_json_out_bool(j, "stream", true);
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

static void put_template(hth_json_out *j, const hth_card *card) {
    hth_json_out_text(j, "chat_template", card->chat_template ? card->chat_template : "");
    hth_json_out_begin(j, "chat_template_caps", '{');
    hth_json_out_bool(j, "supports_tools", card->abilities & HTH_CAN_TOOLS);
    hth_json_out_bool(j, "supports_tool_calls", card->abilities & HTH_CAN_TOOLS);
    hth_json_out_bool(j, "supports_preserve_reasoning", card->abilities & HTH_CAN_THINK);
    hth_json_out_bool(j, "supports_system_role", card->abilities & HTH_CAN_CHAT);
    hth_json_out_end(j, '}');
}

static void get_props(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    const hth_card *card;
    hth_loaded_info loaded;
    hth_str body;
    if (!find(s, x, &card, &loaded)) return;
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '{');
    put_settings(&j, s, context_of(s, card, &loaded));
    hth_json_out_int(&j, "total_slots", n_slot(s));
    hth_json_out_text(&j, "model_alias", card->label);
    hth_json_out_text(&j, "model_ftype", card->quantization);
    hth_json_out_text(&j, "model_path", card->path);
    hth_json_out_begin(&j, "modalities", '{');
    hth_json_out_bool(&j, "vision", false);
    hth_json_out_bool(&j, "video", false);
    hth_json_out_bool(&j, "audio", false);
    hth_json_out_end(&j, '}');
    hth_json_out_bool(&j, "endpoint_slots", s->config->slots);
    hth_json_out_bool(&j, "endpoint_props", s->config->props);
    hth_json_out_bool(&j, "endpoint_metrics", s->config->metrics);
    put_template(&j, card);
    hth_json_out_text(&j, "build_info", "b1-hearth");
    hth_json_out_bool(&j, "is_sleeping", loaded.n_ctx == 0);
    hth_json_out_end(&j, '}');
    hth_card_drop(card);
    llama_reply_json(x, &body);
}

static void post_props(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s;
    (void)m;
    refuse(x, HTH_FAULT_NOT_OFFERED, "This server does not support changing global properties while it runs");
}

// ---- slots

static void put_slot(hth_json_out *j, int64_t i, int64_t n_ctx, bool is_busy, bool guesses) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "id", i);
    hth_json_out_int(j, "n_ctx", n_ctx);
    hth_json_out_bool(j, "speculative", guesses);
    hth_json_out_bool(j, "is_processing", is_busy);
    hth_json_out_end(j, '}');
}

static void get_slots(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    const hth_card *card;
    hth_loaded_info loaded;
    hth_str body;
    if (!s->config->slots) {
        refuse(x, HTH_FAULT_NOT_OFFERED,
               "This server does not support slots endpoint. Start it with `--slots`");
        return;
    }
    if (!find(s, x, &card, &loaded)) return;
    const int64_t n = n_slot(s), n_busy = loaded.stats.n_sequence, n_ctx = context_of(s, card, &loaded);
    hth_card_drop(card);
    const char *must_be_free = hth_exchange_query(x, "fail_on_no_slot");
    if (must_be_free && must_be_free[0] && n_busy >= n) {
        refuse(x, HTH_FAULT_UNAVAILABLE, "no slot available");
        return;
    }
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '[');
    for (int64_t i = 0; i < n; i++) put_slot(&j, i, n_ctx, i < n_busy, s->config->model_draft && s->config->n_draft != 0);
    hth_json_out_end(&j, ']');
    llama_reply_json(x, &body);
}

// ---- adapters

static void get_lora(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_models_lora list[HTH_MAX_LORA];
    const size_t n = hth_models_get_lora(s->models, list);
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '[');
    for (size_t i = 0; i < n; i++) {
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_int(&j, "id", (int64_t)i);
        hth_json_out_text(&j, "path", list[i].path);
        hth_json_out_float(&j, "scale", list[i].scale);
        hth_json_out_text(&j, "task_name", "");
        hth_json_out_text(&j, "prompt_prefix", "");
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    llama_reply_json(x, &body);
}

// Those that are not in the list get 0.
static bool read_scales(hth_exchange *x, size_t n, float *scales, hth_fault *fault) {
    size_t n_body;
    hth_err err;
    hth_json_doc *doc = NULL;
    const char *text = hth_exchange_body(x, &n_body);
    bool ok = hth_json_parse(text, n_body, (uint64_t)1 << 24, &doc, &err) == HTH_OK;
    if (!ok) return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL, "the body is no valid JSON: %s", err.msg);
    const hth_json *root = hth_json_root(doc);
    if (root->kind != HTH_JSON_ARRAY)
        ok = hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL, "Request body must be an array");
    for (uint32_t i = 0; ok && i < root->n; i++) {
        const int64_t id = hth_json_int(&root->u.items[i], "id", -1, NULL);
        const double scale = hth_json_num(&root->u.items[i], "scale", 0, NULL);
        if (id < 0 || (uint64_t)id >= n || !(scale > -1e6 && scale < 1e6)) {
            ok = hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL,
                            "[%u] must hold the id of an adapter, 0 to %zu, and its scale", i, n ? n - 1 : 0);
        } else {
            scales[id] = (float)scale;
        }
    }
    hth_json_free(doc);
    return ok;
}

static void post_lora(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_models_lora list[HTH_MAX_LORA];
    float scales[HTH_MAX_LORA] = {0};
    hth_fault fault = {0};
    if (!read_scales(x, hth_models_get_lora(s->models, list), scales, &fault)) {
        hth_reply_fault(x, &fault);
        return;
    }
    hth_models_set_lora(s->models, scales);
    hth_reply_text(x, 200, LLAMA_JSON, "{\"success\":true}");
}

// ---- metrics

static void get_metrics(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_loaded_info *list = NULL;
    hth_metrics_model *models = NULL;
    size_t n = 0, n_model = 0;
    hth_err err;
    hth_str body;
    if (!s->config->metrics) {
        refuse(x, HTH_FAULT_NOT_OFFERED,
               "This server does not support metrics endpoint. Start it with `--metrics`");
        return;
    }
    if (hth_models_loaded(s->models, &list, &n, &err) == HTH_OK)
        models = hth_arena_alloc(hth_exchange_arena(x), n + 1, sizeof *models);
    for (size_t i = 0; models && i < n; i++) {
        if (list[i].n_ctx > 0)
            models[n_model++] = (hth_metrics_model){.name = list[i].card->name, .stats = list[i].stats};
    }
    const hth_metrics_now now = {.models = models,
                                 .grammars = hth_grammar_cache_get_stats(s->grammars),
                                 .n_model = n_model,
                                 .n_exchange = hth_http_n_exchange(s->http),
                                 .uptime_s = (double)(hth_clock_ns() - s->start_ns) * 1e-9};
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_metrics_write(s->metrics, &now, &body);
    hth_loaded_free(list, n);
    char started[32];
    snprintf(started, sizeof started, "%lld", (long long)s->start_unix);
    hth_reply_header(x, "Process-Start-Time-Unix", started);
    hth_reply(x, 200, HTH_METRICS_TYPE, &body);
}

// ---- what its router does

static bool read_name(hth_exchange *x, const char **name, hth_fault *fault) {
    hth_fields f;
    const hth_json *root;
    if (!hth_body_read(x, &f, &root, fault)) return false;
    *name = hth_json_str(root, "model", NULL, NULL);
    return *name || hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "model", "model is required");
}

static void load_model(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    const char *name;
    hth_use *use = NULL;
    hth_fault fault = {0};
    if (read_name(x, &name, &fault) && llama_acquire(s, x, name, &use, &fault))
        hth_reply_text(x, 200, LLAMA_JSON, "{\"success\":true}");
    else
        hth_reply_fault(x, &fault);
    hth_models_release(s->models, use);
}

static void unload_model(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    const char *name;
    hth_err err;
    hth_fault fault = {0};
    bool ok = read_name(x, &name, &fault);
    if (ok && hth_models_unload(s->models, name, false, &err) != HTH_OK)
        ok = hth_refuse_err(&fault, &err, NULL);
    if (ok)
        hth_reply_text(x, 200, LLAMA_JSON, "{\"success\":true}");
    else
        hth_reply_fault(x, &fault);
}

#define ROUTE(methods_, pattern_, handle_, flags_) \
    { .methods = methods_, .pattern = pattern_, .dialect = &hth_llama, .handle = handle_, .flags = flags_ }

const hth_route hth_llama_routes[] = {
    ROUTE(HTH_GET, "/props", get_props, 0),
    ROUTE(HTH_POST, "/props", post_props, HTH_ROUTE_ADMIN),
    ROUTE(HTH_GET, "/slots", get_slots, 0),
    ROUTE(HTH_POST, "/slots/{id}", llama_slot_action, HTH_ROUTE_ADMIN),
    ROUTE(HTH_GET, "/metrics", get_metrics, 0),
    ROUTE(HTH_GET, "/lora-adapters", get_lora, 0),
    ROUTE(HTH_POST, "/lora-adapters", post_lora, HTH_ROUTE_ADMIN),
    ROUTE(HTH_POST, "/completion", llama_completion, 0),
    ROUTE(HTH_POST, "/completions", llama_completion, 0),
    ROUTE(HTH_POST, "/infill", llama_infill, 0),
    ROUTE(HTH_POST, "/embedding", llama_embedding, 0),
    ROUTE(HTH_POST, "/embeddings", llama_embedding, 0),
    ROUTE(HTH_POST, "/tokenize", llama_tokenize, 0),
    ROUTE(HTH_POST, "/detokenize", llama_detokenize, 0),
    ROUTE(HTH_POST, "/apply-template", llama_apply_template, 0),
    ROUTE(HTH_POST, "/models/load", load_model, HTH_ROUTE_ADMIN),
    ROUTE(HTH_POST, "/models/unload", unload_model, HTH_ROUTE_ADMIN),
    {0},
};
