// Reads the command line, the environment and the file against the table of settings, and prints what came of
// it.
#include "server/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "engine/sampler.h"
#include "formats/json.h"
#include "os/file.h"
#include "os/folders.h"
#include "server/config_impl.h"

#define MAX_FILE_BYTES ((uint64_t)1 << 20)
#define MAX_NAME 64

// --- the command line ---

// Whether the word [n] is a spelling of the setting; *negative for --no-x and the like.
static bool is_spelled(const hth_setting *s, const char *word, size_t n, bool *negative) {
    const bool may_negate = hth_setting_is_flag(s) && s->kind != SET_TO && !s->flag_only;
    const bool is_no = may_negate && n > 5 && memcmp(word, "--no-", 5) == 0;
    *negative = false;
    if (n > 2 && strlen(s->name) == n - 2 && memcmp(word, "--", 2) == 0 &&
        memcmp(word + 2, s->name, n - 2) == 0)
        return true;
    *negative = true;
    if (is_no && strlen(s->name) == n - 5 && memcmp(word + 5, s->name, n - 5) == 0) return true;
    for (const char *p = s->flags; p;) {
        const size_t len = strcspn(p, "|");
        *negative = p[0] == '!';
        if (len - *negative == n && memcmp(p + *negative, word, n) == 0) return true;
        *negative = true;
        if (is_no && len > 2 && memcmp(p, "--", 2) == 0 && len - 2 == n - 5 &&
            memcmp(p + 2, word + 5, n - 5) == 0)
            return true;
        p = p[len] ? p + len + 1 : NULL;
    }
    return false;
}

static const hth_setting *find_flag(const char *word, size_t n, bool *negative) {
    for (size_t i = 0; i < hth_n_settings; i++) {
        if (is_spelled(&hth_settings[i], word, n, negative)) return &hth_settings[i];
    }
    return NULL;
}

static const hth_setting *find_name(const char *name) {
    for (size_t i = 0; i < hth_n_settings; i++) {
        if (strcmp(hth_settings[i].name, name) == 0) return &hth_settings[i];
    }
    return NULL;
}

static hth_code unknown(const char *what, const char *word, const char *dashes, hth_err *err) {
    const char *names[HTH_CONFIG_MAX_SETTINGS];
    size_t n = 0;
    for (size_t i = 0; i < hth_n_settings; i++) {
        if (*dashes || hth_setting_has_value(&hth_settings[i])) names[n++] = hth_settings[i].name;
    }
    const char *near = hth_nearest(word + strspn(word, "-"), names, n);
    if (near)
        return hth_fail(err, HTH_ERR_RANGE, "unknown %s %s; did you mean %s%s?", what, word, dashes, near);
    return hth_fail(err, HTH_ERR_RANGE, "unknown %s %s", what, word);
}

// argv[*i] begins with a dash: takes it and, where it needs one, its value.
static hth_code take_flag(hth_config *c, int argc, char *const *argv, int *i, hth_err *err) {
    char word[MAX_NAME], where[MAX_NAME + 8];
    const char *given = argv[*i], *value = NULL;
    const size_t len = strcspn(given, "=");
    const bool is_long = given[1] == '-';
    if (is_long && given[len]) value = given + len + 1;
    (void)snprintf(word, sizeof word, "%.*s", (int)(value && len < MAX_NAME ? len : MAX_NAME - 1), given);
    for (char *p = word; is_long && *p; p++) *p = *p == '_' ? '-' : *p;
    (void)snprintf(where, sizeof where, "flag %s", word);
    bool negative;
    const hth_setting *s = find_flag(word, strlen(word), &negative);
    if (!s) return unknown("flag", word, "--", err);
    if (hth_setting_is_flag(s)) {
        if (value && !negative && s->kind != SET_REFUSED_FLAG)
            return hth_setting_store(c, s, value, HTH_FROM_FLAG, where, err);
        if (value) return hth_fail(err, HTH_ERR_RANGE, "%s takes no value", where);
        return hth_setting_switch(c, s, !negative, HTH_FROM_FLAG, where, err);
    }
    if (!value && s->bare && (*i + 1 == argc || argv[*i + 1][0] == '-')) value = s->bare;
    if (!value && *i + 1 == argc)
        return hth_fail(err, HTH_ERR_RANGE, "%s needs a value%s%s", where, s->value ? ": " : "",
                        s->value ? s->value : "");
    return hth_setting_store(c, s, value ? value : argv[++*i], HTH_FROM_FLAG, where, err);
}

static hth_code take_line(hth_config *c, int argc, char *const *argv, hth_err *err) {
    bool flags = true;
    for (int i = 0; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0)
            flags = false;
        else if (flags && argv[i][0] == '-' && argv[i][1])
            HTH_TRY(take_flag(c, argc, argv, &i, err));
        else if (c->style == HTH_CONFIG_LLAMA_SERVER)
            return hth_fail(err, HTH_ERR_RANGE, "unknown argument '%s': models are given with -m", argv[i]);
        else
            HTH_TRY(hth_setting_store(c, find_name("model"), argv[i], HTH_FROM_FLAG, "argument", err));
    }
    return HTH_OK;
}

// --- the environment ---

static hth_code take_variable(hth_config *c, const hth_setting *s, const char *name, bool *found,
                              hth_err *err) {
    char where[2 * MAX_NAME];
    const char *value = getenv(name);
    *found = value && *value;
    if (!*found) return HTH_OK;
    (void)snprintf(where, sizeof where, "variable %s", name);
    return hth_setting_store(c, s, value, HTH_FROM_ENV, where, err);
}

// LLAMA_ARG_NO_X, whose value does not count.
static hth_code take_negative(hth_config *c, const hth_setting *s, const char *name, bool *found,
                              hth_err *err) {
    static const char prefix[] = "LLAMA_ARG_";
    char negative[2 * MAX_NAME], where[3 * MAX_NAME];
    *found = false;
    if (!hth_setting_is_flag(s) || strncmp(name, prefix, sizeof prefix - 1) != 0) return HTH_OK;
    (void)snprintf(negative, sizeof negative, "LLAMA_ARG_NO_%s", name + sizeof prefix - 1);
    *found = getenv(negative) != NULL;
    if (!*found) return HTH_OK;
    (void)snprintf(where, sizeof where, "variable %s", negative);
    return hth_setting_switch(c, s, false, HTH_FROM_ENV, where, err);
}

static hth_code take_setting_variables(hth_config *c, const hth_setting *s, hth_err *err) {
    char name[MAX_NAME];
    bool found;
    (void)snprintf(name, sizeof name, "HEARTH_%s", s->name);
    for (char *p = name + 7; *p; p++) *p = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    found = false;
    if (hth_setting_has_value(s) || s->kind == SET_TO) HTH_TRY(take_variable(c, s, name, &found, err));
    for (const char *p = s->env; p && !found;) {
        const size_t len = strcspn(p, "|");
        (void)snprintf(name, sizeof name, "%.*s", (int)len, p);
        const bool is_ollama = strncmp(name, "OLLAMA_", 7) == 0;
        if (!is_ollama || c->style == HTH_CONFIG_HEARTH) {
            HTH_TRY(take_variable(c, s, name, &found, err));
            if (!found) HTH_TRY(take_negative(c, s, name, &found, err));
        }
        p = p[len] ? p + len + 1 : NULL;
    }
    return HTH_OK;
}

// Variables that speak of two settings at once, below those that name one.
static hth_code take_joint_variables(hth_config *c, hth_err *err) {
    if (c->style != HTH_CONFIG_HEARTH) return HTH_OK;
    const hth_setting *const both[] = {find_name("host"), find_name("port")};
    const char *host = c->host, *text = getenv("OLLAMA_HOST");
    const int64_t port = c->port;
    if (text && *text) {
        HTH_TRY(hth_config_ollama_host(c, text, err));
        for (int i = 0; i < 2; i++) {
            const size_t at = (size_t)(both[i] - hth_settings);
            if (c->origin[at] >= HTH_FROM_ENV) {
                if (i == 0)
                    c->host = host;
                else
                    c->port = port;
            } else {
                c->origin[at] = HTH_FROM_ENV;
                c->origin_of[at] = "variable OLLAMA_HOST";
            }
        }
    }
    const hth_setting *const kinds[] = {find_name("ctk"), find_name("ctv")};
    const char *type = getenv("OLLAMA_KV_CACHE_TYPE");
    for (int i = 0; i < 2 && type && *type; i++) {
        if (c->origin[kinds[i] - hth_settings] >= HTH_FROM_ENV) continue;
        HTH_TRY(hth_setting_store(c, kinds[i], type, HTH_FROM_ENV, "variable OLLAMA_KV_CACHE_TYPE", err));
    }
    return HTH_OK;
}

static hth_code take_environment(hth_config *c, hth_err *err) {
    for (size_t i = 0; i < hth_n_settings; i++) {
        if (!hth_settings[i].flag_only) HTH_TRY(take_setting_variables(c, &hth_settings[i], err));
    }
    return take_joint_variables(c, err);
}

// --- the file ---

static hth_code take_scalar(hth_config *c, const hth_setting *s, const hth_json *v, const char *where,
                            hth_err *err) {
    char number[40];
    const bool is_text = s->kind == SET_TEXT || s->kind == SET_NAME || s->kind == SET_CHOICE ||
                         s->kind == SET_LIST || s->kind == SET_COMMAS;
    switch (v->kind) {
    case HTH_JSON_STRING:
        if (s->kind == SET_BOOL || s->kind == SET_INT || s->kind == SET_NUM) break;
        return hth_setting_store(c, s, v->u.str, HTH_FROM_FILE, where, err);
    case HTH_JSON_BOOL:
        if (s->kind != SET_BOOL) break;
        return hth_setting_switch(c, s, v->u.b, HTH_FROM_FILE, where, err);
    case HTH_JSON_NUMBER:
        if (is_text || s->kind == SET_BOOL) break;
        if (v->is_int)
            (void)snprintf(number, sizeof number, "%" PRId64, v->u.num.i);
        else
            (void)snprintf(number, sizeof number, "%.17g", v->u.num.d);
        return hth_setting_store(c, s, number, HTH_FROM_FILE, where, err);
    default: break;
    }
    static const char *const wanted[] = {
        [SET_BOOL] = "true or false", [SET_INT] = "a whole number",
        [SET_NUM] = "a number",       [SET_BYTES] = "a number or a text like \"8G\"",
        [SET_CACHE] = "a number",       [SET_TIME] = "a text like \"5m\" or seconds"};
    return hth_fail(err, HTH_ERR_RANGE, "%s must be %s", where, is_text ? "a text" : wanted[s->kind]);
}

static hth_code take_member(hth_config *c, const char *path, const hth_json_member *m, hth_err *err) {
    char key[MAX_NAME], where[256];
    (void)snprintf(key, sizeof key, "%s", m->key);
    for (char *p = key; *p; p++) *p = *p == '_' ? '-' : *p;
    (void)snprintf(where, sizeof where, "%s: \"%s\"", path, key);
    const hth_setting *s = find_name(key);
    if (!s || !hth_setting_has_value(s) || strcmp(key, "config") == 0)
        return hth_fail_in(err, unknown("key", key, "", err), path);
    const hth_json *v = &m->value;
    if (v->kind != HTH_JSON_ARRAY) return take_scalar(c, s, v, where, err);
    if (s->kind != SET_LIST && s->kind != SET_COMMAS)
        return hth_fail(err, HTH_ERR_RANGE, "%s is one value, not a list", where);
    for (uint32_t i = 0; i < v->n; i++) HTH_TRY(take_scalar(c, s, &v->u.items[i], where, err));
    return HTH_OK;
}

static hth_code take_json(hth_config *c, const char *path, const char *text, size_t n, hth_err *err) {
    hth_json_doc *doc;
    hth_code code = hth_json_parse(text, n, 4 * MAX_FILE_BYTES, &doc, err);
    if (code != HTH_OK) return hth_fail_in(err, code, path);
    const hth_json *root = hth_json_root(doc);
    if (root->kind != HTH_JSON_OBJECT)
        code = hth_fail(err, HTH_ERR_RANGE, "%s: must be one JSON object", path);
    for (uint32_t i = 0; code == HTH_OK && i < root->n; i++)
        code = take_member(c, path, &root->u.members[i], err);
    hth_json_free(doc);
    return code;
}

// The file that was named, or the usual one where there is one.
static hth_code take_file(hth_config *c, hth_err *err) {
    hth_str path;
    hth_str_init(&path, HTH_MEM_MISC, 4096);
    hth_code code = HTH_OK;
    if (c->file) {
        hth_str_puts(&path, c->file);
    } else {
        hth_err ignored;
        if (hth_own_folder_path(HTH_FOLDER_CONFIG, &path, &ignored) == HTH_OK)
            hth_str_puts(&path, "/serve.json");
        if (hth_path_kind_of(hth_str_text(&path)) == HTH_PATH_NONE) hth_str_clear(&path);
    }
    if (path.len > 0) {
        char *text;
        size_t n;
        code = hth_file_read(hth_str_text(&path), HTH_MEM_MISC, MAX_FILE_BYTES, &text, &n, err);
        if (code == HTH_OK) {
            code = take_json(c, hth_str_text(&path), text, n, err);
            hth_free(text);
        }
    }
    hth_str_free(&path);
    return code;
}

// --- all together ---

// What settings mean together, as llama-server has it.
static void finish(hth_config *c) {
    if (c->n_parallel < 0) c->n_parallel = 0;
    if (c->n_thread < 0) c->n_thread = 0;
    if (c->style == HTH_CONFIG_LLAMA_SERVER && !c->kv_unified && c->n_ctx > 0 && c->n_parallel > 1) {
        c->n_ctx = c->n_ctx > c->n_parallel ? c->n_ctx / c->n_parallel : 1;
    }
    if (c->tls_cert || c->tls_key) c->tls = true;
}

hth_code hth_config_load(int argc, char *const *argv, hth_config_style style, hth_config *out, hth_err *err) {
    hth_config_defaults(out, style);
    // The line first: it names the file. What comes later does not replace what is above it.
    HTH_TRY(take_line(out, argc, argv, err));
    if (out->help || out->version) return HTH_OK; // a broken environment must not keep these from anybody
    HTH_TRY(take_environment(out, err));
    HTH_TRY(take_file(out, err));
    finish(out);
    return HTH_OK;
}

void hth_config_free(hth_config *c) {
    hth_arena_free(&c->arena);
    *c = (hth_config){0};
}

hth_code hth_config_state_path(const hth_config *c, const char *name, hth_str *path, hth_err *err) {
    hth_str_clear(path);
    if (c->state_folder)
        hth_str_puts(path, c->state_folder);
    else
        HTH_TRY(hth_own_folder_path(HTH_FOLDER_STATE, path, err));
    if (path->failed) return hth_fail_nomem(err, path->max);
    HTH_TRY(hth_folder_make(hth_str_text(path), err));
    hth_str_printf(path, "/%s", name);
    return path->failed ? hth_fail_nomem(err, path->max) : HTH_OK;
}

#define SAMPLE(field, type) \
    if (!isnan(given->field)) p->field = (type)given->field

hth_code hth_config_sample(const hth_config_sampling *given, hth_sampler_params *p, hth_err *err) {
    SAMPLE(temperature, float);
    SAMPLE(top_k, int32_t);
    SAMPLE(top_p, float);
    SAMPLE(min_p, float);
    SAMPLE(typical_p, float);
    SAMPLE(top_n_sigma, float);
    SAMPLE(repeat_penalty, float);
    SAMPLE(presence_penalty, float);
    SAMPLE(frequency_penalty, float);
    SAMPLE(xtc_probability, float);
    SAMPLE(xtc_threshold, float);
    SAMPLE(dynatemp_range, float);
    SAMPLE(dynatemp_exponent, float);
    SAMPLE(dry_multiplier, float);
    SAMPLE(dry_base, float);
    SAMPLE(dry_allowed_length, int32_t);
    SAMPLE(dry_last_n, int32_t);
    SAMPLE(mirostat, int32_t);
    SAMPLE(mirostat_tau, float);
    SAMPLE(mirostat_eta, float);
    if (!isnan(given->repeat_last_n)) p->penalty_last_n = (int32_t)given->repeat_last_n;
    if (given->seed >= 0) p->seed = (uint64_t)given->seed; // -1: a new one, which the caller makes
    return given->samplers ? hth_sampler_parse_order(given->samplers, p, err) : HTH_OK;
}
