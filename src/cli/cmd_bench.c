// hearth bench: how fast a model is on this machine, and how fast the machine is.
#include <stdio.h>
#include <stdlib.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/out.h"
#include "os/cpu.h"
#include "os/term.h"
#include "os/thread.h"

enum { MAX_LIST = 16, MAX_USERS = 1024, MAX_TOKENS = 1 << 24 };
#define QUICK_SECONDS 0.5 // of each limit before the tests
#define MACHINE_SECONDS 1.0
#define CHUNK 512 // rows of a step of a prompt, as llama-bench has them

typedef struct bench_values {
    const char *prompts, *gens, *depths, *users;
    int64_t n_thread, n_repeat;
    cli_kv kv;
    int format, activations;
    bool machine, json, no_limits, profile, numa, no_mmap;
    uint64_t memory;
} bench_values;

static bench_values values = {
    .prompts = "512", .gens = "128", .depths = "0", .users = "1", .n_repeat = 5, .kv = CLI_KV(HTH_KV_F16)};

typedef struct list {
    int64_t v[MAX_LIST];
    int n;
} list;

// "512,2048". Returns 0 or the exit code.
static int parse_list(const char *option, const char *text, int64_t lo, int64_t hi, list *out) {
    const char *p = text;
    out->n = 0;
    for (;;) {
        char *end;
        const long long v = strtoll(p, &end, 10);
        if (*p < '0' || *p > '9' || v < lo || v > hi || out->n == MAX_LIST || (*end && *end != ',')) {
            return cli_usage_error("bench", "--%s must be whole numbers from %lld to %lld, like 1,2 (at most %d), not '%s'",
                                   option, (long long)lo, (long long)hi, MAX_LIST, text);
        }
        out->v[out->n++] = v;
        if (!*end) return 0;
        p = end + 1;
    }
}

// ---- the machine

static hth_code measure_limits(hth_team *team, double seconds, hth_limits *out, hth_err *err) {
    const bool is_watched = hth_term_is_stderr_tty();
    if (is_watched) fputs("measuring the machine's limits ...", stderr);
    hth_code code = hth_limits_measure(team, seconds, out, err);
    if (is_watched) fputs("\r\033[K", stderr);
    return code;
}

static int run_machine(void) {
    hth_machine machine;
    hth_team *team;
    hth_limits limits;
    hth_err err;
    hth_machine_get(&machine);
    const int n = values.n_thread ? (int)values.n_thread : hth_cpu_default_threads();
    if (hth_team_new(n, &team, &err) != HTH_OK) return cli_fail(&err);
    hth_code code = measure_limits(team, MACHINE_SECONDS, &limits, &err);
    hth_team_free(team);
    return code == HTH_OK ? bench_print_limits(&machine, &limits, values.format == BENCH_JSON) : cli_fail(&err);
}

// ---- a model

typedef struct bench_lists {
    list prompts, gens, depths, users;
} bench_lists;

static hth_code run_test(hth_engine *e, const bench_model *m, bench_printer *p, bench_test t, hth_err *err) {
    bench_result result;
    if (t.n_prompt + t.n_gen == 0) return HTH_OK; // -p 0 or -n 0: none of these
    HTH_TRY(bench_run(e, m, &t, (int)values.n_repeat, &result, err));
    bench_print(p, m, &result);
    return HTH_OK;
}

static hth_code run_tests(hth_engine *e, const bench_model *m, bench_printer *p, const bench_lists *l, hth_err *err) {
    for (int d = 0; d < l->depths.n; d++) {
        const int64_t depth = l->depths.v[d];
        for (int i = 0; i < l->prompts.n; i++)
            HTH_TRY(run_test(e, m, p, (bench_test){l->prompts.v[i], 0, depth, 1}, err));
        for (int i = 0; i < l->gens.n; i++)
            for (int u = 0; u < l->users.n; u++)
                HTH_TRY(run_test(e, m, p, (bench_test){0, l->gens.v[i], depth, l->users.v[u]}, err));
    }
    return HTH_OK;
}

static int64_t largest(const list *l) {
    int64_t most = 0;
    for (int i = 0; i < l->n; i++) most = l->v[i] > most ? l->v[i] : most;
    return most;
}

// One engine for all tests: room for the largest, and one place that stays free beside background requests.
static hth_engine_params engine_params(const bench_lists *l) {
    const int64_t n_prompt = largest(&l->prompts), n_gen = largest(&l->gens), n_user = n_gen > 0 ? largest(&l->users) : 1;
    return (hth_engine_params){.n_thread = (int)values.n_thread, .numa = values.numa, .weight_bytes = values.memory,
                               .no_map = values.no_mmap,
                               .n_ctx = largest(&l->depths) + (n_prompt > n_gen ? n_prompt : n_gen) + 1,
                               .n_sequence = (int32_t)n_user + 1, .n_queue = (int32_t)n_user + 1,
                               .n_chunk = n_user > CHUNK ? (int32_t)n_user : CHUNK,
                               .k_type = hth_kv_type_name((hth_kv_type)cli_kv_k(&values.kv)),
                               .v_type = hth_kv_type_name((hth_kv_type)cli_kv_v(&values.kv)),
                               .activations = hth_activations_name((hth_activations)values.activations)};
}

// By a team of its own: the engine's rests meanwhile.
static hth_code measure_quickly(int n_thread, hth_limits *out, hth_err *err) {
    hth_team *team;
    HTH_TRY(hth_team_new(n_thread, &team, err));
    const hth_code code = measure_limits(team, QUICK_SECONDS, out, err);
    hth_team_free(team);
    return code;
}

static int run_model(const char *path, const bench_lists *lists) {
    hth_machine machine;
    hth_engine *engine = NULL;
    hth_limits limits;
    hth_err err;
    bench_model model = {.path = path, .cpu = machine.cpu_name,
                         .k_type = (hth_kv_type)cli_kv_k(&values.kv), .v_type = (hth_kv_type)cli_kv_v(&values.kv)};
    bench_printer printer;
    int exit_code = CLI_OK;
    const hth_engine_params how = engine_params(lists);
    hth_code code;
    hth_machine_get(&machine);
    HTH_TRY_GOTO(code, cli_open_engine(path, &how, &engine, &err), done);
    bench_describe(engine, (hth_activations)values.activations, &model);
    model.is_profiled = values.profile;
    if (!hth_engine_model(engine)->desc.causal) {
        code = hth_fail(&err, HTH_ERR_UNSUPPORTED, "%s is an encoder: it writes no text", path);
        goto done;
    }
    hth_term_catch_stop();
    if (!values.no_limits) {
        HTH_TRY_GOTO(code, measure_quickly(model.n_thread, &limits, &err), done);
        model.limits = &limits;
    }
    bench_print_begin(&printer, (bench_format)values.format);
    code = run_tests(engine, &model, &printer, lists, &err);
    exit_code = bench_print_end(&printer, code == HTH_OK);
done:
    hth_engine_close(engine);
    if (code == HTH_ERR_CANCELLED) return CLI_INTERRUPTED;
    return code == HTH_OK ? exit_code : cli_fail(&err);
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    bench_lists l;
    if (values.json) values.format = BENCH_JSON;
    if (values.machine) {
        if (args->n > 0) return cli_usage_error("bench", "--machine takes no model");
        if (values.format == BENCH_CSV || values.format == BENCH_MD)
            return cli_usage_error("bench", "--machine prints text or JSON");
        return run_machine();
    }
    if (values.profile && values.format == BENCH_CSV) return cli_usage_error("bench", "--profile prints tables or JSON");
    if (args->n == 0) return cli_usage_error("bench", "too few arguments: hearth bench MODEL");
    int bad = parse_list("n-prompt", values.prompts, 0, MAX_TOKENS, &l.prompts);
    if (!bad) bad = parse_list("n-gen", values.gens, 0, MAX_TOKENS, &l.gens);
    if (!bad) bad = parse_list("depth", values.depths, 0, MAX_TOKENS, &l.depths);
    if (!bad) bad = parse_list("users", values.users, 1, MAX_USERS, &l.users);
    return bad ? bad : run_model(args->items[0], &l);
}

static const cli_option options[] = {
    CLI_OPTION_TEXT("n-prompt", 'p', "N,...", bench_values, prompts, "prompt tokens, 0: no such test (default: 512)"),
    CLI_OPTION_TEXT("n-gen", 'n', "N,...", bench_values, gens, "generated tokens, 0: no such test (default: 128)"),
    CLI_OPTION_TEXT("depth", 'd', "N,...", bench_values, depths, "tokens that are there before (default: 0)"),
    CLI_OPTION_TEXT("users", 'b', "N,...", bench_values, users, "sequences that generate together (default: 1)"),
    CLI_OPTION_THREADS(bench_values, n_thread),
    CLI_OPTION_NUMA(bench_values, numa),
    CLI_OPTION_NO_MMAP(bench_values, no_mmap),
    CLI_OPTION_MEMORY(bench_values, memory),
    CLI_OPTION_INT("repetitions", 'r', "N", bench_values, n_repeat, 1, BENCH_MAX_REPEAT,
                   "repetitions of each test after a warm-up (default: 5)"),
    CLI_OPTION_KV(bench_values, kv, "f16"),
    CLI_OPTION_ACTIVATIONS(bench_values, activations, "auto"),
    CLI_OPTION_CHOICE("output", 'o', "FORMAT", bench_values, format, "table|csv|json|md",
                      "table, csv, json or md (default: table)"),
    CLI_OPTION_FLAG("json", 0, bench_values, json, "the same as -o json"),
    CLI_OPTION_FLAG("no-limits", 0, bench_values, no_limits, "do not measure the machine's limits first"),
    CLI_OPTION_FLAG("profile", 0, bench_values, profile, "also tell how much of the time each kind of operation takes"),
    CLI_OPTION_FLAG("machine", 0, bench_values, machine, "measure the machine's limits and no model"),
    {0},
};

const cli_command cli_command_bench = {
    .name = "bench",
    .arguments = "MODEL | --machine",
    .summary = "Measure the speed of a model, or of the machine.",
    .details = "pp512 is a prompt of 512 tokens, tg128 the generation of 128 tokens one by one; \"@ 1024\"\n"
               "is behind 1024 other tokens, \"x 4\" four sequences in the same steps, counted together.\n"
               "Tokens are made up and nothing is sampled; of a prompt only the last token has logits.\n"
               "Averages and deviations are of the repetitions, and mean what llama-bench's mean.\n\n"
               "The share of the limit is, for generated tokens, the bytes of weights read per second\n"
               "against how fast all threads can read memory (above 100 % where the caches hold a part\n"
               "of the weights; of routed experts those count that so many tokens would choose if each\n"
               "chose by itself), and for prompts the multiplications with weights against the fastest\n"
               "instruction for them: 8-bit integers for quantized weights, else f32, or bf16 if faster.",
    .options = options,
    .max_args = 1,
    .values = &values,
    .run = run,
};
