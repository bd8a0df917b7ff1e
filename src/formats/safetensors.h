// One safetensors file: 8-byte little-endian header length, JSON header, data.
// github.com/huggingface/safetensors README "Format". Mapped, nothing copied. As the format demands,
// the tensors must fill the data exactly: no overlap, no hole, nothing behind the last.
#ifndef HTH_FORMATS_SAFETENSORS_H
#define HTH_FORMATS_SAFETENSORS_H

#include "formats/tensor.h"

typedef struct hth_safetensors hth_safetensors;

// Errors name the file. Returns owned.
HTH_NODISCARD hth_code hth_safetensors_open(const char *path, hth_safetensors **out, hth_err *err);
// `data` is borrowed and must outlive *out.
HTH_NODISCARD hth_code hth_safetensors_open_memory(const void *data, uint64_t n_bytes, hth_safetensors **out,
                                                   hth_err *err);
void hth_safetensors_close(hth_safetensors *s);
int64_t hth_safetensors_n_tensor(const hth_safetensors *s);
const hth_tensor *hth_safetensors_tensor_at(const hth_safetensors *s, int64_t i);
// The whole file.
const uint8_t *hth_safetensors_data(const hth_safetensors *s, uint64_t *n_bytes);

#endif
