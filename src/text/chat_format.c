// Recognising a format and putting its pieces around messages. A prompt is a list of slices: of the table,
// of the messages, and of the default system text found in the template; nothing is copied but that text.
#include "text/chat_format.h"

#include <string.h>

#include "text/chat_table.h"

// A template longer than this is refused before it is searched.
#define MAX_TEMPLATE (1u << 20)
#define MAX_SEGMENTS (1u << 20)
// A default system text is shorter than this, and opened by one of the first system turns.
#define MAX_SYSTEM 4096
#define MAX_OPENINGS 64

struct hth_chat_format {
    const chat_row *row;
    hth_chat_source source;
    char *default_system; // owned; NULL: none
    bool starts_with_bos;
    bool drops_thoughts;   // of earlier answers only what follows </think> stays
    const char *bos, *eos; // spellings; borrowed from the tokenizer
    size_t n_bos, n_eos;
};

typedef struct slice {
    const char *p;
    size_t n;
} slice;

// Where `word` begins in [p, end), or NULL.
static const char *find(const char *p, const char *end, const char *word) {
    size_t n = strlen(word);
    while (n <= (size_t)(end - p)) {
        const char *at = memchr(p, word[0], (size_t)(end - p) - n + 1);
        if (!at) return NULL;
        if (memcmp(at, word, n) == 0) return at;
        p = at + 1;
    }
    return NULL;
}

static bool contains(slice text, const char *word) {
    return find(text.p, text.p + text.n, word) != NULL;
}

// Length of `word` at p, where a newline of the word may be written as a backslash and an n; 0: not there.
static size_t match_literal(const char *p, const char *end, const char *word) {
    const char *at = p;
    for (; *word; word++) {
        if (at < end && *at == *word) {
            at++;
        } else if (*word == '\n' && end - at >= 2 && at[0] == '\\' && at[1] == 'n') {
            at += 2;
        } else {
            return 0;
        }
    }
    return (size_t)(at - p);
}

// Whether the last place of the template that begins like `answer` holds exactly it, up to the quote that
// ends the string. Templates that open the answer with more than this (a <think> tag) are of another kind.
static bool holds_answer(slice text, const char *answer) {
    const char *end = text.p + text.n, *last = NULL;
    char head[64];
    size_t n_head = strcspn(answer, "\n");
    if (n_head >= sizeof head) return false;
    memcpy(head, answer, n_head);
    head[n_head] = 0;
    for (const char *at = find(text.p, end, head); at; at = find(at + 1, end, head)) last = at;
    size_t n = last ? match_literal(last, end, answer) : 0;
    return n > 0 && last + n < end && (last[n] == '\'' || last[n] == '"');
}

static bool fits(const chat_row *row, slice text) {
    if (row->flags & CHAT_ONLY_BY_NAME) return false;
    for (size_t i = 0; i < HTH_COUNT(row->has) && row->has[i]; i++) {
        if (!contains(text, row->has[i])) return false;
    }
    for (size_t i = 0; i < HTH_COUNT(row->lacks) && row->lacks[i]; i++) {
        if (contains(text, row->lacks[i])) return false;
    }
    // Thoughts of earlier answers are dropped in one way only.
    if (contains(text, "</think>") && !contains(text, "split('</think>')[-1]")) return false;
    return !(row->flags & CHAT_CHECK_ANSWER) || holds_answer(text, row->answer);
}

// The system text that a template writes when the chat has none: the first string that runs from the system
// turn's opening to its close without interruption. Escapes other than \n make it none of ours.
static hth_code find_default_system(hth_chat_format *f, slice text, hth_err *err) {
    const char *end = text.p + text.n, *open = f->row->around[HTH_CHAT_SYSTEM][0];
    const char *close = f->row->around[HTH_CHAT_SYSTEM][1];
    int n_tried = 0;
    for (const char *at = text.p; at < end && n_tried < MAX_OPENINGS; at++) {
        size_t n_open = *at == open[0] ? match_literal(at, end, open) : 0;
        if (n_open == 0) continue;
        n_tried++;
        const char *from = at + n_open, *to = from;
        const char *stop = end - from > MAX_SYSTEM ? from + MAX_SYSTEM : end;
        while (to < stop && !strchr("'\"{}", *to) && match_literal(to, end, close) == 0) to++;
        if (to == end || match_literal(to, end, close) == 0) continue;
        char *copy = hth_strndup(HTH_MEM_TEXT, from, (size_t)(to - from));
        if (!copy) return hth_fail_nomem(err, (uint64_t)(to - from));
        size_t n = 0;
        for (const char *c = from; c < to; c++) {
            if (*c == '\\' && (c + 1 == to || c[1] != 'n')) {
                hth_free(copy);
                return hth_fail(err, HTH_ERR_UNSUPPORTED,
                                "the chat template's default system text has escapes");
            }
            copy[n++] = *c == '\\' ? '\n' : *c;
            c += *c == '\\';
        }
        copy[n] = 0;
        f->default_system = copy;
        return HTH_OK;
    }
    return HTH_OK;
}

static void take_spellings(hth_chat_format *f, const hth_tokenizer *t) {
    f->bos = "<s>";
    f->eos = "</s>";
    f->n_bos = 3;
    f->n_eos = 4;
    if (!t) return;
    f->bos = hth_tokenizer_spelling(t, hth_tokenizer_special(t, HTH_SPECIAL_BOS), &f->n_bos);
    f->eos = hth_tokenizer_spelling(t, hth_tokenizer_special(t, HTH_SPECIAL_EOS), &f->n_eos);
}

static hth_code make(const chat_row *row, slice text, hth_chat_source source, const hth_tokenizer *t,
                     hth_chat_format **out, hth_err *err) {
    hth_chat_format *f = hth_calloc(HTH_MEM_TEXT, 1, sizeof *f);
    if (!f) return hth_fail_nomem(err, sizeof *f);
    f->row = row;
    f->source = source;
    f->starts_with_bos = (t && hth_tokenizer_adds_bos(t)) || contains(text, "bos_token");
    f->drops_thoughts = contains(text, "</think>");
    take_spellings(f, t);
    hth_code code = HTH_OK;
    if (row->flags & CHAT_DEFAULT_SYSTEM) code = find_default_system(f, text, err);
    if (code != HTH_OK) {
        hth_chat_format_free(f);
        return code;
    }
    *out = f;
    return HTH_OK;
}

hth_code hth_chat_format_recognise(const char *text, size_t n, const hth_tokenizer *t, hth_chat_format **out,
                                   hth_err *err) {
    if (n > MAX_TEMPLATE) {
        return hth_fail(err, HTH_ERR_LIMIT, "the chat template has %zu bytes; the limit is %u", n,
                        MAX_TEMPLATE);
    }
    for (size_t i = 0; i < hth_chat_n_row; i++) {
        slice whole = {text, n};
        if (fits(&hth_chat_rows[i], whole)) {
            return make(&hth_chat_rows[i], whole, HTH_CHAT_FROM_TEMPLATE, t, out, err);
        }
    }
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "the model's chat template is not one of the known formats");
}

static bool has_control(const hth_tokenizer *t, const char *spelling) {
    hth_token id = hth_tokenizer_find(t, spelling, strlen(spelling));
    return id >= 0 && hth_tokenizer_is_control(t, id);
}

static hth_code recognise_by_tokens(const hth_tokenizer *t, hth_chat_format **out, hth_err *err) {
    for (size_t i = 0; i < hth_chat_n_row; i++) {
        const chat_row *row = &hth_chat_rows[i];
        if (!row->tokens[0] || !has_control(t, row->tokens[0]) || !has_control(t, row->tokens[1])) continue;
        return make(row, (slice){"", 0}, HTH_CHAT_FROM_TOKENS, t, out, err);
    }
    return hth_fail(err, HTH_ERR_NOTFOUND, "the model has no chat template");
}

// The template of tokenizer_config.json or chat_template.json: a string, or a list of named ones.
static slice template_in(const hth_json *config) {
    const hth_json *v = hth_json_get(config, "chat_template");
    for (uint32_t i = 0; v && v->kind == HTH_JSON_ARRAY && i < v->n; i++) {
        const char *name = hth_json_str(&v->u.items[i], "name", "", NULL);
        if (strcmp(name, "default") != 0) continue;
        v = hth_json_get(&v->u.items[i], "template");
        break;
    }
    if (!v || v->kind != HTH_JSON_STRING) return (slice){NULL, 0};
    return (slice){v->u.str, v->n};
}

static hth_code find_template(hth_container *c, slice *out, hth_err *err) {
    *out = (slice){NULL, 0};
    const hth_gguf *g = hth_container_gguf(c);
    if (g) return hth_gguf_get_str(g, "tokenizer.chat_template", &out->p, &out->n, err);
    HTH_TRY(hth_container_text(c, "chat_template.jinja", &out->p, &out->n, err));
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json"};
    for (size_t i = 0; !out->p && i < HTH_COUNT(files); i++) {
        const hth_json *config;
        HTH_TRY(hth_container_json(c, files[i], &config, err));
        *out = template_in(config);
    }
    return HTH_OK;
}

hth_code hth_chat_format_open(hth_container *c, const hth_tokenizer *t, const char *name,
                              hth_chat_format **out, hth_err *err) {
    slice text;
    HTH_TRY(find_template(c, &text, err));
    if (name) {
        for (size_t i = 0; i < hth_chat_n_row; i++) {
            if (strcmp(name, hth_chat_rows[i].name) != 0) continue;
            return make(&hth_chat_rows[i], (slice){"", 0}, HTH_CHAT_FROM_NAME, t, out, err);
        }
        return hth_fail(err, HTH_ERR_RANGE, "there is no chat format '%s'", name);
    }
    if (text.p && text.n > 0) return hth_chat_format_recognise(text.p, text.n, t, out, err);
    return recognise_by_tokens(t, out, err);
}

void hth_chat_format_free(hth_chat_format *f) {
    if (!f) return;
    hth_free(f->default_system);
    hth_free(f);
}

const char *hth_chat_format_name(const hth_chat_format *f) {
    return f->row->name;
}

hth_chat_source hth_chat_format_source(const hth_chat_format *f) {
    return f->source;
}

const char *hth_chat_format_name_at(int i) {
    return i >= 0 && (size_t)i < hth_chat_n_row ? hth_chat_rows[i].name : NULL;
}

void hth_chat_prompt_free(hth_chat_prompt *p) {
    hth_free(p->segments);
    *p = (hth_chat_prompt){0};
}

static hth_code add(hth_chat_prompt *p, const char *text, size_t n, bool is_user, hth_err *err) {
    if (n == 0) return HTH_OK;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&p->segments, &p->cap, p->n + 1, sizeof *p->segments,
                  MAX_SEGMENTS)) {
        return hth_fail_nomem(err, (p->n + 1) * sizeof *p->segments);
    }
    p->segments[p->n++] = (hth_text_segment){.text = text, .n = n, .is_user = is_user};
    return HTH_OK;
}

// A piece of the table, its BOS and EOS spelled out. A BOS that would open the prompt is left to
// `starts_with_bos`.
static hth_code add_piece(const hth_chat_format *f, hth_chat_prompt *p, const char *piece, hth_err *err) {
    while (*piece) {
        size_t n = strcspn(piece, CHAT_BOS CHAT_EOS);
        HTH_TRY(add(p, piece, n, false, err));
        piece += n;
        if (*piece == CHAT_BOS[0]) {
            if (p->n == 0) {
                p->starts_with_bos = true;
            } else {
                HTH_TRY(add(p, f->bos, f->n_bos, false, err));
            }
        } else if (*piece) {
            HTH_TRY(add(p, f->eos, f->n_eos, false, err));
        }
        piece += *piece != 0;
    }
    return HTH_OK;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static slice trim(slice s) {
    while (s.n > 0 && is_space(s.p[0])) s = (slice){s.p + 1, s.n - 1};
    while (s.n > 0 && is_space(s.p[s.n - 1])) s.n--;
    return s;
}

static slice after_thoughts(slice s) {
    static const char close[] = "</think>";
    const char *end = s.p + s.n, *from = s.p;
    for (const char *at = find(from, end, close); at; at = find(from, end, close)) from = at + strlen(close);
    if (from == s.p) return s;
    while (from < end && *from == '\n') from++;
    return (slice){from, (size_t)(end - from)};
}

// A message's own text as the format writes it.
static slice text_of(const hth_chat_format *f, const hth_chat_message *m) {
    unsigned flags = f->row->flags;
    slice s = {m->text, m->n};
    if (m->role == HTH_CHAT_ASSISTANT && f->drops_thoughts) s = after_thoughts(s);
    bool trims = m->role == HTH_CHAT_SYSTEM    ? flags & CHAT_TRIM_SYSTEM
               : m->role == HTH_CHAT_ASSISTANT ? flags & (CHAT_TRIM | CHAT_TRIM_ASSISTANT)
                                               : flags & CHAT_TRIM;
    return trims ? trim(s) : s;
}

// An optional system message first, then user and assistant in turn, the user last.
static hth_code check_order(const hth_chat_message *messages, size_t n, hth_err *err) {
    size_t first = n > 0 && messages[0].role == HTH_CHAT_SYSTEM ? 1 : 0;
    for (size_t i = first; i < n; i++) {
        hth_chat_role due = (i - first) % 2 ? HTH_CHAT_ASSISTANT : HTH_CHAT_USER;
        if (messages[i].role != due) {
            return hth_fail(err, HTH_ERR_RANGE, "message %zu breaks the turns of user and assistant", i);
        }
    }
    if (n == first || messages[n - 1].role != HTH_CHAT_USER) {
        return hth_fail(err, HTH_ERR_RANGE, "a chat prompt ends with a user message");
    }
    return HTH_OK;
}

static hth_code add_turn(const hth_chat_format *f, hth_chat_prompt *p, hth_chat_role role, slice text,
                         hth_err *err) {
    HTH_TRY(add_piece(f, p, f->row->around[role][0], err));
    HTH_TRY(add(p, text.p, text.n, true, err));
    return add_piece(f, p, f->row->around[role][1], err);
}

static hth_code add_user_turn(const hth_chat_format *f, hth_chat_prompt *p, const slice *system, slice text,
                              hth_err *err) {
    HTH_TRY(add_piece(f, p, f->row->around[HTH_CHAT_USER][0], err));
    if (system) HTH_TRY(add_turn(f, p, HTH_CHAT_SYSTEM, *system, err));
    HTH_TRY(add(p, text.p, text.n, true, err));
    return add_piece(f, p, f->row->around[HTH_CHAT_USER][1], err);
}

static hth_code render(const hth_chat_format *f, const hth_chat_message *messages, size_t n,
                       hth_chat_prompt *p, hth_err *err) {
    unsigned flags = f->row->flags;
    bool has_system = messages[0].role == HTH_CHAT_SYSTEM,
         joins = flags & (CHAT_SYSTEM_FIRST | CHAT_SYSTEM_LAST);
    slice system = {"", 0};
    if (has_system) {
        system = text_of(f, &messages[0]);
    } else if (f->default_system) {
        system = (slice){f->default_system, strlen(f->default_system)};
    }
    if (!joins && (has_system || f->default_system || (flags & CHAT_SYSTEM_ALWAYS))) {
        HTH_TRY(add_turn(f, p, HTH_CHAT_SYSTEM, system, err));
    }
    size_t host = flags & CHAT_SYSTEM_LAST ? n - 1 : 1; // the message that takes the system text in
    for (size_t i = has_system; i < n; i++) {
        slice text = text_of(f, &messages[i]);
        if (messages[i].role == HTH_CHAT_USER) {
            HTH_TRY(add_user_turn(f, p, joins && has_system && i == host ? &system : NULL, text, err));
        } else {
            HTH_TRY(add_turn(f, p, messages[i].role, text, err));
        }
    }
    return add_piece(f, p, f->row->answer, err);
}

hth_code hth_chat_render(const hth_chat_format *f, const hth_chat_message *messages, size_t n,
                         hth_chat_prompt *out, hth_err *err) {
    HTH_TRY(check_order(messages, n, err));
    hth_chat_prompt p = {.starts_with_bos = f->starts_with_bos};
    hth_code code = render(f, messages, n, &p, err);
    if (code != HTH_OK) {
        hth_chat_prompt_free(&p);
        return code;
    }
    *out = p;
    return HTH_OK;
}

hth_code hth_chat_tokenize(const hth_chat_format *f, const hth_tokenizer *t, const hth_chat_message *messages,
                           size_t n, hth_token_list *out, hth_err *err) {
    hth_chat_prompt p;
    HTH_TRY(hth_chat_render(f, messages, n, &p, err));
    hth_code code = HTH_OK;
    hth_token bos = hth_tokenizer_special(t, HTH_SPECIAL_BOS);
    if (p.starts_with_bos && bos >= 0) {
        if (hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, out->n + 1, sizeof *out->ids,
                     SIZE_MAX / 16)) {
            out->ids[out->n++] = bos;
        } else {
            code = hth_fail_nomem(err, (out->n + 1) * sizeof *out->ids);
        }
    }
    if (code == HTH_OK) code = hth_tokenize(t, p.segments, p.n, 0, out, err);
    hth_chat_prompt_free(&p);
    return code;
}
