// From parameters to a prompt of tokens. Every refusal names the parameter; nothing here touches the scheduler.
#include "engine/prompt.h"

#include <string.h>

#include "os/clock.h"

#define MAX_SEGMENTS ((size_t)1 << 20)
#define MAX_STOP_TOKENS ((size_t)1 << 16)
#define MAX_LOG ((size_t)1 << 24)

#define REFUSE(name, ...) (why->parameter = (name), hth_fail(err, HTH_ERR_RANGE, __VA_ARGS__))

// ---- checks

static hth_code check_numbers(const hth_request_params *p, hth_refusal *why, hth_err *err) {
    if ((unsigned)p->task > HTH_TASK_EMBED) return REFUSE("task", "task is %d, which is none", (int)p->task);
    if ((unsigned)p->priority > HTH_PRIORITY_BACKGROUND) {
        return REFUSE("priority", "priority is %d, which is none", (int)p->priority);
    }
    if ((unsigned)p->overflow > HTH_OVERFLOW_ROLLING) {
        return REFUSE("overflow", "overflow is %d, which is none", (int)p->overflow);
    }
    if (p->deadline_ms < 0 || p->deadline_ms > INT64_MAX / 1000000 / 2) {
        return REFUSE("deadline_ms", "deadline_ms is %lld", (long long)p->deadline_ms);
    }
    if (p->n < 0 || p->n > HTH_MAX_COMPLETIONS) {
        return REFUSE("n", "n is %d; 1 to %d completions are possible", p->n, HTH_MAX_COMPLETIONS);
    }
    if (p->max_tokens < 0 || p->max_tokens > INT64_MAX / 4) {
        return REFUSE("max_tokens", "max_tokens is %lld", (long long)p->max_tokens);
    }
    if (p->n_keep < 0) return REFUSE("n_keep", "n_keep is %lld", (long long)p->n_keep);
    if (p->logits_from < 0) return REFUSE("logits_from", "logits_from is %lld", (long long)p->logits_from);
    if (p->n_top < 0 || p->n_top > HTH_MAX_TOP) {
        return REFUSE("n_top", "n_top is %d; at most %d tokens are listed", p->n_top, HTH_MAX_TOP);
    }
    if (p->n_draft < -1 || p->n_draft > HTH_MAX_DRAFT) {
        return REFUSE("n_draft", "n_draft is %d; -1 (none) to %d are possible", p->n_draft, HTH_MAX_DRAFT);
    }
    if (p->adapters && (p->adapters->n < 0 || p->adapters->n > HTH_MAX_LORA)) {
        return REFUSE("adapters", "adapters has %d entries; at most %d are possible", p->adapters->n, HTH_MAX_LORA);
    }
    if (p->n_log > MAX_LOG) return REFUSE("n_log", "n_log is %zu; at most %zu events are kept", p->n_log, MAX_LOG);
    return HTH_OK;
}

static hth_code check_stops(const hth_engine *e, const hth_request_params *p, hth_refusal *why, hth_err *err) {
    if (p->n_stop > HTH_MAX_STOP) return REFUSE("stop", "stop has %zu texts; at most %d are possible", p->n_stop, HTH_MAX_STOP);
    for (size_t i = 0; i < p->n_stop; i++) {
        if (p->stop[i].n > 0 && p->stop[i].n <= HTH_MAX_STOP_BYTES) continue;
        return REFUSE("stop", "stop text %zu has %zu bytes; 1 to %d are possible", i, p->stop[i].n, HTH_MAX_STOP_BYTES);
    }
    if (p->n_stop > 0 && !e->tokenizer) return REFUSE("stop", "stop texts need a tokenizer, and this model carries none");
    if (p->n_stop_token > MAX_STOP_TOKENS) return REFUSE("stop_tokens", "stop_tokens has %zu tokens", p->n_stop_token);
    for (size_t i = 0; i < p->n_stop_token; i++) {
        if (p->stop_tokens[i] >= 0 && p->stop_tokens[i] < e->model->desc.n_vocab) continue;
        return REFUSE("stop_tokens", "stop token %zu is %d; the vocabulary has %d", i, p->stop_tokens[i],
                      e->model->desc.n_vocab);
    }
    return HTH_OK;
}

static hth_code check_segments(const hth_engine *e, const char *name, const hth_segment *s, size_t n, hth_refusal *why,
                               hth_err *err) {
    if (n > MAX_SEGMENTS) return REFUSE(name, "%s has %zu segments; at most %zu are possible", name, n, MAX_SEGMENTS);
    for (size_t i = 0; i < n; i++) {
        if (!s[i].tokens && s[i].n_text > 0 && !e->tokenizer) {
            return REFUSE(name, "%s is text, and this model carries no tokenizer", name);
        }
        for (size_t j = 0; s[i].tokens && j < s[i].n_token; j++) {
            const int32_t id = s[i].tokens[j];
            if (id >= 0 && id < e->model->desc.n_vocab) continue;
            return REFUSE(name, "token %zu of segment %zu of %s is %d; the vocabulary has %d", j, i, name, id,
                          e->model->desc.n_vocab);
        }
    }
    return HTH_OK;
}

static hth_code check_task(const hth_engine *e, const hth_request_params *p, hth_pooling *pooling, hth_refusal *why,
                           hth_err *err) {
    const hth_desc *d = &e->model->desc;
    if (p->task == HTH_TASK_GENERATE) {
        if (d->causal) return HTH_OK;
        why->parameter = "task";
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s is an encoder: it makes embeddings, it cannot write text", d->family);
    }
    *pooling = HTH_POOL_NONE;
    if (p->pooling && !hth_pooling_find(p->pooling, pooling)) {
        return REFUSE("pooling", "pooling is '%.40s'; there are mean, cls, last and rank", p->pooling);
    }
    *pooling = hth_pooling_of(e->model, *pooling);
    if (*pooling == HTH_POOL_RANK && hth_pooling_width(e->model, *pooling) == 0) {
        why->parameter = "pooling";
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "the model has no classification head to rank with");
    }
    return HTH_OK;
}

static hth_code check_sampling(const hth_engine *e, const hth_request_params *p, hth_refusal *why, hth_err *err) {
    if (!p->sampling) return HTH_OK;
    why->parameter = "sampling"; // the sentence names the field
    HTH_TRY(hth_sampler_check(p->sampling, err));
    for (size_t i = 0; i < p->sampling->n_bias; i++) {
        const int32_t id = p->sampling->bias[i].token;
        if (id >= 0 && id < e->n_choice) continue;
        return hth_fail(err, HTH_ERR_RANGE, "bias %zu is on token %d; the vocabulary has %d", i, id, e->n_choice);
    }
    why->parameter = NULL;
    return HTH_OK;
}

// ---- tokens

static hth_code append(hth_token_list *list, const int32_t *ids, size_t n, hth_err *err) {
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&list->ids, &list->cap, list->n + n, sizeof *list->ids, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (list->n + n) * sizeof *list->ids);
    }
    if (n > 0) memcpy(list->ids + list->n, ids, n * sizeof *ids);
    list->n += n;
    return HTH_OK;
}

// Neighbouring texts become tokens together.
static hth_code tokenize(const hth_engine *e, const hth_segment *s, size_t n, unsigned flags, hth_token_list *out,
                         hth_err *err) {
    hth_text_segment *texts = hth_calloc(HTH_MEM_ENGINE, n + 1, sizeof *texts);
    if (!texts) return hth_fail_nomem(err, (n + 1) * sizeof *texts);
    hth_code code = HTH_OK;
    for (size_t i = 0; code == HTH_OK && i < n;) {
        if (s[i].tokens) {
            code = append(out, s[i].tokens, s[i].n_token, err);
            i++;
            continue;
        }
        size_t n_text = 0;
        for (; i < n && !s[i].tokens; i++) texts[n_text++] = (hth_text_segment){s[i].text, s[i].n_text, s[i].is_user};
        code = e->tokenizer ? hth_tokenize(e->tokenizer, texts, n_text, flags, out, err) : HTH_OK;
    }
    hth_free(texts);
    return code;
}

// How much of a prompt that is cut stays, and how much of that before the cut. Of an embedding the token that ends every text
// stays behind it.
static void choose_cut(const hth_request *r, const hth_token_list *prompt, int64_t *left, int64_t *head) {
    const hth_request_params *p = &r->p;
    const int64_t n_ctx = r->engine->n_ctx;
    if (p->task == HTH_TASK_EMBED) {
        const hth_tokenizer *t = r->engine->tokenizer;
        const int32_t last = prompt->ids[prompt->n - 1];
        const bool ends = p->add_special && t &&
                          (last == hth_tokenizer_special(t, HTH_SPECIAL_SEP) || last == hth_tokenizer_special(t, HTH_SPECIAL_EOS));
        *left = n_ctx;
        *head = n_ctx - (ends ? 1 : 0);
        return;
    }
    int64_t room = p->max_tokens > 0 && p->max_tokens < n_ctx / 2 ? p->max_tokens : n_ctx / 4;
    if (p->no_output) room = 0;
    *left = n_ctx - room;
    *head = p->overflow == HTH_OVERFLOW_ROLLING || p->n_keep ? r->n_keep : *left / 2;
    if (*head > *left) *head = *left;
}

// Cuts tokens [*cut_first, *cut_first + *cut_n) out of a prompt that does not fit.
static hth_code fit(hth_request *r, hth_token_list *prompt, hth_refusal *why, hth_err *err) {
    const hth_request_params *p = &r->p;
    const int64_t n = (int64_t)prompt->n, n_ctx = r->engine->n_ctx;
    int64_t left, head;
    if (p->overflow != HTH_OVERFLOW_ERROR && p->n_keep >= n_ctx) {
        return REFUSE("n_keep", "n_keep is %lld, the context holds %lld tokens", (long long)p->n_keep, (long long)n_ctx);
    }
    r->n_keep = p->n_keep ? p->n_keep : n_ctx / 4;
    if (r->n_keep > n) r->n_keep = n;
    if (n <= n_ctx) return HTH_OK;
    why->n_prompt = n;
    why->n_ctx = n_ctx;
    if (p->overflow == HTH_OVERFLOW_ERROR || (p->task == HTH_TASK_EMBED && p->overflow == HTH_OVERFLOW_ROLLING)) {
        why->parameter = "segments";
        return hth_fail(err, HTH_ERR_LIMIT, "the prompt has %lld tokens, which exceeds the available context size of %lld tokens",
                        (long long)n, (long long)n_ctx);
    }
    choose_cut(r, prompt, &left, &head);
    r->cut_first = head;
    r->cut_n = n - left;
    memmove(prompt->ids + head, prompt->ids + head + r->cut_n, (size_t)(left - head) * sizeof *prompt->ids);
    prompt->n = (size_t)left;
    return HTH_OK;
}

// Tokens that a client chose are left as they are.
static bool has_text(const hth_request_params *p) {
    for (size_t i = 0; i < p->n_segment; i++) {
        if (!p->segments[i].tokens && p->segments[i].n_text > 0) return true;
    }
    return false;
}

static hth_code make_prompt(hth_request *r, hth_refusal *why, hth_err *err) {
    const hth_request_params *p = &r->p;
    hth_token_list list = {0};
    const unsigned flags = p->add_special ? HTH_TOKENIZE_ADD_SPECIAL : 0;
    hth_code code = tokenize(r->engine, p->segments, p->n_segment, flags, &list, err);
    if (code == HTH_OK && has_text(p)) code = reuse_tokens(r, &list, err);
    if (code == HTH_OK && list.n == 0) code = REFUSE("segments", "the prompt is empty");
    if (code == HTH_OK) code = fit(r, &list, why, err);
    if (code == HTH_OK) {
        r->prompt = hth_arena_alloc(&r->arena, list.n, sizeof *r->prompt);
        if (r->prompt) memcpy(r->prompt, list.ids, list.n * sizeof *list.ids);
        else code = hth_fail_nomem(err, list.n * sizeof *list.ids);
        r->n_prompt = (int64_t)list.n;
    }
    hth_token_list_free(&list);
    return code;
}

static hth_code make_forced(hth_request *r, hth_err *err) {
    if (!r->p.forced) return HTH_OK;
    hth_token_list list = {0};
    hth_code code = tokenize(r->engine, r->p.forced, r->p.n_forced, 0, &list, err);
    if (code == HTH_OK) {
        r->forced = hth_arena_alloc(&r->arena, list.n + 1, sizeof *r->forced);
        if (!r->forced) code = hth_fail_nomem(err, list.n * sizeof *list.ids);
        else if (list.n > 0) memcpy(r->forced, list.ids, list.n * sizeof *list.ids);
        r->n_forced = (int64_t)list.n;
    }
    hth_token_list_free(&list);
    return code;
}

// ---- copies

static hth_code copy_stops(hth_request *r, hth_err *err) {
    hth_request_params *p = &r->p;
    hth_bytes *stops = hth_arena_alloc(&r->arena, p->n_stop + 1, sizeof *stops);
    int32_t *tokens = hth_arena_alloc(&r->arena, p->n_stop_token + 1, sizeof *tokens);
    if (!stops || !tokens) return hth_fail_nomem(err, p->n_stop * sizeof *stops);
    for (size_t i = 0; i < p->n_stop; i++) {
        stops[i] = (hth_bytes){hth_arena_strndup(&r->arena, p->stop[i].p, p->stop[i].n), p->stop[i].n};
        if (!stops[i].p) return hth_fail_nomem(err, p->stop[i].n);
    }
    if (p->n_stop_token > 0) memcpy(tokens, p->stop_tokens, p->n_stop_token * sizeof *tokens);
    p->stop = stops;
    p->stop_tokens = tokens;
    return HTH_OK;
}

static hth_code copy_adapters(hth_request *r, hth_err *err) {
    const hth_lora_set *set = r->p.adapters;
    r->p.adapters = NULL;
    if (!set || set->n == 0) return HTH_OK;
    hth_lora_use *uses = hth_arena_alloc(&r->arena, (size_t)set->n, sizeof *uses);
    if (!uses) return hth_fail_nomem(err, (uint64_t)set->n * sizeof *uses);
    r->adapters = (hth_lora_set){memcpy(uses, set->uses, (size_t)set->n * sizeof *uses), set->n};
    return HTH_OK;
}

static hth_code copy_sampling(hth_request *r, hth_err *err) {
    r->sampling = r->p.sampling ? *r->p.sampling : r->engine->sampling;
    r->p.sampling = NULL;
    if (r->sampling.n_bias == 0) return HTH_OK;
    hth_logit_bias *bias = hth_arena_alloc(&r->arena, r->sampling.n_bias, sizeof *bias);
    if (!bias) return hth_fail_nomem(err, r->sampling.n_bias * sizeof *bias);
    r->sampling.bias = memcpy(bias, r->sampling.bias, r->sampling.n_bias * sizeof *bias);
    return HTH_OK;
}

static hth_code plan_memory(hth_request *r, hth_refusal *why, hth_err *err) {
    const hth_engine *e = r->engine;
    const hth_request_params *p = &r->p;
    const bool is_embedding = p->task == HTH_TASK_EMBED;
    r->n_room = r->n_prompt;
    if (!is_embedding && !p->no_output) {
        const int64_t left = e->n_ctx - r->n_prompt;
        const bool is_bounded = p->max_tokens > 0 && p->max_tokens < left;
        r->n_room += is_bounded ? p->max_tokens : left;
    }
    HTH_TRY(plan_request(e, r->n_prompt, r->n_room, r->n_seq, is_embedding, &r->need_bytes, err));
    if (r->need_bytes <= e->kv_limit_bytes) return room_plan(r, err);
    why->need_bytes = r->need_bytes;
    why->have_bytes = e->kv_limit_bytes;
    why->n_prompt = r->n_prompt;
    why->n_ctx = e->n_ctx;
    return hth_fail(err, HTH_ERR_LIMIT, "%d sequences of %lld tokens take %llu bytes of keys and values, the limit is %llu",
                    r->n_seq, (long long)r->n_room, (unsigned long long)r->need_bytes, (unsigned long long)e->kv_limit_bytes);
}

hth_code prompt_domain(hth_request *r, const hth_request_params *p, hth_refusal *why, hth_err *err) {
    HTH_TRY(check_numbers(p, why, err));
    r->p = *p;
    HTH_TRY(copy_adapters(r, err));
    return reuse_make_domain(r, err);
}

hth_code prompt_prepare(hth_request *r, const hth_request_params *p, hth_refusal *why, hth_err *err) {
    const hth_engine *e = r->engine;
    HTH_TRY(prompt_domain(r, p, why, err));
    HTH_TRY(check_task(e, p, &r->pooling, why, err));
    HTH_TRY(check_stops(e, p, why, err));
    HTH_TRY(check_segments(e, "segments", p->segments, p->n_segment, why, err));
    if (p->forced) HTH_TRY(check_segments(e, "forced", p->forced, p->n_forced, why, err));
    HTH_TRY(check_sampling(e, p, why, err));
    r->n_seq = p->task == HTH_TASK_EMBED || p->n == 0 ? 1 : p->n;
    if (r->n_seq > e->n_sequence) {
        return REFUSE("n", "n is %d; this engine works on %d sequences at once", r->n_seq, e->n_sequence);
    }
    HTH_TRY(copy_sampling(r, err));
    HTH_TRY(make_prompt(r, why, err));
    HTH_TRY(make_forced(r, err));
    r->p.segments = r->p.forced = NULL; // what is needed of them is tokens now
    r->p.pooling = NULL;
    HTH_TRY(copy_stops(r, err));
    r->submit_ns = hth_clock_ns();
    if (p->deadline_ms > 0) r->deadline_ns = r->submit_ns + (uint64_t)p->deadline_ms * 1000000;
    HTH_TRY(plan_memory(r, why, err));
    reuse_fetch(r);
    return HTH_OK;
}
