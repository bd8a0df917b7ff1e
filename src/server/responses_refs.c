// Items that a request only names: {"type": "item_reference", "id": ...}, as clients send again what they were
// given. An item's id holds that of its response: msg_X_2 is of resp_X, and item_X_2 is the third item that
// resp_X was given. So one look into the store finds it, and only its owner's responses are seen.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "server/responses_impl.h"
#include "server/store.h"

#define MAX_RESPONSES 64 // that one request refers to
#define MAX_REFERENCES 10000

typedef struct loaded {
    hth_stored_response r;
    hth_json_doc *body, *input;
} loaded;

typedef struct resolver {
    hth_responses *all;
    const char *who;
    hth_arena *arena;
    hth_fault *fault;
    loaded responses[MAX_RESPONSES];
    size_t n_response, n_reference;
} resolver;

static bool is_reference(const hth_json *v) {
    const char *type = hth_json_str(v, "type", "", NULL);
    if (strcmp(type, "item_reference") == 0) return true;
    return v->kind == HTH_JSON_OBJECT && !*type && !hth_json_get(v, "role") && hth_json_get(v, "id");
}

bool responses_has_references(const hth_json *input) {
    for (uint32_t i = 0; input && input->kind == HTH_JSON_ARRAY && i < input->n; i++) {
        if (is_reference(&input->u.items[i])) return true;
    }
    return false;
}

static uint64_t room_for(size_t n) {
    return ((uint64_t)1 << 20) + 48 * (uint64_t)n;
}

// NULL: there is no such response, or it cannot be read: `err`.
static const loaded *load(resolver *d, const char *id, hth_err *err) {
    for (size_t i = d->n_response; i-- > 0;) {
        if (strcmp(d->responses[i].r.id, id) == 0) return &d->responses[i];
    }
    loaded *l = &d->responses[d->n_response];
    const char *own_id = hth_arena_strndup(d->arena, id, strlen(id));
    hth_code code = own_id ? HTH_OK : hth_fail_nomem(err, strlen(id));
    if (code == HTH_OK && d->n_response == MAX_RESPONSES)
        code = hth_fail(err, HTH_ERR_LIMIT, "there are references to more than %d responses", MAX_RESPONSES);
    if (code == HTH_OK) code = hth_store_get_response(d->all->s->store, d->who, own_id, d->arena, &l->r, err);
    if (code == HTH_OK) code = hth_json_parse(l->r.body, l->r.n_body, room_for(l->r.n_body), &l->body, err);
    if (code == HTH_OK) code = hth_json_parse(l->r.input, l->r.n_input, room_for(l->r.n_input), &l->input, err);
    if (code == HTH_OK) {
        d->n_response++;
        return l;
    }
    hth_json_free(l->body);
    *l = (loaded){0};
    return NULL;
}

// The item of that id among those of a response, as JSON; n 0: there is none.
static hth_chat_text item_of(const loaded *l, const char *id, const char *number) {
    const hth_json *given = hth_json_root(l->input), *made = hth_json_get(hth_json_root(l->body), "output");
    const unsigned long at = strtoul(number, NULL, 10);
    if (strncmp(id, "item_", 5) == 0) {
        if (given->kind != HTH_JSON_ARRAY || at >= given->n) return (hth_chat_text){0};
        const hth_json *v = &given->u.items[at];
        return (hth_chat_text){l->r.input + v->pos, hth_json_extent(l->r.input, l->r.n_input, v)};
    }
    if (!made || made->kind != HTH_JSON_ARRAY || at >= made->n) return (hth_chat_text){0};
    const hth_json *v = &made->u.items[at];
    if (strcmp(hth_json_str(v, "id", "", NULL), id) != 0) return (hth_chat_text){0};
    return (hth_chat_text){l->r.body + v->pos, hth_json_extent(l->r.body, l->r.n_body, v)};
}

static bool find(resolver *d, const char *id, const char *path, hth_chat_text *item) {
    const char *middle = strchr(id, '_'), *number = strrchr(id, '_');
    char response[HTH_CALL_ID] = "";
    hth_err err = {0};
    if (++d->n_reference > MAX_REFERENCES)
        return hth_refuse(d->fault, HTH_FAULT_BAD_REQUEST, path, "there are more than %d references to items",
                          MAX_REFERENCES);
    if (middle && number > middle && number - middle < HTH_CALL_ID - 5)
        (void)snprintf(response, sizeof response, "resp_%.*s", (int)(number - middle - 1), middle + 1);
    const loaded *l = *response ? load(d, response, &err) : NULL;
    if (l) *item = item_of(l, id, number + 1);
    if (item->n > 0) return true;
    if (!l && *response && err.code != HTH_ERR_NOTFOUND) return hth_refuse_err(d->fault, &err, NULL);
    return hth_refuse(d->fault, HTH_FAULT_NOT_FOUND, path,
                      "Item with id '%.80s' not found. Items are kept with stored responses: send the item "
                      "itself, or let 'store' be true.",
                      id);
}

bool responses_resolve(hth_responses *all, const char *who, hth_arena *a, const hth_fields *f, const hth_json *input,
                       hth_str *to, hth_fault *fault) {
    bool ok = true;
    resolver *d = hth_arena_alloc(a, 1, sizeof *d);
    if (!d) return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the items");
    *d = (resolver){.all = all, .who = who, .arena = a, .fault = fault};
    for (uint32_t i = 0; ok && i < input->n; i++) {
        const hth_json *v = &input->u.items[i];
        hth_chat_text item = {0};
        char path[32];
        (void)snprintf(path, sizeof path, "input[%u]", (unsigned)i);
        if (is_reference(v))
            ok = find(d, hth_json_str(v, "id", "", NULL), path, &item);
        else
            item = hth_fields_source(f, v);
        if (i > 0) hth_str_putc(to, ',');
        if (ok) (void)hth_str_append(to, item.p, item.n);
    }
    for (size_t i = 0; i < d->n_response; i++) {
        hth_json_free(d->responses[i].body);
        hth_json_free(d->responses[i].input);
    }
    return ok;
}
