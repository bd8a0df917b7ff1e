// Every step turns the list of pieces into a new one; steps that change the text write a new text.
#include "text/split.h"

#include <string.h>

#define MAX_PIECES ((size_t)1 << 31)
#define MAX_TEXT ((size_t)UINT32_MAX - 64)

void hth_split_work_free(split_work *w) {
    for (int i = 0; i < 2; i++) {
        hth_free(w->lists[i].p);
        hth_str_free(&w->text[i]);
    }
    hth_matcher_free(&w->matcher);
    *w = (split_work){0};
}

static hth_code add_piece(piece_list *l, size_t start, size_t end, hth_err *err) {
    if (start == end) return HTH_OK;
    if (l->n == l->cap &&
        !hth_grow(HTH_MEM_TEXT, (void **)&l->p, &l->cap, l->n + 1, sizeof *l->p, MAX_PIECES)) {
        return hth_fail_nomem(err, l->n * sizeof *l->p);
    }
    l->p[l->n++] = (piece){.start = (uint32_t)start, .n = (uint32_t)(end - start)};
    return HTH_OK;
}

// Joins stretches [start, end) that are matches or not, as they come in order, by the step's behavior.
typedef struct joiner {
    split_behavior behavior;
    piece_list *to;
    size_t start; // of the piece being built
    bool open, was_match;
} joiner;

static hth_code flush(joiner *j, size_t end, hth_err *err) {
    if (!j->open) return HTH_OK;
    j->open = false;
    return add_piece(j->to, j->start, end, err);
}

static hth_code join(joiner *j, size_t start, size_t end, bool match, hth_err *err) {
    switch (j->behavior) {
    case SPLIT_ISOLATED: return add_piece(j->to, start, end, err);
    case SPLIT_REMOVED: return match ? HTH_OK : add_piece(j->to, start, end, err);
    case SPLIT_MERGED_WITH_PREVIOUS: // a match goes on with what is before it, unless that is a match
        if (!j->open || !match || j->was_match) HTH_TRY(flush(j, start, err));
        break;
    case SPLIT_MERGED_WITH_NEXT: // what follows a match goes on with it, unless it is a match itself
        if (!j->open || !j->was_match || match) HTH_TRY(flush(j, start, err));
        break;
    case SPLIT_CONTIGUOUS:
        if (!j->open || match != j->was_match) HTH_TRY(flush(j, start, err));
        break;
    }
    if (!j->open) j->start = start;
    j->open = true;
    j->was_match = match;
    return HTH_OK;
}

static hth_code split_by_regex(const split_step *s, split_work *w, const uint8_t *text, piece p,
                               piece_list *to, hth_err *err) {
    joiner j = {.behavior = s->behavior, .to = to};
    size_t done = 0, from = 0, last_end = SIZE_MAX;
    HTH_TRY(hth_matcher_begin(&w->matcher, s->re, text + p.start, p.n, err));
    while (from <= p.n) {
        bool found;
        size_t start, end;
        HTH_TRY(hth_matcher_find(&w->matcher, from, &found, &start, &end, err));
        if (!found) break;
        from = end;
        if (start == end) { // an empty match cuts, but not right behind another match
            if (start < p.n) {
                unsigned len;
                (void)hth_cp_at(text + p.start + start, p.n - start, &len);
                from = start + len;
            } else {
                from = p.n + 1;
            }
            if (end == last_end) continue;
        }
        last_end = end;
        if (start > done) HTH_TRY(join(&j, p.start + done, p.start + start, s->invert, err));
        if (end > start) HTH_TRY(join(&j, p.start + start, p.start + end, !s->invert, err));
        done = end;
    }
    if (done < p.n) HTH_TRY(join(&j, p.start + done, p.start + p.n, s->invert, err));
    return flush(&j, p.start + p.n, err);
}

static hth_code split_threes(const uint8_t *text, piece p, piece_list *to, hth_err *err) {
    size_t end = p.start + p.n, done = p.start;
    for (size_t i = p.start; i < end;) {
        size_t run = i, count = 0;
        unsigned len;
        while (run < end && HTH_CATS_N >> hth_cp_category(hth_cp_at(text + run, end - run, &len)) & 1) {
            run += len;
            count++;
        }
        if (count == 0) {
            (void)hth_cp_at(text + i, end - i, &len);
            i += len;
            continue;
        }
        HTH_TRY(add_piece(to, done, i, err));
        for (done = i; i < run; count--) {
            if (count % 3 == 0) {
                HTH_TRY(add_piece(to, done, i, err));
                done = i;
            }
            (void)hth_cp_at(text + i, end - i, &len);
            i += len;
        }
        HTH_TRY(add_piece(to, done, run, err));
        done = run;
    }
    return add_piece(to, done, end, err);
}

static hth_code prefix_space(const uint8_t *text, piece p, hth_str *buf, piece_list *to, hth_err *err) {
    size_t start = buf->len;
    if (text[p.start] != ' ') (void)hth_str_putc(buf, ' ');
    (void)hth_str_append(buf, text + p.start, p.n);
    return add_piece(to, start, buf->len, err);
}

static hth_code byte_alphabet(const uint8_t *text, piece p, hth_str *buf, piece_list *to, hth_err *err) {
    size_t start = buf->len;
    for (uint32_t i = 0; i < p.n; i++) {
        uint8_t out[4];
        (void)hth_str_append(buf, out, hth_cp_encode(hth_byte_to_char[text[p.start + i]], out));
    }
    return add_piece(to, start, buf->len, err);
}

static hth_code bytes_back(const uint8_t *text, piece p, hth_str *buf, piece_list *to, hth_err *err) {
    size_t start = buf->len;
    for (uint32_t i = 0; i < p.n;) {
        unsigned len;
        int b = hth_char_to_byte(hth_cp_at(text + p.start + i, p.n - i, &len));
        if (b < 0) {
            (void)hth_str_append(buf, text + p.start + i, len);
        } else {
            (void)hth_str_putc(buf, (char)b);
        }
        i += len;
    }
    return add_piece(to, start, buf->len, err);
}

static bool begins_with(const uint8_t *p, size_t n, const char *mark, size_t n_mark) {
    return n >= n_mark && memcmp(p, mark, n_mark) == 0;
}

static hth_code metaspace(const split_step *s, const uint8_t *text, piece p, bool first, hth_str *buf,
                          piece_list *to, hth_err *err) {
    size_t start = buf->len;
    const uint8_t *t = text + p.start;
    bool marked = t[0] == ' ' || begins_with(t, p.n, s->mark, s->n_mark);
    bool wanted = s->prepend == METASPACE_ALWAYS || (s->prepend == METASPACE_FIRST && first);
    if (wanted && !marked) (void)hth_str_append(buf, s->mark, s->n_mark);
    for (size_t i = 0; i < p.n; i++) {
        bool mark = t[i] == ' ' || begins_with(t + i, p.n - i, s->mark, s->n_mark);
        if (mark && s->cut && buf->len > start) {
            HTH_TRY(add_piece(to, start, buf->len, err));
            start = buf->len;
        }
        if (t[i] == ' ') {
            (void)hth_str_append(buf, s->mark, s->n_mark);
        } else {
            (void)hth_str_putc(buf, (char)t[i]);
        }
    }
    return add_piece(to, start, buf->len, err);
}

static hth_code split_piece(const split_step *s, split_work *w, const uint8_t *text, piece p, bool first,
                            hth_str *buf, piece_list *to, hth_err *err) {
    switch (s->kind) {
    case SPLIT_REGEX: return split_by_regex(s, w, text, p, to, err);
    case SPLIT_THREES: return split_threes(text, p, to, err);
    case SPLIT_PREFIX_SPACE: return prefix_space(text, p, buf, to, err);
    case SPLIT_BYTE_ALPHABET: return byte_alphabet(text, p, buf, to, err);
    case SPLIT_BYTES_BACK: return bytes_back(text, p, buf, to, err);
    case SPLIT_METASPACE: return metaspace(s, text, p, first, buf, to, err);
    }
    return HTH_OK;
}

hth_code hth_split(const split_step *steps, size_t n_step, split_work *w, const uint8_t *text, size_t n,
                   bool first, const uint8_t **out_text, const piece_list **out, hth_err *err) {
    if (n > MAX_TEXT) return hth_fail(err, HTH_ERR_LIMIT, "a text of %zu bytes is too long", n);
    piece_list *from = &w->lists[0], *to = &w->lists[1];
    int i_text = 0;
    from->n = 0;
    HTH_TRY(add_piece(from, 0, n, err));
    for (size_t i = 0; i < n_step; i++) {
        const split_step *s = &steps[i];
        bool changes = s->kind != SPLIT_REGEX && s->kind != SPLIT_THREES;
        hth_str *buf = &w->text[i_text];
        if (changes) {
            if (buf->max == 0) hth_str_init(buf, HTH_MEM_TEXT, MAX_TEXT);
            hth_str_clear(buf);
        }
        to->n = 0;
        for (size_t k = 0; k < from->n; k++) {
            bool at_first = first && k == 0 && from->p[0].start == 0;
            HTH_TRY(split_piece(s, w, text, from->p[k], at_first, buf, to, err));
        }
        if (changes) {
            if (buf->failed) return hth_fail_nomem(err, n);
            text = (const uint8_t *)hth_str_text(buf);
            i_text ^= 1;
        }
        piece_list *swap = from;
        from = to;
        to = swap;
    }
    *out_text = text;
    *out = from;
    return HTH_OK;
}
