// The filter wordwrap: Python's textwrap, which cuts a line into words, spaces and the parts of hyphenated words, and
// fills lines with them.
#include "chat/jinja_impl.h"
#include "text/unicode.h"

typedef struct wrapper {
    jj_vm *vm;
    const jj_str *text;    // of one line
    const uint32_t *cp;    // [n] its characters
    const uint32_t *at;    // [n + 1] and where they begin
    int64_t n, width;
    bool breaks_words, breaks_hyphens;
} wrapper;

static bool is_blank_cp(uint32_t cp) {
    return cp == ' ' || (cp >= '\t' && cp <= '\r');
}

static bool is_word_cp(uint32_t cp) { // \w
    return cp == '_' || (1u << hth_cp_category(cp) & (HTH_CATS_L | HTH_CATS_N));
}

static bool blank_at(const wrapper *w, int64_t i) {
    return i >= 0 && i < w->n && is_blank_cp(w->cp[i]);
}

static bool hyphen_at(const wrapper *w, int64_t i) {
    return i >= 0 && i < w->n && w->cp[i] == '-';
}

static bool letter_at(const wrapper *w, int64_t i) { // [^\d\W]
    return i >= 0 && i < w->n && is_word_cp(w->cp[i]) && hth_cp_category(w->cp[i]) != HTH_CAT_ND;
}

// What may stand before a dash: [\w!"'&.,?]
static bool punct_at(const wrapper *w, int64_t i) {
    return i >= 0 && i < w->n && (is_word_cp(w->cp[i]) || (w->cp[i] < 128 && strchr("!\"'&.,?", (int)w->cp[i]) && w->cp[i]));
}

// The end of two or more hyphens at i with a word behind them, or 0.
static int64_t dash_at(const wrapper *w, int64_t i) {
    int64_t end = i;
    while (hyphen_at(w, end)) end++;
    return end >= i + 2 && end < w->n && is_word_cp(w->cp[end]) ? end : 0;
}

// Whether the hyphen at i joins two parts of a word.
static bool joins_at(const wrapper *w, int64_t i) {
    bool before = letter_at(w, i - 1) && (letter_at(w, i - 2) || (hyphen_at(w, i - 2) && letter_at(w, i - 3)));
    bool behind = letter_at(w, i + 1) && (letter_at(w, i + 2) || (hyphen_at(w, i + 2) && letter_at(w, i + 3)));
    return hyphen_at(w, i) && before && behind;
}

// The end of the chunk at i: spaces, a dash between words, or a word up to where it may be cut.
static int64_t chunk_end(const wrapper *w, int64_t i) {
    int64_t end = i;
    bool is_blank = blank_at(w, i);
    if (is_blank || !w->breaks_hyphens) {
        while (end < w->n && blank_at(w, end) == is_blank) end++;
        return end;
    }
    if (punct_at(w, i - 1) && dash_at(w, i)) return dash_at(w, i);
    for (end = i + 1; end < w->n && !blank_at(w, end); end++) {
        if (joins_at(w, end)) return end + 1;
        if (punct_at(w, end - 1) && dash_at(w, end)) return end;
    }
    return end;
}

static bool is_blank_part(const wrapper *w, int64_t from, int64_t to) {
    while (from < to && jj_is_space(w->cp[from])) from++;
    return from == to;
}

// Where a word that is longer than a line is cut.
static int64_t cut_word(const wrapper *w, int64_t at, int64_t end, int64_t room) {
    int64_t hyphen = at + room - 1;
    if (!w->breaks_hyphens || end - at <= room) return at + room;
    while (hyphen > at && !hyphen_at(w, hyphen)) hyphen--;
    for (int64_t i = at; i < hyphen; i++) {
        if (!hyphen_at(w, i)) return hyphen + 1;
    }
    return at + room;
}

// Adds the lines that one line becomes.
static hth_code wrap_line(const wrapper *w, jj_growing *out) {
    size_t before = out->n;
    int64_t at = 0, stop = 0; // the chunk at `at` ends at `stop`
    while (at < w->n) {
        if (at >= stop) stop = chunk_end(w, at);
        if (out->n > before && is_blank_part(w, at, stop)) at = stop;
        int64_t from = at, to = at, last = at;
        for (; at < w->n; last = to, to = at = stop) {
            if (at >= stop) stop = chunk_end(w, at);
            if (stop - from > w->width) break;
        }
        if (at < w->n && stop - at > w->width && (w->breaks_words || to == from)) {
            last = to;
            to = at = w->breaks_words ? cut_word(w, at, stop, w->width - (to - from)) : stop;
        }
        if (is_blank_part(w, last, to)) to = last;
        if (from == to) continue;
        jj_value line;
        HTH_TRY(jj_part(w->vm, w->text, w->at[from], w->at[to], &line));
        HTH_TRY(jj_add(w->vm, out, line));
    }
    return HTH_OK;
}

static hth_code add_line(wrapper *w, const jj_str *text, jj_growing *out) {
    size_t before = out->n;
    uint32_t *cp = jj_alloc(w->vm, text->n_char + 1, sizeof *cp), *at = jj_alloc(w->vm, text->n_char + 1, sizeof *at), byte = 0;
    jj_value empty;
    if (!cp || !at) return jj_nomem(w->vm);
    HTH_TRY(jj_step(w->vm, text->n));
    if (w->width <= 0) return jj_fail(w->vm, JJ_VALUE_ERROR, "invalid width %lld (must be > 0)", (long long)w->width);
    for (uint32_t i = 0; i < text->n_char; i++) {
        unsigned len;
        at[i] = byte;
        cp[i] = jj_cp(text->p + byte, text->n - byte, &len);
        byte += len;
    }
    at[text->n_char] = byte;
    w->text = text;
    w->cp = cp;
    w->at = at;
    w->n = text->n_char;
    HTH_TRY(wrap_line(w, out));
    if (out->n > before) return HTH_OK;
    HTH_TRY(jj_text(w->vm, "", &empty));
    return jj_add(w->vm, out, empty);
}

hth_code jj_wordwrap(jj_vm *vm, jj_value v, const jj_value a[4], int64_t width, jj_value *out) {
    static const jj_str newline = {.p = "\n", .n = 1, .n_char = 1};
    bool is_given = a[2].kind != HTH_JINJA_MISSING && jj_truth(a[2]);
    wrapper w = {.vm = vm, .width = width,
                 .breaks_words = a[1].kind == HTH_JINJA_MISSING || jj_truth(a[1]),
                 .breaks_hyphens = a[3].kind == HTH_JINJA_MISSING || jj_truth(a[3])};
    jj_growing parts = {0};
    jj_value lines, list;
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (!jj_is_str(v)) return jj_fail(vm, JJ_OTHER_ERROR, "'%s' object has no attribute 'splitlines'", jj_type_name(v));
    HTH_TRY(jj_splitlines(vm, v.u.s, false, &lines));
    for (uint32_t i = 0; i < lines.u.list->n; i++) HTH_TRY(add_line(&w, lines.u.list->items[i].u.s, &parts));
    if (is_given && !jj_is_str(a[2])) {
        return jj_fail(vm, JJ_OTHER_ERROR, "'%s' object has no attribute 'join'", jj_type_name(a[2]));
    }
    HTH_TRY(jj_grown(vm, &parts, HTH_JINJA_LIST, &list));
    return jj_join(vm, is_given ? a[2].u.s : &newline, list, false, out);
}
