// A model as it lies on disk: a GGUF file (or split set), or a folder as hubs publish it
// (safetensors, plain or MLX-quantized). One tensor table, and the metadata in its own shape.
#ifndef HTH_FORMATS_CONTAINER_H
#define HTH_FORMATS_CONTAINER_H

#include "formats/gguf.h"
#include "formats/json.h"
#include "formats/tensor.h"

typedef struct hth_container hth_container;

// Opens a GGUF file (by magic, not by name), a folder with config.json and model.safetensors or
// model.safetensors.index.json, or one .safetensors file whose folder has config.json (a file named as
// a part, -00001-of-0000N, opens the whole folder). A folder without these that holds exactly one GGUF
// set opens as that GGUF. Errors name the file at fault. Returns owned.
HTH_NODISCARD hth_code hth_container_open(const char *path, hth_container **out, hth_err *err);
void hth_container_close(hth_container *c);

const char *hth_container_path(const hth_container *c);
uint64_t hth_container_bytes(const hth_container *c); // of all weight files

int64_t hth_container_n_tensor(const hth_container *c);
const hth_tensor *hth_container_tensor_at(const hth_container *c, int64_t i);
const hth_tensor *hth_container_find(const hth_container *c, const char *name); // NULL when absent

// Files behind the tensors, for buffers and for explicit reads: hth_tensor.i_file indexes these.
int hth_container_n_file(const hth_container *c);
const char *hth_container_file_path(const hth_container *c, int i);
const uint8_t *hth_container_file_data(const hth_container *c, int i, uint64_t *n_bytes);

// The GGUF behind it, or NULL for a folder.
const hth_gguf *hth_container_gguf(const hth_container *c);
// A JSON file of the folder, parsed on first use and kept: "config.json", "generation_config.json",
// "tokenizer.json", "tokenizer_config.json", ... *out is NULL (and HTH_OK) when the file is absent or
// the container is a GGUF. Not thread-safe: it remembers.
HTH_NODISCARD hth_code hth_container_json(hth_container *c, const char *file, const hth_json **out,
                                          hth_err *err);
// A text file of the folder ("chat_template.jinja"); *out NULL when absent. Owned by c.
HTH_NODISCARD hth_code hth_container_text(hth_container *c, const char *file, const char **out, size_t *n,
                                          hth_err *err);

#endif
