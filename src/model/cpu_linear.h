// What the files with matrix products share: cpu_linear.c, and cpu_experts.c for routed experts.
#ifndef HTH_MODEL_CPU_LINEAR_H
#define HTH_MODEL_CPU_LINEAR_H

#include "model/cpu.h"

// The input as bytes, and as bf16, if one of the products wants it so. scatter: how x's rows become those of the input,
// or NULL.
hth_q8 cpu_input_of(const cpu_thread *t, const cpu_product *products, int n_product, const cpu_input *in,
                    const cpu_scatter *scatter);
// Rows [first, last) of one product, of one expert where it has several, with tokens [tok, tok_end).
void cpu_multiply_rows(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in,
                       const hth_q8 *q8, int64_t tok, int64_t tok_end);
// The bias of the product's expert to rows [first, last) of tokens [tok, tok_end).
void cpu_add_bias(const cpu_product *p, int64_t first, int64_t last, int64_t tok, int64_t tok_end);

#endif
