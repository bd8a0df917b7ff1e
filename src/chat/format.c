// Formats: which one a template shows, and what the end of a prompt leaves open.
#include "chat/format_impl.h"

#include <string.h>

#include "chat/output_impl.h"

const hth_chat_format *hth_chat_format_find(const char *name) {
    for (size_t i = 0; hth_chat_format_at(i); i++) {
        if (strcmp(hth_chat_format_at(i)->name, name) == 0) return hth_chat_format_at(i);
    }
    return NULL;
}

const char *hth_chat_format_name(const hth_chat_format *f) {
    return f->name;
}

static bool is_shown(const hth_chat_format *f, const hth_chat_template *t, const hth_tokenizer *tokenizer) {
    for (size_t i = 0; i < HTH_COUNT(f->signs) && f->signs[i]; i++) {
        const char *sign = f->signs[i];
        if (t ? !hth_chat_template_has_literal(t, sign) : hth_tokenizer_find(tokenizer, sign, strlen(sign)) < 0) return false;
    }
    return true;
}

const hth_chat_format *hth_chat_format_of(const hth_chat_template *t, const hth_tokenizer *tokenizer) {
    for (size_t i = 0; t && hth_chat_format_at(i); i++) {
        if (hth_chat_format_at(i)->signs[0] && is_shown(hth_chat_format_at(i), t, NULL)) return hth_chat_format_at(i);
    }
    for (size_t i = 0; tokenizer && hth_chat_format_at(i); i++) {
        if (hth_chat_format_at(i)->signs[0] && is_shown(hth_chat_format_at(i), NULL, tokenizer)) return hth_chat_format_at(i);
    }
    return hth_chat_format_find("generic");
}

bool hth_chat_format_has_thoughts(const hth_chat_format *f, const hth_chat_template *t) {
    if (!t || f->channels) return f->think_open[0] != NULL;
    for (size_t i = 0; i < HTH_COUNT(f->think_open); i++) {
        if (f->think_open[i] && hth_chat_template_has_literal(t, f->think_open[i])) return true;
        if (f->think_close[i] && hth_chat_template_has_literal(t, f->think_close[i])) return true;
    }
    return false;
}

// ---- ends of thoughts ----

// Many families share the tag and differ in the line breaks around it, which their templates show.
const char *hth_chat_format_ends_thought(const hth_chat_format *f, const hth_chat_template *t) {
    static const struct {
        const char *sign, *end;
    } spellings[] = {{"\n</think>\n\n", "\n</think>\n\n"}, {"\n</think>\n", "\n</think>\n"}, {"<think></think>", "</think>"}};
    if (!f->ends_thought || !t || strcmp(f->ends_thought, "\n</think>\n\n") != 0) return f->ends_thought;
    for (size_t i = 0; i < HTH_COUNT(spellings); i++) {
        if (hth_chat_template_has_literal(t, spellings[i].sign)) return spellings[i].end;
    }
    return f->ends_thought;
}

static const char *last_words(const hth_chat_format *f, const hth_chat_template *t) {
    const fmt_words *row;
    for (size_t i = 0; t && (row = fmt_words_at(i)); i++) {
        size_t k = 0;
        while (k < HTH_COUNT(row->signs) && row->signs[k] && hth_chat_template_has_literal(t, row->signs[k])) k++;
        if (strcmp(row->format, f->name) == 0 && (k == HTH_COUNT(row->signs) || !row->signs[k])) return row->words;
    }
    return "";
}

void hth_chat_format_cut_thought(const hth_chat_format *f, const hth_chat_template *t, hth_chat_text words, hth_str *out) {
    if (!f->ends_thought) return;
    if (words.p) hth_str_append(out, words.p, words.n);
    else hth_str_puts(out, last_words(f, t));
    hth_str_puts(out, hth_chat_format_ends_thought(f, t));
}

void hth_chat_format_skip_thought(const hth_chat_format *f, const hth_chat_template *t, hth_chat_begins begins, hth_str *out) {
    const char *end = hth_chat_format_ends_thought(f, t);
    if (!end || begins == HTH_CHAT_BEGINS_CONTENT) return;
    if (begins == HTH_CHAT_BEGINS_ANSWER && f->channels) {
        hth_str_puts(out, "<|channel|>final<|message|>");
        return;
    }
    if (begins == HTH_CHAT_BEGINS_ANSWER) hth_str_puts(out, f->think_open[0]);
    if (begins == HTH_CHAT_BEGINS_ANSWER && end[0] == '\n') hth_str_putc(out, '\n');
    hth_str_puts(out, end);
}

// ---- the end of a prompt ----

// The bytes behind the last tag that lies within template bytes; *opens tells which kind. False: there is none.
static bool find_last_tag(const hth_chat_format *f, const hth_text_segment *s, size_t *behind, bool *opens) {
    bool found = false;
    size_t len;
    if (s->is_user) return false;
    for (size_t i = 0; i < s->n; i++) {
        if (out_match(f->think_open, HTH_COUNT(f->think_open), s->text + i, s->n - i, true, &len) == OUT_YES) {
            *opens = found = true;
        } else if (out_match(f->think_close, HTH_COUNT(f->think_close), s->text + i, s->n - i, true, &len) == OUT_YES) {
            *opens = false;
            found = true;
        } else {
            continue;
        }
        *behind = i + len;
        i += len - 1;
    }
    return found;
}

static bool is_blank(const char *p, size_t n) {
    while (n > 0 && out_is_space(p[n - 1])) n--;
    return n == 0;
}

// A tag decides where the template wrote nothing behind it: then what follows is the answer's own beginning.
hth_chat_begins hth_chat_format_begins(const hth_chat_format *f, const hth_jinja_text *prompt) {
    for (size_t i = prompt->n; i > 0; i--) {
        const hth_text_segment *s = &prompt->segments[i - 1];
        size_t behind;
        bool opens;
        if (s->is_user) continue;
        if (find_last_tag(f, s, &behind, &opens) && is_blank(s->text + behind, s->n - behind)) {
            return opens ? HTH_CHAT_BEGINS_THOUGHT : HTH_CHAT_BEGINS_CONTENT;
        }
        if (!is_blank(s->text, s->n)) return HTH_CHAT_BEGINS_ANSWER;
    }
    return HTH_CHAT_BEGINS_ANSWER;
}
