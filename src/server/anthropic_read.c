// Requests of Anthropic's Messages. Turns are lists of typed blocks; a user's turn may hold results of tools
// among its text, which become messages of their own. Turns of one role that follow each other are one.
#include <string.h>

#include "server/anthropic_impl.h"
#include "server/field_sets.h"

// --- messages ---

// The message that text or calls of this role belong to: the last one, or a new one.
static hth_chat_message *message_for(anthropic_request *r, const char *role) {
    hth_chat_message *last = &r->messages[r->n_message];
    if (r->n_message > 0 && !r->begins_turn && hth_chat_text_is(last->role, role)) return last;
    r->begins_turn = false;
    last = &r->messages[++r->n_message];
    *last = (hth_chat_message){.role = hth_chat_text_of(role), .parts = r->parts + r->n_part};
    return last;
}

static void add_part(anthropic_request *r, hth_chat_message *m, hth_chat_text text) {
    r->parts[r->n_part++] = (hth_chat_part){HTH_CHAT_PART_TEXT, text};
    m->n_part++;
}

static bool refuse_media(hth_fields *f, const char *kind) {
    return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, f->path,
                      "'%s': content of type '%.40s' is not supported: models here take text", f->path, kind);
}

// Text of a block of a result or a document, which is text or refused.
static bool add_text_block(hth_fields *f, anthropic_request *r, hth_chat_message *m, const hth_json *v) {
    hth_chat_text type, text;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "type", &type)) return false;
    if (!hth_chat_text_is(type, "text")) return refuse_media(f, type.p);
    if (!hth_fields_need_text(f, v, "text", &text)) return false;
    add_part(r, m, text);
    return true;
}

// The name of the tool whose call has this id, in the turn before; some templates want it with the result.
#define MAX_CALLS_SEARCHED 256
static hth_chat_text called_name(const anthropic_request *r, hth_chat_text id) {
    for (size_t i = r->n_message; i > 0; i--) {
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

static bool add_result(hth_fields *f, anthropic_request *r, const hth_json *v) {
    hth_chat_text id;
    if (!hth_fields_need_text(f, v, "tool_use_id", &id)) return false;
    const hth_json *content = hth_json_get(v, "content");
    hth_chat_message *m = &r->messages[++r->n_message];
    *m = (hth_chat_message){.role = hth_chat_text_of("tool"),
                            .parts = r->parts + r->n_part,
                            .call_id = id,
                            .name = called_name(r, id)};
    const size_t mark = hth_fields_enter(f, "content");
    if (content && content->kind == HTH_JSON_STRING) {
        add_part(r, m, hth_json_text(content));
    } else if (content && content->kind == HTH_JSON_ARRAY) {
        for (uint32_t i = 0; i < content->n; i++) {
            const size_t item = hth_fields_enter_item(f, i);
            if (!add_text_block(f, r, m, &content->u.items[i])) return false;
            hth_fields_leave(f, item);
        }
    } else if (content && content->kind != HTH_JSON_NULL) {
        return hth_fields_refuse_kind(f, content, "a string or an array of blocks");
    }
    hth_fields_leave(f, mark);
    return true;
}

static bool add_call(hth_fields *f, anthropic_request *r, const hth_json *v) {
    hth_chat_text id, name;
    const hth_json *input = hth_json_get(v, "input");
    if (!hth_fields_need_text(f, v, "id", &id) || !hth_fields_need_text(f, v, "name", &name)) return false;
    const size_t mark = hth_fields_enter(f, "input");
    if (!input) return hth_fields_refuse(f, "is required");
    if (input->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, input, "an object");
    hth_fields_leave(f, mark);
    hth_chat_message *m = message_for(r, "assistant");
    if (m->n_call == 0) m->calls = r->calls + r->n_call;
    r->calls[r->n_call++] = (hth_chat_call){.id = id, .name = name, .arguments = hth_fields_source(f, input)};
    m->n_call++;
    return true;
}

// Thoughts of a turn lie behind each other in r->thoughts, which has room for all of them.
static bool add_thought(hth_fields *f, anthropic_request *r, const hth_json *v) {
    hth_chat_text thought;
    if (!hth_fields_need_text(f, v, "thinking", &thought)) return false;
    hth_chat_message *m = message_for(r, "assistant");
    char *end = r->thoughts + r->n_thought;
    if (!m->reasoning.p)
        m->reasoning = (hth_chat_text){end, 0};
    else
        *end++ = '\n', m->reasoning.n++, r->n_thought++;
    memcpy(end, thought.p, thought.n);
    m->reasoning.n += thought.n;
    r->n_thought += thought.n;
    return true;
}

static bool add_block(hth_fields *f, anthropic_request *r, const char *role, const hth_json *v) {
    const bool is_assistant = strcmp(role, "assistant") == 0;
    hth_chat_text type, text;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "type", &type)) return false;
    if (hth_chat_text_is(type, "text")) {
        if (!hth_fields_need_text(f, v, "text", &text)) return false;
        add_part(r, message_for(r, role), text);
        return true;
    }
    if (hth_chat_text_is(type, "tool_result") && !is_assistant) return add_result(f, r, v);
    if (hth_chat_text_is(type, "tool_use") && is_assistant) return add_call(f, r, v);
    if (hth_chat_text_is(type, "thinking") && is_assistant) return add_thought(f, r, v);
    if (hth_chat_text_is(type, "redacted_thinking") && is_assistant) {
        hth_fields_ignore(f, "redacted_thinking"); // nobody here can open it
        return true;
    }
    return refuse_media(f, type.p);
}

// Makes room for a turn's thoughts. A turn that thinks is not joined to one before that does.
static bool begin_thoughts(hth_fields *f, anthropic_request *r, const hth_json *content) {
    size_t n = 0;
    for (uint32_t i = 0; i < content->n; i++) {
        const hth_json *thought = hth_json_get(&content->u.items[i], "thinking");
        if (thought && thought->kind == HTH_JSON_STRING) n += (size_t)thought->n + 1;
    }
    if (n == 0) return true;
    r->begins_turn = r->messages[r->n_message].reasoning.p != NULL;
    r->n_thought = 0;
    r->thoughts = hth_arena_alloc(f->arena, n, 1);
    return r->thoughts || hth_fields_no_memory(f);
}

static bool add_message(hth_fields *f, anthropic_request *r, const hth_json *v) {
    static const char *const roles[] = {"user", "assistant", "system"};
    hth_chat_text role_text;
    const char *role = NULL;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "role", &role_text)) return false;
    for (size_t i = 0; i < HTH_COUNT(roles); i++) {
        if (hth_chat_text_is(role_text, roles[i])) role = roles[i];
    }
    const hth_json *content = hth_json_get(v, "content");
    size_t mark = hth_fields_enter(f, "role");
    if (!role) return hth_fields_refuse(f, "must be user, assistant or system, not '%.40s'", role_text.p);
    hth_fields_leave(f, mark);
    mark = hth_fields_enter(f, "content");
    if (!content) return hth_fields_refuse(f, "is required");
    if (content->kind == HTH_JSON_STRING) {
        add_part(r, message_for(r, role), hth_json_text(content));
    } else if (content->kind == HTH_JSON_ARRAY) {
        if (!begin_thoughts(f, r, content)) return false;
        if (content->n == 0) (void)message_for(r, role);
        for (uint32_t i = 0; i < content->n; i++) {
            const size_t item = hth_fields_enter_item(f, i);
            if (!add_block(f, r, role, &content->u.items[i])) return false;
            hth_fields_leave(f, item);
        }
    } else {
        return hth_fields_refuse_kind(f, content, "a string or an array of blocks");
    }
    hth_fields_leave(f, mark);
    return true;
}

// Blocks at most, so that all of them find room.
static size_t count_blocks(const hth_json *messages) {
    size_t n = messages->n;
    for (uint32_t i = 0; i < messages->n; i++) {
        const hth_json *content = hth_json_get(&messages->u.items[i], "content");
        if (!content || content->kind != HTH_JSON_ARRAY) continue;
        n += content->n;
        for (uint32_t k = 0; k < content->n; k++) {
            const hth_json *inner = hth_json_get(&content->u.items[k], "content");
            if (inner && inner->kind == HTH_JSON_ARRAY) n += inner->n;
        }
    }
    return n;
}

static bool read_messages(hth_fields *f, const hth_json *v, void *to) {
    anthropic_request *r = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    if (v->n == 0) return hth_fields_refuse(f, "must hold at least one message");
    const size_t n = count_blocks(v);
    r->messages = hth_arena_alloc(f->arena, n + v->n + 2, sizeof *r->messages);
    r->parts = hth_arena_alloc(f->arena, n + 1, sizeof *r->parts);
    r->calls = hth_arena_alloc(f->arena, n + 1, sizeof *r->calls);
    if (!r->messages || !r->parts || !r->calls) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!add_message(f, r, &v->u.items[i])) return false;
        hth_fields_leave(f, mark);
    }
    return true;
}

// P17: a coding agent puts a line that changes with every request first, which would void every cached
// prefix.
static bool is_noise(hth_chat_text t) {
    static const char head[] = "x-anthropic-billing-header:";
    return t.n >= sizeof head - 1 && memcmp(t.p, head, sizeof head - 1) == 0;
}

static bool read_system(hth_fields *f, const hth_json *v, void *to) {
    anthropic_request *r = to;
    if (v->kind != HTH_JSON_STRING && v->kind != HTH_JSON_ARRAY)
        return hth_fields_refuse_kind(f, v, "a string or an array of blocks");
    const size_t n = v->kind == HTH_JSON_ARRAY ? v->n : 1;
    hth_chat_part *parts = hth_arena_alloc(f->arena, n + 1, sizeof *parts);
    if (!parts) return hth_fields_no_memory(f);
    for (size_t i = 0; i < n; i++) {
        hth_chat_text type, text;
        if (v->kind == HTH_JSON_STRING) {
            text = hth_json_text(v);
        } else {
            const size_t mark = hth_fields_enter_item(f, i);
            const hth_json *block = &v->u.items[i];
            if (block->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, block, "an object");
            if (!hth_fields_need_text(f, block, "type", &type)) return false;
            if (!hth_chat_text_is(type, "text")) return refuse_media(f, type.p);
            if (!hth_fields_need_text(f, block, "text", &text)) return false;
            hth_fields_leave(f, mark);
        }
        if (!is_noise(text)) parts[r->n_system++] = (hth_chat_part){HTH_CHAT_PART_TEXT, text};
    }
    r->system = parts;
    return true;
}

// --- tools ---

static bool read_tool(hth_fields *f, const hth_json *v, hth_ask *a, hth_ask_tool *tools) {
    hth_chat_text name;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const hth_json *type = hth_json_get(v, "type"), *schema = hth_json_get(v, "input_schema"),
                   *about = hth_json_get(v, "description");
    if (type && type->kind == HTH_JSON_STRING && strcmp(type->u.str, "custom") != 0) {
        hth_fields_ignore(
            f, type->u.str); // tools that run on Anthropic's side, or whose shape only its models know
        return true;
    }
    if (!hth_fields_need_text(f, v, "name", &name)) return false;
    size_t mark = hth_fields_enter(f, "input_schema");
    if (!schema) return hth_fields_refuse(f, "is required");
    if (schema->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, schema, "an object");
    hth_fields_leave(f, mark);
    mark = hth_fields_enter(f, "description");
    if (about && about->kind != HTH_JSON_STRING && about->kind != HTH_JSON_NULL)
        return hth_fields_refuse_kind(f, about, "a string");
    hth_fields_leave(f, mark);
    tools[a->n_tool++] = (hth_ask_tool){
        .kind = HTH_TOOL_FUNCTION,
        .name = name,
        .parameters = schema,
        .description = about && about->kind == HTH_JSON_STRING ? hth_json_text(about) : (hth_chat_text){0},
        .strict = hth_json_bool(v, "strict", false, NULL)};
    return true;
}

static bool read_tools(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    hth_ask_tool *tools = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *tools);
    if (!tools) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!read_tool(f, &v->u.items[i], a, tools)) return false;
        hth_fields_leave(f, mark);
    }
    a->tools = tools;
    return true;
}

static bool read_tool_choice(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    hth_chat_text type;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "type", &type)) return false;
    a->one_tool = hth_json_bool(v, "disable_parallel_tool_use", false, NULL);
    if (hth_chat_text_is(type, "auto"))
        a->tool_choice = HTH_TOOLS_AUTO;
    else if (hth_chat_text_is(type, "none"))
        a->tool_choice = HTH_TOOLS_NONE;
    else if (hth_chat_text_is(type, "any") || hth_chat_text_is(type, "tool"))
        a->tool_choice = HTH_TOOLS_REQUIRED;
    else
        return hth_fields_refuse(f, "has a type that must be auto, any, tool or none, not '%.40s'", type.p);
    if (!hth_chat_text_is(type, "tool")) return true;
    hth_chat_text *name = hth_arena_alloc(f->arena, 1, sizeof *name);
    if (!name) return hth_fields_no_memory(f);
    if (!hth_fields_need_text(f, v, "name", name)) return false;
    a->tool_names = name;
    a->n_tool_name = 1;
    return true;
}

// --- the rest ---

static bool read_thinking(hth_fields *f, const hth_json *v, void *to) {
    anthropic_request *r = to;
    hth_chat_text type;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "type", &type)) return false;
    r->omits_thoughts = strcmp(hth_json_str(v, "display", "", NULL), "omitted") == 0;
    if (hth_chat_text_is(type, "disabled") || hth_chat_text_is(type, "between_tools")) {
        r->ask.thinking = HTH_THINK_OFF;
    } else if (hth_chat_text_is(type, "adaptive")) {
        r->ask.thinking = HTH_THINK_DEFAULT;
    } else if (hth_chat_text_is(type, "enabled")) {
        const hth_json *budget = hth_json_get(v, "budget_tokens");
        const size_t mark = hth_fields_enter(f, "budget_tokens");
        r->ask.thinking = HTH_THINK_ON;
        if (!budget) return hth_fields_refuse(f, "is required");
        if (budget->kind != HTH_JSON_NUMBER || !budget->is_int || budget->u.num.i < 1)
            return hth_fields_refuse(f, "must be a whole number from 1");
        r->ask.thinking_budget = budget->u.num.i;
        hth_fields_leave(f, mark);
    } else {
        return hth_fields_refuse(f, "has a type that must be enabled, disabled or adaptive, not '%.40s'",
                                 type.p);
    }
    return true;
}

static bool read_format(hth_fields *f, const hth_json *v, void *to) {
    anthropic_request *r = to;
    hth_chat_text type;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    if (!hth_fields_need_text(f, v, "type", &type)) return false;
    if (!hth_chat_text_is(type, "json_schema"))
        return hth_fields_refuse(f, "has a type that must be json_schema, not '%.40s'", type.p);
    const hth_json *schema = hth_json_get(v, "schema");
    if (!schema || schema->kind != HTH_JSON_OBJECT)
        return hth_fields_refuse(f, "needs a schema, which is an object");
    r->ask.format = HTH_FORMAT_SCHEMA;
    r->ask.schema = schema;
    r->ask.strict_schema = true;
    return true;
}

static const hth_field output_fields[] = {
    {.name = "effort",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(anthropic_request, effort),
     .help = "how much is thought, where the model can be told"},
    {.name = "format",
     .kind = HTH_FIELD_CUSTOM,
     .words = "object",
     .read = read_format,
     .help = "json_schema: the answer keeps to a schema"},
};

static bool read_output(hth_fields *f, const hth_json *v, void *to) {
    return hth_fields_read(f, output_fields, HTH_COUNT(output_fields), v, to);
}

#define IGNORED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_IGNORED, .help = help_ }
#define CUSTOM(name_, words_, read_, required_, help_)                                                  \
    {                                                                                                   \
        .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .required = required_, \
        .help = help_                                                                                   \
    }

static const hth_field fields[] = {
    {.name = "model",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(anthropic_request, ask.model),
     .required = true,
     .help = "the model's name"},
    CUSTOM("messages", "array", read_messages, true,
           "turns of text, tool_use, tool_result and thinking blocks"),
    {.name = "max_tokens",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(anthropic_request, ask.max_tokens),
     .given = offsetof(anthropic_request, has_max_tokens) + 1,
     .lo = 0,
     .hi = 9e15,
     .required = true,
     .help = "most tokens of the answer, thoughts included"},
    CUSTOM("system", "string|array", read_system, false,
           "the system's text; a first block that changes with each request is left out (P17)"),
    CUSTOM("stop_sequences", "string|array", hth_ask_read_stop, false, "texts that end the answer"),
    {.name = "stream",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(anthropic_request, ask.stream),
     .help = "events as they come"},
    HTH_ASK_SAMPLING("temperature", "0: always the likeliest token"),
    HTH_ASK_SAMPLING("top_k", "choose among the likeliest"),
    HTH_ASK_SAMPLING("top_p", "choose among the likeliest that share this"),
    CUSTOM("tools", "array", read_tools, false,
           "functions; tools that Anthropic runs itself are named in X-Hearth-Ignored"),
    CUSTOM("tool_choice", "object", read_tool_choice, false,
           "auto, any, tool or none; disable_parallel_tool_use"),
    CUSTOM("thinking", "object", read_thinking, false,
           "enabled with a budget, disabled, adaptive; absent: disabled"),
    CUSTOM("output_config", "object", read_output, false, "effort, format"),
    IGNORED("metadata", "there are no accounts"),
    IGNORED("cache_control", "beginnings are always cached"),
    IGNORED("service_tier", "there is one"),
    IGNORED("speed", "it is always as fast as it can"),
    IGNORED("inference_geo", "it is computed here"),
    IGNORED("diagnostics", "see the usage's cache fields"),
    IGNORED("context_management", "nothing is removed from a conversation"),
    IGNORED("user_profile_id", "there are no accounts"),
    IGNORED("workspace_id", "there are no accounts"),
    IGNORED("container", "this server runs no code"),
    {.name = "mcp_servers", .kind = HTH_FIELD_REFUSED, .help = "this server calls no others"},
};
const hth_field_set hth_anthropic_set = {fields, HTH_COUNT(fields)};

// Thoughts are part of max_tokens, so that some must be left for the answer; between calls of tools they may go on.
static bool check_budget(hth_fields *f, const anthropic_request *r) {
    const hth_ask *a = &r->ask;
    if (!r->has_max_tokens || a->thinking_budget <= 0 || a->thinking_budget < a->max_tokens || a->n_tool > 0) return true;
    return hth_refuse(f->fault, HTH_FAULT_BAD_REQUEST, "max_tokens", "'max_tokens' must be greater than 'thinking.budget_tokens'");
}

// What the fields say together.
static void finish(anthropic_request *r) {
    hth_ask *a = &r->ask;
    const bool has_system = r->n_system > 0;
    if (has_system)
        r->messages[0] =
            (hth_chat_message){.role = hth_chat_text_of("system"), .parts = r->system, .n_part = r->n_system};
    a->messages = r->messages + !has_system;
    a->n_message = r->n_message + has_system;
    a->no_output = r->has_max_tokens && a->max_tokens == 0;
    if (r->effort.p && a->thinking != HTH_THINK_OFF) {
        const hth_thinking before = a->thinking;
        (void)hth_ask_set_effort(a, r->effort); // a word that is not known is one of a newer client: no harm
        a->thinking = before;
    }
}

bool anthropic_read(hth_fields *f, const hth_json *root, bool counts_only, anthropic_request *r) {
    static const hth_ask_names names = {.format = "output_config.format"};
    hth_field without[HTH_COUNT(fields)];
    *r = (anthropic_request){0};
    hth_ask_init(&r->ask);
    r->ask.names = &names;
    r->ask.document = f->text;
    r->ask.n_document = f->n_text;
    r->ask.thinking = HTH_THINK_OFF; // as Anthropic has it: thoughts come where they are asked for
    r->ask.usage = r->ask.progress = true;
    memcpy(without, fields, sizeof fields);
    for (size_t i = 0; counts_only && i < HTH_COUNT(without); i++) {
        if (strcmp(without[i].name, "max_tokens") == 0) without[i].required = false;
    }
    if (!hth_fields_read(f, without, HTH_COUNT(without), root, r)) return false;
    finish(r);
    return check_budget(f, r);
}
