// RWKV's "world" vocabularies: one token per line as `id literal length`, the literal as Python's repr writes a str or
// bytes. Text becomes the longest tokens from left to right (longest.c). Token 0 stands in no file: it ends a text.
#include <string.h>

#include "text/tok_impl.h"
#include "text/world.h"

#define END_OF_TEXT "<|rwkv_tokenizer_end_of_text|>"
#define MAX_TOKEN_BYTES 1024

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// n hexadecimal digits; false where they are none.
static bool read_hex(const char *s, size_t n, uint32_t *v) {
    *v = 0;
    for (size_t i = 0; i < n; i++) {
        const int digit = hex_value(s[i]);
        if (digit < 0) return false;
        *v = *v << 4 | (uint32_t)digit;
    }
    return true;
}

// What follows a backslash at s; *used counts its characters. Writes at most as many bytes as the escape has.
static bool put_escape(const char *s, size_t n, bool is_bytes, size_t *used, char *out, size_t *n_out) {
    static const char plain[] = "tnr\\'\"", values[] = "\t\n\r\\'\"";
    const char *hit = n > 0 && s[0] ? strchr(plain, s[0]) : NULL;
    *used = 1;
    if (hit) {
        out[(*n_out)++] = values[hit - plain];
        return true;
    }
    const size_t digits = n == 0 ? 0 : s[0] == 'x' ? 2 : is_bytes ? 0 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
    uint32_t v;
    if (digits == 0 || n < 1 + digits || !read_hex(s + 1, digits, &v) || v > 0x10ffff) return false;
    *used = 1 + digits;
    if (is_bytes) {
        out[(*n_out)++] = (char)(uint8_t)v;
        return true;
    }
    uint8_t utf8[4];
    const unsigned len = hth_cp_encode(v, utf8);
    memcpy(out + *n_out, utf8, len);
    *n_out += len;
    return true;
}

bool hth_python_unescape(const char *text, size_t n, bool is_bytes, char *out, size_t *n_out) {
    *n_out = 0;
    for (size_t i = 0; i < n;) {
        size_t used = 0;
        if (text[i] != '\\') {
            out[(*n_out)++] = text[i++];
        } else if (put_escape(text + i + 1, n - i - 1, is_bytes, &used, out, n_out)) {
            i += 1 + used;
        } else {
            return false;
        }
    }
    return true;
}

hth_code hth_world_set_text(hth_vocab *v, int32_t id, hth_err *err) {
    char out[MAX_TOKEN_BYTES * 4];
    const size_t n = v->e[id].n_spelling;
    size_t n_out;
    if (v->e[id].flags & (TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN | TOK_UNUSED)) return HTH_OK;
    if (n > sizeof out || !hth_python_unescape(hth_vocab_spelling(v, id), n, true, out, &n_out)) {
        return hth_fail(err, HTH_ERR_FORMAT, "token %d is too long, or its escapes are none", (int)id);
    }
    return hth_vocab_set_text(v, id, out, n_out, err);
}

// One line; *id is -1 where it is empty.
typedef struct world_line {
    int64_t id;
    size_t n;
    char token[MAX_TOKEN_BYTES * 4];
} world_line;

static bool read_number(const char **at, const char *end, int64_t *v) {
    const char *p = *at;
    for (*v = 0; p < end && *p >= '0' && *p <= '9' && *v <= HTH_VOCAB_MAX; p++) *v = *v * 10 + (*p - '0');
    const bool ok = p > *at && *v <= HTH_VOCAB_MAX;
    *at = p;
    return ok;
}

static bool read_line(const char *at, const char *end, world_line *l) {
    int64_t length;
    if (!read_number(&at, end, &l->id) || end - at < 5 || *at++ != ' ') return false;
    const bool is_bytes = *at == 'b';
    at += is_bytes;
    const char quote = *at++;
    if (quote != '\'' && quote != '"') return false;
    const char *last = end; // the last quote
    while (last > at && last[-1] != quote) last--;
    if (last == at || last == end || *last != ' ') return false;
    const size_t n = (size_t)(last - 1 - at);
    if (n > sizeof l->token || !hth_python_unescape(at, n, is_bytes, l->token, &l->n)) return false;
    at = last + 1;
    return read_number(&at, end, &length) && at == end && l->n > 0 && length == (int64_t)l->n;
}

// Calls of each line; without a tokenizer it only finds the largest id.
static hth_code each_line(const char *text, size_t n, hth_tokenizer *t, int64_t *most, hth_err *err) {
    const char *end = text + n;
    world_line l;
    for (int64_t number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *last = stop ? stop : end;
        while (last > text && last[-1] == '\r') last--;
        if (last > text) {
            if (!read_line(text, last, &l)) {
                return hth_fail(err, HTH_ERR_FORMAT, "line %lld is not a token's number, its text and its length",
                                (long long)number);
            }
            if (l.id > *most) *most = l.id;
            if (t) HTH_TRY(hth_vocab_set(&t->vocab, (int32_t)l.id, l.token, l.n, 0, err));
        }
        text = stop ? stop + 1 : end;
    }
    return HTH_OK;
}

static hth_code load_world(hth_tokenizer *t, const char *text, size_t n, hth_err *err) {
    int64_t most = 0;
    HTH_TRY(each_line(text, n, NULL, &most, err));
    if (most == 0) return hth_fail(err, HTH_ERR_FORMAT, "the vocabulary is empty");
    HTH_TRY(hth_vocab_init(&t->vocab, most + 1, err));
    HTH_TRY(hth_vocab_set(&t->vocab, 0, END_OF_TEXT, strlen(END_OF_TEXT), TOK_CONTROL, err));
    HTH_TRY(each_line(text, n, t, &most, err));
    HTH_TRY(hth_vocab_index(&t->vocab, err));
    HTH_TRY(hth_tok_add_added(t, (added_token){.id = 0, .control = true}, err));
    hth_tok_setup_world(t);
    t->special[HTH_SPECIAL_BOS] = t->special[HTH_SPECIAL_EOS] = t->special[HTH_SPECIAL_PAD] = 0;
    return hth_tok_finish(t, false, err);
}

void hth_tok_setup_world(hth_tokenizer *t) {
    t->kind = "world";
    t->model.kind = MODEL_LONGEST;
    t->model.byte_level = true;
    t->detok = DETOK_BYTES;
}

hth_code hth_tok_load_world(const char *text, size_t n, hth_tokenizer **out, hth_err *err) {
    hth_tokenizer *t = NULL;
    *out = NULL;
    HTH_TRY(hth_tok_new(&t, err));
    const hth_code code = load_world(t, text, n, err);
    if (code == HTH_OK) {
        *out = t;
    } else {
        hth_tokenizer_free(t);
    }
    return code;
}
