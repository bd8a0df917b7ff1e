// Options and messages in Ollama's shape.
#include "server/options.h"

#include <math.h>
#include <string.h>

#define MAX_PRESET_TREE ((uint64_t)256 << 20)

// ---- options

// Below zero: any seed.
static bool read_seed(hth_fields *f, const hth_json *v, void *to) {
    if (v->kind == HTH_JSON_NUMBER && v->u.num.d < 0) return true;
    return hth_ask_read_sampling(f, v, to);
}

// Ollama truncates numbers with a fraction.
static bool read_whole(hth_fields *f, const hth_json *v, double lo, double hi, int64_t *out) {
    if (v->kind != HTH_JSON_NUMBER || !isfinite(v->u.num.d)) return hth_fields_refuse_kind(f, v, "a number");
    if (v->u.num.d < lo || v->u.num.d > hi) return hth_fields_refuse(f, "must be from %.0f to %.0f", lo, hi);
    *out = (int64_t)v->u.num.d;
    return true;
}

// -1: no limit, -2: as much as the context holds.
static bool read_num_predict(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    int64_t n;
    if (!read_whole(f, v, -2, 1e12, &n)) return false;
    a->max_tokens = n > 0 ? n : 0;
    return true;
}

static bool read_num_ctx(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    return read_whole(f, v, 0, 1e12, &a->n_ctx);
}

static bool read_num_keep(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (!read_whole(f, v, -1, 1e12, &a->n_keep)) return false;
    if (a->n_keep < 0) a->n_keep = 0; // by itself: the beginning that a template writes
    return true;
}

static bool read_draft(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (!read_whole(f, v, 0, 1e6, &a->n_draft)) return false;
    a->n_draft = a->n_draft == 0 ? -1 : a->n_draft > 31 ? 31 : a->n_draft;
    return true;
}

#define CUSTOM(name_, words_, read_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .help = help_ }
#define IGNORED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_IGNORED, .help = help_ }

static const hth_field fields[] = {
    CUSTOM("num_ctx", "number", read_num_ctx, "tokens of context, at least; no model is loaded anew for it"),
    CUSTOM("num_predict", "number", read_num_predict,
           "most tokens of the answer; -1, -2, 0: as many as the context holds"),
    CUSTOM("num_keep", "number", read_num_keep, "tokens that stay at the beginning when something has to go"),
    CUSTOM("seed", "number", read_seed, "below 0: another one each time"),
    HTH_ASK_SAMPLING("temperature", "0: the likeliest token"),
    HTH_ASK_SAMPLING("top_k", "0: off"),
    HTH_ASK_SAMPLING("top_p", "1: off"),
    HTH_ASK_SAMPLING("min_p", "0: off"),
    HTH_ASK_SAMPLING("typical_p", "1: off"),
    HTH_ASK_SAMPLING("repeat_last_n", "tokens that the penalties look back on; -1: all, 0: off"),
    HTH_ASK_SAMPLING("repeat_penalty", "1: off"),
    HTH_ASK_SAMPLING("presence_penalty", "0: off"),
    HTH_ASK_SAMPLING("frequency_penalty", "0: off"),
    CUSTOM("stop", "string|array", hth_ask_read_stop, "texts that end the answer"),
    CUSTOM("draft_num_predict", "number", read_draft, "tokens that are guessed per step; 0: none"),
    // Not Ollama's, but asked for by its users.
    HTH_ASK_SAMPLING("mirostat", "1 or 2: in place of the other filters"),
    HTH_ASK_SAMPLING("mirostat_tau", "its target"),
    HTH_ASK_SAMPLING("mirostat_eta", "its rate"),
    HTH_ASK_SAMPLING("top_n_sigma", "0: off"),
    HTH_ASK_SAMPLING("xtc_probability", "0: off"),
    HTH_ASK_SAMPLING("xtc_threshold", "above 0.5: off"),
    HTH_ASK_SAMPLING("dry_multiplier", "0: off"),
    HTH_ASK_SAMPLING("dry_base", ""),
    HTH_ASK_SAMPLING("dry_allowed_length", ""),
    HTH_ASK_SAMPLING("dry_penalty_last_n", ""),
    HTH_ASK_SAMPLING("dynatemp_range", "0: off"),
    HTH_ASK_SAMPLING("dynatemp_exponent", ""),
    CUSTOM("logit_bias", "object|array", hth_ask_read_bias,
           "tokens or texts that are made likelier; false bans"),
    CUSTOM("samplers", "string|array", hth_ask_read_samplers, "the order of the filters"),
    IGNORED("num_batch", "chunks are cut by time"),
    IGNORED("num_gpu", "the server decides"),
    IGNORED("main_gpu", "the server decides"),
    IGNORED("num_thread", "all models share the server's threads"),
    IGNORED("use_mmap", "a setting of the server: --no-mmap"),
    IGNORED("use_mlock", "a setting of the server: --no-mmap reads weights into memory"),
    IGNORED("low_vram", "the server decides"),
    IGNORED("numa", "the server decides"),
    IGNORED("f16_kv", "a setting of the server"),
    IGNORED("vocab_only", "has no meaning here"),
    IGNORED("logits_all", "has no meaning here"),
    IGNORED("embedding_only", "has no meaning here"),
    IGNORED("penalize_newline", "Ollama has dropped it"),
    IGNORED("tfs_z", "Ollama has dropped it"),
};

const hth_field *hth_options_fields(size_t *n) {
    *n = HTH_COUNT(fields);
    return fields;
}

bool hth_options_read(hth_fields *f, const hth_json *v, void *to) {
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    return hth_fields_read(f, fields, HTH_COUNT(fields), v, to);
}

// ---- messages

typedef struct message_list {
    hth_chat_message *messages;
    size_t n;
} message_list;

static bool take_text(hth_fields *f, const hth_json *v, const char *key, hth_chat_text *out) {
    const hth_json *text = hth_json_get(v, key);
    *out = (hth_chat_text){NULL, 0};
    if (!text || text->kind == HTH_JSON_NULL) return true;
    const size_t mark = hth_fields_enter(f, key);
    if (text->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, text, "a string");
    hth_fields_leave(f, mark);
    *out = (hth_chat_text){text->u.str, text->n};
    return true;
}

// Arguments are an object; OpenAI's clients send JSON in a string, which is as good.
static bool take_call(hth_fields *f, const hth_json *v, hth_chat_call *out) {
    const hth_json *function = hth_json_get(v, "function"), *arguments = hth_json_get(function, "arguments");
    *out = (hth_chat_call){.arguments = hth_chat_text_of("{}")};
    if (!take_text(f, v, "id", &out->id)) return false;
    const size_t mark = hth_fields_enter(f, "function");
    if (!function || function->kind != HTH_JSON_OBJECT)
        return hth_fields_refuse(f, "must be an object with name and arguments");
    if (!take_text(f, function, "name", &out->name)) return false;
    if (!out->name.p) return hth_fields_refuse(f, "must have a name");
    if (!out->id.p) out->id = hth_chat_text_of("");
    hth_fields_leave(f, mark);
    if (!arguments || arguments->kind == HTH_JSON_NULL) return true;
    if (arguments->kind == HTH_JSON_STRING)
        out->arguments = (hth_chat_text){arguments->u.str, arguments->n};
    else
        out->arguments = hth_fields_source(f, arguments);
    return true;
}

static bool take_calls(hth_fields *f, const hth_json *v, hth_chat_message *out) {
    const hth_json *calls = hth_json_get(v, "tool_calls");
    if (!calls || calls->kind == HTH_JSON_NULL) return true;
    const size_t mark = hth_fields_enter(f, "tool_calls");
    if (calls->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, calls, "an array");
    hth_chat_call *list = hth_arena_alloc(f->arena, (size_t)calls->n + 1, sizeof *list);
    if (!list) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < calls->n; i++) {
        const size_t inner = hth_fields_enter_item(f, i);
        if (!take_call(f, &calls->u.items[i], &list[i])) return false;
        hth_fields_leave(f, inner);
    }
    hth_fields_leave(f, mark);
    out->calls = list;
    out->n_call = calls->n;
    return true;
}

// The text, and a part for each picture: who cannot look at them says so.
static bool take_parts(hth_fields *f, const hth_json *v, hth_chat_message *out) {
    const hth_json *images = hth_json_get(v, "images");
    hth_chat_text content;
    if (!take_text(f, v, "content", &content)) return false;
    size_t n = 0;
    if (images && images->kind != HTH_JSON_NULL) {
        const size_t mark = hth_fields_enter(f, "images");
        if (images->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, images, "an array");
        n = images->n;
        hth_fields_leave(f, mark);
    }
    hth_chat_part *parts = hth_arena_alloc(f->arena, n + 1, sizeof *parts);
    if (!parts) return hth_fields_no_memory(f);
    parts[0] = (hth_chat_part){HTH_CHAT_PART_TEXT, content.p ? content : hth_chat_text_of("")};
    for (size_t i = 0; i < n; i++) parts[i + 1] = (hth_chat_part){.kind = HTH_CHAT_PART_IMAGE};
    out->parts = parts;
    out->n_part = n + 1;
    return true;
}

static bool take_message(hth_fields *f, const hth_json *v, hth_chat_message *out) {
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    *out = (hth_chat_message){0};
    if (!take_text(f, v, "role", &out->role) || !take_text(f, v, "thinking", &out->reasoning) ||
        !take_text(f, v, "tool_name", &out->name) || !take_text(f, v, "tool_call_id", &out->call_id)) {
        return false;
    }
    if (!out->name.p && !take_text(f, v, "name", &out->name)) return false;
    if (!out->role.p) return hth_fields_refuse(f, "must have a role");
    char *role = hth_arena_strndup(f->arena, out->role.p, out->role.n);
    if (!role) return hth_fields_no_memory(f);
    for (char *p = role; *p; p++) *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    out->role.p = role;
    static const char *const known[] = {"system", "developer", "user", "assistant", "tool", "function"};
    bool is_known = false;
    for (size_t i = 0; i < HTH_COUNT(known); i++) is_known = is_known || strcmp(role, known[i]) == 0;
    if (!is_known) {
        (void)hth_fields_enter(f, "role");
        return hth_fields_refuse(f, "must be one of system, user, assistant, tool, not \"%.40s\"", role);
    }
    return take_parts(f, v, out) && take_calls(f, v, out);
}

bool hth_options_read_messages(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    hth_chat_message *list = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *list);
    if (!list) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const size_t mark = hth_fields_enter_item(f, i);
        if (!take_message(f, &v->u.items[i], &list[i])) return false;
        hth_fields_leave(f, mark);
    }
    a->messages = list;
    a->n_message = v->n;
    return true;
}

// ---- created models

// A text of the model's as JSON into an ask of its own. The document must outlive what is read.
static bool read_own(const char *text, bool (*read)(hth_fields *, const hth_json *, void *), hth_arena *arena,
                     hth_ask *own, hth_fault *fault) {
    hth_json_doc *doc;
    hth_err err;
    const size_t n = strlen(text);
    if (hth_json_parse(text, n, MAX_PRESET_TREE, &doc, &err) != HTH_OK)
        return hth_refuse_err(fault, &err, NULL);
    hth_fields f = {.arena = arena, .text = text, .n_text = n, .fault = fault};
    const bool ok = read(&f, hth_json_root(doc), own);
    hth_json_free(doc);
    return ok;
}

static hth_chat_text keep(hth_arena *arena, hth_chat_text text, bool *ok) {
    if (!text.p) return text;
    const char *own = hth_arena_strndup(arena, text.p, text.n);
    *ok = *ok && own;
    return (hth_chat_text){own, text.n};
}

// Moves what stops are made of from the document, which goes, to the arena.
static bool keep_stops(hth_arena *arena, hth_ask *own) {
    hth_bytes *stop = hth_arena_alloc(arena, own->n_stop + 1, sizeof *stop);
    bool ok = stop != NULL;
    for (size_t i = 0; ok && i < own->n_stop; i++) {
        const hth_chat_text text = keep(arena, (hth_chat_text){own->stop[i].p, own->stop[i].n}, &ok);
        stop[i] = (hth_bytes){text.p, text.n};
    }
    own->stop = stop;
    return ok;
}

static bool lay_options(const char *json, hth_arena *arena, hth_ask *a, hth_fault *fault) {
    hth_ask own;
    hth_ask_init(&own);
    if (!read_own(json, hth_options_read, arena, &own, fault)) return false;
    if (!keep_stops(arena, &own))
        return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    // The ask's own values over the model's, then all of them are given.
    hth_ask_lay_sampling(a, &own.sampling);
    own.sampling_given |= a->sampling_given;
    a->sampling = own.sampling;
    a->sampling_given = own.sampling_given;
    if (a->max_tokens == 0 && !a->no_output) a->max_tokens = own.max_tokens;
    if (a->n_ctx == 0) a->n_ctx = own.n_ctx;
    if (a->n_keep == 0) a->n_keep = own.n_keep;
    if (a->n_draft == 0) a->n_draft = own.n_draft;
    if (a->n_stop == 0) {
        a->stop = own.stop;
        a->n_stop = own.n_stop;
    }
    return true;
}

static bool keep_message(hth_arena *arena, const hth_chat_message *from, hth_chat_message *to) {
    bool ok = true;
    hth_chat_part *part = hth_arena_alloc(arena, 1, sizeof *part);
    hth_chat_call *calls = hth_arena_alloc(arena, from->n_call + 1, sizeof *calls);
    if (!part || !calls) return false;
    *part = (hth_chat_part){HTH_CHAT_PART_TEXT, keep(arena, from->parts[0].text, &ok)};
    for (size_t i = 0; i < from->n_call; i++) {
        calls[i] = (hth_chat_call){.id = keep(arena, from->calls[i].id, &ok),
                                   .name = keep(arena, from->calls[i].name, &ok),
                                   .arguments = keep(arena, from->calls[i].arguments, &ok)};
    }
    *to = *from;
    to->role = keep(arena, from->role, &ok);
    to->reasoning = keep(arena, from->reasoning, &ok);
    to->name = keep(arena, from->name, &ok);
    to->call_id = keep(arena, from->call_id, &ok);
    to->parts = part;
    to->n_part = 1;
    to->calls = calls;
    return ok;
}

// A reader of messages that survive their document.
static bool read_lasting_messages(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (!hth_options_read_messages(f, v, to)) return false;
    hth_chat_message *list = hth_arena_alloc(f->arena, a->n_message + 1, sizeof *list);
    if (!list) return hth_fields_no_memory(f);
    for (size_t i = 0; i < a->n_message; i++) {
        if (!keep_message(f->arena, &a->messages[i], &list[i])) return hth_fields_no_memory(f);
    }
    a->messages = list;
    return true;
}

// The system text, unless the ask begins with one of its own; then the model's messages, then the ask's.
static bool lay_messages(const hth_preset *p, hth_arena *arena, hth_ask *a, hth_fault *fault) {
    hth_ask own;
    hth_ask_init(&own);
    if (p->messages_json && !read_own(p->messages_json, read_lasting_messages, arena, &own, fault))
        return false;
    const bool has_system = a->n_message > 0 && (strcmp(a->messages[0].role.p, "system") == 0 ||
                                                 strcmp(a->messages[0].role.p, "developer") == 0);
    const size_t n_system = p->system && p->system[0] && !has_system ? 1 : 0;
    if (n_system + own.n_message == 0) return true;
    hth_chat_message *all = hth_arena_alloc(arena, n_system + own.n_message + a->n_message, sizeof *all);
    hth_chat_part *part = hth_arena_alloc(arena, 1, sizeof *part);
    if (!all || !part) return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    size_t n = 0;
    const size_t n_head = has_system && own.n_message > 0 ? 1 : 0; // the ask's system message stays in front
    *part = (hth_chat_part){HTH_CHAT_PART_TEXT, hth_chat_text_of(p->system ? p->system : "")};
    if (n_system)
        all[n++] = (hth_chat_message){.role = hth_chat_text_of("system"), .parts = part, .n_part = 1};
    for (size_t i = 0; i < n_head; i++) all[n++] = a->messages[i];
    for (size_t i = 0; i < own.n_message; i++) all[n++] = own.messages[i];
    for (size_t i = n_head; i < a->n_message; i++) all[n++] = a->messages[i];
    a->messages = all;
    a->n_message = n;
    return true;
}

bool hth_preset_lay(const hth_preset *p, hth_arena *arena, hth_ask *a, hth_fault *fault) {
    if (p->options_json && !lay_options(p->options_json, arena, a, fault)) return false;
    return a->kind != HTH_ASK_CHAT || lay_messages(p, arena, a, fault);
}
