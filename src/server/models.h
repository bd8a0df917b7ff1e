// The models that the server offers, and those of them that are loaded.
//
//   card  what is known of an offered model without loading it: its name, what it is, what it can do
//   use   a hold on a loaded model: while it is held, the model stays
//
// Names. A model is called NAME:TAG; ":latest" may be left out. A file's name gives both:
// "Qwen3-4B-Q4_K_M.gguf" is Qwen3-4B:Q4_K_M, and is found by "qwen3-4b" too as long as no other model has
// that name. Case does not matter.
//
// One thread of the registry loads, unloads and watches the time; all models share one host (one thread team)
// and one memory budget. Requests for a model that is not loaded wait for one load, however many they are.
// Where a model does not fit beside those that are loaded, idle ones go, the longest unused first; where only
// busy ones are left, it waits for them. All functions may be called from any thread.
#ifndef HTH_SERVER_MODELS_H
#define HTH_SERVER_MODELS_H

#include "chat/reasoning.h"
#include "engine/engine.h"
#include "grammar/grammar.h"
#include "model/lora.h"

typedef struct hth_models hth_models;

// What a model can be asked for.
typedef enum hth_ability {
    HTH_CAN_COMPLETE = 1 << 0,
    HTH_CAN_CHAT = 1 << 1,   // a chat template is known
    HTH_CAN_TOOLS = 1 << 2,  // the template writes tools
    HTH_CAN_THINK = 1 << 3,  // the template knows of reasoning
    HTH_CAN_INFILL = 1 << 4, // the vocabulary has fill-in-the-middle tokens
    HTH_CAN_EMBED = 1 << 5,
    HTH_CAN_RERANK = 1 << 6,
} hth_ability;

// How a model is loaded; zero everywhere: by itself.
typedef struct hth_load_options {
    int64_t n_ctx; // most tokens of a sequence; 0: what the model was made for, as far as it fits
    const char *k_type, *v_type, *activations; // as hth_engine_params
    int32_t n_sequence, n_queue, n_chunk;
    bool no_cache;
    bool no_map; // as hth_engine_params
    const char *cache_folder; // a folder of the model's own is made in it
    uint64_t cache_folder_bytes;
    const char *chat_name;   // a classic chat format instead of the model's own template
    const char *chat_text;   // a template instead of the model's own
    const char *const *lora; // [n_lora <= HTH_MAX_LORA] adapters that are there for every request
    const float *lora_scale; // [n_lora] what a request uses that says nothing; NULL: 1
    size_t n_lora;
} hth_load_options;

typedef struct hth_offer {
    const char *path; // a GGUF file, a folder, a folder that holds models
    const char
        *alias; // names by which it is found too, with commas; NULL: none. The first one is what it is called
    const hth_load_options *load; // NULL: those of hth_models_params
    const char *draft;            // a small model that guesses for it (hth_engine_params.draft); NULL: none
} hth_offer;

typedef struct hth_models_params {
    int n_thread;            // 0: one per physical core
    bool numa;               // as hth_host_params
    uint64_t memory_bytes;   // for all models together; 0: three quarters of what the machine has free
    int32_t max_loaded;      // 0: as many as fit
    bool has_keep_alive;     // false: five minutes
    int64_t keep_alive_ms;   // how long an unused model stays; below 0: for ever
    hth_load_options load;   // copied
    const hth_offer *offers; // [n_offer] copied; a path that is no model is an error
    size_t n_offer;
    const char *const
        *folders; // [n_folder] looked through for models now and whenever somebody asks for a list
    size_t n_folder;
    const char *state_folder; // where created models are remembered; NULL: none can be created
    bool any_name;            // a name that nothing has means the first model
} hth_models_params;

// HTH_ERR_NOTFOUND for an offer that does not exist. Returns owned.
HTH_NODISCARD hth_code hth_models_open(const hth_models_params *p, hth_models **out, hth_err *err);
// After all uses have been released: waits for a load at work, unloads everything. NULL is valid.
void hth_models_close(hth_models *m);
hth_host *hth_models_host(hth_models *m);

// ---- cards

// What a created model adds to the one it was made from. JSON texts are as the client wrote them; NULL: not
// given.
typedef struct hth_preset {
    const char *system, *chat_template, *license;
    const char *options_json;    // an object with Ollama's parameters
    const char *messages_json;   // an array
    const char *const *adapters; // [n_adapter] paths
    size_t n_adapter;
} hth_preset;

// Immutable; what it points at lives as long as it is held.
typedef struct hth_card {
    const char *name;  // NAME:TAG
    const char *label; // the same without ":latest": for clients that know no tags
    const char *base;  // NAME
    const char *path;
    const char *digest;         // 64 hexadecimal digits
    const char *container;      // "gguf", "safetensors" or "mlx"
    const char *family;         // "llama", "qwen3", ...
    const char *parameter_size; // "134.5M"
    const char *quantization;   // "Q4_K_M", "F16", ...; of a mix, what most of it is stored as
    const char *parent;         // of a created model, what it was made from; else ""
    const char *chat_template;  // the text, NULL: none
    uint64_t n_param, size_bytes;
    int64_t n_ctx_train, modified_s; // of the files, since 1970
    int32_t n_vocab, n_layer, n_embed, n_head, n_kv_head;
    unsigned abilities; // hth_ability
    hth_preset preset;
} hth_card;

// The card of a name; "" or NULL: the default model (the only one, one that is loaded, or the first).
// HTH_ERR_NOTFOUND with a sentence that lists what there is. Returns held.
HTH_NODISCARD hth_code hth_models_find(hth_models *m, const char *name, const hth_card **out, hth_err *err);
const hth_card *hth_card_hold(const hth_card *c);
void hth_card_drop(const hth_card *c); // NULL is valid

// All offered models in the order of their names, each held. *list is one owned block.
HTH_NODISCARD hth_code hth_models_list(hth_models *m, const hth_card ***list, size_t *n, hth_err *err);
void hth_cards_free(const hth_card **list, size_t n);

// ---- loaded models

// Constant while it is held.
typedef struct hth_use {
    const hth_card *card;
    hth_engine *engine;
    hth_tokenizer *tokenizer;      // NULL: the model carries none
    const hth_chat_template *chat; // NULL: none, for this reason:
    const char *chat_note;
    const hth_chat_format *format; // how the family writes thoughts and calls; NULL where chat is
    hth_chat_reasoning reasoning;  // what the template can be told about thinking
    struct hth_sampled *sampled;   // calls that it has written (server/sampled.h); NULL where chat is
    const hth_lora_set *adapters; // the server's and a created model's own, those with a scale; n may be 0
    const hth_lora_use *lora; // [n_lora] the server's alone, by their numbers, with the scales that hold now
    size_t n_lora;
    uint64_t load_ns; // that this use waited for loading; 0: the model was there
} hth_use;

typedef struct hth_acquire {
    const char *name; // as for hth_models_find
    bool has_keep_alive;
    int64_t
        keep_alive_ms; // from now on for this model: how long it stays after its last use; below 0: for ever
    int64_t deadline_ms; // HTH_ERR_TIMEOUT after so much; 0: none
    // Asked now and then while it waits, `done` of `total` bytes being read; false gives up
    // (HTH_ERR_CANCELLED).
    bool (*on_wait)(void *user, int64_t done, int64_t total);
    void *user;
} hth_acquire;

// Loads it where needed and waits for that: not for a thread that others wait for. Errors: HTH_ERR_NOTFOUND,
// HTH_ERR_LIMIT with the numbers where it cannot fit, what loading says. Returns held.
HTH_NODISCARD hth_code hth_models_acquire(hth_models *m, const hth_acquire *p, hth_use **out, hth_err *err);
// The same where nothing has to be waited for; otherwise HTH_ERR_BUSY.
HTH_NODISCARD hth_code hth_models_try_acquire(hth_models *m, const hth_acquire *p, hth_use **out,
                                              hth_err *err);
void hth_models_release(hth_models *m, hth_use *use); // takes use; NULL is valid

// Unloads as soon as nobody uses it. `wait`: returns when that has happened. HTH_ERR_NOTFOUND where no such
// model is loaded.
HTH_NODISCARD hth_code hth_models_unload(hth_models *m, const char *name, bool wait, hth_err *err);

// The vocabulary of the model as constrained output needs it; made when it is first asked for. Stays with the use.
HTH_NODISCARD hth_code hth_models_vocab(hth_models *m, const hth_use *use, const hth_grammar_vocab **out, hth_err *err);

typedef enum hth_load_phase {
    HTH_LOAD_WAITING,
    HTH_LOAD_READING,
    HTH_LOAD_READY,
    HTH_LOAD_DRAINING
} hth_load_phase;

typedef struct hth_loaded_info {
    const hth_card *card; // held
    hth_load_phase phase;
    int32_t n_use;
    uint64_t memory_bytes; // promised to it: weights, keys, values, work space
    uint64_t used_bytes;   // of it, what is in use now
    int64_t n_ctx;
    int64_t expires_ms; // from now; below 0: never. Of one in use: if it were released now
    hth_engine_stats stats;
} hth_loaded_info;

// *list [*n] is one owned block.
HTH_NODISCARD hth_code hth_models_loaded(hth_models *m, hth_loaded_info **list, size_t *n, hth_err *err);
void hth_loaded_free(hth_loaded_info *list, size_t n);

// ---- the server's adapters (hth_models_params.load)

typedef struct hth_models_lora {
    const char *path; // lives as long as the registry
    float scale;
} hth_models_lora;

size_t hth_models_get_lora(hth_models *m, hth_models_lora list[HTH_MAX_LORA]); // returns how many there are
void hth_models_set_lora(hth_models *m, const float *scales); // one for each; for requests from now on

// ---- created models

const char *hth_models_state_folder(const hth_models *m); // NULL: none can be created

typedef struct hth_create {
    const char *name;
    const char *from; // a model's name, or with `path` NULL
    const char *path; // or weights on disk
    hth_preset preset;
} hth_create;

// Remembers a model under a name, over restarts. Replaces a created model of that name; a name that belongs
// to a file is HTH_ERR_RANGE.
HTH_NODISCARD hth_code hth_models_create(hth_models *m, const hth_create *p, const hth_card **out,
                                         hth_err *err);
HTH_NODISCARD hth_code hth_models_copy(hth_models *m, const char *from, const char *to, hth_err *err);
// Forgets a created model, or stops offering a file, which stays where it is until the server starts again.
HTH_NODISCARD hth_code hth_models_remove(hth_models *m, const char *name, hth_err *err);

#endif
