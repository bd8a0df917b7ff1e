// RWKV-7 (see family.c).
#include <math.h>
#include <string.h>

#include "model/family_impl.h"

#define MAX_WIDTH 1048576

static void read_required(hth_builder *b, const char *what, const char *key, const char *path, int32_t *out) {
    if (!hth_meta_i32(b->m, key, path, 1, MAX_WIDTH, out)) hth_builder_missing(b, what, key, path);
}

// What the configuration class can state and no published model has.
static void refuse_other(hth_builder *b) {
    static const char *const must[] = {"norm_bias", "norm_first"};
    const char *act = "sqrelu";
    for (size_t i = 0; i < HTH_COUNT(must); i++) {
        bool on = true;
        hth_meta_bool(b->m, NULL, must[i], &on);
        if (!on) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: %s is off, which family rwkv7 does not know", must[i]);
    }
    hth_meta_str(b->m, NULL, "hidden_act", &act);
    if (strcmp(act, "sqrelu") != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: hidden_act \"%s\" is not known to family rwkv7", act);
    }
    if (hth_meta_has(b->m, NULL, "attn")) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: layers with attention (attn) are not known to family rwkv7");
    }
}

// Heads and widths of values that folders may repeat.
static void check_repeated(hth_builder *b, const hth_recurrent_desc *r) {
    const int32_t d = b->d->d_model;
    int32_t n_head = r->n_head;
    int64_t widths[HTH_MAX_LAYER];
    hth_meta_i32(b->m, NULL, "num_heads", 1, MAX_WIDTH, &n_head);
    bool same = n_head == r->n_head;
    if (hth_meta_ints(b->m, NULL, "value_dim", 1, MAX_WIDTH, widths, b->d->n_layer)) {
        for (int32_t i = 0; i < b->d->n_layer; i++) same &= widths[i] == d;
    }
    if (!same) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: num_heads or value_dim says something else than %d heads of %d",
                      (int)r->n_head, (int)r->head_cols);
    }
}

static int32_t read_ffn_width(hth_builder *b) {
    int32_t width = 0;
    float ratio = 4;
    if (hth_meta_i32(b->m, "feed_forward_length", "intermediate_size", 1, MAX_WIDTH, &width)) return width;
    if (b->is_gguf) hth_builder_missing(b, "the feed-forward width", "feed_forward_length", "intermediate_size");
    hth_meta_float(b->m, NULL, "hidden_ratio", &ratio);
    const double exact = (double)ratio * b->d->d_model;
    if (!(exact >= 1 && exact < MAX_WIDTH)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: hidden_ratio is %g", (double)ratio);
        return 1;
    }
    return ((int32_t)exact + 31) / 32 * 32;
}

void hth_family_rwkv7(hth_builder *b) {
    const int32_t d = b->d->d_model, d_ff = read_ffn_width(b);
    hth_recurrent_desc r = {.kind = HTH_RECURRENT_WKV, .tail_rows = 2, .tail_width = d, .head_cols = 1};
    read_required(b, "the width of a head", "wkv.head_size", "head_dim", &r.head_cols);
    read_required(b, "the rank of decays", "attention.decay_lora_rank", "decay_low_rank_dim", &r.wkv.rank_decay);
    read_required(b, "the rank of betas", "attention.iclr_lora_rank", "a_low_rank_dim", &r.wkv.rank_beta);
    read_required(b, "the rank of values", "attention.value_residual_mix_lora_rank", "v_low_rank_dim", &r.wkv.rank_value);
    read_required(b, "the rank of gates", "attention.gate_lora_rank", "gate_low_rank_dim", &r.wkv.rank_gate);
    if (b->m->code != HTH_OK) return;
    if (d % r.head_cols != 0) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "width %d is not divisible by heads of %d", (int)d, (int)r.head_cols);
        return;
    }
    r.head_rows = r.head_cols;
    r.n_head = d / r.head_cols;
    if (!b->is_gguf) {
        refuse_other(b);
        check_repeated(b, &r);
    }
    b->d->has_embd_norm = true;
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        r.wkv.is_first = i == 0;
        l->recurrent = r;
        l->ffn = HTH_FFN_PLAIN;
        l->act = HTH_ACT_RELU2;
        l->d_ff = d_ff;
        l->has_ffn_shift = true;
    }
}
