// llama-server's requests that compute: completion, infill, embedding.
#include <math.h>
#include <string.h>

#include "server/body.h"
#include "server/llama.h"
#include "server/field_sets.h"

typedef struct request {
    hth_ask ask; // first: the shared readers fill it
    hth_chat_text prefix, suffix, prompt_text;
    hth_chat_text fields[LLAMA_MAX_FIELDS];
    size_t n_field;
    bool has_prompt, is_list, wants_tokens, wants_timings, has_grammar, is_infill;
    int64_t n_probs, id_slot;
} request;

static const hth_ask_names names = {.prompt = "prompt",
                                    .format = "grammar",
                                    .max_tokens = "n_predict",
                                    .n = "n_cmpl",
                                    .suffix = "input_suffix",
                                    .adapters = "lora",
                                    .logprobs = "n_probs"};

// ---- readers

static bool read_prompt(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    r->has_prompt = true;
    if (v->kind == HTH_JSON_STRING) r->prompt_text = (hth_chat_text){v->u.str, v->n};
    if (r->is_infill) return v->kind == HTH_JSON_STRING || hth_fields_refuse_kind(f, v, "a string");
    return llama_read_prompts(f, v, &r->ask, &r->is_list);
}

// -1: no limit; 0: the prompt alone.
static bool read_n_predict(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_NUMBER || !isfinite(v->u.num.d)) return hth_fields_refuse_kind(f, v, "a number");
    if (v->u.num.d < -2 || v->u.num.d > 1e12) return hth_fields_refuse(f, "must be from -1 to 1000000000000");
    r->ask.no_output = v->u.num.d == 0;
    r->ask.max_tokens = v->u.num.d > 0 ? (int64_t)v->u.num.d : 0;
    return true;
}

static bool read_n_keep(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_NUMBER || !isfinite(v->u.num.d) || fabs(v->u.num.d) > 1e12)
        return hth_fields_refuse_kind(f, v, "a number");
    r->ask.n_keep = v->u.num.d > 0 ? (int64_t)v->u.num.d : 0;
    return true;
}

static bool read_seed(hth_fields *f, const hth_json *v, void *to) {
    if (v->kind == HTH_JSON_NUMBER && v->u.num.d < 0) return true; // any
    return hth_ask_read_sampling(f, v, to);
}

static bool read_n_probs(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (!v->is_int || v->kind != HTH_JSON_NUMBER || v->u.num.i < 0 || v->u.num.i > 100)
        return hth_fields_refuse(f, "must be a whole number from 0 to 100");
    r->n_probs = v->u.num.i;
    r->ask.logprobs = r->n_probs > 0;
    r->ask.n_top = r->n_probs;
    return true;
}

static bool read_grammar(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
    if (v->n == 0) return true;
    r->ask.format = HTH_FORMAT_GRAMMAR;
    r->ask.format_name = "grammar";
    r->ask.grammar = (hth_chat_text){v->u.str, v->n};
    r->has_grammar = true;
    return true;
}

static bool read_schema(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "a JSON schema");
    if (r->has_grammar) return true; // as in llama-server, the grammar counts
    r->ask.format = v->n == 0 ? HTH_FORMAT_JSON : HTH_FORMAT_SCHEMA;
    r->ask.schema = v->n == 0 ? NULL : v;
    r->ask.format_name = "json_schema";
    r->ask.strict_schema = true;
    return true;
}

static bool read_n_max(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (!v->is_int || v->kind != HTH_JSON_NUMBER || v->u.num.i < 0) return hth_fields_refuse(f, "must be a whole number, 0 or more");
    r->ask.n_draft = v->u.num.i == 0 ? -1 : v->u.num.i > 31 ? 31 : v->u.num.i;
    return true;
}

static bool read_fields(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    const hth_chat_text *texts;
    size_t n;
    if (!hth_fields_read_texts(f, v, &texts, &n)) return false;
    if (n > LLAMA_MAX_FIELDS)
        return hth_fields_refuse(f, "has %zu names; %d are possible", n, LLAMA_MAX_FIELDS);
    memcpy(r->fields, texts, n * sizeof *texts);
    r->n_field = n;
    return true;
}

static bool read_prefix(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
    r->prefix = (hth_chat_text){v->u.str, v->n};
    if (!r->is_infill) hth_fields_ignore(f, "input_prefix");
    return true;
}

static bool read_suffix(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
    r->suffix = (hth_chat_text){v->u.str, v->n};
    if (!r->is_infill) hth_fields_ignore(f, "input_suffix");
    return true;
}

// Files of the repository: {"filename": ..., "text": ...}.
static bool read_extra(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (v->kind != HTH_JSON_ARRAY)
        return hth_fields_refuse(f, "must be an array of {\"filename\": string, \"text\": string}");
    hth_ask_prompt *extra = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *extra);
    hth_segment *segments = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *segments);
    hth_chat_text *file_names = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *file_names);
    if (!extra || !segments || !file_names) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *text = hth_json_get(&v->u.items[i], "text"),
                       *name = hth_json_get(&v->u.items[i], "filename");
        const size_t mark = hth_fields_enter_item(f, i);
        if (!text || text->kind != HTH_JSON_STRING)
            return hth_fields_refuse(f, "must contain a \"text\" field with a string value");
        if (name && name->kind != HTH_JSON_STRING)
            return hth_fields_refuse(f, "has a \"filename\" that is no string");
        hth_fields_leave(f, mark);
        segments[i] = (hth_segment){.text = text->u.str, .n_text = text->n, .is_user = true};
        extra[i] = (hth_ask_prompt){&segments[i], 1};
        if (name) file_names[i] = (hth_chat_text){name->u.str, name->n};
    }
    r->ask.extra = extra;
    r->ask.extra_names = file_names;
    r->ask.n_extra = v->n;
    return true;
}

#define CUSTOM(name_, words_, read_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .help = help_ }
#define BOOL(name_, member_, help_) \
    { .name = name_, .kind = HTH_FIELD_BOOL, .offset = offsetof(request, member_), .help = help_ }
#define TEXT(name_, member_, help_) \
    { .name = name_, .kind = HTH_FIELD_TEXT, .offset = offsetof(request, member_), .help = help_ }
#define COUNT(name_, member_, hi_, help_)                                                                \
    {                                                                                                    \
        .name = name_, .kind = HTH_FIELD_INT, .offset = offsetof(request, member_), .lo = -1, .hi = hi_, \
        .help = help_                                                                                    \
    }
#define IGNORED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_IGNORED, .help = help_ }
#define REFUSED(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_REFUSED, .help = help_ }

// Of both, completion and infill.
static const hth_field fields[] = {
    TEXT("model", ask.model, "a name; none: the default model"),
    CUSTOM("prompt", "string|array", read_prompt, "a text, ids, both mixed, or an array of such prompts"),
    CUSTOM("input_prefix", "string", read_prefix, "of infill: the text before the gap"),
    CUSTOM("input_suffix", "string", read_suffix, "of infill: the text behind it"),
    CUSTOM("input_extra", "array", read_extra, "of infill: other files, [{filename, text}]"),
    CUSTOM("n_predict", "number", read_n_predict, "most tokens; -1: no limit, 0: the prompt alone"),
    CUSTOM("max_tokens", "number", read_n_predict, "the same"),
    CUSTOM("max_completion_tokens", "number", read_n_predict, "the same"),
    CUSTOM("n_keep", "number", read_n_keep, "tokens that stay at the beginning when something has to go"),
    COUNT("n_cmpl", ask.n, 128, "completions"),
    COUNT("n", ask.n, 128, "the same"),
    BOOL("stream", ask.stream, "the completion comes in pieces"),
    CUSTOM("seed", "number", read_seed, "below 0: another one each time"),
    HTH_ASK_SAMPLING("temperature", "0: the likeliest token"),
    HTH_ASK_SAMPLING("dynatemp_range", "0: off"),
    HTH_ASK_SAMPLING("dynatemp_exponent", "how entropy becomes temperature"),
    HTH_ASK_SAMPLING("top_k", "0: off"),
    HTH_ASK_SAMPLING("top_p", "1: off"),
    HTH_ASK_SAMPLING("min_p", "0: off"),
    HTH_ASK_SAMPLING("top_n_sigma", "0 or less: off"),
    HTH_ASK_SAMPLING("xtc_probability", "0: off"),
    HTH_ASK_SAMPLING("xtc_threshold", "above 0.5: off"),
    HTH_ASK_SAMPLING("typical_p", "1: off"),
    HTH_ASK_SAMPLING("repeat_last_n", "tokens that the penalties look back on; -1: all, 0: off"),
    HTH_ASK_SAMPLING("repeat_penalty", "1: off"),
    HTH_ASK_SAMPLING("presence_penalty", "0: off"),
    HTH_ASK_SAMPLING("frequency_penalty", "0: off"),
    HTH_ASK_SAMPLING("dry_multiplier", "0: off"),
    HTH_ASK_SAMPLING("dry_base", "how fast the penalty grows"),
    HTH_ASK_SAMPLING("dry_allowed_length", "longest repetition that costs nothing"),
    HTH_ASK_SAMPLING("dry_penalty_last_n", "tokens that are searched for repetitions"),
    HTH_ASK_SAMPLING("mirostat", "1 or 2: in place of the other filters"),
    HTH_ASK_SAMPLING("mirostat_tau", "its target"),
    HTH_ASK_SAMPLING("mirostat_eta", "its rate"),
    HTH_ASK_SAMPLING("min_keep", "a filter leaves at least so many"),
    CUSTOM("samplers", "string|array", hth_ask_read_samplers, "the order of the filters"),
    CUSTOM("stop", "string|array", hth_ask_read_stop, "texts that end the completion"),
    CUSTOM("logit_bias", "object|array", hth_ask_read_bias, "tokens or texts made likelier; false bans"),
    BOOL("ignore_eos", ask.ignore_end, "the model's own end does not end it"),
    CUSTOM("n_probs", "number", read_n_probs, "likeliest tokens that are told with each one"),
    BOOL("post_sampling_probs", ask.logprobs_after, "their probabilities after the filters"),
    CUSTOM("grammar", "string", read_grammar, "GBNF"),
    CUSTOM("json_schema", "object", read_schema, "obeyed or refused"),
    {.name = "cache_prompt",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(request, ask.no_cache),
     .negated = true,
     .help = "false: nothing is taken from the cache or left there"},
    BOOL("return_tokens", wants_tokens, "with the ids of tokens"),
    BOOL("return_progress", ask.progress, "streams tell how far the prompt is"),
    BOOL("timings_per_token", wants_timings, "each piece of a stream tells times"),
    CUSTOM("response_fields", "string|array", read_fields,
           "members of the reply that are wanted; a/b is b inside of a"),
    CUSTOM("lora", "array", hth_ask_read_lora, "[{id, scale}] of the server's adapters; the others are off"),
    CUSTOM("priority", "string", hth_ask_read_priority, "background: others go first"),
    CUSTOM("speculative.n_max", "number", read_n_max, "most tokens that are guessed per step, 0: none"),
    COUNT("id_slot", id_slot, 4095, "where /slots/N?action=save finds the conversation"),
    REFUSED("image_data", "models take text only"),
    REFUSED("multimodal_data", "models take text only"),
    IGNORED("n_cache_reuse", "what was computed is found by its text"),
    IGNORED("n_indent", "lines are not cut by their indent"),
    IGNORED("n_discard", "what has to go is decided by the context's length"),
    IGNORED("t_max_predict_ms", "limit the tokens instead"),
    IGNORED("t_max_prompt_ms", "limit the prompt instead"),
    IGNORED("dry_sequence_breakers", "the usual ones hold"),
    IGNORED("penalize_nl", "llama.cpp has dropped it"),
    IGNORED("tfs_z", "llama.cpp has dropped it"),
    IGNORED("verbose", "nothing more is told"),
};
const hth_field_set hth_llama_completion_set = {fields, HTH_COUNT(fields)};
const hth_field_set hth_llama_infill_set = {fields, HTH_COUNT(fields)};

// ---- completion and infill

static void free_reply(void *reply) {
    llama_reply *r = reply;
    hth_str_free(&r->ids);
    hth_str_free(&r->probs);
    hth_str_free(&r->stop);
    hth_free(r->generated);
}

static llama_reply *new_reply(hth_server *s, hth_exchange *x, const request *r) {
    llama_reply *reply = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *reply);
    if (!reply || !hth_exchange_keep(x, reply, free_reply)) return NULL;
    hth_str_init(&reply->ids, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_str_init(&reply->probs, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    hth_str_init(&reply->stop, HTH_MEM_SERVER, LLAMA_MAX_REPLY);
    reply->ask = &r->ask;
    reply->is_list = r->is_list || r->ask.n > 1;
    reply->wants_tokens = r->wants_tokens;
    reply->wants_timings = r->wants_timings;
    reply->wants_probs = r->n_probs > 0;
    reply->slots = s->slots;
    reply->id_slot = r->id_slot;
    memcpy(reply->fields, r->fields, sizeof reply->fields);
    reply->n_field = r->n_field;
    return reply;
}

// The text before the gap goes on with the prompt.
static bool make_infill(hth_exchange *x, request *r, hth_fault *fault) {
    if (!r->prefix.p || !r->suffix.p) {
        const char *missing = r->prefix.p ? "input_suffix" : "input_prefix";
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, missing, "\"%s\" is required", missing);
    }
    hth_arena *a = hth_exchange_arena(x);
    hth_segment *segment = hth_arena_alloc(a, 1, sizeof *segment);
    hth_ask_prompt *prompt = hth_arena_alloc(a, 1, sizeof *prompt);
    const size_t n = r->prefix.n + r->prompt_text.n;
    char *text = hth_arena_alloc(a, n + 1, 1);
    if (!segment || !prompt || !text)
        return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (r->prefix.n > 0) memcpy(text, r->prefix.p, r->prefix.n);
    if (r->prompt_text.n > 0) memcpy(text + r->prefix.n, r->prompt_text.p, r->prompt_text.n);
    *segment = (hth_segment){.text = text, .n_text = n, .is_user = true};
    *prompt = (hth_ask_prompt){segment, 1};
    r->ask.prompts = prompt;
    r->ask.n_prompt = 1;
    r->ask.suffix = r->suffix;
    return true;
}

static bool read(hth_exchange *x, request *r, hth_fields *f, hth_fault *fault) {
    const hth_json *root;
    hth_ask_init(&r->ask);
    r->ask.kind = HTH_ASK_TEXT;
    r->ask.names = &names;
    if (!hth_body_read(x, f, &root, fault)) return false;
    r->ask.document = f->text;
    r->ask.n_document = f->n_text;
    if (!hth_fields_read(f, fields, HTH_COUNT(fields), root, r)) return false;
    r->ask.tokens = r->wants_tokens || r->n_probs > 0 || r->ask.stream || r->id_slot >= 0; // counted, or kept
    r->ask.timings = r->wants_timings;
    if (r->is_infill) return make_infill(x, r, fault);
    return r->has_prompt || hth_refuse(fault, HTH_FAULT_BAD_REQUEST, "prompt", "\"prompt\" must be provided");
}

static void serve(hth_server *s, hth_exchange *x, bool is_infill) {
    hth_fault fault = {0};
    hth_fields f;
    hth_call *call = NULL;
    request *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    if (r) r->is_infill = is_infill;
    if (r) r->id_slot = -1;
    if (r && !read(x, r, &f, &fault)) {
        hth_reply_fault(x, &fault);
        return;
    }
    llama_reply *reply = r ? new_reply(s, x, r) : NULL;
    if (!reply) {
        (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
        hth_reply_fault(x, &fault);
        return;
    }
    hth_call_take_script(s, x, &r->ask);
    if (!hth_call_start(s, x, &r->ask, &call, &fault)) {
        if (is_infill && fault.kind == HTH_FAULT_UNSUPPORTED && strcmp(fault.param, names.suffix) == 0) {
            (void)hth_refuse(
                &fault, HTH_FAULT_NOT_OFFERED, NULL,
                "Infill is not supported by this model: prefix token is missing. suffix token is missing. "
                "middle token is missing. ");
        }
        hth_reply_fault(x, &fault);
        return;
    }
    reply->sampling = *hth_call_sampling(call);
    hth_body_tell_ignored(x, &f);
    hth_call_answer(call, &llama_completion_printer, reply);
}

void llama_completion(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    serve(s, x, false);
}

void llama_infill(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    serve(s, x, true);
}

// ---- embedding

static bool read_content(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    r->has_prompt = true;
    return llama_read_prompts(f, v, &r->ask, &r->is_list);
}

static bool read_normalize(hth_fields *f, const hth_json *v, void *to) {
    request *r = to;
    if (!v->is_int || v->kind != HTH_JSON_NUMBER || (v->u.num.i != 2 && v->u.num.i != -1))
        return hth_fields_refuse(f, "must be 2 (to length 1) or -1 (as it is)");
    r->ask.no_normalize = v->u.num.i == -1;
    return true;
}

static const hth_field embedding_fields[] = {
    TEXT("model", ask.model, "a name; none: the default model"),
    CUSTOM("content", "string|array", read_content, "a text, ids, both mixed, or an array of such"),
    CUSTOM("input", "string|array", read_content, "the same"),
    CUSTOM("embd_normalize", "number", read_normalize, "2: to length 1, -1: as it is"),
    IGNORED("encoding_format", "numbers are numbers here; base64 is for /v1/embeddings"),
};
const hth_field_set hth_llama_embedding_set = {embedding_fields, HTH_COUNT(embedding_fields)};

static void print_embeddings(void *user, const hth_call_whole *w, hth_str *out) {
    (void)user;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '[');
    for (size_t i = 0; i < w->n_choice; i++) {
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_int(&j, "index", (int64_t)i);
        hth_json_out_begin(&j, "embedding", '[');
        hth_json_out_begin(&j, NULL, '[');
        for (int32_t k = 0; k < w->choices[i].n_embedding; k++)
            hth_json_out_float(&j, NULL, w->choices[i].embedding[k]);
        hth_json_out_end(&j, ']');
        hth_json_out_end(&j, ']');
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
}

static const hth_printer embedding_printer = {.type = LLAMA_JSON, .whole = print_embeddings};

void llama_embedding(hth_server *s, hth_exchange *x, const hth_match *m) {
    (void)m;
    hth_fields f;
    hth_fault fault = {0};
    const hth_json *root;
    request *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    bool ok = r || hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    if (ok) hth_ask_init(&r->ask);
    ok = ok && hth_body_read(x, &f, &root, &fault) &&
         hth_fields_read(&f, embedding_fields, HTH_COUNT(embedding_fields), root, r) &&
         (r->has_prompt ||
          hth_refuse(&fault, HTH_FAULT_BAD_REQUEST, "input", "\"input\" or \"content\" must be provided"));
    if (!ok) {
        hth_reply_fault(x, &fault);
        return;
    }
    r->ask.kind = HTH_ASK_EMBED;
    hth_call_serve(s, x, &r->ask, f.ignored, &embedding_printer, r);
}
