// The routes of Anthropic's API: messages, counting their tokens, and models where a client says that it
// speaks it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_out.h"
#include "server/anthropic_impl.h"
#include "server/body.h"
#include "server/dialects.h"
#include "server/models.h"
#include "server/server.h"

#define MAX_REPLY ((size_t)64 << 20)

const hth_dialect hth_anthropic = {.name = "anthropic", .write_fault = anthropic_write_fault};

static void say_request_id(hth_exchange *x) {
    char id[HTH_CALL_ID];
    hth_call_new_id("req_", id);
    hth_reply_header(x, "request-id", id);
}

static void refuse(hth_exchange *x, const hth_fields *f, const hth_fault *fault) {
    hth_body_tell_ignored(x, f);
    hth_reply_fault(x, fault);
}

static void handle_messages(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fault fault = {0};
    hth_fields f;
    const hth_json *root;
    say_request_id(x);
    if (!hth_body_read(x, &f, &root, &fault)) {
        hth_reply_fault(x, &fault);
        return;
    }
    anthropic_request *r = hth_arena_alloc(f.arena, 1, sizeof *r);
    anthropic_reply *reply = hth_arena_alloc(f.arena, 1, sizeof *reply);
    if (!r || !reply) (void)hth_fields_no_memory(&f);
    if (!r || !reply || !anthropic_read(&f, root, false, r)) {
        refuse(x, &f, &fault);
        return;
    }
    hth_call_new_id("msg_", reply->id);
    reply->omits_thoughts = r->omits_thoughts;
    reply->arena = f.arena;
    hth_call_take_script(s, x, &r->ask);
    hth_call_serve(s, x, &r->ask, f.ignored, &anthropic_printer, reply);
}

static void handle_count(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fault fault = {0};
    hth_fields f;
    const hth_json *root;
    hth_str out;
    int64_t n = 0;
    say_request_id(x);
    if (!hth_body_read(x, &f, &root, &fault)) {
        hth_reply_fault(x, &fault);
        return;
    }
    anthropic_request *r = hth_arena_alloc(f.arena, 1, sizeof *r);
    if (!r) (void)hth_fields_no_memory(&f);
    if (!r || !anthropic_read(&f, root, true, r) || !hth_call_count(s, x, &r->ask, &n, &fault)) {
        refuse(x, &f, &fault);
        return;
    }
    hth_body_tell_ignored(x, &f);
    hth_str_init(&out, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out j = hth_json_out_make(&out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "input_tokens", n);
    hth_json_out_end(&j, '}');
    hth_reply(x, 200, "application/json", &out);
}

// --- models ---

static void write_model(hth_json_out *j, const hth_card *c) {
    char created[32];
    struct tm utc;
    const time_t t = (time_t)c->modified_s;
    (void)gmtime_r(&t, &utc);
    (void)strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "type", "model");
    hth_json_out_text(j, "id", c->name);
    hth_json_out_text(j, "display_name", c->name);
    hth_json_out_text(j, "created_at", created);
    hth_json_out_text(j, "lifecycle", "active");
    hth_json_out_int(j, "max_input_tokens", c->n_ctx_train);
    hth_json_out_int(j, "max_tokens", c->n_ctx_train);
    hth_json_out_end(j, '}');
}

static size_t place_of(const hth_card *const *cards, size_t n, const char *name) {
    size_t i = 0;
    while (i < n && strcmp(cards[i]->name, name) != 0) i++;
    return i;
}

// A page of the list: `limit` models after after_id, or before before_id.
static void write_models(hth_exchange *x, const hth_card *const *cards, size_t n, hth_json_out *j) {
    const char *limit_text = hth_exchange_query(x, "limit"), *after = hth_exchange_query(x, "after_id"),
               *before = hth_exchange_query(x, "before_id");
    const long given = limit_text ? strtol(limit_text, NULL, 10) : 20;
    const size_t limit = given < 1 ? 1 : given > 1000 ? 1000 : (size_t)given;
    size_t first = 0, end = n;
    if (after && *after) {
        const size_t at = place_of(cards, n, after);
        first = at < n ? at + 1 : n;
    }
    if (before && *before) {
        end = place_of(cards, n, before);
        first = end > limit ? end - limit : 0;
    }
    const bool has_more = before && *before ? first > 0 : end - first > limit;
    if (end - first > limit) end = first + limit;
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_begin(j, "data", '[');
    for (size_t i = first; i < end; i++) write_model(j, cards[i]);
    hth_json_out_end(j, ']');
    hth_json_out_bool(j, "has_more", has_more);
    hth_json_out_text(j, "first_id", first < end ? cards[first]->name : NULL);
    hth_json_out_text(j, "last_id", first < end ? cards[end - 1]->name : NULL);
    hth_json_out_end(j, '}');
}

static void handle_models(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    const hth_card **cards;
    size_t n;
    hth_fault fault = {0};
    hth_err err;
    hth_str out;
    if (hth_models_list(s->models, &cards, &n, &err) != HTH_OK) {
        (void)hth_refuse_err(&fault, &err, NULL);
        hth_reply_fault(x, &fault);
        return;
    }
    hth_str_init(&out, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out j = hth_json_out_make(&out, false);
    write_models(x, cards, n, &j);
    hth_cards_free(cards, n);
    hth_reply(x, 200, "application/json", &out);
}

static void handle_model(hth_server *s, hth_exchange *x, const hth_match *m) {
    const hth_card *card;
    hth_fault fault = {0};
    hth_err err;
    hth_str out;
    if (hth_models_find(s->models, m->captures[0], &card, &err) != HTH_OK) {
        if (err.code == HTH_ERR_NOTFOUND)
            (void)hth_refuse(&fault, HTH_FAULT_NO_MODEL, "model", "%s", err.msg);
        else
            (void)hth_refuse_err(&fault, &err, NULL);
        hth_reply_fault(x, &fault);
        return;
    }
    hth_str_init(&out, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out j = hth_json_out_make(&out, false);
    write_model(&j, card);
    hth_card_drop(card);
    hth_reply(x, 200, "application/json", &out);
}

// The paths of models are OpenAI's too; Anthropic's clients name the version of its API.
static bool is_anthropic_client(const hth_exchange *x) {
    return hth_exchange_header(x, "anthropic-version") != NULL;
}

const hth_route hth_anthropic_routes[] = {
    {HTH_POST, "/v1/messages", &hth_anthropic, handle_messages, 0, NULL},
    {HTH_POST, "/v1/messages/count_tokens", &hth_anthropic, handle_count, 0, NULL},
    {HTH_GET, "/v1/models", &hth_anthropic, handle_models, 0, is_anthropic_client},
    {HTH_GET, "/v1/models/{id...}", &hth_anthropic, handle_model, 0, is_anthropic_client},
    {0},
};
