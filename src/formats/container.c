// The container's life, its look-ups, and the side files of a folder.
#include "formats/container.h"

#include <stdio.h>
#include <string.h>

#include "formats/container_impl.h"
#include "os/file.h"

#define SIDE_MAX_BYTES ((uint64_t)128 << 20) // the largest tokenizer.json known is 33 MB
#define TREE_FACTOR 24                       // a list of one-digit numbers, the densest JSON, needs 20
#define TREE_BASE ((uint64_t)1 << 20)

hth_code hth_container_open(const char *path, hth_container **out, hth_err *err) {
    *out = NULL;
    hth_container *c = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *c);
    if (c) c->path = hth_strndup(HTH_MEM_FORMAT, path, strlen(path));
    if (!c || !c->path) {
        hth_free(c);
        return hth_fail_nomem(err, sizeof *c + strlen(path));
    }
    hth_code code = hth_container_load(c, err);
    if (code != HTH_OK) {
        hth_container_close(c);
        return code;
    }
    *out = c;
    return HTH_OK;
}

void hth_container_close(hth_container *c) {
    if (!c) return;
    while (c->sides) {
        hth_side_file *side = c->sides;
        c->sides = side->next;
        hth_json_free(side->doc);
        hth_free(side->text);
        hth_free(side->name);
        hth_free(side);
    }
    for (int i = 0; i < c->n_shard; i++) {
        hth_safetensors_close(c->shards[i].file);
        hth_free(c->shards[i].path);
    }
    hth_gguf_close(c->gguf);
    hth_map_free(&c->by_name);
    hth_free(c->shards);
    hth_free(c->tensors);
    hth_free(c->folder);
    hth_free(c->path);
    hth_free(c);
}

const char *hth_container_path(const hth_container *c) {
    return c->path;
}

uint64_t hth_container_bytes(const hth_container *c) {
    uint64_t sum = 0, n;
    for (int i = 0; i < hth_container_n_file(c); i++) {
        (void)hth_container_file_data(c, i, &n);
        sum += n;
    }
    return sum;
}

int64_t hth_container_n_tensor(const hth_container *c) {
    return c->gguf ? hth_gguf_n_tensor(c->gguf) : (int64_t)c->n_tensor;
}

const hth_tensor *hth_container_tensor_at(const hth_container *c, int64_t i) {
    if (c->gguf) return hth_gguf_tensor_at(c->gguf, i);
    return i >= 0 && (uint64_t)i < c->n_tensor ? &c->tensors[i] : NULL;
}

const hth_tensor *hth_container_find(const hth_container *c, const char *name) {
    uint32_t i;
    return hth_map_find(&c->by_name, name, strlen(name), &i) ? hth_container_tensor_at(c, i) : NULL;
}

int hth_container_n_file(const hth_container *c) {
    return c->gguf ? hth_gguf_n_file(c->gguf) : c->n_shard;
}

const char *hth_container_file_path(const hth_container *c, int i) {
    if (c->gguf) return hth_gguf_file_path(c->gguf, i);
    return i >= 0 && i < c->n_shard ? c->shards[i].path : NULL;
}

const uint8_t *hth_container_file_data(const hth_container *c, int i, uint64_t *n_bytes) {
    if (c->gguf) return hth_gguf_file_data(c->gguf, i, n_bytes);
    if (i >= 0 && i < c->n_shard) return hth_safetensors_data(c->shards[i].file, n_bytes);
    if (n_bytes) *n_bytes = 0;
    return NULL;
}

const hth_gguf *hth_container_gguf(const hth_container *c) {
    return c->gguf;
}

char *hth_container_join(const char *folder, const char *name) {
    size_t n = strlen(folder), cap = n + strlen(name) + 2;
    char *path = hth_alloc(HTH_MEM_FORMAT, cap);
    if (path) snprintf(path, cap, "%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", name);
    return path;
}

static hth_side_file *find_side(const hth_container *c, const char *name, bool as_json) {
    for (hth_side_file *s = c->sides; s; s = s->next) {
        if ((as_json ? !s->text : !s->doc) && strcmp(s->name, name) == 0) return s;
    }
    return NULL;
}

static hth_code parse_side(hth_side_file *side, const char *path, hth_err *err) {
    uint64_t max_bytes = TREE_FACTOR * (uint64_t)side->n + TREE_BASE;
    hth_code code = hth_json_parse(side->text, side->n, max_bytes, &side->doc, err);
    hth_free(side->text);
    side->text = NULL;
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

// Reads the file when it is there.
static hth_code load_side(const hth_container *c, hth_side_file *side, bool as_json, hth_err *err) {
    char *path = hth_container_join(c->folder, side->name);
    if (!path) return hth_fail_nomem(err, strlen(side->name));
    hth_code code = HTH_OK;
    if (hth_path_kind_of(path) != HTH_PATH_NONE) {
        code = hth_file_read(path, HTH_MEM_FORMAT, SIDE_MAX_BYTES, &side->text, &side->n, err);
        if (code == HTH_OK && as_json) code = parse_side(side, path, err);
    }
    hth_free(path);
    return code;
}

// The side file from memory or disk; *out is owned by c.
static hth_code get_side(hth_container *c, const char *name, bool as_json, hth_side_file **out,
                         hth_err *err) {
    *out = find_side(c, name, as_json);
    if (*out) return HTH_OK;
    hth_side_file *side = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *side);
    if (side) side->name = hth_strndup(HTH_MEM_FORMAT, name, strlen(name));
    hth_code code = side && side->name ? load_side(c, side, as_json, err) : hth_fail_nomem(err, sizeof *side);
    if (code != HTH_OK) {
        if (side) hth_free(side->name);
        hth_free(side);
        return code;
    }
    side->next = c->sides;
    c->sides = side;
    *out = side;
    return HTH_OK;
}

hth_code hth_container_json(hth_container *c, const char *file, const hth_json **out, hth_err *err) {
    hth_side_file *side;
    *out = NULL;
    if (!c->folder) return HTH_OK;
    HTH_TRY(get_side(c, file, true, &side, err));
    if (side->doc) *out = hth_json_root(side->doc);
    return HTH_OK;
}

hth_code hth_container_text(hth_container *c, const char *file, const char **out, size_t *n, hth_err *err) {
    hth_side_file *side;
    *out = NULL;
    if (n) *n = 0;
    if (!c->folder) return HTH_OK;
    HTH_TRY(get_side(c, file, false, &side, err));
    *out = side->text;
    if (n) *n = side->n;
    return HTH_OK;
}
