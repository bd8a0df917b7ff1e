// Counting, and printing what was counted.
#include "server/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

typedef atomic_uint_fast64_t counter;

// Upper bounds in seconds, ended by 0; what is above them all is counted too.
static const double wait_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 0};
static const double gap_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 0};
#define MAX_BOUNDS 13

typedef struct histogram {
    counter buckets[MAX_BOUNDS + 1]; // each its own, summed up when printed
    counter sum_ns, n;
} histogram;

static const char *const dialects[] = {"openai", "ollama", "anthropic", "llama", "other"};
#define N_DIALECT HTH_COUNT(dialects)
#define N_CLASS 6 // 0: the client left; 1xx to 5xx

struct hth_metrics {
    counter n_exchange[N_DIALECT][N_CLASS];
    counter n_prompt, n_cached, n_output, n_reasoning, n_drafted, n_accepted, n_call, n_longest;
    counter prefill_ns, generate_ns;
    counter misses[5]; // by hth_miss
    counter sent_back[HTH_SAMPLED_COUNT];
    histogram exchange, first, gap, queue;
};

hth_metrics *hth_metrics_new(void) {
    return hth_calloc(HTH_MEM_MISC, 1, sizeof(hth_metrics)); // zero is what atomics begin with
}

void hth_metrics_free(hth_metrics *m) {
    hth_free(m);
}

static void add(counter *c, uint64_t n) {
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void observe(histogram *h, const double *bounds, uint64_t ns) {
    const double s = (double)ns * 1e-9;
    size_t i = 0;
    while (bounds[i] > 0 && s > bounds[i]) i++;
    add(&h->buckets[i], 1);
    add(&h->sum_ns, ns);
    add(&h->n, 1);
}

void hth_metrics_exchange(hth_metrics *m, const char *dialect, int status, uint64_t elapsed_ns) {
    size_t d = 0;
    while (d + 1 < N_DIALECT && !(dialect && strcmp(dialects[d], dialect) == 0)) d++;
    add(&m->n_exchange[d][status >= 100 && status < 600 ? status / 100 : 0], 1);
    observe(&m->exchange, wait_bounds, elapsed_ns);
}

static uint64_t positive(int64_t n) {
    return n > 0 ? (uint64_t)n : 0;
}

static void raise_to(counter *c, uint64_t n) {
    uint_fast64_t seen = get(c);
    while (seen < n &&
           !atomic_compare_exchange_weak_explicit(c, &seen, n, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void hth_metrics_call(hth_metrics *m, const hth_call_usage *u, uint64_t first_ns) {
    add(&m->n_call, 1);
    add(&m->n_prompt, positive(u->n_prompt - u->n_cached));
    add(&m->n_cached, positive(u->n_cached));
    add(&m->n_output, positive(u->n_output));
    add(&m->n_reasoning, positive(u->n_reasoning));
    add(&m->n_drafted, positive(u->n_drafted));
    add(&m->n_accepted, positive(u->n_accepted));
    add(&m->prefill_ns, u->prefill_ns);
    add(&m->generate_ns, u->generate_ns);
    if ((unsigned)u->miss < HTH_COUNT(m->misses)) add(&m->misses[u->miss], 1);
    for (size_t i = 0; i < HTH_COUNT(m->sent_back); i++) add(&m->sent_back[i], positive(u->n_sent_back[i]));
    raise_to(&m->n_longest, positive(u->n_prompt + u->n_output));
    observe(&m->queue, wait_bounds, u->queued_ns);
    if (first_ns) observe(&m->first, wait_bounds, first_ns);
}

void hth_metrics_gap(hth_metrics *m, uint64_t ns) {
    observe(&m->gap, gap_bounds, ns);
}

// --- printing ---

static void head(hth_str *out, const char *name, const char *type, const char *help) {
    hth_str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_int(hth_str *out, const char *name, const char *type, const char *help, uint64_t v) {
    head(out, name, type, help);
    hth_str_printf(out, "%s %" PRIu64 "\n", name, v);
}

static void print_num(hth_str *out, const char *name, const char *type, const char *help, double v) {
    head(out, name, type, help);
    hth_str_printf(out, "%s %.9g\n", name, v);
}

static void print_histogram(hth_str *out, const char *name, const char *help, histogram *h,
                            const double *bounds) {
    uint64_t sum = 0;
    head(out, name, "histogram", help);
    for (size_t i = 0;; i++) {
        sum += get(&h->buckets[i]);
        if (!(bounds[i] > 0)) break;
        hth_str_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i], sum);
    }
    // The count is the buckets' own sum: another thread may be between its two additions.
    hth_str_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum,
                   name, (double)get(&h->sum_ns) * 1e-9, name, sum);
}

static double rate(uint64_t n, uint64_t ns) {
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

static hth_engine_stats total_of(const hth_metrics_now *now) {
    hth_engine_stats sum = {0};
    for (size_t i = 0; i < now->n_model; i++) {
        const hth_engine_stats *s = &now->models[i].stats;
        sum.n_waiting += s->n_waiting;
        sum.n_running += s->n_running;
        sum.n_step += s->n_step;
        sum.n_generated_row += s->n_generated_row;
    }
    return sum;
}

// The names that dashboards for llama-server know.
static void print_llama(hth_metrics *m, const hth_engine_stats *sum, hth_str *out) {
    const uint64_t prefill = get(&m->prefill_ns), generate = get(&m->generate_ns);
    print_int(out, "llamacpp:prompt_tokens_total", "counter",
              "Prompt tokens computed, cached ones not counted", get(&m->n_prompt));
    print_int(out, "llamacpp:prompt_tokens_cached_total", "counter", "Prompt tokens found in the cache",
              get(&m->n_cached));
    print_num(out, "llamacpp:prompt_seconds_total", "counter", "Time spent on prompts",
              (double)prefill * 1e-9);
    print_int(out, "llamacpp:tokens_predicted_total", "counter", "Tokens generated", get(&m->n_output));
    print_num(out, "llamacpp:tokens_predicted_seconds_total", "counter", "Time spent generating",
              (double)generate * 1e-9);
    print_int(out, "llamacpp:n_decode_total", "counter", "Forward passes", sum->n_step);
    print_int(out, "llamacpp:n_tokens_max", "counter", "Longest sequence so far, prompt and answer",
              get(&m->n_longest));
    print_int(out, "llamacpp:spec_decode_num_draft_tokens_total", "counter", "Tokens guessed",
              get(&m->n_drafted));
    print_int(out, "llamacpp:spec_decode_num_accepted_tokens_total", "counter", "Guesses that were right",
              get(&m->n_accepted));
    print_num(out, "llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens per second",
              rate(get(&m->n_prompt), prefill));
    print_num(out, "llamacpp:predicted_tokens_seconds", "gauge", "Generated tokens per second",
              rate(get(&m->n_output), generate));
    print_int(out, "llamacpp:requests_processing", "gauge", "Requests at work", positive(sum->n_running));
    print_int(out, "llamacpp:requests_deferred", "gauge", "Requests that wait", positive(sum->n_waiting));
    print_num(out, "llamacpp:n_busy_slots_per_decode", "gauge", "Generated tokens per forward pass",
              sum->n_step ? (double)sum->n_generated_row / (double)sum->n_step : 0);
}

static void print_exchanges(hth_metrics *m, hth_str *out) {
    static const char *const classes[N_CLASS] = {"left", "1xx", "2xx", "3xx", "4xx", "5xx"};
    head(out, "hearth_http_requests_total", "counter", "HTTP requests by dialect and status");
    for (size_t d = 0; d < N_DIALECT; d++) {
        for (size_t k = 0; k < N_CLASS; k++) {
            const uint64_t n = get(&m->n_exchange[d][k]);
            if (n == 0) continue;
            hth_str_printf(out, "hearth_http_requests_total{dialect=\"%s\",status=\"%s\"} %" PRIu64 "\n",
                           dialects[d], classes[k], n);
        }
    }
}

static void print_label(hth_str *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\n')
            hth_str_puts(out, "\\n");
        else if (*text == '"' || *text == '\\')
            hth_str_printf(out, "\\%c", *text);
        else
            hth_str_putc(out, *text);
    }
}

// One series per model, of a field that is a uint64_t or an int32_t.
static void print_models(const hth_metrics_now *now, hth_str *out, const char *name, const char *type,
                         const char *help, size_t offset, bool is_small) {
    head(out, name, type, help);
    for (size_t i = 0; i < now->n_model; i++) {
        const void *at = (const char *)&now->models[i].stats + offset;
        hth_str_printf(out, "%s{model=\"", name);
        print_label(out, now->models[i].name);
        hth_str_printf(out, "\"} %" PRIu64 "\n",
                       is_small ? positive(*(const int32_t *)at) : *(const uint64_t *)at);
    }
}

#define OF(field) offsetof(hth_engine_stats, field)

static void print_engines(const hth_metrics_now *now, hth_str *out) {
    print_models(now, out, "hearth_requests_waiting", "gauge", "Requests in the queue", OF(n_waiting), true);
    print_models(now, out, "hearth_requests_running", "gauge", "Requests at work", OF(n_running), true);
    print_models(now, out, "hearth_sequences", "gauge", "Sequences at work", OF(n_sequence), true);
    print_models(now, out, "hearth_requests_refused_total", "counter",
                 "Requests refused because the queue was full", OF(n_busy), false);
    print_models(now, out, "hearth_steps_total", "counter", "Forward passes", OF(n_step), false);
    print_models(now, out, "hearth_mixed_steps_total", "counter",
                 "Forward passes with prompt and generated rows", OF(n_mixed_step), false);
    print_models(now, out, "hearth_prompt_rows_total", "counter", "Rows of prompts in forward passes",
                 OF(n_prompt_row), false);
    print_models(now, out, "hearth_generated_rows_total", "counter", "Generated rows in forward passes",
                 OF(n_generated_row), false);
    print_models(now, out, "hearth_cached_tokens_total", "counter", "Prompt tokens found in the cache",
                 OF(n_cached_token), false);
    print_models(now, out, "hearth_parked_total", "counter", "Times that a request gave its memory to others and went on later",
                 OF(n_parked), false);
    print_models(now, out, "hearth_cache_entries", "gauge", "Beginnings kept of ended requests",
                 OF(n_cache_entry), false);
    print_models(now, out, "hearth_cache_bytes", "gauge", "Memory that they take", OF(cache_bytes), false);
    print_models(now, out, "hearth_kv_bytes", "gauge", "Memory of keys and values in use", OF(kv_bytes),
                 false);
}

static void print_memory(hth_str *out) {
    hth_mem_stats mem;
    hth_mem_get_stats(&mem);
    head(out, "hearth_memory_bytes", "gauge", "Memory allocated, by what it is for");
    for (int i = 0; i < HTH_MEM_TAG_COUNT; i++) {
        hth_str_printf(out, "hearth_memory_bytes{tag=\"%s\"} %" PRIu64 "\n", hth_mem_tag_name((hth_mem_tag)i),
                       mem.n_bytes[i]);
    }
    print_int(out, "hearth_memory_peak_bytes", "gauge", "Most memory that was allocated at once",
              mem.peak_bytes);
}

static void print_misses(hth_metrics *m, hth_str *out) {
    static const char *const words[] = {"none", "cold", "different", "ended", "state"}; // by hth_miss
    head(out, "hearth_cache_lookups_total", "counter", "Prompts by why no more of them was cached");
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        hth_str_printf(out, "hearth_cache_lookups_total{miss=\"%s\"} %" PRIu64 "\n", words[i],
                       get(&m->misses[i]));
    }
}

static void print_sent_back(hth_metrics *m, hth_str *out) {
    static const char *const words[] = {"same", "changed", "unknown"}; // by hth_sampled_found
    head(out, "hearth_calls_sent_back_total", "counter",
         "Calls of tools in prompts: those that are not the same end what is cached");
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        hth_str_printf(out, "hearth_calls_sent_back_total{found=\"%s\"} %" PRIu64 "\n", words[i], get(&m->sent_back[i]));
    }
}

void hth_metrics_write(hth_metrics *m, const hth_metrics_now *now, hth_str *out) {
    const hth_engine_stats sum = total_of(now);
    print_llama(m, &sum, out);
    print_exchanges(m, out);
    print_int(out, "hearth_http_exchanges", "gauge", "HTTP requests at work", now->n_exchange);
    print_int(out, "hearth_calls_total", "counter", "Requests to models that ended", get(&m->n_call));
    print_int(out, "hearth_reasoning_tokens_total", "counter", "Generated tokens that were reasoning",
              get(&m->n_reasoning));
    print_histogram(out, "hearth_http_request_seconds", "HTTP requests from head to end", &m->exchange,
                    wait_bounds);
    print_histogram(out, "hearth_queue_seconds", "Time in the queue", &m->queue, wait_bounds);
    print_histogram(out, "hearth_time_to_first_token_seconds", "From the request to its first token",
                    &m->first, wait_bounds);
    print_histogram(out, "hearth_inter_token_seconds", "Between two tokens of an answer", &m->gap,
                    gap_bounds);
    print_misses(m, out);
    print_sent_back(m, out);
    print_engines(now, out);
    print_int(out, "hearth_grammar_hits_total", "counter", "Schemas and grammars that were compiled before", now->grammars.n_hit);
    print_int(out, "hearth_grammar_misses_total", "counter", "Schemas and grammars that had to be compiled", now->grammars.n_miss);
    print_memory(out);
    print_int(out, "hearth_models_loaded", "gauge", "Models in memory", now->n_model);
    print_num(out, "hearth_uptime_seconds", "gauge", "Since the start", now->uptime_s);
}
