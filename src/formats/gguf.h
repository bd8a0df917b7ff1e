// GGUF (v2, v3), the container of ggml: github.com/ggml-org/ggml docs/gguf.md. Split files
// (-00001-of-0000N.gguf) open as one. Files are mapped; strings and arrays are not copied, so
// opening costs what the header costs whatever the file's size.
#ifndef HTH_FORMATS_GGUF_H
#define HTH_FORMATS_GGUF_H

#include "formats/tensor.h"

typedef enum hth_gguf_kind {
    HTH_GGUF_U8, HTH_GGUF_I8, HTH_GGUF_U16, HTH_GGUF_I16, HTH_GGUF_U32, HTH_GGUF_I32, HTH_GGUF_F32,
    HTH_GGUF_BOOL, HTH_GGUF_STRING, HTH_GGUF_ARRAY, HTH_GGUF_U64, HTH_GGUF_I64, HTH_GGUF_F64,
    HTH_GGUF_KIND_COUNT
} hth_gguf_kind;

typedef struct hth_gguf hth_gguf;

// One metadata pair. A STRING of its own is a zero-terminated copy; everything else is a view into
// the mapping. Keys are valid UTF-8; strings may be any bytes (vocabularies hold half characters).
typedef struct hth_gguf_kv {
    const char *key; // zero-terminated copy
    hth_gguf_kind kind;
    hth_gguf_kind item_kind; // of ARRAY; never ARRAY itself
    uint64_t n;              // items of ARRAY, bytes of STRING
    const uint8_t *data;     // the scalar, the string's bytes, or the first item; any alignment
    uint64_t pos;            // byte offset of the pair in its file
} hth_gguf_kv;

// Opens `path`; for a split set any of its files: all parts are then found beside it. The metadata is
// that of the first part, the tensors are those of all. Bytes after the last tensor are ignored.
// Errors name the file. Returns owned.
HTH_NODISCARD hth_code hth_gguf_open(const char *path, hth_gguf **out, hth_err *err);
// The same from memory (fuzzing, tests): `data` is borrowed and must outlive *out.
HTH_NODISCARD hth_code hth_gguf_open_memory(const void *data, uint64_t n_bytes, hth_gguf **out, hth_err *err);
void hth_gguf_close(hth_gguf *g);

uint32_t hth_gguf_version(const hth_gguf *g);
int64_t hth_gguf_n_kv(const hth_gguf *g);
const hth_gguf_kv *hth_gguf_kv_at(const hth_gguf *g, int64_t i);
const hth_gguf_kv *hth_gguf_find(const hth_gguf *g, const char *key); // NULL when absent

// Scalar reads. Absent: *out keeps its value and HTH_OK returns. Another kind (any integer kind
// serves as integer, any number as float), or out of range: HTH_ERR_FORMAT naming key and kinds.
HTH_NODISCARD hth_code hth_gguf_get_i64(const hth_gguf *g, const char *key, int64_t *out, hth_err *err);
HTH_NODISCARD hth_code hth_gguf_get_f64(const hth_gguf *g, const char *key, double *out, hth_err *err);
HTH_NODISCARD hth_code hth_gguf_get_bool(const hth_gguf *g, const char *key, bool *out, hth_err *err);
// *out is owned by g and zero-terminated; *n may be NULL.
HTH_NODISCARD hth_code hth_gguf_get_str(const hth_gguf *g, const char *key, const char **out, size_t *n,
                                        hth_err *err);

// Item i of an array of numbers or bools, widened; the caller has checked i < kv->n and the kind.
int64_t hth_gguf_item_i64(const hth_gguf_kv *kv, uint64_t i);
double hth_gguf_item_f64(const hth_gguf_kv *kv, uint64_t i);

// Walks an array of strings in order: call n times. *it starts as kv->data.
void hth_gguf_next_str(const uint8_t **it, const char **text, size_t *n);

int64_t hth_gguf_n_tensor(const hth_gguf *g);
const hth_tensor *hth_gguf_tensor_at(const hth_gguf *g, int64_t i);

// The files behind it, one or as many as the split set has; hth_tensor.i_file indexes them. The path
// of a GGUF in memory is "".
int hth_gguf_n_file(const hth_gguf *g);
const char *hth_gguf_file_path(const hth_gguf *g, int i);
const uint8_t *hth_gguf_file_data(const hth_gguf *g, int i, uint64_t *n_bytes);

// "u32", "string", "array", ...; "unknown" past the last kind.
const char *hth_gguf_kind_name(hth_gguf_kind kind);

#endif
