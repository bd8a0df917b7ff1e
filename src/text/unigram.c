// Unigram language model: the division of a word into pieces with the highest sum of scores, by dynamic
// programming over its characters (SentencePiece's unigram_model.cc, "encode optimized").
#include "text/pieces.h"

#define MAX_WORD (1u << 28)

typedef struct path_node {
    double score;  // best sum up to here
    uint32_t from; // where the last piece began
    uint32_t next; // on the best path: where the piece that begins here ends
    int32_t id;    // the last piece, -1 for an unknown character
} path_node;

static void offer(path_node *node, double score, size_t from, int32_t id) {
    if (node->id == INT32_MIN || score > node->score)
        *node = (path_node){.score = score, .from = (uint32_t)from, .id = id};
}

static void fill_path(const hth_pieces *m, const hth_vocab *v, path_node *path, const uint8_t *word,
                      size_t n) {
    for (size_t i = 0; i <= n; i++) path[i].id = INT32_MIN;
    path[0] = (path_node){.id = -1};
    for (size_t i = 0; i < n;) {
        unsigned len;
        (void)hth_cp_at(word + i, n - i, &len);
        bool single = false;
        uint32_t node = 0;
        for (size_t j = i; j < n;) {
            node = hth_trie_step(&m->pieces, node, word[j++]);
            if (node == HTH_TRIE_NONE) break;
            uint32_t id = m->pieces.values[node];
            if (id == HTH_TRIE_NONE) continue;
            offer(&path[j], path[i].score + v->score[id], i, (int32_t)id);
            if (j - i == len) single = true;
        }
        if (!single) offer(&path[i + len], path[i].score + m->unk_score, i, -1);
        i += len;
    }
}

hth_code hth_unigram_encode(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                            size_t n) {
    if (n > MAX_WORD)
        return hth_fail(w->err, HTH_ERR_LIMIT, "a text of %zu bytes without a break is too long", n);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&w->path, &w->cap_path, n + 1, sizeof *w->path, MAX_WORD + 1)) {
        return hth_fail_nomem(w->err, n * sizeof *w->path);
    }
    path_node *path = w->path;
    fill_path(m, v, path, word, n);
    for (size_t at = n; at > 0; at = path[at].from) path[path[at].from].next = (uint32_t)at;
    for (size_t i = 0; i < n; i = path[i].next) {
        size_t end = path[i].next;
        if (path[end].id < 0) {
            HTH_TRY(hth_pieces_push_unknown(m, v, w, word + i, end - i));
        } else {
            w->last_unk = false;
            HTH_TRY(hth_token_push(w->out, path[end].id, w->err));
        }
    }
    return HTH_OK;
}
