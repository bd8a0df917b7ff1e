// Any bytes as a model's answer in any format: no crash, no leak, and any cutting gives what the whole gives. The first byte
// picks the format, the second how the answer begins and what is taken for a call, the third how it is cut.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chat/output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tools_json[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": {\"a\":"
    " {\"type\": \"integer\"}, \"s\": {\"type\": \"string\"}, \"n\": {\"type\": [\"string\", \"null\"]}, \"o\": {\"type\":"
    " \"object\"}, \"l\": {\"type\": \"array\"}}}}}, {\"name\": \"get_time\", \"parameters\": {}}, {\"name\": \"g\"}]";

static bool is_same(const hth_str *a, const hth_str *b) {
    return a->len == b->len && memcmp(hth_str_text(a), hth_str_text(b), a->len) == 0;
}

static void compare(const hth_chat_answer *a, const hth_chat_answer *b) {
    if (!is_same(&a->content, &b->content) || !is_same(&a->reasoning, &b->reasoning) || a->n_call != b->n_call) abort();
    for (size_t i = 0; i < a->n_call; i++) {
        const hth_chat_answer_call *x = &a->calls[i], *y = &b->calls[i];
        if (!is_same(&x->id, &y->id) || !is_same(&x->name, &y->name) || !is_same(&x->arguments, &y->arguments)) abort();
        if (x->is_cut != y->is_cut) abort();
    }
}

// An ended call of a format that converts its arguments is JSON, if its strings are text at all.
static void check_calls(const hth_chat_answer *a) {
    for (size_t i = 0; i < a->n_call; i++) {
        if (a->calls[i].id.len == 0 || a->calls[i].name.len == 0) abort();
        if (!a->calls[i].is_cut && a->calls[i].arguments.len == 0) abort();
    }
}

static hth_code feed(const hth_chat_output_params *p, const char *text, size_t n, unsigned cut, hth_chat_answer *a) {
    hth_chat_output_params mine = *p;
    hth_chat_output *o = NULL;
    hth_err err;
    hth_chat_answer_init(a);
    mine.sink = hth_chat_answer_take;
    mine.user = a;
    hth_code code = hth_chat_output_new(&mine, &o, &err);
    for (size_t i = 0, k; i < n && code == HTH_OK; i += k) {
        cut = cut * 1103515245u + 12345u;
        k = 1 + (cut >> 16) % (1 + (cut >> 8) % 16);
        if (k > n - i) k = n - i;
        code = hth_chat_output_feed(o, text + i, k, &err);
    }
    if (code == HTH_OK) code = hth_chat_output_end(o, &err);
    hth_chat_output_free(o);
    return code;
}

static const hth_chat_format *pick(unsigned i) {
    size_t n = 0;
    while (hth_chat_format_at(n)) n++;
    return hth_chat_format_at(i % n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err;
    hth_json_doc *doc;
    hth_chat_tools tools;
    hth_arena arena;
    hth_mem_stats mem;
    if (size < 3) return 0;
    hth_arena_init(&arena, HTH_MEM_MISC, 1 << 20);
    if (hth_json_parse(tools_json, sizeof tools_json - 1, 1 << 20, &doc, &err) != HTH_OK) abort();
    if (hth_chat_tools_from_json(&arena, hth_json_root(doc), tools_json, sizeof tools_json - 1, &tools, &err) != HTH_OK) abort();
    const hth_chat_output_params p = {.format = pick(data[0]), .begins = (hth_chat_begins)(data[1] % 3), .tools = &tools,
                                      .any_tool = data[1] & 4, .raw_reasoning = data[1] & 8};
    hth_chat_answer whole, pieces;
    const char *text = (const char *)data + 3;
    if (hth_chat_answer_parse(&p, text, size - 3, &whole, &err) != HTH_OK) abort();
    check_calls(&whole);
    for (unsigned i = 0; i < 3; i++) {
        if (feed(&p, text, size - 3, data[2] + 256 * i, &pieces) != HTH_OK) abort();
        compare(&whole, &pieces);
        hth_chat_answer_free(&pieces);
    }
    hth_chat_answer_free(&whole);
    hth_arena_free(&arena);
    hth_json_free(doc);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}
