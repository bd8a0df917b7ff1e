// Created models on disk: one small JSON file each, in STATE/models. A file is written whole or not at all;
// one that cannot be read is left out and named in the log.
#include <string.h>

#include "base/json_out.h"
#include "base/log.h"
#include "base/sha256.h"
#include "os/file.h"
#include "server/models_impl.h"

#define STORE_VERSION 1
#define MAX_CREATED 4096

static bool put_path(hth_str *to, const char *state_folder, const char *file) {
    hth_str_printf(to, "%s/models%s%s", state_folder, file ? "/" : "", file ? file : "");
    return !to->failed;
}

// The name's hash: names hold slashes, and differ in case where file systems do not.
static void file_of(const char *name, char out[80]) {
    hth_sha256 s;
    hth_sha256_init(&s);
    for (const char *p = name; *p; p++) {
        const char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        hth_sha256_add(&s, &c, 1);
    }
    hth_sha256_end_hex(&s, out);
    memcpy(out + 32, ".json", 6);
}

// ---- reading

static const char *take(hth_arena *a, const hth_json *v, const char *key) {
    const char *text = hth_json_str(v, key, NULL, NULL);
    return text ? hth_arena_strndup(a, text, strlen(text)) : NULL;
}

static hth_code read_entry(hth_arena *a, const hth_json *v, created *out, hth_err *err) {
    if (hth_json_int(v, "version", 0, NULL) != STORE_VERSION)
        return hth_fail(err, HTH_ERR_FORMAT, "it is of another version");
    out->name = take(a, v, "name");
    out->path = take(a, v, "path");
    out->parent = take(a, v, "parent");
    hth_preset *p = &out->preset;
    p->system = take(a, v, "system");
    p->chat_template = take(a, v, "template");
    p->license = take(a, v, "license");
    p->options_json = take(a, v, "options");
    p->messages_json = take(a, v, "messages");
    const hth_json *adapters = hth_json_get(v, "adapters");
    const size_t n = adapters && adapters->kind == HTH_JSON_ARRAY ? adapters->n : 0;
    const char **list = hth_arena_alloc(a, n, sizeof *list);
    if (!list) return hth_fail_nomem(err, n * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        const hth_json *path = &adapters->u.items[i];
        if (path->kind != HTH_JSON_STRING) return hth_fail(err, HTH_ERR_FORMAT, "adapters are no paths");
        list[i] = hth_arena_strndup(a, path->u.str, path->n);
        if (!list[i]) return hth_fail_nomem(err, path->n);
    }
    p->adapters = list;
    p->n_adapter = n;
    if (!out->name || !out->path || !model_name_is_valid(out->name))
        return hth_fail(err, HTH_ERR_FORMAT, "name or path is missing");
    return HTH_OK;
}

static hth_code read_file(const char *path, hth_arena *a, created *out, hth_err *err) {
    char *text;
    size_t n;
    hth_json_doc *doc = NULL;
    HTH_TRY(hth_file_read(path, HTH_MEM_ENGINE, 2 * MODELS_MAX_PRESET, &text, &n, err));
    hth_code code = hth_json_parse(text, n, 8 * MODELS_MAX_PRESET, &doc, err);
    if (code == HTH_OK) code = read_entry(a, hth_json_root(doc), out, err);
    hth_json_free(doc);
    hth_free(text);
    return code;
}

hth_code store_read(const char *state_folder, hth_arena *a, created **list, size_t *n, hth_err *err) {
    char **names = NULL;
    size_t n_file = 0;
    hth_str path;
    *list = NULL;
    *n = 0;
    hth_str_init(&path, HTH_MEM_ENGINE, 8192);
    if (!put_path(&path, state_folder, NULL)) return hth_fail_nomem(err, 8192);
    hth_code code = HTH_OK;
    if (hth_path_kind_of(hth_str_text(&path)) == HTH_PATH_FOLDER) {
        code =
            hth_folder_list(hth_str_text(&path), ".json", HTH_MEM_ENGINE, MAX_CREATED, &names, &n_file, err);
    }
    if (code == HTH_OK) *list = hth_arena_alloc(a, n_file, sizeof **list);
    if (code == HTH_OK && !*list) code = hth_fail_nomem(err, n_file * sizeof **list);
    for (size_t i = 0; i < n_file && code == HTH_OK; i++) {
        hth_err why;
        hth_str_clear(&path);
        if (!put_path(&path, state_folder, names[i])) continue;
        if (read_file(hth_str_text(&path), a, &(*list)[*n], &why) == HTH_OK)
            ++*n;
        else
            hth_log(HTH_LOG_WARN, "%s is left out: %s", hth_str_text(&path), why.msg);
    }
    hth_str_free(&path);
    hth_free(names);
    return code;
}

// ---- writing

static void put_entry(hth_json_out *j, const created *c) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "version", STORE_VERSION);
    hth_json_out_text(j, "name", c->name);
    hth_json_out_text(j, "path", c->path);
    hth_json_out_text(j, "parent", c->parent);
    hth_json_out_text(j, "system", c->preset.system);
    hth_json_out_text(j, "template", c->preset.chat_template);
    hth_json_out_text(j, "license", c->preset.license);
    hth_json_out_text(j, "options", c->preset.options_json);
    hth_json_out_text(j, "messages", c->preset.messages_json);
    hth_json_out_begin(j, "adapters", '[');
    for (size_t i = 0; i < c->preset.n_adapter; i++) hth_json_out_text(j, NULL, c->preset.adapters[i]);
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

hth_code store_write(const char *state_folder, const created *c, hth_err *err) {
    char file[80];
    hth_str path, text;
    hth_str_init(&path, HTH_MEM_ENGINE, 8192);
    hth_str_init(&text, HTH_MEM_ENGINE, 2 * MODELS_MAX_PRESET);
    hth_json_out j = hth_json_out_make(&text, true);
    put_entry(&j, c);
    hth_code code = text.failed ? hth_fail(err, HTH_ERR_LIMIT, "the model's texts are longer than %zu bytes",
                                           MODELS_MAX_PRESET)
                                : HTH_OK;
    file_of(c->name, file);
    if (code == HTH_OK && !put_path(&path, state_folder, NULL)) code = hth_fail_nomem(err, 8192);
    if (code == HTH_OK) code = hth_folder_make(hth_str_text(&path), err);
    hth_str_clear(&path);
    if (code == HTH_OK && !put_path(&path, state_folder, file)) code = hth_fail_nomem(err, 8192);
    if (code == HTH_OK) code = hth_file_write(hth_str_text(&path), text.p, text.len, err);
    hth_str_free(&text);
    hth_str_free(&path);
    return code;
}

hth_code store_remove(const char *state_folder, const char *name, hth_err *err) {
    char file[80];
    hth_str path;
    file_of(name, file);
    hth_str_init(&path, HTH_MEM_ENGINE, 8192);
    hth_code code = put_path(&path, state_folder, file) ? hth_file_remove(hth_str_text(&path), err)
                                                        : hth_fail_nomem(err, 8192);
    hth_str_free(&path);
    return code;
}

// ---- what clients do

static hth_code check_name(const char *name, hth_err *err) {
    if (name && model_name_is_valid(name)) return HTH_OK;
    return hth_fail(err, HTH_ERR_RANGE,
                    "'%.100s' is no name for a model: letters, digits, '-', '_' and '.', "
                    "parts separated by '/', and a tag behind ':'",
                    name ? name : "");
}

// The card that has exactly this name; NULL: none. Returns held.
static card *find_exact(hth_models *m, const char *name) {
    card *found = NULL;
    hth_lock(&m->lock);
    for (size_t i = 0; i < m->n_card && !found; i++) {
        const int rank = card_match(m->cards[i], name);
        if (rank >= 0 && rank <= 1) found = card_of(hth_card_hold(&m->cards[i]->pub));
    }
    hth_unlock(&m->lock);
    return found;
}

static hth_code check_free(hth_models *m, const char *name, hth_err *err) {
    card *there = find_exact(m, name);
    hth_code code = HTH_OK;
    if (there && there->origin != CARD_CREATED) {
        code = hth_fail(err, HTH_ERR_RANGE, "'%.100s' is the name of a model's file", name);
    }
    hth_card_drop(there ? &there->pub : NULL);
    return code;
}

static hth_code remember(hth_models *m, const created *c, const hth_card **out, hth_err *err) {
    if (!m->p.state_folder)
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "this server has no folder for created models");
    HTH_TRY(check_free(m, c->name, err));
    const card_source from = {.path = c->path, .name = c->name, .preset = &c->preset, .origin = CARD_CREATED};
    card *look;
    HTH_TRY(card_make(&from, &look, err));
    hth_card_drop(&look->pub);
    HTH_TRY(store_write(m->p.state_folder, c, err));
    HTH_TRY(models_scan(m, false, err));
    return out ? hth_models_find(m, c->name, out, err) : HTH_OK;
}

// What the other preset does not say is taken from the one that it is made from.
static hth_preset merge(const hth_preset *own, const hth_preset *base) {
    hth_preset p = *own;
    if (!p.system) p.system = base->system;
    if (!p.chat_template) p.chat_template = base->chat_template;
    if (!p.license) p.license = base->license;
    if (!p.options_json) p.options_json = base->options_json;
    if (!p.messages_json) p.messages_json = base->messages_json;
    if (p.n_adapter == 0) {
        p.adapters = base->adapters;
        p.n_adapter = base->n_adapter;
    }
    return p;
}

static hth_code create(hth_models *m, const char *name, const char *path, const hth_card *base,
                       const hth_preset *preset, const hth_card **out, hth_err *err) {
    static const hth_preset nothing;
    const created c = {.name = name,
                       .path = path ? path : base->path,
                       .parent = base ? base->name : NULL,
                       .preset = merge(preset, base ? &base->preset : &nothing)};
    return remember(m, &c, out, err);
}

// A template is the model's program: one that does not compile is refused now, not with the first request.
static hth_code check_template(const char *text, hth_err *err) {
    hth_jinja *t;
    if (!text) return HTH_OK;
    const hth_code code = hth_jinja_compile(text, strlen(text), &t, err);
    if (code != HTH_OK) return hth_fail_in(err, code, "the template, which has to be Jinja");
    hth_jinja_free(t);
    return HTH_OK;
}

hth_code hth_models_create(hth_models *m, const hth_create *p, const hth_card **out, hth_err *err) {
    const hth_card *base = NULL;
    hth_str name;
    if (out) *out = NULL;
    HTH_TRY(check_name(p->name, err));
    HTH_TRY(check_template(p->preset.chat_template, err));
    if (!p->path) HTH_TRY(hth_models_find(m, p->from, &base, err));
    hth_str_init(&name, HTH_MEM_ENGINE, 512);
    model_name_complete(p->name, &name);
    const hth_code code = create(m, hth_str_text(&name), p->path, base, &p->preset, out, err);
    hth_str_free(&name);
    hth_card_drop(base);
    return code;
}

hth_code hth_models_copy(hth_models *m, const char *from, const char *to, hth_err *err) {
    const hth_create p = {.name = to, .from = from};
    return hth_models_create(m, &p, NULL, err);
}

static hth_code hide(hth_models *m, const char *path, hth_err *err) {
    hth_lock(&m->lock);
    void *list = m->hidden;
    bool ok =
        hth_grow(HTH_MEM_ENGINE, &list, &m->hidden_cap, m->n_hidden + 1, sizeof *m->hidden, MODELS_MAX_CARD);
    m->hidden = list;
    char *copy = ok ? hth_strndup(HTH_MEM_ENGINE, path, strlen(path)) : NULL;
    if (copy) m->hidden[m->n_hidden++] = copy;
    hth_unlock(&m->lock);
    return copy ? HTH_OK : hth_fail_nomem(err, strlen(path));
}

hth_code hth_models_remove(hth_models *m, const char *name, hth_err *err) {
    const hth_card *c;
    HTH_TRY(hth_models_find(m, name, &c, err));
    hth_code code = card_of(c)->origin == CARD_CREATED ? store_remove(m->p.state_folder, c->name, err)
                                                       : hide(m, c->path, err);
    if (code == HTH_OK) {
        hth_err none; // it need not be loaded
        (void)!hth_models_unload(m, c->name, false, &none);
        code = models_scan(m, false, err);
    }
    hth_card_drop(c);
    return code;
}
