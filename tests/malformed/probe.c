// Opens a model the way every command does and reads all of it: each metadata pair, string, tensor
// and side file, the well-known keys with the kinds that they must have.
//
//   probe PATH            0 and a summary on standard output, or 1 and one line on standard error
//   probe --damage FILE   all truncations and all single-bit flips of FILE's header, and a failure of
//                         every allocation, in one process (build it with sanitizers); 0 when it lives
//
// Exit 2: wrong use. Exit 3: the reader took more time or memory than it may.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "formats/container.h"
#include "formats/safetensors.h"
#include "os/file.h"

// Opening a small file takes microseconds; sanitizers and a busy machine get a wide margin.
#define MAX_CPU_MS 200
// Most memory for a file of n bytes.
#define MAX_BYTES(n) (64 * (uint64_t)(n) + (1u << 20))

static volatile uint64_t sink; // keeps reads from being optimised away

typedef struct known_key {
    const char *key;
    char kind; // i integer, n number, b bool, s string; S I N: array of strings, integers, numbers
} known_key;

static const known_key known_keys[] = {{"general.architecture", 's'},
                                       {"general.name", 's'},
                                       {"general.file_type", 'i'},
                                       {"general.quantization_version", 'i'},
                                       {"llama.context_length", 'i'},
                                       {"llama.embedding_length", 'i'},
                                       {"llama.block_count", 'i'},
                                       {"llama.feed_forward_length", 'i'},
                                       {"llama.attention.head_count", 'i'},
                                       {"llama.attention.head_count_kv", 'i'},
                                       {"llama.attention.layer_norm_rms_epsilon", 'n'},
                                       {"llama.rope.dimension_count", 'i'},
                                       {"llama.rope.freq_base", 'n'},
                                       {"llama.vocab_size", 'i'},
                                       {"tokenizer.ggml.model", 's'},
                                       {"tokenizer.ggml.pre", 's'},
                                       {"tokenizer.ggml.tokens", 'S'},
                                       {"tokenizer.ggml.scores", 'N'},
                                       {"tokenizer.ggml.token_type", 'I'},
                                       {"tokenizer.ggml.merges", 'S'},
                                       {"tokenizer.ggml.bos_token_id", 'i'},
                                       {"tokenizer.ggml.eos_token_id", 'i'},
                                       {"tokenizer.ggml.add_bos_token", 'b'},
                                       {"tokenizer.chat_template", 's'}};

static bool is_float(hth_gguf_kind kind) {
    return kind == HTH_GGUF_F32 || kind == HTH_GGUF_F64;
}

static hth_code check_array(const hth_gguf *g, const known_key *k, hth_err *err) {
    const hth_gguf_kv *kv = hth_gguf_find(g, k->key);
    if (!kv) return HTH_OK;
    bool is_text = kv->item_kind == HTH_GGUF_STRING, is_bool = kv->item_kind == HTH_GGUF_BOOL;
    bool ok = kv->kind == HTH_GGUF_ARRAY;
    if (k->kind == 'S') ok = ok && is_text;
    if (k->kind == 'N') ok = ok && !is_text && !is_bool;
    if (k->kind == 'I') ok = ok && !is_text && !is_bool && !is_float(kv->item_kind);
    if (ok) return HTH_OK;
    hth_code code =
        hth_fail_at(err, HTH_ERR_FORMAT, kv->pos, "metadata key '%s' is not the array it must be", k->key);
    return hth_fail_in(err, code, hth_gguf_file_path(g, 0));
}

static hth_code check_known(const hth_gguf *g, hth_err *err) {
    for (size_t i = 0; i < HTH_COUNT(known_keys); i++) {
        const known_key *k = &known_keys[i];
        int64_t whole = 0;
        double number = 0;
        bool flag = false;
        const char *text = "";
        switch (k->kind) {
        case 'i': HTH_TRY(hth_gguf_get_i64(g, k->key, &whole, err)); break;
        case 'n': HTH_TRY(hth_gguf_get_f64(g, k->key, &number, err)); break;
        case 'b': HTH_TRY(hth_gguf_get_bool(g, k->key, &flag, err)); break;
        case 's': HTH_TRY(hth_gguf_get_str(g, k->key, &text, NULL, err)); break;
        default: HTH_TRY(check_array(g, k, err));
        }
        sink += (uint64_t)whole + (uint64_t)flag + strlen(text) + (uint64_t)(number != 0);
    }
    return HTH_OK;
}

static void read_bytes(const void *data, uint64_t n) {
    const uint8_t *p = data;
    if (n) sink += p[0] + p[n / 2] + p[n - 1];
}

static void walk_gguf(const hth_gguf *g) {
    for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) {
        const hth_gguf_kv *kv = hth_gguf_kv_at(g, i);
        sink += strlen(kv->key);
        if (hth_gguf_find(g, kv->key) != kv) abort();
        if (kv->kind == HTH_GGUF_STRING) read_bytes(kv->data, kv->n);
        const uint8_t *it = kv->data;
        for (uint64_t k = 0; kv->kind == HTH_GGUF_ARRAY && k < kv->n; k++) {
            const char *text = NULL;
            size_t n = 0;
            if (kv->item_kind == HTH_GGUF_STRING) {
                hth_gguf_next_str(&it, &text, &n);
            } else {
                sink += (uint64_t)hth_gguf_item_i64(kv, k) + (uint64_t)(hth_gguf_item_f64(kv, k) > 0);
            }
            read_bytes(text, n);
        }
    }
}

static void walk_tensor(const hth_tensor *t) {
    sink += strlen(t->name);
    if (t->n_dim < 0 || t->n_dim > HTH_MAX_DIM || !hth_type_get(t->type)) abort();
    read_bytes(t->data, t->n_bytes);
}

static void walk_json(const hth_json *v) {
    if (!v) return;
    if (v->kind == HTH_JSON_OBJECT && v->n) {
        sink += strlen(v->u.members[v->n - 1].key) + v->u.members[v->n - 1].value.kind;
    }
    if (v->kind == HTH_JSON_ARRAY && v->n) sink += v->u.items[v->n - 1].kind;
    if (v->kind == HTH_JSON_STRING) read_bytes(v->u.str, (uint64_t)v->n + 1);
}

// Side files: all must parse; of config.json some numbers must be numbers.
static hth_code check_sides(hth_container *c, hth_err *err) {
    static const char *const json_files[] = {"generation_config.json", "tokenizer.json",
                                             "tokenizer_config.json", "config.json"};
    static const char *const whole[] = {"hidden_size", "num_hidden_layers", "num_attention_heads",
                                        "vocab_size"};
    const hth_json *root = NULL, *bad = NULL;
    const char *text;
    size_t n;
    for (size_t i = 0; i < HTH_COUNT(json_files); i++) {
        HTH_TRY(hth_container_json(c, json_files[i], &root, err));
        walk_json(root);
        if (root && root->kind != HTH_JSON_OBJECT) {
            return hth_fail_at(err, HTH_ERR_FORMAT, root->pos, "%s/%s: not an object", hth_container_path(c),
                               json_files[i]);
        }
    }
    for (size_t i = 0; i < HTH_COUNT(whole); i++) {
        sink += (uint64_t)hth_json_int(root, whole[i], 0, &bad);
        if (bad) {
            return hth_fail_at(err, HTH_ERR_FORMAT, bad->pos, "%s/config.json: '%s' is not a whole number",
                               hth_container_path(c), whole[i]);
        }
    }
    HTH_TRY(hth_container_text(c, "chat_template.jinja", &text, &n, err));
    read_bytes(text, n);
    return HTH_OK;
}

static hth_code probe(const char *path, hth_container **out, hth_err *err) {
    HTH_TRY(hth_container_open(path, out, err));
    hth_container *c = *out;
    if (hth_container_gguf(c)) {
        walk_gguf(hth_container_gguf(c));
        HTH_TRY(check_known(hth_container_gguf(c), err));
    }
    for (int64_t i = 0; i < hth_container_n_tensor(c); i++) {
        const hth_tensor *t = hth_container_tensor_at(c, i);
        walk_tensor(t);
        if (hth_container_find(c, t->name) != t) abort();
    }
    return check_sides(c, err);
}

static uint64_t file_bytes(const char *path) {
    hth_file_map map;
    hth_err err;
    if (hth_path_kind_of(path) != HTH_PATH_FILE || hth_file_map_open(path, &map, &err) != HTH_OK) {
        return 1u << 20;
    }
    uint64_t n = map.n_bytes;
    hth_file_map_close(&map);
    return n;
}

static int run_probe(const char *path) {
    hth_err err;
    hth_container *c = NULL;
    hth_mem_stats mem;
    uint64_t n_file = file_bytes(path);
    clock_t begin = clock();
    hth_code code = probe(path, &c, &err);
    double ms = (double)(clock() - begin) * 1000 / CLOCKS_PER_SEC;
    hth_mem_get_stats(&mem);
    if (code == HTH_OK) {
        printf("%lld tensors in %d files\n", (long long)hth_container_n_tensor(c), hth_container_n_file(c));
    }
    hth_container_close(c);
    if (code != HTH_OK) fprintf(stderr, "error: %s\n", err.msg);
    if (ms > MAX_CPU_MS || mem.peak_bytes > MAX_BYTES(n_file)) {
        fprintf(stderr, "took %.1f ms and %llu bytes\n", ms, (unsigned long long)mem.peak_bytes);
        return 3;
    }
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort(); // leaked
    return code == HTH_OK ? 0 : 1;
}

// ---- damage

// Opens n bytes as what they look like; whatever happens must leave no memory behind.
static hth_code open_bytes(const uint8_t *data, size_t n, bool is_gguf, hth_err *err) {
    hth_code code;
    if (is_gguf) {
        hth_gguf *g = NULL;
        code = hth_gguf_open_memory(data, n, &g, err);
        if (code == HTH_OK) {
            walk_gguf(g);
            if (check_known(g, err) != HTH_OK) sink++;
            for (int64_t i = 0; i < hth_gguf_n_tensor(g); i++) walk_tensor(hth_gguf_tensor_at(g, i));
        }
        hth_gguf_close(g);
    } else {
        hth_safetensors *s = NULL;
        code = hth_safetensors_open_memory(data, n, &s, err);
        for (int64_t i = 0; code == HTH_OK && i < hth_safetensors_n_tensor(s); i++) {
            walk_tensor(hth_safetensors_tensor_at(s, i));
        }
        hth_safetensors_close(s);
    }
    hth_mem_stats mem;
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 1 || (code != HTH_OK && err->msg[0] == 0)) abort();
    if (mem.peak_bytes > MAX_BYTES(n)) exit(3);
    return code;
}

static hth_code open_exact(const uint8_t *data, size_t n, bool is_gguf, hth_err *err) {
    uint8_t *copy = malloc(n ? n : 1); // of exactly n bytes, so that a sanitizer sees one too far
    if (!copy) exit(2);
    memcpy(copy, data, n);
    err->msg[0] = 0;
    hth_code code = open_bytes(copy, n, is_gguf, err);
    free(copy);
    return code;
}

static int run_damage(const char *path) {
    hth_err err;
    char *text;
    size_t n, n_refused = 0, n_tried = 0;
    if (hth_file_read(path, HTH_MEM_MISC, 1u << 20, &text, &n, &err) != HTH_OK) return 2;
    uint8_t *data = (uint8_t *)text;
    bool is_gguf = n > 4 && memcmp(data, "GGUF", 4) == 0;
    if (open_exact(data, n, is_gguf, &err) != HTH_OK) {
        fprintf(stderr, "the whole file is refused: %s\n", err.msg);
        return 1;
    }
    for (size_t keep = 0; keep < n; keep++, n_tried++) {
        if (open_exact(data, keep, is_gguf, &err) == HTH_OK) {
            fprintf(stderr, "opens although truncated to %zu bytes\n", keep);
            return 1;
        }
    }
    size_t n_header = n < 6144 ? n : 6144;
    for (size_t bit = 0; bit < 8 * n_header; bit++, n_tried++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        n_refused += open_bytes(data, n, is_gguf, &err) != HTH_OK;
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint64_t at = 1;; at++, n_tried++) {
        hth_mem_fail_at(at, at % 2);
        hth_code code = open_bytes(data, n, is_gguf, &err);
        bool hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        if (!hit) break;
        if (code != HTH_ERR_NOMEM) {
            fprintf(stderr, "allocation %llu fails, but the reader says %s\n", (unsigned long long)at,
                    hth_code_name(code));
            return 1;
        }
    }
    printf("%zu damaged files survived, %zu bit flips refused\n", n_tried, n_refused);
    hth_free(text);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--damage") == 0) return run_damage(argv[2]);
    if (argc != 2) {
        fprintf(stderr, "use: probe PATH | probe --damage FILE\n");
        return 2;
    }
    return run_probe(argv[1]);
}
