// Ollama's requests that compute: chat, generate, embed.
#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "server/body.h"
#include "server/field_sets.h"
#include "server/ollama.h"
#include "server/options.h"

// What a request says; begins with the ask, which the shared readers fill.
typedef struct request {
    hth_ask ask;
    hth_chat_text prompt, system, suffix;
    const int32_t *context; // [n_context] tokens of the conversation before
    size_t n_context;
    hth_ask_prompt one;
    hth_segment segments[2];
    bool raw, render_only, has_messages, has_input;
} request;

static const hth_ask_names names = {.messages = "messages",
                                    .prompt = "prompt",
                                    .tools = "tools",
                                    .tool_choice = "tools",
                                    .format = "format",
                                    .max_tokens = "options.num_predict",
                                    .n = "n",
                                    .suffix = "suffix",
                                    .adapters = "adapters",
                                    .logprobs = "logprobs"};

// ---- readers

// "json", a schema, or "" for neither.
static bool read_format(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind == HTH_JSON_OBJECT) {
        r->ask.format = HTH_FORMAT_SCHEMA;
        r->ask.schema = v;
        r->ask.strict_schema = true;
        return true;
    }
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "\"json\" or a JSON schema");
    if (v->n == 0) return true;
    if (strcmp(v->u.str, "json") != 0) return hth_fields_refuse(f, "must be \"json\" or a JSON schema");
    r->ask.format = HTH_FORMAT_JSON;
    return true;
}

static bool read_tool(hth_fields *f, const hth_json *v, hth_ask_tool *out) {
    const hth_json *function = hth_json_get(v, "function");
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    const size_t mark = hth_fields_enter(f, "function");
    if (!function || function->kind != HTH_JSON_OBJECT) return hth_fields_refuse(f, "must be an object");
    const hth_json *name = hth_json_get(function, "name"),
                   *description = hth_json_get(function, "description");
    const hth_json *parameters = hth_json_get(function, "parameters");
    if (!name || name->kind != HTH_JSON_STRING || name->n == 0)
        return hth_fields_refuse(f, "must have a name");
    if (parameters && parameters->kind != HTH_JSON_OBJECT && parameters->kind != HTH_JSON_NULL) {
        return hth_fields_refuse(f, "has parameters that are no schema");
    }
    hth_fields_leave(f, mark);
    *out = (hth_ask_tool){.kind = HTH_TOOL_FUNCTION, .name = {name->u.str, name->n}};
    if (description && description->kind == HTH_JSON_STRING)
        out->description = (hth_chat_text){description->u.str, description->n};
    if (parameters && parameters->kind == HTH_JSON_OBJECT) out->parameters = parameters;
    return true;
}

static bool read_tools(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    hth_ask_tool *tools = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *tools);
    if (!tools) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!read_tool(f, &v->u.items[i], &tools[i])) return false;
        hth_fields_leave(f, mark);
    }
    r->ask.tools = tools;
    r->ask.n_tool = v->n;
    return true;
}

static bool read_messages(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    r->has_messages = true;
    return hth_options_read_messages(f, v, &r->ask);
}

// true: the middle of a prompt that is too long goes. Not saying it is asking for an error: nothing is cut
// unseen.
static bool read_truncate(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_BOOL) return hth_fields_refuse_kind(f, v, "a boolean");
    if (r->ask.overflow != HTH_OVERFLOW_ROLLING)
        r->ask.overflow = v->u.b ? HTH_OVERFLOW_TRUNCATE_MIDDLE : HTH_OVERFLOW_ERROR;
    return true;
}

static bool read_shift(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_BOOL) return hth_fields_refuse_kind(f, v, "a boolean");
    if (v->u.b) r->ask.overflow = HTH_OVERFLOW_ROLLING;
    return true;
}

static bool read_context(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    return hth_fields_read_ids(f, v, 0, INT32_MAX, &r->context, &r->n_context);
}

// One text or many.
static bool read_input(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    const hth_chat_text *texts;
    size_t n;
    if (!hth_fields_read_texts(f, v, &texts, &n)) return false;
    if (v->kind == HTH_JSON_STRING && v->n == 0) n = 0;
    hth_ask_prompt *prompts = hth_arena_alloc(f->arena, n + 1, sizeof *prompts);
    hth_segment *segments = hth_arena_alloc(f->arena, n + 1, sizeof *segments);
    if (!prompts || !segments) return hth_fields_no_memory(f);
    for (size_t i = 0; i < n; i++) {
        segments[i] = (hth_segment){.text = texts[i].p, .n_text = texts[i].n, .is_user = true};
        prompts[i] = (hth_ask_prompt){&segments[i], 1};
    }
    r->ask.prompts = prompts;
    r->ask.n_prompt = n;
    r->has_input = true;
    return true;
}

#define CUSTOM(name_, words_, read_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .help = help_ }
#define TEXT(name_, member_, help_) \
    { .name = name_, .kind = HTH_FIELD_TEXT, .offset = offsetof(request, member_), .help = help_ }
#define BOOL(name_, member_, help_) \
    { .name = name_, .kind = HTH_FIELD_BOOL, .offset = offsetof(request, member_), .help = help_ }
#define REFUSED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_REFUSED, .help = help_ }

#define COMMON                                                                     \
    TEXT("model", ask.model, "a name, with or without tag"),                       \
        CUSTOM("options", "object", hth_options_read, "see the table of options"), \
        CUSTOM("keep_alive", "string|number", hth_ask_read_keep_alive,             \
               "how long the model stays: \"5m\", 300, -1, 0")

#define GENERATING                                                                           \
    BOOL("stream", ask.stream, "true where it is not given"),                                \
        CUSTOM("format", "string|object", read_format,                                       \
               "\"json\" or a JSON schema, which is obeyed or refused"),                     \
        CUSTOM("think", "boolean|string", hth_ask_read_think,                                \
               "true, false, \"low\", \"medium\", \"high\", \"max\""),                       \
        CUSTOM("truncate", "boolean", read_truncate,                                         \
               "true: a prompt that is too long loses its middle; else it is an error"),     \
        CUSTOM("shift", "boolean", read_shift,                                               \
               "true: the oldest tokens go when the context is full; else the answer ends"), \
        BOOL("logprobs", ask.logprobs, "with each token's text"),                           \
        {.name = "top_logprobs",                                                             \
         .kind = HTH_FIELD_INT,                                                              \
         .offset = offsetof(request, ask.n_top),                                             \
         .lo = 0,                                                                            \
         .hi = 20,                                                                           \
         .help = "alternatives with each logprob"},                                          \
        BOOL("_debug_render_only", render_only,                                              \
             "true: answers with the prompt, _debug_info.rendered_template")

static const hth_field chat_fields[] = {
    COMMON,
    GENERATING,
    CUSTOM("messages", "array", read_messages, "none: the model is loaded"),
    CUSTOM("tools", "array", read_tools, "functions that the model may call"),
};
const hth_field_set hth_ollama_chat_set = {chat_fields, HTH_COUNT(chat_fields)};

static const hth_field generate_fields[] = {
    COMMON,
    GENERATING,
    TEXT("prompt", prompt, "none: the model is loaded"),
    TEXT("suffix", suffix, "the text behind what is to be written"),
    TEXT("system", system, "in place of the model's own"),
    BOOL("raw", raw, "the prompt as it is, without the model's template"),
    CUSTOM("context", "array", read_context, "what an answer before gave: the conversation goes on"),
    REFUSED("template", "templates are Jinja and belong to a created model"),
    REFUSED("images", "models take text only"),
};
const hth_field_set hth_ollama_generate_set = {generate_fields, HTH_COUNT(generate_fields)};

static const hth_field embed_fields[] = {
    COMMON,
    CUSTOM("input", "string|array", read_input, "one text or many"),
    CUSTOM("truncate", "boolean", read_truncate,
           "true, as where it is not given: a text that is too long loses its end"),
    {.name = "dimensions",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(request, ask.dimensions),
     .lo = 0,
     .hi = 1 << 20,
     .help = "the first so many numbers, normalized again"},
};
const hth_field_set hth_ollama_embed_set = {embed_fields, HTH_COUNT(embed_fields)};

static const hth_field embeddings_fields[] = {
    COMMON,
    CUSTOM("prompt", "string", read_input, "one text"),
};
const hth_field_set hth_ollama_embeddings_set = {embeddings_fields, HTH_COUNT(embeddings_fields)};

const hth_field *ollama_chat_fields(size_t *n) {
    *n = HTH_COUNT(chat_fields);
    return chat_fields;
}

const hth_field *ollama_generate_fields(size_t *n) {
    *n = HTH_COUNT(generate_fields);
    return generate_fields;
}

const hth_field *ollama_embed_fields(size_t *n) {
    *n = HTH_COUNT(embed_fields);
    return embed_fields;
}

// ---- chat and generate

typedef struct work {
    hth_server *s;
    hth_exchange *x;
    hth_fields f;
    hth_fault fault;
    request *r;
    ollama_reply *reply;
    const hth_card *card; // held
} work;

static void free_reply(void *reply) {
    ollama_reply *r = reply;
    hth_str_free(&r->context);
    hth_str_free(&r->logprobs);
    hth_str_free(&r->arguments);
}

// Reads the body and finds the model.
static bool begin(work *w, const hth_field *table, size_t n, bool is_chat) {
    const hth_json *root;
    hth_arena *arena = hth_exchange_arena(w->x);
    w->r = hth_arena_alloc(arena, 1, sizeof *w->r);
    w->reply = hth_arena_alloc(arena, 1, sizeof *w->reply);
    if (!w->r || !w->reply || !hth_exchange_keep(w->x, w->reply, free_reply)) {
        return hth_refuse(&w->fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    }
    hth_str_init(&w->reply->context, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_str_init(&w->reply->logprobs, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_str_init(&w->reply->arguments, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_ask_init(&w->r->ask);
    w->r->ask.names = &names;
    w->r->ask.stream = true;
    w->r->ask.usage = true;
    if (table == embed_fields) w->r->ask.overflow = HTH_OVERFLOW_TRUNCATE_MIDDLE;
    if (!hth_body_read(w->x, &w->f, &root, &w->fault)) return false;
    w->r->ask.document = w->f.text;
    w->r->ask.n_document = w->f.n_text;
    if (!hth_fields_read(&w->f, table, n, root, w->r)) return false;
    if (!ollama_find(w->s, w->r->ask.model, &w->card, &w->fault)) return false;
    hth_call_take_script(w->s, w->x, &w->r->ask);
    w->reply->is_chat = is_chat;
    w->reply->model = w->r->ask.model.p;
    w->reply->wants_logprobs = w->r->ask.logprobs;
    w->reply->dimensions = w->r->ask.dimensions;
    return true;
}

static bool check_abilities(work *w, const char *what) {
    const request *r = w->r;
    const unsigned can = w->card->abilities;
    const char *model = r->ask.model.p;
    if (!(can & HTH_CAN_COMPLETE)) {
        return hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "model", "\"%.100s\" does not support %s", model,
                          what);
    }
    if (r->ask.n_tool > 0 && !(can & HTH_CAN_TOOLS)) {
        return hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "tools", "\"%.100s\" does not support tools",
                          model);
    }
    if (r->suffix.n > 0 && !(can & HTH_CAN_INFILL)) {
        return hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "suffix", "\"%.100s\" does not support insert",
                          model);
    }
    if (r->ask.thinking == HTH_THINK_ON && !(can & HTH_CAN_THINK)) {
        return hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "think", "\"%.100s\" does not support thinking",
                          model);
    }
    return true;
}

// Nothing to compute: the model is loaded, or unloaded with a keep_alive of 0.
static void only_load(work *w) {
    uint64_t load_ns;
    if (w->r->ask.keep_alive_ms == 0) {
        ollama_unload(w->s, w->r->ask.model.p);
        ollama_reply_loaded(w->x, w->reply, "unload");
    } else if (ollama_load(w->s, w->x, &w->r->ask, &load_ns, &w->fault)) {
        ollama_reply_loaded(w->x, w->reply, "load");
    } else {
        ollama_refuse(w->x, &w->fault);
    }
}

static void reply_rendered(work *w) {
    hth_str text, body;
    hth_str_init(&text, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_str_init(&body, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    if (w->r->ask.kind == HTH_ASK_TEXT) {
        hth_str_append(&text, w->r->prompt.p, w->r->prompt.n);
    } else if (!hth_call_render(w->s, w->x, &w->r->ask, &text, &w->fault)) {
        hth_str_free(&text);
        ollama_refuse(w->x, &w->fault);
        return;
    }
    hth_json_out j = hth_json_out_make(&body, false);
    char now[OLLAMA_TIME];
    ollama_time(hth_clock_unix_ns(), now);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "model", w->reply->model);
    hth_json_out_text(&j, "created_at", now);
    hth_json_out_begin(&j, "_debug_info", '{');
    hth_json_out_str(&j, "rendered_template", hth_str_text(&text), text.len);
    hth_json_out_end(&j, '}');
    hth_json_out_end(&j, '}');
    ollama_reply_json(w->x, 200, &body);
    hth_str_free(&text);
}

static void run(work *w) {
    if (w->r->render_only)
        reply_rendered(w);
    else
        hth_call_serve(w->s, w->x, &w->r->ask, w->f.ignored, &ollama_text_printer, w->reply);
}

static void end(work *w, bool ok) {
    if (!ok) ollama_refuse(w->x, &w->fault);
    hth_card_drop(w->card);
}

void ollama_chat(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    work w = {.s = s, .x = x};
    bool ok = begin(&w, chat_fields, HTH_COUNT(chat_fields), true);
    if (ok && w.r->ask.n_message == 0) {
        only_load(&w);
    } else {
        ok = ok && check_abilities(&w, "chat");
        if (ok) run(&w);
    }
    end(&w, ok);
}

// A prompt through the model's template: a chat of one turn.
static bool make_chat(work *w) {
    request *r = w->r;
    hth_chat_message *messages = hth_arena_alloc(hth_exchange_arena(w->x), 2, sizeof *messages);
    hth_chat_part *parts = hth_arena_alloc(hth_exchange_arena(w->x), 2, sizeof *parts);
    size_t n = 0;
    if (!messages || !parts)
        return hth_refuse(&w->fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (r->system.n > 0) {
        parts[n] = (hth_chat_part){HTH_CHAT_PART_TEXT, r->system};
        messages[n] = (hth_chat_message){.role = hth_chat_text_of("system"), .parts = &parts[n], .n_part = 1};
        n++;
    }
    parts[n] = (hth_chat_part){HTH_CHAT_PART_TEXT, r->prompt};
    messages[n] = (hth_chat_message){.role = hth_chat_text_of("user"), .parts = &parts[n], .n_part = 1};
    r->ask.kind = HTH_ASK_CHAT;
    r->ask.messages = messages;
    r->ask.n_message = n + 1;
    r->segments[0] = (hth_segment){.tokens = r->context, .n_token = r->n_context};
    r->ask.before = (hth_ask_prompt){r->segments, r->n_context > 0};
    return true;
}

static bool make_prompt(work *w) {
    request *r = w->r;
    w->reply->wants_context = r->ask.tokens = r->ask.prompt_tokens = !r->raw && r->suffix.n == 0;
    if (r->raw && (r->system.n > 0 || r->n_context > 0)) {
        return hth_refuse(&w->fault, HTH_FAULT_BAD_REQUEST, "raw",
                          "raw mode does not support template, system, or context");
    }
    if (!r->raw && r->suffix.n == 0 && (w->card->abilities & HTH_CAN_CHAT)) return make_chat(w);
    size_t n = 0;
    if (r->n_context > 0) r->segments[n++] = (hth_segment){.tokens = r->context, .n_token = r->n_context};
    r->segments[n++] = (hth_segment){.text = r->prompt.p, .n_text = r->prompt.n};
    r->one = (hth_ask_prompt){r->segments, n};
    r->ask.no_special = r->n_context > 0; // the conversation begins with what it needs
    r->ask.kind = HTH_ASK_TEXT;
    r->ask.prompts = &r->one;
    r->ask.n_prompt = 1;
    if (r->suffix.n > 0) r->ask.suffix = r->suffix;
    return true;
}

void ollama_generate(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    work w = {.s = s, .x = x};
    bool ok = begin(&w, generate_fields, HTH_COUNT(generate_fields), false);
    if (ok && w.r->prompt.n == 0 && w.r->suffix.n == 0) {
        only_load(&w);
    } else {
        ok = ok && check_abilities(&w, "generate") && make_prompt(&w);
        if (ok) run(&w);
    }
    end(&w, ok);
}

// ---- embeddings

static void embed(hth_server *s, hth_exchange *x, const hth_field *table, size_t n,
                  const hth_printer *printer) {
    work w = {.s = s, .x = x};
    bool ok = begin(&w, table, n, false);
    const bool is_old = printer == &ollama_embeddings_printer;
    if (ok) {
        w.r->ask.kind = HTH_ASK_EMBED;
        w.r->ask.stream = false;
        w.r->ask.no_normalize = is_old;
    }
    if (ok && w.r->ask.n_prompt == 0) {
        uint64_t load_ns;
        ok = ollama_load(s, x, &w.r->ask, &load_ns, &w.fault);
        hth_str body;
        hth_str_init(&body, HTH_MEM_SERVER, 4096);
        hth_json_out j = hth_json_out_make(&body, false);
        hth_json_out_begin(&j, NULL, '{');
        if (!is_old) hth_json_out_text(&j, "model", w.reply->model);
        hth_json_out_begin(&j, is_old ? "embedding" : "embeddings", '[');
        hth_json_out_end(&j, ']');
        hth_json_out_end(&j, '}');
        if (ok) ollama_reply_json(x, 200, &body);
        hth_str_free(&body);
    } else if (ok) {
        hth_call_serve(s, x, &w.r->ask, w.f.ignored, printer, w.reply);
    }
    end(&w, ok);
}

void ollama_embed(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    embed(s, x, embed_fields, HTH_COUNT(embed_fields), &ollama_embed_printer);
}

void ollama_embeddings(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    embed(s, x, embeddings_fields, HTH_COUNT(embeddings_fields), &ollama_embeddings_printer);
}
