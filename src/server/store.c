// The store's file: SQLite in WAL mode, so that a crash loses at most the last write and never the file.
#include "server/store.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "os/sync.h"

#define SCHEMA_VERSION 1
#define BUSY_MS 5000
#define MAX_ITEMS 100000

static const char schema[] =
    "CREATE TABLE responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, previous TEXT NOT NULL, created "
    "INTEGER NOT NULL,"
    " n_bytes INTEGER NOT NULL, body BLOB NOT NULL, input BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX responses_by_age ON responses (created);"
    "CREATE TABLE conversations (id TEXT PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT NULL, used "
    "INTEGER NOT NULL,"
    " metadata TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX conversations_by_age ON conversations (used);"
    "CREATE TABLE items (conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE, place "
    "INTEGER NOT NULL,"
    " id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (conversation, place)) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

struct hth_store {
    const hth_config *config;
    hth_mutex lock;
    sqlite3 *db; // NULL: not opened yet
};

hth_store *hth_store_new(const hth_config *c) {
    hth_store *s = hth_calloc(HTH_MEM_MISC, 1, sizeof *s);
    if (!s) return NULL;
    s->config = c;
    if (hth_mutex_init(&s->lock, NULL) != HTH_OK) {
        hth_free(s);
        return NULL;
    }
    return s;
}

void hth_store_free(hth_store *s) {
    if (!s) return;
    sqlite3_close(s->db);
    hth_mutex_destroy(&s->lock);
    hth_free(s);
}

bool hth_store_is_on(const hth_store *s) {
    return s && s->config->store;
}

// --- errors ---

static hth_code fail_db(hth_store *s, int bad, hth_err *err) {
    switch (bad & 0xff) {
    case SQLITE_NOMEM: return hth_fail_nomem(err, 0);
    case SQLITE_FULL:
        return hth_fail(err, HTH_ERR_IO,
                        "the store of responses cannot be written: no space is left on the disk");
    case SQLITE_BUSY:
        return hth_fail(err, HTH_ERR_BUSY, "the store of responses is in use by another program");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return hth_fail(err, HTH_ERR_IO, "the store of responses is damaged: %s", sqlite3_errmsg(s->db));
    default: return hth_fail(err, HTH_ERR_IO, "the store of responses: %s", sqlite3_errmsg(s->db));
    }
}

static hth_code run(hth_store *s, const char *sql, hth_err *err) {
    const int bad = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return bad == SQLITE_OK ? HTH_OK : fail_db(s, bad, err);
}

// --- opening ---

static hth_code read_version(hth_store *s, int *version, hth_err *err) {
    sqlite3_stmt *q;
    int bad = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL);
    if (bad == SQLITE_OK) {
        bad = sqlite3_step(q);
        *version = sqlite3_column_int(q, 0);
        sqlite3_finalize(q);
    }
    return bad == SQLITE_ROW ? HTH_OK : fail_db(s, bad, err);
}

static hth_code prepare_db(hth_store *s, hth_err *err) {
    int version = 0;
    (void)sqlite3_extended_result_codes(s->db, 1);
    (void)sqlite3_busy_timeout(s->db, BUSY_MS);
    HTH_TRY(run(s,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA "
                "trusted_schema = OFF",
                err));
    HTH_TRY(read_version(s, &version, err));
    if (version > SCHEMA_VERSION) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "the store of responses was made by a newer program (version %d)", version);
    }
    if (version == SCHEMA_VERSION) return HTH_OK;
    HTH_TRY(run(s, "BEGIN IMMEDIATE", err));
    hth_code code = read_version(s, &version, err); // another process may have been first
    if (code == HTH_OK && version == 0) code = run(s, schema, err);
    hth_err ignored;
    const hth_code end = run(s, code == HTH_OK ? "COMMIT" : "ROLLBACK", code == HTH_OK ? err : &ignored);
    return code == HTH_OK ? end : code;
}

static hth_code open_db(hth_store *s, hth_err *err) {
    hth_str path;
    if (s->db) return HTH_OK;
    hth_str_init(&path, HTH_MEM_MISC, 4096);
    hth_code code = hth_config_state_path(s->config, "responses.db", &path, err);
    if (code == HTH_OK) {
        const int flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
        const int bad = sqlite3_open_v2(hth_str_text(&path), &s->db, flags, NULL);
        code = bad == SQLITE_OK ? prepare_db(s, err) : fail_db(s, bad, err);
        if (code != HTH_OK) {
            code = hth_fail_in(err, code, hth_str_text(&path));
            sqlite3_close(s->db);
            s->db = NULL; // the next one who needs it tries again
        }
    }
    hth_str_free(&path);
    return code;
}

// --- statements ---

// Arguments of a statement: s text, i int64_t, b bytes with their number.
static int bind(sqlite3_stmt *q, const char *kinds, va_list args) {
    int bad = SQLITE_OK;
    for (int i = 1; *kinds && bad == SQLITE_OK; i++, kinds++) {
        if (*kinds == 's') {
            const char *text = va_arg(args, const char *);
            bad = sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
        } else if (*kinds == 'i') {
            bad = sqlite3_bind_int64(q, i, va_arg(args, int64_t));
        } else {
            const char *bytes = va_arg(args, const char *);
            bad = sqlite3_bind_blob64(q, i, bytes, va_arg(args, size_t), SQLITE_STATIC);
        }
    }
    return bad;
}

// Prepares a statement with its arguments; sqlite3_finalize.
static hth_code prepare(hth_store *s, sqlite3_stmt **q, hth_err *err, const char *sql, const char *kinds,
                        ...) {
    va_list args;
    *q = NULL;
    int bad = sqlite3_prepare_v2(s->db, sql, -1, q, NULL);
    va_start(args, kinds);
    if (bad == SQLITE_OK) bad = bind(*q, kinds, args);
    va_end(args);
    if (bad == SQLITE_OK) return HTH_OK;
    const hth_code code = fail_db(s, bad, err);
    sqlite3_finalize(*q);
    *q = NULL;
    return code;
}

// Runs a statement that gives no rows; takes it. *n_changed may be NULL.
static hth_code finish(hth_store *s, sqlite3_stmt *q, int *n_changed, hth_err *err) {
    const int bad = sqlite3_step(q);
    const hth_code code = bad == SQLITE_DONE ? HTH_OK : fail_db(s, bad, err);
    sqlite3_finalize(q);
    if (n_changed) *n_changed = sqlite3_changes(s->db);
    return code;
}

static hth_code keep_column(sqlite3_stmt *q, int i, hth_arena *a, const char **out, size_t *n, hth_err *err) {
    const size_t len = (size_t)sqlite3_column_bytes(q, i);
    const char *bytes = sqlite3_column_blob(q, i);
    *out = hth_arena_strndup(a, bytes ? bytes : "", len);
    if (n) *n = len;
    return *out ? HTH_OK : hth_fail_nomem(err, len);
}

static hth_code not_found(hth_err *err, const char *what, const char *id) {
    return hth_fail(err, HTH_ERR_NOTFOUND, "%s with id '%.80s' not found", what, id);
}

static hth_code enter(hth_store *s, hth_err *err) {
    if (!hth_store_is_on(s)) return hth_fail(err, HTH_ERR_NOTFOUND, "nothing is stored here (--no-store)");
    hth_lock(&s->lock);
    const hth_code code = open_db(s, err);
    if (code != HTH_OK) hth_unlock(&s->lock);
    return code;
}

// --- limits ---

static int64_t now_seconds(void) {
    return (int64_t)time(NULL);
}

static hth_code total_bytes(hth_store *s, int64_t *n, hth_err *err) {
    sqlite3_stmt *q;
    HTH_TRY(prepare(s, &q, err, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
                    ""));
    const int bad = sqlite3_step(q);
    *n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    if (bad != SQLITE_ROW) return fail_db(s, bad, err);
    HTH_TRY(prepare(s, &q, err,
                    "SELECT freelist_count * page_size FROM pragma_freelist_count(), pragma_page_size()",
                    ""));
    if (sqlite3_step(q) == SQLITE_ROW) *n -= sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return HTH_OK;
}

// What is too old goes, then the oldest until the rest fits.
static hth_code shrink(hth_store *s, hth_err *err) {
    sqlite3_stmt *q;
    const int64_t oldest =
        s->config->store_age_ms < 0 ? INT64_MIN : now_seconds() - s->config->store_age_ms / 1000;
    HTH_TRY(prepare(s, &q, err, "DELETE FROM responses WHERE created < ?", "i", oldest));
    HTH_TRY(finish(s, q, NULL, err));
    HTH_TRY(prepare(s, &q, err, "DELETE FROM conversations WHERE used < ?", "i", oldest));
    HTH_TRY(finish(s, q, NULL, err));
    for (int round = 0; round < 64; round++) {
        int64_t n;
        int n_response, n_conversation;
        HTH_TRY(total_bytes(s, &n, err));
        if (n <= (int64_t)s->config->store_bytes) return HTH_OK;
        HTH_TRY(prepare(s, &q, err,
                        "DELETE FROM responses WHERE id IN (SELECT id FROM responses ORDER BY created LIMIT "
                        "(SELECT count(*) / 8 + 1 FROM responses))",
                        ""));
        HTH_TRY(finish(s, q, &n_response, err));
        HTH_TRY(prepare(s, &q, err,
                        "DELETE FROM conversations WHERE id IN (SELECT id FROM conversations ORDER BY used "
                        "LIMIT (SELECT count(*) / 8 FROM conversations))",
                        ""));
        HTH_TRY(finish(s, q, &n_conversation, err));
        if (n_response + n_conversation == 0) return HTH_OK;
    }
    return HTH_OK;
}

// --- responses ---

static hth_code put_response(hth_store *s, const hth_stored_response *r, hth_err *err) {
    sqlite3_stmt *q;
    HTH_TRY(shrink(s, err));
    HTH_TRY(prepare(s, &q, err,
                    "INSERT INTO responses (id, owner, previous, created, n_bytes, body, input) VALUES (?, "
                    "?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET body = excluded.body, input = excluded.input, n_bytes = "
                    "excluded.n_bytes"
                    " WHERE owner = excluded.owner",
                    "sssiibb", r->id, r->owner, r->previous, r->created, (int64_t)(r->n_body + r->n_input),
                    r->body, r->n_body, r->input, r->n_input));
    return finish(s, q, NULL, err);
}

hth_code hth_store_put_response(hth_store *s, const hth_stored_response *r, hth_err *err) {
    if ((uint64_t)r->n_body + r->n_input > s->config->store_bytes) {
        return hth_fail(err, HTH_ERR_LIMIT, "the response is larger than the store may be (--store-size)");
    }
    HTH_TRY(enter(s, err));
    const hth_code code = put_response(s, r, err);
    hth_unlock(&s->lock);
    return code;
}

static hth_code get_response(hth_store *s, const char *owner, const char *id, hth_arena *a,
                             hth_stored_response *out, hth_err *err) {
    sqlite3_stmt *q;
    HTH_TRY(prepare(s, &q, err,
                    "SELECT body, input, previous, created FROM responses WHERE id = ? AND owner = ?", "ss",
                    id, owner));
    const int step = sqlite3_step(q);
    hth_code code = step == SQLITE_ROW  ? HTH_OK
                  : step == SQLITE_DONE ? not_found(err, "Response", id)
                                        : fail_db(s, step, err);
    if (code == HTH_OK) code = keep_column(q, 0, a, &out->body, &out->n_body, err);
    if (code == HTH_OK) code = keep_column(q, 1, a, &out->input, &out->n_input, err);
    if (code == HTH_OK) code = keep_column(q, 2, a, &out->previous, NULL, err);
    if (code == HTH_OK) out->created = sqlite3_column_int64(q, 3);
    sqlite3_finalize(q);
    return code;
}

hth_code hth_store_get_response(hth_store *s, const char *owner, const char *id, hth_arena *a,
                                hth_stored_response *out, hth_err *err) {
    *out = (hth_stored_response){.id = id, .owner = owner};
    HTH_TRY(enter(s, err));
    const hth_code code = get_response(s, owner, id, a, out, err);
    hth_unlock(&s->lock);
    return code;
}

// Deletes what one statement with (id, owner) names.
static hth_code delete_one(hth_store *s, const char *sql, const char *what, const char *owner, const char *id,
                           hth_err *err) {
    sqlite3_stmt *q;
    int n = 0;
    HTH_TRY(enter(s, err));
    hth_code code = prepare(s, &q, err, sql, "ss", id, owner);
    if (code == HTH_OK) code = finish(s, q, &n, err);
    if (code == HTH_OK && n == 0) code = not_found(err, what, id);
    hth_unlock(&s->lock);
    return code;
}

hth_code hth_store_delete_response(hth_store *s, const char *owner, const char *id, hth_err *err) {
    return delete_one(s, "DELETE FROM responses WHERE id = ? AND owner = ?", "Response", owner, id, err);
}

// --- conversations ---

static hth_code put_conversation(hth_store *s, const hth_stored_conversation *c, hth_err *err) {
    sqlite3_stmt *q;
    HTH_TRY(shrink(s, err));
    HTH_TRY(prepare(s, &q, err,
                    "INSERT INTO conversations (id, owner, created, used, metadata) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata, used = excluded.used "
                    "WHERE owner = excluded.owner",
                    "ssiis", c->id, c->owner, c->created, now_seconds(), c->metadata));
    return finish(s, q, NULL, err);
}

hth_code hth_store_put_conversation(hth_store *s, const hth_stored_conversation *c, hth_err *err) {
    HTH_TRY(enter(s, err));
    const hth_code code = put_conversation(s, c, err);
    hth_unlock(&s->lock);
    return code;
}

static hth_code get_conversation(hth_store *s, const char *owner, const char *id, hth_arena *a,
                                 hth_stored_conversation *out, hth_err *err) {
    sqlite3_stmt *q;
    HTH_TRY(prepare(s, &q, err, "SELECT metadata, created FROM conversations WHERE id = ? AND owner = ?",
                    "ss", id, owner));
    const int step = sqlite3_step(q);
    hth_code code = step == SQLITE_ROW  ? HTH_OK
                  : step == SQLITE_DONE ? not_found(err, "Conversation", id)
                                        : fail_db(s, step, err);
    if (code == HTH_OK && a) code = keep_column(q, 0, a, &out->metadata, NULL, err);
    if (code == HTH_OK) out->created = sqlite3_column_int64(q, 1);
    sqlite3_finalize(q);
    return code;
}

hth_code hth_store_get_conversation(hth_store *s, const char *owner, const char *id, hth_arena *a,
                                    hth_stored_conversation *out, hth_err *err) {
    *out = (hth_stored_conversation){.id = id, .owner = owner};
    HTH_TRY(enter(s, err));
    const hth_code code = get_conversation(s, owner, id, a, out, err);
    hth_unlock(&s->lock);
    return code;
}

hth_code hth_store_delete_conversation(hth_store *s, const char *owner, const char *id, hth_err *err) {
    return delete_one(s, "DELETE FROM conversations WHERE id = ? AND owner = ?", "Conversation", owner, id,
                      err);
}

// --- items ---

static hth_code insert_items(hth_store *s, const char *conversation, const hth_stored_item *items, size_t n,
                             hth_err *err) {
    sqlite3_stmt *q;
    for (size_t i = 0; i < n; i++) {
        HTH_TRY(prepare(s, &q, err,
                        "INSERT INTO items (conversation, place, id, body)"
                        " SELECT ?1, coalesce(max(place), 0) + 1, ?2, ?3 FROM items WHERE conversation = ?1",
                        "ssb", conversation, items[i].id, items[i].body, items[i].n_body));
        HTH_TRY(finish(s, q, NULL, err));
    }
    HTH_TRY(prepare(s, &q, err, "UPDATE conversations SET used = ? WHERE id = ?", "is", now_seconds(),
                    conversation));
    return finish(s, q, NULL, err);
}

static hth_code add_items(hth_store *s, const char *owner, const char *conversation,
                          const hth_stored_item *items, size_t n, hth_err *err) {
    hth_stored_conversation c;
    hth_err ignored;
    HTH_TRY(shrink(s, err));
    HTH_TRY(get_conversation(s, owner, conversation, NULL, &c, err));
    HTH_TRY(run(s, "BEGIN IMMEDIATE", err));
    hth_code code = insert_items(s, conversation, items, n, err);
    if (code == HTH_OK) code = run(s, "COMMIT", err);
    if (code != HTH_OK) (void)run(s, "ROLLBACK", &ignored);
    return code;
}

hth_code hth_store_add_items(hth_store *s, const char *owner, const char *conversation,
                             const hth_stored_item *items, size_t n, hth_err *err) {
    HTH_TRY(enter(s, err));
    const hth_code code = add_items(s, owner, conversation, items, n, err);
    hth_unlock(&s->lock);
    return code;
}

static hth_code count_items(hth_store *s, const char *conversation, size_t *n, hth_err *err) {
    sqlite3_stmt *q;
    HTH_TRY(prepare(s, &q, err, "SELECT count(*) FROM items WHERE conversation = ?", "s", conversation));
    const int step = sqlite3_step(q);
    const int64_t count = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    if (step != SQLITE_ROW) return fail_db(s, step, err);
    if (count > MAX_ITEMS)
        return hth_fail(err, HTH_ERR_LIMIT, "the conversation has more than %d items", MAX_ITEMS);
    *n = (size_t)count;
    return HTH_OK;
}

static hth_code get_items(hth_store *s, const char *owner, const char *conversation, hth_arena *a,
                          hth_stored_item **out, size_t *n, hth_err *err) {
    hth_stored_conversation c;
    sqlite3_stmt *q;
    size_t room;
    HTH_TRY(get_conversation(s, owner, conversation, NULL, &c, err));
    HTH_TRY(count_items(s, conversation, &room, err));
    hth_stored_item *items = hth_arena_alloc(a, room + 1, sizeof *items);
    if (!items) return hth_fail_nomem(err, room * sizeof *items);
    HTH_TRY(prepare(s, &q, err, "SELECT id, body FROM items WHERE conversation = ? ORDER BY place", "s",
                    conversation));
    hth_code code = HTH_OK;
    int step = SQLITE_DONE;
    while (code == HTH_OK && *n < room && (step = sqlite3_step(q)) == SQLITE_ROW) {
        code = keep_column(q, 0, a, &items[*n].id, NULL, err);
        if (code == HTH_OK) code = keep_column(q, 1, a, &items[*n].body, &items[*n].n_body, err);
        ++*n;
    }
    if (code == HTH_OK && step != SQLITE_ROW && step != SQLITE_DONE) code = fail_db(s, step, err);
    sqlite3_finalize(q);
    *out = items;
    return code;
}

hth_code hth_store_get_items(hth_store *s, const char *owner, const char *conversation, hth_arena *a,
                             hth_stored_item **out, size_t *n, hth_err *err) {
    *out = NULL;
    *n = 0;
    HTH_TRY(enter(s, err));
    const hth_code code = get_items(s, owner, conversation, a, out, n, err);
    hth_unlock(&s->lock);
    return code;
}

hth_code hth_store_delete_item(hth_store *s, const char *owner, const char *conversation, const char *id,
                               hth_err *err) {
    sqlite3_stmt *q;
    int n = 0;
    HTH_TRY(enter(s, err));
    hth_code code = prepare(s, &q, err,
                            "DELETE FROM items WHERE conversation = (SELECT id FROM conversations WHERE id = "
                            "? AND owner = ?) AND id = ?",
                            "sss", conversation, owner, id);
    if (code == HTH_OK) code = finish(s, q, &n, err);
    if (code == HTH_OK && n == 0) code = not_found(err, "Item", id);
    hth_unlock(&s->lock);
    return code;
}
