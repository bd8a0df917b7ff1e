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
    cli_chat c = {.n_predict = p->n_predict, .n_draft = (int32_t)p->n_draft, .suffix = p->suffix};
    uint64_t begin = hth_clock_ns();
    const hth_engine_params how = {.n_thread = (int)p->n_thread, .numa = p->numa, .n_ctx = p->n_ctx, .weight_bytes = p->memory,
                                   .k_type = hth_kv_type_name((hth_kv_type)cli_kv_k(&p->kv)),
                                   .v_type = hth_kv_type_name((hth_kv_type)cli_kv_v(&p->kv)),
                                   .activations = hth_activations_name((hth_activations)p->activations), .n_sequence = 1,
                                   .need_tokenizer = true, .draft = p->draft};
    hth_code code;
    HTH_TRY_GOTO(code, cli_open_engine(path, &how, &c.engine, err), fail);
    HTH_TRY_GOTO(code, cli_sampler_make(&p->sampling, hth_engine_model(c.engine)->container,
                                        hth_engine_tokenizer(c.engine), &c.sampler, err), fail);
    if (!p->raw) HTH_TRY_GOTO(code, find_format(&c, p, err), fail);
    if (p->suffix) HTH_TRY_GOTO(code, hth_infill_find(hth_engine_tokenizer(c.engine), &c.infill, err), fail);
    HTH_TRY_GOTO(code, open_adapters(&c, &p->loras, err), fail);
    if (p->system) HTH_TRY_GOTO(code, cli_chat_set_system(&c, p->system, err), fail);
    c.load_ns = hth_clock_ns() - begin;
    *out = c;
    return HTH_OK;
fail:
    cli_chat_close(&c);
    return code;
}

static void drop_entries(cli_chat *c, size_t n) {
    while (c->n > n) hth_free(c->entries[--c->n].text);
}

void cli_chat_close(cli_chat *c) {
    drop_entries(c, 0);
    hth_free(c->entries);
    cli_sampler_free(&c->sampler);
    if (c->adapters) cli_adapters_free(c->adapters);
    hth_free(c->adapters);
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
    c->entries[c->n++] = (cli_chat_entry){.role = role, .text = copy, .n = n};
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

static hth_code chat_prompt(const cli_chat *c, hth_token_list *out, hth_err *err) {
    hth_chat_message *messages = hth_calloc(HTH_MEM_TEXT, c->n, sizeof *messages);
    hth_chat_part *parts = hth_calloc(HTH_MEM_TEXT, c->n, sizeof *parts);
    hth_jinja_text text = {0};
    hth_code code = messages && parts ? HTH_OK : hth_fail_nomem(err, c->n * sizeof *messages);
    for (size_t i = 0; i < c->n && code == HTH_OK; i++) {
        parts[i] = (hth_chat_part){HTH_CHAT_PART_TEXT, {c->entries[i].text, c->entries[i].n}};
        messages[i] = (hth_chat_message){.role = hth_chat_text_of(c->entries[i].role), .parts = &parts[i], .n_part = 1};
    }
    hth_chat_request request = {.messages = messages, .n_message = c->n};
    if (code == HTH_OK) code = hth_chat_render(c->format, &request, &text, err);
    if (code == HTH_OK) code = hth_chat_text_ids(c->format, hth_engine_tokenizer(c->engine), &text, out, err);
    hth_jinja_text_free(&text);
    hth_free(parts);
    hth_free(messages);
    return code;
}

static hth_code answer(cli_chat *c, const hth_token_list *prompt, cli_text_sink sink, void *user,
                       cli_answer *out, hth_err *err) {
    const hth_segment segment = {.tokens = prompt->ids, .n_token = prompt->n};
    hth_token ends[HTH_INFILL_MAX_ENDS];
    size_t n_end = c->suffix ? hth_infill_ends(&c->infill, ends) : 0;
    const hth_request_params params = {.segments = &segment, .n_segment = 1, .sampling = &c->sampler.params,
                                       .adapters = &c->adapters->set, .max_tokens = c->n_predict, .n_draft = c->n_draft,
                                       .stop_tokens = ends, .n_stop_token = n_end};
    if (prompt->n == 0) return hth_fail(err, HTH_ERR_RANGE, "the prompt is empty");
    if ((int64_t)prompt->n > hth_engine_n_ctx(c->engine)) {
        return hth_fail(err, HTH_ERR_LIMIT, "the prompt has %zu tokens, the context holds %lld (see --ctx)",
                        prompt->n, (long long)hth_engine_n_ctx(c->engine));
    }
    HTH_TRY(cli_generate(c->engine, &params, sink, user, out, err));
    c->n_held = out->n_prompt + out->n_generated;
    return HTH_OK;
}

hth_code cli_chat_ask(cli_chat *c, const char *text, size_t n, cli_text_sink sink, void *user,
                      cli_answer *out, hth_err *err) {
    size_t n_before = c->n;
    hth_token_list prompt = {0};
    hth_code code;
    if (!c->format) {
        code = c->suffix ? infill_prompt(c, text, n, &prompt, err) : raw_prompt(c, text, n, &prompt, err);
    } else {
        code = add_entry(c, "user", text, n, err);
        if (code == HTH_OK) code = chat_prompt(c, &prompt, err);
    }
    if (code == HTH_OK) code = answer(c, &prompt, sink, user, out, err);
    if (code == HTH_OK && c->format) {
        code = add_entry(c, "assistant", hth_str_text(&out->text), out->text.len, err);
        if (code != HTH_OK) cli_answer_free(out);
    }
    if (code != HTH_OK) drop_entries(c, n_before);
    hth_token_list_free(&prompt);
    return code;
}
