// SentencePiece's precompiled_charsmap: u32 size of the trie, the trie (darts-clone units), the strings.
// darts-clone: unit = leaf? value : offset << 10 | extended << 9 | has_leaf << 8 | label.
#include <string.h>

#include "base/bytes.h"
#include "text/normalize.h"

#define MAX_BLOB (64u << 20)

hth_code hth_charsmap_init(hth_charsmap *map, const uint8_t *blob, size_t n, hth_err *err) {
    *map = (hth_charsmap){0};
    if (n == 0) return HTH_OK;
    if (n > MAX_BLOB) return hth_fail(err, HTH_ERR_LIMIT, "precompiled_charsmap: %zu bytes are too many", n);
    uint32_t size = n >= 4 ? hth_load_u32(blob) : 0;
    if (n < 4 || size % 4 != 0 || size < 4 || size >= n - 4) {
        return hth_fail(err, HTH_ERR_FORMAT, "precompiled_charsmap: its trie does not fit into its %zu bytes",
                        n);
    }
    map->n_unit = size / 4;
    map->n_strings = n - 4 - size;
    map->units = hth_alloc(HTH_MEM_TEXT, size);
    map->strings = hth_strndup(HTH_MEM_TEXT, (const char *)blob + 4 + size, map->n_strings);
    if (!map->units || !map->strings) {
        hth_charsmap_free(map);
        return hth_fail_nomem(err, n);
    }
    for (size_t i = 0; i < map->n_unit; i++) map->units[i] = hth_load_u32(blob + 4 + 4 * i);
    return HTH_OK;
}

void hth_charsmap_free(hth_charsmap *map) {
    hth_free(map->units);
    hth_free(map->strings);
    *map = (hth_charsmap){0};
}

static uint32_t unit_offset(uint32_t unit) {
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

size_t hth_charsmap_find(const hth_charsmap *map, const uint8_t *text, size_t n, bool longest,
                         const char **to, size_t *n_to) {
    if (map->n_unit == 0) return 0;
    size_t taken = 0;
    uint32_t value = 0;
    uint32_t at = unit_offset(map->units[0]);
    for (size_t i = 0; i < n && text[i] != 0; i++) {
        at ^= text[i];
        if (at >= map->n_unit || (map->units[at] & (1u << 31 | 0xff)) != text[i]) break;
        bool has_leaf = map->units[at] >> 8 & 1;
        at ^= unit_offset(map->units[at]);
        if (at >= map->n_unit) break;
        if (!has_leaf) continue;
        value = map->units[at] & 0x7fffffff;
        taken = i + 1;
        if (!longest) break;
    }
    if (taken == 0 || value >= map->n_strings) return 0;
    *to = map->strings + value;
    *n_to = strlen(*to); // a zero follows the last string
    return taken;
}
