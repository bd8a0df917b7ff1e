// The table of scripts that script_ranges.c holds.
#ifndef HTH_TEXT_SCRIPT_RANGES_H
#define HTH_TEXT_SCRIPT_RANGES_H

#include <stddef.h>
#include <stdint.h>

typedef struct hth_script {
    const char *name;  // lower case, without '_'
    uint16_t first, n; // in hth_script_range_table
} hth_script;

extern const uint32_t hth_script_range_table[][2];
extern const hth_script hth_scripts[];
extern const size_t hth_n_script;

#endif
