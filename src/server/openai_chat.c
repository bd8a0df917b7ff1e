// /v1/chat/completions: the request's fields, and the reply as chunks or in one piece.
#include <string.h>

#include "base/attr.h"
#include "server/field_sets.h"
#include "server/openai_generation.h"

// ---- the request

static bool read_effort(hth_fields *f, const hth_json *v, void *to) {
    if (v->kind == HTH_JSON_STRING) return hth_ask_read_think(f, v, to);
    return hth_fields_refuse_kind(f, v, "a string");
}

// {"effort": "low", "max_tokens": N, "enabled": true, "exclude": false}
static bool read_reasoning(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json_member *m = &v->u.members[i];
        const size_t mark = hth_fields_enter(f, m->key);
        if (m->value.kind == HTH_JSON_NULL) {
            // as if it were not there
        } else if (strcmp(m->key, "effort") == 0) {
            if (!read_effort(f, &m->value, to)) return false;
        } else if (strcmp(m->key, "enabled") == 0 && m->value.kind == HTH_JSON_BOOL) {
            a->thinking = m->value.u.b ? HTH_THINK_ON : HTH_THINK_OFF;
        } else if (strcmp(m->key, "max_tokens") == 0) {
            if (!hth_ask_read_budget(f, &m->value, to)) return false;
            if (a->thinking_budget > 0 && a->thinking == HTH_THINK_DEFAULT) a->thinking = HTH_THINK_ON;
        } else {
            hth_fields_ignore(f, f->path);
        }
        hth_fields_leave(f, mark);
    }
    return true;
}

// {"type": "enabled" | "disabled", "budget_tokens": N}
static bool read_thinking(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_ask_read_think(f, v, to);
    const hth_json *type = hth_json_get(v, "type"), *budget = hth_json_get(v, "budget_tokens");
    const char *word = type && type->kind == HTH_JSON_STRING ? type->u.str : "";
    if (strcmp(word, "disabled") == 0)
        a->thinking = HTH_THINK_OFF;
    else if (strcmp(word, "enabled") == 0)
        a->thinking = HTH_THINK_ON;
    else if (strcmp(word, "adaptive") != 0 && strcmp(word, "auto") != 0) {
        (void)hth_fields_enter(f, "type");
        return hth_fields_refuse(f, "must be enabled, disabled or adaptive");
    }
    if (!budget || a->thinking == HTH_THINK_OFF) return true;
    const size_t mark = hth_fields_enter(f, "budget_tokens");
    if (!hth_ask_read_budget(f, budget, to)) return false;
    hth_fields_leave(f, mark);
    return true;
}

static bool read_reasoning_format(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    const char *word = v->kind == HTH_JSON_STRING ? v->u.str : "";
    a->thinking_in_content = strcmp(word, "none") == 0;
    if (a->thinking_in_content || strcmp(word, "auto") == 0 || strcmp(word, "deepseek") == 0) return true;
    return hth_fields_refuse(f, "must be auto, none or deepseek");
}

static bool read_modalities(hth_fields *f, const hth_json *v, void *to) {
    const hth_chat_text *words;
    size_t n;
    (void)to;
    if (!hth_fields_read_texts(f, v, &words, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i].p, "text") != 0) {
            return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, f->path, "'%s': answers are text here",
                              f->path);
        }
    }
    return true;
}

// The older forms of tools and tool_choice.
static bool read_function_call(hth_fields *f, const hth_json *v, void *to) {
    return openai_read_tool_choice(f, v, to);
}

static const hth_field openai_chat_fields[] = {
    {.name = "messages",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = openai_read_messages,
     .required = true,
     .help = "the conversation; an assistant's message at the end is continued"},
    OPENAI_CUSTOM("tools", "array", openai_read_tools, "functions that the model may call"),
    OPENAI_CUSTOM("tool_choice", "string|object", openai_read_tool_choice,
                  "none, auto, required, a function, allowed_tools"),
    OPENAI_NOT("parallel_tool_calls", ask.one_tool, "false: at most one call"),
    OPENAI_CUSTOM("functions", "array", openai_read_tools, "the older form of tools"),
    OPENAI_CUSTOM("function_call", "string|object", read_function_call, "the older form of tool_choice"),
    OPENAI_CUSTOM("response_format", "object", openai_read_format, "text, json_object, json_schema"),
    OPENAI_ROW("logprobs", BOOL, wants_logprobs, "the logarithm of each token's probability"),
    OPENAI_RANGE("top_logprobs", top_logprobs, 0, 20, "and of so many likeliest tokens"),
    OPENAI_CUSTOM("reasoning_effort", "string", read_effort, "none, minimal, low, medium, high"),
    OPENAI_CUSTOM("reasoning", "object", read_reasoning, "effort, enabled, max_tokens"),
    OPENAI_CUSTOM("thinking", "object|boolean", read_thinking, "type enabled or disabled, budget_tokens"),
    OPENAI_CUSTOM("think", "boolean|string", hth_ask_read_think,
                  "whether the model thinks first, or how much"),
    OPENAI_CUSTOM("enable_thinking", "boolean", hth_ask_read_think, "the same"),
    OPENAI_CUSTOM("thinking_budget", "number", hth_ask_read_budget, "most tokens of thoughts; 0: none, -1: no limit"),
    OPENAI_CUSTOM("reasoning_budget", "number", hth_ask_read_budget, "the same"),
    OPENAI_CUSTOM("thinking_budget_tokens", "number", hth_ask_read_budget, "the same by llama-server's name"),
    OPENAI_CUSTOM("reasoning_budget_tokens", "number", hth_ask_read_budget, "the same by its newer name"),
    OPENAI_ROW("reasoning_budget_message", TEXT, ask.thinking_words, "what the model is made to say where the budget ends a thought"),
    OPENAI_ROW("reasoning_control", BOOL, reasoning_control, "thoughts can be ended by /v1/chat/completions/control"),
    OPENAI_CUSTOM("reasoning_format", "string", read_reasoning_format, "none: thoughts stay in the content"),
    OPENAI_CUSTOM("chat_template_kwargs", "object", hth_ask_read_kwargs, "more variables for the template"),
    {.name = "add_generation_prompt",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(openai_request, ask.no_answer),
     .given = offsetof(openai_request, has_opens) + 1,
     .negated = true,
     .help = "false: the answer is not opened"},
    {.name = "continue_final_message",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(openai_request, ask.no_continue),
     .given = offsetof(openai_request, has_continue) + 1,
     .negated = true,
     .help = "whether an assistant's message at the end is continued; true where it is not given"},
    OPENAI_CUSTOM("modalities", "array", read_modalities, "text"),
    OPENAI_CUSTOM("metadata", "object", openai_read_metadata, "taken; nothing is stored"),
    OPENAI_GENERATION,
    OPENAI_REFUSED("audio", "answers in sound are not known here"),
    OPENAI_REFUSED("web_search_options", "nothing is searched for"),
    OPENAI_IGNORED("prediction", "guesses are made without it"),
    OPENAI_IGNORED("store", "chats are not stored"),
    OPENAI_IGNORED("verbosity", "the model is not told"),
    OPENAI_IGNORED("moderation", "nothing is judged"),
};
const hth_field_set hth_openai_chat_set = {openai_chat_fields, HTH_COUNT(openai_chat_fields)};

// ---- the reply

typedef struct chat_reply {
    const openai_request *r;
    char id[HTH_CALL_ID];
    hth_str head;     // an object with what is the same in every chunk
    hth_str piece;    // the chunk being made
    hth_str logprobs; // of tokens whose text has not been sent
    bool has_logprobs;
    const struct hth_tokenizer *tokenizer;
    hth_call_event finish; // of a single choice: sent with the timings
    bool has_finish;
} chat_reply;

static void free_reply(void *user) {
    chat_reply *p = user;
    hth_str_free(&p->head);
    hth_str_free(&p->piece);
    hth_str_free(&p->logprobs);
}

static void write_head(hth_json_out *j, const chat_reply *p, const char *object, const char *model,
                       int64_t created) {
    hth_json_out_text(j, "id", p->id);
    hth_json_out_text(j, "object", object);
    hth_json_out_int(j, "created", created);
    hth_json_out_text(j, "model", model);
    hth_json_out_text(j, "system_fingerprint", OPENAI_FINGERPRINT);
}

// ---- logprobs

static void write_bytes(hth_json_out *j, const char *text, size_t n) {
    hth_json_out_begin(j, "bytes", '[');
    for (size_t i = 0; i < n; i++) hth_json_out_int(j, NULL, (unsigned char)text[i]);
    hth_json_out_end(j, ']');
}

static void write_logprob(hth_json_out *j, int32_t id, const char *text, size_t n, float logprob) {
    hth_json_out_int(j, "id", id);
    hth_json_out_str(j, "token", text, n);
    write_bytes(j, text, n);
    hth_json_out_float(j, "logprob", logprob < -9999 ? -9999 : logprob);
}

static void write_token(hth_json_out *j, const struct hth_tokenizer *t, int32_t id, float logprob,
                        const hth_logprob *top, size_t n_top) {
    size_t n;
    const char *text = hth_call_spell(t, id, &n);
    hth_json_out_begin(j, NULL, '{');
    write_logprob(j, id, text, n, logprob);
    hth_json_out_begin(j, "top_logprobs", '[');
    for (size_t i = 0; i < n_top; i++) {
        text = hth_call_spell(t, top[i].token, &n);
        hth_json_out_begin(j, NULL, '{');
        write_logprob(j, top[i].token, text, n, top[i].logprob);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

// ---- in chunks

static hth_json_out begin_chunk(chat_reply *p) {
    hth_str_clear(&p->piece);
    hth_json_out j = hth_json_out_make(&p->piece, false);
    hth_json_out_begin(&j, NULL, '{');
    openai_head(&j, &p->head);
    hth_json_out_begin(&j, "choices", '[');
    return j;
}

static void begin_choice(hth_json_out *j, int32_t choice) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "index", choice);
    hth_json_out_begin(j, "delta", '{');
}

static void end_choice(chat_reply *p, hth_json_out *j, const char *finish) {
    hth_json_out_end(j, '}');
    if (p->has_logprobs) {
        hth_json_out_begin(j, "logprobs", '{');
        hth_json_out_begin(j, "content", '[');
        hth_json_out_raw(j, NULL, p->logprobs.p, p->logprobs.len);
        hth_json_out_end(j, ']');
        hth_json_out_text(j, "refusal", NULL);
        hth_json_out_end(j, '}');
        hth_str_clear(&p->logprobs);
        p->has_logprobs = false;
    } else {
        hth_json_out_text(j, "logprobs", NULL);
    }
    hth_json_out_text(j, "finish_reason", finish);
    hth_json_out_end(j, '}');
    hth_json_out_end(j, ']');
}

static void end_chunk(chat_reply *p, hth_json_out *j, hth_str *out) {
    hth_json_out_end(j, '}');
    openai_data(out, hth_str_text(&p->piece), p->piece.len);
}

static void end_delta(chat_reply *p, hth_json_out *j, const char *finish, hth_str *out) {
    end_choice(p, j, finish);
    if (p->r->include_usage) hth_json_out_text(j, "usage", NULL);
    end_chunk(p, j, out);
}

static void write_start(chat_reply *p, const hth_call_event *e, hth_str *out) {
    hth_json_out j = hth_json_out_make(&p->head, false);
    p->tokenizer = e->started.tokenizer;
    hth_json_out_begin(&j, NULL, '{');
    write_head(&j, p, "chat.completion.chunk", e->started.model, e->started.created);
    hth_json_out_end(&j, '}');
    const int64_t n = p->r->ask.n ? p->r->ask.n : 1;
    for (int32_t i = 0; i < n; i++) {
        j = begin_chunk(p);
        begin_choice(&j, i);
        hth_json_out_text(&j, "role", "assistant");
        hth_json_out_text(&j, "content", NULL);
        end_delta(p, &j, NULL, out);
    }
}

static void write_text(chat_reply *p, const hth_call_event *e, hth_str *out) {
    hth_json_out j = begin_chunk(p);
    begin_choice(&j, e->choice);
    if (e->kind == HTH_CALL_CONTENT) {
        hth_json_out_str(&j, "content", e->text, e->n_text);
    } else { // clients read it by one of these names
        hth_json_out_str(&j, "reasoning_content", e->text, e->n_text);
        hth_json_out_str(&j, "reasoning", e->text, e->n_text);
    }
    end_delta(p, &j, NULL, out);
}

static void write_call(chat_reply *p, const hth_call_event *e, hth_str *out) {
    hth_json_out j = begin_chunk(p);
    begin_choice(&j, e->choice);
    hth_json_out_begin(&j, "tool_calls", '[');
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "index", e->tool.index);
    if (e->kind == HTH_CALL_TOOL) {
        hth_json_out_text(&j, "id", e->tool.id);
        hth_json_out_text(&j, "type", "function");
    }
    hth_json_out_begin(&j, "function", '{');
    if (e->kind == HTH_CALL_TOOL) hth_json_out_text(&j, "name", e->tool.name);
    hth_json_out_str(&j, "arguments", e->kind == HTH_CALL_TOOL ? "" : e->text,
                     e->kind == HTH_CALL_TOOL ? 0 : e->n_text);
    hth_json_out_end(&j, '}');
    hth_json_out_end(&j, '}');
    hth_json_out_end(&j, ']');
    end_delta(p, &j, NULL, out);
}

static void write_progress(chat_reply *p, const hth_call_event *e, hth_str *out) {
    hth_json_out j = begin_chunk(p);
    begin_choice(&j, e->choice);
    end_choice(p, &j, NULL);
    hth_json_out_begin(&j, "prompt_progress", '{');
    hth_json_out_int(&j, "total", e->progress.n_total);
    hth_json_out_int(&j, "cache", e->progress.n_cached);
    hth_json_out_int(&j, "processed", e->progress.n_done);
    hth_json_out_num(&j, "time_ms", (double)e->progress.elapsed_ns / 1e6);
    hth_json_out_end(&j, '}');
    end_chunk(p, &j, out);
}

static void write_finish(chat_reply *p, const hth_call_event *e, const hth_call_usage *usage, hth_str *out) {
    hth_json_out j = begin_chunk(p);
    begin_choice(&j, e->choice);
    end_choice(p, &j, openai_finish(e->finish.reason));
    if (p->r->include_usage)
        hth_json_out_text(&j, "usage", NULL);
    else if (usage)
        openai_timings(&j, usage);
    end_chunk(p, &j, out);
}

static void write_end(chat_reply *p, const hth_call_usage *usage, hth_str *out) {
    if (p->has_finish) write_finish(p, &p->finish, usage, out);
    if (p->r->include_usage) {
        hth_json_out j = begin_chunk(p);
        hth_json_out_end(&j, ']');
        openai_usage(&j, usage);
        openai_timings(&j, usage);
        end_chunk(p, &j, out);
    }
    hth_str_puts(out, "data: [DONE]\n\n");
}

static void keep_token(chat_reply *p, const hth_call_event *e) {
    if (!p->r->wants_logprobs || !e->token.has_logprob) return;
    if (p->has_logprobs) hth_str_putc(&p->logprobs, ',');
    hth_json_out j = hth_json_out_make(&p->logprobs, false);
    write_token(&j, p->tokenizer, e->token.id, e->token.logprob, e->token.top, (size_t)e->token.n_top);
    p->has_logprobs = true;
}

static void write_error(const hth_call_event *e, hth_str *out) {
    hth_str_puts(out, "data: ");
    openai_write_fault(e->fault, hth_fault_status(e->fault->kind), out);
    hth_str_puts(out, "\n\n");
}

static void print_event(void *user, const hth_call_event *e, hth_str *out) {
    chat_reply *p = user;
    switch (e->kind) {
    case HTH_CALL_STARTED: write_start(p, e, out); break;
    case HTH_CALL_CONTENT:
    case HTH_CALL_REASONING: write_text(p, e, out); break;
    case HTH_CALL_TOOL:
    case HTH_CALL_ARGUMENTS: write_call(p, e, out); break;
    case HTH_CALL_TOKEN: keep_token(p, e); break;
    case HTH_CALL_PROGRESS:
        if (p->r->return_progress) write_progress(p, e, out);
        break;
    case HTH_CALL_FINISH:
        p->has_finish = p->r->ask.n <= 1;
        p->finish = *e;
        if (!p->has_finish) write_finish(p, e, NULL, out);
        break;
    case HTH_CALL_ERROR: write_error(e, out); break;
    case HTH_CALL_END: write_end(p, e->usage, out); break;
    default: break;
    }
}

// ---- in one piece

static void write_calls(hth_json_out *j, const hth_call_choice *c) {
    hth_json_out_begin(j, "tool_calls", '[');
    for (size_t i = 0; i < c->n_tool; i++) {
        const hth_call_tool *t = &c->tools[i];
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_str(j, "id", hth_str_text(&t->id), t->id.len);
        hth_json_out_text(j, "type", "function");
        hth_json_out_begin(j, "function", '{');
        hth_json_out_str(j, "name", hth_str_text(&t->name), t->name.len);
        hth_json_out_str(j, "arguments", hth_str_text(&t->arguments), t->arguments.len);
        hth_json_out_end(j, '}');
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static void write_message(hth_json_out *j, const hth_call_choice *c) {
    hth_json_out_begin(j, "message", '{');
    hth_json_out_text(j, "role", "assistant");
    if (c->content.len == 0 && c->n_tool > 0)
        hth_json_out_text(j, "content", NULL);
    else
        hth_json_out_str(j, "content", hth_str_text(&c->content), c->content.len);
    hth_json_out_text(j, "refusal", NULL);
    if (c->reasoning.len > 0) {
        hth_json_out_str(j, "reasoning_content", hth_str_text(&c->reasoning), c->reasoning.len);
        hth_json_out_str(j, "reasoning", hth_str_text(&c->reasoning), c->reasoning.len);
    }
    if (c->n_tool > 0) write_calls(j, c);
    hth_json_out_end(j, '}');
}

static void write_choice_logprobs(hth_json_out *j, const hth_call_whole *w, const hth_call_choice *c) {
    hth_json_out_begin(j, "logprobs", '{');
    hth_json_out_begin(j, "content", '[');
    for (size_t i = 0; i < c->n_token; i++) {
        const hth_call_token *t = &c->tokens[i];
        if (t->has_logprob && !t->is_prompt)
            write_token(j, w->tokenizer, t->id, t->logprob, c->tops + t->top, t->n_top);
    }
    hth_json_out_end(j, ']');
    hth_json_out_text(j, "refusal", NULL);
    hth_json_out_end(j, '}');
}

static void print_whole(void *user, const hth_call_whole *w, hth_str *out) {
    chat_reply *p = user;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    write_head(&j, p, "chat.completion", w->model, w->created);
    hth_json_out_begin(&j, "choices", '[');
    for (size_t i = 0; i < w->n_choice; i++) {
        const hth_call_choice *c = &w->choices[i];
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_int(&j, "index", (int64_t)i);
        write_message(&j, c);
        if (p->r->wants_logprobs)
            write_choice_logprobs(&j, w, c);
        else
            hth_json_out_text(&j, "logprobs", NULL);
        hth_json_out_text(&j, "finish_reason", openai_finish(c->reason));
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    openai_usage(&j, &w->usage);
    openai_timings(&j, &w->usage);
    hth_json_out_end(&j, '}');
}

// ---- the handler

static bool read_request(hth_exchange *x, openai_request **out, hth_fields *f, hth_fault *fault) {
    if (!openai_read_fields(x, openai_chat_fields, HTH_COUNT(openai_chat_fields), out, f, fault)) return false;
    openai_request *r = *out;
    r->ask.kind = HTH_ASK_CHAT;
    r->ask.logprobs = r->wants_logprobs;
    r->ask.n_top = r->wants_logprobs ? r->top_logprobs : 0;
    if (r->top_logprobs > 0 && !r->wants_logprobs) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "top_logprobs",
                          "'top_logprobs' needs 'logprobs' to be true");
    }
    if (r->has_continue && !r->ask.no_continue && r->has_opens && !r->ask.no_answer) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "continue_final_message",
                          "'continue_final_message' and 'add_generation_prompt' cannot both be true");
    }
    return openai_finish_request(f, r);
}

// Tokens of the prompt that a request makes.
void openai_chat_count(hth_server *s, hth_exchange *x, const hth_match *m) {
    openai_request *r;
    hth_fields f;
    hth_fault fault = {0};
    hth_str body;
    int64_t n = 0;
    (void)m;
    if (!read_request(x, &r, &f, &fault) || !hth_call_count(s, x, &r->ask, &n, &fault)) {
        hth_reply_fault(x, &fault);
        return;
    }
    hth_body_tell_ignored(x, &f);
    hth_str_init(&body, HTH_MEM_SERVER, 4096);
    hth_json_out j = hth_json_out_make(&body, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "object", "response.input_tokens");
    hth_json_out_int(&j, "input_tokens", n);
    hth_json_out_end(&j, '}');
    hth_reply(x, 200, "application/json", &body);
    hth_str_free(&body);
}

void openai_chat(hth_server *s, hth_exchange *x, const hth_match *m) {
    static const hth_printer printer = {.event = print_event, .whole = print_whole};
    static const hth_ask_names names = {.format = "response_format",
                                        .thinking = "reasoning_effort",
                                        .logprobs = "top_logprobs",
                                        .adapters = "lora"};
    openai_request *r;
    hth_fields f;
    hth_fault fault = {0};
    (void)m;
    chat_reply *p = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *p);
    if (!p || !hth_exchange_keep(x, p, free_reply)) {
        (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
        hth_reply_fault(x, &fault);
        return;
    }
    hth_str_init(&p->head, HTH_MEM_SERVER, 65536);
    hth_str_init(&p->piece, HTH_MEM_SERVER, (size_t)1 << 26);
    hth_str_init(&p->logprobs, HTH_MEM_SERVER, (size_t)1 << 24);
    hth_call_new_id("chatcmpl-", p->id);
    if (!read_request(x, &r, &f, &fault)) {
        hth_reply_fault(x, &fault);
        return;
    }
    p->r = r;
    r->ask.names = &names;
    if (r->reasoning_control) r->ask.control_id = hth_chat_text_of(p->id);
    hth_call_take_script(s, x, &r->ask);
    hth_call_serve(s, x, &r->ask, f.ignored, &printer, p);
}

// {"id": "chatcmpl-...", "action": "reasoning_end"}: what goes on in a stream is told from beside it.
void openai_control(hth_server *s, hth_exchange *x, const hth_match *m) {
    hth_fault fault = {0};
    hth_fields f;
    const hth_json *root;
    hth_chat_text id, action;
    hth_str out;
    (void)m;
    if (!hth_body_read(x, &f, &root, &fault) || !hth_fields_need_text(&f, root, "id", &id) ||
        !hth_fields_need_text(&f, root, "action", &action)) {
        hth_reply_fault(x, &fault);
        return;
    }
    if (!hth_chat_text_is(action, "reasoning_end")) {
        (void)hth_refuse(&fault, HTH_FAULT_BAD_REQUEST, "action", "'action' must be reasoning_end");
        hth_reply_fault(x, &fault);
        return;
    }
    const bool found = hth_call_stop_thinking(s, id);
    hth_str_init(&out, HTH_MEM_SERVER, 4096);
    hth_json_out j = hth_json_out_make(&out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_bool(&j, "success", found);
    if (!found) hth_json_out_text(&j, "message", "no completion at work has this id and reasoning_control");
    hth_json_out_end(&j, '}');
    hth_reply(x, 200, "application/json; charset=utf-8", &out);
    hth_str_free(&out);
}
