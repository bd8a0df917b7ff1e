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

// What to run steps with. One step at a time; sums do not depend on threads or on how rows are cut into steps.
hth_linear_hook hth_importance_hook(hth_importance *im);

// What was collected so far: borrowed, changed by the next step. Matrices that were never multiplied are left out.
// A sum that is not finite is HTH_ERR_RANGE naming the matrix.
HTH_NODISCARD hth_code hth_importance_sums(hth_importance *im, const hth_imatrix_sums **sums, size_t *n, hth_err *err);

#endif
