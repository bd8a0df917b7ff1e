// hearth info: the machine as Hearth sees it, and which kernels it uses.
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"
#include "kernels/bf16.h"
#include "kernels/kernels.h"
#include "kernels/q8.h"
#include "os/cpu.h"

typedef struct info_values {
    bool json;
} info_values;

static info_values values;

// Entry i of all tables of kernels, the f32 ones first; false past the end.
static bool describe(int i, char op[48], const char **level) {
    static int n_f32 = -1, n_q8; // entries of the first tables, counted once
    const hth_kernels *k = hth_kernels_get();
    const hth_q8_kernels *q8 = hth_q8_get();
    if (n_f32 < 0) {
        for (n_q8 = 0; hth_q8_describe(q8, n_q8, op, level);) n_q8++;
        for (n_f32 = 0; hth_kernels_describe(k, n_f32, op, level);) n_f32++;
    }
    if (i < n_f32) return hth_kernels_describe(k, i, op, level);
    if (i < n_f32 + n_q8) return hth_q8_describe(q8, i - n_f32, op, level);
    *level = hth_bf16_get().name;
    snprintf(op, 48, "gemm_bf16_prompt");
    return i == n_f32 + n_q8 && *level;
}

static void write_json(hth_json_out *j, const hth_machine *m, uint32_t features) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "version", HEARTH_VERSION);
    hth_json_out_text(j, "os", m->os);
    hth_json_out_text(j, "arch", m->arch);
    hth_json_out_text(j, "cpu", m->cpu_name);
    hth_json_out_int(j, "physical_cores", m->n_physical);
    hth_json_out_int(j, "logical_cpus", m->n_logical);
    hth_json_out_int(j, "memory_bytes", (int64_t)m->memory_bytes);
    hth_json_out_int(j, "available_bytes", (int64_t)m->available_bytes);
    hth_json_out_int(j, "page_bytes", m->page_bytes);
    hth_json_out_begin(j, "features", '[');
    for (int bit = 0; bit < 32; bit++) {
        if (features >> bit & 1)
            hth_json_out_text(j, NULL, hth_cpu_feature_name((hth_cpu_feature)(1u << bit)));
    }
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "kernels", '{');
    char op[48];
    const char *level;
    for (int i = 0; describe(i, op, &level); i++) hth_json_out_text(j, op, level);
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

// Operations grouped by level: "avx2: gemm_f32, norm_rms".
static void print_kernels(void) {
    const char *done[16];
    size_t n_done = 0;
    char op[48];
    const char *level;
    for (int i = 0; describe(i, op, &level); i++) {
        bool is_new = n_done < HTH_COUNT(done);
        for (size_t d = 0; d < n_done; d++) is_new = is_new && strcmp(done[d], level) != 0;
        if (!is_new) continue;
        done[n_done++] = level;
        cli_print("kernels    %s:", level);
        size_t column = 100; // breaks before the first one
        const char *other;
        for (int o = i; describe(o, op, &other); o++) {
            if (strcmp(other, level) != 0) continue;
            if (column + strlen(op) > 88) {
                cli_print("\n          ");
                column = 0;
            }
            cli_print(" %s,", op);
            column += strlen(op) + 2;
        }
        cli_print("\n");
    }
}

static void print_text(const hth_machine *m, uint32_t features) {
    char total[16], available[16];
    cli_print("hearth     %s\n", HEARTH_VERSION);
    cli_print("system     %s %s\n", m->os, m->arch);
    cli_print("cpu        %s\n", m->cpu_name);
    cli_print("cores      %d physical, %d logical\n", m->n_physical, m->n_logical);
    cli_print("memory     %s, %s available\n", cli_bytes(m->memory_bytes, total),
              cli_bytes(m->available_bytes, available));
    cli_print("features  ");
    for (int bit = 0; bit < 32; bit++) {
        if (features >> bit & 1) cli_print(" %s", hth_cpu_feature_name((hth_cpu_feature)(1u << bit)));
    }
    cli_print("\n");
    print_kernels();
}

static int run(const cli_args *args, const void *unused) {
    (void)args;
    (void)unused;
    hth_machine machine;
    hth_machine_get(&machine);
    if (!values.json) {
        print_text(&machine, hth_cpu_features());
        return CLI_OK;
    }
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, 1 << 20);
    hth_json_out j = hth_json_out_make(&text, true);
    write_json(&j, &machine, hth_cpu_features());
    int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static const cli_option options[] = {
    CLI_OPTION_FLAG("json", 0, info_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_info = {
    .name = "info",
    .arguments = "",
    .summary = "Show the machine and which kernels it uses.",
    .details = "HEARTH_CPU in the environment limits the instruction sets (ref, avx2, avx512, neon,\n"
               "...).",
    .options = options,
    .values = &values,
    .run = run,
};
