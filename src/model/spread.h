// Weights over memory nodes (os/node.h). The threads of a team are spread over the nodes in order, and of a matrix each
// node gets the rows that its threads begin with (cpu_deal.h), so that every byte is in memory once and is read from
// nearby. Stacked experts, of which a step wants a few, lie on all nodes in turns.
#ifndef HTH_MODEL_SPREAD_H
#define HTH_MODEL_SPREAD_H

#include "model/model.h"
#include "os/thread.h"

// Says which node the bytes [first, last) of a file should come from, HTH_NODE_ALL: from all in turns.
typedef void (*hth_spread_fn)(void *user, uint64_t first, uint64_t last, int node);

// Calls fn for what lies of tensors in [first, last) of a file of the model's.
void hth_spread(const hth_model *m, int i_file, uint64_t first, uint64_t last, int n_node, hth_spread_fn fn, void *user);

// Ties each thread of a team to its node; by the thread that will run the team from then on.
void hth_spread_team(hth_team *team, int n_node);

#endif
