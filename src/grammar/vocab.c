// Builds the tries of a vocabulary.
#include "grammar/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "formats/utf8.h"

#define TOKEN_MAX 255 // bytes; longer tokens are never allowed
#define BYTES_MAX (1u << 30)

const uint8_t g_lengths[N_LENGTHS] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24, PLAIN_MAX};

// ---- the bytes of tokens

// Whether the vocabulary writes spaces as U+2581.
static bool has_marks(const hth_tokenizer *t) {
    hth_detokenizer d = hth_detokenizer_make(t, false);
    d.at_start = false;
    hth_token id = hth_tokenizer_find(t, "\xe2\x96\x81", 3);
    hth_str out;
    hth_err err;
    hth_str_init(&out, HTH_MEM_TEXT, 64);
    bool found = id >= 0 && hth_detokenizer_push(&d, id, &out, &err) == HTH_OK && strcmp(hth_str_text(&out), " ") == 0;
    hth_str_free(&out);
    return found;
}

// What a token writes, NULL for those that write nothing or are not for text.
static const char *written(const hth_tokenizer *t, int32_t id, size_t *n, bool *is_spelling) {
    const char *text = hth_tokenizer_bytes(t, id, n);
    *is_spelling = false;
    if (text) return text;
    if (hth_tokenizer_is_control(t, id) || id == hth_tokenizer_special(t, HTH_SPECIAL_UNK)) return NULL;
    *is_spelling = true; // an added token writes its spelling
    return hth_tokenizer_spelling(t, id, n);
}

static hth_code read_texts(hth_grammar_vocab *v, hth_err *err) {
    const hth_tokenizer *t = v->tokenizer;
    const bool marks = has_marks(t);
    hth_str all;
    hth_str_init(&all, HTH_MEM_TEXT, BYTES_MAX);
    for (int32_t id = 0; id < v->n_vocab; id++) {
        size_t n = 0;
        bool is_spelling;
        const char *text = written(t, id, &n, &is_spelling);
        v->text[id] = (uint32_t)all.len;
        if (!text || n > TOKEN_MAX) continue;
        for (size_t i = 0; i < n; i++) {
            const bool is_mark = marks && !is_spelling && n - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
            (void)hth_str_putc(&all, is_mark ? ' ' : text[i]);
            if (is_mark) i += 2;
        }
        if (all.len - v->text[id] > v->max_len) v->max_len = all.len - v->text[id];
    }
    v->text[v->n_vocab] = (uint32_t)all.len;
    v->bytes = all.p;
    return all.failed ? hth_fail_nomem(err, all.len) : HTH_OK;
}

// ---- groups

static int group_of(const hth_grammar_vocab *v, int32_t id) {
    size_t n, n_char = 0;
    const uint8_t *p = vocab_text(v, id, &n);
    int class = PLAIN_ALNUM;
    for (size_t i = 0; i < n; n_char++) {
        const unsigned len = hth_utf8_len(p + i, n - i);
        const uint8_t c = p[i];
        if (len == 0 || c < 0x20 || c == '"' || c == '\\') return n > PLAIN_MAX ? GROUP_LONG : GROUP_OTHER;
        const bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const int here = is_alnum ? PLAIN_ALNUM : c == '_' ? PLAIN_WORD : PLAIN_ASCII;
        if (class < here) class = here;
        if (len > 1 || c == 0x7f) class = PLAIN_ANY;
        i += len;
    }
    for (int k = 0; k < N_LENGTHS; k++) {
        if (n_char <= g_lengths[k]) return class * N_LENGTHS + k;
    }
    return GROUP_LONG;
}

typedef struct entry {
    const uint8_t *text;
    uint32_t n;
    int32_t id;
    int group;
} entry;

static int compare_texts(const void *a, const void *b) {
    const entry *x = a, *y = b;
    const int d = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    if (d != 0) return d;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int compare(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->group != y->group ? x->group - y->group : compare_texts(a, b);
}

static size_t n_common(const entry *x, const entry *y) {
    size_t n = x->n < y->n ? x->n : y->n, i = 0;
    while (i < n && x->text[i] == y->text[i]) i++;
    return i;
}

// One trie of sorted entries. open[d] is the node at depth d on the way to the latest entry.
static hth_code make_nodes(hth_grammar_vocab *v, const entry *e, size_t n, trie_group *g, hth_err *err) {
    uint32_t open[TOKEN_MAX];
    size_t n_open = 0, cap = 0, cap_token = 0, max = 1;
    for (size_t i = 0; i < n; i++) max += e[i].n;
    for (size_t i = 0; i < n; i++) {
        const size_t keep = i > 0 ? n_common(&e[i - 1], &e[i]) : 0;
        if (i > 0 && keep == e[i].n) { // the same bytes once more
            v->same[e[i - 1].id] = e[i].id;
            continue;
        }
        if (!hth_grow(HTH_MEM_TEXT, (void **)&g->nodes, &cap, g->n + e[i].n, sizeof *g->nodes, max) ||
            !hth_grow(HTH_MEM_TEXT, (void **)&g->tokens, &cap_token, g->n + e[i].n, sizeof *g->tokens, max)) {
            return hth_fail_nomem(err, max * sizeof *g->nodes);
        }
        while (n_open > keep) g->nodes[open[--n_open]].end = (uint32_t)g->n;
        for (size_t d = keep; d < e[i].n; d++) {
            open[n_open++] = (uint32_t)g->n;
            g->tokens[g->n] = -1;
            g->nodes[g->n++] = (trie_node){.depth = (uint8_t)d, .byte = e[i].text[d]};
        }
        g->tokens[g->n - 1] = e[i].id;
    }
    while (n_open > 0) g->nodes[open[--n_open]].end = (uint32_t)g->n;
    return HTH_OK;
}

static hth_code make_trie(hth_grammar_vocab *v, const entry *e, size_t n, trie_group *g, hth_err *err) {
    HTH_TRY(make_nodes(v, e, n, g, err));
    uint32_t at = 0;
    for (unsigned c = 0; c < 256; c++) {
        g->first[c] = at;
        if (at < g->n && g->nodes[at].byte == c) at = g->nodes[at].end;
    }
    g->first[256] = at;
    return HTH_OK;
}

static uint32_t *plain_mask(const hth_grammar_vocab *v, int class, int length) {
    return v->plain + (size_t)(class * N_LENGTHS + length) * v->n_word;
}

static hth_code make_groups(hth_grammar_vocab *v, hth_err *err) {
    entry *list = hth_calloc(HTH_MEM_TEXT, (size_t)v->n_vocab + 1, sizeof *list);
    size_t n = 0;
    if (!list) return hth_fail_nomem(err, (size_t)v->n_vocab * sizeof *list);
    for (int32_t id = 0; id < v->n_vocab; id++) {
        size_t len;
        const uint8_t *text = vocab_text(v, id, &len);
        v->same[id] = -1;
        if (len == 0) continue;
        list[n++] = (entry){text, (uint32_t)len, id, group_of(v, id)};
    }
    qsort(list, n, sizeof *list, compare);
    hth_code code = HTH_OK;
    for (size_t i = 0; i < n && code == HTH_OK;) {
        size_t k = i;
        const int group = list[i].group;
        for (; k < n && list[k].group == group; k++) {
            for (int class = group / N_LENGTHS; class < PLAIN_COUNT; class++) {
                for (int length = group % N_LENGTHS; length < N_LENGTHS; length++) {
                    plain_mask(v, class, length)[list[k].id / 32] |= 1u << (list[k].id % 32);
                }
            }
        }
        code = make_trie(v, list + i, k - i, &v->groups[group], err);
        i = k;
    }
    if (code == HTH_OK) {
        qsort(list, n, sizeof *list, compare_texts);
        code = make_trie(v, list, n, &v->all, err);
    }
    hth_free(list);
    return code;
}

hth_code hth_grammar_vocab_new(const hth_tokenizer *t, hth_grammar_vocab **out, hth_err *err) {
    const int32_t n = hth_tokenizer_n_vocab(t);
    hth_grammar_vocab *v = hth_calloc(HTH_MEM_TEXT, 1, sizeof *v);
    if (!v) return hth_fail_nomem(err, sizeof *v);
    v->tokenizer = t;
    v->n_vocab = n;
    v->n_word = ((size_t)n + 31) / 32;
    v->plain = hth_calloc(HTH_MEM_TEXT, PLAIN_COUNT * N_LENGTHS * v->n_word + 1, sizeof *v->plain);
    v->same = hth_calloc(HTH_MEM_TEXT, (size_t)n + 1, sizeof *v->same);
    v->text = hth_calloc(HTH_MEM_TEXT, (size_t)n + 1, sizeof *v->text);
    hth_code code = v->plain && v->same && v->text ? HTH_OK : hth_fail_nomem(err, (size_t)n * 12);
    if (code == HTH_OK) code = read_texts(v, err);
    if (code == HTH_OK) code = make_groups(v, err);
    if (code != HTH_OK) {
        hth_grammar_vocab_free(v);
        return code;
    }
    *out = v;
    return HTH_OK;
}

void hth_grammar_vocab_free(hth_grammar_vocab *v) {
    if (!v) return;
    for (int i = 0; i < N_GROUPS; i++) {
        hth_free(v->groups[i].nodes);
        hth_free(v->groups[i].tokens);
    }
    hth_free(v->all.nodes);
    hth_free(v->all.tokens);
    hth_free(v->plain);
    hth_free(v->same);
    hth_free(v->text);
    hth_free(v->bytes);
    hth_free(v);
}

bool vocab_goes_on(const hth_grammar_vocab *v, const uint8_t *text, size_t n) {
    const trie_group *t = &v->all;
    size_t at = 0, d = 0;
    while (at < t->n && t->nodes[at].depth == d) {
        if (t->nodes[at].byte != text[d]) {
            at = t->nodes[at].end;
        } else if (++d == n) {
            return t->nodes[at].end > at + 1;
        } else {
            at++;
        }
    }
    return false;
}
