// The codebooks of IQ types as integer products of generated rows look them up.
#include "kernels/levels.h"

#include "quant/grid.h"

uint32_t hth_wide_grid_iq1[2048], hth_wide_grid_iq2_xxs[256], hth_wide_grid_iq2_xs[512], hth_wide_grid_iq2_s[1024],
    hth_wide_grid_iq3_xxs[256], hth_wide_grid_iq3_s[512];

// Entries of eight codes of two bits, to a nibble each, the first four of which are the low ones.
static void widen_eights(uint32_t *out, const uint16_t *grid, int n) {
    for (int i = 0; i < n; i++) {
        const uint32_t e = grid[i];
        const uint32_t low = ((e & 255) | e << 12) & 0x000f000f, high = (e >> 8 | e >> 8 << 12) & 0x000f000f;
        out[i] = ((low | low << 6) & 0x03030303) | ((high | high << 6) & 0x03030303) << 4;
    }
}

// Entries of four codes of three bits, to a byte each.
static void widen_fours(uint32_t *out, const uint16_t *grid, int n) {
    for (int i = 0; i < n; i++) {
        const uint32_t e = grid[i], a = (e | e << 10) & 0x003f003f;
        out[i] = (a | a << 5) & 0x07070707;
    }
}

void hth_q8_widen_grids(void) {
    widen_eights(hth_wide_grid_iq1, hth_grid_iq1, HTH_COUNT(hth_grid_iq1));
    widen_eights(hth_wide_grid_iq2_xxs, hth_grid_iq2_xxs, HTH_COUNT(hth_grid_iq2_xxs));
    widen_eights(hth_wide_grid_iq2_xs, hth_grid_iq2_xs, HTH_COUNT(hth_grid_iq2_xs));
    widen_eights(hth_wide_grid_iq2_s, hth_grid_iq2_s, HTH_COUNT(hth_grid_iq2_s));
    widen_fours(hth_wide_grid_iq3_xxs, hth_grid_iq3_xxs, HTH_COUNT(hth_grid_iq3_xxs));
    widen_fours(hth_wide_grid_iq3_s, hth_grid_iq3_s, HTH_COUNT(hth_grid_iq3_s));
}
