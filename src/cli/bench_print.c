// Printing the results of `hearth bench`. JSON and CSV have llama-bench's keys and a few of their own.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/out.h"

static const char *const kv_names[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q5_0"};
static const char *const peak_names[] = {"f32", "bf16", "int8"};

// ---- JSON and CSV

typedef struct field {
    const char *key, *text; // text: NULL for a number
    bool is_real;
    int64_t integer;
    double real;
} field;

enum { N_FIELD = 24 };

static void list_fields(const bench_model *m, const bench_result *r, field f[N_FIELD]) {
    const field all[N_FIELD] = {
        {.key = "cpu_info", .text = m->cpu},
        {.key = "model_filename", .text = m->path},
        {.key = "model_type", .text = m->type},
        {.key = "model_size", .integer = (int64_t)m->n_bytes},
        {.key = "model_n_params", .integer = (int64_t)m->n_param},
        {.key = "n_threads", .integer = m->n_thread},
        {.key = "type_k", .text = kv_names[m->k_type]},
        {.key = "type_v", .text = kv_names[m->v_type]},
        {.key = "n_prompt", .integer = r->test.n_prompt},
        {.key = "n_gen", .integer = r->test.n_gen},
        {.key = "n_depth", .integer = r->test.n_depth},
        {.key = "n_users", .integer = r->test.n_user},
        {.key = "avg_ns", .integer = llround(r->avg_ns)},
        {.key = "stddev_ns", .integer = llround(r->stddev_ns)},
        {.key = "avg_ts", .is_real = true, .real = r->avg_ts},
        {.key = "stddev_ts", .is_real = true, .real = r->stddev_ts},
        {.key = "bytes_per_token", .is_real = true, .real = r->bytes_per_token},
        {.key = "ops_per_token", .is_real = true, .real = r->op_per_token},
        {.key = "peak", .text = peak_names[m->peak]},
        {.key = "share_bandwidth", .is_real = true, .real = r->share_bandwidth},
        {.key = "share_peak", .is_real = true, .real = r->share_peak},
        {.key = "share_experts_cached", .is_real = true, .real = r->share_hit},
        {.key = "disk_bytes_per_second", .is_real = true, .real = r->read_rate},
        {.key = "share_disk", .is_real = true, .real = r->share_disk},
    };
    memcpy(f, all, sizeof all);
}

static void print_json(bench_printer *p, const field *f, const bench_result *r) {
    hth_json_out *j = &p->json;
    hth_json_out_begin(j, NULL, '{');
    for (int i = 0; i < N_FIELD; i++) {
        if (f[i].text) hth_json_out_text(j, f[i].key, f[i].text);
        else if (f[i].is_real) hth_json_out_num(j, f[i].key, f[i].real);
        else hth_json_out_int(j, f[i].key, f[i].integer);
    }
    hth_json_out_begin(j, "samples_ns", '[');
    for (int i = 0; i < r->n; i++) hth_json_out_int(j, NULL, llround(r->ns[i]));
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "samples_ts", '[');
    for (int i = 0; i < r->n; i++) hth_json_out_num(j, NULL, r->ts[i]);
    hth_json_out_end(j, ']');
    if (r->has_profile) {
        hth_json_out_begin(j, "profile", '{');
        for (int op = 0; op < HTH_OP_COUNT; op++) hth_json_out_num(j, hth_op_name((hth_op)op), r->op_share[op]);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, '}');
}

static void print_csv_text(const char *text) {
    cli_print("\"");
    for (const char *c = text; *c; c++) cli_print("%s%c", *c == '"' ? "\"" : "", *c);
    cli_print("\"");
}

static void print_csv(const field *f) {
    for (int i = 0; i < N_FIELD; i++) {
        if (i > 0) cli_print(",");
        if (f[i].text) print_csv_text(f[i].text);
        else if (!f[i].is_real) cli_print("%lld", (long long)f[i].integer);
        else if (!isnan(f[i].real)) cli_print("%.6g", f[i].real);
    }
    cli_print("\n");
}

// ---- tables

enum { N_COLUMN = 7 };
static const char *const columns[N_COLUMN] = {"model", "size", "threads", "kv", "test", "t/s", "share of limit"};
#define PROFILE_WIDTH 12
static const int widths[N_COLUMN] = {-32, 8, 7, -9, -18, 17, -16}; // negative: to the left

static void print_cells(bench_format format, const char *const cell[N_COLUMN]) {
    for (int i = 0; i < N_COLUMN; i++) {
        if (format == BENCH_MD) cli_print("| %*s ", widths[i], cell[i]);
        else if (i + 1 < N_COLUMN) cli_print("%*s  ", widths[i], cell[i]);
        else cli_print("%s", cell[i]); // no blanks at the end
    }
    cli_print(format == BENCH_MD ? "|\n" : "\n");
}

static void print_row(bench_format format, const bench_model *m, const bench_result *r) {
    char size[16], threads[16], kv[16], test[64], speed[48], share[48] = "";
    if (m->k_type == m->v_type) snprintf(kv, sizeof kv, "%s", kv_names[m->k_type]);
    else snprintf(kv, sizeof kv, "%s/%s", kv_names[m->k_type], kv_names[m->v_type]);
    snprintf(threads, sizeof threads, "%d", m->n_thread);
    snprintf(speed, sizeof speed, "%.2f +- %.2f", r->avg_ts, r->stddev_ts);
    if (!isnan(r->share_bandwidth)) snprintf(share, sizeof share, "%.0f %% of read", 100 * r->share_bandwidth);
    if (!isnan(r->share_peak)) snprintf(share, sizeof share, "%.0f %% of %s", 100 * r->share_peak, peak_names[m->peak]);
    if (!isnan(r->share_disk)) {
        snprintf(share, sizeof share, "%.0f %% of disk, %.0f %% cached", 100 * r->share_disk, 100 * r->share_hit);
    }
    const char *const cell[N_COLUMN] = {m->type,          cli_bytes(m->n_bytes, size),       threads, kv,
                                        bench_test_name(&r->test, test), speed, share};
    print_cells(format, cell);
}

// One row of the table of operations, which is printed at the end; the first row brings the head.
static void add_profile(bench_printer *p, const bench_result *r) {
    const char *const bar = p->format == BENCH_MD ? " |" : "";
    char name[64];
    if (p->text.len == 0) {
        hth_str_printf(&p->text, "\n%s%-18s%s", p->format == BENCH_MD ? "| " : "", "% of time", bar);
        for (int op = 0; op < HTH_OP_COUNT; op++) hth_str_printf(&p->text, " %*s%s", PROFILE_WIDTH, hth_op_name((hth_op)op), bar);
        hth_str_printf(&p->text, "\n");
        for (int op = -1; p->format == BENCH_MD && op < HTH_OP_COUNT; op++) hth_str_printf(&p->text, op < 0 ? "| :--- |" : " ---: |");
        if (p->format == BENCH_MD) hth_str_printf(&p->text, "\n");
    }
    hth_str_printf(&p->text, "%s%-18s%s", p->format == BENCH_MD ? "| " : "", bench_test_name(&r->test, name), bar);
    for (int op = 0; op < HTH_OP_COUNT; op++) hth_str_printf(&p->text, " %*.1f%s", PROFILE_WIDTH, 100 * r->op_share[op], bar);
    hth_str_printf(&p->text, "\n");
}

// ---- the printer

static void print_header(bench_format format) {
    if (format == BENCH_CSV) {
        field f[N_FIELD];
        list_fields(&(bench_model){.path = ""}, &(bench_result){0}, f);
        for (int i = 0; i < N_FIELD; i++) cli_print("%s%s", i > 0 ? "," : "", f[i].key);
        cli_print("\n");
        return;
    }
    print_cells(format, columns);
    if (format != BENCH_MD) return;
    for (int i = 0; i < N_COLUMN; i++) cli_print(widths[i] < 0 ? "| :--- " : "| ---: ");
    cli_print("|\n");
}

void bench_print_begin(bench_printer *p, bench_format format) {
    p->format = format;
    hth_str_init(&p->text, HTH_MEM_MISC, 1 << 24);
    p->json = hth_json_out_make(&p->text, true);
    if (format == BENCH_JSON) hth_json_out_begin(&p->json, NULL, '[');
    else print_header(format);
}

void bench_print(bench_printer *p, const bench_model *m, const bench_result *r) {
    field f[N_FIELD];
    list_fields(m, r, f);
    if (p->format == BENCH_JSON) print_json(p, f, r);
    else if (p->format == BENCH_CSV) print_csv(f);
    else print_row(p->format, m, r);
    if (r->has_profile && (p->format == BENCH_TABLE || p->format == BENCH_MD)) add_profile(p, r);
    cli_flush();
}

int bench_print_end(bench_printer *p, bool is_whole) {
    int code = 0;
    if (p->format == BENCH_JSON && is_whole) {
        hth_json_out_end(&p->json, ']');
        code = cli_print_json(&p->text);
    } else if (p->format != BENCH_JSON && p->text.len > 0) {
        cli_print("%.*s", (int)p->text.len, hth_str_text(&p->text));
    }
    hth_str_free(&p->text);
    return code;
}

// ---- the machine

static void print_limits_text(const hth_machine *m, const hth_limits *l) {
    char size[16];
    cli_print("cpu        %s\n", m->cpu_name);
    cli_print("threads    %d\n", l->n_thread);
    cli_print("read       %.1f GB/s, one thread %.1f (through %s)\n", l->read * 1e-9, l->read_one * 1e-9,
              cli_bytes((uint64_t)l->walk_bytes, size));
    cli_print("f32        %.0f GFLOPS (%s)\n", l->f32 * 1e-9, l->f32_name);
    if (l->bf16_name) cli_print("bf16       %.0f GFLOPS (%s)\n", l->bf16 * 1e-9, l->bf16_name);
    cli_print("int8       %.3f TOPS (%s)", l->i8 * 1e-12, l->i8_name);
    if (l->i8 > l->i8_vector) cli_print(", in vectors %.3f", l->i8_vector * 1e-12);
    cli_print("\n");
}

int bench_print_limits(const hth_machine *m, const hth_limits *l, bool is_json) {
    if (!is_json) {
        print_limits_text(m, l);
        return CLI_OK;
    }
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, 1 << 16);
    hth_json_out j = hth_json_out_make(&text, true);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "cpu_info", m->cpu_name);
    hth_json_out_int(&j, "n_threads", l->n_thread);
    hth_json_out_int(&j, "walk_bytes", l->walk_bytes);
    hth_json_out_num(&j, "read_bytes_per_second", l->read);
    hth_json_out_num(&j, "read_bytes_per_second_one_thread", l->read_one);
    hth_json_out_num(&j, "f32_ops_per_second", l->f32);
    hth_json_out_text(&j, "f32_instruction", l->f32_name);
    hth_json_out_num(&j, "bf16_ops_per_second", l->bf16);
    hth_json_out_text(&j, "bf16_instruction", l->bf16_name);
    hth_json_out_num(&j, "int8_ops_per_second", l->i8);
    hth_json_out_text(&j, "int8_instruction", l->i8_name);
    hth_json_out_num(&j, "int8_vector_ops_per_second", l->i8_vector);
    hth_json_out_end(&j, '}');
    int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}
