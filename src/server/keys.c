// The list of keys, in memory and as files.
#include "server/keys.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "os/file.h"

#define MAX_FILE_BYTES ((uint64_t)1 << 20)

void hth_keys_free(hth_keys *k) {
    hth_free(k->items);
    *k = (hth_keys){0};
}

static hth_code hash_key(const char *key, size_t n, uint8_t sha256[32], hth_err *err) {
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, key, n, sha256) < 0)
        return hth_fail(err, HTH_ERR_INTERNAL, "SHA-256 is not available");
    return HTH_OK;
}

static hth_code parse_scopes(const char *word, size_t n, uint32_t *scopes, hth_err *err) {
    if (n == 3 && memcmp(word, "use", 3) == 0)
        *scopes = HTH_SCOPE_USE;
    else if (n == 5 && memcmp(word, "admin", 5) == 0)
        *scopes = HTH_SCOPE_USE | HTH_SCOPE_ADMIN;
    else
        return hth_fail(err, HTH_ERR_RANGE, "a key is for use or admin, not for '%.*s'",
                        (int)(n < 40 ? n : 40), word);
    return HTH_OK;
}

// "NAME[:use|admin[:N]]"
static hth_code parse_spec(const char *spec, hth_access_key *key, hth_err *err) {
    const size_t n_name = strcspn(spec, ":");
    if (n_name == 0 || n_name >= sizeof key->name) {
        return hth_fail(err, HTH_ERR_RANGE, "the name of a key has 1 to %zu bytes: '%.80s'",
                        sizeof key->name - 1, spec);
    }
    memcpy(key->name, spec, n_name);
    key->name[n_name] = 0;
    for (const char *p = key->name; *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == '"')
            return hth_fail(err, HTH_ERR_RANGE, "the name of a key has no spaces or quotes: '%.80s'", spec);
    }
    key->scopes = HTH_SCOPE_USE;
    if (!spec[n_name]) return HTH_OK;
    const char *word = spec + n_name + 1;
    const size_t n_word = strcspn(word, ":");
    HTH_TRY(parse_scopes(word, n_word, &key->scopes, err));
    if (!word[n_word]) return HTH_OK;
    char *end;
    const char *digits = word + n_word + 1;
    const unsigned long limit = strtoul(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || limit > 1000000) {
        return hth_fail(err, HTH_ERR_RANGE,
                        "a key's limit of requests at once must be a number up to 1000000, not '%.40s'",
                        digits);
    }
    key->limit = (uint32_t)limit;
    return HTH_OK;
}

static hth_code add(hth_keys *k, const hth_access_key *key, hth_err *err) {
    if (k->n == HTH_MAX_KEYS)
        return hth_fail(err, HTH_ERR_LIMIT, "there are more than %d keys", HTH_MAX_KEYS);
    if (!hth_grow(HTH_MEM_MISC, (void **)&k->items, &k->cap, k->n + 1, sizeof *key, HTH_MAX_KEYS)) {
        return hth_fail_nomem(err, sizeof *key);
    }
    k->items[k->n++] = *key;
    return HTH_OK;
}

hth_code hth_keys_add(hth_keys *k, const char *key, size_t n, const char *spec, hth_err *err) {
    hth_access_key new = {.scopes = HTH_SCOPE_USE | HTH_SCOPE_ADMIN};
    (void)snprintf(new.name, sizeof new.name, "key%zu", k->n + 1);
    if (spec) HTH_TRY(parse_spec(spec, &new, err));
    HTH_TRY(hash_key(key, n, new.sha256, err));
    return add(k, &new, err);
}

static hth_code read_line(hth_keys *k, const char *line, size_t n, hth_err *err) {
    char spec[128];
    while (n > 0 && strchr(" \t\r", *line)) line++, n--;
    while (n > 0 && strchr(" \t\r", line[n - 1])) n--;
    if (n == 0 || *line == '#') return HTH_OK;
    size_t n_key = 0;
    while (n_key < n && line[n_key] != ' ' && line[n_key] != '\t') n_key++;
    size_t at = n_key;
    while (at < n && (line[at] == ' ' || line[at] == '\t')) at++;
    if (n - at >= sizeof spec) return hth_fail(err, HTH_ERR_RANGE, "what follows a key is too long");
    memcpy(spec, line + at, n - at);
    spec[n - at] = 0;
    return hth_keys_add(k, line, n_key, *spec ? spec : NULL, err);
}

hth_code hth_keys_read_lines(hth_keys *k, const char *path, hth_err *err) {
    char *text;
    size_t n;
    HTH_TRY(hth_file_read(path, HTH_MEM_MISC, MAX_FILE_BYTES, &text, &n, err));
    hth_code code = HTH_OK;
    for (size_t at = 0; code == HTH_OK && at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t len = end ? (size_t)(end - text) - at : n - at;
        code = read_line(k, text + at, len, err);
        at += len + 1;
    }
    gnutls_memset(text, 0, n);
    hth_free(text);
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

static hth_code read_hash(hth_keys *k, const hth_json *v, hth_err *err) {
    hth_access_key key = {0};
    const char *hex = hth_json_str(v, "sha256", "", NULL), *scope = hth_json_str(v, "scope", "use", NULL);
    size_t n = sizeof key.sha256;
    const gnutls_datum_t text = {(unsigned char *)(uintptr_t)hex, (unsigned)strlen(hex)};
    if (text.size != 64 || gnutls_hex_decode(&text, key.sha256, &n) < 0 || n != sizeof key.sha256) {
        return hth_fail_at(err, HTH_ERR_FORMAT, v->pos, "a key's \"sha256\" must be 64 hexadecimal digits");
    }
    (void)snprintf(key.name, sizeof key.name, "%s", hth_json_str(v, "name", "", NULL));
    HTH_TRY(parse_scopes(scope, strlen(scope), &key.scopes, err));
    const int64_t limit = hth_json_int(v, "limit", 0, NULL);
    key.limit = limit > 0 && limit <= 1000000 ? (uint32_t)limit : 0;
    return add(k, &key, err);
}

hth_code hth_keys_read_hashes(hth_keys *k, const char *path, hth_err *err) {
    char *text;
    size_t n;
    hth_json_doc *doc = NULL;
    if (hth_path_kind_of(path) == HTH_PATH_NONE) return HTH_OK;
    HTH_TRY(hth_file_read(path, HTH_MEM_MISC, MAX_FILE_BYTES, &text, &n, err));
    hth_code code = hth_json_parse(text, n, 8 * MAX_FILE_BYTES, &doc, err);
    hth_free(text);
    if (code == HTH_OK) {
        const hth_json *keys = hth_json_get(hth_json_root(doc), "keys");
        if (!keys || keys->kind != HTH_JSON_ARRAY)
            code = hth_fail(err, HTH_ERR_FORMAT, "there is no list \"keys\"");
        for (uint32_t i = 0; code == HTH_OK && i < keys->n; i++) code = read_hash(k, &keys->u.items[i], err);
        hth_json_free(doc);
    }
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

hth_code hth_keys_write_hashes(const hth_keys *k, const char *path, hth_err *err) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, MAX_FILE_BYTES);
    hth_json_out j = hth_json_out_make(&text, true);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_begin(&j, "keys", '[');
    for (size_t i = 0; i < k->n; i++) {
        const hth_access_key *key = &k->items[i];
        char hex[65];
        for (int b = 0; b < 32; b++) (void)snprintf(hex + 2 * b, 3, "%02x", key->sha256[b]);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_text(&j, "name", key->name);
        hth_json_out_text(&j, "sha256", hex);
        hth_json_out_text(&j, "scope", key->scopes & HTH_SCOPE_ADMIN ? "admin" : "use");
        hth_json_out_int(&j, "limit", key->limit);
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    hth_code code =
        text.failed ? hth_fail_nomem(err, text.max) : hth_file_write_private(path, text.p, text.len, err);
    hth_str_free(&text);
    return code;
}

hth_code hth_keys_make(hth_str *to, hth_err *err) {
    uint8_t random[32];
    if (gnutls_rnd(GNUTLS_RND_KEY, random, sizeof random) < 0)
        return hth_fail(err, HTH_ERR_INTERNAL, "there are no random numbers");
    hth_str_puts(to, "hth-");
    for (size_t i = 0; i < sizeof random; i++) hth_str_printf(to, "%02x", random[i]);
    gnutls_memset(random, 0, sizeof random);
    return to->failed ? hth_fail_nomem(err, to->max) : HTH_OK;
}

hth_access_key *hth_keys_find(hth_keys *k, const char *key, size_t n) {
    uint8_t sha256[32];
    hth_err ignored;
    hth_access_key *found = NULL;
    if (hash_key(key, n, sha256, &ignored) != HTH_OK) return NULL;
    for (size_t i = 0; i < k->n; i++) { // all of them: the time says nothing about which
        if (gnutls_memcmp(k->items[i].sha256, sha256, sizeof sha256) == 0) found = &k->items[i];
    }
    return found;
}
