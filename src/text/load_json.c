// A tokenizer from tokenizer.json, the format of the `tokenizers` package: model, added tokens, decoder and
// post-processor. Its normalizers and pre-tokenizers are read in load_json_steps.c.
#include <math.h>
#include <string.h>

#include "text/load_json.h"
#include "text/merge_batch.h"

// Ids may have holes, but not many more than there are tokens.
#define MAX_HOLES (1 << 20)

hth_code hth_json_fail(json_loader *l, const hth_json *at, const char *what) {
    return hth_fail_at(l->err, HTH_ERR_FORMAT, at ? at->pos : HTH_NO_POS, "%s", what);
}

bool hth_json_is(const hth_json *v, const char *key, const char *text) {
    const hth_json *s = hth_json_get(v, key);
    return s && s->kind == HTH_JSON_STRING && strcmp(s->u.str, text) == 0;
}

static bool is_kind(const hth_json *v, hth_json_kind kind) {
    return v && v->kind == kind;
}

// ---- vocabulary ----

static hth_code check_id(json_loader *l, const hth_json *v, int64_t *max_id) {
    if (v->kind != HTH_JSON_NUMBER || !v->is_int || v->u.num.i < 0 || v->u.num.i >= HTH_VOCAB_MAX) {
        return hth_json_fail(l, v, "a token id is not a whole number in range");
    }
    if (v->u.num.i > *max_id) *max_id = v->u.num.i;
    return HTH_OK;
}

// The number of tokens: one more than the largest id.
static hth_code count_tokens(json_loader *l, const hth_json *vocab, const hth_json *added, int64_t *n) {
    int64_t max_id = -1, count = vocab->n;
    if (vocab->kind == HTH_JSON_ARRAY) {
        max_id = (int64_t)vocab->n - 1;
    } else {
        for (uint32_t i = 0; i < vocab->n; i++) HTH_TRY(check_id(l, &vocab->u.members[i].value, &max_id));
    }
    for (uint32_t i = 0; added && i < added->n; i++, count++) {
        const hth_json *id = hth_json_get(&added->u.items[i], "id");
        if (!id) return hth_json_fail(l, &added->u.items[i], "added_tokens: an entry without an id");
        HTH_TRY(check_id(l, id, &max_id));
    }
    if (max_id >= 2 * count + MAX_HOLES)
        return hth_json_fail(l, vocab, "token ids reach far beyond the number of tokens");
    *n = max_id + 1;
    return HTH_OK;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Whether a token of a model with byte fallback spells a byte.
static int byte_of(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    int hi = hex_digit(s[3]), lo = hex_digit(s[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

static hth_code set_model_token(json_loader *l, int32_t id, const char *s, size_t n) {
    hth_vocab *v = &l->t->vocab;
    HTH_TRY(hth_vocab_set(v, id, s, n, 0, l->err));
    bool ok;
    if (l->t->model.byte_level) return hth_vocab_decode_bytes(v, id, &ok, l->err);
    int byte = l->t->model.byte_fallback ? byte_of(s, n) : -1;
    if (byte >= 0) {
        v->e[id].flags = TOK_BYTE;
        v->e[id].byte = (uint8_t)byte;
    }
    return HTH_OK;
}

static hth_code set_scored(json_loader *l, const hth_json *vocab) {
    hth_vocab *v = &l->t->vocab;
    v->score = hth_calloc(HTH_MEM_TEXT, (size_t)v->n, sizeof *v->score);
    if (!v->score) return hth_fail_nomem(l->err, (uint64_t)v->n * sizeof *v->score);
    for (uint32_t i = 0; i < vocab->n; i++) {
        const hth_json *pair = &vocab->u.items[i];
        if (pair->kind != HTH_JSON_ARRAY || pair->n != 2 || pair->u.items[0].kind != HTH_JSON_STRING ||
            pair->u.items[1].kind != HTH_JSON_NUMBER || !isfinite(pair->u.items[1].u.num.d)) {
            return hth_json_fail(l, pair, "model.vocab: an entry is not a piece and its score");
        }
        const hth_json *s = &pair->u.items[0];
        HTH_TRY(set_model_token(l, (int32_t)i, s->u.str, s->n));
        v->score[i] = pair->u.items[1].is_int ? (double)pair->u.items[1].u.num.i : pair->u.items[1].u.num.d;
    }
    return HTH_OK;
}

static hth_code set_added(json_loader *l, const hth_json *a) {
    hth_tokenizer *t = l->t;
    const hth_json *bad = NULL, *content = hth_json_get(a, "content");
    int32_t id = (int32_t)hth_json_get(a, "id")->u.num.i;
    if (!is_kind(content, HTH_JSON_STRING))
        return hth_json_fail(l, a, "added_tokens: an entry without content");
    bool special = hth_json_bool(a, "special", false, &bad);
    added_token token = {.id = id, .control = special};
    token.lstrip = hth_json_bool(a, "lstrip", false, &bad);
    token.rstrip = hth_json_bool(a, "rstrip", false, &bad);
    token.single_word = hth_json_bool(a, "single_word", false, &bad);
    token.normalized = hth_json_bool(a, "normalized", !special, &bad);
    if (bad) return hth_json_fail(l, bad, "added_tokens: a flag is not true or false");
    unsigned flags = (special ? TOK_CONTROL : TOK_ADDED) | (t->vocab.e[id].flags & TOK_BYTE);
    HTH_TRY(hth_vocab_set(&t->vocab, id, content->u.str, content->n, flags, l->err));
    return content->n > 0 ? hth_tok_add_added(t, token, l->err) : HTH_OK;
}

static hth_code load_vocab(json_loader *l) {
    const hth_json *vocab = hth_json_get(l->model, "vocab"), *added = hth_json_get(l->root, "added_tokens");
    bool scored = l->t->model.kind == MODEL_UNIGRAM;
    if (!is_kind(vocab, scored ? HTH_JSON_ARRAY : HTH_JSON_OBJECT))
        return hth_json_fail(l, l->model, "model.vocab is missing or of the wrong type");
    if (added && added->kind == HTH_JSON_NULL) added = NULL;
    if (added && added->kind != HTH_JSON_ARRAY)
        return hth_json_fail(l, added, "added_tokens is not an array");
    int64_t n = 0;
    HTH_TRY(count_tokens(l, vocab, added, &n));
    HTH_TRY(hth_vocab_init(&l->t->vocab, n, l->err));
    if (scored) {
        HTH_TRY(set_scored(l, vocab));
    } else {
        for (uint32_t i = 0; i < vocab->n; i++) {
            const hth_json_member *m = &vocab->u.members[i];
            HTH_TRY(set_model_token(l, (int32_t)m->value.u.num.i, m->key, m->key_len));
        }
    }
    for (uint32_t i = 0; added && i < added->n; i++) HTH_TRY(set_added(l, &added->u.items[i]));
    return hth_vocab_index(&l->t->vocab, l->err);
}

// ---- merges ----

typedef struct merge_parts {
    const char *a, *b;
    size_t n_a, n_b;
} merge_parts;

// A merge is "a b" or ["a", "b"].
static bool split_merge(const hth_json *v, merge_parts *p) {
    if (v->kind == HTH_JSON_ARRAY && v->n == 2 && v->u.items[0].kind == HTH_JSON_STRING &&
        v->u.items[1].kind == HTH_JSON_STRING) {
        *p = (merge_parts){v->u.items[0].u.str, v->u.items[1].u.str, v->u.items[0].n, v->u.items[1].n};
        return true;
    }
    const char *space = v->kind == HTH_JSON_STRING ? memchr(v->u.str, ' ', v->n) : NULL;
    if (!space) return false;
    size_t n_a = (size_t)(space - v->u.str);
    *p = (merge_parts){v->u.str, space + 1, n_a, v->n - n_a - 1};
    return true;
}

static int32_t find_part(const hth_tokenizer *t, const char *s, size_t n) {
    char buf[1024];
    if (!t->model.byte_level) return hth_vocab_find_text(&t->vocab, s, n);
    int len = hth_bytes_decode(s, n, buf, sizeof buf);
    return len < 0 ? -1 : hth_vocab_find_text(&t->vocab, buf, (size_t)len);
}

// Left, right and merged token of one merge. *known is false for merges that name a special token: those
// are never made from text.
static hth_code resolve_merge(json_loader *l, const hth_json *v, int32_t ids[3], bool *known) {
    const hth_tokenizer *t = l->t;
    merge_parts p;
    if (!split_merge(v, &p)) return hth_json_fail(l, v, "model.merges: an entry is not two tokens");
    size_t skip =
        t->model.n_infix && p.n_b >= t->model.n_infix && memcmp(p.b, t->model.infix, t->model.n_infix) == 0
            ? t->model.n_infix
            : 0;
    hth_str_clear(&l->buf);
    if (!hth_str_append(&l->buf, p.a, p.n_a) || !hth_str_append(&l->buf, p.b + skip, p.n_b - skip)) {
        return hth_fail_nomem(l->err, p.n_a + p.n_b);
    }
    ids[0] = find_part(t, p.a, p.n_a);
    ids[1] = find_part(t, p.b, p.n_b);
    ids[2] = find_part(t, l->buf.p, l->buf.len);
    *known = ids[0] >= 0 && ids[1] >= 0 && ids[2] >= 0;
    bool exists = (ids[0] >= 0 || hth_vocab_find(&t->vocab, p.a, p.n_a) >= 0) &&
                  (ids[1] >= 0 || hth_vocab_find(&t->vocab, p.b, p.n_b) >= 0) &&
                  (ids[2] >= 0 || hth_vocab_find(&t->vocab, l->buf.p, l->buf.len) >= 0);
    return *known || exists
             ? HTH_OK
             : hth_json_fail(l, v, "model.merges: an entry names a token that the vocabulary lacks");
}

// The merge that could not be looked up in a batch, one by one: an error, or a special token.
static hth_code load_merge_alone(json_loader *l, const hth_json *merges, uint32_t i) {
    int32_t ids[3];
    bool known = false;
    HTH_TRY(resolve_merge(l, &merges->u.items[i], ids, &known));
    if (!known) return HTH_OK;
    return hth_pieces_add_merge(&l->t->model, merges->n, (uint32_t)ids[0], (uint32_t)ids[1], i,
                                (uint32_t)ids[2], l->err);
}

static hth_code flush_merges(json_loader *l, const hth_json *merges, merge_batch *batch) {
    HTH_TRY(hth_merge_batch_flush(batch));
    for (size_t i = 0; i < batch->n_missing; i++) HTH_TRY(load_merge_alone(l, merges, batch->missing[i]));
    return HTH_OK;
}

static hth_code batch_merges(json_loader *l, const hth_json *merges, merge_batch *batch) {
    for (uint32_t i = 0; i < merges->n; i++) {
        merge_parts p;
        bool ok = split_merge(&merges->u.items[i], &p);
        if (ok && l->t->model.n_infix == 0) {
            hth_merge_batch_add(batch, p.a, p.n_a, p.b, p.n_b, i, &ok);
        } else {
            ok = false;
        }
        if (!ok) HTH_TRY(load_merge_alone(l, merges, i));
        if (batch->n == MERGE_BATCH) HTH_TRY(flush_merges(l, merges, batch));
    }
    return flush_merges(l, merges, batch);
}

static hth_code load_merges(json_loader *l) {
    const hth_json *merges = hth_json_get(l->model, "merges");
    if (!is_kind(merges, HTH_JSON_ARRAY))
        return hth_json_fail(l, l->model, "model.merges is missing or not an array");
    merge_batch *batch = hth_calloc(HTH_MEM_TEXT, 1, sizeof *batch);
    if (!batch) return hth_fail_nomem(l->err, sizeof *batch);
    *batch = (merge_batch){.t = l->t, .n_expect = merges->n, .err = l->err};
    hth_code code = batch_merges(l, merges, batch);
    hth_free(batch);
    return code;
}

// ---- model ----

static hth_code read_affix(json_loader *l, const char *key, char out[16], uint32_t *n) {
    const hth_json *bad = NULL;
    const char *s = hth_json_str(l->model, key, "", &bad);
    if (bad || strlen(s) > 15)
        return hth_json_fail(l, bad ? bad : l->model, "model: a prefix or suffix is no short string");
    *n = (uint32_t)strlen(s);
    memcpy(out, s, *n + 1);
    return HTH_OK;
}

static hth_code find_kind(json_loader *l) {
    hth_pieces *m = &l->t->model;
    const hth_json *type = hth_json_get(l->model, "type");
    const char *name = is_kind(type, HTH_JSON_STRING) ? type->u.str : "";
    if (!name[0] && hth_json_get(l->model, "merges")) name = "BPE";
    if (!name[0] && is_kind(hth_json_get(l->model, "vocab"), HTH_JSON_ARRAY)) name = "Unigram";
    if (!name[0]) name = "WordPiece";
    l->t->kind = "bpe";
    if (strcmp(name, "BPE") == 0) {
        m->kind = MODEL_PAIRS;
    } else if (strcmp(name, "Unigram") == 0) {
        m->kind = MODEL_UNIGRAM;
        l->t->kind = "unigram";
    } else if (strcmp(name, "WordPiece") == 0) {
        m->kind = MODEL_WORDPIECE;
        l->t->kind = "wordpiece";
    } else {
        return hth_fail_at(l->err, HTH_ERR_UNSUPPORTED, type->pos, "model.type: '%.64s' is not supported",
                           name);
    }
    return HTH_OK;
}

static hth_code read_model(json_loader *l) {
    hth_pieces *m = &l->t->model;
    const hth_json *bad = NULL;
    HTH_TRY(find_kind(l));
    m->byte_fallback = hth_json_bool(l->model, "byte_fallback", false, &bad);
    m->fuse_unk = hth_json_bool(l->model, "fuse_unk", m->kind == MODEL_UNIGRAM, &bad);
    m->whole_first = hth_json_bool(l->model, "ignore_merges", false, &bad);
    int64_t max_chars = hth_json_int(l->model, "max_input_chars_per_word", 100, &bad);
    if (bad || max_chars < 0)
        return hth_json_fail(l, bad ? bad : l->model, "model: a value of the wrong type");
    m->max_word_chars = max_chars < 1000000 ? (uint32_t)max_chars : 1000000;
    if (m->kind == MODEL_PAIRS) {
        HTH_TRY(read_affix(l, "continuing_subword_prefix", m->infix, &m->n_infix));
        HTH_TRY(read_affix(l, "end_of_word_suffix", m->suffix, &m->n_suffix));
    }
    return HTH_OK;
}

static hth_code read_unk(json_loader *l) {
    hth_tokenizer *t = l->t;
    const hth_json *bad = NULL;
    if (t->model.kind == MODEL_UNIGRAM) {
        int64_t id = hth_json_int(l->model, "unk_id", -1, &bad);
        if (bad || id >= t->vocab.n)
            return hth_json_fail(l, bad ? bad : l->model, "model.unk_id is no token");
        t->model.unk = id < 0 ? -1 : (int32_t)id;
    } else {
        const char *unk =
            hth_json_str(l->model, "unk_token", t->model.kind == MODEL_WORDPIECE ? "[UNK]" : NULL, &bad);
        if (bad) return hth_json_fail(l, bad, "model.unk_token is no string");
        t->model.unk = unk ? hth_vocab_find(&t->vocab, unk, strlen(unk)) : -1;
    }
    t->special[HTH_SPECIAL_UNK] = t->model.unk;
    // Unknown characters leave the token that stands for them; text that spells it does not become it.
    return HTH_OK;
}

// ---- decoder ----

static bool prepends(const hth_json *metaspace) {
    if (hth_json_is(metaspace, "prepend_scheme", "never")) return false;
    return hth_json_bool(metaspace, "add_prefix_space", true, NULL);
}

static hth_code read_decoder_step(json_loader *l, const hth_json *d) {
    hth_tokenizer *t = l->t;
    if (hth_json_is(d, "type", "ByteLevel")) {
        t->detok = DETOK_BYTES;
    } else if (hth_json_is(d, "type", "Metaspace")) {
        t->detok = DETOK_SPM;
        t->strip_first = prepends(d);
    } else if (hth_json_is(d, "type", "WordPiece")) {
        t->detok = DETOK_WORDPIECE;
        t->cleanup = hth_json_bool(d, "cleanup", true, NULL);
    } else if (hth_json_is(d, "type", "BPEDecoder")) {
        t->word_suffix = t->model.n_suffix > 0;
    } else if (hth_json_is(d, "type", "Strip")) {
        t->strip_first = hth_json_int(d, "start", 0, NULL) > 0;
    } else if (hth_json_is(d, "type", "Replace") || hth_json_is(d, "type", "ByteFallback") ||
               hth_json_is(d, "type", "Fuse")) {
        t->detok = DETOK_SPM;
    }
    return HTH_OK;
}

static hth_code read_decoder(json_loader *l) {
    hth_tokenizer *t = l->t;
    const hth_json *list[TOK_MAX_STEPS];
    size_t n = 0;
    t->cont = t->model.kind == MODEL_WORDPIECE ? l->cont : NULL;
    t->detok = t->model.kind == MODEL_WORDPIECE ? DETOK_WORDPIECE
             : t->model.byte_level              ? DETOK_BYTES
                                                : DETOK_SPACED;
    HTH_TRY(hth_json_flatten(l, hth_json_get(l->root, "decoder"), "decoders", list, &n));
    for (size_t i = 0; i < n; i++) HTH_TRY(read_decoder_step(l, list[i]));
    return HTH_OK;
}

// ---- post-processor ----

static hth_code put_special(json_loader *l, const hth_json *at, bool before, int64_t id) {
    hth_tokenizer *t = l->t;
    size_t *n = before ? &t->n_prefix : &t->n_suffix;
    if (id < 0 || id >= t->vocab.n || *n == HTH_COUNT(t->prefix))
        return hth_json_fail(l, at, "post_processor: a bad special token, or too many");
    (before ? t->prefix : t->suffix)[(*n)++] = (int32_t)id;
    return HTH_OK;
}

static hth_code read_template(json_loader *l, const hth_json *p) {
    const hth_json *single = hth_json_get(p, "single"), *table = hth_json_get(p, "special_tokens");
    if (!is_kind(single, HTH_JSON_ARRAY))
        return hth_json_fail(l, p, "post_processor: a template without 'single'");
    bool before = true;
    for (uint32_t i = 0; i < single->n; i++) {
        const hth_json *token = hth_json_get(&single->u.items[i], "SpecialToken");
        if (!token) {
            before = false;
            continue;
        }
        const hth_json *name = hth_json_get(token, "id");
        const hth_json *ids =
            is_kind(name, HTH_JSON_STRING) ? hth_json_get(hth_json_get(table, name->u.str), "ids") : NULL;
        if (!is_kind(ids, HTH_JSON_ARRAY))
            return hth_json_fail(l, token, "post_processor: a template names an unknown special token");
        for (uint32_t k = 0; k < ids->n; k++) {
            bool ok = ids->u.items[k].kind == HTH_JSON_NUMBER && ids->u.items[k].is_int;
            HTH_TRY(put_special(l, ids, before, ok ? ids->u.items[k].u.num.i : -1));
        }
    }
    return HTH_OK;
}

// [CLS] and [SEP] are written as ["[CLS]", 101].
static hth_code read_pair(json_loader *l, const hth_json *p, const char *key, bool before) {
    const hth_json *pair = hth_json_get(p, key);
    bool ok = is_kind(pair, HTH_JSON_ARRAY) && pair->n == 2 && pair->u.items[1].kind == HTH_JSON_NUMBER &&
              pair->u.items[1].is_int;
    return put_special(l, p, before, ok ? pair->u.items[1].u.num.i : -1);
}

static hth_code read_post_processor(json_loader *l) {
    const hth_json *list[TOK_MAX_STEPS];
    size_t n = 0;
    HTH_TRY(hth_json_flatten(l, hth_json_get(l->root, "post_processor"), "processors", list, &n));
    for (size_t i = 0; i < n; i++) {
        if (hth_json_is(list[i], "type", "TemplateProcessing")) {
            HTH_TRY(read_template(l, list[i]));
        } else if (hth_json_is(list[i], "type", "BertProcessing") ||
                   hth_json_is(list[i], "type", "RobertaProcessing")) {
            HTH_TRY(read_pair(l, list[i], "cls", true));
            HTH_TRY(read_pair(l, list[i], "sep", false));
        }
    }
    l->t->adds_bos = l->t->n_prefix > 0;
    l->t->adds_eos = l->t->n_suffix > 0;
    return HTH_OK;
}

static hth_code load(json_loader *l) {
    hth_tokenizer *t = l->t;
    if (!is_kind(l->model, HTH_JSON_OBJECT))
        return hth_json_fail(l, l->root, "'model' is missing or not an object");
    HTH_TRY(read_model(l));
    HTH_TRY(hth_json_read_normalizer(l));
    HTH_TRY(hth_json_read_pre_tokenizer(l));
    HTH_TRY(load_vocab(l));
    HTH_TRY(read_unk(l));
    if (t->model.kind == MODEL_PAIRS) HTH_TRY(load_merges(l));
    if (t->model.kind == MODEL_WORDPIECE) {
        const hth_json *bad = NULL;
        l->cont = "##";
        if (strcmp(hth_json_str(l->model, "continuing_subword_prefix", "##", &bad), "##") != 0 || bad) {
            return hth_fail(l->err, HTH_ERR_UNSUPPORTED,
                            "model.continuing_subword_prefix: only ## is supported");
        }
        HTH_TRY(hth_tok_fill_wordpiece(t, l->cont, l->err));
    }
    HTH_TRY(read_decoder(l));
    HTH_TRY(read_post_processor(l));
    return hth_tok_finish(t, true, l->err);
}

hth_code hth_tok_load_json(const hth_json *root, hth_tokenizer **out, hth_err *err) {
    json_loader l = {.root = root, .model = hth_json_get(root, "model"), .err = err};
    *out = NULL;
    HTH_TRY(hth_tok_new(&l.t, err));
    hth_str_init(&l.buf, HTH_MEM_TEXT, 1u << 26);
    hth_code code = load(&l);
    hth_str_free(&l.buf);
    if (code == HTH_OK) {
        *out = l.t;
    } else {
        hth_tokenizer_free(l.t);
    }
    return code;
}
