// Completions in llama-server's words.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/dialects.h"
#include "server/llama.h"

// ---- parts

static double per_second(int64_t n, uint64_t ns) {
    return ns > 0 ? (double)n * 1e9 / (double)ns : 0;
}

static void put_rate(hth_json_out *j, const char *what, int64_t n, uint64_t ns) {
    char key[40];
    snprintf(key, sizeof key, "%s_n", what);
    hth_json_out_int(j, key, n);
    snprintf(key, sizeof key, "%s_ms", what);
    hth_json_out_num(j, key, (double)ns * 1e-6);
    snprintf(key, sizeof key, "%s_per_token_ms", what);
    hth_json_out_num(j, key, n > 0 ? (double)ns * 1e-6 / (double)n : 0);
    snprintf(key, sizeof key, "%s_per_second", what);
    hth_json_out_num(j, key, per_second(n, ns));
}

void llama_put_timings(hth_json_out *j, const char *key, const hth_call_usage *u) {
    hth_json_out_begin(j, key, '{');
    hth_json_out_int(j, "cache_n", u->n_cached);
    put_rate(j, "prompt", u->n_prompt - u->n_cached, u->prefill_ns);
    put_rate(j, "predicted", u->n_output, u->generate_ns);
    if (u->n_drafted > 0) {
        hth_json_out_int(j, "draft_n", u->n_drafted);
        hth_json_out_int(j, "draft_n_accepted", u->n_accepted);
    }
    hth_json_out_end(j, '}');
}

static void put_token(hth_json_out *j, int32_t id, const char *text, size_t n, float logprob, bool is_after) {
    hth_json_out_int(j, "id", id);
    hth_json_out_str(j, "token", text, n);
    hth_json_out_begin(j, "bytes", '[');
    for (size_t i = 0; i < n; i++) hth_json_out_int(j, NULL, (uint8_t)text[i]);
    hth_json_out_end(j, ']');
    if (is_after)
        hth_json_out_float(j, "prob", expf(logprob));
    else
        hth_json_out_float(j, "logprob", logprob);
}

typedef struct prob {
    int32_t id, n_top;
    const char *text;
    size_t n_text;
    float logprob;
    const hth_logprob *top;
    const hth_tokenizer *tokenizer;
    bool is_after;
} prob;

static void put_prob(hth_json_out *j, const prob *p) {
    hth_json_out_begin(j, NULL, '{');
    put_token(j, p->id, p->text, p->n_text, p->logprob, p->is_after);
    hth_json_out_begin(j, p->is_after ? "top_probs" : "top_logprobs", '[');
    for (int32_t i = 0; i < p->n_top; i++) {
        size_t n;
        const char *text = hth_call_spell(p->tokenizer, p->top[i].token, &n);
        hth_json_out_begin(j, NULL, '{');
        put_token(j, p->top[i].token, text, n, p->top[i].logprob, p->is_after);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

static const char *stop_type(hth_finish reason) {
    switch (reason) {
    case HTH_FINISH_STOP:
    case HTH_FINISH_TOOLS: return "eos";
    case HTH_FINISH_STOP_TEXT: return "word";
    case HTH_FINISH_LENGTH:
    case HTH_FINISH_CONTEXT: return "limit";
    default: return "none";
    }
}

// Tokens that are banned because the end is to be ignored count as bias; null is minus infinity.
static void put_bias(hth_json_out *j, const llama_reply *r) {
    const hth_ask *a = r->ask;
    const int32_t n = a->ignore_end && r->tokenizer ? hth_tokenizer_n_vocab(r->tokenizer) : 0;
    hth_json_out_begin(j, "logit_bias", '[');
    for (int64_t i = 0; i < (int64_t)a->n_bias + n; i++) {
        const bool is_own = i < (int64_t)a->n_bias;
        const int32_t id = is_own ? a->bias[i].token : (int32_t)(i - (int64_t)a->n_bias);
        if (is_own ? a->bias[i].text.p != NULL : !hth_tokenizer_is_end(r->tokenizer, id)) continue;
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_float(j, "bias", is_own ? a->bias[i].bias : -INFINITY);
        hth_json_out_int(j, "token", id);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static void put_settings(hth_json_out *j, const llama_reply *r) {
    const hth_ask *a = r->ask;
    const int64_t n_predict = a->no_output ? 0 : a->max_tokens > 0 ? a->max_tokens : -1;
    hth_json_out_begin(j, "generation_settings", '{');
    llama_put_sampling(j, &r->sampling);
    hth_json_out_begin(j, "stop", '[');
    for (size_t i = 0; i < a->n_stop; i++) hth_json_out_str(j, NULL, a->stop[i].p, a->stop[i].n);
    hth_json_out_end(j, ']');
    hth_json_out_int(j, "max_tokens", n_predict);
    hth_json_out_int(j, "n_predict", n_predict);
    hth_json_out_int(j, "n_keep", a->n_keep);
    hth_json_out_bool(j, "ignore_eos", a->ignore_end);
    hth_json_out_bool(j, "stream", a->stream);
    hth_json_out_int(j, "n_probs", a->n_top);
    hth_json_out_str(j, "grammar", a->grammar.p ? a->grammar.p : "", a->grammar.n);
    hth_json_out_bool(j, "timings_per_token", r->wants_timings);
    hth_json_out_bool(j, "post_sampling_probs", a->logprobs_after);
    put_bias(j, r);
    hth_json_out_begin(j, "lora", '[');
    for (size_t i = 0; i < a->n_lora; i++) {
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_int(j, "id", a->lora[i].id);
        hth_json_out_num(j, "scale", a->lora[i].scale);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

typedef struct result {
    int64_t index;
    const char *content, *stop;
    size_t n_content, n_stop;
    hth_finish reason;
    bool has_new_line;
    const hth_call_usage *usage;
} result;

// The prompt's tokens as text, control tokens spelled out.
static void put_prompt(hth_json_out *j, const llama_reply *r, int64_t choice) {
    const hth_ask *a = r->ask;
    const size_t i = (size_t)(choice / (a->n > 0 ? a->n : 1));
    const hth_token bos = r->tokenizer ? hth_tokenizer_special(r->tokenizer, HTH_SPECIAL_BOS) : -1;
    hth_str text;
    hth_err none; // ids were checked when the request was
    hth_str_init(&text, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    size_t n;
    const char *head = r->tokenizer && bos >= 0 ? hth_tokenizer_spelling(r->tokenizer, bos, &n) : NULL;
    if (head && hth_tokenizer_adds_bos(r->tokenizer)) hth_str_append(&text, head, n);
    for (size_t k = 0; i < a->n_prompt && k < a->prompts[i].n_segment; k++) {
        const hth_segment *s = &a->prompts[i].segments[k];
        hth_detokenizer d = hth_detokenizer_make(r->tokenizer, true);
        for (size_t t = 0; r->tokenizer && t < s->n_token; t++)
            (void)!hth_detokenizer_push(&d, s->tokens[t], &text, &none);
        if (s->text) hth_str_append(&text, s->text, s->n_text);
    }
    hth_json_out_str(j, "prompt", hth_str_text(&text), text.len);
    hth_str_free(&text);
}

static void put_end(hth_json_out *j, const llama_reply *r, const result *e) {
    const hth_call_usage *u = e->usage;
    hth_json_out_int(j, "id_slot", 0);
    hth_json_out_bool(j, "stop", true);
    hth_json_out_text(j, "model", r->model ? r->model : "");
    hth_json_out_int(j, "tokens_predicted", u->n_output);
    hth_json_out_int(j, "tokens_evaluated", u->n_prompt);
    put_settings(j, r);
    put_prompt(j, r, e->index);
    hth_json_out_bool(j, "has_new_line", e->has_new_line);
    hth_json_out_bool(j, "truncated", e->reason == HTH_FINISH_CONTEXT);
    hth_json_out_text(j, "stop_type", stop_type(e->reason));
    hth_json_out_str(j, "stopping_word", e->stop ? e->stop : "", e->n_stop);
    hth_json_out_int(j, "tokens_cached", u->n_prompt + (u->n_output > 0 ? u->n_output - 1 : 0));
    llama_put_timings(j, "timings", u);
}

// ---- streams

static void put_frame(hth_str *out, const hth_str *json) {
    hth_str_puts(out, "data: ");
    hth_str_append(out, hth_str_text(json), json->len);
    hth_str_puts(out, "\n\n");
}

static void keep_id(llama_reply *r, int32_t id) {
    void *list = r->generated;
    if (!hth_grow(HTH_MEM_SERVER, &list, &r->cap_generated, r->n_generated + 1, sizeof *r->generated,
                  SIZE_MAX / 8))
        return;
    r->generated = list;
    r->generated[r->n_generated++] = id;
}

static void take_token(llama_reply *r, const hth_call_event *e) {
    if (e->token.is_prompt) return;
    if (r->wants_tokens) hth_str_printf(&r->ids, "%s%d", r->ids.len ? "," : "", e->token.id);
    r->n_token++;
    if (r->id_slot >= 0) keep_id(r, e->token.id);
    if (!r->wants_probs) return;
    const prob p = {.id = e->token.id,
                    .text = e->text,
                    .n_text = e->n_text,
                    .logprob = e->token.logprob,
                    .top = e->token.top,
                    .n_top = e->token.n_top,
                    .tokenizer = r->tokenizer,
                    .is_after = r->ask->logprobs_after};
    if (r->probs.len > 0) hth_str_putc(&r->probs, ',');
    hth_json_out j = hth_json_out_make(&r->probs, false);
    put_prob(&j, &p);
}

// What was collected since the last piece, as an array.
static void put_collected(hth_json_out *j, const char *key, hth_str *list) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_str_printf(&text, "[%s]", hth_str_text(list));
    hth_json_out_raw(j, key, hth_str_text(&text), text.len);
    hth_str_free(&text);
    hth_str_clear(list);
}

static void put_piece(llama_reply *r, int32_t choice, const char *text, size_t n, hth_str *out) {
    hth_str json;
    hth_str_init(&json, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&json, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "index", choice);
    hth_json_out_str(&j, "content", text, n);
    put_collected(&j, "tokens", &r->ids);
    hth_json_out_bool(&j, "stop", false);
    hth_json_out_int(&j, "id_slot", 0);
    hth_json_out_int(&j, "tokens_predicted", r->n_token);
    hth_json_out_int(&j, "tokens_evaluated", r->n_prompt);
    if (r->wants_probs) put_collected(&j, "completion_probabilities", &r->probs);
    hth_json_out_end(&j, '}');
    put_frame(out, &json);
    hth_str_free(&json);
}

static void put_progress(const hth_call_event *e, hth_str *out) {
    hth_str json;
    hth_str_init(&json, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&json, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "index", 0);
    hth_json_out_text(&j, "content", "");
    hth_json_out_bool(&j, "stop", false);
    hth_json_out_begin(&j, "prompt_progress", '{');
    hth_json_out_int(&j, "total", e->progress.n_total);
    hth_json_out_int(&j, "cache", e->progress.n_cached);
    hth_json_out_int(&j, "processed", e->progress.n_done);
    hth_json_out_int(&j, "time_ms", (int64_t)(e->progress.elapsed_ns / 1000000));
    hth_json_out_end(&j, '}');
    hth_json_out_end(&j, '}');
    put_frame(out, &json);
    hth_str_free(&json);
}

// Parts of an object by their paths, under the paths as names.
static void put_chosen(const llama_reply *r, const hth_str *json, hth_str *out) {
    hth_json_doc *doc = NULL;
    hth_err err;
    if (r->n_field == 0 || hth_json_parse(hth_str_text(json), json->len, 64 * (uint64_t)json->len + 65536,
                                          &doc, &err) != HTH_OK) {
        hth_str_append(out, hth_str_text(json), json->len);
        return;
    }
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    for (size_t i = 0; i < r->n_field; i++) {
        const hth_json *v = hth_json_root(doc);
        char name[128];
        for (const char *p = r->fields[i].p; v && *p;) {
            const size_t n = strcspn(p, "/");
            snprintf(name, sizeof name, "%.*s", n < 127 ? (int)n : 127, p);
            v = hth_json_get(v, name);
            p += n + (p[n] == '/');
        }
        if (v) hth_json_out_raw(&j, r->fields[i].p, json->p + v->pos, hth_json_extent(json->p, json->len, v));
    }
    hth_json_out_end(&j, '}');
    hth_json_free(doc);
}

static void put_last(llama_reply *r, const hth_call_usage *u, hth_str *out) {
    hth_str json, chosen;
    hth_str_init(&json, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_str_init(&chosen, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    const result e = {.index = r->choice,
                      .content = "",
                      .stop = hth_str_text(&r->stop),
                      .n_stop = r->stop.len,
                      .reason = r->reason,
                      .has_new_line = r->has_new_line,
                      .usage = u};
    hth_json_out j = hth_json_out_make(&json, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "index", e.index);
    hth_json_out_text(&j, "content", "");
    hth_json_out_begin(&j, "tokens", '[');
    hth_json_out_end(&j, ']');
    put_end(&j, r, &e);
    hth_json_out_end(&j, '}');
    put_chosen(r, &json, &chosen);
    put_frame(out, &chosen);
    hth_str_free(&chosen);
    hth_str_free(&json);
}

static void put_fault(const hth_fault *fault, hth_str *out) {
    hth_str json;
    hth_str_init(&json, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_llama.write_fault(fault, hth_fault_status(fault->kind), &json);
    put_frame(out, &json);
    hth_str_free(&json);
}

static void print_event(void *user, const hth_call_event *e, hth_str *out) {
    llama_reply *r = user;
    switch (e->kind) {
    case HTH_CALL_STARTED:
        r->model = e->started.model;
        r->tokenizer = e->started.tokenizer;
        break;
    case HTH_CALL_PROGRESS:
        r->n_prompt = e->progress.n_total;
        if (r->ask->progress) put_progress(e, out);
        break;
    case HTH_CALL_REASONING:
    case HTH_CALL_CONTENT:
        r->has_new_line = r->has_new_line || memchr(e->text, '\n', e->n_text);
        put_piece(r, e->choice, e->text, e->n_text, out);
        break;
    case HTH_CALL_TOKEN: take_token(r, e); break;
    case HTH_CALL_FINISH:
        if (r->ids.len > 0 || r->probs.len > 0) put_piece(r, e->choice, "", 0, out);
        r->reason = e->finish.reason;
        r->choice = e->choice;
        hth_str_clear(&r->stop);
        hth_str_append(&r->stop, e->finish.stop.p ? e->finish.stop.p : "", e->finish.stop.n);
        break;
    case HTH_CALL_ERROR: put_fault(e->fault, out); break;
    case HTH_CALL_END:
        llama_slot_keep(r->slots, r->id_slot, r->model, r->ask, r->generated, r->n_generated);
        put_last(r, e->usage, out);
        break;
    default: break;
    }
}

// ---- one piece

static void put_choice(const llama_reply *r, const hth_call_whole *w, size_t i, hth_str *out) {
    const hth_call_choice *c = &w->choices[i];
    hth_str json;
    hth_str_init(&json, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_json_out j = hth_json_out_make(&json, false);
    const result e = {.index = (int64_t)i,
                      .reason = c->reason,
                      .stop = c->stop.p,
                      .n_stop = c->stop.n,
                      .usage = &w->usage,
                      .has_new_line = c->content.len > 0 && memchr(c->content.p, '\n', c->content.len)};
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "index", (int64_t)i);
    hth_json_out_str(&j, "content", hth_str_text(&c->content), c->content.len);
    hth_json_out_begin(&j, "tokens", '[');
    for (size_t k = 0; r->wants_tokens && k < c->n_token; k++) {
        if (!c->tokens[k].is_prompt) hth_json_out_int(&j, NULL, c->tokens[k].id);
    }
    hth_json_out_end(&j, ']');
    put_end(&j, r, &e);
    if (r->wants_probs) hth_json_out_begin(&j, "completion_probabilities", '[');
    for (size_t k = 0; r->wants_probs && k < c->n_token; k++) {
        const hth_call_token *t = &c->tokens[k];
        const prob p = {.id = t->id,
                        .text = hth_str_text(&c->spellings) + t->text,
                        .n_text = t->n_text,
                        .logprob = t->logprob,
                        .top = c->tops + t->top,
                        .n_top = (int32_t)t->n_top,
                        .tokenizer = w->tokenizer,
                        .is_after = r->ask->logprobs_after};
        if (!t->is_prompt) put_prob(&j, &p);
    }
    if (r->wants_probs) hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    put_chosen(r, &json, out);
    hth_str_free(&json);
}

static void print_whole(void *user, const hth_call_whole *w, hth_str *out) {
    llama_reply *r = user;
    r->model = w->model;
    r->tokenizer = w->tokenizer;
    for (size_t k = 0; r->id_slot >= 0 && w->n_choice > 0 && k < w->choices[0].n_token; k++) {
        if (!w->choices[0].tokens[k].is_prompt) keep_id(r, w->choices[0].tokens[k].id);
    }
    llama_slot_keep(r->slots, r->id_slot, w->model, r->ask, r->generated, r->n_generated);
    if (r->is_list) hth_str_putc(out, '[');
    for (size_t i = 0; i < w->n_choice; i++) {
        if (i > 0) hth_str_putc(out, ',');
        put_choice(r, w, i, out);
    }
    if (r->is_list) hth_str_putc(out, ']');
}

const hth_printer llama_completion_printer = {
    .type = LLAMA_JSON, .stream_type = "text/event-stream", .event = print_event, .whole = print_whole};
