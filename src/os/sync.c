// POSIX threads. Waiting until a moment goes by hth_clock_ns, which is the monotonic clock; macOS can only wait for
// a span of time.
#include "os/sync.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "os/clock.h"

#define STACK_BYTES ((size_t)2 << 20)

static hth_code refuse(hth_err *err, const char *what, int number) {
    return hth_fail(err, HTH_ERR_NOMEM, "the system gives no %s: %s", what, strerror(number));
}

hth_code hth_mutex_init(hth_mutex *m, hth_err *err) {
    int number = pthread_mutex_init(&m->m, NULL);
    return number == 0 ? HTH_OK : refuse(err, "mutex", number);
}

void hth_mutex_destroy(hth_mutex *m) {
    pthread_mutex_destroy(&m->m);
}

void hth_lock(hth_mutex *m) {
    pthread_mutex_lock(&m->m);
}

void hth_unlock(hth_mutex *m) {
    pthread_mutex_unlock(&m->m);
}

hth_code hth_cond_init(hth_cond *c, hth_err *err) {
    pthread_condattr_t attr;
    int number = pthread_condattr_init(&attr);
    if (number != 0) return refuse(err, "condition", number);
#if !defined(__APPLE__)
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    number = pthread_cond_init(&c->c, &attr);
    pthread_condattr_destroy(&attr);
    return number == 0 ? HTH_OK : refuse(err, "condition", number);
}

void hth_cond_destroy(hth_cond *c) {
    pthread_cond_destroy(&c->c);
}

void hth_cond_wait(hth_cond *c, hth_mutex *m) {
    pthread_cond_wait(&c->c, &m->m);
}

void hth_cond_wait_until(hth_cond *c, hth_mutex *m, uint64_t until_ns) {
    const uint64_t now = hth_clock_ns();
    if (until_ns <= now) return;
#if defined(__APPLE__)
    const uint64_t span = until_ns - now;
    const struct timespec t = {.tv_sec = (time_t)(span / 1000000000), .tv_nsec = (long)(span % 1000000000)};
    pthread_cond_timedwait_relative_np(&c->c, &m->m, &t);
#else
    const struct timespec t = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};
    pthread_cond_timedwait(&c->c, &m->m, &t);
#endif
}

void hth_cond_wake_all(hth_cond *c) {
    pthread_cond_broadcast(&c->c);
}

hth_code hth_thread_start(hth_thread *t, void *(*fn)(void *user), void *user, hth_err *err) {
    pthread_attr_t attr;
    sigset_t all, old;
    int number = pthread_attr_init(&attr);
    if (number != 0) return refuse(err, "thread", number);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all); // a thread inherits the mask: signals stay with the program's own threads
    sigdelset(&all, SIGBUS); // but for that of a map whose file was cut off (file_guard.c)
    pthread_sigmask(SIG_SETMASK, &all, &old);
    number = pthread_create(&t->t, &attr, fn, user);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return number == 0 ? HTH_OK : refuse(err, "thread", number);
}

void hth_thread_join(hth_thread *t) {
    pthread_join(t->t, NULL);
}
