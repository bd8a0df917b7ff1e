// What the readers of weight files share: names in messages, pointer files, and the check that no two
// tensors of a file share bytes.
#ifndef HTH_FORMATS_EXTENT_H
#define HTH_FORMATS_EXTENT_H

#include "formats/tensor.h"

// Room for the beginning of a name in a message.
typedef struct hth_shown {
    char text[100];
} hth_shown;

// A name from a file, cut to what fits in a message (whole characters, "..." when cut). The name is
// n bytes of valid UTF-8.
hth_shown hth_show_name(const char *name, size_t n);

// Refuses the small text file that a clone without git-lfs leaves in a weight file's place.
HTH_NODISCARD hth_code hth_refuse_pointer(const uint8_t *data, uint64_t n_bytes, hth_err *err);

// Checks that the n tensors of one file, whose `off` and `n_bytes` are already checked against the
// file, do not overlap. With `gapless` they must also fill [begin, end) without holes.
HTH_NODISCARD hth_code hth_extent_check(const hth_tensor *tensors, size_t n, bool gapless, uint64_t begin,
                                        uint64_t end, hth_err *err);

#endif
