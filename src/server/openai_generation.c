// Readers of the fields that chats and completions share.
#include "server/openai_generation.h"

#include <string.h>

#include "base/attr.h"

static const hth_field stream_option_fields[] = {
    {.name = "include_usage",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(openai_request, include_usage),
     .help = "counts at the end"},
    {.name = "include_obfuscation", .kind = HTH_FIELD_IGNORED, .help = "pieces are as long as they are"},
};

bool openai_read_stream_options(hth_fields *f, const hth_json *v, void *to) {
    return hth_fields_read(f, stream_option_fields, HTH_COUNT(stream_option_fields), v, to);
}

bool openai_read_json_schema(hth_fields *f, const hth_json *v, void *to) {
    openai_request *r = to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    r->json_schema = v;
    return true;
}

bool openai_read_grammar(hth_fields *f, const hth_json *v, void *to) {
    openai_request *r = to;
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
    r->grammar = (hth_chat_text){v->u.str, v->n};
    return true;
}

bool openai_read_options(hth_fields *f, const hth_json *v, void *to) {
    static const hth_field fields[] = {
        {.name = "num_ctx", .kind = HTH_FIELD_INT, .offset = offsetof(hth_ask, n_ctx), .lo = 0, .hi = 1e12},
    };
    return hth_fields_read(f, fields, HTH_COUNT(fields), v, to);
}

bool openai_read_metadata(hth_fields *f, const hth_json *v, void *to) {
    (void)to;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    return true;
}

static void take_limit(hth_ask *a, int64_t n) {
    a->max_tokens = n > 0 ? n : 0;
    a->no_output = n == 0;
}

static bool take_form(hth_fields *f, openai_request *r) {
    hth_ask *a = &r->ask;
    if (!r->json_schema && r->grammar.n == 0) return true;
    if (a->format != HTH_FORMAT_TEXT || (r->json_schema && r->grammar.n > 0)) {
        return hth_refuse(f->fault, HTH_FAULT_BAD_REQUEST, r->json_schema ? "json_schema" : "grammar",
                          "the answer can have one form: response_format, json_schema or grammar");
    }
    a->format = r->json_schema ? HTH_FORMAT_SCHEMA : HTH_FORMAT_GRAMMAR;
    a->format_name = r->json_schema ? "json_schema" : "grammar";
    a->schema = r->json_schema;
    a->strict_schema = r->json_schema != NULL;
    a->grammar = r->grammar;
    return true;
}

bool openai_read_fields(hth_exchange *x, const hth_field *table, size_t n, openai_request **out, hth_fields *f,
                        hth_fault *fault) {
    const hth_json *root;
    if (!hth_body_read(x, f, &root, fault)) return false;
    openai_request *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    if (!r) return hth_fields_no_memory(f);
    hth_ask_init(&r->ask);
    *out = r;
    return hth_fields_read(f, table, n, root, r);
}

bool openai_finish_request(hth_fields *f, openai_request *r) {
    hth_ask *a = &r->ask;
    if (r->has_n_predict) take_limit(a, r->n_predict);
    if (r->has_max_tokens) take_limit(a, r->max_tokens);
    if (r->has_max_completion_tokens) take_limit(a, r->max_completion_tokens);
    if (r->has_cache_prompt) a->no_cache = !r->cache_prompt;
    if (r->has_best_of && r->best_of > 0 && r->best_of != (a->n ? a->n : 1)) {
        return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, "best_of",
                          "'best_of' is not supported unless it equals 'n'");
    }
    a->document = f->text;
    a->n_document = f->n_text;
    a->usage = r->include_usage;
    a->timings = r->timings_per_token;
    a->progress = r->return_progress;
    return take_form(f, r);
}
