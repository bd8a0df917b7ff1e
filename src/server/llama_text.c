// llama-server's work with texts that computes nothing: tokens of a text, the text of tokens, a rendered
// conversation.
#include <string.h>

#include "formats/utf8.h"
#include "server/body.h"
#include "server/llama.h"
#include "server/field_sets.h"
#include "server/openai.h" // chats have OpenAI's shape here

// ---- prompts

// A run of ids in a mixed array.
static bool take_ids(hth_fields *f, const hth_json *v, uint32_t from, uint32_t to, hth_segment *out) {
    int32_t *ids = hth_arena_alloc(f->arena, (size_t)(to - from) + 1, sizeof *ids);
    if (!ids) return hth_fields_no_memory(f);
    for (uint32_t i = from; i < to; i++) {
        const hth_json *id = &v->u.items[i];
        if (!id->is_int || id->u.num.i < 0 || id->u.num.i > INT32_MAX) {
            (void)hth_fields_enter_item(f, i);
            return hth_fields_refuse(f, "must be a token's id");
        }
        ids[i - from] = (int32_t)id->u.num.i;
    }
    *out = (hth_segment){.tokens = ids, .n_token = to - from};
    return true;
}

bool llama_read_prompt(hth_fields *f, const hth_json *v, hth_ask_prompt *out) {
    if (v->kind == HTH_JSON_OBJECT) { // {"prompt_string": ..., "multimodal_data": [...]}
        const hth_json *media = hth_json_get(v, "multimodal_data"), *text = hth_json_get(v, "prompt_string");
        if (media && media->kind == HTH_JSON_ARRAY && media->n > 0)
            return hth_fields_refuse(f, "has multimodal_data, but models take text only");
        if (!text || text->kind != HTH_JSON_STRING) return hth_fields_refuse(f, "must have a prompt_string");
        v = text;
    }
    const uint32_t n = v->kind == HTH_JSON_ARRAY ? v->n : 1;
    hth_segment *segments = hth_arena_alloc(f->arena, (size_t)n + 1, sizeof *segments);
    size_t n_segment = 0;
    if (!segments) return hth_fields_no_memory(f);
    if (v->kind == HTH_JSON_STRING)
        segments[n_segment++] = (hth_segment){.text = v->u.str, .n_text = v->n};
    else if (v->kind != HTH_JSON_ARRAY)
        return hth_fields_refuse_kind(f, v, "a string or an array of strings and token ids");
    for (uint32_t i = 0; v->kind == HTH_JSON_ARRAY && i < n;) {
        const hth_json *item = &v->u.items[i];
        uint32_t end = i;
        while (end < n && v->u.items[end].kind == HTH_JSON_NUMBER) end++;
        if (end > i) {
            if (!take_ids(f, v, i, end, &segments[n_segment++])) return false;
            i = end;
            continue;
        }
        const size_t mark = hth_fields_enter_item(f, i++);
        if (item->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, item, "a string or a token's id");
        segments[n_segment++] = (hth_segment){.text = item->u.str, .n_text = item->n};
        hth_fields_leave(f, mark);
    }
    *out = (hth_ask_prompt){segments, n_segment};
    return true;
}

// An array whose items are texts or arrays is a list of prompts, unless ids stand among them.
static bool is_list_of_prompts(const hth_json *v) {
    bool has_array = false, has_id = false;
    for (uint32_t i = 0; v->kind == HTH_JSON_ARRAY && i < v->n; i++) {
        has_array = has_array || v->u.items[i].kind == HTH_JSON_ARRAY;
        has_id = has_id || v->u.items[i].kind == HTH_JSON_NUMBER;
    }
    return v->kind == HTH_JSON_ARRAY && v->n > 0 && (has_array || !has_id);
}

bool llama_read_prompts(hth_fields *f, const hth_json *v, hth_ask *a, bool *is_list) {
    *is_list = is_list_of_prompts(v);
    const uint32_t n = *is_list ? v->n : 1;
    hth_ask_prompt *prompts = hth_arena_alloc(f->arena, n, sizeof *prompts);
    if (!prompts) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < n; i++) {
        const size_t mark = *is_list ? hth_fields_enter_item(f, i) : 0;
        if (!llama_read_prompt(f, *is_list ? &v->u.items[i] : v, &prompts[i])) return false;
        if (*is_list) hth_fields_leave(f, mark);
    }
    a->prompts = prompts;
    a->n_prompt = n;
    return true;
}

// ---- tokenize

typedef struct text_request {
    hth_ask_prompt content;
    hth_chat_text model;
    const int32_t *tokens;
    size_t n_token;
    bool add_special, no_parse, has_content, with_pieces;
} text_request;

static bool read_content(hth_fields *f, const hth_json *v, void *to) {
    text_request *r = to;
    r->has_content = true;
    return llama_read_prompt(f, v, &r->content);
}

static bool read_tokens(hth_fields *f, const hth_json *v, void *to) {
    text_request *r = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array of token ids");
    return hth_fields_read_ids(f, v, 0, INT32_MAX, &r->tokens, &r->n_token);
}

#define MODEL(type_)                                                               \
    {                                                                              \
        .name = "model", .kind = HTH_FIELD_TEXT, .offset = offsetof(type_, model), \
        .help = "a name; none: the default model"                                  \
    }
#define BOOL(name_, help_) \
    { .name = #name_, .kind = HTH_FIELD_BOOL, .offset = offsetof(text_request, name_), .help = help_ }

static const hth_field tokenize_fields[] = {
    MODEL(text_request),
    {.name = "content",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|array",
     .read = read_content,
     .help = "a text, or texts and ids"},
    BOOL(add_special, "with BOS and the like"),
    {.name = "parse_special",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(text_request, no_parse),
     .negated = true,
     .help = "control tokens are found in the text; true where it is not given"},
    BOOL(with_pieces, "with what each token stands for"),
};
const hth_field_set hth_llama_tokenize_set = {tokenize_fields, HTH_COUNT(tokenize_fields)};

static const hth_field detokenize_fields[] = {
    MODEL(text_request),
    {.name = "tokens", .kind = HTH_FIELD_CUSTOM, .words = "array", .read = read_tokens, .help = "ids"},
};
const hth_field_set hth_llama_detokenize_set = {detokenize_fields, HTH_COUNT(detokenize_fields)};

static bool begin(hth_server *s, hth_exchange *x, const hth_field *table, size_t n, text_request *r,
                  hth_use **use, hth_fault *fault) {
    hth_fields f;
    const hth_json *root;
    if (!hth_body_read(x, &f, &root, fault) || !hth_fields_read(&f, table, n, root, r)) return false;
    if (!llama_acquire(s, x, r->model.p, use, fault)) return false;
    hth_body_tell_ignored(x, &f);
    return (*use)->tokenizer ||
           hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "model", "the model carries no tokenizer");
}

static hth_code tokenize(const hth_tokenizer *t, const text_request *r, hth_token_list *ids, hth_err *err) {
    unsigned flags = r->add_special ? HTH_TOKENIZE_ADD_SPECIAL : 0;
    for (size_t i = 0; i < r->content.n_segment; i++) {
        const hth_segment *s = &r->content.segments[i];
        for (size_t k = 0; k < s->n_token; k++) {
            void *list = ids->ids;
            if (!hth_grow(HTH_MEM_TEXT, &list, &ids->cap, ids->n + 1, sizeof *ids->ids, SIZE_MAX / 8))
                return hth_fail_nomem(err, ids->n);
            ids->ids = list;
            ids->ids[ids->n++] = s->tokens[k];
        }
        const hth_text_segment text = {.text = s->text, .n = s->n_text, .is_user = r->no_parse};
        if (s->text) HTH_TRY(hth_tokenize(t, &text, 1, flags, ids, err));
        flags = 0; // around the first text alone
    }
    return HTH_OK;
}

static bool is_text(const char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        const unsigned len = hth_utf8_len((const uint8_t *)p + i, n - i);
        if (len == 0) return false;
        i += len;
    }
    return true;
}

// Bytes that are no text by themselves are numbers.
static void put_piece(hth_json_out *j, const hth_tokenizer *t, hth_token id) {
    size_t n = 0;
    const char *text = hth_tokenizer_bytes(t, id, &n);
    if (!text) text = hth_tokenizer_spelling(t, id, &n);
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "id", id);
    if (!text) {
        hth_json_out_text(j, "piece", "");
    } else if (is_text(text, n)) {
        hth_json_out_str(j, "piece", text, n);
    } else {
        hth_json_out_begin(j, "piece", '[');
        for (size_t i = 0; i < n; i++) hth_json_out_int(j, NULL, (uint8_t)text[i]);
        hth_json_out_end(j, ']');
    }
    hth_json_out_end(j, '}');
}

void llama_tokenize(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    text_request r = {0};
    hth_use *use = NULL;
    hth_token_list ids = {0};
    hth_fault fault = {0};
    hth_err err;
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    bool ok = begin(s, x, tokenize_fields, HTH_COUNT(tokenize_fields), &r, &use, &fault);
    if (ok && tokenize(use->tokenizer, &r, &ids, &err) != HTH_OK) ok = hth_refuse_err(&fault, &err, NULL);
    if (ok) {
        hth_json_out j = hth_json_out_make(&body, false);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_begin(&j, "tokens", '[');
        for (size_t i = 0; i < ids.n; i++) {
            if (r.with_pieces)
                put_piece(&j, use->tokenizer, ids.ids[i]);
            else
                hth_json_out_int(&j, NULL, ids.ids[i]);
        }
        hth_json_out_end(&j, ']');
        hth_json_out_end(&j, '}');
        llama_reply_json(x, &body);
    } else {
        hth_reply_fault(x, &fault);
    }
    hth_str_free(&body);
    hth_token_list_free(&ids);
    hth_models_release(s->models, use);
}

static hth_code detokenize(const hth_tokenizer *t, const text_request *r, hth_str *out, hth_err *err) {
    hth_detokenizer d = hth_detokenizer_make(t, true);
    for (size_t i = 0; i < r->n_token; i++) HTH_TRY(hth_detokenizer_push(&d, r->tokens[i], out, err));
    return hth_detokenizer_end(&d, out, err);
}

void llama_detokenize(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    text_request r = {0};
    hth_use *use = NULL;
    hth_fault fault = {0};
    hth_err err;
    hth_str body, text;
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_str_init(&text, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    bool ok = begin(s, x, detokenize_fields, HTH_COUNT(detokenize_fields), &r, &use, &fault);
    if (ok && detokenize(use->tokenizer, &r, &text, &err) != HTH_OK) ok = hth_refuse_err(&fault, &err, NULL);
    if (ok) {
        hth_json_out j = hth_json_out_make(&body, false);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_str(&j, "content", hth_str_text(&text), text.len);
        hth_json_out_end(&j, '}');
        llama_reply_json(x, &body);
    } else {
        hth_reply_fault(x, &fault);
    }
    hth_str_free(&text);
    hth_str_free(&body);
    hth_models_release(s->models, use);
}

// ---- apply-template

typedef struct chat_request {
    hth_ask ask; // first
} chat_request;

static const hth_field template_fields[] = {
    {.name = "model",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(chat_request, ask.model),
     .help = "a name; none: the default model"},
    {.name = "messages",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = openai_read_messages,
     .help = "as OpenAI's chats",
     .required = true},
    {.name = "tools",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = openai_read_tools,
     .help = "as OpenAI's chats"},
    {.name = "chat_template_kwargs",
     .kind = HTH_FIELD_CUSTOM,
     .words = "object",
     .read = hth_ask_read_kwargs,
     .help = "more variables for the template"},
    {.name = "add_generation_prompt",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(chat_request, ask.no_answer),
     .negated = true,
     .help = "opens the answer; true where it is not given"},
};
const hth_field_set hth_llama_template_set = {template_fields, HTH_COUNT(template_fields)};

void llama_apply_template(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fields f;
    hth_fault fault = {0};
    const hth_json *root;
    hth_str text, body;
    chat_request *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    hth_str_init(&text, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_str_init(&body, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    bool ok = r || hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (ok) hth_ask_init(&r->ask);
    ok = ok && hth_body_read(x, &f, &root, &fault);
    if (ok) {
        r->ask.document = f.text;
        r->ask.n_document = f.n_text;
    }
    ok = ok && hth_fields_read(&f, template_fields, HTH_COUNT(template_fields), root, r) &&
         hth_call_render(s, x, &r->ask, &text, &fault);
    if (ok) {
        hth_json_out j = hth_json_out_make(&body, false);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_str(&j, "prompt", hth_str_text(&text), text.len);
        hth_json_out_end(&j, '}');
        hth_body_tell_ignored(x, &f);
        llama_reply_json(x, &body);
    } else {
        hth_reply_fault(x, &fault);
    }
    hth_str_free(&body);
    hth_str_free(&text);
}
