// Per-thread clocks of operations.
#include "model/profile.h"

#include <stddef.h>

#include "model/cpu.h"
#include "os/clock.h"

const char *hth_op_name(hth_op op) {
    static const char *const names[HTH_OP_COUNT] = {
        [HTH_OP_QKV] = "qkv",       [HTH_OP_ATTN_OUT] = "attn_out",   [HTH_OP_GATE_UP] = "gate_up",
        [HTH_OP_DOWN] = "down",     [HTH_OP_OUTPUT] = "output",       [HTH_OP_LINEAR] = "other_linear",
        [HTH_OP_SMALL] = "small",   [HTH_OP_ATTENTION] = "attention", [HTH_OP_WAIT] = "wait",
        [HTH_OP_RECURRENT] = "recurrent", [HTH_OP_DISK] = "disk",
    };
    return names[op];
}

hth_code hth_profile_set(hth_executor *cpu, hth_profile *p, hth_err *err) {
    cpu_executor *ex = (cpu_executor *)cpu;
    const int n = hth_team_size(ex->team);
    if (p && n > HTH_PROFILE_THREADS)
        return hth_fail(err, HTH_ERR_LIMIT, "a profile holds %d threads, not %d", HTH_PROFILE_THREADS, n);
    ex->profile = p;
    return HTH_OK;
}

uint64_t hth_profile_ns(const hth_profile *p, hth_op op) {
    uint64_t sum = 0;
    for (int i = 0; i < HTH_PROFILE_THREADS; i++) sum += p->threads[i].ns[op];
    return sum;
}

hth_op hth_profile_enter(hth_profile_thread *p, hth_op op) {
    const uint64_t now = hth_clock_ns();
    const hth_op before = p->op;
    if (p->since) p->ns[before] += now - p->since;
    p->since = now;
    p->op = op;
    return before;
}

// By the weight's place in the layer's struct.
static hth_op op_of(const hth_model *m, const hth_weight *w) {
    if (w == &m->output || w == &m->token_embd) return HTH_OP_OUTPUT;
    const uintptr_t at = (uintptr_t)w, begin = (uintptr_t)m->layers;
    if (at < begin || at >= begin + (size_t)m->desc.n_layer * sizeof *m->layers) return HTH_OP_LINEAR;
    const hth_layer *l = &m->layers[(at - begin) / sizeof *m->layers];
    if (w == &l->q || w == &l->k || w == &l->v) return HTH_OP_QKV;
    if (w == &l->o) return HTH_OP_ATTN_OUT;
    if (w == &l->gate || w == &l->up) return HTH_OP_GATE_UP;
    if (w == &l->expert_gate || w == &l->expert_up) return HTH_OP_GATE_UP;
    return w == &l->down || w == &l->expert_down ? HTH_OP_DOWN : HTH_OP_LINEAR;
}

hth_op cpu_profile_linear(const cpu_thread *t, const hth_weight *w) {
    hth_profile *p = t->c->ex->profile;
    return HTH_LIKELY(!p) ? HTH_OP_SMALL : hth_profile_enter(&p->threads[t->i], op_of(t->c->model, w));
}

void cpu_profile_end(const cpu_thread *t) {
    hth_profile *p = t->c->ex->profile;
    if (HTH_LIKELY(!p)) return;
    (void)hth_profile_enter(&p->threads[t->i], HTH_OP_SMALL);
    p->threads[t->i].since = 0; // what passes until the next step is nobody's
}
