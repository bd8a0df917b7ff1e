// Names of models: from paths, from clients, and whether the one means the other.
#include <string.h>

#include "server/models_impl.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_same(const char *a, size_t n, const char *b, size_t m) {
    if (n != m) return false;
    for (size_t i = 0; i < n; i++) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

static bool is_text(const char *a, size_t n, const char *b) {
    return is_same(a, n, b, strlen(b));
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// ---- from a path

// Length of the path's name without "-00001-of-00003".
static size_t without_part(const char *name, size_t n) {
    static const char shape[] = "-00000-of-00000";
    const size_t m = sizeof shape - 1;
    if (n <= m) return n;
    for (size_t i = 0; i < m; i++) {
        const char c = name[n - m + i];
        if (shape[i] == '0' ? !is_digit(c) : c != shape[i]) return n;
    }
    return n - m;
}

// Whether text is how quantizations are spelled: Q4_K_M, IQ2_XXS, TQ1_0, F16, BF16, MXFP4, 4bit.
static bool is_quantization(const char *text, size_t n) {
    static const char *const whole[] = {"F16",   "F32",       "BF16",  "FP16", "FP32",
                                        "MXFP4", "MXFP4_MOE", "NVFP4", "FP8"};
    for (size_t i = 0; i < HTH_COUNT(whole); i++) {
        if (is_text(text, n, whole[i])) return true;
    }
    if (n >= 4 && n <= 5 && is_digit(text[0]) && is_text(text + n - 3, 3, "bit")) return true;
    size_t at = n > 0 && (lower(text[0]) == 'i' || lower(text[0]) == 't') ? 1 : 0;
    if (at + 2 > n || lower(text[at]) != 'q' || !is_digit(text[at + 1])) return false;
    for (at += 2; at < n; at++) {
        const char c = lower(text[at]);
        if (c != '_' && !is_digit(c) && !(c >= 'a' && c <= 'z')) return false;
    }
    return true;
}

// What a name may not hold becomes '-'.
static void put_clean(hth_str *to, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        const bool fits = is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_' ||
                          c == '.' || c == '/';
        hth_str_putc(to, fits ? c : '-');
    }
}

// "models--org--repo" on the way to a snapshot is org/repo.
static bool name_of_hub(const char *path, hth_str *base) {
    const char *at = strstr(path, "/models--");
    if (!at) return false;
    at += strlen("/models--");
    const size_t n = strcspn(at, "/");
    const char *gap = strstr(at, "--");
    if (!gap || gap >= at + n) return false;
    put_clean(base, at, (size_t)(gap - at));
    hth_str_putc(base, '/');
    put_clean(base, gap + 2, n - (size_t)(gap - at) - 2);
    return true;
}

void model_name_of_path(const char *path, hth_str *base, hth_str *tag) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *name = path + n;
    while (name > path && name[-1] != '/') name--;
    n = (size_t)(path + n - name);
    const bool is_gguf = n > 5 && is_text(name + n - 5, 5, ".gguf");
    if (is_gguf) n -= 5;
    if (n > 12 && is_text(name + n - 12, 12, ".safetensors")) n -= 12;
    n = without_part(name, n);
    size_t cut = n;
    while (cut > 0 && name[cut - 1] != '-' && name[cut - 1] != '.') cut--;
    const bool has_tag = cut > 1 && is_quantization(name + cut, n - cut);
    if (has_tag)
        hth_str_append(tag, name + cut, n - cut);
    else
        hth_str_puts(tag, "latest");
    if (!is_gguf && name_of_hub(path, base)) return;
    put_clean(base, name, has_tag ? cut - 1 : n);
    if (base->len == 0) hth_str_puts(base, "model");
}

// ---- from a client

bool model_name_is_valid(const char *name) {
    size_t n_part = 0, n_tag = 0;
    bool in_tag = false;
    for (const char *p = name; *p; p++) {
        const bool is_letter = is_digit(*p) || (lower(*p) >= 'a' && lower(*p) <= 'z');
        if (*p == ':' && !in_tag && n_part > 0) {
            in_tag = true;
        } else if (*p == '/' && !in_tag && n_part > 0) {
            n_part = 0;
        } else if (is_letter || *p == '_' || ((*p == '-' || *p == '.') && (in_tag ? n_tag : n_part) > 0)) {
            if (in_tag)
                n_tag++;
            else
                n_part++;
        } else {
            return false;
        }
    }
    return n_part > 0 && (!in_tag || n_tag > 0) && strlen(name) <= 300;
}

// Where the tag's colon is, or NULL.
static const char *find_tag(const char *name) {
    const char *colon = strrchr(name, ':'), *slash = strrchr(name, '/');
    return colon && (!slash || colon > slash) ? colon : NULL;
}

void model_name_complete(const char *name, hth_str *out) {
    hth_str_puts(out, name);
    if (!find_tag(name)) hth_str_puts(out, ":latest");
}

static const char *skip_registry(const char *name) {
    static const char *const heads[] = {
        "https://", "http://", "hf.co/", "huggingface.co/", "registry.ollama.ai/", "library/"};
    for (size_t i = 0; i < HTH_COUNT(heads); i++) {
        const size_t n = strlen(heads[i]);
        if (strlen(name) > n && is_same(name, n, heads[i], n)) name += n;
    }
    return name;
}

// Whether the words of `stem` are those of `name`, whichever of '-', '.' and ':' stands between them.
static bool is_stem(const char *name, const char *stem) {
    for (; *name && *stem; name++, stem++) {
        const bool gap_a = strchr("-.:_", *name) != NULL, gap_b = strchr("-.:_", *stem) != NULL;
        if (gap_a != gap_b || (!gap_a && lower(*name) != lower(*stem))) return false;
    }
    return *name == *stem;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int match_alias(const card *c, const char *name, size_t n_bare) {
    for (size_t i = 0; i < c->n_alias; i++) {
        if (is_text(name, strlen(name), c->aliases[i]) || is_text(name, n_bare, c->aliases[i])) return 0;
    }
    return -1;
}

int card_match(const card *c, const char *given) {
    const char *name = skip_registry(given), *colon = find_tag(name);
    const size_t n = strlen(name);
    const bool is_latest = !colon || is_text(colon + 1, strlen(colon + 1), "latest");
    const size_t n_bare = colon && is_latest ? (size_t)(colon - name) : n;
    if (match_alias(c, name, n_bare) == 0) return 0;
    const hth_card *pub = &c->pub;
    if (is_text(name, n, pub->name)) return 1;
    if (is_latest && is_text(name, n_bare, pub->base) &&
        is_text("latest", 6, pub->name + strlen(pub->base) + 1))
        return 1;
    if (strcmp(given, pub->path) == 0 || is_text(given, strlen(given), last_part(pub->path))) return 2;
    if (is_stem(name, c->stem)) return 3;
    if (is_latest && is_text(name, n_bare, pub->base)) return 4;
    return is_latest && is_text(name, n_bare, last_part(pub->base)) ? 5 : -1;
}
