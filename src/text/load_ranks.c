// Rank tables: tekken.json of mistral-common, and .tiktoken files. Byte-level BPE where the pair whose
// joined bytes have the lowest rank merges first.
#include <string.h>

#include "text/base64.h"
#include "text/tok_impl.h"

#define MAX_TOKEN_BYTES 4096

// Finishes a tokenizer whose vocabulary is filled.
static hth_code finish(hth_tokenizer *t, hth_err *err) {
    t->kind = "bpe";
    t->model.kind = MODEL_RANKS;
    t->model.byte_level = t->model.whole_first = true;
    t->detok = DETOK_BYTES;
    HTH_TRY(hth_vocab_index(&t->vocab, err));
    for (int32_t i = 0; i < t->vocab.n; i++) {
        if (!(t->vocab.e[i].flags & TOK_CONTROL)) continue;
        HTH_TRY(hth_tok_add_added(t, (added_token){.id = i, .control = true}, err));
    }
    return hth_tok_finish(t, false, err);
}

static hth_code set_base64(hth_tokenizer *t, int32_t id, const char *text, size_t n, hth_err *err) {
    uint8_t bytes[MAX_TOKEN_BYTES];
    size_t len = 0;
    if (n == 0 || n / 4 * 3 + 3 > sizeof bytes || !hth_base64_decode(text, n, bytes, &len) || len == 0) {
        return hth_fail(err, HTH_ERR_FORMAT, "token %d is not written in base64, or is too long", (int)id);
    }
    return hth_vocab_set(&t->vocab, id, (const char *)bytes, len, 0, err);
}

// ---- tekken ----

typedef struct tekken {
    const hth_json *root, *vocab, *specials;
    int64_t n_special, n_vocab;
} tekken;

static const char *const old_specials[] = {"<unk>",
                                           "<s>",
                                           "</s>",
                                           "[INST]",
                                           "[/INST]",
                                           "[AVAILABLE_TOOLS]",
                                           "[/AVAILABLE_TOOLS]",
                                           "[TOOL_RESULTS]",
                                           "[/TOOL_RESULTS]",
                                           "[TOOL_CALLS]",
                                           "[IMG]",
                                           "<pad>",
                                           "[IMG_BREAK]",
                                           "[IMG_END]",
                                           "[PREFIX]",
                                           "[MIDDLE]",
                                           "[SUFFIX]",
                                           "[SYSTEM_PROMPT]",
                                           "[/SYSTEM_PROMPT]",
                                           "[TOOL_CONTENT]"};

static hth_code read_head(tekken *k, hth_err *err) {
    const hth_json *config = hth_json_get(k->root, "config"), *bad = NULL;
    k->vocab = hth_json_get(k->root, "vocab");
    k->specials = hth_json_get(k->root, "special_tokens");
    if (k->specials && k->specials->kind == HTH_JSON_NULL) k->specials = NULL;
    k->n_special = hth_json_int(config, "default_num_special_tokens", -1, &bad);
    k->n_vocab = hth_json_int(config, "default_vocab_size", -1, &bad);
    bool ok = !bad && k->vocab && k->vocab->kind == HTH_JSON_ARRAY &&
              (!k->specials || k->specials->kind == HTH_JSON_ARRAY) && k->n_special >= 0 &&
              k->n_vocab > k->n_special && k->n_vocab <= HTH_VOCAB_MAX &&
              k->n_vocab - k->n_special <= (int64_t)k->vocab->n;
    return ok ? HTH_OK
              : hth_fail(err, HTH_ERR_FORMAT,
                         "config or vocab is missing, or their sizes contradict each other");
}

static hth_code set_specials(const tekken *k, hth_tokenizer *t, hth_err *err) {
    for (int32_t i = 0; i < k->n_special; i++) {
        char name[32] = "<SPECIAL_";
        size_t n = strlen(name);
        char digits[12];
        size_t n_digit = 0;
        for (int32_t v = i; v > 0 || n_digit == 0; v /= 10) digits[n_digit++] = (char)('0' + v % 10);
        while (n_digit > 0) name[n++] = digits[--n_digit];
        name[n++] = '>';
        const char *text = name;
        if (!k->specials && (size_t)i < HTH_COUNT(old_specials)) {
            text = old_specials[i];
            n = strlen(text);
        }
        HTH_TRY(hth_vocab_set(&t->vocab, i, text, n, TOK_CONTROL, err));
    }
    for (uint32_t i = 0; k->specials && i < k->specials->n; i++) {
        const hth_json *s = &k->specials->u.items[i], *text = hth_json_get(s, "token_str");
        int64_t id = hth_json_int(s, "rank", -1, NULL);
        if (id < 0 || id >= k->n_special || !text || text->kind != HTH_JSON_STRING) {
            return hth_fail_at(err, HTH_ERR_FORMAT, s->pos, "special_tokens: a bad entry");
        }
        bool control = hth_json_bool(s, "is_control", true, NULL);
        HTH_TRY(hth_vocab_set(&t->vocab, (int32_t)id, text->u.str, text->n, control ? TOK_CONTROL : TOK_ADDED,
                              err));
        if (!control) HTH_TRY(hth_tok_add_added(t, (added_token){.id = (int32_t)id}, err));
    }
    return HTH_OK;
}

static hth_code load_tekken(tekken *k, hth_tokenizer *t, hth_err *err) {
    HTH_TRY(read_head(k, err));
    HTH_TRY(hth_vocab_init(&t->vocab, k->n_vocab, err));
    HTH_TRY(set_specials(k, t, err));
    for (uint32_t i = 0; i < k->n_vocab - k->n_special; i++) {
        const hth_json *e = &k->vocab->u.items[i], *bytes = hth_json_get(e, "token_bytes");
        if (hth_json_int(e, "rank", -1, NULL) != (int64_t)i || !bytes || bytes->kind != HTH_JSON_STRING) {
            return hth_fail_at(err, HTH_ERR_FORMAT, e->pos,
                               "vocab: entry %u has a wrong rank or no token_bytes", (unsigned)i);
        }
        HTH_TRY(set_base64(t, (int32_t)(k->n_special + i), bytes->u.str, bytes->n, err));
    }
    const hth_json *pattern = hth_json_get(hth_json_get(k->root, "config"), "pattern");
    if (!pattern || pattern->kind != HTH_JSON_STRING)
        return hth_fail(err, HTH_ERR_FORMAT, "config.pattern is missing");
    HTH_TRY(hth_tok_add_regex(t, pattern->u.str, pattern->n, SPLIT_ISOLATED, false, err));
    memcpy(t->pre, "tekken", 7);
    HTH_TRY(finish(t, err));
    static const struct {
        const char *name;
        hth_special which;
    } known[] = {{"<s>", HTH_SPECIAL_BOS},          {"</s>", HTH_SPECIAL_EOS},
                 {"<unk>", HTH_SPECIAL_UNK},        {"<pad>", HTH_SPECIAL_PAD},
                 {"[PREFIX]", HTH_SPECIAL_FIM_PRE}, {"[SUFFIX]", HTH_SPECIAL_FIM_SUF},
                 {"[MIDDLE]", HTH_SPECIAL_FIM_MID}};
    for (size_t i = 0; i < HTH_COUNT(known); i++)
        t->special[known[i].which] = hth_vocab_find(&t->vocab, known[i].name, strlen(known[i].name));
    t->adds_bos = t->special[HTH_SPECIAL_BOS] >= 0;
    if (t->adds_bos) t->prefix[t->n_prefix++] = t->special[HTH_SPECIAL_BOS];
    hth_tok_find_known(t);
    return HTH_OK;
}

hth_code hth_tok_load_tekken(const hth_json *root, hth_tokenizer **out, hth_err *err) {
    tekken k = {.root = root};
    hth_tokenizer *t = NULL;
    *out = NULL;
    HTH_TRY(hth_tok_new(&t, err));
    hth_code code = load_tekken(&k, t, err);
    if (code == HTH_OK) {
        *out = t;
    } else {
        hth_tokenizer_free(t);
    }
    return code;
}

// ---- tiktoken ----

// A rank file says neither how to split nor which special tokens there are; the number of ranks tells the
// well-known tables apart.
typedef struct rank_family {
    int32_t n_rank;
    const char *pre;      // as in GGUF
    bool nfc;             // text is put into NFC first
    const char *specials; // separated by spaces; "#N" is followed by a name in which # counts up to N
} rank_family;

static const rank_family families[] = {
    {151643, "qwen2", true, "<|endoftext|> <|im_start|> <|im_end|> #205 <|extra_#|>"},
    {128000, "llama-bpe", false,
     "<|begin_of_text|> <|end_of_text|> #2 <|reserved_special_token_#|> <|finetune_right_pad_id|> "
     "<|step_id|> <|start_header_id|> <|end_header_id|> <|eom_id|> <|eot_id|> <|python_tag|>"},
    {199998, "gpt-4o", false, "<|endoftext|>"},
    {50256, "gpt-2", false, "<|endoftext|>"},
};

static const char *next_line(const char *at, const char *end, const char **line, size_t *n) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    *line = at;
    *n = (size_t)((stop ? stop : end) - at);
    while (*n > 0 && ((*line)[*n - 1] == '\r' || (*line)[*n - 1] == ' ')) (*n)--;
    return stop ? stop + 1 : end;
}

static hth_code set_ranks(hth_tokenizer *t, const char *text, size_t n, int32_t n_rank, hth_err *err) {
    const char *end = text + n, *line;
    size_t len;
    for (int32_t i = 0; text < end;) {
        text = next_line(text, end, &line, &len);
        if (len == 0) continue;
        const char *space = memchr(line, ' ', len);
        int64_t rank = 0;
        size_t k = space ? (size_t)(space - line) + 1 : len;
        for (; k < len && line[k] >= '0' && line[k] <= '9' && rank < n_rank; k++)
            rank = rank * 10 + (line[k] - '0');
        if (!space || k != len || rank != i) {
            return hth_fail(err, HTH_ERR_FORMAT, "line %d is not a token in base64 and its rank in order",
                            (int)i + 1);
        }
        HTH_TRY(set_base64(t, i++, line, (size_t)(space - line), err));
    }
    return HTH_OK;
}

// Walks the special tokens of a family; with t NULL it only counts. Names have at most 60 characters.
static hth_code each_special(const rank_family *f, hth_tokenizer *t, int32_t *n, hth_err *err) {
    int32_t times = 1;
    *n = 0;
    for (const char *p = f->specials; *p;) {
        size_t len = strcspn(p, " ");
        if (p[0] == '#') {
            times = 0;
            for (size_t i = 1; i < len; i++) times = times * 10 + (p[i] - '0');
        } else {
            for (int32_t k = 0; k < times; k++, (*n)++) {
                hth_str name;
                hth_str_init(&name, HTH_MEM_TEXT, 256);
                for (size_t i = 0; i < len; i++)
                    (void)(p[i] == '#' ? hth_str_printf(&name, "%d", (int)k) : hth_str_putc(&name, p[i]));
                hth_code code = name.failed ? hth_fail_nomem(err, len) : HTH_OK;
                if (t && code == HTH_OK)
                    code = hth_vocab_set(&t->vocab, f->n_rank + *n, name.p, name.len, TOK_CONTROL, err);
                hth_str_free(&name);
                HTH_TRY(code);
            }
            times = 1;
        }
        p += len;
        while (*p == ' ') p++;
    }
    return HTH_OK;
}

static hth_code load_ranks(hth_tokenizer *t, const char *text, size_t n, hth_err *err) {
    const char *end = text + n, *line;
    size_t len;
    int32_t n_rank = 0, n_special = 0;
    for (const char *at = text; at < end && n_rank < HTH_VOCAB_MAX;) {
        at = next_line(at, end, &line, &len);
        n_rank += len > 0;
    }
    const rank_family *f = NULL;
    for (size_t i = 0; i < HTH_COUNT(families); i++) {
        if (families[i].n_rank == n_rank) f = &families[i];
    }
    if (!f)
        return hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "a rank table of %d tokens: how its text is split is unknown", (int)n_rank);
    HTH_TRY(each_special(f, NULL, &n_special, err));
    HTH_TRY(hth_vocab_init(&t->vocab, (int64_t)n_rank + n_special, err));
    HTH_TRY(set_ranks(t, text, n, n_rank, err));
    HTH_TRY(each_special(f, t, &n_special, err));
    norm_step *step = NULL;
    if (f->nfc) HTH_TRY(hth_tok_add_norm(t, NORM_NFC, &step, err));
    bool known;
    HTH_TRY(hth_tok_apply_pre(t, f->pre, &known, err));
    t->special[HTH_SPECIAL_EOS] = n_rank;
    t->adds_bos = strcmp(f->pre, "llama-bpe") == 0;
    if (t->adds_bos) {
        t->special[HTH_SPECIAL_BOS] = t->prefix[t->n_prefix++] = n_rank;
        t->special[HTH_SPECIAL_EOS] = n_rank + 1;
    }
    return finish(t, err);
}

hth_code hth_tok_load_ranks(const char *text, size_t n, hth_tokenizer **out, hth_err *err) {
    hth_tokenizer *t = NULL;
    *out = NULL;
    HTH_TRY(hth_tok_new(&t, err));
    hth_code code = load_ranks(t, text, n, err);
    if (code == HTH_OK) {
        *out = t;
    } else {
        hth_tokenizer_free(t);
    }
    return code;
}

// ---- vocab.txt ----

static hth_code load_vocab_txt(hth_tokenizer *t, const char *text, size_t n, bool lowercase, hth_err *err) {
    static const struct {
        const char *name;
        hth_special which;
    } known[] = {{"[PAD]", HTH_SPECIAL_PAD},
                 {"[UNK]", HTH_SPECIAL_UNK},
                 {"[CLS]", HTH_SPECIAL_CLS},
                 {"[SEP]", HTH_SPECIAL_SEP},
                 {"[MASK]", HTH_SPECIAL_MASK}};
    const char *end = text + n, *line;
    size_t len;
    int64_t n_line = 0;
    for (const char *at = text; at < end; n_line++) at = next_line(at, end, &line, &len);
    HTH_TRY(hth_vocab_init(&t->vocab, n_line, err));
    for (int32_t i = 0; text < end; i++) {
        text = next_line(text, end, &line, &len);
        unsigned flags = 0;
        for (size_t k = 0; k < HTH_COUNT(known); k++) {
            if (len != strlen(known[k].name) || memcmp(line, known[k].name, len) != 0) continue;
            flags = TOK_CONTROL;
            t->special[known[k].which] = i;
        }
        HTH_TRY(hth_vocab_set(&t->vocab, i, line, len, flags, err));
        if (flags) HTH_TRY(hth_tok_add_added(t, (added_token){.id = i, .control = true}, err));
    }
    HTH_TRY(hth_vocab_index(&t->vocab, err));
    t->kind = "wordpiece";
    t->model.kind = MODEL_WORDPIECE;
    t->model.unk = t->special[HTH_SPECIAL_UNK];
    t->detok = DETOK_WORDPIECE;
    t->cont = "##";
    t->cleanup = true;
    HTH_TRY(hth_tok_setup_bert(t, true, true, lowercase, lowercase, true, err));
    HTH_TRY(hth_tok_fill_wordpiece(t, "##", err));
    t->adds_bos = t->special[HTH_SPECIAL_CLS] >= 0;
    t->adds_eos = t->special[HTH_SPECIAL_SEP] >= 0;
    if (t->adds_bos) t->prefix[t->n_prefix++] = t->special[HTH_SPECIAL_CLS];
    if (t->adds_eos) t->suffix[t->n_suffix++] = t->special[HTH_SPECIAL_SEP];
    return hth_tok_finish(t, false, err);
}

hth_code hth_tok_load_vocab_txt(const char *text, size_t n, bool lowercase, hth_tokenizer **out,
                                hth_err *err) {
    hth_tokenizer *t = NULL;
    *out = NULL;
    HTH_TRY(hth_tok_new(&t, err));
    hth_code code = load_vocab_txt(t, text, n, lowercase, err);
    if (code == HTH_OK) {
        *out = t;
    } else {
        hth_tokenizer_free(t);
    }
    return code;
}
