// epoll on Linux, kqueue elsewhere. Each socket is told of once: a closed end stays closed, and would be told
// again and again.
#include "os/watch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define MAX_EVENTS 64
#define WAKE_KEY UINT64_MAX

static hth_code refuse(hth_err *err, const char *what) {
    return hth_fail(err, HTH_ERR_IO, "%s: %s", what, strerror(errno));
}

#if defined(__linux__)
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct hth_watch {
    int queue, bell;
};

static hth_code open_queue(hth_watch *w, hth_err *err) {
    w->queue = epoll_create1(EPOLL_CLOEXEC);
    w->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->queue < 0 || w->bell < 0) return refuse(err, "epoll");
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = WAKE_KEY};
    return epoll_ctl(w->queue, EPOLL_CTL_ADD, w->bell, &e) == 0 ? HTH_OK : refuse(err, "epoll");
}

static void close_queue(hth_watch *w) {
    if (w->bell >= 0) close(w->bell);
}

hth_code hth_watch_add(hth_watch *w, int fd, uint64_t key, hth_err *err) {
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = key};
    return epoll_ctl(w->queue, EPOLL_CTL_ADD, fd, &e) == 0 ? HTH_OK : refuse(err, "epoll");
}

void hth_watch_remove(hth_watch *w, int fd) {
    epoll_ctl(w->queue, EPOLL_CTL_DEL, fd, NULL);
}

int hth_watch_wait(hth_watch *w, uint64_t *keys, int max, int timeout_ms) {
    struct epoll_event events[MAX_EVENTS];
    const int n = epoll_wait(w->queue, events, max < MAX_EVENTS ? max : MAX_EVENTS, timeout_ms);
    int n_key = 0;
    for (int i = 0; i < n; i++) {
        uint64_t rings;
        if (events[i].data.u64 != WAKE_KEY)
            keys[n_key++] = events[i].data.u64;
        else if (read(w->bell, &rings, sizeof rings) < 0)
            continue; // another ring is as good
    }
    return n_key;
}

void hth_watch_wake(hth_watch *w) {
    const uint64_t one = 1;
    if (write(w->bell, &one, sizeof one) < 0) return; // it rings already
}
#else
#include <sys/event.h>
#include <sys/time.h>

struct hth_watch {
    int queue;
};

static hth_code open_queue(hth_watch *w, hth_err *err) {
    w->queue = kqueue();
    if (w->queue < 0) return refuse(err, "kqueue");
    struct kevent e;
    EV_SET(&e, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, NULL);
    return kevent(w->queue, &e, 1, NULL, 0, NULL) == 0 ? HTH_OK : refuse(err, "kqueue");
}

static void close_queue(hth_watch *w) {
    (void)w;
}

// The low-water mark keeps bytes that arrive from being told: only the end is. The key fits a pointer on the
// 64-bit systems that Hearth knows.
hth_code hth_watch_add(hth_watch *w, int fd, uint64_t key, hth_err *err) {
    struct kevent e;
    EV_SET(&e, (uintptr_t)fd, EVFILT_READ, EV_ADD | EV_CLEAR, NOTE_LOWAT, INT32_MAX, (void *)(uintptr_t)key);
    return kevent(w->queue, &e, 1, NULL, 0, NULL) == 0 ? HTH_OK : refuse(err, "kqueue");
}

void hth_watch_remove(hth_watch *w, int fd) {
    struct kevent e;
    EV_SET(&e, (uintptr_t)fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
    (void)kevent(w->queue, &e, 1, NULL, 0, NULL);
}

int hth_watch_wait(hth_watch *w, uint64_t *keys, int max, int timeout_ms) {
    struct kevent events[MAX_EVENTS];
    const struct timespec t = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
    const int n =
        kevent(w->queue, NULL, 0, events, max < MAX_EVENTS ? max : MAX_EVENTS, timeout_ms < 0 ? NULL : &t);
    int n_key = 0;
    for (int i = 0; i < n; i++) {
        if (events[i].filter == EVFILT_READ && (events[i].flags & EV_EOF)) {
            keys[n_key++] = (uint64_t)(uintptr_t)events[i].udata;
        }
    }
    return n_key;
}

void hth_watch_wake(hth_watch *w) {
    struct kevent e;
    EV_SET(&e, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    (void)kevent(w->queue, &e, 1, NULL, 0, NULL);
}
#endif

hth_code hth_watch_new(hth_watch **out, hth_err *err) {
    hth_watch *w = hth_calloc(HTH_MEM_MISC, 1, sizeof *w);
    if (!w) return hth_fail_nomem(err, sizeof *w);
    const hth_code code = open_queue(w, err);
    if (code != HTH_OK)
        hth_watch_free(w);
    else
        *out = w;
    return code;
}

void hth_watch_free(hth_watch *w) {
    if (!w) return;
    close_queue(w);
    if (w->queue >= 0) close(w->queue);
    hth_free(w);
}
