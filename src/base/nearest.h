// The likeliest word for one that was mistyped.
#ifndef HTH_BASE_NEAREST_H
#define HTH_BASE_NEAREST_H

#include <stddef.h>

// The entry of names [n] closest to `word`, or NULL when none is near enough to suggest.
const char *hth_nearest(const char *word, const char *const *names, size_t n);

#endif
