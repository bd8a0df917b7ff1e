// Quantizing a GGUF file: first a plan (which tensor becomes what), then the work, a slice of a tensor at a
// time, so that memory does not grow with the model. The result is the same bits for any number of threads.
#ifndef HTH_MODEL_QUANTIZE_H
#define HTH_MODEL_QUANTIZE_H

#include "formats/imatrix.h"
#include "model/mix.h"
#include "os/thread.h"

// A type for the tensors whose name holds a match of a regular expression.
typedef struct hth_quantize_rule {
    const char *pattern;
    hth_type type;
} hth_quantize_rule;

typedef struct hth_quantize_params {
    const hth_mix *mix;
    bool is_pure; // the mix's own type everywhere
    const hth_quantize_rule *rules; // [n_rule] the first that matches decides
    int n_rule;
    const hth_imatrix *imatrix; // or NULL
    const char *imatrix_path;   // for the file's metadata
} hth_quantize_params;

typedef enum hth_quantize_why {
    HTH_QUANTIZE_KEPT,     // not to be quantized: as it was
    HTH_QUANTIZE_MIX,      // chosen by the mix
    HTH_QUANTIZE_RULE,     // chosen by a rule
    HTH_QUANTIZE_FALLBACK, // the rows do not hold whole blocks of `wanted`
} hth_quantize_why;

typedef struct hth_quantize_choice {
    const hth_tensor *tensor;
    hth_type type, wanted;
    hth_quantize_why why;
    uint64_t n_bytes;
    const hth_imatrix_entry *importance; // or NULL
} hth_quantize_choice;

typedef struct hth_quantize_plan {
    const hth_gguf *in; // borrowed
    hth_quantize_params params; // what it points at is borrowed
    hth_quantize_choice *choices; // [n] owned, in the order of the file
    size_t n;
    uint64_t in_bytes, out_bytes; // of all tensors
    size_t n_fallback;
    size_t n_again;     // tensors that were quantized already and change their type
    size_t n_unweighed; // tensors that will be quantized without importance though there is an imatrix
} hth_quantize_plan;

// Decides. Fails on a type without quantizer, a bad pattern, a pattern that matches nothing, importance of
// the wrong length.
HTH_NODISCARD hth_code hth_quantize_plan_make(const hth_gguf *in, const hth_quantize_params *params,
                                              hth_quantize_plan *out, hth_err *err);
void hth_quantize_plan_free(hth_quantize_plan *p);

// Told while it runs: choice i is in work, `done` of `total` bytes of all tensors are read.
// Returning false stops (HTH_ERR_CANCELLED).
typedef bool (*hth_quantize_progress_fn)(void *user, size_t i, uint64_t done, uint64_t total);

// Writes the file. Numbers that are not finite, or too large for the type, are errors naming the place.
// Nothing appears under `path` unless all went well. *n_bytes: of the file.
HTH_NODISCARD hth_code hth_quantize_run(const hth_quantize_plan *p, const char *path, hth_team *team,
                                        hth_quantize_progress_fn progress, void *user, uint64_t *n_bytes,
                                        hth_err *err);

#endif
