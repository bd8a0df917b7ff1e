// Tells when the other end of a socket has left, while nobody reads from it.
#ifndef HTH_OS_WATCH_H
#define HTH_OS_WATCH_H

#include <stdint.h>

#include "base/err.h"

typedef struct hth_watch hth_watch;

HTH_NODISCARD hth_code hth_watch_new(hth_watch **out, hth_err *err);
void hth_watch_free(hth_watch *w); // nobody waits any more. NULL is valid
// Watches a connected socket; `key` is told once when the other end closed it, or closed its half of it. Any thread.
// A socket that is closed is forgotten by itself.
HTH_NODISCARD hth_code hth_watch_add(hth_watch *w, int fd, uint64_t key, hth_err *err);
void hth_watch_remove(hth_watch *w, int fd);
// One thread waits: for ends that left (their keys go to keys [max]), for hth_watch_wake, or for the time to pass.
// Returns the number of keys.
int hth_watch_wait(hth_watch *w, uint64_t *keys, int max, int timeout_ms);
void hth_watch_wake(hth_watch *w);

#endif
