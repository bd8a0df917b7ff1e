// What of a model is in memory, and what stays on disk. A model that fits is mapped and left alone. Of one that does
// not, everything but the routed experts is read into memory of our own, and the experts go through a tier
// (model/tier.h): their weights' views then point into its cache. Where weights are to be spread over memory nodes
// (model/spread.h), one that fits is read into memory of our own too, because pages of a file's map cannot be placed; so
// it is where that is asked for, because memory of our own comes in large pages, which are read faster.
#ifndef HTH_MODEL_RESIDENCY_H
#define HTH_MODEL_RESIDENCY_H

#include "model/model.h"
#include "model/tier.h"

typedef struct hth_residency {
    bool is_streamed;
    bool is_read;         // all weights are read into memory of our own
    int n_node;           // and spread over so many; 1: they are not
    uint64_t limit_bytes; // that the model may take
    uint64_t dense_bytes; // of weights that every token meets, and what belongs to them
    uint64_t routed_bytes; // of experts
    uint64_t work_bytes;  // for keys and values and for computing, estimated
    uint64_t cache_bytes; // for experts
    uint64_t token_bytes; // of experts that one token meets
    int64_t n_expert, n_slot; // of all layers; of the cache
    bool is_past_cache;       // the file system reads past its cache
    double read_rate;         // measured, bytes per second; 0: not measured
    double tokens_per_second; // that the disk allows while all experts are used alike; 0: not known
} hth_residency;

// Decides. limit_bytes: for weights, K/V and scratch together; 0: what the machine can give, in which case nothing is
// refused. n_ctx and n_chunk: tokens of context and rows of a step to leave room for. HTH_ERR_LIMIT where a limit is too
// small for what must be resident, or where all is to be read and does not fit.
typedef struct hth_residency_wish {
    uint64_t limit_bytes;
    int64_t n_ctx;
    int32_t n_chunk;
    int n_node; // memory nodes that the weights are to be spread over; 0, 1: as they come
    bool no_map; // weights are to be read into memory of our own
} hth_residency_wish;
HTH_NODISCARD hth_code hth_residency_plan(const hth_model *m, const hth_residency_wish *wish, hth_residency *out, hth_err *err);

// Told while weights are read: `done` of `total` bytes. Returning false stops (HTH_ERR_CANCELLED).
typedef bool (*hth_residency_progress_fn)(void *user, int64_t done, int64_t total);

// Carries out a plan that streams or reads: reads the dense part, makes the cache, measures the disk for a moment and
// completes the plan. Before anybody else uses the model; on failure it can only be freed.
HTH_NODISCARD hth_code hth_residency_apply(hth_model *m, hth_residency *plan, hth_residency_progress_fn progress, void *user,
                                           hth_err *err);

// Of a streamed model.
typedef struct hth_stream {
    hth_tier *tier;
    int32_t *tables; // [n_layer] of the tier; -1: the layer has no routed experts
    hth_residency residency;
} hth_stream;
void hth_stream_free(hth_stream *s);

#endif
