// Embeddings: the hidden rows after the output norm, pooled into one vector, and ranking heads on top of it.
#ifndef HTH_ENGINE_POOLING_H
#define HTH_ENGINE_POOLING_H

#include "model/model.h"

typedef struct hth_pooled {
    double *sum; // [d_model] owned; of the pooled rows
    hth_pooling pooling;
    int64_t n; // rows of the text
} hth_pooled;

// As the model says, else the last token of a causal model and the mean of an encoder.
hth_pooling hth_pooling_of(const hth_model *m, hth_pooling wish);
// "mean", "cls", "last", "rank"; false for another name.
bool hth_pooling_find(const char *name, hth_pooling *out);
int32_t hth_pooling_width(const hth_model *m, hth_pooling pooling);

HTH_NODISCARD hth_code hth_pooled_init(hth_pooled *p, const hth_model *m, hth_pooling pooling, int64_t n, hth_err *err);
void hth_pooled_free(hth_pooled *p);
bool hth_pooled_wants(const hth_pooled *p, const hth_model *m, int64_t row);
void hth_pooled_add(hth_pooled *p, const hth_model *m, const float *hidden, int32_t n_row); // [n_row, d_model]
// out [hth_pooling_width]; `normalize` does not apply to ranks.
HTH_NODISCARD hth_code hth_pooled_finish(const hth_pooled *p, const hth_model *m, bool normalize, float *out, hth_err *err);

#endif
