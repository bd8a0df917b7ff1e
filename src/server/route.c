// Finding the row for a path. Paths are cut at slashes as they were sent and unescaped afterwards.
#include "server/route.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "server/dialects.h"

const hth_route *const hth_route_tables[] = {hth_server_routes, hth_anthropic_routes, hth_ollama_routes,
                                              hth_llama_routes,  hth_openai_routes,    hth_responses_routes, NULL};

// Whose words a path is refused in, by how it begins; the first that fits.
static const struct {
    const char *prefix;
    const hth_dialect *dialect;
} owners[] = {
    {"/api/", &hth_ollama},
    {"/v1/messages", &hth_anthropic},
    {"/", &hth_openai},
};

// ---- patterns

// Whether `path` fits; captures go to captures [HTH_MAX_CAPTURES] as (begin, length).
typedef struct piece {
    const char *p;
    size_t n;
} piece;

static bool fits(const char *pattern, const char *path, piece *captures) {
    size_t n_capture = 0;
    while (*pattern == '/' && *path == '/') {
        pattern++;
        path++;
        const size_t n_pattern = strcspn(pattern, "/"), n_path = strcspn(path, "/");
        const bool is_capture = pattern[0] == '{';
        const bool is_rest = is_capture && n_pattern > 4 && memcmp(pattern + n_pattern - 4, "...}", 4) == 0;
        if (is_capture) {
            captures[n_capture] = (piece){path, is_rest ? strlen(path) : n_path};
            if (captures[n_capture++].n == 0) return false;
            if (is_rest) return true;
        } else if (n_pattern != n_path || memcmp(pattern, path, n_path) != 0) {
            return false;
        }
        pattern += n_pattern;
        path += n_path;
    }
    return *pattern == 0 && *path == 0;
}

// ---- paths

// Without what clients put before it twice; NULL: nothing of the kind.
static const char *without_doubled_prefix(const char *path) {
    static const char *const doubled[] = {"/v1/v1/",  "/api/api/",   "/api/v1/",
                                          "/ollama/", "/openai/v1/", "/v1/api/"};
    static const size_t n_kept[] = {3, 4, 4, 7, 7, 3}; // what goes
    for (size_t i = 0; i < HTH_COUNT(doubled); i++) {
        if (strncmp(path, doubled[i], strlen(doubled[i])) == 0) return path + n_kept[i];
    }
    return NULL;
}

// A slash at the end says nothing.
static const char *normal_path(hth_exchange *x, const char *path) {
    const size_t n = strlen(path);
    if (n < 2 || path[n - 1] != '/') return path;
    const char *own = hth_arena_strndup(hth_exchange_arena(x), path, n - 1);
    return own ? own : path;
}

static bool take_captures(hth_exchange *x, const piece *captures, hth_match *m, hth_fault *fault) {
    for (int i = 0; i < HTH_MAX_CAPTURES && captures[i].p; i++) {
        m->captures[i] = hth_exchange_unescape(x, captures[i].p, captures[i].n);
        if (!m->captures[i])
            return hth_refuse(fault, HTH_FAULT_BAD_REQUEST, NULL, "the address has a broken %% escape");
    }
    return true;
}

static void list_methods(uint32_t methods, char *out, size_t size) {
    static const char *const names[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < HTH_COUNT(names) && n < size; i++) {
        if (methods >> i & 1) n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", names[i]);
    }
}

// One round through the tables; *methods collects those of rows that would fit with another one.
static const hth_route *search(hth_exchange *x, const char *path, hth_match *m, uint32_t *methods,
                               hth_fault *fault) {
    hth_method method = hth_exchange_method(x);
    for (const hth_route *const *t = hth_route_tables; *t; t++) {
        for (const hth_route *r = *t; r->pattern; r++) {
            piece captures[HTH_MAX_CAPTURES] = {{0}};
            if (!fits(r->pattern, path, captures) || (r->when && !r->when(x))) continue;
            const bool is_head = method == HTH_HEAD && (r->methods & HTH_GET);
            *methods |= r->methods;
            if (!(r->methods & method) && !is_head) continue;
            return take_captures(x, captures, m, fault) ? r : NULL;
        }
    }
    return NULL;
}

const hth_route *hth_route_find(hth_exchange *x, const char *sent, hth_match *m, hth_fault *fault) {
    hth_match unread;
    uint32_t methods = 0;
    const char *path = normal_path(x, sent);
    if (!m) m = &unread;
    *m = (hth_match){0};
    for (const char *p = path; p; p = without_doubled_prefix(p)) {
        const hth_route *r = search(x, p, m, &methods, fault);
        if (r || fault->kind != HTH_FAULT_NONE) return r;
    }
    if (methods == 0) {
        (void)hth_refuse(fault, HTH_FAULT_NOT_FOUND, NULL, "there is nothing at %.200s", path);
    } else {
        char names[64];
        list_methods(methods, names, sizeof names);
        hth_reply_header(x, "Allow", names);
        (void)hth_refuse(fault, HTH_FAULT_METHOD, NULL, "%.200s takes %s", path, names);
    }
    return NULL;
}

const hth_dialect *hth_route_dialect(const char *path) {
    for (size_t i = 0; i < HTH_COUNT(owners); i++) {
        if (strncmp(path, owners[i].prefix, strlen(owners[i].prefix)) == 0) return owners[i].dialect;
    }
    return &hth_openai;
}
