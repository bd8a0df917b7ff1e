// Compiler attributes used across Hearth. The only header that may name one directly.
#ifndef HTH_BASE_ATTR_H
#define HTH_BASE_ATTR_H

#define HTH_NODISCARD __attribute__((warn_unused_result))
#define HTH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define HTH_NOINLINE __attribute__((noinline))
#define HTH_ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define HTH_UNROLL _Pragma("clang loop unroll(full)") // before a loop of constant length
#else
#define HTH_UNROLL _Pragma("GCC unroll 32")
#endif
#define HTH_LIKELY(x) __builtin_expect(!!(x), 1)
#define HTH_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HTH_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
