// Replies of Anthropic's Messages. A stream is message_start, then blocks one after the other, each with its
// start, deltas and stop, then message_delta with the reason and message_stop. message_start waits for the
// first event that knows the prompt's tokens, since clients read them there.
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "formats/json.h"
#include "server/anthropic_impl.h"

static const char *reason_word(hth_finish reason) {
    switch (reason) {
    case HTH_FINISH_STOP_TEXT: return "stop_sequence";
    case HTH_FINISH_LENGTH: return "max_tokens";
    case HTH_FINISH_CONTEXT: return "model_context_window_exceeded";
    case HTH_FINISH_TOOLS: return "tool_use";
    default: return "end_turn";
    }
}

// Clients send a thought back with its signature; what it says is only that the thought came from here
// unchanged.
static void sign(hth_sha256 *thought, char out[72]) {
    char hex[65];
    hth_sha256_end_hex(thought, hex);
    (void)snprintf(out, 72, "hearth-%.64s", hex);
}

// --- pieces of JSON ---

static void write_usage(hth_json_out *j, int64_t n_prompt, int64_t n_cached, int64_t n_output,
                        int64_t n_reasoning) {
    hth_json_out_begin(j, "usage", '{');
    hth_json_out_int(j, "input_tokens", n_prompt > n_cached ? n_prompt - n_cached : 0);
    hth_json_out_int(j, "cache_creation_input_tokens", 0);
    hth_json_out_int(j, "cache_read_input_tokens", n_cached);
    hth_json_out_int(j, "output_tokens", n_output);
    if (n_reasoning > 0) {
        hth_json_out_begin(j, "output_tokens_details", '{');
        hth_json_out_int(j, "thinking_tokens", n_reasoning);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, '}');
}

static void begin_message(hth_json_out *j, const char *key, const anthropic_reply *r, const char *model) {
    hth_json_out_begin(j, key, '{');
    hth_json_out_text(j, "id", r->id);
    hth_json_out_text(j, "type", "message");
    hth_json_out_text(j, "role", "assistant");
    hth_json_out_text(j, "model", model);
}

static void end_message(hth_json_out *j, const char *reason, const hth_chat_text *stop) {
    hth_json_out_text(j, "stop_reason", reason);
    if (stop && stop->p)
        hth_json_out_str(j, "stop_sequence", stop->p, stop->n);
    else
        hth_json_out_text(j, "stop_sequence", NULL);
}

// What a model wrote as arguments must be an object, or it would break the reply around it.
static void write_input(hth_json_out *j, const hth_str *arguments) {
    hth_json_doc *doc;
    const char *text = hth_str_text(arguments);
    const bool is_json = hth_json_parse(text, arguments->len, (uint64_t)1 << 28, &doc, NULL) == HTH_OK;
    const bool is_object = is_json && hth_json_root(doc)->kind == HTH_JSON_OBJECT;
    if (is_json) hth_json_free(doc);
    if (is_object) {
        hth_json_out_raw(j, "input", text, arguments->len);
        return;
    }
    hth_json_out_begin(j, "input", '{');
    if (arguments->len) hth_json_out_str(j, "invalid_arguments", text, arguments->len);
    hth_json_out_end(j, '}');
}

// --- the reply in one piece ---

static void write_text_block(hth_json_out *j, const hth_str *text) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "type", "text");
    hth_json_out_str(j, "text", hth_str_text(text), text->len);
    hth_json_out_end(j, '}');
}

static void write_thinking_block(hth_json_out *j, const anthropic_reply *r, const hth_str *thought) {
    char signature[72];
    hth_sha256 sha;
    hth_sha256_init(&sha);
    hth_sha256_add(&sha, hth_str_text(thought), thought->len);
    sign(&sha, signature);
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "type", "thinking");
    hth_json_out_str(j, "thinking", hth_str_text(thought), r->omits_thoughts ? 0 : thought->len);
    hth_json_out_text(j, "signature", signature);
    hth_json_out_end(j, '}');
}

static void write_tool_block(hth_json_out *j, const hth_call_tool *t) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "type", "tool_use");
    hth_json_out_text(j, "id", hth_str_text(&t->id));
    hth_json_out_text(j, "name", hth_str_text(&t->name));
    write_input(j, &t->arguments);
    hth_json_out_end(j, '}');
}

static void print_whole(void *user, const hth_call_whole *w, hth_str *out) {
    const anthropic_reply *r = user;
    const hth_call_choice *c = &w->choices[0];
    hth_json_out j = hth_json_out_make(out, false);
    begin_message(&j, NULL, r, w->model);
    hth_json_out_begin(&j, "content", '[');
    if (c->reasoning.len) write_thinking_block(&j, r, &c->reasoning);
    if (c->content.len || c->n_tool == 0) write_text_block(&j, &c->content); // clients look at content[0]
    for (size_t i = 0; i < c->n_tool; i++) write_tool_block(&j, &c->tools[i]);
    hth_json_out_end(&j, ']');
    end_message(&j, reason_word(c->reason), c->reason == HTH_FINISH_STOP_TEXT ? &c->stop : NULL);
    write_usage(&j, w->usage.n_prompt, w->usage.n_cached, w->usage.n_output, w->usage.n_reasoning);
    hth_json_out_end(&j, '}');
}

// --- the stream ---

static hth_json_out begin_event(hth_str *out, const char *name) {
    hth_str_printf(out, "event: %s\ndata: ", name);
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "type", name);
    return j;
}

static void end_event(hth_json_out *j, hth_str *out) {
    hth_json_out_end(j, '}');
    hth_str_puts(out, "\n\n");
}

static void begin_stream(anthropic_reply *r, hth_str *out) {
    if (r->has_begun) return;
    r->has_begun = true;
    hth_json_out j = begin_event(out, "message_start");
    begin_message(&j, "message", r, r->model);
    hth_json_out_begin(&j, "content", '[');
    hth_json_out_end(&j, ']');
    end_message(&j, NULL, NULL);
    write_usage(&j, r->n_prompt, r->n_cached, 0, 0);
    hth_json_out_end(&j, '}');
    end_event(&j, out);
}

// A delta of the open block.
static void print_delta(anthropic_reply *r, hth_str *out, const char *type, const char *key, const char *text,
                        size_t n) {
    hth_json_out j = begin_event(out, "content_block_delta");
    hth_json_out_int(&j, "index", r->n_block - 1);
    hth_json_out_begin(&j, "delta", '{');
    hth_json_out_text(&j, "type", type);
    hth_json_out_str(&j, key, text, n);
    hth_json_out_end(&j, '}');
    end_event(&j, out);
}

static void close_block(anthropic_reply *r, hth_str *out) {
    if (r->block == BLOCK_NONE) return;
    if (r->block == BLOCK_THINKING) {
        char signature[72];
        sign(&r->thought, signature);
        print_delta(r, out, "signature_delta", "signature", signature, strlen(signature));
    }
    hth_json_out j = begin_event(out, "content_block_stop");
    hth_json_out_int(&j, "index", r->n_block - 1);
    end_event(&j, out);
    r->block = BLOCK_NONE;
}

static void open_block(anthropic_reply *r, hth_str *out, anthropic_block kind, const hth_call_event *tool) {
    static const char *const types[] = {"", "text", "thinking", "tool_use"};
    begin_stream(r, out);
    if (r->block == kind && kind != BLOCK_TOOL) return;
    close_block(r, out);
    hth_json_out j = begin_event(out, "content_block_start");
    hth_json_out_int(&j, "index", r->n_block++);
    hth_json_out_begin(&j, "content_block", '{');
    hth_json_out_text(&j, "type", types[kind]);
    if (kind == BLOCK_TEXT) hth_json_out_text(&j, "text", "");
    if (kind == BLOCK_THINKING) {
        hth_json_out_text(&j, "thinking", "");
        hth_json_out_text(&j, "signature", "");
        hth_sha256_init(&r->thought);
    }
    if (kind == BLOCK_TOOL) {
        hth_json_out_text(&j, "id", tool->tool.id);
        hth_json_out_text(&j, "name", tool->tool.name);
        hth_json_out_begin(&j, "input", '{');
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, '}');
    end_event(&j, out);
    r->block = kind;
}

static void print_end(anthropic_reply *r, const hth_call_usage *u, hth_str *out) {
    r->n_prompt = u->n_prompt;
    r->n_cached = u->n_cached;
    begin_stream(r, out);
    if (r->n_block == 0)
        open_block(r, out, BLOCK_TEXT, NULL); // an answer without a word is a block without one
    close_block(r, out);
    hth_json_out j = begin_event(out, "message_delta");
    hth_json_out_begin(&j, "delta", '{');
    end_message(&j, reason_word(r->reason), r->reason == HTH_FINISH_STOP_TEXT ? &r->stop : NULL);
    hth_json_out_end(&j, '}');
    write_usage(&j, u->n_prompt, u->n_cached, u->n_output, u->n_reasoning);
    end_event(&j, out);
    j = begin_event(out, "message_stop");
    end_event(&j, out);
}

static void print_error(anthropic_reply *r, const hth_fault *fault, hth_str *out) {
    r->has_failed = true;
    hth_str_puts(out, "event: error\ndata: ");
    anthropic_write_fault(fault, hth_fault_status(fault->kind), out);
    hth_str_puts(out, "\n\n");
}

static void print_event(void *user, const hth_call_event *e, hth_str *out) {
    anthropic_reply *r = user;
    switch (e->kind) {
    case HTH_CALL_STARTED: r->model = e->started.model; break;
    case HTH_CALL_PROGRESS:
        r->n_prompt = e->progress.n_total;
        r->n_cached = e->progress.n_cached;
        begin_stream(r, out);
        break;
    case HTH_CALL_CONTENT:
        open_block(r, out, BLOCK_TEXT, NULL);
        print_delta(r, out, "text_delta", "text", e->text, e->n_text);
        break;
    case HTH_CALL_REASONING:
        open_block(r, out, BLOCK_THINKING, NULL);
        hth_sha256_add(&r->thought, e->text, e->n_text);
        if (!r->omits_thoughts) print_delta(r, out, "thinking_delta", "thinking", e->text, e->n_text);
        break;
    case HTH_CALL_TOOL: open_block(r, out, BLOCK_TOOL, e); break;
    case HTH_CALL_ARGUMENTS:
        print_delta(r, out, "input_json_delta", "partial_json", e->text, e->n_text);
        break;
    case HTH_CALL_TOOL_END: close_block(r, out); break;
    case HTH_CALL_FINISH:
        r->reason = e->finish.reason;
        if (e->finish.stop.p)
            r->stop = (hth_chat_text){hth_arena_strndup(r->arena, e->finish.stop.p, e->finish.stop.n),
                                      e->finish.stop.n};
        break;
    case HTH_CALL_ERROR: print_error(r, e->fault, out); break;
    case HTH_CALL_END:
        if (!r->has_failed) print_end(r, e->usage, out);
        break;
    default: break;
    }
}

static void print_ping(void *user, hth_str *out) {
    begin_stream(user, out); // clients take nothing before it
    hth_json_out j = begin_event(out, "ping");
    end_event(&j, out);
}

const hth_printer anthropic_printer = {.event = print_event, .ping = print_ping, .whole = print_whole};

// --- refusals ---

static const char *error_type(int status) {
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    case 504: return "timeout_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

void anthropic_write_fault(const hth_fault *fault, int status, hth_str *out) {
    char message[sizeof fault->message + 128];
    // The beginning is what agents look for to shorten their conversation (P12).
    if (fault->kind == HTH_FAULT_CONTEXT) {
        (void)snprintf(message, sizeof message, "prompt is too long: %lld tokens > %lld maximum; %s",
                       (long long)fault->n_prompt, (long long)fault->n_ctx, fault->message);
    } else {
        (void)snprintf(message, sizeof message, "%s", fault->message);
    }
    hth_json_out j = hth_json_out_make(out, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "type", "error");
    hth_json_out_begin(&j, "error", '{');
    hth_json_out_text(&j, "type", error_type(status));
    hth_json_out_text(&j, "message", message);
    hth_json_out_end(&j, '}');
    hth_json_out_end(&j, '}');
}
