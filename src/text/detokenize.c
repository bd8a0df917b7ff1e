// Tokens back to text, as they come. Bytes that do not yet make a whole character wait in `pending`.
#include <string.h>

#include "text/tok_impl.h"

#define REPLACEMENT "\xef\xbf\xbd"

hth_detokenizer hth_detokenizer_make(const hth_tokenizer *t, bool show_control) {
    return (hth_detokenizer){.t = t, .show_control = show_control, .at_start = true};
}

// True when p could become a character if more bytes came.
static bool is_unfinished(const uint8_t *p, size_t n) {
    if (n >= 4 || p[0] < 0xc2 || p[0] > 0xf4) return false;
    unsigned len;
    (void)hth_cp_decode(p, n, &len);
    unsigned want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    return len == n && n < want;
}

// Writes whole characters of pending + text; what is left over becomes pending.
static void put_bytes(hth_detokenizer *d, const uint8_t *text, size_t n, hth_str *out) {
    while (d->n_pending > 0 && n > 0) {
        d->pending[d->n_pending++] = *text++;
        n--;
        while (d->n_pending > 0 && !is_unfinished(d->pending, d->n_pending)) {
            unsigned len;
            uint32_t cp = hth_cp_at(d->pending, d->n_pending, &len);
            if (hth_cp_is_invalid(d->pending, cp, len)) {
                (void)hth_str_puts(out, REPLACEMENT);
            } else {
                (void)hth_str_append(out, d->pending, len);
            }
            d->n_pending = (uint8_t)(d->n_pending - len);
            memmove(d->pending, d->pending + len, d->n_pending);
        }
    }
    size_t done = 0;
    for (size_t i = 0; i < n;) {
        unsigned len;
        uint32_t cp = hth_cp_at(text + i, n - i, &len);
        if (hth_cp_is_invalid(text + i, cp, len)) {
            (void)hth_str_append(out, text + done, i - done);
            done = i + len;
            if (done == n && is_unfinished(text + i, len)) {
                memcpy(d->pending, text + i, len);
                d->n_pending = (uint8_t)len;
                return;
            }
            (void)hth_str_puts(out, REPLACEMENT);
        }
        i += len;
    }
    (void)hth_str_append(out, text + done, n - done);
}

static void put_text(hth_detokenizer *d, const char *text, size_t n, hth_str *out) {
    put_bytes(d, (const uint8_t *)text, n, out);
}

static void flush_pending(hth_detokenizer *d, hth_str *out) {
    if (d->n_pending > 0) (void)hth_str_puts(out, REPLACEMENT);
    d->n_pending = 0;
}

// WordPiece: which texts join what stands before them without a space.
static bool joins_left(const hth_tokenizer *t, const char *text, size_t n) {
    if (!t->cleanup) return false;
    static const char *const tight[] = {".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"};
    for (size_t i = 0; i < HTH_COUNT(tight); i++) {
        if (strlen(tight[i]) == n && memcmp(tight[i], text, n) == 0) return true;
    }
    return false;
}

static void put_spaced(hth_detokenizer *d, const char *text, size_t n, hth_str *out) {
    const hth_tokenizer *t = d->t;
    size_t n_cont = t->cont ? strlen(t->cont) : 0;
    bool cont = n_cont > 0 && n > n_cont && memcmp(text, t->cont, n_cont) == 0;
    if (cont && !d->at_start) {
        text += n_cont;
        n -= n_cont;
    } else if (!d->at_start && !(t->detok == DETOK_WORDPIECE && joins_left(t, text, n))) {
        put_text(d, " ", 1, out);
    }
    d->at_start = false;
    put_text(d, text, n, out);
}

// U+2581 to spaces, and the first space of the text away.
static void put_sentencepiece(hth_detokenizer *d, const char *text, size_t n, hth_str *out) {
    bool strip = d->t->strip_first && d->at_start;
    if (n > 0) d->at_start = false;
    for (size_t i = 0; i < n;) {
        bool mark = n - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
        size_t end = mark ? i + 3 : i + 1;
        while (!mark && end < n && (uint8_t)text[end] != 0xe2) end++;
        if (mark || text[i] == ' ') {
            if (!(strip && i == 0)) put_text(d, " ", 1, out);
            if (!mark) put_text(d, text + i + 1, end - i - 1, out);
        } else {
            put_text(d, text + i, end - i, out);
        }
        i = end;
    }
}

hth_code hth_detokenizer_push(hth_detokenizer *d, hth_token id, hth_str *out, hth_err *err) {
    const hth_tokenizer *t = d->t;
    if (id < 0 || id >= t->vocab.n) {
        return hth_fail(err, HTH_ERR_RANGE, "token %d is outside the vocabulary of %d", (int)id,
                        (int)t->vocab.n);
    }
    const tok_entry *e = &t->vocab.e[id];
    const char *text = hth_vocab_text(&t->vocab, id);
    size_t n = e->n_text;
    if (e->flags & TOK_ABSENT || (e->flags & TOK_CONTROL && !d->show_control)) return HTH_OK;
    if (e->flags & TOK_BYTE) {
        put_text(d, (const char *)&e->byte, 1, out);
        d->at_start = false;
    } else if (e->flags & (TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN)) {
        flush_pending(d, out);
        if (t->detok == DETOK_WORDPIECE || t->detok == DETOK_SPACED) {
            put_spaced(d, text, n, out);
        } else {
            put_text(d, text, n, out);
            d->at_start = false;
        }
        d->after_special = true;
    } else if (t->word_suffix) {
        size_t n_suffix = t->model.n_suffix;
        bool ends = n >= n_suffix && memcmp(text + n - n_suffix, t->model.suffix, n_suffix) == 0;
        put_text(d, text, ends ? n - n_suffix : n, out);
        if (ends) put_text(d, " ", 1, out);
    } else if (t->detok == DETOK_SPM) {
        put_sentencepiece(d, text, n, out);
    } else if (t->detok == DETOK_BYTES) {
        put_text(d, text, n, out);
    } else {
        put_spaced(d, text, n, out);
    }
    return out->failed ? hth_fail_nomem(err, n) : HTH_OK;
}

hth_code hth_detokenizer_end(hth_detokenizer *d, hth_str *out, hth_err *err) {
    flush_pending(d, out);
    return out->failed ? hth_fail_nomem(err, 3) : HTH_OK;
}
