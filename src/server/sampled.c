// A ring of calls, looked through by the hashes of their ids.
#include "server/sampled.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "formats/json.h"
#include "os/sync.h"

#define N_CALL 1024
#define MAX_CALL_BYTES ((size_t)64 << 10)
#define MAX_BYTES ((size_t)8 << 20)
#define MAX_PAIRS 4096 // values that are still to be compared

typedef struct kept {
    uint64_t hash; // of the id
    char *text;    // id, name and arguments one behind the other; owned. NULL: nothing
    size_t n_id, n_name, n_arguments;
} kept;

struct hth_sampled {
    hth_mutex lock;
    kept calls[N_CALL];
    size_t next, n; // the place of the next one; how many there are before it
    size_t n_bytes;
};

hth_sampled *hth_sampled_new(void) {
    hth_sampled *s = hth_calloc(HTH_MEM_SERVER, 1, sizeof *s);
    hth_err err;
    if (s && hth_mutex_init(&s->lock, &err) == HTH_OK) return s;
    hth_free(s);
    return NULL;
}

void hth_sampled_free(hth_sampled *s) {
    if (!s) return;
    for (size_t i = 0; i < N_CALL; i++) hth_free(s->calls[i].text);
    hth_mutex_destroy(&s->lock);
    hth_free(s);
}

static size_t bytes_of(const kept *k) {
    return k->n_id + k->n_name + k->n_arguments;
}

static void forget_oldest(hth_sampled *s) {
    kept *k = &s->calls[(s->next + N_CALL - s->n--) % N_CALL];
    s->n_bytes -= bytes_of(k);
    hth_free(k->text);
    *k = (kept){0};
}

void hth_sampled_keep(hth_sampled *s, hth_chat_text id, hth_chat_text name, hth_chat_text arguments) {
    kept k = {.hash = hth_hash(id.p, id.n, 0), .n_id = id.n, .n_name = name.n, .n_arguments = arguments.n};
    if (!s || id.n == 0 || bytes_of(&k) > MAX_CALL_BYTES) return;
    k.text = hth_calloc(HTH_MEM_SERVER, bytes_of(&k) + 1, 1);
    if (!k.text) return;
    memcpy(k.text, id.p, id.n);
    memcpy(k.text + id.n, name.p, name.n);
    memcpy(k.text + id.n + name.n, arguments.p, arguments.n);
    hth_lock(&s->lock);
    while (s->n == N_CALL || (s->n > 0 && s->n_bytes + bytes_of(&k) > MAX_BYTES)) forget_oldest(s);
    s->calls[s->next] = k;
    s->n++;
    s->n_bytes += bytes_of(&k);
    s->next = (s->next + 1) % N_CALL;
    hth_unlock(&s->lock);
}

// ---- whether two texts mean the same JSON

typedef struct pair {
    const hth_json *a, *b;
} pair;

static bool is_same_number(const hth_json *a, const hth_json *b) {
    return a->is_int && b->is_int ? a->u.num.i == b->u.num.i : a->u.num.d == b->u.num.d;
}

// Puts the children of two values that look alike on the stack; false: they differ, or are too many.
static bool compare(pair p, pair *stack, size_t *n) {
    if (p.a->kind != p.b->kind) return false;
    switch (p.a->kind) {
    case HTH_JSON_NULL: return true;
    case HTH_JSON_BOOL: return p.a->u.b == p.b->u.b;
    case HTH_JSON_NUMBER: return is_same_number(p.a, p.b);
    case HTH_JSON_STRING: return p.a->n == p.b->n && memcmp(p.a->u.str, p.b->u.str, p.a->n) == 0;
    default: break;
    }
    if (p.a->n != p.b->n || *n + p.a->n > MAX_PAIRS) return false;
    for (uint32_t i = 0; i < p.a->n; i++) {
        const bool is_object = p.a->kind == HTH_JSON_OBJECT;
        const hth_json *a = is_object ? &p.a->u.members[i].value : &p.a->u.items[i];
        const hth_json *b = is_object ? hth_json_get(p.b, p.a->u.members[i].key) : &p.b->u.items[i];
        if (!b) return false;
        stack[(*n)++] = (pair){a, b};
    }
    return true;
}

static bool is_same_value(const hth_json *a, const hth_json *b) {
    pair *stack = hth_calloc(HTH_MEM_SERVER, MAX_PAIRS, sizeof *stack);
    size_t n = 1;
    bool same = stack != NULL;
    if (same) stack[0] = (pair){a, b};
    while (same && n > 0) {
        const pair p = stack[--n];
        same = compare(p, stack, &n);
    }
    hth_free(stack);
    return same;
}

static bool is_same_json(hth_chat_text a, hth_chat_text b) {
    hth_json_doc *one = NULL, *other = NULL;
    hth_err err;
    if (a.n == b.n && memcmp(a.p, b.p, a.n) == 0) return true;
    const bool same = hth_json_parse(a.p, a.n, 64 * MAX_CALL_BYTES, &one, &err) == HTH_OK &&
                      hth_json_parse(b.p, b.n, 64 * MAX_CALL_BYTES, &other, &err) == HTH_OK &&
                      is_same_value(hth_json_root(one), hth_json_root(other));
    hth_json_free(one);
    hth_json_free(other);
    return same;
}

// ---- finding

// The newest one of an id: some formats number their calls anew in each conversation.
static const kept *find(const hth_sampled *s, hth_chat_text id) {
    const uint64_t hash = hth_hash(id.p, id.n, 0);
    for (size_t i = 1; i <= s->n; i++) {
        const kept *k = &s->calls[(s->next + N_CALL - i) % N_CALL];
        if (k->hash == hash && k->n_id == id.n && memcmp(k->text, id.p, id.n) == 0) return k;
    }
    return NULL;
}

hth_sampled_found hth_sampled_find(hth_sampled *s, hth_arena *a, hth_chat_call *call) {
    hth_chat_text name = {NULL, 0}, arguments = {NULL, 0};
    if (!s || call->id.n == 0 || call->arguments.n > MAX_CALL_BYTES) return HTH_SAMPLED_UNKNOWN;
    hth_lock(&s->lock);
    const kept *k = find(s, call->id);
    char *copy = k ? hth_arena_strndup(a, k->text + k->n_id, k->n_name + k->n_arguments) : NULL;
    if (copy) {
        name = (hth_chat_text){copy, k->n_name};
        arguments = (hth_chat_text){copy + k->n_name, k->n_arguments};
    }
    hth_unlock(&s->lock);
    if (!copy) return HTH_SAMPLED_UNKNOWN;
    const bool is_named = name.n == call->name.n && memcmp(name.p, call->name.p, name.n) == 0;
    if (!is_named || !is_same_json(arguments, call->arguments)) return HTH_SAMPLED_CHANGED;
    call->arguments = arguments;
    call->as_written = true;
    return HTH_SAMPLED_SAME;
}
