// Low-rank adapters (LoRA, arXiv:2106.09685): y += scale * B (A x) beside a product y = W x, without touching W. An
// adapter is loaded for one model and is immutable; any number of requests may use any number of them, each with
// scales of its own, in the same steps as requests without.
//
// Three kinds of files: GGUF as llama.cpp's converters write it (for a GGUF model), and for a model folder PEFT's
// (adapter_config.json, adapter_model.safetensors) and mlx-lm's (adapter_config.json, adapters.safetensors).
#ifndef HTH_MODEL_LORA_H
#define HTH_MODEL_LORA_H

#include "hearth_lora.h"
#include "model/executor.h"

#define HTH_MAX_LORA_RANK 4096

// Opens an adapter for `m`, which outlives it. Its numbers are copied as f32. HTH_ERR_FORMAT naming the tensor for what
// does not fit the model, HTH_ERR_UNSUPPORTED for kinds of adapters that are not known. Returns owned.
HTH_NODISCARD hth_code hth_lora_open(const char *path, const hth_model *m, hth_lora **out, hth_err *err);
// Tells adapters of different content apart: what is computed with one is no use to another.
uint64_t hth_lora_id(const hth_lora *l);
int32_t hth_lora_rank(const hth_lora *l);     // the greatest of its modules
int32_t hth_lora_n_module(const hth_lora *l); // matrices that it adds to

// Applies adapters during steps of one executor: work space, and the hook.
typedef struct hth_lora_runner hth_lora_runner;
HTH_NODISCARD hth_code hth_lora_runner_new(hth_lora_runner **out, hth_err *err);
void hth_lora_runner_free(hth_lora_runner *r);
// Prepares the next step: of n_row rows on n_thread threads, with sets [n_seq] by hth_row.i_seq, borrowed for the step.
// *out is for hth_step.hook; NULL where no sequence uses anything. Call it before every step.
HTH_NODISCARD hth_code hth_lora_runner_begin(hth_lora_runner *r, const hth_lora_set *sets, int32_t n_seq, int32_t n_row,
                                             int n_thread, const hth_linear_hook **out, hth_err *err);

#endif
