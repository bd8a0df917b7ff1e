// The life of a call: its model, its requests, its end. See call.h.
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "os/clock.h"
#include "server/call_impl.h"
#include "server/defaults.h"
#include "server/options.h"

#define MAX_ARENA ((uint64_t)1 << 30)

uint64_t call_random(void) {
    uint64_t bits = hth_clock_ns();
    (void)gnutls_rnd(GNUTLS_RND_NONCE, &bits, sizeof bits); // where there is none, the clock has to do
    return bits >> 1;
}

void hth_call_new_id(const char *prefix, char out[HTH_CALL_ID]) {
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t random[24];
    size_t n = strlen(prefix);
    if (n > HTH_CALL_ID - 25) n = HTH_CALL_ID - 25;
    memcpy(out, prefix, n);
    if (gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random) < 0) {
        const uint64_t now = hth_clock_ns();
        for (size_t i = 0; i < sizeof random; i++) random[i] = (uint8_t)(now >> (i % 8 * 8));
    }
    for (size_t i = 0; i < sizeof random; i++) out[n + i] = letters[random[i] % 62];
    out[n + sizeof random] = 0;
}

void hth_call_take_script(hth_server *s, hth_exchange *x, hth_ask *a) {
    const char *script = s->allow_scripts ? hth_exchange_header(x, "X-Hearth-Script") : NULL;
    const char *text = script ? hth_exchange_unescape(x, script, strlen(script)) : NULL;
    if (text) a->script = hth_chat_text_of(text);
    const char *format = text ? hth_exchange_header(x, "X-Hearth-Script-Format") : NULL;
    if (format) a->script_format = hth_chat_text_of(format);
}

const hth_sampler_params *hth_call_sampling(const hth_call *c) {
    return &c->sampling;
}

// ---- memory

static void free_choice(call_choice *x) {
    hth_chat_output_free(x->parser);
    hth_str_free(&x->id);
    hth_str_free(&x->name);
    hth_str_free(&x->arguments);
}

// The engine still works for requests that were cancelled: what its callbacks use goes with the last of them.
static void unhold(hth_call *c) {
    if (atomic_fetch_sub(&c->n_hold, 1) != 1) return;
    call_free_grammar(c);
    for (size_t i = 0; c->jobs && i < c->n_job; i++) hth_chat_budget_free(c->jobs[i].budget);
    for (size_t i = 0; c->choices && i < c->n_job * (size_t)c->n_completion; i++) free_choice(&c->choices[i]);
    hth_free(c->choices);
    hth_free(c->jobs);
    hth_json_free(c->tools_doc);
    hth_arena_free(&c->arena);
    if (c->x) hth_exchange_drop(c->x);
    hth_mutex_destroy(&c->lock);
    hth_free(c);
}

void call_release(hth_call *c) {
    hth_use *use = c->use;
    c->use = NULL;
    hth_models_release(c->s->models, use);
}

void hth_call_cancel(hth_call *c) {
    atomic_store(&c->is_cancelled, true);
    hth_lock(&c->lock);
    for (size_t i = 0; i < c->n_submitted; i++) {
        if (c->jobs[i].request) hth_request_cancel(c->jobs[i].request);
    }
    hth_unlock(&c->lock);
}

void hth_call_drop(hth_call *c) {
    if (!c) return;
    call_delist(c);
    for (size_t i = 0; i < c->n_submitted; i++) {
        hth_request *r = c->jobs[i].request;
        hth_lock(&c->lock);
        c->jobs[i].request = NULL;
        hth_unlock(&c->lock);
        hth_request_free(r);
    }
    call_release(c);
    unhold(c);
}

// ---- requests

static void wake(hth_call *c) {
    if (c->x)
        hth_exchange_wake(c->x);
    else if (c->on_more)
        c->on_more(c->more_user);
}

// Called by the engine's threads, and by who cancels.
static void on_more(void *user, bool is_last) {
    hth_call *c = ((const call_job *)user)->call;
    if (is_last || !c->wakes_at_end) wake(c);
    if (is_last) unhold(c);
}

// The parameter at fault in the words of the dialect.
static void rename_parameter(const hth_call *c, const hth_refusal *why, hth_fault *fault) {
    const char *name = why->parameter;
    if (!name) return;
    if (strcmp(name, "segments") == 0)
        name = c->ask->kind == HTH_ASK_CHAT ? CALL_NAME(c, messages) : CALL_NAME(c, prompt);
    else if (strcmp(name, "max_tokens") == 0)
        name = CALL_NAME(c, max_tokens);
    else if (strcmp(name, "n") == 0)
        name = CALL_NAME(c, n);
    else if (strcmp(name, "task") == 0 || strcmp(name, "pooling") == 0)
        name = "model";
    snprintf(fault->param, sizeof fault->param, "%s", name);
}

bool call_submit_next(hth_call *c, hth_fault *fault) {
    const size_t i = c->n_submitted;
    hth_request_params p;
    hth_request *r;
    hth_refusal why;
    hth_err err;
    if (!call_segments(c, i, &c->params.segments, &c->params.n_segment, fault)) return false;
    p = c->params;
    p.user = &c->jobs[i];
    p.on_more = on_more;
    if (!call_make_guides(c, i, &p, fault) || !call_make_budget(c, i, fault)) return false;
    call_force(c, i, &p);
    atomic_fetch_add(&c->n_hold, 1);
    if (hth_request_submit(c->use->engine, &p, &r, &why, &err) != HTH_OK) {
        unhold(c);
        (void)hth_refuse_err(fault, &err, &why);
        rename_parameter(c, &why, fault);
        return false;
    }
    hth_lock(&c->lock);
    c->jobs[i].request = r;
    c->n_submitted++;
    hth_unlock(&c->lock);
    if (atomic_load(&c->is_cancelled)) hth_request_cancel(r);
    return true;
}

// ---- starting

static bool keep_waiting(void *user, int64_t done, int64_t total) {
    const hth_call *c = user;
    (void)done, (void)total;
    if (atomic_load(&c->s->is_stopping) || atomic_load(&c->is_cancelled)) return false;
    return !c->x || !atomic_load(hth_exchange_gone(c->x));
}

// What a created model and the server add to the request: an ask of the call's own.
static bool lay_defaults(hth_call *c, hth_fault *fault) {
    const hth_preset *p = &c->use->card->preset;
    hth_ask *own = hth_arena_alloc(&c->arena, 1, sizeof *own);
    if (!own) return call_no_memory(fault);
    *own = *c->ask;
    c->ask = own;
    if ((p->system || p->options_json || p->messages_json) && !hth_preset_lay(p, &c->arena, own, fault)) return false;
    return hth_defaults_lay(c->s->config, &c->arena, own, fault);
}

static bool find_model(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_err err;
    hth_acquire p = {.name = a->model.p, .on_wait = keep_waiting, .user = c};
    if (c->s->config->load_timeout_ms > 0) p.deadline_ms = c->s->config->load_timeout_ms;
    if (a->keep_alive_ms != HTH_KEEP_ALIVE_UNSET) {
        p.has_keep_alive = true;
        p.keep_alive_ms = a->keep_alive_ms == HTH_KEEP_ALIVE_FOREVER ? -1 : a->keep_alive_ms;
    }
    if (hth_models_acquire(c->s->models, &p, &c->use, &err) == HTH_OK) {
        // No model is loaded anew for a larger context: a client that wants one is told.
        if (c->x && a->n_ctx > hth_engine_n_ctx(c->use->engine)) hth_reply_header(c->x, "X-Hearth-Ignored", "num_ctx");
        return lay_defaults(c, fault);
    }
    (void)hth_refuse_err(fault, &err, NULL);
    if (fault->kind == HTH_FAULT_NO_MODEL) snprintf(fault->param, sizeof fault->param, "model");
    if (err.code == HTH_ERR_LIMIT) fault->kind = HTH_FAULT_NO_MEMORY;
    return false;
}

static hth_call *new_call(hth_server *s, hth_exchange *x, const hth_ask *a) {
    hth_err err;
    hth_call *c = hth_calloc(HTH_MEM_SERVER, 1, sizeof *c);
    if (!c) return NULL;
    if (hth_mutex_init(&c->lock, &err) != HTH_OK) {
        hth_free(c);
        return NULL;
    }
    atomic_init(&c->n_hold, 1);
    c->s = s;
    c->ask = a;
    c->x = x;
    if (x) hth_exchange_hold(x);
    hth_arena_init(&c->arena, HTH_MEM_SERVER, MAX_ARENA);
    c->start_ns = hth_clock_ns();
    c->created = (int64_t)time(NULL);
    return c;
}

hth_chat_output_params call_answers(hth_call *c) {
    return (hth_chat_output_params){.format = c->format,
                                    .begins = c->begins,
                                    .tools = c->tools.n > 0 ? &c->tools : NULL,
                                    .raw_reasoning = c->ask->thinking_in_content,
                                    .tokenizer = c->use->tokenizer,
                                    .seed = call_random(),
                                    .sink = call_take_delta,
                                    .user = c};
}

static bool make_parsers(hth_call *c, hth_fault *fault) {
    const hth_chat_output_params p = call_answers(c);
    hth_err err;
    for (size_t i = 0; c->format && i < c->n_job * (size_t)c->n_completion; i++) {
        hth_chat_output_params own = p;
        own.seed += i;
        if (hth_chat_output_new(&own, &c->choices[i].parser, &err) != HTH_OK)
            return hth_refuse_err(fault, &err, NULL);
    }
    return true;
}

static bool make_jobs(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    c->n_job = a->kind == HTH_ASK_CHAT ? 1 : a->n_prompt;
    c->n_completion = c->params.n;
    c->jobs = hth_calloc(HTH_MEM_SERVER, c->n_job + 1, sizeof *c->jobs);
    c->choices = hth_calloc(HTH_MEM_SERVER, c->n_job * (size_t)c->n_completion + 1, sizeof *c->choices);
    if (!c->jobs || !c->choices) return call_no_memory(fault);
    for (size_t i = 0; i < c->n_job; i++) c->jobs[i].call = c;
    for (size_t i = 0; i < c->n_job * (size_t)c->n_completion; i++) {
        hth_str_init(&c->choices[i].id, HTH_MEM_SERVER, 4096);
        hth_str_init(&c->choices[i].name, HTH_MEM_SERVER, 65536);
        hth_str_init(&c->choices[i].arguments, HTH_MEM_SERVER, (size_t)1 << 16);
    }
    return make_parsers(c, fault);
}

static bool start(hth_call *c, hth_fault *fault) {
    if (!find_model(c, fault)) return false;
    c->usage.load_ns = c->use->load_ns;
    if (!call_prepare(c, fault) || !make_jobs(c, fault)) return false;
    for (size_t i = 0; i < c->n_job && i < CALL_MAX_AT_WORK; i++) {
        if (call_submit_next(c, fault)) continue;
        if (i == 0 || fault->kind != HTH_FAULT_BUSY) return false;
        *fault = (hth_fault){0}; // the rest is submitted as the first end
        break;
    }
    return true;
}

bool hth_call_start(hth_server *s, hth_exchange *x, const hth_ask *a, hth_call **out, hth_fault *fault) {
    hth_call *c = new_call(s, x, a);
    if (!c) return call_no_memory(fault);
    c->wakes_at_end = !a->stream;
    if (start(c, fault)) {
        *out = c;
        return true;
    }
    hth_call_cancel(c);
    hth_call_drop(c);
    return false;
}

bool hth_call_start_detached(hth_server *s, const hth_ask *a, void (*more)(void *user), void *user,
                             hth_call **out, hth_fault *fault) {
    hth_call *c = new_call(s, NULL, a);
    if (!c) return call_no_memory(fault);
    c->on_more = more;
    c->more_user = user;
    if (start(c, fault)) {
        *out = c;
        return true;
    }
    hth_call_cancel(c);
    hth_call_drop(c);
    return false;
}

// ---- without computing

bool hth_call_render(hth_server *s, hth_exchange *x, const hth_ask *a, hth_str *out, hth_fault *fault) {
    hth_call *c = new_call(s, x, a);
    hth_jinja_text text = {0};
    if (!c) return call_no_memory(fault);
    const bool ok = find_model(c, fault) && call_render(c, &text, fault);
    for (size_t i = 0; ok && i < text.n; i++) hth_str_append(out, text.segments[i].text, text.segments[i].n);
    hth_jinja_text_free(&text);
    hth_call_drop(c);
    return ok;
}

static bool count(hth_call *c, int64_t *n_token, hth_fault *fault) {
    hth_jinja_text text = {0};
    hth_token_list ids = {0};
    hth_err err;
    bool ok = find_model(c, fault) && call_render(c, &text, fault);
    if (ok && !c->use->tokenizer)
        ok = hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "model", "the model carries no tokenizer");
    if (ok && hth_chat_text_ids(c->use->chat, c->use->tokenizer, &text, &ids, &err) != HTH_OK)
        ok = hth_refuse_err(fault, &err, NULL);
    *n_token = (int64_t)ids.n;
    hth_token_list_free(&ids);
    hth_jinja_text_free(&text);
    return ok;
}

bool hth_call_count(hth_server *s, hth_exchange *x, const hth_ask *a, int64_t *n_token, hth_fault *fault) {
    hth_call *c = new_call(s, x, a);
    if (!c) return call_no_memory(fault);
    const bool ok = count(c, n_token, fault);
    hth_call_drop(c);
    return ok;
}
