// Finding out what a path is, and gathering the files of a folder into one tensor table.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/container_impl.h"
#include "formats/extent.h"
#include "formats/gguf_impl.h"
#include "os/file.h"

#define INDEX_NAME "model.safetensors.index.json"
#define FILES_MAX 65536

static bool has_suffix(const char *text, const char *suffix) {
    size_t n = strlen(text), k = strlen(suffix);
    return n >= k && strcmp(text + n - k, suffix) == 0;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// ---- GGUF

static hth_code load_gguf(hth_container *c, const char *path, hth_err *err) {
    HTH_TRY(hth_gguf_open(path, &c->gguf, err));
    int64_t n = hth_gguf_n_tensor(c->gguf);
    if (!hth_map_init(&c->by_name, HTH_MEM_FORMAT, (size_t)n)) return hth_fail_nomem(err, (uint64_t)n);
    for (int64_t i = 0; i < n; i++) {
        const char *name = hth_gguf_tensor_at(c->gguf, i)->name; // unique: checked when it was opened
        if (!hth_map_insert(&c->by_name, name, strlen(name), (uint32_t)i, NULL, NULL)) {
            return hth_fail_nomem(err, (uint64_t)n);
        }
    }
    return HTH_OK;
}

// True when both names are parts of one split set.
static bool is_same_set(const char *a, const char *b) {
    size_t a_stem, b_stem;
    int a_no, b_no, a_count, b_count;
    return hth_gguf_split_name(a, &a_stem, &a_no, &a_count) &&
           hth_gguf_split_name(b, &b_stem, &b_no, &b_count) && a_count == b_count && a_stem == b_stem &&
           memcmp(a, b, a_stem) == 0;
}

// Opens the only GGUF set of a folder. *n_set is 0 when there is none.
static hth_code load_gguf_of_folder(hth_container *c, size_t *n_set, hth_err *err) {
    char **names;
    size_t n;
    *n_set = 0;
    HTH_TRY(hth_folder_list(c->path, ".gguf", HTH_MEM_FORMAT, FILES_MAX, &names, &n, err));
    size_t second = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && is_same_set(names[i - 1], names[i])) continue;
        if (++*n_set == 2) second = i;
    }
    hth_code code = HTH_OK;
    if (*n_set > 1) {
        code = hth_fail(err, HTH_ERR_RANGE, "the folder holds %zu models (%s, %s%s); name one of the files",
                        *n_set, names[0], names[second], *n_set > 2 ? ", ..." : "");
        code = hth_fail_in(err, code, c->path);
    } else if (*n_set == 1) {
        char *path = hth_container_join(c->path, names[0]);
        code = path ? load_gguf(c, path, err) : hth_fail_nomem(err, strlen(names[0]));
        hth_free(path);
    }
    hth_free(names);
    return code;
}

// ---- safetensors

static hth_code fail_duplicate(const hth_container *c, const char *name, uint32_t old, int i_shard,
                               hth_err *err) {
    hth_shown shown = hth_show_name(name, strlen(name));
    hth_code code = hth_fail(err, HTH_ERR_FORMAT, "tensor '%s' is also in %s", shown.text,
                             file_name(c->shards[c->tensors[old].i_file].path));
    return hth_fail_in(err, code, c->shards[i_shard].path);
}

// Builds the table over all shards, which are open.
static hth_code gather_tensors(hth_container *c, hth_err *err) {
    size_t n = 0;
    for (int i = 0; i < c->n_shard; i++) n += (size_t)hth_safetensors_n_tensor(c->shards[i].file);
    c->tensors = hth_calloc(HTH_MEM_FORMAT, n, sizeof *c->tensors);
    if (!c->tensors || !hth_map_init(&c->by_name, HTH_MEM_FORMAT, n)) {
        return hth_fail_nomem(err, n * sizeof *c->tensors);
    }
    for (int i = 0; i < c->n_shard; i++) {
        for (int64_t k = 0; k < hth_safetensors_n_tensor(c->shards[i].file); k++) {
            hth_tensor t = *hth_safetensors_tensor_at(c->shards[i].file, k);
            t.i_file = i;
            uint32_t old = 0;
            bool was_there;
            if (!hth_map_insert(&c->by_name, t.name, strlen(t.name), (uint32_t)c->n_tensor, &old,
                                &was_there)) {
                return hth_fail_nomem(err, n * sizeof(hth_map_slot));
            }
            if (was_there) return fail_duplicate(c, t.name, old, i, err);
            c->tensors[c->n_tensor++] = t;
        }
    }
    return HTH_OK;
}

// Opens c->shards[i_shard] as folder/name.
static hth_code open_shard(hth_container *c, const char *name, hth_err *err) {
    hth_shard *shard = &c->shards[c->n_shard];
    shard->path = hth_container_join(c->folder, name);
    if (!shard->path) return hth_fail_nomem(err, strlen(name));
    c->n_shard++;
    if (hth_path_kind_of(shard->path) == HTH_PATH_NONE) {
        return hth_fail_in(err, hth_fail(err, HTH_ERR_NOTFOUND, "this part of the model is missing"),
                           shard->path);
    }
    return hth_safetensors_open(shard->path, &shard->file, err);
}

static hth_code load_one_shard(hth_container *c, const char *name, hth_err *err) {
    c->shards = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *c->shards);
    if (!c->shards) return hth_fail_nomem(err, sizeof *c->shards);
    HTH_TRY(open_shard(c, name, err));
    return gather_tensors(c, err);
}

// A shard's name must be a file in the folder itself: an index may not lead elsewhere.
static bool is_plain_name(const hth_json *v) {
    return v->kind == HTH_JSON_STRING && v->n > 0 && v->n < 256 && strlen(v->u.str) == v->n &&
           v->u.str[0] != '.' && !strpbrk(v->u.str, "/\\:") && has_suffix(v->u.str, ".safetensors");
}

// The index while it is being followed.
typedef struct index_reader {
    hth_container *c;
    const hth_json *map; // weight_map
    hth_map shard_of;    // file name -> shard
    const char **names;  // owned array of views: name of each shard
    size_t n_name;
    hth_err *err;
} index_reader;

static hth_code collect_names(index_reader *r) {
    for (uint32_t i = 0; i < r->map->n; i++) {
        const hth_json *v = &r->map->u.members[i].value;
        if (!is_plain_name(v)) {
            hth_shown tensor = hth_show_name(r->map->u.members[i].key, r->map->u.members[i].key_len);
            return hth_fail_at(
                r->err, HTH_ERR_FORMAT, v->pos,
                "weight_map: the file of '%s' is not the name of a .safetensors file in this folder",
                tensor.text);
        }
        bool was_there;
        if (!hth_map_insert(&r->shard_of, v->u.str, v->n, (uint32_t)r->n_name, NULL, &was_there)) {
            return hth_fail_nomem(r->err, sizeof(hth_map_slot) * r->map->n);
        }
        if (was_there) continue;
        if (r->n_name == FILES_MAX) {
            return hth_fail_at(r->err, HTH_ERR_LIMIT, v->pos, "weight_map names too many files");
        }
        r->names[r->n_name++] = v->u.str;
    }
    return HTH_OK;
}

// Every tensor that the index promises must be where it says.
static hth_code check_promises(const index_reader *r) {
    for (uint32_t i = 0; i < r->map->n; i++) {
        const hth_json_member *m = &r->map->u.members[i];
        uint32_t i_tensor, i_shard;
        bool ok = hth_map_find(&r->c->by_name, m->key, m->key_len, &i_tensor) &&
                  hth_map_find(&r->shard_of, m->value.u.str, m->value.n, &i_shard) &&
                  r->c->tensors[i_tensor].i_file == (int)i_shard;
        if (ok) continue;
        hth_shown tensor = hth_show_name(m->key, m->key_len),
                  file = hth_show_name(m->value.u.str, m->value.n);
        return hth_fail_at(r->err, HTH_ERR_FORMAT, m->value.pos, "weight_map: tensor '%s' is not in %s",
                           tensor.text, file.text);
    }
    return HTH_OK;
}

static hth_code follow_index(index_reader *r, const char *index_path) {
    hth_container *c = r->c;
    if (!r->map || r->map->kind != HTH_JSON_OBJECT || r->map->n == 0) {
        hth_code code = hth_fail_at(r->err, HTH_ERR_FORMAT, r->map ? r->map->pos : 0,
                                    "'weight_map' is not an object with entries");
        return hth_fail_in(r->err, code, index_path);
    }
    r->names = hth_calloc(HTH_MEM_FORMAT, r->map->n, sizeof *r->names);
    if (!r->names || !hth_map_init(&r->shard_of, HTH_MEM_FORMAT, 0)) return hth_fail_nomem(r->err, r->map->n);
    hth_code code = collect_names(r);
    if (code != HTH_OK) return hth_fail_in(r->err, code, index_path);
    c->shards = hth_calloc(HTH_MEM_FORMAT, r->n_name, sizeof *c->shards);
    if (!c->shards) return hth_fail_nomem(r->err, r->n_name * sizeof *c->shards);
    for (size_t i = 0; i < r->n_name; i++) HTH_TRY(open_shard(c, r->names[i], r->err));
    HTH_TRY(gather_tensors(c, r->err));
    code = check_promises(r);
    return code == HTH_OK ? HTH_OK : hth_fail_in(r->err, code, index_path);
}

static hth_code load_index(hth_container *c, hth_err *err) {
    const hth_json *root;
    HTH_TRY(hth_container_json(c, INDEX_NAME, &root, err));
    char *path = hth_container_join(c->folder, INDEX_NAME);
    if (!path) return hth_fail_nomem(err, sizeof INDEX_NAME);
    index_reader r = {.c = c, .map = hth_json_get(root, "weight_map"), .err = err};
    hth_code code = follow_index(&r, path);
    hth_map_free(&r.shard_of);
    hth_free((void *)r.names);
    hth_free(path);
    return code;
}

// ---- folders

// On the stack: a refused allocation must not make a file look absent. No system opens a longer path.
static bool has_file(const char *folder, const char *name) {
    char path[4352];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && hth_path_kind_of(path) == HTH_PATH_FILE;
}

// "model-00001-of-00002.safetensors": one of several, useless alone.
static bool is_part_name(const char *name) {
    const char *of = strstr(name, "-of-");
    return of && strncmp(of, "-of-00001.", 10) != 0;
}

// Weights in files that bear another name: only a single, whole one is beyond doubt.
static hth_code load_odd_shard(hth_container *c, size_t *n_found, hth_err *err) {
    char **names;
    HTH_TRY(hth_folder_list(c->folder, ".safetensors", HTH_MEM_FORMAT, FILES_MAX, &names, n_found, err));
    hth_code code = HTH_OK;
    if (*n_found == 1 && !is_part_name(names[0])) {
        code = load_one_shard(c, names[0], err);
    } else if (*n_found > 0) {
        code = hth_fail(err, HTH_ERR_NOTFOUND,
                        "%zu safetensors files (%s ...), but neither model.safetensors nor %s", *n_found,
                        names[0], INDEX_NAME);
        code = hth_fail_in(err, code, c->folder);
    }
    hth_free(names);
    return code;
}

static hth_code load_safetensors_of_folder(hth_container *c, size_t *n_found, hth_err *err) {
    *n_found = 1;
    if (has_file(c->folder, INDEX_NAME)) return load_index(c, err);
    if (has_file(c->folder, "model.safetensors")) return load_one_shard(c, "model.safetensors", err);
    return load_odd_shard(c, n_found, err);
}

static hth_code fail_no_weights(const hth_container *c, bool has_config, hth_err *err) {
    hth_code code;
    if (!has_config) {
        code =
            hth_fail(err, HTH_ERR_NOTFOUND, "no model in this folder: neither config.json nor a .gguf file");
    } else if (has_file(c->path, "pytorch_model.bin") || has_file(c->path, "pytorch_model.bin.index.json")) {
        code = hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "pytorch_model.bin is not read; convert the weights to safetensors");
    } else {
        code =
            hth_fail(err, HTH_ERR_NOTFOUND,
                     "no weights in this folder: neither model.safetensors, %s nor a .gguf file", INDEX_NAME);
    }
    return hth_fail_in(err, code, c->path);
}

static hth_code load_folder(hth_container *c, hth_err *err) {
    size_t n_found = 0;
    bool has_config = has_file(c->path, "config.json");
    if (has_config) {
        c->folder = hth_strndup(HTH_MEM_FORMAT, c->path, strlen(c->path));
        if (!c->folder) return hth_fail_nomem(err, strlen(c->path));
        HTH_TRY(load_safetensors_of_folder(c, &n_found, err));
        if (n_found > 0) return HTH_OK;
        hth_free(c->folder); // no side files: a GGUF carries its own metadata
        c->folder = NULL;
    }
    HTH_TRY(load_gguf_of_folder(c, &n_found, err));
    return n_found > 0 ? HTH_OK : fail_no_weights(c, has_config, err);
}

// ---- files

// Eight bytes of length, then the JSON object that a safetensors header is.
static hth_code is_safetensors(const char *path, bool *out, hth_err *err) {
    hth_file_map map = {0};
    HTH_TRY(hth_file_map_open(path, &map, err));
    bool is_gguf = map.n_bytes >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    *out = !is_gguf &&
           (has_suffix(path, ".safetensors") || (map.n_bytes > 9 && map.data[8] == '{' && map.data[7] == 0));
    hth_file_map_close(&map);
    return HTH_OK;
}

static hth_code load_safetensors_file(hth_container *c, hth_err *err) {
    const char *name = file_name(c->path);
    size_t n = (size_t)(name - c->path);
    c->folder = n == 0 ? hth_strndup(HTH_MEM_FORMAT, ".", 1) : hth_strndup(HTH_MEM_FORMAT, c->path, n);
    if (!c->folder) return hth_fail_nomem(err, n);
    if (!has_file(c->folder, "config.json")) {
        return hth_fail_in(err, hth_fail(err, HTH_ERR_NOTFOUND, "there is no config.json beside this file"),
                           c->path);
    }
    if (is_part_name(name) && has_file(c->folder, INDEX_NAME)) return load_index(c, err);
    return load_one_shard(c, name, err);
}

hth_code hth_container_load(hth_container *c, hth_err *err) {
    switch (hth_path_kind_of(c->path)) {
    case HTH_PATH_FOLDER: return load_folder(c, err);
    case HTH_PATH_FILE: break;
    case HTH_PATH_NONE:
        return hth_fail_in(err, hth_fail(err, HTH_ERR_NOTFOUND, "no such file or folder"), c->path);
    default: return hth_fail_in(err, hth_fail(err, HTH_ERR_IO, "neither a file nor a folder"), c->path);
    }
    bool is_st;
    HTH_TRY(is_safetensors(c->path, &is_st, err));
    return is_st ? load_safetensors_file(c, err) : load_gguf(c, c->path, err);
}
