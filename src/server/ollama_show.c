// Ollama's show: everything that is known of a model.
#include <stdio.h>
#include <string.h>

#include "formats/container.h"
#include "server/body.h"
#include "server/field_sets.h"
#include "server/ollama.h"

#define MAX_LISTED 64 // items of an array that is shown; longer ones only where everything is asked for
#define MAX_OPTIONS_TREE ((uint64_t)64 << 20)

typedef struct request {
    hth_chat_text model, name;
    bool verbose;
} request;

static const hth_field fields[] = {
    {.name = "model",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(request, model),
     .help = "a name, with or without tag"},
    {.name = "name",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(request, name),
     .help = "the same, as older clients say it"},
    {.name = "verbose",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(request, verbose),
     .help = "with long arrays and the list of tensors"},
    {.name = "system", .kind = HTH_FIELD_IGNORED, .help = "shows the model's own"},
    {.name = "template", .kind = HTH_FIELD_IGNORED, .help = "shows the model's own"},
    {.name = "options", .kind = HTH_FIELD_IGNORED, .help = "shows the model's own"},
};
const hth_field_set hth_ollama_show_set = {fields, HTH_COUNT(fields)};

// ---- model_info

static hth_gguf_kv as_item(const hth_gguf_kv *kv) {
    hth_gguf_kv item = *kv;
    item.item_kind = kv->kind;
    return item;
}

static void put_item(hth_json_out *j, const char *key, const hth_gguf_kv *kv, uint64_t i) {
    if (kv->item_kind == HTH_GGUF_BOOL)
        hth_json_out_bool(j, key, hth_gguf_item_i64(kv, i) != 0);
    else if (kv->item_kind == HTH_GGUF_F32)
        hth_json_out_float(j, key, (float)hth_gguf_item_f64(kv, i));
    else if (kv->item_kind == HTH_GGUF_F64)
        hth_json_out_num(j, key, hth_gguf_item_f64(kv, i));
    else
        hth_json_out_int(j, key, hth_gguf_item_i64(kv, i));
}

static void put_array(hth_json_out *j, const hth_gguf_kv *kv, bool verbose) {
    if (kv->n > MAX_LISTED && !verbose) {
        hth_json_out_text(j, kv->key, NULL);
        return;
    }
    const uint8_t *it = kv->data;
    hth_json_out_begin(j, kv->key, '[');
    for (uint64_t i = 0; i < kv->n; i++) {
        const char *text;
        size_t n;
        if (kv->item_kind != HTH_GGUF_STRING) {
            put_item(j, NULL, kv, i);
            continue;
        }
        hth_gguf_next_str(&it, &text, &n);
        hth_json_out_str(j, NULL, text, n);
    }
    hth_json_out_end(j, ']');
}

static void put_gguf(hth_json_out *j, const hth_gguf *g, bool verbose) {
    for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) {
        const hth_gguf_kv *kv = hth_gguf_kv_at(g, i);
        if (strcmp(kv->key, "general.name") == 0 || strcmp(kv->key, "tokenizer.chat_template") == 0) continue;
        if (strcmp(kv->key, "general.parameter_count") == 0) continue; // told by the card
        const hth_gguf_kv item = as_item(kv);
        if (kv->kind == HTH_GGUF_STRING)
            hth_json_out_str(j, kv->key, (const char *)kv->data, (size_t)kv->n);
        else if (kv->kind == HTH_GGUF_ARRAY)
            put_array(j, kv, verbose);
        else
            put_item(j, kv->key, &item, 0);
    }
}

static void put_sized(hth_json_out *j, const char *family, const char *what, int64_t n) {
    char key[128];
    snprintf(key, sizeof key, "%.60s.%s", family, what);
    hth_json_out_int(j, key, n);
}

// A folder in the words of a GGUF: what editors read to learn the context's length.
static void put_folder(hth_json_out *j, const hth_card *c) {
    hth_json_out_text(j, "general.architecture", c->family);
    put_sized(j, c->family, "context_length", c->n_ctx_train);
    put_sized(j, c->family, "embedding_length", c->n_embed);
    put_sized(j, c->family, "block_count", c->n_layer);
    put_sized(j, c->family, "attention.head_count", c->n_head);
    put_sized(j, c->family, "attention.head_count_kv", c->n_kv_head);
    put_sized(j, c->family, "vocab_size", c->n_vocab);
}

static void put_model_info(hth_json_out *j, hth_container *files, const hth_card *c, bool verbose) {
    const hth_gguf *g = files ? hth_container_gguf(files) : NULL;
    hth_json_out_begin(j, "model_info", '{');
    if (g)
        put_gguf(j, g, verbose);
    else
        put_folder(j, c);
    hth_json_out_text(j, "general.basename", c->base);
    hth_json_out_int(j, "general.parameter_count", (int64_t)c->n_param);
    hth_json_out_end(j, '}');
}

static void put_tensors(hth_json_out *j, const hth_container *files) {
    hth_json_out_begin(j, "tensors", '[');
    for (int64_t i = 0; i < hth_container_n_tensor(files); i++) {
        const hth_tensor *t = hth_container_tensor_at(files, i);
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_text(j, "name", t->name);
        hth_json_out_text(j, "type", hth_type_get(t->type)->name);
        hth_json_out_begin(j, "shape", '[');
        for (int k = 0; k < t->n_dim; k++) hth_json_out_int(j, NULL, t->dim[k]);
        hth_json_out_end(j, ']');
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

// ---- parameters and modelfile

// A line for each value: "temperature                    0.7", or "PARAMETER temperature 0.7".
static void put_parameter(hth_str *to, bool is_modelfile, const char *key, const hth_json *v,
                          const char *text) {
    for (uint32_t i = 0; i < (v->kind == HTH_JSON_ARRAY ? v->n : 1); i++) {
        const hth_json *item = v->kind == HTH_JSON_ARRAY ? &v->u.items[i] : v;
        const int n = (int)hth_json_extent(text, strlen(text), item);
        if (is_modelfile)
            hth_str_printf(to, "PARAMETER %s %.*s\n", key, n, text + item->pos);
        else
            hth_str_printf(to, "%-30s %.*s\n", key, n, text + item->pos);
    }
}

static void put_parameters(hth_str *to, bool is_modelfile, const char *json) {
    hth_json_doc *doc;
    hth_err err;
    if (!json || hth_json_parse(json, strlen(json), MAX_OPTIONS_TREE, &doc, &err) != HTH_OK) return;
    const hth_json *root = hth_json_root(doc);
    for (uint32_t i = 0; root->kind == HTH_JSON_OBJECT && i < root->n; i++) {
        put_parameter(to, is_modelfile, root->u.members[i].key, &root->u.members[i].value, json);
    }
    hth_json_free(doc);
}

static void put_modelfile(hth_str *to, const hth_card *c) {
    hth_str_puts(to, "# Modelfile of this server\n# To build a new one based on this, replace FROM with:\n");
    hth_str_printf(to, "# FROM %s\n\nFROM %s\n", c->name, c->parent[0] ? c->parent : c->path);
    if (c->chat_template) hth_str_printf(to, "TEMPLATE \"\"\"%s\"\"\"\n", c->chat_template);
    if (c->preset.system) hth_str_printf(to, "SYSTEM \"\"\"%s\"\"\"\n", c->preset.system);
    for (size_t i = 0; i < c->preset.n_adapter; i++)
        hth_str_printf(to, "ADAPTER %s\n", c->preset.adapters[i]);
    put_parameters(to, true, c->preset.options_json);
    if (c->preset.license) hth_str_printf(to, "LICENSE \"\"\"%s\"\"\"\n", c->preset.license);
}

// ---- the reply

static void put_texts(hth_json_out *j, const hth_card *c) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    put_modelfile(&text, c);
    hth_json_out_str(j, "modelfile", hth_str_text(&text), text.len);
    hth_str_clear(&text);
    put_parameters(&text, false, c->preset.options_json);
    if (text.len > 0) hth_json_out_str(j, "parameters", text.p, text.len - 1);
    hth_str_free(&text);
    if (c->preset.license) hth_json_out_text(j, "license", c->preset.license);
    if (c->chat_template) hth_json_out_text(j, "template", c->chat_template);
    if (c->preset.system) hth_json_out_text(j, "system", c->preset.system);
    if (c->preset.messages_json)
        hth_json_out_raw(j, "messages", c->preset.messages_json, strlen(c->preset.messages_json));
}

static void reply(hth_exchange *x, const hth_card *c, bool verbose) {
    hth_container *files = NULL;
    hth_str body;
    hth_err err;
    char when[OLLAMA_TIME];
    hth_str_init(&body, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    if (hth_container_open(c->path, &files, &err) != HTH_OK) files = NULL; // the card still knows the most
    ollama_time(c->modified_s * 1000000000, when);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '{');
    put_texts(&j, c);
    ollama_details(&j, c);
    put_model_info(&j, files, c, verbose);
    ollama_abilities(&j, "capabilities", c->abilities);
    hth_json_out_text(&j, "modified_at", when);
    if (verbose && files) put_tensors(&j, files);
    hth_json_out_end(&j, '}');
    hth_container_close(files);
    ollama_reply_json(x, 200, &body);
}

void ollama_show(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    request r = {0};
    hth_fields f;
    hth_fault fault = {0};
    const hth_json *root;
    const hth_card *c = NULL;
    const bool ok = hth_body_read(x, &f, &root, &fault) &&
                    hth_fields_read(&f, fields, HTH_COUNT(fields), root, &r) &&
                    ollama_find(s, r.model.n > 0 ? r.model : r.name, &c, &fault);
    if (ok) {
        hth_body_tell_ignored(x, &f);
        reply(x, c, r.verbose);
    } else {
        ollama_refuse(x, &fault);
    }
    hth_card_drop(c);
}
