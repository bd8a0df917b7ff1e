// The files that adapters come in. Tensors stand in pairs; what is no half of a pair is an error, because the adapter
// would do something else than it was made for.
#include <stdio.h>
#include <string.h>

#include "formats/gguf.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "model/lora_impl.h"
#include "os/file.h"

#define MAX_NAME 256
#define MAX_CONFIG ((uint64_t)1 << 24)

// How a kind of file spells the names of halves: beginning, the model's tensor without ending, ending.
typedef struct spelling {
    const char *head, *a, *b; // of a name
    const char *tail;         // of the model's tensor
} spelling;

typedef const hth_tensor *(*tensor_at_fn)(const void *file, int64_t i);

typedef struct pairs {
    const void *file;
    int64_t n;
    tensor_at_fn at;
    spelling s;
    lora_pair common; // what all pairs have
} pairs;

// Whether `name` is head + base + end; writes base + tail.
static bool take_name(const char *name, const spelling *s, const char *end, char out[MAX_NAME]) {
    const size_t n = strlen(name), n_head = strlen(s->head), n_end = strlen(end);
    if (n <= n_head + n_end || strncmp(name, s->head, n_head) != 0 || strcmp(name + n - n_end, end) != 0) return false;
    const int len = snprintf(out, MAX_NAME, "%.*s%s", (int)(n - n_head - n_end), name + n_head, s->tail);
    return len > 0 && len < MAX_NAME;
}

static const hth_tensor *find_half(const pairs *p, const char *base, const char *end) {
    char other[MAX_NAME];
    for (int64_t i = 0; i < p->n; i++) {
        const hth_tensor *t = p->at(p->file, i);
        if (take_name(t->name, &p->s, end, other) && strcmp(other, base) == 0) return t;
    }
    return NULL;
}

static hth_code add_pairs(hth_lora *l, const pairs *p, hth_err *err) {
    char base[MAX_NAME];
    for (int64_t i = 0; i < p->n; i++) {
        const hth_tensor *t = p->at(p->file, i);
        const bool is_a = take_name(t->name, &p->s, p->s.a, base);
        if (!is_a && !take_name(t->name, &p->s, p->s.b, base))
            return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter: %s is no half of a low-rank pair", t->name);
        const hth_tensor *other = find_half(p, base, is_a ? p->s.b : p->s.a);
        if (!other) return hth_fail(err, HTH_ERR_FORMAT, "adapter: %s has no second half", t->name);
        if (!is_a) continue;
        lora_pair pair = p->common;
        pair.name = base;
        pair.a = t;
        pair.b = other;
        HTH_TRY(lora_add(l, &pair, err));
    }
    return HTH_OK;
}

// ---- GGUF

static const hth_tensor *gguf_at(const void *file, int64_t i) {
    return hth_gguf_tensor_at(file, i);
}

static hth_code expect(const hth_gguf *g, const char *key, const char *want, hth_err *err) {
    const char *is = "";
    HTH_TRY(hth_gguf_get_str(g, key, &is, NULL, err));
    if (strcmp(is, want) == 0) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter: %s is '%.40s', not '%s'", key, is, want);
}

static hth_code add_gguf(hth_lora *l, const hth_gguf *g, hth_err *err) {
    const hth_gguf *base = hth_container_gguf(l->model->container);
    if (!base) return hth_fail(err, HTH_ERR_UNSUPPORTED, "a GGUF adapter goes with a GGUF model; a folder wants a folder's");
    HTH_TRY(expect(g, "general.type", "adapter", err));
    HTH_TRY(expect(g, "adapter.type", "lora", err));
    const char *arch = "";
    HTH_TRY(hth_gguf_get_str(base, "general.architecture", &arch, NULL, err));
    HTH_TRY(expect(g, "general.architecture", arch, err));
    if (hth_gguf_find(g, "adapter.alora.invocation_tokens"))
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter: one that is activated by tokens (aLoRA) is not supported");
    pairs p = {.file = g, .n = hth_gguf_n_tensor(g), .at = gguf_at, .s = {"", ".lora_a", ".lora_b", ""}, .common = {.scale = 1}};
    HTH_TRY(hth_gguf_get_f64(g, "adapter.lora.alpha", &p.common.alpha, err));
    return add_pairs(l, &p, err);
}

hth_code lora_load_gguf(hth_lora *l, const char *path, hth_err *err) {
    hth_gguf *g;
    HTH_TRY(hth_gguf_open(path, &g, err));
    const hth_code code = add_gguf(l, g, err);
    hth_gguf_close(g);
    return code == HTH_OK ? code : hth_fail_in(err, code, path);
}

// ---- folders

static const hth_tensor *safetensors_at(const void *file, int64_t i) {
    return hth_safetensors_tensor_at(file, i);
}

static hth_code refuse(const char *key, bool is_set, hth_err *err) {
    return is_set ? hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter_config.json: %s is not supported", key) : HTH_OK;
}

// PEFT: y += alpha / r * B A x.
static hth_code read_peft(const hth_json *c, pairs *p, hth_err *err) {
    const char *type = hth_json_str(c, "peft_type", "LORA", NULL), *bias = hth_json_str(c, "bias", "none", NULL);
    const hth_json *saved = hth_json_get(c, "modules_to_save"), *alphas = hth_json_get(c, "alpha_pattern");
    if (strcmp(type, "LORA") != 0)
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter_config.json: peft_type is '%.40s', not 'LORA'", type);
    HTH_TRY(refuse("fan_in_fan_out", hth_json_bool(c, "fan_in_fan_out", false, NULL), err));
    HTH_TRY(refuse("use_dora", hth_json_bool(c, "use_dora", false, NULL), err));
    HTH_TRY(refuse("bias", strcmp(bias, "none") != 0, err));
    HTH_TRY(refuse("modules_to_save", saved && saved->kind == HTH_JSON_ARRAY && saved->n > 0, err));
    HTH_TRY(refuse("alpha_pattern", alphas && alphas->kind == HTH_JSON_OBJECT && alphas->n > 0, err));
    p->common.alpha = hth_json_num(c, "lora_alpha", 0, NULL);
    if (p->common.alpha == 0) return hth_fail(err, HTH_ERR_FORMAT, "adapter_config.json: lora_alpha is missing or 0");
    p->common.is_rooted = hth_json_bool(c, "use_rslora", false, NULL);
    p->s = (spelling){"base_model.model.", ".lora_A.weight", ".lora_B.weight", ".weight"};
    return HTH_OK;
}

// mlx-lm: y += scale * (x A) B.
static hth_code read_mlx(const hth_json *c, pairs *p, hth_err *err) {
    const char *type = hth_json_str(c, "fine_tune_type", "lora", NULL);
    if (strcmp(type, "lora") != 0)
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter_config.json: fine_tune_type is '%.40s', not 'lora'", type);
    p->common.scale = hth_json_num(hth_json_get(c, "lora_parameters"), "scale", 0, NULL);
    if (p->common.scale == 0) return hth_fail(err, HTH_ERR_FORMAT, "adapter_config.json: lora_parameters.scale is missing or 0");
    p->common.is_turned = true;
    p->s = (spelling){"", ".lora_a", ".lora_b", ".weight"};
    return HTH_OK;
}

static hth_code read_config(const char *folder, bool is_mlx, pairs *p, hth_err *err) {
    char path[4096], *text;
    size_t n;
    hth_json_doc *doc;
    if (snprintf(path, sizeof path, "%s/adapter_config.json", folder) >= (int)sizeof path)
        return hth_fail(err, HTH_ERR_RANGE, "the path is too long");
    HTH_TRY(hth_file_read(path, HTH_MEM_MODEL, MAX_CONFIG, &text, &n, err));
    hth_code code = hth_json_parse(text, n, 8 * MAX_CONFIG, &doc, err);
    hth_free(text);
    if (code != HTH_OK) return hth_fail_in(err, code, path);
    const hth_json *root = hth_json_root(doc);
    code = is_mlx ? read_mlx(root, p, err) : read_peft(root, p, err);
    hth_json_free(doc);
    return code == HTH_OK ? code : hth_fail_in(err, code, folder);
}

hth_code lora_load_folder(hth_lora *l, const char *path, hth_err *err) {
    char file[4096];
    if (hth_container_gguf(l->model->container)) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "a folder's adapter goes with a model folder; llama.cpp's convert_lora_to_gguf.py makes one for GGUF of it");
    }
    if (snprintf(file, sizeof file, "%s/adapter_model.safetensors", path) >= (int)sizeof file)
        return hth_fail(err, HTH_ERR_RANGE, "the path is too long");
    const bool is_mlx = hth_path_kind_of(file) == HTH_PATH_NONE;
    if (is_mlx) (void)snprintf(file, sizeof file, "%s/adapters.safetensors", path);
    pairs p = {.at = safetensors_at};
    HTH_TRY(read_config(path, is_mlx, &p, err));
    hth_safetensors *s;
    HTH_TRY(hth_safetensors_open(file, &s, err));
    p.file = s;
    p.n = hth_safetensors_n_tensor(s);
    const hth_code code = add_pairs(l, &p, err);
    hth_safetensors_close(s);
    return code == HTH_OK ? code : hth_fail_in(err, code, path);
}
