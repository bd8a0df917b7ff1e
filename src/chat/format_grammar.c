// Grammars of calls, in the Lark dialect of src/grammar: what a row of the table says, written the other way round. Marks
// that the vocabulary has as tokens are named by number, because such tokens are no text.
#include "chat/format_impl.h"

#include <string.h>

#include "base/json_out.h"
#include "chat/output_impl.h"

#define MAX_MARK 64 // bytes of a token that stands for itself

typedef struct writer {
    const hth_chat_format *f;
    const fmt_calls *way;
    const hth_chat_grammar_params *p;
    hth_str *out;
} writer;

// ---- pieces ----

static void puts_(writer *w, const char *text) {
    hth_str_puts(w->out, text);
}

static void put_quoted(writer *w, const char *p, size_t n) {
    puts_(w, " \"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\') {
            hth_str_printf(w->out, "\\%c", c);
        } else if (c == '\n') {
            puts_(w, "\\n");
        } else if (c < 0x20) {
            hth_str_printf(w->out, "\\x%02x", c);
        } else {
            hth_str_putc(w->out, (char)c);
        }
    }
    puts_(w, "\"");
}

// The longest token that stands for itself alone and begins here; -1: none.
static hth_token token_at(const writer *w, const char *p, size_t n, size_t *len) {
    const hth_tokenizer *t = w->p->tokenizer;
    for (size_t k = n < MAX_MARK ? n : MAX_MARK; t && k > 1; k--) {
        size_t n_bytes;
        const hth_token id = hth_tokenizer_find(t, p, k);
        if (id < 0 || hth_tokenizer_bytes(t, id, &n_bytes)) continue;
        *len = k;
        return id;
    }
    return -1;
}

// A text with the tokens in it.
static void put_n(writer *w, const char *p, size_t n) {
    size_t from = 0, len;
    for (size_t i = 0; i < n;) {
        const hth_token id = token_at(w, p + i, n - i, &len);
        if (id < 0) {
            i++;
            continue;
        }
        if (i > from) put_quoted(w, p + from, i - from);
        hth_str_printf(w->out, " <[%d]>", (int)id);
        from = i += len;
    }
    if (n > from) put_quoted(w, p + from, n - from);
}

static void put(writer *w, const char *text) {
    if (text && *text) put_n(w, text, strlen(text));
}

static void put_json_text(writer *w, const hth_chat_text *t) { // inside of quotes
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 1 << 16);
    hth_json_out j = hth_json_out_make(&text, false);
    hth_json_out_str(&j, NULL, t->p, t->n);
    if (!text.failed && text.len >= 2) put_quoted(w, text.p + 1, text.len - 2);
    hth_str_free(&text);
}

// A terminal: any text in which `end` does not stand.
static void put_text_rule(writer *w, const char *name, const char *end) {
    size_t len;
    hth_str_printf(w->out, "%s: ", name);
    if (!end || token_at(w, end, strlen(end), &len) >= 0) {
        puts_(w, "/(.|\\n)*/\n"); // a token ends it, which is no text
        return;
    }
    puts_(w, "~(/(.|\\n)*/");
    put_quoted(w, end, strlen(end));
    puts_(w, " /(.|\\n)*/)\n");
}

// ---- arguments ----

static bool is_object_schema(const hth_json *v) {
    return v && v->kind == HTH_JSON_OBJECT && v->n > 0;
}

// The text of a tool's own grammar, as a value or within a JSON string.
static void put_grammar(writer *w, const hth_chat_tool *t, bool as_json) {
    puts_(w, as_json ? " %lark_json" : " %lark");
    put_quoted(w, t->grammar.p, t->grammar.n);
}

static bool has_grammar(const hth_chat_tool *t, const hth_json_member *m) {
    return t->grammar.p && m->key_len == 5 && memcmp(m->key, "input", 5) == 0;
}

static void put_schema(writer *w, const hth_chat_tool *t) {
    if (t->grammar.p) {
        puts_(w, " \"{\\\"input\\\": \\\"\"");
        put_grammar(w, t, true);
        puts_(w, " \"\\\"}\"");
    } else if (!is_object_schema(t->schema)) {
        puts_(w, " %json {\"type\": \"object\"}");
    } else if (hth_json_get(t->schema, "type")) {
        puts_(w, " %json ");
        hth_str_append(w->out, t->schema_text.p, t->schema_text.n);
    } else { // arguments are an object, also where the schema forgot to say so
        puts_(w, " %json {\"type\": \"object\", ");
        hth_str_append(w->out, t->schema_text.p + 1, t->schema_text.n - 1);
    }
}

static bool has_word(const hth_chat_text *t, const char *word) {
    const size_t k = strlen(word);
    for (size_t i = 0; i + k <= t->n; i++) {
        if (memcmp(t->p + i, word, k) == 0) return true;
    }
    return false;
}

// A member's values, where they are a list of strings.
static bool put_choices(writer *w, const hth_json *schema, const char *quote) {
    const hth_json *values = hth_json_get(schema, "enum");
    if (!values || values->kind != HTH_JSON_ARRAY || values->n == 0) return false;
    for (uint32_t i = 0; i < values->n; i++) {
        if (values->u.items[i].kind != HTH_JSON_STRING) return false;
    }
    puts_(w, " (");
    for (uint32_t i = 0; i < values->n; i++) {
        if (i > 0) puts_(w, " |");
        put(w, quote);
        if (values->u.items[i].n > 0) put_n(w, values->u.items[i].u.str, values->u.items[i].n);
        if (values->u.items[i].n == 0 && !quote) puts_(w, " \"\"");
        put(w, quote);
    }
    puts_(w, ")");
    return true;
}

// A member by its schema as JSON, or `other` where a part of the whole schema would be needed.
static void put_member_json(writer *w, const hth_chat_tool *t, const hth_json *schema, const char *other) {
    const hth_chat_text text = hth_chat_tool_schema_text(t, schema);
    if (has_word(&text, "\"$ref\"") || schema->kind != HTH_JSON_OBJECT) {
        puts_(w, other);
    } else {
        puts_(w, " %json ");
        hth_str_append(w->out, text.p, text.n);
    }
}

// A value with the attribute that says what it is: string="true", or another and then JSON.
static void put_marked_value(writer *w, const hth_chat_tool *t, const hth_json_member *m, unsigned kinds) {
    const bool is_string = (kinds & HTH_CHAT_KIND_STRING) != 0, is_other = kinds != HTH_CHAT_KIND_STRING;
    puts_(w, " (");
    if (is_string) {
        puts_(w, " \" \"");
        put(w, w->way->string_mark);
        put(w, w->way->value_open);
        if (has_grammar(t, m)) put_grammar(w, t, false);
        else if (is_other || !put_choices(w, &m->value, NULL)) puts_(w, " TEXT");
    }
    if (is_string && is_other) puts_(w, " |");
    if (is_other) {
        puts_(w, " / [a-z]+=\"[a-z]+\"/");
        put(w, w->way->value_open);
        put_member_json(w, t, &m->value, " TEXT");
    }
    puts_(w, ")");
}

static void put_param_value(writer *w, const hth_chat_tool *t, const hth_json_member *m) {
    const unsigned kinds = hth_chat_tool_kinds(t, m->key, m->key_len);
    const bool is_string = (kinds & HTH_CHAT_KIND_STRING) != 0;
    if (w->way->string_mark && w->way->value_open) {
        put_marked_value(w, t, m, kinds);
        return;
    }
    put(w, w->way->value_open);
    if (w->way->newlines) puts_(w, " \"\\n\"");
    if (has_grammar(t, m)) {
        put_grammar(w, t, false);
    } else if (kinds == HTH_CHAT_KIND_BOOL) {
        puts_(w, " (\"true\" | \"false\" | \"True\" | \"False\")"); // templates print Python's words
    } else if (!is_string) {
        put_member_json(w, t, &m->value, " TEXT");
    } else if (kinds != HTH_CHAT_KIND_STRING || !put_choices(w, &m->value, NULL)) {
        puts_(w, " TEXT");
    }
    if (w->way->newlines) puts_(w, " \"\\n\"");
}

static void put_python_value(writer *w, const hth_chat_tool *t, const hth_json_member *m) {
    const unsigned kinds = hth_chat_tool_kinds(t, m->key, m->key_len);
    const bool is_dict = w->way->body == FMT_DICT;
    if (has_grammar(t, m)) {
        put(w, is_dict ? w->way->quote : "\"");
        put_grammar(w, t, !is_dict);
        put(w, is_dict ? w->way->quote : "\"");
    } else if (is_dict) {
        if (kinds == HTH_CHAT_KIND_STRING) {
            if (!put_choices(w, &m->value, w->way->quote)) puts_(w, " quoted");
        } else if (kinds & ~(unsigned)(HTH_CHAT_KIND_NUMBER | HTH_CHAT_KIND_BOOL | HTH_CHAT_KIND_NULL)) {
            puts_(w, " value");
        } else {
            put_member_json(w, t, &m->value, " value");
        }
    } else if (kinds == HTH_CHAT_KIND_BOOL) {
        puts_(w, " (\"True\" | \"False\")");
    } else if (kinds == HTH_CHAT_KIND_NULL) {
        puts_(w, " \"None\"");
    } else if (kinds == HTH_CHAT_KIND_STRING && !hth_json_get(&m->value, "enum")) {
        puts_(w, " (");
        put_member_json(w, t, &m->value, " %json {\"type\": \"string\"}");
        puts_(w, " | /'([^'\\\\\\n]|\\\\.)*'/)");
    } else {
        puts_(w, kinds & HTH_CHAT_KIND_NULL ? " (\"None\" |" : " (");
        put_member_json(w, t, &m->value, " %json {}");
        puts_(w, ")");
    }
}

static bool is_required(const hth_chat_tool *t, const hth_json_member *m) {
    const hth_json *list = hth_json_get(t->schema, "required");
    for (uint32_t i = 0; list && list->kind == HTH_JSON_ARRAY && i < list->n; i++) {
        const hth_json *v = &list->u.items[i];
        if (v->kind == HTH_JSON_STRING && v->n == m->key_len && memcmp(v->u.str, m->key, v->n) == 0) return true;
    }
    return false;
}

static const hth_json *members_of(const hth_chat_tool *t) {
    const hth_json *v = t->schema ? hth_json_get(t->schema, "properties") : NULL;
    return v && v->kind == HTH_JSON_OBJECT ? v : NULL;
}

static void put_member(writer *w, const hth_chat_tool *t, size_t i, uint32_t k) {
    const hth_json_member *m = &members_of(t)->u.members[k];
    hth_str_printf(w->out, "member_%zu_%u:", i, (unsigned)k);
    if (w->way->body == FMT_PARAMS) {
        put(w, w->way->key_open);
        put_quoted(w, m->key, m->key_len);
        put(w, w->way->key_end);
        if (!w->way->string_mark && w->way->value_open) puts_(w, " SPACE");
        put_param_value(w, t, m);
        put(w, w->way->value_close);
        puts_(w, " SPACE");
    } else {
        put_quoted(w, m->key, m->key_len);
        puts_(w, w->way->body == FMT_DICT ? " \":\"" : " \"=\"");
        put_python_value(w, t, m);
    }
    puts_(w, "\n");
}

// Members in the schema's order; those that are not required may be left out. first_i_k: none has been written before,
// next_i_k: one has, so that a comma stands between.
static void put_members(writer *w, const hth_chat_tool *t, size_t i) {
    const hth_json *list = members_of(t);
    const uint32_t n = list ? list->n : 0;
    const char *comma = w->way->body == FMT_PARAMS ? "" : w->way->body == FMT_DICT ? " \",\"" : " \", \"";
    hth_str_printf(w->out, "args_%zu: first_%zu_0\n", i, i);
    for (uint32_t k = 0; k < n; k++) {
        const bool is_needed = is_required(t, &list->u.members[k]);
        put_member(w, t, i, k);
        hth_str_printf(w->out, "first_%zu_%u: member_%zu_%u next_%zu_%u", i, (unsigned)k, i, (unsigned)k, i, (unsigned)k + 1);
        if (!is_needed) hth_str_printf(w->out, " | first_%zu_%u", i, (unsigned)k + 1);
        hth_str_printf(w->out, "\nnext_%zu_%u:%s member_%zu_%u next_%zu_%u", i, (unsigned)k, comma, i, (unsigned)k, i, (unsigned)k + 1);
        if (!is_needed) hth_str_printf(w->out, " | next_%zu_%u", i, (unsigned)k + 1);
        puts_(w, "\n");
    }
    hth_str_printf(w->out, "first_%zu_%u: \"\"\nnext_%zu_%u: \"\"\n", i, (unsigned)n, i, (unsigned)n);
}

// ---- calls ----

static void put_object_head(writer *w, const hth_chat_tool *t) {
    const fmt_calls *way = w->way;
    puts_(w, " \"{\"");
    if (way->key_id && !way->id_last) hth_str_printf(w->out, " \"\\\"%s\\\": \\\"\" /[0-9]+/ \"\\\", \"", way->key_id);
    hth_str_printf(w->out, " \"\\\"%s\\\": \\\"\"", way->key_name);
    put_json_text(w, &t->name);
    hth_str_printf(w->out, " \"\\\", \\\"%s\\\": \"", way->key_args);
}

static void put_name(writer *w, const hth_chat_tool *t) {
    const fmt_calls *way = w->way;
    if (way->name_is_id) puts_(w, " \"functions.\"");
    if (way->id_first) {
        puts_(w, " /[A-Za-z0-9_-]+/");
        put(w, way->id_open);
    }
    put_quoted(w, t->name.p, t->name.n);
    if (way->name_is_id) puts_(w, " \":\" /[0-9]+/");
    if (way->id_open && !way->id_first) {
        puts_(w, way->id_is_index ? "" : " (");
        put(w, way->id_open);
        puts_(w, way->id_is_index ? " /[0-9]+/" : " /[A-Za-z0-9]{9}/)?");
    }
    const bool is_blank = way->name_end[0] && way->name_stop[0] && out_is_space(way->name_end[0][0]);
    if (!is_blank) put(w, way->name_end[0]); // else SPACE will do
}

static void put_body(writer *w, const hth_chat_tool *t, size_t i) {
    switch (w->way->body) {
    case FMT_OBJECT:
        put_object_head(w, t);
        hth_str_printf(w->out, " args_%zu", i);
        if (w->way->id_last) hth_str_printf(w->out, " (\", \\\"%s\\\": \\\"\" /[A-Za-z0-9]{9}/ \"\\\"\")?", w->way->key_id);
        puts_(w, " \"}\"");
        break;
    case FMT_KEYED:
        puts_(w, " \"{\\\"\"");
        put_json_text(w, &t->name);
        hth_str_printf(w->out, " \"\\\": \" args_%zu \"}\"", i);
        break;
    case FMT_PYTHON:
    case FMT_DICT:
        put_quoted(w, t->name.p, t->name.n);
        hth_str_printf(w->out, w->way->body == FMT_DICT ? " \"{\" args_%zu \"}\"" : " \"(\" args_%zu \")\"", i);
        break;
    default:
        put_name(w, t);
        hth_str_printf(w->out, " SPACE args_%zu", i);
        break;
    }
}

static void put_call(writer *w, const hth_chat_tool *t, size_t i) {
    hth_str_printf(w->out, "call_%zu:", i);
    if (w->f->channels) {
        put(w, "<|channel|>commentary to=functions.");
        put_quoted(w, t->name.p, t->name.n);
        puts_(w, " \" \"");
        put(w, "<|constrain|>json<|message|>");
        hth_str_printf(w->out, " args_%zu", i);
    } else {
        puts_(w, w->way->bare && w->way->open[0] ? " (" : ""); // the prompt may have it already
        put(w, w->way->open[0]);
        puts_(w, w->way->bare && w->way->open[0] ? ")?" : "");
        puts_(w, " SPACE");
        put_body(w, t, i);
        puts_(w, " SPACE");
        put(w, w->way->close[0]);
    }
    puts_(w, "\n");
    if (!w->f->channels && (w->way->body == FMT_PARAMS || w->way->body == FMT_PYTHON || w->way->body == FMT_DICT)) {
        put_members(w, t, i);
        return;
    }
    hth_str_printf(w->out, "args_%zu:", i);
    put_schema(w, t);
    puts_(w, "\n");
}

static bool is_offered(const writer *w, const hth_chat_tool *t) {
    const hth_chat_text *name = &w->p->name;
    return w->p->choice != HTH_CHAT_TOOLS_NAMED || (t->name.n == name->n && memcmp(t->name.p, name->p, name->n) == 0);
}

static size_t put_tools(writer *w) {
    size_t n = 0;
    for (size_t i = 0; i < w->p->tools->n; i++) {
        if (is_offered(w, &w->p->tools->items[i])) put_call(w, &w->p->tools->items[i], i);
    }
    puts_(w, "call:");
    for (size_t i = 0; i < w->p->tools->n; i++) {
        if (!is_offered(w, &w->p->tools->items[i])) continue;
        hth_str_printf(w->out, n++ ? " | call_%zu" : " call_%zu", i);
    }
    puts_(w, "\n");
    return n;
}

static void put_optional(writer *w, const char *text) {
    if (!text) return;
    puts_(w, " (");
    put(w, text);
    puts_(w, ")?");
}

static void put_run(writer *w) {
    const fmt_calls *way = w->way;
    const bool parallel = w->p->parallel && !w->f->channels;
    puts_(w, parallel && way->own_section ? "calls: run (SPACE run)*\nrun:" : "calls:");
    if (!w->f->channels) {
        put(w, way->section[0]);
        puts_(w, way->list ? " SPACE \"[\" SPACE call" : " SPACE call");
        if (parallel && way->list) puts_(w, " (\",\" SPACE call)*");
        if (parallel && !way->list && !way->own_section) puts_(w, " (SPACE call)*");
        if (way->list) puts_(w, " SPACE \"]\"");
        puts_(w, " SPACE");
        put(w, way->section_end);
        put_optional(w, w->f->after_calls);
    } else {
        puts_(w, " call");
    }
    puts_(w, "\n");
}

// ---- the whole ----

// An answer of calls may begin with a thought, or with the rest of one.
static void put_start(writer *w) {
    const hth_chat_format *f = w->f;
    const bool has_thought = w->p->choice != HTH_CHAT_TOOLS_AUTO && f->think_open[0] && w->p->begins != HTH_CHAT_BEGINS_CONTENT;
    puts_(w, "start:");
    if (has_thought) {
        if (w->p->begins == HTH_CHAT_BEGINS_ANSWER) {
            puts_(w, " (SPACE");
            put(w, f->think_open[0]);
        }
        puts_(w, " THOUGHT");
        put(w, f->think_close[0]);
        if (f->channels) put(w, "<|start|>assistant");
        if (w->p->begins == HTH_CHAT_BEGINS_ANSWER) puts_(w, ")?");
    }
    if (w->p->choice != HTH_CHAT_TOOLS_AUTO) {
        puts_(w, " SPACE");
        put_optional(w, f->before_calls);
    }
    puts_(w, " calls\nSPACE: /[ \\n\\t]{0,8}/\n");
    if (has_thought) put_text_rule(w, "THOUGHT", f->think_close[0]);
}

static void put_values(writer *w) {
    const fmt_calls *way = w->way;
    if (way->body == FMT_PARAMS) put_text_rule(w, "TEXT", way->value_close);
    if (way->body != FMT_DICT) return;
    put_text_rule(w, "TEXT", way->quote);
    puts_(w, "quoted:");
    put(w, way->quote);
    puts_(w, " TEXT");
    put(w, way->quote);
    puts_(w, "\nNUMBER: /-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?/\n"
             "value: quoted | NUMBER | \"true\" | \"false\" | \"null\" | \"None\" | \"[\" (value (\",\" value)*)? \"]\""
             " | \"{\" (/[A-Za-z_][A-Za-z0-9_]*/ \":\" value (\",\" /[A-Za-z_][A-Za-z0-9_]*/ \":\" value)*)? \"}\"\n");
}

hth_code hth_chat_format_grammar(const hth_chat_format *f, const hth_chat_grammar_params *p, hth_str *out, hth_err *err) {
    writer w = {.f = f, .way = &f->calls[0], .p = p, .out = out};
    if (!f->channels && w.way->body == FMT_NONE) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "answers in the format '%s' have no calls", f->name);
    }
    put_start(&w);
    put_run(&w);
    const size_t n = put_tools(&w);
    put_values(&w);
    if (n == 0) {
        const int shown = (int)(p->name.n < 60 ? p->name.n : 60);
        return hth_fail(err, HTH_ERR_NOTFOUND, "there is no tool '%.*s'", shown, p->name.p ? p->name.p : "");
    }
    return out->failed ? hth_fail_nomem(err, out->len) : HTH_OK;
}

const char *hth_chat_format_trigger(const hth_chat_format *f, size_t i) {
    if (f->channels) return i == 0 ? "<|channel|>commentary to=functions." : NULL;
    const fmt_calls *way = &f->calls[0];
    const char *first = way->section[0] ? way->section[0] : way->open[0];
    return i == 0 ? first : NULL;
}
