// Special tokens that nobody named, found by the spellings that model families use, as llama.cpp does
// (llama-vocab.cpp, "auto-detect special tokens by text"), and the ends of generation.
#include <string.h>

#include "text/tok_impl.h"

typedef struct known {
    hth_special which;
    const char *spelling;
} known;

static const known named[] = {
    {HTH_SPECIAL_EOT, "<|eot_id|>"},
    {HTH_SPECIAL_EOT, "<|im_end|>"},
    {HTH_SPECIAL_EOT, "<|end|>"},
    {HTH_SPECIAL_EOT, "<end_of_turn>"},
    {HTH_SPECIAL_EOT, "<|endoftext|>"},
    {HTH_SPECIAL_EOT, "<|end_of_text|>"},
    {HTH_SPECIAL_EOT, "<EOT>"},
    {HTH_SPECIAL_EOT, "_<EOT>"},
    {HTH_SPECIAL_EOT, "▁<EOT>"},
    {HTH_SPECIAL_EOT, "[EOT]"},
    {HTH_SPECIAL_EOT, "<｜end▁of▁sentence｜>"},
    {HTH_SPECIAL_EOT, "<end_of_utterance>"},
    {HTH_SPECIAL_FIM_PRE, "<|fim_prefix|>"},
    {HTH_SPECIAL_FIM_PRE, "<fim-prefix>"},
    {HTH_SPECIAL_FIM_PRE, "<fim_prefix>"},
    {HTH_SPECIAL_FIM_PRE, "<｜fim▁begin｜>"},
    {HTH_SPECIAL_FIM_PRE, "<PRE>"},
    {HTH_SPECIAL_FIM_PRE, "▁<PRE>"},
    {HTH_SPECIAL_FIM_PRE, "<|code_prefix|>"},
    {HTH_SPECIAL_FIM_PRE, "<|prefix|>"},
    {HTH_SPECIAL_FIM_SUF, "<|fim_suffix|>"},
    {HTH_SPECIAL_FIM_SUF, "<fim-suffix>"},
    {HTH_SPECIAL_FIM_SUF, "<fim_suffix>"},
    {HTH_SPECIAL_FIM_SUF, "<｜fim▁hole｜>"},
    {HTH_SPECIAL_FIM_SUF, "<SUF>"},
    {HTH_SPECIAL_FIM_SUF, "▁<SUF>"},
    {HTH_SPECIAL_FIM_SUF, "<|code_suffix|>"},
    {HTH_SPECIAL_FIM_SUF, "<|suffix|>"},
    {HTH_SPECIAL_FIM_MID, "<|fim_middle|>"},
    {HTH_SPECIAL_FIM_MID, "<fim-middle>"},
    {HTH_SPECIAL_FIM_MID, "<fim_middle>"},
    {HTH_SPECIAL_FIM_MID, "<｜fim▁end｜>"},
    {HTH_SPECIAL_FIM_MID, "<MID>"},
    {HTH_SPECIAL_FIM_MID, "▁<MID>"},
    {HTH_SPECIAL_FIM_MID, "<|code_middle|>"},
    {HTH_SPECIAL_FIM_MID, "<|middle|>"},
    {HTH_SPECIAL_FIM_PAD, "<|fim_pad|>"},
    {HTH_SPECIAL_FIM_PAD, "<fim-pad>"},
    {HTH_SPECIAL_FIM_PAD, "<fim_pad>"},
    {HTH_SPECIAL_FIM_PAD, "<PAD>"},
    {HTH_SPECIAL_FIM_REPO, "<|fim_repo|>"},
    {HTH_SPECIAL_FIM_REPO, "<|repo_name|>"},
    {HTH_SPECIAL_FIM_REPO, "<fim-repo>"},
    {HTH_SPECIAL_FIM_REPO, "<REPO>"},
    {HTH_SPECIAL_FIM_REPO, "<reponame>"},
    {HTH_SPECIAL_FIM_SEP, "<|file_sep|>"},
};

// Added tokens that mark places in a file for models of code, besides those above: a user's text never becomes one.
static const char *const marks[] = {
    "<file_sep>", "<repo_name>", "<filename>", "<|filename|>", "<|reponame|>", "<|file_separator|>", "[PREFIX]", "[SUFFIX]",
    "[MIDDLE]",
};

static const char *const ends[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "▁<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
};

bool hth_tok_is_mark(const hth_tokenizer *t, int32_t id) {
    for (int i = HTH_SPECIAL_FIM_PRE; i <= HTH_SPECIAL_FIM_SEP; i++) {
        if (t->special[i] == id) return true;
    }
    for (size_t i = 0; i < HTH_COUNT(marks); i++) {
        if (hth_vocab_find(&t->vocab, marks[i], strlen(marks[i])) == id) return true;
    }
    return false;
}

static int32_t find(const hth_tokenizer *t, const char *spelling) {
    return hth_vocab_find(&t->vocab, spelling, strlen(spelling));
}

// Only tokens that the vocabulary holds as special ones can be ends: a vocabulary may spell "<s>" in pieces.
static bool is_special(const hth_tokenizer *t, int32_t id) {
    return id >= 0 && (t->vocab.e[id].flags & (TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN)) != 0;
}

static void mark_end(hth_tokenizer *t, int32_t id) {
    if (id >= 0) t->vocab.e[id].flags |= TOK_END;
}

static void unmark_end(hth_tokenizer *t, int32_t id) {
    if (id >= 0) t->vocab.e[id].flags &= (uint8_t)~TOK_END;
}

void hth_tok_find_known(hth_tokenizer *t) {
    for (size_t i = 0; i < HTH_COUNT(named); i++) {
        int32_t *slot = &t->special[named[i].which];
        int32_t id = *slot < 0 ? find(t, named[i].spelling) : -1;
        if (is_special(t, id)) *slot = id;
    }
    for (size_t i = 0; i < HTH_COUNT(ends); i++) {
        int32_t id = find(t, ends[i]);
        if (is_special(t, id)) mark_end(t, id);
    }
    mark_end(t, t->special[HTH_SPECIAL_EOS]);
    mark_end(t, t->special[HTH_SPECIAL_EOT]);
    mark_end(t, t->special[HTH_SPECIAL_FIM_PAD]);
    mark_end(t, t->special[HTH_SPECIAL_FIM_REPO]);
    mark_end(t, t->special[HTH_SPECIAL_FIM_SEP]);
    // Harmony and Solar: <|end|> closes a message, not the answer.
    bool has_call = find(t, "<|call|>") >= 0 || find(t, "<|calls|>") >= 0;
    if (has_call && (find(t, "<|return|>") >= 0 || find(t, "<|flush|>") >= 0)) {
        int32_t end = find(t, "<|end|>");
        unmark_end(t, end);
        if (end >= 0 && t->special[HTH_SPECIAL_EOT] == end) t->special[HTH_SPECIAL_EOT] = -1;
    }
    // Gemma 4 and PLaMo have an ordinary </s>.
    if ((find(t, "<|tool_response>") >= 0 || find(t, "<|plamo:eos|>") >= 0) &&
        t->special[HTH_SPECIAL_EOS] != find(t, "</s>")) {
        unmark_end(t, find(t, "</s>"));
    }
}
