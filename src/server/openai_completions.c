// /v1/completions: texts that go on, several at once, with what stands after them (suffix), from texts or
// tokens.
#include <string.h>

#include "base/attr.h"
#include "server/openai_generation.h"
#include "server/field_sets.h"

// ---- the request

static bool read_prompt(hth_fields *f, const hth_json *v, void *to) {
    return openai_read_prompts(f, v, to);
}

// A number here: so many likeliest tokens are listed, and the logprobs of the ones that came.
static bool read_logprobs(hth_fields *f, const hth_json *v, void *to) {
    openai_request *r = to;
    if (v->kind == HTH_JSON_BOOL) {
        r->wants_logprobs = v->u.b;
        return true;
    }
    if (v->kind != HTH_JSON_NUMBER || !v->is_int) return hth_fields_refuse_kind(f, v, "a whole number");
    if (v->u.num.i < 0 || v->u.num.i > 20)
        return hth_fields_refuse(f, "must be from 0 to 20, not %lld", (long long)v->u.num.i);
    r->wants_logprobs = true;
    r->top_logprobs = v->u.num.i;
    return true;
}

static const hth_field openai_completion_fields[] = {
    {.name = "prompt",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|array",
     .read = read_prompt,
     .required = true,
     .help = "a text, texts, token ids, or lists of them"},
    OPENAI_ROW("suffix", TEXT, ask.suffix, "what stands after the completion: the model fills in the middle"),
    OPENAI_ROW("echo", BOOL, ask.echo, "the prompt comes first"),
    OPENAI_CUSTOM("logprobs", "number|boolean", read_logprobs,
                  "logprobs of the tokens, and of so many likeliest ones"),
    {.name = "best_of",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(openai_request, best_of),
     .lo = 0,
     .hi = 128,
     .given = offsetof(openai_request, has_best_of) + 1,
     .help = "as many as n, or 0"},
    OPENAI_GENERATION,
};
const hth_field_set hth_openai_completion_set = {openai_completion_fields, HTH_COUNT(openai_completion_fields)};

// ---- logprobs, in the older shape: lists beside each other

static int64_t n_characters(const char *text, size_t n) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static void write_top(hth_json_out *j, const struct hth_tokenizer *t, const hth_logprob *top, size_t n_top) {
    hth_json_out_begin(j, NULL, '{');
    for (size_t i = 0; i < n_top; i++) {
        size_t n;
        const char *text = hth_call_spell(t, top[i].token, &n);
        char key[256];
        if (n >= sizeof key) n = sizeof key - 1;
        memcpy(key, text, n);
        key[n] = 0;
        hth_json_out_float(j, key, top[i].logprob);
    }
    hth_json_out_end(j, '}');
}

static bool is_told(const openai_request *r, const hth_call_token *t) {
    return !t->is_prompt || r->ask.echo;
}

static void write_logprobs(hth_json_out *j, const openai_request *r, const struct hth_tokenizer *t,
                           const hth_call_choice *c, int64_t *at) {
    hth_json_out_begin(j, "logprobs", '{');
    hth_json_out_begin(j, "tokens", '[');
    for (size_t i = 0; i < c->n_token; i++) {
        if (is_told(r, &c->tokens[i]))
            hth_json_out_str(j, NULL, c->spellings.p + c->tokens[i].text, c->tokens[i].n_text);
    }
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "token_logprobs", '[');
    for (size_t i = 0; i < c->n_token; i++) {
        if (!is_told(r, &c->tokens[i])) continue;
        if (c->tokens[i].has_logprob)
            hth_json_out_float(j, NULL, c->tokens[i].logprob);
        else
            hth_json_out_text(j, NULL, NULL);
    }
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "top_logprobs", '[');
    for (size_t i = 0; i < c->n_token; i++) {
        if (!is_told(r, &c->tokens[i])) continue;
        if (c->tokens[i].has_logprob)
            write_top(j, t, c->tops + c->tokens[i].top, c->tokens[i].n_top);
        else
            hth_json_out_text(j, NULL, NULL);
    }
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "text_offset", '[');
    for (size_t i = 0; i < c->n_token; i++) {
        if (!is_told(r, &c->tokens[i])) continue;
        hth_json_out_int(j, NULL, *at);
        *at += n_characters(c->spellings.p + c->tokens[i].text, c->tokens[i].n_text);
    }
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

// ---- the reply

typedef struct completion_reply {
    const openai_request *r;
    char id[HTH_CALL_ID];
    hth_str head, piece;
    hth_call_whole waiting; // tokens of each choice that have not been sent
    int64_t *at;            // [n_choice] characters sent
    const struct hth_tokenizer *tokenizer;
} completion_reply;

static void free_reply(void *user) {
    completion_reply *p = user;
    hth_str_free(&p->head);
    hth_str_free(&p->piece);
    hth_call_whole_free(&p->waiting);
}

static void write_head(hth_json_out *j, const completion_reply *p, const char *model, int64_t created) {
    hth_json_out_text(j, "id", p->id);
    hth_json_out_text(j, "object", "text_completion");
    hth_json_out_int(j, "created", created);
    hth_json_out_text(j, "model", model);
    hth_json_out_text(j, "system_fingerprint", OPENAI_FINGERPRINT);
}

static void write_choice(completion_reply *p, hth_json_out *j, int32_t i, const char *text, size_t n,
                         hth_call_choice *tokens, const char *finish) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "index", i);
    hth_json_out_str(j, "text", text, n);
    if (p->r->wants_logprobs && tokens)
        write_logprobs(j, p->r, p->tokenizer, tokens, &p->at[i]);
    else
        hth_json_out_text(j, "logprobs", NULL);
    hth_json_out_text(j, "finish_reason", finish);
    hth_json_out_end(j, '}');
}

static void write_chunk(completion_reply *p, const hth_call_event *e, const char *finish, hth_str *out) {
    hth_call_choice *tokens = (size_t)e->choice < p->waiting.n_choice ? &p->waiting.choices[e->choice] : NULL;
    hth_str_clear(&p->piece);
    hth_json_out j = hth_json_out_make(&p->piece, false);
    hth_json_out_begin(&j, NULL, '{');
    openai_head(&j, &p->head);
    hth_json_out_begin(&j, "choices", '[');
    write_choice(p, &j, e->choice, e->n_text > 0 ? e->text : "", e->n_text, tokens, finish);
    hth_json_out_end(&j, ']');
    if (p->r->include_usage) hth_json_out_text(&j, "usage", NULL);
    hth_json_out_end(&j, '}');
    openai_data(out, hth_str_text(&p->piece), p->piece.len);
    if (!tokens) return;
    tokens->n_token = tokens->n_top = 0;
    hth_str_clear(&tokens->spellings);
}

static void write_end(completion_reply *p, const hth_call_usage *u, hth_str *out) {
    if (p->r->include_usage) {
        hth_str_clear(&p->piece);
        hth_json_out j = hth_json_out_make(&p->piece, false);
        hth_json_out_begin(&j, NULL, '{');
        openai_head(&j, &p->head);
        hth_json_out_begin(&j, "choices", '[');
        hth_json_out_end(&j, ']');
        openai_usage(&j, u);
        openai_timings(&j, u);
        hth_json_out_end(&j, '}');
        openai_data(out, hth_str_text(&p->piece), p->piece.len);
    }
    hth_str_puts(out, "data: [DONE]\n\n");
}

static void print_event(void *user, const hth_call_event *e, hth_str *out) {
    completion_reply *p = user;
    hth_json_out j;
    switch (e->kind) {
    case HTH_CALL_STARTED:
        p->tokenizer = e->started.tokenizer;
        j = hth_json_out_make(&p->head, false);
        hth_json_out_begin(&j, NULL, '{');
        write_head(&j, p, e->started.model, e->started.created);
        hth_json_out_end(&j, '}');
        break;
    case HTH_CALL_CONTENT: write_chunk(p, e, NULL, out); break;
    case HTH_CALL_TOKEN:
        if (p->r->wants_logprobs) hth_call_collect(&p->waiting, e);
        break;
    case HTH_CALL_FINISH: {
        hth_call_event last = {.kind = HTH_CALL_CONTENT, .choice = e->choice};
        write_chunk(p, &last, openai_finish(e->finish.reason), out);
        break;
    }
    case HTH_CALL_ERROR:
        hth_str_puts(out, "data: ");
        openai_write_fault(e->fault, hth_fault_status(e->fault->kind), out);
        hth_str_puts(out, "\n\n");
        break;
    case HTH_CALL_END: write_end(p, e->usage, out); break;
    default: break;
    }
}

static void print_whole(void *user, const hth_call_whole *w, hth_str *out) {
    completion_reply *p = user;
    hth_json_out j = hth_json_out_make(out, false);
    p->tokenizer = w->tokenizer;
    hth_json_out_begin(&j, NULL, '{');
    write_head(&j, p, w->model, w->created);
    hth_json_out_begin(&j, "choices", '[');
    for (size_t i = 0; i < w->n_choice; i++) {
        hth_call_choice *c = &w->choices[i];
        write_choice(p, &j, (int32_t)i, hth_str_text(&c->content), c->content.len, c,
                     openai_finish(c->reason));
    }
    hth_json_out_end(&j, ']');
    openai_usage(&j, &w->usage);
    openai_timings(&j, &w->usage);
    hth_json_out_end(&j, '}');
}

// ---- the handler

static bool read_request(hth_exchange *x, openai_request **out, hth_fields *f, hth_fault *fault) {
    if (!openai_read_fields(x, openai_completion_fields, HTH_COUNT(openai_completion_fields), out, f, fault)) return false;
    openai_request *r = *out;
    hth_ask *a = &r->ask;
    a->kind = HTH_ASK_TEXT;
    a->logprobs = r->wants_logprobs;
    a->prompt_logprobs = r->wants_logprobs && a->echo;
    a->n_top = r->top_logprobs;
    if (a->suffix.p && a->echo)
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "echo", "'echo' and 'suffix' exclude each other");
    return openai_finish_request(f, r);
}

void openai_completions(hth_server *s, hth_exchange *x, const hth_match *m) {
    static const hth_printer printer = {.event = print_event, .whole = print_whole};
    static const hth_ask_names names = {.format = "json_schema", .adapters = "lora"};
    openai_request *r;
    hth_fields f;
    hth_fault fault = {0};
    (void)m;
    completion_reply *p = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *p);
    if (!p || !hth_exchange_keep(x, p, free_reply)) {
        (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
        hth_reply_fault(x, &fault);
        return;
    }
    hth_str_init(&p->head, HTH_MEM_SERVER, 65536);
    hth_str_init(&p->piece, HTH_MEM_SERVER, (size_t)1 << 26);
    hth_call_new_id("cmpl-", p->id);
    if (read_request(x, &r, &f, &fault)) {
        p->r = r;
        p->at = hth_arena_alloc(hth_exchange_arena(x), r->ask.n_prompt * (size_t)(r->ask.n ? r->ask.n : 1),
                                sizeof *p->at);
        if (!p->at) (void)hth_fields_no_memory(&f);
    }
    if (fault.kind != HTH_FAULT_NONE) {
        hth_reply_fault(x, &fault);
        return;
    }
    r->ask.names = &names;
    hth_call_take_script(s, x, &r->ask);
    hth_call_serve(s, x, &r->ask, f.ignored, &printer, p);
}
