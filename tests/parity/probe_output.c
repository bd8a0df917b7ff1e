// Reads answers for the Python tests: one JSON object per line of standard input,
// {"template": "...", "classic": name, "format": name or null, "messages": [...], "tools": [...], "kwargs": {...}, "continues": field,
//  "grammar": {"choice": 0..3, "name": ..., "parallel": bool}, "text": "...", "begins": 0..2 or none, "raw": bool, "any_tool": bool, "cuts": n}; one per line of output, with what came of
// it, the format, how the prompt ends, and in "cut" the first cutting of the text that gave something else.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "chat/classic.h"
#include "chat/output.h"
#include "chat/reasoning.h"

#define MAX_BYTES ((uint64_t)1 << 30)

typedef struct probe {
    hth_arena arena;
    hth_json_doc *doc;
    const hth_json *root;
    hth_chat_template *t;
    hth_jinja_text prompt;
    hth_chat_tools tools;
    hth_chat_output_params params;
    hth_tokenizer *tokenizer;
    hth_chat_reasoning reasoning;
    hth_chat_reasoning_plan plan;
} probe;

static const hth_json *get(const probe *p, const char *key) {
    const hth_json *v = hth_json_get(p->root, key);
    return v && v->kind != HTH_JSON_NULL ? v : NULL;
}

// Asks for thinking as a request would.
static hth_code think(probe *p, hth_jinja_value *kwargs, hth_err *err) {
    hth_chat_reasoning_choice choice;
    HTH_TRY(hth_chat_reasoning_find(p->t, hth_chat_format_of(p->t, NULL), &p->reasoning, err));
    if (!hth_chat_reasoning_parse(get(p, "think")->u.str, &choice)) return hth_fail(err, HTH_ERR_RANGE, "no such word");
    choice.budget = hth_json_int(p->root, "budget", 0, NULL);
    return hth_chat_reasoning_apply(&p->reasoning, &choice, &p->arena, kwargs, &p->plan, err);
}

static hth_code render(probe *p, const char *line, size_t n, hth_err *err) {
    const hth_json *source = get(p, "template"), *tools = get(p, "tools"), *kwargs = get(p, "kwargs");
    hth_chat_choice choice = {.name = hth_json_str(p->root, "classic", NULL, NULL)};
    if (source) choice.text = (hth_chat_text){source->u.str, source->n};
    hth_chat_message *messages;
    hth_jinja_value tool_value, kwarg_value;
    hth_chat_request r = {.continues = hth_json_str(p->root, "continues", NULL, NULL), .now = &(hth_jinja_time){2026, 1, 1, 0, 0, 0, 3, 1}};
    r.no_answer = r.continues || hth_json_bool(p->root, "no_answer", false, NULL);
    HTH_TRY(hth_chat_template_open(NULL, NULL, &choice, &p->t, err));
    HTH_TRY(hth_chat_messages_from_json(&p->arena, get(p, "messages"), line, n, &messages, &r.n_message, err));
    r.messages = messages;
    if (tools) {
        HTH_TRY(hth_jinja_from_json(&p->arena, tools, line, n, HTH_JINJA_OF_CLIENT, &tool_value, err));
        r.tools = &tool_value;
    }
    HTH_TRY(hth_jinja_make_dict(&p->arena, &kwarg_value, err));
    if (kwargs) HTH_TRY(hth_jinja_from_json(&p->arena, kwargs, line, n, HTH_JINJA_OF_CLIENT, &kwarg_value, err));
    if (get(p, "think")) HTH_TRY(think(p, &kwarg_value, err));
    r.kwargs = &kwarg_value;
    return hth_chat_render(p->t, &r, &p->prompt, err);
}

static hth_code prepare(probe *p, const char *line, size_t n, hth_err *err) {
    const char *format = hth_json_str(p->root, "format", NULL, NULL);
    if (get(p, "messages")) HTH_TRY(render(p, line, n, err));
    p->params.format = format ? hth_chat_format_find(format) : hth_chat_format_of(p->t, NULL);
    if (!p->params.format) return hth_fail(err, HTH_ERR_NOTFOUND, "no format %s", format);
    p->params.begins = hth_chat_format_begins(p->params.format, &p->prompt);
    if (get(p, "begins")) p->params.begins = (hth_chat_begins)hth_json_int(p->root, "begins", 0, NULL);
    p->params.raw_reasoning = hth_json_bool(p->root, "raw", false, NULL);
    p->params.any_tool = hth_json_bool(p->root, "any_tool", false, NULL);
    const char *tokenizer = hth_json_str(p->root, "tokenizer", NULL, NULL);
    if (tokenizer) HTH_TRY(hth_tokenizer_load_file(tokenizer, &p->tokenizer, err));
    p->params.tokenizer = p->tokenizer;
    if (!get(p, "tools")) return HTH_OK;
    p->params.tools = &p->tools;
    return hth_chat_tools_from_json(&p->arena, get(p, "tools"), line, n, &p->tools, err);
}

// ---- cuttings ----

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void) { // xorshift64
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static hth_code feed_cut(const hth_chat_output_params *params, const char *text, size_t n, size_t cut, hth_chat_answer *a,
                         hth_err *err) {
    hth_chat_output_params mine = *params;
    hth_chat_output *o;
    hth_chat_answer_init(a);
    mine.sink = hth_chat_answer_take;
    mine.user = a;
    HTH_TRY(hth_chat_output_new(&mine, &o, err));
    hth_code code = HTH_OK;
    const uint64_t longest = 1 + next_random() % 24;
    for (size_t i = 0, k; i < n && code == HTH_OK; i += k) {
        k = cut == SIZE_MAX ? 1 + next_random() % longest : i == 0 && cut > 0 ? cut : n - i;
        if (k > n - i) k = n - i;
        code = hth_chat_output_feed(o, text + i, k, err);
    }
    if (code == HTH_OK) code = hth_chat_output_end(o, err);
    hth_chat_output_free(o);
    return code;
}

static bool is_same(const hth_str *a, const hth_str *b) {
    return a->len == b->len && memcmp(hth_str_text(a), hth_str_text(b), a->len) == 0;
}

static bool is_same_answer(const hth_chat_answer *a, const hth_chat_answer *b) {
    if (!is_same(&a->content, &b->content) || !is_same(&a->reasoning, &b->reasoning) || a->n_call != b->n_call) return false;
    for (size_t i = 0; i < a->n_call; i++) {
        const hth_chat_answer_call *x = &a->calls[i], *y = &b->calls[i];
        if (!is_same(&x->id, &y->id) || !is_same(&x->name, &y->name) || !is_same(&x->arguments, &y->arguments)) return false;
        if (x->is_cut != y->is_cut) return false;
    }
    return true;
}

static void write_answer(hth_json_out *j, const hth_chat_answer *a) {
    hth_json_out_str(j, "content", hth_str_text(&a->content), a->content.len);
    hth_json_out_str(j, "reasoning", hth_str_text(&a->reasoning), a->reasoning.len);
    hth_json_out_begin(j, "calls", '[');
    for (size_t i = 0; i < a->n_call; i++) {
        const hth_chat_answer_call *c = &a->calls[i];
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_str(j, "id", hth_str_text(&c->id), c->id.len);
        hth_json_out_str(j, "name", hth_str_text(&c->name), c->name.len);
        hth_json_out_str(j, "arguments", hth_str_text(&c->arguments), c->arguments.len);
        hth_json_out_bool(j, "is_cut", c->is_cut);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static hth_code try_cuts(const probe *p, const char *text, size_t n, const hth_chat_answer *whole, hth_json_out *j, hth_err *err) {
    const int64_t n_random = hth_json_int(p->root, "cuts", 0, NULL);
    for (int64_t i = 0; n_random > 0 && i < (int64_t)n + n_random; i++) {
        hth_chat_answer a;
        const hth_code code = feed_cut(&p->params, text, n, i < (int64_t)n ? (size_t)i : SIZE_MAX, &a, err);
        const bool is_equal = code == HTH_OK && is_same_answer(whole, &a);
        if (code == HTH_OK && !is_equal) {
            hth_json_out_begin(j, "cut", '{');
            hth_json_out_int(j, "at", i < (int64_t)n ? i : -1);
            write_answer(j, &a);
            hth_json_out_end(j, '}');
        }
        hth_chat_answer_free(&a);
        if (!is_equal) return code;
    }
    return HTH_OK;
}

static hth_code write_grammar(const probe *p, const hth_json *how, hth_json_out *j, hth_err *err) {
    hth_str text;
    const hth_chat_grammar_params params = {
        .tools = &p->tools,
        .choice = (hth_chat_tool_choice)hth_json_int(how, "choice", 0, NULL),
        .name = hth_chat_text_of(hth_json_str(how, "name", "", NULL)),
        .parallel = hth_json_bool(how, "parallel", false, NULL),
        .begins = p->params.begins,
        .tokenizer = p->tokenizer,
    };
    hth_str_init(&text, HTH_MEM_MISC, MAX_BYTES);
    const hth_code code = hth_chat_format_grammar(p->params.format, &params, &text, err);
    if (code == HTH_OK) hth_json_out_str(j, "grammar", hth_str_text(&text), text.len);
    hth_json_out_text(j, "trigger", hth_chat_format_trigger(p->params.format, 0));
    hth_str_free(&text);
    return code;
}

static void write_reasoning(const probe *p, hth_json_out *j) {
    const hth_chat_reasoning *r = &p->reasoning;
    hth_json_out_begin(j, "thinking", '{');
    hth_json_out_bool(j, "thinks", r->thinks);
    hth_json_out_text(j, "switch", r->switch_key);
    hth_json_out_text(j, "effort", r->effort_key);
    hth_json_out_text(j, "budget", r->budget_key);
    hth_json_out_bool(j, "keeps_earlier", r->keeps_earlier);
    hth_json_out_bool(j, "keeps_current", r->keeps_current);
    hth_json_out_text(j, "word", p->plan.word);
    hth_json_out_bool(j, "must_skip", p->plan.must_skip);
    hth_json_out_bool(j, "ignores_on", p->plan.ignores_on);
    hth_json_out_bool(j, "ignores_effort", p->plan.ignores_effort);
    hth_json_out_end(j, '}');
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, 4096);
    hth_chat_format_skip_thought(p->params.format, p->t, p->params.begins, &text);
    hth_json_out_str(j, "skip", hth_str_text(&text), text.len);
    hth_str_clear(&text);
    hth_chat_format_cut_thought(p->params.format, p->t, (hth_chat_text){NULL, 0}, &text);
    hth_json_out_str(j, "cut", hth_str_text(&text), text.len);
    hth_str_free(&text);
}

static hth_code answer(probe *p, hth_json_out *j, hth_err *err) {
    static const char *const begins[] = {"answer", "thought", "content"};
    const hth_json *text = get(p, "text");
    hth_chat_answer whole;
    hth_json_out_text(j, "format", hth_chat_format_name(p->params.format));
    hth_json_out_text(j, "begins", begins[p->params.begins]);
    if (p->prompt.n > 0) {
        const hth_text_segment *last = &p->prompt.segments[p->prompt.n - 1], *first = &p->prompt.segments[0];
        hth_json_out_str(j, "prompt", first->text, (size_t)(last->text + last->n - first->text));
    }
    if (get(p, "think")) write_reasoning(p, j);
    if (get(p, "grammar")) HTH_TRY(write_grammar(p, get(p, "grammar"), j, err));
    if (!text) return HTH_OK;
    HTH_TRY(hth_chat_answer_parse(&p->params, text->u.str, text->n, &whole, err));
    write_answer(j, &whole);
    const hth_code code = try_cuts(p, text->u.str, text->n, &whole, j, err);
    hth_chat_answer_free(&whole);
    return code;
}

static void list_formats(hth_json_out *j) {
    hth_json_out_begin(j, "classics", '[');
    for (size_t i = 0; hth_chat_classic_at(i); i++) hth_json_out_text(j, NULL, hth_chat_classic_at(i)->name);
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "formats", '[');
    for (size_t i = 0; hth_chat_format_at(i); i++) hth_json_out_text(j, NULL, hth_chat_format_name(hth_chat_format_at(i)));
    hth_json_out_end(j, ']');
}

static void serve(const char *line, size_t n, hth_json_out *j) {
    probe p = {0};
    hth_err err = {.msg = ""};
    hth_arena_init(&p.arena, HTH_MEM_MISC, MAX_BYTES);
    hth_json_out_begin(j, NULL, '{');
    hth_code code = hth_json_parse(line, n, MAX_BYTES, &p.doc, &err);
    p.root = code == HTH_OK ? hth_json_root(p.doc) : NULL;
    if (get(&p, "list_formats")) list_formats(j);
    if (code == HTH_OK) code = prepare(&p, line, n, &err);
    if (code == HTH_OK) code = answer(&p, j, &err);
    if (code != HTH_OK) hth_json_out_text(j, "error", err.msg);
    hth_json_out_end(j, '}');
    hth_jinja_text_free(&p.prompt);
    hth_chat_template_free(p.t);
    hth_tokenizer_free(p.tokenizer);
    hth_arena_free(&p.arena);
    hth_json_free(p.doc);
}

int main(void) {
    hth_str out;
    hth_str_init(&out, HTH_MEM_MISC, SIZE_MAX / 2);
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        hth_json_out j = hth_json_out_make(&out, false);
        serve(line, (size_t)n, &j);
        hth_str_putc(&out, '\n');
        fwrite(hth_str_text(&out), 1, out.len, stdout);
        fflush(stdout);
        hth_str_clear(&out);
    }
    free(line);
    hth_str_free(&out);
    hth_mem_stats mem;
    hth_mem_get_stats(&mem);
    return mem.n_blocks == 0 ? 0 : 1; // nothing may be left
}
