// Decides who may, by host, origin, address and key, in this order.
#include "server/access.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "os/file.h"
#include "server/access_impl.h"
#include "server/route.h"

// --- setting up ---

static hth_code read_cidrs(const hth_config_list *list, const char *what, hth_cidr_list *out, hth_err *err) {
    for (size_t i = 0; i < list->n; i++) {
        if (!hth_cidr_parse(list->items[i], &out->items[out->n++])) {
            return hth_fail(err, HTH_ERR_RANGE,
                            "%s: '%s' is no range of addresses like 192.168.0.0/16 or fd00::/8", what,
                            list->items[i]);
        }
    }
    return HTH_OK;
}

static bool listens_here_alone(const hth_config *c) {
    hth_address a;
    if (strcasecmp(c->host, "localhost") == 0) return true;
    return hth_address_parse(c->host, strlen(c->host), &a) && hth_address_is_loopback(&a);
}

// The key for a server that others reach, made on first use and then read again.
static hth_code own_key(hth_access *a, hth_str *notes, hth_err *err) {
    hth_str path, key;
    hth_str_init(&path, HTH_MEM_MISC, 4096);
    hth_str_init(&key, HTH_MEM_MISC, 256);
    hth_code code = hth_config_state_path(a->config, "api-key", &path, err);
    const bool is_new = code == HTH_OK && hth_path_kind_of(hth_str_text(&path)) == HTH_PATH_NONE;
    if (is_new) {
        code = hth_keys_make(&key, err);
        hth_str_puts(&key, " own:admin\n");
        if (code == HTH_OK) code = hth_file_write_private(hth_str_text(&path), key.p, key.len, err);
    }
    if (code == HTH_OK) code = hth_keys_read_lines(&a->keys, hth_str_text(&path), err);
    if (code == HTH_OK) {
        hth_str_printf(notes, "clients need a key, since others can reach %s: %s is in %s\n", a->config->host,
                       is_new ? "a new one" : "it", hth_str_text(&path));
    }
    if (key.p) gnutls_memset(key.p, 0, key.len);
    hth_str_free(&key);
    hth_str_free(&path);
    return code;
}

static hth_code read_keys(hth_access *a, hth_str *notes, hth_err *err) {
    const hth_config *c = a->config;
    for (size_t i = 0; i < c->api_keys.n; i++)
        HTH_TRY(hth_keys_add(&a->keys, c->api_keys.items[i], strlen(c->api_keys.items[i]), NULL, err));
    if (c->api_key_file) HTH_TRY(hth_keys_read_lines(&a->keys, c->api_key_file, err));
    const bool is_here = listens_here_alone(c), were_given = a->keys.n > 0;
    a->is_open = is_here && !were_given;
    if (a->is_open) return HTH_OK;
    hth_str path;
    hth_str_init(&path, HTH_MEM_MISC, 4096);
    hth_code code = hth_config_state_path(c, "keys.json", &path, err);
    if (code == HTH_OK) code = hth_keys_read_hashes(&a->keys, hth_str_text(&path), err);
    hth_str_free(&path);
    if (code == HTH_OK && a->keys.n == 0 && a->allow.n == 0) code = own_key(a, notes, err);
    a->needs_key = true;
    return code;
}

hth_code hth_access_new(const hth_config *c, hth_str *notes, hth_access **out, hth_err *err) {
    *out = NULL;
    hth_access *a = hth_calloc(HTH_MEM_MISC, 1, sizeof *a);
    if (!a) return hth_fail_nomem(err, sizeof *a);
    a->config = c;
    if (gethostname(a->machine, sizeof a->machine - 1) != 0) a->machine[0] = 0;
    hth_code code = read_cidrs(&c->allow_from, "--allow-from", &a->allow, err);
    if (code == HTH_OK) code = read_cidrs(&c->trusted_proxies, "--trusted-proxies", &a->proxies, err);
    if (code == HTH_OK) code = read_keys(a, notes, err);
    if (code != HTH_OK) {
        hth_access_free(a);
        return code;
    }
    *out = a;
    return HTH_OK;
}

void hth_access_free(hth_access *a) {
    if (!a) return;
    hth_keys_free(&a->keys);
    hth_free(a);
}

hth_code hth_access_new_key(const hth_config *c, const char *spec, hth_str *key, hth_err *err) {
    hth_str path;
    hth_keys keys = {0};
    hth_str_init(&path, HTH_MEM_MISC, 4096);
    hth_code code = hth_config_state_path(c, "keys.json", &path, err);
    if (code == HTH_OK) code = hth_keys_read_hashes(&keys, hth_str_text(&path), err);
    hth_str_clear(key);
    if (code == HTH_OK) code = hth_keys_make(key, err);
    if (code == HTH_OK) code = hth_keys_add(&keys, key->p, key->len, spec, err);
    for (size_t i = 0; code == HTH_OK && i + 1 < keys.n; i++) {
        if (strcmp(keys.items[i].name, keys.items[keys.n - 1].name) != 0) continue;
        code = hth_fail(err, HTH_ERR_RANGE, "there is a key called '%s' already, in %s", keys.items[i].name,
                        hth_str_text(&path));
    }
    if (code == HTH_OK) code = hth_keys_write_hashes(&keys, hth_str_text(&path), err);
    if (code != HTH_OK) hth_str_clear(key);
    hth_keys_free(&keys);
    hth_str_free(&path);
    return code;
}

// --- host and origin ---

static bool ends_with(const char *text, size_t n, const char *suffix) {
    const size_t len = strlen(suffix);
    return n >= len && strncasecmp(text + n - len, suffix, len) == 0;
}

static bool is_word(const char *text, size_t n, const char *word) {
    return strlen(word) == n && strncasecmp(text, word, n) == 0;
}

// Bytes of the name in "name:port" or "[v6]:port".
static size_t host_length(const char *host) {
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        return end ? (size_t)(end - host) + 1 : strlen(host);
    }
    return strcspn(host, ":");
}

// A page that made its own name point to this machine calls the server by that name, so a name that is not
// ours is refused. An address is no name, and cannot be made to point here.
static bool is_our_name(const hth_access *a, const char *host) {
    hth_address address;
    size_t n = host_length(host);
    if (n == 0 || hth_address_parse(host, n, &address)) return true;
    if (host[n - 1] == '.') n--;
    if (is_word(host, n, "localhost") || ends_with(host, n, ".localhost") || ends_with(host, n, ".local") ||
        ends_with(host, n, ".internal"))
        return true;
    if (is_word(host, n, a->machine) || is_word(host, n, a->config->host)) return true;
    for (size_t i = 0; i < a->config->allow_host.n; i++) {
        const char *name = a->config->allow_host.items[i];
        if (strcmp(name, "*") == 0 || is_word(host, n, name)) return true;
        if (strncmp(name, "*.", 2) == 0 && ends_with(host, n, name + 1)) return true;
    }
    return false;
}

// One * stands for anything but nothing.
static bool fits(const char *pattern, const char *origin) {
    const char *star = strchr(pattern, '*');
    const size_t n = strlen(origin);
    if (!star) return strcasecmp(pattern, origin) == 0;
    const size_t head = (size_t)(star - pattern), tail = strlen(star + 1);
    return n > head + tail && strncasecmp(pattern, origin, head) == 0 &&
           strcasecmp(star + 1, origin + n - tail) == 0;
}

// Pages of this machine and of desktop programs, as Ollama has them.
static bool is_local_origin(const char *origin) {
    static const char *const machines[] = {"localhost", "127.0.0.1", "0.0.0.0", "[::1]"};
    static const char *const programs[] = {"app://*", "file://*", "tauri://*", "vscode-webview://*",
                                           "vscode-file://*"};
    const char *host = strstr(origin, "://");
    for (size_t i = 0; i < HTH_COUNT(programs); i++) {
        if (fits(programs[i], origin)) return true;
    }
    if (!host || (strncmp(origin, "http://", 7) != 0 && strncmp(origin, "https://", 8) != 0)) return false;
    host += 3;
    const size_t n = host_length(host);
    if (host[n] != 0 && (host[n] != ':' || strspn(host + n + 1, "0123456789") != strlen(host + n + 1)))
        return false;
    for (size_t i = 0; i < HTH_COUNT(machines); i++) {
        if (is_word(host, n, machines[i])) return true;
    }
    return false;
}

// The page was served by this server.
static bool is_own_origin(const hth_access_ask *ask) {
    const char *scheme = ask->is_tls ? "https://" : "http://";
    const size_t n = strlen(scheme);
    return ask->host && strncasecmp(ask->origin, scheme, n) == 0 &&
           strcasecmp(ask->origin + n, ask->host) == 0;
}

bool hth_access_may_page(const hth_access *a, const hth_access_ask *ask) {
    const hth_config_list *given = &a->config->origins;
    if (is_local_origin(ask->origin) || is_own_origin(ask)) return true;
    for (size_t i = 0; i < given->n; i++) {
        if (strcmp(given->items[i], "*") == 0 || fits(given->items[i], ask->origin)) return true;
    }
    // As llama-server: any page may ask, since without the key it gets nothing.
    return a->config->style == HTH_CONFIG_LLAMA_SERVER && given->n == 0 && a->needs_key;
}

// --- address and key ---

static bool is_among(const hth_cidr_list *list, const hth_address *a) {
    for (size_t i = 0; i < list->n; i++) {
        if (hth_cidr_has(&list->items[i], a)) return true;
    }
    return false;
}

// The last address of X-Forwarded-For that is no proxy of ours; NULL where there is none, and `peer` then
// counts.
static const char *forwarded(const hth_access *a, const char *list, size_t *n) {
    const char *end = list + strlen(list), *found = NULL;
    while (end > list) {
        const char *p = end;
        while (p > list && p[-1] != ',') p--;
        const char *from = p, *to = end;
        while (from < to && *from == ' ') from++;
        while (to > from && to[-1] == ' ') to--;
        hth_address address;
        if (!hth_address_parse(from, (size_t)(to - from), &address)) return found;
        found = from;
        *n = (size_t)(to - from);
        if (!is_among(&a->proxies, &address)) return found;
        end = p > list ? p - 1 : list;
    }
    return found;
}

static bool client_address(const hth_access *a, const hth_access_ask *ask, hth_address *out, hth_who *who) {
    (void)snprintf(who->address, sizeof who->address, "%s", ask->peer);
    if (!hth_address_parse(ask->peer, strlen(ask->peer), out)) return false;
    if (!ask->forwarded_for || !is_among(&a->proxies, out)) return true;
    size_t n = 0;
    const char *client = forwarded(a, ask->forwarded_for, &n);
    if (!client) return true;
    (void)snprintf(who->address, sizeof who->address, "%.*s", (int)(n < 47 ? n : 47), client);
    return hth_address_parse(client, n, out);
}

// The password of "Basic dXNlcjpwYXNz", or the user where there is no password.
static hth_access_key *find_basic(hth_access *a, const char *text) {
    const gnutls_datum_t coded = {(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)};
    gnutls_datum_t plain = {0};
    if (coded.size > 4096 || gnutls_base64_decode2(&coded, &plain) < 0) return NULL;
    const char *p = (const char *)plain.data;
    size_t n = plain.size;
    const char *colon = n > 0 ? memchr(p, ':', n) : NULL;
    hth_access_key *key = NULL;
    if (colon && colon + 1 < p + n)
        key = hth_keys_find(&a->keys, colon + 1, n - (size_t)(colon + 1 - p));
    else if (n > 0)
        key = hth_keys_find(&a->keys, p, colon ? (size_t)(colon - p) : n);
    if (plain.data) gnutls_memset(plain.data, 0, plain.size);
    gnutls_free(plain.data);
    return key;
}

// The one place that looks at what may carry a key. *sent tells whether something did.
static hth_access_key *find_key(hth_access *a, const hth_access_ask *ask, bool *sent) {
    const char *p = ask->authorization;
    *sent = (p && *p) || (ask->api_key && *ask->api_key);
    if (p && strncasecmp(p, "Basic ", 6) == 0) return find_basic(a, p + 6 + strspn(p + 6, " "));
    if (p && strncasecmp(p, "Bearer ", 7) == 0) p += 7 + strspn(p + 7, " ");
    if (!p || !*p) p = ask->api_key;
    return p && *p ? hth_keys_find(&a->keys, p, strlen(p)) : NULL;
}

static bool decide_key(hth_access *a, const hth_access_ask *ask, bool is_allowed, bool sent, hth_who *who,
                       hth_fault *fault) {
    if (who->key) {
        who->name = who->key->name;
        who->scopes = who->key->scopes;
    } else if (a->is_open) {
        who->scopes = HTH_SCOPE_USE | HTH_SCOPE_ADMIN;
    } else if (is_allowed) {
        who->scopes = HTH_SCOPE_USE;
    } else if (ask->flags & HTH_ROUTE_PUBLIC) {
        return true;
    } else if (a->keys.n == 0) {
        return hth_refuse(fault, HTH_FAULT_FORBIDDEN, NULL,
                          "requests from this address are not allowed (--allow-from)");
    } else {
        return hth_refuse(
            fault, HTH_FAULT_UNAUTHORIZED, NULL,
            sent ? "Invalid API Key"
                 : "an API key is needed: send it as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"");
    }
    if ((ask->flags & HTH_ROUTE_ADMIN) && !(who->scopes & HTH_SCOPE_ADMIN)) {
        return hth_refuse(fault, HTH_FAULT_FORBIDDEN, NULL, "this needs a key of scope admin");
    }
    return true;
}

bool hth_access_decide(hth_access *a, const hth_access_ask *ask, hth_who *who, hth_fault *fault) {
    *who = (hth_who){.name = ""};
    hth_address address;
    bool sent;
    const bool has_address = client_address(a, ask, &address, who);
    who->key = find_key(a, ask, &sent);
    // A page elsewhere cannot make a browser send a key in these headers; it can with Basic.
    const bool proves_itself =
        who->key && !(ask->authorization && strncasecmp(ask->authorization, "Basic ", 6) == 0);
    if (ask->host && !proves_itself && !is_our_name(a, ask->host)) {
        return hth_refuse(fault, HTH_FAULT_FORBIDDEN, NULL,
                          "this server is not called '%.100s'; --allow-host adds a name", ask->host);
    }
    if (ask->origin && *ask->origin && !hth_access_may_page(a, ask)) {
        return hth_refuse(fault, HTH_FAULT_FORBIDDEN, NULL,
                          "pages of '%.100s' may not ask this server; --origins adds one", ask->origin);
    }
    return decide_key(a, ask, has_address && is_among(&a->allow, &address), sent, who, fault);
}
