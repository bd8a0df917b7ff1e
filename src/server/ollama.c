// Ollama's API: its routes, its errors, and what is answered without computing.
#include "server/ollama.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "os/clock.h"
#include "server/body.h"
#include "server/dialects.h"

// ---- words

static void write_fault(const hth_fault *fault, int status, hth_str *out) {
    (void)status;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "error", fault->message);
    hth_json_out_end(&j, '}');
}

const hth_dialect hth_ollama = {.name = "ollama", .write_fault = write_fault};

void ollama_refuse(hth_exchange *x, const hth_fault *fault) {
    hth_reply_fault(x, fault);
}

void ollama_reply_json(hth_exchange *x, int status, hth_str *body) {
    hth_reply(x, status, OLLAMA_JSON, body);
}

void ollama_time(int64_t unix_ns, char out[OLLAMA_TIME]) {
    const time_t s = (time_t)(unix_ns / 1000000000);
    struct tm t;
    if (!gmtime_r(&s, &t)) t = (struct tm){.tm_year = 70, .tm_mday = 1};
    snprintf(out, OLLAMA_TIME, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", (t.tm_year + 1900) % 10000,
             t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)(unix_ns % 1000000000));
}

// ---- models

void ollama_abilities(hth_json_out *j, const char *key, unsigned abilities) {
    static const struct {
        unsigned bit;
        const char *word;
    } rows[] = {{HTH_CAN_COMPLETE, "completion"}, {HTH_CAN_TOOLS, "tools"},     {HTH_CAN_INFILL, "insert"},
                {HTH_CAN_THINK, "thinking"},      {HTH_CAN_EMBED, "embedding"}, {HTH_CAN_RERANK, "rerank"}};
    hth_json_out_begin(j, key, '[');
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (abilities & rows[i].bit) hth_json_out_text(j, NULL, rows[i].word);
    }
    hth_json_out_end(j, ']');
}

void ollama_details(hth_json_out *j, const hth_card *c) {
    hth_json_out_begin(j, "details", '{');
    hth_json_out_text(j, "parent_model", c->parent);
    hth_json_out_text(j, "format", strcmp(c->container, "mlx") == 0 ? "safetensors" : c->container);
    hth_json_out_text(j, "family", c->family);
    hth_json_out_begin(j, "families", '[');
    hth_json_out_text(j, NULL, c->family);
    hth_json_out_end(j, ']');
    hth_json_out_text(j, "parameter_size", c->parameter_size);
    hth_json_out_text(j, "quantization_level", c->quantization);
    hth_json_out_int(j, "context_length", c->n_ctx_train);
    hth_json_out_int(j, "embedding_length", c->n_embed);
    hth_json_out_end(j, '}');
}

static void put_names(hth_json_out *j, const hth_card *c) {
    hth_json_out_text(j, "name", c->name);
    hth_json_out_text(j, "model", c->name);
}

static void put_card(hth_json_out *j, const hth_card *c) {
    char when[OLLAMA_TIME];
    ollama_time(c->modified_s * 1000000000, when);
    hth_json_out_begin(j, NULL, '{');
    put_names(j, c);
    hth_json_out_text(j, "modified_at", when);
    hth_json_out_int(j, "size", (int64_t)c->size_bytes);
    hth_json_out_text(j, "digest", c->digest);
    ollama_details(j, c);
    ollama_abilities(j, "capabilities", c->abilities);
    hth_json_out_end(j, '}');
}

bool ollama_find(hth_server *s, hth_chat_text name, const hth_card **out, hth_fault *fault) {
    hth_err err;
    *out = NULL;
    if (!name.p || name.n == 0) return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "model", "model is required");
    if (hth_models_find(s->models, name.p, out, &err) == HTH_OK) return true;
    return hth_refuse_err(fault, &err, NULL);
}

static void reply_list(hth_exchange *x, void (*put)(hth_json_out *j, const void *list, size_t i),
                       const void *list, size_t n) {
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_begin(&j, "models", '[');
    for (size_t i = 0; i < n; i++) put(&j, list, i);
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    ollama_reply_json(x, 200, &body);
}

static void put_listed(hth_json_out *j, const void *list, size_t i) {
    put_card(j, ((const hth_card *const *)list)[i]);
}

static void refuse_err(hth_exchange *x, const hth_err *err) {
    hth_fault fault = {0};
    (void)hth_refuse_err(&fault, err, NULL);
    ollama_refuse(x, &fault);
}

static void tags(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    const hth_card **list;
    size_t n;
    hth_err err;
    if (hth_models_list(s->models, &list, &n, &err) != HTH_OK) {
        refuse_err(x, &err);
        return;
    }
    reply_list(x, put_listed, list, n);
    hth_cards_free(list, n);
}

// Without end: far enough from now for every client's calendar.
#define FOREVER_NS ((int64_t)100 * 365 * 24 * 3600 * 1000000000)

static void put_loaded(hth_json_out *j, const void *list, size_t i) {
    const hth_loaded_info *info = (const hth_loaded_info *)list + i;
    char until[OLLAMA_TIME];
    const int64_t from_now = info->expires_ms < 0 || info->expires_ms > FOREVER_NS / 1000000
                               ? FOREVER_NS
                               : info->expires_ms * 1000000;
    ollama_time(hth_clock_unix_ns() + from_now, until);
    hth_json_out_begin(j, NULL, '{');
    put_names(j, info->card);
    hth_json_out_int(j, "size", (int64_t)info->used_bytes);
    hth_json_out_text(j, "digest", info->card->digest);
    ollama_details(j, info->card);
    hth_json_out_text(j, "expires_at", until);
    hth_json_out_int(j, "size_vram", 0);
    hth_json_out_int(j, "context_length", info->n_ctx);
    hth_json_out_end(j, '}');
}

static void ps(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_loaded_info *list;
    size_t n, n_ready = 0;
    hth_err err;
    if (hth_models_loaded(s->models, &list, &n, &err) != HTH_OK) {
        refuse_err(x, &err);
        return;
    }
    for (size_t i = 0; i < n; i++) { // those that are there, in front
        if (list[i].phase != HTH_LOAD_READY && list[i].phase != HTH_LOAD_DRAINING) continue;
        const hth_loaded_info ready = list[i];
        list[i] = list[n_ready];
        list[n_ready++] = ready;
    }
    reply_list(x, put_loaded, list, n_ready);
    hth_loaded_free(list, n);
}

// The client has not left.
static bool is_waited_for(void *user, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    return !atomic_load(hth_exchange_gone(user));
}

static bool acquire(hth_server *s, hth_exchange *x, const hth_ask *ask, hth_use **out, hth_fault *fault) {
    hth_err err;
    hth_acquire p = {.name = ask->model.p, .on_wait = is_waited_for, .user = x};
    if (ask->keep_alive_ms != HTH_KEEP_ALIVE_UNSET) {
        p.has_keep_alive = true;
        p.keep_alive_ms = ask->keep_alive_ms == HTH_KEEP_ALIVE_FOREVER ? -1 : ask->keep_alive_ms;
    }
    if (hth_models_acquire(s->models, &p, out, &err) == HTH_OK) return true;
    (void)hth_refuse_err(fault, &err, NULL);
    if (err.code == HTH_ERR_LIMIT) fault->kind = HTH_FAULT_NO_MEMORY;
    return false;
}

bool ollama_load(hth_server *s, hth_exchange *x, const hth_ask *ask, uint64_t *load_ns, hth_fault *fault) {
    hth_use *use;
    if (!acquire(s, x, ask, &use, fault)) return false;
    *load_ns = use->load_ns;
    hth_models_release(s->models, use);
    return true;
}

void ollama_unload(hth_server *s, const char *name) {
    hth_err none; // it need not be loaded
    (void)!hth_models_unload(s->models, name, false, &none);
}

// ---- small answers

static void root(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s;
    (void)m;
    hth_reply_text(x, 200, "text/plain; charset=utf-8", "Ollama is running");
}

static void version(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s;
    (void)m;
    hth_reply_text(x, 200, OLLAMA_JSON, "{\"version\":\"" OLLAMA_VERSION "\"}");
}

static void status(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s;
    (void)m;
    hth_reply_text(x, 200, OLLAMA_JSON, "{\"cloud\":{\"disabled\":true,\"source\":\"config\"}}");
}

static void no_library(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s;
    (void)m;
    hth_fault fault = {0};
    (void)hth_refuse(
        &fault, HTH_FAULT_NOT_OFFERED, NULL,
        "this server does not download or upload models: give it files or folders when it is started, "
        "or create a model from a blob");
    ollama_refuse(x, &fault);
}

static void no_account(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s;
    (void)m;
    hth_fault fault = {0};
    (void)hth_refuse(&fault, HTH_FAULT_NOT_OFFERED, NULL, "this server knows no accounts");
    ollama_refuse(x, &fault);
}

// A browser gets the page; who does not ask for HTML is a client that looks whether Ollama is there.
static bool wants_no_page(const hth_exchange *x) {
    const char *accept = hth_exchange_header(x, "Accept");
    return !accept || !strstr(accept, "text/html");
}

#define ROUTE(methods_, pattern_, handle_, flags_) \
    { .methods = methods_, .pattern = pattern_, .dialect = &hth_ollama, .handle = handle_, .flags = flags_ }

const hth_route hth_ollama_routes[] = {
    {.methods = HTH_GET,
     .pattern = "/",
     .dialect = &hth_ollama,
     .handle = root,
     .flags = HTH_ROUTE_PUBLIC | HTH_ROUTE_QUICK,
     .when = wants_no_page},
    ROUTE(HTH_GET, "/api/version", version, HTH_ROUTE_QUICK),
    ROUTE(HTH_GET, "/api/status", status, HTH_ROUTE_QUICK),
    ROUTE(HTH_GET, "/api/tags", tags, 0),
    ROUTE(HTH_GET, "/api/ps", ps, 0),
    ROUTE(HTH_POST, "/api/show", ollama_show, 0),
    ROUTE(HTH_POST, "/api/generate", ollama_generate, 0),
    ROUTE(HTH_POST, "/api/chat", ollama_chat, 0),
    ROUTE(HTH_POST, "/api/embed", ollama_embed, 0),
    ROUTE(HTH_POST, "/api/embeddings", ollama_embeddings, 0),
    ROUTE(HTH_POST, "/api/create", ollama_create, HTH_ROUTE_ADMIN),
    ROUTE(HTH_POST, "/api/copy", ollama_copy, HTH_ROUTE_ADMIN),
    ROUTE(HTH_DELETE, "/api/delete", ollama_delete, HTH_ROUTE_ADMIN),
    ROUTE(HTH_HEAD, "/api/blobs/{digest}", ollama_blob_has, HTH_ROUTE_ADMIN),
    ROUTE(HTH_POST, "/api/blobs/{digest}", ollama_blob_put, HTH_ROUTE_ADMIN | HTH_ROUTE_BLOB),
    ROUTE(HTH_POST, "/api/pull", no_library, 0),
    ROUTE(HTH_POST, "/api/push", no_library, 0),
    ROUTE(HTH_POST, "/api/me", no_account, 0),
    ROUTE(HTH_POST, "/api/signout", no_account, 0),
    {0},
};
