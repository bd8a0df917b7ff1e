// /v1/embeddings and /v1/rerank: vectors of texts, and how well documents answer a question.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "server/openai.h"
#include "server/field_sets.h"

typedef struct vector_request {
    hth_ask ask; // first: readers of fields find it there
    int format;  // 0: numbers, 1: base64
    int64_t dimensions, top_n;
    bool has_top_n, return_documents;
    hth_chat_text user;
    const hth_json *documents;
} vector_request;

static bool read_input(hth_fields *f, const hth_json *v, void *to) {
    return openai_read_prompts(f, v, to);
}

static const hth_field embedding_fields[] = {
    {.name = "input",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|array",
     .read = read_input,
     .required = true,
     .help = "a text, texts, token ids, or lists of them"},
    {.name = "model",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(vector_request, ask.model),
     .help = "which model"},
    {.name = "encoding_format",
     .kind = HTH_FIELD_WORD,
     .offset = offsetof(vector_request, format),
     .words = "float|base64",
     .help = "numbers, or little-endian floats in base64"},
    {.name = "dimensions",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(vector_request, dimensions),
     .lo = 1,
     .hi = 1e6,
     .help = "the first numbers of each vector, made as long as 1 again"},
    {.name = "keep_alive",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|number",
     .read = hth_ask_read_keep_alive,
     .help = "how long the model stays loaded afterwards"},
    {.name = "priority",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string",
     .read = hth_ask_read_priority,
     .help = "interactive or background"},
    {.name = "user",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(vector_request, user),
     .help = "taken; nothing is done with it"},
};
const hth_field_set hth_openai_embedding_set = {embedding_fields, HTH_COUNT(embedding_fields)};

static bool read_query(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
    a->query = (hth_chat_text){v->u.str, v->n};
    return true;
}

// Texts, or objects with a text.
static bool read_documents(hth_fields *f, const hth_json *v, void *to) {
    vector_request *r = to;
    if (v->kind != HTH_JSON_ARRAY || v->n == 0)
        return hth_fields_refuse(f, "must be an array of at least one document");
    hth_ask_prompt *prompts = hth_arena_alloc(f->arena, v->n, sizeof *prompts);
    hth_segment *s = hth_arena_alloc(f->arena, v->n, sizeof *s);
    if (!prompts || !s) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *text =
            v->u.items[i].kind == HTH_JSON_OBJECT ? hth_json_get(&v->u.items[i], "text") : &v->u.items[i];
        if (!text || text->kind != HTH_JSON_STRING) {
            (void)hth_fields_enter_item(f, i);
            return hth_fields_refuse(f, "must be a string or an object with a text");
        }
        s[i] = (hth_segment){.text = text->u.str, .n_text = text->n, .is_user = true};
        prompts[i] = (hth_ask_prompt){&s[i], 1};
    }
    r->ask.prompts = prompts;
    r->ask.n_prompt = v->n;
    r->documents = v;
    return true;
}

static const hth_field rerank_fields[] = {
    {.name = "query",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string",
     .read = read_query,
     .required = true,
     .help = "the question"},
    {.name = "documents",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = read_documents,
     .help = "texts, or objects with a text"},
    {.name = "texts",
     .kind = HTH_FIELD_CUSTOM,
     .words = "array",
     .read = read_documents,
     .help = "the same by another name"},
    {.name = "model",
     .kind = HTH_FIELD_TEXT,
     .offset = offsetof(vector_request, ask.model),
     .help = "which model"},
    {.name = "top_n",
     .kind = HTH_FIELD_INT,
     .offset = offsetof(vector_request, top_n),
     .lo = 1,
     .hi = 1e9,
     .given = offsetof(vector_request, has_top_n) + 1,
     .help = "results at most, the best first"},
    {.name = "return_documents",
     .kind = HTH_FIELD_BOOL,
     .offset = offsetof(vector_request, return_documents),
     .help = "the texts come back with their scores"},
    {.name = "keep_alive",
     .kind = HTH_FIELD_CUSTOM,
     .words = "string|number",
     .read = hth_ask_read_keep_alive,
     .help = "how long the model stays loaded afterwards"},
};
const hth_field_set hth_openai_rerank_set = {rerank_fields, HTH_COUNT(rerank_fields)};

// ---- vectors

static void put_base64(hth_str *out, const uint8_t *p, size_t n) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const uint32_t bits =
            (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        const char four[4] = {letters[bits >> 18], letters[bits >> 12 & 63],
                              left > 1 ? letters[bits >> 6 & 63] : '=', left > 2 ? letters[bits & 63] : '='};
        hth_str_append(out, four, 4);
    }
}

static void write_vector(hth_json_out *j, const float *v, size_t n, bool is_base64) {
    if (is_base64) { // a quoted text without anything to escape
        hth_json_out_raw(j, "embedding", "\"", 1);
        for (size_t i = 0; i < n; i += 3) { // whole groups of 12 bytes become whole groups of letters
            uint8_t bytes[12];
            const size_t n_now = n - i < 3 ? n - i : 3;
            for (size_t k = 0; k < n_now; k++) {
                uint32_t bits;
                memcpy(&bits, &v[i + k], sizeof bits);
                for (size_t b = 0; b < 4; b++) bytes[4 * k + b] = (uint8_t)(bits >> (8 * b));
            }
            put_base64(j->to, bytes, 4 * n_now);
        }
        hth_str_putc(j->to, '"');
        return;
    }
    hth_json_out_begin(j, "embedding", '[');
    for (size_t i = 0; i < n; i++) hth_json_out_float(j, NULL, v[i]);
    hth_json_out_end(j, ']');
}

static void write_usage(hth_json_out *j, const hth_call_usage *u) {
    hth_json_out_begin(j, "usage", '{');
    hth_json_out_int(j, "prompt_tokens", u->n_prompt);
    hth_json_out_int(j, "total_tokens", u->n_prompt);
    hth_json_out_end(j, '}');
}

static void print_embeddings(void *user, const hth_call_whole *w, hth_str *out) {
    const vector_request *r = user;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "object", "list");
    hth_json_out_text(&j, "model", w->model);
    hth_json_out_begin(&j, "data", '[');
    for (size_t i = 0; i < w->n_choice; i++) {
        const size_t n = hth_call_shorten(w->choices[i].embedding, (size_t)w->choices[i].n_embedding, r->dimensions);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_text(&j, "object", "embedding");
        hth_json_out_int(&j, "index", (int64_t)i);
        write_vector(&j, w->choices[i].embedding, n, r->format == 1);
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    write_usage(&j, &w->usage);
    hth_json_out_end(&j, '}');
}

// ---- scores

typedef struct ranked {
    size_t i;
    double score;
} ranked;

static int by_score(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->i < y->i ? -1 : x->i > y->i;
}

static void print_ranking(void *user, const hth_call_whole *w, hth_str *out) {
    const vector_request *r = user;
    ranked *list = hth_calloc(HTH_MEM_SERVER, w->n_choice + 1, sizeof *list);
    if (!list) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < w->n_choice; i++) list[i] = (ranked){i, w->choices[i].score};
    qsort(list, w->n_choice, sizeof *list, by_score);
    const size_t n = r->has_top_n && (uint64_t)r->top_n < w->n_choice ? (size_t)r->top_n : w->n_choice;
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "object", "list");
    hth_json_out_text(&j, "model", w->model);
    hth_json_out_begin(&j, "results", '[');
    for (size_t i = 0; i < n; i++) {
        const hth_segment *s = r->ask.prompts[list[i].i].segments;
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_int(&j, "index", (int64_t)list[i].i);
        hth_json_out_num(&j, "relevance_score", list[i].score);
        if (r->return_documents) {
            hth_json_out_begin(&j, "document", '{');
            hth_json_out_str(&j, "text", s->text, s->n_text);
            hth_json_out_end(&j, '}');
        }
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    write_usage(&j, &w->usage);
    hth_json_out_end(&j, '}');
    hth_free(list);
}

// ---- handlers

static void serve(hth_server *s, hth_exchange *x, hth_ask_kind kind, const hth_field *fields, size_t n_field,
                  const hth_ask_names *names, const hth_printer *printer) {
    hth_fault fault = {0};
    hth_fields f;
    const hth_json *root;
    vector_request *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    if (!r) (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
    bool ok = r && hth_body_read(x, &f, &root, &fault);
    if (ok) hth_ask_init(&r->ask);
    if (ok) ok = hth_fields_read(&f, fields, n_field, root, r);
    if (ok && r->ask.n_prompt == 0)
        ok = hth_refuse(&fault, HTH_FAULT_BAD_REQUEST, "documents", "'documents' is required");
    if (!ok) {
        hth_reply_fault(x, &fault);
        return;
    }
    r->ask.kind = kind;
    r->ask.names = names;
    hth_call_serve(s, x, &r->ask, f.ignored, printer, r);
}

void openai_embeddings(hth_server *s, hth_exchange *x, const hth_match *m) {
    static const hth_printer printer = {.whole = print_embeddings};
    static const hth_ask_names names = {.prompt = "input"};
    (void)m;
    serve(s, x, HTH_ASK_EMBED, embedding_fields, HTH_COUNT(embedding_fields), &names, &printer);
}

void openai_rerank(hth_server *s, hth_exchange *x, const hth_match *m) {
    static const hth_printer printer = {.whole = print_ranking};
    static const hth_ask_names names = {.prompt = "documents"};
    (void)m;
    serve(s, x, HTH_ASK_RERANK, rerank_fields, HTH_COUNT(rerank_fields), &names, &printer);
}
