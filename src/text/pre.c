// The pre-tokenizers that GGUF files name. The expressions are those of the models' own tokenizer.json
// where that is known, else llama.cpp's; names and flags follow llama-vocab.cpp.
#include <string.h>

#include "text/tok_impl.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CONTRACTION_CASES "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORDS CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
#define LLAMA3 WORDS "\\p{N}{1,3}|" SYMBOLS TAIL
#define QWEN2 WORDS "\\p{N}|" SYMBOLS TAIL
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(after) "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" after \
    "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" after "|"
#define SYMBOLS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|"
#define GPT4O CASED(CONTRACTIONS "?") "\\p{N}{1,3}|" SYMBOLS_SLASH TAIL
#define HAN_LESS(cats) "[" cats "&&[^\\p{Han}]]"
#define KIMI_UPPER HAN_LESS("\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}")
#define KIMI_LOWER HAN_LESS("\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}")
#define KIMI "[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "*" KIMI_LOWER "+" CONTRACTIONS "?|" \
    "[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "+" KIMI_LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}|" SYMBOLS TAIL
#define ASCII_PUNCT "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define DEEPSEEK3(newlines) ASCII_PUNCT "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
    "| ?[\\p{P}\\p{S}]+" newlines
#define CJK_KANA \
    "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define DEEPSEEK_CJK \
    "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define DEEPSEEK_PUNCT \
    "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+"
#define DEEPSEEK_LETTERS \
    "\\s?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}" \
    "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-" \
    "\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-" \
    "\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-" \
    "\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-" \
    "\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}" \
    "\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-" \
    "\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-" \
    "\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}" \
    "\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}" \
    "\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}" \
    "\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-" \
    "\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-" \
    "\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}" \
    "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+"
#define BLOOM \
    " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define AFMOE_CJK \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}" \
    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}" \
    "\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+"
#define YOUTU_CJK \
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}" \
    "\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+" \
    "|[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define JAIS2_TAIL "\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|" \
    "\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"

enum {
    PRE_WHOLE = 1,     // a word that is a token stays whole
    PRE_BOS = 2,       // BOS is added unless the file says otherwise
    PRE_CHARS = 4,     // symbols are characters; unknown ones become byte tokens
    PRE_ESCAPE = 8,    // spaces become U+2581
    PRE_NEWLINES = 16, // runs of newlines that are tokens stay whole
    PRE_THREES = 32,   // first of all, numbers into groups of three from the right
    PRE_NO_BOS = 64,   // no default BOS id
};

typedef struct pre_entry {
    const char *names; // separated and enclosed by spaces
    unsigned flags;
    const char *steps[7];
} pre_entry;

static const pre_entry entries[] = {
    {" default ", 0, {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {" llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ", PRE_WHOLE | PRE_BOS,
     {LLAMA3}},
    {" dbrx smaug-bpe ", 0, {LLAMA3}},
    {" chatglm-bpe ", PRE_NO_BOS, {LLAMA3}},
    {" glm4 glm5 ", PRE_NO_BOS | PRE_WHOLE, {LLAMA3}},
    {" jais-2 ", 0, {WORDS "\\p{N}{1,3}|" SYMBOLS JAIS2_TAIL}},
    {" deepseek-llm ", 0, {"[\\r\\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCT, "\\s+$", DEEPSEEK_CJK, "\\p{N}+"}},
    {" deepseek-coder ", 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {" deepseek-v3 hunyuan-dense joyai-llm hy_v4 ", 0,
     {"\\p{N}{1,3}", CJK_KANA, DEEPSEEK3("[\\r\\n]*|") TAIL}},
    {" spark2_5 ", 0, {"\\p{N}{1,3}", CJK_KANA, DEEPSEEK3("|") "[\\r\\n]|\\s+(?!\\S)|\\s+", "\\p{N}"}},
    {" youtu ", PRE_WHOLE, {YOUTU_CJK, CASED(CONTRACTION_CASES "?") "\\p{N}|" SYMBOLS_SLASH TAIL}},
    {" falcon ", 0, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {" starcoder refact command-r smollm codeshell exaone minerva-7b mellum2 ", 0, {"\\p{N}", GPT2}},
    {" gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en "
     "jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling exaone4 ", 0, {GPT2}},
    {" qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 ", 0, {QWEN2}},
    {" qwen35 ", 0,
     {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
      " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL}},
    {" poro-chat bloom gpt3-finnish ", 0, {BLOOM}},
    {" viking ", 0, {BLOOM, "\\p{N}"}},
    {" tekken ", PRE_WHOLE | PRE_BOS, {CASED("") "\\p{N}|" SYMBOLS_SLASH TAIL}},
    {" chameleon ", PRE_BOS,
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
    {" gpt-4o llama4 kanana2 talkie minimax-m2 ", 0, {GPT4O}},
    {" granite-embed-multi-97m ", PRE_WHOLE, {GPT4O}},
    {" tiny_aya cohere2moe ", 0, {"\\d{1,3}(?=(?:\\d{3})*\\b)", GPT4O}},
    {" kimi-k2 ", 0, {KIMI}},
    {" superbpe ", 0, {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}},
    {" bailingmoe bailingmoe2 llada-moe ", 0,
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}|"
      " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {" seed-coder ", 0, {WORDS "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" TAIL}},
    {" ufakzeka ", 0, {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" SYMBOLS TAIL}},
    {" afmoe ", PRE_THREES, {AFMOE_CJK, DEEPSEEK3("[\\r\\n]*|") TAIL}},
    {" laguna ", 0, {"[^\\n]+|[\\n]+", QWEN2}},
    {" exaone-moe ", 0, {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|"
                         " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {" gemma4 granite-embed-multi-311m ", PRE_CHARS | PRE_ESCAPE | PRE_NEWLINES | PRE_BOS,
     {"[^\\n]+|[\\n]+"}},
    {" sarvam-moe ", PRE_CHARS | PRE_ESCAPE, {"[^\\n]+|[\\n]+"}},
    {" minicpm5 ", PRE_WHOLE, {"\\p{N}{1,3}", WORDS "\\p{N}+|" SYMBOLS TAIL}},
    {" whitespace ", PRE_CHARS, {NULL}},
};

static const pre_entry *find_entry(const char *name) {
    char key[sizeof((hth_tokenizer *)0)->pre + 2];
    size_t n = strlen(name);
    if (n == 0 || n + 3 > sizeof key || strchr(name, ' ')) return NULL;
    key[0] = ' ';
    memcpy(key + 1, name, n);
    memcpy(key + 1 + n, " ", 2);
    for (size_t i = 0; i < HTH_COUNT(entries); i++) {
        if (strstr(entries[i].names, key)) return &entries[i];
    }
    return NULL;
}

hth_code hth_tok_apply_pre(hth_tokenizer *t, const char *name, bool *known, hth_err *err) {
    const pre_entry *e = find_entry(name);
    *known = e != NULL;
    if (!e) return HTH_OK;
    memcpy(t->pre, name, strlen(name) + 1);
    t->model.byte_level = !(e->flags & PRE_CHARS);
    t->model.byte_fallback = t->model.fallback_bytes_drop = (e->flags & PRE_CHARS) != 0;
    t->model.whole_first = (e->flags & PRE_WHOLE) != 0;
    t->model.whole_newlines = (e->flags & PRE_NEWLINES) != 0;
    t->adds_bos = (e->flags & PRE_BOS) != 0;
    if (e->flags & PRE_NO_BOS) t->special[HTH_SPECIAL_BOS] = -1;
    if (e->flags & PRE_ESCAPE) HTH_TRY(hth_tok_add_replace(t, " ", "\xe2\x96\x81", err));
    t->detok = e->flags & PRE_ESCAPE ? DETOK_SPM : DETOK_BYTES;
    if (strcmp(name, "whitespace") == 0) return hth_tok_add_regex(t, "\\s", 2, SPLIT_REMOVED, false, err);
    split_step *threes = NULL;
    if (e->flags & PRE_THREES) HTH_TRY(hth_tok_add_split(t, SPLIT_THREES, &threes, err));
    for (size_t i = 0; i < HTH_COUNT(e->steps) && e->steps[i]; i++) {
        HTH_TRY(hth_tok_add_regex(t, e->steps[i], strlen(e->steps[i]), SPLIT_ISOLATED, false, err));
    }
    return HTH_OK;
}
