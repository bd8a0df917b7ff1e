// Settings: whose word counts, other servers' spellings, and what is refused.
#include "unit/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/sampler.h"
#include "server/config_impl.h"

static hth_err err;
static hth_config c;

#define LOAD(style, ...)                                                              \
    load(style, (int)(sizeof((const char *[]){NULL, ##__VA_ARGS__}) / sizeof(char *)) - 1, \
         (const char *[]){NULL, ##__VA_ARGS__} + 1)

static hth_code load(hth_config_style style, int n, const char *const *words) {
    hth_config_free(&c);
    char *argv[32];
    for (int i = 0; i < n; i++) argv[i] = (char *)(uintptr_t)words[i];
    return hth_config_load(n, argv, style, &c, &err);
}

static void loads(hth_code code) {
    if (code != HTH_OK) fail_msg("%s", err.msg);
}

static void refuses(hth_code code, const char *words) {
    if (code == HTH_OK) fail_msg("accepted, but should say \"%s\"", words);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" lacks \"%s\"", err.msg, words);
}

// No variable of whoever runs the test counts, and no file.
static int clean(void **state) {
    (void)state;
    static const char *const names[] = {"OLLAMA_HOST", "OLLAMA_NUM_PARALLEL", "OLLAMA_ORIGINS", "OLLAMA_KEEP_ALIVE", "OLLAMA_DEBUG",
        "OLLAMA_KV_CACHE_TYPE", "OLLAMA_CONTEXT_LENGTH", "LLAMA_ARG_CTX_SIZE", "LLAMA_ARG_PORT", "HEARTH_PORT", "HEARTH_CTX",
        "LLAMA_ARG_NO_WEBUI", "LLAMA_ARG_NO_UI", "LLAMA_ARG_N_GPU_LAYERS", "HEARTH_CONFIG", "LLAMA_ARG_HF_REPO", "OLLAMA_MODELS"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) unsetenv(names[i]);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    setenv("HOME", "/nonexistent", 1);
    return 0;
}

static void write_file(char path[64], const char *text) {
    snprintf(path, 64, "/tmp/hearth-config-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void a_server_told_nothing_listens_where_ollama_does(void **state) {
    (void)state;
    loads(LOAD(HTH_CONFIG_HEARTH));
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 11434);
    assert_int_equal(c.keep_alive_ms, 300000);
    assert_true(c.metrics && c.slots && c.cache);
    assert_true(isnan(c.sampling.temperature));
    loads(LOAD(HTH_CONFIG_LLAMA_SERVER));
    assert_int_equal(c.port, 8080);
    assert_int_equal(c.keep_alive_ms, -1);
    assert_false(c.metrics);
}

static void a_flag_beats_the_environment_which_beats_the_file(void **state) {
    (void)state;
    char path[64];
    write_file(path, "{\"ctx\": 1000, \"port\": 1, \"parallel\": 3, \"keep_alive\": \"1h\", \"model\": [\"a\", \"b\"], \"metrics\": false}");
    setenv("LLAMA_ARG_CTX_SIZE", "2000", 1);
    setenv("HEARTH_PORT", "2", 1);
    loads(LOAD(HTH_CONFIG_HEARTH, "--config", path, "--port", "3"));
    assert_int_equal(c.port, 3);
    assert_int_equal(c.n_ctx, 2000);
    assert_int_equal(c.n_parallel, 3);
    assert_int_equal(c.keep_alive_ms, 3600000);
    assert_int_equal(c.models.n, 2);
    assert_false(c.metrics);
    loads(LOAD(HTH_CONFIG_HEARTH, "--config", path, "-m", "c")); // a list is replaced, not mixed
    assert_int_equal(c.models.n, 1);
    assert_string_equal(c.models.items[0], "c");
    setenv("HEARTH_CTX", "4000", 1); // our own name before others'
    loads(LOAD(HTH_CONFIG_HEARTH));
    assert_int_equal(c.n_ctx, 4000);
    unlink(path);
}

static void llama_servers_spellings_are_understood(void **state) {
    (void)state;
    loads(LOAD(HTH_CONFIG_LLAMA_SERVER, "-m", "x.gguf", "-c", "4096", "-np", "4", "-ctk", "q8_0", "--cache-type-v", "q4_0", "-t", "2",
               "--api-key", "a,b", "--no-slots", "--metrics", "--temp", "0.5", "--top_k", "5", "-ub", "128", "--no-webui",
               "--alias", "one,two", "-n", "32", "-to", "5"));
    assert_string_equal(c.models.items[0], "x.gguf");
    assert_int_equal(c.n_ctx, 1024); // shared out among the slots, as there
    assert_int_equal(c.n_parallel, 4);
    assert_string_equal(c.k_type, "q8_0");
    assert_string_equal(c.v_type, "q4_0");
    assert_int_equal(c.api_keys.n, 2);
    assert_false(c.slots);
    assert_true(c.metrics);
    assert_int_equal(c.n_predict, 32);
    assert_int_equal(c.n_chunk, 128);
    assert_int_equal(c.write_timeout_ms, 5000);
    hth_sampler_params p = hth_sampler_default();
    loads(hth_config_sample(&c.sampling, &p, &err));
    assert_true(p.temperature == 0.5f && p.top_k == 5 && p.top_p == hth_sampler_default().top_p);
    loads(LOAD(HTH_CONFIG_LLAMA_SERVER, "-m", "x", "-c", "4096", "-np", "4", "-kvu"));
    assert_int_equal(c.n_ctx, 4096);
    loads(LOAD(HTH_CONFIG_HEARTH, "x", "-c", "4096", "-np", "4"));
    assert_int_equal(c.n_ctx, 4096);
}

static void what_has_no_effect_is_told_and_what_cannot_be_is_refused(void **state) {
    (void)state;
    loads(LOAD(HTH_CONFIG_HEARTH, "-ngl", "99", "-fa", "on", "--jinja", "-fa"));
    assert_int_equal(c.notes.n, 1);
    assert_string_equal(c.notes.items[0], "flag -ngl has no effect: this build computes on the CPU");
    loads(LOAD(HTH_CONFIG_HEARTH, "-ngl", "0", "--no-jinja", "-nocb"));
    assert_int_equal(c.notes.n, 2);
    assert_non_null(strstr(c.notes.items[0], "--no-jinja"));
    refuses(LOAD(HTH_CONFIG_HEARTH, "-hf", "org/repo"), "flag -hf cannot be used: models are not downloaded yet");
    setenv("LLAMA_ARG_HF_REPO", "a/b", 1);
    refuses(LOAD(HTH_CONFIG_HEARTH), "variable LLAMA_ARG_HF_REPO cannot be used");
}

static void wrong_values_name_where_they_came_from(void **state) {
    (void)state;
    char path[64];
    refuses(LOAD(HTH_CONFIG_HEARTH, "--port", "70000"), "flag --port must be a whole number from 0 to 65535, not '70000'");
    refuses(LOAD(HTH_CONFIG_HEARTH, "-c", "many"), "flag -c must be a whole number");
    refuses(LOAD(HTH_CONFIG_HEARTH, "-ctk", "q3"), "flag -ctk must be f32, f16, bf16, q8_0, q5_0 or q4_0, not 'q3'");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--parralel", "3"), "unknown flag --parralel; did you mean --parallel?");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--ctx"), "flag --ctx needs a value");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--metrics=perhaps"), "must be true or false, not 'perhaps'");
    refuses(LOAD(HTH_CONFIG_LLAMA_SERVER, "x.gguf"), "models are given with -m");
    setenv("OLLAMA_NUM_PARALLEL", "x", 1);
    refuses(LOAD(HTH_CONFIG_HEARTH), "variable OLLAMA_NUM_PARALLEL must be a whole number");
    loads(LOAD(HTH_CONFIG_HEARTH, "--version")); // asks for nothing that it could spoil
    loads(LOAD(HTH_CONFIG_LLAMA_SERVER));        // no variable of that program
    unsetenv("OLLAMA_NUM_PARALLEL");
    write_file(path, "{\"ctx\": \"big\"}");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--config", path), "\"ctx\" must be a whole number");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--config", path), path);
    unlink(path);
    write_file(path, "{\"parralel\": 1}");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--config", path), "unknown key parralel; did you mean parallel?");
    unlink(path);
    write_file(path, "{\"port\": [1, 2]}");
    refuses(LOAD(HTH_CONFIG_HEARTH, "--config", path), "is one value, not a list");
    unlink(path);
}

static void OLLAMA_HOST_is_read_in_all_its_forms(void **state) {
    (void)state;
    static const struct { const char *text, *host; int port; bool tls; } forms[] = {
        {"127.0.0.1", "127.0.0.1", 11434, false}, {"127.0.0.1:1234", "127.0.0.1", 1234, false},
        {":8080", "0.0.0.0", 8080, false},        {"0.0.0.0", "0.0.0.0", 11434, false},
        {"example.com", "example.com", 11434, false}, {"example.com:56789", "example.com", 56789, false},
        {"http://example.com", "example.com", 80, false}, {"https://example.com", "example.com", 443, true},
        {"https://example.com:1234/path", "example.com", 1234, true}, {"http://:1", "0.0.0.0", 1, false},
        {"[::1]", "::1", 11434, false}, {"::1", "::1", 11434, false}, {"[::1]:99", "::1", 99, false},
        {"\"1.2.3.4\"", "1.2.3.4", 11434, false}, {" 1.2.3.4 ", "1.2.3.4", 11434, false},
        {"1.2.3.4:5/", "1.2.3.4", 5, false},
    };
    for (size_t i = 0; i < HTH_COUNT(forms); i++) {
        setenv("OLLAMA_HOST", forms[i].text, 1);
        loads(LOAD(HTH_CONFIG_HEARTH));
        if (strcmp(c.host, forms[i].host) != 0 || c.port != forms[i].port || c.tls != forms[i].tls) {
            fail_msg("%s became %s, port %d", forms[i].text, c.host, (int)c.port);
        }
    }
    setenv("OLLAMA_HOST", "0.0.0.0:99999", 1);
    refuses(LOAD(HTH_CONFIG_HEARTH), "the port of variable OLLAMA_HOST");
    setenv("OLLAMA_HOST", "ftp://x", 1);
    refuses(LOAD(HTH_CONFIG_HEARTH), "neither http nor https");
    setenv("OLLAMA_HOST", "0.0.0.0:1", 1);
    loads(LOAD(HTH_CONFIG_HEARTH, "--host", "::1"));
    assert_string_equal(c.host, "::1");
    assert_int_equal(c.port, 1);
}

static void ollamas_other_variables_are_understood(void **state) {
    (void)state;
    setenv("OLLAMA_KEEP_ALIVE", "-1", 1);
    setenv("OLLAMA_NUM_PARALLEL", "7", 1);
    setenv("OLLAMA_CONTEXT_LENGTH", "8192", 1);
    setenv("OLLAMA_KV_CACHE_TYPE", "q8_0", 1);
    setenv("OLLAMA_ORIGINS", "https://a.example, https://*.b.example", 1);
    setenv("OLLAMA_DEBUG", "1", 1);
    loads(LOAD(HTH_CONFIG_HEARTH, "-ctv", "f32"));
    assert_int_equal(c.keep_alive_ms, -1);
    assert_int_equal(c.n_parallel, 7);
    assert_int_equal(c.n_ctx, 8192);
    assert_string_equal(c.k_type, "q8_0");
    assert_string_equal(c.v_type, "f32");
    assert_int_equal(c.origins.n, 2);
    assert_string_equal(c.origins.items[1], "https://*.b.example");
    assert_int_equal(c.log_level, 0);
}

static void durations_are_gos(void **state) {
    (void)state;
    static const struct { const char *text; int64_t ms; } good[] = {
        {"5m", 300000}, {"1h30m", 5400000}, {"500ms", 500}, {"300", 300000}, {"0", 0}, {"-1", -1}, {"-1m", -1}, {"1.5s", 1500},
        {"24h", 86400000}, {"0.5", 500}, {"1ns", 1}};
    static const char *const bad[] = {"", "m", "5x", "1m5", "--1", "1e9", "5 m", "1.2.3s", "99999999999999999999h"};
    int64_t ms = 0;
    for (size_t i = 0; i < HTH_COUNT(good); i++) {
        if (!hth_duration_parse(good[i].text, strlen(good[i].text), &ms)) fail_msg("%s is refused", good[i].text);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        if (hth_duration_parse(bad[i], strlen(bad[i]), &ms)) fail_msg("%s is accepted", bad[i]);
    }
}

static void checking_finds_every_problem(void **state) {
    (void)state;
    hth_str problems;
    hth_str_init(&problems, HTH_MEM_MISC, 65536);
    loads(LOAD(HTH_CONFIG_HEARTH, "/nonexistent/x.gguf", "--tls-cert", "/nonexistent/c", "--prefix", "abc", "--chat-template", "a", "--chat-template-file", "/nonexistent/t",
               "--chat-template-kwargs", "[1]", "--samplers", "top_q"));
    assert_int_equal(hth_config_check(&c, &problems), 8);
    assert_non_null(strstr(problems.p, "model /nonexistent/x.gguf: there is no such file or folder"));
    assert_non_null(strstr(problems.p, "--tls-cert and --tls-key are given together"));
    assert_non_null(strstr(problems.p, "--prefix must begin with /"));
    assert_non_null(strstr(problems.p, "--chat-template and --chat-template-file exclude each other"));
    assert_non_null(strstr(problems.p, "top_q"));
    hth_str_free(&problems);
}

static void printing_shows_sources_and_no_secrets(void **state) {
    (void)state;
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, 65536);
    hth_json_out j = hth_json_out_make(&text, false);
    loads(LOAD(HTH_CONFIG_HEARTH, "--api-key", "very-secret", "-c", "77"));
    hth_config_json(&c, &j);
    assert_false(text.failed);
    assert_null(strstr(text.p, "very-secret"));
    assert_non_null(strstr(text.p, "\"ctx\":{\"value\":77,\"from\":\"flag -c\"}"));
    hth_str_clear(&text);
    hth_config_text(&c, &text);
    assert_false(text.failed);
    assert_null(strstr(text.p, "very-secret"));
    assert_non_null(strstr(text.p, "(flag -c)"));
    hth_str_free(&text);
}

// Counts how often a spelling of "a|b|!c" stands in the table.
static int count(const char *word, size_t n, bool of_env) {
    int found = 0;
    for (size_t i = 0; i < hth_n_settings; i++) {
        const char *p = of_env ? hth_settings[i].env : hth_settings[i].flags;
        for (; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) found += strcspn(p, "|") == n && memcmp(p, word, n) == 0;
    }
    return found;
}

static void no_two_settings_share_a_spelling(void **state) {
    (void)state;
    for (size_t i = 0; i < hth_n_settings; i++) {
        for (int of_env = 0; of_env < 2; of_env++) {
            const char *p = of_env ? hth_settings[i].env : hth_settings[i].flags;
            for (; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) {
                if (count(p, strcspn(p, "|"), of_env) != 1) fail_msg("%s is there twice", p);
            }
        }
        for (size_t k = 0; k < i; k++) assert_string_not_equal(hth_settings[i].name, hth_settings[k].name);
        char dashed[64];
        snprintf(dashed, sizeof dashed, "--%s", hth_settings[i].name);
        if (count(dashed, strlen(dashed), false) != 0) fail_msg("%s is a name and a spelling", dashed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_server_told_nothing_listens_where_ollama_does, clean),
        cmocka_unit_test_setup(a_flag_beats_the_environment_which_beats_the_file, clean),
        cmocka_unit_test_setup(llama_servers_spellings_are_understood, clean),
        cmocka_unit_test_setup(what_has_no_effect_is_told_and_what_cannot_be_is_refused, clean),
        cmocka_unit_test_setup(wrong_values_name_where_they_came_from, clean),
        cmocka_unit_test_setup(OLLAMA_HOST_is_read_in_all_its_forms, clean),
        cmocka_unit_test_setup(ollamas_other_variables_are_understood, clean),
        cmocka_unit_test_setup(durations_are_gos, clean),
        cmocka_unit_test_setup(checking_finds_every_problem, clean),
        cmocka_unit_test_setup(printing_shows_sources_and_no_secrets, clean),
        cmocka_unit_test_setup(no_two_settings_share_a_spelling, clean),
    };
    const int bad = cmocka_run_group_tests(tests, NULL, NULL);
    hth_config_free(&c);
    return bad;
}
