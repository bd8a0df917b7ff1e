// What tokenizer_config.json and generation_config.json say about a tokenizer.
#include <string.h>

#include "text/tok_impl.h"

// A token is written as its text or as {"content": text, ...}.
static int32_t find_named(const hth_tokenizer *t, const hth_json *config, const char *key) {
    const hth_json *v = hth_json_get(config, key);
    if (v && v->kind == HTH_JSON_OBJECT) v = hth_json_get(v, "content");
    return v && v->kind == HTH_JSON_STRING ? hth_vocab_find(&t->vocab, v->u.str, v->n) : -1;
}

static void mark_end(hth_tokenizer *t, const hth_json *v) {
    if (v->kind != HTH_JSON_NUMBER || !v->is_int || v->u.num.i < 0 || v->u.num.i >= t->vocab.n) return;
    t->vocab.e[v->u.num.i].flags |= TOK_END;
    if (t->special[HTH_SPECIAL_EOS] < 0) t->special[HTH_SPECIAL_EOS] = (int32_t)v->u.num.i;
}

// Makes the first (or last) added token be `id`, or not, as add_bos_token and add_eos_token say.
static void set_edge(int32_t *list, size_t *n, int32_t id, const hth_json *wanted, bool at_front,
                     bool *adds) {
    if (!wanted || wanted->kind != HTH_JSON_BOOL || id < 0) return;
    size_t k = 0;
    for (size_t i = 0; i < *n; i++) {
        if (list[i] != id) list[k++] = list[i];
    }
    *n = k;
    if (wanted->u.b && k < 8) {
        if (at_front) {
            memmove(list + 1, list, k * sizeof *list);
            list[0] = id;
        } else {
            list[k] = id;
        }
        (*n)++;
    }
    *adds = *n > 0;
}

hth_code hth_tok_apply_config(hth_tokenizer *t, const hth_json *config, const hth_json *generation,
                              hth_err *err) {
    (void)err;
    static const struct {
        const char *key;
        hth_special which;
    } keys[] = {{"bos_token", HTH_SPECIAL_BOS},  {"eos_token", HTH_SPECIAL_EOS},
                {"unk_token", HTH_SPECIAL_UNK},  {"pad_token", HTH_SPECIAL_PAD},
                {"cls_token", HTH_SPECIAL_CLS},  {"sep_token", HTH_SPECIAL_SEP},
                {"mask_token", HTH_SPECIAL_MASK}};
    for (size_t i = 0; i < HTH_COUNT(keys); i++) {
        int32_t id = find_named(t, config, keys[i].key);
        if (id >= 0) t->special[keys[i].which] = id;
    }
    set_edge(t->prefix, &t->n_prefix, t->special[HTH_SPECIAL_BOS], hth_json_get(config, "add_bos_token"),
             true, &t->adds_bos);
    set_edge(t->suffix, &t->n_suffix, t->special[HTH_SPECIAL_EOS], hth_json_get(config, "add_eos_token"),
             false, &t->adds_eos);
    const hth_json *eos = hth_json_get(generation, "eos_token_id");
    if (eos && eos->kind == HTH_JSON_NUMBER) mark_end(t, eos);
    for (uint32_t i = 0; eos && eos->kind == HTH_JSON_ARRAY && i < eos->n; i++) mark_end(t, &eos->u.items[i]);
    hth_tok_find_known(t);
    return HTH_OK;
}
