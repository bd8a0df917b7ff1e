// The server's parts, each with one owner, put together by hth_server_run (server.c). Handlers get this.
#ifndef HTH_SERVER_SERVER_H
#define HTH_SERVER_SERVER_H

#include "server/http.h"
#include "server/route.h"

struct hth_models; // models.h: what can be asked for, and what is loaded
struct hth_access; // access.h: who may
struct hth_store;  // store.h: responses that were stored
struct hth_responses; // responses.h: responses that are made

struct hth_config;  // config.h: what it was told
struct hth_logger;  // log.h
struct hth_metrics; // metrics.h
struct hth_llama_slots; // llama.h
struct hth_calls;   // call.h: calls that can be told by their id

typedef struct hth_server {
    const struct hth_config *config;
    hth_http *http;
    struct hth_models *models;
    struct hth_access *access;
    struct hth_store *store;
    struct hth_responses *responses;
    struct hth_logger *logger;
    struct hth_metrics *metrics;
    struct hth_grammar_cache *grammars; // of schemas and tools that clients send again and again
    struct hth_llama_slots *slots;
    struct hth_calls *calls;
    uint64_t start_ns;
    int64_t start_unix;      // seconds
    atomic_bool is_loading;  // the models of the command line are not all there yet
    atomic_bool is_stopping; // SIGTERM came: what is at work ends, nothing new begins
    bool allow_scripts;      // tests: the header X-Hearth-Script is the answer (hth_ask.script)
} hth_server;

// Opens everything and listens; the models of the command line load meanwhile. `notes` gets lines for the person who
// starts it. Lines of the log go to `log_fd`. Returns owned; `config` is borrowed.
HTH_NODISCARD hth_code hth_server_start(const struct hth_config *config, int log_fd, hth_str *notes, hth_server **out,
                                        hth_err *err);
// Why loading a model of the command line failed; "": it did not. Once is_loading is over.
const char *hth_server_load_error(const hth_server *s);
// Refuses new requests, gives those at work hth_config.drain_ms, ends the rest, frees. NULL is valid.
// `hurry` is asked now and then; true ends the waiting.
void hth_server_stop(hth_server *s, bool (*hurry)(void));

#endif
