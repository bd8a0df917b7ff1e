// The text that Prometheus reads, against its format and against what was counted.
#include "unit/cmocka_all.h"

#include <stdlib.h>

#include "server/metrics.h"

static hth_str text;

static const char *print(hth_metrics *m, const hth_metrics_now *now) {
    hth_str_free(&text);
    hth_str_init(&text, HTH_MEM_MISC, 1 << 20);
    hth_metrics_write(m, now, &text);
    assert_false(text.failed);
    return text.p;
}

// The value of a series, which is there once.
static double value(const char *series) {
    const size_t n = strlen(series);
    const char *found = NULL;
    for (const char *p = text.p; (p = strstr(p, series)); p += n) {
        if ((p > text.p && p[-1] != '\n') || p[n] != ' ') continue;
        assert_null(found);
        found = p;
    }
    if (!found) fail_msg("%s is not there", series);
    return strtod(found + n, NULL);
}

static void what_is_counted_is_printed(void **state) {
    (void)state;
    hth_metrics *m = hth_metrics_new();
    const hth_call_usage u = {.n_prompt = 100, .n_cached = 60, .n_output = 20, .n_reasoning = 5, .n_drafted = 8, .n_accepted = 6,
                              .queued_ns = 2000000, .prefill_ns = 500000000, .generate_ns = 2000000000, .miss = HTH_MISS_DIFFERENT};
    hth_metrics_call(m, &u, 700000000);
    hth_metrics_call(m, &u, 0);
    for (int i = 0; i < 3; i++) hth_metrics_gap(m, 6000000);
    hth_metrics_gap(m, 5000000000);
    hth_metrics_exchange(m, "ollama", 200, 1000000);
    hth_metrics_exchange(m, "ollama", 503, 1000000);
    hth_metrics_exchange(m, NULL, 0, 1000000);
    hth_metrics_model models[2] = {{.name = "a\"b\\", .stats = {.n_running = 2, .n_step = 10, .n_generated_row = 15}},
                                   {.name = "c", .stats = {.n_running = 1, .n_waiting = 4, .n_step = 10, .n_generated_row = 5}}};
    const hth_metrics_now now = {.models = models, .n_model = 2, .n_exchange = 7, .uptime_s = 1.5};
    print(m, &now);
    assert_true(value("llamacpp:prompt_tokens_total") == 80);
    assert_true(value("llamacpp:prompt_tokens_cached_total") == 120);
    assert_true(value("llamacpp:tokens_predicted_total") == 40);
    assert_true(value("llamacpp:prompt_tokens_seconds") == 80);
    assert_true(value("llamacpp:predicted_tokens_seconds") == 10);
    assert_true(value("llamacpp:n_tokens_max") == 120);
    assert_true(value("llamacpp:requests_processing") == 3);
    assert_true(value("llamacpp:requests_deferred") == 4);
    assert_true(value("llamacpp:n_busy_slots_per_decode") == 1);
    assert_true(value("hearth_time_to_first_token_seconds_count") == 1);
    assert_true(value("hearth_time_to_first_token_seconds_bucket{le=\"0.5\"}") == 0);
    assert_true(value("hearth_time_to_first_token_seconds_bucket{le=\"1\"}") == 1);
    assert_true(value("hearth_inter_token_seconds_bucket{le=\"0.005\"}") == 0);
    assert_true(value("hearth_inter_token_seconds_bucket{le=\"0.01\"}") == 3);
    assert_true(value("hearth_inter_token_seconds_bucket{le=\"+Inf\"}") == 4);
    assert_true(value("hearth_http_requests_total{dialect=\"ollama\",status=\"5xx\"}") == 1);
    assert_true(value("hearth_http_requests_total{dialect=\"other\",status=\"left\"}") == 1);
    assert_true(value("hearth_cache_lookups_total{miss=\"different\"}") == 2);
    assert_true(value("hearth_requests_running{model=\"a\\\"b\\\\\"}") == 2);
    assert_true(value("hearth_http_exchanges") == 7);
    hth_metrics_free(m);
}

static void every_series_has_help_and_type_and_no_number_is_strange(void **state) {
    (void)state;
    hth_metrics *m = hth_metrics_new();
    const hth_metrics_now now = {0};
    char copy[1 << 16], name[128] = "";
    assert_true(strlen(print(m, &now)) < sizeof copy);
    memcpy(copy, text.p, text.len + 1);
    for (char *line = copy, *next; *line; line = next) {
        next = strchr(line, '\n');
        assert_non_null(next);
        *next++ = 0;
        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(name, sizeof name, "%.*s", (int)strcspn(line + 7, " "), line + 7);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(strncmp(line + 7, name, strlen(name)), 0);
        } else {
            assert_int_equal(strncmp(line, name, strlen(name)), 0);
            char *end;
            const char *number = strrchr(line, ' ') + 1;
            const double v = strtod(number, &end);
            assert_true(*end == 0 && v >= 0 && v < 1e300);
        }
    }
    hth_metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_counted_is_printed),
        cmocka_unit_test(every_series_has_help_and_type_and_no_number_is_strange),
    };
    const int bad = cmocka_run_group_tests(tests, NULL, NULL);
    hth_str_free(&text);
    return bad;
}
