// Budgets of thoughts: every completion is read along with a reader of its own, so that a thought is over here exactly
// where it is over for who gets the answer.
#include "chat/budget.h"

#include <stdatomic.h>

#include "base/mem.h"

#define MAX_TEXT ((size_t)1 << 26)

typedef struct watched {
    hth_chat_output *reader; // owned
    hth_detokenizer detokenizer;
    size_t n_read;     // tokens
    int64_t n_thought; // of them
    size_t end_at;     // tokens by which the thought that was cut is over; 0: none was
    bool is_lost;      // what was to end a thought has not, or it could not be read: it is left alone
} watched;

struct hth_chat_budget {
    int64_t most;
    atomic_bool is_stopped;
    hth_token_list end; // what is said
    watched *of;        // [n] owned
    int32_t n;
};

static hth_code hear_nothing(void *user, const hth_chat_delta *d, hth_err *err) {
    (void)user, (void)d, (void)err;
    return HTH_OK;
}

static hth_code write_end(const hth_chat_budget_params *p, hth_token_list *out, hth_err *err) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, MAX_TEXT);
    hth_chat_format_cut_thought(p->answers->format, p->chat, p->words, &text);
    const hth_text_segment s = {.text = hth_str_text(&text), .n = text.len};
    hth_code code = text.failed ? hth_fail_nomem(err, text.len) : hth_tokenize(p->answers->tokenizer, &s, 1, 0, out, err);
    hth_str_free(&text);
    if (code == HTH_OK && out->n == 0) {
        code = hth_fail(err, HTH_ERR_UNSUPPORTED, "the format %s knows no end of thoughts", hth_chat_format_name(p->answers->format));
    }
    return code;
}

static hth_code watch(const hth_chat_budget_params *p, hth_chat_budget *b, hth_err *err) {
    hth_chat_output_params answers = *p->answers;
    answers.sink = hear_nothing;
    for (int32_t i = 0; i < p->n_completion; i++, b->n++) {
        HTH_TRY(hth_chat_output_new(&answers, &b->of[i].reader, err));
        b->of[i].detokenizer = hth_detokenizer_make(answers.tokenizer, true);
        b->of[i].detokenizer.at_start = false; // it continues the prompt
    }
    return HTH_OK;
}

hth_code hth_chat_budget_new(const hth_chat_budget_params *p, hth_chat_budget **out, hth_err *err) {
    hth_chat_budget *b = hth_calloc(HTH_MEM_TEXT, 1, sizeof *b);
    if (!b) return hth_fail_nomem(err, sizeof *b);
    b->most = p->most;
    atomic_init(&b->is_stopped, false);
    b->of = hth_calloc(HTH_MEM_TEXT, (size_t)p->n_completion, sizeof *b->of);
    hth_code code = b->of ? HTH_OK : hth_fail_nomem(err, (size_t)p->n_completion * sizeof *b->of);
    if (code == HTH_OK) code = write_end(p, &b->end, err);
    if (code == HTH_OK) code = watch(p, b, err);
    if (code != HTH_OK) {
        hth_chat_budget_free(b);
        return code;
    }
    *out = b;
    return HTH_OK;
}

void hth_chat_budget_free(hth_chat_budget *b) {
    if (!b) return;
    for (int32_t i = 0; i < b->n; i++) hth_chat_output_free(b->of[i].reader);
    hth_token_list_free(&b->end);
    hth_free(b->of);
    hth_free(b);
}

void hth_chat_budget_stop(hth_chat_budget *b) {
    atomic_store(&b->is_stopped, true);
}

// ---- watching

static hth_code read_token(watched *w, int32_t token, hth_str *piece, hth_err *err) {
    w->n_thought += hth_chat_output_is_thinking(w->reader);
    hth_str_clear(piece);
    HTH_TRY(hth_detokenizer_push(&w->detokenizer, token, piece, err));
    return piece->len > 0 ? hth_chat_output_feed(w->reader, piece->p, piece->len, err) : HTH_OK;
}

static hth_code read_on(watched *w, const int32_t *tokens, size_t n, hth_err *err) {
    hth_str piece;
    hth_code code = HTH_OK;
    hth_str_init(&piece, HTH_MEM_TEXT, MAX_TEXT);
    for (; code == HTH_OK && w->n_read < n; w->n_read++) code = read_token(w, tokens[w->n_read], &piece, err);
    hth_str_free(&piece);
    return code;
}

size_t hth_chat_budget_force(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    hth_chat_budget *b = user;
    watched *w = &b->of[completion];
    hth_err err;
    if (w->is_lost) return 0;
    if (read_on(w, tokens, n, &err) != HTH_OK) w->is_lost = true;
    const bool is_thinking = hth_chat_output_is_thinking(w->reader);
    const bool is_spent = atomic_load(&b->is_stopped) || (b->most >= 0 && w->n_thought >= b->most);
    if (w->end_at > 0 && n >= w->end_at) {
        w->is_lost |= is_thinking && n == w->end_at;
        w->end_at = 0;
    }
    if (w->is_lost || w->end_at > 0 || !is_thinking || !is_spent || w->detokenizer.n_pending > 0) return 0;
    w->end_at = n + b->end.n;
    *out = b->end.ids;
    return b->end.n;
}
