// Rows of a sequence with their tokens, as a file: of the cache's second tier, and those that users save.
#ifndef HTH_ENGINE_PREFIX_FILE_H
#define HTH_ENGINE_PREFIX_FILE_H

#include "engine/prefix_impl.h"
#include "os/file.h"

// What stands at its beginning.
typedef struct prefix_file {
    uint64_t id, parent_id, order; // 0 in a file that a user saved
    size_t first, end;     // tokens of its own rows
    size_t n_key, n_head;  // bytes of its own part of the key, and of the domain at the key's beginning
    uint64_t n_bytes;      // of the file
} prefix_file;

// What decides the numbers of a state: the weights' files by samples of their bytes, K/V types, the engine's own.
uint64_t prefix_file_model(const hth_prefix_params *p);

// Writes what stands before the rows: tokens [f->first, f->end) of a text with that key. Fills n_key and n_head.
void prefix_file_put_head(hth_str *s, uint64_t model, prefix_file *f, const prefix_key *k, const hth_token *tokens);
// Rows of s from `first` on behind such a head.
HTH_NODISCARD hth_code prefix_file_write(const char *path, const hth_str *head, const hth_state *s, int64_t first,
                                         hth_err *err);

// Opens a file and checks its head. *bytes: owned, all of the head.
HTH_NODISCARD hth_code prefix_file_open(const char *path, uint64_t model, uint64_t n_most, hth_file_in **f, uint8_t **bytes,
                                        prefix_file *out, hth_err *err);
// Key and tokens from the head; `before` (may be NULL) has those before p->first.
HTH_NODISCARD hth_code prefix_file_take_key(const prefix_file *p, const prefix_entry *before, const uint8_t *head,
                                            int32_t n_vocab, prefix_entry *e, hth_err *err);
// The rows, which go on from those of s.
HTH_NODISCARD hth_code prefix_file_read_rows(hth_file_in *f, hth_state *s, hth_err *err);

#endif
