// hearth show: what a model is.
#include <stdio.h>
#include <string.h>

#include "chat/template.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "model/model.h"

typedef struct show_values {
    bool verbose, tensors, json;
} show_values;

static show_values values;

typedef struct shown {
    hth_model *model;
    hth_tokenizer *tokenizer;                 // NULL: none
    hth_chat_template *chat;                   // NULL: none
    char tokenizer_note[256], chat_note[256]; // why not
} shown;

// Bytes and tensors of each type, in order of the types.
typedef struct type_share {
    const hth_type_info *type;
    int64_t n_tensor;
    uint64_t n_bytes;
} type_share;

#define MAX_TYPES 64

static size_t count_types(const hth_container *c, type_share *shares) {
    size_t n = 0;
    for (int64_t i = 0; i < hth_container_n_tensor(c); i++) {
        const hth_tensor *t = hth_container_tensor_at(c, i);
        size_t at = 0;
        while (at < n && shares[at].type->type != t->type) at++;
        if (at == MAX_TYPES) continue;
        if (at == n) shares[n++] = (type_share){.type = hth_type_get(t->type)};
        shares[at].n_tensor++;
        shares[at].n_bytes += t->n_bytes;
    }
    return n;
}

static const char *container_kind(const hth_container *c, char text[24]) {
    const hth_gguf *g = hth_container_gguf(c);
    if (!g) return "safetensors folder";
    snprintf(text, 24, "GGUF v%u", hth_gguf_version(g));
    return text;
}

// A scalar's value as its only item.
static hth_gguf_kv as_item(const hth_gguf_kv *kv) {
    hth_gguf_kv item = *kv;
    item.item_kind = kv->kind;
    return item;
}

// A metadata value on one line, long ones shortened; arrays as kind and count.
static void format_kv(const hth_gguf_kv *kv, hth_str *out) {
    hth_gguf_kv item = as_item(kv);
    char number[32];
    switch (kv->kind) {
    case HTH_GGUF_STRING: {
        size_t n = kv->n > 200 ? 200 : (size_t)kv->n;
        for (size_t i = 0; i < n; i++) hth_str_putc(out, kv->data[i] < 0x20 ? ' ' : (char)kv->data[i]);
        if (n < kv->n) hth_str_printf(out, "... (%llu bytes)", (unsigned long long)kv->n);
        return;
    }
    case HTH_GGUF_ARRAY:
        hth_str_printf(out, "[%llu x %s]", (unsigned long long)kv->n, hth_gguf_kind_name(kv->item_kind));
        return;
    case HTH_GGUF_F32:
    case HTH_GGUF_F64: snprintf(number, sizeof number, "%.9g", hth_gguf_item_f64(&item, 0)); break;
    case HTH_GGUF_BOOL:
        snprintf(number, sizeof number, "%s", hth_gguf_item_i64(&item, 0) ? "true" : "false");
        break;
    default: snprintf(number, sizeof number, "%lld", (long long)hth_gguf_item_i64(&item, 0));
    }
    hth_str_puts(out, number);
}

static void add_kv_json(hth_json_out *j, const hth_gguf_kv *kv) {
    hth_gguf_kv item = as_item(kv);
    hth_str text;
    switch (kv->kind) {
    case HTH_GGUF_STRING: hth_json_out_str(j, kv->key, (const char *)kv->data, (size_t)kv->n); return;
    case HTH_GGUF_BOOL: hth_json_out_bool(j, kv->key, hth_gguf_item_i64(&item, 0) != 0); return;
    case HTH_GGUF_F32:
    case HTH_GGUF_F64: hth_json_out_num(j, kv->key, hth_gguf_item_f64(&item, 0)); return;
    case HTH_GGUF_ARRAY:
        hth_str_init(&text, HTH_MEM_MISC, 256);
        format_kv(kv, &text);
        hth_json_out_text(j, kv->key, hth_str_text(&text));
        hth_str_free(&text);
        return;
    default: hth_json_out_int(j, kv->key, hth_gguf_item_i64(&item, 0));
    }
}

static void format_shape(const hth_tensor *t, char text[128]) {
    size_t n = 0;
    text[0] = 0;
    for (int i = 0; i < t->n_dim && n + 24 < 128; i++) {
        n += (size_t)snprintf(text + n, 128 - n, i ? ", %lld" : "%lld", (long long)t->dim[i]);
    }
}

static void print_details(const hth_container *c) {
    const hth_gguf *g = hth_container_gguf(c);
    if (values.verbose && g) {
        cli_print("\nmetadata\n");
        for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) {
            hth_str text;
            hth_str_init(&text, HTH_MEM_MISC, 1024);
            format_kv(hth_gguf_kv_at(g, i), &text);
            cli_print("  %s = ", hth_gguf_kv_at(g, i)->key);
            cli_write_text(hth_str_text(&text), text.len);
            cli_print("\n");
            hth_str_free(&text);
        }
    }
    if (!values.tensors) return;
    cli_print("\ntensors\n");
    for (int64_t i = 0; i < hth_container_n_tensor(c); i++) {
        const hth_tensor *t = hth_container_tensor_at(c, i);
        char shape[128];
        format_shape(t, shape);
        cli_print("  %-8s [%s] %s\n", hth_type_get(t->type)->name, shape, t->name);
    }
}

static const char *chat_source(const hth_chat_template *f) {
    return hth_chat_template_source(f) == HTH_CHAT_FROM_TOKENS
             ? " (no template; by the vocabulary's control tokens)"
         : hth_chat_template_source(f) == HTH_CHAT_FROM_MODEL ? "'s own template"
                                                              : "";
}

// The first layer with routed experts, or NULL.
static const hth_layer_desc *first_moe(const hth_desc *d) {
    for (int32_t i = 0; i < d->n_layer; i++) {
        if (d->layers[i].ffn == HTH_FFN_MOE) return &d->layers[i];
    }
    return NULL;
}

static int n_moe(const hth_desc *d) {
    int n = 0;
    for (int32_t i = 0; i < d->n_layer; i++) n += d->layers[i].ffn == HTH_FFN_MOE;
    return n;
}

static void print_heads(const hth_layer_desc *l) {
    const hth_attention_desc *a = &l->attn;
    if (l->mixer == HTH_MIXER_LATENT) {
        cli_print("heads       %d of %d + %d rotated, values of %d; compressed rows of %d + %d\n", a->n_head, l->latent.d_nope,
                  l->latent.d_rope, l->latent.d_v, l->latent.kv_rank, l->latent.d_rope);
    } else {
        cli_print("heads       %d of %d, %d for keys and values\n", a->n_head, a->head_dim, a->n_kv_head);
    }
}

static void print_experts(const hth_desc *d) {
    const hth_layer_desc *l = first_moe(d);
    if (!l) return;
    cli_print("experts     %d of %d per token, %d wide, in %d of %d layers", (int)l->moe.n_used, (int)l->moe.n_expert,
              (int)l->moe.d_ff, n_moe(d), (int)d->n_layer);
    if (l->d_ff > 0) cli_print("; shared %d wide", (int)l->d_ff);
    cli_print("\n");
}

// Tensors that belong to images or sound, which the text model does without.
static int64_t count_other(const hth_model *m, uint64_t *n_bytes) {
    static const char *const parts[] = {"vision", "visual", "audio", "multi_modal_projector"};
    int64_t n = 0;
    *n_bytes = 0;
    for (int64_t i = 0; i < hth_container_n_tensor(m->container); i++) {
        const hth_tensor *t = hth_container_tensor_at(m->container, i);
        bool is_other = false;
        for (size_t k = 0; k < HTH_COUNT(parts); k++) is_other |= strstr(t->name, parts[k]) != NULL;
        if (m->tensor_used[i] || !is_other) continue;
        n++;
        *n_bytes += t->n_bytes;
    }
    return n;
}

static void print_other(const hth_model *m) {
    char bytes[16];
    uint64_t n_bytes;
    const int64_t n = count_other(m, &n_bytes);
    if (n == 0) return;
    cli_print("not used    %lld tensor%s of images or sound, %s: only text is read\n", (long long)n, n == 1 ? "" : "s",
              cli_bytes(n_bytes, bytes));
}

static void print_text(const shown *s) {
    const hth_desc *d = &s->model->desc;
    const hth_container *c = s->model->container;
    char bytes[16], kind[24];
    type_share shares[MAX_TYPES];
    size_t n = count_types(c, shares);
    cli_print("model       %s\n", hth_container_path(c));
    cli_print("container   %s, %s in %d file%s\n", container_kind(c, kind),
              cli_bytes(hth_container_bytes(c), bytes), hth_container_n_file(c),
              hth_container_n_file(c) == 1 ? "" : "s");
    cli_print("family      %s%s\n", d->family, d->causal ? "" : " (encoder)");
    cli_print("parameters  %.1f M", (double)s->model->n_param * 1e-6);
    if (first_moe(d)) cli_print(", %.1f M active per token", (double)s->model->n_param_active * 1e-6);
    cli_print("\n");
    cli_print("types      ");
    for (size_t i = 0; i < n; i++) {
        cli_print(" %s %s (%lld)%s", shares[i].type->name, cli_bytes(shares[i].n_bytes, bytes),
                  (long long)shares[i].n_tensor, i + 1 < n ? "," : "\n");
    }
    cli_print("context     %lld\n", (long long)d->n_ctx_train);
    cli_print("layers      %d, width %d", d->n_layer, d->d_model);
    if (d->layers[0].ffn != HTH_FFN_MOE) cli_print(", feed-forward %d", d->layers[0].d_ff);
    cli_print("\n");
    print_experts(d);
    print_heads(&d->layers[0]);
    if (d->n_chosen_keys > 0) {
        cli_print("attention   dense; the model was trained to choose %lld tokens to look at\n", (long long)d->n_chosen_keys);
    }
    print_other(s->model);
    cli_print("vocabulary  %d\n", d->n_vocab);
    if (s->tokenizer) {
        const char *pre = hth_tokenizer_pre(s->tokenizer);
        cli_print("tokenizer   %s%s%s\n", hth_tokenizer_kind(s->tokenizer), pre[0] ? ", " : "", pre);
    } else {
        cli_print("tokenizer   none: %s\n", s->tokenizer_note);
    }
    if (s->chat) {
        cli_print("chat        %s%s\n", hth_chat_template_name(s->chat), chat_source(s->chat));
    } else {
        cli_print("chat        none: %s\n", s->chat_note);
    }
    print_details(c);
}

static void add_tensors(hth_json_out *j, const hth_container *c) {
    hth_json_out_begin(j, "tensors", '[');
    for (int64_t i = 0; i < hth_container_n_tensor(c); i++) {
        const hth_tensor *t = hth_container_tensor_at(c, i);
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_text(j, "name", t->name);
        hth_json_out_text(j, "type", hth_type_get(t->type)->name);
        hth_json_out_begin(j, "shape", '[');
        for (int k = 0; k < t->n_dim; k++) hth_json_out_int(j, NULL, t->dim[k]);
        hth_json_out_end(j, ']');
        hth_json_out_int(j, "bytes", (int64_t)t->n_bytes);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static void add_sizes(hth_json_out *j, const shown *s) {
    const hth_desc *d = &s->model->desc;
    const hth_attention_desc *a = &d->layers[0].attn;
    hth_json_out_text(j, "family", d->family);
    hth_json_out_bool(j, "causal", d->causal);
    hth_json_out_int(j, "parameters", (int64_t)s->model->n_param);
    hth_json_out_int(j, "active_parameters", (int64_t)s->model->n_param_active);
    hth_json_out_int(j, "weight_bytes", (int64_t)s->model->weight_bytes);
    hth_json_out_int(j, "n_ctx_train", d->n_ctx_train);
    hth_json_out_int(j, "n_layer", d->n_layer);
    hth_json_out_int(j, "d_model", d->d_model);
    hth_json_out_int(j, "d_ff", d->layers[0].d_ff);
    hth_json_out_int(j, "n_head", a->n_head);
    hth_json_out_int(j, "n_kv_head", a->n_kv_head);
    hth_json_out_int(j, "head_dim", a->head_dim);
    if (d->layers[0].mixer == HTH_MIXER_LATENT) hth_json_out_int(j, "kv_rank", d->layers[0].latent.kv_rank);
    if (d->n_chosen_keys > 0) hth_json_out_int(j, "n_chosen_keys", d->n_chosen_keys);
    uint64_t other_bytes;
    hth_json_out_int(j, "n_unused_other", count_other(s->model, &other_bytes));
    hth_json_out_int(j, "n_vocab", d->n_vocab);
    hth_json_out_bool(j, "tied_output", d->tied_output);
    const hth_layer_desc *l = first_moe(d);
    if (!l) return;
    hth_json_out_int(j, "n_expert", l->moe.n_expert);
    hth_json_out_int(j, "n_expert_used", l->moe.n_used);
    hth_json_out_int(j, "d_ff_expert", l->moe.d_ff);
    hth_json_out_int(j, "d_ff_shared", l->d_ff);
    hth_json_out_int(j, "n_moe_layer", n_moe(d));
}

static void write_json(hth_json_out *j, const shown *s) {
    const hth_container *c = s->model->container;
    const hth_gguf *g = hth_container_gguf(c);
    char kind[24];
    type_share shares[MAX_TYPES];
    size_t n = count_types(c, shares);
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "path", hth_container_path(c));
    hth_json_out_text(j, "container", container_kind(c, kind));
    hth_json_out_int(j, "file_bytes", (int64_t)hth_container_bytes(c));
    add_sizes(j, s);
    hth_json_out_begin(j, "types", '{');
    for (size_t i = 0; i < n; i++) {
        hth_json_out_begin(j, shares[i].type->name, '{');
        hth_json_out_int(j, "tensors", shares[i].n_tensor);
        hth_json_out_int(j, "bytes", (int64_t)shares[i].n_bytes);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, '}');
    hth_json_out_text(j, "tokenizer", s->tokenizer ? hth_tokenizer_kind(s->tokenizer) : NULL);
    hth_json_out_text(j, "pre_tokenizer", s->tokenizer ? hth_tokenizer_pre(s->tokenizer) : NULL);
    hth_json_out_text(j, "chat_format", s->chat ? hth_chat_template_name(s->chat) : NULL);
    if (values.verbose && g) {
        hth_json_out_begin(j, "metadata", '{');
        for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) add_kv_json(j, hth_gguf_kv_at(g, i));
        hth_json_out_end(j, '}');
    }
    if (values.tensors) add_tensors(j, c);
    hth_json_out_end(j, '}');
}

// The tokenizer and chat format may be missing or unreadable; the model is still shown.
static void load_text(shown *s) {
    hth_err err;
    if (hth_tokenizer_load(s->model->container, &s->tokenizer, &err) != HTH_OK) {
        s->tokenizer = NULL;
        snprintf(s->tokenizer_note, sizeof s->tokenizer_note, "%.250s", err.msg);
        snprintf(s->chat_note, sizeof s->chat_note, "there is no tokenizer");
    } else if (hth_chat_template_open(s->model->container, s->tokenizer, NULL, &s->chat, &err) != HTH_OK) {
        s->chat = NULL;
        snprintf(s->chat_note, sizeof s->chat_note, "%.250s", err.msg);
    }
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    hth_err err;
    shown s = {0};
    if (hth_model_open(args->items[0], &s.model, &err) != HTH_OK) return cli_fail(&err);
    load_text(&s);
    int code = CLI_OK;
    if (values.json) {
        hth_str text;
        hth_str_init(&text, HTH_MEM_MISC, SIZE_MAX / 2);
        hth_json_out j = hth_json_out_make(&text, true);
        write_json(&j, &s);
        code = cli_print_json(&text);
        hth_str_free(&text);
    } else {
        print_text(&s);
    }
    hth_chat_template_free(s.chat);
    if (s.tokenizer) hth_tokenizer_free(s.tokenizer);
    hth_model_free(s.model);
    return code;
}

static const cli_option options[] = {
    CLI_OPTION_FLAG("verbose", 'v', show_values, verbose, "list the metadata of a GGUF"),
    CLI_OPTION_FLAG("tensors", 0, show_values, tensors, "list the tensors"),
    CLI_OPTION_FLAG("json", 0, show_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_show = {
    .name = "show",
    .arguments = "MODEL",
    .summary = "Show what a model is.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .values = &values,
    .run = run,
};
