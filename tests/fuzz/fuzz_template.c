// Any bytes as a chat template, with JSON behind a zero byte as its variables: no crash, no leak, bounded steps
// and memory, an error that says something, and segments that follow each other.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chat/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char default_vars[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi <b>\\u00e9\\ud83d\\ude00\"}, {\"role\": \"assistant\", \"content\":"
    " [{\"type\": \"text\", \"text\": \"x\"}], \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": 1.5}}}]}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}], \"n\": 3, \"s\": \" a b \","
    " \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";

static void check_text(const hth_jinja_text *text) {
    for (size_t i = 0; i < text->n; i++) {
        const hth_text_segment *s = &text->segments[i];
        if (s->n == 0 || (i > 0 && s[-1].text + s[-1].n != s->text)) abort();
        if (i > 0 && s[-1].is_user == s->is_user) abort();
    }
}

static void render(const hth_jinja *t, const hth_json_doc *doc, const char *json, size_t n) {
    static const hth_jinja_limits limits = {.max_steps = 100000, .max_bytes = 16 << 20, .max_out_bytes = 1 << 20, .max_depth = 200};
    static const hth_jinja_time now = {2026, 2, 3, 4, 5, 6, 1, 34};
    hth_err err = {.msg = ""};
    hth_jinja_value vars;
    hth_jinja_text text;
    hth_arena arena;
    hth_arena_init(&arena, HTH_MEM_MISC, 64 << 20);
    if (hth_jinja_from_json(&arena, hth_json_root(doc), json, n, HTH_JINJA_OF_CLIENT, &vars, &err) == HTH_OK) {
        hth_code code = hth_jinja_render(t, &vars, &limits, &now, &text, &err);
        if (code != HTH_OK && (err.msg[0] == 0 || text.n > 0)) abort();
        if (code == HTH_ERR_INTERNAL) abort();
        check_text(&text);
        hth_jinja_text_free(&text);
    }
    hth_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_jinja *t = NULL;
    hth_json_doc *doc = NULL;
    hth_mem_stats mem;
    const char *source = (const char *)data, *zero = size ? memchr(source, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - source) : size;
    const char *json = zero ? zero + 1 : default_vars;
    size_t n_json = zero ? size - n - 1 : sizeof default_vars - 1;
    hth_code code = hth_jinja_compile(source, n, &t, &err);
    if ((code == HTH_OK) != (t != NULL) || (code != HTH_OK && err.msg[0] == 0) || code == HTH_ERR_INTERNAL) abort();
    if (t && hth_json_parse(json, n_json, 32 * (uint64_t)n_json + 4096, &doc, &err) == HTH_OK) {
        if (hth_json_root(doc)->kind == HTH_JSON_OBJECT) render(t, doc, json, n_json);
    }
    hth_json_free(doc);
    hth_jinja_free(t);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}
