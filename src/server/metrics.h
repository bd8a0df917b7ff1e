// Counters for Prometheus: llama-server's names, and ours beside them. Counting is one atomic addition, from any thread.
#ifndef HTH_SERVER_METRICS_H
#define HTH_SERVER_METRICS_H

#include "base/str.h"
#include "grammar/grammar.h"
#include "hearth.h"
#include "server/call.h"

typedef struct hth_metrics hth_metrics;

HTH_NODISCARD hth_metrics *hth_metrics_new(void); // NULL: no memory
void hth_metrics_free(hth_metrics *m);

// An HTTP exchange has ended. `dialect` is one of hth_dialect's names or NULL; status 0: the client left before it.
void hth_metrics_exchange(hth_metrics *m, const char *dialect, int status, uint64_t elapsed_ns);
// A call has ended. first_ns: until its first token, from the request on; 0: there was none.
void hth_metrics_call(hth_metrics *m, const hth_call_usage *usage, uint64_t first_ns);
// Time between two tokens of a choice.
void hth_metrics_gap(hth_metrics *m, uint64_t ns);

// What is looked up when somebody asks.
typedef struct hth_metrics_model {
    const char *name;
    hth_engine_stats stats;
} hth_metrics_model;

typedef struct hth_metrics_now {
    const hth_metrics_model *models; // [n_model] those that are loaded
    size_t n_model;
    hth_grammar_cache_stats grammars;
    uint64_t n_exchange;             // at work
    double uptime_s;
} hth_metrics_now;

// Appends everything in Prometheus's text format (version 0.0.4).
void hth_metrics_write(hth_metrics *m, const hth_metrics_now *now, hth_str *out);

#define HTH_METRICS_TYPE "text/plain; version=0.0.4"

#endif
