// The guarded maps stand in a fixed table, since a signal handler can neither lock nor allocate. A page at a time is
// replaced: other parts of a map may be somebody's own memory by now (hth_file_map_own). mmap is a bare system call
// on the systems that we know, and safe in a handler.
#include "os/file_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/file.h"

#define MAX_MAPS 1024

typedef struct guard {
    atomic_uintptr_t begin, end; // end 0: free
    atomic_bool is_damaged;
} guard;

static guard guards[MAX_MAPS];
static atomic_int n_damaged; // of them: nobody has to look where it is 0
static struct sigaction before;
static uintptr_t page_bytes;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // of adding and removing

static guard *guard_of(uintptr_t at) {
    for (int i = 0; i < MAX_MAPS; i++) {
        guard *g = &guards[i];
        const uintptr_t end = atomic_load_explicit(&g->end, memory_order_acquire);
        if (end != 0 && at < end && at >= atomic_load_explicit(&g->begin, memory_order_relaxed)) return g;
    }
    return NULL;
}

static void pass_on(int number, siginfo_t *info, void *context) {
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        sigaction(number, &before, NULL); // the read is tried again and ends as it would have without us
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    const uintptr_t at = (uintptr_t)info->si_addr;
    guard *g = guard_of(at);
    void *page = (void *)(at & ~(page_bytes - 1));
    const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (!g || mmap(page, page_bytes, PROT_READ, how, -1, 0) == MAP_FAILED) {
        pass_on(number, info, context);
        return;
    }
    if (!atomic_exchange(&g->is_damaged, true)) atomic_fetch_add(&n_damaged, 1);
}

static void install(void) {
    struct sigaction mine = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK | SA_NODEFER};
    mine.sa_sigaction = on_bus_error;
    sigemptyset(&mine.sa_mask);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, &mine, &before);
}

void hth_file_guard_add(const uint8_t *data, uint64_t n_bytes) {
    pthread_once(&once, install);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_MAPS; i++) {
        guard *g = &guards[i];
        if (atomic_load(&g->end) != 0) continue;
        atomic_store(&g->is_damaged, false);
        atomic_store(&g->begin, (uintptr_t)data);
        atomic_store(&g->end, (uintptr_t)data + n_bytes);
        break;
    }
    pthread_mutex_unlock(&lock);
}

void hth_file_guard_remove(const uint8_t *data) {
    pthread_mutex_lock(&lock);
    guard *g = guard_of((uintptr_t)data);
    if (g) {
        atomic_store(&g->end, 0);
        if (atomic_exchange(&g->is_damaged, false)) atomic_fetch_sub(&n_damaged, 1);
    }
    pthread_mutex_unlock(&lock);
}

bool hth_file_map_is_damaged(const uint8_t *data) {
    if (atomic_load_explicit(&n_damaged, memory_order_acquire) == 0) return false;
    const guard *g = guard_of((uintptr_t)data);
    return g && atomic_load(&g->is_damaged);
}
