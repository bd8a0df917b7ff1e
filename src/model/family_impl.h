// What the files with families share.
#ifndef HTH_MODEL_FAMILY_IMPL_H
#define HTH_MODEL_FAMILY_IMPL_H

#include "model/family.h"

// The sliding window of the metadata, 0: none.
int32_t hth_family_window(hth_builder *b);
// Layers that are not full see a window of tokens; period as in hth_builder_is_full.
void hth_family_windows(hth_builder *b, int32_t period);
// Hub folders: which biases config.json promises by these two switches (NULL: none).
void hth_family_biases(hth_builder *b, const char *attention, const char *mlp);

void hth_family_granite(hth_builder *b); // Granite's four multipliers
void hth_family_hunyuan(hth_builder *b);
void hth_family_minicpm(hth_builder *b);
// The last layers of a file that predict further tokens are no part of the ordinary pass.
void hth_family_drop_prediction_layers(hth_builder *b);
// Qwen keeps some layers dense: those listed, and all but every n-th.
void hth_family_qwen_dense_layers(hth_builder *b);

// Experts in every n-th layer after the leading dense ones; none at all where the metadata counts none.
void hth_family_latent_experts(hth_builder *b, const hth_moe_desc *dflt);
// Families with latent attention (family_latent.c).
void hth_family_deepseek2(hth_builder *b);
void hth_family_deepseek3(hth_builder *b);
void hth_family_deepseek32(hth_builder *b);
void hth_family_glm4_moe_lite(hth_builder *b);
void hth_family_minicpm3(hth_builder *b);
void hth_family_mistral4(hth_builder *b);
void hth_family_youtu(hth_builder *b);

// Families with routed experts (family_moe.c).
void hth_family_mixtral(hth_builder *b);
void hth_family_qwen2_moe(hth_builder *b);
void hth_family_qwen3_moe(hth_builder *b);
void hth_family_gpt_oss(hth_builder *b);
void hth_family_glm4_moe(hth_builder *b);
void hth_family_olmoe(hth_builder *b);
void hth_family_granite_moe(hth_builder *b);
void hth_family_ernie_moe(hth_builder *b);
void hth_family_dots1(hth_builder *b);
void hth_family_hunyuan_moe(hth_builder *b);
void hth_family_minimax(hth_builder *b);
void hth_family_bailing_moe(hth_builder *b);
void hth_family_phimoe(hth_builder *b);
void hth_family_deepseek_1(hth_builder *b);
// (family_mixed.c)
void hth_family_llama4(hth_builder *b);
void hth_family_mimo2(hth_builder *b);

// Families with Mamba 2 mixers (family_mamba.c).
void hth_family_mamba2(hth_builder *b);
void hth_family_falcon_h1(hth_builder *b);
void hth_family_granite_hybrid(hth_builder *b);
void hth_family_nemotron_h(hth_builder *b);

// Families with Mamba 1 mixers (family_mamba1.c).
void hth_family_mamba1(hth_builder *b);
void hth_family_jamba(hth_builder *b);
void hth_family_rwkv7(hth_builder *b); // (family_rwkv.c)

// Families with recurrent layers (family_hybrid.c).
void hth_family_lfm2(hth_builder *b);
void hth_family_lfm2_moe(hth_builder *b);
void hth_family_qwen3_next(hth_builder *b);
void hth_family_qwen35(hth_builder *b);
void hth_family_qwen35_moe(hth_builder *b);
void hth_family_kimi_linear(hth_builder *b);

#endif
