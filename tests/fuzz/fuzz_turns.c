// Any bytes as the body of Anthropic's Messages or of OpenAI's Responses (the first byte says which): turns of blocks
// and items become messages. No crash, no leak, a refusal that names something, and messages that lie where they should.
#include <stdlib.h>
#include <string.h>

#include "server/anthropic_impl.h"
#include "server/responses_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Reads every byte that the messages refer to.
static size_t walk(const hth_ask *a) {
    size_t sum = 0;
    for (size_t i = 0; i < a->n_message; i++) {
        const hth_chat_message *m = &a->messages[i];
        for (size_t k = 0; k < m->n_part; k++) sum += strnlen(m->parts[k].text.p, m->parts[k].text.n);
        for (size_t k = 0; k < m->n_call; k++) sum += strnlen(m->calls[k].arguments.p, m->calls[k].arguments.n);
        if (m->reasoning.p) sum += strnlen(m->reasoning.p, m->reasoning.n);
        if (!m->role.p || m->role.n != strlen(m->role.p)) abort();
    }
    return sum;
}

static bool read_one(hth_fields *f, const hth_json *root, bool is_anthropic) {
    static anthropic_request anthropic;
    static responses_request responses;
    static const hth_responses all;
    hth_ask *a = is_anthropic ? &anthropic.ask : &responses.ask;
    // Of Responses it is the document that the server makes, which has a schema for each tool.
    const hth_json *input = hth_json_get(root, "input"), *tools = hth_json_get(hth_json_get(root, "body"), "tools");
    const hth_json *custom = hth_json_get(root, "custom");
    const bool is_made = input && input->kind == HTH_JSON_ARRAY && hth_json_get(root, "body") && custom &&
                         custom->kind == HTH_JSON_ARRAY && (!tools || tools->kind != HTH_JSON_ARRAY || tools->n <= custom->n);
    if (is_anthropic ? !anthropic_read(f, root, false, &anthropic)
                     : !is_made || !responses_read(f, root, input->n / 2, &all, &responses))
        return false;
    return walk(a) + 1 > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_json_doc *doc = NULL;
    hth_arena arena;
    hth_err err;
    hth_mem_stats before, after;
    hth_fault fault = {0};
    if (size == 0) return 0;
    const char *json = (const char *)data + 1;
    hth_mem_get_stats(&before);
    hth_arena_init(&arena, HTH_MEM_SERVER, 64 << 20);
    if (hth_json_parse(json, size - 1, 48 * (uint64_t)size + 4096, &doc, &err) == HTH_OK && hth_json_root(doc)->kind == HTH_JSON_OBJECT) {
        hth_fields f = {.arena = &arena, .text = json, .n_text = size - 1, .fault = &fault};
        if (!read_one(&f, hth_json_root(doc), data[0] & 1) && fault.kind != HTH_FAULT_NONE && !fault.message[0]) abort();
    }
    hth_json_free(doc);
    hth_arena_free(&arena);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
    return 0;
}
