// What the files that bind a model's tensors share.
#ifndef HTH_MODEL_BIND_IMPL_H
#define HTH_MODEL_BIND_IMPL_H

#include "model/bind.h"

#define HTH_NAME_LEN 256

typedef struct hth_binder {
    hth_builder *b;
    hth_model *m;
    hth_container *c;
    int32_t first_layer;   // number of layer 0 in the file's names
    const char *root;      // hub: what stands before layer names, "model." and the like
    const hth_json *mlx;   // hub: "quantization" of an MLX folder, or NULL
    const hth_json *quant; // hub: "quantization_config", or NULL
    bool *used;            // [n_tensor]
    bool plus_one;         // norms are stored as w - 1
    int64_t expert;        // for "%e" in names
    int64_t stack;         // matrices being bound per tensor: one per expert or head; 0: plain matrices
    hth_err *err;
} hth_binder;

// Tries all spellings of a role; `base` gets the name without suffix of the tensor that exists (or of the first
// spelling, for messages). NULL: there is none.
const hth_tensor *hth_bind_find(const hth_binder *k, hth_role role, int32_t layer, const char *suffix,
                                char base[HTH_NAME_LEN]);
// The error for a tensor that must be there.
hth_code hth_bind_missing(const hth_binder *k, hth_role role, int32_t layer, const char *base, const char *suffix);

// A matrix [n_row, n_col], required; with k->stack that many in one tensor.
HTH_NODISCARD hth_code hth_bind_matrix(hth_binder *k, hth_role role, int32_t layer, int64_t n_row, int64_t n_col,
                                       hth_weight *w);
// The same from the tensor `t` that stands under base + ".weight".
HTH_NODISCARD hth_code hth_bind_tensor(hth_binder *k, const char *base, const hth_tensor *t, int64_t n_row, int64_t n_col,
                                       hth_weight *w);
// n numbers of a tensor as f32, `plus` added to each.
HTH_NODISCARD hth_code hth_bind_vector(hth_binder *k, const hth_tensor *t, int64_t n, float plus, const float **out);
// A norm's weight: required. Its bias: taken when there.
HTH_NODISCARD hth_code hth_bind_norm(hth_binder *k, hth_role role, int32_t layer, int64_t n, const float **w,
                                     const float **bias);
// A projection's bias. promise: 1 must be there, 0 must not, -1 either.
HTH_NODISCARD hth_code hth_bind_bias(hth_binder *k, hth_role role, int32_t layer, int64_t n, int promise,
                                     const float **out);
// n numbers of a role's tensor, whatever its shape: required.
HTH_NODISCARD hth_code hth_bind_numbers(hth_binder *k, hth_role role, int32_t layer, const char *suffix, int64_t n,
                                        const float **out);
// The recurrent mixer of a layer, where it has one (bind_recurrent.c).
HTH_NODISCARD hth_code hth_bind_recurrent(hth_binder *k, int32_t layer, hth_recurrent_weights *w);
// Its convolution.
HTH_NODISCARD hth_code hth_bind_conv(hth_binder *k, int32_t layer, int promise, hth_recurrent_weights *w);
// Its rates and biases of decay.
HTH_NODISCARD hth_code hth_bind_decays(hth_binder *k, int32_t layer, hth_recurrent_weights *w);
HTH_NODISCARD hth_code hth_bind_mamba(hth_binder *k, int32_t layer, hth_recurrent_weights *w); // (bind_mamba.c)
HTH_NODISCARD hth_code hth_bind_mamba1(hth_binder *k, int32_t layer, hth_recurrent_weights *w);
HTH_NODISCARD hth_code hth_bind_wkv(hth_binder *k, int32_t layer, hth_recurrent_weights *w); // (bind_wkv.c)
void hth_bind_mark_used(hth_binder *k, const hth_tensor *t);

// Everything of layer i.
HTH_NODISCARD hth_code hth_bind_layer(hth_binder *k, int32_t i);
// The model's predictor, where the file has one that this family is known to have (bind_predict.c).
HTH_NODISCARD hth_code hth_bind_predictor(const hth_binder *k);

// Latent attention of layer i, but for the output projection (bind_latent.c).
HTH_NODISCARD hth_code hth_bind_latent(hth_binder *k, int32_t i, hth_layer *l);

#endif
