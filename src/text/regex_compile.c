// Pattern -> program, in one pass with an explicit stack of open groups. Each finished part is a
// fragment of position-independent code (jumps are relative), so that sequence, alternation and
// repetition are concatenations.
#include <string.h>

#include "text/regex_impl.h"

#define MAX_PATTERN (1u << 16)
#define MAX_GROUP_DEPTH 64
#define MAX_CLASS_DEPTH 16
#define MAX_REPEAT 4096

typedef struct frag {
    re_ins *ins; // owned
    size_t n, cap;
    uint64_t first[2];
    bool first_high, nullable;
    bool live; // false: no fragment
    int set;   // >= 0: exactly one character of this set
    int width; // characters, -1 when it varies
} frag;

typedef enum group_kind {
    GROUP_PLAIN,
    GROUP_ATOMIC,
    GROUP_LOOK,
    GROUP_LOOK_NOT,
    GROUP_BEHIND,
    GROUP_BEHIND_NOT
} group_kind;

typedef struct group {
    group_kind kind;
    bool icase_outside;
    frag alts; // alternatives so far
    frag seq;  // current alternative without its last atom
    frag atom; // what a quantifier would apply to
} group;

typedef struct compiler {
    const uint8_t *p;
    size_t n, at;
    const hth_unicode *u;
    hth_err *err;
    hth_regex *re;
    hth_cpset set_ranges[HTH_RE_MAX_SETS]; // of re->sets, to recognise equal ones
    group groups[MAX_GROUP_DEPTH];
    size_t depth;               // innermost group is groups[depth]
    frag tops[HTH_RE_MAX_ALTS]; // finished alternatives of the top level
    size_t n_top;
    bool icase;
} compiler;

static hth_code fail_syntax(compiler *c, const char *what) {
    return hth_fail(c->err, HTH_ERR_FORMAT, "regular expression, byte %zu: %s", c->at, what);
}

static hth_code fail_unsupported(compiler *c, const char *what) {
    return hth_fail(c->err, HTH_ERR_UNSUPPORTED, "regular expression, byte %zu: %s", c->at, what);
}

static void frag_free(frag *f) {
    hth_free(f->ins);
    *f = (frag){.set = -1};
}

static frag frag_empty(void) {
    return (frag){.nullable = true, .live = true, .set = -1};
}

static hth_code emit(compiler *c, frag *f, re_ins ins) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&f->ins, &f->cap, f->n + 1, sizeof ins, HTH_RE_MAX_INS)) {
        if (f->n >= HTH_RE_MAX_INS)
            return hth_fail(c->err, HTH_ERR_LIMIT, "this regular expression is too large");
        return hth_fail_nomem(c->err, sizeof ins);
    }
    f->ins[f->n++] = ins;
    return HTH_OK;
}

static hth_code emit_all(compiler *c, frag *f, const frag *from) {
    for (size_t i = 0; i < from->n; i++) HTH_TRY(emit(c, f, from->ins[i]));
    return HTH_OK;
}

// f = f then g. Frees g.
static hth_code concat(compiler *c, frag *f, frag *g) {
    hth_code code = emit_all(c, f, g);
    if (code == HTH_OK) {
        if (f->nullable) {
            f->first[0] |= g->first[0];
            f->first[1] |= g->first[1];
            f->first_high |= g->first_high;
        }
        f->set = f->n == g->n ? g->set : -1;
        f->nullable = f->nullable && g->nullable;
        f->width = f->width < 0 || g->width < 0 ? -1 : f->width + g->width;
    }
    frag_free(g);
    return code;
}

// f = f or g, f first. Frees g.
static hth_code alternate(compiler *c, frag *f, frag *g) {
    frag out = {.live = true, .set = -1};
    for (int i = 0; i < 2; i++) out.first[i] = f->first[i] | g->first[i];
    out.first_high = f->first_high || g->first_high;
    out.nullable = f->nullable || g->nullable;
    out.width = f->width == g->width ? f->width : -1;
    hth_code code = emit(c, &out, (re_ins){.op = RE_SPLIT, .x = 1, .y = (int32_t)f->n + 2});
    if (code == HTH_OK) code = emit_all(c, &out, f);
    if (code == HTH_OK) code = emit(c, &out, (re_ins){.op = RE_JUMP, .x = (int32_t)g->n + 1});
    if (code == HTH_OK) code = emit_all(c, &out, g);
    frag_free(f);
    frag_free(g);
    *f = out;
    return code;
}

// The number of the compiled form of `set`. Takes set.
static hth_code add_set(compiler *c, hth_cpset *set, int *id) {
    hth_cpset_sort(set);
    for (size_t i = 0; i < c->re->n_set; i++) {
        if (!hth_cpset_equal(&c->set_ranges[i], set)) continue;
        hth_cpset_free(set);
        *id = (int)i;
        return HTH_OK;
    }
    if (c->re->n_set == HTH_RE_MAX_SETS) {
        hth_cpset_free(set);
        return hth_fail(c->err, HTH_ERR_LIMIT, "this regular expression has more than %d character classes",
                        HTH_RE_MAX_SETS);
    }
    hth_charset *made = hth_charset_make(set);
    if (!made) {
        hth_cpset_free(set);
        return hth_fail_nomem(c->err, sizeof *made);
    }
    *id = (int)c->re->n_set;
    c->set_ranges[c->re->n_set] = *set;
    c->re->sets[c->re->n_set++] = made;
    *set = (hth_cpset){0};
    return HTH_OK;
}

// Replaces the pending atom by f, moving the old one to the sequence. Takes f.
static hth_code push_atom(compiler *c, frag *f) {
    group *g = &c->groups[c->depth];
    hth_code code = HTH_OK;
    if (g->atom.live) code = concat(c, &g->seq, &g->atom);
    g->atom = *f;
    *f = (frag){.set = -1};
    return code;
}

static hth_code push_ins(compiler *c, re_ins ins) {
    frag f = frag_empty();
    hth_code code = emit(c, &f, ins);
    if (code == HTH_OK) return push_atom(c, &f);
    frag_free(&f);
    return code;
}

// Takes set.
static hth_code push_set(compiler *c, hth_cpset *set) {
    if (c->icase) hth_cpset_fold(set);
    int id = 0;
    HTH_TRY(add_set(c, set, &id));
    const hth_charset *made = c->re->sets[id];
    frag f = {.live = true, .set = id, .width = 1, .first = {made->ascii[0], made->ascii[1]}};
    const hth_cpset *ranges = &c->set_ranges[id];
    f.first_high = ranges->n > 0 && ranges->r[ranges->n - 1] > 128;
    hth_code code = emit(c, &f, (re_ins){.op = RE_SET, .x = id});
    if (code == HTH_OK) return push_atom(c, &f);
    frag_free(&f);
    return code;
}

static hth_code push_char(compiler *c, uint32_t cp) {
    hth_cpset set = {0};
    hth_cpset_add(&set, cp, cp);
    return push_set(c, &set);
}

// ---- escapes and classes ----

static bool peek(const compiler *c, char ch) {
    return c->at < c->n && c->p[c->at] == (uint8_t)ch;
}

static bool take(compiler *c, char ch) {
    if (!peek(c, ch)) return false;
    c->at++;
    return true;
}

static bool take_text(compiler *c, const char *text) {
    size_t len = strlen(text);
    if (c->n - c->at < len || memcmp(c->p + c->at, text, len) != 0) return false;
    c->at += len;
    return true;
}

// After \p or \P: {name}, {^name} or one letter.
static hth_code parse_property(compiler *c, hth_cpset *set, bool negated) {
    hth_cpset found = {0};
    const char *name = (const char *)c->p + c->at;
    size_t n = 1;
    if (take(c, '{')) {
        if (take(c, '^')) negated = !negated;
        name = (const char *)c->p + c->at;
        for (n = 0; c->at < c->n && !peek(c, '}'); n++) c->at++;
        if (!take(c, '}')) return fail_syntax(c, "\\p{ without }");
    } else if (c->at < c->n) {
        c->at++;
    } else {
        return fail_syntax(c, "the pattern ends after \\p");
    }
    if (!hth_re_add_property(c->u, &found, name, n)) {
        hth_cpset_free(&found);
        return fail_unsupported(c, "a character property that this program does not know");
    }
    if (negated) hth_cpset_invert(&found);
    hth_cpset_add_set(set, &found);
    hth_cpset_free(&found);
    return HTH_OK;
}

static int hex_value(uint8_t b) {
    if (b >= '0' && b <= '9') return b - '0';
    if (b >= 'a' && b <= 'f') return b - 'a' + 10;
    return b >= 'A' && b <= 'F' ? b - 'A' + 10 : -1;
}

static hth_code parse_hex(compiler *c, unsigned max_digits, uint32_t *cp) {
    bool braced = take(c, '{');
    if (braced) max_digits = 8;
    uint32_t v = 0;
    unsigned n = 0;
    while (n < max_digits && c->at < c->n && hex_value(c->p[c->at]) >= 0) {
        v = v << 4 | (uint32_t)hex_value(c->p[c->at++]);
        n++;
    }
    if (n == 0 || v >= HTH_CP_END) return fail_syntax(c, "a bad hexadecimal code point");
    if (braced && !take(c, '}')) return fail_syntax(c, "\\x{ without }");
    *cp = v;
    return HTH_OK;
}

// After a backslash: either a set (added to *set, *is_set true) or one character in *cp.
static hth_code parse_escape(compiler *c, hth_cpset *set, bool *is_set, uint32_t *cp) {
    if (c->at >= c->n) return fail_syntax(c, "the pattern ends after a backslash");
    uint8_t b = c->p[c->at];
    *is_set = true;
    hth_cpset s = {0};
    switch (b) {
    case 's':
    case 'S': hth_cpset_add_space(&s); break;
    case 'd':
    case 'D': hth_cpset_add_cats(&s, c->u, 1u << HTH_CAT_ND); break;
    case 'w':
    case 'W': hth_cpset_add_word(&s, c->u); break;
    case 'h':
    case 'H':
        hth_cpset_add(&s, '0', '9');
        hth_cpset_add(&s, 'a', 'f');
        hth_cpset_add(&s, 'A', 'F');
        break;
    case 'p':
    case 'P': c->at++; return parse_property(c, set, b == 'P');
    default: *is_set = false;
    }
    if (*is_set) {
        c->at++;
        if (b < 'a') hth_cpset_invert(&s);
        hth_cpset_add_set(set, &s);
        hth_cpset_free(&s);
        return HTH_OK;
    }
    unsigned len;
    *cp = hth_cp_at(c->p + c->at, c->n - c->at, &len);
    if (!((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '1' && b <= '9'))) {
        c->at += len;
        if (b == '0') *cp = 0;
        return HTH_OK;
    }
    static const char names[] = "nrtfvae", values[] = "\n\r\t\f\v\a\x1b";
    const char *at = strchr(names, b);
    c->at++;
    if (at) {
        *cp = (uint8_t)values[at - names];
        return HTH_OK;
    }
    if (b == 'x') return parse_hex(c, 2, cp);
    if (b == 'u') return parse_hex(c, 4, cp);
    c->at--;
    return fail_unsupported(c, "an escape that this program does not know");
}

typedef struct class_frame {
    hth_cpset acc;  // union since the last &&
    hth_cpset left; // intersection before it
    bool has_left, negated;
} class_frame;

static void class_finish(class_frame *f) {
    if (f->has_left) {
        hth_cpset_intersect(&f->acc, &f->left);
        hth_cpset_free(&f->left);
        f->has_left = false;
    }
    if (f->negated) hth_cpset_invert(&f->acc);
}

static hth_code parse_posix(compiler *c, hth_cpset *set) {
    bool negated = take(c, '^');
    const char *name = (const char *)c->p + c->at;
    size_t n = 0;
    while (c->at < c->n && c->p[c->at] >= 'a' && c->p[c->at] <= 'z') c->at++, n++;
    if (!take_text(c, ":]")) return fail_syntax(c, "[: without :]");
    hth_cpset found = {0};
    bool ok = n == 6 && memcmp(name, "xdigit", 6) == 0;
    if (ok) {
        hth_cpset_add(&found, '0', '9');
        hth_cpset_add(&found, 'a', 'f');
        hth_cpset_add(&found, 'A', 'F');
    } else {
        ok = hth_re_add_property(c->u, &found, name, n);
    }
    if (negated) hth_cpset_invert(&found);
    hth_cpset_add_set(set, &found);
    hth_cpset_free(&found);
    return ok ? HTH_OK : fail_unsupported(c, "a character class that this program does not know");
}

// One member of a class: a character, an escape, or a range of characters.
static hth_code parse_class_member(compiler *c, hth_cpset *set) {
    bool is_set = false;
    unsigned len;
    uint32_t first, last;
    if (take(c, '\\')) {
        HTH_TRY(parse_escape(c, set, &is_set, &first));
        if (is_set) return HTH_OK;
    } else {
        first = hth_cp_at(c->p + c->at, c->n - c->at, &len);
        c->at += len;
    }
    last = first;
    bool is_range =
        c->at + 1 < c->n && c->p[c->at] == '-' && c->p[c->at + 1] != ']' && c->p[c->at + 1] != '[';
    if (is_range) {
        c->at++;
        if (take(c, '\\')) {
            HTH_TRY(parse_escape(c, set, &is_set, &last));
            if (is_set) { // "a-\d": the hyphen is itself
                hth_cpset_add(set, '-', '-');
                last = first;
            }
        } else {
            last = hth_cp_at(c->p + c->at, c->n - c->at, &len);
            c->at += len;
        }
    }
    if (last < first) return fail_syntax(c, "a range in a class runs backwards");
    hth_cpset_add(set, first, last);
    return HTH_OK;
}

// After '[': the rest of the class, nested ones included, into frames[0].acc.
static hth_code parse_class(compiler *c, class_frame *frames) {
    size_t depth = 0;
    bool fresh = true; // right after [ or [^, where ] is a member
    frames[0].negated = take(c, '^');
    for (;;) {
        class_frame *f = &frames[depth];
        if (c->at >= c->n) return fail_syntax(c, "[ without ]");
        if (!fresh && take(c, ']')) {
            class_finish(f);
            if (depth == 0) return HTH_OK;
            hth_cpset_add_set(&frames[depth - 1].acc, &f->acc);
            hth_cpset_free(&f->acc);
            depth--;
            continue;
        }
        fresh = false;
        if (take_text(c, "[:")) {
            HTH_TRY(parse_posix(c, &f->acc));
        } else if (take(c, '[')) {
            if (++depth == MAX_CLASS_DEPTH)
                return hth_fail(c->err, HTH_ERR_LIMIT, "regular expression, byte %zu: classes nest too deep",
                                c->at);
            frames[depth] = (class_frame){.negated = take(c, '^')};
            fresh = true;
        } else if (take_text(c, "&&")) {
            if (f->has_left) {
                hth_cpset_intersect(&f->left, &f->acc);
                hth_cpset_free(&f->acc);
            } else {
                f->left = f->acc;
            }
            f->acc = (hth_cpset){0};
            f->has_left = true;
        } else {
            HTH_TRY(parse_class_member(c, &f->acc));
        }
    }
}

static hth_code push_class(compiler *c) {
    class_frame frames[MAX_CLASS_DEPTH] = {0};
    hth_code code = parse_class(c, frames);
    if (code == HTH_OK) return push_set(c, &frames[0].acc);
    for (size_t i = 0; i < MAX_CLASS_DEPTH; i++) {
        hth_cpset_free(&frames[i].acc);
        hth_cpset_free(&frames[i].left);
    }
    return code;
}

static hth_code push_escape(compiler *c) {
    static const struct {
        char name;
        re_op op;
    } edges[] = {{'b', RE_WORD_EDGE},
                 {'B', RE_NO_WORD_EDGE},
                 {'A', RE_TEXT_BEGIN},
                 {'z', RE_TEXT_END},
                 {'Z', RE_TEXT_END_NL}};
    for (size_t i = 0; i < HTH_COUNT(edges); i++) {
        if (!take(c, edges[i].name)) continue;
        return push_ins(c, (re_ins){.op = (uint16_t)edges[i].op});
    }
    hth_cpset set = {0};
    bool is_set;
    uint32_t cp;
    hth_code code = parse_escape(c, &set, &is_set, &cp);
    if (code == HTH_OK && is_set) return push_set(c, &set);
    hth_cpset_free(&set);
    if (code != HTH_OK) return code;
    return push_char(c, cp);
}

// ---- quantifiers ----

typedef enum greed { GREEDY, LAZY, POSSESSIVE } greed;

static hth_code wrap_atomic(compiler *c, frag *f) {
    frag out = *f;
    out.ins = NULL;
    out.n = out.cap = 0;
    out.set = -1;
    hth_code code = emit(c, &out, (re_ins){.op = RE_ATOMIC});
    if (code == HTH_OK) code = emit_all(c, &out, f);
    if (code == HTH_OK) code = emit(c, &out, (re_ins){.op = RE_ATOMIC_END});
    hth_free(f->ins);
    *f = out;
    return code;
}

static hth_code repeat_set(compiler *c, frag *f, uint32_t min, uint32_t max, greed how) {
    int set = f->set;
    f->n = 0;
    f->set = -1;
    f->nullable = min == 0;
    f->width = min == max ? (int)min : -1;
    return emit(
        c, f,
        (re_ins){.op = how == POSSESSIVE ? RE_LOOP_POSSESSIVE : RE_LOOP, .x = set, .min = min, .max = max});
}

static re_ins split(int32_t body, int32_t past, greed how) {
    return how == LAZY ? (re_ins){.op = RE_SPLIT, .x = past, .y = body}
                       : (re_ins){.op = RE_SPLIT, .x = body, .y = past};
}

// f{min,max} by copying: min times f, then f* or so many f?.
static hth_code repeat_group(compiler *c, frag *f, uint32_t min, uint32_t max, greed how) {
    if (f->nullable && max == HTH_RE_INFINITE) {
        return fail_unsupported(c, "a repeated group that can match nothing");
    }
    frag out = frag_empty();
    hth_code code = HTH_OK;
    int32_t n = (int32_t)f->n;
    for (uint32_t i = 0; i < min && code == HTH_OK; i++) code = emit_all(c, &out, f);
    if (max == HTH_RE_INFINITE) { // L: split body, past; body; jump L
        if (code == HTH_OK) code = emit(c, &out, split(1, n + 2, how));
        if (code == HTH_OK) code = emit_all(c, &out, f);
        if (code == HTH_OK) code = emit(c, &out, (re_ins){.op = RE_JUMP, .x = -(n + 1)});
    } else {
        for (uint32_t i = min; i < max && code == HTH_OK; i++) { // every split leads past all the rest
            code = emit(c, &out, split(1, (int32_t)(max - i) * (n + 1), how));
            if (code == HTH_OK) code = emit_all(c, &out, f);
        }
    }
    memcpy(out.first, f->first, sizeof out.first);
    out.first_high = f->first_high;
    out.nullable = f->nullable || min == 0;
    out.width = min == max && f->width >= 0 && (int64_t)f->width * min < 100000 ? f->width * (int)min : -1;
    frag_free(f);
    *f = out;
    if (code == HTH_OK && how == POSSESSIVE) code = wrap_atomic(c, f);
    return code;
}

static bool parse_number(compiler *c, uint32_t *v) {
    size_t from = c->at;
    uint32_t n = 0;
    while (c->at < c->n && c->p[c->at] >= '0' && c->p[c->at] <= '9') {
        if (n <= MAX_REPEAT) n = n * 10 + (c->p[c->at] - '0');
        c->at++;
    }
    *v = n;
    return c->at > from;
}

// {m}, {m,}, {m,n}, {,n}; anything else leaves the brace as a character (*is_one false).
static void parse_braces(compiler *c, bool *is_one, uint32_t *min, uint32_t *max) {
    size_t from = c->at++;
    bool has_min = parse_number(c, min), has_max = has_min;
    *max = *min;
    if (take(c, ',')) {
        has_max = parse_number(c, max);
        if (!has_max) *max = HTH_RE_INFINITE;
    }
    *is_one = (has_min || has_max) && take(c, '}');
    if (!*is_one) c->at = from;
}

// Applies the quantifier that follows, if one does.
static hth_code parse_quantifiers(compiler *c, bool *found) {
    group *g = &c->groups[c->depth];
    uint32_t min = 0, max = HTH_RE_INFINITE;
    bool braces = false;
    *found = true;
    if (peek(c, '{')) {
        parse_braces(c, &braces, &min, &max);
        *found = braces;
    } else if (take(c, '?')) {
        max = 1;
    } else if (take(c, '+')) {
        min = 1;
    } else {
        *found = take(c, '*');
    }
    if (!*found) return HTH_OK;
    if (!g->atom.live) return fail_syntax(c, "a quantifier with nothing before it");
    if (min > MAX_REPEAT || (max != HTH_RE_INFINITE && (max > MAX_REPEAT || max < min))) {
        return fail_syntax(c, "a repeat count out of range");
    }
    greed how = GREEDY;
    if (take(c, '?')) {
        how = LAZY;
    } else if (!braces && take(c, '+')) { // in Ruby's syntax {m,n}+ repeats the repetition
        how = POSSESSIVE;
    }
    if (g->atom.set >= 0 && how != LAZY) return repeat_set(c, &g->atom, min, max, how);
    return repeat_group(c, &g->atom, min, max, how);
}

// ---- groups ----

static hth_code open_group(compiler *c, group_kind kind, bool icase) {
    if (c->depth + 1 == MAX_GROUP_DEPTH) {
        return hth_fail(c->err, HTH_ERR_LIMIT, "regular expression, byte %zu: groups nest too deep", c->at);
    }
    c->groups[++c->depth] = (group){.kind = kind, .icase_outside = c->icase, .seq = frag_empty()};
    c->icase = icase;
    return HTH_OK;
}

// After "(?" and something that is no look-around: flags, then ':' or ')'.
static hth_code parse_flags(compiler *c) {
    bool icase = c->icase, on = true;
    for (; c->at < c->n; c->at++) {
        uint8_t b = c->p[c->at];
        if (b == 'i') {
            icase = on;
        } else if (b == '-') {
            on = false;
        } else if (b != 'u' || !on) { // Unicode rules are what we have
            break;
        }
    }
    if (take(c, ':')) return open_group(c, GROUP_PLAIN, icase);
    if (!take(c, ')')) return fail_unsupported(c, "a kind of group that this program does not know");
    c->icase = icase;
    return HTH_OK;
}

static hth_code parse_open(compiler *c) {
    static const struct {
        const char *text;
        group_kind kind;
    } kinds[] = {{"?:", GROUP_PLAIN},   {"?=", GROUP_LOOK},        {"?!", GROUP_LOOK_NOT},
                 {"?<=", GROUP_BEHIND}, {"?<!", GROUP_BEHIND_NOT}, {"?>", GROUP_ATOMIC}};
    for (size_t i = 0; i < HTH_COUNT(kinds); i++) {
        if (take_text(c, kinds[i].text)) return open_group(c, kinds[i].kind, c->icase);
    }
    if (take(c, '?')) return parse_flags(c);
    return open_group(c, GROUP_PLAIN, c->icase);
}

// Ends the current alternative of the innermost group.
static hth_code end_alternative(compiler *c) {
    group *g = &c->groups[c->depth];
    if (g->atom.live) HTH_TRY(concat(c, &g->seq, &g->atom));
    if (c->depth == 0) {
        if (c->n_top < HTH_RE_MAX_ALTS) {
            c->tops[c->n_top++] = g->seq;
            g->seq = (frag){.set = -1};
            return HTH_OK;
        }
        return alternate(c, &c->tops[c->n_top - 1], &g->seq);
    }
    if (g->alts.live) return alternate(c, &g->alts, &g->seq);
    g->alts = g->seq;
    g->seq = (frag){.set = -1};
    return HTH_OK;
}

// body -> look-around around it; a look at one character ahead becomes a single instruction.
static hth_code wrap_look(compiler *c, frag *f, group_kind kind) {
    bool behind = kind == GROUP_BEHIND || kind == GROUP_BEHIND_NOT;
    int negated = kind == GROUP_LOOK_NOT || kind == GROUP_BEHIND_NOT;
    if (behind && f->width < 0) return fail_unsupported(c, "look-behind of varying width");
    frag out = frag_empty();
    hth_code code;
    if (!behind && f->set >= 0) {
        code = emit(c, &out, (re_ins){.op = RE_LOOK_SET, .x = f->set, .y = negated});
    } else {
        int32_t past = (int32_t)f->n + 2 + behind;
        code = emit(c, &out, (re_ins){.op = RE_LOOK, .x = past, .y = negated});
        if (code == HTH_OK && behind) code = emit(c, &out, (re_ins){.op = RE_BEHIND, .x = f->width});
        if (code == HTH_OK) code = emit_all(c, &out, f);
        if (code == HTH_OK) code = emit(c, &out, (re_ins){.op = RE_LOOK_END});
    }
    frag_free(f);
    *f = out;
    return code;
}

static hth_code parse_close(compiler *c) {
    if (c->depth == 0) return fail_syntax(c, ") without (");
    HTH_TRY(end_alternative(c));
    group *g = &c->groups[c->depth];
    frag body = g->alts;
    group_kind kind = g->kind;
    c->icase = g->icase_outside;
    *g = (group){0};
    c->depth--;
    hth_code code = HTH_OK;
    if (kind == GROUP_ATOMIC) {
        code = wrap_atomic(c, &body);
    } else if (kind != GROUP_PLAIN) {
        code = wrap_look(c, &body, kind);
    }
    if (code == HTH_OK) return push_atom(c, &body);
    frag_free(&body);
    return code;
}

static hth_code parse_atom(compiler *c) {
    unsigned len;
    if (take(c, '|')) {
        HTH_TRY(end_alternative(c));
        c->groups[c->depth].seq = frag_empty();
        return HTH_OK;
    }
    if (take(c, '(')) return parse_open(c);
    if (take(c, ')')) return parse_close(c);
    if (take(c, '[')) return push_class(c);
    if (take(c, '\\')) return push_escape(c);
    if (take(c, '^')) return push_ins(c, (re_ins){.op = RE_LINE_BEGIN});
    if (take(c, '$')) return push_ins(c, (re_ins){.op = RE_LINE_END});
    if (take(c, '.')) {
        hth_cpset set = {0};
        hth_cpset_add(&set, '\n', '\n');
        hth_cpset_invert(&set);
        return push_set(c, &set);
    }
    uint32_t cp = hth_cp_at(c->p + c->at, c->n - c->at, &len);
    c->at += len;
    return push_char(c, cp);
}

static hth_code parse_pattern(compiler *c) {
    c->groups[0] = (group){.seq = frag_empty()};
    while (c->at < c->n) {
        bool quantified = false;
        HTH_TRY(parse_quantifiers(c, &quantified));
        if (!quantified) HTH_TRY(parse_atom(c));
    }
    if (c->depth > 0) return fail_syntax(c, "( without )");
    return end_alternative(c);
}

// ---- linking ----

static hth_code link_program(compiler *c) {
    hth_regex *re = c->re;
    frag all = frag_empty();
    hth_code code = HTH_OK;
    for (size_t i = 0; i < c->n_top && code == HTH_OK; i++) {
        frag *f = &c->tops[i];
        re->alts[i] = (re_alt){.pc = (uint32_t)all.n,
                               .first = {f->first[0], f->first[1]},
                               .first_high = f->first_high || f->nullable,
                               .nullable = f->nullable};
        code = emit_all(c, &all, f);
        if (code == HTH_OK) code = emit(c, &all, (re_ins){.op = RE_MATCH});
        for (unsigned b = 0; b < 128; b++) {
            if (f->nullable || (f->first[b >> 6] >> (b & 63) & 1)) re->by_first[b] |= (uint64_t)1 << i;
        }
        if (re->alts[i].first_high) re->by_high |= (uint64_t)1 << i;
        if (f->nullable) re->at_end |= (uint64_t)1 << i;
    }
    re->n_alt = c->n_top;
    re->ins = all.ins;
    re->n_ins = all.n;
    bool word = false;
    for (size_t i = 0; i < re->n_ins; i++) {
        re_ins *ins = &re->ins[i];
        if (ins->op == RE_SPLIT) ins->slot = (uint16_t)re->n_split++;
        if (ins->op == RE_LOOP || ins->op == RE_LOOP_POSSESSIVE) ins->slot = (uint16_t)re->n_run++;
        if (ins->op == RE_WORD_EDGE || ins->op == RE_NO_WORD_EDGE) word = true;
    }
    if (code == HTH_OK && word) {
        hth_cpset set = {0};
        hth_cpset_add_word(&set, c->u);
        hth_cpset_sort(&set);
        re->word = hth_charset_make(&set);
        hth_cpset_free(&set);
        if (!re->word) code = hth_fail_nomem(c->err, sizeof *re->word);
    }
    return code;
}

static void compiler_free(compiler *c) {
    for (size_t i = 0; i < HTH_RE_MAX_SETS; i++) hth_cpset_free(&c->set_ranges[i]);
    for (size_t i = 0; i < MAX_GROUP_DEPTH; i++) {
        frag_free(&c->groups[i].alts);
        frag_free(&c->groups[i].seq);
        frag_free(&c->groups[i].atom);
    }
    for (size_t i = 0; i < HTH_RE_MAX_ALTS; i++) frag_free(&c->tops[i]);
    hth_free(c);
}

hth_code hth_regex_compile(const char *pattern, size_t n, const hth_unicode *u, hth_regex **out,
                           hth_err *err) {
    *out = NULL;
    if (n > MAX_PATTERN)
        return hth_fail(err, HTH_ERR_LIMIT, "a regular expression of %zu bytes is too long", n);
    compiler *c = hth_calloc(HTH_MEM_TEXT, 1, sizeof *c);
    hth_regex *re = hth_calloc(HTH_MEM_TEXT, 1, sizeof *re);
    hth_code code = c && re ? HTH_OK : hth_fail_nomem(err, sizeof *c);
    if (code == HTH_OK) {
        c->p = (const uint8_t *)pattern;
        c->n = n;
        c->u = u;
        c->err = err;
        c->re = re;
        code = parse_pattern(c);
        if (code == HTH_OK) code = link_program(c);
    }
    if (c) compiler_free(c);
    if (code == HTH_OK) {
        *out = re;
    } else {
        hth_regex_free(re);
    }
    return code;
}

void hth_regex_free(hth_regex *re) {
    if (!re) return;
    for (size_t i = 0; i < re->n_set; i++) hth_free(re->sets[i]);
    hth_free(re->word);
    hth_free(re->ins);
    hth_free(re);
}
