// llama-server's slots. Sequences have no places of their own here: what was computed is found by its text.
// What a slot stands for is the last conversation that named it, and saving a slot is saving what is cached
// of that conversation.
#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "os/file.h"
#include "os/sync.h"
#include "server/body.h"
#include "server/config.h"
#include "server/dialects.h"
#include "server/llama.h"

#define MAX_SLOTS 256
#define MAX_SLOT_BYTES ((uint64_t)64 << 20)

typedef struct kept { // one conversation; everything in the arena
    hth_arena arena;
    hth_segment *segments; // [n_segment]
    size_t n_segment;
    char model[320];
    bool is_there;
} kept;

struct hth_llama_slots {
    hth_mutex lock;
    kept slots[MAX_SLOTS];
};

hth_llama_slots *hth_llama_slots_new(void) {
    hth_err err;
    hth_llama_slots *t = hth_calloc(HTH_MEM_SERVER, 1, sizeof *t);
    if (t && hth_mutex_init(&t->lock, &err) == HTH_OK) return t;
    hth_free(t);
    return NULL;
}

static void forget(kept *k) {
    if (k->is_there) hth_arena_free(&k->arena);
    *k = (kept){0};
}

void hth_llama_slots_free(hth_llama_slots *t) {
    if (!t) return;
    for (size_t i = 0; i < MAX_SLOTS; i++) forget(&t->slots[i]);
    hth_mutex_destroy(&t->lock);
    hth_free(t);
}

// ---- what was said

static bool keep_segment(kept *k, const hth_segment *from) {
    hth_segment *to = &k->segments[k->n_segment++];
    *to = *from;
    if (from->tokens) {
        int32_t *ids = hth_arena_alloc(&k->arena, from->n_token + 1, sizeof *ids);
        if (!ids) return false;
        memcpy(ids, from->tokens, from->n_token * sizeof *ids);
        to->tokens = ids;
    } else {
        to->text = hth_arena_strndup(&k->arena, from->text, from->n_text);
        if (!to->text) return false;
    }
    return true;
}

static bool keep_all(kept *k, const hth_ask *a, const int32_t *ids, size_t n_id) {
    const hth_ask_prompt *p = &a->prompts[0];
    const hth_segment answer = {.tokens = ids, .n_token = n_id};
    k->segments = hth_arena_alloc(&k->arena, p->n_segment + 1, sizeof *k->segments);
    bool ok = k->segments != NULL;
    for (size_t i = 0; ok && i < p->n_segment; i++) ok = keep_segment(k, &p->segments[i]);
    return ok && (n_id == 0 || keep_segment(k, &answer));
}

void llama_slot_keep(hth_llama_slots *t, int64_t id, const char *model, const hth_ask *a, const int32_t *ids,
                     size_t n_id) {
    if (!t || id < 0 || id >= MAX_SLOTS || a->n_prompt == 0) return;
    hth_lock(&t->lock);
    kept *k = &t->slots[id];
    forget(k);
    hth_arena_init(&k->arena, HTH_MEM_SERVER, MAX_SLOT_BYTES);
    k->is_there = true;
    snprintf(k->model, sizeof k->model, "%s", model);
    if (!keep_all(k, a, ids, n_id)) forget(k);
    hth_unlock(&t->lock);
}

// ---- actions

typedef struct action {
    hth_server *s;
    hth_exchange *x;
    int64_t id;
    hth_chat_text filename;
    char path[4096];
    hth_fault fault;
} action;

static const hth_field fields[] = {
    {.name = "filename",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(action, filename),
     .help = "without folders"},
};

static bool read_filename(action *w) {
    hth_fields f;
    const hth_json *root;
    if (!hth_body_read(w->x, &f, &root, &w->fault) ||
        !hth_fields_read(&f, fields, HTH_COUNT(fields), root, w))
        return false;
    const char *name = w->filename.p ? w->filename.p : "";
    const size_t n = strlen(name);
    const bool is_plain =
        n > 0 && n <= 255 && name[0] != '.' && strlen(name) == w->filename.n && !strpbrk(name, "/\\:*?\"<>|");
    if (!is_plain) return hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "filename", "Invalid filename");
    snprintf(w->path, sizeof w->path, "%s/%s", w->s->config->slot_folder, name);
    return true;
}

static void reply(action *w, const char *count, int64_t n, const char *bytes, const char *ms, uint64_t ns) {
    int64_t modified;
    uint64_t n_bytes = 0;
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    if (bytes) (void)!hth_path_facts(w->path, &modified, &n_bytes);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "id_slot", w->id);
    if (bytes) hth_json_out_str(&j, "filename", w->filename.p, w->filename.n);
    hth_json_out_int(&j, count, n);
    if (bytes) hth_json_out_int(&j, bytes, (int64_t)n_bytes);
    if (ms) {
        hth_json_out_begin(&j, "timings", '{');
        hth_json_out_num(&j, ms, (double)ns * 1e-6);
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, '}');
    llama_reply_json(w->x, &body);
}

// Takes the conversation out while it is worked with, so that nobody waits for the disk; a newer one stays.
static kept take_out(hth_llama_slots *t, int64_t id) {
    hth_lock(&t->lock);
    const kept own = t->slots[id];
    t->slots[id] = (kept){0};
    hth_unlock(&t->lock);
    return own;
}

static void put_back(hth_llama_slots *t, int64_t id, kept *own) {
    hth_lock(&t->lock);
    if (t->slots[id].is_there)
        forget(own);
    else
        t->slots[id] = *own;
    hth_unlock(&t->lock);
}

typedef hth_code (*file_fn)(hth_engine *e, const hth_request_params *p, const char *path, int64_t *n,
                            hth_err *err);

static bool with_slot(action *w, file_fn work, bool needs_text, int64_t *n) {
    static const hth_segment nothing = {.text = "", .n_text = 0};
    hth_use *use = NULL;
    hth_err err;
    kept k = take_out(w->s->slots, w->id);
    bool ok = k.is_there || !needs_text ||
              hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "id_slot", "slot %lld has computed nothing",
                         (long long)w->id);
    ok = ok && llama_acquire(w->s, w->x, k.is_there ? k.model : NULL, &use, &w->fault);
    const hth_request_params p = {.segments = k.is_there ? k.segments : &nothing,
                                  .n_segment = k.is_there ? k.n_segment : 1,
                                  .add_special = true,
                                  .adapters = use ? use->adapters : NULL};
    if (ok && work(use->engine, &p, w->path, n, &err) != HTH_OK) {
        ok = hth_refuse_err(&w->fault, &err, NULL);
        if (err.code == HTH_ERR_NOTFOUND) w->fault.kind = HTH_FAULT_BAD_REQUEST;
    }
    put_back(w->s->slots, w->id, &k);
    hth_models_release(w->s->models, use);
    return ok;
}

static void run(action *w, bool is_save) {
    const uint64_t started = hth_clock_ns();
    int64_t n = 0;
    if (!read_filename(w) || !with_slot(w, is_save ? hth_engine_save : hth_engine_restore, is_save, &n)) {
        hth_reply_fault(w->x, &w->fault);
        return;
    }
    const uint64_t ns = hth_clock_ns() - started;
    if (is_save)
        reply(w, "n_saved", n, "n_written", "save_ms", ns);
    else
        reply(w, "n_restored", n, "n_read", "restore_ms", ns);
}

static void erase(action *w) {
    hth_llama_slots *t = w->s->slots;
    int64_t n = 0;
    hth_lock(&t->lock);
    const kept *k = &t->slots[w->id];
    for (size_t i = 0; k->is_there && i < k->n_segment; i++) n += (int64_t)k->segments[i].n_token;
    forget(&t->slots[w->id]);
    hth_unlock(&t->lock);
    reply(w, "n_erased", n, NULL, NULL, 0);
}

static bool read_id(const char *text, int64_t *id) {
    *id = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9' || *id > MAX_SLOTS) return false;
        *id = *id * 10 + (*p - '0');
    }
    return text[0] && *id < MAX_SLOTS;
}

void llama_slot_action(hth_server *s, hth_exchange *x, const hth_match *m) {
    action w = {.s = s, .x = x};
    const char *what = hth_exchange_query(x, "action");
    if (!s->config->slot_folder || !s->slots) {
        (void)hth_refuse(&w.fault, HTH_FAULT_NOT_OFFERED, NULL,
                         "This server does not support slots action. Start it with `--slot-save-path`");
    } else if (!read_id(m->captures[0], &w.id)) {
        (void)hth_refuse(&w.fault, HTH_FAULT_BAD_REQUEST, "id_slot", "Invalid slot ID");
    } else if (!what ||
               (strcmp(what, "save") != 0 && strcmp(what, "restore") != 0 && strcmp(what, "erase") != 0)) {
        (void)hth_refuse(&w.fault, HTH_FAULT_BAD_REQUEST, "action", "Invalid action");
    }
    if (w.fault.kind != HTH_FAULT_NONE)
        hth_reply_fault(x, &w.fault);
    else if (strcmp(what, "erase") == 0)
        erase(&w);
    else
        run(&w, strcmp(what, "save") == 0);
}
