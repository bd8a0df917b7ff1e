// Importance matrices: for each matrix of a model the mean square of what each of its columns is multiplied
// with, as llama.cpp's llama-imatrix writes them: GGUF (general.type "imatrix"; tensors NAME.in_sum2 and
// NAME.counts) and the older .dat.
#ifndef HTH_FORMATS_IMATRIX_H
#define HTH_FORMATS_IMATRIX_H

#include "formats/gguf.h"

typedef struct hth_imatrix hth_imatrix;

typedef struct hth_imatrix_entry {
    const char *name; // of the weight
    int64_t n;        // columns times matrices (experts) of the weight
    const float *mean; // [n]; finite, none negative; all ones for an expert that no token reached
} hth_imatrix_entry;

// Reads and checks the whole file, of either kind. Returns owned; the file is not needed afterwards.
HTH_NODISCARD hth_code hth_imatrix_open(const char *path, hth_imatrix **out, hth_err *err);
// The same from memory, which is not needed afterwards either.
HTH_NODISCARD hth_code hth_imatrix_open_memory(const void *data, uint64_t n_bytes, hth_imatrix **out, hth_err *err);
void hth_imatrix_close(hth_imatrix *m);

int64_t hth_imatrix_n(const hth_imatrix *m);
const hth_imatrix_entry *hth_imatrix_at(const hth_imatrix *m, int64_t i);
const hth_imatrix_entry *hth_imatrix_find(const hth_imatrix *m, const char *name); // NULL when absent
int64_t hth_imatrix_n_chunk(const hth_imatrix *m);    // 0: the file does not say
const char *hth_imatrix_dataset(const hth_imatrix *m); // the first text's name, "" when the file does not say

// What a writer has per weight: for each of its matrices (experts) sums over `count` rows of squares.
typedef struct hth_imatrix_sums {
    const char *name;
    int64_t n;         // columns
    int64_t n_expert;  // 1 for an ordinary matrix
    const double *sum; // [n_expert, n]
    const int64_t *count; // [n_expert]
} hth_imatrix_sums;

// Writes the GGUF kind, weights in the order of their names whatever the order of `sums` [n].
HTH_NODISCARD hth_code hth_imatrix_write(const char *path, const hth_imatrix_sums *sums, size_t n, const char *dataset,
                                         uint32_t n_chunk, uint32_t chunk_size, hth_err *err);

#endif
