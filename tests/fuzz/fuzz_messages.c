// Any bytes as a client's messages, rendered by one of the classic formats (the first byte says which): no crash, no
// leak, an error that says something, and segments that follow each other.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chat/classic.h"
#include "chat/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_chat_template *open_classic(size_t i) {
    static hth_chat_template *all[64]; // they are immutable; opening one costs a hundred renderings
    hth_err err;
    size_t n = 0;
    while (n < 64 && hth_chat_classic_at(n)) n++;
    i %= n;
    const hth_chat_choice choice = {.name = hth_chat_classic_at(i)->name};
    if (!all[i] && hth_chat_template_open(NULL, NULL, &choice, &all[i], &err) != HTH_OK) abort();
    return all[i];
}

static hth_code render(const hth_chat_template *t, const hth_json *root, const char *json, size_t n, hth_arena *a, hth_err *err) {
    static const hth_jinja_limits limits = {.max_steps = 1000000, .max_bytes = 64 << 20, .max_out_bytes = 1 << 20, .max_depth = 200};
    static const hth_jinja_time now = {2026, 2, 3, 4, 5, 6, 1, 34};
    hth_chat_message *messages = NULL;
    hth_jinja_value tools, kwargs;
    hth_jinja_text text;
    const hth_json *list = hth_json_get(root, "tools"), *more = hth_json_get(root, "kwargs");
    hth_chat_request r = {.limits = &limits, .now = &now};
    HTH_TRY(hth_chat_messages_from_json(a, hth_json_get(root, "messages"), json, n, &messages, &r.n_message, err));
    r.messages = messages;
    if (list) {
        HTH_TRY(hth_jinja_from_json(a, list, json, n, HTH_JINJA_OF_CLIENT, &tools, err));
        r.tools = &tools;
    }
    if (more && more->kind == HTH_JSON_OBJECT) {
        HTH_TRY(hth_jinja_from_json(a, more, json, n, HTH_JINJA_OF_CLIENT, &kwargs, err));
        r.kwargs = &kwargs;
    }
    r.continues = hth_json_get(root, "continues") ? "content" : NULL;
    HTH_TRY(hth_chat_render(t, &r, &text, err));
    for (size_t i = 1; i < text.n; i++) {
        if (text.segments[i - 1].text + text.segments[i - 1].n != text.segments[i].text) abort();
    }
    hth_jinja_text_free(&text);
    return HTH_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_json_doc *doc = NULL;
    hth_arena a;
    hth_mem_stats before, after;
    if (size == 0) return 0;
    const hth_chat_template *t = open_classic(data[0]);
    const char *json = (const char *)data + 1;
    hth_mem_get_stats(&before);
    hth_arena_init(&a, HTH_MEM_MISC, 64 << 20);
    if (hth_json_parse(json, size - 1, 32 * (uint64_t)size + 4096, &doc, &err) == HTH_OK) {
        err.msg[0] = 0;
        hth_code code = render(t, hth_json_root(doc), json, size - 1, &a, &err);
        if ((code != HTH_OK) != (err.msg[0] != 0) || code == HTH_ERR_INTERNAL) abort();
    }
    hth_json_free(doc);
    hth_arena_free(&a);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
    return 0;
}
