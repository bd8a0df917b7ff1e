// A tiny mixture of experts, a tensor per expert, as hubs publish Qwen 3.
#ifndef HTH_TEST_TINY_MOE_H
#define HTH_TEST_TINY_MOE_H

#include "tiny.h"

enum { MOE_LAYERS = 2, MOE_EXPERTS = 16, MOE_USED = 3, MOE_D = 48, MOE_D_FF = 64 };

static inline void tiny_moe(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm", NULL};
    const tiny_shape s = {.d = MOE_D, .n_head = 6, .n_kv = 2, .head_dim = 16, .d_ff = 80, .norm = 1};
    tiny_common(t, "qwen3_moe", &s, MOE_LAYERS);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "hidden_act", "\"silu\"");
    tiny_set_int(t, "num_experts", MOE_EXPERTS);
    tiny_set_int(t, "num_experts_per_tok", MOE_USED);
    tiny_set_int(t, "moe_intermediate_size", MOE_D_FF);
    tiny_set(t, "norm_topk_prob", "true");
    for (int i = 0; i < MOE_LAYERS; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_attention(t, p, &s);
        tiny_vector(t, p, "self_attn.q_norm.weight", s.head_dim, 1);
        tiny_vector(t, p, "self_attn.k_norm.weight", s.head_dim, 1);
        tiny_matrix(t, p, "mlp.gate", MOE_EXPERTS, MOE_D, 2);
        for (int e = 0; e < MOE_EXPERTS; e++) {
            snprintf(p, sizeof p, "model.layers.%d.mlp.experts.%d.", i, e);
            tiny_matrix(t, p, "gate_proj", MOE_D_FF, MOE_D, 2);
            tiny_matrix(t, p, "up_proj", MOE_D_FF, MOE_D, 2);
            tiny_matrix(t, p, "down_proj", MOE_D, MOE_D_FF, 2);
        }
    }
    tiny_ends(t, &s, false);
}

#endif
