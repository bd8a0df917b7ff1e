// Stop texts in a stream: what may still become one is held back, what cannot is let out. The result does not depend
// on how the text is cut into pieces.
#ifndef HTH_ENGINE_STOP_H
#define HTH_ENGINE_STOP_H

#include "base/err.h"
#include "base/str.h"
#include "hearth.h"

#define HTH_MAX_STOP 256
#define HTH_MAX_STOP_BYTES 4096

typedef struct hth_stop_filter {
    const hth_bytes *texts; // [n] borrowed
    size_t n;
    hth_str held; // the end of the text so far that may be the beginning of a stop text
} hth_stop_filter;

void hth_stop_filter_init(hth_stop_filter *f, const hth_bytes *texts, size_t n);
void hth_stop_filter_free(hth_stop_filter *f);
// Adds text and appends what is certain to *out. *which: the stop text that came (nothing after its beginning comes
// out any more), or -1. Of several the one that ends first counts, of those the one that begins first.
HTH_NODISCARD hth_code hth_stop_filter_push(hth_stop_filter *f, const char *text, size_t n, hth_str *out, int32_t *which,
                                            hth_err *err);
// The text has ended: what was held back comes out.
HTH_NODISCARD hth_code hth_stop_filter_end(hth_stop_filter *f, hth_str *out, hth_err *err);

#endif
