// A sequence's state as a stream of bytes: to a file, to another machine.
//
// A record holds the rows [first, len) of a sequence: their positions, their pages, and what windows show at the end.
// Records of one sequence can be laid on each other: [0, 96), then [96, 210). A record says for which shapes of pages
// it was written, and ends with a checksum over all of it; what model and what text it belongs to is the caller's to know.
#ifndef HTH_MODEL_STATE_IO_H
#define HTH_MODEL_STATE_IO_H

#include "model/executor.h"

typedef struct hth_state_sink {
    hth_code (*write)(void *user, const void *bytes, size_t n, hth_err *err);
    void *user;
} hth_state_sink;

// Gives exactly n bytes or an error.
typedef struct hth_state_source {
    hth_code (*read)(void *user, void *bytes, size_t n, hth_err *err);
    void *user;
} hth_state_source;

#define HTH_STATE_RECORD_ROWS 32 // a record's first row is a multiple of this

// Writes the rows from `first` on. Only reads s, which may be used by others that do so. HTH_ERR_RANGE for a row that
// no record can begin with or a sequence in a draft tree, else what the sink returns.
HTH_NODISCARD hth_code hth_state_write(const hth_state *s, int64_t first, const hth_state_sink *to, hth_err *err);
// Replaces the rows of s from the record's first one on. HTH_ERR_FORMAT for bytes that are no whole record or do not
// continue s, HTH_ERR_UNSUPPORTED for another version or other shapes, HTH_ERR_LIMIT for more rows than its context.
// After an error s is empty.
HTH_NODISCARD hth_code hth_state_read(hth_state *s, const hth_state_source *from, hth_err *err);

#endif
