// What is cached, as a file that a user asked for, and back (prefix_file.h).
#include <string.h>

#include "engine/prefix_file.h"

// Writes the rows of `state`, which the text's first tokens have made.
static hth_code write_rows(const hth_prefix *c, const prefix_key *key, const hth_prefix_text *text, const hth_state *state,
                           const char *path, hth_err *err) {
    prefix_file f = {.end = (size_t)hth_state_len(state)};
    hth_str head;
    hth_str_init(&head, HTH_MEM_ENGINE, UINT32_MAX);
    prefix_file_put_head(&head, prefix_file_model(&c->p), &f, key, text->tokens);
    const hth_code code = head.failed ? hth_fail_nomem(err, head.len) : prefix_file_write(path, &head, state, 0, err);
    hth_str_free(&head);
    return code;
}

hth_code hth_prefix_save(hth_prefix *c, const hth_prefix_text *text, const char *path, int64_t *n, hth_err *err) {
    prefix_key key;
    hth_prefix_hit hit;
    *n = 0;
    HTH_TRY(hth_prefix_fetch(c, text, (int64_t)text->n, err));
    HTH_TRY(hth_prefix_find(c, text, (int64_t)text->n, &hit, err));
    if (!hit.state) return hth_fail(err, HTH_ERR_NOTFOUND, "nothing of these %zu tokens is cached", text->n);
    hth_code code = prefix_key_make(c->p.tokenizer, text, &key, err);
    if (code == HTH_OK) {
        code = write_rows(c, &key, text, hit.state, path, err);
        prefix_key_free(&key);
    }
    if (code == HTH_OK) *n = hit.n;
    hth_state_free(hit.state);
    return code;
}

// The text of a file must be one of this domain, and mean the same here.
static hth_code check_key(const hth_prefix *c, const hth_prefix_text *text, const prefix_entry *e, const char *path, hth_err *err) {
    prefix_key key;
    HTH_TRY(prefix_key_make(c->p.tokenizer, text, &key, err));
    const bool is_same = key.n_head == e->key.n_head && key.n_bytes == e->key.n_bytes && memcmp(key.bytes, e->key.bytes, key.n_bytes) == 0;
    prefix_key_free(&key);
    if (is_same) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s: saved with other adapters, another salt or another tokenizer", path);
}

static hth_code take(hth_prefix *c, const prefix_file *f, hth_file_in *in, const prefix_entry *e, const hth_prefix_text *domain,
                     const char *path, hth_err *err) {
    hth_state *state;
    const hth_prefix_text text = {.domain = domain->domain, .n_domain = domain->n_domain, .tokens = e->tokens, .n = f->end};
    for (size_t i = 0; i < text.n; i++) {
        if (text.tokens[i] < 0) return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s: holds rows that are no tokens", path);
    }
    HTH_TRY(check_key(c, &text, e, path, err));
    HTH_TRY(hth_state_new(c->p.executor, c->p.model, &c->p.state, &state, err));
    hth_code code = prefix_file_read_rows(in, state, err);
    if (code != HTH_OK) {
        hth_state_free(state);
        return code;
    }
    return hth_prefix_put(c, &text, state, err); // which refuses other rows than tokens
}

hth_code hth_prefix_restore(hth_prefix *c, const hth_prefix_text *domain, const char *path, int64_t *n, hth_err *err) {
    hth_file_in *in;
    uint8_t *head;
    prefix_file f;
    *n = 0;
    HTH_TRY(prefix_file_open(path, prefix_file_model(&c->p), (uint64_t)c->p.state.n_ctx, &in, &head, &f, err));
    prefix_entry *e = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *e);
    hth_code code = e ? HTH_OK : hth_fail_nomem(err, sizeof *e);
    if (code == HTH_OK && (f.parent_id != 0 || f.first != 0)) {
        code = hth_fail(err, HTH_ERR_FORMAT, "%s: continues another file", path);
    }
    if (code == HTH_OK) code = prefix_file_take_key(&f, NULL, head, c->p.model->desc.n_vocab, e, err);
    if (code == HTH_OK) code = take(c, &f, in, e, domain, path, err);
    if (code == HTH_OK) *n = (int64_t)f.end;
    prefix_entry_free(c, e);
    hth_free(head);
    hth_file_in_close(in);
    return code;
}
