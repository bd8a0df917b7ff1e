// What a container says about one tensor.
#ifndef HTH_FORMATS_TENSOR_H
#define HTH_FORMATS_TENSOR_H

#include "quant/type.h"

#define HTH_MAX_DIM 8

typedef struct hth_tensor {
    const char *name; // zero-terminated; borrowed from the container
    hth_type type;
    int n_dim;
    int64_t dim[HTH_MAX_DIM]; // row-major, outermost first, whatever the container's own order
    const uint8_t *data;      // in the mapping; 8-byte aligned in GGUF, any alignment in safetensors
    uint64_t n_bytes;         // exactly dims x type; checked to lie inside the file
    int i_file;               // which of the container's files
    uint64_t off;             // byte offset in that file
} hth_tensor;

#endif
