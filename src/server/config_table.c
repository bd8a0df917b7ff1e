// The settings of `hearth serve`, one row each. llama-server's flags that mean something here are spellings of ours;
// those that cannot mean anything are told or refused, never dropped.
#include <math.h>

#include "base/log.h"
#include "server/config_impl.h"

#define AT(f) .offset = offsetof(hth_config, f)
#define BOOL(n_, f, flags_, env_, help_) {.name = n_, .kind = SET_BOOL, AT(f), .flags = flags_, .env = env_, .help = help_}
#define ASK(n_, f, flags_, help_) {.name = n_, .kind = SET_BOOL, AT(f), .flags = flags_, .help = help_, .flag_only = true}
#define INT(n_, f, lo_, hi_, flags_, env_, help_) \
    {.name = n_, .kind = SET_INT, AT(f), .flags = flags_, .env = env_, .value = "N", .help = help_, .lo = lo_, .hi = hi_}
#define TEXT(n_, f, v_, flags_, env_, help_) \
    {.name = n_, .kind = SET_TEXT, AT(f), .flags = flags_, .env = env_, .value = v_, .help = help_}
#define TIME(n_, f, flags_, env_, help_) \
    {.name = n_, .kind = SET_TIME, AT(f), .flags = flags_, .env = env_, .value = "TIME", .help = help_}
#define BYTES(n_, f, flags_, env_, help_) \
    {.name = n_, .kind = SET_BYTES, AT(f), .flags = flags_, .env = env_, .value = "SIZE", .help = help_}
#define LIST(kind_, n_, f, v_, flags_, env_, help_) \
    {.name = n_, .kind = kind_, AT(f), .flags = flags_, .env = env_, .value = v_, .help = help_}
#define CHOICE(kind_, n_, f, choices_, flags_, env_, help_) \
    {.name = n_, .kind = kind_, AT(f), .flags = flags_, .env = env_, .value = choices_, .choices = choices_, .help = help_}
#define SAMPLE(n_, f, lo_, hi_, flags_, env_, help_) \
    {.name = n_, .kind = SET_NUM, AT(sampling.f), .flags = flags_, .env = env_, .value = "X", .help = help_, .lo = lo_, .hi = hi_}
#define IDLE(n_, silent_, flags_, env_, why_) \
    {.name = n_, .kind = SET_IDLE, .flags = flags_, .env = env_, .choices = silent_, .help = why_}
#define IDLE_FLAG(n_, silent_, flags_, env_, why_) \
    {.name = n_, .kind = SET_IDLE_FLAG, .flags = flags_, .env = env_, .choices = silent_, .help = why_}
#define REFUSED(n_, flags_, env_, why_) {.name = n_, .kind = SET_REFUSED, .flags = flags_, .env = env_, .help = why_}
#define REFUSED_FLAG(n_, flags_, env_, why_) {.name = n_, .kind = SET_REFUSED_FLAG, .flags = flags_, .env = env_, .help = why_}

#define KV_TYPES "f32|f16|bf16|q8_0|q5_0|q4_0"
#define NO_GPU "this build computes on the CPU"
#define NO_DOWNLOAD "models are not downloaded yet: give a file or folder with --model"
#define NO_DRAFT "guesses come from --model-draft, from a layer of the model's own, or from the text itself"
#define DRAFT_AS_MODEL "the draft model runs as the model does"
#define NO_MEDIA "models that see or hear are not served yet"
#define NO_ROPE "positions are scaled as the model's file says"
#define NO_AGENT "this server runs no tools"
#define BIG 9007199254740991.0

const hth_setting hth_settings[] = {
    ASK("help", help, "-h|--usage", "show this help"),
    ASK("version", version, NULL, "print the version"),
    ASK("check", check, NULL, "check settings, files and models, and end"),
    ASK("print-config", print_config, NULL, "print all settings with their values and sources, and end"),
    ASK("json", json, NULL, "with --print-config and --check: as JSON"),
    TEXT("config", file, "FILE", NULL, NULL, "JSON file of settings (default: serve.json in the config folder)"),

    {.name = "new-key", .kind = SET_TEXT, AT(new_key), .value = "NAME[:use|admin[:N]]", .flag_only = true,
     .help = "make a key for a client (admin: may change models; N: requests at once), print it, and end"},

    TEXT("host", host, "ADDRESS", NULL, "LLAMA_ARG_HOST", "where to listen (default: 127.0.0.1)"),
    INT("port", port, 0, 65535, NULL, "LLAMA_ARG_PORT",
        "where to listen, 0: any free port (default: 11434; as llama-server 8080)"),
    TEXT("prefix", prefix, "PATH", "--api-prefix", "LLAMA_ARG_API_PREFIX", "every path begins with this, as behind a proxy"),
    LIST(SET_COMMAS, "allow-from", allow_from, "CIDR", NULL, NULL, "addresses that may come without a key, like 192.168.0.0/16"),
    LIST(SET_COMMAS, "allow-host", allow_host, "NAME", NULL, NULL, "names of this server that browsers may use; * for all"),
    LIST(SET_COMMAS, "origins", origins, "ORIGIN", "--cors-origins", "OLLAMA_ORIGINS|LLAMA_ARG_CORS_ORIGINS",
         "web pages that may ask, besides those of this machine, like https://chat.example; * for all"),
    TEXT("cors-methods", cors_methods, "METHODS", NULL, "LLAMA_ARG_CORS_METHODS",
        "methods that those pages may use (default: all)"),
    TEXT("cors-headers", cors_headers, "HEADERS", NULL, "LLAMA_ARG_CORS_HEADERS",
        "headers that those pages may send (default: all)"),
    BOOL("cors-credentials", cors_credentials, NULL, "LLAMA_ARG_CORS_CREDENTIALS", "those pages may send credentials"),
    LIST(SET_COMMAS, "trusted-proxies", trusted_proxies, "CIDR", "--trusted-proxy", NULL,
         "proxies whose X-Forwarded-For is believed"),
    {.name = "api-key", .kind = SET_COMMAS, AT(api_keys), .env = "LLAMA_API_KEY", .value = "KEY", .is_secret = true,
     .help = "a key for clients; better: --api-key-file, or --new-key"},
    TEXT("api-key-file", api_key_file, "FILE", NULL, "LLAMA_ARG_API_KEY_FILE", "a file of keys, one in each line"),
    BOOL("tls", tls, NULL, NULL, "serve HTTPS; without --tls-cert with a certificate made on first use"),
    TEXT("tls-cert", tls_cert, "FILE", "--ssl-cert-file", "LLAMA_ARG_SSL_CERT_FILE", "PEM certificate chain"),
    TEXT("tls-key", tls_key, "FILE", "--ssl-key-file", "LLAMA_ARG_SSL_KEY_FILE", "PEM private key"),

    BYTES("max-body", max_body_bytes, NULL, NULL, "largest body of a request, unpacked (default: 64M)"),
    INT("max-connections", n_connection, 1, 1000000, NULL, NULL, "connections at once (default: 4096)"),
    INT("queue", n_queue, 1, 1000000, NULL, "OLLAMA_MAX_QUEUE", "requests that wait, others get 429 (default: 512)"),
    INT("http-threads", n_http_thread, -1, 256, "--threads-http", "LLAMA_ARG_THREADS_HTTP",
        "threads for connections (default: by themselves)"),
    TIME("read-timeout", read_timeout_ms, NULL, NULL, "for a request to arrive (default: 60s)"),
    TIME("write-timeout", write_timeout_ms, "-to|--timeout", "LLAMA_ARG_TIMEOUT",
        "for a reader that takes nothing (default: 10m)"),
    TIME("request-timeout", request_timeout_ms, NULL, NULL, "for an answer to be complete, 0: any time (default: 0)"),
    TIME("ping", ping_ms, "--sse-ping-interval", "LLAMA_ARG_SSE_PING_INTERVAL",
        "between signs of life in a stream, 0: none (default: 15s)"),
    TIME("drain", drain_ms, NULL, NULL, "for requests to end when the server stops (default: 30s)"),

    LIST(SET_LIST, "model", models, "PATH", "-m", "LLAMA_ARG_MODEL", "a model to serve; again for more"),
    LIST(SET_LIST, "alias", aliases, "NAMES", "-a", "LLAMA_ARG_ALIAS",
        "names of a model, with commas; again: of the next model"),
    TEXT("models-dir", models_dir, "FOLDER", "--models", "OLLAMA_MODELS|LLAMA_ARG_MODELS_DIR", "serve what lies in this folder"),
    BOOL("any-model", any_model, NULL, NULL, "an unknown model's name means the first model"),
    IDLE_FLAG("models-autoload", "on", NULL, "LLAMA_ARG_MODELS_AUTOLOAD", "models are loaded when they are asked for"),
    INT("max-models", n_model, 0, 1024, "--models-max", "OLLAMA_MAX_LOADED_MODELS|LLAMA_ARG_MODELS_MAX",
        "models loaded at once, 0: as memory allows (default: 0)"),
    TIME("keep-alive", keep_alive_ms, "--sleep-idle-seconds", "OLLAMA_KEEP_ALIVE",
        "how long an unused model stays loaded, -1: forever (default: 5m)"),
    TIME("load-timeout", load_timeout_ms, NULL, "OLLAMA_LOAD_TIMEOUT", "for a model to load (default: 5m)"),
    BYTES("memory", memory_bytes, NULL, NULL, "most memory for all models (default: what is free)"),
    LIST(SET_COMMAS, "lora", lora, "FILE[:SCALE]", "--lora-scaled", NULL, "low-rank adapters for the first model"),
    BOOL("lora-init-without-apply", lora_idle, NULL, NULL, "adapters are used only where a request asks"),

    INT("ctx", n_ctx, 0, BIG, "-c|--ctx-size|--context-length", "OLLAMA_CONTEXT_LENGTH|LLAMA_ARG_CTX_SIZE",
        "most tokens of a conversation, 0: what the model and memory allow (default: 0)"),
    INT("parallel", n_parallel, -1, 4096, "-np|--slots-count", "OLLAMA_NUM_PARALLEL|LLAMA_ARG_N_PARALLEL",
        "answers at work at once (default: 16)"),
    INT("threads", n_thread, -1, 1024, "-t", "LLAMA_ARG_THREADS", "threads that compute (default: one per physical core)"),
    INT("chunk", n_chunk, 0, 65536, "-ub|--ubatch-size", "LLAMA_ARG_UBATCH", "most prompt tokens of a step (default: 512)"),
    INT("predict", n_predict, -1, BIG, "-n|--n-predict", "LLAMA_ARG_N_PREDICT",
        "tokens of an answer where a request says nothing, -1: no limit"),
    INT("keep", n_keep, -1, BIG, NULL, NULL, "tokens kept at the beginning when a context rolls"),
    CHOICE(SET_CHOICE, "numa", numa, "off|distribute", NULL, "LLAMA_ARG_NUMA",
           "spread threads and weights over the machine's memory nodes (default: off)"),
    BOOL("mmap", mmap, NULL, "LLAMA_ARG_MMAP",
        "map weights from their files (default); --no-mmap reads them into memory, in large pages"),
    CHOICE(SET_CHOICE, "load-mode", load_mode, "auto|mmap|none|dio|mlock|mmap+mlock", "-lm", "LLAMA_ARG_LOAD_MODE",
        "auto and mmap: map weights; others: as --no-mmap; nothing is locked"),
    CHOICE(SET_NAME, "ctk", k_type, KV_TYPES, "-ctk|--cache-type-k", "LLAMA_ARG_CACHE_TYPE_K", "type of the keys (default: f16)"),
    CHOICE(SET_NAME, "ctv", v_type, KV_TYPES, "-ctv|--cache-type-v", "LLAMA_ARG_CACHE_TYPE_V",
        "type of the values (default: f16)"),
    CHOICE(SET_NAME, "activations", activations, "auto|q8|q16|f32", NULL, NULL, "input of quantized weights"),
    BOOL("cache", cache, "--cache-prompt", "LLAMA_ARG_CACHE_PROMPT", "keep beginnings of ended requests (default)"),
    {.name = "cache-ram", .kind = SET_CACHE, AT(cache), .flags = "-cram", .env = "LLAMA_ARG_CACHE_RAM", .value = "MIB",
     .help = "0: as --no-cache; -1: all memory that is free (default)", .lo = -1, .hi = 1e12},
    TEXT("cache-folder", cache_folder, "FOLDER", NULL, NULL, "keeps beginnings over restarts"),
    BOOL("kv-unified", kv_unified, "-kvu|!-no-kvu", "LLAMA_ARG_KV_UNIFIED",
        "as llama-server: --ctx is not divided by --parallel"),
    BOOL("context-shift", context_shift, NULL, "LLAMA_ARG_CONTEXT_SHIFT",
        "a full context drops its oldest tokens instead of ending"),
    BOOL("forcing", forcing, NULL, NULL, "what a schema leaves no choice of is written without asking the model (default)"),

    SAMPLE("temp", temperature, 0, 1000, "--temperature", "LLAMA_ARG_TEMPERATURE", "temperature where a request says nothing"),
    SAMPLE("top-k", top_k, 0, 2147483647, NULL, "LLAMA_ARG_TOP_K", "choose among the likeliest, 0: all"),
    SAMPLE("top-p", top_p, 0, 1, NULL, "LLAMA_ARG_TOP_P", "choose among the likeliest that share this, 1: all"),
    SAMPLE("min-p", min_p, 0, 1, NULL, "LLAMA_ARG_MIN_P", "leave out tokens below this part of the likeliest"),
    SAMPLE("typical", typical_p, 0, 1, "--typical-p", NULL, "locally typical sampling, 1: off"),
    SAMPLE("top-n-sigma", top_n_sigma, -1, 1000, "--top-nsigma", NULL, "deviations below the best logit, -1: off"),
    SAMPLE("seed", seed, -1, 4294967295.0, "-s", NULL, "seed, -1: a new one each time"),
    SAMPLE("repeat-last-n", repeat_last_n, -1, 2147483647, NULL, NULL, "tokens that penalties look back on"),
    SAMPLE("repeat-penalty", repeat_penalty, 1e-6, 1000, NULL, "LLAMA_ARG_REPEAT_PENALTY", "weakens repeated tokens, 1: off"),
    SAMPLE("presence-penalty", presence_penalty, -1000, 1000, NULL, "LLAMA_ARG_PRESENCE_PENALTY", "taken from repeated tokens"),
    SAMPLE("frequency-penalty", frequency_penalty, -1000, 1000, NULL, "LLAMA_ARG_FREQUENCY_PENALTY", "taken for each repetition"),
    SAMPLE("xtc-probability", xtc_probability, 0, 1, NULL, NULL, "chance of leaving out the likeliest"),
    SAMPLE("xtc-threshold", xtc_threshold, 0, 1, NULL, NULL, "share from which they count"),
    SAMPLE("dynatemp-range", dynatemp_range, 0, 1000, NULL, NULL, "temperature varies by this, by entropy"),
    SAMPLE("dynatemp-exp", dynatemp_exponent, 0, 1000, NULL, NULL, "exponent of that"),
    SAMPLE("dry-multiplier", dry_multiplier, 0, 1000, NULL, NULL, "weakens what lengthens repetitions, 0: off"),
    SAMPLE("dry-base", dry_base, 0, 1000, NULL, NULL, "how fast that grows"),
    SAMPLE("dry-allowed-length", dry_allowed_length, 0, 2147483647, NULL, NULL, "longest repetition that costs nothing"),
    SAMPLE("dry-penalty-last-n", dry_last_n, -1, 2147483647, NULL, NULL, "tokens searched for repetitions"),
    SAMPLE("mirostat", mirostat, 0, 2, NULL, NULL, "mirostat 1 or 2, 0: off"),
    SAMPLE("mirostat-ent", mirostat_tau, 0, 1000, NULL, NULL, "its target surprise"),
    SAMPLE("mirostat-lr", mirostat_eta, 0, 1000, NULL, NULL, "its learning rate"),
    TEXT("model-draft", model_draft, "PATH", "-md|--spec-draft-model", "LLAMA_ARG_SPEC_DRAFT_MODEL",
        "a small model of the same vocabulary that guesses ahead for the first model"),
    INT("draft-max", n_draft, -1, 31, "--draft|--draft-n|--spec-draft-n-max", "LLAMA_ARG_SPEC_DRAFT_N_MAX|LLAMA_ARG_DRAFT_MAX",
        "tokens that are guessed per step, 0: none, -1: as far as it pays (default)"),
    TEXT("samplers", sampling.samplers, "NAMES", NULL, NULL, "order of the filters, with ;"),

    TEXT("chat-template", chat_template, "NAME|JINJA", NULL, "LLAMA_ARG_CHAT_TEMPLATE", "in place of the model's own"),
    TEXT("chat-template-file", chat_template_file, "FILE", NULL, "LLAMA_ARG_CHAT_TEMPLATE_FILE", "the same from a file"),
    TEXT("chat-template-kwargs", chat_template_kwargs, "JSON", NULL, "LLAMA_ARG_CHAT_TEMPLATE_KWARGS",
        "variables for the template"),
    CHOICE(SET_CHOICE, "reasoning-format", reasoning_format, "auto|none|deepseek", NULL, "LLAMA_ARG_THINK",
           "where reasoning appears"),
    CHOICE(SET_CHOICE, "reasoning", reasoning, "auto|on|off", "-rea", "LLAMA_ARG_REASONING",
        "think where a request says nothing"),
    INT("reasoning-budget", reasoning_budget, -1, BIG, NULL, "LLAMA_ARG_THINK_BUDGET", "most tokens of reasoning, -1: no limit"),
    TEXT("reasoning-budget-message", reasoning_budget_message, "TEXT", NULL, "LLAMA_ARG_THINK_BUDGET_MESSAGE",
        "what the model is made to say where that ends a thought"),
    BOOL("prefill-assistant", prefill_assistant, NULL, "LLAMA_ARG_PREFILL_ASSISTANT",
        "an assistant's message at the end is continued (default)"),
    IDLE_FLAG("embedding", "on", "--embeddings", "LLAMA_ARG_EMBEDDINGS", "a model that can make embeddings does"),
    IDLE_FLAG("rerank", "on", "--reranking", "LLAMA_ARG_RERANKING", "a model that can rank does"),
    CHOICE(SET_NAME, "pooling", pooling, "none|mean|cls|last|rank", NULL, "LLAMA_ARG_POOLING", "how embeddings are pooled"),

    BOOL("metrics", metrics, NULL, "LLAMA_ARG_ENDPOINT_METRICS", "serve /metrics (default; as llama-server not)"),
    BOOL("slots", slots, NULL, "LLAMA_ARG_ENDPOINT_SLOTS", "serve /slots (default)"),
    BOOL("props", props, NULL, "LLAMA_ARG_ENDPOINT_PROPS", "POST /props may change settings"),
    IDLE_FLAG("webui", "off", "--ui", "LLAMA_ARG_UI", "there is no page yet"),
    TEXT("slot-save-path", slot_folder, "FOLDER", NULL, NULL, "where slots are saved"),
    TEXT("state-folder", state_folder, "FOLDER", NULL, NULL, "keys, certificate and stored responses (default: the user's)"),
    BOOL("store", store, NULL, NULL, "keep responses that clients ask to be kept (default)"),
    BYTES("store-size", store_bytes, NULL, NULL, "most for them (default: 1G)"),
    TIME("store-age", store_age_ms, NULL, NULL, "how long they are kept (default: 720h)"),
    REFUSED("media-from", NULL, NULL, "nothing is fetched: models here take text"),

    CHOICE(SET_CHOICE, "log-level", log_level, "debug|info|warn|error|off", NULL, NULL, "what is told (default: info)"),
    CHOICE(SET_CHOICE, "log-format", log_format, "text|json", NULL, NULL, "how (default: text)"),
    TEXT("log-file", log_file, "FILE", NULL, "LLAMA_ARG_LOG_FILE", "where (default: standard error)"),
    BOOL("access-log", access_log, NULL, NULL, "a line for each request (default)"),
    TEXT("request-log", request_log, "FILE", NULL, NULL, "writes requests with their texts to a file"),
    {.name = "verbose", .kind = SET_TO, AT(log_level), .flags = "-v|--log-verbose", .env = "OLLAMA_DEBUG",
        .lo = HTH_LOG_DEBUG, .help = "as --log-level debug"},
    {.name = "log-disable", .kind = SET_TO, AT(log_level), .lo = HTH_LOG_ERROR + 1, .help = "as --log-level off"},
    {.name = "log-jsonl", .kind = SET_TO, AT(log_format), .env = "LLAMA_ARG_LOG_JSONL", .lo = HTH_LOG_JSON,
        .help = "as --log-format json"},

    IDLE("gpu-layers", "0|auto", "-ngl|--n-gpu-layers", "LLAMA_ARG_N_GPU_LAYERS", NO_GPU),
    IDLE("main-gpu", NULL, "-mg", "LLAMA_ARG_MAIN_GPU", NO_GPU),
    IDLE("split-mode", "none", "-sm", "LLAMA_ARG_SPLIT_MODE", NO_GPU),
    IDLE("tensor-split", NULL, "-ts", "LLAMA_ARG_TENSOR_SPLIT", NO_GPU),
    IDLE("device", "none", "-dev", "LLAMA_ARG_DEVICE", NO_GPU),
    IDLE("override-tensor", NULL, "-ot", "LLAMA_ARG_OVERRIDE_TENSOR", NO_GPU),
    IDLE("n-cpu-moe", NULL, "-ncmoe", "LLAMA_ARG_N_CPU_MOE", NO_GPU),
    IDLE_FLAG("cpu-moe", "on", "-cmoe", "LLAMA_ARG_CPU_MOE", NO_GPU),
    IDLE_FLAG("kv-offload", NULL, "-kvo|!-nkvo", "LLAMA_ARG_KV_OFFLOAD", NO_GPU),
    IDLE_FLAG("op-offload", NULL, NULL, NULL, NO_GPU),
    IDLE("fit", "off|on", "-fit", "LLAMA_ARG_FIT", "the context always fits the memory that there is"),
    IDLE("fit-target", NULL, "-fitt", "LLAMA_ARG_FIT_TARGET", "--memory says how much there is"),
    IDLE("fit-ctx", NULL, "-fitc", "LLAMA_ARG_FIT_CTX", "--ctx says what is wanted"),
    {.name = "flash-attn", .kind = SET_IDLE, .flags = "-fa", .env = "OLLAMA_FLASH_ATTENTION|LLAMA_ARG_FLASH_ATTN", .bare = "on",
     .choices = "on|auto|1|true|enabled", .help = "attention is always computed block by block"},
    IDLE("threads-batch", NULL, "-tb", NULL, "prompts use the threads of --threads"),
    IDLE("batch-size", NULL, "-b", "LLAMA_ARG_BATCH", "--chunk says how many prompt tokens a step takes"),
    IDLE("draft-min", "0", "--draft-n-min|--spec-draft-n-min", "LLAMA_ARG_SPEC_DRAFT_N_MIN|LLAMA_ARG_DRAFT_MIN",
         "guesses are as long as they pay"),
    IDLE("draft-p-min", NULL, "--spec-draft-p-min", "LLAMA_ARG_SPEC_DRAFT_P_MIN", "a guess ends where the draft model is unsure"),
    IDLE("ctx-size-draft", NULL, "-cd", "LLAMA_ARG_CTX_SIZE_DRAFT", DRAFT_AS_MODEL),
    IDLE("threads-draft", NULL, "-td|--spec-draft-threads", NULL, DRAFT_AS_MODEL),
    IDLE("threads-batch-draft", NULL, "-tbd|--spec-draft-threads-batch", NULL, DRAFT_AS_MODEL),
    IDLE("cache-type-k-draft", "f16", "-ctkd|--spec-draft-type-k", "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K", "the draft model's keys are f16"),
    IDLE("cache-type-v-draft", "f16", "-ctvd|--spec-draft-type-v", "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V", "the draft model's values are f16"),
    IDLE("gpu-layers-draft", "0|auto", "-ngld|--n-gpu-layers-draft|--spec-draft-ngl", "LLAMA_ARG_N_GPU_LAYERS_DRAFT", NO_GPU),
    IDLE("device-draft", "none", "-devd|--spec-draft-device", NULL, NO_GPU),
    IDLE("cache-reuse", "0", NULL, "LLAMA_ARG_CACHE_REUSE", "beginnings are reused without it"),
    IDLE("slot-prompt-similarity", NULL, "-sps", NULL, "the longest beginning is always found"),
    IDLE("defrag-thold", NULL, "-dt", "LLAMA_ARG_DEFRAG_THOLD", "there is nothing to defragment"),
    IDLE("ctx-checkpoints", NULL, "-ctxcp|--swa-checkpoints", "LLAMA_ARG_CTX_CHECKPOINTS", "snapshots are made by themselves"),
    IDLE("prio", "0", NULL, NULL, "the system's priorities are left alone"),
    IDLE("poll", NULL, NULL, NULL, "threads wait in their own way"),
    IDLE("verbosity", NULL, "-lv|--log-verbosity", "LLAMA_ARG_LOG_VERBOSITY", "--log-level says what is told"),
    IDLE("log-colors", "auto|off", NULL, "LLAMA_ARG_LOG_COLORS", "the log has no colours"),
    IDLE("gpu-overhead", NULL, NULL, "OLLAMA_GPU_OVERHEAD", NO_GPU),
    IDLE_FLAG("swa-full", NULL, NULL, "LLAMA_ARG_SWA_FULL", "windows are kept where they are needed"),
    IDLE_FLAG("cont-batching", "on", "-cb|!-nocb", "LLAMA_ARG_CONT_BATCHING", "requests always share steps"),
    IDLE_FLAG("cache-idle-slots", "on", NULL, "LLAMA_ARG_CACHE_IDLE_SLOTS", "beginnings are kept as long as there is room"),
    IDLE_FLAG("backend-sampling", NULL, "-bs", "LLAMA_ARG_BACKEND_SAMPLING", "tokens are always chosen here"),
    IDLE("tags", NULL, NULL, "LLAMA_ARG_TAGS", "models are listed without them"),
    IDLE_FLAG("mlock", NULL, NULL, "LLAMA_ARG_MLOCK", "what is in memory is left to the system; --no-mmap reads weights into it"),
    IDLE_FLAG("jinja", "on", NULL, "LLAMA_ARG_JINJA", "templates are always run"),
    IDLE_FLAG("repack", NULL, "!-nr", "LLAMA_ARG_REPACK", "weights are used as they lie"),
    IDLE_FLAG("warmup", "on", NULL, NULL, "there is no warming up"),
    IDLE_FLAG("perf", "on", NULL, "LLAMA_ARG_PERF", "time is always measured"),
    IDLE_FLAG("offline", "on", NULL, "LLAMA_ARG_OFFLINE", "nothing is ever fetched"),
    IDLE_FLAG("log-prefix", "on", NULL, "LLAMA_ARG_LOG_PREFIX", "lines always have one"),
    IDLE_FLAG("log-timestamps", "on", NULL, "LLAMA_ARG_LOG_TIMESTAMPS", "lines always have one"),
    IDLE_FLAG("sched-spread", NULL, NULL, "OLLAMA_SCHED_SPREAD", NO_GPU),
    IDLE_FLAG("reasoning-preserve", "on", NULL, "LLAMA_ARG_REASONING_PRESERVE",
        "the template decides what it keeps of earlier reasoning"),

    REFUSED("hf-repo", "-hf|-hfr", "LLAMA_ARG_HF_REPO", NO_DOWNLOAD),
    REFUSED("hf-file", "-hff", "LLAMA_ARG_HF_FILE", NO_DOWNLOAD),
    REFUSED("model-url", "-mu", "LLAMA_ARG_MODEL_URL", NO_DOWNLOAD),
    REFUSED("docker-repo", "-dr", "LLAMA_ARG_DOCKER_REPO", NO_DOWNLOAD),
    REFUSED("mmproj", "-mm|--mmproj-url", "LLAMA_ARG_MMPROJ|LLAMA_ARG_MMPROJ_URL", NO_MEDIA),
    REFUSED("media-path", NULL, NULL, NO_MEDIA),
    REFUSED("spec-type", NULL, "LLAMA_ARG_SPEC_TYPE", NO_DRAFT),
    REFUSED("rope-scaling", NULL, "LLAMA_ARG_ROPE_SCALING_TYPE", NO_ROPE),
    REFUSED("rope-scale", NULL, "LLAMA_ARG_ROPE_SCALE", NO_ROPE),
    REFUSED("rope-freq-base", NULL, "LLAMA_ARG_ROPE_FREQ_BASE", NO_ROPE),
    REFUSED("rope-freq-scale", NULL, "LLAMA_ARG_ROPE_FREQ_SCALE", NO_ROPE),
    REFUSED("yarn-orig-ctx", NULL, "LLAMA_ARG_YARN_ORIG_CTX", NO_ROPE),
    REFUSED("control-vector", "--control-vector-scaled", NULL, "control vectors are not known here"),
    REFUSED("override-kv", NULL, NULL, "a model's metadata is taken as its file has it"),
    REFUSED("grammar", "--grammar-file", NULL, "grammars come with requests"),
    REFUSED("json-schema", "-j|-jf|--json-schema-file", NULL, "schemas come with requests"),
    REFUSED("logit-bias", "-l", NULL, "biases come with requests"),
    REFUSED("rpc", NULL, "LLAMA_ARG_RPC", "there are no remote devices here"),
    REFUSED("path", NULL, "LLAMA_ARG_STATIC_PATH", "no files are served"),
    REFUSED("models-preset", NULL, "LLAMA_ARG_MODELS_PRESET", "presets are not read: see --config"),
    REFUSED("tools", NULL, "LLAMA_ARG_TOOLS", NO_AGENT),
    REFUSED("mcp-servers-config", "--mcp-servers-json", "LLAMA_ARG_MCP_SERVERS_CONFIG|LLAMA_ARG_MCP_SERVERS_JSON", NO_AGENT),
    REFUSED_FLAG("agent", "-ag", "LLAMA_ARG_AGENT", NO_AGENT),
    REFUSED_FLAG("reuse-port", NULL, "LLAMA_ARG_REUSE_PORT", "two servers on one port would share its clients by chance"),
};
const size_t hth_n_settings = HTH_COUNT(hth_settings);
_Static_assert(HTH_COUNT(hth_settings) <= HTH_CONFIG_MAX_SETTINGS, "room for every setting's source");

void hth_config_defaults(hth_config *c, hth_config_style style) {
    const double none = NAN;
    const bool is_llama = style == HTH_CONFIG_LLAMA_SERVER;
    *c = (hth_config){
        .style = style, .host = "127.0.0.1", .port = is_llama ? 8080 : 11434, .prefix = "",
        .max_body_bytes = (uint64_t)64 << 20, .n_connection = 4096,
        .n_queue = 512, .read_timeout_ms = 60000, .write_timeout_ms = 600000, .ping_ms = 15000, .drain_ms = 30000,
        .keep_alive_ms = is_llama ? -1 : 300000, .load_timeout_ms = 300000, .n_predict = -1, .n_draft = -1,
        .cache = true, .mmap = true, .reasoning_budget = -1, .cors_credentials = is_llama,
        .cors_methods = is_llama ? "GET, POST, DELETE, OPTIONS" : NULL, .cors_headers = is_llama ? "*" : NULL,
        .prefill_assistant = true, .forcing = true, .metrics = !is_llama,
        .slots = true, .store = true, .store_bytes = 1000000000,
        .store_age_ms = (int64_t)720 * 3600 * 1000, .log_level = HTH_LOG_INFO, .access_log = true,
        .sampling = {none, none, none, none, none, none, none, none, none, none, none, none,
                     none, none, none, none, none, none, none, none, none, none, NULL},
    };
    hth_arena_init(&c->arena, HTH_MEM_MISC, (uint64_t)16 << 20);
}
