// What outlives a request: responses that clients want kept, with their input, and conversations. One SQLite
// file in the state folder, opened when it is first needed. Everything belongs to an owner (the name of a
// key, "" where none is needed), and nobody sees what is another's. What is oldest goes when there is too
// much, or when it is too old. Any thread; one works at a time.
#ifndef HTH_SERVER_STORE_H
#define HTH_SERVER_STORE_H

#include "base/str.h"
#include "server/config.h"

typedef struct hth_store hth_store;

// Does no work yet. `c` is borrowed. Returns owned; NULL: no memory.
HTH_NODISCARD hth_store *hth_store_new(const hth_config *c);
void hth_store_free(hth_store *s);
bool hth_store_is_on(const hth_store *s); // --no-store

typedef struct hth_stored_response {
    const char *id, *owner, *previous; // previous: "" where there is none
    const char *body, *input;          // JSON: the response, and the array of its input items
    size_t n_body, n_input;
    int64_t created; // seconds since 1970
} hth_stored_response;

// Keeps a response, or replaces the one of that id. HTH_ERR_IO where the disk is full: what was there is
// unharmed.
HTH_NODISCARD hth_code hth_store_put_response(hth_store *s, const hth_stored_response *r, hth_err *err);
// Copies texts into `a`. HTH_ERR_NOTFOUND.
HTH_NODISCARD hth_code hth_store_get_response(hth_store *s, const char *owner, const char *id, hth_arena *a,
                                              hth_stored_response *out, hth_err *err);
HTH_NODISCARD hth_code hth_store_delete_response(hth_store *s, const char *owner, const char *id,
                                                 hth_err *err);

typedef struct hth_stored_conversation {
    const char *id, *owner, *metadata; // metadata: JSON object
    int64_t created;
} hth_stored_conversation;

HTH_NODISCARD hth_code hth_store_put_conversation(hth_store *s, const hth_stored_conversation *c,
                                                  hth_err *err);
HTH_NODISCARD hth_code hth_store_get_conversation(hth_store *s, const char *owner, const char *id,
                                                  hth_arena *a, hth_stored_conversation *out, hth_err *err);
HTH_NODISCARD hth_code hth_store_delete_conversation(hth_store *s, const char *owner, const char *id,
                                                     hth_err *err);

typedef struct hth_stored_item {
    const char *id, *body; // JSON object with that id
    size_t n_body;
} hth_stored_item;

// Appends all items or none. The conversation must be the owner's: HTH_ERR_NOTFOUND.
HTH_NODISCARD hth_code hth_store_add_items(hth_store *s, const char *owner, const char *conversation,
                                           const hth_stored_item *items, size_t n, hth_err *err);
// All items in their order, in `a`.
HTH_NODISCARD hth_code hth_store_get_items(hth_store *s, const char *owner, const char *conversation,
                                           hth_arena *a, hth_stored_item **out, size_t *n, hth_err *err);
HTH_NODISCARD hth_code hth_store_delete_item(hth_store *s, const char *owner, const char *conversation,
                                             const char *id, hth_err *err);

#endif
