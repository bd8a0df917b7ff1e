// Memory nodes (NUMA): on a machine of several sockets each has memory of its own, and reaches that of the others more
// slowly. Linux; elsewhere there is one node.
#ifndef HTH_OS_NODE_H
#define HTH_OS_NODE_H

#include <stdbool.h>
#include <stddef.h>

#define HTH_NODE_MAX 64
#define HTH_NODE_ALL (-1)

// Nodes with CPUs that this process may run on, 1 ... HTH_NODE_MAX. Found once. HEARTH_NODES=N in the environment says
// that there are N: for tests on machines of one node, where placing and pinning then do nothing.
int hth_node_count(void);
// Lets the calling thread run on the CPUs of a node only; HTH_NODE_ALL: on those of all again. False where the system
// refuses.
bool hth_node_run_on(int node);
// Asks for the pages of [p, p + n_bytes) from a node's memory, those on the border with them; best before the first
// write. HTH_NODE_ALL: from all nodes in turns. False where the system refuses.
bool hth_node_place(void *p, size_t n_bytes, int node);

#endif
