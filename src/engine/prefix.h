// Sequences that were computed once, found again by what they begin with. One cache belongs to one model with one
// choice of K/V types; all requests share it. Entries share pages with each other and with the sequences at work
// (hth_state_fork), so a common beginning is stored once, and what is in use cannot be lost by eviction.
//
// Thread-safe. States that go in or come out belong to the thread that runs their executor.
#ifndef HTH_ENGINE_PREFIX_H
#define HTH_ENGINE_PREFIX_H

#include "engine/prefix_key.h"
#include "model/executor.h"

typedef struct hth_prefix hth_prefix;

typedef struct hth_prefix_params {
    hth_executor *executor;         // borrowed, as are model and tokenizer
    const hth_model *model;
    const hth_tokenizer *tokenizer; // NULL: texts are not compared, tokens are
    hth_state_params state;         // of all sequences that go in
    uint64_t limit_bytes;           // of pages that entries hold, each counted once; 0: keeps nothing in memory
    // The second tier: files in a folder that is made where it is missing. NULL: none. Its troubles never fail a request.
    const char *folder;
    uint64_t folder_bytes;    // of all its files for this model
    const char *identity;     // what else decides the numbers: activations, adapters of the whole engine
    uint64_t write_after_ms;  // an entry is written when it has been there so long, and when the cache is freed
} hth_prefix_params;

HTH_NODISCARD hth_code hth_prefix_new(const hth_prefix_params *p, hth_prefix **out, hth_err *err);
void hth_prefix_free(hth_prefix *c); // writes what the folder lacks; NULL is valid

// Where the longest cached beginning ended, and why.
typedef enum hth_prefix_end {
    HTH_PREFIX_ALL,       // nowhere: all tokens are there
    HTH_PREFIX_COLD,      // at the first one
    HTH_PREFIX_DIFFERENT, // what is there goes on with another token
    HTH_PREFIX_ENDED,     // what is there ends
    HTH_PREFIX_STATE,     // more is equal, but a window or a recurrent layer cannot go back: the nearest snapshot is given
} hth_prefix_end;

typedef struct hth_prefix_hit {
    hth_state *state; // a fork that holds the first n rows, owned by the caller; NULL where n is 0
    int64_t n;
    hth_prefix_end why;
    int64_t n_same; // tokens that were equal; n <= n_same
} hth_prefix_hit;

// Reads into memory what the longest cached beginning of `text` has in files only. Takes as long as the disk does; nobody
// else waits meanwhile.
HTH_NODISCARD hth_code hth_prefix_fetch(hth_prefix *c, const hth_prefix_text *text, int64_t n_most, hth_err *err);

// The longest beginning of `text` that is cached in memory, of at most n_most rows (one less than all where the last row's logits are
// wanted). HTH_ERR_NOMEM; nothing cached is no error.
HTH_NODISCARD hth_code hth_prefix_find(hth_prefix *c, const hth_prefix_text *text, int64_t n_most, hth_prefix_hit *out,
                                       hth_err *err);
// Keeps `state`, which holds the rows of `text`, one for each token. Takes it, also on failure. What it makes
// redundant goes: entries that it can be taken back to.
HTH_NODISCARD hth_code hth_prefix_put(hth_prefix *c, const hth_prefix_text *text, hth_state *state, hth_err *err);

// Writes the longest cached beginning of `text` to a file; *n: its tokens. HTH_ERR_NOTFOUND where nothing is cached.
HTH_NODISCARD hth_code hth_prefix_save(hth_prefix *c, const hth_prefix_text *text, const char *path, int64_t *n, hth_err *err);
// Takes such a file in, of the same model, K/V types and domain; *n: its tokens.
HTH_NODISCARD hth_code hth_prefix_restore(hth_prefix *c, const hth_prefix_text *domain, const char *path, int64_t *n,
                                          hth_err *err);

// Makes the tokens of a text those that are cached for the same bytes, as far as both cuts into tokens meet: what a
// model wrote and gets back as text is then found again, even where the tokenizer would cut it differently.
// tokens->n may change.
HTH_NODISCARD hth_code hth_prefix_reuse_tokens(hth_prefix *c, const void *domain, size_t n_domain, hth_token_list *tokens,
                                               hth_err *err);

// Drops entries, the longest unused first, until n_bytes have been given back or nothing is left that can be. Returns
// the bytes given back.
uint64_t hth_prefix_make_room(hth_prefix *c, uint64_t n_bytes);

typedef struct hth_prefix_stats {
    uint64_t n_bytes, n_entry;          // in memory
    uint64_t n_find, n_hit, n_token;    // lookups, those that gave rows, rows given
    uint64_t n_evicted;
    uint64_t folder_bytes, n_file, n_written, n_loaded, n_bad; // second tier; n_bad: files that were refused or not written
} hth_prefix_stats;
void hth_prefix_get_stats(hth_prefix *c, hth_prefix_stats *out);

#endif
