// Settings as text and JSON, their help, and what is wrong with them together.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/sampler.h"
#include "formats/json.h"
#include "os/file.h"
#include "server/config_impl.h"

static void print_value(const hth_config *c, const hth_setting *s, hth_json_out *j, const char *key) {
    const void *at = (const char *)c + s->offset;
    const hth_config_list *list = at;
    switch (s->kind) {
    case SET_BOOL:
    case SET_CACHE: hth_json_out_bool(j, key, *(const bool *)at); break;
    case SET_INT:
    case SET_TIME: hth_json_out_int(j, key, *(const int64_t *)at); break;
    case SET_NUM: hth_json_out_num(j, key, *(const double *)at); break;
    case SET_BYTES: hth_json_out_int(j, key, (int64_t) * (const uint64_t *)at); break;
    case SET_TEXT:
    case SET_NAME: hth_json_out_text(j, key, *(const char *const *)at); break;
    case SET_CHOICE: {
        const char *p = s->choices;
        for (int i = *(const int *)at; i > 0; i--) p += strcspn(p, "|") + 1;
        hth_json_out_str(j, key, p, strcspn(p, "|"));
        break;
    }
    default:
        hth_json_out_begin(j, key, '[');
        for (size_t i = 0; i < list->n; i++)
            hth_json_out_text(j, NULL, s->is_secret ? "(secret)" : list->items[i]);
        hth_json_out_end(j, ']');
    }
}

void hth_config_json(const hth_config *c, hth_json_out *j) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_begin(j, "settings", '{');
    for (size_t i = 0; i < hth_n_settings; i++) {
        const hth_setting *s = &hth_settings[i];
        if (!hth_setting_has_value(s)) continue;
        hth_json_out_begin(j, s->name, '{');
        print_value(c, s, j, "value");
        hth_json_out_text(j, "from", c->origin_of[i] ? c->origin_of[i] : "default");
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, '}');
    hth_json_out_begin(j, "notes", '[');
    for (size_t i = 0; i < c->notes.n; i++) hth_json_out_text(j, NULL, c->notes.items[i]);
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

void hth_config_text(const hth_config *c, hth_str *to) {
    for (size_t i = 0; i < hth_n_settings; i++) {
        const hth_setting *s = &hth_settings[i];
        if (!hth_setting_has_value(s)) continue;
        hth_str_printf(to, "%-24s ", s->name);
        hth_json_out j = hth_json_out_make(to, false);
        print_value(c, s, &j, NULL);
        if (c->origin_of[i]) hth_str_printf(to, "   (%s)", c->origin_of[i]);
        hth_str_putc(to, '\n');
    }
    for (size_t i = 0; i < c->notes.n; i++) hth_str_printf(to, "%s\n", c->notes.items[i]);
}

// "-c, --ctx N"
static void print_flag(const hth_setting *s, hth_str *to) {
    char left[96];
    const size_t n = s->flags && s->flags[0] == '-' && s->flags[1] != '-' ? strcspn(s->flags, "|") : 0;
    (void)snprintf(left, sizeof left, "%.*s%s--%s%s%s", (int)n, s->flags ? s->flags : "", n ? ", " : "    ",
                   s->name, s->value ? " " : "", s->value ? s->value : "");
    hth_str_printf(to, "  %-32s %s\n", left, s->help);
}

void hth_config_help(hth_config_style style, hth_str *to) {
    if (style == HTH_CONFIG_LLAMA_SERVER)
        hth_str_puts(to, "Usage: llama-server [OPTIONS]\n\nHearth's server, under llama-server's name and "
                         "with its options.\n");
    else
        hth_str_puts(to, "Usage: hearth serve [OPTIONS] [MODEL...]\n\nServes models to clients of OpenAI, "
                         "Ollama, Anthropic and llama-server on one port.\n");
    hth_str_puts(to, "Each --some-name can also be HEARTH_SOME_NAME in the environment, or \"some-name\" in "
                     "the config file;\n"
                     "the spellings of llama-server's flags, LLAMA_ARG_* and OLLAMA_* are known too "
                     "(docs/serve.md).\n\nOptions:\n");
    for (size_t i = 0; i < hth_n_settings; i++) {
        if (hth_settings[i].kind < SET_IDLE) print_flag(&hth_settings[i], to);
    }
}

// --- together ---

static void missing_file(const char *what, const char *path, hth_path_kind kind, hth_str *problems,
                         size_t *n) {
    const hth_path_kind is = path ? hth_path_kind_of(path) : kind;
    if (is == kind) return;
    hth_str_printf(problems, "%s %s: %s\n", what, path,
                   is == HTH_PATH_NONE     ? "there is no such file or folder"
                   : kind == HTH_PATH_FILE ? "it is no file"
                                           : "it is no folder");
    ++*n;
}

static void problem(hth_str *problems, size_t *n, const char *text) {
    hth_str_printf(problems, "%s\n", text);
    ++*n;
}

static void check_json(const char *what, const char *text, hth_str *problems, size_t *n) {
    hth_json_doc *doc;
    hth_err err;
    if (!text) return;
    if (hth_json_parse(text, strlen(text), (uint64_t)1 << 20, &doc, &err) != HTH_OK) {
        hth_str_printf(problems, "%s: %s\n", what, err.msg);
        ++*n;
        return;
    }
    if (hth_json_root(doc)->kind != HTH_JSON_OBJECT) {
        hth_str_printf(problems, "%s: must be a JSON object\n", what);
        ++*n;
    }
    hth_json_free(doc);
}

static void check_sampling(const hth_config *c, hth_str *problems, size_t *n) {
    hth_sampler_params p = hth_sampler_default();
    hth_err err;
    if (hth_config_sample(&c->sampling, &p, &err) == HTH_OK && hth_sampler_check(&p, &err) == HTH_OK) return;
    problem(problems, n, err.msg);
}

size_t hth_config_check(const hth_config *c, hth_str *problems) {
    size_t n = 0;
    for (size_t i = 0; i < c->models.n; i++) {
        const hth_path_kind kind = hth_path_kind_of(c->models.items[i]);
        if (kind == HTH_PATH_NONE || kind == HTH_PATH_OTHER)
            missing_file("model", c->models.items[i], HTH_PATH_FILE, problems, &n);
    }
    if (c->aliases.n > 0 && c->aliases.n > c->models.n)
        problem(problems, &n, "there are more --alias than --model");
    missing_file("--models-dir", c->models_dir, HTH_PATH_FOLDER, problems, &n);
    missing_file("--api-key-file", c->api_key_file, HTH_PATH_FILE, problems, &n);
    missing_file("--tls-cert", c->tls_cert, HTH_PATH_FILE, problems, &n);
    missing_file("--tls-key", c->tls_key, HTH_PATH_FILE, problems, &n);
    missing_file("--chat-template-file", c->chat_template_file, HTH_PATH_FILE, problems, &n);
    missing_file("--slot-save-path", c->slot_folder, HTH_PATH_FOLDER, problems, &n);
    if (!c->tls_cert != !c->tls_key) problem(problems, &n, "--tls-cert and --tls-key are given together");
    if (c->chat_template && c->chat_template_file)
        problem(problems, &n, "--chat-template and --chat-template-file exclude each other");
    missing_file("--model-draft", c->model_draft, HTH_PATH_FILE, problems, &n);
    if (c->model_draft && c->models.n == 0) problem(problems, &n, "--model-draft needs a --model");
    if (c->lora.n > 0 && c->models.n == 0) problem(problems, &n, "--lora needs a --model");
    if (*c->prefix && *c->prefix != '/') problem(problems, &n, "--prefix must begin with /");
    check_json("--chat-template-kwargs", c->chat_template_kwargs, problems, &n);
    check_sampling(c, problems, &n);
    return n;
}
