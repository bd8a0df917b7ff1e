// The cache of a tier. Tables whose items need about the same room share a bank of slots; each bank chooses for itself
// what to give up. Everything but waiting happens between enter and leave, so that only the state of a read needs to
// be atomic, and that is the reader's.
#include "model/tier.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/page.h"

#define MAX_BANK 16
#define MAX_TABLE 4096
#define MAX_FOLLOWER (2 * HTH_TIER_PARTS)
// How far ahead of the last of the hot set an item must be to take its place, in steps: two items that every step
// uses must not drive each other out.
#define LEAD 1.5

typedef struct item {
    int32_t slot; // -1: not in memory
    uint32_t tick; // when `value` was right
    double value;  // steps that used it, decayed
} item;

typedef struct slot {
    int32_t table, item; // -1: free
    int32_t n_hold;
    bool is_hot;
    uint64_t last_use;
} slot;

typedef struct bank {
    uint64_t slot_bytes;
    int64_t n_item;
    int32_t n_together;
    int32_t n_slot, n_hot, max_hot, n_held;
    int32_t last_hot; // the slot of the hot set with the least value; -1: not known
    slot *slots;            // [n_slot] owned
    hth_direct_read *reads; // [n_slot, HTH_TIER_PARTS] owned
    uint8_t *memory;        // owned
    hth_buffer buffer;      // the slots, aligned
} bank;

typedef struct follower {
    int32_t part;
    uint64_t delta;
    hth_ref *refs; // borrowed
} follower;

typedef struct table {
    hth_tier_table d;
    uint64_t part_off[HTH_TIER_PARTS], slot_bytes; // of parts in a slot; of all
    int32_t bank;
    item *items; // [n_item] owned
    follower followers[MAX_FOLLOWER];
    int n_follower;
} table;

struct hth_tier {
    hth_direct **files; // [n_file] owned
    int n_file;
    hth_reader *reader; // owned
    table *tables;      // [n_table] owned
    size_t n_table, table_cap;
    bank banks[MAX_BANK];
    int n_bank;
    int32_t last_table; // of the latest use
    uint32_t tick;      // steps
    uint64_t n_use;     // orders uses
    uint64_t n_used, n_read;
};

// ---- making

hth_code hth_tier_new(const char *const *paths, int n_file, int n_thread, hth_tier **out, hth_err *err) {
    *out = NULL;
    hth_tier *t = hth_calloc(HTH_MEM_MODEL, 1, sizeof *t);
    if (!t) return hth_fail_nomem(err, sizeof *t);
    t->last_table = INT32_MAX;
    t->files = hth_calloc(HTH_MEM_MODEL, (size_t)n_file, sizeof *t->files);
    hth_code code = t->files ? HTH_OK : hth_fail_nomem(err, (uint64_t)n_file * sizeof *t->files);
    for (; code == HTH_OK && t->n_file < n_file; t->n_file += code == HTH_OK) {
        code = hth_direct_open(paths[t->n_file], &t->files[t->n_file], err);
    }
    if (code == HTH_OK) code = hth_reader_new(n_thread, &t->reader, err);
    if (code != HTH_OK) {
        hth_tier_free(t);
        return code;
    }
    *out = t;
    return HTH_OK;
}

void hth_tier_free(hth_tier *t) {
    if (!t) return;
    hth_reader_free(t->reader); // ends what is under way
    for (int i = 0; i < t->n_file; i++) hth_direct_close(t->files[i]);
    hth_free(t->files);
    for (size_t i = 0; i < t->n_table; i++) hth_free(t->tables[i].items);
    hth_free(t->tables);
    for (int i = 0; i < t->n_bank; i++) {
        hth_free(t->banks[i].slots);
        hth_free(t->banks[i].reads);
        hth_free(t->banks[i].memory);
    }
    hth_free(t);
}

hth_code hth_tier_add(hth_tier *t, const hth_tier_table *d, int32_t *out, hth_err *err) {
    if (d->n_item < 1 || d->n_part < 1 || d->n_part > HTH_TIER_PARTS) {
        return hth_fail(err, HTH_ERR_RANGE, "%s: %d items of %d parts", d->name, (int)d->n_item, (int)d->n_part);
    }
    if (!hth_grow(HTH_MEM_MODEL, (void **)&t->tables, &t->table_cap, t->n_table + 1, sizeof *t->tables, MAX_TABLE)) {
        return hth_fail_nomem(err, sizeof *t->tables);
    }
    table *b = &t->tables[t->n_table];
    *b = (table){.d = *d, .bank = -1, .items = hth_calloc(HTH_MEM_MODEL, (size_t)d->n_item, sizeof *b->items)};
    if (!b->items) return hth_fail_nomem(err, (uint64_t)d->n_item * sizeof *b->items);
    for (int32_t i = 0; i < d->n_item; i++) b->items[i].slot = -1;
    for (int32_t p = 0; p < d->n_part; p++) { // wherever a part begins in its block, it fits
        uint64_t lead;
        b->part_off[p] = b->slot_bytes;
        b->slot_bytes += hth_direct_cover(HTH_DIRECT_ALIGN - 1, d->part_bytes[p], &lead);
    }
    *out = (int32_t)t->n_table++;
    return HTH_OK;
}

// ---- room

// Puts tables into banks, the largest first. A table whose items leave less than an eighth of a slot unused shares it.
static void make_banks(hth_tier *t) {
    t->n_bank = 0;
    for (size_t i = 0; i < t->n_table; i++) t->tables[i].bank = -1;
    for (;;) {
        table *next = NULL;
        for (size_t i = 0; i < t->n_table; i++) {
            table *b = &t->tables[i];
            if (b->bank < 0 && (!next || b->slot_bytes > next->slot_bytes)) next = b;
        }
        if (!next) return;
        bank *last = t->n_bank > 0 ? &t->banks[t->n_bank - 1] : NULL;
        const bool fits = last && (next->slot_bytes >= last->slot_bytes / 8 * 7 || t->n_bank == MAX_BANK);
        if (!fits) {
            last = &t->banks[t->n_bank++];
            *last = (bank){.slot_bytes = next->slot_bytes, .last_hot = -1};
        }
        next->bank = t->n_bank - 1;
        last->n_item += next->d.n_item;
        if (next->d.n_together > last->n_together) last->n_together = next->d.n_together;
    }
}

static int64_t fewest_slots(const bank *b) {
    return b->n_together < b->n_item ? b->n_together : b->n_item;
}

uint64_t hth_tier_min_bytes(const hth_tier *t) {
    hth_tier probe = *t;
    uint64_t n = 0;
    make_banks(&probe);
    for (int i = 0; i < probe.n_bank; i++) n += (uint64_t)fewest_slots(&probe.banks[i]) * probe.banks[i].slot_bytes;
    return n;
}

uint64_t hth_tier_max_bytes(const hth_tier *t) {
    uint64_t n = 0;
    for (size_t i = 0; i < t->n_table; i++) n += (uint64_t)t->tables[i].d.n_item * t->tables[i].slot_bytes;
    return n;
}

static hth_code make_slots(bank *b, int64_t n_slot, hth_err *err) {
    b->n_slot = (int32_t)n_slot;
    int64_t n_cold = n_slot / 4 > 2 * b->n_together ? n_slot / 4 : 2 * b->n_together;
    if (n_slot == b->n_item) n_cold = 0;
    b->max_hot = n_cold < n_slot ? (int32_t)(n_slot - n_cold) : 0;
    const uint64_t n_bytes = (uint64_t)n_slot * b->slot_bytes;
    b->slots = hth_calloc(HTH_MEM_MODEL, (size_t)n_slot, sizeof *b->slots);
    b->reads = hth_calloc(HTH_MEM_MODEL, (size_t)n_slot * HTH_TIER_PARTS, sizeof *b->reads);
    b->memory = hth_alloc_aligned(HTH_MEM_MODEL, (size_t)(n_bytes + HTH_DIRECT_ALIGN));
    if (!b->slots || !b->reads || !b->memory) return hth_fail_nomem(err, n_bytes);
    for (int64_t i = 0; i < n_slot; i++) b->slots[i] = (slot){.table = -1, .item = -1};
    const uintptr_t at = ((uintptr_t)b->memory + HTH_DIRECT_ALIGN - 1) / HTH_DIRECT_ALIGN * HTH_DIRECT_ALIGN;
    b->buffer = (hth_buffer){.host = b->memory + (at - (uintptr_t)b->memory), .n_bytes = n_bytes};
    hth_page_want_large(b->memory, (size_t)n_bytes);
    return HTH_OK;
}

hth_code hth_tier_make_room(hth_tier *t, uint64_t n_bytes, hth_err *err) {
    const uint64_t least = hth_tier_min_bytes(t);
    if (n_bytes < least) {
        return hth_fail(err, HTH_ERR_LIMIT, "a cache of %llu bytes is too small: one row needs %llu at once",
                        (unsigned long long)n_bytes, (unsigned long long)least);
    }
    make_banks(t);
    double all = 0;
    for (int i = 0; i < t->n_bank; i++) all += (double)t->banks[i].n_item * (double)t->banks[i].slot_bytes;
    for (int i = 0; i < t->n_bank; i++) { // what is above the least goes to each bank in proportion to its items
        bank *b = &t->banks[i];
        const double share = (double)b->n_item * (double)b->slot_bytes / all;
        int64_t n = fewest_slots(b) + (int64_t)((double)(n_bytes - least) * share / (double)b->slot_bytes);
        HTH_TRY(make_slots(b, n < b->n_item ? n : b->n_item, err));
    }
    return HTH_OK;
}

hth_code hth_tier_follow(hth_tier *t, int32_t i, int32_t part, uint64_t delta, hth_ref *refs, hth_err *err) {
    table *b = &t->tables[i];
    if (part < 0 || part >= b->d.n_part || delta >= b->d.part_bytes[part] || b->n_follower == MAX_FOLLOWER) {
        return hth_fail(err, HTH_ERR_RANGE, "%s: nothing can follow part %d", b->d.name, (int)part);
    }
    b->followers[b->n_follower++] = (follower){part, delta, refs};
    return HTH_OK;
}

// ---- reads of a slot

static hth_direct_read *reads_of(const bank *b, int32_t s) {
    return b->reads + (size_t)s * HTH_TIER_PARTS;
}

// ASKED while any part is on its way, else FAILED or DONE.
static hth_direct_state state_of(const hth_tier *t, const bank *b, int32_t s) {
    const int32_t n_part = t->tables[b->slots[s].table].d.n_part;
    hth_direct_state worst = HTH_DIRECT_DONE;
    for (int32_t p = 0; p < n_part; p++) {
        const hth_direct_state one = hth_direct_state_of(&reads_of(b, s)[p]);
        if (one == HTH_DIRECT_ASKED) return one;
        if (one == HTH_DIRECT_FAILED) worst = one;
    }
    return worst;
}

static uint8_t *slot_memory(const bank *b, int32_t s) {
    return b->memory + (b->buffer.host - b->memory) + (uint64_t)s * b->slot_bytes;
}

// Asks for an item's parts and tells the followers where they will be.
static void ask(hth_tier *t, bank *b, int32_t s) {
    const slot *to = &b->slots[s];
    const table *from = &t->tables[to->table];
    const hth_tier_place *places = from->d.places + (size_t)to->item * (size_t)from->d.n_part;
    uint64_t lead[HTH_TIER_PARTS];
    t->n_read++;
    for (int32_t p = 0; p < from->d.n_part; p++) {
        hth_direct_read *r = &reads_of(b, s)[p];
        (void)hth_direct_cover(places[p].off, from->d.part_bytes[p], &lead[p]);
        r->file = t->files[places[p].i_file];
        r->off = places[p].off - lead[p];
        r->n_bytes = from->d.part_bytes[p] + lead[p];
        r->to = slot_memory(b, s) + from->part_off[p];
        hth_reader_ask(t->reader, r);
    }
    for (int i = 0; i < from->n_follower; i++) {
        const follower *f = &from->followers[i];
        const uint64_t at = (uint64_t)s * b->slot_bytes + from->part_off[f->part] + lead[f->part] + f->delta;
        f->refs[to->item] = (hth_ref){&b->buffer, at};
    }
}

// ---- policy

static double value_of(const hth_tier *t, const slot *s) {
    const item *i = &t->tables[s->table].items[s->item];
    return i->value * exp2(-(double)(t->tick - i->tick) / TIER_HALF_LIFE);
}

static void count_use(const hth_tier *t, item *i) {
    if (i->value > 0 && i->tick == t->tick) return; // once per step
    i->value = i->value * exp2(-(double)(t->tick - i->tick) / TIER_HALF_LIFE) + 1;
    i->tick = t->tick;
}

// The slot of the hot set with the least value. Others' values only grow, so it stays the one until it is used.
static int32_t last_hot(hth_tier *t, bank *b) {
    if (b->last_hot >= 0) return b->last_hot;
    double least = INFINITY;
    for (int32_t s = 0; s < b->n_slot; s++) {
        if (!b->slots[s].is_hot || value_of(t, &b->slots[s]) >= least) continue;
        least = value_of(t, &b->slots[s]);
        b->last_hot = s;
    }
    return b->last_hot;
}

// A slot that was just used or filled may enter the hot set.
static void promote(hth_tier *t, bank *b, int32_t s) {
    if (b->last_hot == s) b->last_hot = -1;
    if (b->slots[s].is_hot || b->max_hot == 0) return;
    if (b->n_hot < b->max_hot) {
        b->n_hot++;
        b->slots[s].is_hot = true;
        b->last_hot = -1;
        return;
    }
    const int32_t last = last_hot(t, b);
    if (value_of(t, &b->slots[s]) < value_of(t, &b->slots[last]) + LEAD) return;
    b->slots[last].is_hot = false;
    b->slots[s].is_hot = true;
    b->last_hot = -1;
}

// Whether a slot's item may be given up: nobody holds it and nothing is being written into it.
static bool is_idle(const hth_tier *t, const bank *b, int32_t s) {
    return b->slots[s].n_hold == 0 && state_of(t, b, s) != HTH_DIRECT_ASKED;
}

// A slot for a new item, or -1: a free one, else the one of the cold slots that was used longest ago. The hot set is
// touched only where nothing else would ever come free.
static int32_t find_slot(hth_tier *t, bank *b) {
    int32_t oldest = -1, coldest = -1;
    for (int32_t s = 0; s < b->n_slot; s++) {
        const slot *o = &b->slots[s];
        if (o->table < 0) return s;
        if (o->is_hot || (oldest >= 0 && o->last_use >= b->slots[oldest].last_use)) continue;
        if (is_idle(t, b, s)) oldest = s;
    }
    if (oldest >= 0 || b->n_held > 0) return oldest;
    for (int32_t s = 0; s < b->n_slot; s++) {
        const slot *o = &b->slots[s];
        if (!is_idle(t, b, s) || (coldest >= 0 && value_of(t, o) >= value_of(t, &b->slots[coldest]))) continue;
        coldest = s;
    }
    return coldest;
}

static void empty_slot(hth_tier *t, bank *b, int32_t s) {
    slot *o = &b->slots[s];
    if (o->table < 0) return;
    t->tables[o->table].items[o->item].slot = -1;
    b->n_hot -= o->is_hot;
    if (b->last_hot == s) b->last_hot = -1;
    *o = (slot){.table = -1, .item = -1};
}

// Where a cancelled step has left all slots to be filled, one of them is waited for.
static void wait_for_any(hth_tier *t, bank *b) {
    hth_err ignored;
    for (int32_t s = 0; s < b->n_slot; s++) {
        if (b->slots[s].n_hold > 0) continue;
        for (int32_t p = 0; p < t->tables[b->slots[s].table].d.n_part; p++) {
            const hth_code unused = hth_reader_wait(t->reader, &reads_of(b, s)[p], &ignored);
            (void)unused;
        }
        return;
    }
}

// ---- use

void hth_tier_enter(hth_tier *t, int32_t i) {
    hth_reader_lock(t->reader);
    if (i <= t->last_table) t->tick++; // the tables of a step come in order
    t->last_table = i;
}

void hth_tier_leave(hth_tier *t) {
    hth_reader_unlock(t->reader);
}

bool hth_tier_has(const hth_tier *t, int32_t i, int32_t which) {
    return t->tables[i].items[which].slot >= 0;
}

bool hth_tier_begin(hth_tier *t, int32_t i, int32_t which) {
    table *from = &t->tables[i];
    bank *b = &t->banks[from->bank];
    item *it = &from->items[which];
    int32_t s = it->slot;
    if (s < 0) {
        s = find_slot(t, b);
        if (s < 0 && b->n_held > 0) return false;
        if (s < 0) {
            wait_for_any(t, b);
            s = find_slot(t, b);
        }
        empty_slot(t, b, s);
        b->slots[s] = (slot){.table = i, .item = which};
        it->slot = s;
        ask(t, b, s);
    } else if (state_of(t, b, s) == HTH_DIRECT_FAILED) {
        ask(t, b, s);
    }
    t->n_used++;
    b->n_held += b->slots[s].n_hold++ == 0;
    b->slots[s].last_use = ++t->n_use;
    count_use(t, it);
    promote(t, b, s);
    return true;
}

void hth_tier_end(hth_tier *t, int32_t i, int32_t which) {
    bank *b = &t->banks[t->tables[i].bank];
    b->n_held -= --b->slots[t->tables[i].items[which].slot].n_hold == 0;
}

hth_code hth_tier_wait(hth_tier *t, int32_t i, int32_t which, hth_err *err) {
    const table *from = &t->tables[i];
    const bank *b = &t->banks[from->bank];
    for (int32_t p = 0; p < from->d.n_part; p++) {
        const hth_code code = hth_reader_wait(t->reader, &reads_of(b, from->items[which].slot)[p], err);
        if (code == HTH_OK) continue;
        char where[96];
        snprintf(where, sizeof where, "%s, %s %d", from->d.name, from->d.item, (int)which);
        return hth_fail_in(err, code, where);
    }
    return HTH_OK;
}

// ---- measuring

#define N_PROBE 24                     // reads at a time: three parts of eight experts
#define PROBE_READ ((uint64_t)4 << 20) // longest
#define N_WINDOW 4

typedef struct probe {
    hth_tier *t;
    uint8_t *memory; // [N_PROBE, room] aligned
    uint64_t room;
    hth_direct_read reads[N_PROBE];
    uint64_t n_asked, n_waited; // reads
    uint64_t seed;              // elsewhere in each run: somebody below us may remember what was read last time
} probe;

// Another table, item and part each time.
static void ask_probe(probe *p) {
    const uint64_t n = p->n_asked++;
    const hth_tier_table *d = &p->t->tables[n % p->t->n_table].d;
    const size_t at = (size_t)((p->seed + n * 7919) % ((uint64_t)d->n_item * (uint64_t)d->n_part));
    const uint64_t want = d->part_bytes[at % (size_t)d->n_part];
    uint64_t lead;
    (void)hth_direct_cover(d->places[at].off, want, &lead);
    hth_direct_read *r = &p->reads[n % N_PROBE];
    *r = (hth_direct_read){.file = p->t->files[d->places[at].i_file], .off = d->places[at].off - lead,
                           .n_bytes = lead + (want < PROBE_READ ? want : PROBE_READ), .to = p->memory + n % N_PROBE * p->room};
    hth_reader_ask(p->t->reader, r);
}

static hth_code wait_probe(probe *p, hth_err *err) {
    return hth_reader_wait(p->t->reader, &p->reads[p->n_waited++ % N_PROBE], err);
}

static hth_code run_probe(probe *p, uint64_t ns, double *best, hth_err *err) {
    const uint64_t begin = hth_clock_ns();
    uint64_t since = begin, before = hth_reader_get_stats(p->t->reader).n_bytes;
    for (uint64_t now = begin; now - begin < ns; now = hth_clock_ns()) {
        if (p->n_asked - p->n_waited == N_PROBE) HTH_TRY(wait_probe(p, err));
        ask_probe(p);
        if (now - since < ns / N_WINDOW) continue;
        const uint64_t n_bytes = hth_reader_get_stats(p->t->reader).n_bytes;
        const double rate = (double)(n_bytes - before) * 1e9 / (double)(now - since);
        if (rate > *best) *best = rate;
        before = n_bytes;
        since = now;
    }
    return HTH_OK;
}

hth_code hth_tier_probe(hth_tier *t, uint64_t ns, double *bytes_per_second, hth_err *err) {
    probe p = {.t = t, .seed = hth_clock_ns() >> 10};
    *bytes_per_second = 0;
    for (size_t i = 0; i < t->n_table; i++) {
        for (int32_t k = 0; k < t->tables[i].d.n_part; k++) {
            const uint64_t n = t->tables[i].d.part_bytes[k];
            const uint64_t room = (n < PROBE_READ ? n : PROBE_READ) + 2 * HTH_DIRECT_ALIGN;
            if (room > p.room) p.room = room / HTH_DIRECT_ALIGN * HTH_DIRECT_ALIGN;
        }
    }
    const size_t n_bytes = (size_t)(p.room * N_PROBE + HTH_DIRECT_ALIGN);
    uint8_t *memory = hth_alloc_aligned(HTH_MEM_SCRATCH, n_bytes);
    if (!memory) return hth_fail_nomem(err, n_bytes);
    memset(memory, 0, n_bytes); // what was never touched is slow to write to
    p.memory = memory + (HTH_DIRECT_ALIGN - (uintptr_t)memory % HTH_DIRECT_ALIGN) % HTH_DIRECT_ALIGN;
    hth_code code = run_probe(&p, ns, bytes_per_second, err);
    while (p.n_waited < p.n_asked) { // nobody may write into freed memory
        hth_err later;
        const hth_code one = wait_probe(&p, &later);
        if (code != HTH_OK || one == HTH_OK) continue;
        code = one;
        if (err) *err = later;
    }
    hth_free(memory);
    return code;
}

hth_tier_stats hth_tier_get_stats(hth_tier *t) {
    const hth_reader_stats r = hth_reader_get_stats(t->reader);
    hth_tier_stats s = {.n_used = t->n_used, .n_read = t->n_read, .read_bytes = r.n_bytes, .busy_ns = r.busy_ns,
                        .is_past_cache = true};
    for (int i = 0; i < t->n_bank; i++) {
        s.n_item += t->banks[i].n_item;
        s.n_slot += t->banks[i].n_slot;
        s.slot_bytes += t->banks[i].buffer.n_bytes;
    }
    for (int i = 0; i < t->n_file; i++) s.is_past_cache &= hth_direct_is_past_cache(t->files[i]);
    return s;
}

hth_reader *hth_tier_reader(hth_tier *t) {
    return t->reader;
}

const hth_direct *hth_tier_file(hth_tier *t, int i) {
    return t->files[i];
}
