// The routes of OpenAI's Responses: making one, and reading, ending or forgetting those that were stored.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "server/access.h"
#include "server/openai.h"
#include "server/responses_impl.h"
#include "server/store.h"

#define MAX_REPLY ((size_t)512 << 20)
#define MAX_CHAIN 1000 // responses that go on from each other
static const char *who_of(hth_exchange *x) {
    const hth_who *who = hth_exchange_who(x);
    return who ? who->name : "";
}

static void reply_json(hth_exchange *x, hth_str *body) {
    hth_reply(x, 200, "application/json", body);
    hth_str_free(body);
}

static void refuse(hth_exchange *x, hth_fault *fault, const hth_fields *f) {
    if (f) hth_body_tell_ignored(x, f);
    hth_reply_fault(x, fault);
}

// A stored response that cannot be had.
static void refuse_stored(hth_exchange *x, const hth_err *err) {
    hth_fault fault = {0};
    if (err->code == HTH_ERR_NOTFOUND)
        (void)hth_refuse(&fault, HTH_FAULT_NOT_FOUND, NULL, "%s", err->msg);
    else
        (void)hth_refuse_err(&fault, err, NULL);
    hth_reply_fault(x, &fault);
}

// --- the document: what came before, what is new, and the request ---

// The text between the brackets of an array in `text`.
static hth_chat_text inside(const char *text, size_t n, const hth_json *array) {
    if (!array || array->kind != HTH_JSON_ARRAY || array->n == 0) return (hth_chat_text){"", 0};
    return (hth_chat_text){text + array->pos + 1, hth_json_extent(text, n, array) - 2};
}

static void append_items(hth_str *to, hth_chat_text items) {
    if (items.n == 0) return;
    if (to->len > 0 && to->p[to->len - 1] != '[') hth_str_putc(to, ',');
    (void)hth_str_append(to, items.p, items.n);
}

// One stored response: what it was given, then what it answered.
static bool append_stored(const hth_stored_response *r, hth_str *to, size_t *n, hth_fault *fault) {
    hth_json_doc *input = NULL, *body = NULL;
    hth_err err;
    hth_code code =
        hth_json_parse(r->input, r->n_input, ((uint64_t)1 << 20) + 48 * (uint64_t)r->n_input, &input, &err);
    if (code == HTH_OK)
        code =
            hth_json_parse(r->body, r->n_body, ((uint64_t)1 << 20) + 48 * (uint64_t)r->n_body, &body, &err);
    if (code == HTH_OK) {
        const hth_json *output = hth_json_get(hth_json_root(body), "output");
        append_items(to, inside(r->input, r->n_input, hth_json_root(input)));
        append_items(to, inside(r->body, r->n_body, output));
        *n += hth_json_root(input)->n + (output && output->kind == HTH_JSON_ARRAY ? output->n : 0);
    }
    hth_json_free(input);
    hth_json_free(body);
    return code == HTH_OK || hth_refuse_err(fault, &err, NULL);
}

// The responses that the new one goes on from, the newest first; *n of them.
static bool load_chain(hth_responses *all, hth_exchange *x, const char *id, hth_stored_response *chain,
                       size_t *n, hth_fault *fault) {
    hth_err err;
    while (*id && *n < MAX_CHAIN) {
        responses_job *j = responses_job_find(all, who_of(x), id);
        hth_code code = HTH_OK;
        bool is_at_work = false;
        if (j) {
            hth_lock(&j->lock);
            is_at_work = !j->has_ended;
            hth_unlock(&j->lock);
            responses_job_drop(j);
        }
        if (!is_at_work)
            code =
                hth_store_get_response(all->s->store, who_of(x), id, hth_exchange_arena(x), &chain[*n], &err);
        if (is_at_work)
            return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "previous_response_id",
                              "the response '%.80s' has not ended yet", id);
        if (code == HTH_ERR_NOTFOUND) {
            fault->code = "previous_response_not_found";
            return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "previous_response_id",
                              "Previous response with id '%.80s' not found.", id);
        }
        if (code != HTH_OK) return hth_refuse_err(fault, &err, NULL);
        id = chain[(*n)++].previous;
    }
    return true;
}

static bool append_previous(hth_responses *all, hth_exchange *x, const char *id, hth_str *to,
                            size_t *n_before, hth_fault *fault) {
    size_t n = 0;
    if (!*id) return true;
    hth_stored_response *chain = hth_arena_alloc(hth_exchange_arena(x), MAX_CHAIN, sizeof *chain);
    if (!chain) return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the conversation");
    if (!load_chain(all, x, id, chain, &n, fault)) return false;
    while (n > 0) {
        if (!append_stored(&chain[--n], to, n_before, fault)) return false;
    }
    return true;
}

// A text is the same as one message of the user.
static bool append_own(responses_job *j, hth_exchange *x, const hth_fields *f, const hth_json *input, hth_str *to,
                       size_t *own, hth_fault *fault) {
    bool ok = true;
    hth_str one;
    hth_str_init(&one, HTH_MEM_SERVER, MAX_REPLY);
    const hth_chat_text items = input ? inside(f->text, f->n_text, input) : (hth_chat_text){"", 0};
    if (responses_has_references(input)) {
        ok = responses_resolve(j->owner_of, who_of(x), hth_exchange_arena(x), f, input, &one, fault);
    } else if (input && input->kind == HTH_JSON_STRING) {
        const hth_chat_text text = hth_fields_source(f, input);
        hth_str_puts(&one, "{\"type\":\"message\",\"role\":\"user\",\"content\":");
        (void)hth_str_append(&one, text.p, text.n);
        hth_str_putc(&one, '}');
    } else {
        (void)hth_str_append(&one, items.p, items.n);
    }
    if (one.failed) to->failed = true;
    append_items(to, (hth_chat_text){hth_str_text(&one), one.len});
    *own = one.len;
    hth_str_free(&one);
    return ok;
}

// A custom tool takes text; to a model it is a function with one, of the tool's own pattern where it has one.
static void append_schemas(const hth_fields *f, const hth_json *tools, hth_str *to) {
    for (uint32_t i = 0; tools && tools->kind == HTH_JSON_ARRAY && i < tools->n; i++) {
        const hth_json *format = hth_json_get(&tools->u.items[i], "format"),
                       *definition = hth_json_get(format, "definition");
        const bool is_regex = strcmp(hth_json_str(format, "syntax", "", NULL), "regex") == 0;
        hth_str_puts(to, i ? "," : "");
        hth_str_puts(to, "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"");
        if (is_regex && definition && definition->kind == HTH_JSON_STRING) {
            const hth_chat_text text = hth_fields_source(f, definition); // with its quotes
            hth_str_puts(to, ",\"pattern\":\"^(?:");
            (void)hth_str_append(to, text.p + 1, text.n - 2);
            hth_str_puts(to, ")$\"");
        }
        hth_str_puts(to, "}},\"required\":[\"input\"],\"additionalProperties\":false}");
    }
}

// {"input": [...], "custom": [...], "body": {...}} in the job's arena, parsed.
static bool make_document(responses_job *j, hth_exchange *x, const hth_fields *f, const hth_json *root,
                          size_t *n_before, hth_fault *fault) {
    hth_str text;
    hth_err err;
    size_t n_own = 0;
    const char *previous = hth_json_str(root, "previous_response_id", "", NULL);
    hth_str_init(&text, HTH_MEM_SERVER, MAX_REPLY);
    hth_str_puts(&text, "{\"input\":[");
    bool ok = append_previous(j->owner_of, x, previous, &text, n_before, fault);
    if (ok) ok = append_own(j, x, f, hth_json_get(root, "input"), &text, &n_own, fault);
    const size_t own_end = text.len;
    hth_str_puts(&text, "],\"custom\":[");
    append_schemas(f, hth_json_get(root, "tools"), &text);
    hth_str_puts(&text, "],\"body\":");
    (void)hth_str_append(&text, f->text, f->n_text);
    hth_str_putc(&text, '}');
    if (ok) j->document = text.failed ? NULL : hth_arena_strndup(&j->arena, text.p, text.len);
    j->n_document = text.len;
    hth_str_free(&text);
    if (ok && !j->document) ok = hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (!ok) return false;
    j->own = j->document + own_end - n_own;
    j->n_own = n_own;
    if (hth_json_parse(j->document, j->n_document, ((uint64_t)1 << 20) + 48 * (uint64_t)j->n_document,
                       &j->doc, &err) == HTH_OK)
        return true;
    return hth_refuse_err(fault, &err, NULL);
}

// --- making one ---

static bool prepare(responses_job *j, hth_exchange *x, hth_fields *f, hth_fault *fault) {
    hth_server *s = j->owner_of->s;
    hth_fields body;
    const hth_json *root;
    size_t n_before = 0;
    *f = (hth_fields){.fault = fault};
    if (!hth_body_read(x, &body, &root, fault)) return false;
    if (!make_document(j, x, &body, root, &n_before, fault)) return false;
    *f = (hth_fields){.arena = &j->arena, .text = j->document, .n_text = j->n_document, .fault = fault};
    if (!responses_read(f, hth_json_root(j->doc), n_before, j->owner_of, &j->r)) return false;
    hth_call_take_script(s, x, &j->r.ask);
    if (j->r.ask.script.p) { // it lives longer than the exchange
        j->r.ask.script.p = hth_arena_strndup(&j->arena, j->r.ask.script.p, j->r.ask.script.n);
        if (!j->r.ask.script.p) return hth_fields_no_memory(f);
        hth_chat_text *format = &j->r.ask.script_format;
        if (format->p) format->p = hth_arena_strndup(&j->arena, format->p, format->n);
    }
    if (*j->who) j->r.ask.salt = hth_chat_text_of(j->who);
    if (j->r.background && !hth_store_is_on(s->store)) {
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "background",
                          "'background' needs the store, which is off (--no-store)");
    }
    return true;
}

static void reply_now(responses_job *j, hth_exchange *x) {
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out o = hth_json_out_make(&body, false);
    hth_lock(&j->lock);
    if (j->has_ended)
        (void)hth_str_append(&body, hth_str_text(&j->body), j->body.len);
    else
        responses_write(j, &o, NULL);
    hth_unlock(&j->lock);
    reply_json(x, &body);
}

static void handle_create(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fault fault = {0};
    hth_fields f;
    responses_job *j = responses_job_new(s->responses, x, &fault);
    if (!j) {
        hth_reply_fault(x, &fault);
        return;
    }
    if (!prepare(j, x, &f, &fault) || !responses_job_start(j, &fault)) {
        refuse(x, &fault, &f);
        responses_job_drop(j);
        return;
    }
    hth_body_tell_ignored(x, &f);
    if (j->r.ask.stream || !j->r.background) {
        responses_job_answer(j, x, j->r.ask.stream, -1);
        return;
    }
    reply_now(j, x);
    responses_job_drop(j);
}

static void handle_count(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fault fault = {0};
    hth_fields f;
    hth_str body;
    int64_t n = 0;
    responses_job *j = responses_job_new(s->responses, x, &fault);
    if (!j || !prepare(j, x, &f, &fault) || !hth_call_count(s, x, &j->r.ask, &n, &fault)) {
        hth_reply_fault(x, &fault);
        if (j) responses_job_drop(j);
        return;
    }
    responses_job_drop(j);
    hth_str_init(&body, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out o = hth_json_out_make(&body, false);
    hth_json_out_begin(&o, NULL, '{');
    hth_json_out_text(&o, "object", "response.input_tokens");
    hth_json_out_int(&o, "input_tokens", n);
    hth_json_out_end(&o, '}');
    reply_json(x, &body);
}

// --- what is there ---

static void reply_stored(hth_server *s, hth_exchange *x, const char *id) {
    hth_stored_response r;
    hth_err err;
    hth_str body;
    if (hth_store_get_response(s->store, who_of(x), id, hth_exchange_arena(x), &r, &err) != HTH_OK) {
        refuse_stored(x, &err);
        return;
    }
    hth_str_init(&body, HTH_MEM_SERVER, MAX_REPLY);
    (void)hth_str_append(&body, r.body, r.n_body);
    reply_json(x, &body);
}

static bool is_yes(const char *text) {
    return text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

static void handle_get(hth_server *s, hth_exchange *x, const hth_match *m) {
    const char *id = m->captures[0], *after = hth_exchange_query(x, "starting_after");
    hth_fault fault = {0};
    responses_job *j = responses_job_find(s->responses, who_of(x), id);
    const bool streams = is_yes(hth_exchange_query(x, "stream"));
    if (j && streams) {
        responses_job_answer(j, x, true, after ? strtoll(after, NULL, 10) : -1);
    } else if (j) {
        reply_now(j, x);
        responses_job_drop(j);
    } else if (streams) {
        (void)hth_refuse(&fault, HTH_FAULT_NOT_FOUND, "stream",
                         "the events of response '%.80s' are not there: they are kept for responses made "
                         "with background, until some minutes after their end",
                         id);
        hth_reply_fault(x, &fault);
    } else {
        reply_stored(s, x, id);
    }
}

static void handle_delete(hth_server *s, hth_exchange *x, const hth_match *m) {
    const char *id = m->captures[0];
    hth_err err;
    hth_str body;
    responses_job *j = responses_job_find(s->responses, who_of(x), id);
    if (j) {
        responses_job_forget(j);
        responses_job_drop(j);
    }
    const hth_code code = hth_store_delete_response(s->store, who_of(x), id, &err);
    if (code != HTH_OK && !(j && code == HTH_ERR_NOTFOUND)) {
        refuse_stored(x, &err);
        return;
    }
    hth_str_init(&body, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out o = hth_json_out_make(&body, false);
    hth_json_out_begin(&o, NULL, '{');
    hth_json_out_text(&o, "id", id);
    hth_json_out_text(&o, "object", "response");
    hth_json_out_bool(&o, "deleted", true);
    hth_json_out_end(&o, '}');
    reply_json(x, &body);
}

static void handle_cancel(hth_server *s, hth_exchange *x, const hth_match *m) {
    hth_fault fault = {0};
    responses_job *j = responses_job_find(s->responses, who_of(x), m->captures[0]);
    if (!j) {
        reply_stored(s, x, m->captures[0]); // it has ended: cancelling changes nothing
        return;
    }
    if (!j->r.background) {
        (void)hth_refuse(
            &fault, HTH_FAULT_BAD_REQUEST, NULL,
            "only a response made with background can be cancelled; this one ends when its client leaves");
        hth_reply_fault(x, &fault);
    } else {
        responses_job_cancel(j);
        hth_lock(&j->lock);
        if (j->status < STATUS_COMPLETED) j->status = STATUS_CANCELLED;
        hth_unlock(&j->lock);
        reply_now(j, x);
    }
    responses_job_drop(j);
}

// --- the items that a response was given ---

// An item as it is listed: with an id, a type, and content in parts, whatever short form it came in.
static void write_item(hth_json_out *o, const char *text, size_t n, const hth_json *v, const char *response,
                       uint32_t at) {
    char id[96];
    (void)snprintf(id, sizeof id, "item_%.60s_%u", response + (strncmp(response, "resp_", 5) == 0 ? 5 : 0),
                   (unsigned)at);
    hth_json_out_begin(o, NULL, '{');
    if (!hth_json_get(v, "id")) hth_json_out_text(o, "id", id);
    if (!hth_json_get(v, "type")) hth_json_out_text(o, "type", "message");
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json_member *member = &v->u.members[i];
        if (strcmp(member->key, "content") == 0 && member->value.kind == HTH_JSON_STRING) {
            const bool is_assistant = strcmp(hth_json_str(v, "role", "", NULL), "assistant") == 0;
            hth_json_out_begin(o, "content", '[');
            hth_json_out_begin(o, NULL, '{');
            hth_json_out_text(o, "type", is_assistant ? "output_text" : "input_text");
            hth_json_out_str(o, "text", member->value.u.str, member->value.n);
            if (is_assistant) hth_json_out_raw(o, "annotations", "[]", 2);
            hth_json_out_end(o, '}');
            hth_json_out_end(o, ']');
        } else {
            hth_json_out_raw(o, member->key, text + member->value.pos,
                             hth_json_extent(text, n, &member->value));
        }
    }
    hth_json_out_end(o, '}');
}

static void id_of_item(const hth_json *v, const char *response, uint32_t at, char *id, size_t n) {
    const char *own = hth_json_str(v, "id", NULL, NULL);
    if (own)
        (void)snprintf(id, n, "%s", own);
    else
        (void)snprintf(id, n, "item_%.60s_%u", response + (strncmp(response, "resp_", 5) == 0 ? 5 : 0),
                       (unsigned)at);
}

// A page of the list: the newest first unless the order is asc.
static void write_items(hth_exchange *x, const char *text, size_t n_text, const hth_json *items,
                        const char *response, hth_json_out *o) {
    const char *limit_text = hth_exchange_query(x, "limit"), *after = hth_exchange_query(x, "after"),
               *order = hth_exchange_query(x, "order");
    const long given = limit_text ? strtol(limit_text, NULL, 10) : 20;
    const uint32_t limit = given < 1 ? 1 : given > 100 ? 100 : (uint32_t)given, n = items->n;
    const bool is_asc = order && strcmp(order, "asc") == 0;
    char id[160] = "", first[160] = "";
    uint32_t k = 0, n_written = 0;
    for (; after && *after && k < n && strcmp(id, after) != 0; k++) {
        const uint32_t at = is_asc ? k : n - 1 - k;
        id_of_item(&items->u.items[at], response, at, id, sizeof id);
    }
    hth_json_out_begin(o, NULL, '{');
    hth_json_out_text(o, "object", "list");
    hth_json_out_begin(o, "data", '[');
    for (; k < n && n_written < limit; k++, n_written++) {
        const uint32_t at = is_asc ? k : n - 1 - k;
        write_item(o, text, n_text, &items->u.items[at], response, at);
        id_of_item(&items->u.items[at], response, at, id, sizeof id);
        if (n_written == 0) memcpy(first, id, sizeof first);
    }
    hth_json_out_end(o, ']');
    hth_json_out_text(o, "first_id", n_written ? first : NULL);
    hth_json_out_text(o, "last_id", n_written ? id : NULL);
    hth_json_out_bool(o, "has_more", k < n);
    hth_json_out_end(o, '}');
}

static void handle_items(hth_server *s, hth_exchange *x, const hth_match *m) {
    hth_stored_response r = {0};
    hth_json_doc *doc;
    hth_err err;
    hth_str body;
    const char *id = m->captures[0];
    hth_code code = hth_store_get_response(s->store, who_of(x), id, hth_exchange_arena(x), &r, &err);
    if (code == HTH_OK)
        code = hth_json_parse(r.input, r.n_input, ((uint64_t)1 << 20) + 48 * (uint64_t)r.n_input, &doc, &err);
    if (code != HTH_OK) {
        refuse_stored(x, &err);
        return;
    }
    hth_str_init(&body, HTH_MEM_SERVER, MAX_REPLY);
    hth_json_out o = hth_json_out_make(&body, false);
    write_items(x, r.input, r.n_input, hth_json_root(doc), id, &o);
    hth_json_free(doc);
    reply_json(x, &body);
}

static void handle_compact(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)s, (void)m;
    hth_fault fault = {0};
    (void)hth_refuse(&fault, HTH_FAULT_NOT_OFFERED, NULL,
                     "conversations are not compacted here: ask the model for a summary");
    hth_reply_fault(x, &fault);
}

// With and without /v1, as clients are set up in both ways.
#define ROW(method_, path_, handle_)                                   \
    {method_, "/v1/responses" path_, &hth_openai, handle_, 0, NULL}, { \
        method_, "/responses" path_, &hth_openai, handle_, 0, NULL     \
    }

const hth_route hth_responses_routes[] = {
    ROW(HTH_POST, "", handle_create),
    ROW(HTH_POST, "/input_tokens", handle_count),
    ROW(HTH_POST, "/compact", handle_compact),
    ROW(HTH_GET, "/{id}", handle_get),
    ROW(HTH_DELETE, "/{id}", handle_delete),
    ROW(HTH_POST, "/{id}/cancel", handle_cancel),
    ROW(HTH_GET, "/{id}/input_items", handle_items),
    {0},
};
