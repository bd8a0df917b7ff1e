// Any bytes as JSON: no crash, bounded memory, and what comes out is a consistent tree.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Visits the whole tree without recursion of its own: children are pushed to a list.
static void check_tree(const hth_json *root, size_t size) {
    size_t n = 0, cap = 64;
    const hth_json **todo = malloc(cap * sizeof *todo);
    todo[n++] = root;
    while (n > 0) {
        const hth_json *v = todo[--n];
        if (v->pos >= size || v->n > size) abort();
        if (v->kind == HTH_JSON_STRING && v->u.str[v->n] != 0) abort();
        bool is_object = v->kind == HTH_JSON_OBJECT, is_array = v->kind == HTH_JSON_ARRAY;
        for (uint32_t i = 0; (is_object || is_array) && i < v->n; i++) {
            if (n == cap) todo = realloc(todo, (cap *= 2) * sizeof *todo);
            const hth_json_member *m = is_object ? &v->u.members[i] : NULL;
            if (m && m->key[m->key_len] != 0) abort();
            if (m && v->n < 50 && strlen(m->key) == m->key_len && hth_json_get(v, m->key) != &m->value) {
                abort();
            }
            todo[n++] = m ? &m->value : &v->u.items[i];
        }
    }
    free(todo);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_json_doc *doc = NULL;
    hth_mem_stats mem;
    hth_code code = hth_json_parse((const char *)data, size, 32 * (uint64_t)size + 4096, &doc, &err);
    if ((code == HTH_OK) != (doc != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (doc) check_tree(hth_json_root(doc), size);
    hth_json_free(doc);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}
