// Conversations through a model's chat layer, for the Python tests: probe_chat MODEL reads one JSON object per line of
// standard input, {"format": name, "template": text, "messages": [...], "tools": [...], "kwargs": {...}, "no_answer":
// bool, "as_is": bool}, and writes {"name", "text", "ids"} or {"error": "..."}. The last template stays open.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "chat/template.h"

typedef struct probe {
    hth_container *container;
    hth_tokenizer *tokenizer;
    hth_chat_template *chat;
    char *key; // format and template of `chat`
} probe;

typedef struct reply {
    hth_jinja_text text;
    hth_token_list ids;
} reply;

static hth_code open_chat(probe *p, const hth_json *q, hth_err *err) {
    const hth_json *text = hth_json_get(q, "template");
    const char *format = hth_json_str(q, "format", "", NULL), *source = text && text->kind == HTH_JSON_STRING ? text->u.str : "";
    size_t n = strlen(format) + strlen(source) + 2;
    char *key = malloc(n);
    if (!key) return HTH_ERR_NOMEM;
    snprintf(key, n, "%s\n%s", format, source);
    if (p->key && strcmp(key, p->key) == 0) {
        free(key);
        return HTH_OK;
    }
    hth_chat_template_free(p->chat);
    p->chat = NULL;
    free(p->key);
    p->key = NULL;
    hth_chat_choice choice = {.name = *format ? format : NULL, .text = {*source ? source : NULL, strlen(source)}};
    hth_code code = hth_chat_template_open(p->container, p->tokenizer, &choice, &p->chat, err);
    if (code != HTH_OK) {
        free(key);
        return code;
    }
    p->key = key;
    return HTH_OK;
}

static hth_code render(probe *p, const hth_json *q, const char *line, size_t n, hth_arena *a, reply *out, hth_err *err) {
    static const hth_jinja_time now = {2026, 2, 3, 4, 5, 6, 1, 34};
    hth_chat_message *messages = NULL;
    hth_jinja_value tools, kwargs, values;
    hth_chat_request r = {.now = &now};
    const hth_json *list = hth_json_get(q, "tools"), *more = hth_json_get(q, "kwargs"), *flag = hth_json_get(q, "no_answer"),
                   *as_is = hth_json_get(q, "as_is");
    HTH_TRY(open_chat(p, q, err));
    if (as_is && as_is->u.b) {
        HTH_TRY(hth_chat_values_from_json(a, hth_json_get(q, "messages"), line, n, &values, err));
        r.values = &values;
    } else {
        HTH_TRY(hth_chat_messages_from_json(a, hth_json_get(q, "messages"), line, n, &messages, &r.n_message, err));
        r.messages = messages;
    }
    if (list && list->kind == HTH_JSON_ARRAY) {
        HTH_TRY(hth_jinja_from_json(a, list, line, n, HTH_JINJA_OF_CLIENT, &tools, err));
        r.tools = &tools;
    }
    if (more && more->kind == HTH_JSON_OBJECT) {
        HTH_TRY(hth_jinja_from_json(a, more, line, n, HTH_JINJA_OF_CLIENT, &kwargs, err));
        r.kwargs = &kwargs;
    }
    r.no_answer = flag && flag->u.b;
    HTH_TRY(hth_chat_render(p->chat, &r, &out->text, err));
    return hth_chat_text_ids(p->chat, p->tokenizer, &out->text, &out->ids, err);
}

static void write_reply(const probe *p, const reply *r, hth_json_out *j) {
    size_t n = 0;
    for (size_t i = 0; i < r->text.n; i++) n += r->text.segments[i].n;
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "name", hth_chat_template_name(p->chat));
    hth_json_out_str(j, "text", r->text.n ? r->text.segments[0].text : "", n);
    hth_json_out_begin(j, "ids", '[');
    for (size_t i = 0; i < r->ids.n; i++) hth_json_out_int(j, NULL, r->ids.ids[i]);
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

static void answer(probe *p, const char *line, size_t n, hth_json_out *j) {
    hth_err err = {.msg = ""};
    hth_json_doc *doc = NULL;
    reply r = {0};
    hth_arena a;
    hth_arena_init(&a, HTH_MEM_MISC, (uint64_t)1 << 30);
    hth_code code = hth_json_parse(line, n, (uint64_t)1 << 30, &doc, &err);
    if (code == HTH_OK) code = render(p, hth_json_root(doc), line, n, &a, &r, &err);
    if (code == HTH_OK) {
        write_reply(p, &r, j);
    } else {
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_text(j, "error", err.msg);
        hth_json_out_end(j, '}');
    }
    hth_token_list_free(&r.ids);
    hth_jinja_text_free(&r.text);
    hth_arena_free(&a);
    hth_json_free(doc);
}

int main(int argc, char **argv) {
    hth_err err;
    probe p = {0};
    if (argc != 2 || hth_container_open(argv[1], &p.container, &err) != HTH_OK ||
        hth_tokenizer_load(p.container, &p.tokenizer, &err) != HTH_OK) {
        fprintf(stderr, "%s\n", argc == 2 ? err.msg : "usage: probe_chat MODEL");
        return 1;
    }
    hth_str out;
    hth_str_init(&out, HTH_MEM_MISC, SIZE_MAX / 2);
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        hth_json_out j = hth_json_out_make(&out, false);
        answer(&p, line, (size_t)n, &j);
        hth_str_putc(&out, '\n');
        fwrite(hth_str_text(&out), 1, out.len, stdout);
        fflush(stdout);
        hth_str_clear(&out);
    }
    free(line);
    free(p.key);
    hth_str_free(&out);
    hth_chat_template_free(p.chat);
    hth_tokenizer_free(p.tokenizer);
    hth_container_close(p.container);
    return 0;
}
