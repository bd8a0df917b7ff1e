// Requests of OpenAI's Responses. The input is a list of items: messages, calls of tools and what they gave,
// thoughts. What an assistant wrote in one turn comes as several items, which become one message again.
#include <stdio.h>
#include <string.h>

#include "grammar/grammar.h"
#include "server/field_sets.h"
#include "server/responses_impl.h"

typedef struct reader {
    hth_fields *f;
    const hth_responses *all;
    responses_request *r;
} reader;

static const char *type_of(const hth_json *v) {
    return hth_json_str(v, "type", "", NULL);
}

// --- items ---

static hth_chat_message *new_message(responses_request *r, const char *role) {
    hth_chat_message *m = &r->messages[r->n_message++];
    *m = (hth_chat_message){.role = hth_chat_text_of(role), .parts = r->parts + r->n_part};
    return m;
}

// The assistant's turn at the end of what was read, or a new one.
static hth_chat_message *turn(responses_request *r) {
    hth_chat_message *last = r->n_message > 0 ? &r->messages[r->n_message - 1] : NULL;
    return last && hth_chat_text_is(last->role, "assistant") ? last : new_message(r, "assistant");
}

static void add_part(responses_request *r, hth_chat_message *m, hth_chat_text text) {
    r->parts[r->n_part++] = (hth_chat_part){HTH_CHAT_PART_TEXT, text};
    m->n_part++;
}

static bool add_content_part(reader *d, hth_chat_message *m, const hth_json *v) {
    hth_fields *f = d->f;
    hth_chat_text text;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const char *type = type_of(v);
    const bool is_refusal = strcmp(type, "refusal") == 0;
    if (strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0 || strcmp(type, "text") == 0 ||
        is_refusal) {
        if (!hth_fields_need_text(f, v, is_refusal ? "refusal" : "text", &text)) return false;
        add_part(d->r, m, text);
        return true;
    }
    if (!*type) return hth_fields_need_text(f, v, "type", &text);
    return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, f->path,
                      "'%s': content of type '%.40s' is not supported: models here take text", f->path, type);
}

// A string, or a list of parts.
static bool add_content(reader *d, hth_chat_message *m, const hth_json *v, const char *key) {
    const hth_json *content = hth_json_get(v, key);
    const size_t mark = hth_fields_enter(d->f, key);
    if (!content) return hth_fields_refuse(d->f, "is required");
    if (content->kind == HTH_JSON_STRING) {
        add_part(d->r, m, hth_json_text(content));
    } else if (content->kind == HTH_JSON_ARRAY) {
        for (uint32_t i = 0; i < content->n; i++) {
            const size_t item = hth_fields_enter_item(d->f, i);
            if (!add_content_part(d, m, &content->u.items[i])) return false;
            hth_fields_leave(d->f, item);
        }
    } else {
        return hth_fields_refuse_kind(d->f, content, "a string or an array of parts");
    }
    hth_fields_leave(d->f, mark);
    return true;
}

static bool add_message(reader *d, const hth_json *v) {
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    hth_chat_text role;
    if (!hth_fields_need_text(d->f, v, "role", &role)) return false;
    for (size_t i = 0; i < HTH_COUNT(roles); i++) {
        if (hth_chat_text_is(role, roles[i]))
            return add_content(d, i == 1 ? turn(d->r) : new_message(d->r, roles[i]), v, "content");
    }
    const size_t mark = hth_fields_enter(d->f, "role");
    (void)hth_fields_refuse(d->f, "must be user, assistant, system or developer, not '%.40s'", role.p);
    hth_fields_leave(d->f, mark);
    return false;
}

// `key` holds the arguments: JSON as a string, or for custom tools any text.
static bool add_call(reader *d, const hth_json *v, bool is_custom) {
    responses_request *r = d->r;
    hth_chat_text id, name, arguments;
    if (!hth_fields_need_text(d->f, v, "call_id", &id) || !hth_fields_need_text(d->f, v, "name", &name)) return false;
    if (!hth_fields_need_text(d->f, v, is_custom ? "input" : "arguments", &arguments)) return false;
    if (is_custom) {
        hth_str wrapped;
        hth_str_init(&wrapped, HTH_MEM_SERVER, (size_t)1 << 30);
        hth_json_out j = hth_json_out_make(&wrapped, false);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_str(&j, "input", arguments.p, arguments.n);
        hth_json_out_end(&j, '}');
        const char *own = wrapped.failed ? NULL : hth_arena_strndup(d->f->arena, wrapped.p, wrapped.len);
        arguments = (hth_chat_text){own, wrapped.len};
        hth_str_free(&wrapped);
        if (!own) return hth_fields_no_memory(d->f);
    }
    hth_chat_message *m = turn(r);
    if (m->n_call == 0) m->calls = r->calls + r->n_call;
    r->calls[r->n_call++] = (hth_chat_call){.id = id, .name = name, .arguments = arguments};
    m->n_call++;
    return true;
}

// The name of the tool whose call has this id, in the turn before; some templates want it with the result.
#define MAX_CALLS_SEARCHED 256
static hth_chat_text called_name(const responses_request *r, hth_chat_text id) {
    for (size_t i = r->n_message; i-- > 0;) {
        const hth_chat_message *m = &r->messages[i];
        if (!hth_chat_text_is(m->role, "assistant")) continue;
        for (size_t k = 0; k < m->n_call && k < MAX_CALLS_SEARCHED; k++) {
            if (m->calls[k].id.n == id.n && memcmp(m->calls[k].id.p, id.p, id.n) == 0)
                return m->calls[k].name;
        }
        break;
    }
    return (hth_chat_text){0};
}

static bool add_output(reader *d, const hth_json *v) {
    hth_chat_text id;
    if (!hth_fields_need_text(d->f, v, "call_id", &id)) return false;
    const hth_chat_text name = called_name(d->r, id);
    hth_chat_message *m = new_message(d->r, "tool");
    m->call_id = id;
    m->name = name;
    return add_content(d, m, v, "output");
}

static void think(responses_request *r, hth_chat_message *m, const char *text, size_t n) {
    if (!m->reasoning.p) m->reasoning = (hth_chat_text){r->thoughts + r->n_thought, 0};
    if (text) memcpy(r->thoughts + r->n_thought, text, n); // else it is there already
    r->n_thought += n;
    m->reasoning.n += n;
}

// A thought in the clear, or sealed by this server; its summary is only for people.
static bool add_reasoning(reader *d, const hth_json *v) {
    const hth_json *content = hth_json_get(v, "content"), *sealed = hth_json_get(v, "encrypted_content");
    responses_request *r = d->r;
    if (content && content->kind == HTH_JSON_ARRAY && content->n > 0) {
        hth_chat_message *m = turn(r);
        for (uint32_t i = 0; i < content->n; i++) {
            const hth_json *text = hth_json_get(&content->u.items[i], "text");
            if (text && text->kind == HTH_JSON_STRING) think(r, m, text->u.str, text->n);
        }
    } else if (sealed && sealed->kind == HTH_JSON_STRING) {
        size_t n = 0;
        if (responses_unseal(d->all, sealed->u.str, sealed->n, r->thoughts + r->n_thought, &n))
            think(r, turn(r), NULL, n);
        else
            hth_fields_ignore(d->f, "encrypted_content");
    }
    return true;
}

static bool add_item(reader *d, const hth_json *v) {
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(d->f, v, "an object");
    const char *type = type_of(v);
    if (strcmp(type, "message") == 0 || (!*type && hth_json_get(v, "role"))) return add_message(d, v);
    if (strcmp(type, "function_call") == 0) return add_call(d, v, false);
    if (strcmp(type, "custom_tool_call") == 0) return add_call(d, v, true);
    if (strcmp(type, "function_call_output") == 0 || strcmp(type, "custom_tool_call_output") == 0)
        return add_output(d, v);
    if (strcmp(type, "reasoning") == 0) return add_reasoning(d, v);
    if (!*type) return hth_fields_refuse(d->f, "needs a type, or a role and content");
    hth_fields_ignore(d->f, type); // of tools that other servers run
    return true;
}

// Room for what the items may become.
static bool make_room(hth_fields *f, responses_request *r) {
    size_t n_part = 2, n_thought = 1;
    for (uint32_t i = 0; i < r->input->n; i++) {
        const hth_json *v = &r->input->u.items[i];
        const hth_json *content = hth_json_get(v, "content"), *output = hth_json_get(v, "output"),
                       *sealed = hth_json_get(v, "encrypted_content");
        const bool is_list = content && content->kind == HTH_JSON_ARRAY;
        n_part += 1 + (is_list ? content->n : 0) + (output && output->kind == HTH_JSON_ARRAY ? output->n : 0);
        if (sealed && sealed->kind == HTH_JSON_STRING) n_thought += sealed->n;
        for (uint32_t k = 0; is_list && k < content->n; k++) {
            const hth_json *text = hth_json_get(&content->u.items[k], "text");
            if (text && text->kind == HTH_JSON_STRING) n_thought += text->n;
        }
    }
    r->messages = hth_arena_alloc(f->arena, (size_t)r->input->n + 2, sizeof *r->messages);
    r->parts = hth_arena_alloc(f->arena, n_part, sizeof *r->parts);
    r->calls = hth_arena_alloc(f->arena, (size_t)r->input->n + 1, sizeof *r->calls);
    r->thoughts = hth_arena_alloc(f->arena, n_thought, 1);
    return (r->messages && r->parts && r->calls && r->thoughts) || hth_fields_no_memory(f);
}

// `n_before` items are of earlier responses: where they do not fit, the path has no number of the client's.
static bool read_items(reader *d, size_t n_before) {
    responses_request *r = d->r;
    if (!make_room(d->f, r)) return false;
    if (r->instructions.p) add_part(r, new_message(r, "system"), r->instructions);
    for (uint32_t i = 0; i < r->input->n; i++) {
        const size_t mark = hth_fields_enter(d->f, i < n_before ? "previous_response_id" : "input");
        if (i >= n_before) (void)hth_fields_enter_item(d->f, i - n_before);
        if (!add_item(d, &r->input->u.items[i])) return false;
        hth_fields_leave(d->f, mark);
    }
    r->ask.messages = r->messages;
    r->ask.n_message = r->n_message;
    if (r->n_message > 0) return true;
    return hth_refuse(d->f->fault, HTH_FAULT_BAD_REQUEST, "input", "'input' must hold at least one item");
}

// --- tools ---

// The grammar must be one, even where it is only told.
static bool check_definition(hth_fields *f, bool is_lark, hth_chat_text definition) {
    const hth_grammar_options options = {.lenient = true};
    hth_grammar *g = NULL;
    hth_err err;
    const hth_code code = is_lark ? hth_grammar_from_lark(definition.p, definition.n, &options, &g, &err)
                                  : hth_grammar_from_regex(definition.p, definition.n, &options, &g, &err);
    hth_grammar_free(g);
    return code == HTH_OK || hth_fields_refuse(f, "is no grammar: %s", err.msg);
}

// What a model is told of a custom tool's grammar comes in words; a call that must come also keeps to it (to a regex as
// its schema's pattern).
static bool describe_custom(hth_fields *f, const hth_json *v, hth_ask_tool *t) {
    const hth_json *format = hth_json_get(v, "format"), *definition = hth_json_get(format, "definition");
    const char *syntax = hth_json_str(format, "syntax", "", NULL);
    const bool is_lark = strcmp(syntax, "lark") == 0;
    if (strcmp(type_of(format), "grammar") != 0) return true;
    const size_t mark = hth_fields_enter(f, "format");
    if (!is_lark && strcmp(syntax, "regex") != 0)
        return hth_fields_refuse(f, "has a syntax that must be lark or regex");
    (void)hth_fields_enter(f, "definition");
    if (!definition || definition->kind != HTH_JSON_STRING) return hth_fields_refuse(f, "must be a string");
    if (!check_definition(f, is_lark, hth_json_text(definition))) return false;
    hth_fields_leave(f, mark);
    static const char words[] = "\nThe input must follow this grammar:\n";
    const size_t n = t->description.n + sizeof words - 1 + definition->n;
    char *both = hth_arena_alloc(f->arena, n + 1, 1);
    if (!both) return hth_fields_no_memory(f);
    if (t->description.n) memcpy(both, t->description.p, t->description.n);
    memcpy(both + t->description.n, words, sizeof words - 1);
    memcpy(both + t->description.n + sizeof words - 1, definition->u.str, definition->n);
    t->description = (hth_chat_text){both, n};
    if (is_lark) t->grammar = hth_json_text(definition);
    hth_fields_ignore(f, "tools.format (kept where a call must come)");
    return true;
}

static bool read_tool(hth_fields *f, const hth_json *v, uint32_t at, responses_request *r,
                      hth_ask_tool *tools) {
    hth_ask *a = &r->ask;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const bool is_custom = strcmp(type_of(v), "custom") == 0;
    if (!is_custom && strcmp(type_of(v), "function") != 0) {
        hth_chat_text type;
        if (!hth_fields_need_text(f, v, "type", &type)) return false;
        hth_fields_ignore(f, type.p); // P16: tools that run at OpenAI, or are of newer clients
        return true;
    }
    hth_ask_tool *t = &tools[a->n_tool];
    const hth_json *about = hth_json_get(v, "description"), *schema = hth_json_get(v, "parameters");
    *t = (hth_ask_tool){.kind = HTH_TOOL_FUNCTION, .strict = hth_json_bool(v, "strict", false, NULL)};
    if (!hth_fields_need_text(f, v, "name", &t->name)) return false;
    if (about && about->kind == HTH_JSON_STRING) t->description = hth_json_text(about);
    if (schema && schema->kind != HTH_JSON_OBJECT && schema->kind != HTH_JSON_NULL) {
        const size_t mark = hth_fields_enter(f, "parameters");
        (void)hth_fields_refuse_kind(f, schema, "an object");
        hth_fields_leave(f, mark);
        return false;
    }
    if (is_custom)
        t->parameters = r->custom_schemas ? &r->custom_schemas->u.items[at] : NULL; // none where a table is read alone
    else if (schema && schema->kind == HTH_JSON_OBJECT)
        t->parameters = schema;
    if (is_custom && !describe_custom(f, v, t)) return false;
    r->is_custom[a->n_tool++] = is_custom;
    return true;
}

static bool read_tools(hth_fields *f, const hth_json *v, void *to) {
    responses_request *r = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    hth_ask_tool *tools = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *tools);
    r->is_custom = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *r->is_custom);
    if (!tools || !r->is_custom) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!read_tool(f, &v->u.items[i], i, r, tools)) return false;
        hth_fields_leave(f, mark);
    }
    r->ask.tools = tools;
    r->tools = v;
    return true;
}

static bool choose(hth_fields *f, hth_ask *a, const char *word) {
    if (strcmp(word, "auto") == 0)
        a->tool_choice = HTH_TOOLS_AUTO;
    else if (strcmp(word, "none") == 0)
        a->tool_choice = HTH_TOOLS_NONE;
    else if (strcmp(word, "required") == 0)
        a->tool_choice = HTH_TOOLS_REQUIRED;
    else
        return hth_fields_refuse(f, "must be auto, none, required or a tool, not '%.40s'", word);
    return true;
}

static bool choose_among(hth_fields *f, hth_ask *a, const hth_json *list) {
    if (!list || list->kind != HTH_JSON_ARRAY) return hth_fields_refuse(f, "needs a list of tools");
    hth_chat_text *names = hth_arena_alloc(f->arena, (size_t)list->n + 1, sizeof *names);
    if (!names) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < list->n; i++) {
        const hth_json *name = hth_json_get(&list->u.items[i], "name");
        if (name && name->kind == HTH_JSON_STRING) names[a->n_tool_name++] = hth_json_text(name);
    }
    a->tool_names = names;
    return true;
}

static bool read_tool_choice(hth_fields *f, const hth_json *v, void *to) {
    responses_request *r = to;
    hth_ask *a = &r->ask;
    r->tool_choice = v;
    if (v->kind == HTH_JSON_STRING) return choose(f, a, v->u.str);
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "a string or an object");
    const char *type = type_of(v);
    if (strcmp(type, "allowed_tools") == 0)
        return choose(f, a, hth_json_str(v, "mode", "auto", NULL)) &&
               choose_among(f, a, hth_json_get(v, "tools"));
    if (strcmp(type, "function") != 0 && strcmp(type, "custom") != 0) {
        return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, f->path,
                          "'%s': a tool of type '%.40s' does not run here", f->path, type);
    }
    hth_chat_text *name = hth_arena_alloc(f->arena, 1, sizeof *name);
    if (!name) return hth_fields_no_memory(f);
    if (!hth_fields_need_text(f, v, "name", name)) return false;
    a->tool_choice = HTH_TOOLS_REQUIRED;
    a->tool_names = name;
    a->n_tool_name = 1;
    return true;
}

// --- text and reasoning ---

static bool read_format(hth_fields *f, const hth_json *v, void *to) {
    responses_request *r = to;
    hth_chat_text type;
    r->format = v;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "type", &type)) return false;
    if (hth_chat_text_is(type, "text")) return true;
    if (hth_chat_text_is(type, "json_object")) {
        r->ask.format = HTH_FORMAT_JSON;
        return true;
    }
    const hth_json *schema = hth_json_get(v, "schema");
    if (!hth_chat_text_is(type, "json_schema"))
        return hth_fields_refuse(f, "has a type that must be text, json_object or json_schema, not '%.40s'",
                                 type.p);
    if (!schema || schema->kind != HTH_JSON_OBJECT)
        return hth_fields_refuse(f, "needs a schema, which is an object");
    r->ask.format = HTH_FORMAT_SCHEMA;
    r->ask.schema = schema;
    r->ask.strict_schema = hth_json_bool(v, "strict", false, NULL);
    return true;
}

#define TEXT(name_, field_, help_) \
    { .name = name_, .kind = HTH_FIELD_TEXT, .offset = offsetof(responses_request, field_), .help = help_ }
#define CUSTOM(name_, words_, read_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .help = help_ }
#define IGNORED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_IGNORED, .help = help_ }

static const hth_field text_fields[] = {
    CUSTOM("format", "object", read_format, "text, json_object, json_schema"),
    TEXT("verbosity", verbosity, "echoed; models here cannot be told"),
};

static bool read_text(hth_fields *f, const hth_json *v, void *to) {
    return hth_fields_read(f, text_fields, HTH_COUNT(text_fields), v, to);
}

static const hth_field reasoning_fields[] = {
    TEXT("effort", effort, "none, minimal, low, medium, high"),
    TEXT("summary", summary, "where given, reasoning is told as its summary"),
    TEXT("generate_summary", summary, "the older name of summary"),
    CUSTOM("max_tokens", "number", hth_ask_read_budget, "most tokens of thoughts; 0: none, -1: no limit"),
    IGNORED("context", "the template decides what it keeps"),
    IGNORED("mode", "there is one"),
};

static bool read_reasoning(hth_fields *f, const hth_json *v, void *to) {
    responses_request *r = to;
    if (!hth_fields_read(f, reasoning_fields, HTH_COUNT(reasoning_fields), v, to)) return false;
    r->sums_up = r->summary.p != NULL && !hth_chat_text_is(r->summary, "none");
    if (!r->effort.p || hth_ask_set_effort(&r->ask, r->effort)) return true;
    const size_t mark = hth_fields_enter(f, "effort");
    (void)hth_fields_refuse(f, "must be none, minimal, low, medium, high or xhigh, not '%.40s'", r->effort.p);
    hth_fields_leave(f, mark);
    return false;
}

static bool read_include(hth_fields *f, const hth_json *v, void *to) {
    responses_request *r = to;
    const hth_chat_text *names;
    size_t n;
    if (!hth_fields_read_texts(f, v, &names, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        if (hth_chat_text_is(names[i], "reasoning.encrypted_content"))
            r->wants_sealed = true;
        else if (hth_chat_text_is(names[i], "message.output_text.logprobs"))
            r->wants_logprobs = true;
        else
            hth_fields_ignore(f, names[i].p);
    }
    return true;
}

static bool read_metadata(hth_fields *f, const hth_json *v, void *to) {
    responses_request *r = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (v->n > 16) return hth_fields_refuse(f, "must have at most 16 members");
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->u.members[i].value.kind != HTH_JSON_STRING) return hth_fields_refuse(f, "must hold strings");
    }
    r->metadata = v;
    return true;
}

static bool skip_input(hth_fields *f, const hth_json *v, void *to) {
    (void)to;
    if (v->kind == HTH_JSON_STRING || v->kind == HTH_JSON_ARRAY) return true; // read when its room is known
    return hth_fields_refuse_kind(f, v, "a string or an array of items");
}

#define SAMPLING(name_, has_, help_)                                                               \
    {                                                                                              \
        .name = name_, .kind = HTH_FIELD_CUSTOM, .words = "number", .read = hth_ask_read_sampling, \
        .given = offsetof(responses_request, has_) + 1, .help = help_                              \
    }
#define FLAG(name_, field_, help_) \
    { .name = name_, .kind = HTH_FIELD_BOOL, .offset = offsetof(responses_request, field_), .help = help_ }

static const hth_field fields[] = {
    TEXT("model", ask.model, "the model's name"),
    CUSTOM("input", "string|array", skip_input,
           "a text, or messages, calls of tools and their outputs, reasoning"),
    TEXT("instructions", instructions, "a system message before everything else"),
    TEXT("previous_response_id", previous, "the items of a stored response come before the input"),
    FLAG("stream", ask.stream, "events as they come"),
    FLAG("store", store, "the response can be read again (default: true)"),
    FLAG("background", background, "the response is made without a client waiting; needs store"),
    {.name = "max_output_tokens",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(responses_request, ask.max_tokens),
     .given = offsetof(responses_request, has_max_tokens) + 1,
     .lo = 0,
     .hi = 9e15,
     .help = "most tokens of the answer, reasoning included"},
    {.name = "max_tool_calls",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(responses_request, max_tool_calls),
     .help = "counts tools that the server runs, of which there are none"},
    SAMPLING("temperature", has_temperature, "0: always the likeliest token"),
    SAMPLING("top_p", has_top_p, "choose among the likeliest that share this"),
    HTH_ASK_SAMPLING("top_k", "not OpenAI's: choose among the likeliest"),
    HTH_ASK_SAMPLING("min_p", "not OpenAI's: leave out what is below this part of the likeliest"),
    HTH_ASK_SAMPLING("seed", "not OpenAI's: same seed, same answer"),
    SAMPLING("presence_penalty", has_presence, "taken from repeated tokens"),
    SAMPLING("frequency_penalty", has_frequency, "taken for each repetition"),
    {.name = "top_logprobs",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(responses_request, ask.n_top),
     .lo = 0,
     .hi = 20,
     .help = "alternatives of each token"},
    CUSTOM("tools", "array", read_tools,
           "functions and custom tools; those that run at OpenAI are named in X-Hearth-Ignored"),
    CUSTOM("tool_choice", "string|object", read_tool_choice, "auto, none, required, one tool, allowed_tools"),
    {.name = "parallel_tool_calls",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(responses_request, ask.one_tool),
     .negated = true,
     .help = "false: at most one call"},
    CUSTOM("text", "object", read_text, "format, verbosity"),
    CUSTOM("reasoning", "object", read_reasoning, "effort, summary"),
    CUSTOM("include", "string|array", read_include,
           "reasoning.encrypted_content, message.output_text.logprobs"),
    CUSTOM("metadata", "object", read_metadata, "kept with the response"),
    {.name = "truncation",
     .kind = HTH_FIELD_WORD,
     .offset = offsetof(responses_request, truncation),
     .words = "disabled|auto",
     .help = "auto: a prompt that is too long loses its middle"},
    TEXT("user", user, "echoed"),
    TEXT("safety_identifier", safety_identifier, "echoed"),
    TEXT("prompt_cache_key", cache_key, "echoed; beginnings are always cached"),
    CUSTOM("chat_template_kwargs", "object", hth_ask_read_kwargs,
           "not OpenAI's: more variables for the template"),
    IGNORED("prompt_cache_retention", "beginnings are kept as long as there is room"),
    IGNORED("prompt_cache_options", "beginnings are always cached"),
    IGNORED("service_tier", "there is one"),
    IGNORED("stream_options", "nothing is obfuscated"),
    IGNORED("client_metadata", "there are no accounts"),
    IGNORED("context_management", "nothing is removed from a conversation"),
    {.name = "conversation",
     .kind = HTH_FIELD_REFUSED,
     .help = "conversations are not kept here; previous_response_id goes on with a response"},
    {.name = "prompt", .kind = HTH_FIELD_REFUSED, .help = "there are no stored prompts"},
    {.name = "moderation", .kind = HTH_FIELD_REFUSED, .help = "there is no moderation"},
};
const hth_field_set hth_responses_set = {fields, HTH_COUNT(fields)};

static bool finish(hth_fields *f, responses_request *r) {
    hth_ask *a = &r->ask;
    a->no_output = r->has_max_tokens && a->max_tokens == 0;
    a->overflow = r->truncation == 1 ? HTH_OVERFLOW_TRUNCATE_MIDDLE : HTH_OVERFLOW_ERROR;
    a->logprobs = r->wants_logprobs || a->n_top > 0;
    a->detached = r->background;
    if (r->background && !r->store)
        return hth_refuse(f->fault, HTH_FAULT_BAD_REQUEST, "background",
                          "'background' needs 'store' to be true");
    return true;
}

bool responses_read(hth_fields *f, const hth_json *root, size_t n_before, const hth_responses *all,
                    responses_request *r) {
    static const hth_ask_names names = {
        .messages = "input", .format = "text.format", .max_tokens = "max_output_tokens"};
    reader d = {.f = f, .all = all, .r = r};
    *r = (responses_request){
        .store = true, .input = hth_json_get(root, "input"), .custom_schemas = hth_json_get(root, "custom")};
    hth_ask_init(&r->ask);
    r->ask.names = &names;
    r->ask.document = f->text;
    r->ask.n_document = f->n_text;
    r->ask.usage = true;
    if (!hth_fields_read(f, fields, HTH_COUNT(fields), hth_json_get(root, "body"), r)) return false;
    return finish(f, r) && read_items(&d, n_before);
}
