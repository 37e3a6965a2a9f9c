#include "rope/rope_f32_simd.h"
