// Which type each tensor of a model gets when the model is quantized: the mixes that users know by name
// (Q4_K_M, ...) as llama.cpp's llama-quantize makes them.
#ifndef HTH_MODEL_MIX_H
#define HTH_MODEL_MIX_H

#include "formats/gguf.h"

// A name that a file can be quantized to.
typedef struct hth_mix {
    const char *name;  // "Q4_K_M"
    hth_type type;     // of the tensors for which nothing else is said
    int file_type;     // general.file_type
} hth_mix;

// By name in any case, aliases (Q4_K: Q4_K_M) too; NULL when there is none.
const hth_mix *hth_mix_by_name(const char *name);
// For listing, NULL past the end.
const hth_mix *hth_mix_at(int i);

// What of a model the choice depends on.
typedef struct hth_mix_model {
    bool is_falcon, is_llama_70b, is_tied; // is_tied: the embedding serves as output
    int64_t n_layer, n_expert;
    int64_t n_gqa; // query heads per key head, of the first layer
    int64_t n_attn_v; // tensors that count as attn_v
} hth_mix_model;

HTH_NODISCARD hth_code hth_mix_model_read(const hth_gguf *g, hth_mix_model *out, hth_err *err);

// Whether a tensor is ever quantized: a matrix that is multiplied, neither a norm nor a small table.
bool hth_mix_is_quantizable(const hth_tensor *t);
// -1 where the name has no "blk.N."
int64_t hth_mix_layer(const char *name);

bool hth_mix_is_embedding(const char *name);

// Walks the tensors in the order of layers, then of names, which the choice counts along.
typedef struct hth_mix_walk {
    const hth_mix *mix;
    const hth_mix_model *model;
    bool has_imatrix;
    int64_t i_attn_v, i_ffn_down; // counted by hth_mix_choose
} hth_mix_walk;

// The type of the next quantizable tensor, whatever its row length.
hth_type hth_mix_choose(hth_mix_walk *walk, const hth_tensor *t);

// A type that rows of n_col can be stored as: `type`, or the usual one in its place, at last f16.
hth_type hth_mix_fallback(hth_type type, int64_t n_col);

#endif
