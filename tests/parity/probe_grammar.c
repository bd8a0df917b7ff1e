// Drives grammars from Python. Commands come on standard input, one line each, some followed by bytes:
//
//   V PATH              loads a tokenizer:                        ok N_VOCAB NS
//   G KIND SPACE LENIENT N\n BYTES   compiles (schema, regex, gbnf, lark, text):  ok NS N_WIDENED, then those | error CODE MSG
//   T N\n BYTES         is the text in the grammar:               1, 0 (a beginning), -POSITION - 1 of the byte refused
//   M N\n BYTES         goes through the text's tokens, a mask each:  N_TOKEN ALLOWED, then the nanoseconds of each mask
//   S SEED MOST         samples with random logits:               ended|cut N_TOKEN N_BYTES\n BYTES\n, then as for M
//   R N\n BYTES         goes through the text's tokens, behind a line break, taking what is forced:  N_TOKEN N_FORCED N_WRONG
//   F                   what is forced at the beginning:          N_TOKEN N_BYTES\n BYTES
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grammar/chart.h"
#include "grammar/grammar.h"
#include "grammar/vocab.h"

typedef struct state {
    hth_tokenizer *tokenizer;
    hth_grammar_vocab *vocab;
    hth_grammar *grammar;
    char *bytes;
    size_t n;
} state;

static unsigned long long cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
}

static bool read_bytes(state *s, size_t n) {
    free(s->bytes);
    s->bytes = malloc(n + 1);
    s->n = n;
    return s->bytes && fread(s->bytes, 1, n, stdin) == n;
}

static void load(state *s, const char *path) {
    hth_err err;
    const unsigned long long t0 = cpu_ns();
    hth_grammar_vocab_free(s->vocab);
    hth_tokenizer_free(s->tokenizer);
    s->vocab = NULL;
    s->tokenizer = NULL;
    if (hth_tokenizer_load_file(path, &s->tokenizer, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        return;
    }
    const unsigned long long t1 = cpu_ns();
    if (hth_grammar_vocab_new(s->tokenizer, &s->vocab, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        return;
    }
    (void)t0;
    printf("ok %d %llu\n", (int)hth_tokenizer_n_vocab(s->tokenizer), cpu_ns() - t1);
}

static void compile(state *s, const char *kind, int space, int lenient) {
    hth_err err = {0};
    hth_grammar_options o = {.lenient = lenient != 0, .space = (hth_grammar_space)space};
    hth_code code = HTH_ERR_RANGE;
    hth_grammar_free(s->grammar);
    s->grammar = NULL;
    const unsigned long long t0 = cpu_ns();
    if (strcmp(kind, "schema") == 0) code = hth_grammar_from_schema(s->bytes, s->n, &o, &s->grammar, &err);
    if (strcmp(kind, "regex") == 0) code = hth_grammar_from_regex(s->bytes, s->n, &o, &s->grammar, &err);
    if (strcmp(kind, "gbnf") == 0) code = hth_grammar_from_gbnf(s->bytes, s->n, &o, &s->grammar, &err);
    if (strcmp(kind, "lark") == 0) code = hth_grammar_from_lark(s->bytes, s->n, &o, &s->grammar, &err);
    if (strcmp(kind, "text") == 0) code = hth_grammar_from_text(s->bytes, s->n, &o, &s->grammar, &err);
    if (code != HTH_OK) {
        printf("error %s %s\n", hth_code_name(code), err.msg);
        return;
    }
    printf("ok %llu %zu\n", cpu_ns() - t0, hth_grammar_n_widened(s->grammar));
    for (size_t i = 0; i < hth_grammar_n_widened(s->grammar); i++) printf("%s\n", hth_grammar_widened(s->grammar, i));
}

static void test_text(state *s) {
    hth_chart c;
    hth_err err;
    if (chart_init(&c, s->grammar, 256u << 20, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        chart_free(&c);
        return;
    }
    uint32_t place = c.start;
    size_t i = 0;
    for (; i < s->n; i++) {
        const uint32_t to = chart_step(&c, place, s->grammar->class_of[(uint8_t)s->bytes[i]]);
        if (to == PLACE_NONE) break;
        place = to;
    }
    if (i < s->n) {
        printf("%lld\n", -(long long)i - 1);
    } else {
        printf("%d\n", c.places[place].accepting ? 1 : 0);
    }
    chart_free(&c);
}

static uint64_t next_random(uint64_t *x) {
    *x += 0x9e3779b97f4a7c15ull;
    uint64_t z = *x;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static size_t n_allowed(const uint32_t *mask, size_t n_word) {
    size_t n = 0;
    for (size_t i = 0; i < n_word; i++) n += (size_t)__builtin_popcount(mask[i]);
    return n;
}

// Random logits that know nothing of the tokens make every allowed one as likely as the others, at any temperature.
static int32_t sample(const uint32_t *mask, size_t n_word, uint64_t *x) {
    const size_t n = n_allowed(mask, n_word);
    size_t left = n > 0 ? (size_t)(next_random(x) % n) : 0;
    for (size_t i = 0; n > 0 && i < n_word; i++) {
        const size_t here = (size_t)__builtin_popcount(mask[i]);
        if (left >= here) {
            left -= here;
            continue;
        }
        for (int32_t bit = 0; bit < 32; bit++) {
            if ((mask[i] >> bit & 1) && left-- == 0) return (int32_t)i * 32 + bit;
        }
    }
    return -1;
}

typedef struct times {
    unsigned long long ns[100000];
    size_t n;
} times;

static times spent;

static bool timed_mask(hth_guide *g, uint32_t *mask) {
    hth_err err;
    const unsigned long long t0 = cpu_ns();
    if (hth_guide_mask(g, mask, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        return false;
    }
    if (spent.n < HTH_COUNT(spent.ns)) spent.ns[spent.n++] = cpu_ns() - t0;
    return true;
}

static void print_times(void) {
    for (size_t i = 0; i < spent.n; i++) printf("%llu%c", spent.ns[i], i + 1 < spent.n ? ' ' : '\n');
    if (spent.n == 0) printf("\n");
}

static void run(state *s, bool is_sample, uint64_t seed, size_t most) {
    hth_err err = {0};
    hth_guide *g;
    uint32_t *mask = calloc(s->vocab->n_word, sizeof *mask);
    hth_token_list list = {0};
    hth_str text;
    size_t n = 0, allowed = 0;
    bool ended = false;
    spent.n = 0;
    hth_str_init(&text, HTH_MEM_TEXT, 1u << 26);
    if (hth_guide_new(&(hth_guide_params){.grammar = s->grammar, .vocab = s->vocab}, &g, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        free(mask);
        return;
    }
    if (!is_sample && hth_tokenize(s->tokenizer, &(hth_text_segment){s->bytes, s->n, true}, 1, 0, &list, &err) != HTH_OK) list.n = 0;
    while (n < (is_sample ? most : list.n) && timed_mask(g, mask)) {
        const int32_t token = is_sample ? sample(mask, s->vocab->n_word, &seed) : list.ids[n];
        if (token < 0) break;
        allowed += n_allowed(mask, s->vocab->n_word) > 0 && (mask[token / 32] >> (token % 32) & 1);
        if (hth_guide_accept(g, token, &err) != HTH_OK) break;
        n++;
        size_t len;
        const uint8_t *p = vocab_text(s->vocab, token, &len);
        if (hth_guide_is_done(g) && len == 0) {
            ended = true;
            break;
        }
        (void)hth_str_append(&text, p, len);
    }
    if (is_sample) {
        printf("%s %zu %zu\n", ended ? "ended" : "cut", n, text.len);
        fwrite(hth_str_text(&text), 1, text.len, stdout);
        printf("\n");
    } else {
        printf("%zu %zu %d\n", list.n, allowed, hth_guide_is_accepting(g) ? 1 : 0);
    }
    print_times();
    hth_str_free(&text);
    hth_token_list_free(&list);
    hth_guide_free(g);
    free(mask);
}

// The tokens of a text as a tokenizer cuts it behind a line break.
static bool tokens_behind_line(const state *s, hth_token_list *list) {
    hth_err err;
    const hth_text_segment segments[2] = {{"\n", 1, true}, {s->bytes, s->n, true}};
    if (hth_tokenize(s->tokenizer, segments, 2, 0, list, &err) != HTH_OK) return false;
    bool is_behind = false;
    size_t first = 0, n;
    while (first < list->n && !is_behind) {
        const uint8_t *text = vocab_text(s->vocab, list->ids[first++], &n);
        is_behind = n > 0 && text[n - 1] == '\n';
    }
    list->n -= first;
    memmove(list->ids, list->ids + first, list->n * sizeof *list->ids);
    return is_behind;
}

static void compare_forced(const state *s) {
    hth_err err;
    hth_guide *g;
    hth_token_list list = {0}, run = {0};
    size_t n_forced = 0, n_wrong = 0;
    if (!tokens_behind_line(s, &list) ||
        hth_guide_new(&(hth_guide_params){.grammar = s->grammar, .vocab = s->vocab}, &g, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        return;
    }
    for (size_t i = 0; i < list.n;) {
        run.n = 0;
        if (hth_guide_forced(g, 32, &run, &err) != HTH_OK) break;
        for (size_t k = 0; k < run.n; k++) {
            if (i + k < list.n && run.ids[k] == list.ids[i + k]) continue;
            n_wrong++;
            run.n = k;
        }
        n_forced += run.n;
        const size_t n = run.n > 0 ? run.n : 1;
        for (size_t k = 0; k < n; k++) {
            if (hth_guide_accept(g, list.ids[i++], &err) == HTH_OK) continue;
            n_wrong += 1000000;
            i = list.n;
        }
    }
    printf("%zu %zu %zu\n", list.n, n_forced, n_wrong);
    hth_token_list_free(&list);
    hth_token_list_free(&run);
    hth_guide_free(g);
}

static void forced(state *s) {
    hth_err err;
    hth_guide *g;
    hth_token_list list = {0};
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 1u << 20);
    if (hth_guide_new(&(hth_guide_params){.grammar = s->grammar, .vocab = s->vocab}, &g, &err) != HTH_OK ||
        hth_guide_forced(g, 4096, &list, &err) != HTH_OK || hth_guide_forced_text(g, &text, &err) != HTH_OK) {
        printf("error %s\n", err.msg);
        return;
    }
    printf("%zu %zu\n", list.n, text.len);
    fwrite(hth_str_text(&text), 1, text.len, stdout);
    printf("\n");
    hth_str_free(&text);
    hth_token_list_free(&list);
    hth_guide_free(g);
}

int main(void) {
    state s = {0};
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char kind[16];
        int space, lenient;
        size_t n, most;
        unsigned long long seed;
        line[strcspn(line, "\n")] = 0;
        if (line[0] == 'V') {
            load(&s, line + 2);
        } else if (sscanf(line, "G %15s %d %d %zu", kind, &space, &lenient, &n) == 4 && read_bytes(&s, n)) {
            compile(&s, kind, space, lenient);
        } else if (sscanf(line, "T %zu", &n) == 1 && read_bytes(&s, n)) {
            test_text(&s);
        } else if (sscanf(line, "M %zu", &n) == 1 && read_bytes(&s, n)) {
            run(&s, false, 0, 0);
        } else if (sscanf(line, "S %llu %zu", &seed, &most) == 2) {
            run(&s, true, seed, most);
        } else if (sscanf(line, "R %zu", &n) == 1 && read_bytes(&s, n)) {
            compare_forced(&s);
        } else if (line[0] == 'F') {
            forced(&s);
        } else {
            printf("error what?\n");
        }
        fflush(stdout);
    }
    free(s.bytes);
    hth_grammar_free(s.grammar);
    hth_grammar_vocab_free(s.vocab);
    hth_tokenizer_free(s.tokenizer);
    return 0;
}
