// What families with latent attention share of turning metadata into a description. GGUF files came in two ways: the
// older state the sizes of a head after expansion as key_length and value_length, the newer under names of their own
// and what the state holds under the old names.
#include <math.h>

#include "model/family.h"

#define MAX_WIDTH 65536

static void read_required(hth_builder *b, const char *what, const char *key, const char *path, int32_t *out) {
    if (!hth_meta_i32(b->m, key, path, 1, MAX_WIDTH, out)) hth_builder_missing(b, what, key, path);
}

static void read_gguf_head(hth_builder *b, hth_latent_desc *l) {
    const bool is_split = hth_meta_has(b->m, "attention.key_length_mla", NULL);
    int32_t key = 0;
    read_required(b, "the size of a key", is_split ? "attention.key_length_mla" : "attention.key_length", NULL, &key);
    read_required(b, "the size of a value", is_split ? "attention.value_length_mla" : "attention.value_length", NULL, &l->d_v);
    read_required(b, "the size of a key's rotated part", "rope.dimension_count", NULL, &l->d_rope);
    l->d_nope = key - l->d_rope;
    if (b->m->code == HTH_OK && l->d_nope < 1) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "keys of %d numbers have no room for %d rotated ones and others", (int)key,
                      (int)l->d_rope);
    }
}

static void read_hub_head(hth_builder *b, hth_latent_desc *l) {
    const hth_attention_desc *a = &b->d->layers[0].attn;
    read_required(b, "the size of a key's part without positions", NULL, "qk_nope_head_dim", &l->d_nope);
    read_required(b, "the size of a key's rotated part", NULL, "qk_rope_head_dim", &l->d_rope);
    l->d_v = b->d->d_model / a->n_head; // MiniCPM 3 has no other
    if (!hth_meta_i32(b->m, NULL, "v_head_dim", 1, MAX_WIDTH, &l->d_v) && l->d_v * a->n_head != b->d->d_model) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: v_head_dim (the size of a value) is missing");
    }
}

void hth_builder_latent(hth_builder *b) {
    hth_desc *d = b->d;
    hth_latent_desc l = {.norm_eps = d->norm_eps};
    read_required(b, "the rank of keys and values", "attention.kv_lora_rank", "kv_lora_rank", &l.kv_rank);
    hth_meta_i32(b->m, "attention.q_lora_rank", "q_lora_rank", 0, MAX_WIDTH, &l.q_rank);
    // Some GGUF files state a rank that they do not use.
    if (b->is_gguf && hth_container_find(b->model->container, "blk.0.attn_q.weight")) l.q_rank = 0;
    if (b->is_gguf) {
        read_gguf_head(b, &l);
    } else {
        read_hub_head(b, &l);
    }
    for (int32_t i = 0; b->m->code == HTH_OK && i < d->n_layer; i++) {
        hth_layer_desc *layer = &d->layers[i];
        layer->mixer = HTH_MIXER_LATENT;
        layer->latent = l;
        layer->attn.n_kv_head = 1;
        layer->attn.head_dim = l.kv_rank + l.d_rope;
        layer->attn.head_dim_v = l.kv_rank;
        layer->attn.scale = 1 / sqrtf((float)(l.d_nope + l.d_rope));
        layer->attn.kv_layer = i;
    }
}

// DeepSeek multiplies queries and keys by yarn's magnitude for mscale_all_dim (and by no more than the quotient of the
// two magnitudes in the rotation). GGUF has 0.1 * mscale_all_dim and takes the other to be the same; where it has
// neither, the plain magnitude of yarn works on both, as llama.cpp has it.
void hth_builder_latent_rope(hth_builder *b) {
    hth_desc *d = b->d;
    hth_rope *r = &d->rope[0];
    r->n_rot = d->layers[0].latent.d_rope;
    if (r->scaling != HTH_SCALING_YARN || r->factor <= 1) return;
    double multiplier = 0, magnitude = 1;
    if (hth_meta_num(b->m, "rope.scaling.yarn_log_multiplier", NULL, &multiplier) && multiplier != 0) {
        r->mscale = r->mscale_all_dim = 10 * multiplier;
    } else if (b->is_gguf) {
        magnitude = 0.1 * log(r->factor) + 1;
    }
    if (r->mscale_all_dim != 0) magnitude = 0.1 * r->mscale_all_dim * log(r->factor) + 1;
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_attention_desc *a = &d->layers[i].attn;
        if (d->layers[i].mixer != HTH_MIXER_LATENT) continue;
        a->scale = hth_meta_narrow(b->m, "the scale of scores", (double)a->scale * magnitude * magnitude);
    }
}
