// Families: how metadata becomes a description. A family is a row in family.c: its names in the containers,
// traits that many share, and a function for what only it has.
#ifndef HTH_MODEL_FAMILY_H
#define HTH_MODEL_FAMILY_H

#include "model/meta.h"
#include "model/model.h"
#include "model/names.h"

typedef enum hth_trait {
    HTH_TRAIT_NORM_ROPE_GGUF = 1 << 0, // rope pairs (2i, 2i+1) in GGUF; otherwise halves
    HTH_TRAIT_NORM_ROPE_HUB = 1 << 1,  // the same in hub folders
    HTH_TRAIT_LAYER_NORM = 1 << 2,     // LayerNorm instead of RMSNorm
    HTH_TRAIT_POST_ONLY = 1 << 3,      // norms on the branches' outputs only (OLMo 2)
    HTH_TRAIT_SANDWICH = 1 << 4,       // norms before and after each branch (Gemma 2)
    HTH_TRAIT_PARALLEL = 1 << 5,       // attention and feed-forward side by side
    HTH_TRAIT_QK_NORM_HEAD = 1 << 6,   // RMS on each query and key head
    HTH_TRAIT_QK_NORM_ALL = 1 << 7,    // RMS over all heads together
    HTH_TRAIT_PLUS_ONE_HUB = 1 << 8,   // hub norms are stored as w - 1
    HTH_TRAIT_EMBD_SQRT = 1 << 9,      // embeddings times sqrt(d_model)
    HTH_TRAIT_GELU_TANH = 1 << 10,     // "gelu" means its tanh form
    HTH_TRAIT_PLAIN_FFN = 1 << 11,     // no gate
    HTH_TRAIT_ENCODER = 1 << 12,       // every row sees every row; norms after the sums
    HTH_TRAIT_MOE = 1 << 13,           // files may have routed experts
    HTH_TRAIT_HYBRID = 1 << 14,        // layers may lack attention or a feed-forward: their sizes may be listed as 0
    HTH_TRAIT_LATENT = 1 << 15,        // multi-head latent attention
    HTH_TRAIT_RECURRENT = 1 << 16,     // no layer has attention, or a feed-forward of the usual kind
} hth_trait;

typedef struct hth_builder hth_builder;

typedef struct hth_family {
    const char *name;
    const char *gguf[4]; // general.architecture values
    const char *hub[6];  // model_type values
    unsigned traits;
    const hth_name *hub_names; // own names, ended by HTH_ROLE_NONE; or NULL
    const hth_name *gguf_names;
    void (*adjust)(hth_builder *b); // what only this family has; or NULL
    const hth_meta_default *defaults; // what published config.json files leave out; or NULL
} hth_family;

// A description being built.
struct hth_builder {
    hth_meta *m;
    hth_model *model;
    hth_desc *d;
    const hth_family *family;
    bool is_gguf;
    int32_t window;     // sliding_window, 0: none
    // Which biases the metadata promises for hub folders: 1 yes, 0 no, -1 by presence.
    int8_t qkv_bias, o_bias, mlp_bias;
    int8_t conv_bias;   // of a recurrent mixer's convolution and projections, in either container
    int8_t mixer_bias;  // Mamba 2: of the projections alone
    int32_t dense_ff[HTH_MAX_LAYER]; // feed-forward widths where layers with experts would be dense
    int8_t choice_bias; // of routed experts, in either container
    int32_t next_like;  // 1 + the layer that predicting layers are like; 0: the last
    bool next_is_dense; // they have no experts, whatever that layer has
    bool bare_experts;  // experts in one tensor stand there without ".weight", as transformers stores parameters
    bool turned_experts; // and each of these matrices is the other way round: [inputs, outputs]
};

// The family of an architecture name (GGUF) or model_type (hub), or NULL.
const hth_family *hth_family_find(const char *name, bool is_gguf);
const hth_family *hth_family_at(int i); // NULL past the end

// Fills model->desc from the metadata.
HTH_NODISCARD hth_code hth_describe(hth_builder *b, hth_err *err);

// Whether layer i attends to everything: by layer_types or the window pattern of the metadata, or else every
// `period`-th layer (0: none is full).
bool hth_builder_is_full(hth_builder *b, int32_t i, int32_t period);
// Makes every layer's feed-forward one of routed experts: what the usual keys say over the family's defaults. Layers
// that hth_builder_dense names go back to being dense.
void hth_builder_moe(hth_builder *b, const hth_moe_desc *dflt);
void hth_builder_dense(hth_builder *b, int32_t i);
// Makes every layer's mixer latent attention, as the usual keys say (describe_latent.c): before the rotation is read.
void hth_builder_latent(hth_builder *b);
// What the rotation means for it, after that was read: its width, and what yarn does to the scale of scores.
void hth_builder_latent_rope(hth_builder *b);
// A required value that neither key nor path has; the first alternative of each is named.
void hth_builder_missing(hth_builder *b, const char *what, const char *key, const char *path);
// Reads a rotation from the config object at `path` ("rope_scaling", "rope_parameters.full_attention"; GGUF:
// its rope.* keys) over the defaults already in *r.
void hth_builder_rope(hth_builder *b, const char *path, hth_rope *r);

#endif
