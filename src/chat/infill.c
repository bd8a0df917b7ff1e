// Prompts that fill in the middle. A family is a row: the spellings of its tokens, and layouts in which $ and a
// letter stand for a control token or a text of the request. Each text is tokenized by itself, as the authors do.
#include "chat/infill.h"

#include <string.h>

#include "base/attr.h"

struct hth_infill_row {
    const char *name;
    const char *spelling[5]; // prefix, suffix, middle, repository, file; NULL: none
    // $P, $S, $M, $R, $F are those tokens, $p and $s the prefix and the suffix. $x: the repository's name and the other
    // files; $h: the heading of the text, $i: the same where it stands inside the prefix.
    const char *psm, *spm; // NULL: the family was not trained on that order
    // What $x, $h and $i are: $r is the repository's name, $f a path, $t a file's text. NULL: nothing.
    const char *repo, *file, *heading, *inside;
};

// Where a family shows no form for other files, llama-server's.
#define SNIPPET "\n\n--- snippet ---\n\n$t"
#define PLAIN "$x$P$p$S$s$M"
#define NESTED "$x$P$S$s$M$p" // suffix first, as Bavarian et al. (2022) found to work best

static const hth_infill_row rows[] = {
    // Qwen2.5-Coder technical report, 3.2.2
    {.name = "qwen",
     .spelling = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"},
     .psm = "$x$h$P$p$S$s$M", .repo = "$R$r\n", .file = "$F$f\n$t\n", .heading = "$F$f\n"},
    // CodeGemma report, figures 2 and 4
    {.name = "codegemma",
     .spelling = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", NULL, "<|file_separator|>"},
     .psm = "$x$h$P$p$S$s$M", .file = "$f\n$t$F", .heading = "$f\n"},
    // Granite 3.3 and newer: StarCoder's forms, spelled otherwise
    {.name = "granite",
     .spelling = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|reponame|>", "<|filename|>"},
     .psm = "$x$P$i$p$S$s$M", .spm = "$x$P$S$s$M$i$p", .repo = "$R$r", .file = "$F$f\n$t", .inside = "$F$f\n"},
    // StarCoder 2 report, 5.1
    {.name = "starcoder2",
     .spelling = {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<repo_name>", "<file_sep>"},
     .psm = "$x$h$P$i$p$S$s$M", .spm = "$x$h$P$S$s$M$i$p", .repo = "$R$r", .file = "$F$f\n$t", .heading = "$F",
     .inside = "$f\n"},
    // StarCoder and Granite code; the metadata are the beginning of the document, which is the prefix
    {.name = "starcoder",
     .spelling = {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<reponame>", "<filename>"},
     .psm = "$x$P$i$p$S$s$M", .spm = "$x$P$S$s$M$i$p", .repo = "$R$r", .file = "$F$f\n$t", .inside = "$F$f\n"},
    {.name = "santacoder",
     .spelling = {"<fim-prefix>", "<fim-suffix>", "<fim-middle>", NULL, NULL},
     .psm = PLAIN, .spm = NESTED, .file = SNIPPET},
    // DeepSeek-Coder: files of a repository follow each other behind comments with their names
    {.name = "deepseek",
     .spelling = {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", NULL, NULL},
     .psm = "$P$x$i$p$S$s$M", .file = "#$f\n$t\n", .inside = "#$f\n"},
    // Code Llama: a space is put before the prefix, none before the suffix
    {.name = "codellama", .spelling = {"▁<PRE>", "▁<SUF>", "▁<MID>", NULL, NULL}, .psm = PLAIN, .spm = NESTED, .file = SNIPPET},
    {.name = "codellama", .spelling = {"<PRE>", "<SUF>", "<MID>", NULL, NULL}, .psm = PLAIN, .spm = NESTED, .file = SNIPPET},
    // Codestral, as mistral-common encodes it: the answer goes on where the prefix ends
    {.name = "codestral",
     .spelling = {"[PREFIX]", "[SUFFIX]", NULL, NULL, NULL},
     .spm = "$S$s$P$x$i$p", .file = "+++++ $f\n$t\n", .inside = "+++++ $f\n"},
};

// Tokens that the metadata name, or whose family has no row.
static const hth_infill_row unnamed = {.name = "other", .psm = PLAIN, .file = SNIPPET};

// ---- finding the format ----

// The token of that spelling; a piece of text that looks like one is none, unless the metadata say so.
static hth_token find_token(const hth_tokenizer *t, const char *spelling, hth_special named) {
    hth_token id = spelling ? hth_tokenizer_find(t, spelling, strlen(spelling)) : -1;
    size_t n;
    return id >= 0 && (!hth_tokenizer_bytes(t, id, &n) || id == hth_tokenizer_special(t, named)) ? id : -1;
}

static bool fits(const hth_tokenizer *t, const hth_infill_row *row, hth_infill_format *out) {
    const char *const *spelling = row->spelling;
    *out = (hth_infill_format){.name = row->name,
                               .prefix = find_token(t, spelling[0], HTH_SPECIAL_FIM_PRE),
                               .suffix = find_token(t, spelling[1], HTH_SPECIAL_FIM_SUF),
                               .middle = find_token(t, spelling[2], HTH_SPECIAL_FIM_MID),
                               .repo = find_token(t, spelling[3], HTH_SPECIAL_FIM_REPO),
                               .file = find_token(t, spelling[4], HTH_SPECIAL_FIM_SEP),
                               .row = row};
    return out->prefix >= 0 && out->suffix >= 0 && (out->middle >= 0 || !spelling[2]) && (out->file >= 0 || !spelling[4]);
}

hth_code hth_infill_find(const hth_tokenizer *t, hth_infill_format *out, hth_err *err) {
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (fits(t, &rows[i], out)) return HTH_OK;
    }
    *out = (hth_infill_format){unnamed.name, hth_tokenizer_special(t, HTH_SPECIAL_FIM_PRE),
                               hth_tokenizer_special(t, HTH_SPECIAL_FIM_SUF), hth_tokenizer_special(t, HTH_SPECIAL_FIM_MID),
                               hth_tokenizer_special(t, HTH_SPECIAL_FIM_REPO), hth_tokenizer_special(t, HTH_SPECIAL_FIM_SEP),
                               &unnamed};
    if (out->prefix >= 0 && out->suffix >= 0 && out->middle >= 0) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "the model was not made to fill in the middle: its vocabulary has no %s token",
                    out->prefix < 0 ? "prefix" : out->suffix < 0 ? "suffix" : "middle");
}

size_t hth_infill_ends(const hth_infill_format *f, hth_token out[HTH_INFILL_MAX_ENDS]) {
    const hth_token all[HTH_INFILL_MAX_ENDS] = {f->prefix, f->suffix, f->middle, f->repo, f->file};
    size_t n = 0;
    for (size_t i = 0; i < HTH_COUNT(all); i++) {
        if (all[i] >= 0) out[n++] = all[i];
    }
    return n;
}

// ---- parts ----

typedef struct part {
    hth_token_list tokens; // owned
    size_t from, n;        // what is taken of them
} part;

typedef struct builder {
    const hth_infill_format *f;
    const hth_tokenizer *t;
    const hth_infill_request *r;
    hth_err *err;
    part prefix, suffix, repo, heading, inside;
    part *files; // [r->n_file] owned
} builder;

static hth_token token_of(const hth_infill_format *f, char letter) {
    switch (letter) {
    case 'P': return f->prefix;
    case 'S': return f->suffix;
    case 'M': return f->middle;
    case 'R': return f->repo;
    case 'F': return f->file;
    default: return -1;
    }
}

static hth_code push(builder *b, hth_token_list *out, const hth_token *ids, size_t n) {
    if (n == 0) return HTH_OK;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, out->n + n, sizeof *out->ids, SIZE_MAX / 16)) {
        return hth_fail_nomem(b->err, (out->n + n) * sizeof *out->ids);
    }
    memcpy(out->ids + out->n, ids, n * sizeof *ids);
    out->n += n;
    return HTH_OK;
}

// A layout of literal bytes, control tokens, and the texts of a file.
static hth_code add_layout(builder *b, const char *layout, const hth_infill_file *file, part *out) {
    const hth_chat_text repo = b->r->repo.p ? b->r->repo : hth_chat_text_of("myproject");
    hth_text_segment s[8];
    size_t n = 0;
    for (const char *p = layout; layout && *p;) {
        size_t n_literal = strcspn(p, "$");
        if (n_literal > 0) {
            s[n++] = (hth_text_segment){p, n_literal, false};
            p += n_literal;
            continue;
        }
        hth_token id = token_of(b->f, p[1]);
        hth_chat_text text = p[1] == 'r' ? repo : p[1] == 'f' ? file->path : file->text;
        if (id >= 0) {
            HTH_TRY(hth_tokenize(b->t, s, n, 0, &out->tokens, b->err));
            HTH_TRY(push(b, &out->tokens, &id, 1));
            n = 0;
        } else {
            s[n++] = (hth_text_segment){text.p ? text.p : "", text.p ? text.n : 0, true};
        }
        p += 2;
    }
    HTH_TRY(hth_tokenize(b->t, s, n, 0, &out->tokens, b->err));
    out->n = out->tokens.n;
    return HTH_OK;
}

// A text as the authors tokenize it: with SentencePiece the suffix, which goes on in the middle of a line, gets no space
// in front. A character that merges with nothing keeps its place, and is taken away again.
static hth_code add_text(builder *b, hth_chat_text text, bool is_suffix, part *out) {
    static const hth_text_segment smile = {"\xe2\x98\xba", 3, true};
    const hth_text_segment both[] = {smile, {text.p ? text.p : "", text.p ? text.n : 0, true}};
    bool needs_smile = is_suffix && strcmp(hth_tokenizer_kind(b->t), "spm") == 0;
    hth_token_list alone = {0};
    hth_code code = needs_smile ? hth_tokenize(b->t, &smile, 1, 0, &alone, b->err) : HTH_OK;
    out->from = alone.n;
    hth_token_list_free(&alone);
    HTH_TRY(code);
    HTH_TRY(hth_tokenize(b->t, needs_smile ? both : both + 1, needs_smile ? 2 : 1, 0, &out->tokens, b->err));
    out->n = out->tokens.n - out->from;
    return HTH_OK;
}

static hth_code make_parts(builder *b) {
    const hth_infill_row *row = b->f->row;
    const hth_infill_request *r = b->r;
    hth_infill_file here = {r->path.p ? r->path : hth_chat_text_of("filename"), {NULL, 0}};
    HTH_TRY(add_text(b, r->prefix, false, &b->prefix));
    HTH_TRY(add_text(b, r->suffix, true, &b->suffix));
    b->files = hth_calloc(HTH_MEM_TEXT, r->n_file + 1, sizeof *b->files);
    if (!b->files) return hth_fail_nomem(b->err, r->n_file * sizeof *b->files);
    if (r->n_file == 0 && !r->path.p && !r->repo.p) return HTH_OK; // a single file, in the form without names
    HTH_TRY(add_layout(b, row->heading, &here, &b->heading));
    HTH_TRY(add_layout(b, row->inside, &here, &b->inside));
    HTH_TRY(add_layout(b, row->repo, &here, &b->repo));
    for (size_t i = 0; i < r->n_file; i++) {
        hth_infill_file file = r->files[i];
        if (!file.path.p) file.path = hth_chat_text_of("filename");
        HTH_TRY(add_layout(b, row->file, &file, &b->files[i]));
    }
    return HTH_OK;
}

static void free_parts(builder *b) {
    part *const all[] = {&b->prefix, &b->suffix, &b->repo, &b->heading, &b->inside};
    for (size_t i = 0; i < HTH_COUNT(all); i++) hth_token_list_free(&all[i]->tokens);
    for (size_t i = 0; b->files && i < b->r->n_file; i++) hth_token_list_free(&b->files[i].tokens);
    hth_free(b->files);
}

// ---- cutting ----

static void keep_end(part *p, size_t n) {
    if (p->n <= n) return;
    p->from += p->n - n;
    p->n = n;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static hth_code cut(builder *b, const char *layout, bool adds_bos, hth_infill_counts *counts) {
    const hth_infill_request *r = b->r;
    size_t fixed = adds_bos + b->heading.n + b->inside.n, room = r->max_all ? r->max_all : SIZE_MAX;
    for (const char *p = layout; *p; p += 2) fixed += token_of(b->f, p[1]) >= 0;
    if (fixed > room) {
        return hth_fail(b->err, HTH_ERR_LIMIT, "%zu tokens are too few for a text with a gap: the control tokens alone are %zu",
                        room, fixed);
    }
    *counts = (hth_infill_counts){.prefix = b->prefix.n, .suffix = b->suffix.n};
    room -= fixed;
    size_t for_text = least(room, r->max_text ? r->max_text : SIZE_MAX);
    keep_end(&b->prefix, for_text - least(b->suffix.n, for_text / 4));
    b->suffix.n = least(b->suffix.n, for_text - b->prefix.n);
    room -= b->prefix.n + b->suffix.n;
    for (size_t i = r->n_file + 1; i-- > 0;) { // the repository's name goes before the files
        part *p = i == r->n_file ? &b->repo : &b->files[i];
        counts->files += p->n;
        keep_end(p, p == &b->repo && p->n > room ? 0 : room);
        room -= p->n;
        counts->files_taken += p->n;
    }
    counts->prefix_taken = b->prefix.n;
    counts->suffix_taken = b->suffix.n;
    return HTH_OK;
}

// ---- the prompt ----

static hth_code push_part(builder *b, const part *p, hth_token_list *out) {
    return push(b, out, p->tokens.ids + p->from, p->n);
}

static hth_code push_letter(builder *b, char letter, hth_token_list *out) {
    hth_token id = token_of(b->f, letter);
    if (id >= 0) return push(b, out, &id, 1);
    if (letter != 'x') {
        return push_part(b, letter == 'p' ? &b->prefix : letter == 's' ? &b->suffix : letter == 'h' ? &b->heading : &b->inside,
                         out);
    }
    HTH_TRY(push_part(b, &b->repo, out));
    for (size_t i = 0; i < b->r->n_file; i++) HTH_TRY(push_part(b, &b->files[i], out));
    return HTH_OK;
}

static hth_code build(builder *b, const char *layout, hth_token_list *out, hth_infill_counts *counts) {
    hth_token bos = hth_tokenizer_adds_bos(b->t) ? hth_tokenizer_special(b->t, HTH_SPECIAL_BOS) : -1;
    HTH_TRY(make_parts(b));
    HTH_TRY(cut(b, layout, bos >= 0, counts));
    if (bos >= 0) HTH_TRY(push(b, out, &bos, 1));
    for (const char *p = layout; *p; p += 2) HTH_TRY(push_letter(b, p[1], out));
    return HTH_OK;
}

hth_code hth_infill_prompt(const hth_infill_format *f, const hth_tokenizer *t, const hth_infill_request *r,
                           hth_token_list *out, hth_infill_counts *counts, hth_err *err) {
    const char *layout = r->order == HTH_INFILL_SPM   ? f->row->spm
                         : r->order == HTH_INFILL_PSM ? f->row->psm
                         : f->row->psm                ? f->row->psm
                                                      : f->row->spm;
    if (!layout) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "models of the %s format were not trained with the %s first", f->name,
                        r->order == HTH_INFILL_SPM ? "suffix" : "prefix");
    }
    builder b = {.f = f, .t = t, .r = r, .err = err};
    hth_infill_counts unused;
    size_t n_before = out->n;
    hth_code code = build(&b, layout, out, counts ? counts : &unused);
    if (code != HTH_OK) out->n = n_before;
    free_parts(&b);
    return code;
}
