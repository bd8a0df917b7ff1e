// Any JSON as the body of any endpoint of the server: its table of fields reads it, or refuses it in words.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/field_sets.h"

#define MAX_STRUCT 8192 // more than the largest struct that a table fills
#define MAX_ARENA ((uint64_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_body(const hth_endpoint *e, const char *text, size_t n) {
    hth_err err;
    hth_json_doc *doc;
    if (hth_json_parse(text, n, 64 * (uint64_t)n + 4096, &doc, &err) != HTH_OK) return;
    hth_arena arena;
    hth_fault fault = {0};
    hth_arena_init(&arena, HTH_MEM_SERVER, MAX_ARENA);
    hth_fields f = {.arena = &arena, .text = text, .n_text = n, .fault = &fault};
    void *to = hth_arena_alloc(&arena, 1, MAX_STRUCT);
    const bool ok = hth_fields_read(&f, e->set->fields, e->set->n, hth_json_root(doc), to);
    if (ok != (fault.kind == HTH_FAULT_NONE) || (!ok && fault.message[0] == 0)) abort();
    if (ok && f.path[0] != 0) abort(); // whoever went in came out again
    hth_arena_free(&arena);
    hth_json_free(doc);
}

// The first byte chooses the endpoint.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t n = 0;
    hth_mem_stats mem;
    if (size == 0) return 0;
    while (hth_endpoints[n].name) n++;
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    read_body(&hth_endpoints[data[0] % n], text, size - 1);
    free(text);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}
