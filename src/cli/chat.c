// The conversation: messages are kept as text and rendered anew for each question; the engine finds by itself how much
// of the prompt it has computed before.
#include "cli/chat.h"

#include <string.h>

#include "cli/input.h"
#include "cli/load.h"
#include "os/clock.h"
#include "os/term.h"

#define MAX_MESSAGES ((size_t)1 << 20)

// What to do about a model whose chat template is missing or broken is said here, where the options are known.
static hth_code find_format(cli_chat *c, const cli_chat_params *p, hth_err *err) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_chat_choice choice = {.name = p->format};
    hth_code code = p->template_file ? cli_read_text(p->template_file, &text, err) : HTH_OK;
    if (p->template_file) choice.text = (hth_chat_text){hth_str_text(&text), text.len};
    if (code == HTH_OK) {
        code = hth_chat_template_open(hth_engine_model(c->engine)->container, hth_engine_tokenizer(c->engine), &choice,
                                      &c->format, err);
    }
    hth_str_free(&text);
    if (code == HTH_OK || p->format || p->template_file || code == HTH_ERR_NOMEM) return code;
    hth_err reason = *err;
    return hth_fail(err, code, "%s; --raw gives the prompt to the model as it is, --chat-format names a format", reason.msg);
}

static hth_code open_adapters(cli_chat *c, const cli_list *given, hth_err *err) {
    c->adapters = hth_calloc(HTH_MEM_MISC, 1, sizeof *c->adapters);
    if (!c->adapters) return hth_fail_nomem(err, sizeof *c->adapters);
    return cli_adapters_open(given, hth_engine_model(c->engine), c->adapters, err);
}

hth_code cli_chat_open(const char *path, const cli_chat_params *p, cli_chat *out, hth_err *err) {
    cli_chat c = {.n_predict = p->n_predict, .n_draft = (int32_t)p->n_draft, .suffix = p->suffix,
                  .think_budget = p->think_budget};
    uint64_t begin = hth_clock_ns();
    const hth_engine_params how = {.n_thread = (int)p->n_thread, .numa = p->numa, .n_ctx = p->n_ctx, .weight_bytes = p->memory,
                                   .k_type = hth_kv_type_name((hth_kv_type)cli_kv_k(&p->kv)),
                                   .v_type = hth_kv_type_name((hth_kv_type)cli_kv_v(&p->kv)),
                                   .activations = hth_activations_name((hth_activations)p->activations), .n_sequence = 1,
                                   .need_tokenizer = true, .draft = p->draft, .no_map = p->no_mmap};
    hth_code code;
    HTH_TRY_GOTO(code, cli_open_engine(path, &how, &c.engine, err), fail);
    HTH_TRY_GOTO(code, cli_sampler_make(&p->sampling, hth_engine_model(c.engine)->container,
                                        hth_engine_tokenizer(c.engine), &c.sampler, err), fail);
    if (!p->raw) HTH_TRY_GOTO(code, find_format(&c, p, err), fail);
    if (c.format) {
        HTH_TRY_GOTO(code, cli_dialect_open(&c.dialect, c.format, hth_engine_tokenizer(c.engine), p->think, p->think_budget, p->tools,
                                      err), fail);
    }
    if (p->suffix) HTH_TRY_GOTO(code, hth_infill_find(hth_engine_tokenizer(c.engine), &c.infill, err), fail);
    HTH_TRY_GOTO(code, open_adapters(&c, &p->loras, err), fail);
    HTH_TRY_GOTO(code, cli_structured_open(&p->structured, hth_engine_tokenizer(c.engine), &c.structured, err), fail);
    if (p->system) HTH_TRY_GOTO(code, cli_chat_set_system(&c, p->system, err), fail);
    c.load_ns = hth_clock_ns() - begin;
    *out = c;
    return HTH_OK;
fail:
    cli_chat_close(&c);
    return code;
}

static void drop_entries(cli_chat *c, size_t n) {
    while (c->n > n) {
        cli_chat_entry *e = &c->entries[--c->n];
        hth_free(e->text);
        hth_chat_answer_free(&e->answer);
    }
}

void cli_chat_close(cli_chat *c) {
    drop_entries(c, 0);
    hth_free(c->entries);
    cli_sampler_free(&c->sampler);
    if (c->adapters) cli_adapters_free(c->adapters);
    hth_free(c->adapters);
    if (c->format) cli_dialect_free(&c->dialect);
    cli_structured_close(&c->structured);
    hth_chat_template_free(c->format);
    hth_engine_close(c->engine);
}

void cli_chat_clear(cli_chat *c) {
    drop_entries(c, c->n > 0 && strcmp(c->entries[0].role, "system") == 0 ? 1 : 0);
}

static hth_code add_entry(cli_chat *c, const char *role, const char *text, size_t n, hth_err *err) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&c->entries, &c->cap, c->n + 1, sizeof *c->entries, MAX_MESSAGES)) {
        return hth_fail_nomem(err, (c->n + 1) * sizeof *c->entries);
    }
    char *copy = hth_strndup(HTH_MEM_TEXT, text, n);
    if (!copy) return hth_fail_nomem(err, n);
    cli_chat_entry *e = &c->entries[c->n++];
    *e = (cli_chat_entry){.role = role, .text = copy, .n = n};
    hth_chat_answer_init(&e->answer);
    return HTH_OK;
}

hth_code cli_chat_set_system(cli_chat *c, const char *text, hth_err *err) {
    drop_entries(c, 0);
    return *text ? add_entry(c, "system", text, strlen(text), err) : HTH_OK;
}

static hth_code raw_prompt(const cli_chat *c, const char *text, size_t n, hth_token_list *out, hth_err *err) {
    const hth_tokenizer *t = hth_engine_tokenizer(c->engine);
    hth_token bos = hth_tokenizer_special(t, HTH_SPECIAL_BOS);
    if (hth_tokenizer_adds_bos(t) && bos >= 0) {
        if (!hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, 1, sizeof *out->ids, SIZE_MAX / 16)) {
            return hth_fail_nomem(err, sizeof *out->ids);
        }
        out->ids[out->n++] = bos;
    }
    hth_text_segment segment = {.text = text, .n = n};
    return hth_tokenize(t, &segment, 1, 0, out, err);
}

// A text with a gap; what does not fit beside an answer is cut at the ends.
static hth_code infill_prompt(const cli_chat *c, const char *text, size_t n, hth_token_list *out, hth_err *err) {
    int64_t n_ctx = hth_engine_n_ctx(c->engine), n_answer = c->n_predict > 0 && c->n_predict < n_ctx / 2 ? c->n_predict : n_ctx / 4;
    const hth_infill_request r = {.prefix = {text, n}, .suffix = hth_chat_text_of(c->suffix), .max_all = (size_t)(n_ctx - n_answer)};
    return hth_infill_prompt(&c->infill, hth_engine_tokenizer(c->engine), &r, out, NULL, err);
}

static hth_code message_of(const cli_chat_entry *e, hth_arena *a, hth_chat_message *out, hth_err *err) {
    const hth_chat_answer *answer = &e->answer;
    hth_chat_part *part = hth_arena_alloc(a, 1, sizeof *part);
    hth_chat_call *calls = hth_arena_alloc(a, answer->n_call, sizeof *calls);
    if (!part || !calls) return hth_fail_nomem(err, sizeof *part);
    *part = (hth_chat_part){HTH_CHAT_PART_TEXT, {e->text, e->n}};
    *out = (hth_chat_message){.role = hth_chat_text_of(e->role), .parts = part, .n_part = 1, .calls = calls, .n_call = answer->n_call};
    if (answer->reasoning.len > 0) out->reasoning = (hth_chat_text){answer->reasoning.p, answer->reasoning.len};
    for (size_t i = 0; i < answer->n_call; i++) {
        const hth_chat_answer_call *c = &answer->calls[i];
        calls[i] = (hth_chat_call){{hth_str_text(&c->id), c->id.len}, {hth_str_text(&c->name), c->name.len},
                                   {hth_str_text(&c->arguments), c->arguments.len}, true};
    }
    return HTH_OK;
}

// The messages, with the word by which the family is told to think or not at the end of the system text.
static hth_code collect_messages(const cli_chat *c, hth_arena *a, hth_chat_message **out, size_t *n, hth_err *err) {
    const char *word = c->dialect.plan.word;
    const bool has_system = c->n > 0 && strcmp(c->entries[0].role, "system") == 0, adds_system = word && !has_system;
    hth_chat_message *m = hth_arena_alloc(a, c->n + 1, sizeof *m);
    hth_chat_part *parts = hth_arena_alloc(a, 3, sizeof *parts);
    if (!m || !parts) return hth_fail_nomem(err, (c->n + 1) * sizeof *m);
    for (size_t i = 0; i < c->n; i++) HTH_TRY(message_of(&c->entries[i], a, &m[i + adds_system], err));
    *out = m;
    *n = c->n + adds_system;
    if (!word) return HTH_OK;
    if (has_system) parts[0] = m[0].parts[0];
    parts[1] = (hth_chat_part){HTH_CHAT_PART_TEXT, {" ", 1}};
    parts[2] = (hth_chat_part){HTH_CHAT_PART_TEXT, hth_chat_text_of(word)};
    m[0] = (hth_chat_message){.role = hth_chat_text_of("system"), .parts = has_system ? parts : parts + 2, .n_part = has_system ? 3 : 1};
    return HTH_OK;
}

// Text behind the prompt that makes the answer begin without a thought.
static hth_code skip_thought(const cli_chat *c, hth_chat_begins *begins, hth_token_list *out, hth_err *err) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 4096);
    hth_chat_format_skip_thought(c->dialect.format, c->format, *begins, &text);
    const hth_text_segment segment = {.text = hth_str_text(&text), .n = text.len};
    const hth_code code = text.failed ? hth_fail_nomem(err, 4096) : hth_tokenize(hth_engine_tokenizer(c->engine), &segment, 1, 0, out, err);
    hth_str_free(&text);
    *begins = HTH_CHAT_BEGINS_CONTENT;
    return code;
}

static hth_code chat_prompt(const cli_chat *c, hth_token_list *out, hth_chat_begins *begins, hth_err *err) {
    const cli_dialect *d = &c->dialect;
    hth_arena a;
    hth_chat_message *messages = NULL;
    hth_jinja_text text = {0};
    hth_chat_request request = {.kwargs = &d->kwargs, .tools = d->tools.items ? &d->tool_list : NULL};
    hth_arena_init(&a, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code = collect_messages(c, &a, &messages, &request.n_message, err);
    request.messages = messages;
    if (code == HTH_OK) code = hth_chat_render(c->format, &request, &text, err);
    if (code == HTH_OK) code = hth_chat_text_ids(c->format, hth_engine_tokenizer(c->engine), &text, out, err);
    *begins = hth_chat_format_begins(d->format, &text);
    if (code == HTH_OK && d->plan.must_skip) code = skip_thought(c, begins, out, err);
    hth_jinja_text_free(&text);
    hth_arena_free(&a);
    return code;
}

// An answer on its way: its text goes through the reader, what comes of it is kept and shown.
typedef struct listener {
    hth_chat_output *reader; // NULL: the text is content as it is
    hth_chat_budget *budget; // NULL where there is no reader, or the family knows no thoughts
    hth_guides *guides;      // NULL: anything may be written
    bool forces;             // they write what there is no choice about
    hth_chat_answer *read;
    hth_chat_sink sink;
    void *user;
    bool has_stopped; // a thought, by Ctrl-C
    hth_code code;
    hth_err err;
} listener;

static hth_code hear_delta(void *user, const hth_chat_delta *d, hth_err *err) {
    listener *l = user;
    HTH_TRY(hth_chat_answer_take(l->read, d, err));
    return l->sink ? l->sink(l->user, d, err) : HTH_OK;
}

static bool hear_text(void *user, const char *text, size_t n) {
    listener *l = user;
    const hth_chat_delta plain = {.kind = HTH_CHAT_DELTA_CONTENT, .text = text, .n_text = n};
    if (l->code == HTH_OK) l->code = l->reader ? hth_chat_output_feed(l->reader, text, n, &l->err) : hear_delta(l, &plain, &l->err);
    return l->code == HTH_OK;
}

// Ctrl-C while a thought is shown ends the thought; the next one ends the answer.
static bool stop_thought(void *user) {
    listener *l = user;
    if (!l->budget || l->has_stopped || !hth_chat_output_is_thinking(l->reader) || l->read->reasoning.len == 0) return false;
    hth_chat_budget_stop(l->budget);
    return l->has_stopped = true;
}

static bool mask_tokens(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask) {
    return hth_guides_mask(((const listener *)user)->guides, completion, tokens, n, mask);
}

static size_t force_tokens(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    const listener *l = user;
    const size_t n_out = l->budget ? hth_chat_budget_force(l->budget, completion, tokens, n, out) : 0;
    return n_out > 0 || !l->forces ? n_out : hth_guides_force(l->guides, completion, tokens, n, out);
}

static hth_code answer(cli_chat *c, const hth_token_list *prompt, listener *l, cli_answer *out, hth_err *err) {
    const hth_segment segment = {.tokens = prompt->ids, .n_token = prompt->n};
    hth_token ends[HTH_INFILL_MAX_ENDS];
    size_t n_end = c->suffix ? hth_infill_ends(&c->infill, ends) : 0;
    hth_request_params params = {.segments = &segment, .n_segment = 1, .sampling = &c->sampler.params,
                                 .adapters = &c->adapters->set, .max_tokens = c->n_predict, .n_draft = c->n_draft,
                                 .stop_tokens = ends, .n_stop_token = n_end, .show_control = l->reader != NULL, .user = l};
    l->guides = c->structured.guides;
    if (l->guides) params.mask = mask_tokens;
    l->forces = l->guides && !c->structured.no_forcing;
    if (l->budget || l->forces) params.force = force_tokens;
    if (prompt->n == 0) return hth_fail(err, HTH_ERR_RANGE, "the prompt is empty");
    if ((int64_t)prompt->n > hth_engine_n_ctx(c->engine)) {
        return hth_fail(err, HTH_ERR_LIMIT, "the prompt has %zu tokens, the context holds %lld (see --ctx)",
                        prompt->n, (long long)hth_engine_n_ctx(c->engine));
    }
    hth_code code = cli_generate(c->engine, &params, hear_text, stop_thought, l, out, err);
    HTH_TRY(cli_structured_explain(&c->structured, code, err));
    if (l->code == HTH_OK && l->reader) l->code = hth_chat_output_end(l->reader, &l->err);
    if (l->code != HTH_OK && l->code != HTH_ERR_CANCELLED) { // that nobody reads any more is no failure
        cli_answer_free(out);
        *err = l->err;
        return l->code;
    }
    c->n_held = out->n_prompt + out->n_generated;
    return HTH_OK;
}

static hth_code open_reader(const cli_chat *c, hth_chat_begins begins, listener *l, hth_err *err) {
    const hth_chat_output_params p = {.format = c->dialect.format, .begins = begins, .tokenizer = hth_engine_tokenizer(c->engine),
                                      .tools = c->dialect.tools.items ? &c->dialect.tools : NULL, .seed = hth_clock_ns(),
                                      .sink = hear_delta, .user = l};
    HTH_TRY(hth_chat_output_new(&p, &l->reader, err));
    if (!hth_chat_format_ends_thought(p.format, c->format)) return HTH_OK;
    const hth_chat_budget_params how = {.answers = &p, .chat = c->format, .n_completion = 1,
                                        .most = c->think_budget > 0 ? c->think_budget : -1};
    return hth_chat_budget_new(&how, &l->budget, err);
}

static hth_code ask(cli_chat *c, const char *text, size_t n, hth_token_list *prompt, listener *l, cli_answer *out, hth_err *err) {
    hth_chat_begins begins;
    if (!c->format) {
        HTH_TRY(c->suffix ? infill_prompt(c, text, n, prompt, err) : raw_prompt(c, text, n, prompt, err));
    } else {
        HTH_TRY(add_entry(c, "user", text, n, err));
        HTH_TRY(chat_prompt(c, prompt, &begins, err));
        HTH_TRY(open_reader(c, begins, l, err));
    }
    return answer(c, prompt, l, out, err);
}

// The answer becomes a message of the conversation, with what it is made of.
static hth_code keep(cli_chat *c, const hth_chat_answer *a, hth_err *err) {
    HTH_TRY(add_entry(c, "assistant", hth_str_text(&a->content), a->content.len, err));
    hth_chat_answer *to = &c->entries[c->n - 1].answer;
    hth_chat_delta d = {.kind = HTH_CHAT_DELTA_REASONING, .text = hth_str_text(&a->reasoning), .n_text = a->reasoning.len};
    HTH_TRY(hth_chat_answer_take(to, &d, err));
    for (size_t i = 0; i < a->n_call; i++) {
        const hth_chat_answer_call *x = &a->calls[i];
        if (x->is_cut) continue; // its arguments are no JSON
        d = (hth_chat_delta){.kind = HTH_CHAT_DELTA_CALL, .id = {hth_str_text(&x->id), x->id.len},
                             .name = {hth_str_text(&x->name), x->name.len}};
        HTH_TRY(hth_chat_answer_take(to, &d, err));
        d = (hth_chat_delta){.kind = HTH_CHAT_DELTA_ARGUMENTS, .text = hth_str_text(&x->arguments), .n_text = x->arguments.len};
        HTH_TRY(hth_chat_answer_take(to, &d, err));
    }
    return HTH_OK;
}

hth_code cli_chat_ask(cli_chat *c, const char *text, size_t n, hth_chat_sink sink, void *user, cli_answer *out, hth_err *err) {
    const size_t n_before = c->n;
    hth_token_list prompt = {0};
    hth_chat_answer read;
    listener l = {.read = &read, .sink = sink, .user = user};
    hth_chat_answer_init(&read);
    hth_code code = ask(c, text, n, &prompt, &l, out, err);
    if (code == HTH_OK && c->format) {
        code = keep(c, &read, err);
        if (code != HTH_OK) cli_answer_free(out);
    }
    if (code == HTH_OK) {
        out->read = read;
    } else {
        hth_chat_answer_free(&read);
        drop_entries(c, n_before);
    }
    hth_chat_output_free(l.reader);
    hth_chat_budget_free(l.budget);
    hth_token_list_free(&prompt);
    return code;
}
