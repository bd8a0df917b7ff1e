// hearth embed: texts to vectors.
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/load.h"
#include "cli/out.h"

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

static void add_vector(hth_json_out *j, int64_t index, size_t n_token, const float *v, int32_t n) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_int(j, "index", index);
    hth_json_out_int(j, "n_tokens", (int64_t)n_token);
    hth_json_out_begin(j, "embedding", '[');
    for (int32_t i = 0; i < n; i++) hth_json_out_num(j, NULL, (double)v[i]);
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

// Text number i, or the tokens of --tokens.
static hth_code get_tokens(const hth_solo *e, const cli_args *args, int i, hth_token_list *list,
                           hth_err *err) {
    list->n = 0;
    if (values.tokens) return cli_read_ids(values.tokens, list, err);
    hth_text_segment segment = {.text = args->items[i + 1], .n = strlen(args->items[i + 1]), .is_user = true};
    return hth_tokenize(e->tokenizer, &segment, 1, HTH_TOKENIZE_ADD_SPECIAL, list, err);
}

static hth_code embed_all(hth_solo *e, const cli_args *args, float *v, hth_json_out *j, hth_err *err) {
    hth_pooling pooling = poolings[values.pooling];
    int32_t n = hth_solo_n_embed(e, pooling);
    int n_text = values.tokens ? 1 : args->n - 1;
    hth_token_list list = {0};
    hth_code code = HTH_OK;
    for (int i = 0; i < n_text && code == HTH_OK; i++) {
        code = get_tokens(e, args, i, &list, err);
        if (code == HTH_OK)
            code = hth_solo_embed(e, list.ids, list.n, pooling, !values.no_normalize, v, err);
        if (code != HTH_OK) break;
        if (values.json) {
            add_vector(j, i, list.n, v, n);
        } else {
            print_vector(v, n);
        }
    }
    hth_token_list_free(&list);
    return code;
}

static hth_code embed(hth_solo *e, const cli_args *args, int *exit_code, hth_err *err) {
    hth_pooling pooling = poolings[values.pooling];
    int32_t n = hth_solo_n_embed(e, pooling);
    float *v = hth_calloc(HTH_MEM_MISC, (size_t)n + 1, sizeof *v);
    if (!v) return hth_fail_nomem(err, (uint64_t)n * sizeof *v);
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, SIZE_MAX / 2);
    hth_json_out j = hth_json_out_make(&text, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "family", e->model->desc.family);
    hth_json_out_text(&j, "pooling",
                      pooling_names[pooling == HTH_POOL_NONE ? hth_solo_pooling(e) : pooling]);
    hth_json_out_int(&j, "n", n);
    hth_json_out_begin(&j, "embeddings", '[');
    hth_code code = embed_all(e, args, v, &j, err);
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    if (code == HTH_OK && values.json) *exit_code = cli_print_json(&text);
    hth_str_free(&text);
    hth_free(v);
    return code;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    if (args->n < 2 && !values.tokens) return cli_usage_error("embed", "give TEXT or --tokens");
    if (args->n > 1 && values.tokens) return cli_usage_error("embed", "give either TEXT or --tokens");
    hth_err err;
    hth_solo *engine = NULL;
    int exit_code = CLI_OK;
    const hth_solo_params how = {
        .n_thread = (int)values.n_thread, .need_tokenizer = !values.tokens, .memory_bytes = values.memory};
    hth_code code = cli_load_engine(args->items[0], &how, &engine, &err);
    if (code == HTH_OK) code = embed(engine, args, &exit_code, &err);
    hth_solo_close(engine);
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
