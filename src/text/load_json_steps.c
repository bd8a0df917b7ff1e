// Normalizers and pre-tokenizers of tokenizer.json.
#include <string.h>

#include "text/base64.h"
#include "text/load_json.h"

#define MAX_SEQUENCE_DEPTH 8
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
// \w+|[^\w\s]+ as Rust's regex crate reads it: joiners are of words.
#define RUST_WORDS "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+"
#define PUNCT "[\\p{P}!-/:-@\\[-`{-~]"

hth_code hth_json_flatten(json_loader *l, const hth_json *v, const char *key, const hth_json **list,
                          size_t *n) {
    struct {
        const hth_json *items;
        uint32_t i, n;
    } stack[MAX_SEQUENCE_DEPTH];
    size_t depth = 0;
    *n = 0;
    if (!v || v->kind == HTH_JSON_NULL) return HTH_OK;
    stack[depth].items = v;
    stack[depth].i = 0;
    stack[depth++].n = 1;
    while (depth > 0) {
        if (stack[depth - 1].i == stack[depth - 1].n) {
            depth--;
            continue;
        }
        const hth_json *s = &stack[depth - 1].items[stack[depth - 1].i++];
        if (s->kind != HTH_JSON_OBJECT) return hth_json_fail(l, s, "a step of a sequence is not an object");
        if (!hth_json_is(s, "type", "Sequence")) {
            if (*n == TOK_MAX_STEPS) return hth_json_fail(l, s, "a sequence has too many steps");
            list[(*n)++] = s;
            continue;
        }
        const hth_json *items = hth_json_get(s, key);
        if (!items || items->kind != HTH_JSON_ARRAY)
            return hth_json_fail(l, s, "a sequence without its steps");
        if (depth == MAX_SEQUENCE_DEPTH) return hth_json_fail(l, s, "sequences nest too deep");
        stack[depth].items = items->u.items;
        stack[depth].i = 0;
        stack[depth++].n = items->n;
    }
    return HTH_OK;
}

static hth_code fail_type(json_loader *l, const hth_json *s, const char *what) {
    const hth_json *type = hth_json_get(s, "type");
    return hth_fail_at(l->err, HTH_ERR_UNSUPPORTED, s->pos, "%s of type '%.64s' is not supported", what,
                       type && type->kind == HTH_JSON_STRING ? type->u.str : "?");
}

static const hth_json *get_string(const hth_json *v, const char *key) {
    const hth_json *s = hth_json_get(v, key);
    return s && s->kind == HTH_JSON_STRING ? s : NULL;
}

// {"String": "..."} or {"Regex": "..."}; *text is the string node.
static hth_code read_pattern(json_loader *l, const hth_json *s, const hth_json **text, bool *is_regex) {
    const hth_json *p = hth_json_get(s, "pattern");
    *text = get_string(p, "Regex");
    *is_regex = *text != NULL;
    if (!*text) *text = get_string(p, "String");
    return *text ? HTH_OK : hth_json_fail(l, s, "a pattern is missing");
}

static hth_code copy_text(json_loader *l, const hth_json *s, char **to, size_t *n) {
    *to = hth_strndup(HTH_MEM_TEXT, s->u.str, s->n);
    *n = s->n;
    return *to ? HTH_OK : hth_fail_nomem(l->err, s->n);
}

static hth_code read_replace(json_loader *l, const hth_json *s) {
    const hth_json *text = NULL, *content = get_string(s, "content");
    bool is_regex = false;
    norm_step *step = NULL;
    HTH_TRY(read_pattern(l, s, &text, &is_regex));
    if (!content) return hth_json_fail(l, s, "normalizer: Replace without content");
    HTH_TRY(hth_tok_add_norm(l->t, is_regex ? NORM_REPLACE_RE : NORM_REPLACE, &step, l->err));
    HTH_TRY(copy_text(l, content, &step->content, &step->n_content));
    if (!is_regex) return copy_text(l, text, &step->pattern, &step->n_pattern);
    hth_code code = hth_regex_compile(text->u.str, text->n, &l->t->unicode, &step->re, l->err);
    return code == HTH_OK ? HTH_OK : hth_fail_in(l->err, code, "normalizer");
}

static hth_code read_precompiled(json_loader *l, const hth_json *s) {
    const hth_json *map = get_string(s, "precompiled_charsmap");
    norm_step *step = NULL;
    HTH_TRY(hth_tok_add_norm(l->t, NORM_CHARSMAP, &step, l->err));
    if (!map) return hth_json_fail(l, s, "normalizer: Precompiled without precompiled_charsmap");
    uint8_t *blob = hth_alloc(HTH_MEM_TEXT, (size_t)map->n / 4 * 3 + 3);
    if (!blob) return hth_fail_nomem(l->err, map->n);
    size_t n = 0;
    hth_code code = HTH_OK;
    if (!hth_base64_decode(map->u.str, map->n, blob, &n))
        code = hth_json_fail(l, map, "precompiled_charsmap is not base64");
    if (code == HTH_OK) code = hth_charsmap_init(&step->map, blob, n, l->err);
    hth_free(blob);
    return code;
}

static hth_code read_bert(json_loader *l, const hth_json *s) {
    const hth_json *bad = NULL;
    bool clean = hth_json_bool(s, "clean_text", true, &bad),
         spaced = hth_json_bool(s, "handle_chinese_chars", true, &bad);
    bool lower = hth_json_bool(s, "lowercase", true, &bad),
         strip = hth_json_bool(s, "strip_accents", lower, &bad);
    if (bad) return hth_json_fail(l, bad, "normalizer: a flag is not true or false");
    return hth_tok_setup_bert(l->t, clean, spaced, strip, lower, false, l->err);
}

static hth_code read_norm(json_loader *l, const hth_json *s) {
    static const struct {
        const char *type;
        norm_kind kind;
    } plain[] = {{"NFC", NORM_NFC},
                 {"NFD", NORM_NFD},
                 {"NFKC", NORM_NFKC},
                 {"NFKD", NORM_NFKD},
                 {"Lowercase", NORM_LOWERCASE},
                 {"StripAccents", NORM_STRIP_ACCENTS},
                 {"Nmt", NORM_NMT},
                 {"ByteLevel", NORM_BYTE_ALPHABET},
                 {"Strip", NORM_STRIP}};
    norm_step *step = NULL;
    for (size_t i = 0; i < HTH_COUNT(plain); i++) {
        if (!hth_json_is(s, "type", plain[i].type)) continue;
        HTH_TRY(hth_tok_add_norm(l->t, plain[i].kind, &step, l->err));
        step->left = hth_json_bool(s, "strip_left", true, NULL);
        step->right = hth_json_bool(s, "strip_right", true, NULL);
        if (step->kind == NORM_BYTE_ALPHABET) l->t->model.byte_level = true;
        return HTH_OK;
    }
    if (hth_json_is(s, "type", "Replace")) return read_replace(l, s);
    if (hth_json_is(s, "type", "BertNormalizer")) return read_bert(l, s);
    if (hth_json_is(s, "type", "Precompiled")) return read_precompiled(l, s);
    if (!hth_json_is(s, "type", "Prepend")) return fail_type(l, s, "a normalizer");
    const hth_json *text = get_string(s, "prepend");
    if (!text) return hth_json_fail(l, s, "normalizer: Prepend without its text");
    return hth_tok_add_prepend(l->t, text->u.str, text->n, l->err);
}

hth_code hth_json_read_normalizer(json_loader *l) {
    const hth_json *list[TOK_MAX_STEPS];
    size_t n = 0;
    HTH_TRY(hth_json_flatten(l, hth_json_get(l->root, "normalizer"), "normalizers", list, &n));
    for (size_t i = 0; i < n; i++) HTH_TRY(read_norm(l, list[i]));
    return HTH_OK;
}

// ---- pre-tokenizers ----

static hth_code add_regex(json_loader *l, const char *pattern, size_t n, split_behavior behavior,
                          bool invert) {
    hth_code code = hth_tok_add_regex(l->t, pattern, n, behavior, invert, l->err);
    return code == HTH_OK ? HTH_OK : hth_fail_in(l->err, code, "pre_tokenizer");
}

static hth_code add_plain(json_loader *l, const char *pattern, split_behavior behavior, bool invert) {
    return add_regex(l, pattern, strlen(pattern), behavior, invert);
}

static hth_code read_behavior(json_loader *l, const hth_json *s, split_behavior *out) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    *out = SPLIT_ISOLATED;
    if (!hth_json_get(s, "behavior")) return HTH_OK;
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        if (!hth_json_is(s, "behavior", names[i])) continue;
        *out = (split_behavior)i;
        return HTH_OK;
    }
    return hth_json_fail(l, s, "pre_tokenizer: an unknown behavior");
}

// A literal text as an expression.
static hth_code add_literal(json_loader *l, const hth_json *text, split_behavior behavior, bool invert) {
    hth_str_clear(&l->buf);
    for (uint32_t i = 0; i < text->n; i++) {
        char c = text->u.str[i];
        if ((c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
            (c >= '{' && c <= '~')) {
            (void)hth_str_putc(&l->buf, '\\');
        }
        (void)hth_str_putc(&l->buf, c);
    }
    if (l->buf.failed) return hth_fail_nomem(l->err, text->n);
    if (l->buf.len == 0) return HTH_OK; // an empty pattern finds nothing
    return add_regex(l, l->buf.p, l->buf.len, behavior, invert);
}

static hth_code read_split(json_loader *l, const hth_json *s) {
    const hth_json *text = NULL, *bad = NULL;
    bool is_regex = false;
    split_behavior behavior = SPLIT_ISOLATED;
    HTH_TRY(read_pattern(l, s, &text, &is_regex));
    HTH_TRY(read_behavior(l, s, &behavior));
    bool invert = hth_json_bool(s, "invert", false, &bad);
    if (bad) return hth_json_fail(l, bad, "pre_tokenizer: 'invert' is not true or false");
    return is_regex ? add_regex(l, text->u.str, text->n, behavior, invert)
                    : add_literal(l, text, behavior, invert);
}

static hth_code read_byte_level(json_loader *l, const hth_json *s, bool last, bool mapped) {
    split_step *step = NULL;
    l->t->model.byte_level = true;
    if (hth_json_bool(s, "add_prefix_space", true, NULL))
        HTH_TRY(hth_tok_add_split(l->t, SPLIT_PREFIX_SPACE, &step, l->err));
    if (hth_json_bool(s, "use_regex", true, NULL)) HTH_TRY(add_plain(l, GPT2, SPLIT_ISOLATED, false));
    // Steps after this one see the byte alphabet, so there it must really be written.
    return last && !mapped ? HTH_OK : hth_tok_add_split(l->t, SPLIT_BYTE_ALPHABET, &step, l->err);
}

static hth_code read_metaspace(json_loader *l, const hth_json *s) {
    split_step *step = NULL;
    const hth_json *mark = get_string(s, "replacement");
    if (!mark || mark->n == 0 || mark->n > 4)
        return hth_json_fail(l, s, "pre_tokenizer: Metaspace without a replacement character");
    HTH_TRY(hth_tok_add_split(l->t, SPLIT_METASPACE, &step, l->err));
    memcpy(step->mark, mark->u.str, mark->n);
    step->n_mark = mark->n;
    step->cut = hth_json_bool(s, "split", true, NULL);
    step->prepend = hth_json_bool(s, "add_prefix_space", true, NULL) ? METASPACE_ALWAYS : METASPACE_NEVER;
    if (hth_json_is(s, "prepend_scheme", "first")) step->prepend = METASPACE_FIRST;
    if (hth_json_is(s, "prepend_scheme", "never")) step->prepend = METASPACE_NEVER;
    if (hth_json_is(s, "prepend_scheme", "always")) step->prepend = METASPACE_ALWAYS;
    return HTH_OK;
}

static hth_code read_pre(json_loader *l, const hth_json *s, bool last, bool mapped) {
    split_behavior behavior = SPLIT_ISOLATED;
    if (hth_json_is(s, "type", "ByteLevel")) return read_byte_level(l, s, last, mapped);
    if (hth_json_is(s, "type", "Split")) return read_split(l, s);
    if (hth_json_is(s, "type", "Metaspace")) return read_metaspace(l, s);
    if (hth_json_is(s, "type", "Whitespace")) return add_plain(l, RUST_WORDS, SPLIT_REMOVED, true);
    if (hth_json_is(s, "type", "WhitespaceSplit")) return add_plain(l, "\\s", SPLIT_REMOVED, false);
    if (hth_json_is(s, "type", "Digits")) {
        bool individual = hth_json_bool(s, "individual_digits", false, NULL);
        return add_plain(l, "\\p{N}", individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false);
    }
    if (hth_json_is(s, "type", "Punctuation")) {
        HTH_TRY(read_behavior(l, s, &behavior));
        return add_plain(l, PUNCT, behavior, false);
    }
    if (hth_json_is(s, "type", "BertPreTokenizer")) {
        HTH_TRY(add_plain(l, "\\s", SPLIT_REMOVED, false));
        return add_plain(l, PUNCT, SPLIT_ISOLATED, false);
    }
    if (hth_json_is(s, "type", "CharDelimiterSplit") && get_string(s, "delimiter")) {
        return add_literal(l, get_string(s, "delimiter"), SPLIT_REMOVED, false);
    }
    return fail_type(l, s, "a pre-tokenizer");
}

hth_code hth_json_read_pre_tokenizer(json_loader *l) {
    const hth_json *list[TOK_MAX_STEPS];
    size_t n = 0;
    bool mapped = l->t->model.byte_level; // by a normalizer
    HTH_TRY(hth_json_flatten(l, hth_json_get(l->root, "pre_tokenizer"), "pretokenizers", list, &n));
    for (size_t i = 0; i < n; i++) {
        HTH_TRY(read_pre(l, list[i], i + 1 == n, mapped));
        mapped = mapped || (hth_json_is(list[i], "type", "ByteLevel") && i + 1 < n);
    }
    split_step *step = NULL;
    return mapped ? hth_tok_add_split(l->t, SPLIT_BYTES_BACK, &step, l->err) : HTH_OK;
}
