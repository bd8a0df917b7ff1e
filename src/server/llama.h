// What the files of the llama-server dialect share. Facts: llama.cpp, tools/server (README.md,
// server-context.cpp, server-task.cpp, server-schema.cpp).
#ifndef HTH_SERVER_LLAMA_H
#define HTH_SERVER_LLAMA_H

#include "base/json_out.h"
#include "server/ask.h"
#include "server/call.h"
#include "server/models.h"
#include "server/route.h"
#include "server/server.h"

#define LLAMA_JSON "application/json; charset=utf-8"
#define LLAMA_MAX_REPLY (SIZE_MAX / 4)
#define LLAMA_MAX_FIELDS 64

void llama_reply_json(hth_exchange *x, hth_str *body); // takes the body's bytes

// Waits for the model to be loaded, or for the client to leave. `name` may be empty.
HTH_NODISCARD bool llama_acquire(hth_server *s, hth_exchange *x, const char *name, hth_use **out,
                                 hth_fault *fault);

// {"temperature": ..., ...}: what an answer is sampled with, in llama-server's names.
void llama_put_sampling(hth_json_out *j, const hth_sampler_params *p);
void llama_put_timings(hth_json_out *j, const char *key, const hth_call_usage *u);

// A prompt as llama-server takes it: a text, ids, or both mixed in an array; or an array of such prompts. A
// reader of fields: into the ask's prompts. *is_list tells whether it was an array of prompts.
HTH_NODISCARD bool llama_read_prompts(hth_fields *f, const hth_json *v, hth_ask *a, bool *is_list);
// One prompt.
HTH_NODISCARD bool llama_read_prompt(hth_fields *f, const hth_json *v, hth_ask_prompt *out);

// The last conversations by slot (llama_slots.c); one for the server.
typedef struct hth_llama_slots hth_llama_slots;
hth_llama_slots *hth_llama_slots_new(void); // NULL: no memory
void hth_llama_slots_free(hth_llama_slots *t);
// A slot's conversation: the ask's first prompt and what was generated. Without memory, nothing.
void llama_slot_keep(hth_llama_slots *t, int64_t id, const char *model, const hth_ask *a, const int32_t *ids,
                     size_t n_id);
void llama_slot_action(hth_server *s, hth_exchange *x, const hth_match *m);

// What a completion is printed with (llama_print.c). In the exchange's arena.
typedef struct llama_reply {
    const hth_ask *ask;
    hth_llama_slots *slots; // gets the conversation
    int64_t id_slot;
    int32_t *generated; // [n_generated] owned
    size_t n_generated, cap_generated;
    hth_sampler_params sampling; // as it was settled
    const char *model;
    bool is_list, wants_tokens, wants_timings, wants_probs;
    hth_chat_text fields[LLAMA_MAX_FIELDS]; // [n_field] response_fields
    size_t n_field;
    hth_str ids, probs; // of tokens whose text has not been told
    int64_t n_token;    // told
    int64_t n_prompt;
    bool has_new_line;
    const hth_tokenizer *tokenizer;
    hth_finish reason;
    hth_str stop;
    int32_t choice;
} llama_reply;

extern const hth_printer llama_completion_printer;

void llama_completion(hth_server *s, hth_exchange *x, const hth_match *m);
void llama_infill(hth_server *s, hth_exchange *x, const hth_match *m);
void llama_embedding(hth_server *s, hth_exchange *x, const hth_match *m);
void llama_tokenize(hth_server *s, hth_exchange *x, const hth_match *m);
void llama_detokenize(hth_server *s, hth_exchange *x, const hth_match *m);
void llama_apply_template(hth_server *s, hth_exchange *x, const hth_match *m);

#endif
