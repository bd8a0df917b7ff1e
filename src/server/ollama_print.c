// Events in Ollama's words: a line of JSON for each piece, and a last one that counts.
#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "server/ollama.h"

static const char *reason_word(hth_finish reason) {
    switch (reason) {
    case HTH_FINISH_LENGTH:
    case HTH_FINISH_CONTEXT: return "length";
    case HTH_FINISH_CANCELLED: return "cancelled";
    default: return "stop";
    }
}

static void put_head(hth_json_out *j, const ollama_reply *r) {
    char now[OLLAMA_TIME];
    ollama_time(hth_clock_unix_ns(), now);
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "model", r->model);
    hth_json_out_text(j, "created_at", now);
}

// What one line, or the reply in one piece, says.
typedef struct said {
    const char *content, *thinking; // thinking NULL: no member
    size_t n_content, n_thinking;
} said;

static void put_said(hth_json_out *j, const ollama_reply *r, const said *s) {
    if (!r->is_chat) {
        hth_json_out_str(j, "response", s->content, s->n_content);
        if (s->thinking) hth_json_out_str(j, "thinking", s->thinking, s->n_thinking);
        return;
    }
    hth_json_out_begin(j, "message", '{');
    hth_json_out_text(j, "role", "assistant");
    hth_json_out_str(j, "content", s->content, s->n_content);
    if (s->thinking) hth_json_out_str(j, "thinking", s->thinking, s->n_thinking);
}

static void end_said(hth_json_out *j, const ollama_reply *r) {
    if (r->is_chat) hth_json_out_end(j, '}');
}

static void put_call(hth_json_out *j, int32_t index, const char *id, const char *name,
                     const hth_str *arguments) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "id", id);
    hth_json_out_begin(j, "function", '{');
    hth_json_out_int(j, "index", index);
    hth_json_out_text(j, "name", name);
    // An object here, whatever the model has written.
    hth_json_doc *doc = NULL;
    hth_err err;
    const bool is_object = arguments->len > 0 &&
                           hth_json_parse(arguments->p, arguments->len, 64 * (uint64_t)arguments->len + 4096,
                                          &doc, &err) == HTH_OK &&
                           hth_json_root(doc)->kind == HTH_JSON_OBJECT;
    hth_json_free(doc);
    if (is_object || arguments->len == 0) {
        hth_json_out_raw(j, "arguments", is_object ? arguments->p : "{}", is_object ? arguments->len : 2);
    } else {
        hth_json_out_begin(j, "arguments", '{');
        hth_json_out_str(j, "_raw", arguments->p, arguments->len);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

// ---- logprobs

static void put_bytes(hth_json_out *j, const char *text, size_t n) {
    hth_json_out_begin(j, "bytes", '[');
    for (size_t i = 0; i < n; i++) hth_json_out_int(j, NULL, (uint8_t)text[i]);
    hth_json_out_end(j, ']');
}

static void put_top(hth_json_out *j, const hth_tokenizer *t, const hth_logprob *top, int32_t n_top) {
    hth_json_out_begin(j, "top_logprobs", '[');
    for (int32_t i = 0; i < n_top; i++) {
        size_t n;
        const char *text = hth_call_spell(t, top[i].token, &n);
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_str(j, "token", text, n);
        hth_json_out_float(j, "logprob", top[i].logprob);
        put_bytes(j, text, n);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static void take_id(ollama_reply *r, int32_t id) {
    if (r->wants_context) hth_str_printf(&r->context, "%s%d", r->context.len > 0 ? "," : "", id);
}

static void put_context(hth_json_out *j, const ollama_reply *r) {
    if (!r->wants_context) return;
    hth_str list;
    hth_str_init(&list, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_str_printf(&list, "[%s]", hth_str_text(&r->context));
    hth_json_out_raw(j, "context", hth_str_text(&list), list.len);
    hth_str_free(&list);
}

static void take_token(ollama_reply *r, const hth_call_event *e) {
    take_id(r, e->token.id);
    if (!r->wants_logprobs || e->token.is_prompt) return;
    if (r->logprobs.len > 0) hth_str_putc(&r->logprobs, ',');
    hth_json_out j = hth_json_out_make(&r->logprobs, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_str(&j, "token", e->text, e->n_text);
    hth_json_out_float(&j, "logprob", e->token.logprob);
    put_bytes(&j, e->text, e->n_text);
    if (e->token.n_top > 0) put_top(&j, r->tokenizer, e->token.top, e->token.n_top);
    hth_json_out_end(&j, '}');
}

static void put_logprobs(hth_json_out *j, ollama_reply *r) {
    if (r->logprobs.len == 0) return;
    hth_str list;
    hth_str_init(&list, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_str_printf(&list, "[%s]", hth_str_text(&r->logprobs));
    hth_json_out_raw(j, "logprobs", hth_str_text(&list), list.len);
    hth_str_free(&list);
    hth_str_clear(&r->logprobs);
}

// ---- lines

static void put_line(ollama_reply *r, const said *s, hth_str *out) {
    hth_json_out j = hth_json_out_make(out, false);
    put_head(&j, r);
    put_said(&j, r, s);
    end_said(&j, r);
    hth_json_out_bool(&j, "done", false);
    put_logprobs(&j, r);
    hth_json_out_end(&j, '}');
    hth_str_putc(out, '\n');
}

static void put_call_line(ollama_reply *r, hth_str *out) {
    hth_json_out j = hth_json_out_make(out, false);
    put_head(&j, r);
    put_said(&j, r, &(said){.content = ""});
    hth_json_out_begin(&j, "tool_calls", '[');
    put_call(&j, r->call_index, r->call_id, r->call_name, &r->arguments);
    hth_json_out_end(&j, ']');
    end_said(&j, r);
    hth_json_out_bool(&j, "done", false);
    hth_json_out_end(&j, '}');
    hth_str_putc(out, '\n');
}

static void put_counts(hth_json_out *j, const hth_call_usage *u, hth_finish reason) {
    hth_json_out_bool(j, "done", true);
    hth_json_out_text(j, "done_reason", reason_word(reason));
    hth_json_out_int(j, "total_duration", (int64_t)u->total_ns);
    hth_json_out_int(j, "load_duration", (int64_t)u->load_ns);
    hth_json_out_int(j, "prompt_eval_count", u->n_prompt);
    hth_json_out_int(j, "prompt_eval_duration", (int64_t)u->prefill_ns);
    hth_json_out_int(j, "eval_count", u->n_output);
    hth_json_out_int(j, "eval_duration", (int64_t)u->generate_ns);
}

static void put_last_line(ollama_reply *r, const hth_call_usage *u, hth_str *out) {
    hth_json_out j = hth_json_out_make(out, false);
    put_head(&j, r);
    put_said(&j, r, &(said){.content = ""});
    end_said(&j, r);
    put_logprobs(&j, r);
    put_context(&j, r);
    put_counts(&j, u, r->reason);
    hth_json_out_end(&j, '}');
    hth_str_putc(out, '\n');
}

static void put_error(const hth_fault *fault, hth_str *out) {
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "error", fault->message);
    hth_json_out_end(&j, '}');
}

static void print_event(void *user, const hth_call_event *e, hth_str *out) {
    ollama_reply *r = user;
    switch (e->kind) {
    case HTH_CALL_STARTED: r->tokenizer = e->started.tokenizer; break;
    case HTH_CALL_CONTENT: put_line(r, &(said){.content = e->text, .n_content = e->n_text}, out); break;
    case HTH_CALL_REASONING:
        put_line(r, &(said){.content = "", .thinking = e->text, .n_thinking = e->n_text}, out);
        break;
    case HTH_CALL_TOOL:
        hth_str_clear(&r->arguments);
        r->call_index = e->tool.index;
        snprintf(r->call_id, sizeof r->call_id, "%s", e->tool.id);
        snprintf(r->call_name, sizeof r->call_name, "%s", e->tool.name);
        break;
    case HTH_CALL_ARGUMENTS: hth_str_append(&r->arguments, e->text, e->n_text); break;
    case HTH_CALL_TOOL_END: put_call_line(r, out); break;
    case HTH_CALL_TOKEN: take_token(r, e); break;
    case HTH_CALL_FINISH: r->reason = e->finish.reason; break;
    case HTH_CALL_END: put_last_line(r, e->usage, out); break;
    case HTH_CALL_ERROR:
        put_error(e->fault, out);
        hth_str_putc(out, '\n');
        break;
    default: break;
    }
}

// Clients parse every line: an empty one would be an error to them, a piece of nothing is not.
static void print_ping(void *user, hth_str *out) {
    put_line(user, &(said){.content = ""}, out);
}

// ---- one piece

static void put_whole_logprobs(hth_json_out *j, const hth_call_whole *w, const hth_call_choice *c) {
    hth_json_out_begin(j, "logprobs", '[');
    for (size_t i = 0; i < c->n_token; i++) {
        const hth_call_token *t = &c->tokens[i];
        if (t->is_prompt) continue;
        const char *text = hth_str_text(&c->spellings) + t->text;
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_str(j, "token", text, t->n_text);
        hth_json_out_float(j, "logprob", t->logprob);
        put_bytes(j, text, t->n_text);
        if (t->n_top > 0) put_top(j, w->tokenizer, c->tops + t->top, (int32_t)t->n_top);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static void print_whole(void *user, const hth_call_whole *w, hth_str *out) {
    ollama_reply *r = user;
    const hth_call_choice *c = &w->choices[0];
    hth_json_out j = hth_json_out_make(out, false);
    put_head(&j, r);
    const said s = {.content = hth_str_text(&c->content),
                    .n_content = c->content.len,
                    .thinking = c->reasoning.len > 0 ? c->reasoning.p : NULL,
                    .n_thinking = c->reasoning.len};
    put_said(&j, r, &s);
    if (c->n_tool > 0) {
        hth_json_out_begin(&j, "tool_calls", '[');
        for (size_t i = 0; i < c->n_tool; i++)
            put_call(&j, (int32_t)i, hth_str_text(&c->tools[i].id), hth_str_text(&c->tools[i].name),
                     &c->tools[i].arguments);
        hth_json_out_end(&j, ']');
    }
    end_said(&j, r);
    if (r->wants_logprobs) put_whole_logprobs(&j, w, c);
    for (size_t i = 0; i < c->n_token; i++) take_id(r, c->tokens[i].id);
    put_context(&j, r);
    put_counts(&j, &w->usage, c->reason);
    hth_json_out_end(&j, '}');
}

const hth_printer ollama_text_printer = {.type = OLLAMA_JSON,
                                         .stream_type = OLLAMA_NDJSON,
                                         .event = print_event,
                                         .ping = print_ping,
                                         .whole = print_whole};

void ollama_reply_loaded(hth_exchange *x, const ollama_reply *r, const char *reason) {
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, OLLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&body, false);
    put_head(&j, r);
    put_said(&j, r, &(said){.content = ""});
    end_said(&j, r);
    hth_json_out_bool(&j, "done", true);
    hth_json_out_text(&j, "done_reason", reason);
    hth_json_out_end(&j, '}');
    ollama_reply_json(x, 200, &body);
}

// ---- embeddings

static void put_vector(hth_json_out *j, const char *key, const hth_call_choice *c, int64_t dimensions) {
    const size_t n = hth_call_shorten(c->embedding, (size_t)c->n_embedding, dimensions);
    hth_json_out_begin(j, key, '[');
    for (size_t i = 0; i < n; i++) hth_json_out_float(j, NULL, c->embedding[i]);
    hth_json_out_end(j, ']');
}

static void print_embed(void *user, const hth_call_whole *w, hth_str *out) {
    const ollama_reply *r = user;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "model", r->model);
    hth_json_out_begin(&j, "embeddings", '[');
    for (size_t i = 0; i < w->n_choice; i++) put_vector(&j, NULL, &w->choices[i], r->dimensions);
    hth_json_out_end(&j, ']');
    hth_json_out_int(&j, "total_duration", (int64_t)w->usage.total_ns);
    hth_json_out_int(&j, "load_duration", (int64_t)w->usage.load_ns);
    hth_json_out_int(&j, "prompt_eval_count", w->usage.n_prompt);
    hth_json_out_end(&j, '}');
}

static void print_embeddings(void *user, const hth_call_whole *w, hth_str *out) {
    (void)user;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    put_vector(&j, "embedding", &w->choices[0], 0);
    hth_json_out_end(&j, '}');
}

const hth_printer ollama_embed_printer = {.type = OLLAMA_JSON, .whole = print_embed};
const hth_printer ollama_embeddings_printer = {.type = OLLAMA_JSON, .whole = print_embeddings};
