// Ollama's models that clients make, copy and delete, and the blobs that they are made from. A blob is a file
// in STATE/blobs under its SHA-256; it is there whole or not at all.
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "os/file.h"
#include "server/access.h"
#include "server/body.h"
#include "server/field_sets.h"
#include "server/ollama.h"
#include "server/options.h"

#define MAX_ADAPTERS 8

typedef struct request {
    hth_ask scratch; // first: options and messages are read into it to see that they are right
    hth_chat_text model, name, from, template, system, quantize;
    const char *license, *options, *messages, *file;
    const char *adapters[MAX_ADAPTERS];
    size_t n_adapter;
    bool stream, may_read_disk;
    hth_server *s;
} request;

// ---- blobs

static bool is_digest(const char *text) {
    size_t n = 0;
    if (strncmp(text, "sha256", 6) != 0 || (text[6] != ':' && text[6] != '-')) return false;
    for (const char *p = text + 7; *p; p++, n++) {
        if ((*p < '0' || *p > '9') && (*p < 'a' || *p > 'f')) return false;
    }
    return n == 64;
}

// Where a blob is, or would be: in the arena. NULL where there is no place for blobs.
static const char *blob_path(hth_server *s, hth_arena *a, const char *digest) {
    const char *folder = hth_models_state_folder(s->models);
    hth_str path;
    if (!folder) return NULL;
    hth_str_init(&path, HTH_MEM_SERVER, 8192);
    hth_str_printf(&path, "%s/blobs/sha256-%s", folder, digest + 7);
    const char *own = path.failed ? NULL : hth_arena_strndup(a, path.p, path.len);
    hth_str_free(&path);
    return own;
}

// Captures are digests: nothing else gets to be a path.
static bool find_blob(hth_server *s, hth_exchange *x, const char *digest, const char **path,
                      hth_fault *fault) {
    if (!is_digest(digest)) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "digest",
                          "\"%.100s\" is no digest: sha256: and 64 hexadecimal digits", digest);
    }
    *path = blob_path(s, hth_exchange_arena(x), digest);
    return *path ||
           hth_refuse(fault, HTH_FAULT_UNSUPPORTED, NULL, "this server has no folder for created models");
}

void ollama_blob_has(hth_server *s, hth_exchange *x, const hth_match *m) {
    const char *path;
    hth_fault fault = {0};
    if (!find_blob(s, x, m->captures[0], &path, &fault)) {
        ollama_refuse(x, &fault);
    } else if (hth_path_kind_of(path) != HTH_PATH_FILE) {
        (void)hth_refuse(&fault, HTH_FAULT_NOT_FOUND, NULL, "blob \"%.100s\" not found", m->captures[0]);
        ollama_refuse(x, &fault);
    } else {
        hth_reply_text(x, 200, OLLAMA_JSON, "");
    }
}

static bool write_blob(hth_exchange *x, const char *digest, const char *path, hth_fault *fault) {
    size_t n;
    hth_err err;
    hth_sha256 sum;
    char got[65];
    const char *body = hth_exchange_body(x, &n);
    hth_sha256_init(&sum);
    hth_sha256_add(&sum, body, n);
    hth_sha256_end_hex(&sum, got);
    if (strcmp(got, digest + 7) != 0) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL,
                          "digest mismatch, expected \"%.80s\", got \"sha256:%s\"", digest, got);
    }
    char *folder = hth_arena_strndup(hth_exchange_arena(x), path, (size_t)(strrchr(path, '/') - path));
    if (!folder) return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (hth_folder_make(folder, &err) == HTH_OK && hth_file_write(path, body, n, &err) == HTH_OK) return true;
    return hth_refuse(fault, HTH_FAULT_INTERNAL, NULL, "%s", err.msg);
}

void ollama_blob_put(hth_server *s, hth_exchange *x, const hth_match *m) {
    const char *path;
    hth_fault fault = {0};
    bool ok = find_blob(s, x, m->captures[0], &path, &fault);
    const bool is_there = ok && hth_path_kind_of(path) == HTH_PATH_FILE;
    if (ok && !is_there) ok = write_blob(x, m->captures[0], path, &fault);
    if (ok)
        hth_reply_text(x, is_there ? 200 : 201, OLLAMA_JSON, "");
    else
        ollama_refuse(x, &fault);
}

// ---- what a model is made from

static const char *keep(hth_fields *f, hth_chat_text text) {
    return text.p ? hth_arena_strndup(f->arena, text.p, text.n) : NULL;
}

// {"name": "sha256:..."}: the blob of one file.
static bool read_blob(hth_fields *f, request *r, const hth_json_member *m, const char **path) {
    const size_t mark = hth_fields_enter(f, m->key);
    if (m->value.kind != HTH_JSON_STRING || !is_digest(m->value.u.str)) {
        return hth_fields_refuse(f, "must be the digest of a blob, sha256: and 64 hexadecimal digits");
    }
    *path = blob_path(r->s, f->arena, m->value.u.str);
    if (!*path) return hth_fields_refuse(f, "cannot be used: this server has no folder for created models");
    if (hth_path_kind_of(*path) != HTH_PATH_FILE)
        return hth_fields_refuse(f, "is a blob that this server does not have");
    hth_fields_leave(f, mark);
    return true;
}

static bool read_files(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (v->n == 0) return true;
    if (v->n > 1) {
        return hth_fields_refuse(
            f,
            "must be one GGUF file; a folder of safetensors can be given by its path on the server, as from");
    }
    return read_blob(f, r, &v->u.members[0], &r->file);
}

static bool read_adapters(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (v->n > MAX_ADAPTERS)
        return hth_fields_refuse(f, "has %u entries; %d are possible", v->n, MAX_ADAPTERS);
    for (uint32_t i = 0; i < v->n; i++) {
        if (!read_blob(f, r, &v->u.members[i], &r->adapters[i])) return false;
    }
    r->n_adapter = v->n;
    return true;
}

static bool read_license(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    const hth_chat_text *texts;
    size_t n;
    hth_str all;
    if (!hth_fields_read_texts(f, v, &texts, &n)) return false;
    hth_str_init(&all, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) hth_str_putc(&all, '\n');
        hth_str_append(&all, texts[i].p, texts[i].n);
    }
    r->license = all.failed ? NULL : hth_arena_strndup(f->arena, hth_str_text(&all), all.len);
    hth_str_free(&all);
    return r->license || hth_fields_no_memory(f);
}

static bool read_parameters(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (!hth_options_read(f, v, &r->scratch)) return false;
    r->options = keep(f, hth_fields_source(f, v));
    return r->options || hth_fields_no_memory(f);
}

static bool read_messages(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (!hth_options_read_messages(f, v, &r->scratch)) return false;
    r->messages = keep(f, hth_fields_source(f, v));
    return r->messages || hth_fields_no_memory(f);
}

#define TEXT(name_, member_, help_) \
    { .name = name_, .kind = HTH_FIELD_TEXT, .offset = offsetof(request, member_), .help = help_ }
#define CUSTOM(name_, words_, read_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .help = help_ }
#define REFUSED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_REFUSED, .help = help_ }

static const hth_field create_fields[] = {
    TEXT("model", model, "the new name"),
    TEXT("name", name, "the same, as older clients say it"),
    TEXT("from", from, "a model's name, or, with an admin's key, a path on the server"),
    CUSTOM("files", "object", read_files, "one GGUF file: {\"name\": \"sha256:...\"}, see blobs"),
    CUSTOM("adapters", "object", read_adapters, "low-rank adapters, as files"),
    TEXT("template", template, "a chat template: Jinja"),
    TEXT("system", system, "for requests that have none of their own"),
    CUSTOM("license", "string|array", read_license, "shown"),
    CUSTOM("parameters", "object", read_parameters, "see the table of options"),
    CUSTOM("messages", "array", read_messages, "come before every conversation"),
    {.name = "stream",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(request, stream),
     .help = "true where it is not given"},
    REFUSED("quantize", "`hearth quantize` does it"),
    REFUSED("quantization", "`hearth quantize` does it"),
    REFUSED("draft_files", "guessing with a second model is a setting of the server"),
    REFUSED("draft_quantize", "guessing with a second model is a setting of the server"),
    REFUSED("remote_host", "models run here"),
    {.name = "info", .kind = HTH_FIELD_IGNORED, .help = "the files say it"},
    {.name = "renderer", .kind = HTH_FIELD_IGNORED, .help = "the template says it"},
    {.name = "parser", .kind = HTH_FIELD_IGNORED, .help = "the template says it"},
    {.name = "requires", .kind = HTH_FIELD_IGNORED, .help = "versions are not compared"},
};
const hth_field_set hth_ollama_create_set = {create_fields, HTH_COUNT(create_fields)};

// Options of the model that it is made from stay unless they are given anew.
static bool merge_options(request *r, hth_fields *f, const char *base) {
    hth_json_doc *old = NULL, *own = NULL;
    hth_err err;
    hth_str all;
    bool ok = hth_json_parse(base, strlen(base), (uint64_t)64 << 20, &old, &err) == HTH_OK &&
              hth_json_parse(r->options, strlen(r->options), (uint64_t)64 << 20, &own, &err) == HTH_OK;
    hth_str_init(&all, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&all, false);
    hth_json_out_begin(&j, NULL, '{');
    for (int round = 0; ok && round < 2; round++) {
        const hth_json *v = hth_json_root(round ? own : old);
        const char *text = round ? r->options : base;
        for (uint32_t i = 0; v->kind == HTH_JSON_OBJECT && i < v->n; i++) {
            const hth_json_member *m = &v->u.members[i];
            if (round == 0 && hth_json_get(hth_json_root(own), m->key)) continue;
            hth_json_out_raw(&j, m->key, text + m->value.pos, hth_json_extent(text, strlen(text), &m->value));
        }
    }
    hth_json_out_end(&j, '}');
    if (ok) r->options = keep(f, (hth_chat_text){hth_str_text(&all), all.len});
    ok = ok && !all.failed && r->options;
    hth_str_free(&all);
    hth_json_free(old);
    hth_json_free(own);
    return ok || hth_fields_no_memory(f);
}

// A name, or a path on the server's disk. Errors tell of what lies there, so a path needs an admin's key, also where
// nobody needs one to create models: other users of this machine may not see what the server's user may.
static bool may_use_path(const hth_exchange *x) {
    const hth_who *who = hth_exchange_who(x);
    return who && who->key && (who->scopes & HTH_SCOPE_ADMIN);
}

static bool find_base(request *r, hth_fields *f, hth_create *create) {
    const bool is_path = r->from.n > 0 && r->from.p[0] == '/';
    if (is_path && !r->may_read_disk) {
        return hth_refuse(f->fault, HTH_FAULT_FORBIDDEN, "from",
                          "'from' is a path on the server's disk, which needs a key of scope admin; without one, send the "
                          "file as a blob, or name its folder when the server is started");
    }
    if (r->file)
        create->path = r->file;
    else if (is_path)
        create->path = r->from.p;
    else
        create->from = r->from.p;
    if (!create->path && r->from.n == 0) {
        return hth_refuse(f->fault, HTH_FAULT_BAD_REQUEST, "from", "neither 'from' or 'files' was specified");
    }
    if (create->path || !r->options) return true;
    const hth_card *base;
    if (!ollama_find(r->s, r->from, &base, f->fault)) return false;
    const bool ok = !base->preset.options_json || merge_options(r, f, base->preset.options_json);
    hth_card_drop(base);
    return ok;
}

static bool make(request *r, hth_fields *f) {
    hth_err err;
    const hth_chat_text name = r->model.n > 0 ? r->model : r->name;
    hth_create create = {.name = name.p ? name.p : "",
                         .preset = {.system = r->system.p,
                                    .chat_template = r->template.n > 0 ? r->template.p : NULL,
                                    .license = r->license,
                                    .options_json = r->options,
                                    .messages_json = r->messages,
                                    .adapters = r->adapters,
                                    .n_adapter = r->n_adapter}};
    if (!find_base(r, f, &create)) return false;
    const hth_code code = hth_models_create(r->s->models, &create, NULL, &err);
    if (code == HTH_OK) return true;
    return hth_refuse_err(f->fault, &err, NULL);
}

void ollama_create(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fields f;
    hth_fault fault = {0};
    const hth_json *root;
    request *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    bool ok = r || hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (ok) {
        hth_ask_init(&r->scratch);
        r->s = s;
        r->stream = true;
        r->may_read_disk = may_use_path(x);
    }
    ok = ok && hth_body_read(x, &f, &root, &fault) &&
         hth_fields_read(&f, create_fields, HTH_COUNT(create_fields), root, r) && make(r, &f);
    if (!ok) {
        ollama_refuse(x, &fault);
        return;
    }
    hth_body_tell_ignored(x, &f);
    if (r->stream) {
        hth_reply_text(x, 200, OLLAMA_NDJSON,
                       "{\"status\":\"gathering model components\"}\n{\"status\":\"writing "
                       "manifest\"}\n{\"status\":\"success\"}\n");
    } else {
        hth_reply_text(x, 200, OLLAMA_JSON, "{\"status\":\"success\"}");
    }
}

// ---- copying and deleting

typedef struct names {
    hth_chat_text source, destination, model, name;
} names;

#define NAME(name_, help_) \
    { .name = #name_, .kind = HTH_FIELD_TEXT, .offset = offsetof(names, name_), .help = help_ }

static const hth_field copy_fields[] = {NAME(source, "the model"), NAME(destination, "the new name")};
const hth_field_set hth_ollama_copy_set = {copy_fields, HTH_COUNT(copy_fields)};
static const hth_field delete_fields[] = {NAME(model, "the model"),
                                          NAME(name, "the same, as older clients say it")};
const hth_field_set hth_ollama_delete_set = {delete_fields, HTH_COUNT(delete_fields)};

static void answer(hth_exchange *x, bool ok, hth_code code, const hth_err *err, hth_fault *fault) {
    if (ok && code != HTH_OK) ok = hth_refuse_err(fault, err, NULL);
    if (ok)
        hth_reply_text(x, 200, OLLAMA_JSON, "");
    else
        ollama_refuse(x, fault);
}

void ollama_copy(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fields f;
    hth_fault fault = {0};
    hth_err err;
    hth_code code = HTH_OK;
    const hth_json *root;
    names n = {0};
    bool ok = hth_body_read(x, &f, &root, &fault) &&
              hth_fields_read(&f, copy_fields, HTH_COUNT(copy_fields), root, &n);
    if (ok && (n.source.n == 0 || n.destination.n == 0)) {
        ok = hth_refuse(&fault, HTH_FAULT_BAD_REQUEST, n.source.n == 0 ? "source" : "destination",
                        "source and destination are required");
    }
    if (ok) code = hth_models_copy(s->models, n.source.p, n.destination.p, &err);
    answer(x, ok, code, &err, &fault);
}

void ollama_delete(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fields f;
    hth_fault fault = {0};
    hth_err err;
    hth_code code = HTH_OK;
    const hth_json *root;
    names n = {0};
    bool ok = hth_body_read(x, &f, &root, &fault) &&
              hth_fields_read(&f, delete_fields, HTH_COUNT(delete_fields), root, &n);
    const hth_chat_text name = n.model.n > 0 ? n.model : n.name;
    if (ok && name.n == 0) ok = hth_refuse(&fault, HTH_FAULT_BAD_REQUEST, "model", "model is required");
    if (ok) code = hth_models_remove(s->models, name.p, &err);
    answer(x, ok, code, &err, &fault);
}
