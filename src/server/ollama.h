// What the files of the Ollama dialect share. Facts: github.com/ollama/ollama, docs/api.md, api/types.go and
// server/routes.go.
#ifndef HTH_SERVER_OLLAMA_H
#define HTH_SERVER_OLLAMA_H

#include "base/json_out.h"
#include "server/ask.h"
#include "server/call.h"
#include "server/models.h"
#include "server/route.h"
#include "server/server.h"

// The version of Ollama's interface that is spoken: clients compare it with what they need.
#define OLLAMA_VERSION "0.32.0"
#define OLLAMA_JSON "application/json; charset=utf-8"
#define OLLAMA_NDJSON "application/x-ndjson"
#define OLLAMA_MAX_REPLY (SIZE_MAX / 4)

// {"error": "..."}
void ollama_refuse(hth_exchange *x, const hth_fault *fault);
void ollama_reply_json(hth_exchange *x, int status, hth_str *body); // takes the body's bytes
// "2026-11-21T21:03:32.123456789Z"
#define OLLAMA_TIME 80
void ollama_time(int64_t unix_ns, char out[OLLAMA_TIME]);

// "completion", "tools", ... as an array.
void ollama_abilities(hth_json_out *j, const char *key, unsigned abilities);
void ollama_details(hth_json_out *j, const hth_card *c);

// Finds a model's card; the fault is Ollama's where there is none.
HTH_NODISCARD bool ollama_find(hth_server *s, hth_chat_text name, const hth_card **out, hth_fault *fault);
// Waits for the model to be loaded, or for the client to leave.
HTH_NODISCARD bool ollama_load(hth_server *s, hth_exchange *x, const hth_ask *ask, uint64_t *load_ns,
                               hth_fault *fault);
void ollama_unload(hth_server *s, const char *name);

void ollama_chat(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_generate(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_embed(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_embeddings(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_show(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_create(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_copy(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_delete(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_blob_has(hth_server *s, hth_exchange *x, const hth_match *m);
void ollama_blob_put(hth_server *s, hth_exchange *x, const hth_match *m);

// The fields of the requests, for docs/api.md.
const hth_field *ollama_chat_fields(size_t *n);
const hth_field *ollama_generate_fields(size_t *n);
const hth_field *ollama_embed_fields(size_t *n);

// What a reply is printed with (ollama_print.c). In the exchange's arena.
typedef struct ollama_reply {
    bool is_chat;      // else of generate
    const char *model; // as the client wrote it
    bool wants_logprobs, wants_context;
    int64_t dimensions; // of embeddings; 0: all
    hth_str context;    // ids of all tokens so far, with commas
    hth_str logprobs;   // of tokens whose text has not been told; items, with commas
    hth_str arguments;  // of the call that is being told
    char call_id[64], call_name[128];
    int32_t call_index;
    hth_finish reason;
    const hth_tokenizer *tokenizer;
} ollama_reply;

extern const hth_printer ollama_text_printer; // chat and generate; `user` is an ollama_reply
extern const hth_printer ollama_embed_printer, ollama_embeddings_printer; // `user` is an ollama_reply too

// The answer to a request for nothing but loading or unloading.
void ollama_reply_loaded(hth_exchange *x, const ollama_reply *r, const char *reason);

#endif
