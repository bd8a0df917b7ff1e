// Measuring the limits with a team: all threads begin together, and a pass lasts until the last one is done.
#include "kernels/probe.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/levels.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/page.h"

enum { MIN_PASSES = 3 };
#define WALK_BYTES ((uint64_t)1 << 30)
#define MIN_WALK_BYTES ((uint64_t)16 << 20)
#define PASS_NS 2.5e7 // of a loop on registers

void hth_probe_fill(hth_probe *out, uint32_t cpu_features) {
    memset(out, 0, sizeof *out);
    hth_ref_probe(out);
    hth_level_probe_x86(out, cpu_features);
    hth_level_probe_arm(out, cpu_features);
}

// One pass of all threads, or of the first alone.
typedef struct pass {
    const hth_probe *probe;
    const hth_probe_loop *loop; // NULL: reading
    int64_t n_round;
    uint8_t *memory; // [n_byte]
    int64_t n_byte;
    bool is_single;
} pass;

static void run_pass(void *user, int i_thread, int n_thread) {
    const pass *p = user;
    if (p->is_single && i_thread != 0) return;
    if (p->loop) {
        p->loop->run(p->n_round);
        return;
    }
    int64_t first = 0, last = p->n_byte;
    if (!p->is_single) hth_team_part(p->n_byte, HTH_PROBE_READ_BYTES, i_thread, n_thread, &first, &last);
    p->probe->read(p->memory + first, last - first);
}

// Writes every page in the thread that will read it, for machines whose memory is nearer to some cores.
static void fill_memory(void *user, int i_thread, int n_thread) {
    const pass *p = user;
    int64_t first, last;
    hth_team_part(p->n_byte, HTH_PROBE_READ_BYTES, i_thread, n_thread, &first, &last);
    memset(p->memory + first, 1, (size_t)(last - first));
}

// Nanoseconds of the best pass within `seconds`, at least MIN_PASSES of them.
static double time_best(hth_team *team, pass *p, double seconds) {
    const uint64_t begin = hth_clock_ns();
    double best = 0;
    for (int i = 0; i < MIN_PASSES || (double)(hth_clock_ns() - begin) < seconds * 1e9; i++) {
        const uint64_t start = hth_clock_ns();
        hth_team_run(team, run_pass, p);
        const double ns = (double)(hth_clock_ns() - start) + 1;
        if (i == 0 || ns < best) best = ns;
    }
    return best;
}

// Operations per second of all threads; 0 for a loop that is not there.
static double measure_loop(hth_team *team, const hth_probe *probe, const hth_probe_loop *loop, double seconds) {
    if (!loop->name) return 0;
    pass p = {.probe = probe, .loop = loop, .n_round = 1000};
    for (;;) {
        const uint64_t start = hth_clock_ns();
        hth_team_run(team, run_pass, &p);
        if ((double)(hth_clock_ns() - start) >= PASS_NS) break;
        p.n_round *= 2;
    }
    return loop->n_op * (double)p.n_round * hth_team_size(team) / time_best(team, &p, seconds) * 1e9;
}

static hth_code measure_read(hth_team *team, const hth_probe *probe, double seconds, hth_limits *out, hth_err *err) {
    hth_machine machine;
    hth_machine_get(&machine);
    uint64_t n = WALK_BYTES;
    if (machine.available_bytes / 2 < n) n = machine.available_bytes / 2;
    if (n < MIN_WALK_BYTES) n = MIN_WALK_BYTES;
    n -= n % HTH_PROBE_READ_BYTES;
    pass p = {.probe = probe, .n_byte = (int64_t)n, .memory = hth_alloc_aligned(HTH_MEM_SCRATCH, (size_t)n)};
    if (!p.memory) return hth_fail_nomem(err, n);
    hth_page_want_large(p.memory, (size_t)n);
    hth_team_run(team, fill_memory, &p);
    out->walk_bytes = p.n_byte;
    out->read = (double)n / time_best(team, &p, seconds) * 1e9;
    p.is_single = true;
    out->read_one = (double)n / time_best(team, &p, seconds) * 1e9;
    hth_free(p.memory);
    return HTH_OK;
}

hth_code hth_limits_measure(hth_team *team, double seconds, hth_limits *out, hth_err *err) {
    hth_probe probe;
    hth_probe_fill(&probe, hth_cpu_features());
    *out = (hth_limits){.n_thread = hth_team_size(team), .f32_name = probe.f32.name, .bf16_name = probe.bf16.name,
                        .i8_name = probe.i8.name};
    HTH_TRY(measure_read(team, &probe, seconds, out, err));
    out->f32 = measure_loop(team, &probe, &probe.f32, seconds);
    out->bf16 = measure_loop(team, &probe, &probe.bf16, seconds);
    out->i8 = out->i8_vector = measure_loop(team, &probe, &probe.i8, seconds);
    const double tile = measure_loop(team, &probe, &probe.tile, seconds);
    if (tile > out->i8) {
        out->i8 = tile;
        out->i8_name = probe.tile.name;
    }
    return HTH_OK;
}
