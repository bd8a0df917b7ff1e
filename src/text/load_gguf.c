// A tokenizer from GGUF metadata (tokenizer.ggml.*). Defaults per kind are llama.cpp's.
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "text/merge_batch.h"
#include "text/world.h"

#define MARK "\xe2\x96\x81"
#define KEY(name) "tokenizer.ggml." name

// Token types of the format: gguf.TokenType.
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

typedef enum gguf_model { GGUF_BPE, GGUF_SPM, GGUF_BERT, GGUF_T5, GGUF_GEMMA4, GGUF_WHITESPACE, GGUF_WORLD } gguf_model;

typedef struct loader {
    const hth_gguf *g;
    hth_tokenizer *t;
    hth_err *err;
    gguf_model model;
    bool space_prefix, merge_spaces;
    const char *name; // general.name
} loader;

static hth_code find_array(loader *l, const char *key, const hth_gguf_kv **out) {
    const hth_gguf_kv *kv = hth_gguf_find(l->g, key);
    *out = kv;
    if (kv && kv->kind != HTH_GGUF_ARRAY) {
        return hth_fail_at(l->err, HTH_ERR_FORMAT, kv->pos, "%s is a %s, not an array", key,
                           hth_gguf_kind_name(kv->kind));
    }
    return HTH_OK;
}

// An array of numbers or strings with an item for every token.
static hth_code find_per_token(loader *l, const char *key, bool strings, const hth_gguf_kv **out) {
    HTH_TRY(find_array(l, key, out));
    const hth_gguf_kv *kv = *out;
    if (!kv) return HTH_OK;
    if ((kv->item_kind == HTH_GGUF_STRING) != strings) {
        return hth_fail_at(l->err, HTH_ERR_FORMAT, kv->pos, "%s holds items of type %s", key,
                           hth_gguf_kind_name(kv->item_kind));
    }
    if (l->t->vocab.n > 0 && kv->n < (uint64_t)l->t->vocab.n) {
        return hth_fail_at(l->err, HTH_ERR_FORMAT, kv->pos, "%s has %llu items for %d tokens", key,
                           (unsigned long long)kv->n, (int)l->t->vocab.n);
    }
    return HTH_OK;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte that "<0xAB>" names, -1 for other texts.
static int parse_byte(const char *text, size_t n) {
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int hi = hex_digit(text[3]), lo = hex_digit(text[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

static unsigned flags_of(int64_t type) {
    switch (type) {
    case TYPE_UNKNOWN: return TOK_UNKNOWN;
    case TYPE_CONTROL: return TOK_CONTROL;
    case TYPE_USER: return TOK_ADDED;
    case TYPE_UNUSED: return TOK_UNUSED;
    default: return 0;
    }
}

// Makes the text of one token from its spelling, by the conventions of its kind.
static hth_code set_token_text(loader *l, int32_t id, int64_t type) {
    hth_vocab *v = &l->t->vocab;
    tok_entry *e = &v->e[id];
    const char *s = hth_vocab_spelling(v, id);
    if (l->model == GGUF_WORLD) return hth_world_set_text(v, id, l->err);
    int byte = parse_byte(s, e->n_spelling);
    if (byte >= 0 &&
        (type == TYPE_BYTE || (l->t->model.byte_fallback && l->model != GGUF_SPM && type == TYPE_NORMAL))) {
        e->flags |= TOK_BYTE;
        e->byte = (uint8_t)byte;
        return HTH_OK;
    }
    if (e->flags & (TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN)) return HTH_OK;
    if (l->t->model.byte_level) {
        bool ok;
        return hth_vocab_decode_bytes(v, id, &ok, l->err);
    }
    if (l->model != GGUF_BERT) return HTH_OK;
    // "▁word" begins a word, everything else goes on: shown as in vocab.txt.
    if (e->n_spelling > 3 && memcmp(s, MARK, 3) == 0) {
        e->text += 3;
        e->n_text -= 3;
        return HTH_OK;
    }
    char buf[256];
    if (e->n_spelling + 2u > sizeof buf) return HTH_OK;
    memcpy(buf, "##", 2);
    memcpy(buf + 2, s, e->n_spelling);
    return hth_vocab_set_text(v, id, buf, e->n_spelling + 2u, l->err);
}

static hth_code load_tokens(loader *l) {
    const hth_gguf_kv *tokens, *types, *scores;
    HTH_TRY(find_per_token(l, KEY("tokens"), true, &tokens));
    if (!tokens) return hth_fail(l->err, HTH_ERR_FORMAT, KEY("tokens") " is missing");
    HTH_TRY(hth_vocab_init(&l->t->vocab, tokens->n > INT64_MAX ? INT64_MAX : (int64_t)tokens->n, l->err));
    hth_vocab *v = &l->t->vocab;
    HTH_TRY(find_per_token(l, KEY("token_type"), false, &types));
    HTH_TRY(find_per_token(l, KEY("scores"), false, &scores));
    if (scores || l->model == GGUF_SPM || l->model == GGUF_T5) {
        v->score = hth_calloc(HTH_MEM_TEXT, (size_t)v->n, sizeof *v->score);
        if (!v->score) return hth_fail_nomem(l->err, (uint64_t)v->n * sizeof *v->score);
    }
    const uint8_t *it = tokens->data;
    for (int32_t i = 0; i < v->n; i++) {
        const char *text;
        size_t n;
        hth_gguf_next_str(&it, &text, &n);
        int64_t type = types ? hth_gguf_item_i64(types, (uint64_t)i) : TYPE_NORMAL;
        HTH_TRY(hth_vocab_set(v, i, text, n, flags_of(type), l->err));
        HTH_TRY(set_token_text(l, i, type));
        if (scores) {
            double score = hth_gguf_item_f64(scores, (uint64_t)i);
            if (!isfinite(score))
                return hth_fail_at(l->err, HTH_ERR_FORMAT, scores->pos,
                                   KEY("scores") ": item %d is not a number", (int)i);
            v->score[i] = score;
        }
        if (l->model == GGUF_T5 && type == TYPE_USER) v->score[i] = 0;
    }
    return hth_vocab_index(v, l->err);
}

// Merges that name something outside the vocabulary can never lead to a token: they are passed over.
static hth_code load_merges(loader *l) {
    hth_tokenizer *t = l->t;
    const hth_gguf_kv *kv;
    HTH_TRY(find_array(l, KEY("merges"), &kv));
    if (!kv && strcmp(t->pre, "kimi-k2") == 0) {
        t->model.kind = MODEL_RANKS;
        return HTH_OK;
    }
    if (!kv || kv->item_kind != HTH_GGUF_STRING || kv->n > HTH_VOCAB_MAX) {
        return hth_fail(l->err, HTH_ERR_FORMAT,
                        KEY("merges") " is missing, too long or not an array of strings");
    }
    merge_batch *batch = hth_calloc(HTH_MEM_TEXT, 1, sizeof *batch);
    if (!batch) return hth_fail_nomem(l->err, sizeof *batch);
    *batch = (merge_batch){.t = t, .n_expect = (size_t)kv->n, .err = l->err};
    hth_code code = HTH_OK;
    const uint8_t *it = kv->data;
    for (uint64_t i = 0; i < kv->n && code == HTH_OK; i++) {
        const char *s;
        size_t n;
        bool ok;
        hth_gguf_next_str(&it, &s, &n);
        const char *space = n > 1 ? memchr(s + 1, ' ', n - 1) : NULL;
        if (!space) continue;
        size_t n_left = (size_t)(space - s);
        hth_merge_batch_add(batch, s, n_left, space + 1, n - n_left - 1, (uint32_t)i, &ok);
        if (batch->n == MERGE_BATCH) code = hth_merge_batch_flush(batch);
    }
    if (code == HTH_OK) code = hth_merge_batch_flush(batch);
    hth_free(batch);
    return code;
}

static hth_code read_special(loader *l, const char *key, hth_special which) {
    int64_t id = -1;
    HTH_TRY(hth_gguf_get_i64(l->g, key, &id, l->err));
    // Files in the wild name ids outside their vocabulary; those are as good as absent.
    if (id >= 0 && id < l->t->vocab.n) l->t->special[which] = (int32_t)id;
    if (l->t->special[which] >= l->t->vocab.n) l->t->special[which] = -1;
    return HTH_OK;
}

static hth_code read_specials(loader *l) {
    static const struct {
        const char *key;
        hth_special which;
    } keys[] = {
        {KEY("bos_token_id"), HTH_SPECIAL_BOS},         {KEY("eos_token_id"), HTH_SPECIAL_EOS},
        {KEY("eot_token_id"), HTH_SPECIAL_EOT},         {KEY("unknown_token_id"), HTH_SPECIAL_UNK},
        {KEY("seperator_token_id"), HTH_SPECIAL_SEP},   {KEY("padding_token_id"), HTH_SPECIAL_PAD},
        {KEY("cls_token_id"), HTH_SPECIAL_CLS},         {KEY("mask_token_id"), HTH_SPECIAL_MASK},
        {KEY("prefix_token_id"), HTH_SPECIAL_FIM_PRE},  {KEY("suffix_token_id"), HTH_SPECIAL_FIM_SUF},
        {KEY("middle_token_id"), HTH_SPECIAL_FIM_MID},  {KEY("fim_pre_token_id"), HTH_SPECIAL_FIM_PRE},
        {KEY("fim_suf_token_id"), HTH_SPECIAL_FIM_SUF}, {KEY("fim_mid_token_id"), HTH_SPECIAL_FIM_MID},
        {KEY("fim_pad_token_id"), HTH_SPECIAL_FIM_PAD}, {KEY("fim_rep_token_id"), HTH_SPECIAL_FIM_REPO},
        {KEY("fim_sep_token_id"), HTH_SPECIAL_FIM_SEP}};
    for (size_t i = 0; i < HTH_COUNT(keys); i++) HTH_TRY(read_special(l, keys[i].key, keys[i].which));
    int64_t eom = -1;
    HTH_TRY(hth_gguf_get_i64(l->g, KEY("eom_token_id"), &eom, l->err));
    if (eom >= 0 && eom < l->t->vocab.n) l->t->vocab.e[eom].flags |= TOK_END;
    return HTH_OK;
}

static void default_specials(hth_tokenizer *t, int bos, int eos, int unk, int sep, int pad, int mask) {
    t->special[HTH_SPECIAL_BOS] = bos;
    t->special[HTH_SPECIAL_EOS] = eos;
    t->special[HTH_SPECIAL_UNK] = unk;
    t->special[HTH_SPECIAL_SEP] = sep;
    t->special[HTH_SPECIAL_PAD] = pad;
    t->special[HTH_SPECIAL_MASK] = mask;
}

static bool contains_nocase(const char *text, const char *word) {
    size_t n = strlen(word);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == word[i]) i++;
        if (i == n) return true;
    }
    return false;
}

// Which special tokens take the spaces around them is not in the file; llama.cpp knows these cases.
static void strip_flags(const loader *l, const char *arch, added_token *a) {
    const hth_tokenizer *t = l->t;
    const char *s = hth_vocab_spelling(&t->vocab, a->id);
    bool jina = strstr(t->pre, "jina-v2-de") || strstr(t->pre, "jina-v2-es") ||
                strstr(t->pre, "jina-v2-code") || strcmp(arch, "nomic-bert-moe") == 0 ||
                strcmp(arch, "jina-bert-v3") == 0;
    if (jina) {
        a->lstrip = strcmp(s, "<mask>") == 0;
    } else if (contains_nocase(l->name, "phi-3") || contains_nocase(l->name, "phi3")) {
        a->rstrip = strcmp(s, "<unk>") != 0 && strcmp(s, "<s>") != 0 && strcmp(s, "<|endoftext|>") != 0;
    } else if (contains_nocase(l->name, "modern-bert")) {
        a->lstrip = strcmp(s, "[MASK]") == 0;
    }
}

static hth_code add_added(loader *l) {
    hth_tokenizer *t = l->t;
    const char *arch = "";
    HTH_TRY(hth_gguf_get_str(l->g, "general.architecture", &arch, NULL, l->err));
    for (int32_t i = 0; i < t->vocab.n; i++) {
        unsigned f = t->vocab.e[i].flags;
        if (!(f & (TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN)) || t->vocab.e[i].n_spelling == 0) continue;
        added_token a = {.id = i, .control = !(f & TOK_ADDED)};
        strip_flags(l, arch, &a);
        HTH_TRY(hth_tok_add_added(t, a, l->err));
    }
    return HTH_OK;
}

static hth_code setup_bpe(loader *l) {
    hth_tokenizer *t = l->t;
    const char *pre = l->model == GGUF_GEMMA4 ? "gemma4" : "default";
    if (l->model != GGUF_GEMMA4) HTH_TRY(hth_gguf_get_str(l->g, KEY("pre"), &pre, NULL, l->err));
    if (pre[0] == 0) pre = "default";
    t->model.kind = MODEL_PAIRS;
    default_specials(t, 11, 11, -1, -1, -1, -1);
    if (l->model == GGUF_GEMMA4) default_specials(t, -1, -1, -1, -1, -1, -1);
    bool known = false;
    HTH_TRY(hth_tok_apply_pre(t, pre, &known, l->err));
    if (!known)
        return hth_fail(l->err, HTH_ERR_UNSUPPORTED, KEY("pre") ": unknown pre-tokenizer '%.64s'", pre);
    bool lower = false;
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("normalizer.lowercase"), &lower, l->err));
    norm_step *s = NULL;
    if (l->model == GGUF_WHITESPACE && lower) HTH_TRY(hth_tok_add_norm(t, NORM_LOWERCASE, &s, l->err));
    return HTH_OK;
}

static hth_code setup_spm(loader *l) {
    hth_tokenizer *t = l->t;
    t->kind = "spm";
    t->model.kind = MODEL_RANKS;
    t->model.byte_fallback = t->model.fuse_unk = true;
    t->adds_bos = true;
    t->detok = DETOK_SPM;
    t->strip_first = l->space_prefix;
    default_specials(t, 1, 2, 0, -1, -1, -1);
    if (l->space_prefix) HTH_TRY(hth_tok_add_prepend(t, " ", 1, l->err));
    return hth_tok_add_replace(t, " ", MARK, l->err);
}

static hth_code setup_t5(loader *l) {
    hth_tokenizer *t = l->t;
    t->kind = "unigram";
    t->model.kind = MODEL_UNIGRAM;
    t->model.fuse_unk = true;
    t->adds_eos = true;
    t->detok = DETOK_SPM;
    t->strip_first = l->space_prefix;
    default_specials(t, -1, 1, 2, -1, 0, -1);
    norm_step *s = NULL;
    HTH_TRY(hth_tok_add_norm(t, NORM_SENTENCEPIECE, &s, l->err));
    s->add_prefix = l->space_prefix;
    s->merge_spaces = l->merge_spaces;
    s->escape = true;
    const hth_gguf_kv *kv;
    HTH_TRY(find_array(l, KEY("precompiled_charsmap"), &kv));
    if (!kv) return HTH_OK;
    if (kv->item_kind != HTH_GGUF_U8 && kv->item_kind != HTH_GGUF_I8) {
        return hth_fail_at(l->err, HTH_ERR_FORMAT, kv->pos, KEY("precompiled_charsmap") " holds no bytes");
    }
    return hth_charsmap_init(&s->map, kv->data, (size_t)kv->n, l->err);
}

static hth_code setup_bert(loader *l) {
    hth_tokenizer *t = l->t;
    t->kind = "wordpiece";
    t->model.kind = MODEL_WORDPIECE;
    t->adds_bos = t->adds_eos = true;
    t->detok = DETOK_WORDPIECE;
    t->cont = "##";
    t->cleanup = true;
    default_specials(t, 101, -1, 100, 102, 0, 103);
    bool lower = true;
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("normalizer.lowercase"), &lower, l->err));
    bool strip = lower;
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("normalizer.strip_accents"), &strip, l->err));
    return hth_tok_setup_bert(t, true, true, strip, lower, true, l->err);
}

// What depends on the vocabulary and on the special tokens.
static hth_code complete(loader *l) {
    hth_tokenizer *t = l->t;
    if (t->model.kind == MODEL_PAIRS) HTH_TRY(load_merges(l));
    HTH_TRY(read_specials(l));
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("add_bos_token"), &t->adds_bos, l->err));
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("add_eos_token"), &t->adds_eos, l->err));
    if (t->model.whole_newlines) t->adds_bos = true; // Gemma 4 files say false by mistake
    int32_t first = t->special[HTH_SPECIAL_BOS], last = t->special[HTH_SPECIAL_EOS];
    if (l->model == GGUF_BERT) {
        t->adds_bos = t->adds_eos = true;
        last = t->special[HTH_SPECIAL_SEP];
        HTH_TRY(hth_tok_fill_wordpiece(t, "##", l->err));
    }
    t->model.unk = t->special[HTH_SPECIAL_UNK];
    t->adds_bos = t->adds_bos && first >= 0;
    t->adds_eos = t->adds_eos && last >= 0;
    if (t->adds_bos) t->prefix[t->n_prefix++] = first;
    if (t->adds_eos) t->suffix[t->n_suffix++] = last;
    if (l->model == GGUF_SPM) HTH_TRY(hth_vocab_rank_scores(&t->vocab, l->err));
    HTH_TRY(add_added(l));
    return hth_tok_finish(t, false, l->err);
}

static hth_code find_model(loader *l) {
    static const struct {
        const char *name;
        gguf_model model;
    } models[] = {{"gpt2", GGUF_BPE}, {"llama", GGUF_SPM},     {"bert", GGUF_BERT},
                  {"t5", GGUF_T5},    {"gemma4", GGUF_GEMMA4}, {"whitespace", GGUF_WHITESPACE},
                  {"rwkv", GGUF_WORLD}};
    const char *name = NULL;
    HTH_TRY(hth_gguf_get_str(l->g, KEY("model"), &name, NULL, l->err));
    if (!name || strcmp(name, "none") == 0 || strcmp(name, "no_vocab") == 0) {
        return hth_fail(l->err, HTH_ERR_NOTFOUND, "the file carries no tokenizer (" KEY("model") ")");
    }
    for (size_t i = 0; i < HTH_COUNT(models); i++) {
        if (strcmp(models[i].name, name) != 0) continue;
        l->model = models[i].model;
        return HTH_OK;
    }
    return hth_fail(l->err, HTH_ERR_UNSUPPORTED,
                    KEY("model") ": tokenizers of kind '%.64s' are not supported", name);
}

static hth_code load(loader *l) {
    l->space_prefix = l->model == GGUF_SPM;
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("add_space_prefix"), &l->space_prefix, l->err));
    HTH_TRY(hth_gguf_get_bool(l->g, KEY("remove_extra_whitespaces"), &l->merge_spaces, l->err));
    HTH_TRY(hth_gguf_get_str(l->g, "general.name", &l->name, NULL, l->err));
    switch (l->model) {
    case GGUF_SPM: HTH_TRY(setup_spm(l)); break;
    case GGUF_T5: HTH_TRY(setup_t5(l)); break;
    case GGUF_BERT: HTH_TRY(setup_bert(l)); break;
    case GGUF_WORLD: hth_tok_setup_world(l->t); break;
    default: HTH_TRY(setup_bpe(l)); break;
    }
    HTH_TRY(load_tokens(l));
    return complete(l);
}

hth_code hth_tok_load_gguf(const hth_gguf *g, hth_tokenizer **out, hth_err *err) {
    loader l = {.g = g, .err = err, .name = ""};
    HTH_TRY(find_model(&l));
    HTH_TRY(hth_tok_new(&l.t, err));
    hth_code code = load(&l);
    if (code == HTH_OK) {
        *out = l.t;
    } else {
        hth_tokenizer_free(l.t);
    }
    return code;
}
