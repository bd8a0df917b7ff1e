// Which tokens a text has whatever follows it.
//
// Where a token goes over the end of the text, the tokens before it are those of the text up to where it begins. So the
// text is cut as a whole and up to every place where such a token could begin; what all cuts begin with is certain.
#include "grammar/forced.h"

#include <string.h>

static size_t n_bytes(const hth_grammar_vocab *v, int32_t token) {
    return v->text[token + 1] - v->text[token];
}

// The tokens of text [n] behind its first n_before bytes; none where no token begins there.
static hth_code cut(const hth_grammar_vocab *v, const char *text, size_t n, size_t n_before, hth_token_list *list, hth_err *err) {
    size_t sum = 0, first = 0, at = 0;
    list->n = 0;
    HTH_TRY(hth_tokenize(v->tokenizer, &(hth_text_segment){text, n, true}, 1, 0, list, err));
    for (size_t i = 0; i < list->n; i++) sum += n_bytes(v, list->ids[i]);
    const size_t behind = sum - n + n_before; // a tokenizer may put a space in front
    while (first < list->n && at < behind) at += n_bytes(v, list->ids[first++]);
    if (at != behind) first = list->n;
    list->n -= first;
    if (first > 0) memmove(list->ids, list->ids + first, list->n * sizeof *list->ids);
    return HTH_OK;
}

static size_t n_common(const hth_token_list *x, const hth_token_list *y) {
    size_t n = 0;
    while (n < x->n && n < y->n && x->ids[n] == y->ids[n]) n++;
    return n;
}

// Leaves in *list, the cut of `both` behind n_before bytes, what stays.
static hth_code keep_certain(const hth_grammar_vocab *v, const hth_str *both, size_t n_before, hth_token_list *list, hth_err *err) {
    const uint8_t *text = (const uint8_t *)both->p;
    hth_token_list other = {0};
    hth_code code = HTH_OK;
    size_t at = both->len > v->max_len ? both->len - v->max_len : 0;
    if (at < n_before) at = n_before;
    for (; at < both->len && list->n > 0 && code == HTH_OK; at++) {
        if (!vocab_goes_on(v, text + at, both->len - at)) continue;
        code = cut(v, both->p, at, n_before, &other, err);
        list->n = n_common(list, &other);
    }
    hth_token_list_free(&other);
    return code;
}

hth_code g_cut_forced(const hth_grammar_vocab *v, const uint8_t *before, size_t n_before, const hth_str *text,
                      hth_token_list *out, hth_err *err) {
    hth_str both;
    hth_str_init(&both, HTH_MEM_TEXT, n_before + text->len + 1);
    hth_code code = hth_str_append(&both, before, n_before) && hth_str_append(&both, text->p, text->len)
                        ? HTH_OK
                        : hth_fail_nomem(err, n_before + text->len);
    if (code == HTH_OK) code = cut(v, both.p, both.len, n_before, out, err);
    if (code == HTH_OK) code = keep_certain(v, &both, n_before, out, err);
    hth_str_free(&both);
    return code;
}
