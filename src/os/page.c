// Large pages: fewer misses of address translation where much memory is walked through. Linux only.
#include "os/page.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void hth_page_want_large(void *p, size_t n_bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)p + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)p + n_bytes) / page * page;
    if (end > begin) (void)madvise((char *)p + (begin - (uintptr_t)p), end - begin, MADV_HUGEPAGE);
#else
    (void)p;
    (void)n_bytes;
#endif
}
