// Events of a response. Every event has its number, and every item goes through added, its parts and deltas,
// done; the first and the last events hold the whole response, in which clients look for what they have
// missed.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "formats/json.h"
#include "server/openai.h"
#include "server/responses_impl.h"

// --- the response as an object ---

static const char *status_word(responses_status s) {
    static const char *const words[] = {"queued",     "in_progress", "completed",
                                        "incomplete", "failed",      "cancelled"};
    return words[s];
}

static void put_source(hth_json_out *o, const char *key, const responses_job *j, const hth_json *v) {
    hth_json_out_raw(o, key, j->document + v->pos, hth_json_extent(j->document, j->n_document, v));
}

static void put_text(hth_json_out *o, const char *key, hth_chat_text t) {
    if (t.p)
        hth_json_out_str(o, key, t.p, t.n);
    else
        hth_json_out_text(o, key, NULL);
}

static void put_str(hth_json_out *o, const char *key, const hth_str *s) {
    hth_json_out_str(o, key, hth_str_text(s), s->len);
}

static void write_usage(hth_json_out *o, const responses_job *j) {
    const hth_call_usage *u = &j->usage;
    hth_json_out_begin(o, "usage", '{');
    hth_json_out_int(o, "input_tokens", u->n_prompt);
    hth_json_out_begin(o, "input_tokens_details", '{');
    hth_json_out_int(o, "cached_tokens", u->n_cached);
    hth_json_out_int(o, "cache_write_tokens", 0);
    hth_json_out_end(o, '}');
    hth_json_out_int(o, "output_tokens", u->n_output);
    hth_json_out_begin(o, "output_tokens_details", '{');
    hth_json_out_int(o, "reasoning_tokens", u->n_reasoning);
    hth_json_out_end(o, '}');
    hth_json_out_int(o, "total_tokens", u->n_prompt + u->n_output);
    hth_json_out_end(o, '}');
}

static void write_error(hth_json_out *o, const responses_job *j) {
    if (j->fault.kind == HTH_FAULT_NONE) {
        hth_json_out_text(o, "error", NULL);
        return;
    }
    hth_json_out_begin(o, "error", '{');
    hth_json_out_text(o, "code",
                      j->fault.kind == HTH_FAULT_BUSY      ? "rate_limit_exceeded"
                      : j->fault.kind == HTH_FAULT_CONTEXT ? "context_length_exceeded"
                                                           : "server_error");
    hth_json_out_text(o, "message", j->fault.message);
    hth_json_out_end(o, '}');
}

static void write_incomplete(hth_json_out *o, const responses_job *j) {
    if (j->status != STATUS_INCOMPLETE) {
        hth_json_out_text(o, "incomplete_details", NULL);
        return;
    }
    hth_json_out_begin(o, "incomplete_details", '{');
    hth_json_out_text(o, "reason", "max_output_tokens");
    hth_json_out_end(o, '}');
}

// As they came; functions with what clients expect every function to have.
static void write_tools(hth_json_out *o, const responses_job *j) {
    const hth_json *tools = j->r.tools;
    hth_json_out_begin(o, "tools", '[');
    for (uint32_t i = 0; tools && i < tools->n; i++) {
        const hth_json *tool = &tools->u.items[i], *type = hth_json_get(tool, "type");
        const bool is_function = type && type->kind == HTH_JSON_STRING && strcmp(type->u.str, "function") == 0;
        hth_json_out_begin(o, NULL, '{');
        for (uint32_t k = 0; k < tool->n; k++) put_source(o, tool->u.members[k].key, j, &tool->u.members[k].value);
        if (is_function && !hth_json_get(tool, "parameters")) hth_json_out_text(o, "parameters", NULL);
        if (is_function && !hth_json_get(tool, "strict")) hth_json_out_bool(o, "strict", false);
        hth_json_out_end(o, '}');
    }
    hth_json_out_end(o, ']');
}

// What was asked for, as clients expect it back.
static void write_request(hth_json_out *o, const responses_job *j) {
    const responses_request *r = &j->r;
    put_text(o, "instructions", r->instructions);
    if (r->has_max_tokens)
        hth_json_out_int(o, "max_output_tokens", r->ask.max_tokens);
    else
        hth_json_out_text(o, "max_output_tokens", NULL);
    if (r->max_tool_calls > 0)
        hth_json_out_int(o, "max_tool_calls", r->max_tool_calls);
    else
        hth_json_out_text(o, "max_tool_calls", NULL);
    hth_json_out_bool(o, "parallel_tool_calls", !r->ask.one_tool);
    put_text(o, "previous_response_id", r->previous);
    hth_json_out_begin(o, "reasoning", '{');
    put_text(o, "effort", r->effort);
    put_text(o, "summary", r->summary);
    hth_json_out_end(o, '}');
    hth_json_out_bool(o, "store", r->store);
    // OpenAI's defaults where nothing was given: clients want numbers.
    hth_json_out_num(o, "temperature", r->has_temperature ? (double)r->ask.sampling.temperature : 1);
    hth_json_out_num(o, "top_p", r->has_top_p ? (double)r->ask.sampling.top_p : 1);
    hth_json_out_num(o, "presence_penalty", r->has_presence ? (double)r->ask.sampling.presence_penalty : 0);
    hth_json_out_num(o, "frequency_penalty",
                     r->has_frequency ? (double)r->ask.sampling.frequency_penalty : 0);
    hth_json_out_begin(o, "text", '{');
    if (r->format) {
        put_source(o, "format", j, r->format);
    } else {
        hth_json_out_begin(o, "format", '{');
        hth_json_out_text(o, "type", "text");
        hth_json_out_end(o, '}');
    }
    if (r->verbosity.p) put_text(o, "verbosity", r->verbosity);
    hth_json_out_end(o, '}');
    if (r->tool_choice)
        put_source(o, "tool_choice", j, r->tool_choice);
    else
        hth_json_out_text(o, "tool_choice", "auto");
    write_tools(o, j);
    hth_json_out_int(o, "top_logprobs", r->ask.n_top);
    hth_json_out_text(o, "truncation", r->truncation == 1 ? "auto" : "disabled");
    put_text(o, "user", r->user);
    put_text(o, "safety_identifier", r->safety_identifier);
    put_text(o, "prompt_cache_key", r->cache_key);
    hth_json_out_text(o, "service_tier", "default");
    if (r->metadata)
        put_source(o, "metadata", j, r->metadata);
    else
        hth_json_out_raw(o, "metadata", "{}", 2);
}

void responses_write(responses_job *j, hth_json_out *o, const char *key) {
    const bool is_over = j->status >= STATUS_COMPLETED;
    hth_json_out_begin(o, key, '{');
    hth_json_out_text(o, "id", j->id);
    hth_json_out_text(o, "object", "response");
    hth_json_out_int(o, "created_at", j->created);
    hth_json_out_text(o, "status", status_word(j->status));
    hth_json_out_bool(o, "background", j->r.background);
    if (j->status == STATUS_COMPLETED)
        hth_json_out_int(o, "completed_at", j->completed);
    else
        hth_json_out_text(o, "completed_at", NULL);
    write_error(o, j);
    write_incomplete(o, j);
    if (j->model)
        hth_json_out_text(o, "model", j->model);
    else
        put_text(o, "model", j->r.ask.model.p ? j->r.ask.model : hth_chat_text_of(""));
    hth_json_out_begin(o, "output", '[');
    if (j->done.len) hth_json_out_raw(o, NULL, j->done.p, j->done.len);
    hth_json_out_end(o, ']');
    write_request(o, j);
    if (is_over)
        write_usage(o, j);
    else
        hth_json_out_text(o, "usage", NULL);
    hth_json_out_end(o, '}');
}

// --- events ---

// The event's frame; its number is that of the events before it.
static hth_json_out begin_event(responses_job *j, const char *type) {
    hth_str_printf(&j->events, "event: %s\ndata: ", type);
    hth_json_out o = hth_json_out_make(&j->events, false);
    hth_json_out_begin(&o, NULL, '{');
    hth_json_out_text(&o, "type", type);
    hth_json_out_int(&o, "sequence_number", (int64_t)j->n_event);
    return o;
}

// Journals are limited: a response whose events are more fails instead of being cut.
static void end_event(responses_job *j, hth_json_out *o) {
    hth_json_out_end(o, '}');
    hth_str_puts(&j->events, "\n\n");
    const bool fits = !j->events.failed && hth_grow(HTH_MEM_SERVER, (void **)&j->ends, &j->cap_event,
                                                    j->n_event + 1, sizeof *j->ends, (size_t)1 << 26);
    if (fits)
        j->ends[j->n_event++] = j->events.len;
    else if (j->fault.kind == HTH_FAULT_NONE)
        (void)hth_refuse(&j->fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the response's events");
}

static void print_response(responses_job *j, const char *type) {
    hth_json_out o = begin_event(j, type);
    responses_write(j, &o, "response");
    end_event(j, &o);
}

static hth_json_out begin_item_event(responses_job *j, const char *type) {
    hth_json_out o = begin_event(j, type);
    hth_json_out_text(&o, "item_id", j->item_id);
    hth_json_out_int(&o, "output_index", j->n_item - 1);
    return o;
}

// --- items ---

static void write_part(hth_json_out *o, const char *key, const char *type, const hth_str *text,
                       const hth_str *logprobs) {
    hth_json_out_begin(o, key, '{');
    hth_json_out_text(o, "type", type);
    if (text)
        put_str(o, "text", text);
    else
        hth_json_out_text(o, "text", "");
    if (strcmp(type, "output_text") == 0) {
        hth_json_out_raw(o, "annotations", "[]", 2);
        hth_json_out_begin(o, "logprobs", '[');
        if (logprobs && logprobs->len) hth_json_out_raw(o, NULL, logprobs->p, logprobs->len);
        hth_json_out_end(o, ']');
    }
    hth_json_out_end(o, '}');
}

static void write_reasoning(hth_json_out *o, const responses_job *j, bool is_done) {
    hth_json_out_begin(o, "summary", '[');
    if (is_done && j->r.sums_up) write_part(o, NULL, "summary_text", &j->text, NULL);
    hth_json_out_end(o, ']');
    if (is_done && !j->r.sums_up) {
        hth_json_out_begin(o, "content", '[');
        write_part(o, NULL, "reasoning_text", &j->text, NULL);
        hth_json_out_end(o, ']');
    }
    if (!is_done || !j->r.wants_sealed) return;
    hth_str sealed;
    hth_str_init(&sealed, HTH_MEM_SERVER, (size_t)1 << 28);
    if (responses_seal(j->owner_of, hth_str_text(&j->text), j->text.len, &sealed))
        put_str(o, "encrypted_content", &sealed);
    hth_str_free(&sealed);
}

// The input of a custom tool out of its arguments, {"input": TEXT}; else the arguments as they are.
static void write_custom_input(hth_json_out *o, const char *key, const hth_str *arguments) {
    hth_json_doc *doc = NULL;
    const hth_json *input = NULL;
    if (hth_json_parse(hth_str_text(arguments), arguments->len, (uint64_t)1 << 28, &doc, NULL) == HTH_OK)
        input = hth_json_get(hth_json_root(doc), "input");
    if (input && input->kind == HTH_JSON_STRING)
        hth_json_out_str(o, key, input->u.str, input->n);
    else
        put_str(o, key, arguments);
    if (doc) hth_json_free(doc);
}

static void write_item(hth_json_out *o, const char *key, const responses_job *j, bool is_done) {
    static const char *const types[] = {"", "message", "reasoning", "function_call", "custom_tool_call"};
    const bool is_cut = is_done && (j->status == STATUS_INCOMPLETE || j->status == STATUS_CANCELLED ||
                                    j->status == STATUS_FAILED);
    hth_json_out_begin(o, key, '{');
    hth_json_out_text(o, "id", j->item_id);
    hth_json_out_text(o, "type", types[j->item]);
    hth_json_out_text(o, "status", is_cut ? "incomplete" : is_done ? "completed" : "in_progress");
    if (j->item == ITEM_MESSAGE) {
        hth_json_out_text(o, "role", "assistant");
        hth_json_out_begin(o, "content", '[');
        if (is_done) write_part(o, NULL, "output_text", &j->text, &j->logprobs);
        hth_json_out_end(o, ']');
    } else if (j->item == ITEM_REASONING) {
        write_reasoning(o, j, is_done);
    } else {
        put_str(o, "call_id", &j->call_id);
        put_str(o, "name", &j->name);
        const char *field = j->item == ITEM_CUSTOM ? "input" : "arguments";
        if (!is_done)
            hth_json_out_text(o, field, "");
        else if (j->item == ITEM_CUSTOM)
            write_custom_input(o, field, &j->text);
        else
            put_str(o, field, &j->text);
    }
    hth_json_out_end(o, '}');
}

// content_part or reasoning_summary_part, added or done.
static void print_part(responses_job *j, bool is_done) {
    const bool sums = j->item == ITEM_REASONING && j->r.sums_up;
    const char *type =
        sums ? (is_done ? "response.reasoning_summary_part.done" : "response.reasoning_summary_part.added")
             : (is_done ? "response.content_part.done" : "response.content_part.added");
    hth_json_out o = begin_item_event(j, type);
    hth_json_out_int(&o, sums ? "summary_index" : "content_index", 0);
    write_part(&o, "part",
               j->item == ITEM_MESSAGE ? "output_text"
               : sums                  ? "summary_text"
                                       : "reasoning_text",
               is_done ? &j->text : NULL, is_done ? &j->logprobs : NULL);
    end_event(j, &o);
}

static void open_item(responses_job *j, responses_item kind) {
    static const char *const prefixes[] = {"", "msg_", "rs_", "fc_", "ctc_"};
    j->item = kind;
    // By this id responses_refs.c finds the item again.
    (void)snprintf(j->item_id, sizeof j->item_id, "%s%s_%lld", prefixes[kind], j->id + strlen("resp_"),
                   (long long)j->n_item++);
    hth_str_clear(&j->text);
    hth_str_clear(&j->logprobs);
    hth_json_out o = begin_event(j, "response.output_item.added");
    hth_json_out_int(&o, "output_index", j->n_item - 1);
    write_item(&o, "item", j, false);
    end_event(j, &o);
    if (kind == ITEM_MESSAGE || kind == ITEM_REASONING) print_part(j, false);
}

// What an item of text ends with: its whole text.
static void print_text_done(responses_job *j) {
    const bool sums = j->item == ITEM_REASONING && j->r.sums_up;
    hth_json_out o = begin_item_event(j, j->item == ITEM_MESSAGE ? "response.output_text.done"
                                         : sums                  ? "response.reasoning_summary_text.done"
                                                                 : "response.reasoning_text.done");
    hth_json_out_int(&o, sums ? "summary_index" : "content_index", 0);
    put_str(&o, "text", &j->text);
    if (j->item == ITEM_MESSAGE) {
        hth_json_out_begin(&o, "logprobs", '[');
        if (j->logprobs.len) hth_json_out_raw(&o, NULL, j->logprobs.p, j->logprobs.len);
        hth_json_out_end(&o, ']');
    }
    end_event(j, &o);
    print_part(j, true);
}

static void print_call_done(responses_job *j) {
    if (j->item == ITEM_CUSTOM) { // its text is known only when its JSON is complete
        hth_json_out o = begin_item_event(j, "response.custom_tool_call_input.delta");
        write_custom_input(&o, "delta", &j->text);
        end_event(j, &o);
    }
    hth_json_out o = begin_item_event(j, j->item == ITEM_CUSTOM ? "response.custom_tool_call_input.done"
                                                                : "response.function_call_arguments.done");
    if (j->item == ITEM_CUSTOM)
        write_custom_input(&o, "input", &j->text);
    else
        put_str(&o, "arguments", &j->text);
    if (j->item == ITEM_CALL) put_str(&o, "name", &j->name);
    end_event(j, &o);
}

static void close_item(responses_job *j) {
    if (j->item == ITEM_NONE) return;
    if (j->item == ITEM_MESSAGE || j->item == ITEM_REASONING)
        print_text_done(j);
    else
        print_call_done(j);
    hth_str item;
    hth_str_init(&item, HTH_MEM_SERVER, j->done.max);
    hth_json_out o = hth_json_out_make(&item, false);
    write_item(&o, NULL, j, true);
    o = begin_event(j, "response.output_item.done");
    hth_json_out_int(&o, "output_index", j->n_item - 1);
    hth_json_out_raw(&o, "item", hth_str_text(&item), item.len);
    end_event(j, &o);
    if (j->done.len) hth_str_putc(&j->done, ',');
    (void)hth_str_append(&j->done, hth_str_text(&item), item.len);
    hth_str_free(&item);
    j->item = ITEM_NONE;
}

// --- what the call tells ---

static void print_delta(responses_job *j, const hth_call_event *e, responses_item kind) {
    static const char *const types[] = {"", "response.output_text.delta", "response.reasoning_text.delta",
                                        "response.function_call_arguments.delta"};
    const bool sums = kind == ITEM_REASONING && j->r.sums_up;
    if (kind != ITEM_CALL && j->item != kind) {
        close_item(j);
        open_item(j, kind);
    }
    (void)hth_str_append(&j->text, e->text, e->n_text);
    if (j->item == ITEM_CUSTOM) return;
    hth_json_out o = begin_item_event(j, sums ? "response.reasoning_summary_text.delta" : types[kind]);
    if (kind != ITEM_CALL) hth_json_out_int(&o, sums ? "summary_index" : "content_index", 0);
    hth_json_out_str(&o, "delta", e->text, e->n_text);
    if (kind == ITEM_MESSAGE) {
        hth_json_out_begin(&o, "logprobs", '[');
        if (j->pending.len) hth_json_out_raw(&o, NULL, j->pending.p, j->pending.len);
        hth_json_out_end(&o, ']');
        if (j->pending.len && j->logprobs.len) hth_str_putc(&j->logprobs, ',');
        (void)hth_str_append(&j->logprobs, hth_str_text(&j->pending), j->pending.len);
    }
    end_event(j, &o);
    hth_str_clear(&j->pending);
}

static void write_logprob(hth_json_out *o, const char *text, size_t n, float logprob) {
    hth_json_out_str(o, "token", text, n);
    hth_json_out_begin(o, "bytes", '[');
    for (size_t i = 0; i < n; i++) hth_json_out_int(o, NULL, (unsigned char)text[i]);
    hth_json_out_end(o, ']');
    hth_json_out_num(o, "logprob", (double)logprob);
}

static void keep_logprob(responses_job *j, const hth_call_event *e) {
    if (!j->r.ask.logprobs || !e->token.has_logprob || e->token.is_prompt) return;
    if (j->pending.len) hth_str_putc(&j->pending, ',');
    hth_json_out o = hth_json_out_make(&j->pending, false);
    hth_json_out_begin(&o, NULL, '{');
    write_logprob(&o, e->text, e->n_text, e->token.logprob);
    hth_json_out_begin(&o, "top_logprobs", '[');
    for (int32_t i = 0; i < e->token.n_top; i++) {
        size_t n;
        const char *text = hth_call_spell(j->tokenizer, e->token.top[i].token, &n);
        hth_json_out_begin(&o, NULL, '{');
        write_logprob(&o, text, n, e->token.top[i].logprob);
        hth_json_out_end(&o, '}');
    }
    hth_json_out_end(&o, ']');
    hth_json_out_end(&o, '}');
}

static bool is_custom_tool(const responses_job *j, const char *name) {
    const hth_ask *a = &j->r.ask;
    for (size_t i = 0; i < a->n_tool; i++) {
        if (j->r.is_custom[i] && a->tools[i].name.n == strlen(name) &&
            memcmp(a->tools[i].name.p, name, a->tools[i].name.n) == 0)
            return true;
    }
    return false;
}

static void begin_call(responses_job *j, const hth_call_event *e) {
    close_item(j);
    hth_str_clear(&j->call_id);
    hth_str_clear(&j->name);
    hth_str_puts(&j->call_id, e->tool.id);
    hth_str_puts(&j->name, e->tool.name);
    open_item(j, is_custom_tool(j, e->tool.name) ? ITEM_CUSTOM : ITEM_CALL);
}

static void end_call(responses_job *j) {
    if (j->was_cancelled)
        j->status = STATUS_CANCELLED;
    else if (j->fault.kind != HTH_FAULT_NONE)
        j->status = STATUS_FAILED;
    else if (j->reason == HTH_FINISH_LENGTH || j->reason == HTH_FINISH_CONTEXT)
        j->status = STATUS_INCOMPLETE;
    else if (j->reason == HTH_FINISH_CANCELLED)
        j->status = STATUS_CANCELLED;
    else
        j->status = STATUS_COMPLETED;
    j->completed = (int64_t)time(NULL);
    close_item(j);
}

void responses_print(void *job, const hth_call_event *e) {
    responses_job *j = job;
    switch (e->kind) {
    case HTH_CALL_STARTED:
        j->tokenizer = e->started.tokenizer;
        if (!j->model) j->model = hth_arena_strndup(&j->arena, e->started.model, strlen(e->started.model));
        break;
    case HTH_CALL_TOKEN: keep_logprob(j, e); break;
    case HTH_CALL_CONTENT: print_delta(j, e, ITEM_MESSAGE); break;
    case HTH_CALL_REASONING: print_delta(j, e, ITEM_REASONING); break;
    case HTH_CALL_TOOL: begin_call(j, e); break;
    case HTH_CALL_ARGUMENTS: print_delta(j, e, ITEM_CALL); break;
    case HTH_CALL_TOOL_END: close_item(j); break;
    case HTH_CALL_FINISH: j->reason = e->finish.reason; break;
    case HTH_CALL_ERROR: j->fault = *e->fault; break;
    case HTH_CALL_END:
        j->usage = *e->usage;
        end_call(j);
        break;
    default: break;
    }
}

void responses_print_begin(responses_job *j) {
    print_response(j, "response.created");
    if (j->r.background) print_response(j, "response.queued");
    j->status = STATUS_IN_PROGRESS;
    print_response(j, "response.in_progress");
}

void responses_print_end(responses_job *j) {
    // One that was cancelled ends with the event of one that is not complete: clients know no other.
    const char *type = j->status == STATUS_COMPLETED ? "response.completed"
                     : j->status == STATUS_FAILED    ? "response.failed"
                                                     : "response.incomplete";
    print_response(j, type);
}
