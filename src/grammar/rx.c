// Regular expressions over bytes as trees. Constructors simplify what costs nothing to simplify.
#include <string.h>

#include "grammar/build.h"
#include "text/unicode.h"

#define MAX_NODES (1u << 22)

static g_rx add_node(g_build *b, g_rx_node node) {
    if (b->code != HTH_OK) return 0;
    if (b->n_node == 0) b->n_node = 1; // 0 is the failed node
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->nodes, &b->cap_node, b->n_node + 1, sizeof *b->nodes, MAX_NODES)) {
        return g_fail_nomem(b);
    }
    b->nodes[0] = (g_rx_node){0};
    b->nodes[b->n_node] = node;
    return (g_rx)b->n_node++;
}

g_rx g_rx_empty(g_build *b) {
    return add_node(b, (g_rx_node){.kind = RX_EMPTY});
}

g_rx g_rx_never(g_build *b) {
    return add_node(b, (g_rx_node){.kind = RX_NEVER});
}

g_rx g_rx_literal(g_build *b, const void *bytes, size_t n) {
    if (n == 0) return g_rx_empty(b);
    uint32_t at = (uint32_t)b->literals.len;
    if (b->code == HTH_OK && !hth_str_append(&b->literals, bytes, n)) return g_fail_nomem(b);
    return add_node(b, (g_rx_node){.kind = RX_LITERAL, .a = at, .b = (uint32_t)n, .weight = (uint32_t)n});
}

g_rx g_rx_text(g_build *b, const char *text) {
    return g_rx_literal(b, text, strlen(text));
}

g_rx g_rx_set(g_build *b, const g_byteset *set) {
    size_t i = 0;
    while (i < b->n_set && memcmp(&b->sets[i], set, sizeof *set) != 0) i++;
    if (i == b->n_set) {
        if (!hth_grow(HTH_MEM_TEXT, (void **)&b->sets, &b->cap_set, i + 1, sizeof *set, MAX_NODES)) return g_fail_nomem(b);
        b->sets[b->n_set++] = *set;
    }
    return add_node(b, (g_rx_node){.kind = RX_SET, .a = (uint32_t)i, .weight = 1});
}

g_rx g_rx_range(g_build *b, uint8_t first, uint8_t last) {
    g_byteset set = {0};
    for (unsigned c = first; c <= last; c++) set.bits[c >> 6] |= 1ull << (c & 63);
    return g_rx_set(b, &set);
}

static g_rx add_list(g_build *b, g_rx_kind kind, const g_rx *list, size_t n) {
    if (b->code != HTH_OK) return 0;
    uint64_t weight = kind == RX_ALT;
    for (size_t i = 0; i < n; i++) weight += g_rx_weight(b, list[i]);
    if (weight > UINT32_MAX) weight = UINT32_MAX;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->kids, &b->cap_kid, b->n_kid + n, sizeof *b->kids, MAX_NODES)) {
        return g_fail_nomem(b);
    }
    memcpy(b->kids + b->n_kid, list, n * sizeof *list);
    b->n_kid += n;
    return add_node(b, (g_rx_node){.kind = (uint8_t)kind, .a = (uint32_t)(b->n_kid - n), .b = (uint32_t)n,
                                   .weight = (uint32_t)weight});
}

g_rx g_rx_cat(g_build *b, const g_rx *list, size_t n) {
    if (n == 0) return g_rx_empty(b);
    return n == 1 ? list[0] : add_list(b, RX_CAT, list, n);
}

g_rx g_rx_cat2(g_build *b, g_rx x, g_rx y) {
    return g_rx_cat(b, (g_rx[]){x, y}, 2);
}

g_rx g_rx_cat3(g_build *b, g_rx x, g_rx y, g_rx z) {
    return g_rx_cat(b, (g_rx[]){x, y, z}, 3);
}

g_rx g_rx_alt(g_build *b, const g_rx *list, size_t n) {
    if (n == 0) return g_rx_never(b);
    if (n > b->limits.alternatives) {
        return g_fail(b, HTH_ERR_LIMIT, "%zu alternatives are more than allowed (%u)", n, b->limits.alternatives);
    }
    return n == 1 ? list[0] : add_list(b, RX_ALT, list, n);
}

g_rx g_rx_alt2(g_build *b, g_rx x, g_rx y) {
    return g_rx_alt(b, (g_rx[]){x, y}, 2);
}

g_rx g_rx_repeat(g_build *b, g_rx x, uint32_t min, uint32_t max) {
    if (b->code != HTH_OK) return 0;
    const uint32_t most = max == G_INFINITE ? min : max;
    if (most > b->limits.repetition) {
        return g_fail(b, HTH_ERR_LIMIT, "a repetition of %u times is more than allowed (%u)", most, b->limits.repetition);
    }
    if (max == 0) return g_rx_empty(b);
    if (min == 1 && max == 1) return x;
    uint64_t weight = (uint64_t)(most + 1) * (g_rx_weight(b, x) + 1);
    if (weight > UINT32_MAX) weight = UINT32_MAX;
    return add_node(b, (g_rx_node){.kind = RX_REPEAT, .a = x, .min = min, .max = max, .weight = (uint32_t)weight});
}

g_rx g_rx_star(g_build *b, g_rx x) {
    return g_rx_repeat(b, x, 0, G_INFINITE);
}

g_rx g_rx_maybe(g_build *b, g_rx x) {
    return g_rx_repeat(b, x, 0, 1);
}

g_rx g_rx_and(g_build *b, g_rx x, g_rx y) {
    return add_list(b, RX_AND, (g_rx[]){x, y}, 2);
}

static g_rx add_unary(g_build *b, g_rx_kind kind, g_rx x) {
    return add_node(b, (g_rx_node){.kind = (uint8_t)kind, .a = x, .weight = g_rx_weight(b, x) + 1});
}

g_rx g_rx_not(g_build *b, g_rx x) {
    return add_unary(b, RX_NOT, x);
}

g_rx g_rx_except(g_build *b, g_rx x, g_rx y) {
    return g_rx_and(b, x, g_rx_not(b, y));
}

g_rx g_rx_dfa(g_build *b, uint32_t dfa) {
    if (b->code != HTH_OK) return 0;
    return add_node(b, (g_rx_node){.kind = RX_DFA, .a = dfa, .weight = b->dfas[dfa].n_state});
}

g_rx g_rx_anchor(g_build *b, g_rx_kind begin_or_end) {
    return add_node(b, (g_rx_node){.kind = (uint8_t)begin_or_end});
}

g_rx g_rx_anchored(g_build *b, g_rx x) {
    return add_unary(b, RX_ANCHORED, x);
}

g_rx g_rx_char(g_build *b, uint32_t cp, g_encoding enc) {
    hth_cpset set = {0};
    hth_cpset_add(&set, cp, cp);
    g_rx x = g_rx_chars(b, &set, enc);
    hth_cpset_free(&set);
    return x;
}

g_rx g_rx_any_char(g_build *b, g_encoding enc) {
    if (b->any[enc] || b->code != HTH_OK) return b->any[enc];
    hth_cpset set = {0};
    hth_cpset_add(&set, 0, HTH_CP_END - 1);
    b->any[enc] = g_rx_chars(b, &set, enc);
    hth_cpset_free(&set);
    return b->any[enc];
}

// Whether a character inside a JSON string has one spelling that anybody uses.
static bool is_plain(uint8_t c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '/';
}

g_rx g_rx_string(g_build *b, const char *text, size_t n, g_encoding enc) {
    if (enc == ENC_UTF8) return g_rx_literal(b, text, n);
    g_rx *list = NULL;
    size_t n_list = 0, cap = 0;
    for (size_t i = 0; i < n && b->code == HTH_OK;) {
        if (!hth_grow(HTH_MEM_TEXT, (void **)&list, &cap, n_list + 1, sizeof *list, MAX_NODES)) {
            g_fail_nomem(b);
            break;
        }
        size_t k = i;
        while (enc == ENC_JSON_PLAIN && k < n && is_plain((uint8_t)text[k])) k++;
        if (k > i) {
            list[n_list++] = g_rx_literal(b, text + i, k - i);
            i = k;
        } else {
            unsigned len;
            list[n_list++] = g_rx_char(b, hth_cp_at((const uint8_t *)text + i, n - i, &len), enc);
            i += len;
        }
    }
    g_rx x = g_rx_cat(b, list, n_list);
    hth_free(list);
    return x;
}

uint32_t g_rx_weight(const g_build *b, g_rx x) {
    return x < b->n_node ? b->nodes[x].weight : 0;
}
