// The server's parts, each with one owner, put together by hth_server_run (server.c). Handlers get this.
#ifndef HTH_SERVER_SERVER_H
#define HTH_SERVER_SERVER_H

#include "server/http.h"
#include "server/route.h"

struct hth_models; // models.h: what can be asked for, and what is loaded
struct hth_access; // access.h: who may
struct hth_store;  // store.h: responses that were stored

struct hth_config; // config.h: what it was told

typedef struct hth_server {
    const struct hth_config *config;
    hth_http *http;
    struct hth_models *models;
    struct hth_access *access;
    struct hth_store *store;
    uint64_t start_ns;
    int64_t start_unix;      // seconds
    atomic_bool is_stopping; // SIGTERM came: what is at work ends, nothing new begins
    bool allow_scripts;      // tests: X-Hearth-Script is the answer (hth_ask.script)
} hth_server;

#endif
