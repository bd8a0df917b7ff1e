// Puts the parts together: what happens with a request from its head to its end, and the life of the whole.
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "chat/classic.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/port.h"
#include "os/sync.h"
#include "server/access.h"
#include "server/address.h"
#include "server/config.h"
#include "server/dialects.h"
#include "server/llama.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/responses.h"
#include "server/store.h"
#include "server/tls.h"

#define N_GRAMMAR 128 // compiled ones that are kept
#define GRAMMAR_BYTES ((uint64_t)128 << 20)

#define MAX_TEMPLATE_BYTES ((uint64_t)1 << 20)
#define SMALL_BODY 65536 // of requests that have no use for one
#define DEFAULT_N_PARALLEL 16

typedef struct server {
    hth_server s; // first: handlers get this
    hth_tls tls;
    char *state_folder;  // owned; NULL: none
    char *template_text;
    char *lora_paths[HTH_MAX_LORA]; // owned
    const char *lora[HTH_MAX_LORA]; // the same
    float lora_scale[HTH_MAX_LORA];
    hth_load_options load;
    hth_thread loader;
    bool has_loader;
    char load_error[512];
} server;

// What is known of an exchange from its head to its end.
typedef struct visit {
    hth_match match;
    uint64_t start_ns;
} visit;

// ---- a request

// The path without the prefix that a proxy puts before it.
static const char *own_path(const hth_server *s, const hth_exchange *x) {
    const char *path = hth_exchange_path(x), *prefix = s->config->prefix;
    const size_t n = strlen(prefix);
    const bool is_prefixed = n > 0 && strncmp(path, prefix, n) == 0 && (path[n] == '/' || path[n] == 0);
    return !is_prefixed ? path : path[n] ? path + n : "/";
}

static bool admit(hth_server *s, hth_exchange *x, visit *v, hth_fault *fault) {
    if (hth_exchange_method(x) == HTH_OPTIONS) {
        if (hth_access_preflight(s->access, x, fault)) hth_reply_text(x, 204, "text/plain", "");
        return fault->kind == HTH_FAULT_NONE;
    }
    const hth_route *r = hth_route_find(x, own_path(s, x), &v->match, fault);
    // Who may not come learns nothing about what there is.
    hth_fault no = {0};
    if (!hth_access_check(s->access, x, r ? r->flags : 0, &no)) {
        *fault = no;
        return false;
    }
    if (!r) return false;
    hth_exchange_set_route(x, r);
    if (r->flags & HTH_ROUTE_QUICK) hth_exchange_be_quick(x);
    return true;
}

static uint64_t on_head(void *user, hth_exchange *x) {
    hth_server *s = user;
    hth_fault fault = {0};
    visit *v = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *v);
    if (!v) {
        (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
        hth_reply_fault(x, &fault);
        return 0;
    }
    v->start_ns = hth_clock_ns();
    hth_exchange_set_visit(x, v);
    if (!admit(s, x, v, &fault)) hth_reply_fault(x, &fault);
    const bool has_body = hth_exchange_method(x) & (HTH_POST | HTH_PUT | HTH_PATCH);
    return has_body ? s->config->max_body_bytes : SMALL_BODY;
}

static const char *method_name(hth_method m) {
    switch (m) {
    case HTH_GET: return "GET";
    case HTH_POST: return "POST";
    case HTH_PUT: return "PUT";
    case HTH_PATCH: return "PATCH";
    case HTH_DELETE: return "DELETE";
    case HTH_HEAD: return "HEAD";
    case HTH_OPTIONS: return "OPTIONS";
    default: return "?";
    }
}

static void on_request(void *user, hth_exchange *x) {
    hth_server *s = user;
    const visit *v = hth_exchange_visit(x);
    size_t n;
    const char *body = hth_exchange_body(x, &n);
    if (n > 0 && hth_logger_wants_bodies(s->logger) && !(hth_exchange_route(x)->flags & HTH_ROUTE_BLOB)) {
        hth_logger_body(s->logger, method_name(hth_exchange_method(x)), hth_exchange_path(x), body, n);
    }
    hth_exchange_route(x)->handle(s, x, &v->match);
}

static void on_fault(void *user, hth_exchange *x, const hth_fault *fault) {
    const hth_server *s = user;
    const hth_route *r = hth_exchange_route(x);
    const hth_dialect *d = r && r->dialect ? r->dialect : hth_route_dialect(own_path(s, x));
    const int status = hth_fault_status(fault->kind);
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, 65536);
    d->write_fault(fault, status, &body);
    hth_reply(x, status, "application/json; charset=utf-8", &body);
    hth_str_free(&body);
}

static void on_end(void *user, hth_exchange *x, int status) {
    const hth_server *s = user;
    const visit *v = hth_exchange_visit(x);
    const hth_route *r = hth_exchange_route(x);
    const hth_who *who = hth_exchange_who(x);
    const uint64_t elapsed_ns = v ? hth_clock_ns() - v->start_ns : 0;
    hth_metrics_exchange(s->metrics, r && r->dialect ? r->dialect->name : NULL, status, elapsed_ns);
    hth_logger_access(s->logger, &(hth_access_line){.method = method_name(hth_exchange_method(x)),
                                                    .path = hth_exchange_path(x),
                                                    .address = who ? who->address : hth_exchange_peer(x),
                                                    .key = who ? who->name : NULL,
                                                    .status = status,
                                                    .elapsed_ns = elapsed_ns});
    hth_access_leave(x);
}

// ---- starting

static hth_code open_template(server *v, const hth_config *c, hth_err *err) {
    size_t n;
    if (c->chat_template_file) {
        HTH_TRY(hth_file_read(c->chat_template_file, HTH_MEM_SERVER, MAX_TEMPLATE_BYTES, &v->template_text,
                              &n, err));
        v->load.chat_text = v->template_text;
    } else if (c->chat_template && hth_chat_classic_find(c->chat_template)) {
        v->load.chat_name = c->chat_template;
    } else {
        v->load.chat_text = c->chat_template;
    }
    return HTH_OK;
}

// "FILE" or "FILE:SCALE".
static hth_code add_adapter(server *v, const char *text, bool is_idle, hth_err *err) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    const double scale = colon ? strtod(colon + 1, &end) : 1;
    const bool has_scale = colon && end != colon + 1 && *end == 0;
    const size_t i = v->load.n_lora;
    if (i == HTH_MAX_LORA) return hth_fail(err, HTH_ERR_RANGE, "more than %d adapters", HTH_MAX_LORA);
    v->lora_paths[i] = hth_strndup(HTH_MEM_SERVER, text, has_scale ? (size_t)(colon - text) : strlen(text));
    if (!v->lora_paths[i]) return hth_fail_nomem(err, strlen(text));
    v->lora[i] = v->lora_paths[i];
    v->lora_scale[i] = is_idle ? 0 : has_scale ? (float)scale : 1;
    v->load.n_lora++;
    return HTH_OK;
}

static hth_code fill_load(server *v, const hth_config *c, hth_err *err) {
    const int64_t n_parallel = c->n_parallel > 0 ? c->n_parallel : DEFAULT_N_PARALLEL;
    v->load = (hth_load_options){.n_ctx = c->n_ctx,
                                 .k_type = c->k_type,
                                 .v_type = c->v_type,
                                 .activations = c->activations,
                                 .n_sequence = (int32_t)n_parallel,
                                 .n_queue = (int32_t)c->n_queue,
                                 .n_chunk = (int32_t)c->n_chunk,
                                 .no_cache = !c->cache,
                                 .no_map = !c->mmap || c->load_mode > 1,
                                 .cache_folder = c->cache_folder,
                                 .lora = v->lora,
                                 .lora_scale = v->lora_scale};
    for (size_t i = 0; i < c->lora.n; i++) HTH_TRY(add_adapter(v, c->lora.items[i], c->lora_idle, err));
    return open_template(v, c, err);
}

// Where created models are remembered; without a folder there are none.
static void open_state(server *v, const hth_config *c) {
    hth_str path;
    hth_err err;
    hth_str_init(&path, HTH_MEM_SERVER, 4096);
    if (hth_config_state_path(c, "", &path, &err) == HTH_OK)
        v->state_folder = hth_strndup(HTH_MEM_SERVER, path.p, path.len - 1);
    else
        hth_log(HTH_LOG_WARN, "models cannot be created: %s", err.msg);
    hth_str_free(&path);
}

static hth_code open_models(server *v, const hth_config *c, hth_err *err) {
    hth_offer offers[HTH_CONFIG_MAX_LIST] = {{0}};
    HTH_TRY(fill_load(v, c, err));
    open_state(v, c);
    for (size_t i = 0; i < c->models.n; i++) {
        offers[i] = (hth_offer){.path = c->models.items[i],
                                .alias = i < c->aliases.n ? c->aliases.items[i] : NULL,
                                .draft = i == 0 ? c->model_draft : NULL};
    }
    const hth_models_params p = {.n_thread = c->n_thread > 0 ? (int)c->n_thread : 0,
                                 .numa = c->numa == 1,
                                 .memory_bytes = c->memory_bytes,
                                 .max_loaded = (int32_t)c->n_model,
                                 .has_keep_alive = true,
                                 .keep_alive_ms = c->keep_alive_ms,
                                 .load = v->load,
                                 .offers = offers,
                                 .n_offer = c->models.n,
                                 .folders = &c->models_dir,
                                 .n_folder = c->models_dir != NULL,
                                 .state_folder = v->state_folder,
                                 // llama-server does not look at the name where it serves one model.
                                 .any_name = c->any_model ||
                                             (c->style == HTH_CONFIG_LLAMA_SERVER && !c->models_dir)};
    return hth_models_open(&p, &v->s.models, err);
}

static bool is_named(const hth_config *c, const hth_card *card) {
    for (size_t i = 0; i < c->models.n; i++) {
        if (strcmp(c->models.items[i], card->path) == 0) return true;
    }
    return false;
}

static void load_one(server *v, const char *name) {
    hth_use *use = NULL;
    hth_err err;
    if (hth_models_acquire(v->s.models, &(hth_acquire){.name = name}, &use, &err) == HTH_OK) {
        hth_models_release(v->s.models, use);
        return;
    }
    if (v->load_error[0] == 0) snprintf(v->load_error, sizeof v->load_error, "%s", err.msg);
    hth_log(HTH_LOG_ERROR, "%s", err.msg);
}

// Loads what the command line names, so that the first request does not wait.
static void *load_models(void *user) {
    server *v = user;
    const hth_card **cards;
    size_t n;
    hth_err err;
    if (hth_models_list(v->s.models, &cards, &n, &err) == HTH_OK) {
        for (size_t i = 0; i < n && !atomic_load(&v->s.is_stopping); i++) {
            if (is_named(v->s.config, cards[i])) load_one(v, cards[i]->name);
        }
        hth_cards_free(cards, n);
    }
    atomic_store(&v->s.is_loading, false);
    return NULL;
}

static hth_code listen_now(server *v, const hth_config *c, hth_err *err) {
    char address[64];
    HTH_TRY(hth_address_of_host(c->host, address, err));
    const hth_http_params p = {
        .address = address,
        .port = (uint16_t)c->port,
        .tls_certificate = v->tls.certificate,
        .tls_key = v->tls.key,
        .limits = {.n_connection = (uint32_t)c->n_connection,
                   .body_bytes = c->max_body_bytes,
                   .body_s = c->read_timeout_ms > 0 ? (uint32_t)((c->read_timeout_ms + 999) / 1000) : 0,
                   .unread_s = c->write_timeout_ms > 0 ? (uint32_t)((c->write_timeout_ms + 999) / 1000) : 0},
        .n_thread = c->n_http_thread > 0 ? (int)c->n_http_thread : 1,
        .on_head = on_head,
        .on_request = on_request,
        .on_fault = on_fault,
        .on_end = on_end,
        .user = &v->s};
    char holder[200];
    hth_code code = hth_http_start(&p, &v->s.http, err);
    if (code != HTH_ERR_BUSY || !hth_port_holder((int)c->port, holder, sizeof holder)) return code;
    return hth_fail(err, code, "port %lld of %s is taken by %s", (long long)c->port, c->host, holder);
}

hth_code hth_server_start(const hth_config *c, int log_fd, hth_str *notes, hth_server **out, hth_err *err) {
    server *v = hth_calloc(HTH_MEM_SERVER, 1, sizeof *v);
    if (!v) return hth_fail_nomem(err, sizeof *v);
    hth_server *s = &v->s;
    s->config = c;
    s->start_ns = hth_clock_ns();
    s->start_unix = (int64_t)time(NULL);
    s->allow_scripts = getenv("HEARTH_TEST_SCRIPTS") != NULL;
    atomic_store(&s->is_loading, c->models.n > 0);
    s->metrics = hth_metrics_new();
    s->slots = hth_llama_slots_new();
    s->calls = hth_calls_new();
    hth_code code = s->metrics && s->calls ? hth_logger_new(c, log_fd, &s->logger, err) : hth_fail_nomem(err, 0);
    if (code == HTH_OK) code = hth_grammar_cache_new(N_GRAMMAR, GRAMMAR_BYTES, &s->grammars, err);
    if (code == HTH_OK) code = hth_access_new(c, notes, &s->access, err);
    if (code == HTH_OK) code = hth_tls_load(c, notes, &v->tls, err);
    if (code == HTH_OK) code = open_models(v, c, err);
    if (code == HTH_OK) {
        s->store = hth_store_new(c);
        code = s->store ? hth_responses_new(s, &s->responses, err) : hth_fail_nomem(err, 0);
    }
    if (code == HTH_OK) code = listen_now(v, c, err);
    if (code == HTH_OK && c->models.n > 0) {
        code = hth_thread_start(&v->loader, load_models, v, err);
        v->has_loader = code == HTH_OK;
    }
    if (code == HTH_OK)
        *out = s;
    else
        hth_server_stop(s, NULL);
    return code;
}

const char *hth_server_load_error(const hth_server *s) {
    return ((const server *)(const void *)s)->load_error;
}

// ---- stopping

static void drain(hth_server *s, bool (*hurry)(void)) {
    hth_mutex lock;
    hth_cond never;
    hth_err err;
    const uint64_t until =
        hth_clock_ns() + (uint64_t)(s->config->drain_ms > 0 ? s->config->drain_ms : 0) * 1000000;
    hth_http_refuse_new(s->http);
    if (hth_mutex_init(&lock, &err) != HTH_OK) return;
    if (hth_cond_init(&never, &err) == HTH_OK) {
        hth_lock(&lock);
        while (hth_http_n_exchange(s->http) > 0 && hth_clock_ns() < until && !(hurry && hurry())) {
            hth_cond_wait_until(&never, &lock, hth_clock_ns() + 20000000);
        }
        hth_unlock(&lock);
        hth_cond_destroy(&never);
    }
    hth_mutex_destroy(&lock);
}

void hth_server_stop(hth_server *s, bool (*hurry)(void)) {
    if (!s) return;
    server *v = (server *)s;
    atomic_store(&s->is_stopping, true);
    if (s->http) drain(s, hurry);
    hth_http_stop(s->http);
    if (v->has_loader) hth_thread_join(&v->loader);
    hth_responses_free(s->responses);
    hth_store_free(s->store);
    hth_models_close(s->models);
    hth_access_free(s->access);
    hth_tls_free(&v->tls);
    hth_grammar_cache_free(s->grammars);
    hth_metrics_free(s->metrics);
    hth_llama_slots_free(s->slots);
    hth_calls_free(s->calls);
    hth_logger_free(s->logger);
    hth_free(v->state_folder);
    hth_free(v->template_text);
    for (size_t i = 0; i < v->load.n_lora; i++) hth_free(v->lora_paths[i]);
    hth_free(v);
}
