// The body of a request as JSON: parsed once, bounded by its own size.
#include "server/body.h"

#include <string.h>

// A tree takes up to 24 bytes per byte of text ("[0,0,0" and so on), and strings as much again.
#define MAX_TREE_FACTOR 48
#define LEAST_TREE ((uint64_t)1 << 20)

static void free_document(void *doc) {
    hth_json_free(doc);
}

bool hth_body_read_optional(hth_exchange *x, hth_fields *f, const hth_json **root, hth_fault *fault) {
    hth_json_doc *doc;
    hth_err err;
    size_t n;
    const char *text = hth_exchange_body(x, &n);
    *root = NULL;
    *f = (hth_fields){.arena = hth_exchange_arena(x), .text = text, .n_text = n, .fault = fault};
    if (n == 0 || strspn(text, " \t\r\n") == n) return true;
    const hth_code code = hth_json_parse(text, n, LEAST_TREE + MAX_TREE_FACTOR * (uint64_t)n, &doc, &err);
    if (code == HTH_ERR_NOMEM) return hth_refuse_err(fault, &err, NULL);
    if (code != HTH_OK) {
        fault->code = "invalid_json";
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL, "the body is no valid JSON: %s", err.msg);
    }
    if (!hth_exchange_keep(x, doc, free_document)) {
        hth_json_free(doc);
        return hth_fields_no_memory(f);
    }
    *root = hth_json_root(doc);
    if ((*root)->kind == HTH_JSON_OBJECT) return true;
    return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL, "the body must be a JSON object, not %s", hth_json_kind_word(*root));
}

bool hth_body_read(hth_exchange *x, hth_fields *f, const hth_json **root, hth_fault *fault) {
    if (!hth_body_read_optional(x, f, root, fault)) return false;
    return *root || hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL, "missing request body");
}

void hth_body_tell_ignored(hth_exchange *x, const hth_fields *f) {
    if (f->ignored[0]) hth_reply_header(x, "X-Hearth-Ignored", f->ignored);
}
