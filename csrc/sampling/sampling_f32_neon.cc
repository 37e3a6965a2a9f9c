#include "sampling/sampling_f32_simd.h"
