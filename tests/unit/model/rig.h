// A tiny model with a thread team and an executor, and the shortest way to run rows through it.
#ifndef HTH_TEST_RIG_H
#define HTH_TEST_RIG_H

#include "model/executor.h"
#include "tiny.h"

enum { RIG_KEEP = 64 }; // rows that recurrent layers can take back

typedef struct rig {
    hth_model *m;
    hth_team *team;
    hth_executor *ex;
} rig;

static inline rig rig_of(const tiny *t, int n_thread) {
    rig r;
    hth_err err = {0};
    if (tiny_open(t, &r.m, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_team_new(n_thread, &r.team, &err), HTH_OK);
    assert_int_equal(hth_executor_cpu_new(r.team, &r.ex, &err), HTH_OK);
    return r;
}

static inline rig rig_open(tiny_kind kind, int n_thread) {
    tiny *t = malloc(sizeof *t);
    tiny_make(kind, t);
    rig r = rig_of(t, n_thread);
    free(t);
    return r;
}

static inline void rig_close(rig *r) {
    hth_executor_free(r->ex);
    hth_team_free(r->team);
    hth_model_free(r->m);
}

static inline hth_state *rig_state_of(const rig *r, int64_t n_ctx, hth_kv_type type) {
    hth_state *s;
    hth_err err = {0};
    const hth_state_params params = {.n_ctx = n_ctx, .k_type = type, .v_type = type, .n_keep = RIG_KEEP};
    assert_int_equal(hth_state_new(r->ex, r->m, &params, &s, &err), HTH_OK);
    return s;
}

static inline hth_state *rig_state(const rig *r, int64_t n_ctx) {
    return rig_state_of(r, n_ctx, HTH_KV_F32);
}

static inline hth_row rig_row(int32_t token, int64_t pos) {
    return (hth_row){
        .token = token, .pos = {pos}, .parent = HTH_PARENT_PREVIOUS, .span = -1, .want = HTH_WANT_LOGITS};
}

// A step over all layers.
static inline hth_step rig_step(const rig *r, hth_state *const *states, int32_t n_seq, const hth_row *rows,
                                int32_t n_row, float *logits) {
    return (hth_step){.model = r->m,
                      .batch = {.rows = rows, .n_row = n_row, .states = states, .n_seq = n_seq},
                      .layer_last = r->m->desc.n_layer,
                      .logits = logits,
                      .hidden_layer = -1};
}

static inline hth_code rig_submit(const rig *r, const hth_step *step, hth_err *err) {
    hth_ticket ticket;
    hth_code code = hth_executor_submit(r->ex, step, &ticket, err);
    return code == HTH_OK ? hth_executor_wait(r->ex, ticket, err) : code;
}

static inline void rig_must(const rig *r, const hth_step *step) {
    hth_err err = {0};
    if (rig_submit(r, step, &err) != HTH_OK) fail_msg("%s", err.msg);
}

// Runs rows of one sequence.
static inline void rig_rows(const rig *r, hth_state *s, const hth_row *rows, int32_t n_row, float *logits) {
    hth_step step = rig_step(r, &s, 1, rows, n_row, logits);
    rig_must(r, &step);
}

// n random tokens as rows at positions from `first` on.
static inline hth_row *rig_tokens(int32_t n, int64_t first, uint64_t seed) {
    hth_row *rows = calloc((size_t)n, sizeof *rows);
    for (int32_t i = 0; i < n; i++) {
        rows[i] = rig_row((int32_t)((tiny_random(&seed) + 1) / 2 * TINY_VOCAB), first + i);
    }
    return rows;
}

static inline float *rig_floats(int64_t n) {
    float *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

// Logits [n_row, n_vocab] of rows through a fresh sequence in one go. Owned by the caller (free).
static inline float *rig_alone(const rig *r, const hth_row *rows, int32_t n_row) {
    float *logits = rig_floats((int64_t)n_row * TINY_VOCAB);
    hth_state *s = rig_state(r, 512);
    rig_rows(r, s, rows, n_row, logits);
    hth_state_free(s);
    return logits;
}

static inline bool rig_same(const float *a, const float *b, int64_t n) {
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static inline double rig_nmse(const float *got, const double *want, int64_t n) {
    double mean = 0, error = 0, size = 0;
    for (int64_t i = 0; i < n; i++) mean += want[i] / (double)n;
    for (int64_t i = 0; i < n; i++) {
        error += (got[i] - want[i]) * (got[i] - want[i]);
        size += (want[i] - mean) * (want[i] - mean);
    }
    return error / size;
}

#endif
