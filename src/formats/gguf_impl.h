// What the parts of the GGUF reader share: one parsed file, and how reading stops early.
#ifndef HTH_FORMATS_GGUF_IMPL_H
#define HTH_FORMATS_GGUF_IMPL_H

#include "base/arena.h"
#include "base/hash.h"
#include "formats/gguf.h"
#include "os/file.h"

// A split set is the parsed first part, owning the others.
struct hth_gguf {
    char *path; // owned; "" for memory
    hth_file_map map;
    const uint8_t *data; // map.data, or the caller's memory
    uint64_t n_bytes;
    uint32_t version;
    hth_arena arena; // copies of keys, scalar strings and tensor names
    hth_gguf_kv *kvs;
    size_t n_kv, cap_kv;
    hth_map kv_by_key;
    hth_tensor *tensors; // of this file; of all parts after joining
    size_t n_tensor, cap_tensor;
    hth_map tensor_by_name;
    hth_gguf **parts; // [n_part] the first is this one; NULL when not split
    int n_part;
};

// Bytes of one value of a kind; 0 for STRING and ARRAY.
unsigned hth_gguf_kind_bytes(hth_gguf_kind kind);

// Parses and checks everything between the first byte and the tensor data of g->data.
HTH_NODISCARD hth_code hth_gguf_parse(hth_gguf *g, hth_err *err);

// Opens one file, whatever its split keys say.
HTH_NODISCARD hth_code hth_gguf_open_part(const char *path, hth_gguf **out, hth_err *err);

// Takes the part `*first_or_any` of a split set, opens the others and leaves the joined first part in
// its place. On failure it is still owned by the caller, errors name the file.
HTH_NODISCARD hth_code hth_gguf_join(hth_gguf **first_or_any, int64_t n_part, hth_err *err);

// Takes NAME-00001-of-00002.gguf apart; false for other names. Part numbers count from one.
bool hth_gguf_split_name(const char *path, size_t *stem_len, int *no, int *count);

// Most bytes that everything before the tensor data may take. Real ones stay below 100 MiB.
#define HTH_GGUF_HEADER_MAX ((uint64_t)1 << 30)

#endif
