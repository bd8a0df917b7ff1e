// Messages, tools and formats of OpenAI's chat requests. Roles and parts that other servers' clients send are
// taken too.
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "server/openai.h"

#define MAX_MESSAGES 4096
#define MAX_TOOLS 1024

// ---- parts of a message

static bool read_part_text(hth_fields *f, const hth_json *v, const char *key, hth_chat_part *out) {
    const hth_json *text = hth_json_get(v, key);
    const size_t mark = hth_fields_enter(f, key);
    if (!text || text->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, text, "a string");
    hth_fields_leave(f, mark);
    out->kind = HTH_CHAT_PART_TEXT;
    out->text = hth_json_text(text);
    return true;
}

// What is no text is named by its kind: whether the model can take it is known later.
static bool read_part(hth_fields *f, const hth_json *v, hth_chat_part *out) {
    static const struct {
        const char *type;
        hth_chat_part_kind kind;
        const char *text; // where the text is
    } kinds[] = {{"text", HTH_CHAT_PART_TEXT, "text"},         {"input_text", HTH_CHAT_PART_TEXT, "text"},
                 {"output_text", HTH_CHAT_PART_TEXT, "text"},  {"refusal", HTH_CHAT_PART_TEXT, "refusal"},
                 {"thinking", HTH_CHAT_PART_TEXT, "thinking"}, {"image_url", HTH_CHAT_PART_IMAGE, NULL},
                 {"input_image", HTH_CHAT_PART_IMAGE, NULL},   {"image", HTH_CHAT_PART_IMAGE, NULL},
                 {"input_audio", HTH_CHAT_PART_AUDIO, NULL},   {"audio_url", HTH_CHAT_PART_AUDIO, NULL},
                 {"input_video", HTH_CHAT_PART_VIDEO, NULL},   {"video_url", HTH_CHAT_PART_VIDEO, NULL},
                 {"file", HTH_CHAT_PART_FILE, NULL},           {"input_file", HTH_CHAT_PART_FILE, NULL}};
    if (v->kind == HTH_JSON_STRING) {
        *out = (hth_chat_part){HTH_CHAT_PART_TEXT, hth_json_text(v)};
        return true;
    }
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const hth_json *type = hth_json_get(v, "type");
    const size_t mark = hth_fields_enter(f, "type");
    if (!type || type->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, type, "a string");
    for (size_t i = 0; i < HTH_COUNT(kinds); i++) {
        if (strcmp(type->u.str, kinds[i].type) != 0) continue;
        hth_fields_leave(f, mark);
        out->kind = kinds[i].kind;
        return !kinds[i].text || read_part_text(f, v, kinds[i].text, out);
    }
    return hth_fields_refuse(f, "is '%.40s', which is not known; text parts are", type->u.str);
}

typedef struct message {
    hth_chat_message m;
    hth_chat_text reasoning_content, reasoning, thinking;
} message;

static bool read_content(hth_fields *f, const hth_json *v, void *to) {
    message *m = to;
    const bool is_list = v->kind == HTH_JSON_ARRAY;
    if (!is_list && v->kind != HTH_JSON_STRING)
        return hth_fields_refuse_kind(f, v, "a string or an array of parts");
    const size_t n = is_list ? v->n : 1;
    hth_chat_part *parts = hth_arena_alloc(f->arena, n + 1, sizeof *parts);
    if (!parts) return hth_fields_no_memory(f);
    for (size_t i = 0; i < n; i++) {
        const size_t mark = is_list ? hth_fields_enter_item(f, i) : strlen(f->path);
        if (!read_part(f, is_list ? &v->u.items[i] : v, &parts[i])) return false;
        hth_fields_leave(f, mark);
    }
    m->m.parts = parts;
    m->m.n_part = n;
    return true;
}

// ---- calls

static bool read_arguments(hth_fields *f, const hth_json *v, void *to) {
    hth_chat_call *call = to;
    if (v->kind == HTH_JSON_STRING)
        call->arguments = hth_json_text(v);
    else if (v->kind == HTH_JSON_OBJECT)
        call->arguments = hth_fields_source(f, v);
    else
        return hth_fields_refuse_kind(f, v, "a string of JSON or an object");
    return true;
}

static const hth_field function_fields[] = {
    {.name = "name",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(hth_chat_call, name),
     .required = true,
     .help = "the function that is called"},
    {.name = "arguments",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|object",
     .read = read_arguments,
     .help = "JSON"},
};

static bool read_function(hth_fields *f, const hth_json *v, void *to) {
    return hth_fields_read(f, function_fields, HTH_COUNT(function_fields), v, to);
}

static bool read_custom(hth_fields *f, const hth_json *v, void *to) {
    hth_chat_call *call = to;
    const hth_json *name = hth_json_get(v, "name"), *input = hth_json_get(v, "input");
    if (!name || name->kind != HTH_JSON_STRING) return hth_fields_refuse(f, "must have a name");
    call->name = hth_json_text(name);
    if (input && input->kind == HTH_JSON_STRING) call->arguments = hth_json_text(input);
    return true;
}

static bool skip(hth_fields *f, const hth_json *v, void *to) {
    (void)f, (void)v, (void)to;
    return true;
}

static const hth_field call_fields[] = {
    {.name = "id",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(hth_chat_call, id),
     .help = "what the answer to it refers to"},
    {.name = "type", .kind = HTH_FIELD_CUSTOM, .words = "string", .read = skip, .help = "function"},
    {.name = "index", .kind = HTH_FIELD_CUSTOM, .words = "number", .read = skip, .help = "its place"},
    {.name = "function",
     .kind = HTH_FIELD_CUSTOM,
     .words = "object",
     .read = read_function,
     .help = "name and arguments"},
    {.name = "custom",
     .kind = HTH_FIELD_CUSTOM,
     .words = "object",
     .read = read_custom,
     .help = "name and input"},
};

static bool read_calls(hth_fields *f, const hth_json *v, void *to) {
    message *m = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    hth_chat_call *calls = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *calls);
    if (!calls) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!hth_fields_read(f, call_fields, HTH_COUNT(call_fields), &v->u.items[i], &calls[i])) return false;
        if (!calls[i].name.p) return hth_fields_refuse(f, "must have a function");
        if (calls[i].arguments.n == 0) calls[i].arguments = hth_chat_text_of("{}");
        hth_fields_leave(f, mark);
    }
    m->m.calls = calls;
    m->m.n_call = v->n;
    return true;
}

// The call of the older form, of which there is one.
static bool read_function_call(hth_fields *f, const hth_json *v, void *to) {
    message *m = to;
    hth_chat_call *call = hth_arena_alloc(f->arena, 1, sizeof *call);
    if (!call) return hth_fields_no_memory(f);
    if (!read_function(f, v, call)) return false;
    if (call->arguments.n == 0) call->arguments = hth_chat_text_of("{}");
    m->m.calls = call;
    m->m.n_call = 1;
    return true;
}

#define MESSAGE_TEXT(name_, field_, help_) \
    { .name = name_, .kind = HTH_FIELD_TEXT, .offset = offsetof(message, field_), .help = help_ }

static const hth_field message_fields[] = {
    {.name = "role",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(message, m.role),
     .required = true,
     .help = "system, developer, user, assistant, tool; others are the template's business"},
    {.name = "content",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|array",
     .read = read_content,
     .help = "a text, or parts of type text"},
    MESSAGE_TEXT("name", m.name, "who speaks, where the template has a use for it"),
    MESSAGE_TEXT("tool_call_id", m.call_id, "the call that this answers"),
    {.name = "tool_calls",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = read_calls,
     .help = "calls that the assistant made"},
    {.name = "function_call",
     .kind = HTH_FIELD_CUSTOM,
     .words = "object",
     .read = read_function_call,
     .help = "the older form of one call"},
    MESSAGE_TEXT("reasoning_content", reasoning_content, "what the assistant thought"),
    MESSAGE_TEXT("reasoning", reasoning, "the same"),
    MESSAGE_TEXT("thinking", thinking, "the same"),
    {.name = "refusal",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string",
     .read = skip,
     .help = "taken; no template has a use for it"},
    {.name = "annotations",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = skip,
     .help = "taken; no template has a use for it"},
    {.name = "audio",
     .kind = HTH_FIELD_REFUSED,
     .words = "object",
     .help = "answers in sound are not known here"},
};

static bool read_message(hth_fields *f, const hth_json *v, hth_chat_message *out) {
    message m = {0};
    if (!hth_fields_read(f, message_fields, HTH_COUNT(message_fields), v, &m)) return false;
    const hth_chat_text thoughts[] = {m.reasoning_content, m.reasoning, m.thinking};
    for (size_t i = 0; i < HTH_COUNT(thoughts) && !m.m.reasoning.p; i++) m.m.reasoning = thoughts[i];
    if (strcmp(m.m.role.p, "function") == 0) m.m.role = hth_chat_text_of("tool");
    const bool needs_content = strcmp(m.m.role.p, "assistant") != 0;
    if (needs_content && !m.m.parts) {
        (void)hth_fields_enter(f, "content");
        return hth_fields_refuse(f, "is required");
    }
    *out = m.m;
    return true;
}

bool openai_read_messages(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    if (v->n == 0) return hth_fields_refuse(f, "must hold at least one message");
    if (v->n > MAX_MESSAGES)
        return hth_fields_refuse(f, "has %u messages; at most %d are taken", v->n, MAX_MESSAGES);
    hth_chat_message *messages = hth_arena_alloc(f->arena, v->n, sizeof *messages);
    if (!messages) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!read_message(f, &v->u.items[i], &messages[i])) return false;
        hth_fields_leave(f, mark);
    }
    a->messages = messages;
    a->n_message = v->n;
    return true;
}

// ---- tools

static bool read_parameters(hth_fields *f, const hth_json *v, void *to) {
    hth_ask_tool *t = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    t->parameters = v;
    return true;
}

static const hth_field tool_fields[] = {
    {.name = "name",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(hth_ask_tool, name),
     .required = true,
     .help = "what the model calls it"},
    {.name = "description",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(hth_ask_tool, description),
     .help = "what it is for"},
    {.name = "parameters",
     .kind = HTH_FIELD_CUSTOM,
     .words = "object",
     .read = read_parameters,
     .help = "a JSON schema of its arguments"},
    {.name = "strict",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(hth_ask_tool, strict),
     .help = "the schema is kept to the letter"},
};

static bool read_tool(hth_fields *f, const hth_json *v, hth_ask_tool *out) {
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const hth_json *type = hth_json_get(v, "type"), *function = hth_json_get(v, "function");
    if (type && type->kind == HTH_JSON_STRING && strcmp(type->u.str, "function") != 0) {
        (void)hth_fields_enter(f, "type");
        return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, f->path,
                          "'%s' is '%.40s'; only functions are known here", f->path, type->u.str);
    }
    const size_t mark = strlen(f->path);
    if (function) (void)hth_fields_enter(f, "function"); // else its members stand in the tool itself
    const bool ok = hth_fields_read(f, tool_fields, HTH_COUNT(tool_fields), function ? function : v, out);
    if (ok && out->name.n == 0) {
        (void)hth_fields_enter(f, "name");
        return hth_fields_refuse(f, "must not be empty");
    }
    if (ok) hth_fields_leave(f, mark);
    return ok;
}

bool openai_read_tools(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    if (v->n > MAX_TOOLS) return hth_fields_refuse(f, "has %u tools; at most %d are taken", v->n, MAX_TOOLS);
    hth_ask_tool *tools = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *tools);
    if (!tools) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!read_tool(f, &v->u.items[i], &tools[i])) return false;
        hth_fields_leave(f, mark);
    }
    a->tools = tools;
    a->n_tool = v->n;
    return true;
}

// The name in {"type": "function", "function": {"name": ...}}, or in {"name": ...}.
static bool read_tool_name(hth_fields *f, const hth_json *v, hth_chat_text *out) {
    const hth_json *function = hth_json_get(v, "function");
    const hth_json *name = hth_json_get(function ? function : v, "name");
    if (!name || name->kind != HTH_JSON_STRING || name->n == 0)
        return hth_fields_refuse(f, "must name a function");
    *out = hth_json_text(name);
    return true;
}

static bool set_choice(hth_fields *f, const char *word, hth_ask *a) {
    if (strcmp(word, "auto") == 0)
        a->tool_choice = HTH_TOOLS_AUTO;
    else if (strcmp(word, "none") == 0)
        a->tool_choice = HTH_TOOLS_NONE;
    else if (strcmp(word, "required") == 0 || strcmp(word, "any") == 0)
        a->tool_choice = HTH_TOOLS_REQUIRED;
    else
        return hth_fields_refuse(f, "must be none, auto, required or an object that names a function");
    return true;
}

static bool read_allowed(hth_fields *f, const hth_json *v, hth_ask *a) {
    const hth_json *inner = hth_json_get(v, "allowed_tools");
    if (!inner) inner = v;
    const hth_json *mode = hth_json_get(inner, "mode"), *tools = hth_json_get(inner, "tools");
    if (!tools || tools->kind != HTH_JSON_ARRAY || tools->n == 0)
        return hth_fields_refuse(f, "must list the tools that are allowed");
    hth_chat_text *names = hth_arena_alloc(f->arena, tools->n, sizeof *names);
    if (!names) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < tools->n; i++) {
        if (!read_tool_name(f, &tools->u.items[i], &names[i])) return false;
    }
    a->tool_names = names;
    a->n_tool_name = tools->n;
    return set_choice(f, mode && mode->kind == HTH_JSON_STRING ? mode->u.str : "auto", a);
}

bool openai_read_tool_choice(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind == HTH_JSON_STRING) return set_choice(f, v->u.str, a);
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "a string or an object");
    const hth_json *type = hth_json_get(v, "type");
    if (type && type->kind == HTH_JSON_STRING && strcmp(type->u.str, "allowed_tools") == 0)
        return read_allowed(f, v, a);
    hth_chat_text *name = hth_arena_alloc(f->arena, 1, sizeof *name);
    if (!name) return hth_fields_no_memory(f);
    if (!read_tool_name(f, v, name)) return false;
    a->tool_names = name;
    a->n_tool_name = 1;
    a->tool_choice = HTH_TOOLS_REQUIRED;
    return true;
}

// ---- the answer's form

bool openai_read_format(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const hth_json *type = hth_json_get(v, "type"), *inner = hth_json_get(v, "json_schema");
    const char *word = type && type->kind == HTH_JSON_STRING ? type->u.str : "";
    const hth_json *schema = hth_json_get(inner, "schema");
    if (!schema) schema = hth_json_get(v, "schema");
    if (strcmp(word, "text") == 0) return true;
    if (strcmp(word, "json_object") != 0 && strcmp(word, "json_schema") != 0) {
        (void)hth_fields_enter(f, "type");
        return hth_fields_refuse(f, "must be text, json_object or json_schema");
    }
    a->format = HTH_FORMAT_JSON;
    if (!schema && strcmp(word, "json_object") == 0) return true;
    if (!schema || (schema->kind != HTH_JSON_OBJECT && schema->kind != HTH_JSON_BOOL)) {
        (void)hth_fields_enter(f, "json_schema");
        (void)hth_fields_enter(f, "schema");
        return schema ? hth_fields_refuse_kind(f, schema, "an object") : hth_fields_refuse(f, "is required");
    }
    a->format = HTH_FORMAT_SCHEMA;
    a->schema = schema;
    a->strict_schema = hth_json_bool(inner, "strict", false, NULL);
    return true;
}
