// Inside of an adapter, shared by the files that load and apply it.
#ifndef HTH_MODEL_LORA_IMPL_H
#define HTH_MODEL_LORA_IMPL_H

#include "base/hash.h"
#include "model/lora.h"

// What is added to one tensor of the model.
typedef struct lora_module {
    const char *name; // the tensor's; borrowed from the model
    int32_t rank;
    int64_t n_row, n_col; // of the tensor
    float scale;          // alpha / rank, or as the adapter says
    float *a;             // [rank, n_col] owned; of the embedding: [n_vocab, rank]
    float *b;             // [n_row, rank] owned; of the embedding: [d, rank]
} lora_module;

struct hth_lora {
    const hth_model *model; // borrowed
    lora_module *modules;   // [n] owned
    size_t n, cap;
    hth_map by_name;
    const lora_module *embedding; // NULL: not touched
    int32_t max_rank;
    uint64_t id;
};

// Two halves of a module as they lie in the file. `is_turned`: [n_col, rank] and [rank, n_row] instead of [rank, n_col]
// and [n_row, rank].
typedef struct lora_pair {
    const char *name; // of the model's tensor
    const hth_tensor *a, *b;
    bool is_turned;
    double alpha;    // scale = alpha / rank, or alpha / sqrt(rank); 0: `scale`
    bool is_rooted;
    double scale;
} lora_pair;

// Checks a pair against the model and copies it.
HTH_NODISCARD hth_code lora_add(hth_lora *l, const lora_pair *p, hth_err *err);
HTH_NODISCARD hth_code lora_load_gguf(hth_lora *l, const char *path, hth_err *err);
HTH_NODISCARD hth_code lora_load_folder(hth_lora *l, const char *path, hth_err *err);

#endif
