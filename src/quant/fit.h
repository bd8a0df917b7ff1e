// Private to src/quant: finding steps and codes for reference quantizers, by trying a few steps around
// the obvious one and solving weighted least squares for each.
#ifndef HTH_QUANT_FIT_H
#define HTH_QUANT_FIT_H

#include <stdint.h>

enum { HTH_FIT_SUPER = 256, HTH_FIT_MAX_GROUPS = 16 };

// Levels that codes can stand for: whole numbers from lo to hi, all of them or those that nearest()
// picks; `spread` is how far from lo the extreme number of a group is tried.
typedef struct hth_fit_levels {
    int lo, hi;
    float spread;
    int (*nearest)(float v, int lo, int hi);
} hth_fit_levels;

// Whole numbers lo..hi.
hth_fit_levels hth_fit_whole(int lo, int hi);
// The levels of iq4_nl.
hth_fit_levels hth_fit_iq4(void);
// Index of a level of iq4_nl.
int hth_iq4_index(int level);

// What an error in each number costs: more for large ones, times importance (may be NULL).
void hth_fit_weights(const float *x, const float *importance, int n, float *weight);

// x[i] ~ step * level[i]; returns the step, which may be negative.
float hth_fit_signed(const float *x, const float *weight, int n, hth_fit_levels levels, int8_t *level);

// x[i] ~ step * code[i] - *min with code 0..max, step and *min not negative; returns the step.
float hth_fit_affine(const float *x, const float *weight, int n, int max, uint8_t *code, float *min);

// 256 numbers in groups: x ~ d * scale[group] * level. d is already rounded to f16.
typedef struct hth_fit_super_signed {
    float d;
    int8_t scale[HTH_FIT_MAX_GROUPS];
    int8_t level[HTH_FIT_SUPER];
} hth_fit_super_signed;

void hth_fit_signed_super(const float *x, const float *importance, int group, hth_fit_levels levels,
                          int scale_lo, int scale_hi, hth_fit_super_signed *out);

// 256 numbers in groups: x ~ d * scale[group] * code - dmin * min[group]. d and dmin are already
// rounded to f16.
typedef struct hth_fit_super_affine {
    float d, dmin;
    uint8_t scale[HTH_FIT_MAX_GROUPS], min[HTH_FIT_MAX_GROUPS];
    uint8_t code[HTH_FIT_SUPER];
} hth_fit_super_affine;

void hth_fit_affine_super(const float *x, const float *importance, int group, int max, int scale_max,
                          hth_fit_super_affine *out);

#endif
