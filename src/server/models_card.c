// What a model is, read from its files without its weights: the header is parsed, the description made, the
// vocabulary and the chat template looked at.
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "chat/classic.h"
#include "chat/infill.h"
#include "model/mix.h"
#include "os/file.h"
#include "quant/type.h"
#include "server/models_impl.h"

#define MAX_CARD_BYTES ((uint64_t)64 << 20)

static const char *keep(card *c, const char *text) {
    return text ? hth_arena_strndup(&c->arena, text, strlen(text)) : NULL;
}

// ---- what the weights are stored as

// "4-bit" of an MLX folder; the type that most bytes have; of a GGUF that says it, the name of its mix.
static void find_quantization(const hth_model *m, char text[24]) {
    hth_container *c = m->container;
    const hth_gguf *g = hth_container_gguf(c);
    int64_t file_type = -1;
    hth_err err;
    if (g && hth_gguf_get_i64(g, "general.file_type", &file_type, &err) == HTH_OK) {
        for (int i = 0; hth_mix_at(i); i++) {
            if (hth_mix_at(i)->file_type != file_type) continue;
            snprintf(text, 24, "%.23s", hth_mix_at(i)->name);
            return;
        }
    }
    const hth_json *config = NULL;
    if (!g && hth_container_json(c, "config.json", &config, &err) == HTH_OK) {
        const int64_t bits = hth_json_int(hth_json_get(config, "quantization"), "bits", 0, NULL);
        if (bits > 0 && bits < 64) {
            snprintf(text, 24, "%lld-bit", (long long)bits);
            return;
        }
    }
    uint64_t bytes[64] = {0}, most = 0;
    snprintf(text, 24, "unknown");
    for (int64_t i = 0; i < hth_container_n_tensor(c); i++) {
        const hth_tensor *t = hth_container_tensor_at(c, i);
        const size_t at = (size_t)t->type % 64;
        bytes[at] += t->n_bytes;
        if (bytes[at] <= most) continue;
        most = bytes[at];
        snprintf(text, 24, "%.23s", hth_type_get(t->type)->name);
    }
    for (char *p = text; *p; p++) *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
}

static const char *container_kind(hth_container *c) {
    const hth_json *config = NULL;
    hth_err err;
    if (hth_container_gguf(c)) return "gguf";
    if (hth_container_json(c, "config.json", &config, &err) != HTH_OK) return "safetensors";
    return hth_json_get(hth_json_get(config, "quantization"), "group_size") ? "mlx" : "safetensors";
}

static void format_count(uint64_t n, char text[24]) {
    if (n >= 1000000000)
        snprintf(text, 24, "%.1fB", (double)n * 1e-9);
    else if (n >= 1000000)
        snprintf(text, 24, "%.2fM", (double)n * 1e-6);
    else if (n >= 1000)
        snprintf(text, 24, "%.0fK", (double)n * 1e-3);
    else
        snprintf(text, 24, "%llu", (unsigned long long)n);
}

// A name for the content that costs no reading of it: sizes, and the beginning and end of each file.
static void find_digest(const hth_container *c, const hth_preset *preset, char text[65]) {
    enum { HEAD = 1 << 20, TAIL = 1 << 16 };
    hth_sha256 s;
    hth_sha256_init(&s);
    for (int i = 0; i < hth_container_n_file(c); i++) {
        uint64_t n;
        const uint8_t *p = hth_container_file_data(c, i, &n);
        const size_t head = n < HEAD ? (size_t)n : HEAD, tail = n < TAIL ? (size_t)n : TAIL;
        uint8_t size[8];
        for (int b = 0; b < 8; b++) size[b] = (uint8_t)(n >> (8 * b));
        hth_sha256_add(&s, size, 8);
        if (n == 0) continue;
        hth_sha256_add(&s, p, head);
        hth_sha256_add(&s, p + n - tail, tail);
    }
    const char *const texts[] = {preset->system, preset->chat_template, preset->license, preset->options_json,
                                 preset->messages_json};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) {
        if (texts[i]) hth_sha256_add(&s, texts[i], strlen(texts[i]) + 1);
    }
    for (size_t i = 0; i < preset->n_adapter; i++)
        hth_sha256_add(&s, preset->adapters[i], strlen(preset->adapters[i]) + 1);
    hth_sha256_end_hex(&s, text);
}

// ---- what it can do

static const char *template_of_folder(hth_container *c) {
    const char *text = NULL;
    size_t n;
    hth_err err;
    if (hth_container_text(c, "chat_template.jinja", &text, &n, &err) == HTH_OK && text) return text;
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json"};
    for (size_t i = 0; i < HTH_COUNT(files); i++) {
        const hth_json *config = NULL;
        if (hth_container_json(c, files[i], &config, &err) != HTH_OK) continue;
        text = hth_json_str(config, "chat_template", NULL, NULL);
        if (text) return text;
    }
    return NULL;
}

// The text of the template that was opened.
static const char *template_text(hth_container *c, const hth_chat_template *t, const char *override) {
    const hth_gguf *g = hth_container_gguf(c);
    const char *text = NULL;
    hth_err err;
    const hth_chat_classic *row = hth_chat_classic_find(hth_chat_template_name(t));
    if (hth_chat_template_source(t) == HTH_CHAT_FROM_FILE) return override;
    if (hth_chat_template_source(t) != HTH_CHAT_FROM_MODEL) return row ? row->source : NULL;
    if (!g) return template_of_folder(c);
    return hth_gguf_get_str(g, "tokenizer.chat_template", &text, NULL, &err) == HTH_OK ? text : NULL;
}

static bool mentions_thinking(const char *text) {
    static const char *const words[] = {"enable_thinking",   "<think>",     "[THINK]",
                                        "reasoning_content", "<|channel|>", "thinking"};
    for (size_t i = 0; text && i < HTH_COUNT(words); i++) {
        if (strstr(text, words[i])) return true;
    }
    return false;
}

// The tokenizer and the template may be missing or unreadable: then the model works with tokens alone.
static void look_at_text(card *c, const hth_model *m) {
    const char *name = c->load ? c->load->chat_name : NULL, *override = c->load ? c->load->chat_text : NULL;
    hth_tokenizer *tokenizer = NULL;
    hth_chat_template *chat = NULL;
    hth_err err;
    if (c->pub.preset.chat_template) override = c->pub.preset.chat_template;
    if (hth_tokenizer_load(m->container, &tokenizer, &err) != HTH_OK) return;
    hth_infill_format infill;
    if (m->desc.causal && hth_infill_find(tokenizer, &infill, &err) == HTH_OK)
        c->pub.abilities |= HTH_CAN_INFILL;
    const hth_chat_choice choice = {.name = override ? NULL : name,
                                    .text = {override, override ? strlen(override) : 0}};
    if (m->desc.causal && hth_chat_template_open(m->container, tokenizer, &choice, &chat, &err) == HTH_OK) {
        c->pub.chat_template = keep(c, template_text(m->container, chat, override));
        c->pub.abilities |= HTH_CAN_CHAT;
        if (hth_chat_template_abilities(chat)->tools) c->pub.abilities |= HTH_CAN_TOOLS;
        if (mentions_thinking(c->pub.chat_template)) c->pub.abilities |= HTH_CAN_THINK;
        hth_chat_template_free(chat);
    }
    hth_tokenizer_free(tokenizer);
}

static void look_at_model(card *c, const hth_model *m) {
    const hth_desc *d = &m->desc;
    char text[65];
    c->pub.family = keep(c, d->family);
    c->pub.container = container_kind(m->container);
    c->pub.n_param = m->n_param;
    c->pub.size_bytes = hth_container_bytes(m->container);
    c->pub.n_ctx_train = d->n_ctx_train;
    c->pub.n_vocab = d->n_vocab;
    c->pub.n_layer = d->n_layer;
    c->pub.n_embed = d->d_model;
    c->pub.n_head = d->layers[0].attn.n_head;
    c->pub.n_kv_head = d->layers[0].attn.n_kv_head;
    format_count(m->n_param, text);
    c->pub.parameter_size = keep(c, text);
    find_quantization(m, text);
    c->pub.quantization = keep(c, text);
    find_digest(m->container, &c->pub.preset, text);
    c->pub.digest = keep(c, text);
    c->pub.abilities = d->pooling == HTH_POOL_RANK              ? HTH_CAN_RERANK
                     : d->causal && d->pooling == HTH_POOL_NONE ? HTH_CAN_COMPLETE
                                                                : HTH_CAN_EMBED;
    look_at_text(c, m);
}

// ---- names

static void name_card(card *c, const card_source *from) {
    hth_str base, tag;
    hth_str_init(&base, HTH_MEM_TEXT, 4096);
    hth_str_init(&tag, HTH_MEM_TEXT, 256);
    model_name_of_path(from->path, &base, &tag);
    hth_str stem;
    hth_str_init(&stem, HTH_MEM_TEXT, 8192);
    hth_str_puts(&stem, hth_str_text(&base));
    if (strcmp(hth_str_text(&tag), "latest") != 0) hth_str_printf(&stem, "-%s", hth_str_text(&tag));
    c->stem = keep(c, hth_str_text(&stem));
    hth_str_clear(&stem);
    const char *name = from->name ? from->name : c->n_alias > 0 ? c->aliases[0] : NULL;
    if (name)
        model_name_complete(name, &stem);
    else
        hth_str_printf(&stem, "%s:%s", hth_str_text(&base), hth_str_text(&tag));
    c->pub.name = keep(c, hth_str_text(&stem));
    c->pub.label = c->pub.name;
    const char *colon = c->pub.name ? strrchr(c->pub.name, ':') : NULL;
    if (colon) c->pub.base = hth_arena_strndup(&c->arena, c->pub.name, (size_t)(colon - c->pub.name));
    if (c->pub.base && strcmp(colon, ":latest") == 0) c->pub.label = c->pub.base;
    hth_str_free(&stem);
    hth_str_free(&tag);
    hth_str_free(&base);
}

static void take_aliases(card *c, const char *text) {
    while (text && *text && c->n_alias < MODELS_MAX_ALIAS) {
        const size_t n = strcspn(text, ",");
        const char *alias = n > 0 ? hth_arena_strndup(&c->arena, text, n) : NULL;
        if (alias) c->aliases[c->n_alias++] = alias;
        text += n + (text[n] == ',');
    }
}

static void take_preset(card *c, const hth_preset *from) {
    hth_preset *to = &c->pub.preset;
    to->system = keep(c, from->system);
    to->chat_template = keep(c, from->chat_template);
    to->license = keep(c, from->license);
    to->options_json = keep(c, from->options_json);
    to->messages_json = keep(c, from->messages_json);
    const char **adapters = hth_arena_alloc(&c->arena, from->n_adapter, sizeof *adapters);
    for (size_t i = 0; adapters && i < from->n_adapter; i++) adapters[i] = keep(c, from->adapters[i]);
    to->adapters = adapters;
    to->n_adapter = adapters ? from->n_adapter : 0;
}

// ---- life

static hth_code fill(card *c, const card_source *from, hth_err *err) {
    hth_model *m;
    HTH_TRY(hth_model_open(from->path, &m, err));
    c->pub.path = keep(c, from->path);
    c->pub.parent = from->parent ? keep(c, from->parent) : "";
    take_aliases(c, from->alias);
    if (from->preset) take_preset(c, from->preset);
    name_card(c, from);
    look_at_model(c, m);
    int64_t modified = 0;
    uint64_t n_bytes = 0;
    if (hth_path_facts(from->path, &modified, &n_bytes)) {
        c->seen_modified_s = modified;
        c->seen_bytes = n_bytes;
    }
    c->pub.modified_s = modified;
    hth_model_free(m);
    if (!c->pub.digest || !c->pub.name || !c->pub.base || !c->pub.path || !c->stem)
        return hth_fail_nomem(err, 4096);
    return HTH_OK;
}

hth_code card_make(const card_source *from, card **out, hth_err *err) {
    *out = NULL;
    card *c = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *c);
    if (!c) return hth_fail_nomem(err, sizeof *c);
    atomic_init(&c->n_hold, 1);
    hth_arena_init(&c->arena, HTH_MEM_ENGINE, MAX_CARD_BYTES);
    c->origin = from->origin;
    c->load = from->load;
    c->draft = from->draft;
    const hth_code code = fill(c, from, err);
    if (code != HTH_OK) {
        hth_card_drop(&c->pub);
        return code;
    }
    *out = c;
    return HTH_OK;
}

const hth_card *hth_card_hold(const hth_card *c) {
    atomic_fetch_add(&card_of(c)->n_hold, 1);
    return c;
}

void hth_card_drop(const hth_card *pub) {
    if (!pub) return;
    card *c = card_of(pub);
    if (atomic_fetch_sub(&c->n_hold, 1) != 1) return;
    hth_arena_free(&c->arena);
    hth_free(c);
}
