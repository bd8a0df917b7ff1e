// What `hearth serve` is told: one table of settings (config_table.c), each with its flag, the spellings of other
// servers' flags and environment variables, and its key in the config file. A flag beats the environment, which beats
// the file, which beats the default. A value that is wrong is an error that names where it came from.
#ifndef HTH_SERVER_CONFIG_H
#define HTH_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json_out.h"
#include "base/str.h"

struct hth_sampler_params; // engine/sampler.h

#define HTH_CONFIG_MAX_LIST 64
#define HTH_CONFIG_MAX_SETTINGS 208

typedef struct hth_config_list {
    const char *items[HTH_CONFIG_MAX_LIST];
    size_t n;
} hth_config_list;

// Whose command line it is. As llama-server the defaults are that program's too (port 8080, /slots shown, ...), and
// Ollama's variables are not read.
typedef enum hth_config_style { HTH_CONFIG_HEARTH, HTH_CONFIG_LLAMA_SERVER } hth_config_style;

typedef enum hth_config_origin { HTH_FROM_DEFAULT, HTH_FROM_FILE, HTH_FROM_ENV, HTH_FROM_FLAG } hth_config_origin;

typedef enum hth_reasoning_format {
    HTH_REASONING_AUTO,            // apart from the content where the template knows reasoning
    HTH_REASONING_NONE,            // left in the content
    HTH_REASONING_DEEPSEEK,        // apart
} hth_reasoning_format;

typedef enum hth_on_off { HTH_SWITCH_AUTO, HTH_SWITCH_ON, HTH_SWITCH_OFF } hth_on_off;

typedef enum hth_log_format { HTH_LOG_TEXT, HTH_LOG_JSON } hth_log_format;

// Sampling where a request says nothing: NAN is what was not given, and the model's own then holds.
typedef struct hth_config_sampling {
    double temperature, top_k, top_p, min_p, typical_p, top_n_sigma, seed;
    double repeat_last_n, repeat_penalty, presence_penalty, frequency_penalty;
    double xtc_probability, xtc_threshold, dynatemp_range, dynatemp_exponent;
    double dry_multiplier, dry_base, dry_allowed_length, dry_last_n;
    double mirostat, mirostat_tau, mirostat_eta;
    const char *samplers; // an order, see hth_sampler_parse_order; NULL: not given
} hth_config_sampling;

// Texts are never NULL unless it says so; durations in ms, -1: without end.
typedef struct hth_config {
    // instead of serving
    bool help, version, check, print_config, json;
    const char *new_key; // "NAME[:use|admin[:N]]"; NULL: not asked for
    const char *file; // the config file; NULL: the usual one, where there is one

    // who may come
    const char *host;
    int64_t port; // 0: any free one
    const char *prefix; // "" or "/path"
    hth_config_list allow_from, allow_host, origins, trusted_proxies;
    const char *cors_methods, *cors_headers; // NULL: what is asked for
    bool cors_credentials;
    hth_config_list api_keys; // secrets
    const char *api_key_file; // NULL: none
    bool tls;
    const char *tls_cert, *tls_key; // NULL: a self-signed one where `tls`

    // limits
    uint64_t max_body_bytes;
    int64_t n_connection, n_queue, n_http_thread;
    int64_t read_timeout_ms;  // for a request to arrive whole, and between its bytes
    int64_t write_timeout_ms; // for a reader that takes nothing
    int64_t request_timeout_ms; // for a request to be answered; 0: none
    int64_t ping_ms;          // keep-alives while nothing else is to be sent; 0: none
    int64_t drain_ms;         // for requests to end when the server is told to

    // models
    hth_config_list models, aliases; // aliases[i] names models[i]; each may hold several, with commas
    const char *models_dir;   // NULL: none
    bool any_model;           // an unknown model's name means the first model
    int64_t n_model;          // most that are loaded at once; 0: as many as memory holds
    int64_t keep_alive_ms, load_timeout_ms;
    uint64_t memory_bytes;    // for all models together; 0: what the machine has free
    hth_config_list lora;     // "PATH" or "PATH:SCALE"
    bool lora_idle;           // adapters wait for a request that asks for them

    // how models run
    int64_t n_ctx, n_parallel, n_thread, n_chunk, n_predict, n_keep;
    const char *k_type, *v_type, *activations; // NULL: the engine's own
    int numa; // 1: spread over memory nodes
    bool mmap; // false: weights are read into memory
    int load_mode; // llama-server's word for it: 0 auto, 1 mmap, others read
    bool cache;               // beginnings of ended requests are kept
    const char *cache_folder; // NULL: none
    const char *model_draft; // guesses for the first model; NULL: none
    int64_t n_draft;          // tokens that are guessed per step; 0: none, -1: as far as it pays
    bool context_shift;
    bool forcing;             // what a grammar leaves no choice of is written without asking the model
    bool kv_unified;          // as llama-server: n_ctx is each answer's, not shared out among n_parallel
    hth_config_sampling sampling;

    // what models say
    const char *chat_template, *chat_template_file, *chat_template_kwargs; // NULL: the model's own; kwargs are JSON
    int reasoning_format;     // hth_reasoning_format
    int reasoning;            // hth_on_off: thinking, where the template can do both
    int64_t reasoning_budget; // tokens; -1: no limit
    const char *reasoning_budget_message; // said where it ends a thought; NULL: the family's own words
    bool prefill_assistant;
    const char *pooling;      // NULL: the model's own

    // what is served
    bool metrics, slots, props;
    const char *slot_folder;  // where /slots/N?action=save writes; NULL: refused
    const char *state_folder; // keys, certificate, stored responses; NULL: the usual one
    bool store;               // /v1/responses keeps what it is told to
    uint64_t store_bytes;
    int64_t store_age_ms;

    // what is told
    int log_level;            // hth_log_level
    int log_format;           // hth_log_format
    const char *log_file;     // NULL: standard error
    bool access_log;
    const char *request_log;  // a file that gets bodies of requests; NULL: none

    hth_config_list notes;    // sentences to show: what was accepted without having an effect
    const char *origin_of[HTH_CONFIG_MAX_SETTINGS]; // by place in the table: "flag -c", "variable X"; NULL: default
    uint8_t origin[HTH_CONFIG_MAX_SETTINGS];        // hth_config_origin
    hth_config_style style;
    hth_arena arena; // owns the texts
} hth_config;

// Reads argv [argc], the words after the command's name, the environment and the file. HTH_ERR_RANGE is a wrong
// command line or value. hth_config_free in either case.
HTH_NODISCARD hth_code hth_config_load(int argc, char *const *argv, hth_config_style style, hth_config *out,
                                       hth_err *err);
void hth_config_free(hth_config *c);

// What single settings cannot tell: files that are not there, one setting that needs another. Every problem becomes
// a line of `problems`; returns their number.
size_t hth_config_check(const hth_config *c, hth_str *problems);

// All settings with their values and where they came from; secrets are not shown. One object.
void hth_config_json(const hth_config *c, hth_json_out *j);
void hth_config_text(const hth_config *c, hth_str *to);
void hth_config_help(hth_config_style style, hth_str *to);

// Changes what was given.
HTH_NODISCARD hth_code hth_config_sample(const hth_config_sampling *given, struct hth_sampler_params *p, hth_err *err);

// The path of a file in the state folder, which is made where it is missing.
HTH_NODISCARD hth_code hth_config_state_path(const hth_config *c, const char *name, hth_str *path, hth_err *err);

// "5m", "1h30m", "500ms" as Go writes durations; a plain number is seconds. Less than zero is -1: without end.
HTH_NODISCARD bool hth_duration_parse(const char *text, size_t n, int64_t *ms);

#endif
