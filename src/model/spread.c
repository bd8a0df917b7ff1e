// Which node's memory holds which rows, and which threads.
#include "model/spread.h"

#include "os/node.h"

enum { ROW_UNIT = 16 }; // as products are dealt

typedef struct visit {
    uint64_t first, last; // wanted of the file
    hth_spread_fn fn;
    void *user;
} visit;

static void tell(const visit *v, uint64_t first, uint64_t last, int node) {
    if (first < v->first) first = v->first;
    if (last > v->last) last = v->last;
    if (first < last) v->fn(v->user, first, last, node);
}

static void spread_tensor(const visit *v, const hth_tensor *t, int n_node) {
    const int64_t n_row = t->n_dim > 0 ? t->dim[0] : 0;
    if (t->n_dim != 2 || n_row < n_node) {
        tell(v, t->off, t->off + t->n_bytes, HTH_NODE_ALL);
        return;
    }
    const uint64_t row_bytes = t->n_bytes / (uint64_t)n_row;
    for (int node = 0; node < n_node; node++) {
        int64_t a, b;
        hth_team_part(n_row, ROW_UNIT, node, n_node, &a, &b);
        tell(v, t->off + (uint64_t)a * row_bytes, t->off + (uint64_t)b * row_bytes, node);
    }
}

void hth_spread(const hth_model *m, int i_file, uint64_t first, uint64_t last, int n_node, hth_spread_fn fn, void *user) {
    const visit v = {first, last, fn, user};
    for (int64_t k = 0; k < hth_container_n_tensor(m->container); k++) {
        const hth_tensor *t = hth_container_tensor_at(m->container, k);
        if (t->i_file == i_file && t->off < last && t->off + t->n_bytes > first) spread_tensor(&v, t, n_node);
    }
}

static void tie(void *user, int i_thread, int n_thread) {
    const int n_node = *(const int *)user;
    (void)hth_node_run_on((int)((int64_t)i_thread * n_node / n_thread)); // a wish
}

void hth_spread_team(hth_team *team, int n_node) {
    if (n_node > 1) hth_team_run(team, tie, &n_node);
}
