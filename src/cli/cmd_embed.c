// hearth embed: texts to vectors.
#include <string.h>

#include "cli/commands.h"
#include "cli/generate.h"
#include "cli/input.h"
#include "cli/load.h"
#include "cli/out.h"
#include "engine/pooling.h"

typedef struct embed_values {
    const char *tokens;
    int64_t n_thread;
    int pooling; // 0: as the model says
    bool no_normalize, json;
    uint64_t memory;
} embed_values;

static embed_values values;

// In the order of --pooling's choices.
static const hth_pooling poolings[] = {HTH_POOL_NONE, HTH_POOL_MEAN, HTH_POOL_CLS, HTH_POOL_LAST,
                                       HTH_POOL_RANK};
static const char *const pooling_names[] = {"none", "mean", "cls", "last", "rank"}; // by hth_pooling

static void print_vector(const float *v, int32_t n) {
    for (int32_t i = 0; i < n; i++) cli_print(i ? " %.9g" : "%.9g", (double)v[i]);
    cli_print("\n");
}

static void add_vector(hth_json_out *j, int64_t index, int64_t n_token, const float *v, int32_t n) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "index", index);
    hth_json_out_int(j, "n_tokens", n_token);
    hth_json_out_begin(j, "embedding", '[');
    for (int32_t i = 0; i < n; i++) hth_json_out_num(j, NULL, (double)v[i]);
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

// What is printed of each text.
typedef struct output {
    hth_engine *engine;
    hth_json_out *j; // NULL: lines
    int64_t index;
    float *v; // [n] of the text at work
    int32_t n;
    int64_t n_token;
} output;

static hth_code take_event(void *user, const hth_event *e, hth_err *err) {
    (void)err;
    output *o = user;
    if (e->kind == HTH_EVENT_EMBEDDING) memcpy(o->v, e->embedding.values, (size_t)o->n * sizeof *o->v);
    if (e->kind == HTH_EVENT_END) o->n_token = e->usage.n_prompt;
    return HTH_OK;
}

static void print_one(const output *o) {
    if (o->j) add_vector(o->j, o->index, o->n_token, o->v, o->n);
    else print_vector(o->v, o->n);
}

// One text, or the tokens of --tokens.
static hth_code embed(output *o, const hth_segment *segment, hth_err *err) {
    const hth_request_params params = {.task = HTH_TASK_EMBED,
                                       .segments = segment,
                                       .n_segment = 1,
                                       .add_special = !segment->tokens,
                                       .pooling = values.pooling ? pooling_names[poolings[values.pooling]] : NULL,
                                       .normalize = !values.no_normalize};
    HTH_TRY(cli_request(o->engine, &params, take_event, o, err));
    print_one(o);
    return HTH_OK;
}

static hth_code embed_all(output *o, const cli_args *args, hth_err *err) {
    hth_token_list list = {0};
    hth_code code = values.tokens ? cli_read_ids(values.tokens, &list, err) : HTH_OK;
    const hth_segment ids = {.tokens = list.ids, .n_token = list.n};
    if (code == HTH_OK && values.tokens) code = embed(o, &ids, err);
    for (int i = 1; i < args->n && code == HTH_OK; i++, o->index++) {
        const hth_segment text = {.text = args->items[i], .n_text = strlen(args->items[i]), .is_user = true};
        code = embed(o, &text, err);
    }
    hth_token_list_free(&list);
    return code;
}

static hth_code embed_as_json(output *o, const cli_args *args, int *exit_code, hth_err *err) {
    const hth_model *m = hth_engine_model(o->engine);
    const hth_pooling pooling = poolings[values.pooling];
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, SIZE_MAX / 2);
    hth_json_out j = hth_json_out_make(&text, false);
    o->j = &j;
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "family", m->desc.family);
    hth_json_out_text(&j, "pooling", pooling_names[hth_pooling_of(m, pooling)]);
    hth_json_out_int(&j, "n", o->n);
    hth_json_out_begin(&j, "embeddings", '[');
    const hth_code code = embed_all(o, args, err);
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    if (code == HTH_OK) *exit_code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static hth_code embed_texts(output *o, const cli_args *args, int *exit_code, hth_err *err) {
    o->n = hth_engine_n_embed(o->engine, poolings[values.pooling]);
    o->v = hth_calloc(HTH_MEM_MISC, (size_t)o->n + 1, sizeof *o->v);
    if (!o->v) return hth_fail_nomem(err, (uint64_t)o->n * sizeof *o->v);
    const hth_code code = values.json ? embed_as_json(o, args, exit_code, err) : embed_all(o, args, err);
    hth_free(o->v);
    return code;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    if (args->n < 2 && !values.tokens) return cli_usage_error("embed", "give TEXT or --tokens");
    if (args->n > 1 && values.tokens) return cli_usage_error("embed", "give either TEXT or --tokens");
    hth_err err;
    output o = {0};
    int exit_code = CLI_OK;
    const hth_engine_params how = {.n_thread = (int)values.n_thread, .need_tokenizer = !values.tokens, .n_sequence = 1,
                                   .k_type = "f32", .v_type = "f32", .no_cache = true, .weight_bytes = values.memory};
    hth_code code = cli_open_engine(args->items[0], &how, &o.engine, &err);
    if (code == HTH_OK) code = embed_texts(&o, args, &exit_code, &err);
    hth_engine_close(o.engine);
    return code == HTH_OK ? exit_code : cli_fail(&err);
}

static const cli_option options[] = {
    CLI_OPTION_TEXT("tokens", 0, "IDS", embed_values, tokens,
                    "embed these token ids (1,2,3 or @FILE), nothing added"),
    CLI_OPTION_CHOICE("pooling", 0, "P", embed_values, pooling, "auto|mean|cls|last|rank",
                      "mean, cls, last, rank, or auto: as the model says (default)"),
    CLI_OPTION_FLAG("no-normalize", 0, embed_values, no_normalize, "leave the vector's length as it is"),
    CLI_OPTION_THREADS(embed_values, n_thread),
    CLI_OPTION_MEMORY(embed_values, memory),
    CLI_OPTION_FLAG("json", 0, embed_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_embed = {
    .name = "embed",
    .arguments = "MODEL [TEXT...]",
    .summary = "Turn texts into vectors.",
    .details = "Prints one line of numbers for each text. Without a pooling of its own a causal model\n"
               "gives its last token's hidden row, an encoder the mean. rank gives a reranker's scores;\n"
               "they are not normalised.",
    .options = options,
    .min_args = 1,
    .max_args = -1,
    .values = &values,
    .run = run,
};
