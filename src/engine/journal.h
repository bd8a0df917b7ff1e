// The numbered events of one request: written by one thread at a time, read by any number of readers from any
// number on. Holds at most `n_keep` events; older ones are dropped, whether read or not, so that a slow reader
// neither stops the writer nor lets memory grow.
#ifndef HTH_ENGINE_JOURNAL_H
#define HTH_ENGINE_JOURNAL_H

#include "base/err.h"
#include "hearth.h"

typedef struct hth_journal hth_journal;

// Room for `n_last` events is kept from the start: hth_journal_add_last cannot fail so often.
// n_keep 0: all. Returns owned, held once.
HTH_NODISCARD hth_code hth_journal_new(size_t n_keep, size_t n_last, hth_journal **out, hth_err *err);
void hth_journal_hold(hth_journal *j);
void hth_journal_drop(hth_journal *j); // frees with the last hold; NULL is valid

// Adds a copy of *event and its payload; sets event->number. `fn`, where there is one, is called when there is room and
// before anybody can read the event: who has read the last one will not be called again.
HTH_NODISCARD hth_code hth_journal_add(hth_journal *j, hth_event *event, hth_event_fn fn, void *user, hth_err *err);
// An error or the end. Where memory is refused an error loses its words, not its place.
void hth_journal_add_last(hth_journal *j, hth_event *event, hth_event_fn fn, void *user);
// `fn(user, is_last)` is called after each event can be read; set before the first one.
void hth_journal_set_waker(hth_journal *j, void (*fn)(void *user, bool is_last), void *user);
// A reader whose first event is number after + 1; holds the journal.
HTH_NODISCARD hth_code hth_journal_replay(hth_journal *j, uint64_t after, hth_replay **out, hth_err *err);

#endif
