// From an ask to what the engine is given: the rendered prompt, sampling, what may be written.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "server/access.h"
#include "server/call_impl.h"

#define MAX_TOOLS_BYTES ((uint64_t)64 << 20)

// ---- tools

// In the shape of OpenAI's API, which templates and chat/tools.h read.
static void write_tool(hth_json_out *j, const hth_ask *a, const hth_ask_tool *t) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "type", "function");
    hth_json_out_begin(j, "function", '{');
    hth_json_out_str(j, "name", t->name.p, t->name.n);
    if (t->description.p) hth_json_out_str(j, "description", t->description.p, t->description.n);
    if (t->parameters) {
        hth_json_out_raw(j, "parameters", a->document + t->parameters->pos,
                         hth_json_extent(a->document, a->n_document, t->parameters));
    }
    if (t->strict) hth_json_out_bool(j, "strict", true);
    hth_json_out_end(j, '}');
    hth_json_out_end(j, '}');
}

static bool is_chosen(const hth_ask *a, const hth_ask_tool *t) {
    for (size_t i = 0; i < a->n_tool_name; i++) {
        if (a->tool_names[i].n == t->name.n && memcmp(a->tool_names[i].p, t->name.p, t->name.n) == 0)
            return true;
    }
    return a->n_tool_name == 0;
}

// Templates are not shown the grammars of custom tools, which their descriptions tell.
static bool add_grammars(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_chat_tool *items = hth_arena_alloc(&c->arena, c->tools.n + 1, sizeof *items);
    size_t n = 0;
    if (!items) return call_no_memory(fault);
    for (size_t i = 0; i < a->n_tool; i++) {
        if (!is_chosen(a, &a->tools[i])) continue;
        items[n] = c->tools.items[n];
        items[n++].grammar = a->tools[i].grammar;
    }
    c->tools.items = items;
    return true;
}

static bool read_tools(hth_call *c, hth_jinja_value *list, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_str text;
    hth_err err;
    hth_str_init(&text, HTH_MEM_SERVER, MAX_TOOLS_BYTES);
    hth_json_out j = hth_json_out_make(&text, false);
    hth_json_out_begin(&j, NULL, '[');
    for (size_t i = 0; i < a->n_tool; i++) {
        if (is_chosen(a, &a->tools[i])) write_tool(&j, a, &a->tools[i]);
    }
    hth_json_out_end(&j, ']');
    const char *own = text.failed ? NULL : hth_arena_strndup(&c->arena, hth_str_text(&text), text.len);
    const size_t n = text.len;
    hth_str_free(&text);
    if (!own) return call_no_memory(fault);
    hth_code code = hth_json_parse(own, n, MAX_TOOLS_BYTES, &c->tools_doc, &err);
    const hth_json *root = code == HTH_OK ? hth_json_root(c->tools_doc) : NULL;
    if (code == HTH_OK) code = hth_chat_tools_from_json(&c->arena, root, own, n, &c->tools, &err);
    if (code == HTH_OK) code = hth_jinja_from_json(&c->arena, root, own, n, HTH_JINJA_OF_CLIENT, list, &err);
    if (code == HTH_OK) return add_grammars(c, fault);
    return hth_refuse(fault, code == HTH_ERR_NOMEM ? HTH_FAULT_NO_MEMORY : HTH_FAULT_BAD_REQUEST,
                      CALL_NAME(c, tools), "%s", err.msg);
}

// ---- rendering

// What the template is told about thinking; `plan` says what it cannot be told.
static bool apply_thinking(hth_call *c, hth_jinja_value *kwargs, hth_chat_reasoning_plan *plan,
                           hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_chat_reasoning_choice choice = {.budget = a->thinking_budget > 0 ? a->thinking_budget : 0};
    hth_err err;
    if (a->effort.p && !hth_chat_reasoning_parse(a->effort.p, &choice)) choice.effort = HTH_CHAT_EFFORT_AUTO;
    choice.think = a->thinking == HTH_THINK_OFF ? HTH_CHAT_THINK_OFF
                 : a->thinking == HTH_THINK_ON  ? HTH_CHAT_THINK_ON
                                                : HTH_CHAT_THINK_AUTO;
    if (a->thinking == HTH_THINK_DEFAULT && !a->effort.p && choice.budget == 0) return true;
    const hth_code code =
        hth_chat_reasoning_apply(&c->use->reasoning, &choice, &c->arena, kwargs, plan, &err);
    return code == HTH_OK || hth_refuse_err(fault, &err, NULL);
}

// Calls that this model wrote go back to it in its own spelling.
static bool recall_calls(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_chat_message *own = hth_arena_alloc(&c->arena, a->n_message, sizeof *own);
    if (!own) return call_no_memory(fault);
    memcpy(own, a->messages, a->n_message * sizeof *own);
    c->messages = own;
    for (size_t i = 0; i < a->n_message; i++) {
        if (own[i].n_call == 0) continue;
        hth_chat_call *calls = hth_arena_alloc(&c->arena, own[i].n_call, sizeof *calls);
        if (!calls) return call_no_memory(fault);
        memcpy(calls, own[i].calls, own[i].n_call * sizeof *calls);
        for (size_t k = 0; k < own[i].n_call; k++) c->usage.n_sent_back[hth_sampled_find(c->use->sampled, &c->arena, &calls[k])]++;
        own[i].calls = calls;
    }
    return true;
}

// The messages, with what a template without a switch is told in words.
static bool render_messages(hth_call *c, const hth_jinja_value *tools, const hth_jinja_value *kwargs,
                            const char *word, hth_jinja_text *text, hth_fault *fault) {
    const hth_ask *a = c->ask;
    const hth_chat_message *messages = c->messages;
    size_t n = a->n_message;
    hth_err err;
    if (word) {
        hth_chat_message *more = hth_arena_alloc(&c->arena, n + 1, sizeof *more);
        hth_chat_part *part = hth_arena_alloc(&c->arena, 1, sizeof *part);
        if (!more || !part) return call_no_memory(fault);
        *part = (hth_chat_part){HTH_CHAT_PART_TEXT, hth_chat_text_of(word)};
        more[0] = (hth_chat_message){.role = hth_chat_text_of("system"), .parts = part, .n_part = 1};
        memcpy(more + 1, messages, n * sizeof *more);
        messages = more;
        n++;
    }
    const bool continues = !a->no_continue && n > 0 && strcmp(messages[n - 1].role.p, "assistant") == 0 &&
                           messages[n - 1].n_call == 0;
    const hth_chat_request request = {.messages = messages,
                                      .n_message = n,
                                      .tools = tools,
                                      .kwargs = kwargs,
                                      .no_answer = a->no_answer || continues,
                                      .continues = continues ? "content" : NULL};
    if (hth_chat_render(c->use->chat, &request, text, &err) == HTH_OK) return true;
    (void)hth_refuse_err(fault, &err, NULL);
    if (err.code == HTH_ERR_RANGE || err.code == HTH_ERR_FORMAT || err.code == HTH_ERR_UNSUPPORTED) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, CALL_NAME(c, messages), "%s", err.msg);
    }
    return false;
}

static bool check_messages(const hth_call *c, hth_fault *fault) {
    static const char *const kinds[] = {"text", "images", "audio", "video", "files"};
    const hth_ask *a = c->ask;
    char path[64];
    for (size_t i = 0; i < a->n_message; i++) {
        for (size_t k = 0; k < a->messages[i].n_part; k++) {
            const hth_chat_part_kind kind = a->messages[i].parts[k].kind;
            if (kind == HTH_CHAT_PART_TEXT) continue;
            snprintf(path, sizeof path, "%s[%zu].content[%zu]", CALL_NAME(c, messages), i, k);
            return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, path,
                              "'%s': the model %s cannot take %s, only text", path, c->use->card->name,
                              kinds[kind]);
        }
    }
    if (a->n_message > 0) return true;
    return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, CALL_NAME(c, messages),
                      "'%s' must hold at least one message", CALL_NAME(c, messages));
}

static bool skip_thought(hth_call *c, hth_fault *fault) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_SERVER, 4096);
    hth_chat_format_skip_thought(c->format, c->use->chat, c->begins, &text);
    c->ends_thought = text.failed ? NULL : hth_arena_strndup(&c->arena, hth_str_text(&text), text.len);
    hth_str_free(&text);
    c->begins = HTH_CHAT_BEGINS_CONTENT;
    return c->ends_thought || call_no_memory(fault);
}

// What was asked for and the family does not know.
static void tell_ignored(const hth_call *c, const hth_chat_reasoning_plan *plan) {
    if (c->x && (plan->ignores_effort || plan->ignores_on)) {
        hth_reply_header(c->x, "X-Hearth-Ignored", CALL_NAME(c, thinking));
    }
}

bool call_render(hth_call *c, hth_jinja_text *text, hth_fault *fault) {
    const hth_ask *a = c->ask;
    if (!c->use->chat) {
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "model", "the model %s cannot chat: %s",
                          c->use->card->name,
                          c->use->chat_note ? c->use->chat_note : "it has no chat template");
    }
    if (!check_messages(c, fault) || !recall_calls(c, fault)) return false;
    hth_jinja_value tools = {0}, kwargs = a->kwargs;
    hth_err err;
    hth_chat_reasoning_plan plan = {0};
    const bool has_tools = a->n_tool > 0 && a->tool_choice != HTH_TOOLS_NONE;
    if (has_tools && !read_tools(c, &tools, fault)) return false;
    if (kwargs.kind == HTH_JINJA_MISSING && hth_jinja_make_dict(&c->arena, &kwargs, &err) != HTH_OK)
        return call_no_memory(fault);
    c->format = a->script_format.p ? hth_chat_format_find(a->script_format.p) : NULL;
    if (!c->format) c->format = c->use->format;
    if (!apply_thinking(c, &kwargs, &plan, fault)) return false;
    tell_ignored(c, &plan);
    if (!render_messages(c, has_tools ? &tools : NULL, &kwargs, plan.word, text, fault)) return false;
    c->begins = hth_chat_format_begins(c->format, text);
    // A form that the answer must have leaves no room for a thought that is open: it is over before it
    // begins.
    const bool has_form = a->format != HTH_FORMAT_TEXT && c->begins == HTH_CHAT_BEGINS_THOUGHT;
    return !(plan.must_skip || has_form) || skip_thought(c, fault);
}

// The rendered text as segments of the call's own.
static bool take_prompt(hth_call *c, const hth_jinja_text *text, hth_fault *fault) {
    const hth_tokenizer *t = c->use->tokenizer;
    const hth_ask_prompt *before = &c->ask->before;
    hth_segment *s = hth_arena_alloc(&c->arena, before->n_segment + text->n + 2, sizeof *s);
    int32_t *bos = hth_arena_alloc(&c->arena, 1, sizeof *bos);
    size_t n = 0;
    if (!s || !bos) return call_no_memory(fault);
    for (size_t i = 0; i < before->n_segment; i++) s[n++] = before->segments[i];
    if (n == 0 && t && hth_chat_wants_bos(c->use->chat, t, text)) {
        *bos = hth_tokenizer_special(t, HTH_SPECIAL_BOS);
        s[n++] = (hth_segment){.tokens = bos, .n_token = 1};
    }
    for (size_t i = 0; i < text->n; i++) {
        const hth_text_segment *from = &text->segments[i];
        const char *own = hth_arena_strndup(&c->arena, from->text, from->n);
        if (!own) return call_no_memory(fault);
        s[n++] = (hth_segment){.text = own, .n_text = from->n, .is_user = from->is_user};
    }
    if (c->ends_thought) s[n++] = (hth_segment){.text = c->ends_thought, .n_text = strlen(c->ends_thought)};
    c->prompt = s;
    c->n_prompt = n;
    return true;
}

// ---- how it is chosen

// Texts become the bias of each of their tokens.
static bool add_bias(hth_call *c, const hth_ask_bias *b, hth_token_list *ids, hth_fault *fault) {
    hth_err err;
    if (!b->text.p) {
        const int32_t id = b->token;
        if (id < hth_engine_n_vocab(c->use->engine))
            c->sampling_bias[c->n_bias++] = (hth_logit_bias){id, b->bias};
        return true;
    }
    const hth_text_segment s = {b->text.p, b->text.n, true};
    ids->n = 0;
    if (!c->use->tokenizer)
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "logit_bias", "the model carries no tokenizer");
    if (hth_tokenize(c->use->tokenizer, &s, 1, 0, ids, &err) != HTH_OK)
        return hth_refuse_err(fault, &err, NULL);
    for (size_t i = 0; i < ids->n && c->n_bias < c->cap_bias; i++)
        c->sampling_bias[c->n_bias++] = (hth_logit_bias){ids->ids[i], b->bias};
    return true;
}

static bool lay_bias(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_token_list ids = {0};
    bool ok = true;
    if (a->n_bias == 0) return true;
    c->cap_bias = a->n_bias;
    for (size_t i = 0; i < a->n_bias; i++) c->cap_bias += a->bias[i].text.n;
    c->sampling_bias = hth_arena_alloc(&c->arena, c->cap_bias, sizeof *c->sampling_bias);
    if (!c->sampling_bias) return call_no_memory(fault);
    for (size_t i = 0; i < a->n_bias && ok; i++) ok = add_bias(c, &a->bias[i], &ids, fault);
    hth_token_list_free(&ids);
    c->sampling.bias = c->sampling_bias;
    c->sampling.n_bias = c->n_bias;
    return ok;
}

static bool lay_sampling(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_err err;
    hth_engine_sampling(c->use->engine, &c->sampling);
    c->sampling.seed = call_random(); // unless somebody says otherwise, every answer is another
    if (c->s->config && hth_config_sample(&c->s->config->sampling, &c->sampling, &err) != HTH_OK)
        return hth_refuse_err(fault, &err, NULL);
    hth_ask_lay_sampling(a, &c->sampling);
    if (c->sampling.seed == UINT64_MAX) c->sampling.seed = call_random(); // -1 is how clients say "any"
    return lay_bias(c, fault);
}

// ---- all together

static bool check_numbers(const hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    if (a->n < 0 || a->n > 128) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, CALL_NAME(c, n),
                          "'%s' must be from 1 to 128, not %lld", CALL_NAME(c, n), (long long)a->n);
    }
    if (a->n_top < 0 || a->n_top > 100) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, CALL_NAME(c, logprobs), "'%s' must be from 0 to 100",
                          CALL_NAME(c, logprobs));
    }
    return true;
}

// The request's own scales of the server's adapters; those that it does not name are off.
static bool choose_adapters(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    const hth_use *use = c->use;
    if (!a->lora) return true;
    hth_lora_use *uses = hth_arena_alloc(&c->arena, a->n_lora + 1, sizeof *uses);
    if (!uses) return call_no_memory(fault);
    c->adapters = (hth_lora_set){.uses = uses};
    for (size_t i = 0; i < a->n_lora; i++) {
        if ((uint64_t)a->lora[i].id >= use->n_lora) {
            return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, CALL_NAME(c, adapters),
                              "'%s' names adapter %lld; the server has %zu", CALL_NAME(c, adapters),
                              (long long)a->lora[i].id, use->n_lora);
        }
        const hth_lora_use one = {.lora = use->lora[a->lora[i].id].lora, .scale = (float)a->lora[i].scale};
        if (one.scale != 0 && c->adapters.n < HTH_MAX_LORA) uses[c->adapters.n++] = one;
    }
    c->params.adapters = &c->adapters;
    return true;
}

static void fill_params(hth_call *c) {
    const hth_ask *a = c->ask;
    const bool is_embedding = a->kind == HTH_ASK_EMBED || a->kind == HTH_ASK_RERANK;
    const hth_who *who = c->x ? hth_exchange_who(c->x) : NULL; // who has a key shares nothing with others
    c->params = (hth_request_params){
        .task = is_embedding ? HTH_TASK_EMBED : HTH_TASK_GENERATE,
        .add_special = a->kind != HTH_ASK_CHAT && !a->no_special,
        .priority = a->priority,
        .no_cache = a->no_cache,
        .salt = {a->salt.p ? a->salt.p
                 : who     ? who->name
                           : NULL,
                 a->salt.p ? a->salt.n
                 : who     ? strlen(who->name)
                           : 0},
        .deadline_ms = a->deadline_ms,
        .sampling = &c->sampling,
        .n = (int32_t)(a->n ? a->n : 1),
        .max_tokens = a->max_tokens,
        .no_output = a->no_output,
        .overflow = a->overflow,
        .n_keep = a->n_keep,
        .stop = a->stop,
        .n_stop = a->n_stop,
        .stop_tokens = a->stop_tokens,
        .n_stop_token = a->n_stop_token,
        .ignore_end = a->ignore_end,
        .show_control = c->format != NULL || a->show_control,
        .echo = a->echo || a->prompt_tokens,
        .logprobs = a->logprobs,
        .logprobs_after = a->logprobs_after,
        .prompt_logprobs = a->prompt_logprobs,
        .n_top = (int32_t)a->n_top,
        .n_draft = (int32_t)a->n_draft,
        .pooling = a->kind == HTH_ASK_RERANK ? "rank" : a->pooling.p,
        .normalize = !a->no_normalize,
        .adapters = c->use->adapters,
    };
    c->script = (hth_segment){.text = a->script.p, .n_text = a->script.n};
    if (a->script.p) {
        c->params.forced = &c->script;
        c->params.n_forced = 1;
    }
}

bool call_prepare(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    if (!check_numbers(c, fault) || !lay_sampling(c, fault)) return false;
    if (a->kind == HTH_ASK_CHAT) {
        hth_jinja_text text = {0};
        const bool ok = call_render(c, &text, fault) && take_prompt(c, &text, fault);
        hth_jinja_text_free(&text);
        if (!ok) return false;
    }
    if (a->kind <= HTH_ASK_TEXT && !call_make_grammar(c, fault)) return false;
    fill_params(c);
    return choose_adapters(c, fault);
}

// ---- prompts that are no chats

static bool infill(hth_call *c, const hth_ask_prompt *p, const hth_segment **out, size_t *n,
                   hth_fault *fault) {
    const hth_ask *a = c->ask;
    hth_infill_format format;
    hth_token_list ids = {0};
    hth_err err;
    if (!c->use->tokenizer || hth_infill_find(c->use->tokenizer, &format, &err) != HTH_OK) {
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, CALL_NAME(c, suffix),
                          "'%s': the model %s was not made to fill in the middle", CALL_NAME(c, suffix),
                          c->use->card->name);
    }
    if (p->n_segment != 1 || p->segments[0].tokens) {
        return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, CALL_NAME(c, prompt),
                          "'%s' must be a text where there is a '%s'", CALL_NAME(c, prompt),
                          CALL_NAME(c, suffix));
    }
    hth_infill_file *files = hth_arena_alloc(&c->arena, a->n_extra + 1, sizeof *files);
    if (!files) return call_no_memory(fault);
    for (size_t i = 0; i < a->n_extra; i++) {
        files[i] = (hth_infill_file){a->extra_names[i],
                                     {a->extra[i].segments[0].text, a->extra[i].segments[0].n_text}};
    }
    const hth_infill_request r = {.prefix = {p->segments[0].text, p->segments[0].n_text},
                                  .suffix = a->suffix,
                                  .files = files,
                                  .n_file = a->n_extra};
    const hth_code code = hth_infill_prompt(&format, c->use->tokenizer, &r, &ids, NULL, &err);
    int32_t *own = code == HTH_OK ? hth_arena_alloc(&c->arena, ids.n + 1, sizeof *own) : NULL;
    hth_segment *s = hth_arena_alloc(&c->arena, 1, sizeof *s);
    if (own && s) {
        if (ids.n > 0) memcpy(own, ids.ids, ids.n * sizeof *own);
        *s = (hth_segment){.tokens = own, .n_token = ids.n};
        *out = s;
        *n = 1;
    }
    hth_token_list_free(&ids);
    if (code != HTH_OK) return hth_refuse_err(fault, &err, NULL);
    return (own && s) || call_no_memory(fault);
}

// Query and document as rerankers are trained on them: with the tokenizer's marks between and around.
static bool pair(hth_call *c, const hth_ask_prompt *p, const hth_segment **out, size_t *n, hth_fault *fault) {
    const hth_tokenizer *t = c->use->tokenizer;
    if (!t) return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, "model", "the model carries no tokenizer");
    hth_token end = hth_tokenizer_special(t, HTH_SPECIAL_EOS);
    const hth_token begin = hth_tokenizer_special(t, HTH_SPECIAL_BOS),
                    sep = hth_tokenizer_special(t, HTH_SPECIAL_SEP);
    if (end < 0) end = sep;
    hth_segment *s = hth_arena_alloc(&c->arena, 4 + p->n_segment, sizeof *s);
    int32_t *marks = hth_arena_alloc(&c->arena, 4, sizeof *marks);
    if (!s || !marks) return call_no_memory(fault);
    size_t n_mark = 0, n_segment = 0;
    if (hth_tokenizer_adds_bos(t) && begin >= 0) {
        marks[n_mark] = begin;
        s[n_segment++] = (hth_segment){.tokens = &marks[n_mark++], .n_token = 1};
    }
    s[n_segment++] = (hth_segment){.text = c->ask->query.p, .n_text = c->ask->query.n, .is_user = true};
    const size_t between = n_mark;
    if (hth_tokenizer_adds_eos(t) && end >= 0) marks[n_mark++] = end;
    if (sep >= 0 && sep != end) marks[n_mark++] = sep;
    if (n_mark > between)
        s[n_segment++] = (hth_segment){.tokens = &marks[between], .n_token = n_mark - between};
    for (size_t i = 0; i < p->n_segment; i++) s[n_segment++] = p->segments[i];
    if (hth_tokenizer_adds_eos(t) && end >= 0) {
        marks[n_mark] = end;
        s[n_segment++] = (hth_segment){.tokens = &marks[n_mark++], .n_token = 1};
    }
    c->params.add_special = false;
    *out = s;
    *n = n_segment;
    return true;
}

bool call_segments(hth_call *c, size_t i, const hth_segment **out, size_t *n, hth_fault *fault) {
    const hth_ask *a = c->ask;
    if (a->kind == HTH_ASK_CHAT) {
        *out = c->prompt;
        *n = c->n_prompt;
        return true;
    }
    const hth_ask_prompt *p = &a->prompts[i];
    if (a->kind == HTH_ASK_RERANK) return pair(c, p, out, n, fault);
    if (a->suffix.p) {
        c->params.add_special = false;
        return infill(c, p, out, n, fault);
    }
    *out = p->segments;
    *n = p->n_segment;
    return true;
}
