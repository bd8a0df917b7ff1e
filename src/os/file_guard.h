// What happens when a mapped file is cut off by somebody else: reading a page that is gone raises SIGBUS. The handler
// puts a page of zeros there and marks the map; who reads asks afterwards. Faults elsewhere go to the handler that was
// there before.
#ifndef HTH_OS_FILE_GUARD_H
#define HTH_OS_FILE_GUARD_H

#include <stddef.h>
#include <stdint.h>

// Guards a map of os/file.c. More maps than there is room for stay unguarded.
void hth_file_guard_add(const uint8_t *data, uint64_t n_bytes);
void hth_file_guard_remove(const uint8_t *data);

#endif
