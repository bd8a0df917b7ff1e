// hearth quantize: a smaller file of the same model.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "formats/container.h"
#include "model/quantize.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/term.h"

typedef struct quantize_values {
    cli_list rules;
    const char *imatrix;
    int64_t n_thread;
    bool is_pure, force, dry_run, json;
} quantize_values;

static quantize_values values;

// ---- arguments

static int unknown_type(const char *name) {
    const char *names[64];
    size_t n = 0;
    for (; n < HTH_COUNT(names) && hth_mix_at((int)n); n++) names[n] = hth_mix_at((int)n)->name;
    const hth_type_info *type = hth_type_by_name(name);
    if (type) return cli_usage_error("quantize", "there is no quantizer for %s yet", type->name);
    const char *near = hth_nearest(name, names, n);
    if (near) return cli_usage_error("quantize", "unknown type '%s'; did you mean %s?", name, near);
    return cli_usage_error("quantize", "unknown type '%s'", name);
}

// "PATTERN=TYPE". The patterns are copied to `text`.
static int parse_rules(hth_quantize_rule rules[CLI_MAX_LIST], hth_str *text) {
    for (int i = 0; i < values.rules.n; i++) {
        const char *item = values.rules.items[i], *equals = strrchr(item, '=');
        if (!equals || equals == item || !equals[1])
            return cli_usage_error("quantize", "--tensor-type must be PATTERN=TYPE, not '%s'", item);
        const hth_type_info *info = hth_type_by_name(equals + 1);
        if (!info || !info->quantize) return unknown_type(equals + 1);
        rules[i].type = info->type;
        hth_str_append(text, item, (size_t)(equals - item) + 1);
        if (!text->failed) text->p[text->len - 1] = 0;
    }
    if (text->failed) return cli_error("out of memory");
    const char *at = hth_str_text(text);
    for (int i = 0; i < values.rules.n; i++, at += strlen(at) + 1) rules[i].pattern = at;
    return CLI_OK;
}

static hth_code check_paths(const hth_gguf *in, const char *out, hth_err *err) {
    for (int i = 0; i < hth_gguf_n_file(in); i++) {
        if (hth_path_is_same(out, hth_gguf_file_path(in, i)))
            return hth_fail(err, HTH_ERR_RANGE, "%s: cannot write over the file that is read", out);
    }
    if (values.imatrix && hth_path_is_same(out, values.imatrix))
        return hth_fail(err, HTH_ERR_RANGE, "%s: cannot write over the importance matrix", out);
    if (!values.force && !values.dry_run && hth_path_kind_of(out) == HTH_PATH_FILE)
        return hth_fail(err, HTH_ERR_RANGE, "%s: the file is there already (--force replaces it)", out);
    return HTH_OK;
}

// ---- progress

typedef struct progress {
    const hth_quantize_plan *plan;
    uint64_t shown_ns;
    bool is_tty;
} progress;

static bool show_progress(void *user, size_t i, uint64_t done, uint64_t total) {
    progress *p = user;
    if (hth_term_is_interrupted()) return false;
    const uint64_t now = hth_clock_ns();
    if (!p->is_tty || now - p->shown_ns < 100000000u || i >= p->plan->n) return true;
    const hth_quantize_choice *c = &p->plan->choices[i];
    fprintf(stderr, "\r\033[K%3.0f %%  %zu of %zu: %.60s %s", 100.0 * (double)done / (double)(total ? total : 1), i + 1, p->plan->n,
            c->tensor->name, hth_type_get(c->type)->name);
    fflush(stderr);
    p->shown_ns = now;
    return true;
}

// ---- the answer

typedef struct report {
    const hth_quantize_plan *plan;
    const char *out;
    uint64_t file_bytes; // 0: nothing was written
    double seconds;
    double n_weight;
} report;

static const char *why_name(hth_quantize_why why) {
    static const char *const names[] = {"kept", "mix", "tensor-type", "fallback"};
    return names[why];
}

static double count_weights(const hth_quantize_plan *p) {
    double n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const hth_type_info *info = hth_type_get(p->choices[i].tensor->type);
        n += (double)p->choices[i].tensor->n_bytes / info->block_bytes * info->block_len;
    }
    return n > 0 ? n : 1;
}

static void write_tensors(hth_json_out *j, const hth_quantize_plan *p) {
    hth_json_out_begin(j, "tensors", '[');
    for (size_t i = 0; i < p->n; i++) {
        const hth_quantize_choice *c = &p->choices[i];
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_text(j, "name", c->tensor->name);
        hth_json_out_text(j, "from", hth_type_get(c->tensor->type)->name);
        hth_json_out_text(j, "to", hth_type_get(c->type)->name);
        hth_json_out_text(j, "why", why_name(c->why));
        if (c->why == HTH_QUANTIZE_FALLBACK) hth_json_out_text(j, "wanted", hth_type_get(c->wanted)->name);
        hth_json_out_bool(j, "imatrix", c->importance != NULL);
        hth_json_out_int(j, "bytes", (int64_t)c->n_bytes);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static int print_json(const report *r) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, SIZE_MAX / 2);
    hth_json_out j = hth_json_out_make(&text, true);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "out", r->out);
    hth_json_out_text(&j, "type", r->plan->params.mix->name);
    hth_json_out_bool(&j, "written", r->file_bytes > 0);
    hth_json_out_int(&j, "file_bytes", (int64_t)r->file_bytes);
    hth_json_out_int(&j, "tensor_bytes_before", (int64_t)r->plan->in_bytes);
    hth_json_out_int(&j, "tensor_bytes", (int64_t)r->plan->out_bytes);
    hth_json_out_num(&j, "bits_per_weight", (double)r->plan->out_bytes * 8 / r->n_weight);
    hth_json_out_int(&j, "fallbacks", (int64_t)r->plan->n_fallback);
    hth_json_out_int(&j, "requantized", (int64_t)r->plan->n_again);
    hth_json_out_int(&j, "without_importance", (int64_t)r->plan->n_unweighed);
    hth_json_out_num(&j, "seconds", r->seconds);
    write_tensors(&j, r->plan);
    hth_json_out_end(&j, '}');
    const int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static void print_types(const hth_quantize_plan *p) {
    for (uint32_t type = 0; type < HTH_TYPE_GGML_COUNT; type++) {
        uint64_t n = 0, n_bytes = 0;
        char bytes[16];
        for (size_t i = 0; i < p->n; i++) {
            if (p->choices[i].type != type) continue;
            n++;
            n_bytes += p->choices[i].n_bytes;
        }
        if (n) cli_print("  %-8s %5" PRIu64 " tensors  %8s\n", hth_type_get(type)->name, n, cli_bytes(n_bytes, bytes));
    }
}

static bool is_like(const hth_quantize_choice *a, const hth_quantize_choice *b) {
    return b->why == HTH_QUANTIZE_FALLBACK && a->wanted == b->wanted && a->type == b->type &&
           a->tensor->dim[a->tensor->n_dim - 1] == b->tensor->dim[b->tensor->n_dim - 1];
}

// One line for all tensors that fell back in the same way.
static void print_fallbacks(const hth_quantize_plan *p) {
    for (size_t i = 0; i < p->n; i++) {
        const hth_quantize_choice *c = &p->choices[i];
        if (c->why != HTH_QUANTIZE_FALLBACK) continue;
        size_t n = 0, first = p->n;
        for (size_t k = 0; k < p->n; k++) {
            if (!is_like(c, &p->choices[k])) continue;
            if (first == p->n) first = k;
            n++;
        }
        if (first != i) continue;
        cli_print("fallback: %zu tensor%s %s instead of %s (rows of %" PRId64 " are not whole blocks of %" PRIu32 "): %s%s\n", n,
                  n == 1 ? "" : "s", hth_type_get(c->type)->name, hth_type_get(c->wanted)->name,
                  c->tensor->dim[c->tensor->n_dim - 1], hth_type_get(c->wanted)->block_len, c->tensor->name, n > 1 ? ", ..." : "");
    }
}

static int print_report(const report *r) {
    const hth_quantize_plan *p = r->plan;
    char before[16], after[16];
    if (values.json) return print_json(r);
    for (size_t i = 0; i < p->n && values.dry_run; i++) {
        const hth_quantize_choice *c = &p->choices[i];
        cli_print("%-40s %-8s %-8s %s\n", c->tensor->name, hth_type_get(c->tensor->type)->name, hth_type_get(c->type)->name,
                  why_name(c->why));
    }
    cli_print("%s: %s -> %s, %.2f -> %.2f bits per weight", r->out, cli_bytes(p->in_bytes, before), cli_bytes(p->out_bytes, after),
              (double)p->in_bytes * 8 / r->n_weight, (double)p->out_bytes * 8 / r->n_weight);
    if (r->file_bytes) cli_print(", %.1f s\n", r->seconds);
    else cli_print(" (nothing written)\n");
    print_types(p);
    print_fallbacks(p);
    if (p->n_again) cli_print("note: %zu tensors were quantized already; from the original the result would be better\n", p->n_again);
    if (p->n_unweighed) cli_print("note: %zu tensors are not in the importance matrix\n", p->n_unweighed);
    return CLI_OK;
}

// ---- the command

static hth_code execute(const hth_quantize_plan *plan, const char *out, int *exit_code, hth_err *err) {
    report r = {.plan = plan, .out = out, .n_weight = count_weights(plan)};
    if (!values.dry_run) {
        hth_team *team;
        HTH_TRY(hth_team_new(values.n_thread ? (int)values.n_thread : hth_cpu_default_threads(), &team, err));
        progress p = {.plan = plan, .is_tty = hth_term_is_stderr_tty()};
        const uint64_t begin = hth_clock_ns();
        const hth_code code = hth_quantize_run(plan, out, team, show_progress, &p, &r.file_bytes, err);
        if (p.shown_ns) fputs("\r\033[K", stderr);
        hth_team_free(team);
        HTH_TRY(code);
        r.seconds = (double)(hth_clock_ns() - begin) * 1e-9;
    }
    *exit_code = print_report(&r);
    return HTH_OK;
}

static hth_code quantize(const char *in_path, const char *out_path, hth_quantize_params *params, int *exit_code, hth_err *err) {
    hth_container *in = NULL;
    hth_imatrix *imatrix = NULL;
    hth_quantize_plan plan = {0};
    hth_code code;
    HTH_TRY_GOTO(code, hth_container_open(in_path, &in, err), done);
    const hth_gguf *g = hth_container_gguf(in);
    if (!g) {
        code = hth_fail(err, HTH_ERR_UNSUPPORTED, "%s: only GGUF files can be quantized so far; convert the folder to GGUF first",
                        in_path);
        goto done;
    }
    HTH_TRY_GOTO(code, check_paths(g, out_path, err), done);
    if (values.imatrix) HTH_TRY_GOTO(code, hth_imatrix_open(values.imatrix, &imatrix, err), done);
    params->imatrix = imatrix;
    HTH_TRY_GOTO(code, hth_quantize_plan_make(g, params, &plan, err), done);
    code = execute(&plan, out_path, exit_code, err);
done:
    hth_quantize_plan_free(&plan);
    hth_imatrix_close(imatrix);
    hth_container_close(in);
    return code;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    hth_quantize_rule rules[CLI_MAX_LIST];
    hth_quantize_params params = {.mix = hth_mix_by_name(args->items[2]), .is_pure = values.is_pure, .rules = rules,
                                  .n_rule = values.rules.n, .imatrix_path = values.imatrix};
    if (!params.mix) return unknown_type(args->items[2]);
    hth_str patterns;
    hth_str_init(&patterns, HTH_MEM_MISC, SIZE_MAX / 2);
    int exit_code = parse_rules(rules, &patterns);
    if (exit_code == CLI_OK) {
        hth_err err;
        hth_term_catch_stop();
        const hth_code code = quantize(args->items[0], args->items[1], &params, &exit_code, &err);
        if (code == HTH_ERR_CANCELLED) exit_code = CLI_INTERRUPTED;
        else if (code != HTH_OK) exit_code = cli_fail(&err);
    }
    hth_str_free(&patterns);
    return exit_code;
}

static const cli_option options[] = {
    CLI_OPTION_LIST("tensor-type", 0, "PATTERN=TYPE", quantize_values, rules, "TYPE for tensors whose name holds PATTERN;\n"
                    "                             may be repeated, the first that matches decides"),
    CLI_OPTION_TEXT("imatrix", 'i', "FILE", quantize_values, imatrix, "importance of columns, as hearth imatrix writes it"),
    CLI_OPTION_FLAG("pure", 0, quantize_values, is_pure, "the same type for all, no mix"),
    CLI_OPTION_FLAG("dry-run", 0, quantize_values, dry_run, "list the types and sizes, write nothing"),
    CLI_OPTION_FLAG("force", 0, quantize_values, force, "replace OUT when it is there"),
    CLI_OPTION_THREADS(quantize_values, n_thread),
    CLI_OPTION_FLAG("json", 0, quantize_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_quantize = {
    .name = "quantize",
    .arguments = "IN OUT TYPE",
    .summary = "Write a GGUF file with smaller weights.",
    .details = "IN is a GGUF file (any part of a split set), OUT the file to write; it appears only when it is\n"
               "complete. TYPE is one of\n\n"
               "  F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS\n"
               "  MXFP4 MXFP4_MOE NVFP4 Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S TQ2_0 TQ1_0 Q2_0 Q1_0\n\n"
               "and means what llama-quantize makes of it: _M, _L and some others give the more sensitive\n"
               "tensors a better type. Vectors, norms and small tables stay as they are. Where rows are not\n"
               "whole blocks of a type the usual one in its place is taken and reported. PATTERN is a regular\n"
               "expression; its TYPE is one tensor's: q4_K, q6_K, f16, ... With --imatrix errors in columns\n"
               "that are multiplied with large numbers count for more.",
    .options = options,
    .min_args = 3,
    .max_args = 3,
    .values = &values,
    .run = run,
};
