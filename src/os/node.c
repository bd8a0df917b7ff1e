// Nodes as /sys/devices/system/node lists them. The policy of a range of memory is set by the mbind system call itself,
// so that no library is needed.
#include "os/node.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>

static struct {
    pthread_once_t once;
    bool is_pretended;
    int n;
    int ids[HTH_NODE_MAX]; // of the system
    cpu_set_t cpus[HTH_NODE_MAX], all;
} nodes = {.once = PTHREAD_ONCE_INIT};

// "0-3,8,10-11" and a line's end; the CPUs that are also in `among`.
static void read_cpus(FILE *f, const cpu_set_t *among, cpu_set_t *out) {
    CPU_ZERO(out);
    for (unsigned first, last; fscanf(f, "%u", &first) == 1;) {
        last = first;
        int c = fgetc(f);
        if (c == '-') {
            if (fscanf(f, "%u", &last) != 1) return;
            c = fgetc(f);
        }
        for (unsigned i = first; i <= last && i < CPU_SETSIZE; i++) {
            if (CPU_ISSET(i, among)) CPU_SET(i, out);
        }
        if (c != ',') return;
    }
}

static bool pretend(const char *text) {
    const long n = text ? strtol(text, NULL, 10) : 0;
    if (n < 1 || n > HTH_NODE_MAX) return false;
    nodes.n = (int)n;
    nodes.is_pretended = true;
    return true;
}

static void find_nodes(void) {
    if (pretend(getenv("HEARTH_NODES"))) return;
    const bool is_known = sched_getaffinity(0, sizeof nodes.all, &nodes.all) == 0;
    for (int id = 0; is_known && id < 8 * (int)sizeof(uint64_t) && nodes.n < HTH_NODE_MAX; id++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", id);
        FILE *f = fopen(path, "re");
        if (!f) continue;
        read_cpus(f, &nodes.all, &nodes.cpus[nodes.n]);
        fclose(f);
        if (CPU_COUNT(&nodes.cpus[nodes.n]) > 0) nodes.ids[nodes.n++] = id;
    }
    if (nodes.n > 0) return;
    nodes.n = 1; // not told: nothing is placed
    nodes.is_pretended = true;
}

int hth_node_count(void) {
    pthread_once(&nodes.once, find_nodes);
    return nodes.n;
}

bool hth_node_run_on(int node) {
    if (node >= hth_node_count() || node < HTH_NODE_ALL) return false;
    if (nodes.is_pretended) return true;
    return sched_setaffinity(0, sizeof nodes.all, node == HTH_NODE_ALL ? &nodes.all : &nodes.cpus[node]) == 0;
}

bool hth_node_place(void *p, size_t n_bytes, int node) {
    enum { PREFERRED = 1, INTERLEAVE = 3 }; // MPOL_ of linux/mempolicy.h
    if (node >= hth_node_count() || node < HTH_NODE_ALL) return false;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)p / page * page;
    const uintptr_t end = (uintptr_t)p + n_bytes;
    if (nodes.is_pretended || n_bytes == 0) return true;
    uint64_t mask = 0;
    for (int i = 0; i < nodes.n; i++) {
        if (node == HTH_NODE_ALL || node == i) mask |= (uint64_t)1 << nodes.ids[i];
    }
    const unsigned long n_bit = 8 * sizeof mask + 1; // the kernel counts one less
    return syscall(SYS_mbind, begin, end - begin, node == HTH_NODE_ALL ? INTERLEAVE : PREFERRED, &mask, n_bit, 0) == 0;
}

#else

int hth_node_count(void) {
    return 1;
}

bool hth_node_run_on(int node) {
    return node == 0 || node == HTH_NODE_ALL;
}

bool hth_node_place(void *p, size_t n_bytes, int node) {
    (void)p, (void)n_bytes;
    return node == 0 || node == HTH_NODE_ALL;
}

#endif
