// Dequantization of every level against the type's own, bit for bit, on random bits.
#include "check.h"

static void check_type(const char *level, hth_dequantize_fn fast, const hth_type_info *info, int64_t n_block,
                       guard_side side) {
    static float want[8192];
    const int64_t n = n_block * info->block_len;
    const size_t n_bytes = (size_t)n_block * info->block_bytes;
    uint8_t *src = guarded(0, n_bytes, side);
    float *got = guarded_floats(1, n, side);
    assert_true(n <= (int64_t)HTH_COUNT(want));
    for (size_t i = 0; i < n_bytes; i++) src[i] = (uint8_t)random_bits();
    memset(got, 0x5a, (size_t)n * sizeof *got);
    info->dequantize(src, want, n);
    fast(src, got, n);
    assert_same_floats(level, info->name, got, want, n);
}

static void every_level_gives_the_bits_of_the_type(void **state) {
    (void)state;
    static const int64_t blocks[] = {0, 1, 2, 3, 5, 17, 31};
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
            const hth_type_info *info = hth_type_get(t);
            if (!info) continue;
            for (guard_side side = 0; side < GUARD_SIDES; side++) {
                if (info->block_len == 1) {
                    FOR_EACH_SIZE(n) check_type(level, k.dequantize[t], info, n, side);
                    continue;
                }
                for (size_t i = 0; i < HTH_COUNT(blocks); i++)
                    for (int again = 0; again < 8; again++)
                        check_type(level, k.dequantize[t], info, blocks[i], side);
            }
        }
    }
}

// All numbers of 8 bits, any number of them, with everyday and odd scales.
static void every_level_reads_all_bytes(void **state) {
    (void)state;
    static const float scales[] = {1, -0.37f, 0x1p-140f, 0x1p125f, 0};
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        for (int e5m2 = 0; e5m2 < 2; e5m2++) {
            for (size_t s = 0; s < HTH_COUNT(scales); s++) {
                for (int64_t n = 0; n <= 256; n += n < 70 ? 1 : 31) {
                    uint8_t *src = guarded(0, (size_t)n, GUARD_AFTER);
                    float *got = guarded_floats(1, n, GUARD_AFTER), want[256];
                    for (int64_t i = 0; i < n; i++) {
                        src[i] = (uint8_t)(i + 186 - (int64_t)(s * 60));
                        want[i] = scales[s] * (e5m2 ? hth_e5m2_to_f32(src[i]) : hth_e4m3_to_f32(src[i]));
                    }
                    k.dequantize_f8[e5m2](src, scales[s], got, n);
                    assert_same_floats(level, e5m2 ? "e5m2" : "e4m3", got, want, n);
                }
            }
        }
    }
}

// Random bytes seldom make these: all f16 and bf16 numbers there are.
static void every_level_reads_all_halves(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        for (uint32_t v = 0; v < 65536; v += 32) {
            uint16_t half[32];
            float got[32], want[32];
            for (uint32_t i = 0; i < 32; i++) half[i] = (uint16_t)(v + i);
            k.dequantize[HTH_TYPE_F16](half, got, 32);
            for (int i = 0; i < 32; i++) want[i] = hth_f16_to_f32(half[i]);
            assert_same_floats(level, "f16", got, want, 32);
            k.dequantize[HTH_TYPE_BF16](half, got, 32);
            for (int i = 0; i < 32; i++) want[i] = hth_bf16_to_f32(half[i]);
            assert_same_floats(level, "bf16", got, want, 32);
        }
    }
}

// All exponents of a one-byte scale, the two below normal numbers included.
static void every_level_reads_all_mxfp4_scales(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        for (int e = 0; e < 256; e++) {
            uint8_t block[17] = {(uint8_t)e};
            float got[32], want[32];
            for (int i = 0; i < 16; i++) block[1 + i] = (uint8_t)(i | (15 - i) << 4);
            k.dequantize[HTH_TYPE_MXFP4](block, got, 32);
            hth_type_get(HTH_TYPE_MXFP4)->dequantize(block, want, 32);
            assert_same_floats(level, "mxfp4", got, want, 32);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_bits_of_the_type),
        cmocka_unit_test(every_level_reads_all_bytes), cmocka_unit_test(every_level_reads_all_halves),
        cmocka_unit_test(every_level_reads_all_mxfp4_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
