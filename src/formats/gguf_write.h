// Writing a GGUF file (v3) under the promise of os/file.h: it appears under its name only when all of it
// is on disk. First metadata and the table of tensors, then the data of the tensors in their order, in
// pieces of any size; nothing is kept but the header.
#ifndef HTH_FORMATS_GGUF_WRITE_H
#define HTH_FORMATS_GGUF_WRITE_H

#include "formats/gguf.h"

typedef struct hth_gguf_writer hth_gguf_writer;

// Nothing touches the disk before hth_gguf_writer_begin. Returns owned.
HTH_NODISCARD hth_code hth_gguf_writer_new(const char *path, hth_gguf_writer **out, hth_err *err);
// Takes w (may be NULL) and removes what was written.
void hth_gguf_writer_abort(hth_gguf_writer *w);

// Metadata, in the order of the calls; setting a key that is there already gives it the new value in its
// old place.
HTH_NODISCARD hth_code hth_gguf_writer_set_u32(hth_gguf_writer *w, const char *key, uint32_t v, hth_err *err);
HTH_NODISCARD hth_code hth_gguf_writer_set_text(hth_gguf_writer *w, const char *key, const char *text, hth_err *err);
HTH_NODISCARD hth_code hth_gguf_writer_set_texts(hth_gguf_writer *w, const char *key, const char *const *texts,
                                                 size_t n, hth_err *err);
// A pair as it lies in another file, which stays open until hth_gguf_writer_begin. Its key must not be there yet.
HTH_NODISCARD hth_code hth_gguf_writer_copy(hth_gguf_writer *w, const hth_gguf_kv *kv, hth_err *err);

// Announces a tensor: dim [n_dim] outermost first, the last one a multiple of the type's block length.
HTH_NODISCARD hth_code hth_gguf_writer_tensor(hth_gguf_writer *w, const char *name, hth_type type, int n_dim,
                                              const int64_t *dim, hth_err *err);

// Opens the file and writes the header. general.alignment, where it was set, is the alignment of the data.
HTH_NODISCARD hth_code hth_gguf_writer_begin(hth_gguf_writer *w, hth_err *err);
// Bytes of all tensors one after the other; the writer pads between them.
HTH_NODISCARD hth_code hth_gguf_writer_data(hth_gguf_writer *w, const void *bytes, uint64_t n, hth_err *err);
// Takes w. Data that falls short of what was announced is HTH_ERR_INTERNAL.
HTH_NODISCARD hth_code hth_gguf_writer_commit(hth_gguf_writer *w, hth_err *err);

// Bytes of the whole file, known from hth_gguf_writer_begin on.
uint64_t hth_gguf_writer_bytes(const hth_gguf_writer *w);

#endif
