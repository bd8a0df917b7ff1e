// Messages from JSON, and to the values that templates read.
#include "chat/message.h"

#include <string.h>

#include "base/attr.h"

#define MAX_ARGUMENTS ((uint64_t)64 << 20)

// ---- from JSON ----

static hth_code copy_text(hth_arena *a, const hth_json *v, hth_chat_text *out, hth_err *err) {
    *out = (hth_chat_text){NULL, 0};
    if (!v || v->kind != HTH_JSON_STRING) return HTH_OK;
    out->p = hth_arena_strndup(a, v->u.str, v->n);
    out->n = v->n;
    return out->p ? HTH_OK : hth_fail_nomem(err, v->n);
}

// Objects are kept as their own text.
static hth_code source_of(hth_arena *a, const hth_json *v, const char *text, size_t n, hth_chat_text *out,
                          hth_err *err) {
    out->n = hth_json_extent(text, n, v);
    out->p = hth_arena_strndup(a, text + v->pos, out->n);
    return out->p ? HTH_OK : hth_fail_nomem(err, out->n);
}

static bool is_kind(const char *type, const char *const *names) {
    for (; *names; names++) {
        if (strcmp(type, *names) == 0) return true;
    }
    return false;
}

static hth_code read_part(hth_arena *a, const hth_json *v, size_t i, hth_chat_part *out, hth_err *err) {
    static const char *const texts[] = {"text", "input_text", "output_text", "refusal", NULL},
                      *const images[] = {"image", "image_url", "input_image", NULL},
                      *const audios[] = {"audio", "audio_url", "input_audio", NULL},
                      *const videos[] = {"video", "video_url", "input_video", NULL},
                      *const files[] = {"file", "input_file", NULL};
    if (v->kind == HTH_JSON_STRING) {
        out->kind = HTH_CHAT_PART_TEXT;
        return copy_text(a, v, &out->text, err);
    }
    const char *type = hth_json_str(v, "type", "", NULL);
    if (!*type && hth_json_get(v, "text")) type = "text";
    if (is_kind(type, texts)) {
        out->kind = HTH_CHAT_PART_TEXT;
        const hth_json *text = hth_json_get(v, "text");
        return copy_text(a, text ? text : hth_json_get(v, "refusal"), &out->text, err);
    }
    if (!is_kind(type, images) && !is_kind(type, audios) && !is_kind(type, videos) && !is_kind(type, files)) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "message %zu has a part of the unknown type '%.60s'", i, type);
    }
    out->kind = is_kind(type, images)   ? HTH_CHAT_PART_IMAGE
                : is_kind(type, audios) ? HTH_CHAT_PART_AUDIO
                : is_kind(type, videos) ? HTH_CHAT_PART_VIDEO
                                        : HTH_CHAT_PART_FILE;
    const hth_json *inner = hth_json_get(v, type);
    const hth_json *url = inner && inner->kind == HTH_JSON_OBJECT ? hth_json_get(inner, "url") : inner;
    return copy_text(a, url ? url : hth_json_get(v, "url"), &out->text, err);
}

static hth_code read_parts(hth_arena *a, const hth_json *v, size_t i, hth_chat_message *m, hth_err *err) {
    if (!v || v->kind == HTH_JSON_NULL) return HTH_OK;
    bool is_list = v->kind == HTH_JSON_ARRAY;
    if (!is_list && v->kind != HTH_JSON_STRING) {
        return hth_fail(err, HTH_ERR_RANGE, "message %zu: the content must be a string or a list of parts", i);
    }
    size_t n = is_list ? v->n : 1;
    hth_chat_part *parts = hth_arena_alloc(a, n + 1, sizeof *parts);
    if (!parts) return hth_fail_nomem(err, n * sizeof *parts);
    for (size_t k = 0; k < n; k++) HTH_TRY(read_part(a, is_list ? &v->u.items[k] : v, i, &parts[k], err));
    m->parts = parts;
    m->n_part = n;
    return HTH_OK;
}

static hth_code read_calls(hth_arena *a, const hth_json *v, const char *text, size_t n, size_t i,
                           hth_chat_message *m, hth_err *err) {
    if (!v || v->kind != HTH_JSON_ARRAY) return HTH_OK;
    hth_chat_call *calls = hth_arena_alloc(a, (size_t)v->n + 1, sizeof *calls);
    if (!calls) return hth_fail_nomem(err, v->n * sizeof *calls);
    for (uint32_t k = 0; k < v->n; k++) {
        const hth_json *call = &v->u.items[k], *f = hth_json_get(call, "function");
        if (!f) f = call;
        HTH_TRY(copy_text(a, hth_json_get(call, "id"), &calls[k].id, err));
        HTH_TRY(copy_text(a, hth_json_get(f, "name"), &calls[k].name, err));
        if (!calls[k].name.p) return hth_fail(err, HTH_ERR_RANGE, "message %zu: call %u has no name", i, k);
        const hth_json *arguments = hth_json_get(f, "arguments");
        if (arguments && arguments->kind == HTH_JSON_OBJECT) {
            HTH_TRY(source_of(a, arguments, text, n, &calls[k].arguments, err));
        } else {
            HTH_TRY(copy_text(a, arguments, &calls[k].arguments, err));
        }
        if (!calls[k].arguments.p || calls[k].arguments.n == 0) calls[k].arguments = hth_chat_text_of("{}");
    }
    m->calls = calls;
    m->n_call = v->n;
    return HTH_OK;
}

static const hth_json *reasoning_of(const hth_json *m) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        const hth_json *v = hth_json_get(m, names[i]);
        if (v && v->kind == HTH_JSON_STRING) return v;
    }
    return NULL;
}

hth_code hth_chat_messages_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                                     hth_chat_message **out, size_t *n_out, hth_err *err) {
    if (!v || v->kind != HTH_JSON_ARRAY) return hth_fail(err, HTH_ERR_RANGE, "messages must be a JSON array");
    hth_chat_message *messages = hth_arena_alloc(a, (size_t)v->n + 1, sizeof *messages);
    if (!messages) return hth_fail_nomem(err, v->n * sizeof *messages);
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *m = &v->u.items[i];
        if (m->kind != HTH_JSON_OBJECT) return hth_fail(err, HTH_ERR_RANGE, "message %u is not an object", i);
        HTH_TRY(copy_text(a, hth_json_get(m, "role"), &messages[i].role, err));
        if (!messages[i].role.p) return hth_fail(err, HTH_ERR_RANGE, "message %u has no role", i);
        HTH_TRY(read_parts(a, hth_json_get(m, "content"), i, &messages[i], err));
        HTH_TRY(read_calls(a, hth_json_get(m, "tool_calls"), text, n, i, &messages[i], err));
        HTH_TRY(copy_text(a, hth_json_get(m, "name"), &messages[i].name, err));
        HTH_TRY(copy_text(a, hth_json_get(m, "tool_call_id"), &messages[i].call_id, err));
        HTH_TRY(copy_text(a, reasoning_of(m), &messages[i].reasoning, err));
    }
    *out = messages;
    *n_out = v->n;
    return HTH_OK;
}

// ---- to values ----

// Templates build control tokens from these words: '<|' + message.role + '|>'.
static bool is_usual_role(hth_chat_text role) {
    static const char *const usual[] = {"system", "user", "assistant", "tool", "developer", "function", "ipython", "model"};
    for (size_t i = 0; i < HTH_COUNT(usual); i++) {
        if (strlen(usual[i]) == role.n && memcmp(usual[i], role.p, role.n) == 0) return true;
    }
    return false;
}

static hth_code set(hth_arena *a, hth_jinja_value *d, const char *key, hth_jinja_value v, hth_err *err) {
    return hth_jinja_set(a, d, key, strlen(key), HTH_JINJA_OF_TEMPLATE, v, err);
}

static hth_code set_text(hth_arena *a, hth_jinja_value *d, const char *key, hth_chat_text text, hth_err *err) {
    hth_jinja_value v;
    HTH_TRY(hth_jinja_make_str(a, text.p, text.n, HTH_JINJA_OF_CLIENT, &v, err));
    return set(a, d, key, v, err);
}

static hth_code set_word(hth_arena *a, hth_jinja_value *d, const char *key, const char *word, hth_err *err) {
    hth_jinja_value v;
    HTH_TRY(hth_jinja_make_str(a, word, strlen(word), HTH_JINJA_OF_TEMPLATE, &v, err));
    return set(a, d, key, v, err);
}

static hth_code set_role(hth_arena *a, hth_jinja_value *d, hth_chat_text role, hth_err *err) {
    hth_jinja_value v;
    hth_jinja_origin origin = is_usual_role(role) ? HTH_JINJA_OF_TEMPLATE : HTH_JINJA_OF_CLIENT;
    HTH_TRY(hth_jinja_make_str(a, role.p, role.n, origin, &v, err));
    return set(a, d, "role", v, err);
}

hth_code hth_chat_values_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                                   hth_jinja_value *out, hth_err *err) {
    hth_jinja_value *items;
    if (!v || v->kind != HTH_JSON_ARRAY) return hth_fail(err, HTH_ERR_RANGE, "messages must be a JSON array");
    HTH_TRY(hth_jinja_make_list(a, v->n, out, &items, err));
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *m = &v->u.items[i], *role = hth_json_get(m, "role"), *thoughts = reasoning_of(m);
        hth_jinja_value message;
        if (m->kind != HTH_JSON_OBJECT) return hth_fail(err, HTH_ERR_RANGE, "message %u is not an object", i);
        HTH_TRY(hth_jinja_make_dict(a, &items[i], err));
        if (thoughts && !hth_json_get(m, "thinking")) {
            HTH_TRY(set_text(a, &items[i], "thinking", (hth_chat_text){thoughts->u.str, thoughts->n}, err));
        }
        for (uint32_t k = 0; k < m->n; k++) {
            const hth_json_member *member = &m->u.members[k];
            HTH_TRY(hth_jinja_from_json(a, &member->value, text, n, HTH_JINJA_OF_CLIENT, &message, err));
            HTH_TRY(hth_jinja_set(a, &items[i], member->key, member->key_len, HTH_JINJA_OF_CLIENT, message, err));
        }
        if (thoughts) {
            HTH_TRY(set_text(a, &items[i], "reasoning_content", (hth_chat_text){thoughts->u.str, thoughts->n}, err));
        }
        if (role && role->kind == HTH_JSON_STRING) {
            HTH_TRY(set_role(a, &items[i], (hth_chat_text){role->u.str, role->n}, err));
        }
    }
    return HTH_OK;
}

static hth_code join_parts(hth_arena *a, const hth_chat_message *m, hth_chat_text *out, hth_err *err) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < m->n_part; i++) {
        if (m->parts[i].kind == HTH_CHAT_PART_TEXT) n += m->parts[i].text.n;
    }
    char *text = hth_arena_alloc(a, n + 1, 1);
    if (!text) return hth_fail_nomem(err, n);
    for (size_t i = 0; i < m->n_part; i++) {
        if (m->parts[i].kind != HTH_CHAT_PART_TEXT || m->parts[i].text.n == 0) continue;
        memcpy(text + at, m->parts[i].text.p, m->parts[i].text.n);
        at += m->parts[i].text.n;
    }
    *out = (hth_chat_text){text, n};
    return HTH_OK;
}

static hth_code parts_value(hth_arena *a, const hth_chat_message *m, hth_jinja_value *out, hth_err *err) {
    static const char *const types[] = {"text", "image", "audio", "video", "file"};
    hth_jinja_value *items;
    HTH_TRY(hth_jinja_make_list(a, m->n_part, out, &items, err));
    for (size_t i = 0; i < m->n_part; i++) {
        const char *type = types[m->parts[i].kind];
        HTH_TRY(hth_jinja_make_dict(a, &items[i], err));
        HTH_TRY(set_word(a, &items[i], "type", type, err));
        if (m->parts[i].text.p) HTH_TRY(set_text(a, &items[i], type, m->parts[i].text, err));
    }
    return HTH_OK;
}

// A text as the JSON that it is: an object, or with `any` whatever it is; else as the text.
static hth_code json_value(hth_arena *a, hth_chat_text text, bool any, hth_jinja_value *out, hth_err *err) {
    hth_json_doc *doc = NULL;
    hth_err broken;
    hth_code code = hth_json_parse(text.p ? text.p : "", text.n, MAX_ARGUMENTS, &doc, &broken);
    if (code == HTH_ERR_NOMEM) return hth_fail_nomem(err, text.n);
    bool is_json = code == HTH_OK && (any || hth_json_root(doc)->kind == HTH_JSON_OBJECT);
    code = is_json ? hth_jinja_from_json(a, hth_json_root(doc), text.p, text.n, HTH_JINJA_OF_CLIENT, out, err)
                   : hth_jinja_make_str(a, text.p, text.n, HTH_JINJA_OF_CLIENT, out, err);
    hth_json_free(doc);
    return code;
}

static hth_code arguments_value(hth_arena *a, const hth_chat_call *call, bool as_object, hth_jinja_value *out, hth_err *err) {
    const hth_chat_text text = call->arguments;
    if (!as_object) return hth_jinja_make_str(a, text.p, text.n, HTH_JINJA_OF_CLIENT, out, err);
    HTH_TRY(json_value(a, text, false, out, err));
    return call->as_written ? hth_jinja_set_spelling(a, out, text.p, text.n, HTH_JINJA_OF_CLIENT, err) : HTH_OK;
}

static hth_code calls_value(hth_arena *a, const hth_chat_message *m, bool object_arguments, hth_jinja_value *out,
                            hth_err *err) {
    hth_jinja_value *items, function, arguments;
    HTH_TRY(hth_jinja_make_list(a, m->n_call, out, &items, err));
    for (size_t i = 0; i < m->n_call; i++) {
        const hth_chat_call *call = &m->calls[i];
        HTH_TRY(hth_jinja_make_dict(a, &items[i], err));
        if (call->id.n > 0) HTH_TRY(set_text(a, &items[i], "id", call->id, err));
        HTH_TRY(set_word(a, &items[i], "type", "function", err));
        HTH_TRY(hth_jinja_make_dict(a, &function, err));
        HTH_TRY(set_text(a, &function, "name", call->name, err));
        HTH_TRY(arguments_value(a, call, object_arguments, &arguments, err));
        HTH_TRY(set(a, &function, "arguments", arguments, err));
        HTH_TRY(set(a, &items[i], "function", function, err));
    }
    return HTH_OK;
}

hth_code hth_chat_message_value(hth_arena *a, const hth_chat_message *m, hth_chat_shape shape,
                                hth_jinja_value *out, hth_err *err) {
    hth_jinja_value v;
    hth_chat_text text;
    HTH_TRY(hth_jinja_make_dict(a, out, err));
    HTH_TRY(set_role(a, out, m->role, err));
    if (shape.parts) {
        HTH_TRY(parts_value(a, m, &v, err));
        HTH_TRY(set(a, out, "content", v, err));
    } else {
        HTH_TRY(join_parts(a, m, &text, err));
        HTH_TRY(set_text(a, out, "content", text, err));
    }
    if (m->reasoning.p) {
        HTH_TRY(set_text(a, out, "reasoning_content", m->reasoning, err));
        HTH_TRY(set_text(a, out, "thinking", m->reasoning, err));
    }
    if (m->n_call > 0) {
        HTH_TRY(calls_value(a, m, shape.object_arguments, &v, err));
        HTH_TRY(set(a, out, "tool_calls", v, err));
    }
    if (m->name.p) HTH_TRY(set_text(a, out, "name", m->name, err));
    if (m->call_id.p) HTH_TRY(set_text(a, out, "tool_call_id", m->call_id, err));
    if (shape.parsed_results && m->role.n == 4 && memcmp(m->role.p, "tool", 4) == 0) {
        HTH_TRY(join_parts(a, m, &text, err));
        HTH_TRY(json_value(a, text, true, &v, err));
        HTH_TRY(set(a, out, "parsed", v, err));
    }
    return HTH_OK;
}
