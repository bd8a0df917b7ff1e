// The registry: who asks for a model waits here until the thread (models_load.c) has it ready.
#include "server/models.h"

#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/file.h"
#include "server/models_impl.h"

#define DEFAULT_KEEP_ALIVE_MS (5 * 60 * 1000)
#define WAIT_STEP_NS ((uint64_t)100 * 1000 * 1000) // between looks at whether a waiter still wants

// A hold, as models.h shows it, and what belongs to it.
typedef struct use {
    hth_use pub; // first
    slot *slot;
    hth_lora_set set;
    hth_lora_use uses[HTH_MAX_LORA], lora[HTH_MAX_LORA];
} use;

// ---- parameters

static const char *copy_text(hth_models *m, const char *text, bool *ok) {
    if (!text) return NULL;
    const char *copy = hth_arena_strndup(&m->arena, text, strlen(text));
    *ok = *ok && copy;
    return copy;
}

static hth_load_options copy_load(hth_models *m, const hth_load_options *from, bool *ok) {
    hth_load_options o = *from;
    o.k_type = copy_text(m, from->k_type, ok);
    o.v_type = copy_text(m, from->v_type, ok);
    o.activations = copy_text(m, from->activations, ok);
    o.cache_folder = copy_text(m, from->cache_folder, ok);
    o.chat_name = copy_text(m, from->chat_name, ok);
    o.chat_text = copy_text(m, from->chat_text, ok);
    const char **paths = hth_arena_alloc(&m->arena, from->n_lora, sizeof *paths);
    float *scales = hth_arena_alloc(&m->arena, from->n_lora, sizeof *scales);
    *ok = *ok && paths && scales;
    for (size_t i = 0; *ok && i < from->n_lora; i++) {
        paths[i] = copy_text(m, from->lora[i], ok);
        scales[i] = from->lora_scale ? from->lora_scale[i] : 1;
    }
    o.lora = paths;
    o.lora_scale = scales;
    return o;
}

static bool copy_offers(hth_models *m, const hth_models_params *p) {
    bool ok = true;
    hth_offer *offers = hth_arena_alloc(&m->arena, p->n_offer, sizeof *offers);
    const char **folders = hth_arena_alloc(&m->arena, p->n_folder, sizeof *folders);
    if (!offers || !folders) return false;
    for (size_t i = 0; i < p->n_offer; i++) {
        offers[i].path = copy_text(m, p->offers[i].path, &ok);
        offers[i].alias = copy_text(m, p->offers[i].alias, &ok);
        offers[i].draft = copy_text(m, p->offers[i].draft, &ok);
        if (!p->offers[i].load) continue;
        hth_load_options *load = hth_arena_alloc(&m->arena, 1, sizeof *load);
        if (!load) return false;
        *load = copy_load(m, p->offers[i].load, &ok);
        offers[i].load = load;
    }
    for (size_t i = 0; i < p->n_folder; i++) folders[i] = copy_text(m, p->folders[i], &ok);
    m->p.offers = offers;
    m->p.folders = folders;
    return ok;
}

static hth_code check_adapters(const hth_load_options *o, const char *of, hth_err *err) {
    if (!o || o->n_lora <= HTH_MAX_LORA) return HTH_OK;
    return hth_fail(err, HTH_ERR_RANGE, "%s has %zu adapters; %d are possible", of, o->n_lora, HTH_MAX_LORA);
}

static hth_code check_params(const hth_models_params *p, hth_err *err) {
    for (size_t i = 0; i < p->n_offer; i++)
        HTH_TRY(check_adapters(p->offers[i].load, p->offers[i].path, err));
    return check_adapters(&p->load, "the server", err);
}

static hth_code take_params(hth_models *m, const hth_models_params *p, hth_err *err) {
    bool ok = true;
    HTH_TRY(check_params(p, err));
    m->p = *p;
    m->p.load = copy_load(m, &p->load, &ok);
    m->p.state_folder = copy_text(m, p->state_folder, &ok);
    if (!copy_offers(m, p) || !ok) return hth_fail_nomem(err, 4096);
    memcpy(m->lora_scales, m->p.load.lora_scale, p->load.n_lora * sizeof *m->lora_scales);
    if (!p->has_keep_alive) m->p.keep_alive_ms = DEFAULT_KEEP_ALIVE_MS;
    m->memory_bytes = p->memory_bytes ? p->memory_bytes : models_default_memory();
    return HTH_OK;
}

// ---- life

static hth_code start(hth_models *m, const hth_models_params *p, hth_err *err) {
    const hth_host_params host = {.n_thread = p->n_thread, .numa = p->numa};
    m->generation = 1;
    HTH_TRY(take_params(m, p, err));
    HTH_TRY(hth_mutex_init(&m->lock, err));
    m->has_lock = true;
    HTH_TRY(hth_mutex_init(&m->scan_lock, err));
    m->has_scan_lock = true;
    HTH_TRY(hth_cond_init(&m->changed, err));
    m->has_changed = true;
    HTH_TRY(models_scan(m, true, err));
    HTH_TRY(hth_host_new(&host, &m->host, err));
    HTH_TRY(hth_thread_start(&m->thread, models_run, m, err));
    m->has_thread = true;
    return HTH_OK;
}

hth_code hth_models_open(const hth_models_params *p, hth_models **out, hth_err *err) {
    *out = NULL;
    hth_models *m = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *m);
    if (!m) return hth_fail_nomem(err, sizeof *m);
    hth_arena_init(&m->arena, HTH_MEM_ENGINE, (uint64_t)64 << 20);
    const hth_code code = start(m, p, err);
    if (code != HTH_OK) {
        hth_models_close(m);
        return code;
    }
    *out = m;
    return HTH_OK;
}

void hth_models_close(hth_models *m) {
    if (!m) return;
    if (m->has_thread) {
        hth_lock(&m->lock);
        m->is_closing = true;
        hth_cond_wake_all(&m->changed);
        hth_unlock(&m->lock);
        hth_thread_join(&m->thread);
    }
    hth_host_free(m->host);
    for (size_t i = 0; i < m->n_card; i++) hth_card_drop(&m->cards[i]->pub);
    hth_free(m->cards);
    for (size_t i = 0; i < m->n_hidden; i++) hth_free(m->hidden[i]);
    hth_free(m->hidden);
    if (m->has_changed) hth_cond_destroy(&m->changed);
    if (m->has_scan_lock) hth_mutex_destroy(&m->scan_lock);
    if (m->has_lock) hth_mutex_destroy(&m->lock);
    hth_arena_free(&m->arena);
    hth_free(m);
}

hth_host *hth_models_host(hth_models *m) {
    return m->host;
}

const char *hth_models_state_folder(const hth_models *m) {
    return m->p.state_folder;
}

// ---- finding

static slot *find_slot(hth_models *m, const hth_card *c) {
    for (slot *s = m->slots; s; s = s->next) {
        const bool is_there = s->phase == SLOT_WAITING || s->phase == SLOT_LOADING || s->phase == SLOT_READY;
        if (is_there && !s->wants_out && slot_serves(s, c)) return s;
    }
    return NULL;
}

// The one that was used last; else the first of the list.
static card *default_card(hth_models *m) {
    slot *best = NULL;
    for (slot *s = m->slots; s; s = s->next) {
        if (s->phase == SLOT_READY && (!best || s->used_ns > best->used_ns)) best = s;
    }
    return best ? card_of(best->card) : m->n_card > 0 ? m->cards[0] : NULL;
}

// Returns held, or NULL.
static card *find_card(hth_models *m, const char *name) {
    hth_lock(&m->lock);
    card *best = NULL;
    int best_rank = -1;
    for (size_t i = 0; name && name[0] && i < m->n_card; i++) {
        const int rank = card_match(m->cards[i], name);
        if (rank < 0 || (best && rank >= best_rank)) continue;
        best = m->cards[i];
        best_rank = rank;
    }
    if (!name || !name[0]) best = default_card(m);
    if (best) hth_card_hold(&best->pub);
    hth_unlock(&m->lock);
    return best;
}

// The first that was named at the start. Returns held, or NULL.
static card *first_card(hth_models *m) {
    hth_lock(&m->lock);
    card *c = m->n_card > 0 ? m->cards[0] : NULL;
    if (c) hth_card_hold(&c->pub);
    hth_unlock(&m->lock);
    return c;
}

static hth_code fail_unknown(hth_models *m, const char *name, hth_err *err) {
    enum { MOST = 12 };
    hth_str list;
    hth_str_init(&list, HTH_MEM_ENGINE, 400);
    hth_lock(&m->lock);
    const size_t n = m->n_card;
    for (size_t i = 0; i < n && i < MOST; i++) {
        if (list.len + strlen(m->cards[i]->pub.name) > 280) break;
        hth_str_printf(&list, "%s%s", i ? ", " : "", m->cards[i]->pub.name);
    }
    hth_unlock(&m->lock);
    const hth_code code =
        n == 0 ? hth_fail(err, HTH_ERR_NOTFOUND, "model '%.100s' not found: this server has no models", name)
               : hth_fail(err, HTH_ERR_NOTFOUND, "model '%.100s' not found; there %s %s", name,
                          n == 1 ? "is" : "are", hth_str_text(&list));
    hth_str_free(&list);
    return code;
}

// Whether its file is still there.
static bool is_current(const card *c) {
    return hth_path_kind_of(c->pub.path) != HTH_PATH_NONE;
}

hth_code hth_models_find(hth_models *m, const char *name, const hth_card **out, hth_err *err) {
    *out = NULL;
    card *c = find_card(m, name);
    if (!c || !is_current(c)) {
        // Perhaps it came, or went, a moment ago.
        if (c) hth_card_drop(&c->pub);
        HTH_TRY(models_scan(m, false, err));
        c = find_card(m, name);
    }
    if (!c && m->p.any_name) c = first_card(m);
    if (!c) return fail_unknown(m, name ? name : "", err);
    *out = &c->pub;
    return HTH_OK;
}

static int compare_cards(const void *a, const void *b) {
    return strcmp((*(const hth_card *const *)a)->name, (*(const hth_card *const *)b)->name);
}

hth_code hth_models_list(hth_models *m, const hth_card ***list, size_t *n, hth_err *err) {
    *list = NULL;
    *n = 0;
    HTH_TRY(models_scan(m, false, err));
    hth_lock(&m->lock);
    const hth_card **cards = hth_calloc(HTH_MEM_ENGINE, m->n_card, sizeof *cards);
    for (size_t i = 0; cards && i < m->n_card; i++) cards[i] = hth_card_hold(&m->cards[i]->pub);
    const size_t n_card = m->n_card;
    hth_unlock(&m->lock);
    if (!cards) return hth_fail_nomem(err, n_card * sizeof *cards);
    if (n_card > 1) qsort(cards, n_card, sizeof *cards, compare_cards);
    *list = cards;
    *n = n_card;
    return HTH_OK;
}

void hth_cards_free(const hth_card **list, size_t n) {
    for (size_t i = 0; i < n; i++) hth_card_drop(list[i]);
    hth_free(list);
}

// ---- acquiring

static slot *add_slot(hth_models *m, const hth_card *c) {
    slot *s = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *s);
    if (!s) return NULL;
    s->card = hth_card_hold(c);
    s->phase = SLOT_WAITING;
    s->keep_alive_ms = m->p.keep_alive_ms;
    slot **end = &m->slots;
    while (*end) end = &(*end)->next;
    *end = s;
    hth_cond_wake_all(&m->changed);
    return s;
}

static hth_code ask_waiter(hth_models *m, const slot *s, const hth_acquire *p, uint64_t started,
                           hth_err *err) {
    const int64_t done = s->n_done, total = s->n_total;
    if (p->on_wait) {
        hth_unlock(&m->lock);
        const bool goes_on = p->on_wait(p->user, done, total);
        hth_lock(&m->lock);
        if (!goes_on) return hth_fail(err, HTH_ERR_CANCELLED, "nobody waits for the model any more");
    }
    if (p->deadline_ms > 0 && hth_clock_ns() - started > (uint64_t)p->deadline_ms * 1000000) {
        return hth_fail(err, HTH_ERR_TIMEOUT, "%s was not loaded within %lld ms", s->card->name,
                        (long long)p->deadline_ms);
    }
    return HTH_OK;
}

// Waits for a slot to be ready or to fail; under the lock. A failed slot goes with its last waiter.
static hth_code wait_for(hth_models *m, slot *s, const hth_acquire *p, hth_err *err) {
    const uint64_t started = hth_clock_ns();
    hth_code code = HTH_OK;
    s->n_wait++;
    while (code == HTH_OK && s->phase != SLOT_READY && s->phase != SLOT_FAILED) {
        hth_cond_wait_until(&m->changed, &m->lock, hth_clock_ns() + WAIT_STEP_NS);
        if (s->phase != SLOT_READY && s->phase != SLOT_FAILED) code = ask_waiter(m, s, p, started, err);
    }
    s->n_wait--;
    if (code == HTH_OK && s->phase == SLOT_FAILED) {
        if (err) *err = s->err;
        code = s->err.code;
    }
    if (s->n_wait == 0 && s->phase == SLOT_FAILED) models_drop_slot(m, s);
    hth_cond_wake_all(&m->changed);
    return code;
}

static hth_code hold_slot(hth_models *m, const hth_card *c, const hth_acquire *p, bool waits, slot **out,
                          hth_err *err) {
    hth_lock(&m->lock);
    slot *s = find_slot(m, c);
    hth_code code = HTH_OK;
    if (!waits && !(s && s->phase == SLOT_READY)) {
        code = hth_fail(err, HTH_ERR_BUSY, "%s is not loaded", c->name);
    } else if (m->is_closing) {
        code = hth_fail(err, HTH_ERR_CANCELLED, "the server is closing");
    } else {
        if (!s) s = add_slot(m, c);
        if (!s) code = hth_fail_nomem(err, sizeof *s);
    }
    if (code == HTH_OK && s->phase != SLOT_READY) code = wait_for(m, s, p, err);
    if (code == HTH_OK) {
        s->n_use++;
        s->used_ns = hth_clock_ns();
        if (p->has_keep_alive) s->keep_alive_ms = p->keep_alive_ms;
        *out = s;
    }
    hth_unlock(&m->lock);
    return code;
}

static hth_code open_adapter(hth_models *m, use *u, const char *path, hth_lora_use *out, hth_err *err) {
    return slot_adapter_get(m, u->slot, path, &out->lora, err);
}

static void add_use(use *u, hth_lora_use one) {
    if (one.scale != 0) u->uses[u->set.n++] = one;
}

static hth_code add_adapters(hth_models *m, use *u, const card *c, hth_err *err) {
    const hth_load_options *load = c->load;
    const hth_preset *preset = &c->pub.preset;
    const size_t n = (load ? load->n_lora : 0) + preset->n_adapter;
    if (n > HTH_MAX_LORA)
        return hth_fail(err, HTH_ERR_LIMIT, "%s has %zu adapters; %d are possible", c->pub.name, n,
                        HTH_MAX_LORA);
    for (size_t i = 0; load && i < load->n_lora; i++) {
        HTH_TRY(open_adapter(m, u, load->lora[i], &u->lora[i], err));
        u->lora[i].scale = load == &m->p.load ? m->lora_scales[i] : load->lora_scale[i];
        add_use(u, u->lora[i]);
        u->pub.n_lora++;
    }
    for (size_t i = 0; i < preset->n_adapter; i++) {
        hth_lora_use one = {.scale = 1};
        HTH_TRY(open_adapter(m, u, preset->adapters[i], &one, err));
        add_use(u, one);
    }
    return HTH_OK;
}

static hth_code acquire(hth_models *m, const hth_acquire *p, bool waits, hth_use **out, hth_err *err) {
    const hth_card *c;
    const uint64_t started = hth_clock_ns();
    *out = NULL;
    use *u = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *u);
    if (!u) return hth_fail_nomem(err, sizeof *u);
    hth_code code = hth_models_find(m, p->name, &c, err);
    if (code != HTH_OK) {
        hth_free(u);
        return code;
    }
    bool waited = false;
    code = hold_slot(m, c, p, false, &u->slot, err);
    if (code == HTH_ERR_BUSY && waits) {
        waited = true;
        code = hold_slot(m, c, p, true, &u->slot, err);
    }
    if (code != HTH_OK) {
        hth_card_drop(c);
        hth_free(u);
        return code;
    }
    u->pub = (hth_use){.card = c,
                       .engine = u->slot->engine,
                       .tokenizer = hth_engine_tokenizer(u->slot->engine),
                       .chat = u->slot->chat,
                       .chat_note = u->slot->chat_note,
                       .format = u->slot->format,
                       .reasoning = u->slot->reasoning,
                       .sampled = u->slot->sampled,
                       .adapters = &u->set,
                       .lora = u->lora,
                       .load_ns = waited ? hth_clock_ns() - started : 0};
    u->set.uses = u->uses;
    code = add_adapters(m, u, card_of(c), err);
    if (code != HTH_OK) {
        hth_models_release(m, &u->pub);
        return code;
    }
    *out = &u->pub;
    return HTH_OK;
}

hth_code hth_models_acquire(hth_models *m, const hth_acquire *p, hth_use **out, hth_err *err) {
    return acquire(m, p, true, out, err);
}

hth_code hth_models_try_acquire(hth_models *m, const hth_acquire *p, hth_use **out, hth_err *err) {
    return acquire(m, p, false, out, err);
}

void hth_models_release(hth_models *m, hth_use *pub) {
    if (!pub) return;
    use *u = (use *)(void *)pub;
    hth_lock(&m->lock);
    slot *s = u->slot;
    s->n_use--;
    s->used_ns = hth_clock_ns();
    s->expires_ns = s->keep_alive_ms < 0 ? UINT64_MAX : s->used_ns + (uint64_t)s->keep_alive_ms * 1000000;
    m->generation++;
    hth_cond_wake_all(&m->changed);
    hth_unlock(&m->lock);
    hth_card_drop(pub->card);
    hth_free(u);
}

hth_code hth_models_vocab(hth_models *m, const hth_use *pub, const hth_grammar_vocab **out, hth_err *err) {
    slot *s = ((const use *)(const void *)pub)->slot;
    hth_grammar_vocab *made;
    hth_lock(&m->lock);
    *out = s->vocab;
    hth_unlock(&m->lock);
    if (*out) return HTH_OK;
    HTH_TRY(hth_grammar_vocab_new(pub->tokenizer, &made, err)); // without the lock: it goes through all tokens
    hth_lock(&m->lock);
    if (!s->vocab) {
        s->vocab = made;
        made = NULL;
    }
    *out = s->vocab;
    hth_unlock(&m->lock);
    hth_grammar_vocab_free(made); // somebody else was faster
    return HTH_OK;
}

// ---- adapters

size_t hth_models_get_lora(hth_models *m, hth_models_lora list[HTH_MAX_LORA]) {
    hth_lock(&m->lock);
    for (size_t i = 0; i < m->p.load.n_lora; i++)
        list[i] = (hth_models_lora){m->p.load.lora[i], m->lora_scales[i]};
    hth_unlock(&m->lock);
    return m->p.load.n_lora;
}

void hth_models_set_lora(hth_models *m, const float *scales) {
    hth_lock(&m->lock);
    memcpy(m->lora_scales, scales, m->p.load.n_lora * sizeof *scales);
    hth_unlock(&m->lock);
}

// ---- looking and unloading

hth_code hth_models_unload(hth_models *m, const char *name, bool wait, hth_err *err) {
    const hth_card *c;
    HTH_TRY(hth_models_find(m, name, &c, err));
    hth_lock(&m->lock);
    slot *s = find_slot(m, c);
    hth_code code = HTH_OK;
    if (!s || s->phase != SLOT_READY) code = hth_fail(err, HTH_ERR_NOTFOUND, "%s is not loaded", c->name);
    if (code == HTH_OK) {
        s->wants_out = true;
        hth_cond_wake_all(&m->changed);
        while (wait && models_has_slot(m, s)) hth_cond_wait(&m->changed, &m->lock);
    }
    hth_unlock(&m->lock);
    hth_card_drop(c);
    return code;
}

static hth_load_phase phase_of(const slot *s) {
    if (s->phase == SLOT_CLOSING || (s->phase == SLOT_READY && s->wants_out)) return HTH_LOAD_DRAINING;
    return s->phase == SLOT_READY   ? HTH_LOAD_READY
         : s->phase == SLOT_LOADING ? HTH_LOAD_READING
                                    : HTH_LOAD_WAITING;
}

static void describe(const slot *s, uint64_t now, hth_loaded_info *out) {
    *out = (hth_loaded_info){.card = hth_card_hold(s->card),
                             .phase = phase_of(s),
                             .n_use = s->n_use,
                             .memory_bytes = s->promised_bytes,
                             .expires_ms = s->keep_alive_ms};
    if (s->phase != SLOT_READY) return;
    out->n_ctx = hth_engine_n_ctx(s->engine);
    hth_engine_get_stats(s->engine, &out->stats);
    out->used_bytes = s->fixed_bytes + out->stats.kv_bytes + out->stats.cache_bytes;
    if (s->n_use > 0) return;
    out->expires_ms = s->expires_ns == UINT64_MAX ? -1
                    : s->expires_ns <= now        ? 0
                                                  : (int64_t)((s->expires_ns - now) / 1000000);
}

hth_code hth_models_loaded(hth_models *m, hth_loaded_info **list, size_t *n, hth_err *err) {
    size_t n_slot = 0, at = 0;
    hth_lock(&m->lock);
    for (const slot *s = m->slots; s; s = s->next) n_slot += s->phase != SLOT_FAILED;
    hth_loaded_info *info = hth_calloc(HTH_MEM_ENGINE, n_slot, sizeof *info);
    const uint64_t now = hth_clock_ns();
    for (const slot *s = m->slots; info && s; s = s->next) {
        if (s->phase != SLOT_FAILED) describe(s, now, &info[at++]);
    }
    hth_unlock(&m->lock);
    *list = info;
    *n = at;
    return info ? HTH_OK : hth_fail_nomem(err, n_slot * sizeof *info);
}

void hth_loaded_free(hth_loaded_info *list, size_t n) {
    for (size_t i = 0; i < n; i++) hth_card_drop(list[i].card);
    hth_free(list);
}
