// Finding the tokenizer of a container or a file.
#include <string.h>

#include "os/file.h"
#include "text/tok_impl.h"

#define MAX_FILE ((uint64_t)512 << 20)
#define MAX_TREE ((uint64_t)4 << 30)
#define WORLD "rwkv_vocab_v20230424.txt"

typedef enum file_format { FILE_GGUF, FILE_JSON, FILE_TIKTOKEN, FILE_SENTENCEPIECE, FILE_VOCAB, FILE_WORLD } file_format;

static bool has_suffix(const char *path, const char *suffix) {
    size_t n = strlen(path), k = strlen(suffix);
    return n >= k && memcmp(path + n - k, suffix, k) == 0;
}

static bool is_tekken(const hth_json *root) {
    return !hth_json_get(root, "model") && hth_json_get(hth_json_get(root, "config"), "pattern");
}

static hth_code load_json_text(const char *text, size_t n, hth_tokenizer **out, hth_err *err) {
    hth_json_doc *doc = NULL;
    HTH_TRY(hth_json_parse(text, n, MAX_TREE, &doc, err));
    const hth_json *root = hth_json_root(doc);
    hth_code code = is_tekken(root) ? hth_tok_load_tekken(root, out, err) : hth_tok_load_json(root, out, err);
    hth_json_free(doc);
    return code;
}

// By content where it tells, else by name.
static file_format format_of(const char *path, const char *text, size_t n) {
    if (n >= 4 && memcmp(text, "GGUF", 4) == 0) return FILE_GGUF;
    if (has_suffix(path, ".json")) return FILE_JSON;
    if (has_suffix(path, ".tiktoken")) return FILE_TIKTOKEN;
    if (has_suffix(path, "vocab.txt")) return FILE_VOCAB;
    if (has_suffix(path, WORLD)) return FILE_WORLD;
    if (n > 0 && text[0] == '{') return FILE_JSON;
    // A SentencePiece model begins with field 1 (a piece); Llama 3 calls its rank file tokenizer.model.
    return n > 0 && text[0] == 0x0a ? FILE_SENTENCEPIECE : FILE_TIKTOKEN;
}

static hth_code load_gguf(const char *path, hth_tokenizer **out, hth_err *err) {
    hth_gguf *g = NULL;
    HTH_TRY(hth_gguf_open(path, &g, err));
    hth_code code = hth_tok_load_gguf(g, out, err);
    hth_gguf_close(g);
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

static hth_code load_file(const char *path, bool lowercase, hth_tokenizer **out, hth_err *err) {
    hth_file_map map = {0};
    HTH_TRY(hth_file_map_open(path, &map, err));
    const char *text = map.data ? (const char *)map.data : "";
    size_t n = (size_t)map.n_bytes;
    file_format format = format_of(path, text, n);
    hth_code code = HTH_OK;
    if (format == FILE_GGUF) {
        hth_file_map_close(&map);
        return load_gguf(path, out, err);
    }
    if (map.n_bytes > MAX_FILE) {
        code = hth_fail(err, HTH_ERR_LIMIT, "%llu bytes are too many for a tokenizer",
                        (unsigned long long)map.n_bytes);
    } else if (format == FILE_JSON) {
        code = load_json_text(text, n, out, err);
    } else if (format == FILE_SENTENCEPIECE) {
        code = hth_tok_load_sentencepiece(map.data, n, out, err);
    } else if (format == FILE_WORLD) {
        code = hth_tok_load_world(text, n, out, err);
    } else if (format == FILE_VOCAB) {
        code = hth_tok_load_vocab_txt(text, n, lowercase, out, err);
    } else {
        code = hth_tok_load_ranks(text, n, out, err);
    }
    hth_file_map_close(&map);
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

hth_code hth_tokenizer_load_file(const char *path, hth_tokenizer **out, hth_err *err) {
    *out = NULL;
    return load_file(path, true, out, err);
}

// folder/name in *path, owned; NULL when there is no such file.
static hth_code find_file(const char *folder, size_t n_folder, const char *name, char **path, hth_err *err) {
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 1u << 16);
    (void)hth_str_append(&s, folder, n_folder);
    (void)hth_str_putc(&s, '/');
    (void)hth_str_puts(&s, name);
    if (s.failed) {
        hth_str_free(&s);
        return hth_fail_nomem(err, n_folder);
    }
    *path = s.p;
    if (hth_path_kind_of(s.p) == HTH_PATH_FILE) return HTH_OK;
    hth_str_free(&s);
    *path = NULL;
    return HTH_OK;
}

static hth_code find_tiktoken(const char *folder, size_t n_folder, char **path, hth_err *err) {
    char *copy = hth_strndup(HTH_MEM_TEXT, folder, n_folder);
    char **names = NULL;
    size_t n = 0;
    if (!copy) return hth_fail_nomem(err, n_folder);
    hth_code code = hth_folder_list(copy, ".tiktoken", HTH_MEM_TEXT, 100, &names, &n, err);
    if (code == HTH_OK && n == 1) code = find_file(folder, n_folder, names[0], path, err);
    hth_free(names);
    hth_free(copy);
    return code;
}

// The other kinds of tokenizer files that a folder may hold.
static hth_code load_other(hth_container *c, bool lowercase, hth_tokenizer **out, hth_err *err) {
    static const char *const names[] = {"tekken.json", "tokenizer.model", "tiktoken.model", "vocab.txt", WORLD};
    const char *folder = hth_container_path(c);
    size_t n = strlen(folder);
    if (hth_path_kind_of(folder) != HTH_PATH_FOLDER) {
        const char *slash = strrchr(folder, '/');
        n = slash ? (size_t)(slash - folder) : 1;
        if (!slash) folder = ".";
    }
    char *path = NULL;
    for (size_t i = 0; i < HTH_COUNT(names) && !path; i++)
        HTH_TRY(find_file(folder, n, names[i], &path, err));
    if (!path) HTH_TRY(find_tiktoken(folder, n, &path, err));
    if (!path) return hth_fail(err, HTH_ERR_NOTFOUND, "%s: no tokenizer", hth_container_path(c));
    hth_code code = load_file(path, lowercase, out, err);
    hth_free(path);
    return code;
}

static hth_code load_folder(hth_container *c, hth_tokenizer **out, hth_err *err) {
    const hth_json *json = NULL, *config = NULL, *generation = NULL;
    HTH_TRY(hth_container_json(c, "tokenizer.json", &json, err));
    HTH_TRY(hth_container_json(c, "tokenizer_config.json", &config, err));
    HTH_TRY(hth_container_json(c, "generation_config.json", &generation, err));
    hth_code code;
    if (json) {
        code = hth_tok_load_json(json, out, err);
        if (code != HTH_OK) code = hth_fail_in(err, code, "tokenizer.json");
    } else {
        code = load_other(c, hth_json_bool(config, "do_lower_case", true, NULL), out, err);
    }
    if (code == HTH_OK) code = hth_tok_apply_config(*out, config, generation, err);
    if (code == HTH_OK) return HTH_OK;
    hth_tokenizer_free(*out);
    *out = NULL;
    return code;
}

hth_code hth_tokenizer_load(hth_container *c, hth_tokenizer **out, hth_err *err) {
    *out = NULL;
    const hth_gguf *g = hth_container_gguf(c);
    if (!g) return load_folder(c, out, err);
    hth_code code = hth_tok_load_gguf(g, out, err);
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, hth_container_path(c));
}
