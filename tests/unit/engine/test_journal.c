// The log of a request's events: who is called for an event is called before anybody can read it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/journal.h"

typedef struct called {
    hth_replay *reader;
    int n;
    uint64_t number;
} called;

static void must_be_unread(void *user, const hth_event *event) {
    called *c = user;
    hth_event got;
    hth_err err;
    assert_int_equal(hth_replay_next(c->reader, 0, &got, &err), HTH_ERR_TIMEOUT);
    c->number = event->number;
    c->n++;
}

static void events_are_read_after_their_callback(void **state) {
    (void)state;
    hth_journal *j;
    hth_err err;
    hth_event event = {.kind = HTH_EVENT_QUEUED}, got;
    called c = {0};
    assert_int_equal(hth_journal_new(0, 2, &j, &err), HTH_OK);
    assert_int_equal(hth_journal_replay(j, 0, &c.reader, &err), HTH_OK);
    for (uint64_t i = 1; i <= 20; i++) { // the ring grows meanwhile
        if (i == 20) event.kind = HTH_EVENT_END;
        if (i == 20) hth_journal_add_last(j, &event, must_be_unread, &c);
        else assert_int_equal(hth_journal_add(j, &event, must_be_unread, &c, &err), HTH_OK);
        assert_int_equal(c.n, i);
        assert_int_equal(c.number, i);
        assert_int_equal(hth_replay_next(c.reader, 0, &got, &err), HTH_OK);
        assert_int_equal(got.number, i);
    }
    assert_int_equal(hth_replay_next(c.reader, 0, &got, &err), HTH_ERR_NOTFOUND);
    hth_replay_free(c.reader);
    hth_journal_drop(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_read_after_their_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
