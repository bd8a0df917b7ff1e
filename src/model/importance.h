// Measuring importance (formats/imatrix.h): sums of squares of what each column of each matrix is multiplied
// with, collected while a model runs.
#ifndef HTH_MODEL_IMPORTANCE_H
#define HTH_MODEL_IMPORTANCE_H

#include "formats/imatrix.h"
#include "model/executor.h"

typedef struct hth_importance hth_importance;

// For the matrices inside layers, each routed expert's for itself, and with `with_output` for the output matrix, under
// the names of the container's tensors. Returns owned.
HTH_NODISCARD hth_code hth_importance_new(const hth_model *m, bool with_output, hth_importance **out, hth_err *err);
void hth_importance_free(hth_importance *im);

// What to run steps with. One step at a time; sums do not depend on threads.
hth_linear_hook hth_importance_hook(hth_importance *im);

typedef struct hth_importance_params {
    int32_t n_chunk; // rows per step
    hth_activations activations;
    const atomic_bool *cancel; // may be NULL
} hth_importance_params;

// Runs tokens [n] as one sequence from an empty context.
HTH_NODISCARD hth_code hth_importance_run(hth_importance *im, hth_executor *ex, const int32_t *tokens, int64_t n,
                                          const hth_importance_params *params, hth_err *err);

// What was collected so far: borrowed, changed by the next run. Matrices that were never multiplied are left out.
// A sum that is not finite is HTH_ERR_RANGE naming the matrix.
HTH_NODISCARD hth_code hth_importance_sums(hth_importance *im, const hth_imatrix_sums **sums, size_t *n, hth_err *err);

#endif
