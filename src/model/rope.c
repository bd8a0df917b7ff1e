// Rotation frequencies. All in double: at position 10^6 a float frequency would be off by radians.
#include "model/rope.h"

#include <math.h>

#define PI 3.14159265358979323846

static double clamp01(double x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between blended.
static double scale_llama3(const hth_rope *r, double freq) {
    double wavelen = 2 * PI / freq, n = (double)r->n_ctx_orig;
    if (wavelen < n / r->high_freq_factor) return freq;
    if (wavelen > n / r->low_freq_factor) return freq / r->factor;
    double smooth = (n / wavelen - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * freq / r->factor + smooth * freq;
}

// YaRN, section 3.2: the dimension at which a frequency makes `n_turns` turns over the original context.
static double yarn_dim(const hth_rope *r, double n_turns) {
    return r->n_rot * log((double)r->n_ctx_orig / (n_turns * 2 * PI)) / (2 * log(r->theta));
}

static double scale_yarn(const hth_rope *r, int32_t i, double freq) {
    double low = yarn_dim(r, r->beta_fast), high = yarn_dim(r, r->beta_slow);
    if (!r->yarn_no_truncate) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0) low = 0;
    if (high > r->n_rot - 1) high = r->n_rot - 1;
    if (high == low) high += 0.001;
    double ramp = clamp01((i - low) / (high - low)); // 0: kept, 1: interpolated
    return freq / r->factor * ramp + freq * (1 - ramp);
}

static double yarn_magnitude(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double find_magnitude(const hth_rope *r) {
    if (r->attn_factor != 0) return r->attn_factor;
    if (r->scaling == HTH_SCALING_YARN) {
        if (r->mscale != 0 && r->mscale_all_dim != 0) {
            return yarn_magnitude(r->factor, r->mscale) / yarn_magnitude(r->factor, r->mscale_all_dim);
        }
        return yarn_magnitude(r->factor, 1);
    }
    if (r->scaling == HTH_SCALING_LONGROPE) {
        double factor = r->n_ctx_max > 0 ? (double)r->n_ctx_max / (double)r->n_ctx_orig : r->factor;
        return factor <= 1 ? 1 : sqrt(1 + log(factor) / log((double)r->n_ctx_orig));
    }
    return 1;
}

static hth_code check_rope(const hth_rope *r, hth_err *err) {
    if (r->n_rot < 2 || r->n_rot % 2 != 0) {
        return hth_fail(err, HTH_ERR_FORMAT, "rotary dimension is %d, an even number >= 2 is needed", (int)r->n_rot);
    }
    if (!(r->theta > 1) || !isfinite(r->theta)) {
        return hth_fail(err, HTH_ERR_FORMAT, "rope theta is %g, a number above 1 is needed", r->theta);
    }
    bool is_scaled = r->scaling != HTH_SCALING_NONE && r->scaling != HTH_SCALING_LONGROPE;
    if (is_scaled && !(r->factor > 0)) {
        return hth_fail(err, HTH_ERR_FORMAT, "rope scaling factor is %g, a positive number is needed", r->factor);
    }
    bool needs_orig = r->scaling != HTH_SCALING_NONE && r->scaling != HTH_SCALING_LINEAR;
    if (needs_orig && r->n_ctx_orig < 2) {
        return hth_fail(err, HTH_ERR_FORMAT, "rope scaling needs the original context length");
    }
    if (r->scaling == HTH_SCALING_LLAMA3 &&
        !(r->low_freq_factor > 0 && r->high_freq_factor > r->low_freq_factor)) {
        return hth_fail(err, HTH_ERR_FORMAT, "rope low_freq_factor %g and high_freq_factor %g are not ascending",
                        r->low_freq_factor, r->high_freq_factor);
    }
    if (r->scaling == HTH_SCALING_YARN && !(r->beta_fast > 0 && r->beta_slow > 0)) {
        return hth_fail(err, HTH_ERR_FORMAT, "yarn beta_fast and beta_slow must be positive");
    }
    if (r->scaling == HTH_SCALING_LONGROPE && (!r->divisors[0] || !r->divisors[1])) {
        return hth_fail(err, HTH_ERR_FORMAT, "longrope needs its short and long factors");
    }
    for (int set = 0; set < 2; set++) {
        for (int32_t i = 0; r->divisors[set] && i < r->n_rot / 2; i++) {
            if (r->divisors[set][i] > 0) continue;
            return hth_fail(err, HTH_ERR_FORMAT, "rope factor %d is %g, a positive number is needed", (int)i,
                            (double)r->divisors[set][i]);
        }
    }
    return HTH_OK;
}

static hth_code check_magnitude(double magnitude, hth_err *err) {
    if (magnitude > 0 && magnitude < 1e6) return HTH_OK;
    return hth_fail(err, HTH_ERR_FORMAT, "rope's attention factor comes to %g, a positive number is needed", magnitude);
}

hth_code hth_rope_prepare(hth_rope *r, hth_arena *arena, hth_err *err) {
    HTH_TRY(check_rope(r, err));
    int32_t n_half = r->n_rot / 2;
    int32_t n_turning = r->n_turning > 0 && r->n_turning < n_half ? r->n_turning : n_half;
    double n_dim = r->n_freq_dim > 0 ? r->n_freq_dim : r->n_rot;
    for (int set = 0; set < 2; set++) {
        double *inv = hth_arena_alloc(arena, (size_t)n_half, sizeof *inv);
        if (!inv) return hth_fail_nomem(err, (uint64_t)n_half * sizeof *inv);
        for (int32_t i = 0; i < n_turning; i++) {
            double freq = pow(r->theta, -2.0 * i / n_dim);
            if (r->scaling == HTH_SCALING_LINEAR) freq /= r->factor;
            if (r->scaling == HTH_SCALING_LLAMA3) freq = scale_llama3(r, freq);
            if (r->scaling == HTH_SCALING_YARN) freq = scale_yarn(r, i, freq);
            if (r->divisors[set]) freq /= (double)r->divisors[set][i];
            inv[i] = freq;
        }
        r->inv_freq[set] = inv;
        HTH_TRY(check_magnitude(find_magnitude(r), err));
        r->magnitude[set] = (float)find_magnitude(r);
    }
    return HTH_OK;
}

void hth_rope_angles(const hth_rope *r, int64_t pos, int64_t n_ctx, float *cos_, float *sin_) {
    const int set = hth_rope_is_long(r, n_ctx);
    for (int32_t i = 0; i < r->n_rot / 2; i++) {
        double angle = (double)pos * r->inv_freq[set][i];
        cos_[i] = (float)cos(angle) * r->magnitude[set];
        sin_[i] = (float)sin(angle) * r->magnitude[set];
    }
}
