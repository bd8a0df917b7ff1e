// The parts of `hearth bench`: what a model costs, running a test, printing results.
#ifndef HTH_CLI_BENCH_H
#define HTH_CLI_BENCH_H

#include "base/json_out.h"
#include "engine/engine.h"
#include "kernels/probe.h"
#include "model/profile.h"
#include "os/cpu.h"

#define BENCH_MAX_REPEAT 100

typedef enum bench_format { BENCH_TABLE, BENCH_CSV, BENCH_JSON, BENCH_MD } bench_format;
typedef enum bench_peak { BENCH_F32, BENCH_BF16, BENCH_I8 } bench_peak;

// What does not change from test to test.
typedef struct bench_model {
    const char *path, *cpu;
    char type[64]; // "llama 134.5 M q4_1"
    uint64_t n_bytes, n_param;
    uint64_t step_bytes;     // of weights that a step for one token reads; all routed experts among them
    uint64_t expert_bytes;   // of all routed experts
    double expert_share;     // of these one token uses
    uint64_t n_prompt_param; // weights that a prompt token is multiplied with; the last one's output apart
    uint64_t n_output_param; // weights that make logits
    bench_peak peak;         // the unit that multiplies them
    int n_thread;
    hth_kv_type k_type, v_type;
    hth_activations activations; // never AUTO
    bool is_profiled;
    const hth_limits *limits; // NULL: not measured
} bench_model;

void bench_describe(const hth_engine *e, hth_activations wish, bench_model *out);

// Either prompt tokens or generated ones, behind n_depth others. n_user sequences generate together.
typedef struct bench_test {
    int64_t n_prompt, n_gen, n_depth, n_user;
} bench_test;

typedef struct bench_result {
    bench_test test;
    int n;
    double ns[BENCH_MAX_REPEAT], ts[BENCH_MAX_REPEAT]; // of each repetition: time, tokens per second of all users
    double avg_ns, stddev_ns, avg_ts, stddev_ts;
    double bytes_per_token; // of weights; NAN for prompts, whose tokens share what is read
    double op_per_token;    // two per multiplication with a weight
    double share_bandwidth, share_peak; // NAN where they say nothing
    double share_hit, read_rate; // experts found in memory; bytes per second from disk. NAN where all is in memory
    double share_disk;           // of what the disk was measured to give
    bool has_profile;
    double op_share[HTH_OP_COUNT]; // of the threads' time; what is missing to 1 passed between steps
} bench_result;

// Runs a test n_repeat times after a warm-up.
HTH_NODISCARD hth_code bench_run(hth_engine *e, const bench_model *m, const bench_test *test, int n_repeat,
                                 bench_result *out, hth_err *err);

// A printer takes results one by one. JSON is printed at the end, everything else line by line.
typedef struct bench_printer {
    bench_format format;
    hth_str text;
    hth_json_out json;
} bench_printer;

void bench_print_begin(bench_printer *p, bench_format format);
void bench_print(bench_printer *p, const bench_model *m, const bench_result *r);
// Returns the exit code. With `is_whole` false some results are missing, and JSON is not printed at all.
int bench_print_end(bench_printer *p, bool is_whole);

int bench_print_limits(const hth_machine *m, const hth_limits *l, bool is_json);

// "pp512 @ 1024", "tg128 x 4"
const char *bench_test_name(const bench_test *t, char text[64]);

#endif
