// Inside of the registry of models.
//
//   cards   what is offered: made by models_scan.c from files, folders and created models; immutable
//   slots   what is loaded or about to be: made by models.c when somebody asks, filled and emptied by
//   models_load.c
#ifndef HTH_SERVER_MODELS_IMPL_H
#define HTH_SERVER_MODELS_IMPL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "grammar/grammar.h"
#include "model/lora.h"
#include "os/sync.h"
#include "server/models.h"

#define MODELS_MAX_ALIAS 16
#define MODELS_MAX_FILES 65536 // of one folder
#define MODELS_MAX_CARD 4096
#define MODELS_MAX_PRESET ((size_t)16 << 20) // bytes of a created model's texts

typedef enum card_origin { CARD_OFFERED, CARD_FOUND, CARD_CREATED } card_origin;

typedef struct card {
    hth_card pub; // first: hth_card * is card *
    atomic_int n_hold;
    hth_arena arena; // of the texts
    card_origin origin;
    const char *stem; // the file's name without what is the container's
    const char *aliases[MODELS_MAX_ALIAS];
    size_t n_alias;
    const hth_load_options *load; // of the registry or of the arena
    const char *draft;            // likewise; NULL: none
    int64_t seen_modified_s;      // of `path` when it was looked at
    uint64_t seen_bytes;
} card;

// Where cards come from.
typedef struct card_source {
    const char *path;
    const char *name;             // what it is called; NULL: by its file
    const char *alias;            // with commas, or NULL
    const char *parent;           // of a created model
    const hth_preset *preset;     // of a created model
    const hth_load_options *load; // outlives the card, or NULL
    const char *draft;            // likewise
    card_origin origin;
} card_source;

// Opens the model for a look. Returns held.
HTH_NODISCARD hth_code card_make(const card_source *from, card **out, hth_err *err);
static inline card *card_of(const hth_card *c) {
    union {
        const hth_card *pub;
        card *own;
    } u = {.pub = c};
    return u.own;
}

// How well a name fits a card: 0 best; -1 not at all.
int card_match(const card *c, const char *name);
// The name for a path, by the rules of models.h: "base" and "tag" are appended to *base and *tag.
void model_name_of_path(const char *path, hth_str *base, hth_str *tag);
// Whether text can be NAME or NAME:TAG of a created model.
bool model_name_is_valid(const char *name);
// "name" as NAME:TAG into *out.
void model_name_complete(const char *name, hth_str *out);

typedef struct slot slot;

typedef enum slot_phase {
    SLOT_WAITING, // somebody wants it
    SLOT_LOADING, // the thread is at it
    SLOT_READY,
    SLOT_FAILED,  // waiters take the error; the last one frees it
    SLOT_CLOSING, // the thread is unloading it
} slot_phase;

typedef struct slot_adapter {
    char *path;     // owned
    hth_lora *lora; // owned
    struct slot_adapter *next;
} slot_adapter;

struct slot {
    slot *next;
    const hth_card *card; // held: the one it was loaded by
    slot_phase phase;
    int32_t n_use, n_wait;
    bool wants_out;               // unload when nobody uses it
    uint64_t tried;               // m->generation at the last try that had to wait for others
    uint64_t used_ns, expires_ns; // expires_ns UINT64_MAX: never
    int64_t keep_alive_ms;
    uint64_t promised_bytes, fixed_bytes, load_ns; // fixed: weights and work space
    int64_t n_done, n_total;                       // bytes read
    hth_engine *engine;                            // owned, as is what follows
    hth_chat_template *chat;
    char chat_note[256];
    const hth_chat_format *format;
    hth_chat_reasoning reasoning;
    struct hth_sampled *sampled; // NULL where chat is
    hth_grammar_vocab *vocab; // NULL: not asked for yet
    slot_adapter *adapters;
    hth_err err; // of FAILED
};

struct hth_models {
    hth_host *host;  // owned
    hth_arena arena; // of the parameters
    hth_models_params p;
    uint64_t memory_bytes;
    hth_mutex lock;   // of all that follows
    hth_cond changed; // for everybody
    card **cards;     // [n_card] held, sorted by name; offers first
    size_t n_card;
    slot *slots;         // in the order in which they were asked for
    uint64_t generation; // counts what may make room: releases, unloads; from 1 on
    bool is_closing;
    float lora_scales[HTH_MAX_LORA]; // of p.load.lora
    char **hidden;                   // [n_hidden] owned paths that were removed from the list
    size_t n_hidden, hidden_cap;
    hth_mutex scan_lock; // one look at the disk at a time; taken before `lock`
    hth_thread thread;
    bool has_thread, has_lock, has_changed, has_scan_lock;
};

// Looks at the disk and replaces m->cards by what is there now. Files that have not changed are not opened
// again. `strict`: a source that cannot be opened is an error, else it is left out.
HTH_NODISCARD hth_code models_scan(hth_models *m, bool strict, hth_err *err);

// The thread.
void *models_run(void *models);
uint64_t models_default_memory(void);
// Whether the slot serves what the card describes.
bool slot_serves(const slot *s, const hth_card *c);
bool models_has_slot(const hth_models *m, const slot *s);
bool models_has_other(hth_models *m, const slot *s); // takes the lock: whether another model is loaded
void models_drop_slot(hth_models *m, slot *s);       // under the lock; of a slot without an engine
// The adapter of a path for the slot's model, opened once; lives as long as the slot.
HTH_NODISCARD hth_code slot_adapter_get(hth_models *m, slot *s, const char *path, const hth_lora **out,
                                        hth_err *err);

// Created models on disk (models_store.c).
typedef struct created {
    const char *name, *path, *parent;
    hth_preset preset;
} created;
HTH_NODISCARD hth_code store_read(const char *state_folder, hth_arena *a, created **list, size_t *n,
                                  hth_err *err);
HTH_NODISCARD hth_code store_write(const char *state_folder, const created *c, hth_err *err);
HTH_NODISCARD hth_code store_remove(const char *state_folder, const char *name, hth_err *err);

#endif
