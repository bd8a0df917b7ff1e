// Finding the tokenizer of a container or a file.
#include <string.h>

#include "os/file.h"
#include "text/tok_impl.h"

#define MAX_FILE (512u << 20)

static hth_code load_folder(hth_container *c, hth_tokenizer **out, hth_err *err) {
    const hth_json *json = NULL, *config = NULL, *generation = NULL;
    HTH_TRY(hth_container_json(c, "tokenizer.json", &json, err));
    HTH_TRY(hth_container_json(c, "tokenizer_config.json", &config, err));
    HTH_TRY(hth_container_json(c, "generation_config.json", &generation, err));
    if (!json) return hth_fail(err, HTH_ERR_NOTFOUND, "%s: no tokenizer", hth_container_path(c));
    hth_code code = hth_tok_load_json(json, out, err);
    if (code != HTH_OK) return hth_fail_in(err, code, "tokenizer.json");
    code = hth_tok_apply_config(*out, config, generation, err);
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

static hth_code load_gguf_file(const char *path, hth_tokenizer **out, hth_err *err) {
    hth_gguf *g;
    HTH_TRY(hth_gguf_open(path, &g, err));
    hth_code code = hth_tok_load_gguf(g, out, err);
    hth_gguf_close(g);
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

hth_code hth_tokenizer_load_file(const char *path, hth_tokenizer **out, hth_err *err) {
    *out = NULL;
    return load_gguf_file(path, out, err);
}
