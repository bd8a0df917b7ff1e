// Sleeping until a 32-bit word changes, the primitive under the thread team. Private to os/.
#ifndef HTH_OS_WAIT_H
#define HTH_OS_WAIT_H

#include <stdatomic.h>
#include <stdint.h>

// Sleeps while *word == seen; may wake for no reason.
void hth_os_wait(_Atomic uint32_t *word, uint32_t seen);
// Wakes all sleepers on word.
void hth_os_wake(_Atomic uint32_t *word);
// A hint to the core that this is a spin loop.
void hth_os_relax(void);

#endif
