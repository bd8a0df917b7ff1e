// Generates with and without speculation, for the tests.
//
//   probe_draft MODEL FILE [n=N] [temp=T] [seed=S] [threads=N] [draft=MODEL] [most=N] [repeat=N] [tree=1]
//
// FILE holds the prompt's text. Prints one JSON object: the ids that both ways gave ("same": whether they are equal
// at every repetition), the best time of each in milliseconds, and how many tokens were drafted and accepted. tree=1
// adds a wrong branch before each right one, so that states are kept by hth_state_keep.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/draft.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/thread.h"

enum { MAX_TOKENS = 1 << 16 };

typedef struct probe {
    hth_model *model, *small;
    hth_tokenizer *tokenizer, *small_tokenizer;
    hth_team *team;
    hth_executor *executor, *small_executor;
    hth_sampler_params sampling;
    int32_t most;
    int64_t n_out;
    bool tree;
    int32_t *tokens; // [n]
    int64_t n, n_prompt;
    float *logits; // [1 + HTH_MAX_DRAFT, n_vocab]
    hth_row *rows;
    int64_t n_drafted, n_accepted; // of the last time
    double ms;
} probe;

static void set_row(hth_row *r, int32_t token, int64_t pos, int32_t parent, hth_row_kind kind, bool logits) {
    *r = (hth_row){.token = token, .pos = {pos, pos, pos, pos}, .parent = parent, .span = -1, .kind = (uint8_t)kind,
                   .want = logits ? HTH_WANT_LOGITS : 0};
}

static hth_code run(probe *p, hth_state *state, int32_t n, hth_err *err) {
    const hth_step step = {.model = p->model, .batch = {.rows = p->rows, .n_row = n, .states = &state, .n_seq = 1},
                           .layer_last = p->model->desc.n_layer, .logits = p->logits, .hidden_layer = -1};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(p->executor, &step, &ticket, err));
    return hth_executor_wait(p->executor, ticket, err);
}

static hth_code prefill(probe *p, hth_state *state, hth_err *err) {
    for (int64_t at = 0; at < p->n_prompt;) {
        const int64_t n = p->n_prompt - at < 256 ? p->n_prompt - at : 256;
        for (int64_t i = 0; i < n; i++)
            set_row(&p->rows[i], p->tokens[at + i], at + i, HTH_PARENT_PREVIOUS, HTH_ROW_PROMPT, at + i == p->n_prompt - 1);
        HTH_TRY(run(p, state, (int32_t)n, err));
        at += n;
    }
    return HTH_OK;
}

// Puts a wrong token beside each right one.
static void grow_tree(hth_draft *d) {
    hth_draft tree = {.source = d->source};
    int32_t parent = -1;
    for (int32_t i = 0; i < d->n && tree.n + 2 <= HTH_MAX_DRAFT; i++) {
        tree.tokens[tree.n] = d->tokens[i] == 7 ? 8 : 7;
        tree.parent[tree.n++] = parent;
        tree.tokens[tree.n] = d->tokens[i];
        tree.parent[tree.n] = parent;
        parent = tree.n++;
    }
    *d = tree;
}

// The last token and a draft behind it; keeps the rows that were reached. Returns through *n_accepted.
static hth_code step(probe *p, hth_state *state, hth_sampler *s, const hth_draft *d, int32_t *n_accepted, hth_err *err) {
    const int64_t base = p->n - 1; // rows that are computed
    const size_t n_vocab = (size_t)p->model->desc.n_vocab;
    int64_t kept[HTH_MAX_DRAFT + 1], depth[HTH_MAX_DRAFT], n_kept = 1;
    set_row(&p->rows[0], p->tokens[base], base, HTH_PARENT_PREVIOUS, HTH_ROW_GENERATED, true);
    for (int32_t i = 0; i < d->n; i++) {
        depth[i] = d->parent[i] < 0 ? 1 : depth[d->parent[i]] + 1;
        set_row(&p->rows[1 + i], d->tokens[i], base + depth[i], 1 + d->parent[i], HTH_ROW_GENERATED, true);
    }
    HTH_TRY(run(p, state, 1 + d->n, err));
    kept[0] = base;
    for (int32_t node = -1;;) {
        int32_t token;
        HTH_TRY(hth_sampler_pick(s, p->logits + (size_t)(node + 1) * n_vocab, p->n, &token, err));
        HTH_TRY(hth_sampler_accept(s, token, err));
        p->tokens[p->n++] = token;
        node = hth_draft_child(d, node, token);
        if (node < 0 || p->n - p->n_prompt >= p->n_out) break;
        kept[n_kept++] = base + 1 + node;
    }
    *n_accepted = (int32_t)n_kept - 1;
    if (hth_draft_is_line(d)) return hth_state_truncate(state, base + n_kept, err);
    return hth_state_keep(state, base, kept, n_kept, err);
}

static hth_code make_drafter(probe *p, hth_drafter **out, hth_err *err) {
    if (!p->small) return hth_drafter_ngram_new(out, err);
    return hth_drafter_model_new(&(hth_drafter_model_params){.model = p->small, .executor = p->small_executor,
                                                             .n_vocab = p->model->desc.n_vocab, .n_ctx = MAX_TOKENS,
                                                             .sampling = &p->sampling, .least_share = 0.3f},
                                 out, err);
}

static hth_code generate(probe *p, hth_state *state, hth_sampler *s, hth_drafter *drafter, hth_err *err) {
    hth_draft d = {0};
    int32_t token, n_accepted;
    p->n = p->n_prompt;
    for (int64_t i = 0; i < p->n; i++) HTH_TRY(hth_sampler_accept(s, p->tokens[i], err));
    HTH_TRY(prefill(p, state, err));
    HTH_TRY(hth_sampler_pick(s, p->logits, p->n, &token, err));
    HTH_TRY(hth_sampler_accept(s, token, err));
    p->tokens[p->n++] = token;
    p->n_drafted = p->n_accepted = 0;
    const uint64_t begin = hth_clock_ns();
    while (p->n - p->n_prompt < p->n_out) {
        if (drafter) {
            HTH_TRY(hth_drafter_propose(drafter, p->tokens, (size_t)p->n, p->most, &d, err));
            if (p->tree) grow_tree(&d);
        }
        const int64_t most = p->n_out - (p->n - p->n_prompt) - 1; // guesses that can still be accepted
        HTH_TRY(step(p, state, s, &d, &n_accepted, err));
        p->n_drafted += d.n < most ? d.n : most;
        p->n_accepted += n_accepted;
    }
    p->ms = (double)(hth_clock_ns() - begin) * 1e-6;
    return HTH_OK;
}

static hth_code complete(probe *p, bool drafts, hth_err *err) {
    hth_state *state = NULL;
    hth_sampler *s = NULL;
    hth_drafter *drafter = NULL;
    hth_code code;
    const hth_state_params how = {.n_ctx = MAX_TOKENS, .k_type = HTH_KV_F16, .v_type = HTH_KV_F16};
    HTH_TRY_GOTO(code, hth_state_new(p->executor, p->model, &how, &state, err), done);
    HTH_TRY_GOTO(code, hth_sampler_new(&p->sampling, p->model->desc.n_vocab, &s, err), done);
    if (drafts) HTH_TRY_GOTO(code, make_drafter(p, &drafter, err), done);
    code = generate(p, state, s, drafter, err);
done:
    hth_drafter_free(drafter);
    hth_sampler_free(s);
    hth_state_free(state);
    return code;
}

static hth_code compare(probe *p, int n_repeat, hth_err *err) {
    int32_t *plain = hth_calloc(HTH_MEM_MISC, (size_t)p->n_out, sizeof *plain);
    if (!plain) return hth_fail_nomem(err, (uint64_t)p->n_out * sizeof *plain);
    double best[2] = {0};
    bool same = true;
    hth_code code = HTH_OK;
    for (int i = 0; i < 2 * n_repeat && code == HTH_OK; i++) {
        const int way = i % 2;
        code = complete(p, way == 1, err);
        if (code != HTH_OK) break;
        if (best[way] == 0 || p->ms < best[way]) best[way] = p->ms;
        if (i == 0) memcpy(plain, p->tokens + p->n_prompt, (size_t)p->n_out * sizeof *plain);
        same = same && memcmp(plain, p->tokens + p->n_prompt, (size_t)p->n_out * sizeof *plain) == 0;
    }
    if (code == HTH_OK) {
        printf("{\"same\": %s, \"plain_ms\": %.3f, \"draft_ms\": %.3f, \"drafted\": %lld, \"accepted\": %lld, \"ids\": [",
               same ? "true" : "false", best[0], best[1], (long long)p->n_drafted, (long long)p->n_accepted);
        for (int64_t i = 0; i < p->n_out; i++) printf("%s%d", i ? ", " : "", plain[i]);
        printf("]}\n");
    }
    hth_free(plain);
    return code;
}

static hth_code open_all(probe *p, const char *path, const char *small, int n_thread, hth_err *err) {
    HTH_TRY(hth_model_open(path, &p->model, err));
    HTH_TRY(hth_tokenizer_load(p->model->container, &p->tokenizer, err));
    HTH_TRY(hth_team_new(n_thread, &p->team, err));
    HTH_TRY(hth_executor_cpu_new(p->team, &p->executor, err));
    if (small) {
        HTH_TRY(hth_model_open(small, &p->small, err));
        HTH_TRY(hth_tokenizer_load(p->small->container, &p->small_tokenizer, err));
        HTH_TRY(hth_executor_cpu_new(p->team, &p->small_executor, err));
        HTH_TRY(hth_draft_check_vocab(p->tokenizer, p->small_tokenizer, err));
    }
    p->logits = hth_calloc(HTH_MEM_MISC, (size_t)p->model->desc.n_vocab * (HTH_MAX_DRAFT + 1), sizeof *p->logits);
    p->rows = hth_calloc(HTH_MEM_MISC, 256, sizeof *p->rows);
    p->tokens = hth_calloc(HTH_MEM_MISC, MAX_TOKENS, sizeof *p->tokens);
    return p->logits && p->rows && p->tokens ? HTH_OK : hth_fail_nomem(err, 0);
}

static hth_code read_prompt(probe *p, const char *path, hth_err *err) {
    char *text;
    hth_token_list list = {0};
    hth_text_segment segment = {0};
    HTH_TRY(hth_file_read(path, HTH_MEM_MISC, 1 << 20, &text, &segment.n, err));
    segment.text = text;
    hth_code code = hth_tokenize(p->tokenizer, &segment, 1, HTH_TOKENIZE_ADD_SPECIAL, &list, err);
    if (code == HTH_OK && (list.n == 0 || (int64_t)list.n + p->n_out > MAX_TOKENS)) code = hth_fail(err, HTH_ERR_RANGE, "%zu tokens", list.n);
    p->n_prompt = (int64_t)list.n;
    for (size_t i = 0; i < list.n && code == HTH_OK; i++) p->tokens[i] = list.ids[i];
    hth_token_list_free(&list);
    hth_free(text);
    return code;
}

int main(int argc, char **argv) {
    probe p = {.most = 15, .n_out = 64, .sampling = hth_sampler_default()};
    const char *small = NULL;
    int n_repeat = 1, n_thread = 2;
    p.sampling.temperature = 0;
    for (int i = 3; i < argc; i++) {
        const char *value = strchr(argv[i], '=') ? strchr(argv[i], '=') + 1 : "";
        if (argv[i][0] == 'n') p.n_out = atoi(value);
        else if (strncmp(argv[i], "temp", 4) == 0) p.sampling.temperature = strtof(value, NULL);
        else if (argv[i][0] == 's') p.sampling.seed = strtoull(value, NULL, 10);
        else if (strncmp(argv[i], "th", 2) == 0) n_thread = atoi(value);
        else if (argv[i][0] == 'd') small = value;
        else if (argv[i][0] == 'm') p.most = atoi(value);
        else if (argv[i][0] == 'r') n_repeat = atoi(value);
        else p.tree = true;
    }
    if (argc < 3) return 2;
    hth_err err;
    hth_code code = open_all(&p, argv[1], small, n_thread, &err);
    if (code == HTH_OK) code = read_prompt(&p, argv[2], &err);
    if (code == HTH_OK) code = compare(&p, n_repeat, &err);
    if (code != HTH_OK) fprintf(stderr, "%s\n", err.msg);
    hth_free(p.logits);
    hth_free(p.rows);
    hth_free(p.tokens);
    if (p.executor) hth_executor_free(p.executor);
    if (p.small_executor) hth_executor_free(p.small_executor);
    if (p.team) hth_team_free(p.team);
    hth_tokenizer_free(p.tokenizer);
    hth_tokenizer_free(p.small_tokenizer);
    if (p.model) hth_model_free(p.model);
    if (p.small) hth_model_free(p.small);
    return code == HTH_OK ? 0 : 1;
}
