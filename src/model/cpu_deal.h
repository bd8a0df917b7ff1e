// How the items of one operation are dealt to the threads. Each begins with a part of its own, piece by piece, and goes
// on with pieces that its neighbours have not begun, so that a thread on a slow or busy core does not keep the others
// waiting. Which thread computes an item must not matter to its bits.
#ifndef HTH_MODEL_CPU_DEAL_H
#define HTH_MODEL_CPU_DEAL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// What the threads know of one thread's part.
typedef struct cpu_lane {
    alignas(64) atomic_uint_least64_t taken; // operation << 24 | pieces taken of the part; an older operation's count is 0
    uint64_t op;                             // operations dealt so far; its own thread's alone
} cpu_lane;

typedef struct cpu_deal {
    cpu_lane *lanes; // [n_thread]
    int i, n;        // this thread, all threads
    int64_t n_item, unit, piece;
    int n_tried; // parts that are exhausted: the own one first
} cpu_deal;

// Every thread of the team deals the same operations in the same order, a barrier between any two. `lanes` [n_thread]
// are zeroed before the first one. Parts and pieces are multiples of `unit` (the last one except); `piece` is rounded up.
cpu_deal cpu_deal_begin(cpu_lane *lanes, int i_thread, int n_thread, int64_t n_item, int64_t unit, int64_t piece);
// The next items [first, last) for this thread; false when there are no more.
bool cpu_deal_next(cpu_deal *d, int64_t *first, int64_t *last);

#endif
