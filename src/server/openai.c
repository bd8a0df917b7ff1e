// OpenAI's dialect: its table of routes, its words for faults, and the list of models.
#include "server/openai.h"

#include <string.h>

#include "server/models.h"

// ---- faults

static const char *type_of(hth_fault_kind kind) {
    switch (kind) {
    case HTH_FAULT_UNAUTHORIZED: return "authentication_error";
    case HTH_FAULT_FORBIDDEN: return "permission_error";
    case HTH_FAULT_NOT_FOUND:
    case HTH_FAULT_NO_MODEL: return "not_found_error";
    case HTH_FAULT_CONTEXT: return "exceed_context_size_error";
    case HTH_FAULT_BUSY: return "rate_limit_error";
    case HTH_FAULT_NOT_OFFERED: return "not_supported_error";
    case HTH_FAULT_UNAVAILABLE:
    case HTH_FAULT_NO_MEMORY: return "unavailable_error";
    case HTH_FAULT_INTERNAL:
    case HTH_FAULT_TIMEOUT: return "server_error";
    default: return "invalid_request_error";
    }
}

static const char *code_of(const hth_fault *f) {
    if (f->code) return f->code;
    switch (f->kind) {
    case HTH_FAULT_UNAUTHORIZED: return "invalid_api_key";
    case HTH_FAULT_NO_MODEL: return "model_not_found";
    case HTH_FAULT_CONTEXT: return "context_length_exceeded";
    case HTH_FAULT_UNSUPPORTED: return "unsupported_parameter";
    case HTH_FAULT_BAD_REQUEST: return f->param[0] ? "invalid_value" : NULL;
    case HTH_FAULT_BUSY: return "rate_limit_exceeded";
    default: return NULL;
    }
}

void openai_fault_object(const hth_fault *f, int status, hth_json_out *j) {
    (void)status;
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_begin(j, "error", '{');
    hth_json_out_text(j, "message", f->message);
    hth_json_out_text(j, "type", type_of(f->kind));
    hth_json_out_text(j, "param", f->param[0] ? f->param : NULL);
    hth_json_out_text(j, "code", code_of(f));
    if (f->kind == HTH_FAULT_CONTEXT) {
        hth_json_out_int(j, "n_prompt_tokens", f->n_prompt);
        hth_json_out_int(j, "n_ctx", f->n_ctx);
    }
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

void openai_write_fault(const hth_fault *f, int status, hth_str *out) {
    hth_json_out j = hth_json_out_make(out, false);
    openai_fault_object(f, status, &j);
}

const hth_dialect hth_openai = {"openai", openai_write_fault};

// ---- what several replies hold

const char *openai_finish(hth_finish reason) {
    switch (reason) {
    case HTH_FINISH_LENGTH:
    case HTH_FINISH_CONTEXT: return "length";
    case HTH_FINISH_TOOLS: return "tool_calls";
    default: return "stop";
    }
}

void openai_usage(hth_json_out *j, const hth_call_usage *u) {
    hth_json_out_begin(j, "usage", '{');
    hth_json_out_int(j, "prompt_tokens", u->n_prompt);
    hth_json_out_int(j, "completion_tokens", u->n_output);
    hth_json_out_int(j, "total_tokens", u->n_prompt + u->n_output);
    hth_json_out_begin(j, "prompt_tokens_details", '{');
    hth_json_out_int(j, "cached_tokens", u->n_cached);
    hth_json_out_end(j, '}');
    hth_json_out_begin(j, "completion_tokens_details", '{');
    hth_json_out_int(j, "reasoning_tokens", u->n_reasoning);
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

static double per_second(int64_t n, uint64_t ns) {
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

void openai_timings(hth_json_out *j, const hth_call_usage *u) {
    const int64_t n_new = u->n_prompt - u->n_cached;
    hth_json_out_begin(j, "timings", '{');
    hth_json_out_int(j, "cache_n", u->n_cached);
    hth_json_out_int(j, "prompt_n", n_new);
    hth_json_out_num(j, "prompt_ms", (double)u->prefill_ns / 1e6);
    hth_json_out_num(j, "prompt_per_token_ms", n_new > 0 ? (double)u->prefill_ns / 1e6 / (double)n_new : 0);
    hth_json_out_num(j, "prompt_per_second", per_second(n_new, u->prefill_ns));
    hth_json_out_int(j, "predicted_n", u->n_output);
    hth_json_out_num(j, "predicted_ms", (double)u->generate_ns / 1e6);
    hth_json_out_num(j, "predicted_per_token_ms",
                     u->n_output > 0 ? (double)u->generate_ns / 1e6 / (double)u->n_output : 0);
    hth_json_out_num(j, "predicted_per_second", per_second(u->n_output, u->generate_ns));
    if (u->n_drafted > 0) {
        hth_json_out_int(j, "draft_n", u->n_drafted);
        hth_json_out_int(j, "draft_n_accepted", u->n_accepted);
    }
    hth_json_out_end(j, '}');
}

// ---- models

static void write_list(hth_json_out *j, const char *key, const char *one) {
    hth_json_out_begin(j, key, '[');
    hth_json_out_text(j, NULL, one);
    hth_json_out_end(j, ']');
}

static void write_abilities(hth_json_out *j, unsigned abilities) {
    static const struct {
        hth_ability ability;
        const char *name;
    } names[] = {{HTH_CAN_COMPLETE, "completion"}, {HTH_CAN_CHAT, "chat"},     {HTH_CAN_TOOLS, "tools"},
                 {HTH_CAN_THINK, "thinking"},      {HTH_CAN_INFILL, "insert"}, {HTH_CAN_EMBED, "embedding"},
                 {HTH_CAN_RERANK, "rerank"}};
    hth_json_out_begin(j, "capabilities", '[');
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        if (abilities & names[i].ability) hth_json_out_text(j, NULL, names[i].name);
    }
    hth_json_out_end(j, ']');
}

static void write_model(hth_json_out *j, const hth_server *s, const hth_card *c,
                        const hth_loaded_info *loaded) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "id", c->label);
    hth_json_out_text(j, "object", "model");
    hth_json_out_int(j, "created", c->modified_s > 0 ? c->modified_s : s->start_unix);
    hth_json_out_text(j, "owned_by", "hearth");
    hth_json_out_int(j, "context_length", loaded ? loaded->n_ctx : c->n_ctx_train);
    hth_json_out_int(j, "max_model_len", loaded ? loaded->n_ctx : c->n_ctx_train);
    write_abilities(j, c->abilities);
    hth_json_out_begin(j, "architecture", '{');
    write_list(j, "input_modalities", "text");
    write_list(j, "output_modalities", "text");
    hth_json_out_end(j, '}');
    hth_json_out_begin(j, "meta", '{');
    hth_json_out_int(j, "n_vocab", c->n_vocab);
    if (loaded) hth_json_out_int(j, "n_ctx", loaded->n_ctx);
    hth_json_out_int(j, "n_ctx_train", c->n_ctx_train);
    hth_json_out_int(j, "n_embd", c->n_embed);
    hth_json_out_int(j, "n_params", (int64_t)c->n_param);
    hth_json_out_int(j, "size", (int64_t)c->size_bytes);
    hth_json_out_end(j, '}');
    hth_json_out_begin(j, "status", '{');
    hth_json_out_text(j, "value",
                      !loaded                           ? "unloaded"
                      : loaded->phase == HTH_LOAD_READY ? "loaded"
                                                        : "loading");
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

static const hth_loaded_info *find_loaded(const hth_loaded_info *list, size_t n, const hth_card *c) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].card->name, c->name) == 0) return &list[i];
    }
    return NULL;
}

static void reply_json(hth_exchange *x, hth_str *body) {
    hth_reply(x, 200, "application/json; charset=utf-8", body);
    hth_str_free(body);
}

static void get_models(hth_server *s, hth_exchange *x, const hth_match *m) {
    const hth_card **cards = NULL;
    hth_loaded_info *loaded = NULL;
    size_t n = 0, n_loaded = 0;
    hth_fault fault = {0};
    hth_err err;
    hth_str body;
    (void)m;
    if (hth_models_list(s->models, &cards, &n, &err) != HTH_OK) {
        (void)hth_refuse_err(&fault, &err, NULL);
        hth_reply_fault(x, &fault);
        return;
    }
    if (hth_models_loaded(s->models, &loaded, &n_loaded, &err) != HTH_OK) n_loaded = 0;
    hth_str_init(&body, HTH_MEM_SERVER, SIZE_MAX / 2);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "object", "list");
    hth_json_out_begin(&j, "data", '[');
    for (size_t i = 0; i < n; i++) write_model(&j, s, cards[i], find_loaded(loaded, n_loaded, cards[i]));
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    reply_json(x, &body);
    if (loaded) hth_loaded_free(loaded, n_loaded);
    hth_cards_free(cards, n);
}

static void get_model(hth_server *s, hth_exchange *x, const hth_match *m) {
    const hth_card *card;
    hth_loaded_info *loaded = NULL;
    size_t n_loaded = 0;
    hth_fault fault = {0};
    hth_err err;
    hth_str body;
    if (hth_models_find(s->models, m->captures[0], &card, &err) != HTH_OK) {
        (void)hth_refuse_err(&fault, &err, NULL);
        hth_reply_fault(x, &fault);
        return;
    }
    if (hth_models_loaded(s->models, &loaded, &n_loaded, &err) != HTH_OK) n_loaded = 0;
    hth_str_init(&body, HTH_MEM_SERVER, SIZE_MAX / 2);
    hth_json_out j = hth_json_out_make(&body, false);
    write_model(&j, s, card, find_loaded(loaded, n_loaded, card));
    reply_json(x, &body);
    if (loaded) hth_loaded_free(loaded, n_loaded);
    hth_card_drop(card);
}

// ---- frames and prompts

void openai_head(hth_json_out *j, const hth_str *object) {
    const size_t n_before = strlen("{\"id\":");
    if (object->len > n_before) hth_json_out_raw(j, "id", object->p + n_before, object->len - n_before - 1);
}

void openai_data(hth_str *out, const char *json, size_t n) {
    hth_str_puts(out, "data: ");
    hth_str_append(out, json, n);
    hth_str_puts(out, "\n\n");
}

static bool is_ids(const hth_json *v) {
    return v->kind == HTH_JSON_ARRAY && v->n > 0 && v->u.items[0].kind == HTH_JSON_NUMBER;
}

static bool read_prompt(hth_fields *f, const hth_json *v, hth_ask_prompt *out) {
    hth_segment *s = hth_arena_alloc(f->arena, 1, sizeof *s);
    if (!s) return hth_fields_no_memory(f);
    *out = (hth_ask_prompt){s, 1};
    if (v->kind == HTH_JSON_STRING) {
        *s = (hth_segment){.text = v->u.str, .n_text = v->n};
        return true;
    }
    if (!is_ids(v)) return hth_fields_refuse_kind(f, v, "a string or an array of token ids");
    return hth_fields_read_ids(f, v, 0, INT32_MAX, &s->tokens, &s->n_token);
}

bool openai_read_prompts(hth_fields *f, const hth_json *v, hth_ask *a) {
    const bool is_list = v->kind == HTH_JSON_ARRAY && !is_ids(v);
    const size_t n = is_list ? v->n : 1;
    hth_ask_prompt *prompts = hth_arena_alloc(f->arena, n + 1, sizeof *prompts);
    if (!prompts) return hth_fields_no_memory(f);
    if (n == 0) return hth_fields_refuse(f, "must not be empty");
    for (size_t i = 0; i < n; i++) {
        const size_t mark = is_list ? hth_fields_enter_item(f, i) : 0;
        if (!read_prompt(f, is_list ? &v->u.items[i] : v, &prompts[i])) return false;
        if (is_list) hth_fields_leave(f, mark);
    }
    a->prompts = prompts;
    a->n_prompt = n;
    return true;
}

#define ROW(methods_, pattern_, handle_) \
    { methods_, pattern_, &hth_openai, handle_, 0, NULL }

const hth_route hth_openai_routes[] = {
    ROW(HTH_GET, "/v1/models", get_models),
    ROW(HTH_GET, "/models", get_models),
    ROW(HTH_GET, "/v1/models/{id...}", get_model),
    ROW(HTH_GET, "/models/{id...}", get_model),
    ROW(HTH_POST, "/v1/chat/completions", openai_chat),
    ROW(HTH_POST, "/chat/completions", openai_chat),
    ROW(HTH_POST, "/v1/chat/completions/control", openai_control),
    ROW(HTH_POST, "/v1/chat/completions/input_tokens", openai_chat_count),
    ROW(HTH_POST, "/chat/completions/input_tokens", openai_chat_count),
    ROW(HTH_POST, "/v1/completions", openai_completions),
    ROW(HTH_POST, "/v1/embeddings", openai_embeddings),
    ROW(HTH_POST, "/v1/rerank", openai_rerank),
    ROW(HTH_POST, "/rerank", openai_rerank),
    ROW(HTH_POST, "/reranking", openai_rerank),
    ROW(HTH_POST, "/v1/reranking", openai_rerank),
    {0},
};
