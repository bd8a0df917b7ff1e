// Who is told that the other end of a socket has left.
#include "unit/cmocka_all.h"

#include <sys/socket.h>
#include <unistd.h>

#include "os/watch.h"

static hth_watch *open_watch(void) {
    hth_err err;
    hth_watch *w = NULL;
    assert_int_equal(hth_watch_new(&w, &err), HTH_OK);
    return w;
}

static void an_end_that_closes_is_told_once_by_its_key(void **state) {
    int pair[2];
    uint64_t keys[4];
    hth_err err;
    hth_watch *w = open_watch();
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(hth_watch_add(w, pair[0], 77, &err), HTH_OK);
    assert_int_equal(hth_watch_wait(w, keys, 4, 0), 0);
    assert_int_equal(write(pair[1], "x", 1), 1); // bytes are not an end
    assert_int_equal(hth_watch_wait(w, keys, 4, 0), 0);
    close(pair[1]);
    assert_int_equal(hth_watch_wait(w, keys, 4, 10000), 1);
    assert_int_equal(keys[0], 77);
    assert_int_equal(hth_watch_wait(w, keys, 4, 0), 0);
    close(pair[0]);
    hth_watch_free(w);
}

static void half_a_connection_that_closes_is_an_end_too(void **state) {
    int pair[2];
    uint64_t keys[4];
    hth_err err;
    hth_watch *w = open_watch();
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(hth_watch_add(w, pair[0], 5, &err), HTH_OK);
    shutdown(pair[1], SHUT_WR);
    assert_int_equal(hth_watch_wait(w, keys, 4, 10000), 1);
    assert_int_equal(keys[0], 5);
    close(pair[0]);
    close(pair[1]);
    hth_watch_free(w);
}

static void a_socket_that_is_no_longer_watched_is_silent(void **state) {
    int pair[2];
    uint64_t keys[4];
    hth_err err;
    hth_watch *w = open_watch();
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(hth_watch_add(w, pair[0], 5, &err), HTH_OK);
    hth_watch_remove(w, pair[0]);
    close(pair[1]);
    assert_int_equal(hth_watch_wait(w, keys, 4, 0), 0);
    close(pair[0]);
    hth_watch_free(w);
}

static void waking_ends_the_wait_without_a_key(void **state) {
    uint64_t keys[4];
    hth_watch *w = open_watch();
    (void)state;
    hth_watch_wake(w);
    assert_int_equal(hth_watch_wait(w, keys, 4, 10000), 0);
    hth_watch_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_closes_is_told_once_by_its_key),
        cmocka_unit_test(half_a_connection_that_closes_is_an_end_too),
        cmocka_unit_test(a_socket_that_is_no_longer_watched_is_silent),
        cmocka_unit_test(waking_ends_the_wait_without_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
