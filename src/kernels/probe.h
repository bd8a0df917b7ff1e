// The machine's limits, which speeds are measured against: how fast memory is read, and how many multiply-adds the
// vector and matrix units do.
#ifndef HTH_KERNELS_PROBE_H
#define HTH_KERNELS_PROBE_H

#include "base/err.h"
#include "os/thread.h"

// Bytes that hth_probe.read takes a multiple of.
#define HTH_PROBE_READ_BYTES 1024

// A loop that does nothing but one instruction on registers, with enough independent sums to hide its latency.
typedef struct hth_probe_loop {
    const char *name;       // of the instruction; NULL: the CPU has none for this
    void (*run)(int64_t n); // n rounds
    double n_op;            // operations of a round, two per multiply-add
} hth_probe_loop;

typedef struct hth_probe {
    // Loads all of [p, p + n_bytes), p aligned to 64. Four streams, as one does not keep memory busy everywhere.
    void (*read)(const void *p, int64_t n_bytes);
    hth_probe_loop f32;  // fused multiply-add
    hth_probe_loop bf16; // sums of products of pairs
    hth_probe_loop i8;   // sums of products of bytes in vectors
    hth_probe_loop tile; // the same in tiles
} hth_probe;

// The best loops among the features.
void hth_probe_fill(hth_probe *out, uint32_t cpu_features);

// What all threads of a team do together, per second; 0 where the CPU has no such instruction.
typedef struct hth_limits {
    int n_thread;
    int64_t walk_bytes;    // memory that was walked through
    double read, read_one; // bytes, all threads and one alone
    double f32, bf16;      // operations
    double i8, i8_vector;  // operations: the better of vectors and tiles, and vectors alone
    const char *f32_name, *bf16_name, *i8_name; // the instructions; NULL where there is none
} hth_limits;

// Measures for about `seconds` each; every figure is the best of several passes. Walks through 1 GiB, or through
// half of the available memory where that is less. Not while the team works.
HTH_NODISCARD hth_code hth_limits_measure(hth_team *team, double seconds, hth_limits *out, hth_err *err);

#endif
