// Finding templates, asking them what they understand, and rendering conversations.
#include "chat/template.h"

#include <stdio.h>
#include <string.h>

#include "chat/classic.h"
#include "chat/jinja_impl.h"

#define MAX_REQUEST ((uint64_t)1 << 30) // memory of a conversation as values
#define MAX_NAMES 16

struct hth_chat_template {
    hth_jinja *plain, *tools; // the template; another one for requests with tools, or NULL
    hth_chat_source source;
    char name[48];
    bool adds_bos;
    hth_arena arena;        // of `tokens`
    hth_jinja_value tokens; // bos_token, eos_token, ...
    hth_chat_abilities can;
};

static bool is_classic(const hth_chat_template *t) {
    return t->source == HTH_CHAT_FROM_NAME || t->source == HTH_CHAT_FROM_TOKENS;
}

// ---- where templates are ----

typedef struct found {
    hth_chat_text plain, tools;
} found;

// chat_template of tokenizer_config.json or chat_template.json: a string, or a list of named ones.
static void look_in_config(const hth_json *config, const char *name, found *out) {
    const hth_json *v = hth_json_get(config, "chat_template");
    if (v && v->kind == HTH_JSON_STRING && !name) out->plain = (hth_chat_text){v->u.str, v->n};
    for (uint32_t i = 0; v && v->kind == HTH_JSON_ARRAY && i < v->n; i++) {
        const char *its = hth_json_str(&v->u.items[i], "name", "", NULL);
        const hth_json *text = hth_json_get(&v->u.items[i], "template");
        if (!text || text->kind != HTH_JSON_STRING) continue;
        if (strcmp(its, name ? name : "default") == 0) out->plain = (hth_chat_text){text->u.str, text->n};
        if (strcmp(its, "tool_use") == 0 && !name) out->tools = (hth_chat_text){text->u.str, text->n};
    }
}

static hth_code look_in_gguf(const hth_gguf *g, const char *name, found *out, hth_err *err) {
    char key[96];
    snprintf(key, sizeof key, "tokenizer.chat_template%s%.48s", name ? "." : "", name ? name : "");
    HTH_TRY(hth_gguf_get_str(g, key, &out->plain.p, &out->plain.n, err));
    if (name) return HTH_OK;
    return hth_gguf_get_str(g, "tokenizer.chat_template.tool_use", &out->tools.p, &out->tools.n, err);
}

static hth_code look_in_folder(hth_container *c, const char *name, found *out, hth_err *err) {
    char path[120];
    if (name) {
        snprintf(path, sizeof path, "additional_chat_templates/%.48s.jinja", name);
        if (!strpbrk(name, "/\\")) HTH_TRY(hth_container_text(c, path, &out->plain.p, &out->plain.n, err));
    } else {
        HTH_TRY(hth_container_text(c, "chat_template.jinja", &out->plain.p, &out->plain.n, err));
        HTH_TRY(hth_container_text(c, "additional_chat_templates/tool_use.jinja", &out->tools.p, &out->tools.n, err));
    }
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json"};
    for (size_t i = 0; !out->plain.p && i < HTH_COUNT(files); i++) {
        const hth_json *config;
        HTH_TRY(hth_container_json(c, files[i], &config, err));
        look_in_config(config, name, out);
    }
    return HTH_OK;
}

static hth_code find_templates(hth_container *c, const char *name, found *out, hth_err *err) {
    *out = (found){{NULL, 0}, {NULL, 0}};
    if (!c) return HTH_OK;
    if (name && strcmp(name, "default") == 0) name = NULL;
    const hth_gguf *g = hth_container_gguf(c);
    HTH_TRY(g ? look_in_gguf(g, name, out, err) : look_in_folder(c, name, out, err));
    if (!out->plain.p) out->plain = out->tools; // the only one
    return HTH_OK;
}

// ---- special tokens as variables ----

static hth_code set_token(hth_chat_template *t, const char *key, const char *text, size_t n, hth_err *err) {
    hth_jinja_value v;
    HTH_TRY(hth_jinja_make_str(&t->arena, text, n, HTH_JINJA_OF_TEMPLATE, &v, err));
    return hth_jinja_set(&t->arena, &t->tokens, key, strlen(key), HTH_JINJA_OF_TEMPLATE, v, err);
}

static hth_code tokens_of_vocabulary(hth_chat_template *t, const hth_tokenizer *tokenizer, hth_err *err) {
    static const struct {
        const char *name;
        hth_special special;
    } rows[] = {{"bos_token", HTH_SPECIAL_BOS}, {"eos_token", HTH_SPECIAL_EOS}, {"unk_token", HTH_SPECIAL_UNK},
                {"sep_token", HTH_SPECIAL_SEP}, {"pad_token", HTH_SPECIAL_PAD}, {"cls_token", HTH_SPECIAL_CLS},
                {"mask_token", HTH_SPECIAL_MASK}};
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        hth_token id = hth_tokenizer_special(tokenizer, rows[i].special);
        size_t n;
        const char *text = id >= 0 ? hth_tokenizer_spelling(tokenizer, id, &n) : NULL;
        if (text) HTH_TRY(set_token(t, rows[i].name, text, n, err));
    }
    return HTH_OK;
}

// The folder's own names for tokens: "eos_token": "</s>" or {"content": "</s>"}.
static hth_code tokens_of_config(hth_chat_template *t, hth_container *c, hth_err *err) {
    const hth_json *config;
    HTH_TRY(hth_container_json(c, "tokenizer_config.json", &config, err));
    for (uint32_t i = 0; config && config->kind == HTH_JSON_OBJECT && i < config->n; i++) {
        const hth_json_member *m = &config->u.members[i];
        const hth_json *v = m->value.kind == HTH_JSON_OBJECT ? hth_json_get(&m->value, "content") : &m->value;
        bool names_token = m->key_len > 6 && strcmp(m->key + m->key_len - 6, "_token") == 0;
        if (names_token && v && v->kind == HTH_JSON_STRING) HTH_TRY(set_token(t, m->key, v->u.str, v->n, err));
    }
    return HTH_OK;
}

static hth_code take_tokens(hth_chat_template *t, hth_container *c, const hth_tokenizer *tokenizer, hth_err *err) {
    HTH_TRY(hth_jinja_make_dict(&t->arena, &t->tokens, err));
    if (!tokenizer) {
        HTH_TRY(set_token(t, "bos_token", "<s>", 3, err));
        return set_token(t, "eos_token", "</s>", 4, err);
    }
    HTH_TRY(tokens_of_vocabulary(t, tokenizer, err));
    if (c && !hth_container_gguf(c)) HTH_TRY(tokens_of_config(t, c, err));
    if (!is_classic(t)) return HTH_OK;
    static const char *const used[] = {"bos_token", "eos_token"}; // the classic formats count on these
    for (size_t i = 0; i < HTH_COUNT(used); i++) {
        if (!hth_jinja_get(&t->tokens, used[i])) HTH_TRY(set_token(t, used[i], "", 0, err));
    }
    return HTH_OK;
}

bool hth_chat_template_has_literal(const hth_chat_template *t, const char *word) {
    const size_t n = strlen(word);
    return hth_jinja_has_literal(t->plain, word, n) || (t->tools && hth_jinja_has_literal(t->tools, word, n));
}

static bool has_letter(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z') return true;
    }
    return false;
}

// Added tokens that mark something in this family's chats: the template writes them, or they open and close
// thoughts and calls.
static bool is_marker(const void *user, const char *text, size_t n) {
    static const char *const usual[] = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>",
                                        "</tool_response>", "[THINK]", "[/THINK]", "[TOOL_CALLS]"};
    const hth_chat_template *t = user;
    for (size_t i = 0; i < HTH_COUNT(usual); i++) {
        if (strlen(usual[i]) == n && memcmp(usual[i], text, n) == 0) return true;
    }
    return has_letter(text, n) &&
           (hth_jinja_has_literal(t->plain, text, n) || (t->tools && hth_jinja_has_literal(t->tools, text, n)));
}

// ---- what a template understands ----

static hth_code render_values(const hth_chat_template *t, hth_arena *a, const hth_chat_request *r,
                              const hth_jinja_value *messages, hth_jinja_text *out, hth_err *err);

#define NEEDLE "nEedLe"

static bool text_has(const hth_jinja_text *text, const char *word) {
    const char *p = text->n > 0 ? text->segments[0].text : ""; // the segments lie one behind the other
    return strstr(p, word) != NULL;
}

static hth_code try_messages(const hth_chat_template *t, const hth_chat_message *m, size_t n, hth_chat_shape shape,
                             const hth_jinja_value *tools, hth_jinja_text *out, hth_err *err) {
    hth_arena a;
    hth_jinja_value list, *items;
    hth_chat_request r = {.tools = tools, .now = &(hth_jinja_time){2026, 1, 1, 0, 0, 0, 3, 1}};
    hth_arena_init(&a, HTH_MEM_TEXT, MAX_REQUEST);
    hth_code code = hth_jinja_make_list(&a, n, &list, &items, err);
    for (size_t i = 0; i < n && code == HTH_OK; i++) code = hth_chat_message_value(&a, &m[i], shape, &items[i], err);
    if (code == HTH_OK) code = render_values(t, &a, &r, &list, out, err);
    hth_arena_free(&a);
    return code;
}

// Whether a conversation renders to a text with `word` and without `bad`. Only lack of memory is a failure.
static hth_code probe(const hth_chat_template *t, const hth_chat_message *m, size_t n, hth_chat_shape shape,
                      const hth_jinja_value *tools, const char *word, const char *bad, bool *out, hth_err *err) {
    hth_jinja_text text = {0};
    hth_err reason;
    hth_code code = try_messages(t, m, n, shape, tools, &text, &reason);
    if (code == HTH_ERR_NOMEM) {
        if (err) *err = reason;
        return code;
    }
    *out = code == HTH_OK && text_has(&text, word) && !(bad && text_has(&text, bad));
    hth_jinja_text_free(&text);
    return HTH_OK;
}

static hth_code probe_calls(hth_chat_template *t, const hth_chat_part *part, const hth_jinja_value *tools, hth_err *err) {
    const hth_chat_call call = {hth_chat_text_of("call00001"), hth_chat_text_of("probe"),
                                hth_chat_text_of("{\"" NEEDLE "\": \"x\"}"), false};
    const hth_chat_message m[] = {
        {.role = hth_chat_text_of("user"), .parts = part, .n_part = 1},
        {.role = hth_chat_text_of("assistant"), .calls = &call, .n_call = 1},
        {.role = hth_chat_text_of("tool"), .parts = part, .n_part = 1, .call_id = call.id, .name = call.name}};
    hth_chat_shape shape = {.parts = !t->can.strings, .object_arguments = true};
    bool as_object, as_string;
    HTH_TRY(probe(t, m, HTH_COUNT(m), shape, tools, NEEDLE, "'" NEEDLE "'", &as_object, err));
    shape.object_arguments = false;
    HTH_TRY(probe(t, m, HTH_COUNT(m), shape, tools, "\"" NEEDLE "\"", NULL, &as_string, err));
    t->can.object_arguments = as_object || !as_string;
    return HTH_OK;
}

static hth_code probe_systems(hth_chat_template *t, const hth_chat_part *needle, const hth_chat_part *other,
                              hth_chat_shape shape, hth_err *err) {
    hth_chat_message m[] = {{.role = hth_chat_text_of("system"), .parts = needle, .n_part = 1},
                            {.role = hth_chat_text_of("system"), .parts = other, .n_part = 1},
                            {.role = hth_chat_text_of("user"), .parts = other, .n_part = 1}};
    bool first, second;
    HTH_TRY(probe(t, m, HTH_COUNT(m), shape, NULL, NEEDLE, NULL, &first, err));
    m[0].parts = other;
    m[1].parts = needle;
    HTH_TRY(probe(t, m, HTH_COUNT(m), shape, NULL, NEEDLE, NULL, &second, err));
    t->can.systems = first && second;
    const hth_chat_message late[] = {m[2], {.role = hth_chat_text_of("assistant"), .parts = other, .n_part = 1}, m[1], m[2]};
    return probe(t, late, HTH_COUNT(late), shape, NULL, NEEDLE, NULL, &t->can.late_systems, err);
}

static hth_code make_probe_tool(hth_arena *a, hth_jinja_value *out, hth_err *err) {
    static const char text[] = "[{\"type\": \"function\", \"function\": {\"name\": \"probe\", \"description\": \"" NEEDLE
                               "\", \"parameters\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\","
                               " \"description\": \"d\"}}, \"required\": [\"a\"]}}}]";
    hth_json_doc *doc;
    HTH_TRY(hth_json_parse(text, sizeof text - 1, 1 << 16, &doc, err));
    hth_code code = hth_jinja_from_json(a, hth_json_root(doc), text, sizeof text - 1, HTH_JINJA_OF_CLIENT, out, err);
    hth_json_free(doc);
    return code;
}

static hth_code find_abilities(hth_chat_template *t, hth_err *err) {
    const hth_chat_part needle = {HTH_CHAT_PART_TEXT, hth_chat_text_of(NEEDLE)},
                        other = {HTH_CHAT_PART_TEXT, hth_chat_text_of("x")};
    hth_chat_message m[] = {{.role = hth_chat_text_of("user"), .parts = &needle, .n_part = 1},
                            {.role = hth_chat_text_of("user"), .parts = &other, .n_part = 1}};
    hth_chat_shape strings = {.object_arguments = true}, parts = {.parts = true, .object_arguments = true};
    hth_jinja_value tools;
    HTH_TRY(make_probe_tool(&t->arena, &tools, err));
    HTH_TRY(probe(t, m, 1, strings, NULL, NEEDLE, NULL, &t->can.strings, err));
    HTH_TRY(probe(t, m, 1, parts, NULL, NEEDLE, "'" NEEDLE "'", &t->can.parts, err));
    if (t->can.parts) HTH_TRY(probe(t, m, 1, parts, NULL, NEEDLE, "\"" NEEDLE "\"", &t->can.parts, err));
    if (!t->can.parts) t->can.strings = true; // neither: strings are what errors are told about
    hth_chat_shape shape = t->can.strings ? strings : parts;
    m[0].role = hth_chat_text_of("system");
    HTH_TRY(probe(t, m, 2, shape, NULL, NEEDLE, NULL, &t->can.system, err));
    HTH_TRY(probe_systems(t, &needle, &other, shape, err));
    if (hth_jinja_has_literal(t->plain, "developer", 9)) {
        m[0].role = hth_chat_text_of("developer");
        HTH_TRY(probe(t, m, 2, shape, NULL, NEEDLE, NULL, &t->can.developer, err));
    }
    HTH_TRY(probe(t, m + 1, 1, shape, &tools, NEEDLE, NULL, &t->can.tools, err));
    return probe_calls(t, &other, &tools, err);
}

// ---- opening ----

static hth_code compile(hth_chat_text text, hth_jinja **out, hth_err *err) {
    return text.p ? hth_jinja_compile(text.p, text.n, out, err) : HTH_OK;
}

static hth_code unknown_name(const char *name, hth_err *err) {
    char names[320] = "";
    size_t n = 0;
    for (size_t i = 0; hth_chat_classic_at(i) && n < sizeof names; i++) {
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", hth_chat_classic_at(i)->name);
    }
    return hth_fail(err, HTH_ERR_RANGE, "there is no chat format '%.60s'; there are %s", name, names);
}

// Some files name a format instead of writing it down.
static const hth_chat_classic *named_by(hth_chat_text text) {
    for (size_t i = 0; text.p && hth_chat_classic_at(i); i++) {
        const hth_chat_classic *row = hth_chat_classic_at(i);
        if (strlen(row->name) == text.n && memcmp(row->name, text.p, text.n) == 0) return row;
    }
    return NULL;
}

// Mistral's table of tokens says which version of its prompts the model was trained with; by the tokens alone v3 and v7
// look the same.
static hth_code find_by_tekken(hth_container *c, const hth_chat_classic **row, hth_err *err) {
    const hth_json *table = NULL;
    if (c && !hth_container_gguf(c)) HTH_TRY(hth_container_json(c, "tekken.json", &table, err));
    const hth_json *config = table ? hth_json_get(table, "config") : NULL;
    char name[32];
    snprintf(name, sizeof name, "mistral-%.8s", config ? hth_json_str(config, "version", "", NULL) : "");
    *row = hth_chat_classic_find(name);
    return HTH_OK;
}

// Decides whose template it is; *text is what to compile.
static hth_code choose(hth_chat_template *t, hth_container *c, const hth_tokenizer *tokenizer,
                       const hth_chat_choice *choice, found *text, hth_err *err) {
    const char *name = choice ? choice->name : NULL;
    const hth_chat_classic *row = name ? hth_chat_classic_find(name) : NULL;
    *text = (found){{NULL, 0}, {NULL, 0}};
    if (choice && choice->text.p) {
        t->source = HTH_CHAT_FROM_FILE;
        text->plain = choice->text;
    } else if (!row) {
        t->source = HTH_CHAT_FROM_MODEL;
        HTH_TRY(find_templates(c, name, text, err));
        if (!text->plain.p && name) return unknown_name(name, err);
        row = named_by(text->plain);
    }
    if (!row && text->plain.p && text->plain.n > 0) {
        snprintf(t->name, sizeof t->name, "%s", name ? name : t->source == HTH_CHAT_FROM_FILE ? "file" : "model");
        return HTH_OK;
    }
    t->source = row ? HTH_CHAT_FROM_NAME : HTH_CHAT_FROM_TOKENS;
    if (!row) HTH_TRY(find_by_tekken(c, &row, err));
    if (!row && tokenizer) row = hth_chat_classic_of_vocabulary(tokenizer);
    if (!row) return hth_fail(err, HTH_ERR_NOTFOUND, "the model has no chat template");
    text->plain = hth_chat_text_of(row->source);
    snprintf(t->name, sizeof t->name, "%s", row->name);
    return HTH_OK;
}

static hth_code open_template(hth_chat_template *t, hth_container *c, hth_tokenizer *tokenizer,
                              const hth_chat_choice *choice, hth_err *err) {
    found text;
    HTH_TRY(choose(t, c, tokenizer, choice, &text, err));
    t->adds_bos = is_classic(t) && tokenizer && hth_tokenizer_adds_bos(tokenizer);
    HTH_TRY(compile(text.plain, &t->plain, err));
    HTH_TRY(compile(text.tools, &t->tools, err));
    HTH_TRY(take_tokens(t, c, tokenizer, err));
    HTH_TRY(find_abilities(t, err));
    return tokenizer ? hth_tokenizer_guard(tokenizer, is_marker, t, err) : HTH_OK;
}

hth_code hth_chat_template_open(hth_container *c, hth_tokenizer *tokenizer, const hth_chat_choice *choice,
                                hth_chat_template **out, hth_err *err) {
    hth_chat_template *t = hth_calloc(HTH_MEM_TEXT, 1, sizeof *t);
    if (!t) return hth_fail_nomem(err, sizeof *t);
    hth_arena_init(&t->arena, HTH_MEM_TEXT, 1 << 20);
    hth_code code = open_template(t, c, tokenizer, choice, err);
    if (code != HTH_OK) {
        hth_chat_template_free(t);
        return code;
    }
    *out = t;
    return HTH_OK;
}

void hth_chat_template_free(hth_chat_template *t) {
    if (!t) return;
    hth_jinja_free(t->plain);
    hth_jinja_free(t->tools);
    hth_arena_free(&t->arena);
    hth_free(t);
}

hth_chat_source hth_chat_template_source(const hth_chat_template *t) {
    return t->source;
}

const char *hth_chat_template_name(const hth_chat_template *t) {
    return t->name;
}

const hth_chat_abilities *hth_chat_template_abilities(const hth_chat_template *t) {
    return &t->can;
}

// ---- messages in the template's shape ----

static bool is_role(const hth_chat_message *m, const char *role) {
    return m->role.n == strlen(role) && memcmp(m->role.p, role, m->role.n) == 0;
}

static bool is_system(const hth_chat_message *m) {
    return is_role(m, "system") || is_role(m, "developer");
}

static bool has_media(const hth_chat_message *m) {
    for (size_t i = 0; i < m->n_part; i++) {
        if (m->parts[i].kind != HTH_CHAT_PART_TEXT) return true;
    }
    return false;
}

// Texts become one part: a template that trims parts would eat what stands between them.
static hth_code join_texts(hth_arena *a, hth_chat_message *m, hth_err *err) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < m->n_part; i++) n += m->parts[i].text.n;
    char *text = hth_arena_alloc(a, n + 1, 1);
    hth_chat_part *part = hth_arena_alloc(a, 1, sizeof *part);
    if (!text || !part) return hth_fail_nomem(err, n);
    for (size_t i = 0; i < m->n_part; i++) {
        if (m->parts[i].text.n > 0) memcpy(text + at, m->parts[i].text.p, m->parts[i].text.n);
        at += m->parts[i].text.n;
    }
    *part = (hth_chat_part){HTH_CHAT_PART_TEXT, {text, n}};
    m->parts = part;
    m->n_part = 1;
    return HTH_OK;
}

// One message of several: their parts one behind the other, a blank line between.
static hth_code merge(hth_arena *a, const hth_chat_message *m, size_t n, hth_chat_message *out, hth_err *err) {
    size_t n_part = 0, at = 0;
    for (size_t i = 0; i < n; i++) n_part += m[i].n_part + 1;
    hth_chat_part *parts = hth_arena_alloc(a, n_part, sizeof *parts);
    if (!parts) return hth_fail_nomem(err, n_part * sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        if (at > 0 && m[i].n_part > 0) parts[at++] = (hth_chat_part){HTH_CHAT_PART_TEXT, hth_chat_text_of("\n\n")};
        if (m[i].n_part > 0) memcpy(parts + at, m[i].parts, m[i].n_part * sizeof *parts);
        at += m[i].n_part;
    }
    out->parts = parts;
    out->n_part = at;
    return has_media(out) ? HTH_OK : join_texts(a, out, err);
}

// All system messages first, in their order: for templates that refuse those behind others, or leave them out.
static hth_code put_systems_first(hth_arena *a, const hth_chat_message *m, size_t n, const hth_chat_message **out, hth_err *err) {
    hth_chat_message *sorted = hth_arena_alloc(a, n + 1, sizeof *sorted);
    size_t at = 0;
    if (!sorted) return hth_fail_nomem(err, n * sizeof *sorted);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < n; i++) {
            if (is_system(&m[i]) == (round == 0)) sorted[at++] = m[i];
        }
    }
    *out = sorted;
    return HTH_OK;
}

// The system messages at the beginning become one where the template does not write several, and open the user's first
// message where the family has none.
static hth_code fit_messages(const hth_chat_template *t, hth_arena *a, const hth_chat_request *r,
                             hth_chat_message **out, size_t *n_out, hth_err *err) {
    hth_chat_message *m = hth_arena_alloc(a, r->n_message + 1, sizeof *m);
    if (!m) return hth_fail_nomem(err, r->n_message * sizeof *m);
    const hth_chat_message *from = r->messages;
    size_t n_system = 0, n = 0;
    if (!t->can.late_systems) HTH_TRY(put_systems_first(a, from, r->n_message, &from, err));
    while (n_system < r->n_message && is_system(&from[n_system])) n_system++;
    size_t n_taken = n_system;
    bool keeps_developer = n_system == 1 && t->can.developer && is_role(&from[0], "developer");
    if (t->can.systems) n_system = n_taken = 0;
    if (n_system > 0) {
        m[0] = from[0];
        HTH_TRY(merge(a, from, n_system, &m[0], err));
        if (!keeps_developer) m[0].role = hth_chat_text_of("system");
        bool has_user = n_system < r->n_message && is_role(&from[n_system], "user");
        if (!t->can.system && has_user) {
            const hth_chat_message both[] = {m[0], from[n_system]};
            m[0] = from[n_system];
            HTH_TRY(merge(a, both, 2, &m[0], err));
            n_taken++;
        }
        n = 1;
    }
    for (size_t i = n_taken; i < r->n_message; i++) {
        m[n] = from[i];
        if (is_role(&m[n], "developer") && !t->can.developer) m[n].role = hth_chat_text_of("system");
        n++;
    }
    *out = m;
    *n_out = n;
    return HTH_OK;
}

static hth_code values_of(const hth_chat_template *t, hth_arena *a, const hth_chat_request *r, hth_jinja_value *out,
                          hth_err *err) {
    hth_chat_message *m;
    size_t n;
    hth_jinja_value *items;
    HTH_TRY(fit_messages(t, a, r, &m, &n, err));
    HTH_TRY(hth_jinja_make_list(a, n, out, &items, err));
    for (size_t i = 0; i < n; i++) {
        bool wants_parts = t->can.parts && m[i].n_part > 1 && is_role(&m[i], "user"); // that is the role it was asked about
        hth_chat_shape shape = {.parts = !t->can.strings || has_media(&m[i]) || wants_parts,
                                .object_arguments = t->can.object_arguments, .parsed_results = is_classic(t)};
        if (has_media(&m[i]) && !t->can.parts) {
            return hth_fail(err, HTH_ERR_UNSUPPORTED, "message %zu has parts that are no text; the model's chat template"
                                                      " takes text only", i);
        }
        HTH_TRY(hth_chat_message_value(a, &m[i], shape, &items[i], err));
    }
    return HTH_OK;
}

// ---- rendering ----

static hth_code set_var(hth_arena *a, hth_jinja_value *vars, const char *name, hth_jinja_value v, hth_err *err) {
    return hth_jinja_set(a, vars, name, strlen(name), HTH_JINJA_OF_TEMPLATE, v, err);
}

static hth_code add_all(hth_arena *a, hth_jinja_value *vars, const hth_jinja_value *from, hth_err *err) {
    for (uint32_t i = 0; from && from->kind == HTH_JINJA_DICT && i < from->u.dict->n; i++) {
        const jj_entry *e = &from->u.dict->entries[i];
        HTH_TRY(hth_jinja_set(a, vars, e->key.u.s->p, e->key.u.s->n, HTH_JINJA_OF_TEMPLATE, e->value, err));
    }
    return HTH_OK;
}

static hth_code render_values(const hth_chat_template *t, hth_arena *a, const hth_chat_request *r,
                              const hth_jinja_value *messages, hth_jinja_text *out, hth_err *err) {
    hth_jinja_value vars, none = JJ_PY_NONE;
    HTH_TRY(hth_jinja_make_dict(a, &vars, err));
    HTH_TRY(set_var(a, &vars, "messages", *messages, err));
    HTH_TRY(set_var(a, &vars, "tools", r->tools ? *r->tools : none, err));
    HTH_TRY(set_var(a, &vars, "documents", r->documents ? *r->documents : none, err));
    HTH_TRY(set_var(a, &vars, "add_generation_prompt", jj_bool(!r->no_answer && !r->continues), err));
    HTH_TRY(add_all(a, &vars, &t->tokens, err));
    HTH_TRY(add_all(a, &vars, r->kwargs, err));
    return hth_jinja_render(r->tools && t->tools ? t->tools : t->plain, &vars, r->limits, r->now, out, err);
}

// ---- leaving the last message open ----

#define TAG "CONTINUE_FINAL_MESSAGE_TAG "

static hth_code with_tag(hth_arena *a, hth_jinja_value v, hth_jinja_value *out, hth_err *err) {
    size_t n = v.u.s->n;
    char *text = hth_arena_alloc(a, n + sizeof TAG, 1);
    if (!text) return hth_fail_nomem(err, n + sizeof TAG);
    memcpy(text, v.u.s->p, n);
    memcpy(text + n, TAG, sizeof TAG);
    return hth_jinja_make_str(a, text, n + sizeof TAG - 1, HTH_JINJA_OF_CLIENT, out, err);
}

static hth_code copy_dict(hth_arena *a, const hth_jinja_value *from, hth_jinja_value *out, hth_err *err) {
    HTH_TRY(hth_jinja_make_dict(a, out, err));
    return add_all(a, out, from, err);
}

// Marks the end of a list's last text; *text is that text.
static hth_code tag_parts(hth_arena *a, hth_jinja_value parts, hth_jinja_value *out, hth_jinja_value *text,
                          hth_err *err) {
    hth_jinja_value *items, tagged;
    const jj_list *list = parts.u.list;
    HTH_TRY(hth_jinja_make_list(a, list->n, out, &items, err));
    memcpy(items, list->items, list->n * sizeof *items);
    for (uint32_t i = list->n; i-- > 0;) {
        const hth_jinja_value *its = hth_jinja_get(&items[i], "text");
        if (!its || its->kind != HTH_JINJA_STR) continue;
        *text = *its;
        HTH_TRY(with_tag(a, *text, &tagged, err));
        HTH_TRY(copy_dict(a, &list->items[i], &items[i], err));
        return set_var(a, &items[i], "text", tagged, err);
    }
    return hth_fail(err, HTH_ERR_RANGE, "the last message has no text to continue");
}

static bool is_reasoning(const char *field) {
    return strcmp(field, "reasoning_content") == 0 || strcmp(field, "thinking") == 0 || strcmp(field, "reasoning") == 0;
}

// Puts the tag behind the field of the last message, in all of the names that reasoning goes by.
static hth_code tag_message(hth_arena *a, const hth_jinja_value *message, const char *field, hth_jinja_value *out,
                            hth_jinja_value *text, hth_err *err) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const hth_jinja_value *v = hth_jinja_get(message, field);
    hth_jinja_value tagged;
    if (!v || (v->kind != HTH_JINJA_STR && v->kind != HTH_JINJA_LIST)) {
        return hth_fail(err, HTH_ERR_RANGE, "the last message has no \"%.40s\" to continue", field);
    }
    *text = *v;
    HTH_TRY(copy_dict(a, message, out, err));
    HTH_TRY(v->kind == HTH_JINJA_LIST ? tag_parts(a, *v, &tagged, text, err) : with_tag(a, *v, &tagged, err));
    for (size_t i = 0; is_reasoning(field) && i < HTH_COUNT(names); i++) {
        const hth_jinja_value *same = hth_jinja_get(message, names[i]);
        if (!same || same->kind != HTH_JINJA_STR || !jj_str_equal(same->u.s, text->u.s)) continue;
        HTH_TRY(set_var(a, out, names[i], tagged, err));
    }
    return set_var(a, out, field, tagged, err);
}

// Cuts the text at its last tag; without the spaces before it where the template trimmed the message.
static hth_code cut_at_tag(hth_jinja_text *text, hth_jinja_value wanted, hth_err *err) {
    size_t n = 0, n_tag = sizeof TAG - 2; // without its space
    for (size_t i = 0; i < text->n; i++) n += text->segments[i].n;
    const char *p = text->n > 0 ? text->segments[0].text : "";
    size_t at = n + 1, from = 0, to = wanted.u.s->n;
    for (size_t i = 0; i + n_tag <= n; i++) {
        if (p[i] == TAG[0] && memcmp(p + i, TAG, n_tag) == 0) at = i;
    }
    const char *want = wanted.u.s->p;
    unsigned len;
    while (from < to && jj_is_space(jj_cp(want + from, to - from, &len))) from += len;
    while (to > from && strchr(" \t\n\r\f\v", want[to - 1])) to--;
    jj_str whole = {.p = p, .n = (uint32_t)n}, needle = {.p = want + from, .n = (uint32_t)(to - from)};
    if (at > n || jj_find(&whole, &needle, 0, whole.n) < 0) {
        return hth_fail(err, HTH_ERR_RANGE, "the last message cannot be continued: the chat template does not write all of"
                                            " it");
    }
    bool keeps_space = at + n_tag < n && p[at + n_tag] == ' ';
    while (!keeps_space && at > 0) {
        size_t before = at - 1;
        while (before > 0 && ((uint8_t)p[before] & 0xc0) == 0x80) before--;
        if (!jj_is_space(jj_cp(p + before, at - before, &len))) break;
        at = before;
    }
    for (size_t i = 0; i < text->n; i++) {
        size_t begin = (size_t)(text->segments[i].text - p);
        if (begin >= at) text->n = i;
        if (begin < at && begin + text->segments[i].n > at) text->segments[i].n = at - begin;
    }
    return HTH_OK;
}

static hth_code render_open(const hth_chat_template *t, hth_arena *a, const hth_chat_request *r,
                            const hth_jinja_value *messages, hth_jinja_text *out, hth_err *err) {
    hth_jinja_value copy, *items, text;
    const jj_list *list = messages->u.list;
    if (list->n == 0) return hth_fail(err, HTH_ERR_RANGE, "there is no message to continue");
    HTH_TRY(hth_jinja_make_list(a, list->n, &copy, &items, err));
    memcpy(items, list->items, list->n * sizeof *items);
    HTH_TRY(tag_message(a, &list->items[list->n - 1], r->continues, &items[list->n - 1], &text, err));
    HTH_TRY(render_values(t, a, r, &copy, out, err));
    hth_code code = cut_at_tag(out, text, err);
    if (code != HTH_OK) hth_jinja_text_free(out);
    return code;
}

hth_code hth_chat_render(const hth_chat_template *t, const hth_chat_request *r, hth_jinja_text *out, hth_err *err) {
    hth_arena a;
    hth_jinja_value messages;
    *out = (hth_jinja_text){0};
    hth_arena_init(&a, HTH_MEM_TEXT, MAX_REQUEST);
    hth_code code = HTH_OK;
    if (r->values) {
        messages = *r->values;
    } else {
        code = values_of(t, &a, r, &messages, err);
    }
    if (code == HTH_OK) {
        code = r->continues ? render_open(t, &a, r, &messages, out, err) : render_values(t, &a, r, &messages, out, err);
    }
    hth_arena_free(&a);
    return code;
}

bool hth_chat_wants_bos(const hth_chat_template *t, const hth_tokenizer *tokenizer, const hth_jinja_text *text) {
    const hth_token bos = hth_tokenizer_special(tokenizer, HTH_SPECIAL_BOS);
    size_t n = 0;
    const char *spelling = bos >= 0 ? hth_tokenizer_spelling(tokenizer, bos, &n) : NULL;
    if (!t->adds_bos || !spelling) return false;
    const bool has_bos = text->n > 0 && !text->segments[0].is_user && text->segments[0].n >= n &&
                         memcmp(text->segments[0].text, spelling, n) == 0;
    return !has_bos;
}

hth_code hth_chat_text_ids(const hth_chat_template *t, const hth_tokenizer *tokenizer, const hth_jinja_text *text,
                           hth_token_list *out, hth_err *err) {
    if (hth_chat_wants_bos(t, tokenizer, text)) {
        if (!hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, out->n + 1, sizeof *out->ids, SIZE_MAX / 16)) {
            return hth_fail_nomem(err, (out->n + 1) * sizeof *out->ids);
        }
        out->ids[out->n++] = hth_tokenizer_special(tokenizer, HTH_SPECIAL_BOS);
    }
    return hth_tokenize(tokenizer, text->segments, text->n, 0, out, err);
}
