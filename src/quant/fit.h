// Private to src/quant: finding steps and codes for quantizers. Steps around the obvious one are tried, each with
// its best codes; with codes fixed the best step is weighted least squares, and so on in turn as long as it helps.
#ifndef HTH_QUANT_FIT_H
#define HTH_QUANT_FIT_H

#include <stdbool.h>
#include <stdint.h>

enum { HTH_FIT_SUPER = 256, HTH_FIT_MAX_GROUPS = 16, HTH_FIT_MAX_LEN = 32 };

// Levels that codes stand for: whole numbers from lo to hi, all of them or those of iq4_nl; `spread` is how far
// from lo the extreme number of a group is tried.
typedef struct hth_fit_levels {
    int lo, hi;
    float spread;
    bool is_iq4;
} hth_fit_levels;

hth_fit_levels hth_fit_whole(int lo, int hi);
hth_fit_levels hth_fit_iq4(void);
// Index of a level of iq4_nl.
int hth_iq4_index(int level);

// What an error in each number costs: its importance, or the same for all where that is NULL. Never all zero.
void hth_fit_weights(const float *importance, int n, float *weight);

// A group of n numbers (a multiple of 8, at most HTH_FIT_MAX_LEN): x[i] ~ step * level[i]. Returns the step,
// which may be negative. *curve: what the weighted squared error grows by with the square of the step's error.
float hth_fit_signed(const float *x, const float *weight, int n, const hth_fit_levels *levels, float *level, float *curve);

// x[i] ~ step * code[i] + offset with codes 0..max; the step is not negative, nor is the offset positive unless
// `any_offset`. Returns the step.
float hth_fit_affine(const float *x, const float *weight, int n, int max, bool any_offset, float *code, float *offset);

// Levels nearest to x / step; returns the weighted squared error.
float hth_fit_round_signed(const float *x, const float *weight, int n, const hth_fit_levels *levels, float step,
                           float *level);
// Codes nearest to (x - offset) / step.
float hth_fit_round_affine(const float *x, const float *weight, int n, int max, float step, float offset, float *code);

float hth_fit_round_f16(float v);

// Blocks with one step, or step and offset, of f16: what is returned is already rounded.
float hth_fit_block_signed(const float *x, const float *importance, int n, const hth_fit_levels *levels, float *level);
float hth_fit_block_affine(const float *x, const float *importance, int n, int max, float *code, float *offset);

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
