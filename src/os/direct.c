// Threads that take pieces from the head of a queue, so that a large read occupies several of them and the disk
// always has as many requests as there are threads. Linux: O_DIRECT, which wants places that are multiples of the
// disk's blocks; macOS: F_NOCACHE. A file system that knows neither is read through its cache.
#include "os/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/clock.h"

// One request to the system: large enough for a disk's full speed, small enough to spread over the threads.
#define PIECE_BYTES ((uint64_t)1 << 20)
#define MAX_THREAD 256
#define STACK_BYTES ((size_t)256 << 10)

struct hth_direct {
    int fd, cached_fd; // cached_fd: the same file through the cache, for what direct reads refuse; or -1
    char path[];
};

struct hth_reader {
    pthread_mutex_t mutex, users;
    pthread_cond_t work, done;
    hth_direct_read *head, *tail; // reads with pieces that nobody has taken
    bool is_stopping;
    int n_thread, n_reading; // threads; those that read now
    uint64_t busy_since;
    hth_reader_stats stats;
    pthread_t threads[];
};

static _Atomic uint64_t fail_at; // pieces until one fails; 0: none does

void hth_direct_fail_at(uint64_t n) {
    atomic_store(&fail_at, n);
}

static bool must_fail(void) {
    uint64_t n = atomic_load_explicit(&fail_at, memory_order_relaxed);
    while (n > 0 && !atomic_compare_exchange_weak(&fail_at, &n, n - 1)) continue;
    return n == 1;
}

// ---- files

uint64_t hth_direct_cover(uint64_t off, uint64_t n_bytes, uint64_t *lead) {
    *lead = off % HTH_DIRECT_ALIGN;
    return (*lead + n_bytes + HTH_DIRECT_ALIGN - 1) / HTH_DIRECT_ALIGN * HTH_DIRECT_ALIGN;
}

static int open_past_cache(const char *path) {
#if defined(O_DIRECT)
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT);
#elif defined(F_NOCACHE)
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) (void)fcntl(fd, F_NOCACHE, 1);
    return fd;
#else
    (void)path;
    return -1;
#endif
}

hth_code hth_direct_open(const char *path, hth_direct **out, hth_err *err) {
    *out = NULL;
    const size_t n = strlen(path) + 1;
    hth_direct *f = hth_alloc(HTH_MEM_MODEL, sizeof *f + n);
    if (!f) return hth_fail_nomem(err, sizeof *f + n);
    memcpy(f->path, path, n);
    f->cached_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (f->cached_fd < 0 || fstat(f->cached_fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (f->cached_fd >= 0) close(f->cached_fd);
        hth_free(f);
        return hth_fail(err, HTH_ERR_IO, "%s: cannot open for reading past the cache", path);
    }
    f->fd = open_past_cache(path);
    *out = f;
    return HTH_OK;
}

void hth_direct_close(hth_direct *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    close(f->cached_fd);
    hth_free(f);
}

bool hth_direct_is_past_cache(const hth_direct *f) {
    return f->fd >= 0;
}

const char *hth_direct_path(const hth_direct *f) {
    return f->path;
}

// Reads n bytes, of which the last block may lie behind the file's end. Returns 0, an errno, or -1 for a file
// that ends too early.
static int read_piece(const hth_direct *f, uint64_t off, uint64_t n, uint8_t *to) {
    if (must_fail()) return EIO;
    const uint64_t whole = (n + HTH_DIRECT_ALIGN - 1) / HTH_DIRECT_ALIGN * HTH_DIRECT_ALIGN;
    int fd = f->fd >= 0 ? f->fd : f->cached_fd;
    for (uint64_t at = 0; at < n;) {
        const ssize_t got = pread(fd, to + at, (size_t)(whole - at), (off_t)(off + at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EINVAL && fd != f->cached_fd) { // a file system that opens so, but does not read so
            fd = f->cached_fd;
            continue;
        }
        if (got < 0) return errno;
        if (got == 0) return -1;
        at += (uint64_t)got;
        if (at % HTH_DIRECT_ALIGN != 0) fd = f->cached_fd; // the rest, if any, begins inside a block
    }
    return 0;
}

// ---- threads

// With the mutex held: a piece of the read at the head.
static hth_direct_read *take_piece(hth_reader *r, uint64_t *at, uint64_t *n) {
    hth_direct_read *read = r->head;
    *at = read->n_taken;
    *n = read->n_bytes - *at < PIECE_BYTES ? read->n_bytes - *at : PIECE_BYTES;
    read->n_taken += *n;
    read->n_piece++;
    if (read->n_taken == read->n_bytes) {
        r->head = read->next;
        if (!r->head) r->tail = NULL;
    }
    if (r->n_reading++ == 0) r->busy_since = hth_clock_ns();
    return read;
}

static void finish_piece(hth_reader *r, hth_direct_read *read, uint64_t n, int error) {
    if (--r->n_reading == 0) r->stats.busy_ns += hth_clock_ns() - r->busy_since;
    if (error == 0) r->stats.n_bytes += n;
    else if (read->error == 0) read->error = error;
    if (--read->n_piece > 0 || read->n_taken < read->n_bytes) return;
    // From here on the read is its owner's again.
    atomic_store_explicit(&read->state, read->error ? HTH_DIRECT_FAILED : HTH_DIRECT_DONE, memory_order_release);
    pthread_cond_broadcast(&r->done);
}

static void *work(void *user) {
    hth_reader *r = user;
    pthread_mutex_lock(&r->mutex);
    for (;;) {
        while (!r->head && !r->is_stopping) pthread_cond_wait(&r->work, &r->mutex);
        if (!r->head) break;
        uint64_t at, n;
        hth_direct_read *read = take_piece(r, &at, &n);
        pthread_mutex_unlock(&r->mutex);
        const int error = read_piece(read->file, read->off + at, n, read->to + at);
        pthread_mutex_lock(&r->mutex);
        finish_piece(r, read, n, error);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

static void stop(hth_reader *r) {
    pthread_mutex_lock(&r->mutex);
    r->is_stopping = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->mutex);
    for (int i = 0; i < r->n_thread; i++) pthread_join(r->threads[i], NULL);
    pthread_mutex_destroy(&r->mutex);
    pthread_mutex_destroy(&r->users);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->done);
    hth_free(r);
}

// All signals blocked: Ctrl-C belongs to the program's own threads.
static bool start(hth_reader *r) {
    sigset_t all, before;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) return false;
    bool ok = pthread_attr_setstacksize(&attr, STACK_BYTES) == 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ok = ok && pthread_create(&r->threads[r->n_thread], &attr, work, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    r->n_thread += ok;
    return ok;
}

hth_code hth_reader_new(int n_thread, hth_reader **out, hth_err *err) {
    *out = NULL;
    if (n_thread < 1 || n_thread > MAX_THREAD) {
        return hth_fail(err, HTH_ERR_RANGE, "%d threads that read are not possible: 1 to %d are", n_thread, MAX_THREAD);
    }
    hth_reader *r = hth_calloc(HTH_MEM_MISC, 1, sizeof *r + (size_t)n_thread * sizeof r->threads[0]);
    if (!r) return hth_fail_nomem(err, sizeof *r);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_mutex_init(&r->users, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->done, NULL);
    while (r->n_thread < n_thread) {
        if (start(r)) continue;
        const int failed = r->n_thread + 1;
        stop(r);
        return hth_fail(err, HTH_ERR_LIMIT, "the system refused to start thread %d of %d that read", failed, n_thread);
    }
    *out = r;
    return HTH_OK;
}

void hth_reader_free(hth_reader *r) {
    if (r) stop(r);
}

void hth_reader_ask(hth_reader *r, hth_direct_read *read) {
    read->next = NULL;
    read->n_taken = 0;
    read->n_piece = 0;
    read->error = 0;
    atomic_store_explicit(&read->state, HTH_DIRECT_ASKED, memory_order_relaxed);
    pthread_mutex_lock(&r->mutex);
    if (r->tail) r->tail->next = read;
    else r->head = read;
    r->tail = read;
    if (read->n_bytes > PIECE_BYTES) pthread_cond_broadcast(&r->work);
    else pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->mutex);
}

static HTH_NOINLINE hth_code fail_read(const hth_direct_read *read, hth_err *err) {
    const char *path = hth_direct_path(read->file);
    if (read->error < 0) {
        return hth_fail(err, HTH_ERR_IO, "%s: became shorter: %llu bytes from byte %llu on are not there", path,
                        (unsigned long long)read->n_bytes, (unsigned long long)read->off);
    }
    return hth_fail(err, HTH_ERR_IO, "%s: cannot read %llu bytes from byte %llu on: %s (system error %d)", path,
                    (unsigned long long)read->n_bytes, (unsigned long long)read->off,
                    read->error == EIO ? "the disk failed" : "refused", read->error);
}

hth_code hth_reader_wait(hth_reader *r, const hth_direct_read *read, hth_err *err) {
    if (hth_direct_state_of(read) == HTH_DIRECT_ASKED) {
        pthread_mutex_lock(&r->mutex);
        while (hth_direct_state_of(read) == HTH_DIRECT_ASKED) pthread_cond_wait(&r->done, &r->mutex);
        pthread_mutex_unlock(&r->mutex);
    }
    return hth_direct_state_of(read) == HTH_DIRECT_FAILED ? fail_read(read, err) : HTH_OK;
}

hth_reader_stats hth_reader_get_stats(hth_reader *r) {
    pthread_mutex_lock(&r->mutex);
    hth_reader_stats s = r->stats;
    if (r->n_reading > 0) s.busy_ns += hth_clock_ns() - r->busy_since;
    pthread_mutex_unlock(&r->mutex);
    return s;
}

void hth_reader_lock(hth_reader *r) {
    pthread_mutex_lock(&r->users);
}

void hth_reader_unlock(hth_reader *r) {
    pthread_mutex_unlock(&r->users);
}
