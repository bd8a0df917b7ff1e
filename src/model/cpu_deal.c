// Dealing out the items of an operation. A part's counter carries the number of the operation that it counts for, so
// that nobody has to reset it.
#include "model/cpu_deal.h"

#include "os/thread.h"

#define COUNT_BITS 24
#define MAX_PIECES (((int64_t)1 << COUNT_BITS) - 1)
// Parts that a thread looks into, its own among them: with very many threads looking costs more than it finds.
#define MAX_TRIES 8

cpu_deal cpu_deal_begin(cpu_lane *lanes, int i_thread, int n_thread, int64_t n_item, int64_t unit, int64_t piece) {
    const int64_t least = n_item / MAX_PIECES + 1;
    if (piece < least) piece = least;
    lanes[i_thread].op++;
    return (cpu_deal){.lanes = lanes,
                      .i = i_thread,
                      .n = n_thread,
                      .n_item = n_item,
                      .unit = unit,
                      .piece = (piece + unit - 1) / unit * unit};
}

// Takes the next piece of a part of `n_piece`; returns its number, or -1 where all are taken.
static int64_t take(cpu_lane *lane, uint64_t op, int64_t n_piece) {
    uint64_t seen = atomic_load_explicit(&lane->taken, memory_order_relaxed), next;
    do {
        next = seen >> COUNT_BITS == op ? seen & (uint64_t)MAX_PIECES : 0;
        if ((int64_t)next >= n_piece) return -1;
    } while (!atomic_compare_exchange_weak_explicit(&lane->taken, &seen, op << COUNT_BITS | (next + 1), memory_order_relaxed,
                                                    memory_order_relaxed));
    return (int64_t)next;
}

bool cpu_deal_next(cpu_deal *d, int64_t *first, int64_t *last) {
    for (; d->n_tried < d->n && d->n_tried < MAX_TRIES; d->n_tried++) {
        const int owner = (d->i + d->n_tried) % d->n;
        int64_t begin, end;
        hth_team_part(d->n_item, d->unit, owner, d->n, &begin, &end);
        const int64_t k = take(&d->lanes[owner], d->lanes[d->i].op, (end - begin + d->piece - 1) / d->piece);
        if (k < 0) continue;
        *first = begin + k * d->piece;
        *last = end - *first > d->piece ? *first + d->piece : end;
        return true;
    }
    return false;
}
