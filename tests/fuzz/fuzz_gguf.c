// Any bytes as GGUF: no crash, bounded memory, and everything that opens can be read.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void touch(const void *data, uint64_t n) {
    const uint8_t *p = data;
    if (n) sink += p[0] + p[n - 1];
}

static void read_pair(const hth_gguf *g, const hth_gguf_kv *kv) {
    int64_t i;
    double d;
    bool b;
    const char *text = "";
    size_t n = 0;
    if (hth_gguf_find(g, kv->key) != kv) abort();
    int n_ok = (hth_gguf_get_i64(g, kv->key, &i, NULL) == HTH_OK) +
               (hth_gguf_get_f64(g, kv->key, &d, NULL) == HTH_OK) +
               (hth_gguf_get_bool(g, kv->key, &b, NULL) == HTH_OK) +
               (hth_gguf_get_str(g, kv->key, &text, &n, NULL) == HTH_OK);
    if ((kv->kind == HTH_GGUF_ARRAY) != (n_ok == 0) || text[n] != 0) abort();
    const uint8_t *it = kv->data;
    for (uint64_t k = 0; kv->kind == HTH_GGUF_ARRAY && k < kv->n; k++) {
        if (kv->item_kind == HTH_GGUF_STRING) {
            hth_gguf_next_str(&it, &text, &n);
            touch(text, n);
        } else {
            sink += (uint64_t)hth_gguf_item_i64(kv, k) + (hth_gguf_item_f64(kv, k) > 0);
        }
    }
}

static void read_all(const hth_gguf *g, const uint8_t *data, size_t size) {
    for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) read_pair(g, hth_gguf_kv_at(g, i));
    for (int64_t i = 0; i < hth_gguf_n_tensor(g); i++) {
        const hth_tensor *t = hth_gguf_tensor_at(g, i);
        if (t->data != data + t->off || t->off + t->n_bytes > size || t->n_bytes == 0) abort();
        touch(t->data, t->n_bytes);
        sink += strlen(t->name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_gguf *g = NULL;
    hth_mem_stats mem;
    hth_code code = hth_gguf_open_memory(data, size, &g, &err);
    hth_mem_get_stats(&mem);
    if ((code == HTH_OK) != (g != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (g && mem.total_bytes > 64 * (uint64_t)size + 65536) abort();
    if (g) read_all(g, data, size);
    hth_gguf_close(g);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}
