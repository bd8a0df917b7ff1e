// How the system keeps memory.
#ifndef HTH_OS_PAGE_H
#define HTH_OS_PAGE_H

#include <stddef.h>

// Asks for large pages where [p, p + n_bytes) holds whole ones; best before the first write, or before the first read of a
// mapped file. A wish: where the system has none, nothing happens.
void hth_page_want_large(void *p, size_t n_bytes);

#endif
