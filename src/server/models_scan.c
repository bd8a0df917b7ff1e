// What is offered, as the disk has it now: the paths that were named, what lies in the folders, and created
// models.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/file.h"
#include "server/models_impl.h"

#define MAX_DEPTH 5 // of folders in a models folder; the hub's cache needs four

typedef struct scan {
    hth_models *m;
    card **found; // [n] held
    size_t n, cap;
    bool strict;
    hth_err *err;
} scan;

// ---- one model

static bool is_hidden(hth_models *m, const char *path) {
    bool found = false;
    hth_lock(&m->lock);
    for (size_t i = 0; i < m->n_hidden && !found; i++) found = strcmp(m->hidden[i], path) == 0;
    hth_unlock(&m->lock);
    return found;
}

static bool is_same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_creation(const card *c, const card_source *from) {
    const hth_preset *a = &c->pub.preset, *b = from->preset;
    bool same = strcmp(c->pub.name, from->name) == 0 && is_same_text(c->pub.parent, from->parent ? from->parent : "") &&
                is_same_text(a->system, b->system) && is_same_text(a->chat_template, b->chat_template) &&
                is_same_text(a->license, b->license) && is_same_text(a->options_json, b->options_json) &&
                is_same_text(a->messages_json, b->messages_json) && a->n_adapter == b->n_adapter;
    for (size_t i = 0; same && i < a->n_adapter; i++) same = is_same_text(a->adapters[i], b->adapters[i]);
    return same;
}

// The card of the last look, where nothing has changed since. Returns held or NULL.
static card *find_unchanged(hth_models *m, const card_source *from) {
    int64_t modified;
    uint64_t n_bytes;
    card *found = NULL;
    if (!hth_path_facts(from->path, &modified, &n_bytes)) return NULL;
    hth_lock(&m->lock);
    for (size_t i = 0; i < m->n_card && !found; i++) {
        card *c = m->cards[i];
        if (strcmp(c->pub.path, from->path) != 0 || c->origin != from->origin) continue;
        if (c->seen_modified_s != modified || c->seen_bytes != n_bytes) continue;
        if (c->origin == CARD_CREATED && !is_same_creation(c, from)) continue;
        found = card_of(hth_card_hold(&c->pub));
    }
    hth_unlock(&m->lock);
    return found;
}

static bool has_name(const scan *s, const char *name) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->found[i]->pub.name, name) == 0) return true;
    }
    return false;
}

// Takes the card.
static hth_code add_card(scan *s, card *c) {
    void *list = s->found;
    const bool ok = hth_grow(HTH_MEM_ENGINE, &list, &s->cap, s->n + 1, sizeof *s->found, MODELS_MAX_CARD);
    s->found = list;
    if (!ok) {
        hth_card_drop(&c->pub);
        return hth_fail(s->err, HTH_ERR_LIMIT, "there are more than %d models", MODELS_MAX_CARD);
    }
    s->found[s->n++] = c;
    return HTH_OK;
}

// Two files of one name: the folder that the second lies in comes before its name.
static hth_code name_apart(const card_source *from, card **c, hth_err *err) {
    const char *end = strrchr(from->path, '/'), *start = end;
    while (start && start > from->path && start[-1] != '/') start--;
    if (!end || end == from->path) return HTH_OK;
    hth_str name;
    hth_str_init(&name, HTH_MEM_TEXT, 8192);
    hth_str_append(&name, start, (size_t)(end - start));
    hth_str_printf(&name, "/%s", (*c)->pub.name);
    card_source other = *from;
    other.name = hth_str_text(&name);
    card *again = NULL;
    const hth_code code = model_name_is_valid(other.name) ? card_make(&other, &again, err) : HTH_OK;
    hth_str_free(&name);
    if (again) {
        hth_card_drop(&(*c)->pub);
        *c = again;
    }
    return code;
}

static hth_code add_model(scan *s, const card_source *from) {
    if (is_hidden(s->m, from->path)) return HTH_OK;
    card *c = find_unchanged(s->m, from);
    hth_err err;
    if (!c) {
        hth_code code = card_make(from, &c, &err);
        if (code == HTH_OK && has_name(s, c->pub.name) && !from->name) code = name_apart(from, &c, &err);
        if (code != HTH_OK) {
            hth_card_drop(c ? &c->pub : NULL);
            if (s->strict && from->origin == CARD_OFFERED) {
                if (s->err) *s->err = err;
                return code;
            }
            hth_log(HTH_LOG_INFO, "%s is left out: %s", from->path, err.msg);
            return HTH_OK;
        }
    }
    if (!has_name(s, c->pub.name)) return add_card(s, c);
    hth_log(HTH_LOG_WARN, "%s is left out: there is a model called %s already", from->path, c->pub.name);
    hth_card_drop(&c->pub);
    return HTH_OK;
}

// ---- folders

// Parts of a split model but the first, projectors of pictures.
static bool is_model_file(const char *name) {
    const size_t n = strlen(name);
    const char *of = strstr(name, "-of-");
    if (strncmp(name, "mmproj", 6) == 0) return false;
    if (!of || of < name + 6 || n < 15 || of != name + n - 14) return true; // "-00002-of-00003.gguf"
    return strncmp(of - 6, "-00001", 6) == 0;
}

static void join(hth_str *to, const char *folder, const char *name) {
    hth_str_clear(to);
    hth_str_printf(to, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", name);
}

static bool has_file(const char *folder, const char *name) {
    hth_str path;
    hth_str_init(&path, HTH_MEM_TEXT, 8192);
    join(&path, folder, name);
    const bool found = !path.failed && hth_path_kind_of(hth_str_text(&path)) == HTH_PATH_FILE;
    hth_str_free(&path);
    return found;
}

static bool is_model_folder(const char *path) {
    return has_file(path, "config.json") &&
           (has_file(path, "model.safetensors") || has_file(path, "model.safetensors.index.json"));
}

static hth_code add_files(scan *s, const char *folder, const card_source *like) {
    char **names;
    size_t n;
    hth_str path;
    hth_code code = hth_folder_list(folder, ".gguf", HTH_MEM_ENGINE, MODELS_MAX_FILES, &names, &n, s->err);
    if (code != HTH_OK) return code;
    hth_str_init(&path, HTH_MEM_TEXT, 8192);
    for (size_t i = 0; i < n && code == HTH_OK; i++) {
        if (!is_model_file(names[i])) continue;
        join(&path, folder, names[i]);
        card_source from = *like;
        from.path = hth_str_text(&path);
        if (!path.failed) code = add_model(s, &from);
    }
    hth_str_free(&path);
    hth_free(names);
    return code;
}

typedef struct folder_list {
    char *paths[1024]; // owned; those still to be looked at
    int depth[1024];
    size_t n;
} folder_list;

static void push_folders(folder_list *todo, const char *folder, int depth) {
    char **names;
    size_t n;
    hth_err err;
    hth_str path;
    if (hth_folder_list_folders(folder, HTH_MEM_ENGINE, MODELS_MAX_FILES, &names, &n, &err) != HTH_OK) return;
    hth_str_init(&path, HTH_MEM_TEXT, 8192);
    for (size_t i = n; i > 0 && todo->n < HTH_COUNT(todo->paths); i--) {
        join(&path, folder, names[i - 1]);
        todo->depth[todo->n] = depth;
        todo->paths[todo->n] = path.failed ? NULL : hth_strndup(HTH_MEM_ENGINE, path.p, path.len);
        if (todo->paths[todo->n]) todo->n++;
    }
    hth_str_free(&path);
    hth_free(names);
}

// All models below a folder, in a depth-first walk without recursion.
static hth_code add_folder(scan *s, const char *root, const card_source *like) {
    folder_list *todo = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *todo);
    if (!todo) return hth_fail_nomem(s->err, sizeof *todo);
    hth_code code = add_files(s, root, like);
    push_folders(todo, root, 1);
    while (todo->n > 0) {
        todo->n--;
        char *path = todo->paths[todo->n];
        const int depth = todo->depth[todo->n];
        card_source from = *like;
        from.path = path;
        hth_err err;
        hth_err *outer = s->err;
        if (code == HTH_OK && is_model_folder(path)) {
            code = add_model(s, &from);
        } else if (code == HTH_OK) {
            s->err = &err; // a folder that cannot be read hides nothing but itself
            (void)!add_files(s, path, like);
            s->err = outer;
            if (depth < MAX_DEPTH) push_folders(todo, path, depth + 1);
        }
        hth_free(path);
    }
    hth_free(todo);
    return code;
}

// ---- all

static hth_code add_offer(scan *s, const hth_offer *offer) {
    const card_source from = {.path = offer->path,
                              .alias = offer->alias,
                              .origin = CARD_OFFERED,
                              .load = offer->load ? offer->load : &s->m->p.load,
                              .draft = offer->draft};
    const hth_path_kind kind = hth_path_kind_of(offer->path);
    if (kind == HTH_PATH_NONE && s->strict) {
        return hth_fail(s->err, HTH_ERR_NOTFOUND, "%s: there is no such file or folder", offer->path);
    }
    if (kind != HTH_PATH_FOLDER || is_model_folder(offer->path)) return add_model(s, &from);
    const size_t n = s->n;
    card_source found = from;
    found.alias = NULL;
    found.origin = CARD_FOUND;
    HTH_TRY(add_folder(s, offer->path, &found));
    if (s->n == n && s->strict)
        return hth_fail(s->err, HTH_ERR_NOTFOUND, "%s: there is no model in this folder", offer->path);
    return HTH_OK;
}

static hth_code add_created(scan *s) {
    if (!s->m->p.state_folder) return HTH_OK;
    created *list;
    size_t n;
    hth_arena a;
    hth_arena_init(&a, HTH_MEM_ENGINE, (uint64_t)1 << 30);
    hth_code code = store_read(s->m->p.state_folder, &a, &list, &n, s->err);
    for (size_t i = 0; i < n && code == HTH_OK; i++) {
        const card_source from = {.path = list[i].path,
                                  .name = list[i].name,
                                  .parent = list[i].parent,
                                  .preset = &list[i].preset,
                                  .origin = CARD_CREATED,
                                  .load = &s->m->p.load};
        code = add_model(s, &from);
    }
    hth_arena_free(&a);
    return code;
}

static hth_code look(scan *s) {
    for (size_t i = 0; i < s->m->p.n_offer; i++) HTH_TRY(add_offer(s, &s->m->p.offers[i]));
    const card_source like = {.origin = CARD_FOUND, .load = &s->m->p.load};
    for (size_t i = 0; i < s->m->p.n_folder; i++) {
        if (hth_path_kind_of(s->m->p.folders[i]) == HTH_PATH_FOLDER || s->strict) {
            HTH_TRY(add_folder(s, s->m->p.folders[i], &like));
        }
    }
    return add_created(s);
}

hth_code models_scan(hth_models *m, bool strict, hth_err *err) {
    hth_lock(&m->scan_lock);
    scan s = {.m = m, .strict = strict, .err = err};
    const hth_code code = look(&s);
    card **old = s.found;
    size_t n_old = s.n;
    if (code == HTH_OK) {
        hth_lock(&m->lock);
        old = m->cards;
        n_old = m->n_card;
        m->cards = s.found;
        m->n_card = s.n;
        hth_unlock(&m->lock);
    }
    for (size_t i = 0; i < n_old; i++) hth_card_drop(&old[i]->pub);
    hth_free(old);
    hth_unlock(&m->scan_lock);
    return code;
}
