// The registry's thread: loads what is waited for, unloads what has expired, was asked to go, or is in the
// way.
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/sha256.h"
#include "model/residency.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "server/models_impl.h"
#include "server/sampled.h"

#define LEAST_CONTEXT 4096 // a model is not squeezed below this while others could go

uint64_t models_default_memory(void) {
    hth_machine machine;
    hth_machine_get(&machine);
    const uint64_t n = machine.available_bytes ? machine.available_bytes : machine.memory_bytes;
    return n ? n / 4 * 3 : (uint64_t)4 << 30;
}

// ---- slots

static const char *override_of(const hth_card *c) {
    const card *own = card_of(c);
    return c->preset.chat_template ? c->preset.chat_template : own->load ? own->load->chat_text : NULL;
}

static bool is_same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool slot_serves(const slot *s, const hth_card *c) {
    return s->card == c ||
           (strcmp(s->card->path, c->path) == 0 && card_of(s->card)->load == card_of(c)->load &&
            is_same_text(override_of(s->card), override_of(c)));
}

bool models_has_slot(const hth_models *m, const slot *s) {
    for (const slot *t = m->slots; t; t = t->next) {
        if (t == s) return true;
    }
    return false;
}

void models_drop_slot(hth_models *m, slot *s) {
    slot **at = &m->slots;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    hth_card_drop(s->card);
    hth_free(s);
    m->generation++;
    hth_cond_wake_all(&m->changed);
}

hth_code slot_adapter_get(hth_models *m, slot *s, const char *path, const hth_lora **out, hth_err *err) {
    hth_lora *lora = NULL;
    for (int round = 0;; round++) {
        slot_adapter *a = NULL;
        hth_lock(&m->lock);
        for (a = s->adapters; a && strcmp(a->path, path) != 0;) a = a->next;
        if (!a && round == 1) { // nobody else was quicker
            a = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *a);
            if (a) a->path = hth_strndup(HTH_MEM_ENGINE, path, strlen(path));
            if (a && a->path) {
                a->lora = lora;
                a->next = s->adapters;
                s->adapters = a;
                lora = NULL;
            } else {
                hth_free(a);
                a = NULL;
            }
        }
        hth_unlock(&m->lock);
        if (a || round == 1) {
            hth_lora_free(lora);
            if (!a) return hth_fail_nomem(err, sizeof *a);
            *out = a->lora;
            return HTH_OK;
        }
        HTH_TRY(hth_lora_open(path, hth_engine_model(s->engine), &lora, err));
    }
}

// ---- unloading

static void close_parts(slot *s) {
    hth_chat_template_free(s->chat);
    hth_sampled_free(s->sampled);
    while (s->adapters) {
        slot_adapter *a = s->adapters;
        s->adapters = a->next;
        hth_lora_free(a->lora);
        hth_free(a->path);
        hth_free(a);
    }
    hth_engine_close(s->engine); // its requests are over: nobody is guided any more
    hth_grammar_vocab_free(s->vocab);
    s->engine = NULL;
    s->chat = NULL;
    s->vocab = NULL;
    s->promised_bytes = 0;
}

// Under the lock, which is released meanwhile.
static void unload(hth_models *m, slot *s) {
    s->phase = SLOT_CLOSING;
    hth_unlock(&m->lock);
    close_parts(s);
    hth_log(HTH_LOG_INFO, "%s was unloaded", s->card->name);
    hth_lock(&m->lock);
    models_drop_slot(m, s);
}

static bool is_idle(const slot *s) {
    return s->phase == SLOT_READY && s->n_use == 0 && s->n_wait == 0;
}

static slot *find_leaving(hth_models *m, uint64_t now) {
    for (slot *s = m->slots; s; s = s->next) {
        if (is_idle(s) && (s->wants_out || m->is_closing || s->expires_ns <= now)) return s;
    }
    return NULL;
}

// The longest unused; idle ones before busy ones. NULL where none is loaded.
static slot *find_victim(hth_models *m) {
    slot *best = NULL;
    for (slot *s = m->slots; s; s = s->next) {
        if (s->phase != SLOT_READY) continue;
        if (!best || (is_idle(s) && !is_idle(best)) ||
            (is_idle(s) == is_idle(best) && s->used_ns < best->used_ns))
            best = s;
    }
    return best;
}

// ---- loading

// What is not promised to any model. Weights that two slots map are counted once.
static uint64_t free_bytes(const hth_models *m) {
    uint64_t used = 0;
    for (const slot *s = m->slots; s; s = s->next) used += s->promised_bytes;
    return used < m->memory_bytes ? m->memory_bytes - used : 0;
}

static uint64_t new_weights(const hth_models *m, const slot *s) {
    for (const slot *t = m->slots; t; t = t->next) {
        if (t != s && t->phase == SLOT_READY && strcmp(t->card->path, s->card->path) == 0) return 0;
    }
    return s->card->size_bytes;
}

typedef struct job {
    hth_models *m;
    slot *s;
    uint64_t free_bytes, weight_bytes;
    bool is_alone; // on this server there is nothing else to load
    hth_engine *engine;
    hth_chat_template *chat;
    uint64_t promised, fixed;
} job;

static bool on_load(void *user, int64_t done, int64_t total) {
    job *j = user;
    hth_lock(&j->m->lock);
    j->s->n_done = done;
    j->s->n_total = total;
    const bool goes_on = j->s->n_wait > 0 && !j->m->is_closing;
    hth_unlock(&j->m->lock);
    return goes_on;
}

// A folder for what is kept over restarts: models must not meet each other's files.
static bool put_cache_folder(const job *j, const hth_load_options *o, hth_str *to) {
    hth_str_printf(to, "%s/%.16s", o->cache_folder, j->s->card->digest);
    return !to->failed;
}

// A model that serves beside others gets what its requests can make use of, not all there is.
static hth_code settle_memory(job *j, hth_err *err) {
    hth_plan one, many;
    HTH_TRY(hth_engine_plan(j->engine, 0, 1, &one, err));
    HTH_TRY(hth_engine_plan(j->engine, one.n_ctx < 2 * LEAST_CONTEXT ? one.n_ctx : 2 * LEAST_CONTEXT, 0,
                            &many, err));
    const uint64_t most = one.kv_bytes > many.kv_bytes ? one.kv_bytes : many.kv_bytes;
    const uint64_t wish = many.scratch_bytes + most + most / 4;
    if (!j->is_alone && wish < one.limit_bytes) {
        HTH_TRY(hth_engine_limit_memory(j->engine, wish, err));
        one.limit_bytes = wish;
    }
    // What is in memory of our own is there for this slot alone; what is mapped may be shared with others.
    const hth_model *model = hth_engine_model(j->engine);
    const uint64_t weights = (model->own_bytes > 0 ? model->own_bytes : j->weight_bytes) + one.weight_bytes -
                             model->weight_bytes; // and the draft model's
    j->promised = weights + one.limit_bytes;
    j->fixed = weights + one.scratch_bytes;
    return HTH_OK;
}

static hth_code open_engine(job *j, hth_err *err) {
    static const hth_load_options nothing;
    const hth_load_options *o = card_of(j->s->card)->load ? card_of(j->s->card)->load : &nothing;
    hth_str folder;
    hth_str_init(&folder, HTH_MEM_ENGINE, 8192);
    if (o->cache_folder && !put_cache_folder(j, o, &folder)) return hth_fail_nomem(err, 8192);
    // Where the weights do not fit, experts stay on disk and the rest shares what there is.
    const uint64_t beside =
        j->free_bytes > j->weight_bytes ? j->free_bytes - j->weight_bytes : j->free_bytes / 8;
    const hth_engine_params p = {.host = j->m->host,
                                 .n_ctx = o->n_ctx,
                                 .k_type = o->k_type,
                                 .v_type = o->v_type,
                                 .activations = o->activations,
                                 .n_sequence = o->n_sequence,
                                 .n_queue = o->n_queue,
                                 .n_chunk = o->n_chunk,
                                 .draft = card_of(j->s->card)->draft,
                                 .no_cache = o->no_cache,
                                 .no_map = o->no_map,
                                 .cache_folder = o->cache_folder ? hth_str_text(&folder) : NULL,
                                 .cache_folder_bytes = o->cache_folder_bytes,
                                 .weight_bytes = j->free_bytes,
                                 .memory_bytes = beside,
                                 .on_load = on_load,
                                 .load_user = j};
    hth_code code = hth_engine_open(j->s->card->path, &p, &j->engine, err);
    hth_str_free(&folder);
    return code == HTH_OK ? settle_memory(j, err) : code;
}

static hth_code open_chat(job *j, hth_err *err) {
    const card *c = card_of(j->s->card);
    const char *override = override_of(j->s->card);
    const hth_chat_choice choice = {.name = !override && c->load ? c->load->chat_name : NULL,
                                    .text = {override, override ? strlen(override) : 0}};
    hth_tokenizer *t = hth_engine_tokenizer(j->engine);
    const hth_model *model = hth_engine_model(j->engine);
    hth_err why;
    if (!t) {
        snprintf(j->s->chat_note, sizeof j->s->chat_note, "the model has no tokenizer");
        return HTH_OK;
    }
    const hth_code code = hth_chat_template_open(model->container, t, &choice, &j->chat, &why);
    if (code == HTH_ERR_NOMEM) {
        if (err) *err = why;
        return code;
    }
    if (code != HTH_OK) {
        j->chat = NULL;
        snprintf(j->s->chat_note, sizeof j->s->chat_note, "%.250s", why.msg);
        return HTH_OK;
    }
    j->s->format = hth_chat_format_of(j->chat, t);
    j->s->sampled = hth_sampled_new();
    if (!j->s->sampled) return hth_fail_nomem(err, sizeof j->s->sampled);
    return hth_chat_reasoning_find(j->chat, j->s->format, &j->s->reasoning, err);
}

static hth_code load(job *j, hth_err *err) {
    HTH_TRY(open_engine(j, err));
    HTH_TRY(open_chat(j, err));
    const int64_t natural = j->s->card->n_ctx_train;
    if (natural > LEAST_CONTEXT && hth_engine_n_ctx(j->engine) < LEAST_CONTEXT &&
        j->s->card->abilities & HTH_CAN_COMPLETE) {
        const card *c = card_of(j->s->card);
        if (!(c->load && c->load->n_ctx > 0) && models_has_other(j->m, j->s)) {
            return hth_fail(err, HTH_ERR_LIMIT, "only a context of %lld tokens fits",
                            (long long)hth_engine_n_ctx(j->engine));
        }
    }
    return HTH_OK;
}

bool models_has_other(hth_models *m, const slot *s) {
    hth_lock(&m->lock);
    const slot *t = m->slots;
    while (t && (t == s || t->phase != SLOT_READY)) t = t->next;
    hth_unlock(&m->lock);
    return t != NULL;
}

static void fail_slot(hth_models *m, slot *s, const hth_err *why) {
    s->phase = SLOT_FAILED;
    s->err = *why;
    if (s->n_wait == 0) models_drop_slot(m, s);
    hth_cond_wake_all(&m->changed);
}

// Something loaded has to go: at once where it is idle, else it takes no more requests. False where nothing
// is loaded.
static bool make_room(hth_models *m, slot *s) {
    slot *victim = find_victim(m);
    if (!victim) return false;
    if (is_idle(victim)) {
        unload(m, victim);
    } else {
        victim->wants_out = true;
        s->tried = m->generation;
    }
    return true;
}

static void finish_load(hth_models *m, job *j, hth_code code, const hth_err *why, uint64_t started) {
    slot *s = j->s;
    if (code == HTH_OK) {
        s->engine = j->engine;
        s->chat = j->chat;
        s->promised_bytes = j->promised;
        s->fixed_bytes = j->fixed;
        s->load_ns = hth_clock_ns() - started;
        s->used_ns = hth_clock_ns();
        s->expires_ns = s->keep_alive_ms < 0 ? UINT64_MAX : s->used_ns + (uint64_t)s->keep_alive_ms * 1000000;
        s->phase = SLOT_READY;
        hth_log(HTH_LOG_INFO, "%s was loaded in %.2f s", s->card->name, (double)s->load_ns * 1e-9);
        hth_cond_wake_all(&m->changed);
        return;
    }
    s->phase = SLOT_WAITING;
    if (code == HTH_ERR_LIMIT && make_room(m, s)) return;
    hth_log(HTH_LOG_WARN, "%s could not be loaded: %s", s->card->name, why->msg);
    fail_slot(m, s, why);
}

static int32_t count_loaded(const hth_models *m) {
    int32_t n = 0;
    for (const slot *s = m->slots; s; s = s->next) n += s->phase == SLOT_READY;
    return n;
}

// One try, under the lock, which is released meanwhile.
static void try_load(hth_models *m, slot *s) {
    job j = {.m = m,
             .s = s,
             .free_bytes = free_bytes(m),
             .weight_bytes = new_weights(m, s),
             .is_alone = m->n_card <= 1};
    hth_err why;
    if (s->n_wait == 0) {
        models_drop_slot(m, s);
        return;
    }
    const bool is_full = m->p.max_loaded > 0 && count_loaded(m) >= m->p.max_loaded;
    if ((is_full || j.free_bytes <= j.weight_bytes) && make_room(m, s)) return;
    s->phase = SLOT_LOADING;
    hth_unlock(&m->lock);
    const uint64_t started = hth_clock_ns();
    const hth_code code = load(&j, &why);
    if (code != HTH_OK) {
        hth_chat_template_free(j.chat);
        hth_engine_close(j.engine);
    }
    hth_lock(&m->lock);
    finish_load(m, &j, code, &why, started);
}

// The one that has been waited for longest, unless it has been tried since anything changed.
static slot *find_wanted(const hth_models *m) {
    for (slot *s = m->slots; s; s = s->next) {
        if (s->phase != SLOT_WAITING) continue;
        return s->n_wait == 0 || s->tried != m->generation ? s : NULL;
    }
    return NULL;
}

static uint64_t next_expiry(const hth_models *m) {
    uint64_t next = UINT64_MAX;
    for (const slot *s = m->slots; s; s = s->next) {
        if (is_idle(s) && s->expires_ns < next) next = s->expires_ns;
    }
    return next;
}

static void fail_waiting(hth_models *m) {
    hth_err why;
    (void)!hth_fail(&why, HTH_ERR_CANCELLED, "the server is closing");
    for (slot *s = m->slots, *next; s; s = next) {
        next = s->next;
        if (s->phase == SLOT_WAITING) fail_slot(m, s, &why);
    }
}

void *models_run(void *models) {
    hth_models *m = models;
    hth_lock(&m->lock);
    for (;;) {
        if (m->is_closing) fail_waiting(m);
        slot *s = find_leaving(m, hth_clock_ns());
        if (s) {
            unload(m, s);
        } else if (m->is_closing && !m->slots) {
            break;
        } else if ((s = find_wanted(m)) != NULL) {
            try_load(m, s);
        } else {
            const uint64_t until = next_expiry(m);
            if (until == UINT64_MAX)
                hth_cond_wait(&m->changed, &m->lock);
            else
                hth_cond_wait_until(&m->changed, &m->lock, until);
        }
    }
    hth_unlock(&m->lock);
    return NULL;
}
