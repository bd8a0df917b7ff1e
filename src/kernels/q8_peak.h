// The limit that integer products are measured against.
#ifndef HTH_KERNELS_Q8_PEAK_H
#define HTH_KERNELS_Q8_PEAK_H

#include <stdint.h>

// Operations (two per multiply-add) per second, in units of 10^12, of one thread that does nothing but the best
// 8-bit dot instruction among the features; 0 where there is none. Takes some tens of milliseconds.
double hth_q8_peak(uint32_t cpu_features);

#endif
