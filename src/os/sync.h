// Threads of one's own, mutexes and conditions: what the scheduler and its callers meet with. (The thread team of
// os/thread.h is for computing.)
#ifndef HTH_OS_SYNC_H
#define HTH_OS_SYNC_H

#include <pthread.h>

#include "base/err.h"

typedef struct hth_mutex {
    pthread_mutex_t m;
} hth_mutex;

typedef struct hth_cond {
    pthread_cond_t c;
} hth_cond;

// HTH_ERR_NOMEM where the system has none left.
HTH_NODISCARD hth_code hth_mutex_init(hth_mutex *m, hth_err *err);
void hth_mutex_destroy(hth_mutex *m);
void hth_lock(hth_mutex *m);
void hth_unlock(hth_mutex *m);

HTH_NODISCARD hth_code hth_cond_init(hth_cond *c, hth_err *err);
void hth_cond_destroy(hth_cond *c);
// Waits for a signal with the mutex released meanwhile; may return for no reason.
void hth_cond_wait(hth_cond *c, hth_mutex *m);
// The same until hth_clock_ns() >= until_ns at the latest.
void hth_cond_wait_until(hth_cond *c, hth_mutex *m, uint64_t until_ns);
void hth_cond_wake_all(hth_cond *c);

typedef struct hth_thread {
    pthread_t t;
} hth_thread;

// Starts fn(user) on a thread of its own, which gets no signals.
HTH_NODISCARD hth_code hth_thread_start(hth_thread *t, void *(*fn)(void *user), void *user, hth_err *err);
void hth_thread_join(hth_thread *t);

#endif
