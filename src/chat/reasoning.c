// Which variables of a template turn thoughts on and off, set effort and budget: each that families use is tried, and
// counts where it changes what is written.
#include "chat/reasoning.h"

#include <stdio.h>
#include <string.h>

#define MAX_PROBE ((uint64_t)16 << 20)
#define NEEDLE "nEedLe"

static const struct {
    const char *key, *off, *on;
} switches[] = {
    {"enable_thinking", "false", "true"},
    {"thinking", "false", "true"},
    {"thinking_mode", "\"disabled\"", "\"enabled\""},
    {"thinking_mode", "\"chat\"", "\"thinking\""},
    {"thinking_option", "\"off\"", "\"on\""},
    {"reasoning", "false", "true"},
    {"reasoning_effort", "\"no_think\"", "\"high\""},
    {"reasoning_effort", "\"none\"", "\"high\""},
};

static const char *const effort_keys[] = {"reasoning_effort", "thinking_effort", "reasoning_strength"};
static const char *const budget_keys[] = {"thinking_budget", "reasoning_budget"};

// ---- asking ----

// One rendering's text; p NULL: the template refused.
typedef struct answer {
    hth_jinja_text text;
    hth_chat_text all;
} answer;

static void free_answer(answer *a) {
    hth_jinja_text_free(&a->text);
}

static hth_code add_json(hth_arena *a, hth_jinja_value *kwargs, const char *key, const char *json, hth_err *err) {
    hth_json_doc *doc;
    hth_jinja_value v;
    HTH_TRY(hth_json_parse(json, strlen(json), 1 << 12, &doc, err));
    hth_code code = hth_jinja_from_json(a, hth_json_root(doc), json, strlen(json), HTH_JINJA_OF_TEMPLATE, &v, err);
    if (code == HTH_OK) code = hth_jinja_set(a, kwargs, key, strlen(key), HTH_JINJA_OF_TEMPLATE, v, err);
    hth_json_free(doc);
    return code;
}

// Renders with one variable (key NULL: none). A refusal of the template is an answer too; lack of memory is not.
static hth_code ask(const hth_chat_template *t, const hth_chat_message *m, size_t n, const char *key, const char *json,
                    answer *out, hth_err *err) {
    static const hth_jinja_time now = {2026, 1, 1, 0, 0, 0, 3, 1};
    hth_arena a;
    hth_jinja_value kwargs;
    hth_err reason;
    *out = (answer){.all = {NULL, 0}};
    hth_arena_init(&a, HTH_MEM_TEXT, MAX_PROBE);
    hth_code code = hth_jinja_make_dict(&a, &kwargs, &reason);
    if (code == HTH_OK && key) code = add_json(&a, &kwargs, key, json, &reason);
    const hth_chat_request r = {.messages = m, .n_message = n, .kwargs = &kwargs, .now = &now};
    if (code == HTH_OK) code = hth_chat_render(t, &r, &out->text, &reason);
    hth_arena_free(&a);
    if (code == HTH_ERR_NOMEM) {
        if (err) *err = reason;
        return code;
    }
    if (code == HTH_OK && out->text.n > 0) {
        const hth_text_segment *first = out->text.segments, *last = first + out->text.n - 1;
        out->all = (hth_chat_text){first->text, (size_t)(last->text + last->n - first->text)};
    }
    return HTH_OK;
}

static bool differ(const answer *a, const answer *b) {
    return a->all.p && b->all.p && (a->all.n != b->all.n || memcmp(a->all.p, b->all.p, a->all.n) != 0);
}

static bool has_needle(const answer *a) {
    const size_t k = sizeof NEEDLE - 1;
    for (size_t i = 0; a->all.p && i + k <= a->all.n; i++) {
        if (memcmp(a->all.p + i, NEEDLE, k) == 0) return true;
    }
    return false;
}

static const hth_chat_part question_part = {HTH_CHAT_PART_TEXT, {"x", 1}};

// Whether any word is written as it is: then "none" means nothing to the template.
static hth_code echoes(const hth_chat_template *t, const char *key, bool *out, hth_err *err) {
    const hth_chat_message m = {.role = {"user", 4}, .parts = &question_part, .n_part = 1};
    answer a;
    HTH_TRY(ask(t, &m, 1, key, "\"" NEEDLE "\"", &a, err));
    *out = has_needle(&a);
    free_answer(&a);
    return HTH_OK;
}

// Whether two values of a variable give two texts.
static hth_code tells(const hth_chat_template *t, const char *key, const char *one, const char *other, bool *out, hth_err *err) {
    const hth_chat_message m = {.role = {"user", 4}, .parts = &question_part, .n_part = 1};
    answer a, b = {.all = {NULL, 0}};
    hth_code code = ask(t, &m, 1, key, one, &a, err);
    if (code == HTH_OK) code = ask(t, &m, 1, key, other, &b, err);
    *out = code == HTH_OK && differ(&a, &b);
    free_answer(&a);
    free_answer(&b);
    return code;
}

// Whether a thought of an earlier answer is written again: before another question, or before a tool's result.
static hth_code keeps(const hth_chat_template *t, const hth_chat_reasoning *r, bool is_current, bool *out, hth_err *err) {
    const hth_chat_call call = {{"call00001", 9}, {"probe", 5}, {"{}", 2}, false};
    const hth_chat_message m[] = {
        {.role = {"user", 4}, .parts = &question_part, .n_part = 1},
        {.role = {"assistant", 9}, .parts = &question_part, .n_part = !is_current, .reasoning = {NEEDLE, sizeof NEEDLE - 1},
         .calls = &call, .n_call = is_current},
        {.role = is_current ? (hth_chat_text){"tool", 4} : (hth_chat_text){"user", 4}, .parts = &question_part, .n_part = 1,
         .call_id = is_current ? call.id : (hth_chat_text){NULL, 0}, .name = is_current ? call.name : (hth_chat_text){NULL, 0}},
    };
    answer a;
    HTH_TRY(ask(t, m, HTH_COUNT(m), r->switch_key, r->switch_on, &a, err));
    *out = has_needle(&a);
    free_answer(&a);
    return HTH_OK;
}

// Words that the template looks for in the system text, or tells its model about.
static void find_words(const hth_chat_template *t, hth_chat_reasoning *r) {
    static const struct {
        const char *off, *on;
    } words[] = {{"/no_think", "/think"}, {"/nothink", "/think"}};
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        if (!hth_chat_template_has_literal(t, words[i].off)) continue;
        r->word_off = words[i].off;
        r->word_on = words[i].on;
        return;
    }
}

hth_code hth_chat_reasoning_find(const hth_chat_template *t, const hth_chat_format *f, hth_chat_reasoning *out, hth_err *err) {
    hth_chat_reasoning r = {.thinks = false};
    bool yes;
    for (size_t i = 0; i < HTH_COUNT(switches) && !r.switch_key; i++) {
        HTH_TRY(tells(t, switches[i].key, switches[i].off, switches[i].on, &yes, err));
        if (yes && switches[i].off[0] == '"') {
            bool is_echo;
            HTH_TRY(echoes(t, switches[i].key, &is_echo, err));
            yes = !is_echo;
        }
        if (!yes) continue;
        r.switch_key = switches[i].key;
        r.switch_off = switches[i].off;
        r.switch_on = switches[i].on;
    }
    for (size_t i = 0; i < HTH_COUNT(effort_keys) && !r.effort_key; i++) {
        HTH_TRY(tells(t, effort_keys[i], "\"low\"", "\"high\"", &yes, err));
        if (yes) r.effort_key = effort_keys[i];
    }
    for (size_t i = 0; i < HTH_COUNT(budget_keys) && !r.budget_key; i++) {
        HTH_TRY(tells(t, budget_keys[i], "512", "2048", &yes, err));
        if (yes) r.budget_key = budget_keys[i];
    }
    if (!r.switch_key) find_words(t, &r);
    r.thinks = r.switch_key || r.effort_key || r.budget_key || r.word_off || hth_chat_format_has_thoughts(f, t);
    HTH_TRY(keeps(t, &r, false, &r.keeps_earlier, err));
    HTH_TRY(keeps(t, &r, true, &r.keeps_current, err));
    *out = r;
    return HTH_OK;
}

// ---- choosing ----

bool hth_chat_reasoning_parse(const char *word, hth_chat_reasoning_choice *out) {
    static const struct {
        const char *word;
        hth_chat_reasoning_choice choice;
    } rows[] = {{"auto", {HTH_CHAT_THINK_AUTO, HTH_CHAT_EFFORT_AUTO, 0}},  {"off", {HTH_CHAT_THINK_OFF, HTH_CHAT_EFFORT_AUTO, 0}},
                {"none", {HTH_CHAT_THINK_OFF, HTH_CHAT_EFFORT_AUTO, 0}},   {"on", {HTH_CHAT_THINK_ON, HTH_CHAT_EFFORT_AUTO, 0}},
                {"minimal", {HTH_CHAT_THINK_ON, HTH_CHAT_EFFORT_MINIMAL, 0}}, {"low", {HTH_CHAT_THINK_ON, HTH_CHAT_EFFORT_LOW, 0}},
                {"medium", {HTH_CHAT_THINK_ON, HTH_CHAT_EFFORT_MEDIUM, 0}}, {"high", {HTH_CHAT_THINK_ON, HTH_CHAT_EFFORT_HIGH, 0}}};
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (strcmp(rows[i].word, word) != 0) continue;
        *out = rows[i].choice;
        return true;
    }
    return false;
}

static hth_code set(hth_arena *a, hth_jinja_value *kwargs, const char *key, const char *json, hth_err *err) {
    if (!key || hth_jinja_get(kwargs, key)) return HTH_OK; // the caller's own word counts
    return add_json(a, kwargs, key, json, err);
}

hth_code hth_chat_reasoning_apply(const hth_chat_reasoning *r, const hth_chat_reasoning_choice *choice, hth_arena *a,
                                  hth_jinja_value *kwargs, hth_chat_reasoning_plan *out, hth_err *err) {
    static const char *const efforts[] = {NULL, "\"low\"", "\"low\"", "\"medium\"", "\"high\""};
    char number[24];
    *out = (hth_chat_reasoning_plan){.word = NULL};
    if (choice->effort != HTH_CHAT_EFFORT_AUTO) { // before the switch, whose variable it may be
        HTH_TRY(set(a, kwargs, r->effort_key, efforts[choice->effort], err));
        out->ignores_effort = !r->effort_key;
    }
    if (choice->budget > 0 && r->budget_key) {
        snprintf(number, sizeof number, "%lld", (long long)choice->budget);
        HTH_TRY(set(a, kwargs, r->budget_key, number, err));
    }
    if (choice->think == HTH_CHAT_THINK_ON) {
        out->ignores_on = !r->thinks;
        out->word = r->word_on;
        return set(a, kwargs, r->switch_key, r->switch_on, err);
    }
    if (choice->think == HTH_CHAT_THINK_AUTO) return HTH_OK;
    out->word = r->word_off;
    out->must_skip = r->thinks && !r->switch_key && !r->word_off;
    return set(a, kwargs, r->switch_key, r->switch_off, err);
}
