#include "norm/norm_f32_simd.h"
